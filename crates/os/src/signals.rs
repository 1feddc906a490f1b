//! Signals as bytes of a pipe, in a process that other code shares: an interpreter that has
//! handlers of its own and applications that fork.

use std::io;
use std::os::fd::{AsRawFd, IntoRawFd, OwnedFd, RawFd};
use std::sync::atomic::{AtomicI32, Ordering};

use libc::c_int;
use nix::sys::signal::{SaFlags, SigAction, SigHandler, SigSet, Signal, sigaction};

/// The writing end of the pipe; -1 before there is one. It stays open for good: a handler may be
/// about to use it.
static PIPE: AtomicI32 = AtomicI32::new(-1);
/// The process that the signals are for.
static OWNER: AtomicI32 = AtomicI32::new(0);

/// The status with which a forked copy of the process ends when it gets one of the signals.
const COPY: c_int = 255;

/// Makes each of these signals put its number as a byte into the pipe whose end is returned. The
/// pipe does not block, and bursts beyond its capacity are dropped. A process forked from this one
/// ends with status 255 when it gets one: it must not act as the original.
///
/// # Errors
/// There is no descriptor left, a signal cannot be caught, or this has been called before
/// ([`io::ErrorKind::AlreadyExists`]).
pub fn watch(signals: &[Signal]) -> io::Result<OwnedFd> {
    let (reader, writer) = nix::unistd::pipe2(nix::fcntl::OFlag::O_CLOEXEC | nix::fcntl::OFlag::O_NONBLOCK)?;
    if PIPE.compare_exchange(-1, writer.as_raw_fd(), Ordering::Release, Ordering::Relaxed).is_err() {
        return Err(io::ErrorKind::AlreadyExists.into());
    }
    let _: RawFd = writer.into_raw_fd();
    OWNER.store(own_id(), Ordering::Relaxed);
    catch(signals)?;
    Ok(reader)
}

/// Returns the end of the pipe that the handlers write to; -1 before there is one. A forked copy of
/// the process may close it: there, they do not.
#[must_use]
pub fn writer() -> RawFd {
    PIPE.load(Ordering::Acquire)
}

/// Puts the handlers of [`watch`] in place again, for these signals: other code may have replaced
/// them.
///
/// # Errors
/// A signal cannot be caught.
pub fn catch(signals: &[Signal]) -> io::Result<()> {
    let action = SigAction::new(
        SigHandler::Handler(handle),
        SaFlags::SA_RESTART | SaFlags::SA_ONSTACK,
        SigSet::empty(),
    );
    for signal in signals {
        // SAFETY: the handler calls nothing but what signal-safety(7) allows.
        unsafe { sigaction(*signal, &action) }?;
    }
    Ok(())
}

extern "C" fn handle(signal: c_int) {
    // SAFETY: write, getpid and _exit are async-signal-safe; `errno`, which the interrupted code
    // may be about to read, is put back.
    unsafe {
        if own_id() != OWNER.load(Ordering::Relaxed) {
            libc::_exit(COPY);
        }
        let errno = libc::__errno_location();
        let kept = *errno;
        let byte = signal as u8;
        libc::write(PIPE.load(Ordering::Acquire), (&raw const byte).cast(), 1);
        *errno = kept;
    }
}

fn own_id() -> c_int {
    // SAFETY: it has no precondition, and is async-signal-safe.
    unsafe { libc::getpid() }
}

#[cfg(test)]
mod tests {
    use nix::sys::signal::{kill, raise};
    use nix::sys::wait::{WaitStatus, waitpid};
    use nix::unistd::{ForkResult, fork, read};

    use super::*;

    #[test]
    fn signals_become_bytes_and_end_a_forked_copy() {
        let pipe = watch(&[Signal::SIGUSR2, Signal::SIGXCPU]).unwrap();
        let mut buffer = [0; 8];
        assert_eq!(read(&pipe, &mut buffer), Err(nix::errno::Errno::EAGAIN));
        raise(Signal::SIGUSR2).unwrap();
        raise(Signal::SIGXCPU).unwrap();
        assert_eq!(read(&pipe, &mut buffer), Ok(2));
        assert_eq!(buffer[..2], [libc::SIGUSR2 as u8, libc::SIGXCPU as u8]);
        for _ in 0..200_000 {
            raise(Signal::SIGUSR2).unwrap();
        }
        while read(&pipe, &mut buffer).is_ok() {}

        // SAFETY: the copy only waits.
        match unsafe { fork() }.unwrap() {
            ForkResult::Child => loop {
                // SAFETY: it has no precondition.
                unsafe { libc::pause() };
            },
            ForkResult::Parent { child } => {
                kill(child, Signal::SIGUSR2).unwrap();
                assert_eq!(waitpid(child, None), Ok(WaitStatus::Exited(child, COPY)));
            }
        }
        assert_eq!(read(&pipe, &mut buffer), Err(nix::errno::Errno::EAGAIN), "the copy wrote to the pipe");
        assert_eq!(watch(&[]).unwrap_err().kind(), io::ErrorKind::AlreadyExists);
    }
}
