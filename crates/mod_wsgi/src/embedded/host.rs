//! A loaded host: libpython, the library, and its table of functions.

#![allow(unsafe_code, reason = "loads libraries and calls their functions")]

use std::ffi::{c_int, c_void};

use bridge::{
    Answer, Bytes, ENTRY, Entry, Exchange, Outcome, Question, Request, Server, Settings, Sink, Tag, Times,
    checked, reason_number,
};
use httpd::{Level, guard};
use os::library::{Library, Symbols};
use wsgi_core::lifecycle::Reason;
use wsgi_core::wire::exit;

use super::python_home::PythonHome;
use crate::installation::InstalledFile;
use crate::{Wsgi, child, ledger, log};
use wsgi_core::codes::{NO_PROCESS, PYTHON_NOT_STARTED};

/// A host that this process has loaded.
pub(super) struct Host {
    table: &'static bridge::Host,
}

/// The functions of the server that a host can call outside requests.
static SERVER: Server =
    Server { tag: Tag::of::<Server>(), log: write_log, is_logged, scoreboard, import_failed, stuck };

impl Host {
    /// Loads libpython and the host.
    pub(super) fn load(home: &PythonHome, file: &InstalledFile) -> Result<Self, String> {
        // SAFETY: libpython's initialisers have no conditions, and neither has a host's.
        let library = unsafe { Library::open(&home.library, Symbols::Global) };
        library.map_err(|error| {
            format!(
                "{PYTHON_NOT_STARTED}: the shared library of Python {} cannot be loaded: {error}. Embedded mode needs it: install it \
                 (Debian, Ubuntu: libpython{}), or build that Python with --enable-shared",
                home.version, home.version
            )
        })?;
        // SAFETY: a host's initialisers have no conditions.
        let host = unsafe { Library::open(&file.present_path(), Symbols::Local) }.map_err(|error| {
            format!("{PYTHON_NOT_STARTED}: the host cannot be loaded: {error}. {}", rebuild(home))
        })?;
        let Some(entry) = host.symbol(ENTRY) else {
            return Err(format!(
                "{PYTHON_NOT_STARTED}: {} is no host of mod_wsgi. {}",
                file.path().display(),
                rebuild(home)
            ));
        };
        // SAFETY: the symbol of this name is such a function; its table is static, and begins with
        // its tag.
        let table = unsafe { (std::mem::transmute::<*mut c_void, Entry>(entry.as_ptr()))() };
        // SAFETY: such a function returns a static table that begins with its tag, and the library
        // stays loaded.
        match unsafe { checked(table) } {
            Ok(table) => Ok(Self { table }),
            Err(other) => {
                Err(format!("{PYTHON_NOT_STARTED}: {} {other}. {}", file.path().display(), rebuild(home)))
            }
        }
    }

    /// Starts Python.
    pub(super) fn start(&self, settings: &Settings<'_>) -> Result<(), String> {
        // SAFETY: both are valid for the call, and the server for ever.
        let status = returned(unsafe { (self.table.start)(settings, &raw const SERVER) });
        if status < 0 {
            return Err(format!(
                "{NO_PROCESS}: Python could not be started in this process; requests to it get status 500"
            ));
        }
        Ok(())
    }

    /// Has the host serve a request. Returns the outcome, if it has returned a valid one, and the
    /// parts of the time that it has measured.
    pub(super) fn serve(&self, request: &Request<'_>, exchange: Exchange<'_>) -> (Option<Outcome>, Times) {
        // SAFETY: the host was started.
        match returned(unsafe { self.table.serve(request, exchange) }) {
            Some((outcome, times)) => (Outcome::parse(outcome), times),
            None => (None, Times::NONE),
        }
    }

    /// Has the host ask a script.
    pub(super) fn ask(&self, question: &Question<'_>, exchange: Exchange<'_>) -> Answer {
        // SAFETY: the host was started.
        returned(unsafe { self.table.ask(question, exchange) })
    }

    /// Returns whether a script that the configuration names is not imported.
    pub(super) fn lacks_import(&self) -> bool {
        // SAFETY: it has no condition.
        unsafe { (self.table.lacks_import)() }
    }

    /// Ends Python.
    pub(super) fn stop(&self, reason: Option<Reason>, grace: u32) {
        // SAFETY: called once, when the child ends.
        unsafe { (self.table.stop)(reason_number(reason), grace) }
    }
}

/// Returns the result of code that may have run an application. A copy of this process, which an application
/// has forked, does not return from here: it would go on as a child that Apache does not know, answer
/// requests, and hold the server's sockets when the server has ended.
fn returned<R>(result: R) -> R {
    if os::fork::is_copy() {
        log::child(Level::Warn, exit::COPY_RETURNED);
        os::exit::now(exit::FAILED.into());
    }
    result
}

fn rebuild(home: &PythonHome) -> String {
    format!("Build it again with `make host PYTHON={}`", home.program.display())
}

unsafe extern "C" fn write_log(level: c_int, line: Bytes<'_>) {
    guard("the log", || log::child(Level::from_number(level), line.or_empty()), |_| ());
}

unsafe extern "C" fn import_failed(text: Bytes<'_>, detail: Bytes<'_>) {
    guard("the ledger", || ledger::on_failed_import(text.or_empty(), detail.or_empty()), |_| ());
}

unsafe extern "C" fn stuck(count: u32, text: Bytes<'_>, detail: Bytes<'_>) {
    guard("the ledger", || ledger::on_stuck(count, text.or_empty(), detail.or_empty()), |_| ());
}

unsafe extern "C" fn is_logged(level: c_int) -> bool {
    guard("the log", || log::is_enabled_for_child(Level::from_number(level)), |_| true)
}

unsafe extern "C" fn scoreboard(mut sink: Sink<'_>) {
    guard("the scoreboard", || append_scoreboard(&mut sink), |line| log::child(Level::Crit, line));
}

/// Appends the scoreboard, with `WSGIServerMetrics On`. A thread that calls this at the end of the
/// child still finds it: as long as there are other threads, the child exits without dropping the
/// scoreboard (see `embedded::stop`).
fn append_scoreboard(sink: &mut Sink<'_>) {
    let global = child::server().and_then(|server| server.global::<Wsgi>());
    if global.is_some_and(wsgi_core::config::Global::serves_metrics) {
        let mut buffer = Vec::new();
        crate::scoreboard::encode(&mut buffer);
        sink.put(&buffer);
    }
}
