//! The content of datagrams.

use std::time::Duration;

use super::datagram::{Datagram, append_text};
use super::field;
use crate::lifecycle::Reason;
use crate::metrics::{Phase, Phases, Sample, ThreadUsage, Traffic, rate};

/// The most threads that a sample shows one by one.
const MOST_THREADS: usize = 128;

/// The facts about a process that do not change.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Identity {
    /// The version of the contract.
    pub version: String,
    /// Python's version.
    pub python: String,
    /// The server's name and version.
    pub apache: String,
    /// The name of the MPM.
    pub mpm: String,
    /// The name of the machine.
    pub hostname: Vec<u8>,
    /// The process group; empty for an Apache child.
    pub process_group: Vec<u8>,
    /// The process id of the server's parent.
    pub parent: u32,
}

/// The resources and requests of a process in an interval.
#[derive(Debug)]
pub struct ProcessSample<'a> {
    /// The length of the interval.
    pub period: Duration,
    /// The configured length of intervals.
    pub interval: f64,
    /// The time from which a request is slow; `None`: none is.
    pub slow_requests: Option<f64>,
    /// `sys.getswitchinterval()`.
    pub switch_interval: f64,
    /// CPU time in user mode, in the kernel.
    pub cpu: (Duration, Duration),
    /// Resident memory, and the most that there was.
    pub memory: (u64, u64),
    /// The number of threads that the process may have for requests.
    pub threads: u32,
    /// The number of threads that have an id.
    pub threads_started: u32,
    /// The requests.
    pub requests: &'a Sample,
}

impl Identity {
    /// Appends the identity.
    pub fn write(&self, datagram: &mut Datagram) {
        datagram.text(field::VERSION, self.version.as_bytes());
        datagram.text(field::PYTHON_VERSION, self.python.as_bytes());
        datagram.text(field::APACHE_VERSION, self.apache.as_bytes());
        datagram.text(field::MPM_NAME, self.mpm.as_bytes());
        self.write_place(datagram);
        datagram.integer(field::PROCESS_PARENT_PID, self.parent.into());
    }

    /// Appends machine and process group only.
    pub fn write_place(&self, datagram: &mut Datagram) {
        datagram.text(field::HOSTNAME, &self.hostname);
        datagram.text(field::PROCESS_GROUP, &self.process_group);
    }
}

impl ProcessSample<'_> {
    /// Appends the sample. Phases of daemon processes are left out if `is_daemon` is not set, or
    /// while there are no requests.
    pub fn write(&self, datagram: &mut Datagram, is_daemon: bool) {
        let requests = self.requests;
        datagram.float(field::SAMPLE_PERIOD, self.period.as_secs_f64());
        datagram.float(field::TELEMETRY_INTERVAL, self.interval);
        datagram.float(field::SLOW_REQUESTS_THRESHOLD, self.slow_requests.unwrap_or(0.0));
        datagram.float(field::SWITCH_INTERVAL, self.switch_interval);
        datagram.integer(field::REQUEST_COUNT, requests.completed);
        datagram.float(field::REQUEST_THROUGHPUT, requests.throughput(self.period));
        datagram.float(field::CAPACITY_UTILIZATION, requests.utilization(self.period));
        let (user, system) = self.cpu;
        let cpu_rate = |time: Duration| rate(time.as_secs_f64(), self.period);
        datagram.float(field::CPU_USER_UTILIZATION, cpu_rate(user));
        datagram.float(field::CPU_SYSTEM_UTILIZATION, cpu_rate(system));
        datagram.float(field::CPU_UTILIZATION, cpu_rate(user.saturating_add(system)));
        datagram.integer(field::MEMORY_RSS, self.memory.0);
        datagram.integer(field::MEMORY_MAX_RSS, self.memory.1);
        datagram.integer(field::THREADS_MAXIMUM, self.threads.into());
        datagram.integer(field::THREADS_STARTED, self.threads_started.into());
        datagram.integer(field::THREADS_ACTIVE, requests.active() as u64);
        let totals = &requests.totals;
        let has_daemon_phases = is_daemon && totals.times(Phase::Queue).count() > 0;
        for phase in Phase::ALL.into_iter().filter(|phase| !phase.is_of_daemons() || has_daemon_phases) {
            let times = totals.times(phase);
            datagram.float(field::mean(phase), times.mean());
            if let Some((least, most)) = times.range() {
                datagram.float(field::least(phase), least.as_secs_f64());
                datagram.float(field::most(phase), most.as_secs_f64());
            }
            datagram.integers(field::buckets(phase), times.buckets().iter().copied());
        }
        datagram.integer(field::INPUT_BYTES, totals.input.bytes);
        datagram.integer(field::INPUT_READS, totals.input.operations);
        datagram.integer(field::OUTPUT_BYTES, totals.output.bytes);
        datagram.integer(field::OUTPUT_WRITES, totals.output.operations);
        for (field, count) in field::STATUSES.into_iter().zip(totals.statuses) {
            datagram.integer(field, count);
        }
        let threads = &requests.threads()[..requests.threads().len().min(MOST_THREADS)];
        let seconds =
            |time: fn(&ThreadUsage) -> Duration| threads.iter().map(move |usage| time(usage).as_secs_f64());
        datagram.integers(field::THREADS_COMPLETED, threads.iter().map(|usage| usage.completed));
        datagram.floats(field::THREADS_BUSY_TIME, seconds(|usage| usage.busy));
        datagram.floats(field::THREADS_CPU_TIME, seconds(|usage| usage.cpu));
        datagram.floats(field::THREADS_CURRENT_ELAPSED, seconds(|usage| usage.elapsed));
        datagram.floats(field::THREADS_MAX_DURATION, seconds(|usage| usage.longest));
    }
}

