//! A slot with its processes: carries out what [`Slot`] decides.

use std::cell::RefCell;
use std::collections::VecDeque;
use std::ffi::CString;
use std::io;
use std::os::fd::{AsFd, OwnedFd};
use std::sync::Arc;
use std::time::{Duration, Instant};

use nix::sys::epoll::{Epoll, EpollEvent, EpollFlags};
use os::descriptors::{self, Kind, Wait};
use os::memory_kills::MemoryKills;
use os::process::{Child, Exit, Signal};
use os::shared::{ReadOnlyWords, Words};
use os::spawn::{Launched, Limit};
use wsgi_core::codes::{DAEMON_NOT_STARTED, SUPERVISOR_FAILED, TOO_LITTLE_MEMORY};
use wsgi_core::ledger::EventKind;
use wsgi_core::wire::board::{State, page, slot as board};
use wsgi_core::wire::control::{Order, Report, Script};
use wsgi_core::wire::launch::Group;
use wsgi_core::wire::{channel, exit};

use crate::bucket::Bucket;
use crate::ends::{Ends, Given};
use crate::log::{self, Level};
use crate::preparation::{self, Message, Preparation};
use crate::process::{AbandonedProcess, BATCH, FailedImport, Process, UnbornProcess};
use crate::program::{self, Obstacle};
use crate::record::{PendingEvent, Record};
use crate::relay::{self, Destination, Relay};
use crate::slot::{Action, Event, Key, Rules, Slot};
use crate::template::{self, Number, Request};
use crate::watch::Token;

/// The time in milliseconds that a page has to say that nothing runs, until a retired slot is taken
/// for unused.
const UNUSED_AFTER: u64 = 30_000;

/// The budget for failed imports that processes of a slot have recorded: eight at a stretch; in the
/// long run one in ten seconds.
const IMPORT_BUDGET: u64 = 80_000;
/// The price of one.
const IMPORT_PRICE: u64 = 10_000;

/// The context that all slot runners share.
#[derive(Debug)]
pub(crate) struct Context {
    pub(crate) epoll: Epoll,
    /// The control socket of the server's parent process.
    pub(crate) parent: OwnedFd,
    pub(crate) board: Words,
    pub(crate) groups: Vec<Group>,
    /// The hosts, and their names.
    pub(crate) hosts: Vec<(Box<[u8]>, OwnedFd)>,
    pub(crate) relay: &'static Relay,
    pub(crate) scoreboard: Option<OwnedFd>,
    pub(crate) record: Arc<Record>,
    /// The supervisor's own environment.
    pub(crate) environment: Vec<CString>,
    /// The limit on descriptors of processes: the one before the supervisor raised its own.
    pub(crate) files: Option<Limit>,
    pub(crate) begin: Instant,
    /// The kills by the system for lack of memory.
    pub(crate) memory_kills: RefCell<MemoryKills>,
    /// Messages of slots to templates, until they are handed over.
    pub(crate) notes: RefCell<Vec<(usize, template::Event)>>,
}

/// A slot and its processes.
#[derive(Debug)]
pub(crate) struct SlotRunner {
    index: usize,
    group: usize,
    slot: Slot,
    /// Its process ends when it has nothing to do.
    is_elastic: bool,
    channel: OwnedFd,
    page: OwnedFd,
    processes: Vec<Process>,
    abandoned: Vec<AbandonedProcess>,
    /// Processes that are wanted from a template.
    waiting: Vec<Request>,
    /// Processes that a template is to fork.
    unborn: Vec<UnbornProcess>,
    inherited: Option<InheritedWords>,
    /// The flags that the channel is watched for.
    watched: Option<EpollFlags>,
    retired: Option<RetiredState>,
    /// The reason why the process of the event that is handled could not be started.
    cause: Option<String>,
    /// The traceback that the process of that event has reported.
    detail: Vec<u8>,
    /// The pipe of that process, if it has ended: its stacks may have come through it.
    output: Option<relay::Id>,
    /// Bounds the failed imports that processes have recorded.
    imports: Bucket,
}

/// A sign that comes through the channel of a dormant slot.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Knock {
    /// A connection, which stays in the channel.
    Connection,
    /// The processes of the group that serve are busy.
    Busy,
    /// Nobody can send any more.
    Unused,
    /// A process has shut the channel down.
    Cut,
}

/// The words of processes that a supervisor before this one has started: they finish what they have
/// begun.
#[derive(Debug)]
struct InheritedWords {
    words: Vec<u8>,
    end: u64,
}

