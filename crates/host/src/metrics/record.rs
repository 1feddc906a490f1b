//! The record of requests, by thread.

use std::cell::Cell;
use std::collections::VecDeque;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicI64, Ordering};
use std::time::{Duration, Instant, SystemTime};

use bridge::{Request, RequestFacts};
use os::usage::{self, Cpu};
use wsgi_core::metrics::{Begun, Clock, Completed, Drained, Phase, Phases, Sample, Stamps, Traffic};

use super::slow::{Active, Ended, SlowRecording};
use crate::locked::{Gathered, Locked};
use crate::meter::Meter;
use crate::process::{self, Process};

/// Set once metrics are recorded.
static RECORDING: AtomicBool = AtomicBool::new(false);

/// The records since recording was started.
pub(super) static RECORDED: Locked<Option<Recorded>> = Locked::new(None);

/// The state that recording threads share.
pub(super) struct Recorded {
    /// Those that have had a request, each with the busy time that has been taken out.
    pub(super) threads: Vec<(Arc<Record>, Duration)>,
    /// The time when the interval began.
    pub(super) since: (Instant, SystemTime),
    /// The CPU time of the process at that time.
    pub(super) cpu: Cpu,
    /// The sample of ended threads in the interval.
    pub(super) sample: Sample,
    /// The slow requests of ended threads in the interval.
    slow: Vec<Ended>,
    /// The busy time of threads that are gone.
    pub(super) busy: Duration,
}

/// The record of a thread. The thread never waits for readers.
pub(super) struct Record {
    pub(super) id: u32,
    pub(super) clock: Clock,
    /// The sums over its requests of the interval.
    interval: Gathered<Interval>,
    /// The request that is running, if slow ones are reported.
    pub(super) active: Gathered<Active>,
    /// The time when the application was called for it, in microseconds since the epoch; 0 before.
    pub(super) application_start: AtomicI64,
}

#[derive(Default)]
struct Interval {
    drained: Drained,
    slow: VecDeque<Ended>,
}

thread_local! {
    static RECORD: Cell<Option<Arc<Record>>> = const { Cell::new(None) };
}

/// Starts recording for an application, unless that has been done. A thread that serves a request
/// counts it as its first.
pub(crate) fn start(is_serving: bool) {
    if record() && is_serving {
        own_record().clock.record_call();
    }
}

/// Starts recording. Returns whether it had not been started.
pub(crate) fn record() -> bool {
    let Some(process) = process::process() else { return false };
    let is_first = RECORDED.with(|recorded| {
        let is_first = recorded.is_none();
        recorded.get_or_insert_with(|| Recorded {
            threads: Vec::new(),
            since: (Instant::now(), SystemTime::now()),
            cpu: usage::process().cpu,
            sample: Sample::new(process.settings.threads),
            slow: Vec::new(),
            busy: Duration::ZERO,
        });
        is_first
    });
    // Threads may notice it late; what they record is handed over under locks.
    RECORDING.store(true, Ordering::Relaxed);
    is_first
}

/// Begins anew in a process that was forked from another one, whose times these were.
pub(crate) fn begin_process() {
    RECORDED.with(|recorded| {
        if let Some(recorded) = recorded {
            recorded.since = (Instant::now(), SystemTime::now());
            recorded.cpu = usage::process().cpu;
        }
    });
}

/// The requests and resources of an interval.
pub(crate) struct Taken {
    /// Its begin and end.
    pub(crate) since: (Instant, SystemTime),
    pub(crate) until: (Instant, SystemTime),
    pub(crate) sample: Sample,
    /// CPU time that the process has used in it.
    pub(crate) cpu: Cpu,
    /// The resources that the process has used at its end.
    pub(crate) used: usage::Process,
    /// The number of threads that have had requests.
    pub(crate) threads_started: u32,
    /// Slow requests that have ended in it.
    pub(crate) slow: Vec<Ended>,
}

impl Taken {
    pub(crate) fn period(&self) -> Duration {
        self.until.0.saturating_duration_since(self.since.0)
    }
}

