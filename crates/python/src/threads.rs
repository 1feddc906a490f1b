//! Thread states: one for each interpreter that a thread enters, made on first use, ended with the
//! thread.
//!
//! A state is cleared and deleted by the thread that it is for, while that is attached with it. No
//! other thread may do that: CPython (3.12, 3.13) then takes the state of the deleting thread out
//! of the key that the `PyGILState` functions look into, and that thread waits for itself, or goes
//! on with two states.

use std::cell::{Cell, UnsafeCell};
use std::ffi::c_void;
use std::mem::ManuallyDrop;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Condvar, Mutex, OnceLock, PoisonError};
use std::time::{Duration, Instant};

use os::lock::lock;
use pyo3_ffi as ffi;

/// A thread's data for an interpreter.
#[derive(Clone, Copy)]
pub(crate) struct ThreadEntry {
    interpreter: *mut ffi::PyInterpreterState,
    /// The thread's state.
    pub(crate) state: *mut ffi::PyThreadState,
    /// A leaked value, see [`add`].
    pub(crate) data: *mut (),
    drop_data: unsafe fn(*mut ()),
    /// The state ends with Python: it was started with it, and looks for it at its end.
    is_pythons: bool,
}

thread_local! {
    /// Without a destructor of Rust's, so that it can be used as long as the thread runs anything.
    static ENTRIES: UnsafeCell<ManuallyDrop<Vec<ThreadEntry>>> = const { UnsafeCell::new(ManuallyDrop::new(Vec::new())) };
}

thread_local! {
    /// The number of calls of `attach` that the thread is in.
    static DEPTH: Cell<u32> = const { Cell::new(0) };
}

/// The function that is told of a thread which code of an application ends.
static THREAD_IS_ENDED: OnceLock<fn()> = OnceLock::new();

/// The key whose destructor ends the states of a thread. A destructor of Rust's would do the same
/// at the end of a process, too, in `exit`, where Python may be gone.
static KEY: OnceLock<Option<libc::pthread_key_t>> = OnceLock::new();

/// The process whose threads end their states; 0 before there is one.
static PROCESS: AtomicU32 = AtomicU32::new(0);

/// The gate that threads pass to end their states.
static GATE: Mutex<Gate> = Mutex::new(Gate { is_closed: false, inside: 0 });
static LEFT: Condvar = Condvar::new();

struct Gate {
    is_closed: bool,
    /// The number of threads that are ending theirs.
    inside: u32,
}

/// Sets the function that is called if code of an application ends the thread that runs it, by
/// `pthread_exit`. The thread stops for ever then: it cannot go on, and its stack must not be
/// unwound.
pub fn on_thread_ended(report: fn()) {
    THREAD_IS_ENDED.get_or_init(|| report);
}

/// A guard for a thread inside of an interpreter.
pub(crate) struct Inside;

impl Inside {
    #[inline]
    pub(crate) fn enter() -> Self {
        DEPTH.set(DEPTH.get() + 1);
        Self
    }
}

impl Drop for Inside {
    #[inline]
    fn drop(&mut self) {
        DEPTH.set(DEPTH.get() - 1);
    }
}

/// Stops a thread that is being ended inside of an interpreter. Any other one is to end.
fn exit_begins() {
    if DEPTH.get() == 0 {
        return;
    }
    let current = crate::interpreter::attached();
    // Extension modules may call the function without having released the lock.
    let has_lock = ENTRIES.with(|entries| {
        // SAFETY: only this thread has access, and no reference outlives this statement.
        unsafe { (&*entries.get()).iter().any(|entry| entry.state == current) }
    });
    if has_lock {
        // SAFETY: the thread is attached with a state of its own.
        unsafe { ffi::PyEval_SaveThread() };
    }
    if let Some(report) = THREAD_IS_ENDED.get() {
        let _ = catch_unwind(report);
    }
    os::thread_exit::park();
}

/// Returns this thread's entry for an interpreter, if it has one.
#[inline]
pub(crate) fn entry_of(interpreter: *mut ffi::PyInterpreterState) -> Option<ThreadEntry> {
    ENTRIES.with(|entries| {
        // SAFETY: only this thread has access, and no reference outlives this statement.
        unsafe { (&*entries.get()).iter().find(|entry| entry.interpreter == interpreter).copied() }
    })
}

