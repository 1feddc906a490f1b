//! A bound on how often something happens: a token bucket without a clock.

/// A token bucket. It fills by one unit a millisecond, up to its capacity; what is bounded takes
/// its price out.
///
/// So within any `t` milliseconds, things of price `p` happen no more than `(capacity + t) / p`
/// times.
#[derive(Debug, Clone)]
pub struct Bucket {
    capacity: u64,
    level: u64,
    filled: u64,
}

impl Bucket {
    /// Creates a full bucket of this capacity, in milliseconds.
    #[must_use]
    pub const fn full(capacity: u64) -> Self {
        Self { capacity, level: capacity, filled: 0 }
    }

    /// Returns how many milliseconds it takes from `now` until there is enough for something of this price.
    pub fn wait(&mut self, price: u64, now: u64) -> u64 {
        let passed = now.saturating_sub(self.filled);
        self.level = self.level.saturating_add(passed).min(self.capacity);
        self.filled = self.filled.max(now);
        price.saturating_sub(self.level)
    }

    /// Takes the price out if there is enough. Returns whether there was: asking for too much does not
    /// postpone the next time.
    pub fn try_take(&mut self, price: u64, now: u64) -> bool {
        let is_enough = self.wait(price, now) == 0;
        if is_enough {
            self.level -= price;
        }
        is_enough
    }

    /// Takes the price out, or what there is, for something that happens in any case.
    pub fn spend(&mut self, price: u64, now: u64) {
        self.wait(price, now);
        self.level = self.level.saturating_sub(price);
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn tokens_come_back_with_time() {
        let mut bucket = Bucket::full(100);
        assert!(bucket.try_take(60, 5_000));
        assert_eq!((bucket.wait(40, 5_000), bucket.wait(60, 5_000)), (0, 20));
        assert!(!bucket.try_take(60, 5_010), "and nothing is taken");
        assert_eq!(bucket.wait(60, 5_010), 10);
        bucket.spend(60, 5_010);
        assert_eq!(bucket.wait(60, 5_050), 20, "nothing was left");
        assert_eq!(bucket.wait(100, 9_000), 0);
        assert_eq!(bucket.wait(101, 9_000), 1, "there is never more");
    }

    proptest! {
        #[test]
        fn no_window_has_more_than_the_bound(
            steps in proptest::collection::vec(0..3_000_u64, 1..80),
            (capacity, price) in (1_000..9_000_u64, 50..1_000_u64),
        ) {
            let (mut bucket, mut now, mut taken) = (Bucket::full(capacity), 77, Vec::new());
            for step in steps {
                now += step;
                if bucket.try_take(price, now) {
                    taken.push(now);
                }
            }
            for (first, from) in taken.iter().enumerate() {
                for (last, to) in taken.iter().enumerate().skip(first) {
                    prop_assert!((last - first + 1) as u64 <= (capacity + to - from) / price);
                }
            }
        }
    }
}
