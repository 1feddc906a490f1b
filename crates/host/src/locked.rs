//! Values behind locks that are never held while Python can run.
//!
//! Python can run unexpectedly: making an object may start the garbage collector, which calls
//! `__del__`, which may print, or use anything else in here. A thread that does so under a lock
//! waits for itself, and holds the interpreter's lock meanwhile. So standard locks and `RefCell`s
//! are not used in this crate (the lint `disallowed_types`), except where a reason is given.

#![expect(clippy::disallowed_types, reason = "the guard does not leave this module")]

use std::ops::{Deref, DerefMut};
use std::sync::Mutex;

use os::lock::lock;

/// A value behind a lock.
#[derive(Debug, Default)]
pub(crate) struct Locked<T>(Mutex<T>);

impl<T: Send> Locked<T> {
    pub(crate) const fn new(value: T) -> Self {
        Self(Mutex::new(value))
    }

    /// Runs `work` with the value. `Send` values hold neither a token nor an object, so neither
    /// `work` nor a drop here can run Python.
    #[inline]
    pub(crate) fn with<R: Send>(&self, work: impl FnOnce(&mut T) -> R + Send) -> R {
        // A panic leaves nothing half done.
        work(&mut lock(&self.0))
    }
}

/// A value that one user at a time can take out.
#[derive(Debug)]
pub(crate) struct Exclusive<T>(Locked<Option<T>>);

/// A guard of an [`Exclusive`] value that is taken out. Dropping it puts the value back.
pub(crate) struct ExclusiveGuard<'a, T: Send> {
    place: &'a Exclusive<T>,
    /// `None` only while this is dropped.
    value: Option<T>,
}

impl<T: Send> Exclusive<T> {
    pub(crate) const fn new(value: T) -> Self {
        Self(Locked::new(Some(value)))
    }

    /// Takes the value out. Returns `None` while another user has it.
    pub(crate) fn take(&self) -> Option<ExclusiveGuard<'_, T>> {
        let value = self.0.with(Option::take)?;
        Some(ExclusiveGuard { place: self, value: Some(value) })
    }
}

impl<T: Send> Deref for ExclusiveGuard<'_, T> {
    type Target = T;

    fn deref(&self) -> &T {
        self.value.as_ref().expect("it is there until the end")
    }
}

impl<T: Send> DerefMut for ExclusiveGuard<'_, T> {
    fn deref_mut(&mut self) -> &mut T {
        self.value.as_mut().expect("it is there until the end")
    }
}

impl<T: Send> Drop for ExclusiveGuard<'_, T> {
    fn drop(&mut self) {
        let value = self.value.take();
        self.place.0.with(|place| *place = value);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_lent_value_is_had_by_one_at_a_time() {
        let lent = Exclusive::new(vec![1]);
        let mut taken = lent.take().unwrap();
        taken.push(2);
        assert!(lent.take().is_none());
        drop(taken);
        assert_eq!(*lent.take().unwrap(), [1, 2]);
    }

    #[test]
    fn a_panic_gives_it_back() {
        let lent = Exclusive::new(1);
        let panicked = std::panic::catch_unwind(|| {
            let _taken = lent.take();
            panic!("on purpose");
        });
        assert!(panicked.is_err() && lent.take().is_some());
    }
}
