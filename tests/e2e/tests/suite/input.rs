//! wsgi.input.

use e2e::Needs::OneProcess;
use e2e::{Cases, Ending, Mode, Server, Setup, Test, on_each_mpm, on_one_mpm};

pub(crate) const TESTS: &[Test] = &[
    on_one_mpm!(the_input_has_every_method),
    on_each_mpm!(bodies_arrive_whole),
    on_one_mpm!(bad_bodies_are_refused),
    on_each_mpm!(continue_is_said_when_the_application_reads),
    on_each_mpm!(an_answer_may_come_before_the_upload),
    on_each_mpm!(reading_fails_when_the_client_goes_away),
    on_one_mpm!(the_input_is_dead_after_the_request, OneProcess),
];

const APP: &str = include_str!("../../apps/input.wsgi");

fn the_input_has_every_method(setup: Setup) {
    setup.app("/", "app.wsgi", APP).run(|server, cases| {
        let body = "abcdefgh\nijklmn\nop\nq\nr\nstu\nvw\nx";
        let response = server.request("POST", "/methods").body(body).send();
        for (name, value) in [
            ("type", "Input"),
            ("read-none", "TypeError"),
            ("read-float", "TypeError"),
            ("read-keyword", "TypeError"),
            ("read-two", "TypeError"),
            ("fileno", "AttributeError"),
            ("with", "AttributeError"),
            ("read-0", "b''"),
            ("read-2", "b'ab'"),
            ("read-index", "b'cde'"),
            ("readline", "b'fgh\\n'"),
            ("readline-0", "b''"),
            ("readline-2", "b'ij'"),
            ("readline-99", "b'klmn\\n'"),
            ("readline-negative", "b'op\\n'"),
            ("readlines-hint", "[b'q\\n', b'r\\n']"),
            ("iter", "True"),
            ("next", "b'stu\\n'"),
            ("close", "None"),
            ("readlines", "[b'vw\\n', b'x']"),
            ("end-read", "b''"),
            ("end-read-5", "b''"),
            ("end-readline", "b''"),
            ("end-readlines", "[]"),
            ("end-next", "StopIteration"),
        ] {
            cases.check(name, || assert_eq!(response.value(name).as_deref(), Some(value)));
        }
    });
}

fn bodies_arrive_whole(setup: Setup) {
    setup.app("/", "app.wsgi", APP).conf("WSGIChunkedRequest On").run(|server, cases| {
        // Lines of every length from 1 to 700, some of them across the blocks in which data
        // arrives.
        let body: Vec<u8> =
            (1..=700).flat_map(|length| [vec![b'x'; length - 1], vec![b'\n']].concat()).collect();
        let length = body.len().to_string();
        let md5 = "374eab172e04f135d999a0415b972fa6";
        for query in [
            "all",
            "read/1000",
            "read/8192",
            "read/1",
            "readline/50",
            "readline/-1",
            "iterate",
            "lines",
            "read/9999999",
        ] {
            for chunked in [false, true] {
                cases.check(&format!("{query} chunked {chunked}"), || {
                    let request = server.request("POST", &format!("/digest?{query}"));
                    let response = if chunked {
                        let request = request.header("Transfer-Encoding", "chunked");
                        let mut connection = server.connect();
                        connection.send(&request.keep_alive());
                        for chunk in body.chunks(7001) {
                            connection.send(format!("{:x}\r\n", chunk.len()).as_bytes());
                            connection.send(chunk);
                            connection.send(b"\r\n");
                        }
                        connection.send(b"0\r\n\r\n");
                        connection.response("POST").unwrap_or_else(|error| panic!("{error}"))
                    } else {
                        request.body(&body).send()
                    };
                    assert_eq!(response.value("count").as_deref(), Some(length.as_str()));
                    assert_eq!(response.value("md5").as_deref(), Some(md5));
                    assert_eq!(response.value("exact").as_deref(), Some("True"));
                    let (declared, coding) = if chunked {
                        ("None".to_owned(), "'chunked'")
                    } else {
                        (format!("'{length}'"), "None")
                    };
                    assert_eq!(response.value("CONTENT_LENGTH"), Some(declared));
                    assert_eq!(response.value("HTTP_TRANSFER_ENCODING").as_deref(), Some(coding));
                });
            }
        }
        check_bodies_of_one_connection(server, cases);
    });
}

