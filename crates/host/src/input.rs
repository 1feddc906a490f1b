//! `wsgi.input`: the body of a request.

use std::cell::Cell;
use std::ffi::CStr;
use std::sync::Arc;
use std::time::Instant;

use bridge::{Disconnected, Lease};
use python::{Arguments, Class, Definition, Exception, Object, Python, Raised, Result};

use crate::locked::{Exclusive, ExclusiveGuard};
use crate::meter::{self, Meter};

/// The size of reads for which the application gives none.
const BLOCK: usize = 64 * 1024;

/// The largest buffer that is allocated before data for it has arrived.
const LARGEST_GUESS: usize = 1024 * 1024;

/// `mod_wsgi.Input`.
pub(crate) struct Input {
    lease: Arc<Lease>,
    body: Exclusive<Body>,
    meter: Option<Arc<Meter>>,
}

/// `mod_wsgi.SeekableInput`: that of a body which the server has as a whole.
pub(crate) struct SeekableInput(pub(crate) Input);

/// An object that reads the body.
trait Reads {
    fn input(&self) -> &Input;
}

impl Reads for Input {
    fn input(&self) -> &Input {
        self
    }
}

impl Reads for SeekableInput {
    fn input(&self) -> &Input {
        &self.0
    }
}

/// The state of the body, and the data that has been read ahead.
#[derive(Default)]
struct Body {
    buffer: Vec<u8>,
    /// The begin of the part of `buffer` that has not been returned.
    start: usize,
    /// The place in the body after `buffer`.
    fetched: u64,
    ended: bool,
    failed: bool,
    touched: bool,
}

impl Input {
    pub(crate) fn new(lease: &Arc<Lease>, meter: Option<Arc<Meter>>) -> Self {
        Self { lease: Arc::clone(lease), body: Exclusive::new(Body::default()), meter }
    }

