//! The life of a slot, as decisions: events in, actions out. No clock, no process.
//!
//! A slot holds the process that serves, or starts in order to; a successor while one is made
//! ready; and those that are on their way out. An elastic slot, of a group whose number of processes
//! follows the load, is dormant while no process is wanted: it has none until it is woken, and again
//! when its process has nothing more to do. Times are milliseconds of a clock that never goes
//! back.

use os::process::{Exit, Signal};
use std::fmt;
use wsgi_core::codes::{
    CONTROL_SOCKET_CLOSED, Code, NOT_READY_IN_TIME, PROCESS_DIED, PROCESS_KILLED, PROCESS_STUCK,
    PROCESSES_END_AT_ONCE, SUCCESSOR_FAILED,
};
use wsgi_core::ledger::EventKind;
use wsgi_core::lifecycle::Reason;
use wsgi_core::tallies::Tally;
use wsgi_core::wire::board::State;
use wsgi_core::wire::control::{Order, Script};
use wsgi_core::wire::exit;

use crate::log::Level;

mod process;
mod rules;
pub(crate) mod starts;

pub(crate) use rules::Rules;

use process::{ExitingProcess, Process, WantedSuccessor};
use rules::EXIT_MARGIN;
use starts::{Ending, Starts};

/// The time that a successor, or one process more, may take until it is ready.
pub(crate) const SUCCESSOR_TIMEOUT: u64 = 60_000;
/// The time that a process may take until Python runs in it: the user database and file systems can
/// take as long as they want.
pub(crate) const PREPARATION_TIMEOUT: u64 = 10_000;
/// The time that a process whose control socket is closed may take to end.
const LOST_GRACE: u64 = 1_000;
/// The time that a shutdown without limit may take when the server ends.
const DEFAULT_SHUTDOWN: u64 = 5_000;
/// The number of processes of a slot that may be on their way out at the same time.
const MAX_EXITING: usize = 8;
/// The end of a successor that cannot import its scripts.
const NOT_IMPORTED: Exit = Exit::Status(exit::NOT_IMPORTED);

/// The number of a process within its slot.
pub(crate) type Key = u32;

/// An event of a slot.
#[derive(Debug)]
pub(crate) enum Event {
    /// The supervisor has started.
    Begin,
    /// A process is wanted, should there be none: a request waits for it.
    Wake,
    /// A process is wanted, should there be none: others of its group are busy.
    Grow,
    /// The process that was asked for is to be forked from its group's template, once there is
    /// one, which has a limit of its own for that. [`Spawned`](Self::Spawned) or
    /// [`NotSpawned`](Self::NotSpawned) follows.
    Waiting(Key),
    /// The process that was asked for is there, and prepares itself.
    Spawned(Key, i32),
    /// It has become Python.
    Started(Key),
    /// It could not be started, or has failed to become Python: it does not count as a process any
    /// more.
    NotSpawned(Key),
    /// It can serve.
    Ready(Key),
    /// It wants a successor that has imported these scripts.
    Replace(Key, Reason, Vec<Script>),
    /// It is about to end by itself.
    Stopping(Key, Reason),
    /// Its control socket is closed, or does not take what is sent.
    Lost(Key),
    /// It has ended.
    Exited(Key, Exit),
    /// Nobody can send connections any more, or will.
    Unused,
    /// The channel takes none any more, though the generation lives: the process that had it has
    /// shut it down.
    Cut,
    /// The configuration was read again, or the server ends: [`Unused`](Self::Unused) is to come.
    Retire,
    /// Everything has to end now.
    Stop,
    /// There is no time left for that.
    Kill,
    /// Time has passed.
    Tick,
}