/// The state that is watched after retirement.
#[derive(Debug)]
struct RetiredState {
    page: Option<ReadOnlyWords>,
    idle_since: Option<u64>,
}

/// Returns the words of a page.
fn words() -> std::ops::Range<u8> {
    0..u8::try_from(page::WORDS).unwrap_or(u8::MAX)
}

impl Context {
    /// Milliseconds since the start.
    pub(crate) fn now(&self) -> u64 {
        u64::try_from(self.begin.elapsed().as_millis()).unwrap_or(u64::MAX)
    }

    pub(crate) fn watch(&self, descriptor: impl AsFd, flags: EpollFlags, token: Token) -> io::Result<()> {
        Ok(self.epoll.add(descriptor, EpollEvent::new(flags, token.word()))?)
    }

    /// Writes to the log, if it takes lines of this level.
    pub(crate) fn log(&self, group: usize, level: Level, text: impl std::fmt::Display) {
        let daemon = &self.groups[group].daemon;
        if level as u8 <= daemon.log_level {
            log::about(&daemon.name, level, text);
        }
    }

    /// Records what happened to a process of a group.
    pub(crate) fn record(&self, group: usize, kind: EventKind, pid: i32, text: &[u8], detail: &[u8]) {
        self.record.add(kind, &self.groups[group].daemon.name, pid, text, detail);
    }
}

impl SlotRunner {
    /// Creates the runner of the slot with this index, which is one of this group with a number
    /// there, without a process yet.
    pub(crate) fn new(
        index: usize,
        (group, number): (usize, u32),
        context: &Context,
        channel: OwnedFd,
        page: OwnedFd,
    ) -> Self {
        let rules = Rules::from_options(&context.groups[group].daemon.options, number);
        let inherited = ReadOnlyWords::map(&page, page::WORDS).ok().and_then(|page| {
            let words: Vec<_> = words().filter(|word| page.load((*word).into()) != 0).collect();
            let end = rules.end_without_supervisor(context.now());
            (!words.is_empty()).then_some(InheritedWords { words, end })
        });
        Self {
            index,
            group,
            slot: Slot::new(rules),
            is_elastic: rules.is_elastic(),
            inherited,
            channel,
            page,
            processes: Vec::new(),
            abandoned: Vec::new(),
            waiting: Vec::new(),
            unborn: Vec::new(),
            watched: None,
            retired: None,
            cause: None,
            detail: Vec::new(),
            output: None,
            imports: Bucket::full(IMPORT_BUDGET),
        }
    }

    /// Returns the index of the group.
    pub(crate) const fn group(&self) -> usize {
        self.group
    }

    /// Returns the process ids of the slot's processes that have not been waited for.
    pub(crate) fn pids(&self) -> Vec<i32> {
        let processes = self.processes.iter().map(|process| &process.child);
        processes.chain(self.abandoned.iter().map(|abandoned| &abandoned.child)).map(Child::pid).collect()
    }

    /// Returns the time at which it wants a tick, at the latest.
    pub(crate) fn next(&self) -> Option<u64> {
        let end = self.inherited.as_ref().map(|inherited| inherited.end);
        self.slot.next().into_iter().chain(end).min()
    }

    /// Returns whether the slot is over, see [`Slot::is_over`].
    pub(crate) fn is_over(&self) -> bool {
        self.slot.is_over()
    }

    /// Handles an event: shows the new state on the board, and carries out the actions that follow.
    pub(crate) fn handle(&mut self, event: Event, context: &Context) {
        if let Some(inherited) = self.inherited.take_if(|inherited| inherited.end <= context.now()) {
            inherited.words.into_iter().for_each(|word| self.clear_word(word));
        }
        // Also a supervisor that takes over finds it so.
        let event = if matches!(event, Event::Begin) && self.is_cut(context) { Event::Cut } else { event };
        let was_dormant = self.state() == State::Dormant;
        let (mut events, mut actions) = (VecDeque::from([event]), Vec::new());
        while let Some(event) = events.pop_front() {
            self.slot.handle(event, context.now(), &mut actions);
            // Before anybody can notice what follows from it.
            self.publish(context);
            for action in actions.drain(..) {
                events.extend(self.carry_out(action, context));
            }
        }
        self.cause = None;
        self.detail.clear();
        self.output = None;
        if !was_dormant && self.state() == State::Dormant {
            self.tell_template(template::Event::Dormant(self.index), context);
        }
    }

    /// Returns the state of the slot.
    pub(crate) fn state(&self) -> State {
        self.slot.state()
    }

