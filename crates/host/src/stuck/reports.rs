//! Bounds on what is said of stuck requests, of which there may be any number: all are counted, some are
//! logged, and fewer are described to the server, for its record of events.

use std::time::Instant;

use bridge::Server;
use wsgi_core::bucket::Bucket;

use crate::locked::Locked;

/// The budget for descriptions: eight at a stretch; in the long run one in ten seconds. It is what the
/// server accepts.
const BUDGET: u64 = 80_000;
/// The price of a description.
const PRICE: u64 = 10_000;
/// The price of a count of those that are not described: one a second.
const COUNT_PRICE: u64 = 1_000;
/// The budget for requests that are logged with their stacks: twenty at a stretch, and as many a minute.
const LOG_BUDGET: u64 = 60_000;
/// The price of one.
const LOG_PRICE: u64 = 3_000;
/// The time within which those that are not logged are counted for one line, in milliseconds.
const SUMMARY: u64 = 60_000;

/// The reports of a process.
pub(super) struct Reports {
    begin: Instant,
    unreported: Locked<Unreported>,
    unlogged: Locked<Unlogged>,
}

/// The requests that are not logged.
struct Unlogged {
    lines: Bucket,
    count: u32,
    /// The time from which on they are mentioned.
    due: u64,
}

impl Unlogged {
    fn new() -> Self {
        Self { lines: Bucket::full(LOG_BUDGET), count: 0, due: 0 }
    }

    /// Adds a request. Returns whether it is to be logged.
    fn add(&mut self, now: u64) -> bool {
        let is_logged = self.lines.try_take(LOG_PRICE, now);
        if !is_logged {
            if self.count == 0 {
                self.due = now.saturating_add(SUMMARY);
            }
            self.count = self.count.saturating_add(1);
        }
        is_logged
    }

    /// Returns how many to mention, if it is time.
    fn take(&mut self, now: u64) -> Option<u32> {
        (self.count > 0 && self.due <= now).then(|| std::mem::take(&mut self.count))
    }
}

/// The requests that the server has not been told of.
struct Unreported {
    count: u32,
    descriptions: Bucket,
    counts: Bucket,
}

impl Unreported {
    /// Adds a request. Returns how many to report with its description, if it is to be described.
    fn add(&mut self, now: u64) -> Option<u32> {
        self.count = self.count.saturating_add(1);
        let is_described = self.descriptions.try_take(PRICE, now);
        is_described.then(|| std::mem::take(&mut self.count))
    }

    /// Adds a request that is not to be described.
    const fn add_without_description(&mut self) {
        self.count = self.count.saturating_add(1);
    }

    /// Returns how many to report without a description, if it is time.
    fn take(&mut self, now: u64) -> Option<u32> {
        let is_due = self.count > 0 && self.counts.try_take(COUNT_PRICE, now);
        is_due.then(|| std::mem::take(&mut self.count))
    }
}

impl Reports {
    pub(super) fn new() -> Self {
        let unreported =
            Unreported { count: 0, descriptions: Bucket::full(BUDGET), counts: Bucket::full(COUNT_PRICE) };
        Self {
            begin: Instant::now(),
            unreported: Locked::new(unreported),
            unlogged: Locked::new(Unlogged::new()),
        }
    }

    /// Returns whether a request that has been found is to be logged. One that is not is counted.
    pub(super) fn admit(&self) -> bool {
        let now = self.now();
        let is_logged = self.unlogged.with(|unlogged| unlogged.add(now));
        if !is_logged {
            self.unreported.with(Unreported::add_without_description);
        }
        is_logged
    }

    /// Returns how many requests have not been logged, now and then.
    pub(super) fn take_unlogged(&self) -> Option<u32> {
        let now = self.now();
        self.unlogged.with(|unlogged| unlogged.take(now))
    }

    /// Returns how many requests have not been logged since that was asked.
    pub(super) fn take_last_unlogged(&self) -> Option<u32> {
        self.unlogged.with(|unlogged| unlogged.take(u64::MAX))
    }

    /// Tells the server of a request: a line, and the stack of its thread.
    pub(super) fn add(&self, server: &Server, describe: impl FnOnce() -> (String, String)) {
        let now = self.now();
        if let Some(count) = self.unreported.with(|unreported| unreported.add(now)) {
            let (text, detail) = describe();
            server.stuck(count, text.as_bytes(), detail.as_bytes());
        }
    }

    /// Tells the server how many there were besides. Called now and then.
    pub(super) fn flush(&self, server: &Server) {
        let now = self.now();
        if let Some(count) = self.unreported.with(|unreported| unreported.take(now)) {
            server.stuck(count, b"", b"");
        }
    }

    fn now(&self) -> u64 {
        u64::try_from(self.begin.elapsed().as_millis()).unwrap_or(u64::MAX)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn twenty_a_minute_are_logged_and_the_others_mentioned() {
        let mut unlogged = Unlogged::new();
        let logged = (0..3_000).filter(|now| unlogged.add(*now)).count();
        assert_eq!((logged, unlogged.take(60_019)), (20, None));
        assert_eq!((unlogged.take(60_020), unlogged.take(60_021)), (Some(2_980), None));
        assert!(unlogged.add(60_022));
        assert_eq!(unlogged.take(u64::MAX), None);
        let logged = (100_000..400_000).filter(|now| unlogged.add(*now)).count();
        assert!((100..=120).contains(&logged), "{logged}");
    }

    #[test]
    fn all_are_counted_and_some_are_described() {
        let Reports { unreported, .. } = Reports::new();
        unreported.with(|unreported| {
            let mut described = 0;
            for now in 0..3_000 {
                described += unreported.add(now).map_or(0, |count| {
                    assert_eq!(count, 1, "at {now}");
                    1
                });
            }
            assert_eq!(described, 8);
            assert_eq!(unreported.take(3_000), Some(2_992));
            assert_eq!((unreported.take(9_000), unreported.add(9_000)), (None, None));
            assert_eq!(
                (unreported.take(9_000), unreported.add(9_001), unreported.take(9_002)),
                (Some(1), None, None)
            );
            assert_eq!((unreported.add(10_010), unreported.take(20_000)), (Some(2), None));
        });
    }
}
