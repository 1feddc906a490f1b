//! Processes that are killed: the others notice, nothing is left, and the service resumes where
//! Apache still runs.

use std::time::{Duration, Instant};

use e2e::Needs::{Daemon, Ours};
use e2e::{Process, Server, Setup, Test, on_each_mpm, signal, wait_until};
use nix::sys::signal::Signal;

use super::{
    finish, open_gate, serving, serving_process, start_held_request, start_request, wait_ended,
    wait_for_successor,
};

pub(crate) const TESTS: &[Test] = &[
    on_each_mpm!(a_killed_daemon_process_is_replaced, Daemon),
    on_each_mpm!(a_killed_parent_leaves_nothing, Daemon),
    on_each_mpm!(a_killed_supervisor_is_replaced, Daemon, Ours("supervisor")),
    on_each_mpm!(a_killed_child_cancels_its_requests_alone, Daemon),
    on_each_mpm!(a_stop_ends_every_process, Daemon),
    on_each_mpm!(a_single_process_server_has_daemon_processes, Daemon),
    on_each_mpm!(
        a_stopped_process_ends_with_the_server,
        Daemon,
        Ours("end of daemon processes that are stopped")
    ),
    on_each_mpm!(a_hard_restart_starts_anew, Daemon),
    on_each_mpm!(a_graceful_restart_keeps_old_processes_while_they_are_needed, Daemon),
];

fn a_killed_daemon_process_is_replaced(setup: Setup) {
    serving(setup, "").run(|server, cases| {
        cases.check("at once", || {
            let (mark, old) = (server.mark(), serving_process(server));
            let running = start_held_request(server, "lost");
            signal(old, Signal::SIGKILL);
            assert_eq!(finish(running).status, 502);
            let _ = wait_for_successor(server, old);
            server.wait_log(mark, "e2e");
            open_gate(server, "lost");
        });
        cases.deviates("the log says how it died", "W26: exit causes are misreported", || {
            let (mark, old) = (server.mark(), serving_process(server));
            signal(old, Signal::SIGKILL);
            let log = server.wait_log(mark, "SIGKILL");
            assert!(log.contains(&old.0.to_string()) && log.contains("'e2e'"), "{log}");
        });
    });
}

fn a_killed_parent_leaves_nothing(setup: Setup) {
    let server = serving(setup, "processes=2 shutdown-timeout=1").start();
    if server.target().lacks("end of daemon processes whose parent is gone (W27)") {
        return;
    }
    wait_until("two processes", || (server.daemons().len() == 2).then_some(()));
    let busy = start_held_request(&server, "busy");
    let all: Vec<Process> = server.supervisors().into_iter().chain(server.daemons()).collect();
    assert_eq!(all.len(), 3);
    let children: Vec<Process> = server.children().into_iter().map(Process).collect();
    signal(Process(server.pid()), Signal::SIGKILL);
    for process in all {
        wait_ended(process);
    }
    // Apache's own children do not look after their parent; that is not ours to mend.
    for child in children.into_iter().filter(|child| child.is_alive()) {
        signal(child, Signal::SIGKILL);
    }
    // The client of a child that was killed has no answer, or an error.
    drop(busy.join());
}

fn a_killed_supervisor_is_replaced(setup: Setup) {
    serving(setup, "").run(|server, cases| {
        cases.check("no request fails", || {
            let (mark, old) = (server.mark(), serving_process(server));
            let supervisor = only_supervisor(server);
            let running = start_held_request(server, "running");
            signal(supervisor, Signal::SIGKILL);
            let new = wait_until("another supervisor", || {
                let found = server.supervisors();
                found.into_iter().find(|found| *found != supervisor && found.is_alive())
            });
            // A process that nobody watches any more finishes what it has.
            open_gate(server, "running");
            assert_eq!(finish(running).expect(200), old.0.to_string());
            let _ = wait_for_successor(server, old);
            wait_ended(old);
            assert_ne!(new, supervisor);
            server.wait_log(mark, "supervisor");
        });
        cases.check("the new one watches", || {
            let old = serving_process(server);
            signal(old, Signal::SIGKILL);
            let _ = wait_for_successor(server, old);
        });
        cases.check("a graceful restart", || {
            let old = serving_process(server);
            server.graceful();
            let _ = wait_for_successor(server, old);
            wait_ended(old);
        });
    });
}

