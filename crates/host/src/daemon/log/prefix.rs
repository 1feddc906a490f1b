//! The beginnings of lines, as Apache writes them.

use std::ffi::c_int;
use std::fmt::Write as _;
use std::time::SystemTime;

/// Returns what a line of that level, written now, begins with.
pub(super) fn of(level: c_int) -> Vec<u8> {
    let mut prefix = String::with_capacity(64);
    prefix.push('[');
    // Writing to a string does not fail.
    let _ = os::clock::stamp(&mut prefix, SystemTime::now());
    let _ = write!(prefix, "] [wsgi:{}] [pid {}] ", name(level), std::process::id());
    prefix.into_bytes()
}

const fn name(level: c_int) -> &'static str {
    match level {
        ..=2 => "crit",
        3 => "error",
        4 => "warn",
        5 => "notice",
        6 => "info",
        7 => "debug",
        _ => "trace1",
    }
}
