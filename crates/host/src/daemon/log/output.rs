//! The pipe to the relay. It has its own descriptor besides standard error, so changes of that by
//! an application do not affect it, and its writes never block.

#![expect(clippy::disallowed_types, reason = "pipes are written to under it, without Python")]

use std::cell::Cell;
use std::ffi::c_int;
use std::io;
use std::os::fd::{AsFd, OwnedFd};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Mutex, MutexGuard, OnceLock, TryLockError};
use std::time::{Duration, Instant};

use bridge::Level;
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use os::descriptors::write_to_pipe;
use os::file::identity;
use os::lock::lock;
use wsgi_core::wire::line;

/// The longest wait of a thread for room. The relay reads on sooner, whatever the log does.
const PATIENCE: Duration = Duration::from_secs(2);
/// The most bytes that may wait for the thread that is writing.
const WAITING: usize = 64 << 10;

/// That of the process; in one that was forked from a template, that of the template comes first.
static OUTPUTS: [OnceLock<Output>; 2] = [OnceLock::new(), OnceLock::new()];

thread_local! {
    /// This thread drops lines that there is no room for.
    static NEVER_WAITS: Cell<bool> = const { Cell::new(false) };
}

struct Output {
    pipe: OwnedFd,
    /// Device and number of the pipe: an application may close descriptors that are not its own,
    /// and open others.
    file: (u64, u64),
    /// Forked copies have none of the threads that may hold the locks.
    process: u32,
    /// The longest wait of a thread for room.
    patience: Duration,
    /// Held by the thread that writes: the rest of a line of which a part is written.
    writing: Mutex<Vec<u8>>,
    /// Lines of threads that did not wait for the writing one. Locked for a moment only.
    waiting: Mutex<Vec<u8>>,
    /// The last wait was in vain.
    is_stalled: AtomicBool,
    /// The number of lines that were dropped and not reported.
    dropped: AtomicU64,
}

/// Opens the log on `pipe`; before, lines go to standard error.
///
/// # Errors
/// The pipe's identity cannot be read.
pub(in crate::daemon) fn open(pipe: OwnedFd) -> io::Result<()> {
    let output = Output {
        file: identity(&pipe)?,
        pipe,
        process: std::process::id(),
        patience: PATIENCE,
        writing: Mutex::default(),
        waiting: Mutex::default(),
        is_stalled: AtomicBool::new(false),
        dropped: AtomicU64::new(0),
    };
    let place = usize::from(OUTPUTS[0].get().is_some());
    let _ = OUTPUTS[place].set(output);
    Ok(())
}

/// Makes this thread log without waiting.
pub(in crate::daemon) fn never_wait() {
    NEVER_WAITS.set(true);
}

/// Writes a whole line. Failures cannot be reported.
pub(super) fn write(line: &[u8]) {
    match OUTPUTS[1].get().or_else(|| OUTPUTS[0].get()) {
        Some(output) if output.is_usable() => output.write(line, NEVER_WAITS.get()),
        // A copy of the process, most often.
        Some(output) if line.len() > line::WHOLE && output.is_standard_error() => {
            let mut parts = Vec::new();
            line::split(line, std::process::id(), &mut parts);
            parts.split_inclusive(|byte| *byte == b'\n').for_each(write_plainly);
        }
        _ => write_plainly(line),
    }
}

impl Output {
    fn is_usable(&self) -> bool {
        self.process == std::process::id() && identity(&self.pipe).is_ok_and(|file| file == self.file)
    }

    /// Returns whether what is written to standard error comes to the relay, too.
    fn is_standard_error(&self) -> bool {
        identity(io::stderr()).is_ok_and(|file| file == self.file)
    }

    fn write(&self, line: &[u8], never_waits: bool) {
        let writing = if never_waits { self.try_lock() } else { Some(lock(&self.writing)) };
        match writing {
            Some(mut rest) => {
                // Earlier lines of this thread may be among them.
                self.write_waiting(&mut rest);
                self.write_line(&mut rest, line, if never_waits { Duration::ZERO } else { self.patience });
            }
            None => self.queue(line),
        }
        // A thread may have queued a line too late for the thread that was writing.
        while !lock(&self.waiting).is_empty() {
            let Some(mut rest) = self.try_lock() else { return };
            self.write_waiting(&mut rest);
        }
    }

    /// Writes the queued lines, without waiting for room.
    fn write_waiting(&self, rest: &mut Vec<u8>) {
        let lines = std::mem::take(&mut *lock(&self.waiting));
        for line in lines.split_inclusive(|byte| *byte == b'\n') {
            self.write_line(rest, line, Duration::ZERO);
        }
    }

