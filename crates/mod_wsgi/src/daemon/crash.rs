//! Why a process has ended: what the supervisor has found out.

use std::time::{Duration, Instant};

use os::process::Exit;

use super::generation::Generation;

/// How long the supervisor gets to find out.
const STATUS_TIMEOUT: Duration = Duration::from_millis(500);

/// How the process `pid` of a slot has ended, in words; nothing if it has not, as far as is known.
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
