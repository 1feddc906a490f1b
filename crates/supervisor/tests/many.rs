//! Hundreds of process groups.

#![allow(clippy::unwrap_used, reason = "a test that cannot set up its world has failed")]

mod support;

use std::fs;
use std::os::unix::fs::PermissionsExt;

use nix::sys::resource::{Resource, getrlimit, setrlimit};
use os::process::Exit;
use support::{FILES, Server, group, text, until};

const GROUPS: usize = 500;

/// The most memory of its own that the supervisor may have. It had 1288 kB with release settings
/// and 1336 kB without (Debian 12, Rust 1.95), little more than 2 kB for each group; a buffer of a
/// page for each would go beyond the bound.
const MOST_KILOBYTES: u64 = 2_048;

#[test]
fn hundreds_of_groups_are_started_and_ended() {
    let (soft, hard) = getrlimit(Resource::RLIMIT_NOFILE).unwrap();
    if hard < 2_000 {
        eprintln!("skipped: no more than {hard} descriptors may be open");
        return;
    }
    // The parent has to have them open all; the supervisor starts with the usual limit and raises
    // it.
    setrlimit(Resource::RLIMIT_NOFILE, 1_800.max(soft), hard).unwrap();
    let directory = tempfile::tempdir().unwrap();
    let program = directory.path().join("idle");
    fs::write(&program, "#!/bin/sh\nexec sleep 600\n").unwrap();
    fs::set_permissions(&program, fs::Permissions::from_mode(0o755)).unwrap();
    let groups = (0..GROUPS).map(|number| {
        let mut group = group(&format!("group-{number}"), &[]);
        group.programs = vec![text(program.to_str().unwrap())];
        group
    });
    let mut server = Server::start(groups.collect());
    until("the start of the last", || server.log().contains("[process group 'group-499']").then_some(()));
    assert!(!server.log().contains("[wsgi:alert]"), "{}", server.log());
    let process = |file: &str| fs::read_to_string(format!("/proc/{}/{file}", server.child.pid())).unwrap();
    let memory = process("smaps_rollup");
    let own: u64 = memory
        .lines()
        .find_map(|line| line.strip_prefix("Anonymous:")?.trim().strip_suffix(" kB")?.parse().ok())
        .unwrap();
    assert!(own < MOST_KILOBYTES, "{memory}");
    let files = |limits: &str| {
        let line = limits.lines().find_map(|line| line.strip_prefix("Max open files")).unwrap();
        line.split_whitespace().next().unwrap().parse::<u64>().unwrap()
    };
    assert!(files(&process("limits")) > FILES);
    let log = server.log();
    let pid = log.split_once("] process ").unwrap().1.split_once(' ').unwrap().0;
    let limits = fs::read_to_string(format!("/proc/{pid}/limits")).unwrap();
    assert_eq!(files(&limits), FILES, "processes get what they would have without the supervisor's needs");
    let open = fs::read_dir(format!("/proc/{}/fd", server.child.pid())).unwrap().count();
    assert!(open >= 4 * GROUPS, "{open} descriptors: not all run");
    server.abandon();
    assert_eq!(server.end(), Exit::Status(0));
}
