//! The arithmetic of `mod_wsgi.request_metrics()` and `process_metrics()`.
//!
//! Each thread has a [`Clock`], and adds the requests that it has ended to a [`Drained`]; who asks
//! drains them all into a [`Sample`]. The time is read by the caller.

mod thread;
mod times;

use std::time::Duration;

pub use thread::{Begun, Clock, Drained, Seen, ThreadUsage};
pub use times::{BUCKETS, Times};

/// A part of the time of a request.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Phase {
    /// In the server, until the request goes to a daemon or the application.
    Server,
    /// In the queue of a daemon.
    Queue,
    /// In the daemon, until the application is called.
    Daemon,
    /// In the application.
    Application,
    /// All of the above.
    Request,
    /// Of the application's time: waiting for Python's lock.
    GilWait,
    /// Of the application's time: reading the body of the request.
    InputRead,
    /// Writing the response.
    OutputWrite,
}

impl Phase {
    /// All, in the order of their numbers.
    pub const ALL: [Self; 8] = [
        Self::Server,
        Self::Queue,
        Self::Daemon,
        Self::Application,
        Self::Request,
        Self::GilWait,
        Self::InputRead,
        Self::OutputWrite,
    ];

    /// Returns the prefix of its keys.
    #[must_use]
    pub const fn key(self) -> &'static str {
        match self {
            Self::Server => "server_time",
            Self::Queue => "queue_time",
            Self::Daemon => "daemon_time",
            Self::Application => "application_time",
            Self::Request => "request_time",
            Self::GilWait => "gil_wait_time",
            Self::InputRead => "input_read_time",
            Self::OutputWrite => "output_write_time",
        }
    }

    /// Returns whether it is unknown outside daemon processes.
    #[must_use]
    pub const fn is_of_daemons(self) -> bool {
        matches!(self, Self::Queue | Self::Daemon)
    }
}

/// The duration of each phase of a request. Phases that it did not have are absent.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Phases([Option<Duration>; Phase::ALL.len()]);

/// Times of events of a request, in microseconds since the epoch; 0 where that is not known.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Stamps {
    /// The server read it.
    pub request_start: i64,
    /// It was put into a daemon's queue.
    pub queue_start: i64,
    /// The daemon took it from there.
    pub daemon_start: i64,
    /// The application was called.
    pub application_start: i64,
    /// The application was done with it.
    pub application_finish: i64,
}

impl Phases {
    /// Computes the phases between the stamps. Clocks of the day can be set back: nothing takes
    /// less than no time.
    #[must_use]
    pub fn between(stamps: &Stamps) -> Self {
        let span = |from: i64, to: i64| {
            let known = from != 0 && to != 0;
            known.then(|| Duration::from_micros(u64::try_from(to.saturating_sub(from)).unwrap_or(0)))
        };
        let is_queued = stamps.queue_start != 0;
        let served = if is_queued { stamps.queue_start } else { stamps.application_start };
        let parts = [
            span(stamps.request_start, served),
            span(stamps.queue_start, stamps.daemon_start),
            span(stamps.daemon_start, stamps.application_start),
            span(stamps.application_start, stamps.application_finish),
        ];
        let [server, queue, daemon, application] = parts;
        let request = parts.into_iter().flatten().fold(Duration::ZERO, Duration::saturating_add);
        Self([server, queue, daemon, application, Some(request), None, None, None])
    }

    /// Returns the phases with one set.
    #[must_use]
    pub const fn with(mut self, phase: Phase, time: Duration) -> Self {
        self.0[phase as usize] = Some(time);
        self
    }

    /// Returns the duration of a phase.
    #[must_use]
    pub const fn of(&self, phase: Phase) -> Option<Duration> {
        self.0[phase as usize]
    }

    /// Lengthens a phase, if the request has it.
    pub fn add(&mut self, phase: Phase, time: Duration) {
        if let Some(known) = &mut self.0[phase as usize] {
            *known = known.saturating_add(time);
        }
    }
}

/// Bytes moved, and the number of operations.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Traffic {
    /// Bytes.
    pub bytes: u64,
    /// Reads or writes.
    pub operations: u64,
}

impl Traffic {
    fn add(&mut self, more: Self) {
        self.bytes = self.bytes.saturating_add(more.bytes);
        self.operations = self.operations.saturating_add(more.operations);
    }
}

