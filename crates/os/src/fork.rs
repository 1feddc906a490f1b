//! Forks: of a process that makes others like itself, for its own parent to have as children; and
//! those that others make of this process, applications for instance.

use std::cell::Cell;
use std::io;
use std::sync::Once;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use libc::c_int;

/// The longest time that the process in between may take to end.
const LONGEST: Duration = Duration::from_secs(10);
/// The interval of checks whether it has ended.
const INTERVAL: Duration = Duration::from_micros(50);
/// The status of a new process that cannot be what it should.
const UNUSABLE: c_int = 255;

/// A process that returns from [`sibling`].
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Side {
    /// The process that was there before.
    Original,
    /// The new one.
    New,
}

/// Forks a process that becomes a child of this one's parent, leads a session of its own, and is
/// killed when its parent ends (`PR_SET_PDEATHSIG`). The parent has to be a reaper
/// ([`become_reaper`](crate::process::become_reaper)).
///
/// The new process is a child of one in between that ends at once, and so is inherited. (With
/// `CLONE_PARENT` it would be the parent's from the beginning; but the C library, which keeps the
/// ids of threads and puts its locks in order in `fork`, does not know of such a process.)
///
/// # Errors
/// No process can be made, or the parent has ended.
///
/// # Safety
/// Whatever the process holds of other threads, such as locks, is not used in the new one.
pub unsafe fn sibling() -> io::Result<Side> {
    // SAFETY: it has no precondition.
    let parent = unsafe { libc::getppid() };
    // SAFETY: the process in between forks, and ends; for the rest by the caller's promise.
    match unsafe { libc::fork() } {
        -1 => Err(io::Error::last_os_error()),
        0 => {
            // SAFETY: it has no precondition.
            let between = unsafe { libc::getpid() };
            // SAFETY: by the caller's promise.
            match unsafe { libc::fork() } {
                0 => {
                    if settle(between, parent).is_err() {
                        // The parent has ended, or is about to notice that this process says
                        // nothing.
                        crate::exit::now(UNUSABLE);
                    }
                    Ok(Side::New)
                }
                // A number that fits into a status.
                -1 => crate::exit::now(io::Error::last_os_error().raw_os_error().unwrap_or(libc::EAGAIN)),
                _ => crate::exit::now(0),
            }
        }
        between => {
            let mut status = 0;
            // SAFETY: a child of this process, and a word of its own.
            while unsafe { libc::waitpid(between, &raw mut status, 0) } < 0 {
                let error = io::Error::last_os_error();
                if error.kind() != io::ErrorKind::Interrupted {
                    // Somebody else has waited for it, so it has ended.
                    return Ok(Side::Original);
                }
            }
            match libc::WEXITSTATUS(status) {
                0 if libc::WIFEXITED(status) => Ok(Side::Original),
                error if libc::WIFEXITED(status) => Err(io::Error::from_raw_os_error(error)),
                _ => Err(io::Error::other("the process in between was killed")),
            }
        }
    }
}

/// Set in a copy of a process that watches for copies.
static IS_COPY: AtomicBool = AtomicBool::new(false);

thread_local! {
    /// Copies that the thread makes end at once.
    static ENDS_COPIES: Cell<bool> = const { Cell::new(false) };
}

/// Has the copies that the calling thread makes by `fork()` end at once, or no longer.
///
/// # Panics
/// See [`watch_copies`].
pub fn end_copies(are_ended: bool) {
    if are_ended {
        watch_copies();
    }
    ENDS_COPIES.set(are_ended);
}

/// Makes copies of this process that `fork()` makes from now on know that they are copies.
///
/// # Panics
/// There is no memory left.
pub fn watch_copies() {
    extern "C" fn note() {
        IS_COPY.store(true, Ordering::Relaxed);
        if ENDS_COPIES.get() {
            crate::exit::now(UNUSABLE);
        }
    }
    static ONCE: Once = Once::new();
    ONCE.call_once(|| {
        // SAFETY: the function may be called in a copy of any process: it stores a word, or ends it. It
        // stays where it is as long as this code is loaded, which the C library knows it by.
        let result = unsafe { libc::pthread_atfork(None, None, Some(note)) };
        assert_eq!(result, 0, "no memory for a function to call after forks");
    });
}

