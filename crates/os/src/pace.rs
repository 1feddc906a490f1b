//! Whether to wait for something awake, looking again and again, or asleep.
//!
//! To wake a thread on an idle processor costs both sides of a conversation 10 to 30 microseconds, in a virtual machine
//! even more: as much as a small request. Who stays awake saves that, if what it waits for comes soon; otherwise it has
//! wasted the time. So what decides is how it went before: who was disappointed waits asleep for a while, each
//! time longer.

use std::task::Poll;
use std::thread;
use std::time::{Duration, Instant};

/// What has come of staying awake.
#[derive(Debug, Clone, Copy, Default)]
pub struct Pace {
    /// For how many waits not to try it.
    asleep: u32,
    /// How often it was in vain, not counting what is forgiven.
    in_vain: u32,
    /// How often in a row it was not.
    successes: u32,
}

/// Where it is always in vain, one of so many waits is a try.
const RAREST: u32 = 1 << 9;
/// So many successes in a row make everything forgotten.
const FORGIVEN: u32 = 8;

impl Pace {
    /// Looks again and again until something is found, or `limit` is over. Nothing if it is, if looking makes no sense
    /// any more (a ready nothing), or if it is not worth a try: then the caller sleeps.
    ///
    /// Between looks, threads get the processor that have something to do: what is waited for may be done by
    /// one of them. Where they keep it for longer than `limit`, that is a failure too.
    pub fn look<T>(&mut self, limit: Duration, mut look: impl FnMut() -> Poll<Option<T>>) -> Option<T> {
        if !self.stays_awake() {
            return None;
        }
        let begin = Instant::now();
        loop {
            let looked = look();
            if let Poll::Ready(None) = looked {
                return None;
            }
            if begin.elapsed() > limit {
                self.failed();
                return if let Poll::Ready(found) = looked { found } else { None };
            }
            if let Poll::Ready(found) = looked {
                self.succeeded();
                return found;
            }
            thread::yield_now();
        }
    }

    fn stays_awake(&mut self) -> bool {
        let is_awake = self.asleep == 0;
        self.asleep = self.asleep.saturating_sub(1);
        is_awake
    }

    fn succeeded(&mut self) {
        self.successes += 1;
        if self.successes >= FORGIVEN {
            (self.in_vain, self.successes) = (0, 0);
        }
    }

    fn failed(&mut self) {
        self.successes = 0;
        self.asleep = (2 << self.in_vain).min(RAREST) - 1;
        self.in_vain = (self.in_vain + 1).min(RAREST.ilog2());
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// How many of `waits` are spent awake, if `comes` says which come soon.
    fn tries(pace: &mut Pace, waits: u32, comes: impl Fn(u32) -> bool) -> u32 {
        let mut count = 0;
        for wait in 0..waits {
            if pace.stays_awake() {
                count += 1;
                if comes(wait) { pace.succeeded() } else { pace.failed() }
            }
        }
        count
    }

    #[test]
    fn what_always_comes_soon_is_always_waited_for_awake() {
        assert_eq!(tries(&mut Pace::default(), 10_000, |_| true), 10_000);
    }

    #[test]
    fn what_never_does_is_hardly_ever_tried() {
        let mut pace = Pace::default();
        assert!(tries(&mut pace, 1000, |_| false) < 12);
        assert_eq!(tries(&mut pace, 100 * RAREST, |_| false), 100);
    }

    #[test]
    fn half_is_not_enough() {
        assert!(tries(&mut Pace::default(), 10_000, |wait| wait % 2 == 0) < 1000);
        assert!(tries(&mut Pace::default(), 10_000, |wait| wait % 20 != 0) > 5_000, "but this is");
    }

    #[test]
    fn a_change_for_the_better_is_noticed() {
        let mut pace = Pace::default();
        tries(&mut pace, 10_000, |_| false);
        assert!(tries(&mut pace, 10_000, |_| true) > 10_000 - 2 * RAREST);
        tries(&mut pace, 1, |_| false);
        assert!(tries(&mut pace, 100, |_| true) > 90, "what was in vain before is forgotten");
    }
}
