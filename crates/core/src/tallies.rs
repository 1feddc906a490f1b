//! Tallies: what became of the processes of each slot, and the last events of process groups, in
//! words of 64 bits.
//!
//! Supervisors write them, each for the slots of its generation; all processes of Apache may read
//! them. Like the ledger, the file lives as long as the server: counters only grow, and a group gets
//! its rows again after a restart ([`TallyDirectory`]), unless another one has needed them.

use std::sync::atomic::Ordering;

use crate::ledger::{EventRing, GroupKey, Ledger, Read, Reading, Tenants};
use crate::wire::Reason;

/// The end of a process, or of an attempt to have one.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Tally {
    /// It was replaced, or told to end.
    Ended(Reason),
    /// A signal that nobody of ours has sent has ended it.
    Crashed(u8),
    /// It has exited by itself, with a status other than 0.
    Exited,
    /// A successor did not become ready.
    FailedReload,
    /// A process could not be started, or ended before it was ready.
    FailedStart,
    /// A request has held its thread for too long, as its process says.
    Stuck,
}

/// The number of signals that are told apart; the first counts all that have a larger number.
const SIGNALS: usize = 32;

/// The words of a row.
const ENDED: usize = 0;
const CRASHED: usize = ENDED + Reason::ALL.len();
const EXITED: usize = CRASHED + SIGNALS;
const FAILED_RELOADS: usize = EXITED + 1;
const FAILED_STARTS: usize = FAILED_RELOADS + 1;
const STUCK: usize = FAILED_STARTS + 1;
const ROW: usize = (STUCK + 1).next_multiple_of(8);

/// The ring of the events of process groups.
pub const EVENTS: EventRing = EventRing { start: 0 };

impl Tally {
    const fn word(self) -> usize {
        match self {
            Self::Ended(reason) => ENDED + reason.number() as usize,
            Self::Crashed(signal) if (signal as usize) < SIGNALS => CRASHED + signal as usize,
            Self::Crashed(_) => CRASHED,
            Self::Exited => EXITED,
            Self::FailedReload => FAILED_RELOADS,
            Self::FailedStart => FAILED_STARTS,
            Self::Stuck => STUCK,
        }
    }
}

/// The place of the tallies of a slot.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct TallyRow(pub u32);

/// The tallies of a slot.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Tallies {
    /// Processes that were replaced or told to end.
    pub ended: Vec<(Reason, u64)>,
    /// Processes that a signal has ended; 0 stands for those that are not told apart.
    pub crashed: Vec<(u8, u64)>,
    /// Processes that have exited by themselves, with a status other than 0.
    pub exits: u64,
    /// Successors that did not become ready.
    pub failed_reloads: u64,
    /// Processes that could not be started, or ended before they were ready.
    pub failed_starts: u64,
    /// Requests that have held their threads for too long, as the processes say.
    pub stuck: u64,
}

impl TallyRow {
    /// Counts as many.
    pub fn count(self, words: Ledger<'_>, tally: Tally, count: u32) {
        if let Some(word) = words.word(self.0 as usize + tally.word()) {
            word.fetch_add(count.into(), Ordering::Relaxed);
        }
    }

    /// Sets all counts to 0.
    pub fn clear(self, words: Ledger<'_>) {
        let start = self.0 as usize;
        (start..start + ROW).filter_map(|index| words.word(index)).for_each(|word| {
            word.store(0, Ordering::Relaxed);
        });
    }

    /// Returns what was counted, without what never happened.
    #[must_use]
    pub fn tallies(self, read: Read<'_>) -> Tallies {
        let count = |tally: Tally| read(self.0 as usize + tally.word());
        let reasons = Reason::ALL.iter().map(|reason| (*reason, count(Tally::Ended(*reason))));
        let signals = (0..SIGNALS as u8).map(|signal| (signal, count(Tally::Crashed(signal))));
        Tallies {
            ended: reasons.filter(|(_, count)| *count > 0).collect(),
            crashed: signals.filter(|(_, count)| *count > 0).collect(),
            exits: count(Tally::Exited),
            failed_reloads: count(Tally::FailedReload),
            failed_starts: count(Tally::FailedStart),
            stuck: count(Tally::Stuck),
        }
    }
}

/// Returns the number of words up to the end of the last of these rows, and of the events.
#[must_use]
pub fn words_for(rows: &[TallyRow]) -> usize {
    rows.iter().map(|row| row.0 as usize + ROW).fold(EventRing::WORDS, usize::max)
}

/// The rows that groups have. The parent keeps it for the life of the server.
#[derive(Debug, Default)]
pub struct TallyDirectory {
    groups: Tenants<Vec<TallyRow>>,
    /// Rows that nobody has, all 0.
    free: Vec<TallyRow>,
    count: usize,
}

