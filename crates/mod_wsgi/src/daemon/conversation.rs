//! The conversation with a process about one request on one connection.

mod body;

use std::collections::VecDeque;
use std::io;
use std::ops::Range;
use std::os::fd::{AsFd, OwnedFd};
use std::time::{Duration, Instant};

use bridge::{Fields, Head, Outcome, Times};
use httpd::{Request, Status};
use os::descriptors;
use wsgi_core::codes::{
    CONNECTION_CLOSED, CONNECTION_RESET, RESPONSE_BROKEN_OFF, RESPONSE_MALFORMED, SOCKET_TIMEOUT,
};
use wsgi_core::config::Effective;
use wsgi_core::ledger::Cause;
use wsgi_core::response::{HeadError, HeadLimits};
use wsgi_core::wire::frame::{self, Frame, HEADER, Header, Kind, Rejection};
use wsgi_core::wire::{Malformed, Reader, Schema};

use super::crash;
use super::last_lines::{log_last_lines, log_line};
use super::pool::{ActiveRequest, Connection, TICK, send};
use super::target::{DaemonClient, Target};
use crate::client_response::{ClientResponse, ResponseFailed};
use crate::ledger::Entry;
use crate::log;
use crate::request_body::RequestBody;
use crate::request_environment::RequestEnvironment;
use crate::validated::{self, NotValid};

/// The most bytes that are read of a response which a filter has replaced, so that the process can
/// end it and the connection can be kept. If there are more, the process is told that the client is
/// gone.
const MOST_DISCARDED: u64 = 1 << 20;

/// The end of a conversation.
pub(super) enum RequestEnd {
    /// The request has been answered. Its time had these parts, as the process says.
    Answered(Status, Times),
    /// The process has not read the request, which is in this message.
    Unread(Vec<u8>),
    /// The process has rejected the request, which is in this message: the application was not
    /// called.
    Rejected(Vec<u8>, Rejection),
}

/// The reason why a conversation cannot go on.
enum ConversationError {
    /// The other end was closed after it had read all that was sent.
    Closed,
    /// The other end was closed before it had read all, or the connection failed.
    Reset(io::Error),
    /// The process sent nothing for as long as `socket-timeout`.
    TimedOut,
    /// The process violated the protocol.
    Malformed,
    /// The client is gone.
    ClientGone,
    /// The response is this status, whatever the process still sends.
    ErrorStatus(Status),
}

impl ConversationError {
    /// Returns the cause for which the request is counted as rejected, if it is and has not been.
    fn cause(&self) -> Option<Cause> {
        match self {
            Self::Closed | Self::Reset(_) => Some(Cause::ProcessDied),
            Self::TimedOut => Some(Cause::TimedOut),
            Self::Malformed => Some(Cause::Protocol),
            Self::ClientGone => Some(Cause::ClientGone),
            Self::ErrorStatus(_) => None,
        }
    }
}

impl From<Malformed> for ConversationError {
    fn from(Malformed: Malformed) -> Self {
        Self::Malformed
    }
}

/// The use of the body of the response.
enum BodyHandling {
    /// It goes to the client.
    Sent,
    /// Apache's own page for this status is sent instead (`WSGIErrorOverride`).
    Overridden(u16),
    /// The response for another path is sent instead.
    Redirected(Vec<u8>),
}

/// The result of a frame.
enum Step {
    Continue,
    Ended(Outcome, Times),
    Rejected(Rejection),
}

