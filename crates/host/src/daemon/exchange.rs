//! The exchange of a request in frames: what [`bridge::Serve`] is over a connection.

mod body;
mod question;

use std::any::Any;
use std::ffi::c_int;
use std::io::IoSlice;
use std::os::fd::{AsRawFd, BorrowedFd, OwnedFd, RawFd};
use std::os::unix::net::UnixStream;
use std::task::Poll;

use bridge::{Bytes, Disconnected, Field, Head, Level, List, Serve, Times, outcome, write};
use nix::errno::Errno;
use nix::sys::socket::{ControlMessage, MsgFlags, send, sendmsg};
use os::file::FileStatus;
use wsgi_core::log_record;
use wsgi_core::wire::frame::{
    Frame, HEADER, Header, Kind, LONGEST_BLOCK, LONGEST_END, LONGEST_LINE, LONGEST_RECORD, append, flag,
};

use super::incoming::is_closed;
use super::{descriptors, server};

pub(super) use body::{ArrivedBody, BodyWait};

/// Blocks up to this length are copied behind the head, longer ones are sent from where they are.
const LONGEST_COPY: usize = 16 << 10;
/// The length at which output without a flush is sent.
const LONGEST_WAIT: usize = 64 << 10;
/// The length of unsent output beyond which lines for the log go to the server's log.
const LONGEST_BACKLOG: usize = 1 << 20;

/// An observer of a request's progress.
pub(crate) trait Observe: Send + Sync {
    /// Notes that a part of a body was moved.
    fn on_transfer(&self);
    /// Notes that the end of the response is about to be sent.
    fn on_end(&self);
    /// Returns the parts of the request's time, for its end.
    fn times(&self) -> Times;
}

/// The exchange of one request over a connection.
pub(crate) struct FrameExchange<'a> {
    stream: &'a UnixStream,
    observer: &'a dyn Observe,
    /// The part of the body that came with the request.
    arrived: ArrivedBody<'a>,
    /// The unread part of that.
    inline: &'a [u8],
    /// The place of the next read in the file that has all of the body.
    position: u64,
    /// That file, once it has been asked for.
    file: Option<OwnedFd>,
    /// Bytes of a `Body` frame that are still in the socket.
    pending: usize,
    /// The rest of the body is in `inline` and `pending`.
    is_complete: bool,
    /// The rest of the body cannot be read.
    has_failed: bool,
    /// The body has been asked for, so a waiting client continues.
    is_wanted: bool,
    /// The size that the last `Pull` asked for; 0 if it has been answered.
    requested: usize,
    /// Frames to be sent.
    out: Vec<u8>,
    /// The length of the rest in `out` of a frame that has been sent partly.
    partial: usize,
    /// The connection cannot be used any more.
    is_broken: bool,
    has_ended: bool,
    /// Test hook: panic when the body is read, or a block sent.
    #[cfg(debug_assertions)]
    panics: bool,
}

/// The reusable parts of a finished [`FrameExchange`].
pub(crate) struct Remainder {
    /// Memory for the next one.
    pub(crate) out: Vec<u8>,
    /// The connection can be used again.
    pub(crate) is_usable: bool,
}

impl<'a> FrameExchange<'a> {
    /// Returns an exchange whose body has come so far. `out` is memory to reuse.
    pub(crate) fn new(
        stream: &'a UnixStream,
        observer: &'a dyn Observe,
        arrived: ArrivedBody<'a>,
        mut out: Vec<u8>,
    ) -> Self {
        out.clear();
        Self {
            stream,
            observer,
            inline: arrived.bytes,
            pending: 0,
            is_complete: arrived.is_whole,
            arrived,
            position: 0,
            file: None,
            has_failed: false,
            is_wanted: false,
            requested: 0,
            out,
            partial: 0,
            is_broken: false,
            has_ended: false,
            #[cfg(debug_assertions)]
            panics: false,
        }
    }

    /// Test hook: has it panic when the body is read, or a block sent.
    #[cfg(debug_assertions)]
    pub(crate) const fn with_panics(mut self, panics: bool) -> Self {
        self.panics = panics;
        self
    }

