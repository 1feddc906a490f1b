//! `http_log.h`: the levels, of which the header makes `syslog.h`'s.

use std::ffi::c_int;

/// No errno belongs to the line.
pub const APLOG_NO_STATUS: c_int = 0;
/// The bits of a level argument that are the level.
pub const APLOG_LEVELMASK: c_int = 15;
