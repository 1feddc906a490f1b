//! The loop that waits for events, and hands them to the slots that they are about.

use std::io;
use std::os::fd::AsFd;
use std::os::unix::process::parent_id;
use std::time::{Duration, Instant};

use nix::sys::epoll::{Epoll, EpollCreateFlags, EpollEvent, EpollFlags, EpollTimeout};
use nix::sys::signal::{SigSet, Signal};
use nix::sys::signalfd::{SfdFlags, SignalFd, siginfo};
use os::descriptors::{self, Wait};
use os::process::Ended;
use os::spawn::Limit;

use crate::inheritance::Inheritance;
use crate::log::{self, Level};
use crate::pool_runner::PoolRunner;
use crate::relay;
use crate::slot::{Event, Key};
use crate::slot_runner::{Context, SlotRunner};
use wsgi_core::codes::SUPERVISOR_FAILED;
use wsgi_core::wire::board::State;

/// The message of the parent before it closes the control socket.
const RETIRE: u8 = b'R';
/// The number of events that are taken at once.
const EVENTS: usize = 64;
/// The time between checks of retired slots, in milliseconds.
const CHECK_INTERVAL: u64 = 1_000;
/// The time between checks of a supervisor that has nothing more to do whether it is still needed,
/// at first and at last.
const PAUSES: (Duration, Duration) = (Duration::from_millis(10), Duration::from_secs(60));

/// The subject of an event, with the index of a slot.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Token {
    /// The parent's control socket.
    Parent,
    /// A signal.
    Signal,
    /// A channel.
    Channel(usize),
    /// The messages of a process that prepares itself.
    Preparation(usize, Key),
    /// The reports of a process.
    Control(usize, Key),
    /// The end of a process.
    Exit(usize, Key),
}

/// The supervisor.
#[derive(Debug)]
pub(crate) struct Supervisor {
    context: Context,
    runners: Vec<SlotRunner>,
    /// Of the groups whose number of processes follows the load.
    pools: Vec<PoolRunner>,
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
        let Inheritance { control, plan, board, hosts, logs, slots, scoreboard } = inheritance;
        os::process::check_kernel()?;
        // Else what processes leave behind becomes the server's where that is the system's first
        // process, as in a container; and the server stops when a child exits that it does not know
        // with the status 15.
        os::process::become_reaper()?;
        let (environment, files) = (os::spawn::own_environment(), raise_limit(slots.len()));
        let signals = watched_signals()?;
        // Begins with these signals blocked.
        let relay = log::start_relay(logs, plan.syslog, slots.len())?;
        // Helpers that the server has forked may hold copies of the parent's end of the control
        // socket.
        os::process::end_with_parent(Some(Signal::SIGTERM))?;
        let epoll = Epoll::new(EpollCreateFlags::EPOLL_CLOEXEC)?;
        epoll.add(&control, EpollEvent::new(EpollFlags::EPOLLIN, Token::Parent.word()))?;
        epoll.add(signals.as_fd(), EpollEvent::new(EpollFlags::EPOLLIN, Token::Signal.word()))?;
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
            environment,
            files,
            begin,
        };
        let of_group = context.groups.iter().enumerate().flat_map(|(at, group)| {
            (0..group.daemon.options.process_count()).map(move |number| (at, number))
        });
        let runners = of_group
            .zip(slots)
            .enumerate()
            .map(|(index, (group, (channel, page)))| SlotRunner::new(index, group, &context, channel, page))
            .collect();
        let is_in_container = parent_id() == 1;
        let pools = PoolRunner::of_groups(&context);
        Ok(Self {
            context,
            runners,
            pools,
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
        while !self.runners.iter().all(SlotRunner::is_over) {
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
        let Self { signals, context, runners, is_in_container, .. } = self;
        let relay = context.relay;
        drop((context, runners));
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
            None => {}
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
            Ok((1.., _)) if message[0] == RETIRE => {
                self.is_retired = true;
                for runner in &mut self.runners {
                    runner.retire(&self.context);
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
                    self.handle_all(|| Event::Stop);
                }
            }
        }
    }

    fn on_signal(&mut self) {
        while let Ok(Some(signal)) = self.signals.read_signal() {
            self.is_stopping |= ends_server(&signal);
            match signal_of(&signal) {
                Ok(Signal::SIGTERM | Signal::SIGINT) => self.handle_all(|| Event::Stop),
                Ok(Signal::SIGQUIT) => self.handle_all(|| Event::Kill),
                Ok(Signal::SIGCHLD) => self.has_ended_children = true,
                _ => {}
            }
        }
    }

    /// Waits for children that have ended: of slots, or left behind by processes. Those may be as
    /// many as an application likes, so the others get their turn.
    fn reap(&mut self) {
        let key_of = |runners: &[SlotRunner], pid| {
            runners.iter().enumerate().find_map(|(at, runner)| runner.key_of(pid).map(|key| (at, key)))
        };
        for _ in 0..EVENTS {
            // An error says that there is no child.
            let Ok(Some(ended)) = os::process::reap(|pid| key_of(&self.runners, pid).is_some()) else {
                self.has_ended_children = false;
                return;
            };
            if let Ended::Known(pid) = ended
                && let Some((runner, key)) = key_of(&self.runners, pid)
            {
                self.runners[runner].on_exit(key, &self.context);
            }
        }
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
        let now = self.context.now();
        for runner in &mut self.runners {
            if runner.next().is_some_and(|time| time <= now) {
                runner.handle(Event::Tick, &self.context);
            }
        }
        for pool in &mut self.pools {
            pool.look(&mut self.runners, &self.context);
        }
        if self.is_retired && self.next_check <= now {
            self.next_check = now + CHECK_INTERVAL;
            for runner in &mut self.runners {
                runner.check_retired(&self.context);
            }
        }
    }

    fn timeout(&self) -> EpollTimeout {
        if self.has_ended_children {
            return EpollTimeout::ZERO;
        }
        let check = self.is_retired.then_some(self.next_check);
        let looks = self.pools.iter().filter_map(PoolRunner::next);
        let Some(time) = self.runners.iter().filter_map(SlotRunner::next).chain(check).chain(looks).min()
        else {
            return EpollTimeout::NONE;
        };
        // Waking up early is no harm.
        let wait = time.saturating_sub(self.context.now()).min(3_600_000);
        EpollTimeout::try_from(wait).unwrap_or(EpollTimeout::ZERO)
    }
}

