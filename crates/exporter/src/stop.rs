//! The end of the program, for which threads that wait are woken.
//!
//! It *begins* when there will be no more spans: what is left has the usual time, since the server
//! goes on. It is *hurried* when the server ends, too.

use std::sync::{Condvar, Mutex};
use std::time::{Duration, Instant};

use os::lock::lock;

/// The time in which what is left is sent.
const PATIENCE: Duration = Duration::from_secs(60);
/// The same, when the server ends.
const LITTLE_PATIENCE: Duration = Duration::from_millis(2_000);

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
    is_hurried: bool,
    /// Another generation reports the metrics from now on.
    is_retired: bool,
}

impl Stop {
    /// Has the threads send what is left, and end.
    pub(crate) fn begin(&self) {
        lock(&self.state).deadline.get_or_insert_with(|| Instant::now() + PATIENCE);
        self.changed.notify_all();
    }

    /// Has the threads do so quickly.
    pub(crate) fn hurry(&self) {
        let mut state = lock(&self.state);
        if !state.is_hurried {
            let deadline = Instant::now() + LITTLE_PATIENCE;
            state.deadline = Some(state.deadline.map_or(deadline, |former| former.min(deadline)));
            state.is_hurried = true;
        }
        drop(state);
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

    /// Returns whether it is to end quickly: nothing is tried again.
    pub(crate) fn is_hurried(&self) -> bool {
        lock(&self.state).is_hurried
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
        self.wait(time, |state| state.deadline.is_some());
    }

    /// Waits for a time before something is tried again, unless the program is to end quickly, or the
    /// generation retires.
    pub(crate) fn pause_before_try(&self, time: Duration) {
        self.wait(time, |state| state.is_hurried);
    }

    fn wait(&self, time: Duration, is_over: impl Fn(&State) -> bool) {
        let end = Instant::now() + time;
        let mut state = lock(&self.state);
        let was_retired = state.is_retired;
        while !is_over(&state) && state.is_retired == was_retired {
            let left = end.saturating_duration_since(Instant::now());
            if left.is_zero() {
                return;
            }
            let waited = self.changed.wait_timeout(state, left);
            state = waited.unwrap_or_else(std::sync::PoisonError::into_inner).0;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_end_that_has_begun_can_be_hurried() {
        let (stop, hour) = (Stop::default(), Duration::from_secs(3_600));
        assert_eq!(stop.limit(hour), hour);
        stop.begin();
        assert!(stop.has_begun() && !stop.is_hurried() && stop.limit(hour) > LITTLE_PATIENCE);
        stop.hurry();
        let left = stop.limit(hour);
        assert!(stop.is_hurried() && left <= LITTLE_PATIENCE);
        stop.begin();
        stop.hurry();
        assert!(stop.limit(hour) <= left, "it is not put off");
        // Would take an hour.
        stop.pause(hour);
        stop.pause_before_try(hour);
    }

    #[test]
    fn what_is_left_is_tried_again() {
        let (stop, pause) = (Stop::default(), Duration::from_millis(20));
        stop.begin();
        let begin = Instant::now();
        stop.pause(Duration::from_secs(3_600));
        stop.pause_before_try(pause);
        assert!(begin.elapsed() >= pause);
    }
}
