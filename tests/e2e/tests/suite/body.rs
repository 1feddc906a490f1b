//! Response bodies: iteration, write, close, Content-Length.

use e2e::Needs::OneProcess;
use e2e::{Cases, Ending, Mpm, Server, Setup, Test, on_each_mpm, on_one_mpm, wait_until};

pub(crate) const TESTS: &[Test] = &[
    on_each_mpm!(every_kind_of_iterable_is_sent),
    on_each_mpm!(blocks_are_sent_as_they_come),
    on_each_mpm!(a_declared_length_is_kept),
    on_one_mpm!(close_is_called_once, OneProcess),
    on_each_mpm!(a_thread_that_still_writes_does_not_reach_the_next_response),
];

const APP: &str = include_str!("../../apps/body.wsgi");

fn every_kind_of_iterable_is_sent(setup: Setup) {
    setup.app("/", "app.wsgi", APP).run(|server, cases| {
        for (target, body) in [
            ("/one", "one"),
            ("/many", "abc"),
            ("/generator", "ab"),
            ("/late", "late"),
            ("/legacy", "abc"),
            ("/subclass", "sub"),
            ("/written", "w1 w2 returned"),
        ] {
            cases.check(target, || {
                let mut connection = server.connect();
                connection.send(&server.request("GET", target).keep_alive());
                let Ok(response) = connection.response("GET") else { panic!("no response") };
                assert_eq!(response.expect(200), body);
                assert_eq!(response.ending, Ending::Framed);
                // A length is never made up: that would be wrong for HEAD.
                assert_eq!(response.header("Content-Length"), None);
                assert_eq!(response.header("Transfer-Encoding"), Some("chunked"));
                // The connection is good for another request.
                connection.send(&server.request("GET", "/one").keep_alive());
                assert_eq!(connection.response("GET").map(|again| again.text()).ok(), Some("one".into()));
            });
        }
        for target in ["/empty", "/empty_blocks"] {
            cases.check(target, || {
                let response = server.get(target);
                assert_eq!(response.expect(200), "");
                assert_eq!(response.header("Content-Type"), Some("text/plain"));
            });
        }
        cases.check("/large", || {
            let response = server.get("/large");
            assert_eq!(response.status, 200);
            assert_eq!(response.body.len(), 8 << 20);
            assert_eq!(response.ending, Ending::Framed);
            assert!(response.body.chunks(16).all(|block| block == b"0123456789abcdef"));
        });
        cases.check("HTTP/1.0", || {
            let mut connection = server.connect();
            connection.send(b"GET /many HTTP/1.0\r\n\r\n");
            let Ok(response) = connection.response("GET") else { panic!("no response") };
            assert_eq!((response.text().as_str(), response.ending), ("abc", Ending::Closed));
        });
    });
}

fn blocks_are_sent_as_they_come(setup: Setup) {
    setup.app("/", "app.wsgi", APP).conf("SetEnv test.gate @ROOT@/htdocs/gate").run(|server, cases| {
        cases.check("the first block before the second", || {
            let mut connection = server.connect();
            connection.send(&server.request("GET", "/flushed_by_file").keep_alive());
            let mut seen = Vec::new();
            while !seen.ends_with(b"first\r\n") {
                let Ok(more) = connection.at_least(1) else { panic!("no first block: {seen:?}") };
                seen.extend(more);
            }
            server.write("htdocs/gate", "");
            while !seen.ends_with(b"second\r\n0\r\n\r\n") {
                let Ok(more) = connection.at_least(1) else { panic!("no second block: {seen:?}") };
                seen.extend(more);
            }
        });
        if server.mpm() != Mpm::Prefork {
            cases.check("another request runs meanwhile", || {
                let mut connection = server.connect();
                connection.send(&server.request("GET", "/flushed?x").keep_alive());
                let Ok(head) = connection.at_least(1) else { panic!("no head") };
                assert!(head.starts_with(b"HTTP/1.1 200"));
                assert_eq!(server.get("/gate?x").expect(200), "one");
                let mut rest = head;
                while !rest.ends_with(b"second\r\n0\r\n\r\n") {
                    let Ok(more) = connection.at_least(1) else { panic!("no end: {rest:?}") };
                    rest.extend(more);
                }
            });
        }
    });
}

