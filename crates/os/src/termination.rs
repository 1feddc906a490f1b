//! A request to end that is first made gently, perhaps after a while.

use std::mem;
use std::ptr;
use std::sync::atomic::{AtomicBool, AtomicI32, AtomicPtr, AtomicU32, AtomicU64, AtomicUsize, Ordering};
use std::time::Duration;

use libc::c_int;

/// The handler that SIGTERM had; 0 is none.
static ORIGINAL: AtomicUsize = AtomicUsize::new(0);
/// True once a SIGTERM has been translated.
static HAS_TRANSLATED: AtomicBool = AtomicBool::new(false);
/// The process whose signals are translated: not its forked copies.
static OWNER: AtomicI32 = AtomicI32::new(0);
/// The word that a translation sets; null is none.
static NOTICE: AtomicPtr<AtomicU32> = AtomicPtr::new(ptr::null_mut());
/// The time between a SIGTERM and its translation, in milliseconds.
static DELAY: AtomicU64 = AtomicU64::new(0);
/// The timer for that, which is an address to the C library; 0 is none.
static TIMER: AtomicUsize = AtomicUsize::new(0);
/// True if there is a timer.
static HAS_TIMER: AtomicBool = AtomicBool::new(false);
/// The time at which the gentle signal is due, in milliseconds of the monotonic clock.
static DUE: AtomicU64 = AtomicU64::new(u64::MAX);

/// The signal that asks gently: Apache's for a graceful stop.
const GENTLE: c_int = libc::SIGWINCH;

/// The translation of the first SIGTERM.
#[derive(Debug, Clone, Copy, Default)]
pub struct GentleTermination {
    /// The time after which it is taken for SIGWINCH.
    pub delay: Duration,
    /// A word that is set to 1 at once.
    pub notice: Option<&'static AtomicU32>,
}

/// Has the first SIGTERM that this process gets taken for SIGWINCH; the next one is itself. Without
/// handlers for both signals, and after the first one, nothing changes, except that a SIGWINCH that
/// was due is sent again: it may have come while there was no handler. May be called again when the
/// process has set its handlers anew.
pub fn terminate_gently_first(how: &GentleTermination) {
    if HAS_TRANSLATED.load(Ordering::Acquire) {
        if OWNER.load(Ordering::Acquire) == own_id() && DUE.load(Ordering::Acquire) <= now() {
            // SAFETY: a signal to this process.
            unsafe { libc::kill(own_id(), GENTLE) };
        }
        return;
    }
    OWNER.store(own_id(), Ordering::Release);
    NOTICE
        .store(how.notice.map_or(ptr::null_mut(), |word| ptr::from_ref(word).cast_mut()), Ordering::Release);
    DELAY.store(u64::try_from(how.delay.as_millis()).unwrap_or(u64::MAX), Ordering::Release);
    if !how.delay.is_zero() && !HAS_TIMER.load(Ordering::Acquire) {
        create_timer();
    }
    // SAFETY: an action of zeros is one to be overwritten; all are valid for the calls. The new
    // handler does what signal-safety(7) allows.
    unsafe {
        let mut gentle: libc::sigaction = mem::zeroed();
        let mut action: libc::sigaction = mem::zeroed();
        if libc::sigaction(GENTLE, ptr::null(), &raw mut gentle) != 0
            || libc::sigaction(libc::SIGTERM, ptr::null(), &raw mut action) != 0
            || [libc::SIG_DFL, libc::SIG_IGN].contains(&gentle.sa_sigaction)
            || [libc::SIG_DFL, libc::SIG_IGN, translate as *const () as usize].contains(&action.sa_sigaction)
            || action.sa_flags & libc::SA_SIGINFO != 0
        {
            return;
        }
        ORIGINAL.store(action.sa_sigaction, Ordering::Release);
        action.sa_sigaction = translate as *const () as usize;
        libc::sigaction(libc::SIGTERM, &raw const action, ptr::null_mut());
    }
}

/// Makes the timer that sends the gentle signal. (A handler cannot make one, but set it.) Without
/// it, there is no delay.
fn create_timer() {
    // SAFETY: an event of zeros is one without attributes; both are valid for the call.
    unsafe {
        let mut event: libc::sigevent = mem::zeroed();
        event.sigev_notify = libc::SIGEV_SIGNAL;
        event.sigev_signo = GENTLE;
        let mut timer: libc::timer_t = ptr::null_mut();
        if libc::timer_create(libc::CLOCK_MONOTONIC, &raw mut event, &raw mut timer) == 0 {
            TIMER.store(timer as usize, Ordering::Release);
            HAS_TIMER.store(true, Ordering::Release);
        }
    }
}

fn own_id() -> c_int {
    // SAFETY: no conditions.
    unsafe { libc::getpid() }
}

/// Returns the monotonic clock's milliseconds.
fn now() -> u64 {
    // SAFETY: a time of zeros is one to be overwritten.
    let time = unsafe {
        let mut time: libc::timespec = mem::zeroed();
        libc::clock_gettime(libc::CLOCK_MONOTONIC, &raw mut time);
        time
    };
    #[allow(clippy::useless_conversion, reason = "the numbers have 32 bits on some systems")]
    let [seconds, nanoseconds] =
        [i64::from(time.tv_sec), i64::from(time.tv_nsec)].map(|number| u64::try_from(number).unwrap_or(0));
    seconds * 1_000 + nanoseconds / 1_000_000
}

