//! The life of a slot, as decisions: events in, actions out. No clock, no process.
//!
//! A slot holds the process that serves, or starts in order to; a successor while one is made
//! ready; and those that are on their way out. An elastic slot, of a group whose number of processes
//! follows the load, is dormant while no process is wanted: it has none until it is woken, and again
//! when its process has nothing more to do. Times are milliseconds of a clock that never goes
//! back.

use wsgi_core::ledger::EventKind;
use wsgi_core::lifecycle::Reason;
use wsgi_core::tallies::Tally;
use wsgi_core::wire::board::State;

use crate::log::Level;

mod ends;
mod event;
mod process;
mod rules;
pub(crate) mod starts;
mod successors;
mod timers;

pub(crate) use event::{Action, Event, Key};
pub(crate) use rules::{PREPARATION_TIMEOUT, Rules, SUCCESSOR_TIMEOUT};

use process::{ExitingProcess, Process};
use starts::{Ending, Starts};

/// A slot.
#[derive(Debug)]
pub(crate) struct Slot {
    rules: Rules,
    phase: Phase,
    current: Option<Process>,
    successor: Option<Process>,
    /// The time that the current process may take to finish what it has begun, once its successor
    /// is ready.
    grace: u64,
    exiting: Vec<ExitingProcess>,
    starts: Starts,
    /// The time at which a process is started again, while there is none.
    respawn: Option<u64>,
    /// There is no process because none is wanted.
    is_dormant: bool,
    /// It was woken by a request, which no other process can serve.
    is_awaited: bool,
    /// There will be no process any more, and the supervisor stays to say so.
    is_cut: bool,
    last_key: Key,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Phase {
    /// A process is always there, or is to be.
    Running,
    /// As long as somebody may still use it.
    Retiring,
    /// No process is started any more.
    Over,
}

impl Slot {
    /// Creates a slot without a process.
    pub(crate) fn new(rules: Rules) -> Self {
        Self {
            rules,
            phase: Phase::Running,
            current: None,
            successor: None,
            grace: 0,
            exiting: Vec::new(),
            starts: Starts::new(rules.is_service),
            respawn: None,
            is_dormant: rules.is_elastic,
            is_awaited: false,
            is_cut: false,
            last_key: 0,
        }
    }

    /// Adds what is to be done to `actions`.
    pub(crate) fn handle(&mut self, event: Event, now: u64, actions: &mut Vec<Action>) {
        self.is_cut &= !matches!(event, Event::Unused | Event::Retire | Event::Stop | Event::Kill);
        match event {
            Event::Begin if self.rules.is_elastic => {}
            Event::Begin => self.start(now, actions),
            Event::Wake => {
                self.is_awaited = true;
                self.wake(now, actions);
            }
            Event::Grow => {
                self.is_awaited = false;
                self.wake(now, actions);
            }
            Event::Waiting(key) => {
                if let Some(process) = self.starting(key) {
                    process.wait_for_template();
                }
            }
            Event::Spawned(key, pid) => {
                if let Some(process) = self.starting(key) {
                    process.pid = pid;
                    process.end_wait(now);
                    process.preparation_end = Some(now + PREPARATION_TIMEOUT);
                }
            }
            Event::Started(key) => {
                if let Some(process) = self.starting(key) {
                    process.preparation_end = None;
                }
            }
            Event::NotSpawned(key) => self.not_spawned(key, now, actions),
            Event::Ready(key) => self.ready(key, now, actions),
            Event::Replace(key, reason, scripts) => self.replace(key, reason, scripts, now, actions),
            Event::Stopping(key, reason) => self.stopping(key, reason, now, actions),
            Event::Lost(key) => self.lost(key, now),
            Event::Exited(key, exit) => self.exited(key, exit, now, actions),
            Event::Unused => self.unused(now, actions),
            Event::Cut => self.cut(now, actions),
            // There must not be two of what may be the only one of its kind.
            Event::Retire if self.rules.is_service => self.unused(now, actions),
            Event::Retire if self.phase == Phase::Running => self.phase = Phase::Retiring,
            Event::Retire => {}
            Event::Stop => self.stop(now, actions),
            Event::Kill => self.kill(now, actions),
            Event::Tick => self.tick(now, actions),
        }
    }

    /// Returns the state for the board.
    pub(crate) fn state(&self) -> State {
        match &self.current {
            Some(process) if process.is_serving => State::Serving,
            _ if self.is_cut => State::Cut,
            _ if self.is_dormant && self.phase != Phase::Over => State::Dormant,
            // Who has woken it waits, whatever there was before.
            Some(_) if self.is_awaited => State::Starting,
            _ if self.starts.is_failing() => State::Failing,
            _ => State::Starting,
        }
    }

    /// Returns the process that serves.
    pub(crate) fn serving(&self) -> Option<i32> {
        self.current.as_ref().filter(|process| process.is_serving).map(|process| process.pid)
    }

