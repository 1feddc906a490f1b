//! The hook by which modules add to the page of mod_status: `status_hook` of mod_status.h, which is
//! there if that module is loaded.

use std::ffi::{c_int, c_void};
use std::ptr;

use httpd_sys as sys;

use crate::guard::guard;
use crate::log::{Level, Logger};
use crate::module::{Module, StatusForm};
use crate::request::Request;

/// `AP_STATUS_SHORT` of mod_status.h: no HTML.
const SHORT: c_int = 1;
/// `AP_STATUS_NOTABLE` of mod_status.h.
const NO_TABLE: c_int = 2;

/// The type of the hook.
type StatusHook = unsafe extern "C" fn(*mut sys::request_rec, c_int) -> c_int;

/// Registers the hook of a module that has it.
pub(crate) fn register<M: Module>() {
    if M::STATUS_PAGE.is_none() {
        return;
    }
    let hook: StatusHook = extend::<M>;
    // SAFETY: a static name and a static function, which whoever runs the hook of this name takes for
    // a `StatusHook`, as its header says; APR keeps functions of all hooks as one type. The last
    // arguments order it among others.
    unsafe {
        let function = std::mem::transmute::<StatusHook, unsafe extern "C" fn()>(hook);
        let order = sys::APR_HOOK_MIDDLE as c_int;
        sys::apr_optional_hook_add(c"status_hook".as_ptr(), Some(function), ptr::null(), ptr::null(), order);
    }
}

unsafe extern "C" fn extend<M: Module>(request: *mut sys::request_rec, flags: c_int) -> c_int {
    let Some(hook) = M::STATUS_PAGE else { return sys::DECLINED };
    // SAFETY: mod_status gives a live request; the reference ends with this call.
    let request = unsafe { Request::from_raw(request) };
    let form = match flags {
        flags if flags & SHORT != 0 => StatusForm::Auto,
        flags if flags & NO_TABLE != 0 => StatusForm::Lines,
        _ => StatusForm::Table,
    };
    let failed = |line: &str| {
        Logger::of::<M>().request(request, Level::Crit, line);
        String::new()
    };
    let text = guard("the status page", || hook(request, form), failed);
    let length = c_int::try_from(text.len()).unwrap_or(c_int::MAX);
    // SAFETY: the request is live, and the text is as long.
    unsafe { sys::ap_rwrite(text.as_ptr().cast::<c_void>(), length, request.as_ptr()) };
    sys::OK as c_int
}
