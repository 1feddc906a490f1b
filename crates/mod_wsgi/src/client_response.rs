//! The response to a client: takes it from the application and gives it to Apache's filters.

use std::ops::Range;
use std::time::{Duration, Instant};

use bridge::{Outcome, write};
use httpd::{Output, Request, ResponseStatus, SendError, SendFileError, Status};
use wsgi_core::codes::RESPONSE_TOO_SHORT;
use wsgi_core::ledger::Cause;
use wsgi_core::response::{self, Allowance, Class};

use crate::ledger::Entry;
use crate::log;
use crate::request_body::RequestBody;
use crate::validated::{FilePart, Head};

/// The response to a request.
///
/// Its functions that send have the entry write from then on. Whoever calls them ends that
/// ([`Entry::end_writing`]) when something else follows than more of the response, or its end.
pub(crate) struct ClientResponse<'r> {
    request: &'r Request,
    output: Output<'r>,
    entry: &'r Entry<'r>,
    enable_sendfile: bool,
    merges_headers: bool,
    /// The head, which is kept back until the body begins: Apache takes a status that is no success
    /// for a sign that the request's body is not wanted any more, but the application may still
    /// read.
    head: Option<ResponseStatus<'r>>,
    /// The declared length of the body.
    length: Option<u64>,
    allowance: Allowance,
    is_begun: bool,
    /// The number of bytes given to Apache since it last had to send all it has.
    held_back: usize,
    /// The time of the last check whether the client is there, while none of the body goes to it.
    last_client_check: Option<Instant>,
}

/// The most bytes held back by Apache that are sent before it ends the request. Connections take so
/// many without blocking.
const SENT_BEFORE_END: usize = 16 * 1024;

/// The size of the pieces that are sent while the client still sends: Apache keeps this much rather
/// than wait for the client.
const PIECE: usize = 16 * 1024;

/// The interval between checks for a client that nothing is sent to.
const CLIENT_CHECK_INTERVAL: Duration = Duration::from_millis(100);

/// The message about a file that has lost a part of its contents.
const FILE_SHRUNK: &str = "the file that the application sends has become shorter meanwhile: the connection is closed, so that the \
                      client can tell. Replace files by renaming another one to their name";

/// The error where a host violates the protocol, or data cannot be sent.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct ResponseFailed;

impl From<SendError> for ResponseFailed {
    fn from(SendError: SendError) -> Self {
        Self
    }
}

impl From<httpd::InteriorNul> for ResponseFailed {
    fn from(_: httpd::InteriorNul) -> Self {
        Self
    }
}

impl<'r> ClientResponse<'r> {
    pub(crate) fn new(request: &'r Request, entry: &'r Entry<'r>, enable_sendfile: bool) -> Self {
        let output = Output::new(request);
        let allowance = Allowance::new(None);
        Self {
            request,
            output,
            entry,
            enable_sendfile,
            merges_headers: false,
            head: None,
            length: None,
            allowance,
            is_begun: false,
            held_back: 0,
            last_client_check: None,
        }
    }

    /// Has several headers of the same name merged into one, as far as HTTP permits.
    pub(crate) fn with_merged_headers(self) -> Self {
        Self { merges_headers: true, ..self }
    }

    /// Takes the head of the response (see [`bridge::Serve::start`]).
    pub(crate) fn start(&mut self, head: &Head<'_>) -> Result<(), ResponseFailed> {
        if self.is_superseded() {
            return Err(ResponseFailed);
        }
        let request = self.request;
        let mut content_type = None;
        for (class, field) in head.fields() {
            let (name, value) = (field.name.or_empty(), field.value.or_empty());
            match class {
                Class::ContentType => content_type = Some(value),
                Class::Challenge => request.err_headers_out().add(name, value)?,
                Class::Single if self.merges_headers => request.headers_out().set(name, value)?,
                Class::List if self.merges_headers => {}
                _ => request.headers_out().add(name, value)?,
            }
        }
        if self.merges_headers {
            for (name, values) in head.lists() {
                request.headers_out().merge(name, values)?;
            }
        }
        match content_type {
            Some(value) if self.merges_headers => request.set_content_type(&response::content_type(value))?,
            Some(value) => request.set_content_type(value)?,
            None => {}
        }
        if let Some(length) = head.content_length() {
            request.set_content_length(length);
            self.allowance = Allowance::new(Some(length));
            self.length = Some(length);
        }
        if head.closes_connection() {
            request.connection().close_after_response();
        }
        self.head = Some(request.prepare_status(head.code(), head.reason())?);
        Ok(())
    }

