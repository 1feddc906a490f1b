//! `mod_wsgi-express doctor` on servers with real faults.

#![allow(clippy::unwrap_used, reason = "a test that cannot set up its world has failed")]

mod prefix;

use std::fs::{self, Permissions};
use std::os::unix::fs::{PermissionsExt, symlink};
use std::path::Path;
use std::process::{Command, Stdio};

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
    let class = if nix::unistd::geteuid().is_root() { 'o' } else { 'u' };
    assert!(lines[0].contains(&format!("`chmod {class}+x {}`", private.display())), "{report}");
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

/// Has the doctor look at a server with this script, and returns its exit status and what it says.
fn examine_script(script: &str, more: &[&str]) -> (Option<i32>, String) {
    let prefix = healthy();
    fs::write(prefix.path("app.wsgi"), script).unwrap();
    examine(&prefix, more)
}

/// Returns the only line of a report but for the last.
fn only<'a>(report: &'a str, check: &str) -> &'a str {
    assert_eq!(report.lines().count(), 2, "{report}");
    of(report, check).first().unwrap_or_else(|| panic!("{report}"))
}

#[test]
fn an_application_that_cannot_be_imported_is_an_error() {
    let (status, report) = examine_script("import os\n\n\ndef f():\n    import nonesuch\n\n\nf()\n", &[]);
    let line = only(&report, "application-import");
    assert!(status == Some(1) && line.starts_with("error: WSGI0109: the script "), "{line}");
    for part in [
        "ModuleNotFoundError: No module named 'nonesuch' (",
        "app.wsgi:5, in f)",
        "install nonesuch for the Python",
    ] {
        assert!(line.contains(part), "{part}: {line}");
    }
    let (status, report) = examine_script("import nonesuch", &["--no-import"]);
    assert_eq!((status, report.lines().count()), (Some(0), 1), "{report}");
}

#[test]
fn an_import_that_ends_or_hangs_is_an_error() {
    let (_, report) = examine_script("import os\nprint('good bye')\nos.kill(os.getpid(), 11)\n", &[]);
    let line = only(&report, "application-import");
    assert!(line.contains("ends the process: ") && line.contains("Segmentation fault"), "{line}");
    let (_, report) = examine_script("import sys\nprint('sorry', flush=True)\nimport os\nos._exit(3)\n", &[]);
    assert!(only(&report, "application-import").contains("its last lines are: sorry"), "{report}");
    let (_, report) = examine_script("while True:\n    print('x' * 100000)\n", &[]);
    assert!(only(&report, "application-import").contains("prints without end"), "{report}");
    let (_, report) = examine_script("import time\ntime.sleep(1000)\n", &["--startup-timeout", "1"]);
    assert!(only(&report, "application-import").contains("takes longer than 1 s"), "{report}");
}

#[test]
fn what_an_import_starts_is_ended_with_it() {
    let prefix = healthy();
    let file = prefix.path("pid");
    fs::write(&file, "").unwrap();
    fs::set_permissions(&file, Permissions::from_mode(0o666)).unwrap();
    let script = "import os, subprocess\nprocess = subprocess.Popen(['sleep', '1000'])\n\
                  open(os.path.join(os.path.dirname(__file__), 'pid'), 'w').write(str(process.pid))\napplication = print\n";
    fs::write(prefix.path("app.wsgi"), script).unwrap();
    assert_eq!(examine(&prefix, &[]).0, Some(0));
    let status = format!("/proc/{}/stat", fs::read_to_string(file).unwrap());
    // It may be a zombie until somebody reaps it.
    let ends = (0..500).any(|_| {
        std::thread::sleep(std::time::Duration::from_millis(10));
        fs::read_to_string(&status).map_or(true, |text| text.contains(") Z "))
    });
    assert!(ends, "{status}");
}

