//! The directory of a ledger: which rows belong to whom. The parent keeps it for the life of the
//! server.

use std::collections::HashMap;

use super::{EventRing, GroupRow, RequestRows, SlotRow, align, group, slot};

/// The places of everything in a ledger.
#[derive(Debug, Clone)]
pub struct Directory {
    shards: usize,
    /// The number of words that are in use.
    end: usize,
    embedded: GroupRows,
    groups: HashMap<Box<[u8]>, GroupRows>,
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

/// The rows that a configuration needs.
#[derive(Debug, Clone, Copy)]
pub struct Wanted<'a> {
    /// The names of the process groups, and their numbers of slots.
    pub groups: &'a [(&'a [u8], usize)],
    /// The number of Apache's children.
    pub places: usize,
    /// The number of requests under way.
    pub requests: usize,
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
            groups: HashMap::new(),
            requests: Vec::new(),
            events: EventRing { start: 0 },
        };
        directory.events.start = directory.take(EventRing::WORDS);
        directory.embedded.group = GroupRow { head: directory.take(group::HEAD), body: 0 };
        directory.embedded.group.body = directory.take(group::body(shards));
        directory
    }

    /// Adds the rows that a configuration needs and that there are not yet. (Those of groups that have
    /// gone stay, in case they come back.)
    ///
    /// Heads lie side by side, so that who reads them all touches little memory.
    pub fn arrange(&mut self, wanted: &Wanted<'_>) {
        let mut new = Vec::new();
        for (name, _) in wanted.groups {
            if !self.groups.contains_key(*name) {
                let head = self.take(group::HEAD);
                let rows = GroupRows { group: GroupRow { head, body: 0 }, slots: Vec::new() };
                self.groups.insert((*name).into(), rows);
                new.push(*name);
            }
        }
        let mut embedded = std::mem::take(&mut self.embedded);
        let first_place = embedded.slots.len();
        embedded.slots.resize_with(wanted.places.max(first_place), || self.slot_head());
        let mut grown = Vec::new();
        for (name, count) in wanted.groups {
            let Some(mut rows) = self.groups.remove(*name) else { continue };
            let before = rows.slots.len();
            rows.slots.resize_with((*count).max(before), || self.slot_head());
            grown.push((*name, before));
            self.groups.insert((*name).into(), rows);
        }
        let body = group::body(self.shards);
        for name in new {
            let place = self.take(body);
            if let Some(rows) = self.groups.get_mut(name) {
                rows.group.body = place;
            }
        }
        for row in &mut embedded.slots[first_place..] {
            row.body = self.take(slot::body(self.shards));
        }
        self.embedded = embedded;
        for (name, before) in grown {
            let Some(mut rows) = self.groups.remove(name) else { continue };
            for row in &mut rows.slots[before..] {
                row.body = self.take(slot::body(self.shards));
            }
            self.groups.insert(name.into(), rows);
        }
        let more = wanted.requests.saturating_sub(self.requests.iter().map(|part| part.count).sum());
        if more > 0 {
            let (bits, rows) = RequestRows::words(more);
            let used = self.take(bits);
            let part = RequestRows { used, rows: self.take(rows), count: more };
            self.requests.push(part);
        }
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
    pub fn group(&self, name: &[u8]) -> Option<&GroupRows> {
        self.groups.get(name)
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

    fn slot_head(&mut self) -> SlotRow {
        SlotRow { head: self.take(slot::HEAD), body: 0 }
    }

    fn take(&mut self, words: usize) -> usize {
        let place = self.end;
        self.end += align(words);
        place
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn wanted<'a>(groups: &'a [(&'a [u8], usize)]) -> Wanted<'a> {
        Wanted { groups, places: 4, requests: 100 }
    }

    /// Returns the extents of all that there is.
    fn extents(directory: &Directory) -> Vec<(usize, usize)> {
        let shards = directory.shards;
        let mut all = vec![(directory.events.start, EventRing::WORDS)];
        for rows in directory.groups.values().chain([&directory.embedded]) {
            all.extend([(rows.group.head, group::HEAD), (rows.group.body, group::body(shards))]);
            for row in &rows.slots {
                all.extend([(row.head, slot::HEAD), (row.body, slot::body(shards))]);
            }
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

    #[test]
    fn rows_do_not_overlap_and_stay_over_restarts() {
        let mut directory = Directory::new(3);
        directory.arrange(&wanted(&[(b"a", 2), (b"b", 1)]));
        check(&directory);
        let (a, b, embedded) = (
            directory.groups[&b"a"[..]].clone(),
            directory.groups[&b"b"[..]].clone(),
            directory.embedded.clone(),
        );
        assert_eq!((a.slots.len(), b.slots.len(), embedded.slots.len()), (2, 1, 4));
        let words = directory.words();
        directory.arrange(&wanted(&[(b"b", 1), (b"a", 1)]));
        assert_eq!(directory.words(), words, "all is there");
        directory.arrange(&Wanted { groups: &[(b"c", 1), (b"a", 5)], places: 9, requests: 160 });
        check(&directory);
        let grown = &directory.groups[&b"a"[..]];
        assert_eq!((grown.group, &grown.slots[..2], grown.slots.len()), (a.group, &a.slots[..], 5));
        assert_eq!(directory.group(b"b"), Some(&b), "it may come back");
        assert_eq!(directory.embedded().slots[..4], embedded.slots);
        assert_eq!(directory.requests().iter().map(|part| part.count).collect::<Vec<_>>(), [100, 60]);
        assert_eq!(directory.group(b"d"), None);
    }
}
