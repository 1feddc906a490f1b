//! Collects the state of a server from shared memory.

use std::collections::HashMap;

use wsgi_core::ledger::{
    self, BUCKETS, Cause, HistorySample, Part, Phase as LedgerPhase, Read, RequestView, SlotRow,
};
use wsgi_core::wire::board::{self, slot};

use crate::layout::{GroupLayout, Layout};
use crate::snapshot::{
    Ended, Event, EventKind, Group, Mode, Phase, Process, Request, SCHEMA, Sample, State, Times,
};
use crate::{Histogram, Snapshot};

/// Where the state of a server is found.
pub struct Source<'a> {
    /// What the server consists of.
    pub layout: &'a Layout,
    /// The time, in microseconds since the epoch.
    pub now: u64,
    /// The words of the ledger.
    pub ledger: Read<'a>,
    /// The words of the board; 0 for all that there are not.
    pub board: &'a dyn Fn(usize) -> u32,
    /// What the system says of a process; `None` if it says nothing.
    pub usage: &'a dyn Fn(u32) -> Option<os::usage::OtherProcess>,
}

/// Returns the state of a server.
#[must_use]
pub fn collect(source: &Source<'_>) -> Snapshot {
    let layout = source.layout;
    let mut requests = UnderWay::read(source);
    let groups = layout.groups.iter().enumerate().filter_map(|(index, group)| {
        let collected = self::group(source, group, requests.of_group(index));
        let is_used = group.mode == Mode::Daemon || layout.uses_embedded || is_touched(&collected);
        is_used.then_some(collected)
    });
    Snapshot {
        schema: SCHEMA,
        time: seconds(source.now),
        server: layout.server.clone(),
        groups: groups.collect(),
        events: embedded_events(source),
        warnings: layout.warnings.clone(),
    }
}

/// Returns whether a group has ever had requests.
fn is_touched(group: &Group) -> bool {
    !(group.http.is_empty() && group.rejections.is_empty() && group.requests.is_empty())
}

/// The requests under way, by the index of their group.
struct UnderWay(HashMap<usize, Vec<RequestView>>);

impl UnderWay {
    fn read(source: &Source<'_>) -> Self {
        let heads: HashMap<_, _> =
            source.layout.groups.iter().enumerate().map(|(index, group)| (group.row().head, index)).collect();
        let mut by_group: HashMap<usize, Vec<RequestView>> = HashMap::new();
        for part in source.layout.requests() {
            for view in part.views(source.ledger) {
                if let Some(index) = heads.get(&view.group) {
                    by_group.entry(*index).or_default().push(view);
                }
            }
        }
        by_group.values_mut().for_each(|views| views.sort_by_key(|view| view.start));
        Self(by_group)
    }

    fn of_group(&mut self, index: usize) -> Vec<RequestView> {
        self.0.remove(&index).unwrap_or_default()
    }
}

fn group(source: &Source<'_>, layout: &GroupLayout, views: Vec<RequestView>) -> Group {
    let (read, shards) = (source.ledger, source.layout.shards);
    let http = layout.row().ended(read, shards).into_iter().map(|(method, status_class, total)| Ended {
        method: method.name().to_owned(),
        status_class,
        duration: histogram(&total),
    });
    let processes: Vec<_> = layout
        .slots()
        .enumerate()
        .filter_map(|(index, row)| match layout.mode {
            Mode::Daemon => Some(daemon_process(source, layout, index, row)),
            Mode::Embedded => embedded_process(source, layout, index, row),
        })
        .collect();
    let without_slot = views.iter().filter(|view| view.slot == 0).count() as u64;
    Group {
        name: layout.name.clone(),
        mode: layout.mode,
        virtual_host: layout.virtual_host.clone(),
        user: layout.user.clone(),
        python: layout.python.clone(),
        scripts: layout.scripts.clone(),
        threads: layout.threads,
        least_processes: layout.least_processes,
        most_processes: layout.most_processes,
        http: http.collect(),
        rejections: layout.row().rejected(read, shards).into_iter().map(named).collect(),
        requests: requests(source, layout, &processes, views),
        queued: without_slot + processes.iter().map(|process| process.queued).sum::<u64>(),
        processes,
        history: layout.row().samples(read).iter().map(sample).collect(),
    }
}

fn named((cause, count): (Cause, u64)) -> (String, u64) {
    (cause.name().to_owned(), count)
}

fn daemon_process(source: &Source<'_>, layout: &GroupLayout, index: usize, row: SlotRow) -> Process {
    let word = |word: usize| (source.board)((layout.first_slot + index) * slot::WORDS + word);
    let state = match board::State::from_word(word(slot::STATE)) {
        board::State::Starting => State::Starting,
        board::State::Serving => State::Serving,
        board::State::Failing => State::Failing,
        board::State::Dormant => State::Dormant,
        board::State::Cut => State::Cut,
    };
    Process {
        state,
        lacks_import: word(slot::LACKS_IMPORT) != 0,
        ..process(source, layout, index, row, word(slot::PID))
    }
}

/// Returns the child that has a place, or the counts of those that had it; `None` if nobody ever had.
fn embedded_process(
    source: &Source<'_>,
    layout: &GroupLayout,
    index: usize,
    row: SlotRow,
) -> Option<Process> {
    let owner = row.owner(source.ledger);
    let state = if owner == 0 { State::Dormant } else { State::Serving };
    let process = Process { state, ..process(source, layout, index, row, owner) };
    (owner != 0 || process.ended != [0; 5]).then_some(process)
}

