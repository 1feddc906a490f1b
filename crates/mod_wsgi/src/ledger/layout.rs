//! The layout of the server that a configuration describes, and the rows for it.

use std::collections::HashMap;
use std::ffi::OsStr;
use std::os::unix::ffi::OsStrExt as _;
use std::path::Path;

use httpd::{ScoreboardSize, Server, ServerInfo};
use status::layout::{GroupLayout, Layout};
use status::printable::text;
use status::snapshot::{self, Mode};
use wsgi_core::config::{Global, PythonStart};
use wsgi_core::daemon::DaemonGroup;
use wsgi_core::diagnostic::Severity;
use wsgi_core::ledger::{Directory, Ledger, Wanted};
use wsgi_core::python_home::{self, Environment, Version};

use crate::virtual_hosts::VirtualHosts;
use crate::{Wsgi, config, daemon, installation, readings};

/// The rows of requests for each thread: requests nest, and other modules bring threads of their own
/// (those of HTTP/2).
pub(super) const ROWS_PER_THREAD: usize = 2;

/// The rows of requests besides.
const MORE_ROWS: usize = 64;

/// Returns the layout of a server that was started at a time, in microseconds since the epoch, and
/// gives it rows in the ledger.
pub(super) fn arrange(
    directory: &mut Directory,
    ledger: Ledger<'_>,
    server: &Server,
    info: &ServerInfo,
    hosts: &VirtualHosts,
    started: i64,
) -> Layout {
    let no_global = Global::default();
    let global = server.global::<Wsgi>().unwrap_or(&no_global);
    let mpm = info.mpm();
    let places = ScoreboardSize::of_server().server_limit.max(mpm.processes) as usize;
    let wanted = Wanted {
        groups: &daemon::keys(server, global, hosts),
        places,
        requests: ROWS_PER_THREAD * places * mpm.threads as usize + MORE_ROWS,
        reading: readings::current(),
    };
    directory.arrange(&wanted, ledger);
    let mut scripts = scripts(server);
    let mut users = Users { apache: info.identity().uid, names: HashMap::new() };
    let mut embedded = GroupLayout {
        mode: Mode::Embedded,
        user: users.name(None),
        python: version(global.python_home.as_deref()),
        scripts: scripts.remove(&b""[..]).unwrap_or_default(),
        threads: mpm.threads,
        most_processes: mpm.processes,
        ..GroupLayout::default()
    };
    embedded.place(directory.embedded(), places);
    let mut groups = vec![embedded];
    let mut first_slot = 0;
    for (group, (key, slots)) in global.daemons.iter().zip(wanted.groups) {
        let slots = *slots;
        let tallies = daemon::tallies::of_group(key, slots);
        let mut layout = GroupLayout {
            number: tallies.number,
            first_slot,
            tallies: tallies.rows,
            former_tallies: tallies.former,
            scripts: scripts.remove(&*group.name).unwrap_or_default(),
            virtual_host: hosts.text(daemon::host_of(server, group)),
            ..self::group(global, group, &mut users)
        };
        if let Some(rows) = directory.group(key) {
            layout.place(rows, slots);
        }
        groups.push(layout);
        first_slot += slots;
    }
    let diagnostics = config::diagnostics(server).into_iter();
    let warnings = diagnostics.filter(|diagnostic| diagnostic.severity == Severity::Warning);
    let mut layout = Layout {
        server: snapshot::Server {
            slow_after: global.telemetry.slow_requests.unwrap_or(0.0),
            ..self::server(info, started)
        },
        warnings: warnings.map(|diagnostic| diagnostic.to_string()).collect(),
        groups,
        uses_embedded: global.python_start() == PythonStart::AtChildStart,
        slots: first_slot,
        ..Layout::default()
    };
    layout.place(directory);
    layout
}

fn server(info: &ServerInfo, started: i64) -> snapshot::Server {
    let mpm = info.mpm();
    let [major, minor, patch] = info.version();
    snapshot::Server {
        version: env!("CARGO_PKG_VERSION").to_owned(),
        apache: format!("{major}.{minor}.{patch}"),
        host: nix::unistd::gethostname().unwrap_or_default().to_string_lossy().into_owned(),
        pid: std::process::id(),
        started: started as f64 / 1e6,
        configured: os::clock::microseconds() as f64 / 1e6,
        capacity: u64::from(mpm.processes) * u64::from(mpm.threads),
        mpm: mpm.name,
        ..snapshot::Server::default()
    }
}

fn group(global: &Global, group: &DaemonGroup, users: &mut Users) -> GroupLayout {
    let home = group.python_home.as_deref().or(global.python_home.as_deref());
    let python = match &group.python {
        // A jail may be on a file system that hangs; what is in there is seen by its processes only.
        _ if group.options.chroot.is_some() => String::new(),
        Some(program) => of_program(Path::new(OsStr::from_bytes(program))).unwrap_or_default(),
        None => version(home),
    };
    GroupLayout {
        name: text(&group.name),
        user: users.name(group.user),
        python,
        threads: group.options.threads,
        least_processes: group.options.least_process_count(),
        most_processes: group.options.process_count(),
        ..GroupLayout::default()
    }
}

/// Returns the scripts that aliases mount, by process group.
fn scripts(server: &Server) -> HashMap<&[u8], Vec<String>> {
    let mut found: HashMap<&[u8], Vec<String>> = HashMap::new();
    for (group, script) in
        server.all().filter_map(Server::settings::<Wsgi>).flat_map(|settings| settings.scripts())
    {
        let script = text(script);
        let scripts = found.entry(group).or_default();
        if !scripts.contains(&script) {
            scripts.push(script);
        }
    }
    found
}

/// The names of the users of processes.
struct Users {
    /// Apache's own user.
    apache: u32,
    names: HashMap<u32, String>,
}

impl Users {
    /// Returns the name of a user, or its number; `None` is Apache's own.
    fn name(&mut self, user: Option<u32>) -> String {
        let user =
            if os::accounts::is_root() { user.unwrap_or(self.apache) } else { os::accounts::own_user() };
        let look = || os::accounts::user(user).map_or_else(|| user.to_string(), |entry| entry.name);
        self.names.entry(user).or_insert_with(look).clone()
    }
}

/// Returns the version of the Python of a home, or of the default one; empty if its files do not tell.
fn version(home: Option<&[u8]>) -> String {
    let Some(home) = home.filter(|home| !home.is_empty()) else {
        let installation = installation::current().ok();
        let program = installation.as_ref().and_then(|installation| installation.python());
        return program.and_then(of_program).unwrap_or_default();
    };
    let home = Path::new(OsStr::from_bytes(python_home::prefix(home)));
    let file = python_home::environment(home).join("pyvenv.cfg");
    // The user of the processes may have made anything of it.
    let environment = os::file::read_small(&file).ok().map(|text| Environment::parse(&text));
    let programs = python_home::executables(home, environment.is_some());
    let of_environment = || environment?.version.map(|version| version.to_string());
    programs.iter().find_map(|program| of_program(program)).or_else(of_environment).unwrap_or_default()
}

/// Returns the version in the name of an interpreter, with symbolic links resolved.
fn of_program(program: &Path) -> Option<String> {
    let resolved = program.canonicalize().ok()?;
    Version::from_executable_name(resolved.file_name()?.as_bytes()).map(|version| version.to_string())
}
