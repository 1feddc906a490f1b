//! The event thread: connections, the supervisor, signals, timers, requests that wait. It never needs Python, so that
//! it answers also when all of Python is stuck.

use std::fs::File;
use std::io::{ErrorKind, Write};
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::net::UnixStream;
use std::os::unix::process::parent_id;
use std::sync::mpsc::{Sender, SyncSender};
use std::time::{Duration, Instant};

use bridge::Level;
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use nix::sys::epoll::{Epoll, EpollCreateFlags, EpollEvent, EpollFlags, EpollTimeout};
use nix::sys::signal::Signal;
use os::descriptors::{Wait, next_length, receive_with};
use wsgi_core::lifecycle::{Decision, Reason, Running, Timers, Trigger};
use wsgi_core::wire::control::{Order, Report};
use wsgi_core::wire::frame::Rejection;

use super::exchange::{discard, hello, reject};
use super::monitor::Task;
use super::state::{Daemon, Note, Phase};
use super::workers::{READABLE, give_back};
use super::{descriptors, log};
use crate::locked::lock;
use crate::script_file::modified;

/// How often requests are looked at that wait because all workers are busy.
const BETWEEN_LOOKS: Duration = Duration::from_millis(30);
/// How long no connection is taken after one could not be.
const PAUSE: Duration = Duration::from_millis(100);

/// How often that is said.
const BETWEEN_COMPLAINTS: Duration = Duration::from_secs(10);
/// How long the end of a supervisor may take, from its sockets to its last.
const ORPHANED: Duration = Duration::from_millis(200);

const CONTROL: u64 = 0;
const CHANNEL: u64 = 1;
const SIGNALS: u64 = 2;
const WAKE: u64 = 3;
const READY: u64 = 4;

/// The process is to end.
#[derive(Debug)]
pub(super) struct End {
    /// Why.
    pub(super) reason: Reason,
    /// The request that is the reason: what its interpreter does is to be logged.
    pub(super) dump_of: Option<Running>,
}

/// What the event thread has.
pub(super) struct Events {
    pub(super) daemon: &'static Daemon,
    pub(super) control: Option<OwnedFd>,
    pub(super) reports: File,
    pub(super) channel: Option<OwnedFd>,
    pub(super) signals: OwnedFd,
    /// Where the main thread waits.
    pub(super) end: Sender<End>,
    /// Where those threads wait that deliver signals and interrupt requests.
    pub(super) signal_sender: Option<SyncSender<Signal>>,
    pub(super) task_sender: Option<Sender<Task>>,
    pub(super) timers: Timers,
    /// There are no workers: a script is all that runs.
    pub(super) is_service: bool,
}

/// How things stand.
struct Run {
    events: Events,
    watch: Epoll,
    /// The supervisor's process id.
    parent: u32,
    /// Python's side has been started.
    is_ready: bool,
    /// When to look at waiting requests again.
    look: Option<Instant>,
    /// When it was last said that connections can not be taken.
    complained: Option<Instant>,
    /// When connections are taken again.
    accept_again: Option<Instant>,
    /// The process is for one request, and has the connection that is to bring it.
    has_enough: bool,
    /// Requests that wait, as far as the children have been told.
    waiting: i32,
}

/// The life of the event thread.
pub(super) fn run(events: Events) {
    let watch = match Epoll::new(EpollCreateFlags::EPOLL_CLOEXEC) {
        Ok(watch) => watch,
        Err(error) => fatal(events.daemon, &format!("no epoll: {error}")),
    };
    descriptors::own(&watch.0);
    let mut run = Run {
        events,
        watch,
        parent: parent_id(),
        is_ready: false,
        look: None,
        complained: None,
        accept_again: None,
        has_enough: false,
        waiting: 0,
    };
    log::never_wait();
    if let Err(error) = run.begin() {
        fatal(run.events.daemon, &format!("descriptors can not be watched: {error}"));
    }
    loop {
        run.turn();
    }
}

/// Without this thread the process would be deaf.
fn fatal(daemon: &Daemon, text: &str) -> ! {
    log::line(Level::Crit, &format!("WSGI0208: Process group '{}': {text}. The process ends.", daemon.name));
    os::exit::now(255)
}

impl Run {
    fn begin(&self) -> nix::Result<()> {
        let flags = EpollFlags::EPOLLIN;
        let events = &self.events;
        if let Some(control) = &events.control {
            self.watch.add(control, EpollEvent::new(flags, CONTROL))?;
        }
        self.watch.add(&events.signals, EpollEvent::new(flags, SIGNALS))?;
        self.watch.add(&events.daemon.wake, EpollEvent::new(flags, WAKE))?;
        self.watch.add(&events.daemon.ready.0, EpollEvent::new(flags | EpollFlags::EPOLLONESHOT, READY))
    }

