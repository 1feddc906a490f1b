//! The life of Python in the process: start, imports, end.

use std::time::{Duration, Instant};

use bridge::{Level, Server, Settings};
use python::Python;
use wsgi_core::codes::{IMPORT_WITHOUT_INTERPRETER, PYTHON_NOT_STARTED, THREAD_LOST};
use wsgi_core::lifecycle::Reason;
use wsgi_core::wire::control::Script;

use crate::dispatch::interpreters;
use crate::interpreters::Patience;
use crate::lacking;
use crate::mode::{Embedded, Mode};
use crate::process::{self, Process, log, thread_id};
use crate::questions;
use crate::scripts;
use crate::settings::{Origin, ProcessSettings, VERSION_OF_PYTHON};
use crate::stuck;
use crate::telemetry;

/// See [`bridge::Host::start`].
pub(crate) fn start(settings: &Settings<'_>, server: Server) -> Result<(), String> {
    let process = prepare(settings, server, &Embedded, &Origin::Server)?;
    let free_threading = process.settings.free_threading;
    log(Level::Info, "Initializing Python.");
    interpreters().start(process, &configuration(settings, free_threading)).map_err(|text| {
        format!("{PYTHON_NOT_STARTED}: Python cannot be initialised: {text}. {}", start_hint(settings))
    })?;
    thread_id(process);
    for import in settings.imports.as_slice() {
        let (script, group) = (import.script.or_empty(), import.application_group.or_empty());
        if !import_script(process, script, group, settings.script_reloading) {
            lacking::add(script, group);
        }
    }
    telemetry::start(process);
    stuck::start(process);
    Ok(())
}

/// Starts like [`start`], in a Python that runs already and has called into here. `work` runs until
/// the end, detached.
pub(crate) fn adopt<R: Send>(
    process: &'static Process,
    py: Python<'_>,
    work: impl FnOnce(Result<(), String>) -> R + Send,
) -> R {
    thread_id(process);
    interpreters().adopt(process, py, work)
}

/// Sets up the process before Python starts.
pub(crate) fn prepare(
    settings: &Settings<'_>,
    server: Server,
    mode: &'static dyn Mode,
    origin: &Origin<'_>,
) -> Result<&'static Process, String> {
    let process = process::set_up(ProcessSettings::new(settings, origin), mode, server)?;
    python::on_thread_ended(report_lost_thread);
    for diagnostic in
        wsgi_core::interpreter::version_diagnostics(process.settings.blocks.iter(), VERSION_OF_PYTHON)
    {
        log(Level::Warning, &diagnostic.to_string());
    }
    Ok(process)
}

/// Logs that an application has ended the thread which runs it.
fn report_lost_thread() {
    let Some(process) = process::process() else { return };
    let consequence = process.mode.thread_lost();
    let text = format!(
        "{THREAD_LOST}: Code of an application, most likely of an extension module, has ended a thread that is the server's \
         (pthread_exit): its request is lost, and {consequence}."
    );
    log(Level::Critical, &text);
}

/// Imports a script that the predecessor had loaded. Returns whether it can replace the
/// predecessor's; logs why if not.
pub(crate) fn import_again(process: &'static Process, script: &Script, reloading: bool) -> bool {
    let (path, group) = (&script.path, &script.application_group);
    import_script(process, path, group, reloading)
        // The interpreter has just been used, so it exists.
        && interpreters().get(process, group).is_ok_and(|interpreter| {
            scripts::has_callables(interpreter, path, &script.callables)
        })
}

/// Imports a script. Returns whether that worked; logs why if not.
pub(crate) fn import_script(process: &'static Process, script: &[u8], group: &[u8], reloading: bool) -> bool {
    match interpreters().get(process, group) {
        Ok(interpreter) => scripts::preload(interpreter, script, reloading),
        Err(text) => {
            let script = String::from_utf8_lossy(script);
            log(
                Level::Critical,
                &format!(
                    "{IMPORT_WITHOUT_INTERPRETER}: The script '{script}' is not imported, its interpreter is not available: {text}"
                ),
            );
            false
        }
    }
}

/// See [`bridge::Host::stop`].
pub(crate) fn stop(reason: Option<Reason>, grace: u32) {
    let Some(process) = process::process() else { return };
    if process.set_stopping() || !interpreters().is_started() {
        return;
    }
    let longest = if process.settings.single_process { LONGEST_SINGLE_END } else { LONGEST_END };
    let limit = os::thread::PeriodicThread::start("wsgi-end", longest, move || {
        let seconds = longest.as_secs();
        let text = format!(
            "Python has not ended within {seconds} s: the process exits without that. Callbacks given to \
             mod_wsgi.subscribe_shutdown() and atexit functions have to return."
        );
        log(Level::Warning, &text);
        telemetry::stop(false);
        os::exit::now(0);
    });
    end(process, reason, Duration::from_millis(grace.into()));
    python::leave_alone(Duration::ZERO);
    if let Ok(limit) = limit {
        limit.end(Duration::from_secs(1));
    }
}

/// The longest time for the end of Python in a child of the server. A server that stops kills its
/// children after some ten seconds; after a graceful restart it waits without limit, and a child
/// that stays takes the place of another.
const LONGEST_END: Duration = Duration::from_secs(20);

/// The same where the server is a single process, in which someone debugs: reports of large
/// applications take their time, and nothing waits for the end.
const LONGEST_SINGLE_END: Duration = Duration::from_secs(600);

/// Tells applications, lets requests end and then threads, each for `grace` at most, and ends the
/// interpreters.
fn end(process: &'static Process, reason: Option<Reason>, grace: Duration) {
    telemetry::stopping(reason);
    interpreters().publish_stopping(reason);
    questions::close();
    stuck::stop();
    let deadline = Instant::now() + grace;
    while process.requests.active() + process.questions.active() > 0 {
        if Instant::now() >= deadline {
            log(Level::Warning, "Requests are still running: the Python interpreters are not finalised.");
            telemetry::stop(false);
            return;
        }
        std::thread::sleep(Duration::from_millis(5));
    }
    telemetry::stop(true);
    if process.settings.destroy_interpreters {
        interpreters().end(Patience::until(Instant::now() + grace));
    }
}

/// Returns the configuration for CPython.
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

/// Returns the place where Python was looked for, and advice.
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
