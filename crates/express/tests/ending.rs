//! The end of the command by a signal, while something that it has started runs.

#![allow(clippy::unwrap_used, reason = "a test that cannot set up its world has failed")]

mod prefix;

use std::fs::{self, Permissions};
use std::os::unix::fs::PermissionsExt as _;
use std::os::unix::process::ExitStatusExt as _;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::thread;
use std::time::{Duration, Instant};

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use prefix::Prefix;

/// Starts a process that goes on, whose id it adds to a file, and waits for it.
const HANGING: &str = r#"#!/bin/sh
sleep 1000 &
echo $! >>"${0%/*}/pids"
wait
"#;

/// The same while an application is imported, twice: the second process has left its parent and its
/// session.
const APPLICATION: &str = "import os, time\nfile = os.path.join(os.path.dirname(__file__), 'pids')\n\
                           for leaves in (False, True):\n\
                           \x20   if os.fork() == 0:\n        if leaves:\n            os.setsid()\n            if os.fork():\n                os._exit(0)\n\
                           \x20       with open(file, 'a') as pids:\n            pids.write(f'{os.getpid()}\\n')\n        time.sleep(1000)\n\
                           time.sleep(1000)\n";

/// Waits until a fact holds.
fn wait_until<T>(what: &str, fact: impl Fn() -> Option<T>) -> T {
    let end = Instant::now() + Duration::from_secs(60);
    loop {
        if let Some(found) = fact() {
            return found;
        }
        assert!(Instant::now() < end, "{what}");
        thread::sleep(Duration::from_millis(5));
    }
}

/// An installation with a file that everybody may add to.
fn prefix() -> Prefix {
    let prefix = Prefix::new();
    fs::create_dir(prefix.path("lib/mod_wsgi/python-packages")).unwrap();
    fs::create_dir(prefix.path("tmp")).unwrap();
    fs::write(prefix.path("pids"), "").unwrap();
    fs::set_permissions(prefix.path("pids"), Permissions::from_mode(0o666)).unwrap();
    prefix
}

/// Returns as many processes as there are to be.
fn processes(prefix: &Prefix, count: usize) -> Vec<String> {
    wait_until("the processes", || {
        let text = fs::read_to_string(prefix.path("pids")).unwrap();
        let pids: Vec<_> = text.lines().map(str::to_owned).collect();
        (text.ends_with('\n') && pids.len() == count).then_some(pids)
    })
}

/// Starts a command with signals as a terminal has them. A shell has processes in the background ignore
/// some, which they pass on, as those of a test.
fn start(command: &Command, prefix: &Prefix) -> Child {
    let mut started = Command::new("/usr/bin/env");
    started.arg("--default-signal").arg(command.get_program()).args(command.get_args());
    started.envs(command.get_envs().filter_map(|(name, value)| Some((name, value?))));
    started.env("TMPDIR", prefix.path("tmp"));
    if let Some(directory) = command.get_current_dir() {
        started.current_dir(directory);
    }
    started.stdout(Stdio::null()).stderr(Stdio::null()).spawn().unwrap()
}

fn send(child: &Child, signal: Signal) {
    kill(Pid::from_raw(child.id().cast_signed()), signal).unwrap();
}

/// Checks that a signal ends the command as it ends others, and these processes with it.
#[track_caller]
fn check_end(mut child: Child, signal: Signal, prefix: &Prefix, count: usize) {
    let pids = processes(prefix, count);
    send(&child, signal);
    assert_eq!(child.wait().unwrap().signal(), Some(signal as i32));
    for pid in pids {
        wait_until("a process is left", || {
            let status = fs::read_to_string(Path::new("/proc").join(&pid).join("stat"));
            // One that has lost its parent may have to wait for another one to be forgotten.
            status.map_or(true, |status| status.contains(") Z ")).then_some(())
        });
    }
    assert_eq!(fs::read_dir(prefix.path("tmp")).unwrap().count(), 0, "a directory is left");
}

#[test]
fn a_python_that_hangs_ends_with_the_command() {
    let prefix = prefix();
    prefix.executable("python", r#"printf %s "$1" >"$0""#, HANGING);
    let python = prefix.path("python");
    for (command, signal) in
        [("start-server", Signal::SIGTERM), ("doctor", Signal::SIGINT), ("doctor", Signal::SIGHUP)]
    {
        fs::write(prefix.path("pids"), "").unwrap();
        let child = start(prefix.server(command, &["--python"]).arg(&python), &prefix);
        check_end(child, signal, &prefix, 1);
    }
}

#[test]
fn an_apache_that_hangs_ends_with_the_command() {
    let prefix = prefix();
    fs::write(prefix.path("hang"), "").unwrap();
    for command in ["start-server", "doctor"] {
        fs::write(prefix.path("pids"), "").unwrap();
        let child = start(&prefix.server(command, &[]), &prefix);
        check_end(child, Signal::SIGTERM, &prefix, 1);
    }
}

#[test]
fn an_application_that_hangs_ends_with_the_doctor() {
    let prefix = prefix();
    fs::write(prefix.path("app.wsgi"), APPLICATION).unwrap();
    let child = start(&prefix.server("doctor", &[]), &prefix);
    check_end(child, Signal::SIGTERM, &prefix, 2);
}

#[test]
fn a_signal_that_is_ignored_stays_ignored() {
    let prefix = prefix();
    prefix.executable("python", r#"printf %s "$1" >"$0""#, HANGING);
    let server = prefix.server("doctor", &[]);
    let mut command = Command::new("/bin/sh");
    command
        .args(["-c", r#"trap "" HUP; exec "$0" "$@""#])
        .arg(server.get_program())
        .args(server.get_args())
        .arg("--python")
        .arg(prefix.path("python"))
        .envs(server.get_envs().filter_map(|(name, value)| Some((name, value?))))
        .current_dir(prefix.path(""));
    let mut child = start(&command, &prefix);
    let _ = processes(&prefix, 1);
    send(&child, Signal::SIGHUP);
    let status = fs::read_to_string(format!("/proc/{}/status", child.id())).unwrap();
    let mask = status.lines().find_map(|line| line.strip_prefix("SigIgn:")).unwrap();
    assert_eq!(u64::from_str_radix(mask.trim(), 16).unwrap() & 1, 1, "{status}");
    assert!(child.try_wait().unwrap().is_none());
    check_end(child, Signal::SIGTERM, &prefix, 1);
}
