//! The relay: a thread that carries lines from daemon processes, and from the supervisor itself, to
//! the error logs.
//!
//! Each process writes to a pipe of its own, so that none can do anything to a log but add lines.
//! The supervisor's main thread only hands lines over: a log that does not take them, be it a
//! program that does not read, a disk that is full or a file system that hangs, holds up the relay
//! at most. It is a thread and not a process, since nobody would have to watch or restart it, and
//! since what comes first is known: the last words of a process, then the line about its end.

mod crash_report;
mod objects;
mod sink;
mod source;
mod syslog;

use std::collections::{HashMap, VecDeque};
use std::io;
use std::os::fd::OwnedFd;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::sync::mpsc::{self, Receiver, Sender};
use std::time::{Duration, Instant};

use nix::errno::Errno;
use nix::sys::epoll::{Epoll, EpollCreateFlags, EpollEvent, EpollFlags, EpollTimeout};
use nix::sys::eventfd::{EfdFlags, EventFd};
use os::process::Exit;

use crash_report::CrashReport;
use sink::{Owner, Sink};
use source::{Input, Source};
use wsgi_core::wire::launch;

use crate::log_line;
use crate::record::PendingEvent;

/// The number of bytes that the supervisor has handed over and that may wait, if the relay is held
/// up.
const BACKLOG: usize = 256 << 10;
/// The number of pipes of ended processes that are read on: at least, and for each slot. Something
/// that the processes have started holds the other end.
const ORPHANS: (usize, usize) = (64, 4);
/// The time that the relay waits at its end for a log that takes nothing.
const FINISH_PATIENCE: Duration = Duration::from_millis(500);
/// The owner of the supervisor's own lines, for [`Sink`].
const OWN: Owner = 0;
/// The number of bytes of reports of processes that have died, which are kept until they are recorded: many
/// may die at once.
const MOST_REPORTS: usize = 8 << 20;
/// The epoll data of the event that a command has been sent.
const WAKE: u64 = 0;
/// The number of events that are taken at once.
const EVENTS: usize = 64;

/// The pipe of a process.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Id(u64);

/// The destination of the lines of a process.
#[derive(Debug, Clone)]
pub(crate) struct Destination {
    /// The index of the log.
    pub(crate) log: usize,
    /// The process group, if lines become JSON objects.
    pub(crate) json_of: Option<Box<[u8]>>,
}

impl Destination {
    /// Returns the destination of the lines of a group's processes.
    pub(crate) fn of(group: &launch::Group) -> Self {
        let json_of = group.daemon.json_log.then(|| group.daemon.name.clone());
        Self { log: group.log as usize, json_of }
    }

    /// Returns the main log, for a program of no group.
    pub(crate) fn main() -> Self {
        Self { log: 0, json_of: log_line::is_json().then(Box::default) }
    }
}

/// The relay, as the main thread sees it. None of its functions waits, but for
/// [`finish`](Self::finish).
#[derive(Debug)]
pub(crate) struct Relay {
    commands: Sender<Command>,
    wake: Arc<EventFd>,
    counts: Arc<Counts>,
    last_id: AtomicU64,
}

#[derive(Debug)]
enum Command {
    /// Carry what comes through this pipe to its destination.
    Watch(Id, OwnedFd, Destination),
    /// The process has ended: take what it has left there, before anything else.
    Collect(Id),
    /// Record an event of the process that has ended so, with what it has written when it died.
    Record(Id, Exit, PendingEvent),
    /// Write this line of the supervisor's.
    Line(Vec<u8>),
    /// Write what there is, and end.
    Finish(Sender<()>),
}

#[derive(Debug, Default)]
struct Counts {
    /// Bytes of lines that are handed over.
    waiting: AtomicUsize,
    /// Lines that were not handed over.
    dropped: AtomicU64,
    /// Pipes that are read.
    sources: AtomicUsize,
}

/// Returns the number of pipes of ended processes that a supervisor of so many slots reads on.
pub(crate) const fn max_orphans(slots: usize) -> usize {
    ORPHANS.0 + ORPHANS.1 * slots
}

