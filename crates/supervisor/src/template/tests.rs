use wsgi_core::wire::launch::Limits;

use super::*;

const IDLE: u64 = 60_000;

/// The templates of a group with a clock.
struct Stage {
    template: Template,
    now: u64,
    log: Vec<(Level, String)>,
    events: Vec<(Number, EventKind)>,
}

const NOT_IMPORTED: Option<Exit> = Some(Exit::Status(exit::NOT_IMPORTED));
const NOT_FORKABLE: Option<Exit> = Some(Exit::Status(exit::NOT_FORKABLE));
const KILLED: Option<Exit> = Some(Exit::Signal(9, false));

impl Stage {
    fn new(startup_timeout: u64) -> Self {
        let limits = Limits { startup_timeout, scale_down_idle: IDLE, ..Limits::default() };
        let options = ProcessOptions { limits, ..ProcessOptions::default() };
        Self { template: Template::new(&options), now: 1_000_000, log: Vec::new(), events: Vec::new() }
    }

    /// Creates a stage with a template that is ready, with number 1.
    fn ready() -> Self {
        let mut stage = Self::new(0);
        assert_eq!(stage.want(start(0)), [Action::Launch(1, vec![])]);
        stage.on(Event::Started(1));
        assert_eq!(stage.on(Event::Ready(1)), [Action::Fork(1, start(0))]);
        stage
    }

    fn want(&mut self, request: Request) -> Vec<Action> {
        self.on(Event::Wanted(request))
    }

    fn on(&mut self, event: Event) -> Vec<Action> {
        let mut actions = Vec::new();
        self.template.handle(event, self.now, &mut actions);
        let mut kept = Vec::new();
        for action in actions {
            match action {
                Action::Log(level, text) => self.log.push((level, text)),
                Action::Record(number, kind, _) => self.events.push((number, kind)),
                action => kept.push(action),
            }
        }
        kept
    }

    /// Returns the next tick that is wanted: how long until then, what it does.
    fn tick(&mut self) -> (u64, Vec<Action>) {
        let time = self.template.next().expect("it waits for nothing") - self.now;
        self.now += time;
        (time, self.on(Event::Tick))
    }
}

/// The request for a process that is started for no particular reason.
fn start(slot: usize) -> Request {
    Request { slot, key: 1, newer_than: None, scripts: vec![] }
}

/// The request for a process that replaces one of this template because of a change.
fn change(slot: usize, newer_than: Number) -> Request {
    let script =
        |name: &[u8]| Script { path: name.into(), application_group: b""[..].into(), callables: vec![] };
    Request { slot, key: 2, newer_than: Some(newer_than), scripts: vec![script(b"/w/app.wsgi")] }
}

#[test]
fn processes_wait_for_the_template_and_are_forked() {
    let mut stage = Stage::new(0);
    assert_eq!(stage.want(start(0)), [Action::Launch(1, vec![])]);
    assert_eq!(stage.want(start(1)), []);
    stage.on(Event::Started(1));
    assert_eq!(stage.template.next(), None, "an import may take long");
    assert_eq!(stage.on(Event::Ready(1)), [Action::Fork(1, start(0)), Action::Fork(1, start(1))]);
    assert_eq!(stage.want(start(2)), [Action::Fork(1, start(2))]);
}

#[test]
fn a_change_has_one_template_made_for_all_processes() {
    let mut stage = Stage::ready();
    let scripts = change(0, 1).scripts;
    assert_eq!(stage.want(change(0, 1)), [Action::Launch(2, scripts)]);
    assert_eq!(stage.want(change(1, 1)), []);
    assert_eq!(stage.want(start(2)), [Action::Fork(1, start(2))], "others do not wait");
    stage.on(Event::Started(2));
    let actions = stage.on(Event::Ready(2));
    assert_eq!(actions, [Action::End(1), Action::Fork(2, change(0, 1)), Action::Fork(2, change(1, 1))]);
    assert_eq!(stage.want(change(2, 1)), [Action::Fork(2, change(2, 1))], "it is new to this one");
    stage.on(Event::Ended(1, Some(Exit::Status(0))));
    assert_eq!((stage.template.next(), stage.log.len()), (None, 0));
}

#[test]
fn a_change_that_cannot_be_imported_leaves_the_old_template() {
    let mut stage = Stage::ready();
    stage.want(change(0, 1));
    assert_eq!(stage.on(Event::Ended(2, NOT_IMPORTED)), [Action::NotImported(2, change(0, 1))]);
    assert_eq!(stage.want(start(1)), [Action::Fork(1, start(1))]);
    assert_eq!((stage.template.next(), stage.log.len()), (None, 0), "it is not tried again by itself");
    assert!(matches!(stage.want(change(0, 1))[..], [Action::Launch(3, _)]));
}

