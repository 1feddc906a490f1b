//! The end of a process whose application leaves threads behind.

mod support;

use support::ending::{assert_ended, log_of_life, position};

#[test]
fn an_interpreter_with_daemon_threads_is_left_alone() {
    let log = log_of_life(&["", "sub", "daemon"]);
    for group in ["main", "sub"] {
        assert_ended(&log, group);
    }
    position(&log, "daemon atexit");
    assert!(
        log.iter().any(|line| line.contains("of the application still run") && line.contains("'daemon'")),
        "{log:#?}"
    );
}
