//! The record of what becomes of processes, which outlives this supervisor: tallies of each slot, and
//! the last events. See [`wsgi_core::tallies`].

use std::io;
use std::os::fd::AsFd;
use std::sync::Arc;

use os::shared::LongWords;
use wsgi_core::ledger::{EventKind, Ledger, LedgerEvent};
use wsgi_core::tallies::{self, Tally, TallyRow};
use wsgi_core::wire::launch::Group;

/// The record, if the server has one.
#[derive(Debug, Default)]
pub(crate) struct Record(Option<Shared>);

/// An event of a process that has ended, to be added once its last words are known.
#[derive(Debug)]
pub(crate) struct PendingEvent {
    pub(crate) record: Arc<Record>,
    pub(crate) kind: EventKind,
    pub(crate) group: RecordedGroup,
    pub(crate) pid: i32,
    pub(crate) text: String,
}

impl PendingEvent {
    /// Adds it to the record. The detail is what the process has said, which may be anything.
    pub(crate) fn add(self, detail: &[u8]) {
        let detail: Vec<u8> = detail.iter().map(shown).collect();
        self.record.add(self.kind, &self.group, self.pid, self.text.as_bytes(), &detail);
    }
}

/// The process group of an event.
#[derive(Debug, Clone)]
pub(crate) struct RecordedGroup {
    pub(crate) number: u64,
    pub(crate) name: Box<[u8]>,
}

impl From<&Group> for RecordedGroup {
    fn from(group: &Group) -> Self {
        Self { number: group.number, name: group.daemon.name.clone() }
    }
}

/// Returns a byte of what a process has said, or a question mark for a control character other than
/// the end of a line.
pub(crate) const fn shown(byte: &u8) -> u8 {
    if byte.is_ascii_control() && *byte != b'\n' { b'?' } else { *byte }
}

#[derive(Debug)]
struct Shared {
    words: LongWords,
    /// Those of the slots, in their order.
    rows: Vec<TallyRow>,
}

impl Record {
    /// Maps the record in a file, in which slots have these rows.
    ///
    /// # Errors
    /// The file is too short, or the system refuses.
    pub(crate) fn map(file: impl AsFd, rows: Vec<TallyRow>) -> io::Result<Self> {
        let words = LongWords::map(file, tallies::words_for(&rows))?;
        Ok(Self(Some(Shared { words, rows })))
    }

    /// Counts as many for a slot.
    pub(crate) fn count(&self, slot: usize, tally: Tally, count: u32) {
        if let Some(Shared { words, rows }) = &self.0
            && let Some(row) = rows.get(slot)
        {
            row.count(Ledger::new(words.as_slice()), tally, count);
        }
    }

    /// Adds an event.
    pub(crate) fn add(&self, kind: EventKind, group: &RecordedGroup, pid: i32, text: &[u8], detail: &[u8]) {
        let Some(Shared { words, .. }) = &self.0 else { return };
        let event = LedgerEvent {
            time: u64::try_from(os::clock::microseconds()).unwrap_or(0),
            kind,
            number: group.number,
            group: group.name.to_vec(),
            pid: u32::try_from(pid).unwrap_or(0),
            text: text.to_vec(),
            detail: detail.to_vec(),
        };
        tallies::EVENTS.record(Ledger::new(words.as_slice()), &event);
    }
}
