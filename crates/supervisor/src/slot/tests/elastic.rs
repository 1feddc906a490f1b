//! Slots of groups whose number of processes follows the load.

use super::*;

#[test]
fn a_process_is_started_when_one_is_wanted() {
    let mut stage = Stage::elastic();
    assert_eq!(stage.on(Event::Begin), []);
    assert_eq!((stage.slot.state(), stage.slot.next()), (State::Dormant, None));
    stage.awake(1);
    assert_eq!(stage.on(Event::Wake), [], "there is one");
}

#[test]
fn the_first_processes_of_a_group_are_always_there() {
    let least_processes = Some(2);
    let options = ProcessOptions { processes: Some(3), least_processes, ..ProcessOptions::default() };
    for (number, state) in [(0, State::Starting), (1, State::Starting), (2, State::Dormant)] {
        let mut stage = Stage::new(15, Limits::default());
        stage.slot = Slot::new(Rules::from_options(&options, number));
        assert_eq!((stage.on(Event::Begin).len(), stage.slot.state()), (usize::from(number < 2), state));
    }
}

#[test]
fn a_process_with_nothing_to_do_ends_without_a_successor() {
    let mut stage = Stage::elastic();
    stage.on(Event::Begin);
    stage.awake(1);
    let actions = stage.after(60_000, Event::Replace(1, Reason::InactivityTimeout, vec![script()]));
    assert_eq!(actions, [Action::Order(1, Order::Drain(15_000))]);
    assert_eq!((stage.slot.state(), stage.slot.serving()), (State::Dormant, None));
    // It is wanted again before that one has ended.
    stage.awake(2);
    assert_eq!(stage.on(Event::Stopping(1, Reason::InactivityTimeout)), []);
    assert_eq!(stage.on(Event::Exited(1, Exit::Status(0))), []);
    assert_eq!(stage.slot.serving(), Some(102));
    // `inactivity-timeout` has the same effect.
    assert_eq!(stage.after(60_000, Event::Stopping(2, Reason::InactivityTimeout)), []);
    assert_eq!(stage.on(Event::Exited(2, Exit::Status(0))), []);
    assert_eq!((stage.slot.state(), stage.slot.next()), (State::Dormant, None));
}

#[test]
fn a_process_that_is_wanted_is_replaced_as_any_other() {
    let mut stage = Stage::elastic();
    stage.on(Event::Begin);
    stage.awake(1);
    successor_of(&mut stage);
    assert_eq!(stage.on(Event::Replace(1, Reason::InactivityTimeout, vec![])), [], "one is on its way");
    stage.on(Event::Ready(2));
    assert_eq!(stage.slot.serving(), Some(102));
    assert_eq!(stage.on(Event::Exited(2, Exit::Signal(11, true))), [Action::Spawn(3, vec![])]);
    stage.on(Event::Spawned(3, 103));
    stage.on(Event::Ready(3));
    assert_eq!(stage.after(9, Event::Stopping(3, Reason::ShutdownSignal)), [Action::Spawn(4, vec![])]);
}

#[test]
fn after_failures_nobody_tries_who_is_not_asked() {
    let mut stage = Stage::elastic();
    stage.on(Event::Begin);
    stage.on(Event::Wake);
    assert_eq!(stage.on(Event::NotSpawned(1)), [Action::Spawn(2, vec![])]);
    assert_eq!(stage.on(Event::NotSpawned(2)), [Action::Spawn(3, vec![])]);
    assert_eq!(stage.on(Event::NotSpawned(3)), []);
    assert_eq!((stage.slot.state(), stage.on(Event::Wake)), (State::Failing, vec![]));
    assert_eq!(stage.tick(), (1_000, vec![]));
    assert_eq!((stage.slot.state(), stage.slot.next()), (State::Dormant, None));
    assert_eq!(stage.on(Event::Wake), [Action::Spawn(4, vec![])]);
    assert_eq!(stage.slot.state(), State::Starting, "who has asked waits for it");
    assert_eq!((stage.on(Event::NotSpawned(4)), stage.slot.state()), (vec![], State::Failing));
    assert_eq!(stage.tick(), (2_000, vec![]));
    assert_eq!(stage.on(Event::Grow), [Action::Spawn(5, vec![])]);
    assert_eq!(stage.slot.state(), State::Failing, "others can take requests");
    assert_eq!(stage.on(Event::NotSpawned(5)), []);
    assert_eq!(stage.tick(), (4_000, vec![]));
    stage.awake(6);
    stage.on(Event::Replace(6, Reason::InactivityTimeout, vec![]));
    assert_eq!(stage.on(Event::Wake), [Action::Spawn(7, vec![])]);
    assert_eq!(stage.slot.state(), State::Starting, "it is well again");
}

#[test]
fn an_import_that_hangs_does_not_keep_a_group_from_growing() {
    let mut stage = Stage::elastic();
    stage.on(Event::Grow);
    stage.on(Event::Spawned(1, 101));
    stage.on(Event::Started(1));
    assert_eq!(stage.tick(), (SUCCESSOR_TIMEOUT, vec![Action::Terminate(1), Action::Spawn(2, vec![])]));
    // Where requests wait for it, an import may take long.
    let mut stage = Stage::elastic();
    stage.on(Event::Wake);
    stage.on(Event::Spawned(1, 101));
    stage.on(Event::Started(1));
    assert_eq!(stage.slot.next(), None);
}

#[test]
fn starts_have_one_bound_whoever_wants_them() {
    let mut stage = Stage::elastic();
    stage.on(Event::Begin);
    for key in 1..=8 {
        stage.awake(key);
        stage.on(Event::Replace(key, Reason::InactivityTimeout, vec![]));
        stage.on(Event::Exited(key, Exit::Status(0)));
    }
    assert_eq!((stage.on(Event::Wake), stage.slot.state()), (vec![], State::Starting));
    // Whoever wants it has been waiting in the channel, and is seen now.
    assert_eq!(stage.tick(), (1_000, vec![]));
    stage.awake(9);
}

#[test]
fn a_dormant_slot_ends_with_its_generation() {
    for (events, is_over) in [
        (vec![Event::Stop], true),
        (vec![Event::Kill], true),
        (vec![Event::Retire], false),
        (vec![Event::Retire, Event::Unused], true),
        (vec![Event::Cut], false),
        (vec![Event::Cut, Event::Unused], true),
    ] {
        let mut stage = Stage::elastic();
        stage.on(Event::Begin);
        for event in events {
            assert_eq!(stage.on(event), []);
        }
        assert_eq!((stage.slot.is_over(), stage.slot.next()), (is_over, None));
        let has_process = !stage.on(Event::Wake).is_empty();
        // Old children may still want it, until they are gone.
        assert_eq!(has_process, stage.slot.phase == Phase::Retiring);
    }
}
