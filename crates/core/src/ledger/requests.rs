//! Rows of requests under way: what each request is and what is done with it at present.
//!
//! A thread claims a row for a request with the id of its process, so that the row can be cleared
//! when the process dies with it. Only then somebody else writes to it.

use std::collections::HashMap;
use std::sync::atomic::{Ordering, fence};

use super::{Ledger, Method, Read, SlotRow, align, beginning, load_text, store_text};

/// A part of the ledger with rows of requests.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct RequestRows {
    /// The place of the bits that say which rows have ever been used.
    pub used: usize,
    /// The place of the rows.
    pub rows: usize,
    /// The number of rows.
    pub count: usize,
}

/// A row that a request has claimed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Place {
    row: usize,
    /// Its number among all rows.
    pub number: usize,
}

/// The phase of a request that is under way.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Phase {
    /// It waits for a process.
    Queued,
    /// A process has it, or Python.
    Running,
    /// It waits for the client to send more of the body.
    Reading,
    /// It passes the response on.
    Writing,
}

impl Phase {
    /// All of them, in the order of their numbers.
    pub const ALL: [Self; 4] = [Self::Queued, Self::Running, Self::Reading, Self::Writing];
}

/// The description of a request. Long texts are cut.
#[derive(Debug, Clone, Copy)]
pub struct RequestFacts<'a> {
    /// The time at which it came, in microseconds since the epoch; not 0.
    pub start: u64,
    /// The head of its group's row.
    pub group: usize,
    /// The method.
    pub method: Method,
    /// Its name, if it is none that is known.
    pub other_method: &'a [u8],
    /// The path of the URL, without the query.
    pub path: &'a [u8],
    /// The name of the virtual host; empty for the main server.
    pub virtual_host: &'a [u8],
    /// Its port.
    pub port: u16,
    /// The id in logs; empty if there is none.
    pub id: &'a [u8],
}

/// A request under way, as it is read.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RequestView {
    /// The process of Apache that has it.
    pub child: u32,
    /// The time at which it came, in microseconds since the epoch.
    pub start: u64,
    /// The head of its group's row.
    pub group: usize,
    /// The head of its slot's row; 0 if it has none yet.
    pub slot: usize,
    /// Its phase.
    pub phase: Phase,
    /// The method.
    pub method: Vec<u8>,
    /// The path of the URL.
    pub path: Vec<u8>,
    /// The name of the virtual host; empty for the main server.
    pub virtual_host: Vec<u8>,
    /// Its port.
    pub port: u16,
    /// The id in logs.
    pub id: Vec<u8>,
}

/// Returns the number of rows.
#[must_use]
pub fn count(parts: &[RequestRows]) -> usize {
    parts.iter().map(|part| part.count).sum()
}

/// The words of a row.
const OWNER: usize = 0;
/// Odd while the facts are written.
const SEQUENCE: usize = 1;
const PHASE: usize = 2;
/// The head of the slot's row, and [`CHANGING`].
const SLOT: usize = 3;
/// 0 if there is no request.
const START: usize = 4;
const GROUP: usize = 5;
/// The lengths of the four texts, of 8 bits each; the number of the method, of 16 bits; the port.
const LENGTHS: usize = 6;
const METHOD: usize = 8;
const ID: usize = METHOD + LONGEST_METHOD / 8;
// (The beginning of the path is in one line with the id.)
const PATH: usize = ID + LONGEST_ID / 8;
const HOST: usize = PATH + LONGEST_PATH / 8;
const ROW: usize = align(HOST + LONGEST_HOST / 8);

const LONGEST_METHOD: usize = 16;
const LONGEST_PATH: usize = 128;
/// More than most names of the DNS have, which may have 253 bytes.
const LONGEST_HOST: usize = 248;
const LONGEST_ID: usize = 32;

/// Set while the request is being counted as active, or taken back. (Rows lie on multiples of 8.)
const CHANGING: u64 = 1;