#[test]
fn without_a_template_processes_start_by_themselves() {
    for exit in [NOT_FORKABLE, NOT_IMPORTED] {
        let mut stage = Stage::new(0);
        stage.want(start(0));
        stage.on(Event::Started(1));
        assert_eq!(stage.on(Event::Ended(1, exit)), [Action::StartAlone(start(0))]);
        assert_eq!(stage.want(start(1)), [Action::StartAlone(start(1))]);
        assert_eq!((stage.template.next(), stage.log.len()), (None, 0), "the template has said why");
        // The process that has started by itself counts as one of this template.
        assert_eq!(stage.template.last(), 1);
        assert!(matches!(stage.want(change(0, 1))[..], [Action::Launch(2, _)]), "the change may mend it");
        assert_eq!(stage.on(Event::Ended(2, NOT_FORKABLE)), [Action::StartAlone(change(0, 1))]);
    }
}

#[test]
fn a_template_that_dies_is_replaced() {
    let mut stage = Stage::ready();
    assert_eq!(stage.on(Event::Ended(1, KILLED)), [Action::Launch(2, vec![])], "at once");
    assert!(matches!(stage.log[..], [(Level::Warning, _)]));
    assert_eq!(stage.events, [(1, EventKind::Crash)]);
    assert_eq!(stage.want(start(1)), [], "it waits");
    assert_eq!(stage.on(Event::Ready(2)), [Action::Fork(2, start(1))]);
}

#[test]
fn templates_that_die_again_and_again_are_spaced_out() {
    let mut stage = Stage::new(0);
    stage.want(start(0));
    assert_eq!(stage.on(Event::Ended(1, KILLED)), [Action::StartAlone(start(0))]);
    assert_eq!(stage.events, [(1, EventKind::FailedStart)]);
    let mut pauses = Vec::new();
    for number in 2..9 {
        let (pause, actions) = stage.tick();
        assert!(matches!(actions[..], [Action::Launch(launched, _)] if launched == number), "{actions:?}");
        assert_eq!(stage.want(start(1)), [], "it may be ready soon");
        assert_eq!(stage.on(Event::Ended(number, KILLED)), [Action::StartAlone(start(1))]);
        pauses.push(pause);
    }
    assert!(pauses[0] == 1_000 && pauses.is_sorted() && *pauses.last().unwrap() > 10_000, "{pauses:?}");
}

#[test]
fn an_import_that_hangs_has_a_limit() {
    let mut stage = Stage::new(90_000);
    stage.want(start(0));
    assert_eq!(stage.template.next(), Some(stage.now + PREPARATION_TIMEOUT));
    stage.on(Event::Started(1));
    assert_eq!(stage.tick(), (90_000, vec![Action::Kill(1), Action::StartAlone(start(0))]));
    assert!(stage.log[0].1.contains("startup-timeout"));
    assert_eq!(stage.events, [(1, EventKind::FailedStart)]);
    stage.on(Event::Ended(1, KILLED));
    assert_eq!(stage.events.len(), 1, "its end is no other event");
    // A process that is replaced serves meanwhile: there is always a limit then.
    let mut stage = Stage::ready();
    stage.want(change(0, 1));
    stage.on(Event::Started(2));
    assert_eq!(stage.tick(), (SUCCESSOR_TIMEOUT, vec![Action::Kill(2), Action::StartAlone(change(0, 1))]));
    stage.on(Event::Ended(2, KILLED));
    assert_eq!((stage.template.next(), stage.want(start(0))), (None, vec![Action::Fork(1, start(0))]));
}

#[test]
fn a_template_that_does_not_fork_is_killed_and_replaced() {
    let mut stage = Stage::ready();
    assert_eq!(stage.on(Event::Hung(1)), [Action::Kill(1)]);
    assert_eq!(stage.on(Event::Hung(1)), [], "once");
    assert_eq!(stage.events, [(1, EventKind::Crash)]);
    assert_eq!(stage.want(start(1)), [Action::StartAlone(start(1))]);
    assert_eq!(stage.tick(), (0, vec![Action::Launch(2, vec![])]));
}

#[test]
fn a_process_that_cannot_be_forked_starts_by_itself() {
    let mut stage = Stage::ready();
    assert_eq!(stage.on(Event::NotForked(1, start(0))), [Action::StartAlone(start(0))]);
    assert_eq!(stage.want(start(1)), [Action::Fork(1, start(1))], "it may be able to fork another one");
    // If it could not because it has ended, there will be another one.
    assert_eq!(stage.on(Event::Ended(1, KILLED)), [Action::Launch(2, vec![])]);
    assert_eq!(stage.on(Event::NotForked(1, start(1))), []);
    assert_eq!(stage.on(Event::Ready(2)), [Action::Fork(2, start(1))]);
    // A change has been imported by then.
    assert_eq!(stage.on(Event::NotForked(2, change(0, 1))), [Action::StartAlone(change(0, 1))]);
}

