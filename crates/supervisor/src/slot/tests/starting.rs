//! Starts: their limits, and the pauses between those that fail.

use super::*;

#[test]
fn a_process_that_waits_for_its_template_has_its_time_afterwards() {
    let limits = Limits { startup_timeout: 90_000, ..Limits::default() };
    let mut stage = Stage::new(15, limits);
    assert_eq!(stage.on(Event::Begin), [Action::Spawn(1, vec![])]);
    stage.on(Event::Waiting(1));
    assert_eq!(stage.slot.next(), Some(u64::MAX), "the template has a limit of its own");
    assert_eq!(stage.after(200_000, Event::Tick), []);
    stage.on(Event::Spawned(1, 100));
    assert_eq!(stage.slot.next(), Some(stage.now + PREPARATION_TIMEOUT));
    stage.on(Event::Spawned(1, 101));
    stage.on(Event::Started(1));
    let (time, actions) = stage.tick();
    assert_eq!((time, &actions[0]), (90_000, &Action::Terminate(1)));

    // One that nobody has forked yet does not keep the slot.
    let mut stage = Stage::serving();
    stage.on(Event::Replace(1, Reason::ScriptReload, vec![script()]));
    assert_eq!((stage.slot.reason_of(2), stage.slot.reason_of(1)), (Some(Reason::ScriptReload), None));
    stage.on(Event::Waiting(2));
    let actions = stage.on(Event::Stop);
    assert_eq!(actions, [Action::Abandon { key: 2, is_late: false }, Action::Terminate(1)]);
}

#[test]
fn processes_for_one_request_each_are_no_crash_loop() {
    let limits = Limits { maximum_requests: 1, shutdown_timeout: 5_000, ..Limits::default() };
    let mut stage = Stage::new(1, limits);
    stage.on(Event::Begin);
    // Whatever was before.
    for key in 1..=starts::TOLERATED_FAILURES {
        stage.on(Event::Spawned(key, 100));
        stage.on(Event::Exited(key, Exit::Status(1)));
    }
    assert_eq!(stage.slot.state(), State::Failing);
    let (_, actions) = stage.tick();
    let first = starts::TOLERATED_FAILURES + 1;
    assert_eq!(actions, [Action::Spawn(first, vec![])]);
    for key in first..first + 20 {
        stage.on(Event::Spawned(key, 100 + key as i32));
        stage.on(Event::Ready(key));
        assert_eq!(stage.slot.state(), State::Serving);
        let actions = stage.after(10, Event::Stopping(key, Reason::MaximumRequests));
        assert_eq!(actions, [Action::Spawn(key + 1, vec![])], "at once");
        assert_eq!(stage.slot.state(), State::Starting);
        assert_eq!(stage.on(Event::Exited(key, Exit::Status(0))), []);
    }
}

#[test]
fn processes_that_end_themselves_again_and_again_are_spaced_out_and_shown() {
    let mut stage = Stage::new(1, Limits { maximum_requests: 2, ..Limits::default() });
    stage.on(Event::Begin);
    let mut delays = Vec::new();
    for key in 1..=12 {
        stage.on(Event::Spawned(key, 100 + key as i32));
        stage.on(Event::Ready(key));
        assert_eq!(stage.slot.state(), State::Serving);
        let spawned = stage.after(20, Event::Stopping(key, Reason::ShutdownSignal));
        stage.on(Event::Exited(key, Exit::Status(0)));
        assert_eq!(stage.slot.state() == State::Failing, spawned.is_empty());
        delays.push(if spawned.is_empty() { stage.tick().0 } else { 0 });
    }
    assert_eq!(delays, [0, 0, 0, 0, 0, 0, 0, 1_000, 2_000, 4_000, 8_000, 16_000]);
    let (level, text) = &stage.log[stage.log.len() - 2];
    assert_eq!(*level, Level::Error);
    assert!(
        text.starts_with("WSGI1004: processes of this slot end as soon as they are started: process 112"),
        "{text}"
    );
    stage.on(Event::Ready(13));
    let spawned = stage.after(starts::SHORT_LIFE, Event::Stopping(13, Reason::ShutdownSignal));
    assert_eq!((spawned.last(), stage.slot.state()), (Some(&Action::Spawn(14, vec![])), State::Starting));
}

#[test]
fn a_service_script_that_says_that_it_stops_is_no_faster() {
    let mut stage = Stage::new(0, Limits::default());
    stage.on(Event::Begin);
    stage.on(Event::Ready(1));
    assert_eq!(stage.after(100, Event::Stopping(1, Reason::ShutdownSignal)), []);
    assert_eq!(stage.tick(), (900, vec![Action::Spawn(2, vec![])]));
}

