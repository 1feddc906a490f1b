//! An extension module, through which a running Python calls into this library.

use std::ffi::{CStr, c_void};

use pyo3_ffi as ffi;

use crate::class::{assert_no_captures, guarded, instance_of};
use crate::{Object, Python, Raised, Result};

/// Makes the definition of a module with one function, which takes one argument: the result of a
/// `PyInit_` function.
///
/// # Safety
/// Called by Python's import of the module, once.
#[must_use]
pub unsafe fn define<F>(name: &'static CStr, function: &'static CStr, run: F) -> *mut c_void
where
    F: Fn(Python<'_>, &Object) -> Result<Object> + Copy + 'static,
{
    assert_no_captures(run);
    // Python keeps the definition and its tables for good.
    let methods = Box::leak(Box::new([
        ffi::PyMethodDef {
            ml_name: function.as_ptr(),
            ml_meth: ffi::PyMethodDefPointer { PyCFunction: call::<F> },
            ml_flags: ffi::METH_O,
            ml_doc: std::ptr::null(),
        },
        ffi::PyMethodDef::zeroed(),
    ]));
    let end = ffi::PyModuleDef_Slot { slot: 0, value: std::ptr::null_mut() };
    // The start of Python has decided whether there is a lock: a module must not decide otherwise.
    #[cfg(Py_GIL_DISABLED)]
    let slots = vec![
        ffi::PyModuleDef_Slot { slot: ffi::Py_mod_gil as std::ffi::c_int, value: ffi::Py_MOD_GIL_NOT_USED },
        end,
    ];
    #[cfg(not(Py_GIL_DISABLED))]
    let slots = vec![end];
    let definition = Box::leak(Box::new(ffi::PyModuleDef {
        m_base: ffi::PyModuleDef_HEAD_INIT,
        m_name: name.as_ptr(),
        m_doc: std::ptr::null(),
        m_size: 0,
        m_methods: methods.as_mut_ptr(),
        m_slots: slots.leak().as_mut_ptr(),
        m_traverse: None,
        m_clear: None,
        m_free: None,
    }));
    // SAFETY: by the caller's promise the thread is attached; the definition lives for ever.
    unsafe { ffi::PyModuleDef_Init(definition) }.cast()
}

unsafe extern "C" fn call<F>(_module: *mut ffi::PyObject, argument: *mut ffi::PyObject) -> *mut ffi::PyObject
where
    F: Fn(Python<'_>, &Object) -> Result<Object> + Copy + 'static,
{
    // SAFETY: Python calls functions on attached threads, with an argument that is valid meanwhile.
    let (py, argument) = unsafe { (Python::assume_attached(), Object::from_borrowed(argument)) };
    match guarded(py, || instance_of::<F>()(py, &argument)) {
        Ok(object) => object.into_ptr(),
        Err(Raised { .. }) => std::ptr::null_mut(),
    }
}
