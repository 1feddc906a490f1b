//! The exporter of OpenTelemetry: its process, and when the next one is started.
//!
//! It needs no user database and no file but those that it is given, so it is started without a
//! preparation: what can take long, the look for its program, is done by the new process. It ends
//! by itself when the last child of its generation is gone, which it notices by the socket of the
//! spans.

use std::ffi::CString;
use std::io;
use std::os::fd::{AsFd, OwnedFd, RawFd};

use nix::sys::epoll::EpollFlags;
use os::descriptors::{self, Kind};
use os::process::{Child, Exit, Signal};
use os::shared::LongWords;
use os::spawn::{self, Account, Launched, Limit, Plan, Resource};
use wsgi_core::codes::{Code, EXPORTER_ENDED, EXPORTER_NOT_STARTED};
use wsgi_core::wire::Schema;
use wsgi_core::wire::exporter::{ExporterPlan, counts};

use crate::context::Context;
use crate::log;
use crate::relay::{self, Destination};
use crate::slot::starts::{Ending, Starts};
use crate::token::{ExporterNumber, Token};

/// The number of its first descriptor: plan, spans, counts, life line follow each other.
const FIRST: RawFd = 3;
/// The number of the file of headers.
const HEADERS: RawFd = 7;
/// The number of the first descriptor by which it reads the state of the server.
const STATE: RawFd = 8;
/// The number of the pipe by which it is learnt why there is no process.
const FAILURES: RawFd = 15;
/// A process that lives for so long is a working one, in milliseconds.
const LONG_LIFE: u64 = 5_000;
/// The time that it has to send what is left when the server ends, in milliseconds.
const PATIENCE: u64 = 3_000;
/// The variables that it needs of the server's environment: which proxy leads to a collector, and
/// which certificates are trusted. There may be secrets among the others.
const VARIABLES: [&str; 11] = [
    "HTTP_PROXY",
    "http_proxy",
    "HTTPS_PROXY",
    "https_proxy",
    "ALL_PROXY",
    "all_proxy",
    "NO_PROXY",
    "no_proxy",
    "SSL_CERT_FILE",
    "TZ",
    "RUST_BACKTRACE",
];

/// Everything that its processes are started with.
#[derive(Debug)]
pub(crate) struct ExporterParts {
    pub(crate) plan: ExporterPlan,
    /// The executable.
    pub(crate) program: OwnedFd,
    /// The end of the socket through which spans come.
    pub(crate) spans: OwnedFd,
    /// The words that it counts in.
    pub(crate) counts: OwnedFd,
    /// The file of headers, if it has one.
    pub(crate) headers: Option<OwnedFd>,
    /// Layout, ledger and board, if it has metrics.
    pub(crate) state: Option<[OwnedFd; 4]>,
}

/// The exporter.
#[derive(Debug)]
pub(crate) struct ExporterRunner {
    parts: ExporterParts,
    /// The words of `parts.counts`, unless there was no memory for them.
    counts: Option<LongWords>,
    starts: Starts,
    process: Option<Process>,
    last: ExporterNumber,
    /// The time of the next start; `None` while there is a process, or will be none.
    next: Option<u64>,
    /// The time at which its process is killed.
    kill: Option<u64>,
    is_retired: bool,
}

#[derive(Debug)]
struct Process {
    number: ExporterNumber,
    child: Child,
    started: u64,
    output: relay::Id,
    failures: OwnedFd,
    /// Hangs up when the generation is retired: it sends no more metrics then.
    _life: Option<OwnedFd>,
}

impl ExporterRunner {
    /// Creates the runner of an exporter that is to be started.
    pub(crate) fn new(parts: ExporterParts) -> Self {
        let (starts, counts) = (Starts::new(false), LongWords::map(&parts.counts, counts::WORDS).ok());
        let runner = Self {
            parts,
            counts,
            starts,
            process: None,
            last: 0,
            next: Some(0),
            kill: None,
            is_retired: false,
        };
        // A supervisor that has ended has left what its exporter had.
        runner.abandon_spans();
        runner
    }

