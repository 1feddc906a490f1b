//! The replacement and the end of a daemon process.

#[cfg(test)]
mod properties;
#[cfg(test)]
mod tests;

use std::sync::Arc;

use super::memory::{EarlyExcess, Memory};
use super::requests::{Finding, Requests};
use super::{Activity, Decision, Reason, RunningRequest, Trigger};
use crate::wire::launch::Limits;

/// The pause before a process asks again for a successor that it did not get.
const RETRY: u64 = 60_000;

/// With `deadlock-timeout=`, polls are no further apart than this.
const ROUND: u64 = 1_000;

/// The distance between polls beyond which the process, or the machine, did not run; nor did the
/// watchdog.
const PAUSE: u64 = 5_000;

/// All timers of a process, and what it is about to do. They work independently of each other.
#[derive(Debug, Clone)]
pub struct Timers {
    limits: Limits,
    is_run_once: bool,
    born: u64,
    activity: Arc<Activity>,
    requests: Requests,
    memory: Memory,
    state: State,
    polled: u64,
    /// The time since which it could have been given requests.
    ready: u64,
    /// The time since which the watchdog can be expected to have had the locks.
    resumed: u64,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum State {
    /// The process serves. A replacement is not tried before `retry`.
    Serving { retry: u64 },
    /// A successor is being made. When it is there, this process has `grace` for the rest. `retry`
    /// is that of `Serving`.
    Replacing { reason: Reason, grace: u64, retry: u64 },
    /// There is a successor, or none is wanted: the process ends when its requests have, or at
    /// `deadline`.
    Draining { reason: Reason, deadline: u64 },
    /// The process shuts down, and is ended by force at `exit`.
    Stopping { reason: Reason, exit: Option<u64> },
    /// The process is ended by force.
    Exiting { reason: Reason },
}

impl Timers {
    /// Creates the timers of a process that begins to serve. Without threads there are no requests
    /// and no timers.
    #[must_use]
    pub fn new(limits: &Limits, threads: u32, now: u64) -> Self {
        let limits = if threads == 0 { Limits::default() } else { *limits };
        Self {
            limits,
            is_run_once: limits.is_run_once(threads),
            born: now,
            activity: Arc::new(Activity::new(threads, &limits, now)),
            requests: Requests::new(&limits, threads),
            memory: Memory::new(limits.memory_recycle, now),
            state: State::Serving { retry: 0 },
            polled: now,
            ready: now,
            resumed: now,
        }
    }

    /// Notes that the process is ready for requests: its imports are over.
    pub fn begin_serving(&mut self, now: u64) {
        self.ready = now;
        self.memory.begin_serving(now.saturating_sub(self.born), now);
    }

    /// Notes the memory that the process uses, in bytes. Returns that it is too much, if it is too
    /// soon to do something about it; once. Before the next wait, [`Timers::poll`] is to be called.
    pub fn record_memory(&mut self, used: u64, now: u64) -> Option<EarlyExcess> {
        self.memory.record(used);
        if self.may_replace(now) { self.memory.early_excess(now) } else { None }
    }

    /// Decides what is to be done. To be called again, until the decision is `Nothing`, `Stop` or
    /// `Exit`.
    pub fn poll(&mut self, now: u64) -> Decision {
        if now.saturating_sub(self.polled) > PAUSE {
            self.resumed = now;
        }
        self.polled = now;
        if let State::Stopping { reason, exit } = self.state {
            if exit.is_none_or(|exit| now < exit) {
                return Decision::Nothing;
            }
            self.state = State::Exiting { reason };
            return Decision::Exit;
        }
        if self.deadlock().is_some_and(|at| now >= at) {
            return self.stop(Reason::DeadlockTimeout, None, now);
        }
        if self.startup().is_some_and(|at| now >= at) {
            return self.stop(Reason::StartupTimeout, None, now);
        }
        // The activity takes no more requests: it makes no sense to wait for a successor.
        if self.is_run_once && self.has_served_all() {
            return self.stop(Reason::MaximumRequests, None, now);
        }
        match self.state {
            State::Draining { reason, deadline } if now >= deadline || self.live(now) == 0 => {
                return self.stop(reason, None, now);
            }
            State::Exiting { .. } => return Decision::Nothing,
            _ => {}
        }
        match self.requests.check(now, &self.activity, self.may_replace(now)) {
            Finding::Nothing => {}
            Finding::Interrupt(running) => return Decision::Interrupt(running),
            Finding::Escalate(running) => {
                return self.replace(Reason::RequestTimeout, Some(running), now);
            }
        }
        if self.may_replace(now) {
            if self.has_served_all() {
                return self.replace(Reason::MaximumRequests, None, now);
            }
            if self.interval().is_some_and(|at| now >= at) {
                return self.replace(Reason::RestartInterval, None, now);
            }
            if self.memory.due().is_some_and(|at| now >= at) {
                return self.replace(Reason::MemoryRecycle, None, now);
            }
            // Whoever decides on a successor knows that none is wanted. Requests that come meanwhile
            // are served.
            if self.idle().is_some_and(|at| now >= at) && self.live(now) == 0 {
                return self.replace(Reason::InactivityTimeout, None, now);
            }
        }
        let is_serving = matches!(self.state, State::Serving { .. });
        if is_serving && self.inactivity().is_some_and(|at| now >= at) && self.live(now) == 0 {
            return self.stop(Reason::InactivityTimeout, None, now);
        }
        Decision::Nothing
    }

