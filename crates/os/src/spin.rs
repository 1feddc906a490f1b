//! Adaptive spinning: waiting awake, polling again and again, or asleep.
//!
//! To wake a thread on an idle processor costs both sides of a conversation 10 to 30 microseconds,
//! in a virtual machine even more: as much as a small request. A thread that stays awake saves
//! that, if what it waits for comes soon; otherwise it has wasted the time. So the past decides: a
//! thread that has stayed awake in vain waits asleep for a while, each time longer.

use std::sync::atomic::{AtomicU32, Ordering};
use std::task::Poll;
use std::thread;
use std::time::{Duration, Instant};

/// The history of a thread's waits, which decides whether the next one is spent awake.
#[derive(Debug, Clone, Copy, Default)]
pub struct AdaptiveSpin {
    /// The number of waits to spend asleep.
    asleep: u32,
    /// The number of waits awake that were in vain, not counting those that are forgiven.
    in_vain: u32,
    /// The number of waits awake in a row that were not in vain.
    successes: u32,
}

/// Failures beyond this many change nothing any more: one wait of 512 is a try.
const MAX_FAILURES: u32 = 9;
/// So many successes in a row make one failure forgotten.
const SUCCESSES_TO_FORGIVE: u32 = 8;
/// A wait that takes so many times its limit had no processor: it was in the way of others.
const CROWDED: u32 = 4;

