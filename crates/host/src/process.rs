//! The facts of the process that all of the host uses, and its log.

use std::sync::OnceLock;
use std::sync::atomic::{AtomicBool, AtomicU32, AtomicU64, Ordering};
use std::time::{Instant, SystemTime};

use bridge::{Level, Server};

use crate::locked::Locked;
use crate::mode::Mode;
use crate::settings::ProcessSettings;

/// The facts of the process.
pub(crate) struct Process {
    pub(crate) server: Server,
    pub(crate) settings: ProcessSettings,
    pub(crate) mode: &'static dyn Mode,
    /// See [`Mode::has_successors`].
    pub(crate) has_successors: bool,
    started: Locked<(Instant, SystemTime)>,
    pub(crate) requests: Requests,
    /// The questions inside [`questions::answer`](crate::questions::answer).
    pub(crate) questions: Requests,
    /// Requests are rejected from now on.
    is_stopping: AtomicBool,
    /// The id of the next thread that serves a request.
    next_thread: AtomicU32,
}

/// The number of requests inside [`handle`](crate::dispatch::handle) in the low bits, and of those
/// that have left it in the high bits. So one operation both ends a request and counts it.
#[derive(Default)]
pub(crate) struct Requests(AtomicU64);

impl Requests {
    /// More bits than any server has threads.
    const BITS: u32 = 20;
    const LEFT: u64 = 1 << Self::BITS;

    /// Returns how many are inside.
    pub(crate) fn active(&self) -> u64 {
        self.0.load(Ordering::Acquire) % Self::LEFT
    }

    /// Returns how many have left.
    pub(crate) fn ended(&self) -> u64 {
        self.0.load(Ordering::Relaxed) / Self::LEFT
    }

    /// Counts a request that enters.
    fn enter(&self) {
        self.0.fetch_add(1, Ordering::SeqCst);
    }

    /// Counts one for as long as the guard lives, also through a panic.
    pub(crate) fn begin(&self) -> Running<'_> {
        self.enter();
        Running(self)
    }

    /// Counts a request that leaves.
    fn leave(&self) {
        self.0.fetch_add(Self::LEFT - 1, Ordering::Release);
    }
}

/// A guard that counts a request.
pub(crate) struct Running<'a>(&'a Requests);

impl Drop for Running<'_> {
    fn drop(&mut self) {
        self.0.leave();
    }
}

static PROCESS: OnceLock<Process> = OnceLock::new();

/// Returns the process; `None` before it is set up.
pub(crate) fn process() -> Option<&'static Process> {
    PROCESS.get()
}

/// Sets the process up, once.
pub(crate) fn set_up(
    settings: ProcessSettings,
    mode: &'static dyn Mode,
    server: Server,
) -> Result<&'static Process, String> {
    let process = Process {
        server,
        settings,
        mode,
        has_successors: mode.has_successors(),
        started: Locked::new((Instant::now(), SystemTime::now())),
        requests: Requests::default(),
        questions: Requests::default(),
        is_stopping: AtomicBool::new(false),
        next_thread: AtomicU32::new(0),
    };
    if PROCESS.set(process).is_err() {
        return Err("Python can be started only once in a process".to_owned());
    }
    PROCESS.get().ok_or_else(|| "the process is not set up".to_owned())
}

/// Logs a line without a request's context. Does nothing before the process is set up.
pub(crate) fn log(level: Level, line: &str) {
    log_bytes(level, line.as_bytes());
}

/// Logs any bytes, or a record, without a request's context.
pub(crate) fn log_bytes(level: Level, line: &[u8]) {
    if let Some(process) = process() {
        process.server.log(level, line);
    }
}

impl Process {
    /// Returns the time when Python was started; in a process that was forked from a template, the
    /// time of that.
    pub(crate) fn started(&self) -> (Instant, SystemTime) {
        self.started.with(|started| *started)
    }

    /// Notes that this process has just been forked.
    pub(crate) fn begin(&self) {
        self.started.with(|started| *started = (Instant::now(), SystemTime::now()));
    }

    /// Returns whether requests are rejected.
    pub(crate) fn is_stopping(&self) -> bool {
        self.is_stopping.load(Ordering::SeqCst)
    }

    /// Rejects requests from now on. Returns whether they were rejected before.
    pub(crate) fn set_stopping(&self) -> bool {
        self.is_stopping.swap(true, Ordering::SeqCst)
    }
}

/// Returns the id of this thread among those that serve requests: 0 started Python.
pub(crate) fn thread_id(process: &Process) -> u32 {
    thread_local! {
        static ID: std::cell::Cell<Option<u32>> = const { std::cell::Cell::new(None) };
    }
    ID.get().unwrap_or_else(|| {
        let id = process.next_thread.fetch_add(1, Ordering::Relaxed);
        ID.set(Some(id));
        id
    })
}

/// Returns how many threads have an id.
pub(crate) fn thread_ids(process: &Process) -> u32 {
    process.next_thread.load(Ordering::Relaxed)
}
