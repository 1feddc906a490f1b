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
use wsgi_core::tallies::TallyDirectory;

use crate::{Wsgi, log};

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
    for group in &global.daemons {
        directory.rows(&group.name, group.options.process_count() as usize);
    }
    match Keeper::arrange(keeper.take(), directory) {
        Ok(arranged) => *keeper = Some(arranged),
        Err(error) => {
            let text = format!(
                "there is no shared memory ({error}): the status of the server shows neither crashes nor restarts of \
                 daemon processes. Allow the server more memory and open files"
            );
            log::server(server, Level::Warn, text);
        }
    }
}

impl Keeper {
    fn arrange(former: Option<Self>, directory: TallyDirectory) -> io::Result<Self> {
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
        let words = ReadOnlyLongWords::map(&reader, count)?;
        Ok(Self { file, reader, words, directory })
    }
}

/// Returns the rows of the slots of a group, in the parent; none if there is no file.
pub(crate) fn rows(group: &[u8], slots: usize) -> Vec<u32> {
    let mut keeper = lock(&KEEPER);
    let rows = keeper.as_mut().map(|keeper| keeper.directory.rows(group, slots));
    rows.unwrap_or_default().iter().map(|row| row.0).collect()
}

/// Returns the rows of slots beyond so many, which a group had before, in the parent.
pub(crate) fn former_rows(group: &[u8], slots: usize) -> Vec<u32> {
    let keeper = lock(&KEEPER);
    let rows = keeper.as_ref().map(|keeper| keeper.directory.former_rows(group, slots));
    rows.unwrap_or_default().iter().map(|row| row.0).collect()
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
