//! The state of a server for Prometheus, in its text format, version 0.0.4.
//!
//! The metrics of requests are those of OpenTelemetry's semantic conventions; all others are ours.
//! No label has a value that clients can choose: their number is bounded by the configuration.

use std::collections::BTreeMap;
use std::ffi::CStr;
use std::fmt::{Display, Write};

use crate::Snapshot;
use crate::histogram::{BOUNDS, Histogram};
use crate::snapshot::{Group, Mode, Process, State, Times};

/// The value of `Content-Type`.
pub const CONTENT_TYPE: &CStr = c"text/plain; version=0.0.4; charset=utf-8";

/// A metric: its name, its type, and what it says.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Metric {
    /// Its name.
    pub name: &'static str,
    /// Its type.
    pub kind: Kind,
    /// The names of its labels.
    pub labels: &'static [&'static str],
    /// What it says, in one line.
    pub help: &'static str,
}

/// The type of a metric.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// It only grows.
    Counter,
    /// It goes up and down.
    Gauge,
    /// The distribution of times.
    Histogram,
}

impl Kind {
    /// Returns the word for it.
    #[must_use]
    pub const fn word(self) -> &'static str {
        match self {
            Self::Counter => "counter",
            Self::Gauge => "gauge",
            Self::Histogram => "histogram",
        }
    }
}

/// Declares metrics, and a table of all of them.
macro_rules! metrics {
    ($($constant:ident = $kind:ident $name:literal [$($label:literal),*] $help:literal;)*) => {
        $(const $constant: Metric =
            Metric { name: $name, kind: Kind::$kind, labels: &[$($label),*], help: $help };)*

        /// All metrics, in the order of the text.
        pub const METRICS: &[Metric] = &[$($constant),*];
    };
}

metrics! {
    INFO = Gauge "mod_wsgi_info" ["version", "apache", "mpm"]
        "The versions of mod_wsgi-rs and Apache; always 1.";
    START_TIME = Gauge "mod_wsgi_start_time_seconds" []
        "The time at which the server was started, in seconds since the epoch; counters begin there.";
    CONFIGURED_TIME = Gauge "mod_wsgi_configured_time_seconds" []
        "The time at which the configuration was read last.";
    CAPACITY = Gauge "mod_wsgi_capacity_requests" []
        "The most requests that the server takes at a time.";
    WARNINGS = Gauge "mod_wsgi_configuration_warnings" []
        "Problems of the configuration.";
    DROPPED_SPANS = Counter "mod_wsgi_dropped_spans_total" []
        "Spans for OpenTelemetry that were dropped, since the exporter could not take them.";
    GROUP_INFO = Gauge "mod_wsgi_group_info" ["process_group", "mode", "virtual_host", "user", "python"]
        "A process group, or embedded mode (whose process_group is empty); always 1.";
    DURATION = Histogram "http_server_request_duration_seconds" ["process_group", "method", "status_class"]
        "The duration of requests that have ended, as seen by Apache.";
    ACTIVE = Gauge "http_server_active_requests" ["process_group"]
        "Requests that are under way.";
    QUEUED = Gauge "mod_wsgi_queued_requests" ["process_group"]
        "Requests that wait for a process, or for a thread in one.";
    QUEUE_TIME = Histogram "mod_wsgi_request_queue_seconds" ["process_group"]
        "The time that requests have waited for a thread of a process.";
    LOCK_WAIT = Histogram "mod_wsgi_request_lock_wait_seconds" ["process_group"]
        "The time that requests have waited for the lock of the interpreter.";
    APPLICATION = Histogram "mod_wsgi_request_application_seconds" ["process_group"]
        "The time that requests have spent in the application.";
    READING = Histogram "mod_wsgi_request_reading_seconds" ["process_group"]
        "The time that requests have waited for the client's body.";
    WRITING = Histogram "mod_wsgi_request_writing_seconds" ["process_group"]
        "The time that it took to pass responses on, and to wait for the client there.";
    BYTES_IN = Counter "mod_wsgi_request_body_bytes_total" ["process_group"]
        "Bytes of requests' bodies that were read.";
    BYTES_OUT = Counter "mod_wsgi_response_body_bytes_total" ["process_group"]
        "Bytes of responses' bodies that were sent.";
    REJECTIONS = Counter "mod_wsgi_rejections_total" ["process_group", "cause"]
        "Requests that the application has not got, or not answered.";
    PROCESSES = Gauge "mod_wsgi_processes" ["process_group", "state"]
        "Places for processes, by state.";
    MOST_PROCESSES = Gauge "mod_wsgi_most_processes" ["process_group"]
        "The largest number of processes.";
    THREADS = Gauge "mod_wsgi_threads" ["process_group"]
        "The threads of the processes that serve.";
    BUSY = Gauge "mod_wsgi_busy_threads" ["process_group"]
        "Threads that run a request.";
    ENDS = Counter "mod_wsgi_process_ends_total" ["process_group", "reason"]
        "Processes that ended because they were replaced or told to.";
    CRASHES = Counter "mod_wsgi_process_crashes_total" ["process_group", "signal"]
        "Processes that were ended by a signal which nobody of the server has sent.";
    EXITS = Counter "mod_wsgi_process_exits_total" ["process_group"]
        "Processes that exited by themselves, with a status other than 0.";
    FAILED_RELOADS = Counter "mod_wsgi_failed_reloads_total" ["process_group"]
        "Successors that did not become ready, so that the former process went on.";
    LACKING = Gauge "mod_wsgi_processes_lacking_import" ["process_group"]
        "Processes that could not import a script that the configuration names.";
    RESIDENT = Gauge "mod_wsgi_process_resident_memory_bytes" ["process_group", "slot"]
        "Resident memory of a process.";
    PROCESSOR = Counter "mod_wsgi_process_cpu_seconds_total" ["process_group", "slot"]
        "Processor time of the process that has the slot now.";
    PROCESS_START = Gauge "mod_wsgi_process_start_time_seconds" ["process_group", "slot"]
        "The time at which the process that has the slot now was started.";
    PROCESS_BUSY = Gauge "mod_wsgi_process_busy_threads" ["process_group", "slot"]
        "Threads of a process that run a request.";
    PROCESS_BUSY_PEAK = Gauge "mod_wsgi_process_busy_threads_peak" ["process_group", "slot"]
        "The most threads of a process that have run a request at a time.";
    PROCESS_QUEUED = Gauge "mod_wsgi_process_queued_requests" ["process_group", "slot"]
        "Requests that wait in a process for a thread.";
    PROCESS_QUEUED_PEAK = Gauge "mod_wsgi_process_queued_requests_peak" ["process_group", "slot"]
        "The most requests that have waited in a process at a time.";
}

