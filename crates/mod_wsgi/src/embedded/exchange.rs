//! The exchange of one request with its host: the functions that the host can call while it runs.

#![allow(
    unsafe_code,
    reason = "Apache's structures are used on the threads that the host uses, one at a time"
)]

use std::any::Any;
use std::cell::Cell;
use std::ffi::c_int;
use std::os::fd::BorrowedFd;
use std::sync::{Mutex, MutexGuard};
use std::task::Poll;
use std::time::Duration;

use bridge::{Bytes, Disconnected, ExchangeServer, Field, Outcome, Serve, Wait};
use httpd::{Level, Request, Status, describe_panic};
use os::lock::lock;
use os::waiter::Waiter;
use wsgi_core::config::Effective;
use wsgi_core::response::HeadLimits;

use super::host::Host;
use crate::client_response::{ClientResponse, ResponseFailed};
use crate::log;
use crate::request_body::RequestBody;
use crate::validated::{self, NotValid};

thread_local! {
    // No destructor, see `httpd::guard`.
    static IS_RUNNING: Cell<bool> = const { Cell::new(false) };
}

/// The server's side of a running request.
struct EmbeddedExchange<'r> {
    request: &'r Request,
    body: RequestBody<'r>,
    response: ClientResponse<'r>,
    wait: &'r BodyWait,
    /// Test hook: panic while the response is sent.
    #[cfg(debug_assertions)]
    panics: bool,
}

// SAFETY: `ExchangeServer` gives it to one thread at a time, as Apache's filters and the memory of
// a request demand. The request's own thread is in `run`, where it uses them in no other way; it
// goes on when no other thread can use them any more.
unsafe impl Send for EmbeddedExchange<'_> {}

/// The wait for more of the body, outside of Apache.
#[derive(Default)]
struct BodyWait {
    /// The descriptor to wait for and the time, as the last read has returned them.
    pause: Mutex<(Option<c_int>, Duration)>,
    waiter: Waiter,
}

/// Has `host` serve `request`.
pub(super) fn run(
    host: &Host,
    request: &Request,
    settings: &Effective<'_>,
    description: &bridge::Request<'_>,
    body: RequestBody<'_>,
) -> Status {
    let (wait, entry) = (BodyWait::default(), body.entry());
    let response = ClientResponse::new(request, entry, settings.enable_sendfile());
    let exchange = EmbeddedExchange {
        request,
        body,
        response,
        wait: &wait,
        #[cfg(debug_assertions)]
        panics: settings.debug_panic() == Some(wsgi_core::config::DebugPanic::Exchange),
    };
    let shared = ExchangeServer::new(exchange, &wait);
    let (outcome, times) = as_running(|| host.serve(description, bridge::Exchange::new(&shared)));
    entry.set_times(times);
    let (EmbeddedExchange { mut body, response, .. }, has_panicked) = shared.end();
    let outcome = match outcome {
        // The data that was being sent may be incomplete.
        Some(_) if has_panicked => Outcome::Aborted,
        Some(outcome) => outcome,
        None => Outcome::Failed(500),
    };
    response.finish(outcome, &mut body)
}

/// Calls a host, with a note that it is running on this thread.
pub(super) fn as_running<R>(call: impl FnOnce() -> R) -> R {
    let was_running = IS_RUNNING.replace(true);
    let result = call();
    IS_RUNNING.set(was_running);
    result
}

/// Returns whether a host is running further up the stack of this thread.
pub(super) fn is_running_here() -> bool {
    IS_RUNNING.get()
}

impl Serve for EmbeddedExchange<'_> {
    fn poll_read(&mut self, buffer: &mut [u8]) -> Result<Poll<usize>, Disconnected> {
        // Once the response has begun, it is too late to tell the client to go on.
        if self.response.is_begun() {
            self.request.withhold_continue();
        }
        let read = self.body.poll_read(buffer).map_err(|_| Disconnected)?;
        if read.is_pending() {
            *self.wait.lock() = self.body.pause();
        }
        Ok(read)
    }

    fn seek(&mut self, position: u64) -> Option<u64> {
        self.body.seek(position)
    }

    fn is_gone(&mut self) -> bool {
        self.request.connection().is_hung_up()
    }

    fn start(&mut self, status: u16, reason: Bytes<'_>, headers: &[Field<'_>]) -> Result<(), Disconnected> {
        not_in_copy()?;
        let head = validated::head(self.request, status, reason, headers, &HeadLimits::embedded())?;
        Ok(self.response.start(&head)?)
    }

    fn write(&mut self, block: &[u8], how: u32) -> Result<(), Disconnected> {
        not_in_copy()?;
        #[cfg(debug_assertions)]
        assert!(!self.panics || !self.response.is_begun(), "WSGIDebugPanic exchange");
        if how & bridge::write::LAST != 0 {
            self.body.disclaim();
        }
        let written = self.response.write(block, how, &mut self.body);
        // What follows the last block is the end of the response.
        if how & bridge::write::LAST == 0 {
            self.body.entry().end_writing();
        }
        Ok(written?)
    }

    fn send_file(&mut self, file: BorrowedFd<'_>, offset: u64, length: u64) -> Result<(), Disconnected> {
        not_in_copy()?;
        let file = validated::file(self.request, file, offset, length)?;
        let sent = self.response.send_file(&file, &mut self.body);
        self.body.entry().end_writing();
        Ok(sent?)
    }

    fn log(&mut self, level: c_int, line: &[u8]) {
        log::request(self.request, Level::from_number(level), line);
    }

    fn report_panic(&mut self, during: &str, panic: &(dyn Any + Send)) {
        log::request(self.request, Level::Crit, describe_panic(during, panic));
    }
}

/// Refuses to send in a copy of the process: the client is the child's.
#[inline]
fn not_in_copy() -> Result<(), Disconnected> {
    if os::fork::is_copy() { Err(Disconnected) } else { Ok(()) }
}

impl Wait for &BodyWait {
    fn wait(&self, timeout: Duration) {
        let (descriptor, pause) = *self.lock();
        self.waiter.wait(descriptor, pause.min(timeout));
    }

    fn interrupt(&self) {
        self.waiter.end();
    }
}

impl BodyWait {
    fn lock(&self) -> MutexGuard<'_, (Option<c_int>, Duration)> {
        lock(&self.pause)
    }
}

/// The reason has been logged.
impl From<NotValid> for Disconnected {
    fn from(NotValid: NotValid) -> Self {
        Self
    }
}

/// The reason has been logged, if it was not the client's.
impl From<ResponseFailed> for Disconnected {
    fn from(ResponseFailed: ResponseFailed) -> Self {
        Self
    }
}
