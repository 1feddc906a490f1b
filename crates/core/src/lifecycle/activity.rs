//! Reports of requests to the monitor, without a lock.

use std::sync::atomic::AtomicBool;
use std::sync::atomic::AtomicU64;
use std::sync::atomic::Ordering::{Relaxed, SeqCst};

use crate::wire::launch::Limits;

/// The signs of life of a process. Times are never 0: that one means "never", and becomes 1.
#[derive(Debug)]
pub struct Activity {
    workers: Box<[Worker]>,
    /// The time at which something was last done for a request that counts.
    activity: AtomicU64,
    /// The time at which all interpreters last gave their locks to the watchdog.
    lock: AtomicU64,
    /// The time at which a script was first wanted.
    wanted: AtomicU64,
    /// True if a script has been loaded.
    is_loaded: AtomicBool,
    finished: Finished,
    /// True while the monitor may look for time limits of single requests.
    has_limits: AtomicBool,
    /// True if requests are taken no more, and the monitor wants to see every one end that was.
    is_closed: AtomicBool,
}

/// On a cache line of its own: each is written by one thread, all the time.
#[derive(Debug, Default)]
#[repr(align(64))]
struct Worker {
    started: AtomicU64,
    /// The number of requests that it has begun.
    begun: AtomicU64,
    /// The time at which its request has to have ended; 0: it has no limit of its own.
    due: AtomicU64,
}

/// A request of a worker: equal to what was seen before only if it has run ever since.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Begun {
    /// The time of its beginning, in milliseconds of the process.
    pub started: u64,
    number: u64,
}

#[derive(Debug)]
#[repr(align(64))]
struct Finished {
    count: AtomicU64,
    /// The number after which the process is replaced; 0: requests are not counted.
    most: u64,
    /// True if there is one worker for one request: with it, the process is closed.
    is_run_once: bool,
}

impl Activity {
    pub(super) fn new(workers: u32, limits: &Limits, now: u64) -> Self {
        let finished = Finished {
            count: AtomicU64::new(0),
            most: limits.maximum_requests,
            is_run_once: limits.is_run_once(workers),
        };
        Self {
            workers: (0..workers).map(|_| Worker::default()).collect(),
            activity: AtomicU64::new(0),
            lock: AtomicU64::new(now),
            wanted: AtomicU64::new(0),
            is_loaded: AtomicBool::new(false),
            finished,
            has_limits: AtomicBool::new(false),
            is_closed: AtomicBool::new(false),
        }
    }

    /// Marks a worker as busy, before it takes a request. Returns whether it may take one: a
    /// process that drains or ends takes no more. [`end`](Self::end) or
    /// [`withdraw`](Self::withdraw) follows in any case.
    ///
    /// # Panics
    /// There is no such worker.
    #[must_use]
    pub fn begin(&self, worker: usize, now: u64) -> bool {
        // Of two stores that are each followed by a look at what the other one has stored, all of
        // them SeqCst, at least one is seen. The counterparts are those of the monitor, which
        // closes and then looks for requests (`Timers::drain`): a request is either counted there,
        // or not taken here. Were the worker to say so only once it has a request, a drain in
        // between would end a process that seems to have none.
        let Worker { started, begun, .. } = &self.workers[worker];
        begun.store(begun.load(Relaxed).wrapping_add(1), Relaxed);
        started.store(now.max(1), SeqCst);
        self.is_open()
    }

    /// Marks a worker as idle whose request did not run, or that got none: it was rejected, or has
    /// to wait and begins anew. That does not count. Returns whether to wake the monitor.
    ///
    /// # Panics
    /// There is no such worker.
    #[must_use]
    pub fn withdraw(&self, worker: usize) -> bool {
        // As in `end`.
        self.workers[worker].started.store(0, SeqCst);
        !self.is_open()
    }

    /// Marks a worker as idle whose request ran, the response included. Returns whether to wake the
    /// monitor.
    ///
    /// # Panics
    /// There is no such worker.
    #[must_use]
    pub fn end(&self, worker: usize) -> bool {
        // The order of this store and the look at `is_closed`, and of their counterparts in the
        // monitor, must be the same for both: else the last request of a drain could end unseen.
        self.workers[worker].started.store(0, SeqCst);
        let is_last = self.finish();
        is_last || !self.is_open()
    }

    /// Gives the request of a worker a time at which it has to have ended. Returns whether to wake
    /// the monitor. [`unlimit`](Self::unlimit) follows in any case.
    ///
    /// # Panics
    /// There is no such worker.
    #[must_use]
    pub fn limit(&self, worker: usize, due: u64) -> bool {
        // As in `begin`: the counterpart is `next_due`.
        self.workers[worker].due.store(due.max(1), SeqCst);
        !self.has_limits.swap(true, SeqCst)
    }

    /// Takes the limit of a worker's request back.
    ///
    /// # Panics
    /// There is no such worker.
    pub fn unlimit(&self, worker: usize) {
        self.workers[worker].due.store(0, Relaxed);
    }

