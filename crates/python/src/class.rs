//! Python types implemented in Rust, one set per interpreter.

use std::ffi::{CStr, c_int, c_void};
use std::marker::PhantomData;
use std::panic::{AssertUnwindSafe, catch_unwind};

use pyo3_ffi as ffi;

use crate::{Exception, Object, Py, Python, Raised, Result};

/// A Rust type whose values can be Python objects. They are made with [`Type::instance`], not from
/// Python.
///
/// A value is reached through a shared reference, by whichever thread is attached, by several at
/// once where a method detaches; so it is `Sync`, and does not count on the interpreter's lock.
/// Objects in it are [`Shared`](crate::Shared) or in a [`SharedCell`](crate::SharedCell). The
/// thread that gives back the last reference, attached as well, drops it.
///
/// ```no_run
/// struct Counter(std::sync::Mutex<u32>);
///
/// impl python::Class for Counter {
///     const NAME: &'static std::ffi::CStr = c"example.Counter";
///     fn define(_: &mut python::Definition<Self>) {}
/// }
/// ```
///
/// A type that is not `Sync` cannot be a class:
/// ```compile_fail
/// struct Counter(std::cell::RefCell<u32>);
///
/// impl python::Class for Counter {
///     const NAME: &'static std::ffi::CStr = c"example.Counter";
///     fn define(_: &mut python::Definition<Self>) {}
/// }
/// ```
/// nor can a type with an object that is reached without a token:
/// ```compile_fail
/// struct Holder(python::Object);
///
/// impl python::Class for Holder {
///     const NAME: &'static std::ffi::CStr = c"example.Holder";
///     fn define(_: &mut python::Definition<Self>) {}
/// }
/// ```
pub trait Class: Sized + Sync + 'static {
    /// The qualified name, such as `mod_wsgi.Input`.
    const NAME: &'static CStr;

    /// Names methods and attributes.
    fn define(definition: &mut Definition<Self>);
}

/// The positional arguments of a call.
#[derive(Debug)]
pub struct Arguments<'a>(&'a [Object]);

