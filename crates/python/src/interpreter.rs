//! Interpreters, and how threads get into them.

use std::cell::UnsafeCell;
use std::mem::ManuallyDrop;
use std::sync::{Mutex, OnceLock, PoisonError};

use pyo3_ffi as ffi;

use crate::{Config, Object, Python};

/// What is kept for each interpreter.
pub trait State: Send + Sync + 'static {
    /// What is kept for each thread in that interpreter.
    type Thread: Default + 'static;
}

/// An interpreter. It lives until the process ends, or [`Interpreter::end`].
///
/// Whatever a thread did before, [`attach`](Self::attach) takes it into this very interpreter: threads have a
/// thread state for each interpreter they enter, made on first use and kept for the life of the thread.
pub struct Interpreter<S> {
    raw: *mut ffi::PyInterpreterState,
    state: OnceLock<S>,
    /// The thread states made here, so that they can be discarded before the interpreter ends.
    threads: Mutex<Vec<ThreadState>>,
}

// SAFETY: the raw pointer is only handed to CPython functions that may be called on any thread.
unsafe impl<S: Send + Sync> Send for Interpreter<S> {}
// SAFETY: as above.
unsafe impl<S: Send + Sync> Sync for Interpreter<S> {}

impl<S> std::fmt::Debug for Interpreter<S> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Interpreter").field("raw", &self.raw).finish_non_exhaustive()
    }
}

/// How [`Interpreter::end`] ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Ended {
    /// The interpreter is gone.
    Gone,
    /// Threads of the application still use it; it was left as it is.
    InUse,
}

/// Starts Python in this process. `set_up` runs in the main interpreter and makes what is kept for it.
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
    unsafe { settle(ffi::PyThreadState_Get(), set_up) }
}

