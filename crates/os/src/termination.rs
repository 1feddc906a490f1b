//! A request to end that is first made gently.

use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};

use libc::c_int;

/// The handler that SIGTERM had; 0 is none.
static ORIGINAL: AtomicUsize = AtomicUsize::new(0);
/// True once a SIGTERM has been translated.
static HAS_TRANSLATED: AtomicBool = AtomicBool::new(false);

/// The signal that asks gently: Apache's for a graceful stop.
const GENTLE: c_int = libc::SIGWINCH;

/// Has the first SIGTERM that this process gets taken for SIGWINCH; the next one is itself. Without
/// handlers for both signals, and after the first one, nothing changes. May be called again when
/// the process has set its handlers anew.
pub fn terminate_gently_first() {
    if HAS_TRANSLATED.load(Ordering::Acquire) {
        return;
    }
    // SAFETY: an action of zeros is one to be overwritten; all are valid for the calls. The new
    // handler does what signal-safety(7) allows.
    unsafe {
        let mut gentle: libc::sigaction = std::mem::zeroed();
        let mut action: libc::sigaction = std::mem::zeroed();
        if libc::sigaction(GENTLE, std::ptr::null(), &raw mut gentle) != 0
            || libc::sigaction(libc::SIGTERM, std::ptr::null(), &raw mut action) != 0
            || [libc::SIG_DFL, libc::SIG_IGN].contains(&gentle.sa_sigaction)
            || [libc::SIG_DFL, libc::SIG_IGN, translate as *const () as usize].contains(&action.sa_sigaction)
            || action.sa_flags & libc::SA_SIGINFO != 0
        {
            return;
        }
        ORIGINAL.store(action.sa_sigaction, Ordering::Release);
        action.sa_sigaction = translate as *const () as usize;
        libc::sigaction(libc::SIGTERM, &raw const action, std::ptr::null_mut());
    }
}

extern "C" fn translate(_: c_int) {
    // SAFETY: system calls without conditions, on memory of this function; `errno`, which the
    // interrupted code may be about to read, is put back. What is stored is the handler that was
    // installed before this one.
    unsafe {
        let errno = *libc::__errno_location();
        let mut action: libc::sigaction = std::mem::zeroed();
        if !HAS_TRANSLATED.swap(true, Ordering::AcqRel)
            && libc::sigaction(libc::SIGTERM, std::ptr::null(), &raw mut action) == 0
        {
            action.sa_sigaction = ORIGINAL.load(Ordering::Acquire);
            libc::sigaction(libc::SIGTERM, &raw const action, std::ptr::null_mut());
        }
        libc::kill(libc::getpid(), GENTLE);
        *libc::__errno_location() = errno;
    }
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::AtomicI32;

    use super::*;

    static HANDLED: AtomicI32 = AtomicI32::new(0);

    extern "C" fn note(signal: c_int) {
        HANDLED.store(signal, Ordering::SeqCst);
    }

    #[test]
    fn the_first_sigterm_is_gentle() {
        // In a copy: handlers are those of the whole process.
        // SAFETY: the copy makes system calls only, and ends.
        let copy = unsafe { libc::fork() };
        if copy == 0 {
            let handled = |signal| {
                HANDLED.store(0, Ordering::SeqCst);
                // SAFETY: no conditions.
                unsafe { libc::raise(signal) };
                HANDLED.load(Ordering::SeqCst)
            };
            // SAFETY: the handler stores a number.
            unsafe { libc::signal(libc::SIGTERM, note as *const () as usize) };
            terminate_gently_first();
            let without_the_other = handled(libc::SIGTERM);
            // SAFETY: the handler stores a number.
            unsafe { libc::signal(GENTLE, note as *const () as usize) };
            terminate_gently_first();
            terminate_gently_first();
            let first = handled(libc::SIGTERM);
            terminate_gently_first();
            let second = handled(libc::SIGTERM);
            let is_right = [without_the_other, first, second] == [libc::SIGTERM, GENTLE, libc::SIGTERM];
            // SAFETY: no conditions.
            unsafe { libc::_exit(if is_right { 7 } else { 1 }) }
        }
        let mut status = 0;
        // SAFETY: the id is a child's.
        assert_eq!(unsafe { libc::waitpid(copy, &raw mut status, 0) }, copy);
        assert!(libc::WIFEXITED(status) && libc::WEXITSTATUS(status) == 7, "{status}");
    }
}
