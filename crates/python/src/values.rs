//! The contents of objects of the built-in types.

use pyo3_ffi as ffi;

use crate::object::status;
use crate::{Object, Python, Raised, Result};

impl Object {
    /// Returns the item at `index` of a `list` or `tuple`. Returns `None` if there is none, or it
    /// is neither.
    #[must_use]
    #[inline]
    pub fn item(&self, index: usize) -> Option<Self> {
        let index = isize::try_from(index).ok()?;
        // SAFETY: the type is checked before its accessors are used; items are borrowed and valid.
        unsafe {
            if self.is_list() {
                // A list may be shrunk by another thread, hence the checked call.
                if index >= ffi::PyList_GET_SIZE(self.as_ptr()) {
                    return None;
                }
                let item = ffi::PyList_GetItem(self.as_ptr(), index);
                if item.is_null() {
                    ffi::PyErr_Clear();
                    return None;
                }
                Some(Self::from_borrowed(item))
            } else if self.is_tuple() && index < ffi::PyTuple_GET_SIZE(self.as_ptr()) {
                Some(Self::from_borrowed(ffi::PyTuple_GET_ITEM(self.as_ptr(), index)))
            } else {
                None
            }
        }
    }

    /// Returns how many items a `list` or `tuple` has; 0 for anything else.
    #[must_use]
    #[inline]
    pub fn item_count(&self) -> usize {
        // SAFETY: the type is checked before its accessors are used.
        let count = unsafe {
            if self.is_list() {
                ffi::PyList_GET_SIZE(self.as_ptr())
            } else if self.is_tuple() {
                ffi::PyTuple_GET_SIZE(self.as_ptr())
            } else {
                0
            }
        };
        usize::try_from(count).unwrap_or(0)
    }

    /// Returns the contents of a `bytes` object, or `None` for other types. They do not change and
    /// live as long as the object.
    #[must_use]
    #[inline]
    pub fn as_bytes(&self) -> Option<&[u8]> {
        if !self.is_bytes() {
            return None;
        }
        // SAFETY: it is a bytes object; its buffer is immutable and has that size.
        unsafe {
            let size = usize::try_from(ffi::PyBytes_Size(self.as_ptr())).unwrap_or(0);
            Some(std::slice::from_raw_parts(ffi::PyBytes_AsString(self.as_ptr()).cast::<u8>(), size))
        }
    }

    /// Returns the characters of a `str` whose code points are all below 256, one byte each (its
    /// Latin-1 encoding). Returns `None` for other strings and other types.
    #[must_use]
    #[inline]
    pub fn as_latin1(&self) -> Option<&[u8]> {
        if !self.is_str() {
            return None;
        }
        // SAFETY: it is a str; legacy strings are made ready before their kind is read, and a
        // string of kind 1 holds one byte per character for as long as it lives.
        unsafe {
            if ffi::PyUnicode_READY(self.as_ptr()) != 0 {
                ffi::PyErr_Clear();
                return None;
            }
            if ffi::PyUnicode_KIND(self.as_ptr()) != 1 {
                return None;
            }
            let length = usize::try_from(ffi::PyUnicode_GET_LENGTH(self.as_ptr())).unwrap_or(0);
            Some(std::slice::from_raw_parts(ffi::PyUnicode_DATA(self.as_ptr()).cast::<u8>(), length))
        }
    }

    /// Returns the Latin-1 encoding of a `str`, as `bytes`.
    ///
    /// # Errors
    /// `UnicodeEncodeError`, or `TypeError` where it is no `str`.
    pub fn encode_latin1(&self) -> Result<Self> {
        // SAFETY: valid; the type is checked by CPython, the result is new.
        unsafe { Self::owned(ffi::PyUnicode_AsLatin1String(self.as_ptr())) }
    }

    /// Returns the UTF-8 encoding of a `str`, as `bytes`.
    ///
    /// # Errors
    /// `UnicodeEncodeError`, or `TypeError` where it is no `str`.
    pub fn encode_utf8(&self) -> Result<Self> {
        // SAFETY: valid; the type is checked by CPython, the result is new.
        unsafe { Self::owned(ffi::PyUnicode_AsUTF8String(self.as_ptr())) }
    }

    /// Returns the text of a `str`, or `None` for other types. Characters that cannot be encoded
    /// are replaced.
    #[must_use]
    pub fn to_text(&self) -> Option<String> {
        if !self.is_str() {
            return None;
        }
        // SAFETY: it is a str; the encoder makes a new bytes object.
        let encoded = unsafe {
            Self::owned(ffi::PyUnicode_AsEncodedString(
                self.as_ptr(),
                c"utf-8".as_ptr(),
                c"backslashreplace".as_ptr(),
            ))
        };
        match encoded {
            Ok(bytes) => bytes.as_bytes().map(|bytes| String::from_utf8_lossy(bytes).into_owned()),
            Err(raised) => {
                raised.clear();
                None
            }
        }
    }