    /// Sets the headers that one of Apache's own pages needs, too.
    pub(crate) fn add_challenges(&self, head: &Head<'_>) -> Result<(), ResponseFailed> {
        for (_, field) in head.fields().filter(|(class, _)| *class == Class::Challenge) {
            self.request.err_headers_out().add(field.name.or_empty(), field.value.or_empty())?;
        }
        Ok(())
    }

    /// Sends a block of the response's body (see [`bridge::Serve::write`]). `body` is that of the
    /// request.
    pub(crate) fn write(
        &mut self,
        block: &[u8],
        how: u32,
        body: &mut RequestBody<'_>,
    ) -> Result<(), ResponseFailed> {
        self.entry.begin_writing();
        self.begin()?;
        let is_empty = block.is_empty();
        let block = self.take_allowed(block);
        if !is_empty && (block.is_empty() || self.request.is_header_only()) {
            self.check_client()?;
        }
        let flush = how & write::FLUSH != 0;
        let may_wait = flush || self.held_back.saturating_add(block.len()) > PIECE;
        let block = if may_wait { self.send_in_pieces(block, body)? } else { block };
        self.held_back = if flush { 0 } else { self.held_back.saturating_add(block.len()) };
        if how & write::LAST == 0 {
            let excess = block.is_empty() && self.length.is_some();
            return if excess { Ok(()) } else { self.send(block, flush) };
        }
        // With the end in the same brigade Apache would serve ranges of it (see `send_file`), and
        // would set the length of what it got, which is less than declared if the body is not
        // wanted.
        if self.allowance.left() == Some(0) && !self.request.wants_range() {
            let sent = self.output.send_last(block);
            self.note_sent(block.len() as u64, sent);
            return self.unless_superseded(sent.map_err(ResponseFailed::from));
        }
        // With the end in the same brigade Apache would compute a length, which the contract does
        // not want (it is wrong for HEAD); and a body that is too short must not be ended here.
        if !block.is_empty() {
            self.send(block, false)?;
        }
        if self.is_complete() {
            self.output.end()?;
        }
        Ok(())
    }

    /// Gives a block to Apache's filters.
    fn send(&mut self, block: &[u8], flush: bool) -> Result<(), ResponseFailed> {
        let sent = self.output.send(block, flush);
        self.note_sent(block.len() as u64, sent);
        Ok(sent?)
    }

    /// Notes that so many bytes have gone to the client, unless they were not sent, or there is no
    /// body.
    fn note_sent(&self, length: u64, sent: Result<(), SendError>) {
        if sent.is_ok() && !self.request.is_header_only() {
            self.entry.add_written(length);
        }
    }

