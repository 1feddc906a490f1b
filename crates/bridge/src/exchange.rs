//! What can be done with a request while it runs.

use std::ffi::{c_int, c_void};
use std::os::fd::BorrowedFd;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::Poll;
use std::time::Duration;

use crate::{Bytes, Field, Level, List};

/// Bits of the last argument of [`ExchangeApi::write`].
pub mod write {
    /// Send it now: the application may take its time for the next block.
    pub const FLUSH: u32 = 1;
    /// The response ends with this block.
    pub const LAST: u32 = 1 << 1;
}

/// The result of [`ExchangeApi::poll_read`] where there is nothing yet.
pub const PENDING: isize = -2;

/// What a host can do with a request while it runs. All functions get the `context` of [`Host::handle`](crate::Host::handle), are
/// called before that returns and by one thread at a time (mostly the one that called it), but for `wait` and `interrupt`;
/// and not while the thread is attached to Python if the call can block (all but `start`, `log`, `is_gone` and `interrupt` can).
///
/// A failure (negative result) means that the client is gone or can not be reached; the reason has been
/// logged where it is worth it.
#[repr(C)]
#[derive(Debug)]
pub struct ExchangeApi {
    /// Reads at most the given number of bytes of the request's body, blocking until there are some. 0 is the
    /// end of the body; negative a failure. Reading 0 bytes only says that the application wants the body, so
    /// that a waiting client is told to continue.
    pub read: unsafe extern "C" fn(context: *mut c_void, buffer: *mut u8, capacity: usize) -> isize,
    /// As `read`, but returns [`PENDING`] where there is nothing yet, unless filters of the body keep it from knowing.
    pub poll_read: unsafe extern "C" fn(context: *mut c_void, buffer: *mut u8, capacity: usize) -> isize,
    /// Waits until `poll_read` may have something, at most so many milliseconds. One thread at a time may do so while another
    /// one uses the other functions.
    pub wait: unsafe extern "C" fn(context: *mut c_void, milliseconds: u32),
    /// Ends `wait`, now and from now on: the request is over.
    pub interrupt: unsafe extern "C" fn(context: *mut c_void),
    /// Returns whether the client is known to be gone (not 0), without waiting.
    pub is_gone: unsafe extern "C" fn(context: *mut c_void) -> c_int,
    /// Sets status (three digits), reason (absent: the standard one) and headers; sent with the first `write`, or at the end.
    /// Called once, before any `write`. The headers have been checked.
    pub start: unsafe extern "C" fn(
        context: *mut c_void,
        status: u16,
        reason: Bytes<'_>,
        headers: List<'_, Field<'_>>,
    ) -> c_int,
    /// Sends a block of the response's body; the last argument is a set of [`mod@write`] bits.
    pub write: unsafe extern "C" fn(context: *mut c_void, block: Bytes<'_>, how: u32) -> c_int,
    /// Sends `length` bytes of a regular file from `offset`, and returns when they are read: the descriptor is
    /// duplicated if it is kept, and its file position may have changed.
    pub send_file:
        unsafe extern "C" fn(context: *mut c_void, descriptor: c_int, offset: u64, length: u64) -> c_int,
    /// Logs a line with the request's context; `level` is Apache's (3 error ... 7 debug).
    pub log: unsafe extern "C" fn(context: *mut c_void, level: c_int, line: Bytes<'_>),
}

/// A running request, as the host sees it: an [`ExchangeApi`] and its context.
#[derive(Clone, Copy, Debug)]
pub struct Exchange<'a> {
    api: &'a ExchangeApi,
    context: *mut c_void,
}

// SAFETY: the functions of the table may be called on any thread, one at a time.
unsafe impl Send for Exchange<'_> {}

/// The client is gone or can not be reached.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Disconnected;

/// What an [`Exchange`] does, in a process that has no Apache: see [`ExchangeApi`] for each.
#[expect(clippy::missing_errors_doc, reason = "see `Disconnected`")]
pub trait Serve {
    /// See [`ExchangeApi::read`].
    fn read(&mut self, buffer: &mut [u8]) -> Result<usize, Disconnected>;
    /// See [`ExchangeApi::poll_read`].
    fn poll_read(&mut self, buffer: &mut [u8]) -> Result<Poll<usize>, Disconnected>;
    /// See [`ExchangeApi::is_gone`].
    fn is_gone(&mut self) -> bool;
    /// See [`ExchangeApi::start`].
    fn start(&mut self, status: u16, reason: Bytes<'_>, headers: &[Field<'_>]) -> Result<(), Disconnected>;
    /// See [`ExchangeApi::write`].
    fn write(&mut self, block: &[u8], how: u32) -> Result<(), Disconnected>;
    /// See [`ExchangeApi::send_file`].
    fn send_file(&mut self, file: BorrowedFd<'_>, offset: u64, length: u64) -> Result<(), Disconnected>;
    /// See [`ExchangeApi::log`].
    fn log(&mut self, level: c_int, line: &[u8]);
}

/// What waits for an [`Exchange`], in a process that has no Apache.
pub trait Wait {
    /// See [`ExchangeApi::wait`].
    fn wait(&self, timeout: Duration);
    /// See [`ExchangeApi::interrupt`].
    fn interrupt(&self);
}

/// A [`Serve`] that is used by one thread at a time, and its [`Wait`], by others meanwhile.
#[derive(Debug)]
pub struct Shared<S, W> {
    server: Mutex<S>,
    waiter: W,
    has_panicked: AtomicBool,
}

impl<S, W> Shared<S, W> {
    /// Has `server` used by one thread at a time.
    #[must_use]
    pub const fn new(server: S, waiter: W) -> Self {
        Self { server: Mutex::new(server), waiter, has_panicked: AtomicBool::new(false) }
    }

