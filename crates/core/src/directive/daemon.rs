//! Directives about daemon processes.

use super::{Context, Directive, Effect, Support};

pub(super) const RESTRICT_PROCESS: Directive = Directive {
    name: c"WSGIRestrictProcess",
    context: Context::Directory,
    in_container: false,
    arguments: "[*name* ...]",
    default: "no restriction",
    help: c"Limit selection of process groups.",
    doc: "The process groups that requests may go to; `%{GLOBAL}` means the Apache children. Others get a 500.",
    support: Support::Planned,
    effect: Effect::Refuse,
};

pub(super) const DAEMON_PROCESS: Directive = Directive {
    name: c"WSGIDaemonProcess",
    context: Context::Server,
    in_container: false,
    arguments: "*name* [*option*=*value* ...]",
    default: "",
    help: c"Specify details of daemon processes to start.",
    doc: "Defines a group of daemon processes.",
    support: Support::Planned,
    effect: Effect::Refuse,
};

pub(super) const SOCKET_PREFIX: Directive = Directive {
    name: c"WSGISocketPrefix",
    context: Context::Global,
    in_container: false,
    arguments: "*path*",
    default: "",
    help: c"Path prefix for the sockets of daemon processes.",
    doc: "Where the original module puts its socket files.",
    support: Support::Planned,
    effect: Effect::Refuse,
};

pub(super) const SOCKET_ROTATION: Directive = Directive {
    name: c"WSGISocketRotation",
    context: Context::Global,
    in_container: false,
    arguments: "On|Off",
    default: "On",
    help: c"Enable/Disable rotation of daemon process sockets.",
    doc: "Whether socket files of the original module change their name with each restart.",
    support: Support::Planned,
    effect: Effect::Refuse,
};

pub(super) const ACCEPT_MUTEX: Directive = Directive {
    name: c"WSGIAcceptMutex",
    context: Context::Global,
    in_container: false,
    arguments: "*mechanism*",
    default: "fcntl",
    help: c"Accept mutex of daemon processes.",
    doc: "How the processes of a group of the original module take turns.",
    support: Support::Planned,
    effect: Effect::Refuse,
};

pub(super) const IGNORE_ACTIVITY: Directive = Directive {
    name: c"WSGIIgnoreActivity",
    context: Context::Anywhere,
    in_container: false,
    arguments: "On|Off",
    default: "Off",
    help: c"Enable/Disable reset of inactivity timeout.",
    doc: "With `On`, requests do not count as activity for the inactivity timeout of their daemon process.",
    support: Support::Planned,
    effect: Effect::Refuse,
};
