//! The interpreters of the process, by application group, and their set-up.

#![expect(
    clippy::disallowed_types,
    reason = "nobody waits attached for the creation of an interpreter; other locks are for lists"
)]

mod failures;

use std::collections::HashMap;
use std::sync::{Arc, Mutex, OnceLock, PoisonError, RwLock};
use std::time::{Duration, Instant};

use bridge::Level;
use python::{Ended, NotCreated, Py, Python, Type};
use wsgi_core::codes::{INTERPRETER_NOT_SET_UP, NO_INTERPRETER, STOPPING_NOT_PUBLISHED};
use wsgi_core::interpreter::Settings as Wanted;
use wsgi_core::lifecycle::Reason;
use wsgi_core::script::InterpreterName;

use failures::Failures;

use crate::locked::Locked;
use crate::native::Native;
use crate::process::{self, Process};
use crate::report;
use crate::settings::{ProcessSettings, VERSION_OF_PYTHON};
use crate::state::{Helpers, Interpreter, Names, State, Types};
use crate::telemetry::{Collector, GcWatch};

/// The version of the contract that this is compatible with: `mod_wsgi.version`.
pub(crate) const VERSION: [u32; 3] = [6, 1, 1];

const BOOTSTRAP: &str = concat!(include_str!("bootstrap.py"), "\0");

/// The interpreters of the process, by application group.
#[derive(Default)]
pub(crate) struct Interpreters {
    main: OnceLock<&'static Interpreter>,
    /// In order of creation, without the main one.
    subs: RwLock<Vec<&'static Interpreter>>,
    by_group: RwLock<HashMap<Vec<u8>, &'static Interpreter>>,
    /// Locked while an interpreter is created.
    creating: Mutex<Failures>,
}

impl Interpreters {
    /// Starts Python and sets the main interpreter up.
    pub(crate) fn start(&self, process: &'static Process, config: &python::Config) -> Result<(), String> {
        let main = python::start(config, |py| set_up(py, process, b""))?;
        let _ = self.main.set(main);
        Ok(())
    }

    /// Starts like [`start`](Self::start), in a Python that runs already. Then runs `work`, while
    /// the thread is not attached.
    pub(crate) fn adopt<R: Send>(
        &self,
        process: &'static Process,
        py: Python<'_>,
        work: impl FnOnce(Result<(), String>) -> R + Send,
    ) -> R {
        python::adopt(
            py,
            |py| set_up(py, process, b""),
            |main| {
                work(main.map(|main| {
                    let _ = self.main.set(main);
                }))
            },
        )
    }

