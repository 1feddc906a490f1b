//! Start, restarts, stop, and what the parent process holds.

use std::fs;

use e2e::Needs::{Embedded, OnlyMpms, Ours};
use e2e::{LogMark, Mode, Mpm, Process, Setup, Test, on_each_mpm, on_one_mpm, sanitized, wait_until};
use nix::sys::signal::Signal;

pub(crate) const TESTS: &[Test] = &[
    on_each_mpm!(restarts_replace_the_children),
    on_each_mpm!(a_stop_ends_every_child),
    on_each_mpm!(
        libraries_are_not_taken_from_threads_that_are_left,
        Embedded("a daemon process ends as any Python does"),
        Ours("end of a process whose threads have not ended")
    ),
    on_one_mpm!(
        a_signal_that_an_applications_thread_gets_ends_the_child,
        OnlyMpms(&[Mpm::Prefork]),
        Ours("care for which thread is interrupted"),
        Embedded("the signals of Apache's children")
    ),
    on_one_mpm!(
        a_prefork_child_ends_after_its_request,
        OnlyMpms(&[Mpm::Prefork]),
        Ours("care for what a signal interrupts"),
        Embedded("Apache's children")
    ),
    on_each_mpm!(the_parent_has_no_python),
];

const APP: &str = include_str!("../../apps/body.wsgi");
const SIGNALLED: &str = include_str!("../../apps/signalled.wsgi");
const ENDING: &str = include_str!("../../apps/ending.wsgi");
const HANDLER: &str = include_str!("../../apps/exit_handler.wsgi");

fn serving(setup: Setup) -> Setup {
    setup.app("/", "app.wsgi", APP).conf("SetEnv test.gate @ROOT@/htdocs/gate")
}

fn restarts_replace_the_children(setup: Setup) {
    // With room for one child only, the worker MPM may start no other before the one that has a
    // request to finish has ended: it looks for a thread that is dead, and those of a child on its
    // way out may all be "graceful".
    serving(setup).children(2).run(|server, cases| {
        cases.check("graceful", || {
            let before = server.children();
            assert_eq!(server.get("/one").expect(200), "one");
            server.graceful();
            assert_eq!(server.get("/one").expect(200), "one");
            wait_until("the old children are gone", || {
                (!server.children().iter().any(|child| before.contains(child))).then_some(())
            });
        });
        let reason = "W18: a graceful restart ends the requests of daemon processes";
        cases.deviates_in(Mode::Daemon, "graceful, while a request runs", reason, || {
            let mut connection = server.connect();
            connection.send(&server.request("GET", "/flushed_by_file").keep_alive());
            let Ok(begin) = connection.at_least(100) else { panic!("no response") };
            assert!(begin.starts_with(b"HTTP/1.1 200"));
            server.graceful();
            assert_eq!(server.get("/one").expect(200), "one");
            server.write("htdocs/gate", "");
            let Ok(rest) = connection.rest() else { panic!("the connection stays open") };
            let text = String::from_utf8_lossy(&[begin, rest].concat()).into_owned();
            assert!(
                text.contains("first") && text.contains("second") && text.ends_with("0\r\n\r\n"),
                "{text}"
            );
        });
        cases.check("restart", || {
            server.restart();
            assert_eq!(server.get("/one").expect(200), "one");
        });
        cases.check("a child that is killed is replaced", || {
            for child in server.children() {
                let child = i32::try_from(child).map(nix::unistd::Pid::from_raw);
                assert!(
                    child.is_ok_and(|child| nix::sys::signal::kill(child, nix::sys::signal::SIGKILL).is_ok())
                );
            }
            wait_until("a new child", || {
                let mut connection = server.connect();
                connection.try_send(&server.request("GET", "/one").keep_alive()).ok()?;
                connection.response("GET").ok().filter(|response| response.text() == "one")
            });
        });
    });
}

fn a_stop_ends_every_child(setup: Setup) {
    let mut server = serving(setup).start();
    assert_eq!(server.get("/one").expect(200), "one");
    let children = server.children();
    assert!(server.stop().success());
    let log = server.log_since(LogMark::default());
    assert!(!log.contains("exit signal") && !log.contains("SIGKILL"), "{log}");
    for child in children {
        assert!(!fs::exists(format!("/proc/{child}/exe")).unwrap_or(true), "{child} is left");
    }
}

