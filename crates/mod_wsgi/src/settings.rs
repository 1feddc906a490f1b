//! The settings that a host gets when it starts.

use std::ffi::OsStr;
use std::os::unix::ffi::OsStrExt as _;
use std::path::Path;

use bridge::{Bytes, Import, InterpreterOptions, List, NamedScript, Settings, Tag, tristate};
use httpd::{Mpm, Server, ServerInfo};
use wsgi_core::config::Global;
use wsgi_core::daemon::DaemonGroup;
use wsgi_core::interpreter::Block;
use wsgi_core::wire::launch::ProcessOptions;

use crate::installation::Installation;
use crate::{Wsgi, permits};

/// The facts about the server that Python gets.
pub(crate) struct ServerFacts {
    pub(crate) mpm: Mpm,
    version: [u32; 3],
    description: Box<[u8]>,
    built: Box<[u8]>,
    pub(crate) is_single_process: bool,
    /// `WSGIScriptReloading` of the main server.
    script_reloading: bool,
}

impl ServerFacts {
    pub(crate) fn new(server: &Server, info: &ServerInfo) -> Self {
        let script_reloading =
            server.settings::<Wsgi>().and_then(|settings| settings.defaults.script_reloading);
        Self {
            mpm: info.mpm(),
            version: info.version(),
            description: info.description().into(),
            built: info.built().into(),
            is_single_process: info.is_single_process(),
            script_reloading: script_reloading.unwrap_or(true),
        }
    }
}

/// The process that a host runs in.
pub(crate) enum HostProcess<'a> {
    /// This Apache child.
    Child {
        /// The program, which becomes `sys.executable`.
        program: &'a [u8],
        /// The value for `PYTHONHOME`.
        home: Option<&'a [u8]>,
    },
    /// A process of this group, which has its own Python, and imports these scripts in its main
    /// interpreter, too.
    Daemon(&'a DaemonGroup, &'a [&'a [u8]]),
}

/// Returns whether what an alias mounts is a directory: requests say which of its scripts is to run,
/// so the start of a process imports none. What is in a jail is seen by its processes only.
pub(crate) fn is_directory(script: &[u8], group: Option<&DaemonGroup>) -> bool {
    group.is_none_or(|group| group.options.chroot.is_none()) && Path::new(OsStr::from_bytes(script)).is_dir()
}

/// Calls `body` with the settings of a process.
pub(crate) fn with<T>(
    global: &Global,
    facts: &ServerFacts,
    installation: &Installation,
    process: &HostProcess<'_>,
    body: impl FnOnce(&Settings<'_>) -> T,
) -> T {
    let (mpm, telemetry) = (&facts.mpm, &global.telemetry);
    let (program, home, group, more) = match process {
        HostProcess::Child { program, home } => (Some(*program), *home, None, &[][..]),
        HostProcess::Daemon(group, more) => (None, None, Some(*group), *more),
    };
    let process_options = group.map(|group| &group.options);
    let name = group.map_or(&b""[..], |group| &group.name);
    let warnings: Vec<Bytes<'_>> = global.python_warnings.iter().map(|option| Bytes::new(option)).collect();
    let interpreters: Vec<InterpreterOptions<'_>> = global.interpreter_blocks().map(options).collect();
    let imports: Vec<Import<'_>> = global
        .imports_of(name)
        .filter(|import| !import.is_mounted || !is_directory(&import.script, group))
        .map(|import| Import {
            script: Bytes::new(&import.script),
            application_group: Bytes::new(&import.application_group),
        })
        .chain(
            more.iter()
                .map(|script| Import { script: Bytes::new(script), application_group: Bytes::new(b"") }),
        )
        .collect();
    let named = global.named_scripts.iter();
    let named: Vec<NamedScript<'_>> = named
        .map(|named| NamedScript { script: Bytes::new(&named.script), module: Bytes::new(&named.module) })
        .collect();
    let packages = installation.directory().join("python-packages");
    body(&Settings {
        tag: Tag::of::<Settings<'_>>(),
        program: Bytes::optional(program),
        home: Bytes::optional(home),
        process_group: Bytes::new(name),
        python_eggs: Bytes::optional(match group {
            Some(group) => group.python_eggs.as_deref(),
            None => global.python_eggs.as_deref(),
        }),
        warnings: List::new(&warnings),
        interpreters: List::new(&interpreters),
        imports: List::new(&imports),
        named_scripts: List::new(&named),
        packages: Bytes::new(packages.as_os_str().as_bytes()),
        permits: List::new(match process {
            HostProcess::Child { .. } => permits::words(mpm),
            HostProcess::Daemon(..) => &[],
        }),
        server_version: facts.version,
        server_description: Bytes::new(&facts.description),
        server_built: Bytes::new(&facts.built),
        mpm_name: Bytes::from(mpm.name.as_str()),
        processes: process_options.map_or(mpm.processes_in_use, ProcessOptions::process_count),
        threads: process_options.map_or(mpm.threads, |options| options.threads),
        mpm_processes: mpm.processes_in_use,
        mpm_threads: mpm.threads,
        server_parent: match process {
            HostProcess::Child { .. } if facts.is_single_process => std::process::id(),
            HostProcess::Child { .. } => std::os::unix::process::parent_id(),
            // It is the parent that makes the plan for daemon processes.
            HostProcess::Daemon(..) => std::process::id(),
        },
        telemetry_socket: Bytes::optional(telemetry.service.as_ref().map(|service| &*service.socket)),
        telemetry_interval: telemetry.service.as_ref().map_or(0.0, |service| service.interval),
        slow_requests: telemetry.slow_requests.unwrap_or(0.0),
        stuck_timeout: match group {
            Some(group) => group.stuck_timeout.unwrap_or(global.stuck_timeout),
            None => global.stuck_timeout,
        },
        telemetry_user_agent: telemetry.options.user_agent,
        optimize: global.python_optimize,
        hash_seed: global.python_hash_seed.map_or(-1, i64::from),
        dont_write_bytecode: global.dont_write_bytecode == Some(true),
        destroy_interpreters: global.destroys_interpreters(),
        case_sensitive: global.case_sensitive(),
        script_reloading: facts.script_reloading,
        log_records: global.json_log,
        multithread: process_options
            .map_or(mpm.is_threaded && mpm.threads != 1, ProcessOptions::is_multithread),
        multiprocess: process_options
            .map_or(mpm.is_forked && mpm.processes != 1, ProcessOptions::is_multiprocess),
        run_once: process_options.is_some_and(ProcessOptions::is_run_once),
        single_process: facts.is_single_process && group.is_none(),
    })
}

fn options(block: &Block) -> InterpreterOptions<'_> {
    InterpreterOptions {
        process_group: Bytes::optional(block.process_group.as_deref()),
        application_group: Bytes::optional(block.application_group.as_deref()),
        python_path: Bytes::optional(block.python_path.as_deref()),
        switch_interval: block.switch_interval.unwrap_or(0.0),
        per_interpreter_gil: tristate(block.per_interpreter_gil),
        free_threading: tristate(block.free_threading),
        restrict_stdin: tristate(block.restrict_stdin),
        restrict_stdout: tristate(block.restrict_stdout),
        restrict_signal: tristate(block.restrict_signal),
    }
}
