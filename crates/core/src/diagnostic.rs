//! Things to tell the administrator that are not errors.

use std::fmt::{self, Write as _};

use crate::fault::{Fault, Weight};
use crate::words::display;

/// A message for the administrator.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Diagnostic {
    /// The importance.
    pub severity: Severity,
    /// A sentence, with its `WSGInnnn` code where it has one.
    pub text: String,
}

/// The importance of a diagnostic.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Severity {
    /// A line does not work as written.
    Warning,
    /// For information.
    Info,
}

/// The place of a line in the configuration.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Position {
    /// The file.
    pub file: Box<[u8]>,
    /// The number of the line, from 1.
    pub line: u32,
}

/// Shows as `line 7 of /etc/apache2/apache2.conf`.
impl fmt::Display for Position {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "line {} of {}", self.line, display(&self.file))
    }
}

impl Diagnostic {
    /// Creates the diagnostic of a fault. Returns `None` if the administrator need not know while
    /// all is well.
    #[must_use]
    pub fn of_fault(fault: &Fault) -> Option<Self> {
        (fault.weight != Weight::Harmless).then(|| Self::warning(fault.to_string()))
    }

    /// Returns the same diagnostic with the line that it is about.
    #[must_use]
    pub fn at(mut self, position: &Position) -> Self {
        // Writing to a string does not fail.
        let _ = write!(self.text, " ({position})");
        self
    }

    /// Creates a diagnostic of something that will not work as written.
    #[must_use]
    pub fn warning(text: impl Into<String>) -> Self {
        Self { severity: Severity::Warning, text: text.into() }
    }

    /// Creates a diagnostic for information.
    #[must_use]
    pub fn info(text: impl Into<String>) -> Self {
        Self { severity: Severity::Info, text: text.into() }
    }
}
