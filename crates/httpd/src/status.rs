//! What a handler of a request tells Apache.

use std::ffi::c_int;

use httpd_sys as sys;

/// How a hook dealt with a request.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Status {
    /// It was dealt with.
    Ok,
    /// It is somebody else's.
    Declined,
    /// Apache is to answer with its page for this HTTP status.
    Http(u16),
    /// A filter has answered already.
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
