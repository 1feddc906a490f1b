//! The frames that threads execute.
//!
//! `sys._current_frames()` looks into the thread states of all interpreters, also of those that run at
//! the same time because they have a lock of their own: what it reads there may be freed meanwhile. So
//! this module knows the states that this crate has made, and looks at those of one interpreter.

use std::sync::Mutex;

use os::lock::lock;
use pyo3_ffi as ffi;

use crate::{Object, Python, Result, thread_id};

/// The states that threads of this crate have.
static KNOWN: Mutex<Vec<Known>> = Mutex::new(Vec::new());

#[derive(Clone, Copy)]
struct Known {
    thread: u64,
    interpreter: *mut ffi::PyInterpreterState,
    state: *mut ffi::PyThreadState,
}

// SAFETY: the pointers are compared, and followed by threads that are attached only: see `frames`.
unsafe impl Send for Known {}

/// Adds a state of the calling thread.
pub(crate) fn add(interpreter: *mut ffi::PyInterpreterState, state: *mut ffi::PyThreadState) {
    lock(&KNOWN).push(Known { thread: thread_id(), interpreter, state });
}

/// Removes a state that is about to be deleted. The calling thread is attached to its interpreter.
pub(crate) fn remove(state: *mut ffi::PyThreadState) {
    lock(&KNOWN).retain(|known| known.state != state);
}

/// Removes the states of all other threads, which a copy of the process does not have.
pub(crate) fn keep_own() {
    let own = thread_id();
    lock(&KNOWN).retain(|known| known.thread == own);
}

/// Returns a `dict` of what threads execute in this interpreter: their ids, and the innermost frames of
/// those that execute Python. Only threads that have entered it through this crate are in it.
///
/// # Errors
/// `MemoryError`.
pub fn frames(py: Python<'_>) -> Result<Object> {
    // SAFETY: the token proves that the thread is attached.
    let interpreter = unsafe { ffi::PyThreadState_GetInterpreter(ffi::PyThreadState_Get()) };
    // Not under the lock: a thread that is attached may wait for it.
    let states: Vec<_> =
        lock(&KNOWN).iter().filter(|known| known.interpreter == interpreter).copied().collect();
    let frames = py.dict()?;
    for Known { thread, state, .. } in states {
        // SAFETY: the state exists, since it is deleted by an attached thread only, which removes it from
        // the list before, and the interpreter has one attached thread at a time: this one. For the same
        // reason nothing is executed there meanwhile. The result is new, or null without an exception.
        let frame = unsafe {
            let frame = ffi::PyThreadState_GetFrame(state);
            if frame.is_null() {
                continue;
            }
            Object::owned(frame.cast())?
        };
        frames.dict_set(&py.int(i64::try_from(thread).unwrap_or(0))?, &frame)?;
    }
    Ok(frames)
}
