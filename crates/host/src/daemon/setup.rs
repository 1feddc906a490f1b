//! The life of a daemon process, on its main thread.

#![expect(clippy::disallowed_types, reason = "only makes locks of others")]

use std::ffi::OsString;
use std::os::fd::OwnedFd;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::atomic::{AtomicU8, AtomicU32};
use std::sync::mpsc::{self, Receiver};
use std::sync::{Arc, LazyLock, Mutex};

use bridge::{Level, Lists, Settings};
use nix::sys::epoll::{Epoll, EpollCreateFlags};
use nix::sys::eventfd::{EfdFlags, EventFd};
use nix::sys::resource::{Resource, getrlimit};
use nix::sys::signal::Signal;
use os::shared::Words;
use os::snapshot::SnapshotReader;
use os::spin::Solitude;
use python::{Exception, Python};
use wsgi_core::codes::{DAEMON_NOT_SET_UP, DAEMON_NOT_STARTED, LOCALE_NOT_SET, PROCESS_NOT_RUN};
use wsgi_core::lifecycle::{Reason, Timers};
use wsgi_core::wire::board::page;
use wsgi_core::wire::exit;
use wsgi_core::wire::launch;

use super::connection::Table;
use super::crew::Crew;
use super::event_loop::{self, Endpoints, Shutdown};
use super::monitor::{self, Task};
use super::reload::Reload;
use super::start_order::{Start, StartOrder, because};
use super::state::{Daemon, Message, Phase, set_up};
use super::stop::{self, Threads};
use super::template::{Forked, Template, TemplateMode};
use super::threads::spawn;
use super::watchdog::Watchdog;
use super::worker::Worker;
use super::{descriptors, log, server, workers};
use crate::dispatch::interpreters;
use crate::interpreters::Patience;
use crate::life;
use crate::mode::Mode;
use crate::process::{self, Process};
use crate::settings::Origin;
use crate::stuck;
use crate::telemetry;

/// Enough for a thread that runs no Python.
const SMALL_STACK: usize = 512 << 10;

/// The signals that a daemon process handles.
const SIGNALS: [Signal; 6] =
    [Signal::SIGTERM, Signal::SIGINT, Signal::SIGUSR1, Signal::SIGXCPU, Signal::SIGHUP, Signal::SIGUSR2];

/// Serves requests on the orders of the supervisor at the other end of `control`, until the process
/// has to end.
pub(crate) fn serve(py: Python<'_>, control: OwnedFd) -> python::Result<()> {
    let begun = py.detach(|| begin(control));
    let begun = match begun {
        Ok(Some(begun)) => begun,
        Ok(None) => return Ok(()),
        Err(text) => {
            log::line(
                Level::Critical,
                &format!("{DAEMON_NOT_STARTED}: A daemon process cannot be started: {text}"),
            );
            return Err(py.raise(Exception::RuntimeError, &text));
        }
    };
    let (process, launch) = match &begun {
        Begun::Process(prepared) => (prepared.process, &prepared.launch),
        Begun::Template(template) => (template.process, &*template.launch),
    };
    if let Some(locale) = &launch.options.locale {
        set_locale(py, locale, &launch.name);
    }
    life::adopt(process, py, |started| {
        if let Err(text) = started {
            log::line(Level::Critical, &format!("{DAEMON_NOT_SET_UP}: Python cannot be set up: {text}"));
            os::exit::now(exit::FAILED.into());
        }
        match begun {
            Begun::Process(prepared) if prepared.launch.options.is_service() => prepared.run_script(),
            Begun::Process(prepared) => prepared.run(),
            Begun::Template(template) => run_forked(template.serve()),
        }
    });
    Ok(())
}

/// The process, according to its order.
enum Begun {
    Process(Box<Prepared>),
    Template(Template),
}

/// Waits for the order to start, and prepares for it what needs no Python. Returns `None` if the
/// supervisor has gone before it gave the order.
fn begin(control: OwnedFd) -> Result<Option<Begun>, String> {
    Ok(match Start::receive(&control)? {
        None => None,
        Some(Start::Process(order)) => Some(Begun::Process(prepare(control, order, None)?.into())),
        Some(Start::Template(order)) => Some(Begun::Template(Template::prepare(control, order)?)),
    })
}

