//! Permits to run a script of a hook on a thread of the server's own.
//!
//! A script may hang where nothing can interrupt it, and then keeps its thread. So the number of
//! such calls is limited for the whole server: its processes share the words in which the permits
//! are. A call that hangs keeps its permit.

use std::sync::atomic::{AtomicU32, Ordering};

/// The words of a permit, of which one is used: those of different permits are in different lines
/// of processors' caches.
const LINE: usize = 16;

/// The place of the word that says until when no permit is given.
const SUSPENDED: usize = 0;

/// The longest time for which permits are suspended, in milliseconds.
const SUSPENSION: u32 = 60_000;

/// Returns how many permits a server has on a machine with so many processors.
#[must_use]
pub const fn count(processors: usize) -> usize {
    if processors > LEAST { processors } else { LEAST }
}

const LEAST: usize = 2;

/// Returns how many of them the processes of a server may use that serves so many requests at a
/// time: whatever hangs, most of its threads are free.
#[must_use]
pub const fn usable(count: usize, requests: usize) -> usize {
    let share = requests / SHARE;
    if share < count { share } else { count }
}

/// The share of a server's threads that may hang: one of so many.
const SHARE: usize = 3;

/// Returns the number of words for so many permits.
#[must_use]
pub const fn words(count: usize) -> usize {
    (1 + count) * LINE
}

/// The permits of a server, seen by one of its processes.
#[derive(Debug, Clone, Copy)]
pub struct Permits<'a>(&'a [AtomicU32]);

impl<'a> Permits<'a> {
    /// Returns the permits in these words, which are 0 in the beginning.
    #[must_use]
    pub const fn new(words: &'a [AtomicU32]) -> Self {
        Self(words)
    }

    /// Returns how many there are.
    #[must_use]
    pub const fn count(&self) -> usize {
        (self.0.len() / LINE).saturating_sub(1)
    }

    /// Takes a permit for a process, if there is one. Looks first at the one with the number
    /// `first`. Returns its number.
    #[must_use]
    #[inline]
    pub fn take(&self, process: u32, first: usize) -> Option<usize> {
        let count = self.count();
        let numbers = (first..count).chain(0..first.min(count));
        numbers.into_iter().find(|number| {
            self.word(*number).is_some_and(|word| {
                word.load(Ordering::Relaxed) == 0
                    && word.compare_exchange(0, process, Ordering::Acquire, Ordering::Relaxed).is_ok()
            })
        })
    }

    /// Returns a permit that a process has.
    #[inline]
    pub fn give_back(&self, number: usize, process: u32) {
        if let Some(word) = self.word(number) {
            let _ = word.compare_exchange(process, 0, Ordering::Release, Ordering::Relaxed);
        }
    }

    /// Takes all permits back from a process that has ended.
    pub fn take_back(&self, process: u32) {
        (0..self.count()).for_each(|number| self.give_back(number, process));
    }

    /// Has no permits given for a minute: a script hangs. The time is that of a clock which all
    /// processes have in common, in milliseconds.
    pub fn suspend(&self, now: u32) {
        if let Some(word) = self.0.get(SUSPENDED) {
            // 0 is for ever in the past.
            word.store(now.wrapping_add(SUSPENSION).max(1), Ordering::Relaxed);
        }
    }

    /// Returns whether permits are suspended; `now` is called only if they have been.
    #[must_use]
    #[inline]
    pub fn are_suspended(&self, now: impl FnOnce() -> u32) -> bool {
        let Some(word) = self.0.get(SUSPENDED) else { return true };
        let end = word.load(Ordering::Relaxed);
        if end == 0 {
            return false;
        }
        // The clock begins again now and then, and this process may have looked at it before the
        // one that has set the time.
        let rest = end.wrapping_sub(now());
        let is_over = rest == 0 || rest > 2 * SUSPENSION;
        if is_over {
            let _ = word.compare_exchange(end, 0, Ordering::Relaxed, Ordering::Relaxed);
        }
        !is_over
    }

    fn word(&self, number: usize) -> Option<&'a AtomicU32> {
        self.0.get((1 + number) * LINE)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn memory(count: usize) -> Vec<AtomicU32> {
        (0..words(count)).map(|_| AtomicU32::new(0)).collect()
    }

    #[test]
    fn there_are_as_many_as_processors() {
        assert_eq!([0, 1, 2, 7].map(count), [2, 2, 2, 7]);
        assert_eq!([0, 2, 3, 7, 24, 99].map(|requests| usable(4, requests)), [0, 0, 1, 2, 4, 4]);
        assert_eq!(Permits::new(&memory(7)).count(), 7);
        assert_eq!(Permits::new(&memory(0)).take(7, 0), None);
        assert_eq!(Permits::new(&[]).count(), 0);
    }

    #[test]
    fn no_more_are_given_than_there_are() {
        let memory = memory(3);
        let permits = Permits::new(&memory);
        let taken: Vec<_> = (0..4).map(|_| permits.take(7, 1)).collect();
        assert_eq!(taken, [Some(1), Some(2), Some(0), None]);
        permits.give_back(2, 7);
        assert_eq!(permits.take(8, 9), Some(2), "a number that there is not is no place to begin");
        permits.give_back(2, 7);
        assert_eq!(permits.take(7, 2), None, "it is another process's");
        assert_eq!(Permits::new(&[]).take(7, 0), None);
    }

    #[test]
    fn those_of_an_ended_process_come_back() {
        let memory = memory(3);
        let permits = Permits::new(&memory);
        for process in [7, 8, 7] {
            assert!(permits.take(process, 0).is_some());
        }
        permits.take_back(7);
        assert_eq!([9, 9, 9].map(|process| permits.take(process, 0)), [Some(0), Some(2), None]);
    }

    #[test]
    fn a_suspension_ends() {
        let memory = memory(2);
        let permits = Permits::new(&memory);
        assert!(!permits.are_suspended(|| unreachable!("there is no need to know the time")));
        for begin in [0, 1000, u32::MAX - 500, u32::MAX - SUSPENSION + 1] {
            permits.suspend(begin);
            for later in [0, 1, SUSPENSION - 1] {
                assert!(permits.are_suspended(|| begin.wrapping_add(later)), "{begin} {later}");
            }
            assert!(permits.are_suspended(|| begin.wrapping_sub(1)), "{begin}");
            assert!(!permits.are_suspended(|| begin.wrapping_add(SUSPENSION + 1)), "{begin}");
            assert!(!permits.are_suspended(|| begin), "it is forgotten");
        }
        permits.suspend(1000);
        assert!(!permits.are_suspended(|| 1000 + u32::MAX / 2), "however late that is noticed");
        assert!(Permits::new(&[]).are_suspended(|| 0), "no permits are never given");
    }
}