/// Uses the Python that runs in this process, which has called into here on the main thread. `set_up` runs in the main
/// interpreter and makes what is kept for it; then `work` runs while the thread is not attached. When it returns, no
/// other thread is inside [`Interpreter::attach`] and none will be, and the interpreters that were created meanwhile
/// have been ended: Python goes on, and finalises itself at its end.
pub fn adopt<S: State, R: Send>(
    _py: Python<'_>,
    set_up: impl FnOnce(Python<'_>) -> Result<S, String>,
    work: impl FnOnce(Result<&'static Interpreter<S>, String>) -> R + Send,
) -> R {
    /// Attaches again, also when `work` panics.
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
    // SAFETY: the token proves that this thread is attached; nobody has a reference to the new value.
    let (again, interpreter) = unsafe {
        let state = ffi::PyThreadState_Get();
        let interpreter = settle(state, set_up);
        (Again(state), interpreter)
    };
    #[cfg(not(Py_3_13))]
    let main = interpreter.as_ref().ok().copied();
    let result = work(interpreter);
    #[cfg(not(Py_3_13))]
    let own = again.0;
    drop(again);
    #[cfg(not(Py_3_13))]
    if let Some(main) = main {
        // SAFETY: the thread is attached with `own`, and by the promise of `work` no other uses its state.
        unsafe { main.discard_threads(own) };
    }
    result
}

impl<S: State> Interpreter<S> {
    /// Creates a sub-interpreter, from a thread that is attached to the main one. `set_up` runs in the new
    /// interpreter and makes what is kept for it. With `own_gil` (Python 3.12) it gets a lock of its own.
    ///
    /// # Errors
    /// CPython's message, or what `set_up` says.
    pub fn create(
        _py: Python<'_>,
        own_gil: bool,
        set_up: impl FnOnce(Python<'_>) -> Result<S, String>,
    ) -> Result<&'static Self, String> {
        // SAFETY: the token proves that this thread is attached. Creating an interpreter switches the thread
        // to it, `settle` detaches from it, and restoring the old state attaches to the old interpreter.
        unsafe {
            let old = ffi::PyThreadState_Get();
            let outcome = create(own_gil).and_then(|new| settle(new, set_up));
            if attached() != old {
                ffi::PyEval_RestoreThread(old);
            }
            #[cfg(not(Py_3_12))]
            crate::gilstate::bind(old);
            outcome
        }
    }

    /// Runs `work` in this interpreter, with what is kept for it and for this thread in it. What is not
    /// `Send`, objects above all, stays inside.
    ///
    /// # Panics
    /// Without memory for a thread state.
    #[inline]
    pub fn attach<R: Send>(
        &'static self,
        work: impl FnOnce(Python<'_>, &'static S, &S::Thread) -> R + Send,
    ) -> R {
        /// Detaches, also when `work` panics.
        struct Detach;
        impl Drop for Detach {
            #[inline]
            fn drop(&mut self) {
                // SAFETY: the thread was attached below, and `work` leaves it as it was.
                unsafe { ffi::PyEval_SaveThread() };
            }
        }
        let slot = slot_of(self.raw).unwrap_or_else(|| self.enter());
        #[cfg(not(Py_3_12))]
        crate::gilstate::bind(slot.state);
        // SAFETY: the state is this thread's own for this interpreter.
        unsafe { ffi::PyEval_RestoreThread(slot.state) };
        let _detach = Detach;
        // SAFETY: `data` is what `enter` or `settle` allocated for this interpreter, so of this type, and is
        // never freed; it is `!Sync` data that only this thread reaches.
        let (py, thread) = unsafe { (Python::assume_attached(), &*slot.data.cast::<S::Thread>()) };
        work(py, self.state(), thread)
    }

    /// What is kept for this interpreter.
    ///
    /// # Panics
    /// While it is being set up; nobody has a reference to it then.
    pub fn state(&self) -> &S {
        self.state.get().expect("an interpreter is handed out after its set-up")
    }

    /// Makes this thread's state for this interpreter.
    #[cold]
    fn enter(&'static self) -> Slot {
        // SAFETY: the interpreter exists; thread states are made without holding its lock.
        let state = unsafe { ffi::PyThreadState_New(self.raw) };
        assert!(!state.is_null(), "no memory for a Python thread state");
        self.remember::<S::Thread>(state)
    }

    fn remember<T: Default + 'static>(&self, state: *mut ffi::PyThreadState) -> Slot {
        self.threads.lock().unwrap_or_else(PoisonError::into_inner).push(ThreadState(state));
        let slot = Slot { interpreter: self.raw, state, data: Box::into_raw(Box::<T>::default()).cast() };
        SLOTS.with(|slots| {
            // SAFETY: only this thread has access, and no reference outlives this statement.
            unsafe { (*slots.get()).push(slot) };
        });
        slot
    }

    /// Ends a sub-interpreter: joins its threads (those that are not daemons), runs its `atexit` functions,
    /// tears it down. Called while this thread is not attached, when no other thread is inside
    /// [`attach`](Self::attach) and none will be.
    pub fn end(&'static self) -> Ended {
        let slot = slot_of(self.raw).unwrap_or_else(|| self.enter());
        #[cfg(not(Py_3_12))]
        crate::gilstate::bind(slot.state);
        // SAFETY: attaches with this thread's state. CPython aborts the process when an interpreter with
        // further thread states is ended, so ours are discarded and its threads joined first; if any is left
        // it belongs to a daemon thread, and the interpreter is not ended but only told to run `atexit`.
        unsafe {
            ffi::PyEval_RestoreThread(slot.state);
            let py = Python::assume_attached();
            self.discard_threads(slot.state);
            join_threads(py);
            let head = ffi::PyInterpreterState_ThreadHead(self.raw);
            if head != slot.state || !ffi::PyThreadState_Next(head).is_null() {
                run_atexit(py);
                ffi::PyEval_SaveThread();
                return Ended::InUse;
            }
            ffi::Py_EndInterpreter(slot.state);
            // Before 3.12 the lock stays with the thread, which has no state any more to give it back with.
            #[cfg(not(Py_3_12))]
            give_back_lock();
            Ended::Gone
        }
    }

    /// Discards the thread states that other threads have in this interpreter. Without that, `threading` (up
    /// to Python 3.12) waits for the thread that imported it, which may be one of them.
    ///
    /// # Safety
    /// The thread is attached with `own`; the others are not inside this interpreter and will not be.
    unsafe fn discard_threads(&self, own: *mut ffi::PyThreadState) {
        let mut threads = self.threads.lock().unwrap_or_else(PoisonError::into_inner);
        for thread in threads.drain(..).filter(|thread| thread.0 != own) {
            // SAFETY: made by `enter` for this interpreter, and by the caller's promise not in use.
            unsafe {
                ffi::PyThreadState_Clear(thread.0);
                ffi::PyThreadState_Delete(thread.0);
            }
        }
    }
}

/// Finalises Python: the main interpreter, after [`Interpreter::end`] of the others. Called while this thread
/// is not attached, when no other thread is inside [`Interpreter::attach`] and none will be.
///
/// CPython aborts the process when a sub-interpreter is left. So if one could not be ended (`complete` is
/// false), the main one is not either: its threads are joined and its `atexit` functions run.
pub fn finalize<S: State>(main: &'static Interpreter<S>, complete: bool) {
    let slot = slot_of(main.raw).unwrap_or_else(|| main.enter());
    #[cfg(not(Py_3_12))]
    crate::gilstate::bind(slot.state);
    // SAFETY: attaches with this thread's state of the main interpreter, as finalisation demands.
    unsafe {
        ffi::PyEval_RestoreThread(slot.state);
        // From 3.13 on CPython wants to find its first thread state again, and does the rest itself.
        #[cfg(not(Py_3_13))]
        main.discard_threads(slot.state);
        if complete {
            ffi::Py_FinalizeEx();
        } else {
            let py = Python::assume_attached();
            join_threads(py);
            run_atexit(py);
            ffi::PyEval_SaveThread();
        }
    }
}

/// Sets up the interpreter that this thread is attached to with `state`, and detaches.
///
/// # Safety
/// `state` is this thread's state, attached, in an interpreter that nobody else knows yet.
unsafe fn settle<S: State>(
    state: *mut ffi::PyThreadState,
    set_up: impl FnOnce(Python<'_>) -> Result<S, String>,
) -> Result<&'static Interpreter<S>, String> {
    // SAFETY: the thread is attached with `state`.
    let interpreter: &'static Interpreter<S> = unsafe {
        Box::leak(Box::new(Interpreter {
            raw: ffi::PyThreadState_GetInterpreter(state),
            state: OnceLock::new(),
            threads: Mutex::new(Vec::new()),
        }))
    };
    interpreter.remember::<S::Thread>(state);
    #[cfg(not(Py_3_12))]
    crate::gilstate::bind(state);
    // SAFETY: as above.
    let outcome = set_up(unsafe { Python::assume_attached() });
    // SAFETY: as above.
    unsafe { ffi::PyEval_SaveThread() };
    outcome.map(|kept| {
        // Nobody else has a reference yet, so it is not set.
        let _ = interpreter.state.set(kept);
        interpreter
    })
}

