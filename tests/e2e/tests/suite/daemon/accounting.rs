//! Counts: requests that ran, requests that run, and how they spread over processes.

use std::collections::BTreeMap;
use std::fs;
use std::sync::Mutex;
use std::thread;

use e2e::Needs::{Daemon, Ours};
use e2e::{Server, Setup, Test, on_each_mpm, on_one_mpm, signal, wait_until};
use nix::sys::signal::Signal;

use super::{APP, finish, open_gate, serving, serving_process, start_held_request, start_request};

pub(crate) const TESTS: &[Test] = &[
    on_one_mpm!(only_requests_that_ran_count_towards_maximum_requests, Daemon),
    on_one_mpm!(counts_of_a_killed_process_and_supervisor_are_cleared, Daemon),
    on_each_mpm!(no_request_is_counted_when_none_runs, Daemon, Ours("count of running requests")),
];

/// The text that a process logs when it has served as many requests as it may.
const ENOUGH: &str = "a successor is asked for (maximum_requests)";

fn only_requests_that_ran_count_towards_maximum_requests(setup: Setup) {
    let options = "threads=2 maximum-requests=20 listen-backlog=3 queue-timeout=1 connect-timeout=1";
    serving(setup, options).threads(40).run(|server, cases| {
        let reason = "connections count, whatever comes of them";
        let (mark, old) = (server.mark(), serving_process(server));
        cases.ours_only("not those that were refused", reason, || {
            let busy = [start_held_request(server, "one"), start_held_request(server, "two")];
            let refused: Vec<_> =
                (0..30).map(|number| start_request(server, &format!("/run?{number}"))).collect();
            let statuses: Vec<_> = refused.into_iter().map(|request| finish(request).status).collect();
            assert!(statuses.iter().all(|status| matches!(status, 503 | 504)), "{statuses:?}");
            open_gate(server, "one");
            open_gate(server, "two");
            assert!(busy.into_iter().all(|request| finish(request).status == 200));
            assert_eq!(server.get("/ran").expect(200), "");
            assert_eq!(serving_process(server), old);
        });
        cases.ours_only("each that ran, and once", reason, || {
            // Five were before.
            for _ in 0..7 {
                let both = [start_request(server, "/run"), start_request(server, "/run")];
                assert!(both.into_iter().all(|request| finish(request).expect(200) == "ran"));
            }
            let log = server.log_since(mark);
            assert!(!log.contains("maximum_requests"), "{log}");
        });
        cases.ours_only("the last one leads to a successor", reason, || {
            assert_eq!(serving_process(server), old, "it is the twentieth");
            server.wait_log(mark, ENOUGH);
        });
    });
}

/// Returns what the processes of all slots have counted: the words of their pages that are not 0.
fn request_counts(server: &Server) -> Vec<u32> {
    let mut counted = Vec::new();
    for supervisor in server.supervisors() {
        for (number, target) in supervisor.descriptors() {
            if !target.to_string_lossy().contains("memfd:mod_wsgi page") {
                continue;
            }
            let page = fs::read(supervisor.path(&format!("fd/{number}"))).unwrap_or_default();
            assert!(!page.is_empty(), "the page {number} cannot be read");
            let words = page
                .chunks_exact(4)
                .map(|word| word.iter().rev().fold(0, |sum, byte| sum << 8 | u32::from(*byte)));
            counted.extend(words.filter(|word| *word != 0));
        }
    }
    counted
}

fn counts_of_a_killed_process_and_supervisor_are_cleared(setup: Setup) {
    let options = "threads=4 graceful-timeout=1 shutdown-timeout=1";
    serving(setup, options).run(|server, cases| {
        server.expect_crashes();
        cases.ours_only("after supervisor and process", "there is no supervisor", || {
            let process = serving_process(server);
            let running = [start_held_request(server, "one"), start_held_request(server, "two")];
            wait_until("two that count", || (request_counts(server) == [2]).then_some(()));
            signal(server.supervisors()[0], Signal::SIGKILL);
            signal(process, Signal::SIGKILL);
            assert!(running.into_iter().all(|request| finish(request).status == 502));
            assert_ne!(serving_process(server), process);
            wait_until("nothing that counts", || request_counts(server).is_empty().then_some(()));
        });
    });
}

/// Has clients send `each` requests that take a moment; returns how many each process served.
fn count_requests_by_process(server: &Server, clients: usize, each: usize) -> BTreeMap<String, usize> {
    let served = Mutex::new(BTreeMap::new());
    thread::scope(|scope| {
        for _ in 0..clients {
            scope.spawn(|| {
                for _ in 0..each {
                    let process = server.get("/sleep?0.03").expect(200);
                    if let Ok(mut served) = served.lock() {
                        *served.entry(process).or_default() += 1;
                    }
                }
            });
        }
    });
    served.into_inner().unwrap_or_default()
}

fn no_request_is_counted_when_none_runs(setup: Setup) {
    let children = if setup.mpm().threaded() { 2 } else { 24 };
    let options =
        "processes=3 threads=2 listen-backlog=2 connect-timeout=1 graceful-timeout=5 shutdown-timeout=1";
    serving(setup, options).children(children).threads(12).run(|server, cases| {
        server.expect_crashes();
        let idle = |what: &str| wait_until(what, || request_counts(server).is_empty().then_some(()));
        cases.check("it is, while requests run", || {
            let running = start_held_request(server, "one");
            wait_until("one that counts", || (request_counts(server) == [1]).then_some(()));
            open_gate(server, "one");
            assert_eq!(finish(running).status, 200);
            idle("after a request");
        });
        for round in 0..6 {
            cases.check(&format!("reloads, crashes, kills and refusals, {round}"), || {
                let gate = format!("round-{round}");
                // Those that wait, run, are refused, and are lost with their process.
                let requests: Vec<_> =
                    (0..16).map(|_| start_request(server, &format!("/hold?{gate}"))).collect();
                server.write("apps/app.wsgi", format!("{APP}\nversion = {round}\n"));
                let others =
                    ["/pid", "/exits?3", "/pid", "/kill?9"].map(|target| start_request(server, target));
                if let Some(process) = server.daemons().first() {
                    signal(*process, Signal::SIGKILL);
                }
                open_gate(server, &gate);
                for request in requests.into_iter().chain(others) {
                    let status = finish(request).status;
                    assert!(matches!(status, 200 | 502..=504), "{status}");
                }
            });
        }
        cases.check("and nothing after that", || {
            wait_until("three processes", || (server.daemons().len() == 3).then_some(()));
            idle("after all rounds");
        });
        cases.check("after a restart", || {
            server.graceful();
            wait_until("an answer", || (server.get("/pid").status == 200).then_some(()));
            idle("after a graceful restart");
        });
        cases.check("requests spread evenly", || {
            wait_until("all processes take requests", || {
                (count_requests_by_process(server, 6, 2).len() == 3).then_some(())
            });
            let served = count_requests_by_process(server, 6, 20);
            assert_eq!(served.len(), 3, "{served:?}");
            assert!(served.values().all(|count| (20..=60).contains(count)), "{served:?}");
        });
    });
}