/// The number of rows side by side that a request looks at before it looks elsewhere; and then,
/// before it goes without one.
const MOST_TRIED: usize = 64;

/// The number of times that the active requests of a slot are counted while they change.
const MOST_COUNTED: usize = 16;

impl RequestRows {
    /// Returns the number of words of the bits, and of the rows.
    pub(super) const fn words(count: usize) -> (usize, usize) {
        (align(count.div_ceil(64)), count * ROW)
    }

    fn row(&self, index: usize) -> usize {
        self.rows + index * ROW
    }

    /// Returns the rows that have ever been used.
    fn touched<'a>(&'a self, read: Read<'a>) -> impl Iterator<Item = usize> + 'a {
        (0..self.count.div_ceil(64)).flat_map(move |index| {
            let bits = read(self.used + index);
            (0..64).filter(move |bit| bits & (1 << bit) != 0).map(move |bit| self.row(64 * index + bit))
        })
    }

    /// Returns the requests under way. One that begins or ends meanwhile may be missing.
    pub fn views<'a>(&'a self, read: Read<'a>) -> impl Iterator<Item = RequestView> + 'a {
        self.touched(read).filter_map(move |row| view(read, row))
    }

    /// Clears the rows of a process that has ended, and takes back what its requests have counted as
    /// active. Adds these requests to `lost`, and slots for which that is not certain to `doubtful`.
    fn clear(&self, ledger: Ledger<'_>, pid: u32, lost: &mut Vec<RequestView>, doubtful: &mut Vec<SlotRow>) {
        let read = |index: usize| ledger.load(index);
        let of_process = |row: &usize| ledger.load(row + OWNER) == u64::from(pid);
        let rows: Vec<_> = self.touched(&read).filter(of_process).collect();
        for row in rows {
            // A request that was being written down had not begun.
            lost.extend(view(&read, row));
            let word = ledger.load(row + SLOT);
            if let Some(slot) = slot(word) {
                if word & CHANGING == 0 {
                    slot.end(ledger);
                } else {
                    doubtful.push(slot);
                }
            }
            ledger.store(row + SEQUENCE, 0);
            release(ledger, row);
        }
    }
}

/// Clears the rows of a process that has ended, and takes back what its requests have counted as
/// active. Returns these requests.
pub fn clear(parts: &[RequestRows], ledger: Ledger<'_>, pid: u32) -> Vec<RequestView> {
    let (mut lost, mut doubtful) = (Vec::new(), Vec::new());
    for part in parts {
        part.clear(ledger, pid, &mut lost, &mut doubtful);
    }
    // (Those that do not settle now do later.)
    settle(parts, ledger, doubtful);
    lost
}

/// Makes the numbers of active requests of slots those that the rows say, wherever they differ: a
/// process may have died between the one and the other.
pub fn settle(parts: &[RequestRows], ledger: Ledger<'_>, slots: impl IntoIterator<Item = SlotRow>) {
    let read = |index: usize| ledger.load(index);
    let mut counts: HashMap<usize, u64> = HashMap::new();
    let rows = parts.iter().flat_map(|part| part.touched(&read));
    for slot in rows.filter_map(|row| slot(read(row + SLOT))) {
        *counts.entry(slot.head).or_default() += 1;
    }
    for slot in slots {
        if slot.version(ledger).1 != counts.get(&slot.head).copied().unwrap_or(0) {
            (0..MOST_COUNTED).any(|_| has_settled(parts, ledger, slot));
        }
    }
}

/// Counts the rows of the active requests of a slot, and makes their number this one. Returns false if
/// they have changed meanwhile.
fn has_settled(parts: &[RequestRows], ledger: Ledger<'_>, slot: SlotRow) -> bool {
    let read = |index: usize| ledger.load(index);
    let (version, before) = slot.version(ledger);
    let mut count = 0;
    for row in parts.iter().flat_map(|part| part.touched(&read)) {
        let word = read(row + SLOT);
        if word & !CHANGING != slot.head as u64 {
            continue;
        }
        if word & CHANGING != 0 {
            return false;
        }
        count += 1;
    }
    fence(Ordering::Acquire);
    if before == count { slot.version(ledger).0 == version } else { slot.correct(ledger, version, count) }
}

