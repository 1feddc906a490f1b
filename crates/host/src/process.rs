//! The process: its settings, its interpreters, start and stop.

use std::cell::Cell;
use std::sync::OnceLock;
use std::sync::atomic::{AtomicBool, AtomicU32, AtomicU64, Ordering};
use std::time::{Duration, Instant, SystemTime};

use bridge::{Exchange, Lease, Level, Request, Server, Settings};
use python::Python;
use wsgi_core::wire::control::Script;

use crate::interpreters::{Interpreters, Patience, VERSION_OF_PYTHON};
use crate::state::Interpreter;
use crate::{request, scripts};

/// What was configured, kept for the life of the process.
pub(crate) struct Process {
    pub(crate) server: Server,
    pub(crate) settings: Kept,
    pub(crate) interpreters: Interpreters,
    /// When Python was started.
    pub(crate) started: (Instant, SystemTime),
    pub(crate) requests: Requests,
    stopping: AtomicBool,
    /// The id of the next thread that serves a request.
    next_thread: AtomicU32,
}

/// The parts of [`Settings`] that are needed later, owned.
pub(crate) struct Kept {
    pub(crate) process_group: Vec<u8>,
    pub(crate) python_eggs: Option<Vec<u8>>,
    pub(crate) blocks: Vec<wsgi_core::interpreter::Block>,
    pub(crate) server_version: [u32; 3],
    pub(crate) server_description: String,
    pub(crate) server_built: String,
    pub(crate) mpm_name: String,
    pub(crate) processes: u32,
    pub(crate) threads: u32,
    pub(crate) mpm_processes: u32,
    pub(crate) mpm_threads: u32,
    pub(crate) case_sensitive: bool,
    pub(crate) destroy_interpreters: bool,
    pub(crate) multithread: bool,
    pub(crate) multiprocess: bool,
    pub(crate) run_once: bool,
    pub(crate) single_process: bool,
    pub(crate) free_threading: bool,
    /// `home=` of a daemon process.
    pub(crate) home: Option<Vec<u8>>,
    /// A script is all that runs in the process.
    pub(crate) is_service: bool,
}

/// The requests inside [`handle`], in the low bits, and how many have left it, in the high bits: so that one operation
/// both ends a request and counts it.
#[derive(Default)]
pub(crate) struct Requests(AtomicU64);

impl Requests {
    /// More bits than any server has threads.
    const BITS: u32 = 20;
    const LEFT: u64 = 1 << Self::BITS;

    /// How many are inside.
    pub(crate) fn active(&self) -> u64 {
        self.0.load(Ordering::Acquire) % Self::LEFT
    }

    /// How many have left.
    pub(crate) fn ended(&self) -> u64 {
        self.0.load(Ordering::Relaxed) / Self::LEFT
    }

    fn enter(&self) {
        self.0.fetch_add(1, Ordering::SeqCst);
    }

    fn leave(&self) {
        self.0.fetch_add(Self::LEFT - 1, Ordering::Release);
    }
}

/// What [`handle`] returns in a daemon process for a request that has to wait: its script has changed. Nothing has
/// happened yet.
pub(crate) const HELD: u32 = 2;

/// What [`handle`] returns in a daemon process for a request whose script is not imported there any more: see
/// [`crate::daemon::reload`]. Nothing of the application has run.
pub(crate) const REFUSED: u32 = 3;

static PROCESS: OnceLock<Process> = OnceLock::new();

/// The process, once [`start`] has begun to set it up.
pub(crate) fn process() -> Option<&'static Process> {
    PROCESS.get()
}

/// Logs a line without a request's context; before the process is set up there is nowhere to log to.
pub(crate) fn log(level: Level, line: &str) {
    if let Some(process) = process() {
        process.server.log(level, line.as_bytes());
    }
}

/// Where the process comes from.
pub(crate) enum Origin<'a> {
    /// The server, which has loaded the host.
    Server,
    /// A Python that runs already, as a process of a group.
    Daemon {
        /// `python-path=`
        python_path: Option<&'a [u8]>,
        /// `home=`
        home: Option<&'a [u8]>,
        /// `switch-interval=` in seconds; 0: unset.
        switch_interval: f64,
        /// A script is all that runs.
        is_service: bool,
    },
}

/// See [`bridge::Host::start`].
pub(crate) fn start(settings: &Settings<'_>, server: Server) -> Result<(), String> {
    let process = prepare(settings, server, &Origin::Server)?;
    let free_threading = process.settings.free_threading;
    log(Level::Info, "Initializing Python.");
    process.interpreters.start(process, &configuration(settings, free_threading)).map_err(|text| {
        format!("WSGI0036: Python can not be initialised: {text}. {}", start_hint(settings))
    })?;
    thread_id(process);
    for import in settings.imports.as_slice() {
        process.import(
            import.script.or_empty(),
            import.application_group.or_empty(),
            settings.script_reloading,
        );
    }
    Ok(())
}

/// As [`start`], in a Python that runs already and has called into here: `work` is done in between, detached.
pub(crate) fn adopt<R: Send>(
    process: &'static Process,
    py: Python<'_>,
    work: impl FnOnce(Result<(), String>) -> R + Send,
) -> R {
    thread_id(process);
    process.interpreters.adopt(process, py, work)
}