    /// Queues a line for the thread that is writing.
    fn queue(&self, line: &[u8]) {
        let mut waiting = lock(&self.waiting);
        if waiting.len() + line.len() > WAITING {
            self.dropped.fetch_add(1, Ordering::Relaxed);
        } else {
            waiting.extend_from_slice(line);
        }
    }

    /// Writes a line after the pending ones, or drops it.
    fn write_line(&self, rest: &mut Vec<u8>, line: &[u8], patience: Duration) {
        let patience = if self.is_stalled.load(Ordering::Relaxed) { Duration::ZERO } else { patience };
        let deadline = Instant::now() + patience;
        let is_written = self.finish(rest, deadline)
            && self.report_dropped(rest, deadline)
            && self.begin(rest, line, deadline);
        if !is_written {
            self.dropped.fetch_add(1, Ordering::Relaxed);
        }
        if !patience.is_zero() || is_written {
            self.is_stalled.store(!is_written, Ordering::Relaxed);
        }
    }

    /// Writes how many lines were dropped, if any were.
    fn report_dropped(&self, rest: &mut Vec<u8>, deadline: Instant) -> bool {
        let dropped = self.dropped.swap(0, Ordering::Relaxed);
        if dropped == 0 {
            return true;
        }
        let text = format!("{dropped} lines of this process were dropped: the error log did not take them");
        let line = super::render(Level::Warning as c_int, text.as_bytes());
        let is_told = self.begin(rest, &line, deadline);
        if !is_told {
            self.dropped.fetch_add(dropped, Ordering::Relaxed);
        }
        is_told
    }

    /// Writes a line, or as much of it as there is room for; the rest is written before any other
    /// line. Returns whether it has begun.
    fn begin(&self, rest: &mut Vec<u8>, line: &[u8], deadline: Instant) -> bool {
        debug_assert!(rest.is_empty(), "lines are written one after the other");
        let mut parts = Vec::new();
        let line = if line.len() > line::WHOLE {
            line::split(line, self.process, &mut parts);
            &parts
        } else {
            line
        };
        let count = self.write_until(line, deadline);
        if count > 0 {
            rest.extend_from_slice(&line[count..]);
        }
        count > 0
    }

    /// Writes the rest of a line. Returns whether it is all written.
    fn finish(&self, rest: &mut Vec<u8>, deadline: Instant) -> bool {
        if !rest.is_empty() {
            let count = self.write_until(rest, deadline);
            rest.drain(..count);
        }
        rest.is_empty()
    }

    /// Writes as many lines, or parts of one, as there is room for until the deadline: each at
    /// once, since others write to the same pipe.
    fn write_until(&self, bytes: &[u8], deadline: Instant) -> usize {
        let mut written = 0;
        while let Some(next) = bytes[written..].split_inclusive(|byte| *byte == b'\n').next() {
            match write_to_pipe(&self.pipe, next) {
                Ok(count) => written += count,
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {
                    let left = deadline.saturating_duration_since(Instant::now());
                    let mut polled = [PollFd::new(self.pipe.as_fd(), PollFlags::POLLOUT)];
                    let timeout = PollTimeout::try_from(left).unwrap_or(PollTimeout::ZERO);
                    if left.is_zero() || matches!(poll(&mut polled, timeout), Ok(0)) {
                        break;
                    }
                }
                // The supervisor is gone, and this process is about to end: counts as written.
                Err(_) => return bytes.len(),
            }
        }
        written
    }

    fn try_lock(&self) -> Option<MutexGuard<'_, Vec<u8>>> {
        match self.writing.try_lock() {
            Ok(guard) => Some(guard),
            Err(TryLockError::Poisoned(error)) => Some(error.into_inner()),
            Err(TryLockError::WouldBlock) => None,
        }
    }
}

/// Writes to standard error, without any lock.
fn write_plainly(mut line: &[u8]) {
    let stderr = io::stderr();
    if NEVER_WAITS.get() {
        let mut polled = [PollFd::new(stderr.as_fd(), PollFlags::POLLOUT)];
        if poll(&mut polled, PollTimeout::ZERO) == Ok(0) {
            return;
        }
    }
    while !line.is_empty() {
        match write_to_pipe(&stderr, line) {
            Ok(count @ 1..) => line = &line[count..],
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Ok(0) | Err(_) => return,
        }
    }
}

#[cfg(test)]
mod tests;
