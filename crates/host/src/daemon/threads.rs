//! Threads of a daemon process.

use std::thread::JoinHandle;

/// Starts a thread of the process.
pub(super) fn spawn(
    name: &str,
    stack: usize,
    work: impl FnOnce() + Send + 'static,
) -> Result<JoinHandle<()>, String> {
    let mut builder = std::thread::Builder::new().name(name.to_owned());
    if stack > 0 {
        builder = builder.stack_size(stack);
    }
    let work = move || {
        work();
        // Here, while the thread-locals of libraries still exist.
        python::end_thread();
    };
    builder.spawn(work).map_err(|error| {
        format!(
            "A thread cannot be started: {error}. Allow the user more processes (ulimit -u), or use fewer threads; with \
             memory-limit= or virtual-memory-limit=, their stacks (stack-size=) may be too large for it."
        )
    })
}
