//! Interpreters that are wanted, and ended, while memory is traced: everything that allocates
//! memory then looks for the state of its thread. Before Python 3.12, the creation of an
//! interpreter would wait for itself.

mod support;

use std::path::Path;
use std::sync::mpsc;
use std::time::{Duration, Instant};

use bridge::outcome;
use support::ending::{assert_ended, log_of_life, position};
use support::{Call, LOG, Response, script};

const APPLICATION: &str = "
import sys
try:
    import tracemalloc
except ImportError:
    # Python 3.12 does not have it in an interpreter with a lock of its own.
    pass
def application(environ, start_response):
    if environ['PATH_INFO'] == '/trace':
        tracemalloc.start()
    if environ['PATH_INFO'] == '/stop':
        tracemalloc.stop()
    start_response('200 OK', [])
    return [b'old' if sys.version_info < (3, 12) else b'new']
";

fn call(path: &Path, group: &str, path_info: &str) -> Response {
    Call { group, path_info, ..Call::new(path) }.run()
}

/// One test, since the end of a process is the end of its tests.
#[test]
fn interpreters_are_not_created_but_end_while_memory_is_traced() {
    let path = script("traced.py", APPLICATION);
    let (sender, done) = mpsc::channel();
    let test = std::thread::spawn(move || {
        check_creation(&path);
        check_end(&path);
        let _ = sender.send(());
    });
    // A thread that waits for itself holds Python's lock, and is left behind.
    let outcome = done.recv_timeout(Duration::from_secs(90));
    assert!(outcome != Err(mpsc::RecvTimeoutError::Timeout), "a request does not come back");
    test.join().expect("no failure");
}

fn check_creation(path: &Path) {
    let is_old = call(path, "", "/trace").text() == "old";
    for _ in 0..3 {
        let response = call(path, "wanted", "/");
        let expected = if is_old { 500 } else { outcome::COMPLETE };
        assert_eq!(response.outcome, expected, "{response:?}");
        assert_eq!(call(path, "", "/").outcome, outcome::COMPLETE);
    }
    if is_old {
        let log = LOG.lock().expect("no panic while it is locked");
        let is_named = log.iter().any(|line| line.contains("'wanted'") && line.contains("tracemalloc"));
        assert!(is_named, "{log:?}");
    }
    assert_eq!(call(path, "", "/stop").outcome, outcome::COMPLETE);
    let end = Instant::now() + Duration::from_secs(60);
    while call(path, "wanted", "/").outcome != outcome::COMPLETE {
        assert!(Instant::now() < end, "it is not tried again");
        std::thread::sleep(Duration::from_millis(50));
    }
}

fn check_end(path: &Path) {
    // Threads of the server's may still be there, idle.
    let (done, idle) = mpsc::channel::<()>();
    let (sender, served) = mpsc::channel();
    std::thread::scope(|scope| {
        scope.spawn(move || {
            for (group, path_info) in [("", "/"), ("sub", "/"), ("own", "/"), ("", "/trace")] {
                let _ = sender.send(call(path, group, path_info).status);
            }
            let _ = idle.recv();
        });
        assert_eq!(served.iter().take(4).collect::<Vec<_>>(), [200; 4]);
        let log = log_of_life(&["", "sub", "own"]);
        for group in ["main", "sub", "own"] {
            assert_ended(&log, group);
        }
        position(&log, "Terminating Python.");
        drop(done);
    });
}
