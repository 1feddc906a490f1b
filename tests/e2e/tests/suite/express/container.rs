//! Servers that mod_wsgi-express runs as the first process of a container.

use std::net::TcpStream;
use std::process::{Command, Stdio};
use std::thread::{self, JoinHandle};
use std::{fs, io};

use e2e::Needs::{Daemon, Ours};
use e2e::{Connection, Process, Response, Test, free_port, signal, test, wait_until};
use nix::sys::signal::Signal;

use super::server::{Express, Site, allow, command, own_options};

pub(super) const TESTS: &[Test] = &[
    test!(
        the_first_process_ends_once_its_requests_have,
        Daemon,
        Ours("a termination that waits for requests")
    ),
    test!(
        the_first_process_waits_for_its_requests_within_a_limit,
        Daemon,
        Ours("a termination that waits for requests")
    ),
    test!(
        uploads_end_and_kept_connections_do_not_hold_the_first_process,
        Daemon,
        Ours("a termination that waits for requests")
    ),
    test!(a_second_termination_is_immediate, Daemon, Ours("a termination that waits for requests")),
    test!(elsewhere_termination_is_immediate, Daemon, Ours("a termination that waits for requests")),
    test!(with_the_preset_the_first_process_inherits_what_is_left_behind, Daemon, Ours("--container")),
    test!(with_the_preset_the_first_process_passes_signals_on, Daemon, Ours("--container")),
    test!(the_first_process_ends_when_told_to_before_there_is_a_server, Daemon, Ours("--container")),
    test!(with_the_preset_the_status_is_that_of_apache, Daemon, Ours("--container")),
    test!(with_the_preset_an_id_of_a_former_container_does_not_matter, Daemon, Ours("--container")),
];

/// Says that it has begun, and ends when it may.
const HELD: &str = r#"
import os, time

def application(environ, start_response):
    if environ["PATH_INFO"] == "/quick":
        start_response("200 OK", [("Content-Length", "0")])
        return []
    shared = os.path.join(os.path.dirname(__file__), "shared")
    open(os.path.join(shared, "begun"), "w").close()
    if environ["REQUEST_METHOD"] == "POST":
        body = environ["wsgi.input"].read()
        print("received", len(body))
        start_response("200 OK", [("Content-Length", "4")])
        return [b"read"]
    while not os.path.exists(os.path.join(shared, "may-end")):
        time.sleep(0.01)
    start_response("200 OK", [("Content-Length", "4")])
    return [b"done"]
"#;

/// Leaves a process behind, which ends when it may.
const LEAVING: &str = r#"
import os, time

def application(environ, start_response):
    if environ["PATH_INFO"] == "/leave" and os.fork() == 0:
        os.setsid()
        if os.fork() == 0:
            while not os.path.exists(os.path.join(os.path.dirname(__file__), "shared/may-end")):
                time.sleep(0.01)
            os._exit(15)
        os._exit(0)
    start_response("200 OK", [("Content-Length", "0")])
    return []
"#;

/// Makes what follows the first process of a namespace, as in a container.
const FIRST: &[&str] = &["unshare", "--pid", "--fork", "--kill-child", "--mount-proc"];
/// Makes what follows the second, started by the first one as by `tini`.
const SECOND: &[&str] =
    &["unshare", "--pid", "--fork", "--kill-child", "--mount-proc", "sh", "-c", "\"$@\"; exit", "sh"];

/// The defaults of a container, without its delay at the end.
const PRESET: &[&str] = &["--container", "--drain-delay", "0"];

/// Starts a server with a request that is held. Returns Apache's first process, too.
fn start(wrapper: &[&str], options: &[&str]) -> (Express, Process, JoinHandle<io::Result<Response>>) {
    let (server, apache) = start_idle(wrapper, options);
    let address = server.address();
    let request = thread::spawn(move || {
        let mut connection = Connection::open(address);
        connection.send(b"GET / HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n");
        connection.response("GET")
    });
    wait_begun(&server);
    (server, apache, request)
}

fn wait_begun(server: &Express) {
    wait_until("the request", || server.path("shared/begun").exists().then_some(()));
}

/// Starts a server. Returns Apache's first process, too.
fn start_idle(wrapper: &[&str], options: &[&str]) -> (Express, Process) {
    start_at(Site::new(), wrapper, options)
}

fn start_at(site: Site, wrapper: &[&str], options: &[&str]) -> (Express, Process) {
    site.write("app.wsgi", HELD);
    let shared = site.path("shared");
    fs::create_dir(&shared).unwrap_or_else(|error| panic!("{}: {error}", shared.display()));
    allow(shared, 0o777);
    let server = Express::serve_within(wrapper, site, options);
    let mut apache = Process(server.process.id());
    while !apache.read("comm").starts_with("apache2") {
        apache = apache.children().into_iter().next().unwrap_or_else(|| panic!("{}", server.read("output")));
    }
    (server, apache)
}

