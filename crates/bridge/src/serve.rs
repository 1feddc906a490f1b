//! The server's side of an exchange: one table of functions for embedded mode and for daemon
//! processes.

use std::any::Any;
use std::cell::UnsafeCell;
use std::ffi::{c_int, c_void};
use std::marker::PhantomData;
use std::os::fd::BorrowedFd;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::atomic::{AtomicBool, Ordering};
use std::task::Poll;
use std::time::Duration;

use crate::exchange::{ExchangeApi, PENDING};
use crate::{Bytes, Disconnected, Exchange, Field, List, Sink, Tag};

/// The operations that a host can call on a request while it runs. One thread at a time calls them,
/// mostly the one that runs the request. None but `start`, `is_gone` and `log` is called while the
/// thread is attached to Python: they can block.
///
/// A failure means that the client is gone or cannot be reached; a reason of interest has been
/// logged.
pub trait Serve {
    /// Reads some of the request's body, without waiting for it unless filters of the body keep it
    /// from knowing that there is nothing yet. 0 is the end of the body. Reading 0 bytes only says
    /// that the application wants the body, so that a waiting client is told to continue.
    fn poll_read(&mut self, buffer: &mut [u8]) -> Result<Poll<usize>, Disconnected>;
    /// Has the next `poll_read` read from a place in the body, at most its end. Returns the length
    /// of the body, or `None` if it is not there as a whole.
    fn seek(&mut self, _position: u64) -> Option<u64> {
        None
    }
    /// Returns whether the client is known to be gone, without waiting.
    fn is_gone(&mut self) -> bool;
    /// Sets status (three digits), reason (absent: the standard one) and headers; sent with the
    /// first `write`, or at the end. Called once, before any `write`. The headers have been
    /// checked.
    fn start(&mut self, status: u16, reason: Bytes<'_>, headers: &[Field<'_>]) -> Result<(), Disconnected>;
    /// Sends a block of the response's body; `how` is a set of [`mod@crate::write`] bits.
    fn write(&mut self, block: &[u8], how: u32) -> Result<(), Disconnected>;
    /// Sends `length` bytes of a regular file from `offset`, and returns when they are read: the
    /// descriptor is duplicated if it is kept, and its file position may have changed.
    fn send_file(&mut self, file: BorrowedFd<'_>, offset: u64, length: u64) -> Result<(), Disconnected>;
    /// Logs a line with the request's context; `level` is Apache's (3 error ... 7 debug).
    fn log(&mut self, level: c_int, line: &[u8]);
    /// Returns a variable of mod_ssl by its name, if there is one; an empty one counts as none.
    /// Only a [`Question`](crate::Question) needs it.
    fn tls_variable(&mut self, _name: &[u8]) -> Option<Vec<u8>> {
        None
    }
    /// Reports a panic of one of the functions above; `during` says what it was doing.
    fn report_panic(&mut self, during: &str, panic: &(dyn Any + Send));
}

/// The part of an exchange that waits for the body while other threads use the [`Serve`].
pub trait Wait {
    /// Waits until `poll_read` may have something, at most for `timeout`. Called by one thread at a
    /// time.
    fn wait(&self, timeout: Duration);
    /// Ends `wait`, now and from now on: the request is over.
    fn interrupt(&self);
}

/// A [`Serve`] that is used by one thread at a time, and its [`Wait`], by others meanwhile.
///
/// The host ensures that. So a flag suffices here, which costs less than a mutex: a second user at
/// the same time fails.
#[derive(Debug)]
pub struct ExchangeServer<S, W> {
    server: UnsafeCell<S>,
    is_in_use: AtomicBool,
    waiter: W,
    has_panicked: AtomicBool,
}

// SAFETY: `with` gives the `Serve` to one thread at a time, for which it has to be `Send` only.
unsafe impl<S: Send, W: Sync> Sync for ExchangeServer<S, W> {}

