//! The times at which something is due in a slot.

use wsgi_core::codes::{
    CONTROL_SOCKET_CLOSED, NOT_READY_IN_TIME, PROCESS_KILLED, PROCESS_STUCK, SUCCESSOR_FAILED,
};
use wsgi_core::ledger::EventKind;
use wsgi_core::lifecycle::Reason;
use wsgi_core::tallies::Tally;

use super::Slot;
use super::event::{Action, message};
use super::rules::DEFAULT_SHUTDOWN;

impl Slot {
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

    pub(super) fn tick(&mut self, now: u64, actions: &mut Vec<Action>) {
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