    /// Returns the body for one call, if the request still runs and no read has failed.
    fn body(&self, py: Python<'_>) -> Result<ExclusiveGuard<'_, Body>> {
        self.check_lease(py)?;
        let Some(body) = self.body.take() else {
            return Err(py.raise(Exception::RuntimeError, "wsgi.input is being read by another thread"));
        };
        if body.failed {
            return Err(py.raise(Exception::OSError, "request data read error: an earlier read has failed"));
        }
        Ok(body)
    }

    fn check_lease(&self, py: Python<'_>) -> Result<()> {
        if self.lease.is_over() {
            return Err(py.raise(Exception::RuntimeError, "request object has expired: its request is over"));
        }
        Ok(())
    }

    fn read(&self, py: Python<'_>, size: Option<usize>) -> Result<Object> {
        let mut body = self.body(py)?;
        if size == Some(0) {
            if !std::mem::replace(&mut body.touched, true) {
                // A client that waits for 100 Continue may send now.
                let lease = &*self.lease;
                py.detach(|| lease.with(|exchange| exchange.poll_read(&mut [])));
            }
            return py.bytes(b"");
        }
        if let Some(size) = size.filter(|size| *size <= LARGEST_GUESS) {
            let have = body.buffer.len() - body.start;
            if have == 0 && !body.ended {
                return self.read_directly(py, &mut body, size);
            }
        }
        self.fill(py, &mut body, |body| size.is_some_and(|size| body.available().len() >= size))?;
        let count = size.unwrap_or(usize::MAX).min(body.available().len());
        body.take(py, count)
    }

    /// Reads straight into the returned object.
    fn read_directly(&self, py: Python<'_>, body: &mut Body, size: usize) -> Result<Object> {
        body.touched = true;
        let (lease, meter) = (&*self.lease, self.meter.as_deref());
        let Body { ended, fetched, .. } = body;
        let mut end = None;
        let outcome = py.bytes_with(size, |buffer| {
            let begin = meter.map(|_| Instant::now());
            let mut count = 0;
            while count < buffer.len() {
                match read(lease, meter, &mut buffer[count..])? {
                    0 => {
                        *ended = true;
                        break;
                    }
                    more => count += more,
                }
            }
            end = meter.zip(begin).map(|(meter, begin)| {
                let end = Instant::now();
                meter.input.took(begin, end);
                end
            });
            *fetched += count as u64;
            Ok::<_, Disconnected>(count)
        })?;
        if let Some((meter, end)) = meter.zip(end) {
            meter.waited(end);
        }
        outcome.map_err(|Disconnected| self.failed(py, body))
    }

    /// Reads ahead until there is `enough`, or the end.
    fn fill(&self, py: Python<'_>, body: &mut Body, enough: impl Fn(&Body) -> bool) -> Result<()> {
        body.touched = true;
        while !body.ended && !enough(body) {
            let old = body.buffer.len();
            body.buffer.resize(old + BLOCK, 0);
            let (lease, meter, space) = (&*self.lease, self.meter.as_deref(), &mut body.buffer[old..]);
            let outcome = meter::detached(py, meter, |meter| &meter.input, || read(lease, meter, space));
            body.buffer.truncate(old + outcome.unwrap_or(0));
            body.fetched += outcome.unwrap_or(0) as u64;
            match outcome {
                Ok(0) => body.ended = true,
                Ok(_) => {}
                Err(Disconnected) => return Err(self.failed(py, body)),
            }
        }
        Ok(())
    }

    /// Moves to a place in the body, as `io.BytesIO.seek` does; returns it.
    fn seek(&self, py: Python<'_>, offset: i64, whence: i64) -> Result<Object> {
        let mut body = self.body(py)?;
        let base = match whence {
            0 if offset < 0 => {
                return Err(py.raise(Exception::ValueError, &format!("negative seek value {offset}")));
            }
            0 => 0,
            1 => body.position(),
            2 => self.place(py, 0)?,
            _ => {
                let text = format!("invalid whence ({whence}, should be 0, 1 or 2)");
                return Err(py.raise(Exception::ValueError, &text));
            }
        };
        let position = base.saturating_add_signed(offset);
        let Ok(result) = i64::try_from(position) else {
            return Err(py.raise(Exception::OverflowError, "new position too large"));
        };
        self.place(py, position)?;
        *body = Body { fetched: position, touched: true, ..Body::default() };
        py.int(result)
    }

    /// Has the server read from a place in the body; returns the length of that.
    fn place(&self, py: Python<'_>, position: u64) -> Result<u64> {
        let length = py.detach(|| self.lease.with(|exchange| exchange.seek(position)));
        length.flatten().ok_or_else(|| {
            let raised = self.check_lease(py).err();
            raised.unwrap_or_else(|| {
                py.raise(Exception::OSError, "the body of the request cannot be read again")
            })
        })
    }

    /// Raises the exception for a failed read.
    fn failed(&self, py: Python<'_>, body: &mut Body) -> Raised {
        // Another thread was still reading when the response was complete.
        self.check_lease(py).err().unwrap_or_else(|| body.fail(py))
    }

    fn line(&self, py: Python<'_>, size: Option<usize>) -> Result<Object> {
        if size == Some(0) {
            self.body(py)?;
            return py.bytes(b"");
        }
        let mut body = self.body(py)?;
        let most = size.unwrap_or(usize::MAX);
        // The search for the end of the line goes on where it has stopped.
        let seen = Cell::new(0);
        let end = Cell::new(None);
        self.fill(py, &mut body, |body| {
            let available = body.available();
            let found = available[seen.get()..].iter().position(|byte| *byte == b'\n');
            end.set(found.map(|offset| seen.get() + offset + 1));
            seen.set(available.len());
            found.is_some() || available.len() >= most
        })?;
        // `fill` does not ask when the body has ended already.
        let found = end
            .get()
            .or_else(|| body.available().iter().position(|byte| *byte == b'\n').map(|offset| offset + 1));
        let count = found.unwrap_or(usize::MAX).min(most).min(body.available().len());
        body.take(py, count)
    }
}

/// Reads from the server, while the thread is detached.
fn read(lease: &Lease, meter: Option<&Meter>, space: &mut [u8]) -> std::result::Result<usize, Disconnected> {
    let count = lease.read(space).unwrap_or(Err(Disconnected))?;
    if let Some(meter) = meter {
        meter.input.add(count as u64);
    }
    Ok(count)
}

impl Body {
    fn available(&self) -> &[u8] {
        &self.buffer[self.start..]
    }

