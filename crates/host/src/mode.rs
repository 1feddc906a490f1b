//! The modes of a process, which differ in the treatment of scripts that change, or cannot be
//! imported.

use python::Python;

use crate::lacking;

/// A mode: embedded, or that of a daemon process.
///
/// A daemon process loads no script twice: its successor does that. So the process remembers the
/// scripts that a successor must have.
pub(crate) trait Mode: Sync {
    /// Returns whether successors of the process load scripts that have changed, or could not be
    /// imported.
    fn has_successors(&self) -> bool;

    /// Notes that a script has been loaded.
    fn script_loaded(&self, path: &[u8], application_group: &[u8]);

    /// Notes that a script has this callable.
    fn callable_found(&self, path: &[u8], application_group: &[u8], callable: &[u8]);

    /// Returns what to do with a request whose script has changed.
    fn script_changed(&self, py: Python<'_>, path: &[u8]) -> ChangedScript;

    /// Notes that the import of a script has failed; `mtime` is the file's.
    fn import_failed(&self, py: Python<'_>, path: &[u8], application_group: &[u8], mtime: Option<i64>);

    /// Returns what to do with a request whose script could not be imported.
    fn failed_script_wanted(&self, py: Python<'_>, path: &[u8], application_group: &[u8]) -> FailedScript;

    /// Reacts to the loss of a thread. Returns what that means, for the log.
    fn thread_lost(&self) -> &'static str;
}

/// A decision about a request whose script has changed.
pub(crate) enum ChangedScript {
    /// Load it again.
    Reload,
    /// Run the loaded version, if it may run.
    Keep(LoadedVersion),
    /// Hold the request back, until a successor is ready or has failed.
    Hold,
}

/// The version of a changed script that the process has loaded.
#[derive(Default)]
pub(crate) struct LoadedVersion {
    /// A line to log if it runs.
    pub(crate) warning: Option<String>,
    /// The reason why no process could load the version that has replaced it, if one has tried.
    pub(crate) failure: Option<String>,
}

/// A decision about a request whose script could not be imported.
pub(crate) enum FailedScript {
    /// Hold it back: a new process tries.
    Hold,
    /// Reject it. A new process tries on request after so many milliseconds, or has begun to.
    Reject(Option<u64>),
}

/// Embedded mode: scripts are loaded again in the process, as often as need be.
pub(crate) struct Embedded;

impl Mode for Embedded {
    fn has_successors(&self) -> bool {
        false
    }

    fn script_loaded(&self, path: &[u8], application_group: &[u8]) {
        lacking::remove(path, application_group);
    }

    fn callable_found(&self, _: &[u8], _: &[u8], _: &[u8]) {}

    fn script_changed(&self, _: Python<'_>, _: &[u8]) -> ChangedScript {
        ChangedScript::Reload
    }

    fn import_failed(&self, _: Python<'_>, _: &[u8], _: &[u8], _: Option<i64>) {}

    fn failed_script_wanted(&self, _: Python<'_>, _: &[u8], _: &[u8]) -> FailedScript {
        FailedScript::Reject(None)
    }

    fn thread_lost(&self) -> &'static str {
        "the server has one thread less, until this child ends"
    }
}
