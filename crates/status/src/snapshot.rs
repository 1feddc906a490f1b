//! The state of a server at one moment.
//!
//! Its serialized form is the JSON of the status handler, and the interface for programs: a field
//! is not renamed or given another meaning without a new [`SCHEMA`]; fields may be added. Times
//! at which something happened are seconds since the epoch, durations are seconds, sizes bytes.
//! Counters never fall while the server runs, whatever is replaced.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use crate::Histogram;

/// The version of the schema.
pub const SCHEMA: u32 = 1;

/// The state of a server.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct Snapshot {
    /// [`SCHEMA`].
    pub schema: u32,
    /// The time of the snapshot.
    pub time: f64,
    /// The virtual host whose part of the server this is (`WSGIStatusScope`), as `name:port`, empty
    /// for the main server; `None` if this is the whole.
    pub scope: Option<String>,
    /// The server as a whole.
    pub server: Server,
    /// Embedded mode, if it is in use, and the process groups, in the order of the configuration.
    pub groups: Vec<Group>,
    /// The last events, newest first.
    pub events: Vec<Event>,
    /// Problems of the configuration, one line each.
    pub warnings: Vec<String>,
}

/// The server as a whole.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct Server {
    /// The version of mod_wsgi-rs.
    pub version: String,
    /// The version of Apache, such as `2.4.62`.
    pub apache: String,
    /// The name of the MPM.
    pub mpm: String,
    /// The name of the machine.
    pub host: String,
    /// The id of Apache's parent process.
    pub pid: u32,
    /// The time at which the server was started, from which counters count.
    pub started: f64,
    /// The time at which the configuration was read last.
    pub configured: f64,
    /// The most requests that the server takes at a time.
    pub capacity: u64,
    /// The time from which on a request is slow (`WSGISlowRequests`); 0 if none is.
    pub slow_after: f64,
    /// Spans for OpenTelemetry that were lost: the exporter or the collector did not take them, or the
    /// exporter was killed.
    pub dropped_spans: u64,
}

/// The mode of a group.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Mode {
    /// Daemon processes of a `WSGIDaemonProcess`.
    #[default]
    Daemon,
    /// Apache's own children.
    Embedded,
}

/// A process group, or embedded mode.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct Group {
    /// Its name; empty for embedded mode.
    pub name: String,
    /// The number by which events name it; 0 for embedded mode. It is not rendered.
    #[serde(skip)]
    pub number: u64,
    /// Its mode.
    pub mode: Mode,
    /// The virtual host that has defined it, as `name:port`; empty for the main server.
    pub virtual_host: String,
    /// True if the group belongs to others than the virtual host that answers, and only its name
    /// and some of its requests are shown (`WSGIStatusScope`).
    pub is_partial: bool,
    /// The user that its processes run as.
    pub user: String,
    /// The version of Python, such as `3.11`; empty if it is not known.
    pub python: String,
    /// The scripts that aliases of the configuration mount there.
    pub scripts: Vec<String>,
    /// The threads of each process.
    pub threads: u32,
    /// The least number of processes.
    pub least_processes: u32,
    /// The largest number of processes.
    pub most_processes: u32,
    /// Requests that have ended, by method, status and scheme.
    pub http: Vec<Ended>,
    /// Requests that the application has not got, or not answered, by cause.
    ///
    /// The causes are `queue_timeout`, `busy` (no process has taken it in time), `not_running` (no
    /// process can be started), `unsupervised`, `process_died` (before or while it answered),
    /// `timed_out` (no answer in time), `protocol`, `client_gone`, `child_died` (the child of Apache
    /// that had the client). All but `child_died`, and `process_died` of embedded mode, are counted
    /// in `http`, too.
    pub rejections: BTreeMap<String, u64>,
    /// Requests that have ended and took longer than `WSGISlowRequests`.
    pub slow_requests: u64,
    /// Requests that have held their threads for longer than `stuck-timeout=` or `WSGIStuckTimeout`;
    /// of a process group as many as its processes say.
    pub stuck_requests: u64,
    /// Requests that are under way, the oldest first.
    pub requests: Vec<Request>,
    /// Requests that wait for a process, or for a thread in one.
    pub queued: u64,
    /// Its slots, or the places of Apache's children.
    pub processes: Vec<Process>,
    /// The counts at regular times of the last minutes, the oldest first.
    pub history: Vec<Sample>,
}

