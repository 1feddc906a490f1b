//! `apr_errno.h`: status values that are macros.

use std::ffi::c_int;

/// The operation succeeded.
pub const APR_SUCCESS: c_int = 0;
/// A read that does not wait found no data. APR takes the system's value.
pub const APR_EAGAIN: c_int = libc::EAGAIN;
/// The end of the file or stream.
pub const APR_EOF: c_int = 70014;
/// The operation timed out.
pub const APR_TIMEUP: c_int = 70007;