impl Token {
    /// Packs the token for epoll: the kind in 8 bits, the slot in 24, the process in 32.
    pub(crate) fn word(self) -> u64 {
        let (kind, runner, key) = match self {
            Self::Parent => (0, 0, 0),
            Self::Signal => (1, 0, 0),
            Self::Channel(runner) => (2, runner, 0),
            Self::Control(runner, key) => (3, runner, key),
            Self::Exit(runner, key) => (4, runner, key),
            Self::Preparation(runner, key) => (5, runner, key),
        };
        kind << 56 | (runner as u64 & 0xff_ffff) << 32 | u64::from(key)
    }

    fn from_word(word: u64) -> Option<Self> {
        let (runner, key) = ((word >> 32 & 0xff_ffff) as usize, (word & 0xffff_ffff) as Key);
        match word >> 56 {
            0 => Some(Self::Parent),
            1 => Some(Self::Signal),
            2 => Some(Self::Channel(runner)),
            3 => Some(Self::Control(runner, key)),
            4 => Some(Self::Exit(runner, key)),
            5 => Some(Self::Preparation(runner, key)),
            _ => None,
        }
    }
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

/// Makes room for so many slots. Returns the former limit, for processes, if that was changed.
fn raise_limit(slots: usize) -> Option<Limit> {
    // Of each slot the channel and the page, and five descriptors of each of two processes, a few
    // while one starts.
    let (soft, hard) = descriptors::raise_limit((12 * slots + 64 + relay::max_orphans(slots)) as u64)?;
    Some(Limit { resource: os::spawn::Resource::Files, soft, hard })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tokens_come_back() {
        for token in [
            Token::Parent,
            Token::Signal,
            Token::Channel(12_345),
            Token::Control(0xff_fffe, u32::MAX),
            Token::Exit(0, 1),
            Token::Preparation(7, 8),
        ] {
            assert_eq!(Token::from_word(token.word()), Some(token));
        }
        assert_eq!(Token::from_word(u64::MAX), None);
    }
}
