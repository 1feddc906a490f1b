//! Things to tell the administrator that are not errors.

use std::fmt;

use crate::fault::{Fault, Weight};
use crate::words::display;

/// A message for the administrator.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Diagnostic {
    /// The importance.
    pub severity: Severity,
    /// A sentence, with its `WSGInnnn` code where it has one.
    pub what: String,
    /// The remedy; may be empty, or be part of the sentence.
    pub remedy: String,
    /// The line that it is about, if it is about one.
    pub position: Option<Position>,
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

/// Shows as it is logged: `WHAT: REMEDY (line 7 of /etc/apache2/apache2.conf)`.
impl fmt::Display for Diagnostic {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.what)?;
        if !self.remedy.is_empty() {
            write!(f, ": {}", self.remedy)?;
        }
        match &self.position {
            Some(position) => write!(f, " ({position})"),
            None => Ok(()),
        }
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
        self.position = Some(position.clone());
        self
    }

    /// Returns the same diagnostic with its remedy.
    #[must_use]
    pub fn remedy(mut self, remedy: impl Into<String>) -> Self {
        self.remedy = remedy.into();
        self
    }

    /// Creates a diagnostic of something that will not work as written.
    #[must_use]
    pub fn warning(text: impl Into<String>) -> Self {
        Self { severity: Severity::Warning, what: text.into(), remedy: String::new(), position: None }
    }

    /// Creates a diagnostic for information.
    #[must_use]
    pub fn info(text: impl Into<String>) -> Self {
        Self { severity: Severity::Info, ..Self::warning(text) }
    }
}
