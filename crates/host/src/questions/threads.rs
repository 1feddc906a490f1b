//! Threads for scripts of hooks, beside those of the server.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::thread::{self, Thread};
use std::time::{Duration, Instant};

/// The size of a stack, which is used as far as a script needs it.
const STACK: usize = 8 << 20;

/// The longest wait for the threads to end.
const LONGEST_END: Duration = Duration::from_millis(200);

/// The number of threads.
static COUNT: AtomicUsize = AtomicUsize::new(0);

/// Starts a thread.
///
/// # Errors
/// There cannot be one: the reason, and what to do.
pub(super) fn start(name: &str, work: impl FnOnce() + Send + 'static) -> Result<Thread, String> {
    COUNT.fetch_add(1, Ordering::AcqRel);
    let work = || {
        work();
        // Here, while the thread-locals of libraries still exist.
        python::end_thread();
        COUNT.fetch_sub(1, Ordering::AcqRel);
    };
    let started = thread::Builder::new().name(name.to_owned()).stack_size(STACK).spawn(work);
    started.map(|handle| handle.thread().clone()).map_err(|error| {
        COUNT.fetch_sub(1, Ordering::AcqRel);
        format!(
            "A thread for a script cannot be started: {error}. Allow the server more processes (ulimit -u)."
        )
    })
}

/// Waits a moment for all threads to end that have been told to.
pub(super) fn wait_for_end() {
    let deadline = Instant::now() + LONGEST_END;
    while COUNT.load(Ordering::Acquire) > 0 && Instant::now() < deadline {
        thread::sleep(Duration::from_millis(1));
    }
}
