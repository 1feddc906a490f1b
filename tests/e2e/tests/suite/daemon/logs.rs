//! Lines of daemon processes in the error log, and the harm that they cannot do to it.

use std::os::unix::fs::MetadataExt;

use e2e::Needs::{Daemon, NoSanitizer, Ours};
use e2e::{LogMark, Server, Setup, Test, on_one_mpm, signal, wait_until};
use nix::sys::signal::Signal;

use super::{finish, serving_process, start_request, wait_for_successor};

pub(crate) const TESTS: &[Test] = &[
    on_one_mpm!(
        a_log_program_that_does_not_read_holds_up_nothing,
        Daemon,
        Ours("log that nobody else can do anything to")
    ),
    on_one_mpm!(
        the_server_stops_although_its_log_is_not_read,
        Daemon,
        Ours("log that nobody else can do anything to")
    ),
    on_one_mpm!(
        an_application_cannot_tamper_with_the_log,
        Daemon,
        Ours("log that nobody else can do anything to")
    ),
    on_one_mpm!(
        lines_of_threads_are_whole_and_in_order,
        Daemon,
        Ours("log that nobody else can do anything to")
    ),
    on_one_mpm!(
        last_words_arrive_before_the_end_is_told,
        Daemon,
        Ours("log that nobody else can do anything to"),
        NoSanitizer("it would report SIGSEGV")
    ),
    on_one_mpm!(
        an_old_process_writes_to_the_log_that_it_was_started_with,
        Daemon,
        Ours("log that nobody else can do anything to")
    ),
    on_one_mpm!(
        a_process_outlives_its_supervisor_whatever_it_does_with_sigpipe,
        Daemon,
        Ours("log that nobody else can do anything to")
    ),
];

const APP: &str = include_str!("../../../apps/logs.wsgi");

/// Copies the log until it is told not to read any more; goes on when the gate is open.
const PROGRAM: &str = "#!/bin/sh\n\
    while IFS= read -r line; do\n\
    printf '%s\\n' \"$line\" >> @ROOT@/logs/error.log\n\
    case $line in *'stop reading'*) break ;; esac\n\
    done\n\
    while [ ! -e @ROOT@/htdocs/gate ] && kill -0 $(cat @ROOT@/run/httpd.pid); do sleep 0.05; done 2> /dev/null\n\
    exec cat >> @ROOT@/logs/error.log\n";

fn serving(setup: Setup, options: &str) -> Setup {
    setup.group(options).app("/", "app.wsgi", APP).conf("WSGIApplicationGroup %{GLOBAL}")
}

/// A log program that does not read any more, and a process that has written much.
fn start_flooded_server(setup: Setup) -> Server {
    let server = serving(setup, "")
        .file("log-program", PROGRAM)
        .conf("ErrorLog \"|/bin/sh @ROOT@/log-program\"")
        .start();
    let mark = server.mark();
    assert_eq!(server.get("/start_flood").expect(200), "started");
    server.wait_log(mark, "stop reading");
    server
}

fn a_log_program_that_does_not_read_holds_up_nothing(setup: Setup) {
    let server = start_flooded_server(setup);
    let old = serving_process(&server);
    signal(old, Signal::SIGKILL);
    // A process that was not waited for would still be there.
    wait_until("the end of the old process", || (!old.path("stat").exists()).then_some(()));
    let new = wait_for_successor(&server, old);
    // The application does not wait for the log either.
    assert_eq!(server.get("/start_flood").expect(200), "started");
    wait_until("the end of the flood", || (server.get("/flooded").expect(200) == "True").then_some(()));
    assert_eq!(serving_process(&server), new);
    let mark = server.mark();
    server.write("htdocs/gate", "");
    server.wait_log(mark, "lines were dropped");
    // What comes afterwards arrives.
    wait_until("a line after the flood", || {
        let _ = server.get("/write?after-the-flood").expect(200);
        server.log_since(mark).contains("\nafter-the-flood\n").then_some(())
    });
    server.wait_log(mark, "SIGKILL");
}

fn the_server_stops_although_its_log_is_not_read(setup: Setup) {
    let mut server = start_flooded_server(setup);
    let processes: Vec<_> = server.daemons().into_iter().chain(server.supervisors()).collect();
    wait_until("the end of the flood", || (server.get("/flooded").expect(200) == "True").then_some(()));
    let _ = server.stop();
    processes.into_iter().for_each(super::wait_ended);
}