    /// Returns the number of requests that run or wait in the processes of the slot.
    pub(crate) fn requests(&self) -> u32 {
        // For lack of memory it is not known: then nothing is started either.
        ReadOnlyWords::map(&self.page, page::WORDS).map_or(0, |page| page::sum(|word| page.load(word)))
    }

    /// Wakes the slot because the others of its group are busy.
    pub(crate) fn grow(&mut self, context: &Context) {
        let text = "requests wait, another process is started";
        context.log(self.group, Level::Info, text);
        self.handle(Event::Grow, context);
    }

    /// Tells the process to share what waits there: so many serve now.
    pub(crate) fn share(&mut self, processes: u32, context: &Context) {
        let key = self.slot.serving().and_then(|pid| self.key_of(pid));
        let order = key.map(|key| Action::Order(key, Order::Share(processes)));
        if let Some(event) = order.and_then(|order| self.carry_out(order, context)) {
            self.handle(event, context);
        }
    }

    /// Takes the next sign from the channel of a dormant slot, if there is one.
    pub(crate) fn next_knock(&self, context: &Context) -> Option<Knock> {
        match descriptors::next_length(&self.channel, Wait::Never) {
            Ok(0) if self.is_cut(context) => Some(Knock::Cut),
            Ok(0) => Some(Knock::Unused),
            Ok(length) if length == channel::CONNECTION.len() => Some(Knock::Connection),
            Ok(_) => {
                // What it says is in its length.
                let _ = descriptors::receive_with(&self.channel, &mut [0; 16], Wait::Never);
                Some(Knock::Busy)
            }
            Err(_) => None,
        }
    }

    /// Closes the connections that wait in the channel. Their senders see that nothing was read.
    pub(crate) fn close_waiting(&self) {
        for _ in 0..BATCH {
            match descriptors::receive_with(&self.channel, &mut [0; 16], Wait::Never) {
                Ok((1.., _)) => {}
                Err(error) if error.kind() == io::ErrorKind::InvalidData => {}
                Ok(_) | Err(_) => break,
            }
        }
    }

    /// Handles a channel that is readable, or to which nobody can send any more.
    pub(crate) fn on_channel(&mut self, flags: EpollFlags, context: &Context) {
        if flags.contains(EpollFlags::EPOLLIN) {
            self.close_waiting();
        }
        if flags.intersects(EpollFlags::EPOLLHUP | EpollFlags::EPOLLERR) {
            self.handle(Event::Unused, context);
        }
    }

    /// Returns which of the slot's processes this is, if it is one that has not been waited for.
    pub(crate) fn key_of(&self, pid: i32) -> Option<Key> {
        let processes = self.processes.iter().map(|process| (process.key, &process.child));
        let mut all =
            processes.chain(self.abandoned.iter().map(|abandoned| (abandoned.key, &abandoned.child)));
        all.find(|(_, child)| child.pid() == pid).map(|(key, _)| key)
    }

    /// Handles messages of a process that prepares itself, or that has become Python.
    pub(crate) fn on_preparation(&mut self, key: Key, context: &Context) {
        for _ in 0..BATCH {
            let Some(process) = self.processes.iter_mut().find(|process| process.key == key) else { return };
            let pid = process.child.pid();
            let Some(preparation) = &mut process.preparation else { return };
            let (level, text) = match preparation.next_message() {
                Ok(Message::Log(level, text)) => {
                    context.log(self.group, level, text);
                    continue;
                }
                Ok(Message::Obstacle(text)) => {
                    preparation.obstacle = Some(text);
                    continue;
                }
                Ok(Message::Failure(level, text)) => (level, text),
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => return,
                Err(error) if error.kind() == io::ErrorKind::UnexpectedEof => {
                    // It is registered, so that cannot fail.
                    let _ = context.epoll.delete(&preparation.pipe);
                    process.preparation = None;
                    self.log_started(pid, "started", context);
                    return self.handle(Event::Started(key), context);
                }
                Err(error) => {
                    (Level::Error, format!("process {pid} prepares itself, and is not understood: {error}"))
                }
            };
            context.log(self.group, level, &text);
            let event = self.abandon(key, context);
            self.cause = Some(text);
            return self.handle(event, context);
        }
    }