    /// Ends the request.
    pub(crate) fn finish(mut self, outcome: u32) -> Remainder {
        let sent = if self.has_ended {
            Ok(())
        } else {
            self.end(outcome);
            self.flush()
        };
        // A reply to a `Pull` may still come if the response did not wait for it.
        let is_usable = sent.is_ok() && !self.is_broken && self.requested == 0 && self.discard_body().is_ok();
        Remainder { out: self.out, is_usable }
    }

    /// Leaves the request as if it had not begun.
    pub(crate) fn abandon(mut self) -> Remainder {
        self.out.truncate(self.partial);
        let is_usable = self.flush().is_ok() && !self.is_broken;
        Remainder { out: self.out, is_usable }
    }

    fn end(&mut self, outcome: u32) {
        self.observer.on_end();
        let end = self.end_frame(outcome);
        self.out.extend_from_slice(&end);
        self.has_ended = true;
    }

    /// Returns the frame that ends the request.
    fn end_frame(&self, outcome: u32) -> [u8; HEADER + LONGEST_END] {
        let mut frame = [0; HEADER + LONGEST_END];
        let (header, payload) = frame.split_at_mut(HEADER);
        header.copy_from_slice(&Header { kind: Kind::End, flags: 0, length: LONGEST_END }.bytes());
        let (number, times) = payload.split_at_mut(LONGEST_END - Times::LENGTH);
        number.copy_from_slice(&outcome.to_le_bytes());
        times.copy_from_slice(&self.observer.times().bytes());
        frame
    }

    /// Sends the pending output.
    fn flush(&mut self) -> Result<(), Disconnected> {
        self.send(&[])
    }

    /// Sends the pending output, then `parts`.
    fn send(&mut self, parts: &[&[u8]]) -> Result<(), Disconnected> {
        if self.is_lost() {
            self.log_unsent(0);
            return Err(Disconnected);
        }
        let out = std::mem::take(&mut self.out);
        let mut slices = [IoSlice::new(&out), IoSlice::new(&[]), IoSlice::new(&[]), IoSlice::new(&[])];
        for (slice, part) in slices[1..].iter_mut().zip(parts) {
            *slice = IoSlice::new(part);
        }
        let sent = send_all(self.stream, &mut slices[..=parts.len()]);
        self.out = out;
        if let Err(Unsent { sent }) = sent {
            self.is_broken = true;
            self.log_unsent(sent);
        }
        self.out.clear();
        self.partial = 0;
        Ok(sent?)
    }

    /// Logs the lines that wait to be sent and cannot be, without the request that they belong to.
    /// `sent` is the length of the part of `out` that has been sent.
    fn log_unsent(&mut self, sent: usize) {
        let out = std::mem::take(&mut self.out);
        let mut start = std::mem::take(&mut self.partial);
        // A copy of the process has a copy of the lines.
        while !descriptors::is_copy()
            && let Some(rest) = out.get(start..)
            && let Ok(Some((frame, length))) = Frame::parse(rest)
        {
            start += length;
            if frame.kind == Kind::Log
                && start > sent
                && let [level, line @ ..] = frame.payload
            {
                log_elsewhere(c_int::from(*level), line);
            }
        }
        self.out = out;
        self.out.clear();
    }

    /// Reads a file here and sends its contents. For files whose reader may have to wait: a thread
    /// of Apache must not.
    fn stream_file(&mut self, file: BorrowedFd<'_>, offset: u64, length: u64) -> Result<(), Disconnected> {
        let mut block = vec![0; LONGEST_WAIT];
        let (mut offset, mut left) = (offset, length);
        while left > 0 {
            let most = usize::try_from(left).unwrap_or(block.len()).min(block.len());
            match os::file::read_at(file, &mut block[..most], offset) {
                Ok(count @ 1..) => {
                    self.write(&block[..count], 0)?;
                    (offset, left) = (offset + count as u64, left - count as u64);
                }
                // A missing rest closes the connection.
                ended => {
                    let cause =
                        ended.map_or_else(|error| error.to_string(), |_| "it has become shorter".to_owned());
                    let text = format!("a file cannot be read to its end: {cause}");
                    self.log(Level::Error as c_int, text.as_bytes());
                    return Err(self.mark_broken());
                }
            }
        }
        Ok(())
    }