extern "C" fn translate(_: c_int) {
    // SAFETY: system calls without conditions, on memory of this function; `errno`, which the
    // interrupted code may be about to read, is put back. What is stored is the handler that was
    // installed before this one, a word that lives as long as the process, and a timer of this
    // process (a forked copy has none).
    unsafe {
        let errno = *libc::__errno_location();
        let is_owner = OWNER.load(Ordering::Acquire) == libc::getpid();
        let mut action: libc::sigaction = mem::zeroed();
        if !HAS_TRANSLATED.swap(true, Ordering::AcqRel)
            && libc::sigaction(libc::SIGTERM, ptr::null(), &raw mut action) == 0
        {
            action.sa_sigaction = ORIGINAL.load(Ordering::Acquire);
            libc::sigaction(libc::SIGTERM, &raw const action, ptr::null_mut());
        }
        if !is_owner {
            // A copy that has not set its own handler yet.
            libc::kill(libc::getpid(), libc::SIGTERM);
        } else {
            let (notice, delay) = (NOTICE.load(Ordering::Acquire), DELAY.load(Ordering::Acquire));
            if !notice.is_null() {
                (*notice).store(1, Ordering::Release);
            }
            DUE.store(now().saturating_add(delay), Ordering::Release);
            if delay == 0 || !set_timer(delay) {
                libc::kill(libc::getpid(), GENTLE);
            }
        }
        *libc::__errno_location() = errno;
    }
}

/// Sets the timer, once. Returns whether that worked.
fn set_timer(milliseconds: u64) -> bool {
    if !HAS_TIMER.load(Ordering::Acquire) {
        return false;
    }
    let timer = TIMER.load(Ordering::Acquire) as libc::timer_t;
    // SAFETY: the timer is that of this process; a specification of zeros is valid, and is changed
    // to a time that is.
    unsafe {
        let mut times: libc::itimerspec = mem::zeroed();
        times.it_value.tv_sec = (milliseconds / 1_000).try_into().unwrap_or(0);
        times.it_value.tv_nsec = (milliseconds % 1_000 * 1_000_000).try_into().unwrap_or(0);
        libc::timer_settime(timer, 0, &raw const times, ptr::null_mut()) == 0
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    static HANDLED: AtomicI32 = AtomicI32::new(0);
    static WORD: AtomicU32 = AtomicU32::new(0);

    extern "C" fn note(signal: c_int) {
        HANDLED.store(signal, Ordering::SeqCst);
    }

    fn handled(signal: c_int) -> c_int {
        HANDLED.store(0, Ordering::SeqCst);
        // SAFETY: no conditions.
        unsafe { libc::raise(signal) };
        HANDLED.load(Ordering::SeqCst)
    }

    fn install(signal: c_int) {
        // SAFETY: the handler stores a number.
        unsafe { libc::signal(signal, note as *const () as usize) };
    }

    /// Runs `work` in a copy, since handlers are those of the whole process. It returns whether all
    /// was right.
    fn in_a_copy(work: impl FnOnce() -> bool) {
        // SAFETY: the copy makes system calls only, and ends.
        let copy = unsafe { libc::fork() };
        if copy == 0 {
            let is_right = work();
            // SAFETY: no conditions.
            unsafe { libc::_exit(if is_right { 7 } else { 1 }) }
        }
        let mut status = 0;
        // SAFETY: the id is a child's.
        assert_eq!(unsafe { libc::waitpid(copy, &raw mut status, 0) }, copy);
        assert!(libc::WIFEXITED(status) && libc::WEXITSTATUS(status) == 7, "{status}");
    }

    #[test]
    fn the_first_sigterm_is_gentle() {
        in_a_copy(|| {
            let how = GentleTermination { delay: Duration::ZERO, notice: Some(&WORD) };
            install(libc::SIGTERM);
            terminate_gently_first(&how);
            let without_the_other = handled(libc::SIGTERM);
            install(GENTLE);
            terminate_gently_first(&how);
            terminate_gently_first(&how);
            let before = WORD.load(Ordering::SeqCst);
            let first = handled(libc::SIGTERM);
            let second = handled(libc::SIGTERM);
            [without_the_other, first, second] == [libc::SIGTERM, GENTLE, libc::SIGTERM]
                && (before, WORD.load(Ordering::SeqCst)) == (0, 1)
        });
    }

    #[test]
    fn a_delayed_sigterm_is_noted_at_once() {
        in_a_copy(|| {
            install(libc::SIGTERM);
            install(GENTLE);
            let delay = Duration::from_millis(300);
            terminate_gently_first(&GentleTermination { delay, notice: Some(&WORD) });
            let begin = now();
            if handled(libc::SIGTERM) != 0 || WORD.load(Ordering::SeqCst) != 1 {
                return false;
            }
            // Not before it is due.
            terminate_gently_first(&GentleTermination::default());
            while HANDLED.load(Ordering::SeqCst) == 0 && now() - begin < 60_000 {
                std::thread::sleep(Duration::from_millis(5));
            }
            let is_on_time = HANDLED.load(Ordering::SeqCst) == GENTLE && now() - begin >= 300;
            // It may have come while there was no handler.
            HANDLED.store(0, Ordering::SeqCst);
            terminate_gently_first(&GentleTermination::default());
            is_on_time && HANDLED.load(Ordering::SeqCst) == GENTLE && handled(libc::SIGTERM) == libc::SIGTERM
        });
    }

    #[test]
    fn a_copy_has_signals_of_its_own() {
        in_a_copy(|| {
            install(libc::SIGTERM);
            install(GENTLE);
            let delay = Duration::from_secs(600);
            terminate_gently_first(&GentleTermination { delay, notice: None });
            in_a_copy(|| handled(libc::SIGTERM) == libc::SIGTERM);
            true
        });
    }
}
