//! The body of a request, and the part of it that is kept here: read from the client before the
//! application wants it.
//!
//! That happens if the body is to be read before the application is called (`WSGISpoolRequestBody`),
//! and while a response cannot go on: a client that reads nothing before it has sent everything
//! would wait for the server, which would wait for the client ([`RequestBody::make_way`]).

use std::ffi::c_int;
use std::io;
use std::os::fd::BorrowedFd;
use std::path::Path;
use std::task::Poll;
use std::time::{Duration, Instant};

use httpd::{Input, InteriorNul, Request, Status};
use os::spool::Spool;
use wsgi_core::codes::{BODY_NOT_KEPT, BODY_NOT_READ};

use crate::ledger::Entry;
use crate::{child, log};

/// The most bytes that are kept in memory.
const MOST_IN_MEMORY: usize = 64 << 10;

/// The most bytes that are read ahead of the application while a response cannot go on.
const MOST_AHEAD: u64 = 32 << 20;

/// The size of reads from the client.
const BLOCK: usize = 64 << 10;

/// The pause after data from the client that contained nothing of the body.
const PAUSE: Duration = Duration::from_millis(1);

/// The body of a request.
pub(crate) struct RequestBody<'r> {
    request: &'r Request,
    input: Input<'r>,
    entry: &'r Entry<'r>,
    kept: Option<Box<Kept>>,
    /// The answer of [`RequestBody::is_announced`], once it is known.
    is_announced: Option<bool>,
    /// Set once the application wants no more of it, so that nothing is kept.
    is_unwanted: bool,
    /// Set once some of it is lost to the application.
    is_lost: bool,
    failure: Option<Status>,
    /// Set once the client's connection has taken nothing for as long as it may.
    is_stuck: bool,
}

/// The part of a body that has been read ahead.
struct Kept {
    spool: Spool,
    /// The place in the spool of the next read.
    position: u64,
    /// The end of what was read, for which the spool had no room.
    rest: Vec<u8>,
    /// It is all of the body, and stays.
    is_whole: bool,
    block: Vec<u8>,
}

