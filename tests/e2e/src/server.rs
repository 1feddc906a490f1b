//! A running Apache.

use std::fs;
use std::net::{Ipv4Addr, SocketAddr, TcpStream};
use std::os::unix::process::CommandExt as _;
use std::path::{Path, PathBuf};
use std::process::{Child, ExitStatus, Output, Stdio};
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use nix::sys::signal::{self, Signal};
use nix::unistd::Pid;

use crate::processes::{Known, is_busy};
use crate::report;
use crate::stage::{Staged, command, write};
use crate::{Cases, Connection, Mode, Mpm, Process, Request, Response, Setup, Target, wait_until};

/// An Apache of our own, in a directory of its own. Dropping it stops it, and panics if one of its
/// processes has crashed or a sanitizer has complained; the directory is kept if the test panics.
#[derive(Debug)]
pub struct Server {
    target: Target,
    mpm: Mpm,
    mode: Mode,
    crashes_are_expected: AtomicBool,
    ports: [u16; 2],
    process: Child,
    is_single: bool,
    is_first_process: bool,
    directory: Option<tempfile::TempDir>,
}

/// A place in the error log; its beginning by default.
#[derive(Clone, Copy, Debug, Default)]
pub struct LogMark(usize);

/// The text that Apache logs when it has started or restarted.
const STARTED: &str = "resuming normal operations";

/// In every report of the address sanitizer.
const SANITIZER: &str = "AddressSanitizer";

/// The texts that Apache and our supervisor log about a process that has crashed.
const CRASHES: [&str; 8] = [
    "exit signal Segmentation fault",
    "exit signal Aborted",
    "exit signal Bus error",
    "exit signal Illegal instruction",
    "(SIGSEGV)",
    "(SIGABRT)",
    "(SIGBUS)",
    "(SIGILL)",
];

/// The command that starts Apache as the first process of a namespace.
const NAMESPACE: [&str; 5] = ["unshare", "--pid", "--fork", "--mount-proc", "--kill-child"];

/// The longest time that Apache's children may go on working before they are told to stop: an
/// application may never rest.
const MOST_BUSY: Duration = Duration::from_secs(1);

impl Server {
    /// Starts a server and waits until it accepts connections.
    pub(crate) fn start(setup: &Setup) -> Self {
        for _ in 0..5 {
            let staged = Staged::new(setup);
            let process = spawn(staged.directory.path(), setup.single, setup.is_first_process);
            let mut server = Self {
                target: Target::current(),
                mpm: setup.mpm,
                mode: setup.mode,
                crashes_are_expected: AtomicBool::new(false),
                ports: staged.ports,
                process,
                is_single: setup.single,
                is_first_process: setup.is_first_process,
                directory: Some(staged.directory),
            };
            match server.wait_until_ready(LogMark::default()) {
                Ok(()) => return server,
                // Another process may have taken a port since it was chosen.
                Err(text) if text.contains("Address already in use") => {}
                Err(text) => panic!("Apache does not start:\n{text}\n{}", server.log_tail()),
            }
        }
        panic!("no free port found on 127.0.0.1")
    }

    /// Runs `httpd -t` on the configuration.
    pub(crate) fn test_configuration(setup: &Setup) -> Output {
        let staged = Staged::new(setup);
        test(staged.directory.path())
    }

    /// Returns the output of `httpd -t` for the configuration as it is now.
    #[must_use]
    pub fn test(&self) -> Output {
        test(self.root())
    }

