//! Changed scripts: the successor takes over when it has loaded them.

use std::sync::atomic::{AtomicBool, AtomicU32, Ordering};
use std::sync::{Mutex, PoisonError};
use std::thread;
use std::time::{Duration, Instant};

use e2e::Needs::Daemon;
use e2e::{Server, Setup, Test, on_each_mpm, on_one_mpm, sanitized, wait_until};

use super::{
    APP, finish, open_gate, serving, serving_process, start_held_request, start_request, wait_ended,
    wait_for_successor,
};

pub(crate) const TESTS: &[Test] = &[
    on_each_mpm!(a_touched_script_brings_a_successor, Daemon),
    on_each_mpm!(a_slow_request_is_not_disturbed, Daemon),
    on_one_mpm!(a_broken_script_keeps_the_old_code, Daemon),
    on_one_mpm!(a_deploy_that_is_complete_later_needs_no_further_touch, Daemon),
    on_one_mpm!(each_process_of_a_group_is_replaced, Daemon),
    on_one_mpm!(another_script_of_the_process_lives_on, Daemon),
    on_one_mpm!(a_script_that_never_loads_does_not_hold_back_another_one, Daemon),
    on_each_mpm!(restarts_and_touches_under_load_fail_no_request, Daemon),
];

/// [`APP`] in another version.
fn app_of_version(text: &str) -> String {
    APP.replace(
        "def run(",
        &format!(
            "def version(environ, start_response):\n    return answer(start_response, '{text}')\n\n\ndef run("
        ),
    )
}

/// Waits until the script's new version answers: it may need longer to load than a request waits
/// for it.
#[track_caller]
fn wait_for_version(server: &Server, version: &str) {
    e2e::wait_until(version, || (server.get("/version").text() == version).then_some(()));
}

fn a_touched_script_brings_a_successor(setup: Setup) {
    serving(setup, "").run(|server, cases| {
        cases.check("the next request has the new code", || {
            let (mark, old) = (server.mark(), serving_process(server));
            server.write("apps/app.wsgi", app_of_version("two"));
            wait_for_version(server, "two");
            assert_ne!(serving_process(server), old);
            wait_ended(old);
            server.wait_log(mark, "stopping: script_reload");
        });
        cases.check("an upload comes along", || {
            server.write("apps/app.wsgi", app_of_version("three"));
            let response = server.request("POST", "/read").body(vec![b'x'; 2_000_000]).send();
            assert_eq!(response.expect(200), "2000000");
            wait_for_version(server, "three");
        });
    });
}

fn a_slow_request_is_not_disturbed(setup: Setup) {
    serving(setup, "shutdown-timeout=1 graceful-timeout=20").run(|server, cases| {
        cases.deviates("it ends, and nobody waits for it", "it is cut off after shutdown-timeout", || {
            let old = serving_process(server);
            let slow = start_held_request(server, "slow");
            server.write("apps/app.wsgi", app_of_version("two"));
            wait_for_version(server, "two");
            // Longer than the shutdown would allow.
            thread::sleep(Duration::from_millis(2500));
            wait_for_version(server, "two");
            open_gate(server, "slow");
            assert_eq!(finish(slow).expect(200), old.0.to_string());
            wait_ended(old);
        });
    });
}

fn a_broken_script_keeps_the_old_code(setup: Setup) {
    let reason = "the old code is gone, and requests fail until the script is mended";
    serving(setup, "").run(|server, cases| {
        let old = serving_process(server);
        let (half, _) = APP.split_once("def application").unwrap_or_default();
        for (name, broken, why) in [
            ("half of the file", half, "WSGI0089"),
            ("syntax", "def application(\n", "SyntaxError"),
            ("import", "import no_such_module\n", "no_such_module"),
            ("exit", "raise SystemExit(1)\n", "SystemExit"),
        ] {
            cases.deviates(name, reason, || {
                let mark = server.mark();
                server.write("apps/app.wsgi", broken);
                for _ in 0..3 {
                    assert_eq!(server.get("/pid").expect(200), old.0.to_string());
                }
                let log = server.wait_log(mark, why);
                assert!(log.contains("app.wsgi"), "{log}");
            });
        }
        cases.ours_only("one that crashes while it is loaded", reason, || {
            if sanitized("it would report the abort") {
                return;
            }
            server.expect_crashes();
            let mark = server.mark();
            server.write("apps/app.wsgi", "import os\nos.abort()\n");
            assert_eq!(server.get("/pid").expect(200), old.0.to_string());
            server.wait_log(mark, "SIGABRT");
        });
        cases.ours_only("later requests say what is broken", reason, || {
            let mark = server.mark();
            wait_until("a warning about the script", || {
                assert_eq!(server.get("/pid").expect(200), old.0.to_string());
                let log = server.log_since(mark);
                log.lines().any(|line| line.contains("wsgi:warn") && line.contains("app.wsgi")).then_some(())
            });
        });
        cases.check("mended", || {
            server.write("apps/app.wsgi", app_of_version("mended"));
            wait_for_version(server, "mended");
        });
    });
}

fn a_deploy_that_is_complete_later_needs_no_further_touch(setup: Setup) {
    serving(setup, "").run(|server, cases| {
        cases.check("the script is there before what it imports", || {
            let (mark, old) = (server.mark(), serving_process(server));
            let text = format!(
                "import os\nif not os.path.exists({:?}):\n    raise ImportError('half a deploy')\n{}",
                server.path("apps/rest"),
                app_of_version("complete")
            );
            server.write("apps/app.wsgi", text);
            if !server.target().is_reference() {
                for _ in 0..3 {
                    assert_eq!(server.get("/pid").expect(200), old.0.to_string());
                }
                server.wait_log(mark, "half a deploy");
            }
            server.write("apps/rest", "");
            wait_for_version(server, "complete");
        });
    });
}