impl<'a> Arguments<'a> {
    /// Checks that there are at least `least` and at most `most`, and returns them.
    ///
    /// # Errors
    /// `TypeError`, in the words of CPython's own functions.
    pub fn expect(&self, py: Python<'_>, function: &str, least: usize, most: usize) -> Result<&'a [Object]> {
        if (least..=most).contains(&self.0.len()) {
            return Ok(self.0);
        }
        let given = self.0.len();
        let (limit, count) = match (least == most, given < least) {
            (true, _) if most == 0 => ("no", 0),
            (true, _) => ("exactly", most),
            (false, true) => ("at least", least),
            (false, false) => ("at most", most),
        };
        let number = if most == 0 { String::new() } else { format!(" {count}") };
        let plural = if count == 1 { "" } else { "s" };
        let text = format!("{function}() takes {limit}{number} argument{plural} ({given} given)");
        Err(py.raise(Exception::TypeError, &text))
    }
}

/// The methods and attributes of a [`Class`].
pub struct Definition<T> {
    methods: Vec<ffi::PyMethodDef>,
    attributes: Vec<ffi::PyGetSetDef>,
    next: Option<ffi::iternextfunc>,
    class: PhantomData<fn(T)>,
}

impl<T: Class> Definition<T> {
    /// Adds a method with positional arguments.
    pub fn method<F>(&mut self, name: &'static CStr, function: F) -> &mut Self
    where
        F: Fn(Python<'_>, &T, &Arguments<'_>) -> Result<Object> + Copy + 'static,
    {
        assert_no_captures(function);
        self.add_method(name, call::<T, F>)
    }

    /// Adds a method with positional arguments that also gets the object whose method it is.
    pub fn method_of_object<F>(&mut self, name: &'static CStr, function: F) -> &mut Self
    where
        F: Fn(Python<'_>, &T, &Object, &Arguments<'_>) -> Result<Object> + Copy + 'static,
    {
        assert_no_captures(function);
        self.add_method(name, call_of_object::<T, F>)
    }

    fn add_method(&mut self, name: &'static CStr, function: ffi::PyCFunctionFast) -> &mut Self {
        self.methods.push(ffi::PyMethodDef {
            ml_name: name.as_ptr(),
            ml_meth: ffi::PyMethodDefPointer { PyCFunctionFast: function },
            ml_flags: ffi::METH_FASTCALL,
            ml_doc: std::ptr::null(),
        });
        self
    }

    /// Adds a read-only attribute.
    pub fn attribute<F>(&mut self, name: &'static CStr, function: F) -> &mut Self
    where
        F: Fn(Python<'_>, &T) -> Result<Object> + Copy + 'static,
    {
        assert_no_captures(function);
        self.attributes.push(ffi::PyGetSetDef {
            name: name.as_ptr(),
            get: Some(read::<T, F>),
            set: None,
            doc: std::ptr::null(),
            closure: std::ptr::null_mut(),
        });
        self
    }

    /// Makes instances iterators; nothing ends the iteration.
    pub fn iterator<F>(&mut self, function: F) -> &mut Self
    where
        F: Fn(Python<'_>, &T) -> Result<Option<Object>> + Copy + 'static,
    {
        assert_no_captures(function);
        self.next = Some(next::<T, F>);
        self
    }
}

impl<T> std::fmt::Debug for Definition<T> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Definition").field("methods", &self.methods.len()).finish_non_exhaustive()
    }
}

/// A [`Class`] as a type object of one interpreter.
pub struct Type<T> {
    object: Py,
    /// Lives as long as the process: bound methods point into it.
    methods: &'static [ffi::PyMethodDef],
    class: PhantomData<fn(T)>,
}

// SAFETY: the method table is read only, and its C strings are static.
unsafe impl<T> Send for Type<T> {}
// SAFETY: the method table is read only, and its C strings are static.
unsafe impl<T> Sync for Type<T> {}

impl<T> std::fmt::Debug for Type<T> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_tuple("Type").field(&self.object).finish()
    }
}

impl<T: Class> Type<T> {
    /// Makes the type object in the interpreter that the thread is attached to.
    ///
    /// # Errors
    /// `MemoryError`.
    pub fn create(_py: Python<'_>) -> Result<Self> {
        let mut definition =
            Definition { methods: Vec::new(), attributes: Vec::new(), next: None, class: PhantomData };
        T::define(&mut definition);
        let methods = terminated(definition.methods, ffi::PyMethodDef::zeroed());
        // SAFETY: a PyGetSetDef of null pointers is what ends an array of them.
        let attributes = terminated(definition.attributes, unsafe { std::mem::zeroed() });

        let mut slots = vec![
            slot(ffi::Py_tp_dealloc, dealloc::<T> as ffi::destructor as *mut c_void),
            slot(ffi::Py_tp_methods, methods.as_ptr() as *mut c_void),
            slot(ffi::Py_tp_getset, attributes.as_ptr() as *mut c_void),
        ];
        if let Some(next) = definition.next {
            slots.push(slot(ffi::Py_tp_iter, ffi::PyObject_SelfIter as ffi::getiterfunc as *mut c_void));
            slots.push(slot(ffi::Py_tp_iternext, next as *mut c_void));
        }
        slots.push(slot(0, std::ptr::null_mut()));

        let mut spec = ffi::PyType_Spec {
            name: T::NAME.as_ptr(),
            basicsize: size_of::<Instance<T>>() as c_int,
            itemsize: 0,
            flags: (ffi::Py_TPFLAGS_DEFAULT | ffi::Py_TPFLAGS_DISALLOW_INSTANTIATION) as _,
            slots: slots.as_mut_ptr(),
        };
        // SAFETY: the thread is attached. CPython copies the slots; the tables they point at are
        // static.
        let object = unsafe { Object::owned(ffi::PyType_FromSpec(&raw mut spec)) }?;
        Ok(Self { object: Py::new(object), methods, class: PhantomData })
    }

