//! An exchange that may outlive its request in the hands of the application, and is empty then.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard};
use std::task::Poll;
use std::time::Duration;

use os::lock::lock;

use crate::{Disconnected, Exchange};

/// An [`Exchange`] lent to objects of the application, which may outlive the request and reach
/// other threads.
///
/// One thread at a time can use the exchange, and none once the request is over. A thread that
/// waits for the body does not hold it meanwhile, so neither the response nor writes of other
/// threads wait.
#[derive(Debug)]
pub struct Lease {
    exchange: Mutex<Option<Exchange<'static>>>,
    /// A copy for waiting only, locked by a thread while it reads the body.
    reader: Mutex<Option<Exchange<'static>>>,
    is_over: AtomicBool,
}

/// The time after which a thread that waits for the body checks again: something other than the
/// client may have ended the wait.
const TICK: Duration = Duration::from_millis(250);

impl Lease {
    /// Lends `exchange` for as long as `work` runs.
    pub fn lend<R>(exchange: Exchange<'_>, work: impl FnOnce(&Arc<Self>) -> R) -> R {
        /// A guard that ends the lease, also when `work` panics. It waits for a thread that still
        /// uses the exchange.
        struct End<'a>(&'a Lease);
        impl Drop for End<'_> {
            fn drop(&mut self) {
                let exchange = self.0.lock().take();
                self.0.is_over.store(true, Ordering::Release);
                // A thread that reads finds the request over at its next check.
                let mut reader = match self.0.reader.try_lock() {
                    Ok(reader) => reader,
                    Err(_) => {
                        exchange.inspect(Exchange::interrupt);
                        lock(&self.0.reader)
                    }
                };
                *reader = None;
            }
        }
        // SAFETY: both copies are taken back before this function returns, and until then are only
        // given out for the duration of `with` and `read`, under their locks.
        let exchange = unsafe { std::mem::transmute::<Exchange<'_>, Exchange<'static>>(exchange) };
        let lease = Arc::new(Self {
            exchange: Mutex::new(Some(exchange)),
            reader: Mutex::new(Some(exchange)),
            is_over: AtomicBool::new(false),
        });
        let _end = End(&lease);
        work(&lease)
    }

    /// Runs `work` with the exchange, unless the request is over. Waits while another thread uses
    /// it.
    #[inline]
    pub fn with<R>(&self, work: impl FnOnce(&Exchange<'_>) -> R) -> Option<R> {
        self.lock().as_ref().map(work)
    }

    /// Runs `work` like [`with`](Self::with), but returns `None` while another thread uses the
    /// exchange.
    pub fn try_with<R>(&self, work: impl FnOnce(&Exchange<'_>) -> R) -> Option<R> {
        self.exchange.try_lock().ok()?.as_ref().map(work)
    }

    /// Reads some of the body, waiting until there is some, unless the request is over. Others can
    /// use the exchange meanwhile.
    ///
    /// # Errors
    /// The body cannot be read.
    pub fn read(&self, buffer: &mut [u8]) -> Option<Result<usize, Disconnected>> {
        let mut reader = None;
        loop {
            match self.with(|exchange| exchange.poll_read(buffer))? {
                Ok(Poll::Ready(length)) => return Some(Ok(length)),
                Ok(Poll::Pending) => {}
                Err(Disconnected) => return Some(Err(Disconnected)),
            }
            let reader = reader.get_or_insert_with(|| lock(&self.reader));
            reader.as_ref()?.wait(TICK);
        }
    }

    /// Returns whether the request is over.
    #[must_use]
    #[inline]
    pub fn is_over(&self) -> bool {
        self.is_over.load(Ordering::Acquire)
    }

    #[inline]
    fn lock(&self) -> MutexGuard<'_, Option<Exchange<'static>>> {
        // A panic while the lock was held leaves nothing half done.
        lock(&self.exchange)
    }
}
