//! Requests that wait: those that are held back, and those that find all workers busy.

use std::os::fd::AsFd;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};

use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use nix::sys::epoll::{EpollEvent, EpollFlags};
use os::descriptors::is_readable;
use wsgi_core::wire::frame::Rejection;

use super::{EventLoop, LEADER_CHECK_INTERVAL, QUEUE_CHECK_INTERVAL, READY};
use crate::daemon::connection::Connection;
use crate::daemon::crew::Looks;
use crate::daemon::incoming::{discard, reject};
use crate::daemon::state::Daemon;
use crate::daemon::workers::return_connection;
use crate::script_file::modified;

impl EventLoop {
    /// Schedules a check of a request that has come: if no worker takes it, it is still there then.
    pub(super) fn on_request(&mut self) {
        self.next_queue_check = Some(Instant::now() + QUEUE_CHECK_INTERVAL);
        self.next_leader_check = None;
        self.watch_leader();
    }

    /// Schedules a look at the leader, if there is one, as has to be done whenever a request may wait
    /// for it.
    fn watch_leader(&mut self) {
        if self.daemon.crew.is_led() {
            self.next_leader_check.get_or_insert_with(|| Instant::now() + LEADER_CHECK_INTERVAL);
        }
    }

    /// Has all workers take requests if the only one that does is in the way of another request.
    pub(super) fn check_leader(&mut self) {
        let daemon = self.daemon;
        self.next_leader_check = None;
        if !daemon.crew.is_led() {
            return;
        }
        if !is_readable(&daemon.ready.0, Duration::ZERO).unwrap_or(false) {
            // Of those that the children see, none waits any more.
            return if self.waiting > 0 { self.check_queue() } else { self.watch_requests() };
        }
        let now = daemon.now();
        if let Some(leader) = daemon.crew.leader()
            && let Some(request) = daemon.activity.request(leader)
        {
            let is_runnable = daemon.workers[leader].is_runnable();
            // If the request has ended meanwhile, the leader was perhaps seen waiting for the next one.
            let is_blocked = !is_runnable && daemon.activity.request(leader) == Some(request);
            if self.looks.find_in_the_way(request.started, now, is_blocked) {
                self.trials.fail(now);
                return daemon.crew.disperse();
            }
        }
        self.next_leader_check = Some(Instant::now() + LEADER_CHECK_INTERVAL);
    }

    /// Has the next request noticed.
    fn watch_requests(&mut self) {
        (self.next_queue_check, self.next_leader_check) = (None, None);
        let mut event = EpollEvent::new(EpollFlags::EPOLLIN | EpollFlags::EPOLLONESHOT, READY);
        let _ = self.watch.modify(&self.daemon.ready.0, &mut event);
    }

    /// Has one worker take all requests, if that is to be tried.
    fn try_leader(&mut self) {
        let daemon = self.daemon;
        if daemon.workers.len() > 1 && !daemon.crew.is_led() && self.trials.begin(daemon.now()) {
            self.looks = Looks::default();
            daemon.crew.lead();
            self.next_leader_check = Some(Instant::now() + LEADER_CHECK_INTERVAL);
        }
    }

    /// Lets requests run that were held back.
    pub(super) fn release_held(&self, reason: Option<&str>) {
        let daemon = self.daemon;
        if daemon.reload.no_successor(reason, daemon.now(), modified) {
            let _ = daemon.released.write(1);
        }
    }

    /// Gives back one in so many of the requests that wait: another process of the group can take
    /// them. Those that came last go, since they would wait longest.
    pub(super) fn share_queue(&mut self, processes: u32) {
        let daemon = self.daemon;
        let waiting = waiting(daemon);
        let count = waiting.len().div_ceil(processes.max(1) as usize);
        for (_, connection) in waiting.into_iter().rev().take(count) {
            // The child sees that its request has not been read.
            if connection.claim() {
                daemon.connections.remove(&connection);
            }
        }
        self.check_queue();
    }

    /// Rejects requests that have waited for too long, or are too many; closes connections whose
    /// children have gone.
    pub(super) fn check_queue(&mut self) {
        let daemon = self.daemon;
        self.next_queue_check = None;
        let count = i32::try_from(reject_excess(daemon, waiting(daemon))).unwrap_or(i32::MAX);
        daemon.count(count - self.waiting);
        self.waiting = count;
        if count > 0 {
            self.next_queue_check = Some(Instant::now() + QUEUE_CHECK_INTERVAL);
            // Also those that have come since the leader was last looked at.
            self.watch_leader();
        } else {
            self.watch_requests();
        }
        self.try_leader();
        self.take_another();
    }
}

/// Returns the connections with requests that no worker has taken, and the begin of their wait, the
/// oldest first. Closes those whose children have gone.
fn waiting(daemon: &Daemon) -> Vec<(u64, Arc<Connection>)> {
    let mut idle = daemon.connections.all();
    idle.retain(|connection| connection.is_idle());
    let mut polled: Vec<_> =
        idle.iter().map(|connection| PollFd::new(connection.as_fd(), PollFlags::POLLIN)).collect();
    if poll(&mut polled, PollTimeout::ZERO).is_err() {
        polled.clear();
    }
    let states: Vec<_> = polled.iter().map(|polled| polled.revents().unwrap_or(PollFlags::empty())).collect();
    let now = daemon.now();
    let mut waiting = Vec::new();
    for (connection, state) in idle.into_iter().zip(states) {
        if state.intersects(PollFlags::POLLHUP | PollFlags::POLLERR) {
            if connection.claim() {
                daemon.connections.remove(&connection);
            }
        } else if state.contains(PollFlags::POLLIN) {
            let since = &connection.waiting_since;
            if since.load(Ordering::Relaxed) == 0 {
                since.store(now, Ordering::Relaxed);
            }
            waiting.push((since.load(Ordering::Relaxed), connection));
        }
    }
    waiting.sort_by_key(|(since, _)| *since);
    waiting
}

/// Rejects the requests that wait for too long or are too many. Returns how many wait on.
fn reject_excess(daemon: &Daemon, waiting: Vec<(u64, Arc<Connection>)>) -> u64 {
    let (limits, now, mut count) = (daemon.limits, daemon.now(), 0);
    for (since, connection) in waiting {
        let is_late = limits.queue_timeout > 0 && now.saturating_sub(since) > limits.queue_timeout;
        if is_late {
            reject_unread(daemon, &connection, Rejection::Late);
        } else if limits.listen_backlog > 0 && count >= limits.listen_backlog {
            reject_unread(daemon, &connection, Rejection::Busy);
        } else {
            count += 1;
        }
    }
    count
}

/// Rejects a request that no worker has taken.
fn reject_unread(daemon: &Daemon, connection: &Connection, why: Rejection) {
    if connection.claim() {
        let is_whole = discard(connection.stream());
        let is_usable = reject(connection.stream(), why) && is_whole;
        return_connection(daemon, connection, is_usable);
    }
}
