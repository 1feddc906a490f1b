//! Scripts: loaded on first use, looked up by path, replaced when they change.

use std::ffi::CString;
use std::sync::Arc;

use bridge::{Lease, Level, RequestFacts, flag};
use python::{Exception, Object, Python, Raised, Result};

use crate::failed_imports;
use crate::loading::Loading;
use crate::mode::{ChangedScript, FailedScript, LoadedVersion};
use crate::process;
use crate::report;
use crate::script_file::{Source, modified, read};
use crate::state::{Interpreter, State, ThreadState};
use wsgi_core::codes::{
    Code, EXCEPTION, IMPORT_EXITED, IMPORT_NOT_CLOSED, IMPORT_NOT_COMPILED, IMPORT_RAISED, NO_CALLABLE,
    SCRIPT_CHANGE_NOT_LOADED, SCRIPT_EXITED, SCRIPT_NOT_CLOSED, SCRIPT_NOT_COMPILED, SCRIPT_RAISED,
};

/// The reason why there is no script to run.
pub(crate) enum NotLoaded {
    /// It cannot be loaded, which has been logged.
    Failed,
    /// Its import took longer than the request may run, and was interrupted, which has been logged.
    Interrupted,
    /// Its import failed before, and is not tried again in this process, which has been logged.
    NotTried,
    /// A successor of the process has to load it, or load it again.
    Held,
}

/// The module of a script, or why there is none.
type Loaded = std::result::Result<Object, NotLoaded>;

/// The treatment of requests for a script that has changed if no process can load the change.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum WithoutChange {
    /// The version from before the change serves them.
    Serve,
    /// They are refused: the version from before must not decide.
    Refuse,
}

/// The message about an import that was interrupted. The line of the script where that happened
/// follows.
const INTERRUPTED: &str = "The import of the script took longer than the request may run (request-timeout=; timeout= for a script of \
                           access control), and was interrupted. Raise that limit, or have the script imported when the process \
                           starts (WSGIImportScript).";

/// The longest text of an exception that is kept, in characters.
const LONGEST_CAUSE: usize = 300;

/// Returns the module of a request's script: loaded if it is not, loaded again if it has changed.
/// `resource` is the argument of its `reload_required`, which is asked if there is one.
/// `without_change` matters in daemon processes only.
pub(crate) fn module(
    py: Python<'_>,
    state: &State,
    thread: &ThreadState,
    facts: &RequestFacts<'_>,
    lease: &Lease,
    resource: Option<&[u8]>,
    without_change: WithoutChange,
) -> Loaded {
    let path = facts.script.or_empty();
    let check = |mtime| facts.has_flag(flag::SCRIPT_RELOADING).then_some(Check { mtime, resource });
    let script =
        Script { py, state, path, check: check(facts.script_mtime), requester: Requester::Request(lease) };
    let found =
        module_name(py, state, thread, path).and_then(|name| script.find(&name).map(|found| (name, found)));
    // The server's knowledge of the file is old if another thread has loaded it meanwhile.
    let load = |name: &Object| Script { check: check(0), ..script }.load(name);
    match found {
        Ok((_, Found::Current(module))) => Ok(module),
        Ok((name, Found::Changed(module))) => match state.process.mode.script_changed(py, path) {
            ChangedScript::Reload => load(&name),
            ChangedScript::Hold => Err(NotLoaded::Held),
            ChangedScript::Keep(LoadedVersion { failure: Some(failure), .. })
                if without_change == WithoutChange::Refuse =>
            {
                let text = format!(
                    "{SCRIPT_CHANGE_NOT_LOADED}: The script '{}' has changed, and no process could load the change ({failure}): \
                     requests are refused until one has. A new process tries again every now and then, and after a further \
                     change of the file.",
                    String::from_utf8_lossy(path)
                );
                script.requester.log(Level::Error, &text);
                Err(NotLoaded::Failed)
            }
            ChangedScript::Keep(loaded) => {
                if let Some(warning) = loaded.warning {
                    script.requester.log(Level::Warning, &warning);
                }
                Ok(module)
            }
        },
        Ok((name, Found::Missing)) => load(&name),
        Err(raised) => {
            let exception = raised.take(py);
            report::in_request(py, state, lease, path, &exception);
            Err(NotLoaded::Failed)
        }
    }
}

