//! The traffic between Apache's children and daemon processes.

use std::thread;
use std::time::{Duration, Instant};

use e2e::Needs::Daemon;
use e2e::{Ending, Process, Setup, Test, on_each_mpm, on_one_mpm};

use super::{finish, open_gate, serving, serving_process, start_held_request, wait_until_all_serve};
use crate::large::send_in_background;

pub(crate) const TESTS: &[Test] = &[
    on_each_mpm!(a_large_answer_does_not_wait_for_an_unread_upload, Daemon),
    on_each_mpm!(a_client_that_has_reset_its_connection_is_not_served, Daemon),
    on_each_mpm!(uploads_and_downloads_run_at_once, Daemon),
    on_one_mpm!(the_least_busy_process_is_chosen, Daemon),
    on_one_mpm!(idle_clients_take_no_thread, Daemon),
];

fn a_large_answer_does_not_wait_for_an_unread_upload(setup: Setup) {
    serving(setup, "").run(|server, cases| {
        cases.ours_only("13 MB down, 20 MB up", "W9: both sides wait, and the answer is cut off", || {
            let mut connection = server.connect();
            let request = server.request("POST", "/answers_much").header("Content-Length", "20000000");
            connection.send(&request.keep_alive());
            // Apache takes the upload off the line when the answer is there, or closes the
            // connection.
            let upload = send_in_background(connection.sender(), 20_000_000);
            let begin = Instant::now();
            let response = connection.response("POST").unwrap_or_else(|error| panic!("no answer: {error}"));
            assert_eq!((response.status, response.ending), (200, Ending::Framed));
            assert_eq!(response.body.len(), 13 << 20);
            assert!(response.body.chunks(13).all(|chunk| chunk == b"0123456789abc"));
            // Before Apache gives the client up.
            assert!(begin.elapsed() < Duration::from_secs(18), "{:?}", begin.elapsed());
            drop(connection);
            assert!(upload.join().is_ok());
        });
        cases.check("the process is free again", || {
            assert_eq!(
                server.request("POST", "/read").body(vec![b'x'; 3_000_000]).send().expect(200),
                "3000000"
            );
        });
    });
}

fn a_client_that_has_reset_its_connection_is_not_served(setup: Setup) {
    // Prefork needs a child for each of them.
    serving(setup, "threads=1").children(4).threads(8).run(|server, cases| {
        cases.deviates("the application never runs", "W12: it runs for nobody", || {
            let request = start_held_request(server, "abandoned");
            let mut gone = server.connect();
            gone.send(&server.request("GET", "/run?for-nobody").keep_alive());
            let mut kept = server.connect();
            kept.send(&server.request("GET", "/run?for-somebody").keep_alive());
            // It has to be in the queue before it leaves.
            gone.wait_until_read();
            thread::sleep(Duration::from_millis(500));
            gone.reset();
            // Apache looks from time to time whether its client is still there.
            thread::sleep(Duration::from_millis(2500));
            open_gate(server, "abandoned");
            assert_eq!(finish(request).status, 200);
            assert_eq!(kept.response("GET").map(|response| response.text()).ok().as_deref(), Some("ran"));
            assert_eq!(server.get("/ran").expect(200), "for-somebody");
        });
    });
}

fn uploads_and_downloads_run_at_once(setup: Setup) {
    let app = "def application(environ, start_response):\n    \
               start_response('200 OK', [('Content-Type', 'text/plain')])\n    \
               while True:\n        block = environ['wsgi.input'].readline()\n        \
               if not block:\n            return\n        yield block.upper()\n";
    setup.app("/", "app.wsgi", app).conf("WSGIChunkedRequest On").run(|server, cases| {
        cases.ours_only("an echo, line by line", "W9: the whole upload comes before the answer", || {
            let mut connection = server.connect();
            let request = server.request("POST", "/").header("Transfer-Encoding", "chunked");
            connection.send(&request.keep_alive());
            let mut seen = Vec::new();
            for round in 0..20 {
                let line = format!("line {round:02}\n");
                connection.send(format!("{:x}\r\n{line}\r\n", line.len()).as_bytes());
                let expected = line.to_uppercase().into_bytes();
                while !seen.windows(expected.len()).any(|window| window == expected) {
                    let more = connection.at_least(1);
                    seen.extend(more.unwrap_or_else(|error| panic!("no answer to {line:?}: {error}")));
                }
            }
            connection.send(b"0\r\n\r\n");
            while !seen.ends_with(b"0\r\n\r\n") {
                let more = connection.at_least(1);
                seen.extend(more.unwrap_or_else(|error| panic!("no end: {error}")));
            }
        });
    });
}

fn the_least_busy_process_is_chosen(setup: Setup) {
    serving(setup, "processes=3 threads=4").run(|server, cases| {
        cases.ours_only("one each", "processes take what they get hold of", || {
            wait_until_all_serve(server, 3);
            let requests: Vec<_> =
                ["a", "b", "c"].map(|gate| start_held_request(server, gate)).into_iter().collect();
            for gate in ["a", "b", "c"] {
                open_gate(server, gate);
            }
            let mut pids: Vec<_> = requests.into_iter().map(|request| finish(request).expect(200)).collect();
            pids.sort();
            pids.dedup();
            assert_eq!(pids.len(), 3, "{pids:?}");
        });
    });
}

fn idle_clients_take_no_thread(setup: Setup) {
    serving(setup, "threads=2").threads(25).run(|server, cases| {
        let daemon = serving_process(server);
        let threads = |process: Process| process.status("Threads");
        let before = threads(daemon);
        let mut clients: Vec<_> = (0..40).map(|_| server.connect()).collect();
        for client in &mut clients {
            client.send(&server.request("GET", "/pid").keep_alive());
            assert!(client.response("GET").is_ok_and(|response| response.status == 200));
        }
        cases.check("the same number of threads", || assert_eq!(threads(daemon), before));
        cases.check("others are served", || assert_eq!(server.get("/run").expect(200), "ran"));
    });
}