/// Runs a process that was forked from a template.
fn run_forked(forked: Forked) {
    let Forked { control, template } = forked;
    let prepared = Start::receive(&control).and_then(|order| match order {
        Some(Start::Process(order)) => prepare(control, order, Some(template)).map(Some),
        Some(Start::Template(_)) => Err("it was told to be a template".to_owned()),
        None => Ok(None),
    });
    match prepared {
        Ok(Some(prepared)) => prepared.run(),
        Ok(None) => os::exit::now(0),
        Err(text) => {
            let text =
                format!("{DAEMON_NOT_STARTED}: A daemon process cannot be started from its template: {text}");
            log::line(Level::Critical, &text);
            os::exit::now(exit::FAILED.into());
        }
    }
}

/// The state of the process when Python's side begins.
struct Prepared {
    daemon: &'static Daemon,
    process: &'static Process,
    launch: launch::Daemon,
    end: Receiver<Shutdown>,
    signals: Receiver<Signal>,
    tasks: Receiver<Task>,
    imports: Imports,
}

/// The scripts to import before the first request.
pub(super) struct Imports {
    /// Paths and application groups.
    pub(super) scripts: Vec<(Vec<u8>, Vec<u8>)>,
    /// Scripts that have changed are imported again.
    pub(super) reloading: bool,
}

/// Sets up the state that needs no Python, and starts the event thread. In a process that was forked
/// from a template, Python's side is there.
fn prepare(
    control: OwnedFd,
    order: StartOrder,
    template: Option<&'static TemplateMode>,
) -> Result<Prepared, String> {
    let StartOrder { mut launch, word, channel, page, reports, lines, scoreboard } = order;
    log::open(lines).map_err(because("its pipe to the log cannot be used"))?;
    log::configure(&launch);
    if let Err(error) = os::title::set(&title(&launch)) {
        log::line(Level::Warning, &format!("display-name has no effect: {error}"));
    }
    let page = Words::map(&page, page::WORDS).map_err(because("its shared page cannot be used"))?;
    let limits = &mut launch.options.limits;
    *limits = limits.jittered(launch.options.threads, os::random::number());
    let timers = Timers::new(&launch.options.limits, launch.options.threads, 1);
    let reload = template.map_or_else(Reload::default, TemplateMode::scripts);
    if reload.has_scripts() {
        let _ = timers.activity().record_script_loaded();
    }
    let daemon = create(&launch, (page, word), scoreboard, reload, &timers)
        .map_err(|error| format!("no descriptors are left: {error}"))?;
    let signals = os::signals::watch(&SIGNALS).map_err(because("signals cannot be caught"))?;
    descriptors::register(&signals);
    descriptors::register(&os::signals::writer());
    log::line(
        Level::Info,
        &format!(
            "Process group '{}': a process starts, with {} threads.",
            daemon.name, launch.options.threads
        ),
    );
    log_jitter(daemon);
    let known = template.and_then(|_| process::process());
    known.inspect(|process| process.begin());
    let (process, imports) = set_up_process(known, daemon, &launch)?;

    let (end_sender, end) = mpsc::channel();
    let (signal_sender, signal_receiver) = mpsc::sync_channel(64);
    let (task_sender, tasks) = mpsc::channel();
    let endpoints = Endpoints {
        control: Some(control),
        reports: reports.into(),
        channel: Some(channel),
        signals,
        end: end_sender,
        signal_sender: Some(signal_sender),
        task_sender: Some(task_sender),
    };
    start_event_thread(daemon, endpoints, timers)?;
    // From now on the event thread notices the end of the supervisor, which until now would have
    // killed the process. A service may become another program, without that thread.
    let signal = launch.options.is_service().then_some(Signal::SIGTERM);
    os::process::end_with_parent(signal)
        .map_err(|error| format!("it stays bound to its supervisor: {error}"))?;
    Ok(Prepared { daemon, process, imports, end, signals: signal_receiver, tasks, launch: *launch })
}

/// Sets up the process from its settings, unless it is `known` already. Returns it with the scripts
/// to import.
pub(super) fn set_up_process(
    known: Option<&'static Process>,
    mode: &'static dyn Mode,
    launch: &launch::Daemon,
) -> Result<(&'static Process, Imports), String> {
    let mut lists = Lists::default();
    let settings = Settings::decode(&launch.settings, &mut lists).map_err(|_| {
        "its settings are of another version: run 'make host' and 'make install' again".to_owned()
    })?;
    let origin = Origin::Daemon {
        python_path: launch.options.python_path.as_deref(),
        home: launch.options.home.as_deref(),
        switch_interval: launch.options.switch_interval,
        is_service: launch.options.is_service(),
    };
    let process = match known {
        Some(process) => process,
        None => life::prepare(&settings, server::server(), mode, &origin)?,
    };
    let imports = settings.imports.as_slice().iter();
    let scripts = imports
        .map(|import| (import.script.or_empty().to_vec(), import.application_group.or_empty().to_vec()));
    Ok((process, Imports { scripts: scripts.collect(), reloading: settings.script_reloading }))
}