#[test]
fn what_leaves_an_import_for_good_is_ended_too() {
    let prefix = healthy();
    let file = prefix.path("pid");
    fs::write(&file, "").unwrap();
    fs::set_permissions(&file, Permissions::from_mode(0o666)).unwrap();
    // Twice, as services do.
    let script = "import os, time\nfile = os.path.join(os.path.dirname(__file__), 'pid')\n\
                  if os.fork() == 0:\n    os.setsid()\n    if os.fork() == 0:\n        open(file, 'w').write(str(os.getpid()))\n\
                  \x20       time.sleep(1000)\n    os._exit(0)\n\
                  while not os.path.getsize(file):\n    time.sleep(0.01)\napplication = print\n";
    fs::write(prefix.path("app.wsgi"), script).unwrap();
    assert_eq!(examine(&prefix, &[]).0, Some(0));
    let process = format!("/proc/{}", fs::read_to_string(file).unwrap());
    assert!(!Path::new(&process).exists(), "{process}");
}

#[test]
fn the_import_counts_whatever_comes_after_it() {
    let after = "import atexit, time\natexit.register(time.sleep, 1000)\napplication = print\n";
    assert_eq!(examine_script(after, &["--startup-timeout", "20"]).0, Some(0));
    let replaced = "import builtins, json, os, sys\nbuiltins.open = os.fdopen = json.dumps = sys.stdout = None\n\
                    class Lazy:\n    def __getattr__(self, name):\n        raise SystemExit\n\
                    sys.modules['lazy'] = Lazy()\nsys.modules[5] = None\napplication = print\n";
    assert_eq!(examine_script(replaced, &[]).0, Some(0));
}

#[test]
fn a_configuration_that_cannot_be_read_is_a_finding() {
    let prefix = healthy();
    nix::unistd::mkfifo(&prefix.path("pipe"), nix::sys::stat::Mode::S_IRWXU).unwrap();
    for name in ["pipe", "none.conf", "/dev/zero"] {
        let output = prefix.run(&["doctor", "--json", "--config", &prefix.path(name).to_string_lossy()]);
        let report: serde_json::Value = serde_json::from_slice(&output.stdout).unwrap();
        let what = report["findings"][0]["what"].as_str().unwrap();
        assert!(output.status.code() == Some(1) && what.contains("cannot be read"), "{report}");
    }
}

#[test]
fn an_application_has_the_user_limits_and_environment_of_its_group() {
    let script = "import os, resource, pwd\nimport mod_wsgi\n\
                  raise ValueError([os.environ['LC_ALL'], resource.getrlimit(resource.RLIMIT_AS)[0], \
                  mod_wsgi.process_group, os.getcwd(), os.geteuid()])\n";
    let (_, report) = examine_script(script, &["--virtual-memory-limit", "1G", "--process-group", "shop"]);
    let line = only(&report, "application-import");
    let root = nix::unistd::geteuid().is_root();
    let uid = if root {
        nix::unistd::User::from_name("www-data").unwrap().unwrap().uid
    } else {
        nix::unistd::geteuid()
    };
    for part in ["1073741824, 'shop', '/", &format!(", {uid}]"), "UTF-8'"] {
        assert!(line.contains(part), "{part}: {line}");
    }
    let (_, report) = examine_script(
        "application = print\nlarge = bytearray(1 << 31)\n",
        &["--virtual-memory-limit", "1G"],
    );
    let line = only(&report, "application-import");
    assert!(
        line.contains("MemoryError") && line.contains("raise memory-limit= or virtual-memory-limit="),
        "{line}"
    );
}

#[test]
fn a_callable_that_is_missing_is_an_error() {
    let (_, report) = examine_script("def app(environ, start_response):\n    return []\n", &[]);
    let line = only(&report, "application-callable");
    assert!(line.contains("has no 'application'") && line.contains("--callable-object app)"), "{line}");
    let (_, report) = examine_script("application = 5\n", &[]);
    assert!(only(&report, "application-callable").contains("'application' in the script "), "{report}");
    assert!(report.contains("is of type int"), "{report}");
    let (status, report) = examine_script("app = print\n", &["--callable-object", "app"]);
    assert_eq!(status, Some(0), "{report}");
}

