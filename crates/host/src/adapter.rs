//! `start_response`, `write`, and the sending of a response to the server.

use std::ffi::CStr;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering::Relaxed};

use bridge::{Disconnected, Lease, write};
use python::{Arguments, Class, Definition, Exception, Object, Python, Raised, Result, Shared, SharedCell};

use crate::events;
use crate::meter::{self, Meter};
use crate::response::Head;
use crate::state::Interpreter;

/// `mod_wsgi.Adapter`: the response of one request. Its methods are what the application is given.
pub(crate) struct Adapter {
    interpreter: &'static Interpreter,
    lease: Arc<Lease>,
    meter: Option<Arc<Meter>>,
    request_id: Option<Shared>,
    /// The head that `start_response` was last called with. Another call may replace it while it is
    /// used.
    head: SharedCell<Head>,
    /// The application cannot change the head any more.
    is_committed: AtomicBool,
    /// The server has the head.
    is_head_sent: AtomicBool,
    /// The exception that `write` has last raised because the client is gone. Only its number (or
    /// 0): the object would keep this one, and this one it.
    client_gone: AtomicUsize,
    /// Test hook: `start_response` panics.
    panics: bool,
}

/// The reason why a block was not sent.
pub(crate) enum SendError {
    /// The client is gone.
    Disconnected,
    /// A Python exception was raised.
    Raised(Raised),
}

impl From<Raised> for SendError {
    fn from(raised: Raised) -> Self {
        Self::Raised(raised)
    }
}

impl Adapter {
    pub(crate) fn new(
        interpreter: &'static Interpreter,
        lease: &Arc<Lease>,
        meter: Option<Arc<Meter>>,
        request_id: Option<&Object>,
        panics: bool,
    ) -> Self {
        Self {
            interpreter,
            lease: Arc::clone(lease),
            meter,
            request_id: request_id.cloned().map(Shared::new),
            head: SharedCell::default(),
            is_committed: AtomicBool::new(false),
            is_head_sent: AtomicBool::new(false),
            client_gone: AtomicUsize::new(0),
            panics,
        }
    }

    /// Returns whether the server has the head, so that the client may have seen a part of the
    /// response.
    pub(crate) fn has_begun(&self) -> bool {
        self.is_head_sent.load(Relaxed)
    }

    /// Ends a response that has failed. Returns whether the client may have seen a part of it. If
    /// not, the server's own page takes its place, with the application's demand for authentication
    /// if that was committed.
    pub(crate) fn fail(&self, py: Python<'_>, status: u16) -> bool {
        if self.has_begun() {
            return true;
        }
        if self.is_committed.load(Relaxed)
            && let Some(head) = self.head.get(py)
        {
            self.lease.try_with(|exchange| head.start_failed(py, exchange, status));
        }
        false
    }

    /// Returns whether an exception is the one that `write` has raised because the client is gone.
    pub(crate) fn says_client_gone(&self, exception: &Object) -> bool {
        self.client_gone.load(Relaxed) == exception.id()
    }

    /// Returns whether the client is known to be gone. Does not wait, so it may miss that.
    pub(crate) fn is_client_gone(&self) -> bool {
        self.lease.try_with(|exchange| exchange.is_gone()).unwrap_or(false)
    }

    /// Returns the status that the application set; 500 if it has not.
    pub(crate) fn status(&self, py: Python<'_>) -> u16 {
        self.head.get(py).map_or(500, |head| head.status())
    }

    /// Sends the head to the server, unless it has it.
    pub(crate) fn begin(&self, py: Python<'_>) -> std::result::Result<(), SendError> {
        self.is_committed.store(true, Relaxed);
        if self.has_begun() {
            return Ok(());
        }
        let Some(head) = self.head.get(py) else {
            return Err(not_started(py).into());
        };
        if self.is_head_sent.swap(true, Relaxed) {
            return Ok(());
        }
        // Setting the head does not block, but another thread may be using the exchange.
        let started = match self.lease.try_with(|exchange| head.start(py, exchange)) {
            Some(started) => started,
            None => {
                let lease = &*self.lease;
                py.detach(|| lease.with(|_| ()));
                self.lease.with(|exchange| head.start(py, exchange)).unwrap_or(Err(Disconnected))
            }
        };
        started.map_err(|Disconnected| SendError::Disconnected)
    }

    /// Sends a block; `how` is a set of [`bridge::write`] bits.
    pub(crate) fn send(&self, py: Python<'_>, block: &[u8], how: u32) -> std::result::Result<(), SendError> {
        self.begin(py)?;
        let lease = &*self.lease;
        let sent = meter::detached(
            py,
            self.meter.as_deref(),
            |meter| &meter.output,
            || lease.with(|exchange| exchange.write(block, how)).unwrap_or(Err(Disconnected)),
        );
        self.count(block.len());
        sent.map_err(|Disconnected| SendError::Disconnected)
    }