    /// Makes checks, and reports all that fail.
    ///
    /// # Panics
    /// A check fails.
    pub fn cases(&self, checks: impl FnOnce(&Self, &mut Cases<'_>)) {
        Cases::run(self, checks);
    }

    /// Stops the server.
    ///
    /// # Panics
    /// It does not stop.
    pub fn stop(&mut self) -> ExitStatus {
        self.let_connections_end();
        self.signal(Signal::SIGTERM);
        wait_until("Apache stops", || self.process.try_wait().ok().flatten())
    }

    /// Stops the server as `apachectl graceful-stop` does.
    ///
    /// # Panics
    /// It does not stop.
    pub fn stop_gracefully(&mut self) -> ExitStatus {
        self.let_connections_end();
        self.signal(Signal::SIGWINCH);
        wait_until("Apache stops", || self.process.try_wait().ok().flatten())
    }

    /// Stops the server, and starts another one with the same configuration.
    ///
    /// # Panics
    /// It does not stop, or not start.
    pub fn stop_and_start(&mut self) {
        let status = self.stop();
        assert!(status.success(), "{status}");
        let mark = self.mark();
        self.process = spawn(self.root(), self.is_single, self.is_first_process);
        let ready = self.wait_until_ready(mark);
        assert!(ready.is_ok(), "Apache does not start again:\n{ready:?}\n{}", self.log_tail());
    }

    /// To be called before an application crashes on purpose.
    pub fn expect_crashes(&self) {
        self.crashes_are_expected.store(true, Ordering::Relaxed);
    }

    /// Sends a GET request and returns the response.
    #[must_use]
    #[track_caller]
    pub fn get(&self, target: &str) -> Response {
        self.request("GET", target).send()
    }

    /// A request to be completed and sent.
    #[must_use]
    pub fn request(&self, method: &str, target: &str) -> Request {
        Request::new(self.address(), method, target)
    }

    /// A connection for raw bytes.
    #[must_use]
    #[track_caller]
    pub fn connect(&self) -> Connection {
        Connection::open(self.address())
    }

    /// Restarts gracefully and waits until the new configuration is in force: until none of the
    /// children of before takes connections any more, which they may do for a moment.
    ///
    /// # Panics
    /// One of them does not stop.
    pub fn graceful(&self) {
        let listening = Process(self.pid()).listening_sockets();
        let old: Vec<_> = self.children().into_iter().map(Process).collect();
        self.reload(Signal::SIGUSR1);
        let listens = |child: &Process| {
            let mut descriptors = child.descriptors().into_iter();
            descriptors.any(|(_, target)| listening.contains(&target))
        };
        wait_until("the old children listen no more", || (!old.iter().any(listens)).then_some(()));
    }

    /// Restarts at once and waits until the new configuration is in force.
    pub fn restart(&self) {
        self.let_connections_end();
        self.reload(Signal::SIGHUP);
    }

    /// Replaces a file below the server's directory, as a whole; its modification time is a new
    /// one.
    ///
    /// # Panics
    /// It cannot be written.
    pub fn write(&self, path: &str, content: impl AsRef<[u8]>) {
        let file = self.path(path);
        let before = fs::metadata(&file).and_then(|metadata| metadata.modified()).ok();
        wait_until("a new modification time", || {
            // Who reads meanwhile has the old one or the new one.
            let draft = file.with_extension("draft");
            write(&draft, content.as_ref());
            fs::rename(&draft, &file).unwrap_or_else(|error| panic!("{}: {error}", file.display()));
            let now = fs::metadata(&file).and_then(|metadata| metadata.modified()).ok();
            (now != before).then_some(())
        });
    }

    /// Waits until the log has `text` after the mark.
    ///
    /// # Panics
    /// It does not come.
    #[track_caller]
    pub fn wait_log(&self, mark: LogMark, text: &str) -> String {
        wait_until(&format!("`{text}` in the error log"), || {
            let log = self.log_since(mark);
            log.contains(text).then_some(log)
        })
    }

    /// The present end of the error log.
    #[must_use]
    pub fn mark(&self) -> LogMark {
        LogMark(self.log().len())
    }

    /// The error log after the mark.
    #[must_use]
    pub fn log_since(&self, mark: LogMark) -> String {
        let log = self.log();
        String::from_utf8_lossy(&log[mark.0.min(log.len())..]).into_owned()
    }

    /// The last lines of the error log and of the standard error stream.
    #[must_use]
    pub fn log_tail(&self) -> String {
        let log = format!("{}{}", self.stderr(), self.log_since(LogMark(0)));
        let lines: Vec<_> = log.lines().collect();
        lines[lines.len().saturating_sub(40)..].join("\n")
    }

    /// The process id of the parent.
    #[must_use]
    pub fn pid(&self) -> u32 {
        let own = self.process.id();
        // It is the only child of what has made its namespace.
        let first = self.is_first_process.then(|| Process(own).children().first().copied()).flatten();
        first.map_or(own, |first| first.0)
    }

    /// Returns the address for plain connections.
    #[must_use]
    pub fn address(&self) -> SocketAddr {
        (Ipv4Addr::LOCALHOST, self.port()).into()
    }

    /// Returns the port for plain connections.
    #[must_use]
    pub const fn port(&self) -> u16 {
        self.ports[0]
    }

    /// Returns the port for TLS connections.
    #[must_use]
    pub const fn tls_port(&self) -> u16 {
        self.ports[1]
    }

    /// A path below the server's directory.
    #[must_use]
    pub fn path(&self, path: &str) -> PathBuf {
        self.root().join(path)
    }

    /// The server's directory.
    #[must_use]
    pub fn root(&self) -> &Path {
        self.directory.as_ref().map_or(Path::new("/"), |directory| directory.path())
    }

    /// The MPM.
    #[must_use]
    pub const fn mpm(&self) -> Mpm {
        self.mpm
    }

    /// Returns the text before the port of the client in log lines of a request. The daemon
    /// processes of the original write these lines themselves.
    #[must_use]
    pub fn logged_client(&self) -> &'static str {
        if self.target.is_reference() && self.mode == Mode::Daemon {
            "[remote 127.0.0.1:"
        } else {
            "[client 127.0.0.1:"
        }
    }

    /// Returns where applications run.
    #[must_use]
    pub const fn mode(&self) -> Mode {
        self.mode
    }

    /// Returns the implementation under test.
    #[must_use]
    pub const fn target(&self) -> &Target {
        &self.target
    }

