//! The start of a group's Python, and the messages about its failures.

use std::ffi::CString;
use std::fmt;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd, RawFd};
use std::os::unix::ffi::OsStrExt;

use os::spawn::{Failure, Limit, Plan, Resource, Step};
use wsgi_core::codes::{
    ADDRESS_SPACE_LIMIT_NOT_SET, CHROOT_NOT_ENTERED, CORE_LIMIT_NOT_SET, CPU_LIMIT_NOT_SET, Code,
    DAEMON_NOT_CONFIGURED, DAEMON_NOT_STARTED, GROUP_NOT_SET, HOME_NOT_ENTERED, MEMORY_LIMIT_NOT_SET,
    NO_PROCESS, PRIORITY_NOT_SET, PRIVILEGES_LEFT, SUPPLEMENTARY_GROUPS_NOT_SET, USER_GROUPS_NOT_SET,
    USER_HOME_NOT_ENTERED, USER_NOT_SET, USER_UNKNOWN,
};
use wsgi_core::wire::launch::{Group, Limits};

use crate::identity::Identity;
use crate::log::Level;
use crate::slot::SUCCESSOR_TIMEOUT;

/// The number of the control socket in a daemon process.
pub(crate) const CONTROL: RawFd = 3;
/// The number of the first host there.
pub(crate) const FIRST_HOST: RawFd = 4;
/// The program for the interpreter: it loads the host, which does the rest.
const BOOTSTRAP: &str = include_str!("bootstrap.py");
/// The variables that name the user. They are changed where they exist.
const NAMES: [&[u8]; 3] = [b"USER", b"USERNAME", b"LOGNAME"];

/// The context of a launch, which all groups have in common.
#[derive(Debug)]
pub(crate) struct LaunchContext {
    /// The hosts, and their names.
    pub(crate) hosts: Vec<(Box<[u8]>, OwnedFd)>,
    /// The environment that the supervisor has passed on.
    pub(crate) environment: Vec<CString>,
    /// No core dumps, as far as the process does not change that.
    pub(crate) no_core: Option<Limit>,
}

/// The reason why a process could not be started.
#[derive(Debug)]
pub(crate) struct Obstacle {
    /// The severity.
    pub(crate) level: Level,
    /// The process could not become what its group asks for: a directory, a user, a group.
    pub(crate) is_of_identity: bool,
    /// The cause, and the way out.
    pub(crate) text: String,
}

impl Obstacle {
    fn new(code: Code, text: impl fmt::Display) -> Self {
        let is_of_identity = (CHROOT_NOT_ENTERED.id..=USER_UNKNOWN.id).contains(&code.id);
        Self { level: code.level, is_of_identity, text: format!("{code}: {text}") }
    }
}

/// Plans the start of a process of `group`.
///
/// # Errors
/// It has no directory to start in.
pub(crate) fn plan<'a>(
    group: &Group,
    identity: &Identity,
    context: &'a LaunchContext,
    control: BorrowedFd<'a>,
) -> Result<Plan<'a>, Obstacle> {
    let name = group.daemon.name.as_ref();
    let number = CONTROL.to_string();
    let bootstrap = [b"-c", BOOTSTRAP.as_bytes(), &group.hosts, number.as_bytes(), name];
    // A jail has its own.
    let hosts = if group.daemon.options.chroot.is_some() { &[][..] } else { &context.hosts };
    let hosts: Vec<_> = (FIRST_HOST..).zip(hosts).collect();
    let names: Vec<_> = hosts
        .iter()
        .map(|(number, (name, _))| [number.to_string().as_bytes(), b":", name].concat())
        .collect();
    let arguments = group.arguments.iter().map(AsRef::as_ref).chain(bootstrap);
    let arguments = arguments.chain(names.iter().map(Vec::as_slice));
    let hosts = hosts.iter().map(|(number, (_, host))| (*number, host.as_fd()));
    Ok(Plan {
        programs: group.programs.iter().filter_map(|path| text(path)).collect(),
        arguments: arguments.filter_map(text).collect(),
        environment: environment(group, identity, &context.environment),
        kept: std::iter::once((CONTROL, control)).chain(hosts).collect(),
        executable: None,
        // As this process has them.
        output: None,
        is_session: false,
        // Needed until it watches its control socket: an import that hangs keeps it from that.
        is_bound: true,
        priority: (group.daemon.options.priority != 0).then_some(group.daemon.options.priority),
        chroot: group.daemon.options.chroot.as_deref().and_then(text),
        account: identity.account.clone(),
        directory: directory(group, identity)?,
        umask: group.daemon.options.umask,
        limits: limits(group, context),
    })
}