    /// Handles reports of a process, or the end of its pipe.
    pub(crate) fn on_report(&mut self, key: Key, context: &Context) {
        for _ in 0..BATCH {
            let Some(at) = self.processes.iter().position(|process| process.key == key) else { return };
            let event = match self.processes[at].next_report(context.now()) {
                Ok(report) => match report {
                    // Nobody needs another one instead.
                    Report::Stopping(_) if self.is_unused() => Event::Unused,
                    Report::Ready(has_imported) => {
                        self.processes[at].lacks_import = !has_imported;
                        if let Some(failed) = self.processes[at].failed_import.take() {
                            self.record_import(at, &failed, context);
                        }
                        if let Some(template) = self.processes[at].outdates.take() {
                            self.tell_template(template::Event::OutOfDate(template), context);
                        }
                        Event::Ready(key)
                    }
                    Report::Replace { reason, scripts } => Event::Replace(key, reason, scripts),
                    Report::Stopping(reason) => Event::Stopping(key, reason),
                    Report::ImportFailed { text, detail } => {
                        self.on_failed_import(at, FailedImport::new(&text, &detail), context);
                        continue;
                    }
                },
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => return,
                Err(error) => {
                    if error.kind() == io::ErrorKind::InvalidData {
                        let pid = self.processes[at].child.pid();
                        let text =
                            format_args!("process {pid} sent the supervisor what it may not send: {error}");
                        context.log(self.group, Level::Error, text);
                    }
                    if let Some(reports) = self.processes[at].reports.take() {
                        // It is registered, so that cannot fail.
                        let _ = context.epoll.delete(reports);
                    }
                    self.handle(Event::Lost(key), context);
                    return;
                }
            };
            self.handle(event, context);
        }
    }

    /// Handles the end of a process.
    pub(crate) fn on_exit(&mut self, key: Key, context: &Context) {
        // The reports from before its end come first.
        self.on_preparation(key, context);
        self.on_report(key, context);
        if let Some(at) = self.abandoned.iter().position(|abandoned| abandoned.key == key) {
            if !matches!(self.abandoned[at].child.try_wait(), Ok(None)) {
                let AbandonedProcess { child, word, output, .. } = self.abandoned.swap_remove(at);
                context.relay.collect(output);
                // Fails where there was no memory to watch it.
                let _ = context.epoll.delete(&child);
                self.clear_word(word);
            }
            return;
        }
        let Some(at) = self.processes.iter().position(|process| process.key == key) else { return };
        let exit = match self.processes[at].child.try_wait() {
            Ok(Some(Exit::Signal(number, _)))
                if i32::from(number) == Signal::SIGKILL as i32
                    && context.memory_kills.borrow_mut().take_new() =>
            {
                Exit::OutOfMemory
            }
            Ok(Some(exit)) => exit,
            Ok(None) => return,
            // Nobody else waits for it, so this cannot be; but it is gone.
            Err(_) => Exit::Status(exit::FAILED),
        };
        let process = self.processes.swap_remove(at);
        // It is registered, so that cannot fail. The pipe may have readers elsewhere for a moment:
        // a process that starts.
        let _ = (
            context.epoll.delete(&process.child),
            process.reports.map(|reports| context.epoll.delete(reports)),
        );
        // Its last words, before what is to be said of its end.
        context.relay.collect(process.output);
        self.record_exit(process.child.pid(), exit, context);
        let detail = process.failed_import.map(|failed| failed.detail.into()).unwrap_or_default();
        let is_early = self.slot.is_starting(key);
        self.clear_word(process.word);
        if self.is_unused() {
            self.handle(Event::Unused, context);
        } else if self.is_cut(context) {
            self.handle(Event::Cut, context);
        }
        self.detail = detail;
        self.output = Some(process.output);
        self.handle(Event::Exited(key, exit), context);
        if is_early
            && !exit.is_success()
            && let Some(text) = program::shortage(&context.groups[self.group])
        {
            context.log(self.group, TOO_LITTLE_MEMORY.level, format_args!("{TOO_LITTLE_MEMORY}: {text}"));
        }
    }

    /// Retires the slot with its generation.
    pub(crate) fn retire(&mut self, context: &Context) {
        let page = ReadOnlyWords::map(&self.page, page::WORDS).ok();
        self.retired = Some(RetiredState { page, idle_since: None });
        self.handle(Event::Retire, context);
    }

    /// Checks whether a retired slot is unused, every second: helpers of the server may hold copies
    /// of the channel for good, so that its end is not the only sign.
    pub(crate) fn check_retired(&mut self, context: &Context) {
        let (now, Some(retired)) = (context.now(), &mut self.retired) else { return };
        if retired.page.as_ref().is_some_and(|page| page::sum(|word| page.load(word)) != 0) {
            retired.idle_since = None;
        } else if now - *retired.idle_since.get_or_insert(now) >= UNUSED_AFTER {
            retired.idle_since = None;
            self.handle(Event::Unused, context);
        }
    }

