//! The operations on a request while it runs.

use std::ffi::{c_int, c_void};
use std::task::Poll;
use std::time::Duration;

use crate::tag::tagged;
use crate::{Bytes, Field, Level, List, Sink, Tag};

/// Bits of the last argument of [`Serve::write`](crate::Serve::write).
pub mod write {
    /// Send it now: the application may take its time for the next block.
    pub const FLUSH: u32 = 1;
    /// The response ends with this block.
    pub const LAST: u32 = 1 << 1;
}

/// The result of `poll_read` if there is nothing yet.
pub(crate) const PENDING: isize = -2;

/// The functions of an exchange, as C calls them: [`Serve`](crate::Serve) and
/// [`Wait`](crate::Wait), whose trampoline alone makes such tables. All get the exchange's
/// `context`. Where there is nothing to return, a failure is a negative number.
#[repr(C)]
#[derive(Debug)]
pub(crate) struct ExchangeApi {
    pub(crate) tag: Tag,
    pub(crate) poll_read:
        unsafe extern "C" fn(context: *mut c_void, buffer: *mut u8, capacity: usize) -> isize,
    pub(crate) seek: unsafe extern "C" fn(context: *mut c_void, position: u64) -> i64,
    pub(crate) wait: unsafe extern "C" fn(context: *mut c_void, milliseconds: u32),
    pub(crate) interrupt: unsafe extern "C" fn(context: *mut c_void),
    pub(crate) is_gone: unsafe extern "C" fn(context: *mut c_void) -> c_int,
    pub(crate) start: unsafe extern "C" fn(
        context: *mut c_void,
        status: u16,
        reason: Bytes<'_>,
        headers: List<'_, Field<'_>>,
    ) -> c_int,
    pub(crate) write: unsafe extern "C" fn(context: *mut c_void, block: Bytes<'_>, how: u32) -> c_int,
    pub(crate) send_file:
        unsafe extern "C" fn(context: *mut c_void, descriptor: c_int, offset: u64, length: u64) -> c_int,
    pub(crate) log: unsafe extern "C" fn(context: *mut c_void, level: c_int, line: Bytes<'_>),
    pub(crate) tls_variable:
        unsafe extern "C" fn(context: *mut c_void, name: Bytes<'_>, value: Sink<'_>) -> c_int,
}

tagged!(ExchangeApi);

/// A running request as the host sees it, backed by the server's [`Serve`](crate::Serve).
#[repr(C)]
#[derive(Clone, Copy, Debug)]
pub struct Exchange<'a> {
    pub(crate) api: &'a ExchangeApi,
    pub(crate) context: *mut c_void,
}

// SAFETY: the functions of the table may be called on any thread, one at a time.
unsafe impl Send for Exchange<'_> {}

/// The client is gone or cannot be reached.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Disconnected;

impl Exchange<'_> {
    /// See [`Serve::poll_read`](crate::Serve::poll_read).
    ///
    /// # Errors
    /// The body cannot be read.
    pub fn poll_read(&self, buffer: &mut [u8]) -> Result<Poll<usize>, Disconnected> {
        // SAFETY: `new` made the context for these functions; the buffer is valid for its length.
        let count = unsafe { (self.api.poll_read)(self.context, buffer.as_mut_ptr(), buffer.len()) };
        match usize::try_from(count) {
            Ok(count) => Ok(Poll::Ready(count.min(buffer.len()))),
            Err(_) if count == PENDING => Ok(Poll::Pending),
            Err(_) => Err(Disconnected),
        }
    }

    /// See [`Serve::seek`](crate::Serve::seek).
    #[must_use]
    pub fn seek(&self, position: u64) -> Option<u64> {
        // SAFETY: `new` made the context for these functions.
        u64::try_from(unsafe { (self.api.seek)(self.context, position) }).ok()
    }

    /// See [`Serve::is_gone`](crate::Serve::is_gone).
    #[must_use]
    pub fn is_gone(&self) -> bool {
        // SAFETY: `new` made the context for these functions.
        (unsafe { (self.api.is_gone)(self.context) }) != 0
    }

    /// See [`Wait::wait`](crate::Wait::wait).
    pub(crate) fn wait(&self, timeout: Duration) {
        // SAFETY: `new` made the context for these functions; `Lease` lets one thread wait at a
        // time.
        unsafe { (self.api.wait)(self.context, u32::try_from(timeout.as_millis()).unwrap_or(u32::MAX)) }
    }

    /// See [`Wait::interrupt`](crate::Wait::interrupt).
    pub(crate) fn interrupt(&self) {
        // SAFETY: `new` made the context for these functions.
        unsafe { (self.api.interrupt)(self.context) }
    }

    /// See [`Serve::start`](crate::Serve::start).
    ///
    /// # Errors
    /// The server cannot take the head.
    pub fn start(&self, status: u16, reason: Bytes<'_>, headers: &[Field<'_>]) -> Result<(), Disconnected> {
        // SAFETY: `new` made the context for these functions.
        checked(unsafe { (self.api.start)(self.context, status, reason, List::new(headers)) })
    }

    /// See [`Serve::write`](crate::Serve::write).
    ///
    /// # Errors
    /// The client is gone.
    pub fn write(&self, block: &[u8], how: u32) -> Result<(), Disconnected> {
        // SAFETY: `new` made the context for these functions.
        checked(unsafe { (self.api.write)(self.context, Bytes::new(block), how) })
    }

    /// See [`Serve::send_file`](crate::Serve::send_file).
    ///
    /// # Errors
    /// The client is gone.
    pub fn send_file(&self, descriptor: c_int, offset: u64, length: u64) -> Result<(), Disconnected> {
        // SAFETY: `new` made the context for these functions.
        checked(unsafe { (self.api.send_file)(self.context, descriptor, offset, length) })
    }

    /// See [`Serve::log`](crate::Serve::log).
    pub fn log(&self, level: Level, line: &[u8]) {
        // SAFETY: `new` made the context for these functions.
        unsafe { (self.api.log)(self.context, level as c_int, Bytes::new(line)) }
    }

    /// See [`Serve::tls_variable`](crate::Serve::tls_variable).
    #[must_use]
    pub fn tls_variable(&self, name: &[u8]) -> Option<Vec<u8>> {
        let mut value = Vec::new();
        // SAFETY: `new` made the context for these functions.
        let found = unsafe { (self.api.tls_variable)(self.context, Bytes::new(name), Sink::new(&mut value)) };
        (found > 0).then_some(value)
    }
}

const fn checked(status: c_int) -> Result<(), Disconnected> {
    if status < 0 { Err(Disconnected) } else { Ok(()) }
}
