//! A server in a process of its own.
//!
//! The harness serves what its environment names, one implementation per process, so each of the
//! two servers gets a process (`bench serve`). It ends with our end of the pipe, however we end.

use std::fs;
use std::io::{BufRead as _, BufReader};
use std::net::{Ipv4Addr, SocketAddr};
use std::os::unix::process::CommandExt as _;
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use e2e::Mpm;

use crate::client::{Client, Received};
use crate::error::Error;
use crate::options::Comparison;
use crate::place::Place;
use crate::processes;
use crate::sizes::{PREFORK_CHILDREN, WIDEST};
use crate::workload::Workload;

/// An implementation.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Side {
    Ours,
    Original,
}

impl Side {
    pub(crate) const fn name(self) -> &'static str {
        match self {
            Self::Ours => "ours",
            Self::Original => "the original",
        }
    }
}

/// A running server. Dropping it stops it.
#[derive(Debug)]
pub(crate) struct Host {
    name: String,
    process: Child,
    address: SocketAddr,
    pid: u32,
    root: PathBuf,
}

impl Host {
    pub(crate) fn start(side: Side, comparison: &Comparison, mpm: Mpm, place: Place) -> Result<Self, Error> {
        Self::start_with(side, comparison, mpm, place, PREFORK_CHILDREN)
    }

    /// As [`start`](Self::start), for the most connections that are measured.
    pub(crate) fn start_wide(
        side: Side,
        comparison: &Comparison,
        mpm: Mpm,
        place: Place,
    ) -> Result<Self, Error> {
        Self::start_with(side, comparison, mpm, place, WIDEST)
    }

    fn start_with(
        side: Side,
        comparison: &Comparison,
        mpm: Mpm,
        place: Place,
        prefork_children: u32,
    ) -> Result<Self, Error> {
        let name = match place {
            Place::Behind(backend) => backend.name().to_owned(),
            _ => format!("{} ({})", side.name(), place.title()),
        };
        let failed = |reason: String| Error::Server { name: name.clone(), reason };
        let program = std::env::current_exe().map_err(|error| failed(error.to_string()))?;
        let mut command = Command::new(program);
        command.args(["serve", "--mpm", mpm.name(), "--place", &place.to_string(), "--others"]);
        command.arg(&comparison.others).arg("--floor").arg(&comparison.floor);
        if mpm == Mpm::Prefork {
            command.args(["--children", &prefork_children.to_string()]);
        }
        if side == Side::Original || comparison.noise {
            command.env("E2E_TARGET", "reference").env("E2E_REFERENCE", &comparison.original);
        } else {
            command.env("E2E_TARGET", "ours").env("E2E_PREFIX", &comparison.ours);
        }
        // The place says it, and more than the harness's own two modes.
        command.env_remove("E2E_MODE");
        // The harness panics with a text that says what to do.
        command.env("RUST_BACKTRACE", "0");
        // Ctrl-C is ours: the server notices our end, and cleans up.
        command.process_group(0).stdin(Stdio::piped()).stdout(Stdio::piped());
        let mut process = command.spawn().map_err(|error| failed(error.to_string()))?;
        let mut line = String::new();
        if let Some(output) = process.stdout.take() {
            BufReader::new(output).read_line(&mut line).map_err(|error| failed(error.to_string()))?;
        }
        let Some((port, pid, root)) = parse(&line) else {
            let status = process.wait().map_err(|error| failed(error.to_string()))?;
            return Err(failed(format!("it does not start ({status}); what it said is above")));
        };
        Ok(Self { name, process, address: (Ipv4Addr::LOCALHOST, port).into(), pid, root })
    }

    pub(crate) const fn address(&self) -> SocketAddr {
        self.address
    }

    /// One request over a connection of its own.
    pub(crate) fn get(&self, workload: &Workload) -> Result<Received, Error> {
        let received = Client::connect(self.address).and_then(|mut client| client.exchange(workload));
        received.map_err(|error| self.fault(workload.url, error.to_string()))
    }

    /// The error for a response that makes measuring worthless.
    pub(crate) fn fault(&self, url: &str, mut reason: String) -> Error {
        if !self.root.exists() {
            reason += &format!(" (somebody has removed the server's directory, {})", self.root.display());
        }
        let log = fs::read(self.root.join("logs/error.log")).unwrap_or_default();
        let log = String::from_utf8_lossy(&log);
        let lines: Vec<_> = log.lines().collect();
        let log = lines[lines.len().saturating_sub(10)..].join("\n");
        Error::Response { server: self.name.clone(), url: url.to_owned(), reason, log }
    }

    /// The error for a server without something that is to be measured.
    pub(crate) fn lacks(&self, what: &str) -> Error {
        Error::Server { name: self.name.clone(), reason: format!("{what} is missing") }
    }

    /// Gives the script of an application a new modification time.
    pub(crate) fn touch(&self, application: &str) -> Result<(), Error> {
        let path = self.root.join(format!("apps/{application}.wsgi"));
        let touched = fs::File::options().write(true).open(&path);
        let touched = touched.and_then(|file| file.set_modified(std::time::SystemTime::now()));
        touched.map_err(|source| Error::File { path, source })
    }

    /// The processor time of all processes, also of a server behind Apache.
    pub(crate) fn processor_time(&self) -> Duration {
        processes::processor_time(self.process.id())
    }

    /// Process id of the Apache parent.
    pub(crate) const fn pid(&self) -> u32 {
        self.pid
    }
}

impl Drop for Host {
    fn drop(&mut self) {
        drop(self.process.stdin.take());
        // Nothing is left to do about a server that cannot be waited for.
        let _ = self.process.wait();
    }
}

/// Port, process id and directory, as `bench serve` prints them.
fn parse(line: &str) -> Option<(u16, u32, PathBuf)> {
    let mut words = line.trim_end().splitn(3, ' ');
    Some((words.next()?.parse().ok()?, words.next()?.parse().ok()?, words.next()?.into()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reads_where_the_server_is() {
        assert_eq!(parse("8080 12 /tmp/a b\n"), Some((8080, 12, "/tmp/a b".into())));
        assert_eq!(parse(""), None);
        assert_eq!(parse("8080 12"), None);
    }
}
