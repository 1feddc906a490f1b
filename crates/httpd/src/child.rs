//! A child process, when it starts.

use std::ffi::{c_int, c_void};

use httpd_sys as sys;

use crate::guard::quiet_guard;
use crate::mpm::ServerInfo;
use crate::pool::Pool;
use crate::server::Server;

/// The child process that has just started (or, with `httpd -X`, the only process).
pub struct Child<'c> {
    pool: &'c Pool,
    server: &'static Server,
    info: ServerInfo,
}

impl<'c> Child<'c> {
    /// # Safety
    /// The arguments are those of the hook `child_init`.
    pub(crate) unsafe fn new(pool: *mut sys::apr_pool_t, server: *mut sys::server_rec) -> Self {
        // SAFETY: by the caller. A child never reads its configuration again: it lives as long as
        // the process.
        unsafe {
            Self { pool: Pool::from_raw(pool), server: Server::from_raw(server), info: ServerInfo::new(pool) }
        }
    }

    /// Returns the main server, whose configuration a child keeps to its end.
    #[must_use]
    pub fn server(&self) -> &'static Server {
        self.server
    }

    /// Returns facts about the server.
    #[must_use]
    pub fn info(&self) -> &ServerInfo {
        &self.info
    }

    /// Has `function` called when the child ends. Apache's threads have ended by then, as far as
    /// possible.
    pub fn at_exit(&self, function: fn()) {
        self.pool.before_cleanup(function as *const () as *mut c_void, call);
    }
}

unsafe extern "C" fn call(function: *mut c_void) -> c_int {
    // SAFETY: registered by `at_exit` only, with a function of this type.
    let function = unsafe { std::mem::transmute::<*mut c_void, fn()>(function) };
    quiet_guard("the end of a child", function);
    sys::APR_SUCCESS
}
