//! The state of threads; and a thread of ours in a process that is not ours: it does something every so often, and is out of
//! the way of everything else that happens in the process.

use std::io;
use std::sync::Arc;
use std::sync::atomic::{AtomicI32, AtomicU8, Ordering};
use std::thread::{self, Builder, JoinHandle, Thread};
use std::time::{Duration, Instant};

use nix::sys::signal::{SigSet, SigmaskHow, pthread_sigmask};

/// Returns the system's id of this thread.
#[must_use]
pub fn id() -> i32 {
    nix::unistd::gettid().as_raw()
}

/// Returns the number of the processor that this thread runs on at this moment; 0 if the system does
/// not say.
#[must_use]
#[inline]
pub fn processor() -> usize {
    // SAFETY: it does not concern memory of this process.
    usize::try_from(unsafe { libc::sched_getcpu() }).unwrap_or(0)
}

/// Returns whether the thread `id` of this process runs, or waits for nothing but a processor. One
/// whose state cannot be read (a jail without `/proc`) does not.
#[must_use]
pub fn is_runnable(id: i32) -> bool {
    let status = std::fs::read(format!("/proc/self/task/{id}/stat")).unwrap_or_default();
    // The name before may contain anything.
    let state = status.rsplit(|byte| *byte == b')').next().unwrap_or_default();
    state.starts_with(b" R")
}

/// It waits for its next turn.
const RESTING: u8 = 0;
/// It works.
const WORKING: u8 = 1;
/// It is to end.
const ENDING: u8 = 2;

/// The size of its stack, which is more than it needs.
const STACK: usize = 256 << 10;

/// Starts a thread that gets no signals.
pub(crate) fn without_signals(name: &str, run: impl FnOnce() + Send + 'static) -> io::Result<JoinHandle<()>> {
    // A thread begins with the mask of the one that makes it.
    let mut before = SigSet::empty();
    pthread_sigmask(SigmaskHow::SIG_SETMASK, Some(&SigSet::all()), Some(&mut before))?;
    let started = Builder::new().name(name.to_owned()).stack_size(STACK).spawn(run);
    pthread_sigmask(SigmaskHow::SIG_SETMASK, Some(&before), None)?;
    started
}

/// A thread that repeats something.
#[derive(Debug)]
pub struct PeriodicThread {
    thread: Thread,
    state: Arc<State>,
    /// The process that it is in: its copies have no such thread.
    process: u32,
}

#[derive(Debug)]
struct State {
    phase: AtomicU8,
    /// The system's id of the thread, 0 before it runs.
    id: AtomicI32,
}

impl PeriodicThread {
    /// Calls `work` every `interval`, beginning in one `interval`, on a thread that gets no
    /// signals. `work` should not hold any lock or allocate: [`end`](Self::end) waits for it,
    /// perhaps in the handler of a signal.
    ///
    /// # Errors
    /// The system cannot start it.
    pub fn start(
        name: &str,
        interval: Duration,
        mut work: impl FnMut() + Send + 'static,
    ) -> io::Result<Self> {
        let state = Arc::new(State { phase: AtomicU8::new(RESTING), id: AtomicI32::new(0) });
        let shared = Arc::clone(&state);
        let run = move || {
            shared.id.store(id(), Ordering::Release);
            let mut turn = Instant::now() + interval;
            loop {
                let rest = turn.saturating_duration_since(Instant::now());
                if !rest.is_zero() && shared.phase.load(Ordering::Acquire) != ENDING {
                    // May return early.
                    thread::park_timeout(rest);
                    continue;
                }
                if !shared.step(RESTING, WORKING) {
                    return;
                }
                work();
                if !shared.step(WORKING, RESTING) {
                    return;
                }
                turn = Instant::now() + interval;
            }
        };
        let started = without_signals(name, run)?;
        // Nobody joins it: that takes locks.
        Ok(Self { thread: started.thread().clone(), state, process: std::process::id() })
    }

    /// Ends the thread, and waits for that until `patience` is over. Returns whether it has ended.
    /// `work` is not called again in any case. Does nothing in a forked copy of the process.
    pub fn end(&self, patience: Duration) -> bool {
        if self.process != std::process::id() {
            return true;
        }
        self.state.phase.store(ENDING, Ordering::Release);
        self.thread.unpark();
        let deadline = Instant::now() + patience;
        while self.is_there() {
            if Instant::now() >= deadline {
                return false;
            }
            thread::sleep(Duration::from_millis(1));
        }
        true
    }

