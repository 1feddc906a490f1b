//! The error log, at the level that `LogLevel module:level` sets.

use std::ffi::c_int;

use httpd_sys as sys;

use crate::module::Module;
use crate::request::Request;
use crate::server::Server;

/// How important a line is, as in `LogLevel`.
#[repr(i32)]
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Level {
    /// The server can not go on.
    Emerg = 0,
    /// Somebody must act at once.
    Alert = 1,
    /// Critical.
    Crit = 2,
    /// Something failed.
    Error = 3,
    /// Something is wrong.
    Warn = 4,
    /// Normal, but worth telling.
    Notice = 5,
    /// For information.
    Info = 6,
    /// For debugging.
    Debug = 7,
    /// For debugging in detail.
    Trace1 = 8,
}

impl Level {
    /// The level of this number; numbers beyond the range are its ends.
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
}

/// Writes lines in the name of a module.
#[derive(Debug, Clone, Copy)]
pub struct Logger {
    module: c_int,
}

impl Logger {
    /// The log of the module `M`.
    #[must_use]
    pub fn of<M: Module>() -> Self {
        Self { module: M::record().index() }
    }

    /// Logs `line` in the context of a request. What follows a NUL byte, and what is beyond Apache's limit of
    /// about 8 KB, is lost.
    pub fn request(self, request: &Request, level: Level, line: impl AsRef<[u8]>) {
        let line = line.as_ref();
        // SAFETY: the request is live; the format takes a length and a pointer to so many bytes.
        unsafe {
            sys::ap_log_rerror_(
                FILE.as_ptr(),
                LINE,
                self.module,
                level as c_int,
                sys::APR_SUCCESS,
                request.as_ptr(),
                c"%.*s".as_ptr(),
                length(line),
                line.as_ptr(),
            );
        }
    }

    /// Logs `line` in the context of a server.
    pub fn server(self, server: &Server, level: Level, line: impl AsRef<[u8]>) {
        let line = line.as_ref();
        // SAFETY: as above.
        unsafe {
            sys::ap_log_error_(
                FILE.as_ptr(),
                LINE,
                self.module,
                level as c_int,
                sys::APR_SUCCESS,
                server.as_ptr(),
                c"%.*s".as_ptr(),
                length(line),
                line.as_ptr(),
            );
        }
    }

    /// Whether the log of this request takes lines of `level`.
    #[must_use]
    pub fn takes(self, request: &Request, level: Level) -> bool {
        // SAFETY: the request is live.
        (unsafe { sys::ap_get_request_module_loglevel(request.as_ptr(), self.module) }) >= level as c_int
    }

    /// Whether the log of this server takes lines of `level`.
    #[must_use]
    pub fn takes_of_server(self, server: &Server, level: Level) -> bool {
        // SAFETY: the server is live.
        (unsafe { sys::ap_get_server_module_loglevel(server.as_ptr(), self.module) }) >= level as c_int
    }
}

/// Logs before there is a server, or where none is known: to the main log.
pub(crate) fn anywhere(module: c_int, level: Level, line: &[u8]) {
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

// Shown by `%F` of ErrorLogFormat. The line has a code or says what it is about; where we write it from is the
// same place for all.
const FILE: &std::ffi::CStr = c"httpd/src/log.rs";
const LINE: c_int = 0;

fn length(line: &[u8]) -> c_int {
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
