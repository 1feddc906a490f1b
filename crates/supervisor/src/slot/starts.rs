//! Bounds on the starts of processes of a slot: one bucket for all starts, whatever they are for,
//! and longer and longer pauses while they fail.

use wsgi_core::bucket::Bucket;

/// The price of a start: in the long run there is one a second at most.
const START_PRICE: u64 = 1_000;
/// The price of the start after a process that was there for one request, and has served it: there
/// is one for each.
const RUN_ONCE_PRICE: u64 = 50;
/// The number of starts that there may be at once.
const BURST: u64 = 8;
/// The number of processes in a row that have to fail before there is a pause.
pub(super) const TOLERATED_FAILURES: u32 = 3;
/// A process that ends sooner may have failed, in milliseconds.
pub(super) const SHORT_LIFE: u64 = 5_000;
/// The longest pause: the contract allows three starts a minute.
const LONGEST_PAUSE: u64 = 20_000;

/// The starts of a slot.
#[derive(Debug)]
pub(crate) struct Starts {
    bucket: Bucket,
    is_service: bool,
    /// The price of the next start.
    price: u64,
    /// The number of processes in a row that did not live long.
    failures: u32,
}

/// The end of a process.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Ending {
    /// It could not be started, died, or had to be ended.
    Failed,
    /// It has said that it ends.
    Announced,
    /// It was there for one request, and has served that.
    RunOnce,
}

impl Starts {
    /// Creates the record of a slot that has had no starts.
    pub(crate) const fn new(is_service: bool) -> Self {
        // A service is started again every second at most.
        let capacity = if is_service { START_PRICE } else { BURST * START_PRICE };
        Self { bucket: Bucket::full(capacity), is_service, price: START_PRICE, failures: 0 }
    }

    /// Records that a process is started.
    pub(crate) fn take(&mut self, now: u64) {
        self.bucket.spend(self.price, now);
        self.price = START_PRICE;
    }

    /// Returns how long a start has to wait that no end of a process leads to.
    pub(crate) fn wait(&mut self, now: u64) -> u64 {
        self.bucket.wait(START_PRICE, now)
    }

    /// Returns how long the start has to wait that follows the end of a process, which has lived
    /// for `lived` milliseconds, and has served or not.
    pub(crate) fn delay_after(&mut self, ending: Ending, has_served: bool, lived: u64, now: u64) -> u64 {
        self.price = if has_served && ending == Ending::RunOnce { RUN_ONCE_PRICE } else { START_PRICE };
        let wait = self.bucket.wait(self.price, now);
        if self.is_service {
            return wait;
        }
        let is_short = match ending {
            Ending::Failed => lived < SHORT_LIFE,
            // An operator may end a few.
            Ending::Announced => lived < SHORT_LIFE && (wait > 0 || self.is_failing()),
            Ending::RunOnce => false,
        };
        self.failures = if is_short || !has_served { self.failures.saturating_add(1) } else { 0 };
        if wait > 0 && is_short {
            // Requests do not wait for what comes and goes.
            self.failures = self.failures.max(TOLERATED_FAILURES);
        }
        pause(self.failures).max(wait)
    }

    /// Records that a process is not needed any more, and has served until then.
    pub(super) const fn forgive(&mut self) {
        self.failures = 0;
    }

    /// Returns whether processes fail again and again.
    pub(crate) const fn is_failing(&self) -> bool {
        self.failures >= TOLERATED_FAILURES && !self.is_service
    }
}

/// Returns the pause in milliseconds after so many failures in a row: none, then 1 s, 2 s, 4 s and
/// so on.
fn pause(failures: u32) -> u64 {
    match failures.checked_sub(TOLERATED_FAILURES) {
        None => 0,
        Some(more) => 1_000_u64.checked_shl(more.min(20)).unwrap_or(LONGEST_PAUSE).min(LONGEST_PAUSE),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pauses_grow_and_are_bounded() {
        let pauses: Vec<_> = (0..10).map(pause).collect();
        assert_eq!(pauses, [0, 0, 0, 1_000, 2_000, 4_000, 8_000, 16_000, 20_000, 20_000]);
        assert_eq!(pause(u32::MAX), LONGEST_PAUSE);
    }

    #[test]
    fn voluntary_ends_are_spaced_out_when_too_many() {
        let mut starts = Starts::new(false);
        let mut now = 1_000_000;
        let mut pauses = Vec::new();
        for _ in 0..14 {
            starts.take(now);
            now += 20;
            let wait = starts.delay_after(Ending::Announced, true, 20, now);
            assert_eq!(starts.is_failing(), wait > 0);
            pauses.push(wait);
            now += wait;
        }
        assert_eq!(pauses[..7], [0; 7]);
        assert_eq!(pauses[7..], [1_000, 2_000, 4_000, 8_000, 16_000, 20_000, 20_000]);
        // One that stays is well again.
        assert_eq!(starts.delay_after(Ending::Announced, true, SHORT_LIFE, now + SHORT_LIFE), 0);
        assert!(!starts.is_failing());
    }

    #[test]
    fn a_process_for_one_request_is_no_failure() {
        let mut starts = Starts::new(false);
        let mut now = 1_000_000;
        for _ in 0..1_000 {
            starts.take(now);
            now += 1;
            let wait = starts.delay_after(Ending::RunOnce, true, 1, now);
            assert!(wait <= RUN_ONCE_PRICE && !starts.is_failing());
            now += wait;
        }
        assert!(
            now >= 1_000_000 + 1_000 * RUN_ONCE_PRICE - BURST * START_PRICE,
            "and there is a bound: {now}"
        );
    }
}
