//! Things to tell the administrator that are not errors.

/// Something to tell the administrator.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Notice {
    /// How important it is.
    pub severity: Severity,
    /// A sentence, with its `WSGInnnn` code where it has one.
    pub text: String,
}

/// How important a notice is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Severity {
    /// Something will not work as written.
    Warning,
    /// For information.
    Info,
}

impl Notice {
    /// A notice of something that will not work as written.
    #[must_use]
    pub fn warning(text: impl Into<String>) -> Self {
        Self { severity: Severity::Warning, text: text.into() }
    }

    /// A notice for information.
    #[must_use]
    pub fn info(text: impl Into<String>) -> Self {
        Self { severity: Severity::Info, text: text.into() }
    }
}