    /// Returns the time at which it wants a tick, at the latest.
    pub(crate) fn next(&self) -> Option<u64> {
        self.next.into_iter().chain(self.kill).min()
    }

    /// Returns whether there is no process, and will be none.
    pub(crate) const fn is_over(&self) -> bool {
        self.process.is_none() && self.next.is_none()
    }

    /// Returns its process, if it is this one.
    pub(crate) fn number_of(&self, pid: i32) -> Option<ExporterNumber> {
        self.process.as_ref().filter(|process| process.child.pid() == pid).map(|process| process.number)
    }

    /// Does what it is time for.
    pub(crate) fn tick(&mut self, context: &Context) {
        let now = context.now();
        if self.kill.is_some_and(|time| time <= now) {
            self.kill = None;
            self.signal(Signal::SIGKILL);
        }
        if self.next.is_some_and(|time| time <= now) {
            self.start(now, context);
        }
    }

    /// Retires it with its generation: it goes on until no child is left. It sends no more metrics if
    /// another one does.
    pub(crate) fn retire(&mut self, is_replaced: bool) {
        self.is_retired = true;
        if let Some(process) = &mut self.process
            && is_replaced
        {
            process._life = None;
        }
    }

    /// Ends it: within a moment, in which it sends what is left; or at once.
    pub(crate) fn stop(&mut self, is_at_once: bool, now: u64) {
        self.next = None;
        if self.process.is_some() {
            self.kill.get_or_insert(now + PATIENCE);
        }
        self.is_retired = true;
        self.signal(if is_at_once { Signal::SIGKILL } else { Signal::SIGTERM });
    }

    /// Handles the end of a process.
    pub(crate) fn on_exit(&mut self, number: ExporterNumber, context: &Context) {
        let Some(process) = self.process.take_if(|process| process.number == number) else { return };
        let exit = match process.child.try_wait() {
            Ok(None) => {
                self.process = Some(process);
                return;
            }
            exit => exit.ok().flatten(),
        };
        context.relay.collect(process.output);
        let lost = self.abandon_spans();
        let (now, is_stopping) = (context.now(), self.kill.take().is_some());
        let is_unused = self.is_retired && descriptors::has_hung_up(&self.parts.spans);
        if is_stopping || is_unused || (self.is_retired && exit == Some(Exit::Status(0))) {
            return;
        }
        let lived = now.saturating_sub(process.started);
        let pause = self.starts.delay_after(Ending::Failed, lived >= LONG_LIFE, lived, now);
        self.next = Some(now + pause);
        let then = format!("Another one is started {}", Moment(pause));
        match failure(&process.failures) {
            Some(reason) => self.log(EXPORTER_NOT_STARTED, &not_started(&reason, &then)),
            None => {
                let how = match exit {
                    Some(exit) => format!("by {exit}"),
                    None => "in a way that is not known".to_owned(),
                };
                let pid = process.child.pid();
                self.log(
                    EXPORTER_ENDED,
                    &format!("the exporter of OpenTelemetry (pid {pid}) has ended {how}. {then}; spans that it had not sent, and that are lost: {lost}"),
                );
            }
        }
    }

    /// Counts the spans that its process had when it ended as lost, and returns their number.
    fn abandon_spans(&self) -> u64 {
        let generation = self.parts.plan.generation;
        self.counts.as_ref().map_or(0, |words| counts::abandon(words.as_slice(), generation))
    }

    fn start(&mut self, now: u64, context: &Context) {
        self.next = None;
        self.starts.take(now);
        match self.launch(now, context) {
            Ok(process) => self.process = Some(process),
            Err(error) => {
                let pause = self.starts.delay_after(Ending::Failed, false, 0, now);
                self.next = Some(now + pause);
                let then = format!("The next try is {}", Moment(pause));
                self.log(EXPORTER_NOT_STARTED, &not_started(&error, &then));
            }
        }
    }