/// Returns the text.
#[must_use]
pub fn render(snapshot: &Snapshot) -> String {
    let mut text = Text(String::with_capacity(64 << 10));
    server(snapshot, &mut text);
    // What belongs to others is not counted.
    let groups: Vec<_> = snapshot.groups.iter().filter(|group| !group.is_partial).collect();
    requests(&groups, &mut text);
    processes(&groups, &mut text);
    slots(&groups, &mut text);
    text.0
}

fn server(snapshot: &Snapshot, text: &mut Text) {
    let server = &snapshot.server;
    text.family(&INFO).sample(&[&server.version, &server.apache, &server.mpm], 1);
    for (metric, time) in [(&START_TIME, server.started), (&CONFIGURED_TIME, server.configured)] {
        if time > 0.0 {
            text.family(metric).sample(&[], time);
        }
    }
    text.family(&CAPACITY).sample(&[], server.capacity);
    text.family(&WARNINGS).sample(&[], snapshot.warnings.len());
    text.family(&DROPPED_SPANS).sample(&[], server.dropped_spans);
}

fn requests(groups: &[&Group], text: &mut Text) {
    let mut family = text.family(&GROUP_INFO);
    for group in groups {
        let mode = match group.mode {
            Mode::Daemon => "daemon",
            Mode::Embedded => "embedded",
        };
        family.sample(&[&group.name, mode, &group.virtual_host, &group.user, &group.python], 1);
    }
    let mut family = text.family(&DURATION);
    for group in groups {
        for ended in &group.http {
            let class = format!("{}xx", ended.status_class);
            family.histogram(&[&group.name, &ended.method, &class], &ended.duration);
        }
    }
    text.each(&ACTIVE, groups, Group::under_way);
    text.each(&QUEUED, groups, |group| group.queued);
    text.part(&QUEUE_TIME, groups, |times| &times.queue);
    text.part(&LOCK_WAIT, groups, |times| &times.lock_wait);
    text.part(&APPLICATION, groups, |times| &times.application);
    text.part(&READING, groups, |times| &times.reading);
    text.part(&WRITING, groups, |times| &times.writing);
    text.each(&BYTES_IN, groups, |group| sum(group, |process| process.bytes_in));
    text.each(&BYTES_OUT, groups, |group| sum(group, |process| process.bytes_out));
    let mut family = text.family(&REJECTIONS);
    for group in groups {
        for (cause, count) in &group.rejections {
            family.sample(&[&group.name, cause], count);
        }
    }
}

