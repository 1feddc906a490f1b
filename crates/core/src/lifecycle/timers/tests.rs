//! Each rule by itself.

use super::*;

const SECOND: u64 = 1_000;
const START: u64 = 10 * SECOND;

/// Creates timers with these limits; a drain may take 15 s, a shutdown 5.
fn timers(limits: Limits) -> Timers {
    Timers::new(&limits, 1, START)
}

fn limits() -> Limits {
    Limits { graceful_timeout: 15 * SECOND, shutdown_timeout: 5 * SECOND, ..Limits::default() }
}

fn stop(reason: Reason) -> Decision {
    Decision::Stop { reason, dump_of: None }
}

fn replace(reason: Reason) -> Decision {
    Decision::Replace { reason, dump_of: None }
}

/// Serves a request from `from` to `to`.
fn serve(timers: &Timers, from: u64, to: u64) {
    timers.activity().touch(from);
    assert!(timers.activity().begin(0, from));
    timers.activity().touch(to);
    let _ = timers.activity().end(0);
}

#[test]
fn without_limits_nothing_ever_happens() {
    let mut timers = timers(Limits::default());
    serve(&timers, START, START + 5);
    assert!(timers.activity().begin(0, START));
    assert!(timers.activity().record_script_wanted(START));
    assert_eq!(timers.poll(u64::MAX), Decision::Nothing);
    assert_eq!(timers.next(START), None);
    assert_eq!((timers.reason(), timers.is_stopping(), timers.is_draining()), (None, false, false));
}

#[test]
fn every_timer_works_on_its_own() {
    let one = |limits: Limits| Limits { graceful_timeout: SECOND, ..limits };
    for (limits, at, expected) in [
        (
            one(Limits { deadlock_timeout: 7 * SECOND, ..Limits::default() }),
            START + 7 * SECOND,
            stop(Reason::DeadlockTimeout),
        ),
        (
            one(Limits { startup_timeout: 7 * SECOND, ..Limits::default() }),
            START + 8 * SECOND,
            stop(Reason::StartupTimeout),
        ),
        (
            one(Limits { inactivity_timeout: 7 * SECOND, ..Limits::default() }),
            START + 9 * SECOND,
            stop(Reason::InactivityTimeout),
        ),
        (
            one(Limits { restart_interval: 7 * SECOND, ..Limits::default() }),
            START + 7 * SECOND,
            replace(Reason::RestartInterval),
        ),
    ] {
        let mut timers = timers(limits);
        timers.activity().record_script_wanted(START + SECOND);
        serve(&timers, START + SECOND, START + 2 * SECOND);
        let mut now = START + 2 * SECOND;
        while now < at {
            assert_eq!(timers.poll(now), Decision::Nothing, "{limits:?} at {now}");
            let next = timers.next(now).unwrap();
            assert!(next > now && next <= at, "{limits:?}: {next} after {now}");
            now = next;
        }
        assert_eq!((now, timers.poll(now)), (at, expected));
    }
}

#[test]
fn free_locks_put_off_the_deadlock() {
    let mut timers = timers(Limits { deadlock_timeout: 10 * SECOND, ..limits() });
    for now in (START..START + 60 * SECOND).step_by(1_000) {
        timers.activity().record_free_locks(now);
        assert_eq!(timers.poll(now), Decision::Nothing);
    }
    let last = START + 59 * SECOND;
    for now in (last..last + 10 * SECOND).step_by(999) {
        assert_eq!(timers.poll(now), Decision::Nothing);
    }
    assert_eq!(timers.poll(last + 10 * SECOND), stop(Reason::DeadlockTimeout));
}

#[test]
fn a_process_that_did_not_run_had_no_deadlock() {
    let mut timers = timers(Limits { deadlock_timeout: 10 * SECOND, ..limits() });
    assert_eq!(timers.poll(START + SECOND), Decision::Nothing);
    let resumed = START + 3_600 * SECOND;
    assert_eq!(timers.poll(resumed), Decision::Nothing, "the watchdog did not run either");
    for now in (resumed..resumed + 10 * SECOND).step_by(999) {
        assert_eq!(timers.poll(now), Decision::Nothing);
    }
    assert_eq!(timers.poll(resumed + 10 * SECOND), stop(Reason::DeadlockTimeout));
}