    /// Decides what follows from an event.
    pub fn trigger(&mut self, trigger: Trigger, now: u64) -> Decision {
        match trigger {
            Trigger::Terminate => self.stop(Reason::ShutdownSignal, None, now),
            Trigger::SignalPipeError => self.stop(Reason::SignalPipeError, None, now),
            Trigger::Graceful if self.limits.eviction_timeout != 0 => {
                self.replace(Reason::EvictionSignal, None, now)
            }
            Trigger::Graceful => self.replace(Reason::GracefulSignal, None, now),
            Trigger::CpuTimeLimit => self.replace(Reason::CpuTimeLimit, None, now),
            Trigger::ScriptReload => self.replace(Reason::ScriptReload, None, now),
        }
    }

    /// Begins to drain: a successor has taken over, or (if none was asked for) the process is no
    /// longer wanted, or there is no supervisor any more. `grace` applies to the latter two; a
    /// process that has asked has a time of its own.
    ///
    /// No worker takes a request from now on ([`Activity::begin`]); those that have one are waited
    /// for. The caller has to give back first what waits in the process without a worker.
    pub fn drain(&mut self, grace: u64, now: u64) -> Decision {
        let (reason, grace) = match self.state {
            State::Serving { .. } => (Reason::ShutdownSignal, grace),
            State::Replacing { reason, grace, .. } => (reason, grace),
            State::Draining { reason, deadline } => {
                self.state = State::Draining { reason, deadline: deadline.min(now.saturating_add(grace)) };
                return self.poll(now);
            }
            State::Stopping { .. } | State::Exiting { .. } => return Decision::Nothing,
        };
        self.state = State::Draining { reason, deadline: now.saturating_add(grace) };
        // Before it is looked what runs: see `Activity::begin`.
        self.activity.close();
        self.poll(now)
    }

    /// Goes on serving, since there will be no successor. What led to the wish for one leads to it
    /// again after a minute. Scripts have pauses of their own, and one that never loads must not
    /// put off the rest.
    pub fn continue_serving(&mut self, now: u64) {
        if let State::Replacing { reason, retry, .. } = self.state {
            let is_script = reason == Reason::ScriptReload;
            self.state = State::Serving { retry: if is_script { retry } else { now.saturating_add(RETRY) } };
        }
    }

    /// Returns the record that requests write their activity to.
    #[must_use]
    pub fn activity(&self) -> &Arc<Activity> {
        &self.activity
    }

    /// Returns the time before which [`Timers::poll`] decides on nothing, unless the activity asks
    /// to wake the monitor, or another method is called. Returns `None` if there is no such time.
    #[must_use]
    pub fn next(&self, now: u64) -> Option<u64> {
        let drain = match self.state {
            State::Stopping { exit, .. } => return exit,
            State::Exiting { .. } => return None,
            State::Draining { deadline, .. } => {
                let stale = self.requests.next_stale(now, &self.activity);
                Some(stale.map_or(deadline, |stale| stale.min(deadline)))
            }
            State::Serving { .. } | State::Replacing { .. } => None,
        };
        let deadlock = self.deadlock().map(|at| at.min(now.saturating_add(ROUND)));
        let startup = match self.limits.startup_timeout {
            0 => None,
            _ if self.activity.has_loaded() => None,
            // The first request may come to a script right now.
            timeout => Some(self.startup().unwrap_or(now.saturating_add(timeout))),
        };
        let may_replace = self.may_replace(now);
        let requests = self.requests.next(now, &self.activity, may_replace);
        let serving = match self.state {
            State::Serving { retry } => {
                let wanted = [self.interval(), self.memory.due()].into_iter().flatten().min();
                let wanted = wanted.map(|at| at.max(retry));
                // Before `retry`, requests, the count, the interval and memory lead to nothing.
                let retry = (!may_replace).then_some(retry);
                let idle = self.next_idle(now).map(|at| at.max(retry.unwrap_or(0)));
                [wanted, retry, self.next_inactivity(now), idle].into_iter().flatten().min()
            }
            _ => None,
        };
        [drain, deadlock, startup, requests, serving].into_iter().flatten().min()
    }

