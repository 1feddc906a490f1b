//! A server that mod_wsgi-express runs.

use std::ffi::OsString;
use std::fs::{self, File, Permissions};
use std::io::PipeWriter;
use std::net::{Ipv4Addr, SocketAddr, TcpStream};
use std::os::unix::fs::{MetadataExt as _, PermissionsExt as _};
use std::os::unix::process::CommandExt as _;
use std::path::PathBuf;
use std::process::{Child, Command, Output, Stdio};

use e2e::{Connection, Interpreter, Process, Response, Target, free_port, preload, signal, wait_until};
use nix::sys::signal::Signal;

use super::terminal::Terminal;

/// Prints where it runs.
pub(super) const APPLICATION: &str = include_str!("../../../apps/express.wsgi");

/// A server that mod_wsgi-express runs; it ends with this value.
pub(super) struct Express {
    pub(super) directory: tempfile::TempDir,
    pub(super) process: Child,
    pub(super) port: u16,
}

impl Express {
    /// Starts a server with the application `app.wsgi`, which imports `imported.py`, and more
    /// options.
    pub(super) fn start(options: &[&str]) -> Self {
        Self::serve(Site::new(), options)
    }

    /// Starts a server for a site, with more options.
    pub(super) fn serve(site: Site, options: &[&str]) -> Self {
        Self::serve_within(&[], site, options)
    }

    /// Starts a server as the command that another one executes.
    pub(super) fn serve_within(wrapper: &[&str], site: Site, options: &[&str]) -> Self {
        let mut command = command(wrapper);
        command.args(["start-server", "app.wsgi"]).args(own_options());
        Self::run(site, command, options)
    }

    /// Starts a server by a command that takes the options of start-server.
    pub(super) fn run(site: Site, mut command: Command, options: &[&str]) -> Self {
        let output = File::create(site.path("output"))
            .and_then(|file| Ok((file.try_clone()?, file)))
            .unwrap_or_else(|error| panic!("{}: {error}", site.path("output").display()));
        command.stdin(Stdio::null()).stdout(output.0).stderr(output.1).process_group(0);
        Self::wait_for_start(site, command, options)
    }

    /// Starts a server on a terminal.
    pub(super) fn on_terminal(site: Site, options: &[&str]) -> Session {
        Self::on_terminal_with_output(site, options, true)
    }

    /// Starts a server on a terminal, to which its output goes, or else to a file.
    pub(super) fn on_terminal_with_output(site: Site, options: &[&str], shows_output: bool) -> Session {
        let pair = nix::pty::openpty(None, None).unwrap_or_else(|error| panic!("no terminal: {error}"));
        let end = || pair.slave.try_clone().map_or_else(|error| panic!("{error}"), Stdio::from);
        // The session that this is the terminal of has to be a new one.
        let mut command = command(&["setsid", "--ctty"]);
        command.args(["start-server", "app.wsgi"]).args(own_options()).env("TERM", "dumb");
        command.stdin(end()).stdout(end()).stderr(end());
        if !shows_output {
            let file = |name| File::create(site.path(name)).unwrap_or_else(|error| panic!("{name}: {error}"));
            command.stdout(file("output")).stderr(file("errors"));
        }
        let terminal = Terminal::new(pair.master);
        Session { server: Self::wait_for_start(site, command, options), terminal }
    }

    /// Starts a server whose output nobody reads.
    pub(super) fn unread(options: &[&str]) -> Self {
        let site = Site::new();
        let errors = File::create(site.path("output")).unwrap_or_else(|error| panic!("output: {error}"));
        let mut command = command(&[]);
        command.args(["start-server", "app.wsgi"]).args(own_options());
        command.stdin(Stdio::null()).stdout(closed_pipe()).stderr(errors).process_group(0);
        Self::wait_for_start(site, command, options)
    }

    fn wait_for_start(site: Site, mut command: Command, options: &[&str]) -> Self {
        let port = free_port();
        let process = command
            .args(["--host", "127.0.0.1", "--log-level", "info"])
            .args(["--port", &port.to_string()])
            .arg("--server-root")
            .arg(site.path("root"))
            .args(options)
            .current_dir(site.directory.path())
            .spawn()
            .unwrap_or_else(|error| panic!("mod_wsgi-express: {error}"));
        let mut server = Self { directory: site.directory, process, port };
        wait_until("the server that mod_wsgi-express starts", || {
            if let Ok(Some(status)) = server.process.try_wait() {
                panic!("mod_wsgi-express: {status}\n{}", server.read("output"));
            }
            TcpStream::connect(server.address()).ok()
        });
        server
    }

    pub(super) fn get(&self) -> Response {
        self.ask("GET", "/", "", "")
    }

    /// The response to a request with these headers (each with its line end) and this body.
    pub(super) fn ask(&self, method: &str, target: &str, headers: &str, body: &str) -> Response {
        let mut connection = Connection::open(self.address());
        let head =
            format!("{method} {target} HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n{headers}\r\n");
        connection.send(format!("{head}{body}").as_bytes());
        connection
            .response(method)
            .unwrap_or_else(|error| panic!("{method} {target}: {error}\n{}", self.log()))
    }

    pub(super) fn value(&self, name: &str) -> String {
        let response = self.get();
        assert_eq!(response.status, 200, "{}\n{}", response.text(), self.log());
        response.value(name).unwrap_or_else(|| panic!("no {name} in {}", response.text()))
    }

