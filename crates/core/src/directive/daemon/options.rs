//! The options of `WSGIDaemonProcess`: one definition each, with its documentation and effect (§5.2
//! to §5.6).

use std::fmt::Write as _;

use super::environment;
use super::option::{DaemonOption, ValueKind};
use super::values::{absolute, group, known, script_owner, supplementary_groups, umask, user};
use crate::daemon::{MIN_MEMORY, SOCKET_BUFFER_SIZE, ScriptOwner};
use crate::quantity::{Count, CountOrRange, Duration, Size};

/// The least stack, which is that of Python's `threading.stack_size`.
const LEAST_STACK: u64 = 32 << 10;

/// All of them, in the order of the reference.
pub(super) const OPTIONS: &[DaemonOption] = &[
    DaemonOption {
        name: "processes",
        value: "*count*|*least*-*most*",
        default: "1",
        doc: "The number of processes. If the option is given, even as 1, `wsgi.multiprocess` is true. With a range, such as `1-5`, the \
              number follows the load (`scale-up-wait=`, `scale-down-idle=`), and requests fill the first process up to half \
              of its threads before they go to the next one, so that the last ones have nothing to do when there is little. The least may be 0: the first request \
              starts a process and waits for it, within `socket-timeout=` and `queue-timeout=`. Until then nothing is imported \
              either, whatever `WSGIImportScript` says. With a range, `wsgi.multiprocess` is true if the most is more than 1. See \
              [mass hosting](mass-hosting.md).",
        kind: ValueKind::CountOrRange(CountOrRange { most: u16::MAX as u64 }, |group, least, most| {
            group.options.least_processes = least.map(|least| least as u32);
            group.options.processes = Some(most as u32);
        }),
    },
    DaemonOption {
        name: "threads",
        value: "*count*",
        default: "15",
        doc: "The number of requests that each process serves at a time. With 0, requests for the group get a 500; the process runs its \
              `WSGIImportScript` scripts and is started again when they end. A page that includes another page of the same group \
              (mod_include) may need a second thread: if the outer response is long, the inner request waits for a thread until \
              `socket-timeout=` and then fails.",
        kind: ValueKind::Count(Count { least: 0, most: 65_533 }, "no requests", |group, count| {
            group.options.threads = count as u32
        }),
    },
    DaemonOption {
        name: "scale-up-wait",
        value: "*time*",
        default: "100ms",
        doc: "With a range of `processes=`, another process is started when requests have waited for a thread for this long, and no \
              process had one free. As many may start at the same time as serve already. A number without a unit is in milliseconds.",
        kind: ValueKind::Time(Duration::MILLISECONDS, "at once", |group| {
            &mut group.options.limits.scale_up_wait
        }),
    },
    DaemonOption {
        name: "scale-down-idle",
        value: "*time*",
        default: "60s",
        doc: "With a range of `processes=`, a process beyond the least ends when it has had no request for this long. `inactivity-timeout=` \
              ends it, too, and no other one is started in its place.",
        kind: ValueKind::Time(Duration::SECONDS, "it stays", |group| {
            &mut group.options.limits.scale_down_idle
        }),
    },
    DaemonOption {
        name: "user",
        value: "*user*",
        default: "Apache's `User`",
        doc: "The user that the processes run as. Root is refused.",
        kind: ValueKind::Other(|group, system, value| {
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
        kind: ValueKind::Other(|daemon, system, value| {
            daemon.group = Some(group(system, value)?);
            Ok(())
        }),
    },
    DaemonOption {
        name: "supplementary-groups",
        value: "*group*[,*group* ...]",
        default: "those of the user",
        doc: "The other groups of the processes. An empty value means none.",
        kind: ValueKind::Other(supplementary_groups),
    },
    DaemonOption {
        name: "umask",
        value: "*octal*",
        default: "inherited",
        doc: "The mask for the permissions of files that the processes create, such as `0027`.",
        kind: ValueKind::Other(umask),
    },
    DaemonOption {
        name: "home",
        value: "*directory*",
        default: "",
        doc: "Absolute path of the working directory, which is also the first entry of `sys.path`. Without this option, processes of a \
              user other than Apache's start in the home directory of that user.",
        kind: ValueKind::Path(|group| &mut group.options.home),
    },
    DaemonOption {
        name: "chroot",
        value: "*directory*",
        default: "",
        doc: "Absolute path of the directory that becomes the root directory of the processes. Scripts must be below it, and `home=` \
              is a path inside it. Names of users and groups are looked up in the system; the home directory and the groups of \
              the user are those of `etc/passwd` and `etc/group` inside. Apache must be started as root.",
        kind: ValueKind::Other(|group, system, value| {
            group.options.chroot = Some(absolute(value)?);
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
        doc: "The value of the variable `LANG`.",
        kind: ValueKind::Text(|group| &mut group.options.lang),
    },
    DaemonOption {
        name: "locale",
        value: "*locale*",
        default: "inherited",
        doc: "The value of the variable `LC_ALL`, such as `C.UTF-8`.",
        kind: ValueKind::Text(|group| &mut group.options.locale),
    },
    DaemonOption {
        name: "environment",
        value: "*NAME*=*value*",
        default: "",
        doc: "A variable that is set before Python starts. The option may be repeated. A value with blanks is written as \
              `environment=\"NAME=a value\"`.",
        kind: ValueKind::Other(|group, _, value| {
            group.options.environment.push(environment::variable(value)?);
            Ok(())
        }),
    },
    DaemonOption {
        name: "environment-file",
        value: "*file*",
        default: "",
        doc: "Absolute path of a file of variables, for secrets that should not be in the configuration. Each line is a *NAME*=*value*, \
              whose value is taken as it stands; lines that begin with `#` are comments. The file is read together with the \
              configuration, with the rights of whoever starts Apache.",
        kind: ValueKind::Other(|group, system, value| {
            let path = absolute(value)?;
            let content = system.read(&path).map_err(|error| environment::unreadable(&path, &error))?;
            group.options.environment.extend(environment::file(&content)?);
            Ok(())
        }),
    },
    DaemonOption {
        name: "display-name",
        value: "*name*",
        default: "",
        doc: "The name that `ps` shows in place of the program's; `%{GROUP}` stands for `(wsgi:`*name of the group*`)`.",
        kind: ValueKind::Other(|group, _, value| {
            group.options.display_name = Some(match value {
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
        doc: "Absolute path of the Python executable, such as that of a virtual environment. It overrides `python-home=`.",
        kind: ValueKind::Path(|group| &mut group.python),
    },
    DaemonOption {
        name: "python-home",
        value: "*directory*|*file*",
        default: "`WSGIPythonHome`",
        doc: "The virtual environment, the prefix of the Python installation, or an executable. Groups may have different versions of Python.",
        kind: ValueKind::Text(|group| &mut group.python_home),
    },
    DaemonOption {
        name: "python-path",
        value: "*directory*[:*directory* ...]",
        default: "",
        doc: "Directories that are put in front of `sys.path`. `WSGIPythonPath` has no effect on daemon processes.",
        kind: ValueKind::Text(|group| &mut group.options.python_path),
    },
    DaemonOption {
        name: "python-eggs",
        value: "*directory*",
        default: "",
        doc: "The value of `PYTHON_EGG_CACHE` in `os.environ`.",
        kind: ValueKind::Text(|group| &mut group.python_eggs),
    },
    DaemonOption {
        name: "preload",
        value: "none|fork",
        default: "none",
        doc: "With `fork`, the processes are forked from one that has imported the scripts, the *template*, and share its memory: see \
              [Processes that share memory](preload.md).",
        kind: ValueKind::Other(|group, _, value| {
            group.options.preload_fork = match value {
                b"fork" => true,
                b"none" => false,
                _ => return Err("it must be one of: none | fork".to_owned()),
            };
            Ok(())
        }),
    },
    DaemonOption {
        name: "switch-interval",
        value: "*time*",
        default: "",
        doc: "The value for `sys.setswitchinterval`, greater than 0, such as `0.001` or `1ms`.",
        kind: ValueKind::Interval(|group| &mut group.options.switch_interval),
    },
    DaemonOption {
        name: "server-metrics",
        value: "On|Off",
        default: "Off",
        doc: "With `On`, `mod_wsgi.server_metrics()` returns Apache's scoreboard, which is at most a second old. With `ExtendedStatus On` \
              it shows the clients and request lines of all virtual hosts.",
        kind: ValueKind::Flag(|group| &mut group.server_metrics),
    },
    DaemonOption {
        name: "maximum-requests",
        value: "*count*",
        default: "0",
        doc: "A process is replaced after this many requests.",
        kind: ValueKind::Count(Count::ANY, "off", |group, count| {
            group.options.limits.maximum_requests = count
        }),
    },
    DaemonOption {
        name: "restart-interval",
        value: "*time*",
        default: "0",
        doc: "A process is replaced when it has run for this long.",
        kind: ValueKind::Time(Duration::SECONDS, "off", |group| &mut group.options.limits.restart_interval),
    },
    DaemonOption {
        name: "restart-jitter",
        value: "*number*",
        default: "0",
        doc: "The percentage by which `maximum-requests=` and `restart-interval=` may be exceeded. Each process draws its own share at \
              random when it starts, so that the processes of a group are not all replaced at once: with `maximum-requests=1000 \
              restart-jitter=20`, each is replaced after 1000 to 1200 requests. With 0, processes are replaced after exactly as much \
              as is configured. A process that is there for one request (`threads=1 maximum-requests=1`) serves one in any case.",
        kind: ValueKind::Count(Count { least: 0, most: 100 }, "exact", |group, percent| {
            group.options.limits.restart_jitter = percent
        }),
    },
    DaemonOption {
        name: "memory-recycle",
        value: "*size*",
        default: "0",
        doc: "A process is replaced when it uses more memory than this; its requests finish, and other processes are not affected. It is \
              looked at every two seconds. What counts is memory that a replacement can give back: `RssAnon` and `VmSwap` in \
              `/proc/PID/status`, without mapped files and shared memory, so less than what `ps` shows as `RSS`. With \
              `preload=fork`, what a process shares with the one that it was forked from counts. A process that uses more \
              soon after it began to serve is replaced only when it has served for ten seconds, and for 20 times as long as it took to \
              start, since its successor would do the same; a warning says so with both sizes. Unlike `memory-limit=`, this \
              option refuses nothing to the application.",
        kind: ValueKind::Size(Size::zero_or(MIN_MEMORY), "off", |group| {
            &mut group.options.limits.memory_recycle
        }),
    },
    DaemonOption {
        name: "inactivity-timeout",
        value: "*time*",
        default: "0",
        doc: "A process that has served requests is replaced after this time without a request, and without input or output of a \
              running one. See `WSGIIgnoreActivity`.",
        kind: ValueKind::Time(Duration::SECONDS, "off", |group| &mut group.options.limits.inactivity_timeout),
    },
    DaemonOption {
        name: "request-timeout",
        value: "*time*",
        default: "0",
        doc: "If a request takes longer than this time multiplied by 1 + ln(`threads`) (with 10 threads, by 3.3), it is interrupted \
              (`interrupt-timeout=`) or its process is replaced. The stacks of the threads are logged. See \
              [the time of a request](sizing.md#the-time-of-a-request).",
        kind: ValueKind::Time(Duration::SECONDS, "off", |group| &mut group.options.limits.request_timeout),
    },
    DaemonOption {
        name: "interrupt-timeout",
        value: "*time*",
        default: "0",
        doc: "If set, a request that exceeds `request-timeout=` first gets the exception `mod_wsgi.RequestTimeout`, and then has this time \
              to end.",
        kind: ValueKind::Time(Duration::SECONDS, "no exception", |group| {
            &mut group.options.limits.interrupt_timeout
        }),
    },
    DaemonOption {
        name: "stuck-timeout",
        value: "*time*",
        default: "`WSGIStuckTimeout`",
        doc: "A request that has run for this long is logged once, with the Python stack of its thread. It goes on.",
        kind: ValueKind::Time(Duration::SECONDS, "off", |group| group.stuck_timeout.get_or_insert_default()),
    },
    DaemonOption {
        name: "startup-timeout",
        value: "*time*",
        default: "0",
        doc: "A process is replaced if no script has been loaded successfully this long after its first request.",
        kind: ValueKind::Time(Duration::SECONDS, "off", |group| &mut group.options.limits.startup_timeout),
    },
    DaemonOption {
        name: "deadlock-timeout",
        value: "*time*",
        default: "300s",
        doc: "A process is replaced if Python's global lock cannot be had for so long.",
        kind: ValueKind::Time(Duration::SECONDS, "off", |group| &mut group.options.limits.deadlock_timeout),
    },
    DaemonOption {
        name: "graceful-timeout",
        value: "*time*",
        default: "15s",
        doc: "The time that a process has to finish its requests when it is replaced.",
        kind: ValueKind::Time(Duration::SECONDS, "not at all", |group| {
            &mut group.options.limits.graceful_timeout
        }),
    },
    DaemonOption {
        name: "eviction-timeout",
        value: "*time*",
        default: "0",
        doc: "The same time for a process that has received the signal SIGUSR1.",
        kind: ValueKind::Time(Duration::SECONDS, "`graceful-timeout=`", |group| {
            &mut group.options.limits.eviction_timeout
        }),
    },
    DaemonOption {
        name: "shutdown-timeout",
        value: "*time*",
        default: "5s",
        doc: "The time that a process has to shut down before it is killed.",
        kind: ValueKind::Time(Duration::SECONDS, "for ever", |group| {
            &mut group.options.limits.shutdown_timeout
        }),
    },
    DaemonOption {
        name: "queue-timeout",
        value: "*time*",
        default: "0",
        doc: "A request that has waited longer than this for a thread gets a 504 and is not run.",
        kind: ValueKind::Time(Duration::SECONDS, "no limit", |group| &mut group.options.limits.queue_timeout),
    },
    DaemonOption {
        name: "listen-backlog",
        value: "*count*",
        default: "100",
        doc: "The number of requests that may wait for a thread of a process. Any more get a 503.",
        kind: ValueKind::Count(Count::ANY, "as 1", |group, count| {
            group.options.limits.listen_backlog = count.max(1)
        }),
    },
    DaemonOption {
        name: "connect-timeout",
        value: "*time*",
        default: "15s",
        doc: "The time that a request waits for a process to exist before it gets a 503.",
        kind: ValueKind::Time(Duration::SECONDS, "one attempt", |group| &mut group.transport.connect_timeout),
    },
    DaemonOption {
        name: "socket-timeout",
        value: "*time*",
        default: "0",
        doc: "The time that Apache and the process wait for data from each other. If the response has not begun by then, the client gets \
              a 504.",
        kind: ValueKind::Time(Duration::SECONDS, "Apache's `Timeout`", |group| {
            &mut group.options.limits.socket_timeout
        }),
    },
    DaemonOption {
        name: "response-socket-timeout",
        value: "*time*",
        default: "0",
        doc: "The longest time that a write to the client may take.",
        kind: ValueKind::Time(
            Duration::SECONDS,
            "`socket-timeout=`; if that is 0 too, Apache's `Timeout`",
            |group| &mut group.transport.response_socket_timeout,
        ),
    },
    DaemonOption {
        name: "response-flush-delay",
        value: "*time*",
        default: "5ms",
        doc: "The time that Apache waits for more of a response before it sends the client what has arrived. A number without a unit is \
              in milliseconds.",
        kind: ValueKind::Time(Duration::MILLISECONDS, "it does not wait", |group| {
            &mut group.transport.response_flush_delay
        }),
    },
    DaemonOption {
        name: "response-buffer-size",
        value: "*size*",
        default: "8M",
        doc: "What has arrived of a response is sent to the client when it is this much, without further delay.",
        kind: ValueKind::Buffer(65_536, |group| &mut group.transport.response_buffer_size, 8_388_608),
    },
    DaemonOption {
        name: "header-buffer-size",
        value: "*size*",
        default: "32K",
        doc: "The longest header that a response may have; with a longer one, the client gets a 500. All headers together may be eight \
              times as long, and at least 256 KB.",
        kind: ValueKind::Buffer(8_192, |group| &mut group.transport.header_buffer_size, 32_768),
    },
    DaemonOption {
        name: "spool-body",
        value: "*size*",
        default: "0",
        doc: "Bodies of requests up to this length are read before a process gets the request: see `WSGISpoolRequestBody`, which overrides \
              the option.",
        kind: ValueKind::Size(Size::zero_or(1), "off", |group| &mut group.transport.spool_body),
    },
    DaemonOption {
        name: "send-buffer-size",
        value: "*size*",
        default: "208K",
        doc: "The room for what Apache sends to a process ahead of it, on each connection (Linux doubles it).",
        kind: ValueKind::Buffer(512, |group| &mut group.transport.send_buffer_size, SOCKET_BUFFER_SIZE),
    },
    DaemonOption {
        name: "receive-buffer-size",
        value: "*size*",
        default: "208K",
        doc: "The room for what a process sends to Apache ahead of it, on each connection (Linux doubles it).",
        kind: ValueKind::Buffer(512, |group| &mut group.transport.receive_buffer_size, SOCKET_BUFFER_SIZE),
    },
    DaemonOption {
        name: "script-user",
        value: "*user*",
        default: "",
        doc: "Only scripts of this owner are run: the file and its directory must belong to the user, and nobody else may have write \
              permission. Requests for other scripts get a 403.",
        kind: ValueKind::Other(|group, system, value| {
            let id = user(system, value)?;
            script_owner(group, ScriptOwner::User(id))
        }),
    },
    DaemonOption {
        name: "script-group",
        value: "*group*",
        default: "",
        doc: "Only scripts of this group are run: the file and its directory belong to the group, and not everybody may write to \
              them. It cannot be given together with `script-user=`.",
        kind: ValueKind::Other(|daemon, system, value| {
            let id = group(system, value)?;
            script_owner(daemon, ScriptOwner::Group(id))
        }),
    },
    DaemonOption {
        name: "stack-size",
        value: "*size*",
        default: "the system's",
        doc: "The stack of each thread. The system's is often 8M. Only the used part takes memory, but the whole stack counts for \
              `memory-limit=` and `virtual-memory-limit=`.",
        kind: ValueKind::Size(Size { least: LEAST_STACK, zero: false }, "", |group| {
            &mut group.options.stack_size
        }),
    },
    DaemonOption {
        name: "cpu-priority",
        value: "*number*",
        default: "0",
        doc: "The nice value, from -20 to 19. A value outside of this range counts as the nearest one in it. Negative values need root.",
        kind: ValueKind::Integer("unchanged", |group| &mut group.options.priority),
    },
    DaemonOption {
        name: "cpu-time-limit",
        value: "*time*",
        default: "0",
        doc: "A process is replaced after it has used this much CPU time.",
        kind: ValueKind::Time(Duration::WHOLE_SECONDS, "no limit", |group| &mut group.options.cpu_time_limit),
    },
    DaemonOption {
        name: "memory-limit",
        value: "*size*",
        default: "0",
        doc: "The memory for data that a process may have (`RLIMIT_DATA`), including the stacks of its threads (see `stack-size=`). If \
              the limit is too low, the process cannot start.",
        kind: ValueKind::Size(Size::zero_or(MIN_MEMORY), "no limit", |group| &mut group.options.memory_limit),
    },
    DaemonOption {
        name: "virtual-memory-limit",
        value: "*size*",
        default: "0",
        doc: "The address space that a process may have (`RLIMIT_AS`); a process needs several times the memory that it uses.",
        kind: ValueKind::Size(Size::zero_or(MIN_MEMORY), "no limit", |group| {
            &mut group.options.virtual_memory_limit
        }),
    },
    DaemonOption {
        name: "socket-user",
        value: "*user*",
        default: "",
        doc: "No longer needed, and without effect: there are no socket files.",
        kind: ValueKind::Other(|_, system, value| known(system, user(system, value)?)),
    },
];

/// Returns the options for the reference, Markdown.
pub(in crate::directive) fn manual() -> String {
    let mut out = String::from("| Option | Value | Default | At 0 | Meaning |\n|---|---|---|---|---|\n");
    for option in OPTIONS {
        let shown = |text: &'static str| if text.is_empty() { "–" } else { text };
        // Writing to a string does not fail.
        let _ = writeln!(
            out,
            "| `{}=` | {}{} | {} | {} | {} |",
            option.name,
            option.value.replace('|', "\\|"),
            option.kind.range(),
            shown(option.default),
            shown(option.kind.zero()),
            option.doc
        );
    }
    out
}