/// Sets up what is known before there is Python.
pub(crate) fn prepare(
    settings: &Settings<'_>,
    server: Server,
    origin: &Origin<'_>,
) -> Result<&'static Process, String> {
    let process = Process {
        server,
        settings: Kept::new(settings, origin),
        interpreters: Interpreters::default(),
        started: (Instant::now(), SystemTime::now()),
        requests: Requests::default(),
        stopping: AtomicBool::new(false),
        next_thread: AtomicU32::new(0),
    };
    if PROCESS.set(process).is_err() {
        return Err("Python can be started only once in a process".to_owned());
    }
    let process = PROCESS.get().ok_or("the process is not set up")?;
    for notice in wsgi_core::interpreter::version_notices(process.settings.blocks.iter(), VERSION_OF_PYTHON) {
        log(Level::Warn, &notice.text);
    }
    Ok(process)
}

impl Process {
    /// Imports a script that a predecessor had loaded; whether it is fit to take its place, or else has been logged.
    pub(crate) fn import_again(&'static self, script: &Script, reloading: bool) -> bool {
        let (path, group) = (&script.path, &script.application_group);
        self.import(path, group, reloading)
            // It has just been used, so it is there.
            && self.interpreters.get(self, group).is_ok_and(|interpreter| {
                scripts::has_callables(interpreter, path, &script.callables)
            })
    }

    /// Imports a script; whether that worked, or else has been logged.
    pub(crate) fn import(&'static self, script: &[u8], group: &[u8], reloading: bool) -> bool {
        match self.interpreters.get(self, group) {
            Ok(interpreter) => scripts::preload(interpreter, script, reloading),
            Err(text) => {
                let script = String::from_utf8_lossy(script);
                log(
                    Level::Crit,
                    &format!(
                        "WSGI0040: The script '{script}' is not imported, its interpreter is not available: {text}"
                    ),
                );
                false
            }
        }
    }

    /// Refuses requests from now on.
    pub(crate) fn refuse(&self) {
        self.stopping.store(true, Ordering::SeqCst);
    }
}

/// See [`bridge::Kind::Wsgi`]; the result is the outcome.
pub(crate) fn handle(request: &Request<'_>, exchange: Exchange<'_>) -> u32 {
    /// Counts a request, also when it panics.
    struct Active<'a>(&'a Requests);
    impl Drop for Active<'_> {
        fn drop(&mut self) {
            self.0.leave();
        }
    }
    let Some(process) = process() else {
        exchange.log(Level::Error, b"WSGI0210: Python has not been initialised in this process.");
        return 500;
    };
    process.requests.enter();
    let _active = Active(&process.requests);
    if process.stopping.load(Ordering::SeqCst) {
        return 503;
    }
    let group = request.facts.application_group.or_empty();
    match interpreter(process, group) {
        Ok(interpreter) => Lease::lend(exchange, |lease| request::run(interpreter, request, lease)),
        Err(text) => {
            let group = String::from_utf8_lossy(group);
            exchange.log(
                Level::Error,
                format!("WSGI0087: The interpreter '{group}' is not available for this request: {text}")
                    .as_bytes(),
            );
            500
        }
    }
}

/// See [`bridge::Host::stop`].
pub(crate) fn stop(reason: &[u8], grace: u32) {
    let Some(process) = process() else { return };
    if process.stopping.swap(true, Ordering::SeqCst) || !process.interpreters.is_started() {
        return;
    }
    let limit = os::thread::Repeated::start("wsgi-end", LONGEST_END, || {
        let seconds = LONGEST_END.as_secs();
        let text = format!(
            "Python has not ended within {seconds} s: the process leaves without that. Callbacks given to \
             mod_wsgi.subscribe_shutdown() and atexit functions have to return."
        );
        log(Level::Warn, &text);
        os::exit::now(0);
    });
    end(process, reason, Duration::from_millis(grace.into()));
    python::leave_alone(Duration::ZERO);
    if let Ok(limit) = limit {
        limit.end(Duration::from_secs(1));
    }
}

/// How long the end of Python may take in a process of the server's. When the server stops, it kills processes after some
/// ten seconds; after a graceful restart it waits without limit, and a process that stays takes the place of another.
const LONGEST_END: Duration = Duration::from_secs(20);

/// Tells applications, lets requests end and then threads, each for `grace` at most, and ends the interpreters.
fn end(process: &'static Process, reason: &[u8], grace: Duration) {
    process.interpreters.publish_stopping(reason);
    let deadline = Instant::now() + grace;
    while process.requests.active() > 0 {
        if Instant::now() >= deadline {
            log(Level::Warn, "Requests are still running: the Python interpreters are not finalised.");
            return;
        }
        std::thread::sleep(Duration::from_millis(5));
    }
    if process.settings.destroy_interpreters {
        process.interpreters.end(Patience::until(Instant::now() + grace));
    }
}