/// Returns whether this process is a copy of one that has [watched](watch_copies).
#[must_use]
#[inline]
pub fn is_copy() -> bool {
    IS_COPY.load(Ordering::Relaxed)
}

/// Waits until the process in between has ended, and binds this one to its new parent.
fn settle(between: c_int, parent: c_int) -> io::Result<()> {
    let end = Instant::now() + LONGEST;
    // SAFETY: it has no precondition.
    let own_parent = || unsafe { libc::getppid() };
    while own_parent() == between {
        if Instant::now() >= end {
            return Err(io::ErrorKind::TimedOut.into());
        }
        std::thread::sleep(INTERVAL);
    }
    nix::unistd::setsid()?;
    crate::process::end_with_parent(Some(crate::process::Signal::SIGKILL))?;
    // It may have ended before.
    if own_parent() == parent { Ok(()) } else { Err(io::ErrorKind::NotFound.into()) }
}

#[cfg(test)]
mod tests {
    use std::io::{Read, Write};

    use super::*;
    use crate::process::{Child, Exit};

    /// Runs `work` in a process of its own, which is a reaper.
    fn in_reaper(work: impl FnOnce() -> bool) -> Exit {
        // SAFETY: the copy allocates, which the C library permits after a fork, and ends.
        match unsafe { libc::fork() } {
            0 => {
                let is_done = crate::process::become_reaper().is_ok() && work();
                crate::exit::now(i32::from(!is_done))
            }
            pid => Child::open(pid).unwrap().wait().unwrap(),
        }
    }

    #[test]
    fn copies_know_what_they_are() {
        let exit = in_reaper(|| {
            watch_copies();
            watch_copies();
            let of_original = is_copy();
            // SAFETY: the copy ends at once.
            match unsafe { libc::fork() } {
                0 => crate::exit::now(i32::from(!is_copy())),
                pid => {
                    !of_original && !is_copy() && Child::open(pid).unwrap().wait().unwrap() == Exit::Status(0)
                }
            }
        });
        assert_eq!(exit, Exit::Status(0));
    }

    #[test]
    fn copies_end_where_their_thread_says_so() {
        let exit = in_reaper(|| {
            let copy = || {
                // SAFETY: the copy ends at once.
                match unsafe { libc::fork() } {
                    0 => crate::exit::now(7),
                    pid => Child::open(pid).unwrap().wait().unwrap(),
                }
            };
            end_copies(true);
            let ended = copy();
            end_copies(false);
            (ended, copy()) == (Exit::Status(255), Exit::Status(7))
        });
        assert_eq!(exit, Exit::Status(0));
    }

    #[test]
    fn the_new_process_is_a_child_of_the_parent() {
        let exit = in_reaper(|| {
            let (mut reader, mut writer) = io::pipe().unwrap();
            let reaper = std::process::id().cast_signed();
            // SAFETY: as above.
            let original = unsafe { libc::fork() };
            if original == 0 {
                // SAFETY: as above.
                match unsafe { sibling() } {
                    Ok(Side::New) => {
                        // SAFETY: it has no precondition.
                        let (own, parent, session) =
                            unsafe { (libc::getpid(), libc::getppid(), libc::getsid(0)) };
                        let is_right = parent == reaper && session == own;
                        let _ = writer.write_all(&if is_right { own } else { 0 }.to_ne_bytes());
                        crate::exit::now(7);
                    }
                    side => crate::exit::now(i32::from(side.ok() != Some(Side::Original))),
                }
            }
            let mut pid = [0; 4];
            let is_original_well = Child::open(original).unwrap().wait().unwrap() == Exit::Status(0);
            reader.read_exact(&mut pid).unwrap();
            let new = Child::adopt(i32::from_ne_bytes(pid)).unwrap();
            is_original_well && new.wait().unwrap() == Exit::Status(7)
        });
        assert_eq!(exit, Exit::Status(0));
    }
}
