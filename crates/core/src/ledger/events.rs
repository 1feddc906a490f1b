//! The ring of the last events of embedded mode, which Apache's children write.

use std::sync::atomic::{Ordering, fence};

use super::{Ledger, Read, align, beginning, load_text, store_text};

/// The ring.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct EventRing {
    /// Its place in the ledger.
    pub start: usize,
}

/// The kind of an event.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum EventKind {
    /// A child of Apache has died with requests of embedded mode.
    Crash,
    /// Python could not be started in a child.
    FailedStart,
}

/// An event.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LedgerEvent {
    /// The time at which it happened, in microseconds since the epoch.
    pub time: u64,
    /// Its kind.
    pub kind: EventKind,
    /// The process; 0 if there is none.
    pub pid: u32,
    /// The cause, in one line.
    pub text: Vec<u8>,
    /// The traceback, or the stacks of the process.
    pub detail: Vec<u8>,
}

/// The number of events that are kept.
const EVENTS: usize = 64;

/// The words of an event: the sequence, which is twice its number from 1 on, and less by one while it
/// is written; the time; kind and process; the lengths of the texts.
const SEQUENCE: usize = 0;
const TIME: usize = 1;
const KIND: usize = 2;
const LENGTHS: usize = 3;
const TEXT: usize = 4;
const DETAIL: usize = TEXT + LONGEST_TEXT / 8;
const EVENT: usize = align(DETAIL + LONGEST_DETAIL / 8);

const LONGEST_TEXT: usize = 512;
const LONGEST_DETAIL: usize = 8 << 10;

impl EventRing {
    /// The number of words: the number of events so far, and the events.
    pub(super) const WORDS: usize = align(1) + EVENTS * EVENT;

    /// Writes an event in place of the oldest. Long texts are cut: a detail at its beginning, since
    /// the end of a traceback says most.
    pub fn record(self, ledger: Ledger<'_>, event: &LedgerEvent) {
        let Some(count) = ledger.word(self.start) else { return };
        let number = count.fetch_add(1, Ordering::Relaxed) + 1;
        let place = self.place(number);
        ledger.store(place + SEQUENCE, 2 * number - 1);
        fence(Ordering::Release);
        let text = beginning(&event.text, LONGEST_TEXT);
        let detail = &event.detail[event.detail.len().saturating_sub(LONGEST_DETAIL)..];
        ledger.store(place + TIME, event.time);
        ledger.store(place + KIND, u64::from(event.pid) << 8 | event.kind as u64);
        ledger.store(place + LENGTHS, (detail.len() as u64) << 32 | text.len() as u64);
        if let Some(words) = ledger.array::<EVENT>(place) {
            store_text(&words[TEXT..DETAIL], text);
            store_text(&words[DETAIL..], detail);
        }
        if let Some(sequence) = ledger.word(place + SEQUENCE) {
            sequence.store(2 * number, Ordering::Release);
        }
    }

    /// Returns the last events, the newest first.
    #[must_use]
    pub fn last(self, read: Read<'_>) -> Vec<LedgerEvent> {
        let count = read(self.start);
        let first = count.saturating_sub(EVENTS as u64) + 1;
        (first..=count).rev().filter_map(|number| self.read(read, number)).collect()
    }

    fn read(self, read: Read<'_>, number: u64) -> Option<LedgerEvent> {
        let place = self.place(number);
        if read(place + SEQUENCE) != 2 * number {
            return None;
        }
        let (kind, lengths) = (read(place + KIND), read(place + LENGTHS));
        let length = |value: u64, most: usize| usize::try_from(value).unwrap_or(0).min(most);
        let event = LedgerEvent {
            time: read(place + TIME),
            kind: if kind as u8 == EventKind::Crash as u8 {
                EventKind::Crash
            } else {
                EventKind::FailedStart
            },
            pid: (kind >> 8) as u32,
            text: load_text(read, place + TEXT, length(lengths & 0xffff_ffff, LONGEST_TEXT)),
            detail: load_text(read, place + DETAIL, length(lengths >> 32, LONGEST_DETAIL)),
        };
        fence(Ordering::Acquire);
        (read(place + SEQUENCE) == 2 * number).then_some(event)
    }

    const fn place(self, number: u64) -> usize {
        self.start + align(1) + (number % EVENTS as u64) as usize * EVENT
    }
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::AtomicU64;

    use super::*;

    #[test]
    fn the_last_events_are_kept() {
        let words: Vec<_> = (0..EventRing::WORDS).map(|_| AtomicU64::new(0)).collect();
        let (ledger, ring) = (Ledger::new(&words), EventRing { start: 0 });
        let read = |index: usize| ledger.load(index);
        assert!(ring.last(&read).is_empty());
        let event = |number: u64| LedgerEvent {
            time: number,
            kind: if number.is_multiple_of(2) { EventKind::Crash } else { EventKind::FailedStart },
            pid: 4_000_000,
            text: format!("event {number}").into_bytes(),
            detail: vec![b'x'; number as usize],
        };
        for number in 1..=100 {
            ring.record(ledger, &event(number));
        }
        assert_eq!(ring.last(&read), (37..=100).rev().map(event).collect::<Vec<_>>());
    }

    #[test]
    fn the_end_of_a_long_detail_is_kept() {
        let words: Vec<_> = (0..EventRing::WORDS).map(|_| AtomicU64::new(0)).collect();
        let (ledger, ring) = (Ledger::new(&words), EventRing { start: 0 });
        let detail: Vec<_> = (0..10_000).map(|number| number as u8).collect();
        ring.record(
            ledger,
            &LedgerEvent {
                time: 1,
                kind: EventKind::Crash,
                pid: 0,
                text: vec![b'y'; 999],
                detail: detail.clone(),
            },
        );
        let seen = &ring.last(&|index| ledger.load(index))[0];
        assert_eq!((seen.text.len(), &*seen.detail), (512, &detail[10_000 - 8192..]));
    }
}
