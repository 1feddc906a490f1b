//! The end of a process, as the supervisor reports it.

use std::time::{Duration, Instant};

use os::process::Exit;

use super::generation::Generation;

/// The time that the supervisor gets to report it.
const STATUS_TIMEOUT: Duration = Duration::from_millis(500);

/// Describes how the process `pid` of a slot ended. Returns `None` if it is not known to have
/// ended.
pub(super) fn describe(generation: &Generation, slot: usize, pid: u32) -> Option<String> {
    if pid == 0 {
        return None;
    }
    let end = Instant::now() + STATUS_TIMEOUT;
    loop {
        let status = generation.exit_status(slot, pid);
        if status.is_some() || Instant::now() >= end {
            return status.map(|status| Exit::from_status(status).to_string());
        }
        std::thread::sleep(Duration::from_millis(5));
    }
}
