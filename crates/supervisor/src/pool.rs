//! The growth of a group whose number of processes follows the load, as decisions. No clock, no
//! process.
//!
//! The load is watched only while there is reason to: a child has found all processes busy, or one
//! has just begun to serve, when there may be more requests than it has threads for. The watch ends
//! when the load has been low for a while. So groups that rest, and those with one process that has
//! little to do, cost nothing.
//!
//! A group becomes smaller by itself: its processes say when they have nothing to do.

use wsgi_core::wire::board::State;
use wsgi_core::wire::launch::ProcessOptions;

/// The times between two looks, at least and at most, in milliseconds.
const INTERVALS: (u64, u64) = (10, 1_000);
/// The least time without requests that wait after which nobody looks any more. A process notices
/// after some time only that requests wait.
const CALM: u64 = 200;

/// The growth of a group.
#[derive(Debug)]
pub(crate) struct Pool {
    /// The number of requests that each process serves at a time.
    threads: u32,
    /// The time for which requests have to wait, with all processes busy, until another one is
    /// started.
    patience: u64,
    watch: Option<Watch>,
}

/// The watch on the load.
#[derive(Debug)]
struct Watch {
    /// The time of the next look.
    next: u64,
    /// True if requests waited at the last look, and no process had a thread for them.
    is_busy: bool,
    /// The time since which that has been so.
    since: u64,
}

/// The state and the load of a slot of the group.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Load {
    pub(crate) state: State,
    /// The number of requests that run or wait in its processes.
    pub(crate) requests: u32,
}

impl Pool {
    pub(crate) fn new(options: &ProcessOptions) -> Self {
        Self { threads: options.threads, patience: options.limits.scale_up_wait, watch: None }
    }

    /// Begins to watch the load: a child has found all processes busy.
    pub(crate) fn on_busy(&mut self, now: u64) {
        self.watch.get_or_insert(Watch { next: now, is_busy: false, since: now });
    }

    /// Begins to watch the load, or begins anew: there is one more process for what waits.
    pub(crate) fn on_new_process(&mut self, now: u64) {
        self.watch = Some(Watch { next: now + self.interval(), is_busy: false, since: now });
    }

    /// Returns whether the load is watched.
    pub(crate) const fn is_watching(&self) -> bool {
        self.watch.is_some()
    }

    /// Returns the time of the next look.
    pub(crate) fn next(&self) -> Option<u64> {
        self.watch.as_ref().map(|watch| watch.next)
    }

    /// Looks at the slots of the group. Returns the number of the one to wake, if another process is
    /// wanted.
    pub(crate) fn look(&mut self, slots: &[Load], now: u64) -> Option<usize> {
        let interval = self.interval();
        let watch = self.watch.as_mut().filter(|watch| watch.next <= now)?;
        let count = |state| slots.iter().filter(|slot| slot.state == state).count();
        let (serving, starting) = (count(State::Serving), count(State::Starting));
        let dormant = slots.iter().position(|slot| slot.state == State::Dormant);
        let Some(dormant) = dormant.filter(|_| serving > 0) else {
            // There is nothing to be decided: all run, or requests wait for the first one.
            self.watch = None;
            return None;
        };
        let mut requests = slots.iter().filter(|slot| slot.state == State::Serving).map(|slot| slot.requests);
        let is_full = requests.clone().all(|count| count >= self.threads);
        let is_busy = is_full && requests.any(|count| count > self.threads);
        if is_busy != watch.is_busy {
            (watch.is_busy, watch.since) = (is_busy, now);
        }
        watch.next = now + interval;
        if !is_busy {
            if now - watch.since >= self.patience.max(CALM) {
                // A request may wait that the process has not noticed yet, and whoever has sent it
                // does not say so again.
                watch.next = now + interval.max(CALM);
                if !is_full {
                    self.watch = None;
                }
            }
            return None;
        }
        if now - watch.since < self.patience {
            return None;
        }
        // Not all at once: what starts needs the processor that the others serve with. And what
        // cannot start fails in one slot, not in one after the other.
        if starting >= serving || count(State::Failing) > 0 {
            return None;
        }
        watch.since = now;
        Some(dormant)
    }

    fn interval(&self) -> u64 {
        let (least, most) = INTERVALS;
        (self.patience / 4).clamp(least, most)
    }
}

#[cfg(test)]
mod tests {
    use State::{Cut, Dormant, Failing, Serving, Starting};
    use wsgi_core::wire::launch::Limits;

    use super::*;

    fn pool(scale_up_wait: u64) -> Pool {
        let limits = Limits { scale_up_wait, ..Limits::default() };
        Pool::new(&ProcessOptions { threads: 5, limits, ..ProcessOptions::default() })
    }