    /// Returns whether the slot is retired and nobody can send any more. Processes may say so
    /// before epoll does.
    fn is_unused(&self) -> bool {
        self.retired.is_some() && descriptors::has_hung_up(&self.channel)
    }

    /// Returns whether a process has shut down the channel. The parent has its end as long as the
    /// generation lives: what it has to say comes first.
    fn is_cut(&self, context: &Context) -> bool {
        self.retired.is_none()
            && descriptors::is_shut_down(&self.channel)
            && !descriptors::is_readable(&context.parent, Duration::ZERO).unwrap_or(true)
    }

    fn carry_out(&mut self, action: Action, context: &Context) -> Option<Event> {
        match action {
            Action::Spawn(key, scripts) if context.groups[self.group].daemon.options.is_forked() => {
                Some(self.want(key, scripts, context))
            }
            Action::Spawn(key, scripts) => Some(self.spawn(key, scripts, 0, context)),
            Action::Abandon { key, is_late } => {
                if is_late {
                    self.cause = self.log_late_start(key, context);
                }
                Some(self.abandon(key, context))
            }
            Action::Order(key, order) => {
                let process = self.processes.iter().find(|process| process.key == key)?;
                let has_sent = descriptors::send_with(&process.control, &order.encode(), &[], Wait::Never);
                has_sent.is_err().then_some(Event::Lost(key))
            }
            Action::Terminate(key) => self.signal(key, Signal::SIGTERM),
            Action::Kill(key) => self.signal(key, Signal::SIGKILL),
            Action::Log(level, text) => {
                context.log(self.group, level, text);
                None
            }
            Action::Tally(tally) => {
                context.record.count(self.index, tally);
                None
            }
            Action::Record(kind, pid, text) => {
                let text = self.cause.take().unwrap_or(text);
                match self.output {
                    Some(output) if self.detail.is_empty() => {
                        let (record, group) =
                            (Arc::clone(&context.record), context.groups[self.group].daemon.name.clone());
                        context.relay.record(output, PendingEvent { record, kind, group, pid, text });
                    }
                    _ => context.record(self.group, kind, pid, text.as_bytes(), &self.detail),
                }
                None
            }
        }
    }

    /// Records a script that a process could not import. That of a successor belongs to its end, if
    /// it does not get ready.
    fn on_failed_import(&mut self, at: usize, failed: FailedImport, context: &Context) {
        if self.slot.reason_of(self.processes[at].key).is_some() {
            self.processes[at].failed_import.get_or_insert(failed);
        } else {
            self.record_import(at, &failed, context);
        }
    }

    fn record_import(&mut self, at: usize, failed: &FailedImport, context: &Context) {
        if self.imports.take(IMPORT_PRICE, context.now()) {
            let pid = self.processes[at].child.pid();
            context.record(self.group, EventKind::FailedImport, pid, &failed.text, &failed.detail);
        }
    }

    fn signal(&self, key: Key, signal: Signal) -> Option<Event> {
        if let Some(process) = self.processes.iter().find(|process| process.key == key) {
            // This fails if the process has ended, which comes as an event of its own.
            let _ = process.child.signal(signal);
        }
        None
    }

    fn spawn(&mut self, key: Key, scripts: Vec<Script>, template: Number, context: &Context) -> Event {
        match self.try_spawn(key, scripts, template, context) {
            Ok(pid) => Event::Spawned(key, pid),
            Err(Obstacle { level, text, .. }) => {
                context.log(self.group, level, &text);
                self.cause = Some(text);
                Event::NotSpawned(key)
            }
        }
    }

    /// Starts a process, and waits for nothing: it looks for its user and for Python by itself.
    fn try_spawn(
        &mut self,
        key: Key,
        scripts: Vec<Script>,
        template: Number,
        context: &Context,
    ) -> Result<i32, Obstacle> {
        let group = &context.groups[self.group];
        let exhausted = |error: io::Error| program::no_process(&error);
        let (word, ends) = self.ends(scripts, context)?;
        let Launched { child, pipe } =
            preparation::launch(group, context, ends.theirs.as_fd(), ends.log.as_fd()).map_err(exhausted)?;
        let Ends { control, reports, output, .. } = ends;
        let output = context.relay.watch(output, Destination::of(group));
        let (pid, preparation) = (child.pid(), Preparation::new(pipe.into()));
        let watched =
            context.watch(&preparation.pipe, EpollFlags::EPOLLIN, Token::Preparation(self.index, key));
        let process = Process::new(key, child, word, control, Some(preparation), reports, output);
        watched.and(self.add(process.with_template(template), context)).map(|()| pid).map_err(|error| {
            // For lack of memory. That it has ended is learnt from the signal.
            let _ = self.abandon(key, context);
            exhausted(error)
        })
    }