    /// Starts a process, and waits for nothing.
    fn launch(&mut self, now: u64, context: &Context) -> io::Result<Process> {
        let ExporterParts { plan, program, spans, counts, headers, state } = &self.parts;
        let (output, log) = descriptors::pipe()?;
        let (life, theirs) = descriptors::pair(Kind::Sequence)?;
        let message = os::message::file(c"mod_wsgi exporter", &plan.encode())?;
        let parts = [message.as_fd(), spans.as_fd(), counts.as_fd(), theirs.as_fd()].into_iter();
        let headers = headers.iter().map(|headers| (HEADERS, headers.as_fd()));
        let state = (STATE..).zip(state.iter().flatten().map(AsFd::as_fd));
        let kept = (FIRST..).zip(parts).chain(headers).chain(state).collect();
        let plan = Plan {
            programs: vec![c"exporter".into()],
            executable: Some(program.as_fd()),
            arguments: vec![CString::new(Schema::own().to_string())?],
            environment: environment(&context.environment),
            kept,
            output: Some(log.as_fd()),
            is_session: true,
            is_bound: true,
            account: plan.account.as_ref().map(|account| Account {
                uid: account.uid,
                gid: account.gid,
                groups: account.supplementary.clone().unwrap_or_else(|| vec![account.gid]),
            }),
            directory: Some(c"/".into()),
            limits: context.files.into_iter().chain([NO_CORE]).collect(),
            ..Plan::default()
        };
        let Launched { child, pipe } = plan
            .launch(FAILURES)
            .map_err(|failure| io::Error::new(failure.error.kind(), failure.to_string()))?;
        self.last += 1;
        let number = self.last;
        context.watch(&child, EpollFlags::EPOLLIN, Token::Exporter(number)).inspect_err(|_| {
            // That it has ended is learnt from the signal.
            let _ = child.signal(Signal::SIGKILL);
        })?;
        let output = context.relay.watch(output, Destination::main());
        let life = (!self.is_retired).then_some(life);
        Ok(Process { number, child, started: now, output, failures: pipe, _life: life })
    }

    fn signal(&self, signal: Signal) {
        if let Some(process) = &self.process {
            // This fails if it has ended, which comes as an event of its own.
            let _ = process.child.signal(signal);
        }
    }

    fn log(&self, code: Code, text: &str) {
        if code.level as u8 <= self.parts.plan.log_level {
            log::write(code.level, format_args!("{code}: {text}"));
        }
    }
}

/// No core dumps: there are keys of collectors in its memory.
const NO_CORE: Limit = Limit { resource: Resource::Core, soft: 0, hard: 0 };

fn environment(own: &[CString]) -> Vec<CString> {
    let mut environment = Vec::new();
    for name in VARIABLES {
        if let Some(value) = spawn::variable(own, name.as_bytes()) {
            spawn::set_variable(&mut environment, name.as_bytes(), value.to_bytes());
        }
    }
    environment
}

/// Returns why a process has not become the program, if it has not.
fn failure(pipe: &OwnedFd) -> Option<String> {
    let mut record = [0; spawn::RECORD];
    // Nothing else is ever written there.
    let length = nix::unistd::read(pipe, &mut record).ok()?;
    let failure = spawn::failure(record.get(..length)?)?;
    failure.step.is_fatal().then(|| failure.to_string())
}

fn not_started(reason: &dyn std::fmt::Display, then: &str) -> String {
    format!(
        "the exporter of OpenTelemetry cannot be started: {reason}. {then}. Let Apache's user run lib/mod_wsgi/exporter, and \
         raise the limits of processes (ulimit -u, pids.max) and open files (ulimit -n)"
    )
}

/// Shows as `at once` or `in 2 s`.
struct Moment(u64);

impl std::fmt::Display for Moment {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self.0 {
            0 => f.write_str("at once"),
            pause => write!(f, "in {} s", pause.div_ceil(1_000)),
        }
    }
}
