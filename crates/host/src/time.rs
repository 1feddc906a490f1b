//! Times of day, in the units of applications.

use std::time::{SystemTime, UNIX_EPOCH};

/// Returns the time in seconds since the epoch.
pub(crate) fn now() -> f64 {
    os::clock::nanoseconds() as f64 / 1e9
}

/// Returns `time` in seconds since the epoch.
pub(crate) fn since_epoch(time: SystemTime) -> f64 {
    time.duration_since(UNIX_EPOCH).map_or(0.0, |time| time.as_secs_f64())
}

/// Returns microseconds as seconds.
pub(crate) fn seconds(microseconds: i64) -> f64 {
    microseconds as f64 / 1_000_000.0
}