fn each_process_of_a_group_is_replaced(setup: Setup) {
    serving(setup, "processes=3").run(|server, cases| {
        e2e::wait_until("three processes", || (server.daemons().len() == 3).then_some(()));
        let old = server.daemons();
        cases.check("none serves the old code", || {
            let _ = wait_for_successor(server, e2e::Process(0));
            server.write("apps/app.wsgi", app_of_version("two"));
            // (Where the successors need longer than requests wait for them, the old ones answer.)
            for _ in 0..10 {
                wait_until("three new answers", || {
                    let requests: Vec<_> = (0..3).map(|_| start_request(server, "/version")).collect();
                    let answers: Vec<_> =
                        requests.into_iter().map(|request| finish(request).text()).collect();
                    answers.iter().all(|answer| answer == "two").then_some(())
                });
            }
            // Those that nobody asked may still have it.
            let left: Vec<_> = server.daemons().into_iter().filter(|process| old.contains(process)).collect();
            assert!(left.len() < 3, "{left:?}");
        });
    });
}

fn another_script_of_the_process_lives_on(setup: Setup) {
    serving(setup.app("/second", "second.wsgi", APP), "").run(|server, cases| {
        cases.check("both are served", || {
            assert_eq!(server.get("/second/run").expect(200), "ran");
            for round in 0..3 {
                server.write("apps/app.wsgi", app_of_version(&round.to_string()));
                wait_for_version(server, &round.to_string());
                assert_eq!(server.get("/second/run").expect(200), "ran");
            }
        });
    });
}

fn a_script_that_never_loads_does_not_hold_back_another_one(setup: Setup) {
    serving(setup.app("/second", "second.wsgi", APP), "").run(|server, cases| {
        cases.check("the other one is reloaded", || {
            assert_eq!(server.get("/second/run").expect(200), "ran");
            let old = serving_process(server);
            server.write("apps/second.wsgi", "import no_such_module\n");
            if !server.target().is_reference() {
                assert_eq!(server.get("/second/pid").expect(200), old.0.to_string(), "served on");
            }
            server.write("apps/app.wsgi", app_of_version("two"));
            wait_for_version(server, "two");
        });
        cases.check("its own requests fail then", || {
            let mark = server.mark();
            assert_eq!(server.get("/second/run").status, 500);
            server.wait_log(mark, "no_such_module");
            wait_for_version(server, "two");
        });
        cases.check("until it is mended", || {
            server.write("apps/second.wsgi", app_of_version("three"));
            let mended = || (server.get("/second/version").text() == "three").then_some(());
            wait_until("three", mended);
            wait_for_version(server, "two");
        });
    });
}

fn restarts_and_touches_under_load_fail_no_request(setup: Setup) {
    serving_for_load(setup).run(|server, cases| {
        cases.ours_only("ten of each", LOSES, || {
            let slowest = restarts_and_touches(server, 20);
            // Half a second on a machine that has nothing else to do, which a test cannot ask for.
            assert!(slowest < Duration::from_secs(15), "{slowest:?}");
        });
    });
}

/// Why the original is not put under load.
pub(super) const LOSES: &str = "W18: a graceful restart ends requests of daemon processes";

/// A server for [`restarts_and_touches`].
pub(super) fn serving_for_load(setup: Setup) -> Setup {
    serving(setup, "threads=8").children(2 * CLIENTS).threads(4)
}

/// The number of clients.
///
/// Apache looks at its children once a second. In a restart those end at once that have no request,
/// and new ones take their places; if all had one, nobody would listen until Apache looks again. So
/// there are more children than clients.
const CLIENTS: u32 = 4;

/// Restarts a server gracefully and changes its script in turns, while some clients send requests
/// that take 50 ms; how long the slowest of these took.
pub(super) fn restarts_and_touches(server: &Server, rounds: u32) -> Duration {
    let (stop, count, slowest) = (AtomicBool::new(false), AtomicU32::new(0), Mutex::new(Duration::ZERO));
    thread::scope(|scope| {
        for _ in 0..CLIENTS {
            scope.spawn(|| {
                while !stop.load(Ordering::Relaxed) {
                    let begin = Instant::now();
                    let response = server.get("/sleep?0.05");
                    assert_eq!(response.status, 200, "{}", response.text());
                    let mut slowest = slowest.lock().unwrap_or_else(PoisonError::into_inner);
                    *slowest = begin.elapsed().max(*slowest);
                    count.fetch_add(1, Ordering::Relaxed);
                }
            });
        }
        let outcome = std::panic::catch_unwind(|| {
            let wait_for_requests = || {
                let before = count.load(Ordering::Relaxed);
                wait_until("several requests of each client", || {
                    (count.load(Ordering::Relaxed) > before + 5 * CLIENTS).then_some(())
                });
            };
            for round in 0..rounds {
                // Children that have not begun to listen would not end at once in a restart.
                wait_for_requests();
                if round % 2 == 0 {
                    server.graceful();
                } else {
                    server.write("apps/app.wsgi", app_of_version(&round.to_string()));
                }
            }
            wait_for_requests();
        });
        stop.store(true, Ordering::Relaxed);
        outcome.unwrap_or_else(|panic| std::panic::resume_unwind(panic));
    });
    let slowest = slowest.into_inner().unwrap_or_else(PoisonError::into_inner);
    e2e::report(format_args!("{} requests, the slowest took {slowest:?}", count.into_inner()));
    slowest
}