/// One request on one connection.
pub(super) struct Conversation<'a, 'r> {
    target: &'a Target<'a>,
    request: &'r Request,
    settings: &'a Effective<'a>,
    environment: &'a RequestEnvironment<'a>,
    input: &'a mut RequestBody<'r>,
    response: ClientResponse<'r>,
    body: BodyHandling,
    connection: Connection,
    /// Counts the request as active until the process has answered.
    active: Option<ActiveRequest<'a>>,
    entry: &'r Entry<'r>,
    /// The part of `connection.incoming` that has not been processed.
    unread: Range<usize>,
    /// The length of the part of a `Data` that is still to come, and its flags.
    data: Option<(usize, u8)>,
    /// Descriptors that have arrived before their `File`.
    files: VecDeque<OwnedFd>,
    /// Set once the process has sent anything about this request.
    has_begun: bool,
    /// Set once the request can no longer go to another process, since some of its body or of the
    /// response has passed.
    is_committed: bool,
    has_head: bool,
    /// The length of the request's body that the process waits for; 0 if it does not wait.
    wanted: usize,
    /// Set once it is logged that the request's body cannot be read.
    is_body_failure_logged: bool,
    /// The part of `connection.outgoing` that is still to be sent: the rest of a `Body`.
    unsent: Range<usize>,
    /// Set once the file of the request's body is about to be sent.
    has_file: bool,
    /// Set while its descriptor is still to go with the next byte.
    sends_file: bool,
    /// Set once the client is gone and the process has been told.
    is_client_gone: bool,
    /// The number of bytes that the application wants sent and Apache may still hold back.
    unflushed: u64,
    /// The number of bytes read of a response that a filter has replaced.
    discarded: u64,
    /// The time since which the process has neither sent nor taken anything, once a wait for it was in
    /// vain. (Most waits are not: the clock is not read for them.)
    silent_since: Option<Instant>,
    /// The timeout of the client's connection, while the response is sent.
    client_timeout: Option<ClientTimeout<'r>>,
}

/// Restores the timeout of the client's connection when dropped.
struct ClientTimeout<'r> {
    request: &'r Request,
    before: Duration,
}

impl Drop for ClientTimeout<'_> {
    fn drop(&mut self) {
        self.request.connection().set_timeout(self.before);
    }
}

impl<'a, 'r> Conversation<'a, 'r> {
    pub(super) fn new(
        target: &'a Target<'a>,
        request: &'r Request,
        settings: &'a Effective<'a>,
        environment: &'a RequestEnvironment<'a>,
        input: &'a mut RequestBody<'r>,
        connection: Connection,
        active: Option<ActiveRequest<'a>>,
    ) -> Self {
        let entry = input.entry();
        let response = ClientResponse::new(request, entry, settings.enable_sendfile()).with_merged_headers();
        Self {
            target,
            request,
            settings,
            environment,
            input,
            response,
            body: BodyHandling::Sent,
            connection,
            active,
            entry,
            unread: 0..0,
            data: None,
            files: VecDeque::new(),
            has_begun: false,
            is_committed: false,
            has_head: false,
            wanted: 0,
            is_body_failure_logged: false,
            unsent: 0..0,
            has_file: false,
            sends_file: false,
            is_client_gone: false,
            unflushed: 0,
            discarded: 0,
            silent_since: None,
            client_timeout: None,
        }
    }

    /// Sends the request (`connection.outgoing`), and passes the response on.
    pub(super) fn run(mut self) -> RequestEnd {
        match send(&self.connection.socket, &self.connection.outgoing) {
            Ok(()) => {}
            // The socket has a part of it, and the process reads nothing.
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => {
                return RequestEnd::Answered(self.fail(ConversationError::TimedOut), Times::NONE);
            }
            Err(_) => return RequestEnd::Unread(self.connection.outgoing),
        }
        match self.run_exchange() {
            Ok(Step::Rejected(rejection)) => {
                let message = std::mem::take(&mut self.connection.outgoing);
                if rejection != Rejection::Moved && !self.is_client_gone {
                    self.target.client.idle.put_back(self.connection, self.target.thread_count());
                }
                RequestEnd::Rejected(message, rejection)
            }
            Ok(Step::Ended(result, times)) => RequestEnd::Answered(self.finish(result), times),
            Ok(Step::Continue) => RequestEnd::Answered(Status::Http(500), Times::NONE),
            Err(ConversationError::Reset(_)) if !self.has_begun && !self.is_client_gone => {
                RequestEnd::Unread(self.connection.outgoing)
            }
            Err(error) => RequestEnd::Answered(self.fail(error), Times::NONE),
        }
    }

