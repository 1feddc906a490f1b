//! Times and limits of daemon processes, each alone (`deadlock-timeout=0` shows that none needs
//! another one).

use std::thread;
use std::time::Duration;

use e2e::Needs::{Daemon, HostWithOwnGil, Ours};
use e2e::{Ending, LogMark, Server, Setup, Test, on_each_mpm, on_one_mpm, wait_until};

use super::{
    finish, open_gate, serving, serving_process, start_held_request, start_request, wait_ended,
    wait_for_successor, wait_log_any,
};

pub(crate) const TESTS: &[Test] = &[
    on_one_mpm!(request_timeout_replaces_the_process, Daemon),
    on_one_mpm!(interrupt_timeout_ends_the_request_alone, Daemon),
    on_one_mpm!(maximum_requests_replaces_the_process, Daemon),
    on_one_mpm!(maximum_requests_replaces_a_process_that_is_never_idle, Daemon),
    on_each_mpm!(a_process_for_one_request_serves_one, Daemon),
    on_one_mpm!(restart_interval_replaces_the_process, Daemon),
    on_one_mpm!(inactivity_timeout_replaces_the_process, Daemon),
    on_one_mpm!(startup_timeout_replaces_the_process, Daemon),
    on_one_mpm!(deadlock_timeout_replaces_the_process, Daemon),
    on_one_mpm!(
        deadlock_timeout_sees_every_interpreter,
        Daemon,
        Ours("watch over interpreters with a lock of their own (W29)"),
        HostWithOwnGil
    ),
    on_one_mpm!(cpu_time_limit_replaces_the_process, Daemon),
    on_one_mpm!(cpu_time_limit_without_a_graceful_timeout_replaces_the_process, Daemon),
    on_one_mpm!(an_import_that_hangs_is_contained, Daemon, Ours("limit for an import (W23)")),
    on_one_mpm!(an_import_that_takes_longer_than_its_request_may_is_interrupted, Daemon),
];

/// No other timer is set. The original then obeys none.
fn serving_with_one_timer(setup: Setup, options: &str) -> Setup {
    serving(setup, &format!("deadlock-timeout=0 {options}"))
}

/// The original obeys its timers only if there is a deadlock timeout, too.
const NEEDS_ANOTHER: &str = "W21: without deadlock-timeout and inactivity-timeout no timer works";

fn wait_stopped_because(server: &Server, mark: LogMark, reason: &str) {
    server.wait_log(mark, &format!("stopping: {reason}"));
}

fn request_timeout_replaces_the_process(setup: Setup) {
    serving_with_one_timer(setup, "threads=2 request-timeout=1 graceful-timeout=2 shutdown-timeout=1").run(
        |server, cases| {
            cases.ours_only("after 1 + ln(2) seconds", NEEDS_ANOTHER, || {
                let (mark, old) = (server.mark(), serving_process(server));
                let stuck = start_held_request(server, "never");
                // Below the limit.
                assert_eq!(server.get("/sleep?1.2").expect(200), old.0.to_string());
                let log = server.wait_log(mark, "request_timeout");
                assert!(log.contains("wsgi:info"), "{log}");
                let new = wait_for_successor(server, old);
                assert_ne!(old, new);
                wait_ended(old);
                // It was in Python, and is cut off at the end.
                assert_eq!(finish(stuck).status, 502);
                wait_stopped_because(server, mark, "request_timeout");
                let log = server.log_since(mark);
                assert!(log.contains("wait_for") && log.contains("in hold"), "no stack in {log}");
                open_gate(server, "never");
            });
        },
    );
}

fn interrupt_timeout_ends_the_request_alone(setup: Setup) {
    serving_with_one_timer(
        setup,
        "threads=2 request-timeout=1 interrupt-timeout=2 graceful-timeout=1 shutdown-timeout=1",
    )
    .run(|server, cases| {
        let old = serving_process(server);
        cases.ours_only("before the head: an empty 504", NEEDS_ANOTHER, || {
            let mark = server.mark();
            let response = server.get("/hold?interrupted");
            assert_eq!((response.status, response.text().as_str()), (504, ""));
            let log = server.wait_log(mark, "hold");
            assert!(log.contains("wait_for"), "no stack in {log}");
            assert_eq!(serving_process(server), old);
        });
        cases.ours_only("in the middle: no clean end", NEEDS_ANOTHER, || {
            let response = server.get("/late_timeout");
            assert_eq!((response.status, response.text().as_str()), (200, "data"));
            assert_eq!(response.ending, Ending::Truncated);
            assert_eq!(serving_process(server), old);
        });
        cases.ours_only("the next request of the thread is not hit", NEEDS_ANOTHER, || {
            for _ in 0..4 {
                assert_eq!(server.get("/sleep?0.3").expect(200), old.0.to_string());
            }
        });
        cases.ours_only("one that goes on regardless has the process replaced", NEEDS_ANOTHER, || {
            let mark = server.mark();
            let stubborn = start_request(server, "/swallow?stubborn");
            server.wait_log(mark, "swallowed 1");
            let new = wait_for_successor(server, old);
            wait_ended(old);
            assert_eq!(finish(stubborn).status, 502);
            wait_stopped_because(server, mark, "request_timeout");
            assert_eq!(serving_process(server), new);
            open_gate(server, "stubborn");
        });
    });
}

