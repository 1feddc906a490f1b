//! Distributions of times, in buckets.

use std::sync::atomic::AtomicU64;

use super::{Read, add};

/// The upper bounds of the buckets, in microseconds, inclusive: those that OpenTelemetry's semantic
/// conventions advise for durations of requests. One more bucket has no bound.
pub const BOUNDS: [u64; 14] = [
    5_000, 10_000, 25_000, 50_000, 75_000, 100_000, 250_000, 500_000, 750_000, 1_000_000, 2_500_000,
    5_000_000, 7_500_000, 10_000_000,
];

/// The number of buckets.
pub const BUCKETS: usize = BOUNDS.len() + 1;

/// The number of words of a distribution: the sum and the buckets, so that the sum is in one line with
/// the buckets of most requests.
pub(super) const WORDS: usize = 1 + BUCKETS;

/// A part of the time of a request.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Part {
    /// Waiting for a thread of a process.
    Queue,
    /// Waiting for the interpreter's lock.
    LockWait,
    /// In the application.
    Application,
    /// Waiting for the client's body.
    Reading,
    /// Passing the response on.
    Writing,
}

impl Part {
    /// All of them, in the order of their numbers.
    pub const ALL: [Self; 5] = [Self::Queue, Self::LockWait, Self::Application, Self::Reading, Self::Writing];
}

/// Returns the bucket of a time in microseconds.
#[must_use]
#[inline]
pub fn bucket(micros: u64) -> usize {
    BOUNDS.iter().position(|bound| micros <= *bound).unwrap_or(BOUNDS.len())
}

/// Counts a time, in microseconds, in a distribution.
#[inline]
pub(super) fn count(distribution: &[AtomicU64; WORDS], micros: u64) {
    let [sum, buckets @ ..] = distribution;
    add(&buckets[bucket(micros).min(BUCKETS - 1)], 1);
    add(sum, micros);
}

/// Adds the distribution at `start` to `total`: the numbers in the buckets, then the sum in
/// microseconds.
pub(super) fn sum(read: Read<'_>, start: usize, total: &mut [u64; WORDS]) {
    for (index, word) in total.iter_mut().enumerate() {
        *word = word.wrapping_add(read(start + (index + 1) % WORDS));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bounds_are_inclusive() {
        assert_eq!(
            [0, 1, 5_000, 5_001, 10_000, 10_000_000, 10_000_001, u64::MAX].map(bucket),
            [0, 0, 0, 1, 1, 13, 14, 14]
        );
    }
}