    /// Returns whether a function has panicked, so that something may have been done by half.
    pub fn has_panicked(&self) -> bool {
        self.has_panicked.load(Ordering::Acquire)
    }

    /// Returns the [`Serve`], which nobody uses any more.
    pub fn into_server(self) -> S {
        self.server.into_inner().unwrap_or_else(PoisonError::into_inner)
    }
}

/// The table of functions of a [`Shared`].
struct Table<S, W>(std::marker::PhantomData<(S, W)>);

impl<S: Serve, W: Wait> Table<S, W> {
    const API: ExchangeApi = ExchangeApi {
        read: Self::read,
        poll_read: Self::poll_read,
        wait: Self::wait,
        interrupt: Self::interrupt,
        is_gone: Self::is_gone,
        start: Self::start,
        write: Self::write,
        send_file: Self::send_file,
        log: Self::log,
    };

    /// # Safety
    /// As of all functions here: `context` comes from [`Exchange::of`].
    unsafe fn shared<'s>(context: *mut c_void) -> &'s Shared<S, W>
    where
        W: 's,
    {
        // SAFETY: by the caller's promise.
        unsafe { &*context.cast::<Shared<S, W>>() }
    }

    /// Runs `work`, which must not unwind into C: a panic becomes `failed`.
    ///
    /// # Safety
    /// As above.
    unsafe fn guarded<R>(context: *mut c_void, failed: R, work: impl FnOnce(&Shared<S, W>) -> R) -> R {
        // SAFETY: by the caller's promise.
        let shared = unsafe { Self::shared(context) };
        // The panic itself is reported by the hook of the process.
        catch_unwind(AssertUnwindSafe(|| work(shared))).unwrap_or_else(|_| {
            shared.has_panicked.store(true, Ordering::Release);
            failed
        })
    }

    /// As above, with the [`Serve`].
    ///
    /// # Safety
    /// As above.
    unsafe fn serve<R>(context: *mut c_void, failed: R, work: impl FnOnce(&mut S) -> R) -> R {
        // SAFETY: by the caller's promise.
        unsafe {
            Self::guarded(context, failed, |shared| {
                work(&mut shared.server.lock().unwrap_or_else(PoisonError::into_inner))
            })
        }
    }

