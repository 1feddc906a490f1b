//! The identity and the start of processes: users, directories, limits, the interpreter.

#![allow(clippy::unwrap_used, reason = "a test that cannot set up its world has failed")]

mod support;

use std::fs;
use std::os::unix::fs::PermissionsExt;

use nix::unistd::{Uid, User, geteuid};
use support::{Server, group, install, is_root, text, until};
use wsgi_core::wire::board::State;
use wsgi_core::wire::launch::{Account, Group};

/// A group of an ordinary user, whose stand-in that user can run, with the directory that holds it.
fn of_somebody(supplementary: Option<Vec<u32>>) -> (Group, tempfile::TempDir) {
    let directory = tempfile::tempdir().unwrap();
    fs::set_permissions(directory.path(), fs::Permissions::from_mode(0o755)).unwrap();
    install(&directory.path().join("python"));
    let mut group = group("somebody", &[]);
    group.programs = vec![text(directory.path().join("python").to_str().unwrap())];
    let daemon = User::from_name("daemon").unwrap().expect("every system has the user 'daemon'");
    group.account = Some(Account { uid: daemon.uid.as_raw(), gid: daemon.gid.as_raw(), supplementary });
    (group, directory)
}

#[test]
fn a_process_runs_as_its_user_alone() {
    if !is_root() {
        return;
    }
    let (mut group, directory) = of_somebody(Some(vec![4, 27]));
    group.daemon.options.home = Some(text(directory.path().to_str().unwrap()));
    group.daemon.options.umask = Some(0o27);
    group.daemon.options.priority = -3;
    let Some(Account { uid, gid, .. }) = group.account.clone() else { unreachable!() };
    let server = Server::start(vec![group]);
    let home = directory.path().display();
    // The primary group is part of the list, which the kernel keeps in order.
    let mut groups = vec![gid, 4, 27];
    groups.sort_unstable();
    assert_eq!(server.ask(0, "where"), format!("{home} 27 {uid} {gid} {groups:?}"));
    let status = server.ask(0, "read status");
    assert!(status.contains(&format!("Uid:\t{uid}\t{uid}\t{uid}\t{uid}\t")), "{status}");
    assert!(status.contains("CapPrm:\t0000000000000000"), "{status}");
    let nice = server.ask(0, "read stat").rsplit_once(") ").unwrap().1.split(' ').nth(16).map(str::to_owned);
    assert_eq!(nice.as_deref(), Some("-3"));
    let limits = server.ask(0, "read limits");
    let core = limits.split('\t').find(|line| line.starts_with("Max core file size")).unwrap();
    assert_eq!(core.split_whitespace().nth(4), Some("0"), "{core}");
}

#[test]
fn without_home_a_user_starts_at_home_with_the_groups_of_the_system() {
    if !is_root() {
        return;
    }
    let (group, _directory) = of_somebody(None);
    let uid = Uid::from_raw(group.account.as_ref().unwrap().uid);
    let user = User::from_uid(uid).unwrap().unwrap();
    let server = Server::start(vec![group]);
    let home = user.dir.display().to_string();
    let place = server.ask(0, "where");
    assert!(place.starts_with(&format!("{home} ")), "{place}");
    let name = std::ffi::CString::new(user.name.clone()).unwrap();
    let mut groups: Vec<_> =
        nix::unistd::getgrouplist(&name, user.gid).unwrap().iter().map(|gid| gid.as_raw()).collect();
    groups.sort_unstable();
    assert!(place.ends_with(&format!("{groups:?}")), "{place}");
    assert_eq!(server.ask(0, "environment HOME"), home);
}

#[test]
fn denied_permissions_are_explained() {
    if !is_root() {
        return;
    }
    let (mut unreadable, directory) = of_somebody(None);
    let (mut homeless, _directory) = of_somebody(None);
    let (mut jailed, _directory) = of_somebody(None);
    fs::set_permissions(directory.path(), fs::Permissions::from_mode(0o700)).unwrap();
    unreadable.daemon.options.home = Some(text("/"));
    homeless.daemon.options.home = Some(text("/root/nowhere"));
    jailed.daemon.options.chroot = Some(text("/nonexistent/jail"));
    let (mut stranger, directory) = of_somebody(None);
    stranger.daemon.options.chroot = Some(text(directory.path().to_str().unwrap()));
    let server = Server::start(vec![unreadable, homeless, jailed, stranger]);
    for slot in 0..4 {
        until("Failing", || (server.state(slot) == State::Failing).then_some(()));
    }
    server.logs("[wsgi:crit]");
    server.logs("WSGI0028: the user 'daemon' cannot run");
    server.logs("WSGI0009: the user 'daemon' cannot change to home, /root/nowhere: ");
    server.logs("WSGI0025: the process cannot be set up as its group says");
    server.logs("WSGI0003: chroot=/nonexistent/jail cannot be entered: No such file or directory");
    server.logs("WSGI0011: the user #");
    let passwd = directory.path().join("etc/passwd").display().to_string();
    server.logs(&format!("is not known, since {passwd} cannot be read (No such file"));
}

#[test]
fn the_user_of_the_server_starts_where_the_server_is() {
    let server = Server::start(vec![group("own", &[])]);
    let here = std::env::current_dir().unwrap();
    let place = server.ask(0, "where");
    assert!(place.starts_with(&format!("{} ", here.display())), "{place}");
    let user = User::from_uid(geteuid()).unwrap().unwrap();
    assert_eq!(server.ask(0, "environment HOME"), user.dir.display().to_string());
}

#[test]
fn limits_are_set_before_the_interpreter_runs() {
    let mut group = group("limited", &[]);
    group.daemon.options.cpu_time_limit = 50;
    group.daemon.options.virtual_memory_limit = 1 << 32;
    let server = Server::start(vec![group]);
    let limits = server.ask(0, "read limits");
    let limit = |name: &str| {
        let line = limits.split('\t').find_map(|line| line.strip_prefix(name)).unwrap();
        line.split_whitespace().take(2).collect::<Vec<_>>().join(" ")
    };
    let cpu = limit("Max cpu time");
    let (soft, hard) = cpu.split_once(' ').unwrap();
    // What a successor may take, and graceful-timeout and shutdown-timeout, on each of the
    // processors for five threads.
    assert!(soft == "50" && hard.parse::<u64>().unwrap() >= 50 + 60 + 5 + 2, "{cpu}");
    assert_eq!(limit("Max address space"), "4294967296 4294967296");
}

#[test]
fn an_interpreter_without_a_host_says_how_to_get_one() {
    let mut group = group("hostless", &[]);
    group.programs = vec![text("/usr/bin/python3")];
    group.hosts = text("/nonexistent/hosts");
    let server = Server::start(vec![group]);
    server.logs("[wsgi:crit]");
    server.logs("WSGI0036: the host for Python 3.");
    server.logs("/nonexistent/hosts/mod_wsgi_host.cpython-3");
    server.logs(
        "does not exist, or cannot be read. Build and install it with 'make host PYTHON=/usr/bin/python3'",
    );
    server.logs("[process group 'hostless']");
    until("Failing", || (server.state(0) == State::Failing).then_some(()));
}
