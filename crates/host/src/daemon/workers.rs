//! Workers: threads that take requests from connections and run them.

use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::task::Poll;
use std::time::Duration;

use bridge::{Bytes, Cgi, Exchange, ExchangeServer, Fields, Kind, Level, Request, RequestFacts, Times, flag};
use nix::errno::Errno;
use nix::sys::epoll::{EpollEvent, EpollFlags, EpollTimeout};
use os::descriptors::is_readable;
use wsgi_core::codes::{REQUEST_NOT_READ, SCRIPT_OUTSIDE_CHROOT, WAIT_FAILED};
use wsgi_core::wire::Reader;
use wsgi_core::wire::frame::Rejection;

use super::connection::Connection;
use super::descriptors::end_if_copy;
use super::exchange::{ArrivedBody, BodyWait, FrameExchange, Observe};
use super::incoming::{Arrived, is_alone, is_closed, payload, receive, reject};
use super::reload::HeldRequest;
use super::state::{Daemon, END, Message, Phase, RELEASED};
use super::worker::{self, Worker};
use super::{log, question};
use crate::dispatch;
use crate::outcome::Outcome;
use crate::request::{self, Runner as _};

/// Buffers of more than this are not kept between requests.
const LARGEST_KEPT: usize = 64 << 10;

/// The events of a connection that workers wait for.
pub(super) const READABLE: EpollFlags =
    EpollFlags::EPOLLIN.union(EpollFlags::EPOLLRDHUP).union(EpollFlags::EPOLLONESHOT);

/// The observer of a worker's request.
pub(super) struct Observer {
    pub(super) daemon: &'static Daemon,
    pub(super) worker: &'static Worker,
}

impl Observer {
    /// Records activity, unless the request does not count.
    fn touch(&self) {
        if !self.worker.is_ignored.load(Ordering::Relaxed) {
            self.daemon.activity.touch(self.daemon.now());
        }
    }
}

impl Observe for Observer {
    fn on_transfer(&self) {
        let limits = &self.daemon.limits;
        if limits.inactivity_timeout > 0 || limits.scale_down_idle > 0 {
            self.touch();
        }
    }

    fn on_end(&self) {
        // The application may have been silent for long.
        if self.daemon.limits.scale_down_idle > 0 {
            self.touch();
        }
        // A child that has read the end may choose a process for its next request at once.
        if !self.worker.is_uncounted.swap(true, Ordering::Relaxed) {
            self.daemon.count(-1);
        }
    }

    fn times(&self) -> Times {
        self.worker.times()
    }
}

/// Uncounts the request of a worker.
fn count_off(daemon: &Daemon, worker: &Worker) {
    daemon.end_request(worker.is_uncounted.swap(false, Ordering::Relaxed));
}

/// The buffers that a worker keeps between requests.
#[derive(Default)]
pub(super) struct Buffers {
    pub(super) message: Vec<u8>,
    pub(super) out: Vec<u8>,
}

/// Runs a worker until the process ends.
pub(super) fn work(daemon: &'static Daemon, worker: &'static Worker) {
    worker::set_current(worker);
    let mut buffers = Buffers::default();
    let mut events = [EpollEvent::empty()];
    loop {
        daemon.crew.join(worker.index);
        match daemon.ready.wait(&mut events, EpollTimeout::NONE) {
            Ok(1) => {}
            Ok(_) | Err(Errno::EINTR) => continue,
            Err(error) => {
                log::line(
                    Level::Critical,
                    &format!(
                        "{WAIT_FAILED}: Process group '{}': waiting for requests failed: {error}.",
                        daemon.name
                    ),
                );
                daemon.notify(Message::WorkersFailed);
                return;
            }
        }
        let [event] = &events;
        match event.data() {
            END => return,
            RELEASED => run_released(daemon, worker, &mut buffers),
            token => {
                let is_gone = event.events().intersects(EpollFlags::EPOLLRDHUP | EpollFlags::EPOLLHUP);
                // The attempt precedes the claim: a drain in between has to see that there may be a
                // request.
                if let Some(attempt) = Attempt::begin(daemon, worker)
                    && let Some(connection) = daemon.connections.find(token)
                    && connection.claim()
                {
                    serve_connection(attempt, &mut buffers, &connection, is_gone);
                    if daemon.is_run_once {
                        daemon.notify(Message::WorkerFree);
                    }
                }
            }
        }
    }
}

/// A worker's attempt to take a request, which the timers see: a drain waits for its end. It counts
/// towards `maximum-requests` only if a request ran, which only [`Attempt::ran`] reports.
struct Attempt {
    daemon: &'static Daemon,
    worker: &'static Worker,
}

