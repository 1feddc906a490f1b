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
    /// Set once data has been given to the filters.
    is_begun: bool,
    is_ended: bool,
    /// Set once the filters have taken the end of a whole response.
    is_whole: bool,
    /// Set once a filter has sent another response in place of the one that has ended.
    is_replaced: bool,
}

/// The error where the client is gone, or a filter has given up or has ended the response itself.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct SendError;

/// The reason why a file was not sent.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum SendFileError {
    /// See [`SendError`].
    NotSent,
    /// The file has become shorter.
    FileTooShort,
}

impl<'r> Output<'r> {
    /// Makes the output for the response to `request`.
    #[must_use]
    pub fn new(request: &'r Request) -> Self {
        // SAFETY: the connection of a live request has an allocator, which lives as long as it.
        let brigade = unsafe {
            let connection = (*request.as_ptr()).connection;
            Brigade::new(request.pool(), (*connection).bucket_alloc)
        };
        Self { request, brigade, is_begun: false, is_ended: false, is_whole: false, is_replaced: false }
    }

    /// Gives `block` to the filters. Status and headers go with the first one.
    ///
    /// # Errors
    /// It cannot be sent.
    pub fn send(&mut self, block: &[u8], flush: bool) -> Result<(), SendError> {
        // SAFETY: `pass` clears the brigade.
        unsafe { self.brigade.push_borrowed(block) };
        if flush {
            self.brigade.push_flush();
        }
        self.pass()
    }

    /// Gives `block` and the end of the body to the filters in one brigade. If nothing was sent
    /// before, Apache then computes the length.
    ///
    /// # Errors
    /// It cannot be sent.
    pub fn send_last(&mut self, block: &[u8]) -> Result<(), SendError> {
        // SAFETY: `pass` clears the brigade.
        unsafe { self.brigade.push_borrowed(block) };
        self.end()
    }

    /// Gives a part of a regular file to the filters, by the kernel's sendfile if `uses_sendfile`
    /// and the filters permit it. With `is_last`, the body ends with it.
    ///
    /// # Errors
    /// It cannot be sent; or it turns out to be shorter than declared, and the response is broken
    /// off.
    pub fn send_file(
        &mut self,
        file: BorrowedFd<'_>,
        part: Range<u64>,
        uses_sendfile: bool,
        is_last: bool,
    ) -> Result<(), SendFileError> {
        let (Ok(start), Ok(end)) = (i64::try_from(part.start), i64::try_from(part.end)) else {
            return Err(SendFileError::FileTooShort);
        };
        if uses_sendfile && self.request.may_send_files() {
            let pushed = self.brigade.push_sent_file(file, start..end, self.request.pool());
            pushed.map_err(|_| SendFileError::NotSent)?;
            return if is_last { self.end() } else { self.pass() }
                .map_err(|SendError| SendFileError::NotSent);
        }
        let file = SentFile::new(file.try_clone_to_owned().map_err(|_| SendFileError::NotSent)?);
        self.brigade.push_read_file(&file, start..end);
        let sent = if is_last { self.end() } else { self.pass() };
        if file.is_short() {
            self.abort();
            return Err(SendFileError::FileTooShort);
        }
        sent.map_err(|SendError| SendFileError::NotSent)
    }

    /// Has the filters send all that they hold.
    ///
    /// # Errors
    /// It cannot be sent.
    pub fn flush(&mut self) -> Result<(), SendError> {
        self.brigade.push_flush();
        self.pass()
    }