impl AdaptiveSpin {
    /// Polls until something is found, or `limit` is over. Returns `None` if it is, if polling
    /// makes no sense any more (a ready `None`), or if it is not worth a try: then the caller
    /// sleeps.
    ///
    /// Between polls, threads get the processor that have something to do: what is waited for may
    /// be done by one of them. Where they keep it for long, sleeping is better: who is woken comes
    /// before others.
    pub fn poll<T>(&mut self, limit: Duration, mut poll: impl FnMut() -> Poll<Option<T>>) -> Option<T> {
        if !self.stays_awake() {
            return None;
        }
        let begin = Instant::now();
        loop {
            let polled = poll();
            if let Poll::Ready(None) = polled {
                return None;
            }
            let time = begin.elapsed();
            let found = if let Poll::Ready(found) = polled { found } else { None };
            if time > limit {
                self.failed(time > CROWDED * limit);
                return found;
            }
            if found.is_some() {
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
        if self.successes >= SUCCESSES_TO_FORGIVE {
            (self.in_vain, self.successes) = (self.in_vain.saturating_sub(1), 0);
        }
    }

    fn failed(&mut self, is_crowded: bool) {
        self.successes = 0;
        self.in_vain = if is_crowded { MAX_FAILURES } else { (self.in_vain + 1).min(MAX_FAILURES) };
        self.asleep = (1 << self.in_vain) - 1;
    }
}

/// A count of requests, in a row, of which each had the server to itself.
///
/// Two threads that stay awake for each other, on a machine with few processors, keep them from all
/// others. As long as requests come one at a time, there are no others.
#[derive(Debug, Default)]
pub struct Solitude(AtomicU32);

/// Requests that arrive at random leave such gaps between them hardly ever.
const REQUESTS_TO_TRUST: u32 = 32;

impl Solitude {
    /// Counts a request that had the server to itself, or begins anew after one that had not.
    pub fn record(&self, was_alone: bool) {
        let count = self.0.load(Ordering::Relaxed);
        // Most of the time nothing changes, and the cache line stays shared.
        if !was_alone && count != 0 {
            self.0.store(0, Ordering::Relaxed);
        } else if was_alone && count < REQUESTS_TO_TRUST {
            self.0.store(count + 1, Ordering::Relaxed);
        }
    }

    /// Returns whether requests have come one at a time for a while.
    pub fn lasts(&self) -> bool {
        self.0.load(Ordering::Relaxed) >= REQUESTS_TO_TRUST
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const RAREST: u32 = 1 << MAX_FAILURES;

    /// Returns how many of `waits` are spent awake, if `comes` says which come soon.
    fn tries(spin: &mut AdaptiveSpin, waits: u32, comes: impl Fn(u32) -> bool) -> u32 {
        let mut count = 0;
        for wait in 0..waits {
            if spin.stays_awake() {
                count += 1;
                if comes(wait) { spin.succeeded() } else { spin.failed(false) }
            }
        }
        count
    }

    #[test]
    fn a_prompt_event_is_always_waited_for_awake() {
        assert_eq!(tries(&mut AdaptiveSpin::default(), 10_000, |_| true), 10_000);
    }

    #[test]
    fn a_slow_event_is_hardly_ever_waited_for_awake() {
        let mut spin = AdaptiveSpin::default();
        assert!(tries(&mut spin, 1000, |_| false) < 12);
        assert_eq!(tries(&mut spin, 100 * RAREST, |_| false), 100);
    }

    #[test]
    fn most_have_to_come_soon() {
        assert!(tries(&mut AdaptiveSpin::default(), 10_000, |wait| wait % 2 == 0) < 500);
        assert!(tries(&mut AdaptiveSpin::default(), 10_000, |wait| wait % 5 != 0) < 1_000);
        assert!(tries(&mut AdaptiveSpin::default(), 10_000, |wait| wait % 40 != 0) > 5_000);
    }

    #[test]
    fn a_thread_in_the_way_sleeps_at_once() {
        let mut spin = AdaptiveSpin::default();
        tries(&mut spin, 100, |_| true);
        spin.failed(true);
        assert_eq!(tries(&mut spin, RAREST - 1, |_| true), 0);
        assert_eq!(tries(&mut spin, 1, |_| false), 1);
        assert_eq!(tries(&mut spin, RAREST - 1, |_| true), 0, "it was not forgotten");
    }

    #[test]
    fn a_change_for_the_better_is_noticed() {
        let mut spin = AdaptiveSpin::default();
        tries(&mut spin, 10_000, |_| false);
        assert!(tries(&mut spin, 10_000, |_| true) > 10_000 - 2 * RAREST);
        tries(&mut spin, 1, |_| false);
        assert!(tries(&mut spin, 100, |_| true) > 90, "what was in vain before is forgotten");
    }

    #[test]
    fn solitude_takes_a_while_and_ends_at_once() {
        let solitude = Solitude::default();
        (1..REQUESTS_TO_TRUST).for_each(|_| solitude.record(true));
        assert!(!solitude.lasts());
        solitude.record(true);
        assert!(solitude.lasts());
        (0..1000).for_each(|_| solitude.record(true));
        solitude.record(false);
        assert!(!solitude.lasts());
        (1..REQUESTS_TO_TRUST).for_each(|_| solitude.record(true));
        assert!(!solitude.lasts());
    }

    #[test]
    fn polling_ends() {
        let limit = Duration::from_millis(5);
        // On a busy machine it gives up at once, as it should.
        let third_look = || {
            let (mut spin, mut count) = (AdaptiveSpin::default(), 0);
            let found = spin.poll(limit, || {
                count += 1;
                if count == 3 { Poll::Ready(Some(count)) } else { Poll::Pending }
            });
            // It may have been found late, which is a failure.
            found.filter(|_| spin.asleep == 0).map(|found| (spin, found))
        };
        let (mut spin, found) = (0..10_000).find_map(|_| third_look()).expect("processor time now and then");
        assert_eq!(found, 3);
        assert_eq!(spin.poll(limit, || Poll::<Option<()>>::Ready(None)), None);
        let begin = Instant::now();
        assert_eq!(spin.poll(limit, || Poll::<Option<()>>::Pending), None);
        assert!(begin.elapsed() > limit);
        assert_eq!(spin.poll(limit, || -> Poll<Option<()>> { panic!("it is not worth a try") }), None);
    }
}
