//! An installation with an Apache that is played by a shell script.

#![allow(dead_code, reason = "each test program uses a part of it")]

use std::fs::{self, Permissions};
use std::net::TcpListener;
use std::os::unix::fs::PermissionsExt;
use std::path::PathBuf;
use std::process::{Command, Output, Stdio};

/// A substitute for Apache: it lists its modules, checks a configuration, and serves.
const HTTPD: &str = r#"#!/bin/sh
case "$*" in
    -l) printf 'Compiled in modules:\n'
        for name in event unixd access_compat authn_core authz_core authz_host mime rewrite alias dir env headers \
            filter reqtimeout; do printf '  mod_%s.c\n' $name; done ;;
    *" -t") [ ! -e "${0%/*}/hang" ] || { sleep 1000 & echo $! >>"${0%/*}/pids"; wait; }
        [ ! -e "${0%/*}/refuse" ] || { echo "Syntax error: refused" >&2; exit 1; } ;;
    *) echo "serving as $$ in $(pwd) for $MOD_WSGI_USER: $*"; exit 3 ;;
esac
"#;

/// An installation with an Apache that can be told what to do.
pub(crate) struct Prefix {
    pub(crate) directory: tempfile::TempDir,
}

impl Prefix {
    pub(crate) fn new() -> Self {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path();
        fs::set_permissions(path, Permissions::from_mode(0o755)).unwrap();
        for name in ["bin", "lib", "lib/mod_wsgi", "lib/mod_wsgi/host", "modules"] {
            fs::create_dir(path.join(name)).unwrap();
        }
        for name in ["lib/mod_wsgi/mod_wsgi.so", "modules/mod_alias.so"] {
            fs::write(path.join(name), "").unwrap();
        }
        fs::write(path.join("lib/mod_wsgi/host").join(host()), "").unwrap();
        fs::write(path.join("app.wsgi"), "").unwrap();
        let prefix = Self { directory };
        prefix.executable("bin/mod_wsgi-express", r#"cp "$1" "$0""#, env!("CARGO_BIN_EXE_mod_wsgi-express"));
        prefix.executable("lib/mod_wsgi/supervisor", r#"printf '#!/bin/sh\n' >"$0""#, "");
        prefix.executable("httpd", r#"printf %s "$1" >"$0""#, HTTPD);
        prefix
    }

    pub(crate) fn path(&self, name: &str) -> PathBuf {
        self.directory.path().join(name)
    }

    /// Made by another process: a descriptor that is open for writing could be inherited by a
    /// program that another test starts, and then the kernel refuses to execute the file.
    pub(crate) fn executable(&self, name: &str, recipe: &str, argument: &str) {
        let made = Command::new("/bin/sh").args(["-c", recipe]).arg(self.path(name)).arg(argument).status();
        assert!(made.unwrap().success());
        fs::set_permissions(self.path(name), Permissions::from_mode(0o755)).unwrap();
    }

    pub(crate) fn command(&self, arguments: &[&str]) -> Command {
        let mut command = Command::new(self.path("bin/mod_wsgi-express"));
        command
            .args(arguments)
            .current_dir(self.directory.path())
            .env("HTTPD", self.path("httpd"))
            .env("PYTHON", "/usr/bin/python3")
            .env("HOME", "/h")
            .stdin(Stdio::null());
        command
    }

    pub(crate) fn run(&self, arguments: &[&str]) -> Output {
        self.command(arguments).output().unwrap()
    }

    /// A server on a free port, with `more` arguments.
    pub(crate) fn server(&self, command: &str, more: &[&str]) -> Command {
        let port = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port().to_string();
        let root = self.path("root");
        let modules = self.path("modules");
        let mut command = self.command(&[command, "app.wsgi", "--host", "127.0.0.1", "--port", &port]);
        command.arg("--server-root").arg(root).arg("--modules-directory").arg(modules).args(more);
        command
    }
}

/// The name of the host of the Python that the tests use.
pub(crate) fn host() -> String {
    let script = "import sysconfig; print('mod_wsgi_host' + sysconfig.get_config_var('EXT_SUFFIX'))";
    let output = Command::new("/usr/bin/python3").args(["-I", "-c", script]).output().unwrap();
    String::from_utf8(output.stdout).unwrap().trim().to_owned()
}

pub(crate) fn errors(output: &Output) -> String {
    String::from_utf8_lossy(&output.stderr).into_owned()
}

pub(crate) fn text(output: &Output) -> String {
    String::from_utf8_lossy(&output.stdout).into_owned()
}
