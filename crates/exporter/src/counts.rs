//! The counts that Apache children and all exporters of the server share.

use std::io;
use std::os::fd::OwnedFd;
use std::sync::atomic::Ordering;

use os::shared::LongWords;
use wsgi_core::wire::exporter::counts::{self, WORDS};

/// The words of counts, and the generation for whose spans this program is there.
#[derive(Debug)]
pub(crate) struct Counts {
    words: LongWords,
    generation: u32,
}

impl Counts {
    /// Maps the words.
    ///
    /// # Errors
    /// The system refuses.
    pub(crate) fn map(file: &OwnedFd, generation: u32) -> io::Result<Self> {
        Ok(Self { words: LongWords::map(file, WORDS)?, generation })
    }

    /// Adds to a count.
    pub(crate) fn add(&self, word: usize, count: usize) {
        if let Some(word) = self.words.as_slice().get(word) {
            word.fetch_add(count as u64, Ordering::Relaxed);
        }
    }

    /// Returns a count.
    pub(crate) fn get(&self, word: usize) -> u64 {
        self.words.as_slice().get(word).map_or(0, |word| word.load(Ordering::Relaxed))
    }

    /// Notes that this program has taken a span: until it is [done](Self::release) with it, it is lost
    /// if the program ends.
    pub(crate) fn take(&self) {
        counts::take(self.words.as_slice(), self.generation);
    }

    /// Notes that this program is done with so many spans, which were counted.
    pub(crate) fn release(&self, count: usize) {
        counts::release(self.words.as_slice(), self.generation, count as u64);
    }
}

#[cfg(test)]
mod tests {
    use wsgi_core::wire::exporter::counts::{SENT, WORDS};

    use super::*;

    #[test]
    fn counts_do_not_begin_again() {
        let file = LongWords::create_for_writers(c"test", WORDS).unwrap();
        let counts = Counts::map(&file, 0).unwrap();
        for _ in 0..3 {
            counts.add(SENT, u32::MAX as usize);
        }
        assert_eq!(counts.get(SENT), 3 * u64::from(u32::MAX));
    }
}
