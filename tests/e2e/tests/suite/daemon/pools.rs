//! Groups whose number of processes follows the load (`processes=MIN-MAX`).

use std::collections::BTreeSet;
use std::sync::atomic::{AtomicBool, AtomicU32, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use e2e::Needs::{Daemon, NoSanitizer, Ours, Root};
use e2e::{Process, Server, Setup, Test, on_each_mpm, on_one_mpm, signal, wait_until};
use nix::sys::signal::Signal;

use super::{
    APP, finish, open_gate, serving, serving_process, start_held_request, start_request, wait_ended,
};

const POOLS: e2e::Needs = Ours("processes that come and go with the load");

pub(crate) const TESTS: &[Test] = &[
    on_each_mpm!(the_first_request_starts_the_first_process, Daemon, POOLS),
    on_each_mpm!(a_group_grows_while_all_threads_are_busy_and_shrinks_when_idle, Daemon, POOLS),
    on_one_mpm!(requests_fill_the_first_process_first, Daemon, POOLS),
    on_one_mpm!(a_process_that_is_not_needed_ends_without_losing_a_request, Daemon, POOLS),
    on_one_mpm!(a_process_that_has_requests_stays, Daemon, POOLS),
    on_one_mpm!(a_script_that_cannot_be_imported_is_tried_for_those_who_ask, Daemon, POOLS),
    on_one_mpm!(a_crash_during_growth_harms_nobody, Daemon, POOLS, NoSanitizer("it would report the crash")),
    on_one_mpm!(dormant_groups_outlive_restarts_and_supervisors, Daemon, POOLS),
    on_one_mpm!(
        the_configuration_for_mass_hosting_works,
        Daemon,
        POOLS,
        Root("become somebody else"),
        NoSanitizer("it needs more address space than the page allows")
    ),
    on_one_mpm!(dormant_groups_of_two_users_stay_apart, Daemon, POOLS, Root("become somebody else")),
];

/// The page that says how to host many applications.
const PAGE: &str = include_str!("../../../../../docs/mass-hosting.md");

/// Waits until so many daemon processes run, and no others are on their way out.
#[track_caller]
fn wait_for_count(server: &Server, count: usize) -> Vec<Process> {
    wait_until(&format!("{count} daemon processes"), || {
        Some(server.daemons()).filter(|daemons| daemons.len() == count)
    })
}

/// The number of times that a supervisor's threads have slept.
fn sleeps(supervisor: Process) -> u64 {
    let threads = std::fs::read_dir(supervisor.path("task")).into_iter().flatten().flatten();
    let statuses = threads.filter_map(|thread| std::fs::read_to_string(thread.path().join("status")).ok());
    statuses
        .filter_map(|status| {
            let line = status.lines().find_map(|line| line.strip_prefix("voluntary_ctxt_switches:"))?;
            line.trim().parse::<u64>().ok()
        })
        .sum()
}

fn the_first_request_starts_the_first_process(setup: Setup) {
    let import = "WSGIImportScript @ROOT@/apps/import.py process-group=e2e application-group=%{GLOBAL}";
    let setup = serving(setup, "processes=0-2 threads=2 scale-down-idle=60s")
        .conf(import)
        .file("apps/import.py", "import mod_wsgi\nmod_wsgi.e2e_imported = 'before the request'\n");
    setup.run(|server, cases| {
        cases.check("nothing runs before", || {
            assert_eq!(server.daemons(), []);
            let [supervisor] = server.supervisors()[..] else { panic!("one supervisor") };
            // It may still have to settle.
            wait_until("a supervisor that sleeps", || {
                let before = sleeps(supervisor);
                thread::sleep(Duration::from_millis(400));
                (sleeps(supervisor) == before).then_some(())
            });
        });
        cases.check("the first requests wait for it", || {
            let requests: Vec<_> = (0..2).map(|_| start_request(server, "/state")).collect();
            let answers: Vec<_> = requests.into_iter().map(finish).collect();
            let pids: BTreeSet<_> = answers.iter().map(|answer| answer.value("pid")).collect();
            assert_eq!((pids.len(), server.daemons().len()), (1, 1));
            for answer in answers {
                assert_eq!(answer.value("multiprocess").as_deref(), Some("True"));
                assert_eq!(answer.value("mine").as_deref(), Some("before the request"));
            }
        });
    });
}

fn a_group_grows_while_all_threads_are_busy_and_shrinks_when_idle(setup: Setup) {
    let options = "processes=1-3 threads=1 scale-up-wait=50ms scale-down-idle=1s";
    serving(setup, options).children(4).run(|server, cases| {
        let first = serving_process(server);
        cases.check("each request that waits gets a process", || {
            assert_eq!(server.daemons(), [first]);
            let mut held = Vec::new();
            for (number, gate) in ["a", "b", "c"].into_iter().enumerate() {
                let mark = server.mark();
                held.push(start_request(server, &format!("/hold?{gate}")));
                // The second and the third were given to a process that was busy, and come back.
                server.wait_log(mark, &format!("holds {gate}"));
                assert_eq!(server.daemons().len(), number + 1);
            }
            let mark = server.mark();
            let fourth = start_request(server, "/hold?d");
            thread::sleep(Duration::from_millis(300));
            assert_eq!(server.daemons().len(), 3, "and there are no more than three");
            assert!(!server.log_since(mark).contains("holds d"));
            for gate in ["a", "b", "c", "d"] {
                open_gate(server, gate);
            }
            let pids: BTreeSet<_> = held.into_iter().map(|request| finish(request).expect(200)).collect();
            assert_eq!(pids.len(), 3);
            assert_eq!(finish(fourth).status, 200);
        });
        cases.check("those beyond the least number end", || {
            let mark = server.mark();
            assert_eq!(wait_for_count(server, 1), [first]);
            assert!(!server.log_since(mark).contains("has died"));
            thread::sleep(Duration::from_millis(1_500));
            assert_eq!(serving_process(server), first);
        });
    });
}

fn requests_fill_the_first_process_first(setup: Setup) {
    serving(setup, "processes=1-2 threads=4 scale-up-wait=0 scale-down-idle=60s").run(|server, cases| {
        cases.check("while half of its threads are free", || {
            let first = serving_process(server);
            const GATES: [&str; 4] = ["a", "b", "c", "d"];
            let held: Vec<_> = GATES.map(|gate| start_held_request(server, gate)).into();
            let other = serving_process(server);
            assert_ne!(other, first);
            wait_for_count(server, 2);
            GATES.iter().for_each(|gate| open_gate(server, gate));
            for request in held {
                assert_eq!(finish(request).expect(200), first.0.to_string());
            }
            wait_until("the first process again", || (serving_process(server) == first).then_some(()));
            for _ in 0..10 {
                assert_eq!(serving_process(server), first);
            }
        });
    });
}

fn a_process_that_has_requests_stays(setup: Setup) {
    const IDLE: Duration = Duration::from_secs(1);
    serving(setup, "processes=0-1 threads=2 scale-down-idle=1s").run(|server, cases| {
        // The one that answers last, and when that was.
        let mut last: Option<(String, Instant)> = None;
        let mut check = |path: &str| {
            let before = last.as_ref().map(|(_, at)| at.elapsed());
            let pid = server.get(path).value("pid").expect("a process");
            // On a machine that is slow, it may have been idle.
            if let (Some((old, _)), Some(pause)) = (&last, before)
                && pause < IDLE / 2
            {
                assert_eq!(*old, pid, "after {pause:?}");
            }
            last = Some((pid, Instant::now()));
        };
        cases.check("however long they go on", || {
            let begin = Instant::now();
            while begin.elapsed() < 3 * IDLE {
                check("/state");
                thread::sleep(IDLE / 10);
            }
        });
        cases.check("and its time begins with the end of one", || {
            let serving = serving_process(server);
            let _ = server.get("/sleep?1.5").expect(200);
            let end = Instant::now();
            thread::sleep(IDLE / 5);
            let now = serving_process(server);
            assert!(now == serving || end.elapsed() > IDLE / 2, "{:?}", end.elapsed());
        });
    });
}

fn a_process_that_is_not_needed_ends_without_losing_a_request(setup: Setup) {
    let options = "processes=0-3 threads=1 scale-up-wait=0 scale-down-idle=20ms";
    serving(setup, options).children(2).run(|server, cases| {
        cases.check("requests beside the ends", || {
            let (stop, served) = (AtomicBool::new(false), AtomicU32::new(0));
            let (mut seen, begin) = (BTreeSet::new(), Instant::now());
            let failures: Vec<_> = thread::scope(|scope| {
                let client = |pause: u64| {
                    let mut failures = Vec::new();
                    while !stop.load(Ordering::Relaxed) && begin.elapsed() < Duration::from_secs(60) {
                        let answer = server.get("/sleep?0.005");
                        if answer.status != 200 {
                            failures.push(answer.status);
                        }
                        served.fetch_add(1, Ordering::Relaxed);
                        // Around the time after which a process ends.
                        thread::sleep(Duration::from_millis(
                            pause + u64::from(served.load(Ordering::Relaxed) % 7),
                        ));
                    }
                    failures
                };
                let clients: Vec<_> = [17, 120].map(|pause| scope.spawn(move || client(pause))).into();
                let enough = |processes: &BTreeSet<Process>| processes.len() >= 8;
                wait_until("many processes", || {
                    seen.extend(server.daemons());
                    let is_over = clients.iter().any(thread::ScopedJoinHandle::is_finished);
                    (enough(&seen) || is_over).then_some(())
                });
                stop.store(true, Ordering::Relaxed);
                clients.into_iter().flat_map(|client| client.join().unwrap_or_default()).collect()
            });
            assert_eq!(failures, Vec::<u16>::new(), "of {} requests", served.load(Ordering::Relaxed));
            wait_for_count(server, 0);
        });
    });
}

fn a_script_that_cannot_be_imported_is_tried_for_those_who_ask(setup: Setup) {
    let import = "import os\nif os.path.exists('@ROOT@/htdocs/broken'): os._exit(3)\n";
    let line = "WSGIImportScript @ROOT@/apps/import.py process-group=e2e application-group=%{GLOBAL}";
    let setup = serving(setup, "processes=0-2 threads=2").conf(line).file("apps/import.py", import);
    setup.file("htdocs/broken", "").run(|server, cases| {
        cases.check("a 503", || {
            assert_eq!(server.get("/pid").status, 503);
            let log =
                server.wait_log(e2e::LogMark::default(), "the first request after 1 s starts another one");
            // In one slot, not in both.
            assert_eq!(log.matches("has died before it was ready").count(), 3, "{log}");
            wait_for_count(server, 0);
            // Longer than the first pause: nobody asks, so nobody tries.
            let mark = server.mark();
            thread::sleep(Duration::from_millis(1_500));
            assert_eq!(server.log_since(mark).matches("has died").count(), 0);
        });
        cases.check("and the next one works when it is mended", || {
            assert!(std::fs::remove_file(server.path("htdocs/broken")).is_ok());
            assert_eq!(server.get("/pid").status, 200);
        });
    });
}

fn a_crash_during_growth_harms_nobody(setup: Setup) {
    let import = "import os\nif os.path.exists('@ROOT@/htdocs/broken'): os.abort()\n";
    let line = "WSGIImportScript @ROOT@/apps/import.py process-group=e2e application-group=%{GLOBAL}";
    let options = "processes=0-3 threads=1 scale-up-wait=20ms";
    let setup = serving(setup, options).conf(line).file("apps/import.py", import);
    setup.run(|server, cases| {
        server.expect_crashes();
        cases.check("others are served", || {
            let held = start_held_request(server, "a");
            server.write("htdocs/broken", "");
            let mark = server.mark();
            let waiting = start_request(server, "/pid");
            server.wait_log(mark, "has died before it was ready");
            open_gate(server, "a");
            let pid = finish(held).expect(200);
            assert_eq!(finish(waiting).expect(200), pid);
            for _ in 0..5 {
                assert_eq!(server.get("/pid").expect(200), pid);
            }
        });
        cases.check("it grows when that is mended", || {
            let held = start_held_request(server, "b");
            let waiting = start_request(server, "/pid");
            assert!(std::fs::remove_file(server.path("htdocs/broken")).is_ok());
            let pid = finish(waiting).expect(200);
            open_gate(server, "b");
            assert_ne!(finish(held).expect(200), pid);
        });
        cases.check("a process that crashes at work is replaced", || {
            let mark = server.mark();
            assert_eq!(server.get("/segfault").status, 502);
            server.wait_log(mark, "signal 11 (SIGSEGV); another one is started");
            assert_eq!(server.get("/run?1").expect(200), "ran");
        });
    });
}

fn dormant_groups_outlive_restarts_and_supervisors(setup: Setup) {
    serving(setup, "processes=0-2 threads=1 scale-up-wait=0").run(|server, cases| {
        let kill_supervisor = || {
            // That of the generation before may still end.
            let only = || match server.supervisors()[..] {
                [only] => Some(only),
                _ => None,
            };
            let old = wait_until("one supervisor", only);
            signal(old, Signal::SIGKILL);
            wait_until("another supervisor", || only().filter(|new| *new != old));
        };
        cases.check("graceful while dormant", || {
            server.graceful();
            assert_eq!(server.daemons(), []);
            assert_eq!(server.get("/run?1").expect(200), "ran");
        });
        cases.check("graceful beside a request", || {
            let old = serving_process(server);
            let held = start_held_request(server, "old");
            server.graceful();
            assert_ne!(serving_process(server), old);
            open_gate(server, "old");
            assert_eq!(finish(held).expect(200), old.0.to_string());
            wait_ended(old);
        });
        cases.check("the death of the supervisor while dormant", || {
            server.graceful();
            wait_for_count(server, 0);
            kill_supervisor();
            assert_eq!(server.get("/run?2").expect(200), "ran");
        });
        cases.check("the death of the supervisor while a process runs", || {
            let old = serving_process(server);
            kill_supervisor();
            wait_ended(old);
            assert_ne!(serving_process(server), old);
            let held = start_held_request(server, "after");
            assert_eq!(server.get("/run?3").expect(200), "ran", "the new one lets it grow");
            open_gate(server, "after");
            assert_eq!(finish(held).status, 200);
        });
    });
}

fn dormant_groups_of_two_users_stay_apart(setup: Setup) {
    let mut setup = setup.own_groups().file("apps/app.wsgi", APP).conf("WSGIApplicationGroup %{GLOBAL}");
    let users = [("one", "backup", "34"), ("two", "games", "5")];
    for (name, user, _) in users {
        setup = setup.conf(&format!(
            "WSGIDaemonProcess {name} processes=0-1 scale-down-idle=1s user={user}\n\
             WSGIScriptAlias /{name} @ROOT@/apps/app.wsgi process-group={name}"
        ));
    }
    setup.run(|server, cases| {
        for (name, user, id) in users {
            cases.check(user, || {
                wait_for_count(server, 0);
                let state = server.get(&format!("/{name}/state"));
                assert_eq!(state.value("ids").map(|ids| ids.contains(id)), Some(true));
                assert_eq!(state.value("process_group").as_deref(), Some(name));
                assert_eq!(state.value("multiprocess").as_deref(), Some("False"));
                assert_eq!(server.daemons().len(), 1);
            });
        }
    });
}

fn the_configuration_for_mass_hosting_works(setup: Setup) {
    let block = PAGE.split("```").find_map(|block| block.strip_prefix("apache\n")).unwrap_or_default();
    let configuration = block
        .replace("/srv/sites", "@ROOT@/sites")
        .replace("*:80", "127.0.0.1:@PORT@")
        .replace("alice", "backup")
        .replace("bob", "games");
    let setup = setup.own_groups().modules(&["macro"]).conf(&configuration);
    let setup = setup.conf("SetEnv test.gates @ROOT@/htdocs");
    let setup = setup.file("sites/shop/app.wsgi", APP).file("sites/blog/app.wsgi", APP);
    setup.run(|server, cases| {
        cases.check("as it stands in the page", || {
            assert_eq!(server.daemons(), []);
            for (name, ids) in [("shop", "(34, 34, 34) (34, 34, 34)"), ("blog", "(5, 5, 5) (60, 60, 60)")] {
                let request = server.request("GET", "/state").host(&format!("{name}.example.com"));
                let state = request.send();
                assert_eq!(state.value("process_group").as_deref(), Some(name), "{}", state.text());
                assert_eq!(state.value("ids").as_deref(), Some(ids));
                let directory = state.value("directory").unwrap_or_default();
                assert!(directory.ends_with(&format!("/sites/{name}")), "{directory}");
            }
            assert_eq!(server.daemons().len(), 2);
        });
    });
}