#[test]
fn the_first_script_that_loads_ends_the_startup() {
    let limits = Limits { startup_timeout: 10 * SECOND, ..limits() };
    let mut waiting = timers(limits);
    assert_eq!(waiting.poll(START + 50 * SECOND), Decision::Nothing, "not before the first request");
    assert!(waiting.activity().record_script_wanted(START + 60 * SECOND));
    assert!(!waiting.activity().record_script_wanted(START + 65 * SECOND), "failing does not begin anew");
    assert_eq!(waiting.next(START + 65 * SECOND), Some(START + 70 * SECOND));
    assert_eq!(waiting.poll(START + 70 * SECOND - 1), Decision::Nothing);
    let mut loaded = waiting.clone();
    assert_eq!(waiting.poll(START + 70 * SECOND), stop(Reason::StartupTimeout));
    assert!(loaded.activity().record_script_loaded());
    assert_eq!(loaded.poll(START + 70 * SECOND), Decision::Nothing);
    assert_eq!(loaded.next(START + 70 * SECOND), None);
}

#[test]
fn inactivity_begins_with_the_first_activity() {
    let limits = Limits { inactivity_timeout: 10 * SECOND, ..limits() };
    let mut timers = timers(limits);
    assert_eq!(timers.poll(START + 500 * SECOND), Decision::Nothing);
    assert!(timers.activity().begin(0, START + 500 * SECOND));
    let _ = timers.activity().end(0);
    assert_eq!(timers.poll(START + 600 * SECOND), Decision::Nothing, "a request that is ignored");
    let active = START + 700 * SECOND;
    serve(&timers, active - 5, active);
    assert_eq!(timers.poll(active), Decision::Nothing);
    assert_eq!(timers.next(active), Some(active + 10 * SECOND));
    assert_eq!(timers.poll(active + 10 * SECOND), stop(Reason::InactivityTimeout));
}

#[test]
fn a_process_beyond_the_least_number_ends_when_it_is_idle() {
    let mut timers = timers(Limits { scale_down_idle: 10 * SECOND, ..limits() });
    // Its imports took longer than that.
    let ready = START + 30 * SECOND;
    timers.begin_serving(ready);
    assert_eq!((timers.poll(ready), timers.next(ready)), (Decision::Nothing, Some(ready + 10 * SECOND)));
    let active = ready + 9 * SECOND;
    serve(&timers, active, active);
    // One that runs without any sign of life is no reason to end.
    assert!(timers.activity().begin(0, active));
    let late = active + 10 * SECOND;
    assert_eq!((timers.poll(late), timers.next(late)), (Decision::Nothing, Some(late + SECOND)));
    let _ = timers.activity().end(0);
    assert_eq!(timers.poll(late + SECOND), replace(Reason::InactivityTimeout));
    assert_eq!(timers.drain(15 * SECOND, late + SECOND), stop(Reason::InactivityTimeout));
    let limits = Limits { scale_down_idle: 10 * SECOND, interrupt_timeout: 15 * SECOND, ..limits() };
    let mut stuck = Timers::new(&limits, 1, START);
    assert!(stuck.activity().begin(0, START));
    let late = START + 15 * SECOND;
    assert_eq!(stuck.poll(late), Decision::Nothing);
    let next = stuck.next(late).expect("a time");
    assert_eq!(stuck.poll(next - 1), Decision::Nothing, "nobody waits for it from then on");
    let unused = Timers::new(&limits, 1, START);
    assert_eq!(unused.clone().poll(START + 10 * SECOND), replace(Reason::InactivityTimeout), "nobody came");
}

