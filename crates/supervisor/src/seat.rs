//! A slot with its processes: carries out what [`Slot`] decides.

use std::collections::VecDeque;
use std::fs::File;
use std::io::{self, Read};
use std::os::fd::{AsFd, OwnedFd};
use std::time::Instant;

use nix::sys::epoll::{Epoll, EpollEvent, EpollFlags};
use nix::sys::signal::Signal;
use os::descriptors::{self, Kind, Wait};
use os::process::{Child, Exit};
use os::shared::{ReadWords, Words};
use wsgi_core::wire::board::{State, page, slot as board};
use wsgi_core::wire::control::{Order, Report, Script};
use wsgi_core::wire::launch::Group;

use crate::bucket::Bucket;
use crate::identity;
use crate::log::{self, Level};
use crate::program::{self, Surroundings};
use crate::relay::{self, Relay};
use crate::slot::{Action, Event, Key, Rules, Slot};
use crate::watch::Token;

/// How long a page has to say that nothing runs, in milliseconds, until a retired slot is taken for unused.
const UNUSED: u64 = 30_000;
/// Room for orders, in bytes, beside the first.
const SPARE: usize = 1 << 18;
/// How much a process may say: a thousand reports, or pieces of one, at a stretch; in the long run ten a second.
const SPEECH: u64 = 100_000;
/// What each takes of that.
const WORD: u64 = 100;
/// What is done at a stretch for one slot.
const BATCH: usize = 64;

/// What all seats share.
#[derive(Debug)]
pub(crate) struct World {
    pub(crate) epoll: Epoll,
    pub(crate) board: Words,
    pub(crate) groups: Vec<Group>,
    pub(crate) relay: &'static Relay,
    pub(crate) scoreboard: Option<OwnedFd>,
    pub(crate) surroundings: Surroundings,
    pub(crate) begin: Instant,
}

/// A slot and its processes.
#[derive(Debug)]
pub(crate) struct Seat {
    index: usize,
    group: usize,
    slot: Slot,
    channel: OwnedFd,
    page: OwnedFd,
    processes: Vec<Process>,
    /// What is watched of the channel.
    watched: Option<EpollFlags>,
    retired: Option<Retired>,
}

#[derive(Debug)]
struct Process {
    key: Key,
    child: Child,
    /// For orders. It is only sent to.
    control: OwnedFd,
    /// What it reports comes out here, and its end when it has closed the other side. Nothing once it is not listened to.
    reports: Option<File>,
    /// What has come of a report so far.
    heard: Vec<u8>,
    /// Bounds what it can make the supervisor do by talking.
    speech: Bucket,
    /// What it writes to the log.
    output: relay::Id,
}

/// What is watched after retirement.
#[derive(Debug)]
struct Retired {
    page: Option<ReadWords>,
    idle_since: Option<u64>,
}

impl World {
    /// Milliseconds since the start.
    pub(crate) fn now(&self) -> u64 {
        u64::try_from(self.begin.elapsed().as_millis()).unwrap_or(u64::MAX)
    }

    fn watch(&self, descriptor: impl AsFd, flags: EpollFlags, token: Token) -> io::Result<()> {
        Ok(self.epoll.add(descriptor, EpollEvent::new(flags, token.word()))?)
    }

    /// Writes to the log, if it takes lines of this level.
    fn log(&self, group: usize, level: Level, text: impl std::fmt::Display) {
        let daemon = &self.groups[group].daemon;
        if level as u8 <= daemon.log_level {
            log::about(&daemon.name, level, text);
        }
    }
}

impl Seat {
    /// The slot with this index, of this group, without a process yet.
    pub(crate) fn new(index: usize, group: usize, world: &World, channel: OwnedFd, page: OwnedFd) -> Self {
        Self {
            index,
            group,
            slot: Slot::new(Rules::of(&world.groups[group].daemon)),
            channel,
            page,
            processes: Vec::new(),
            watched: None,
            retired: None,
        }
    }

    /// See [`Slot::next`].
    pub(crate) fn next(&self) -> Option<u64> {
        self.slot.next()
    }

