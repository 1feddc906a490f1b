//! The work of a thread that serves requests.

use std::sync::atomic::{AtomicU32, AtomicU64, Ordering, fence};
use std::time::{Duration, Instant};

use super::{Completed, Totals};

/// The clock of a thread: since when it has been serving a request, and for how long it has served
/// some. Only the thread writes to it, and never waits; readers try again if it does.
#[derive(Debug)]
pub struct Clock {
    origin: Instant,
    /// Odd while the thread changes the other values.
    version: AtomicU32,
    /// The begin of the request that is running; 0 without one. All times are in nanoseconds since
    /// a moment before the origin.
    since: AtomicU64,
    /// The begin of the outermost one: a server's filters make requests within requests.
    busy_since: AtomicU64,
    /// The time spent on requests before that one.
    busy: AtomicU64,
    /// Requests whose application has been called, ever.
    requests: AtomicU64,
}

/// The most attempts to read a clock while its thread changes it, which takes a moment.
const MOST_ATTEMPTS: u32 = 1 << 16;

/// The begin of a request, and of the one that it is within, if there is one.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Begun {
    since: u64,
    outer: u64,
}

/// The state of a thread, as seen by another one.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Seen {
    /// The age of the request that is running; 0 without one.
    pub elapsed: Duration,
    /// The age of the outermost one, and what tells it from others; `None` if none is running.
    pub running: Option<(Duration, u64)>,
    /// The time spent on requests ever, with the one that is running.
    pub busy: Duration,
}

impl Clock {
    /// Creates the clock of a thread that has begun after `origin`.
    #[must_use]
    pub const fn new(origin: Instant) -> Self {
        Self {
            origin,
            version: AtomicU32::new(0),
            since: AtomicU64::new(0),
            busy_since: AtomicU64::new(0),
            busy: AtomicU64::new(0),
            requests: AtomicU64::new(0),
        }
    }

    /// Begins a request.
    pub fn begin(&self, now: Instant) -> Begun {
        let begun = Begun { since: self.time(now), outer: self.since.load(Ordering::Relaxed) };
        self.change(|| {
            self.since.store(begun.since, Ordering::Relaxed);
            if begun.is_outermost() {
                self.busy_since.store(begun.since, Ordering::Relaxed);
            }
        });
        begun
    }

    /// Records that the application is called.
    pub fn record_call(&self) {
        self.requests.store(self.requests() + 1, Ordering::Relaxed);
    }

    /// Ends a request. The thread goes on with the one that it is within. Returns the time that it
    /// took.
    pub fn end(&self, begun: Begun, now: Instant) -> Duration {
        let time = self.time(now).saturating_sub(begun.since);
        self.change(|| {
            self.since.store(begun.outer, Ordering::Relaxed);
            if begun.is_outermost() {
                self.busy_since.store(0, Ordering::Relaxed);
                self.busy.store(self.busy.load(Ordering::Relaxed).saturating_add(time), Ordering::Relaxed);
            }
        });
        Duration::from_nanos(time)
    }

    /// Returns the state of the thread.
    #[must_use]
    pub fn read(&self, now: Instant) -> Seen {
        let now = self.time(now);
        let mut attempts = 0;
        loop {
            attempts += 1;
            let version = self.version.load(Ordering::Acquire);
            let (since, busy_since) =
                (self.since.load(Ordering::Relaxed), self.busy_since.load(Ordering::Relaxed));
            let busy = self.busy.load(Ordering::Relaxed);
            fence(Ordering::Acquire);
            let is_whole = version.is_multiple_of(2) && self.version.load(Ordering::Relaxed) == version;
            // In a forked copy of the process, the thread does not go on.
            if is_whole || attempts == MOST_ATTEMPTS {
                // The reader's clock may have been read before the thread's.
                let age = |begin: u64| now.saturating_sub(begin);
                let running = (busy_since != 0).then(|| age(busy_since));
                return Seen {
                    elapsed: Duration::from_nanos(if since == 0 { 0 } else { age(since) }),
                    running: running.map(|age| (Duration::from_nanos(age), busy_since)),
                    busy: Duration::from_nanos(busy.saturating_add(running.unwrap_or(0))),
                };
            }
            std::thread::yield_now();
        }
    }

    /// Returns the requests whose application has been called, with the one that is running.
    #[must_use]
    pub fn requests(&self) -> u64 {
        self.requests.load(Ordering::Relaxed)
    }

    fn change(&self, change: impl FnOnce()) {
        let version = self.version.load(Ordering::Relaxed);
        self.version.store(version.wrapping_add(1), Ordering::Relaxed);
        fence(Ordering::Release);
        change();
        self.version.store(version.wrapping_add(2), Ordering::Release);
    }

    /// Never 0.
    fn time(&self, now: Instant) -> u64 {
        let since = now.saturating_duration_since(self.origin).as_nanos();
        u64::try_from(since).unwrap_or(u64::MAX - 1) + 1
    }
}

impl Begun {
    /// Returns whether it is within no other request.
    #[must_use]
    pub const fn is_outermost(self) -> bool {
        self.outer == 0
    }

    /// Returns what [`Seen::running`] tells it from others by.
    #[must_use]
    pub const fn mark(self) -> u64 {
        self.since
    }
}