#[test]
fn a_request_that_runs_is_activity_unless_stale() {
    let inactivity = Limits { inactivity_timeout: 10 * SECOND, ..limits() };
    let mut plain = timers(inactivity);
    serve(&plain, START, START);
    assert!(plain.activity().begin(0, START));
    let late = START + 10 * SECOND;
    assert_eq!(plain.poll(late), Decision::Nothing);
    assert_eq!(plain.next(late), Some(late + SECOND), "looked at again");
    let _ = plain.activity().end(0);
    assert_eq!(plain.poll(late + SECOND), stop(Reason::InactivityTimeout));

    let mut stuck = timers(Limits { interrupt_timeout: 15 * SECOND, ..inactivity });
    serve(&stuck, START, START);
    assert!(stuck.activity().begin(0, START));
    assert_eq!(stuck.poll(START + 15 * SECOND), Decision::Nothing);
    assert_eq!(
        stuck.next(START + 15 * SECOND),
        Some(START + 15 * SECOND + 1),
        "not only when it is looked again"
    );
    assert!(stuck.is_stale(0, START + 15 * SECOND + 1) && !stuck.is_stale(0, START + 15 * SECOND));
    assert_eq!(stuck.poll(START + 15 * SECOND + 1), stop(Reason::InactivityTimeout));
}

#[test]
fn enough_requests_lead_to_a_successor() {
    let limits = Limits { maximum_requests: 3, ..limits() };
    let mut timers = timers(limits);
    let activity = timers.activity().clone();
    assert_eq!([activity.end(0), activity.withdraw(0), activity.end(0)], [false, false, false]);
    assert_eq!(timers.poll(START), Decision::Nothing);
    assert!(activity.end(0), "the monitor is woken");
    assert_eq!(timers.poll(START), replace(Reason::MaximumRequests));
    assert_eq!(timers.poll(START), Decision::Nothing, "once");
    assert!(activity.end(0));
    assert_eq!(timers.drain(1, START), stop(Reason::MaximumRequests), "nothing runs");
}

#[test]
fn a_process_for_one_request_waits_for_no_successor() {
    let limits = Limits { maximum_requests: 1, ..limits() };
    let mut once = timers(limits);
    serve(&once, START, START);
    assert!(!once.activity().begin(0, START));
    assert_eq!(once.poll(START), stop(Reason::MaximumRequests));
    // Also while another reason has one made, or when there was none to be had.
    for keeps in [false, true] {
        let mut once = timers(limits);
        assert_eq!(once.trigger(Trigger::Graceful, START), replace(Reason::GracefulSignal));
        if keeps {
            once.continue_serving(START);
        }
        assert_eq!(once.poll(START), Decision::Nothing);
        serve(&once, START, START);
        let reason = if keeps { Reason::MaximumRequests } else { Reason::GracefulSignal };
        assert_eq!(once.poll(START), stop(reason));
    }
    let mut of_two = Timers::new(&limits, 2, START);
    serve(&of_two, START, START);
    assert_eq!(of_two.poll(START), replace(Reason::MaximumRequests));
}

#[test]
fn without_a_grace_there_is_nothing_to_wait_for() {
    let none = Limits { graceful_timeout: 0, ..limits() };
    let mut counted = Timers::new(&Limits { maximum_requests: 1, ..none }, 2, START);
    assert!(counted.activity().end(0));
    assert_eq!(counted.poll(START), stop(Reason::MaximumRequests));
    let mut timed = timers(Limits { restart_interval: 5, ..none });
    assert_eq!(timed.poll(START + 5), stop(Reason::RestartInterval));
    assert_eq!(timers(none).trigger(Trigger::Graceful, START), stop(Reason::GracefulSignal));
    assert_eq!(timers(none).trigger(Trigger::CpuTimeLimit, START), stop(Reason::CpuTimeLimit));
    let mut changed = timers(none);
    let better_old_than_none = replace(Reason::ScriptReload);
    assert_eq!(changed.trigger(Trigger::ScriptReload, START), better_old_than_none);
    assert!(changed.activity().begin(0, START));
    assert_eq!(changed.drain(9, START), stop(Reason::ScriptReload));
}

#[test]
fn old_requests_lead_to_a_successor_and_a_dump() {
    let limits = Limits { request_timeout: 10 * SECOND, ..limits() };
    let running = RunningRequest { worker: 0, started: START };
    let mut drained = timers(limits);
    assert!(drained.activity().begin(0, START));
    assert_eq!(drained.next(START), Some(START + 10 * SECOND + 1));
    assert_eq!(drained.poll(START + 10 * SECOND), Decision::Nothing);
    let expected = Decision::Replace { reason: Reason::RequestTimeout, dump_of: Some(running) };
    assert_eq!(drained.poll(START + 10 * SECOND + 1), expected);

    let mut stopped = timers(Limits { graceful_timeout: 0, ..limits });
    assert!(stopped.activity().begin(0, START));
    let expected = Decision::Stop { reason: Reason::RequestTimeout, dump_of: Some(running) };
    assert_eq!(stopped.poll(START + 10 * SECOND + 1), expected);
}

