//! The state of a daemon process that all its threads share.

#![expect(clippy::disallowed_types, reason = "lists are changed under it, without Python")]

use std::sync::atomic::{AtomicU8, AtomicU32, Ordering};
use std::sync::mpsc::{SyncSender, sync_channel};
use std::sync::{Arc, Mutex, OnceLock};
use std::time::Duration;

use bridge::Level;
use nix::sys::epoll::Epoll;
use nix::sys::eventfd::EventFd;
use os::lock::lock;
use os::shared::Words;
use os::snapshot::SnapshotReader;
use os::spin::{AdaptiveSpin, Solitude};
use wsgi_core::lifecycle::Activity;
use wsgi_core::wire::control::Report;
use wsgi_core::wire::launch::Limits;

use super::connection::Table;
use super::crew::Crew;
use super::reload::Reload;
use super::watchdog::Watchdog;
use super::worker::Worker;
use super::{descriptors, log};

/// The shared epoll's name for the end of all workers.
pub(super) const END: u64 = 1;
/// The shared epoll's name for requests that were held back and may run now.
pub(super) const RELEASED: u64 = 2;

/// The longest wait of [`Daemon::flush`].
const FLUSH_PATIENCE: Duration = Duration::from_secs(1);

/// The state of a daemon process that all its threads share.
pub(super) struct Daemon {
    pub(super) name: String,
    pub(super) limits: Limits,
    /// It serves one request: one thread, `maximum-requests=1`.
    pub(super) is_run_once: bool,
    pub(super) chroot: Option<Box<[u8]>>,
    pub(super) page: Words,
    /// The word of the page where this process counts.
    pub(super) busy: usize,
    /// The server's published scoreboard, if the process may see it.
    pub(super) scoreboard: Option<SnapshotReader>,
    /// Idle connections, by token; workers wait here.
    pub(super) ready: Epoll,
    pub(super) connections: Table,
    pub(super) workers: Box<[Worker]>,
    /// The workers that may wait.
    pub(super) crew: Crew,
    /// A [`Phase`].
    pub(super) phase: AtomicU8,
    /// Requests that workers have.
    pub(super) running: AtomicU32,
    /// The requests that had the server to themselves.
    pub(super) solitude: Solitude,
    /// The spin for requests that follow one another.
    pub(super) spin: Mutex<AdaptiveSpin>,
    /// The activity that the timers watch.
    pub(super) activity: Arc<Activity>,
    pub(super) reload: Reload,
    pub(super) watchdog: Watchdog,
    /// Messages for the event thread, and the event that wakes it for them.
    pub(super) inbox: Mutex<Vec<Message>>,
    pub(super) wake: EventFd,
    /// See [`RELEASED`] and [`END`].
    pub(super) released: EventFd,
    pub(super) end: EventFd,
    /// The time of its start, in nanoseconds of the clock that nobody sets.
    pub(super) started: u64,
}

/// A message of another thread for the event thread.
pub(super) enum Message {
    /// Python's side has been started.
    Ready,
    /// A script is loaded at last that the configuration names.
    Imported,
    /// A script has changed.
    ScriptChanged,
    /// The timers have a decision to make.
    TimersDue,
    /// The worker of a process for one request is done with a connection.
    WorkerFree,
    /// The application has ended the thread of a worker.
    ThreadLost,
    /// Workers cannot wait for requests any more.
    WorkersFailed,
    /// The supervisor is to get this.
    Report(Report),
    /// The sender waits until all messages before this one have been handled.
    Flush(SyncSender<()>),
}

/// The phase that the process is in.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd)]
#[repr(u8)]
pub(super) enum Phase {
    /// It takes requests.
    Serving,
    /// It takes none, but finishes those that it has.
    Draining,
    /// It takes none, and those that it has must end soon.
    Ending,
}

static DAEMON: OnceLock<Daemon> = OnceLock::new();

/// Makes this process a daemon.
pub(super) fn set_up(daemon: Daemon) -> &'static Daemon {
    DAEMON.get_or_init(|| daemon)
}

/// Returns this process, if it is a daemon.
#[inline]
pub(super) fn daemon() -> Option<&'static Daemon> {
    DAEMON.get()
}

impl Daemon {
    /// Milliseconds since the start, never 0.
    #[inline]
    pub(super) fn now(&self) -> u64 {
        os::clock::monotonic().saturating_sub(self.started) / 1_000_000 + 1
    }

    /// Sends a message to the event thread.
    pub(super) fn notify(&self, message: Message) {
        lock(&self.inbox).push(message);
        // Only an overflow can fail, and then the event thread is awake.
        let _ = self.wake.write(1);
    }

    /// Waits, a moment at most, until the event thread has handled the messages so far.
    pub(super) fn flush(&self) {
        let (sender, handled) = sync_channel(1);
        self.notify(Message::Flush(sender));
        let _ = handled.recv_timeout(FLUSH_PATIENCE);
    }

    /// Returns the phase of the process.
    pub(super) fn phase(&self) -> Phase {
        match self.phase.load(Ordering::SeqCst) {
            0 => Phase::Serving,
            1 => Phase::Draining,
            _ => Phase::Ending,
        }
    }

    /// Counts a request that a worker has taken. Returns whether it is the only one.
    pub(super) fn begin_request(&self) -> bool {
        let before = self.running.fetch_add(1, Ordering::SeqCst);
        self.count(1);
        before == 0
    }

    /// Uncounts a request; the number that the children see may have been changed before
    /// (`is_uncounted`).
    pub(super) fn end_request(&self, is_uncounted: bool) {
        if !is_uncounted {
            self.count(-1);
        }
        self.running.fetch_sub(1, Ordering::SeqCst);
    }

    /// Changes the number of requests that the children see.
    pub(super) fn count(&self, change: i32) {
        // A forked copy has not counted the requests that it would uncount.
        if let Some(busy) = self.page.get(self.busy)
            && !descriptors::is_copy()
        {
            busy.fetch_add(change.cast_unsigned(), Ordering::Relaxed);
        }
    }

    /// Logs a line about the process.
    pub(super) fn info(&self, text: &str) {
        log::line(Level::Info, &format!("Process group '{}': {text}.", self.name));
    }

    /// Returns a path as this process sees it; `None` if it lies outside of its jail.
    pub(super) fn in_jail<'a>(&self, path: &'a [u8]) -> Option<&'a [u8]> {
        in_jail(self.chroot.as_deref(), path)
    }
}

/// Returns a path as a process with this root directory sees it; `None` if it lies outside.
pub(super) fn in_jail<'a>(root: Option<&[u8]>, path: &'a [u8]) -> Option<&'a [u8]> {
    let Some(root) = root else { return Some(path) };
    let root = root.strip_suffix(b"/").unwrap_or(root);
    path.strip_prefix(root).filter(|rest| rest.starts_with(b"/"))
}
