//! Ends of processes, and of the slot.

use super::*;

#[test]
fn processes_that_announce_their_end_but_stay_do_not_pile_up() {
    // For one request each, and without a time in which they have to be gone.
    let mut stage = Stage::new(1, Limits { maximum_requests: 1, ..Limits::default() });
    stage.on(Event::Begin);
    let bound = MAX_EXITING as Key;
    for key in 1..=bound + 3 {
        stage.on(Event::Spawned(key, 100 + key as i32));
        stage.on(Event::Ready(key));
        let mut expected = vec![Action::Spawn(key + 1, vec![])];
        if key > bound {
            expected.insert(0, Action::Kill(key - bound));
        }
        assert_eq!(stage.after(10, Event::Stopping(key, Reason::MaximumRequests)), expected, "{key}");
    }
    assert!(
        stage
            .log
            .iter()
            .any(|(_, text)| text.starts_with("WSGI1008: process 101 is killed: it is the oldest of 9"))
    );
    // One that goes makes room, and the order stays.
    stage.on(Event::Exited(5, Exit::Status(0)));
    for (key, killed) in [(bound + 4, None), (bound + 5, Some(4)), (bound + 6, Some(6))] {
        stage.on(Event::Ready(key));
        let actions = stage.after(10, Event::Stopping(key, Reason::MaximumRequests));
        let kills = killed.map(Action::Kill).into_iter().chain([Action::Spawn(key + 1, vec![])]);
        assert_eq!(actions, kills.collect::<Vec<_>>());
    }
    // The end of everything gives each its time.
    let actions = stage.on(Event::Stop);
    assert!(!actions.iter().any(|action| matches!(action, Action::Kill(_))), "{actions:?}");
}

#[test]
fn a_death_is_reported_and_repaired_at_once() {
    let mut stage = Stage::serving();
    let actions = stage.after(60_000, Event::Exited(1, Exit::Signal(11, true)));
    assert_eq!(actions, [Action::Spawn(2, vec![])]);
    assert_eq!(stage.slot.state(), State::Starting);
    let told = "WSGI1002: process 101 has died: signal 11 (SIGSEGV), core dumped; another one is started";
    assert_eq!(stage.last_log(), (Level::Error, told));
    stage.on(Event::Spawned(2, 102));
    stage.on(Event::Ready(2));
    stage.after(60_000, Event::Exited(2, Exit::Status(0)));
    let told = "process 102 has died: exit status 0; another one is started";
    assert_eq!(stage.last_log(), (Level::Info, told));
}

#[test]
fn a_process_that_stops_by_itself_is_replaced_before_it_is_gone() {
    let mut stage = Stage::serving();
    let actions = stage.on(Event::Stopping(1, Reason::DeadlockTimeout));
    assert_eq!(actions, [Action::Spawn(2, vec![])]);
    assert!(stage.last_log().1.contains("101 shuts down (deadlock_timeout)"));
    assert_eq!(stage.on(Event::Replace(1, Reason::ScriptReload, vec![])), []);
    assert_eq!(stage.tick(), (6_000, vec![Action::Kill(1)]));
    assert_eq!(stage.on(Event::Exited(1, Exit::Signal(9, false))), []);
}

#[test]
fn a_stop_does_not_wait_for_processes_in_preparation() {
    for event in [Event::Stop, Event::Unused, Event::Kill] {
        let mut stage = Stage::serving();
        stage.on(Event::Replace(1, Reason::ScriptReload, vec![]));
        stage.on(Event::Spawned(2, 102));
        let actions = stage.on(event);
        assert_eq!(actions[0], Action::Abandon { key: 2, is_late: false });
        stage.on(Event::NotSpawned(2));
        stage.on(Event::Exited(1, Exit::Status(0)));
        assert!(stage.slot.is_over());
    }
}

#[test]
fn a_process_that_stops_listening_is_replaced_unless_it_ends() {
    let mut stage = Stage::serving();
    assert_eq!(stage.on(Event::Lost(1)), []);
    assert_eq!(stage.after(10, Event::Exited(1, Exit::Status(1))), [Action::Spawn(2, vec![])]);
    stage.on(Event::Ready(2));
    stage.after(10_000, Event::Lost(2));
    let (time, actions) = stage.tick();
    assert_eq!((time, actions), (LOST_GRACE, vec![Action::Terminate(2), Action::Spawn(3, vec![])]));
    assert_eq!(stage.tick(), (DEFAULT_SHUTDOWN, vec![Action::Kill(2)]));
}

#[test]
fn the_log_says_why_a_successor_or_a_process_is_given_up() {
    let mut late = Stage::serving();
    successor_of(&mut late);
    late.tick();
    let (level, text) = late.last_log();
    assert_eq!(level, Level::Error);
    assert_eq!(text, "WSGI1006: process 101 goes on, its successor was not ready in time (process 102)");

    let mut ended = Stage::serving();
    successor_of(&mut ended);
    ended.on(Event::Exited(2, Exit::Status(1)));
    let text = ended.last_log().1;
    assert!(
        text.starts_with("WSGI1006: process 101 goes on, its successor ended before it was ready"),
        "{text}"
    );

    let mut lost = Stage::serving();
    lost.on(Event::Lost(1));
    lost.tick();
    let text = lost.last_log().1;
    assert!(text.starts_with("WSGI1007: process 101 has closed its control socket"), "{text}");
}

