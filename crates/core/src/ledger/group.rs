//! The row of a process group: requests by method and class of status, with their durations; and
//! those that were rejected, slow or stuck.

use super::history;
use super::times::{self, WORDS};
use super::{Ledger, MOST_SHARDS, Method, Read, align};

/// The row of a process group, or of embedded mode.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct GroupRow {
    /// The place of its head.
    pub head: usize,
    /// The place of its body.
    pub body: usize,
}

/// A cause for which the application has not got a request, or has not answered it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Cause {
    /// It has waited in a process for longer than `queue-timeout`.
    QueueTimeout,
    /// No process has taken it in time.
    Busy,
    /// No process can be started.
    NotRunning,
    /// There is no supervisor.
    Unsupervised,
    /// The process has died before or while it answered.
    ProcessDied,
    /// No answer has come in time.
    TimedOut,
    /// The process has violated the protocol.
    Protocol,
    /// The client has gone.
    ClientGone,
    /// The child of Apache that had the client has died.
    ChildDied,
}

impl Cause {
    /// All of them, in the order of their numbers.
    pub const ALL: [Self; 9] = [
        Self::QueueTimeout,
        Self::Busy,
        Self::NotRunning,
        Self::Unsupervised,
        Self::ProcessDied,
        Self::TimedOut,
        Self::Protocol,
        Self::ClientGone,
        Self::ChildDied,
    ];

    /// Returns its name in the schema of the status.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::QueueTimeout => "queue_timeout",
            Self::Busy => "busy",
            Self::NotRunning => "not_running",
            Self::Unsupervised => "unsupervised",
            Self::ProcessDied => "process_died",
            Self::TimedOut => "timed_out",
            Self::Protocol => "protocol",
            Self::ClientGone => "client_gone",
            Self::ChildDied => "child_died",
        }
    }
}

/// A count of requests that is kept besides.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum More {
    /// Requests that have ended, and taken longer than `WSGISlowRequests`.
    Slow,
    /// Requests that have held their threads for too long, in embedded mode.
    Stuck,
}

impl More {
    const COUNT: usize = 2;
}

/// The number of classes of statuses, from 1xx to 5xx.
pub(super) const CLASSES: usize = 5;

/// The number of distributions, one for each method and class of status.
const SERIES: usize = Method::ALL.len() * CLASSES;

/// The bit of a mark that stands for rejections and [`More`]; lower ones stand for series.
const REJECTIONS_BIT: u32 = 63;
const _: () = assert!(SERIES <= REJECTIONS_BIT as usize);

/// The head: a mark for each shard, with a bit for each series that was touched; then the number of
/// samples in the history.
const SAMPLES: usize = MOST_SHARDS;
pub(super) const HEAD: usize = align(SAMPLES + 1);

/// The body: the history, then the shards.
const SHARDS: usize = align(history::WORDS);
const REJECTIONS: usize = SERIES * WORDS;
const MORE: usize = REJECTIONS + Cause::ALL.len();
const SHARD: usize = align(MORE + More::COUNT);