impl TallyDirectory {
    /// Gives the groups that a reading of the configuration has rows for their slots. Returns those
    /// that are to be cleared first ([`TallyRow::clear`]): groups that have gone had them.
    #[must_use]
    pub fn arrange(&mut self, groups: &[(GroupKey, usize)], reading: Reading) -> Vec<TallyRow> {
        let missing = |rows: &Vec<TallyRow>, slots: usize| slots.saturating_sub(rows.len());
        let needed: usize =
            groups.iter().map(|(key, slots)| missing(&self.groups.admit(key, reading).rows, *slots)).sum();
        let mut former = Vec::new();
        while self.free.len() < needed
            && let Some(rows) = self.groups.evict(reading)
        {
            former.extend_from_slice(&rows);
            self.free.extend(rows);
        }
        for (key, slots) in groups {
            let rows = &mut self.groups.admit(key, reading).rows;
            for _ in 0..missing(rows, *slots) {
                rows.push(self.free.pop().unwrap_or_else(|| {
                    let place = EventRing::WORDS + self.count * ROW;
                    self.count += 1;
                    TallyRow(u32::try_from(place).unwrap_or(u32::MAX))
                }));
            }
        }
        former
    }

    /// Returns the rows of a group: those of the slots that it has, then of those that it had.
    #[must_use]
    pub fn rows(&self, key: &GroupKey) -> &[TallyRow] {
        self.groups.get(key).map_or(&[], |tenant| &tenant.rows)
    }

    /// Returns the number by which events name a group; 0 if there is no such group.
    #[must_use]
    pub fn number(&self, key: &GroupKey) -> u64 {
        self.groups.get(key).map_or(0, |tenant| tenant.number)
    }

    /// Returns the number of words that the events and all rows need.
    #[must_use]
    pub const fn words(&self) -> usize {
        EventRing::WORDS + self.count * ROW
    }
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::AtomicU64;

    use super::*;

    fn key(name: &str) -> GroupKey {
        GroupKey { name: name.as_bytes().into(), ..GroupKey::default() }
    }

    #[test]
    fn what_is_counted_is_read() {
        let mut directory = TallyDirectory::default();
        assert!(directory.arrange(&[(key("shop"), 2)], Reading { number: 1, oldest: 1 }).is_empty());
        let rows = directory.rows(&key("shop")).to_vec();
        let words: Vec<_> = (0..directory.words()).map(|_| AtomicU64::new(0)).collect();
        let words = Ledger::new(&words);
        let read = |index: usize| words.load(index);
        assert_eq!(rows[0].tallies(&read), Tallies::default());
        let all = Reason::ALL.iter().map(|reason| Tally::Ended(*reason));
        let all = all.chain([9, 11, 64].map(Tally::Crashed));
        for tally in all.chain([Tally::Exited, Tally::FailedReload, Tally::FailedStart, Tally::FailedStart]) {
            rows[1].count(words, tally, 1);
        }
        rows[1].count(words, Tally::Stuck, 7);
        let expected = Tallies {
            ended: Reason::ALL.iter().map(|reason| (*reason, 1)).collect(),
            crashed: vec![(0, 1), (9, 1), (11, 1)],
            exits: 1,
            failed_reloads: 1,
            failed_starts: 2,
            stuck: 7,
        };
        assert_eq!(rows[1].tallies(&read), expected);
        assert_eq!(rows[0].tallies(&read), Tallies::default(), "of another slot");
        rows[1].clear(words);
        assert_eq!(rows[1].tallies(&read), Tallies::default());
    }

    #[test]
    fn rows_stay_over_restarts() {
        let mut directory = TallyDirectory::default();
        let arrange = |directory: &mut TallyDirectory, groups: &[(&str, usize)], number, oldest| {
            let groups: Vec<_> = groups.iter().map(|(name, slots)| (key(name), *slots)).collect();
            directory.arrange(&groups, Reading { number, oldest })
        };
        assert!(arrange(&mut directory, &[("a", 2), ("b", 1)], 1, 1).is_empty());
        let (a, b) = (directory.rows(&key("a")).to_vec(), directory.rows(&key("b")).to_vec());
        let words = directory.words();
        assert!(arrange(&mut directory, &[("b", 1)], 2, 1).is_empty());
        assert_eq!((directory.rows(&key("b")), directory.words()), (&*b, words), "all is there");
        assert!(arrange(&mut directory, &[("a", 4)], 3, 1).is_empty());
        let grown = directory.rows(&key("a")).to_vec();
        assert_eq!((&grown[..2], directory.words() - words), (&*a, 2 * ROW));
        assert_eq!(words_for(&grown), directory.words());
        assert_eq!(words_for(&[]), EventRing::WORDS);
        let mut all: Vec<_> = grown.iter().chain(&b).map(|row| row.0 as usize).collect();
        all.sort_unstable();
        assert!(all.windows(2).all(|pair| pair[1] - pair[0] >= ROW) && all[0] >= EventRing::WORDS);
        let words = directory.words();
        assert_eq!(arrange(&mut directory, &[("a", 1), ("c", 1)], 4, 3), b, "nobody uses them");
        assert_eq!((directory.rows(&key("c")), directory.rows(&key("b"))), (&*b, &[][..]));
        assert_eq!((directory.rows(&key("a")), directory.words()), (&*grown, words));
        let numbers = ["a", "b", "c"].map(|name| directory.number(&key(name)));
        assert_eq!(numbers, [1, 0, 3], "each has its own");
    }
}
