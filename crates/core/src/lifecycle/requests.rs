//! Requests that take too long (§14.2 and §14.3).

use super::{Activity, RunningRequest};
use crate::wire::launch::Limits;

/// The requests of all workers, and the limits on their age.
#[derive(Debug, Clone)]
pub(super) struct Requests {
    /// The age at which a request is interrupted; `None` without `request-timeout=`.
    fire: Option<u64>,
    /// `interrupt-timeout=`.
    interrupt: u64,
    /// The age at which nobody waits for a request any more.
    stale: Option<u64>,
    /// The last request of each worker that was interrupted, and the time of that.
    interrupted: Box<[Interrupted]>,
}

/// The least time between the interrupt of a request that has exceeded its own limit and the
/// replacement of the process.
const PATIENCE: u64 = 5_000;

/// The longest pause between looks for requests with limits of their own, while there are some: one
/// with a shorter limit may begin meanwhile.
const ROUND: u64 = 1_000;

/// The end of the time of a request.
#[derive(Debug, Clone, Copy)]
struct Deadline {
    at: u64,
    /// The time between its interrupt and the replacement; 0: it is not interrupted.
    interrupt: u64,
}

#[derive(Debug, Clone, Copy, Default)]
struct Interrupted {
    started: u64,
    at: u64,
}

/// The result of a check of the oldest requests.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Finding {
    /// No request is too old.
    Nothing,
    /// This one is to be interrupted; it counts as interrupted now.
    Interrupt(RunningRequest),
    /// This one cannot be helped: the process is to be replaced.
    Escalate(RunningRequest),
}

impl Requests {
    pub(super) fn new(limits: &Limits, threads: u32) -> Self {
        let fire = (limits.request_timeout != 0).then(|| fires_at(limits.request_timeout, threads));
        let stale = fire.unwrap_or(0).saturating_add(limits.interrupt_timeout);
        Self {
            fire,
            interrupt: limits.interrupt_timeout,
            stale: (stale != 0).then_some(stale),
            interrupted: (0..threads).map(|_| Interrupted::default()).collect(),
        }
    }

    /// Checks all requests. Returns the first that is too old. `may_escalate` says whether a
    /// replacement would be any good.
    pub(super) fn check(&mut self, now: u64, activity: &Activity, may_escalate: bool) -> Finding {
        if self.fire.is_none() && !activity.has_limits() {
            return Finding::Nothing;
        }
        let all = activity.all().zip(activity.dues());
        for (worker, (started, due)) in all.enumerate() {
            let Some(Deadline { at, interrupt }) = self.deadline(started, due) else { continue };
            if now <= at {
                continue;
            }
            let running = RunningRequest { worker, started };
            let last = &mut self.interrupted[worker];
            if interrupt != 0 && last.started != started {
                *last = Interrupted { started, at: now };
                return Finding::Interrupt(running);
            }
            let is_over = interrupt == 0 || now.saturating_sub(last.at) > interrupt;
            if is_over && may_escalate {
                return Finding::Escalate(running);
            }
        }
        Finding::Nothing
    }

    /// Returns the time before which [`Requests::check`] finds nothing. What it would find again
    /// and again without anything being done about it is left out unless `may_escalate`.
    pub(super) fn next(&self, now: u64, activity: &Activity, may_escalate: bool) -> Option<u64> {
        let round = activity.watches_limits().then(|| now.saturating_add(ROUND));
        // One that begins right now is the earliest of those that have not begun.
        let new = self.fire.map(|fire| now.saturating_add(fire).saturating_add(1));
        if new.is_none() && round.is_none() {
            return None;
        }
        let running = self.interrupted.iter().zip(activity.all().zip(activity.dues()));
        let times = running.filter_map(|(last, (started, due))| {
            let Deadline { at, interrupt } = self.deadline(started, due)?;
            let fires = at.saturating_add(1);
            match interrupt {
                0 if may_escalate || fires > now => Some(fires),
                0 => None,
                _ if last.started != started => Some(fires),
                interrupt => {
                    // It may have got another limit since.
                    let over = last.at.saturating_add(interrupt).saturating_add(1).max(fires);
                    (may_escalate || over > now).then_some(over)
                }
            }
        });
        times.chain(new).chain(round).min()
    }

    /// Returns the deadline of a worker's request that is due then; `None` if it has none, or there
    /// is no request (`started` is 0).
    fn deadline(&self, started: u64, due: Option<u64>) -> Option<Deadline> {
        if started == 0 {
            return None;
        }
        let fire = self.fire.map(|fire| started.saturating_add(fire));
        let general = fire.map(|at| Deadline { at, interrupt: self.interrupt });
        let own = due.map(|at| Deadline { at, interrupt: self.interrupt.max(PATIENCE) });
        [own, general].into_iter().flatten().min_by_key(|deadline| deadline.at)
    }

