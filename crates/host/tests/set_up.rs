//! Interpreters that cannot be set up.

mod support;

use std::time::{Duration, Instant};

use bridge::{outcome, reason_number};
use support::{Call, LOG, script};

const APPLICATION: &str = "
import threading
local = threading.local()
def application(environ, start_response):
    start_response('200 OK', [])
    return [b'ok']
";

/// Returns the size of the part of the process that is in memory, in kilobytes.
fn resident() -> usize {
    let pages = std::fs::read_to_string("/proc/self/statm").expect("a system with /proc");
    pages.split(' ').nth(1).and_then(|pages| pages.parse().ok()).map_or(0, |pages: usize| pages * 4)
}

#[test]
fn an_interpreter_that_cannot_be_set_up_is_ended_and_not_retried_at_once() {
    let path = script("set_up.py", APPLICATION);
    // A file that Python executes for a directory of its path.
    let cause = script("broken/broken.pth", "import sys; sys.exit('not today')\n");
    let call = Call { group: "broken", ..Call::new(&path) };
    let good = Call { group: "good", ..Call::new(&path) };
    assert_eq!(good.run().outcome, outcome::COMPLETE);
    for _ in 0..3 {
        assert_eq!(call.run().outcome, 500);
    }
    let before = resident();
    for _ in 0..200 {
        let response = call.run();
        assert_eq!(response.outcome, 500, "{response:?}");
        assert!(response.has_logged("WSGI0087"), "{response:?}");
    }
    let grown = resident().saturating_sub(before);
    assert!(grown < 40 << 10, "{grown} kilobytes more");
    assert_eq!(good.run().outcome, outcome::COMPLETE);
    let count = |text: &str| {
        let log = LOG.lock().expect("no panic while it is locked");
        log.iter().filter(|line| line.contains(text)).count()
    };
    // More than once only where this took seconds.
    assert!(count("not today") < 20, "{}", count("not today"));

    std::fs::remove_file(cause).expect("a file to be removed");
    let end = Instant::now() + Duration::from_secs(30);
    while call.run().outcome != outcome::COMPLETE {
        assert!(Instant::now() < end, "it is not tried again");
        std::thread::sleep(Duration::from_millis(50));
    }
    // SAFETY: no request is running.
    unsafe { (support::HOST.stop)(reason_number(None), 1000) };
    assert!(count("is not destroyed") == 0, "an interpreter is in use");
}
