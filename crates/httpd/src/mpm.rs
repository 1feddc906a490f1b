//! Facts about the server and its MPM.

use std::ffi::{CStr, c_int};

use httpd_sys as sys;

use crate::pool::Pool;
use crate::text;

/// The numbers of children and threads that the MPM runs.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Mpm {
    /// Its name, such as `event`.
    pub name: String,
    /// Set if a child has several threads that serve requests.
    pub is_threaded: bool,
    /// Set if it has child processes.
    pub is_forked: bool,
    /// The most children; at least 1.
    pub processes: u32,
    /// The places for children that are in use, perhaps fewer than `processes`; at least 1.
    pub processes_in_use: u32,
    /// The threads of a child; at least 1.
    pub threads: u32,
}

/// Facts about the server.
pub struct ServerInfo {
    pool: *mut sys::apr_pool_t,
}

impl ServerInfo {
    /// # Safety
    /// `pool` is that of the configuration or of a child, live as long as the result.
    pub(crate) unsafe fn new(pool: *mut sys::apr_pool_t) -> Self {
        Self { pool }
    }

    /// Returns the facts about the MPM.
    #[must_use]
    pub fn mpm(&self) -> Mpm {
        let number = |question: u32| {
            let mut answer: c_int = 0;
            // SAFETY: the MPM answers into the number, or not at all.
            let status = unsafe { sys::ap_mpm_query(question as c_int, &raw mut answer) };
            if status == sys::APR_SUCCESS { answer } else { 0 }
        };
        let at_least_one = |question| u32::try_from(number(question)).unwrap_or(0).max(1);
        // SAFETY: a static string.
        let name = unsafe { text::bytes(sys::ap_show_mpm()) };
        Mpm {
            name: String::from_utf8_lossy(name.unwrap_or_default()).into_owned(),
            is_threaded: number(sys::AP_MPMQ_IS_THREADED) != sys::AP_MPMQ_NOT_SUPPORTED as c_int,
            is_forked: number(sys::AP_MPMQ_IS_FORKED) != sys::AP_MPMQ_NOT_SUPPORTED as c_int,
            processes: at_least_one(sys::AP_MPMQ_MAX_DAEMONS),
            processes_in_use: at_least_one(sys::AP_MPMQ_MAX_DAEMON_USED),
            threads: at_least_one(sys::AP_MPMQ_MAX_THREADS),
        }
    }

    /// Returns Apache's version.
    #[must_use]
    pub fn version(&self) -> [u32; 3] {
        let mut version = sys::ap_version_t { major: 0, minor: 0, patch: 0, add_string: std::ptr::null() };
        // SAFETY: room for the answer.
        unsafe { sys::ap_get_server_revision(&raw mut version) };
        [version.major, version.minor, version.patch].map(|part| u32::try_from(part).unwrap_or(0))
    }

    /// Returns Apache's banner with all components.
    #[must_use]
    pub fn description(&self) -> &[u8] {
        // SAFETY: a string that lives as long as the configuration.
        unsafe { text::bytes(sys::ap_get_server_description()) }.unwrap_or_default()
    }

    /// Returns the date of Apache's build.
    #[must_use]
    pub fn built(&self) -> &[u8] {
        // SAFETY: a static string.
        unsafe { text::bytes(sys::ap_get_server_built()) }.unwrap_or_default()
    }

    /// Returns whether this is the only process (`httpd -X`).
    #[must_use]
    pub fn is_single_process(&self) -> bool {
        // SAFETY: static C strings, which are only compared.
        unsafe {
            sys::ap_exists_config_define(c"ONE_PROCESS".as_ptr()) != 0
                || sys::ap_exists_config_define(c"DEBUG".as_ptr()) != 0
        }
    }

    /// Adds a component to the banner. Only for `post_config`: later, Apache does not change the
    /// banner.
    pub fn add_version_component(&self, component: &CStr) {
        // SAFETY: the pool is live; the text is copied.
        unsafe { sys::ap_add_version_component(self.pool, component.as_ptr()) }
    }

    /// Returns the pool of the configuration, or of the child.
    #[must_use]
    pub fn pool(&self) -> &Pool {
        // SAFETY: live as long as this, see `new`.
        unsafe { Pool::from_raw(self.pool) }
    }
}