/// A request whose application has been called, and is done with it.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Completed {
    /// The duration of its phases.
    pub phases: Phases,
    /// The status that the application set.
    pub status: u16,
    /// Input that the application read.
    pub input: Traffic,
    /// Output that the application produced.
    pub output: Traffic,
    /// The number of times that it waited for Python's lock.
    pub gil_waits: u64,
}

/// Totals over requests.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Totals {
    /// The numbers of requests with a status of 1xx, 2xx, 3xx, 4xx, 5xx.
    pub statuses: [u64; 5],
    /// Input that was read.
    pub input: Traffic,
    /// Output that was produced.
    pub output: Traffic,
    /// The number of times that Python's lock was waited for.
    pub gil_waits: u64,
    times: [Times; Phase::ALL.len()],
}

impl Totals {
    /// Adds a request.
    pub fn record(&mut self, request: &Completed) {
        if let Some(count) = class(request.status).and_then(|class| self.statuses.get_mut(class)) {
            *count += 1;
        }
        self.input.add(request.input);
        self.output.add(request.output);
        self.gil_waits += request.gil_waits;
        for (times, time) in self.times.iter_mut().zip(request.phases.0) {
            if let Some(time) = time {
                times.record(time);
            }
        }
    }

    /// Adds other sums.
    pub fn merge(&mut self, other: &Self) {
        for (own, more) in self.statuses.iter_mut().zip(other.statuses) {
            *own += more;
        }
        self.input.add(other.input);
        self.output.add(other.output);
        self.gil_waits += other.gil_waits;
        for (own, more) in self.times.iter_mut().zip(&other.times) {
            own.merge(more);
        }
    }

    /// Returns the times of a phase.
    #[must_use]
    pub const fn times(&self, phase: Phase) -> &Times {
        &self.times[phase as usize]
    }
}

/// Returns the index in [`Totals::statuses`]. No status at all is the server's fault.
fn class(status: u16) -> Option<usize> {
    match status {
        0 => Some(4),
        100.. => Some(usize::from(status / 100 - 1)),
        _ => None,
    }
}

/// The work of the threads of a process in an interval.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Sample {
    /// Sums over the requests whose application was called.
    pub totals: Totals,
    /// Requests that have ended, with those whose script could not be loaded.
    pub completed: u64,
    /// The time that all threads were busy, added up.
    pub busy: Duration,
    /// By thread id, from 1 on.
    threads: Vec<ThreadUsage>,
}

impl Sample {
    /// Creates the sample of an interval in which nothing has happened, of a process that has
    /// `threads` threads to serve requests.
    #[must_use]
    pub fn new(threads: u32) -> Self {
        Self { threads: vec![ThreadUsage::default(); threads as usize], ..Self::default() }
    }

    /// Adds what a thread did. Thread 0, and threads beyond those that the process is configured to
    /// have, count but have no entry.
    pub fn add(&mut self, thread: u32, drained: &Drained) {
        self.totals.merge(&drained.totals);
        self.completed += drained.usage.completed;
        self.busy = self.busy.saturating_add(drained.usage.busy);
        let index = thread.checked_sub(1).map(|index| index as usize);
        if let Some(usage) = index.and_then(|index| self.threads.get_mut(index)) {
            usage.merge(&drained.usage);
        }
    }

    /// Returns the work of each thread; thread 1 comes first.
    #[must_use]
    pub fn threads(&self) -> &[ThreadUsage] {
        &self.threads
    }

    /// Returns how many configured threads did anything.
    #[must_use]
    pub fn active(&self) -> usize {
        self.threads.iter().filter(|usage| usage.completed > 0 || usage.busy > Duration::ZERO).count()
    }

    /// Requests per second over an interval of that length.
    #[must_use]
    pub fn throughput(&self, period: Duration) -> f64 {
        rate(self.completed as f64, period)
    }

    /// Returns the used part of the time that the process's threads have.
    #[must_use]
    pub fn utilization(&self, period: Duration) -> f64 {
        rate(
            self.busy.as_secs_f64(),
            period.saturating_mul(u32::try_from(self.threads.len()).unwrap_or(u32::MAX)),
        )
    }
}