/// The whole of a body.
#[derive(Clone, Copy)]
pub(crate) enum Whole<'a> {
    /// It is in memory.
    Memory(&'a [u8]),
    /// It is in a file, for reading only, of this length.
    File(BorrowedFd<'a>, u64),
}

impl<'r> RequestBody<'r> {
    /// Makes the body of `request`, which has this entry.
    pub(crate) fn new(request: &'r Request, entry: &'r Entry<'r>) -> Self {
        let input = Input::new(request);
        Self {
            request,
            input,
            entry,
            kept: None,
            is_announced: None,
            is_unwanted: false,
            is_lost: false,
            failure: None,
            is_stuck: false,
        }
    }

    /// Returns the entry of the request in the ledger.
    pub(crate) fn entry(&self) -> &'r Entry<'r> {
        self.entry
    }

    /// Returns whether the client has announced a body. (The headers say so only until it is read:
    /// filters such as mod_deflate remove the length.)
    #[inline]
    pub(crate) fn is_announced(&mut self) -> bool {
        let request = self.request;
        *self.is_announced.get_or_insert_with(|| request.has_body())
    }

    /// Returns the status to answer with if reading failed, or `None` if it did not.
    pub(crate) fn failure(&self) -> Option<Status> {
        self.failure.or_else(|| self.input.failure())
    }

    /// Reads the whole body, if it is not longer than `limit`, and waits for the client meanwhile. Of
    /// a body that turns out to be longer, the beginning is kept.
    ///
    /// # Errors
    /// It cannot be read or kept: the status to respond with. The reason is logged.
    pub(crate) fn spool(&mut self, limit: u64) -> Result<(), Status> {
        let request = self.request;
        // (The rest of the body belongs to the request that has failed.)
        if limit == 0 || request.is_error_document() || self.declared_length() > limit {
            return Ok(());
        }
        let mut kept = Box::new(Kept::new());
        while self.is_announced() && !self.input.is_ended() {
            if kept.spool.length() > limit {
                self.kept = Some(kept);
                return Ok(());
            }
            kept.block.resize(BLOCK, 0);
            self.entry.begin_reading();
            let read = self.input.read(&mut kept.block);
            self.entry.end_reading();
            let length = read.inspect_err(|status| {
                log_unread(request, *status, "The application is not called");
            })?;
            self.entry.add_read(length);
            let kept_so_far = kept.spool.append(&kept.block[..length]);
            kept_so_far.map_err(|error| not_kept(request, &error))?;
        }
        kept.block = Vec::new();
        kept.is_whole = kept.spool.length() <= limit;
        self.kept = Some(kept);
        Ok(())
    }

    /// Returns the length that the client has declared; 0 if it has declared none.
    fn declared_length(&self) -> u64 {
        if self.request.is_chunked() {
            return 0;
        }
        let length = self.request.headers_in().value(c"Content-Length");
        length.and_then(|length| std::str::from_utf8(length).ok()?.parse().ok()).unwrap_or(0)
    }

    /// Returns the whole of the body, if it has been read and kept.
    pub(crate) fn whole(&self) -> Option<Whole<'_>> {
        let kept = self.kept.as_ref().filter(|kept| kept.is_whole)?;
        match (kept.spool.memory(), kept.spool.reader()) {
            (Some(memory), _) => Some(Whole::Memory(memory)),
            (None, file) => file.map(|file| Whole::File(file, kept.spool.length())),
        }
    }

    /// Has the next read begin at a place in the body, at most its end. Returns the length of the
    /// body, or `None` if it is not there as a whole.
    pub(crate) fn seek(&mut self, position: u64) -> Option<u64> {
        let kept = self.kept.as_mut().filter(|kept| kept.is_whole)?;
        let length = kept.spool.length();
        kept.position = position.min(length);
        Some(length)
    }

    /// Reads bytes that have arrived already to the beginning of `buffer`.
    ///
    /// # Errors
    /// As [`Input::read_arrived`].
    pub(crate) fn read_arrived(&mut self, buffer: &mut [u8]) -> Result<usize, Status> {
        match self.read_kept(buffer)? {
            Some(length) => Ok(length),
            None => self.input.read_arrived(buffer).inspect(|length| self.entry.add_read(*length)),
        }
    }

    /// Reads bytes to the beginning of `buffer`, see [`Input::poll_read`].
    ///
    /// # Errors
    /// As [`Input::poll_read`]; also if what was kept is lost.
    pub(crate) fn poll_read(&mut self, buffer: &mut [u8]) -> Result<Poll<usize>, Status> {
        if let Some(length) = self.read_kept(buffer)? {
            return Ok(Poll::Ready(length));
        }
        self.entry.begin_reading();
        let read = self.input.poll_read(buffer);
        match read {
            // It waits until it asks again.
            Ok(Poll::Pending) => return read,
            Ok(Poll::Ready(length)) => self.entry.add_read(length),
            Err(_) => {}
        }
        self.entry.end_reading();
        read
    }

    /// Returns what to wait for after [`RequestBody::poll_read`] was pending, see [`Input::pause`].
    pub(crate) fn pause(&self) -> (Option<c_int>, Duration) {
        self.input.pause()
    }

    /// Returns whether the end of the body has been read.
    pub(crate) fn is_ended(&self) -> bool {
        self.input.is_ended() && self.kept.as_ref().is_none_or(|kept| kept.is_used_up())
    }

    /// Responds with the result of `GET` for another path, see [`Input::redirect`].
    ///
    /// # Errors
    /// As [`Input::redirect`].
    pub(crate) fn redirect(&mut self, path: &[u8]) -> Result<Status, InteriorNul> {
        self.input.redirect(path)
    }

    /// Has the rest of the body dropped where it would be kept: the application reads no more.
    pub(crate) fn disclaim(&mut self) {
        self.is_unwanted = true;
    }

    /// Returns whether more of the body is to come from the client, in a way that can be looked at
    /// without waiting.
    #[inline]
    pub(crate) fn is_awaited(&mut self) -> bool {
        !self.input.is_ended()
            && !self.is_stuck
            && self.is_announced()
            && self.input.failure().is_none()
            && self.input.is_plain()
            && self.request.connection().descriptor().is_some()
    }

    /// Waits until the client's connection takes more of the response, if more of the body is to
    /// come, at most for as long as a write may take. What the client sends meanwhile is kept for
    /// the application, up to a limit: it may send all of it before it reads.
    ///
    /// The response is to have begun.
    pub(crate) fn make_way(&mut self) {
        if !self.is_awaited() {
            return;
        }
        let connection = self.request.connection();
        let deadline = Instant::now() + self.input.timeout();
        loop {
            let left = deadline.saturating_duration_since(Instant::now());
            let [is_readable, is_writable] = connection.readiness(left);
            if is_writable {
                return;
            }
            if left.is_zero() || !is_readable || !self.read_ahead() {
                // Apache waits once more, with all that is left.
                self.is_stuck = true;
                return;
            }
        }
    }

    /// Reads more of the body from the client. Returns whether that may be repeated.
    fn read_ahead(&mut self) -> bool {
        // It would be taken for a part of the response.
        self.request.withhold_continue();
        let kept = self.kept.get_or_insert_with(|| Box::new(Kept::new()));
        if !self.is_unwanted && !kept.has_room() {
            return false;
        }
        // The application may want none of a body that is too long.
        let most = usize::try_from(self.input.allowance()).map_or(BLOCK, |allowance| allowance.min(BLOCK));
        if most == 0 {
            return false;
        }
        kept.block.resize(most, 0);
        match self.input.read_arrived(&mut kept.block) {
            Ok(0) if self.input.is_ended() => false,
            // Data of the connection's own, such as a part of a record of TLS.
            Ok(0) => {
                std::thread::sleep(PAUSE);
                true
            }
            Ok(length) if self.is_unwanted => {
                self.entry.add_read(length);
                self.is_lost = true;
                true
            }
            Ok(length) => {
                self.entry.add_read(length);
                // Nothing more is read then, and the response waits for the client.
                if let Err(error) = kept.push(length) {
                    let so_far = "The response waits until the client reads, and ends if it does not";
                    log_not_kept(self.request, &error, so_far);
                }
                true
            }
            // The application gets the error where it reads so far.
            Err(_) => false,
        }
    }

    /// Reads from what is kept. Returns `None` if the client is to be asked.
    fn read_kept(&mut self, buffer: &mut [u8]) -> Result<Option<usize>, Status> {
        let Some(kept) = &mut self.kept else { return Ok(None) };
        if self.is_lost {
            return Err(Status::Http(500));
        }
        match kept.read(buffer) {
            Ok(0) if kept.is_used_up() && !kept.is_whole => {
                self.kept = None;
                Ok(None)
            }
            Ok(length) => Ok(Some(length)),
            Err(error) => {
                let text = format_args!("what was kept of the body of the request cannot be read: {error}");
                log::message(self.request, BODY_NOT_KEPT, text);
                self.is_lost = true;
                Err(*self.failure.insert(Status::Http(500)))
            }
        }
    }
}

