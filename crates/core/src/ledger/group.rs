//! The row of a process group: requests by method, status and scheme, with their durations; and
//! those that were rejected, slow or stuck.

use super::history;
use super::series::{self, Combination, Series};
use super::times::{self, WORDS};
use super::{Ledger, MOST_SHARDS, Read, align};

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

/// The bit of a mark that stands for rejections and [`More`]; lower ones stand for series.
const REJECTIONS_BIT: u32 = 63;
const _: () = assert!(series::COUNT <= REJECTIONS_BIT as usize);

/// The head: a mark for each shard, with a bit for each series that was touched; the number of
/// samples in the history; and the places of series, which all shards have in common.
const SAMPLES: usize = MOST_SHARDS;
const PLACES: usize = align(SAMPLES + 1);
pub(super) const HEAD: usize = align(PLACES + series::PLACES);

/// The body: the history, then the shards.
const SHARDS: usize = align(history::WORDS);
const REJECTIONS: usize = series::COUNT * WORDS;
const MORE: usize = REJECTIONS + Cause::ALL.len();
const SHARD: usize = align(MORE + More::COUNT);

/// Returns the number of words of a body.
pub(super) const fn body(shards: usize) -> usize {
    SHARDS + shards * SHARD
}

impl GroupRow {
    /// Counts a request that has ended, after so many microseconds.
    #[inline]
    pub fn count_ended(self, ledger: Ledger<'_>, shard: usize, request: Combination, micros: u64) {
        let Some(places) = ledger.array(self.head + PLACES) else { return };
        let series = request.number(places);
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

    /// Returns the requests that have ended: of each series the numbers in the buckets, and the sum of
    /// the durations in microseconds.
    #[must_use]
    pub fn ended(self, read: Read<'_>, shards: usize) -> Vec<(Series, [u64; WORDS])> {
        let marks: Vec<_> = (0..shards).map(|shard| read(self.head + shard)).collect();
        let touched = marks.iter().fold(0, |all, mark| all | mark) & !(1 << REJECTIONS_BIT);
        let mut found = Vec::new();
        for number in (0..series::COUNT).filter(|number| touched & (1 << number) != 0) {
            let word = |place: usize| read(self.head + PLACES + place);
            let Some(series) = Series::of_number(number, word) else { continue };
            let mut total = [0; WORDS];
            for (shard, _) in marks.iter().enumerate().filter(|(_, mark)| *mark & (1 << number) != 0) {
                times::sum(read, self.shard(shard) + number * WORDS, &mut total);
            }
            found.push((series, total));
        }
        found.sort_unstable_by_key(|(series, _)| *series);
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
    use crate::ledger::Method;

    fn combination(method: Method, status: u16) -> Combination {
        Combination { method, status, is_https: status == 404 }
    }

    #[test]
    fn requests_are_counted_by_what_they_have_in_common_over_all_shards() {
        let words: Vec<_> = (0..HEAD + body(3)).map(|_| AtomicU64::new(0)).collect();
        let (ledger, row) = (Ledger::new(&words), GroupRow { head: 0, body: HEAD });
        for (shard, method, status, micros) in [
            (0, Method::Get, 404, 4_000),
            (2, Method::Get, 404, 6_000),
            (2, Method::Get, 204, 5),
            (1, Method::Other, 599, 20_000_000),
            (2, Method::Post, 100, 1),
            (2, Method::Post, 77, 1),
        ] {
            row.count_ended(ledger, shard, combination(method, status), micros);
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
            .map(|(series, total)| (*series, series.class(), total[..15].iter().sum::<u64>(), total[15]))
            .collect();
        let one = |method, status| Series::One(combination(method, status));
        assert_eq!(
            brief,
            [
                (one(Method::Get, 204), 2, 1, 5),
                (one(Method::Get, 404), 4, 2, 10_000),
                (one(Method::Post, 77), 5, 1, 1),
                (one(Method::Post, 100), 1, 1, 1),
                (one(Method::Other, 599), 5, 1, 20_000_000)
            ]
        );
        assert_eq!((ended[1].1[0], ended[1].1[1], ended[4].1[14]), (1, 1, 1));
        assert_eq!(row.rejected(&read, 3), [(Cause::ClientGone, 2), (Cause::ChildDied, 1)]);
        assert_eq!((row.more(&read, 3, More::Slow), row.more(&read, 3, More::Stuck)), (2, 40));
    }

    #[test]
    fn nothing_is_lost_when_there_are_more_than_there_is_room_for() {
        let words: Vec<_> = (0..HEAD + body(2)).map(|_| AtomicU64::new(0)).collect();
        let (ledger, row) = (Ledger::new(&words), GroupRow { head: 0, body: HEAD });
        for status in 100..600 {
            row.count_ended(ledger, usize::from(status % 2), combination(Method::Get, status), 7);
        }
        let read = |index: usize| ledger.load(index);
        let ended = row.ended(&read, 2);
        assert_eq!(ended.len(), series::COUNT);
        for class in 1..=5 {
            let of_class = ended.iter().filter(|(series, _)| series.class() == class);
            let sum = of_class.fold((0, 0), |(count, sum), (_, total)| (count + total[0], sum + total[15]));
            assert_eq!(sum, (100, 700), "{class}xx");
        }
        row.clear(ledger, 2);
        assert!(words.iter().all(|word| word.load(Ordering::Relaxed) == 0), "places, too");
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