    /// Returns whether the system still knows it.
    fn is_there(&self) -> bool {
        let (process, id) = (self.process.cast_signed(), self.state.id.load(Ordering::Acquire));
        // Before it has an id it is about to begin. A failure other than that there is no such
        // thread cannot be. SAFETY: no signal is sent, it is only asked whether that would be
        // possible.
        id == 0 || unsafe { libc::syscall(libc::SYS_tgkill, process, id, 0) } == 0
    }
}

impl State {
    fn step(&self, from: u8, to: u8) -> bool {
        self.phase.compare_exchange(from, to, Ordering::AcqRel, Ordering::Relaxed).is_ok()
    }
}

#[cfg(test)]
mod tests {
    use std::sync::mpsc;

    use super::*;

    const PATIENCE: Duration = Duration::from_secs(20);

    #[test]
    fn a_thread_that_keeps_to_a_processor_is_there() {
        use nix::sched::{CpuSet, sched_getaffinity, sched_setaffinity};
        use nix::unistd::Pid;

        let this = Pid::from_raw(0);
        let allowed = sched_getaffinity(this).unwrap();
        for number in (0..CpuSet::count()).filter(|number| allowed.is_set(*number).unwrap()) {
            let mut one = CpuSet::new();
            one.set(number).unwrap();
            sched_setaffinity(this, &one).unwrap();
            assert_eq!(processor(), number);
        }
    }

    #[test]
    fn a_repeating_thread_runs_until_it_is_ended() {
        let (sender, calls) = mpsc::channel();
        let repeated = PeriodicThread::start("repeated", Duration::from_millis(1), move || {
            let blocked =
                SigSet::thread_get_mask().is_ok_and(|mask| mask.contains(nix::sys::signal::SIGTERM));
            let _ = sender.send(blocked);
        });
        let repeated = repeated.unwrap();
        for _ in 0..3 {
            assert_eq!(calls.recv_timeout(PATIENCE), Ok(true), "it gets signals");
        }
        assert!(!SigSet::thread_get_mask().unwrap().contains(nix::sys::signal::SIGTERM));
        assert!(repeated.end(PATIENCE) && !repeated.is_there());
        // Everything that it has sent has arrived, and nothing more comes.
        assert!(calls.iter().all(|blocked| blocked));
        assert!(repeated.end(PATIENCE), "the second time");
    }

    #[test]
    fn a_resting_thread_can_be_ended() {
        let repeated = PeriodicThread::start("resting", Duration::from_secs(3600), || ()).unwrap();
        assert!(repeated.end(PATIENCE));
    }

    #[test]
    fn ending_a_thread_waits_for_its_work() {
        let (began, begun) = mpsc::channel();
        let (go, gone) = mpsc::channel::<()>();
        let repeated = PeriodicThread::start("working", Duration::from_millis(1), move || {
            let _ = began.send(());
            let _ = gone.recv();
        });
        let repeated = repeated.unwrap();
        assert_eq!(begun.recv_timeout(PATIENCE), Ok(()));
        assert!(!repeated.end(Duration::from_millis(20)), "it still works");
        drop(go);
        assert!(repeated.end(PATIENCE));
        assert!(begun.try_recv().is_err(), "it has worked again");
    }

    #[test]
    fn a_thread_that_waits_is_not_runnable() {
        assert!(is_runnable(id()));
        let (sender, receiver) = std::sync::mpsc::channel();
        let (stop, stopped) = std::sync::mpsc::channel::<()>();
        let thread = thread::Builder::new().name("R) R".to_owned()).spawn(move || {
            sender.send(id()).unwrap();
            stopped.recv()
        });
        let other = receiver.recv().unwrap();
        while is_runnable(other) {
            thread::yield_now();
        }
        drop(stop);
        assert!(thread.unwrap().join().unwrap().is_err());
        assert!(!is_runnable(other), "it has ended");
    }

    #[test]
    fn a_copy_of_the_process_does_not_wait() {
        let repeated = PeriodicThread::start("original", Duration::from_secs(3600), || ()).unwrap();
        // SAFETY: the copy reads memory and ends.
        let copy = unsafe { libc::fork() };
        if copy == 0 {
            let status = if repeated.end(PATIENCE) { 7 } else { 1 };
            // SAFETY: no conditions.
            unsafe { libc::_exit(status) }
        }
        let mut status = 0;
        // SAFETY: the id is a child's.
        assert_eq!(unsafe { libc::waitpid(copy, &raw mut status, 0) }, copy);
        assert!(libc::WIFEXITED(status) && libc::WEXITSTATUS(status) == 7, "{status}");
        assert!(repeated.is_there() && repeated.end(PATIENCE));
    }
}
