//! A question to a script that runs in a daemon process.
//!
//! Whatever fails, there is no answer, and the reason is logged: the request is refused. A process
//! that is being replaced passes a question on as it does a request; a question that was read is
//! never sent twice.

use std::fmt::Display;
use std::io;
use std::ops::Range;
use std::time::{Duration, Instant};

use bridge::{Answer, Question};
use httpd::Request;
use wsgi_core::codes::{HOOK_UNANSWERED, REQUEST_TOO_LONG};
use wsgi_core::wire::frame::{self, Frame, HEADER, Header, Kind, Rejection};
use wsgi_core::wire::{Malformed, Reader, Schema, Writer};

use super::crash;
use super::dispatch::Dispatch;
use super::last_lines::{log_last_lines, log_line};
use super::pool::{Connection, send};
use super::target::Target;
use crate::log;

/// The precision of a process's timers.
const PRECISION: Duration = Duration::from_millis(10);

/// Asks a script through a process of the group, for the question's time at most.
pub(crate) fn ask(target: &Target<'_>, request: &Request, mut question: Question<'_>) -> Answer {
    let deadline = Instant::now() + Duration::from_millis(question.time_limit.into());
    question.facts.queue_start = os::clock::microseconds();
    question.facts.queue_ticks = os::clock::ticks();
    let mut dispatch = Dispatch::new(target, request, question.facts.queue_ticks, None).until(deadline);
    let mut message = Vec::new();
    loop {
        let mut connection = match dispatch.connect() {
            Ok(connection) => connection,
            Err(_) if Instant::now() >= deadline => return Answer::TimedOut,
            Err(_) => return Answer::Failed,
        };
        let (slot, was_used) = (connection.slot, connection.is_used);
        let _active = target.client.idle.begin_request(slot);
        if message.is_empty() {
            message = std::mem::take(&mut connection.outgoing);
            message.clear();
            frame::append(&mut message, Kind::Request, 0, |payload| question.encode(payload));
            if message.len() - HEADER > frame::LONGEST_REQUEST {
                let text = "the headers and variables of the request are too long";
                log::message(request, REQUEST_TOO_LONG, text);
                return Answer::Failed;
            }
        }
        dispatch.prepare(&mut message, &connection);
        connection.outgoing = std::mem::take(&mut message);
        let conversation =
            QuestionConversation { target, request, connection, unread: 0..0, has_begun: false, deadline };
        let refused = match conversation.run() {
            // The process has interrupted the script at the same time.
            QuestionEnd::Answered(Answer::Failed) if Instant::now() + PRECISION >= deadline => {
                return Answer::TimedOut;
            }
            QuestionEnd::Answered(answer) => return answer,
            QuestionEnd::Unread(outgoing) => {
                message = outgoing;
                dispatch.on_unread(slot, was_used)
            }
            QuestionEnd::Rejected(outgoing, rejection) => {
                message = outgoing;
                dispatch.on_rejection(slot, rejection)
            }
        };
        if refused.is_some() {
            return if Instant::now() >= deadline { Answer::TimedOut } else { Answer::Failed };
        }
    }
}

/// The end of a conversation about a question.
enum QuestionEnd {
    Answered(Answer),
    /// The process has not read the question, which is in this message.
    Unread(Vec<u8>),
    /// The process has not asked the script; the question is in this message.
    Rejected(Vec<u8>, Rejection),
}

/// The reason why a conversation cannot go on.
enum QuestionError {
    /// The other end was closed after it had read all that was sent.
    Closed,
    /// The other end was closed before it had read all, or the connection failed.
    Reset(io::Error),
    /// The time is over.
    TimedOut,
    /// The process violated the protocol.
    Malformed,
    /// Nobody waits for the response: the client is gone, or the server ends.
    NotWanted,
    /// No process has taken the connection, and none will.
    Unsupervised,
}

impl From<Malformed> for QuestionError {
    fn from(Malformed: Malformed) -> Self {
        Self::Malformed
    }
}

/// The result of a frame.
enum Step {
    Continue,
    Answered(Answer),
    Rejected(Rejection),
}

/// One question on one connection.
struct QuestionConversation<'a> {
    target: &'a Target<'a>,
    request: &'a Request,
    connection: Connection,
    /// The part of `connection.incoming` that has not been processed.
    unread: Range<usize>,
    /// Set once the process has sent anything about this question.
    has_begun: bool,
    deadline: Instant,
}

