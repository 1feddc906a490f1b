//! The directory of a ledger: which rows belong to whom. The parent keeps it for the life of the
//! server.

use super::tenants::Tenants;
use super::{EventRing, GroupKey, GroupRow, Ledger, Reading, RequestRows, SlotRow, align, group, slot};

/// The places of everything in a ledger.
#[derive(Debug, Clone)]
pub struct Directory {
    shards: usize,
    /// The number of words that are in use.
    end: usize,
    embedded: GroupRows,
    groups: Tenants<GroupRows>,
    /// Rows that nobody has, all 0.
    free: FreeRows,
    requests: Vec<RequestRows>,
    events: EventRing,
}

/// The rows of a process group, or of embedded mode.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct GroupRows {
    /// The row of the group.
    pub group: GroupRow,
    /// Those of its slots, or of the places of Apache's children.
    pub slots: Vec<SlotRow>,
}

#[derive(Debug, Clone, Default)]
struct FreeRows {
    groups: Vec<GroupRow>,
    slots: Vec<SlotRow>,
}

/// The rows that a configuration needs.
#[derive(Debug, Clone, Copy)]
pub struct Wanted<'a> {
    /// The process groups, and their numbers of slots.
    pub groups: &'a [(GroupKey, usize)],
    /// The number of Apache's children.
    pub places: usize,
    /// The number of requests under way.
    pub requests: usize,
    /// The reading of the configuration.
    pub reading: Reading,
}

/// The words at the beginning of a ledger that nobody uses: a place of 0 is none.
const RESERVED: usize = align(1);

impl Directory {
    /// Returns a directory without rows for a ledger with so many shards.
    #[must_use]
    pub fn new(shards: usize) -> Self {
        let mut directory = Self {
            shards,
            end: RESERVED,
            embedded: GroupRows::default(),
            groups: Tenants::default(),
            free: FreeRows::default(),
            requests: Vec::new(),
            events: EventRing { start: 0 },
        };
        directory.events.start = directory.take(EventRing::WORDS);
        directory.embedded.group = GroupRow { head: directory.take(group::HEAD), body: 0 };
        directory.embedded.group.body = directory.take(group::body(shards));
        directory
    }

    /// Adds the rows that a configuration needs and that there are not yet. Groups that have gone
    /// keep theirs, in case they come back, until others need them; these are cleared in `ledger`.
    pub fn arrange(&mut self, wanted: &Wanted<'_>, ledger: Ledger<'_>) {
        let (mut groups, mut slots) = (0, wanted.places.saturating_sub(self.embedded.slots.len()));
        for (key, count) in wanted.groups {
            let rows = &self.groups.admit(key, wanted.reading).rows;
            groups += usize::from(rows.group.head == 0);
            slots += count.saturating_sub(rows.slots.len());
        }
        self.provide(groups, slots, wanted.reading, ledger);
        let places = wanted.places.max(self.embedded.slots.len());
        self.embedded.slots.resize_with(places, || self.free.slots.pop().unwrap_or_default());
        for (key, count) in wanted.groups {
            let rows = &mut self.groups.admit(key, wanted.reading).rows;
            if rows.group.head == 0 {
                rows.group = self.free.groups.pop().unwrap_or_default();
            }
            let slots = (*count).max(rows.slots.len());
            rows.slots.resize_with(slots, || self.free.slots.pop().unwrap_or_default());
        }
        let more = wanted.requests.saturating_sub(self.requests.iter().map(|part| part.count).sum());
        if more > 0 {
            let (bits, rows) = RequestRows::words(more);
            let used = self.take(bits);
            let part = RequestRows { used, rows: self.take(rows), count: more };
            self.requests.push(part);
        }
    }

