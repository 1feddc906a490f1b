//! The daemon processes of one reading of the configuration. The parent makes this before it forks
//! its children, which inherit it.
//!
//! For each process of a group there is a *slot*: a channel through which connections are passed to
//! whichever process holds the slot, and a page on which that process publishes how busy it is.
//! There are no socket files: a process that has not inherited a channel cannot connect.

use std::ffi::CStr;
use std::io;
use std::ops::Range;
use std::os::fd::OwnedFd;
use std::sync::{Arc, Mutex, MutexGuard};

use os::descriptors::{self, Kind, Wait};
use os::lock::lock;
use os::shared::{ReadOnlyWords, Words};
use os::snapshot::SnapshotWriter;
use wsgi_core::wire::board::{self, State, page, slot};
use wsgi_core::wire::channel;

use super::supervision::Supervision;
use super::tallies;
use crate::installation::Installation;
use crate::tracing::{ExporterFiles, Tracer};

/// The slots of all groups, and the means to reach their processes.
#[derive(Debug)]
pub(crate) struct Generation {
    /// The groups, in configuration order.
    groups: Vec<GroupSlots>,
    slots: Vec<Slot>,
    /// The board on which the supervisor publishes the states of the slots.
    board: ReadOnlyWords,
    /// The snapshot in which children publish the scoreboard, if a group is to see it.
    snapshot: Option<SnapshotWriter>,
    /// The tracer of the children, if there is an exporter.
    tracer: Option<Tracer>,
    /// The part that only the parent has; `None` in its children.
    parent: Mutex<Option<Parent>>,
    /// The process that made this.
    maker: u32,
}

/// The slots of a group.
#[derive(Debug)]
struct GroupSlots {
    name: Box<[u8]>,
    range: Range<usize>,
}

#[derive(Debug)]
struct Slot {
    channel: OwnedFd,
    page: ReadOnlyWords,
}

/// The data that the supervisor is given, kept so that it can be started again.
#[derive(Debug)]
pub(super) struct Parent {
    /// The parent's end of the control socket.
    pub(super) control: Option<OwnedFd>,
    /// The process id of the supervisor, while one runs.
    pub(super) supervisor: Option<i32>,
    /// The file with the `wire::launch::LaunchPlan`.
    pub(super) message: OwnedFd,
    pub(super) board: OwnedFd,
    /// The board again, for the word that the parent writes.
    words: Words,
    /// The history of the supervisors.
    pub(super) supervision: Supervision,
    /// The files that processes are started from.
    pub(super) installation: Arc<Installation>,
    /// Error logs of the groups.
    pub(super) logs: Vec<OwnedFd>,
    /// For each slot, the daemon's end of the channel and its page.
    pub(super) ends: Vec<(OwnedFd, OwnedFd)>,
    /// The file of the snapshot, for its readers.
    pub(super) snapshot: Option<OwnedFd>,
    /// The descriptors of the exporter of OpenTelemetry, if there is one.
    pub(super) exporter: Option<ExporterFiles>,
    /// The file of the tallies.
    pub(super) tallies: Option<OwnedFd>,
}

impl Parent {
    /// Tells the children whether there is a supervisor, or one is about to be started.
    pub(super) fn publish_supervision(&self, is_supervised: bool) {
        let word = if is_supervised { 0 } else { board::UNSUPERVISED };
        self.words.store(board::supervision(self.ends.len()), word);
    }
}

/// The generation that serves requests; in the parent, the one that new children get.
static CURRENT: Mutex<Option<Arc<Generation>>> = Mutex::new(None);

/// Returns the generation of this process, or `None` if there are no daemon processes.
pub(crate) fn current() -> Option<Arc<Generation>> {
    lock(&CURRENT).clone()
}

