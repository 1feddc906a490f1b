//! The life of daemon processes, with a stand-in for them.

mod support;

use std::time::{Duration, Instant};

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use os::process::Exit;
use os::shared::LongWords;
use support::{Server, group, is_alive, text, until};
use wsgi_core::ledger::{EventKind, GroupKey, LONGEST_DETAIL, Reading};
use wsgi_core::lifecycle::Reason;
use wsgi_core::tallies::{Tallies, TallyDirectory};
use wsgi_core::wire::board::{State, slot};
use wsgi_core::wire::launch::{self, Group};

#[test]
fn processes_are_started_and_serve() {
    let mut groups = vec![group("one", &[]), group("two", &[("NAME", "value")])];
    groups[0].daemon.options.processes = Some(2);
    let server = Server::start(groups);
    let pids = [0, 1, 2].map(|slot| server.pid(slot));
    assert!(pids[0] != pids[1] && pids[1] != pids[2]);
    for (slot, pid) in pids.into_iter().enumerate() {
        assert_eq!(server.state(slot), State::Serving);
        assert_eq!(server.word(slot, slot::PID), pid as u32);
    }
    assert_eq!(server.ask(0, "environment NAME"), "unset");
    assert_eq!(server.ask(2, "environment NAME"), "value");
    server.logs("[process group 'two']");
    let log = server.log();
    assert!(log.contains("] [wsgi:info] [pid ") && log.contains(&format!("process {} is started", pids[2])));
}

#[test]
fn a_process_holds_only_what_it_was_given() {
    let mut asking = group("three", &[]);
    asking.daemon.scoreboard = 100;
    let server = Server::start(vec![group("one", &[]), group("two", &[]), asking]);
    for (slot, scoreboards) in [(0, 0), (1, 0), (2, 1)] {
        let links = server.ask(slot, "descriptors");
        let links: Vec<_> = links.split('\t').filter(|link| !link.contains("/proc/")).collect();
        let count = |part: &str| links.iter().filter(|link| link.contains(part)).count();
        // Control, channel, and the connection that carries the command; reports, and lines on
        // three descriptors.
        assert_eq!(
            (count("socket:"), count("memfd:page"), count("error.log"), count("/dev/null"), count("pipe:")),
            (3, 1, 0, 1, 4)
        );
        assert_eq!(count("memfd:scoreboard"), scoreboards, "{links:?}");
        assert_eq!(links.len(), 9 + scoreboards, "{links:?}");
    }
}

#[test]
fn a_successor_takes_over_without_a_gap() {
    let server = Server::start(vec![group("one", &[("LINGER", "0.3")])]);
    let old = server.pid(0);
    assert_eq!(server.ask(0, "replace /good.wsgi"), "asked");
    let new = until("the successor", || {
        let pid = server.pid(0);
        (pid != old).then_some(pid)
    });
    assert_eq!(server.word(0, slot::PID), new as u32);
    assert_eq!(server.exit_of(0, old), Exit::Status(0));
    server.logs(&format!("process {old} gets a successor (shutdown_signal)"));
    assert_eq!(server.word(0, slot::ENDED), 1);
}

#[test]
fn nothing_is_left_of_processes_that_were_replaced() {
    let server = Server::start(vec![group("one", &[])]);
    let open = || std::fs::read_dir(format!("/proc/{}/fd", server.child.pid())).unwrap().count();
    server.pid(0);
    let before = open();
    for round in 1..=10 {
        let pid = server.pid(0);
        server.ask(0, if round % 2 == 0 { "replace /good.wsgi" } else { "replace /broken.wsgi" });
        until("the end of one of them", || (server.word(0, slot::ENDED) == round).then_some(()));
        assert_eq!(server.pid(0) == pid, round % 2 == 1);
    }
    // At first, it may have had one that tells how the start goes on.
    until("the descriptors of now", || (open() <= before).then_some(()));
}

#[test]
fn a_successor_that_does_not_import_leaves_the_old_one_serving() {
    let server = Server::start(vec![group("one", &[])]);
    let pid = server.pid(0);
    for _ in 0..3 {
        server.ask(0, "replace /broken.wsgi");
        server.logs(&format!("process {pid} goes on, its successor could not import its scripts"));
        until("Keep", || server.ask(0, "kept").contains("could not import").then_some(()));
        assert_eq!((server.pid(0), server.state(0)), (pid, State::Serving));
    }
    server.ask(0, "replace /good.wsgi");
    until("the successor", || (server.pid(0) != pid).then_some(()));
}

