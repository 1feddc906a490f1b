//! Limits and timeouts of clients.

use std::net::TcpStream;
use std::time::Duration;

use e2e::Needs::{Daemon, Ours};
use e2e::{Connection, Process, Test, signal, test, wait_until};
use nix::sys::signal::Signal;

use super::Express;

pub(super) const TESTS: &[Test] = &[
    test!(requests_are_limited_as_asked_for, Daemon, Ours("such checks and messages")),
    test!(requests_are_limited_by_default, Daemon, Ours("such checks and messages")),
    test!(connections_wait_up_to_the_backlog, Daemon, Ours("such checks and messages")),
];

const CHUNKED: &str = "Transfer-Encoding: chunked\r\n";
const HELLO: &str = "5\r\nhello\r\n0\r\n\r\n";

fn requests_are_limited_as_asked_for() {
    let server = Express::start(&[
        "--limit-request-body",
        "1k",
        "--chunked-request",
        "--map-head-to-get",
        "on",
        "--keep-alive-timeout",
        "0",
        "--header-timeout",
        "1",
        "--header-min-rate",
        "0",
        "--body-timeout",
        "1",
        "--body-min-rate",
        "0",
    ]);
    let post = |length: usize| {
        server.ask("POST", "/", &format!("Content-Length: {length}\r\n"), &"x".repeat(length)).status
    };
    assert_eq!((post(1024), post(1025)), (200, 413));
    let chunked = server.ask("POST", "/", CHUNKED, HELLO);
    assert_eq!(chunked.value("received").as_deref(), Some("5"), "{}", chunked.text());
    assert_eq!(server.ask("HEAD", "/", "", "").header("X-Method"), Some("GET"));

    let mut connection = Connection::open(server.address());
    connection.send(b"GET / HTTP/1.1\r\nHost: localhost\r\n\r\n");
    let response = connection.response("GET").unwrap_or_else(|error| panic!("{error}\n{}", server.log()));
    assert_eq!(response.header("Connection"), Some("close"), "{:?}", response.headers);

    // What does not arrive in time is not waited for.
    let mut slow = Connection::open(server.address());
    slow.send(b"GET / HTTP/1.1\r\nHost: ");
    let refused = slow.response("GET").unwrap_or_else(|error| panic!("{error}\n{}", server.log()));
    assert_eq!(refused.status, 408);
    let mut slow = Connection::open(server.address());
    slow.send(b"POST / HTTP/1.1\r\nHost: localhost\r\nContent-Length: 10\r\n\r\nhalf");
    assert!(slow.rest().is_ok(), "the connection ends");
    wait_until("the timeout in the log", || server.log().contains("Request body read timeout").then_some(()));
}

fn requests_are_limited_by_default() {
    let server = Express::start(&["--map-head-to-get", "Off"]);
    assert_eq!(server.ask("POST", "/", CHUNKED, HELLO).status, 411);
    let head = server.ask("HEAD", "/", "", "");
    assert_eq!(head.header("X-Method"), Some("HEAD"));
    // It is refused before it is sent.
    assert_eq!(server.ask("POST", "/", "Content-Length: 10485761\r\n", "").status, 413);

    let mut connection = Connection::open(server.address());
    for _ in 0..2 {
        connection.send(b"GET / HTTP/1.1\r\nHost: localhost\r\n\r\n");
        let response = connection.response("GET").unwrap_or_else(|error| panic!("{error}\n{}", server.log()));
        assert_eq!((response.status, response.header("Connection")), (200, None));
    }
}

fn connections_wait_up_to_the_backlog() {
    let accepted = |options: &[&str]| {
        let server = Express::start(options);
        let apache = Process(server.process.id());
        let stopped: Vec<Process> = [vec![apache], apache.children()].concat();
        stopped.iter().for_each(|&process| signal(process, Signal::SIGSTOP));
        let connect = |_| TcpStream::connect_timeout(&server.address(), Duration::from_secs(1)).ok();
        let connections: Vec<TcpStream> = (0..8).map_while(connect).collect();
        stopped.iter().for_each(|&process| signal(process, Signal::SIGCONT));
        connections.len()
    };
    assert_eq!(accepted(&[]), 8);
    assert!(accepted(&["--server-backlog", "1"]) < 8);
}