    /// See [`Slot::is_over`].
    pub(crate) fn is_over(&self) -> bool {
        self.slot.is_over()
    }

    /// Something has happened.
    pub(crate) fn feed(&mut self, event: Event, world: &World) {
        let (mut events, mut actions) = (VecDeque::from([event]), Vec::new());
        while let Some(event) = events.pop_front() {
            self.slot.handle(event, world.now(), &mut actions);
            // Before anybody can notice what follows from it.
            self.show(world);
            for action in actions.drain(..) {
                events.extend(self.carry_out(action, world));
            }
        }
    }

    /// The channel is readable, or nobody can send any more.
    pub(crate) fn channel(&mut self, flags: EpollFlags, world: &World) {
        if flags.contains(EpollFlags::EPOLLIN) {
            // Whoever sent them sees them closed, and knows that nothing was read.
            for _ in 0..BATCH {
                match descriptors::receive_with(&self.channel, &mut [0; 16], Wait::Never) {
                    Ok((1.., _)) => {}
                    Err(error) if error.kind() == io::ErrorKind::InvalidData => {}
                    Ok(_) | Err(_) => break,
                }
            }
        }
        if flags.intersects(EpollFlags::EPOLLHUP | EpollFlags::EPOLLERR) {
            self.feed(Event::Unused, world);
        }
    }

    /// A process has said something, or closed its end.
    pub(crate) fn control(&mut self, key: Key, world: &World) {
        for _ in 0..BATCH {
            let Some(at) = self.processes.iter().position(|process| process.key == key) else { return };
            let event = match self.processes[at].hear(world.now()) {
                Ok(report) => match report {
                    // Nobody needs another one instead.
                    Report::Stopping(_) if self.is_unused() => Event::Unused,
                    Report::Ready => Event::Ready(key),
                    Report::Replace { reason, scripts } => Event::Replace(key, reason, scripts),
                    Report::Stopping(reason) => Event::Stopping(key, reason),
                },
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => return,
                Err(error) => {
                    if error.kind() == io::ErrorKind::InvalidData {
                        let pid = self.processes[at].child.pid();
                        let text =
                            format_args!("process {pid} sent the supervisor what it may not send: {error}");
                        world.log(self.group, Level::Error, text);
                    }
                    if let Some(reports) = self.processes[at].reports.take() {
                        // It is registered, so that can not fail.
                        let _ = world.epoll.delete(reports);
                    }
                    self.processes[at].heard.clear();
                    self.feed(Event::Lost(key), world);
                    return;
                }
            };
            self.feed(event, world);
        }
    }

    /// A process has ended.
    pub(crate) fn exited(&mut self, key: Key, world: &World) {
        // What it said before it ended comes first.
        self.control(key, world);
        let Some(at) = self.processes.iter().position(|process| process.key == key) else { return };
        let exit = match self.processes[at].child.try_wait() {
            Ok(Some(exit)) => exit,
            Ok(None) => return,
            // Nobody else waits for it, so this can not be; but it is gone.
            Err(_) => Exit::Status(255),
        };
        let process = self.processes.swap_remove(at);
        // It is registered, so that can not fail. The pipe may have readers elsewhere for a moment: a process that starts.
        let _ =
            (world.epoll.delete(&process.child), process.reports.map(|reports| world.epoll.delete(reports)));
        // Its last words, before what is to be said of its end.
        world.relay.collect(process.output);
        self.record(process.child.pid(), exit, world);
        let is_early = self.slot.is_starting(key);
        self.clear_page(process.child.pid());
        if self.is_unused() {
            self.feed(Event::Unused, world);
        }
        self.feed(Event::Exited(key, exit), world);
        if is_early
            && !exit.is_success()
            && let Some(text) = program::shortage(&world.groups[self.group])
        {
            world.log(self.group, Level::Error, text);
        }
    }

    /// The generation retires.
    pub(crate) fn retire(&mut self, world: &World) {
        let page = ReadWords::map(&self.page, page::WORDS).ok();
        self.retired = Some(Retired { page, idle_since: None });
        self.feed(Event::Retire, world);
    }