    /// Makes so many rows free, those of groups that have gone first.
    ///
    /// Heads lie side by side, so that who reads them all touches little memory.
    fn provide(&mut self, groups: usize, slots: usize, reading: Reading, ledger: Ledger<'_>) {
        while (self.free.groups.len() < groups || self.free.slots.len() < slots)
            && let Some(rows) = self.groups.evict(reading)
        {
            if rows.group.head != 0 {
                rows.group.clear(ledger, self.shards);
                self.free.groups.push(rows.group);
            }
            rows.slots.iter().for_each(|row| row.clear(ledger, self.shards));
            self.free.slots.extend(rows.slots);
        }
        let groups = groups.saturating_sub(self.free.groups.len());
        let slots = slots.saturating_sub(self.free.slots.len());
        let group_heads: Vec<_> = (0..groups).map(|_| self.take(group::HEAD)).collect();
        let slot_heads: Vec<_> = (0..slots).map(|_| self.take(slot::HEAD)).collect();
        for head in group_heads {
            let body = self.take(group::body(self.shards));
            self.free.groups.push(GroupRow { head, body });
        }
        for head in slot_heads {
            let body = self.take(slot::body(self.shards));
            self.free.slots.push(SlotRow { head, body });
        }
        // The first is taken first.
        self.free.groups.sort_by_key(|row| std::cmp::Reverse(row.head));
        self.free.slots.sort_by_key(|row| std::cmp::Reverse(row.head));
    }

    /// Returns the number of words that the ledger needs.
    #[must_use]
    pub const fn words(&self) -> usize {
        self.end
    }

    /// Returns the number of shards.
    #[must_use]
    pub const fn shards(&self) -> usize {
        self.shards
    }

    /// Returns the rows of embedded mode.
    #[must_use]
    pub const fn embedded(&self) -> &GroupRows {
        &self.embedded
    }

    /// Returns the rows of a process group; perhaps more than it has slots now.
    #[must_use]
    pub fn group(&self, key: &GroupKey) -> Option<&GroupRows> {
        self.groups.get(key).map(|tenant| &tenant.rows)
    }

    /// Returns the process groups that have rows, also those that have gone.
    pub fn groups(&self) -> impl Iterator<Item = (&GroupKey, &GroupRows)> {
        self.groups.iter()
    }

    /// Returns the rows of requests.
    #[must_use]
    pub fn requests(&self) -> &[RequestRows] {
        &self.requests
    }

    /// Returns the ring of events.
    #[must_use]
    pub const fn events(&self) -> EventRing {
        self.events
    }

    fn take(&mut self, words: usize) -> usize {
        let place = self.end;
        self.end += align(words);
        place
    }
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::AtomicU64;

    use super::*;
    use crate::ledger::{Combination, EndedRequest, Method};

    fn key(name: &str) -> GroupKey {
        GroupKey { name: name.as_bytes().into(), ..GroupKey::default() }
    }

    /// Arranges groups, given by their names and numbers of slots, for a reading.
    fn arrange(directory: &mut Directory, groups: &[(&str, usize)], reading: (u64, u64), ledger: Ledger<'_>) {
        let groups: Vec<_> = groups.iter().map(|(name, slots)| (key(name), *slots)).collect();
        let reading = Reading { number: reading.0, oldest: reading.1 };
        directory.arrange(&Wanted { groups: &groups, places: 4, requests: 100, reading }, ledger);
        check(directory);
    }

    /// Returns the extents of all that there is.
    fn extents(directory: &Directory) -> Vec<(usize, usize)> {
        let shards = directory.shards;
        let mut all = vec![(directory.events.start, EventRing::WORDS)];
        let rows = directory.groups.iter().map(|(_, rows)| rows).chain([&directory.embedded]);
        let (groups, slots): (Vec<_>, Vec<_>) = rows.map(|rows| (rows.group, rows.slots.clone())).unzip();
        for row in groups.iter().chain(&directory.free.groups) {
            all.extend([(row.head, group::HEAD), (row.body, group::body(shards))]);
        }
        for row in slots.iter().flatten().chain(&directory.free.slots) {
            all.extend([(row.head, slot::HEAD), (row.body, slot::body(shards))]);
        }
        for part in &directory.requests {
            let (bits, rows) = RequestRows::words(part.count);
            all.extend([(part.used, bits), (part.rows, rows)]);
        }
        all.sort_unstable();
        all
    }

    fn check(directory: &Directory) {
        let all = extents(directory);
        assert!(all[0].0 >= RESERVED);
        for pair in all.windows(2) {
            assert!(pair[0].0 + pair[0].1 <= pair[1].0, "{pair:?}");
            assert_eq!(pair[1].0 % 8, 0, "lines of the cache");
        }
        let (start, length) = all[all.len() - 1];
        assert!(start + length <= directory.words());
    }

