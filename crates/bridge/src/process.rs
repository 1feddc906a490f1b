//! The records that both sides exchange once in a process.

use std::ffi::c_int;
use std::sync::atomic::AtomicU32;

use wsgi_core::lifecycle::Reason;

use crate::tag::tagged;
use crate::{Bytes, Level, List, Sink, Tag, Tristate};

/// The functions of the server that a host can call outside requests, from any thread, at any time
/// between [`Host::start`] and the end of the process.
#[repr(C)]
#[derive(Clone, Copy)]
pub struct Server {
    /// [`Tag::of`] this.
    pub tag: Tag,
    /// Logs a line without a request's context.
    pub log: unsafe extern "C" fn(level: c_int, line: Bytes<'_>),
    /// Returns whether the error log records lines of this level.
    pub is_logged: unsafe extern "C" fn(level: c_int) -> bool,
    /// Writes the server's scoreboard (see [`scoreboard`](crate::scoreboard)) to `sink` before it
    /// returns. Writes nothing if the process must not see it, or there is none.
    pub scoreboard: unsafe extern "C" fn(sink: Sink<'_>),
    /// Records that a script could not be imported: the cause in one line, and the traceback.
    pub import_failed: unsafe extern "C" fn(text: Bytes<'_>, detail: Bytes<'_>),
    /// Counts requests that have held their threads for too long, and records one of them: the
    /// request in one line, and the stack of its thread. Records none if there is no line.
    pub stuck: unsafe extern "C" fn(count: u32, text: Bytes<'_>, detail: Bytes<'_>),
}

impl Server {
    /// Logs a line without a request's context.
    pub fn log(&self, level: Level, line: &[u8]) {
        // SAFETY: the function has no precondition but the validity of its arguments.
        unsafe { (self.log)(level as c_int, Bytes::new(line)) }
    }

    /// Returns whether the error log records lines of this level.
    #[must_use]
    pub fn is_logged(&self, level: Level) -> bool {
        // SAFETY: the function has no precondition but the validity of its arguments.
        unsafe { (self.is_logged)(level as c_int) }
    }

    /// Records that a script could not be imported: the cause in one line, and the traceback.
    pub fn import_failed(&self, text: &[u8], detail: &[u8]) {
        // SAFETY: the function has no precondition but the validity of its arguments.
        unsafe { (self.import_failed)(Bytes::new(text), Bytes::new(detail)) }
    }

    /// Counts requests that have held their threads for too long, and records one of them: the
    /// request in one line, and the stack of its thread. Records none if `text` is empty.
    pub fn stuck(&self, count: u32, text: &[u8], detail: &[u8]) {
        // SAFETY: the function has no precondition but the validity of its arguments.
        unsafe { (self.stuck)(count, Bytes::new(text), Bytes::new(detail)) }
    }

    /// Returns the server's scoreboard, encoded. Returns `None` if the process must not see it, or
    /// there is none.
    #[must_use]
    pub fn scoreboard(&self) -> Option<Vec<u8>> {
        let mut message = Vec::new();
        // SAFETY: the function has no precondition but the validity of its arguments.
        unsafe { (self.scoreboard)(Sink::new(&mut message)) };
        (!message.is_empty()).then_some(message)
    }
}

/// One `<WSGIInterpreterOptions>` block, or (with no selector) the server-level directives.
#[repr(C)]
#[derive(Clone, Copy)]
pub struct InterpreterOptions<'a> {
    /// Process group it applies to; absent: any.
    pub process_group: Bytes<'a>,
    /// Application group it applies to; absent: any.
    pub application_group: Bytes<'a>,
    /// `WSGIPythonPath`.
    pub python_path: Bytes<'a>,
    /// `WSGISwitchInterval` in seconds; 0 unset.
    pub switch_interval: f64,
    /// `WSGIPerInterpreterGIL`.
    pub per_interpreter_gil: Tristate,
    /// `WSGIFreeThreading`.
    pub free_threading: Tristate,
    /// `WSGIRestrictStdin`.
    pub restrict_stdin: Tristate,
    /// `WSGIRestrictStdout`.
    pub restrict_stdout: Tristate,
    /// `WSGIRestrictSignal`.
    pub restrict_signal: Tristate,
}

/// A script to load when the process starts (`WSGIImportScript`, preloading aliases).
#[repr(C)]
#[derive(Clone, Copy)]
pub struct Import<'a> {
    /// Path of the Python source file.
    pub script: Bytes<'a>,
    /// The interpreter to load it into; empty is the main one.
    pub application_group: Bytes<'a>,
}

/// A script whose module has a name of its own (`module-name=`).
#[repr(C)]
#[derive(Clone, Copy)]
pub struct NamedScript<'a> {
    /// Path of the Python source file.
    pub script: Bytes<'a>,
    /// The name in `sys.modules`, ASCII.
    pub module: Bytes<'a>,
}

