//! Ends and events of daemon processes, as the status of the server shows them.

use std::fs;
use std::io::Write;
use std::os::unix::process::ExitStatusExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use e2e::Needs::{Daemon, NoSanitizer, Ours, Root};
use e2e::{Server, Setup, Test, on_one_mpm, signal, wait_until};
use nix::sys::signal::Signal;
use status::Snapshot;
use status::snapshot::{Event, EventKind, Process};

pub(crate) const TESTS: &[Test] = &[
    on_one_mpm!(
        crashes_and_ends_are_counted_and_recorded,
        Daemon,
        Ours("tallies of processes"),
        NoSanitizer("it handles the signal itself")
    ),
    on_one_mpm!(
        a_kill_for_lack_of_memory_is_named,
        Daemon,
        Root("make a control group"),
        Ours("tallies of processes")
    ),
    on_one_mpm!(
        stacks_are_those_of_the_process_that_died,
        Daemon,
        Ours("tallies of processes"),
        NoSanitizer("it handles the signal itself")
    ),
    on_one_mpm!(failed_imports_and_reloads_are_recorded, Daemon, Ours("tallies of processes")),
];

const APP: &str = "
import ctypes, os, sys, threading, time

def wait(depth):
    wait(depth - 1) if depth else time.sleep(30)

def overflow():
    # A parser that recurses without limit.
    ctypes.PyDLL(None).regcomp(ctypes.create_string_buffer(1000), b'(' * 1_000_000, 1)

def application(environ, start_response):
    action = environ['PATH_INFO'].strip('/').partition('/')[0]
    if action == 'copy':
        copy = os.fork()
        if copy == 0:
            ctypes.string_at(0)
        os.waitpid(copy, 0)
    if action == 'among_many':
        for _ in range(40):
            threading.Thread(target=wait, args=(10,), daemon=True).start()
        time.sleep(0.5)
    if action == 'overflow':
        overflow()
    if action == 'thread':
        thread = threading.Thread(target=overflow)
        thread.start()
        thread.join()
    if action in ('among_many', 'begun'):
        os.write(2, b'begun')
        ctypes.string_at(0)
    if action == 'segfault':
        ctypes.string_at(0)
    if action == 'abort':
        os.abort()
    if action == 'memory':
        blocks = []
        while True:
            blocks.append(b'x' * (10 << 20))
    if action == 'exit':
        os._exit(3)
    start_response('200 OK', [])
    return [b'%d' % os.getpid()]
";

const BROKEN: &str = "import os\nraise KeyError('on purpose')\n";

fn serving(setup: Setup) -> Server {
    let status = "<Location \"/wsgi-status\">\n    SetHandler wsgi-status\n</Location>\n";
    setup
        .app("/app", "app.wsgi", APP)
        .app("/broken", "broken.wsgi", BROKEN)
        .conf("WSGIApplicationGroup %{GLOBAL}")
        .conf(status)
        .start()
}

/// Returns the process that serves, once there is one: after several deaths that takes a second.
fn serving_process(server: &Server) -> u32 {
    wait_until("a process", || server.get("/app/").text().parse().ok())
}

fn snapshot(server: &Server) -> Snapshot {
    let text = server.get("/wsgi-status?format=json").expect(200);
    serde_json::from_str(&text).unwrap_or_else(|error| panic!("{error}: {text}"))
}

fn process(server: &Server) -> Process {
    let groups = snapshot(server).groups;
    groups.into_iter().find(|group| !group.name.is_empty()).expect("a group").processes.remove(0)
}

fn events(server: &Server, kind: EventKind) -> Vec<Event> {
    snapshot(server).events.into_iter().filter(|event| event.kind == kind).collect()
}

