//! Signals to a daemon process.

use e2e::Needs::Daemon;
use e2e::{LogMark, Process, Server, Setup, Test, on_one_mpm, signal, wait_until};
use nix::sys::signal::Signal;

use super::{
    finish, open_gate, serving, serving_process, start_held_request, start_request, wait_ended,
    wait_for_successor,
};

pub(crate) const TESTS: &[Test] = &[
    on_one_mpm!(term_and_int_replace_the_process, Daemon),
    on_one_mpm!(shutdown_timeout_bounds_the_end_of_requests, Daemon),
    on_one_mpm!(usr1_lets_requests_finish, Daemon),
    on_one_mpm!(usr1_has_a_limit, Daemon),
    on_one_mpm!(usr1_during_the_import_is_not_lost, Daemon),
    on_one_mpm!(hup_and_usr2_are_left_to_the_application, Daemon),
    on_one_mpm!(a_copy_of_the_process_is_not_the_process, Daemon),
    on_one_mpm!(many_restarts_under_load_lose_no_request, Daemon),
];

fn term_and_int_replace_the_process(setup: Setup) {
    serving(setup, "shutdown-timeout=10").run(|server, cases| {
        for which in [Signal::SIGTERM, Signal::SIGINT] {
            let reason = "there is no other process until this one has ended";
            cases.ours_only(which.as_str(), reason, || {
                let (mark, old) = (server.mark(), serving_process(server));
                let running = start_held_request(server, which.as_str());
                signal(old, which);
                server.wait_log(mark, "stopping: shutdown_signal");
                // Others are served by the next process meanwhile.
                let new = wait_for_successor(server, old);
                assert!(old.is_alive(), "it has a request to finish");
                open_gate(server, which.as_str());
                assert_eq!(finish(running).expect(200), old.0.to_string());
                wait_ended(old);
                assert_eq!(serving_process(server), new);
            });
        }
        cases.check("by the application itself", || {
            let old = serving_process(server);
            assert_eq!(server.get("/signal_to_itself?2").expect(200), "sent");
            let _ = wait_for_successor(server, old);
            wait_ended(old);
        });
    });
}

fn shutdown_timeout_bounds_the_end_of_requests(setup: Setup) {
    serving(setup, "shutdown-timeout=1").run(|server, cases| {
        cases.check("a request that goes on is cut off", || {
            let old = serving_process(server);
            let running = start_held_request(server, "long");
            signal(old, Signal::SIGTERM);
            assert_eq!(finish(running).status, 502);
            wait_ended(old);
            assert_eq!(server.get("/run").expect(200), "ran");
        });
    });
}

fn usr1_lets_requests_finish(setup: Setup) {
    for (options, reason) in [
        ("graceful-timeout=20 shutdown-timeout=1", "graceful_signal"),
        ("graceful-timeout=1 eviction-timeout=20 shutdown-timeout=1", "eviction_signal"),
    ] {
        serving(setup.clone(), options).run(|server, cases| {
            cases.check(reason, || {
                let (mark, old) = (server.mark(), serving_process(server));
                let running = start_held_request(server, "running");
                signal(old, Signal::SIGUSR1);
                super::wait_log_any(server, mark, &[reason, "raceful restart", "viction"]);
                // Longer than what would end it otherwise.
                assert_eq!(server.get("/sleep?2.5").status, 200);
                assert!(old.is_alive());
                open_gate(server, "running");
                assert_eq!(finish(running).expect(200), old.0.to_string());
                wait_ended(old);
                server.wait_log(mark, &format!("stopping: {reason}"));
                let _ = wait_for_successor(server, old);
            });
        });
    }
}

