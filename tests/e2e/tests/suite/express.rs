//! Servers that mod_wsgi-express sets up and runs.

mod access;
mod application;
mod container;
mod control;
mod debugging;
mod diagnoses;
mod django;
mod doctor;
mod draining;
mod environment;
mod files;
mod hosts;
mod limits;
mod logs;
mod names;
mod proxies;
mod server;
mod status;
mod telemetry;
mod terminal;

use e2e::Needs::{Daemon, Ours};
use e2e::{Process, Test, test, wait_until};

use server::{APPLICATION, Express, is_root, write};

pub(crate) const TABLES: &[&[Test]] = &[
    TESTS,
    access::TESTS,
    application::TESTS,
    container::TESTS,
    control::TESTS,
    debugging::TESTS,
    diagnoses::TESTS,
    django::TESTS,
    doctor::TESTS,
    draining::TESTS,
    environment::TESTS,
    files::TESTS,
    hosts::TESTS,
    limits::TESTS,
    logs::TESTS,
    names::TESTS,
    proxies::TESTS,
    status::TESTS,
    telemetry::TESTS,
];

const TESTS: &[Test] = &[
    test!(the_application_runs_in_daemon_processes, Daemon, Ours("such checks and messages")),
    test!(several_processes_and_a_name_for_them, Daemon, Ours("such checks and messages")),
    test!(the_scoreboard_is_shown_when_it_is_asked_for, Daemon, Ours("such checks and messages")),
    test!(embedded_mode_has_no_supervisor, Daemon, Ours("such checks and messages")),
    test!(changes_of_modules_bring_a_new_process_once_they_work, Daemon, Ours("such checks and messages")),
    test!(a_changed_script_is_loaded_unless_that_is_off, Daemon, Ours("such checks and messages")),
    test!(services_run_beside_the_application, Daemon, Ours("such checks and messages")),
];

fn the_application_runs_in_daemon_processes() {
    let options = ["--threads", "3", "--umask", "027", "--python-path", "added", "--locale", "C.UTF-8"];
    let mut server = Express::start(&options);
    let response = server.get();
    let value = |name| response.value(name).unwrap_or_default();
    assert_eq!(value("process_group"), format!("127.0.0.1:{}", server.port), "{}", response.text());
    let directory = server.directory.path().canonicalize().unwrap_or_default();
    let added = format!("['{}']", server.path("added").display());
    for (name, expected) in [
        ("application_group", ""),
        ("threads", "3"),
        ("multiprocess", "False"),
        ("directory", &directory.to_string_lossy()),
        ("umask", "0o27"),
        ("locale", "C.UTF-8"),
        ("express", "true"),
        ("requests", "None"),
        ("added", &added),
    ] {
        assert_eq!(value(name), expected, "{name}");
    }
    assert_ne!(value("uid"), "0", "nothing is served as root");

    let supervised = server.supervised();
    let pid = value("pid").parse().map(Process).unwrap_or_else(|_| panic!("{}", response.text()));
    assert!(supervised.len() == 2 && supervised.contains(&pid), "{supervised:?}");
    assert!(pid.command_line().starts_with("(wsgi:127.0.0.1:"), "{}", pid.command_line());
    server.stop();
    for process in supervised {
        wait_until(&format!("the end of {process:?}"), || (!process.is_alive()).then_some(()));
    }
    let banner = server.read("output");
    assert!(banner.contains("Operating Mode     : daemon\n"), "{banner}");
}

fn several_processes_and_a_name_for_them() {
    let server = Express::start(&["--processes", "2", "--process-group", "shop"]);
    assert_eq!(
        (server.value("multiprocess").as_str(), server.value("process_group").as_str()),
        ("True", "shop")
    );
    wait_until("two processes", || {
        let named = |process: &Process| process.command_line() == "(wsgi:shop)";
        (server.supervised().into_iter().filter(named).count() == 2).then_some(())
    });
}

fn the_scoreboard_is_shown_when_it_is_asked_for() {
    for mode in [&["--server-metrics"][..], &["--server-metrics", "--embedded-mode"]] {
        let server = Express::start(mode);
        server.wait_for("requests", "True");
    }
}

fn embedded_mode_has_no_supervisor() {
    let server = Express::start(&["--embedded-mode"]);
    assert_eq!(server.value("process_group"), "");
    assert_eq!(server.supervised(), []);
}

fn changes_of_modules_bring_a_new_process_once_they_work() {
    let server = Express::start(&["--reload-on-changes"]);
    let first = server.value("pid");
    assert_eq!(server.value("imported"), "1");

    write(server.path("imported.py"), "value = 22\n");
    server.wait_for("imported", "22");
    assert_ne!(server.value("pid"), first);
    assert!(server.log().contains("imported.py' has changed."), "{}", server.log());

    // One that cannot start does not take over, and what follows is noticed nevertheless.
    write(server.path("imported.py"), "value = = 3\n");
    wait_until("the failure in the log", || server.log().contains("SyntaxError").then_some(()));
    assert_eq!(server.value("imported"), "22");
    write(server.path("imported.py"), "value = 4444\n");
    server.wait_for("imported", "4444");
}

fn a_changed_script_is_loaded_unless_that_is_off() {
    let changed = APPLICATION.replace("imported.value", "'changed'");
    let server = Express::start(&[]);
    assert_eq!(server.value("imported"), "1");
    write(server.path("app.wsgi"), &changed);
    server.wait_for("imported", "changed");

    let server = Express::start(&["--disable-reloading"]);
    assert_eq!(server.value("imported"), "1");
    write(server.path("app.wsgi"), &changed);
    for _ in 0..3 {
        assert_eq!(server.value("imported"), "1");
    }
}

fn services_run_beside_the_application() {
    let mut options =
        vec!["--service-script", "mail", "service.py", "--service-log-file", "mail", "mail.log"];
    if is_root() {
        options.extend(["--service-user", "mail", "nobody"]);
    }
    let server = Express::start(&options);
    wait_until("the service", || server.read("root/mail.log").contains("serves as").then_some(()));
    let supervised = server.supervised();
    let service = supervised.iter().find(|process| process.command_line() == "(wsgi:service:mail)");
    let service = service.unwrap_or_else(|| panic!("{supervised:?}"));
    let uid = service.status("Uid").split(' ').next().unwrap_or_default().to_owned();
    assert!(server.read("root/mail.log").contains(&format!("serves as {uid}")), "{uid}");
    assert_eq!(is_root(), uid != server.value("uid"));
    assert!(!server.log().contains("serves as"), "{}", server.log());
}
