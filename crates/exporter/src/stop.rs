//! The end of the program, for which threads that wait are woken.

use std::sync::{Condvar, Mutex};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use os::lock::lock;

/// The time in which what is left is sent.
const PATIENCE: Duration = Duration::from_millis(2_000);

/// The state of the program, as its threads see it.
#[derive(Debug, Default)]
pub(crate) struct Stop {
    state: Mutex<State>,
    changed: Condvar,
}

#[derive(Debug, Default, Clone, Copy)]
struct State {
    /// The time at which the program ends, once it is to.
    deadline: Option<Instant>,
    /// Another generation reports the metrics from now on.
    is_retired: bool,
}

impl Stop {
    /// Has the threads send what is left, and end.
    pub(crate) fn begin(&self) {
        lock(&self.state).deadline.get_or_insert_with(|| Instant::now() + PATIENCE);
        self.changed.notify_all();
    }

    /// Has the metrics end.
    pub(crate) fn retire(&self) {
        lock(&self.state).is_retired = true;
        self.changed.notify_all();
    }

    /// Returns whether the generation is retired.
    pub(crate) fn is_retired(&self) -> bool {
        lock(&self.state).is_retired
    }

    /// Returns whether the program is to end.
    pub(crate) fn has_begun(&self) -> bool {
        lock(&self.state).deadline.is_some()
    }

    /// Returns how long something may take that would like to take `time`.
    pub(crate) fn limit(&self, time: Duration) -> Duration {
        match lock(&self.state).deadline {
            Some(deadline) => time.min(deadline.saturating_duration_since(Instant::now())),
            None => time,
        }
    }

    /// Waits for a time, unless the program is to end, or the generation retires.
    pub(crate) fn pause(&self, time: Duration) {
        let (end, was_retired) = (Instant::now() + time, self.is_retired());
        let mut state = lock(&self.state);
        while state.deadline.is_none() && state.is_retired == was_retired {
            let left = end.saturating_duration_since(Instant::now());
            if left.is_zero() {
                return;
            }
            let waited = self.changed.wait_timeout(state, left);
            state = waited.unwrap_or_else(std::sync::PoisonError::into_inner).0;
        }
    }

    /// Waits for a thread to end, within the time for that.
    pub(crate) fn wait_for(&self, thread: &JoinHandle<()>) {
        while !thread.is_finished() && !self.limit(PATIENCE).is_zero() {
            std::thread::sleep(Duration::from_millis(5));
        }
    }
}
