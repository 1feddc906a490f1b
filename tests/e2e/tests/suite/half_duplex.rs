//! Clients that read nothing before they have sent everything, as most of Python's do.

use std::io::Write as _;
use std::time::Instant;

use e2e::Needs::{Ours, Root};
use e2e::{Connection, Interpreter, PATIENCE, Response, Server, Setup, Test, on_each_mpm, on_one_mpm};

pub(crate) const TESTS: &[Test] = &[
    on_each_mpm!(a_long_answer_to_an_unread_body_reaches_a_client_that_only_sends),
    on_one_mpm!(a_body_that_nobody_will_read_may_be_longer_than_what_is_kept),
    on_each_mpm!(a_body_that_was_read_ahead_is_not_lost),
    on_one_mpm!(an_echo_reaches_a_client_that_only_sends),
    on_one_mpm!(a_client_that_sends_for_ever_is_given_up),
    on_one_mpm!(
        a_body_that_cannot_be_kept_is_logged,
        Root("become a user who cannot write to a directory"),
        Ours("it reads nothing ahead")
    ),
    on_each_mpm!(a_client_over_tls_may_only_send),
    on_one_mpm!(an_unread_body_that_is_too_long_costs_no_answer),
];

const APP: &str = include_str!("../../apps/half_duplex.wsgi");

/// The length of the bodies, and of the answers.
const BODY: usize = 20_000_000;
const ANSWER: usize = 13_000_000;

const REASON: &str = "each side waits for the other one to read";

fn a_long_answer_to_an_unread_body_reaches_a_client_that_only_sends(setup: Setup) {
    serving(setup).run(|server, cases| {
        server.write("answer.bin", vec![b'a'; ANSWER]);
        for answer in ["list", "length", "blocks", "write", "file"] {
            for connection in ["close", "keep-alive"] {
                cases.ours_only(&format!("{answer}, {connection}"), REASON, || {
                    let (response, mut client) =
                        send_then_read(server, &format!("/answer_{answer}"), connection);
                    assert_eq!(response.expect(200).len(), ANSWER);
                    if connection == "keep-alive" {
                        let next = server.request("POST", "/echo").header("Content-Length", "4");
                        client.send(&next.keep_alive());
                        client.send(b"next");
                        let next = client.response("POST").unwrap_or_else(|error| panic!("{error}"));
                        assert_eq!(next.expect(200), "next");
                    }
                });
            }
        }
    });
}

fn a_body_that_nobody_will_read_may_be_longer_than_what_is_kept(setup: Setup) {
    const LONGER: usize = 60_000_000;
    serving(setup).run(|server, cases| {
        for answer in ["list", "length"] {
            cases.ours_only(answer, REASON, || {
                let mut client = server.connect();
                let request = server.request("POST", &format!("/answer_{answer}"));
                client.send(&request.header("Content-Length", LONGER.to_string()).keep_alive());
                client.send(&vec![b'x'; LONGER]);
                let response = client.response("POST").unwrap_or_else(|error| panic!("{error}"));
                assert_eq!(response.expect(200).len(), ANSWER);
            });
        }
    });
}

fn a_body_that_was_read_ahead_is_not_lost(setup: Setup) {
    serving(setup).run(|server, cases| {
        for how in ["unread", "begun"] {
            cases.ours_only(how, REASON, || {
                let (response, _) = send_then_read(server, &format!("/read_late?{how}"), "close");
                let text = response.expect(200);
                assert_eq!(text[ANSWER..], format!("{BODY} {DIGEST}"));
            });
        }
    });
}

fn an_echo_reaches_a_client_that_only_sends(setup: Setup) {
    serving(setup).run(|server, cases| {
        cases.ours_only("echo", REASON, || {
            let (response, _) = send_then_read(server, "/echo", "close");
            assert_eq!(response.status, 200);
            assert!(response.body == body(), "{} bytes", response.body.len());
        });
    });
}

