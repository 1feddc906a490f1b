//! The series of a process group: requests that have ended with the same method, status and scheme
//! are counted together.
//!
//! There may be thousands of combinations, of which a group has a few. So its row has a table: a
//! combination takes a place there when its first request has ended, and keeps it. Once no place is
//! left, requests are counted by the class of their status alone.

use std::sync::atomic::{AtomicU64, Ordering};

use super::Method;

/// The number of classes of statuses, from 1xx to 5xx.
pub(super) const CLASSES: usize = 5;

/// The number of combinations that have a place, in words of the row's head.
pub(super) const PLACES: usize = 45;

/// The number of distributions: of the places, then of the classes of all others.
pub(super) const COUNT: usize = PLACES + CLASSES;

/// The places that only errors of the server may take: those are what people look for.
const FOR_ERRORS: usize = 8;
/// The places that may be taken before methods that clients make up, or that applications seldom
/// have, get none any more.
const FOR_ALL: usize = PLACES / 2;

/// Requests that are counted together.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Series {
    /// Those with the same method, status and scheme.
    One(Combination),
    /// Those of a class of statuses, such as 2, that found no place of their own.
    Rest(u8),
}

/// What requests of a series have in common.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Combination {
    /// The method.
    pub method: Method,
    /// The status of the response.
    pub status: u16,
    /// True if the URL was one of `https`, as far as the server knows.
    pub is_https: bool,
}

impl Series {
    /// Returns the class of the status, such as 2 for 204.
    #[must_use]
    pub const fn class(&self) -> u8 {
        match self {
            Self::One(combination) => class(combination.status) as u8,
            Self::Rest(class) => *class,
        }
    }

    /// Returns the series with this number; `None` if the word of its place is none that a combination
    /// has.
    pub(super) fn of_number(number: usize, word: impl FnOnce(usize) -> u64) -> Option<Self> {
        match number.checked_sub(PLACES) {
            Some(class) => Some(Self::Rest(class as u8 + 1)),
            None => Combination::of_word(word(number)).map(Self::One),
        }
    }
}

/// Returns the class of a status, such as 2 for 204; 5 for a number that is no status.
#[must_use]
#[inline]
pub(super) const fn class(status: u16) -> usize {
    match status / 100 {
        class @ 1..=5 => class as usize,
        _ => 5,
    }
}

/// The bits of a word, above those of the status.
const METHOD: u32 = 16;
const HTTPS: u32 = 20;
/// It is set in each: a word of 0 is a free place.
const TAKEN: u32 = 21;

impl Combination {
    #[inline]
    const fn word(self) -> u64 {
        1 << TAKEN | (self.is_https as u64) << HTTPS | (self.method as u64) << METHOD | self.status as u64
    }

    fn of_word(word: u64) -> Option<Self> {
        let method = *Method::ALL.get(word as usize >> METHOD & 0xf)?;
        let is_taken = word >> TAKEN == 1;
        is_taken.then_some(Self { method, status: word as u16, is_https: word >> HTTPS & 1 == 1 })
    }

    /// Returns the number of its series in a table of places; it takes one if it has none.
    #[inline]
    pub(super) fn number(self, places: &[AtomicU64; PLACES]) -> usize {
        let word = self.word();
        let first = first(word);
        // (Acquired, so that who sees what is counted sees what it is of.)
        if places[first].load(Ordering::Acquire) == word { first } else { self.search(places, first) }
    }

    #[cold]
    fn search(self, places: &[AtomicU64; PLACES], first: usize) -> usize {
        let (word, rest) = (self.word(), PLACES + class(self.status) - 1);
        for place in (first..PLACES).chain(0..first) {
            let mut found = places[place].load(Ordering::Acquire);
            if found == 0 {
                let taken = places.iter().filter(|place| place.load(Ordering::Relaxed) != 0).count();
                if taken >= self.limit() {
                    return rest;
                }
                let claim = places[place].compare_exchange(0, word, Ordering::AcqRel, Ordering::Acquire);
                found = claim.map_or_else(|other| other, |_| word);
            }
            if found == word {
                return place;
            }
        }
        rest
    }

    /// Returns the number of places that may be taken before it gets none.
    const fn limit(self) -> usize {
        match self.method {
            Method::Get | Method::Head | Method::Post if self.status >= 500 => PLACES,
            Method::Get | Method::Head | Method::Post => PLACES - FOR_ERRORS,
            _ => FOR_ALL,
        }
    }
}

/// Returns the place that a word tries first: most find theirs at once.
#[inline]
const fn first(word: u64) -> usize {
    let hash = word.wrapping_mul(0x9e37_79b9_7f4a_7c15) >> 32;
    ((hash * PLACES as u64) >> 32) as usize
}

#[cfg(test)]
mod tests {
    use super::*;

    fn combination(method: Method, status: u16, is_https: bool) -> Combination {
        Combination { method, status, is_https }
    }

