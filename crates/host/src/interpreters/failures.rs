//! Failed attempts to create interpreters, and the pauses before the next ones.

use std::collections::HashMap;
use std::time::{Duration, Instant};

/// The pause after a failure.
const PAUSE: Duration = Duration::from_secs(5);
/// The pause after a failure that has left an interpreter behind, which takes memory until the
/// process ends. Each further one doubles it.
const PAUSE_LEFT: Duration = Duration::from_secs(60);
/// The most times that it is doubled.
const MOST_DOUBLED: u32 = 5;

/// The failures of each application group.
#[derive(Debug, Default)]
pub(super) struct Failures(HashMap<Vec<u8>, Failure>);

/// The last failure of a group.
#[derive(Debug)]
struct Failure {
    at: Instant,
    pause: Duration,
    /// The number of interpreters that were left behind.
    left_behind: u32,
}

impl Failure {
    fn is_recent(&self) -> bool {
        self.at.elapsed() < self.pause
    }
}

impl Failures {
    /// Returns the pause of a group that is in one.
    pub(super) fn pause(&mut self, group: &[u8]) -> Option<Duration> {
        // The others are known for as long as they take memory.
        self.0.retain(|_, failure| failure.left_behind > 0 || failure.is_recent());
        self.0.get(group).filter(|failure| failure.is_recent()).map(|failure| failure.pause)
    }

    /// Adds a failure, and returns the pause that begins with it.
    pub(super) fn add(&mut self, group: &[u8], is_left_behind: bool) -> Duration {
        let before = self.0.get(group).map_or(0, |failure| failure.left_behind);
        let pause = if is_left_behind { PAUSE_LEFT * 2_u32.pow(before.min(MOST_DOUBLED)) } else { PAUSE };
        let left_behind = before.saturating_add(u32::from(is_left_behind));
        self.0.insert(group.to_owned(), Failure { at: Instant::now(), pause, left_behind });
        pause
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pauses_grow_where_interpreters_are_left_behind() {
        let mut failures = Failures::default();
        assert_eq!(failures.pause(b"group"), None);
        assert_eq!([failures.add(b"group", false), failures.add(b"group", false)], [PAUSE; 2]);
        assert_eq!(failures.pause(b"group"), Some(PAUSE));
        assert_eq!(failures.pause(b"other"), None);
        let pauses: Vec<_> = (0..20).map(|_| failures.add(b"group", true)).collect();
        assert_eq!(pauses[..3], [PAUSE_LEFT, PAUSE_LEFT * 2, PAUSE_LEFT * 4]);
        assert_eq!(pauses[19], PAUSE_LEFT * 32);
        assert_eq!(failures.pause(b"group"), Some(PAUSE_LEFT * 32));
    }
}
