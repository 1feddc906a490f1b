//! Forks of a Python process.

use std::io;

use os::fork::{Side, sibling};
use pyo3_ffi as ffi;

use crate::Python;
use crate::threads;

/// Forks this process as `os.fork()` does, with the functions of `os.register_at_fork()`; but the
/// new process is a sibling of this one, not a child: see [`sibling`]. There, `begin` runs first,
/// before any code of Python's.
///
/// The caller is the only thread of the process: others do not exist in the new one, whatever they
/// hold. It is attached to the main interpreter, on the thread that has started Python, and there
/// are no other interpreters.
///
/// # Errors
/// See [`sibling`].
pub fn fork(_py: Python<'_>, begin: impl FnOnce()) -> io::Result<Side> {
    if os::exit::has_other_threads() {
        return Err(io::Error::other("the process has other threads"));
    }
    // SAFETY: the token proves that the thread is attached, and it is the only one, as was just
    // seen, so nothing is held by others. CPython's functions are called around the fork in the
    // order that it asks for, each once in each process.
    unsafe {
        ffi::PyOS_BeforeFork();
        let side = sibling();
        if matches!(side, Ok(Side::New)) {
            threads::become_original();
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
