//! The body of a response.

use std::ops::Range;
use std::os::fd::BorrowedFd;

use httpd_sys as sys;

use crate::brigade::Brigade;
use crate::file_bucket::SentFile;
use crate::request::Request;

/// The way of a response's body to the client, through Apache's filters.
pub struct Output<'r> {
    request: &'r Request,
    brigade: Brigade<'r>,
    /// Something has been given to the filters.
    begun: bool,
    ended: bool,
    /// A filter has sent another response in place of the one that has ended.
    is_replaced: bool,
}

/// The client is gone, or a filter has given up or has ended the response itself.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct SendError;

/// Why a file was not sent.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum SendFileError {
    /// See [`SendError`].
    NotSent,
    /// The file has become shorter.
    FileTooShort,
}

impl<'r> Output<'r> {
    /// The body of the response to `request`.
    #[must_use]
    pub fn new(request: &'r Request) -> Self {
        // SAFETY: the connection of a live request has an allocator, which lives as long as it.
        let brigade = unsafe {
            let connection = (*request.as_ptr()).connection;
            Brigade::new(request.pool(), (*connection).bucket_alloc)
        };
        Self { request, brigade, begun: false, ended: false, is_replaced: false }
    }

    /// Gives `block` to the filters; with the first one go status and headers.
    ///
    /// # Errors
    /// It can not be sent.
    pub fn send(&mut self, block: &[u8], flush: bool) -> Result<(), SendError> {
        // SAFETY: `pass` clears the brigade.
        unsafe { self.brigade.push_borrowed(block) };
        if flush {
            self.brigade.push_flush();
        }
        self.pass()
    }

    /// Gives `block` and the end of the body to the filters in one go: with an unfinished response before them
    /// that lets Apache compute its length.
    ///
    /// # Errors
    /// It can not be sent.
    pub fn send_last(&mut self, block: &[u8]) -> Result<(), SendError> {
        // SAFETY: `pass` clears the brigade.
        unsafe { self.brigade.push_borrowed(block) };
        self.end()
    }

    /// Gives a part of a regular file to the filters, by the kernel's sendfile if `send_file` and the filters
    /// permit; with `last`, it is the end of the body.
    ///
    /// # Errors
    /// It can not be sent; or it has turned out to be shorter than said, and the response is broken off.
    pub fn send_file(
        &mut self,
        file: BorrowedFd<'_>,
        part: Range<u64>,
        send_file: bool,
        last: bool,
    ) -> Result<(), SendFileError> {
        let (Ok(start), Ok(end)) = (i64::try_from(part.start), i64::try_from(part.end)) else {
            return Err(SendFileError::FileTooShort);
        };
        if send_file && self.request.may_send_files() {
            let pushed = self.brigade.push_sent_file(file, start..end, self.request.pool());
            pushed.map_err(|_| SendFileError::NotSent)?;
            return if last { self.end() } else { self.pass() }.map_err(|SendError| SendFileError::NotSent);
        }
        let file = SentFile::new(file.try_clone_to_owned().map_err(|_| SendFileError::NotSent)?);
        self.brigade.push_read_file(&file, start..end);
        let sent = if last { self.end() } else { self.pass() };
        if file.is_short() {
            self.abort();
            return Err(SendFileError::FileTooShort);
        }
        sent.map_err(|SendError| SendFileError::NotSent)
    }

    /// Has what was sent go out now.
    ///
    /// # Errors
    /// It can not be sent.
    pub fn flush(&mut self) -> Result<(), SendError> {
        self.brigade.push_flush();
        self.pass()
    }

    /// Ends the body, if it has not ended.
    ///
    /// # Errors
    /// It can not be sent.
    pub fn end(&mut self) -> Result<(), SendError> {
        if self.ended {
            self.brigade.clear();
            return Ok(());
        }
        if self.is_superseded() {
            self.brigade.clear();
            return Err(SendError);
        }
        if self.request.has_sent_all() {
            self.brigade.clear();
        }
        self.ended = true;
        self.brigade.push_end();
        self.pass_on()
    }

    /// Has Apache send what it still holds back, once the body has ended. Otherwise it looks for the client's next
    /// request first and, under the event MPM, finds that there is none and hands the connection to another
    /// thread. Only for what the client's connection takes without blocking.
    pub fn flush_held_back(&mut self) {
        if !self.ended || !self.request.is_alone_on_connection() {
            return;
        }
        self.brigade.push_flush();
        // SAFETY: the request is live, and so are its connection and the filters of that. Apache itself ends
        // requests with such a brigade. A failure is seen by the next who sends.
        unsafe {
            let connection = (*self.request.as_ptr()).connection;
            sys::ap_pass_brigade((*connection).output_filters, self.brigade.as_ptr());
        }
        self.brigade.clear();
    }

    /// Returns whether a filter has ended the response in place of the handler: with Apache's page for a request whose
    /// body can not be read or for ranges that it does not have, or with a file (mod_xsendfile). That is the response then,
    /// and its status that of the request; whatever follows would be taken for the next one.
    #[must_use]
    pub fn is_superseded(&self) -> bool {
        if self.ended { self.is_replaced } else { self.request.has_ended_response() }
    }

    /// Ends the body so that the client can tell that something is missing: without a last chunk, with the
    /// connection closed, or the HTTP/2 stream reset. A response that a filter has ended is left as it is.
    ///
    /// Does what Apache's `ap_proxy_backend_broke` does for a back end that breaks off: the protocol's filters, mod_http2
    /// and mod_cache know it.
    pub fn abort(&mut self) {
        if self.is_superseded() {
            return;
        }
        self.request.forbid_caching();
        if !self.ended {
            self.ended = true;
            self.brigade.push_error(BAD_GATEWAY, self.request.pool());
            self.brigade.push_end();
            // Nobody is left to tell about a failure.
            let _ = self.pass_on();
        }
        // Not before: where a filter has kept everything back until now, the head goes out with the end. On a connection
        // that is to be closed it would announce neither chunks nor a length, and the closing would be a regular end.
        self.request.connection().close_after_response();
    }

    /// Passes on what is not the end. After that, it would be taken for the next response: a thread of the application may
    /// still write.
    fn pass(&mut self) -> Result<(), SendError> {
        if self.ended || self.is_superseded() {
            self.brigade.clear();
            return Err(SendError);
        }
        if self.request.has_sent_all() {
            self.brigade.clear();
            return if self.request.connection().is_aborted() { Err(SendError) } else { Ok(()) };
        }
        if !self.begun {
            self.begun = true;
            // A filter that gathers what it gets (mod_security2) would pass it on as a whole: Apache would serve ranges of it,
            // with the length of the whole where it has been flushed in between.
            if self.request.wants_range() && !self.request.awaits_sendfile() {
                self.request.disable_ranges();
            }
        }
        self.pass_on()
    }

    fn pass_on(&mut self) -> Result<(), SendError> {
        // SAFETY: the request is live, and so are its filters.
        let status =
            unsafe { sys::ap_pass_brigade((*self.request.as_ptr()).output_filters, self.brigade.as_ptr()) };
        self.brigade.clear();
        // What filters return that have had Apache answer.
        self.is_replaced |= self.ended && status == sys::AP_FILTER_ERROR;
        if status == sys::APR_SUCCESS && !self.request.connection().is_aborted() {
            Ok(())
        } else {
            Err(SendError)
        }
    }
}

const BAD_GATEWAY: u16 = 502;
