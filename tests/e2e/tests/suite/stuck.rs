//! Requests that hold their threads for too long.

use e2e::Needs::{Daemon, HostWithOwnGil, OneProcess, Ours};
use e2e::{Interpreter, Mode, Server, Setup, Test, on_one_mpm, wait_until};
use serde_json::Value;
use status::Snapshot;
use status::snapshot::{Event, EventKind};

pub(crate) const TESTS: &[Test] = &[
    on_one_mpm!(a_stuck_request_is_logged_once_with_its_stack, OneProcess, Ours("WSGIStuckTimeout")),
    on_one_mpm!(a_stuck_request_is_logged_while_python_is_locked, OneProcess, Ours("WSGIStuckTimeout")),
    on_one_mpm!(stuck_requests_are_objects, OneProcess, Ours("WSGIStuckTimeout")),
    on_one_mpm!(a_stack_is_taken_beside_interpreters_that_run, Daemon, HostWithOwnGil),
    on_one_mpm!(many_stuck_requests_are_counted_and_some_are_told_of, OneProcess, Ours("WSGIStuckTimeout")),
];

const CODE: &str = "WSGI1070";

/// Holds requests until a file is there.
const APP: &str = "
import ctypes, os, time

def wait_for_the_file(path):
    while not os.path.exists(path):
        time.sleep(0.01)

def application(environ, start_response):
    path = environ['PATH_INFO']
    if path == '/locked':
        # Without releasing Python's lock, unlike a function of CDLL.
        ctypes.PyDLL(None).sleep(6)
    elif path != '/':
        wait_for_the_file(os.path.dirname(__file__) + path)
    start_response('200 OK', [('Content-Type', 'text/plain')])
    return [b'done with ' + path.encode()]
";

fn stuck(setup: Setup) -> Setup {
    let setup = setup
        .conf("<Location \"/wsgi-status\">\n    SetHandler wsgi-status\n</Location>\n")
        .app("/", "app.wsgi", APP);
    match setup.mode() {
        Mode::Daemon => setup.group("stuck-timeout=200ms").conf("WSGIStuckTimeout 1h"),
        Mode::Embedded => setup.conf("WSGIStuckTimeout 200ms"),
    }
}

/// Begins a request and lets it end when `work` has been done.
fn with_held<R>(server: &Server, name: &str, work: impl FnOnce() -> R) -> R {
    std::thread::scope(|scope| {
        let held = scope.spawn(|| assert_eq!(server.get(name).expect(200), format!("done with {name}")));
        let result = work();
        server.write(&format!("apps{name}"), "");
        held.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic));
        result
    })
}

fn snapshot(server: &Server) -> Snapshot {
    let text = server.get("/wsgi-status?format=json").expect(200);
    serde_json::from_str(&text).unwrap_or_else(|error| panic!("{error}: {text}"))
}

/// Returns the events about stuck requests to a path.
fn events(snapshot: &Snapshot, path: &str) -> Vec<Event> {
    let of_path =
        |event: &&Event| event.kind == EventKind::Stuck && event.text.ends_with(&format!("GET {path}"));
    snapshot.events.iter().filter(of_path).cloned().collect()
}

