//! Snapshots: bytes that processes publish, one every so often, and others read at any time.
//!
//! Publishers inherit the mapping from the process that made it; readers get the descriptor, with
//! which nobody can write any more. There are two places for bytes, and the number of publications
//! says which of them was written last: a publisher writes the other one, and only then counts. So
//! a publisher that dies half-way has done nothing, and a reader that is slow finds that the number
//! has moved on. One case is left, a publisher that is stopped for so long that another one takes
//! its turn, and then writes on: the check sum tells, and the next publication is whole again.

use std::ffi::CStr;
use std::io;
use std::os::fd::{AsFd, OwnedFd};
use std::sync::atomic::Ordering;
use std::time::Duration;

use crate::clock;
use crate::shared::{ReadOnlyWords, Words};

/// The index of the number of publications; 0: none yet.
const NUMBER: usize = 0;
/// The index of the time at which the last publisher began, in milliseconds of the system's clock.
const BEGUN: usize = 1;
/// The index at which the first place begins.
const PLACES: usize = 2;
/// The number of words at the beginning of a place: the number of bytes that follow, and their
/// check sum.
const HEAD: usize = 2;

/// The number of tries of a reader that is overtaken.
const TRIES: u32 = 8;

/// The side of publishers.
#[derive(Debug)]
pub struct SnapshotWriter {
    words: Words,
    capacity: usize,
}

/// The side of readers.
#[derive(Debug)]
pub struct SnapshotReader {
    words: ReadOnlyWords,
    capacity: usize,
}

impl SnapshotWriter {
    /// Creates a snapshot of at most so many bytes, and the descriptor for readers, which is closed
    /// on exec. Memory is used for what is published. `name` is seen in `/proc/<pid>/maps`.
    ///
    /// # Errors
    /// The system has no memory or no descriptor left, or cannot make files that only the maker
    /// writes to (Linux before 5.1).
    pub fn create(name: &CStr, capacity: usize) -> io::Result<(OwnedFd, Self)> {
        let (file, words) = Words::create_for_readers(name, words(capacity))?;
        Ok((file, Self { words, capacity }))
    }

    /// Returns the number of bytes that it can hold.
    #[must_use]
    pub const fn capacity(&self) -> usize {
        self.capacity
    }

    /// Returns whether the caller is to publish now: no publisher has begun within the last
    /// `interval`, and no other has got this answer.
    #[must_use]
    pub fn is_due(&self, interval: Duration) -> bool {
        let Some(begun) = self.words.get(BEGUN) else { return false };
        // 0 means that nobody has published yet.
        let now = clock::ticks().max(1);
        let last = begun.load(Ordering::Relaxed);
        let interval = u32::try_from(interval.as_millis()).unwrap_or(u32::MAX);
        if last != 0 && now.wrapping_sub(last) < interval {
            return false;
        }
        begun.compare_exchange(last, now, Ordering::Relaxed, Ordering::Relaxed).is_ok()
    }

    /// Publishes `bytes`. Returns whether they fit. Allocates nothing and waits for nobody.
    pub fn publish(&self, bytes: &[u8]) -> bool {
        let (Some(number), true) = (self.words.get(NUMBER), bytes.len() <= self.capacity) else {
            return false;
        };
        let last = number.load(Ordering::Acquire);
        let next = last.wrapping_add(1).max(1);
        let place = place(next, self.capacity);
        self.words.store(place, u32::try_from(bytes.len()).unwrap_or(u32::MAX));
        self.words.store(place + 1, sum(bytes));
        for (at, chunk) in (place + HEAD..).zip(bytes.chunks(4)) {
            let mut word = [0; 4];
            word[..chunk.len()].copy_from_slice(chunk);
            self.words.store(at, u32::from_le_bytes(word));
        }
        // If another writer was faster, its number counts.
        let _ = number.compare_exchange(last, next, Ordering::AcqRel, Ordering::Relaxed);
        true
    }
}

impl SnapshotReader {
    /// Maps the snapshot behind a descriptor, which has this capacity. The descriptor is not needed
    /// any longer.
    ///
    /// # Errors
    /// It is no snapshot, or a smaller one.
    pub fn map(file: impl AsFd, capacity: usize) -> io::Result<Self> {
        Ok(Self { words: ReadOnlyWords::map(file, words(capacity))?, capacity })
    }

    /// Returns what was published last; `None` if nothing has been, or what stands there makes no
    /// sense.
    #[must_use]
    pub fn read(&self) -> Option<Vec<u8>> {
        (0..TRIES).find_map(|_| {
            let number = self.words.load(NUMBER);
            let place = place(number, self.capacity);
            let length = usize::try_from(self.words.load(place)).ok()?;
            if number == 0 || length > self.capacity {
                return None;
            }
            let mut bytes = Vec::with_capacity(length.next_multiple_of(4));
            for at in 0..length.div_ceil(4) {
                bytes.extend_from_slice(&self.words.load(place + HEAD + at).to_le_bytes());
            }
            bytes.truncate(length);
            let is_whole = self.words.load(place + 1) == sum(&bytes) && self.words.load(NUMBER) == number;
            is_whole.then_some(bytes)
        })
    }
}

