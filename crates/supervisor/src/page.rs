//! The page of a slot: which process counts its requests in which word.

use std::ops::Range;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

use os::shared::{ReadOnlyWords, Words};
use wsgi_core::wire::board::page;

/// The page of a slot.
#[derive(Debug)]
pub(crate) struct Page {
    memory: OwnedFd,
    inherited: Option<InheritedWords>,
}

/// The words of processes that a supervisor before this one has started: they finish what they have
/// begun.
#[derive(Debug)]
struct InheritedWords {
    words: Vec<u8>,
    end: u64,
}

/// Returns the words of a page.
fn words() -> Range<u8> {
    0..u8::try_from(page::WORDS).unwrap_or(u8::MAX)
}

impl Page {
    /// Takes over the page of a slot. Processes that count there already have ended at `end`.
    pub(crate) fn new(memory: OwnedFd, end: u64) -> Self {
        let inherited = ReadOnlyWords::map(&memory, page::WORDS).ok().and_then(|page| {
            let words: Vec<_> = words().filter(|word| page.load((*word).into()) != 0).collect();
            (!words.is_empty()).then_some(InheritedWords { words, end })
        });
        Self { memory, inherited }
    }

    /// Clears the words of processes of a supervisor before this one whose time is over.
    pub(crate) fn tick(&mut self, now: u64) {
        if let Some(inherited) = self.inherited.take_if(|inherited| inherited.end <= now) {
            inherited.words.into_iter().for_each(|word| self.clear(word));
        }
    }

    /// Returns the time at which it wants a tick, at the latest.
    pub(crate) fn next(&self) -> Option<u64> {
        self.inherited.as_ref().map(|inherited| inherited.end)
    }

    /// Returns the number of requests that run or wait in the processes of the slot.
    pub(crate) fn requests(&self) -> u32 {
        // For lack of memory it is not known: then nothing is started either.
        self.map().map_or(0, |page| page::sum(|word| page.load(word)))
    }

    /// Maps the words for reading; `None` for lack of memory.
    pub(crate) fn map(&self) -> Option<ReadOnlyWords> {
        ReadOnlyWords::map(&self.memory, page::WORDS).ok()
    }

    /// Returns a word that no living process has.
    pub(crate) fn free_word(&self, is_taken: impl Fn(u8) -> bool) -> Option<u8> {
        let is_free = |word: &u8| !is_taken(*word);
        let inherited = self.inherited.as_ref().map_or(&[][..], |inherited| &inherited.words);
        // Processes can write what they like to all words, and must not keep others from being
        // started.
        words().filter(|word| !inherited.contains(word)).find(is_free).or_else(|| words().find(is_free))
    }

    /// Clears the word of a process that has died: what it has counted does not run any more.
    pub(crate) fn clear(&self, word: u8) {
        if let Ok(words) = Words::map(&self.memory, page::WORDS) {
            words.store(word.into(), 0);
        }
    }
}

impl AsFd for Page {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.memory.as_fd()
    }
}