    /// Sends a block while the client still sends the body of the request: in pieces, each when the
    /// client's connection takes it. Then Apache, which can read nothing while it sends, does not
    /// wait there. Returns the last piece, which is still to be sent.
    fn send_in_pieces<'b>(
        &mut self,
        block: &'b [u8],
        body: &mut RequestBody<'_>,
    ) -> Result<&'b [u8], ResponseFailed> {
        let mut rest = block;
        while body.is_awaited() {
            body.make_way();
            let Some((piece, next)) = rest.split_at_checked(PIECE).filter(|(_, next)| !next.is_empty())
            else {
                break;
            };
            self.send(piece, false)?;
            rest = next;
        }
        Ok(rest)
    }

    /// Sends a part of a file (see [`bridge::Serve::send_file`]). `body` is that of the request.
    pub(crate) fn send_file(
        &mut self,
        file: &FilePart<'_>,
        body: &mut RequestBody<'_>,
    ) -> Result<(), ResponseFailed> {
        self.entry.begin_writing();
        self.begin()?;
        let length = self.allowance.take(file.length());
        if length == 0 {
            return Ok(());
        }
        let mut part = file.offset()..file.offset() + length;
        // Apache serves ranges of a body that it is given as a whole. It is to do that for files,
        // unless the application objects, but not for generated bodies: only the application knows
        // whether two requests give the same.
        let last =
            self.request.wants_range() && self.length.is_some() && self.is_complete() && self.has_ranges();
        self.held_back = usize::MAX;
        // As in `send_in_pieces`. (Sendfile would keep a descriptor for each.)
        while !last && part.end - part.start > PIECE as u64 && body.is_awaited() {
            body.make_way();
            let piece = part.start..part.start + PIECE as u64;
            part.start = piece.end;
            self.send_file_part(file, piece, false, false)?;
        }
        self.send_file_part(file, part, self.enable_sendfile, last)
    }

    fn send_file_part(
        &mut self,
        file: &FilePart<'_>,
        part: Range<u64>,
        uses_sendfile: bool,
        last: bool,
    ) -> Result<(), ResponseFailed> {
        let length = part.end - part.start;
        match self.output.send_file(file.file(), part, uses_sendfile, last) {
            Ok(()) => {
                self.note_sent(length, Ok(()));
                Ok(())
            }
            // The body was given as a whole.
            Err(SendFileError::NotSent) if last => self.unless_superseded(Err(ResponseFailed)),
            Err(SendFileError::NotSent) => Err(ResponseFailed),
            Err(SendFileError::FileTooShort) => {
                log::message(self.request, RESPONSE_TOO_SHORT, FILE_SHRUNK);
                Err(ResponseFailed)
            }
        }
    }

    /// Checks from time to time whether the client is gone while none of the body goes to it.
    /// Otherwise sending would show it; without, an application might go on for ever.
    fn check_client(&mut self) -> Result<(), ResponseFailed> {
        let now = Instant::now();
        let last = *self.last_client_check.get_or_insert(now);
        if now.saturating_duration_since(last) < CLIENT_CHECK_INTERVAL {
            return Ok(());
        }
        self.last_client_check = Some(now);
        if self.request.connection().is_hung_up() { Err(ResponseFailed) } else { Ok(()) }
    }

    /// Returns the result of sending a body with its end. If a filter has sent another response
    /// instead, the request is answered and the connection is as good as before.
    fn unless_superseded(&self, sent: Result<(), ResponseFailed>) -> Result<(), ResponseFailed> {
        if self.is_superseded() { Ok(()) } else { sent }
    }

    /// Returns whether the application allows ranges of its response.
    fn has_ranges(&self) -> bool {
        let ranges = self.request.headers_out().value(c"Accept-Ranges");
        !ranges.is_some_and(|ranges| ranges.trim_ascii().eq_ignore_ascii_case(b"none"))
    }

    /// Has Apache send all that it holds back. `body` is that of the request.
    pub(crate) fn flush(&mut self, body: &mut RequestBody<'_>) -> Result<(), ResponseFailed> {
        self.entry.begin_writing();
        body.make_way();
        self.held_back = 0;
        Ok(self.output.flush()?)
    }

    /// Returns whether the head has been given to Apache.
    pub(crate) fn is_begun(&self) -> bool {
        self.is_begun
    }

    /// Breaks the response off so that the client can tell.
    pub(crate) fn abort(mut self) {
        self.output.abort();
    }

    /// Returns whether a filter has sent another response (see [`Output::is_superseded`]).
    pub(crate) fn is_superseded(&self) -> bool {
        self.output.is_superseded()
    }

    /// Returns whether the client has all of it (see [`Output::is_whole`]).
    pub(crate) fn is_whole(&self) -> bool {
        self.output.is_whole()
    }

    /// Ends the response, or breaks it off, when the host is done with it and with `body`, that of
    /// the request.
    pub(crate) fn finish(mut self, outcome: Outcome, body: &mut RequestBody<'_>) -> Status {
        // To the end of the request: nothing else follows.
        self.entry.begin_writing();
        let input_failure = body.failure();
        body.disclaim();
        // Apache would read the rest of a body, however long, of a client that does not read.
        if self.request.connection().is_aborted() {
            self.request.connection().close_after_response();
        }
        let status = self.end(outcome, body, input_failure);
        if self.request.connection().is_aborted() && !self.is_whole() {
            self.entry.reject(Cause::ClientGone);
        }
        status
    }

    fn end(&mut self, outcome: Outcome, body: &mut RequestBody<'_>, input_failure: Option<Status>) -> Status {
        match outcome {
            _ if self.is_superseded() => {}
            Outcome::Complete if self.is_begun || self.head.is_some() => {
                if self.is_begun && self.held_back > PIECE {
                    body.make_way();
                }
                self.end_body();
                if self.held_back <= SENT_BEFORE_END {
                    self.output.flush_held_back();
                }
            }
            _ if self.is_begun => self.output.abort(),
            Outcome::Complete | Outcome::Aborted => return self.respond_with_error(500, input_failure),
            Outcome::Failed(status) => return self.respond_with_error(status, input_failure),
        }
        Status::Ok
    }

    fn end_body(&mut self) {
        // Failures to send have been reported to the host, or come too late to matter.
        if self.begin().is_err() {
            self.output.abort();
        } else if self.is_complete() || self.request.awaits_sendfile() {
            let _ = self.output.end();
        } else {
            // A client that has gone is not the application's fault.
            if !self.request.connection().is_aborted() {
                log::message(self.request, RESPONSE_TOO_SHORT, self.describe_shortfall());
            }
            self.output.abort();
        }
    }

    /// Returns the message about a body that is shorter than declared.
    fn describe_shortfall(&self) -> String {
        let length = self.length.unwrap_or(0);
        match length - self.allowance.left().unwrap_or(0).min(length) {
            0 => format!(
                "the application has declared a Content-Length of {length} and has sent no body: the client gets status 502"
            ),
            sent => format!(
                "the application has sent {sent} of the {length} bytes that its Content-Length declares: the connection is \
                 closed, so that the client can tell"
            ),
        }
    }

    /// Lets Apache respond with its own page.
    fn respond_with_error(&self, status: u16, input_failure: Option<Status>) -> Status {
        self.request.reset_status();
        match input_failure {
            // The application failed because the body did, whose status says more.
            Some(reason) if status == 500 => reason,
            _ => Status::Http(status),
        }
    }

    /// Gives the status to Apache, if that has not been done. From then on the response has begun.
    fn begin(&mut self) -> Result<(), ResponseFailed> {
        if self.is_begun {
            return Ok(());
        }
        if self.is_superseded() {
            return Err(ResponseFailed);
        }
        let head = self.head.as_ref().ok_or(ResponseFailed)?;
        head.apply();
        self.is_begun = true;
        Ok(())
    }

    fn take_allowed<'b>(&mut self, block: &'b [u8]) -> &'b [u8] {
        let length = self.allowance.take(block.len() as u64);
        &block[..usize::try_from(length).unwrap_or(block.len())]
    }

    /// Returns whether the declared body has been sent, or need not be.
    fn is_complete(&self) -> bool {
        let status = self.head.as_ref().map_or(200, ResponseStatus::code);
        self.allowance.left().unwrap_or(0) == 0
            || self.request.is_header_only()
            || matches!(status, 204 | 304)
    }
}
