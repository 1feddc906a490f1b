//! The loop that waits for events, and hands them to the slots that they are about.

use std::cell::RefCell;
use std::io;
use std::os::fd::AsFd;
use std::os::unix::process::parent_id;
use std::time::{Duration, Instant};

use nix::sys::epoll::{Epoll, EpollCreateFlags, EpollEvent, EpollFlags, EpollTimeout};
use nix::sys::signal::{SigSet, Signal};
use nix::sys::signalfd::{SfdFlags, SignalFd, siginfo};
use os::descriptors::{self, Wait};
use os::memory_kills::MemoryKills;
use os::process::Ended;
use os::spawn::Limit;

use crate::context::Context;
use crate::exporter::ExporterRunner;
use crate::inheritance::Inheritance;
use crate::log::{self, Level};
use crate::log_line;
use crate::pool_runner::PoolRunner;
use crate::relay;
use crate::slot::{Event, Key};
use crate::slot_runner::SlotRunner;
use crate::template::{self, Number, Request};
use crate::template_runner::{Answer, TemplateRunner};
use crate::token::{ExporterNumber, Token};
use wsgi_core::codes::SUPERVISOR_FAILED;
use wsgi_core::wire::board::State;

/// The message of the parent before it closes the control socket, since another generation follows.
const RETIRE: u8 = b'R';
/// The same, since the server ends.
const END: u8 = b'E';
/// The number of events that are taken at once.
const EVENTS: usize = 64;
/// The time between checks of retired slots, in milliseconds.
const CHECK_INTERVAL: u64 = 1_000;
/// The time between checks of a supervisor that has nothing more to do whether it is still needed,
/// at first and at last.
const PAUSES: (Duration, Duration) = (Duration::from_millis(10), Duration::from_secs(60));

/// The supervisor.
#[derive(Debug)]
pub(crate) struct Supervisor {
    context: Context,
    runners: Vec<SlotRunner>,
    /// Of the groups whose number of processes follows the load.
    pools: Vec<PoolRunner>,
    /// Those of the groups that have templates.
    templates: Vec<TemplateRunner>,
    exporter: Option<ExporterRunner>,
    signals: SignalFd,
    is_retired: bool,
    /// True if the server ends.
    is_stopping: bool,
    /// True if the server is the system's first process, which inherits all orphans.
    is_in_container: bool,
    /// True if there may be children that have ended and have not been waited for.
    has_ended_children: bool,
    next_check: u64,
}

impl Supervisor {
    /// Creates a supervisor with no process yet.
    ///
    /// # Errors
    /// The system has no descriptors left.
    pub(crate) fn new(inheritance: Inheritance) -> io::Result<Self> {
        let Inheritance { control, plan, board, hosts, logs, slots, scoreboard, record, exporter } =
            inheritance;
        os::process::check_kernel()?;
        // Else what processes leave behind becomes the server's where that is the system's first
        // process, as in a container; and the server stops when a child exits that it does not know
        // with the status 15.
        os::process::become_reaper()?;
        let (environment, files) =
            (os::spawn::own_environment(), raise_limit(slots.len(), plan.groups.len()));
        let signals = watched_signals()?;
        if plan.json_log {
            log_line::set_json();
        }
        // Begins with these signals blocked.
        let relay = log::start_relay(logs, plan.syslog, slots.len())?;
        // Helpers that the server has forked may hold copies of the parent's end of the control
        // socket.
        os::process::end_with_parent(Some(Signal::SIGTERM))?;
        let epoll = Epoll::new(EpollCreateFlags::EPOLL_CLOEXEC)?;
        epoll.add(&control, EpollEvent::new(EpollFlags::EPOLLIN, Token::Parent.word()))?;
        epoll.add(signals.as_fd(), EpollEvent::new(EpollFlags::EPOLLIN, Token::Signal.word()))?;
        let memory_kills = MemoryKills::of_this_process();
        if let Some(announcements) = memory_kills.announcements() {
            // Once for each: what it says last must not keep this process busy.
            let flags = EpollFlags::EPOLLPRI | EpollFlags::EPOLLET;
            // Without it, kills are noticed when a process has died.
            let _ = epoll.add(announcements, EpollEvent::new(flags, Token::MemoryKill.word()));
        }
        let groups = plan.groups;
        let begin = Instant::now();
        let context = Context {
            epoll,
            parent: control,
            board,
            groups,
            hosts,
            relay,
            scoreboard,
            record: record.into(),
            environment,
            files,
            begin,
            memory_kills: RefCell::new(memory_kills),
            notes: RefCell::default(),
        };
        let of_group = context.groups.iter().enumerate().flat_map(|(at, group)| {
            (0..group.daemon.options.process_count()).map(move |number| (at, number))
        });
        let runners = of_group
            .zip(slots)
            .enumerate()
            .map(|(index, (group, (channel, page)))| SlotRunner::new(index, group, &context, channel, page))
            .collect();
        let has_template = |group: &usize| context.groups[*group].daemon.options.is_forked();
        let templates = (0..context.groups.len()).filter(has_template);
        let templates = templates.map(|group| TemplateRunner::new(group, &context)).collect();
        let is_in_container = parent_id() == 1;
        let pools = PoolRunner::of_groups(&context);
        Ok(Self {
            context,
            runners,
            pools,
            templates,
            exporter: exporter.map(ExporterRunner::new),
            signals,
            is_retired: false,
            is_stopping: false,
            is_in_container,
            has_ended_children: false,
            next_check: 0,
        })
    }