fn check_bodies_of_one_connection(server: &Server, cases: &mut Cases<'_>) {
    cases.check("nothing is read past the body", || {
        let mut connection = server.connect();
        let mut requests = server.request("POST", "/echo").body("first").keep_alive();
        requests.extend(server.request("POST", "/echo").body("second").keep_alive());
        requests.extend(server.request("GET", "/echo").keep_alive());
        connection.send(&requests);
        for expected in ["first", "second", ""] {
            assert_eq!(connection.response("POST").map(|one| one.text()).ok().as_deref(), Some(expected));
        }
    });
    cases.check("a body that comes slowly", || {
        let mut connection = server.connect();
        let request = server.request("POST", "/echo").header("Content-Length", "6").keep_alive();
        connection.send(&request);
        for byte in b"slowly" {
            connection.send(&[*byte]);
        }
        assert_eq!(connection.response("POST").map(|one| one.text()).ok().as_deref(), Some("slowly"));
    });
    cases.check("an unread body is not taken for a request", || {
        let mut connection = server.connect();
        let mut requests = server.request("POST", "/ignore").body("GET /evil HTTP/1.1\r\n\r\n").keep_alive();
        requests.extend(server.request("GET", "/echo").keep_alive());
        connection.send(&requests);
        assert_eq!(connection.response("POST").map(|one| one.text()).ok().as_deref(), Some("ignored"));
        assert_eq!(connection.response("GET").map(|one| one.status).ok(), Some(200));
    });
}

fn bad_bodies_are_refused(setup: Setup) {
    setup
        .app("/", "app.wsgi", APP)
        .conf(
            "<Location /digest>\nLimitRequestBody 100\nWSGIChunkedRequest On\n</Location>\n\
             <Location /propagate>\nLimitRequestBody 100\nWSGIChunkedRequest On\n</Location>",
        )
        .run(|server, cases| {
            for (name, head, status) in [
                (
                    "chunked is off",
                    "POST /echo HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
                    411,
                ),
                ("no number", "POST /echo HTTP/1.1\r\nHost: x\r\nContent-Length: abc\r\n\r\n", 400),
                ("negative", "POST /echo HTTP/1.1\r\nHost: x\r\nContent-Length: -5\r\n\r\n", 400),
                (
                    "too big",
                    "POST /echo HTTP/1.1\r\nHost: x\r\nContent-Length: 99999999999999999999\r\n\r\n",
                    400,
                ),
                (
                    "two lengths",
                    "POST /echo HTTP/1.1\r\nHost: x\r\nContent-Length: 1\r\nContent-Length: 2\r\n\r\nab",
                    400,
                ),
                (
                    "over the limit",
                    "POST /digest?all HTTP/1.1\r\nHost: x\r\nContent-Length: 101\r\n\r\n",
                    413,
                ),
                (
                    "bad chunk",
                    "POST /propagate HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\nzz\r\n",
                    400,
                ),
            ] {
                cases.check(name, || {
                    let mut connection = server.connect();
                    connection.send(head.as_bytes());
                    connection.finish_sending();
                    assert_eq!(connection.response("POST").map(|one| one.status).ok(), Some(status));
                });
            }
            check_codings_and_limits(server, cases);
        });
}

fn check_codings_and_limits(server: &Server, cases: &mut Cases<'_>) {
    cases.check("other codings", || {
        let request = server.request("POST", "/echo").header("Transfer-Encoding", "gzip");
        let status = request.send().status;
        assert!(matches!(status, 400 | 501), "{status}");
    });
    cases.check("chunks over the limit", || {
        let mut connection = server.connect();
        let request = server.request("POST", "/propagate").header("Transfer-Encoding", "chunked");
        connection.send(&request.keep_alive());
        connection.send(format!("c8\r\n{}\r\n0\r\n\r\n", "x".repeat(200)).as_bytes());
        assert_eq!(connection.response("POST").map(|one| one.status).ok(), Some(413));
    });
    cases.check("exactly the limit", || {
        let response = server.request("POST", "/digest?all").body("x".repeat(100)).send();
        assert_eq!(response.value("count").as_deref(), Some("100"));
    });
}

const EAGER: &str = "in daemon mode 100 Continue is sent to every client that waits for it";

