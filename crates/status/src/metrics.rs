//! The metrics of a server, for every form in which they are published.
//!
//! The metrics of requests are those of OpenTelemetry's semantic conventions; all others are ours.
//! No label has a value that clients can choose: their number is bounded by the configuration.

use std::collections::BTreeMap;

use wsgi_core::ledger::Cause;

use crate::Snapshot;
use crate::histogram::Histogram;
use crate::snapshot::{Group, Mode, Process, State, Times};

/// A metric: its names, its type, and what it says.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Metric {
    /// Its name for Prometheus.
    pub name: &'static str,
    /// Its type.
    pub kind: Kind,
    /// The names of its labels.
    pub labels: &'static [&'static str],
    /// Its name for OpenTelemetry; empty if it is not sent there, since the resource says the same.
    pub otel_name: &'static str,
    /// Its unit for OpenTelemetry (of UCUM).
    pub unit: &'static str,
    /// Its meaning, in one line.
    pub help: &'static str,
}

/// The type of a metric.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// It only grows.
    Counter,
    /// It goes up and down, and those of several servers can be added up.
    UpDownCounter,
    /// It goes up and down.
    Gauge,
    /// The distribution of times.
    Histogram,
}

impl Kind {
    /// Returns the word for it in Prometheus.
    #[must_use]
    pub const fn word(self) -> &'static str {
        match self {
            Self::Counter => "counter",
            Self::UpDownCounter | Self::Gauge => "gauge",
            Self::Histogram => "histogram",
        }
    }
}

/// The destination of metrics.
pub trait Sink {
    /// Begins the values of a metric, which follow until the next one begins.
    fn family(&mut self, metric: &'static Metric);

    /// Writes a value, with a value for each label.
    fn number(&mut self, labels: &[&str], value: Number);

    /// Writes a distribution, with a value for each label.
    fn histogram(&mut self, labels: &[&str], histogram: &Histogram);

    /// Returns whether counters of faults are to be written before there was any, for a reader that
    /// does not know when a counter began: it would take the first fault for where counting starts.
    fn wants_zeros(&self) -> bool;
}

/// The signals by which processes crash.
const CRASH_SIGNALS: [&str; 6] = ["SIGABRT", "SIGBUS", "SIGFPE", "SIGILL", "SIGKILL", "SIGSEGV"];

/// A value.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Number {
    /// A count.
    Count(u64),
    /// A measure.
    Measure(f64),
}

/// Declares metrics, and a table of all of them.
macro_rules! metrics {
    ($($constant:ident = $kind:ident $name:literal [$($label:literal),*] $otel:literal $unit:literal $help:literal;)*) => {
        $(const $constant: Metric = Metric {
            name: $name,
            kind: Kind::$kind,
            labels: &[$($label),*],
            otel_name: $otel,
            unit: $unit,
            help: $help,
        };)*

        /// All metrics, in the order in which they are written.
        pub const METRICS: &[Metric] = &[$($constant),*];
    };
}

