//! The ends of a slot's processes: told to, by themselves, and those of the slot.

use os::process::{Exit, Signal};
use wsgi_core::codes::{PROCESS_DIED, PROCESS_KILLED, PROCESSES_END_AT_ONCE, SUCCESSOR_FAILED};
use wsgi_core::ledger::EventKind;
use wsgi_core::lifecycle::Reason;
use wsgi_core::tallies::Tally;
use wsgi_core::wire::control::Order;
use wsgi_core::wire::exit;

use super::event::{Action, Key, message, tally_of_death};
use super::process::{ExitingProcess, Process};
use super::rules::{DEFAULT_SHUTDOWN, EXIT_MARGIN, LOST_GRACE};
use super::starts::Ending;
use super::{Phase, Slot};
use crate::log::Level;

/// The number of processes of a slot that may be on their way out at the same time.
pub(super) const MAX_EXITING: usize = 8;
/// The end of a successor that cannot import its scripts.
pub(super) const NOT_IMPORTED: Exit = Exit::Status(exit::NOT_IMPORTED);

impl Slot {
    pub(super) fn stopping(&mut self, key: Key, reason: Reason, now: u64, actions: &mut Vec<Action>) {
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

    pub(super) fn exited(&mut self, key: Key, exit: Exit, now: u64, actions: &mut Vec<Action>) {
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

    /// Returns how long to wait until another process is started in place of this one, which was
    /// ended or has died.
    pub(super) fn delay_after(&mut self, process: &Process, now: u64) -> u64 {
        self.starts.delay_after(Ending::Failed, process.is_serving, now - process.since, now)
    }

    pub(super) fn lost(&mut self, key: Key, now: u64) {
        // A service script may have become another program.
        if self.rules.is_service {
            return;
        }
        let mut processes = self.current.iter_mut().chain(&mut self.successor);
        if let Some(process) = processes.find(|process| process.key == key) {
            process.lost.get_or_insert(now + LOST_GRACE);
        }
    }

    pub(super) fn unused(&mut self, now: u64, actions: &mut Vec<Action>) {
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
    pub(super) fn cut(&mut self, now: u64, actions: &mut Vec<Action>) {
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

    pub(super) fn stop(&mut self, now: u64, actions: &mut Vec<Action>) {
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

    pub(super) fn kill(&mut self, now: u64, actions: &mut Vec<Action>) {
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

    pub(super) fn drain(
        &mut self,
        old: Process,
        reason: Reason,
        grace: u64,
        now: u64,
        actions: &mut Vec<Action>,
    ) {
        let order = Order::Drain(u32::try_from(grace).unwrap_or(u32::MAX));
        actions.push(Action::Order(old.key, order));
        self.expect_exit(&old, reason, self.rules.end(now, grace), now, actions);
    }

    pub(super) fn terminate(
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
}
