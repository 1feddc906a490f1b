//! A supervisor that ends, and one that cannot be started.

use std::fs::{self, Permissions};
use std::os::unix::fs::PermissionsExt;
use std::process::Command;
use std::time::{Duration, Instant};

use e2e::Needs::{Daemon, Ours};
use e2e::{Server, Setup, Test, on_each_mpm, on_one_mpm, signal, wait_until};
use nix::sys::signal::Signal;

use super::{finish, serving, serving_process, start_request, wait_ended};

pub(crate) const TESTS: &[Test] = &[
    on_each_mpm!(
        a_supervisor_that_cannot_be_started_is_retried_and_requests_fail_at_once,
        Daemon,
        Ours("supervisor")
    ),
    on_each_mpm!(
        a_request_that_waits_for_a_process_is_refused_when_there_will_be_none,
        Daemon,
        Ours("supervisor")
    ),
    on_each_mpm!(
        channels_that_cannot_be_made_at_a_restart_cost_only_the_daemon_processes,
        Daemon,
        Ours("supervisor")
    ),
    on_each_mpm!(requests_wait_while_another_supervisor_starts, Daemon, Ours("supervisor")),
    on_one_mpm!(a_channel_that_its_process_shuts_down_costs_nobody_else, Daemon),
];

/// Says whether anybody can start the server's supervisor.
fn make_executable(server: &Server, is_executable: bool) {
    let mode = if is_executable { 0o755 } else { 0o644 };
    let changed = fs::set_permissions(server.path("module/supervisor"), Permissions::from_mode(mode));
    changed.unwrap_or_else(|error| panic!("the supervisor: {error}"));
}

/// Kills the supervisor while the server cannot start another one.
fn lose_supervisor(server: &Server) {
    let mark = server.mark();
    make_executable(server, false);
    let supervisors = server.supervisors();
    assert_eq!(supervisors.len(), 1, "{supervisors:?}");
    signal(supervisors[0], Signal::SIGKILL);
    let log = server.wait_log(mark, "has ended unexpectedly");
    assert!(log.contains("WSGI1001"), "{log}");
    let log = server.wait_log(mark, "The next try is in");
    assert!(log.contains("WSGI0020") && log.contains("Permission denied"), "{log}");
}

/// Waits until requests are served by a process of a new supervisor.
fn wait_until_recovered(server: &Server) {
    make_executable(server, true);
    wait_until("the group serves again", || (server.get("/pid").status == 200).then_some(()));
    assert_eq!(server.supervisors().len(), 1);
}

fn a_supervisor_that_cannot_be_started_is_retried_and_requests_fail_at_once(setup: Setup) {
    let health = "Timeout 3600\n<Location \"/-\">\nSetHandler wsgi-health\n</Location>\n\
                  <Location \"/wsgi-status\">\nSetHandler wsgi-status\n</Location>";
    serving(setup.own_module().conf(health), "").run(|server, cases| {
        let process = serving_process(server);
        lose_supervisor(server);
        cases.check("the server is not ready", || {
            assert!(server.get("/-/ready").expect(503).contains("supervisor"));
        });
        cases.check("requests are refused", || {
            let mark = server.mark();
            for _ in 0..10 {
                assert_eq!(server.get("/pid").status, 503);
            }
            server.wait_log(mark, "WSGI0116");
            wait_until("their number", || {
                (crate::ledger::rejections(server, "e2e", "unsupervised") == 10).then_some(())
            });
        });
        wait_ended(process);
        cases.check("so are those after a restart", || {
            let mark = server.mark();
            server.graceful();
            assert_eq!(server.get("/pid").status, 503);
            server.wait_log(mark, "The next try is in");
        });
        cases.check("they are served when it can be started", || {
            wait_until_recovered(server);
            assert_eq!(server.get("/-/ready").expect(200), "ready\n");
        });
    });
}