    /// Fails if the response has ended: another thread may still write, and its data would be taken
    /// for the next response.
    fn check_open(&self) -> Result<(), Disconnected> {
        if self.has_ended || self.is_lost() { Err(Disconnected) } else { Ok(()) }
    }

    /// Returns whether the connection cannot be used: it is broken, or this is a forked copy of the
    /// process.
    fn is_lost(&self) -> bool {
        self.is_broken || descriptors::is_copy()
    }

    fn mark_broken(&mut self) -> Disconnected {
        self.is_broken = true;
        Disconnected
    }
}

impl Serve for FrameExchange<'_> {
    fn poll_read(&mut self, buffer: &mut [u8]) -> Result<Poll<usize>, Disconnected> {
        #[cfg(debug_assertions)]
        assert!(!self.panics, "WSGIDebugPanic exchange, read");
        self.read(buffer).map(|come| come.map_or(Poll::Pending, Poll::Ready))
    }

    fn seek(&mut self, position: u64) -> Option<u64> {
        if let Some(length) = self.arrived.file_length {
            self.position = position.min(length);
            return Some(length);
        }
        let all = self.arrived.bytes;
        self.arrived.is_whole.then(|| {
            self.inline = &all[usize::try_from(position).unwrap_or(usize::MAX).min(all.len())..];
            all.len() as u64
        })
    }

    /// Returns whether the child has shut down its sending direction, or closed the connection.
    fn is_gone(&mut self) -> bool {
        // While a body is on its way, incoming data says nothing.
        self.is_lost() || (self.pending == 0 && self.requested == 0 && is_closed(self.stream))
    }

    fn start(&mut self, status: u16, reason: Bytes<'_>, headers: &[Field<'_>]) -> Result<(), Disconnected> {
        self.check_open()?;
        let head = Head { status, reason, headers: List::new(headers) };
        append(&mut self.out, Kind::Head, 0, |payload| head.encode(payload));
        Ok(())
    }

    fn write(&mut self, block: &[u8], how: u32) -> Result<(), Disconnected> {
        #[cfg(debug_assertions)]
        assert!(!self.panics, "WSGIDebugPanic exchange, write");
        self.check_open()?;
        self.observer.on_transfer();
        let is_last = how & write::LAST != 0;
        let flags = if how & write::FLUSH != 0 { flag::FLUSH } else { 0 };
        if block.len() <= LONGEST_COPY {
            append(&mut self.out, Kind::Data, flags, |payload| payload.extend_from_slice(block));
            if is_last {
                self.end(outcome::COMPLETE);
            }
            if is_last || flags != 0 || self.out.len() > LONGEST_WAIT {
                return self.flush();
            }
            return Ok(());
        }
        let mut pieces = block.chunks(LONGEST_BLOCK).peekable();
        while let Some(piece) = pieces.next() {
            let is_end = pieces.peek().is_none();
            // The application reads no more, which the server may need to know before the end.
            let flags = if is_last { flag::LAST } else { 0 } | if is_end { flags } else { 0 };
            let header = Header { kind: Kind::Data, flags, length: piece.len() };
            let end_frame;
            let end: &[u8] = if is_end && is_last {
                self.has_ended = true;
                self.observer.on_end();
                end_frame = self.end_frame(outcome::COMPLETE);
                &end_frame
            } else {
                &[]
            };
            self.send(&[&header.bytes(), piece, end])?;
        }
        Ok(())
    }

    fn send_file(&mut self, file: BorrowedFd<'_>, offset: u64, length: u64) -> Result<(), Disconnected> {
        self.check_open()?;
        if !FileStatus::read(file).is_ok_and(|facts| facts.is_local()) {
            return self.stream_file(file, offset, length);
        }
        self.observer.on_transfer();
        // The descriptor comes with the first byte of its message.
        self.flush()?;
        let mut message = [0; HEADER + 16];
        message[..HEADER].copy_from_slice(&Header { kind: Kind::File, flags: 0, length: 16 }.bytes());
        message[HEADER..HEADER + 8].copy_from_slice(&offset.to_le_bytes());
        message[HEADER + 8..].copy_from_slice(&length.to_le_bytes());
        let descriptors: [RawFd; 1] = [file.as_raw_fd()];
        let rights = [ControlMessage::ScmRights(&descriptors)];
        let sent = loop {
            let parts = [IoSlice::new(&message)];
            match sendmsg::<()>(self.stream.as_raw_fd(), &parts, &rights, MsgFlags::MSG_NOSIGNAL, None) {
                Err(Errno::EINTR) => {}
                other => break other,
            }
        };
        match sent {
            Ok(count) if count == message.len() => Ok(()),
            Ok(count) => Ok(send_all(self.stream, &mut [IoSlice::new(&message[count..])])
                .inspect_err(|_| self.is_broken = true)?),
            Err(_) => Err(self.mark_broken()),
        }
    }

    fn log(&mut self, level: c_int, line: &[u8]) {
        let longest = if log_record::is_record(line) { LONGEST_RECORD } else { LONGEST_LINE };
        let line = &line[..line.len().min(longest)];
        let level_byte = [u8::try_from(level).unwrap_or(Level::Error as u8)];
        let elsewhere = || log_elsewhere(level, line);
        if self.has_ended || self.is_lost() || self.out.len() > LONGEST_BACKLOG {
            return elsewhere();
        }
        let header = Header { kind: Kind::Log, flags: 0, length: line.len() + 1 }.bytes();
        let mut sent = 0;
        if self.partial == 0 {
            // Must not block: what cannot be sent now goes with the next write.
            let parts = [IoSlice::new(&header), IoSlice::new(&level_byte), IoSlice::new(line)];
            let how = MsgFlags::MSG_NOSIGNAL | MsgFlags::MSG_DONTWAIT;
            sent = match sendmsg::<()>(self.stream.as_raw_fd(), &parts, &[], how, None) {
                Ok(count) => count,
                Err(Errno::EAGAIN | Errno::EINTR) => 0,
                Err(_) => {
                    self.is_broken = true;
                    return elsewhere();
                }
            };
        }
        let total = HEADER + 1 + line.len();
        if sent == total {
            return;
        }
        let frame = [&header[..], &level_byte, line].concat();
        if sent > 0 {
            self.out.splice(0..0, frame[sent..].iter().copied());
            self.partial = total - sent;
        } else {
            self.out.extend_from_slice(&frame);
        }
    }

    fn tls_variable(&mut self, name: &[u8]) -> Option<Vec<u8>> {
        self.look_up(name).unwrap_or_default()
    }

    /// Does nothing: the panic hook of the process has reported it.
    fn report_panic(&mut self, _: &str, _: &(dyn Any + Send)) {}
}

