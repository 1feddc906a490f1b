//! CPU time and memory that threads and processes have used.

use std::mem::MaybeUninit;
use std::sync::atomic::{AtomicI64, Ordering};
use std::time::Duration;

/// The time, in microseconds, within which two readings of clocks count as one.
const CLOCK_TOLERANCE: i64 = 20_000;

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

/// The resources of a process, as far as any other may see them.
#[derive(Debug, Clone, Copy, Default, PartialEq)]
pub struct OtherProcess {
    /// The time at which it was started, in seconds since the epoch.
    pub started: f64,
    /// The CPU time that it has used, of both kinds together.
    pub cpu: Duration,
    /// Memory that is resident now, in bytes.
    pub resident: u64,
}

/// Returns the resources of a process; `None` if there is none with this id, or the system hides it
/// from this user.
#[must_use]
pub fn of_process(pid: u32) -> Option<OtherProcess> {
    parse_stat(&std::fs::read(format!("/proc/{pid}/stat")).ok()?)
}

/// Parses proc(5) `stat`.
fn parse_stat(stat: &[u8]) -> Option<OtherProcess> {
    // The name may contain anything.
    let end_of_name = stat.iter().rposition(|byte| *byte == b')')?;
    let rest = std::str::from_utf8(stat.get(end_of_name + 1..)?).ok()?;
    let mut fields = rest.split_ascii_whitespace();
    // The first is field 3; user time is 14, system time 15, the start 22, resident pages 24.
    let (user, system): (u64, u64) = (fields.nth(11)?.parse().ok()?, fields.next()?.parse().ok()?);
    let started: u64 = fields.nth(6)?.parse().ok()?;
    let pages: u64 = fields.nth(1)?.parse().ok()?;
    // SAFETY: sysconf has no precondition.
    let [ticks, page] = [libc::_SC_CLK_TCK, libc::_SC_PAGESIZE].map(|name| unsafe { libc::sysconf(name) });
    let (ticks, page) = (u64::try_from(ticks).ok().filter(|ticks| *ticks > 0)?, u64::try_from(page).ok()?);
    Some(OtherProcess {
        started: boot_time() + started as f64 / ticks as f64,
        cpu: Duration::from_secs_f64((user.saturating_add(system)) as f64 / ticks as f64),
        resident: pages.saturating_mul(page),
    })
}

/// The time at which the system was started, in microseconds since the epoch; 0 before it was measured.
// Two readings of clocks are never of the same moment. Children have what their parent has measured.
static BOOT_TIME: AtomicI64 = AtomicI64::new(0);

/// Returns the time at which the system was started, in seconds since the epoch. It stays the same until
/// the clock is set, so that the starts of processes do, too.
pub fn boot_time() -> f64 {
    let read = |clock| {
        let mut time = libc::timespec { tv_sec: 0, tv_nsec: 0 };
        // SAFETY: room for the answer; every system has these clocks.
        unsafe { libc::clock_gettime(clock, &raw mut time) };
        time.tv_sec * 1_000_000 + time.tv_nsec / 1_000
    };
    let [before, now, after] = [libc::CLOCK_BOOTTIME, libc::CLOCK_REALTIME, libc::CLOCK_BOOTTIME].map(read);
    let (known, measured) = (BOOT_TIME.load(Ordering::Relaxed), now - before);
    // Unless the thread was held up between the readings.
    let is_exact = after - before < CLOCK_TOLERANCE;
    let is_set = known == 0 || is_exact && (measured - known).abs() > 2 * CLOCK_TOLERANCE;
    if is_set {
        BOOT_TIME.store(measured, Ordering::Relaxed);
    }
    (if is_set { measured } else { known }) as f64 / 1e6
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
    fn other_processes_are_seen() {
        let own = of_process(std::process::id()).unwrap();
        let now = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).unwrap().as_secs_f64();
        assert!(own.started <= now && own.started > now - 3600.0 * 24.0 * 30.0, "{own:?}");
        assert!(own.resident > 100_000, "{own:?}");
        assert_eq!(of_process(u32::MAX), None);
        for _ in 0..10_000 {
            assert_eq!(of_process(std::process::id()).unwrap().started.to_bits(), own.started.to_bits());
        }
    }

    #[test]
    fn the_name_of_a_process_may_contain_anything() {
        let stat = b"7 (a) 1 (b\n c) S 1 7 7 0 -1 4194560 9 0 3 0 250 50 0 0 20 0 4 0 1000 9999 12 18446744073709551615";
        let seen = parse_stat(stat).unwrap();
        // SAFETY: sysconf has no precondition.
        let ticks = unsafe { libc::sysconf(libc::_SC_CLK_TCK) } as f64;
        assert_eq!(seen.cpu, Duration::from_secs_f64(300.0 / ticks));
        assert_eq!(seen.resident % 12, 0);
        assert!((seen.started - boot_time() - 1000.0 / ticks).abs() < 1.0);
        assert_eq!(parse_stat(b"7 (a) S 1"), None);
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
