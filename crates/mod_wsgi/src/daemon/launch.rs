//! Builds the launch plan for the supervisor from the configuration.

use std::ffi::OsStr;
use std::io;
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::ffi::{OsStrExt, OsStringExt as _};
use std::path::Path;

use httpd::{Identity, Level, Server, ServerInfo};
use wsgi_core::config::Global;
use wsgi_core::daemon::DaemonGroup;
use wsgi_core::ledger::GroupKey;
use wsgi_core::python_home;
use wsgi_core::wire::OwnSchema;
use wsgi_core::wire::launch::{Account, Daemon, Group, LaunchPlan, ProcessOptions};

use super::tallies::{self, GroupTallies};
use crate::Wsgi;
use crate::installation::Installation;
use crate::log;
use crate::settings::{self, HostProcess, ServerFacts};
use crate::virtual_hosts::VirtualHosts;

/// Returns the plan for the supervisor, and the error logs that it refers to.
///
/// # Errors
/// There is no descriptor left.
pub(super) fn generation(
    server: &Server,
    info: &ServerInfo,
    global: &Global,
    launch: &LaunchContext<'_>,
) -> io::Result<(LaunchPlan, Vec<OwnedFd>)> {
    // If the main log goes to syslog, standard error takes its place.
    let (main, syslog) = match server.error_log() {
        Some(log) => (log.try_clone_to_owned(), None),
        None => {
            let name = server.error_log_name().unwrap_or_default();
            (io::stderr().as_fd().try_clone_to_owned(), wsgi_core::syslog::parse(name, server.program()))
        }
    };
    let mut logs = vec![main?];
    let keys = keys(server, global, &VirtualHosts::of(server));
    let groups = global.daemons.iter().zip(&keys);
    let groups = groups.map(|(group, (key, slots))| {
        let tallies = tallies::of_group(key, *slots);
        let host = host_of(server, group);
        let log = log_of(host, &mut logs);
        let mounted = if group.options.is_forked() { mounted(server, global, group) } else { Vec::new() };
        group_plan(global, group, host, &GroupContext { launch, log, info, mounted: &mounted, tallies })
    });
    let groups = groups.collect();
    let hosts = launch.installation.hosts().map(|host| host.name().as_bytes().into()).collect();
    let json_log = writes_json(global, server);
    Ok((LaunchPlan { schema: OwnSchema, groups, hosts, syslog, exporter: None, json_log }, logs))
}

/// The data that all groups have in common.
pub(super) struct LaunchContext<'a> {
    pub(super) facts: &'a ServerFacts,
    /// The installed files.
    pub(super) installation: &'a Installation,
    /// The size of the snapshot with the scoreboard; `None` if there is none.
    pub(super) snapshot: Option<usize>,
}

/// The data for the plan of one group.
struct GroupContext<'a> {
    launch: &'a LaunchContext<'a>,
    log: u32,
    info: &'a ServerInfo,
    /// Scripts that it imports at its start, besides those that the configuration has imported.
    mounted: &'a [&'a [u8]],
    tallies: GroupTallies,
}

/// Returns the scripts that a template of a group imports, because they are mounted there, though
/// no line has them imported.
fn mounted<'s>(server: &'s Server, global: &Global, group: &'s DaemonGroup) -> Vec<&'s [u8]> {
    let is_imported = |script: &[u8]| {
        let mut imports = global.imports_of(&group.name);
        imports.any(|import| *import.script == *script && import.application_group.is_empty())
    };
    let settings = server.all().filter_map(Server::settings::<Wsgi>);
    let mut found = Vec::new();
    for script in settings.flat_map(|settings| settings.main_scripts_of(&group.name)) {
        if !found.contains(&script) && !is_imported(script) && !settings::is_directory(script, Some(group)) {
            found.push(script);
        }
    }
    found
}

/// Returns the server that defines a group.
pub(crate) fn host_of<'s>(server: &'s Server, group: &DaemonGroup) -> &'s Server {
    let defines = |host: &&Server| group.host == Some(crate::config::id(host));
    server.all().find(defines).unwrap_or(server)
}

/// Returns the process groups as shared memory knows them, and their numbers of slots.
pub(crate) fn keys(server: &Server, global: &Global, hosts: &VirtualHosts) -> Vec<(GroupKey, usize)> {
    let key = |group: &DaemonGroup| {
        let host = hosts.text(host_of(server, group));
        let host = status::scope::owner(&host).as_bytes().into();
        (GroupKey { host, name: group.name.clone() }, group.options.process_count() as usize)
    };
    global.daemons.iter().map(key).collect()
}

