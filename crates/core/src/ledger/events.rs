//! The ring of the last events: in the ledger those of embedded mode, which Apache's children write;
//! in the [tallies](crate::tallies) those of process groups, which supervisors write.

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
    /// A process has ended that nobody had told to; in embedded mode a child of Apache, with
    /// requests.
    Crash,
    /// A process, or Python in a child, could not be started.
    FailedStart,
    /// A successor did not become ready.
    FailedReload,
    /// A script could not be imported.
    FailedImport,
    /// A request has held its thread for longer than it should.
    Stuck,
}

impl EventKind {
    const ALL: [Self; 5] =
        [Self::Crash, Self::FailedStart, Self::FailedReload, Self::FailedImport, Self::Stuck];

    /// Returns the number of events of this kind beyond which those of a group drive out only each
    /// other: there may be any number of stuck requests, and one of them tells as much as many.
    const fn share(self) -> usize {
        match self {
            Self::Stuck => 8,
            Self::Crash | Self::FailedStart | Self::FailedReload | Self::FailedImport => EVENTS,
        }
    }
}

/// An event.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LedgerEvent {
    /// The time at which it happened, in microseconds since the epoch.
    pub time: u64,
    /// Its kind.
    pub kind: EventKind,
    /// The number of the process group, which no other one has, nor had; 0 for embedded mode.
    pub number: u64,
    /// The name of the process group; empty for embedded mode. A long one is cut.
    pub group: Vec<u8>,
    /// The process; 0 if there is none.
    pub pid: u32,
    /// The cause, in one line.
    pub text: Vec<u8>,
    /// The traceback, or the stacks of the process.
    pub detail: Vec<u8>,
}

/// The number of events that are kept.
const EVENTS: usize = 64;
/// The number of events beyond which a group drives out only its own.
const SHARE: usize = 16;

/// The words of an event: the sequence, which is twice its number from 1 on, and less by one while it
/// is written; the time; kind and process; the lengths of the texts; the number of the group.
const SEQUENCE: usize = 0;
const TIME: usize = 1;
const KIND: usize = 2;
const LENGTHS: usize = 3;
const OF_GROUP: usize = 4;
const GROUP: usize = 5;
const TEXT: usize = GROUP + LONGEST_GROUP / 8;
const DETAIL: usize = TEXT + LONGEST_TEXT / 8;
const EVENT: usize = align(DETAIL + LONGEST_DETAIL / 8);

const LONGEST_GROUP: usize = 128;
const LONGEST_TEXT: usize = 512;
/// The longest detail, in bytes.
pub const LONGEST_DETAIL: usize = 8 << 10;

/// Returns the part of the line of an event that is kept: its beginning.
#[must_use]
pub fn kept_text(text: &[u8]) -> &[u8] {
    beginning(text, LONGEST_TEXT)
}

/// Returns the part of the detail of an event that is kept: its end, which says most of a traceback.
#[must_use]
pub fn kept_detail(detail: &[u8]) -> &[u8] {
    &detail[detail.len().saturating_sub(LONGEST_DETAIL)..]
}

impl EventRing {
    /// The number of words: the number of events so far, and the events.
    pub(crate) const WORDS: usize = align(1) + EVENTS * EVENT;

    /// Writes an event in place of the oldest; one of a group that has many, or many of that kind,
    /// takes the place of another one of those. Long texts are cut.
    pub fn record(self, ledger: Ledger<'_>, event: &LedgerEvent) {
        let Some(count) = ledger.word(self.start) else { return };
        let number = count.fetch_add(1, Ordering::Relaxed) + 1;
        let group = beginning(&event.group, LONGEST_GROUP);
        let Some(place) = self.claim(ledger, number, event.kind, event.number) else { return };
        fence(Ordering::Release);
        let (text, detail) = (kept_text(&event.text), kept_detail(&event.detail));
        ledger.store(place + TIME, event.time);
        ledger.store(place + KIND, u64::from(event.pid) << 8 | event.kind as u64);
        let lengths = [text.len(), group.len(), detail.len()].map(|length| length as u64);
        ledger.store(place + OF_GROUP, event.number);
        ledger.store(place + LENGTHS, lengths[2] << 32 | lengths[1] << 16 | lengths[0]);
        if let Some(words) = ledger.array::<EVENT>(place) {
            store_text(&words[GROUP..TEXT], group);
            store_text(&words[TEXT..DETAIL], text);
            store_text(&words[DETAIL..], detail);
        }
        if let Some(sequence) = ledger.word(place + SEQUENCE) {
            // (Unless this has taken so long that the place is another event's.)
            let _ =
                sequence.compare_exchange(2 * number - 1, 2 * number, Ordering::Release, Ordering::Relaxed);
        }
    }