    unsafe extern "C" fn read(context: *mut c_void, buffer: *mut u8, capacity: usize) -> isize {
        // SAFETY: the caller's buffer, of bytes; and as above.
        unsafe {
            let buffer = std::slice::from_raw_parts_mut(buffer, capacity);
            Self::serve(context, -1, |server| server.read(buffer).map_or(-1, length_of))
        }
    }

    unsafe extern "C" fn poll_read(context: *mut c_void, buffer: *mut u8, capacity: usize) -> isize {
        // SAFETY: as above.
        unsafe {
            let buffer = std::slice::from_raw_parts_mut(buffer, capacity);
            Self::serve(context, -1, |server| match server.poll_read(buffer) {
                Ok(Poll::Ready(length)) => length_of(length),
                Ok(Poll::Pending) => PENDING,
                Err(Disconnected) => -1,
            })
        }
    }

    unsafe extern "C" fn wait(context: *mut c_void, milliseconds: u32) {
        let timeout = Duration::from_millis(milliseconds.into());
        // SAFETY: as above.
        unsafe { Self::guarded(context, (), |shared| shared.waiter.wait(timeout)) }
    }

    unsafe extern "C" fn interrupt(context: *mut c_void) {
        // SAFETY: as above.
        unsafe { Self::guarded(context, (), |shared| shared.waiter.interrupt()) }
    }

    unsafe extern "C" fn is_gone(context: *mut c_void) -> c_int {
        // SAFETY: as above.
        unsafe { Self::serve(context, 1, |server| server.is_gone().into()) }
    }

    unsafe extern "C" fn start(
        context: *mut c_void,
        status: u16,
        reason: Bytes<'_>,
        headers: List<'_, Field<'_>>,
    ) -> c_int {
        // SAFETY: as above.
        unsafe {
            Self::serve(context, -1, |server| status_of(server.start(status, reason, headers.as_slice())))
        }
    }

    unsafe extern "C" fn write(context: *mut c_void, block: Bytes<'_>, how: u32) -> c_int {
        // SAFETY: as above.
        unsafe { Self::serve(context, -1, |server| status_of(server.write(block.or_empty(), how))) }
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
        // SAFETY: as above; the caller's descriptor is open during the call.
        unsafe {
            let file = BorrowedFd::borrow_raw(descriptor);
            Self::serve(context, -1, |server| status_of(server.send_file(file, offset, length)))
        }
    }

    unsafe extern "C" fn log(context: *mut c_void, level: c_int, line: Bytes<'_>) {
        // SAFETY: as above.
        unsafe { Self::serve(context, (), |server| server.log(level, line.or_empty())) }
    }
}

fn length_of(length: usize) -> isize {
    isize::try_from(length).unwrap_or(isize::MAX)
}

const fn status_of(result: Result<(), Disconnected>) -> c_int {
    match result {
        Ok(()) => 0,
        Err(Disconnected) => -1,
    }
}

impl<'a> Exchange<'a> {
    /// An exchange that `server` does.
    #[must_use]
    pub fn of<S: Serve + Send, W: Wait + Sync>(server: &'a Shared<S, W>) -> Self {
        Self { api: &Table::<S, W>::API, context: (&raw const *server).cast_mut().cast() }
    }

    /// # Safety
    /// `context` must be what the functions of `api` expect, for as long as `'a`, on this thread.
    #[must_use]
    pub const unsafe fn new(api: &'a ExchangeApi, context: *mut c_void) -> Self {
        Self { api, context }
    }

    /// See [`ExchangeApi::read`].
    ///
    /// # Errors
    /// The body can not be read.
    pub fn read(&self, buffer: &mut [u8]) -> Result<usize, Disconnected> {
        // SAFETY: by the contract of `new`; the buffer is valid for its length.
        let count = unsafe { (self.api.read)(self.context, buffer.as_mut_ptr(), buffer.len()) };
        usize::try_from(count).map(|count| count.min(buffer.len())).map_err(|_| Disconnected)
    }