#[test]
fn failures_in_a_row_are_spaced_out_and_shown() {
    let mut stage = Stage::new(15, Limits::default());
    stage.on(Event::Begin);
    let mut delays = Vec::new();
    for key in 1..=9 {
        let exit = stage.after(10, Event::Exited(key, Exit::Status(1)));
        let is_failing = stage.slot.state() == State::Failing;
        assert_eq!(is_failing, key >= 3, "after {key}");
        delays.push(if exit.is_empty() { stage.tick().0 } else { 0 });
    }
    assert_eq!(delays, [0, 0, 1_000, 2_000, 4_000, 8_000, 16_000, 20_000, 20_000]);
    assert_eq!(stage.slot.state(), State::Failing, "until one is ready");
    stage.on(Event::Ready(10));
    assert_eq!(stage.slot.state(), State::Serving);
    let actions = stage.after(starts::SHORT_LIFE - 1, Event::Exited(10, Exit::Status(1)));
    assert_eq!((actions, stage.slot.state()), (vec![], State::Failing));
    stage.tick();
    stage.on(Event::Ready(11));
    let actions = stage.after(starts::SHORT_LIFE, Event::Exited(11, Exit::Status(1)));
    assert_eq!((actions, stage.slot.state()), (vec![Action::Spawn(12, vec![])], State::Starting));
}

#[test]
fn a_failed_start_counts_as_a_failure() {
    let mut stage = Stage::new(15, Limits::default());
    stage.on(Event::Begin);
    assert_eq!(stage.on(Event::NotSpawned(1)), [Action::Spawn(2, vec![])]);
    assert_eq!(stage.on(Event::NotSpawned(2)), [Action::Spawn(3, vec![])]);
    assert_eq!(stage.on(Event::NotSpawned(3)), []);
    assert_eq!((stage.slot.state(), stage.slot.serving()), (State::Failing, None));
    assert_eq!(stage.tick(), (1_000, vec![Action::Spawn(4, vec![])]));
}

#[test]
fn a_process_that_does_not_become_python_in_time_is_abandoned() {
    let mut stage = Stage::new(15, Limits::default());
    stage.on(Event::Begin);
    stage.on(Event::Spawned(1, 101));
    assert_eq!(stage.tick(), (PREPARATION_TIMEOUT, vec![Action::Abandon { key: 1, is_late: true }]));
    assert_eq!(stage.slot.next(), None, "it is not done again");
    assert_eq!(stage.on(Event::NotSpawned(1)), [Action::Spawn(2, vec![])]);
    stage.on(Event::Spawned(2, 102));
    stage.on(Event::Started(2));
    assert_eq!(stage.slot.next(), None);
    stage.on(Event::Ready(2));
    // With a successor it is the same, and one that is ready has been Python, whatever is heard
    // first.
    stage.on(Event::Replace(2, Reason::ScriptReload, vec![]));
    stage.on(Event::Spawned(3, 103));
    assert_eq!(stage.tick(), (PREPARATION_TIMEOUT, vec![Action::Abandon { key: 3, is_late: true }]));
    assert!(matches!(stage.on(Event::NotSpawned(3))[..], [Action::Order(2, Order::NoSuccessor(_))]));
    stage.on(Event::Replace(2, Reason::ScriptReload, vec![]));
    stage.on(Event::Spawned(4, 104));
    stage.on(Event::Ready(4));
    stage.on(Event::Exited(2, Exit::Status(0)));
    assert_eq!(stage.slot.next(), None);
}

#[test]
fn a_start_has_no_limit_unless_one_is_given() {
    let mut stage = Stage::new(15, Limits::default());
    stage.on(Event::Begin);
    assert_eq!(stage.slot.next(), None);
    for (given, limit) in [(10_000, SUCCESSOR_TIMEOUT), (90_000, 90_000)] {
        let mut stage = Stage::new(15, Limits { startup_timeout: given, ..Limits::default() });
        stage.on(Event::Begin);
        let (time, actions) = stage.tick();
        assert_eq!((time, actions), (limit, vec![Action::Terminate(1), Action::Spawn(2, vec![])]));
        assert!(stage.last_log().1.starts_with("WSGI1005: process "), "{:?}", stage.last_log());
    }
}

#[test]
fn a_service_script_is_started_again_every_second_at_most() {
    let mut stage = Stage::new(0, Limits { startup_timeout: 5_000, ..Limits::default() });
    stage.on(Event::Begin);
    assert_eq!(stage.on(Event::Lost(1)), []);
    assert_eq!(stage.slot.next(), None, "it may have become another program, or take as long as it wants");
    for key in 1..10 {
        assert_eq!(stage.after(100, Event::Exited(key, Exit::Status(1))), []);
        assert_eq!(stage.tick(), (900, vec![Action::Spawn(key + 1, vec![])]));
        assert_eq!(stage.slot.state(), State::Starting);
    }
    assert_eq!(stage.after(2_000, Event::Exited(10, Exit::Status(0))), [Action::Spawn(11, vec![])]);
    assert_eq!(stage.on(Event::Retire), [Action::Terminate(11)], "there must not be two");
}