impl Group {
    /// Returns the number of requests that have ended.
    #[must_use]
    pub fn ended(&self) -> u64 {
        self.http.iter().map(|ended| ended.duration.count()).sum()
    }

    /// Returns the number of those with a status of 500 and more.
    #[must_use]
    pub fn errors(&self) -> u64 {
        let errors = self.http.iter().filter(|ended| ended.status_class == 5);
        errors.map(|ended| ended.duration.count()).sum()
    }

    /// Returns the number of requests that threads of its processes run.
    #[must_use]
    pub fn busy(&self) -> u64 {
        self.processes.iter().map(|process| process.busy).sum()
    }

    /// Returns the number of requests that are under way, whether they run or wait.
    #[must_use]
    pub fn under_way(&self) -> u64 {
        // Those that wait for a client are in no process; those that others have sent to it are in
        // no list.
        (self.requests.len() as u64).max(self.busy() + self.queued)
    }

    /// Returns the processes that there are.
    pub fn running(&self) -> impl Iterator<Item = &Process> {
        self.processes.iter().filter(|process| process.pid != 0)
    }

    /// Returns the distribution of the durations of all requests that have ended.
    #[must_use]
    pub fn durations(&self) -> Histogram {
        let mut sum = Histogram::default();
        self.http.iter().for_each(|ended| sum.add(&ended.duration));
        sum
    }
}

/// Requests that have ended, with the same method, status and scheme; or, of combinations beyond those
/// that a group has room for, with the same class of status.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct Ended {
    /// The method, or `_OTHER` for one that is not known, or for several.
    pub method: String,
    /// The class of the status, such as 2 for 200 to 299.
    pub status_class: u8,
    /// The status; `None` for those of combinations beyond the room.
    pub status_code: Option<u16>,
    /// `http` or `https`, as applications see it; empty for those of combinations beyond the room.
    pub scheme: String,
    /// The distribution of the time that they took, as seen by Apache.
    pub duration: Histogram,
}

/// The state of a process, or of the slot that has none.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum State {
    /// It starts.
    #[default]
    Starting,
    /// It serves.
    Serving,
    /// It fails to start.
    Failing,
    /// None is wanted at present.
    Dormant,
    /// The channel was shut down; a restart of the server makes a new one.
    Cut,
}

/// A process, with the counts of those that had its slot before. The first one of a group has those of
/// slots, too, that the group has no longer.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct Process {
    /// The number of its slot in the group, from 0.
    pub slot: u32,
    /// Its state.
    pub state: State,
    /// Its process id; 0 if there is none.
    pub pid: u32,
    /// The time at which it was started; 0 if it is not known.
    pub started: f64,
    /// The processor time that it has used.
    pub cpu: f64,
    /// Its resident memory.
    pub resident: u64,
    /// Requests that its threads run now.
    pub busy: u64,
    /// Requests that wait in it for a thread.
    pub queued: u64,
    /// The most that threads have run at a time.
    pub peak_busy: u64,
    /// The most that have waited at a time.
    pub peak_queued: u64,
    /// Requests that have ended, by the class of their status: the first is that of 1xx.
    pub ended: [u64; 5],
    /// Bytes of requests' bodies that were read.
    pub bytes_in: u64,
    /// Bytes of responses' bodies that were sent.
    pub bytes_out: u64,
    /// The parts of the requests' time.
    pub times: Times,
    /// Processes that ended because they were replaced or told to, by reason, such as
    /// `maximum_requests`.
    pub restarts: BTreeMap<String, u64>,
    /// Processes that were ended by a signal which nobody of ours has sent, by its name, such as
    /// `SIGSEGV`.
    pub crashes: BTreeMap<String, u64>,
    /// Processes that exited by themselves, with a status other than 0.
    pub exits: u64,
    /// Successors that did not become ready, so that the former process went on.
    pub failed_reloads: u64,
    /// Processes that could not be started, or ended before they were ready.
    pub failed_starts: u64,
    /// True if it could not import a script that the configuration names.
    pub lacks_import: bool,
}