    const NO_WORDS: Ledger<'static> = Ledger::new(&[]);

    #[test]
    fn rows_do_not_overlap_and_stay_over_restarts() {
        let mut directory = Directory::new(3);
        arrange(&mut directory, &[("a", 2), ("b", 1)], (1, 1), NO_WORDS);
        let rows = |directory: &Directory, name: &str| directory.group(&key(name)).cloned();
        let (a, b) = (rows(&directory, "a").expect("rows"), rows(&directory, "b").expect("rows"));
        let embedded = directory.embedded.clone();
        assert_eq!((a.slots.len(), b.slots.len(), embedded.slots.len()), (2, 1, 4));
        let words = directory.words();
        arrange(&mut directory, &[("b", 1), ("a", 1)], (2, 1), NO_WORDS);
        assert_eq!(directory.words(), words, "all is there");
        let wanted = [(key("c"), 1), (key("a"), 5)];
        let reading = Reading { number: 3, oldest: 1 };
        directory.arrange(&Wanted { groups: &wanted, places: 9, requests: 160, reading }, NO_WORDS);
        check(&directory);
        let grown = rows(&directory, "a").expect("rows");
        assert_eq!((grown.group, &grown.slots[..2], grown.slots.len()), (a.group, &a.slots[..], 5));
        assert_eq!(rows(&directory, "b"), Some(b), "it may come back");
        assert_eq!(directory.embedded().slots[..4], embedded.slots);
        assert_eq!(directory.requests().iter().map(|part| part.count).collect::<Vec<_>>(), [100, 60]);
        assert_eq!(rows(&directory, "d"), None);
    }

    #[test]
    fn a_group_of_another_host_has_rows_of_its_own() {
        let mut directory = Directory::new(1);
        let of_host = |host: &str| GroupKey { host: host.as_bytes().into(), ..key("a") };
        for (number, host) in [(1, "one"), (2, "two")] {
            let groups = [(of_host(host), 1)];
            let reading = Reading { number, oldest: 1 };
            directory.arrange(&Wanted { groups: &groups, places: 1, requests: 1, reading }, NO_WORDS);
        }
        check(&directory);
        assert_ne!(directory.group(&of_host("one")), directory.group(&of_host("two")));
    }

    #[test]
    fn rows_of_groups_that_have_gone_are_used_again_when_no_process_knows_them() {
        let mut directory = Directory::new(2);
        let words: Vec<_> = (0..200_000).map(|_| AtomicU64::new(0)).collect();
        let ledger = Ledger::new(&words);
        let read = |index: usize| ledger.load(index);
        arrange(&mut directory, &[("a", 2)], (1, 1), ledger);
        let a = directory.group(&key("a")).expect("rows").clone();
        let request = Combination { method: Method::Get, status: 200, is_https: false };
        a.group.count_ended(ledger, 1, request, 5);
        a.slots[1].count_ended(ledger, 1, &EndedRequest { bytes_in: 7, ..EndedRequest::default() });
        a.slots[1].begin(ledger);
        arrange(&mut directory, &[("b", 2)], (2, 1), ledger);
        assert_eq!(directory.group(&key("a")), Some(&a), "a process of the first reading counts there");
        let full = directory.words();
        arrange(&mut directory, &[("b", 2)], (3, 3), ledger);
        assert_eq!(directory.group(&key("a")), Some(&a), "nobody needs its rows");
        arrange(&mut directory, &[("b", 1), ("c", 2)], (4, 3), ledger);
        let c = directory.group(&key("c")).expect("rows").clone();
        assert_eq!((directory.words(), directory.group(&key("a"))), (full, None));
        assert_eq!(c, a);
        assert!(c.group.ended(&read, 2).is_empty());
        assert!(c.slots.iter().all(|row| row.traffic(&read, 2).is_none() && row.active(&read) == (0, 0)));
        for number in 5..50 {
            let name = format!("new{number}");
            arrange(&mut directory, &[(&name, 2)], (number, number - 1), ledger);
        }
        assert!(directory.words() <= full + 2 * (group::body(2) + slot::body(2) + 100), "it is bounded");
    }
}
