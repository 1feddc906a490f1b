//! Slow requests (`WSGISlowRequests`) in the status of the server.

use e2e::Needs::Ours;
use e2e::{Mode, Server, Setup, Test, on_one_mpm, wait_until};
use status::Snapshot;

pub(crate) const TESTS: &[Test] =
    &[on_one_mpm!(slow_requests_are_marked_and_counted, Ours("the status of the server"))];

/// Holds requests until a file is there.
const APP: &str = "
import os, time

def application(environ, start_response):
    path = environ['PATH_INFO']
    while path != '/' and not os.path.exists(os.path.dirname(__file__) + path):
        time.sleep(0.01)
    start_response('200 OK', [('Content-Type', 'text/plain')])
    return [b'done']
";

fn snapshot(server: &Server) -> Snapshot {
    let text = server.get("/wsgi-status?format=json").expect(200);
    serde_json::from_str(&text).unwrap_or_else(|error| panic!("{error}: {text}"))
}

fn slow_requests(snapshot: &Snapshot) -> u64 {
    snapshot.groups.iter().map(|group| group.slow_requests).sum()
}

fn slow_requests_are_marked_and_counted(setup: Setup) {
    let status =
        "WSGISlowRequests 500ms\n<Location \"/wsgi-status\">\n    SetHandler wsgi-status\n</Location>\n";
    setup.conf(status).app("/", "app.wsgi", APP).run(|server, cases| {
        // Its import may be slow.
        assert_eq!(server.get("/").expect(200), "done");
        let before = slow_requests(&snapshot(server));
        std::thread::scope(|scope| {
            let held = scope.spawn(|| server.get("/held?secret").expect(200));
            cases.check("a request under way", || {
                wait_until("a slow request", || {
                    let snapshot = snapshot(server);
                    assert_eq!(snapshot.server.slow_after, 0.5);
                    let requests = snapshot.groups.iter().flat_map(|group| &group.requests);
                    let mut held = requests.filter(|request| request.path == "/held");
                    held.find(|request| {
                        assert_eq!(request.slow, request.age >= 0.5, "{request:?}");
                        request.slow
                    })?;
                    assert_eq!(slow_requests(&snapshot), before, "it counts when it has ended");
                    Some(())
                });
                let page = server.get("/wsgi-status?filter=slow").expect(200);
                assert!(page.contains("oldest request first; 1 slow, of "), "{page}");
                assert!(page.contains(">slow, ") && page.contains("GET /held</code>"), "{page}");
            });
            server.write("apps/held", "");
            assert_eq!(held.join().expect("an answer"), "done");
        });
        cases.check("the count of those that have ended", || {
            wait_until("a count", || (slow_requests(&snapshot(server)) == before + 1).then_some(()));
            let metrics = server.get("/wsgi-status?format=prometheus").expect(200);
            let group = Mode::current().pick("", "e2e");
            let line = format!("mod_wsgi_slow_requests_total{{process_group=\"{group}\"}} {}\n", before + 1);
            assert!(metrics.contains(&line), "{metrics}");
        });
        cases.check("no warning", || assert_eq!(snapshot(server).warnings, [""; 0]));
    });
}
