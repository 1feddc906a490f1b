//! Responses on their way, where daemon mode differs.

use e2e::Needs::Daemon;
use e2e::{Ending, Setup, Test, on_each_mpm, on_one_mpm};

pub(crate) const TESTS: &[Test] = &[
    on_each_mpm!(a_location_is_a_redirect_inside, Daemon),
    on_one_mpm!(a_redirect_inside_leaves_nothing_of_the_body_behind, Daemon),
    on_each_mpm!(error_override_replaces_pages_of_the_application, Daemon),
    on_one_mpm!(header_buffer_size_bounds_headers, Daemon),
];

const APP: &str = r#"
def application(environ, start_response):
    path, query = environ["PATH_INFO"], environ["QUERY_STRING"]
    if path == "/to":
        start_response("200 OK", [("Location", query), ("Content-Type", "text/plain"), ("X-App", "yes")])
        return [b"not shown"]
    if path == "/body":
        length = len(environ["wsgi.input"].read())
        start_response("200 OK", [("Content-Type", "text/plain")])
        return [f"{query} {length}".encode()]
    if path == "/created":
        start_response("201 Created", [("Location", query)])
        return [b"created"]
    if path == "/target":
        lines = [environ["REQUEST_METHOD"], query, environ.get("CONTENT_LENGTH") or "none",
                 environ.get("REDIRECT_STATUS", "none")]
        start_response("200 OK", [("Content-Type", "text/plain")])
        return [" ".join(lines).encode()]
    if path == "/status":
        start_response(query.replace("+", " "), [("WWW-Authenticate", "Basic realm=app"), ("Set-Cookie", "a=1"),
                                                 ("X-App", "yes")])
        return [b"of the application"]
    if path == "/long":
        start_response("200 OK", [("X-Long", "x" * int(query))])
        return [b"long"]
    if path == "/many":
        start_response("200 OK", [(f"X-{number}", "x" * 1000) for number in range(int(query))])
        return [b"many"]
    start_response("200 OK", [])
    return [b"?"]
"#;

fn a_location_is_a_redirect_inside(setup: Setup) {
    setup
        .app("/", "app.wsgi", APP)
        .file("htdocs/page.txt", "a page\n")
        .conf("WSGIApplicationGroup %{GLOBAL}")
        .run(|server, cases| {
            cases.check("as GET, without a body", || {
                let response = server.request("POST", "/to?/target?a=b").body("some body").send();
                assert_eq!(response.expect(200), "GET a=b none 200");
                assert_eq!((response.header("X-App"), response.header("Location")), (None, None));
            });
            cases.check("the connection is good for another request", || {
                let mut connection = server.connect();
                let mut requests = server.request("POST", "/to?/target?1").body("body").keep_alive();
                requests.extend(server.request("GET", "/target?2").keep_alive());
                connection.send(&requests);
                for expected in ["GET 1 none 200", "GET 2 none none"] {
                    let response = connection.response("GET").unwrap_or_else(|error| panic!("{error}"));
                    assert_eq!(response.text(), expected);
                }
            });
            cases.check("not elsewhere", || {
                for target in ["/to?http://other.example/", "/to?relative"] {
                    let response = server.get(target);
                    assert_eq!(response.expect(200), "not shown");
                    assert_eq!(response.header("X-App"), Some("yes"));
                }
            });
            cases.check("not with another status", || {
                let response = server.get("/created?/target");
                assert_eq!(response.expect(201), "created");
                assert!(response.header("Location").is_some());
            });
        });
}

