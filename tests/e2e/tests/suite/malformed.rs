//! Requests that no well-behaved client sends.

use e2e::{Ending, Mode, Setup, Test, on_each_mpm, on_one_mpm};

use crate::ECHO;

pub(crate) const TESTS: &[Test] = &[
    on_each_mpm!(malformed_requests_do_no_harm),
    on_each_mpm!(unusual_requests_are_served),
    on_each_mpm!(the_wsgi_validator_finds_no_fault),
    on_one_mpm!(slow_clients_get_the_whole_response),
];

fn malformed_requests_do_no_harm(setup: Setup) {
    setup.app("/", "app.wsgi", ECHO).run(|server, cases| {
        let long = "x".repeat(9000);
        let rows: &[(&str, Vec<u8>, &[u16])] = &[
            ("nonsense", b"nonsense\r\n\r\n".to_vec(), &[400]),
            ("binary", b"\x16\x03\x01\x02\0\x01\0\x01\xfc\r\n\r\n".to_vec(), &[400]),
            ("no host", b"GET / HTTP/1.1\r\n\r\n".to_vec(), &[400]),
            ("NUL in the path", b"GET /a%00b HTTP/1.1\r\nHost: x\r\n\r\n".to_vec(), &[400, 404]),
            ("raw NUL in the path", b"GET /a\0b HTTP/1.1\r\nHost: x\r\n\r\n".to_vec(), &[400]),
            ("NUL in a header", b"GET / HTTP/1.1\r\nHost: x\r\nX-A: a\0b\r\n\r\n".to_vec(), &[400]),
            ("control character", b"GET / HTTP/1.1\r\nHost: x\r\nX-A: a\x01b\r\n\r\n".to_vec(), &[400]),
            ("no colon", b"GET / HTTP/1.1\r\nHost: x\r\nX-A\r\n\r\n".to_vec(), &[400]),
            ("space before colon", b"GET / HTTP/1.1\r\nHost: x\r\nX-A : b\r\n\r\n".to_vec(), &[400]),
            ("folded header", b"GET / HTTP/1.1\r\n Host: x\r\n\r\n".to_vec(), &[400]),
            ("encoded slash", b"GET /a%2Fb HTTP/1.1\r\nHost: x\r\n\r\n".to_vec(), &[404]),
            ("bad escape", b"GET /a%zz HTTP/1.1\r\nHost: x\r\n\r\n".to_vec(), &[400]),
            ("above the root", b"GET /../../etc/passwd HTTP/1.1\r\nHost: x\r\n\r\n".to_vec(), &[400, 200]),
            (
                "gigantic header",
                format!("GET / HTTP/1.1\r\nHost: x\r\nX-A: {long}\r\n\r\n").into_bytes(),
                &[400],
            ),
            ("gigantic target", format!("GET /{long} HTTP/1.1\r\nHost: x\r\n\r\n").into_bytes(), &[414]),
            (
                "too many headers",
                format!("GET / HTTP/1.1\r\nHost: x\r\n{}\r\n", "X-A: b\r\n".repeat(101)).into_bytes(),
                &[400],
            ),
            ("bad host", b"GET / HTTP/1.1\r\nHost: a b\r\n\r\n".to_vec(), &[400]),
            ("two hosts", b"GET / HTTP/1.1\r\nHost: a\r\nHost: b\r\n\r\n".to_vec(), &[400]),
        ];
        for (name, bytes, statuses) in rows {
            cases.check(name, || {
                let mut connection = server.connect();
                connection.send(bytes);
                let Ok(response) = connection.response("GET") else { panic!("no response") };
                assert!(statuses.contains(&response.status), "{}", response.status);
            });
        }
        cases.check("nothing at all", || {
            let connection = server.connect();
            connection.finish_sending();
            drop(connection);
        });
        cases.check("half a request", || {
            let mut connection = server.connect();
            connection.send(b"GET / HTT");
            connection.finish_sending();
            assert!(connection.rest().is_ok());
        });
        cases.check("the processes are unharmed", || {
            assert_eq!(server.get("/").status, 200);
            let log = server.log_tail();
            assert!(!log.contains("exit signal") && !log.contains("panicked"), "{log}");
        });
    });
}