#[test]
fn a_crash_is_reported_and_repaired() {
    let server = Server::start(vec![group("one", &[]), group("other", &[])]);
    let (pid, other) = (server.pid(0), server.pid(1));
    server.ask(0, "busy 3");
    assert_eq!(server.try_ask(0, "die 11"), None);
    assert_ne!(server.pid(0), pid, "connections wait for the next process");
    assert!(matches!(server.exit_of(0, pid), Exit::Signal(11, _)));
    server.logs(&format!(
        "[wsgi:error] [pid {}] WSGI1002: process {pid} has died: signal 11 (SIGSEGV)",
        server.child.pid()
    ));
    assert_eq!(server.ask(0, "page"), "0", "nothing runs there any more");
    let pid = server.pid(0);
    assert_eq!(server.try_ask(0, "exit 7"), None);
    assert_eq!(server.exit_of(0, pid), Exit::Status(7));
    server.logs(&format!("process {pid} has died: exit status 7"));
    assert_eq!(server.pid(1), other, "the other group has nothing to do with it");
}

#[test]
fn a_process_that_is_told_to_end_is_replaced_first() {
    let server = Server::start(vec![group("one", &[])]);
    let pid = server.pid(0);
    kill(Pid::from_raw(pid), Signal::SIGTERM).unwrap();
    server.logs(&format!("process {pid} shuts down (shutdown_signal)"));
    assert_ne!(server.pid(0), pid);
    assert_eq!(server.exit_of(0, pid), Exit::Status(0));
}

#[test]
fn repeated_failures_are_spaced_out_and_nobody_waits() {
    let server = Server::start(vec![group("one", &[("BEHAVIOUR", "fail")]), group("other", &[])]);
    until("Failing", || (server.state(0) == State::Failing).then_some(()));
    // Whoever waited would wait for a process, which ends before it answers.
    until("answers between two starts", || {
        let before = server.word(0, slot::ENDED);
        for _ in 0..3 {
            assert_eq!(server.try_ask(0, "pid"), None);
        }
        (server.word(0, slot::ENDED) == before).then_some(())
    });
    server.logs("has died before it was ready: exit status 9; another one is started in 2 s");
    let log = server.log();
    let (before, _) = log.split_once("another one is started in 1 s").expect("a pause of a second");
    assert_eq!(before.matches("has died before it was ready: exit status 9").count(), 3, "{log}");
    assert!(server.ask(1, "pid") != "0");
}

#[test]
fn a_missing_python_is_reported_with_the_remedy() {
    let mut missing = group("one", &[]);
    missing.programs = vec![text("/nonexistent/bin/python"), text("/nonexistent/bin/python3")];
    let server = Server::start(vec![missing, group("other", &[])]);
    until("Failing", || (server.state(0) == State::Failing).then_some(()));
    server.logs("WSGI0028: there is no Python at /nonexistent/bin/python or /nonexistent/bin/python3. Correct python-home=");
    assert_eq!(server.try_ask(0, "pid"), None);
    assert!(server.try_ask(1, "pid").is_some());
}

#[test]
fn a_process_that_closes_its_descriptors_is_replaced() {
    let server = Server::start(vec![group("one", &[("BEHAVIOUR", "stubborn")])]);
    let pid = server.pid(0);
    assert_eq!(server.ask(0, "close"), "closed");
    server.logs(&format!("process {pid} has closed its control socket"));
    assert_eq!(server.exit_of(0, pid), Exit::Signal(9, false), "it does not hear SIGTERM either");
    until("another process", || (server.pid(0) != pid).then_some(()));
}

#[test]
fn a_process_that_talks_nonsense_is_replaced() {
    let server = Server::start(vec![group("one", &[])]);
    let pid = server.pid(0);
    assert_eq!(server.ask(0, "nonsense"), "sent");
    server.logs(&format!("process {pid} sent the supervisor what it may not send"));
    // The old one may take a connection and not live long enough to answer.
    until("another process", || {
        server.try_ask(0, "pid").filter(|answer| *answer != pid.to_string()).map(|_| ())
    });
}

#[test]
fn a_generation_retires_when_its_last_client_is_gone() {
    let mut server = Server::start(vec![group("one", &[]), group("two", &[("BEHAVIOUR", "fail")])]);
    let pid = server.pid(0);
    server.retire();
    std::thread::sleep(Duration::from_millis(300));
    assert_eq!(server.pid(0), pid, "it is still needed");
    assert_eq!(server.try_ask(0, "die 9"), None);
    let pid = server.pid(0);
    server.ask(0, "replace /good.wsgi");
    until("Keep", || server.ask(0, "kept").contains("configuration").then_some(()));
    assert!(server.try_ask(1, "pid").is_none());
    let starts = |server: &Server| server.log().matches(" is started, as uid").count();
    let before = starts(&server);
    server.hang_up();
    assert_eq!(server.end(), Exit::Status(0));
    assert!(!is_alive(pid));
    // The failing group may have had another try.
    assert!(starts(&server) <= before + 1, "{}", server.log());
    assert!(!server.log().contains(&format!("process {pid} shuts down")), "as if it were to be replaced");
}

