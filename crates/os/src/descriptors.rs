//! Sockets and pipes between processes, and descriptors sent through them.

use std::io;
use std::os::fd::{AsFd, AsRawFd, FromRawFd, OwnedFd, RawFd};
use std::time::Duration;

use nix::fcntl::{FcntlArg, FdFlag, OFlag, fcntl, open};
use nix::sys::resource::{Resource, getrlimit, setrlimit};
use nix::sys::socket::{
    AddressFamily, Shutdown, SockFlag, SockType, setsockopt, shutdown, socketpair, sockopt,
};
use nix::sys::stat::{Mode, fchmod};
use nix::sys::time::{TimeVal, TimeValLike};

mod interrupted;
mod passing;
mod pipes;
mod readiness;

pub use passing::{
    MAX_DESCRIPTORS, Sender, Wait, name_senders, next_length, receive_sender, receive_with, send_with,
};
pub use pipes::{pipe, pipe_use, write_to_pipe};
pub use readiness::{has_hung_up, is_readable, is_shut_down, readable_of, readiness};

/// The kind of a socket pair: what arrives as it was sent.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// Bytes in order (`SOCK_STREAM`).
    Stream,
    /// Messages in order, and the end of the other side (`SOCK_SEQPACKET`).
    Sequence,
}

/// Creates two connected sockets without a name, closed on exec.
///
/// # Errors
/// There is no descriptor left.
pub fn pair(kind: Kind) -> io::Result<(OwnedFd, OwnedFd)> {
    let kind = match kind {
        Kind::Stream => SockType::Stream,
        Kind::Sequence => SockType::SeqPacket,
    };
    Ok(socketpair(AddressFamily::Unix, kind, None, SockFlag::SOCK_CLOEXEC)?)
}

/// Makes a socket one that is only sent to: what its other side sends fails there with
/// [`io::ErrorKind::BrokenPipe`].
///
/// Whoever holds a socket also closes what has been sent to it with descriptors in it, and to close
/// somebody else's descriptor may take as long as its sender likes (`SO_LINGER`). Nothing can be
/// sent to this one.
///
/// # Errors
/// It is not a socket.
pub fn make_send_only(socket: impl AsFd) -> io::Result<()> {
    Ok(shutdown(socket.as_fd().as_raw_fd(), Shutdown::Read)?)
}

/// Opens a file of shared memory anew, for reading only. Nobody but its owner can open it again from
/// now on, so who gets this descriptor cannot come to write. Closed on exec.
///
/// # Errors
/// This process does not own it, or `/proc` is not there.
pub fn reopen_for_reading(file: impl AsFd) -> io::Result<OwnedFd> {
    fchmod(&file, Mode::S_IRUSR)?;
    let path = format!("/proc/self/fd/{}", file.as_fd().as_raw_fd());
    Ok(open(path.as_str(), OFlag::O_RDONLY | OFlag::O_CLOEXEC | OFlag::O_NOCTTY, Mode::empty())?)
}

/// Opens anew what `descriptor` writes to, appending and without ever waiting, however `descriptor`
/// itself is set: flags belong to what was opened, which several processes may share. Closed on
/// exec.
///
/// # Errors
/// It is a socket, this process may not write to it, or `/proc` is not there.
pub fn reopen_for_append(descriptor: impl AsFd) -> io::Result<OwnedFd> {
    let path = format!("/proc/self/fd/{}", descriptor.as_fd().as_raw_fd());
    let flags = OFlag::O_WRONLY | OFlag::O_APPEND | OFlag::O_NONBLOCK | OFlag::O_CLOEXEC | OFlag::O_NOCTTY;
    Ok(open(path.as_str(), flags, Mode::empty())?)
}

