//! The options of `WSGIDaemonProcess`: one definition each, with its documentation and effect (§5.2 to §5.6).

use std::fmt::Write as _;

use super::environment;
use super::values::{
    absolute, group, known, natural, number, script_owner, supplementary_groups, umask, user,
};
use crate::daemon::{DaemonGroup, ScriptOwner};
use crate::directive::System;
use crate::directive::arguments::flag_value;
use crate::words::float;

/// An option.
pub(super) struct DaemonOption {
    /// Its key.
    pub(super) name: &'static str,
    /// What its value stands for, for the reference.
    value: &'static str,
    /// What holds without it, for the reference.
    default: &'static str,
    /// One sentence or more, Markdown.
    doc: &'static str,
    take: Take,
}

/// What an option does with its value.
enum Take {
    /// Seconds, kept as milliseconds.
    Seconds(fn(&mut DaemonGroup) -> &mut u64),
    /// A whole number of this range.
    Number(i64, i64, fn(&mut DaemonGroup, i64)),
    /// A count of bytes, 0 or more.
    Bytes(fn(&mut DaemonGroup) -> &mut u64),
    /// A buffer of at least so many bytes; 0 is the default, which comes last.
    Buffer(u64, fn(&mut DaemonGroup) -> &mut u64, u64),
    /// An absolute path.
    Path(fn(&mut DaemonGroup) -> &mut Option<Box<[u8]>>),
    /// Anything.
    Text(fn(&mut DaemonGroup) -> &mut Option<Box<[u8]>>),
    /// Something of its own.
    Other(fn(&mut DaemonGroup, &dyn System, &[u8]) -> Result<(), String>),
}

