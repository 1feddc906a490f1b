//! The definitions of all options: one each, from which parser, help, manual and refusals are
//! derived.
//!
//! The options of a concern stand in its module, in a [`section`]; the others in `supported`.

mod reference;
mod supported;

use crate::parse::Parsed;
use crate::{auth, debugging, environment, limits, logs, names, proxy, telemetry, tls};

pub(crate) use crate::files::{DOCUMENT_ROOT, ERROR_OVERRIDE, FILES, URL_ALIAS};
pub use reference::reference;
pub(crate) use supported::*;

/// All options of `start-server` and `setup-server`, in the order of the help and the manual.
static SECTIONS: &[&Section] = &[
    &APPLICATION,
    &SERVER,
    &names::NAMES,
    &tls::TLS,
    &proxy::PROXIES,
    &FILES,
    &auth::ACCESS,
    &logs::LOGS,
    &telemetry::TELEMETRY,
    &PROCESSES_AND_THREADS,
    &REQUESTS,
    &limits::LIMITS,
    &RELOADING,
    &debugging::DEBUGGING,
    &INTERPRETERS,
    &FRONT,
    &SERVICES,
    &environment::ENVIRONMENT,
];

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
        $(pub(crate) static $name: $crate::options::Spec = $spec;)*
        pub(crate) static $section: $crate::options::Section = $crate::options::Section {
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
        Self { name, arguments, kind, hidden: false, help, default: "", repeated: false, note: "" }
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

/// The URL paths that an option was given, longer ones before their prefixes.
pub(crate) fn url_paths(parsed: &Parsed, spec: &Spec) -> Vec<String> {
    let mut paths: Vec<String> = parsed.all(spec).iter().flatten().map(|path| url_path(path)).collect();
    paths.sort_by(|one, other| other.cmp(one));
    paths.dedup();
    paths
}

/// The URL path with a slash at its beginning.
pub(crate) fn url_path(path: &str) -> String {
    if path.starts_with('/') { path.to_owned() } else { format!("/{path}") }
}

/// The arguments of each occurrence of an option that takes two.
pub(crate) fn pairs<'p>(parsed: &'p Parsed, spec: &Spec) -> impl Iterator<Item = (&'p String, &'p String)> {
    parsed.all(spec).iter().filter_map(|pair| Some((pair.first()?, pair.get(1)?)))
}

/// All options of `start-server` and `setup-server`.
pub(crate) fn server() -> Vec<&'static Spec> {
    SECTIONS.iter().flat_map(|section| section.options).copied().collect()
}

/// The options of `module-config`.
pub(crate) fn module_config() -> Vec<&'static Spec> {
    vec![&PYTHON]
}

/// The options of `install-module`.
pub(crate) fn install_module() -> Vec<&'static Spec> {
    vec![&MODULES_DIRECTORY, &PYTHON]
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::BTreeSet;

    #[test]
    fn the_contract_s_152_spellings_are_known() {
        // These options are our own additions.
        let ours =
            [PYTHON.name, logs::MAX_LOG_FILES.name, UMASK.name, MEMORY_LIMIT.name, VIRTUAL_MEMORY_LIMIT.name];
        assert_eq!(server().iter().filter(|spec| !ours.contains(&spec.name)).count(), 152);
    }

    #[test]
    fn definitions_are_complete_and_unique() {
        let mut names = BTreeSet::new();
        for spec in server() {
            assert!(names.insert(spec.name), "{} is defined twice", spec.name);
            assert!(spec.name.starts_with("--"), "{}", spec.name);
            assert!(
                spec.help.ends_with('.') && spec.help.len() > 10,
                "{} needs a sentence of help",
                spec.name
            );
            assert_eq!(spec.kind == Kind::Flag, spec.arguments.is_empty(), "{}", spec.name);
        }
    }
}
