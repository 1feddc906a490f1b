//! Times of one kind over an interval: mean, extremes, and how they are distributed.

use std::time::Duration;

/// The number of buckets of a distribution.
pub const BUCKETS: usize = 65;

const MILLISECOND: u64 = 1_000_000;
/// Each power of two of milliseconds has this many buckets.
const PER_OCTAVE: u64 = 4;
/// Times from 2^16 ms on share the last bucket.
const OCTAVES: u32 = 16;

/// A summary of times.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Times {
    count: u64,
    total: Duration,
    /// Shortest and longest.
    range: Option<(Duration, Duration)>,
    buckets: [u64; BUCKETS],
}

impl Default for Times {
    fn default() -> Self {
        Self { count: 0, total: Duration::ZERO, range: None, buckets: [0; BUCKETS] }
    }
}

impl Times {
    /// Adds a time.
    pub fn record(&mut self, time: Duration) {
        self.count += 1;
        self.total = self.total.saturating_add(time);
        self.extend(time, time);
        self.buckets[bucket(time)] += 1;
    }

    /// Adds all that another summary has seen.
    pub fn merge(&mut self, other: &Self) {
        self.count += other.count;
        self.total = self.total.saturating_add(other.total);
        if let Some((least, most)) = other.range {
            self.extend(least, most);
        }
        for (own, more) in self.buckets.iter_mut().zip(other.buckets) {
            *own += more;
        }
    }

    /// Returns the number of times that were added.
    #[must_use]
    pub const fn count(&self) -> u64 {
        self.count
    }

    /// Returns the mean in seconds; 0 if there is none.
    #[must_use]
    pub fn mean(&self) -> f64 {
        if self.count == 0 { 0.0 } else { self.total.as_secs_f64() / self.count as f64 }
    }

    /// Returns the shortest and the longest.
    #[must_use]
    pub const fn range(&self) -> Option<(Duration, Duration)> {
        self.range
    }

    /// Returns the number of times in each bucket: 4 equal parts of each power of two of
    /// milliseconds, from 1 ms on. What is shorter is in the first bucket, too; what takes 65.536 s
    /// or longer is in the last.
    #[must_use]
    pub const fn buckets(&self) -> &[u64; BUCKETS] {
        &self.buckets
    }

    fn extend(&mut self, least: Duration, most: Duration) {
        self.range = Some(match self.range {
            None => (least, most),
            Some((shortest, longest)) => (shortest.min(least), longest.max(most)),
        });
    }
}

/// Returns the bucket of a time.
fn bucket(time: Duration) -> usize {
    let nanoseconds = u64::try_from(time.as_nanos()).unwrap_or(u64::MAX);
    let Some(octave) = (nanoseconds / MILLISECOND).checked_ilog2() else { return 0 };
    if octave >= OCTAVES {
        return BUCKETS - 1;
    }
    let floor = MILLISECOND << octave;
    let part = (nanoseconds - floor) * PER_OCTAVE / floor;
    (u64::from(octave) * PER_OCTAVE + part) as usize
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn buckets_are_quarters_of_octaves() {
        for (microseconds, index) in [
            (0, 0),
            (999, 0),
            (1_000, 0),
            (1_249, 0),
            (1_250, 1),
            (1_999, 3),
            (2_000, 4),
            (2_500, 5),
            (347_050, 33),
            (1_000_517, 39),
            (1_501_089, 41),
            (65_535_999, 63),
            (65_536_000, 64),
            (3_600_000_000, 64),
        ] {
            assert_eq!(bucket(Duration::from_micros(microseconds)), index, "{microseconds} us");
        }
        assert_eq!(bucket(Duration::MAX), 64);
    }

    #[test]
    fn an_empty_histogram_has_no_extremes() {
        let times = Times::default();
        assert_eq!((times.count(), times.mean(), times.range()), (0, 0.0, None));
        assert_eq!(times.buckets().iter().sum::<u64>(), 0);
    }

    fn summary(times: &[u64]) -> Times {
        let mut summary = Times::default();
        times.iter().for_each(|time| summary.record(Duration::from_micros(*time)));
        summary
    }

    proptest! {
        /// Compares with the contract's definition, in floating point.
        #[test]
        fn buckets_follow_the_definition(microseconds in 0_u64..100_000_000) {
            let milliseconds = microseconds as f64 / 1000.0;
            let expected = if milliseconds < 1.0 {
                0
            } else if milliseconds >= 65536.0 {
                64
            } else {
                let octave = milliseconds.log2().floor();
                (4.0 * octave + ((milliseconds / octave.exp2() - 1.0) * 4.0).floor()) as usize
            };
            prop_assert_eq!(bucket(Duration::from_micros(microseconds)), expected);
        }

        #[test]
        fn longer_times_are_never_in_an_earlier_bucket(one in any::<u64>(), two in any::<u64>()) {
            let (short, long) = (Duration::from_nanos(one.min(two)), Duration::from_nanos(one.max(two)));
            prop_assert!(bucket(short) <= bucket(long));
        }

        #[test]
        fn merged_times_do_not_depend_on_the_thread(
            one in proptest::collection::vec(0_u64..200_000_000, 0..20),
            two in proptest::collection::vec(0_u64..200_000_000, 0..20),
        ) {
            let mut merged = summary(&one);
            merged.merge(&summary(&two));
            let all = [one, two].concat();
            prop_assert_eq!(&merged, &summary(&all));
            prop_assert_eq!(merged.count(), all.len() as u64);
            prop_assert_eq!(merged.buckets().iter().sum::<u64>(), merged.count());
            let ends = all.iter().min().zip(all.iter().max());
            let range = ends.map(|(least, most)| (Duration::from_micros(*least), Duration::from_micros(*most)));
            prop_assert_eq!(merged.range(), range);
            let sum: u64 = all.iter().sum();
            let mean = if all.is_empty() { 0.0 } else { sum as f64 / 1e6 / all.len() as f64 };
            prop_assert!((merged.mean() - mean).abs() <= 1e-9 * mean.max(1.0));
        }
    }
}