/// Loads a script when the process starts. Returns whether that worked; logs why if not.
pub(crate) fn preload(interpreter: &'static Interpreter, path: &[u8], reloading: bool) -> bool {
    interpreter.attach(|py, state, thread| {
        let check = reloading.then_some(Check { mtime: 0, resource: Some(path) });
        let script = Script { py, state, path, check, requester: Requester::Server };
        let found = module_name(py, state, thread, path)
            .and_then(|name| script.find(&name).map(|found| (name, found)));
        match found {
            Ok((_, Found::Current(_))) => true,
            Ok((name, _)) => script.load(&name).is_ok(),
            Err(raised) => {
                report::outside(
                    py,
                    state,
                    raised,
                    format_args!("{IMPORT_RAISED}: A script cannot be imported"),
                );
                false
            }
        }
    })
}

/// Returns whether an imported script has all these callables. Logs the first that it lacks.
pub(crate) fn has_callables(interpreter: &'static Interpreter, path: &[u8], callables: &[Box<[u8]>]) -> bool {
    interpreter.attach(|py, state, thread| {
        match first_missing(py, state, thread, path, callables) {
            Ok(None) => {}
            Ok(Some(name)) => {
                let path = String::from_utf8_lossy(path);
                let text = format!(
                    "{NO_CALLABLE}: The script '{path}' no longer has the callable '{name}', which requests have been answered \
                     with: what was loaded before serves on. Define it again; if it is to be gone, restart the server."
                );
                process::log(Level::Error, &text);
                return false;
            }
            Err(raised) => {
                report::outside(py, state, raised, format_args!("{IMPORT_RAISED}: The callables of a script cannot be looked up"));
                return false;
            }
        }
        // The next successor must have them, too, even if no request needs them until then.
        for callable in callables {
            state.process.mode.callable_found(path, &state.group, callable);
        }
        true
    })
}

/// Returns the first of these callables that the module of an imported script lacks, if any.
fn first_missing(
    py: Python<'_>,
    state: &State,
    thread: &ThreadState,
    path: &[u8],
    callables: &[Box<[u8]>],
) -> Result<Option<String>> {
    let name = module_name(py, state, thread, path)?;
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
}

/// Returns the name in a module of a callable that is configured, in UTF-8 as Python's sources. It
/// is not interned: it may come from a request (`%{ENV:...}`), and Python never frees interned
/// strings.
pub(crate) fn callable_name(py: Python<'_>, configured: &[u8]) -> Result<Object> {
    py.str(&String::from_utf8_lossy(configured))
}

/// Returns the name of a script's module; a thread that stays with one script computes it once.
fn module_name(py: Python<'_>, state: &State, thread: &ThreadState, path: &[u8]) -> Result<Object> {
    let settings = &state.process.settings;
    let named = || settings.named_scripts.iter().rfind(|(script, _)| script == path);
    thread.script.get(path, || match named() {
        Some((_, module)) => py.name(module),
        None => py.name(&wsgi_core::script::module_name(path, settings.case_sensitive)),
    })
}

/// The data for a check whether a script has changed.
#[derive(Clone, Copy)]
struct Check<'a> {
    /// Its modification time in microseconds, as far as the server knows it; else 0.
    mtime: i64,
    /// The argument of its `reload_required`, if that is asked.
    resource: Option<&'a [u8]>,
}

/// The one who needs a script, and gets its messages.
#[derive(Clone, Copy)]
enum Requester<'a> {
    Request(&'a Lease),
    Server,
}

impl Requester<'_> {
    /// Returns the code of a message: requests and imports have their own.
    const fn code(self, request: Code, import: Code) -> Code {
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

/// A script's module.
enum Found {
    Missing,
    Current(Object),
    /// It needs to be loaded again.
    Changed(Object),
}

/// A script that an interpreter is to have.
#[derive(Clone, Copy)]
struct Script<'a> {
    py: Python<'a>,
    state: &'a State,
    path: &'a [u8],
    check: Option<Check<'a>>,
    requester: Requester<'a>,
}

