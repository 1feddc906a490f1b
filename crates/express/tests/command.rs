//! The command as a user meets it: output, exit status, the processes it leaves. Apache is played
//! by a shell script.

#![allow(clippy::unwrap_used, reason = "a test that cannot set up its world has failed")]

mod prefix;

use std::fs::{self, Permissions};
use std::net::TcpListener;
use std::os::unix::fs::{MetadataExt, PermissionsExt};
use std::path::Path;
use std::process::{Command, Stdio};

use prefix::{Prefix, errors, host, text};

const USAGE: &str = "Usage: mod_wsgi-express ";

#[test]
fn senseless_command_lines_get_usage_and_status_2() {
    let prefix = Prefix::new();
    let cases: [(&[&str], &str); 9] = [
        (&[], "error: No command was specified.\n"),
        (&["bogus"], "error: Invalid command was specified.\n"),
        (&["--version"], "error: Invalid command was specified.\n"),
        (&["start-server", "--xyz"], "error: no such option: --xyz\n"),
        (&["start-server", "--port", "abc"], "error: option --port: invalid integer value: 'abc'\n"),
        (&["start-server", "--url-alias", "/x"], "error: --url-alias option requires 2 arguments\n"),
        (&["start-server", "--threads", "0"], "error: option --threads: 0 is not in the range 1 to 20000\n"),
        (
            &["setup-server", "--debugger-startup"],
            "error: option --debugger-startup: there is no debugger to start; add --enable-debugger\n",
        ),
        (&["module-location", "x"], "error: Incorrect number of arguments.\n"),
    ];
    for (arguments, message) in cases {
        let output = prefix.run(arguments);
        let errors = errors(&output);
        assert_eq!(output.status.code(), Some(2), "{arguments:?}: {errors}");
        assert!(errors.starts_with(USAGE) && errors.ends_with(message), "{arguments:?}: {errors}");
        assert_eq!(text(&output), "", "{arguments:?}");
    }
}

#[test]
fn help_goes_to_standard_output() {
    for command in ["start-server", "setup-server", "module-config", "module-location", "install-module"] {
        let output = Prefix::new().run(&[command, "--help"]);
        assert_eq!((output.status.code(), errors(&output).as_str()), (Some(0), ""), "{command}");
        assert!(text(&output).starts_with(&format!("{USAGE}{command} ")), "{command}: {}", text(&output));
    }
}

#[test]
fn the_module_is_found_next_to_the_command() {
    let prefix = Prefix::new();
    let module = prefix.path("lib/mod_wsgi/mod_wsgi.so").canonicalize().unwrap();
    let output = prefix.run(&["module-location"]);
    assert_eq!(text(&output), format!("{}\n", module.display()), "{}", errors(&output));
    let output = prefix.run(&["module-config"]);
    let expected = format!("LoadModule wsgi_module \"{}\"\nWSGIPythonHome \"/usr\"\n", module.display());
    assert_eq!((text(&output), output.status.code()), (expected, Some(0)), "{}", errors(&output));

    fs::remove_file(module).unwrap();
    let output = prefix.run(&["module-location"]);
    assert_eq!(output.status.code(), Some(1));
    assert!(errors(&output).contains("make install PREFIX="), "{}", errors(&output));
}

#[test]
fn installing_prints_what_to_load() {
    let prefix = Prefix::new();
    let output = prefix.run(&["install-module", "--modules-directory", "modules"]);
    let link = prefix.path("modules/mod_wsgi.so");
    assert!(
        text(&output).starts_with(&format!("LoadModule wsgi_module \"{}\"\n", link.display())),
        "{output:?}"
    );
    let real = link.canonicalize().unwrap();
    assert!(real.parent().unwrap().join("host").join(host()).is_file());
}

