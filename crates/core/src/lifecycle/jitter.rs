//! Replacements at times that differ between the processes of a group (`restart-jitter=`).

use crate::wire::launch::Limits;

impl Limits {
    /// Returns the limits of one process with so many threads: `maximum-requests=` and
    /// `restart-interval=` are raised by a share of `restart-jitter=`, which `random` chooses. They
    /// are never less than what is configured. What is there for one request stays so:
    /// applications have been told (`wsgi.run_once`).
    #[must_use]
    pub fn jittered(mut self, threads: u32, random: u64) -> Self {
        if !self.is_run_once(threads) {
            for limit in [&mut self.maximum_requests, &mut self.restart_interval] {
                *limit = limit.saturating_add(share(*limit, self.restart_jitter, random));
            }
        }
        self
    }
}

/// Returns a number from 0 to `percent` of `limit`, each as likely as the others.
fn share(limit: u64, percent: u64, random: u64) -> u64 {
    let most = u128::from(limit) * u128::from(percent) / 100;
    let most = u64::try_from(most).unwrap_or(u64::MAX);
    // Below 2^64 times 2^64, and so is the result.
    u64::try_from(((u128::from(most) + 1) * u128::from(random)) >> 64).unwrap_or(most)
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use proptest::prelude::*;

    use super::*;

    /// Returns the numbers of requests of processes whose random numbers are spread evenly.
    fn counts(maximum_requests: u64, restart_jitter: u64, threads: u32) -> Vec<u64> {
        let limits = Limits { maximum_requests, restart_jitter, ..Limits::default() };
        let randoms = (0..16).map(|index| (u64::MAX / 16).wrapping_mul(index) + index);
        randoms.map(|random| limits.jittered(threads, random).maximum_requests).collect()
    }

    #[test]
    fn processes_of_a_group_do_not_go_at_once() {
        let counts = counts(1_000, 20, 15);
        assert_eq!(counts.first(), Some(&1_000));
        assert!(counts.windows(2).all(|pair| pair[1] - pair[0] >= 12), "{counts:?}");
        assert!(counts.iter().all(|count| (1_000..=1_200).contains(count)), "{counts:?}");
    }

    #[test]
    fn without_the_option_the_count_is_exact() {
        assert_eq!(counts(1_000, 0, 15), [1_000; 16]);
        assert_eq!(counts(0, 100, 15), [0; 16], "no limit is none");
    }

    #[test]
    fn a_process_for_one_request_serves_one() {
        assert_eq!(counts(1, 100, 1), [1; 16]);
        assert_eq!(counts(1, 100, 2).into_iter().collect::<BTreeSet<_>>(), [1, 2].into());
    }

    proptest! {
        #[test]
        fn limits_are_raised_by_the_jitter_at_most(
            maximum_requests in any::<u64>(), restart_interval in 0..1_000_000_u64, restart_jitter in 0..=100_u64,
            threads in 2..9_u32, random in any::<u64>(),
        ) {
            let limits = Limits { maximum_requests, restart_interval, restart_jitter, ..Limits::default() };
            let jittered = limits.jittered(threads, random);
            prop_assert!(jittered.maximum_requests >= maximum_requests);
            prop_assert!(jittered.restart_interval >= restart_interval);
            prop_assert!(jittered.restart_interval <= restart_interval + restart_interval * restart_jitter / 100);
            let all = limits.jittered(threads, u64::MAX);
            prop_assert_eq!(all.restart_interval, restart_interval + restart_interval * restart_jitter / 100);
        }
    }
}
