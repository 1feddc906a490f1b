//! The tallies and events of process groups: see [`wsgi_core::tallies`].
//!
//! The parent makes the file, and keeps it over restarts with the directory of its rows. Supervisors
//! get its descriptor; children have it mapped by inheritance, for reading only.

use std::io;
use std::os::fd::OwnedFd;
use std::sync::{Mutex, OnceLock};

use httpd::{Level, Server, ServerInfo};
use os::descriptors;
use os::lock::lock;
use os::shared::{LongWords, ReadOnlyLongWords};
use wsgi_core::ledger::{GroupKey, Ledger};
use wsgi_core::tallies::{TallyDirectory, TallyRow};

use crate::virtual_hosts::VirtualHosts;
use crate::{Wsgi, log, readings};

/// The file as the parent keeps it. Children take the words, and leave nothing.
struct Keeper {
    /// For supervisors.
    file: OwnedFd,
    /// The same for reading.
    reader: OwnedFd,
    words: ReadOnlyLongWords,
    directory: TallyDirectory,
}

// The parent's; it is kept over restarts, so that tallies are.
static KEEPER: Mutex<Option<Keeper>> = Mutex::new(None);

// Set in a child only: the parent's statics survive its reading of the configuration again.
static CHILD: OnceLock<Option<ReadOnlyLongWords>> = OnceLock::new();

/// Prepares the rows for a configuration, in the parent, before it forks children. (Without process
/// groups, there is a file for the exporter.)
pub(crate) fn prepare(server: &Server, info: &ServerInfo) {
    let Some(global) = server.global::<Wsgi>() else { return };
    if !info.is_starting() {
        return;
    }
    let mut keeper = lock(&KEEPER);
    let mut directory =
        keeper.as_mut().map(|keeper| std::mem::take(&mut keeper.directory)).unwrap_or_default();
    let former =
        directory.arrange(&super::keys(server, global, &VirtualHosts::of(server)), readings::current());
    match Keeper::arrange(keeper.take(), directory, &former) {
        Ok(arranged) => *keeper = Some(arranged),
        Err(error) => {
            let text = format!(
                "there is no shared memory ({error}): the status of the server shows neither crashes nor restarts of \
                 daemon processes. Allow the server more memory, open files and larger files (ulimit -v, -n, -f)"
            );
            log::server(server, Level::Warn, text);
        }
    }
}

impl Keeper {
    fn arrange(former: Option<Self>, directory: TallyDirectory, cleared: &[TallyRow]) -> io::Result<Self> {
        let count = directory.words();
        let (file, reader) = match former {
            Some(Self { file, reader, .. }) => (file, reader),
            None => {
                let file = LongWords::create_for_writers(c"mod_wsgi tallies", count)?;
                // Without /proc, a child could make its mapping a writable one.
                let reader = descriptors::reopen_for_reading(&file).or_else(|_| file.try_clone())?;
                (file, reader)
            }
        };
        LongWords::lengthen(&file, count)?;
        if !cleared.is_empty() {
            let words = LongWords::map(&file, count)?;
            cleared.iter().for_each(|row| row.clear(Ledger::new(words.as_slice())));
        }
        let words = ReadOnlyLongWords::map(&reader, count)?;
        Ok(Self { file, reader, words, directory })
    }
}

/// The tallies of a group.
#[derive(Debug, Default)]
pub(crate) struct GroupTallies {
    /// The number by which events name the group; 0 if there is no file.
    pub(crate) number: u64,
    /// The rows of its slots; none if there is no file.
    pub(crate) rows: Vec<u32>,
    /// The rows of slots that it had before.
    pub(crate) former: Vec<u32>,
}

/// Returns the tallies of a group that has so many slots, in the parent.
pub(crate) fn of_group(key: &GroupKey, slots: usize) -> GroupTallies {
    let keeper = lock(&KEEPER);
    let Some(directory) = keeper.as_ref().map(|keeper| &keeper.directory) else {
        return GroupTallies::default();
    };
    let mut rows = directory.rows(key).iter().map(|row| row.0);
    GroupTallies {
        number: directory.number(key),
        rows: rows.by_ref().take(slots).collect(),
        former: rows.collect(),
    }
}

/// Returns the descriptor for a supervisor, in the parent; `None` if there is no file.
pub(super) fn file() -> Option<OwnedFd> {
    lock(&KEEPER).as_ref().and_then(|keeper| keeper.file.try_clone().ok())
}

/// Returns a descriptor for a program that reads, in the parent; `None` if there is no file.
pub(crate) fn for_reader() -> Option<OwnedFd> {
    lock(&KEEPER).as_ref().and_then(|keeper| keeper.reader.try_clone().ok())
}

/// Makes this child a reader.
pub(super) fn become_child() {
    CHILD.get_or_init(|| lock(&KEEPER).take().map(|keeper| keeper.words));
}

/// Returns a word of the file, in a child; 0 if there is none.
pub(crate) fn word(index: usize) -> u64 {
    CHILD.get().and_then(Option::as_ref).map_or(0, |words| words.load(index))
}
