//! CPU time and memory that threads and processes have used.

use std::mem::MaybeUninit;
use std::time::Duration;

/// CPU time.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Cpu {
    /// Spent in the program's own code.
    pub user: Duration,
    /// Spent in the kernel on its behalf.
    pub system: Duration,
}

impl Cpu {
    /// Returns both together.
    #[must_use]
    pub fn total(self) -> Duration {
        self.user.saturating_add(self.system)
    }

    /// Returns the time that was used after `earlier`.
    #[must_use]
    pub fn since(self, earlier: Self) -> Self {
        Self {
            user: self.user.saturating_sub(earlier.user),
            system: self.system.saturating_sub(earlier.system),
        }
    }
}

/// The resources that this process has used.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Process {
    /// By all its threads, also those that have ended.
    pub cpu: Cpu,
    /// Memory that is resident now, in bytes.
    pub resident: u64,
    /// The most memory that has been resident, in bytes.
    pub peak_resident: u64,
}

/// Returns the CPU time of the calling thread, of both kinds together; `None` where the system does
/// not tell. Exact, where [`thread_cpu`] may lag behind until the thread is next interrupted, which
/// short work may never be.
#[must_use]
pub fn thread_time() -> Option<Duration> {
    let mut time = MaybeUninit::<libc::timespec>::uninit();
    // SAFETY: clock_gettime writes one whole structure when it succeeds, and only then it is read.
    let time = unsafe {
        if libc::clock_gettime(libc::CLOCK_THREAD_CPUTIME_ID, time.as_mut_ptr()) != 0 {
            return None;
        }
        time.assume_init()
    };
    Some(Duration::new(u64::try_from(time.tv_sec).ok()?, u32::try_from(time.tv_nsec).ok()?))
}

/// Returns the CPU time of the calling thread; `None` where the system does not tell.
#[must_use]
pub fn thread_cpu() -> Option<Cpu> {
    usage(libc::RUSAGE_THREAD).map(|usage| cpu(&usage))
}

/// Returns the resources that this process has used; 0 for what the system does not tell.
#[must_use]
pub fn process() -> Process {
    let resident = resident().unwrap_or(0);
    let Some(usage) = usage(libc::RUSAGE_SELF) else {
        return Process { resident, peak_resident: resident, ..Process::default() };
    };
    // In KiB; the kernel updates it at times only, so that it may lag behind.
    let peak = u64::try_from(usage.ru_maxrss).unwrap_or(0).saturating_mul(1024);
    Process { cpu: cpu(&usage), resident, peak_resident: peak.max(resident) }
}

fn usage(of: libc::c_int) -> Option<libc::rusage> {
    let mut usage = MaybeUninit::uninit();
    // SAFETY: getrusage writes one whole structure when it succeeds, and only then it is read.
    unsafe { (libc::getrusage(of, usage.as_mut_ptr()) == 0).then(|| usage.assume_init()) }
}

fn cpu(usage: &libc::rusage) -> Cpu {
    Cpu { user: duration(usage.ru_utime), system: duration(usage.ru_stime) }
}

fn duration(time: libc::timeval) -> Duration {
    let (seconds, micros) = (u64::try_from(time.tv_sec), u64::try_from(time.tv_usec));
    Duration::from_secs(seconds.unwrap_or(0)).saturating_add(Duration::from_micros(micros.unwrap_or(0)))
}

/// Returns the memory that is this process's own, in bytes, whether it is resident or swapped out: that
/// which its end gives back. Mapped files and shared memory do not count; but pages that it shares
/// with the process that it was forked from do (only a walk through all its pages could tell, which
/// holds up the other threads). `None` where the system does not tell.
#[must_use]
pub fn own_memory() -> Option<u64> {
    parse_own_memory(&std::fs::read_to_string("/proc/self/status").ok()?)
}

