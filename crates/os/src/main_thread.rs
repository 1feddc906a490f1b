//! Signals for the main thread alone.

use std::sync::atomic::{AtomicUsize, Ordering};

use libc::c_int;

/// More signals than any system has.
const SIGNALS: usize = 128;

/// The handlers that the signals had, by number; 0 is none.
static HANDLERS: [AtomicUsize; SIGNALS] = [const { AtomicUsize::new(0) }; SIGNALS];

/// Has the handlers that these signals have now run on the main thread only, whichever thread the system chooses. A
/// signal that has no handler stays as it is.
///
/// Handlers that end the process count on having interrupted the thread that does the work. Nothing good comes of one
/// that runs in the middle of another, which may hold any lock.
pub fn alone_handles(signals: &[c_int]) {
    for &signal in signals {
        let Some(kept) = usize::try_from(signal).ok().and_then(|signal| HANDLERS.get(signal)) else {
            continue;
        };
        // SAFETY: an action of zeros is one to be overwritten; both are valid for the calls. The new handler does what
        // signal-safety(7) allows, and then what the old one does.
        unsafe {
            let mut action: libc::sigaction = std::mem::zeroed();
            if libc::sigaction(signal, std::ptr::null(), &raw mut action) != 0
                || action.sa_flags & libc::SA_SIGINFO != 0
                || [libc::SIG_DFL, libc::SIG_IGN, handle as *const () as usize].contains(&action.sa_sigaction)
            {
                continue;
            }
            kept.store(action.sa_sigaction, Ordering::Release);
            action.sa_sigaction = handle as *const () as usize;
            libc::sigaction(signal, &raw const action, std::ptr::null_mut());
        }
    }
}

extern "C" fn handle(signal: c_int) {
    // SAFETY: system calls without conditions; `errno`, which the interrupted code may be about to read, is put back.
    // What is kept is a handler of this signature: it was installed as one.
    unsafe {
        let process = libc::getpid();
        if libc::gettid() != process {
            let errno = *libc::__errno_location();
            libc::syscall(libc::SYS_tgkill, process, process, signal);
            *libc::__errno_location() = errno;
            return;
        }
        let kept = usize::try_from(signal).ok().and_then(|signal| HANDLERS.get(signal));
        let kept = kept.map_or(0, |kept| kept.load(Ordering::Acquire));
        if kept != 0 {
            std::mem::transmute::<usize, extern "C" fn(c_int)>(kept)(signal);
        }
    }
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::AtomicI32;

    use super::*;

    static HANDLED_BY: AtomicI32 = AtomicI32::new(0);

    extern "C" fn note(_: c_int) {
        // SAFETY: no conditions.
        HANDLED_BY.store(unsafe { libc::gettid() }, Ordering::SeqCst);
    }

    #[test]
    fn the_main_thread_handles_what_another_gets() {
        // In a copy, whose main thread is the one that goes on.
        // SAFETY: it makes system calls and a thread, which works on Linux, and ends.
        let copy = unsafe { libc::fork() };
        if copy == 0 {
            // SAFETY: the handler stores a number.
            unsafe { libc::signal(libc::SIGUSR1, note as *const () as usize) };
            alone_handles(&[libc::SIGUSR1, libc::SIGUSR2]);
            // Twice is once.
            alone_handles(&[libc::SIGUSR1]);
            // SAFETY: no conditions.
            let other = std::thread::spawn(|| unsafe { libc::raise(libc::SIGUSR1) });
            let raised = other.join().is_ok_and(|result| result == 0);
            // SAFETY: no conditions.
            unsafe {
                let main = HANDLED_BY.load(Ordering::SeqCst) == libc::getpid();
                let mut action: libc::sigaction = std::mem::zeroed();
                libc::sigaction(libc::SIGUSR2, std::ptr::null(), &raw mut action);
                let untouched = action.sa_sigaction == libc::SIG_DFL;
                libc::_exit(if raised && main && untouched { 7 } else { 1 })
            }
        }
        let mut status = 0;
        // SAFETY: the id is a child's.
        assert_eq!(unsafe { libc::waitpid(copy, &raw mut status, 0) }, copy);
        assert!(libc::WIFEXITED(status) && libc::WEXITSTATUS(status) == 7, "{status}");
    }
}
