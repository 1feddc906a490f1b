//! OpenTelemetry: what `WSGIOpenTelemetry` and the variables `OTEL_*` of the server's environment
//! say about the export of spans and metrics.

mod environment;
#[cfg(test)]
mod tests;
mod url;

use crate::tracing::{Ratio, Sampler};
use crate::wire::exporter::ExporterPlan;

pub use url::check_endpoint;

/// The settings of `WSGIOpenTelemetry`. What is `None` is left to the environment.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct Settings {
    /// True if anything is exported.
    pub is_on: bool,
    /// `endpoint=`: the collector's URL, to which the path of each signal is added.
    pub endpoint: Option<String>,
    /// `signals=`.
    pub signals: Option<Signals>,
    /// `sample=`.
    pub sample: Option<Ratio>,
    /// `service-name=`.
    pub service_name: Option<String>,
    /// `interval=`, in milliseconds.
    pub interval: Option<u64>,
    /// `timeout=`, in milliseconds.
    pub timeout: Option<u64>,
    /// `compression=gzip`.
    pub is_compressed: Option<bool>,
    /// `certificate=`, a path.
    pub certificate: Option<Box<[u8]>>,
    /// `headers-file=`, a path.
    pub headers_file: Option<Box<[u8]>>,
    /// `client-address=`: spans have the address of the client.
    pub client_address: bool,
}

/// The signals to export.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Signals {
    /// Spans of requests.
    pub traces: bool,
    /// Metrics.
    pub metrics: bool,
}

/// The decision, once the environment has been asked.
#[derive(Debug, Clone, PartialEq)]
pub struct Resolved {
    /// The exporter's part: collectors, intervals, attributes of the resource.
    pub plan: ExporterPlan,
    /// The choice of requests that have spans; `None`: none has.
    pub sampler: Option<Sampler>,
}

impl Settings {
    /// Adds what the environment says, by `variable`. Returns `None` if nothing is exported. Values
    /// that mean nothing are left out, and `warn` is told.
    pub fn resolve(
        &self,
        variable: &dyn Fn(&str) -> Option<String>,
        warn: &mut dyn FnMut(String),
    ) -> Option<Resolved> {
        if !self.is_on {
            return None;
        }
        let mut said = Vec::new();
        let mut once = |text: String| {
            // One variable may count for both signals.
            if !said.contains(&text) {
                said.push(text.clone());
                warn(text);
            }
        };
        environment::Resolver { settings: self, variable, warn: &mut once }.resolve()
    }
}