    /// Returns the place in the body of the next read.
    fn position(&self) -> u64 {
        self.fetched - self.available().len() as u64
    }

    fn take(&mut self, py: Python<'_>, count: usize) -> Result<Object> {
        let bytes = py.bytes(&self.available()[..count])?;
        self.start += count;
        if self.start == self.buffer.len() {
            self.buffer.clear();
            self.start = 0;
            if self.buffer.capacity() > LARGEST_GUESS {
                self.buffer = Vec::new();
            }
        } else if self.start > LARGEST_GUESS {
            self.buffer.drain(..self.start);
            self.start = 0;
        }
        Ok(bytes)
    }

    fn fail(&mut self, py: Python<'_>) -> Raised {
        self.failed = true;
        self.buffer = Vec::new();
        self.start = 0;
        py.raise(
            Exception::OSError,
            "request data read error: the client is gone, too slow, or sent too much",
        )
    }
}

impl Class for Input {
    const NAME: &'static CStr = c"mod_wsgi.Input";

    fn define(definition: &mut Definition<Self>) {
        define_reading(definition);
    }
}

impl Class for SeekableInput {
    const NAME: &'static CStr = c"mod_wsgi.SeekableInput";

    fn define(definition: &mut Definition<Self>) {
        define_reading(definition);
        definition
            .method(c"seek", |py, input, arguments| match arguments.expect(py, "seek", 1, 2)? {
                [offset, whence] => input.0.seek(py, offset.to_i64()?, whence.to_i64()?),
                [offset] => input.0.seek(py, offset.to_i64()?, 0),
                _ => Err(py.raise(Exception::TypeError, "seek() takes an offset")),
            })
            .method(c"tell", |py, input, arguments| {
                arguments.expect(py, "tell", 0, 0)?;
                py.int(i64::try_from(input.0.body(py)?.position()).unwrap_or(i64::MAX))
            })
            .method(c"seekable", |py, input, arguments| {
                arguments.expect(py, "seekable", 0, 0)?;
                input.0.check_lease(py)?;
                Ok(py.bool(true))
            });
    }
}

/// Adds the methods that read.
fn define_reading<T: Class + Reads>(definition: &mut Definition<T>) {
    definition
        .method(c"read", |py, reads, arguments| {
            let size = size(py, "read", arguments)?;
            reads.input().read(py, size)
        })
        .method(c"readline", |py, reads, arguments| {
            let size = size(py, "readline", arguments)?;
            reads.input().line(py, size)
        })
        .method(c"readlines", |py, reads, arguments| {
            let hint = size(py, "readlines", arguments)?.filter(|hint| *hint > 0);
            let lines = py.list()?;
            let mut total = 0;
            loop {
                let line = reads.input().line(py, None)?;
                let length = line.as_bytes().map_or(0, <[u8]>::len);
                if length == 0 {
                    return Ok(lines);
                }
                lines.list_append(&line)?;
                total += length;
                if hint.is_some_and(|hint| total >= hint) {
                    return Ok(lines);
                }
            }
        })
        .method(c"close", |py, reads, arguments| {
            arguments.expect(py, "close", 0, 0)?;
            reads.input().check_lease(py)?;
            Ok(py.none())
        })
        .iterator(|py, reads| {
            let line = reads.input().line(py, None)?;
            Ok(line.as_bytes().is_some_and(|line| !line.is_empty()).then_some(line))
        });
}

/// Returns the optional size argument, or `None` if it is missing or negative.
fn size(py: Python<'_>, function: &str, arguments: &Arguments<'_>) -> Result<Option<usize>> {
    match arguments.expect(py, function, 0, 1)? {
        [size] => Ok(usize::try_from(size.to_i64()?).ok()),
        _ => Ok(None),
    }
}
