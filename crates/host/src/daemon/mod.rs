//! A daemon process: a Python interpreter whose main thread has called [`serve`].
//!
//! | thread | | needs Python |
//! |---|---|---|
//! | main | starts Python's side, waits for the end, ends the interpreters | yes |
//! | events | connections, orders of the supervisor, signals, timers, requests that wait | never |
//! | workers | requests | yes |
//! | watchdog, interrupts, signals | see [`monitor`] | yes |

#![expect(clippy::disallowed_types, reason = "lists are changed under it, without Python")]

mod connection;
pub(crate) mod descriptors;
mod events;
mod exchange;
mod log;
pub(crate) mod monitor;
pub(crate) mod reload;
mod server;
mod setup;
mod stop;
mod workers;

use std::sync::atomic::{AtomicU8, AtomicU32, Ordering};
use std::sync::{Arc, Mutex, OnceLock};
use std::time::Instant;

use bridge::Level;
use nix::sys::epoll::Epoll;
use nix::sys::eventfd::EventFd;
use os::bulletin;
use os::pace::Pace;
use os::shared::Words;
use wsgi_core::lifecycle::Pulse;
use wsgi_core::wire::launch::Limits;

use crate::locked::lock;

pub(crate) use setup::serve;
pub(crate) use workers::{Worker, current_worker};

/// The shared epoll's name for the end of all workers.
const END: u64 = 1;
/// The shared epoll's name for requests that were held back and may run now.
const RELEASED: u64 = 2;

/// What all threads know.
pub(crate) struct Daemon {
    name: String,
    limits: Limits,
    /// It is there for one request: one thread, `maximum-requests=1`.
    is_run_once: bool,
    chroot: Option<Box<[u8]>>,
    page: Words,
    /// The word of the page where this process counts.
    busy: usize,
    /// Where the server publishes its scoreboard, if the process is to see it.
    scoreboard: Option<bulletin::Reader>,
    /// Idle connections, by token; workers wait here.
    ready: Epoll,
    connections: connection::Table,
    workers: Box<[Worker]>,
    /// A [`Phase`].
    phase: AtomicU8,
    /// Requests that workers have.
    running: AtomicU32,
    /// How to wait for requests that follow one another.
    pace: Mutex<Pace>,
    /// What the timers know of requests.
    pulse: Arc<Pulse>,
    reload: reload::Reload,
    watchdog: monitor::Watchdog,
    /// What the event thread is told, and how it is woken for that.
    inbox: Mutex<Vec<Note>>,
    wake: EventFd,
    /// See [`RELEASED`] and [`END`].
    released: EventFd,
    end: EventFd,
    started: Instant,
}

/// What the event thread is told by others.
enum Note {
    /// Python's side has been started.
    Ready,
    /// A script has changed.
    Changed,
    /// The timers have something to decide.
    Decide,
    /// The worker of a process for one request is done with a connection.
    Free,
    /// Workers can not wait for requests any more.
    Broken,
}

/// What the process does.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd)]
#[repr(u8)]
enum Phase {
    /// It takes requests.
    Serving,
    /// It takes none, but finishes those that it has.
    Draining,
    /// As above; their time is short.
    Ending,
}

static DAEMON: OnceLock<Daemon> = OnceLock::new();

/// This process, if it is a daemon.
#[inline]
pub(crate) fn daemon() -> Option<&'static Daemon> {
    DAEMON.get()
}

impl Daemon {
    /// Milliseconds since the start, never 0.
    #[inline]
    fn now(&self) -> u64 {
        u64::try_from(self.started.elapsed().as_millis()).unwrap_or(u64::MAX).saturating_add(1)
    }

    fn tell(&self, note: Note) {
        lock(&self.inbox).push(note);
        // It can not overflow, and if it did, the event thread would be awake.
        let _ = self.wake.write(1);
    }

    fn phase(&self) -> Phase {
        match self.phase.load(Ordering::SeqCst) {
            0 => Phase::Serving,
            1 => Phase::Draining,
            _ => Phase::Ending,
        }
    }

    /// A worker has taken a request.
    fn begin(&self) {
        self.running.fetch_add(1, Ordering::SeqCst);
        self.count(1);
    }

    /// And is done with it; it may have been left out of the count before.
    fn end(&self, is_uncounted: bool) {
        if !is_uncounted {
            self.count(-1);
        }
        self.running.fetch_sub(1, Ordering::SeqCst);
    }

    /// Changes the number of requests that the children see.
    fn count(&self, change: i32) {
        // A copy has not counted what it would take back.
        if let Some(busy) = self.page.get(self.busy)
            && !descriptors::is_copy()
        {
            busy.fetch_add(change.cast_unsigned(), Ordering::Relaxed);
        }
    }

    /// A script has been loaded.
    pub(crate) fn script_loaded(&self, path: &[u8], application_group: &[u8]) {
        if self.pulse.script_loaded() && self.limits.startup_timeout > 0 {
            self.info("a script is loaded, the startup timeout is off");
        }
        self.reload.loaded(path, application_group);
    }

    /// A script has this callable, as a request has found.
    pub(crate) fn callable_found(&self, path: &[u8], application_group: &[u8], callable: &[u8]) {
        self.reload.found(path, application_group, callable);
    }

    fn info(&self, text: &str) {
        log::line(Level::Info, &format!("Process group '{}': {text}.", self.name));
    }

    /// A path as this process sees it.
    fn in_jail<'a>(&self, path: &'a [u8]) -> Option<&'a [u8]> {
        let Some(root) = &self.chroot else { return Some(path) };
        let root = root.strip_suffix(b"/").unwrap_or(root);
        path.strip_prefix(root).filter(|rest| rest.starts_with(b"/"))
    }
}

/// Starts a thread of the process.
fn spawn(name: &str, stack: usize, work: impl FnOnce() + Send + 'static) -> Result<Thread, String> {
    let mut builder = std::thread::Builder::new().name(name.to_owned());
    if stack > 0 {
        builder = builder.stack_size(stack);
    }
    let work = move || {
        work();
        // Here, while what libraries keep for the thread is still there.
        python::end_thread();
    };
    builder.spawn(work).map_err(|error| {
        format!(
            "A thread can not be started: {error}. Allow the user more processes (ulimit -u), or use fewer threads; with \
             memory-limit= or virtual-memory-limit=, their stacks (stack-size=) may be too large for it."
        )
    })
}

type Thread = std::thread::JoinHandle<()>;
