//! Levels of log lines, and the main error log, for code that knows neither a request nor a server.

use std::ffi::c_int;

use httpd_sys as sys;

/// The importance of a line, as in `LogLevel`.
#[repr(i32)]
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Level {
    /// The server cannot go on.
    Emerg = 0,
    /// Somebody must act at once.
    Alert = 1,
    /// Critical.
    Crit = 2,
    /// Something failed.
    Error = 3,
    /// Something is wrong.
    Warn = 4,
    /// Normal, but significant.
    Notice = 5,
    /// For information.
    Info = 6,
    /// For debugging.
    Debug = 7,
    /// For debugging in detail.
    Trace1 = 8,
}

impl Level {
    /// Returns the level with this number, or the nearest one.
    #[must_use]
    pub fn from_number(number: c_int) -> Self {
        const LEVELS: [Level; 9] = [
            Level::Emerg,
            Level::Alert,
            Level::Crit,
            Level::Error,
            Level::Warn,
            Level::Notice,
            Level::Info,
            Level::Debug,
            Level::Trace1,
        ];
        LEVELS[usize::try_from(number).unwrap_or(0).min(LEVELS.len() - 1)]
    }

    /// Returns its name in the log.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Emerg => "emerg",
            Self::Alert => "alert",
            Self::Crit => "crit",
            Self::Error => "error",
            Self::Warn => "warn",
            Self::Notice => "notice",
            Self::Info => "info",
            Self::Debug => "debug",
            Self::Trace1 => "trace1",
        }
    }
}

/// Logs to the main log, for code that runs before there is a server or knows none.
pub(crate) fn write(module: c_int, level: Level, line: &[u8]) {
    // SAFETY: no server means the main log.
    unsafe {
        sys::ap_log_error_(
            FILE.as_ptr(),
            LINE,
            module,
            level as c_int,
            sys::APR_SUCCESS,
            std::ptr::null(),
            c"%.*s".as_ptr(),
            length(line),
            line.as_ptr(),
        );
    }
}

// Shown by `%F` of ErrorLogFormat: the same for all lines, which are found by their codes instead.
pub(crate) const FILE: &std::ffi::CStr = c"httpd/src/log.rs";
pub(crate) const LINE: c_int = 0;

pub(crate) fn length(line: &[u8]) -> c_int {
    c_int::try_from(line.len()).unwrap_or(c_int::MAX)
}

#[cfg(test)]
mod tests {
    use super::Level;

    #[test]
    fn numbers_are_levels() {
        for (number, level) in
            [(-1, Level::Emerg), (3, Level::Error), (8, Level::Trace1), (15, Level::Trace1)]
        {
            assert_eq!(Level::from_number(number), level);
        }
    }
}
