//! Applications that raise, return nonsense, or do not answer.

use e2e::{Ending, Mode, Setup, Test, on_each_mpm, on_one_mpm};

pub(crate) const TESTS: &[Test] = &[
    on_each_mpm!(a_failure_before_the_head_is_a_500),
    on_each_mpm!(a_failure_after_the_head_is_visible_to_the_client),
    on_one_mpm!(tracebacks_are_whole),
];

const APP: &str = include_str!("../../apps/failures.wsgi");

/// Requests that fail before anything is sent, and what the log says of them.
const BEFORE_THE_HEAD: &[(&str, &str, &str)] = &[
    ("/call", "WSGI0174", "KeyError"),
    ("/chained", "WSGI0174", "the outer one"),
    ("/after_start", "WSGI0174", "KeyError"),
    ("/after_empty_write", "WSGI0174", "KeyError"),
    ("/iteration_first", "WSGI0174", "KeyError"),
    ("/item_text", "WSGI0174", "TypeError"),
    ("/item_none", "WSGI0174", "TypeError"),
    ("/plain_bytes", "WSGI0174", "TypeError"),
    ("/plain_text", "WSGI0174", "TypeError"),
    ("/none", "WSGI0174", "TypeError"),
    ("/number", "WSGI0174", "TypeError"),
    ("/not_started", "WSGI0174", "RuntimeError"),
    ("/not_started_empty", "WSGI0174", "RuntimeError"),
    ("/system_exit", "WSGI0175", "SystemExit"),
    ("/keyboard", "WSGI0174", "KeyboardInterrupt"),
    ("/custom", "WSGI0174", "Custom"),
    ("/recursion", "WSGI0174", "RecursionError"),
    ("/unprintable", "WSGI0174", "Unprintable"),
    ("/surrogate", "WSGI0174", "ValueError"),
    ("/unknown", "WSGI0174", "KeyError"),
];

fn a_failure_before_the_head_is_a_500(setup: Setup) {
    setup
        .app("/", "app.wsgi", APP)
        .conf("<Location /call>\nErrorDocument 500 \"own page\"\n</Location>")
        .run(|server, cases| {
            for &(target, code, what) in BEFORE_THE_HEAD {
                cases.check(target, || {
                    let mark = server.mark();
                    let response = server.get(target);
                    assert_eq!((response.status, response.ending), (500, Ending::Framed));
                    assert_eq!(response.reason, "Internal Server Error");
                    let page = if target == "/call" { "own page" } else { "Internal Server Error" };
                    assert!(response.text().contains(page), "{}", response.text());
                    assert_eq!(response.header("X-App"), None);
                    let log = server.wait_log(mark, code);
                    assert!(log.contains(what), "{what} not in {log}");
                    assert!(log.contains(&server.path("apps/app.wsgi").display().to_string()), "{log}");
                });
            }
            cases.check("WWW-Authenticate survives", || {
                let response = server.get("/after_empty_write");
                assert_eq!(response.header("WWW-Authenticate"), Some("Basic realm=app"));
            });
            cases.check("the processes are unharmed", || {
                assert_eq!(server.get("/fine").expect(200), "fine");
                let log = server.log_tail();
                assert!(!log.contains("exit signal"), "{log}");
            });
        });
}

const NO_END: &str = "W10: a chunked response from a daemon process that was cut short looks complete";

fn a_failure_after_the_head_is_visible_to_the_client(setup: Setup) {
    setup.app("/", "app.wsgi", APP).run(|server, cases| {
        for (target, status, what) in [
            ("/iteration_late", 201, "KeyError"),
            ("/item_late", 201, "TypeError"),
            ("/system_exit_late", 200, "SystemExit"),
        ] {
            cases.deviates_in(Mode::Daemon, target, NO_END, || {
                let mark = server.mark();
                let response = server.get(target);
                assert_eq!((response.status, response.text().as_str()), (status, "data"));
                assert_eq!(response.ending, Ending::Truncated);
                assert_eq!(response.header("X-App"), Some("yes"));
                server.wait_log(mark, what);
            });
            cases.deviates(
                &format!("{target} closes the connection"),
                "after a body that was cut short the connection stays open, though its state is undefined",
                || {
                    let mut connection = server.connect();
                    let mut requests = server.request("GET", target).keep_alive();
                    requests.extend(server.request("GET", "/fine").keep_alive());
                    connection.send(&requests);
                    let Ok(response) = connection.response("GET") else { panic!("no response") };
                    assert_eq!(response.ending, Ending::Truncated, "{}", response.text());
                },
            );
        }
        cases.deviates(
            "/after_write",
            "embedded: the 500 page is appended to what write() had sent, and the response looks complete",
            || {
                let response = server.get("/after_write");
                assert_eq!((response.status, response.text().as_str()), (201, "data"));
                assert_eq!(response.ending, Ending::Truncated);
            },
        );
        cases.check("a declared length that is not reached", || {
            let response = server.get("/iteration_late_length");
            assert_eq!((response.status, response.text().as_str()), (201, "data"));
            assert_eq!(response.ending, Ending::Truncated);
        });
        cases.check("the processes are unharmed", || {
            assert_eq!(server.get("/fine").expect(200), "fine");
        });
    });
}

fn tracebacks_are_whole(setup: Setup) {
    setup.app("/", "app.wsgi", APP).run(|server, cases| {
        cases.deviates("frames", "on Python before 3.12 only the last line of a traceback is logged", || {
            let mark = server.mark();
            assert_eq!(server.get("/call").status, 500);
            let log = server.wait_log(mark, "KeyError: 'on purpose'");
            for line in ["Traceback (most recent call last)", "in call", "in inner", "raise KeyError"] {
                assert!(log.contains(line), "{line} not in {log}");
            }
        });
        cases.check("each line has the request's context", || {
            let mark = server.mark();
            assert_eq!(server.get("/call").status, 500);
            let log = server.wait_log(mark, "KeyError: 'on purpose'");
            for line in log.lines().filter(|line| line.contains("wsgi:error")) {
                assert!(line.contains(server.logged_client()), "{line}");
            }
        });
        cases.check("causes are shown", || {
            let mark = server.mark();
            assert_eq!(server.get("/chained").status, 500);
            let log = server.wait_log(mark, "ValueError: the outer one");
            assert!(log.contains("KeyError: 'on purpose'"), "{log}");
        });
    });
}