metrics! {
    INFO = Gauge "mod_wsgi_info" ["version", "apache", "mpm"]
        "" ""
        "The versions of mod_wsgi-rs and Apache; always 1.";
    START_TIME = Gauge "mod_wsgi_start_time_seconds" []
        "" ""
        "The time at which the server was started, in seconds since the epoch; counters begin there.";
    CONFIGURED_TIME = Gauge "mod_wsgi_configured_time_seconds" []
        "" ""
        "The time at which the configuration was read last.";
    CAPACITY = Gauge "mod_wsgi_capacity_requests" []
        "mod_wsgi.capacity" "{request}"
        "The most requests that the server takes at a time.";
    WARNINGS = Gauge "mod_wsgi_configuration_warnings" []
        "mod_wsgi.configuration.warnings" "{warning}"
        "Problems of the configuration.";
    DROPPED_SPANS = Counter "mod_wsgi_dropped_spans_total" []
        "" ""
        "Spans for OpenTelemetry that were lost: the exporter or the collector did not take them, or the exporter was killed.";
    GROUP_INFO = Gauge "mod_wsgi_group_info" ["process_group", "mode", "virtual_host", "user", "python"]
        "" ""
        "A process group, or embedded mode (whose process_group is empty); always 1.";
    DURATION = Histogram "http_server_request_duration_seconds" ["process_group", "http_request_method", "http_response_status_code", "url_scheme", "status_class"]
        "http.server.request.duration" "s"
        "The duration of requests that have ended, as seen by Apache.";
    ACTIVE = UpDownCounter "http_server_active_requests" ["process_group"]
        "http.server.active_requests" "{request}"
        "Requests that are under way.";
    QUEUED = UpDownCounter "mod_wsgi_queued_requests" ["process_group"]
        "mod_wsgi.queued_requests" "{request}"
        "Requests that wait for a process, or for a thread in one.";
    QUEUE_TIME = Histogram "mod_wsgi_request_queue_seconds" ["process_group"]
        "mod_wsgi.request.queue_time" "s"
        "The time that requests have waited for a thread of a process.";
    LOCK_WAIT = Histogram "mod_wsgi_request_lock_wait_seconds" ["process_group"]
        "mod_wsgi.request.lock_wait" "s"
        "The time that requests have waited for the lock of the interpreter.";
    APPLICATION = Histogram "mod_wsgi_request_application_seconds" ["process_group"]
        "mod_wsgi.request.application_time" "s"
        "The time that requests have spent in the application.";
    READING = Histogram "mod_wsgi_request_reading_seconds" ["process_group"]
        "mod_wsgi.request.reading_time" "s"
        "The time that requests have waited for the client's body.";
    WRITING = Histogram "mod_wsgi_request_writing_seconds" ["process_group"]
        "mod_wsgi.request.writing_time" "s"
        "The time that it took to pass responses on, and to wait for the client there.";
    BYTES_IN = Counter "mod_wsgi_request_body_bytes_total" ["process_group"]
        "mod_wsgi.request.body.io" "By"
        "Bytes of requests' bodies that were read.";
    BYTES_OUT = Counter "mod_wsgi_response_body_bytes_total" ["process_group"]
        "mod_wsgi.response.body.io" "By"
        "Bytes of responses' bodies that were sent.";
    REJECTIONS = Counter "mod_wsgi_rejections_total" ["process_group", "cause"]
        "mod_wsgi.rejections" "{request}"
        "Requests that the application has not got, or not answered.";
    SLOW = Counter "mod_wsgi_slow_requests_total" ["process_group"]
        "mod_wsgi.slow_requests" "{request}"
        "Requests that have ended and took longer than WSGISlowRequests.";
    STUCK = Counter "mod_wsgi_stuck_requests_total" ["process_group"]
        "mod_wsgi.stuck_requests" "{request}"
        "Requests that have held their threads for longer than the limit of stuck requests.";
    PROCESSES = Gauge "mod_wsgi_processes" ["process_group", "state"]
        "mod_wsgi.processes" "{process}"
        "Places for processes, by state.";
    MOST_PROCESSES = Gauge "mod_wsgi_most_processes" ["process_group"]
        "mod_wsgi.processes.limit" "{process}"
        "The largest number of processes.";
    THREADS = Gauge "mod_wsgi_threads" ["process_group"]
        "mod_wsgi.threads" "{thread}"
        "The threads of the processes that serve.";
    BUSY = Gauge "mod_wsgi_busy_threads" ["process_group"]
        "mod_wsgi.threads.busy" "{thread}"
        "Threads that run a request.";
    ENDS = Counter "mod_wsgi_process_ends_total" ["process_group", "reason"]
        "mod_wsgi.process.ends" "{process}"
        "Processes that ended because they were replaced or told to.";
    CRASHES = Counter "mod_wsgi_process_crashes_total" ["process_group", "signal"]
        "mod_wsgi.process.crashes" "{process}"
        "Processes that were ended by a signal which nobody of the server has sent.";
    EXITS = Counter "mod_wsgi_process_exits_total" ["process_group"]
        "mod_wsgi.process.exits" "{process}"
        "Processes that exited by themselves, with a status other than 0.";
    FAILED_RELOADS = Counter "mod_wsgi_failed_reloads_total" ["process_group"]
        "mod_wsgi.failed_reloads" "{reload}"
        "Successors that did not become ready, so that the former process went on.";
    FAILED_STARTS = Counter "mod_wsgi_failed_starts_total" ["process_group"]
        "mod_wsgi.failed_starts" "{process}"
        "Processes that could not be started, or ended before they were ready.";
    LACKING = Gauge "mod_wsgi_processes_lacking_import" ["process_group"]
        "mod_wsgi.processes.lacking_import" "{process}"
        "Processes that could not import a script that the configuration names.";
    RESIDENT = Gauge "mod_wsgi_process_resident_memory_bytes" ["process_group", "slot"]
        "mod_wsgi.process.memory.usage" "By"
        "Resident memory of a process.";
    PROCESSOR = Counter "mod_wsgi_process_cpu_seconds_total" ["process_group", "slot"]
        "mod_wsgi.process.cpu.time" "s"
        "Processor time of the process that has the slot now.";
    PROCESS_START = Gauge "mod_wsgi_process_start_time_seconds" ["process_group", "slot"]
        "mod_wsgi.process.start_time" "s"
        "The time at which the process that has the slot now was started.";
    PROCESS_BUSY = Gauge "mod_wsgi_process_busy_threads" ["process_group", "slot"]
        "mod_wsgi.process.threads.busy" "{thread}"
        "Threads of a process that run a request.";
    PROCESS_BUSY_PEAK = Gauge "mod_wsgi_process_busy_threads_peak" ["process_group", "slot"]
        "mod_wsgi.process.threads.busy_peak" "{thread}"
        "The most threads of a process that have run a request at a time.";
    PROCESS_QUEUED = Gauge "mod_wsgi_process_queued_requests" ["process_group", "slot"]
        "mod_wsgi.process.queued_requests" "{request}"
        "Requests that wait in a process for a thread.";
    PROCESS_QUEUED_PEAK = Gauge "mod_wsgi_process_queued_requests_peak" ["process_group", "slot"]
        "mod_wsgi.process.queued_requests_peak" "{request}"
        "The most requests that have waited in a process at a time.";
}

