//! The main server and virtual hosts.

use std::cell::UnsafeCell;
use std::os::fd::BorrowedFd;
use std::time::Duration;

use httpd_sys as sys;

use crate::config::{ModuleConfig, ServerEntry};
use crate::text;

/// A server: the main one or a virtual host. It does not change once the configuration has been
/// read.
#[repr(transparent)]
pub struct Server(UnsafeCell<sys::server_rec>);

// SAFETY: it is changed only while the configuration is read, by the one thread that there is then.
unsafe impl Send for Server {}
// SAFETY: after the configuration has been read, a server is only read.
unsafe impl Sync for Server {}

impl Server {
    /// # Safety
    /// `server` is live for as long as `'s`.
    #[inline]
    pub(crate) unsafe fn from_raw<'s>(server: *mut sys::server_rec) -> &'s Self {
        // SAFETY: by the caller; the wrapper is transparent.
        unsafe { &*server.cast::<Self>() }
    }

    pub(crate) fn as_ptr(&self) -> *mut sys::server_rec {
        self.0.get()
    }

    /// Returns the configured name.
    #[must_use]
    pub fn name(&self) -> &[u8] {
        // SAFETY: strings of the configuration live as long as the server.
        unsafe { text::bytes((*self.as_ptr()).server_hostname) }.unwrap_or_default()
    }

    /// Returns the port of `ServerName`, else that of the virtual host; 0 if neither says one.
    #[must_use]
    pub fn port(&self) -> u16 {
        // SAFETY: the server is live, and the addresses of a virtual host live as long as it.
        unsafe {
            let server = self.as_ptr();
            match (*server).port {
                0 => (*server).addrs.as_ref().map_or(0, |address| address.host_port),
                port => port,
            }
        }
    }

    /// Returns the addresses of a virtual host as its section names them, with their ports.
    pub fn addresses(&self) -> impl Iterator<Item = (&[u8], u16)> {
        // SAFETY: the server is live, and the addresses of a virtual host live as long as it.
        let first = unsafe { (*self.as_ptr()).addrs.as_ref() };
        // SAFETY: as above.
        std::iter::successors(first, |address| unsafe { address.next.as_ref() })
            // SAFETY: as above.
            .map(|address| (unsafe { text::bytes(address.virthost) }.unwrap_or_default(), address.host_port))
    }

    /// Returns the administrator's address.
    #[must_use]
    pub fn admin(&self) -> Option<&[u8]> {
        // SAFETY: strings of the configuration live as long as the server.
        unsafe { text::bytes((*self.as_ptr()).server_admin) }
    }

    /// Returns the main server and all virtual hosts.
    pub fn all(&self) -> impl Iterator<Item = &Self> {
        // SAFETY: servers of a configuration live as long as each other.
        std::iter::successors(Some(self), |server| unsafe { (*server.as_ptr()).next.cast::<Self>().as_ref() })
    }

    /// Returns whether it is a virtual host.
    #[must_use]
    pub fn is_virtual(&self) -> bool {
        // SAFETY: the server is live.
        (unsafe { (*self.as_ptr()).is_virtual }) != 0
    }

    /// Returns `Timeout`.
    #[must_use]
    pub fn timeout(&self) -> Duration {
        // SAFETY: the server is live.
        Duration::from_micros(u64::try_from(unsafe { (*self.as_ptr()).timeout }).unwrap_or(0))
    }

    /// Returns the descriptor of the error log, or `None` if it goes to syslog.
    #[must_use]
    pub fn error_log(&self) -> Option<BorrowedFd<'_>> {
        // SAFETY: the log, if there is one, is open as long as the configuration.
        unsafe {
            let log = (*self.as_ptr()).error_log;
            let mut descriptor = -1;
            if log.is_null() || sys::apr_os_file_get(&raw mut descriptor, log) != sys::APR_SUCCESS {
                return None;
            }
            (descriptor >= 0).then(|| BorrowedFd::borrow_raw(descriptor))
        }
    }

    /// Returns the argument of `ErrorLog`.
    #[must_use]
    pub fn error_log_name(&self) -> Option<&[u8]> {
        // SAFETY: strings of the configuration live as long as the server.
        unsafe { text::bytes((*self.as_ptr()).error_fname) }
    }

    /// Returns the name of the server's program.
    #[must_use]
    pub fn program(&self) -> &[u8] {
        // SAFETY: the process that a server belongs to outlives it, and so does its name.
        unsafe { text::bytes((*(*self.as_ptr()).process).short_name) }.unwrap_or_default()
    }

    /// Returns the module's settings for this server.
    #[must_use]
    #[inline]
    pub fn settings<M: ModuleConfig>(&self) -> Option<&M::Server> {
        // SAFETY: nobody writes to settings once there is a server to ask for them.
        self.entry::<M>().map(|entry| unsafe { &*ServerEntry::settings(entry) })
    }

    /// Returns the module's global settings.
    #[must_use]
    pub fn global<M: ModuleConfig>(&self) -> Option<&M::Global> {
        // SAFETY: nobody writes to settings once there is a server to ask for them.
        self.entry::<M>().map(|entry| unsafe { &*ServerEntry::global(entry) })
    }

    fn entry<M: ModuleConfig>(&self) -> Option<*const ServerEntry<M>> {
        // SAFETY: the server is live, and the module is loaded.
        let entry = unsafe { sys::ap_get_module_config((*self.as_ptr()).module_config, M::record().index()) };
        (!entry.is_null()).then(|| entry.cast_const().cast())
    }
}
