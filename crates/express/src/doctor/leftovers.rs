//! Processes that the doctor's trials leave behind.
//!
//! The doctor adopts what its descendants leave: an application may start processes while it is
//! imported that leave their session and their parent, as services do.

use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;

/// True if all children of this process are the doctor's.
static IS_REAPER: AtomicBool = AtomicBool::new(false);

/// The time that they have to end, all together.
const LONGEST: Duration = Duration::from_secs(5);

/// Has everything that descendants leave behind become a child of this process, which must have no
/// others.
pub(super) fn adopt() {
    // Without that, they are left.
    IS_REAPER.store(os::process::become_reaper().is_ok(), Ordering::Relaxed);
}

/// Ends all children, if this process [adopts](adopt) them.
pub(super) fn end() {
    let start = Instant::now();
    while IS_REAPER.load(Ordering::Relaxed) && start.elapsed() < LONGEST {
        let children = os::process::children();
        if children.is_empty() {
            return;
        }
        for pid in children {
            let _ = kill(Pid::from_raw(pid), Signal::SIGKILL);
        }
        // Those of theirs come next.
        while let Ok(Some(_)) = os::process::reap(|_| false) {}
        thread::sleep(Duration::from_millis(2));
    }
}