#[test]
fn variables_of_requests_that_are_expected_in_the_process_are_told_of() {
    let setenv = ["--setenv", "SHOP", "1"];
    let (status, report) = examine_script("import os\nos.environ['SHOP']\n", &setenv);
    let line = only(&report, "setenv-environ");
    assert!(status == Some(1) && line.starts_with("--setenv: error: "), "{line}");
    assert!(line.contains("environment=SHOP=..."), "{line}");
    let (_, report) = examine_script("import os\nos.environ['SHOP']\n", &[]);
    assert!(
        only(&report, "application-import").contains("environment=SHOP=... of WSGIDaemonProcess"),
        "{report}"
    );
    let (status, report) = examine_script("import os\nos.getenv('SHOP')\napplication = print\n", &setenv);
    assert!(
        status == Some(0) && only(&report, "setenv-environ").starts_with("--setenv: warning: "),
        "{report}"
    );
    let static_look = [&setenv[..], &["--no-import"]].concat();
    let (_, report) = examine_script("import os\nx = os.environ.get('SHOP')\n", &static_look);
    only(&report, "setenv-environ");
    let (_, report) = examine_script("application = lambda e, s: e['SHOP']\n", &setenv);
    assert_eq!(report.lines().count(), 1, "{report}");
}

/// A real extension module with single-phase initialisation. It refuses interpreters other than the
/// first, as those that are made with PyO3 do.
const EXTENSION: &str = r#"
#define PY_SSIZE_T_CLEAN
#include <Python.h>
static struct PyModuleDef definition = {PyModuleDef_HEAD_INIT, "single", 0, -1, 0};
PyMODINIT_FUNC PyInit_single(void) {
#ifdef STRICT
    if (PyInterpreterState_Get() != PyInterpreterState_Main()) {
        PyErr_SetString(PyExc_ImportError, "module single does not support loading in subinterpreters");
        return 0;
    }
#endif
    return PyModule_Create(&definition);
}
"#;

/// Builds the extension module into a directory of the prefix.
fn build_extension(prefix: &Prefix, flags: &[&str]) {
    let source = prefix.path("single.c");
    fs::write(&source, EXTENSION).unwrap();
    let output = Command::new("/usr/bin/python3")
        .args([
            "-c",
            "import sysconfig; print(sysconfig.get_path('include'), sysconfig.get_config_var('EXT_SUFFIX'))",
        ])
        .output()
        .unwrap();
    let output = String::from_utf8(output.stdout).unwrap();
    let (include, suffix) = output.trim().split_once(' ').unwrap();
    fs::create_dir_all(prefix.path("packages")).unwrap();
    let built = Command::new("cc")
        .args(["-shared", "-fPIC", "-I", include, "-o"])
        .arg(prefix.path("packages").join(format!("single{suffix}")))
        .arg(&source)
        .args(flags)
        .status();
    assert!(built.unwrap().success());
}

#[test]
fn extension_modules_that_do_not_support_sub_interpreters_are_named() {
    let prefix = healthy();
    build_extension(&prefix, &[]);
    fs::write(prefix.path("app.wsgi"), "import single\napplication = print\n").unwrap();
    let in_main = ["--python-path", "packages"];
    let in_sub = [&in_main[..], &["--application-group", "shop"]].concat();
    let (status, report) = examine(&prefix, &in_main);
    assert_eq!((status, report.lines().count()), (Some(0), 1), "{report}");
    let (status, report) = examine(&prefix, &in_sub);
    let line = only(&report, "sub-interpreter");
    assert!(
        status == Some(0) && line.contains("warning: ") && line.contains("its extension module single does"),
        "{line}"
    );

    // NumPy warns in these words.
    let script = "import warnings\nwarnings.warn('it does not properly support sub-interpreters')\napplication = print\n";
    let (_, report) = examine_script(script, &["--application-group", "shop"]);
    assert!(
        only(&report, "sub-interpreter").contains("UserWarning: it does not properly support"),
        "{report}"
    );
    assert_eq!(examine_script(script, &[]).1.lines().count(), 1);

    build_extension(&prefix, &["-DSTRICT"]);
    let (status, report) = examine(&prefix, &in_sub);
    let line = only(&report, "sub-interpreter");
    assert!(
        status == Some(1) && line.contains("module single does not support loading in subinterpreters"),
        "{line}"
    );
    assert_eq!(examine(&prefix, &in_main).0, Some(0));
}

