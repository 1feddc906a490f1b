//! The memory of a process, and the time from which it is too much (`memory-recycle=`).

/// The shortest time that a process serves before its memory leads to a replacement.
const SHORTEST_SERVICE: u64 = 10_000;

/// The time that a process serves, in relation to the time that it took to start: with a size that is
/// too small, starts take up a twentieth of the time at most.
const SERVICE_PER_START: u64 = 20;

/// A process that uses too much memory so soon after its start that its successors would do the same.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct EarlyExcess {
    /// The memory that it uses, in bytes.
    pub used: u64,
    /// `memory-recycle=`, in bytes.
    pub most: u64,
    /// The time since it began to serve, in milliseconds.
    pub served: u64,
    /// The time that it serves before it is replaced, in milliseconds.
    pub service: u64,
}

#[derive(Debug, Clone)]
pub(super) struct Memory {
    most: u64,
    used: u64,
    ready: u64,
    service: u64,
    is_reported: bool,
}

impl Memory {
    pub(super) const fn new(most: u64, now: u64) -> Self {
        Self { most, used: 0, ready: now, service: SHORTEST_SERVICE, is_reported: false }
    }

    /// Notes that the process is ready for requests, which has taken so long.
    pub(super) fn begin_serving(&mut self, start: u64, now: u64) {
        self.ready = now;
        self.service = start.saturating_mul(SERVICE_PER_START).max(SHORTEST_SERVICE);
    }

    pub(super) const fn record(&mut self, used: u64) {
        self.used = used;
    }

    /// Returns the time from which the process is to be replaced; `None` if it does not use too much.
    pub(super) fn due(&self) -> Option<u64> {
        (self.most != 0 && self.used > self.most).then(|| self.ready.saturating_add(self.service))
    }

    /// Returns that it uses too much too soon, once.
    pub(super) fn early_excess(&mut self, now: u64) -> Option<EarlyExcess> {
        if self.is_reported || self.due().is_none_or(|at| now >= at) {
            return None;
        }
        self.is_reported = true;
        let Self { most, used, ready, service, .. } = *self;
        Some(EarlyExcess { used, most, served: now.saturating_sub(ready), service })
    }
}