    /// Returns whether nobody waits any more for the request of a worker (§14.3).
    #[must_use]
    pub fn is_stale(&self, worker: usize, now: u64) -> bool {
        self.activity.started(worker).is_some_and(|started| self.requests.is_stale(started, now))
    }

    /// Returns the number of requests that run and are not stale.
    #[must_use]
    pub fn live(&self, now: u64) -> usize {
        self.requests.live(now, &self.activity)
    }

    /// Returns the reason why the process ends, or wants a successor: the first one that there was.
    #[must_use]
    pub fn reason(&self) -> Option<Reason> {
        match self.state {
            State::Serving { .. } => None,
            State::Replacing { reason, .. }
            | State::Draining { reason, .. }
            | State::Stopping { reason, .. }
            | State::Exiting { reason } => Some(reason),
        }
    }

    /// Returns whether the process finishes what was begun, and should be given nothing new.
    #[must_use]
    pub fn is_draining(&self) -> bool {
        matches!(self.state, State::Draining { .. })
    }

    /// Returns whether the process shuts down.
    #[must_use]
    pub fn is_stopping(&self) -> bool {
        matches!(self.state, State::Stopping { .. } | State::Exiting { .. })
    }

    fn stop(&mut self, reason: Reason, dump_of: Option<RunningRequest>, now: u64) -> Decision {
        if self.is_stopping() {
            return Decision::Nothing;
        }
        let reason = self.reason().unwrap_or(reason);
        self.activity.close();
        let timeout = self.limits.shutdown_timeout;
        self.state = State::Stopping { reason, exit: (timeout != 0).then(|| now.saturating_add(timeout)) };
        Decision::Stop { reason, dump_of }
    }

    /// Asks for a successor, unless one is on its way.
    fn replace(&mut self, reason: Reason, dump_of: Option<RunningRequest>, now: u64) -> Decision {
        let State::Serving { retry } = self.state else { return Decision::Nothing };
        let grace = match reason {
            Reason::EvictionSignal => self.limits.eviction_timeout,
            _ => self.limits.graceful_timeout,
        };
        // Without a time to finish, there is nothing to wait for; but old code is better than none.
        if grace == 0 && reason != Reason::ScriptReload {
            return self.stop(reason, dump_of, now);
        }
        self.state = State::Replacing { reason, grace, retry };
        Decision::Replace { reason, dump_of }
    }

    /// Returns whether a timer may lead to a replacement.
    fn may_replace(&self, now: u64) -> bool {
        matches!(self.state, State::Serving { retry } if now >= retry)
    }

    fn has_served_all(&self) -> bool {
        let most = self.limits.maximum_requests;
        most != 0 && self.activity.finished() >= most
    }

    fn deadlock(&self) -> Option<u64> {
        let free = self.activity.locks_free_at().max(self.resumed);
        after(free, self.limits.deadlock_timeout)
    }

    fn startup(&self) -> Option<u64> {
        self.activity.waits_since().and_then(|since| after(since, self.limits.startup_timeout))
    }

    fn interval(&self) -> Option<u64> {
        after(self.born, self.limits.restart_interval)
    }

    fn inactivity(&self) -> Option<u64> {
        self.activity.last_activity().and_then(|at| after(at, self.limits.inactivity_timeout))
    }

    /// Returns the time at which a process beyond the least number of its group has had nothing to do
    /// for too long.
    fn idle(&self) -> Option<u64> {
        let since = self.activity.last_activity().unwrap_or(0).max(self.ready);
        after(since, self.limits.scale_down_idle)
    }

    fn next_idle(&self, now: u64) -> Option<u64> {
        let again = now.saturating_add(self.limits.scale_down_idle.min(ROUND));
        self.idle().map(|at| match self.requests.next_stale(now, &self.activity) {
            _ if at > now => at,
            // It is looked at again whether the last request has ended, or nobody waits for it any more.
            stale => stale.map_or(again, |stale| stale.min(again)),
        })
    }

    fn next_inactivity(&self, now: u64) -> Option<u64> {
        let timeout = self.limits.inactivity_timeout;
        // Either there may be activity right now, or it is looked at again whether the last request
        // has ended.
        let again = after(now, timeout.min(ROUND));
        match self.inactivity() {
            None => after(now, timeout),
            Some(at) if at > now => Some(at),
            // Or nobody waits for that one any more.
            Some(_) => [again, self.requests.next_stale(now, &self.activity)].into_iter().flatten().min(),
        }
    }
}

fn after(start: u64, timeout: u64) -> Option<u64> {
    (timeout != 0).then(|| start.saturating_add(timeout))
}