    /// Returns a new object with `value` in it.
    ///
    /// # Errors
    /// `MemoryError`.
    #[inline]
    pub fn instance(&self, py: Python<'_>, value: T) -> Result<Object> {
        let class = self.object.get(py).as_ptr().cast::<ffi::PyTypeObject>();
        // SAFETY: the class is a type whose instances have the layout of `Instance<T>`; the value
        // is written before anybody can see the object. The type has the generic allocator.
        unsafe {
            let object = Object::owned(ffi::PyType_GenericAlloc(class, 0))?;
            (&raw mut (*object.as_ptr().cast::<Instance<T>>()).value).write(value);
            Ok(object)
        }
    }

    /// Returns the value in an object, or `None` if it is of another type.
    #[must_use]
    #[inline]
    pub fn value<'a>(&self, py: Python<'_>, object: &'a Object) -> Option<&'a T> {
        let class = self.object.get(py).as_ptr().cast::<ffi::PyTypeObject>();
        // SAFETY: only an object of exactly this type is read, and those hold a `T`.
        unsafe {
            (ffi::Py_TYPE(object.as_ptr()) == class).then(|| &(*object.as_ptr().cast::<Instance<T>>()).value)
        }
    }

    /// Returns the method at `index` (in the order of definition), bound to `object`.
    ///
    /// # Errors
    /// `MemoryError`.
    ///
    /// # Panics
    /// The class has no such method, or `object` is of another type.
    #[inline]
    pub fn bound(&self, py: Python<'_>, object: &Object, index: usize) -> Result<Object> {
        assert!(self.value(py, object).is_some(), "object of another type");
        let method = &self.methods[..self.methods.len() - 1][index];
        // SAFETY: the definition is static, and its function expects instances of this type.
        unsafe {
            Object::owned(ffi::PyCFunction_NewEx(
                std::ptr::from_ref(method).cast_mut(),
                object.as_ptr(),
                std::ptr::null_mut(),
            ))
        }
    }
}

/// The memory of an instance.
#[repr(C)]
struct Instance<T> {
    base: ffi::PyObject,
    value: T,
}

const fn slot(slot: c_int, function: *mut c_void) -> ffi::PyType_Slot {
    ffi::PyType_Slot { slot, pfunc: function }
}

/// Appends the terminator, and leaks the entries: a few hundred bytes per interpreter.
fn terminated<D>(mut entries: Vec<D>, end: D) -> &'static [D] {
    entries.push(end);
    Vec::leak(entries)
}

/// Checks at compile time that `function` has no captures, as [`instance_of`] demands.
pub(crate) fn assert_no_captures<F: Copy>(_function: F) {
    const { assert!(size_of::<F>() == 0, "functions and closures without captures only") };
}

/// Returns the function of type `F`, of which there is only one.
pub(crate) fn instance_of<F: Copy>() -> &'static F {
    // SAFETY: `F` has no size, and a value of it exists: `assert_no_captures` was given one before
    // any pointer to the trampolines below was made.
    unsafe { std::ptr::NonNull::<F>::dangling().as_ref() }
}

/// Runs `work`; a panic in it becomes a Python exception.
pub(crate) fn guarded<R>(py: Python<'_>, work: impl FnOnce() -> Result<R>) -> Result<R> {
    catch_unwind(AssertUnwindSafe(work)).unwrap_or_else(|panic| {
        let text = panic
            .downcast_ref::<&str>()
            .map(|text| (*text).to_owned())
            .or_else(|| panic.downcast_ref::<String>().cloned())
            .unwrap_or_default();
        Err(py.raise(Exception::SystemError, &format!("panic in mod_wsgi: {text}")))
    })
}

