//! The definitions of all options: one each, from which parser, help and refusals are derived.

mod later;
mod supported;

pub(crate) use supported::*;

/// One option of the command line.
#[derive(Debug)]
pub(crate) struct Spec {
    /// With its dashes.
    pub(crate) name: &'static str,
    /// What its arguments are called in the help; as many as it takes.
    pub(crate) arguments: &'static [&'static str],
    /// What its argument has to be.
    pub(crate) kind: Kind,
    /// Left out of the help.
    pub(crate) hidden: bool,
    /// Whether this version does what it asks for.
    pub(crate) supported: bool,
    /// One sentence.
    pub(crate) help: &'static str,
}

/// What an option's arguments have to be.
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
        Self { name, arguments, kind, hidden: false, supported: true, help }
    }

    const fn flag(name: &'static str, help: &'static str) -> Self {
        Self::new(name, &[], Kind::Flag, help)
    }

    const fn text(name: &'static str, arguments: &'static [&'static str], help: &'static str) -> Self {
        Self::new(name, arguments, Kind::Text, help)
    }

    const fn integer(name: &'static str, help: &'static str) -> Self {
        Self::new(name, &["NUMBER"], Kind::Integer, help)
    }

    const fn count(name: &'static str, help: &'static str) -> Self {
        Self::new(name, &["NUMBER"], Kind::Count, help)
    }

    const fn seconds(name: &'static str, help: &'static str) -> Self {
        Self::new(name, &["TIME"], Kind::Seconds, help)
    }

    const fn milliseconds(name: &'static str, help: &'static str) -> Self {
        Self::new(name, &["TIME"], Kind::Milliseconds, help)
    }

    const fn bytes(name: &'static str, help: &'static str) -> Self {
        Self::new(name, &["SIZE"], Kind::Bytes, help)
    }

    const fn float(name: &'static str, help: &'static str) -> Self {
        Self::new(name, &["NUMBER"], Kind::Float, help)
    }

    const fn later(mut self) -> Self {
        self.supported = false;
        self
    }

    const fn hidden(mut self) -> Self {
        self.hidden = true;
        self
    }
}

/// All options of `start-server` and `setup-server`.
pub(crate) fn server() -> Vec<&'static Spec> {
    SERVER.iter().copied().chain(later::LATER).collect()
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
        // What these ask for is our own addition.
        let ours = [PYTHON.name, UMASK.name, MEMORY_LIMIT.name, VIRTUAL_MEMORY_LIMIT.name];
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