    fn run_exchange(&mut self) -> Result<Step, ConversationError> {
        loop {
            while let Some(step) = self.next_step()? {
                if !matches!(step, Step::Continue) {
                    return Ok(step);
                }
            }
            self.entry.end_writing();
            if self.unflushed > 0 {
                self.flush_if_idle()?;
            }
            while self.wanted > 0 && !self.take_body()? {
                let (client, pause) = self.input.pause();
                match descriptors::readable_of(&self.connection.socket, client, pause.min(TICK)) {
                    Ok([true, _]) | Err(_) => break,
                    Ok([false, true]) => {}
                    Ok([false, false]) => self.check_client()?,
                }
            }
            self.send_body()?;
            self.read_more()?;
        }
    }

    /// Processes the next frame, or piece of `Data`. Returns `None` if it has not arrived.
    fn next_step(&mut self) -> Result<Option<Step>, ConversationError> {
        if let Some((left, flags)) = self.data {
            let available = self.unread.len().min(left);
            if available == 0 && left > 0 {
                return Ok(None);
            }
            self.data = (available < left).then_some((left - available, flags));
            let range = self.unread.start..self.unread.start + available;
            self.unread.start += available;
            let incoming = std::mem::take(&mut self.connection.incoming);
            let sent = self.on_data(&incoming[range], flags);
            self.connection.incoming = incoming;
            return sent.map(|()| Some(Step::Continue));
        }
        let unread = &self.connection.incoming[self.unread.clone()];
        let Some(header) = Header::parse(unread)? else { return Ok(None) };
        if header.kind == Kind::Data {
            self.unread.start += HEADER;
            self.has_begun = true;
            self.data = (header.length > 0).then_some((header.length, header.flags));
            return Ok(Some(Step::Continue));
        }
        // Checked before there is memory for it.
        if header.kind == Kind::Head && self.has_head {
            return Err(ConversationError::Malformed);
        }
        let limits = self.head_limits();
        if header.kind == Kind::Head && header.length as u64 > limits.longest_encoding() {
            validated::log_invalid_head(self.request, &HeadError::Head(limits.longest()));
            return Err(ConversationError::ErrorStatus(Status::Http(500)));
        }
        let Some((Frame { kind, payload, .. }, length)) = Frame::parse(unread)? else {
            self.make_room(HEADER + header.length);
            return Ok(None);
        };
        // The frame stays in place while it is processed.
        let range = self.unread.start + HEADER..self.unread.start + length;
        debug_assert_eq!(payload.len(), range.len());
        self.unread.start += length;
        let incoming = std::mem::take(&mut self.connection.incoming);
        let step = self.on_frame(kind, &incoming[range]);
        self.connection.incoming = incoming;
        step.map(Some)
    }

    fn on_frame(&mut self, kind: Kind, payload: &[u8]) -> Result<Step, ConversationError> {
        let mut reader = Reader::new(payload);
        if kind == Kind::Hello {
            Schema::check(&mut reader)?;
            self.connection.pid = reader.u32()?;
            return Ok(Step::Continue);
        }
        self.has_begun = true;
        match kind {
            Kind::Reject if !self.is_committed => return Ok(Step::Rejected(Rejection::parse(payload)?)),
            Kind::Pull => self.on_pull(reader.u32()?)?,
            Kind::Head => self.on_head(payload)?,
            Kind::File => self.on_file(reader.u64()?, reader.u64()?)?,
            Kind::Log => log_line(self.request, payload)?,
            Kind::End => {
                let outcome = Outcome::parse(reader.u32()?).ok_or(ConversationError::Malformed)?;
                return Ok(Step::Ended(outcome, Times::decode(&mut reader)?));
            }
            Kind::Hello
            | Kind::Reject
            | Kind::Data
            | Kind::Request
            | Kind::Body
            | Kind::BodyFile
            | Kind::Lookup
            | Kind::Value
            | Kind::Answer => {
                return Err(ConversationError::Malformed);
            }
        }
        Ok(Step::Continue)
    }