/// Returns the message about a failure on the way to the program.
pub(crate) fn obstacle(group: &Group, identity: &Identity, failure: &Failure) -> Obstacle {
    let Failure { step, error } = failure;
    let show = |text: &Option<Box<[u8]>>| text.as_deref().unwrap_or_default().escape_ascii().to_string();
    let user = User(identity);
    let server = "Start the server as root, without options that take away its privileges (capabilities)";
    match step {
        Step::Priority => Obstacle::new(
            PRIORITY_NOT_SET,
            format_args!(
                "cpu-priority={} cannot be set ({error}); it stays as it is",
                group.daemon.options.priority
            ),
        ),
        Step::Limit(index) => limit_obstacle(group, *index, error),
        Step::Chroot => no_jail(group, error),
        Step::Group => {
            Obstacle::new(GROUP_NOT_SET, format_args!("the group of {user} cannot be set: {error}. {server}"))
        }
        Step::Groups => {
            let code = if group.account.as_ref().is_some_and(|account| account.supplementary.is_some()) {
                SUPPLEMENTARY_GROUPS_NOT_SET
            } else {
                USER_GROUPS_NOT_SET
            };
            Obstacle::new(code, format_args!("the group list of {user} cannot be set: {error}. {server}"))
        }
        Step::User => Obstacle::new(USER_NOT_SET, format_args!("{user} cannot be set: {error}. {server}")),
        Step::Verify => Obstacle::new(
            PRIVILEGES_LEFT,
            format_args!("privileges are not gone after the change to {user}; nothing is started"),
        ),
        Step::Directory => {
            let (code, option, path) = match (&group.daemon.options.home, &identity.entry) {
                (None, Ok(entry)) => (
                    USER_HOME_NOT_ENTERED,
                    "the home directory of its user",
                    entry.home.display().to_string(),
                ),
                (home, _) => (HOME_NOT_ENTERED, "home", show(home)),
            };
            let text = format_args!(
                "{user} cannot change to {option}, {path}: {error}. Create it, let the user in, or give another one with \
                 home="
            );
            Obstacle::new(code, text)
        }
        Step::Time => {
            let paths = paths(group).join(" or ");
            let home = match &identity.entry {
                Ok(entry) if group.daemon.options.home.is_none() => entry.home.display().to_string(),
                _ => show(&group.daemon.options.home),
            };
            let text = format_args!(
                "a process of {user} did not get to run {paths} in time, and is killed. Most likely a file system hangs: \
                 look at that of the interpreter, and of its directory (home=, now '{home}')"
            );
            Obstacle::new(DAEMON_NOT_STARTED, text)
        }
        Step::Program(index) => program_obstacle(group, &user, *index, error),
        Step::Prepare | Step::Fork | Step::Session | Step::Bind | Step::Descriptors | Step::Signals => {
            no_process(failure)
        }
    }
}

/// Returns the message about a lack of processes.
pub(crate) fn no_process(why: &dyn fmt::Display) -> Obstacle {
    let text = format_args!(
        "no process can be started: {why}. Are there too many processes (ulimit -u, pids.max) or open files (ulimit -n)?"
    );
    Obstacle::new(NO_PROCESS, text)
}

/// Returns the message that follows the one about a process that is not what its group asks for.
pub(crate) fn not_configured() -> Obstacle {
    let text = format_args!(
        "the process cannot be set up as its group says, and is not used; the next one is started after a pause"
    );
    Obstacle::new(DAEMON_NOT_CONFIGURED, text)
}