    fn wait_until_ready(&mut self, mark: LogMark) -> Result<(), String> {
        wait_until("Apache accepts connections", || {
            if let Ok(Some(status)) = self.process.try_wait() {
                return Some(Err(format!("{status}\n{}", self.stderr())));
            }
            // It listens before it handles signals, which come after this line.
            let started = self.is_single || self.log_since(mark).contains(STARTED);
            (started && TcpStream::connect(self.address()).is_ok()).then_some(Ok(()))
        })
    }

    /// To be called before Apache is told to drop everything. The event MPM then closes the sockets
    /// of its worker threads, also of one that is just giving back the memory that its socket is
    /// in, and crashes (2.4.71: the main thread in `apr_os_sock_get`; without any module of ours,
    /// too). A client has its answer before that.
    fn let_connections_end(&self) {
        let deadline = Instant::now() + MOST_BUSY;
        let mut quiet = 0;
        // One look could fall between two threads, of which one wakes the other.
        while quiet < 3 && Instant::now() < deadline {
            quiet = if self.children().into_iter().any(is_busy) { 0 } else { quiet + 1 };
            thread::sleep(Duration::from_millis(2));
        }
    }

    fn reload(&self, how: Signal) {
        let mark = self.mark();
        self.signal(how);
        self.wait_log(mark, STARTED);
    }

    fn signal(&self, signal: Signal) {
        let pid = i32::try_from(self.pid()).map(Pid::from_raw);
        let sent = pid.map(|pid| signal::kill(pid, signal));
        assert!(matches!(sent, Ok(Ok(()))), "cannot send {signal} to Apache: {sent:?}");
    }

    fn log(&self) -> Vec<u8> {
        fs::read(self.path("logs/error.log")).unwrap_or_default()
    }

    /// Returns the first unexpected crash or sanitizer report, with the lines that follow.
    fn crash(&self) -> Option<String> {
        let log = format!("{}{}", self.stderr(), self.log_since(LogMark::default()));
        let is_expected = self.target.is_reference() || self.crashes_are_expected.load(Ordering::Relaxed);
        let crashes = CRASHES.into_iter().filter(|_| !is_expected);
        let begin = crashes.chain([SANITIZER]).filter_map(|text| log.find(text)).min()?;
        Some(log[begin..].lines().take(60).collect::<Vec<_>>().join("\n"))
    }

    fn stderr(&self) -> String {
        fs::read_to_string(self.path("logs/stderr.log")).unwrap_or_default()
    }
}

/// Starts Apache in a directory.
fn spawn(root: &Path, is_single: bool, is_first_process: bool) -> Child {
    let launcher: &[&str] = if is_first_process { &NAMESPACE } else { &[] };
    let errors = fs::File::options().create(true).append(true).open(root.join("logs/stderr.log"));
    command(root, launcher)
        .arg(if is_single { "-X" } else { "-DFOREGROUND" })
        .process_group(0)
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(errors.map_or_else(|_| Stdio::null(), Into::into))
        .spawn()
        .unwrap_or_else(|error| panic!("setpriv apache2: {error}; install util-linux and apache2"))
}

fn test(root: &Path) -> Output {
    let output = command(root, &[]).arg("-t").output();
    let output = output.unwrap_or_else(|error| panic!("setpriv apache2: {error}"));
    let text = String::from_utf8_lossy(&output.stderr);
    assert!(!text.contains(SANITIZER), "{text}");
    output
}

impl Drop for Server {
    fn drop(&mut self) {
        let processes = Known::of(&self.daemons());
        if let (Ok(None), Ok(pid)) = (self.process.try_wait(), i32::try_from(self.process.id())) {
            self.let_connections_end();
            let apache = i32::try_from(self.pid()).unwrap_or(pid);
            let _ = signal::kill(Pid::from_raw(apache), Signal::SIGTERM);
            let deadline = Instant::now() + Duration::from_secs(20);
            while matches!(self.process.try_wait(), Ok(None)) && Instant::now() < deadline {
                thread::sleep(Duration::from_millis(10));
            }
            // The whole group, since children that hang would outlive a parent that is killed.
            let _ = signal::kill(Pid::from_raw(-pid), Signal::SIGKILL);
            let _ = self.process.wait();
        }
        let mut wrong = self.crash().map(|report| format!("a process of the server has crashed:\n{report}"));
        let left = processes.left();
        if !left.is_empty() {
            let text = format!("daemon processes are left when the server has ended: {left:?}");
            wrong = wrong.into_iter().chain([text]).reduce(|all, one| format!("{all}\n{one}"));
        }
        if let Some(text) = &wrong {
            report(format_args!("{text}"));
        }
        if (thread::panicking() || wrong.is_some())
            && let Some(directory) = self.directory.take()
        {
            report(format_args!("the server's directory is kept: {}", directory.keep().display()));
        }
        // While another panic unwinds, this one would end the test program.
        assert!(
            wrong.is_none() || thread::panicking(),
            "processes of the server have crashed or are left: see above"
        );
    }
}