fn an_application_cannot_tamper_with_the_log(setup: Setup) {
    serving(setup, "").run(|server, cases| {
        assert_eq!(server.get("/write?before").expect(200), "written");
        server.wait_log(LogMark::default(), "before\n");
        let path = server.path("logs/error.log");
        let owner = std::fs::metadata(&path).map(|metadata| metadata.uid()).ok();
        assert_eq!(owner, Some(nix::unistd::geteuid().as_raw()));
        let before = server.log_since(LogMark::default());
        assert_eq!(server.get("/tamper").expect(200), "EINVAL ESPIPE done EINVAL");
        for number in 0..3 {
            assert_eq!(server.get(&format!("/write?after-{number}")).expect(200), "written");
        }
        let mark = server.mark();
        signal(serving_process(server), Signal::SIGKILL);
        let log = server.wait_log(mark, "SIGKILL");
        cases.check("what comes later is there", || assert!(log.contains("[wsgi:error]"), "{log}"));
        let log = server.wait_log(LogMark::default(), "after-2\n");
        cases.check("what was there before is", || {
            let lines = before.lines().all(|line| log.lines().any(|one| one == line));
            assert!(lines && log.starts_with(before.lines().next().unwrap_or_default()), "{log}");
        });
        cases.check("standard error has a name", || {
            let mark = server.mark();
            assert_eq!(server.get("/by_name").expect(200), "written");
            server.wait_log(mark, "by name\n");
        });
        cases.check("Apache's own lines follow", || {
            server.graceful();
            assert!(server.log_since(mark).contains("resuming normal operations"));
        });
    });
}

fn lines_of_threads_are_whole_and_in_order(setup: Setup) {
    serving(setup, "").run(|server, cases| {
        let mark = server.mark();
        assert_eq!(server.get("/threads").expect(200), "done");
        // Lines of the request itself go another way, and may come before.
        for name in 'a'..='j' {
            server.wait_log(mark, &format!("line {name} 999 "));
        }
        let log = server.log_since(mark);
        for name in 'a'..='j' {
            let begin = format!("line {name} ");
            let mut next = 0;
            for line in log.lines().filter_map(|line| Some(&line[line.find(&begin)? + begin.len()..])) {
                let fields: Vec<_> = line.split(' ').collect();
                let [number, text, "end"] = fields[..] else { panic!("torn: {line}") };
                assert_eq!(number, next.to_string(), "of {name}");
                assert!(text.len() >= 100 && text.chars().all(|letter| letter == name), "mixed: {line}");
                next += 1;
            }
            cases.check(&format!("lines of {name}"), || assert_eq!(next, 1_000));
        }
        assert!(!log.contains("dropped"), "{log}");
    });
}

fn last_words_arrive_before_the_end_is_told(setup: Setup) {
    let server = serving(setup, "").start();
    server.expect_crashes();
    let (mark, old) = (server.mark(), serving_process(&server));
    assert_eq!(server.get("/last_words").status, 502);
    let log = server.wait_log(mark, &format!("process {} has died", old.0));
    let place = |text: &str| log.find(text).unwrap_or_else(|| panic!("'{text}' is not in the log: {log}"));
    let end = place(&format!("process {} has died", old.0));
    assert!(place("about to crash, Fatal Python error: Segmentation fault") < end);
    assert!(place("in last_words") < end, "{log}");
    // The line has an end of its own.
    let line = log.lines().find(|line| line.contains("has died")).unwrap_or_default();
    assert!(line.starts_with('['), "{line}");
}

fn an_old_process_writes_to_the_log_that_it_was_started_with(setup: Setup) {
    serving(setup, "graceful-timeout=20").run(|server, cases| {
        let (mark, old) = (server.mark(), serving_process(server));
        let held = start_request(server, "/hold?say");
        server.wait_log(mark, "is held");
        let rotated = server.path("logs/error.log.1");
        let moved = std::fs::rename(server.path("logs/error.log"), &rotated);
        assert!(moved.is_ok(), "{moved:?}");
        server.graceful();
        let new = wait_until("a new process", || Some(serving_process(server)).filter(|new| *new != old));
        server.write("htdocs/gate", "");
        let held = finish(held);
        cases.check("its request ends", || assert_eq!(held.expect(200), old.0.to_string()));
        cases.check("its lines are in the old log", || {
            wait_until("a line in the old log", || {
                let log = std::fs::read_to_string(&rotated).unwrap_or_default();
                log.contains(&format!("{} is released", old.0)).then_some(())
            });
            assert!(!server.log_since(LogMark::default()).contains("is released"));
        });
        cases.check("those of the new one in the new log", || {
            assert_eq!(server.get("/write?of-the-new-one").expect(200), "written");
            let log = server.wait_log(LogMark::default(), "of-the-new-one\n");
            assert!(log.contains(&format!("process {} is started", new.0)), "{log}");
        });
    });
}

fn a_process_outlives_its_supervisor_whatever_it_does_with_sigpipe(setup: Setup) {
    let server = serving(setup, "graceful-timeout=20").conf("WSGIRestrictSignal Off").start();
    let (mark, old) = (server.mark(), serving_process(&server));
    assert_eq!(server.get("/default_sigpipe").expect(200), "set");
    let held = start_request(&server, "/hold");
    server.wait_log(mark, "is held");
    for supervisor in server.supervisors() {
        signal(supervisor, Signal::SIGKILL);
    }
    let _ = wait_until("a new process", || Some(serving_process(&server)).filter(|new| *new != old));
    server.write("htdocs/gate", "");
    assert_eq!(finish(held).expect(200), old.0.to_string());
}