    /// Makes the ends of a process that imports these scripts, and finds a word for it.
    fn ends(&self, scripts: Vec<Script>, context: &Context) -> Result<(u8, Ends), Obstacle> {
        let group = &context.groups[self.group];
        let word = self.free_word().ok_or_else(|| {
            program::no_process(&format!("{} were killed and have not ended yet", self.abandoned.len()))
        })?;
        let mut daemon = group.daemon.clone();
        daemon.scripts.extend(scripts);
        if !self.is_elastic {
            daemon.options.limits.scale_down_idle = 0;
        }
        let scoreboard = context.scoreboard.as_ref().filter(|_| group.daemon.scoreboard > 0);
        let given =
            Given { before: &[self.channel.as_fd(), self.page.as_fd()], after: scoreboard.map(AsFd::as_fd) };
        Ok((word, Ends::new(group, daemon, word, &given)?))
    }

    /// Adds a process, and watches it.
    fn add(&mut self, process: Process, context: &Context) -> io::Result<()> {
        let key = process.key;
        let watched = [
            process.reports.as_ref().map_or(Ok(()), |reports| {
                context.watch(reports, EpollFlags::EPOLLIN, Token::Control(self.index, key))
            }),
            context.watch(&process.child, EpollFlags::EPOLLIN, Token::Exit(self.index, key)),
        ];
        self.processes.push(process);
        watched.into_iter().collect()
    }

    /// Asks the group's template for a process.
    fn want(&mut self, key: Key, scripts: Vec<Script>, context: &Context) -> Event {
        let request = self.request(key, scripts);
        self.tell_template(template::Event::Wanted(request), context);
        Event::Waiting(key)
    }

    /// Has an event handed to the group's template, if it may have one.
    fn tell_template(&self, event: template::Event, context: &Context) {
        if context.groups[self.group].daemon.options.is_forked() {
            context.notes.borrow_mut().push((self.group, event));
        }
    }

    /// Returns the request for a process, which waits for its answer from now on.
    fn request(&mut self, key: Key, scripts: Vec<Script>) -> Request {
        let newer_than =
            self.slot.reason_of(key).filter(|reason| template::needs_import(*reason)).map(|_| {
                let serving = self.slot.serving();
                let serving = self.processes.iter().find(|process| Some(process.child.pid()) == serving);
                serving.map_or(0, |process| process.template)
            });
        let request = Request { slot: self.index, key, newer_than, scripts };
        self.waiting.push(request.clone());
        request
    }

    /// Starts a process by itself that was wanted from a template; so many of those have been there
    /// before it.
    pub(crate) fn start_alone(&mut self, key: Key, template: Number, context: &Context) {
        if let Some(at) = self.waiting.iter().position(|waiting| waiting.key == key) {
            let Request { scripts, newer_than, .. } = self.waiting.swap_remove(at);
            let event = self.spawn(key, scripts, template, context);
            if let Some(process) = self.processes.iter_mut().find(|process| process.key == key) {
                process.outdates = newer_than;
            }
            self.handle(event, context);
        }
    }

    /// Has `template` fork a process that was wanted; if that cannot be, it starts by itself.
    pub(crate) fn fork(&mut self, key: Key, template: &Process, context: &Context) {
        let Some(at) = self.waiting.iter().position(|waiting| waiting.key == key) else { return };
        let scripts = self.waiting[at].scripts.clone();
        match self.order_fork(key, scripts, template, context) {
            Ok(()) => {
                self.waiting.retain(|waiting| waiting.key != key);
                // From now on its time counts.
                self.handle(Event::Spawned(key, template.child.pid()), context);
            }
            Err(_) => self.start_alone(key, template.key, context),
        }
    }

