//! References to Python objects.

use std::marker::PhantomData;
use std::mem::ManuallyDrop;
use std::ptr::NonNull;

use pyo3_ffi as ffi;

use crate::{Python, Raised, Result};

/// An owned reference to a Python object, on a thread that is attached to its interpreter.
#[repr(transparent)]
pub struct Object {
    pointer: NonNull<ffi::PyObject>,
    /// Neither `Send` nor `Sync`: see the crate's documentation.
    attached: PhantomData<*mut ()>,
}

impl Clone for Object {
    #[inline]
    fn clone(&self) -> Self {
        // SAFETY: the pointer is valid, and an `Object` proves that the thread is attached.
        unsafe { ffi::Py_INCREF(self.as_ptr()) };
        Self { pointer: self.pointer, attached: PhantomData }
    }
}

impl Drop for Object {
    #[inline]
    fn drop(&mut self) {
        // SAFETY: the reference is owned, and an `Object` proves that the thread is attached.
        unsafe { ffi::Py_DECREF(self.as_ptr()) };
    }
}

impl std::fmt::Debug for Object {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Object({:p})", self.pointer)
    }
}

impl Object {
    /// Takes ownership of the reference that a C function returned, null meaning that it raised.
    ///
    /// # Safety
    /// The thread is attached, and `pointer` is a new reference, or null with the error indicator
    /// set.
    #[inline]
    pub(crate) unsafe fn owned(pointer: *mut ffi::PyObject) -> Result<Self> {
        match NonNull::new(pointer) {
            Some(pointer) => Ok(Self { pointer, attached: PhantomData }),
            None => Err(Raised::new()),
        }
    }

    /// Makes an owned reference from a borrowed one.
    ///
    /// # Safety
    /// The thread is attached, and `pointer` is valid.
    #[inline]
    pub(crate) unsafe fn from_borrowed(pointer: *mut ffi::PyObject) -> Self {
        // SAFETY: valid by the caller's promise.
        unsafe {
            ffi::Py_INCREF(pointer);
            Self { pointer: NonNull::new_unchecked(pointer), attached: PhantomData }
        }
    }

    /// Views an array of borrowed references as objects.
    ///
    /// # Safety
    /// The thread is attached, and the pointers are valid (none is null) for `'a`.
    #[inline]
    pub(crate) unsafe fn slice<'a>(pointers: *const *mut ffi::PyObject, count: usize) -> &'a [Self] {
        if count == 0 {
            return &[];
        }
        // SAFETY: `Object` is a transparent non-null pointer.
        unsafe { std::slice::from_raw_parts(pointers.cast::<Self>(), count) }
    }

    /// Returns the pointer, still owned by `self`.
    #[inline]
    pub(crate) fn as_ptr(&self) -> *mut ffi::PyObject {
        self.pointer.as_ptr()
    }

    /// Returns the pointer, now owned by the caller.
    #[inline]
    pub(crate) fn into_ptr(self) -> *mut ffi::PyObject {
        ManuallyDrop::new(self).as_ptr()
    }

    /// Returns a number that no other object has while this one lives, as `id()` does.
    #[must_use]
    pub fn id(&self) -> usize {
        self.as_ptr().addr()
    }

    /// Returns whether both are the same object.
    #[must_use]
    #[inline]
    pub fn is(&self, other: &Self) -> bool {
        self.pointer == other.pointer
    }

    /// Returns whether it is `None`.
    #[must_use]
    #[inline]
    pub fn is_none(&self) -> bool {
        // SAFETY: `None` is a static object.
        self.as_ptr() == unsafe { ffi::Py_None() }
    }

    /// Returns how many references there are to it.
    #[must_use]
    #[inline]
    pub fn reference_count(&self) -> isize {
        // SAFETY: valid by construction.
        unsafe { ffi::Py_REFCNT(self.as_ptr()) }
    }

    /// Returns whether it is exactly a `list`; `is_list` and its like accept subclasses.
    #[must_use]
    #[inline]
    pub fn is_exact_list(&self) -> bool {
        // SAFETY: valid by construction.
        unsafe { ffi::PyList_CheckExact(self.as_ptr()) != 0 }
    }