#[test]
fn without_its_parent_everything_ends() {
    let groups = vec![group("one", &[]), group("stubborn", &[("BEHAVIOUR", "stubborn")])];
    let mut server = Server::start(groups);
    let pids = [server.pid(0), server.pid(1)];
    let begin = Instant::now();
    server.abandon();
    until("the end of the first", || (!is_alive(pids[0])).then_some(()));
    assert!(is_alive(pids[1]), "each ends on its own");
    assert_eq!(server.end(), Exit::Status(0));
    // shutdown-timeout and a second.
    assert!(begin.elapsed() >= Duration::from_secs(3), "{:?}", begin.elapsed());
    assert!(!is_alive(pids[1]));
    assert!(server.log().contains("the server's parent process is gone"));
}

#[test]
fn sigterm_ends_everything_and_other_signals_nothing() {
    let mut server = Server::start(vec![group("one", &[("BEHAVIOUR", "default")])]);
    let pid = server.pid(0);
    for signal in [Signal::SIGHUP, Signal::SIGUSR1, Signal::SIGUSR2] {
        server.child.signal(signal).unwrap();
    }
    assert_eq!(server.pid(0), pid);
    server.child.signal(Signal::SIGTERM).unwrap();
    assert_eq!(server.end(), Exit::Status(0));
    assert_eq!(server.exit_of(0, pid), Exit::Signal(15, false));
}

#[test]
fn sigquit_waits_for_no_process() {
    let mut groups =
        vec![group("stubborn", &[("BEHAVIOUR", "stubborn")]), group("deaf", &[("BEHAVIOUR", "stubborn")])];
    for group in &mut groups {
        group.daemon.options.limits.shutdown_timeout = 1_000_000;
    }
    let mut server = Server::start(groups);
    let pids = [server.pid(0), server.pid(1)];
    assert_eq!(server.ask(1, "close"), "closed");
    server.child.signal(Signal::SIGTERM).unwrap();
    server.child.signal(Signal::SIGQUIT).unwrap();
    assert_eq!(server.end(), Exit::Status(0));
    for (slot, pid) in pids.into_iter().enumerate() {
        assert!(!is_alive(pid));
        assert_eq!(server.exit_of(slot, pid), Exit::Signal(9, false));
    }
}

#[test]
fn without_its_supervisor_a_process_sees_the_end() {
    let mut server = Server::start(vec![group("one", &[])]);
    let pid = server.pid(0);
    server.child.signal(Signal::SIGKILL).unwrap();
    assert_eq!(server.end(), Exit::Signal(9, false));
    until("the end of the process", || (!is_alive(pid)).then_some(()));
}

#[test]
fn without_its_supervisor_a_process_that_hangs_does_not_stay() {
    let mut groups = vec![group("one", &[("BEHAVIOUR", "hang")])];
    if nix::unistd::geteuid().is_root() {
        // The change of user takes back what was set before.
        groups[0].account = Some(launch::Account { uid: 65_534, gid: 65_534, supplementary: None });
        groups[0].daemon.options.home = Some(text("/"));
    }
    let mut server = Server::start(groups);
    let pid = until("a process", || {
        let log = server.log();
        let (before, _) = log.split_once(" is started, as uid")?;
        before.rsplit_once("process ")?.1.parse().ok()
    });
    assert!(is_alive(pid));
    server.child.signal(Signal::SIGKILL).unwrap();
    assert_eq!(server.end(), Exit::Signal(9, false));
    until("the end of the process", || (!is_alive(pid)).then_some(()));
}

#[test]
fn a_supervisor_names_what_it_lacks() {
    let output = std::process::Command::new(env!("CARGO_BIN_EXE_supervisor")).arg("2").output().unwrap();
    assert!(!output.status.success());
    let said = String::from_utf8(output.stderr).unwrap();
    assert!(said.contains("[wsgi:crit]") && said.contains("WSGI0002: the supervisor cannot start"), "{said}");
}

