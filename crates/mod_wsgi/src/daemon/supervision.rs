//! The pauses before a supervisor that has ended, or could not be started, is followed by another
//! one.

use std::time::{Duration, Instant};

/// The shortest life of a supervisor that has not failed.
const SHORT_LIFE: Duration = Duration::from_secs(10);
/// The number of failures in a row that are followed by another try at once.
const IMMEDIATE_RETRIES: u32 = 2;
/// The longest pause between two tries.
const LONGEST_PAUSE: Duration = Duration::from_secs(60);

/// The history of the supervisors of a generation.
#[derive(Debug, Default)]
pub(super) struct Supervision {
    /// The time at which the last one was started.
    since: Option<Instant>,
    /// The number of failures in a row.
    failures: u32,
    /// The time of the next try, if none runs.
    retry: Option<Instant>,
}

impl Supervision {
    /// Notes that one has been started.
    pub(super) fn started(&mut self, now: Instant) {
        (self.since, self.retry) = (Some(now), None);
    }

    /// Notes that it has ended. Returns the pause before the next one, or `None` to start it at
    /// once.
    pub(super) fn ended(&mut self, now: Instant) -> Option<Duration> {
        let lived = self.since.map_or(Duration::ZERO, |since| now.saturating_duration_since(since));
        if lived >= SHORT_LIFE {
            self.failures = 0;
            return None;
        }
        self.failures = self.failures.saturating_add(1);
        (self.failures > IMMEDIATE_RETRIES).then(|| self.pause(now))
    }

    /// Notes that it could not be started. Returns the pause before the next try.
    pub(super) fn not_started(&mut self, now: Instant) -> Duration {
        self.failures = self.failures.saturating_add(1);
        self.pause(now)
    }

    /// Returns whether it is time for another try.
    pub(super) fn is_due(&self, now: Instant) -> bool {
        self.retry.is_some_and(|retry| retry <= now)
    }

    fn pause(&mut self, now: Instant) -> Duration {
        let seconds = 1_u64.checked_shl(self.failures.saturating_sub(1)).unwrap_or(u64::MAX);
        let pause = Duration::from_secs(seconds).min(LONGEST_PAUSE);
        self.retry = Some(now + pause);
        pause
    }
}
