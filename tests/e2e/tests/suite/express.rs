//! Servers that mod_wsgi-express sets up and runs.

mod limits;

use std::fs::{self, File, Permissions};
use std::net::{Ipv4Addr, SocketAddr, TcpListener, TcpStream};
use std::os::unix::fs::{MetadataExt as _, PermissionsExt as _};
use std::os::unix::process::CommandExt as _;
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};

use e2e::Needs::{Daemon, Ours};
use e2e::{Connection, Interpreter, Process, Response, Target, Test, preload, signal, test, wait_until};
use nix::sys::signal::Signal;

pub(crate) const TABLES: &[&[Test]] = &[TESTS, limits::TESTS];

const TESTS: &[Test] = &[
    test!(the_application_runs_in_daemon_processes, Daemon, Ours("such checks and messages")),
    test!(several_processes_and_a_name_for_them, Daemon, Ours("such checks and messages")),
    test!(the_scoreboard_is_shown_when_it_is_asked_for, Daemon, Ours("such checks and messages")),
    test!(embedded_mode_has_no_supervisor, Daemon, Ours("such checks and messages")),
    test!(changes_of_modules_bring_a_new_process_once_they_work, Daemon, Ours("such checks and messages")),
    test!(a_changed_script_is_loaded_unless_that_is_off, Daemon, Ours("such checks and messages")),
    test!(services_run_beside_the_application, Daemon, Ours("such checks and messages")),
];

const APPLICATION: &str = include_str!("../../apps/express.wsgi");

/// A server that mod_wsgi-express runs; it ends with this value.
struct Express {
    directory: tempfile::TempDir,
    process: Child,
    port: u16,
}

impl Express {
    /// Starts a server with the application `app.wsgi`, which imports `imported.py`, and more options.
    fn start(options: &[&str]) -> Self {
        let directory = tempfile::tempdir().unwrap_or_else(|error| panic!("no temporary directory: {error}"));
        let path = directory.path();
        open(path.into());
        for (name, content) in [
            ("app.wsgi", APPLICATION),
            ("imported.py", "value = 1\n"),
            (
                "service.py",
                "import os, time\nprint('serves as', os.getuid(), flush=True)\ntime.sleep(1000)\n",
            ),
        ] {
            write(path.join(name), content);
        }
        let port = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).and_then(|listener| listener.local_addr());
        let port = port.unwrap_or_else(|error| panic!("no free port: {error}")).port();
        let output = File::create(path.join("output"))
            .and_then(|file| Ok((file.try_clone()?, file)))
            .unwrap_or_else(|error| panic!("{}/output: {error}", path.display()));
        let process = command()
            .args(["start-server", "app.wsgi", "--host", "127.0.0.1", "--log-level", "info"])
            .args(["--port", &port.to_string()])
            .arg("--server-root")
            .arg(path.join("root"))
            .arg("--python")
            .arg(Interpreter::current().executable)
            .args(options)
            .current_dir(path)
            .stdin(Stdio::null())
            .stdout(output.0)
            .stderr(output.1)
            .process_group(0)
            .spawn()
            .unwrap_or_else(|error| panic!("mod_wsgi-express: {error}"));
        let mut server = Self { directory, process, port };
        wait_until("the server that mod_wsgi-express starts", || {
            if let Ok(Some(status)) = server.process.try_wait() {
                panic!("mod_wsgi-express: {status}\n{}", server.read("output"));
            }
            TcpStream::connect(server.address()).ok()
        });
        server
    }

    fn get(&self) -> Response {
        self.ask("GET", "/", "", "")
    }

    /// The response to a request with these headers (each with its line end) and this body.
    fn ask(&self, method: &str, target: &str, headers: &str, body: &str) -> Response {
        let mut connection = Connection::open(self.address());
        let head =
            format!("{method} {target} HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n{headers}\r\n");
        connection.send(format!("{head}{body}").as_bytes());
        connection
            .response(method)
            .unwrap_or_else(|error| panic!("{method} {target}: {error}\n{}", self.log()))
    }

    fn value(&self, name: &str) -> String {
        let response = self.get();
        assert_eq!(response.status, 200, "{}\n{}", response.text(), self.log());
        response.value(name).unwrap_or_else(|| panic!("no {name} in {}", response.text()))
    }

    fn wait_for(&self, name: &str, value: &str) {
        wait_until(&format!("{name} {value}"), || (self.value(name) == value).then_some(()));
    }

    fn address(&self) -> SocketAddr {
        (Ipv4Addr::LOCALHOST, self.port).into()
    }

    fn path(&self, name: &str) -> PathBuf {
        self.directory.path().join(name)
    }

    fn read(&self, name: &str) -> String {
        fs::read_to_string(self.path(name)).unwrap_or_default()
    }

    fn log(&self) -> String {
        self.read("root/error_log")
    }

    /// The supervisor, if there is one, and the daemon processes.
    fn supervised(&self) -> Vec<Process> {
        let children = Process(self.process.id()).children();
        let supervisors = children.into_iter().filter(|child| child.read("comm").trim() == "supervisor");
        supervisors.flat_map(|supervisor| [vec![supervisor], supervisor.children()].concat()).collect()
    }

    fn stop(&mut self) {
        if let Ok(None) = self.process.try_wait() {
            signal(Process(self.process.id()), Signal::SIGTERM);
            wait_until("the end of the server", || self.process.try_wait().ok().flatten());
        }
    }
}

impl Drop for Express {
    fn drop(&mut self) {
        self.stop();
    }
}

fn command() -> Command {
    let module = Target::current().module();
    // PREFIX/lib/mod_wsgi/mod_wsgi.so
    let prefix = module.ancestors().nth(3).unwrap_or_else(|| panic!("{}", module.display()));
    let mut command = Command::new(prefix.join("bin/mod_wsgi-express"));
    preload(&mut command);
    command
}

fn write(path: PathBuf, content: &str) {
    fs::write(&path, content).unwrap_or_else(|error| panic!("{}: {error}", path.display()));
}

/// Lets the account in that serves.
fn open(directory: PathBuf) {
    let opened = fs::set_permissions(&directory, Permissions::from_mode(0o755));
    opened.unwrap_or_else(|error| panic!("{}: {error}", directory.display()));
}

fn is_root() -> bool {
    fs::metadata("/proc/self").is_ok_and(|own| own.uid() == 0)
}

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