/// An action that an event leads to.
#[derive(Debug, PartialEq)]
pub(crate) enum Action {
    /// Start a process, which imports these scripts. [`Event::Spawned`] or [`Event::NotSpawned`]
    /// answers.
    Spawn(Key, Vec<Script>),
    /// End a process that prepares itself, and forget it; late is one whose time is over.
    /// [`Event::NotSpawned`] answers.
    Abandon {
        /// The process.
        key: Key,
        /// True if to say so.
        is_late: bool,
    },
    /// Tell a process.
    Order(Key, Order),
    /// Ask a process to end.
    Terminate(Key),
    /// End a process.
    Kill(Key),
    /// Write to the log.
    Log(Level, String),
    /// Count the end of a process, or of an attempt to have one.
    Tally(Tally),
    /// Record what happened to the process with this id (0: there was none), with the cause.
    Record(EventKind, i32, String),
}

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

    /// Returns the time at which it wants a tick, at the latest.
    pub(crate) fn next(&self) -> Option<u64> {
        let processes = self.current.iter().chain(&self.successor);
        let times = processes.flat_map(|process| {
            [
                process.preparation_end,
                process.startup_end,
                process.lost,
                process.wanted.as_ref().map(|wanted| wanted.at),
            ]
        });
        let times = times.chain(self.exiting.iter().map(|exiting| exiting.end));
        times.chain([self.respawn]).flatten().min()
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

    fn ready(&mut self, key: Key, now: u64, actions: &mut Vec<Action>) {
        if self.is_successor(key) {
            let reason = self.reason_of(key).unwrap_or(Reason::ShutdownSignal);
            let old = std::mem::replace(&mut self.current, self.successor.take());
            if let Some(old) = old {
                self.drain(old, reason, self.grace, now, actions);
            }
        }
        let Some(process) = self.starting(key) else { return };
        process.is_serving = true;
        process.preparation_end = None;
        process.startup_end = None;
        actions.push(Action::Order(key, Order::Serve));
    }

    fn drain(&mut self, old: Process, reason: Reason, grace: u64, now: u64, actions: &mut Vec<Action>) {
        let order = Order::Drain(u32::try_from(grace).unwrap_or(u32::MAX));
        actions.push(Action::Order(old.key, order));
        self.expect_exit(&old, reason, self.rules.end(now, grace), now, actions);
    }

    /// Records that a process is on its way out. If too many are, the oldest is killed, whatever
    /// time it has.
    fn expect_exit(
        &mut self,
        process: &Process,
        reason: Reason,
        end: Option<u64>,
        now: u64,
        actions: &mut Vec<Action>,
    ) {
        let Process { key, pid, .. } = *process;
        self.exiting.push(ExitingProcess { key, pid, reason, end, is_killed: false, is_stuck: false });
        if self.phase == Phase::Over {
            // None is started any more.
            return;
        }
        let going = self.exiting.iter().filter(|exiting| !exiting.is_killed).count();
        if going > MAX_EXITING
            && let Some(oldest) = self.exiting.iter_mut().find(|exiting| !exiting.is_killed)
        {
            let text = format!(
                "process {} is killed: it is the oldest of {going} of its slot that are on their way out",
                oldest.pid
            );
            actions.push(message(PROCESS_KILLED, text));
            actions.push(oldest.kill(now));
        }
    }

    fn replace(
        &mut self,
        key: Key,
        reason: Reason,
        scripts: Vec<Script>,
        now: u64,
        actions: &mut Vec<Action>,
    ) {
        let process = self.current.as_mut().filter(|process| process.key == key && process.is_serving);
        let Some(process) = process.filter(|process| process.wanted.is_none()) else { return };
        if self.successor.is_some() {
            return;
        }
        if self.rules.is_elastic && reason == Reason::InactivityTimeout {
            return self.rest(now, actions);
        }
        // It may ask again and again. It serves meanwhile, and the state stays so.
        let wait = self.starts.wait(now);
        if wait > 0 && self.phase == Phase::Running {
            process.wanted = Some(WantedSuccessor { at: now + wait, reason, scripts });
        } else {
            self.start_successor(reason, scripts, now, actions);
        }
    }

    /// Starts the successor that the current process wants.
    fn start_successor(&mut self, reason: Reason, scripts: Vec<Script>, now: u64, actions: &mut Vec<Action>) {
        if self.phase != Phase::Running {
            self.continue_without_successor("the server has read its configuration again, or ends", actions);
            return;
        }
        let mut process = self.new_process(now, SUCCESSOR_TIMEOUT.max(self.rules.startup));
        process.reason = Some(reason);
        self.grace = self.rules.grace(reason);
        let (pid, reason) = (self.current_pid(), reason.name());
        actions.push(Action::Log(Level::Info, format!("process {pid} gets a successor ({reason})")));
        actions.push(Action::Spawn(process.key, scripts));
        self.successor = Some(process);
    }

    /// Tells the current process that there is no successor after all.
    fn continue_without_successor(&self, reason: &str, actions: &mut Vec<Action>) {
        if let Some(process) = &self.current {
            actions.push(Action::Order(process.key, Order::NoSuccessor(reason.as_bytes().into())));
        }
    }

    fn current_pid(&self) -> i32 {
        self.current.as_ref().map_or(0, |process| process.pid)
    }

    fn stopping(&mut self, key: Key, reason: Reason, now: u64, actions: &mut Vec<Action>) {
        if self.is_successor(key) {
            // Its end follows, and is what counts.
            return;
        }
        let Some(old) = self.current.take_if(|process| process.key == key) else { return };
        let (pid, name, lived) = (old.pid, reason.name(), now - old.since);
        actions.push(Action::Log(Level::Info, format!("process {pid} shuts down ({name})")));
        self.expect_exit(&old, reason, self.rules.end(now, 0), now, actions);
        let is_idle = reason == Reason::InactivityTimeout && old.is_serving;
        if self.rules.is_elastic && is_idle && self.successor.is_none() {
            return self.fall_asleep();
        }
        let is_run_once = self.rules.is_run_once && reason == Reason::MaximumRequests;
        let ending = if is_run_once { Ending::RunOnce } else { Ending::Announced };
        let delay = self.starts.delay_after(ending, old.is_serving, lived, now);
        if self.starts.is_failing() && self.phase != Phase::Over && self.successor.is_none() {
            let text = format!(
                "processes of this slot end as soon as they are started: process {pid} has by itself, after {lived} ms \
                 ({name}). Look for what ends them, such as an import that sends a signal to its own process. The next \
                 one is started in {} s, until then requests get 503",
                delay.div_ceil(1_000)
            );
            actions.push(message(PROCESSES_END_AT_ONCE, text));
        }
        self.refill(delay, now, actions);
    }

    /// Returns how long to wait until another process is started in place of this one, which was
    /// ended or has died.
    fn delay_after(&mut self, process: &Process, now: u64) -> u64 {
        self.starts.delay_after(Ending::Failed, process.is_serving, now - process.since, now)
    }

    fn lost(&mut self, key: Key, now: u64) {
        // A service script may have become another program.
        if self.rules.is_service {
            return;
        }
        let mut processes = self.current.iter_mut().chain(&mut self.successor);
        if let Some(process) = processes.find(|process| process.key == key) {
            process.lost.get_or_insert(now + LOST_GRACE);
        }
    }

    fn exited(&mut self, key: Key, exit: Exit, now: u64, actions: &mut Vec<Action>) {
        if let Some(at) = self.exiting.iter().position(|exiting| exiting.key == key) {
            let ExitingProcess { pid, reason, is_killed, .. } = self.exiting.remove(at);
            // A process that is told to end while its Python starts does not know yet what the
            // signal means.
            let is_asked =
                matches!(exit, Exit::Signal(number, false) if i32::from(number) == Signal::SIGTERM as i32);
            let is_crash = exit.signal().is_some() && !is_asked;
            let text = format!("process {pid} has ended: {exit}");
            let is_kill =
                matches!(exit, Exit::Signal(number, _) if i32::from(number) == Signal::SIGKILL as i32);
            match exit {
                _ if is_crash && !(is_killed && is_kill) => {
                    actions.extend(tally_of_death(exit));
                    actions.push(Action::Record(EventKind::Crash, pid, text.clone()));
                }
                Exit::Status(1..) => actions.push(Action::Tally(Tally::Exited)),
                _ => actions.push(Action::Tally(Tally::Ended(reason))),
            }
            actions.push(if is_crash { message(PROCESS_DIED, text) } else { Action::Log(Level::Info, text) });
        } else if let Some(process) = self.successor.take_if(|process| process.key == key) {
            let reason = if exit == NOT_IMPORTED {
                "its successor could not import its scripts; the error log says why".into()
            } else {
                format!("its successor ended before it was ready: {exit}")
            };
            let (pid, old) = (process.pid, self.current_pid());
            let text = format!("process {old} goes on, {reason} (process {pid})");
            if exit != NOT_IMPORTED {
                actions.extend(tally_of_death(exit));
            }
            actions.push(Action::Tally(Tally::FailedReload));
            actions.push(Action::Record(EventKind::FailedReload, pid, text.clone()));
            actions.push(message(SUCCESSOR_FAILED, text));
            self.continue_without_successor(&reason, actions);
        } else if let Some(process) = self.current.take_if(|process| process.key == key) {
            self.current_exited(&process, exit, now, actions);
        }
    }

    fn current_exited(&mut self, process: &Process, exit: Exit, now: u64, actions: &mut Vec<Action>) {
        let delay = self.delay_after(process, now);
        if self.phase == Phase::Retiring && exit.is_success() {
            self.unused(now, actions);
        }
        let when = if process.is_serving { "" } else { " before it was ready" };
        let then = match (self.phase, &self.successor, delay) {
            (Phase::Over, ..) => String::new(),
            (_, Some(successor), _) => format!("; process {} takes its place", successor.pid),
            (_, None, 0) => "; another one is started".into(),
            (_, None, delay) if self.rules.is_elastic => {
                format!("; the first request after {} s starts another one", delay.div_ceil(1000))
            }
            (_, None, delay) => format!("; another one is started in {} s", delay.div_ceil(1000)),
        };
        let pid = process.pid;
        let text = format!("process {pid} has died{when}: {exit}{then}");
        let is_expected = exit.is_success();
        actions.extend(tally_of_death(exit));
        if !process.is_serving && !is_expected {
            actions.push(Action::Tally(Tally::FailedStart));
        }
        if !is_expected {
            let kind = if process.is_serving { EventKind::Crash } else { EventKind::FailedStart };
            actions.push(Action::Record(kind, pid, text.clone()));
        }
        actions.push(if is_expected { Action::Log(Level::Info, text) } else { message(PROCESS_DIED, text) });
        self.refill(delay, now, actions);
    }

    fn unused(&mut self, now: u64, actions: &mut Vec<Action>) {
        for process in self.take_processes(actions) {
            let reason = Reason::ShutdownSignal;
            if process.is_serving && !self.rules.is_service {
                self.drain(process, reason, self.rules.graceful, now, actions);
            } else {
                self.terminate(&process, reason, self.rules.end(now, 0), now, actions);
            }
        }
    }

    /// Gives the channel up. The children have its other end from when they were forked, so that
    /// there can be no other one.
    fn cut(&mut self, now: u64, actions: &mut Vec<Action>) {
        if self.phase == Phase::Over {
            return;
        }
        let text = "a process has shut down its channel, through which it is given requests, and that cannot be made again while \
                    the server runs. Other processes of the group serve on; if there are none, requests get 503. Restart the \
                    server (apachectl graceful), and have the application leave descriptors alone that it has not opened";
        actions.push(Action::Log(Level::Error, text.to_owned()));
        self.unused(now, actions);
        self.is_cut = true;
    }

    fn stop(&mut self, now: u64, actions: &mut Vec<Action>) {
        let shutdown = if self.rules.shutdown > 0 { self.rules.shutdown } else { DEFAULT_SHUTDOWN };
        let end = Some(now + shutdown + EXIT_MARGIN);
        for exiting in self.exiting.iter_mut().filter(|exiting| !exiting.is_killed) {
            exiting.end = end;
            actions.push(Action::Terminate(exiting.key));
        }
        for process in self.take_processes(actions) {
            self.terminate(&process, Reason::ShutdownSignal, end, now, actions);
        }
    }

    fn kill(&mut self, now: u64, actions: &mut Vec<Action>) {
        for process in self.take_processes(actions) {
            self.expect_exit(&process, Reason::ShutdownSignal, None, now, actions);
        }
        actions.extend(self.exiting.iter_mut().map(|exiting| exiting.kill(now)));
    }

    /// Takes out the processes that are left to be ended; none is started from now on.
    fn take_processes(&mut self, actions: &mut Vec<Action>) -> impl Iterator<Item = Process> + use<> {
        self.phase = Phase::Over;
        self.respawn = None;
        let mut processes: Vec<_> = self.current.take().into_iter().chain(self.successor.take()).collect();
        processes.retain(|process| {
            if process.is_preparing() {
                actions.push(Action::Abandon { key: process.key, is_late: false });
            }
            !process.is_preparing()
        });
        processes.into_iter()
    }

    fn terminate(
        &mut self,
        process: &Process,
        reason: Reason,
        end: Option<u64>,
        now: u64,
        actions: &mut Vec<Action>,
    ) {
        actions.push(Action::Terminate(process.key));
        self.expect_exit(process, reason, end, now, actions);
    }

    fn tick(&mut self, now: u64, actions: &mut Vec<Action>) {
        let is_due = |time: Option<u64>| time.is_some_and(|time| time <= now);
        for process in self.current.iter_mut().chain(&mut self.successor) {
            if process.preparation_end.take_if(|end| *end <= now).is_some() {
                // Its other times do not matter any more.
                (process.lost, process.startup_end) = (None, None);
                actions.push(Action::Abandon { key: process.key, is_late: true });
            }
        }
        for exiting in &mut self.exiting {
            if is_due(exiting.end) && exiting.is_killed {
                (exiting.end, exiting.is_stuck) = (None, true);
                let text = format!(
                    "process {} was killed and does not end: most likely a file system or a device hangs. It is not waited for",
                    exiting.pid
                );
                actions.push(message(PROCESS_STUCK, text));
            } else if is_due(exiting.end) {
                let text = format!("process {} did not end in time and is killed", exiting.pid);
                actions.push(message(PROCESS_KILLED, text));
                actions.push(exiting.kill(now));
            }
        }
        if let Some(successor) =
            self.successor.take_if(|process| is_due(process.startup_end) || is_due(process.lost))
        {
            let (end, reason) = if is_due(successor.lost) {
                (Reason::SignalPipeError, "its successor closed its control socket")
            } else {
                (Reason::StartupTimeout, "its successor was not ready in time")
            };
            let (pid, old) = (successor.pid, self.current_pid());
            let text = format!("process {old} goes on, {reason} (process {pid})");
            actions.push(Action::Tally(Tally::FailedReload));
            actions.push(Action::Record(EventKind::FailedReload, pid, text.clone()));
            actions.push(message(SUCCESSOR_FAILED, text));
            self.continue_without_successor(reason, actions);
            self.terminate(&successor, end, Some(now + DEFAULT_SHUTDOWN), now, actions);
        }
        if let Some(process) =
            self.current.take_if(|process| is_due(process.startup_end) || is_due(process.lost))
        {
            let (reason, code, what) = if is_due(process.lost) {
                (
                    Reason::SignalPipeError,
                    CONTROL_SOCKET_CLOSED,
                    "has closed its control socket, as an application does that closes descriptors it did not open",
                )
            } else {
                (
                    Reason::StartupTimeout,
                    NOT_READY_IN_TIME,
                    "was not ready in time (startup-timeout=, a minute at least): an import hangs, or takes too long",
                )
            };
            let text = format!("process {} {what}; it is ended, and another one started", process.pid);
            if !process.is_serving {
                actions.push(Action::Tally(Tally::FailedStart));
                actions.push(Action::Record(EventKind::FailedStart, process.pid, text.clone()));
            }
            actions.push(message(code, text));
            self.terminate(&process, reason, Some(now + DEFAULT_SHUTDOWN), now, actions);
            let delay = self.delay_after(&process, now);
            self.refill(delay, now, actions);
        }
        let wanted = self.current.as_mut().map(|process| &mut process.wanted);
        if let Some(wanted) = wanted.and_then(|wanted| wanted.take_if(|wanted| wanted.at <= now)) {
            self.start_successor(wanted.reason, wanted.scripts, now, actions);
        }
        if is_due(self.respawn) && self.rules.is_elastic {
            // A pause is over. Whoever still wants a process wakes the slot at once.
            (self.respawn, self.is_dormant) = (None, true);
        } else if is_due(self.respawn) {
            self.start(now, actions);
        }
    }
}

/// Returns the tally of a process that has ended though nobody had told it to.
fn tally_of_death(exit: Exit) -> Option<Action> {
    match (exit.signal(), exit.is_success()) {
        (Some(number), _) => Some(Action::Tally(Tally::Crashed(number))),
        (None, false) => Some(Action::Tally(Tally::Exited)),
        (None, true) => None,
    }
}

/// Logs a message with its code, at its level.
fn message(code: Code, text: impl fmt::Display) -> Action {
    Action::Log(code.level, format!("{code}: {text}"))
}

#[cfg(test)]
mod tests;
