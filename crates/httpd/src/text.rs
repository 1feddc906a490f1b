//! C strings of Apache as byte strings.

use std::ffi::{CStr, c_char};

/// Returns the bytes at `text`, or `None` if it is null.
///
/// # Safety
/// A non-null `text` is NUL-terminated, and neither changed nor freed for as long as `'a`.
#[inline]
pub(crate) unsafe fn bytes<'a>(text: *const c_char) -> Option<&'a [u8]> {
    // SAFETY: by the caller.
    unsafe { c_string(text) }.map(CStr::to_bytes)
}

/// Returns the string at `text`, or `None` if it is null.
///
/// # Safety
/// As [`bytes`].
#[inline]
pub(crate) unsafe fn c_string<'a>(text: *const c_char) -> Option<&'a CStr> {
    if text.is_null() {
        return None;
    }
    // SAFETY: by the caller.
    Some(unsafe { CStr::from_ptr(text) })
}