#[test]
fn interrupts_come_before_a_replacement_and_in_a_drain() {
    let limits = Limits { request_timeout: 10 * SECOND, interrupt_timeout: 2 * SECOND, ..limits() };
    let mut timers = timers(limits);
    assert!(timers.activity().begin(0, START));
    let running = RunningRequest { worker: 0, started: START };
    let interrupted = START + 10 * SECOND + 1;
    let mut draining = timers.clone();
    assert_eq!(timers.poll(interrupted), Decision::Interrupt(running));
    assert_eq!(timers.poll(interrupted), Decision::Nothing);
    assert_eq!(timers.next(interrupted), Some(interrupted + 2 * SECOND + 1));
    assert_eq!(timers.poll(interrupted + 2 * SECOND), Decision::Nothing);
    let expected = Decision::Replace { reason: Reason::RequestTimeout, dump_of: Some(running) };
    assert_eq!(timers.poll(interrupted + 2 * SECOND + 1), expected);

    assert_eq!(draining.drain(60 * SECOND, START), Decision::Nothing);
    assert_eq!(draining.poll(interrupted), Decision::Interrupt(running));
    // By then it is stale, too.
    assert_eq!(draining.poll(interrupted + 2 * SECOND + 1), stop(Reason::ShutdownSignal));
}

#[test]
fn signals() {
    let trigger = |limits: Limits, trigger| timers(limits).trigger(trigger, START);
    let evicts = Limits { eviction_timeout: SECOND, ..limits() };
    assert_eq!(trigger(limits(), Trigger::Terminate), stop(Reason::ShutdownSignal));
    assert_eq!(trigger(limits(), Trigger::SignalPipeError), stop(Reason::SignalPipeError));
    assert_eq!(trigger(limits(), Trigger::Graceful), replace(Reason::GracefulSignal));
    assert_eq!(trigger(evicts, Trigger::Graceful), replace(Reason::EvictionSignal));
    assert_eq!(trigger(evicts, Trigger::CpuTimeLimit), replace(Reason::CpuTimeLimit));
    let evicts_only = Limits { graceful_timeout: 0, ..evicts };
    assert_eq!(trigger(evicts_only, Trigger::Graceful), replace(Reason::EvictionSignal));
    let mut twice = timers(limits());
    assert_eq!(twice.trigger(Trigger::Graceful, START), replace(Reason::GracefulSignal));
    assert_eq!(twice.trigger(Trigger::Graceful, START), Decision::Nothing);
    assert_eq!(twice.trigger(Trigger::Terminate, START), stop(Reason::GracefulSignal), "the first reason");
    assert_eq!(twice.trigger(Trigger::Terminate, START), Decision::Nothing);
}

#[test]
fn each_drain_has_its_own_time() {
    let limits = Limits { eviction_timeout: 3 * SECOND, ..limits() };
    for (trigger, reason, grace) in [
        (Trigger::Graceful, Reason::EvictionSignal, 3 * SECOND),
        (Trigger::CpuTimeLimit, Reason::CpuTimeLimit, 15 * SECOND),
        (Trigger::ScriptReload, Reason::ScriptReload, 15 * SECOND),
    ] {
        let mut timers = timers(limits);
        assert!(timers.activity().begin(0, START));
        assert_eq!(timers.trigger(trigger, START), replace(reason));
        assert_eq!(timers.poll(START + 100 * SECOND), Decision::Nothing, "as long as it takes");
        let now = START + 200 * SECOND;
        assert_eq!(timers.drain(99 * SECOND, now), Decision::Nothing);
        assert!(timers.is_draining());
        assert_eq!(timers.next(now), Some(now + grace));
        assert_eq!(timers.poll(now + grace - 1), Decision::Nothing);
        assert_eq!(timers.poll(now + grace), stop(reason));
    }
}