/// The end of a process.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Lifecycle {
    /// It has been decided on.
    Stopping {
        /// Requests that ran then.
        active: u64,
    },
    /// It has come.
    Stopped {
        /// The age of the process.
        uptime: Duration,
        /// The requests that it has served.
        requests: u64,
        /// Requests that still run.
        active: u64,
        /// The process ends by itself, not by force.
        is_graceful: bool,
    },
}

impl Lifecycle {
    /// Appends the event. There is no reason in an Apache child.
    pub fn write(&self, datagram: &mut Datagram, identity: &Identity, reason: Option<Reason>) {
        identity.write_place(datagram);
        datagram.text(field::SHUTDOWN_REASON, reason.map_or("", Reason::name).as_bytes());
        match *self {
            Self::Stopping { active } => datagram.integer(field::ACTIVE_AT_DECISION, active),
            Self::Stopped { uptime, requests, active, is_graceful } => {
                datagram.float(field::PROCESS_UPTIME, uptime.as_secs_f64());
                datagram.integer(field::LIFETIME_REQUEST_COUNT, requests);
                datagram.integer(field::ACTIVE_AT_EXIT, active);
                datagram.integer(field::GRACEFUL_DRAIN, is_graceful.into());
            }
        }
    }
}

/// The texts that describe a slow request, as fields of a datagram.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct SlowTexts(Vec<u8>);

/// A text that describes a slow request.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum SlowText {
    /// The server's id of the request.
    LogId,
    /// The method.
    Method,
    /// The scheme.
    Scheme,
    /// The host that was asked for.
    Hostname,
    /// The mount point.
    ScriptName,
    /// The path below it.
    PathInfo,
    /// The protocol.
    Protocol,
    /// The address of the client.
    PeerIp,
    /// The name of the client's program.
    UserAgent,
}

impl SlowText {
    /// Returns the field, and the longest text of it.
    const fn field(self) -> (field::Text, usize) {
        match self {
            Self::LogId => (field::SLOW_LOG_ID, 63),
            Self::Method => (field::SLOW_METHOD, 15),
            Self::Scheme => (field::SLOW_SCHEME, 15),
            Self::Hostname => (field::SLOW_HOSTNAME, 255),
            Self::ScriptName => (field::SLOW_SCRIPT_NAME, 255),
            Self::PathInfo => (field::SLOW_PATH_INFO, 511),
            Self::Protocol => (field::SLOW_PROTOCOL, 15),
            Self::PeerIp => (field::SLOW_PEER_IP, 45),
            Self::UserAgent => (field::SLOW_USER_AGENT, 511),
        }
    }
}

impl SlowTexts {
    /// Forgets the texts of the request before.
    pub fn clear(&mut self) {
        self.0.clear();
    }

