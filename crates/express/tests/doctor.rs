//! `mod_wsgi-express doctor` on servers with real faults.

#![allow(clippy::unwrap_used, reason = "a test that cannot set up its world has failed")]

mod prefix;

use std::fs::{self, Permissions};
use std::os::unix::fs::{PermissionsExt, symlink};
use std::path::Path;
use std::process::Command;

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

/// Makes a virtual environment, and returns its path.
fn environment(prefix: &Prefix, name: &str) -> std::path::PathBuf {
    let path = prefix.path(name);
    let status = Command::new("/usr/bin/python3").args(["-m", "venv", "--without-pip"]).arg(&path).status();
    assert!(status.unwrap().success());
    path
}

/// Has the doctor look at a server with a Python, and returns the lines of the check of homes.
fn examine_python(prefix: &Prefix, python: &Path) -> Vec<String> {
    let (_, report) = examine(prefix, &["--python", &python.to_string_lossy()]);
    of(&report, "python-home").into_iter().map(str::to_owned).collect()
}

#[test]
fn environments_are_healthy_when_they_are_made() {
    let prefix = healthy();
    let (status, report) =
        examine(&prefix, &["--python", &environment(&prefix, "v").join("bin/python").to_string_lossy()]);
    assert_eq!((status, report.lines().count()), (Some(0), 1), "{report}");
}

#[test]
fn an_environment_whose_python_was_removed_is_told_of() {
    let prefix = healthy();
    let python = environment(&prefix, "v").join("bin/python");
    let settings = prefix.path("v/pyvenv.cfg");
    let text = fs::read_to_string(&settings).unwrap();
    let home = text.lines().find_map(|line| line.strip_prefix("home = ")).unwrap();
    fs::write(&settings, text.replacen(home, "/opt/removed/bin", 1)).unwrap();
    let lines = examine_python(&prefix, &python);
    assert!(lines.len() == 1 && lines[0].starts_with("--python: error: "), "{lines:?}");
    assert!(lines[0].contains("home = /opt/removed/bin, which does not exist"), "{lines:?}");

    fs::write(&settings, text).unwrap();
    for name in ["python", "python3", "python3.11"] {
        let _ = fs::remove_file(prefix.path("v/bin").join(name));
    }
    symlink("/usr/bin/python3.2", &python).unwrap();
    let lines = examine_python(&prefix, &python);
    assert!(lines.len() == 1 && lines[0].contains("bin/python is a link that leads nowhere"), "{lines:?}");
}

#[test]
fn an_environment_that_was_moved_is_noted() {
    let prefix = healthy();
    let made = environment(&prefix, "made");
    let moved = prefix.path("moved");
    fs::rename(&made, &moved).unwrap();
    let (status, report) = examine(&prefix, &["--python", &moved.join("bin/python").to_string_lossy()]);
    let lines = of(&report, "python-home");
    assert_eq!((status, lines.len()), (Some(0), 1), "{report}");
    assert!(lines[0].contains(&format!("was made as {}", made.display())), "{report}");
}

#[test]
fn an_environment_of_another_version_is_an_error() {
    let prefix = healthy();
    let python = environment(&prefix, "v").join("bin/python");
    let library = fs::read_dir(prefix.path("v/lib")).unwrap().next().unwrap().unwrap().path();
    fs::rename(&library, library.with_file_name("python3.7")).unwrap();
    let lines = examine_python(&prefix, &python);
    assert!(
        lines.len() == 1 && lines[0].contains("is of Python 3.7, and its executable is Python 3."),
        "{lines:?}"
    );
}

#[test]
fn a_python_without_a_standard_library_is_an_error() {
    let prefix = healthy();
    fs::create_dir_all(prefix.path("py/bin")).unwrap();
    let real = Path::new("/usr/bin/python3").canonicalize().unwrap();
    let python = prefix.path("py/bin").join(real.file_name().unwrap());
    fs::copy(&real, &python).unwrap();
    let lines = examine_python(&prefix, &python);
    assert!(
        lines.iter().any(|line| line.contains("error: ") && line.contains("has no standard library")),
        "{lines:?}"
    );
}

#[test]
fn a_python_without_a_host_is_an_error() {
    let prefix = healthy();
    fs::remove_file(prefix.path("lib/mod_wsgi/host").join(prefix::host())).unwrap();
    fs::write(prefix.path("lib/mod_wsgi/host/mod_wsgi_host.cpython-399-x86_64-linux-gnu.so"), "").unwrap();
    let (status, report) = examine(&prefix, &[]);
    let lines = of(&report, "python-version");
    assert_eq!((status, lines.len()), (Some(1), 1), "{report}");
    assert!(
        lines[0].contains("has hosts for 3.99;") && lines[0].contains("make host PYTHON=/usr/bin/python3"),
        "{report}"
    );
}

#[test]
fn a_static_python_cannot_be_embedded() {
    let prefix = healthy();
    // No loader knows a library of such a version.
    fs::create_dir_all(prefix.path("py/bin")).unwrap();
    fs::create_dir_all(prefix.path("py/lib/python3.98/encodings")).unwrap();
    let python = prefix.path("py/bin/python3.98");
    symlink("/usr/bin/python3", prefix.path("py/bin/python3")).unwrap();
    fs::copy("/bin/false", &python).unwrap();
    let arguments = ["--python", &python.to_string_lossy()];
    let (_, report) = examine(&prefix, &[&arguments[..], &["--embedded-mode"]].concat());
    assert!(of(&report, "python-library")[0].contains("libpython3.98.so.1.0 is missing"), "{report}");
    let (_, report) = examine(&prefix, &arguments);
    assert_eq!(of(&report, "python-library"), [""; 0]);
}

#[test]
fn packages_for_another_python_are_noticed() {
    let prefix = healthy();
    fs::create_dir_all(prefix.path("lib/python3.7/site-packages")).unwrap();
    let (status, report) = examine(&prefix, &["--python-path", "lib/python3.7/site-packages"]);
    let lines = of(&report, "python-path-version");
    assert_eq!((status, lines.len()), (Some(0), 1), "{report}");
    assert!(lines[0].starts_with("--python-path: warning: "), "{report}");
}