    /// Returns whether requests are taken.
    #[must_use]
    pub fn is_open(&self) -> bool {
        !self.is_closed.load(SeqCst)
    }

    /// Records activity of a request that counts: the application was called, read or wrote.
    pub fn touch(&self, now: u64) {
        // Most calls are within the millisecond of another thread's: do not take the cache line for
        // nothing.
        let now = now.max(1);
        if self.activity.load(Relaxed) != now {
            self.activity.store(now, Relaxed);
        }
    }

    /// Records that the watchdog has had, and given back, the lock of every interpreter.
    pub fn record_free_locks(&self, now: u64) {
        self.lock.store(now.max(1), Relaxed);
    }

    /// Records that a request has come to its script. Returns whether it is the first to do so, and
    /// no script is loaded.
    pub fn record_script_wanted(&self, now: u64) -> bool {
        if self.is_loaded.load(Relaxed) || self.wanted.load(Relaxed) != 0 {
            return false;
        }
        self.wanted.compare_exchange(0, now.max(1), Relaxed, Relaxed).is_ok()
    }

    /// Records that a script was loaded without failing. Returns whether it is the first.
    pub fn record_script_loaded(&self) -> bool {
        !self.is_loaded.load(Relaxed) && !self.is_loaded.swap(true, Relaxed)
    }

    /// Returns the time at which the request of a worker began; `None` while it has none.
    #[must_use]
    pub fn started(&self, worker: usize) -> Option<u64> {
        self.workers.get(worker).map(|worker| worker.started.load(SeqCst)).filter(|&started| started != 0)
    }

    /// Returns the request of a worker; `None` while it has none.
    #[must_use]
    pub fn request(&self, worker: usize) -> Option<Begun> {
        let started = self.started(worker)?;
        Some(Begun { started, number: self.workers[worker].begun.load(SeqCst) })
    }

    /// Returns the number of requests that have run; counted only with `maximum-requests=`.
    #[must_use]
    pub fn finished(&self) -> u64 {
        self.finished.count.load(Relaxed)
    }

    /// Returns the beginning of each worker's request; 0 while it has none.
    pub(super) fn all(&self) -> impl Iterator<Item = u64> {
        self.workers.iter().map(|worker| worker.started.load(SeqCst))
    }

    /// Returns the time at which the request of each worker is due; `None` for those that have no
    /// limit of their own.
    pub(super) fn dues(&self) -> impl Iterator<Item = Option<u64>> {
        let due = |worker: &Worker| Some(worker.due.load(SeqCst)).filter(|due| *due != 0);
        self.workers.iter().map(due)
    }

    /// Returns whether there may be requests with limits of their own.
    pub(super) fn has_limits(&self) -> bool {
        self.has_limits.load(SeqCst)
    }

    /// Returns whether there has been a request with a limit of its own since this last returned
    /// `false`; if not, the next one wakes the monitor.
    pub(super) fn watches_limits(&self) -> bool {
        if !self.has_limits.load(Relaxed) {
            return false;
        }
        self.has_limits.store(false, SeqCst);
        let has_limits = self.dues().any(|due| due.is_some());
        if has_limits {
            self.has_limits.store(true, SeqCst);
        }
        has_limits
    }

    /// Makes workers take no more requests.
    pub(super) fn close(&self) {
        self.is_closed.store(true, SeqCst);
    }

    pub(super) fn last_activity(&self) -> Option<u64> {
        Some(self.activity.load(Relaxed)).filter(|&at| at != 0)
    }

    pub(super) fn locks_free_at(&self) -> u64 {
        self.lock.load(Relaxed)
    }

    /// Returns the time since which a script has been waited for.
    pub(super) fn waits_since(&self) -> Option<u64> {
        Some(self.wanted.load(Relaxed)).filter(|&at| at != 0 && !self.has_loaded())
    }

    pub(super) fn has_loaded(&self) -> bool {
        self.is_loaded.load(Relaxed)
    }

    /// Counts a request. Returns whether it was the last that the process may serve.
    fn finish(&self) -> bool {
        let Finished { count, most, is_run_once } = &self.finished;
        let is_last = *most != 0 && count.fetch_add(1, Relaxed).saturating_add(1) >= *most;
        if is_last && *is_run_once {
            // The monitor would come too late to keep the worker from the next request.
            self.close();
        }
        is_last
    }
}

#[cfg(test)]
mod tests {
    use std::thread;

    use super::*;

    fn with(workers: u32, maximum_requests: u64) -> Activity {
        Activity::new(workers, &Limits { maximum_requests, ..Limits::default() }, 5)
    }

    #[test]
    fn workers_have_one_request_at_a_time() {
        let activity = with(2, 0);
        assert_eq!((activity.started(0), activity.started(7)), (None, None));
        assert!(activity.begin(1, 10));
        assert_eq!((activity.started(0), activity.started(1)), (None, Some(10)));
        assert_eq!(activity.all().collect::<Vec<_>>(), [0, 10]);
        assert!(!activity.end(1));
        assert_eq!(activity.started(1), None);
        assert!(activity.begin(0, 0));
        assert_eq!(activity.started(0), Some(1));
    }