fn a_stuck_request_is_logged_once_with_its_stack(setup: Setup) {
    stuck(setup).run(|server, cases| {
        let mark = server.mark();
        let log = with_held(server, "/one", || server.wait_log(mark, "in wait_for_the_file"));
        cases.check("its line", || {
            let line = log.lines().find(|line| line.contains(CODE)).unwrap_or_default();
            assert!(line.contains("[wsgi:warn]") && line.contains("GET /one"), "{line}");
            assert!(line.contains("apps/app.wsgi"), "{line}");
        });
        cases.check("its stack", || {
            let stack = log.split("Stack (most recent call last)").nth(1).unwrap_or_default();
            let application = stack.find("in application").expect("the application");
            assert!(stack.find("in wait_for_the_file").is_some_and(|at| at > application), "{stack}");
        });
        cases.check("another request of the thread, but none twice", || {
            let other = server.mark();
            with_held(server, "/two", || {
                server.wait_log(other, "in wait_for_the_file");
                // Meanwhile others are served, and the watch looks again.
                for _ in 0..5 {
                    assert_eq!(server.get("/").expect(200), "done with /");
                    std::thread::sleep(std::time::Duration::from_millis(100));
                }
            });
            let log = server.log_since(mark);
            for target in ["GET /one ", "GET /two "] {
                let count = log.lines().filter(|line| line.contains(CODE) && line.contains(target)).count();
                assert_eq!(count, 1, "{target}: {log}");
            }
            assert!(!log.contains("GET / "), "{log}");
        });
        cases.check("an event of each, with its stack", || {
            // A process reports them from another thread than the one that logs.
            let snapshot = wait_until("the events", || {
                Some(snapshot(server)).filter(|snapshot| !events(snapshot, "/two").is_empty())
            });
            let (found, log) = (["/one", "/two"].map(|path| events(&snapshot, path)), server.log_since(mark));
            for events in &found {
                let [event] = &events[..] else { panic!("{:?}", snapshot.events) };
                assert_eq!(event.group, Mode::current().pick("", "e2e"));
                assert!(event.text.starts_with("A request has held its thread for 0."), "{event:?}");
                let id = event.text.split_once("(id ").and_then(|(_, rest)| rest.split(',').next());
                assert!(id.is_some_and(|id| id.len() > 10 && log.contains(id)), "{event:?}");
                assert!(event.detail.ends_with(", in wait_for_the_file"), "{event:?}");
                assert!(event.detail.starts_with("Stack (most recent call last):\n"), "{event:?}");
                assert!(event.pid > 0 && event.detail.contains(" in application\n"), "{event:?}");
            }
            let group = snapshot.groups.iter().find(|group| group.stuck_requests > 0);
            assert_eq!(group.map(|group| group.stuck_requests), Some(2));
        });
        cases.check("the event on the page", || {
            let page = server.get("/wsgi-status").expect(200);
            let event = page.split("<li ").find(|item| item.contains("GET /one")).expect("an event");
            assert!(event.contains(">stuck request</span>") && event.contains("<details>"), "{event}");
            assert!(
                event.contains("Stack of its thread") && event.contains("in wait_for_the_file"),
                "{event}"
            );
        });
        cases.check("the count as a metric", || {
            let metrics = server.get("/wsgi-status?format=prometheus").expect(200);
            let line = format!(
                "mod_wsgi_stuck_requests_total{{process_group=\"{}\"}} 2\n",
                Mode::current().pick("", "e2e")
            );
            assert!(metrics.contains(&line), "{metrics}");
        });
    });
}

fn a_stuck_request_is_logged_while_python_is_locked(setup: Setup) {
    stuck(setup).run(|server, cases| {
        let mark = server.mark();
        std::thread::scope(|scope| {
            let locked = scope.spawn(|| server.get("/locked").expect(200));
            let log = server.wait_log(mark, CODE);
            cases.check("the line", || {
                let line = log.lines().find(|line| line.contains(CODE)).unwrap_or_default();
                assert!(
                    line.contains("GET /locked") && line.contains("Python's lock could not be had"),
                    "{line}"
                );
                assert!(line.contains("This thread waits"), "{line}");
            });
            assert_eq!(locked.join().expect("an answer"), "done with /locked");
        });
        cases.check("it is logged once", || {
            assert_eq!(server.get("/").expect(200), "done with /");
            assert_eq!(server.log_since(mark).matches(CODE).count(), 1);
        });
    });
}

fn stuck_requests_are_objects(setup: Setup) {
    stuck(setup).conf("WSGILogFormat json").run(|server, cases| {
        let mark = server.mark();
        let log = with_held(server, "/three", || {
            wait_until("the whole line", || {
                let log = server.log_since(mark);
                log.lines().find(|line| line.contains(CODE) && line.ends_with('}')).map(str::to_owned)
            })
        });
        cases.check("its fields", || {
            let object: Value = serde_json::from_str(&log).unwrap_or_else(|error| panic!("{error}: {log}"));
            for (name, value) in [("level", "warn"), ("code", CODE), ("method", "GET"), ("path", "/three")] {
                assert_eq!(object[name], value, "{name}: {object}");
            }
            let stack = object["traceback"].as_str().unwrap_or_default();
            assert!(stack.contains("in application\n") && stack.ends_with("in wait_for_the_file"), "{stack}");
            assert!(object["id"].is_string() && object["script"].is_string(), "{object}");
        });
    });
}

