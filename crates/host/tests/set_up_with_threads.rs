//! Interpreters that cannot be set up after threads were started in them.

mod support;

use std::time::{Duration, Instant};

use bridge::{outcome, reason_number};
use support::{Call, LOG, script};

const APPLICATION: &str = "
def application(environ, start_response):
    start_response('200 OK', [])
    return [b'ok']
";

/// A file that Python executes for a directory of its path.
const BROKEN: &str = "import sys, threading; \
    threading.Thread(target=threading.Event().wait, daemon=True).start(); sys.exit('not today')\n";

#[test]
fn an_interpreter_that_threads_keep_is_left_behind() {
    let path = script("set_up_with_threads.py", APPLICATION);
    script("broken/broken.pth", BROKEN);
    let broken = Call { group: "broken", ..Call::new(&path) };
    let good = Call { group: "good", ..Call::new(&path) };
    assert_eq!(good.run().outcome, outcome::COMPLETE);
    // For longer than the pause after a failure that leaves nothing behind.
    let end = Instant::now() + Duration::from_secs(8);
    while Instant::now() < end {
        assert_eq!(broken.run().outcome, 500);
        assert_eq!(good.run().outcome, outcome::COMPLETE);
        std::thread::sleep(Duration::from_millis(50));
    }
    let log = || LOG.lock().expect("no panic while it is locked").join("\n");
    assert_eq!(log().matches("not today").count(), 1, "{}", log());
    assert!(log().contains("keep the interpreter in memory"), "{}", log());
    // CPython aborts if it is finalised with interpreters left.
    // SAFETY: no request is running.
    unsafe { (support::HOST.stop)(reason_number(None), 1000) };
    assert!(!log().contains("is not destroyed"), "{}", log());
}