fn a_declared_length_is_kept(setup: Setup) {
    setup.app("/", "app.wsgi", APP).run(|server, cases| {
        for (query, declared, sent) in [
            ("5/5", "5", 5),
            ("5/2,3", "5", 5),
            ("5/9", "5", 5),
            ("5/3,3,3", "5", 5),
            ("0/", "0", 0),
            ("0/4", "0", 0),
            ("+4/4", "4", 4),
        ] {
            cases.check(query, || {
                let mut connection = server.connect();
                connection.send(&server.request("GET", &format!("/length?{query}")).keep_alive());
                let Ok(response) = connection.response("GET") else { panic!("no response") };
                assert_eq!(response.expect(200), "x".repeat(sent));
                assert_eq!(response.header("Content-Length").map(str::trim), Some(declared));
                // Nothing of the excess is in the way of the next response.
                connection.send(&server.request("GET", "/one").keep_alive());
                assert_eq!(connection.response("GET").map(|again| again.text()).ok(), Some("one".into()));
            });
        }
        check_several_and_bad_lengths(server, cases);
        check_lengths_without_their_body(server, cases);
    });
}

fn check_lengths_without_their_body(server: &Server, cases: &mut Cases<'_>) {
    cases.check("HEAD keeps it", || {
        let response = server.request("HEAD", "/length?5/5").send();
        assert_eq!((response.status, response.header("Content-Length")), (200, Some("5")));
    });
    cases.ours_only("HEAD keeps it, whatever there is of the body", "a length of what is there", || {
        for query in ["5/3", "5/", "5/9"] {
            let response = server.request("HEAD", &format!("/length?{query}")).send();
            assert_eq!((response.status, response.header("Content-Length")), (200, Some("5")));
        }
    });
    cases.deviates(
        "too few bytes close the connection",
        "W11: a body shorter than its Content-Length leaves the connection open",
        || {
            let (mark, mut connection) = (server.mark(), server.connect());
            // Pipelined: the next response must not be taken for the rest of the body.
            let mut requests = server.request("GET", "/length?50/3").keep_alive();
            requests.extend(server.request("GET", "/one").keep_alive());
            connection.send(&requests);
            let Ok(response) = connection.response("GET") else { panic!("no response") };
            assert_eq!(response.ending, Ending::Truncated);
            assert_eq!(response.text(), "xxx");
            server.wait_log(mark, "has sent 3 of the 50 bytes");
        },
    );
}

fn check_several_and_bad_lengths(server: &Server, cases: &mut Cases<'_>) {
    cases.check("one that is said twice", || {
        let response = server.get("/lengths?4,4");
        assert_eq!(response.expect(200), "four");
        assert_eq!(response.all("Content-Length"), ["4"]);
    });
    for query in ["99,4", "4,99"] {
        cases.deviates(query, "the last of several lengths counts", || {
            let response = server.get(&format!("/lengths?{query}"));
            assert_eq!(response.expect(200), "start_response raised ValueError");
        });
    }
    cases.deviates("a bad one before a good one", "the last of several lengths counts", || {
        assert_eq!(server.get("/lengths?bad,4").expect(200), "start_response raised ValueError");
    });
    for query in ["abc/1", "-1/1", "5x/5", "1.5/1"] {
        cases.check(query, || {
            let mark = server.mark();
            let response = server.get(&format!("/length?{query}"));
            assert_eq!(response.status, 500);
            assert!(response.text().contains("Internal Server Error"), "{}", response.text());
            server.wait_log(mark, "ValueError");
        });
    }
    cases.deviates("a bad length is an error of start_response", "it is one of write", || {
        assert_eq!(server.get("/lengths?bad").expect(200), "start_response raised ValueError");
    });
    cases.deviates("no body at all", "the client gets an empty response, and waits", || {
        let mark = server.mark();
        assert_eq!(server.get("/length?5/").status, 502);
        let log = server.wait_log(mark, "Content-Length of 5 and has sent no body");
        assert!(log.contains("[wsgi:error]") && log.contains("WSGI1021"), "{log}");
    });
}