fn maximum_requests_replaces_the_process(setup: Setup) {
    serving(setup, "maximum-requests=5 graceful-timeout=5").run(|server, cases| {
        cases.check("no request fails", || {
            let mark = server.mark();
            let mut seen = Vec::new();
            // What comes while the successor starts is served, too.
            wait_until("three processes", || {
                let process = serving_process(server);
                if !seen.contains(&process) {
                    seen.push(process);
                }
                (seen.len() >= 3).then_some(())
            });
            wait_stopped_because(server, mark, "maximum_requests");
            wait_ended(seen[0]);
        });
    });
}

fn maximum_requests_replaces_a_process_that_is_never_idle(setup: Setup) {
    serving(setup, "maximum-requests=3 graceful-timeout=2 shutdown-timeout=1 threads=4").run(
        |server, cases| {
            cases.ours_only(
                "it is replaced all the same",
                "W22: the time begins anew with each request",
                || {
                    let old = serving_process(server);
                    let stuck = start_held_request(server, "busy");
                    let new = wait_for_successor(server, old);
                    assert_ne!(old, new);
                    wait_ended(old);
                    assert_eq!(finish(stuck).status, 502);
                    open_gate(server, "busy");
                },
            );
        },
    );
}

fn a_process_for_one_request_serves_one(setup: Setup) {
    serving(setup, "threads=1 maximum-requests=1").run(|server, cases| {
        let mut seen = Vec::new();
        cases.check("each has a process of its own", || {
            for _ in 0..4 {
                let state = server.get("/state");
                assert_eq!(state.value("run_once").as_deref(), Some("True"));
                seen.push(state.value("pid").unwrap_or_default());
            }
        });
        cases.check("also those that come together", || {
            let requests: Vec<_> = (0..4).map(|_| start_request(server, "/pid")).collect();
            seen.extend(requests.into_iter().map(|request| finish(request).expect(200)));
        });
        cases.check("none has served twice", || {
            let mut different = seen.clone();
            different.sort_unstable();
            different.dedup();
            assert_eq!(different.len(), 8, "{seen:?}");
        });
    });
}

fn restart_interval_replaces_the_process(setup: Setup) {
    serving_with_one_timer(setup, "restart-interval=4").run(|server, cases| {
        cases.ours_only("the successor takes over", NEEDS_ANOTHER, || {
            let old = serving_process(server);
            // With a request that is under way.
            let slow = start_request(server, "/sleep?4.5");
            let _ = wait_for_successor(server, old);
            wait_ended(old);
            assert_eq!(finish(slow).expect(200), old.0.to_string());
            wait_stopped_because(server, LogMark::default(), "restart_interval");
        });
    });
}

fn inactivity_timeout_replaces_the_process(setup: Setup) {
    serving_with_one_timer(setup, "inactivity-timeout=2")
        .conf("<Location /state>\nWSGIIgnoreActivity On\n</Location>")
        .run(|server, cases| {
            cases.check("not before the first request", || {
                let before = wait_until("the process", || server.daemons().first().copied());
                thread::sleep(Duration::from_millis(3500));
                assert_eq!(server.daemons(), [before]);
            });
            let old = serving_process(server);
            cases.check("not while one is under way", || {
                assert_eq!(server.get("/sleep?3.5").expect(200), old.0.to_string());
            });
            cases.check("nor by what is not to count", || {
                let mark = server.mark();
                wait_until("another process", || {
                    thread::sleep(Duration::from_millis(200));
                    let shown = server.get("/state").value("pid");
                    (shown != Some(old.0.to_string())).then_some(())
                });
                wait_stopped_because(server, mark, "inactivity_timeout");
            });
        });
}

fn startup_timeout_replaces_the_process(setup: Setup) {
    let broken = "raise KeyError('not yet')\n";
    let setup = setup
        .file("apps/broken.wsgi", broken)
        .conf("WSGIScriptAlias /broken @ROOT@/apps/broken.wsgi application-group=%{GLOBAL}");
    serving_with_one_timer(setup, "startup-timeout=2 threads=2").run(|server, cases| {
        cases.ours_only("where no script can be loaded", NEEDS_ANOTHER, || {
            let mark = server.mark();
            let old = wait_until("the process", || server.daemons().first().copied());
            assert_eq!(server.get("/broken").status, 500);
            server.wait_log(mark, "startup_timeout");
            wait_ended(old);
        });
        cases.check("not where one could be", || {
            let process = wait_until("a process that serves", || {
                let response = server.get("/pid");
                (response.status == 200).then(|| e2e::Process(response.text().parse().unwrap_or_default()))
            });
            assert_eq!(server.get("/broken").status, 500);
            thread::sleep(Duration::from_millis(3000));
            assert_eq!(serving_process(server), process);
        });
    });
}