/// Creates a sub-interpreter and attaches the thread to it.
///
/// # Safety
/// The thread is attached to the main interpreter.
#[cfg(Py_3_12)]
unsafe fn create(own_gil: bool) -> Result<*mut ffi::PyThreadState, String> {
    let config = if own_gil { ffi::_PyInterpreterConfig_INIT } else { ffi::_PyInterpreterConfig_LEGACY_INIT };
    let mut state = std::ptr::null_mut();
    // SAFETY: by the caller's promise; the message is a static C string or null.
    unsafe {
        let status = ffi::Py_NewInterpreterFromConfig(&raw mut state, &raw const config);
        if ffi::PyStatus_Exception(status) == 0 && !state.is_null() {
            return Ok(state);
        }
        if status.err_msg.is_null() {
            return Err("the interpreter can not be created".to_owned());
        }
        Err(std::ffi::CStr::from_ptr(status.err_msg).to_string_lossy().into_owned())
    }
}

/// As above; before 3.12 there is one lock for all.
#[cfg(not(Py_3_12))]
unsafe fn create(_own_gil: bool) -> Result<*mut ffi::PyThreadState, String> {
    // SAFETY: by the caller's promise.
    let state = unsafe { ffi::Py_NewInterpreter() };
    if state.is_null() { Err("the interpreter can not be created".to_owned()) } else { Ok(state) }
}

