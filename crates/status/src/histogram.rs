//! Histograms of times, with the buckets of OpenTelemetry's semantic conventions.

use serde::{Deserialize, Serialize};

/// The upper bounds of the buckets, in seconds, inclusive: those that the semantic conventions of
/// OpenTelemetry advise for `http.server.request.duration`. One more bucket has no bound.
pub const BOUNDS: [f64; 14] =
    [0.005, 0.01, 0.025, 0.05, 0.075, 0.1, 0.25, 0.5, 0.75, 1.0, 2.5, 5.0, 7.5, 10.0];

/// The number of buckets.
pub const BUCKETS: usize = BOUNDS.len() + 1;

/// A distribution of times.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct Histogram {
    /// The number of times in each bucket (not those below, too). It has [`BUCKETS`] elements, or
    /// none if nothing was counted.
    pub buckets: Vec<u64>,
    /// The sum of the times, in seconds.
    pub sum: f64,
}

impl Histogram {
    /// Returns the number of times.
    #[must_use]
    pub fn count(&self) -> u64 {
        self.buckets.iter().sum()
    }

    /// Adds the times of another distribution.
    pub fn add(&mut self, other: &Self) {
        if self.buckets.len() < other.buckets.len() {
            self.buckets.resize(other.buckets.len(), 0);
        }
        for (bucket, more) in self.buckets.iter_mut().zip(&other.buckets) {
            *bucket += more;
        }
        self.sum += other.sum;
    }

    /// Returns the mean, in seconds; `None` if nothing was counted.
    #[must_use]
    pub fn mean(&self) -> Option<f64> {
        let count = self.count();
        (count > 0).then(|| self.sum / count as f64)
    }

    /// Returns the time, in seconds, that a share of all (such as 0.95) does not exceed, estimated
    /// within its bucket as Prometheus does; `None` if nothing was counted. What lies beyond the last
    /// bound counts as that bound.
    #[must_use]
    pub fn quantile(&self, share: f64) -> Option<f64> {
        let count = self.count();
        if count == 0 {
            return None;
        }
        let rank = share.clamp(0.0, 1.0) * count as f64;
        let (mut below, mut lower) = (0.0, 0.0);
        for (&number, &bound) in self.buckets.iter().zip(&BOUNDS) {
            let number = number as f64;
            if number > 0.0 && below + number >= rank {
                return Some(lower + (bound - lower) * ((rank - below) / number).clamp(0.0, 1.0));
            }
            (below, lower) = (below + number, bound);
        }
        Some(lower)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn histogram(counts: &[(usize, u64)]) -> Histogram {
        let mut buckets = vec![0; BUCKETS];
        counts.iter().for_each(|&(bucket, count)| buckets[bucket] = count);
        Histogram { buckets, sum: 1.5 }
    }

    #[test]
    fn quantiles_lie_within_their_bucket() {
        assert_eq!(Histogram::default().quantile(0.5), None);
        assert_eq!(Histogram::default().mean(), None);
        let times = histogram(&[(0, 50), (3, 50)]);
        assert_eq!(times.quantile(0.5), Some(0.005));
        assert_eq!(times.quantile(0.25), Some(0.0025));
        assert!(times.quantile(0.75).is_some_and(|time| (time - 0.0375).abs() < 1e-9));
        assert_eq!(histogram(&[(14, 3)]).quantile(0.99), Some(10.0), "beyond the last bound");
        assert_eq!(times.mean(), Some(0.015));
    }

    #[test]
    fn sums_count_all() {
        let mut sum = Histogram::default();
        sum.add(&histogram(&[(1, 2)]));
        sum.add(&histogram(&[(1, 3), (14, 1)]));
        assert_eq!((sum.count(), sum.sum), (6, 3.0));
    }
}
