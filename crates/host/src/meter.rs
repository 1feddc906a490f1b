//! The time that a request spends in its parts, measured while there are subscribers to events or
//! metrics are recorded.

use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use python::Python;

/// The counts of one request. Times are in nanoseconds.
#[derive(Debug, Default)]
pub(crate) struct Meter {
    pub(crate) input: Traffic,
    pub(crate) output: Traffic,
    gil_wait_time: AtomicU64,
    gil_wait_count: AtomicU64,
}

/// One direction of a request.
#[derive(Debug, Default)]
pub(crate) struct Traffic {
    time: AtomicU64,
    count: AtomicU64,
    bytes: AtomicU64,
}

impl Traffic {
    pub(crate) fn count(&self) -> u64 {
        self.count.load(Ordering::Relaxed)
    }

    pub(crate) fn bytes(&self) -> u64 {
        self.bytes.load(Ordering::Relaxed)
    }

    pub(crate) fn time(&self) -> Duration {
        duration(&self.time)
    }

    /// Adds the time between `begin` and `end`.
    pub(crate) fn took(&self, begin: Instant, end: Instant) {
        add_time(&self.time, end.duration_since(begin));
    }

    /// Adds an operation and the bytes that it moved.
    pub(crate) fn add(&self, bytes: u64) {
        self.count.fetch_add(1, Ordering::Relaxed);
        self.add_bytes(bytes);
    }

    /// Adds bytes that no operation of the application moved.
    pub(crate) fn add_bytes(&self, bytes: u64) {
        self.bytes.fetch_add(bytes, Ordering::Relaxed);
    }
}

impl Meter {
    /// Adds a wait for Python's lock that ends now.
    pub(crate) fn waited(&self, since: Instant) {
        self.add_wait(since.elapsed());
    }

    /// Adds a wait for Python's lock.
    pub(crate) fn add_wait(&self, time: Duration) {
        add_time(&self.gil_wait_time, time);
        self.gil_wait_count.fetch_add(1, Ordering::Relaxed);
    }

    pub(crate) fn gil_wait_time(&self) -> Duration {
        duration(&self.gil_wait_time)
    }

    pub(crate) fn gil_wait_count(&self) -> u64 {
        self.gil_wait_count.load(Ordering::Relaxed)
    }
}

/// Runs `work` detached; with a meter, its time is added to `traffic`, and the wait to be attached
/// again to the meter.
pub(crate) fn detached<R: Send>(
    py: Python<'_>,
    meter: Option<&Meter>,
    traffic: impl FnOnce(&Meter) -> &Traffic,
    work: impl FnOnce() -> R + Send,
) -> R {
    let Some(meter) = meter else { return py.detach(work) };
    let begin = Instant::now();
    let (result, end) = py.detach(|| (work(), Instant::now()));
    traffic(meter).took(begin, end);
    meter.waited(end);
    result
}

fn add_time(total: &AtomicU64, time: Duration) {
    total.fetch_add(u64::try_from(time.as_nanos()).unwrap_or(u64::MAX), Ordering::Relaxed);
}

fn duration(total: &AtomicU64) -> Duration {
    Duration::from_nanos(total.load(Ordering::Relaxed))
}
