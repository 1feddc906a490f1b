//! Waiting for a descriptor until another thread says that it is of no use any more.

use std::os::fd::{AsFd, RawFd};
use std::sync::OnceLock;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use nix::sys::eventfd::{EfdFlags, EventFd};

/// A wait of one thread that another one can end.
#[derive(Debug, Default)]
pub struct Waiter {
    is_over: AtomicBool,
    /// Made by the first that waits; `None` without a descriptor to spare.
    event: OnceLock<Option<EventFd>>,
}

/// The duration of a wait that nothing but time can end.
const UNINTERRUPTIBLE: Duration = Duration::from_millis(20);

impl Waiter {
    /// Waits until there is something to read from `descriptor`, or until [`end`](Self::end) is
    /// called, but no longer than `timeout`. `None` and a descriptor that was closed are waited for
    /// in vain.
    pub fn wait(&self, descriptor: Option<RawFd>, timeout: Duration) {
        let make = || EventFd::from_flags(EfdFlags::EFD_CLOEXEC | EfdFlags::EFD_NONBLOCK).ok();
        let event = self.event.get_or_init(make).as_ref();
        // Whatever ends the wait from here on finds the event.
        if self.is_over.load(Ordering::SeqCst) {
            return;
        }
        let timeout = if event.is_some() { timeout } else { timeout.min(UNINTERRUPTIBLE) };
        let of = |descriptor| libc::pollfd { fd: descriptor, events: libc::POLLIN, revents: 0 };
        let event = event.map_or(-1, |event| std::os::fd::AsRawFd::as_raw_fd(&event.as_fd()));
        // Negative ones are passed over.
        let mut descriptors = [of(descriptor.unwrap_or(-1)), of(event)];
        let (seconds, nanoseconds) = (timeout.as_secs(), timeout.subsec_nanos());
        let time = libc::timespec {
            tv_sec: libc::time_t::try_from(seconds).unwrap_or(libc::time_t::MAX),
            tv_nsec: nanoseconds.into(),
        };
        // SAFETY: structures that outlive the call, as many as it is told. Whatever the numbers
        // stand for is only looked at.
        unsafe { libc::ppoll(descriptors.as_mut_ptr(), 2, &raw const time, std::ptr::null()) };
    }

    /// Ends all waits, now and from now on.
    pub fn end(&self) {
        self.is_over.store(true, Ordering::SeqCst);
        if let Some(Some(event)) = self.event.get() {
            // Fails if it has been written to as often as it can count.
            let _ = event.write(1);
        }
    }

    /// Returns whether [`end`](Self::end) has been called.
    #[must_use]
    pub fn is_over(&self) -> bool {
        self.is_over.load(Ordering::SeqCst)
    }
}

#[cfg(test)]
mod tests {
    use std::io::Write as _;
    use std::os::fd::AsRawFd as _;
    use std::os::unix::net::UnixStream;

    use super::*;

    const LONG: Duration = Duration::from_secs(60);

    #[test]
    fn a_wait_ends_with_input_or_when_told() -> std::io::Result<()> {
        let (near, mut far) = UnixStream::pair()?;
        let waiter = Waiter::default();
        waiter.wait(Some(near.as_raw_fd()), Duration::from_millis(1));
        far.write_all(b"x")?;
        waiter.wait(Some(near.as_raw_fd()), LONG);
        std::thread::scope(|scope| {
            let waits = scope.spawn(|| waiter.wait(None, LONG));
            waiter.end();
            assert!(waits.join().is_ok());
        });
        waiter.wait(None, LONG);
        assert!(waiter.is_over());
        Ok(())
    }
}
