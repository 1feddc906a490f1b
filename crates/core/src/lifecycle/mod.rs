//! The life of a daemon process: when a request is too old, when the process is to be replaced, and when it ends
//! (daemon contract §14 and §15). No clock, no thread, no I/O; times are milliseconds of one monotonic clock.
//!
//! # How it is driven
//!
//! [`Timers`] belongs behind one lock, which no request ever takes. What requests do is said to the [`Pulse`], by
//! atomic stores and from any thread; a worker only has to wake the monitor when the pulse asks for it:
//!
//! ```
//! # use wsgi_core::lifecycle::{Decision, Timers};
//! # use wsgi_core::wire::launch::Limits;
//! # let (limits, mut now) = (Limits { maximum_requests: 1, graceful_timeout: 1, ..Limits::default() }, 1);
//! let mut timers = Timers::new(&limits, 15, now);
//! let pulse = timers.pulse().clone();
//!
//! // A worker:
//! let mut wakes_monitor = false;
//! if pulse.began(3, now) {
//!     // Takes a request; if there is none: `withdrew` instead of `ended`.
//!     pulse.activity(now); // unless the request is to be ignored
//!     wakes_monitor |= pulse.ended(3);
//! } else {
//!     wakes_monitor |= pulse.withdrew(3);
//! }
//! assert!(wakes_monitor);
//!
//! // The monitor, when it was woken or it is time:
//! while let decision @ (Decision::Interrupt { .. } | Decision::Replace { .. }) = timers.poll(now) {
//!     // do it
//! #   assert!(matches!(decision, Decision::Replace { .. }));
//! }
//! let wait_until = timers.next(now); // none: until it is woken
//! # assert_eq!(wait_until, None);
//! ```
//!
//! Signals, changed scripts and the orders of the supervisor are said to the timers ([`Timers::trigger`],
//! [`Timers::drain`], [`Timers::keep`]). Whoever does that carries out the decision that it returns, and wakes the
//! monitor, because the time to wait for may have become another.

mod imports;
mod pulse;
mod requests;
mod timers;

pub use imports::{FailedImports, Retry};
pub use pulse::Pulse;
pub use timers::Timers;

/// Why a process ends.
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
    /// The process can no longer be told anything.
    SignalPipeError,
}

/// Something that happens to a process, other than the passing of time.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Trigger {
    /// SIGTERM, SIGINT.
    Terminate,
    /// SIGUSR1.
    Graceful,
    /// SIGXCPU.
    CpuTimeLimit,
    /// A script has changed.
    ScriptReload,
    /// Signals or orders can no longer be received.
    SignalPipeError,
}

/// A request that runs.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Running {
    /// The worker.
    pub worker: usize,
    /// When it began. While [`Pulse::started`] says the same of the worker, it is this request.
    pub started: u64,
}

/// What is to be done.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Decision {
    /// Nothing.
    Nothing,
    /// Raise `RequestTimeout` in the worker, if it still runs this request.
    Interrupt(Running),
    /// Ask for a successor, and carry on until the supervisor answers ([`Timers::drain`], [`Timers::keep`]).
    Replace {
        /// Why.
        reason: Reason,
        /// Log the stacks of the interpreter that this request runs in.
        dump_of: Option<Running>,
    },
    /// Shut down now; [`Timers::poll`] goes on being called, for the time that this may take.
    Stop {
        /// Why; the first reason that there was.
        reason: Reason,
        /// Log the stacks of the interpreter that this request runs in.
        dump_of: Option<Running>,
    },
    /// The shutdown has taken too long: end the process, whatever still runs, with status 255.
    Exit,
}

impl Reason {
    /// All of them.
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
    ];

    /// As applications (`shutdown_reason`), the log and the supervisor see it.
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
        }
    }

    /// Its number on the wire.
    #[must_use]
    pub const fn number(self) -> u8 {
        self as u8
    }

    /// The reason with this number.
    #[must_use]
    pub fn from_number(number: u8) -> Option<Self> {
        Self::ALL.get(usize::from(number)).copied()
    }

    /// The reason of this name.
    #[must_use]
    pub fn of(name: &[u8]) -> Option<Self> {
        Self::ALL.iter().copied().find(|reason| reason.name().as_bytes() == name)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reasons_have_names_of_their_own() {
        for &reason in Reason::ALL {
            assert_eq!(Reason::of(reason.name().as_bytes()), Some(reason));
            assert_eq!(Reason::from_number(reason.number()), Some(reason));
        }
        assert_eq!(Reason::of(b""), None);
        assert_eq!(Reason::ALL.len(), 12);
    }
}