    /// See [`ExchangeApi::poll_read`].
    ///
    /// # Errors
    /// The body can not be read.
    pub fn poll_read(&self, buffer: &mut [u8]) -> Result<Poll<usize>, Disconnected> {
        // SAFETY: by the contract of `new`; the buffer is valid for its length.
        let count = unsafe { (self.api.poll_read)(self.context, buffer.as_mut_ptr(), buffer.len()) };
        match usize::try_from(count) {
            Ok(count) => Ok(Poll::Ready(count.min(buffer.len()))),
            Err(_) if count == PENDING => Ok(Poll::Pending),
            Err(_) => Err(Disconnected),
        }
    }

    /// See [`ExchangeApi::is_gone`].
    #[must_use]
    pub fn is_gone(&self) -> bool {
        // SAFETY: by the contract of `new`.
        (unsafe { (self.api.is_gone)(self.context) }) != 0
    }

    /// See [`ExchangeApi::wait`].
    fn wait(&self, timeout: Duration) {
        // SAFETY: by the contract of `new`; `Lease` lets one thread wait at a time.
        unsafe { (self.api.wait)(self.context, u32::try_from(timeout.as_millis()).unwrap_or(u32::MAX)) }
    }

    /// See [`ExchangeApi::interrupt`].
    fn interrupt(&self) {
        // SAFETY: by the contract of `new`.
        unsafe { (self.api.interrupt)(self.context) }
    }

    /// See [`ExchangeApi::start`].
    ///
    /// # Errors
    /// The server can not take the head.
    pub fn start(&self, status: u16, reason: Bytes<'_>, headers: &[Field<'_>]) -> Result<(), Disconnected> {
        // SAFETY: by the contract of `new`.
        checked(unsafe { (self.api.start)(self.context, status, reason, List::new(headers)) })
    }

    /// See [`ExchangeApi::write`].
    ///
    /// # Errors
    /// The client is gone.
    pub fn write(&self, block: &[u8], how: u32) -> Result<(), Disconnected> {
        // SAFETY: by the contract of `new`.
        checked(unsafe { (self.api.write)(self.context, Bytes::new(block), how) })
    }

    /// See [`ExchangeApi::send_file`].
    ///
    /// # Errors
    /// The client is gone.
    pub fn send_file(&self, descriptor: c_int, offset: u64, length: u64) -> Result<(), Disconnected> {
        // SAFETY: by the contract of `new`.
        checked(unsafe { (self.api.send_file)(self.context, descriptor, offset, length) })
    }

    /// See [`ExchangeApi::log`].
    pub fn log(&self, level: Level, line: &[u8]) {
        // SAFETY: by the contract of `new`.
        unsafe { (self.api.log)(self.context, level as c_int, Bytes::new(line)) }
    }
}

/// An [`Exchange`] lent to objects of the application, which may outlive the request and reach other threads.
///
/// It gives the exchange out to one thread at a time, and to nobody once the request is over. A thread that waits for the
/// body does not keep it meanwhile: neither the answer nor what another thread writes waits for it.
#[derive(Debug)]
pub struct Lease {
    exchange: Mutex<Option<Exchange<'static>>>,
    /// The same, held by such a thread as long as it reads; only for waiting.
    reader: Mutex<Option<Exchange<'static>>>,
}

/// How long a thread waits for the body before it looks again: others than the client may have ended the wait.
const TICK: Duration = Duration::from_millis(250);