/// Returns the index in `logs` of a server's error log. The first one is that of the main server.
fn log_of(host: &Server, logs: &mut Vec<OwnedFd>) -> u32 {
    if !host.is_virtual() {
        return 0;
    }
    let Some(log) = host.error_log().and_then(|log| log.try_clone_to_owned().ok()) else { return 0 };
    logs.push(log);
    u32::try_from(logs.len() - 1).unwrap_or(0)
}

fn group_plan(global: &Global, group: &DaemonGroup, host: &Server, context: &GroupContext<'_>) -> Group {
    let Identity { uid, gid } = context.info.identity();
    let is_root = os::accounts::is_root();
    let mut encoded = Vec::new();
    let LaunchContext { facts, installation, .. } = *context.launch;
    settings::with(global, facts, installation, &HostProcess::Daemon(group, context.mounted), |settings| {
        settings.encode(&mut encoded)
    });
    Group {
        programs: programs(global, group, context.launch.installation),
        arguments: arguments(global),
        hosts: context.launch.installation.directory().join("host").as_os_str().as_bytes().into(),
        account: is_root.then(|| Account {
            uid: group.user.unwrap_or(uid),
            gid: group.group.unwrap_or(gid),
            supplementary: group.supplementary_groups.clone(),
        }),
        server_uid: uid,
        dumps_core: context.info.dumps_core(),
        log: context.log,
        number: context.tallies.number,
        tallies: context.tallies.rows.clone(),
        daemon: Daemon {
            name: group.name.clone(),
            options: process_options(global, group, host),
            log_level: log_level(host),
            json_log: writes_json(global, host),
            scripts: Vec::new(),
            is_template: false,
            settings: encoded.into(),
            scoreboard: match context.launch.snapshot {
                Some(capacity) if group.server_metrics => capacity as u64,
                _ => 0,
            },
        },
    }
}

/// Returns the options of the group. Directives give the defaults: `Timeout`, and
/// `WSGIPythonHashSeed` as a variable that the group may set itself.
fn process_options(global: &Global, group: &DaemonGroup, host: &Server) -> ProcessOptions {
    const HASH_SEED: &[u8] = b"PYTHONHASHSEED";
    let mut options = group.options.clone();
    if options.limits.socket_timeout == 0 {
        options.limits.socket_timeout = u64::try_from(host.timeout().as_millis()).unwrap_or(u64::MAX);
    }
    if let Some(seed) = global.python_hash_seed {
        options.environment.insert(0, (HASH_SEED.into(), seed.to_string().into_bytes().into()));
    }
    options
}

/// Returns the executables to try, best first.
fn programs(global: &Global, group: &DaemonGroup, installation: &Installation) -> Vec<Box<[u8]>> {
    if let Some(python) = &group.python {
        return vec![python.clone()];
    }
    let home = group.python_home.as_deref().or(global.python_home.as_deref()).filter(|home| !home.is_empty());
    let Some(home) = home else {
        let python =
            installation.python().map_or_else(|| installation.directory().join("python"), Path::to_owned);
        return vec![python.as_os_str().as_bytes().into()];
    };
    let home = Path::new(OsStr::from_bytes(python_home::prefix(home)));
    // A jail may be on a file system that hangs; what is in there is seen by its processes only.
    let is_environment =
        group.options.chroot.is_none() && python_home::environment(home).join("pyvenv.cfg").exists();
    let programs = python_home::executables(home, is_environment).into_iter();
    programs.map(|program| program.into_os_string().into_vec().into()).collect()
}

/// Returns the command line options that stand for the directives for Python's start.
fn arguments(global: &Global) -> Vec<Box<[u8]>> {
    let mut options: Vec<Box<[u8]>> = Vec::new();
    options.extend((0..global.python_optimize).map(|_| b"-O"[..].into()));
    if global.dont_write_bytecode == Some(true) {
        options.push(b"-B"[..].into());
    }
    options.extend(global.python_warnings.iter().map(|warning| [&b"-W"[..], warning].concat().into()));
    options
}

/// Returns whether the lines for the log of a server are JSON objects: not where the log is none that
/// this module can write to.
fn writes_json(global: &Global, host: &Server) -> bool {
    global.json_log && host.error_log().is_some()
}

fn log_level(host: &Server) -> u8 {
    let levels = [Level::Warn, Level::Notice, Level::Info, Level::Debug, Level::Trace1];
    let taken = levels.into_iter().take_while(|level| log::is_enabled_for_server(host, *level));
    taken.last().unwrap_or(Level::Error) as u8
}