fn usr1_has_a_limit(setup: Setup) {
    serving(setup, "graceful-timeout=2 shutdown-timeout=1").run(|server, cases| {
        cases.check("requests that take longer are cut off", || {
            let old = serving_process(server);
            let running = start_held_request(server, "too-long");
            signal(old, Signal::SIGUSR1);
            assert_eq!(finish(running).status, 502);
            wait_ended(old);
        });
        cases.check("an idle process goes at once", || {
            let old = serving_process(server);
            signal(old, Signal::SIGUSR1);
            wait_ended(old);
            let _ = wait_for_successor(server, old);
        });
    });
}

fn usr1_during_the_import_is_not_lost(setup: Setup) {
    let import = "import os, sys, time\nprint(f'imported by {os.getpid()},', file=sys.stderr)\n\
                  while not os.path.exists('@ROOT@/htdocs/go'): time.sleep(0.01)\n";
    let line = "WSGIImportScript @ROOT@/apps/import.py process-group=e2e application-group=%{GLOBAL}";
    let setup = serving(setup, "processes=1").conf(line).file("apps/import.py", import);
    setup.run(|server, cases| {
        cases.check("the process is replaced when it serves", || {
            let log = server.wait_log(LogMark::default(), "imported by ");
            let pid =
                log.split_once("imported by ").and_then(|(_, rest)| rest.split(',').next()?.parse().ok());
            let old = Process(pid.unwrap_or_else(|| panic!("no process id in {log}")));
            signal(old, Signal::SIGUSR1);
            server.write("htdocs/go", "");
            wait_ended(old);
            assert_ne!(serving_process(server), old);
        });
    });
}

fn hup_and_usr2_are_left_to_the_application(setup: Setup) {
    serving(setup, "").run(|server, cases| {
        let old = serving_process(server);
        for (which, all) in [(Signal::SIGHUP, "SIGHUP"), (Signal::SIGUSR2, "SIGHUP SIGUSR2")] {
            cases.check(which.as_str(), || {
                signal(old, which);
                wait_until("the event", || (server.get("/seen_signals").expect(200) == all).then_some(()));
                assert_eq!(serving_process(server), old);
            });
        }
    });
}

fn a_copy_of_the_process_is_not_the_process(setup: Setup) {
    serving(setup, "").run(|server, cases| {
        let old = serving_process(server);
        for which in [Signal::SIGTERM, Signal::SIGINT, Signal::SIGUSR1, Signal::SIGHUP] {
            cases.check(which.as_str(), || {
                let target = format!("/forked_signal?{}", which as i32);
                assert_eq!(server.get(&target).expect(200), "255");
                assert_eq!(serving_process(server), old);
            });
        }
    });
}

fn many_restarts_under_load_lose_no_request(setup: Setup) {
    serving(setup, "processes=2 threads=4").threads(12).run(|server, cases| {
        cases.check("SIGINT and SIGUSR1 by turns", || {
            under_load(server, || {
                for round in 0..12 {
                    let old = serving_process(server);
                    signal(old, if round % 2 == 0 { Signal::SIGINT } else { Signal::SIGUSR1 });
                    wait_ended(old);
                }
            })
        });
    });
}

/// Does something while four clients ask without a pause; every answer has to be right.
fn under_load(server: &Server, work: impl FnOnce()) {
    use std::sync::atomic::{AtomicBool, AtomicU32, Ordering};

    let (stop, count) = (AtomicBool::new(false), AtomicU32::new(0));
    std::thread::scope(|scope| {
        for _ in 0..4 {
            scope.spawn(|| {
                while !stop.load(Ordering::Relaxed) {
                    assert_eq!(server.get("/run").expect(200), "ran");
                    assert_eq!(server.request("POST", "/read").body("body").send().expect(200), "4");
                    count.fetch_add(1, Ordering::Relaxed);
                }
            });
        }
        let outcome = std::panic::catch_unwind(std::panic::AssertUnwindSafe(work));
        stop.store(true, Ordering::Relaxed);
        outcome.unwrap_or_else(|panic| std::panic::resume_unwind(panic));
    });
    assert!(count.load(Ordering::Relaxed) > 10);
    let _ = finish(start_request(server, "/run"));
}