impl Script<'_> {
    /// Looks for its module among those that are loaded.
    fn find(&self, name: &Object) -> Result<Found> {
        let Some(module) = self.py.modules().dict_get(name)? else { return Ok(Found::Missing) };
        let dict = module.module_dict()?;
        // It is set when the script has run: a module without it is being loaded by another thread.
        let Some(loaded) = dict.dict_get(self.state.names.mtime.get(self.py))?.filter(Object::is_int) else {
            return Ok(Found::Missing);
        };
        let Some(check) = self.check else { return Ok(Found::Current(module)) };
        // The server's knowledge saves a look at the file, but a difference is checked: it may be a
        // moment old.
        let loaded = loaded.to_i64().ok();
        if loaded != Some(check.mtime) && loaded != modified(self.path) {
            return Ok(Found::Changed(module));
        }
        if let Some(resource) = check.resource
            && self.reload_required(&dict, resource)?
        {
            return Ok(Found::Changed(module));
        }
        Ok(Found::Current(module))
    }

    /// Returns the answer of the script itself. An exception is logged, and means no.
    fn reload_required(&self, dict: &Object, resource: &[u8]) -> Result<bool> {
        let (py, state) = (self.py, self.state);
        let Some(function) = dict.dict_get(state.names.reload_required.get(py))? else { return Ok(false) };
        let answer = function.call([&py.path(resource)?]).and_then(|answer| answer.is_true());
        Ok(answer.unwrap_or_else(|raised| {
            report::outside(
                py,
                state,
                raised,
                format_args!("{EXCEPTION}: reload_required() of a script raised"),
            );
            false
        }))
    }

    /// Loads it, while other threads that need it wait.
    fn load(&self, name: &Object) -> Loaded {
        let key = name.as_latin1().unwrap_or_default().to_owned();
        let lock = self.state.loading.with(|loading| Arc::clone(loading.entry(key).or_default()));
        let mut loading = lock.acquire(self.py);
        self.try_load(name, &mut loading).unwrap_or_else(|raised| {
            let exception = raised.take(self.py);
            self.requester.log(Level::Error, &report::plain(self.py, &exception).join(" "));
            Err(NotLoaded::Failed)
        })
    }

    /// Loads it, under the lock. `Err` is for unexpected exceptions; failures of the script are
    /// logged.
    fn try_load(&self, name: &Object, loading: &mut Loading) -> Result<Loaded> {
        let (py, state) = (self.py, self.state);
        // Another thread may have loaded it while this one waited.
        match self.find(name)? {
            Found::Current(module) => return Ok(Ok(module)),
            Found::Changed(module) if state.process.has_successors => return Ok(Ok(module)),
            Found::Changed(_) | Found::Missing => {}
        }
        if let Some(cause) = &loading.failed {
            return Ok(Err(self.failed_before(cause)));
        }
        let text = String::from_utf8_lossy(self.path);
        let again = py.modules().dict_remove(name)?;
        let verb = if again { "Reloading" } else { "Loading" };
        self.requester.log(Level::Info, &format!("{verb} WSGI script '{text}' into {}.", state.wording));

        // This precedes the reading, so that the next request sees a change in between.
        let mtime = modified(self.path);
        let source = match py.detach(|| read(self.path)) {
            Ok(Source { text: source, close_error }) => {
                if let Some(error) = close_error {
                    let code = self.requester.code(SCRIPT_NOT_CLOSED, IMPORT_NOT_CLOSED);
                    let text = format!("{code}: The script file '{text}' was closed with an error: {error}");
                    self.requester.log(Level::Warning, &text);
                }
                source
            }
            Err(reason) => {
                let code = self.requester.code(SCRIPT_NOT_COMPILED, IMPORT_NOT_COMPILED);
                let text = format!("{code}: The script file '{text}' cannot be read: {reason}");
                self.requester.log(Level::Error, &text);
                return Ok(Err(NotLoaded::Failed));
            }
        };
        match self.execute(name, &source, &py.path(self.path)?) {
            Ok(module) => {
                let mtime = py.int(mtime.unwrap_or(0))?;
                module.module_dict()?.dict_set(state.names.mtime.get(py), &mtime)?;
                state.process.mode.script_loaded(self.path, &state.group);
                Ok(Ok(module))
            }
            Err(failure) => Ok(Err(self.failed(failure, mtime, loading))),
        }
    }

    /// Compiles and runs the source.
    fn execute(
        &self,
        name: &Object,
        source: &[u8],
        filename: &Object,
    ) -> std::result::Result<Object, Failure> {
        let code = compile(self.py, source, filename).map_err(Failure::Compile)?;
        self.py.exec_module(name, &code, filename).map_err(Failure::Execute)
    }

    /// Logs why it could not be loaded, and keeps the cause if that must not be tried again.
    fn failed(&self, failure: Failure, mtime: Option<i64>, loading: &mut Loading) -> NotLoaded {
        let (py, state, requester) = (self.py, self.state, self.requester);
        let (has_run, raised) = match failure {
            Failure::Compile(raised) => (false, raised),
            Failure::Execute(raised) => (true, raised),
        };
        let exception = raised.take(py);
        let is_exit = report::is_system_exit(py, &exception);
        let is_service = state.process.settings.is_service;
        if is_service && is_exit {
            return NotLoaded::Failed;
        }
        let (code, what) = match (is_exit, has_run) {
            (true, _) => {
                (requester.code(SCRIPT_EXITED, IMPORT_EXITED), "raised SystemExit when it was executed")
            }
            (_, false) => (requester.code(SCRIPT_NOT_COMPILED, IMPORT_NOT_COMPILED), "cannot be compiled"),
            (_, true) => {
                (requester.code(SCRIPT_RAISED, IMPORT_RAISED), "raised an exception when it was executed")
            }
        };
        if has_run && !is_service && state.process.has_successors {
            let cause = report::plain(py, &exception).join(" ");
            loading.failed = Some(cause.chars().take(LONGEST_CAUSE).collect());
            state.process.mode.import_failed(py, self.path, &state.group, mtime);
        }
        if let Requester::Request(lease) = requester
            && report::is_request_timeout(py, state, &exception)
        {
            report::in_request_as(py, state, lease, self.path, &exception, code, INTERRUPTED);
            return NotLoaded::Interrupted;
        }
        let text = String::from_utf8_lossy(self.path);
        requester.log(Level::Error, &format!("{code}: The script file '{text}' {what}."));
        failed_imports::tell(py, state, self.path, mtime, what, &exception);
        match requester {
            Requester::Request(lease) => report::in_request(py, state, lease, self.path, &exception),
            Requester::Server => {
                let headline = (!is_exit).then(|| {
                    let (code, headline) = report::headline(py, state, self.path, &exception);
                    format!("{code}: {headline}")
                });
                report::in_process(py, state, headline, &exception);
            }
        }
        NotLoaded::Failed
    }

    /// Decides about a script whose import has failed in this interpreter before.
    fn failed_before(&self, cause: &str) -> NotLoaded {
        let wait = match self.requester {
            Requester::Server => None,
            Requester::Request(_) => {
                let (mode, group) = (self.state.process.mode, &self.state.group);
                match mode.failed_script_wanted(self.py, self.path, group) {
                    FailedScript::Hold => return NotLoaded::Held,
                    FailedScript::Reject(wait) => wait,
                }
            }
        };
        let code = self.requester.code(SCRIPT_RAISED, IMPORT_RAISED);
        let (text, pid) = (String::from_utf8_lossy(self.path), std::process::id());
        let when = match wait {
            Some(wait) => format!("in {} s or later", wait.div_ceil(1_000)),
            None => "that finds none trying".to_owned(),
        };
        self.requester.log(
            Level::Error,
            &format!(
                "{code}: The script file '{text}' is not imported: that has failed before in process {pid} ({cause}). A new \
                 process tries again with the first request {when}, or after a change of the file."
            ),
        );
        NotLoaded::NotTried
    }
}

/// The failure to make a module of the source of a script.
enum Failure {
    Compile(Raised),
    Execute(Raised),
}

/// Returns the code object of a source text, which may declare its encoding.
fn compile(py: Python<'_>, source: &[u8], filename: &Object) -> Result<Object> {
    let Ok(source) = CString::new(source) else {
        return Err(py.raise(Exception::ValueError, "source code contains NUL bytes"));
    };
    py.compile(&source, filename)
}