#[test]
fn requests_need_an_end() {
    let (status, report) = examine_script("application = print\n", &["--request-timeout", "0"]);
    let line = only(&report, "request-timeout");
    assert!(status == Some(0) && line.contains("takes one of its 5 threads for ever"), "{line}");
}

#[test]
fn more_processes_than_memory_are_told_of() {
    let script = "import mod_wsgi\nballast = bytearray(b'x') * (40 << 20)\napplication = print\n";
    let (_, report) = examine_script(script, &["--processes", "20000", "--threads", "1"]);
    let lines = of(&report, "memory");
    assert!(
        lines.len() == 1
            && lines[0].contains("warning: the processes need ")
            && lines[0].contains("20000 x "),
        "{report}"
    );
    let (status, report) = examine_script(script, &["--memory-recycle", "16M"]);
    let line = only(&report, "memory");
    assert!(status == Some(1) && line.contains("memory-recycle=16777216 is less than the "), "{line}");
}

#[test]
fn a_low_limit_of_open_files_is_an_error() {
    let prefix = healthy();
    let program = prefix.server("doctor", &["--processes", "30"]);
    let output = Command::new("/bin/sh")
        .args(["-c", "ulimit -n 70; exec \"$0\" \"$@\""])
        .arg(program.get_program())
        .args(program.get_args())
        .current_dir(program.get_current_dir().unwrap())
        .envs(program.get_envs().filter_map(|(name, value)| Some((name, value?))))
        .output()
        .unwrap();
    let report = text(&output);
    let lines = of(&report, "descriptors");
    assert!(lines.len() == 1 && lines[0].contains(", and may have 70: "), "{report}{}", errors(&output));
    assert_eq!(output.status.code(), Some(1));
}

#[test]
fn locales_are_checked() {
    let (_, report) = examine_script("application = print\n", &["--locale", "xx_XX.UTF-8"]);
    let line = only(&report, "start");
    assert!(line.starts_with("--locale: warning: this machine has no locale xx_XX.UTF-8"), "{line}");

    let prefix = healthy();
    let made = Command::new("localedef")
        .args(["-i", "de_DE", "-f", "ISO-8859-1"])
        .arg(prefix.path("de_DE"))
        .stderr(Stdio::null())
        .status();
    if !made.is_ok_and(|status| status.success()) {
        eprintln!("skipped: no locale can be made here");
        return;
    }
    let output =
        prefix.server("doctor", &["--locale", "de_DE"]).env("LOCPATH", prefix.path("")).output().unwrap();
    let report = text(&output);
    assert!(only(&report, "locale").to_ascii_lowercase().contains("is iso8859-1"), "{report}");
}

/// Has the doctor look at a server that a unit starts.
fn examine_unit(prefix: &Prefix, settings: &str, more: &[&str]) -> String {
    let unit = prefix.path("shop.service");
    fs::write(&unit, format!("[Unit]\nDescription=shop\n[Service]\n{settings}\n")).unwrap();
    let unit = unit.to_string_lossy().into_owned();
    examine(prefix, &[&["--unit", &unit], more].concat()).1
}