    fn slots<const N: usize>(slots: [(State, u32); N]) -> [Load; N] {
        slots.map(|(state, requests)| Load { state, requests })
    }

    /// Looks at the same load again and again. Returns the first time at which a process is wanted.
    fn watch(pool: &mut Pool, slots: &[Load], from: u64, to: u64) -> Option<(u64, usize)> {
        pool.on_busy(from);
        while let Some(now) = pool.next().filter(|now| *now <= to) {
            if let Some(slot) = pool.look(slots, now) {
                return Some((now, slot));
            }
        }
        None
    }

    #[test]
    fn another_process_is_wanted_when_requests_have_waited_for_long() {
        let mut pool = pool(100);
        assert_eq!((pool.next(), pool.is_watching()), (None, false));
        let busy = slots([(Serving, 6), (Dormant, 0), (Dormant, 0)]);
        assert_eq!(pool.look(&busy, 999), None, "nobody has asked");
        assert_eq!(watch(&mut pool, &busy, 1_000, 9_000), Some((1_100, 1)));
        // That one starts, and is waited for; the time counts from the last decision.
        let starting = slots([(Serving, 50), (Starting, 0), (Dormant, 0)]);
        assert_eq!(watch(&mut pool, &starting, 1_100, 5_000), None);
        let both = slots([(Serving, 5), (Serving, 7), (Dormant, 0)]);
        pool.on_new_process(5_000);
        assert_eq!(watch(&mut pool, &both, 5_000, 9_000), Some((5_125, 2)));
        assert_eq!(watch(&mut pool, &slots([(Serving, 6), (Serving, 5), (Serving, 5)]), 5_125, 9_000), None);
        assert!(!pool.is_watching(), "there is no other one");
    }

    #[test]
    fn a_moment_of_load_is_none() {
        let mut pool = pool(100);
        let (busy, free) = (slots([(Serving, 6), (Dormant, 0)]), slots([(Serving, 4), (Dormant, 0)]));
        assert_eq!(watch(&mut pool, &busy, 1_000, 1_080), None);
        assert_eq!(watch(&mut pool, &free, 1_080, 1_120), None);
        assert_eq!(watch(&mut pool, &busy, 1_120, 1_210), None, "it begins anew");
        assert_eq!(watch(&mut pool, &free, 1_210, 2_000), None);
        assert!(!pool.is_watching(), "and nobody looks any more");
    }

    #[test]
    fn a_request_that_is_noticed_late_is_not_forgotten() {
        let (full, busy) = (slots([(Serving, 5), (Dormant, 0)]), slots([(Serving, 6), (Dormant, 0)]));
        let mut pool = pool(0);
        assert_eq!(watch(&mut pool, &full, 1_000, 3_000), None);
        assert!(pool.is_watching());
        assert!(watch(&mut pool, &busy, 3_000, 3_500).is_some());
    }

    #[test]
    fn one_process_with_room_is_enough() {
        let load = slots([(Serving, 9), (Serving, 0), (Dormant, 0)]);
        assert_eq!(watch(&mut pool(0), &load, 1_000, 9_000), None);
        let load = slots([(Serving, 9), (Serving, 5), (Dormant, 0)]);
        assert_eq!(watch(&mut pool(0), &load, 1_000, 9_000), Some((1_000, 2)), "without patience at once");
    }

    #[test]
    fn as_many_start_as_serve() {
        let load = slots([(Serving, 5), (Serving, 6), (Starting, 0), (Dormant, 0)]);
        assert_eq!(watch(&mut pool(100), &load, 1_000, 9_000), Some((1_100, 3)));
        let load = slots([(Serving, 6), (Starting, 0), (Starting, 0), (Dormant, 0)]);
        assert_eq!(watch(&mut pool(100), &load, 1_000, 9_000), None);
    }

    #[test]
    fn failures_are_not_multiplied() {
        let load = slots([(Serving, 6), (Failing, 0), (Dormant, 0)]);
        let mut pool = pool(100);
        assert_eq!(watch(&mut pool, &load, 1_000, 9_000), None);
        assert!(pool.is_watching());
        let load = slots([(Serving, 6), (Cut, 0), (Dormant, 0)]);
        assert_eq!(watch(&mut pool, &load, 9_000, 9_100), Some((9_025, 2)), "another one can take its place");
    }

    #[test]
    fn without_a_process_that_serves_there_is_nothing_to_look_at() {
        for state in [Dormant, Starting, Failing, Cut] {
            let mut pool = pool(100);
            assert_eq!(watch(&mut pool, &slots([(state, 0), (Dormant, 0)]), 1_000, 9_000), None);
            assert!(!pool.is_watching());
        }
    }
}
