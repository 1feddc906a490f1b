//! `apr_errno.h`: status values that are macros.

use std::ffi::c_int;

/// The operation succeeded.
pub const APR_SUCCESS: c_int = 0;
/// Nothing is there yet, of a read that does not wait. APR takes the system's value.
pub const APR_EAGAIN: c_int = libc::EAGAIN;
/// The end of the file or stream.
pub const APR_EOF: c_int = 70014;
/// The time for an operation is over.
pub const APR_TIMEUP: c_int = 70007;