/// Returns the message about a user that is not looked up in time.
pub(crate) fn unknown_user(group: &Group) -> String {
    let uid = group.account.as_ref().map_or_else(os::accounts::own_user, |account| account.uid);
    let place = match &group.daemon.options.chroot {
        Some(root) => format!("the file system of the jail {} (chroot=) has", root.escape_ascii()),
        None => "the user database (see /etc/nsswitch.conf: LDAP, SSSD, NIS) has".into(),
    };
    format!(
        "{DAEMON_NOT_STARTED}: {place} not said in time who the user #{uid} is; the process that waits for it is killed"
    )
}

/// Returns the message about a jail that cannot be entered.
pub(crate) fn no_jail(group: &Group, error: &std::io::Error) -> Obstacle {
    let root = group.daemon.options.chroot.as_deref().unwrap_or_default().escape_ascii();
    let text = format_args!("chroot={root} cannot be entered: {error}. Create it, or correct chroot=");
    Obstacle::new(CHROOT_NOT_ENTERED, text)
}

fn limit_obstacle(group: &Group, index: usize, error: &std::io::Error) -> Obstacle {
    let (code, what) = match limits_of(group).get(index).map(|limit| limit.resource) {
        Some(Resource::Cpu) => {
            (CPU_LIMIT_NOT_SET, format!("cpu-time-limit={}", group.daemon.options.cpu_time_limit))
        }
        Some(Resource::Data) => {
            (MEMORY_LIMIT_NOT_SET, format!("memory-limit={}", group.daemon.options.memory_limit))
        }
        Some(Resource::AddressSpace) => (
            ADDRESS_SPACE_LIMIT_NOT_SET,
            format!("virtual-memory-limit={}", group.daemon.options.virtual_memory_limit),
        ),
        _ => (CORE_LIMIT_NOT_SET, "the limit of core dumps".into()),
    };
    Obstacle::new(code, format_args!("{what} cannot be set ({error}); the process goes on without"))
}

/// Returns a likely reason why a process ended before it was ready, apart from what it has said
/// itself.
pub(crate) fn shortage(group: &Group) -> Option<String> {
    let limits = [
        ("memory-limit", group.daemon.options.memory_limit),
        ("virtual-memory-limit", group.daemon.options.virtual_memory_limit),
    ];
    let limits = limits.into_iter().filter(|(_, limit)| *limit > 0);
    let limits: Vec<_> =
        limits.map(|(option, limit)| format!("{option}={} ({} MB)", limit, limit >> 20)).collect();
    (!limits.is_empty()).then(|| {
        format!(
            "The process may have had too little memory: {}. The stacks of {} threads (stack-size=) and all that is imported \
             have to fit: raise the limit, or leave it out",
            limits.join(" and "),
            group.daemon.options.threads
        )
    })
}

fn program_obstacle(group: &Group, user: &User<'_>, index: usize, error: &std::io::Error) -> Obstacle {
    let paths = paths(group);
    let place = match &group.daemon.options.chroot {
        Some(root) => format!(" in {}", root.escape_ascii()),
        None => String::new(),
    };
    let inside = match &group.daemon.options.chroot {
        Some(_) => ". With chroot= the Python, its libraries and the hosts of mod_wsgi have to be inside",
        None => "",
    };
    let text = if error.kind() == std::io::ErrorKind::NotFound {
        format!(
            "there is no Python{place} at {}. Correct python-home= or python= (or WSGIPythonHome), or install \
             it{inside}",
            paths.join(" or ")
        )
    } else if error.kind() == std::io::ErrorKind::NotADirectory {
        format!(
            "there can be no Python{place} at {}: {error}. python-home= (or WSGIPythonHome) has to name the directory \
             above bin; an executable is named by python={inside}",
            paths.join(" or ")
        )
    } else if error.kind() == std::io::ErrorKind::WouldBlock {
        // The error for a user that has too many processes; the change of the user succeeds.
        format!(
            "{user} has as many processes and threads as it may have, and cannot run {} ({error}). Raise that \
             limit (ulimit -u, LimitNPROC= of the service), or use fewer processes= and threads=",
            paths.join(" or ")
        )
    } else {
        let path = paths.get(index).map_or("", String::as_str);
        format!(
            "{user} cannot run {path}{place}: {error}. Let the user read and run it and enter all directories \
             above it, or name another Python with python-home= or python="
        )
    };
    Obstacle::new(DAEMON_NOT_STARTED, text)
}

