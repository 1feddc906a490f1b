//! The Python package that comes along: what watches files for `--reload-on-changes`.

#![allow(clippy::unwrap_used, reason = "a test that cannot set up its world has failed")]

use std::fs;
use std::path::Path;
use std::process::Command;

/// Plays the server: makes `mod_wsgi` a module of its own, and counts the signals that ask for a
/// replacement.
const SERVER: &str = r#"
import signal, sys, time, types
server = types.ModuleType("mod_wsgi")
server.__path__ = [sys.argv[1] + "/mod_wsgi"]
server.process_group = sys.argv[3]
server.subscribe_shutdown = lambda callback: None
sys.modules["mod_wsgi"] = server
sys.path.insert(0, sys.argv[2])
asked = []
signal.signal(signal.SIGUSR1, lambda *_: asked.append(1))

def wait_for(count):
    end = time.monotonic() + 20
    while len(asked) < count and time.monotonic() < end:
        time.sleep(0.01)
    assert len(asked) == count, asked

from mod_wsgi.express import reloader
reloader.start_reloader(60)
reloader.start_reloader(0.01)
"#;

fn run(group: &str, script: &str) -> String {
    let directory = tempfile::tempdir().unwrap();
    let packages = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../python");
    fs::write(directory.path().join("imported.py"), "value = 1\n").unwrap();
    fs::write(directory.path().join("settings.ini"), "").unwrap();
    let output = Command::new("/usr/bin/python3")
        .env("PYTHONDONTWRITEBYTECODE", "1")
        .args(["-c", &format!("{SERVER}{script}")])
        .args([&packages, directory.path()])
        .arg(group)
        .current_dir(directory.path())
        .output()
        .unwrap();
    let errors = String::from_utf8_lossy(&output.stderr).into_owned();
    assert!(output.status.success(), "{errors}");
    errors
}

#[test]
fn changes_and_removals_are_noticed_one_after_the_other() {
    let log = run(
        "group",
        r#"
import imported, os
reloader.track_changes("settings.ini")
time.sleep(0.3)
assert not asked, asked
open("imported.py", "w").write("value = 22\n")
wait_for(1)
os.remove("settings.ini")
wait_for(2)
open("settings.ini", "w").close()
wait_for(3)
time.sleep(0.3)
wait_for(3)
"#,
    );
    let lines: Vec<&str> = log.lines().collect();
    assert_eq!(lines.len(), 6, "{log}");
    assert!(lines.iter().all(|line| line.starts_with("monitor (pid=")), "{log}");
    assert!(lines[0].contains("imported.py") && lines[2].contains("settings.ini"), "{log}");
}

#[test]
fn a_change_between_the_import_and_the_first_look_is_noticed() {
    run(
        "group",
        r#"
with reloader._lock:
    # No look is taken meanwhile.
    import imported
    open("imported.py", "w").write("value = 22\n")
wait_for(1)
"#,
    );
}

#[test]
fn only_daemon_processes_are_replaced() {
    let log = run("", "import imported, threading\nassert threading.active_count() == 1\n");
    assert_eq!(log, "");
}