    /// Waits for something, and does what is to be done.
    fn turn(&mut self) {
        let mut happened = [EpollEvent::empty(); 16];
        let count = self.watch.wait(&mut happened, self.timeout()).unwrap_or(0);
        for event in &happened[..count] {
            match event.data() {
                CONTROL => self.obey(),
                CHANNEL => self.accept(),
                SIGNALS => self.signals(),
                WAKE => self.notes(),
                // A worker takes what is readable; if none does, it still is in a moment.
                _ => self.look = Some(Instant::now() + BETWEEN_LOOKS),
            }
        }
        self.timers();
    }

    /// How long there is nothing to do unless something happens.
    fn timeout(&self) -> EpollTimeout {
        let now = Instant::now();
        let held = self.events.daemon.reload.deadline();
        let next = [self.look, self.accept_again, held];
        let next = next.into_iter().flatten().map(|time| time.saturating_duration_since(now));
        let next = next.chain(self.next_decision()).min();
        next.map_or(EpollTimeout::NONE, |time| {
            // Rounded up, so that it is over then.
            let time = (time + Duration::from_micros(999)).min(Duration::from_secs(3600));
            EpollTimeout::try_from(time).unwrap_or(EpollTimeout::ZERO)
        })
    }

    /// In what time the timers want to be asked.
    fn next_decision(&self) -> Option<Duration> {
        // What is imported at the start is not under the eyes of the timers.
        let timers = &self.events.timers;
        let now = self.events.daemon.now();
        let next = if self.is_ready || timers.is_stopping() { timers.next(now) } else { None };
        next.map(|time| Duration::from_millis(time.saturating_sub(now).max(1)))
    }

    fn is_serving(&self) -> bool {
        self.events.daemon.phase() == Phase::Serving
    }

    // The supervisor.

    fn obey(&mut self) {
        let Some(control) = &self.events.control else { return };
        let order = next_length(control, Wait::Never).and_then(|length| {
            let mut message = vec![0; length];
            receive_with(control, &mut message, Wait::Never).map(|_| message)
        });
        match order.as_deref() {
            Err(error) if error.kind() == ErrorKind::WouldBlock => {}
            Ok([]) | Err(_) => {
                self.events.control = None;
                self.events.daemon.info("the supervisor is gone, the process finishes its requests and ends");
                self.drain(self.events.daemon.limits.graceful_timeout);
            }
            Ok(message) => match Order::decode(message) {
                Ok(Order::Serve) => self.take_connections(),
                Ok(Order::Keep(reason)) => self.keep(&String::from_utf8_lossy(&reason)),
                Ok(Order::Drain(grace)) => self.drain(grace.into()),
                Ok(Order::Start { .. }) | Err(_) => {}
            },
        }
    }

    fn take_connections(&mut self) {
        if let Some(channel) = self.events.channel.as_ref().filter(|_| self.is_serving()) {
            let _ = self.watch.add(channel, EpollEvent::new(EpollFlags::EPOLLIN, CHANNEL));
        }
    }

    /// A process for one request takes the next connection when the last one has brought none.
    fn take_another(&mut self) {
        let daemon = self.events.daemon;
        if self.has_enough && daemon.pulse.is_open() && daemon.connections.is_empty() {
            self.has_enough = false;
            self.take_connections();
        }
    }

    /// There is no successor.
    fn keep(&mut self, reason: &str) {
        self.events.timers.keep(self.events.daemon.now());
        self.release_held(Some(reason));
        log::line(
            Level::Warn,
            &format!(
                "Process group '{}': no process can take over ({reason}): this one serves on.",
                self.events.daemon.name
            ),
        );
    }

    fn report(&self, report: &Report) -> bool {
        (&self.events.reports).write_all(&report.encode()).is_ok()
    }

    // The end.

    /// Takes no more requests, and ends when those are done that it has, or `grace` milliseconds are over.
    fn drain(&mut self, grace: u64) {
        if self.events.is_service {
            if self.is_orphan() {
                return;
            }
            // The script decides what the signal means to it.
            let _ = nix::sys::signal::kill(nix::unistd::getpid(), Signal::SIGTERM);
            return;
        }
        if self.is_serving() {
            self.close(Phase::Draining);
        }
        let decision = self.events.timers.drain(grace, self.events.daemon.now());
        self.carry_out(decision);
    }

    /// Whether the supervisor has ended: then the kernel has sent the signal (see `setup`), and a second one would break into
    /// what the script does about the first. Its sockets close a moment before.
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

    fn trigger(&mut self, trigger: Trigger) {
        let decision = self.events.timers.trigger(trigger, self.events.daemon.now());
        self.carry_out(decision);
    }