/// All of them, in the order of the reference.
pub(super) const OPTIONS: &[DaemonOption] = &[
    DaemonOption {
        name: "processes",
        value: "*count*",
        default: "1",
        doc: "How many processes. If it is given at all, even as 1, `wsgi.multiprocess` is true.",
        take: Take::Number(1, u16::MAX as i64, |group, count| group.processes = Some(count as u32)),
    },
    DaemonOption {
        name: "threads",
        value: "*count*",
        default: "15",
        doc: "How many requests each process serves at a time. With 0 it serves none: it runs its `WSGIImportScript` scripts, and \
              is started again when they end.",
        take: Take::Number(0, 65_533, |group, count| group.threads = count as u32),
    },
    DaemonOption {
        name: "user",
        value: "*user*",
        default: "Apache's `User`",
        doc: "Whom the processes run as; never root.",
        take: Take::Other(|group, system, value| {
            let id = user(system, value)?;
            if id == 0 {
                return Err("applications may not run as root: name another user".to_owned());
            }
            known(system, id)?;
            group.user = Some(id);
            Ok(())
        }),
    },
    DaemonOption {
        name: "group",
        value: "*group*",
        default: "Apache's `Group`",
        doc: "The primary group of the processes.",
        take: Take::Other(|daemon, system, value| {
            daemon.group = Some(group(system, value)?);
            Ok(())
        }),
    },
    DaemonOption {
        name: "supplementary-groups",
        value: "*group*[,*group* ...]",
        default: "those of the user",
        doc: "Their other groups. An empty value means none.",
        take: Take::Other(supplementary_groups),
    },
    DaemonOption {
        name: "umask",
        value: "*octal*",
        default: "inherited",
        doc: "The mask for the permissions of files that they make, such as `0027`.",
        take: Take::Other(umask),
    },
    DaemonOption {
        name: "home",
        value: "*directory*",
        default: "",
        doc: "Absolute path of the working directory, also the first entry of `sys.path`. Without it, processes of a user other \
              than Apache's work in the home directory of that user.",
        take: Take::Path(|group| &mut group.home),
    },
    DaemonOption {
        name: "chroot",
        value: "*directory*",
        default: "",
        doc: "Absolute path of the directory that becomes their root. Scripts must be below it; `home=` is inside it. Names of \
              users and groups are those of the system; the home directory and the groups of the user are what \
              `etc/passwd` and `etc/group` inside say. Apache must be started as root.",
        take: Take::Other(|group, system, value| {
            group.chroot = Some(absolute(value)?);
            if system.is_root() {
                Ok(())
            } else {
                Err("only root can change the root directory: start (and test) Apache as root, or leave it out".to_owned())
            }
        }),
    },
    DaemonOption {
        name: "lang",
        value: "*locale*",
        default: "inherited",
        doc: "The variable `LANG`.",
        take: Take::Text(|group| &mut group.lang),
    },
    DaemonOption {
        name: "locale",
        value: "*locale*",
        default: "inherited",
        doc: "The variable `LC_ALL`, such as `C.UTF-8`.",
        take: Take::Text(|group| &mut group.locale),
    },
    DaemonOption {
        name: "environment",
        value: "*NAME*=*value*",
        default: "",
        doc: "A variable that is set before Python starts. It may be repeated; a value with blanks is written as \
              `environment=\"NAME=a value\"`.",
        take: Take::Other(|group, _, value| {
            group.environment.push(environment::variable(value)?);
            Ok(())
        }),
    },
    DaemonOption {
        name: "environment-file",
        value: "*file*",
        default: "",
        doc: "Absolute path of a file with a *NAME*=*value* on each line, taken as it stands, for secrets that should not be in the \
              configuration. Lines that begin with `#` are comments. It is read when the configuration is read, with the rights \
              of whoever starts Apache.",
        take: Take::Other(|group, system, value| {
            let path = absolute(value)?;
            let content = system.read(&path).map_err(|error| environment::unreadable(&path, &error))?;
            group.environment.extend(environment::file(&content)?);
            Ok(())
        }),
    },
    DaemonOption {
        name: "display-name",
        value: "*name*",
        default: "",
        doc: "What `ps` shows in place of the program's name; `%{GROUP}` is `(wsgi:`*name of the group*`)`.",
        take: Take::Other(|group, _, value| {
            group.display_name = Some(match value {
                b"%{GROUP}" => [b"(wsgi:", &*group.name, b")"].concat().into(),
                name => name.into(),
            });
            Ok(())
        }),
    },
    DaemonOption {
        name: "python",
        value: "*file*",
        default: "",
        doc: "Absolute path of the Python executable, such as that of a virtual environment. It goes before `python-home=`.",
        take: Take::Path(|group| &mut group.python),
    },
    DaemonOption {
        name: "python-home",
        value: "*directory*",
        default: "`WSGIPythonHome`",
        doc: "The virtual environment, or the prefix of the Python installation. Groups may have different versions of Python.",
        take: Take::Text(|group| &mut group.python_home),
    },
    DaemonOption {
        name: "python-path",
        value: "*directory*[:*directory* ...]",
        default: "",
        doc: "Directories that go to the front of `sys.path`; `WSGIPythonPath` is not for daemon processes.",
        take: Take::Text(|group| &mut group.python_path),
    },
    DaemonOption {
        name: "python-eggs",
        value: "*directory*",
        default: "",
        doc: "The variable `PYTHON_EGG_CACHE` in `os.environ`.",
        take: Take::Text(|group| &mut group.python_eggs),
    },
    DaemonOption {
        name: "switch-interval",
        value: "*seconds*",
        default: "",
        doc: "A number greater than 0, such as `0.001`, for `sys.setswitchinterval`.",
        take: Take::Other(|group, _, value| {
            let seconds = float(value).filter(|&seconds| seconds > 0.0);
            group.switch_interval = Some(seconds.ok_or("it must be a number of seconds greater than 0")?);
            Ok(())
        }),
    },
    DaemonOption {
        name: "server-metrics",
        value: "On\\|Off",
        default: "Off",
        doc: "Whether `mod_wsgi.server_metrics()` returns Apache's scoreboard, up to a second old. With `ExtendedStatus On` \
              it shows the clients and request lines of all virtual hosts.",
        take: Take::Other(|group, _, value| {
            group.server_metrics = flag_value(value).ok_or("it must be one of: Off | On")?;
            Ok(())
        }),
    },
    DaemonOption {
        name: "maximum-requests",
        value: "*count*",
        default: "0",
        doc: "A process is replaced after so many requests.",
        take: Take::Number(0, i64::MAX, |group, count| group.limits.maximum_requests = count as u64),
    },
    DaemonOption {
        name: "restart-interval",
        value: "*seconds*",
        default: "0",
        doc: "A process is replaced when it is so old.",
        take: Take::Seconds(|group| &mut group.limits.restart_interval),
    },
    DaemonOption {
        name: "inactivity-timeout",
        value: "*seconds*",
        default: "0",
        doc: "A process that has served requests is replaced after this time without one, and without input or output of one. See \
              `WSGIIgnoreActivity`.",
        take: Take::Seconds(|group| &mut group.limits.inactivity_timeout),
    },
    DaemonOption {
        name: "request-timeout",
        value: "*seconds*",
        default: "0",
        doc: "A request that takes longer, times 1 + ln(`threads`), is interrupted (`interrupt-timeout=`) or has its process \
              replaced. The stacks of its threads are logged.",
        take: Take::Seconds(|group| &mut group.limits.request_timeout),
    },
    DaemonOption {
        name: "interrupt-timeout",
        value: "*seconds*",
        default: "0",
        doc: "If set, such a request first gets the exception `mod_wsgi.RequestTimeout`, and this time to end.",
        take: Take::Seconds(|group| &mut group.limits.interrupt_timeout),
    },
    DaemonOption {
        name: "startup-timeout",
        value: "*seconds*",
        default: "0",
        doc: "A process is replaced if, this long after its first request, no script has been loaded without failing.",
        take: Take::Seconds(|group| &mut group.limits.startup_timeout),
    },
    DaemonOption {
        name: "deadlock-timeout",
        value: "*seconds*",
        default: "300",
        doc: "A process is replaced if Python's global lock can not be had for so long.",
        take: Take::Seconds(|group| &mut group.limits.deadlock_timeout),
    },
    DaemonOption {
        name: "graceful-timeout",
        value: "*seconds*",
        default: "15",
        doc: "How long a process that is replaced may take to finish its requests.",
        take: Take::Seconds(|group| &mut group.limits.graceful_timeout),
    },
    DaemonOption {
        name: "eviction-timeout",
        value: "*seconds*",
        default: "0: `graceful-timeout`",
        doc: "The same for a process that gets the signal SIGUSR1.",
        take: Take::Seconds(|group| &mut group.limits.eviction_timeout),
    },
    DaemonOption {
        name: "shutdown-timeout",
        value: "*seconds*",
        default: "5",
        doc: "How long a process that shuts down may take until it is ended by force; 0: for ever.",
        take: Take::Seconds(|group| &mut group.limits.shutdown_timeout),
    },
    DaemonOption {
        name: "queue-timeout",
        value: "*seconds*",
        default: "0",
        doc: "A request that has waited longer for a thread gets a 504, and is not run.",
        take: Take::Seconds(|group| &mut group.limits.queue_timeout),
    },
    DaemonOption {
        name: "listen-backlog",
        value: "*count*",
        default: "100",
        doc: "How many requests may wait for a thread of a process; more get a 503. 0 counts as 1.",
        take: Take::Number(0, i64::MAX, |group, count| group.limits.listen_backlog = count.max(1) as u64),
    },
    DaemonOption {
        name: "connect-timeout",
        value: "*seconds*",
        default: "15",
        doc: "How long a request may wait for a process to exist; then it gets a 503.",
        take: Take::Seconds(|group| &mut group.relay.connect_timeout),
    },
    DaemonOption {
        name: "socket-timeout",
        value: "*seconds*",
        default: "0: Apache's `Timeout`",
        doc: "How long Apache and the process wait for each other's next word. A response that has not begun by then is a 504.",
        take: Take::Seconds(|group| &mut group.limits.socket_timeout),
    },
    DaemonOption {
        name: "response-socket-timeout",
        value: "*seconds*",
        default: "0: `socket-timeout`",
        doc: "How long a write to the client may take.",
        take: Take::Seconds(|group| &mut group.relay.response_socket_timeout),
    },
    DaemonOption {
        name: "response-flush-delay",
        value: "*milliseconds*",
        default: "5",
        doc: "How long Apache waits for more of a response before it sends the client what there is; 0: not at all.",
        take: Take::Number(0, i64::MAX, |group, delay| group.relay.response_flush_delay = delay as u64),
    },
    DaemonOption {
        name: "response-buffer-size",
        value: "*bytes*",
        default: "8388608",
        doc: "What there is is sent at the latest when it is this much; at least 65536.",
        take: Take::Buffer(65_536, |group| &mut group.relay.response_buffer_size, 8_388_608),
    },
    DaemonOption {
        name: "header-buffer-size",
        value: "*bytes*",
        default: "32768",
        doc: "How long a header of a response may be, at least 8192; else the client gets a 500.",
        take: Take::Buffer(8_192, |group| &mut group.relay.header_buffer_size, 32_768),
    },
    DaemonOption {
        name: "send-buffer-size",
        value: "*bytes*",
        default: "0: the system's",
        doc: "The send buffer of the sockets between Apache and the processes, at least 512.",
        take: Take::Buffer(512, |group| &mut group.relay.send_buffer_size, 0),
    },
    DaemonOption {
        name: "receive-buffer-size",
        value: "*bytes*",
        default: "0: the system's",
        doc: "Their receive buffer, at least 512.",
        take: Take::Buffer(512, |group| &mut group.relay.receive_buffer_size, 0),
    },
    DaemonOption {
        name: "script-user",
        value: "*user*",
        default: "",
        doc: "Only scripts of this owner are run: the file and its directory belong to the user, and only the user may write to \
              them. Others get a 403.",
        take: Take::Other(|group, system, value| {
            let id = user(system, value)?;
            script_owner(group, ScriptOwner::User(id))
        }),
    },
    DaemonOption {
        name: "script-group",
        value: "*group*",
        default: "",
        doc: "Only scripts of this group are run: the file and its directory belong to the group, and not everybody may write to \
              them. It can not be given together with `script-user=`.",
        take: Take::Other(|daemon, system, value| {
            let id = group(system, value)?;
            script_owner(daemon, ScriptOwner::Group(id))
        }),
    },
    DaemonOption {
        name: "stack-size",
        value: "*bytes*",
        default: "the system's",
        doc: "The stack of each thread.",
        take: Take::Number(1, i64::MAX, |group, size| group.stack_size = size as u64),
    },
    DaemonOption {
        name: "cpu-priority",
        value: "*number*",
        default: "0",
        doc: "The nice value, -20 to 19; 0 leaves it alone.",
        take: Take::Number(i32::MIN as i64, i32::MAX as i64, |group, nice| group.priority = nice as i32),
    },
    DaemonOption {
        name: "cpu-time-limit",
        value: "*seconds*",
        default: "0",
        doc: "A process is replaced after so much time of the CPU.",
        take: Take::Number(0, i64::MAX, |group, seconds| group.cpu_time_limit = seconds as u64),
    },
    DaemonOption {
        name: "memory-limit",
        value: "*bytes*",
        default: "0",
        doc: "How much memory for data a process may have (`RLIMIT_DATA`).",
        take: Take::Bytes(|group| &mut group.memory_limit),
    },
    DaemonOption {
        name: "virtual-memory-limit",
        value: "*bytes*",
        default: "0",
        doc: "How much address space a process may have (`RLIMIT_AS`).",
        take: Take::Bytes(|group| &mut group.virtual_memory_limit),
    },
    DaemonOption {
        name: "socket-user",
        value: "*user*",
        default: "",
        doc: "No longer needed, and without effect: there are no socket files.",
        take: Take::Other(|_, system, value| known(system, user(system, value)?)),
    },
];