/// The interpreter of an application group. A thread that stays with one group takes no lock.
fn interpreter(process: &'static Process, group: &[u8]) -> Result<&'static Interpreter, String> {
    thread_local! {
        static LAST: Cell<Option<(Vec<u8>, &'static Interpreter)>> = const { Cell::new(None) };
    }
    let (name, interpreter) = match LAST.take() {
        Some((name, interpreter)) if name == group => (name, interpreter),
        _ => (group.to_owned(), process.interpreters.get(process, group)?),
    };
    LAST.set(Some((name, interpreter)));
    Ok(interpreter)
}

/// The id of this thread among those that serve requests: 0 started Python.
pub(crate) fn thread_id(process: &Process) -> u32 {
    thread_local! {
        static ID: std::cell::Cell<Option<u32>> = const { std::cell::Cell::new(None) };
    }
    ID.get().unwrap_or_else(|| {
        let id = process.next_thread.fetch_add(1, Ordering::Relaxed);
        ID.set(Some(id));
        id
    })
}

/// How many threads have an id.
pub(crate) fn thread_ids(process: &Process) -> u32 {
    process.next_thread.load(Ordering::Relaxed)
}

/// What CPython needs to know.
fn configuration(settings: &Settings<'_>, free_threading: bool) -> python::Config {
    python::Config {
        program: settings.program.get().map(<[u8]>::to_vec),
        home: settings.home.get().map(<[u8]>::to_vec),
        arguments: vec![b"mod_wsgi".to_vec()],
        warnings: settings.warnings.as_slice().iter().map(|filter| filter.or_empty().to_vec()).collect(),
        optimize: settings.optimize,
        hash_seed: u32::try_from(settings.hash_seed).ok(),
        dont_write_bytecode: settings.dont_write_bytecode,
        free_threading,
    }
}

/// Where Python was looked for, and what to check.
fn start_hint(settings: &Settings<'_>) -> String {
    if let Some(home) = settings.home.get() {
        let home = String::from_utf8_lossy(home);
        format!("Check that WSGIPythonHome '{home}' is the prefix of a complete Python {}.", version())
    } else if let Some(program) = settings.program.get() {
        let program = String::from_utf8_lossy(program);
        format!(
            "Check that '{program}' is a Python {} that the server's user can read, and WSGIPythonHome.",
            version()
        )
    } else {
        format!("Set WSGIPythonHome to the prefix or virtual environment of a Python {}.", version())
    }
}

fn version() -> String {
    let (major, minor) = python::VERSION;
    format!("{major}.{minor}")
}

impl Kept {
    fn new(settings: &Settings<'_>, origin: &Origin<'_>) -> Self {
        let mut blocks: Vec<_> = settings.interpreters.as_slice().iter().map(block).collect();
        let (mut daemon_home, mut service) = (None, false);
        if let Origin::Daemon { python_path, home, switch_interval, is_service } = *origin {
            // What is configured for a group takes the place of what is configured for the server.
            if let Some(base) = blocks.first_mut() {
                base.python_path = python_path.map(Box::from);
                if switch_interval > 0.0 {
                    base.switch_interval = Some(switch_interval);
                }
                if is_service {
                    base.restrict_signal = Some(false);
                }
            }
            (daemon_home, service) = (home.map(<[u8]>::to_vec), is_service);
        }
        let process_group = settings.process_group.or_empty().to_vec();
        // On builds with the lock the directive has no effect at all.
        let free_threading =
            wsgi_core::interpreter::is_free_threaded(blocks.iter(), &process_group, VERSION_OF_PYTHON);
        Self {
            process_group,
            python_eggs: settings.python_eggs.get().map(<[u8]>::to_vec),
            blocks,
            server_version: settings.server_version,
            server_description: settings.server_description.to_text(),
            server_built: settings.server_built.to_text(),
            mpm_name: settings.mpm_name.to_text(),
            processes: settings.processes,
            threads: settings.threads,
            mpm_processes: settings.mpm_processes,
            mpm_threads: settings.mpm_threads,
            case_sensitive: settings.case_sensitive,
            destroy_interpreters: settings.destroy_interpreters,
            multithread: settings.multithread,
            multiprocess: settings.multiprocess,
            run_once: settings.run_once,
            single_process: settings.single_process,
            free_threading,
            home: daemon_home,
            is_service: service,
        }
    }
}

/// One block of interpreter options, owned.
fn block(options: &bridge::InterpreterOptions<'_>) -> wsgi_core::interpreter::Block {
    let owned = |bytes: bridge::Bytes<'_>| bytes.get().map(Box::from);
    wsgi_core::interpreter::Block {
        process_group: owned(options.process_group),
        application_group: owned(options.application_group),
        python_path: owned(options.python_path),
        switch_interval: (options.switch_interval > 0.0).then_some(options.switch_interval),
        per_interpreter_gil: bridge::from_tristate(options.per_interpreter_gil),
        free_threading: bridge::from_tristate(options.free_threading),
        restrict_stdin: bridge::from_tristate(options.restrict_stdin),
        restrict_stdout: bridge::from_tristate(options.restrict_stdout),
        restrict_signal: bridge::from_tristate(options.restrict_signal),
    }
}
