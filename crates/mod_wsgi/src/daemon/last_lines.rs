//! The last lines for the log on a connection that is given up.

use std::ops::Range;

use httpd::{Level, Request};
use os::descriptors::{self, Wait};
use wsgi_core::wire::frame::{Frame, HEADER, Header, Kind};
use wsgi_core::wire::{Malformed, Reader};

use super::pool::Connection;
use crate::log;

/// The least room for a read, in bytes.
const BLOCK: usize = 16 * 1024;

/// Logs the line in the payload of a `Log` frame.
pub(super) fn log_line(request: &Request, payload: &[u8]) -> Result<(), Malformed> {
    let mut reader = Reader::new(payload);
    let level = Level::from_number(i32::from(reader.u8()?));
    log::request(request, level, reader.rest());
    Ok(())
}

/// Takes nothing more from the process, and logs the lines that it has sent. It is told that with
/// its next write, and logs further lines elsewhere: none is lost between the two.
///
/// `unread` is the part of `connection.incoming` that has not been processed, and begins with the
/// last `skipped` bytes of a frame.
pub(super) fn log_last_lines(
    request: &Request,
    connection: &Connection,
    unread: Range<usize>,
    mut skipped: usize,
) {
    if descriptors::make_send_only(&connection.socket).is_err() {
        return;
    }
    let mut pending = connection.incoming[unread].to_vec();
    // Ends, since the process can add nothing.
    loop {
        let Ok(used) = log_lines(request, &pending, &mut skipped) else { return };
        pending.drain(..used);
        let end = pending.len();
        pending.resize(end + BLOCK, 0);
        match descriptors::receive_with(&connection.socket, &mut pending[end..], Wait::Never) {
            Ok((length @ 1.., _)) => pending.truncate(end + length),
            _ => return,
        }
    }
}

/// Logs the lines in `bytes`, which begin with the last `skipped` bytes of a frame. Returns the
/// number of bytes that have been processed.
fn log_lines(request: &Request, bytes: &[u8], skipped: &mut usize) -> Result<usize, Malformed> {
    let mut start = 0;
    loop {
        let passed = (*skipped).min(bytes.len() - start);
        (start, *skipped) = (start + passed, *skipped - passed);
        let rest = &bytes[start..];
        match Header::parse(rest)? {
            None => return Ok(start),
            Some(Header { kind: Kind::Log, .. }) => {
                let Some((frame, length)) = Frame::parse(rest)? else { return Ok(start) };
                log_line(request, frame.payload)?;
                start += length;
            }
            Some(header) => (start, *skipped) = (start + HEADER, header.length),
        }
    }
}
