//! Pipes, and what is in them.

use std::io;
use std::mem;
use std::os::fd::{AsFd, AsRawFd, OwnedFd};

use nix::fcntl::{FcntlArg, OFlag, fcntl};

/// Returns a pipe, closed on exec: where it is read, [`io::ErrorKind::WouldBlock`] says that there
/// is nothing yet.
///
/// # Errors
/// There is no descriptor left.
pub fn pipe() -> io::Result<(OwnedFd, OwnedFd)> {
    let (reader, writer) = nix::unistd::pipe2(OFlag::O_CLOEXEC)?;
    fcntl(&reader, FcntlArg::F_SETFL(OFlag::O_NONBLOCK))?;
    Ok((reader, writer))
}

/// Writes some of these bytes to a pipe. If nobody has its other end this fails with
/// [`io::ErrorKind::BrokenPipe`], without the signal that ends a process which does not expect it.
///
/// # Errors
/// As `write`.
pub fn write_to_pipe(pipe: impl AsFd, bytes: &[u8]) -> io::Result<usize> {
    // SAFETY: signal sets are plain memory, filled before they are read; the bytes outlive the
    // call.
    unsafe {
        let (mut signal, mut before) = (mem::zeroed(), mem::zeroed());
        libc::sigemptyset(&raw mut signal);
        libc::sigaddset(&raw mut signal, libc::SIGPIPE);
        libc::pthread_sigmask(libc::SIG_BLOCK, &raw const signal, &raw mut before);
        let written = libc::write(pipe.as_fd().as_raw_fd(), bytes.as_ptr().cast(), bytes.len());
        let result = usize::try_from(written).map_err(|_| io::Error::last_os_error());
        let is_broken = result.as_ref().is_err_and(|error| error.kind() == io::ErrorKind::BrokenPipe);
        if is_broken && libc::sigismember(&raw const before, libc::SIGPIPE) == 0 {
            // It has come, unless it is ignored, and goes to nobody else.
            let at_once = libc::timespec { tv_sec: 0, tv_nsec: 0 };
            libc::sigtimedwait(&raw const signal, std::ptr::null_mut(), &raw const at_once);
        }
        libc::pthread_sigmask(libc::SIG_SETMASK, &raw const before, std::ptr::null_mut());
        result
    }
}

/// Returns the number of bytes that wait in a pipe, and about how many fit.
///
/// # Errors
/// It is not a pipe.
pub fn pipe_use(pipe: impl AsFd) -> io::Result<(usize, usize)> {
    let size = fcntl(&pipe, FcntlArg::F_GETPIPE_SZ)?;
    let mut used: libc::c_int = 0;
    // SAFETY: the request writes one integer.
    match unsafe { libc::ioctl(pipe.as_fd().as_raw_fd(), libc::FIONREAD, &raw mut used) } {
        0 => Ok((usize::try_from(used).unwrap_or(0), usize::try_from(size).unwrap_or(0))),
        _ => Err(io::Error::last_os_error()),
    }
}
