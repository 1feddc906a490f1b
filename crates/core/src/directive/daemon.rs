//! Directives about daemon processes.

mod environment;
mod option;
mod options;
mod values;

use std::ffi::OsStr;
use std::os::unix::ffi::OsStrExt as _;
use std::path::Path;
use std::sync::Arc;

use super::arguments::{known_options, non_empty, wanted_option};
use super::python::{missing_path, not_a_home};
use super::{Context, Diagnostic, Directive, Effect, FileKind, Support, Target};
use crate::daemon::{DaemonGroup, Inaccessible, NamedServer};
use crate::groups::Forms;
use crate::nearest::nearest;
use crate::python_home::{is_executable, prefix};
use crate::words::{NotAnOption, Pair, Words, display};

pub(super) const RESTRICT_PROCESS: Directive = Directive {
    name: c"WSGIRestrictProcess",
    context: Context::Directory,
    in_container: false,
    arguments: "[*name* ...]",
    default: "no restriction",
    help: c"Limit selection of process groups.",
    doc: "\
The process groups that requests may go to; `%{GLOBAL}` means the Apache children. A request for any other group gets a 500. \
Without names, no group is permitted. A later line or an inner scope replaces the list. The case of names does not matter.",
    support: Support::Supported,
    effect: Effect::Raw(restrict_process),
};

pub(super) const DAEMON_PROCESS: Directive = Directive {
    name: c"WSGIDaemonProcess",
    context: Context::Server,
    in_container: false,
    arguments: "*name* [*option*=*value* ...]",
    default: "",
    help: c"Specify details of daemon processes to start.",
    doc: "\
Defines a group of daemon processes: Python processes of their own that run applications, apart from the Apache children. \
`WSGIProcessGroup` and `process-group=` send requests to it.

*name* must be unique in the whole server. A group that is defined in a virtual host can be used by that host, and by others \
with exactly the same `ServerName`; it logs to the `ErrorLog` of its host. A group that is defined in the main server can be used \
by all hosts.

If an option is given twice, the last one holds (`environment=` and `environment-file=` add up). Users and groups are names, or \
numbers written as `#1000`. Options about users and groups have an effect only if Apache was started as root.

A *time* is a number of seconds, or has a unit: `500ms`, `30s`, `5m` (or `5min`), `2h`, `7d`. A *size* is a number of bytes, or has \
a unit, which is a power of 1024: `64K`, `512M`, `2G`, `1T`. A *count* may have a unit, which is a power of 1000: `10k`, `2M`. Units \
may be in upper or lower case; any other text after a number is refused. The column *At 0* says what 0 means. Where it has a dash, 0 \
is refused, or the value is not a number.",
    support: Support::Supported,
    effect: Effect::Raw(daemon_process),
};

pub(super) const SOCKET_PREFIX: Directive = Directive {
    name: c"WSGISocketPrefix",
    context: Context::Global,
    in_container: false,
    arguments: "*path*",
    default: "",
    help: c"No longer needed: daemon processes have no socket files.",
    doc: "No longer needed, and without effect: there are no socket files.",
    support: Support::Supported,
    effect: Effect::One(|_, _| Ok(())),
};

pub(super) const SOCKET_ROTATION: Directive = Directive {
    name: c"WSGISocketRotation",
    context: Context::Global,
    in_container: false,
    arguments: "On|Off",
    default: "On",
    help: c"No longer needed: daemon processes have no socket files.",
    doc: "\
No longer needed, and without effect: there are no socket files, and Apache children that still finish requests after a \
graceful restart keep their daemon processes.",
    support: Support::Supported,
    effect: Effect::Flag(|_, _| {}),
};

pub(super) const ACCEPT_MUTEX: Directive = Directive {
    name: c"WSGIAcceptMutex",
    context: Context::Global,
    in_container: false,
    arguments: "default|flock|fcntl|sysvsem|posixsem|pthread",
    default: "",
    help: c"No longer needed: daemon processes do not take turns.",
    doc: "No longer needed, and without effect: each request is given to the least busy process of its group.",
    support: Support::Supported,
    effect: Effect::One(accept_mutex),
};

