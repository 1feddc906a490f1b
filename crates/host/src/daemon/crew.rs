//! The number of workers that wait for requests.
//!
//! Python runs one request at a time. Were all workers to wait for requests, each would wake
//! another one, which then waits for the interpreter's lock. So one worker, the *leader*, takes one
//! request after the other, and finds the next one when it is done, mostly without sleeping. The
//! others are parked.
//!
//! That holds as long as requests do nothing but compute. If the leader blocks (a database, a slow
//! client) while a request waits, for long or often, all workers wait for requests again, and for some time. Then
//! another attempt is made; the more have failed, the later. So an application that blocks now and
//! then has the leader to itself hardly ever, and a request behind one that blocks is a rarity.

#![expect(clippy::disallowed_types, reason = "a list is changed under it, without Python")]

use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::thread::{self, Thread};

use os::lock::lock;

/// No worker leads.
const NONE: usize = usize::MAX;

/// The workers that may wait for requests: all, or one at a time.
#[derive(Debug)]
pub(super) struct Crew {
    /// One worker takes all requests.
    is_led: AtomicBool,
    /// The index of that worker, or [`NONE`].
    leader: AtomicUsize,
    /// The others. Both of the above change under this lock.
    parked: Mutex<Parked>,
}

/// The workers that do not wait for requests.
#[derive(Debug, Default)]
struct Parked {
    /// Those that have noticed so far.
    threads: Vec<Thread>,
    /// None is to lead any more: the workers end, and nobody would wake those that are parked.
    is_closed: bool,
}

impl Default for Crew {
    fn default() -> Self {
        Self { is_led: AtomicBool::new(false), leader: AtomicUsize::new(NONE), parked: Mutex::default() }
    }
}

impl Crew {
    /// Waits until a worker may wait for requests.
    pub(super) fn join(&self, worker: usize) {
        while self.is_led.load(Ordering::Relaxed) && self.leader.load(Ordering::Relaxed) != worker {
            {
                let mut parked = lock(&self.parked);
                if !self.is_led.load(Ordering::Relaxed) {
                    return;
                }
                if self.leader.load(Ordering::Relaxed) == NONE {
                    self.leader.store(worker, Ordering::Relaxed);
                    return;
                }
                parked.threads.push(thread::current());
            }
            // A thread that returns early is in the list twice, which does no harm.
            thread::park();
        }
    }

    /// Has one worker take all requests, the first that is done with one, unless the workers are to end.
    pub(super) fn lead(&self) {
        let parked = lock(&self.parked);
        if parked.is_closed {
            return;
        }
        self.leader.store(NONE, Ordering::Relaxed);
        self.is_led.store(true, Ordering::Relaxed);
    }

    /// Has all workers wait for requests.
    pub(super) fn disperse(&self) {
        self.release(false);
    }

    /// Has all workers wait for requests from now on: they are to end.
    pub(super) fn close(&self) {
        self.release(true);
    }

    fn release(&self, is_last: bool) {
        let threads = {
            let mut parked = lock(&self.parked);
            parked.is_closed |= is_last;
            self.is_led.store(false, Ordering::Relaxed);
            std::mem::take(&mut parked.threads)
        };
        threads.iter().for_each(Thread::unpark);
    }

    /// Returns whether one worker takes all requests.
    pub(super) fn is_led(&self) -> bool {
        self.is_led.load(Ordering::Relaxed)
    }

    /// Returns the worker that takes all requests, if there is one.
    pub(super) fn leader(&self) -> Option<usize> {
        let leader = self.leader.load(Ordering::Relaxed);
        (self.is_led() && leader != NONE).then_some(leader)
    }
}

/// The times at which a leader is tried. All are in milliseconds.
#[derive(Debug)]
pub(super) struct Trials {
    /// The time of the next one.
    next: u64,
    /// The time of the last one.
    last: u64,
    /// The pause after the next failure.
    pause: u64,
}

/// The first pause.
const SHORTEST_PAUSE: u64 = 500;
/// The longest pause. A trial that fails delays those requests that wait, by some milliseconds.
const LONGEST_PAUSE: u64 = 60_000;

impl Trials {
    pub(super) const fn new(now: u64) -> Self {
        Self { next: now + SHORTEST_PAUSE, last: 0, pause: SHORTEST_PAUSE }
    }

    /// Returns whether it is time for a trial, which begins then.
    pub(super) fn begin(&mut self, now: u64) -> bool {
        let is_time = now >= self.next;
        if is_time {
            self.last = now;
        }
        is_time
    }

