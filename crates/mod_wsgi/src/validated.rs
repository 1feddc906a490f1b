//! Heads and files of responses that have been checked. They come from an application in this
//! process, or from a process of another user. The response to the client takes nothing else.

use std::collections::HashSet;
use std::ops::Range;
use std::os::fd::BorrowedFd;
use std::sync::Mutex;

use bridge::{Bytes, Field};
use httpd::{Level, Request};
use os::file::FileStatus;
use wsgi_core::codes::{FILE_NOT_SENT, HEAD_TOO_LONG, RESPONSE_MALFORMED};
use wsgi_core::response::{HeadError, HeadLimits, ResponseHead, is_close};

use crate::log;

/// The status and fields of a response that may go to a client.
pub(crate) type Head<'a> = ResponseHead<'a, Field<'a>>;

/// The error where a head or file is invalid. The reason has been logged.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct NotValid;

/// Checks the head of a response.
pub(crate) fn head<'a>(
    request: &Request,
    status: u16,
    reason: Bytes<'a>,
    fields: &'a [Field<'a>],
    limits: &HeadLimits,
) -> Result<Head<'a>, NotValid> {
    match Head::check(status, reason.get(), fields, limits) {
        Ok(head) => {
            warn_of_dropped(request, &head);
            Ok(head)
        }
        Err(error) => {
            log_invalid_head(request, &error);
            Err(NotValid)
        }
    }
}

/// A part of a regular file that was complete when it was checked.
pub(crate) struct FilePart<'f> {
    file: BorrowedFd<'f>,
    part: Range<u64>,
}

impl<'f> FilePart<'f> {
    pub(crate) const fn file(&self) -> BorrowedFd<'f> {
        self.file
    }

    pub(crate) const fn offset(&self) -> u64 {
        self.part.start
    }

    pub(crate) const fn length(&self) -> u64 {
        self.part.end - self.part.start
    }
}

/// Checks a file that an application in this process wants to send.
pub(crate) fn file<'f>(
    request: &Request,
    file: BorrowedFd<'f>,
    offset: u64,
    length: u64,
) -> Result<FilePart<'f>, NotValid> {
    check_file(file, offset, length, |_| true).map_err(|problem| log_invalid_file(request, &problem))
}

/// Checks a file that a daemon process wants to send. Reading it must not depend on a program of
/// that process's user.
pub(crate) fn local_file<'f>(
    request: &Request,
    file: BorrowedFd<'f>,
    offset: u64,
    length: u64,
) -> Result<FilePart<'f>, NotValid> {
    check_file(file, offset, length, FileStatus::is_local)
        .map_err(|problem| log_invalid_file(request, &problem))
}

fn check_file(
    file: BorrowedFd<'_>,
    offset: u64,
    length: u64,
    is_allowed: impl FnOnce(&FileStatus) -> bool,
) -> Result<FilePart<'_>, String> {
    let facts = FileStatus::read(file).map_err(|error| error.to_string())?;
    let size = facts.regular_length().ok_or("it is no regular file")?;
    if !is_allowed(&facts) {
        return Err("it is on the file system of a network or of a program (FUSE), or on one that the server does not see, and \
             reading it could take for ever. Have the application read the file itself"
            .to_owned());
    }
    let end = offset.checked_add(length).filter(|end| *end <= size);
    let end =
        end.ok_or_else(|| format!("it has {size} bytes, and {length} from byte {offset} on are to be sent"))?;
    match os::file::is_readable(file) {
        Ok(true) => Ok(FilePart { file, part: offset..end }),
        Ok(false) => Err("it is not open for reading".to_owned()),
        Err(error) => Err(error.to_string()),
    }
}

fn log_invalid_file(request: &Request, problem: &str) -> NotValid {
    log::message(request, FILE_NOT_SENT, format_args!("a file of the application cannot be sent: {problem}"));
    NotValid
}

/// Logs why a head is invalid, and what to do about it.
pub(crate) fn log_invalid_head(request: &Request, error: &HeadError<'_>) {
    if error.is_too_much() {
        let text = format_args!(
            "the head of the response is too long: {error}. Have the application send less; header-buffer-size of a \
             process group permits more"
        );
        log::message(request, HEAD_TOO_LONG, text);
    } else {
        let text = format_args!("the head of the response is invalid: {error}");
        log::message(request, RESPONSE_MALFORMED, text);
    }
}

/// The scripts and field names that a warning was logged for.
static WARNED: Mutex<Option<HashSet<Box<[u8]>>>> = Mutex::new(None);

/// The most scripts and names that are remembered.
const MOST_WARNED: usize = 1_000;

/// Warns of fields that do not go to the client, once per process for each script and name, since
/// an application sends them with every response.
fn warn_of_dropped(request: &Request, head: &Head<'_>) {
    // The server sends that one itself.
    for field in head.dropped().filter(|field| !is_close(*field)) {
        let name = field.name.or_empty().to_ascii_lowercase();
        let mut key = request.filename().unwrap_or_default().to_vec();
        key.push(0);
        key.extend_from_slice(&name);
        let is_new = WARNED.lock().is_ok_and(|mut warned| {
            let warned = warned.get_or_insert_default();
            warned.len() < MOST_WARNED && warned.insert(key.into())
        });
        if is_new {
            let text = format!(
                "the header '{}' of the response is dropped: it is about the connection, which is the server's. The \
                 application should not send it (PEP 3333); this is said once",
                name.escape_ascii()
            );
            log::request(request, Level::Warn, &text);
        }
    }
}