    fn order_fork(
        &mut self,
        key: Key,
        scripts: Vec<Script>,
        template: &Process,
        context: &Context,
    ) -> Result<(), Obstacle> {
        let exhausted = |error: io::Error| program::no_process(&error);
        let (word, ends) = self.ends(scripts.clone(), context)?;
        let (birth, theirs) = descriptors::pair(Kind::Sequence).map_err(exhausted)?;
        descriptors::name_senders(&birth).map_err(exhausted)?;
        context.watch(&birth, EpollFlags::EPOLLIN, Token::Birth(self.index, key)).map_err(exhausted)?;
        let parts = [ends.theirs.as_fd(), ends.log.as_fd(), theirs.as_fd()];
        descriptors::send_with(&template.control, &Order::Fork.encode(), &parts, Wait::Never)
            .map_err(exhausted)?;
        let Ends { control, reports, output, .. } = ends;
        let output = context.relay.watch(output, Destination::of(&context.groups[self.group]));
        let template = template.key;
        self.unborn.push(UnbornProcess { key, template, scripts, word, control, reports, output, birth });
        Ok(())
    }

    /// Handles the first message of a process that a template has forked, or the end of the socket
    /// where it does not. The kernel says who has sent it. An application of the group may have done
    /// so in place of the process; so what is taken is a process of the group's user, which is this
    /// process's child and that of no other slot (`is_known`).
    pub(crate) fn on_birth(&mut self, key: Key, is_known: impl Fn(i32) -> bool, context: &Context) {
        let Some(at) = self.unborn.iter().position(|unborn| unborn.key == key) else { return };
        let sender = match descriptors::receive_sender(&self.unborn[at].birth) {
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => return,
            sender => sender,
        };
        let account = context.groups[self.group].account.as_ref();
        let uid = account.map_or_else(os::accounts::own_user, |account| account.uid);
        let child = match sender {
            Ok(Some(sender)) if sender.uid == uid && !is_known(sender.pid) => Child::adopt(sender.pid),
            Ok(Some(_)) => Err(io::ErrorKind::PermissionDenied.into()),
            Ok(None) => Err(io::ErrorKind::UnexpectedEof.into()),
            Err(error) => Err(error),
        };
        let UnbornProcess { template, scripts, word, control, reports, output, birth, .. } =
            self.unborn.swap_remove(at);
        // It is registered, so that cannot fail.
        let _ = context.epoll.delete(birth);
        let child = match child {
            Ok(child) => child,
            Err(error) => {
                context.relay.collect(output);
                if error.kind() != io::ErrorKind::UnexpectedEof {
                    let text = format_args!(
                        "{DAEMON_NOT_STARTED}: what template {template} has forked is no process of the group: {error}"
                    );
                    context.log(self.group, DAEMON_NOT_STARTED.level, text);
                }
                // The template has said why, if it could. It is not what the group needs to work.
                let request = self.request(key, scripts);
                self.tell_template(template::Event::NotForked(template, request), context);
                return self.handle(Event::Waiting(key), context);
            }
        };
        let pid = child.pid();
        let process = Process::new(key, child, word, control, None, reports, output);
        if self.add(process.with_template(template), context).is_err() {
            // For lack of memory. That it has ended is learnt from the signal.
            let event = self.abandon(key, context);
            return self.handle(event, context);
        }
        self.handle(Event::Spawned(key, pid), context);
        self.log_started(pid, &format!("forked from template {template}"), context);
        self.handle(Event::Started(key), context);
    }

    /// Returns the processes that are to be born.
    pub(crate) fn unborn(&self) -> Vec<Key> {
        self.unborn.iter().map(|unborn| unborn.key).collect()
    }

    /// Handles a template, with this process id, that could not import the scripts of a process that
    /// was wanted from it.
    pub(crate) fn not_imported(&mut self, key: Key, pid: i32, context: &Context) {
        if let Some(at) = self.waiting.iter().position(|waiting| waiting.key == key) {
            self.waiting.swap_remove(at);
            self.handle(Event::Spawned(key, pid), context);
            self.handle(Event::Exited(key, Exit::Status(exit::NOT_IMPORTED)), context);
        }
    }

    /// Returns a word of the page that no living process has.
    fn free_word(&self) -> Option<u8> {
        let is_free = |word: &u8| {
            self.processes.iter().all(|process| process.word != *word)
                && self.unborn.iter().all(|unborn| unborn.word != *word)
                && self.abandoned.iter().all(|abandoned| abandoned.word != *word)
        };
        let inherited = self.inherited.as_ref().map_or(&[][..], |inherited| &inherited.words);
        // Processes can write what they like to all words, and must not keep others from being
        // started.
        words().filter(|word| !inherited.contains(word)).find(is_free).or_else(|| words().find(is_free))
    }