fn crashes_and_ends_are_counted_and_recorded(setup: Setup) {
    let server = serving(setup);
    server.expect_crashes();
    for (path, shown, name) in [
        ("segfault", "segfault", "signal 11 (SIGSEGV)"),
        ("abort", "abort", "signal 6 (SIGABRT)"),
        // Escaped once, as Apache does everywhere.
        ("exit/%C3%A9", r"exit/\xc3\xa9:", "exit status 3"),
    ] {
        let pid: u32 = serving_process(&server);
        let mark = server.mark();
        let _ = server.get(&format!("/app/{path}?secret")).expect(502);
        // The client's side has the method and the path, without the query.
        let line = server.wait_log(mark, "WSGI0146");
        assert!(line.contains(&format!("GET /app/{shown}")) && !line.contains("secret"), "{line}");
        assert!(line.contains(name), "{line}");
        wait_until("the event", || {
            (events(&server, EventKind::Crash).iter().any(|event| event.pid == pid)).then_some(())
        });
        let event = events(&server, EventKind::Crash).remove(0);
        assert!(event.text.contains(name), "{event:?}");
        // The stacks of its threads come from the process itself, as it dies.
        let has_stack =
            event.detail.contains("Fatal Python error: ") && event.detail.contains(" in application");
        assert_eq!(has_stack, name.starts_with("signal"), "{event:?}");
        let log = server.log_since(mark);
        let (stack, end) = (log.find("Fatal Python error: "), log.find("has died"));
        assert!(!has_stack || stack.is_some() && stack < end, "{log}");
    }
    let pid: u32 = serving_process(&server);
    signal(e2e::Process(pid), Signal::SIGKILL);
    wait_until("a count", || (process(&server).crashes.get("SIGKILL") == Some(&1)).then_some(()));
    let check = |server: &Server| {
        let process = process(server);
        let crashes: Vec<_> = process.crashes.iter().map(|(name, count)| (name.as_str(), *count)).collect();
        assert_eq!(crashes, [("SIGABRT", 1), ("SIGKILL", 1), ("SIGSEGV", 1)]);
        assert_eq!((process.exits, events(server, EventKind::Crash).len()), (1, 4));
    };
    check(&server);
    // Counts and events are those of the server, not of a reading of its configuration.
    server.graceful();
    serving_process(&server);
    check(&server);
}

fn stacks_are_those_of_the_process_that_died(setup: Setup) {
    let server = serving(setup);
    server.expect_crashes();
    let crash = |pid: u32| {
        let find = || events(&server, EventKind::Crash).into_iter().find(|event| event.pid == pid);
        wait_until("the event", find)
    };
    // The report of a copy is not that of the process, whatever becomes of it.
    let pid = serving_process(&server);
    let mark = server.mark();
    let _ = server.get("/app/copy").expect(200);
    server.wait_log(mark, "Fatal Python error: Segmentation fault");
    signal(e2e::Process(pid), Signal::SIGKILL);
    assert_eq!(crash(pid).detail, "");
    // The thread that died is the first of many, and is found behind a line that was only begun. If it has
    // no stack left, it still says so.
    for action in ["begun", "among_many", "overflow", "thread"] {
        let pid = serving_process(&server);
        let _ = server.get(&format!("/app/{action}")).expect(502);
        let detail = crash(pid).detail;
        let (head, stack) = detail.split_once("\n\n").unwrap_or_default();
        assert_eq!(head, "Fatal Python error: Segmentation fault");
        let first = stack.split("\n\n").next().unwrap_or_default();
        let function = if action == "thread" { " in overflow" } else { " in application" };
        assert!(first.starts_with("Current thread ") && first.contains(function), "{detail}");
    }
}

fn failed_imports_and_reloads_are_recorded(setup: Setup) {
    let server = serving(setup);
    let _ = server.get("/broken/").expect(500);
    wait_until("the event", || (!events(&server, EventKind::FailedImport).is_empty()).then_some(()));
    let event = events(&server, EventKind::FailedImport).remove(0);
    assert!(event.text.contains("broken.wsgi") && event.text.contains("KeyError"), "{event:?}");
    assert!(event.detail.starts_with("Traceback") && event.detail.contains("on purpose"), "{event:?}");

    let _ = server.get("/app/").expect(200);
    server.write("apps/app.wsgi", "def application(:\n");
    let _ = server.get("/app/").expect(200);
    wait_until("the event", || (!events(&server, EventKind::FailedReload).is_empty()).then_some(()));
    let event = events(&server, EventKind::FailedReload).remove(0);
    assert!(event.text.contains("could not import its scripts"), "{event:?}");
    assert!(event.detail.contains("SyntaxError"), "{event:?}");
    assert!(process(&server).failed_reloads >= 1);
}

