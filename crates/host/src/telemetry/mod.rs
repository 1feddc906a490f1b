//! Telemetry: what the process reports to a collector (`WSGITelemetryService`).
//!
//! A thread of its own takes samples and sends them. It enters no interpreter: Python's side is
//! noted down by threads that are in it anyway. It waits for nobody, and nobody waits for it. What
//! the socket does not take is lost, and the collector sees that from the numbers of the samples.

mod gc;
pub(crate) mod python;
mod reporter;
mod socket;

use std::sync::OnceLock;

use bridge::Level;
use wsgi_core::codes::{TELEMETRY_NOT_OPENED, TELEMETRY_NOT_STARTED};
use wsgi_core::lifecycle::Reason;

use crate::process::{Process, log};
pub(crate) use gc::{Collector, GcWatch};
use reporter::Reporter;

static REPORTER: OnceLock<Reporter> = OnceLock::new();

/// Reports from now on, if that is configured.
pub(crate) fn start(process: &'static Process) {
    let Some(settings) = &process.settings.telemetry else { return };
    let reporter = match Reporter::new(process, settings) {
        Ok(reporter) => REPORTER.get_or_init(|| reporter),
        Err(text) => return log(Level::Warning, &format!("{TELEMETRY_NOT_OPENED}: {text}")),
    };
    if let Err(error) = reporter.start() {
        log(
            Level::Warning,
            &format!(
                "{TELEMETRY_NOT_STARTED}: No telemetry is reported, its thread cannot be started: {error}. Allow the user \
                 more processes (ulimit -u)"
            ),
        );
    }
}

/// Notes that the end of the process has been decided on. There is no reason in an Apache child.
pub(crate) fn stopping(reason: Option<Reason>) {
    if let Some(reporter) = REPORTER.get() {
        reporter.stopping(reason);
    }
}

/// Sends the last sample, and reports the end. What is going to end the process by force does not
/// wait for anything.
pub(crate) fn stop(is_graceful: bool) {
    if let Some(reporter) = REPORTER.get() {
        reporter.stop(is_graceful);
    }
}
