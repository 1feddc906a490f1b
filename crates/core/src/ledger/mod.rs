//! The ledger: counters of requests, the requests under way, and what happened lately, in words of
//! 64 bits that all processes of Apache share.
//!
//! Apache's children write it, and the parent on behalf of those that have ended; whoever answers
//! for the state of the server reads it. Daemon processes have no access. Counters only grow, for
//! the life of the server: words never move ([`Directory`] gives a group the same rows again after a
//! restart), and the ledger grows at its end. Only rows of groups that have gone are given to others.
//!
//! A *row* belongs to a process group or to a slot. It has a small *head*, and a *body* of counters
//! in as many copies as the ledger has *shards*: each processor has its own to count in,
//! so that they do not fight over lines of memory. Who reads adds them up, and skips those that were
//! never touched, as the head says.

mod directory;
mod events;
mod group;
mod history;
mod method;
mod requests;
mod series;
mod slot;
mod tenants;
mod times;

use std::sync::atomic::{AtomicU64, Ordering};

pub use directory::{Directory, GroupRows, Wanted};
pub use events::{EventKind, EventRing, LONGEST_DETAIL, LedgerEvent, kept_detail, kept_text};
pub use group::{Cause, GroupRow, More};
pub use history::HistorySample;
pub use method::Method;
pub use requests::{Phase, Place, RequestFacts, RequestRows, RequestView, clear, count, settle};
pub use series::{Combination, Series};
pub use slot::{EndedRequest, SlotRow, Traffic};
pub(crate) use tenants::Tenants;
pub use tenants::{GroupKey, Reading};
pub use times::{BOUNDS, BUCKETS, Part, bucket};

/// The most shards.
pub const MOST_SHARDS: usize = 16;

/// The words in a line of a processor's cache.
const LINE: usize = 8;

/// Returns the number of shards on a machine with so many processors.
#[must_use]
pub const fn shards(processors: usize) -> usize {
    match processors {
        0 => 1,
        1..=MOST_SHARDS => processors,
        _ => MOST_SHARDS,
    }
}

/// The words of a ledger, for those who write.
#[derive(Debug, Clone, Copy)]
pub struct Ledger<'a>(&'a [AtomicU64]);

impl<'a> Ledger<'a> {
    /// Returns the ledger in these words.
    #[must_use]
    pub const fn new(words: &'a [AtomicU64]) -> Self {
        Self(words)
    }

    #[inline]
    pub(crate) fn word(self, index: usize) -> Option<&'a AtomicU64> {
        self.0.get(index)
    }

    #[inline]
    fn add(self, index: usize, count: u64) {
        if let Some(word) = self.word(index) {
            word.fetch_add(count, Ordering::Relaxed);
        }
    }

    #[inline]
    fn store(self, index: usize, value: u64) {
        if let Some(word) = self.word(index) {
            word.store(value, Ordering::Relaxed);
        }
    }

    /// Stores a value behind all that was stored before.
    #[inline]
    fn store_last(self, index: usize, value: u64) {
        if let Some(word) = self.word(index) {
            word.store(value, Ordering::Release);
        }
    }

    /// Sets words to 0.
    fn clear(self, words: std::ops::Range<usize>) {
        words.for_each(|index| self.store(index, 0));
    }

    /// Returns the words from `start` on, if there are so many.
    #[inline]
    fn array<const N: usize>(self, start: usize) -> Option<&'a [AtomicU64; N]> {
        self.0.get(start..)?.first_chunk()
    }

    /// Returns the word at `index`; 0 where there is none.
    #[must_use]
    #[inline]
    pub fn load(self, index: usize) -> u64 {
        self.word(index).map_or(0, |word| word.load(Ordering::Acquire))
    }

    /// Sets a bit, unless it is set.
    #[inline]
    fn mark(self, index: usize, bit: u32) {
        if let Some(word) = self.word(index)
            && word.load(Ordering::Relaxed) & (1 << bit) == 0
        {
            word.fetch_or(1 << bit, Ordering::Relaxed);
        }
    }
}

/// The words of a ledger, for those who read: a function that returns the word at an index.
pub type Read<'a> = &'a dyn Fn(usize) -> u64;

const fn align(words: usize) -> usize {
    words.next_multiple_of(LINE)
}

/// Adds to a counter.
#[inline]
fn add(word: &AtomicU64, count: u64) {
    word.fetch_add(count, Ordering::Relaxed);
}

/// Stores bytes in words, as many as fit.
#[inline]
fn store_text(words: &[AtomicU64], bytes: &[u8]) {
    let mut chunks = bytes.chunks_exact(8);
    let mut words = words.iter();
    for (chunk, word) in chunks.by_ref().zip(words.by_ref()) {
        word.store(chunk.try_into().map_or(0, u64::from_le_bytes), Ordering::Relaxed);
    }
    if let (rest @ [_, ..], Some(word)) = (chunks.remainder(), words.next()) {
        // (A copy of so few bytes costs more.)
        let last = match bytes.last_chunk() {
            Some(last) => u64::from_le_bytes(*last) >> (8 * (8 - rest.len())),
            None => rest.iter().rev().fold(0, |word, byte| word << 8 | u64::from(*byte)),
        };
        word.store(last, Ordering::Relaxed);
    }
}

/// Appends `length` bytes that lie in words.
fn load_text(read: Read<'_>, start: usize, length: usize) -> Vec<u8> {
    let words = (start..start + length.div_ceil(8)).flat_map(|index| read(index).to_le_bytes());
    words.take(length).collect()
}

/// Returns the beginning of `text`, at most `most` bytes, cut between characters if it is UTF-8.
fn beginning(text: &[u8], most: usize) -> &[u8] {
    if text.len() <= most {
        return text;
    }
    // At most three bytes of a character follow its first.
    let is_inside = |at: &usize| text[*at] & 0b1100_0000 == 0b1000_0000;
    let end = (most.saturating_sub(3)..=most).rev().find(|at| !is_inside(at));
    &text[..end.unwrap_or(most)]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn there_is_a_shard_for_each_processor_within_a_limit() {
        assert_eq!([0, 1, 2, 16, 17, 256].map(shards), [1, 1, 2, 16, 16, 16]);
    }

    #[test]
    fn texts_are_cut_between_characters() {
        assert_eq!(beginning(b"abc", 3), b"abc");
        assert_eq!(beginning(b"abcd", 3), b"abc");
        let text = "aä€😀".as_bytes();
        let lengths: Vec<_> = (0..=text.len()).map(|most| beginning(text, most).len()).collect();
        assert_eq!(lengths, [0, 1, 1, 3, 3, 3, 6, 6, 6, 6, 10]);
        assert_eq!(beginning(&[0x80; 9], 4).len(), 4, "what is no text is cut anywhere");
    }

    #[test]
    fn texts_come_back() {
        let words: Vec<_> = (0..9).map(|_| AtomicU64::new(u64::MAX)).collect();
        let whole: Vec<_> = (1..=48).collect();
        for length in 0..=48 {
            store_text(&words[3..], &whole[..length]);
            let read = |index: usize| words[index].load(Ordering::Relaxed);
            assert_eq!(load_text(&read, 3, length), whole[..length]);
        }
        store_text(&words[8..], &whole);
        assert_eq!(words[8].load(Ordering::Relaxed).to_le_bytes()[..], whole[..8], "there is no more room");
    }
}
