//! The two directions of a request do not wait for each other: a thread that reads a body which
//! does not come, and an answer.

use std::io::Write;
use std::time::Duration;

use e2e::{Connection, Server, Setup, Test, curl, on_each_mpm, on_one_mpm};

use crate::ends::{serving, wait_for_logged_status};

pub(crate) const TESTS: &[Test] = &[
    on_each_mpm!(an_answer_does_not_wait_for_a_thread_that_reads),
    on_each_mpm!(a_body_arrives_whole_while_another_thread_answers),
    on_each_mpm!(a_write_does_not_wait_for_a_thread_that_reads),
    on_each_mpm!(both_directions_carry_much_at_once),
    on_each_mpm!(a_body_arrives_whole_while_apache_restarts),
    on_one_mpm!(a_client_that_sends_nothing_is_given_up_by_a_thread_that_reads),
    on_each_mpm!(the_directions_are_independent_over_tls_and_http_2),
];

/// The ways in which the application answers while its thread reads, and its answers.
const ANSWERS: &[(&str, &str)] =
    &[("list", "answer"), ("length", "answer"), ("write", "answer"), ("blocks", "answer"), ("nothing", "")];

const REASON: &str = "the answer waits for the thread that reads";

fn an_answer_does_not_wait_for_a_thread_that_reads(setup: Setup) {
    // Longer than the client is patient.
    serving(setup).conf("Timeout 100\nWSGIChunkedRequest On").children(4).run(|server, cases| {
        for &(how, text) in ANSWERS {
            for framing in ["length", "chunked"] {
                cases.ours_only(&format!("{how} {framing}"), REASON, || {
                    let target = format!("/reader_stays?{how}/{framing}");
                    let mark = server.mark();
                    let mut connection = server.connect();
                    let (name, value) = match framing {
                        "length" => ("Content-Length", "10"),
                        _ => ("Transfer-Encoding", "chunked"),
                    };
                    connection.send(&server.request("POST", &target).header(name, value).keep_alive());
                    connection.send(if framing == "length" { b"half " } else { b"5\r\nhalf \r\n" });
                    let response = connection.response("POST").unwrap_or_else(|error| panic!("{error}"));
                    assert_eq!(response.expect(200), text);
                    server.wait_log(mark, &format!("reader of {how}/{framing}: RuntimeError"));
                    // Apache takes the rest, and the next request is understood.
                    connection.send(if framing == "length" { b"other" } else { b"0\r\n\r\n" });
                    connection.send(&server.request("GET", "/fine").keep_alive());
                    let next = connection.response("GET").unwrap_or_else(|error| panic!("{error}"));
                    assert_eq!(next.expect(200), "fine");
                    assert_eq!(wait_for_logged_status(server, &target), 200);
                });
            }
        }
    });
}

fn a_body_arrives_whole_while_another_thread_answers(setup: Setup) {
    serving(setup).modules(&["deflate"]).conf("WSGIChunkedRequest On").run(|server, cases| {
        for how in ["all", "blocks", "lines"] {
            cases.ours_only(how, REASON, || {
                let mut connection = server.connect();
                let request = server.request("POST", &format!("/reader_ends?{how}"));
                let request = request.header("Content-Length", "100000").header("Expect", "100-continue");
                connection.send(&request.keep_alive());
                let mut seen = String::new();
                while !seen.contains("begun ") {
                    let more = connection.at_least(1).unwrap_or_else(|error| panic!("{error}: {seen}"));
                    seen += &String::from_utf8_lossy(&more);
                }
                assert!(seen.starts_with("HTTP/1.1 100 "), "{seen}");
                // In pieces, so that the thread has to wait.
                for _ in 0..10 {
                    connection.send(&"0123456789abcdef\n".repeat(1000).as_bytes()[..10_000]);
                    std::thread::sleep(Duration::from_millis(5));
                }
                while !seen.ends_with("0\r\n\r\n") {
                    let more = connection.at_least(1).unwrap_or_else(|error| panic!("{error}: {seen}"));
                    seen += &String::from_utf8_lossy(&more);
                }
                assert!(seen.contains("read 100000"), "{seen}");
            });
        }
        cases.ours_only("a client that stops", REASON, || {
            let mut connection = server.connect();
            let request = server.request("POST", "/reader_ends?all").header("Content-Length", "100");
            connection.send(&request.keep_alive());
            connection.send(b"not all");
            connection.finish_sending();
            let response = connection.response("POST").unwrap_or_else(|error| panic!("{error}"));
            assert!(response.expect(200).contains("OSError"), "{}", response.text());
        });
    });
}

fn a_write_does_not_wait_for_a_thread_that_reads(setup: Setup) {
    serving(setup).conf("Timeout 100\nWSGIChunkedRequest On").run(|server, cases| {
        for (name, value, parts) in [
            ("Content-Length", "100000", [&b"half "[..], &[b'x'; 99_995]]),
            ("Transfer-Encoding", "chunked", [&b"5\r\nhalf \r\n"[..], b"5\r\nother\r\n0\r\n\r\n"]),
        ] {
            cases.ours_only(name, REASON, || {
                let mut connection = server.connect();
                let request = server.request("POST", "/writes_meanwhile").header(name, value);
                connection.send(&request.keep_alive());
                connection.send(parts[0]);
                let mut seen = String::new();
                let mut see = |connection: &mut Connection, text: &str| {
                    while !seen.contains(text) {
                        let more = connection.at_least(1).unwrap_or_else(|error| panic!("{error}: {seen}"));
                        seen += &String::from_utf8_lossy(&more);
                    }
                };
                // Only then the client sends the rest.
                see(&mut connection, "written ");
                connection.send(parts[1]);
                see(&mut connection, if name == "Content-Length" { "read 100000" } else { "read 10" });
            });
        }
    });
}

