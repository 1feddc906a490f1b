//! The end of the process, and its replacement: the decisions of the timers.

use std::os::unix::process::parent_id;
use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};

use bridge::Level;
use nix::sys::signal::Signal;
use wsgi_core::lifecycle::{Decision, Reason, RunningRequest, Trigger};
use wsgi_core::wire::control::Report;
use wsgi_core::wire::exit;
use wsgi_core::wire::frame::Rejection;

use super::{EventLoop, Shutdown};
use crate::daemon::incoming::reject;
use crate::daemon::monitor::Task;
use crate::daemon::state::Phase;
use crate::daemon::workers::return_connection;
use crate::daemon::{descriptors, log};
use crate::telemetry;

/// The longest time between the end of a supervisor's sockets and its own.
const ORPHANED: Duration = Duration::from_millis(200);

impl EventLoop {
    /// Stops taking requests; the process ends when it has finished those that it has, or after
    /// `grace` milliseconds.
    pub(super) fn drain(&mut self, grace: u64) {
        if self.is_service {
            if self.is_orphan() {
                return;
            }
            // The meaning of the signal is up to the script.
            let _ = nix::sys::signal::kill(nix::unistd::getpid(), Signal::SIGTERM);
            return;
        }
        if self.is_serving() {
            self.stop_serving(Phase::Draining);
        }
        let decision = self.timers.drain(grace, self.daemon.now());
        telemetry::stopping(self.timers.reason());
        self.carry_out(decision);
    }

    /// Returns whether the supervisor has ended: then the kernel has sent the signal (see `setup`),
    /// and a second one would disturb the script's handling of the first. Its sockets close a
    /// moment before.
    fn is_orphan(&self) -> bool {
        let begin = Instant::now();
        while begin.elapsed() < ORPHANED {
            if parent_id() != self.parent {
                return true;
            }
            std::thread::sleep(Duration::from_millis(5));
        }
        false
    }

    /// Passes a trigger to the timers, and carries out their decision.
    pub(super) fn trigger(&mut self, trigger: Trigger) {
        let is_replacement = !matches!(trigger, Trigger::Terminate | Trigger::SignalPipeError);
        if is_replacement && !self.is_ready {
            self.early.get_or_insert(trigger);
            return;
        }
        let decision = self.timers.trigger(trigger, self.daemon.now());
        self.carry_out(decision);
    }

    /// Carries out the decisions of the timers.
    pub(super) fn ask_timers(&mut self) {
        while self.is_ready || self.timers.is_stopping() {
            let decision = self.timers.poll(self.daemon.now());
            self.carry_out(decision);
            if !matches!(decision, Decision::Interrupt(_) | Decision::Replace { .. }) {
                return;
            }
        }
    }

    fn carry_out(&mut self, decision: Decision) {
        match decision {
            Decision::Nothing => {}
            Decision::Interrupt(running) => self.hand_over(Task::Interrupt(running)),
            Decision::Replace { reason, dump_of } => self.ask_for_successor(reason, dump_of),
            Decision::Stop { reason, dump_of } => self.end(Shutdown { reason, dump_of }),
            Decision::Exit => {
                self.daemon.info("the shutdown timeout is over, the process is ended");
                telemetry::stop(false);
                os::exit::now(exit::FAILED.into());
            }
        }
    }

    fn ask_for_successor(&mut self, reason: Reason, dump_of: Option<RunningRequest>) {
        let daemon = self.daemon;
        if reason == Reason::MemoryRecycle {
            self.log_memory();
        }
        daemon.info(&format!("a successor is asked for ({})", reason.name()));
        if let Some(running) = dump_of {
            self.hand_over(Task::Dump(running));
        }
        let (scripts, left_out) = daemon.reload.scripts(reason);
        for script in left_out {
            log::line(
                Level::Warning,
                &format!(
                    "Process group '{}': the successor goes ahead without the script '{}', since successors that had to \
                     import it have failed. Its requests may fail there: the log says why it is not imported.",
                    daemon.name,
                    String::from_utf8_lossy(&script.path)
                ),
            );
        }
        if !self.report(&Report::Replace { reason, scripts }) {
            self.drain(daemon.limits.graceful_timeout);
        }
    }

    /// Has the main thread end the process.
    fn end(&mut self, end: Shutdown) {
        self.daemon.info(&format!("shutdown requested ({})", end.reason.name()));
        telemetry::stopping(Some(end.reason));
        if self.is_serving() {
            if end.reason == Reason::MemoryRecycle {
                self.log_memory();
            }
            self.report(&Report::Stopping(end.reason));
        }
        self.stop_serving(Phase::Ending);
        // This ends the threads.
        self.endpoints.signal_sender = None;
        self.endpoints.task_sender = None;
        let _ = self.endpoints.end.send(end);
    }

    /// Hands a task to the thread that enters Python for this one.
    fn hand_over(&self, task: Task) {
        if let Some(sender) = &self.endpoints.task_sender {
            let _ = sender.send(task);
        }
    }

    /// Gives up all connections that no worker has.
    fn stop_serving(&mut self, phase: Phase) {
        let daemon = self.daemon;
        daemon.phase.store(phase as u8, Ordering::SeqCst);
        if let Some(channel) = self.endpoints.channel.take() {
            descriptors::unregister(&channel);
        }
        // Children choose another process as soon as they know, by what they see counted.
        daemon.count(-self.waiting);
        self.waiting = 0;
        // The child sees that a waiting request has not been read.
        for connection in daemon.connections.all() {
            if connection.claim() {
                daemon.connections.remove(&connection);
            }
        }
        for held in daemon.reload.take_all() {
            daemon.count(-1);
            let is_usable = reject(held.connection.stream(), Rejection::Moved);
            return_connection(daemon, &held.connection, is_usable);
            daemon.end_request(true);
        }
        self.next_queue_check = None;
        self.memory_checks.next = None;
    }
}