    /// To be called every second after retirement: helpers of the server may hold copies of the channel for good, so
    /// that its end is not the only sign.
    pub(crate) fn look(&mut self, world: &World) {
        let (now, Some(retired)) = (world.now(), &mut self.retired) else { return };
        if retired.page.as_ref().is_some_and(|page| page::sum(|word| page.load(word)) != 0) {
            retired.idle_since = None;
        } else if now - *retired.idle_since.get_or_insert(now) >= UNUSED {
            retired.idle_since = None;
            self.feed(Event::Unused, world);
        }
    }

    /// Whether the slot is retired and nobody can send any more. Processes may say so before epoll does.
    fn is_unused(&self) -> bool {
        self.retired.is_some() && descriptors::has_hung_up(&self.channel)
    }

    fn carry_out(&mut self, action: Action, world: &World) -> Option<Event> {
        match action {
            Action::Spawn(key, scripts) => Some(self.spawn(key, scripts, world)),
            Action::Order(key, order) => {
                let process = self.processes.iter().find(|process| process.key == key)?;
                let has_sent = descriptors::send_with(&process.control, &order.encode(), &[], Wait::Never);
                has_sent.is_err().then_some(Event::Lost(key))
            }
            Action::Terminate(key) => self.signal(key, Signal::SIGTERM),
            Action::Kill(key) => self.signal(key, Signal::SIGKILL),
            Action::Log(level, text) => {
                world.log(self.group, level, text);
                None
            }
        }
    }

    fn signal(&self, key: Key, signal: Signal) -> Option<Event> {
        if let Some(process) = self.processes.iter().find(|process| process.key == key) {
            // If it fails the process has ended, which comes as an event of its own.
            let _ = process.child.signal(signal);
        }
        None
    }

    fn spawn(&mut self, key: Key, scripts: Vec<Script>, world: &World) -> Event {
        match self.try_spawn(key, scripts, world) {
            Ok(pid) => Event::Spawned(key, pid),
            Err(obstacle) => {
                world.log(self.group, obstacle.level, &obstacle.text);
                Event::NotSpawned(key)
            }
        }
    }

    fn try_spawn(&mut self, key: Key, scripts: Vec<Script>, world: &World) -> Result<i32, program::Obstacle> {
        let group = &world.groups[self.group];
        let identity = identity::of(group.account.as_ref(), group.chroot.as_deref())
            .map_err(|error| program::no_jail(group, &error))?;
        if let Some(denied) = &identity.denied {
            world.log(self.group, Level::Warning, denied);
        }
        let exhausted = |error: io::Error| program::Obstacle {
            level: Level::Alert,
            text: format!(
                "WSGI0001: no process can be started: {error}. Are there too many open files (ulimit -n)?"
            ),
        };
        let mut daemon = group.daemon.clone();
        daemon.scripts.extend(scripts);
        let start = Order::Start(Box::new(daemon)).encode();
        let (control, theirs) = descriptors::pair(Kind::Sequence).map_err(exhausted)?;
        descriptors::only_send(&control).map_err(exhausted)?;
        let (reports, writer) = descriptors::pipe().map_err(exhausted)?;
        // The kernel counts more than the bytes.
        descriptors::set_buffers(&control, Some(start.len() + SPARE), None).map_err(exhausted)?;
        let (output, log) = descriptors::pipe().map_err(exhausted)?;
        // It never waits for the log where it can not afford to; what it starts itself may.
        let at_once = descriptors::reopen_for_append(&log).map_err(exhausted)?;
        if let Some(account) = &identity.account {
            // So that it can open its own standard error by name. It is not necessary.
            let _ = nix::unistd::fchown(&log, Some(account.uid.into()), Some(account.gid.into()));
        }
        let plan = program::plan(group, &identity, &world.surroundings, theirs.as_fd(), log.as_fd())?;
        let started = plan.spawn().map_err(|failure| program::obstacle(group, &identity, &failure))?;
        for failure in &started.warnings {
            let warning = program::obstacle(group, &identity, failure);
            world.log(self.group, warning.level, &warning.text);
        }
        let child = started.child;
        let pid = child.pid();
        let text = format!(
            "process {pid} is started, as uid {} with {} threads",
            identity.uid, group.daemon.threads
        );
        world.log(self.group, Level::Info, text);
        let output = world.relay.watch(output, group.log as usize);
        let mut parts = vec![self.channel.as_fd(), self.page.as_fd(), writer.as_fd(), at_once.as_fd()];
        if group.daemon.scoreboard > 0 {
            parts.extend(world.scoreboard.as_ref().map(AsFd::as_fd));
        }
        let watched = descriptors::send_with(&control, &start, &parts, Wait::Never).and_then(|_| {
            world.watch(&reports, EpollFlags::EPOLLIN, Token::Control(self.index, key))?;
            world.watch(&child, EpollFlags::EPOLLIN, Token::Exit(self.index, key))
        });
        if let Err(error) = watched {
            // Both can only fail because it has ended, which is seen here, or for lack of memory.
            let _ = (child.signal(Signal::SIGKILL), child.wait());
            world.relay.collect(output);
            return Err(exhausted(error));
        }
        let speech = Bucket::full(SPEECH);
        self.processes.push(Process {
            key,
            child,
            control,
            reports: Some(reports.into()),
            heard: Vec::new(),
            speech,
            output,
        });
        Ok(pid)
    }