/// Returns the slot in a word of a row, if there is one.
fn slot(word: u64) -> Option<SlotRow> {
    let head = (word & !CHANGING) as usize;
    (head != 0).then_some(SlotRow { head, body: 0 })
}

impl Place {
    /// Claims a row for a process, preferably the one with the number `first`. Returns `None` if none
    /// is found soon.
    #[must_use]
    #[inline]
    pub fn claim(ledger: Ledger<'_>, parts: &[RequestRows], pid: u32, first: usize) -> Option<Self> {
        // Almost always.
        if let Some(place) = Self::try_claim(ledger, parts, pid, first) {
            return Some(place);
        }
        let total = count(parts);
        let stride = total.div_ceil(MOST_TRIED);
        let near = 0..MOST_TRIED.min(total);
        let far = (1..=MOST_TRIED).map(|step| MOST_TRIED + step * stride);
        near.chain(far).find_map(|step| Self::try_claim(ledger, parts, pid, (first + step) % total.max(1)))
    }

    #[inline]
    fn try_claim(ledger: Ledger<'_>, parts: &[RequestRows], pid: u32, number: usize) -> Option<Self> {
        let mut index = number;
        let part = parts.iter().find(|part| {
            let is_here = index < part.count;
            if !is_here {
                index -= part.count;
            }
            is_here
        })?;
        let row = part.row(index);
        let owner = ledger.word(row + OWNER)?;
        if owner.load(Ordering::Relaxed) != 0 {
            return None;
        }
        // Before it is claimed: else it would stay so if this process died in between.
        ledger.mark(part.used + index / 64, (index % 64) as u32);
        if owner.compare_exchange(0, u64::from(pid), Ordering::Acquire, Ordering::Relaxed).is_err() {
            return None;
        }
        Some(Self { row, number })
    }

    /// Writes down what the request is, in a phase.
    #[inline]
    pub fn publish(self, ledger: Ledger<'_>, facts: &RequestFacts<'_>, phase: Phase) {
        let Some(row) = ledger.array::<ROW>(self.row) else { return };
        let store = |index: usize, value: u64| row[index].store(value, Ordering::Relaxed);
        let before = row[SEQUENCE].load(Ordering::Relaxed);
        store(SEQUENCE, before | 1);
        fence(Ordering::Release);
        store(PHASE, phase as u64);
        store(START, facts.start);
        store(GROUP, facts.group as u64);
        let text = |start: usize, most: usize, text: &[u8]| {
            let text = beginning(text, most);
            store_text(&row[start..start + most / 8], text);
            text.len() as u64
        };
        let mut lengths = u64::from(facts.port) << 48 | (facts.method as u64) << 32;
        if !facts.other_method.is_empty() {
            lengths |= text(METHOD, LONGEST_METHOD, facts.other_method);
        }
        lengths |= text(PATH, LONGEST_PATH, facts.path) << 8;
        if !facts.virtual_host.is_empty() {
            lengths |= text(HOST, LONGEST_HOST, facts.virtual_host) << 16;
        }
        lengths |= text(ID, LONGEST_ID, facts.id) << 24;
        store(LENGTHS, lengths);
        row[SEQUENCE].store((before | 1).wrapping_add(1), Ordering::Release);
    }

    /// Sets the phase.
    #[inline]
    pub fn set_phase(self, ledger: Ledger<'_>, phase: Phase) {
        ledger.store(self.row + PHASE, phase as u64);
    }

    /// Counts the request as active in the slot whose process has it.
    #[inline]
    pub fn enter(self, ledger: Ledger<'_>, slot: SlotRow) {
        ledger.store(self.row + SLOT, slot.head as u64 | CHANGING);
        slot.begin(ledger);
        ledger.store_last(self.row + SLOT, slot.head as u64);
    }

