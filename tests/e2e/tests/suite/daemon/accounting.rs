//! What is counted: requests that ran, requests that run, and how they spread over processes.

use e2e::{daemon_only, on_one_mpm};

use super::{begin, end, held, open, pid, serving};

/// What a process logs when it has served as many requests as it may.
const ENOUGH: &str = "a successor is asked for (maximum_requests)";

#[test]
fn only_requests_that_ran_count_towards_maximum_requests() {
    if daemon_only() {
        return;
    }
    on_one_mpm(|setup| {
        let options = "threads=2 maximum-requests=20 listen-backlog=3 queue-timeout=1 connect-timeout=1";
        serving(setup, options).threads(40).run(|server, cases| {
            let reason = "connections count, whatever comes of them";
            let (mark, old) = (server.mark(), pid(server));
            cases.ours_only("not those that were refused", reason, || {
                let busy = [held(server, "one"), held(server, "two")];
                let refused: Vec<_> =
                    (0..30).map(|number| begin(server, &format!("/run?{number}"))).collect();
                let statuses: Vec<_> = refused.into_iter().map(|request| end(request).status).collect();
                assert!(statuses.iter().all(|status| matches!(status, 503 | 504)), "{statuses:?}");
                open(server, "one");
                open(server, "two");
                assert!(busy.into_iter().all(|request| end(request).status == 200));
                assert_eq!(server.get("/ran").expect(200), "");
                assert_eq!(pid(server), old);
            });
            cases.ours_only("each that ran, and once", reason, || {
                // Five were before.
                for _ in 0..7 {
                    let both = [begin(server, "/run"), begin(server, "/run")];
                    assert!(both.into_iter().all(|request| end(request).expect(200) == "ran"));
                }
                let log = server.log_since(mark);
                assert!(!log.contains("maximum_requests"), "{log}");
            });
            cases.ours_only("the last one leads to a successor", reason, || {
                assert_eq!(pid(server), old, "it is the twentieth");
                server.wait_log(mark, ENOUGH);
            });
        });
    });
}