    /// What a process that died has counted does not run any more.
    fn clear_page(&self, pid: i32) {
        if let Ok(words) = Words::map(&self.page, page::WORDS) {
            words.store(page::busy(pid.cast_unsigned()), 0);
        }
    }

    /// Puts the end of a process on the board.
    fn record(&self, pid: i32, exit: Exit, world: &World) {
        let base = self.index * board::WORDS;
        let ended = world.board.load(base + board::ENDED);
        let at = base + board::EXIT + 2 * (ended as usize % board::EXITS);
        world.board.store(at, pid.cast_unsigned());
        world.board.store(at + 1, exit.status());
        world.board.store(base + board::ENDED, ended.wrapping_add(1));
    }

    /// Puts what the slot is on the board, and watches the channel accordingly.
    fn show(&mut self, world: &World) {
        let base = self.index * board::WORDS;
        let (state, pid) = (self.slot.state(), self.slot.serving().unwrap_or(0));
        world.board.store(base + board::PID, pid.cast_unsigned());
        world.board.store(base + board::STATE, state.word());
        let wanted = match state {
            _ if self.slot.is_ending() => None,
            State::Failing => Some(EpollFlags::EPOLLIN),
            _ if self.retired.is_some() => Some(EpollFlags::empty()),
            _ => None,
        };
        if wanted != self.watched {
            self.watch_channel(wanted, world);
        }
    }

    fn watch_channel(&mut self, wanted: Option<EpollFlags>, world: &World) {
        if self.watched.take().is_some() {
            // It is registered, so that can not fail.
            let _ = world.epoll.delete(&self.channel);
        }
        if let Some(flags) = wanted {
            match world.watch(&self.channel, flags, Token::Channel(self.index)) {
                Ok(()) => self.watched = wanted,
                Err(error) => {
                    let text = format_args!("WSGI0002: a channel can not be watched: {error}");
                    world.log(self.group, Level::Error, text);
                }
            }
        }
    }
}

impl Process {
    /// The next report; [`io::ErrorKind::UnexpectedEof`] at the end.
    fn hear(&mut self, now: u64) -> io::Result<Report> {
        let mut block = [0; 16_384];
        loop {
            let malformed = |error| io::Error::new(io::ErrorKind::InvalidData, error);
            if self.reports.is_some() && !self.speech.take(WORD, now) {
                return Err(io::Error::new(io::ErrorKind::InvalidData, "more than any process has to say"));
            }
            if let Some(report) = Report::take(&mut self.heard).map_err(malformed)? {
                return Ok(report);
            }
            let Some(reports) = &mut self.reports else { return Err(io::ErrorKind::WouldBlock.into()) };
            match reports.read(&mut block) {
                Ok(0) => return Err(io::ErrorKind::UnexpectedEof.into()),
                Ok(count) => self.heard.extend_from_slice(&block[..count]),
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => return Err(error),
            }
        }
    }
}