/// Returns the number of words of a body.
pub(super) const fn body(shards: usize) -> usize {
    SHARDS + shards * SHARD
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

impl GroupRow {
    /// Counts a request that has ended, after so many microseconds.
    #[inline]
    pub fn count_ended(self, ledger: Ledger<'_>, shard: usize, method: Method, status: u16, micros: u64) {
        let series = method as usize * CLASSES + class(status) - 1;
        ledger.mark(self.head + shard, series as u32);
        if let Some(distribution) = ledger.array(self.shard(shard) + series * WORDS) {
            times::count(distribution, micros);
        }
    }

    /// Counts a request that was rejected.
    pub fn count_rejected(self, ledger: Ledger<'_>, shard: usize, cause: Cause) {
        ledger.mark(self.head + shard, REJECTIONS_BIT);
        ledger.add(self.shard(shard) + REJECTIONS + cause as usize, 1);
    }

    /// Adds to a count that is kept besides.
    pub fn count_more(self, ledger: Ledger<'_>, shard: usize, what: More, count: u32) {
        ledger.mark(self.head + shard, REJECTIONS_BIT);
        ledger.add(self.shard(shard) + MORE + what as usize, count.into());
    }

    /// Sets all counters to 0, in what was ever touched.
    pub(super) fn clear(self, ledger: Ledger<'_>, shards: usize) {
        for shard in (0..shards).filter(|shard| ledger.load(self.head + shard) != 0) {
            ledger.clear(self.shard(shard)..self.shard(shard) + SHARD);
        }
        ledger.clear(self.head..self.head + HEAD);
    }

    /// Returns the requests that have ended: of each method and class the numbers in the buckets, and
    /// the sum of the durations in microseconds.
    #[must_use]
    pub fn ended(self, read: Read<'_>, shards: usize) -> Vec<(Method, u8, [u64; WORDS])> {
        let marks: Vec<_> = (0..shards).map(|shard| read(self.head + shard)).collect();
        let touched = marks.iter().fold(0, |all, mark| all | mark) & !(1 << REJECTIONS_BIT);
        let mut found = Vec::new();
        for series in (0..SERIES).filter(|series| touched & (1 << series) != 0) {
            let mut total = [0; WORDS];
            for (shard, mark) in marks.iter().enumerate().filter(|(_, mark)| *mark & (1 << series) != 0) {
                debug_assert!(*mark != 0);
                times::sum(read, self.shard(shard) + series * WORDS, &mut total);
            }
            found.push((Method::ALL[series / CLASSES], (series % CLASSES + 1) as u8, total));
        }
        found
    }

    /// Returns the numbers of rejected requests; causes that there were none of are absent.
    #[must_use]
    pub fn rejected(self, read: Read<'_>, shards: usize) -> Vec<(Cause, u64)> {
        let mut counts = [0_u64; Cause::ALL.len()];
        for shard in (0..shards).filter(|shard| read(self.head + shard) & (1 << REJECTIONS_BIT) != 0) {
            for (index, count) in counts.iter_mut().enumerate() {
                *count += read(self.shard(shard) + REJECTIONS + index);
            }
        }
        let counted = Cause::ALL.into_iter().zip(counts);
        counted.filter(|(_, count)| *count > 0).collect()
    }

    /// Returns a count that is kept besides.
    #[must_use]
    pub fn more(self, read: Read<'_>, shards: usize, what: More) -> u64 {
        let touched = (0..shards).filter(|shard| read(self.head + shard) & (1 << REJECTIONS_BIT) != 0);
        touched.map(|shard| read(self.shard(shard) + MORE + what as usize)).sum()
    }

    /// Returns the place of the number of samples, and of the first sample.
    pub(super) const fn history(self) -> (usize, usize) {
        (self.head + SAMPLES, self.body)
    }

    const fn shard(self, shard: usize) -> usize {
        self.body + SHARDS + shard * SHARD
    }
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicU64, Ordering};

    use super::*;

    #[test]
    fn requests_are_counted_by_method_and_class_over_all_shards() {
        let words: Vec<_> = (0..HEAD + body(3)).map(|_| AtomicU64::new(0)).collect();
        let (ledger, row) = (Ledger::new(&words), GroupRow { head: 0, body: HEAD });
        for (shard, method, status, micros) in [
            (0, Method::Get, 200, 4_000),
            (2, Method::Get, 204, 6_000),
            (1, Method::Other, 599, 20_000_000),
            (2, Method::Post, 100, 1),
            (2, Method::Post, 77, 1),
        ] {
            row.count_ended(ledger, shard, method, status, micros);
        }
        row.count_rejected(ledger, 2, Cause::ClientGone);
        row.count_rejected(ledger, 0, Cause::ClientGone);
        row.count_rejected(ledger, 0, Cause::ChildDied);
        row.count_more(ledger, 1, More::Slow, 1);
        row.count_more(ledger, 2, More::Slow, 1);
        row.count_more(ledger, 2, More::Stuck, 40);
        let read = |index: usize| words.get(index).unwrap().load(Ordering::Relaxed);
        let ended = row.ended(&read, 3);
        let brief: Vec<_> = ended
            .iter()
            .map(|(method, class, total)| (method.name(), *class, total[..15].iter().sum::<u64>(), total[15]))
            .collect();
        assert_eq!(
            brief,
            [("GET", 2, 2, 10_000), ("POST", 1, 1, 1), ("POST", 5, 1, 1), ("_OTHER", 5, 1, 20_000_000)]
        );
        assert_eq!((ended[0].2[0], ended[0].2[1], ended[3].2[14]), (1, 1, 1));
        assert_eq!(row.rejected(&read, 3), [(Cause::ClientGone, 2), (Cause::ChildDied, 1)]);
        assert_eq!((row.more(&read, 3, More::Slow), row.more(&read, 3, More::Stuck)), (2, 40));
    }

    #[test]
    fn what_was_never_touched_is_not_read() {
        let row = GroupRow { head: 40, body: 1000 };
        let read = |index: usize| if index < 40 + HEAD { 0 } else { panic!("{index}") };
        assert!(row.ended(&read, 16).is_empty() && row.rejected(&read, 16).is_empty());
    }

    #[test]
    fn causes_have_names_of_their_own() {
        for (number, cause) in Cause::ALL.into_iter().enumerate() {
            assert_eq!(cause as usize, number);
            assert_eq!(Cause::ALL.iter().filter(|other| other.name() == cause.name()).count(), 1);
        }
    }
}
