//! The loading of a script, by one thread at a time.

use std::sync::TryLockError;

use python::Python;

/// The state of the loading of a script.
#[derive(Debug, Default)]
pub(crate) struct Loading {
    /// The reason why its import has failed, if this interpreter must not try it again.
    pub(crate) failed: Option<String>,
}

/// A lock that is held while a script is loaded. Threads wait for it detached.
#[derive(Debug, Default)]
#[expect(clippy::disallowed_types, reason = "nobody waits for it while attached")]
pub(crate) struct LoadLock(std::sync::Mutex<Loading>);

impl LoadLock {
    /// Acquires the lock, once no other thread loads the script.
    pub(crate) fn acquire(&self, py: Python<'_>) -> std::sync::MutexGuard<'_, Loading> {
        loop {
            match self.0.try_lock() {
                Ok(held) => return held,
                Err(TryLockError::Poisoned(held)) => return held.into_inner(),
                // The thread that loads it may need Python.
                Err(TryLockError::WouldBlock) => py.detach(|| drop(self.0.lock())),
            }
        }
    }
}