pub(super) const IGNORE_ACTIVITY: Directive = Directive {
    name: c"WSGIIgnoreActivity",
    context: Context::Anywhere,
    in_container: false,
    arguments: "On|Off",
    default: "Off",
    help: c"Enable/Disable reset of inactivity timeout.",
    doc: "With `On`, requests do not count as activity for the `inactivity-timeout=` of their daemon process.",
    support: Support::Supported,
    effect: Effect::Flag(|target, value| target.settings().ignore_activity = Some(value)),
};

#[cfg(test)]
pub(super) fn all_options() -> &'static [option::DaemonOption] {
    options::OPTIONS
}

const DISPLAY_NAME: &str = "display-name";

const MUTEXES: &[&str] = &["default", "flock", "fcntl", "sysvsem", "posixsem", "pthread"];

/// Returns the options of `WSGIDaemonProcess` for the reference, Markdown.
pub(super) fn options_manual() -> String {
    options::manual()
}

/// Returns whether processes of the group `name` may be given something to do by the line of
/// `target`: it must be defined above, and usable from there (§4.1). The empty name is the Apache
/// children.
pub(super) fn usable(target: &Target<'_>, name: &[u8]) -> Result<(), String> {
    if name.is_empty() {
        return Ok(());
    }
    let shown = display(name);
    let Some(group) = target.global.daemon(name) else {
        let names: Vec<_> = target.global.daemons.iter().map(|group| display(&group.name)).collect();
        let meant = nearest(name, names.iter().map(AsRef::as_ref));
        let meant = meant.map(|meant| format!(" (did you mean '{meant}'?)")).unwrap_or_default();
        return Err(format!(
            "WSGI process group '{shown}' not yet configured{meant}: put its {} above this line",
            DAEMON_PROCESS.text()
        ));
    };
    let here = NamedServer { host: target.servers.host(), name: target.servers.name() };
    let own_name = group.host.and_then(|host| target.servers.name_of(host));
    group.admits(own_name, here).map_err(|reason| match reason {
        Inaccessible::OtherName => format!(
            "WSGI process group '{shown}' not accessible: it belongs to the virtual host {}; define it at the level of the \
             main server to share it",
            display(own_name.unwrap_or_default())
        ),
        Inaccessible::NoName => format!(
            "WSGI process group '{shown}' not matchable: it belongs to a virtual host, and here only one of both has a \
             ServerName; put ServerName first"
        ),
    })
}

fn restrict_process(target: &mut Target<'_>, line: &[u8]) -> Result<(), String> {
    for name in Words::new(line) {
        target.warn_if_unexpanded(&format!("{} ", RESTRICT_PROCESS.text()), &name, Forms::Global);
    }
    let names =
        Words::new(line).map(|name| if *name == *b"%{GLOBAL}" { Box::default() } else { (*name).into() });
    target.settings().restrict_process = Some(names.collect::<Arc<[Box<[u8]>]>>());
    Ok(())
}

