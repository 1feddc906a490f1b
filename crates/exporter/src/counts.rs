//! The counts that Apache children and all exporters of the server share.

use std::io;
use std::os::fd::OwnedFd;
use std::sync::atomic::Ordering;

use os::shared::Words;
use wsgi_core::wire::exporter::counts::WORDS;

/// The words of counts.
#[derive(Debug)]
pub(crate) struct Counts(Words);

impl Counts {
    /// Maps the words.
    ///
    /// # Errors
    /// The system refuses.
    pub(crate) fn map(file: &OwnedFd) -> io::Result<Self> {
        Words::map(file, WORDS).map(Self)
    }

    /// Adds to a count.
    pub(crate) fn add(&self, word: usize, count: usize) {
        if let Some(word) = self.0.get(word) {
            word.fetch_add(u32::try_from(count).unwrap_or(u32::MAX), Ordering::Relaxed);
        }
    }

    /// Returns a count.
    pub(crate) fn get(&self, word: usize) -> u64 {
        self.0.load(word).into()
    }
}
