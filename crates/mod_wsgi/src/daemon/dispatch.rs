//! The way of a request to a daemon process and back.
//!
//! A request that its process has not read may be sent to another one. The kernel reports that (see
//! [`frame`]); of the request's body, only the part that went along with the request has been taken
//! then.

use std::fmt::Display;
use std::io;
use std::time::{Duration, Instant};

use bridge::flag;
use httpd::{Level, Request, Status};
use wsgi_core::codes::{
    Code, NOT_CONNECTED, NOT_TAKEN, PASSED_ON_TOO_OFTEN, QUEUE_TIMEOUT, REQUEST_TOO_LONG,
};
use wsgi_core::config::Effective;
use wsgi_core::ledger::Cause;
use wsgi_core::wire::board::State;
use wsgi_core::wire::frame::{self, Kind, Rejection};

use super::conversation::{Conversation, RequestEnd};
use super::elastic;
use super::pool::{self, Connection, ConnectionOptions, TICK};
use super::target::{DaemonClient, Target};
use crate::ledger::Entry;
use crate::log;
use crate::request_body::{RequestBody, Whole};
use crate::request_environment::RequestEnvironment;

/// The most bytes of a body that go along with its request, if they have arrived.
const INLINE_BODY: usize = 32 * 1024;

/// Serves a request through a daemon process.
pub(crate) fn serve<'r>(
    target: &Target<'_>,
    request: &'r Request,
    settings: &Effective<'_>,
    environment: &RequestEnvironment<'_>,
    mut description: bridge::Request<'_>,
    mut input: RequestBody<'r>,
) -> Status {
    description.facts.queue_start = os::clock::microseconds();
    description.facts.queue_ticks = os::clock::ticks();
    description.facts.flags |= flag::CALLABLE_REQUIRED;
    if settings.ignore_activity() {
        description.facts.flags |= flag::IGNORE_ACTIVITY;
    }
    let entry = input.entry();
    let mut dispatch = Dispatch::new(target, request, description.facts.queue_ticks, Some(entry));
    let mut message = Vec::new();
    loop {
        let mut connection = match dispatch.connect() {
            Ok(connection) => connection,
            Err(status) => return status,
        };
        let (slot, was_used) = (connection.slot, connection.is_used);
        let active = target.client.idle.begin_request(slot);
        entry.enter_slot(slot);
        if message.is_empty() {
            message = std::mem::take(&mut connection.outgoing);
            message.clear();
            encode(&mut message, &description, request, &mut input);
            if message.len() - frame::HEADER > frame::LONGEST_REQUEST {
                log::message(
                    request,
                    REQUEST_TOO_LONG,
                    "the headers and variables of the request are too long",
                );
                return Status::Http(502);
            }
        }
        dispatch.prepare(&mut message, &connection);
        connection.outgoing = std::mem::take(&mut message);
        let conversation =
            Conversation::new(target, request, settings, environment, &mut input, connection, active);
        match conversation.run() {
            RequestEnd::Answered(status, times) => {
                entry.set_times(times);
                return status;
            }
            RequestEnd::Unread(outgoing) => {
                message = outgoing;
                entry.wait_again();
                if let Some(status) = dispatch.on_unread(slot, was_used) {
                    return status;
                }
            }
            RequestEnd::Rejected(outgoing, rejection) => {
                message = outgoing;
                entry.wait_again();
                if let Some(status) = dispatch.on_rejection(slot, rejection) {
                    return status;
                }
            }
        }
    }
}

/// Appends the request as a frame, with the beginning of its body if that has arrived.
fn encode(
    buffer: &mut Vec<u8>,
    description: &bridge::Request<'_>,
    request: &Request,
    input: &mut RequestBody<'_>,
) {
    frame::append(buffer, Kind::Request, 0, |payload| {
        description.encode(payload);
        let has_body = input.is_announced();
        let end_of_head = payload.len();
        payload.push(0);
        let mut writer = wsgi_core::wire::Writer::new(payload);
        // The length of the file of a whole body, which is sent when the process wants it.
        let mut file_length = 0;
        let mut is_whole = !has_body;
        match input.whole() {
            Some(Whole::Memory(body)) => {
                writer.optional(Some(body));
                is_whole = true;
            }
            Some(Whole::File(_, length)) => {
                writer.optional(None);
                file_length = length;
            }
            None if !has_body || request.expects_continue() => writer.optional(None),
            None => {
                let mut body = [0; INLINE_BODY];
                // A failure occurs again when the application reads, and is reported then.
                let length = input.read_arrived(&mut body).unwrap_or(0);
                writer.optional(Some(&body[..length]));
                is_whole = input.is_ended();
            }
        }
        writer.u64(file_length);
        payload[end_of_head] = u8::from(is_whole);
    });
}

/// The reason where processes are busy.
const CROWDED: &str = "too many wait already. More processes= or threads= take more requests at a time";

/// The reason where processes close connections.
const CLOSED_UNREAD: &str =
    "they close connections without reading requests, perhaps for lack of descriptors (ulimit -n)";