fn processes(groups: &[&Group], text: &mut Text) {
    const STATES: [(State, &str); 5] = [
        (State::Starting, "starting"),
        (State::Serving, "serving"),
        (State::Failing, "failing"),
        (State::Dormant, "dormant"),
        (State::Cut, "cut"),
    ];
    let mut family = text.family(&PROCESSES);
    for group in groups {
        for (state, name) in STATES {
            let count = sum(group, |process| u64::from(process.state == state));
            family.sample(&[&group.name, name], count);
        }
    }
    text.each(&MOST_PROCESSES, groups, |group| group.most_processes.into());
    text.each(&THREADS, groups, |group| {
        sum(group, |process| u64::from(process.state == State::Serving)) * u64::from(group.threads)
    });
    text.each(&BUSY, groups, Group::busy);
    text.by_name(&ENDS, groups, |process| &process.restarts);
    text.by_name(&CRASHES, groups, |process| &process.crashes);
    text.each(&EXITS, groups, |group| sum(group, |process| process.exits));
    text.each(&FAILED_RELOADS, groups, |group| sum(group, |process| process.failed_reloads));
    text.each(&LACKING, groups, |group| sum(group, |process| process.lacks_import.into()));
}

fn slots(groups: &[&Group], text: &mut Text) {
    // Of a slot without a process, nothing is known but its counts.
    text.slots(&RESIDENT, groups, |process| known(process, process.resident as f64));
    text.slots(&PROCESSOR, groups, |process| known(process, process.cpu));
    text.slots(&PROCESS_START, groups, |process| known(process, process.started).filter(|time| *time > 0.0));
    text.slots(&PROCESS_BUSY, groups, |process| Some(process.busy as f64));
    text.slots(&PROCESS_BUSY_PEAK, groups, |process| Some(process.peak_busy as f64));
    text.slots(&PROCESS_QUEUED, groups, |process| Some(process.queued as f64));
    text.slots(&PROCESS_QUEUED_PEAK, groups, |process| Some(process.peak_queued as f64));
}

fn known(process: &Process, value: f64) -> Option<f64> {
    (process.pid != 0).then_some(value)
}

fn sum(group: &Group, count: impl Fn(&Process) -> u64) -> u64 {
    group.processes.iter().map(count).sum()
}

/// The text that is being written.
struct Text(String);

/// The samples of a metric.
struct Family<'t> {
    text: &'t mut String,
    metric: &'static Metric,
}

impl Text {
    /// Begins the samples of a metric.
    fn family(&mut self, metric: &'static Metric) -> Family<'_> {
        let Metric { name, kind, help, .. } = metric;
        // Writing to a string does not fail.
        let _ = write!(self.0, "# HELP {name} {help}\n# TYPE {name} {}\n", kind.word());
        Family { text: &mut self.0, metric }
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
            family.histogram(&[&group.name], &sum);
        }
    }

