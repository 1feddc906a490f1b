//! The proof of attachment, and the objects that can be made with it.

use std::ffi::{CStr, c_char, c_long};
use std::marker::PhantomData;

use pyo3_ffi as ffi;

use crate::{Object, Raised, Result};

/// Proof that the thread is attached to an interpreter (holds its lock, on builds that have one).
#[derive(Clone, Copy)]
pub struct Python<'py>(PhantomData<(&'py (), *mut ())>);

impl std::fmt::Debug for Python<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Python")
    }
}

impl Python<'_> {
    /// # Safety
    /// The thread is attached, and stays so for the lifetime.
    #[inline]
    pub(crate) const unsafe fn assume_attached() -> Self {
        Self(PhantomData)
    }

    /// Runs `work` while other threads may run Python. Values that are not `Send`, objects above
    /// all, stay outside.
    #[inline]
    pub fn detach<R: Send>(self, work: impl FnOnce() -> R + Send) -> R {
        /// A guard that attaches again, also when `work` panics.
        struct Again(*mut ffi::PyThreadState);
        impl Drop for Again {
            #[inline]
            fn drop(&mut self) {
                // `work` may have entered other interpreters: the server's filters make requests of
                // their own.
                #[cfg(not(Py_3_12))]
                crate::gilstate::bind(self.0);
                // SAFETY: the state that this thread gave up below.
                unsafe { ffi::PyEval_RestoreThread(self.0) };
            }
        }
        // SAFETY: the token proves that the thread is attached.
        let _again = Again(unsafe { ffi::PyEval_SaveThread() });
        work()
    }

    /// Returns `None`.
    #[must_use]
    #[inline]
    pub fn none(self) -> Object {
        // SAFETY: the thread is attached; None is a valid object.
        unsafe { Object::from_borrowed(ffi::Py_None()) }
    }

    /// Returns `True` or `False`.
    #[must_use]
    pub fn bool(self, value: bool) -> Object {
        // SAFETY: the thread is attached; both are valid objects.
        unsafe { Object::from_borrowed(if value { ffi::Py_True() } else { ffi::Py_False() }) }
    }

    /// Returns an `int`.
    ///
    /// # Errors
    /// `MemoryError`.
    pub fn int(self, value: i64) -> Result<Object> {
        // SAFETY: the thread is attached; the result is new.
        unsafe { Object::owned(ffi::PyLong_FromLongLong(value)) }
    }

    /// Returns a `float`.
    ///
    /// # Errors
    /// `MemoryError`.
    #[inline]
    pub fn float(self, value: f64) -> Result<Object> {
        // SAFETY: the thread is attached; the result is new.
        unsafe { Object::owned(ffi::PyFloat_FromDouble(value)) }
    }

    /// Returns a `str` from UTF-8.
    ///
    /// # Errors
    /// `MemoryError`.
    pub fn str(self, text: &str) -> Result<Object> {
        // SAFETY: the thread is attached; a Rust string is valid UTF-8 of that length.
        unsafe { Object::owned(ffi::PyUnicode_FromStringAndSize(text.as_ptr().cast(), size(text.len()))) }
    }

    /// Returns an interned `str`, for names.
    ///
    /// # Errors
    /// `MemoryError`.
    pub fn name(self, text: &str) -> Result<Object> {
        let mut pointer = self.str(text)?.into_ptr();
        // SAFETY: the pointer is an owned str; interning may replace it by another owned one.
        unsafe {
            ffi::PyUnicode_InternInPlace(&raw mut pointer);
            Object::owned(pointer)
        }
    }

    /// Returns a `str` with one character for each byte.
    ///
    /// # Errors
    /// `MemoryError`.
    #[inline]
    pub fn latin1(self, bytes: &[u8]) -> Result<Object> {
        // SAFETY: the thread is attached; the bytes are valid for the call.
        unsafe {
            Object::owned(ffi::PyUnicode_DecodeLatin1(
                bytes.as_ptr().cast(),
                size(bytes.len()),
                std::ptr::null(),
            ))
        }
    }

    /// Returns a `str` from the name of a file (`os.fsdecode`), Latin-1 where the file system's
    /// codec fails.
    ///
    /// # Errors
    /// `MemoryError`.
    pub fn path(self, bytes: &[u8]) -> Result<Object> {
        // SAFETY: the thread is attached; the result is new.
        let decoded = unsafe {
            Object::owned(ffi::PyUnicode_DecodeFSDefaultAndSize(bytes.as_ptr().cast(), size(bytes.len())))
        };
        decoded.or_else(|raised| {
            raised.clear();
            self.latin1(bytes)
        })
    }

    /// Returns a `bytes` object.
    ///
    /// # Errors
    /// `MemoryError`.
    pub fn bytes(self, bytes: &[u8]) -> Result<Object> {
        // SAFETY: the thread is attached; the result is new.
        unsafe { Object::owned(ffi::PyBytes_FromStringAndSize(bytes.as_ptr().cast(), size(bytes.len()))) }
    }

    /// Returns an empty `dict`.
    ///
    /// # Errors
    /// `MemoryError`.
    #[inline]
    pub fn dict(self) -> Result<Object> {
        // SAFETY: the thread is attached; the result is new.
        unsafe { Object::owned(ffi::PyDict_New()) }
    }

    /// Returns an empty `list`.
    ///
    /// # Errors
    /// `MemoryError`.
    pub fn list(self) -> Result<Object> {
        // SAFETY: the thread is attached; the result is new.
        unsafe { Object::owned(ffi::PyList_New(0)) }
    }

    /// Returns a `tuple`.
    ///
    /// # Errors
    /// `MemoryError`.
    pub fn tuple<const N: usize>(self, items: [&Object; N]) -> Result<Object> {
        // SAFETY: the thread is attached; the tuple is filled before anybody sees it, each item a
        // reference of its own.
        unsafe {
            let tuple = Object::owned(ffi::PyTuple_New(size(N)))?;
            for (index, item) in items.into_iter().enumerate() {
                ffi::PyTuple_SET_ITEM(tuple.as_ptr(), size(index), item.clone().into_ptr());
            }
            Ok(tuple)
        }
    }

    /// Returns an unnamed `PyCapsule`.
    ///
    /// # Errors
    /// `MemoryError`.
    pub fn capsule(self, pointer: std::ptr::NonNull<std::ffi::c_void>) -> Result<Object> {
        // SAFETY: the thread is attached; a capsule without destructor does nothing with its
        // pointer.
        unsafe { Object::owned(ffi::PyCapsule_New(pointer.as_ptr(), std::ptr::null(), None)) }
    }

    /// Returns `importlib.import_module(name)`.
    ///
    /// # Errors
    /// The exception that the import raised.
    pub fn import(self, name: &CStr) -> Result<Object> {
        // SAFETY: the thread is attached, the name NUL-terminated.
        unsafe { Object::owned(ffi::PyImport_ImportModule(name.as_ptr())) }
    }

    /// Returns `sys.modules`.
    #[must_use]
    #[inline]
    pub fn modules(self) -> Object {
        // SAFETY: the thread is attached; the dict is borrowed, and exists as long as the
        // interpreter.
        unsafe { Object::from_borrowed(ffi::PyImport_GetModuleDict()) }
    }

    /// Sets `sys.<name>`.
    ///
    /// # Errors
    /// `MemoryError`.
    pub fn set_sys(self, name: &CStr, value: &Object) -> Result<()> {
        // SAFETY: the thread is attached, the name NUL-terminated.
        let status = unsafe { ffi::PySys_SetObject(name.as_ptr(), value.as_ptr()) };
        if status < 0 { Err(Raised::new()) } else { Ok(()) }
    }

    /// Returns a new module of that name, not in `sys.modules`.
    ///
    /// # Errors
    /// `MemoryError`.
    pub fn module(self, name: &CStr) -> Result<Object> {
        // SAFETY: the thread is attached, the name NUL-terminated.
        unsafe { Object::owned(ffi::PyModule_New(name.as_ptr())) }
    }

    /// Compiles a Python source file.
    ///
    /// # Errors
    /// `SyntaxError` above all; `ValueError` for a NUL in the source.
    pub fn compile(self, source: &CStr, filename: &Object) -> Result<Object> {
        // SAFETY: the thread is attached, the source NUL-terminated, the name a str (checked by
        // CPython).
        unsafe {
            Object::owned(ffi::Py_CompileStringObject(
                source.as_ptr(),
                filename.as_ptr(),
                ffi::Py_file_input,
                std::ptr::null_mut(),
                -1,
            ))
        }
    }

    /// Runs compiled code as the module `name`, in `sys.modules` from the start and no more if it
    /// raises.
    ///
    /// # Errors
    /// The exception that the code raised.
    pub fn exec_module(self, name: &Object, code: &Object, filename: &Object) -> Result<Object> {
        // SAFETY: the thread is attached; the function checks its arguments' types.
        unsafe {
            Object::owned(ffi::PyImport_ExecCodeModuleObject(
                name.as_ptr(),
                code.as_ptr(),
                filename.as_ptr(),
                std::ptr::null_mut(),
            ))
        }
    }

    /// Runs compiled code with `globals` as its namespace.
    ///
    /// # Errors
    /// The exception that the code raised.
    pub fn eval(self, code: &Object, globals: &Object) -> Result<Object> {
        // SAFETY: the thread is attached; the dict gets `__builtins__`, which code needs.
        unsafe {
            let builtins = ffi::PyEval_GetBuiltins();
            if ffi::PyDict_SetItemString(globals.as_ptr(), c"__builtins__".as_ptr(), builtins) < 0 {
                return Err(Raised::new());
            }
            Object::owned(ffi::PyEval_EvalCode(code.as_ptr(), globals.as_ptr(), globals.as_ptr()))
        }
    }

    /// Returns a `bytes` object of at most `length` bytes, which `fill` writes while the thread is
    /// detached. `fill` returns their number.
    ///
    /// # Errors
    /// `MemoryError`, or the error of `fill` (inside `Ok`).
    pub fn bytes_with<E: Send>(
        self,
        length: usize,
        fill: impl FnOnce(&mut [u8]) -> std::result::Result<usize, E> + Send,
    ) -> Result<std::result::Result<Object, E>> {
        // SAFETY: the thread is attached; the object is new and unshared, so its buffer may be
        // written to, also while detached. CPython leaves it uninitialised, so it is cleared before
        // it becomes a slice.
        unsafe {
            let mut pointer = ffi::PyBytes_FromStringAndSize(std::ptr::null(), size(length));
            if pointer.is_null() {
                return Err(Raised::new());
            }
            let start = ffi::PyBytes_AsString(pointer).cast::<u8>();
            start.write_bytes(0, length);
            let buffer = std::slice::from_raw_parts_mut(start, length);
            match self.detach(|| fill(buffer)) {
                Ok(count) if count >= length => Object::owned(pointer).map(Ok),
                Ok(count) => {
                    if resize::_PyBytes_Resize(&raw mut pointer, size(count)) < 0 {
                        return Err(Raised::new());
                    }
                    Object::owned(pointer).map(Ok)
                }
                Err(error) => {
                    ffi::Py_DECREF(pointer);
                    Ok(Err(error))
                }
            }
        }
    }

    /// Returns the version line of the interpreter.
    #[must_use]
    pub fn version_text(self) -> String {
        // SAFETY: a static, NUL-terminated text.
        unsafe { CStr::from_ptr(ffi::Py_GetVersion()) }.to_string_lossy().into_owned()
    }

    /// Raises `exception` (a class) in another thread, at its next bytecode. Returns whether there
    /// is such a thread.
    #[must_use]
    pub fn raise_in_thread(self, thread: u64, exception: &Object) -> bool {
        // SAFETY: the thread is attached, the class valid.
        unsafe { ffi::PyThreadState_SetAsyncExc(thread as c_long, exception.as_ptr()) == 1 }
    }

    /// Takes back the exception that [`raise_in_thread`](Self::raise_in_thread) has scheduled for
    /// this thread.
    pub fn clear_raised_in_thread(self) {
        // SAFETY: the thread is attached; null takes a pending exception back.
        unsafe { ffi::PyThreadState_SetAsyncExc(thread_id() as c_long, std::ptr::null_mut()) };
    }

    /// Runs `work` with the contents of an object that has the buffer protocol.
    ///
    /// # Errors
    /// `TypeError` or `BufferError` where it has none.
    pub fn with_buffer<R>(self, object: &Object, work: impl FnOnce(&[u8]) -> R) -> Result<R> {
        // SAFETY: the view is released after use; between, the exporter keeps the memory in place.
        unsafe {
            let mut view = std::mem::zeroed::<ffi::Py_buffer>();
            if ffi::PyObject_GetBuffer(object.as_ptr(), &raw mut view, ffi::PyBUF_SIMPLE) < 0 {
                return Err(Raised::new());
            }
            let length = usize::try_from(view.len).unwrap_or(0);
            let bytes =
                if length == 0 { &[] } else { std::slice::from_raw_parts(view.buf.cast::<u8>(), length) };
            let result = work(bytes);
            ffi::PyBuffer_Release(&raw mut view);
            Ok(result)
        }
    }
}

/// Returns the id of the calling thread, as `threading.get_ident()` does.
#[must_use]
pub fn thread_id() -> u64 {
    // SAFETY: it has no precondition. CPython uses the same number.
    unsafe { libc::pthread_self() as u64 }
}

#[inline]
fn size(length: usize) -> ffi::Py_ssize_t {
    // No allocation of Rust's exceeds isize::MAX bytes.
    length as ffi::Py_ssize_t
}

mod resize {
    use pyo3_ffi as ffi;

    unsafe extern "C" {
        /// Resizes a `bytes` object; frees it if that fails. Documented C API that pyo3-ffi does
        /// not export.
        pub(super) fn _PyBytes_Resize(bytes: *mut *mut ffi::PyObject, size: ffi::Py_ssize_t) -> i32;
    }
}

const _: () = assert!(size_of::<c_char>() == 1);