    /// Returns whether it is exactly a `tuple`.
    #[must_use]
    #[inline]
    pub fn is_exact_tuple(&self) -> bool {
        // SAFETY: valid by construction.
        unsafe { ffi::PyTuple_CheckExact(self.as_ptr()) != 0 }
    }

    /// Returns whether it is a `list` or an instance of a subclass.
    #[must_use]
    #[inline]
    pub fn is_list(&self) -> bool {
        // SAFETY: valid by construction.
        unsafe { ffi::PyList_Check(self.as_ptr()) != 0 }
    }

    /// Returns whether it is a `tuple` or an instance of a subclass.
    #[must_use]
    #[inline]
    pub fn is_tuple(&self) -> bool {
        // SAFETY: valid by construction.
        unsafe { ffi::PyTuple_Check(self.as_ptr()) != 0 }
    }

    /// Returns whether it is a `str` or an instance of a subclass.
    #[must_use]
    #[inline]
    pub fn is_str(&self) -> bool {
        // SAFETY: valid by construction.
        unsafe { ffi::PyUnicode_Check(self.as_ptr()) != 0 }
    }

    /// Returns whether it is a `bytes` or an instance of a subclass.
    #[must_use]
    #[inline]
    pub fn is_bytes(&self) -> bool {
        // SAFETY: valid by construction.
        unsafe { ffi::PyBytes_Check(self.as_ptr()) != 0 }
    }

    /// Returns whether it is an `int` (not counting `bool`) or an instance of a subclass.
    #[must_use]
    pub fn is_int(&self) -> bool {
        // SAFETY: valid by construction.
        unsafe { ffi::PyLong_Check(self.as_ptr()) != 0 && ffi::PyBool_Check(self.as_ptr()) == 0 }
    }

    /// Returns whether it can be called.
    #[must_use]
    pub fn is_callable(&self) -> bool {
        // SAFETY: valid by construction.
        unsafe { ffi::PyCallable_Check(self.as_ptr()) != 0 }
    }

    /// Returns `isinstance(self, class)`.
    ///
    /// # Errors
    /// The exception that the check raised.
    pub fn is_instance(&self, class: &Self) -> Result<bool> {
        // SAFETY: both are valid.
        status(unsafe { ffi::PyObject_IsInstance(self.as_ptr(), class.as_ptr()) })
    }

    /// Returns its truth value.
    ///
    /// # Errors
    /// The exception that `__bool__` raised.
    pub fn is_true(&self) -> Result<bool> {
        // SAFETY: valid by construction.
        status(unsafe { ffi::PyObject_IsTrue(self.as_ptr()) })
    }

    /// Returns the name of its type.
    #[must_use]
    pub fn type_name(&self) -> String {
        // SAFETY: every object has a type, and that a name.
        let name = unsafe { std::ffi::CStr::from_ptr((*ffi::Py_TYPE(self.as_ptr())).tp_name) };
        let name = name.to_string_lossy();
        name.rsplit('.').next().unwrap_or(&name).to_owned()
    }

    /// Returns `str(self)`.
    ///
    /// # Errors
    /// The exception that `__str__` raised.
    pub fn to_str(&self) -> Result<Self> {
        // SAFETY: valid; the result is new.
        unsafe { Self::owned(ffi::PyObject_Str(self.as_ptr())) }
    }

    /// Returns `getattr(self, name)`.
    ///
    /// # Errors
    /// `AttributeError`, or the exception that the look-up raised.
    #[inline]
    pub fn attr(&self, name: &Self) -> Result<Self> {
        // SAFETY: both are valid; the result is new.
        unsafe { Self::owned(ffi::PyObject_GetAttr(self.as_ptr(), name.as_ptr())) }
    }

    /// Returns the attribute, or `None` if the look-up raises `AttributeError`.
    ///
    /// # Errors
    /// Any other exception of the look-up.
    pub fn attr_if_any(&self, name: &Self) -> Result<Option<Self>> {
        match self.attr(name) {
            Ok(value) => Ok(Some(value)),
            Err(raised) if raised.matches(crate::Exception::AttributeError) => {
                raised.clear();
                Ok(None)
            }
            Err(raised) => Err(raised),
        }
    }

