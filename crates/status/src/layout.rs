//! The parts of a server, as its configuration says: the names of what is counted, and where in
//! the ledger and on the board it is counted.
//!
//! Apache's parent makes it for each reading of the configuration. Its children have it by
//! inheritance, other programs of ours as JSON ([`Layout::to_bytes`]).

use serde::{Deserialize, Serialize};
use wsgi_core::ledger::{Directory, EventRing, GroupRow, GroupRows, RequestRows, SlotRow};

use wsgi_core::tallies::TallyRow;

use crate::snapshot::{Mode, Server};

/// The parts of a server.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct Layout {
    /// The server as a whole.
    pub server: Server,
    /// Problems of the configuration, one line each.
    pub warnings: Vec<String>,
    /// Embedded mode, then the process groups, in the order of the configuration.
    pub groups: Vec<GroupLayout>,
    /// True if the configuration has Python run in Apache's children.
    pub uses_embedded: bool,
    /// The number of slots of all groups together.
    pub slots: usize,
    /// The number of words of the ledger.
    pub words: usize,
    /// The number of its shards.
    pub shards: usize,
    /// Its rows of requests: the place of the bits, that of the rows, and the number of rows.
    pub requests: Vec<[usize; 3]>,
    /// The place of its events.
    pub events: usize,
}

/// A process group, or embedded mode.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct GroupLayout {
    /// Its name; empty for embedded mode.
    pub name: String,
    /// The number by which events name it; 0 for embedded mode.
    pub number: u64,
    /// Its mode.
    pub mode: Mode,
    /// The virtual host that has defined it, as `name:port`; empty for the main server.
    pub virtual_host: String,
    /// The user that its processes run as.
    pub user: String,
    /// The version of Python, such as `3.11`; empty if it is not known.
    pub python: String,
    /// The scripts that the configuration mounts there.
    pub scripts: Vec<String>,
    /// The threads of each process.
    pub threads: u32,
    /// The least number of processes.
    pub least_processes: u32,
    /// The largest number of processes.
    pub most_processes: u32,
    /// The number of its first slot among those of all groups.
    pub first_slot: usize,
    /// Head and body of its row.
    pub row: [usize; 2],
    /// Heads and bodies of the rows of its slots, or of the places of Apache's children.
    pub slots: Vec<[usize; 2]>,
    /// The rows of the tallies of its slots; none in embedded mode.
    pub tallies: Vec<u32>,
    /// Heads and bodies of the rows of slots that it has no longer: their counts stay the group's.
    pub former_slots: Vec<[usize; 2]>,
    /// The rows of their tallies.
    pub former_tallies: Vec<u32>,
}

impl Layout {
    /// Takes the places of everything in the ledger from its directory.
    pub fn place(&mut self, directory: &Directory) {
        self.words = directory.words();
        self.shards = directory.shards();
        self.events = directory.events().start;
        self.requests = directory.requests().iter().map(|part| [part.used, part.rows, part.count]).collect();
    }

    /// Returns the rows of requests.
    #[must_use]
    pub fn requests(&self) -> Vec<RequestRows> {
        self.requests.iter().map(|&[used, rows, count]| RequestRows { used, rows, count }).collect()
    }

    /// Returns the ring of events.
    #[must_use]
    pub const fn events(&self) -> EventRing {
        EventRing { start: self.events }
    }

    /// Returns the layout as JSON.
    #[must_use]
    pub fn to_bytes(&self) -> Vec<u8> {
        // Plain data, with texts as keys.
        serde_json::to_vec(self).unwrap_or_default()
    }

    /// Returns the layout that was written as JSON.
    ///
    /// # Errors
    /// It is something else.
    pub fn from_bytes(bytes: &[u8]) -> Result<Self, serde_json::Error> {
        serde_json::from_slice(bytes)
    }
}

impl GroupLayout {
    /// Takes as many rows as the group has slots from the directory.
    pub fn place(&mut self, rows: &GroupRows, slots: usize) {
        self.row = [rows.group.head, rows.group.body];
        let mut rows = rows.slots.iter().map(|row| [row.head, row.body]);
        self.slots = rows.by_ref().take(slots).collect();
        self.former_slots = rows.collect();
    }

    /// Returns its row.
    #[must_use]
    pub const fn row(&self) -> GroupRow {
        GroupRow { head: self.row[0], body: self.row[1] }
    }

    /// Returns the rows of the tallies of its slots, and of those that it has no longer.
    pub fn tallies(&self) -> impl Iterator<Item = TallyRow> + '_ {
        self.tallies.iter().chain(&self.former_tallies).map(|row| TallyRow(*row))
    }

    /// Returns the rows of slots that it has no longer.
    pub fn former_slots(&self) -> impl Iterator<Item = SlotRow> + '_ {
        self.former_slots.iter().map(|&[head, body]| SlotRow { head, body })
    }

    /// Returns the rows of its slots, or of the places of Apache's children.
    pub fn slots(&self) -> impl ExactSizeIterator<Item = SlotRow> + '_ {
        self.slots.iter().map(|&[head, body]| SlotRow { head, body })
    }
}

/// Gives a group rows in a directory with three places of children.
#[cfg(test)]
pub(crate) fn arrange_for_tests(
    directory: &mut Directory,
    name: &str,
    slots: usize,
) -> wsgi_core::ledger::GroupKey {
    use wsgi_core::ledger::{GroupKey, Ledger, Reading, Wanted};

    let key = GroupKey { name: name.as_bytes().into(), ..GroupKey::default() };
    let groups = [(key.clone(), slots)];
    let reading = Reading { number: 1, oldest: 1 };
    directory.arrange(&Wanted { groups: &groups, places: 3, requests: 70, reading }, Ledger::new(&[]));
    key
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_layout_comes_back() {
        let mut directory = Directory::new(2);
        let key = arrange_for_tests(&mut directory, "shop", 3);
        let mut group = GroupLayout { name: "shop".to_owned(), ..GroupLayout::default() };
        group.place(directory.group(&key).expect("it was arranged"), 2);
        let mut layout = Layout { groups: vec![group], ..Layout::default() };
        layout.place(&directory);
        assert_eq!(Layout::from_bytes(&layout.to_bytes()).expect("its own"), layout);
        assert_eq!(layout.groups[0].slots().len(), 2);
        assert_eq!(layout.requests(), directory.requests());
        assert_eq!(layout.events(), directory.events());
        assert!(Layout::from_bytes(b"{}").is_err());
    }
}