    /// Notes that the trial has failed.
    pub(super) fn fail(&mut self, now: u64) {
        // One that went well for that long was right.
        if now.saturating_sub(self.last) > LONGEST_PAUSE {
            self.pause = SHORTEST_PAUSE;
        }
        self.next = now + self.pause;
        self.pause = (2 * self.pause).min(LONGEST_PAUSE);
    }
}

/// A leader that blocks for so many milliseconds while a request waits is not to lead.
const BLOCKED: u64 = 2;
/// The same for one that computes. Others would then have the interpreter for some of the time.
const COMPUTES: u64 = 20;

/// The share of its time for which a leader is blocked while requests wait, as looks at it now and
/// then find it.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct Looks {
    blocked_share: f32,
}

/// The weight of a look.
const WEIGHT: f32 = 1.0 / 16.0;
/// A leader that is blocked for more of its time than this is not to lead. Short queries of a database are
/// as many as long ones are: while the leader waits for one, another worker could serve a request.
const BLOCKED_SHARE: f32 = 1.0 / 8.0;

impl Looks {
    /// Notes a look, and returns whether the leader keeps requests from being served that others could serve. Its
    /// request has begun at `since`; it is blocked unless it computes, or would if it had a processor.
    pub(super) fn find_in_the_way(&mut self, since: u64, now: u64, is_blocked: bool) -> bool {
        let look = if is_blocked { 1.0 } else { 0.0 };
        self.blocked_share += WEIGHT * (look - self.blocked_share);
        let time = now.saturating_sub(since);
        time > COMPUTES || (time > BLOCKED && is_blocked) || self.blocked_share > BLOCKED_SHARE
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;
    use std::sync::mpsc;

    use super::*;

    #[test]
    fn one_worker_leads_until_all_are_wanted() {
        let crew = Arc::new(Crew::default());
        crew.join(0);
        crew.join(1);
        assert_eq!(crew.leader(), None);
        crew.lead();
        assert_eq!(crew.leader(), None, "none is done with a request");
        crew.join(1);
        crew.join(1);
        assert_eq!(crew.leader(), Some(1));
        let (sender, joined) = mpsc::channel();
        let others: Vec<_> = [0, 2]
            .map(|worker| {
                let (crew, sender) = (Arc::clone(&crew), sender.clone());
                thread::spawn(move || {
                    crew.join(worker);
                    sender.send(worker)
                })
            })
            .into();
        while lock(&crew.parked).threads.len() < 2 {
            thread::yield_now();
        }
        others[0].thread().unpark();
        assert!(joined.try_recv().is_err());
        crew.disperse();
        let mut all = [joined.recv(), joined.recv()].map(Result::unwrap);
        all.sort_unstable();
        assert_eq!((all, crew.leader()), ([0, 2], None));
        for other in others {
            other.join().unwrap().unwrap();
        }
    }

    #[test]
    fn none_leads_once_workers_are_to_end() {
        let crew = Crew::default();
        crew.lead();
        crew.close();
        crew.lead();
        assert!(!crew.is_led());
        (0..2).for_each(|worker| crew.join(worker));
    }

    #[test]
    fn trials_that_fail_become_rare() {
        let (mut trials, mut count) = (Trials::new(0), 0);
        for now in 0..3_600_000 {
            if trials.begin(now) {
                count += 1;
                trials.fail(now + 5);
            }
        }
        assert!((60..75).contains(&count), "{count} in an hour");
        // The application has changed its ways for two minutes.
        let begin = (3_600_000..).find(|&now| trials.begin(now)).unwrap();
        trials.fail(begin + 120_000);
        assert!(trials.begin(begin + 120_000 + SHORTEST_PAUSE));
    }

    #[test]
    fn a_leader_without_a_processor_is_not_in_the_way() {
        let is_in_the_way =
            |time: u64, is_blocked| Looks::default().find_in_the_way(100, 100 + time, is_blocked);
        assert!(!is_in_the_way(2, true));
        assert!(is_in_the_way(3, true));
        assert!(!is_in_the_way(19, false));
        assert!(is_in_the_way(21, false));
    }

    #[test]
    fn a_leader_that_blocks_often_is_in_the_way() {
        let looks = |blocked_of_100: usize| {
            let mut looks = Looks::default();
            (0..10_000).position(|look| looks.find_in_the_way(100, 100, look * 37 % 100 < blocked_of_100))
        };
        assert_eq!(looks(0), None);
        assert_eq!(looks(5), None);
        assert!(looks(25).is_some_and(|count| count < 50));
        assert_eq!(looks(100), Some(2));
    }
}
