//! The levels of messages in the error log.

/// The severity of a message, with Apache's numbers.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Level {
    /// Somebody has to act at once.
    Alert = 1,
    /// An essential part does not work.
    Critical = 2,
    /// A failure.
    Error = 3,
    /// A setting that does not work as it is written.
    Warning = 4,
    /// For information.
    Info = 6,
    /// For debugging.
    Debug = 7,
}

impl Level {
    /// Returns the level with this number, or `None` if there is none.
    #[must_use]
    pub const fn from_number(number: u8) -> Option<Self> {
        Some(match number {
            1 => Self::Alert,
            2 => Self::Critical,
            3 => Self::Error,
            4 => Self::Warning,
            6 => Self::Info,
            7 => Self::Debug,
            _ => return None,
        })
    }

    /// Returns the name that Apache gives it in the log.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Alert => "alert",
            Self::Critical => "crit",
            Self::Error => "error",
            Self::Warning => "warn",
            Self::Info => "info",
            Self::Debug => "debug",
        }
    }
}