/// Writes all metrics of a server.
pub fn write(snapshot: &Snapshot, sink: &mut dyn Sink) {
    let mut writer = Writer(sink);
    server(snapshot, &mut writer);
    // What belongs to others is not counted.
    let groups: Vec<_> = snapshot.groups.iter().filter(|group| !group.is_partial).collect();
    requests(&groups, &mut writer);
    processes(&groups, &mut writer);
    slots(&groups, &mut writer);
}

fn server(snapshot: &Snapshot, writer: &mut Writer<'_>) {
    let server = &snapshot.server;
    writer.family(&INFO).sample(&[&server.version, &server.apache, &server.mpm], 1);
    for (metric, time) in [(&START_TIME, server.started), (&CONFIGURED_TIME, server.configured)] {
        if time > 0.0 {
            writer.family(metric).sample(&[], time);
        }
    }
    writer.family(&CAPACITY).sample(&[], server.capacity);
    writer.family(&WARNINGS).sample(&[], snapshot.warnings.len() as u64);
    writer.family(&DROPPED_SPANS).sample(&[], server.dropped_spans);
}

fn requests(groups: &[&Group], writer: &mut Writer<'_>) {
    let mut family = writer.family(&GROUP_INFO);
    for group in groups {
        let mode = match group.mode {
            Mode::Daemon => "daemon",
            Mode::Embedded => "embedded",
        };
        family.sample(&[&group.name, mode, &group.virtual_host, &group.user, &group.python], 1);
    }
    let mut family = writer.family(&DURATION);
    for group in groups {
        for ended in &group.http {
            let code = ended.status_code.map(|code| code.to_string()).unwrap_or_default();
            let class = format!("{}xx", ended.status_class);
            let labels = [&*group.name, &ended.method, &code, &ended.scheme, &class];
            family.histogram(&labels, &ended.duration);
        }
    }
    writer.each(&ACTIVE, groups, Group::under_way);
    writer.each(&QUEUED, groups, |group| group.queued);
    writer.part(&QUEUE_TIME, groups, |times| &times.queue);
    writer.part(&LOCK_WAIT, groups, |times| &times.lock_wait);
    writer.part(&APPLICATION, groups, |times| &times.application);
    writer.part(&READING, groups, |times| &times.reading);
    writer.part(&WRITING, groups, |times| &times.writing);
    writer.each(&BYTES_IN, groups, |group| sum(group, |process| process.bytes_in));
    writer.each(&BYTES_OUT, groups, |group| sum(group, |process| process.bytes_out));
    writer.by_name(&REJECTIONS, groups, &Cause::ALL.map(Cause::name), |group| vec![&group.rejections]);
    writer.each(&SLOW, groups, |group| group.slow_requests);
    writer.each(&STUCK, groups, |group| group.stuck_requests);
}

fn processes(groups: &[&Group], writer: &mut Writer<'_>) {
    const STATES: [(State, &str); 5] = [
        (State::Starting, "starting"),
        (State::Serving, "serving"),
        (State::Failing, "failing"),
        (State::Dormant, "dormant"),
        (State::Cut, "cut"),
    ];
    let mut family = writer.family(&PROCESSES);
    for group in groups {
        for (state, name) in STATES {
            let count = sum(group, |process| u64::from(process.state == state));
            family.sample(&[&group.name, name], count);
        }
    }
    writer.each(&MOST_PROCESSES, groups, |group| group.most_processes.into());
    writer.each(&THREADS, groups, |group| {
        sum(group, |process| u64::from(process.state == State::Serving)) * u64::from(group.threads)
    });
    writer.each(&BUSY, groups, Group::busy);
    writer.by_name(&ENDS, groups, &[], |group| of_processes(group, |process| &process.restarts));
    writer.by_name(&CRASHES, groups, &CRASH_SIGNALS, |group| of_processes(group, |process| &process.crashes));
    writer.each(&EXITS, groups, |group| sum(group, |process| process.exits));
    writer.each(&FAILED_RELOADS, groups, |group| sum(group, |process| process.failed_reloads));
    writer.each(&FAILED_STARTS, groups, |group| sum(group, |process| process.failed_starts));
    writer.each(&LACKING, groups, |group| sum(group, |process| process.lacks_import.into()));
}