fn continue_is_said_when_the_application_reads(setup: Setup) {
    setup.app("/", "app.wsgi", APP).run(|server, cases| {
        cases.check("it reads", || {
            let mut connection = send_expecting_continue(server, "/echo");
            let Ok(interim) = connection.at_least(25) else { panic!("no interim response") };
            assert_eq!(interim, b"HTTP/1.1 100 Continue\r\n\r\n");
            connection.send(b"body!");
            assert_eq!(connection.response("POST").map(|one| one.text()).ok().as_deref(), Some("body!"));
        });
        cases.deviates_in(Mode::Daemon, "it does not read", EAGER, || {
            let mut connection = send_expecting_continue(server, "/ignore");
            connection.finish_sending();
            let Ok(response) = connection.response("POST") else { panic!("no response") };
            assert_eq!((response.interim.as_slice(), response.text().as_str()), (&[][..], "ignored"));
        });
        cases.deviates_in(Mode::Daemon, "it has answered before it reads", EAGER, || {
            let mut connection = send_expecting_continue(server, "/answer_first");
            connection.send(b"body!");
            let Ok(response) = connection.response("POST") else { panic!("no response") };
            assert_eq!((response.interim.as_slice(), response.text().as_str()), (&[][..], "early then 5"));
        });
    });
}

fn send_expecting_continue(server: &Server, target: &str) -> e2e::Connection {
    let mut connection = server.connect();
    let request =
        server.request("POST", target).header("Expect", "100-continue").header("Content-Length", "5");
    connection.send(&request.keep_alive());
    connection
}

fn an_answer_may_come_before_the_upload(setup: Setup) {
    // An answer that is kept back until Apache gives the upload up comes too late.
    setup.app("/", "app.wsgi", APP).conf("Timeout 100").run(|server, cases| {
        let reason = "W9: in daemon mode no answer is passed on before the whole upload has come";
        for target in ["/ignore", "/answer_first"] {
            if server.mode() == Mode::Daemon && server.target().is_reference() {
                // Each would take as long as the client is patient.
                cases.ours_only(target, reason, || {});
                continue;
            }
            cases.check(target, || {
                let mut connection = server.connect();
                let request = server.request("POST", target).header("Content-Length", "1000000");
                connection.send(&request.keep_alive());
                // Not a byte of the body is sent before the answer begins.
                let Ok(begin) = connection.at_least(1) else { panic!("no answer before the upload") };
                assert!(begin.starts_with(b"HTTP/1.1 200"), "{}", String::from_utf8_lossy(&begin));
                connection.send(&vec![b'x'; 1_000_000]);
                connection.finish_sending();
                let Ok(rest) = connection.rest() else { panic!("the connection stays open") };
                let text = String::from_utf8_lossy(&[begin, rest].concat()).into_owned();
                let last = if target == "/ignore" { "ignored" } else { "then 1000000" };
                assert!(text.contains(last) && text.ends_with("0\r\n\r\n"), "{text}");
            });
        }
    });
}

fn reading_fails_when_the_client_goes_away(setup: Setup) {
    setup.app("/", "app.wsgi", APP).run(|server, cases| {
        let cut_off = |target: &str| {
            let mut connection = server.connect();
            let request = server.request("POST", target).header("Content-Length", "100").keep_alive();
            connection.send(&request);
            connection.send(b"only this");
            connection.finish_sending();
            connection
        };
        // While a request waits for its process, it is dropped with its client.
        assert_eq!(server.request("POST", "/echo").body("ready").send().expect(200), "ready");
        cases.check("reading raises OSError, again and again", || {
            let mark = server.mark();
            drop(cut_off("/failing"));
            let log = server.wait_log(mark, "first OSError second OSError line OSError");
            if server.mode() == Mode::Daemon {
                server.wait_log(mark, "WSGI0126: ");
            } else {
                assert!(!log.contains("WSGI0126"), "{log}");
            }
        });
        cases.check("a failure that is not handled is logged", || {
            let mark = server.mark();
            drop(cut_off("/propagate"));
            server.wait_log(mark, "OSError");
        });
        cases.check("the connection is not kept", || {
            let mut connection = cut_off("/failing");
            let Ok(response) = connection.response("POST") else { return };
            assert_ne!(response.ending, Ending::Truncated);
            assert!(connection.rest().is_ok_and(|rest| rest.is_empty()));
        });
        cases.check("others are served", || {
            assert_eq!(server.request("POST", "/echo").body("fine").send().expect(200), "fine");
        });
    });
}

fn the_input_is_dead_after_the_request(setup: Setup) {
    setup.app("/", "app.wsgi", APP).run(|server, cases| {
        assert_eq!(server.request("POST", "/keep").body("unread").send().expect(200), "kept");
        let response = server.get("/use");
        for name in ["read", "readline", "readlines", "next", "close"] {
            cases.check(name, || assert_eq!(response.value(name).as_deref(), Some("RuntimeError")));
        }
    });
}
