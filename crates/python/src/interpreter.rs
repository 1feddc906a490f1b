//! Interpreters, and the attachment of threads to them.

use std::sync::OnceLock;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use pyo3_ffi as ffi;

use crate::threads::{self, ThreadEntry, entry_of};
use crate::{Config, Python};

/// The data that is kept for each interpreter.
pub trait State: Send + Sync + 'static {
    /// The data that is kept for each thread in that interpreter.
    type Thread: Default + 'static;
}

/// An interpreter. It lives until the process ends, or [`Interpreter::end`].
///
/// Whatever a thread did before, [`attach`](Self::attach) takes it into this very interpreter:
/// threads have a thread state for each interpreter they enter, made on first use and kept for the
/// life of the thread.
pub struct Interpreter<S> {
    raw: *mut ffi::PyInterpreterState,
    state: OnceLock<S>,
    /// The first thread state of a sub-interpreter. No thread uses it, so that there is always one:
    /// where the last one goes and the next one comes, CPython (3.11, 3.12) may give out the memory
    /// of the first one before it is done with it.
    spare: *mut ffi::PyThreadState,
    /// It stays as it is after [`end`](Self::end): see [`is_finalizable`].
    is_kept: bool,
}

/// The longest wait for threads that were started in an interpreter whose set-up failed.
const SETTLED: Duration = Duration::from_millis(100);

/// Set once there has been an interpreter that stays.
static HAS_KEPT: AtomicBool = AtomicBool::new(false);

/// Set once an interpreter with its own GIL is about to be created.
static HAS_OWN_GILS: AtomicBool = AtomicBool::new(false);

/// The interval of checks whether other threads have left an interpreter.
const BETWEEN_LOOKS: Duration = Duration::from_millis(2);

// SAFETY: the raw pointer is only handed to CPython functions that may be called on any thread.
unsafe impl<S: Send + Sync> Send for Interpreter<S> {}
// SAFETY: the raw pointer is only handed to CPython functions that may be called on any thread.
unsafe impl<S: Send + Sync> Sync for Interpreter<S> {}

impl<S> std::fmt::Debug for Interpreter<S> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Interpreter").field("raw", &self.raw).finish_non_exhaustive()
    }
}

/// The result of [`Interpreter::end`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Ended {
    /// The interpreter is gone.
    Gone,
    /// Other threads still have states in it; it was left as it is.
    InUse,
    /// Its end would crash this CPython; it was left as it is. Python is not [`is_finalizable`].
    Kept,
}

/// The error where an interpreter cannot be created.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NotCreated {
    /// CPython's message, or that of the set-up.
    pub message: String,
    /// Threads that the set-up has started run in the interpreter: it was left as it is. Python is
    /// not [`is_finalizable`].
    pub is_left_behind: bool,
}

/// Starts Python in this process. `set_up` runs in the main interpreter and makes what is kept for
/// it.
///
/// # Errors
/// CPython's message, or what `set_up` says.
pub fn start<S: State>(
    config: &Config,
    set_up: impl FnOnce(Python<'_>) -> Result<S, String>,
) -> Result<&'static Interpreter<S>, String> {
    config.initialize()?;
    #[cfg(not(Py_3_12))]
    crate::gilstate::discover();
    // SAFETY: initialising attached this thread to the main interpreter.
    unsafe {
        let outcome = settle(ffi::PyThreadState_Get(), set_up, Kind::Main);
        ffi::PyEval_SaveThread();
        outcome
    }
}

