//! The row of a slot, or of a place of embedded mode: what its processes have done with requests.

use std::sync::atomic::Ordering;

use super::series::{CLASSES, class};
use super::times::{self, Part, WORDS};
use super::{Ledger, Read, add, align};

/// The row of a slot, or of a place that a child of Apache claims for embedded mode.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct SlotRow {
    /// The place of its head.
    pub head: usize,
    /// The place of its body.
    pub body: usize,
}

/// A request that has ended.
#[derive(Debug, Clone, Copy, Default)]
pub struct EndedRequest {
    /// Its status.
    pub status: u16,
    /// Bytes of its body that were read.
    pub bytes_in: u64,
    /// Bytes of the response's body that were sent.
    pub bytes_out: u64,
    /// The parts of its time, by [`Part`], in microseconds; `None` for what it did not get to.
    pub times: [Option<u64>; Part::ALL.len()],
}

impl EndedRequest {
    /// Returns the request with a part of its time.
    #[must_use]
    #[inline]
    pub fn with(mut self, part: Part, micros: u64) -> Self {
        self.times[part as usize] = Some(micros);
        self
    }
}

/// The counts of a slot.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Traffic {
    /// Requests that have ended, by class of status: the first is that of 1xx.
    pub ended: [u64; CLASSES],
    /// Bytes of requests' bodies that were read.
    pub bytes_in: u64,
    /// Bytes of responses' bodies that were sent.
    pub bytes_out: u64,
    /// The parts of the requests' time, by [`Part`]: the numbers in the buckets, then the sum in
    /// microseconds.
    pub times: [[u64; WORDS]; Part::ALL.len()],
}

/// The head: the number of active requests, in 32 bits, below a number that grows with each change.
const ACTIVE: usize = 0;
const PEAK: usize = 1;
/// A bit for each shard that was touched.
const TOUCHED: usize = 2;
/// Of embedded mode: the child that has claimed the place.
const OWNER: usize = 3;
pub(super) const HEAD: usize = align(OWNER + 1);

/// A shard of the body.
const BYTES_IN: usize = CLASSES;
const BYTES_OUT: usize = BYTES_IN + 1;
const TIMES: usize = align(BYTES_OUT + 1);
const SHARD: usize = align(TIMES + Part::ALL.len() * WORDS);

/// Returns the number of words of a body.
pub(super) const fn body(shards: usize) -> usize {
    shards * SHARD
}

/// A change of the number of active requests.
const CHANGE: u64 = 1 << 32;
/// The bits of the number.
const COUNT: u64 = CHANGE - 1;

/// Returns the number of active requests in a word. Less than none, as one that was taken back twice,
/// is none.
#[inline]
const fn number(word: u64) -> u64 {
    let number = (word as u32).cast_signed();
    if number > 0 { number as u64 } else { 0 }
}

impl SlotRow {
    /// Counts a request as active.
    #[inline]
    pub(super) fn begin(self, ledger: Ledger<'_>) {
        let (Some(active), Some(peak)) = (ledger.word(self.head + ACTIVE), ledger.word(self.head + PEAK))
        else {
            return;
        };
        let now = number(active.fetch_add(CHANGE + 1, Ordering::AcqRel).wrapping_add(1));
        if peak.load(Ordering::Relaxed) < now {
            peak.fetch_max(now, Ordering::Relaxed);
        }
    }

    /// Ends what [`Self::begin`] has begun.
    #[inline]
    pub(super) fn end(self, ledger: Ledger<'_>) {
        if let Some(active) = ledger.word(self.head + ACTIVE) {
            active.fetch_add(CHANGE - 1, Ordering::AcqRel);
        }
    }

    /// Returns the word of the active requests, which is another one after each change, and their
    /// number.
    pub(super) fn version(self, ledger: Ledger<'_>) -> (u64, u64) {
        let word = ledger.load(self.head + ACTIVE);
        (word, word & COUNT)
    }

    /// Sets the number of active requests, unless it has changed. Returns whether it was set.
    pub(super) fn correct(self, ledger: Ledger<'_>, version: u64, active: u64) -> bool {
        let Some(word) = ledger.word(self.head + ACTIVE) else { return false };
        let correct = ((version & !COUNT).wrapping_add(CHANGE)) | (active & COUNT);
        word.compare_exchange(version, correct, Ordering::AcqRel, Ordering::Relaxed).is_ok()
    }

    /// Sets all counters to 0, in what was ever touched.
    pub(super) fn clear(self, ledger: Ledger<'_>, shards: usize) {
        let touched = ledger.load(self.head + TOUCHED);
        for shard in (0..shards).filter(|shard| touched & (1 << shard) != 0) {
            let start = self.body + shard * SHARD;
            ledger.clear(start..start + SHARD);
        }
        ledger.clear(self.head..self.head + HEAD);
    }

