//! The body of a request.

use std::ffi::c_int;
use std::task::Poll;
use std::time::{Duration, Instant};

use httpd_sys as sys;

use crate::brigade::Brigade;
use crate::pool::InteriorNul;
use crate::request::Request;
use crate::status::Status;

/// The body of a request, dechunked and through Apache's filters.
pub struct Input<'r> {
    request: &'r Request,
    brigade: Brigade<'r>,
    /// The number of bytes read so far.
    received: u64,
    is_ended: bool,
    failed: Option<Status>,
    /// The time since which [`Input::poll_read`] has received nothing.
    stalled: Option<Instant>,
}

impl<'r> Input<'r> {
    /// Makes the input for the body of `request`.
    #[must_use]
    pub fn new(request: &'r Request) -> Self {
        // SAFETY: the connection of a live request has an allocator, which lives as long as it.
        let brigade = unsafe {
            let connection = (*request.as_ptr()).connection;
            Brigade::new(request.pool(), (*connection).bucket_alloc)
        };
        Self { request, brigade, received: 0, is_ended: false, failed: None, stalled: None }
    }

    /// Returns the status to answer with if reading failed, or `None` if it did not.
    #[must_use]
    pub fn failure(&self) -> Option<Status> {
        self.failed
    }

    /// Reads bytes to the beginning of `buffer`, waiting for the first. Returns 0 at the end.
    ///
    /// # Errors
    /// The body cannot be read. All later calls return the same status.
    pub fn read(&mut self, buffer: &mut [u8]) -> Result<usize, Status> {
        if buffer.is_empty() {
            return Ok(0);
        }
        let mut length = self.take(buffer)?;
        while length == 0 && !self.is_ended {
            self.fetch(buffer.len(), sys::APR_BLOCK_READ)?;
            length = self.take(buffer)?;
        }
        // Apache reads a connection in pieces of 8 KB. Asking again for data that has arrived is
        // worth it as long as there are only protocol filters: mod_deflate takes "not yet" for the
        // end.
        while length < buffer.len() && !self.is_ended && self.is_plain() {
            match self.fetch(buffer.len() - length, sys::APR_NONBLOCK_READ) {
                Ok(true) => {}
                // These bytes are good: the next call reports the failure.
                Ok(false) | Err(_) => break,
            }
            let Ok(more) = self.take(&mut buffer[length..]) else { break };
            if more == 0 {
                break;
            }
            length += more;
        }
        Ok(length)
    }

    /// Reads bytes that have arrived already to the beginning of `buffer`. [`Input::is_ended`]
    /// tells whether they were the last.
    ///
    /// # Errors
    /// The body cannot be read. All later calls return the same status.
    pub fn read_arrived(&mut self, buffer: &mut [u8]) -> Result<usize, Status> {
        let mut length = self.take(buffer)?;
        while length < buffer.len() && !self.is_ended && self.is_plain() {
            if !self.fetch(buffer.len() - length, sys::APR_NONBLOCK_READ)? {
                break;
            }
            match self.take(&mut buffer[length..])? {
                0 => break,
                more => length += more,
            }
        }
        Ok(length)
    }

    /// Reads bytes to the beginning of `buffer`. Waits only behind content filters, which cannot be
    /// asked for less; else it is pending if nothing has arrived. Returns 0 at the end. Sends
    /// `100 Continue` to a client that waits for it.
    ///
    /// # Errors
    /// As [`Input::read_arrived`]; also if nothing arrived for as long as a client may take.
    pub fn poll_read(&mut self, buffer: &mut [u8]) -> Result<Poll<usize>, Status> {
        // Apache does this itself when it waits for data.
        if self.request.expects_continue() {
            self.request.send_continue();
        }
        if !self.is_plain() {
            return self.read(buffer).map(Poll::Ready);
        }
        let length = self.read_arrived(buffer)?;
        if length > 0 || self.is_ended || buffer.is_empty() {
            self.stalled = None;
            return Ok(Poll::Ready(length));
        }
        let since = *self.stalled.get_or_insert_with(Instant::now);
        if since.elapsed() >= self.timeout() {
            return Err(self.fail(sys::APR_TIMEUP));
        }
        Ok(Poll::Pending)
    }

    /// Returns the descriptor to wait for after [`Input::poll_read`] was pending, if it is known,
    /// and how long to wait.
    #[must_use]
    pub fn pause(&self) -> (Option<c_int>, Duration) {
        let stalled = self.stalled.map_or(Duration::ZERO, |since| since.elapsed());
        match self.request.connection().descriptor() {
            Some(descriptor) => (Some(descriptor), self.timeout().saturating_sub(stalled)),
            // The connection of a stream of HTTP/2 belongs to another thread. Each wait is as long
            // as all before it, so that data that arrives soon is read soon.
            None => (None, stalled.clamp(SHORTEST_PAUSE, LONGEST_PAUSE)),
        }
    }