/// The requests that a thread has ended in an interval.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Drained {
    /// Sums over the requests whose application was called.
    pub totals: Totals,
    /// Its line in the tables of threads.
    pub usage: ThreadUsage,
}

/// The work of a thread in an interval, as the tables of threads show it.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct ThreadUsage {
    /// Requests that ended.
    pub completed: u64,
    /// Time spent on requests, with the one that is running.
    pub busy: Duration,
    /// CPU time of the requests that ended.
    pub cpu: Duration,
    /// The age of the request that is running; 0 without one.
    pub elapsed: Duration,
    /// The longest time, from begin to end, of a request that ended.
    pub longest: Duration,
}

impl Drained {
    /// Adds a request that has ended, with the time and the CPU time that it took. `completed` is
    /// absent if no application was called.
    pub fn record(&mut self, time: Duration, cpu: Duration, completed: Option<&Completed>) {
        let usage = &mut self.usage;
        usage.completed += 1;
        usage.cpu = usage.cpu.saturating_add(cpu);
        usage.longest = usage.longest.max(time);
        if let Some(completed) = completed {
            self.totals.record(completed);
        }
    }
}

impl ThreadUsage {
    /// Adds what another thread of the same id, or the same thread earlier, did.
    pub(super) fn merge(&mut self, other: &Self) {
        self.completed += other.completed;
        self.busy = self.busy.saturating_add(other.busy);
        self.cpu = self.cpu.saturating_add(other.cpu);
        self.elapsed = self.elapsed.max(other.elapsed);
        self.longest = self.longest.max(other.longest);
    }
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::AtomicBool;

    use super::*;

    const fn millis(milliseconds: u64) -> Duration {
        Duration::from_millis(milliseconds)
    }

    #[test]
    fn a_request_that_is_running_is_seen() {
        let begin = Instant::now();
        let clock = Clock::new(begin);
        assert_eq!(clock.read(begin), Seen::default());
        let begun = clock.begin(begin);
        clock.record_call();
        let seen = clock.read(begin + millis(300));
        assert_eq!((seen.elapsed, seen.busy), (millis(300), millis(300)));
        assert_eq!(seen.running, Some((millis(300), begun.mark())));
        assert_eq!(clock.end(begun, begin + millis(1000)), millis(1000));
        let seen = clock.read(begin + millis(2000));
        assert_eq!((seen.elapsed, seen.running, seen.busy), (Duration::ZERO, None, millis(1000)));
        assert_eq!(clock.requests(), 1);
    }

    #[test]
    fn clocks_read_out_of_order_give_no_negative_times() {
        let begin = Instant::now();
        let clock = Clock::new(begin);
        let begun = clock.begin(begin + millis(10));
        assert_eq!(clock.read(begin).busy, Duration::ZERO);
        assert_eq!(clock.read(begin + millis(30)).busy, millis(20));
        assert_eq!(clock.end(begun, begin + millis(5)), Duration::ZERO);
        assert_eq!(clock.read(begin + millis(40)).busy, Duration::ZERO);
    }

    #[test]
    fn a_request_within_a_request_leaves_the_outer_one() {
        let begin = Instant::now();
        let clock = Clock::new(begin);
        let outer = clock.begin(begin);
        let inner = clock.begin(begin + millis(10));
        assert!(outer.is_outermost() && !inner.is_outermost());
        let seen = clock.read(begin + millis(20));
        assert_eq!((seen.elapsed, seen.running), (millis(10), Some((millis(20), outer.mark()))));
        assert_eq!(clock.end(inner, begin + millis(30)), millis(20));
        assert_eq!(clock.read(begin + millis(40)).elapsed, millis(40));
        assert_eq!(clock.end(outer, begin + millis(50)), millis(50));
        assert_eq!(clock.read(begin + millis(60)).busy, millis(50));
    }

    #[test]
    fn an_unloadable_script_is_a_request_without_an_application() {
        let mut drained = Drained::default();
        drained.record(millis(5), millis(4), None);
        drained.record(millis(3), millis(2), Some(&Completed { status: 200, ..Completed::default() }));
        let usage = &drained.usage;
        assert_eq!((usage.completed, usage.longest, usage.cpu), (2, millis(5), millis(6)));
        assert_eq!(drained.totals.statuses, [0, 1, 0, 0, 0]);
    }

    #[test]
    fn readers_see_no_change_by_half() {
        let begin = Instant::now();
        let (clock, is_over) = (Clock::new(begin), AtomicBool::new(false));
        std::thread::scope(|scope| {
            scope.spawn(|| {
                // Each request takes all of the time since the one before.
                let mut now = begin;
                while !is_over.load(Ordering::Relaxed) {
                    let begun = clock.begin(now);
                    now += millis(1);
                    clock.end(begun, now);
                }
            });
            let late = Duration::from_secs(1 << 30);
            for _ in 0..20_000 {
                // One that is both running and ended would be counted twice.
                let seen = clock.read(begin + late);
                assert!(seen.busy == late || seen.running.is_none(), "{seen:?}");
            }
            is_over.store(true, Ordering::Relaxed);
        });
    }
}