    /// Adds a text, unless it is empty. The end of one that is too long is replaced by dots.
    pub fn add(&mut self, which: SlowText, text: &[u8]) {
        const DOTS: &[u8] = b"...";
        let (field, most) = which.field();
        if text.len() <= most {
            return append_text(&mut self.0, field, &[text]);
        }
        let mut end = most - DOTS.len();
        // A character is not cut in two.
        while end > 0 && text[end] & 0xc0 == 0x80 {
            end -= 1;
        }
        append_text(&mut self.0, field, &[&text[..end], DOTS]);
    }
}

/// The state of a slow request.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum SlowState {
    /// It runs.
    Active,
    /// It has ended.
    Completed {
        /// The status of its response.
        status: u16,
        /// Requests that ran when it ended, with it.
        active: u64,
    },
}

/// A slow request.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct SlowRequest {
    /// The texts that describe it.
    pub texts: SlowTexts,
    /// The time when a worker took it, in microseconds since the epoch.
    pub start: i64,
    /// The id of the thread.
    pub thread: u32,
    /// The process id of the Apache child that it came from.
    pub server: u32,
    /// Requests that ran when it began, with it.
    pub active: u64,
    /// The time of its phases.
    pub phases: Phases,
    /// The number of its waits for Python's lock.
    pub gil_waits: u64,
    /// The body that it has read.
    pub input: Traffic,
    /// The body that it has sent.
    pub output: Traffic,
    /// CPU time in user mode, in the kernel.
    pub cpu: (Duration, Duration),
}

impl SlowRequest {
    /// Appends the request, which has taken `duration` so far.
    pub fn write(&self, datagram: &mut Datagram, state: SlowState, duration: Duration) {
        let (number, status, active) = match state {
            SlowState::Active => (0, 0, 0),
            SlowState::Completed { status, active } => (1, status, active),
        };
        datagram.integer(field::SLOW_STATE, number);
        datagram.float(field::SLOW_START_STAMP, self.start as f64 / 1e6);
        datagram.float(field::SLOW_DURATION, duration.as_secs_f64());
        datagram.integer(field::SLOW_THREAD_ID, self.thread.into());
        datagram.integer(field::SLOW_SERVER_PID, self.server.into());
        datagram.fields(&self.texts.0);
        for (field, phase) in [
            (field::SLOW_SERVER_TIME, Phase::Server),
            (field::SLOW_QUEUE_TIME, Phase::Queue),
            (field::SLOW_DAEMON_TIME, Phase::Daemon),
            (field::SLOW_APPLICATION_TIME, Phase::Application),
            (field::SLOW_GIL_WAIT_TIME, Phase::GilWait),
            (field::SLOW_INPUT_READ_TIME, Phase::InputRead),
            (field::SLOW_OUTPUT_WRITE_TIME, Phase::OutputWrite),
        ] {
            datagram.float(field, self.phases.of(phase).unwrap_or_default().as_secs_f64());
        }
        datagram.integer(field::SLOW_GIL_WAIT_COUNT, self.gil_waits);
        datagram.integer(field::SLOW_INPUT_BYTES, self.input.bytes);
        datagram.integer(field::SLOW_INPUT_READS, self.input.operations);
        datagram.integer(field::SLOW_OUTPUT_BYTES, self.output.bytes);
        datagram.integer(field::SLOW_OUTPUT_WRITES, self.output.operations);
        datagram.integer(field::SLOW_STATUS, status.into());
        datagram.float(field::SLOW_CPU_USER_TIME, self.cpu.0.as_secs_f64());
        datagram.float(field::SLOW_CPU_SYSTEM_TIME, self.cpu.1.as_secs_f64());
        datagram.integer(field::SLOW_ACTIVE_AT_START, self.active);
        datagram.integer(field::SLOW_ACTIVE_AT_COMPLETION, active);
    }
}

/// The state of the garbage collector of an interpreter; lists are by generation.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct GcSnapshot {
    /// `gc.get_count()`.
    pub counts: [u64; 3],
    /// `gc.get_threshold()`.
    pub thresholds: [u64; 3],
    /// Collections so far.
    pub collections: [u64; 3],
    /// Objects that they have freed.
    pub collected: [u64; 3],
    /// Objects that they could not free.
    pub uncollectable: [u64; 3],
    /// `gc.isenabled()`.
    pub is_enabled: bool,
    /// `gc.get_freeze_count()`.
    pub frozen: u64,
}

