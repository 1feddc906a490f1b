//! The body of a request: the part that comes with it, and the rest, which is pulled.

use std::io::{self, IoSlice, IoSliceMut};
use std::os::fd::AsRawFd;
use std::os::unix::net::UnixStream;
use std::time::Duration;

use bridge::{Disconnected, Wait};
use nix::errno::Errno;
use nix::sys::socket::{MsgFlags, recvmsg};
use os::descriptors::{self, receive_with};
use os::waiter::Waiter;
use wsgi_core::wire::frame::{HEADER, Header, Kind, LONGEST_BLOCK, flag};
use wsgi_core::wire::{Malformed, Reader};

use super::{FrameExchange, LONGEST_COPY, send_all};

/// The part of a body that comes with its request.
#[derive(Debug, Clone, Copy)]
pub(crate) struct ArrivedBody<'a> {
    pub(crate) bytes: &'a [u8],
    /// These bytes are all.
    pub(crate) is_whole: bool,
    /// The length of the body, if the server has a file of all of it.
    pub(crate) file_length: Option<u64>,
}

impl<'a> ArrivedBody<'a> {
    /// The body of a request that has none.
    pub(crate) const NONE: Self = Self { bytes: &[], is_whole: true, file_length: None };

    /// Reads it from the end of a request.
    pub(crate) fn decode(reader: &mut Reader<'a>) -> Result<Self, Malformed> {
        let is_whole = reader.bool()?;
        let bytes = reader.optional()?.unwrap_or_default();
        let file_length = Some(reader.u64()?).filter(|length| *length > 0);
        Ok(Self { bytes, is_whole, file_length })
    }
}

