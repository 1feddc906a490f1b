//! The event thread: connections, the supervisor, signals, timers, requests that wait. It never
//! needs Python, so it works even when all of Python is stuck.

mod connections;
mod ending;
mod memory;
mod messages;
mod queue;
mod signals;
mod supervisor;

use std::fs::File;
use std::os::fd::OwnedFd;
use std::os::unix::process::parent_id;
use std::sync::mpsc::{Sender, SyncSender};
use std::time::{Duration, Instant};

use bridge::Level;
use nix::sys::epoll::{Epoll, EpollCreateFlags, EpollEvent, EpollFlags, EpollTimeout};
use nix::sys::signal::Signal;
use wsgi_core::codes::DAEMON_FAILED;
use wsgi_core::lifecycle::{Reason, RunningRequest, Timers, Trigger};
use wsgi_core::wire::exit;

use self::memory::MemoryChecks;
use super::crew::{Looks, Trials};
use super::monitor::Task;
use super::state::{Daemon, Phase};
use super::{descriptors, log};

/// The interval of checks of requests that wait because all workers are busy.
const QUEUE_CHECK_INTERVAL: Duration = Duration::from_millis(30);

/// The interval of checks whether a worker that takes all requests is in the way of one.
const LEADER_CHECK_INTERVAL: Duration = Duration::from_millis(5);

/// The longest wait for an event, so that its length can be said in milliseconds.
const LONGEST_WAIT: Duration = Duration::from_secs(3600);

// The events, as the epoll names them.
const CONTROL: u64 = 0;
const CHANNEL: u64 = 1;
const SIGNALS: u64 = 2;
const WAKE: u64 = 3;
const READY: u64 = 4;

/// The order to the main thread to end the process.
#[derive(Debug)]
pub(super) struct Shutdown {
    /// The reason.
    pub(super) reason: Reason,
    /// The request that is the reason: the stacks of its interpreter are to be logged.
    pub(super) dump_of: Option<RunningRequest>,
}

/// The event thread's endpoints of its connections with others.
pub(super) struct Endpoints {
    /// The supervisor's orders; `None` when it is gone.
    pub(super) control: Option<OwnedFd>,
    /// The reports to the supervisor.
    pub(super) reports: File,
    /// The source of connections; `None` when no more are taken.
    pub(super) channel: Option<OwnedFd>,
    pub(super) signals: OwnedFd,
    /// The sender to the main thread, which waits for the end.
    pub(super) end: Sender<Shutdown>,
    /// The senders to the threads that deliver signals and interrupt requests.
    pub(super) signal_sender: Option<SyncSender<Signal>>,
    pub(super) task_sender: Option<Sender<Task>>,
}

/// The event thread's state.
pub(super) struct EventLoop {
    daemon: &'static Daemon,
    endpoints: Endpoints,
    timers: Timers,
    watch: Epoll,
    /// The supervisor's process id.
    parent: u32,
    /// There are no workers: a script is all that runs.
    is_service: bool,
    /// Python's side has been started.
    is_ready: bool,
    /// A reason to replace the process that has come before it was ready: the supervisor follows
    /// none from a process that does not serve.
    early: Option<Trigger>,
    /// The time of the next check of waiting requests.
    next_queue_check: Option<Instant>,
    /// The time of the next check of the worker that takes all requests.
    next_leader_check: Option<Instant>,
    /// The times at which one worker is tried.
    trials: Trials,
    /// Of the worker that takes all requests.
    looks: Looks,
    memory_checks: MemoryChecks,
    /// The time of the last complaint that connections cannot be taken.
    complained: Option<Instant>,
    /// The end of a pause in which no connections are taken.
    accept_again: Option<Instant>,
    /// The process serves one request, and has the connection for it.
    has_enough: bool,
    /// The number of waiting requests that the children see.
    waiting: i32,
}