    fn on_head(&mut self, payload: &[u8]) -> Result<(), ConversationError> {
        (self.has_head, self.is_committed) = (true, true);
        if self.response.is_superseded() {
            return Ok(());
        }
        let mut fields = Fields::default();
        let head = Head::decode(payload, &mut fields)?;
        let limits = self.head_limits();
        let head = validated::head(self.request, head.status, head.reason, head.headers.as_slice(), &limits)
            .map_err(|NotValid| ConversationError::ErrorStatus(Status::Http(500)))?;
        if let (200, Some(location @ [b'/', ..])) = (head.code(), head.last(b"location")) {
            self.body = BodyHandling::Redirected(location.to_vec());
            return Ok(());
        }
        if head.code() >= 400 && self.settings.error_override() {
            self.body = BodyHandling::Overridden(head.code());
            return self
                .response
                .add_challenges(&head)
                .map_err(|ResponseFailed| ConversationError::Malformed);
        }
        if let Some(timeout) = self.target.response_timeout() {
            let before = self.request.connection().set_timeout(timeout);
            self.client_timeout = before.map(|before| ClientTimeout { request: self.request, before });
        }
        self.response.start(&head).map_err(|ResponseFailed| ConversationError::Malformed)
    }

    fn head_limits(&self) -> HeadLimits {
        HeadLimits::of_group(self.target.group.transport.header_buffer_size)
    }

    fn on_data(&mut self, block: &[u8], flags: u8) -> Result<(), ConversationError> {
        if !matches!(self.body, BodyHandling::Sent) {
            return Ok(());
        }
        if !self.has_head {
            return Err(ConversationError::Malformed);
        }
        if self.response.is_superseded() {
            self.discarded += block.len() as u64;
            return if self.discarded > MOST_DISCARDED { Err(ConversationError::ClientGone) } else { Ok(()) };
        }
        // (Another thread of it may still wait for a part.)
        if flags & frame::flag::LAST != 0 && self.wanted == 0 && self.unsent.is_empty() {
            self.input.disclaim();
        }
        self.response.write(block, 0, self.input).map_err(|ResponseFailed| ConversationError::ClientGone)?;
        if flags & frame::flag::FLUSH != 0 {
            self.unflushed += block.len() as u64;
            if self.unflushed >= self.target.group.transport.response_buffer_size {
                self.flush()?;
            }
        }
        Ok(())
    }

    fn on_file(&mut self, offset: u64, length: u64) -> Result<(), ConversationError> {
        let file = self.files.pop_front().ok_or(ConversationError::Malformed)?;
        if !matches!(self.body, BodyHandling::Sent) {
            return Ok(());
        }
        if !self.has_head {
            return Err(ConversationError::Malformed);
        }
        if self.response.is_superseded() {
            return Ok(());
        }
        let file = validated::local_file(self.request, file.as_fd(), offset, length)
            .map_err(|NotValid| ConversationError::ErrorStatus(Status::Http(500)))?;
        self.response.send_file(&file, self.input).map_err(|ResponseFailed| ConversationError::ClientGone)
    }

    /// Sends unflushed data, unless more arrives in a moment.
    fn flush_if_idle(&mut self) -> Result<(), ConversationError> {
        let delay = Duration::from_millis(self.target.group.transport.response_flush_delay);
        if !delay.is_zero() && descriptors::is_readable(&self.connection.socket, delay).unwrap_or(false) {
            return Ok(());
        }
        self.flush()
    }

    fn flush(&mut self) -> Result<(), ConversationError> {
        self.unflushed = 0;
        let flushed = self.response.flush(self.input);
        self.entry.end_writing();
        flushed.map_err(|ResponseFailed| ConversationError::ClientGone)
    }

