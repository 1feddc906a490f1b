//! The shared state of a worker: its request, and the means to interrupt it.

#![expect(
    clippy::disallowed_types,
    reason = "what is called under it sets or clears a pending exception, and runs no Python"
)]

use std::cell::Cell;
use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, AtomicI32, AtomicU32, Ordering};

use bridge::Times;
use os::lock::lock;
use python::Python;

use crate::request::Runner;
use crate::state::Interpreter;

/// The shared state of a worker.
pub(super) struct Worker {
    pub(super) index: usize,
    /// The system's id of its thread, 0 before that runs.
    thread: AtomicI32,
    interrupt: Mutex<Interrupt>,
    /// Its request does not count as activity (`WSGIIgnoreActivity`).
    pub(super) is_ignored: AtomicBool,
    /// Its request can be held back, and has not been yet.
    pub(super) may_wait: AtomicBool,
    /// Its request no longer counts among those that the children see.
    pub(super) is_uncounted: AtomicBool,
    /// The parts of the time of its request, which only its own thread sets and reads.
    times: [AtomicU32; 3],
}

/// The means to interrupt a worker's request.
#[derive(Default)]
struct Interrupt {
    /// The interpreter that it runs in, and Python's id of the thread.
    target: Option<(&'static Interpreter, u64)>,
    /// An exception is on its way.
    is_raised: bool,
}

thread_local! {
    static WORKER: Cell<Option<&'static Worker>> = const { Cell::new(None) };
}

/// Makes this thread the worker.
pub(super) fn set_current(worker: &'static Worker) {
    WORKER.set(Some(worker));
    worker.thread.store(os::thread::id(), Ordering::Relaxed);
}

/// Returns the worker that this thread is.
#[inline]
pub(super) fn current_worker() -> Option<&'static Worker> {
    WORKER.get()
}

impl Worker {
    pub(super) fn new(index: usize) -> Self {
        Self {
            index,
            thread: AtomicI32::new(0),
            interrupt: Mutex::default(),
            is_ignored: AtomicBool::new(false),
            may_wait: AtomicBool::new(false),
            is_uncounted: AtomicBool::new(false),
            times: Default::default(),
        }
    }

    /// Returns whether its thread computes, or would if it had a processor.
    pub(super) fn is_runnable(&self) -> bool {
        os::thread::is_runnable(self.thread.load(Ordering::Relaxed))
    }

    /// Returns whether its request can be held back.
    pub(super) fn may_wait(&self) -> bool {
        self.may_wait.load(Ordering::Relaxed)
    }

    /// Returns the parts of the time of its request, as they were [measured](Runner::measured).
    pub(super) fn times(&self) -> Times {
        let [queue, lock_wait, application] = self.times.each_ref().map(|part| part.load(Ordering::Relaxed));
        Times { queue, lock_wait, application }
    }

    /// Returns the interpreter that its request runs in, if there is one.
    pub(super) fn interpreter(&self) -> Option<&'static Interpreter> {
        lock(&self.interrupt).target.map(|(interpreter, _)| interpreter)
    }

    /// Raises `RequestTimeout` in its request, if that still runs in this interpreter (which the
    /// caller is attached to) and `is_same`. `describe` is called with the id of the thread,
    /// before.
    pub(super) fn interrupt(
        &self,
        py: Python<'_>,
        interpreter: &'static Interpreter,
        is_same: impl Fn() -> bool,
        describe: impl FnOnce(u64),
    ) -> bool {
        let thread_of = |interrupt: &Interrupt| {
            let target = interrupt.target.filter(|(target, _)| std::ptr::eq(*target, interpreter));
            target.map(|(_, thread)| thread).filter(|_| is_same())
        };
        let thread = thread_of(&lock(&self.interrupt));
        let Some(thread) = thread else { return false };
        describe(thread);
        // Other threads may have run meanwhile.
        let mut interrupt = lock(&self.interrupt);
        if thread_of(&interrupt).is_none() {
            return false;
        }
        interrupt.is_raised = py.raise_in_thread(thread, interpreter.state().helpers.request_timeout.get(py));
        interrupt.is_raised
    }
}

impl Runner for Worker {
    fn enter(&self, interpreter: &'static Interpreter) {
        lock(&self.interrupt).target = Some((interpreter, python::thread_id()));
    }

    fn measured(&self, times: Times) {
        for (place, part) in self.times.iter().zip([times.queue, times.lock_wait, times.application]) {
            place.store(part, Ordering::Relaxed);
        }
    }

    fn leave(&self, py: Python<'_>) {
        let mut interrupt = lock(&self.interrupt);
        interrupt.target = None;
        if std::mem::take(&mut interrupt.is_raised) {
            // It may still be on its way, and must not hit the next request.
            py.clear_raised_in_thread();
        }
    }
}