/// The search for the process that takes a request.
pub(super) struct Dispatch<'a> {
    target: &'a Target<'a>,
    request: &'a Request,
    /// The entry of the request; `None` for a question.
    entry: Option<&'a Entry<'a>>,
    options: ConnectionOptions,
    /// The time at which the search has begun, in ticks.
    begun: u32,
    /// The deadline of a question.
    deadline: Option<Instant>,
    /// The time slept between attempts.
    slept: Duration,
    /// The number of attempts to reach a process.
    connects: u32,
    /// The number of times that a process has passed the request on.
    moves: u32,
    /// The number of new connections that were closed before the request was read.
    unread: u32,
    /// The slot that is tried only after the others.
    avoided: Option<usize>,
}

impl<'a> Dispatch<'a> {
    /// Returns a search that has begun at these ticks, and ends as `connect-timeout` says.
    pub(super) fn new(
        target: &'a Target<'a>,
        request: &'a Request,
        begun: u32,
        entry: Option<&'a Entry<'a>>,
    ) -> Self {
        let (transport, size) = (&target.group.transport, |size: u64| usize::try_from(size).ok());
        let options = ConnectionOptions {
            receive: TICK,
            send: target.socket_timeout(request),
            buffers: (size(transport.send_buffer_size), size(transport.receive_buffer_size)),
        };
        Self {
            target,
            request,
            entry,
            options,
            begun,
            deadline: None,
            slept: Duration::ZERO,
            connects: 0,
            moves: 0,
            unread: 0,
            avoided: None,
        }
    }

    /// Returns the search with the deadline of a question, at which it ends if that is earlier.
    pub(super) fn until(self, deadline: Instant) -> Self {
        Self { deadline: Some(deadline), ..self }
    }

    /// Returns the time at which the search ends, and the option that says so. (Only a search that has
    /// to wait needs it.)
    fn end(&self, now: Instant) -> (Instant, &'static str) {
        let timeout = Duration::from_millis(self.target.group.transport.connect_timeout);
        let spent = Duration::from_millis(os::clock::ticks().wrapping_sub(self.begun).into());
        let connect = (now + timeout.saturating_sub(spent), "connect-timeout");
        let own = self.deadline.map(|deadline| (deadline, "its timeout"));
        own.filter(|own| own.0 < connect.0).unwrap_or(connect)
    }

    /// Sets the parts of the message of a request, or of a question, that are of one attempt: the
    /// counts, and whether it is alone.
    pub(super) fn prepare(&self, message: &mut [u8], connection: &Connection) {
        frame::set_flags(message, if connection.is_alone { frame::flag::ALONE } else { 0 });
        bridge::Request::set_counts(&mut message[frame::HEADER..], self.connects, self.moves);
    }

    /// Connects to the least busy process.
    ///
    /// # Errors
    /// No process takes the request: the status to respond with. The reason is logged.
    pub(super) fn connect(&mut self) -> Result<Connection, Status> {
        loop {
            if self.target.client.generation.is_unsupervised() {
                self.reject(Cause::Unsupervised);
                return Err(self.target.unsupervised(self.request));
            }
            let slots = self.candidates();
            let (mut unreachable, mut count) = (None, 0);
            for &slot in &slots {
                match self.connect_to(slot) {
                    Ok(connection) => return Ok(connection),
                    // Too many connections wait for that process, or for all: the system limits the
                    // descriptors in flight.
                    Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
                    Err(error) if error.raw_os_error() == Some(libc::ETOOMANYREFS) => {}
                    // The process has shut its channel down, and the supervisor has not noticed
                    // yet.
                    Err(error) => (unreachable, count) = (Some(error), count + 1),
                }
            }
            if let Some(error) = unreachable.filter(|_| count == slots.len()) {
                return Err(self.on_unreachable(&error));
            }
            if slots.is_empty() {
                return Err(self.on_all_failing());
            }
            self.sleep(CROWDED)?;
        }
    }

    /// Returns the slots worth connecting to, best first.
    fn candidates(&self) -> Vec<usize> {
        let generation = &self.target.client.generation;
        if self.target.group.options.is_elastic() {
            return self.elastic_candidates();
        }
        let slots = self.target.slots.clone();
        let (count, preference) = (slots.len().max(1), self.target.client.preference);
        let is_worth_it = |slot: &usize| !matches!(generation.state(*slot), State::Failing | State::Cut);
        let mut slots: Vec<_> = slots.filter(is_worth_it).collect();
        // Among equals, each child prefers another slot, so that its requests go to the same
        // process, but not those of all children.
        slots.sort_by_cached_key(|&slot| {
            (self.avoided == Some(slot), self.load(slot), slot.wrapping_add(preference) % count)
        });
        slots
    }

    /// Returns the slots worth connecting to in a group whose number of processes follows the load.
    fn elastic_candidates(&self) -> Vec<usize> {
        let generation = &self.target.client.generation;
        let slots = self.target.slots.clone().map(|slot| {
            let state = generation.state(slot);
            let load = if state == State::Serving { self.load(slot) } else { 0 };
            elastic::Slot { slot, state, load, is_avoided: self.avoided == Some(slot) }
        });
        let choice = elastic::choose(slots.collect(), self.target.group.options.threads);
        if let Some(dormant) = choice.sign {
            generation.report_busy(self.target.slots.start, dormant);
        }
        choice.slots
    }

