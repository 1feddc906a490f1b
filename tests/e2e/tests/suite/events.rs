//! Events that an application can subscribe to.

use e2e::Needs::OneProcess;
use e2e::{Server, Setup, Test, on_one_mpm};

pub(crate) const TESTS: &[Test] = &[
    on_one_mpm!(events_are_published_for_requests, OneProcess),
    on_one_mpm!(attempts_to_reach_a_process_are_counted),
    on_one_mpm!(events_are_published_for_failures, OneProcess),
];

const APP: &str = include_str!("../../apps/events.wsgi");

fn serving(setup: Setup) -> Setup {
    setup.app("/", "app.wsgi", APP).conf("WSGIApplicationGroup %{GLOBAL}")
}

/// The report of the request before. Its own `request_started` is in it, at the end.
fn last_report(server: &Server) -> e2e::Response {
    server.get("/report")
}

fn events_are_published_for_requests(setup: Setup) {
    serving(setup).run(|server, cases| {
        cases.check("an event may change environ and headers", || {
            let response = server.request("POST", "/").body("1234").send();
            assert_eq!(response.expect(201), "aby event");
            assert_eq!(response.header("X-Event"), Some("yes"));
        });
        let response = last_report(server);
        for (name, keys) in [
            ("response_started", "exception_info request_data request_id response_headers response_status"),
            (
                "second response_started",
                "added exception_info request_data request_id response_headers response_status",
            ),
            ("status", "201 9 2 4 {'mine': 1}"),
        ] {
            cases.check(name, || assert_eq!(response.value(name).as_deref(), Some(keys)));
        }
        cases.check("request_finished", || {
            let keys = response.value("request_finished").unwrap_or_default();
            for key in [
                "application_finish",
                "application_time",
                "daemon_start",
                "gil_wait_count",
                "gil_wait_time",
                "input_length",
                "input_reads",
                "input_time",
                "output_length",
                "output_time",
                "output_writes",
                "queue_start",
                "request_data",
                "request_id",
                "request_start",
                "server_pid",
                "status",
                "thread_id",
            ] {
                assert!(keys.split(' ').any(|found| found == key), "{key} not in {keys}");
            }
            assert!(!keys.contains("application_start"), "{keys}");
        });
        cases.check("request_started", || {
            assert_eq!(
                response.value("request_started").as_deref(),
                Some(
                    "application_object application_start callable_object daemon_connects daemon_restarts \
                     daemon_start queue_start request_data request_environ request_id request_start \
                     server_pid thread_id"
                )
            );
        });
    });
}

fn attempts_to_reach_a_process_are_counted(setup: Setup) {
    serving(setup).run(|server, cases| {
        for turn in ["the first request", "the second one"] {
            cases.check(turn, || {
                assert_eq!(server.get("/").expect(201), "aby event");
                let attempts = last_report(server).value("attempts");
                assert_eq!(attempts.as_deref(), Some(server.mode().pick("0 0", "1 0")));
            });
        }
        cases.check("one that finds its process being replaced", || {
            // If that takes longer than a request waits for it, the old one answers.
            let attempts: Vec<_> = (0..5)
                .map(|round| {
                    server.write("apps/app.wsgi", format!("{APP}\n# changed: {round}"));
                    // In a new process, what it tells of is itself.
                    last_report(server).value("attempts").unwrap_or_default()
                })
                .collect();
            let expected = server.mode().pick("0 0", "2 1");
            assert!(attempts.iter().any(|attempts| attempts == expected), "{attempts:?}");
        });
    });
}

fn events_are_published_for_failures(setup: Setup) {
    serving(setup).run(|server, cases| {
        cases.check("an exception", || {
            assert_eq!(server.get("/raise").status, 500);
            let response = last_report(server);
            let keys = response.value("request_exception");
            assert_eq!(keys.as_deref(), Some("exception_info request_data request_id"));
            assert_eq!(response.value("exception").as_deref(), Some("ValueError"));
            assert_eq!(response.value("status").as_deref(), Some("500 0 0 0 {'mine': 1}"));
        });
        cases.check("a callback that raises", || {
            let mark = server.mark();
            assert_eq!(server.get("/callback").expect(201), "aby event");
            let log = server.wait_log(mark, "raised by a callback");
            assert!(log.contains("WSGI0112"), "{log}");
            assert!(last_report(server).text().contains("second request_finished"));
        });
        cases.check("a callback that exits", || {
            let mark = server.mark();
            assert_eq!(server.get("/callback_exits").expect(201), "aby event");
            server.wait_log(mark, "WSGI0190");
            assert!(last_report(server).text().contains("second request_finished"));
        });
        cases.check("the application may be replaced", || {
            assert_eq!(server.get("/?replace").expect(200), "replaced");
        });
    });
}