impl<S, W> ExchangeServer<S, W> {
    /// Returns a server of exchanges that share `server`.
    #[must_use]
    pub const fn new(server: S, waiter: W) -> Self {
        Self {
            server: UnsafeCell::new(server),
            is_in_use: AtomicBool::new(false),
            waiter,
            has_panicked: AtomicBool::new(false),
        }
    }

    /// Returns the [`Serve`] after its last use, and whether a function has panicked. After a panic
    /// something may be half done, so the response is broken off.
    #[must_use]
    pub fn end(self) -> (S, bool) {
        (self.server.into_inner(), self.has_panicked.into_inner())
    }

    /// Runs `work` with the [`Serve`]. Returns `failed` while somebody else uses it.
    #[inline]
    fn with<R>(&self, failed: R, work: impl FnOnce(&mut S) -> R) -> R {
        /// A guard that ends the use, also when `work` panics.
        struct InUse<'a>(&'a AtomicBool);
        impl Drop for InUse<'_> {
            #[inline]
            fn drop(&mut self) {
                self.0.store(false, Ordering::Release);
            }
        }
        if self.is_in_use.swap(true, Ordering::Acquire) {
            return failed;
        }
        let _in_use = InUse(&self.is_in_use);
        // SAFETY: the flag was not set, so nobody else has a reference; it stays set as long as
        // this one is used.
        work(unsafe { &mut *self.server.get() })
    }
}

impl<'a> Exchange<'a> {
    /// Returns the exchange that `server` serves.
    #[must_use]
    pub fn new<S: Serve + Send, W: Wait + Sync>(server: &'a ExchangeServer<S, W>) -> Self {
        Self { api: &Table::<S, W>::API, context: (&raw const *server).cast_mut().cast() }
    }
}

/// The table of functions of a [`ExchangeServer`]: the only ones there are, so none is without a
/// guard.
struct Table<S, W>(PhantomData<(S, W)>);

impl<S: Serve, W: Wait> Table<S, W> {
    const API: ExchangeApi = ExchangeApi {
        tag: Tag::of::<ExchangeApi>(),
        poll_read: Self::poll_read,
        seek: Self::seek,
        wait: Self::wait,
        interrupt: Self::interrupt,
        is_gone: Self::is_gone,
        start: Self::start,
        write: Self::write,
        send_file: Self::send_file,
        log: Self::log,
        tls_variable: Self::tls_variable,
    };

    /// Runs `work`, which must not unwind into C: a panic becomes `failed`, after `report`.
    ///
    /// # Safety
    /// As of all functions here: `context` comes from [`Exchange::new`], and the exchange is not
    /// over.
    #[inline]
    unsafe fn guarded<R>(
        context: *mut c_void,
        failed: R,
        work: impl FnOnce(&ExchangeServer<S, W>) -> R,
        report: impl FnOnce(&ExchangeServer<S, W>, &(dyn Any + Send)),
    ) -> R {
        // SAFETY: by the caller's promise.
        let shared = unsafe { &*context.cast_const().cast::<ExchangeServer<S, W>>() };
        catch_unwind(AssertUnwindSafe(|| work(shared))).unwrap_or_else(|panic| {
            shared.has_panicked.store(true, Ordering::Release);
            // Reporting may panic as well, and so may dropping the payload.
            let reported = catch_unwind(AssertUnwindSafe(|| {
                report(shared, &*panic);
                drop(panic);
            }));
            std::mem::forget(reported);
            failed
        })
    }

    /// Runs `work` with the [`Serve`], guarded; `during` says what it does.
    ///
    /// # Safety
    /// `context` comes from [`Exchange::new`], and the exchange is not over.
    #[inline]
    unsafe fn serve<R: Copy>(
        context: *mut c_void,
        during: &'static str,
        failed: R,
        work: impl FnOnce(&mut S) -> R,
    ) -> R {
        // SAFETY: by the caller's promise.
        unsafe {
            Self::guarded(
                context,
                failed,
                |shared| shared.with(failed, work),
                |shared, panic| shared.with((), |server| server.report_panic(during, panic)),
            )
        }
    }