fn both_directions_carry_much_at_once(setup: Setup) {
    const LENGTH: usize = 20_000_000;
    /// The MD5 digest of so many `x`.
    const DIGEST: &str = "d52626322ee0b934ba699935cac991b2";
    serving(setup).run(|server, cases| {
        cases.ours_only("a long body and a long response", REASON, || {
            let mut connection = server.connect();
            let request = server.request("POST", "/writes_much_meanwhile");
            connection.send(&request.header("Content-Length", LENGTH.to_string()).keep_alive());
            let mut sender = connection.sender();
            std::thread::scope(|scope| {
                let sends = scope.spawn(move || sender.write_all(&vec![b'x'; LENGTH]));
                let response = connection.response("POST").unwrap_or_else(|error| panic!("{error}"));
                let text = response.expect(200);
                assert_eq!(text.len(), LENGTH + DIGEST.len());
                assert!(text.ends_with(DIGEST), "{}", &text[LENGTH..]);
                assert!(sends.join().is_ok_and(|sent| sent.is_ok()));
            });
        });
    });
}

fn a_body_arrives_whole_while_apache_restarts(setup: Setup) {
    serving(setup).run(|server, cases| {
        cases.ours_only("graceful", REASON, || {
            let mut connection = server.connect();
            let mark = server.mark();
            let request = server.request("POST", "/reader_ends?all").header("Content-Length", "10");
            connection.send(&request.keep_alive());
            connection.send(b"half ");
            server.wait_log(mark, "reader begins all");
            let mut seen = String::new();
            while !seen.contains("begun ") {
                let more = connection.at_least(1).unwrap_or_else(|error| panic!("{error}: {seen}"));
                seen += &String::from_utf8_lossy(&more);
            }
            // A signal reaches the thread that waits for the body.
            server.graceful();
            connection.send(b"other");
            while !seen.contains("read 10") {
                let more = connection.at_least(1).unwrap_or_else(|error| panic!("{error}: {seen}"));
                seen += &String::from_utf8_lossy(&more);
            }
        });
    });
}

fn a_client_that_sends_nothing_is_given_up_by_a_thread_that_reads(setup: Setup) {
    serving(setup).conf("Timeout 2").run(|server, cases| {
        cases.ours_only("an error after Timeout", REASON, || {
            let mut connection = server.connect();
            let request = server.request("POST", "/reader_ends?all").header("Content-Length", "100");
            connection.send(&request.keep_alive());
            let response = connection.response("POST").unwrap_or_else(|error| panic!("{error}"));
            assert!(response.text().contains("OSError"), "{}", response.text());
        });
    });
}

fn the_directions_are_independent_over_tls_and_http_2(setup: Setup) {
    let protocols = if setup.mpm().threaded() { "Protocols h2 http/1.1" } else { "Protocols http/1.1" };
    let modules: &[&str] = if setup.mpm().threaded() { &["http2"] } else { &[] };
    let versions: &[&str] = if setup.mpm().threaded() { &["--http2", "--http1.1"] } else { &["--http1.1"] };
    let setup = serving(setup).tls().modules(modules).conf(protocols);
    setup.conf("Timeout 100\nWSGIChunkedRequest On").children(4).run(|server, cases| {
        for version in versions {
            cases.ours_only(&format!("{version}: an answer"), REASON, || {
                // It would take minutes to send the body.
                server.write("upload", vec![b'x'; 200_000]);
                let data = format!("@{}", server.path("upload").display());
                let url = format!("https://localhost:{}/reader_stays?list", server.tls_port());
                let slowly = ["--limit-rate", "1000", "--max-time", "10", "--no-buffer"];
                let arguments = ["--insecure", version, "--data-binary", &data, &url];
                // How it ends is of no interest: the rest of the body is not wanted. Over HTTP/2
                // curl may hear of that before it has read the answer, which it then forgets, also
                // if the answer is a static file.
                let is_answered = (0..10).any(|_| {
                    let output = curl(slowly.into_iter().chain(arguments));
                    output.stdout == b"answer"
                });
                assert!(is_answered);
            });
            cases.ours_only(&format!("{version}: a body"), REASON, || {
                let body = "for i in 1 2 3 4 5; do printf '0123456789'; sleep 0.05; done";
                let text = slow_upload(server, version, "/reader_ends?blocks", body);
                assert_eq!(text, "begun read 50");
            });
        }
    });
}

/// Returns what curl gets for a body that a shell command writes, without waiting for that command.
#[track_caller]
fn slow_upload(server: &Server, version: &str, target: &str, body: &str) -> String {
    let url = format!("https://localhost:{}{target}", server.tls_port());
    let script = format!(
        "mkfifo {{fifo}} && {{ ( {body} ) > {{fifo}} & }} && curl --silent --show-error --insecure --noproxy '*' --max-time 25 \
         {version} --no-buffer --expect100-timeout 0.1 --upload-file - '{url}' < {{fifo}}; kill $! 2>/dev/null; exit 0"
    );
    let fifo = server.path(&format!("fifo{version}{}", target.len()));
    let output = std::process::Command::new("/bin/sh")
        .args(["-c", &script.replace("{fifo}", &fifo.display().to_string())])
        .output()
        .unwrap_or_else(|error| panic!("/bin/sh: {error}"));
    assert!(output.status.success());
    String::from_utf8_lossy(&output.stdout).into_owned()
}
