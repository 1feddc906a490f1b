//! The life of a daemon process: when a request is too old, when the process is to be replaced, and
//! when it ends (daemon contract §14 and §15). No clock, no thread, no I/O; times are milliseconds
//! of one monotonic clock.
//!
//! # How it is driven
//!
//! [`Timers`] belongs behind one lock, which no request ever takes. What requests do is said to the
//! [`Activity`], by atomic stores and from any thread; a worker only has to wake the monitor when
//! the activity asks for it:
//!
//! ```
//! # use wsgi_core::lifecycle::{Decision, Timers};
//! # use wsgi_core::wire::launch::Limits;
//! # let (limits, mut now) = (Limits { maximum_requests: 1, graceful_timeout: 1, ..Limits::default() }, 1);
//! let mut timers = Timers::new(&limits, 15, now);
//! let activity = timers.activity().clone();
//!
//! // A worker:
//! let mut wakes_monitor = false;
//! if activity.begin(3, now) {
//!     // Takes a request; if there is none: `withdraw` instead of `end`.
//!     activity.touch(now); // unless the request is to be ignored
//!     wakes_monitor |= activity.end(3);
//! } else {
//!     wakes_monitor |= activity.withdraw(3);
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
//! Signals, changed scripts and the orders of the supervisor are said to the timers
//! ([`Timers::trigger`], [`Timers::drain`], [`Timers::continue_serving`]). Whoever does that
//! carries out the decision that it returns, and wakes the monitor, because the time to wait for
//! may have become another.

mod activity;
mod imports;
mod jitter;
mod memory;
mod requests;
mod timers;

pub use activity::{Activity, Begun};
pub use imports::{FailedImports, MAX_FAILED_SUCCESSORS, Retry, retry_pause};
pub use memory::EarlyExcess;
pub use timers::Timers;

pub use crate::wire::Reason;

/// An event in the life of a process, other than the passing of time.
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
pub struct RunningRequest {
    /// The worker.
    pub worker: usize,
    /// Its beginning. While [`Activity::started`] returns the same for the worker, it is this
    /// request.
    pub started: u64,
}

/// The next step of the monitor.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Decision {
    /// There is nothing to do.
    Nothing,
    /// Raise `RequestTimeout` in the worker, if it still runs this request.
    Interrupt(RunningRequest),
    /// Ask for a successor, and carry on until the supervisor answers ([`Timers::drain`],
    /// [`Timers::continue_serving`]).
    Replace {
        /// The reason.
        reason: Reason,
        /// Log the stacks of the interpreter that this request runs in.
        dump_of: Option<RunningRequest>,
    },
    /// Shut down now; [`Timers::poll`] goes on being called, for the time that this may take.
    Stop {
        /// The reason; the first one that there was.
        reason: Reason,
        /// Log the stacks of the interpreter that this request runs in.
        dump_of: Option<RunningRequest>,
    },
    /// The shutdown has taken too long: end the process, whatever still runs, with status 255.
    Exit,
}