/// Takes what was recorded since the last time. Returns `None` if nothing is recorded.
pub(crate) fn take(process: &Process) -> Option<Taken> {
    let used = usage::process();
    let until = (Instant::now(), SystemTime::now());
    let empty = Sample::new(process.settings.threads);
    RECORDED.with(|recorded| {
        let recorded = recorded.as_mut()?;
        recorded.drain(until.0);
        let since = std::mem::replace(&mut recorded.since, until);
        Some(Taken {
            since,
            until,
            sample: std::mem::replace(&mut recorded.sample, empty),
            cpu: used.cpu.since(std::mem::replace(&mut recorded.cpu, used.cpu)),
            used,
            threads_started: recorded.threads_started(process),
            slow: std::mem::take(&mut recorded.slow),
        })
    })
}

/// Returns the requests that have been running for `threshold`, the longest first, but no more than
/// `most`.
pub(crate) fn slow_requests(threshold: Duration, most: usize) -> Vec<(Active, Duration)> {
    let now = Instant::now();
    let mut found = RECORDED.with(|recorded| {
        let threads = recorded.iter().flat_map(|recorded| &recorded.threads);
        threads.filter_map(|(record, _)| record.slow_request(now, threshold)).collect::<Vec<_>>()
    });
    found.sort_by_key(|(_, age)| std::cmp::Reverse(*age));
    found.truncate(most);
    found
}

impl Record {
    /// Returns the request that is running, with its age, if it has been running for `threshold`.
    fn slow_request(&self, now: Instant, threshold: Duration) -> Option<(Active, Duration)> {
        let (age, mark) = self.clock.read(now).running.filter(|(age, _)| *age >= threshold)?;
        let mut found = None;
        self.active.each(|active| {
            if active.mark == mark {
                found = Some((active.with_phases(self.application_start.load(Ordering::Relaxed)), age));
            }
        });
        // It may have ended meanwhile, and be reported as one that has.
        found.filter(|_| self.clock.read(now).running.is_some_and(|(_, running)| running == mark))
    }
}

/// A request that is being recorded. It ends when this is dropped, also by a panic.
pub(crate) struct Recording<'a> {
    record: Arc<Record>,
    request: &'a Request<'a>,
    begun: Begun,
    /// CPU time of the thread at the beginning.
    cpu: Option<Duration>,
    /// Set once the application is done with it. Only this thread uses it.
    completed: Locked<Option<Completed>>,
    slow: Option<SlowRecording>,
}

/// Begins to record a request. Returns `None` if metrics are not recorded.
#[inline]
pub(crate) fn begin<'a>(request: &'a Request<'a>) -> Option<Recording<'a>> {
    RECORDING.load(Ordering::Relaxed).then(|| Recording::new(request))
}

impl<'a> Recording<'a> {
    #[cold]
    fn new(request: &'a Request<'a>) -> Self {
        let now = Instant::now();
        let record = own_record();
        let begun = record.clock.begin(now);
        record.application_start.store(0, Ordering::Relaxed);
        let slow = SlowRecording::begin(&record, request, begun);
        Self { record, request, begun, cpu: usage::thread_time(), completed: Locked::default(), slow }
    }

    /// Notes that the application is about to be called.
    pub(crate) fn called(&self, application_start: f64) {
        self.record.clock.record_call();
        self.record.application_start.store(microseconds(application_start), Ordering::Relaxed);
    }

    /// Notes that the application has finished the request. Times are in seconds since the epoch.
    pub(crate) fn completed(
        &self,
        (application_start, application_finish): (f64, f64),
        status: u16,
        meter: &Meter,
    ) {
        let application = (microseconds(application_start), microseconds(application_finish));
        let phases = phases(&self.request.facts, application)
            .with(Phase::InputRead, meter.input.time())
            .with(Phase::OutputWrite, meter.output.time());
        // As everywhere, the thread that started Python is not watched in detail.
        let (phases, gil_waits) = match self.record.id {
            0 => (phases, 0),
            _ => (phases.with(Phase::GilWait, meter.gil_wait_time()), meter.gil_wait_count()),
        };
        let input = Traffic { bytes: meter.input.bytes(), operations: meter.input.count() };
        let output = Traffic { bytes: meter.output.bytes(), operations: meter.output.count() };
        let completed = Completed { phases, status, input, output, gil_waits };
        self.completed.with(|place| *place = Some(completed));
    }

