//! Interpreters that are wanted while memory is traced: before Python 3.12, their creation would wait for itself.

mod support;

use std::sync::mpsc;
use std::time::{Duration, Instant};

use bridge::outcome;
use support::{Call, LOG, script};

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

#[test]
fn no_interpreter_is_created_while_memory_is_traced() {
    let path = script("traced_set_up.py", APPLICATION);
    let (sender, done) = mpsc::channel();
    let test = std::thread::spawn(move || {
        let call = |group, path_info| Call { group, path_info, ..Call::new(&path) }.run();
        let is_old = call("", "/trace").text() == "old";
        for _ in 0..3 {
            let response = call("wanted", "/");
            let expected = if is_old { 500 } else { outcome::COMPLETE };
            assert_eq!(response.outcome, expected, "{response:?}");
            assert_eq!(call("", "/").outcome, outcome::COMPLETE);
        }
        if is_old {
            let log = LOG.lock().expect("no panic while it is locked");
            assert!(
                log.iter().any(|line| line.contains("'wanted'") && line.contains("tracemalloc")),
                "{log:?}"
            );
        }
        assert_eq!(call("", "/stop").outcome, outcome::COMPLETE);
        let end = Instant::now() + Duration::from_secs(60);
        while call("wanted", "/").outcome != outcome::COMPLETE {
            assert!(Instant::now() < end, "it is not tried again");
            std::thread::sleep(Duration::from_millis(50));
        }
        let _ = sender.send(());
    });
    // What waits for itself holds Python's lock, and is left behind.
    let outcome = done.recv_timeout(Duration::from_secs(90));
    assert!(outcome != Err(mpsc::RecvTimeoutError::Timeout), "a request does not come back");
    test.join().expect("no failure");
}