/// The state that this thread is attached with, or null.
fn attached() -> *mut ffi::PyThreadState {
    // SAFETY: may be called on any thread. (Before 3.12 it answers for the process, which is the same here: its
    // caller asks right after it detached or failed to, and compares with a state of its own thread.)
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
        /// Public since Python 3.5, renamed in 3.13.
        pub(super) fn _PyThreadState_UncheckedGet() -> *mut pyo3_ffi::PyThreadState;
    }
}

/// Lets go of the lock that `Py_EndInterpreter` leaves with a thread without state.
///
/// # Safety
/// The thread holds the lock, has no current state, and has a state for another interpreter.
#[cfg(not(Py_3_12))]
#[expect(clippy::disallowed_methods, reason = "the one place where a thread holds the lock without a state")]
unsafe fn give_back_lock() {
    let other = SLOTS.with(|slots| {
        // SAFETY: only this thread has access. The main interpreter's state is the first to be made of all
        // that `Interpreter::create` needs.
        unsafe { (&*slots.get()).iter().map(|slot| slot.state).find(|state| is_alive(*state)) }
    });
    if let Some(state) = other {
        crate::gilstate::bind(state);
        // SAFETY: a live state of this thread, which holds the lock.
        unsafe {
            ffi::PyThreadState_Swap(state);
            ffi::PyEval_SaveThread();
        }
    }
}

/// Whether `state` still belongs to an interpreter.
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

/// `threading._shutdown()`: joins the threads that are not daemons. CPython is going to call it again, which not
/// every version takes well, so that it finds something harmless then.
fn join_threads(py: Python<'_>) {
    call_if_loaded(py, "threading", "_shutdown", |module, name| {
        let harmless = py.import(c"builtins")?.attr(&py.name("bool")?)?;
        module.set_attr(name, &harmless)
    });
}

/// `atexit._run_exitfuncs()`.
fn run_atexit(py: Python<'_>) {
    call_if_loaded(py, "atexit", "_run_exitfuncs", |_, _| Ok(()));
}

/// Calls a function of a module, if that is loaded, and then something else to do with it. Exceptions go where
/// CPython sends those that nobody sees.
fn call_if_loaded(
    py: Python<'_>,
    module: &str,
    function: &str,
    then: impl FnOnce(&Object, &Object) -> crate::Result<()>,
) {
    let call = || {
        let Some(module) = py.modules().dict_get(&py.name(module)?)? else { return Ok(()) };
        let function = py.name(function)?;
        module.attr(&function)?.call([])?;
        then(&module, &function)
    };
    if let Err(crate::Raised { .. }) = call() {
        // SAFETY: the thread is attached and the error indicator set.
        unsafe { ffi::PyErr_WriteUnraisable(std::ptr::null_mut()) };
    }
}

/// A thread state that was made here.
struct ThreadState(*mut ffi::PyThreadState);

// SAFETY: the pointer is used by `discard_threads` only, as it describes.
unsafe impl Send for ThreadState {}

/// What a thread has for an interpreter.
#[derive(Clone, Copy)]
struct Slot {
    interpreter: *mut ffi::PyInterpreterState,
    state: *mut ffi::PyThreadState,
    /// A leaked `S::Thread`.
    data: *mut (),
}

thread_local! {
    /// Never dropped: thread states must not be touched when threads end, the interpreter may be gone by then.
    static SLOTS: UnsafeCell<ManuallyDrop<Vec<Slot>>> = const { UnsafeCell::new(ManuallyDrop::new(Vec::new())) };
}

/// This thread's slot for an interpreter.
#[inline]
fn slot_of(interpreter: *mut ffi::PyInterpreterState) -> Option<Slot> {
    SLOTS.with(|slots| {
        // SAFETY: only this thread has access, and no reference outlives this statement.
        unsafe { (&*slots.get()).iter().find(|slot| slot.interpreter == interpreter).copied() }
    })
}