    /// Responds with the result of `GET` for another path of this server. The rest of the body is
    /// read before, and dropped: it would be taken for a part of the body of that request, or for
    /// the client's next one, depending on what Apache's filters have seen of it.
    ///
    /// # Errors
    /// The path contains a NUL byte.
    pub fn redirect(&mut self, path: &[u8]) -> Result<Status, InteriorNul> {
        match self.discard() {
            Err(Status::Answered) => Ok(Status::Answered),
            // The connection is closed after the response.
            Ok(()) | Err(_) => self.request.redirect_internally(path).map(|()| Status::Ok),
        }
    }

    /// Reads the rest of the body, and drops it.
    fn discard(&mut self) -> Result<(), Status> {
        if self.request.expects_continue() {
            // The client may send the body or its next request, and cannot be asked which.
            self.request.connection().close_after_response();
            return Ok(());
        }
        let mut dropped = [0; 8192];
        while !self.is_ended {
            self.read(&mut dropped)?;
        }
        Ok(())
    }

    /// Returns how many bytes can still be read before the body is longer than `LimitRequestBody`
    /// allows. With the next one Apache would send an error, even amid a response, which ends that.
    #[must_use]
    pub fn allowance(&self) -> u64 {
        self.request.body_limit().map_or(u64::MAX, |limit| limit.saturating_sub(self.received))
    }

    /// Returns how long the client may take for the next part of the body. (mod_reqtimeout applies
    /// its own limit on each read.)
    #[must_use]
    pub fn timeout(&self) -> Duration {
        self.request.connection().timeout().unwrap_or_else(|| self.request.server().timeout())
    }

    /// Returns whether the end of the body has been read.
    #[must_use]
    pub fn is_ended(&self) -> bool {
        self.is_ended
    }

    fn take(&mut self, buffer: &mut [u8]) -> Result<usize, Status> {
        if let Some(status) = self.failed {
            return Err(status);
        }
        let taken = self.brigade.take(buffer).map_err(|status| self.fail(status))?;
        self.is_ended |= taken.is_ended;
        self.received += taken.length as u64;
        Ok(taken.length)
    }

    /// Asks the filters for at most `length` bytes. Returns whether they had any.
    fn fetch(&mut self, length: usize, block: sys::apr_read_type_e) -> Result<bool, Status> {
        self.brigade.clear();
        let length = i64::try_from(length).unwrap_or(i64::MAX);
        let is_under_way = self.request.has_sent_body() && !self.request.has_ended_response();
        // SAFETY: the request is live, and so are its filters; the brigade is empty.
        let status = unsafe {
            let filters = (*self.request.as_ptr()).input_filters;
            sys::ap_get_brigade(filters, self.brigade.as_ptr(), sys::AP_MODE_READBYTES, block, length)
        };
        if is_under_way && self.request.has_ended_response() {
            // Apache's filter sends an error for a body that cannot be read and ends the response,
            // even one that the application has begun. That would look complete.
            self.request.forbid_caching();
            self.request.connection().abandon();
        }
        match status {
            sys::APR_SUCCESS => Ok(true),
            sys::APR_EAGAIN if block == sys::APR_NONBLOCK_READ => Ok(false),
            status => Err(self.fail(status)),
        }
    }

    fn fail(&mut self, status: c_int) -> Status {
        // The rest of the body would be taken for the next request.
        self.request.connection().close_after_response();
        // SAFETY: the call takes and returns numbers only.
        let status = match unsafe { sys::ap_map_http_request_error(status, BAD_REQUEST) } {
            sys::AP_FILTER_ERROR => Status::Answered,
            status => u16::try_from(status).map_or(Status::Http(BAD_REQUEST as u16), Status::Http),
        };
        *self.failed.insert(status)
    }

    /// Returns whether there are no content filters, which cannot be asked for what has arrived.
    #[must_use]
    pub fn is_plain(&self) -> bool {
        // SAFETY: the request is live.
        unsafe { (*self.request.as_ptr()).input_filters == (*self.request.as_ptr()).proto_input_filters }
    }
}

const BAD_REQUEST: c_int = 400;

const SHORTEST_PAUSE: Duration = Duration::from_micros(50);
const LONGEST_PAUSE: Duration = Duration::from_millis(10);
