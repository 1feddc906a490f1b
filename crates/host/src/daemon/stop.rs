//! The end of the process, on its main thread.

use std::sync::atomic::Ordering;
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use super::event_loop::Shutdown;
use super::state::{Daemon, END};
use super::{log, monitor};
use crate::dispatch::interpreters;
use crate::interpreters::Patience;
use crate::process::Process;
use crate::{stuck, telemetry};
use bridge::Level;
use nix::sys::epoll::{EpollEvent, EpollFlags};

/// The threads that serve.
#[derive(Default)]
pub(super) struct Threads {
    pub(super) workers: Vec<JoinHandle<()>>,
    /// Those of [`monitor`].
    pub(super) others: Vec<JoinHandle<()>>,
}

/// Ends the process's activities in this order: subscribers are told, requests finish, threads end,
/// interpreters end. Returns when only the main interpreter is left, which Python ends itself. The
/// event thread enforces the time limit.
pub(super) fn stop(daemon: &'static Daemon, process: &'static Process, threads: Threads, end: &Shutdown) {
    let patience = patience(daemon.limits.shutdown_timeout);
    interpreters().publish_stopping(Some(end.reason));
    if let Some(running) = end.dump_of {
        monitor::dump_all(daemon, running);
    }
    while daemon.running.load(Ordering::SeqCst) > 0 {
        std::thread::sleep(Duration::from_millis(2));
    }
    telemetry::stop(true);
    stuck::stop();
    daemon.crew.close();
    let _ = daemon.end.write(1);
    let _ = daemon.ready.add(&daemon.end, EpollEvent::new(EpollFlags::EPOLLIN, END));
    daemon.watchdog.end();
    for thread in threads.workers.into_iter().chain(threads.others) {
        let _ = thread.join();
    }
    finish(daemon, process, patience);
}

/// Returns the limit for the end of the application's threads. `atexit` functions need time, too,
/// before the process is ended by force; and an Apache that stops kills the supervisor after three
/// seconds.
fn patience(shutdown_timeout: u64) -> Patience {
    match shutdown_timeout {
        0 => Patience::without_limit(),
        timeout => Patience::until(Instant::now() + Duration::from_millis(timeout) * 2 / 5),
    }
}

/// Ends the interpreters.
pub(super) fn finish(daemon: &'static Daemon, process: &'static Process, patience: Patience) {
    let _ = process.set_stopping();
    os::exit::skip_handlers_if(are_threads_left);
    log::line(Level::Info, &format!("Process group '{}': stopping process.", daemon.name));
    if !process.settings.destroy_interpreters {
        log::line(Level::Info, &format!("Process group '{}': exiting.", daemon.name));
        os::exit::now(0);
    }
    let is_complete = interpreters().end_subs(patience);
    // Python aborts when it is finalised with an interpreter left, and waits for threads without
    // limit.
    if !interpreters().wind_down_main(patience, is_complete) {
        log::line(Level::Info, &format!("Process group '{}': exiting.", daemon.name));
        os::exit::now(0);
    }
    log::line(Level::Info, &format!("Process group '{}': terminating Python, exiting.", daemon.name));
}

/// Returns whether the application has left threads, besides this one and the event thread.
fn are_threads_left() -> bool {
    std::fs::read_dir("/proc/self/task").map_or(true, |tasks| tasks.count() > 2)
}