    /// Waits for more data, and reads it.
    fn read_more(&mut self) -> Result<(), ConversationError> {
        self.make_room(self.unread.len() + 1);
        loop {
            match self.receive() {
                Ok((0, _)) => return Err(ConversationError::Closed),
                Ok((length, files)) => {
                    self.unread.end += length;
                    self.files.extend(files);
                    // Each belongs to a frame. A process that sends more would fill the table of
                    // descriptors.
                    if self.files.len() > descriptors::MAX_DESCRIPTORS {
                        return Err(ConversationError::Malformed);
                    }
                    self.silent_since = None;
                    return Ok(());
                }
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {
                    self.check_patience()?;
                    // No process has taken the connection, and none will.
                    if self.connection.pid == 0 && self.target.client.generation.is_unsupervised() {
                        self.entry.reject(Cause::Unsupervised);
                        return Err(ConversationError::ErrorStatus(self.target.unsupervised(self.request)));
                    }
                }
                Err(error) if error.kind() == io::ErrorKind::InvalidData => {
                    return Err(ConversationError::Malformed);
                }
                Err(error) => return Err(ConversationError::Reset(error)),
            }
        }
    }

    /// Checks, after a tick in which the process has done nothing, whether the client is still there,
    /// and whether that has lasted for longer than it may.
    fn check_patience(&mut self) -> Result<(), ConversationError> {
        self.check_client()?;
        let now = Instant::now();
        let since = *self.silent_since.get_or_insert_with(|| now.checked_sub(TICK).unwrap_or(now));
        if now.saturating_duration_since(since) >= self.target.socket_timeout(self.request) {
            return Err(ConversationError::TimedOut);
        }
        Ok(())
    }

    /// Checks whether the client is still there, after a while without data.
    fn check_client(&mut self) -> Result<(), ConversationError> {
        // The application may go on, but Apache cannot: its child would be killed in the end.
        if self.request.connection().is_shut_down() {
            return Err(ConversationError::ClientGone);
        }
        if self.is_client_gone || !self.request.connection().is_hung_up() {
            return Ok(());
        }
        if !self.has_begun && descriptors::has_unread(&self.connection.socket).unwrap_or(false) {
            return Err(ConversationError::ClientGone);
        }
        // A request that has been read runs on, and its lines go to the log. The process is told
        // that nobody waits for the response.
        let _ = descriptors::end_sending(&self.connection.socket);
        self.is_client_gone = true;
        Ok(())
    }

    /// Receives data and descriptors that arrive within a tick.
    fn receive(&mut self) -> io::Result<(usize, Vec<OwnedFd>)> {
        let DaemonClient { generation, solitude, .. } = self.target.client;
        let slot = self.connection.slot;
        // A process with other requests may need the processor.
        let may_spin = self.connection.is_alone && solitude.lasts();
        self.connection.receive(self.unread.end, may_spin, || generation.busy(slot) <= 1)
    }

    /// Makes room for `length` bytes, counted from the first unread one.
    fn make_room(&mut self, length: usize) {
        self.unread = self.connection.make_room(self.unread.clone(), length);
    }

    /// Ends the response when the process is done, and keeps the connection if possible.
    fn finish(mut self, result: Outcome) -> Status {
        let mut connection = self.connection;
        // Before the client can send its next request, which another thread may serve.
        drop(self.active);
        self.entry.leave_slot();
        if self.is_client_gone && !self.response.is_whole() {
            self.entry.reject(Cause::ClientGone);
        }
        // A process that ended the request while it waited for the body does not read that.
        let has_body = self.wanted == 0 && self.unsent.is_empty();
        if self.unread.is_empty() && self.files.is_empty() && has_body && !self.is_client_gone {
            connection.shrink();
            self.target.client.idle.put_back(connection, self.target.thread_count());
        } else {
            // The process does not wait for the client, who may take the rest slowly.
            drop(connection);
        }
        match self.body {
            _ if self.response.is_superseded() => Status::Ok,
            BodyHandling::Sent => self.response.finish(result, self.input),
            BodyHandling::Overridden(status) if result == Outcome::Complete => Status::Http(status),
            BodyHandling::Redirected(path) if result == Outcome::Complete => {
                self.environment.publish();
                // A path with a NUL byte has not passed the check of the headers.
                self.input.redirect(&path).unwrap_or(Status::Http(500))
            }
            BodyHandling::Overridden(_) | BodyHandling::Redirected(_) => {
                self.response = ClientResponse::new(self.request, self.entry, false);
                self.response.finish(Outcome::Aborted, self.input)
            }
        }
    }

