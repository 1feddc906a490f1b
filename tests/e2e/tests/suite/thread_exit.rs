//! Applications that end the thread of their request.

use e2e::Needs::{Ours, Threads};
use e2e::{Mode, Setup, Test, on_one_mpm};

pub(crate) const TESTS: &[Test] = &[
    on_one_mpm!(a_thread_that_python_is_asked_to_end_goes_on),
    on_one_mpm!(
        a_thread_that_an_application_ends_is_lost_alone,
        Threads,
        Ours("a process that is sound once a thread was ended")
    ),
];

const APP: &str = include_str!("../../apps/thread_exit.wsgi");

fn a_thread_that_python_is_asked_to_end_goes_on(setup: Setup) {
    setup.app("/", "app.wsgi", APP).children(1).run(|server, cases| {
        cases.check("_thread.exit()", || {
            let process = server.get("/").expect(200);
            let mark = server.mark();
            assert_eq!(server.get("/exception").status, 500);
            server.wait_log(mark, "SystemExit exception raised by WSGI script");
            assert_eq!(server.get("/").expect(200), process);
        });
    });
}

fn a_thread_that_an_application_ends_is_lost_alone(setup: Setup) {
    setup.app("/", "app.wsgi", APP).group("threads=3 graceful-timeout=1").run(|server, cases| {
        for path in ["/without_lock", "/with_lock"] {
            let process = server.get("/").expect(200);
            let mark = server.mark();
            let mut connection = server.connect();
            connection.send(&server.request("GET", path).keep_alive());
            cases.check(&format!("{path}, the log"), || {
                let log = server.wait_log(mark, "WSGI1012");
                assert!(log.contains("pthread_exit"), "{log}");
            });
            if server.mode() == Mode::Embedded {
                cases.check(&format!("{path}, other requests"), || {
                    for _ in 0..8 {
                        assert_eq!(server.get("/").expect(200), process);
                    }
                });
            } else {
                cases.check(&format!("{path}, its client"), || {
                    let response = connection.response("GET").unwrap_or_else(|error| panic!("{error}"));
                    assert_eq!(response.status, 502);
                });
                cases.check(&format!("{path}, the successor"), || {
                    assert_ne!(server.get("/").expect(200), process);
                });
            }
        }
    });
}
