//! The end of the watchdog.

#![expect(clippy::disallowed_types, reason = "one flag is looked at under it")]

use std::sync::{Condvar, Mutex, PoisonError};
use std::time::Duration;

use os::lock::lock;

/// The signal for the watchdog to end: see [`super::monitor::watch`].
#[derive(Default)]
pub(super) struct Watchdog {
    is_over: Mutex<bool>,
    over: Condvar,
}

impl Watchdog {
    /// Ends the watchdog.
    pub(super) fn end(&self) {
        *lock(&self.is_over) = true;
        self.over.notify_all();
    }

    /// Returns whether it is to end.
    pub(super) fn is_over(&self) -> bool {
        *lock(&self.is_over)
    }

    /// Waits for its end, for that long at most. Returns whether it is to end.
    pub(super) fn wait(&self, timeout: Duration) -> bool {
        let is_over = lock(&self.is_over);
        let waited = self.over.wait_timeout_while(is_over, timeout, |is_over| !*is_over);
        *waited.unwrap_or_else(PoisonError::into_inner).0
    }
}