/// Logs a line of a request whose connection takes none.
fn log_elsewhere(level: c_int, line: &[u8]) {
    let level = if level <= Level::Error as c_int { Level::Error } else { Level::Info };
    server::server().log(level, line);
}

/// The error where a connection fails before all has been sent.
struct Unsent {
    /// The number of bytes that have been sent.
    sent: usize,
}

impl From<Unsent> for Disconnected {
    fn from(_: Unsent) -> Self {
        Self
    }
}

/// Sends all of `slices`.
fn send_all(stream: &UnixStream, mut slices: &mut [IoSlice<'_>]) -> Result<(), Unsent> {
    let mut sent = 0;
    IoSlice::advance_slices(&mut slices, 0);
    while !slices.is_empty() {
        // Most responses are one piece, which costs the kernel less as such.
        let result = match &*slices {
            [piece] => send(stream.as_raw_fd(), piece, MsgFlags::MSG_NOSIGNAL),
            pieces => sendmsg::<()>(stream.as_raw_fd(), pieces, &[], MsgFlags::MSG_NOSIGNAL, None),
        };
        match result {
            Ok(count) => {
                sent += count;
                IoSlice::advance_slices(&mut slices, count);
            }
            Err(Errno::EINTR) => {}
            Err(_) => return Err(Unsent { sent }),
        }
    }
    Ok(())
}