    /// Runs until there is nothing more to supervise.
    ///
    /// # Errors
    /// The system does not tell of events any more.
    pub(crate) fn run(mut self) -> io::Result<()> {
        self.handle_all(|| Event::Begin);
        let mut events = [EpollEvent::empty(); EVENTS];
        self.serve_templates(Vec::new());
        while !self.is_over() {
            let count = match self.context.epoll.wait(&mut events, self.timeout()) {
                Ok(count) => count,
                Err(nix::errno::Errno::EINTR) => 0,
                Err(error) => return Err(error.into()),
            };
            for event in &events[..count] {
                self.on_event(Token::from_word(event.data()), event.events());
            }
            self.tick();
        }
        if self.is_retired && !self.is_stopping {
            self.wait_for_writers();
        }
        Ok(())
    }

    /// Stays as long as anybody writes to the log through it, so that what applications have
    /// started does not end of that (`SIGPIPE`); and where the server would inherit that, as long
    /// as there are children.
    fn wait_for_writers(self) {
        let Self { signals, context, runners, templates, is_in_container, .. } = self;
        let relay = context.relay;
        drop((context, runners, templates));
        let mut pause = PAUSES.0;
        loop {
            let is_needed = has_children() && is_in_container || relay.has_writers();
            if !is_needed {
                return;
            }
            // Waking up now and then is no harm.
            let _ = descriptors::is_readable(signals.as_fd(), pause);
            pause = (2 * pause).min(PAUSES.1);
            while let Ok(Some(signal)) = signals.read_signal() {
                // Of who ends, the pipe ends as well.
                pause = PAUSES.0;
                if ends_server(&signal) {
                    return;
                }
            }
        }
    }

    fn on_event(&mut self, token: Option<Token>, flags: EpollFlags) {
        let context = &self.context;
        match token {
            Some(Token::Parent) => self.on_parent(),
            Some(Token::Signal) => self.on_signal(),
            Some(Token::Channel(runner)) if self.runners[runner].state() == State::Dormant => {
                self.on_knock(runner, flags);
            }
            Some(Token::Channel(runner)) => self.runners[runner].on_channel(flags, context),
            Some(Token::Preparation(runner, key)) => self.runners[runner].on_preparation(key, context),
            Some(Token::Control(runner, key)) => self.on_report(runner, key),
            Some(Token::Exit(runner, key)) => self.runners[runner].on_exit(key, context),
            Some(Token::Birth(runner, key)) => self.on_birth(runner, key),
            Some(Token::TemplatePreparation(group, number)) => {
                self.with_template(group, |template, context, answers| {
                    template.on_preparation(number, context, answers);
                });
            }
            Some(Token::TemplateReport(group, number)) => {
                self.with_template(group, |template, context, answers| {
                    template.on_report(number, context, answers);
                });
            }
            Some(Token::TemplateExit(group, number)) => {
                self.with_template(group, |template, context, answers| {
                    template.on_exit(number, context, answers);
                });
            }
            Some(Token::Exporter(number)) => self.on_exporter_exit(number),
            Some(Token::MemoryKill) => context.memory_kills.borrow_mut().look(Instant::now()),
            None => {}
        }
    }