#[test]
fn a_drain_ends_with_the_last_request() {
    let mut timers = Timers::new(&limits(), 2, START);
    let activity = timers.activity().clone();
    assert!(activity.begin(0, START));
    assert!(activity.begin(1, START));
    assert_eq!(timers.drain(15 * SECOND, START), Decision::Nothing);
    assert!(activity.end(0), "the monitor is woken");
    assert_eq!(timers.poll(START + SECOND), Decision::Nothing);
    assert!(!activity.begin(0, START + SECOND), "nothing new");
    assert!(activity.withdraw(0));
    assert_eq!(timers.poll(START + SECOND), Decision::Nothing);
    assert!(activity.end(1));
    assert_eq!(timers.poll(START + 2 * SECOND), stop(Reason::ShutdownSignal));
    assert!(timers.is_stopping() && !timers.is_draining());
}

#[test]
fn a_drain_does_not_wait_for_stale_requests() {
    let limits = Limits { request_timeout: 10 * SECOND, graceful_timeout: 60 * SECOND, ..limits() };
    let mut timers = timers(limits);
    assert!(timers.activity().begin(0, START));
    assert_eq!(timers.live(START), 1);
    assert_eq!(timers.drain(60 * SECOND, START), Decision::Nothing);
    assert_eq!(timers.next(START), Some(START + 10 * SECOND + 1));
    assert_eq!(timers.poll(START + 10 * SECOND), Decision::Nothing);
    assert_eq!(timers.poll(START + 10 * SECOND + 1), stop(Reason::ShutdownSignal));
}

#[test]
fn a_second_drain_can_only_shorten_the_first() {
    let mut timers = timers(limits());
    assert!(timers.activity().begin(0, START));
    assert_eq!(timers.drain(10 * SECOND, START), Decision::Nothing);
    assert_eq!(timers.drain(50 * SECOND, START), Decision::Nothing);
    assert_eq!(timers.next(START), Some(START + 10 * SECOND));
    assert_eq!(timers.drain(3 * SECOND, START), Decision::Nothing);
    assert_eq!(timers.poll(START + 3 * SECOND), stop(Reason::ShutdownSignal));
}

#[test]
fn deadlock_and_startup_do_not_wait_for_a_drain() {
    let limits = Limits { deadlock_timeout: 4 * SECOND, startup_timeout: 3 * SECOND, ..limits() };
    let mut deadlocked = timers(limits);
    assert!(deadlocked.activity().begin(0, START));
    assert_eq!(deadlocked.trigger(Trigger::Graceful, START), replace(Reason::GracefulSignal));
    assert_eq!(deadlocked.drain(0, START), Decision::Nothing);
    assert_eq!(deadlocked.poll(START + 4 * SECOND), stop(Reason::GracefulSignal), "the first reason");
    let mut starting = timers(limits);
    starting.activity().record_script_wanted(START);
    assert_eq!(starting.trigger(Trigger::ScriptReload, START), replace(Reason::ScriptReload));
    assert_eq!(starting.poll(START + 3 * SECOND), stop(Reason::ScriptReload));
}

#[test]
fn without_a_successor_it_goes_on_and_tries_again() {
    let limits = Limits { restart_interval: 10 * SECOND, maximum_requests: 1, ..limits() };
    let mut timers = Timers::new(&limits, 2, START);
    assert_eq!(timers.poll(START + 10 * SECOND), replace(Reason::RestartInterval));
    let kept = START + 11 * SECOND;
    timers.continue_serving(kept);
    assert_eq!(timers.reason(), None);
    assert!(timers.activity().end(0));
    assert_eq!(timers.poll(kept), Decision::Nothing);
    assert_eq!(timers.next(kept), Some(kept + RETRY));
    assert_eq!(timers.poll(kept + RETRY - 1), Decision::Nothing);
    assert_eq!(timers.trigger(Trigger::ScriptReload, kept), replace(Reason::ScriptReload), "not put off");
    timers.continue_serving(kept);
    assert_eq!(timers.poll(kept + RETRY), replace(Reason::MaximumRequests));
    timers.continue_serving(kept);
    timers.continue_serving(kept + RETRY);
    assert_eq!(timers.poll(kept + RETRY), replace(Reason::MaximumRequests), "only who asked is kept");
}

