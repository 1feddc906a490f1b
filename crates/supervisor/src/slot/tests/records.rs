//! Tallies and events of ends.

use super::*;

/// Returns a stage whose process 1 has asked for a successor, process 2, for this reason.
fn replaced(reason: Reason) -> Stage {
    let mut stage = Stage::serving();
    assert_eq!(stage.on(Event::Replace(1, reason, vec![])), [Action::Spawn(2, vec![])]);
    stage.on(Event::Spawned(2, 102));
    stage.on(Event::Started(2));
    stage
}

#[test]
fn each_end_is_counted_once_and_what_nobody_wanted_is_recorded() {
    // Replaced, and gone by itself.
    let mut stage = replaced(Reason::MaximumRequests);
    stage.on(Event::Ready(2));
    assert_eq!(stage.tallies, [], "it still runs");
    stage.on(Event::Exited(1, Exit::Status(0)));
    assert_eq!((&*stage.tallies, &*stage.events), (&[Tally::Ended(Reason::MaximumRequests)][..], &[][..]));

    // Replaced, and killed since it does not end.
    let mut stage = replaced(Reason::ScriptReload);
    stage.on(Event::Ready(2));
    let (_, actions) = stage.tick();
    assert_eq!(actions, [Action::Kill(1)]);
    stage.on(Event::Exited(1, Exit::Signal(9, false)));
    assert_eq!((&*stage.tallies, &*stage.events), (&[Tally::Ended(Reason::ScriptReload)][..], &[][..]));

    // Replaced, and crashed on its way out.
    let mut stage = replaced(Reason::ScriptReload);
    stage.on(Event::Ready(2));
    stage.on(Event::Exited(1, Exit::Signal(11, true)));
    assert_eq!(
        (&*stage.tallies, &*stage.events),
        (&[Tally::Crashed(11)][..], &[(EventKind::Crash, 101)][..])
    );

    // By itself.
    let mut stage = Stage::serving();
    stage.on(Event::Stopping(1, Reason::RequestTimeout));
    stage.on(Event::Exited(1, Exit::Status(0)));
    assert_eq!((&*stage.tallies, &*stage.events), (&[Tally::Ended(Reason::RequestTimeout)][..], &[][..]));

    for (exit, tally) in [
        (Exit::Signal(9, false), Tally::Crashed(9)),
        (Exit::Signal(6, true), Tally::Crashed(6)),
        (Exit::Status(3), Tally::Exited),
    ] {
        let mut stage = Stage::serving();
        stage.on(Event::Exited(1, exit));
        assert_eq!((&*stage.tallies, &*stage.events), (&[tally][..], &[(EventKind::Crash, 101)][..]));
    }
    let mut stage = Stage::serving();
    stage.on(Event::Exited(1, Exit::Status(0)));
    assert_eq!((&*stage.tallies, &*stage.events), (&[][..], &[][..]));

    // With the server.
    let mut stage = Stage::serving();
    stage.on(Event::Stop);
    stage.on(Event::Exited(1, Exit::Signal(15, false)));
    assert_eq!((&*stage.tallies, &*stage.events), (&[Tally::Ended(Reason::ShutdownSignal)][..], &[][..]));
}

#[test]
fn failed_starts_and_successors_are_counted_and_recorded() {
    let mut stage = Stage::new(15, Limits::default());
    stage.on(Event::Begin);
    stage.on(Event::NotSpawned(1));
    assert_eq!(
        (&*stage.tallies, &*stage.events),
        (&[Tally::FailedStart][..], &[(EventKind::FailedStart, 0)][..])
    );

    let mut stage = Stage::new(15, Limits::default());
    stage.on(Event::Begin);
    stage.on(Event::Spawned(1, 101));
    stage.on(Event::Started(1));
    stage.on(Event::Exited(1, Exit::Signal(11, false)));
    assert_eq!(stage.tallies, [Tally::Crashed(11), Tally::FailedStart]);
    assert_eq!(stage.events, [(EventKind::FailedStart, 101)]);

    let cases = [
        (NOT_IMPORTED, &[Tally::FailedReload][..]),
        (Exit::Status(1), &[Tally::Exited, Tally::FailedReload]),
        (Exit::Signal(11, false), &[Tally::Crashed(11), Tally::FailedReload]),
    ];
    for (exit, tallies) in cases {
        let mut stage = replaced(Reason::ScriptReload);
        stage.on(Event::Exited(2, exit));
        assert_eq!((&*stage.tallies, &*stage.events), (tallies, &[(EventKind::FailedReload, 102)][..]));
    }

    // Too late.
    let mut stage = replaced(Reason::ScriptReload);
    stage.after(SUCCESSOR_TIMEOUT, Event::Tick);
    assert_eq!(
        (&*stage.tallies, &*stage.events),
        (&[Tally::FailedReload][..], &[(EventKind::FailedReload, 102)][..])
    );
    stage.on(Event::Exited(2, Exit::Signal(15, false)));
    assert_eq!(stage.tallies[1..], [Tally::Ended(Reason::StartupTimeout)]);

    let mut stage = replaced(Reason::ScriptReload);
    stage.on(Event::NotSpawned(2));
    assert_eq!(
        (&*stage.tallies, &*stage.events),
        (&[Tally::FailedReload][..], &[(EventKind::FailedReload, 0)][..])
    );
}