    /// Returns the number of requests that the process of a slot has, which is known with some
    /// delay, or at once for requests of this child.
    fn load(&self, slot: usize) -> u32 {
        let DaemonClient { generation, idle, .. } = self.target.client;
        generation.busy(slot).max(idle.active_requests(slot))
    }

    fn connect_to(&mut self, slot: usize) -> io::Result<Connection> {
        self.connects += 1;
        let client = self.target.client;
        let is_alone = client.is_alone();
        client.solitude.record(is_alone);
        let connection = match client.idle.take(slot) {
            Some(connection) => connection,
            None => pool::connect(&client.generation, slot, self.options)?,
        };
        Ok(Connection { is_alone, ..connection })
    }

    /// Handles a process that has ended, or passed its slot on to another one, before it read the
    /// request. Returns the status to respond with, or `None` to try again.
    pub(super) fn on_unread(&mut self, slot: usize, was_used: bool) -> Option<Status> {
        self.target.client.idle.close_all(slot);
        if was_used {
            return None;
        }
        // A process that is not being replaced may be unable to read anything.
        self.avoided = Some(slot);
        self.unread += 1;
        if self.unread <= self.most_attempts_at_once() { None } else { self.sleep(CLOSED_UNREAD).err() }
    }

    /// Returns the number of attempts that are made without a pause.
    fn most_attempts_at_once(&self) -> u32 {
        2 * self.target.group.options.process_count() + 1
    }

    /// Handles a process that has not called the application. Returns the status to respond with,
    /// or `None` to try again.
    pub(super) fn on_rejection(&mut self, slot: usize, rejection: Rejection) -> Option<Status> {
        let group = String::from_utf8_lossy(&self.target.group.name);
        match rejection {
            Rejection::Moved => {
                self.target.client.idle.close_all(slot);
                self.moves += 1;
                let most = self.most_attempts_at_once();
                let text =
                    format!("The process group '{group}' is being replaced: attempt {}", self.moves + 1);
                log::request(self.request, Level::Info, &text);
                (self.moves >= most).then(|| {
                    let text = format_args!(
                        "the processes of the group '{group}' have passed the request on {} times",
                        self.moves
                    );
                    self.reject(Cause::Busy);
                    self.respond_with_error(503, PASSED_ON_TOO_OFTEN, text)
                })
            }
            Rejection::Busy => {
                self.avoided = Some(slot);
                self.sleep(CROWDED).err()
            }
            Rejection::Late => {
                let text = format_args!(
                    "the request has waited for longer than queue-timeout for a process of the group '{group}'"
                );
                self.reject(Cause::QueueTimeout);
                Some(self.respond_with_error(504, QUEUE_TIMEOUT, text))
            }
        }
    }

    /// Waits before the next attempt: eighths of a second at first, then seconds. `reason` is that
    /// of the last failure.
    ///
    /// # Errors
    /// The time is over, or the client is gone: the status to respond with.
    fn sleep(&mut self, reason: &str) -> Result<(), Status> {
        let now = Instant::now();
        let (deadline, option) = self.end(now);
        if now >= deadline {
            let group = String::from_utf8_lossy(&self.target.group.name);
            let text = format_args!(
                "no process of the group '{group}' has taken the request within {option}: {reason}"
            );
            self.reject(Cause::Busy);
            return Err(self.respond_with_error(503, NOT_TAKEN, text));
        }
        let long = if self.slept < Duration::from_secs(2) { 125 } else { 1000 };
        let end = (now + Duration::from_millis(long)).min(deadline);
        while Instant::now() < end {
            std::thread::sleep(TICK.min(end.saturating_duration_since(Instant::now())));
            if self.request.connection().is_hung_up() {
                self.reject(Cause::ClientGone);
                return Err(super::conversation::client_gone(self.request));
            }
        }
        self.slept += Duration::from_millis(long);
        Ok(())
    }

    fn on_all_failing(&self) -> Status {
        let group = String::from_utf8_lossy(&self.target.group.name);
        let text = format_args!(
            "the processes of the group '{group}' fail to start. The error log of the server says why"
        );
        self.reject(Cause::NotRunning);
        self.respond_with_error(503, NOT_TAKEN, text)
    }

    fn on_unreachable(&self, error: &io::Error) -> Status {
        let group = String::from_utf8_lossy(&self.target.group.name);
        let text = format_args!("connecting to the process group '{group}' failed: {error}");
        self.reject(Cause::NotRunning);
        self.respond_with_error(503, NOT_CONNECTED, text)
    }

    fn reject(&self, cause: Cause) {
        if let Some(entry) = self.entry {
            entry.reject(cause);
        }
    }

    fn respond_with_error(&self, status: u16, code: Code, text: impl Display) -> Status {
        log::message(self.request, code, text);
        Status::Http(status)
    }
}