/// The options for the reference, Markdown.
pub(in crate::directive) fn manual() -> String {
    let mut out = String::from("| Option | Value | Default | Meaning |\n|---|---|---|---|\n");
    for option in OPTIONS {
        let default = if option.default.is_empty() { "–" } else { option.default };
        // Writing to a string does not fail.
        let _ = writeln!(out, "| `{}=` | {} | {default} | {} |", option.name, option.value, option.doc);
    }
    out
}

impl DaemonOption {
    /// Sets the option. An error says what is wrong with the value, not which option it belongs to.
    pub(super) fn apply(
        &self,
        group: &mut DaemonGroup,
        system: &dyn System,
        value: &[u8],
    ) -> Result<(), String> {
        match self.take {
            Take::Seconds(field) => *field(group) = natural(value, "seconds")?.saturating_mul(1_000),
            Take::Bytes(field) => *field(group) = natural(value, "bytes")?,
            Take::Buffer(least, field, default) => {
                *field(group) = match natural(value, "bytes")? {
                    0 => default,
                    size if size >= least => size,
                    _ => return Err(format!("it must be 0, or a number of bytes of at least {least}")),
                };
            }
            Take::Number(least, most, set) => {
                let number = number(value)?;
                if !(least..=most).contains(&number) {
                    let range = match (least, most) {
                        (least, i64::MAX) => format!("{least} or more"),
                        (least, most) => format!("{least} to {most}"),
                    };
                    return Err(format!("it must be a number, {range}"));
                }
                set(group, number);
            }
            Take::Path(field) => *field(group) = Some(absolute(value)?),
            Take::Text(field) => *field(group) = Some(value.into()),
            Take::Other(effect) => effect(group, system, value)?,
        }
        Ok(())
    }
}