    /// Takes back what [`Self::enter`] has counted.
    #[inline]
    pub fn leave(self, ledger: Ledger<'_>, slot: SlotRow) {
        ledger.store(self.row + SLOT, slot.head as u64 | CHANGING);
        slot.end(ledger);
        ledger.store_last(self.row + SLOT, 0);
    }

    /// Frees the row.
    #[inline]
    pub fn free(self, ledger: Ledger<'_>) {
        release(ledger, self.row);
    }
}

#[inline]
fn release(ledger: Ledger<'_>, row: usize) {
    ledger.store(row + SLOT, 0);
    ledger.store(row + START, 0);
    if let Some(owner) = ledger.word(row + OWNER) {
        owner.store(0, Ordering::Release);
    }
}

/// Returns the request in a row, or `None` if there is none, or its description changes too often.
fn view(read: Read<'_>, row: usize) -> Option<RequestView> {
    (0..4).find_map(|_| try_view(read, row))
}

fn try_view(read: Read<'_>, row: usize) -> Option<RequestView> {
    let owner = read(row + OWNER);
    let sequence = read(row + SEQUENCE);
    let start = read(row + START);
    if owner == 0 || start == 0 || sequence & 1 != 0 {
        return None;
    }
    let lengths = read(row + LENGTHS);
    let text = |index: usize, start: usize, most: usize| {
        let length = (lengths >> (8 * index)) & 0xff;
        load_text(read, row + start, usize::try_from(length).unwrap_or(0).min(most))
    };
    let mut virtual_host = text(2, HOST, LONGEST_HOST);
    if virtual_host.len() == LONGEST_HOST {
        // Perhaps it was cut: it must not be taken for the name of another host.
        virtual_host.extend_from_slice("…".as_bytes());
    }
    let view = RequestView {
        child: u32::try_from(owner).unwrap_or(0),
        start,
        group: read(row + GROUP) as usize,
        slot: slot(read(row + SLOT)).map_or(0, |slot| slot.head),
        phase: *Phase::ALL.get(read(row + PHASE) as usize).unwrap_or(&Phase::Running),
        method: match Method::ALL.get((lengths >> 32 & 0xffff) as usize) {
            None | Some(Method::Other) => text(0, METHOD, LONGEST_METHOD),
            Some(method) => method.name().into(),
        },
        path: text(1, PATH, LONGEST_PATH),
        virtual_host,
        port: (lengths >> 48) as u16,
        id: text(3, ID, LONGEST_ID),
    };
    fence(Ordering::Acquire);
    let is_same =
        read(row + SEQUENCE) == sequence && read(row + START) == start && read(row + OWNER) == owner;
    is_same.then_some(view)
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicBool, AtomicU64};

    use super::*;

    const PARTS: [RequestRows; 2] =
        [RequestRows { used: 8, rows: 24, count: 3 }, RequestRows { used: 16, rows: 24 + 3 * ROW, count: 2 }];

    const SLOTS: [SlotRow; 2] =
        [SlotRow { head: 24 + 5 * ROW, body: 0 }, SlotRow { head: 32 + 5 * ROW, body: 0 }];

    fn memory() -> Vec<AtomicU64> {
        (0..40 + 5 * ROW).map(|_| AtomicU64::new(0)).collect()
    }

    fn facts(path: &[u8]) -> RequestFacts<'_> {
        RequestFacts {
            start: 77,
            group: 5,
            method: Method::Get,
            other_method: b"",
            path,
            virtual_host: b"example.com",
            port: 443,
            id: b"abc",
        }
    }

    fn views(ledger: Ledger<'_>) -> Vec<RequestView> {
        let read = |index: usize| ledger.load(index);
        PARTS.iter().flat_map(|part| part.views(&read).collect::<Vec<_>>()).collect()
    }

    #[test]
    fn names_of_hosts_are_whole_or_match_none() {
        let words = memory();
        let ledger = Ledger::new(&words);
        let place = Place::claim(ledger, &PARTS, 9, 0).expect("a free row");
        for (length, shown) in [(60, 60), (247, 247), (300, LONGEST_HOST + "…".len())] {
            let name = vec![b'a'; length];
            place.publish(ledger, &RequestFacts { virtual_host: &name, ..facts(b"/") }, Phase::Running);
            let seen = views(ledger).remove(0).virtual_host;
            assert_eq!((seen.len(), seen == name), (shown, length < LONGEST_HOST));
        }
    }

    #[test]
    fn each_request_has_a_row_as_long_as_there_are_any() {
        let words = memory();
        let ledger = Ledger::new(&words);
        let claim = |first| Place::claim(ledger, &PARTS, 9, first).map(|place| place.number);
        assert_eq!(
            [claim(1), claim(1), claim(4), claim(4), claim(0), claim(0)],
            [Some(1), Some(2), Some(4), Some(0), Some(3), None]
        );
        assert_eq!(count(&PARTS), 5);
        assert!(views(ledger).is_empty(), "none has been written down");
        assert_eq!(Place::claim(ledger, &[], 9, 0), None);
    }

    #[test]
    fn a_request_looks_elsewhere_if_all_rows_beside_are_taken() {
        let part = RequestRows { used: 0, rows: 16, count: 640 };
        let words: Vec<_> = (0..16 + 640 * ROW).map(|_| AtomicU64::new(0)).collect();
        let ledger = Ledger::new(&words);
        for number in (0..640).filter(|number| *number < 300 || *number >= 400) {
            assert_eq!(Place::claim(ledger, &[part], 9, number).map(|place| place.number), Some(number));
        }
        for first in [0, 100, 299, 639] {
            assert!(Place::claim(ledger, &[part], 9, first).is_some(), "{first}");
        }
    }

    #[test]
    fn a_request_is_seen_while_it_is_under_way() {
        let words = memory();
        let ledger = Ledger::new(&words);
        let place = Place::claim(ledger, &PARTS, 9, 3).unwrap();
        let long = [b'x'; 300];
        place.publish(ledger, &facts(&long), Phase::Queued);
        place.enter(ledger, SLOTS[0]);
        place.set_phase(ledger, Phase::Reading);
        let seen = RequestView {
            child: 9,
            start: 77,
            group: 5,
            slot: SLOTS[0].head,
            phase: Phase::Reading,
            method: b"GET".to_vec(),
            path: long[..128].to_vec(),
            virtual_host: b"example.com".to_vec(),
            port: 443,
            id: b"abc".to_vec(),
        };
        assert_eq!(views(ledger), [seen]);
        place.free(ledger);
        assert!(views(ledger).is_empty());
        let again = Place::claim(ledger, &PARTS, 8, 3).unwrap();
        assert!(views(ledger).is_empty(), "the one before is forgotten");
        again.publish(ledger, &facts(b"/next"), Phase::Running);
        let next = &views(ledger)[0];
        assert_eq!((next.child, next.slot, &*next.path), (8, 0, &b"/next"[..]));
        let other = RequestFacts { method: Method::Other, other_method: b"PROPFIND", ..facts(b"/") };
        again.publish(ledger, &other, Phase::Running);
        assert_eq!(views(ledger)[0].method, b"PROPFIND");
    }

    fn begin(ledger: Ledger<'_>, pid: u32, number: usize, path: &[u8]) -> Place {
        let place = Place::claim(ledger, &PARTS, pid, number).unwrap();
        place.publish(ledger, &facts(path), Phase::Running);
        place
    }

    fn active(ledger: Ledger<'_>, slot: SlotRow) -> u64 {
        slot.active(&|index| ledger.load(index)).0
    }

    #[test]
    fn what_a_dead_process_had_is_cleared_and_taken_back() {
        let words = memory();
        let ledger = Ledger::new(&words);
        begin(ledger, 9, 0, b"/a").enter(ledger, SLOTS[1]);
        begin(ledger, 8, 1, b"/b").enter(ledger, SLOTS[1]);
        begin(ledger, 9, 4, b"/c");
        let _unwritten = Place::claim(ledger, &PARTS, 9, 2).unwrap();
        assert_eq!(active(ledger, SLOTS[1]), 2);
        let lost: Vec<_> = clear(&PARTS, ledger, 9).into_iter().map(|lost| lost.path).collect();
        assert_eq!(lost, [b"/a".to_vec(), b"/c".to_vec()]);
        assert_eq!((active(ledger, SLOTS[1]), active(ledger, SLOTS[0])), (1, 0));
        assert_eq!(views(ledger).len(), 1);
        assert_eq!(
            [0, 2, 4].map(|first| Place::claim(ledger, &PARTS, 7, first).map(|place| place.number)),
            [Some(0), Some(2), Some(4)]
        );
    }

    #[test]
    fn a_process_may_die_at_any_moment_of_a_count() {
        let slot = SLOTS[1];
        for moment in 0..4 {
            let words = memory();
            let ledger = Ledger::new(&words);
            let other = begin(ledger, 8, 1, b"/other");
            other.enter(ledger, slot);
            let place = begin(ledger, 9, 0, b"/");
            let note_change = || ledger.store(place.row + SLOT, slot.head as u64 | CHANGING);
            match moment {
                0 => note_change(),
                1 => {
                    note_change();
                    slot.begin(ledger);
                }
                2 => place.enter(ledger, slot),
                _ => {
                    place.enter(ledger, slot);
                    note_change();
                    slot.end(ledger);
                }
            }
            assert_eq!(clear(&PARTS, ledger, 9).len(), 1);
            assert_eq!(active(ledger, slot), 1, "moment {moment}");
            other.leave(ledger, slot);
            assert_eq!(active(ledger, slot), 0);
        }
    }

    #[test]
    fn numbers_of_active_requests_settle_while_they_change() {
        let words = memory();
        let ledger = Ledger::new(&words);
        let (wrong, right) = (SLOTS[0], SLOTS[1]);
        wrong.end(ledger);
        assert_eq!(active(ledger, wrong), 0);
        let is_over = AtomicBool::new(false);
        std::thread::scope(|scope| {
            for pid in [8, 9] {
                let is_over = &is_over;
                scope.spawn(move || {
                    for _ in 0..20_000 {
                        let place = Place::claim(ledger, &PARTS, pid, 0).unwrap();
                        place.enter(ledger, right);
                        place.leave(ledger, right);
                        place.free(ledger);
                    }
                    is_over.store(true, Ordering::Relaxed);
                });
            }
            // (Once at least: the others may be done before this one has a processor.)
            loop {
                settle(&PARTS, ledger, SLOTS);
                if is_over.load(Ordering::Relaxed) {
                    break;
                }
            }
        });
        assert_eq!(SLOTS.map(|slot| slot.version(ledger).1), [0, 0]);
        begin(ledger, 8, 1, b"/").enter(ledger, wrong);
        assert_eq!(active(ledger, wrong), 1);
    }

    #[test]
    fn a_description_is_read_as_a_whole() {
        let words = memory();
        let ledger = Ledger::new(&words);
        let is_over = AtomicBool::new(false);
        std::thread::scope(|scope| {
            scope.spawn(|| {
                for round in 0..20_000_u32 {
                    let place = Place::claim(ledger, &PARTS, 9, 0).unwrap();
                    let letter = b'a' + (round % 26) as u8;
                    let text = vec![letter; 1 + round as usize % 100];
                    place.publish(ledger, &RequestFacts { id: &text[..1], ..facts(&text) }, Phase::Running);
                    place.free(ledger);
                }
                is_over.store(true, Ordering::Relaxed);
            });
            while !is_over.load(Ordering::Relaxed) {
                for view in views(ledger) {
                    assert!(view.path.iter().all(|byte| *byte == view.id[0]), "{view:?}");
                }
            }
        });
    }
}
