//! Applications that end their process: the client learns of it, the log says why, the group goes
//! on.

use std::time::{Duration, Instant};

use e2e::Needs::{Daemon, NoSanitizer, Ours};
use e2e::{Ending, LogMark, Server, Setup, Test, curl, on_each_mpm, on_one_mpm, sanitized, wait_until};

use super::{
    APP, finish, open_gate, serving, serving_process, start_held_request, wait_for_successor, wait_log_any,
    wait_until_all_serve,
};

pub(crate) const TESTS: &[Test] = &[
    on_each_mpm!(a_crash_before_the_head_is_a_502, Daemon),
    on_each_mpm!(a_crash_breaks_the_response_off, Daemon),
    on_one_mpm!(other_groups_are_not_touched, Daemon),
    on_one_mpm!(
        a_process_that_never_starts_does_not_keep_the_machine_busy,
        Daemon,
        Ours("pause between processes that crash")
    ),
    on_one_mpm!(an_application_without_descriptors_harms_only_its_process, Daemon),
    on_one_mpm!(a_process_that_takes_no_connection_keeps_nobody_waiting_for_ever, Daemon),
    on_one_mpm!(memory_is_bounded, Daemon, NoSanitizer("it needs more address space than the limit")),
    on_each_mpm!(unread_requests_go_to_the_successor, Daemon),
    on_one_mpm!(a_crash_costs_only_the_requests_that_ran, Daemon),
    on_one_mpm!(
        an_import_that_ends_its_process_does_not_keep_the_machine_busy,
        Daemon,
        Ours("a bound of starts")
    ),
];

/// Requests that end a process before there is an answer, and what the log says of the end. Few:
/// each makes the next pause longer.
const BEFORE_THE_HEAD: &[(&str, &str)] = &[
    ("/kill?9", "SIGKILL"),
    ("/segfault", "SIGSEGV"),
    ("/kill?6", "SIGABRT"),
    ("/exits?3", "exit status 3"),
    ("/exits?0", "exit status 0"),
];

/// The signals that a sanitizer takes for a mistake of ours.
const REPORTED: [&str; 2] = ["SIGSEGV", "SIGABRT"];

/// A signal that ends a process.
fn fatal_signal() -> u32 {
    if sanitized("it would report SIGSEGV") { 9 } else { 11 }
}

/// Waits until the group serves again: a process that has crashed several times is started after a
/// pause.
fn wait_until_recovered(server: &Server) {
    wait_until("the group serves again", || {
        let response = server.get("/run");
        assert!(matches!(response.status, 200 | 503), "{}", response.status);
        (response.status == 200).then_some(())
    });
}

fn a_crash_before_the_head_is_a_502(setup: Setup) {
    serving(setup, "").run(|server, cases| {
        server.expect_crashes();
        for &(target, how) in BEFORE_THE_HEAD {
            if REPORTED.contains(&how) && sanitized("it would report this") {
                continue;
            }
            wait_until_recovered(server);
            let mark = server.mark();
            let response = server.get(target);
            cases.check(target, || {
                assert_eq!((response.status, response.ending), (502, Ending::Framed));
                server.wait_log(mark, "WSGI014");
            });
            cases.deviates(&format!("{target} in the log"), "W26: the log does not say how it ended", || {
                let log = server.wait_log(mark, "WSGI014");
                let line = log.lines().find(|line| line.contains("WSGI014")).unwrap_or_default();
                assert!(line.contains(how) && line.contains("127.0.0.1:"), "{line}");
            });
        }
        cases.check("the group goes on", || wait_until_recovered(server));
    });
}