#[test]
fn a_retired_slot_lasts_as_long_as_it_is_used() {
    let mut stage = Stage::serving();
    assert_eq!(stage.on(Event::Retire), []);
    let actions = stage.on(Event::Replace(1, Reason::MaximumRequests, vec![]));
    assert!(matches!(actions[..], [Action::Order(1, Order::NoSuccessor(_))]), "{actions:?}");
    let crash = stage.after(60_000, Event::Exited(1, Exit::Signal(6, false)));
    assert_eq!(crash, [Action::Spawn(2, vec![])], "somebody may still send to it");
    stage.on(Event::Ready(2));
    assert_eq!(stage.on(Event::Unused), [Action::Order(2, Order::Drain(15_000))]);
    assert!(!stage.slot.is_over());
    assert_eq!(stage.on(Event::Exited(2, Exit::Status(0))), []);
    assert!(stage.slot.is_over());
}

#[test]
fn a_retired_slot_is_over_when_its_process_says_so() {
    let mut stage = Stage::serving();
    stage.on(Event::Retire);
    assert_eq!(stage.on(Event::Exited(1, Exit::Status(0))), []);
    assert!(stage.slot.is_over());

    let mut stage = Stage::serving();
    successor_of(&mut stage);
    stage.on(Event::Retire);
    assert_eq!(stage.on(Event::Exited(1, Exit::Status(0))), [Action::Terminate(2)], "it has no task");
    stage.on(Event::Exited(2, Exit::Status(0)));
    assert!(stage.slot.is_over());

    let mut stage = Stage::new(15, Limits::default());
    stage.on(Event::Begin);
    stage.on(Event::Retire);
    assert_eq!(stage.on(Event::Unused), [Action::Terminate(1)], "what is not ready takes no orders");
    stage.on(Event::Exited(1, Exit::Signal(15, false)));
    assert!(stage.slot.is_over());
}

#[test]
fn stop_ends_everything() {
    let mut stage = Stage::serving();
    successor_of(&mut stage);
    stage.on(Event::Ready(2));
    stage.on(Event::Replace(2, Reason::ScriptReload, vec![]));
    let actions = stage.on(Event::Stop);
    assert_eq!(actions, [1, 2, 3].map(Action::Terminate));
    assert_eq!(stage.tick(), (6_000, [1, 2, 3].map(Action::Kill).into()));
    for key in 1..=3 {
        assert!(!stage.slot.is_over());
        assert_eq!(stage.on(Event::Exited(key, Exit::Signal(9, false))), []);
    }
    assert!(stage.slot.is_over());

    let mut failing = Stage::new(15, Limits::default());
    failing.on(Event::Begin);
    for key in 1..=3 {
        failing.on(Event::NotSpawned(key));
    }
    failing.on(Event::Stop);
    assert!(failing.slot.is_over());
    assert_eq!(failing.slot.next(), None, "a process would be started");
}

#[test]
fn the_end_that_was_asked_for_is_no_crash() {
    for (exit, level) in [
        (Exit::Status(0), Level::Info),
        (Exit::Signal(15, false), Level::Info),
        (Exit::Signal(15, true), Level::Error),
        (Exit::Signal(11, false), Level::Error),
    ] {
        let mut stage = Stage::serving();
        stage.on(Event::Stop);
        stage.on(Event::Exited(1, exit));
        assert_eq!(stage.last_log().0, level, "{exit}");
    }
}

#[test]
fn kill_waits_for_nothing() {
    let mut stage = Stage::serving();
    successor_of(&mut stage);
    stage.on(Event::Ready(2));
    stage.on(Event::Replace(2, Reason::ScriptReload, vec![]));
    stage.on(Event::Stop);
    assert_eq!(stage.on(Event::Kill), [1, 2, 3].map(Action::Kill));
    for key in 1..=3 {
        assert_eq!(stage.on(Event::Exited(key, Exit::Signal(9, false))), []);
    }
    assert!(stage.slot.is_over());

    let mut serving = Stage::serving();
    assert_eq!(serving.on(Event::Kill), [Action::Kill(1)]);
    assert!(serving.slot.is_ending());
}

#[test]
fn a_process_that_survives_sigkill_is_not_waited_for() {
    let mut stage = Stage::serving();
    successor_of(&mut stage);
    stage.on(Event::Ready(2));
    stage.on(Event::Stop);
    assert_eq!(stage.tick(), (6_000, [1, 2].map(Action::Kill).into()));
    stage.on(Event::Exited(1, Exit::Signal(9, false)));
    assert!(!stage.slot.is_over());
    assert_eq!(stage.tick(), (DEFAULT_SHUTDOWN, vec![]));
    assert!(stage.last_log().1.starts_with("WSGI1009: process 102 was killed and does not end"));
    assert!(stage.slot.is_over());
    assert_eq!((stage.slot.next(), stage.on(Event::Tick)), (None, vec![]));
    // It may do so later.
    stage.on(Event::Exited(2, Exit::Signal(9, false)));
    assert!(stage.slot.is_over());
}
