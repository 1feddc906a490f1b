//! Properties that hold for any sequence of events.

use proptest::prelude::*;

use super::*;

const THREADS: u32 = 3;

#[derive(Debug, Clone)]
enum Event {
    Passes(u64),
    Begins(usize),
    FindsNothing(usize),
    HasLimit(usize, u64),
    Ends(usize),
    Activity,
    LocksFree,
    Memory(u64),
    ScriptWanted,
    ScriptLoaded,
    Trigger(Trigger),
    Drain(u64),
    Keep,
}

impl Event {
    /// Returns the same event for one of so many workers.
    fn among(self, workers: usize) -> Self {
        match self {
            Self::Begins(worker) => Self::Begins(worker % workers),
            Self::FindsNothing(worker) => Self::FindsNothing(worker % workers),
            Self::HasLimit(worker, time) => Self::HasLimit(worker % workers, time),
            Self::Ends(worker) => Self::Ends(worker % workers),
            other => other,
        }
    }
}

fn event() -> impl Strategy<Value = Event> {
    let triggers =
        prop::sample::select(vec![Trigger::Graceful, Trigger::CpuTimeLimit, Trigger::ScriptReload]);
    let ends = prop::sample::select(vec![Trigger::Terminate, Trigger::SignalPipeError]);
    prop_oneof![
        8 => prop_oneof![0..50_u64, 0..5_000_u64, 0..100_000_u64].prop_map(Event::Passes),
        6 => (0..THREADS as usize).prop_map(Event::Begins),
        2 => (0..THREADS as usize).prop_map(Event::FindsNothing),
        3 => (0..THREADS as usize, 0..30_000_u64).prop_map(|(worker, time)| Event::HasLimit(worker, time)),
        6 => (0..THREADS as usize).prop_map(Event::Ends),
        2 => Just(Event::Activity),
        2 => Just(Event::LocksFree),
        2 => (0..4_u64).prop_map(Event::Memory),
        1 => Just(Event::ScriptWanted),
        1 => Just(Event::ScriptLoaded),
        1 => triggers.prop_map(Event::Trigger),
        1 => ends.prop_map(Event::Trigger),
        2 => (0..20_000_u64).prop_map(Event::Drain),
        2 => Just(Event::Keep),
    ]
}

fn limit() -> impl Strategy<Value = u64> {
    prop_oneof![Just(0), 1..30_000_u64, Just(u64::MAX)]
}

prop_compose! {
    fn limits()(times in prop::array::uniform9(limit()), shutdown_timeout in limit(), maximum_requests in 0..6_u64, memory_recycle in 0..3_u64) -> Limits {
        let [startup_timeout, deadlock_timeout, inactivity_timeout, request_timeout, interrupt_timeout, graceful_timeout,
            eviction_timeout, restart_interval, scale_down_idle] = times;
        Limits {
            maximum_requests, memory_recycle, startup_timeout, deadlock_timeout, inactivity_timeout, request_timeout, interrupt_timeout,
            graceful_timeout, eviction_timeout, restart_interval, shutdown_timeout, scale_down_idle, ..Limits::default()
        }
    }
}

/// A model that follows the decisions, and knows which ones may come.
#[derive(Debug, Default)]
struct Follower {
    reason: Option<Reason>,
    waits_for_successor: bool,
    /// There was a request with a limit of its own.
    has_limits: bool,
    stopped: Option<u64>,
    exited: bool,
}