/// Returns a group whose slot has a row for tallies.
fn counted(name: &str, directory: &mut TallyDirectory) -> Group {
    let mut group = group(name, &[]);
    let key = GroupKey { name: name.as_bytes().into(), ..GroupKey::default() };
    let former = directory.arrange(&[(key.clone(), 1)], Reading { number: 1, oldest: 1 });
    assert!(former.is_empty());
    group.number = directory.number(&key);
    group.tallies = directory.rows(&key).iter().map(|row| row.0).collect();
    group
}

#[test]
fn what_becomes_of_processes_is_counted_and_recorded_beyond_the_supervisors_life() {
    let mut directory = TallyDirectory::default();
    let mut groups = || vec![counted("one", &mut directory), counted("other", &mut directory)];
    let (first, second) = (groups(), groups());
    let record = LongWords::create_for_writers(c"tallies", directory.words()).unwrap();
    let server = Server::start_with_record(first, &record);
    let pid = server.pid(0);
    assert_eq!(server.try_ask(0, "die 11"), None);
    server.pid(0);
    assert_eq!(server.try_ask(0, "exit 3"), None);
    let third = server.pid(0);
    server.ask(0, "replace /broken.wsgi");
    server.logs(&format!("process {third} goes on"));
    let tallies = server.tallies(0);
    assert_eq!((&*tallies.crashed, tallies.exits, tallies.failed_reloads), (&[(11, 1)][..], 1, 1));
    assert_eq!(server.tallies(1), Tallies::default());
    let events = server.events();
    let kinds: Vec<_> = events.iter().map(|event| event.kind).collect();
    assert_eq!(kinds, [EventKind::FailedReload, EventKind::Crash, EventKind::Crash]);
    let first = &events[2];
    assert_eq!((first.number, &*first.group, first.pid), (1, &b"one"[..], pid as u32));
    let text = String::from_utf8_lossy(&first.text);
    assert!(text.starts_with(&format!("process {pid} has died: signal 11 (SIGSEGV)")), "{text}");
    kill(Pid::from_raw(third), Signal::SIGTERM).unwrap();
    until("an end", || (server.tallies(0).ended == [(Reason::ShutdownSignal, 1)]).then_some(()));
    drop(server);

    let server = Server::start_with_record(second, &record);
    server.pid(0);
    assert_eq!(server.try_ask(0, "die 11"), None);
    server.pid(0);
    assert_eq!((server.tallies(0).crashed, server.events().len()), (vec![(11, 2)], 4));
}

#[test]
fn failed_imports_are_recorded_within_limits() {
    let mut directory = TallyDirectory::default();
    let server = Server::start(vec![counted("one", &mut directory), counted("other", &mut directory)]);
    server.ask(1, "import-failed 1");
    server.ask(0, "import-failed 40");
    until("events", || (server.events().len() >= 9).then_some(()));
    // It has been heard.
    server.ask(0, "replace /good.wsgi");
    server.logs("gets a successor");
    let events = server.events();
    let of_one = events.iter().filter(|event| *event.group == *b"one").count();
    assert_eq!((of_one, events.len()), (8, 9), "a process cannot drive out the events of others");
    assert!(events.iter().all(|event| event.kind == EventKind::FailedImport));
    let event = &events[8];
    assert_eq!((&*event.group, event.detail.len()), (&b"other"[..], LONGEST_DETAIL));
    assert_eq!(String::from_utf8_lossy(&event.text), "/w/app.wsgi: ?[31mNameError?");
}

#[test]
fn stuck_requests_are_counted_and_recorded_within_limits() {
    let mut directory = TallyDirectory::default();
    let server = Server::start(vec![counted("one", &mut directory), counted("other", &mut directory)]);
    server.ask(1, "stuck 1");
    server.ask(1, "import-failed 1");
    server.ask(0, "stuck 40");
    until("all counts", || (server.tallies(0).stuck == 80).then_some(()));
    until("events", || (server.events().len() >= 10).then_some(()));
    let events = server.events();
    let kinds: Vec<_> = events.iter().map(|event| (&*event.group, event.kind)).collect();
    assert_eq!(kinds[..8], [(&b"one"[..], EventKind::Stuck); 8], "a flood drives out no other events");
    assert_eq!(kinds[8..], [(&b"other"[..], EventKind::FailedImport), (&b"other"[..], EventKind::Stuck)]);
    let event = &events[9];
    assert_eq!((event.pid, event.detail.len()), (server.pid(1) as u32, LONGEST_DETAIL));
    assert_eq!(String::from_utf8_lossy(&event.text), "held for 0 seconds: GET /?[31m?");
    assert_eq!((server.tallies(1).stuck, server.tallies(1).exits), (2, 0), "and it goes on");
}