/// Returns an amount per second; 0 over no time.
#[must_use]
pub fn rate(amount: f64, period: Duration) -> f64 {
    if period.is_zero() { 0.0 } else { amount / period.as_secs_f64() }
}

#[cfg(test)]
mod tests {
    use super::*;

    const fn micros(microseconds: u64) -> Duration {
        Duration::from_micros(microseconds)
    }

    fn request(status: u16) -> Completed {
        Completed { status, ..Completed::default() }
    }

    #[test]
    fn phases_have_their_own_places_and_keys() {
        for (index, phase) in Phase::ALL.into_iter().enumerate() {
            assert_eq!(phase as usize, index);
            assert_eq!(Phase::ALL.iter().filter(|other| other.key() == phase.key()).count(), 1);
        }
    }

    #[test]
    fn an_embedded_request_goes_from_the_server_to_the_application() {
        let stamps = Stamps {
            request_start: 1_000_000,
            application_start: 1_000_300,
            application_finish: 1_001_000,
            ..Stamps::default()
        };
        let phases = Phases::between(&stamps);
        let times = Phase::ALL.map(|phase| phases.of(phase).map(|time| time.as_micros()));
        assert_eq!(times, [Some(300), None, None, Some(700), Some(1000), None, None, None]);
    }

    #[test]
    fn a_daemons_request_waits_in_its_queue() {
        let stamps = Stamps {
            request_start: 1_000_000,
            queue_start: 1_000_010,
            daemon_start: 1_000_030,
            application_start: 1_000_070,
            application_finish: 1_000_150,
        };
        let phases = Phases::between(&stamps).with(Phase::GilWait, micros(5));
        let times = Phase::ALL.map(|phase| phases.of(phase).map(|time| time.as_micros()));
        assert_eq!(times, [Some(10), Some(20), Some(40), Some(80), Some(150), Some(5), None, None]);
    }

    #[test]
    fn clocks_that_are_set_back_make_no_negative_times() {
        let stamps = Stamps {
            request_start: 2_000_000,
            application_start: 1_000_000,
            application_finish: 1_000_100,
            ..Stamps::default()
        };
        let phases = Phases::between(&stamps);
        assert_eq!(phases.of(Phase::Server), Some(Duration::ZERO));
        assert_eq!(phases.of(Phase::Request), Some(micros(100)));
    }

    #[test]
    fn a_phase_is_lengthened_only_if_there_is_one() {
        let mut phases = Phases::default().with(Phase::OutputWrite, micros(1));
        phases.add(Phase::OutputWrite, micros(2));
        phases.add(Phase::GilWait, micros(2));
        assert_eq!((phases.of(Phase::OutputWrite), phases.of(Phase::GilWait)), (Some(micros(3)), None));
    }

    #[test]
    fn statuses_are_counted_by_class() {
        let mut totals = Totals::default();
        for status in [100, 200, 299, 304, 404, 500, 599, 0, 99, 600, 999, u16::MAX] {
            totals.record(&request(status));
        }
        assert_eq!(totals.statuses, [1, 2, 1, 1, 3]);
    }

    #[test]
    fn threads_without_a_slot_count() {
        let mut sample = Sample::new(2);
        for id in [0, 1, 3] {
            let mut drained = Drained::default();
            drained.record(micros(1000), Duration::ZERO, Some(&request(200)));
            drained.usage.busy = micros(1000);
            sample.add(id, &drained);
        }
        assert_eq!((sample.completed, sample.totals.statuses[1]), (3, 3));
        assert_eq!(sample.threads().iter().map(|usage| usage.completed).collect::<Vec<_>>(), [1, 0]);
        assert_eq!(sample.active(), 1);
        assert_eq!(sample.busy, micros(3000));
        assert!((sample.utilization(micros(6000)) - 0.25).abs() < 1e-12);
        assert!((sample.throughput(micros(6000)) - 500.0).abs() < 1e-9);
    }

    #[test]
    fn an_empty_interval_has_no_rate() {
        let sample = Sample { completed: 1, busy: micros(1), ..Sample::new(4) };
        assert_eq!((sample.throughput(Duration::ZERO), sample.utilization(Duration::ZERO)), (0.0, 0.0));
        assert_eq!(Sample::new(0).utilization(micros(1)), 0.0);
    }
}