impl Follower {
    fn follow(&mut self, decision: Decision, limits: &Limits, now: u64) -> Result<(), TestCaseError> {
        match decision {
            Decision::Nothing => {}
            Decision::Interrupt(_) => {
                prop_assert!(self.stopped.is_none() && (limits.interrupt_timeout != 0 || self.has_limits));
            }
            Decision::Replace { reason, .. } => {
                prop_assert!(self.stopped.is_none() && self.reason.is_none(), "only one at a time");
                self.reason = Some(reason);
                self.waits_for_successor = true;
            }
            Decision::Stop { reason, .. } => {
                prop_assert!(self.stopped.is_none(), "stops once");
                prop_assert_eq!(reason, self.reason.unwrap_or(reason), "the first reason");
                self.reason = Some(reason);
                self.stopped = Some(now);
            }
            Decision::Exit => {
                let stopped = self.stopped;
                prop_assert!(!self.exited && stopped.is_some_and(|at| now - at >= limits.shutdown_timeout));
                self.exited = true;
            }
        }
        Ok(())
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(1_000))]

    #[test]
    fn decisions_are_consistent_in_any_history(threads in 1..=THREADS, limits in limits(), events in prop::collection::vec(event(), 0..60), early in 0.0..1.0_f64) {
        let mut now = 1_000;
        let mut timers = Timers::new(&limits, threads, now);
        let activity = timers.activity().clone();
        let mut follower = Follower::default();
        for event in events {
            let mut decision = Decision::Nothing;
            match event.among(threads as usize) {
                Event::Passes(time) => now += time,
                // A worker takes one request after the other.
                Event::Begins(worker) | Event::FindsNothing(worker) if activity.started(worker).is_some() => {}
                Event::Begins(worker) => {
                    let is_open = activity.begin(worker, now);
                    prop_assert_eq!(is_open, !timers.is_draining() && !timers.is_stopping());
                    if !is_open {
                        let wakes = activity.withdraw(worker);
                        prop_assert!(wakes);
                    }
                }
                Event::FindsNothing(worker) => {
                    let finished = activity.finished();
                    let _ = activity.begin(worker, now);
                    let wakes = activity.withdraw(worker);
                    prop_assert!(wakes || !timers.is_draining());
                    prop_assert_eq!((activity.finished(), activity.started(worker)), (finished, None));
                }
                Event::HasLimit(worker, _) | Event::Ends(worker) if activity.started(worker).is_none() => {}
                Event::HasLimit(worker, time) => {
                    let _ = activity.limit(worker, now + time);
                    follower.has_limits = true;
                }
                Event::Ends(worker) => {
                    activity.unlimit(worker);
                    let wakes = activity.end(worker);
                    prop_assert!(wakes || !timers.is_draining());
                }
                Event::Activity => activity.touch(now),
                Event::LocksFree => activity.record_free_locks(now),
                Event::Memory(used) => drop(timers.record_memory(used, now)),
                Event::ScriptWanted => drop(activity.record_script_wanted(now)),
                Event::ScriptLoaded => drop(activity.record_script_loaded()),
                Event::Trigger(trigger) => decision = timers.trigger(trigger, now),
                Event::Drain(grace) => {
                    decision = timers.drain(grace, now);
                    if follower.reason.is_none() {
                        follower.reason = timers.reason();
                    }
                    follower.waits_for_successor = false;
                }
                Event::Keep => {
                    timers.continue_serving(now);
                    if follower.waits_for_successor && follower.stopped.is_none() {
                        follower.reason = None;
                        follower.waits_for_successor = false;
                    }
                }
            }
            follower.follow(decision, &limits, now)?;
            // The monitor: until there is nothing more to do. Each request is interrupted at most
            // once.
            let mut polls = 0;
            loop {
                let drains = timers.is_draining();
                let before = timers.clone();
                let decision = timers.poll(now);
                if let (true, Decision::Stop { .. }) = (drains, decision) {
                    let is_due = matches!(before.state, State::Draining { deadline, .. } if now >= deadline);
                    let is_urgent = [before.deadlock(), before.startup()].into_iter().flatten().any(|at| now >= at);
                    prop_assert!(is_due || is_urgent || before.live(now) == 0, "a drain gives requests their time");
                }
                follower.follow(decision, &limits, now)?;
                if decision == Decision::Nothing {
                    break;
                }
                polls += 1;
                prop_assert!(polls <= threads + 3, "it comes to an end");
            }
            prop_assert_eq!(timers.reason(), follower.reason);
            prop_assert_eq!(timers.is_stopping(), follower.stopped.is_some());
            if limits.is_run_once(threads) {
                prop_assert!(activity.finished() == 0 || timers.is_stopping(), "one request is enough");
                prop_assert!(activity.is_open() != timers.is_stopping() || timers.is_draining());
            }
            if timers.is_draining() {
                prop_assert!(timers.live(now) > 0);
            }
            // Between now and the next time, there is nothing to do; and that time is not now.
            let next = timers.next(now);
            prop_assert!(next.is_none_or(|next| next > now), "no busy loop");
            let end = next.unwrap_or(u64::MAX);
            let meanwhile = now + ((end - now - 1) as f64 * early) as u64;
            let meanwhile = meanwhile.min(end - 1);
            prop_assert_eq!(timers.clone().poll(meanwhile), Decision::Nothing, "not before {}", end);
            if let State::Draining { deadline, .. } = timers.state {
                let stops = matches!(timers.clone().poll(deadline), Decision::Stop { .. });
                prop_assert!(stops, "not later than its deadline");
            }
            if let State::Stopping { exit: Some(exit), .. } = timers.state {
                prop_assert_eq!(timers.clone().poll(exit), Decision::Exit);
            }
        }
    }
}
