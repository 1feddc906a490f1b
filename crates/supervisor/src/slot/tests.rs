mod elastic;
mod properties;

use os::process::Exit;
use wsgi_core::wire::control::{Order, Script};
use wsgi_core::wire::launch::{Limits, ProcessOptions};

use super::ends::{MAX_EXITING, NOT_IMPORTED};
use super::rules::{DEFAULT_SHUTDOWN, LOST_GRACE};
use super::*;

/// A slot with a clock, that keeps what is to be done except what is written to the log.
struct Stage {
    slot: Slot,
    now: u64,
    log: Vec<(Level, String)>,
    tallies: Vec<Tally>,
    events: Vec<(EventKind, i32)>,
}

impl Stage {
    fn new(threads: u32, limits: Limits) -> Self {
        Self::of(&ProcessOptions { threads, limits, ..ProcessOptions::default() })
    }

    /// Creates a stage with the only slot of a group that needs no process.
    fn elastic() -> Self {
        let limits = Limits { graceful_timeout: 15_000, shutdown_timeout: 5_000, ..Limits::default() };
        let least_processes = Some(0);
        Self::of(&ProcessOptions { threads: 15, limits, least_processes, ..ProcessOptions::default() })
    }

    fn of(options: &ProcessOptions) -> Self {
        Self {
            slot: Slot::new(Rules::from_options(options, 0)),
            now: 1_000_000,
            log: Vec::new(),
            tallies: Vec::new(),
            events: Vec::new(),
        }
    }

    /// Wakes the slot, whose next process has this key, and then serves.
    fn awake(&mut self, key: Key) {
        assert_eq!(self.on(Event::Wake), [Action::Spawn(key, vec![])]);
        self.on(Event::Spawned(key, 100 + key as i32));
        self.on(Event::Started(key));
        assert_eq!(self.on(Event::Ready(key)), [Action::Order(key, Order::Serve)]);
        assert_eq!(self.slot.state(), State::Serving);
    }

    /// Creates a stage with the default times; a process serves, with key 1 and process id 101.
    fn serving() -> Self {
        let limits = Limits { graceful_timeout: 15_000, shutdown_timeout: 5_000, ..Limits::default() };
        let mut stage = Self::new(15, limits);
        assert_eq!(stage.on(Event::Begin), [Action::Spawn(1, vec![])]);
        stage.on(Event::Spawned(1, 101));
        assert_eq!(stage.slot.state(), State::Starting);
        assert_eq!(stage.on(Event::Ready(1)), [Action::Order(1, Order::Serve)]);
        assert_eq!((stage.slot.state(), stage.slot.serving()), (State::Serving, Some(101)));
        stage
    }

    fn on(&mut self, event: Event) -> Vec<Action> {
        let mut actions = Vec::new();
        self.slot.handle(event, self.now, &mut actions);
        actions
            .into_iter()
            .filter_map(|action| match action {
                Action::Log(level, text) => {
                    self.log.push((level, text));
                    None
                }
                Action::Tally(tally) => {
                    self.tallies.push(tally);
                    None
                }
                Action::Record(kind, pid, _) => {
                    self.events.push((kind, pid));
                    None
                }
                action => Some(action),
            })
            .collect()
    }

    fn after(&mut self, time: u64, event: Event) -> Vec<Action> {
        self.now += time;
        self.on(event)
    }

    /// Returns the next tick that the slot wants: how long until then, what it does.
    fn tick(&mut self) -> (u64, Vec<Action>) {
        let time = self.slot.next().expect("it waits for nothing") - self.now;
        if time > 0 {
            assert_eq!(self.after(time - 1, Event::Tick), [], "too early");
            self.now += 1;
        }
        (time, self.on(Event::Tick))
    }

    fn last_log(&self) -> (Level, &str) {
        self.log.last().map(|(level, text)| (*level, text.as_str())).expect("nothing was logged")
    }
}

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

fn script() -> Script {
    let callables = vec![text("application")];
    Script { path: text("/w/app.wsgi"), application_group: text("app"), callables }
}

fn text(text: &str) -> Box<[u8]> {
    text.as_bytes().into()
}

/// Asks for a successor of process 1, which is started as process 2.
fn successor_of(stage: &mut Stage) {
    let actions = stage.on(Event::Replace(1, Reason::ScriptReload, vec![script()]));
    assert_eq!(actions, [Action::Spawn(2, vec![script()])]);
    stage.on(Event::Spawned(2, 102));
    stage.on(Event::Started(2));
    assert_eq!(stage.slot.serving(), Some(101), "the old one serves until then");
}

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