fn a_client_that_sends_for_ever_is_given_up(setup: Setup) {
    serving(setup).conf("Timeout 1\nLimitRequestBody 0").run(|server, cases| {
        for answer in ["length", "blocks"] {
            cases.ours_only(answer, "it reads the rest of the body for ever", || {
                let mut connection = server.connect();
                let request = server.request("POST", &format!("/answer_{answer}"));
                connection.send(&request.header("Content-Length", "1000000000000").keep_alive());
                // (Until the server closes the connection.)
                let begin = Instant::now();
                while connection.try_send(&[b'x'; 65_536]).is_ok() {
                    assert!(begin.elapsed() < 2 * PATIENCE, "the server still reads");
                }
            });
        }
    });
}

fn a_body_that_cannot_be_kept_is_logged(setup: Setup) {
    serving(setup).file("temporary/keep", "").run(|server, cases| {
        cases.check("once, with the directory and the remedy; the response waits", || {
            let mark = server.mark();
            let mut client = server.connect();
            let request = server.request("POST", "/answer_blocks").header("Content-Length", BODY.to_string());
            client.send(&request.keep_alive());
            let mut sender = client.sender();
            // The server reads all of it only once the response is on its way.
            let sending = std::thread::spawn(move || sender.write_all(&body()));
            let log = server.wait_log(mark, "WSGI1022");
            assert!(log.contains("/temporary: Permission denied") && log.contains("TMPDIR"), "{log}");
            let response = client.response("POST").unwrap_or_else(|error| panic!("{error}"));
            assert_eq!(response.expect(200).len(), ANSWER);
            // It may close the connection instead.
            let _ = sending.join();
            assert_eq!(server.get("/echo").status, 200);
            assert_eq!(server.log_since(mark).matches("WSGI1022").count(), 1);
        });
    });
}

fn an_unread_body_that_is_too_long_costs_no_answer(setup: Setup) {
    // The system has room for it, so that the client can go on to read.
    let chunk = [b"186a0\r\n", &[b'x'; 100_000][..], b"\r\n"].concat();
    let body = [chunk.repeat(20), b"0\r\n\r\n".to_vec()].concat();
    serving(setup).conf("WSGIChunkedRequest On\nLimitRequestBody 1000000").run(|server, cases| {
        for answer in ["list", "length", "blocks"] {
            cases.ours_only(answer, "in daemon mode it reads the body first", || {
                let mut client = server.connect();
                let request = server.request("POST", &format!("/answer_{answer}"));
                client.send(&request.header("Transfer-Encoding", "chunked").keep_alive());
                client.send(&body);
                let response = client.response("POST").unwrap_or_else(|error| panic!("{error}"));
                assert_eq!(response.expect(200).len(), ANSWER);
            });
        }
    });
}

fn a_client_over_tls_may_only_send(setup: Setup) {
    serving(setup).tls().run(|server, cases| {
        cases.ours_only("http.client", REASON, || {
            let script = format!(
                "import http.client, ssl\n\
                 context = ssl._create_unverified_context()\n\
                 client = http.client.HTTPSConnection('localhost', {}, context=context, timeout=25)\n\
                 client.request('POST', '/answer_blocks', b'x' * {BODY})\n\
                 print(len(client.getresponse().read()))",
                server.tls_port()
            );
            assert_eq!(python(server, &script), format!("{ANSWER}\n"));
        });
    });
}

/// Runs a Python script, and returns its output.
fn python(server: &Server, script: &str) -> String {
    let output = std::process::Command::new(&Interpreter::current().executable)
        .args(["-c", script])
        .current_dir(server.root())
        .output()
        .unwrap_or_else(|error| panic!("Python: {error}"));
    format!("{}{}", String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr))
}

fn send_then_read(server: &Server, target: &str, connection: &str) -> (Response, Connection) {
    let mut client = server.connect();
    let request = server.request("POST", target).header("Content-Length", BODY.to_string());
    let head = match connection {
        "close" => request.header("Connection", "close"),
        _ => request,
    };
    client.send(&head.keep_alive());
    client.send(&body());
    let response = client.response("POST").unwrap_or_else(|error| panic!("{error}"));
    (response, client)
}

/// The MD5 digest of [`body`].
const DIGEST: &str = "50c4f208b0b65a273f6c4fb143fd525a";

fn body() -> Vec<u8> {
    (0..BODY).map(|index| (index % 251) as u8).collect()
}

fn serving(setup: Setup) -> Setup {
    setup.app("/", "app.wsgi", APP).conf("Timeout 10")
}