    /// Returns all interpreters, the main one first.
    pub(crate) fn all(&self) -> Vec<&'static Interpreter> {
        self.main.get().copied().into_iter().chain(self.subs()).collect()
    }

    /// Returns the main interpreter; `None` before it has been started.
    pub(crate) fn main(&self) -> Option<&'static Interpreter> {
        self.main.get().copied()
    }

    /// Returns whether the main interpreter has been started.
    pub(crate) fn is_started(&self) -> bool {
        self.main.get().is_some()
    }

    /// Returns the interpreter of a group, created if need be; called while the thread is not
    /// attached.
    pub(crate) fn get(
        &self,
        process: &'static Process,
        group: &[u8],
    ) -> Result<&'static Interpreter, String> {
        let Some(main) = self.main.get().copied() else {
            return Err(
                "Python could not be initialised in this process (see the log of its start)".to_owned()
            );
        };
        if group.is_empty() {
            return Ok(main);
        }
        if let Some(known) = self.known(group) {
            return Ok(known);
        }
        let mut failed = self.creating.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(known) = self.known(group) {
            return Ok(known);
        }
        if let Some(pause) = failed.pause(group) {
            return Err(format!("its creation has failed less than {} s ago: see there", pause.as_secs()));
        }
        let wanted = settings_of(&process.settings, group);
        for diagnostic in &wanted.diagnostics {
            process::log(Level::Warning, &diagnostic.to_string());
        }
        let own_gil = wanted.own_gil;
        let lock = if own_gil { " with its own GIL" } else { "" };
        process::log(
            Level::Info,
            &format!("Create {}{lock}.", report::wording(&process.settings.process_group, group)),
        );
        let created = main
            .attach(|py, _, _| Interpreter::create(py, own_gil, |py| set_up(py, process, group)))
            .map_err(|NotCreated { message, is_left_behind }| {
                let pause = failed.add(group, is_left_behind).as_secs();
                let left = if is_left_behind {
                    format!(
                        ". Threads that it has started keep the interpreter in memory, so the next attempt is made after \
                         {pause} s at the earliest. What is imported at the start (.pth files, sitecustomize) should not \
                         start threads"
                    )
                } else {
                    String::new()
                };
                let group = String::from_utf8_lossy(group);
                let text = format!(
                    "{NO_INTERPRETER}: No interpreter for the application group '{group}': {message}{left}"
                );
                process::log(Level::Error, &text);
                message
            })?;
        self.subs.write().unwrap_or_else(PoisonError::into_inner).push(created);
        self.by_group.write().unwrap_or_else(PoisonError::into_inner).insert(group.to_owned(), created);
        Ok(created)
    }

    /// Tells the subscribers in every interpreter that the process is about to stop.
    pub(crate) fn publish_stopping(&self, reason: Option<Reason>) {
        let reason = reason.map_or("", Reason::name).as_bytes();
        for interpreter in self.all() {
            interpreter.attach(|py, state, _| {
                let published = py
                    .latin1(reason)
                    .and_then(|reason| state.helpers.publish_stopping.get(py).call([&reason]));
                if let Err(raised) = published {
                    report::outside(
                        py,
                        state,
                        raised,
                        format_args!(
                            "{STOPPING_NOT_PUBLISHED}: The event 'process_stopping' cannot be published"
                        ),
                    );
                }
            });
        }
    }

    /// Ends all interpreters, the main one last. Returns whether Python is finalised.
    pub(crate) fn end(&self, patience: Patience) -> bool {
        let is_complete = self.end_subs(patience);
        let Some(main) = self.main.get() else { return is_complete };
        process::log(Level::Info, "Terminating Python.");
        self.wind_down_main(patience, is_complete) && python::finalize(main, SETTLED)
    }

    /// Ends all interpreters but the main one. Returns whether all could be.
    pub(crate) fn end_subs(&self, patience: Patience) -> bool {
        let mut is_complete = true;
        for interpreter in self.subs() {
            let wording = &interpreter.state().wording;
            process::log(Level::Info, &format!("Destroy {wording}."));
            let ended = interpreter.end(|py, state| _ = wind_down(py, state, patience, true), settled());
            if ended == Ended::InUse {
                is_complete = false;
                interpreter.attach(|py, state, _| log_threads(py, state));
            }
        }
        is_complete
    }

    /// Ends the threads of the main interpreter. Returns whether Python can be finalised: not when
    /// it is not `complete`, that is, other interpreters are in use, nor when CPython would crash.
    /// Then `atexit` functions have run.
    pub(crate) fn wind_down_main(&self, patience: Patience, complete: bool) -> bool {
        let Some(main) = self.main.get() else { return complete };
        let complete = complete && python::is_finalizable();
        main.attach(|py, state, _| {
            let is_done = wind_down(py, state, patience, !complete);
            if !is_done {
                log_threads(py, state);
            }
            is_done && complete
        })
    }

    fn known(&self, group: &[u8]) -> Option<&'static Interpreter> {
        self.by_group.read().unwrap_or_else(PoisonError::into_inner).get(group).copied()
    }

    fn subs(&self) -> Vec<&'static Interpreter> {
        self.subs.read().unwrap_or_else(PoisonError::into_inner).clone()
    }
}

/// The limit of the wait for threads of the application when interpreters end.
#[derive(Clone, Copy)]
pub(crate) struct Patience(Option<Instant>);

/// The longest wait for threads that exit functions have told to end.
const SETTLED: Duration = Duration::from_millis(500);

/// The most threads that are named.
const MOST_NAMED: usize = 20;

impl Patience {
    /// Returns the limit `deadline` for all threads together.
    pub(crate) const fn until(deadline: Instant) -> Self {
        Self(Some(deadline))
    }

    /// Returns no limit: the threads are the purpose of the process.
    pub(crate) const fn without_limit() -> Self {
        Self(None)
    }

    /// Returns the seconds that are left; negative if there is no limit.
    fn seconds(self) -> f64 {
        self.0.map_or(-1.0, |deadline| deadline.saturating_duration_since(Instant::now()).as_secs_f64())
    }
}

fn settled() -> Instant {
    Instant::now() + SETTLED
}

