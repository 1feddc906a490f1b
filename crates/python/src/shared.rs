//! Objects inside values that several threads use at once: those of a [`Class`](crate::Class).
//!
//! Both types here are `Sync`, for they give nothing without a token, and not `Send`: dropping them
//! gives references back, which only attached threads may do, and those do not let them go across
//! [`detach`](Python::detach).

use std::sync::{Arc, Mutex};

use os::lock::lock;

use crate::{Object, Python};

/// An owned reference that several threads may reach, each against a token of the object's
/// interpreter.
#[repr(transparent)]
pub struct Shared(Object);

// SAFETY: the object is reached with a token only; it is not cloned, nor dropped, through a shared
// reference.
unsafe impl Sync for Shared {}

impl Shared {
    /// Keeps `object`.
    #[must_use]
    #[inline]
    pub const fn new(object: Object) -> Self {
        Self(object)
    }

    /// Returns the object.
    #[must_use]
    #[inline]
    pub const fn get<'py>(&'py self, _py: Python<'py>) -> &'py Object {
        &self.0
    }
}

impl std::fmt::Debug for Shared {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        self.0.fmt(f)
    }
}

/// A cell for a value that may contain [`Shared`] objects, and that one thread may replace while
/// others use it.
pub struct SharedCell<T>(Mutex<Option<Arc<T>>>);

// SAFETY: a value goes in and comes out with a token only, so that attached threads alone have a
// part in it, use it at the same time, which its being `Sync` permits, and drop it.
unsafe impl<T: Sync> Sync for SharedCell<T> {}

impl<T> Default for SharedCell<T> {
    fn default() -> Self {
        Self(Mutex::new(None))
    }
}

impl<T: Sync> SharedCell<T> {
    /// Returns the value that was put there last, or `None` if there was none.
    #[must_use]
    #[inline]
    pub fn get(&self, _py: Python<'_>) -> Option<Arc<T>> {
        lock(&self.0).clone()
    }

    /// Replaces the value. The old one is dropped after its last use.
    #[inline]
    pub fn put(&self, _py: Python<'_>, value: T) {
        let new = Some(Arc::new(value));
        let old = std::mem::replace(&mut *lock(&self.0), new);
        // Python can run here, so not under the lock.
        drop(old);
    }
}

impl<T> std::fmt::Debug for SharedCell<T> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("SharedCell").finish_non_exhaustive()
    }
}