/// Executes Python all the time, for a while.
const BUSY: &str = "
import time

def descend(depth):
    return sum(x for x in range(3)) if depth == 0 else descend(depth - 1)

def application(environ, start_response):
    end = time.monotonic() + 1
    while time.monotonic() < end:
        descend(30)
    start_response('200 OK', [('Content-Type', 'text/plain')])
    return [b'done']
";

fn a_stack_is_taken_beside_interpreters_that_run(setup: Setup) {
    let python = Interpreter::with_own_gil().expect("the test needs one");
    let names = ["one", "two", "three", "four"];
    let setup = names.iter().fold(setup.file("apps/app.wsgi", BUSY), |setup, name| {
        setup.conf(&format!("WSGIScriptAlias /{name} @ROOT@/apps/app.wsgi application-group={name}"))
    });
    let setup = setup.python_home(Some(&python.home())).conf("WSGIPerInterpreterGIL On");
    setup.group("threads=8 stuck-timeout=100ms").run(|server, cases| {
        cases.check("each is served and logged", || {
            let mark = server.mark();
            std::thread::scope(|scope| {
                let clients = names.repeat(2).into_iter().map(|name| {
                    scope.spawn(move || {
                        for _ in 0..2 {
                            assert_eq!(server.get(&format!("/{name}")).expect(200), "done");
                        }
                    })
                });
                let clients: Vec<_> = clients.collect();
                let join = |client: std::thread::ScopedJoinHandle<'_, ()>| client.join();
                let results: Vec<_> = clients.into_iter().map(join).collect();
                assert!(results.iter().all(Result::is_ok), "{}", server.log_since(mark));
            });
            let log = server.log_since(mark);
            let stacks = log.lines().filter(|line| line.contains(", in descend")).count();
            assert!(log.matches(CODE).count() == 16 && stacks > 16, "{log}");
            assert!(!log.contains("has died"), "{log}");
        });
    });
}

fn many_stuck_requests_are_counted_and_some_are_told_of(setup: Setup) {
    const MANY: u64 = 40;
    let mut server = stuck(setup).threads(50).start();
    let stuck_requests =
        |snapshot: &Snapshot| -> u64 { snapshot.groups.iter().map(|group| group.stuck_requests).sum() };
    std::thread::scope(|scope| {
        let held: Vec<_> = (0..MANY).map(|_| scope.spawn(|| server.get("/many").expect(200))).collect();
        let seen = wait_until("all counts", || {
            Some(snapshot(&server)).filter(|snapshot| stuck_requests(snapshot) == MANY)
        });
        // Eight, and one more in ten seconds.
        assert!((8..12).contains(&events(&seen, "/many").len()), "{:?}", seen.events);
        server.write("apps/many", "");
        held.into_iter().for_each(|held| assert_eq!(held.join().expect("an answer"), "done with /many"));
    });
    assert_eq!(stuck_requests(&snapshot(&server)), MANY);
    // Twenty, and one more in three seconds; the others are mentioned within a minute, or at the end.
    server.stop();
    let lines =
        |log: &str| log.lines().filter(|line| line.contains(CODE) && line.contains("GET /many ")).count();
    let more = |line: &str| -> Option<u64> {
        let (before, _) = line.split_once(" more requests have held their threads")?;
        before.rsplit(' ').next()?.parse().ok()
    };
    let logged = wait_until("all lines", || {
        let log = server.log_since(e2e::LogMark::default());
        let (logged, more) = (lines(&log) as u64, log.lines().filter_map(more).sum::<u64>());
        (logged + more == MANY).then_some(logged)
    });
    assert!((20..MANY).contains(&logged), "{logged}");
}
