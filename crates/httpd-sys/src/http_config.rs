//! `http_config.h`: the inline forms of access to configuration vectors, and the head of a module
//! record.

use std::ffi::{CStr, c_int, c_void};

use crate::{MODULE_MAGIC_COOKIE, MODULE_MAGIC_NUMBER_MAJOR, MODULE_MAGIC_NUMBER_MINOR};
use crate::{ap_conf_vector_t, cmd_parms, module};

/// A handler that takes the rest of the line undivided, and gives an error text or null.
pub type RawArguments =
    unsafe extern "C" fn(*mut cmd_parms, *mut c_void, *const std::ffi::c_char) -> *const std::ffi::c_char;

/// Returns a record with the beginning that `STANDARD20_MODULE_STUFF` makes; the rest is null.
#[must_use]
pub const fn standard20_module_stuff(name: &'static CStr) -> module {
    // SAFETY: a module record is integers, pointers and optional functions, all of which may be
    // zero.
    let mut record: module = unsafe { std::mem::zeroed() };
    record.version = MODULE_MAGIC_NUMBER_MAJOR as c_int;
    record.minor_version = MODULE_MAGIC_NUMBER_MINOR as c_int;
    record.module_index = -1;
    record.name = name.as_ptr();
    record.magic = MODULE_MAGIC_COOKIE as std::ffi::c_ulong;
    record
}

/// Returns a module's entry in a vector (`ap_get_module_config`).
///
/// # Safety
/// `vector` is a live configuration vector, and `index` is of a module that was added to the server
/// before the vector was made.
#[must_use]
pub unsafe fn ap_get_module_config(vector: *const ap_conf_vector_t, index: c_int) -> *mut c_void {
    // SAFETY: a vector is an array of pointers with an entry for each module.
    unsafe { *vector.cast::<*mut c_void>().offset(index as isize) }
}

/// Sets a module's entry in a vector (`ap_set_module_config`).
///
/// # Safety
/// As [`ap_get_module_config`]; nobody else uses the entry meanwhile.
pub unsafe fn ap_set_module_config(vector: *mut ap_conf_vector_t, index: c_int, entry: *mut c_void) {
    // SAFETY: a vector is an array of pointers with an entry for each module.
    unsafe { *vector.cast::<*mut c_void>().offset(index as isize) = entry }
}