fn only_supervisor(server: &Server) -> Process {
    wait_until("one supervisor", || <[Process; 1]>::try_from(server.supervisors()).ok().map(|[one]| one))
}

fn a_killed_child_cancels_its_requests_alone(setup: Setup) {
    serving(setup, "").children(2).run(|server, cases| {
        cases.check("the process serves on", || {
            let old = serving_process(server);
            let running = start_held_request(server, "cancelled");
            for child in server.children() {
                signal(Process(child), Signal::SIGKILL);
            }
            // Its client has no answer.
            assert!(running.join().is_err());
            open_gate(server, "cancelled");
            wait_until("the same process", || {
                let mut connection = server.connect();
                connection.try_send(&server.request("GET", "/pid").keep_alive()).ok()?;
                connection.response("GET").ok().filter(|response| response.text() == old.0.to_string())
            });
        });
    });
}

fn a_stop_ends_every_process(setup: Setup) {
    let mut server = serving(setup, "processes=3").start();
    wait_until("three processes", || (server.daemons().len() == 3).then_some(()));
    let all: Vec<Process> = server.supervisors().into_iter().chain(server.daemons()).collect();
    let stuck = start_held_request(&server, "stuck");
    let begin = Instant::now();
    assert!(server.stop().success());
    // Apache gives its processes some seconds, and then kills them.
    assert!(begin.elapsed() < Duration::from_secs(25), "{:?}", begin.elapsed());
    for process in all {
        wait_ended(process);
    }
    drop(stuck.join());
}

fn a_single_process_server_has_daemon_processes(setup: Setup) {
    let mut server = serving(setup, "").single_process().start();
    let process = serving_process(&server);
    assert_eq!(serving_process(&server), process);
    server.stop();
    wait_ended(process);
}

fn a_stopped_process_ends_with_the_server(setup: Setup) {
    let mut server = serving(setup, "processes=2").start();
    wait_until("two processes", || (server.daemons().len() == 2).then_some(()));
    let _ = serving_process(&server);
    let all: Vec<Process> = server.supervisors().into_iter().chain(server.daemons()).collect();
    signal(server.daemons()[0], Signal::SIGSTOP);
    assert!(server.stop().success());
    for process in all {
        wait_ended(process);
    }
}

fn a_hard_restart_starts_anew(setup: Setup) {
    serving(setup, "shutdown-timeout=1 graceful-timeout=20").run(|server, cases| {
        cases.check("with other processes", || {
            let old = serving_process(server);
            server.restart();
            assert_ne!(serving_process(server), old);
            wait_ended(old);
        });
        cases.check("and no signal for the application", || {
            assert_eq!(server.get("/seen_signals").expect(200), "");
        });
        let reason = "it ends the requests of daemon processes within shutdown-timeout";
        cases.ours_only("what is under way is finished", reason, || {
            let old = serving_process(server);
            let mark = server.mark();
            let request = start_request(server, "/hold_and_say?hard");
            server.wait_log(mark, "holds hard");
            server.restart();
            assert_ne!(serving_process(server), old);
            // Apache has closed the connection, so that the client has no answer, and nothing keeps
            // its child.
            assert!(request.join().is_err());
            let log = server.log_since(mark);
            assert!(!log.contains("still did not exit"), "{log}");
            std::thread::sleep(Duration::from_secs(2));
            assert!(old.is_alive());
            open_gate(server, "hard");
            server.wait_log(mark, "has held hard");
            wait_ended(old);
        });
    });
}

fn a_graceful_restart_keeps_old_processes_while_they_are_needed(setup: Setup) {
    serving(setup, "").children(2).run(|server, cases| {
        let reason = "W18: it ends the requests of daemon processes";
        cases.deviates("a request that takes longer than Apache would wait", reason, || {
            let old = serving_process(server);
            let running = start_held_request(server, "long");
            server.graceful();
            let new = wait_for_successor(server, old);
            std::thread::sleep(Duration::from_secs(4));
            assert!(old.is_alive());
            open_gate(server, "long");
            assert_eq!(finish(running).expect(200), old.0.to_string());
            wait_ended(old);
            assert_eq!(serving_process(server), new);
        });
        cases.ours_only("one supervisor is left", "it has none", || {
            let _ = only_supervisor(server);
        });
    });
}
