//! Other servers for Python, behind the same Apache.

use std::fs;
use std::os::unix::net::UnixStream;
use std::os::unix::process::CommandExt as _;
use std::path::Path;
use std::process::{Child, Command, Stdio};

use nix::sys::signal::{Signal, killpg};
use nix::unistd::Pid;

use crate::error::Error;
use crate::sizes::DAEMON_THREADS;

/// A server that Apache passes requests on to. `bench/others` installs it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Backend {
    Uwsgi,
    Gunicorn,
    Granian,
    Uvicorn,
}

/// The path of its socket, below the directory of its Apache.
const SOCKET: &str = "run/backend.socket";

impl Backend {
    pub(crate) const ALL: [Self; 4] = [Self::Uwsgi, Self::Gunicorn, Self::Granian, Self::Uvicorn];

    /// The applications that are asked for: enough to see what the way to it costs, and what of
    /// that is left beside a framework.
    pub(crate) const APPLICATIONS: [&str; 4] = ["hello", "json", "flask", "django"];

    pub(crate) const fn name(self) -> &'static str {
        match self {
            Self::Uwsgi => "uWSGI",
            Self::Gunicorn => "gunicorn",
            Self::Granian => "granian",
            Self::Uvicorn => "uvicorn",
        }
    }

    pub(crate) const fn program(self) -> &'static str {
        match self {
            Self::Uwsgi => "uwsgi",
            Self::Gunicorn => "gunicorn",
            Self::Granian => "granian",
            Self::Uvicorn => "uvicorn",
        }
    }

    /// Its version, if it is installed in the virtual environment `others`.
    pub(crate) fn version(self, others: &Path) -> Option<String> {
        let output = Command::new(others.join("bin").join(self.program())).arg("--version").output().ok()?;
        let text = String::from_utf8_lossy(&output.stdout);
        // "granian 1.2", "gunicorn (version 1.2)", "Running uvicorn 1.2 with CPython 3.4 on Linux".
        let mut words = text.split_whitespace().map(|word| word.trim_matches(['(', ')']));
        let version = words.find(|word| word.starts_with(|first: char| first.is_ascii_digit()))?;
        output.status.success().then(|| version.to_owned())
    }

    /// Apache's module for its protocol, besides `proxy`.
    pub(crate) const fn module(self) -> &'static str {
        match self {
            Self::Uwsgi => "proxy_uwsgi",
            Self::Gunicorn | Self::Granian | Self::Uvicorn => "proxy_http",
        }
    }

    /// Apache's configuration. (A connection to uWSGI serves one request.)
    pub(crate) fn configuration(self) -> String {
        match self {
            Self::Uwsgi => format!("ProxyPass / unix:@ROOT@/{SOCKET}|uwsgi://localhost/"),
            _ => format!("ProxyPass / unix:@ROOT@/{SOCKET}|http://localhost/ enablereuse=on"),
        }
    }

    /// Starts it with the applications of an Apache that runs in `root`.
    pub(crate) fn start(self, others: &Path, root: &Path) -> Result<Running, Error> {
        let failed = |reason: String| Error::Server { name: self.name().to_owned(), reason };
        let log = root.join("logs/backend.log");
        let file = fs::File::create(&log).map_err(|source| Error::File { path: log.clone(), source })?;
        let errors = file.try_clone().map_err(|source| Error::File { path: log.clone(), source })?;
        let socket = root.join(SOCKET);
        let others = others.canonicalize();
        let others = others.map_err(|error| failed(error.to_string()))?;
        let mut command = Command::new("setpriv");
        command.args(["--pdeathsig", "TERM", "--"]).arg(others.join("bin").join(self.program()));
        match self {
            Self::Uwsgi => command
                .args(["--die-on-term", "--need-app", "--disable-logging", "--processes", "1", "--threads"])
                .arg(DAEMON_THREADS.to_string())
                .args(["--chmod-socket=666", "--wsgi-file", "others.py", "--socket"])
                .arg(&socket),
            Self::Gunicorn => command
                .args(["--workers", "1", "--worker-class", "gthread", "--keep-alive", "60", "--threads"])
                .arg(DAEMON_THREADS.to_string())
                .args(["--umask", "0", "--no-control-socket", "--bind"])
                .arg(format!("unix:{}", socket.display()))
                .arg("others:application"),
            Self::Granian => command
                .args(["--interface", "wsgi", "--workers", "1", "--no-ws", "--blocking-threads"])
                .arg(DAEMON_THREADS.to_string())
                .args(["--uds-permissions", "666", "--uds"])
                .arg(&socket)
                .arg("others:application"),
            // Its adapter, a2wsgi, has as many threads.
            Self::Uvicorn => command
                .env("BENCH_THREADS", DAEMON_THREADS.to_string())
                .args(["--workers", "1", "--no-access-log", "--log-level", "warning", "--uds"])
                .arg(&socket)
                .arg("others:asgi"),
        };
        command.current_dir(root.join("apps")).process_group(0);
        let command = command.stdin(Stdio::null()).stdout(file).stderr(errors);
        let mut running = Running(command.spawn().map_err(|error| failed(error.to_string()))?);
        let ended = e2e::wait_until(&format!("{} listens", self.name()), || {
            let status = running.0.try_wait().ok().flatten();
            (status.is_some() || UnixStream::connect(&socket).is_ok()).then_some(status)
        });
        match ended {
            None => Ok(running),
            Some(status) => {
                let text = fs::read_to_string(&log).unwrap_or_default();
                Err(failed(format!("it does not start ({status}):\n{text}")))
            }
        }
    }
}

/// A running server. Dropping it stops it.
#[derive(Debug)]
pub(crate) struct Running(Child);

impl Drop for Running {
    fn drop(&mut self) {
        // Some have the process that serves as a child.
        if let Ok(pid) = i32::try_from(self.0.id()) {
            let _ = killpg(Pid::from_raw(pid), Signal::SIGKILL);
        }
        let _ = self.0.wait();
    }
}
