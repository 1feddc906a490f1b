//! Reasons for which a process is replaced or ends, as its reports give them.

use super::codec::{Malformed, Reader, Writer};
use super::record::Field;

/// A reason for which a process ends.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Reason {
    /// SIGTERM or SIGINT, or the supervisor wants it.
    ShutdownSignal,
    /// SIGUSR1, without `eviction-timeout=`.
    GracefulSignal,
    /// SIGUSR1, with `eviction-timeout=`.
    EvictionSignal,
    /// `maximum-requests=`.
    MaximumRequests,
    /// `restart-interval=`.
    RestartInterval,
    /// `inactivity-timeout=`.
    InactivityTimeout,
    /// `request-timeout=`.
    RequestTimeout,
    /// `startup-timeout=`.
    StartupTimeout,
    /// `deadlock-timeout=`.
    DeadlockTimeout,
    /// `cpu-time-limit=`.
    CpuTimeLimit,
    /// A script has changed.
    ScriptReload,
    /// The process can no longer receive signals or orders.
    SignalPipeError,
    /// `memory-recycle=`.
    MemoryRecycle,
}

impl Reason {
    /// All of them, in the order of their numbers.
    pub const ALL: &[Self] = &[
        Self::ShutdownSignal,
        Self::GracefulSignal,
        Self::EvictionSignal,
        Self::MaximumRequests,
        Self::RestartInterval,
        Self::InactivityTimeout,
        Self::RequestTimeout,
        Self::StartupTimeout,
        Self::DeadlockTimeout,
        Self::CpuTimeLimit,
        Self::ScriptReload,
        Self::SignalPipeError,
        Self::MemoryRecycle,
    ];

    /// Returns its name, which applications (`shutdown_reason`) and the log see.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::ShutdownSignal => "shutdown_signal",
            Self::GracefulSignal => "graceful_signal",
            Self::EvictionSignal => "eviction_signal",
            Self::MaximumRequests => "maximum_requests",
            Self::RestartInterval => "restart_interval",
            Self::InactivityTimeout => "inactivity_timeout",
            Self::RequestTimeout => "request_timeout",
            Self::StartupTimeout => "startup_timeout",
            Self::DeadlockTimeout => "deadlock_timeout",
            Self::CpuTimeLimit => "cpu_time_limit",
            Self::ScriptReload => "script_reload",
            Self::SignalPipeError => "signal_pipe_error",
            Self::MemoryRecycle => "memory_recycle",
        }
    }

    /// Returns its number on the wire.
    #[must_use]
    pub const fn number(self) -> u8 {
        self as u8
    }

    /// Returns the reason with this number; `None` if there is none.
    #[must_use]
    pub fn from_number(number: u8) -> Option<Self> {
        Self::ALL.get(usize::from(number)).copied()
    }
}

impl Field for Reason {
    fn write(&self, writer: &mut Writer<'_>) {
        writer.u8(self.number());
    }

    fn read(reader: &mut Reader<'_>) -> Result<Self, Malformed> {
        Self::from_number(reader.u8()?).ok_or(Malformed)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reasons_come_back_by_number_and_differ_in_name() {
        for (number, &reason) in (0..).zip(Reason::ALL) {
            assert_eq!((reason.number(), Reason::from_number(number)), (number, Some(reason)));
            let of_name = Reason::ALL.iter().filter(|other| other.name() == reason.name());
            assert_eq!(of_name.count(), 1, "{reason:?}");
        }
        assert_eq!(Reason::from_number(13), None);
    }
}