    fn on_exporter_exit(&mut self, number: ExporterNumber) {
        if let Some(exporter) = &mut self.exporter {
            exporter.on_exit(number, &self.context);
        }
    }

    fn on_knock(&mut self, runner: usize, flags: EpollFlags) {
        if let Some(pool) = self.pools.iter_mut().find(|pool| pool.has(runner)) {
            pool.on_knock(runner, flags, &mut self.runners, &self.context);
        }
    }

    fn on_report(&mut self, runner: usize, key: Key) {
        let before = self.runners[runner].state();
        self.runners[runner].on_report(key, &self.context);
        let has_begun = before != State::Serving && self.runners[runner].state() == State::Serving;
        if has_begun && let Some(pool) = self.pools.iter_mut().find(|pool| pool.has(runner)) {
            pool.on_new_process(runner, &mut self.runners, &self.context);
        }
    }

    fn on_parent(&mut self) {
        let mut message = [0; 16];
        match descriptors::receive_with(&self.context.parent, &mut message, Wait::Never) {
            Ok((1.., _)) if matches!(message[0], RETIRE | END) => {
                self.is_retired = true;
                for runner in &mut self.runners {
                    runner.retire(&self.context);
                }
                self.handle_templates(|| template::Event::Retire);
                if let Some(exporter) = &mut self.exporter {
                    exporter.retire(message[0] == RETIRE);
                }
            }
            Ok((1.., _)) => {}
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
            Ok(_) | Err(_) => {
                // It is registered, so that cannot fail.
                let _ = self.context.epoll.delete(&self.context.parent);
                if !self.is_retired {
                    let text = "the server's parent process is gone; all daemon processes are ended";
                    log::write(Level::Error, format_args!("{SUPERVISOR_FAILED}: {text}"));
                    self.end_all(|| Event::Stop, || template::Event::Retire);
                    self.stop_exporter(false);
                }
            }
        }
    }

    fn on_signal(&mut self) {
        while let Ok(Some(signal)) = self.signals.read_signal() {
            self.is_stopping |= ends_server(&signal);
            match signal_of(&signal) {
                Ok(Signal::SIGTERM | Signal::SIGINT) => {
                    self.end_all(|| Event::Stop, || template::Event::Retire);
                    self.stop_exporter(false);
                }
                Ok(Signal::SIGQUIT) => {
                    self.end_all(|| Event::Kill, || template::Event::Kill);
                    self.stop_exporter(true);
                }
                Ok(Signal::SIGCHLD) => self.has_ended_children = true,
                _ => {}
            }
        }
    }

    /// Waits for children that have ended: of slots, or left behind by processes. Those may be as
    /// many as an application likes, so the others get their turn.
    fn reap(&mut self) {
        for _ in 0..EVENTS {
            // An error says that there is no child.
            let Ok(Some(ended)) = os::process::reap(|pid| self.is_known(pid)) else {
                self.has_ended_children = false;
                return;
            };
            match ended {
                Ended::Known(pid) => match self.owner_of(pid) {
                    Some(Owner::Slot(runner, key)) => self.runners[runner].on_exit(key, &self.context),
                    Some(Owner::Template(group, number)) => {
                        self.with_template(group, |template, context, answers| {
                            template.on_exit(number, context, answers);
                        });
                    }
                    Some(Owner::Exporter(number)) => self.on_exporter_exit(number),
                    None => {}
                },
                Ended::Forgotten => {}
            }
        }
    }

    /// Returns whether a child that has ended is waited for elsewhere. One that was forked from a
    /// template has made itself known before its end.
    fn is_known(&mut self, pid: i32) -> bool {
        if self.owner_of(pid).is_some() {
            return true;
        }
        for runner in 0..self.runners.len() {
            for key in self.runners[runner].unborn() {
                self.on_birth(runner, key);
            }
        }
        self.owner_of(pid).is_some()
    }