/// Returns whether this user may make them, which takes root, and a container that allows it.
fn has_namespaces() -> bool {
    let made = Command::new(FIRST[0]).args(&FIRST[1..]).arg("true").output();
    made.unwrap_or_else(|error| panic!("unshare: {error}; install the package util-linux")).status.success()
}

fn wait_closed(server: &Express) {
    wait_until("the end of listening", || TcpStream::connect(server.address()).is_err().then_some(()));
}

fn wait_ended(server: &mut Express) {
    wait_until("the end of the server", || server.process.try_wait().ok().flatten());
}

fn the_first_process_ends_once_its_requests_have() {
    if !has_namespaces() {
        return;
    }
    let modes = [
        (FIRST, &[][..]),
        (FIRST, &["--embedded-mode"]),
        (FIRST, &["--embedded-mode", "--server-mpm", "prefork"]),
        (SECOND, &[]),
    ];
    for (wrapper, mode) in modes {
        let options = [&["--graceful-timeout", "600"], mode].concat();
        let (mut server, first, request) = start(wrapper, &options);
        signal(first, Signal::SIGTERM);
        wait_closed(&server);
        super::write(server.path("shared/may-end"), "");
        let response = request.join().unwrap_or_else(|_| panic!("{}", server.log()));
        let response = response.unwrap_or_else(|error| panic!("{mode:?}: {error}\n{}", server.log()));
        assert_eq!((response.status, response.text().as_str()), (200, "done"), "{mode:?}");
        wait_ended(&mut server);
    }
}

fn the_first_process_waits_for_its_requests_within_a_limit() {
    if !has_namespaces() {
        return;
    }
    let (mut server, first, request) = start(FIRST, &["--graceful-timeout", "1", "--shutdown-timeout", "1"]);
    signal(first, Signal::SIGTERM);
    wait_ended(&mut server);
    assert!(!request.join().is_ok_and(|response| response.is_ok_and(|response| response.status == 200)));
}

fn uploads_end_and_kept_connections_do_not_hold_the_first_process() {
    if !has_namespaces() {
        return;
    }
    for mode in [&[][..], &["--embedded-mode"]] {
        let options = [&["--graceful-timeout", "600", "--keep-alive-timeout", "300"], mode].concat();
        let (mut server, first) = start_idle(FIRST, &options);
        let mut kept = Connection::open(server.address());
        kept.send(b"GET /quick HTTP/1.1\r\nHost: localhost\r\n\r\n");
        assert!(kept.response("GET").is_ok_and(|response| response.status == 200), "{}", server.log());
        let mut upload = Connection::open(server.address());
        upload.send(
            b"POST / HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\nContent-Length: 200000\r\n\r\n",
        );
        upload.send(&[b'x'; 100_000]);
        wait_begun(&server);
        signal(first, Signal::SIGTERM);
        wait_closed(&server);
        upload.send(&[b'x'; 100_000]);
        let response = upload.response("POST").unwrap_or_else(|error| panic!("{error}\n{}", server.log()));
        assert_eq!((response.status, response.text().as_str()), (200, "read"), "{mode:?}");
        wait_ended(&mut server);
        assert!(server.log().contains("received 200000"), "{}", server.log());
        assert!(kept.rest().is_ok_and(|rest| rest.is_empty()));
    }
}

fn a_second_termination_is_immediate() {
    if !has_namespaces() {
        return;
    }
    // With threads, Apache waits ten seconds for a child that does not end.
    let options = ["--graceful-timeout", "600", "--shutdown-timeout", "1", "--server-mpm", "prefork"];
    let (mut server, first, request) = start(FIRST, &options);
    signal(first, Signal::SIGTERM);
    wait_closed(&server);
    assert!(server.process.try_wait().is_ok_and(|status| status.is_none()), "{}", server.log());
    signal(first, Signal::SIGTERM);
    wait_ended(&mut server);
    assert!(!request.join().is_ok_and(|response| response.is_ok_and(|response| response.status == 200)));
}

fn elsewhere_termination_is_immediate() {
    let (mut server, first, request) = start(&[], &["--graceful-timeout", "600", "--shutdown-timeout", "1"]);
    signal(first, Signal::SIGTERM);
    wait_ended(&mut server);
    assert!(!request.join().is_ok_and(|response| response.is_ok_and(|response| response.status == 200)));
}

/// Returns the first process of the namespace, which is the only child of the program that has made it.
fn first_process(server: &Express) -> Process {
    let first = Process(server.process.id()).children()[0];
    assert!(first.status("NSpid").ends_with(" 1"), "{}", first.status("NSpid"));
    first
}

fn supervisor(apache: Process) -> Option<Process> {
    let is_one = |child: &Process| child.is_alive() && child.read("comm").trim() == "supervisor";
    apache.children().into_iter().find(is_one)
}