fn paths(group: &Group) -> Vec<String> {
    group.programs.iter().map(|path| path.escape_ascii().to_string()).collect()
}

/// Returns the directory to start in: `home=`; else its user's own directory, unless that is the
/// user of the server.
fn directory(group: &Group, identity: &Identity) -> Result<Option<CString>, Obstacle> {
    if let Some(home) = &group.daemon.options.home {
        return Ok(text(home));
    }
    if identity.uid == group.server_uid {
        return Ok(None);
    }
    match &identity.entry {
        Ok(entry) => Ok(text(entry.home.as_os_str().as_bytes())),
        Err(reason) => Err(Obstacle::new(
            USER_UNKNOWN,
            format_args!("{} {reason}, so no home directory. Give one with home=", User(identity)),
        )),
    }
}

/// Builds the environment. In this order, later variables win: the server's, the user's, `lang=`
/// and `locale=`, `environment=`.
fn environment(group: &Group, identity: &Identity, own: &[CString]) -> Vec<CString> {
    let mut environment = own.to_vec();
    let mut set = |name: &[u8], value: &[u8]| os::spawn::set_variable(&mut environment, name, value);
    if let Ok(entry) = &identity.entry {
        set(b"HOME", entry.home.as_os_str().as_bytes());
        for name in NAMES {
            if os::spawn::variable(own, name).is_some() {
                set(name, entry.name.as_bytes());
            }
        }
    }
    if let Some(lang) = &group.daemon.options.lang {
        set(b"LANG", lang);
    }
    if let Some(locale) = &group.daemon.options.locale {
        set(b"LC_ALL", locale);
    }
    for (name, value) in &group.daemon.options.environment {
        set(name, value);
    }
    environment
}

fn limits(group: &Group, context: &LaunchContext) -> Vec<Limit> {
    let mut limits = limits_of(group);
    // A process that has only changed its user dumps no core. After exec it would.
    if group.account.is_some() && !group.dumps_core {
        limits.extend(context.no_core);
    }
    limits
}

/// Returns the limits that the configuration names.
fn limits_of(group: &Group) -> Vec<Limit> {
    let mut limits = Vec::new();
    if group.daemon.options.cpu_time_limit > 0 {
        // A process that has used up its time goes on until its successor is ready, and then has
        // time to finish and to shut down. Meanwhile it may use as many processors as it has
        // threads.
        let Limits { startup_timeout, graceful_timeout, shutdown_timeout, .. } = group.daemon.options.limits;
        let times = SUCCESSOR_TIMEOUT
            .max(startup_timeout)
            .saturating_add(graceful_timeout)
            .saturating_add(shutdown_timeout);
        let processors = std::thread::available_parallelism().map_or(1, std::num::NonZero::get) as u64;
        let spare =
            times.div_ceil(1_000).saturating_mul(processors.min(group.daemon.options.threads.max(1).into()));
        let hard = group.daemon.options.cpu_time_limit.saturating_add(1).saturating_add(spare);
        limits.push(Limit { resource: Resource::Cpu, soft: group.daemon.options.cpu_time_limit, hard });
    }
    let memory = [
        (Resource::Data, group.daemon.options.memory_limit),
        (Resource::AddressSpace, group.daemon.options.virtual_memory_limit),
    ];
    for (resource, limit) in memory {
        if limit > 0 {
            limits.push(Limit { resource, soft: limit, hard: limit });
        }
    }
    limits
}

/// Converts a path, argument or value of the configuration, none of which contains a NUL byte: one
/// that did could not be meant.
fn text(bytes: &[u8]) -> Option<CString> {
    CString::new(bytes).ok()
}

/// A user, for messages.
struct User<'a>(&'a Identity);

impl fmt::Display for User<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.0.entry {
            Ok(entry) => write!(f, "the user '{}'", entry.name),
            Err(_) => write!(f, "the user #{}", self.0.uid),
        }
    }
}

#[cfg(test)]
mod tests;