#[test]
fn a_script_that_never_loads_puts_nothing_off() {
    let mut timers = timers(Limits { restart_interval: 100 * SECOND, ..limits() });
    for now in (1..100).map(|seconds| START + seconds * SECOND) {
        assert_eq!(timers.trigger(Trigger::ScriptReload, now), replace(Reason::ScriptReload));
        assert_eq!(timers.poll(now), Decision::Nothing);
        timers.continue_serving(now);
        assert_eq!(timers.poll(now), Decision::Nothing);
    }
    assert_eq!(timers.poll(START + 100 * SECOND), replace(Reason::RestartInterval));
}

#[test]
fn a_shutdown_has_its_time() {
    let mut timers = timers(Limits { deadlock_timeout: SECOND, ..limits() });
    assert_eq!(timers.trigger(Trigger::Terminate, START), stop(Reason::ShutdownSignal));
    assert_eq!(timers.next(START), Some(START + 5 * SECOND));
    assert_eq!(timers.poll(START + 5 * SECOND - 1), Decision::Nothing, "no other timer any more");
    assert_eq!(timers.drain(0, START), Decision::Nothing);
    timers.continue_serving(START);
    assert_eq!(timers.poll(START + 5 * SECOND), Decision::Exit);
    assert_eq!(timers.poll(START + 6 * SECOND), Decision::Nothing);
    assert_eq!((timers.next(START), timers.reason()), (None, Some(Reason::ShutdownSignal)));

    let mut unlimited = super::Timers::new(&Limits { shutdown_timeout: 0, ..limits() }, 1, START);
    assert_eq!(unlimited.trigger(Trigger::Terminate, START), stop(Reason::ShutdownSignal));
    assert_eq!((unlimited.next(START), unlimited.poll(u64::MAX)), (None, Decision::Nothing));
}

#[test]
fn a_process_that_uses_too_much_memory_is_replaced() {
    let mut timers = timers(Limits { memory_recycle: 100, ..limits() });
    timers.begin_serving(START + 100);
    let now = START + 60 * SECOND;
    assert_eq!((timers.record_memory(100, now), timers.next(now)), (None, None));
    assert_eq!(timers.poll(now), Decision::Nothing, "it may use as much");
    assert_eq!(timers.record_memory(101, now), None);
    assert_eq!(timers.poll(now), replace(Reason::MemoryRecycle));
    timers.continue_serving(now);
    assert_eq!((timers.poll(now), timers.next(now)), (Decision::Nothing, Some(now + RETRY)));
    assert_eq!(timers.record_memory(200, now + 1), None, "its age is not the reason");
    let mut freed = timers.clone();
    freed.record_memory(99, now + 2);
    assert_eq!(freed.poll(now + RETRY), Decision::Nothing);
    assert_eq!(timers.poll(now + RETRY), replace(Reason::MemoryRecycle));
    assert_eq!(timers.drain(0, now + RETRY), stop(Reason::MemoryRecycle));
    assert_eq!(timers.record_memory(300, now + RETRY), None);
}

#[test]
fn a_size_that_is_too_small_does_not_replace_processes_all_the_time() {
    for (start, service) in [(100, 10 * SECOND), (3 * SECOND, 60 * SECOND)] {
        let mut timers = timers(Limits { memory_recycle: 100, ..limits() });
        let ready = START + start;
        timers.begin_serving(ready);
        let early = EarlyExcess { used: 150, most: 100, served: 5, service };
        assert_eq!(timers.record_memory(150, ready + 5), Some(early));
        assert_eq!(timers.poll(ready + 5), Decision::Nothing);
        assert_eq!(timers.next(ready + 5), Some(ready + service));
        assert_eq!(timers.record_memory(160, ready + 2 * SECOND), None, "it is said once");
        assert_eq!(timers.poll(ready + service - 1), Decision::Nothing);
        assert_eq!(timers.poll(ready + service), replace(Reason::MemoryRecycle));
    }
}

#[test]
fn a_service_has_no_timers() {
    let limits = Limits { restart_interval: 1, deadlock_timeout: 1, memory_recycle: 1, ..limits() };
    let mut service = Timers::new(&limits, 0, START);
    assert_eq!(service.record_memory(2, START), None);
    assert_eq!((service.next(START), service.poll(u64::MAX)), (None, Decision::Nothing));
}
