//! An exchange that outlives its request in the hands of the application, and then gives nothing.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard};
use std::task::Poll;
use std::time::Duration;

use os::lock::lock;

use crate::{Disconnected, Exchange};

/// An [`Exchange`] lent to objects of the application, which may outlive the request and reach other threads.
///
/// It gives the exchange out to one thread at a time, and to nobody once the request is over. A thread that waits for the
/// body does not keep it meanwhile: neither the answer nor what another thread writes waits for it.
#[derive(Debug)]
pub struct Lease {
    exchange: Mutex<Option<Exchange<'static>>>,
    /// The same, held by such a thread as long as it reads; only for waiting.
    reader: Mutex<Option<Exchange<'static>>>,
    is_over: AtomicBool,
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
                self.0.is_over.store(true, Ordering::Release);
                // A thread that reads finds that the request is over when it looks again.
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
        // SAFETY: both copies are taken back before this function returns, and until then are only given out for the
        // duration of `with` and `read`, under their locks.
        let exchange = unsafe { std::mem::transmute::<Exchange<'_>, Exchange<'static>>(exchange) };
        let lease = Arc::new(Self {
            exchange: Mutex::new(Some(exchange)),
            reader: Mutex::new(Some(exchange)),
            is_over: AtomicBool::new(false),
        });
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

    /// Reads some of the body, waiting until there is some, unless the request is over. Others can use the exchange meanwhile.
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

    /// Whether the request is over.
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