/// A collection.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct GcEvent {
    /// Its beginning, in microseconds since the epoch.
    pub start: i64,
    /// The time that it took.
    pub duration: Duration,
    /// The oldest generation that it has collected.
    pub generation: u64,
    /// Objects that it has freed.
    pub collected: u64,
    /// Objects that it could not free.
    pub uncollectable: u64,
}

impl GcSnapshot {
    /// Appends the state; `dropped` is the number of collections that are not reported.
    pub fn write(&self, datagram: &mut Datagram, interpreter: &[u8], dropped: u64) {
        datagram.text(field::INTERPRETER_NAME, interpreter);
        for (fields, values) in [
            (field::GC_COUNTS, self.counts),
            (field::GC_THRESHOLDS, self.thresholds),
            (field::GC_COLLECTIONS, self.collections),
            (field::GC_COLLECTED, self.collected),
            (field::GC_UNCOLLECTABLE, self.uncollectable),
        ] {
            for (field, value) in fields.into_iter().zip(values) {
                datagram.integer(field, value);
            }
        }
        datagram.integer(field::GC_IS_ENABLED, self.is_enabled.into());
        datagram.integer(field::GC_FREEZE_COUNT, self.frozen);
        datagram.integer(field::GC_DROPPED_EVENTS, dropped);
    }
}

impl GcEvent {
    /// Appends the event.
    pub fn write(&self, datagram: &mut Datagram, interpreter: &[u8]) {
        datagram.text(field::INTERPRETER_NAME, interpreter);
        datagram.float(field::GC_EVENT_START_STAMP, self.start as f64 / 1e6);
        datagram.float(field::GC_EVENT_DURATION, self.duration.as_secs_f64());
        datagram.integer(field::GC_EVENT_GENERATION, self.generation);
        datagram.integer(field::GC_EVENT_COLLECTED, self.collected);
        datagram.integer(field::GC_EVENT_UNCOLLECTABLE, self.uncollectable);
    }
}

#[cfg(test)]
mod tests {
    use super::super::Kind;
    use super::*;

    #[test]
    fn long_texts_end_in_dots_between_characters() {
        for (text, expected) in [
            ("GET".to_owned(), "GET".to_owned()),
            (String::new(), String::new()),
            ("x".repeat(15), "x".repeat(15)),
            ("x".repeat(16), format!("{}...", "x".repeat(12))),
            (format!("{}\u{20ac}xx", "x".repeat(11)), format!("{}...", "x".repeat(11))),
        ] {
            let mut texts = SlowTexts::default();
            texts.add(SlowText::Scheme, b"gone");
            texts.clear();
            texts.add(SlowText::Method, text.as_bytes());
            let mut fields = Vec::new();
            append_text(&mut fields, field::SLOW_METHOD, &[expected.as_bytes()]);
            assert_eq!(texts.0, fields, "{text}");
        }
    }

    #[test]
    fn the_largest_sample_fits() {
        let mut requests = Sample::new(1000);
        requests.totals.record(&crate::metrics::Completed {
            phases: Phase::ALL
                .into_iter()
                .fold(Phases::default(), |phases, phase| phases.with(phase, Duration::MAX)),
            ..crate::metrics::Completed::default()
        });
        let identity =
            Identity { hostname: vec![b'h'; 255], process_group: vec![b'g'; 255], ..Identity::default() };
        let sample = ProcessSample {
            period: Duration::from_secs(1),
            interval: 1.0,
            slow_requests: None,
            switch_interval: 0.005,
            cpu: (Duration::ZERO, Duration::ZERO),
            memory: (1, 1),
            threads: 1000,
            threads_started: 1000,
            requests: &requests,
        };
        let mut datagram = Datagram::default();
        datagram.begin(Kind::Sample, 1, 1, 0.0);
        identity.write(&mut datagram);
        sample.write(&mut datagram, true);
        // The last field, of 128 threads.
        let last = [&114_u16.to_le_bytes()[..], &[6], &128_u16.to_le_bytes()].concat();
        let end = datagram.bytes().len() - 128 * 8;
        assert_eq!(datagram.bytes()[end - last.len()..end], last);
    }
}