    /// Ends the body, if it has not ended.
    ///
    /// # Errors
    /// It cannot be sent.
    pub fn end(&mut self) -> Result<(), SendError> {
        if self.is_ended {
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
        self.is_ended = true;
        self.brigade.push_end();
        let is_passed_on = self.pass_on() == sys::APR_SUCCESS;
        let connection = self.request.connection();
        self.is_whole = is_passed_on && (connection.is_stream() || !connection.is_aborted());
        if self.is_whole { Ok(()) } else { Err(SendError) }
    }

    /// Returns whether the whole response is with the client, or on its way. Then it says nothing that
    /// the connection is aborted: mod_http2 aborts that of a stream as soon as it has sent the end,
    /// whatever else is given to it.
    #[must_use]
    pub fn is_whole(&self) -> bool {
        self.is_whole || (self.request.connection().is_stream() && self.request.has_sent_all())
    }

    /// Has Apache send the data that it holds back after the end of the body. Otherwise it first
    /// looks for the client's next request and, under the event MPM, hands a connection without one
    /// to another thread. Only for data that the client's connection takes without blocking.
    pub fn flush_held_back(&mut self) {
        if !self.is_ended || !self.request.is_alone_on_connection() {
            return;
        }
        self.brigade.push_flush();
        // SAFETY: the request is live, and so are its connection and the filters of that. Apache
        // itself ends requests with such a brigade. The next send reports a failure.
        unsafe {
            let connection = (*self.request.as_ptr()).connection;
            sys::ap_pass_brigade((*connection).output_filters, self.brigade.as_ptr());
        }
        self.brigade.clear();
    }

    /// Returns whether a filter has ended the response in place of the handler: with Apache's error
    /// page for an unreadable body or for ranges that do not exist, or with a file (mod_xsendfile).
    /// That is the response then, with its status; anything that follows would be taken for the
    /// next one.
    #[must_use]
    pub fn is_superseded(&self) -> bool {
        if self.is_ended { self.is_replaced } else { self.request.has_ended_response() }
    }

    /// Ends the body so that the client can tell that a part is missing: without a last chunk, with
    /// the connection closed, or the HTTP/2 stream reset. A response that a filter has ended stays
    /// as it is.
    ///
    /// Follows Apache's `ap_proxy_backend_broke` for a back end that breaks off, which the
    /// protocol's filters, mod_http2 and mod_cache understand.
    pub fn abort(&mut self) {
        if self.is_superseded() {
            return;
        }
        self.request.forbid_caching();
        if !self.is_ended {
            self.is_ended = true;
            self.brigade.push_error(BAD_GATEWAY, self.request.pool());
            self.brigade.push_end();
            // The response is broken off, so a failure changes nothing.
            let _ = self.pass_on();
        }
        // Only now: if a filter has held everything back, the head goes out with the end. On a
        // connection that is to be closed it would announce neither chunks nor a length, and the
        // closing would look like a regular end.
        self.request.connection().close_after_response();
    }

    /// Passes on data before the end. After the end, when threads of the application may still
    /// write, it is dropped: it would be taken for the next response.
    fn pass(&mut self) -> Result<(), SendError> {
        if self.is_ended || self.is_superseded() {
            self.brigade.clear();
            return Err(SendError);
        }
        if self.request.has_sent_all() {
            self.brigade.clear();
            return if self.request.connection().is_aborted() { Err(SendError) } else { Ok(()) };
        }
        if !self.is_begun {
            self.is_begun = true;
            // A filter that gathers a response (mod_security2) passes it on as a whole. Apache
            // would serve ranges of that, with the length of the whole where it was flushed in
            // between.
            if self.request.wants_range() && !self.request.awaits_sendfile() {
                self.request.disable_ranges();
            }
        }
        if self.pass_on() == sys::APR_SUCCESS && !self.request.connection().is_aborted() {
            Ok(())
        } else {
            Err(SendError)
        }
    }

    /// Gives what there is to the filters, and returns their status.
    fn pass_on(&mut self) -> sys::apr_status_t {
        // SAFETY: the request is live, and so are its filters.
        let status =
            unsafe { sys::ap_pass_brigade((*self.request.as_ptr()).output_filters, self.brigade.as_ptr()) };
        self.brigade.clear();
        // Filters return this after Apache has sent an error page for them.
        self.is_replaced |= self.is_ended && status == sys::AP_FILTER_ERROR;
        status
    }
}

const BAD_GATEWAY: u16 = 502;