fn unusual_requests_are_served(setup: Setup) {
    setup.app("/", "app.wsgi", ECHO).conf("LimitRequestFieldSize 2000000\nLimitRequestFields 2000").run(
        |server, cases| {
            cases.check("a gigantic header that is allowed", || {
                let value = "v".repeat(1_000_000);
                let response = server.request("GET", "/").header("X-Big", &value).send();
                assert!(response.value("HTTP_X_BIG") == Some(format!("'{value}'")), "the value differs");
            });
            let reason = "it has no limit, and takes whatever Apache does";
            let check = || {
                let mark = server.mark();
                // More than 16 MB.
                let value = "v".repeat(1_900_000);
                let request = server.request("GET", "/");
                let request = (0..9).fold(request, |request, i| request.header(&format!("X-{i}"), &value));
                let response = request.send();
                if server.mode() == Mode::Embedded {
                    assert_eq!(response.status, 200);
                } else {
                    assert_eq!(response.status, 502);
                    server.wait_log(mark, "WSGI0125");
                }
            };
            cases.deviates_in(Mode::Daemon, "more headers than fit into a message", reason, check);
            cases.check("many headers", || {
                let request = server.request("GET", "/");
                let request = (0..1500).fold(request, |request, i| request.header(&format!("X-{i}"), "v"));
                let response = request.send();
                assert_eq!(response.value("HTTP_X_0").as_deref(), Some("'v'"));
                assert_eq!(response.value("HTTP_X_1499").as_deref(), Some("'v'"));
            });
            cases.check("a long query", || {
                let query = "q".repeat(7000);
                let response = server.get(&format!("/?{query}"));
                assert!(response.value("QUERY_STRING") == Some(format!("'{query}'")), "it differs");
            });
            for method in ["PUT", "DELETE", "PATCH", "OPTIONS", "PROPFIND", "BREW", "get"] {
                cases.check(method, || {
                    let response = server.request(method, "/").send();
                    assert_eq!(response.value("REQUEST_METHOD"), Some(format!("'{method}'")));
                });
            }
            cases.check("pipelined requests", || {
                let mut connection = server.connect();
                let requests: Vec<u8> =
                    (0..50).flat_map(|i| server.request("GET", &format!("/{i}")).keep_alive()).collect();
                connection.send(&requests);
                for i in 0..50 {
                    let Ok(response) = connection.response("GET") else { panic!("response {i} is missing") };
                    assert_eq!(response.value("PATH_INFO"), Some(format!("'/{i}'")));
                }
            });
            cases.check("a half-closed connection", || {
                let mut connection = server.connect();
                connection.send(&server.request("GET", "/half").keep_alive());
                connection.finish_sending();
                let Ok(response) = connection.response("GET") else { panic!("no response") };
                assert_eq!((response.status, response.ending), (200, Ending::Framed));
            });
            cases.check("HTTP/1.0", || {
                let mut connection = server.connect();
                connection.send(b"GET /x HTTP/1.0\r\n\r\n");
                let Ok(response) = connection.response("GET") else { panic!("no response") };
                assert_eq!(response.value("SERVER_PROTOCOL").as_deref(), Some("'HTTP/1.0'"));
                assert_eq!(response.value("HTTP_HOST"), None);
            });
            cases.check("an absolute target", || {
                let response = server.request("GET", "http://other.example/path?q").send();
                assert_eq!(response.value("PATH_INFO").as_deref(), Some("'/path'"));
                assert_eq!(response.value("REQUEST_URI").as_deref(), Some("'http://other.example/path?q'"));
            });
        },
    );
}

fn the_wsgi_validator_finds_no_fault(setup: Setup) {
    let app = "from wsgiref.validate import validator\n\n\n\
               def inner(environ, start_response):\n    \
               body = environ['wsgi.input'].read(4) + environ['wsgi.input'].readline() + environ['wsgi.input'].read(-1)\n    \
               environ['wsgi.errors'].write('validated\\n')\n    environ['wsgi.errors'].flush()\n    \
               write = start_response('200 OK', [('Content-Type', 'text/plain')])\n    write(b'written ')\n    \
               return [b'echo ', body]\n\n\napplication = validator(inner)\n";
    setup.app("/", "app.wsgi", app).run(|server, cases| {
        for (method, body) in [("GET", ""), ("POST", "some\nlines\nhere"), ("PUT", "x")] {
            cases.check(method, || {
                let mark = server.mark();
                let request = server.request(method, "/path?query").header("X-Some", "header");
                let response = if body.is_empty() { request.send() } else { request.body(body).send() };
                assert_eq!(response.expect(200), format!("written echo {body}"));
                let log = server.wait_log(mark, "validated");
                assert!(!log.contains("AssertionError") && !log.contains("Warning"), "{log}");
            });
        }
    });
}

fn slow_clients_get_the_whole_response(setup: Setup) {
    let app = "def application(e, s):\n    s('200 OK', [])\n    for i in range(200):\n        yield b'%06d\\n' % i * 1000\n";
    setup.app("/", "app.wsgi", app).run(|server, cases| {
        cases.check("several that read by turns", || {
            let mut connections: Vec<_> = (0..4).map(|_| server.connect()).collect();
            for connection in &mut connections {
                connection.send(&server.request("GET", "/").keep_alive());
            }
            for connection in &mut connections {
                let Ok(response) = connection.response("GET") else { panic!("no response") };
                assert_eq!((response.body.len(), response.ending), (200 * 7000, Ending::Framed));
                assert!(response.body.ends_with(b"000199\n"));
            }
        });
    });
}
