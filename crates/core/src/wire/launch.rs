//! Launch: the configuration for the supervisor, and for its daemon processes.

use super::codec::Malformed;
use super::exporter::ExporterPlan;
use super::process::Script;
pub use super::process::{Account, Variable};
use super::record::{self, record};
use super::schema::OwnSchema;
use crate::tallies::TallyRow;

record! {
    /// All process groups of one reading of the configuration.
    #[derive(Debug, Clone, PartialEq, Default)]
    pub struct LaunchPlan {
        /// Comes first: all else is of this build, too.
        pub schema: OwnSchema,
        /// In configuration order. The slots of a group's processes follow those of the group
        /// before.
        pub groups: Vec<Group>,
        /// The names of the hosts that the supervisor gets open, in the order of their descriptors.
        pub hosts: Vec<Box<[u8]>>,
        /// The system's log, which takes the place of the first log if the server's errors go
        /// there.
        pub syslog: Option<Syslog>,
        /// The exporter of OpenTelemetry, if there is one.
        pub exporter: Option<ExporterPlan>,
        /// Lines for the main log are JSON objects.
        pub json_log: bool,
    }
}

record! {
    /// The system's log.
    #[derive(Debug, Clone, PartialEq, Eq, Default)]
    pub struct Syslog {
        /// The path of the socket that takes messages.
        pub socket: Box<[u8]>,
        /// The number of the facility.
        pub facility: u8,
        /// The name of the program whose messages they are.
        pub tag: Box<[u8]>,
    }
}

record! {
    /// The configuration of the processes of a group.
    #[derive(Debug, Clone, PartialEq, Default)]
    pub struct Group {
        /// Executables to try, in this order: the first that exists is taken.
        pub programs: Vec<Box<[u8]>>,
        /// Options of the executable, such as `-O`.
        pub arguments: Vec<Box<[u8]>>,
        /// The directory with the hosts, as it is in a jail, and for messages.
        pub hosts: Box<[u8]>,
        /// The account to become; `None` where the server was not started as root.
        pub account: Option<Account>,
        /// The user id of the Apache children: processes with another one start in their own home
        /// directory.
        pub server_uid: u32,
        /// True if it may dump core (`CoreDumpDirectory`).
        pub dumps_core: bool,
        /// The index of the group's log among the descriptors of the plan.
        pub log: u32,
        /// The number by which events name the group.
        pub number: u64,
        /// The places of the tallies of its slots ([`TallyRow`]); empty
        /// if there are none.
        pub tallies: Vec<u32>,
        /// The configuration that each of its processes gets.
        pub daemon: Daemon,
    }
}

record! {
    /// The configuration of a daemon process.
    #[derive(Debug, Clone, PartialEq, Default)]
    pub struct Daemon {
        /// The group's name.
        pub name: Box<[u8]>,
        /// The options of its group.
        pub options: ProcessOptions,
        /// The lowest level of lines that the error log takes (Apache's numbers).
        pub log_level: u8,
        /// Lines for the log are JSON objects.
        pub json_log: bool,
        /// Scripts to import before it serves, besides what the configuration says.
        pub scripts: Vec<Script>,
        /// True for the template of a group with `preload=fork`: it serves nothing, and the group's
        /// processes are forked from it.
        pub is_template: bool,
        /// The bridge's settings.
        pub settings: Box<[u8]>,
        /// The size of the snapshot of the scoreboard that the server publishes, in bytes; 0: the
        /// process does not get it.
        pub scoreboard: u64,
    }
}

