//! The part of a question: variables of TLS, and the answer.

use std::os::fd::AsRawFd;
use std::time::{Duration, Instant};

use bridge::{Answer, Disconnected};
use nix::errno::Errno;
use nix::sys::socket::{MsgFlags, recv};
use os::descriptors::is_readable;
use wsgi_core::wire::Reader;
use wsgi_core::wire::frame::{Frame, HEADER, Header, Kind, LONGEST_NAME, append};

use super::{FrameExchange, Remainder};

/// The longest wait for a variable of TLS. A child that waits for an answer looks it up at once.
const LONGEST_LOOKUP: Duration = Duration::from_secs(10);

impl FrameExchange<'_> {
    /// Sends the answer to a question.
    pub(crate) fn answer(mut self, answer: &Answer) -> Remainder {
        self.observer.on_end();
        append(&mut self.out, Kind::Answer, 0, |payload| answer.encode(payload));
        self.has_ended = true;
        let sent = self.flush();
        Remainder { is_usable: sent.is_ok() && !self.is_broken, out: self.out }
    }

    /// Returns a variable of TLS, as the child knows it.
    pub(super) fn look_up(&mut self, name: &[u8]) -> Result<Option<Vec<u8>>, Disconnected> {
        // No variable has such a name.
        if name.len() > LONGEST_NAME {
            return Ok(None);
        }
        self.check_open()?;
        append(&mut self.out, Kind::Lookup, 0, |payload| payload.extend_from_slice(name));
        self.flush()?;
        let mut received = Vec::new();
        let deadline = Instant::now() + LONGEST_LOOKUP;
        loop {
            let parsed = match Frame::parse(&received) {
                Ok(Some((Frame { kind: Kind::Value, payload, .. }, length))) if length == received.len() => {
                    let mut reader = Reader::new(payload);
                    let value = reader.optional().map(|value| value.map(<[u8]>::to_vec));
                    value.and_then(|value| reader.end().map(|()| value))
                }
                Ok(None) => {
                    self.receive_value(&mut received, deadline)?;
                    continue;
                }
                Ok(Some(_)) | Err(_) => return Err(self.mark_broken()),
            };
            return parsed.map_err(|_| self.mark_broken());
        }
    }

    /// Appends the next bytes of a `Value` frame, of which `received` is the beginning.
    fn receive_value(&mut self, received: &mut Vec<u8>, deadline: Instant) -> Result<(), Disconnected> {
        let wanted = match Header::parse(received) {
            Ok(Some(Header { kind: Kind::Value, length, .. })) => HEADER + length,
            Ok(None) => HEADER,
            Ok(Some(_)) | Err(_) => return Err(self.mark_broken()),
        };
        let rest = deadline.saturating_duration_since(Instant::now());
        if !is_readable(self.stream, rest).unwrap_or(false) {
            return Err(self.mark_broken());
        }
        let start = received.len();
        received.resize(wanted, 0);
        let come = recv(self.stream.as_raw_fd(), &mut received[start..], MsgFlags::MSG_DONTWAIT);
        match come {
            Ok(count @ 1..) => received.truncate(start + count),
            Err(Errno::EINTR | Errno::EAGAIN) => received.truncate(start),
            Ok(_) | Err(_) => return Err(self.mark_broken()),
        }
        Ok(())
    }
}
