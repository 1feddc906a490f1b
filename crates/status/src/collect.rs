//! Collects the state of a server from shared memory.

use std::collections::HashMap;

use wsgi_core::ledger::{
    self, BUCKETS, Cause, Combination, HistorySample, Method, More, Part, Phase as LedgerPhase, Read,
    RequestView, Series, SlotRow,
};
use wsgi_core::tallies::{self, TallyRow};
use wsgi_core::wire::board::{self, slot};

use os::process::signal_name;

use crate::layout::{GroupLayout, Layout};
use crate::printable::text;
use crate::snapshot::{
    Ended, Event, EventKind, Group, Mode, Phase, Process, Request, SCHEMA, Sample, State, Times,
};
use crate::{Histogram, Snapshot};

/// The places in which the state of a server is found.
pub struct Source<'a> {
    /// The parts of the server.
    pub layout: &'a Layout,
    /// The time, in microseconds since the epoch.
    pub now: u64,
    /// The words of the ledger.
    pub ledger: Read<'a>,
    /// The words of the board; 0 for all that there are not.
    pub board: &'a dyn Fn(usize) -> u32,
    /// The words of the tallies; 0 for all that there are not.
    pub tallies: Read<'a>,
    /// The resources of a process as the system tells them; `None` if it does not.
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
        scope: None,
        server: layout.server.clone(),
        groups: groups.collect(),
        events: events(source),
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
    let http = layout.row().ended(read, shards).into_iter().map(|(series, total)| ended(series, &total));
    let mut processes: Vec<_> = layout
        .slots()
        .enumerate()
        .filter_map(|(index, row)| match layout.mode {
            Mode::Daemon => Some(daemon_process(source, layout, index, row)),
            Mode::Embedded => embedded_process(source, layout, index, row),
        })
        .collect();
    if let Some(first) = processes.first_mut() {
        // Else counters would fall when a group gets fewer processes.
        layout.former_slots().for_each(|row| add_traffic(first, source, row));
        layout.former_tallies.iter().for_each(|row| add_tallies(first, source, TallyRow(*row)));
    }
    let without_slot = views.iter().filter(|view| view.slot == 0).count() as u64;
    Group {
        name: layout.name.clone(),
        number: layout.number,
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
        slow_requests: layout.row().more(read, shards, More::Slow),
        stuck_requests: layout.row().more(read, shards, More::Stuck)
            + layout.tallies().map(|row| row.tallies(source.tallies).stuck).sum::<u64>(),
        requests: requests(source, layout, &processes, views),
        queued: without_slot + processes.iter().map(|process| process.queued).sum::<u64>(),
        processes,
        history: layout.row().samples(read).iter().map(sample).collect(),
        ..Group::default()
    }
}

