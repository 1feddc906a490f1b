//! The descriptors that belong to the process as a daemon. A copy of it that an application forks
//! must not have them: as long as any copy holds them, the death of this process goes unnoticed.
//!
//! In a child of Apache no descriptors are registered, but copies are noticed as well.

use std::os::fd::{AsRawFd, RawFd};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::SystemTime;

use wsgi_core::level::Level;
use wsgi_core::wire::exit;

/// Descriptors beyond this number are not registered; no system hands them out before all lower
/// ones are taken.
const MOST: usize = 1 << 18;

/// A bit for each. (A forked child must be able to read it, whatever the other threads were doing.)
static REGISTERED: [AtomicU64; MOST / 64] = [const { AtomicU64::new(0) }; MOST / 64];

/// Set in a forked copy of the process.
static FORKED: AtomicBool = AtomicBool::new(false);

/// Registers a descriptor.
pub(crate) fn register(descriptor: &impl AsRawFd) {
    if let Some((word, bit)) = position(descriptor.as_raw_fd()) {
        REGISTERED[word].fetch_or(bit, Ordering::Relaxed);
    }
}

/// Unregisters a descriptor before it is closed.
pub(crate) fn unregister(descriptor: &impl AsRawFd) {
    if let Some((word, bit)) = position(descriptor.as_raw_fd()) {
        REGISTERED[word].fetch_and(!bit, Ordering::Relaxed);
    }
}

/// Set in a forked copy that becomes a process of the group, until its fork is over.
static BEGINS: AtomicBool = AtomicBool::new(false);

/// Makes this forked copy of the process one that serves nothing, unless it [begins](begin_process)
/// a process. Called by the child, on its only thread.
pub(crate) fn forked() {
    if !BEGINS.swap(false, Ordering::Relaxed) {
        FORKED.store(true, Ordering::Relaxed);
        close_registered();
    }
}

/// Makes this forked copy of a template a process of its group, without the descriptors of the
/// template. Called by the child before [`forked`].
pub(super) fn begin_process() {
    BEGINS.store(true, Ordering::Relaxed);
    close_registered();
}

fn close_registered() {
    for (index, word) in REGISTERED.iter().enumerate() {
        let mut bits = word.swap(0, Ordering::Relaxed);
        while bits != 0 {
            let number = index * 64 + bits.trailing_zeros() as usize;
            bits &= bits - 1;
            if let Ok(descriptor) = RawFd::try_from(number) {
                // Objects of this process that own it never use it again: see `is_copy`.
                let _ = nix::unistd::close(descriptor);
            }
        }
    }
}

/// Returns whether this is a forked copy of the process. It must not touch the descriptors that it
/// has closed.
#[inline]
pub(crate) fn is_copy() -> bool {
    FORKED.load(Ordering::Relaxed)
}

/// Ends a copy of the process that a script has forked, and not ended.
pub(crate) fn end_if_copy() {
    if is_copy() {
        warn_of_copy();
        os::exit::now(exit::FAILED.into());
    }
}

/// Logs that this copy is ended. It has no descriptor for lines any more, and locks may be those of threads
/// that it has not.
#[cold]
fn warn_of_copy() {
    let prefix = os::log_line::prefix(Level::Warning.name(), SystemTime::now());
    let line = format!("{prefix}{}\n", exit::COPY_RETURNED);
    // There is nowhere to complain.
    let _ = nix::unistd::write(std::io::stderr(), line.as_bytes());
}

fn position(descriptor: RawFd) -> Option<(usize, u64)> {
    let number = usize::try_from(descriptor).ok().filter(|number| *number < MOST)?;
    Some((number / 64, 1 << (number % 64)))
}