    /// Writes a metric that has one value for each group and name.
    fn by_name(
        &mut self,
        metric: &'static Metric,
        groups: &[&Group],
        counts: fn(&Process) -> &BTreeMap<String, u64>,
    ) {
        let mut family = self.family(metric);
        for group in groups {
            let mut sums = BTreeMap::<&str, u64>::new();
            for (name, count) in group.processes.iter().flat_map(counts) {
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
    /// Writes a sample, with a value for each label.
    fn sample(&mut self, labels: &[&str], value: impl Display) {
        self.line("", labels, None, value);
    }

    /// Writes the samples of a distribution.
    fn histogram(&mut self, labels: &[&str], histogram: &Histogram) {
        let mut below = 0;
        for (index, bound) in BOUNDS.iter().enumerate() {
            below += histogram.buckets.get(index).copied().unwrap_or(0);
            self.line("_bucket", labels, Some(&bound.to_string()), below);
        }
        // The last bucket and the count are to be the same, whatever else is counted meanwhile.
        let count = histogram.count();
        self.line("_bucket", labels, Some("+Inf"), count);
        self.line("_sum", labels, None, histogram.sum);
        self.line("_count", labels, None, count);
    }

    fn line(&mut self, suffix: &str, labels: &[&str], bound: Option<&str>, value: impl Display) {
        debug_assert_eq!(labels.len(), self.metric.labels.len(), "{}", self.metric.name);
        self.text.push_str(self.metric.name);
        self.text.push_str(suffix);
        let labels = self.metric.labels.iter().copied().zip(labels.iter().copied());
        let mut separator = '{';
        for (name, value) in labels.chain(bound.map(|bound| ("le", bound))) {
            self.text.push(separator);
            self.text.push_str(name);
            self.text.push_str("=\"");
            push_escaped(self.text, value);
            self.text.push('"');
            separator = ',';
        }
        if separator == ',' {
            self.text.push('}');
        }
        // Writing to a string does not fail.
        let _ = writeln!(self.text, " {value}");
    }
}

/// Appends the value of a label.
fn push_escaped(text: &mut String, value: &str) {
    for character in value.chars() {
        match character {
            '\\' => text.push_str("\\\\"),
            '"' => text.push_str("\\\""),
            '\n' => text.push_str("\\n"),
            other => text.push(other),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::histogram::BUCKETS;
    use crate::snapshot::{Ended, Server};

    fn snapshot() -> Snapshot {
        let mut buckets = vec![0; BUCKETS];
        (buckets[0], buckets[2], buckets[BUCKETS - 1]) = (3, 2, 1);
        let duration = Histogram { buckets, sum: 12.5 };
        let process = |slot, pid, signal: &str| Process {
            slot,
            pid,
            state: State::Serving,
            resident: 1_000,
            crashes: [(signal.to_owned(), 2)].into(),
            times: Times { queue: duration.clone(), ..Times::default() },
            ..Process::default()
        };
        let shop = Group {
            name: "sh\"o\\p\n".to_owned(),
            threads: 4,
            http: vec![Ended { method: "GET".to_owned(), status_class: 2, duration: duration.clone() }],
            rejections: [("busy".to_owned(), 5)].into(),
            processes: vec![process(0, 70, "SIGSEGV"), process(1, 0, "SIGSEGV")],
            ..Group::default()
        };
        let partial = Group { name: "hidden".to_owned(), is_partial: true, ..Group::default() };
        let server = Server { version: "1.2".to_owned(), started: 1_795_753_752.5, ..Server::default() };
        Snapshot { server, groups: vec![shop, partial], ..Snapshot::default() }
    }

    #[test]
    fn samples_have_their_labels_and_values() {
        let text = render(&snapshot());
        for line in [
            "mod_wsgi_info{version=\"1.2\",apache=\"\",mpm=\"\"} 1",
            "mod_wsgi_start_time_seconds 1795753752.5",
            "mod_wsgi_group_info{process_group=\"sh\\\"o\\\\p\\n\",mode=\"daemon\",virtual_host=\"\",user=\"\",python=\"\"} 1",
            "mod_wsgi_rejections_total{process_group=\"sh\\\"o\\\\p\\n\",cause=\"busy\"} 5",
            "mod_wsgi_process_crashes_total{process_group=\"sh\\\"o\\\\p\\n\",signal=\"SIGSEGV\"} 4",
            "mod_wsgi_threads{process_group=\"sh\\\"o\\\\p\\n\"} 8",
            "mod_wsgi_process_resident_memory_bytes{process_group=\"sh\\\"o\\\\p\\n\",slot=\"0\"} 1000",
        ] {
            assert!(text.lines().any(|other| other == line), "no {line} in {text}");
        }
        assert!(!text.contains("hidden"));
        assert!(!text.contains("resident_memory_bytes{process_group=\"sh\\\"o\\\\p\\n\",slot=\"1\"}"));
    }

    #[test]
    fn histograms_are_cumulative() {
        let text = render(&snapshot());
        let values = |suffix: &str| {
            let start = format!("http_server_request_duration_seconds{suffix}{{");
            let lines = text.lines().filter(|line| line.starts_with(&start));
            lines.map(|line| line.rsplit(' ').next().unwrap_or_default().to_owned()).collect::<Vec<_>>()
        };
        let buckets = ["3", "3", "5", "5", "5", "5", "5", "5", "5", "5", "5", "5", "5", "5", "6"];
        assert_eq!(values("_bucket"), buckets);
        assert_eq!((values("_sum"), values("_count")), (vec!["12.5".to_owned()], vec!["6".to_owned()]));
        assert!(text.contains("method=\"GET\",status_class=\"2xx\",le=\"0.005\"} 3\n"));
        assert!(text.contains("method=\"GET\",status_class=\"2xx\",le=\"+Inf\"} 6\n"));
        // Those of both processes.
        assert!(
            text.contains("mod_wsgi_request_queue_seconds_count{process_group=\"sh\\\"o\\\\p\\n\"} 12\n")
        );
    }

    #[test]
    fn names_follow_the_rules() {
        let text = render(&snapshot());
        for metric in METRICS {
            let is_counter = metric.kind == Kind::Counter;
            assert_eq!(metric.name.ends_with("_total"), is_counter, "{}", metric.name);
            assert!(metric.help.ends_with('.') && !metric.help.contains(['\\', '\n']));
            assert!(!metric.labels.contains(&"path"));
            let head = format!("# HELP {} ", metric.name);
            let is_timed = matches!(metric.name, "mod_wsgi_configured_time_seconds");
            assert_eq!(text.matches(&head).count(), usize::from(!is_timed), "{}", metric.name);
        }
        assert!(text.ends_with('\n') && !text.contains("\n\n"));
    }
}
