//! Ends of responses: what the client sees, what the access log says, and what comes next on the
//! connection.

use std::process::Command;
use std::thread;

use e2e::Needs::{Daemon, Threads};
use e2e::{
    Connection, Ending, Interpreter, Mode, Server, Setup, Test, curl, on_each_mpm, on_one_mpm, wait_until,
};

pub(crate) const TESTS: &[Test] = &[
    on_each_mpm!(a_half_closed_connection_gets_its_answer),
    on_each_mpm!(a_client_that_leaves_during_write_costs_one_line),
    on_each_mpm!(a_generator_that_has_nothing_to_say_is_closed_when_its_client_leaves),
    on_each_mpm!(a_generator_that_has_nothing_to_say_is_closed_when_its_stream_is_reset, Threads),
    on_one_mpm!(a_client_that_has_closed_its_connection_is_noticed_when_its_system_has_forgotten_it, Daemon),
    on_one_mpm!(a_half_closed_connection_gets_its_answer_over_tls),
];

const APP: &str = include_str!("../../apps/ends.wsgi");

/// [`APP`] at `/`, and an access log of targets with their statuses.
pub(crate) fn serving(setup: Setup) -> Setup {
    setup
        .app("/", "app.wsgi", APP)
        .file("htdocs/gates/keep", "")
        .conf("WSGIApplicationGroup %{GLOBAL}\nSetEnv test.gates @ROOT@/htdocs/gates")
        .conf("LogFormat \"%>s %U%q\" ends\nCustomLog @ROOT@/logs/access.log ends")
}

/// Waits until the access log has a target, and returns its status.
#[track_caller]
pub(crate) fn wait_for_logged_status(server: &Server, target: &str) -> u16 {
    wait_until(&format!("{target} in the access log"), || {
        let log = std::fs::read_to_string(server.path("logs/access.log")).unwrap_or_default();
        log.lines().find_map(|line| line.strip_suffix(&format!(" {target}"))?.parse().ok())
    })
}

fn open_gate(server: &Server, gate: &str) {
    server.write(&format!("htdocs/gates/{gate}"), "");
}

/// Sends a request and keeps the connection.
fn start_request(server: &Server, target: &str) -> Connection {
    let mut connection = server.connect();
    connection.send(&server.request("GET", target).keep_alive());
    connection
}

fn a_half_closed_connection_gets_its_answer(setup: Setup) {
    // In daemon mode it waits in the queue, behind one that waits for the gate.
    serving(setup).group("threads=1").children(4).run(|server, cases| {
        cases.check("while it waits", || {
            let mark = server.mark();
            let mut first = start_request(server, "/hold?half");
            first.finish_sending();
            server.wait_log(mark, "holds half");
            let mut second = start_request(server, "/fine?half");
            second.finish_sending();
            if server.mode() == Mode::Daemon {
                // By the time that one who has really gone is noticed, the others have been looked
                // at, too.
                let third = start_request(server, "/fine?reset");
                third.wait_until_read();
                thread::sleep(std::time::Duration::from_millis(300));
                third.reset();
                if !server.target().is_reference() {
                    assert_eq!(wait_for_logged_status(server, "/fine?reset"), 499);
                }
            }
            open_gate(server, "half");
            for (connection, target, text) in
                [(&mut first, "/hold?half", "held"), (&mut second, "/fine?half", "fine")]
            {
                let response = connection.response("GET").unwrap_or_else(|error| panic!("{target}: {error}"));
                assert_eq!((response.expect(200).as_str(), response.ending), (text, Ending::Framed));
                assert_eq!(wait_for_logged_status(server, target), 200);
            }
        });
        cases.check("HTTP/1.0", || {
            let mut connection = server.connect();
            connection.send(b"GET /fine?old HTTP/1.0\r\n\r\n");
            connection.finish_sending();
            let response = connection.response("GET").unwrap_or_else(|error| panic!("{error}"));
            assert_eq!((response.text().as_str(), response.ending), ("fine", Ending::Closed));
        });
    });
}

fn a_client_that_leaves_during_write_costs_one_line(setup: Setup) {
    serving(setup).run(|server, cases| {
        cases.deviates("one line at info", "the traceback of write() is logged", || {
            let mark = server.mark();
            let mut connection = start_request(server, "/writes");
            assert!(connection.at_least(1 << 20).is_ok());
            connection.reset();
            let log = server.wait_log(mark, "client has gone");
            assert_eq!(wait_for_logged_status(server, "/writes"), 200);
            let log = format!("{log}{}", server.log_since(mark));
            assert!(!log.contains(":error]") && !log.contains("Traceback"), "{log}");
        });
        cases.check("others are served", || assert_eq!(server.get("/fine").expect(200), "fine"));
    });
}

