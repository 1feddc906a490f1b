//! Requests as they arrive, and the frames that are sent without an exchange.

use std::io::IoSlice;
use std::os::fd::AsRawFd;
use std::os::unix::net::UnixStream;

use nix::errno::Errno;
use nix::sys::socket::{MsgFlags, recv, sendmsg};
use wsgi_core::wire::frame::{Frame, HEADER, Header, Kind, Rejection, append, flag};
use wsgi_core::wire::{Schema, Writer};

/// The result of a look at a connection.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Arrived {
    /// A request.
    Request,
    /// No data yet.
    Nothing,
    /// The end of the connection, or data that no child sends.
    End,
}

/// Reads a `Request` frame to the beginning of `buffer`.
pub(crate) fn receive(stream: &UnixStream, buffer: &mut Vec<u8>) -> Arrived {
    const FIRST: usize = 16 << 10;
    if buffer.len() < FIRST {
        buffer.resize(FIRST, 0);
    }
    let mut have = 0;
    loop {
        // The first call does not wait: another worker may have been faster.
        let how = if have == 0 { MsgFlags::MSG_DONTWAIT } else { MsgFlags::empty() };
        match recv(stream.as_raw_fd(), &mut buffer[have..], how) {
            Ok(0) => return Arrived::End,
            Ok(count) => have += count,
            Err(Errno::EINTR) => continue,
            Err(Errno::EAGAIN) if have == 0 => return Arrived::Nothing,
            Err(_) => return Arrived::End,
        }
        match Header::parse(&buffer[..have]) {
            Ok(None) => {}
            Ok(Some(Header { kind: Kind::Request, length, .. })) => {
                let total = HEADER + length;
                if have == total {
                    return Arrived::Request;
                }
                if have > total {
                    return Arrived::End;
                }
                if buffer.len() < total {
                    buffer.resize(total, 0);
                }
            }
            Ok(Some(_)) | Err(_) => return Arrived::End,
        }
    }
}

/// Returns whether the child has closed its side.
pub(crate) fn is_closed(stream: &UnixStream) -> bool {
    let how = MsgFlags::MSG_DONTWAIT | MsgFlags::MSG_PEEK;
    !matches!(recv(stream.as_raw_fd(), &mut [0], how), Err(Errno::EAGAIN | Errno::EINTR))
}

/// Discards a `Request` frame that has arrived. Returns whether all of it had.
pub(crate) fn discard(stream: &UnixStream) -> bool {
    let mut scratch = [0; 16 << 10];
    let mut rest = None;
    loop {
        let most = rest.unwrap_or(scratch.len()).min(scratch.len());
        match recv(stream.as_raw_fd(), &mut scratch[..most], MsgFlags::MSG_DONTWAIT) {
            Err(Errno::EINTR) => {}
            Ok(0) | Err(_) => return false,
            Ok(count) => {
                let total = match (rest, Header::parse(&scratch[..count])) {
                    (Some(rest), _) => rest,
                    (None, Ok(Some(Header { kind: Kind::Request, length, .. }))) => HEADER + length,
                    (None, _) => return false,
                };
                match total.checked_sub(count) {
                    None => return false,
                    Some(0) => return true,
                    more => rest = more,
                }
            }
        }
    }
}

/// Returns the payload of the `Request` frame at the beginning of `buffer`.
pub(crate) fn payload(buffer: &[u8]) -> &[u8] {
    Frame::parse(buffer).ok().flatten().map_or(&[], |(frame, _)| frame.payload)
}

/// Returns whether the request at the beginning of `buffer` had the server to itself when its child
/// sent it.
pub(crate) fn is_alone(buffer: &[u8]) -> bool {
    let header = Header::parse(buffer).ok().flatten();
    header.is_some_and(|header| header.flags & flag::ALONE != 0)
}

/// Rejects a request that has not reached the application. Does not wait; returns whether the frame
/// was sent.
pub(crate) fn reject(stream: &UnixStream, why: Rejection) -> bool {
    let mut frame = [0; HEADER + 1];
    frame[..HEADER].copy_from_slice(&Header { kind: Kind::Reject, flags: 0, length: 1 }.bytes());
    frame[HEADER] = why as u8;
    send_now(stream, &frame)
}

/// Sends the identity of this process. Returns whether that worked.
pub(crate) fn send_hello(stream: &UnixStream) -> bool {
    let mut frame = Vec::with_capacity(HEADER + 12);
    append(&mut frame, Kind::Hello, 0, |payload| {
        let mut writer = Writer::new(payload);
        Schema::own().encode(&mut writer);
        writer.u32(std::process::id());
    });
    send_now(stream, &frame)
}

fn send_now(stream: &UnixStream, frame: &[u8]) -> bool {
    let how = MsgFlags::MSG_NOSIGNAL | MsgFlags::MSG_DONTWAIT;
    sendmsg::<()>(stream.as_raw_fd(), &[IoSlice::new(frame)], &[], how, None) == Ok(frame.len())
}
