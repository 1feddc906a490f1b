//! A supervisor that ends, and one that can not be started.

use std::fs::{self, Permissions};
use std::os::unix::fs::PermissionsExt;
use std::process::Command;

use e2e::{Server, Target, daemon_only, on_each_mpm, signal, wait_until};
use nix::sys::signal::Signal;

use super::{begin, end, gone, pid, serving};

/// Says whether anybody can start the server's supervisor.
fn make_executable(server: &Server, is_executable: bool) {
    let mode = if is_executable { 0o755 } else { 0o644 };
    let changed = fs::set_permissions(server.path("module/supervisor"), Permissions::from_mode(mode));
    changed.unwrap_or_else(|error| panic!("the supervisor: {error}"));
}

/// Kills the supervisor while the server can not start another one.
fn lose_supervisor(server: &Server) {
    let mark = server.mark();
    make_executable(server, false);
    let supervisors = server.supervisors();
    assert_eq!(supervisors.len(), 1, "{supervisors:?}");
    signal(supervisors[0], Signal::SIGKILL);
    server.wait_log(mark, "has ended unexpectedly");
    let log = server.wait_log(mark, "The next try is in");
    assert!(log.contains("WSGI0020") && log.contains("Permission denied"), "{log}");
}

/// Waits until requests are served by a process of a new supervisor.
fn recovered(server: &Server) {
    make_executable(server, true);
    wait_until("the group serves again", || (server.get("/pid").status == 200).then_some(()));
    assert_eq!(server.supervisors().len(), 1);
}

#[test]
fn one_that_can_not_be_started_is_tried_again_and_requests_do_not_wait() {
    if daemon_only() || Target::current().lacks("supervisor") {
        return;
    }
    on_each_mpm(|setup| {
        serving(setup.own_module().conf("Timeout 3600"), "").run(|server, cases| {
            let process = pid(server);
            lose_supervisor(server);
            cases.check("requests are refused", || {
                let mark = server.mark();
                for _ in 0..10 {
                    assert_eq!(server.get("/pid").status, 503);
                }
                server.wait_log(mark, "WSGI0116");
            });
            gone(process);
            cases.check("so are those after a restart", || {
                let mark = server.mark();
                server.graceful();
                assert_eq!(server.get("/pid").status, 503);
                server.wait_log(mark, "The next try is in");
            });
            cases.check("they are served when it can be started", || recovered(server));
        });
    });
}

#[test]
fn a_request_that_waits_for_a_process_is_refused_when_there_will_be_none() {
    if daemon_only() || Target::current().lacks("supervisor") {
        return;
    }
    on_each_mpm(|setup| {
        serving(setup.own_module().conf("Timeout 3600"), "").run(|server, cases| {
            server.expect_crashes();
            // It takes nothing, and has not taken any connection before.
            let process = wait_until("a process", || server.daemons().first().copied());
            signal(process, Signal::SIGSTOP);
            let waiting = begin(server, "/run");
            lose_supervisor(server);
            cases.check("it is refused", || assert_eq!(end(waiting).status, 503));
            // One that had not begun ends with its supervisor.
            if process.is_alive() {
                signal(process, Signal::SIGKILL);
            }
            cases.check("others are served later", || recovered(server));
        });
    });
}

#[test]
fn channels_that_can_not_be_made_at_a_restart_cost_the_daemon_processes_only() {
    if daemon_only() || Target::current().lacks("supervisor") {
        return;
    }
    on_each_mpm(|setup| {
        let setup = setup.file("htdocs/static.txt", "static").file("more/none.conf", "");
        let setup = setup.conf("Alias /static.txt @ROOT@/htdocs/static.txt").modules(&["alias"]);
        serving(setup.conf("Include @ROOT@/more/*.conf"), "").run(|server, cases| {
            let old = pid(server);
            let limit =
                Command::new("prlimit").args(["--nofile=80:80", "--pid", &server.pid().to_string()]).status();
            assert!(limit.is_ok_and(|status| status.success()));
            cases.check("the rest is served", || {
                server.write("more/many.conf", "WSGIDaemonProcess many processes=40");
                let mark = server.mark();
                server.graceful();
                gone(old);
                assert_eq!(server.get("/static.txt").expect(200), "static");
                assert_eq!(server.get("/pid").status, 500);
                server.wait_log(mark, "WSGI0012");
            });
            cases.check("fewer are made by the next restart", || {
                server.write("more/many.conf", "");
                server.graceful();
                wait_until("the group serves again", || (server.get("/pid").status == 200).then_some(()));
            });
        });
    });
}

#[test]
fn requests_wait_while_another_one_is_started() {
    if daemon_only() || Target::current().lacks("supervisor") {
        return;
    }
    on_each_mpm(|setup| {
        serving(setup, "").run(|server, cases| {
            cases.check("none is lost", || {
                let process = pid(server);
                signal(server.supervisors()[0], Signal::SIGKILL);
                gone(process);
                assert_ne!(pid(server), process);
            });
        });
    });
}
