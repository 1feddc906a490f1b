//! The ledger of this server: see [`wsgi_core::ledger`].
//!
//! The parent makes it, and keeps it over restarts with the directory of its rows. Children have the
//! words by inheritance, and the rows of the configuration that they were started with. Whatever a
//! child leaves behind when it dies, the parent clears.

mod entry;
mod layout;

use std::cell::Cell;
use std::os::fd::OwnedFd;
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Arc, Mutex, OnceLock};
use std::thread;

use httpd::{Level, Server, ServerInfo};
use os::lock::lock;
use os::shared::LongWords;
use status::layout::{GroupLayout, Layout};
use status::{Snapshot, Source};
use wsgi_core::codes::REQUEST_LOST;
use wsgi_core::ledger::{
    self, Cause, Directory, EventKind, GroupRow, Ledger, LedgerEvent, More, RequestRows, RequestView, SlotRow,
};

use crate::virtual_hosts::VirtualHosts;
use crate::{daemon, log, tracing};

pub(crate) use entry::Entry;

/// The ledger as the parent keeps it. Children take it, and leave none.
struct Keeper {
    file: OwnedFd,
    words: LongWords,
    directory: Directory,
    /// The time of the server's start, in microseconds since the epoch.
    started: i64,
    layout: Arc<Layout>,
    hosts: VirtualHosts,
}

// The parent's; it is kept over restarts, so that counters are.
static KEEPER: Mutex<Option<Keeper>> = Mutex::new(None);

/// The ledger as a child uses it.
struct ChildLedger {
    words: LongWords,
    layout: Arc<Layout>,
    hosts: VirtualHosts,
    embedded: GroupRow,
    /// The place of this child in embedded mode.
    place: Option<SlotRow>,
    /// The rows of all slots of daemon processes, each with that of its group.
    slots: Vec<(GroupRow, SlotRow)>,
    requests: Vec<RequestRows>,
    shards: usize,
    process: u32,
    /// The number of threads of this child that have had requests.
    threads: AtomicU32,
    /// The row that the first of them tries first.
    first_row: usize,
    /// The time in microseconds from which on a request is slow; more than any if none is.
    slow_after: u64,
}

// Set in a child only: the parent's statics survive its reading of the configuration again.
static CHILD: OnceLock<Option<ChildLedger>> = OnceLock::new();

thread_local! {
    // The row that this thread tries first for its requests. No destructor, see `httpd::guard`.
    static ROW: Cell<Option<usize>> = const { Cell::new(None) };
}

/// Prepares the ledger for a configuration, in the parent, before it forks children.
pub(crate) fn prepare(server: &Server, info: &ServerInfo) {
    if !info.is_starting() {
        return;
    }
    // All children have it from here, and agree about the starts of processes.
    os::usage::boot_time();
    let mut keeper = lock(&KEEPER);
    let arranged = match keeper.take() {
        Some(former) => former.arrange(server, info),
        None => Keeper::new(server, info),
    };
    match arranged {
        Ok(arranged) => *keeper = Some(arranged),
        Err(error) => {
            let text = format!(
                "there is no shared memory ({error}): requests are not counted, and the status of the server has no \
                 figures. Allow the server more memory, open files and larger files (ulimit -v, -n, -f)"
            );
            log::server(server, Level::Warn, text);
        }
    }
}

impl Keeper {
    fn new(server: &Server, info: &ServerInfo) -> std::io::Result<Self> {
        let processors = thread::available_parallelism().map_or(1, usize::from);
        let mut directory = Directory::new(ledger::shards(processors));
        let started = os::clock::microseconds();
        let hosts = VirtualHosts::of(server);
        let layout = layout::arrange(&mut directory, Ledger::new(&[]), server, info, &hosts, started);
        let (file, words) = LongWords::create(c"mod_wsgi ledger", directory.words())?;
        Ok(Self { file, words, directory, started, layout: Arc::new(layout), hosts })
    }

    fn arrange(self, server: &Server, info: &ServerInfo) -> std::io::Result<Self> {
        let Self { file, words, mut directory, started, .. } = self;
        let hosts = VirtualHosts::of(server);
        let ledger = Ledger::new(words.as_slice());
        let layout = layout::arrange(&mut directory, ledger, server, info, &hosts, started);
        // (Without room, what lies beyond the end is not counted.)
        let words = words.grow(&file, directory.words()).unwrap_or_else(|(words, error)| {
            let text = format!(
                "the shared memory cannot grow ({error}): requests of new process groups are not counted. Allow the \
                 server more memory and larger files (ulimit -v, -f)"
            );
            log::server(server, Level::Warn, text);
            words
        });
        Ok(Self { file, words, directory, started, layout: Arc::new(layout), hosts })
    }
}

