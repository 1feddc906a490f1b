//! The configuration of the process.

use std::time::Duration;

use bridge::Settings;
use wsgi_core::interpreter::Block;
use wsgi_core::permits::Permits;
use wsgi_core::python_home::Version;

/// The Python that this host was built for.
pub(crate) const VERSION_OF_PYTHON: Version =
    Version { minor: python::VERSION.1 as u8, free_threaded: python::FREE_THREADED };

/// The parts of [`Settings`] that are needed later, as owned values.
pub(crate) struct ProcessSettings {
    pub(crate) process_group: Vec<u8>,
    pub(crate) python_eggs: Option<Vec<u8>>,
    pub(crate) blocks: Vec<Block>,
    /// Scripts whose modules have a name of their own, and those names.
    pub(crate) named_scripts: Vec<(Vec<u8>, String)>,
    /// The directory of the Python packages that belong to the module.
    pub(crate) packages: Option<Vec<u8>>,
    /// The permits to ask scripts on the server's own threads.
    pub(crate) permits: Permits<'static>,
    pub(crate) server_version: [u32; 3],
    pub(crate) server_description: String,
    pub(crate) server_built: String,
    pub(crate) mpm_name: String,
    pub(crate) processes: u32,
    pub(crate) threads: u32,
    pub(crate) mpm_processes: u32,
    pub(crate) mpm_threads: u32,
    /// Lines for the log are wanted with fields.
    pub(crate) log_records: bool,
    pub(crate) case_sensitive: bool,
    pub(crate) destroy_interpreters: bool,
    pub(crate) multithread: bool,
    pub(crate) multiprocess: bool,
    pub(crate) run_once: bool,
    pub(crate) single_process: bool,
    pub(crate) free_threading: bool,
    /// `home=` of a daemon process.
    pub(crate) home: Option<Vec<u8>>,
    /// A script is all that runs in the process.
    pub(crate) is_service: bool,
    /// Process id of the server's parent.
    pub(crate) server_parent: u32,
    /// Set if the process reports to a collector.
    pub(crate) telemetry: Option<Telemetry>,
    /// The age at which a request is logged.
    pub(crate) stuck_timeout: Option<Duration>,
}

/// The settings of telemetry.
pub(crate) struct Telemetry {
    /// The path of the collector's socket.
    pub(crate) socket: Vec<u8>,
    /// The time between samples, in seconds.
    pub(crate) interval: f64,
    /// The time in seconds from which a request is slow; `None`: none is.
    pub(crate) slow_requests: Option<f64>,
    /// Slow requests are reported with their `User-Agent`.
    pub(crate) user_agent: bool,
}

impl Telemetry {
    /// Returns the number of slow requests of a thread that are kept for the next sample: more than
    /// it can have, even if a few samples are late.
    pub(crate) fn kept_slow_requests(&self, threshold: Duration) -> usize {
        const MOST: f64 = 4096.0;
        let in_interval = (self.interval / threshold.as_secs_f64()).ceil() * 5.0;
        in_interval.clamp(32.0, MOST) as usize
    }
}

/// The origin of the process.
pub(crate) enum Origin<'a> {
    /// The server, which has loaded the host.
    Server,
    /// A Python that runs already, as a process of a group.
    Daemon {
        /// `python-path=`
        python_path: Option<&'a [u8]>,
        /// `home=`
        home: Option<&'a [u8]>,
        /// `switch-interval=` in seconds.
        switch_interval: Option<f64>,
        /// A script is all that runs.
        is_service: bool,
    },
}

impl ProcessSettings {
    /// Returns the settings of a process of this origin.
    pub(crate) fn new(settings: &Settings<'_>, origin: &Origin<'_>) -> Self {
        let mut blocks: Vec<_> = settings.interpreters.as_slice().iter().map(block).collect();
        let (mut daemon_home, mut service) = (None, false);
        if let Origin::Daemon { python_path, home, switch_interval, is_service } = *origin {
            // The configuration of a group replaces that of the server.
            if let Some(base) = blocks.first_mut() {
                base.python_path = python_path.map(Box::from);
                base.group_switch_interval = switch_interval;
                if is_service {
                    base.restrict_signal = Some(false);
                }
            }
            (daemon_home, service) = (home.map(<[u8]>::to_vec), is_service);
        }
        let process_group = settings.process_group.or_empty().to_vec();
        // On builds with the lock the directive has no effect at all.
        let free_threading =
            wsgi_core::interpreter::is_free_threaded(blocks.iter(), &process_group, VERSION_OF_PYTHON);
        Self {
            process_group,
            python_eggs: settings.python_eggs.get().map(<[u8]>::to_vec),
            blocks,
            named_scripts: settings.named_scripts.as_slice().iter().map(named).collect(),
            packages: settings.packages.get().map(<[u8]>::to_vec),
            permits: Permits::new(settings.permits.as_slice()),
            server_version: settings.server_version,
            server_description: settings.server_description.to_text(),
            server_built: settings.server_built.to_text(),
            mpm_name: settings.mpm_name.to_text(),
            processes: settings.processes,
            threads: settings.threads,
            mpm_processes: settings.mpm_processes,
            mpm_threads: settings.mpm_threads,
            log_records: settings.log_records,
            case_sensitive: settings.case_sensitive,
            destroy_interpreters: settings.destroy_interpreters,
            multithread: settings.multithread,
            multiprocess: settings.multiprocess,
            run_once: settings.run_once,
            single_process: settings.single_process,
            free_threading,
            home: daemon_home,
            is_service: service,
            server_parent: settings.server_parent,
            stuck_timeout: (settings.stuck_timeout > 0)
                .then(|| Duration::from_millis(settings.stuck_timeout)),
            telemetry: settings.telemetry_socket.get().map(|socket| Telemetry {
                socket: socket.to_vec(),
                interval: settings.telemetry_interval,
                slow_requests: (settings.slow_requests > 0.0).then_some(settings.slow_requests),
                user_agent: settings.telemetry_user_agent,
            }),
        }
    }
}

fn named(named: &bridge::NamedScript<'_>) -> (Vec<u8>, String) {
    (named.script.or_empty().to_vec(), named.module.to_text())
}

/// Returns a block of interpreter options as an owned one.
fn block(options: &bridge::InterpreterOptions<'_>) -> Block {
    let owned = |bytes: bridge::Bytes<'_>| bytes.get().map(Box::from);
    Block {
        process_group: owned(options.process_group),
        application_group: owned(options.application_group),
        python_path: owned(options.python_path),
        switch_interval: (options.switch_interval > 0.0).then_some(options.switch_interval),
        group_switch_interval: None,
        per_interpreter_gil: bridge::from_tristate(options.per_interpreter_gil),
        free_threading: bridge::from_tristate(options.free_threading),
        restrict_stdin: bridge::from_tristate(options.restrict_stdin),
        restrict_stdout: bridge::from_tristate(options.restrict_stdout),
        restrict_signal: bridge::from_tristate(options.restrict_signal),
    }
}