    unsafe extern "C" fn poll_read(context: *mut c_void, buffer: *mut u8, capacity: usize) -> isize {
        // SAFETY: the caller's buffer, of bytes; the rest is its promise.
        unsafe {
            let buffer = std::slice::from_raw_parts_mut(buffer, capacity);
            Self::serve(context, READING, -1, |server| match server.poll_read(buffer) {
                Ok(Poll::Ready(length)) => isize::try_from(length).unwrap_or(isize::MAX),
                Ok(Poll::Pending) => PENDING,
                Err(Disconnected) => -1,
            })
        }
    }

    unsafe extern "C" fn seek(context: *mut c_void, position: u64) -> i64 {
        // SAFETY: by the caller's promise.
        unsafe {
            Self::serve(context, READING, -1, |server| {
                server.seek(position).map_or(-1, |length| i64::try_from(length).unwrap_or(i64::MAX))
            })
        }
    }

    unsafe extern "C" fn wait(context: *mut c_void, milliseconds: u32) {
        let timeout = Duration::from_millis(milliseconds.into());
        // Another thread may have the `Serve`, so there is no report.
        // SAFETY: by the caller's promise.
        unsafe { Self::guarded(context, (), |shared| shared.waiter.wait(timeout), |_, _| ()) }
    }

    unsafe extern "C" fn interrupt(context: *mut c_void) {
        // SAFETY: by the caller's promise.
        unsafe { Self::guarded(context, (), |shared| shared.waiter.interrupt(), |_, _| ()) }
    }

    unsafe extern "C" fn is_gone(context: *mut c_void) -> c_int {
        // SAFETY: by the caller's promise.
        unsafe { Self::serve(context, "looking for a client", 1, |server| server.is_gone().into()) }
    }

    unsafe extern "C" fn start(
        context: *mut c_void,
        status: u16,
        reason: Bytes<'_>,
        headers: List<'_, Field<'_>>,
    ) -> c_int {
        // SAFETY: by the caller's promise.
        unsafe {
            Self::serve(context, SENDING, -1, |server| {
                status_of(server.start(status, reason, headers.as_slice()))
            })
        }
    }

    unsafe extern "C" fn write(context: *mut c_void, block: Bytes<'_>, how: u32) -> c_int {
        // SAFETY: by the caller's promise.
        unsafe { Self::serve(context, SENDING, -1, |server| status_of(server.write(block.or_empty(), how))) }
    }

    unsafe extern "C" fn send_file(
        context: *mut c_void,
        descriptor: c_int,
        offset: u64,
        length: u64,
    ) -> c_int {
        if descriptor < 0 {
            return status_of(Err(Disconnected));
        }
        // SAFETY: the caller's descriptor is open during the call; the rest is its promise.
        unsafe {
            let file = BorrowedFd::borrow_raw(descriptor);
            Self::serve(context, SENDING, -1, |server| status_of(server.send_file(file, offset, length)))
        }
    }

    unsafe extern "C" fn log(context: *mut c_void, level: c_int, line: Bytes<'_>) {
        // SAFETY: by the caller's promise.
        unsafe { Self::serve(context, "the log", (), |server| server.log(level, line.or_empty())) }
    }

    unsafe extern "C" fn tls_variable(context: *mut c_void, name: Bytes<'_>, mut value: Sink<'_>) -> c_int {
        // SAFETY: by the caller's promise.
        unsafe {
            Self::serve(context, "looking for a variable of TLS", -1, |server| {
                server.tls_variable(name.or_empty()).map_or(0, |found| {
                    value.put(&found);
                    1
                })
            })
        }
    }
}

const READING: &str = "the reading of a request";
const SENDING: &str = "the sending of a response";