impl Generation {
    /// Makes the slots of the groups, given by their names and numbers of processes, and a snapshot
    /// for so many bytes if one is needed.
    pub(super) fn new(
        groups: impl Iterator<Item = (Box<[u8]>, u32)>,
        message: &[u8],
        logs: Vec<OwnedFd>,
        snapshot: Option<usize>,
        installation: Arc<Installation>,
    ) -> io::Result<Self> {
        let mut next = 0;
        let groups: Vec<_> = groups
            .map(|(name, count)| {
                let range = next..next + count as usize;
                next = range.end;
                GroupSlots { name, range }
            })
            .collect();
        let (mut slots, mut ends) = (Vec::with_capacity(next), Vec::with_capacity(next));
        for _ in 0..next {
            let (channel, far) = descriptors::pair(Kind::Sequence)?;
            // The parent closes the channel in the end: nothing sent to it may delay that.
            descriptors::make_send_only(&channel)?;
            let (file, page) = shared_words(c"mod_wsgi page", page::WORDS)?;
            slots.push(Slot { channel, page });
            ends.push((far, file));
        }
        let (board_file, words) = Words::create(c"mod_wsgi board", board::words(next))?;
        let board = ReadOnlyWords::map(&board_file, board::words(next))?;
        let snapshot =
            snapshot.map(|capacity| SnapshotWriter::create(c"mod_wsgi scoreboard", capacity)).transpose()?;
        let (bulletin_file, snapshot) = snapshot.unzip();
        let message = os::message::file(c"mod_wsgi launch", message)?;
        let parent = Parent {
            control: None,
            supervisor: None,
            message,
            board: board_file,
            words,
            supervision: Supervision::default(),
            installation,
            logs,
            ends,
            snapshot: bulletin_file,
            exporter: None,
            // The launch plan has rows if there are slots.
            tallies: tallies::file().filter(|_| next > 0),
        };
        Ok(Self {
            groups,
            slots,
            board,
            snapshot,
            tracer: None,
            parent: Mutex::new(Some(parent)),
            maker: std::process::id(),
        })
    }

    /// Adds what OpenTelemetry needs.
    pub(super) fn with_telemetry(mut self, exporter: ExporterFiles, tracer: Tracer) -> Self {
        self.tracer = Some(tracer);
        if let Some(parent) = &mut *lock(&self.parent) {
            parent.exporter = Some(exporter);
        }
        self
    }

    /// Returns the tracer of the children.
    pub(super) const fn tracer(&self) -> Option<&Tracer> {
        self.tracer.as_ref()
    }

    /// Returns the slots of the group `name`, or `None` if there is no such group.
    pub(super) fn slots_of(&self, name: &[u8]) -> Option<Range<usize>> {
        self.groups.iter().find(|group| *group.name == *name).map(|group| group.range.clone())
    }

    /// Returns the number of slots.
    pub(super) fn slot_count(&self) -> usize {
        self.slots.len()
    }

    /// Returns the number of requests that run or wait in the process of a slot, as it reports
    /// itself.
    pub(super) fn busy(&self, index: usize) -> u32 {
        self.slots.get(index).map_or(u32::MAX, |slot| page::sum(|word| slot.page.load(word)))
    }

    /// Returns a word of the board.
    pub(super) fn board_word(&self, index: usize) -> u32 {
        self.board.load(index)
    }

    /// Returns the state of a slot, as the supervisor reports it.
    pub(super) fn state(&self, index: usize) -> State {
        State::from_word(self.board.load(index * slot::WORDS + slot::STATE))
    }

    /// Returns whether the process that serves in a slot could not import a script that the
    /// configuration names.
    pub(super) fn lacks_import(&self, index: usize) -> bool {
        self.board.load(index * slot::WORDS + slot::LACKS_IMPORT) != 0
    }

    /// Returns whether there is no supervisor and none can be started. No process will take waiting
    /// requests then.
    pub(super) fn is_unsupervised(&self) -> bool {
        self.board.load(board::supervision(self.slots.len())) == board::UNSUPERVISED
    }

