//! The lines of daemon processes and of the supervisor in the error log, also when either ends.

mod support;

use std::io::Read;
use std::os::fd::OwnedFd;
use std::os::unix::net::UnixDatagram;
use std::path::Path;
use std::process::Command;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use os::process::Exit;
use support::{Server, group, until};
use wsgi_core::wire::board::slot;
use wsgi_core::wire::launch::Syslog;

/// Position of a text in the log, which has to be there.
#[track_caller]
fn place(log: &str, text: &str) -> usize {
    let end = || log.lines().rev().take(20).collect::<Vec<_>>();
    log.find(text).unwrap_or_else(|| panic!("'{text}' is not in the log: {:#?}", end()))
}

#[test]
fn a_process_cannot_tamper_with_the_log() {
    let server = Server::start(vec![group("one", &[])]);
    server.ask(0, "tell before\\n");
    server.logs("before\n");
    let outcome = server.ask(0, "tamper");
    assert_eq!(outcome, "EINVAL ESPIPE done done done");
    server.ask(0, "tell after\\n");
    server.logs("after\n");
    assert!(place(&server.log(), "is started") < place(&server.log(), "before\n"));
    let size = server.log().len();
    // The supervisor's own lines do not follow from what the process has set either.
    kill(Pid::from_raw(server.pid(0)), Signal::SIGKILL).unwrap();
    server.logs("SIGKILL");
    assert!(server.log().len() > size);
}

#[test]
fn all_lines_reach_syslog_where_that_is_the_log() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("log");
    let listener = UnixDatagram::bind(&path).unwrap();
    listener.set_read_timeout(Some(Duration::from_secs(20))).unwrap();
    let socket = path.to_str().unwrap().as_bytes().into();
    let syslog = Syslog { socket, facility: 17, tag: b"site".as_slice().into() };
    let server = Server::start_with_syslog(vec![group("one", &[])], syslog);
    let head = format!("site[{}]: ", server.child.pid());
    let expect = |head: &str, text: &str| {
        let mut message = [0; 4096];
        loop {
            let length = listener.recv(&mut message).unwrap_or_else(|error| panic!("'{text}': {error}"));
            let message = String::from_utf8_lossy(&message[..length]);
            if message.contains(text) {
                return assert!(message.starts_with(head), "{message}");
            }
        }
    };
    expect(&format!("<142>{head}["), "is started");
    server.ask(0, "tell of the application\\n");
    expect(&format!("<141>{head}of"), "of the application");
    kill(Pid::from_raw(server.pid(0)), Signal::SIGKILL).unwrap();
    expect(&format!("<139>{head}["), "SIGKILL");
}

/// A supervisor that is not needed any more but by something that writes to the log when the file
/// is there.
fn left_with_a_writer(file: &Path) -> Server {
    let mut server = Server::start(vec![group("one", &[])]);
    let pid = server.pid(0);
    assert_eq!(server.ask(0, &format!("writer {}", file.display())), "left");
    server.retire();
    server.hang_up();
    server.logs(&format!("process {pid} has ended"));
    server
}

#[test]
fn survivors_of_a_generation_still_write_to_the_log() {
    let directory = tempfile::tempdir().unwrap();
    let file = directory.path().join("go");
    let mut server = left_with_a_writer(&file);
    std::fs::write(&file, "").unwrap();
    server.logs("of the orphan\n");
    assert_eq!(server.end(), Exit::Status(0));
}

#[test]
fn the_server_ends_whoever_still_writes() {
    let directory = tempfile::tempdir().unwrap();
    let file = directory.path().join("go");
    let mut server = left_with_a_writer(&file);
    server.child.signal(Signal::SIGTERM).unwrap();
    assert_eq!(server.end(), Exit::Status(0));
    std::fs::write(&file, "").unwrap();
}

#[test]
fn a_log_that_may_not_grow_any_more_costs_its_lines_only() {
    let server = Server::start(vec![group("one", &[])]);
    let pid = server.pid(0);
    server.logs("is started");
    let limit = |size: &str| {
        let supervisor = server.child.pid().to_string();
        let status =
            Command::new("prlimit").args(["--pid", &supervisor, &format!("--fsize={size}:")]).status();
        assert!(status.unwrap().success());
    };
    limit("1");
    server.ask(0, "write 5000 in vain");
    limit("unlimited");
    server.ask(0, "tell again\\n");
    server.logs("again\n");
    assert_eq!(server.pid(0), pid);
}