impl Attempt {
    /// Begins an attempt. Returns `None` if the process takes no more requests; the event thread
    /// then rejects those that wait.
    fn begin(daemon: &'static Daemon, worker: &'static Worker) -> Option<Self> {
        let attempt = Self { daemon, worker };
        daemon.activity.begin(worker.index, daemon.now()).then_some(attempt)
    }

    /// Ends the attempt after a request that ran.
    fn ran(self) {
        if self.daemon.activity.end(self.worker.index) {
            self.daemon.notify(Message::TimersDue);
        }
        std::mem::forget(self);
    }
}

impl Drop for Attempt {
    fn drop(&mut self) {
        if self.daemon.activity.withdraw(self.worker.index) {
            self.daemon.notify(Message::TimersDue);
        }
    }
}

/// Serves the requests that arrive on a connection that the worker has claimed.
fn serve_connection(
    mut attempt: Attempt,
    buffers: &mut Buffers,
    connection: &Arc<Connection>,
    is_gone: bool,
) {
    let (daemon, worker) = (attempt.daemon, attempt.worker);
    // A client that has gone needs no response.
    if is_gone {
        return daemon.connections.remove(connection);
    }
    let mut arrived = receive(connection.stream(), &mut buffers.message);
    loop {
        match arrived {
            Arrived::Nothing => return return_connection(daemon, connection, true),
            Arrived::End => return daemon.connections.remove(connection),
            Arrived::Request => {}
        }
        let is_only = daemon.begin_request();
        daemon.solitude.record(is_only && is_alone(&buffers.message));
        let after = serve(attempt, buffers, connection, true);
        count_off(daemon, worker);
        buffers.trim();
        end_if_copy();
        match after {
            AfterRequest::Held => return,
            AfterRequest::Unusable => return daemon.connections.remove(connection),
            AfterRequest::Usable => {}
        }
        let Some(next) = Attempt::begin(daemon, worker) else {
            return return_connection(daemon, connection, false);
        };
        attempt = next;
        arrived = poll_for_next(daemon, buffers, connection);
    }
}

/// The longest spin for a request: the time that the child and a client nearby need to send the
/// next one.
const AWAKE: Duration = Duration::from_micros(70);

/// Spins for the next request on a connection, if requests come one at a time: otherwise each would
/// have to wake a worker.
fn poll_for_next(daemon: &Daemon, buffers: &mut Buffers, connection: &Connection) -> Arrived {
    if !daemon.solitude.lasts() || daemon.phase() != Phase::Serving {
        return Arrived::Nothing;
    }
    // One worker at a time.
    let Ok(mut spin) = daemon.spin.try_lock() else { return Arrived::Nothing };
    let found = spin.poll(AWAKE, || {
        // A request on another connection comes first: this one might go on for ever.
        let is_over = daemon.running.load(Ordering::SeqCst) > 0
            || daemon.phase() != Phase::Serving
            || is_readable(&daemon.ready.0, Duration::ZERO).unwrap_or(true);
        if is_over {
            daemon.solitude.record(false);
            return Poll::Ready(None);
        }
        match receive(connection.stream(), &mut buffers.message) {
            Arrived::Nothing => Poll::Pending,
            arrived => Poll::Ready(Some(arrived)),
        }
    });
    found.unwrap_or(Arrived::Nothing)
}

/// Runs a request that was held back.
fn run_released(daemon: &'static Daemon, worker: &'static Worker, buffers: &mut Buffers) {
    let Some(attempt) = Attempt::begin(daemon, worker) else { return };
    // The epoll reports it to one worker, which passes further requests on.
    let _ = daemon.released.read();
    let (held, is_more) = daemon.reload.take_released();
    if is_more {
        let _ = daemon.released.write(1);
    }
    let _ = daemon.ready.modify(&daemon.released, &mut released());
    if let Some(HeldRequest { connection, message }) = held {
        buffers.message = message;
        if is_closed(connection.stream()) {
            // The client has gone meanwhile.
            daemon.connections.remove(&connection);
        } else {
            match serve(attempt, buffers, &connection, false) {
                AfterRequest::Held => {}
                after => return_connection(daemon, &connection, after == AfterRequest::Usable),
            }
        }
        // The request has been counted since it was first taken.
        count_off(daemon, worker);
        buffers.trim();
        end_if_copy();
    }
}