fn deadlock_timeout_replaces_the_process(setup: Setup) {
    serving(setup, "deadlock-timeout=2 shutdown-timeout=1").run(|server, cases| {
        cases.check("where the lock is kept", || {
            let (mark, old) = (server.mark(), serving_process(server));
            let stuck = start_request(server, "/deadlock");
            server.wait_log(mark, "takes the lock");
            wait_ended(old);
            assert_eq!(finish(stuck).status, 502);
            let _ = wait_for_successor(server, old);
            wait_log_any(server, mark, &["deadlock_timeout", "deadlock timer", "deadlock timeout"]);
        });
    });
}

fn deadlock_timeout_sees_every_interpreter(setup: Setup) {
    let python = e2e::Interpreter::with_own_gil().expect("the test needs one");
    let setup = setup.python_home(Some(&python.home())).file("apps/app.wsgi", super::APP).conf(
        "WSGIScriptAlias /own @ROOT@/apps/app.wsgi application-group=own\n\
         <WSGIInterpreterOptions application-group=own>\nWSGIPerInterpreterGIL On\n</WSGIInterpreterOptions>",
    );
    serving(setup, "deadlock-timeout=2 shutdown-timeout=1").run(|server, cases| {
        cases.check("also one of its own", || {
            let (mark, old) = (server.mark(), serving_process(server));
            let stuck = start_request(server, "/own/deadlock");
            server.wait_log(mark, "takes the lock");
            wait_ended(old);
            assert_eq!(finish(stuck).status, 502);
            server.wait_log(mark, "deadlock_timeout");
        });
    });
}

fn cpu_time_limit_replaces_the_process(setup: Setup) {
    serving(setup, "cpu-time-limit=2 threads=2").run(|server, cases| {
        cases.check("no request fails", || {
            let (mark, old) = (server.mark(), serving_process(server));
            wait_until("another process", || {
                (server.get("/spin?0.5").expect(200) != old.0.to_string()).then_some(())
            });
            wait_stopped_because(server, mark, "cpu_time_limit");
            wait_ended(old);
        });
    });
}

fn cpu_time_limit_without_a_graceful_timeout_replaces_the_process(setup: Setup) {
    serving(setup, "cpu-time-limit=1 graceful-timeout=0 threads=2").run(|server, cases| {
        cases.ours_only("the group goes on", "W20: it is deaf for ever", || {
            let old = serving_process(server);
            wait_until("another process", || {
                let response = server.get("/spin?0.3");
                (response.status == 200 && response.text() != old.0.to_string()).then_some(())
            });
            wait_ended(old);
        });
    });
}

fn an_import_that_hangs_is_contained(setup: Setup) {
    let app = "import time\ntime.sleep(600)\n";
    setup
        .group("connect-timeout=20 socket-timeout=2 shutdown-timeout=1")
        .file("apps/hangs.wsgi", app)
        .file("apps/other.wsgi", super::APP)
        .conf(
            "WSGIScriptAlias /hangs @ROOT@/apps/hangs.wsgi process-group=@GROUP@ application-group=%{GLOBAL}\n\
             WSGIDaemonProcess other display-name=%{GROUP}\n\
             WSGIScriptAlias /other @ROOT@/apps/other.wsgi process-group=other",
        )
        .run(|server, cases| {
            cases.check("its clients get an answer", || {
                let mark = server.mark();
                assert_eq!(server.get("/hangs").status, 504);
                let log = server.wait_log(mark, "WSGI0145");
                assert!(log.contains("a process of the group 'e2e'") && log.contains("an import"), "{log}");
            });
            cases.check("others are served", || assert_eq!(server.get("/other/run").expect(200), "ran"));
            cases.check("it is ended with the server", || server.restart());
        });
}

fn an_import_that_takes_longer_than_its_request_may_is_interrupted(setup: Setup) {
    const SLOW: &str = "import time\nwhile True:\n    time.sleep(0.01)\n";
    setup
        .group("deadlock-timeout=60 threads=1 request-timeout=1 interrupt-timeout=20")
        .file("apps/slow.wsgi", SLOW)
        .conf("WSGIApplicationGroup %{GLOBAL}\nWSGIScriptAlias /slow @ROOT@/apps/slow.wsgi")
        .run(|server, cases| {
            let mark = server.mark();
            let response = server.get("/slow");
            let reason = "it is an exception of the script like any other";
            cases.deviates("the client gets an empty 504", reason, || assert_eq!(response.expect(504), ""));
            cases.deviates("the log says that the import was too long", reason, || {
                let log = server.wait_log(mark, "Request interrupted by RequestTimeout; thread recovered.");
                let line = log.lines().find(|line| line.contains("took longer than the request may run"));
                assert!(line.is_some_and(|line| line.contains("request-timeout=")), "{log}");
                assert!(log.contains("slow.wsgi\", line "), "where it was: {log}");
                assert!(!log.contains("WSGI0174"), "{log}");
            });
        });
}
