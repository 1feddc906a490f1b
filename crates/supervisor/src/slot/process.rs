//! The processes of a slot.

use wsgi_core::lifecycle::Reason;
use wsgi_core::wire::control::Script;

use super::event::{Action, Key};
use super::rules::DEFAULT_SHUTDOWN;

/// A process that serves, or is to.
#[derive(Debug)]
pub(super) struct Process {
    pub(super) key: Key,
    pub(super) pid: i32,
    pub(super) since: u64,
    pub(super) is_serving: bool,
    /// The end of its time to become Python; `None` once it has.
    pub(super) preparation_end: Option<u64>,
    /// The end of its time to become ready.
    pub(super) startup_end: Option<u64>,
    /// The reason for which it is to replace another one, if it is.
    pub(super) reason: Option<Reason>,
    /// The time that it has to become ready, if any, while it waits for its group's template.
    pub(super) awaited: Option<Option<u64>>,
    /// The end of its time to end, after it was lost.
    pub(super) lost: Option<u64>,
    /// The successor that it has asked for, until that is started.
    pub(super) wanted: Option<WantedSuccessor>,
}

/// A successor that is to be started.
#[derive(Debug)]
pub(super) struct WantedSuccessor {
    pub(super) at: u64,
    pub(super) reason: Reason,
    pub(super) scripts: Vec<Script>,
}

/// A process that is on its way out.
#[derive(Debug)]
pub(super) struct ExitingProcess {
    pub(super) key: Key,
    pub(super) pid: i32,
    /// The reason for which it ends.
    pub(super) reason: Reason,
    /// The end of its time to end.
    pub(super) end: Option<u64>,
    pub(super) is_killed: bool,
    /// It has been killed, and does not end: the system holds it. Nobody waits for it.
    pub(super) is_stuck: bool,
}

impl Process {
    /// Stops its clocks: the template has its own.
    pub(super) const fn wait_for_template(&mut self) {
        self.awaited = Some(match self.startup_end.take() {
            Some(end) => Some(end - self.since),
            None => None,
        });
        self.preparation_end = Some(u64::MAX);
    }

    /// Starts its clocks again, if they were stopped.
    pub(super) fn end_wait(&mut self, now: u64) {
        if let Some(startup) = self.awaited.take() {
            self.since = now;
            self.startup_end = startup.map(|startup| now + startup);
        }
    }

    /// Returns whether this process prepares itself. No code of an application has run in it, and
    /// it gets no orders.
    pub(super) const fn is_preparing(&self) -> bool {
        self.preparation_end.is_some()
    }
}

impl ExitingProcess {
    /// Has it killed; what that takes has a limit as well.
    pub(super) fn kill(&mut self, now: u64) -> Action {
        self.end = Some(now + DEFAULT_SHUTDOWN);
        self.is_killed = true;
        Action::Kill(self.key)
    }
}
