//! Signals for the main thread alone.

use std::sync::atomic::{AtomicBool, AtomicI32, AtomicUsize, Ordering};

use libc::c_int;
use nix::sys::signal::{SigSet, SigmaskHow, Signal};

/// More signals than any system has.
const SIGNALS: usize = 128;

/// The handlers that the signals had, by number; 0 is none.
static HANDLERS: [AtomicUsize; SIGNALS] = [const { AtomicUsize::new(0) }; SIGNALS];

/// The signal whose handler takes the place of others' while [`IS_BUSY`] returns true; 0 is none.
static GRACEFUL: AtomicI32 = AtomicI32::new(0);
/// The signal that follows others while [`IS_BUSY`] returns true; 0 is none.
static INTERRUPT: AtomicI32 = AtomicI32::new(0);
/// A `fn() -> bool`.
static IS_BUSY: AtomicUsize = AtomicUsize::new(0);
/// It has done so once.
static HAS_SUBSTITUTED: AtomicBool = AtomicBool::new(false);

/// Makes the handlers that these signals have now run on the main thread only, whichever thread the
/// system chooses. A signal that has no handler stays as it is.
///
/// Handlers that end the process count on having interrupted the thread that does the work. A
/// handler that runs in the middle of another thread, which may hold any lock, can do harm.
///
/// The first of the signals that comes while the main thread `is_busy` is handled as if it were
/// `graceful`, one of them: a request to end when the work is done. The next one is itself.
/// `is_busy` is called in a signal's handler.
pub fn forward_signals(signals: &[c_int], graceful: c_int, is_busy: fn() -> bool) {
    GRACEFUL.store(graceful, Ordering::Release);
    forward(signals, is_busy);
}

/// Makes the handlers that these signals have now run on the main thread only, as
/// [`forward_signals`] does. Each signal that comes while the main thread `is_busy` is followed by
/// `interrupt`, once that has a handler, on the same thread.
pub fn interrupt_with(signals: &[c_int], interrupt: c_int, is_busy: fn() -> bool) {
    INTERRUPT.store(interrupt, Ordering::Release);
    forward(signals, is_busy);
}

fn forward(signals: &[c_int], is_busy: fn() -> bool) {
    // The call allocates what `is_busy` looks at on this thread: a handler could not.
    let _ = is_busy();
    IS_BUSY.store(is_busy as *const () as usize, Ordering::Release);
    for &signal in signals {
        let Some(original) = usize::try_from(signal).ok().and_then(|signal| HANDLERS.get(signal)) else {
            continue;
        };
        // SAFETY: an action of zeros is one to be overwritten; both are valid for the calls. The
        // new handler does what signal-safety(7) allows, and then what the old one does.
        unsafe {
            let mut action: libc::sigaction = std::mem::zeroed();
            if libc::sigaction(signal, std::ptr::null(), &raw mut action) != 0
                || action.sa_flags & libc::SA_SIGINFO != 0
                || [libc::SIG_DFL, libc::SIG_IGN, handle as *const () as usize].contains(&action.sa_sigaction)
            {
                continue;
            }
            original.store(action.sa_sigaction, Ordering::Release);
            action.sa_sigaction = handle as *const () as usize;
            libc::sigaction(signal, &raw const action, std::ptr::null_mut());
        }
    }
}

extern "C" fn handle(signal: c_int) {
    // SAFETY: system calls without conditions; `errno`, which the interrupted code may be about to
    // read, is put back. The stored handler has this signature: it was installed as one. The other
    // function is the one that `forward_signals` has stored; neither is 0.
    unsafe {
        let process = libc::getpid();
        if libc::gettid() != process {
            let errno = *libc::__errno_location();
            libc::syscall(libc::SYS_tgkill, process, process, signal);
            *libc::__errno_location() = errno;
            return;
        }
        let mut chosen = (signal, original(signal));
        let graceful = GRACEFUL.load(Ordering::Acquire);
        let is_busy = std::mem::transmute::<usize, Option<fn() -> bool>>(IS_BUSY.load(Ordering::Acquire));
        let is_busy = is_busy.is_some_and(|is_busy| is_busy());
        if original(graceful) != 0 && is_busy && !HAS_SUBSTITUTED.swap(true, Ordering::AcqRel) {
            chosen = (graceful, original(graceful));
        }
        let (signal, handler) = chosen;
        if handler != 0 {
            std::mem::transmute::<usize, extern "C" fn(c_int)>(handler)(signal);
        }
        let interrupt = INTERRUPT.load(Ordering::Acquire);
        if is_busy && has_handler(interrupt) {
            libc::raise(interrupt);
        }
    }
}

/// Returns whether a signal has a handler. Its default action may be the end of the process.
fn has_handler(signal: c_int) -> bool {
    // SAFETY: an action of zeros is one to be overwritten; the system refuses a number that is no
    // signal's.
    unsafe {
        let mut action: libc::sigaction = std::mem::zeroed();
        signal != 0
            && libc::sigaction(signal, std::ptr::null(), &raw mut action) == 0
            && ![libc::SIG_DFL, libc::SIG_IGN].contains(&action.sa_sigaction)
    }
}

