//! Forks of a Python process.

use std::io;

use os::fork::{Side, sibling};
use pyo3_ffi as ffi;

use crate::{Python, VERSION};
use crate::{frames, threads};

/// Forks this process as `os.fork()` does, with the functions of `os.register_at_fork()`; but the
/// new process is a sibling of this one, not a child: see [`sibling`]. There, `begin` runs first,
/// before any code of Python's.
///
/// The caller is attached to the main interpreter, on the thread that has started Python.
///
/// # Errors
/// The process has other threads, which do not exist in the new one, whatever they hold; or other
/// interpreters, which CPython cannot take apart there. Else see [`sibling`].
pub fn fork(py: Python<'_>, begin: impl FnOnce()) -> io::Result<Side> {
    if os::exit::has_other_threads() {
        return Err(io::Error::other("the process has other threads"));
    }
    if has_other_interpreters(py) {
        return Err(io::Error::other("the process has other interpreters"));
    }
    // SAFETY: the token proves that the thread is attached, and it is the only one, as was just
    // seen, so nothing is held by others. CPython's functions are called around the fork in the
    // order that it asks for, each once in each process.
    unsafe {
        ffi::PyOS_BeforeFork();
        let side = sibling();
        if matches!(side, Ok(Side::New)) {
            threads::become_original();
            frames::keep_own();
            begin();
            ffi::PyOS_AfterFork_Child();
            // CPython has made another key.
            #[cfg(not(Py_3_12))]
            crate::gilstate::rediscover();
        } else {
            ffi::PyOS_AfterFork_Parent();
        }
        side
    }
}

/// Returns whether CPython cannot fork this process, because of other interpreters: up to 3.11 the copy hangs,
/// 3.12 and 3.13 abort it or hang.
#[must_use]
pub fn cannot_fork(py: Python<'_>) -> bool {
    VERSION < (3, 14) && has_other_interpreters(py)
}

/// Returns whether Python has more interpreters than one. For a process with one thread: others
/// could create and end some meanwhile.
#[must_use]
pub fn has_other_interpreters(_py: Python<'_>) -> bool {
    // SAFETY: the token proves that Python runs, so there is a first interpreter.
    unsafe { !ffi::PyInterpreterState_Next(ffi::PyInterpreterState_Head()).is_null() }
}