impl Relay {
    /// Starts the relay for these logs, and processes in so many slots. The supervisor's own lines
    /// go to `own`, an index in `logs`. The system's log takes the place of the first one, if it is
    /// given.
    ///
    /// # Errors
    /// The system has no descriptor or thread left.
    pub(crate) fn start(
        logs: &[OwnedFd],
        own: usize,
        syslog: Option<launch::Syslog>,
        slots: usize,
    ) -> io::Result<Self> {
        let epoll = Epoll::new(EpollCreateFlags::EPOLL_CLOEXEC)?;
        let wake = Arc::new(EventFd::from_flags(EfdFlags::EFD_CLOEXEC | EfdFlags::EFD_NONBLOCK)?);
        epoll.add(&*wake, EpollEvent::new(EpollFlags::EPOLLIN, WAKE))?;
        let (commands, receiver) = mpsc::channel();
        let counts = Arc::new(Counts::default());
        let mut sinks = logs.iter().map(Sink::new).collect::<io::Result<Vec<_>>>()?;
        if let (Some(syslog), Some(main)) = (syslog, sinks.first_mut()) {
            *main = Sink::system(syslog);
        }
        let work = RelayThread {
            epoll,
            wake: Arc::clone(&wake),
            commands: receiver,
            counts: Arc::clone(&counts),
            sinks,
            own,
            sources: HashMap::new(),
            orphans: Vec::new(),
            max_orphans: max_orphans(slots),
            reports: VecDeque::new(),
            buffer: vec![0; source::BLOCK].into(),
        };
        let run = move || {
            if catch_unwind(AssertUnwindSafe(|| work.run())).is_err() {
                // Without it all processes would write in vain. The server starts another
                // supervisor.
                std::process::abort();
            }
        };
        std::thread::Builder::new().name("relay".into()).spawn(run)?;
        Ok(Self { commands, wake, counts, last_id: AtomicU64::new(WAKE) })
    }

    /// Makes the relay carry what comes through a pipe to a log.
    pub(crate) fn watch(&self, reader: OwnedFd, destination: Destination) -> Id {
        let id = Id(self.last_id.fetch_add(1, Ordering::Relaxed) + 1);
        self.send(Command::Watch(id, reader, destination));
        id
    }

    /// Tells the relay that a process has ended. What it has left is written before lines that are
    /// handed over later.
    pub(crate) fn collect(&self, id: Id) {
        self.send(Command::Collect(id));
    }

    /// Records the end of a process, with the stacks that it has written because of it. It follows the
    /// [collection](Self::collect) of the same pipe.
    pub(crate) fn record(&self, id: Id, exit: Exit, event: PendingEvent) {
        self.send(Command::Record(id, exit, event));
    }

    /// Hands a line over; drops and counts it if too many wait.
    pub(crate) fn line(&self, line: Vec<u8>) {
        let length = line.len();
        if self.counts.waiting.fetch_add(length, Ordering::AcqRel) > BACKLOG {
            self.counts.waiting.fetch_sub(length, Ordering::AcqRel);
            self.counts.dropped.fetch_add(1, Ordering::AcqRel);
            return;
        }
        self.send(Command::Line(line));
    }

    /// Returns whether anybody can write to a pipe, as far as that has been seen.
    pub(crate) fn has_writers(&self) -> bool {
        self.counts.sources.load(Ordering::Acquire) > 0
    }

    /// Makes the relay write everything, as far as the logs take it, and ends it. Waits for that a
    /// moment at most.
    pub(crate) fn finish(&self) {
        let (sender, finished) = mpsc::channel();
        self.send(Command::Finish(sender));
        // A thread that hangs in a file system ends with the process.
        let _ = finished.recv_timeout(4 * FINISH_PATIENCE);
    }

    fn send(&self, command: Command) {
        // Without a thread there is nobody to tell. The counter cannot overflow before it is read.
        let _ = (self.commands.send(command), self.wake.write(1));
    }
}

/// The state of the relay's thread.
struct RelayThread {
    epoll: Epoll,
    wake: Arc<EventFd>,
    commands: Receiver<Command>,
    counts: Arc<Counts>,
    sinks: Vec<Sink>,
    own: usize,
    sources: HashMap<u64, Source>,
    /// Sources of processes that have ended, the oldest first.
    orphans: Vec<u64>,
    max_orphans: usize,
    /// The reports of processes that have died lately, by their pipes, until they are recorded.
    reports: VecDeque<(u64, CrashReport)>,
    buffer: Box<[u8]>,
}

impl RelayThread {
    fn run(mut self) {
        // A caller that waits for the end learns of it, however that comes.
        let mut finished: Option<Sender<()>> = None;
        let mut events = [EpollEvent::empty(); EVENTS];
        loop {
            let count = match self.epoll.wait(&mut events, self.timeout()) {
                Ok(count) => count,
                Err(Errno::EINTR) => 0,
                Err(_) => return,
            };
            for event in &events[..count] {
                match event.data() {
                    WAKE => finished = self.on_wake().or(finished),
                    id => self.on_readable(id),
                }
            }
            let now = Instant::now();
            for sink in &mut self.sinks {
                sink.flush(now);
            }
            self.resume();
            if finished.is_some() && self.sinks.iter().all(|sink| sink.is_done(now, FINISH_PATIENCE)) {
                return;
            }
        }
    }

    fn timeout(&self) -> EpollTimeout {
        let Some(wait) = self.sinks.iter().filter_map(Sink::retry).min() else { return EpollTimeout::NONE };
        EpollTimeout::from(wait)
    }