impl Lease {
    /// Lends `exchange` for as long as `work` runs.
    pub fn lend<R>(exchange: Exchange<'_>, work: impl FnOnce(&Arc<Self>) -> R) -> R {
        /// Ends the lease, also when `work` panics; waits for a thread that still uses the exchange.
        struct End<'a>(&'a Lease);
        impl Drop for End<'_> {
            fn drop(&mut self) {
                let exchange = self.0.lock().take();
                // A thread that reads finds that the request is over when it looks again.
                let mut reader = match self.0.reader.try_lock() {
                    Ok(reader) => reader,
                    Err(_) => {
                        exchange.inspect(Exchange::interrupt);
                        self.0.reader.lock().unwrap_or_else(PoisonError::into_inner)
                    }
                };
                *reader = None;
            }
        }
        // SAFETY: both copies are taken back before this function returns, and until then are only given out for the
        // duration of `with` and `read`, under their locks.
        let exchange = unsafe { std::mem::transmute::<Exchange<'_>, Exchange<'static>>(exchange) };
        let [one, other] = [(); 2].map(|()| Mutex::new(Some(exchange)));
        let lease = Arc::new(Self { exchange: one, reader: other });
        let _end = End(&lease);
        work(&lease)
    }

    /// Runs `work` with the exchange, unless the request is over. Waits while another thread uses it.
    #[inline]
    pub fn with<R>(&self, work: impl FnOnce(&Exchange<'_>) -> R) -> Option<R> {
        self.lock().as_ref().map(work)
    }

    /// As [`with`](Self::with), but gives up while another thread uses the exchange.
    pub fn try_with<R>(&self, work: impl FnOnce(&Exchange<'_>) -> R) -> Option<R> {
        self.exchange.try_lock().ok()?.as_ref().map(work)
    }

    /// Reads as [`ExchangeApi::read`] does, unless the request is over. Others can use the exchange while this waits.
    ///
    /// # Errors
    /// The body can not be read.
    pub fn read(&self, buffer: &mut [u8]) -> Option<Result<usize, Disconnected>> {
        let mut reader = None;
        loop {
            match self.with(|exchange| exchange.poll_read(buffer))? {
                Ok(Poll::Ready(length)) => return Some(Ok(length)),
                Ok(Poll::Pending) => {}
                Err(Disconnected) => return Some(Err(Disconnected)),
            }
            let reader =
                reader.get_or_insert_with(|| self.reader.lock().unwrap_or_else(PoisonError::into_inner));
            reader.as_ref()?.wait(TICK);
        }
    }

    /// Whether the request is over.
    #[must_use]
    pub fn is_over(&self) -> bool {
        // Who holds the lock uses the exchange, so it exists.
        self.exchange.try_lock().is_ok_and(|exchange| exchange.is_none())
    }

    fn lock(&self) -> MutexGuard<'_, Option<Exchange<'static>>> {
        // A panic while the lock was held leaves nothing half done.
        self.exchange.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

const fn checked(status: c_int) -> Result<(), Disconnected> {
    if status < 0 { Err(Disconnected) } else { Ok(()) }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Panics wherever it is asked for anything.
    struct Panics;

    impl Serve for Panics {
        fn read(&mut self, _: &mut [u8]) -> Result<usize, Disconnected> {
            panic!("planted")
        }
        fn poll_read(&mut self, _: &mut [u8]) -> Result<Poll<usize>, Disconnected> {
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
    }

    impl Wait for Panics {
        fn wait(&self, _: Duration) {
            panic!("planted")
        }
        fn interrupt(&self) {
            panic!("planted")
        }
    }

    #[test]
    fn panics_do_not_leave_the_table() {
        let uses: [fn(&Exchange<'_>); 9] = [
            |exchange| assert_eq!(exchange.read(&mut [0]), Err(Disconnected)),
            |exchange| assert_eq!(exchange.poll_read(&mut [0]), Err(Disconnected)),
            |exchange| assert!(exchange.is_gone()),
            |exchange| assert_eq!(exchange.start(200, Bytes::ABSENT, &[]), Err(Disconnected)),
            |exchange| assert_eq!(exchange.write(b"block", 0), Err(Disconnected)),
            |exchange| {
                let file = std::io::stdin();
                assert!(exchange.send_file(std::os::fd::AsRawFd::as_raw_fd(&file), 0, 1).is_err());
            },
            |exchange| exchange.log(Level::Error, b"line"),
            |exchange| exchange.wait(Duration::ZERO),
            |exchange| exchange.interrupt(),
        ];
        for work in uses {
            let shared = Shared::new(Panics, Panics);
            assert!(!shared.has_panicked());
            work(&Exchange::of(&shared));
            assert!(shared.has_panicked());
            // And once more, with the lock that the panic has gone through.
            work(&Exchange::of(&shared));
        }
    }
}