/// Takes over a descriptor that this process was started with, under an agreed number, and closes
/// it on exec from now on. Whatever Rust and Python open themselves is closed on exec, which is how
/// the difference is told: what they own cannot be taken, nor anything twice.
///
/// # Errors
/// No descriptor has that number, it is one of 0, 1 and 2, or it is not inherited.
pub fn inherited(number: RawFd) -> io::Result<OwnedFd> {
    // SAFETY: the command takes no argument, and any number will do.
    let flags = unsafe { libc::fcntl(number, libc::F_GETFD) };
    if flags < 0 {
        return Err(io::Error::last_os_error());
    }
    if number < 3 || flags & libc::FD_CLOEXEC != 0 {
        return Err(io::Error::new(
            io::ErrorKind::InvalidInput,
            "the descriptor was not passed to this process",
        ));
    }
    // SAFETY: open, and not owned by anything here, by the flag.
    let descriptor = unsafe { OwnedFd::from_raw_fd(number) };
    keep_over_exec(&descriptor, false)?;
    Ok(descriptor)
}

/// Allows this process to open so many descriptors, as far as its hard limit permits. The former
/// limits, soft and hard, if that changes anything.
pub fn raise_limit(count: u64) -> Option<(u64, u64)> {
    let (soft, hard) = getrlimit(Resource::RLIMIT_NOFILE).ok()?;
    let raised = count.min(hard);
    (raised > soft && setrlimit(Resource::RLIMIT_NOFILE, raised, hard).is_ok()).then_some((soft, hard))
}

/// Sets whether a descriptor survives `exec`.
///
/// # Errors
/// As `fcntl`.
pub fn keep_over_exec(descriptor: impl AsFd, is_kept: bool) -> io::Result<()> {
    let flags = if is_kept { FdFlag::empty() } else { FdFlag::FD_CLOEXEC };
    fcntl(descriptor, FcntlArg::F_SETFD(flags))?;
    Ok(())
}

/// Sets how long receiving and sending may wait before they fail with
/// [`io::ErrorKind::WouldBlock`]; `None` is for ever.
///
/// # Errors
/// It is not a socket.
pub fn set_timeouts(socket: impl AsFd, receive: Option<Duration>, send: Option<Duration>) -> io::Result<()> {
    setsockopt(&socket, sockopt::ReceiveTimeout, &time(receive))?;
    setsockopt(&socket, sockopt::SendTimeout, &time(send))?;
    Ok(())
}

/// Tells the other side of a socket that nothing more is sent. It may still send.
///
/// # Errors
/// It is not a socket, or not connected.
pub fn end_sending(socket: impl AsFd) -> io::Result<()> {
    shutdown(socket.as_fd().as_raw_fd(), Shutdown::Write)?;
    Ok(())
}

/// Returns whether the other side of a local socket has not read all that was sent.
///
/// # Errors
/// It is not a socket.
pub fn has_unread(socket: impl AsFd) -> io::Result<bool> {
    let mut length: libc::c_int = 0;
    // SAFETY: the request writes one integer.
    match unsafe { libc::ioctl(socket.as_fd().as_raw_fd(), libc::TIOCOUTQ, &raw mut length) } {
        0 => Ok(length > 0),
        _ => Err(io::Error::last_os_error()),
    }
}

/// Sets the sizes of a socket's buffers in bytes, which the system may bound; `None` leaves one as
/// it is.
///
/// # Errors
/// It is not a socket.
pub fn set_buffers(socket: impl AsFd, send: Option<usize>, receive: Option<usize>) -> io::Result<()> {
    if let Some(size) = send {
        setsockopt(&socket, sockopt::SndBuf, &size)?;
    }
    if let Some(size) = receive {
        setsockopt(&socket, sockopt::RcvBuf, &size)?;
    }
    Ok(())
}

/// Converts a duration for the kernel. 0 is for ever there, so a time shorter than a microsecond
/// becomes one.
fn time(duration: Option<Duration>) -> TimeVal {
    let micros = duration.map_or(0, |duration| duration.as_micros().max(1));
    TimeVal::microseconds(i64::try_from(micros).unwrap_or(0))
}

#[cfg(test)]
mod tests;
