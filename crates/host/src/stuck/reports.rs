//! Reports of stuck requests to the server, for its record of events: all are counted, but only
//! some are described. There may be any number of them, and the log has each.

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

/// The reports of a process.
pub(super) struct Reports {
    begin: Instant,
    unreported: Locked<Unreported>,
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
        Self { begin: Instant::now(), unreported: Locked::new(unreported) }
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
