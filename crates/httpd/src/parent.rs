//! The parent process: its state, the end of it, and children that are not the MPM's.

use std::ffi::{c_int, c_void};
use std::ptr;

use httpd_sys as sys;

use crate::guard::quiet_guard;
use crate::mpm::ServerInfo;
use crate::pool::Pool;
use crate::server::Server;

/// The user and group that the children run as (`User`, `Group`).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Identity {
    /// User id.
    pub uid: u32,
    /// Group id.
    pub gid: u32,
}

impl ServerInfo {
    /// Returns the user and group that the children run as.
    #[must_use]
    pub fn identity(&self) -> Identity {
        // SAFETY: set while the configuration was read, by the thread that there was then.
        unsafe { Identity { uid: sys::ap_unixd_config.user_id, gid: sys::ap_unixd_config.group_id } }
    }

    /// Returns whether `CoreDumpDirectory` is set.
    #[must_use]
    pub fn dumps_core(&self) -> bool {
        // SAFETY: set while the configuration was read, by the thread that there was then.
        (unsafe { sys::ap_coredumpdir_configured }) != 0
    }

    /// Returns whether the server is about to run, and not only to check its configuration or to
    /// signal another one.
    #[must_use]
    pub fn is_starting(&self) -> bool {
        // SAFETY: the call takes and returns numbers only.
        (unsafe { sys::ap_state_query(sys::AP_SQ_RUN_MODE as c_int) }) == sys::AP_SQ_RM_NORMAL as c_int
    }
}

impl ServerInfo {
    /// Returns whether the server was running before this configuration was read. Rejecting the
    /// configuration would end it.
    #[must_use]
    pub fn is_restart(&self) -> bool {
        // SAFETY: numbers only; the answer counts the readings of the configuration in earnest.
        (unsafe { sys::ap_state_query(sys::AP_SQ_CONFIG_GEN as c_int) }) > 1
    }
}

/// Returns the main server, or `None` if the configuration has not been read.
#[must_use]
pub fn main_server() -> Option<&'static Server> {
    // SAFETY: Apache sets it once it has read its configuration, and never to one that has been
    // freed.
    unsafe { sys::ap_server_conf.cast::<Server>().as_ref() }
}

/// Returns whether the server is being stopped or restarted.
#[must_use]
pub fn is_stopping() -> bool {
    let mut state: c_int = 0;
    // SAFETY: the MPM answers into the number, or not at all.
    let status = unsafe { sys::ap_mpm_query(sys::AP_MPMQ_MPM_STATE as c_int, &raw mut state) };
    status != sys::APR_SUCCESS || state == sys::AP_MPMQ_STOPPING as c_int
}

/// Returns whether the server ends for good: what is cleaned up is not made again.
#[must_use]
pub fn is_exiting() -> bool {
    // SAFETY: numbers only.
    (unsafe { sys::ap_state_query(sys::AP_SQ_MAIN_STATE as c_int) }) == sys::AP_SQ_MS_EXITING as c_int
}

/// A child process of the parent that does not belong to the MPM.
#[derive(Debug, Clone, Copy)]
pub struct OtherChild {
    /// Its process id.
    pub pid: i32,
    /// The function that is called in the parent within about a second after the process has ended,
    /// with the status of `waitpid`.
    pub ended: fn(pid: i32, status: i32),
}

impl ServerInfo {
    /// Has `function` called when this process ends, after the configuration and all that belongs
    /// to it is gone. It is not called in children.
    pub fn at_process_end(&self, server: &Server, function: fn()) {
        // SAFETY: the pool of the process is live to its end.
        let pool = unsafe { Pool::from_raw((*(*server.as_ptr()).process).pool) };
        let maker = std::process::id();
        pool.own(AtEnd { maker, function });
    }
}

struct AtEnd {
    maker: u32,
    function: fn(),
}

impl Drop for AtEnd {
    fn drop(&mut self) {
        if self.maker == std::process::id() {
            (self.function)();
        }
    }
}

impl OtherChild {
    /// Has Apache watch the process, also over a restart of the server.
    pub fn watch(self, server: &Server) {
        // SAFETY: the pool of the process is live to its end, and the one that is made below it
        // until `changed` destroys it; the process structure is copied from zeroes, which is what
        // APR itself begins with, and lives in that pool, as `Watched` does.
        unsafe {
            // A pool for each: the server may be restarted any number of times.
            let (mut own, parent) = (ptr::null_mut(), (*(*server.as_ptr()).process).pool);
            sys::apr_pool_create_ex(&raw mut own, parent, None, ptr::null_mut());
            let pool = if own.is_null() { parent } else { own };
            let process = sys::apr_palloc(pool, size_of::<sys::apr_proc_t>()).cast::<sys::apr_proc_t>();
            process.write(std::mem::zeroed());
            (*process).pid = self.pid;
            let data = sys::apr_palloc(pool, size_of::<Watched>()).cast::<Watched>();
            data.write(Watched { child: self, pool: own });
            sys::apr_proc_other_child_register(process, Some(changed), data.cast(), ptr::null_mut(), pool);
        }
    }
}

/// The data that APR keeps about a watched process.
#[derive(Clone, Copy)]
struct Watched {
    child: OtherChild,
    /// The pool with all that belongs to it; null if there was no memory for one.
    pool: *mut sys::apr_pool_t,
}

unsafe extern "C" fn changed(reason: c_int, data: *mut c_void, status: c_int) {
    // SAFETY: registered by `watch` only.
    let Watched { child, pool } = unsafe { *data.cast::<Watched>() };
    if reason == sys::APR_OC_REASON_DEATH as c_int || reason == sys::APR_OC_REASON_LOST as c_int {
        // SAFETY: registered with this data. APR has let go of the process and must not look at it
        // again; nor does it look at its own record, which is in the pool, after this call.
        unsafe {
            sys::apr_proc_other_child_unregister(data);
            if !pool.is_null() {
                sys::apr_pool_destroy(pool);
            }
        }
        quiet_guard("the end of another child", || (child.ended)(child.pid, status));
    }
}