    pub(super) fn wait_for(&self, name: &str, value: &str) {
        wait_until(&format!("{name} {value}"), || (self.value(name) == value).then_some(()));
    }

    pub(super) fn address(&self) -> SocketAddr {
        (Ipv4Addr::LOCALHOST, self.port).into()
    }

    pub(super) fn path(&self, name: &str) -> PathBuf {
        self.directory.path().join(name)
    }

    pub(super) fn read(&self, name: &str) -> String {
        fs::read_to_string(self.path(name)).unwrap_or_default()
    }

    pub(super) fn log(&self) -> String {
        self.read("root/error_log")
    }

    /// The supervisor, if there is one, and the daemon processes.
    pub(super) fn supervised(&self) -> Vec<Process> {
        let children = Process(self.process.id()).children();
        let supervisors = children.into_iter().filter(|child| child.read("comm").trim() == "supervisor");
        supervisors.flat_map(|supervisor| [vec![supervisor], supervisor.children()].concat()).collect()
    }

    pub(super) fn stop(&mut self) {
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

/// A server on a terminal.
pub(super) struct Session {
    pub(super) terminal: Terminal,
    pub(super) server: Express,
}

impl Session {
    /// The path of the terminal.
    pub(super) fn terminal_of_process(&self) -> String {
        let link = fs::read_link(Process(self.server.process.id()).path("fd/0"));
        link.map_or_else(|error| panic!("{error}"), |path| path.to_string_lossy().into_owned())
    }
}

impl Drop for Session {
    fn drop(&mut self) {
        if std::thread::panicking() {
            // It may be at a prompt, where some do not hear of milder signals.
            let _ = self.server.process.kill();
            let _ = self.server.process.wait();
        }
    }
}

/// Returns the options that differ between ours and the original, which does not choose an account.
pub(super) fn own_options() -> Vec<OsString> {
    if !Target::current().is_reference() {
        return vec!["--python".into(), Interpreter::current().executable.into()];
    }
    account()
}

/// Returns the options for the account that serves.
pub(super) fn account() -> Vec<OsString> {
    let account = ["--user", "www-data", "--group", "www-data"].map(OsString::from);
    if is_root() { account.into() } else { Vec::new() }
}

/// The directory that a server is started in, with the application.
pub(super) struct Site {
    directory: tempfile::TempDir,
}

impl Site {
    pub(super) fn new() -> Self {
        let directory = tempfile::tempdir().unwrap_or_else(|error| panic!("no temporary directory: {error}"));
        open(directory.path().into());
        let site = Self { directory };
        site.write("app.wsgi", APPLICATION);
        site.write("imported.py", "value = 1\n");
        site.write(
            "service.py",
            "import os, time\nprint('serves as', os.getuid(), flush=True)\ntime.sleep(1000)\n",
        );
        site
    }

    pub(super) fn path(&self, name: &str) -> PathBuf {
        self.directory.path().join(name)
    }

    pub(super) fn write(&self, name: &str, content: &str) {
        write(self.path(name), content);
    }
}

/// Returns what mod_wsgi-express says when it refuses these options.
pub(super) fn refusal(site: &Site, options: &[&str]) -> String {
    String::from_utf8_lossy(&refused(site, options).stderr).into_owned()
}

/// Returns the output and the status of mod_wsgi-express, which refuses these options.
pub(super) fn refused(site: &Site, options: &[&str]) -> Output {
    let output = command(&[])
        .args(["start-server", "app.wsgi", "--host", "127.0.0.1", "--port", &free_port().to_string()])
        .arg("--server-root")
        .arg(site.path("root"))
        .args(own_options())
        .args(options)
        .current_dir(site.directory.path())
        .stdin(Stdio::null())
        .output()
        .unwrap_or_else(|error| panic!("mod_wsgi-express: {error}"));
    let text = String::from_utf8_lossy(&output.stderr);
    assert!(!output.status.success(), "it started, and has ended\n{text}");
    output
}

pub(super) fn command(wrapper: &[&str]) -> Command {
    let module = Target::current().module();
    // Ours is PREFIX/lib/mod_wsgi/mod_wsgi.so, the original in the packages of a virtual
    // environment.
    let programs = module.ancestors().map(|directory| directory.join("bin/mod_wsgi-express"));
    let program = programs.into_iter().find(|program| program.is_file());
    let program = program.unwrap_or_else(|| panic!("{}", module.display()));
    let mut command = match wrapper {
        [] => Command::new(program),
        [first, rest @ ..] => {
            let mut command = Command::new(first);
            command.args(rest).arg(program);
            command
        }
    };
    preload(&mut command);
    command
}

/// Returns a pipe that nobody reads.
pub(super) fn closed_pipe() -> PipeWriter {
    std::io::pipe().unwrap_or_else(|error| panic!("no pipe: {error}")).1
}

pub(super) fn write(path: PathBuf, content: &str) {
    fs::write(&path, content).unwrap_or_else(|error| panic!("{}: {error}", path.display()));
}

/// Lets the account in that serves.
fn open(directory: PathBuf) {
    allow(directory, 0o755);
}

/// Sets the permissions of a file.
pub(super) fn allow(file: PathBuf, mode: u32) {
    let allowed = fs::set_permissions(&file, Permissions::from_mode(mode));
    allowed.unwrap_or_else(|error| panic!("{}: {error}", file.display()));
}

pub(super) fn is_root() -> bool {
    fs::metadata("/proc/self").is_ok_and(|own| own.uid() == 0)
}