    /// Returns whether the process is still to become ready.
    pub(crate) fn is_starting(&self, key: Key) -> bool {
        let mut processes = self.current.iter().chain(&self.successor);
        processes.any(|process| process.key == key && !process.is_serving)
    }

    /// Returns whether the process was killed because it did not end by itself.
    pub(crate) fn has_killed(&self, key: Key) -> bool {
        self.exiting.iter().any(|exiting| exiting.key == key && exiting.is_killed)
    }

    /// Returns the reason for which the process is to replace another one; `None` if it does not.
    pub(crate) fn reason_of(&self, key: Key) -> Option<Reason> {
        self.successor.as_ref().filter(|process| process.key == key)?.reason
    }

    /// Returns whether no process will be started any more.
    pub(crate) fn is_ending(&self) -> bool {
        self.phase == Phase::Over
    }

    /// Returns whether there is no process, and will be none.
    pub(crate) fn is_over(&self) -> bool {
        let is_empty = self.current.is_none() && self.successor.is_none();
        is_empty && self.is_ending() && !self.is_cut && self.exiting.iter().all(|exiting| exiting.is_stuck)
    }

    fn new_process(&mut self, now: u64, startup: u64) -> Process {
        self.last_key += 1;
        self.starts.take(now);
        let startup_end = (startup > 0 && !self.rules.is_service).then(|| now + startup);
        Process {
            key: self.last_key,
            pid: 0,
            since: now,
            is_serving: false,
            preparation_end: None,
            startup_end,
            reason: None,
            awaited: None,
            lost: None,
            wanted: None,
        }
    }

    /// Starts a process that imports what the configuration says, and no more.
    fn start(&mut self, now: u64, actions: &mut Vec<Action>) {
        self.respawn = None;
        // An import may take long: there is no limit unless one was asked for, or others serve
        // meanwhile.
        let has_others = self.rules.is_elastic && !self.is_awaited;
        let has_limit = self.rules.startup > 0 || has_others;
        let limit = if has_limit { self.rules.startup.max(SUCCESSOR_TIMEOUT) } else { 0 };
        let process = self.new_process(now, limit);
        actions.push(Action::Spawn(process.key, Vec::new()));
        self.current = Some(process);
    }

    /// Starts a process in a dormant slot, as soon as starts are permitted.
    fn wake(&mut self, now: u64, actions: &mut Vec<Action>) {
        if self.phase == Phase::Over || !std::mem::take(&mut self.is_dormant) {
            return;
        }
        match self.starts.wait(now) {
            0 => self.start(now, actions),
            wait => self.respawn = Some(now + wait),
        }
    }

    /// Ends the current process of an elastic slot, which has nothing to do. Requests that come
    /// nonetheless are finished, or wake the slot again.
    fn rest(&mut self, now: u64, actions: &mut Vec<Action>) {
        let Some(old) = self.current.take() else { return };
        let text = format!("process {} has nothing more to do, and is ended", old.pid);
        actions.push(Action::Log(Level::Info, text));
        self.drain(old, Reason::InactivityTimeout, self.rules.graceful, now, actions);
        self.fall_asleep();
    }

    fn fall_asleep(&mut self) {
        self.starts.forgive();
        self.is_dormant = true;
    }

    /// Fills the slot after the current process is gone: the successor takes its place, or another
    /// one is started in `delay`.
    fn refill(&mut self, delay: u64, now: u64, actions: &mut Vec<Action>) {
        if self.phase == Phase::Over {
            return;
        }
        if let Some(successor) = self.successor.take() {
            self.current = Some(successor);
        } else if delay == 0 {
            self.start(now, actions);
        } else {
            self.respawn = Some(now + delay);
        }
    }

    fn starting(&mut self, key: Key) -> Option<&mut Process> {
        let mut processes = self.current.iter_mut().chain(&mut self.successor);
        processes.find(|process| process.key == key && !process.is_serving)
    }

    fn is_current(&self, key: Key) -> bool {
        self.current.as_ref().is_some_and(|process| process.key == key)
    }

    fn is_successor(&self, key: Key) -> bool {
        self.successor.as_ref().is_some_and(|process| process.key == key)
    }

    fn not_spawned(&mut self, key: Key, now: u64, actions: &mut Vec<Action>) {
        if self.is_successor(key) {
            self.successor = None;
            let text = "its successor could not be started";
            actions.push(Action::Tally(Tally::FailedReload));
            actions.push(Action::Record(EventKind::FailedReload, 0, text.to_owned()));
            self.continue_without_successor(text, actions);
        } else if self.is_current(key) {
            self.current = None;
            actions.push(Action::Tally(Tally::FailedStart));
            let text = "a process could not be started".to_owned();
            actions.push(Action::Record(EventKind::FailedStart, 0, text));
            let delay = self.starts.delay_after(Ending::Failed, false, 0, now);
            if delay > 0 {
                let text = format!("the next try to start a process is in {} s", delay.div_ceil(1_000));
                actions.push(Action::Log(Level::Info, text));
            }
            self.refill(delay, now, actions);
        }
    }
}

#[cfg(test)]
mod tests;
