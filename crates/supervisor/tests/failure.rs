//! The supervisor under failure: whatever processes do, it goes on, and others do not notice.

#![allow(clippy::unwrap_used, reason = "a test that cannot set up its world has failed")]

mod support;

use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::{Duration, Instant};

use os::process::Exit;
use support::{Server, group, install, is_root, text, until};
use wsgi_core::wire::board::{State, slot};
use wsgi_core::wire::launch::Account;

/// Returns the processor time that the supervisor has used.
fn processor_time(server: &Server) -> Duration {
    let stat = std::fs::read_to_string(format!("/proc/{}/stat", server.child.pid())).unwrap();
    let fields: Vec<_> = stat.rsplit_once(") ").unwrap().1.split(' ').collect();
    let ticks = |at: usize| fields[at].parse::<u64>().unwrap();
    Duration::from_millis(10 * (ticks(11) + ticks(12)))
}

#[test]
fn a_process_that_ends_itself_is_started_a_bounded_number_of_times() {
    let start = Instant::now();
    let server = Server::start(vec![group("one", &[("BEHAVIOUR", "ends-itself")]), group("other", &[])]);
    let other = server.pid(1);
    until("Failing", || (server.state(0) == State::Failing).then_some(()));
    server.logs("processes of this slot end as soon as they are started");
    let begin = Instant::now();
    let ended = loop {
        // Requests do not wait, but when a process happens to be there.
        let _ = server.try_ask(0, "pid");
        std::thread::sleep(Duration::from_millis(20));
        let ended = u64::from(server.word(0, slot::ENDED));
        if ended >= 4 && begin.elapsed() >= Duration::from_secs(4) {
            break ended;
        }
        assert!(begin.elapsed() < Duration::from_secs(60), "{ended} ended: {}", server.log());
    };
    // Eight at once, then one a second.
    let most = 8 + 1 + start.elapsed().as_secs();
    assert!(ended <= most, "{ended} of {most}: {}", server.log());
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
fn a_process_cannot_write_lines_of_the_servers_log() {
    let server = Server::start(vec![group("one", &[])]);
    let pid = server.pid(0);
    assert_eq!(server.ask(0, "forge"), "sent");
    until("another process", || {
        server.try_ask(0, "pid").filter(|answer| *answer != pid.to_string()).map(|_| ())
    });
    assert!(!server.log().contains("forged"), "{}", server.log());
}

/// A library to be preloaded.
fn library(directory: &Path, name: &str) -> PathBuf {
    let library = directory.join(name).with_extension("so");
    let source = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests").join(name).with_extension("c");
    let status = Command::new("cc").args(["-shared", "-fPIC", "-o"]).arg(&library).arg(source).status();
    assert!(status.unwrap().success(), "what links Rust can compile C");
    library
}

/// That the process of this slot is replaced while the log does not say yet that a start has taken
/// too long.
fn replaced_meanwhile(server: &Server, slot: usize) {
    let old = server.pid(slot);
    assert_eq!(server.try_ask(slot, "die 9"), None);
    assert_ne!(server.pid(slot), old);
    assert!(!server.log().contains("in time"), "{}", server.log());
}

#[test]
fn a_user_database_that_hangs_delays_nobody_else() {
    if !is_root() {
        return;
    }
    let directory = tempfile::tempdir().unwrap();
    let library = library(directory.path(), "hanging");
    let mut slow = group("slow", &[]);
    slow.account = Some(Account { uid: 65_534, gid: 65_534, supplementary: None });
    let groups = vec![slow, group("other", &[])];
    let mut server = Server::start_with(groups, &[("LD_PRELOAD", library.to_str().unwrap())]);
    for _ in 0..2 {
        replaced_meanwhile(&server, 1);
    }
    server.logs("WSGI0028: the user database (see /etc/nsswitch.conf: LDAP, SSSD, NIS) has not said in time who the user #65534 is");
    assert_eq!(server.state(0), State::Starting);
    // Neither does it delay the end.
    server.abandon();
    assert_eq!(server.end(), Exit::Status(0));
}

#[test]
fn a_program_that_hangs_delays_nobody_else() {
    let directory = tempfile::tempdir().unwrap();
    let library = library(directory.path(), "hanging");
    let mut slow = group("slow", &[]);
    slow.programs = vec![text("/HANGING/python")];
    let groups = vec![slow, group("other", &[])];
    let mut server = Server::start_with(groups, &[("LD_PRELOAD", library.to_str().unwrap())]);
    for _ in 0..2 {
        replaced_meanwhile(&server, 1);
    }
    server.logs("did not get to run /HANGING/python in time, and is killed. Most likely a file system hangs");
    server.abandon();
    assert_eq!(server.end(), Exit::Status(0));
}

#[test]
fn the_supervisor_adopts_orphans() {
    let server = Server::start(vec![group("one", &[]), group("other", &[])]);
    let directory = tempfile::tempdir().unwrap();
    let file = directory.path().join("pid");
    let pid = server.pid(0);
    assert_eq!(server.ask(0, &format!("orphan 1 {}", file.display())), "left");
    let orphan: i32 = until("the orphan", || std::fs::read_to_string(&file).ok()?.parse().ok());
    let parent = std::fs::read_to_string(format!("/proc/{orphan}/stat")).unwrap();
    let parent = parent.rsplit_once(") ").unwrap().1.split(' ').nth(1).unwrap().to_owned();
    assert_eq!(parent, server.child.pid().to_string());
    until("nothing of it", || (!Path::new(&format!("/proc/{orphan}")).exists()).then_some(()));
    // And it is nobody whom the supervisor would miss.
    assert_eq!((server.pid(0), server.word(0, slot::ENDED)), (pid, 0));
    assert_eq!(server.state(1), State::Serving);
}

#[test]
fn each_process_counts_for_itself() {
    let server = Server::start(vec![group("one", &[("LINGER", "6")])]);
    let (old, word) = (server.pid(0), server.ask(0, "word"));
    server.ask(0, "busy 3");
    // Those that follow it while it lives have other words, and what ends takes with it what it has
    // counted, no more.
    let mut words = vec![word];
    for _ in 0..2 {
        let before = server.pid(0);
        server.ask(0, "replace /good.wsgi");
        until("the successor", || (server.pid(0) != before).then_some(()));
        words.push(server.ask(0, "word"));
    }
    words.sort_unstable();
    words.dedup();
    assert_eq!(words.len(), 3, "{words:?}");
    server.ask(0, "busy 2");
    assert_eq!(server.exit_of(0, old), Exit::Status(0));
    until("what is left", || (server.ask(0, "page") == "2").then_some(()));
    let pid = server.pid(0);
    assert_eq!(server.try_ask(0, "die 9"), None);
    until("another process", || (server.pid(0) != pid).then_some(()));
    until("nothing", || (server.ask(0, "page") == "0").then_some(()));
}

#[test]
fn a_list_of_scripts_may_be_longer_than_a_socket_takes() {
    let server = Server::start(vec![group("one", &[])]);
    let pid = server.pid(0);
    server.ask(0, "replace-much");
    until("the successor", || (server.pid(0) != pid).then_some(()));
    assert!(!server.log().contains("WSGI0001"), "{}", server.log());
}

#[test]
fn a_flood_of_orphans_holds_up_nobody() {
    let server = Server::start(vec![group("one", &[]), group("other", &[])]);
    let pid = server.pid(0);
    assert_eq!(server.ask(0, "orphans"), "begun");
    for _ in 0..2 {
        let old = server.pid(1);
        assert_eq!(server.try_ask(1, "die 9"), None);
        assert_ne!(server.pid(1), old);
    }
    assert_eq!(server.pid(0), pid);
}

#[test]
fn a_start_that_has_failed_is_tried_again_until_it_works() {
    let directory = tempfile::tempdir().unwrap();
    let program = directory.path().join("python");
    let mut missing = group("one", &[]);
    missing.programs = vec![text(program.to_str().unwrap())];
    let server = Server::start(vec![missing, group("other", &[])]);
    let other = server.pid(1);
    until("Failing", || (server.state(0) == State::Failing).then_some(()));
    assert_eq!(server.try_ask(0, "pid"), None);
    let draft = directory.path().join("draft");
    install(&draft);
    std::fs::rename(draft, program).unwrap();
    until("it works", || (server.state(0) == State::Serving).then_some(()));
    server.pid(0);
    // Nothing has come of those that failed: they were no processes of the group.
    assert_eq!((server.word(0, slot::ENDED), server.pid(1)), (0, other));
}

#[test]
fn what_is_wrong_with_a_virtual_environment_is_logged() {
    let place = tempfile::tempdir().unwrap();
    let environment = place.path().join("venv");
    std::fs::create_dir_all(environment.join("bin")).unwrap();
    std::fs::write(environment.join("pyvenv.cfg"), "home = /usr/bin\nversion = 3.2.1\n").unwrap();
    let python = environment.join("bin/python");
    std::os::unix::fs::symlink("/usr/bin/python3.2", &python).unwrap();
    let mut broken = group("one", &[]);
    broken.programs = vec![text(python.to_str().unwrap())];
    let server = Server::start(vec![broken]);
    server.logs(&format!(
        "the Python of the process group 'one': {} is a link that leads nowhere: the Python that the virtual environment",
        python.display()
    ));
}

#[test]
fn descriptors_are_closed_where_the_kernel_has_no_call_for_it() {
    let directory = tempfile::tempdir().unwrap();
    let library = library(directory.path(), "old_kernel");
    let groups = vec![group("one", &[]), group("two", &[])];
    let server = Server::start_with(groups, &[("LD_PRELOAD", library.to_str().unwrap())]);
    for slot in [0, 1] {
        let links = server.ask(slot, "descriptors");
        // As with the call: standard input, two for lines and one of its own, reports, control,
        // channel, page, connection.
        let links: Vec<_> = links.split('\t').filter(|link| !link.contains("/proc/")).collect();
        assert_eq!(links.len(), 9, "{links:?}");
    }
}