/// Logs when the process is to be replaced, if that is up to chance.
fn log_jitter(daemon: &Daemon) {
    let limits = &daemon.limits;
    if limits.restart_jitter == 0 || daemon.workers.is_empty() {
        return;
    }
    if limits.maximum_requests > 0 {
        let count = limits.maximum_requests;
        daemon.info(&format!("with restart-jitter=, this process is replaced after {count} requests"));
    }
    if limits.restart_interval > 0 {
        let seconds = limits.restart_interval.div_ceil(1_000);
        daemon.info(&format!("with restart-jitter=, this process is replaced after {seconds} seconds"));
    }
}

fn start_event_thread(daemon: &'static Daemon, endpoints: Endpoints, timers: Timers) -> Result<(), String> {
    spawn("wsgi-events", SMALL_STACK, move || {
        let run = AssertUnwindSafe(|| event_loop::run(daemon, endpoints, timers));
        if catch_unwind(run).is_err() {
            os::exit::now(exit::FAILED.into());
        }
    })?;
    Ok(())
}

fn create(
    launch: &launch::Daemon,
    (page, word): (Words, u8),
    scoreboard: Option<SnapshotReader>,
    reload: Reload,
    timers: &Timers,
) -> nix::Result<&'static Daemon> {
    let event = || {
        let event = EventFd::from_value_and_flags(0, EfdFlags::EFD_CLOEXEC | EfdFlags::EFD_NONBLOCK)?;
        descriptors::register(&std::os::fd::AsFd::as_fd(&event));
        nix::Result::Ok(event)
    };
    let ready = Epoll::new(EpollCreateFlags::EPOLL_CLOEXEC)?;
    descriptors::register(&ready.0);
    let daemon = Daemon {
        name: String::from_utf8_lossy(&launch.name).into_owned(),
        limits: launch.options.limits,
        is_run_once: launch.options.is_run_once(),
        chroot: launch.options.chroot.clone(),
        page,
        busy: word.into(),
        scoreboard,
        ready,
        connections: Table::default(),
        workers: (0..launch.options.threads as usize).map(Worker::new).collect(),
        crew: Crew::default(),
        phase: AtomicU8::new(Phase::Serving as u8),
        running: AtomicU32::new(0),
        solitude: Solitude::default(),
        spin: Mutex::default(),
        activity: Arc::clone(timers.activity()),
        reload,
        watchdog: Watchdog::default(),
        inbox: Mutex::default(),
        wake: event()?,
        released: event()?,
        end: event()?,
        started: os::clock::monotonic(),
    };
    daemon.ready.add(&daemon.released, workers::released())?;
    Ok(set_up(daemon))
}

impl Prepared {
    /// Serves requests until the end.
    fn run(self) {
        let (daemon, process) = (self.daemon, self.process);
        if !self.import() {
            daemon.flush();
            os::exit::now(exit::NOT_IMPORTED.into());
        }
        if descriptors::is_copy() {
            // A script has forked, and the copy has returned from it.
            return;
        }
        let mut threads = Threads::default();
        let Self { end, signals, tasks, launch, .. } = self;
        let stack = usize::try_from(launch.options.stack_size)
            .ok()
            .filter(|size| *size > 0)
            .unwrap_or_else(default_stack);
        let started = start_threads((daemon, process), stack, (signals, tasks), &mut threads);
        if let Err(text) = started {
            log::line(
                Level::Critical,
                &format!("{PROCESS_NOT_RUN}: Process group '{}': {text}", daemon.name),
            );
            os::exit::now(exit::FAILED.into());
        }
        daemon.notify(Message::Ready);
        // The event thread lives as long as the process.
        let end = end.recv().unwrap_or(Shutdown { reason: Reason::ShutdownSignal, dump_of: None });
        stop::stop(daemon, process, threads, &end);
    }