/// A control group with a limit of memory, removed when dropped.
struct MemoryGroup(PathBuf);

impl MemoryGroup {
    /// Makes one, in either version of control groups; `None` if that is not possible here.
    fn create(bytes: u64) -> Option<Self> {
        let (old, new) = (Path::new("/sys/fs/cgroup/memory"), Path::new("/sys/fs/cgroup"));
        let has_new = || {
            fs::read_to_string(new.join("cgroup.subtree_control")).is_ok_and(|text| text.contains("memory"))
        };
        let (top, limit) = if old.join("memory.oom_control").exists() {
            (old, "memory.limit_in_bytes")
        } else if has_new() {
            (new, "memory.max")
        } else {
            return None;
        };
        let directory = top.join(format!("e2e-{}", std::process::id()));
        fs::create_dir(&directory).ok()?;
        let group = Self(directory);
        fs::write(group.0.join(limit), bytes.to_string()).ok()?;
        // Without swap there is no such file.
        let _ = fs::write(group.0.join("memory.swap.max"), "0");
        Some(group)
    }

    fn add(&self, pid: u32) {
        fs::write(self.0.join("cgroup.procs"), pid.to_string()).expect("a process may move");
    }
}

impl MemoryGroup {
    /// Runs a process in the group that takes more memory than there is.
    fn kill_one_for_lack_of_memory(&self) {
        let hog = "input(); blocks = [b'x' * (10 << 20) for _ in range(1000)]";
        let mut process = Command::new("/usr/bin/python3");
        let mut process = process.args(["-c", hog]).stdin(Stdio::piped()).spawn().expect("a process");
        self.add(process.id());
        drop(process.stdin.take().map(|mut input| input.write_all(b"\n")));
        let exit = process.wait().expect("its end");
        assert_eq!(exit.signal(), Some(9), "{exit}");
    }
}

/// Returns whether the kernel's log says here which processes were killed.
fn names_killed_processes() -> bool {
    let namespace = fs::read_link("/proc/self/ns/pid");
    fs::File::open("/dev/kmsg").is_ok()
        && namespace.is_ok_and(|namespace| namespace == Path::new("pid:[4026531836]"))
}

impl Drop for MemoryGroup {
    fn drop(&mut self) {
        // Not before its processes have ended.
        wait_until("an empty control group", || fs::remove_dir(&self.0).ok());
    }
}

fn a_kill_for_lack_of_memory_is_named(setup: Setup) {
    let Some(group) = MemoryGroup::create(300 << 20) else {
        return e2e::skipped("there is no control group for memory here");
    };
    let server = serving(setup);
    server.expect_crashes();
    let former = serving_process(&server);
    group.add(server.pid());
    // What it starts from now on is in the group.
    server.graceful();
    let pid =
        wait_until("a new process", || Some(serving_process(&server)).filter(|process| *process != former));
    let mark = server.mark();
    let _ = server.get("/app/memory").expect(502);
    let reason = "from the system, which has no memory left for it";
    let line = server.wait_log(mark, "WSGI0146");
    assert!(line.contains("GET /app/memory") && line.contains(reason), "{line}");
    wait_until("the event", || {
        let found = events(&server, EventKind::Crash).into_iter().find(|event| event.pid == pid);
        found.filter(|event| event.text.contains(reason))
    });
    // Others kill, too: even if the system has killed another process just before, where it says which.
    for has_hog in [false, names_killed_processes()] {
        let pid = serving_process(&server);
        if has_hog {
            group.kill_one_for_lack_of_memory();
        }
        let mark = server.mark();
        signal(e2e::Process(pid), Signal::SIGKILL);
        let line = server.wait_log(mark, "has died");
        assert!(line.contains("signal 9 (SIGKILL)") && !line.contains("from the system"), "{line}");
    }
}