record! {
    /// Options of a group's processes. The configuration gives them, and the supervisor and the
    /// processes act on them.
    #[derive(Debug, Clone, PartialEq, Default)]
    pub struct ProcessOptions {
        /// `processes=`, the most if it is a range. Applications see whether it was given at all:
        /// [`ProcessOptions::is_multiprocess`].
        pub processes: Option<u32>,
        /// The least of `processes=` if it is a range: the number of processes follows the load.
        pub least_processes: Option<u32>,
        /// `threads=`; 0: its scripts are all there is.
        pub threads: u32,
        /// `umask=`; else it is inherited.
        pub umask: Option<u32>,
        /// `home=`, absolute, also the first entry of `sys.path`.
        pub home: Option<Box<[u8]>>,
        /// `chroot=`, absolute.
        pub chroot: Option<Box<[u8]>>,
        /// `lang=`.
        pub lang: Option<Box<[u8]>>,
        /// `locale=`.
        pub locale: Option<Box<[u8]>>,
        /// `environment=` and `environment-file=`, in order.
        pub environment: Vec<Variable>,
        /// `display-name=`, expanded.
        pub display_name: Option<Box<[u8]>>,
        /// `python-path=`.
        pub python_path: Option<Box<[u8]>>,
        /// `preload=fork`: the processes are forked from one that has imported the scripts.
        pub preload_fork: bool,
        /// `switch-interval=` in seconds.
        pub switch_interval: Option<f64>,
        /// `stack-size=` in bytes; 0: the system's.
        pub stack_size: u64,
        /// `cpu-priority=`; 0 leaves it alone.
        pub priority: i32,
        /// `cpu-time-limit=` in seconds; 0: none.
        pub cpu_time_limit: u64,
        /// `memory-limit=` in bytes; 0: none.
        pub memory_limit: u64,
        /// `virtual-memory-limit=` in bytes; 0: none.
        pub virtual_memory_limit: u64,
        /// Times, counts and sizes.
        pub limits: Limits,
    }
}

record! {
    /// Limits: times in milliseconds, counts, and sizes in bytes; 0 is none.
    #[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
    pub struct Limits {
        /// `maximum-requests=`, a count.
        pub maximum_requests: u64,
        /// `listen-backlog=`, a count.
        pub listen_backlog: u64,
        /// `startup-timeout=`.
        pub startup_timeout: u64,
        /// `deadlock-timeout=`.
        pub deadlock_timeout: u64,
        /// `scale-up-wait=`.
        pub scale_up_wait: u64,
        /// `scale-down-idle=`; in a process that is started, 0 if it stays whatever the load is.
        pub scale_down_idle: u64,
        /// `inactivity-timeout=`.
        pub inactivity_timeout: u64,
        /// `request-timeout=`.
        pub request_timeout: u64,
        /// `interrupt-timeout=`.
        pub interrupt_timeout: u64,
        /// `graceful-timeout=`.
        pub graceful_timeout: u64,
        /// `eviction-timeout=`.
        pub eviction_timeout: u64,
        /// `restart-interval=`.
        pub restart_interval: u64,
        /// `restart-jitter=`, in percent.
        pub restart_jitter: u64,
        /// `memory-recycle=`, a size.
        pub memory_recycle: u64,
        /// `shutdown-timeout=`.
        pub shutdown_timeout: u64,
        /// `queue-timeout=`.
        pub queue_timeout: u64,
        /// `socket-timeout=`; in a process that is started, the server's `Timeout` where it is 0.
        pub socket_timeout: u64,
    }
}

impl ProcessOptions {
    /// Returns the number of processes; the most, if it follows the load.
    #[must_use]
    pub fn process_count(&self) -> u32 {
        self.processes.unwrap_or(1)
    }

    /// Returns the number of processes that run whatever the load is.
    #[must_use]
    pub fn least_process_count(&self) -> u32 {
        self.least_processes.unwrap_or(u32::MAX).min(self.process_count())
    }

    /// Returns whether the number of processes follows the load.
    #[must_use]
    pub fn is_elastic(&self) -> bool {
        self.least_process_count() < self.process_count()
    }

    /// Returns `wsgi.multiprocess`: of a range, whether there may be more than one at a time.
    #[must_use]
    pub fn is_multiprocess(&self) -> bool {
        if self.least_processes.is_some() { self.process_count() > 1 } else { self.processes.is_some() }
    }

    /// Returns `wsgi.multithread`.
    #[must_use]
    pub const fn is_multithread(&self) -> bool {
        self.threads != 1
    }

    /// Returns `wsgi.run_once`.
    #[must_use]
    pub const fn is_run_once(&self) -> bool {
        self.limits.is_run_once(self.threads)
    }

    /// Returns whether its processes are forked from a template. Those without requests are not:
    /// their scripts do their work where they are imported.
    #[must_use]
    pub const fn is_forked(&self) -> bool {
        self.preload_fork && !self.is_service()
    }

