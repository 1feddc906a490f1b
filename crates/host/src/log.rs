//! `sys.stdout`, `sys.stderr` and `wsgi.errors`: text streams whose complete lines become records of the error log.

use std::ffi::CStr;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use bridge::{Lease, Level};
use python::{Arguments, Class, Definition, Exception, Object, Python, Result};

use crate::locked::Locked;
use crate::state::{Errors, State, Thread};
use crate::{context, process};

/// The most that gathers without the end of a line: what is written a character at a time, for as long as the process lives,
/// becomes lines of this length.
const LONGEST_PARTIAL: usize = 64 << 10;

/// Where written bytes gather until a line is complete.
#[derive(Debug, Default)]
pub(crate) struct Stream(Locked<Inner>);

#[derive(Debug, Default)]
struct Inner {
    partial: Vec<u8>,
    target: Target,
    script: Vec<u8>,
    prefix: Arc<[u8]>,
}

/// Where a stream's lines go.
#[derive(Clone, Debug, Default)]
enum Target {
    /// To the server's log.
    #[default]
    Server,
    /// To the log of a request, each with a prefix.
    Request(Arc<Lease>, Arc<[u8]>),
    /// Nowhere: the request is over.
    Expired,
}

impl Stream {
    /// Directs lines to a request.
    fn begin(&self, lease: &Arc<Lease>, script: &[u8]) {
        self.0.with(|inner| {
            inner.partial.clear();
            // The next request is most often for the same script.
            if inner.script != script {
                inner.script = script.to_owned();
                inner.prefix = [b"[script ", script, b"] "].concat().into();
            }
            inner.target = Target::Request(Arc::clone(lease), Arc::clone(&inner.prefix));
        });
    }

    /// Ends a request's use: what is written from now on is an error.
    pub(crate) fn expire(&self, py: Python<'_>) {
        self.flush(py);
        self.0.with(|inner| {
            if !matches!(inner.target, Target::Server) {
                inner.target = Target::Expired;
            }
        });
    }

    fn write(&self, py: Python<'_>, bytes: &[u8]) -> Result<()> {
        match self.0.with(|inner| inner.add(bytes)) {
            Added::Nothing => {}
            Added::Lines(lines, target) => {
                py.detach(|| {
                    lines.split(|byte| *byte == b'\n').for_each(|line| target.log(Level::Error, line));
                });
            }
            Added::Expired => {
                return Err(py.raise(Exception::RuntimeError, "log object has expired: its request is over"));
            }
        }
        Ok(())
    }

    fn flush(&self, py: Python<'_>) {
        let rest = self.0.with(|inner| {
            let line = std::mem::take(&mut inner.partial);
            (!line.is_empty()).then(|| (line, inner.target.clone()))
        });
        if let Some((line, target)) = rest {
            py.detach(|| target.log(Level::Error, &line));
        }
    }

    /// Logs one line, past what has been gathered.
    pub(crate) fn log(&self, level: Level, line: &[u8]) {
        let target = self.0.with(|inner| inner.target.clone());
        target.log(level, line);
    }
}

/// What has come of bytes that were written.
enum Added {
    /// No line is complete.
    Nothing,
    /// These lines are to go there; the last one is without its end.
    Lines(Vec<u8>, Target),
    /// The request is over.
    Expired,
}

impl Inner {
    fn add(&mut self, bytes: &[u8]) -> Added {
        if matches!(self.target, Target::Expired) {
            return Added::Expired;
        }
        let Some(end) = bytes.iter().rposition(|byte| *byte == b'\n') else {
            self.partial.extend_from_slice(bytes);
            if self.partial.len() < LONGEST_PARTIAL {
                return Added::Nothing;
            }
            return Added::Lines(std::mem::take(&mut self.partial), self.target.clone());
        };
        let mut lines = std::mem::take(&mut self.partial);
        lines.extend_from_slice(&bytes[..end]);
        self.partial.extend_from_slice(&bytes[end + 1..]);
        Added::Lines(lines, self.target.clone())
    }
}

impl Target {
    fn log(&self, level: Level, line: &[u8]) {
        // The server's functions want text without NUL.
        let escaped;
        let line = if line.contains(&0) {
            escaped = line.split(|byte| *byte == 0).collect::<Vec<_>>().join(&b"\\x00"[..]);
            &escaped
        } else {
            line
        };
        let logged = match self {
            Self::Request(lease, prefix) => {
                let text = [prefix, line].concat();
                // While another thread is blocked in the exchange, the line goes to the server's log instead.
                lease.try_with(|exchange| exchange.log(level, &text))
            }
            Self::Server | Self::Expired => None,
        };
        if logged.is_none()
            && let Some(process) = process::process()
        {
            process.server.log(level, line);
        }
    }
}

