//! The loading of a script, by one thread at a time.

use std::sync::TryLockError;

use python::Python;

/// What is known of the loading of a script.
#[derive(Debug, Default)]
pub(crate) struct Loading {
    /// Why its import has failed, if it is not to be tried again in this interpreter.
    pub(crate) failed: Option<String>,
}

/// Held while a script runs, which is what the lock is there for. Who waits for it is detached.
#[derive(Debug, Default)]
#[expect(clippy::disallowed_types, reason = "nobody waits for it while attached")]
pub(crate) struct LoadLock(std::sync::Mutex<Loading>);

impl LoadLock {
    /// Waits until nobody else loads the script, and keeps others from it.
    pub(crate) fn acquire(&self, py: Python<'_>) -> std::sync::MutexGuard<'_, Loading> {
        loop {
            match self.0.try_lock() {
                Ok(held) => return held,
                Err(TryLockError::Poisoned(held)) => return held.into_inner(),
                // Those that load it may need Python.
                Err(TryLockError::WouldBlock) => py.detach(|| drop(self.0.lock())),
            }
        }
    }
}
