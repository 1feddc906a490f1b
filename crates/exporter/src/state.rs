//! The state of the server, as shared memory has it.

use std::io;
use std::os::fd::OwnedFd;

use os::shared::{ReadOnlyLongWords, ReadOnlyWords};
use status::layout::GroupLayout;
use status::{Layout, Snapshot, Source};
use wsgi_core::tallies;
use wsgi_core::wire::board;

/// More than any layout.
const LONGEST_LAYOUT: u64 = 1 << 28;

/// The memory from which the state is read.
#[derive(Debug)]
pub(crate) struct ServerState {
    layout: Layout,
    ledger: ReadOnlyLongWords,
    board: ReadOnlyWords,
    tallies: ReadOnlyLongWords,
}

impl ServerState {
    /// Maps what is to be read.
    ///
    /// # Errors
    /// It is not what it should be, or the system refuses.
    pub(crate) fn map([layout, ledger, board, tallies]: [&OwnedFd; 4]) -> io::Result<Self> {
        let layout = Layout::from_bytes(&os::message::read(layout, LONGEST_LAYOUT)?)
            .map_err(|error| io::Error::new(io::ErrorKind::InvalidData, error))?;
        let ledger = ReadOnlyLongWords::map(ledger, layout.words)?;
        let board = ReadOnlyWords::map(board, board::words(layout.slots))?;
        let rows: Vec<_> = layout.groups.iter().flat_map(GroupLayout::tallies).collect();
        let tallies = ReadOnlyLongWords::map(tallies, tallies::words_for(&rows))?;
        Ok(Self { layout, ledger, board, tallies })
    }

    /// Returns the time at which the server was started, in nanoseconds since the epoch.
    pub(crate) fn started(&self) -> u64 {
        (self.layout.server.started * 1e9) as u64
    }

    /// Returns the state at a time, in nanoseconds since the epoch.
    pub(crate) fn snapshot(&self, now: u64) -> Snapshot {
        status::collect(&Source {
            layout: &self.layout,
            now: now / 1_000,
            ledger: &|index| self.ledger.load(index),
            board: &|index| self.board.load(index),
            tallies: &|index| self.tallies.load(index),
            usage: &os::usage::of_process,
        })
    }
}