    fn owner_of(&self, pid: i32) -> Option<Owner> {
        let exporter = self.exporter.as_ref().and_then(|exporter| exporter.number_of(pid));
        owner_of(&self.runners, &self.templates, pid).or(exporter.map(Owner::Exporter))
    }

    fn on_birth(&mut self, runner: usize, key: Key) {
        let (before, rest) = self.runners.split_at_mut(runner);
        let Some((runner, after)) = rest.split_first_mut() else { return };
        let own: Vec<_> = runner.pids();
        let is_known = |pid| {
            own.contains(&pid)
                || owner_of(before, &self.templates, pid).is_some()
                || owner_of(after, &[], pid).is_some()
        };
        runner.on_birth(key, is_known, &self.context);
    }

    /// Has the templates of a group do something, and the slots what follows.
    fn with_template(
        &mut self,
        group: usize,
        work: impl FnOnce(&mut TemplateRunner, &Context, &mut Vec<Answer>),
    ) {
        let mut answers = Vec::new();
        if let Some(template) = self.templates.iter_mut().find(|template| template.group() == group) {
            work(template, &self.context, &mut answers);
        }
        self.serve_templates(answers);
    }

    fn handle_templates(&mut self, event: impl Fn() -> template::Event) {
        let mut answers = Vec::new();
        for template in &mut self.templates {
            template.handle(event(), &self.context, &mut answers);
        }
        self.serve_templates(answers);
    }

    /// Hands answers of templates to slots, and what slots have for templates to those.
    fn serve_templates(&mut self, mut answers: Vec<Answer>) {
        loop {
            for answer in std::mem::take(&mut answers) {
                self.answer(answer);
            }
            let notes = self.context.notes.take();
            if notes.is_empty() {
                return;
            }
            for (group, event) in notes {
                if let Some(template) = self.templates.iter_mut().find(|template| template.group() == group) {
                    template.handle(event, &self.context, &mut answers);
                }
            }
        }
    }

    fn answer(&mut self, answer: Answer) {
        let context = &self.context;
        match answer {
            Answer::Fork(number, Request { slot, key, .. }) => {
                let group = self.runners[slot].group();
                let template = self.templates.iter().find(|template| template.group() == group);
                match template.and_then(|template| template.process(number)) {
                    Some(template) => self.runners[slot].fork(key, template, context),
                    None => self.runners[slot].start_alone(key, number, context),
                }
            }
            Answer::StartAlone(number, Request { slot, key, .. }) => {
                self.runners[slot].start_alone(key, number, context);
            }
            Answer::NotImported(pid, Request { slot, key, .. }) => {
                self.runners[slot].not_imported(key, pid, context);
            }
        }
    }

    fn is_over(&self) -> bool {
        self.runners.iter().all(SlotRunner::is_over)
            && self.templates.iter().all(TemplateRunner::is_over)
            && self.exporter.as_ref().is_none_or(ExporterRunner::is_over)
    }

    fn stop_exporter(&mut self, is_at_once: bool) {
        if let Some(exporter) = &mut self.exporter {
            exporter.stop(is_at_once, self.context.now());
        }
    }

    /// Has all slots end their processes.
    fn end_all(&mut self, event: impl Fn() -> Event, of_templates: impl Fn() -> template::Event) {
        // So that none is started in vain.
        self.handle_all(event);
        self.handle_templates(of_templates);
    }

    fn handle_all(&mut self, event: impl Fn() -> Event) {
        for runner in &mut self.runners {
            runner.handle(event(), &self.context);
        }
    }

