mod elastic;
mod ending;
mod properties;
mod records;
mod starting;
mod succession;

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