fn a_crash_breaks_the_response_off(setup: Setup) {
    let is_threaded = setup.mpm().threaded();
    let setup = if is_threaded {
        serving(setup, "").modules(&["http2"]).conf("Protocols h2 h2c http/1.1").tls()
    } else {
        serving(setup, "")
    };
    setup.run(|server, cases| {
        server.expect_crashes();
        cases.check("a length that is not reached", || {
            let response = server.get("/kill_late?9/100");
            assert_eq!((response.status, response.text().as_str()), (200, "data"));
            assert_eq!(response.ending, Ending::Truncated);
        });
        let reason = "W10: the response of a process that crashes looks complete";
        cases.deviates("chunks without a last one", reason, || {
            let response = server.get(&format!("/kill_late?{}", fatal_signal()));
            assert_eq!((response.status, response.text().as_str()), (200, "data"));
            assert_eq!(response.ending, Ending::Truncated);
        });
        cases.deviates("the application ends its process", reason, || {
            wait_until_recovered(server);
            let response = server.get("/exit_late?0");
            assert_eq!((response.status, response.text().as_str()), (200, "data"));
            assert_eq!(response.ending, Ending::Truncated);
        });
        if is_threaded {
            cases.deviates("HTTP/2", reason, || {
                wait_until_recovered(server);
                let url = format!("https://localhost:{}/kill_late?{}", server.tls_port(), fatal_signal());
                let resolve = format!("localhost:{}:127.0.0.1", server.tls_port());
                let output = curl(["--insecure", "--http2", "--resolve", &resolve, &url]);
                // 92: the stream was reset; 18, 56: the connection was closed.
                let code = output.status.code().unwrap_or_default();
                assert!([18, 56, 92].contains(&code), "curl takes it for complete ({code})");
                assert_eq!(output.stdout, b"data");
            });
        }
        cases.check("the group goes on", || wait_until_recovered(server));
    });
}

fn other_groups_are_not_touched(setup: Setup) {
    let setup = setup.file("apps/other.wsgi", APP).conf(
        "WSGIDaemonProcess other threads=2 display-name=%{GROUP}\n\
         WSGIScriptAlias /other @ROOT@/apps/other.wsgi process-group=other",
    );
    serving(setup, "").run(|server, cases| {
        server.expect_crashes();
        let other = server.get("/other/pid").expect(200);
        let (kept, mark) = (server.get("/other/run?kept").expect(200), server.mark());
        assert_eq!(kept, "ran");
        for target in [&format!("/kill?{}", fatal_signal()), "/exits?1", "/kill?9"] {
            let _ = server.get(target);
        }
        cases.check("its process serves on", || {
            assert_eq!(server.get("/other/pid").expect(200), other);
            assert_eq!(server.get("/other/ran").expect(200), "kept");
        });
        cases.check("the log names the group", || {
            let log = server.wait_log(mark, "'e2e'");
            assert!(!log.lines().any(|line| line.contains("died") && line.contains("'other'")), "{log}");
        });
    });
}

fn a_process_that_never_starts_does_not_keep_the_machine_busy(setup: Setup) {
    let app = "import os\nos._exit(4)\n";
    setup
        .file("apps/other.wsgi", APP)
        .conf(
            "WSGIApplicationGroup %{GLOBAL}\nWSGIDaemonProcess other display-name=%{GROUP}\n\
             WSGIScriptAlias /other @ROOT@/apps/other.wsgi process-group=other\n\
             WSGIImportScript @ROOT@/apps/app.wsgi process-group=e2e application-group=%{GLOBAL}",
        )
        .app("/", "app.wsgi", app)
        .run(|server, cases| {
            cases.check("requests fail at once", || {
                wait_until("a 503", || (server.get("/").status == 503).then_some(()));
                let begin = Instant::now();
                assert_eq!(server.get("/").status, 503);
                // Well before connect-timeout.
                assert!(begin.elapsed() < Duration::from_secs(12), "{:?}", begin.elapsed());
            });
            cases.check("the pauses become longer", || {
                let started = |text: &str| text.matches("has died before it was ready").count();
                server.wait_log(LogMark::default(), "another one is started in 4 s");
                // One in 0, 0, 0, 1, 2, 4 seconds.
                let count = started(&server.log_since(LogMark::default()));
                assert!((4..=8).contains(&count), "{count}");
            });
            cases.check("the log says how it ends", || {
                server.wait_log(LogMark::default(), "exit status 4");
            });
            cases.check("others are served", || {
                assert_eq!(server.get("/other/run").expect(200), "ran");
            });
        });
}

