//! A collector of OpenTelemetry, as far as tests need one.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Child, Command};

use serde_json::Value;

use crate::python::open;
use crate::{Interpreter, certificate, wait_until};

/// A collector, which decodes what it gets with the official messages.
pub struct OtlpCollector {
    process: Child,
    port: u16,
    is_tls: bool,
    directory: tempfile::TempDir,
}

const SCRIPT: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/apps/otlp_collector.py");

impl OtlpCollector {
    /// Starts a collector.
    ///
    /// # Panics
    /// It does not start.
    #[must_use]
    pub fn start() -> Self {
        Self::start_with(false)
    }

    /// Starts a collector that speaks TLS, with a certificate of its own for 127.0.0.1.
    ///
    /// # Panics
    /// It does not start.
    #[must_use]
    pub fn start_tls() -> Self {
        Self::start_with(true)
    }

    /// The virtual environment with the packages of OpenTelemetry.
    #[must_use]
    pub fn environment() -> PathBuf {
        let requirements = Path::new(env!("CARGO_MANIFEST_DIR")).join("requirements-opentelemetry.txt");
        Interpreter::current().environment(&requirements)
    }

    fn start_with(is_tls: bool) -> Self {
        let directory = tempfile::Builder::new().prefix("e2e-o-").tempdir_in("/tmp");
        let directory = directory.unwrap_or_else(|error| panic!("no temporary directory in /tmp: {error}"));
        open(directory.path());
        if is_tls {
            // It must not be that of an authority to be one of a server, too.
            let extensions = ["subjectAltName=IP:127.0.0.1", "basicConstraints=critical,CA:FALSE"];
            certificate::make(directory.path(), "collector", &extensions);
        }
        let process = run(directory.path(), is_tls, 0);
        let port = port(directory.path());
        Self { process, port, is_tls, directory }
    }

    /// Returns the URL for `endpoint=`.
    #[must_use]
    pub fn endpoint(&self) -> String {
        format!("{}://127.0.0.1:{}", if self.is_tls { "https" } else { "http" }, self.port)
    }

    /// Returns the path of a file of the collector's, such as `certificate.pem`.
    #[must_use]
    pub fn path(&self, name: &str) -> PathBuf {
        self.directory.path().join(name)
    }

    /// Has it answer in this way from now on (see the script).
    ///
    /// # Panics
    /// The file cannot be written.
    pub fn behave(&self, behaviour: &str) {
        let (new, path) = (self.path("behaviour.new"), self.path("behaviour"));
        let written = fs::write(&new, behaviour).and_then(|()| fs::rename(&new, &path));
        written.unwrap_or_else(|error| panic!("{}: {error}", path.display()));
    }

    /// Stops it.
    pub fn stop(&mut self) {
        let _ = self.process.kill();
        let _ = self.process.wait();
    }

    /// Starts it again, at the same port.
    ///
    /// # Panics
    /// It does not start.
    pub fn start_again(&mut self) {
        let _ = fs::remove_file(self.path("port"));
        self.process = run(self.directory.path(), self.is_tls, self.port);
        assert_eq!(port(self.directory.path()), self.port);
    }

    /// Returns all requests that have come so far.
    ///
    /// # Panics
    /// The collector has written something that is no JSON.
    #[must_use]
    pub fn received(&self) -> Vec<Value> {
        let text = fs::read_to_string(self.path("received")).unwrap_or_default();
        let end = text.rfind('\n').map_or(0, |at| at + 1);
        let parse = |line: &str| serde_json::from_str(line).unwrap_or_else(|error| panic!("{line}: {error}"));
        text[..end].lines().map(parse).collect()
    }

    /// Returns all spans of requests that were accepted.
    #[must_use]
    pub fn spans(&self) -> Vec<Value> {
        let received = self.received().into_iter();
        let accepted =
            received.filter(|request| request["behaviour"] == "ok" || request["behaviour"] == "slow");
        accepted.flat_map(|request| request["spans"].as_array().cloned().unwrap_or_default()).collect()
    }

    /// Waits for a span of ours that `wanted` accepts, and returns the first.
    ///
    /// # Panics
    /// None has come.
    pub fn wait_span(&self, what: &str, wanted: impl Fn(&Value) -> bool) -> Value {
        wait_until(what, || {
            self.spans().into_iter().find(|span| span["scope"] == "mod_wsgi-rs" && wanted(span))
        })
    }

    /// Waits for a report of a metric that `wanted` accepts, and returns the first.
    ///
    /// # Panics
    /// None has come.
    pub fn wait_metric(&self, name: &str, wanted: impl Fn(&Value) -> bool) -> Value {
        wait_until(&format!("the metric {name}"), || {
            let metrics = self
                .received()
                .into_iter()
                .flat_map(|request| request["metrics"].as_array().cloned().unwrap_or_default());
            metrics.into_iter().find(|metric| metric["name"] == name && wanted(metric))
        })
    }
}

impl Drop for OtlpCollector {
    fn drop(&mut self) {
        self.stop();
    }
}

fn run(directory: &Path, is_tls: bool, port: u16) -> Child {
    let python = OtlpCollector::environment().join("bin/python");
    // A test that is killed takes it along.
    let mut command = Command::new("setpriv");
    command.args(["--pdeathsig", "KILL", "--"]).arg(python).arg(SCRIPT).arg(directory);
    command.env("PORT", port.to_string());
    if is_tls {
        command.args([directory.join("certificate.pem"), directory.join("key.pem")]);
    }
    command.spawn().unwrap_or_else(|error| panic!("{command:?}: {error}"))
}

fn port(directory: &Path) -> u16 {
    wait_until("the collector", || fs::read_to_string(directory.join("port")).ok()?.parse().ok())
}