#[test]
fn a_sandbox_that_hides_the_application_is_an_error() {
    let prefix = healthy();
    let temporary = std::env::temp_dir();
    assert!(temporary.starts_with("/tmp") || temporary.starts_with("/var/tmp"), "{}", temporary.display());
    let report = examine_unit(&prefix, "PrivateTmp=yes", &[]);
    let lines = of(&report, "systemd-sandbox");
    assert!(
        lines.iter().any(|line| line.contains("the script ") && line.contains("shop.service:4)")),
        "{report}"
    );
    let directory = prefix.directory.path().display();
    let report = examine_unit(&prefix, &format!("InaccessiblePaths=-{directory}"), &["--no-import"]);
    assert!(
        of(&report, "systemd-sandbox")[0].contains("is hidden from the server by InaccessiblePaths="),
        "{report}"
    );
    let report = examine_unit(&prefix, "NoExecPaths=/\nExecPaths=/usr/sbin", &[]);
    assert!(only(&report, "systemd-sandbox").contains("the service may not execute /usr"), "{report}");
    for settings in [
        "NoExecPaths=/\nExecPaths=/usr",
        "PrivateTmp=no",
        "ProtectHome=yes",
        "CapabilityBoundingSet=CAP_SETGID CAP_SETUID",
    ] {
        let report = examine_unit(&prefix, settings, &[]);
        assert_eq!(report.lines().count(), 1, "{report}");
    }
    for settings in ["CapabilityBoundingSet=CAP_CHOWN", "CapabilityBoundingSet=~CAP_SETUID"] {
        let report = examine_unit(&prefix, settings, &[]);
        assert!(only(&report, "systemd-sandbox").contains("may not start processes as "), "{report}");
    }
}

#[test]
fn limits_of_a_unit_count() {
    let prefix = healthy();
    let report = examine_unit(&prefix, "LimitNOFILE=50\nTasksMax=20\nMemoryMax=16M", &["--processes", "4"]);
    assert!(of(&report, "descriptors")[0].contains("shop.service:4: error: "), "{report}");
    assert!(of(&report, "tasks")[0].contains(", and may have 20: "), "{report}");
    assert!(of(&report, "memory")[0].contains("the service (MemoryMax) has 16 MB"), "{report}");
    let report = examine_unit(&prefix, "LimitNOFILE=1024\nTasksMax=infinity", &[]);
    assert_eq!(report.lines().count(), 1, "{report}");
    let output = prefix.server("doctor", &["--unit", "no-such.service"]).output().unwrap();
    assert!(text(&output).contains("there is no unit no-such.service"), "{}", text(&output));
}

#[test]
fn the_json_has_the_traceback() {
    let prefix = healthy();
    fs::write(prefix.path("app.wsgi"), "print('hello')\nraise ValueError('oh\\nno')\n").unwrap();
    let output = prefix.server("doctor", &["--json"]).output().unwrap();
    let report: serde_json::Value = serde_json::from_slice(&output.stdout).unwrap();
    let detail = report["findings"][0]["detail"].as_str().unwrap();
    assert!(
        detail.starts_with("hello\nTraceback (most recent call last):")
            && detail.ends_with("ValueError: oh\nno"),
        "{detail}"
    );
}

/// Returns whether this test can become root's other users; says so if not.
fn is_root() -> bool {
    let is_root = nix::unistd::geteuid().is_root();
    if !is_root {
        eprintln!("skipped: only root can try something as another user");
    }
    is_root
}

#[test]
fn access_control_lists_count() {
    if !is_root() {
        return;
    }
    let prefix = healthy();
    let closed = prefix.path("closed");
    fs::create_dir(&closed).unwrap();
    fs::write(closed.join("app.wsgi"), "application = print\n").unwrap();
    fs::set_permissions(&closed, Permissions::from_mode(0o700)).unwrap();
    let arguments = ["--entry-point", "closed/app.wsgi"];
    assert_eq!(examine(&prefix, &arguments).0, Some(1));
    // Version 2; the owner, a user, the group, the mask, others: tag, permissions, id.
    let script = "import os, pwd, struct, sys\n\
                  user = pwd.getpwnam('www-data').pw_uid\n\
                  entries = [(1, 7, 0xffffffff), (2, 1, user), (4, 0, 0xffffffff), (16, 1, 0xffffffff), (32, 0, 0xffffffff)]\n\
                  packed = b''.join(struct.pack('<HHI', *entry) for entry in entries)\n\
                  os.setxattr(sys.argv[1], 'system.posix_acl_access', struct.pack('<I', 2) + packed)\n";
    let status =
        Command::new("/usr/bin/python3").args(["-c", script]).arg(&closed).stderr(Stdio::null()).status();
    if !status.unwrap().success() {
        eprintln!("skipped: the file system has no access control lists");
        return;
    }
    let (status, report) = examine(&prefix, &arguments);
    assert_eq!((status, report.lines().count()), (Some(0), 1), "{report}");
}