fn a_request_that_waits_for_a_process_is_refused_when_there_will_be_none(setup: Setup) {
    serving(setup.own_module().conf("Timeout 3600"), "").run(|server, cases| {
        server.expect_crashes();
        // It takes nothing, and has not taken any connection before.
        let process = wait_until("a process", || server.daemons().first().copied());
        signal(process, Signal::SIGSTOP);
        let waiting = start_request(server, "/run");
        lose_supervisor(server);
        cases.check("it is refused", || assert_eq!(finish(waiting).status, 503));
        // One that had not begun ends with its supervisor.
        if process.is_alive() {
            signal(process, Signal::SIGKILL);
        }
        cases.check("others are served later", || wait_until_recovered(server));
    });
}

fn channels_that_cannot_be_made_at_a_restart_cost_only_the_daemon_processes(setup: Setup) {
    let setup = setup.file("htdocs/static.txt", "static").file("more/none.conf", "");
    let setup = setup.conf("Alias /static.txt @ROOT@/htdocs/static.txt").modules(&["alias"]);
    serving(setup.conf("Include @ROOT@/more/*.conf"), "").run(|server, cases| {
        let old = serving_process(server);
        let limit =
            Command::new("prlimit").args(["--nofile=80:80", "--pid", &server.pid().to_string()]).status();
        assert!(limit.is_ok_and(|status| status.success()));
        cases.check("the rest is served", || {
            server.write("more/many.conf", "WSGIDaemonProcess many processes=40");
            let mark = server.mark();
            server.graceful();
            wait_ended(old);
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
}

fn requests_wait_while_another_supervisor_starts(setup: Setup) {
    serving(setup, "").run(|server, cases| {
        cases.check("none is lost", || {
            let process = serving_process(server);
            signal(server.supervisors()[0], Signal::SIGKILL);
            wait_ended(process);
            assert_ne!(serving_process(server), process);
        });
    });
}

/// Shuts its process's channel down: the socket for datagrams in order that is not the control
/// socket.
const SHUTS_CHANNEL: &str = "
import os, socket

def application(environ, start_response):
    start_response('200 OK', [('Content-Type', 'text/plain')])
    if environ['PATH_INFO'] == '/shut':
        how = getattr(socket, environ['QUERY_STRING'])
        for name in os.listdir('/proc/self/fd'):
            try:
                if not os.readlink('/proc/self/fd/' + name).startswith('socket:'):
                    continue
                with socket.socket(fileno=os.dup(int(name))) as end:
                    if end.type == socket.SOCK_SEQPACKET and int(name) != 3:
                        end.shutdown(how)
            except OSError:
                pass
    return [str(os.getpid()).encode()]
";

fn a_channel_that_its_process_shuts_down_costs_nobody_else(setup: Setup) {
    for how in ["SHUT_RDWR", "SHUT_RD"] {
        let setup = setup.clone().group("processes=2").app("/", "app.wsgi", SHUTS_CHANNEL);
        setup.conf("WSGIApplicationGroup %{GLOBAL}").run(|server, cases| {
            cases.ours_only(&format!("{how}: the other process serves"), "there are no channels", || {
                let mark = server.mark();
                let lost = server.get(&format!("/shut?{how}")).expect(200);
                server.wait_log(mark, "has shut down its channel");
                for _ in 0..20 {
                    assert_ne!(server.get("/").expect(200), lost);
                }
            });
            cases.ours_only(&format!("{how}: without one, requests are refused at once"), "as above", || {
                let mark = server.mark();
                let _ = server.get(&format!("/shut?{how}")).expect(200);
                server.wait_log(mark, "has shut down its channel");
                let begin = Instant::now();
                wait_until("503", || (server.get("/").status == 503).then_some(()));
                assert_eq!(server.get("/").status, 503);
                assert!(begin.elapsed() < Duration::from_secs(10), "{:?}", begin.elapsed());
                let log = server.log_since(e2e::LogMark::default());
                assert_eq!(log.matches("has shut down its channel").count(), 2, "{log}");
            });
            cases.ours_only(&format!("{how}: graceful mends it"), "as above", || {
                server.graceful();
                wait_until("an answer", || (server.get("/").status == 200).then_some(()));
            });
        });
    }
}