    /// Returns the wait status of the process `pid` of a slot, or `None` if it is not one of the
    /// last that ended.
    pub(super) fn exit_status(&self, index: usize, pid: u32) -> Option<u32> {
        let start = index * slot::WORDS + slot::EXIT;
        let entries = (0..slot::EXITS).map(|entry| start + 2 * entry);
        let mut found = entries.filter(|&at| pid != 0 && self.board.load(at) == pid);
        found.next().map(|at| self.board.load(at + 1))
    }

    /// Returns the snapshot for the scoreboard, or `None` if it is not published.
    pub(super) fn snapshot(&self) -> Option<&SnapshotWriter> {
        self.snapshot.as_ref()
    }

    /// Passes `socket` to the process of a slot.
    ///
    /// # Errors
    /// [`io::ErrorKind::WouldBlock`] if too many wait already.
    pub(super) fn pass(&self, index: usize, socket: &OwnedFd) -> io::Result<()> {
        use std::os::fd::AsFd;
        let slot = self.slots.get(index).ok_or(io::ErrorKind::NotFound)?;
        let message = channel::CONNECTION;
        descriptors::send_with(&slot.channel, message, &[socket.as_fd()], Wait::Never).map(|_| ())
    }

    /// Tells the supervisor that all processes of a group are busy, through the channel of a
    /// dormant slot, unless it knows. `first` is the first slot of the group.
    pub(super) fn report_busy(&self, first: usize, dormant: usize) {
        let is_watched = self.board.load(first * slot::WORDS + slot::IS_WATCHED) != 0;
        if let Some(slot) = self.slots.get(dormant).filter(|_| !is_watched) {
            // The next request says so again.
            let _ = descriptors::send_with(&slot.channel, channel::BUSY, &[], Wait::Never);
        }
    }

    /// Locks the part that only the parent has.
    pub(super) fn parent(&self) -> MutexGuard<'_, Option<Parent>> {
        lock(&self.parent)
    }
}

/// Makes `generation` the current one of the parent, until the guard is dropped.
pub(super) fn install(generation: Generation) -> (Arc<Generation>, GenerationGuard) {
    let generation = Arc::new(generation);
    *lock(&CURRENT) = Some(Arc::clone(&generation));
    (Arc::clone(&generation), GenerationGuard(generation))
}

/// Drops the parent's part, in a child. Otherwise the supervisor would not notice the parent's
/// death, nor would the processes notice the end of the last child. (With `httpd -X` the only child
/// is the parent.)
pub(crate) fn become_child() {
    if let Some(generation) = current()
        && generation.maker != std::process::id()
    {
        *generation.parent() = None;
    }
}

/// Ends a generation when dropped. Its processes finish their requests when the last child that
/// knows them has gone.
#[derive(Debug)]
pub(super) struct GenerationGuard(Arc<Generation>);

impl Drop for GenerationGuard {
    fn drop(&mut self) {
        // Children drop it too, when they end.
        if self.0.maker != std::process::id() {
            return;
        }
        if let Some(parent) = self.0.parent().take()
            && let Some(control) = parent.control
        {
            // No generation follows that would report what this one has done last.
            let message = if httpd::is_exiting() { b"E" } else { b"R" };
            // This fails if the supervisor has gone, which is just as well.
            let _ = descriptors::send_with(&control, message, &[], Wait::Never);
        }
        let mut current = lock(&CURRENT);
        if current.as_ref().is_some_and(|current| Arc::ptr_eq(current, &self.0)) {
            *current = None;
        }
    }
}

/// Makes words that another process writes and this one reads.
fn shared_words(name: &CStr, count: usize) -> io::Result<(OwnedFd, ReadOnlyWords)> {
    let (file, _) = os::shared::Words::create(name, count)?;
    let words = ReadOnlyWords::map(&file, count)?;
    Ok((file, words))
}
