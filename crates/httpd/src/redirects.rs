//! Redirects within the server, as the handler of the request that is redirected notices them.
//!
//! A filter that fails has Apache respond with an error while the handler still runs: the document
//! for the error is a new request, which gets the variables of this one as `REDIRECT_*`.

use std::ffi::c_int;
use std::ptr;

use httpd_sys as sys;

use crate::config::ModuleConfig;
use crate::guard::guard;
use crate::log::{Level, Logger};
use crate::module::Module;
use crate::request::Request;

/// The function that a running handler has called, in the entry of its module in the request's
/// vector. It stays there for as long as the handler runs.
type OnRedirect<'a> = &'a dyn Fn();

impl Request {
    /// Runs `handler`. When Apache redirects the request meanwhile, `on_redirect` is called first:
    /// the new request has not got its copies of this one's variables yet.
    pub fn with_redirects_announced<M: ModuleConfig, T>(
        &self,
        on_redirect: OnRedirect<'_>,
        handler: impl FnOnce() -> T,
    ) -> T {
        let _entry = Entry::set(self, M::record().index(), &on_redirect);
        handler()
    }
}

/// The module's entry in the vector of a request. It is empty again when this is dropped.
struct Entry<'r> {
    request: &'r Request,
    index: c_int,
}

impl<'r> Entry<'r> {
    fn set(request: &'r Request, index: c_int, on_redirect: &'r OnRedirect<'_>) -> Self {
        // SAFETY: the request is live, and its vector has an entry for each module. Nothing else is
        // kept there. The function outlives this owner, which empties the entry.
        unsafe {
            let vector = (*request.as_ptr()).request_config;
            sys::ap_set_module_config(vector, index, ptr::from_ref(on_redirect).cast_mut().cast());
        }
        Self { request, index }
    }
}

impl Drop for Entry<'_> {
    fn drop(&mut self) {
        // SAFETY: as in `set`.
        unsafe {
            sys::ap_set_module_config((*self.request.as_ptr()).request_config, self.index, ptr::null_mut());
        }
    }
}

/// Announces to the handler of the request that `request` was redirected from, if it still runs.
///
/// Apache creates the new request in this order: the reference to the old one, this hook, the
/// variables.
pub(crate) unsafe extern "C" fn create_request<M: Module>(request: *mut sys::request_rec) -> c_int {
    // SAFETY: Apache gives a request that is being made. One that it was redirected from is live,
    // and served by this thread; what is in its vector is valid as long as it is there.
    let (previous, on_redirect) = unsafe {
        let previous = (*request).prev;
        if previous.is_null() {
            return sys::DECLINED;
        }
        let entry = sys::ap_get_module_config((*previous).request_config, M::record().index());
        let Some(on_redirect) = entry.cast_const().cast::<OnRedirect<'_>>().as_ref() else {
            return sys::DECLINED;
        };
        (Request::from_raw(previous), on_redirect)
    };
    let failed = |line: &str| Logger::of::<M>().request(previous, Level::Crit, line);
    guard("the announcement of a redirect", on_redirect, failed);
    // The hooks of other modules are to run, too.
    sys::DECLINED
}