fn ended(series: Series, total: &[u64; BUCKETS + 1]) -> Ended {
    let (method, status_code, scheme) = match series {
        Series::One(Combination { method, status, is_https }) => {
            (method, Some(status), if is_https { "https" } else { "http" })
        }
        Series::Rest(_) => (Method::Other, None, ""),
    };
    Ended {
        method: method.name().to_owned(),
        status_class: series.class(),
        status_code,
        scheme: scheme.to_owned(),
        duration: histogram(total),
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
    let mut process = Process {
        state,
        lacks_import: word(slot::LACKS_IMPORT) != 0,
        ..process(source, layout, index, row, word(slot::PID))
    };
    if let Some(row) = layout.tallies.get(index) {
        add_tallies(&mut process, source, TallyRow(*row));
    }
    process
}

/// Adds what has become of the processes of a slot.
fn add_tallies(process: &mut Process, source: &Source<'_>, row: TallyRow) {
    let tallies = row.tallies(source.tallies);
    for (reason, count) in tallies.ended {
        *process.restarts.entry(reason.name().to_owned()).or_default() += count;
    }
    for (signal, count) in tallies.crashed {
        *process.crashes.entry(signal_name(signal)).or_default() += count;
    }
    process.exits += tallies.exits;
    process.failed_reloads += tallies.failed_reloads;
    process.failed_starts += tallies.failed_starts;
}

/// Adds the requests that processes of a slot have answered.
fn add_traffic(process: &mut Process, source: &Source<'_>, row: SlotRow) {
    let Some(traffic) = row.traffic(source.ledger, source.layout.shards) else { return };
    for (sum, more) in process.ended.iter_mut().zip(traffic.ended) {
        *sum += more;
    }
    process.bytes_in += traffic.bytes_in;
    process.bytes_out += traffic.bytes_out;
    let Times { queue, lock_wait, application, reading, writing } = &mut process.times;
    for (sum, part) in [
        (queue, Part::Queue),
        (lock_wait, Part::LockWait),
        (application, Part::Application),
        (reading, Part::Reading),
        (writing, Part::Writing),
    ] {
        sum.add(&histogram(&traffic.times[part as usize]));
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
    let waiting = |active: u64| if has_queue(layout) { active.saturating_sub(threads) } else { 0 };
    let mut process = Process {
        slot: u32::try_from(index).unwrap_or(u32::MAX),
        pid,
        started: usage.started,
        cpu: usage.cpu.as_secs_f64(),
        resident: usage.resident,
        busy: active.min(threads),
        queued: waiting(active),
        peak_busy: peak.min(threads),
        peak_queued: waiting(peak),
        ..Process::default()
    };
    add_traffic(&mut process, source, row);
    process
}

/// Returns whether requests wait in the processes of a group for a thread. A child of Apache has a
/// thread for each of its own: what is more are requests within others, and those of HTTP/2, which
/// has threads besides.
fn has_queue(layout: &GroupLayout) -> bool {
    layout.mode == Mode::Daemon
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
    let slow_after = source.layout.server.slow_after;
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
        if slot.is_some() && phase != Phase::Queued && has_queue(layout) {
            let before = running.entry(view.slot).or_default();
            *before += 1;
            if *before > layout.threads && phase == Phase::Running {
                phase = Phase::Queued;
            }
        }
        let age = seconds(source.now.saturating_sub(view.start));
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
            age,
            slow: slow_after > 0.0 && age >= slow_after,
        }
    });
    described.collect()
}