    fn log_started(&self, pid: i32, how: &str, context: &Context) {
        let Group { account, daemon, .. } = &context.groups[self.group];
        let uid = account.as_ref().map_or_else(os::accounts::own_user, |account| account.uid);
        let text =
            format_args!("process {pid} is {how}, as uid {uid} with {} threads", daemon.options.threads);
        context.log(self.group, Level::Info, text);
    }

    /// Kills a process that prepares itself, and forgets it but for its end; one that is not there
    /// yet is not wanted any more.
    fn abandon(&mut self, key: Key, context: &Context) -> Event {
        self.waiting.retain(|waiting| waiting.key != key);
        if let Some(at) = self.unborn.iter().position(|unborn| unborn.key == key) {
            // It ends when it finds its sockets closed.
            let UnbornProcess { output, birth, .. } = self.unborn.swap_remove(at);
            context.relay.collect(output);
            // It is registered, so that cannot fail.
            let _ = context.epoll.delete(birth);
        }
        if let Some(at) = self.processes.iter().position(|process| process.key == key) {
            let Process { child, word, output, preparation, reports, .. } = self.processes.swap_remove(at);
            // This fails if the process has ended, which comes as an event of its own.
            let _ = child.signal(Signal::SIGKILL);
            for pipe in preparation.map(|preparation| preparation.pipe).into_iter().chain(reports) {
                // Fails where there was no memory to watch it.
                let _ = context.epoll.delete(pipe);
            }
            self.abandoned.push(AbandonedProcess { key, child, word, output });
        }
        Event::NotSpawned(key)
    }

    /// Says why a process that prepares itself is killed, or one that is not forked given up.
    fn log_late_start(&self, key: Key, context: &Context) -> Option<String> {
        if let Some(unborn) = self.unborn.iter().find(|unborn| unborn.key == key) {
            self.tell_template(template::Event::Hung(unborn.template), context);
            return None;
        }
        let process = self.processes.iter().find(|process| process.key == key);
        let obstacle = process.and_then(|process| process.preparation.as_ref()?.obstacle.as_deref());
        let text = obstacle.map_or_else(
            || {
                format!(
                    "{DAEMON_NOT_STARTED}: a process did not get to run the supervisor's own program in time, and is killed. \
                     Most likely the file system of mod_wsgi hangs"
                )
            },
            str::to_owned,
        );
        context.log(self.group, Level::Critical, &text);
        Some(text)
    }

    /// Clears the word of a process that has died: what it has counted does not run any more.
    fn clear_word(&self, word: u8) {
        if let Ok(words) = Words::map(&self.page, page::WORDS) {
            words.store(word.into(), 0);
        }
    }

    /// Writes the end of a process to the board.
    fn record_exit(&self, pid: i32, exit: Exit, context: &Context) {
        let base = self.index * board::WORDS;
        let ended = context.board.load(base + board::ENDED);
        let at = base + board::EXIT + 2 * (ended as usize % board::EXITS);
        context.board.store(at, pid.cast_unsigned());
        context.board.store(at + 1, exit.status());
        context.board.store(base + board::ENDED, ended.wrapping_add(1));
    }

    /// Writes the state of the slot to the board, and watches the channel accordingly.
    fn publish(&mut self, context: &Context) {
        let base = self.index * board::WORDS;
        let (state, pid) = (self.slot.state(), self.slot.serving().unwrap_or(0));
        let serving = self.processes.iter().find(|process| process.child.pid() == pid);
        let lacks_import = serving.is_some_and(|process| process.lacks_import);
        context.board.store(base + board::LACKS_IMPORT, lacks_import.into());
        context.board.store(base + board::PID, pid.cast_unsigned());
        context.board.store(base + board::STATE, state.word());
        let wanted = match state {
            _ if self.slot.is_ending() => None,
            State::Failing | State::Cut | State::Dormant => Some(EpollFlags::EPOLLIN),
            _ if self.retired.is_some() => Some(EpollFlags::empty()),
            _ => None,
        };
        if wanted != self.watched {
            self.watch_channel(wanted, context);
        }
    }

    fn watch_channel(&mut self, wanted: Option<EpollFlags>, context: &Context) {
        if self.watched.take().is_some() {
            // It is registered, so that cannot fail.
            let _ = context.epoll.delete(&self.channel);
        }
        if let Some(flags) = wanted {
            match context.watch(&self.channel, flags, Token::Channel(self.index)) {
                Ok(()) => self.watched = wanted,
                Err(error) => {
                    let text = format_args!("{SUPERVISOR_FAILED}: a channel cannot be watched: {error}");
                    context.log(self.group, Level::Error, text);
                }
            }
        }
    }
}
