//! Embedded mode: Python in the Apache child.
//!
//! The parent has no part in it. The facts that a child needs are collected when it starts. Python
//! is started then, or with the first request that needs it, as the configuration says.

mod exchange;
mod host;
pub(crate) mod python_home;
mod question;

use std::ffi::c_int;
use std::os::unix::ffi::OsStrExt;
use std::sync::OnceLock;
use std::sync::atomic::{AtomicBool, Ordering};

use bridge::{Answer, Question};
use httpd::{Child, Level, Request, Server, Status};
use wsgi_core::codes::{NO_PROCESS, PYTHON_NOT_RUNNING, PYTHON_NOT_STARTED};
use wsgi_core::config::{Effective, PythonStart};
use wsgi_core::health::Obstacle;
use wsgi_core::ledger::Cause;

use crate::request_body::RequestBody;
use crate::settings::{self, HostProcess, ServerFacts};
use crate::{Wsgi, installation, ledger, log};
use host::Host;
use python_home::Installed;

/// The state of embedded mode in a child process.
struct ChildPython {
    server: &'static Server,
    facts: ServerFacts,
    host: OnceLock<Option<Host>>,
}

// Set in a child only: the parent's statics survive its reading of the configuration again.
static CHILD_PYTHON: OnceLock<ChildPython> = OnceLock::new();

/// Prepares a child, and starts Python if the configuration wants that now.
pub(crate) fn child_init(child: &Child<'_>) {
    let server = child.server();
    let python = CHILD_PYTHON.get_or_init(|| ChildPython {
        server,
        facts: ServerFacts::new(server, child.info()),
        host: OnceLock::new(),
    });
    child.at_exit(stop);
    if python.facts.is_single_process {
        os::main_thread::ignore_sizes_of_terminal();
    }
    if python_start(python.server) == PythonStart::AtChildStart {
        if python.facts.is_single_process && !python.facts.mpm.is_threaded {
            // Apache blocks signals meanwhile, since their handlers could end a child that is not
            // ready. Here they only note that it is to end.
            IS_STARTING.store(true, Ordering::Release);
            os::main_thread::with_unblocked(&[&ENDING_SIGNALS[..], &[INTERRUPT]].concat(), || python.host());
            IS_STARTING.store(false, Ordering::Release);
        } else {
            python.host();
        }
    }
}

/// Serves a request through the Python of this process.
pub(crate) fn serve(
    request: &Request,
    settings: &Effective<'_>,
    description: &bridge::Request<'_>,
    body: RequestBody<'_>,
) -> Status {
    let Some(host) = host(request) else {
        body.entry().reject(Cause::NotRunning);
        return Status::Http(500);
    };
    exchange::run(host, request, settings, description, body)
}

/// Asks a script through the Python of this process.
pub(crate) fn ask(request: &Request, question: &Question<'_>) -> Answer {
    host(request).map_or(Answer::Failed, |host| question::ask(host, request, question))
}

/// Returns why this process is not ready to run scripts, if it is to.
pub(crate) fn obstacle() -> Option<Obstacle> {
    let python = CHILD_PYTHON.get()?;
    match python.host.get() {
        Some(Some(host)) => host.lacks_import().then_some(Obstacle::NotImportedHere),
        // The first request starts it.
        None if python_start(python.server) != PythonStart::AtChildStart => None,
        Some(None) if python_start(python.server) == PythonStart::Never => None,
        _ => Some(Obstacle::NoPython),
    }
}

/// Returns the host of this process; logs why if there is none.
fn host(request: &Request) -> Option<&'static Host> {
    let host = CHILD_PYTHON.get().and_then(ChildPython::host);
    if host.is_none() {
        let is_never_started = python_start(request.server()) == PythonStart::Never;
        let text = if is_never_started {
            "Python is not running in this process: WSGIRestrictEmbedded On is in force, and nothing in the server's \
             configuration needs Python here. A script that only .htaccess names does not start it: name it in a \
             <Directory> section"
        } else {
            "Python is not running in this process. The error log says why, where it should have started"
        };
        log::message(request, PYTHON_NOT_RUNNING, text);
    }
    host
}

