//! The memory of the process, which is looked at from time to time if it is limited
//! (`memory-recycle=`).

use std::time::{Duration, Instant};

use bridge::Level;
use wsgi_core::codes::{MEMORY_NOT_KNOWN, MEMORY_RECYCLE_TOO_SMALL};
use wsgi_core::lifecycle::EarlyExcess;

use super::EventLoop;
use crate::daemon::log;

/// The interval of looks at the memory.
const INTERVAL: Duration = Duration::from_secs(2);

/// The looks at the memory of a process.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct MemoryChecks {
    /// The time of the next one; `None` if there are none.
    pub(super) next: Option<Instant>,
    /// The memory that was used last.
    pub(super) used: u64,
}

impl EventLoop {
    /// Begins to look at the memory, if it is limited.
    pub(super) fn watch_memory(&mut self) {
        if self.daemon.limits.memory_recycle > 0 && !self.is_service {
            self.memory_checks.next = Some(Instant::now());
        }
    }

    /// Looks at the memory, and tells the timers.
    pub(super) fn check_memory(&mut self) {
        let daemon = self.daemon;
        self.memory_checks.next = Some(Instant::now() + INTERVAL);
        match os::usage::own_memory() {
            Some(used) => {
                self.memory_checks.used = used;
                if let Some(early) = self.timers.record_memory(used, daemon.now()) {
                    log::line(Level::Warning, &too_small(&daemon.name, early));
                }
            }
            // Later on, descriptors may be short for a moment.
            None if self.memory_checks.used > 0 => {}
            None => {
                self.memory_checks.next = None;
                log::line(
                    Level::Warning,
                    &format!(
                        "{MEMORY_NOT_KNOWN}: Process group '{}': memory-recycle= has no effect, since /proc/self/status cannot be \
                         read or has no figures: mount proc in the jail, or remove the option.",
                        daemon.name
                    ),
                );
            }
        }
    }

    /// Logs that the memory is the reason for a replacement.
    pub(super) fn log_memory(&self) {
        let (used, most) = (megabytes(self.memory_checks.used), megabytes(self.daemon.limits.memory_recycle));
        self.daemon
            .info(&format!("the process uses {used} of memory, more than memory-recycle= allows ({most})"));
    }
}

fn too_small(group: &str, early: EarlyExcess) -> String {
    let (used, most) = (megabytes(early.used), megabytes(early.most));
    let EarlyExcess { served, service, .. } = early;
    format!(
        "{MEMORY_RECYCLE_TOO_SMALL}: Process group '{group}': a process uses {used} of memory {} seconds after it began to serve, more than \
         memory-recycle= allows ({most}). It is replaced when it has served for {} seconds, no sooner, since its successor may need as \
         much: raise memory-recycle=, or look for what makes the application grow so fast.",
        served / 1_000,
        service / 1_000
    )
}

/// Shows as `1.5 MB`.
fn megabytes(bytes: u64) -> String {
    let tenths = u128::from(bytes) * 10 / (1 << 20);
    format!("{}.{} MB", tenths / 10, tenths % 10)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_warning_has_both_sizes() {
        let early =
            EarlyExcess { used: 150 << 20, most: (64 << 20) + (1 << 19), served: 2_900, service: 10_000 };
        let text = too_small("shop", early);
        for part in ["WSGI1010", "'shop'", "150.0 MB", "64.5 MB", "2 seconds", "10 seconds"] {
            assert!(text.contains(part), "{part} is missing in {text}");
        }
    }
}
