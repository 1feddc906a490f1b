//! The times that a slot keeps.

use wsgi_core::lifecycle::Reason;
use wsgi_core::wire::launch::ProcessOptions;

/// The time that a successor, or one process more, may take until it is ready.
pub(crate) const SUCCESSOR_TIMEOUT: u64 = 60_000;
/// The time that a process may take until Python runs in it: the user database and file systems can
/// take as long as they want.
pub(crate) const PREPARATION_TIMEOUT: u64 = 10_000;
/// The time that a process whose control socket is closed may take to end.
pub(super) const LOST_GRACE: u64 = 1_000;
/// The time that a shutdown without limit may take when the server ends.
pub(super) const DEFAULT_SHUTDOWN: u64 = 5_000;
/// The time that a process gets beyond the limits that it keeps by itself.
pub(super) const EXIT_MARGIN: u64 = 1_000;

/// The limits of the slot's group for its processes, in milliseconds; 0 is no limit.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct Rules {
    pub(super) graceful: u64,
    pub(super) eviction: u64,
    pub(super) shutdown: u64,
    pub(super) startup: u64,
    pub(super) is_service: bool,
    /// Each process is there for one request.
    pub(super) is_run_once: bool,
    /// There is a process only while there is something to do for it.
    pub(super) is_elastic: bool,
}

impl Rules {
    /// Creates the rules of a slot, the `number`th of its group, from 0.
    pub(crate) fn from_options(options: &ProcessOptions, number: u32) -> Self {
        let limits = &options.limits;
        Self {
            graceful: limits.graceful_timeout,
            eviction: limits.eviction_timeout,
            shutdown: limits.shutdown_timeout,
            startup: limits.startup_timeout,
            is_service: options.is_service(),
            is_run_once: options.is_run_once(),
            is_elastic: number >= options.least_process_count(),
        }
    }

    /// Returns whether the slot is one of those beyond the least number of processes of its group.
    pub(crate) const fn is_elastic(self) -> bool {
        self.is_elastic
    }

    /// Returns the time that a process may take to finish what it has begun when it is replaced for
    /// this reason.
    pub(super) fn grace(self, reason: Reason) -> u64 {
        if reason == Reason::EvictionSignal && self.eviction > 0 { self.eviction } else { self.graceful }
    }

    /// Returns the time at which a process has to be gone whose supervisor has gone; in an hour
    /// where there is no limit.
    pub(crate) fn end_without_supervisor(self, now: u64) -> u64 {
        self.end(now, self.graceful).unwrap_or(now + 3_600_000)
    }

    /// Returns the time at which a process that shuts down after `grace` has to be gone.
    pub(super) fn end(self, now: u64, grace: u64) -> Option<u64> {
        (self.shutdown > 0).then(|| now + grace + self.shutdown + EXIT_MARGIN)
    }
}