/// Keeps a state of this thread, and a value with it, until the thread ends.
pub(crate) fn add<T: Default + 'static>(
    interpreter: *mut ffi::PyInterpreterState,
    state: *mut ffi::PyThreadState,
    is_pythons: bool,
) -> ThreadEntry {
    unsafe fn drop_data<T>(data: *mut ()) {
        // SAFETY: by the caller: what `add` has leaked, once.
        drop(unsafe { Box::from_raw(data.cast::<T>()) });
    }
    let data = Box::into_raw(Box::<T>::default()).cast();
    let entry = ThreadEntry { interpreter, state, data, drop_data: drop_data::<T>, is_pythons };
    ENTRIES.with(|entries| {
        // SAFETY: only this thread has access, and no reference outlives this statement.
        unsafe { (*entries.get()).push(entry) };
    });
    crate::frames::add(interpreter, state);
    // For the handlers of `faulthandler`.
    os::alternate_stack::install();
    os::thread_exit::intercept(exit_begins);
    let key = KEY.get_or_init(|| {
        let mut key = 0;
        // SAFETY: the place is valid, and the destructor a function of this library, which stays
        // loaded.
        let is_made = unsafe { libc::pthread_key_create(&raw mut key, Some(thread_ends)) } == 0;
        is_made.then(|| {
            become_original();
            key
        })
    });
    if let Some(key) = *key {
        // SAFETY: the key was made above; any value but null has the destructor called.
        unsafe { libc::pthread_setspecific(key, std::ptr::dangling::<c_void>()) };
    }
    entry
}

/// Forgets this thread's entry for an interpreter that is about to end. The value that was kept
/// with it is dropped.
///
/// # Safety
/// The thread is attached to that interpreter.
pub(crate) unsafe fn remove(interpreter: *mut ffi::PyInterpreterState) {
    let taken = ENTRIES.with(|entries| {
        // SAFETY: only this thread has access, and no reference outlives this statement.
        let entries = unsafe { &mut *entries.get() };
        entries.iter().position(|entry| entry.interpreter == interpreter).map(|index| entries.remove(index))
    });
    if let Some(entry) = taken {
        crate::frames::remove(entry.state);
        // SAFETY: the value is in no entry any more.
        unsafe { (entry.drop_data)(entry.data) };
    }
}

/// Returns the states of this thread, in the order of their creation.
#[cfg(not(Py_3_12))]
pub(crate) fn states() -> Vec<*mut ffi::PyThreadState> {
    // SAFETY: only this thread has access, and no reference outlives this statement.
    ENTRIES.with(|entries| unsafe { (&*entries.get()).iter().map(|entry| entry.state).collect() })
}

/// Ends what the calling thread has in interpreters, as its end would. It is not attached.
pub fn end_thread() {
    loop {
        let taken = ENTRIES.with(|entries| {
            // SAFETY: only this thread has access, and no reference outlives this statement.
            let entries = unsafe { &mut *entries.get() };
            entries.iter().rposition(|entry| !entry.is_pythons).map(|index| entries.remove(index))
        });
        let (Some(entry), Some(_pass)) = (taken, Pass::acquire()) else { return };
        // SAFETY: the state is this thread's own, and its interpreter exists: one that has states
        // of other threads is not ended, and Python is not finalised while there is a pass. The
        // value is in no entry any more.
        unsafe {
            #[cfg(not(Py_3_12))]
            crate::gilstate::bind(entry.state);
            ffi::PyEval_RestoreThread(entry.state);
            crate::frames::remove(entry.state);
            (entry.drop_data)(entry.data);
            ffi::PyThreadState_Clear(entry.state);
            ffi::PyThreadState_DeleteCurrent();
            #[cfg(not(Py_3_12))]
            crate::gilstate::unbind();
        }
    }
}

/// Ends the states of the thread; the destructor of the key.
extern "C" fn thread_ends(_: *mut c_void) {
    // A copy of the process has no other threads, which may hold any lock.
    if PROCESS.load(Ordering::Relaxed) == std::process::id() {
        let _ = catch_unwind(AssertUnwindSafe(end_thread));
    }
    // SAFETY: this is a destructor of a key, which the thread runs at its end.
    unsafe { os::thread_exit::forget() };
}

/// Makes this process, if it is a copy of another one, one whose threads end their states.
pub(crate) fn become_original() {
    PROCESS.store(std::process::id(), Ordering::Relaxed);
}

/// Makes threads leave Python alone when they end, because it is about to be finalised or the
/// process to exit. Returns whether none is ending its states after `patience`.
pub(crate) fn close(patience: Duration) -> bool {
    let deadline = Instant::now() + patience;
    let mut gate = lock(&GATE);
    gate.is_closed = true;
    while gate.inside > 0 {
        let rest = deadline.saturating_duration_since(Instant::now());
        if rest.is_zero() {
            return false;
        }
        gate = LEFT.wait_timeout(gate, rest).unwrap_or_else(PoisonError::into_inner).0;
    }
    true
}

/// The right to end states.
struct Pass;

impl Pass {
    fn acquire() -> Option<Self> {
        let mut gate = lock(&GATE);
        if gate.is_closed {
            return None;
        }
        gate.inside += 1;
        Some(Self)
    }
}

impl Drop for Pass {
    fn drop(&mut self) {
        lock(&GATE).inside -= 1;
        LEFT.notify_all();
    }
}
