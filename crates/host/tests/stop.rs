//! The end of a process. A file of its own, because Python can be stopped only once.

mod support;

use support::ending::{assert_ended, log_of_life, position};

#[test]
fn applications_are_told_and_interpreters_end_in_order() {
    let log = log_of_life(&["", "sub", "own"]);
    for group in ["main", "sub", "own"] {
        assert_ended(&log, group);
    }
    assert!(position(&log, "sub atexit") < position(&log, "main atexit"), "{log:#?}");
    position(&log, "Terminating Python.");
}
