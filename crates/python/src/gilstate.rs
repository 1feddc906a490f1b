//! The `PyGILState` functions of Python 3.10 and 3.11, made to follow the interpreter that a thread
//! is attached to.
//!
//! Extension modules take the lock with `PyGILState_Ensure`, which uses the thread state that a
//! thread-specific key of CPython's holds. Before 3.12 that is the first one ever made for the
//! thread: in any other interpreter that the thread enters later, an extension's callback takes the
//! wrong one and waits for itself for ever. From 3.12 on CPython moves the key's value along with
//! every attachment; this does the same for older ones. The key is not public, but it is a plain
//! pthread key, and the only one with that value.

use std::cell::Cell;
use std::sync::atomic::{AtomicI64, Ordering};

use pyo3_ffi as ffi;

/// The key, or -1 as long as it is not known.
static KEY: AtomicI64 = AtomicI64::new(-1);

/// More keys than any system gives to a process (glibc: 1024).
const MOST_KEYS: libc::pthread_key_t = 4096;

thread_local! {
    /// The value that this thread has put into the key.
    static BOUND: Cell<*mut ffi::PyThreadState> = const { Cell::new(std::ptr::null_mut()) };
}

/// Finds the key. The thread is attached, and `PyGILState_GetThisThreadState` gives its state.
pub(crate) fn discover() {
    // SAFETY: reading keys that were not created is defined to fail (a null result) on glibc and
    // musl; the value that is set is the one that was there.
    unsafe {
        let state = ffi::PyGILState_GetThisThreadState();
        if state.is_null() {
            return;
        }
        let mut holders = (0..MOST_KEYS).filter(|key| libc::pthread_getspecific(*key) == state.cast());
        if let (Some(key), None) = (holders.next(), holders.next()) {
            // It is the key only if the function's answer follows it.
            let probe = std::ptr::dangling_mut::<ffi::PyThreadState>();
            libc::pthread_setspecific(key, probe.cast());
            let follows = ffi::PyGILState_GetThisThreadState() == probe;
            libc::pthread_setspecific(key, state.cast());
            if follows {
                BOUND.set(state);
                KEY.store(key.into(), Ordering::Release);
            }
        }
    }
}

/// Finds the key again in a forked copy of the process: CPython has replaced it there.
pub(crate) fn rediscover() {
    KEY.store(-1, Ordering::Release);
    BOUND.set(std::ptr::null_mut());
    discover();
}

/// Makes `state` the one that the `PyGILState` functions use on this thread.
#[inline]
pub(crate) fn bind(state: *mut ffi::PyThreadState) {
    if BOUND.get() == state {
        return;
    }
    if let Ok(key) = libc::pthread_key_t::try_from(KEY.load(Ordering::Acquire)) {
        BOUND.set(state);
        // SAFETY: the key was proven to be CPython's, which stores thread states in it.
        unsafe { libc::pthread_setspecific(key, state.cast()) };
    }
}

/// Forgets the bound state after its deletion, which clears the key: another state may get its
/// address.
pub(crate) fn unbind() {
    BOUND.set(std::ptr::null_mut());
}
