//! The definition of an option, from which parser, help, manual and refusals are derived.

/// More seconds or bytes than anybody needs; keeps them in range when they are multiplied.
pub(crate) const LARGEST: i64 = 1_000_000_000_000;

/// More processes or threads than any machine runs; keeps products of two of them in range.
pub(crate) const MAXIMUM: i64 = 20_000;

/// The greatest number of a port.
pub(crate) const LAST_PORT: i64 = 65_535;

/// The greatest number that Apache holds.
pub(crate) const MOST_OF_APACHE: i64 = i32::MAX as i64;

/// Options that belong together.
#[derive(Debug)]
pub(crate) struct Section {
    /// Its heading in the manual.
    pub(crate) title: &'static str,
    /// A text about all of them, in Markdown; may be empty.
    pub(crate) about: &'static str,
    /// A command line that makes use of some of them.
    pub(crate) example: &'static str,
    pub(crate) options: &'static [&'static Spec],
}

/// Defines a [`Section`], and each of its options as a static of its own.
macro_rules! section {
    (
        $section:ident { title: $title:expr, about: $about:expr, example: $example:expr $(,)? }
        $($name:ident = $spec:expr;)*
    ) => {
        $(pub(crate) static $name: $crate::spec::Spec = $spec;)*
        pub(crate) static $section: $crate::spec::Section = $crate::spec::Section {
            title: $title,
            about: $about,
            example: $example,
            options: &[$(&$name),*],
        };
    };
}
pub(crate) use section;

/// One option of the command line.
#[derive(Debug)]
pub(crate) struct Spec {
    /// With its dashes.
    pub(crate) name: &'static str,
    /// The names of its arguments in the help, one for each.
    pub(crate) arguments: &'static [&'static str],
    /// The kind of its argument.
    pub(crate) kind: Kind,
    /// Left out of the help.
    pub(crate) hidden: bool,
    /// The least and the greatest number that it takes.
    pub(crate) range: (i64, i64),
    /// One sentence.
    pub(crate) help: &'static str,
    /// The default for the manual; empty if it is obvious.
    pub(crate) default: &'static str,
    /// True if each occurrence adds to the ones before; otherwise the last one wins.
    pub(crate) repeated: bool,
    /// A further text for the manual, in Markdown; may be empty.
    pub(crate) note: &'static str,
}

/// The kind of an option's arguments.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Kind {
    /// It takes none.
    Flag,
    /// Any text.
    Text,
    /// A whole number, also written `0x1f`, `0b11` or (octal) `017`.
    Integer,
    /// A whole number, or the least and the most of a range: `0-5`.
    Range,
    /// A whole number, or with a unit: `10k`, `2M`.
    Count,
    /// Whole seconds, or with a unit: `90s`, `5m`, `2h`.
    Seconds,
    /// Milliseconds, or with a unit.
    Milliseconds,
    /// Bytes, or with a unit: `64K`, `512M`, `2G`.
    Bytes,
    /// A decimal number.
    Float,
}

impl Spec {
    const fn new(
        name: &'static str,
        arguments: &'static [&'static str],
        kind: Kind,
        help: &'static str,
    ) -> Self {
        Self {
            name,
            arguments,
            kind,
            hidden: false,
            range: (0, LARGEST),
            help,
            default: "",
            repeated: false,
            note: "",
        }
    }

    pub(crate) const fn flag(name: &'static str, help: &'static str) -> Self {
        Self::new(name, &[], Kind::Flag, help)
    }

    pub(crate) const fn text(
        name: &'static str,
        arguments: &'static [&'static str],
        help: &'static str,
    ) -> Self {
        Self::new(name, arguments, Kind::Text, help)
    }

    pub(crate) const fn integer(name: &'static str, help: &'static str) -> Self {
        Self::new(name, &["NUMBER"], Kind::Integer, help)
    }

    pub(crate) const fn range(name: &'static str, help: &'static str) -> Self {
        Self::new(name, &["NUMBER|MIN-MAX"], Kind::Range, help)
    }

    pub(crate) const fn count(name: &'static str, help: &'static str) -> Self {
        Self::new(name, &["NUMBER"], Kind::Count, help)
    }

    pub(crate) const fn seconds(name: &'static str, help: &'static str) -> Self {
        Self::new(name, &["TIME"], Kind::Seconds, help)
    }

    pub(crate) const fn milliseconds(name: &'static str, help: &'static str) -> Self {
        Self::new(name, &["TIME"], Kind::Milliseconds, help)
    }

    pub(crate) const fn bytes(name: &'static str, help: &'static str) -> Self {
        Self::new(name, &["SIZE"], Kind::Bytes, help)
    }

    pub(crate) const fn float(name: &'static str, help: &'static str) -> Self {
        Self::new(name, &["NUMBER"], Kind::Float, help)
    }

    pub(crate) const fn hidden(mut self) -> Self {
        self.hidden = true;
        self
    }

    pub(crate) const fn within(mut self, least: i64, most: i64) -> Self {
        self.range = (least, most);
        self
    }

    pub(crate) const fn repeated(mut self) -> Self {
        self.repeated = true;
        self
    }

    pub(crate) const fn default(mut self, default: &'static str) -> Self {
        self.default = default;
        self
    }

    pub(crate) const fn note(mut self, note: &'static str) -> Self {
        self.note = note;
        self
    }

    /// The help with default and repetition.
    pub(crate) fn full_help(&self) -> String {
        let mut text = self.help.trim_end_matches('.').to_owned();
        if !self.default.is_empty() {
            let comma = if self.default.contains(',') { "," } else { "" };
            text += &format!("; {}{comma} if not given", self.default);
        }
        if self.repeated {
            text += "; may be repeated";
        }
        text + "."
    }
}