#[test]
fn lines_of_every_kind_arrive_whole_and_in_order() {
    let server = Server::start(vec![group("one", &[]), group("two", &[])]);
    for slot in [0, 1] {
        server.ask(slot, &format!("write 5000 of slot {slot}"));
    }
    // No text, no end for now, and more than a pipe holds at once.
    server.ask(0, "tell \\xff\\xfe\\x00 bytes\\nin ");
    server.ask(1, &format!("tell {}\\n", "x".repeat(20_000)));
    server.ask(0, "tell parts\\n");
    server.logs("4999 of slot 0\n");
    server.logs("4999 of slot 1\n");
    let log = server.log_bytes();
    for slot in [0, 1] {
        let end = format!(" of slot {slot}");
        let numbers = log.split(|byte| *byte == b'\n').filter_map(|line| {
            std::str::from_utf8(line.strip_suffix(end.as_bytes())?).ok()?.parse::<u32>().ok()
        });
        assert!(numbers.eq(0..5000), "lines of slot {slot} are missing, torn or out of order");
    }
    server.logs(&format!("\n{}\n", "x".repeat(20_000)));
    let is_there = |line: &[u8]| server.log_bytes().split(|byte| *byte == b'\n').any(|one| one == line);
    until("bytes that are no text", || is_there(b"\xff\xfe\x00 bytes").then_some(()));
}

#[test]
fn last_words_come_before_the_end() {
    let mut server = Server::start(vec![group("one", &[])]);
    let pid = server.pid(0);
    assert_eq!(server.try_ask(0, "last"), None);
    server.logs(&format!("process {pid} has died"));
    let words = format!("last words of {pid}, without an end\n");
    assert!(place(&server.log(), &words) < place(&server.log(), &format!("process {pid} has died")));
    // Also when everything ends.
    server.pid(0);
    server.ask(0, "tell said at the end, again without one");
    server.child.signal(Signal::SIGTERM).unwrap();
    assert_eq!(server.end(), Exit::Status(0));
    place(&server.log(), "said at the end, again without one\n");
}

#[test]
fn a_log_that_is_not_read_holds_up_nothing() {
    let (mut reader, log) = std::io::pipe().unwrap();
    let log = OwnedFd::from(log);
    let mut server =
        Server::start_with_pipe(vec![group("one", &[]), group("two", &[])], log.try_clone().unwrap());
    let pids = [server.pid(0), server.pid(1)];
    server.ask(0, &format!("write 20000 {}", "x".repeat(200)));
    until("a full log", || (os::descriptors::pipe_use(&log).unwrap().0 > 8_000).then_some(()));
    for (index, pid) in pids.into_iter().enumerate() {
        kill(Pid::from_raw(pid), Signal::SIGKILL).unwrap();
        assert_eq!(server.exit_of(index, pid), Exit::Signal(9, false));
        assert_ne!(server.pid(index), pid, "it is not replaced");
    }
    // The application waits for nobody either.
    server.ask(1, &format!("write 20000 {}", "y".repeat(200)));
    until("the end of the flood", || (server.ask(1, "written") == "True").then_some(()));
    drop(log);
    let all = Arc::new(Mutex::new(Vec::new()));
    let reading = std::thread::spawn({
        let all = Arc::clone(&all);
        move || {
            let mut part = vec![0; 10_000];
            while let Ok(count @ 1..) = reader.read(&mut part) {
                all.lock().unwrap().extend_from_slice(&part[..count]);
            }
        }
    });
    let all = || String::from_utf8_lossy(&all.lock().unwrap()).into_owned();
    // What comes before it moves is dropped, too.
    until("a line after the flood", || {
        server.ask(1, "tell after the flood\\n");
        all().contains("\nafter the flood\n").then_some(())
    });
    server.child.signal(Signal::SIGTERM).unwrap();
    assert_eq!(server.end(), Exit::Status(0));
    reading.join().unwrap();
    let all = all();
    assert!(place(&all, "lines were dropped") < place(&all, "after the flood\n"));
    assert!(all.lines().all(|line| !line.contains("xy") && !line.contains("yx")), "lines are torn");
}

#[test]
fn everything_ends_in_time_although_the_log_is_not_read() {
    let (reader, log) = std::io::pipe().unwrap();
    let log = OwnedFd::from(log);
    let mut server = Server::start_with_pipe(vec![group("one", &[])], log.try_clone().unwrap());
    let pid = server.pid(0);
    server.ask(0, &format!("write 20000 {}", "x".repeat(200)));
    until("a full log", || (os::descriptors::pipe_use(&log).unwrap().0 > 8_000).then_some(()));
    // What the server itself has to say still fits.
    let (used, size) = os::descriptors::pipe_use(&log).unwrap();
    assert!(used <= size / 2, "{used} of {size} bytes are used");
    server.child.signal(Signal::SIGTERM).unwrap();
    assert_eq!(server.end(), Exit::Status(0));
    assert!(!support::is_alive(pid) && server.word(0, slot::ENDED) == 1);
    drop(reader);
}
