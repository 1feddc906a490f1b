//! Successors: asked for, ready, given up.

use super::*;

#[test]
fn a_successor_takes_over_when_it_is_ready() {
    let mut stage = Stage::serving();
    successor_of(&mut stage);
    assert_eq!(stage.on(Event::Replace(1, Reason::ScriptReload, vec![])), [], "there is one already");
    let actions = stage.after(3_000, Event::Ready(2));
    assert_eq!(actions, [Action::Order(1, Order::Drain(15_000)), Action::Order(2, Order::Serve)]);
    assert_eq!(stage.slot.serving(), Some(102));
    // graceful-timeout, shutdown-timeout, margin.
    assert_eq!(stage.tick(), (21_000, vec![Action::Kill(1)]));
    assert_eq!(stage.on(Event::Exited(1, Exit::Signal(9, false))), []);
    assert_eq!(stage.slot.next(), None);
    assert_eq!(stage.slot.serving(), Some(102));
}

#[test]
fn a_process_that_keeps_asking_is_replaced_every_second_at_most() {
    let mut stage = Stage::serving();
    let asked = |key| Event::Replace(key, Reason::ScriptReload, vec![script()]);
    let first = 8;
    for key in 1..first {
        assert_eq!(stage.on(asked(key)), [Action::Spawn(key + 1, vec![script()])], "at once");
        stage.on(Event::Ready(key + 1));
        stage.on(Event::Exited(key, Exit::Status(0)));
    }
    for key in first..first + 3 {
        assert_eq!(stage.after(10, asked(key)), []);
        assert_eq!(stage.on(asked(key)), [], "it has been heard");
        assert_eq!(stage.slot.state(), State::Serving);
        assert_eq!(stage.tick(), (990, vec![Action::Spawn(key + 1, vec![script()])]));
        stage.on(Event::Ready(key + 1));
        stage.on(Event::Exited(key, Exit::Status(0)));
    }
    let key = first + 3;
    // It may also stay, and see to it that its successors fail.
    stage.on(asked(key));
    stage.tick();
    stage.on(Event::Exited(key + 1, NOT_IMPORTED));
    assert_eq!(stage.on(asked(key)), []);
    // The wish for a successor ends with the process.
    assert_eq!(stage.after(1_000, Event::Exited(key, Exit::Status(0))), [Action::Spawn(key + 2, vec![])]);
    assert_eq!(stage.slot.next(), None);
}

#[test]
fn an_eviction_has_its_own_time() {
    let limits = Limits { graceful_timeout: 15_000, eviction_timeout: 700, ..Limits::default() };
    let mut stage = Stage::new(2, limits);
    stage.on(Event::Begin);
    stage.on(Event::Ready(1));
    stage.on(Event::Replace(1, Reason::EvictionSignal, vec![]));
    let actions = stage.on(Event::Ready(2));
    assert_eq!(actions[0], Action::Order(1, Order::Drain(700)));
    assert_eq!(stage.slot.next(), None, "shutdown-timeout=0 is no limit");
}

#[test]
fn without_a_successor_the_old_one_goes_on() {
    for (event, reason) in [
        (Event::Exited(2, NOT_IMPORTED), "could not import its scripts"),
        (Event::Exited(2, Exit::Signal(11, false)), "ended before it was ready: signal 11 (SIGSEGV)"),
        (Event::NotSpawned(2), "could not be started"),
    ] {
        let mut stage = Stage::serving();
        successor_of(&mut stage);
        let actions = stage.on(event);
        let [Action::Order(1, Order::NoSuccessor(said))] = &actions[..] else { panic!("{actions:?}") };
        assert!(String::from_utf8_lossy(said).contains(reason), "{actions:?}");
        assert_eq!((stage.slot.serving(), stage.slot.next()), (Some(101), None));
        // The next change of the script is another chance.
        let actions = stage.on(Event::Replace(1, Reason::ScriptReload, vec![]));
        assert_eq!(actions, [Action::Spawn(3, vec![])]);
    }
}

#[test]
fn a_successor_that_takes_too_long_is_ended() {
    let mut stage = Stage::serving();
    successor_of(&mut stage);
    let (time, actions) = stage.tick();
    assert_eq!(time, SUCCESSOR_TIMEOUT);
    assert!(
        matches!(actions[..], [Action::Order(1, Order::NoSuccessor(_)), Action::Terminate(2)]),
        "{actions:?}"
    );
    assert_eq!(stage.on(Event::Ready(2)), [], "too late");
    assert!(!stage.slot.has_killed(2));
    assert_eq!(stage.tick(), (DEFAULT_SHUTDOWN, vec![Action::Kill(2)]));
    assert!(stage.slot.has_killed(2) && !stage.slot.has_killed(1));
    assert_eq!(stage.slot.serving(), Some(101));
}

#[test]
fn a_starting_successor_replaces_a_process_that_died_or_stops() {
    for event in [Event::Exited(1, Exit::Status(1)), Event::Stopping(1, Reason::ShutdownSignal)] {
        let mut stage = Stage::serving();
        successor_of(&mut stage);
        assert_eq!(stage.on(event), [], "there is one already");
        assert_eq!((stage.slot.state(), stage.slot.serving()), (State::Starting, None));
        assert_eq!(stage.on(Event::Ready(2)), [Action::Order(2, Order::Serve)]);
        assert_eq!(stage.slot.serving(), Some(102));
    }
}

#[test]
fn a_failed_import_of_a_successor_does_not_keep_a_slot_down() {
    let mut stage = Stage::serving();
    successor_of(&mut stage);
    stage.on(Event::Exited(1, Exit::Signal(9, false)));
    assert_eq!(stage.on(Event::Exited(2, NOT_IMPORTED)), [Action::Spawn(3, vec![])], "without the script");
}