/// Returns the file of the ledger, open for reading only, and the layout as bytes, in the parent;
/// `None` if there is no ledger.
pub(crate) fn for_reader() -> Option<(OwnedFd, Vec<u8>)> {
    let keeper = lock(&KEEPER);
    let keeper = keeper.as_ref()?;
    let file = os::descriptors::reopen_for_reading(&keeper.file).ok()?;
    Some((file, keeper.layout.to_bytes()))
}

/// Makes this child a user of the ledger, and claims a place of embedded mode for it.
pub(crate) fn child_init() {
    CHILD.get_or_init(|| lock(&KEEPER).take().map(ChildLedger::new));
}

impl ChildLedger {
    fn new(keeper: Keeper) -> Self {
        let Keeper { words, layout, hosts, .. } = keeper;
        let process = std::process::id();
        let of_mode = |mode| layout.groups.iter().filter(move |group| group.mode == mode);
        let slots = of_mode(status::snapshot::Mode::Daemon)
            .flat_map(|group| group.slots().map(|slot| (group.row(), slot)))
            .collect();
        let embedded = of_mode(status::snapshot::Mode::Embedded).next();
        let places: Vec<_> = embedded.map(|group| group.slots().collect()).unwrap_or_default();
        let ledger = Ledger::new(words.as_slice());
        let claimed = places.iter().position(|place| place.claim(ledger, process));
        let number = claimed.unwrap_or(process as usize % places.len().max(1));
        let threads = embedded.map_or(1, |group| group.threads as usize);
        Self {
            embedded: embedded.map(GroupLayout::row).unwrap_or_default(),
            place: places.get(number).copied(),
            slots,
            requests: layout.requests(),
            shards: layout.shards.max(1),
            process,
            threads: AtomicU32::new(0),
            first_row: number * layout::ROWS_PER_THREAD * threads,
            slow_after: microseconds(layout.server.slow_after),
            words,
            layout,
            hosts,
        }
    }

    /// Returns the words. A copy of the child, which an application has forked, has none: its requests
    /// are the child's, which counts them, and may end them first.
    #[inline]
    fn ledger(&self) -> Ledger<'_> {
        Ledger::new(if os::fork::is_copy() { &[] } else { self.words.as_slice() })
    }

    /// Returns the row that this thread tries first for its requests.
    #[inline]
    fn row(&self) -> usize {
        ROW.get().unwrap_or_else(|| {
            let row = self.first_row + self.threads.fetch_add(1, Ordering::Relaxed) as usize;
            // (There may be any number of threads, one after the other.)
            let row = row % ledger::count(&self.requests).max(1);
            ROW.set(Some(row));
            row
        })
    }

    /// Returns the shard to count in: that of the processor, which has its lines at hand.
    #[inline]
    fn shard(&self) -> usize {
        let processor = os::thread::processor();
        if processor < self.shards { processor } else { processor % self.shards }
    }
}

/// Returns the state of the server, in a child; `None` if there is no shared memory.
pub(crate) fn snapshot() -> Option<Snapshot> {
    let child = CHILD.get()?.as_ref()?;
    let ledger = child.ledger();
    let mut snapshot = status::collect(&Source {
        layout: &child.layout,
        now: now(),
        ledger: &|index| ledger.load(index),
        board: &daemon::board_word,
        tallies: &daemon::tallies::word,
        usage: &os::usage::of_process,
    });
    snapshot.server.dropped_spans = tracing::dropped_spans();
    Some(snapshot)
}

/// Returns the name by which the status knows a server, in a child: empty for the main one.
pub(crate) fn virtual_host(server: &Server) -> String {
    let child = CHILD.get().and_then(Option::as_ref);
    child.map(|child| child.hosts.text(server)).unwrap_or_default()
}

/// Records that Python could not be started in this child.
pub(crate) fn on_failed_start(text: &str) {
    record(EventKind::FailedStart, text.as_bytes(), &[]);
}

/// Records that a script could not be imported in this child, with the traceback.
pub(crate) fn on_failed_import(text: &[u8], detail: &[u8]) {
    record(EventKind::FailedImport, text, detail);
}

