//! The record of requests, by thread.

use std::cell::Cell;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant, SystemTime};

use bridge::RequestFacts;
use os::usage::{self, Cpu};
use wsgi_core::metrics::{Completed, Phase, Phases, Running, Sample, Stamps, Thread, Traffic};

use crate::locked::Locked;
use crate::meter::Meter;
use crate::process::{self, Process};

/// Set once metrics are recorded.
static RECORDING: AtomicBool = AtomicBool::new(false);

/// The records since recording was started.
pub(super) static RECORDED: Locked<Option<Recorded>> = Locked::new(None);

/// The state that recording threads share.
pub(super) struct Recorded {
    /// Those that have had a request.
    pub(super) threads: Vec<Arc<Record>>,
    /// The time when the interval began.
    pub(super) since: (Instant, SystemTime),
    /// The CPU time of the process at that time.
    pub(super) cpu: Cpu,
    /// The sample of ended threads in the interval.
    pub(super) sample: Sample,
    /// The busy time of threads that are gone.
    pub(super) busy: Duration,
}

/// The record of a thread.
pub(super) struct Record {
    pub(super) id: u32,
    pub(super) thread: Locked<Thread>,
}

thread_local! {
    static RECORD: Cell<Option<Arc<Record>>> = const { Cell::new(None) };
}

/// Starts recording for an application, unless that has been done. A thread that serves a request
/// counts it as its first.
pub(crate) fn start(is_serving: bool) {
    if record() && is_serving {
        own_record().thread.with(Thread::record_call);
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
            busy: Duration::ZERO,
        });
        is_first
    });
    // Threads may notice it late; what they record is under locks.
    RECORDING.store(true, Ordering::Relaxed);
    is_first
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
}

impl Taken {
    pub(crate) fn period(&self) -> Duration {
        self.until.0.saturating_duration_since(self.since.0)
    }
}

/// Takes what was recorded since the last time. Returns `None` if nothing is recorded.
pub(crate) fn take(process: &Process) -> Option<Taken> {
    let used = usage::process();
    let now = (Instant::now(), SystemTime::now());
    let empty = Sample::new(process.settings.threads);
    RECORDED.with(|recorded| {
        let recorded = recorded.as_mut()?;
        recorded.retire(now.0);
        let mut sample = std::mem::replace(&mut recorded.sample, empty);
        for record in &recorded.threads {
            sample.add(record.id, &record.thread.with(|thread| thread.drain(now.0)));
        }
        let since = std::mem::replace(&mut recorded.since, now);
        let cpu = used.cpu.since(std::mem::replace(&mut recorded.cpu, used.cpu));
        let threads_started = recorded.threads_started(process);
        Some(Taken { since, until: now, sample, cpu, used, threads_started })
    })
}

/// A request that is being recorded. It ends when this is dropped, also by a panic.
pub(crate) struct Recording {
    record: Arc<Record>,
    /// CPU time of the thread at the beginning.
    pub(super) cpu: Option<Duration>,
    /// The request that this one is within.
    outer: Option<Running>,
}

/// Begins to record a request. Returns `None` if metrics are not recorded.
#[inline]
pub(crate) fn begin(now: Instant) -> Option<Recording> {
    RECORDING.load(Ordering::Relaxed).then(|| Recording::new(now))
}

impl Recording {
    #[cold]
    fn new(now: Instant) -> Self {
        let record = own_record();
        let outer = record.thread.with(|thread| thread.begin(now));
        Self { record, cpu: usage::thread_time(), outer }
    }

    /// Notes that the application is about to be called.
    pub(crate) fn called(&self) {
        self.record.thread.with(Thread::record_call);
    }

    /// Notes that the application has finished the request. Times are in seconds since the epoch.
    pub(crate) fn completed(
        &self,
        facts: &RequestFacts<'_>,
        (application_start, application_finish): (f64, f64),
        status: u16,
        meter: &Meter,
    ) {
        let stamps = Stamps {
            request_start: facts.request_start,
            queue_start: facts.queue_start,
            daemon_start: facts.daemon_start,
            application_start: microseconds(application_start),
            application_finish: microseconds(application_finish),
        };
        let phases = Phases::between(&stamps)
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
        self.record.thread.with(|thread| thread.record_completed(completed));
    }

    /// Notes the time of a write after Python has finished the request.
    pub(crate) fn wrote(&self, since: Instant) {
        self.record.thread.with(|thread| thread.record_write(since.elapsed()));
    }
}

impl Drop for Recording {
    fn drop(&mut self) {
        let cpu = self.cpu.zip(usage::thread_time()).map(|(begin, end)| end.saturating_sub(begin));
        let (outer, cpu) = (self.outer.take(), cpu.unwrap_or_default());
        self.record.thread.with(|thread| thread.end(Instant::now(), cpu, outer));
    }
}

/// Returns the record of this thread.
fn own_record() -> Arc<Record> {
    let record = RECORD.take().unwrap_or_else(enlist);
    RECORD.set(Some(Arc::clone(&record)));
    record
}

/// Makes the record of this thread.
fn enlist() -> Arc<Record> {
    let id = process::process().map_or(0, process::thread_id);
    let record = Arc::new(Record { id, thread: Locked::default() });
    RECORDED.with(|recorded| {
        if let Some(recorded) = recorded {
            recorded.retire(Instant::now());
            recorded.threads.push(Arc::clone(&record));
        }
    });
    record
}

impl Recorded {
    /// Adds up the records of ended threads, and drops them.
    pub(super) fn retire(&mut self, now: Instant) {
        let (sample, busy) = (&mut self.sample, &mut self.busy);
        self.threads.retain(|record| {
            let is_alive = Arc::strong_count(record) > 1;
            if !is_alive {
                let (drained, time) = record.thread.with(|thread| (thread.drain(now), thread.busy(now)));
                sample.add(record.id, &drained);
                *busy = busy.saturating_add(time);
            }
            is_alive
        });
    }

    /// Returns how many threads have had requests. Ids are given out in order; the thread that
    /// started Python has one even if it serves none.
    pub(super) fn threads_started(&self, process: &Process) -> u32 {
        let first = u32::from(self.threads.iter().any(|record| record.id == 0));
        process::thread_ids(process).saturating_sub(1) + first
    }
}

fn microseconds(seconds: f64) -> i64 {
    (seconds * 1e6) as i64
}
