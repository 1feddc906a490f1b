//! The buffers below `sys.stdout`, `sys.stderr` and `wsgi.errors`: their complete lines become
//! records of the error log.

use std::ffi::CStr;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use python::{Arguments, Class, Definition, Exception, Object, Python, Result};

use crate::context;
use crate::stream::Stream;

/// `mod_wsgi.Log`: the buffer below the text streams.
pub(crate) struct Log {
    name: String,
    stream: Arc<Stream>,
    /// Writes go to the request that the writing thread serves, if it serves one.
    follows_thread: bool,
    /// Data was written or flushed: any change of a text stream flushes it.
    is_touched: AtomicBool,
}

impl Log {
    /// Returns the buffer of `sys.stdout` or `sys.stderr`.
    pub(crate) fn standard(name: String) -> Self {
        Self { name, stream: Arc::default(), follows_thread: true, is_touched: AtomicBool::new(false) }
    }

    /// Returns a buffer above its own stream.
    pub(crate) fn new(name: &str, stream: &Arc<Stream>) -> Self {
        let (name, stream) = (name.to_owned(), Arc::clone(stream));
        Self { name, stream, follows_thread: false, is_touched: AtomicBool::new(false) }
    }

    /// Returns whether data was written or flushed.
    pub(crate) fn is_touched(&self) -> bool {
        self.is_touched.load(Ordering::Relaxed)
    }

    /// Returns the stream for a write or flush, which it notes.
    pub(crate) fn stream(&self) -> Arc<Stream> {
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