/// Uses the Python that runs in this process, which has called into here on the main thread.
/// `set_up` runs in the main interpreter and makes what is kept for it; then `work` runs while the
/// thread is not attached. When it returns, no other thread is inside [`Interpreter::attach`] and
/// none will be, and the interpreters that were created meanwhile have been ended: Python goes on,
/// and finalises itself at its end.
pub fn adopt<S: State, R: Send>(
    _py: Python<'_>,
    set_up: impl FnOnce(Python<'_>) -> Result<S, String>,
    work: impl FnOnce(Result<&'static Interpreter<S>, String>) -> R + Send,
) -> R {
    /// A guard that attaches again, also when `work` panics.
    struct Again(*mut ffi::PyThreadState);
    impl Drop for Again {
        fn drop(&mut self) {
            #[cfg(not(Py_3_12))]
            crate::gilstate::bind(self.0);
            // SAFETY: the state that the thread was attached with when it came here.
            unsafe { ffi::PyEval_RestoreThread(self.0) };
        }
    }
    #[cfg(not(Py_3_12))]
    crate::gilstate::discover();
    // SAFETY: the token proves that this thread is attached; nobody has a reference to the new
    // value.
    let (again, interpreter) = unsafe {
        let state = ffi::PyThreadState_Get();
        let interpreter = settle(state, set_up, Kind::Main);
        ffi::PyEval_SaveThread();
        (Again(state), interpreter)
    };
    let result = work(interpreter);
    // No thread of ours is left.
    threads::close(Duration::ZERO);
    drop(again);
    result
}

impl<S: State> Interpreter<S> {
    /// Creates a sub-interpreter, from a thread that is attached to the main one. `set_up` runs in
    /// the new interpreter and makes what is kept for it; if it fails, the interpreter ends, unless
    /// threads run in it. With `own_gil` (Python 3.12) it gets a lock of its own.
    ///
    /// # Errors
    /// CPython's message, or what `set_up` says.
    pub fn create(
        py: Python<'_>,
        own_gil: bool,
        set_up: impl FnOnce(Python<'_>) -> Result<S, String>,
    ) -> Result<&'static Self, NotCreated> {
        // SAFETY: the token proves that this thread is attached. Creating an interpreter switches
        // the thread to it; the thread leaves or ends it, and restoring the old state attaches to
        // the old interpreter.
        unsafe {
            let old = ffi::PyThreadState_Get();
            if own_gil {
                HAS_OWN_GILS.store(true, Ordering::Relaxed);
            }
            let is_kept = own_gil && keeps_own_gils();
            let not_created = |message| NotCreated { message, is_left_behind: false };
            let outcome = create(py, own_gil).map_err(not_created).and_then(|new| {
                if is_kept {
                    HAS_KEPT.store(true, Ordering::Relaxed);
                }
                let mut outcome = settle(new, set_up, Kind::Sub { is_kept }).map_err(not_created);
                let Err(error) = &mut outcome else {
                    ffi::PyEval_SaveThread();
                    return outcome;
                };
                if wait_alone([new, new], Instant::now() + SETTLED) {
                    ffi::Py_EndInterpreter(new);
                    // Before 3.12 the lock stays with the thread, which has no state any more.
                    #[cfg(not(Py_3_12))]
                    take_lock_over(old);
                } else {
                    error.is_left_behind = true;
                    HAS_KEPT.store(true, Ordering::Relaxed);
                    ffi::PyEval_SaveThread();
                }
                outcome
            });
            if attached() != old {
                #[cfg(not(Py_3_12))]
                crate::gilstate::bind(old);
                ffi::PyEval_RestoreThread(old);
            }
            outcome
        }
    }

    /// Runs `work` in this interpreter, with what is kept for it and for this thread in it. What is
    /// not `Send`, objects above all, stays inside.
    ///
    /// # Panics
    /// Without memory for a thread state.
    #[inline]
    pub fn attach<R: Send>(
        &'static self,
        work: impl FnOnce(Python<'_>, &'static S, &S::Thread) -> R + Send,
    ) -> R {
        /// A guard that detaches, also when `work` panics.
        struct Detach;
        impl Drop for Detach {
            #[inline]
            fn drop(&mut self) {
                // SAFETY: the thread was attached below, and `work` leaves it as it was.
                unsafe { ffi::PyEval_SaveThread() };
            }
        }
        let entry = entry_of(self.raw).unwrap_or_else(|| self.enter());
        #[cfg(not(Py_3_12))]
        crate::gilstate::bind(entry.state);
        // SAFETY: the state is this thread's own for this interpreter.
        unsafe { ffi::PyEval_RestoreThread(entry.state) };
        let _inside = threads::Inside::enter();
        let _detach = Detach;
        // SAFETY: `data` is what `enter` or `settle` allocated for this interpreter, so of this
        // type, and is never freed; it is `!Sync` data that only this thread reaches.
        let (py, thread) = unsafe { (Python::assume_attached(), &*entry.data.cast::<S::Thread>()) };
        work(py, self.state(), thread)
    }

    /// Returns the data that is kept for this interpreter.
    ///
    /// # Panics
    /// While it is being set up; there are no references to it then.
    pub fn state(&self) -> &S {
        self.state.get().expect("an interpreter is handed out after its set-up")
    }

    /// Makes this thread's state for this interpreter.
    #[cold]
    fn enter(&'static self) -> ThreadEntry {
        // SAFETY: the interpreter exists; thread states are made without holding its lock.
        let state = unsafe { ffi::PyThreadState_New(self.raw) };
        assert!(!state.is_null(), "no memory for a Python thread state");
        threads::add::<S::Thread>(self.raw, state, false)
    }

    /// Ends a sub-interpreter, once `wind_down` has had its threads end and `atexit` functions run.
    /// Other threads that have states in it are waited for until `deadline`. Called while this
    /// thread is not attached, when no other thread is inside [`attach`](Self::attach) and none
    /// will be.
    pub fn end(&'static self, wind_down: impl FnOnce(Python<'_>, &S) + Send, deadline: Instant) -> Ended {
        self.attach(|py, state, _| wind_down(py, state));
        if self.is_kept {
            return Ended::Kept;
        }
        let Some(entry) = entry_of(self.raw) else { return Ended::InUse };
        #[cfg(not(Py_3_12))]
        crate::gilstate::bind(entry.state);
        // SAFETY: attaches with this thread's state. CPython aborts the process when an interpreter
        // with further thread states is ended: then it is not.
        unsafe {
            ffi::PyEval_RestoreThread(entry.state);
            if !wait_alone([entry.state, self.spare], deadline) {
                ffi::PyEval_SaveThread();
                return Ended::InUse;
            }
            // It is the one that no thread's `PyGILState` key holds, so that any thread may do
            // this.
            ffi::PyThreadState_Clear(self.spare);
            ffi::PyThreadState_Delete(self.spare);
            threads::remove(self.raw);
            ffi::Py_EndInterpreter(entry.state);
            // Before 3.12 the lock stays with the thread, which has no state any more to give it
            // back with.
            #[cfg(not(Py_3_12))]
            give_back_lock();
            Ended::Gone
        }
    }
}

/// Returns whether Python can be finalised: not once there has been an interpreter with its own GIL
/// in a CPython before 3.12.4. The names of the keyword arguments of a function of an extension
/// module are kept there for all interpreters, in memory of the first one to call it: when that has
/// ended, further calls and the finalisation crash (gh-119213). Nor once one was left behind (see
/// [`NotCreated`]), since CPython aborts when it is finalised with sub-interpreters.
#[must_use]
pub fn is_finalizable() -> bool {
    !HAS_KEPT.load(Ordering::Relaxed)
}

/// Returns whether there may be interpreters with their own GIL, which run beside this one.
#[must_use]
pub fn has_own_gils() -> bool {
    HAS_OWN_GILS.load(Ordering::Relaxed)
}

/// Returns whether interpreters with their own GIL have to stay.
fn keeps_own_gils() -> bool {
    #[cfg(all(Py_3_12, not(Py_3_13)))]
    // SAFETY: a constant of the library that is loaded, which may be another one of 3.12 than this
    // was built with.
    return unsafe { ffi::Py_Version } < 0x030c_0400;
    #[cfg(not(all(Py_3_12, not(Py_3_13))))]
    return false;
}

/// Finalises Python, in the main interpreter, after [`Interpreter::end`] of all others and if it [`is_finalizable`]: CPython
/// aborts the process when a sub-interpreter is left. Called while this thread is not attached, when no other thread is inside
/// [`Interpreter::attach`] and none will be. Returns whether it did: not while threads that end are inside Python.
pub fn finalize<S: State>(main: &'static Interpreter<S>, patience: Duration) -> bool {
    let entry = entry_of(main.raw).unwrap_or_else(|| main.enter());
    if !leave_alone(patience) {
        return false;
    }
    #[cfg(not(Py_3_12))]
    crate::gilstate::bind(entry.state);
    // SAFETY: attaches with this thread's state of the main interpreter, as finalisation demands.
    unsafe {
        ffi::PyEval_RestoreThread(entry.state);
        ffi::Py_FinalizeEx();
    }
    true
}

/// Has threads leave Python alone when they end, from now on: the process is about to. Returns
/// whether none is inside Python for its end after `patience`.
pub fn leave_alone(patience: Duration) -> bool {
    threads::close(patience)
}

/// Waits, at most until `deadline`, until the interpreter that this thread is attached to has no
/// other states than these. Returns whether it has none.
///
/// # Safety
/// The thread is attached with the first of them.
unsafe fn wait_alone(states: [*mut ffi::PyThreadState; 2], deadline: Instant) -> bool {
    let own = states[0];
    // SAFETY: the thread is attached, so that threads of Python's do not come and go; a state that
    // another library makes meanwhile is put in front of the others.
    let is_alone = || unsafe {
        let mut state = ffi::PyInterpreterState_ThreadHead(ffi::PyThreadState_GetInterpreter(own));
        while states.contains(&state) {
            state = ffi::PyThreadState_Next(state);
        }
        state.is_null()
    };
    while !is_alone() {
        if Instant::now() >= deadline {
            return false;
        }
        // SAFETY: by the caller's promise.
        unsafe {
            ffi::PyEval_SaveThread();
            std::thread::sleep(BETWEEN_LOOKS);
            ffi::PyEval_RestoreThread(own);
        }
    }
    true
}

/// An interpreter that is set up.
enum Kind {
    Main,
    Sub { is_kept: bool },
}

/// Sets up the interpreter that this thread is attached to. If that fails, nothing is kept of it.
///
/// # Safety
/// `state` is this thread's state, attached, in an interpreter that nobody else knows yet.
unsafe fn settle<S: State>(
    state: *mut ffi::PyThreadState,
    set_up: impl FnOnce(Python<'_>) -> Result<S, String>,
    kind: Kind,
) -> Result<&'static Interpreter<S>, String> {
    #[cfg(not(Py_3_12))]
    crate::gilstate::bind(state);
    // SAFETY: the thread is attached.
    let kept = set_up(unsafe { Python::assume_attached() })?;
    // SAFETY: the thread is attached with `state`.
    let raw = unsafe { ffi::PyThreadState_GetInterpreter(state) };
    let (spare, is_kept) = match kind {
        Kind::Main => {
            threads::add::<S::Thread>(raw, state, true);
            (std::ptr::null_mut(), false)
        }
        Kind::Sub { is_kept } => (state, is_kept),
    };
    Ok(Box::leak(Box::new(Interpreter { raw, state: OnceLock::from(kept), spare, is_kept })))
}

/// Creates a sub-interpreter and attaches the thread to it.
///
/// # Safety
/// The thread is attached to the main interpreter.
#[cfg(Py_3_12)]
unsafe fn create(_py: Python<'_>, own_gil: bool) -> Result<*mut ffi::PyThreadState, String> {
    let config = if own_gil { ffi::_PyInterpreterConfig_INIT } else { ffi::_PyInterpreterConfig_LEGACY_INIT };
    let mut state = std::ptr::null_mut();
    // SAFETY: by the caller's promise; the message is a static C string or null.
    unsafe {
        let status = ffi::Py_NewInterpreterFromConfig(&raw mut state, &raw const config);
        if ffi::PyStatus_Exception(status) == 0 && !state.is_null() {
            return Ok(state);
        }
        if status.err_msg.is_null() {
            return Err("the interpreter cannot be created".to_owned());
        }
        Err(std::ffi::CStr::from_ptr(status.err_msg).to_string_lossy().into_owned())
    }
}

/// Creates a sub-interpreter and attaches the thread to it; before 3.12 all share one lock.
///
/// While memory is traced, CPython's own allocations in there look for the state of this thread in
/// the key of the `PyGILState` functions, find the one of the main interpreter, and wait for the
/// lock that the thread has.
#[cfg(not(Py_3_12))]
unsafe fn create(py: Python<'_>, _own_gil: bool) -> Result<*mut ffi::PyThreadState, String> {
    if is_memory_traced(py) {
        return Err(
            "memory is traced (tracemalloc), with which Python before 3.12 cannot create interpreters. Stop \
                    tracemalloc (also PYTHONTRACEMALLOC), run the application in the main interpreter \
                    (WSGIApplicationGroup %{GLOBAL}), or use Python 3.12 or later"
                .to_owned(),
        );
    }
    // SAFETY: by the caller's promise.
    unsafe {
        let old = ffi::PyThreadState_Get();
        // CPython puts the new state where there is none, so that code of the new interpreter that
        // takes the lock by these functions, or starts tracing, finds that.
        crate::gilstate::bind(std::ptr::null_mut());
        let state = ffi::Py_NewInterpreter();
        if state.is_null() {
            crate::gilstate::bind(old);
            return Err("the interpreter cannot be created".to_owned());
        }
        Ok(state)
    }
}

/// Returns whether memory is traced, by whichever interpreter: it is the process's matter.
#[cfg(not(Py_3_12))]
fn is_memory_traced(py: Python<'_>) -> bool {
    let ask = || py.import(c"_tracemalloc")?.attr(&py.name("is_tracing")?)?.call([])?.is_true();
    // Without such a module nothing is traced.
    ask().unwrap_or_else(|raised: crate::Raised| {
        raised.clear();
        false
    })
}

/// Returns the state that this thread is attached with; null if there is none.
pub(crate) fn attached() -> *mut ffi::PyThreadState {
    // SAFETY: may be called on any thread. (Before 3.12 it answers for the process, which is the
    // same here: its callers compare with states of their own thread.)
    unsafe {
        #[cfg(Py_3_13)]
        return ffi::PyThreadState_GetUnchecked();
        #[cfg(not(Py_3_13))]
        return current::_PyThreadState_UncheckedGet();
    }
}

#[cfg(not(Py_3_13))]
mod current {
    unsafe extern "C" {
        /// Returns the current state, or null. Public since Python 3.5, renamed in 3.13.
        pub(super) fn _PyThreadState_UncheckedGet() -> *mut pyo3_ffi::PyThreadState;
    }
}

/// Lets go of the lock that `Py_EndInterpreter` leaves with a thread without state.
///
/// # Safety
/// The thread holds the lock, has no current state, and has a state for another interpreter.
#[cfg(not(Py_3_12))]
unsafe fn give_back_lock() {
    // The main interpreter's state is the first to be made of all that `Interpreter::create` needs.
    // SAFETY: the thread holds the lock.
    let other = threads::states().into_iter().find(|state| unsafe { is_alive(*state) });
    if let Some(state) = other {
        // SAFETY: a live state of this thread, which holds the lock.
        unsafe {
            take_lock_over(state);
            ffi::PyEval_SaveThread();
        }
    }
}

/// Makes `state` the current one of a thread that has none, but the lock.
///
/// # Safety
/// The thread holds the lock, and `state` is its own.
#[cfg(not(Py_3_12))]
#[expect(clippy::disallowed_methods, reason = "the one place where a thread holds the lock without a state")]
unsafe fn take_lock_over(state: *mut ffi::PyThreadState) {
    crate::gilstate::unbind();
    crate::gilstate::bind(state);
    // SAFETY: by the caller's promise.
    unsafe { ffi::PyThreadState_Swap(state) };
}

/// Returns whether `state` still belongs to an interpreter.
///
/// # Safety
/// The thread holds the lock, so that the lists do not change.
#[cfg(not(Py_3_12))]
unsafe fn is_alive(state: *mut ffi::PyThreadState) -> bool {
    // SAFETY: by the caller's promise.
    unsafe {
        let mut interpreter = ffi::PyInterpreterState_Head();
        while !interpreter.is_null() {
            let mut thread = ffi::PyInterpreterState_ThreadHead(interpreter);
            while !thread.is_null() {
                if thread == state {
                    return true;
                }
                thread = ffi::PyThreadState_Next(thread);
            }
            interpreter = ffi::PyInterpreterState_Next(interpreter);
        }
        false
    }
}