/// Runs the event loop, as long as the process lives.
pub(super) fn run(daemon: &'static Daemon, endpoints: Endpoints, timers: Timers) -> ! {
    let watch = match Epoll::new(EpollCreateFlags::EPOLL_CLOEXEC) {
        Ok(watch) => watch,
        Err(error) => fail(daemon, &format!("no epoll: {error}")),
    };
    descriptors::register(&watch.0);
    let mut event_loop = EventLoop {
        daemon,
        endpoints,
        timers,
        watch,
        parent: parent_id(),
        is_service: daemon.workers.is_empty(),
        is_ready: false,
        early: None,
        next_queue_check: None,
        next_leader_check: None,
        trials: Trials::new(daemon.now()),
        looks: Looks::default(),
        memory_checks: MemoryChecks::default(),
        complained: None,
        accept_again: None,
        has_enough: false,
        waiting: 0,
    };
    log::never_wait();
    if let Err(error) = event_loop.register() {
        fail(daemon, &format!("descriptors cannot be watched: {error}"));
    }
    loop {
        event_loop.step();
    }
}

/// Ends the process, which cannot go on without this thread.
fn fail(daemon: &Daemon, text: &str) -> ! {
    log::line(
        Level::Critical,
        &format!("{DAEMON_FAILED}: Process group '{}': {text}. The process ends.", daemon.name),
    );
    os::exit::now(exit::FAILED.into())
}

impl EventLoop {
    /// Registers the descriptors that are watched from the beginning.
    fn register(&self) -> nix::Result<()> {
        let flags = EpollFlags::EPOLLIN;
        if let Some(control) = &self.endpoints.control {
            self.watch.add(control, EpollEvent::new(flags, CONTROL))?;
        }
        self.watch.add(&self.endpoints.signals, EpollEvent::new(flags, SIGNALS))?;
        self.watch.add(&self.daemon.wake, EpollEvent::new(flags, WAKE))?;
        self.watch.add(&self.daemon.ready.0, EpollEvent::new(flags | EpollFlags::EPOLLONESHOT, READY))
    }

    /// Waits for events and handles them, then does what is due.
    fn step(&mut self) {
        let mut events = [EpollEvent::empty(); 16];
        let count = self.watch.wait(&mut events, self.timeout()).unwrap_or(0);
        for event in &events[..count] {
            match event.data() {
                CONTROL => self.on_order(),
                CHANNEL => self.on_connection(),
                SIGNALS => self.on_signals(),
                WAKE => self.on_wake(),
                _ => self.on_request(),
            }
        }
        self.on_time();
    }

    /// Returns the time until something is due.
    fn timeout(&self) -> EpollTimeout {
        let now = Instant::now();
        let held = self.daemon.reload.deadline();
        let memory = self.memory_checks.next;
        let next = [self.next_queue_check, self.next_leader_check, self.accept_again, memory, held];
        let next = next.into_iter().flatten().map(|time| time.saturating_duration_since(now));
        let next = next.chain(self.next_decision()).min();
        next.map_or(EpollTimeout::NONE, |time| {
            // Rounded up, so that the time is over when the wait ends.
            let time = (time + Duration::from_micros(999)).min(LONGEST_WAIT);
            EpollTimeout::try_from(time).unwrap_or(EpollTimeout::ZERO)
        })
    }

    /// Returns the time until the timers' next decision.
    fn next_decision(&self) -> Option<Duration> {
        // The timers do not watch the imports at the start.
        let now = self.daemon.now();
        let next = if self.is_ready || self.timers.is_stopping() { self.timers.next(now) } else { None };
        let retry = if self.is_ready && self.is_serving() { self.daemon.reload.next_retry() } else { None };
        let next = next.into_iter().chain(retry).min();
        next.map(|time| Duration::from_millis(time.saturating_sub(now).max(1)))
    }

    /// Does what is due.
    fn on_time(&mut self) {
        let now = Instant::now();
        let is_due = |time: Option<Instant>| time.is_some_and(|time| time <= now);
        if is_due(self.accept_again) {
            self.accept_again = None;
            self.listen();
        }
        if is_due(self.daemon.reload.deadline()) {
            self.release_held(None);
        }
        if is_due(self.next_leader_check) {
            self.check_leader();
        }
        if is_due(self.next_queue_check) {
            self.check_queue();
        }
        if is_due(self.memory_checks.next) {
            self.check_memory();
        }
        if self.is_ready && self.is_serving() && self.daemon.reload.begin_retry(self.daemon.now()) {
            self.trigger(Trigger::ScriptReload);
        }
        self.ask_timers();
    }

    fn is_serving(&self) -> bool {
        self.daemon.phase() == Phase::Serving
    }
}