impl FrameExchange<'_> {
    /// Asks for more of the body; once that is done, reads the beginning of the reply into
    /// `buffer`. Returns `None` if that has not arrived.
    fn pull(&mut self, buffer: &mut [u8]) -> Result<Option<usize>, Disconnected> {
        if self.requested == 0 {
            // A large read is likely to be followed by more.
            let wanted = if buffer.len() < LONGEST_COPY { LONGEST_COPY } else { LONGEST_BLOCK };
            self.is_wanted = true;
            self.send_pull(wanted as u32)?;
            self.requested = wanted;
            // The reply takes longer than a check.
            return Ok(None);
        }
        let mut header = [0; HEADER];
        let mut have = 0;
        while have < HEADER {
            // The rest of a header arrives soon.
            let waits = have > 0;
            match self.receive(&mut [IoSliceMut::new(&mut header[have..]), IoSliceMut::new(buffer)], waits) {
                Err(Errno::EAGAIN) => return Ok(None),
                Ok(0) | Err(_) => return Err(self.mark_broken()),
                Ok(count) => have += count,
            }
        }
        let arrived = have - HEADER;
        let Ok(Some(Header { kind: Kind::Body, flags, length })) = Header::parse(&header) else {
            return Err(self.mark_broken());
        };
        if arrived > length || length > std::mem::take(&mut self.requested) {
            return Err(self.mark_broken());
        }
        self.pending = length - arrived;
        self.has_failed = flags & flag::FAILED != 0;
        self.is_complete = flags & flag::LAST != 0;
        if length == 0 && !self.has_failed && !self.is_complete {
            Err(self.mark_broken())
        } else {
            Ok(Some(arrived))
        }
    }

    /// Receives from the connection. Unless `waits`, fails with `EAGAIN` if there is nothing.
    fn receive(&self, parts: &mut [IoSliceMut<'_>], waits: bool) -> nix::Result<usize> {
        let how = if waits { MsgFlags::empty() } else { MsgFlags::MSG_DONTWAIT };
        loop {
            match recvmsg::<()>(self.stream.as_raw_fd(), parts, None, how).map(|received| received.bytes) {
                Err(Errno::EINTR) => {}
                received => return received,
            }
        }
    }

    /// Reads some of the body. Returns `None` if there is nothing yet.
    pub(super) fn read(&mut self, buffer: &mut [u8]) -> Result<Option<usize>, Disconnected> {
        // After the end there are no replies.
        if self.is_lost() || self.has_ended {
            return Err(Disconnected);
        }
        if buffer.is_empty() {
            let is_here = self.arrived.file_length.is_some() || self.is_complete;
            if self.inline.is_empty() && self.pending == 0 && !is_here && !self.is_wanted {
                self.is_wanted = true;
                self.send_pull(0)?;
            }
            return Ok(Some(0));
        }
        self.observer.on_transfer();
        if let Some(length) = self.arrived.file_length {
            return self.read_file(length, buffer);
        }
        if !self.inline.is_empty() {
            let (taken, rest) = self.inline.split_at(buffer.len().min(self.inline.len()));
            buffer[..taken.len()].copy_from_slice(taken);
            self.inline = rest;
            return Ok(Some(taken.len()));
        }
        loop {
            if self.pending > 0 {
                let most = self.pending.min(buffer.len());
                return match self.receive(&mut [IoSliceMut::new(&mut buffer[..most])], false) {
                    Err(Errno::EAGAIN) => Ok(None),
                    Ok(0) | Err(_) => Err(self.mark_broken()),
                    Ok(count) => {
                        self.pending -= count;
                        Ok(Some(count))
                    }
                };
            }
            if self.has_failed {
                return Err(Disconnected);
            }
            if self.is_complete {
                return Ok(Some(0));
            }
            match self.pull(buffer)? {
                Some(0) => {}
                come => return Ok(come),
            }
        }
    }

    /// Reads from the file that has all of the body. Returns `None` if it has not arrived.
    fn read_file(&mut self, length: u64, buffer: &mut [u8]) -> Result<Option<usize>, Disconnected> {
        if self.has_failed {
            return Err(Disconnected);
        }
        let most = usize::try_from(length - self.position).unwrap_or(usize::MAX).min(buffer.len());
        if most == 0 {
            return Ok(Some(0));
        }
        if self.file.is_none() && !self.receive_file()? {
            return Ok(None);
        }
        let file = self.file.as_ref().ok_or(Disconnected)?;
        match os::file::read_at(file, &mut buffer[..most], self.position) {
            Ok(count @ 1..) => {
                self.position += count as u64;
                Ok(Some(count))
            }
            // It has become shorter, or the disk fails.
            Ok(0) | Err(_) => {
                self.has_failed = true;
                Err(Disconnected)
            }
        }
    }

    /// Asks for the file; once that is done, receives it. Returns whether it has arrived.
    fn receive_file(&mut self) -> Result<bool, Disconnected> {
        if self.requested == 0 {
            self.is_wanted = true;
            self.send_pull(1)?;
            self.requested = 1;
            return Ok(false);
        }
        // So short a frame arrives as a whole.
        let mut frame = [0; HEADER + 8];
        let (count, files) = match receive_with(self.stream, &mut frame, descriptors::Wait::Never) {
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => return Ok(false),
            Err(_) => return Err(self.mark_broken()),
            Ok(received) => received,
        };
        let header = Header::parse(&frame[..count]);
        self.requested = 0;
        self.file = files.into_iter().next();
        match header {
            Ok(Some(Header { kind: Kind::BodyFile, .. })) if count == frame.len() && self.file.is_some() => {
                Ok(true)
            }
            _ => Err(self.mark_broken()),
        }
    }

    /// Sends a `Pull`, ahead of pending output.
    fn send_pull(&mut self, wanted: u32) -> Result<(), Disconnected> {
        let mut frame = [0; HEADER + 4];
        frame[..HEADER].copy_from_slice(&Header { kind: Kind::Pull, flags: 0, length: 4 }.bytes());
        frame[HEADER..].copy_from_slice(&wanted.to_le_bytes());
        if self.partial > 0 {
            return self.send(&[&frame]);
        }
        if self.is_lost() {
            return Err(Disconnected);
        }
        Ok(send_all(self.stream, &mut [IoSlice::new(&frame)]).inspect_err(|_| self.is_broken = true)?)
    }

    /// Discards the rest of a `Body` frame, so that the next frame follows. Fails if it has not
    /// arrived: it may take as long as the client takes for the response.
    pub(super) fn discard_body(&mut self) -> Result<(), Disconnected> {
        if self.pending == 0 {
            return Ok(());
        }
        // (Most requests do without, which takes a moment to clear.)
        let mut scratch = [0; 4096];
        while self.pending > 0 {
            let most = self.pending.min(scratch.len());
            match self.receive(&mut [IoSliceMut::new(&mut scratch[..most])], false) {
                Ok(0) | Err(_) => return Err(self.mark_broken()),
                Ok(count) => self.pending -= count,
            }
        }
        Ok(())
    }
}

/// A [`Wait`] for more of the body, beside a [`FrameExchange`] that other threads use.
pub(crate) struct BodyWait<'a> {
    stream: &'a UnixStream,
    waiter: Waiter,
}

impl<'a> BodyWait<'a> {
    pub(crate) fn new(stream: &'a UnixStream) -> Self {
        Self { stream, waiter: Waiter::default() }
    }
}

impl Wait for BodyWait<'_> {
    fn wait(&self, timeout: Duration) {
        self.waiter.wait(Some(self.stream.as_raw_fd()), timeout);
    }

    fn interrupt(&self) {
        self.waiter.end();
    }
}
