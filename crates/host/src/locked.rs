//! Values behind locks that are never held while Python can run.
//!
//! Python can run unexpectedly: making an object may start the garbage collector, which calls
//! `__del__`, which may print, or use anything else in here. A thread that does so under a lock
//! waits for itself, and holds the interpreter's lock meanwhile. So standard locks and `RefCell`s
//! are not used in this crate (the lint `disallowed_types`), except where a reason is given.

#![expect(clippy::disallowed_types, reason = "the guard does not leave this module")]

use std::ops::{Deref, DerefMut};
use std::sync::{Mutex, TryLockError};

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

/// A value in two halves, to which one thread at a time adds without waiting, while another takes
/// out what has gathered. The latter holds one half at a time, so that there is always another one.
#[derive(Debug, Default)]
pub(crate) struct Gathered<T>([Mutex<T>; 2]);

impl<T: Send> Gathered<T> {
    /// Runs `work` with a half that nobody else holds. Returns `None` if there is none, which is
    /// the case only in a forked copy of the process, or if two threads add.
    #[inline]
    pub(crate) fn add<R: Send>(&self, work: impl FnOnce(&mut T) -> R + Send) -> Option<R> {
        let mut half = self.0.iter().find_map(|half| match half.try_lock() {
            Ok(half) => Some(half),
            Err(TryLockError::Poisoned(poisoned)) => Some(poisoned.into_inner()),
            Err(TryLockError::WouldBlock) => None,
        })?;
        Some(work(&mut half))
    }

    /// Runs `work` with each half. Only one thread may do so at a time.
    pub(crate) fn each(&self, mut work: impl FnMut(&mut T) + Send) {
        for half in &self.0 {
            work(&mut lock(half));
        }
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
    fn what_is_added_while_a_half_is_taken_out_gathers_in_the_other() {
        let gathered = Gathered::<Vec<u32>>::default();
        assert_eq!(gathered.add(|half| half.push(1)), Some(()));
        let mut taken = Vec::new();
        gathered.each(|half| {
            assert_eq!(gathered.add(|other| other.push(2)), Some(()), "it waits");
            taken.append(half);
        });
        gathered.each(|half| taken.append(half));
        assert_eq!(taken, [1, 2, 2]);
    }

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