fn close_is_called_once(setup: Setup) {
    // Embedded, on one process, so that the application can tell.
    setup.app("/", "app.wsgi", APP).conf("WSGIApplicationGroup %{GLOBAL}").run(|server, cases| {
        let seen = || server.get("/seen").expect(200);
        // The client may have the whole response before close() is called.
        let closed = |name: &str, times: usize| {
            let count = || seen().lines().filter(|line| *line == name).count();
            wait_until(&format!("{name} is closed {times} times"), || (count() >= times).then_some(()));
            assert_eq!(count(), times, "{name}");
        };
        cases.check("at the end", || {
            assert_eq!(server.get("/closing").expect(200), "x");
            closed("closing", 1);
        });
        cases.check("after a failure", || {
            assert_eq!(server.get("/closing_failure").status, 500);
            closed("closing_failure", 1);
        });
        cases.check("with an excess of bytes", || {
            assert_eq!(server.get("/length?2/9,9").expect(200), "xx");
            closed("length", 1);
        });
        cases.check("for HEAD", || {
            assert_eq!(server.request("HEAD", "/closing").send().status, 200);
            closed("closing", 2);
        });
        cases.check("a failure of close is logged, the response is whole", || {
            let mark = server.mark();
            assert_eq!(server.get("/closing_raises").expect(200), "body");
            let log = server.wait_log(mark, "close failed on purpose");
            assert!(log.contains("WSGI0174"), "{log}");
        });
        cases.check("a failure to look close up is logged", || {
            let mark = server.mark();
            assert_eq!(server.get("/closing_lookup_raises").expect(200), "body");
            let log = server.wait_log(mark, "close cannot be looked up");
            assert!(log.contains("WSGI0194"), "{log}");
        });
        check_close_after_a_disconnect(server, cases, &closed);
    });
}

fn check_close_after_a_disconnect(server: &Server, cases: &mut Cases<'_>, closed: &dyn Fn(&str, usize)) {
    cases.check("when the client goes away", || {
        let mark = server.mark();
        let mut connection = server.connect();
        connection.send(&server.request("GET", "/endless").keep_alive());
        assert!(connection.at_least(1 << 20).is_ok());
        drop(connection);
        closed("endless", 1);
        assert!(!server.log_since(mark).contains("Traceback"), "a disconnect is no failure");
    });
    cases.ours_only("when a client goes away that gets none of it", "it never ends", || {
        for (method, name, times) in [("HEAD", "endless", 2), ("GET", "endless_excess", 1)] {
            let mut connection = server.connect();
            connection.send(&server.request(method, &format!("/{name}")).keep_alive());
            closed(&format!("{name} begins"), times);
            connection.reset();
            closed(name, times);
        }
    });
    cases.check("write raises OSError when the client goes away", || {
        let mut connection = server.connect();
        connection.send(&server.request("GET", "/endless_write").keep_alive());
        assert!(connection.at_least(1 << 20).is_ok());
        drop(connection);
        closed("endless_write OSError", 1);
    });
}

fn a_thread_that_still_writes_does_not_reach_the_next_response(setup: Setup) {
    setup.app("/", "app.wsgi", APP).run(|server, cases| {
        cases.ours_only("list", "what a thread writes may follow the end of the response", || {
            for _ in 0..100 {
                let mut connection = server.connect();
                connection.send(&server.request("GET", "/writers_stay").keep_alive());
                let response = connection.response("GET").unwrap_or_else(|error| panic!("{error}"));
                assert_eq!((response.status, response.ending), (200, Ending::Framed));
                assert!(response.body.ends_with(b"end"));
                connection.send(&server.request("GET", "/one").keep_alive());
                let next = connection.response("GET").unwrap_or_else(|error| panic!("{error}"));
                assert_eq!(next.expect(200), "one");
            }
        });
    });
}