    /// Counts a request that has ended.
    #[inline]
    pub fn count_ended(self, ledger: Ledger<'_>, shard: usize, request: &EndedRequest) {
        ledger.mark(self.head + TOUCHED, shard as u32);
        let Some(counters) = ledger.array::<SHARD>(self.body + shard * SHARD) else { return };
        add(&counters[class(request.status) - 1], 1);
        if request.bytes_in > 0 {
            add(&counters[BYTES_IN], request.bytes_in);
        }
        if request.bytes_out > 0 {
            add(&counters[BYTES_OUT], request.bytes_out);
        }
        let (distributions, _) = counters[TIMES..].as_chunks::<WORDS>();
        for (distribution, time) in distributions.iter().zip(&request.times) {
            if let Some(micros) = time {
                times::count(distribution, *micros);
            }
        }
    }

    /// Claims the place for the process `pid`. Returns whether it was free.
    #[must_use]
    pub fn claim(self, ledger: Ledger<'_>, pid: u32) -> bool {
        let claim = |word: &std::sync::atomic::AtomicU64| {
            word.compare_exchange(0, u64::from(pid), Ordering::Relaxed, Ordering::Relaxed).is_ok()
        };
        ledger.word(self.head + OWNER).is_some_and(claim)
    }

    /// Frees the place if it is that of the process `pid`.
    pub fn free(self, ledger: Ledger<'_>, pid: u32) {
        if let Some(word) = ledger.word(self.head + OWNER) {
            let _ = word.compare_exchange(u64::from(pid), 0, Ordering::Relaxed, Ordering::Relaxed);
        }
    }

    /// Returns the process that has claimed the place; 0 if it is free.
    #[must_use]
    pub fn owner(self, read: Read<'_>) -> u32 {
        u32::try_from(read(self.head + OWNER)).unwrap_or(0)
    }

    /// Returns the number of active requests, and the most that there have been.
    #[must_use]
    pub fn active(self, read: Read<'_>) -> (u64, u64) {
        (number(read(self.head + ACTIVE)), read(self.head + PEAK))
    }

    /// Returns the counts; `None` if there are none.
    #[must_use]
    pub fn traffic(self, read: Read<'_>, shards: usize) -> Option<Traffic> {
        let touched = read(self.head + TOUCHED);
        if touched == 0 {
            return None;
        }
        let mut traffic = Traffic::default();
        for shard in (0..shards).filter(|shard| touched & (1 << shard) != 0) {
            let start = self.body + shard * SHARD;
            for (index, count) in traffic.ended.iter_mut().enumerate() {
                *count += read(start + index);
            }
            traffic.bytes_in = traffic.bytes_in.wrapping_add(read(start + BYTES_IN));
            traffic.bytes_out = traffic.bytes_out.wrapping_add(read(start + BYTES_OUT));
            for (part, total) in traffic.times.iter_mut().enumerate() {
                times::sum(read, start + TIMES + part * WORDS, total);
            }
        }
        Some(traffic)
    }
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::AtomicU64;

    use super::*;

    fn row(words: &[AtomicU64]) -> (Ledger<'_>, SlotRow) {
        (Ledger::new(words), SlotRow { head: 0, body: HEAD })
    }

    #[test]
    fn counts_of_all_shards_are_added_up() {
        let words: Vec<_> = (0..HEAD + body(2)).map(|_| AtomicU64::new(0)).collect();
        let (ledger, row) = row(&words);
        let read = |index: usize| ledger.load(index);
        assert_eq!(row.traffic(&read, 2), None);
        let ended = |status| EndedRequest { status, ..EndedRequest::default() };
        row.count_ended(ledger, 0, &EndedRequest { bytes_out: 12, ..ended(200).with(Part::Writing, 70) });
        row.count_ended(ledger, 1, &EndedRequest { bytes_in: 5, ..ended(404).with(Part::Queue, 6_000) });
        let traffic = row.traffic(&read, 2).unwrap();
        assert_eq!((traffic.ended, traffic.bytes_in, traffic.bytes_out), ([0, 1, 0, 1, 0], 5, 12));
        let times: Vec<_> =
            traffic.times.iter().map(|total| (total[..15].iter().sum::<u64>(), total[15])).collect();
        assert_eq!(times, [(1, 6_000), (0, 0), (0, 0), (0, 0), (1, 70)]);
    }

    #[test]
    fn peaks_stay() {
        let words: Vec<_> = (0..HEAD + body(1)).map(|_| AtomicU64::new(0)).collect();
        let (ledger, row) = row(&words);
        let read = |index: usize| ledger.load(index);
        row.begin(ledger);
        row.begin(ledger);
        row.end(ledger);
        assert_eq!(row.active(&read), (1, 2));
        row.end(ledger);
        row.end(ledger);
        assert_eq!(row.active(&read), (0, 2), "less than none is none");
        row.begin(ledger);
        assert_eq!(row.active(&read), (0, 2));
    }

    #[test]
    fn a_place_is_claimed_by_one_process() {
        let words: Vec<_> = (0..HEAD + body(1)).map(|_| AtomicU64::new(0)).collect();
        let (ledger, row) = row(&words);
        let read = |index: usize| ledger.load(index);
        assert!(row.claim(ledger, 7) && !row.claim(ledger, 8));
        row.free(ledger, 8);
        assert_eq!(row.owner(&read), 7);
        row.free(ledger, 7);
        assert!(row.claim(ledger, 8));
    }
}