    /// Logs an error, and breaks the response off or returns the status to respond with.
    fn fail(self, error: ConversationError) -> Status {
        if !matches!(error, ConversationError::Malformed) {
            let skipped = self.data.map_or(0, |(left, _)| left);
            log_last_lines(self.request, &self.connection, self.unread.clone(), skipped);
        }
        let (group, pid) = (self.group(), self.connection.pid);
        if self.response.is_superseded() {
            return Status::Ok;
        }
        let is_begun = self.response.is_begun();
        let error = match error {
            // The process ends the request because the client is gone.
            ConversationError::Closed | ConversationError::Reset(_) if self.is_client_gone => {
                ConversationError::ClientGone
            }
            other => other,
        };
        let is_served = matches!(error, ConversationError::ClientGone) && self.response.is_whole();
        if let Some(cause) = error.cause().filter(|_| !is_served) {
            self.entry.reject(cause);
        }
        let how = |what: &str| {
            crash::describe(&self.target.client.generation, self.connection.slot, pid)
                .map_or_else(|| what.to_owned(), |ended| format!("it was ended by {ended}"))
        };
        let (code, status, text) = match error {
            // Apache would end the response as if it were complete: perhaps only a filter has
            // failed.
            ConversationError::ClientGone | ConversationError::ErrorStatus(_) if is_begun => {
                self.response.abort();
                return Status::Ok;
            }
            ConversationError::ClientGone => return client_gone(self.request),
            ConversationError::ErrorStatus(status) => return status,
            ConversationError::Closed => (CONNECTION_CLOSED, 502, how("it has closed the connection")),
            ConversationError::Reset(error) => (CONNECTION_RESET, 502, how(&error.to_string())),
            ConversationError::TimedOut if pid == 0 => (
                SOCKET_TIMEOUT,
                504,
                "it has not taken the request for as long as socket-timeout (or Timeout) allows. Most likely it still \
                 starts, and an import takes long or hangs"
                    .to_owned(),
            ),
            ConversationError::TimedOut => (
                SOCKET_TIMEOUT,
                504,
                "it has sent nothing for as long as socket-timeout (or Timeout) allows".to_owned(),
            ),
            ConversationError::Malformed => (RESPONSE_MALFORMED, 502, "it has violated the protocol".to_owned()),
        };
        let code = if is_begun { RESPONSE_BROKEN_OFF } else { code };
        // A process sends its id when it takes the connection.
        let process = if pid == 0 { "a process".to_owned() } else { format!("the process {pid}") };
        // (Without the query, which may have secrets. The log escapes what is not printable.)
        let [method, path] = [self.request.method(), self.request.uri()]
            .map(|text| String::from_utf8_lossy(text.unwrap_or_default()));
        let text = format_args!(
            "no complete response from {process} of the group '{group}' to {method} {path}: {text}"
        );
        log::message(self.request, code, text);
        if is_begun {
            self.response.abort();
            return Status::Ok;
        }
        self.request.reset_status();
        Status::Http(status)
    }

    fn group(&self) -> String {
        String::from_utf8_lossy(&self.target.group.name).into_owned()
    }
}

/// Returns the status for a request whose client is gone before there was anything to send.
pub(super) fn client_gone(request: &Request) -> Status {
    request.connection().close_after_response();
    // Only the administrator reads it, in the access log.
    if let Ok(status) = request.prepare_status(499, Some(b"Client Closed Request")) {
        status.apply();
    }
    Status::Ok
}