    fn tick(&mut self) {
        if self.has_ended_children {
            self.reap();
        }
        self.context.memory_kills.borrow_mut().look_now_and_then(Instant::now());
        let now = self.context.now();
        for runner in &mut self.runners {
            if runner.next().is_some_and(|time| time <= now) {
                runner.handle(Event::Tick, &self.context);
            }
        }
        for pool in &mut self.pools {
            pool.look(&mut self.runners, &self.context);
        }
        if let Some(exporter) = &mut self.exporter {
            exporter.tick(&self.context);
        }
        let mut answers = Vec::new();
        for template in &mut self.templates {
            if template.next().is_some_and(|time| time <= now) {
                template.handle(template::Event::Tick, &self.context, &mut answers);
            }
        }
        if self.is_retired && self.next_check <= now {
            self.next_check = now + CHECK_INTERVAL;
            for runner in &mut self.runners {
                runner.check_retired(&self.context);
            }
        }
        self.serve_templates(answers);
    }

    fn timeout(&self) -> EpollTimeout {
        if self.has_ended_children {
            return EpollTimeout::ZERO;
        }
        let check = self.is_retired.then_some(self.next_check);
        let looks = self.pools.iter().filter_map(PoolRunner::next);
        let templates = self.templates.iter().filter_map(TemplateRunner::next);
        let slots = self.runners.iter().filter_map(SlotRunner::next);
        let exporter = self.exporter.as_ref().and_then(ExporterRunner::next);
        let Some(time) = slots.chain(templates).chain(looks).chain(check).chain(exporter).min() else {
            return EpollTimeout::NONE;
        };
        // Waking up early is no harm.
        let wait = time.saturating_sub(self.context.now()).min(3_600_000);
        EpollTimeout::try_from(wait).unwrap_or(EpollTimeout::ZERO)
    }
}

/// The owner of a process.
enum Owner {
    /// The slot with this index.
    Slot(usize, Key),
    /// The group with this index.
    Template(usize, Number),
    /// The exporter.
    Exporter(ExporterNumber),
}

fn owner_of(runners: &[SlotRunner], templates: &[TemplateRunner], pid: i32) -> Option<Owner> {
    let slots = runners.iter().enumerate();
    let slots = slots.filter_map(|(at, runner)| runner.key_of(pid).map(|key| Owner::Slot(at, key)));
    let templates = templates.iter().filter_map(|template| {
        template.number_of(pid).map(|number| Owner::Template(template.group(), number))
    });
    slots.chain(templates).next()
}

/// Waits for all children that have ended. Returns whether there are others.
fn has_children() -> bool {
    loop {
        match os::process::reap(|_| false) {
            Ok(Some(_)) => {}
            Ok(None) => return true,
            // There is none.
            Err(_) => return false,
        }
    }
}

fn signal_of(signal: &siginfo) -> nix::Result<Signal> {
    Signal::try_from(i32::try_from(signal.ssi_signo).unwrap_or(0))
}

/// Returns whether a signal says that the server ends.
fn ends_server(signal: &siginfo) -> bool {
    matches!(signal_of(signal), Ok(Signal::SIGTERM | Signal::SIGINT | Signal::SIGQUIT))
}

/// Watches the signals that end the supervisor (`SIGQUIT` at once; a second `SIGTERM` may come from
/// anybody), that of ended children, and those that it must not die of: Apache sends them to whole
/// process groups, or the system sends them to who writes to a file that may not grow any more.
fn watched_signals() -> io::Result<SignalFd> {
    let mut set = SigSet::empty();
    for signal in [Signal::SIGTERM, Signal::SIGINT, Signal::SIGQUIT, Signal::SIGCHLD] {
        set.add(signal);
    }
    for signal in [Signal::SIGHUP, Signal::SIGUSR1, Signal::SIGUSR2, Signal::SIGXFSZ] {
        set.add(signal);
    }
    set.thread_block()?;
    Ok(SignalFd::with_flags(&set, SfdFlags::SFD_NONBLOCK | SfdFlags::SFD_CLOEXEC)?)
}

/// Makes room for so many slots and groups. Returns the former limit, for processes, if that was changed.
fn raise_limit(slots: usize, groups: usize) -> Option<Limit> {
    // Of each slot the channel and the page, and five descriptors of each of two processes, a few
    // while one starts; of each group two templates.
    let count = 12 * slots + 10 * groups + 64 + relay::max_orphans(slots);
    let (soft, hard) = descriptors::raise_limit(count as u64)?;
    Some(Limit { resource: os::spawn::Resource::Files, soft, hard })
}