impl Kept {
    fn new() -> Self {
        let spool = Spool::new(directory(), MOST_IN_MEMORY);
        Self { spool, position: 0, rest: Vec::new(), is_whole: false, block: Vec::new() }
    }

    fn has_room(&self) -> bool {
        self.rest.is_empty() && self.spool.length() < MOST_AHEAD
    }

    /// Appends the beginning of `block`.
    ///
    /// # Errors
    /// It does not fit into the spool, and is all that is kept from now on.
    fn push(&mut self, length: usize) -> io::Result<()> {
        let appended = self.spool.append(&self.block[..length]);
        if appended.is_err() {
            self.rest.extend_from_slice(&self.block[..length]);
        }
        appended
    }

    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let mut length = self.spool.read_at(buffer, self.position)?;
        self.position += length as u64;
        if length == 0 {
            length = buffer.len().min(self.rest.len());
            buffer[..length].copy_from_slice(&self.rest[..length]);
            self.rest.drain(..length);
        }
        Ok(length)
    }

    fn is_used_up(&self) -> bool {
        self.position == self.spool.length() && self.rest.is_empty()
    }
}

impl Whole<'_> {
    pub(crate) fn length(&self) -> u64 {
        match self {
            Self::Memory(bytes) => bytes.len() as u64,
            Self::File(_, length) => *length,
        }
    }
}

/// Logs that the body cannot be read, and the result of that.
pub(crate) fn log_unread(request: &Request, status: Status, result: &str) {
    let why = match status {
        Status::Http(408) => "the client has sent nothing for as long as Timeout or RequestReadTimeout allow",
        Status::Http(413) => "it is longer than LimitRequestBody allows",
        Status::Answered => "a filter has refused it and has answered the client",
        _ => "the client has gone, or it is malformed",
    };
    let answer = match status {
        Status::Http(code) => format!(" (status {code})"),
        _ => String::new(),
    };
    let text = format_args!("the body of the request cannot be read: {why}{answer}. {result}");
    log::message(request, BODY_NOT_READ, text);
}

/// Logs that the body cannot be kept, and returns the status to respond with.
fn not_kept(request: &Request, error: &io::Error) -> Status {
    log_not_kept(request, error, "The application is not called");
    // Apache would read the rest of the body.
    request.connection().close_after_response();
    Status::Http(if is_full(error) { 507 } else { 500 })
}

/// Logs that the body cannot be kept, and the result of that.
fn log_not_kept(request: &Request, error: &io::Error, result: &str) {
    let directory = directory().display();
    let another = ", or name another directory in the variable TMPDIR of Apache's environment";
    let (remedy, alternative) = match error.raw_os_error() {
        _ if is_full(error) => ("make room there", another),
        Some(libc::EMFILE | libc::ENFILE) => {
            ("raise the limit of open files (ulimit -n) for Apache, or have fewer threads in a child", "")
        }
        Some(libc::ENOENT | libc::ENOTDIR) => ("create the directory", another),
        _ => ("let Apache's user write there", another),
    };
    let text = format_args!(
        "the body of the request cannot be kept in a file in {directory}: {error}. {result}: {remedy}{alternative}"
    );
    log::message(request, BODY_NOT_KEPT, text);
}

/// Returns whether a file could not be written for lack of room.
fn is_full(error: &io::Error) -> bool {
    matches!(error.raw_os_error(), Some(libc::ENOSPC | libc::EDQUOT | libc::EFBIG))
}

/// Returns the directory for files of bodies.
fn directory() -> &'static Path {
    child::environment_variable(b"TMPDIR")
        .map(Path::new)
        .filter(|directory| directory.is_absolute())
        .unwrap_or(Path::new("/var/tmp"))
}