fn a_redirect_inside_leaves_nothing_of_the_body_behind(setup: Setup) {
    // (With an input filter none of it is read before the application is called.)
    setup
        .app("/", "app.wsgi", APP)
        .modules(&["deflate"])
        .conf("WSGIApplicationGroup %{GLOBAL}\nWSGIChunkedRequest On\nTimeout 10")
        .conf("<If \"%{QUERY_STRING} =~ /filtered/\">\nSetInputFilter DEFLATE\n</If>")
        .run(|server, cases| {
            let hidden = "GET /body?hidden HTTP/1.1\r\nHost: localhost\r\n\r\n";
            for (length, name) in [(0, "short"), (200_000, "long")] {
                let body = [hidden.as_bytes(), &vec![b'x'; length]].concat();
                for query in ["plain", "filtered"] {
                    for framing in ["length", "chunked"] {
                        cases.check(&format!("a {name} body, {query}, {framing}"), || {
                            let mut connection = server.connect();
                            let request = server.request("POST", &format!("/to?/body?{query}"));
                            let next = server.request("POST", "/body?next").body("next").keep_alive();
                            let head = match framing {
                                "length" => request.header("Content-Length", body.len().to_string()),
                                _ => request.header("Transfer-Encoding", "chunked"),
                            };
                            connection.send(&head.keep_alive());
                            if framing == "chunked" {
                                connection.send(format!("{:x}\r\n", body.len()).as_bytes());
                                connection.send(&[&body[..], b"\r\n0\r\n\r\n", &next].concat());
                            } else {
                                connection.send(&[&body[..], &next].concat());
                            }
                            for expected in [format!("{query} 0"), "next 4".to_owned()] {
                                let response =
                                    connection.response("POST").unwrap_or_else(|error| panic!("{error}"));
                                assert_eq!(response.expect(200), expected);
                            }
                        });
                    }
                }
            }
            cases.ours_only("a client that waits for 100 Continue", "it reads the body first", || {
                let mut connection = server.connect();
                let request = server.request("POST", "/to?/body?filtered").header("Content-Length", "100000");
                connection.send(&request.header("Expect", "100-continue").keep_alive());
                let response = connection.response("POST").unwrap_or_else(|error| panic!("{error}"));
                assert_eq!(response.expect(200), "filtered 0");
                assert_eq!(response.header("Connection"), Some("close"));
            });
        });
}

fn error_override_replaces_pages_of_the_application(setup: Setup) {
    setup
        .app("/", "app.wsgi", APP)
        .conf("WSGIErrorOverride On\nErrorDocument 503 \"our own words\"\nWSGIApplicationGroup %{GLOBAL}")
        .run(|server, cases| {
            for (status, reason, page) in [
                (404, "Not Found", "Not Found"),
                (500, "Internal Server Error", "Internal Server Error"),
                (503, "Service Unavailable", "our own words"),
            ] {
                cases.check(reason, || {
                    let response = server.get(&format!("/status?{status}+Mine"));
                    let text = response.expect(status);
                    assert!(text.contains(page) && !text.contains("of the application"), "{text}");
                    assert_eq!(response.reason, reason);
                    assert_eq!((response.header("X-App"), response.header("Set-Cookie")), (None, None));
                    assert_eq!(response.ending, Ending::Framed);
                });
            }
            cases.check("401 keeps what the client has to know", || {
                let response = server.get("/status?401+Mine");
                assert_eq!(response.status, 401);
                assert_eq!(response.header("WWW-Authenticate"), Some("Basic realm=app"));
            });
            cases.check("others are not touched", || {
                let response = server.get("/status?302+Mine");
                assert_eq!(response.expect(302), "of the application");
                assert_eq!(response.header("X-App"), Some("yes"));
            });
        });
}

fn header_buffer_size_bounds_headers(setup: Setup) {
    setup
        .group("header-buffer-size=10000")
        .app("/", "app.wsgi", APP)
        .conf("WSGIApplicationGroup %{GLOBAL}")
        .run(|server, cases| {
            // Name, colon and blank count, too.
            cases.check("as long as may be", || {
                let response = server.get("/long?9990");
                assert_eq!(response.header("X-Long").map(str::len), Some(9990));
            });
            cases.check("one longer", || {
                let mark = server.mark();
                assert_eq!(server.get("/long?9991").status, 500);
                server.wait_log(mark, "WSGI0144");
            });
            cases.check("many", || {
                let response = server.get("/many?80");
                assert_eq!((response.status, response.header("X-79").map(str::len)), (200, Some(1000)));
            });
        });
}