/// Does what `work` does with these signals not blocked on this thread.
pub fn with_unblocked<R>(signals: &[c_int], work: impl FnOnce() -> R) -> R {
    let mut set = SigSet::empty();
    signals.iter().filter_map(|&signal| Signal::try_from(signal).ok()).for_each(|signal| set.add(signal));
    let before = set.thread_swap_mask(SigmaskHow::SIG_UNBLOCK);
    let result = work();
    if let Ok(before) = before {
        // It was the mask before.
        let _ = before.thread_set_mask();
    }
    result
}

/// Ignores the signal of a terminal whose size changes, if standard input is a terminal. To
/// Apache it is the request for a graceful stop.
pub fn ignore_sizes_of_terminal() {
    // SAFETY: no conditions; ignoring is no handler.
    unsafe {
        if libc::isatty(0) == 1 {
            libc::signal(libc::SIGWINCH, libc::SIG_IGN);
        }
    }
}

/// Returns the handler that a signal had; 0 is none.
fn original(signal: c_int) -> usize {
    let original = usize::try_from(signal).ok().and_then(|signal| HANDLERS.get(signal));
    original.map_or(0, |original| original.load(Ordering::Acquire))
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

    static HANDLED_AS: AtomicI32 = AtomicI32::new(0);
    static BUSY: AtomicBool = AtomicBool::new(false);

    extern "C" fn note_signal(signal: c_int) {
        HANDLED_AS.store(signal, Ordering::SeqCst);
    }

    #[test]
    fn a_busy_main_thread_is_asked_gently_first() {
        // In a copy, as below: handlers are those of the whole process.
        // SAFETY: the copy makes system calls only, and ends.
        let copy = unsafe { libc::fork() };
        if copy == 0 {
            let handled = |signal| {
                HANDLED_AS.store(0, Ordering::SeqCst);
                // SAFETY: no conditions.
                unsafe { libc::raise(signal) };
                HANDLED_AS.load(Ordering::SeqCst)
            };
            for signal in [libc::SIGTERM, libc::SIGUSR1] {
                // SAFETY: the handler stores a number.
                unsafe { libc::signal(signal, note_signal as *const () as usize) };
            }
            forward_signals(&[libc::SIGTERM, libc::SIGUSR1], libc::SIGUSR1, || BUSY.load(Ordering::SeqCst));
            let idle = handled(libc::SIGTERM);
            BUSY.store(true, Ordering::SeqCst);
            let busy = [handled(libc::SIGTERM), handled(libc::SIGTERM)];
            let is_right = idle == libc::SIGTERM && busy == [libc::SIGUSR1, libc::SIGTERM];
            // SAFETY: no conditions.
            unsafe { libc::_exit(if is_right { 7 } else { 1 }) }
        }
        let mut status = 0;
        // SAFETY: the id is a child's.
        assert_eq!(unsafe { libc::waitpid(copy, &raw mut status, 0) }, copy);
        assert!(libc::WIFEXITED(status) && libc::WEXITSTATUS(status) == 7, "{status}");
    }

    static INTERRUPTED: AtomicBool = AtomicBool::new(false);

    extern "C" fn note_interrupt(_: c_int) {
        INTERRUPTED.store(true, Ordering::SeqCst);
    }

    #[test]
    fn a_busy_main_thread_is_interrupted() {
        // In a copy, as below.
        // SAFETY: the copy makes system calls only, and ends.
        let copy = unsafe { libc::fork() };
        if copy == 0 {
            let handled = || {
                HANDLED_AS.store(0, Ordering::SeqCst);
                INTERRUPTED.store(false, Ordering::SeqCst);
                // SAFETY: no conditions.
                unsafe { libc::raise(libc::SIGTERM) };
                (HANDLED_AS.load(Ordering::SeqCst) == libc::SIGTERM, INTERRUPTED.load(Ordering::SeqCst))
            };
            // SAFETY: the handlers store numbers.
            unsafe { libc::signal(libc::SIGTERM, note_signal as *const () as usize) };
            interrupt_with(&[libc::SIGTERM], libc::SIGUSR2, || BUSY.load(Ordering::SeqCst));
            let idle = handled();
            BUSY.store(true, Ordering::SeqCst);
            // Without a handler, the signal would end the process.
            let early = handled();
            // SAFETY: the handler stores a value.
            unsafe { libc::signal(libc::SIGUSR2, note_interrupt as *const () as usize) };
            let is_right = [idle, early, handled()] == [(true, false), (true, false), (true, true)];
            // SAFETY: no conditions.
            unsafe { libc::_exit(if is_right { 7 } else { 1 }) }
        }
        let mut status = 0;
        // SAFETY: the id is a child's.
        assert_eq!(unsafe { libc::waitpid(copy, &raw mut status, 0) }, copy);
        assert!(libc::WIFEXITED(status) && libc::WEXITSTATUS(status) == 7, "{status}");
    }

    #[test]
    fn the_main_thread_handles_signals_of_other_threads() {
        // In a copy, whose main thread is the one that goes on.
        // SAFETY: it makes system calls and a thread, which works on Linux, and ends.
        let copy = unsafe { libc::fork() };
        if copy == 0 {
            // SAFETY: the handler stores a number.
            unsafe { libc::signal(libc::SIGUSR1, note as *const () as usize) };
            forward_signals(&[libc::SIGUSR1, libc::SIGUSR2], libc::SIGUSR1, || false);
            // Twice is once.
            forward_signals(&[libc::SIGUSR1], libc::SIGUSR1, || false);
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