    /// Finds the place for an event of a group, and marks it. Another writer may be faster, several
    /// times; then there is none.
    fn claim(self, ledger: Ledger<'_>, number: u64, kind: EventKind, group: u64) -> Option<usize> {
        let read = |index: usize| ledger.load(index);
        (0..4).find_map(|_| {
            let places = (0..EVENTS).map(|index| self.start + align(1) + index * EVENT);
            let mut places: Vec<_> = places.map(|place| (read(place + SEQUENCE), place)).collect();
            // One that is being written is left alone, unless its writer has not come back.
            places.retain(|(sequence, _)| sequence % 2 == 0 || sequence / 2 + EVENTS as u64 <= number);
            let is_own = |place: usize| read(place + SEQUENCE) != 0 && read(place + OF_GROUP) == group;
            let is_alike = |place: usize| read(place + KIND) & 0xff == kind as u64;
            let own: Vec<_> = places.iter().copied().filter(|(_, place)| is_own(*place)).collect();
            let alike: Vec<_> = own.iter().copied().filter(|(_, place)| is_alike(*place)).collect();
            let oldest = places.into_iter().min()?;
            // (An event that was not written to its end is nobody's.)
            let is_others = oldest.0 != 0 && oldest.0 % 2 == 0 && !is_own(oldest.1);
            let (sequence, place) = if alike.len() >= kind.share() {
                alike.into_iter().min()?
            } else if is_others && own.len() >= SHARE {
                own.into_iter().min()?
            } else {
                oldest
            };
            let word = ledger.word(place + SEQUENCE)?;
            word.compare_exchange(sequence, 2 * number - 1, Ordering::Acquire, Ordering::Relaxed)
                .is_ok()
                .then_some(place)
        })
    }

    /// Returns the last events, the newest first.
    #[must_use]
    pub fn last(self, read: Read<'_>) -> Vec<LedgerEvent> {
        let places = (0..EVENTS).map(|index| self.start + align(1) + index * EVENT);
        let mut events: Vec<_> = places.filter_map(|place| Self::read(read, place)).collect();
        events.sort_by_key(|(number, _)| std::cmp::Reverse(*number));
        events.into_iter().map(|(_, event)| event).collect()
    }