/// The settings that a host gets once, when the process starts.
#[repr(C)]
pub struct Settings<'a> {
    /// [`Tag::of`] this.
    pub tag: Tag,
    /// Path of the Python executable to be (`sys.executable`), from which CPython finds its library
    /// or virtual environment; absent: CPython's own default.
    pub program: Bytes<'a>,
    /// `PYTHONHOME`, `prefix[:exec_prefix]`; absent for virtual environments.
    pub home: Bytes<'a>,
    /// The process group; empty in embedded mode.
    pub process_group: Bytes<'a>,
    /// `WSGIPythonEggs`; absent if unset.
    pub python_eggs: Bytes<'a>,
    /// One `-W` option each.
    pub warnings: List<'a, Bytes<'a>>,
    /// The server-level interpreter settings first, then each container in file order.
    pub interpreters: List<'a, InterpreterOptions<'a>>,
    /// Loaded in order before the first request.
    pub imports: List<'a, Import<'a>>,
    /// The last one of a script counts.
    pub named_scripts: List<'a, NamedScript<'a>>,
    /// The directory of the Python packages that belong to the module.
    pub packages: Bytes<'a>,
    /// The words of the permits to ask scripts on the server's own threads, which its processes
    /// share (`wsgi_core::permits`); without any, all scripts are asked on other threads.
    pub permits: List<'static, AtomicU32>,
    /// Apache's full version, such as `2.4.71`.
    pub server_version: [u32; 3],
    /// Apache's banner with all components.
    pub server_description: Bytes<'a>,
    /// The time when Apache was built.
    pub server_built: Bytes<'a>,
    /// Name of the MPM.
    pub mpm_name: Bytes<'a>,
    /// Processes that serve requests, as the application is told; at least 1.
    pub processes: u32,
    /// Threads of each that serve requests; at least 1.
    pub threads: u32,
    /// `processes` and `threads` of the MPM, which differ from the above in a daemon.
    pub mpm_processes: u32,
    /// See [`Settings::mpm_processes`].
    pub mpm_threads: u32,
    /// Process id of the server's parent.
    pub server_parent: u32,
    /// `WSGITelemetryService`: path of the collector's socket; absent: nothing is reported.
    pub telemetry_socket: Bytes<'a>,
    /// Its `interval=`, in seconds.
    pub telemetry_interval: f64,
    /// `WSGISlowRequests` in seconds; 0: none is slow.
    pub slow_requests: f64,
    /// `stuck-timeout=` or `WSGIStuckTimeout`, in milliseconds; 0: none.
    pub stuck_timeout: u64,
    /// `WSGITelemetryOptions CaptureUserAgent`.
    pub telemetry_user_agent: bool,
    /// `WSGIPythonOptimize`.
    pub optimize: u32,
    /// `WSGIPythonHashSeed`; negative: random.
    pub hash_seed: i64,
    /// `WSGIDontWriteBytecode`.
    pub dont_write_bytecode: bool,
    /// `WSGIDestroyInterpreter`.
    pub destroy_interpreters: bool,
    /// `WSGICaseSensitivity`.
    pub case_sensitive: bool,
    /// `WSGIScriptReloading` of the main server, for imports.
    pub script_reloading: bool,
    /// Lines are wanted with fields (`wsgi_core::log_record`).
    pub log_records: bool,
    /// The value of `wsgi.multithread`.
    pub multithread: bool,
    /// The value of `wsgi.multiprocess`.
    pub multiprocess: bool,
    /// The value of `wsgi.run_once`.
    pub run_once: bool,
    /// The process is the server itself (`httpd -X`): leave its standard streams alone.
    pub single_process: bool,
}

/// A host: Python and all that runs in it.
#[repr(C)]
pub struct Host {
    /// [`Tag::of`] this.
    pub tag: Tag,
    /// Initialises Python and loads the imports. Called once, from the thread that is to be
    /// Python's main thread. Failures are logged through `server`; after a negative result `call`
    /// must not be called.
    pub start: unsafe extern "C" fn(settings: *const Settings<'_>, server: *const Server) -> c_int,
    /// Makes a call of a [`Kind`](crate::Kind), on any thread, with the records of that kind. The
    /// host takes it with [`receive`](crate::receive), which defines the result.
    pub call: unsafe extern "C" fn(kind: u32, request: *const Tag, reply: *mut Tag) -> c_int,
    /// Tells the application (`process_stopping`), then ends the interpreters if that was asked
    /// for. No `call` may start after it; those that still run are waited for, at most `grace`
    /// milliseconds, and if they do not end in time the interpreters are left alone. The reason is
    /// one of [`reason_number`].
    pub stop: unsafe extern "C" fn(reason: c_int, grace: u32),
    /// Returns whether a script of [`Settings::imports`] could not be imported, and has not been
    /// loaded since. It does not wait for Python.
    pub lacks_import: unsafe extern "C" fn() -> bool,
}

// SAFETY: a table of functions that may be called on any thread.
unsafe impl Sync for Host {}

tagged!(Server, Settings<'_>, Host);

/// Returns the number of a reason for [`Host::stop`]; that of no reason is negative.
#[must_use]
pub fn reason_number(reason: Option<Reason>) -> c_int {
    reason.map_or(-1, |reason| reason.number().into())
}

/// Returns the reason of that number, if there is one.
#[must_use]
pub fn reason_from_number(number: c_int) -> Option<Reason> {
    u8::try_from(number).ok().and_then(Reason::from_number)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reasons_survive_the_crossing() {
        for reason in Reason::ALL.iter().copied().map(Some).chain([None]) {
            assert_eq!(reason_from_number(reason_number(reason)), reason);
        }
        assert_eq!(reason_from_number(c_int::MAX), None);
    }
}