    fn table() -> [AtomicU64; PLACES] {
        std::array::from_fn(|_| AtomicU64::new(0))
    }

    fn series(places: &[AtomicU64; PLACES], number: usize) -> Option<Series> {
        Series::of_number(number, |place| places[place].load(Ordering::Relaxed))
    }

    #[test]
    fn words_come_back() {
        for method in Method::ALL {
            for (status, is_https) in [(100, false), (200, true), (599, false), (u16::MAX, true)] {
                let combination = combination(method, status, is_https);
                assert_eq!(Combination::of_word(combination.word()), Some(combination));
            }
        }
        for word in [0, 200, 1 << TAKEN | 10 << METHOD, 1 << 63, u64::MAX] {
            assert_eq!(Combination::of_word(word), None, "{word:x}");
        }
    }

    #[test]
    fn a_combination_keeps_its_place() {
        let places = table();
        let all: Vec<_> = (200..200 + PLACES as u16 - FOR_ERRORS as u16)
            .map(|status| combination(Method::Get, status, status % 2 == 0))
            .collect();
        let numbers: Vec<_> = all.iter().map(|one| one.number(&places)).collect();
        for (one, number) in all.iter().zip(&numbers) {
            assert_eq!((one.number(&places), series(&places, *number)), (*number, Some(Series::One(*one))));
        }
        let mut distinct = numbers;
        distinct.sort_unstable();
        distinct.dedup();
        assert_eq!(distinct.len(), all.len());
    }

    #[test]
    fn what_finds_no_place_is_counted_by_its_class() {
        let places = table();
        // Whatever clients try, errors of usual methods can be told apart.
        for status in 200..300 {
            for method in Method::ALL {
                for is_https in [false, true] {
                    let number = combination(method, status, is_https).number(&places);
                    let found = series(&places, number);
                    let expected = combination(method, status, is_https);
                    assert!(
                        found == Some(Series::One(expected)) || found == Some(Series::Rest(2)),
                        "{found:?}"
                    );
                }
            }
        }
        let taken = || places.iter().filter(|place| place.load(Ordering::Relaxed) != 0).count();
        assert_eq!(taken(), PLACES - FOR_ERRORS);
        let number = combination(Method::Put, 502, false).number(&places);
        assert_eq!(series(&places, number), Some(Series::Rest(5)));
        for status in 500..500 + FOR_ERRORS as u16 {
            let error = combination(Method::Get, status, false);
            assert_eq!(series(&places, error.number(&places)), Some(Series::One(error)));
        }
        let number = combination(Method::Get, 599, false).number(&places);
        assert_eq!((series(&places, number), taken()), (Some(Series::Rest(5)), PLACES));
    }

    #[test]
    fn methods_that_clients_make_up_leave_room_for_others() {
        let places = table();
        for status in 400..450 {
            let _ = combination(Method::Other, status, false).number(&places);
        }
        assert_eq!(places.iter().filter(|place| place.load(Ordering::Relaxed) != 0).count(), FOR_ALL);
        let usual = combination(Method::Get, 404, true);
        assert_eq!(series(&places, usual.number(&places)), Some(Series::One(usual)));
    }

    #[test]
    fn the_document_says_how_many_there_are() {
        let document = include_str!("../../../../docs/status.md");
        assert_eq!((FOR_ERRORS, COUNT), (8, 50));
        for text in [
            format!("up to {PLACES} such combinations"),
            format!("Eight of the {PLACES} are kept"),
            format!("last {}, so", PLACES - FOR_ALL),
            format!("[{COUNT} series]"),
        ] {
            assert!(document.contains(&text), "{text}");
        }
    }

    #[test]
    fn one_place_is_taken_by_threads_that_come_together() {
        for _ in 0..100 {
            let places = table();
            std::thread::scope(|scope| {
                let count = |status: u16| {
                    let places = &places;
                    scope.spawn(move || combination(Method::Get, 200 + status / 2, false).number(places))
                };
                let threads: Vec<_> = (0..8).map(count).collect();
                let numbers: Vec<_> = threads.into_iter().map(|thread| thread.join().unwrap()).collect();
                for (status, number) in (0..8_u16).zip(numbers) {
                    let expected = combination(Method::Get, 200 + status / 2, false);
                    assert_eq!(series(&places, number), Some(Series::One(expected)));
                }
            });
            assert_eq!(places.iter().filter(|place| place.load(Ordering::Relaxed) != 0).count(), 4);
        }
    }

    #[test]
    fn classes_are_those_of_statuses() {
        assert_eq!([100, 204, 399, 404, 500, 700, 0].map(class), [1, 2, 3, 4, 5, 5, 5]);
        assert_eq!(Series::Rest(3).class(), 3);
        assert_eq!(Series::One(combination(Method::Get, 404, false)).class(), 4);
    }
}