    /// Returns the event at a place, behind its number; `None` if there is none, or it is being
    /// written.
    fn read(read: Read<'_>, place: usize) -> Option<(u64, LedgerEvent)> {
        let sequence = read(place + SEQUENCE);
        if sequence == 0 || !sequence.is_multiple_of(2) {
            return None;
        }
        fence(Ordering::Acquire);
        let (kind, lengths) = (read(place + KIND), read(place + LENGTHS));
        let length = |value: u64, most: usize| usize::try_from(value).unwrap_or(0).min(most);
        let event = LedgerEvent {
            time: read(place + TIME),
            kind: *EventKind::ALL.get((kind & 0xff) as usize)?,
            number: read(place + OF_GROUP),
            group: load_text(read, place + GROUP, length(lengths >> 16 & 0xffff, LONGEST_GROUP)),
            pid: (kind >> 8) as u32,
            text: load_text(read, place + TEXT, length(lengths & 0xffff, LONGEST_TEXT)),
            detail: load_text(read, place + DETAIL, length(lengths >> 32, LONGEST_DETAIL)),
        };
        fence(Ordering::Acquire);
        (read(place + SEQUENCE) == sequence).then_some((sequence / 2, event))
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
            number: 3,
            group: b"shop".to_vec(),
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
                number: 0,
                group: Vec::new(),
                pid: 0,
                text: vec![b'y'; 999],
                detail: detail.clone(),
            },
        );
        let seen = &ring.last(&|index| ledger.load(index))[0];
        assert_eq!((seen.text.len(), &*seen.detail), (512, &detail[10_000 - 8192..]));
    }

    fn of_group(group: &[u8], pid: u32) -> LedgerEvent {
        LedgerEvent {
            time: 1,
            kind: EventKind::Crash,
            number: group[0].into(),
            group: group.to_vec(),
            pid,
            text: group.to_vec(),
            detail: vec![],
        }
    }

    #[test]
    fn many_stuck_requests_leave_other_events_of_the_group() {
        let words: Vec<_> = (0..EventRing::WORDS).map(|_| AtomicU64::new(0)).collect();
        let (ledger, ring) = (Ledger::new(&words), EventRing { start: 0 });
        for pid in 0..30 {
            ring.record(ledger, &of_group(b"a", pid));
        }
        for pid in 100..300 {
            ring.record(ledger, &LedgerEvent { kind: EventKind::Stuck, ..of_group(b"a", pid) });
            ring.record(ledger, &LedgerEvent { kind: EventKind::Stuck, ..of_group(b"b", pid) });
        }
        ring.record(ledger, &of_group(b"a", 30));
        let events = ring.last(&|index| ledger.load(index));
        let count = |group: &[u8], kind: EventKind| {
            events.iter().filter(|event| event.group == group && event.kind == kind).count()
        };
        assert_eq!((count(b"a", EventKind::Stuck), count(b"b", EventKind::Stuck)), (8, 8));
        assert_eq!(count(b"a", EventKind::Crash), 31);
        assert_eq!(events[1].pid, 299, "the last ones are kept");
    }

    #[test]
    fn a_group_with_many_events_leaves_others_theirs() {
        let words: Vec<_> = (0..EventRing::WORDS).map(|_| AtomicU64::new(0)).collect();
        let (ledger, ring) = (Ledger::new(&words), EventRing { start: 0 });
        let count = |group: &[u8]| {
            ring.last(&|index| ledger.load(index)).iter().filter(|event| event.group == group).count()
        };
        ring.record(ledger, &of_group(b"quiet", 1));
        for pid in 0..200 {
            ring.record(ledger, &of_group(b"noisy", pid));
        }
        assert_eq!((count(b"quiet"), count(b"noisy")), (1, 63));
        for pid in 0..20 {
            ring.record(ledger, &of_group(b"quiet", pid));
        }
        assert_eq!((count(b"quiet"), count(b"noisy")), (16, 48), "its share, then only its own");
        let pids = ring.last(&|index| ledger.load(index)).iter().map(|event| event.pid).collect::<Vec<_>>();
        assert_eq!((&pids[..3], pids[15], pids[16], pids[63]), (&[19, 18, 17][..], 4, 199, 152));
    }

    #[test]
    fn an_event_whose_writer_has_died_is_not_read_and_its_place_is_used_again() {
        let words: Vec<_> = (0..EventRing::WORDS).map(|_| AtomicU64::new(0)).collect();
        let (ledger, ring) = (Ledger::new(&words), EventRing { start: 0 });
        let count = || ring.last(&|index| ledger.load(index)).len();
        ring.record(ledger, &of_group(b"a", 1));
        ledger.word(ring.start).unwrap().fetch_add(1, Ordering::Relaxed);
        assert!(ring.claim(ledger, 2, EventKind::Crash, b'a'.into()).is_some());
        assert_eq!(count(), 1);
        for pid in 0..63 {
            ring.record(ledger, &of_group(b"a", pid));
        }
        assert_eq!(count(), 63);
        ring.record(ledger, &of_group(b"a", 1));
        ring.record(ledger, &of_group(b"a", 1));
        assert_eq!(count(), 64);
    }

    #[test]
    fn readers_never_see_two_halves() {
        let words: Vec<_> = (0..EventRing::WORDS).map(|_| AtomicU64::new(0)).collect();
        let (ledger, ring) = (Ledger::new(&words), EventRing { start: 0 });
        std::thread::scope(|scope| {
            for group in [b'a', b'b'] {
                scope.spawn(move || {
                    for number in 0..2000 {
                        let text = vec![group; number % 400];
                        let event = LedgerEvent { text: text.clone(), detail: text, ..of_group(&[group], 0) };
                        ring.record(ledger, &event);
                    }
                });
            }
            for _ in 0..200 {
                for event in ring.last(&|index| ledger.load(index)) {
                    assert_eq!(event.text, vec![event.group[0]; event.text.len()]);
                    assert_eq!(event.detail, event.text);
                }
            }
        });
    }
}
