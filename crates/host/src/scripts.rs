//! Scripts: loaded on first use, looked up by path, replaced when they change.

use std::ffi::CString;
use std::sync::Arc;

use bridge::{Cgi, Lease, Level, RequestFacts, flag};
use python::{Exception, Object, Python, Result};

use crate::daemon::reload::{Prospect, Verdict};
use crate::daemon::{self, reload};
use crate::loading::Loading;
use crate::process;
use crate::report;
use crate::script_file::{modified, read};
use crate::state::{Interpreter, State, Thread};

/// Why there is no script to run.
pub(crate) enum NotLoaded {
    /// It can not be loaded, which has been logged.
    Failed,
    /// As above, and nothing of it has run: its import failed before, and is not tried again in this process.
    Refused,
    /// It is not known yet whether a successor of the process can load it, or load it again.
    Waits,
}

/// The most that is kept of the text of an exception, in characters.
const LONGEST_CAUSE: usize = 300;

/// A script's module.
enum Found {
    Missing,
    Current(Object),
    /// It needs to be loaded again.
    Changed(Object),
}

/// The module of a request's script: loaded if it is not, loaded again if it has changed.
pub(crate) fn module(
    py: Python<'_>,
    state: &State,
    thread: &Thread,
    facts: &RequestFacts<'_>,
    lease: &Lease,
) -> std::result::Result<Object, NotLoaded> {
    let path = facts.script.or_empty();
    let found = module_name(py, thread, path).and_then(|name| {
        let check = facts.has(flag::SCRIPT_RELOADING).then_some(Check {
            mtime: facts.script_mtime,
            resource: facts.variable(Cgi::ScriptFilename).or_empty(),
        });
        current(py, state, &name, path, check).map(|module| (name, module))
    });
    match found {
        Ok((_, Found::Current(module))) => Ok(module),
        Ok((_, Found::Changed(module))) if daemon::daemon().is_some() => unchanged(py, module, path, lease),
        Ok((name, Found::Missing | Found::Changed(_))) => {
            let resource = facts.variable(Cgi::ScriptFilename).or_empty();
            let check = facts.has(flag::SCRIPT_RELOADING).then_some(Check { mtime: 0, resource });
            load(py, state, &name, path, check, Audience::Request(lease))
        }
        Err(raised) => {
            let exception = raised.take(py);
            report::in_request(py, state, lease, path, &exception);
            Err(NotLoaded::Failed)
        }
    }
}

/// What a daemon process does with a changed script: it can only be loaded by another process, see [`daemon::reload`].
fn unchanged(
    py: Python<'_>,
    module: Object,
    path: &[u8],
    lease: &Lease,
) -> std::result::Result<Object, NotLoaded> {
    match py.detach(|| reload::changed(path, modified(path))) {
        Verdict::Hold => Err(NotLoaded::Waits),
        Verdict::Run(warning) => {
            if let Some(warning) = warning {
                lease.with(|exchange| exchange.log(Level::Warn, warning.as_bytes()));
            }
            Ok(module)
        }
    }
}

/// Loads a script when the process starts; whether that worked, or else has been logged.
pub(crate) fn preload(interpreter: &'static Interpreter, path: &[u8], reloading: bool) -> bool {
    interpreter.attach(|py, state, thread| {
        let check = reloading.then_some(Check { mtime: 0, resource: path });
        let found = module_name(py, thread, path)
            .and_then(|name| current(py, state, &name, path, check).map(|module| (name, module)));
        match found {
            Ok((_, Found::Current(_))) => true,
            Ok((name, _)) => load(py, state, &name, path, check, Audience::Server).is_ok(),
            Err(raised) => {
                report::outside(py, state, raised, "WSGI0110: A script can not be imported");
                false
            }
        }
    })
}

/// Whether a script that has been imported has all these callables; the first that it lacks is logged.
pub(crate) fn has_callables(interpreter: &'static Interpreter, path: &[u8], callables: &[Box<[u8]>]) -> bool {
    interpreter.attach(|py, state, thread| {
        let lacks = || -> Result<Option<String>> {
            let name = module_name(py, thread, path)?;
            let module = py.modules().dict_get(&name)?;
            let dict = module.map(|module| module.module_dict()).transpose()?;
            for callable in callables {
                let name = callable_name(py, callable)?;
                let found = dict.as_ref().map(|dict| dict.dict_get(&name)).transpose()?.flatten();
                if !found.is_some_and(|found| found.is_callable()) {
                    return Ok(Some(String::from_utf8_lossy(callable).into_owned()));
                }
            }
            Ok(None)
        };
        match lacks() {
            Ok(None) => {}
            Ok(Some(name)) => {
                let path = String::from_utf8_lossy(path);
                let text = format!(
                    "WSGI0089: The script '{path}' no longer has the callable '{name}', which requests have been answered \
                     with: what was loaded before serves on. Define it again; if it is to be gone, restart the server."
                );
                process::log(Level::Error, &text);
                return false;
            }
            Err(raised) => {
                report::outside(py, state, raised, "WSGI0110: A script can not be looked into");
                return false;
            }
        }
        if let Some(daemon) = daemon::daemon() {
            // The next successor has to have them, too, whether they are asked for until then or not.
            for callable in callables {
                daemon.callable_found(path, &state.group, callable);
            }
        }
        true
    })
}