    #[test]
    fn requests_within_a_millisecond_are_told_apart() {
        let activity = with(1, 0);
        assert_eq!(activity.request(0), None);
        assert!(activity.begin(0, 10));
        let first = activity.request(0);
        assert_eq!((first, first.map(|request| request.started)), (activity.request(0), Some(10)));
        assert!(!activity.end(0));
        assert_eq!(activity.request(0), None);
        assert!(activity.begin(0, 10));
        assert_ne!(activity.request(0), first);
    }

    #[test]
    fn the_monitor_is_woken_when_it_must_know() {
        let activity = with(1, 3);
        assert_eq!(
            [activity.end(0), activity.end(0), activity.end(0), activity.end(0)],
            [false, false, true, true]
        );
        assert_eq!(activity.finished(), 4);
        let unlimited = with(1, 0);
        assert!(!unlimited.end(0));
        unlimited.close();
        assert!(unlimited.end(0) && unlimited.withdraw(0));
    }

    #[test]
    fn only_requests_are_counted() {
        let activity = with(2, 1);
        assert!(activity.begin(0, 10));
        assert!(!activity.withdraw(0));
        assert_eq!((activity.started(0), activity.finished()), (None, 0));
        activity.close();
        assert!(!activity.begin(0, 11), "it may not take one");
        assert!(activity.withdraw(0), "but was seen, and somebody may wait for it");
    }

    #[test]
    fn the_only_worker_takes_the_only_request() {
        for (workers, most, is_open) in [(1, 1, false), (2, 1, true), (1, 2, true)] {
            let activity = with(workers, most);
            assert!(activity.begin(0, 10));
            assert!(!activity.withdraw(0) && activity.begin(0, 11), "that was none");
            assert_eq!(activity.end(0), most == 1);
            assert_eq!(activity.is_open(), is_open, "{workers} threads, {most} requests");
        }
    }

    #[test]
    fn many_threads_count_exactly() {
        const THREADS: u32 = 4;
        const EACH: u64 = 20_000;
        let activity = with(THREADS, u64::from(THREADS) * EACH);
        let wakes: usize = thread::scope(|scope| {
            let work = |worker| {
                let serve = |number| {
                    assert!(activity.begin(worker, 1 + number));
                    let refused = activity.withdraw(worker);
                    assert!(!refused && activity.begin(worker, 1 + number));
                    activity.end(worker)
                };
                (0..EACH).filter(|number| serve(*number)).count()
            };
            let workers: Vec<_> =
                (0..THREADS as usize).map(|worker| scope.spawn(move || work(worker))).collect();
            workers.into_iter().map(|worker| worker.join().unwrap_or_default()).sum()
        });
        assert_eq!(
            (activity.finished(), wakes),
            (u64::from(THREADS) * EACH, 1),
            "the last one, and no other"
        );
    }

    #[test]
    fn a_request_is_seen_or_not_taken() {
        let activities: Vec<_> = (0..100_000).map(|_| with(1, 0)).collect();
        let arrived = AtomicU64::new(0);
        // As closely together as two threads can be: who sleeps for the other comes too late.
        let meet = |round: usize| {
            arrived.fetch_add(1, SeqCst);
            while arrived.load(SeqCst) < 2 * (round as u64 + 1) {
                thread::yield_now();
            }
        };
        let (taken, seen) = thread::scope(|scope| {
            let worker = scope.spawn(|| {
                let takes = |(round, activity): (usize, &Activity)| {
                    meet(round);
                    activity.begin(0, 10)
                };
                activities.iter().enumerate().map(takes).collect::<Vec<_>>()
            });
            let sees = |(round, activity): (usize, &Activity)| {
                meet(round);
                activity.close();
                activity.started(0).is_some()
            };
            let seen: Vec<_> = activities.iter().enumerate().map(sees).collect();
            (worker.join().unwrap_or_default(), seen)
        });
        assert_eq!(taken.len(), activities.len());
        let lost = taken.iter().zip(seen).filter(|(is_taken, is_seen)| **is_taken && !is_seen).count();
        assert_eq!(lost, 0);
    }

    #[test]
    fn the_first_script_counts() {
        let activity = with(1, 0);
        assert_eq!([activity.record_script_wanted(7), activity.record_script_wanted(8)], [true, false]);
        assert_eq!(activity.waits_since(), Some(7));
        assert_eq!([activity.record_script_loaded(), activity.record_script_loaded()], [true, false]);
        assert_eq!(activity.waits_since(), None);
        assert!(!activity.record_script_wanted(9));
    }

    #[test]
    fn activity_is_remembered() {
        let activity = with(1, 0);
        assert_eq!(activity.last_activity(), None);
        activity.touch(9);
        activity.touch(9);
        assert_eq!(activity.last_activity(), Some(9));
    }
}
