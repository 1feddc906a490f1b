//! Telemetry: its configuration, and the datagrams that processes send to a collector.

mod datagram;
pub mod field;
mod report;

pub use datagram::{Datagram, Kind, LONGEST};
pub use report::{
    GcEvent, GcSnapshot, Identity, Lifecycle, ProcessSample, SlowRequest, SlowState, SlowText, SlowTexts,
};

/// The shortest interval of samples, in seconds.
pub const SHORTEST_INTERVAL: f64 = 0.5;

/// The settings of telemetry (`WSGITelemetryService`, `WSGISlowRequests`, `WSGITelemetryOptions`).
#[derive(Debug, Clone, PartialEq, Default)]
pub struct Settings {
    /// The collector that processes report to; `None`: they report nothing.
    pub service: Option<Service>,
    /// The time in seconds from which a request is slow; `None`: none is.
    pub slow_requests: Option<f64>,
    /// The parts that are reported besides.
    pub options: Options,
}

/// The collector that processes report to.
#[derive(Debug, Clone, PartialEq)]
pub struct Service {
    /// The path of its datagram socket.
    pub socket: Box<[u8]>,
    /// The time between two samples, in seconds.
    pub interval: f64,
}

/// The flags of `WSGITelemetryOptions`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Options {
    /// `CaptureUserAgent`: slow requests are reported with their `User-Agent`.
    pub user_agent: bool,
}

impl Options {
    /// All flags.
    pub const ALL: Self = Self { user_agent: true };

    /// Returns the flag of this name, in any case.
    pub(crate) fn flag(&mut self, name: &[u8]) -> Option<&mut bool> {
        name.eq_ignore_ascii_case(b"CaptureUserAgent").then_some(&mut self.user_agent)
    }
}