/// `mod_wsgi.Log`: the buffer below the text streams.
pub(crate) struct Log {
    name: String,
    stream: Arc<Stream>,
    /// Writes go to the request that the writing thread serves, if it serves one.
    follows_thread: bool,
    /// Something was written or flushed: whatever changes a text stream flushes it.
    is_touched: AtomicBool,
}

impl Log {
    /// For `sys.stdout` and `sys.stderr`.
    pub(crate) fn standard(name: String) -> Self {
        Self { name, stream: Arc::default(), follows_thread: true, is_touched: AtomicBool::new(false) }
    }

    /// Where to write, which is going to happen.
    fn stream(&self) -> Arc<Stream> {
        self.is_touched.store(true, Ordering::Relaxed);
        let current = if self.follows_thread { context::stream() } else { None };
        current.unwrap_or_else(|| Arc::clone(&self.stream))
    }

    fn write(&self, py: Python<'_>, data: &Object) -> Result<()> {
        let stream = self.stream();
        if data.is_str() {
            py.warn(
                Exception::DeprecationWarning,
                c"writing str to a log buffer is deprecated, write bytes",
            )?;
            return stream.write(py, data.to_text().unwrap_or_default().as_bytes());
        }
        // Copied, because other threads may run while the lines are logged.
        let bytes = py.with_buffer(data, <[u8]>::to_vec)?;
        stream.write(py, &bytes)
    }
}

impl Class for Log {
    const NAME: &'static CStr = c"mod_wsgi.Log";

    fn define(definition: &mut Definition<Self>) {
        definition
            .method(c"write", |py, log, arguments: &Arguments<'_>| {
                log.write(py, &arguments.expect(py, "write", 1, 1)?[0])?;
                Ok(py.none())
            })
            .method(c"writelines", |py, log, arguments| {
                let lines = arguments.expect(py, "writelines", 1, 1)?[0].iter()?;
                while let Some(line) = lines.next()? {
                    log.write(py, &line)?;
                }
                Ok(py.none())
            })
            .method(c"flush", |py, log, arguments| {
                arguments.expect(py, "flush", 0, 0)?;
                log.stream().flush(py);
                Ok(py.none())
            })
            .method(c"close", |py, log, arguments| {
                arguments.expect(py, "close", 0, 0)?;
                log.stream().expire(py);
                Ok(py.none())
            })
            .method(c"isatty", |py, _, _| Ok(py.bool(false)))
            .method(c"readable", |py, _, _| Ok(py.bool(false)))
            .method(c"seekable", |py, _, _| Ok(py.bool(false)))
            .method(c"writable", |py, _, _| Ok(py.bool(true)))
            .method(c"fileno", |py, _, _| {
                let class = py.import(c"io")?.attr(&py.name("UnsupportedOperation")?)?;
                let text = py.str("the Apache error log has no file descriptor")?;
                Err(py.raise_instance(&class.call([&text])?))
            })
            .attribute(c"name", |py, log| py.str(&log.name))
            .attribute(c"closed", |py, _| Ok(py.bool(false)))
            .attribute(c"encoding", |py, _| py.str("utf-8"))
            .attribute(c"errors", |py, _| py.str("replace"));
    }
}

/// `wsgi.errors` for a request: a text stream of its own, or the one of the thread's last request, if the application
/// has not kept it, nor done anything to it.
pub(crate) fn errors(
    py: Python<'_>,
    state: &State,
    thread: &Thread,
    lease: &Arc<Lease>,
    script: &[u8],
) -> Result<Errors> {
    let errors = match thread.errors.take() {
        Some(errors) if errors.is_as_new(py, state)? => errors,
        _ => Errors::create(py, state)?,
    };
    errors.stream.begin(lease, script);
    Ok(errors)
}

impl Errors {
    fn create(py: Python<'_>, state: &State) -> Result<Self> {
        let stream = Arc::new(Stream::default());
        let log = Log {
            name: "<wsgi.errors>".to_owned(),
            stream: Arc::clone(&stream),
            follows_thread: false,
            is_touched: AtomicBool::new(false),
        };
        let buffer = state.types.log.instance(py, log)?;
        let helpers = &state.helpers;
        let wrapper = helpers.text_io_wrapper.get(py).call([
            &buffer,
            helpers.encoding.get(py),
            helpers.replace.get(py),
            &py.none(),
            &py.bool(true),
            &py.bool(true),
        ])?;
        Ok(Self { wrapper, buffer, stream })
    }

    /// Whether the application has kept neither the stream nor its buffer, and both are as they were made.
    fn is_as_new(&self, py: Python<'_>, state: &State) -> Result<bool> {
        let is_unshared = self.wrapper.reference_count() == 1 && self.buffer.reference_count() == 2;
        let log = state.types.log.value(py, &self.buffer);
        if !is_unshared || log.is_none_or(|log| log.is_touched.load(Ordering::Relaxed)) {
            return Ok(false);
        }
        Ok(!self.wrapper.attr(state.names.dict.get(py))?.is_true()?)
    }
}
