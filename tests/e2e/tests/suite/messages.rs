//! Texts of the error log that log monitors and deployment scripts look for, letter by letter, and
//! the levels of these lines. (Texts of exceptions are in `start_response.rs`.)

use std::time::{Duration, SystemTime};

use e2e::Needs::Daemon;
use e2e::{LogMark, Mode, Server, Setup, Test, on_one_mpm};

pub(crate) const TESTS: &[Test] = &[
    on_one_mpm!(scripts_that_are_loaded_are_named),
    on_one_mpm!(exceptions_are_announced),
    on_one_mpm!(requests_that_time_out_are_told_of, Daemon),
    on_one_mpm!(a_missing_group_is_told_of),
];

const APP: &str = include_str!("../../apps/messages.wsgi");

/// Waits for a line of this level that has all these texts.
fn wait_line(server: &Server, mark: LogMark, level: &str, texts: &[&str]) -> String {
    let log = server.wait_log(mark, texts[0]);
    let line = log.lines().find(|line| line.contains(texts[0])).unwrap_or_default();
    assert!(line.contains(&format!("[wsgi:{level}]")), "{line}");
    for text in texts {
        assert!(line.contains(text), "{text} not in {line}");
    }
    log
}

/// The words for the interpreter of the application.
fn interpreter(server: &Server) -> String {
    let place = server.mode().pick("in embedded mode", "of daemon process 'e2e'");
    format!("main interpreter {place}")
}

fn serving(setup: Setup, options: &str) -> Setup {
    setup.group(options).app("/", "app.wsgi", APP).conf("WSGIApplicationGroup %{GLOBAL}")
}

fn scripts_that_are_loaded_are_named(setup: Setup) {
    serving(setup, "").run(|server, cases| {
        let mark = server.mark();
        let script = server.path("apps/app.wsgi");
        let text =
            |verb: &str| format!("{verb} WSGI script '{}' into {}", script.display(), interpreter(server));
        cases.check("loaded", || {
            assert_eq!(server.get("/fine").expect(200), "fine");
            wait_line(server, mark, "info", &[&text("Loading")]);
        });
        cases.check("loaded again", || {
            let mark = server.mark();
            let file = std::fs::File::options().append(true).open(&script).expect("the script");
            file.set_modified(SystemTime::now() + Duration::from_secs(10)).expect("its time");
            assert_eq!(server.get("/fine").expect(200), "fine");
            // That is what another process does, in daemon mode.
            let verb = server.mode().pick("Reloading", "Loading");
            wait_line(server, mark, "info", &[&text(verb)]);
        });
    });
}

fn exceptions_are_announced(setup: Setup) {
    serving(setup, "").run(|server, cases| {
        let place = format!("for {}", interpreter(server));
        for (target, texts) in [
            (
                "/raised",
                ["Custom exception raised processing WSGI script '", "WSGI0174: ", "Custom: on purpose"],
            ),
            (
                "/in_close",
                ["Custom exception raised processing WSGI script '", "WSGI0174: ", "Custom: on purpose"],
            ),
            ("/exits", ["SystemExit exception raised by WSGI script '", "WSGI0175: ", "SystemExit: 3"]),
        ] {
            cases.check(target, || {
                let mark = server.mark();
                let _ = server.get(target);
                let log = wait_line(server, mark, "error", &[texts[0], texts[1], &place, "[script /"]);
                assert!(log.contains(server.logged_client()), "{log}");
                server.wait_log(mark, texts[2]);
            });
        }
        cases.check("close() that cannot be looked up", || {
            let mark = server.mark();
            assert_eq!(server.get("/close_not_found").expect(200), "data");
            wait_line(server, mark, "error", &["WSGI0194: ", server.logged_client(), "[script /"]);
            server.wait_log(mark, "Custom: on purpose");
        });
        cases.check("RequestTimeout of the application itself", || {
            let mark = server.mark();
            assert_eq!(server.get("/own_timeout").status, 504);
            let text = "Request interrupted by RequestTimeout; thread recovered.";
            let log = wait_line(server, mark, "info", &[text, "[script /", server.logged_client()]);
            assert!(!log.contains("Traceback") && !log.contains("WSGI0174"), "{log}");
        });
    });
}

fn requests_that_time_out_are_told_of(setup: Setup) {
    serving(setup, "threads=2 request-timeout=1 interrupt-timeout=10").run(|server, cases| {
        assert_eq!(server.mode(), Mode::Daemon);
        cases.check("by the monitor", || {
            let mark = server.mark();
            let response = server.get("/runs_on");
            assert_eq!((response.status, response.text().as_str()), (504, ""));
            let start = "Injected RequestTimeout into thread ";
            let log = wait_line(server, mark, "info", &[start, " of daemon process 'e2e'"]);
            let rest = log.split(start).nth(1).unwrap_or_default();
            let number = rest.split(' ').next().unwrap_or_default();
            assert!(matches!(number, "0" | "1"), "{rest}");
            wait_line(server, mark, "info", &["Request interrupted by RequestTimeout; thread recovered."]);
        });
    });
}

/// The code is another one if there are groups: see `daemon/groups.rs`.
fn a_missing_group_is_told_of(setup: Setup) {
    setup.own_groups().app("/", "app.wsgi", APP).conf("WSGIProcessGroup nobody").run(|server, cases| {
        cases.check("no group is defined", || {
            let mark = server.mark();
            assert_eq!(server.get("/fine").status, 500);
            wait_line(server, mark, "error", &["WSGI0150: ", "'nobody'"]);
        });
    });
}