/// Counts requests that have held threads of this child for too long, and records one of them, with
/// the stack of its thread, if there is a line about it.
pub(crate) fn on_stuck(count: u32, text: &[u8], detail: &[u8]) {
    let Some(Some(child)) = CHILD.get() else { return };
    child.embedded.count_more(child.ledger(), child.shard(), More::Stuck, count);
    if !text.is_empty() {
        record(EventKind::Stuck, text, detail);
    }
}

fn record(kind: EventKind, text: &[u8], detail: &[u8]) {
    let Some(Some(child)) = CHILD.get() else { return };
    child.layout.events().record(
        child.ledger(),
        &LedgerEvent {
            time: now(),
            kind,
            number: 0,
            group: Vec::new(),
            pid: child.process,
            text: text.to_vec(),
            detail: detail.to_vec(),
        },
    );
}

/// Appends the counts of all groups to their history, in the parent.
pub(crate) fn monitor() {
    let keeper = lock(&KEEPER);
    let Some(keeper) = &*keeper else { return };
    let ledger = Ledger::new(keeper.words.as_slice());
    let samples = status::collect::samples(&Source {
        layout: &keeper.layout,
        now: now(),
        ledger: &|index| ledger.load(index),
        board: &|_| 0,
        tallies: &|_| 0,
        usage: &|_| None,
    });
    for (index, sample) in samples {
        keeper.layout.groups[index].row().append(ledger, &sample);
    }
    let slots = keeper.layout.groups.iter().flat_map(|group| group.slots().chain(group.former_slots()));
    ledger::settle(keeper.directory.requests(), ledger, slots);
}

/// Clears what a child has left that has ended, in the parent: its place, and its requests, which are
/// lost.
pub(crate) fn child_ended(server: &Server, process: u32) {
    let keeper = lock(&KEEPER);
    let Some(keeper) = &*keeper else { return };
    let ledger = Ledger::new(keeper.words.as_slice());
    for place in &keeper.directory.embedded().slots {
        place.free(ledger, process);
    }
    let lost = ledger::clear(keeper.directory.requests(), ledger, process);
    let mut of_embedded = Vec::new();
    for request in &lost {
        let embedded = keeper.directory.embedded().group;
        let is_embedded = request.group == embedded.head;
        // The configuration may have the group no longer.
        let mut groups = keeper.directory.groups();
        let (name, group) = if is_embedded {
            ("embedded mode".into(), Some(embedded))
        } else {
            let found = groups.find(|(_, rows)| rows.group.head == request.group);
            let name = found.map(|(key, _)| String::from_utf8_lossy(&key.name));
            (name.unwrap_or_default(), found.map(|(_, rows)| rows.group))
        };
        let text = lost_request(process, &name, request);
        if httpd::is_stopping() {
            log::server(server, Level::Info, format!("{REQUEST_LOST}: {text}"));
        } else {
            log::server_message(server, REQUEST_LOST, &text);
        }
        let cause = if is_embedded { Cause::ProcessDied } else { Cause::ChildDied };
        if let Some(group) = group {
            group.count_rejected(ledger, 0, cause);
        }
        if is_embedded {
            of_embedded.push(text);
        }
    }
    if let Some(first) = of_embedded.first() {
        keeper.directory.events().record(
            ledger,
            &LedgerEvent {
                time: now(),
                kind: EventKind::Crash,
                number: 0,
                group: Vec::new(),
                pid: process,
                text: first.as_bytes().to_vec(),
                detail: of_embedded[1..].join("\n").into_bytes(),
            },
        );
    }
}

/// Describes a request that was lost with its child.
fn lost_request(process: u32, place: &str, request: &RequestView) -> String {
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    let host = match &*request.virtual_host {
        [] => String::new(),
        name => format!(" to {}:{}", text(name), request.port),
    };
    let age = now().saturating_sub(request.start) as f64 / 1e6;
    format!(
        "Apache's child {process} has ended with a request under way: {} {}{host} ({place}), {age:.1} s after it came",
        text(&request.method),
        text(&request.path),
    )
}

/// Returns in microseconds the time from which on a request is slow; more than any if none is.
fn microseconds(slow_after: f64) -> u64 {
    // (What is more than all numbers becomes the largest.)
    if slow_after > 0.0 { (slow_after * 1e6) as u64 } else { u64::MAX }
}

/// Returns the time in microseconds since the epoch.
fn now() -> u64 {
    os::clock::nanoseconds() / 1000
}
