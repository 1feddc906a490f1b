//! The results of the hooks of a request.

use std::ffi::c_int;

use httpd_sys as sys;

/// The result of a hook for a request.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Status {
    /// The hook has dealt with the request.
    Ok,
    /// The request belongs to another module.
    Declined,
    /// Apache is to send its page for this HTTP status.
    Http(u16),
    /// A filter has sent a response already.
    Answered,
}

impl Status {
    pub(crate) const INTERNAL_SERVER_ERROR: Self = Self::Http(500);

    pub(crate) fn code(self) -> c_int {
        match self {
            Self::Ok => sys::OK as c_int,
            Self::Declined => sys::DECLINED,
            Self::Http(status) => c_int::from(status),
            Self::Answered => sys::AP_FILTER_ERROR,
        }
    }
}