    /// Returns whether its processes serve no requests: their scripts are their purpose.
    #[must_use]
    pub const fn is_service(&self) -> bool {
        self.threads == 0
    }
}

impl Limits {
    /// Returns whether a process with so many threads is there for one request (`wsgi.run_once`).
    #[must_use]
    pub const fn is_run_once(&self, threads: u32) -> bool {
        threads == 1 && self.maximum_requests == 1
    }
}

impl LaunchPlan {
    /// Encodes the plan as a message.
    #[must_use]
    pub fn encode(&self) -> Vec<u8> {
        record::encode(self)
    }

    /// Parses a message.
    ///
    /// # Errors
    /// It is not a launch plan, or one of another schema.
    pub fn decode(message: &[u8]) -> Result<Self, Malformed> {
        record::decode(message)
    }

    /// Returns whether any process gets the server's scoreboard.
    #[must_use]
    pub fn has_scoreboard(&self) -> bool {
        self.groups.iter().any(|group| group.daemon.scoreboard > 0)
    }

    /// Returns the rows of the tallies of all slots, in their order; none unless each has one.
    #[must_use]
    pub fn tallies(&self) -> Vec<TallyRow> {
        let rows: Vec<_> =
            self.groups.iter().flat_map(|group| &group.tallies).map(|row| TallyRow(*row)).collect();
        if rows.len() == self.slots() { rows } else { Vec::new() }
    }

    /// Returns the number of all processes.
    #[must_use]
    pub fn slots(&self) -> usize {
        self.groups.iter().map(|group| group.daemon.options.process_count() as usize).sum()
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn text(text: &str) -> Box<[u8]> {
        text.as_bytes().into()
    }

    #[test]
    fn generations_come_back() {
        let options = ProcessOptions {
            processes: Some(2),
            least_processes: Some(0),
            threads: 15,
            umask: Some(0o27),
            home: Some(text("/home")),
            chroot: Some(text("/jail")),
            lang: Some(text("C.UTF-8")),
            locale: Some(text("de_DE.UTF-8")),
            environment: vec![(text("A"), text("b"))],
            display_name: Some(text("(wsgi:one)")),
            python_path: Some(text("/a:/b")),
            preload_fork: true,
            switch_interval: Some(0.05),
            stack_size: 1 << 20,
            priority: -5,
            cpu_time_limit: 1,
            memory_limit: 2,
            virtual_memory_limit: 3,
            limits: Limits { queue_timeout: 5_000, ..Limits::default() },
        };
        let full = Group {
            programs: vec![text("/v/bin/python"), text("/v/bin/python3")],
            arguments: vec![text("-O")],
            hosts: text("/usr/lib/mod_wsgi/host"),
            account: Some(Account { uid: 33, gid: 33, supplementary: Some(vec![4, 27]) }),
            server_uid: 33,
            dumps_core: true,
            log: 1,
            number: 1 << 40,
            tallies: vec![12_345, 7],
            daemon: Daemon {
                name: text("one"),
                options,
                settings: text("opaque"),
                scoreboard: 1_000,
                ..Daemon::default()
            },
        };
        let mut plain = Group { account: Some(Account::default()), ..Group::default() };
        plain.daemon.options.processes = Some(3);
        let generation = LaunchPlan {
            schema: OwnSchema,
            groups: vec![full, plain, Group::default()],
            hosts: vec![text("mod_wsgi_host.cpython-311.so")],
            syslog: Some(Syslog { socket: text("/dev/log"), facility: 23, tag: text("httpd") }),
            exporter: Some(ExporterPlan { queue: 5, ..ExporterPlan::default() }),
            json_log: true,
        };
        assert_eq!(generation.slots(), 2 + 3 + 1);
        assert!(generation.has_scoreboard() && !LaunchPlan::default().has_scoreboard());
        let message = generation.encode();
        assert_eq!(LaunchPlan::decode(&message), Ok(generation));
        for cut in 0..message.len() {
            assert_eq!(LaunchPlan::decode(&message[..cut]), Err(Malformed), "cut at {cut}");
        }
    }

    proptest! {
        #[test]
        fn any_message_is_read_without_panic(bytes in proptest::collection::vec(any::<u8>(), 0..200)) {
            let _ = LaunchPlan::decode(&bytes);
        }
    }
}