#[test]
fn directories_are_closed_whatever_the_umask_is() {
    let prefix = Prefix::new();
    let server = prefix.server("setup-server", &["--log-directory", "logs", "--document-root", "documents"]);
    let mut open = Command::new("/bin/sh");
    open.args(["-c", r#"umask 0; exec "$0" "$@""#]).arg(server.get_program()).args(server.get_args());
    let variables = server.get_envs().filter_map(|(name, value)| Some((name, value?)));
    let output = open.envs(variables).current_dir(prefix.path("")).output().unwrap();
    for name in ["logs", "documents", "root", "root/htdocs"] {
        let mode = prefix.path(name).metadata().unwrap_or_else(|_| panic!("{name}: {output:?}")).mode();
        assert_eq!(mode & 0o022, 0, "{name}: {mode:o}");
    }
}

#[test]
fn a_pid_file_that_cannot_be_written_is_refused() {
    let prefix = Prefix::new();
    let output = prefix.server("start-server", &["--pid-file", "missing/pid"]).output().unwrap();
    assert!(output.status.code() == Some(1) && errors(&output).contains("check --pid-file"), "{output:?}");
}

#[test]
fn setting_up_writes_the_server_root_and_the_banner() {
    let prefix = Prefix::new();
    let output = prefix.server("setup-server", &["--threads", "7"]).output().unwrap();
    assert_eq!((output.status.code(), errors(&output).as_str()), (Some(0), ""), "{output:?}");
    let banner = text(&output);
    for part in [
        "Operating Mode     : daemon",
        "Request Capacity   : 7 (1 process * 7 threads)",
        "Request Timeout    : 60 (seconds)",
        "Queue Backlog      : 100 (connections)",
        "Server Capacity    : 20 (event/worker), 20 (prefork)",
        "Control Script",
    ] {
        assert!(banner.contains(part), "{part} in {banner}");
    }
    let mode = |name: &str| prefix.path("root").join(name).metadata().unwrap().mode() & 0o777;
    assert_eq!((mode("httpd.conf"), mode("apachectl"), mode("default.wsgi")), (0o600, 0o700, 0o644));
    assert!(prefix.path("root/python-eggs").is_dir());
    let variables = |options: &[&str]| {
        let banner = text(&prefix.server("setup-server", options).output().unwrap());
        banner.lines().find(|line| line.starts_with("Environ Variables  : ")).map(str::to_owned)
    };
    assert!(variables(&[]).unwrap().ends_with("/root/envvars"));
    assert!(variables(&["--envvars-script", "/dev/../etc/profile"]).unwrap().ends_with(" : /etc/profile"));
    assert!(!text(&prefix.server("start-server", &["--setup-only"]).output().unwrap()).contains("serving"));
}

#[test]
fn without_a_terminal_the_command_becomes_apache() {
    let prefix = Prefix::new();
    let child =
        prefix.server("start-server", &[]).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
    let pid = child.id();
    let output = child.wait_with_output().unwrap();
    assert_eq!(output.status.code(), Some(3), "{output:?}");
    let (text, errors) = (text(&output), errors(&output));
    let directory = prefix.directory.path().canonicalize().unwrap();
    assert!(text.contains(&format!("serving as {pid} in {} for ", directory.display())), "{text}{errors}");
    assert!(text.trim_end().ends_with("-k start -DFOREGROUND"), "{text}");
}

#[test]
fn what_may_come_later_is_no_obstacle() {
    let prefix = Prefix::new();
    let more = ["--locale", "xx_XX", "--url-alias", "/media", "/no/media"];
    let output = prefix.server("start-server", &more).output().unwrap();
    let errors = errors(&output);
    assert!(text(&output).contains("Server URL"), "{errors}");
    for part in ["`locale -a` with --locale", "/no/media does not exist"] {
        assert!(
            errors.lines().any(|line| line.contains("warning: ") && line.contains(part)),
            "{part} in {errors}"
        );
    }
}

#[test]
fn obstacles_are_named_before_the_server_starts() {
    let prefix = Prefix::new();
    let refused = |more: &[&str], part: &str| {
        let output = prefix.server("start-server", more).output().unwrap();
        let errors = errors(&output);
        assert_eq!(output.status.code(), Some(1), "{more:?}: {errors}");
        assert!(errors.lines().count() == 1 && errors.contains(part), "{more:?}: {errors}");
        assert_eq!(text(&output), "", "{more:?}");
    };
    refused(&["--entry-point", "missing.wsgi"], "missing.wsgi does not exist");
    refused(&["--entry-point", "shop.wsgi"], "or add --application-type module if it is a module");
    refused(&["--entry-point", "shop.wsgi:app"], "add --application-type module");
    refused(&["--include-file", "missing.conf"], "check --include-file");
    refused(&["--python", "/no/python"], "name one that this account can execute with --python");
    refused(&["--modules-directory", "/no/modules"], "check --modules-directory");
    refused(&["--server-root", "/no/such/root"], "--server-root");

    refused(&["--document-root", "/no/such/root"], "create it or check --document-root");
    refused(&["--service-script", "mail", "missing.py"], "check --service-script");
    refused(&["--reload-on-changes"], "reload_on_changes.py");
    fs::rename(prefix.path("lib/mod_wsgi/supervisor"), prefix.path("supervisor")).unwrap();
    refused(&[], "supervisor is missing or not executable");
    fs::rename(prefix.path("supervisor"), prefix.path("lib/mod_wsgi/supervisor")).unwrap();

    let taken = TcpListener::bind("127.0.0.1:0").unwrap();
    let port = taken.local_addr().unwrap().port().to_string();
    refused(&["--port", &port], &format!("port {port} is in use"));

    fs::write(prefix.path("refuse"), "").unwrap();
    refused(&[], "Apache refuses the configuration: Syntax error: refused");
}

#[test]
fn as_root_the_serving_account_has_to_reach_the_script() {
    if Path::new("/proc/self").metadata().unwrap().uid() != 0 {
        println!("skipped: only root can serve as another account");
        return;
    }
    let prefix = Prefix::new();
    fs::create_dir(prefix.path("private")).unwrap();
    fs::write(prefix.path("private/app.wsgi"), "").unwrap();
    fs::set_permissions(prefix.path("private"), Permissions::from_mode(0o700)).unwrap();
    let more = ["--entry-point", "private/app.wsgi", "--user", "nobody"];
    let output = prefix.server("start-server", &more).output().unwrap();
    assert_eq!(output.status.code(), Some(1));
    assert!(errors(&output).contains("nobody may not enter"), "{}", errors(&output));

    // The current directory is a guess that gives way; one that was named is not.
    let mut elsewhere = prefix.server("start-server", &["--user", "nobody", "--entry-point"]);
    elsewhere.arg(prefix.path("app.wsgi")).current_dir(prefix.path("private"));
    let output = elsewhere.output().unwrap();
    let warning = format!("the application works in {}, not in", prefix.directory.path().display());
    assert!(errors(&output).contains(&warning) && text(&output).contains(" for nobody: "), "{output:?}");
    let named = ["--working-directory", "private", "--user", "nobody"];
    let output = prefix.server("start-server", &named).output().unwrap();
    assert!(errors(&output).contains("private is closed to the serving account"), "{}", errors(&output));

    fs::set_permissions(prefix.path("private"), Permissions::from_mode(0o711)).unwrap();
    let output = prefix.server("start-server", &more).output().unwrap();
    assert!(text(&output).contains(" for nobody: "), "{output:?}");
}

#[test]
fn options_that_mean_nothing_are_named() {
    let prefix = Prefix::new();
    let more = ["--embedded-mode", "--queue-timeout", "3", "--max-clients", "9", "--socket-prefix", "/run"];
    let output = prefix.server("setup-server", &more).output().unwrap();
    let errors = errors(&output);
    assert_eq!(output.status.code(), Some(0), "{errors}");
    assert!(errors.contains("without effect in embedded mode: --queue-timeout, --max-clients\n"), "{errors}");
    assert!(errors.contains("--socket-prefix is without effect"), "{errors}");
    assert!(text(&output).contains("Operating Mode     : embedded\n"), "{output:?}");
}

#[test]
fn apache_can_have_another_name() {
    let prefix = Prefix::new();
    let output = prefix.server("start-server", &["--process-name", "it's \"mine\""]).output().unwrap();
    assert!(text(&output).contains("serving as "), "{output:?}");
    let script = fs::read_to_string(prefix.path("root/apachectl")).unwrap();
    assert!(script.contains(r#"'it'\''s "mine"'"#), "{script}");
}

#[test]
fn only_a_free_threaded_python_runs_without_its_lock() {
    let output = Prefix::new().server("start-server", &["--free-threading"]).output().unwrap();
    assert_eq!(output.status.code(), Some(2));
    assert!(errors(&output).contains("PEP 703"), "{}", errors(&output));
}

#[test]
fn variables_in_arguments_are_expanded() {
    let prefix = Prefix::new();
    let output = prefix.run(&["start-server", "--threads", "$HOME"]);
    assert!(errors(&output).contains("invalid integer value: '/h'"), "{}", errors(&output));
}