impl ChildPython {
    /// Returns the host, and starts it if that has not been tried. Returns `None` if it could not
    /// be started, or must not.
    fn host(&self) -> Option<&Host> {
        let start = || match python_start(self.server) {
            PythonStart::Never => None,
            PythonStart::AtChildStart | PythonStart::AtFirstRequest => match self.start() {
                Ok(host) => Some(host),
                Err(text) => {
                    ledger::on_failed_start(&text);
                    log::child(Level::Crit, text);
                    None
                }
            },
        };
        self.host.get_or_init(start).as_ref()
    }

    fn start(&self) -> Result<Host, String> {
        let Some(global) = self.server.global::<Wsgi>() else {
            return Err(format!("{NO_PROCESS}: the module has no configuration"));
        };
        if let Some(problem) = global.python_home.as_deref().and_then(python_home::home_problem) {
            log::child(Level::Warn, problem);
        }
        let installation = installation::current()?;
        let hosts: Vec<_> = installation.host_names().collect();
        let installed =
            Installed { directory: installation.directory(), hosts: &hosts, python: installation.python() };
        let home = python_home::find(installed, global.python_home.as_deref())?;
        let file = installation.host(&home.host).map_err(|text| format!("{PYTHON_NOT_STARTED}: {text}"))?;
        let host = Host::load(&home, file)?;
        log::child(
            Level::Info,
            format!("Starting Python {} ({}) in this process", home.version, home.program.display()),
        );
        if self.facts.is_single_process && !self.facts.mpm.is_threaded {
            os::main_thread::interrupt_with(&ENDING_SIGNALS, INTERRUPT, is_at_work_here);
        } else if !self.facts.mpm.is_threaded {
            os::main_thread::forward_signals(&ENDING_SIGNALS, libc::SIGUSR1, exchange::is_running_here);
        }
        let process =
            HostProcess::Child { program: home.program.as_os_str().as_bytes(), home: home.home.as_deref() };
        settings::with(global, &self.facts, &installation, &process, |settings| host.start(settings))?;
        Ok(host)
    }
}

/// Ends Python when the child ends.
fn stop() {
    if let Some(host) = CHILD_PYTHON.get().and_then(|python| python.host.get()).and_then(Option::as_ref) {
        // The prefork MPM ends a child within a signal handler, on top of whatever its thread was
        // doing. On top of an application that still runs after the first signal, Python can do
        // nothing.
        os::exit::skip_handlers_if(is_at_work);
        if !exchange::is_running_here() {
            host.stop(None, GRACE);
        }
    }
}

/// Returns whether threads of applications are left, or a request that the signal to end has
/// interrupted.
fn is_at_work() -> bool {
    exchange::is_running_here() || os::exit::has_other_threads()
}

/// Returns whether Python runs on the main thread: a request, or the scripts that are imported at
/// the start.
fn is_at_work_here() -> bool {
    exchange::is_running_here() || IS_STARTING.load(Ordering::Acquire)
}

/// True while Python starts with its process.
static IS_STARTING: AtomicBool = AtomicBool::new(false);

/// The signals whose handlers end a child of the prefork MPM. Threads of applications cannot be
/// kept from receiving them, even inside Python.
///
/// The handler of SIGUSR1 only notes that the child is to end after its request, when Python can be
/// ended. While an application runs, it replaces the other handlers once. When Apache stops or
/// restarts, it sends another signal some seconds later.
///
/// Where Apache is a single process, all of them only note that it is to end. Whoever debugs an
/// application there means it, too: [`INTERRUPT`] follows.
const ENDING_SIGNALS: [c_int; 4] = [libc::SIGTERM, libc::SIGHUP, libc::SIGINT, libc::SIGUSR1];

/// The signal that interrupts Python; see `bootstrap.py` of the host.
const INTERRUPT: c_int = libc::SIGUSR2;

/// The time for which running requests are waited for, in milliseconds. Apache kills children ten
/// seconds after it has asked them to end.
const GRACE: u32 = 3_000;

fn python_start(server: &Server) -> PythonStart {
    server.global::<Wsgi>().map_or(PythonStart::Never, wsgi_core::config::Global::python_start)
}