fn an_application_without_descriptors_harms_only_its_process(setup: Setup) {
    serving(setup, "").run(|server, cases| {
        server.expect_crashes();
        cases.ours_only("no descriptors are left", "W28: the daemon process crashes", || {
            let mark = server.mark();
            let before = serving_process(server);
            let request = super::start_request(server, "/descriptors?taken");
            server.wait_log(mark, "all descriptors are taken");
            // Connections that exist are served; a new one has to wait.
            let waiting = super::start_request(server, "/pid");
            let log = server.wait_log(mark, "WSGI0016");
            assert!(log.contains("'e2e'") && log.contains("ulimit -n"), "{log}");
            open_gate(server, "taken");
            assert_eq!(finish(request).expect(200), "took them");
            assert_eq!(finish(waiting).expect(200), before.0.to_string());
            assert_eq!(serving_process(server), before);
        });
        cases.ours_only("all descriptors are closed", "requests to its process fail for a while", || {
            if sanitized("it would report that a debug build aborts") {
                return;
            }
            let (mark, before) = (server.mark(), serving_process(server));
            let response = server.get("/close_all");
            assert!(matches!(response.status, 200 | 502), "{}", response.status);
            wait_for_any_successor(server, before);
            // A debug build aborts when it finds one of its own closed.
            wait_log_any(server, mark, &["as an application does that closes descriptors", "SIGABRT"]);
        });
        cases.check("processes of its own", || {
            assert_eq!(server.get("/multiprocesses").expect(200), "fork 49 0 spawn 49 0");
        });
    });
}

fn a_process_that_takes_no_connection_keeps_nobody_waiting_for_ever(setup: Setup) {
    let setup = setup
        .conf("WSGIDaemonProcess other\nWSGIScriptAlias /other @ROOT@/apps/app.wsgi process-group=other");
    serving(setup, "connect-timeout=1").run(|server, cases| {
        cases.ours_only("no descriptors are left", "W28: the daemon process crashes", || {
            let (mark, before) = (server.mark(), serving_process(server));
            let request = super::start_request(server, "/descriptors?held");
            server.wait_log(mark, "all descriptors are taken");
            assert_eq!(server.get("/pid").status, 503);
            let log = server.wait_log(mark, "WSGI0116");
            assert!(log.contains("'e2e'") && log.contains("close connections without reading"), "{log}");
            assert_ne!(server.get("/other/pid").expect(200), before.0.to_string());
            open_gate(server, "held");
            assert_eq!(finish(request).expect(200), "took them");
            assert_eq!(serving_process(server), before);
        });
    });
}

/// Waits until another process serves, after one that cannot say what becomes of its requests.
fn wait_for_any_successor(server: &Server, old: e2e::Process) {
    wait_until("another process", || {
        let response = server.get("/pid");
        (response.status == 200 && response.text() != old.0.to_string()).then_some(())
    });
}

fn memory_is_bounded(setup: Setup) {
    serving(setup, "virtual-memory-limit=1500000000 threads=2").run(|server, cases| {
        cases.check("the application is told", || {
            let before = serving_process(server);
            let text = server.get("/memory").expect(200);
            assert!(text.starts_with("MemoryError\n"), "{text}");
            assert_eq!(serving_process(server), before);
        });
        cases.check("one that does not care has failed, and the log says of what", || {
            let (mark, before) = (server.mark(), serving_process(server));
            assert_eq!(server.get("/hog").status, 500);
            server.wait_log(mark, "MemoryError");
            assert_eq!(serving_process(server), before);
        });
    });
}