fn a_generator_that_has_nothing_to_say_is_closed_when_its_client_leaves(setup: Setup) {
    const REASON: &str = "it runs to its end for nobody";
    serving(setup).run(|server, cases| {
        for name in ["begun", "silent"] {
            cases.ours_only(name, REASON, || {
                let mark = server.mark();
                let mut connection = start_request(server, &format!("/yields_nothing?{name}"));
                if name == "begun" {
                    let mut seen = Vec::new();
                    while !seen.windows(5).any(|window| window == b"begun") {
                        seen.extend(connection.at_least(1).unwrap_or_else(|error| panic!("{error}")));
                    }
                }
                server.wait_log(mark, &format!("begins {name}"));
                connection.reset();
                server.wait_log(mark, &format!("closed {name}"));
                let log = server.log_since(mark);
                assert!(!log.contains("WSGI0"), "{log}");
            });
        }
        cases.ours_only("a clean end", REASON, || {
            let mark = server.mark();
            let client = Command::new(Interpreter::current().executable)
                .args(["-c", FORGETFUL_CLIENT, &server.port().to_string(), "/yields_nothing?clean"])
                .status();
            assert!(client.is_ok_and(|status| status.success()));
            server.wait_log(mark, "closed clean");
        });
        cases.check("others are served", || assert_eq!(server.get("/fine").expect(200), "fine"));
    });
}

fn a_generator_that_has_nothing_to_say_is_closed_when_its_stream_is_reset(setup: Setup) {
    serving(setup).modules(&["http2"]).conf("Protocols h2c http/1.1").run(|server, cases| {
        cases.ours_only("HTTP/2", "it runs to its end for nobody", || {
            let mark = server.mark();
            let url = format!("http://127.0.0.1:{}/yields_nothing?begun-h2", server.port());
            let output = curl(["--http2-prior-knowledge", "--max-time", "3", url.as_str()]);
            assert!(!output.status.success());
            server.wait_log(mark, "closed begun-h2");
        });
    });
}

/// Says `close_notify`, ends the sending direction, and reads the answer.
const TLS_CLIENT: &str = r#"
import socket, ssl, sys
port, target = int(sys.argv[1]), sys.argv[2]
context = ssl._create_unverified_context()
incoming, outgoing = ssl.MemoryBIO(), ssl.MemoryBIO()
tls = context.wrap_bio(incoming, outgoing, server_hostname="localhost")
raw = socket.create_connection(("127.0.0.1", port), 30)

def until(action, sends_only=False):
    while True:
        try:
            return action()
        except ssl.SSLWantReadError:
            if waiting := outgoing.read():
                raw.sendall(waiting)
            if sends_only:
                return None
            block = raw.recv(65536)
            incoming.write(block) if block else incoming.write_eof()

until(tls.do_handshake)
tls.write(f"GET {target} HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n".encode())
until(tls.unwrap, sends_only=True)
raw.shutdown(socket.SHUT_WR)
print("asked", flush=True)
answer = b""
try:
    while block := until(lambda: tls.read(65536)):
        answer += block
except (ssl.SSLZeroReturnError, ssl.SSLEOFError):
    pass
print(answer.decode())
"#;

/// Asks and leaves with a clean end, on a system that forgets such connections after a second.
const FORGETFUL_CLIENT: &str = r#"
import socket, sys, time
client = socket.create_connection(("127.0.0.1", int(sys.argv[1])), 30)
client.setsockopt(socket.IPPROTO_TCP, socket.TCP_LINGER2, 1)
client.sendall(f"GET {sys.argv[2]} HTTP/1.1\r\nHost: localhost\r\n\r\n".encode())
time.sleep(0.3)
"#;

fn a_client_that_has_closed_its_connection_is_noticed_when_its_system_has_forgotten_it(setup: Setup) {
    serving(setup).group("threads=1").run(|server, cases| {
        cases.ours_only("in the queue", "W12: it runs for nobody", || {
            let mark = server.mark();
            let mut first = start_request(server, "/hold?closed");
            server.wait_log(mark, "holds closed");
            let client = Command::new(Interpreter::current().executable)
                .args(["-c", FORGETFUL_CLIENT, &server.port().to_string(), "/fine?closed"])
                .status();
            assert!(client.is_ok_and(|status| status.success()));
            assert_eq!(wait_for_logged_status(server, "/fine?closed"), 499);
            open_gate(server, "closed");
            assert_eq!(first.response("GET").map(|held| held.status).ok(), Some(200));
        });
    });
}

fn a_half_closed_connection_gets_its_answer_over_tls(setup: Setup) {
    serving(setup).tls().group("threads=1").run(|server, cases| {
        cases.check("after close_notify", || {
            let mark = server.mark();
            let mut first = start_request(server, "/hold?tls");
            server.wait_log(mark, "holds tls");
            let client = Command::new(Interpreter::current().executable)
                .args(["-c", TLS_CLIENT, &server.tls_port().to_string(), "/fine?tls"])
                .stdout(std::process::Stdio::piped())
                .spawn();
            let client = client.unwrap_or_else(|error| panic!("python: {error}"));
            // Apache looks ten times a second whether those who wait are still there.
            thread::sleep(std::time::Duration::from_millis(1500));
            open_gate(server, "tls");
            assert_eq!(first.response("GET").map(|held| held.status).ok(), Some(200));
            let output = client.wait_with_output().unwrap_or_else(|error| panic!("python: {error}"));
            let text = String::from_utf8_lossy(&output.stdout).into_owned();
            assert!(text.contains("HTTP/1.1 200") && text.contains("fine"), "{text}");
            assert_eq!(wait_for_logged_status(server, "/fine?tls"), 200);
        });
    });
}