fn with_the_preset_the_first_process_inherits_what_is_left_behind() {
    if !has_namespaces() {
        return;
    }
    let (server, apache) = start_idle(FIRST, PRESET);
    let first = first_process(&server);
    assert_eq!(first.children(), [apache]);
    super::write(server.path("app.wsgi"), LEAVING);
    let leave = |path: &str| server.ask("GET", path, "", "").status;
    wait_until("the other application", || (leave("/") == 200).then_some(()));
    assert_eq!(leave("/leave"), 200);
    let former = wait_until("the supervisor has it", || {
        supervisor(apache).filter(|supervisor| supervisor.children().len() == 2)
    });
    signal(former, Signal::SIGKILL);
    wait_until("the first process has it", || (first.children().len() > 1).then_some(()));
    wait_until("another supervisor", || supervisor(apache).filter(|supervisor| *supervisor != former));
    // With this status, a child of Apache's says that the server cannot work.
    super::write(server.path("shared/may-end"), "");
    wait_until("it is forgotten", || (first.children() == [apache]).then_some(()));
    wait_until("the application", || (leave("/") == 200).then_some(()));
    assert!(apache.is_alive() && !server.read("output").contains("returned a Fatal error"));
    end(server, first);
}

/// Ends a server by a signal to the first process: the program that has made the namespace ignores signals.
fn end(mut server: Express, first: Process) {
    signal(first, Signal::SIGTERM);
    wait_ended(&mut server);
}

fn with_the_preset_the_first_process_passes_signals_on() {
    if !has_namespaces() {
        return;
    }
    for ending in [Signal::SIGTERM, Signal::SIGINT, Signal::SIGQUIT, Signal::SIGWINCH] {
        let (mut server, apache) = start_idle(FIRST, &[PRESET, &["--graceful-timeout", "5"]].concat());
        let first = first_process(&server);
        // Apache listens before it has set its handlers of signals.
        assert_eq!(server.ask("GET", "/quick", "", "").status, 200);
        for restart in [Signal::SIGHUP, Signal::SIGUSR1] {
            let former = wait_until("a supervisor", || supervisor(apache));
            signal(first, restart);
            wait_until("another generation", || {
                supervisor(apache).filter(|supervisor| *supervisor != former)
            });
            wait_until("the application", || {
                (server.ask("GET", "/quick", "", "").status == 200).then_some(())
            });
        }
        signal(first, ending);
        let status = wait_until("the end of the server", || server.process.try_wait().ok().flatten());
        assert!(status.success(), "{ending}: {status}\n{}", server.read("output"));
    }
}

fn the_first_process_ends_when_told_to_before_there_is_a_server() {
    if !has_namespaces() {
        return;
    }
    let site = Site::new();
    fs::create_dir(site.path("shared")).unwrap_or_else(|error| panic!("{error}"));
    allow(site.path("shared"), 0o777);
    site.write(
        "app.wsgi",
        &format!("open({:?}, 'w').close()\nwhile True: pass\n", site.path("shared/begun")),
    );
    let mut container = command(FIRST)
        .args(["start-server", "app.wsgi", "--container", "--strict", "--port", &free_port().to_string()])
        .arg("--server-root")
        .arg(site.path("root"))
        .args(own_options())
        .current_dir(site.path(""))
        .stdin(Stdio::null())
        .spawn()
        .unwrap_or_else(|error| panic!("{error}"));
    wait_until("the trial of the application", || site.path("shared/begun").exists().then_some(()));
    let first = Process(container.id()).children()[0];
    signal(first, Signal::SIGTERM);
    let status = wait_until("the end", || container.try_wait().ok().flatten());
    assert_eq!(status.code(), Some(128 + 15));
}

fn with_the_preset_the_status_is_that_of_apache() {
    if !has_namespaces() {
        return;
    }
    let (mut server, apache) = start_idle(FIRST, PRESET);
    signal(apache, Signal::SIGKILL);
    let status = wait_until("the end of the server", || server.process.try_wait().ok().flatten());
    assert_eq!(status.code(), Some(128 + 9), "{}", server.read("output"));
}

fn with_the_preset_an_id_of_a_former_container_does_not_matter() {
    if !has_namespaces() {
        return;
    }
    let site = Site::new();
    fs::create_dir(site.path("root")).unwrap_or_else(|error| panic!("{error}"));
    allow(site.path("root"), 0o711);
    site.write("root/httpd.pid", "1\n");
    let (server, apache) = start_at(site, FIRST, PRESET);
    let first = first_process(&server);
    assert_ne!(server.read("root/httpd.pid"), "1\n");
    assert_eq!(server.ask("GET", "/quick", "", "").status, 200);
    assert!(apache.is_alive());
    end(server, first);
}
