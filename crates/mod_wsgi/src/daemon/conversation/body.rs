//! The body of the request, in the parts that the process asks for.

use std::io;
use std::task::Poll;

use httpd::Status;
use os::descriptors::{self, Wait};
use wsgi_core::wire::frame::{self, HEADER, Header, Kind, LONGEST_BLOCK, flag};

use super::{Conversation, ConversationError, TICK};
use crate::request_body::{Whole, log_unread};

impl Conversation<'_, '_> {
    /// Handles a request for a part of the body.
    pub(super) fn on_pull(&mut self, wanted: u32) -> Result<(), ConversationError> {
        if self.response.is_begun() {
            self.request.withhold_continue();
        }
        if wanted == 0 {
            if self.request.expects_continue() {
                self.request.send_continue();
            }
            return Ok(());
        }
        // The client may send nothing before it has seen the response so far.
        if self.unflushed > 0 {
            self.flush()?;
        }
        // A process waits for one part at a time. It gets a file once: only so many descriptors may be
        // on their way in the whole system.
        if self.wanted > 0 || !self.unsent.is_empty() || self.has_file {
            return Err(ConversationError::Malformed);
        }
        self.is_committed = true;
        self.wanted = usize::try_from(wanted).unwrap_or(LONGEST_BLOCK).min(LONGEST_BLOCK);
        Ok(())
    }

    /// Takes a part of the body that the process waits for from the client, to be sent. Returns
    /// whether there was one, or none will follow.
    ///
    /// Meanwhile the process may send other frames: another of its threads may write the response.
    pub(super) fn take_body(&mut self) -> Result<bool, ConversationError> {
        let message = &mut self.connection.outgoing;
        if let Some(Whole::File(_, length)) = self.input.whole() {
            frame::append(message, Kind::BodyFile, 0, |payload| {
                payload.extend_from_slice(&length.to_le_bytes())
            });
            self.wanted = 0;
            self.unsent = message.len() - HEADER - 8..message.len();
            (self.has_file, self.sends_file) = (true, true);
            return Ok(true);
        }
        if message.len() < HEADER + self.wanted {
            message.resize(HEADER + self.wanted, 0);
        }
        if self.response.is_begun() {
            self.request.withhold_continue();
        }
        let read = self.input.poll_read(&mut message[HEADER..HEADER + self.wanted]);
        let (length, flags) = match read {
            Ok(Poll::Pending) => return Ok(false),
            Ok(Poll::Ready(length)) if length == 0 || self.input.is_ended() => (length, flag::LAST),
            Ok(Poll::Ready(length)) => (length, 0),
            Err(_) => (0, flag::FAILED),
        };
        message[..HEADER].copy_from_slice(&Header { kind: Kind::Body, flags, length }.bytes());
        self.wanted = 0;
        self.unsent = 0..HEADER + length;
        if let Err(status) = read {
            self.log_unread_body(status);
        }
        Ok(true)
    }

    /// Logs, once, that the body cannot be read.
    fn log_unread_body(&mut self, status: Status) {
        if std::mem::replace(&mut self.is_body_failure_logged, true) {
            return;
        }
        log_unread(self.request, status, "The application gets an OSError");
    }

    /// Sends what is left of a part of the body. Returns when that is done, or when the process has
    /// sent something: a thread of it that writes may keep the one that reads waiting, so each side
    /// must take what the other sends.
    pub(super) fn send_body(&mut self) -> Result<(), ConversationError> {
        while !self.unsent.is_empty() {
            let Conversation { connection, unsent, input, sends_file, .. } = self;
            let file = match input.whole() {
                Some(Whole::File(file, _)) if *sends_file => Some(file),
                _ => None,
            };
            let sent = descriptors::send_with(
                &connection.socket,
                &connection.outgoing[unsent.clone()],
                file.as_slice(),
                Wait::Never,
            );
            match sent {
                Ok(count) => {
                    self.unsent.start += count;
                    // It goes with the first byte.
                    self.sends_file = false;
                    self.silent_since = None;
                }
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {
                    match descriptors::readiness(&self.connection.socket, TICK) {
                        Ok([true, _]) | Err(_) => return Ok(()),
                        Ok([false, true]) => {}
                        Ok([false, false]) => self.check_patience()?,
                    }
                }
                // The data that the process sent before it closed the connection is still to be
                // read, and may end the response.
                Err(error)
                    if matches!(error.kind(), io::ErrorKind::BrokenPipe | io::ErrorKind::ConnectionReset) =>
                {
                    return Ok(());
                }
                Err(error) => return Err(ConversationError::Reset(error)),
            }
        }
        Ok(())
    }
}