fn daemon_process(target: &mut Target<'_>, line: &[u8]) -> Result<(), String> {
    let mut words = Words::new(line);
    let name = non_empty(&mut words).ok_or("Name of WSGI daemon process not supplied")?;
    if target.global.daemon(&name).is_some() {
        return Err(format!(
            "Name duplicates previous WSGI daemon definition. Each process group is defined once in the whole server: give this \
             '{}' another name, or remove the line",
            display(&name)
        ));
    }
    let mut group = DaemonGroup::new(&name, target.servers.host());
    group.position = target.position.clone();
    while let Some(pair) = words.pair() {
        let Pair { key, value } = pair.map_err(|NotAnOption(token)| {
            let wanted = wanted_option(token);
            format!("Invalid option '{}' to WSGI daemon process definition: {wanted}", display(token))
        })?;
        let option = option(key).ok_or_else(|| {
            let known: Vec<_> = options::OPTIONS.iter().map(|option| option.name).collect();
            let meant = known_options(key, &known);
            format!("Invalid option '{}' to WSGI daemon process definition: {meant}", display(key))
        })?;
        option
            .apply(&mut group, target.system, &value)
            .map_err(|reason| invalid(option.name, &value, &name, &reason))?;
        if option.name == DISPLAY_NAME {
            target.warn_if_unexpanded("display-name=", &value, Forms::Title);
        }
    }
    if group.options.is_service() && group.options.is_elastic() {
        let value = format!("{}-{}", group.options.least_process_count(), group.options.process_count());
        let reason =
            "with threads=0 no request comes that a process could be started for: give a number of processes";
        return Err(invalid("processes", value.as_bytes(), &name, reason));
    }
    check_files(target, &group)?;
    warn_about_name(target, &name);
    target.global.daemons.push(group);
    Ok(())
}

fn option(key: &[u8]) -> Option<&'static option::DaemonOption> {
    options::OPTIONS.iter().find(|option| option.name.as_bytes() == key)
}

fn invalid(option: &str, value: &[u8], group: &[u8], reason: &str) -> String {
    let (value, group) = (display(value), display(group));
    format!("Invalid {option} '{value}' for WSGI daemon process '{group}': {reason}")
}

/// Refuses paths that nothing can be done with, and tells of those that do nothing. Those of a jail
/// are not known yet.
fn check_files(target: &mut Target<'_>, group: &DaemonGroup) -> Result<(), String> {
    if group.options.chroot.is_some() {
        return Ok(());
    }
    let system = target.system;
    if let Some(home) = group.python_home.as_deref().filter(|_| group.python.is_none())
        && !is_executable(Path::new(OsStr::from_bytes(home)))
        && system.file_kind(prefix(home)) == Some(FileKind::File)
    {
        let reason = not_a_home(prefix(home));
        let reason = format!("{reason}; or write python={}, if that is the Python to run", display(home));
        return Err(invalid("python-home", home, &group.name, &reason));
    }
    if let Some(python) = group.python.as_deref()
        && system.file_kind(python) == Some(FileKind::Directory)
    {
        let shown = display(python);
        let reason = format!(
            "it is a directory, and an executable is wanted: write python-home={shown}, or name a file in its bin"
        );
        return Err(invalid("python", python, &group.name, &reason));
    }
    let path = group.options.python_path.as_deref().unwrap_or_default();
    let what = format!("python-path= of the process group '{}'", display(&group.name));
    if let Some(diagnostic) = missing_path(&what, path, system) {
        target.report(diagnostic);
    }
    Ok(())
}

/// Tells of a name that seems to be something else.
fn warn_about_name(target: &mut Target<'_>, name: &[u8]) {
    let shown = display(name);
    let key = name.split(|&byte| byte == b'=').next().filter(|key| key.len() < name.len());
    if let Some(option) = key.and_then(option) {
        target.report(Diagnostic::warning(format!(
            "'{shown}' is taken for the name of a process group, not for the option {}=: the name comes first, as in {} NAME \
             {shown}",
            option.name,
            DAEMON_PROCESS.text()
        )));
    } else if name.starts_with(b"%{") {
        target.report(Diagnostic::warning(format!(
            "The name of the process group '{shown}' is not expanded, and no request gets there: give it a plain name"
        )));
    }
}

fn accept_mutex(_: &mut Target<'_>, word: &[u8]) -> Result<(), String> {
    if MUTEXES.iter().any(|name| word.eq_ignore_ascii_case(name.as_bytes())) {
        return Ok(());
    }
    Err(format!(
        "Invalid mechanism '{}' for {}: it must be one of: {}",
        display(word),
        ACCEPT_MUTEX.text(),
        MUTEXES.join(" | ")
    ))
}