    /// Returns the value as an `i64`, through `__index__`.
    ///
    /// # Errors
    /// `TypeError` where it has none, `OverflowError` where it is too large.
    pub fn to_i64(&self) -> Result<i64> {
        // SAFETY: valid; the index object is new.
        unsafe {
            let number = Self::owned(ffi::PyNumber_Index(self.as_ptr()))?;
            let value = ffi::PyLong_AsLongLong(number.as_ptr());
            if value == -1 && !ffi::PyErr_Occurred().is_null() { Err(Raised::new()) } else { Ok(value) }
        }
    }

    /// Returns the value of a `float`, or of what can be converted to one.
    ///
    /// # Errors
    /// The exception of the conversion.
    pub fn to_f64(&self) -> Result<f64> {
        // SAFETY: valid.
        unsafe {
            let value = ffi::PyFloat_AsDouble(self.as_ptr());
            if value == -1.0 && !ffi::PyErr_Occurred().is_null() { Err(Raised::new()) } else { Ok(value) }
        }
    }

    /// Returns `self[key]` of a `dict`, or `None` if there is no such key.
    ///
    /// # Errors
    /// The exception of hashing or comparing the key, or `SystemError` where it is no `dict`.
    #[inline]
    pub fn dict_get(&self, key: &Self) -> Result<Option<Self>> {
        // SAFETY: both are valid; the item is borrowed from the dict and made our own at once.
        unsafe {
            #[cfg(Py_3_13)]
            {
                let mut item = std::ptr::null_mut();
                match ffi::PyDict_GetItemRef(self.as_ptr(), key.as_ptr(), &raw mut item) {
                    1 => Self::owned(item).map(Some),
                    0 => Ok(None),
                    _ => Err(Raised::new()),
                }
            }
            #[cfg(not(Py_3_13))]
            {
                let item = ffi::PyDict_GetItemWithError(self.as_ptr(), key.as_ptr());
                if !item.is_null() {
                    Ok(Some(Self::from_borrowed(item)))
                } else if ffi::PyErr_Occurred().is_null() {
                    Ok(None)
                } else {
                    Err(Raised::new())
                }
            }
        }
    }

    /// Sets `self[key]` of a `dict`.
    ///
    /// # Errors
    /// The exception of hashing or comparing the key, `MemoryError`, or `SystemError` where it is
    /// no `dict`.
    #[inline]
    pub fn dict_set(&self, key: &Self, value: &Self) -> Result<()> {
        // SAFETY: all are valid.
        status(unsafe { ffi::PyDict_SetItem(self.as_ptr(), key.as_ptr(), value.as_ptr()) }).map(drop)
    }

    /// Returns the value of `key` in a `dict`, which becomes `value` if there is none.
    ///
    /// # Errors
    /// The exception of hashing or comparing the key, or `MemoryError`.
    pub fn dict_set_default(&self, key: &Self, value: &Self) -> Result<Self> {
        let mut found = std::ptr::null_mut();
        // SAFETY: all are valid; `found` becomes an owned reference, or null on failure.
        unsafe {
            ffi::compat::PyDict_SetDefaultRef(self.as_ptr(), key.as_ptr(), value.as_ptr(), &raw mut found);
            Self::owned(found)
        }
    }

    /// Removes `key` from a `dict`. Returns whether it was there.
    ///
    /// # Errors
    /// The exception of hashing or comparing the key.
    pub fn dict_remove(&self, key: &Self) -> Result<bool> {
        // SAFETY: both are valid.
        if unsafe { ffi::PyDict_DelItem(self.as_ptr(), key.as_ptr()) } == 0 {
            return Ok(true);
        }
        let raised = Raised::new();
        if raised.matches(crate::Exception::KeyError) {
            raised.clear();
            return Ok(false);
        }
        Err(raised)
    }

    /// Returns a copy of a `dict`.
    ///
    /// # Errors
    /// `MemoryError`, or `SystemError` where it is no `dict`.
    #[inline]
    pub fn dict_copy(&self) -> Result<Self> {
        // SAFETY: valid; the copy is new.
        unsafe { Self::owned(ffi::PyDict_Copy(self.as_ptr())) }
    }

    /// Appends an item to a `list`.
    ///
    /// # Errors
    /// `MemoryError`, or `SystemError` where it is no `list`.
    pub fn list_append(&self, item: &Self) -> Result<()> {
        // SAFETY: both are valid.
        status(unsafe { ffi::PyList_Append(self.as_ptr(), item.as_ptr()) }).map(drop)
    }

    /// Returns the `__dict__` of a module.
    ///
    /// # Errors
    /// `SystemError` where it is no module.
    pub fn module_dict(&self) -> Result<Self> {
        // SAFETY: checked to be a module; its dict is borrowed and valid.
        unsafe {
            let dict = if ffi::PyModule_Check(self.as_ptr()) == 0 {
                std::ptr::null_mut()
            } else {
                ffi::PyModule_GetDict(self.as_ptr())
            };
            if dict.is_null() {
                return Err(Python::assume_attached().raise(crate::Exception::SystemError, "not a module"));
            }
            Ok(Self::from_borrowed(dict))
        }
    }
}