/// The parts of the time of requests.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct Times {
    /// Waiting for a thread of a process.
    pub queue: Histogram,
    /// Waiting for the lock of the interpreter.
    pub lock_wait: Histogram,
    /// In the application.
    pub application: Histogram,
    /// Waiting for the client's body.
    pub reading: Histogram,
    /// Passing the response on to Apache's filters, and waiting for the client there.
    pub writing: Histogram,
}

/// The phase of a request that is under way.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Phase {
    /// It waits for a process, or for a thread in one.
    #[default]
    Queued,
    /// It is in the process, or in Python.
    Running,
    /// It waits for the client to send more of the body.
    Reading,
    /// It passes the response on.
    Writing,
}

impl Phase {
    /// Returns the word for it, as in JSON.
    #[must_use]
    pub const fn word(self) -> &'static str {
        match self {
            Self::Queued => "queued",
            Self::Running => "running",
            Self::Reading => "reading",
            Self::Writing => "writing",
        }
    }
}

/// A request that is under way.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct Request {
    /// The process that has it; 0 if none has yet.
    pub pid: u32,
    /// The number of the process's slot; absent if none was chosen yet.
    pub slot: Option<u32>,
    /// The process id of the child of Apache that has the client.
    pub child: u32,
    /// Its phase.
    pub phase: Phase,
    /// The method.
    pub method: String,
    /// The path of the URL, without the query; its beginning if it is long.
    pub path: String,
    /// The virtual host, as `name:port`; empty for the main server.
    pub virtual_host: String,
    /// The id by which the log names it (`%L`); empty if there is none.
    pub id: String,
    /// The time since it came.
    pub age: f64,
    /// True if that is longer than `WSGISlowRequests`.
    pub slow: bool,
}

/// The kind of an event.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum EventKind {
    /// A process has ended that nobody had told to.
    #[default]
    Crash,
    /// A process could not be started.
    FailedStart,
    /// A successor did not become ready.
    FailedReload,
    /// A script could not be imported.
    FailedImport,
    /// A request has held its thread for longer than it should.
    Stuck,
}

/// An event.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct Event {
    /// The time at which it happened.
    pub time: f64,
    /// The group; empty for embedded mode.
    pub group: String,
    /// The number of the group, which no other one has, nor had. It is not rendered.
    #[serde(skip)]
    pub group_number: u64,
    /// The kind.
    pub kind: EventKind,
    /// The process; 0 if there is none.
    pub pid: u32,
    /// The cause, in one line.
    pub text: String,
    /// The traceback, or the stacks of the process; empty if there is none.
    pub detail: String,
}

/// The counts of a group at a time.
#[derive(Debug, Clone, Copy, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct Sample {
    /// The time.
    pub time: f64,
    /// Requests that have ended, since the start of the server.
    pub ended: u64,
    /// Those of them with a status of 500 and more.
    pub errors: u64,
    /// The sum of their durations.
    pub duration: f64,
    /// Requests that were under way.
    pub active: u64,
    /// Requests that were waiting.
    pub queued: u64,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_an_older_server_does_not_say_is_unknown() {
        let group = Group { name: "shop".to_owned(), threads: 5, ..Group::default() };
        let snapshot = Snapshot { schema: SCHEMA, groups: vec![group], ..Snapshot::default() };
        let text = serde_json::to_string(&snapshot).expect("plain data");
        assert_eq!(serde_json::from_str::<Snapshot>(&text).expect("its own"), snapshot);
        let sparse = r#"{"schema": 1, "groups": [{"name": "shop", "threads": 5}], "more": true}"#;
        assert_eq!(serde_json::from_str::<Snapshot>(sparse).expect("it says what it says"), snapshot);
    }
}