/// The name in a module of a callable that is configured, in UTF-8 as Python's sources. It is not interned: it may come from
/// a request (`%{ENV:...}`), and Python never gives up what is.
pub(crate) fn callable_name(py: Python<'_>, configured: &[u8]) -> Result<Object> {
    py.str(&String::from_utf8_lossy(configured))
}

/// How to find out whether a script has changed.
#[derive(Clone, Copy)]
struct Check<'a> {
    /// Its modification time in microseconds, as far as the server knows it; else 0.
    mtime: i64,
    /// What its `reload_required` is asked about.
    resource: &'a [u8],
}

/// Who hears of failures.
#[derive(Clone, Copy)]
enum Audience<'a> {
    Request(&'a Lease),
    Server,
}

impl Audience<'_> {
    /// The code of a message: requests and imports have their own.
    const fn code(self, request: &'static str, import: &'static str) -> &'static str {
        match self {
            Self::Request(_) => request,
            Self::Server => import,
        }
    }

    fn log(self, level: Level, line: &str) {
        match self {
            Self::Request(lease) => {
                lease.with(|exchange| exchange.log(level, line.as_bytes()));
            }
            Self::Server => process::log(level, line),
        }
    }
}

/// The name of a script's module; a thread that stays with one script computes it once.
fn module_name(py: Python<'_>, thread: &Thread, path: &[u8]) -> Result<Object> {
    thread.script.get(path, || {
        let case_sensitive = process::process().is_none_or(|process| process.settings.case_sensitive);
        py.name(&wsgi_core::script::module_name(path, case_sensitive))
    })
}

/// The loaded module, unless there is none or it needs to be loaded again.
fn current(
    py: Python<'_>,
    state: &State,
    name: &Object,
    path: &[u8],
    check: Option<Check<'_>>,
) -> Result<Found> {
    let Some(module) = py.modules().dict_get(name)? else { return Ok(Found::Missing) };
    let dict = module.module_dict()?;
    // It is set when the script has run: a module without it is being loaded by another thread.
    let Some(loaded) = dict.dict_get(state.names.mtime.get(py))?.filter(Object::is_int) else {
        return Ok(Found::Missing);
    };
    let Some(check) = check else { return Ok(Found::Current(module)) };
    // What the server knows saves a look at the file, but is not believed against it: it may be a moment old.
    let loaded = loaded.to_i64().ok();
    if loaded != Some(check.mtime) && loaded != modified(path) {
        return Ok(Found::Changed(module));
    }
    if reload_required(py, state, &dict, check.resource)? {
        return Ok(Found::Changed(module));
    }
    Ok(Found::Current(module))
}

/// Asks the script itself. An exception is logged, and means no.
fn reload_required(py: Python<'_>, state: &State, dict: &Object, resource: &[u8]) -> Result<bool> {
    let Some(function) = dict.dict_get(state.names.reload_required.get(py))? else { return Ok(false) };
    let answer = function.call([&py.path(resource)?]).and_then(|answer| answer.is_true());
    Ok(answer.unwrap_or_else(|raised| {
        report::outside(py, state, raised, "WSGI0174: reload_required() of a script raised");
        false
    }))
}

/// Runs the script, while other threads that want it wait.
fn load(
    py: Python<'_>,
    state: &State,
    name: &Object,
    path: &[u8],
    check: Option<Check<'_>>,
    audience: Audience<'_>,
) -> std::result::Result<Object, NotLoaded> {
    let key = name.as_latin1().unwrap_or_default().to_owned();
    let turn = state.loading.with(|loading| Arc::clone(loading.entry(key).or_default()));
    let mut loading = turn.take(py);
    try_load(py, state, name, (path, &mut loading), check, audience).unwrap_or_else(|raised| {
        let exception = raised.take(py);
        audience.log(Level::Error, &report::plain(py, &exception).join(" "));
        Err(NotLoaded::Failed)
    })
}