/// Returns a token, and the value of `object`.
///
/// # Safety
/// Called by Python, with an instance of `T`'s type.
unsafe fn entered<'a, T: Class>(object: *mut ffi::PyObject) -> (Python<'a>, &'a T) {
    // SAFETY: Python calls methods on attached threads, keeps `self` alive meanwhile, and has
    // checked its type.
    unsafe { (Python::assume_attached(), &(*object.cast::<Instance<T>>()).value) }
}

/// Converts a result for C: null if it is an exception.
fn returned(result: Result<Object>) -> *mut ffi::PyObject {
    match result {
        Ok(object) => object.into_ptr(),
        Err(Raised { .. }) => std::ptr::null_mut(),
    }
}

unsafe extern "C" fn call<T, F>(
    object: *mut ffi::PyObject,
    arguments: *mut *mut ffi::PyObject,
    count: ffi::Py_ssize_t,
) -> *mut ffi::PyObject
where
    T: Class,
    F: Fn(Python<'_>, &T, &Arguments<'_>) -> Result<Object> + Copy + 'static,
{
    // SAFETY: called by Python as a METH_FASTCALL method of `T`'s type; the arguments are borrowed.
    let ((py, value), arguments) = unsafe {
        (entered::<T>(object), Object::slice(arguments.cast(), usize::try_from(count).unwrap_or(0)))
    };
    returned(guarded(py, || instance_of::<F>()(py, value, &Arguments(arguments))))
}

unsafe extern "C" fn call_of_object<T, F>(
    object: *mut ffi::PyObject,
    arguments: *mut *mut ffi::PyObject,
    count: ffi::Py_ssize_t,
) -> *mut ffi::PyObject
where
    T: Class,
    F: Fn(Python<'_>, &T, &Object, &Arguments<'_>) -> Result<Object> + Copy + 'static,
{
    // SAFETY: called by Python as a METH_FASTCALL method of `T`'s type; object and arguments are
    // borrowed.
    let ((py, value), this, arguments) = unsafe {
        (
            entered::<T>(object),
            &Object::slice(&raw const object, 1)[0],
            Object::slice(arguments.cast(), usize::try_from(count).unwrap_or(0)),
        )
    };
    returned(guarded(py, || instance_of::<F>()(py, value, this, &Arguments(arguments))))
}

unsafe extern "C" fn read<T, F>(object: *mut ffi::PyObject, _closure: *mut c_void) -> *mut ffi::PyObject
where
    T: Class,
    F: Fn(Python<'_>, &T) -> Result<Object> + Copy + 'static,
{
    // SAFETY: called by Python as a getter of `T`'s type.
    let (py, value) = unsafe { entered::<T>(object) };
    returned(guarded(py, || instance_of::<F>()(py, value)))
}

unsafe extern "C" fn next<T, F>(object: *mut ffi::PyObject) -> *mut ffi::PyObject
where
    T: Class,
    F: Fn(Python<'_>, &T) -> Result<Option<Object>> + Copy + 'static,
{
    // SAFETY: called by Python as `tp_iternext` of `T`'s type.
    let (py, value) = unsafe { entered::<T>(object) };
    match guarded(py, || instance_of::<F>()(py, value)) {
        Ok(Some(item)) => item.into_ptr(),
        Ok(None) | Err(_) => std::ptr::null_mut(),
    }
}

unsafe extern "C" fn dealloc<T: Class>(object: *mut ffi::PyObject) {
    // SAFETY: Python calls this once, when the last reference is gone; the value was written by
    // `instance`, and instances of heap types own a reference to their type.
    unsafe {
        let class = ffi::Py_TYPE(object);
        // A panic of a value's Drop must not reach Python.
        let _ = catch_unwind(AssertUnwindSafe(|| {
            std::ptr::drop_in_place(&raw mut (*object.cast::<Instance<T>>()).value);
        }));
        ffi::PyObject_Free(object.cast());
        ffi::Py_DECREF(class.cast());
    }
}