    /// Sets an attribute: `setattr(self, name, value)`.
    ///
    /// # Errors
    /// The exception that the assignment raised.
    pub fn set_attr(&self, name: &Self, value: &Self) -> Result<()> {
        // SAFETY: all are valid.
        status(unsafe { ffi::PyObject_SetAttr(self.as_ptr(), name.as_ptr(), value.as_ptr()) }).map(drop)
    }

    /// Calls it with positional arguments.
    ///
    /// # Errors
    /// The exception that the call raised.
    #[inline]
    pub fn call<const N: usize>(&self, arguments: [&Self; N]) -> Result<Self> {
        // One more slot in front, so that a bound method finds room for its `self` without copying.
        let mut slots = [std::ptr::null_mut(); 8];
        const { assert!(N < 8, "more arguments than slots") };
        for (slot, argument) in slots[1..].iter_mut().zip(arguments) {
            *slot = argument.as_ptr();
        }
        // SAFETY: the arguments are valid for the call; the offset flag permits writing to slot 0.
        unsafe {
            Self::owned(ffi::PyObject_Vectorcall(
                self.as_ptr(),
                slots[1..].as_ptr(),
                N | ffi::PY_VECTORCALL_ARGUMENTS_OFFSET,
                std::ptr::null_mut(),
            ))
        }
    }

    /// Returns `iter(self)`.
    ///
    /// # Errors
    /// `TypeError`, or the exception that `__iter__` raised.
    pub fn iter(&self) -> Result<Self> {
        // SAFETY: valid; the result is new.
        unsafe { Self::owned(ffi::PyObject_GetIter(self.as_ptr())) }
    }

    /// Returns the next item of an iterator, or `None` at its end.
    ///
    /// # Errors
    /// The exception that the iterator raised.
    #[inline]
    pub fn next(&self) -> Result<Option<Self>> {
        // SAFETY: valid; `iter` gives objects with a `tp_iternext`.
        let item = unsafe { ffi::PyIter_Next(self.as_ptr()) };
        if item.is_null() {
            // SAFETY: the thread is attached.
            if unsafe { ffi::PyErr_Occurred() }.is_null() { Ok(None) } else { Err(Raised::new()) }
        } else {
            // SAFETY: a new reference.
            unsafe { Self::owned(item) }.map(Some)
        }
    }

    /// Returns `len(self)`.
    ///
    /// # Errors
    /// `TypeError`, or the exception that `__len__` raised.
    pub fn length(&self) -> Result<usize> {
        // SAFETY: valid by construction.
        usize::try_from(unsafe { ffi::PyObject_Size(self.as_ptr()) }).map_err(|_| Raised::new())
    }
}

/// Converts the result of a C function that returns -1 when it has raised.
#[inline]
pub(crate) fn status(value: std::ffi::c_int) -> Result<bool> {
    if value < 0 { Err(Raised::new()) } else { Ok(value != 0) }
}

/// An owned reference that may be kept anywhere, also on threads that are not attached. Its object
/// is reached with a token of the interpreter that it belongs to. Dropping it releases nothing: it
/// is for objects that live as long as their interpreter.
pub struct Py(NonNull<ffi::PyObject>);

// SAFETY: the pointer is used with a token only.
unsafe impl Send for Py {}
// SAFETY: the pointer is used with a token only.
unsafe impl Sync for Py {}

impl Py {
    /// Keeps `object`.
    #[must_use]
    pub fn new(object: Object) -> Self {
        // SAFETY: an object's pointer is never null.
        Self(unsafe { NonNull::new_unchecked(object.into_ptr()) })
    }

    /// Returns the owned reference, which is released when it is dropped.
    #[must_use]
    pub fn into_object(self, _py: Python<'_>) -> Object {
        Object { pointer: self.0, attached: PhantomData }
    }

    /// Returns the object.
    #[must_use]
    #[inline]
    pub fn get<'py>(&'py self, _py: Python<'py>) -> &'py Object {
        // SAFETY: `Object` is a transparent non-null pointer, and the token proves that the thread
        // is attached.
        unsafe { &*std::ptr::from_ref(&self.0).cast::<Object>() }
    }
}

impl std::fmt::Debug for Py {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Py({:p})", self.0)
    }
}