    /// Notes the time of a write after Python has finished the request.
    pub(crate) fn wrote(&self, since: Instant) {
        self.completed.with(|completed| {
            if let Some(completed) = completed {
                completed.phases.add(Phase::OutputWrite, since.elapsed());
            }
        });
    }
}

impl Drop for Recording<'_> {
    fn drop(&mut self) {
        let cpu = self.cpu.zip(usage::thread_time()).map(|(begin, end)| end.saturating_sub(begin));
        let time = self.record.clock.end(self.begun, Instant::now());
        let completed = self.completed.with(Option::take);
        let slow = self.slow.take();
        let slow = slow.and_then(|slow| slow.end(&self.record, self.request, time, completed.as_ref()));
        self.record.interval.add(|interval| {
            interval.drained.record(time, cpu.unwrap_or_default(), completed.as_ref());
            if let Some((slow, most)) = slow {
                interval.slow.push_back(slow);
                if interval.slow.len() > most {
                    interval.slow.pop_front();
                }
            }
        });
    }
}

/// Returns the phases of a request, with the times when its application was called, and done with
/// it, in microseconds since the epoch.
pub(super) fn phases(
    facts: &RequestFacts<'_>,
    (application_start, application_finish): (i64, i64),
) -> Phases {
    Phases::between(&Stamps {
        request_start: facts.request_start,
        queue_start: facts.queue_start,
        daemon_start: facts.daemon_start,
        application_start,
        application_finish,
    })
}

/// Returns the record of this thread.
fn own_record() -> Arc<Record> {
    let record = RECORD.take().unwrap_or_else(enlist);
    RECORD.set(Some(Arc::clone(&record)));
    record
}

/// Makes the record of this thread.
fn enlist() -> Arc<Record> {
    let process = process::process();
    let record = Arc::new(Record {
        id: process.map_or(0, process::thread_id),
        clock: Clock::new(process.map_or_else(Instant::now, |process| process.started().0)),
        interval: Gathered::default(),
        active: Gathered::default(),
        application_start: AtomicI64::new(0),
    });
    RECORDED.with(|recorded| {
        if let Some(recorded) = recorded {
            recorded.drain(Instant::now());
            recorded.threads.push((Arc::clone(&record), Duration::ZERO));
        }
    });
    record
}

impl Recorded {
    /// Adds what threads have done to the sample, and drops the records of those that have ended.
    pub(super) fn drain(&mut self, now: Instant) {
        let (sample, slow, busy) = (&mut self.sample, &mut self.slow, &mut self.busy);
        self.threads.retain_mut(|(record, counted)| {
            let is_alive = Arc::strong_count(record) > 1;
            let seen = record.clock.read(now);
            let mut more = Drained::default();
            more.usage.busy = seen.busy.saturating_sub(*counted);
            more.usage.elapsed = seen.elapsed;
            *counted = seen.busy.max(*counted);
            sample.add(record.id, &more);
            record.interval.each(|interval| {
                sample.add(record.id, &std::mem::take(&mut interval.drained));
                slow.extend(interval.slow.drain(..));
            });
            if !is_alive {
                *busy = busy.saturating_add(seen.busy);
            }
            is_alive
        });
    }

    /// Returns how many threads have had requests. Ids are given out in order; the thread that
    /// started Python has one even if it serves none.
    pub(super) fn threads_started(&self, process: &Process) -> u32 {
        let first = u32::from(self.threads.iter().any(|(record, _)| record.id == 0));
        process::thread_ids(process).saturating_sub(1) + first
    }
}

fn microseconds(seconds: f64) -> i64 {
    (seconds * 1e6) as i64
}