fn slots(groups: &[&Group], writer: &mut Writer<'_>) {
    // Of a slot without a process, nothing is known but its counts.
    writer.slots(&RESIDENT, groups, |process| known(process, process.resident as f64));
    writer.slots(&PROCESSOR, groups, |process| known(process, process.cpu));
    writer
        .slots(&PROCESS_START, groups, |process| known(process, process.started).filter(|time| *time > 0.0));
    writer.slots(&PROCESS_BUSY, groups, |process| Some(process.busy as f64));
    writer.slots(&PROCESS_BUSY_PEAK, groups, |process| Some(process.peak_busy as f64));
    writer.slots(&PROCESS_QUEUED, groups, |process| Some(process.queued as f64));
    writer.slots(&PROCESS_QUEUED_PEAK, groups, |process| Some(process.peak_queued as f64));
}

fn known(process: &Process, value: f64) -> Option<f64> {
    (process.pid != 0).then_some(value)
}

fn of_processes(
    group: &Group,
    counts: fn(&Process) -> &BTreeMap<String, u64>,
) -> Vec<&BTreeMap<String, u64>> {
    group.processes.iter().map(counts).collect()
}

fn sum(group: &Group, count: impl Fn(&Process) -> u64) -> u64 {
    group.processes.iter().map(count).sum()
}

/// A sink, with ways to write metrics that many groups or processes have.
struct Writer<'s>(&'s mut dyn Sink);

/// The values of a metric.
struct Family<'s>(&'s mut dyn Sink);

impl Writer<'_> {
    /// Begins the values of a metric.
    fn family(&mut self, metric: &'static Metric) -> Family<'_> {
        self.0.family(metric);
        Family(self.0)
    }

    /// Writes a metric that has one value for each group.
    fn each(&mut self, metric: &'static Metric, groups: &[&Group], value: impl Fn(&Group) -> u64) {
        let mut family = self.family(metric);
        for group in groups {
            family.sample(&[&group.name], value(group));
        }
    }

    /// Writes the distribution of a part of the requests' time.
    fn part(&mut self, metric: &'static Metric, groups: &[&Group], part: fn(&Times) -> &Histogram) {
        let mut family = self.family(metric);
        for group in groups {
            let mut sum = Histogram::default();
            group.processes.iter().for_each(|process| sum.add(part(&process.times)));
            // Of many groups, most may have had no requests yet.
            if sum.count() > 0 {
                family.histogram(&[&group.name], &sum);
            }
        }
    }

    /// Writes a metric that has one value for each group and name. The known names are written with
    /// zero, too, if the sink wants that.
    fn by_name(
        &mut self,
        metric: &'static Metric,
        groups: &[&Group],
        known: &[&str],
        counts: fn(&Group) -> Vec<&BTreeMap<String, u64>>,
    ) {
        let known = if self.0.wants_zeros() { known } else { &[] };
        let mut family = self.family(metric);
        for group in groups {
            let mut sums: BTreeMap<&str, u64> = known.iter().map(|name| (*name, 0)).collect();
            for (name, count) in counts(group).into_iter().flatten() {
                *sums.entry(name).or_default() += count;
            }
            for (name, count) in sums {
                family.sample(&[&group.name, name], count);
            }
        }
    }

    /// Writes a metric that slots have a value of.
    fn slots(&mut self, metric: &'static Metric, groups: &[&Group], value: fn(&Process) -> Option<f64>) {
        let mut family = self.family(metric);
        for group in groups {
            for process in &group.processes {
                if let Some(value) = value(process) {
                    family.sample(&[&group.name, &process.slot.to_string()], value);
                }
            }
        }
    }
}

impl Family<'_> {
    fn sample(&mut self, labels: &[&str], value: impl Into<Number>) {
        self.0.number(labels, value.into());
    }

    fn histogram(&mut self, labels: &[&str], histogram: &Histogram) {
        self.0.histogram(labels, histogram);
    }
}

impl From<u64> for Number {
    fn from(count: u64) -> Self {
        Self::Count(count)
    }
}

impl From<f64> for Number {
    fn from(measure: f64) -> Self {
        Self::Measure(measure)
    }
}