/// Returns the event that reports held requests that may run.
pub(super) fn released() -> EpollEvent {
    EpollEvent::new(EpollFlags::EPOLLIN | EpollFlags::EPOLLONESHOT, RELEASED)
}

/// The state of a claimed connection after a request.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum AfterRequest {
    Usable,
    Unusable,
    /// Its request is held back, and keeps it.
    Held,
}

impl AfterRequest {
    fn from_usable(is_usable: bool) -> Self {
        if is_usable { Self::Usable } else { Self::Unusable }
    }
}

/// Tells the child that its request does not run. It chooses another process at once.
fn reject_request(observer: &Observer, connection: &Connection, why: Rejection) -> AfterRequest {
    observer.on_end();
    AfterRequest::from_usable(reject(connection.stream(), why))
}

/// Serves the request in `memory`.
fn serve(
    attempt: Attempt,
    buffers: &mut Buffers,
    connection: &Arc<Connection>,
    mut may_reload: bool,
) -> AfterRequest {
    let (daemon, worker) = (attempt.daemon, attempt.worker);
    loop {
        let observer = Observer { daemon, worker };
        let completion = match Kind::of_message(payload(&buffers.message)) {
            Some(Kind::Question) => question::run(&observer, buffers, connection, may_reload),
            Some(Kind::Wsgi) | None => run(&observer, buffers, connection, may_reload),
        };
        match completion {
            Completion::Ran(is_usable) => {
                attempt.ran();
                return AfterRequest::from_usable(is_usable);
            }
            Completion::NotRun(is_usable) => return AfterRequest::from_usable(is_usable),
            Completion::Rejected(why) => return reject_request(&observer, connection, why),
            Completion::Held => {
                // The event thread decides about it; until then it counts as running.
                daemon.begin_request();
                let message = std::mem::take(&mut buffers.message);
                let held = HeldRequest { connection: Arc::clone(connection), message };
                let Some(back) = daemon.reload.hold(held) else { return AfterRequest::Held };
                daemon.end_request(false);
                if daemon.phase() != Phase::Serving {
                    return reject_request(&observer, connection, Rejection::Moved);
                }
                buffers.message = back.message;
                may_reload = false;
            }
        }
    }
}

/// The end of an attempt with a request.
pub(super) enum Completion {
    /// It ran. True if the connection can be used again.
    Ran(bool),
    /// It could not run, and has its response. True if the connection can be used again.
    NotRun(bool),
    /// It did not run, and the child is told why.
    Rejected(Rejection),
    /// Its script has changed.
    Held,
}

/// Runs the request in `memory`.
fn run(observer: &Observer, buffers: &mut Buffers, connection: &Connection, may_reload: bool) -> Completion {
    let Observer { daemon, worker } = *observer;
    let out = std::mem::take(&mut buffers.out);
    let mut fields = Fields::default();
    let mut reader = Reader::new(payload(&buffers.message));
    let decoded = Request::decode(&mut reader, &mut fields)
        .and_then(|request| Ok((request, ArrivedBody::decode(&mut reader)?)))
        .and_then(|decoded| reader.end().map(|()| decoded));
    let Ok((mut request, body)) = decoded else {
        log_unreadable(daemon);
        return Completion::NotRun(false);
    };
    if !may_reload {
        // The script is taken as it has been loaded.
        request.facts.flags &= !flag::SCRIPT_RELOADING;
    }
    if let Some(rejection) = prepare(observer, &mut request.facts, may_reload) {
        buffers.out = out;
        return Completion::Rejected(rejection);
    }
    let answer = FrameExchange::new(connection.stream(), observer, body, out);
    #[cfg(debug_assertions)]
    let answer = answer.with_panics(request.facts.has_flag(flag::DEBUG_PANIC_EXCHANGE));
    let answer = ExchangeServer::new(answer, BodyWait::new(connection.stream()));
    let exchange = Exchange::new(&answer);
    let can_run = translate(daemon, &mut request);
    let outcome = if can_run {
        dispatch::handle(&request, exchange, Some(worker)).0
    } else {
        log_outside_of_jail(daemon, &request.facts, &exchange);
        Outcome::Status(502)
    };
    // Output may have been sent by half.
    let (answer, has_panicked) = answer.end();
    let outcome = if has_panicked { Outcome::Aborted } else { outcome };
    end_if_copy();
    let is_held = outcome == Outcome::Held;
    let has_run = can_run && outcome != Outcome::NotRun;
    let rest = if is_held { answer.abandon() } else { answer.finish(outcome.number()) };
    buffers.out = rest.out;
    match (rest.is_usable, has_run) {
        (true, _) if is_held => Completion::Held,
        (is_usable, true) => Completion::Ran(is_usable),
        (is_usable, false) => Completion::NotRun(is_usable),
    }
}

