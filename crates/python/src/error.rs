//! Exceptions.

use std::ffi::CString;

use pyo3_ffi as ffi;

use crate::{Object, Python};

/// The result of an operation that can raise.
pub type Result<T> = std::result::Result<T, Raised>;

/// The error of a thread whose error indicator is set.
///
/// Whoever gets one passes it on, [takes](Raised::take) the exception, or [clears](Raised::clear)
/// it.
#[must_use = "the error indicator stays set"]
#[derive(Debug)]
pub struct Raised(());

macro_rules! exceptions {
    ($($(#[$doc:meta])* $name:ident = $symbol:ident,)*) => {
        /// The built-in exceptions that are raised or told apart here.
        #[derive(Clone, Copy, Debug)]
        pub enum Exception { $($(#[$doc])* $name,)* }

        impl Exception {
            pub(crate) fn class(self) -> *mut ffi::PyObject {
                // SAFETY: static exception types exist once Python is initialised, which a thread
                // that can hold an error has seen.
                unsafe { match self { $(Self::$name => ffi::$symbol,)* } }
            }
        }
    };
}

exceptions! {
    /// `AttributeError`
    AttributeError = PyExc_AttributeError,
    /// `DeprecationWarning`
    DeprecationWarning = PyExc_DeprecationWarning,
    /// `KeyError`
    KeyError = PyExc_KeyError,
    /// `ImportError`
    ImportError = PyExc_ImportError,
    /// `MemoryError`
    MemoryError = PyExc_MemoryError,
    /// `ModuleNotFoundError`
    ModuleNotFoundError = PyExc_ModuleNotFoundError,
    /// `OSError`
    OSError = PyExc_OSError,
    /// `OverflowError`
    OverflowError = PyExc_OverflowError,
    /// `RuntimeError`
    RuntimeError = PyExc_RuntimeError,
    /// `StopIteration`
    StopIteration = PyExc_StopIteration,
    /// `SystemError`
    SystemError = PyExc_SystemError,
    /// `SystemExit`
    SystemExit = PyExc_SystemExit,
    /// `TypeError`
    TypeError = PyExc_TypeError,
    /// `ValueError`
    ValueError = PyExc_ValueError,
}

impl Raised {
    /// Returns the error of a C function that has set the error indicator.
    #[inline]
    pub(crate) const fn new() -> Self {
        Self(())
    }

    /// Takes the exception instance, its traceback attached, out of the error indicator.
    #[must_use]
    pub fn take(self, py: Python<'_>) -> Object {
        #[cfg(Py_3_12)]
        // SAFETY: the token proves that the thread is attached; the result is new, or null if
        // nothing was set.
        let taken = unsafe { Object::owned(ffi::PyErr_GetRaisedException()) };
        #[cfg(not(Py_3_12))]
        // SAFETY: as above; the triple is normalised before its value is used, and its references
        // are ours.
        let taken = unsafe {
            let (mut class, mut value, mut traceback) =
                (std::ptr::null_mut(), std::ptr::null_mut(), std::ptr::null_mut());
            ffi::PyErr_Fetch(&raw mut class, &raw mut value, &raw mut traceback);
            if !class.is_null() {
                ffi::PyErr_NormalizeException(&raw mut class, &raw mut value, &raw mut traceback);
            }
            if !value.is_null() && !traceback.is_null() {
                ffi::PyException_SetTraceback(value, traceback);
            }
            ffi::Py_XDECREF(class);
            ffi::Py_XDECREF(traceback);
            Object::owned(value)
        };
        match taken {
            Ok(exception) => exception,
            // A C function said that it raised and did not: CPython calls that a SystemError, too.
            Err(_) => py.exception(Exception::SystemError, "error return without exception set"),
        }
    }

    /// Forgets the exception.
    pub fn clear(self) {
        // SAFETY: a `Raised` exists on attached threads only.
        unsafe { ffi::PyErr_Clear() };
    }

    /// Returns whether the exception is an instance of `class`.
    #[must_use]
    pub fn matches(&self, class: Exception) -> bool {
        // SAFETY: the thread is attached.
        unsafe { ffi::PyErr_ExceptionMatches(class.class()) != 0 }
    }

    /// Returns whether the exception is an instance of `class`.
    #[must_use]
    pub fn is_instance(&self, class: &Object) -> bool {
        // SAFETY: the thread is attached, the class valid.
        unsafe { ffi::PyErr_ExceptionMatches(class.as_ptr()) != 0 }
    }
}

impl Python<'_> {
    /// Raises `class(message)`.
    pub fn raise(self, class: Exception, message: &str) -> Raised {
        // A NUL would end the message early; it can come from data that is quoted in it.
        let message = CString::new(message.replace('\0', "\\x00")).unwrap_or_default();
        // SAFETY: the thread is attached; CPython copies the text.
        unsafe { ffi::PyErr_SetString(class.class(), message.as_ptr()) };
        Raised::new()
    }

    /// Raises an exception instance, with the traceback that it carries.
    pub fn raise_instance(self, exception: &Object) -> Raised {
        // SAFETY: the thread is attached, the instance valid; its type is its class.
        unsafe { ffi::PyErr_SetObject(ffi::Py_TYPE(exception.as_ptr()).cast(), exception.as_ptr()) };
        Raised::new()
    }

    /// Raises what `sys.exc_info()` gave: class, instance, traceback.
    pub fn raise_info(self, class: &Object, value: &Object, traceback: &Object) -> Raised {
        // SAFETY: the thread is attached, the objects valid; the traceback is set on exceptions
        // only, and a wrong type of it is an error that the next call replaces.
        unsafe {
            if ffi::PyExceptionInstance_Check(value.as_ptr()) != 0 && !traceback.is_none() {
                ffi::PyException_SetTraceback(value.as_ptr(), traceback.as_ptr());
            }
            ffi::PyErr_SetObject(class.as_ptr(), value.as_ptr());
        }
        Raised::new()
    }

    /// Takes the exception out of the error indicator. Returns `None` if there is none.
    #[must_use]
    pub fn pending_exception(self) -> Option<Object> {
        // SAFETY: the thread is attached.
        let pending = unsafe { !ffi::PyErr_Occurred().is_null() };
        pending.then(|| Raised::new().take(self))
    }

    /// Issues a warning.
    ///
    /// # Errors
    /// Warnings may be turned into exceptions.
    pub fn warn(self, class: Exception, message: &std::ffi::CStr) -> Result<()> {
        // SAFETY: the thread is attached, the text NUL-terminated.
        let status = unsafe { ffi::PyErr_WarnEx(class.class(), message.as_ptr(), 1) };
        if status < 0 { Err(Raised::new()) } else { Ok(()) }
    }

    /// Returns the exception class as an object.
    #[must_use]
    pub fn exception_class(self, class: Exception) -> Object {
        // SAFETY: the thread is attached; exception classes are valid objects.
        unsafe { Object::from_borrowed(class.class()) }
    }

    /// Returns an instance of `class` that is not raised.
    fn exception(self, class: Exception, message: &str) -> Object {
        let made = self.str(message).and_then(|text| self.exception_class(class).call([&text]));
        match made {
            Ok(instance) => instance,
            Err(raised) => {
                raised.clear();
                self.none()
            }
        }
    }
}