    /// Sends a part of a file whose length has not been declared otherwise: a declared length
    /// bounds it, and it becomes the declared length if there is none.
    pub(crate) fn send_file(
        &self,
        py: Python<'_>,
        descriptor: i32,
        offset: u64,
        available: u64,
    ) -> std::result::Result<(), SendError> {
        let Some(head) = self.head.get(py) else {
            return Err(not_started(py).into());
        };
        let length = match head.content_length() {
            Some(declared) => declared.min(available),
            None => {
                self.head.put(py, head.with_content_length(py, available)?);
                available
            }
        };
        self.begin(py)?;
        if let Some(meter) = &self.meter {
            meter.output.add_bytes(available);
        }
        if length == 0 {
            return Ok(());
        }
        let lease = &*self.lease;
        let sent = meter::detached(
            py,
            self.meter.as_deref(),
            |meter| &meter.output,
            || {
                lease
                    .with(|exchange| exchange.send_file(descriptor, offset, length))
                    .unwrap_or(Err(Disconnected))
            },
        );
        sent.map_err(|Disconnected| SendError::Disconnected)
    }

    /// Counts a block of the application.
    pub(crate) fn count(&self, bytes: usize) {
        if let Some(meter) = &self.meter {
            meter.output.add(bytes as u64);
        }
    }

    /// Texts of exceptions here and in [`Head::new`] are those that test suites of applications look
    /// for: the original's.
    fn start_response(&self, py: Python<'_>, arguments: &Arguments<'_>) -> Result<()> {
        assert!(!self.panics, "WSGIDebugPanic callback");
        if self.lease.is_over() {
            return Err(py.raise(Exception::RuntimeError, "request object has expired: its request is over"));
        }
        let arguments = arguments.expect(py, "start_response", 2, 3)?;
        let (status, headers) = (&arguments[0], &arguments[1]);
        let exc_info = arguments.get(2).filter(|info| !info.is_none());
        if !headers.is_list() {
            // As CPython says it for arguments.
            let got = if headers.is_none() { "None".to_owned() } else { headers.type_name() };
            let text = format!("start_response() argument 2 must be list, not {got}");
            return Err(py.raise(Exception::TypeError, &text));
        }
        if let Some(exc_info) = exc_info
            && !exc_info.is_tuple()
        {
            return Err(py.raise(
                Exception::RuntimeError,
                "start_response() argument 'exc_info' must be a 3-tuple or None",
            ));
        }
        if self.is_committed.load(Relaxed) {
            return Err(match exc_info {
                None => py.raise(
                    Exception::RuntimeError,
                    "start_response() called more than once without exc_info",
                ),
                Some(info) => match (info.item(0), info.item(1), info.item(2), info.item_count()) {
                    (Some(class), Some(value), Some(traceback), 3) => {
                        py.raise_info(&class, &value, &traceback)
                    }
                    _ => py.raise(
                        Exception::TypeError,
                        "start_response() argument 'exc_info' must be a 3-tuple",
                    ),
                },
            });
        }
        events::response_started(
            py,
            self.interpreter.state(),
            self.request_id.as_ref().map(|id| id.get(py)),
            status,
            headers,
            exc_info,
        )?;
        // Only now, so that a failure leaves the head as it was.
        self.head.put(py, Head::new(py, status, headers)?);
        Ok(())
    }

    fn write(&self, py: Python<'_>, data: &Object) -> Result<()> {
        let Some(block) = data.as_bytes() else {
            let text = format!("write() argument must be bytes, not {}", data.type_name());
            return Err(py.raise(Exception::TypeError, &text));
        };
        if self.lease.is_over() {
            return Err(py.raise(Exception::RuntimeError, "request object has expired: its request is over"));
        }
        let outcome = if block.is_empty() {
            // Commits the head, but there is nothing to send yet.
            if self.head.get(py).is_none() {
                return Err(not_started(py));
            }
            self.is_committed.store(true, Relaxed);
            self.count(0);
            Ok(())
        } else {
            self.send(py, block, write::FLUSH)
        };
        outcome.map_err(|error| match error {
            SendError::Raised(raised) => raised,
            SendError::Disconnected => {
                let raised = py.raise(Exception::OSError, "failed to write data: the client is gone");
                let exception = raised.take(py);
                self.client_gone.store(exception.id(), Relaxed);
                py.raise_instance(&exception)
            }
        })
    }
}

fn not_started(py: Python<'_>) -> Raised {
    py.raise(Exception::RuntimeError, "response has not been started: call start_response first")
}

/// The indices of the methods that applications are given, for [`python::Type::bound`].
pub(crate) const START_RESPONSE: usize = 0;
const WRITE: usize = 1;

impl Class for Adapter {
    const NAME: &'static CStr = c"mod_wsgi.Adapter";

    fn define(definition: &mut Definition<Self>) {
        definition
            .method_of_object(c"start_response", |py, adapter, object, arguments| {
                adapter.start_response(py, arguments)?;
                adapter.interpreter.state().types.adapter.bound(py, object, WRITE)
            })
            .method(c"write", |py, adapter, arguments| {
                adapter.write(py, &arguments.expect(py, "write", 1, 1)?[0])?;
                Ok(py.none())
            });
    }
}