    /// Returns whether nobody waits any more for a request that began at this time.
    pub(super) fn is_stale(&self, started: u64, now: u64) -> bool {
        self.stale.is_some_and(|stale| now.saturating_sub(started) > stale)
    }

    /// Returns the number of requests that run and are not stale.
    pub(super) fn live(&self, now: u64, activity: &Activity) -> usize {
        activity.all().filter(|&started| started != 0 && !self.is_stale(started, now)).count()
    }

    /// Returns the time at which the next request becomes stale.
    pub(super) fn next_stale(&self, now: u64, activity: &Activity) -> Option<u64> {
        let stale = self.stale?;
        let times = activity.all().filter(|&started| started != 0 && !self.is_stale(started, now));
        times.map(|started| started.saturating_add(stale).saturating_add(1)).min()
    }
}

/// Returns `request-timeout=` for so many threads: RT × (1 + ln n), as whole milliseconds. An age
/// in whole milliseconds exceeds the one exactly if it exceeds the other.
fn fires_at(request_timeout: u64, threads: u32) -> u64 {
    let factor = 1.0 + f64::from(threads.max(1)).ln();
    // One thread is exact, however large the number.
    if threads <= 1 { request_timeout } else { (request_timeout as f64 * factor) as u64 }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn requests(request_timeout: u64, interrupt_timeout: u64, threads: u32) -> (Requests, Activity) {
        let limits = Limits { request_timeout, interrupt_timeout, ..Limits::default() };
        (Requests::new(&limits, threads), Activity::new(threads, &Limits::default(), 1))
    }

    #[test]
    fn the_age_grows_with_the_logarithm_of_threads() {
        for (threads, factor) in
            [(0, 1.0), (1, 1.0), (2, 1.69), (3, 2.10), (5, 2.61), (10, 3.30), (15, 3.71), (25, 4.22)]
        {
            let fires = fires_at(100_000, threads) as f64 / 100_000.0;
            assert!((fires - factor).abs() < 0.006, "{threads}: {fires}");
        }
        assert_eq!(fires_at(u64::MAX, 1), u64::MAX);
        assert_eq!(fires_at(u64::MAX, 15), u64::MAX);
    }

    #[test]
    fn old_requests_escalate() {
        let (mut requests, activity) = requests(1_000, 0, 1);
        assert_eq!(requests.check(9_000, &activity, true), Finding::Nothing, "idle");
        assert!(activity.begin(0, 5_000));
        assert_eq!(requests.check(6_000, &activity, true), Finding::Nothing, "not more than the limit");
        let old = RunningRequest { worker: 0, started: 5_000 };
        assert_eq!(requests.check(6_001, &activity, true), Finding::Escalate(old));
        assert_eq!(requests.check(6_001, &activity, false), Finding::Nothing);
    }

    #[test]
    fn without_a_limit_nothing_is_too_old() {
        let (mut requests, activity) = requests(0, 10, 1);
        assert!(activity.begin(0, 1));
        assert_eq!(requests.check(u64::MAX, &activity, true), Finding::Nothing);
        assert_eq!(requests.next(5, &activity, true), None);
    }

    #[test]
    fn interrupts_go_first_and_one_at_a_time() {
        let (mut requests, activity) = requests(1_000, 500, 2);
        let fires = fires_at(1_000, 2);
        assert!(activity.begin(0, 100));
        assert!(activity.begin(1, 100));
        let of = |worker| RunningRequest { worker, started: 100 };
        let now = 101 + fires;
        assert_eq!(requests.check(now, &activity, true), Finding::Interrupt(of(0)));
        assert_eq!(requests.check(now, &activity, true), Finding::Interrupt(of(1)));
        assert_eq!(requests.check(now + 500, &activity, true), Finding::Nothing);
        assert_eq!(requests.check(now + 501, &activity, false), Finding::Nothing);
        assert_eq!(requests.check(now + 501, &activity, true), Finding::Escalate(of(0)));
    }

    #[test]
    fn a_later_limit_of_an_interrupted_request_is_waited_for() {
        let (mut requests, activity) = requests(0, 0, 1);
        assert!(activity.begin(0, 100));
        let _ = activity.limit(0, 600);
        let running = RunningRequest { worker: 0, started: 100 };
        assert_eq!(requests.check(601, &activity, true), Finding::Interrupt(running));
        let _ = activity.limit(0, 20_000);
        assert_eq!(requests.check(20_000, &activity, true), Finding::Nothing);
        assert_eq!(requests.next(20_000, &activity, true), Some(20_001), "and no busy loop until then");
        assert_eq!(requests.check(20_001, &activity, true), Finding::Escalate(running));
    }

    #[test]
    fn a_limit_of_its_own_needs_no_other() {
        let (mut requests, activity) = requests(0, 0, 2);
        assert!(activity.begin(0, 100) && activity.begin(1, 100));
        assert_eq!(requests.next(100, &activity, true), None);
        assert!(activity.limit(1, 600), "the monitor is woken");
        assert!(!activity.limit(1, 600), "once");
        assert_eq!(requests.check(600, &activity, true), Finding::Nothing);
        assert_eq!(requests.next(100, &activity, true), Some(601));
        let running = RunningRequest { worker: 1, started: 100 };
        assert_eq!(requests.check(601, &activity, true), Finding::Interrupt(running));
        let over = 601 + PATIENCE;
        assert_eq!(requests.next(5_000, &activity, true), Some(over + 1));
        assert_eq!(requests.check(over, &activity, true), Finding::Nothing);
        assert_eq!(requests.check(over + 1, &activity, false), Finding::Nothing);
        assert_eq!(requests.check(over + 1, &activity, true), Finding::Escalate(running));
        activity.unlimit(1);
        assert_eq!(requests.check(over + 2, &activity, true), Finding::Nothing);
        assert_eq!(requests.next(over + 2, &activity, true), None);
        assert!(activity.limit(0, over + 80_000), "nobody watches any more");
        // While somebody does, a shorter limit is found soon.
        assert!(!activity.limit(0, over + 90_000));
        assert_eq!(requests.next(over + 10, &activity, true), Some(over + 10 + ROUND));
    }

    #[test]
    fn the_earlier_of_two_limits_holds() {
        let (mut requests, activity) = requests(1_000, 0, 1);
        assert!(activity.begin(0, 100) && activity.limit(0, 9_000));
        let running = RunningRequest { worker: 0, started: 100 };
        assert_eq!(
            requests.check(1_101, &activity, true),
            Finding::Escalate(running),
            "without an interrupt"
        );
        assert!(!activity.limit(0, 500));
        assert_eq!(requests.check(501, &activity, true), Finding::Interrupt(running));
    }

    #[test]
    fn an_interrupt_is_for_one_request() {
        let (mut requests, activity) = requests(1_000, 500, 1);
        assert!(activity.begin(0, 100));
        assert!(matches!(requests.check(2_000, &activity, true), Finding::Interrupt(_)));
        assert!(!activity.end(0));
        assert!(activity.begin(0, 2_100));
        assert_eq!(requests.check(3_100, &activity, true), Finding::Nothing);
        let next = RunningRequest { worker: 0, started: 2_100 };
        assert_eq!(requests.check(3_101, &activity, true), Finding::Interrupt(next));
    }

    #[test]
    fn stale_requests_are_older_than_both_limits() {
        let (scaled, activity) = requests(1_000, 500, 3);
        let stale = fires_at(1_000, 3) + 500;
        assert!(stale > 1_500, "scaled, unlike the original's");
        assert!(!scaled.is_stale(10, 10 + stale) && scaled.is_stale(10, 11 + stale));
        assert!(activity.begin(0, 10));
        assert!(activity.begin(2, 5_000));
        assert_eq!((scaled.live(5_000, &activity), scaled.live(5_001 + stale, &activity)), (1, 0));
        let (no_limit, _) = requests(0, 0, 3);
        assert!(!no_limit.is_stale(1, u64::MAX));
        let (interrupt_only, _) = requests(0, 500, 3);
        assert!(interrupt_only.is_stale(10, 511) && !interrupt_only.is_stale(10, 510));
    }

    #[test]
    fn the_next_look_is_not_too_late() {
        let (mut requests, activity) = requests(1_000, 500, 1);
        assert_eq!(requests.next(50, &activity, true), Some(1_051));
        assert!(activity.begin(0, 20));
        assert_eq!(requests.next(50, &activity, true), Some(1_021));
        assert!(matches!(requests.check(1_021, &activity, true), Finding::Interrupt(_)));
        assert_eq!(requests.next(1_021, &activity, true), Some(1_522));
        assert_eq!(
            requests.next(1_600, &activity, false),
            Some(2_601),
            "nothing can be done about the old one"
        );
    }
}
