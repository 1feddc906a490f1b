//! The outcomes of requests.

/// The outcome of a request.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Outcome {
    /// The response was given whole.
    Complete,
    /// The response was begun and cannot be completed.
    Aborted,
    /// The server answers with its own page of this status.
    Status(u16),
    /// The request has not begun, and waits for a successor of the process, which has been asked
    /// for.
    Held,
    /// The application has not run: its script could not be imported in this process, and a
    /// successor tries later.
    NotRun,
}

impl Outcome {
    /// Returns its number for the server. Only a daemon process has the outcomes without a number
    /// of their own, and handles them before.
    pub(crate) const fn number(self) -> u32 {
        match self {
            Self::Complete => bridge::outcome::COMPLETE,
            Self::Aborted => bridge::outcome::ABORTED,
            Self::Status(status) => status as u32,
            Self::Held => 503,
            Self::NotRun => 500,
        }
    }
}
