//! `mod_wsgi-express doctor` on servers with real faults.

#![allow(clippy::unwrap_used, reason = "a test that cannot set up its world has failed")]

mod prefix;

use std::fs::{self, Permissions};
use std::os::unix::fs::PermissionsExt;

use prefix::{Prefix, errors, text};

/// Has the doctor look at a server with an application, and returns its exit status and what it
/// says.
fn examine(prefix: &Prefix, more: &[&str]) -> (Option<i32>, String) {
    let output = prefix.server("doctor", more).output().unwrap();
    assert_eq!(errors(&output), "", "{}", text(&output));
    (output.status.code(), text(&output))
}

/// Returns the lines of a check.
fn of<'a>(report: &'a str, check: &str) -> Vec<&'a str> {
    report.lines().filter(|line| line.ends_with(&format!(" [{check}]"))).collect()
}

fn healthy() -> Prefix {
    let prefix = Prefix::new();
    fs::create_dir(prefix.path("lib/mod_wsgi/python-packages")).unwrap();
    fs::write(prefix.path("app.wsgi"), "def application(environ, start_response):\n    return []\n").unwrap();
    prefix
}

#[test]
fn nothing_is_found_in_a_healthy_server() {
    let (status, report) = examine(&healthy(), &[]);
    assert_eq!((status, report.lines().count()), (Some(0), 1), "{report}");
    assert!(report.contains(": nothing found ("), "{report}");
}

#[test]
fn a_command_line_may_be_put_behind_the_word() {
    let prefix = healthy();
    let output = prefix.run(&["doctor", "start-server", "no.wsgi", "--json"]);
    assert_eq!((output.status.code(), errors(&output).as_str()), (Some(1), ""));
    let report: serde_json::Value = serde_json::from_slice(&output.stdout).unwrap();
    let findings = report["findings"].as_array().unwrap();
    assert!(findings.iter().any(|finding| finding["what"].as_str().unwrap().contains("no.wsgi")), "{report}");
    assert_eq!(report["version"], 1);
    let output = prefix.run(&["doctor", "--bogus"]);
    assert_eq!(output.status.code(), Some(2));
}

#[test]
fn a_directory_that_the_user_cannot_enter_is_named() {
    let prefix = healthy();
    let private = prefix.path("private");
    fs::create_dir_all(private.join("site/src")).unwrap();
    fs::write(private.join("site/app.wsgi"), "application = print\n").unwrap();
    fs::set_permissions(&private, Permissions::from_mode(0o600)).unwrap();
    let arguments = ["--entry-point", "private/site/app.wsgi", "--python-path", "private/site/src"];
    let (status, report) = examine(&prefix, &arguments);
    let lines = of(&report, "unreachable-path");
    assert_eq!((status, lines.len()), (Some(1), 2), "{report}");
    let component = format!("may not enter {} (mode 0600, owner ", private.display());
    assert!(lines.iter().all(|line| line.contains(&component)), "{report}");
    assert!(lines[1].starts_with("--python-path: error: "), "{report}");
    fs::set_permissions(&private, Permissions::from_mode(0o711)).unwrap();
    assert_eq!(of(&examine(&prefix, &arguments).1, "unreachable-path"), [""; 0]);
}