/// Returns the last events of embedded mode and of all process groups, newest first.
fn events(source: &Source<'_>) -> Vec<Event> {
    let mut events = source.layout.events().last(source.ledger);
    events.extend(tallies::EVENTS.last(source.tallies));
    events.sort_by_key(|event| std::cmp::Reverse(event.time));
    let events = events.into_iter().map(|event| Event {
        time: seconds(event.time),
        group: source
            .layout
            .groups
            .iter()
            .find(|group| group.number == event.number && event.number != 0)
            .map_or_else(|| text(&event.group), |group| group.name.clone()),
        group_number: event.number,
        kind: match event.kind {
            ledger::EventKind::Crash => EventKind::Crash,
            ledger::EventKind::FailedStart => EventKind::FailedStart,
            ledger::EventKind::FailedReload => EventKind::FailedReload,
            ledger::EventKind::FailedImport => EventKind::FailedImport,
            ledger::EventKind::Stuck => EventKind::Stuck,
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
        for (series, total) in &ended {
            let count = total[..BUCKETS].iter().sum::<u64>();
            sample.ended += count;
            sample.errors += if series.class() == 5 { count } else { 0 };
            sample.duration += total[BUCKETS];
        }
        sample.queued = views.iter().filter(|view| view.slot == 0).count() as u64;
        sample.active = sample.queued;
        for row in layout.slots() {
            let (active, _) = row.active(source.ledger);
            sample.active += active;
            if has_queue(layout) {
                sample.queued += active.saturating_sub(layout.threads.into());
            }
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

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicU64, Ordering};

    use wsgi_core::ledger::{Directory, EndedRequest, Ledger, Place, RequestFacts};

    use super::*;
    use crate::layout::arrange_for_tests;
    use crate::snapshot::Server;

    /// A server with embedded mode and a group of two slots with two threads each.
    struct Memory {
        layout: Layout,
        words: Vec<AtomicU64>,
    }

    impl Memory {
        fn new() -> Self {
            let mut directory = Directory::new(2);
            let key = arrange_for_tests(&mut directory, "shop", 2);
            let mut embedded = GroupLayout { mode: Mode::Embedded, threads: 25, ..GroupLayout::default() };
            embedded.place(directory.embedded(), 3);
            let mut shop = GroupLayout { name: "shop".to_owned(), threads: 2, ..GroupLayout::default() };
            shop.place(directory.group(&key).expect("it was arranged"), 2);
            let server = Server { pid: 7, ..Server::default() };
            let mut layout = Layout { server, groups: vec![embedded, shop], slots: 2, ..Layout::default() };
            layout.place(&directory);
            let words = (0..directory.words()).map(|_| AtomicU64::new(0)).collect();
            Self { layout, words }
        }

        fn ledger(&self) -> Ledger<'_> {
            Ledger::new(&self.words)
        }

        fn with<T>(&self, work: impl FnOnce(&Source<'_>) -> T) -> T {
            work(&Source {
                layout: &self.layout,
                now: 10_000_000,
                ledger: &|index| self.words.get(index).map_or(0, |word| word.load(Ordering::Relaxed)),
                board: &|index| match index {
                    slot::PID => 501,
                    slot::STATE => board::State::Serving.word(),
                    _ => 0,
                },
                tallies: &|_| 0,
                usage: &|pid| {
                    (pid == 501).then_some(os::usage::OtherProcess { resident: 4096, ..Default::default() })
                },
            })
        }

        /// Counts a request to a group that has ended.
        fn count(&self, group: usize, shard: usize, method: Method, status: u16, micros: u64) {
            let request = Combination { method, status, is_https: status == 404 };
            self.layout.groups[group].row().count_ended(self.ledger(), shard, request, micros);
        }

        /// Begins a request in a group, at a time, in one of its slots.
        fn begin(&self, group: usize, start: u64, slot: Option<usize>) {
            let place = Place::claim(self.ledger(), &self.layout.requests(), 33, 0).expect("there is room");
            let facts = RequestFacts {
                start,
                group: self.layout.groups[group].row().head,
                method: Method::Get,
                other_method: b"",
                path: b"/path",
                virtual_host: b"shop.test",
                port: 80,
                id: b"id",
            };
            place.publish(self.ledger(), &facts, LedgerPhase::Queued);
            if let Some(slot) = slot.and_then(|slot| self.layout.groups[group].slots().nth(slot)) {
                place.set_phase(self.ledger(), LedgerPhase::Running);
                place.enter(self.ledger(), slot);
            }
        }
    }

    #[test]
    fn requests_are_slow_from_an_age_on() {
        let mut memory = Memory::new();
        memory.begin(1, 4_999_999, Some(0));
        memory.begin(1, 5_000_000, None);
        memory.begin(1, 5_000_001, None);
        memory.layout.groups[1].row().count_more(memory.ledger(), 1, More::Slow, 3);
        let seen = |memory: &Memory| {
            let group = memory.with(collect).groups.remove(0);
            let slow: Vec<_> = group.requests.iter().map(|request| request.slow).collect();
            (slow, group.slow_requests)
        };
        assert_eq!(seen(&memory), (vec![false; 3], 3), "none is while no limit is set");
        memory.layout.server.slow_after = 5.0;
        assert_eq!(seen(&memory), (vec![true, true, false], 3));
    }

    #[test]
    fn embedded_mode_is_shown_once_it_is_used() {
        let memory = Memory::new();
        let names = |memory: &Memory| -> Vec<String> {
            memory.with(collect).groups.iter().map(|group| group.name.clone()).collect()
        };
        assert_eq!(names(&memory), ["shop"]);
        memory.count(0, 0, Method::Get, 200, 5);
        assert_eq!(names(&memory), ["", "shop"]);
        let memory = Memory::new();
        memory.begin(0, 1, Some(0));
        let place = memory.layout.groups[0].slots().nth(1).expect("there are three");
        assert!(place.claim(memory.ledger(), 33));
        let embedded = &memory.with(collect).groups[0];
        assert_eq!(embedded.requests[0].pid, 33, "a child serves itself");
        let shown: Vec<_> = embedded.processes.iter().map(|process| (process.slot, process.pid)).collect();
        assert_eq!(shown, [(1, 33)], "places that nobody has had are left out");
    }

    #[test]
    fn requests_that_have_ended_are_told_apart_while_there_is_room() {
        let memory = Memory::new();
        for status in [404, 200, 404] {
            memory.count(1, 1, Method::Get, status, 5);
        }
        (410..499).for_each(|status| memory.count(1, 0, Method::Get, status, 5));
        let shop = memory.with(collect).groups.remove(0);
        let brief = |ended: &Ended| {
            let Ended { method, status_class, status_code, scheme, duration } = ended;
            (method.clone(), *status_class, *status_code, scheme.clone(), duration.count())
        };
        let (first, last) = (shop.http[..2].iter().map(brief), shop.http.last().map(brief));
        let get = |class, code, scheme: &str, count| {
            ("GET".to_owned(), class, Some(code), scheme.to_owned(), count)
        };
        assert_eq!(first.collect::<Vec<_>>(), [get(2, 200, "http", 1), get(4, 404, "https", 2)]);
        let rest = last
            .filter(|(.., count)| *count > 1)
            .map(|(method, class, code, scheme, _)| (method, class, code, scheme));
        assert_eq!(rest, Some(("_OTHER".to_owned(), 4, None, String::new())));
        assert_eq!(shop.ended(), 92);
    }

    #[test]
    fn a_process_has_what_board_ledger_and_system_say() {
        let memory = Memory::new();
        let slot = memory.layout.groups[1].slots().next().expect("there are two");
        let ended = EndedRequest { status: 503, bytes_in: 4, bytes_out: 8, ..EndedRequest::default() };
        slot.count_ended(memory.ledger(), 1, &ended.with(Part::Queue, 7_000));
        let shop = memory.with(collect).groups.remove(0);
        let first = &shop.processes[0];
        assert_eq!((first.pid, first.state, first.resident), (501, State::Serving, 4096));
        assert_eq!((first.ended, first.bytes_in, first.bytes_out), ([0, 0, 0, 0, 1], 4, 8));
        assert_eq!((first.times.queue.count(), first.times.queue.sum), (1, 0.007));
        assert_eq!(first.times.application, Histogram::default());
        let second = &shop.processes[1];
        assert_eq!((second.slot, second.pid, second.state), (1, 0, State::Starting));
    }

    #[test]
    fn a_group_keeps_the_counts_of_slots_that_it_has_no_longer() {
        let mut memory = Memory::new();
        let slots: Vec<_> = memory.layout.groups[1].slots().collect();
        let ended = EndedRequest { status: 200, bytes_in: 4, bytes_out: 8, ..EndedRequest::default() };
        for slot in slots {
            slot.count_ended(memory.ledger(), 1, &ended.with(Part::Queue, 7_000));
        }
        let mut directory = Directory::new(2);
        let key = arrange_for_tests(&mut directory, "shop", 2);
        memory.layout.groups[1].place(directory.group(&key).expect("it was arranged"), 1);
        let shop = memory.with(collect).groups.remove(0);
        let [only] = &shop.processes[..] else { panic!("{:?}", shop.processes) };
        assert_eq!((only.ended[1], only.bytes_in, only.bytes_out, only.times.queue.count()), (2, 8, 16, 2));
    }

    #[test]
    fn requests_beyond_the_threads_wait() {
        let memory = Memory::new();
        for start in [3_000_000, 1_000_000, 2_000_000] {
            memory.begin(1, start, Some(0));
        }
        memory.begin(1, 9_000_000, None);
        let shop = memory.with(collect).groups.remove(0);
        let seen: Vec<_> =
            shop.requests.iter().map(|request| (request.age, request.phase, request.slot)).collect();
        assert_eq!(
            seen,
            [
                (9.0, Phase::Running, Some(0)),
                (8.0, Phase::Running, Some(0)),
                (7.0, Phase::Queued, Some(0)),
                (1.0, Phase::Queued, None),
            ]
        );
        let first = &shop.requests[0];
        assert_eq!((first.pid, first.child, first.virtual_host.as_str()), (501, 33, "shop.test:80"));
        let process = &shop.processes[0];
        assert_eq!((process.busy, process.queued, process.peak_busy, process.peak_queued), (2, 1, 2, 1));
        assert_eq!(shop.queued, 2);
    }

    #[test]
    fn nothing_waits_for_a_thread_in_a_child_of_apache() {
        let mut memory = Memory::new();
        memory.layout.groups[0].threads = 1;
        let place = memory.layout.groups[0].slots().next().expect("there are three");
        assert!(place.claim(memory.ledger(), 33));
        for start in [1_000_000, 2_000_000] {
            memory.begin(0, start, Some(0));
        }
        let embedded = memory.with(collect).groups.remove(0);
        assert!(embedded.requests.iter().all(|request| request.phase == Phase::Running), "{embedded:?}");
        let process = &embedded.processes[0];
        assert_eq!((process.busy, process.queued, process.peak_queued, embedded.queued), (1, 0, 0, 0));
        assert_eq!(embedded.under_way(), 2);
        let samples = memory.with(samples);
        assert_eq!(samples.iter().map(|(_, it)| (it.active, it.queued)).collect::<Vec<_>>(), [(2, 0)]);
    }

    #[test]
    fn samples_are_taken_of_groups_that_were_used() {
        let memory = Memory::new();
        assert!(memory.with(samples).is_empty());
        memory.count(1, 0, Method::Get, 200, 2_000_000);
        memory.count(1, 1, Method::Put, 500, 1_000_000);
        memory.begin(1, 1, Some(1));
        memory.begin(1, 2, None);
        for (index, sample) in memory.with(samples) {
            memory.layout.groups[index].row().append(memory.ledger(), &sample);
        }
        let history = memory.with(collect).groups[0].history.clone();
        let expected = Sample { time: 10.0, ended: 2, errors: 1, duration: 3.0, active: 2, queued: 1 };
        assert_eq!(history, [expected]);
    }

    #[test]
    fn causes_and_events_have_the_names_of_the_schema() {
        let memory = Memory::new();
        memory.layout.groups[1].row().count_rejected(memory.ledger(), 0, Cause::QueueTimeout);
        memory.layout.events().record(
            memory.ledger(),
            &ledger::LedgerEvent {
                time: 5_000_000,
                kind: ledger::EventKind::Crash,
                number: 0,
                group: Vec::new(),
                pid: 33,
                text: b"text".to_vec(),
                detail: Vec::new(),
            },
        );
        let snapshot = memory.with(collect);
        assert_eq!(snapshot.groups[0].rejections, [("queue_timeout".to_owned(), 1)].into());
        let event = &snapshot.events[0];
        assert_eq!(
            (event.time, event.kind, event.pid, event.text.as_str()),
            (5.0, EventKind::Crash, 33, "text")
        );
        assert_eq!((snapshot.schema, snapshot.time, snapshot.server.pid), (SCHEMA, 10.0, 7));
    }
}
