//! The work of a thread that serves requests.

use std::time::{Duration, Instant};

use super::{Completed, Phase, Totals};

/// The record of a thread: since it was last drained, and for its life.
#[derive(Debug, Default)]
pub struct Thread {
    running: Option<Running>,
    interval: Drained,
    /// Requests whose application has been called, ever.
    requests: u64,
    /// Time spent on requests ever, up to where it has been counted.
    busy: Duration,
}

/// A request that the thread is serving.
#[derive(Debug, Clone, Copy)]
pub struct Running {
    since: Instant,
    /// Busy time up to here has been counted.
    counted: Instant,
    /// Set once the application is done with it.
    completed: Option<Completed>,
}

/// The work of a thread in an interval.
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

impl Thread {
    /// Begins a request. Returns the one that the thread was serving, which [`end`](Self::end)
    /// brings back: a server's filters make requests within requests.
    #[must_use]
    pub fn begin(&mut self, now: Instant) -> Option<Running> {
        self.count_busy(now);
        self.running.replace(Running { since: now, counted: now, completed: None })
    }

    /// Records that the application is called.
    pub const fn record_call(&mut self) {
        self.requests += 1;
    }

    /// Records that the application is done with the request.
    pub const fn record_completed(&mut self, completed: Completed) {
        if let Some(running) = &mut self.running {
            running.completed = Some(completed);
        }
    }

    /// Records time in which more of the response was written after that.
    pub fn record_write(&mut self, time: Duration) {
        if let Some(completed) = self.running.as_mut().and_then(|running| running.completed.as_mut()) {
            completed.phases.add(Phase::OutputWrite, time);
        }
    }

    /// Ends the request, after so much CPU time. The thread goes on with `outer`.
    pub fn end(&mut self, now: Instant, cpu: Duration, outer: Option<Running>) {
        self.count_busy(now);
        let outer = outer.map(|outer| Running { counted: outer.counted.max(now), ..outer });
        let Some(running) = std::mem::replace(&mut self.running, outer) else { return };
        let Drained { totals, usage } = &mut self.interval;
        usage.completed += 1;
        usage.cpu = usage.cpu.saturating_add(cpu);
        usage.longest = usage.longest.max(now.saturating_duration_since(running.since));
        if let Some(completed) = &running.completed {
            totals.record(completed);
        }
    }

    /// Gives out what was done since the last time.
    pub fn drain(&mut self, now: Instant) -> Drained {
        self.count_busy(now);
        let mut drained = std::mem::take(&mut self.interval);
        if let Some(running) = self.running {
            drained.usage.elapsed = now.saturating_duration_since(running.since);
        }
        drained
    }

    /// Requests whose application has been called, with the one that is running.
    #[must_use]
    pub const fn requests(&self) -> u64 {
        self.requests
    }

    /// Returns the time spent on requests ever, with the one that is running.
    #[must_use]
    pub fn busy(&self, now: Instant) -> Duration {
        let tail =
            self.running.map_or(Duration::ZERO, |running| now.saturating_duration_since(running.counted));
        self.busy.saturating_add(tail)
    }

    /// Counts the time of the request that is running, up to now.
    fn count_busy(&mut self, now: Instant) {
        if let Some(running) = &mut self.running {
            // The reader's clock may have been read before the thread's.
            let more = now.saturating_duration_since(running.counted);
            running.counted = running.counted.max(now);
            self.busy = self.busy.saturating_add(more);
            self.interval.usage.busy = self.interval.usage.busy.saturating_add(more);
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
    use super::super::Phases;
    use super::*;

    const fn millis(milliseconds: u64) -> Duration {
        Duration::from_millis(milliseconds)
    }

    #[test]
    fn a_request_that_is_running_is_busy_time_of_each_interval_it_spans() {
        let begin = Instant::now();
        let mut thread = Thread::default();
        assert!(thread.begin(begin).is_none());
        thread.record_call();

        let first = thread.drain(begin + millis(300)).usage;
        assert_eq!((first.busy, first.elapsed), (millis(300), millis(300)));
        assert_eq!((first.completed, first.longest, first.cpu), (0, Duration::ZERO, Duration::ZERO));
        assert_eq!((thread.requests(), thread.busy(begin + millis(400))), (1, millis(400)));

        thread.record_completed(Completed::default());
        thread.end(begin + millis(1000), millis(20), None);
        let second = thread.drain(begin + millis(2000)).usage;
        let expected = ThreadUsage {
            completed: 1,
            busy: millis(700),
            cpu: millis(20),
            elapsed: Duration::ZERO,
            longest: millis(1000),
        };
        assert_eq!(second, expected);
        assert_eq!(thread.busy(begin + millis(3000)), millis(1000));
        assert_eq!(thread.drain(begin + millis(3000)), Drained::default());
    }

    #[test]
    fn an_unloadable_script_is_a_request_without_an_application() {
        let begin = Instant::now();
        let mut thread = Thread::default();
        assert!(thread.begin(begin).is_none());
        thread.end(begin + millis(5), millis(4), None);
        let drained = thread.drain(begin + millis(5));
        assert_eq!((drained.usage.completed, drained.usage.busy), (1, millis(5)));
        assert_eq!(drained.totals, Totals::default());
        assert_eq!(thread.requests(), 0);
    }

    #[test]
    fn the_last_write_is_time_of_the_same_request() {
        let begin = Instant::now();
        let mut thread = Thread::default();
        for last in [0, 4] {
            assert!(thread.begin(begin).is_none());
            let phases = Phases::default().with(Phase::OutputWrite, millis(1));
            thread.record_completed(Completed { phases, ..Completed::default() });
            thread.record_write(millis(last));
            thread.end(begin + millis(10), Duration::ZERO, None);
        }
        let totals = thread.drain(begin + millis(10)).totals;
        assert_eq!(totals.times(Phase::OutputWrite).range(), Some((millis(1), millis(5))));
        assert_eq!(totals.times(Phase::GilWait).range(), None);
    }

    #[test]
    fn clocks_read_out_of_order_count_nothing_twice() {
        let begin = Instant::now();
        let mut thread = Thread::default();
        assert!(thread.begin(begin + millis(10)).is_none());
        assert_eq!(thread.drain(begin).usage.busy, Duration::ZERO);
        assert_eq!(thread.drain(begin + millis(30)).usage.busy, millis(20));
        thread.end(begin + millis(25), Duration::ZERO, None);
        assert_eq!(thread.drain(begin + millis(40)).usage.busy, Duration::ZERO);
        assert_eq!(thread.busy(begin + millis(40)), millis(20));
    }

    #[test]
    fn a_request_within_a_request_leaves_the_outer_one() {
        let (begin, mut thread) = (Instant::now(), Thread::default());
        assert!(thread.begin(begin).is_none());
        let outer = thread.begin(begin + millis(10));
        thread.end(begin + millis(30), Duration::ZERO, outer);
        assert_eq!(thread.busy(begin + millis(40)), millis(40));
        thread.end(begin + millis(50), Duration::ZERO, None);
        let usage = thread.drain(begin + millis(60)).usage;
        assert_eq!((usage.completed, usage.busy, usage.longest), (2, millis(50), millis(50)));
    }
}
