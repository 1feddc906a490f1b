//! The supervisor under failure: whatever processes do, it goes on, and others do not notice.

#![allow(clippy::unwrap_used, reason = "a test that can not set up its world has failed")]

mod support;

use std::time::{Duration, Instant};

use support::{Server, group, until};
use wsgi_core::wire::board::{State, slot};

/// What the supervisor has used of a processor.
fn processor_time(server: &Server) -> Duration {
    let stat = std::fs::read_to_string(format!("/proc/{}/stat", server.child.pid())).unwrap();
    let fields: Vec<_> = stat.rsplit_once(") ").unwrap().1.split(' ').collect();
    let ticks = |at: usize| fields[at].parse::<u64>().unwrap();
    Duration::from_millis(10 * (ticks(11) + ticks(12)))
}

#[test]
fn a_process_that_ends_itself_is_started_a_bounded_number_of_times() {
    let server = Server::start(vec![group("one", &[("BEHAVIOUR", "ends-itself")]), group("other", &[])]);
    let other = server.pid(1);
    until("Failing", || (server.state(0) == State::Failing).then_some(()));
    server.logs("processes of this slot end as soon as they are started");
    let begin = Instant::now();
    while begin.elapsed() < Duration::from_secs(4) {
        // Requests do not wait, but when a process happens to be there.
        let _ = server.try_ask(0, "pid");
        std::thread::sleep(Duration::from_millis(20));
    }
    let ended = server.word(0, slot::ENDED);
    assert!((4..=13).contains(&ended), "{ended}: {}", server.log());
    assert_eq!(server.pid(1), other);
}

#[test]
fn a_process_that_floods_the_supervisor_is_not_listened_to() {
    for command in ["flood", "dribble"] {
        let server = Server::start(vec![group("one", &[]), group("other", &[])]);
        let (pid, other) = (server.pid(0), server.pid(1));
        assert_eq!(server.try_ask(0, command), None);
        server.logs(&format!("process {pid} sent the supervisor what it may not send"));
        until("another process", || (server.pid(0) != pid).then_some(()));
        assert!(processor_time(&server) < Duration::from_secs(2), "{command}: {:?}", processor_time(&server));
        assert_eq!(server.log().matches("what it may not send").count(), 1, "{}", server.log());
        assert_eq!(server.pid(1), other);
    }
}

#[test]
fn a_process_can_not_write_lines_of_the_servers_log() {
    let server = Server::start(vec![group("one", &[])]);
    let pid = server.pid(0);
    assert_eq!(server.ask(0, "forge"), "sent");
    until("another process", || {
        server.try_ask(0, "pid").filter(|answer| *answer != pid.to_string()).map(|_| ())
    });
    assert!(!server.log().contains("forged"), "{}", server.log());
}