    /// Carries out what the main thread has asked for.
    fn on_wake(&mut self) -> Option<Sender<()>> {
        // A command that is sent from now on wakes this thread again.
        let _ = self.wake.read();
        let mut finished = None;
        while let Ok(command) = self.commands.try_recv() {
            match command {
                Command::Watch(id, reader, destination) => self.on_watch(id, reader, destination),
                Command::Collect(id) => self.on_collect(id.0),
                Command::Record(id, exit, event) => event.add(&self.take_report(id.0).of_end(exit)),
                Command::Line(line) => {
                    self.counts.waiting.fetch_sub(line.len(), Ordering::AcqRel);
                    self.sinks[self.own].push(OWN, line, Instant::now());
                }
                Command::Finish(sender) => {
                    for id in self.sources.keys().copied().collect::<Vec<_>>() {
                        self.on_collect(id);
                    }
                    self.sinks.iter_mut().for_each(Sink::reset_stall);
                    finished = Some(sender);
                }
            }
        }
        self.sinks[self.own].count_dropped(self.counts.dropped.swap(0, Ordering::AcqRel));
        finished
    }

    fn on_watch(&mut self, Id(id): Id, reader: OwnedFd, destination: Destination) {
        let is_watched = self.epoll.add(&reader, EpollEvent::new(EpollFlags::EPOLLIN, id));
        // Otherwise there is no memory, and nobody reads what the process writes.
        if is_watched.is_ok() {
            self.sources.insert(id, Source::new(reader, destination));
            self.count();
        }
    }

    /// Takes what a process that has ended has left in its pipe, and the line that it has not
    /// finished.
    fn on_collect(&mut self, id: u64) {
        let Some(source) = self.sources.get_mut(&id) else { return };
        let sink = &mut self.sinks[source.log];
        let mut is_over = false;
        // At most as much as a pipe can hold: a process that writes on is not waited for.
        for _ in 0..source::MAX_BLOCKS {
            match source.read(&mut self.buffer) {
                Input::Lines(lines) => sink.push_last(id, lines),
                Input::Nothing => {}
                Input::Pending => break,
                Input::End => {
                    is_over = true;
                    break;
                }
            }
        }
        sink.push_last(id, source.rest());
        self.keep_report(id);
        if is_over {
            self.forget(id);
        } else if !self.orphans.contains(&id) {
            self.orphans.push(id);
            if self.orphans.len() > self.max_orphans {
                self.forget(self.orphans[0]);
            }
        }
    }

    /// Keeps the report that a process has written, which may have closed its pipe before its end is
    /// known.
    fn keep_report(&mut self, id: u64) {
        let report = self.sources.get_mut(&id).map(Source::take_report).unwrap_or_default();
        if !report.is_empty() {
            self.reports.push_back((id, report));
            while self.reports.iter().map(|(_, report)| report.len()).sum::<usize>() > MOST_REPORTS {
                self.reports.pop_front();
            }
        }
    }

    fn take_report(&mut self, id: u64) -> CrashReport {
        let found = self.reports.iter().position(|(of, _)| *of == id);
        found.and_then(|at| self.reports.remove(at)).map(|(_, report)| report).unwrap_or_default()
    }

    /// Reads one block: a process that writes without pause leaves the others their turn.
    fn on_readable(&mut self, id: u64) {
        let Some(source) = self.sources.get_mut(&id) else { return };
        let sink = &mut self.sinks[source.log];
        match source.read(&mut self.buffer) {
            Input::Lines(lines) => {
                sink.push(id, lines, Instant::now());
                if sink.is_full_of(id) {
                    // The process waits, as with a slow disk, but not for a log that has stopped
                    // taking anything.
                    let _ = self.epoll.delete(&source.reader);
                    source.is_paused = true;
                }
            }
            Input::Nothing | Input::Pending => {}
            Input::End => {
                sink.push(id, source.rest(), Instant::now());
                self.keep_report(id);
                self.forget(id);
            }
        }
    }

    /// Reads on where it has paused and there is room again, or no use in waiting.
    fn resume(&mut self) {
        for (id, source) in &mut self.sources {
            if source.is_paused && self.sinks[source.log].has_room_for(*id) {
                let flags = EpollEvent::new(EpollFlags::EPOLLIN, *id);
                source.is_paused = self.epoll.add(&source.reader, flags).is_err();
            }
        }
    }

    fn count(&self) {
        self.counts.sources.store(self.sources.len(), Ordering::Release);
    }

    fn forget(&mut self, id: u64) {
        if let Some(source) = self.sources.remove(&id) {
            // Fails where it has paused.
            let _ = self.epoll.delete(&source.reader);
        }
        self.orphans.retain(|orphan| *orphan != id);
        self.count();
    }
}

#[cfg(test)]
mod tests;