#[test]
fn a_template_does_not_outlive_a_change_that_processes_have_imported_by_themselves() {
    // The new one cannot be forked.
    let mut stage = Stage::ready();
    stage.want(change(0, 1));
    assert_eq!(stage.on(Event::Ended(2, NOT_FORKABLE)), [Action::StartAlone(change(0, 1))]);
    assert_eq!(stage.want(start(1)), [Action::Fork(1, start(1))], "the change may fail yet");
    assert_eq!(stage.on(Event::OutOfDate(1)), [Action::End(1)]);
    assert_eq!(stage.want(start(1)), [Action::StartAlone(start(1))]);
    stage.on(Event::Ended(1, KILLED));
    assert_eq!((stage.template.next(), stage.log.len()), (None, 0), "until the next change");
    assert!(matches!(stage.want(change(0, 2))[..], [Action::Launch(3, _)]));
    // It was not ready in time.
    let mut stage = Stage::ready();
    stage.want(change(0, 1));
    stage.on(Event::Ended(2, KILLED));
    assert_eq!(stage.on(Event::OutOfDate(1)), [Action::End(1)]);
    stage.on(Event::Ended(1, KILLED));
    assert!(
        matches!(stage.tick(), (END_TIMEOUT, actions) if actions == [Action::Launch(3, vec![])]),
        "it may be now"
    );
    // There have been too many.
    let mut stage = Stage::ready();
    while let [Action::Launch(number, _)] = stage.want(change(0, stage.template.last()))[..] {
        stage.on(Event::Ready(number));
        stage.on(Event::Ended(number - 1, KILLED));
    }
    let last = stage.template.last();
    assert!(matches!(stage.on(Event::OutOfDate(last))[..], [Action::End(number)] if number == last));
    assert_eq!(stage.template.next(), Some(stage.now + END_TIMEOUT));
    stage.on(Event::Ended(last, KILLED));
    assert!(matches!(stage.tick().1[..], [Action::Launch(number, _)] if number == last + 1));
}

#[test]
fn a_template_that_is_newer_than_the_change_stays() {
    let mut stage = Stage::ready();
    stage.want(change(0, 1));
    stage.on(Event::Ready(2));
    assert_eq!(stage.on(Event::OutOfDate(1)), []);
    assert_eq!(stage.want(start(1)), [Action::Fork(2, start(1))]);
}

#[test]
fn a_template_ends_when_no_process_has_been_there_for_a_while() {
    let mut stage = Stage::ready();
    stage.want(start(1));
    stage.on(Event::Dormant(1));
    assert_eq!(stage.template.next(), None, "one is there");
    stage.on(Event::Dormant(0));
    stage.now += IDLE - 1;
    assert_eq!(stage.on(Event::Tick), []);
    assert_eq!(stage.want(start(0)), [Action::Fork(1, start(0))]);
    assert_eq!(stage.template.next(), None);
    stage.on(Event::Dormant(0));
    assert_eq!(stage.tick(), (IDLE, vec![Action::End(1)]));
    stage.on(Event::Ended(1, KILLED));
    assert_eq!((stage.template.next(), stage.log.len()), (None, 0));
    assert_eq!(stage.want(start(0)), [Action::Launch(2, vec![])]);
    // One that dies meanwhile is not missed.
    stage.on(Event::Ready(2));
    stage.on(Event::Dormant(0));
    assert_eq!(stage.on(Event::Ended(2, KILLED)), []);
    assert_eq!(stage.want(start(0)), [Action::Launch(3, vec![])]);
    // One that has been refused is not tried again with each process.
    stage.on(Event::Ended(3, NOT_FORKABLE));
    stage.on(Event::Dormant(0));
    assert_eq!(stage.tick(), (IDLE, vec![]));
    assert_eq!(stage.want(start(0)), [Action::StartAlone(start(0))]);
}

#[test]
fn templates_end_with_their_generation() {
    let mut stage = Stage::ready();
    stage.want(change(0, 1));
    let actions = stage.on(Event::Retire);
    assert_eq!(actions, [Action::End(2), Action::End(1), Action::StartAlone(change(0, 1))]);
    assert!(!stage.template.is_over());
    assert_eq!(stage.want(start(0)), [Action::StartAlone(start(0))]);
    stage.on(Event::Ended(2, KILLED));
    assert_eq!(stage.tick(), (END_TIMEOUT, vec![Action::Kill(1)]), "one that does not end");
    assert!(!stage.template.is_over());
    assert_eq!(stage.tick(), (END_TIMEOUT, vec![]), "the system holds it");
    assert!(stage.template.is_over() && stage.template.next().is_none());
    assert_eq!(stage.on(Event::Ended(1, KILLED)), []);
}

#[test]
fn when_there_is_no_time_they_are_killed() {
    let mut stage = Stage::ready();
    stage.on(Event::Retire);
    assert_eq!(stage.on(Event::Kill), [Action::Kill(1)]);
    let mut stage = Stage::ready();
    assert_eq!(stage.on(Event::Kill), [Action::End(1), Action::Kill(1)]);
    stage.on(Event::Ended(1, KILLED));
    assert!(stage.template.is_over());
}