fn libraries_are_not_taken_from_threads_that_are_left(setup: Setup) {
    let mut server = setup.children(1).app("/", "app.wsgi", HANDLER).start();
    for (target, expected) in [("/", true), ("/daemon", false)] {
        let mark = server.mark();
        assert_eq!(server.get(target).expect(200), "registered");
        server.restart();
        let log = server.log_since(mark);
        assert_eq!(log.contains("the exit handler runs"), expected, "{target}: {log}");
    }
    assert!(server.stop().success());
}

fn a_signal_that_an_applications_thread_gets_ends_the_child(setup: Setup) {
    // Children of the other MPMs block signals.
    let mut server = setup.children(1).app("/", "app.wsgi", SIGNALLED).start();
    let children = server.children();
    let mark = server.mark();
    let pid = server.get("/").expect(200);
    assert!(children.iter().any(|child| child.to_string() == pid), "{pid} is none of {children:?}");
    wait_until("the child ends", || {
        (!server.children().iter().any(|child| child.to_string() == pid)).then_some(())
    });
    let log = server.log_since(mark);
    assert!(log.contains(&format!("[pid {pid}:tid {pid}] Terminating Python.")), "{log}");
    assert!(!log.contains("exit signal"), "{log}");
    assert!(server.stop().success());
}

fn a_prefork_child_ends_after_its_request(setup: Setup) {
    let end = |pid: &str| {
        let pid = pid.parse().map(nix::unistd::Pid::from_raw);
        assert!(pid.is_ok_and(|pid| nix::sys::signal::kill(pid, nix::sys::signal::SIGTERM).is_ok()));
    };
    let setup = setup.children(1).app("/", "app.wsgi", ENDING);
    let setup = setup.file("htdocs/gates/open", "").conf("SetEnv test.gates @ROOT@/htdocs/gates");
    setup.run(|server, cases| {
        cases.check("a signal", || {
            let mark = server.mark();
            let pid = server.get("/?open").expect(200);
            let request = server.request("GET", "/?first");
            let waiting = std::thread::spawn(move || request.send());
            server.wait_log(mark, "waits for first");
            let descriptors = || fs::read_dir(format!("/proc/{pid}/fd")).map_or(0, Iterator::count);
            let before = descriptors();
            end(&pid);
            wait_until("it listens no more", || (descriptors() < before).then_some(()));
            server.write("htdocs/gates/first", "");
            let response = waiting.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic));
            assert_eq!(response.expect(200), pid);
            let log = server.wait_log(mark, "runs exit functions");
            assert!(log.contains("is told") && !log.contains("exit signal"), "{log}");
        });
        cases.check("a second one", || {
            let mark = server.mark();
            let pid = server.get("/?open").expect(200);
            let mut connection = server.connect();
            connection.send(&server.request("GET", "/?never").keep_alive());
            server.wait_log(mark, "waits for never");
            let child = Process(pid.parse().expect("a process id"));
            for _ in 0..2 {
                end(&pid);
                // Two that wait would be one.
                wait_until("it has been taken", || (!child.has_pending(Signal::SIGTERM)).then_some(()));
            }
            assert!(connection.rest().is_ok_and(|rest| rest.is_empty()), "it is closed");
            assert!(!server.log_since(mark).contains("is told"));
        });
    });
}

fn the_parent_has_no_python(setup: Setup) {
    serving(setup).run(|server, cases| {
        assert_eq!(server.get("/one").expect(200), "one");
        server.graceful();
        let maps = fs::read_to_string(format!("/proc/{}/maps", server.pid())).unwrap_or_default();
        cases.check("it has the module", || assert!(maps.contains("mod_wsgi")));
        cases.deviates("libpython", "libpython is loaded into the parent process", || {
            assert!(!maps.contains("libpython"), "{maps}");
        });
        cases.check("it has one thread", || {
            let threads = fs::read_dir(format!("/proc/{}/task", server.pid()));
            assert_eq!(threads.map(Iterator::count).ok(), Some(1));
        });
        cases.check("it has kept none of the files that it has looked at", || {
            if sanitized("it keeps what is freed") {
                return;
            }
            let anonymous = Process(server.pid()).status("RssAnon");
            let size: u64 = anonymous.trim_end_matches(" kB").parse().expect("a size");
            assert!(size < 8 << 10, "{anonymous}");
        });
    });
}