    fn decide(&mut self) {
        while self.is_ready || self.events.timers.is_stopping() {
            let decision = self.events.timers.poll(self.events.daemon.now());
            self.carry_out(decision);
            if !matches!(decision, Decision::Interrupt(_) | Decision::Replace { .. }) {
                return;
            }
        }
    }

    fn carry_out(&mut self, decision: Decision) {
        let daemon = self.events.daemon;
        match decision {
            Decision::Nothing => {}
            Decision::Interrupt(running) => self.perform(Task::Interrupt(running)),
            Decision::Replace { reason, dump_of } => {
                daemon.info(&format!("a successor is asked for ({})", reason.name()));
                if let Some(running) = dump_of {
                    self.perform(Task::Dump(running));
                }
                let (scripts, left_out) = daemon.reload.scripts(reason);
                for script in left_out {
                    log::line(
                        Level::Warn,
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
            Decision::Stop { reason, dump_of } => {
                daemon.info(&format!("shutdown requested ({})", reason.name()));
                if self.is_serving() {
                    self.report(&Report::Stopping(reason));
                }
                self.close(Phase::Ending);
                // Their threads end.
                self.events.signal_sender = None;
                self.events.task_sender = None;
                let _ = self.events.end.send(End { reason, dump_of });
            }
            Decision::Exit => {
                daemon.info("the shutdown timeout is over, the process is ended");
                os::exit::now(255);
            }
        }
    }

    fn perform(&self, task: Task) {
        if let Some(sender) = &self.events.task_sender {
            let _ = sender.send(task);
        }
    }

    /// Gives up all connections that no worker has.
    fn close(&mut self, phase: Phase) {
        let daemon = self.events.daemon;
        daemon.phase.store(phase as u8, std::sync::atomic::Ordering::SeqCst);
        if let Some(channel) = self.events.channel.take() {
            descriptors::disown(&channel);
        }
        // A request that waits unread is seen by the child as one that has not been read.
        for connection in daemon.connections.all() {
            if connection.claim() {
                daemon.connections.remove(&connection);
            }
        }
        for held in daemon.reload.moved() {
            let is_usable = reject(held.connection.stream(), Rejection::Moved);
            give_back(daemon, &held.connection, is_usable);
            daemon.end(false);
        }
        daemon.count(-self.waiting);
        self.waiting = 0;
        self.look = None;
    }

    // Signals and notes.

    fn signals(&mut self) {
        let mut numbers = [0; 64];
        while let Ok(count @ 1..) = nix::unistd::read(&self.events.signals, &mut numbers) {
            for number in &numbers[..count] {
                if let Ok(signal) = Signal::try_from(i32::from(*number)) {
                    self.signal(signal);
                }
            }
        }
    }

    fn signal(&mut self, signal: Signal) {
        if self.events.is_service {
            return;
        }
        match signal {
            Signal::SIGTERM | Signal::SIGINT => self.trigger(Trigger::Terminate),
            Signal::SIGUSR1 => self.trigger(Trigger::Graceful),
            Signal::SIGXCPU => self.trigger(Trigger::CpuTimeLimit),
            // Bursts are dropped.
            _ => {
                if let Some(sender) = &self.events.signal_sender {
                    let _ = sender.try_send(signal);
                }
            }
        }
    }

    fn notes(&mut self) {
        let daemon = self.events.daemon;
        let _ = daemon.wake.read();
        let notes = std::mem::take(&mut *lock(&daemon.inbox));
        for note in notes {
            match note {
                Note::Ready => {
                    self.is_ready = true;
                    daemon.pulse.locks_were_free(daemon.now());
                    self.report(&Report::Ready);
                }
                Note::Changed => self.trigger(Trigger::ScriptReload),
                // That is done in every turn.
                Note::Decide => {}
                Note::Free => self.take_another(),
                Note::Broken => self.trigger(Trigger::Terminate),
            }
        }
    }

    // Connections.

    fn accept(&mut self) {
        // Not all at once, so that others get their share.
        for _ in 0..64 {
            let Some(channel) = &self.events.channel else { return };
            match receive_with(channel, &mut [0; 1], Wait::Never) {
                Err(error) if error.kind() == ErrorKind::WouldBlock => return,
                Err(error) => return self.pause(&error.to_string()),
                Ok((0, _)) => {
                    self.events.daemon.info("all clients of the process are gone, it ends");
                    return self.drain(self.events.daemon.limits.graceful_timeout);
                }
                Ok((_, sockets)) => sockets.into_iter().for_each(|socket| self.add(socket)),
            }
            if self.events.daemon.is_run_once && !self.events.daemon.connections.is_empty() {
                // Others wait in the channel, for the next process.
                if let Some(channel) = &self.events.channel {
                    let _ = self.watch.delete(channel);
                }
                self.has_enough = true;
                return;
            }
        }
    }

    fn add(&self, socket: OwnedFd) {
        let daemon = self.events.daemon;
        let stream = UnixStream::from(socket);
        let timeout = daemon.limits.socket_timeout;
        let timeout = (timeout > 0).then(|| Duration::from_millis(timeout));
        // What the process reads it has asked for: the child answers when the client does, or the client's time is
        // over. To be impatient here would spoil that answer.
        if os::descriptors::set_timeouts(&stream, None, timeout).is_err() || !hello(&stream) {
            return;
        }
        if let Some(connection) = daemon.connections.insert(stream)
            && daemon.ready.add(&*connection, EpollEvent::new(READABLE, connection.token())).is_err()
            && connection.claim()
        {
            daemon.connections.remove(&connection);
        }
    }

    /// A connection could not be taken, most likely because there are too many descriptors: the child makes another one.
    fn pause(&mut self, error: &str) {
        if self.complained.is_none_or(|last| last.elapsed() > BETWEEN_COMPLAINTS) {
            self.complained = Some(Instant::now());
            log::line(
                Level::Error,
                &format!(
                    "WSGI0016: Process group '{}': a connection can not be taken: {error}. If the application leaves files \
                     or sockets open, close them; or allow the process more descriptors (ulimit -n).",
                    self.events.daemon.name
                ),
            );
        }
        if let Some(channel) = &self.events.channel {
            let _ = self.watch.delete(channel);
        }
        self.accept_again = Some(Instant::now() + PAUSE);
    }

    // Timers.

    fn timers(&mut self) {
        let now = Instant::now();
        let is_due = |time: Option<Instant>| time.is_some_and(|time| time <= now);
        if is_due(self.accept_again) {
            self.accept_again = None;
            self.take_connections();
        }
        if is_due(self.events.daemon.reload.deadline()) {
            self.release_held(None);
        }
        if is_due(self.look) {
            self.look_at_waiting();
        }
        self.decide();
    }

    /// Lets requests run that were held back.
    fn release_held(&self, reason: Option<&str>) {
        let daemon = self.events.daemon;
        if daemon.reload.refused(reason, daemon.now(), modified) {
            let _ = daemon.released.write(1);
        }
    }

    /// Answers requests that have waited for too long, or are too many; forgets those whose clients have gone.
    fn look_at_waiting(&mut self) {
        let daemon = self.events.daemon;
        self.look = None;
        let idle: Vec<_> =
            daemon.connections.all().into_iter().filter(|connection| connection.is_idle()).collect();
        let wanted = PollFlags::POLLIN;
        let mut polled: Vec<_> =
            idle.iter().map(|connection| PollFd::new(connection.as_fd(), wanted)).collect();
        if poll(&mut polled, PollTimeout::ZERO).is_err() {
            polled.clear();
        }
        let states: Vec<_> =
            polled.iter().map(|polled| polled.revents().unwrap_or(PollFlags::empty())).collect();
        let now = daemon.now();
        let mut waiting = Vec::new();
        for (connection, state) in idle.iter().zip(states) {
            if state.intersects(PollFlags::POLLHUP | PollFlags::POLLERR) {
                if connection.claim() {
                    daemon.connections.remove(connection);
                }
            } else if state.contains(PollFlags::POLLIN) {
                let since = &connection.waiting_since;
                let order = std::sync::atomic::Ordering::Relaxed;
                if since.load(order) == 0 {
                    since.store(now, order);
                }
                waiting.push((since.load(order), connection));
            }
        }
        waiting.sort_by_key(|(since, _)| *since);
        let (limits, mut count) = (daemon.limits, 0);
        for (since, connection) in waiting {
            let is_late = limits.queue_timeout > 0 && now.saturating_sub(since) > limits.queue_timeout;
            if is_late {
                refuse(daemon, connection, Rejection::Late);
            } else if limits.listen_backlog > 0 && count >= limits.listen_backlog {
                refuse(daemon, connection, Rejection::Busy);
            } else {
                count += 1;
            }
        }
        let count = i32::try_from(count).unwrap_or(i32::MAX);
        daemon.count(count - self.waiting);
        self.waiting = count;
        if count > 0 {
            self.look = Some(Instant::now() + BETWEEN_LOOKS);
        } else {
            let mut event = EpollEvent::new(EpollFlags::EPOLLIN | EpollFlags::EPOLLONESHOT, READY);
            let _ = self.watch.modify(&daemon.ready.0, &mut event);
        }
        self.take_another();
    }
}

/// Answers a request that no worker has taken.
fn refuse(daemon: &Daemon, connection: &super::connection::Connection, why: Rejection) {
    if connection.claim() {
        let is_whole = discard(connection.stream());
        let is_usable = reject(connection.stream(), why) && is_whole;
        give_back(daemon, connection, is_usable);
    }
}
