//! Threads that enter Python for the event thread, which never does: the watchdog, interrupts,
//! signals for the application.

use std::sync::mpsc::Receiver;
use std::time::Duration;

use bridge::Level;
use nix::sys::signal::Signal;
use python::Python;
use wsgi_core::codes::{SIGNAL_NOT_PUBLISHED, STACKS_NOT_LOGGED};
use wsgi_core::lifecycle::RunningRequest;

use super::log;
use super::state::{Daemon, Phase};
use super::worker::Worker;
use crate::interpreters::Interpreters;
use crate::report;
use crate::state::{Interpreter, State};

/// The interval of the watchdog.
const WATCH_INTERVAL: Duration = Duration::from_secs(1);

/// A task for a request that runs for too long.
pub(super) enum Task {
    /// Raise `RequestTimeout` in it.
    Interrupt(RunningRequest),
    /// Log the stacks of the threads in its interpreter.
    Dump(RunningRequest),
}

/// Enters every interpreter from time to time: if a thread never releases its lock, this one is
/// stuck, too.
pub(super) fn watch(daemon: &'static Daemon, interpreters: &'static Interpreters) {
    let watchdog = &daemon.watchdog;
    loop {
        for interpreter in interpreters.all() {
            interpreter.attach(|_, _, _| ());
            if watchdog.is_over() {
                return;
            }
        }
        daemon.activity.record_free_locks(daemon.now());
        if watchdog.wait(WATCH_INTERVAL) {
            return;
        }
    }
}

/// Performs the event thread's tasks, one after the other, until the sender is gone.
pub(super) fn perform(daemon: &'static Daemon, tasks: &Receiver<Task>) {
    while let Ok(task) = tasks.recv() {
        match task {
            Task::Interrupt(running) => interrupt(daemon, running),
            Task::Dump(running) => dump_all(daemon, running),
        }
    }
}

fn interrupt(daemon: &'static Daemon, running: RunningRequest) {
    let Some(worker) = daemon.workers.get(running.worker) else { return };
    let Some(interpreter) = worker.interpreter() else { return };
    let is_raised = interpreter.attach(|py, state, _| {
        let is_same = || daemon.activity.started(running.worker) == Some(running.started);
        worker.interrupt(py, interpreter, is_same, |thread| dump(py, state, Some(thread)))
    });
    if is_raised {
        // Log monitors look for these words, which are those of the original.
        let text = format!(
            "Injected RequestTimeout into thread {} of daemon process '{}', whose request runs for too long.",
            running.worker, daemon.name
        );
        log::line(Level::Info, &text);
    }
}

/// Logs the stacks of the threads in the interpreter that a request runs in.
pub(super) fn dump_all(daemon: &'static Daemon, running: RunningRequest) {
    // Without a lock the stacks of running threads cannot be read.
    if python::FREE_THREADED {
        return;
    }
    let worker = daemon.workers.get(running.worker);
    match worker.and_then(Worker::interpreter) {
        Some(interpreter) => interpreter.attach(|py, state, _| dump(py, state, None)),
        None => daemon.info("the request that ran for too long has ended, no stacks are logged"),
    }
}

/// Delivers signals to the subscribers in all interpreters, until the sender is gone.
pub(super) fn deliver(
    daemon: &'static Daemon,
    interpreters: &'static Interpreters,
    signals: &Receiver<Signal>,
) {
    while let Ok(signal) = signals.recv() {
        for interpreter in interpreters.all() {
            if daemon.phase() == Phase::Ending {
                return;
            }
            publish(interpreter, signal);
        }
    }
}

fn publish(interpreter: &'static Interpreter, signal: Signal) {
    interpreter.attach(|py, state, _| {
        let published = py.str(signal.as_str()).and_then(|name| {
            state.helpers.publish_signal.get(py).call([&name, &py.int((signal as i32).into())?])
        });
        if let Err(raised) = published {
            report::outside(
                py,
                state,
                raised,
                format_args!("{SIGNAL_NOT_PUBLISHED}: The event 'process_signal' cannot be published"),
            );
        }
    });
}

/// Logs the stacks of the interpreter's threads, or of one.
fn dump(py: Python<'_>, state: &State, thread: Option<u64>) {
    let dumped = match thread {
        Some(thread) => py.int(i64::try_from(thread).unwrap_or(0)),
        None => Ok(py.none()),
    }
    .and_then(|thread| state.helpers.dump_stacks.get(py).call([&thread]));
    if let Err(raised) = dumped {
        report::outside(
            py,
            state,
            raised,
            format_args!("{STACKS_NOT_LOGGED}: The stacks of the threads cannot be logged"),
        );
    }
}
