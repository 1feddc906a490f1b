//! Requests that wait because every thread is busy.

use std::thread;
use std::time::{Duration, Instant};

use e2e::Needs::Daemon;
use e2e::{Setup, Test, on_each_mpm, on_one_mpm};

use super::{finish, open_gate, serving, start_held_request, start_request, wait_until_serving};

pub(crate) const TESTS: &[Test] = &[
    on_each_mpm!(queue_timeout_is_kept_while_every_thread_is_stuck, Daemon),
    on_one_mpm!(queue_timeout_counts_until_a_thread_takes_the_request, Daemon),
    on_one_mpm!(listen_backlog_bounds_what_may_wait, Daemon),
    on_each_mpm!(socket_timeout_bounds_the_silence, Daemon),
    on_one_mpm!(connect_timeout_bounds_the_wait_for_a_process, Daemon),
    on_one_mpm!(a_client_that_does_not_read_is_given_up, Daemon),
    on_one_mpm!(a_group_that_does_not_come_up_is_a_503_in_time, Daemon),
];

fn queue_timeout_is_kept_while_every_thread_is_stuck(setup: Setup) {
    serving(setup, "threads=1 queue-timeout=1").run(|server, cases| {
        let reason = "the queue is looked at only when a thread is free";
        wait_until_serving(server);
        cases.ours_only("a 504 in time", reason, || {
            let request = start_held_request(server, "stuck");
            let mark = server.mark();
            let since = Instant::now();
            assert_eq!(server.get("/run?too-late").status, 504);
            assert!(since.elapsed() >= Duration::from_secs(1), "{:?}", since.elapsed());
            assert!(since.elapsed() < Duration::from_secs(15), "{:?}", since.elapsed());
            server.wait_log(mark, "WSGI0084");
            open_gate(server, "stuck");
            assert_eq!(finish(request).status, 200);
        });
        cases.check("in time", || assert_eq!(server.get("/run?in-time").expect(200), "ran"));
        cases.check("one that was too late is never run", || {
            assert_eq!(server.get("/ran").expect(200), "in-time");
        });
    });
}

fn queue_timeout_counts_until_a_thread_takes_the_request(setup: Setup) {
    serving(setup, "threads=1 queue-timeout=2").run(|server, cases| {
        wait_until_serving(server);
        cases.check("a 504", || {
            let request = start_held_request(server, "busy");
            let late = start_request(server, "/run?late");
            thread::sleep(Duration::from_secs(5));
            open_gate(server, "busy");
            assert_eq!(finish(request).status, 200);
            assert_eq!(finish(late).status, 504);
            assert_eq!(server.get("/ran").expect(200), "");
        });
    });
}

fn listen_backlog_bounds_what_may_wait(setup: Setup) {
    serving(setup, "threads=1 listen-backlog=3 connect-timeout=2").threads(20).run(|server, cases| {
        let request = start_held_request(server, "full");
        cases.ours_only("those beyond it get a 503", "it tries again for as long as connect-timeout", || {
            let mut waiting: Vec<_> =
                (0..12).map(|number| start_request(server, &format!("/run?{number}"))).collect();
            e2e::wait_until("refusals", || {
                let refused = waiting.iter().filter(|request| request.is_finished()).count();
                (refused >= 9).then_some(())
            });
            // The rest has to wait for the gate.
            thread::sleep(Duration::from_millis(2500));
            let refused: Vec<_> = {
                let (done, left) = waiting.into_iter().partition(thread::JoinHandle::is_finished);
                waiting = left;
                let done: Vec<thread::JoinHandle<e2e::Response>> = done;
                done.into_iter().map(|request| finish(request).status).collect()
            };
            assert!(refused.iter().all(|&status| status == 503), "{refused:?}");
            assert_eq!((refused.len(), waiting.len()), (9, 3));
            open_gate(server, "full");
            for request in waiting {
                assert_eq!(finish(request).expect(200), "ran");
            }
            assert_eq!(server.get("/ran").expect(200).split(' ').count(), 3);
        });
        open_gate(server, "full");
        assert_eq!(finish(request).status, 200);
    });
}

fn socket_timeout_bounds_the_silence(setup: Setup) {
    serving(setup, "threads=2 socket-timeout=1").run(|server, cases| {
        wait_until_serving(server);
        cases.check("before the head: a 504", || {
            let (mark, since) = (server.mark(), Instant::now());
            let response = start_request(server, "/hold?silent");
            assert_eq!(finish(response).status, 504);
            assert!(since.elapsed() >= Duration::from_secs(1), "{:?}", since.elapsed());
            server.wait_log(mark, "WSGI0145");
            open_gate(server, "silent");
        });
        let reason = "W10: a response that was given up looks complete";
        cases.deviates("in the middle: no clean end", reason, || {
            let response = server.get("/hold_late?silent-later");
            assert_eq!((response.status, response.ending), (200, e2e::Ending::Truncated));
            assert_eq!(response.text(), "first ");
        });
        open_gate(server, "silent-later");
        cases.check("shorter than that", || assert_eq!(server.get("/sleep?0.3").status, 200));
    });
}

fn connect_timeout_bounds_the_wait_for_a_process(setup: Setup) {
    let app = "import time\ntime.sleep(4)\n\n\ndef application(environ, start_response):\n    \
               start_response('200 OK', [])\n    return [b'at last']\n";
    setup
        .group("connect-timeout=15")
        .file("apps/app.wsgi", app)
        .conf("WSGIScriptAlias / @ROOT@/apps/app.wsgi process-group=@GROUP@ application-group=%{GLOBAL}")
        .run(|server, cases| {
            cases.check("an import that takes its time", || {
                assert_eq!(server.get("/").expect(200), "at last");
            });
        });
}

fn a_client_that_does_not_read_is_given_up(setup: Setup) {
    serving(setup, "threads=1 response-socket-timeout=1").run(|server, cases| {
        cases.check("the thread is free for others", || {
            let mut idle = server.connect();
            idle.send(&server.request("GET", "/endless").keep_alive());
            assert!(idle.at_least(1000).is_ok());
            // Nothing more is read. Timeout, which is 20 s, would be too long for a client that
            // waits.
            let since = Instant::now();
            assert_eq!(server.get("/run").expect(200), "ran");
            assert!(since.elapsed() < Duration::from_secs(15), "{:?}", since.elapsed());
        });
    });
}

fn a_group_that_does_not_come_up_is_a_503_in_time(setup: Setup) {
    let app = "import time\ntime.sleep(8)\n\n\ndef application(environ, start_response):\n    \
               start_response('200 OK', [])\n    return [b'at last']\n";
    setup
        .group("connect-timeout=2 listen-backlog=1 socket-timeout=3")
        .file("apps/app.wsgi", app)
        .conf("WSGIScriptAlias / @ROOT@/apps/app.wsgi process-group=@GROUP@ application-group=%{GLOBAL}")
        .run(|server, cases| {
            cases.check("an import that takes longer", || {
                let status = server.get("/").status;
                assert!(matches!(status, 503 | 504), "{status}");
            });
            cases.check("and then it is served", || {
                e2e::wait_until("the answer", || (server.get("/").status == 200).then_some(()));
            });
        });
}
