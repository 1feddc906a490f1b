//! The error log, at the level that `LogLevel module:level` sets.

use std::ffi::c_int;

use httpd_sys as sys;

use crate::config::ModuleConfig;
pub use crate::main_log::Level;
use crate::main_log::{FILE, LINE, length};
use crate::request::Request;
use crate::server::Server;

/// Writes lines in the name of a module.
#[derive(Debug, Clone, Copy)]
pub struct Logger {
    module: c_int,
}

impl Logger {
    /// Makes the logger of the module `M`.
    #[must_use]
    pub fn of<M: ModuleConfig>() -> Self {
        Self { module: M::record().index() }
    }

    /// Logs `line` in the context of a request. Bytes after a NUL byte or beyond Apache's limit of
    /// about 8 KB are lost.
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
        // SAFETY: the server is live; the format takes a length and a pointer to so many bytes.
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

    /// Returns the number of the highest level of lines that the log takes of this request.
    #[must_use]
    pub fn level_of(self, request: &Request) -> c_int {
        // SAFETY: the request is live.
        unsafe { sys::ap_get_request_module_loglevel(request.as_ptr(), self.module) }
    }

    /// Returns whether the log of this server takes lines of `level`.
    #[must_use]
    pub fn is_enabled_for_server(self, server: &Server, level: Level) -> bool {
        // SAFETY: the server is live.
        (unsafe { sys::ap_get_server_module_loglevel(server.as_ptr(), self.module) }) >= level as c_int
    }
}
