//! start_response and the write it returns.

use e2e::Needs::OneProcess;
use e2e::{Mode, Setup, Test, on_each_mpm, on_one_mpm};

pub(crate) const TESTS: &[Test] = &[
    on_one_mpm!(every_argument_is_checked),
    on_one_mpm!(exceptions_have_the_texts_that_others_look_for),
    on_one_mpm!(write_takes_bytes_only),
    on_each_mpm!(the_last_call_before_the_body_wins),
    on_one_mpm!(start_response_is_dead_after_the_request, OneProcess),
    on_each_mpm!(headers_reach_the_client),
    on_one_mpm!(status_lines_reach_the_client),
];

const APP: &str = include_str!("../../apps/start_response.wsgi");

/// Arguments of `start_response`, and what it makes of them.
const ARGUMENTS: &[(&str, &str)] = &[
    ("no-arguments", "TypeError"),
    ("one-argument", "TypeError"),
    ("four-arguments", "TypeError"),
    ("keywords", "TypeError"),
    ("headers-tuple", "TypeError"),
    ("headers-none", "TypeError"),
    ("headers-dict", "TypeError"),
    ("headers-subclass", "accepted"),
    ("exc-info-list", "RuntimeError"),
    ("exc-info-text", "RuntimeError"),
    ("exc-info-none", "accepted"),
    ("exc-info-short", "accepted"),
    ("status-bytes", "TypeError"),
    ("status-int", "TypeError"),
    ("status-none", "TypeError"),
    ("status-subclass", "accepted"),
    ("status-wide", "UnicodeEncodeError"),
    ("status-latin", "accepted"),
    ("status-short", "ValueError"),
    ("status-empty", "ValueError"),
    ("status-long", "ValueError"),
    ("status-sign", "ValueError"),
    ("status-blank", "ValueError"),
    ("status-letters", "ValueError"),
    ("status-joined", "ValueError"),
    ("status-tab-separated", "ValueError"),
    ("status-digits-only", "accepted"),
    ("status-space-only", "accepted"),
    ("status-wide-digits", "UnicodeEncodeError"),
    ("status-newline", "ValueError"),
    ("status-injection", "ValueError"),
    ("status-tab", "ValueError"),
    ("status-delete", "ValueError"),
    ("item-list", "TypeError"),
    ("item-text", "TypeError"),
    ("item-none", "TypeError"),
    ("item-one", "ValueError"),
    ("item-three", "ValueError"),
    ("name-bytes", "TypeError"),
    ("name-none", "TypeError"),
    ("name-empty", "ValueError"),
    ("name-space", "ValueError"),
    ("name-newline", "ValueError"),
    ("name-injection", "ValueError"),
    ("name-tab", "ValueError"),
    ("name-wide", "UnicodeEncodeError"),
    ("value-bytes", "TypeError"),
    ("value-int", "TypeError"),
    ("value-none", "TypeError"),
    ("value-newline", "ValueError"),
    ("value-return", "ValueError"),
    ("value-injection", "ValueError"),
    ("value-quotes", "ValueError"),
    ("value-wide", "UnicodeEncodeError"),
    ("value-tab", "accepted"),
    ("value-empty", "accepted"),
    ("value-latin", "accepted"),
    ("status-least", "accepted"),
    ("status-most", "accepted"),
    ("length-twice", "accepted"),
    ("order", "ValueError"),
    ("status-before-headers", "ValueError"),
];

fn every_argument_is_checked(setup: Setup) {
    setup.app("/", "app.wsgi", APP).run(|server, cases| {
        let response = server.get("/table");
        for &(name, ending) in ARGUMENTS {
            cases.check(name, || assert_eq!(response.value(name).as_deref(), Some(ending)));
        }
        for name in ["status-zero", "status-interim", "status-upgrade", "status-beyond", "status-nines"] {
            cases.deviates(name, "any three digits are a status", || {
                assert_eq!(response.value(name).as_deref(), Some("ValueError"));
            });
        }
        for name in ["length-bad", "length-first-bad", "lengths"] {
            cases.deviates(
                name,
                "lengths are looked at when the headers are sent, and the last counts",
                || {
                    assert_eq!(response.value(name).as_deref(), Some("ValueError"));
                },
            );
        }
        for name in ["status-nul", "name-nul", "value-nul"] {
            cases.deviates(name, "a NUL in a status or header cuts it off silently", || {
                assert_eq!(response.value(name).as_deref(), Some("ValueError"));
            });
        }
    });
}