const fn status_of(result: Result<(), Disconnected>) -> c_int {
    match result {
        Ok(()) => 0,
        Err(Disconnected) => -1,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Level;

    /// A [`Serve`] whose functions panic.
    struct Panics {
        reports: Vec<String>,
        can_report: bool,
    }

    impl Serve for Panics {
        fn poll_read(&mut self, _: &mut [u8]) -> Result<Poll<usize>, Disconnected> {
            panic!("planted")
        }
        fn seek(&mut self, _: u64) -> Option<u64> {
            panic!("planted")
        }
        fn is_gone(&mut self) -> bool {
            panic!("planted")
        }
        fn start(&mut self, _: u16, _: Bytes<'_>, _: &[Field<'_>]) -> Result<(), Disconnected> {
            panic!("planted")
        }
        fn write(&mut self, _: &[u8], _: u32) -> Result<(), Disconnected> {
            panic!("planted")
        }
        fn send_file(&mut self, _: BorrowedFd<'_>, _: u64, _: u64) -> Result<(), Disconnected> {
            panic!("planted")
        }
        fn log(&mut self, _: c_int, _: &[u8]) {
            panic!("planted")
        }
        fn report_panic(&mut self, during: &str, panic: &(dyn Any + Send)) {
            assert_eq!(panic.downcast_ref(), Some(&"planted"));
            assert!(self.can_report, "planted, too");
            self.reports.push(during.to_owned());
        }
    }

    struct WaitPanics;

    impl Wait for WaitPanics {
        fn wait(&self, _: Duration) {
            panic!("planted")
        }
        fn interrupt(&self) {
            panic!("planted")
        }
    }

    type Use = fn(&Exchange<'_>);

    fn use_twice(work: Use, can_report: bool) -> (Vec<String>, bool) {
        let shared = ExchangeServer::new(Panics { reports: Vec::new(), can_report }, WaitPanics);
        // The second time with the lock that the panic has gone through.
        for _ in 0..2 {
            work(&Exchange::new(&shared));
        }
        let (server, has_panicked) = shared.end();
        (server.reports, has_panicked)
    }

    #[test]
    fn panics_are_reported_and_do_not_leave_the_table() {
        let uses: [(&str, Use); 7] = [
            (READING, |exchange| assert_eq!(exchange.poll_read(&mut [0]), Err(Disconnected))),
            (READING, |exchange| assert_eq!(exchange.seek(0), None)),
            ("looking for a client", |exchange| assert!(exchange.is_gone())),
            (SENDING, |exchange| assert_eq!(exchange.start(200, Bytes::ABSENT, &[]), Err(Disconnected))),
            (SENDING, |exchange| assert_eq!(exchange.write(b"block", 0), Err(Disconnected))),
            (SENDING, |exchange| {
                let file = std::io::stdin();
                assert!(exchange.send_file(std::os::fd::AsRawFd::as_raw_fd(&file), 0, 1).is_err());
            }),
            ("the log", |exchange| exchange.log(Level::Error, b"line")),
        ];
        for (during, work) in uses {
            assert_eq!(use_twice(work, true), (vec![during.to_owned(); 2], true));
            assert_eq!(use_twice(work, false), (vec![], true));
        }
    }

    #[test]
    fn panics_of_a_wait_do_not_need_the_serve() {
        let uses: [Use; 2] = [|exchange| exchange.wait(Duration::ZERO), |exchange| exchange.interrupt()];
        for work in uses {
            assert_eq!(use_twice(work, true), (vec![], true));
        }
    }

    #[test]
    fn a_second_user_at_the_same_time_fails() {
        let shared = ExchangeServer::new(Panics { reports: Vec::new(), can_report: true }, WaitPanics);
        let exchange = Exchange::new(&shared);
        let inner = shared.with(None, |_| Some(exchange.write(b"block", 0)));
        assert_eq!(inner, Some(Err(Disconnected)));
        assert_eq!(shared.with(1, |_| 2), 2, "it is free again");
        assert!(!shared.end().1);
    }

    #[test]
    fn without_a_panic_all_is_well() {
        let shared = ExchangeServer::new(Panics { reports: Vec::new(), can_report: true }, WaitPanics);
        assert_eq!(Exchange::new(&shared).send_file(-1, 0, 1), Err(Disconnected));
        assert!(!shared.end().1);
    }
}
