//! Servers that mod_wsgi-express runs as the first process of a container.

use std::net::TcpStream;
use std::process::Command;
use std::thread::{self, JoinHandle};
use std::{fs, io};

use e2e::Needs::{Daemon, Ours};
use e2e::{Connection, Process, Response, Test, signal, test, wait_until};
use nix::sys::signal::Signal;

use super::server::{Express, Site, allow};

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

/// Makes what follows the first process of a namespace, as in a container.
const FIRST: &[&str] = &["unshare", "--pid", "--fork", "--kill-child", "--mount-proc"];
/// Makes what follows the second, started by the first one as by `tini`.
const SECOND: &[&str] =
    &["unshare", "--pid", "--fork", "--kill-child", "--mount-proc", "sh", "-c", "\"$@\"; exit", "sh"];

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
    let site = Site::new();
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