/// Ends the threads of an interpreter. Returns whether only daemon threads are left.
fn wind_down(py: Python<'_>, state: &State, patience: Patience, ends_here: bool) -> bool {
    let call = || {
        let (limit, settled) = (py.float(patience.seconds())?, py.float(SETTLED.as_secs_f64())?);
        state.helpers.wind_down.get(py).call([&limit, &settled, &py.bool(ends_here)])?.is_true()
    };
    call().unwrap_or_else(|raised| {
        report::outside(py, state, raised, "The threads of the application cannot be waited for");
        false
    })
}

/// Logs the threads that keep an interpreter from being ended.
fn log_threads(py: Python<'_>, state: &State) {
    let lines = state.helpers.threads_left.get(py).call([]).unwrap_or_else(|raised| {
        report::outside(py, state, raised, "The threads of the application cannot be listed");
        py.none()
    });
    let (count, wording) = (lines.item_count(), &state.wording);
    let (level, threads) = match count {
        // Threads of the server that have not ended, or some that Python's `threading` does not
        // know.
        0 => (Level::Info, "Threads still have a part".to_owned()),
        1 => (Level::Warning, "A thread of the application still runs".to_owned()),
        _ => (Level::Warning, format!("{count} threads of the application still run")),
    };
    let text = format!(
        "{threads} in {wording}: it is not destroyed. Stop threads in a callback given to mod_wsgi.subscribe_shutdown()."
    );
    process::log(level, &text);
    for index in 0..count.min(MOST_NAMED) {
        let line = lines.item(index).and_then(|line| line.to_text()).unwrap_or_default();
        process::log(level, &format!("Left: {line}."));
    }
}

/// Returns the settings of the interpreter of a group.
fn settings_of<'a>(settings: &'a ProcessSettings, group: &'a [u8]) -> Wanted<'a> {
    let place = InterpreterName { process_group: &settings.process_group, application_group: group };
    wsgi_core::interpreter::settings(settings.blocks.iter(), &place, VERSION_OF_PYTHON)
}

/// Makes a new interpreter what applications expect.
fn set_up(py: Python<'_>, process: &'static Process, group: &[u8]) -> Result<State, String> {
    try_set_up(py, process, group).map_err(|raised| {
        let exception = raised.take(py);
        format!("{INTERPRETER_NOT_SET_UP}: its set-up failed: {}", report::plain(py, &exception).join(" | "))
    })
}

fn try_set_up(py: Python<'_>, process: &'static Process, group: &[u8]) -> python::Result<State> {
    let settings = &process.settings;
    let types = Types::create(py)?;
    let natives = Type::<Native>::create(py)?;
    let wanted = settings_of(settings, group);

    let namespace = py.dict()?;
    let set = |name: &str, value: &python::Object| namespace.dict_set(&py.name(name)?, value);
    let reports = settings.telemetry.is_some() && !settings.is_service;
    let collector = reports.then(|| Collector::new(group));
    let native = Native::new(
        process.server,
        Arc::clone(&types.log),
        wanted.own_gil,
        collector.as_ref().map(Arc::clone),
    );
    let native = natives.instance(py, native)?;
    set("__name__", &py.str("mod_wsgi")?)?;
    set("native", &native)?;
    set("process_group", &py.latin1(&settings.process_group)?)?;
    set("application_group", &py.latin1(group)?)?;
    let Ok(source) = std::ffi::CStr::from_bytes_with_nul(BOOTSTRAP.as_bytes()) else {
        return Err(py.raise(python::Exception::SystemError, "bootstrap.py contains a NUL"));
    };
    let code = py.compile(source, &py.str("<mod_wsgi>")?)?;
    py.eval(&code, &namespace)?;

    let module = py.module(c"mod_wsgi")?;
    let options = options(py, settings, &wanted)?;
    lookup(py, &namespace, "set_up")?.call([&module, &options])?;

    let helper = |name: &str| lookup(py, &namespace, name).map(Py::new);
    let io = py.import(c"io")?;
    let helpers = Helpers {
        describe: helper("describe")?,
        publish: helper("publish")?,
        publish_stopping: helper("publish_stopping")?,
        file_wrapper: helper("FileWrapper")?,
        file_region: helper("file_region")?,
        restore_position: helper("restore_position")?,
        event_callbacks: helper("event_callbacks")?,
        active_requests: helper("active_requests")?,
        covered_requests: helper("covered_requests")?,
        cover_request: helper("cover_request")?,
        uncover_request: helper("uncover_request")?,
        request_timeout: helper("RequestTimeout")?,
        publish_signal: helper("publish_signal")?,
        dump_stacks: helper("dump_stacks")?,
        stack_of: helper("stack_of")?,
        wind_down: helper("wind_down")?,
        threads_left: helper("threads_left")?,
        text_io_wrapper: Py::new(io.attr(&py.name("TextIOWrapper")?)?),
        encoding: Py::new(py.str("utf-8")?),
        replace: Py::new(py.str("replace")?),
    };
    let gc = collector.map(|collector| {
        let callback = native.attr(&py.name("on_collection")?)?;
        GcWatch::start(py, &collector, &callback)
    });
    let gc = gc.transpose()?;
    let names = Names::create(py)?;
    let environ = Py::new(template(py, settings, group, &helpers)?);
    Ok(State {
        process,
        wording: report::wording(&settings.process_group, group),
        group: group.to_owned(),
        names,
        types,
        helpers,
        environ,
        loading: Locked::default(),
        gc,
    })
}