/// As above, under the lock. `Err` is for what should not fail; failures of the script are told to the audience.
fn try_load(
    py: Python<'_>,
    state: &State,
    name: &Object,
    (path, loading): (&[u8], &mut Loading),
    check: Option<Check<'_>>,
    audience: Audience<'_>,
) -> Result<std::result::Result<Object, NotLoaded>> {
    // Another thread may have loaded it while this one waited.
    match current(py, state, name, path, check)? {
        Found::Current(module) => return Ok(Ok(module)),
        Found::Changed(module) if daemon::daemon().is_some() => return Ok(Ok(module)),
        Found::Changed(_) | Found::Missing => {}
    }
    if let Some(cause) = &loading.failed {
        return Ok(Err(failed_before(py, state, path, cause, audience)));
    }
    let text = String::from_utf8_lossy(path);
    let again = py.modules().dict_remove(name)?;
    let verb = if again { "Reloading" } else { "Loading" };
    audience.log(Level::Info, &format!("{verb} Python script file '{text}' in the {}.", state.wording));

    // Before it is read: a change in between is then seen by the next request.
    let mtime = modified(path);
    let filename = py.path(path)?;
    let loaded = match py.detach(|| read(path)) {
        Err(reason) => {
            let code = audience.code("WSGI0105", "WSGI0106");
            audience
                .log(Level::Error, &format!("{code}: The script file '{text}' can not be read: {reason}"));
            return Ok(Err(NotLoaded::Failed));
        }
        Ok(source) => compile(py, &source, &filename)
            .map_err(|raised| (audience.code("WSGI0105", "WSGI0106"), "can not be compiled", false, raised))
            .and_then(|code| {
                py.exec_module(name, &code, &filename).map_err(|raised| {
                    (
                        audience.code("WSGI0109", "WSGI0110"),
                        "raised an exception when it was executed",
                        true,
                        raised,
                    )
                })
            }),
    };
    match loaded {
        Ok(module) => {
            let mtime = py.int(mtime.unwrap_or(0))?;
            module.module_dict()?.dict_set(state.names.mtime.get(py), &mtime)?;
            if let Some(daemon) = daemon::daemon() {
                daemon.script_loaded(path, &state.group);
            }
            Ok(Ok(module))
        }
        Err((code, what, has_run, raised)) => {
            let exception = raised.take(py);
            let is_service = process::process().is_some_and(|process| process.settings.is_service);
            if is_service && report::is_system_exit(py, &exception) {
                return Ok(Err(NotLoaded::Failed));
            }
            let (code, what) = if report::is_system_exit(py, &exception) {
                (audience.code("WSGI0107", "WSGI0108"), "raised SystemExit when it was executed")
            } else {
                (code, what)
            };
            if has_run && !is_service && daemon::daemon().is_some() {
                let cause = report::plain(py, &exception).join(" ");
                loading.failed = Some(cause.chars().take(LONGEST_CAUSE).collect());
                py.detach(|| reload::failed(path, &state.group, mtime));
            }
            audience.log(Level::Error, &format!("{code}: The script file '{text}' {what}."));
            match audience {
                Audience::Request(lease) => report::in_request(py, state, lease, path, &exception),
                Audience::Server => {
                    for line in report::describe(py, state, &exception) {
                        process::log(Level::Error, &line);
                    }
                }
            }
            Ok(Err(NotLoaded::Failed))
        }
    }
}

/// What comes of a script whose import has failed in this interpreter, which is a daemon process's: see [`daemon::reload`].
fn failed_before(
    py: Python<'_>,
    state: &State,
    path: &[u8],
    cause: &str,
    audience: Audience<'_>,
) -> NotLoaded {
    let wait = match audience {
        Audience::Server => None,
        Audience::Request(_) => match py.detach(|| reload::wanted(path, &state.group, modified(path))) {
            Prospect::Hold => return NotLoaded::Waits,
            Prospect::Refuse(wait) => wait,
        },
    };
    let code = audience.code("WSGI0109", "WSGI0110");
    let (text, pid) = (String::from_utf8_lossy(path), std::process::id());
    let when = match wait {
        Some(wait) => format!("in {} s or later", wait.div_ceil(1_000)),
        None => "that finds none trying".to_owned(),
    };
    audience.log(
        Level::Error,
        &format!(
            "{code}: The script file '{text}' is not imported: that has failed before in process {pid} ({cause}). A new \
             process tries again with the first request {when}, or after a change of the file."
        ),
    );
    NotLoaded::Refused
}

/// The code object of a source text, which may declare its encoding.
fn compile(py: Python<'_>, source: &[u8], filename: &Object) -> Result<Object> {
    let Ok(source) = CString::new(source) else {
        return Err(py.raise(Exception::ValueError, "source code contains NUL bytes"));
    };
    py.compile(&source, filename)
}