/// Notes that a request is about to run, or returns why it must not. It `may_wait` for another
/// process that loads its script.
pub(super) fn prepare(
    observer: &Observer,
    facts: &mut RequestFacts<'_>,
    may_wait: bool,
) -> Option<Rejection> {
    let Observer { daemon, worker } = *observer;
    facts.daemon_start = os::clock::microseconds();
    worker.measured(request::times_before(facts));
    if is_late(facts, daemon.limits.queue_timeout) {
        return Some(Rejection::Late);
    }
    worker.is_ignored.store(facts.has_flag(flag::IGNORE_ACTIVITY), Ordering::Relaxed);
    worker.may_wait.store(may_wait, Ordering::Relaxed);
    observer.on_transfer();
    if daemon.limits.startup_timeout > 0 && daemon.activity.record_script_wanted(daemon.now()) {
        daemon.info("the first request asks for its script, the startup timeout is on");
    }
    None
}

pub(super) fn log_unreadable(daemon: &Daemon) {
    let text = format!(
        "{REQUEST_NOT_READ}: Process group '{}': a request cannot be read, its connection is closed.",
        daemon.name
    );
    log::line(Level::Error, &text);
}

/// Logs that the script of a request lies outside of the process's jail.
pub(super) fn log_outside_of_jail(daemon: &Daemon, facts: &RequestFacts<'_>, exchange: &Exchange<'_>) {
    let (script, root) = (facts.script.to_text(), daemon.chroot.as_deref().unwrap_or_default());
    let root = String::from_utf8_lossy(root);
    let text = format!(
        "{SCRIPT_OUTSIDE_CHROOT}: The script '{script}' is outside of the directory '{root}' that the process runs in (chroot)."
    );
    exchange.log(Level::Error, text.as_bytes());
}

/// Makes the connection available for the next request.
pub(super) fn return_connection(daemon: &Daemon, connection: &Connection, is_usable: bool) {
    if is_usable && daemon.phase() == Phase::Serving && daemon.activity.is_open() {
        connection.release();
        let mut event = EpollEvent::new(READABLE, connection.token());
        let is_armed = daemon.ready.modify(connection, &mut event).is_ok();
        // The event thread closes idle connections when the process stops taking requests. It may
        // have looked before this one was idle; if not, it or another worker has claimed it.
        if (is_armed && daemon.phase() == Phase::Serving) || !connection.claim() {
            return;
        }
    }
    daemon.connections.remove(connection);
}

/// Returns whether a request has waited for too long. Both times are from the same monotonic clock.
fn is_late(facts: &RequestFacts<'_>, timeout: u64) -> bool {
    timeout > 0 && u64::from(os::clock::ticks().wrapping_sub(facts.queue_ticks)) > timeout
}

/// Translates the paths of a request into those of the process's jail. Returns whether that is
/// possible.
fn translate(daemon: &'static Daemon, request: &mut Request<'_>) -> bool {
    if daemon.chroot.is_none() {
        return true;
    }
    translate_facts(daemon, &mut request.facts)
        && translate_script(daemon, &mut request.handler_script)
        && request.facts.cgi[Cgi::ScriptFilename as usize].get().is_some()
}

/// Translates the paths of a request's facts, leaving out those that lie outside of the jail.
/// Returns whether the script does not.
pub(super) fn translate_facts(daemon: &'static Daemon, facts: &mut RequestFacts<'_>) -> bool {
    for cgi in [Cgi::DocumentRoot, Cgi::ScriptFilename] {
        let path = &mut facts.cgi[cgi as usize];
        *path = Bytes::optional(path.get().and_then(|path| daemon.in_jail(path)));
    }
    translate_script(daemon, &mut facts.script)
}

/// Translates the path of a script, if there is one. Returns whether that is possible.
fn translate_script(daemon: &'static Daemon, path: &mut Bytes<'_>) -> bool {
    match path.get().filter(|path| !path.is_empty()).map(|path| daemon.in_jail(path)) {
        None => true,
        Some(None) => false,
        Some(inside) => {
            *path = Bytes::optional(inside);
            true
        }
    }
}

impl Buffers {
    fn trim(&mut self) {
        for buffer in [&mut self.message, &mut self.out] {
            if buffer.capacity() > LARGEST_KEPT {
                *buffer = Vec::new();
            }
        }
    }
}
