//! Waiting for something to read, for room to send, or for the end.

use std::io;
use std::os::fd::{AsFd, AsRawFd, RawFd};
use std::time::Duration;

use super::interrupted::retry;

/// Returns whether all other ends of a socket or pipe are closed.
#[must_use]
pub fn has_hung_up(descriptor: impl AsFd) -> bool {
    let mut poll = libc::pollfd { fd: descriptor.as_fd().as_raw_fd(), events: 0, revents: 0 };
    // SAFETY: one structure, which outlives the call.
    unsafe { libc::poll(&raw mut poll, 1, 0) > 0 && poll.revents & libc::POLLHUP != 0 }
}

/// Returns whether nothing more can be received through a socket: the other end is closed, or
/// either has been shut down.
#[must_use]
pub fn is_shut_down(socket: impl AsFd) -> bool {
    let events = libc::POLLRDHUP;
    let mut poll = libc::pollfd { fd: socket.as_fd().as_raw_fd(), events, revents: 0 };
    // SAFETY: one structure, which outlives the call.
    unsafe { libc::poll(&raw mut poll, 1, 0) > 0 && poll.revents & (libc::POLLRDHUP | libc::POLLHUP) != 0 }
}

/// Returns whether there is something to read, or the end, within `timeout`.
///
/// # Errors
/// As `poll`.
pub fn is_readable(descriptor: impl AsFd, timeout: Duration) -> io::Result<bool> {
    let mut poll = libc::pollfd { fd: descriptor.as_fd().as_raw_fd(), events: libc::POLLIN, revents: 0 };
    let milliseconds = i32::try_from(timeout.as_millis()).unwrap_or(i32::MAX);
    // SAFETY: one structure, which outlives the call.
    match unsafe { libc::poll(&raw mut poll, 1, milliseconds) } {
        ready if ready >= 0 => Ok(ready > 0),
        _ => Err(io::Error::last_os_error()),
    }
}

/// Returns from which of two descriptors there is something to read, or its end, within `timeout`.
/// The second one may be any number: it is only looked at. A signal makes it wait anew.
///
/// # Errors
/// As `poll`.
pub fn readable_of(descriptor: impl AsFd, other: Option<RawFd>, timeout: Duration) -> io::Result<[bool; 2]> {
    let of = |number| libc::pollfd { fd: number, events: libc::POLLIN, revents: 0 };
    // A negative one is passed over.
    let mut polled = [of(descriptor.as_fd().as_raw_fd()), of(other.unwrap_or(-1))];
    poll(&mut polled, timeout)?;
    Ok(polled.map(|polled| polled.revents != 0))
}

/// Returns whether there is something to read from a socket, or its end, and whether more can be
/// sent, as soon as either is so, at the latest after `timeout`. A signal makes it wait anew.
///
/// # Errors
/// As `poll`.
pub fn readiness(socket: impl AsFd, timeout: Duration) -> io::Result<[bool; 2]> {
    let events = libc::POLLIN | libc::POLLOUT;
    let mut polled = [libc::pollfd { fd: socket.as_fd().as_raw_fd(), events, revents: 0 }];
    poll(&mut polled, timeout)?;
    let [libc::pollfd { revents, .. }] = polled;
    Ok([revents & !libc::POLLOUT != 0, revents & libc::POLLOUT != 0])
}

fn poll(polled: &mut [libc::pollfd], timeout: Duration) -> io::Result<usize> {
    let time = libc::timespec {
        tv_sec: libc::time_t::try_from(timeout.as_secs()).unwrap_or(libc::time_t::MAX),
        tv_nsec: timeout.subsec_nanos().into(),
    };
    let count = polled.len() as libc::nfds_t;
    // SAFETY: structures that outlive the call, as many as it is told.
    retry(|| unsafe { libc::ppoll(polled.as_mut_ptr(), count, &raw const time, std::ptr::null()) } as isize)
}