fn process(source: &Source<'_>, layout: &GroupLayout, index: usize, row: SlotRow, pid: u32) -> Process {
    let threads = u64::from(layout.threads);
    let (active, peak) = row.active(source.ledger);
    let usage = if pid == 0 { None } else { (source.usage)(pid) }.unwrap_or_default();
    let mut process = Process {
        slot: u32::try_from(index).unwrap_or(u32::MAX),
        pid,
        started: usage.started,
        cpu: usage.cpu.as_secs_f64(),
        resident: usage.resident,
        busy: active.min(threads),
        queued: active.saturating_sub(threads),
        peak_busy: peak.min(threads),
        peak_queued: peak.saturating_sub(threads),
        ..Process::default()
    };
    if let Some(traffic) = row.traffic(source.ledger, source.layout.shards) {
        process.ended = traffic.ended;
        (process.bytes_in, process.bytes_out) = (traffic.bytes_in, traffic.bytes_out);
        let time = |part: Part| histogram(&traffic.times[part as usize]);
        process.times = Times {
            queue: time(Part::Queue),
            lock_wait: time(Part::LockWait),
            application: time(Part::Application),
            reading: time(Part::Reading),
            writing: time(Part::Writing),
        };
    }
    process
}

/// Returns the requests of a group, the oldest first.
fn requests(
    source: &Source<'_>,
    layout: &GroupLayout,
    processes: &[Process],
    views: Vec<RequestView>,
) -> Vec<Request> {
    let slots: HashMap<_, _> = layout.slots().enumerate().map(|(index, row)| (row.head, index)).collect();
    let pids: HashMap<_, _> = processes.iter().map(|process| (process.slot, process.pid)).collect();
    let mut running: HashMap<usize, u32> = HashMap::new();
    let described = views.into_iter().map(|view| {
        let slot = slots.get(&view.slot).and_then(|index| u32::try_from(*index).ok());
        let mut phase = match view.phase {
            LedgerPhase::Queued => Phase::Queued,
            LedgerPhase::Running => Phase::Running,
            LedgerPhase::Reading => Phase::Reading,
            LedgerPhase::Writing => Phase::Writing,
        };
        // A child does not learn when a thread of the process takes its request. So the requests
        // beyond the number of threads are taken for those that wait: the last ones.
        if slot.is_some() && phase != Phase::Queued {
            let before = running.entry(view.slot).or_default();
            *before += 1;
            if *before > layout.threads && phase == Phase::Running {
                phase = Phase::Queued;
            }
        }
        Request {
            pid: match layout.mode {
                Mode::Embedded => view.child,
                Mode::Daemon => slot.and_then(|slot| pids.get(&slot).copied()).unwrap_or(0),
            },
            slot,
            child: view.child,
            phase,
            method: text(&view.method),
            path: text(&view.path),
            virtual_host: match &*view.virtual_host {
                [] => String::new(),
                name => format!("{}:{}", text(name), view.port),
            },
            id: text(&view.id),
            age: seconds(source.now.saturating_sub(view.start)),
        }
    });
    described.collect()
}

fn embedded_events(source: &Source<'_>) -> Vec<Event> {
    let events = source.layout.events().last(source.ledger);
    let events = events.into_iter().map(|event| Event {
        time: seconds(event.time),
        group: String::new(),
        kind: match event.kind {
            ledger::EventKind::Crash => EventKind::Crash,
            ledger::EventKind::FailedStart => EventKind::FailedStart,
        },
        pid: event.pid,
        text: text(&event.text),
        detail: text(&event.detail),
    });
    events.collect()
}

/// Returns the counts of all groups now, for their history: the index of each group that was ever
/// used, and its sample.
#[must_use]
pub fn samples(source: &Source<'_>) -> Vec<(usize, HistorySample)> {
    let mut requests = UnderWay::read(source);
    let of_group = |(index, layout): (usize, &GroupLayout)| {
        let views = requests.of_group(index);
        let ended = layout.row().ended(source.ledger, source.layout.shards);
        let mut sample = HistorySample { time: source.now, ..HistorySample::default() };
        for (_, class, total) in &ended {
            let count = total[..BUCKETS].iter().sum::<u64>();
            sample.ended += count;
            sample.errors += if *class == 5 { count } else { 0 };
            sample.duration += total[BUCKETS];
        }
        sample.queued = views.iter().filter(|view| view.slot == 0).count() as u64;
        sample.active = sample.queued;
        for row in layout.slots() {
            let (active, _) = row.active(source.ledger);
            sample.active += active;
            sample.queued += active.saturating_sub(layout.threads.into());
        }
        (!ended.is_empty() || sample.active > 0).then_some((index, sample))
    };
    source.layout.groups.iter().enumerate().filter_map(of_group).collect()
}

fn sample(sample: &HistorySample) -> Sample {
    Sample {
        time: seconds(sample.time),
        ended: sample.ended,
        errors: sample.errors,
        duration: seconds(sample.duration),
        active: sample.active,
        queued: sample.queued,
    }
}

/// Returns a distribution from the numbers in its buckets and the sum in microseconds.
fn histogram(total: &[u64; BUCKETS + 1]) -> Histogram {
    let buckets = &total[..BUCKETS];
    if buckets.iter().all(|count| *count == 0) {
        return Histogram::default();
    }
    Histogram { buckets: buckets.to_vec(), sum: seconds(total[BUCKETS]) }
}

fn seconds(microseconds: u64) -> f64 {
    microseconds as f64 / 1e6
}

fn text(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).into_owned()
}
