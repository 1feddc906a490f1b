//! The reasons why a command fails.

use std::fmt;
use std::path::Path;

/// The reason why a command fails, which determines its exit status.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Failure {
    /// The command line makes no sense: usage and text, status 2.
    Usage(String),
    /// The machine is not as it has to be: one line each, status 1.
    Machine(Vec<String>),
}

impl Failure {
    pub(crate) fn usage(text: impl Into<String>) -> Self {
        Self::Usage(text.into())
    }

    pub(crate) fn machine(text: impl Into<String>) -> Self {
        Self::Machine(vec![text.into()])
    }

    /// Returns the failure of an operation on a file. `doing` names the operation (such as
    /// "create"), `remedy` what the user can do about it.
    pub(crate) fn file(doing: &str, path: &Path, error: &std::io::Error, remedy: &str) -> Self {
        Self::machine(format!("cannot {doing} {}: {error}; {remedy}", path.display()))
    }

    /// The exit status of the command.
    pub(crate) fn status(&self) -> u8 {
        match self {
            Self::Usage(_) => 2,
            Self::Machine(_) => 1,
        }
    }
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Usage(text) => f.write_str(text),
            Self::Machine(lines) => f.write_str(&lines.join("\n")),
        }
    }
}