/// Arguments of `start_response`, and the whole exception.
const TEXTS: &[(&str, &str)] = &[
    ("status-short", "ValueError: status code must be a 3 digit integer: b'20'"),
    ("status-empty", "ValueError: status code must be a 3 digit integer: b''"),
    ("status-long", "ValueError: status code must be a 3 digit integer: b'2000 OK'"),
    ("status-letters", "ValueError: status code must be a 3 digit integer: b'abc OK'"),
    ("status-joined", "ValueError: no space following status code: b'200OK'"),
    ("status-tab-separated", r"ValueError: no space following status code: b'200\tOK'"),
    ("status-newline", r"ValueError: control character in status reason phrase: b'200 OK\n'"),
    ("status-delete", r"ValueError: control character in status reason phrase: b'200 O\x7fK'"),
    ("status-bytes", "TypeError: must be str, not bytes"),
    ("status-int", "TypeError: must be str, not int"),
    ("status-none", "TypeError: must be str, not NoneType"),
    (
        "status-wide",
        r"UnicodeEncodeError: 'latin-1' codec can't encode character '\u2603' in position 4: ordinal not in range(256)",
    ),
    ("name-empty", "ValueError: header name is empty"),
    ("name-space", "ValueError: space character in header name: b'A B'"),
    ("name-newline", r"ValueError: control character in header name: b'A\n'"),
    ("name-injection", r"ValueError: space character in header name: b'A: b\r\nEvil'"),
    ("name-bytes", "TypeError: must be str, not bytes"),
    (
        "name-wide",
        r"UnicodeEncodeError: 'latin-1' codec can't encode character '\u2603' in position 0: ordinal not in range(256)",
    ),
    ("value-newline", r"ValueError: carriage return/line feed character in header value: b'b\n'"),
    ("value-return", r"ValueError: carriage return/line feed character in header value: b'b\rc'"),
    ("value-quotes", r#"ValueError: carriage return/line feed character in header value: b"it's\n""#),
    ("value-int", "TypeError: must be str, not int"),
    ("item-list", "TypeError: each header must be a 2-tuple, not list"),
    ("item-none", "TypeError: each header must be a 2-tuple, not NoneType"),
    ("item-one", "ValueError: each header must be a 2-tuple, got length 1"),
    ("item-three", "ValueError: each header must be a 2-tuple, got length 3"),
    ("headers-tuple", "TypeError: start_response() argument 2 must be list, not tuple"),
    ("headers-none", "TypeError: start_response() argument 2 must be list, not None"),
    ("exc-info-list", "RuntimeError: start_response() argument 'exc_info' must be a 3-tuple or None"),
    ("one-argument", "TypeError: start_response() takes at least 2 arguments (1 given)"),
    ("four-arguments", "TypeError: start_response() takes at most 3 arguments (4 given)"),
];

fn exceptions_have_the_texts_that_others_look_for(setup: Setup) {
    setup.app("/", "app.wsgi", APP).run(|server, cases| {
        let response = server.get("/texts");
        for &(name, text) in TEXTS {
            cases.check(name, || assert_eq!(response.value(name).as_deref(), Some(text)));
        }
        let response = server.get("/late_texts");
        for (name, text) in [
            ("again", "RuntimeError: start_response() called more than once without exc_info"),
            ("not-a-tuple", "RuntimeError: start_response() argument 'exc_info' must be a 3-tuple or None"),
        ] {
            cases.check(name, || assert_eq!(response.value(name).as_deref(), Some(text)));
        }
    });
}

fn write_takes_bytes_only(setup: Setup) {
    setup.app("/", "app.wsgi", APP).run(|server, cases| {
        let response = server.get("/result");
        for (name, ending) in [
            ("callable", "True"),
            ("str", "TypeError"),
            ("bytearray", "TypeError"),
            ("memoryview", "TypeError"),
            ("none", "TypeError"),
            ("int", "TypeError"),
            ("result", "None"),
            ("subclass", "accepted"),
        ] {
            cases.check(name, || assert_eq!(response.value(name).as_deref(), Some(ending)));
        }
    });
}

fn the_last_call_before_the_body_wins(setup: Setup) {
    setup.app("/", "app.wsgi", APP).run(|server, cases| {
        for (target, status, reason, present, absent, body) in [
            ("/twice", 201, "Created", "X-Second", "X-First", "second"),
            ("/failed_twice", 202, "Accepted", "X-First", "A", "first"),
            ("/replaced", 500, "Oops", "X-Second", "X-First", "replaced"),
            ("/snapshot", 200, "OK", "X-Kept", "X-Later", "snapshot"),
        ] {
            cases.check(target, || {
                let response = server.get(target);
                assert_eq!(response.expect(status), body);
                assert_eq!(response.reason, reason);
                assert!(response.header(present).is_some(), "{:?}", response.headers);
                assert!(response.header(absent).is_none(), "{:?}", response.headers);
            });
        }
        cases.check("arguments are copied", || {
            assert_eq!(server.get("/snapshot").header("X-Kept"), Some("1"));
        });
        cases.check("an empty block does not send the headers", || {
            let response = server.get("/after_empty");
            assert_eq!(response.expect(203), "late");
            assert_eq!(response.reason, "Late");
        });
        cases.check("after the headers are sent", || {
            let response = server.get("/late");
            for (name, ending) in [
                ("again", "RuntimeError"),
                ("reraised", "KeyError"),
                ("short", "TypeError"),
                ("not-a-tuple", "RuntimeError"),
            ] {
                assert_eq!(response.value(name).as_deref(), Some(ending), "{name}");
            }
        });
    });
}

fn start_response_is_dead_after_the_request(setup: Setup) {
    setup.app("/", "app.wsgi", APP).run(|server, cases| {
        assert_eq!(server.get("/keep").expect(200), "kept");
        let response = server.get("/use");
        for name in ["start_response", "write"] {
            cases.check(name, || assert_eq!(response.value(name).as_deref(), Some("RuntimeError")));
        }
    });
}

fn headers_reach_the_client(setup: Setup) {
    setup.app("/", "app.wsgi", APP).run(|server, cases| {
        let response = server.get("/headers");
        let status = "a header named Status takes the place of the status";
        cases.deviates_in(Mode::Daemon, "status and body", status, || {
            assert_eq!(response.expect(299), "headers");
            assert_eq!(response.reason, "Caf\u{e9} time");
        });
        cases.deviates_in(Mode::Daemon, "Status", status, || {
            assert_eq!(response.all("Status"), ["404 Not Found"]);
        });
        for (name, values) in [
            ("Content-Type", vec![server.mode().pick("Text/Last; Charset=x", "text/last; Charset=x")]),
            ("Set-Cookie", vec!["a=1", "b=2"]),
            ("X-Many", server.mode().pick(vec!["1", "2"], vec!["1, 2"])),
            ("X-Latin", vec!["caf\u{e9}"]),
            ("Location", vec!["/elsewhere"]),
        ] {
            cases.check(name, || assert_eq!(response.all(name), values));
        }
        cases.check("without Content-Type the script's name decides", || {
            let response = server.get("/no_type");
            assert_eq!(response.expect(200), "untyped");
            assert_eq!(response.header("Content-Type"), Some("text/x-python"));
        });
    });
}

fn status_lines_reach_the_client(setup: Setup) {
    setup.app("/", "app.wsgi", APP).run(|server, cases| {
        for (line, status, reason) in [
            ("200", 200, "OK"),
            ("201+", 201, "Created"),
            ("404+Gone+Fishing", 404, "Gone Fishing"),
            ("418+I'm+a+teapot", 418, "I'm a teapot"),
            ("500+Mine", 500, "Mine"),
            ("599+Odd", 599, "Odd"),
            ("200+Error", 200, "Error"),
            ("204+No+Content", 204, "No Content"),
            ("304+Not+Modified", 304, "Not Modified"),
        ] {
            let check = || {
                let response = server.get(&format!("/status?{line}"));
                assert_eq!(response.status, status);
                if reason != "OK" && reason != "Created" {
                    assert_eq!(response.reason, reason);
                }
                let body = if matches!(status, 204 | 304) { "" } else { "body" };
                assert_eq!(response.text(), body);
            };
            if line == "200+Error" {
                let reason = "W15: a daemon process says with this status that it has failed";
                cases.deviates_in(Mode::Daemon, line, reason, check);
            } else {
                cases.check(line, check);
            }
        }
    });
}