    /// Imports the scripts. Returns whether those of the predecessor could be imported.
    fn import(&self) -> bool {
        let (daemon, process) = (self.daemon, self.process);
        for (script, group) in &self.imports.scripts {
            if daemon.phase() != Phase::Serving || descriptors::is_copy() {
                return true;
            }
            let script = daemon.in_jail(script).unwrap_or(script);
            if !life::import_script(process, script, group, self.reloads(script, group))
                && !daemon.workers.is_empty()
            {
                daemon.reload.add_lacking(script, group, daemon.now());
            }
        }
        self.launch.scripts.iter().all(|script| {
            daemon.phase() != Phase::Serving
                || descriptors::is_copy()
                || life::import_again(process, script, self.reloads(&script.path, &script.application_group))
        })
    }

    /// Returns whether a script is imported again if it has changed: not if the process has it, from
    /// its template. Then a request notices the change, and a successor loads it.
    fn reloads(&self, path: &[u8], application_group: &[u8]) -> bool {
        self.imports.reloading && !self.daemon.reload.has_script(path, application_group)
    }

    /// Runs the script of a service, the only task of the process.
    fn run_script(self) {
        let (daemon, process) = (self.daemon, self.process);
        daemon.notify(Message::Ready);
        self.import();
        if !descriptors::is_copy() {
            // The threads of the script may do its work.
            stop::finish(daemon, process, Patience::without_limit());
        }
    }
}

/// Starts all threads that enter Python.
fn start_threads(
    (daemon, process): (&'static Daemon, &'static Process),
    stack: usize,
    (signals, tasks): (Receiver<Signal>, Receiver<Task>),
    threads: &mut Threads,
) -> Result<(), String> {
    let interpreters = interpreters();
    telemetry::start(process);
    stuck::start(process);
    for (index, worker) in daemon.workers.iter().enumerate() {
        let work = move || workers::work(daemon, worker);
        threads.workers.push(spawn(&format!("wsgi-{index}"), stack, work)?);
    }
    if daemon.limits.deadlock_timeout > 0 {
        let watch = move || monitor::watch(daemon, interpreters);
        threads.others.push(spawn("wsgi-watchdog", SMALL_STACK, watch)?);
    }
    // Questions to scripts have limits of their own, if requests have none.
    let perform = move || monitor::perform(daemon, &tasks);
    threads.others.push(spawn("wsgi-monitor", stack, perform)?);
    let deliver = move || monitor::deliver(daemon, interpreters, &signals);
    threads.others.push(spawn("wsgi-signals", stack, deliver)?);
    Ok(())
}

/// Returns the default stack size of a thread: the one of other programs' threads, since
/// applications may need it.
fn default_stack() -> usize {
    const LEAST: u64 = 256 << 10;
    const USUAL: u64 = 8 << 20;
    let (soft, _) = getrlimit(Resource::RLIMIT_STACK).unwrap_or((USUAL, USUAL));
    let size = if (LEAST..=64 << 20).contains(&soft) { soft } else { USUAL };
    usize::try_from(size).unwrap_or(8 << 20)
}

/// Calls `setlocale(LC_ALL)`: Python itself does that only for the character set.
fn set_locale(py: Python<'_>, name: &[u8], group: &[u8]) {
    let set = || {
        let locale = py.import(c"locale")?;
        let category = locale.attr(&py.name("LC_ALL")?)?;
        locale.attr(&py.name("setlocale")?)?.call([&category, &py.str("")?])
    };
    if let Err(raised) = set() {
        raised.clear();
        let (name, group) = (String::from_utf8_lossy(name), String::from_utf8_lossy(group));
        log::line(
            Level::Warning,
            &format!(
                "{LOCALE_NOT_SET}: The locale '{name}' of the process group '{group}' cannot be set: it is not installed. Install it \
                 (`locale -a` lists those that are), or write locale=C.UTF-8, which nearly every system has"
            ),
        );
    }
}

/// Returns the title that `ps` shows: `display-name=`, else the interpreter and the group.
pub(super) fn title(launch: &launch::Daemon) -> Vec<u8> {
    if let Some(title) = &launch.options.display_name {
        return title.to_vec();
    }
    // The title takes the place of the arguments, and a process that is forked from a template has
    // the template's.
    static PROGRAM: LazyLock<OsString> = LazyLock::new(|| std::env::args_os().next().unwrap_or_default());
    let program = &*PROGRAM;
    [program.as_encoded_bytes(), b" (wsgi:", &launch.name, b")"].concat()
}
