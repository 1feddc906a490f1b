//! The successors of a slot's process: asked for, started, ready, or given up.

use wsgi_core::lifecycle::Reason;
use wsgi_core::wire::control::{Order, Script};

use super::event::{Action, Key};
use super::process::WantedSuccessor;
use super::rules::SUCCESSOR_TIMEOUT;
use super::{Phase, Slot};
use crate::log::Level;

impl Slot {
    pub(super) fn replace(
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
    pub(super) fn start_successor(
        &mut self,
        reason: Reason,
        scripts: Vec<Script>,
        now: u64,
        actions: &mut Vec<Action>,
    ) {
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

    pub(super) fn ready(&mut self, key: Key, now: u64, actions: &mut Vec<Action>) {
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

    /// Tells the current process that there is no successor after all.
    pub(super) fn continue_without_successor(&self, reason: &str, actions: &mut Vec<Action>) {
        if let Some(process) = &self.current {
            actions.push(Action::Order(process.key, Order::NoSuccessor(reason.as_bytes().into())));
        }
    }

    pub(super) fn current_pid(&self) -> i32 {
        self.current.as_ref().map_or(0, |process| process.pid)
    }
}