impl QuestionConversation<'_> {
    /// Sends the question (`connection.outgoing`), and waits for the answer.
    fn run(mut self) -> QuestionEnd {
        match send(&self.connection.socket, &self.connection.outgoing) {
            Ok(()) => {}
            // The socket has a part of it, and the process reads nothing.
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => {
                return QuestionEnd::Answered(self.fail(QuestionError::Reset(error)));
            }
            Err(_) => return QuestionEnd::Unread(self.connection.outgoing),
        }
        loop {
            let step = match self.next_step() {
                Ok(Some(step)) => Ok(step),
                Ok(None) => self.read_more().map(|()| Step::Continue),
                Err(error) => Err(error),
            };
            match step {
                Ok(Step::Continue) => {}
                Ok(Step::Answered(answer)) => {
                    self.keep_connection();
                    return QuestionEnd::Answered(answer);
                }
                Ok(Step::Rejected(rejection)) => {
                    let message = std::mem::take(&mut self.connection.outgoing);
                    if rejection != Rejection::Moved {
                        self.keep_connection();
                    }
                    return QuestionEnd::Rejected(message, rejection);
                }
                Err(QuestionError::Reset(_)) if !self.has_begun => {
                    return QuestionEnd::Unread(self.connection.outgoing);
                }
                Err(error) => return QuestionEnd::Answered(self.fail(error)),
            }
        }
    }

    /// Keeps the connection for the next request, unless there is something left on it.
    fn keep_connection(mut self) {
        if self.unread.is_empty() {
            self.connection.shrink();
            self.target.client.idle.put_back(self.connection, self.target.thread_count());
        }
    }

    /// Processes the next frame. Returns `None` if it has not arrived.
    fn next_step(&mut self) -> Result<Option<Step>, QuestionError> {
        let unread = &self.connection.incoming[self.unread.clone()];
        let Some(header) = Header::parse(unread)? else { return Ok(None) };
        // Checked before there is memory for it.
        if !matches!(header.kind, Kind::Hello | Kind::Log | Kind::Lookup | Kind::Answer | Kind::Reject) {
            return Err(QuestionError::Malformed);
        }
        let Some((Frame { kind, .. }, length)) = Frame::parse(unread)? else {
            self.unread = self.connection.make_room(self.unread.clone(), HEADER + header.length);
            return Ok(None);
        };
        // The frame stays in place while it is processed.
        let range = self.unread.start + HEADER..self.unread.start + length;
        self.unread.start += length;
        let incoming = std::mem::take(&mut self.connection.incoming);
        let step = self.on_frame(kind, &incoming[range]);
        self.connection.incoming = incoming;
        step.map(Some)
    }

    fn on_frame(&mut self, kind: Kind, payload: &[u8]) -> Result<Step, QuestionError> {
        let mut reader = Reader::new(payload);
        if kind == Kind::Hello {
            Schema::check(&mut reader)?;
            self.connection.pid = reader.u32()?;
            return Ok(Step::Continue);
        }
        let is_first = !std::mem::replace(&mut self.has_begun, true);
        match kind {
            Kind::Reject if is_first => return Ok(Step::Rejected(Rejection::parse(payload)?)),
            Kind::Answer => return Ok(Step::Answered(Answer::decode(payload)?)),
            Kind::Log => log_line(self.request, payload)?,
            Kind::Lookup => self.look_up(payload)?,
            _ => return Err(QuestionError::Malformed),
        }
        Ok(Step::Continue)
    }

    /// Sends the value of a variable of TLS.
    fn look_up(&mut self, name: &[u8]) -> Result<(), QuestionError> {
        let value = self.request.tls_variable(name).filter(|value| value.len() < frame::LONGEST_VALUE / 2);
        let mut message = Vec::new();
        frame::append(&mut message, Kind::Value, 0, |payload| Writer::new(payload).optional(value));
        send(&self.connection.socket, &message).map_err(QuestionError::Reset)
    }

    /// Waits for more data, and reads it.
    fn read_more(&mut self) -> Result<(), QuestionError> {
        self.unread = self.connection.make_room(self.unread.clone(), self.unread.len() + 1);
        loop {
            if Instant::now() >= self.deadline {
                return Err(QuestionError::TimedOut);
            }
            let generation = &self.target.client.generation;
            let slot = self.connection.slot;
            let may_spin = self.connection.is_alone && self.target.client.solitude.lasts();
            let received = self.connection.receive(self.unread.end, may_spin, || generation.busy(slot) <= 1);
            match received {
                Ok((0, _)) => return Err(QuestionError::Closed),
                // No answer comes with descriptors; they are closed.
                Ok((length, files)) => {
                    self.unread.end += length;
                    return if files.is_empty() { Ok(()) } else { Err(QuestionError::Malformed) };
                }
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => self.check_patience()?,
                Err(error) if error.kind() == io::ErrorKind::InvalidData => {
                    return Err(QuestionError::Malformed);
                }
                Err(error) => return Err(QuestionError::Reset(error)),
            }
        }
    }

    /// Checks, after a while without data, whether somebody still waits, and may get an answer.
    fn check_patience(&self) -> Result<(), QuestionError> {
        let connection = self.request.connection();
        if connection.is_shut_down() || connection.is_hung_up() {
            return Err(QuestionError::NotWanted);
        }
        if self.connection.pid == 0 && self.target.client.generation.is_unsupervised() {
            return Err(QuestionError::Unsupervised);
        }
        Ok(())
    }

    /// Logs why there is no answer, and gives the connection up.
    fn fail(self, error: QuestionError) -> Answer {
        if !matches!(error, QuestionError::Malformed) {
            log_last_lines(self.request, &self.connection, self.unread.clone(), 0);
        }
        let pid = self.connection.pid;
        let how = |what: &dyn Display| {
            crash::describe(&self.target.client.generation, self.connection.slot, pid)
                .map_or_else(|| what.to_string(), |ended| format!("it was ended by {ended}"))
        };
        let text = match error {
            QuestionError::TimedOut => return Answer::TimedOut,
            QuestionError::NotWanted => return Answer::Failed,
            QuestionError::Unsupervised => {
                let _ = self.target.unsupervised(self.request);
                return Answer::Failed;
            }
            QuestionError::Closed => how(&"it has closed the connection"),
            QuestionError::Reset(error) => how(&error),
            QuestionError::Malformed => "it has violated the protocol".to_owned(),
        };
        // A process sends its id when it takes the connection.
        let process = if pid == 0 { "a process".to_owned() } else { format!("the process {pid}") };
        let group = String::from_utf8_lossy(&self.target.group.name);
        let text = format_args!(
            "no answer from {process} of the group '{group}', and the request is refused: {text}"
        );
        log::message(self.request, HOOK_UNANSWERED, text);
        Answer::Failed
    }
}