#[test]
fn a_python_where_nothing_can_be_executed_is_out_of_reach() {
    if !is_root() {
        return;
    }
    let prefix = healthy();
    let mount = prefix.path("mount");
    fs::create_dir(&mount).unwrap();
    let real = Path::new("/usr/bin/python3").canonicalize().unwrap();
    let python = mount.join("bin").join(real.file_name().unwrap());
    let doctor = prefix.server("doctor", &["--python", &python.to_string_lossy()]);
    // In a mount namespace of its own.
    let script = "mount -t tmpfs -o noexec,mode=755 doctor \"$1\" || exit 77; mkdir -p \"$1/bin\" \"$1/lib\"; cp \"$2\" \"$1/bin\" && \
                  ln -s /usr/lib/python3* \"$1/lib\" && shift 2 && exec \"$@\"";
    let output = Command::new("unshare")
        .args(["-m", "sh", "-c", script, "sh"])
        .args([&mount, &real])
        .arg(doctor.get_program())
        .args(doctor.get_args())
        .current_dir(doctor.get_current_dir().unwrap())
        .envs(doctor.get_envs().filter_map(|(name, value)| Some((name, value?))))
        .output()
        .unwrap();
    if output.status.code() == Some(77) || errors(&output).contains("unshare") {
        eprintln!("skipped: nothing can be mounted here: {}", errors(&output));
        return;
    }
    let report = text(&output);
    let lines = of(&report, "unreachable-path");
    assert!(
        lines.len() == 1 && lines[0].contains("may not execute ") && lines[0].contains("(noexec, NFS)"),
        "{report}{}",
        errors(&output)
    );
    assert_eq!(report.lines().count(), 2, "{report}");
}

#[test]
fn what_apache_and_the_machine_refuse_is_found() {
    let prefix = healthy();
    fs::write(prefix.path("refuse"), "").unwrap();
    let (status, report) = examine(&prefix, &[]);
    let line = only(&report, "start");
    assert!(
        status == Some(1) && line.contains("Apache refuses the configuration: Syntax error: refused"),
        "{line}"
    );
    fs::remove_file(prefix.path("refuse")).unwrap();
    let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let port = listener.local_addr().unwrap().port().to_string();
    let (status, report) = examine(&prefix, &["--port", &port]);
    assert!(status == Some(1) && only(&report, "port-taken").starts_with("--port: error: "), "{report}");
    let (status, report) = examine(&prefix, &["--host", "192.0.2.1"]);
    assert!(status == Some(1) && report.contains("error: cannot listen on 192.0.2.1:"), "{report}");
    let (_, report) = examine(&prefix, &["--service-script", "task", "no-task.py"]);
    assert!(only(&report, "start").contains("no-task.py"), "{report}");
    // What is made at the start need not be there.
    let made = ["--log-directory", "logs", "--document-root", "htdocs"];
    let (status, report) = examine(&prefix, &made);
    assert_eq!((status, report.lines().count()), (Some(0), 1), "{report}");
    assert!(!prefix.path("logs").exists() && !prefix.path("htdocs").exists());
    let (status, report) = examine(&prefix, &["--log-directory", "none/logs"]);
    assert!(status == Some(1) && only(&report, "start").contains("--log-directory"), "{report}");
    let (_, report) = examine(&prefix, &["--include-file", "/no/such.conf"]);
    assert!(only(&report, "start").contains("--include-file"), "{report}");
    assert!(!prefix.path("root").exists(), "nothing is generated where the server will be");
}