/// Returns the number of words for both places.
const fn words(capacity: usize) -> usize {
    PLACES + 2 * (HEAD + capacity.div_ceil(4))
}

/// Returns the index of the place of publication `number`.
const fn place(number: u32, capacity: usize) -> usize {
    PLACES + (number % 2) as usize * (HEAD + capacity.div_ceil(4))
}

/// Computes FNV-1a: what is half of one message and half of another has another sum.
fn sum(bytes: &[u8]) -> u32 {
    bytes.iter().fold(0x811c_9dc5, |sum, byte| (sum ^ u32::from(*byte)).wrapping_mul(0x0100_0193))
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::AtomicBool;
    use std::thread;

    use super::*;

    #[test]
    fn the_last_publication_is_read() {
        let (file, snapshot) = SnapshotWriter::create(c"test", 10).unwrap();
        let reader = SnapshotReader::map(&file, 10).unwrap();
        assert_eq!(reader.read(), None);
        for text in [&b"one"[..], b"", b"four", b"0123456789"] {
            assert!(snapshot.publish(text));
            assert_eq!(reader.read().as_deref(), Some(text));
        }
        assert!(!snapshot.publish(&[b'x'; 11]));
        assert_eq!(reader.read().as_deref(), Some(&b"0123456789"[..]));
    }

    #[test]
    fn readers_cannot_write() {
        let (file, snapshot) = SnapshotWriter::create(c"test", 100).unwrap();
        assert_eq!(Words::map(&file, 4).unwrap_err().kind(), io::ErrorKind::PermissionDenied);
        assert!(nix::unistd::write(&file, b"x").is_err());
        assert!(SnapshotReader::map(&file, 10_000).is_err());
        assert!(snapshot.publish(b"still"));
        assert_eq!(SnapshotReader::map(&file, 100).unwrap().read().as_deref(), Some(&b"still"[..]));
    }

    #[test]
    fn only_one_thread_publishes_when_it_is_due() {
        let (_file, snapshot) = SnapshotWriter::create(c"test", 4).unwrap();
        let (long, none) = (Duration::from_secs(3600), Duration::ZERO);
        assert!(snapshot.is_due(long) && !snapshot.is_due(long));
        assert!(snapshot.is_due(none));
        let (_file, snapshot) = SnapshotWriter::create(c"test", 4).unwrap();
        let due = thread::scope(|scope| {
            let snapshot = &snapshot;
            let threads: Vec<_> = (0..8).map(|_| scope.spawn(move || snapshot.is_due(long))).collect();
            threads.into_iter().map(|thread| thread.join().unwrap()).filter(|is_due| *is_due).count()
        });
        assert_eq!(due, 1);
    }

    #[test]
    fn a_publisher_that_dies_half_way_has_published_nothing() {
        let (file, snapshot) = SnapshotWriter::create(c"test", 8).unwrap();
        let reader = SnapshotReader::map(&file, 8).unwrap();
        assert!(snapshot.publish(b"complete"));
        // The second publication begins, and is not counted.
        let second = place(2, 8);
        snapshot.words.store(second, 4);
        snapshot.words.store(second + HEAD, 0);
        assert_eq!(reader.read().as_deref(), Some(&b"complete"[..]));
        assert!(snapshot.publish(b"next"));
        assert_eq!(reader.read().as_deref(), Some(&b"next"[..]));
    }

    #[test]
    fn an_invalid_publication_is_not_read() {
        let (file, snapshot) = SnapshotWriter::create(c"test", 8).unwrap();
        let reader = SnapshotReader::map(&file, 8).unwrap();
        assert!(snapshot.publish(b"complete"));
        let first = place(1, 8);
        snapshot.words.store(first + HEAD, 0);
        assert_eq!(reader.read(), None, "another word than was summed");
        assert!(snapshot.publish(b"complete"));
        snapshot.words.store(place(2, 8), 9);
        assert_eq!(reader.read(), None, "a length beyond the capacity");
        assert!(snapshot.publish(b"complete"));
        assert_eq!(reader.read().as_deref(), Some(&b"complete"[..]));
    }

    #[test]
    fn readers_never_see_two_halves() {
        let (file, snapshot) = SnapshotWriter::create(c"test", 4000).unwrap();
        let is_over = AtomicBool::new(false);
        thread::scope(|scope| {
            for publisher in 0..2_u8 {
                let (snapshot, is_over) = (&snapshot, &is_over);
                scope.spawn(move || {
                    let mut byte = publisher;
                    while !is_over.load(Ordering::Relaxed) {
                        assert!(snapshot.publish(&vec![byte; 1000 + 11 * usize::from(byte)]));
                        byte = byte.wrapping_add(2);
                    }
                });
            }
            let reader = SnapshotReader::map(&file, 4000).unwrap();
            let mut read = 0;
            while read < 2000 {
                let Some(bytes) = reader.read() else { continue };
                read += 1;
                let first = bytes[0];
                assert_eq!(bytes, vec![first; 1000 + 11 * usize::from(first)]);
            }
            is_over.store(true, Ordering::Relaxed);
        });
    }
}