fn lookup(py: Python<'_>, namespace: &python::Object, name: &str) -> python::Result<python::Object> {
    namespace.dict_get(&py.name(name)?)?.ok_or_else(|| py.raise(python::Exception::SystemError, name))
}

/// Returns the argument of `set_up` in bootstrap.py.
fn options(
    py: Python<'_>,
    settings: &ProcessSettings,
    wanted: &Wanted<'_>,
) -> python::Result<python::Object> {
    let dict = py.dict()?;
    let set = |name: &str, value: python::Object| dict.dict_set(&py.name(name)?, &value);
    let paths = py.list()?;
    for path in &wanted.python_path {
        paths.list_append(&py.path(path)?)?;
    }
    set("switch_interval", py.float(wanted.switch_interval.unwrap_or(0.0))?)?;
    set("restrict_stdin", py.bool(wanted.restrict_stdin))?;
    set("restrict_stdout", py.bool(wanted.restrict_stdout))?;
    set("restrict_signal", py.bool(wanted.restrict_signal))?;
    set("single_process", py.bool(settings.single_process))?;
    set("packages", settings.packages.as_ref().map_or_else(|| Ok(py.none()), |path| py.path(path))?)?;
    set("python_eggs", settings.python_eggs.as_ref().map_or_else(|| Ok(py.none()), |eggs| py.path(eggs))?)?;
    set("python_paths", paths)?;
    set("home", settings.home.as_ref().map_or_else(|| Ok(py.none()), |home| py.path(home))?)?;
    set("is_service", py.bool(settings.is_service))?;
    set("version", triple(py, VERSION)?)?;
    set("server_version", triple(py, settings.server_version)?)?;
    set("server_description", py.str(&settings.server_description)?)?;
    set("server_built", py.str(&settings.server_built)?)?;
    set("mpm_name", py.str(&settings.mpm_name)?)?;
    set("processes", py.int(settings.processes.into())?)?;
    set("threads", py.int(settings.threads.into())?)?;
    set("mpm_processes", py.int(settings.mpm_processes.into())?)?;
    set("mpm_threads", py.int(settings.mpm_threads.into())?)?;
    Ok(dict)
}

/// Returns the dict that every environ of an interpreter begins with.
fn template(
    py: Python<'_>,
    settings: &ProcessSettings,
    group: &[u8],
    helpers: &Helpers,
) -> python::Result<python::Object> {
    let environ = py.dict()?;
    let set = |key: &str, value: &python::Object| environ.dict_set(&py.name(key)?, value);
    // The keys that every request has come first, so that copies have room for them and keep this
    // order.
    for variable in bridge::Cgi::ALL.iter().filter(|variable| crate::environ::is_always_present(**variable)) {
        set(variable.key(), &py.none())?;
    }
    set("wsgi.version", &py.tuple([&py.int(1)?, &py.int(0)?])?)?;
    set("wsgi.multithread", &py.bool(settings.multithread))?;
    set("wsgi.multiprocess", &py.bool(settings.multiprocess))?;
    set("wsgi.run_once", &py.bool(settings.run_once))?;
    set("wsgi.input_terminated", &py.bool(true))?;
    set("wsgi.file_wrapper", helpers.file_wrapper.get(py))?;
    set("mod_wsgi.version", &triple(py, VERSION)?)?;
    set("mod_wsgi.process_group", &py.latin1(&settings.process_group)?)?;
    set("mod_wsgi.application_group", &py.latin1(group)?)?;
    set("apache.version", &triple(py, settings.server_version)?)?;
    Ok(environ)
}

fn triple(py: Python<'_>, version: [u32; 3]) -> python::Result<python::Object> {
    let [major, minor, patch] = version.map(|number| py.int(number.into()));
    py.tuple([&major?, &minor?, &patch?])
}