/// Parses proc(5) `status`. Systems that do not distinguish kinds of memory have only `VmRSS`.
fn parse_own_memory(status: &str) -> Option<u64> {
    let field = |name: &str| {
        let value = status.lines().find_map(|line| line.strip_prefix(name))?;
        let kib: u64 = value.split_ascii_whitespace().next()?.parse().ok()?;
        kib.checked_mul(1024)
    };
    let resident = field("RssAnon:").or_else(|| field("VmRSS:"))?;
    Some(resident.saturating_add(field("VmSwap:").unwrap_or(0)))
}

/// Returns the resident memory, from the second number of proc(5) `statm`, which is in pages.
fn resident() -> Option<u64> {
    let text = std::fs::read_to_string("/proc/self/statm").ok()?;
    let pages: u64 = text.split_ascii_whitespace().nth(1)?.parse().ok()?;
    // SAFETY: sysconf has no precondition.
    let page = u64::try_from(unsafe { libc::sysconf(libc::_SC_PAGESIZE) }).ok()?;
    pages.checked_mul(page)
}

#[cfg(test)]
mod tests {
    use std::hint::black_box;
    use std::time::Instant;

    use super::*;

    /// Uses at least this much CPU time on the calling thread.
    fn burn(time: Duration) -> Cpu {
        let (begin, deadline) = (thread_cpu().unwrap(), Instant::now() + Duration::from_secs(60));
        loop {
            black_box((0..10_000_u64).fold(0, |sum, number| black_box(sum ^ number)));
            let used = thread_cpu().unwrap().since(begin);
            if used.total() >= time {
                return used;
            }
            assert!(Instant::now() < deadline, "the clock stands still: {used:?}");
        }
    }

    #[test]
    fn a_thread_has_its_own_clock_and_the_process_that_of_all() {
        let wanted = Duration::from_millis(50);
        let (own, whole) = (thread_cpu().unwrap(), process().cpu);
        let used = std::thread::spawn(move || burn(wanted)).join().unwrap();
        assert!(used.total() >= wanted);
        assert!(thread_cpu().unwrap().since(own).total() < wanted, "the other thread's time was counted");
        assert!(process().cpu.since(whole).total() >= wanted);
    }

    #[test]
    fn the_time_of_a_thread_is_exact() {
        let begin = thread_time().unwrap();
        black_box((0..100_u64).fold(0, |sum, number| black_box(sum ^ number)));
        let short = thread_time().unwrap();
        assert!(short > begin, "{begin:?}");
        std::thread::sleep(Duration::from_millis(50));
        assert!(thread_time().unwrap() - short < Duration::from_millis(50), "sleep was counted");
        let used = burn(Duration::from_millis(50)).total();
        assert!(thread_time().unwrap() - short + Duration::from_millis(20) >= used);
    }

    #[test]
    fn own_memory_is_anonymous_whether_resident_or_not() {
        let status = "Name:\tpython3\nVmRSS:\t    9000 kB\nRssAnon:\t    5000 kB\nRssFile:\t    4000 kB\nVmSwap:\t     300 kB\n";
        assert_eq!(parse_own_memory(status), Some(5_300 * 1024));
        assert_eq!(parse_own_memory("VmSize:\t 10 kB\nVmRSS:\t 9 kB\n"), Some(9 * 1024));
        assert_eq!([parse_own_memory(""), parse_own_memory("RssAnon:\tmuch\n")], [None, None]);
    }

    #[test]
    fn memory_grows_with_touched_pages() {
        let (before, own) = (process(), own_memory().unwrap());
        let block = black_box(vec![1_u8; 64 << 20]);
        let after = process();
        assert!(after.resident >= before.resident + (48 << 20), "{before:?} {after:?}");
        assert!(after.peak_resident >= after.resident);
        assert!(own_memory().unwrap() >= own + (48 << 20), "{own}");
        drop(block);
        assert!(process().peak_resident >= before.resident + (48 << 20));
    }
}
