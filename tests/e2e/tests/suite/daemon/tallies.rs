//! What becomes of daemon processes, as the status of the server shows it.

use e2e::Needs::{Daemon, Ours};
use e2e::{Server, Setup, Test, on_one_mpm, signal, wait_until};
use nix::sys::signal::Signal;
use status::Snapshot;
use status::snapshot::{Event, EventKind, Process};

pub(crate) const TESTS: &[Test] = &[
    on_one_mpm!(crashes_and_ends_are_counted_and_recorded, Daemon, Ours("tallies of processes")),
    on_one_mpm!(failed_imports_and_reloads_are_recorded, Daemon, Ours("tallies of processes")),
];

const APP: &str = "
import ctypes, os, sys

def application(environ, start_response):
    action = environ['PATH_INFO'].strip('/')
    if action == 'segfault':
        ctypes.string_at(0)
    if action == 'abort':
        os.abort()
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
    for (path, name) in
        [("segfault", "signal 11 (SIGSEGV)"), ("abort", "signal 6 (SIGABRT)"), ("exit", "exit status 3")]
    {
        let pid: u32 = serving_process(&server);
        let mark = server.mark();
        let _ = server.get(&format!("/app/{path}?secret")).expect(502);
        // The client's side has the method and the path, without the query.
        let line = server.wait_log(mark, "WSGI0146");
        assert!(line.contains(&format!("GET /app/{path}")) && !line.contains("secret"), "{line}");
        assert!(line.contains(name), "{line}");
        wait_until("the event", || {
            (events(&server, EventKind::Crash).iter().any(|event| event.pid == pid)).then_some(())
        });
        let event = events(&server, EventKind::Crash).remove(0);
        assert!(event.text.contains(name), "{event:?}");
        // The stacks of its threads come from the process itself, as it dies.
        let has_stack =
            event.detail.contains("Fatal Python error: ") && event.detail.contains(" in application");
        assert_eq!(has_stack, path != "exit", "{event:?}");
        let log = server.log_since(mark);
        let (stack, end) = (log.find("Fatal Python error: "), log.find("has died"));
        assert!(path == "exit" || stack.is_some() && stack < end, "{log}");
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