fn unread_requests_go_to_the_successor(setup: Setup) {
    // Prefork needs a child for each of them.
    serving(setup, "threads=1").children(5).threads(8).run(|server, cases| {
        server.expect_crashes();
        cases.check("of a process that dies", || {
            let old = serving_process(server);
            let running = start_held_request(server, "dies");
            let waiting: Vec<_> =
                (0..3).map(|number| super::start_request(server, &format!("/run?{number}"))).collect();
            // They have to wait there before it dies.
            std::thread::sleep(Duration::from_millis(500));
            e2e::signal(old, nix::sys::signal::Signal::SIGKILL);
            assert_eq!(finish(running).status, 502);
            for request in waiting {
                assert_eq!(finish(request).expect(200), "ran");
            }
            let mut ran: Vec<_> = server.get("/ran").expect(200).split(' ').map(str::to_owned).collect();
            ran.sort();
            assert_eq!(ran, ["0", "1", "2"]);
        });
    });
}

fn a_crash_costs_only_the_requests_that_ran(setup: Setup) {
    serving(setup, "processes=2").run(|server, cases| {
        server.expect_crashes();
        let reason = "processes take what they get hold of: one may have both";
        cases.ours_only("requests of the other process", reason, || {
            wait_until_all_serve(server, 2);
            // Both processes have one; the least busy one gets the next.
            let first = start_held_request(server, "one");
            let second = start_held_request(server, "two");
            let status = server.get("/kill?9").status;
            assert!(matches!(status, 502 | 503), "{status}");
            open_gate(server, "one");
            open_gate(server, "two");
            let statuses = [finish(first).status, finish(second).status];
            assert!(statuses.contains(&200), "{statuses:?}");
        });
        cases.check("and the group is complete again", || {
            wait_until("two processes", || (server.daemons().len() == 2).then_some(()));
            let old = serving_process(server);
            e2e::signal(old, nix::sys::signal::Signal::SIGKILL);
            wait_until("two others", || {
                let daemons = server.daemons();
                (daemons.len() == 2 && !daemons.contains(&old)).then_some(())
            });
            let _ = wait_for_successor(server, old);
        });
    });
}

/// Ends its process a moment after it has been imported.
const ENDS_ITSELF: &str = "
import os, signal, threading
timer = threading.Timer(0.02, os.kill, (os.getpid(), signal.SIGTERM))
timer.daemon = True
timer.start()

def application(environ, start_response):
    start_response('200 OK', [])
    return [b'served']
";

fn an_import_that_ends_its_process_does_not_keep_the_machine_busy(setup: Setup) {
    let import = "WSGIImportScript @ROOT@/apps/ends.wsgi process-group=e2e application-group=%{GLOBAL}";
    let other = "WSGIDaemonProcess other\nWSGIScriptAlias /other @ROOT@/apps/other.wsgi process-group=other";
    // The first alias that matches counts.
    let setup = setup.group("").file("apps/other.wsgi", APP).conf(other).conf(import);
    setup.app("/", "ends.wsgi", ENDS_ITSELF).run(|server, cases| {
        let begin = Instant::now();
        let log =
            server.wait_log(LogMark::default(), "processes of this slot end as soon as they are started");
        cases.check("the log says what it looks like", || {
            let line = log.lines().find(|line| line.contains("of this slot end")).unwrap_or_default();
            assert!(line.contains(":error]") && line.contains("shutdown_signal"), "{line}");
        });
        cases.check("requests do not wait", || {
            wait_until("a refusal", || (server.get("/").status == 503).then_some(()));
            assert_eq!(server.get("/other/run").status, 200);
        });
        cases.check("there are few starts", || {
            std::thread::sleep(Duration::from_secs(3));
            let log = server.log_since(LogMark::default());
            // One of the other group, eight at once, then one a second.
            let starts = log.matches(" is started, as uid").count() as u64;
            assert!((8..=11 + begin.elapsed().as_secs()).contains(&starts), "{starts}");
        });
    });
}
