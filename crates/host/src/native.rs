//! The part of the host that bootstrap.py uses.

use std::ffi::CStr;
use std::sync::{Arc, Once};

use bridge::{Level, Server};
use python::{Class, Definition, Exception, Python, Result, Type};
use wsgi_core::log_record::Field;

use crate::daemon::descriptors;
use crate::log::Log;
use crate::telemetry::Collector;
use crate::{context, metrics, process, records, stream};

/// The object `native` of bootstrap.py.
pub(crate) struct Native {
    server: Server,
    streams: Arc<Type<Log>>,
    own_gil: bool,
    /// Set if collections are reported.
    collector: Option<Arc<Collector>>,
}

impl Native {
    pub(crate) const fn new(
        server: Server,
        streams: Arc<Type<Log>>,
        own_gil: bool,
        collector: Option<Arc<Collector>>,
    ) -> Self {
        Self { server, streams, own_gil, collector }
    }
}

impl Class for Native {
    const NAME: &'static CStr = c"mod_wsgi.Native";

    fn define(definition: &mut Definition<Self>) {
        definition
            // log(level, line): without a request's context.
            .method(c"log", |py, native, arguments| {
                let [code, line] = arguments.expect(py, "log", 2, 2)? else { return Ok(py.none()) };
                let (level, line) = (level(code.to_i64()?), line.to_text().unwrap_or_default());
                py.detach(|| native.server.log(level, line.as_bytes()));
                Ok(py.none())
            })
            // log_in_context(level, lines): in the request that the thread serves, if it serves one.
            .method(c"log_in_context", |py, _, arguments| {
                let [code, lines] = arguments.expect(py, "log_in_context", 2, 2)? else {
                    return Ok(py.none());
                };
                let (level, lines) = (level(code.to_i64()?), lines.to_text().unwrap_or_default());
                let stream = context::stream();
                // All at once, so that the lines of other threads do not come between them.
                py.detach(|| match stream {
                    Some(stream) => stream.log(level, lines.as_bytes()),
                    None => stream::log(level, lines.as_bytes()),
                });
                Ok(py.none())
            })
            // log_record(target, level, message, fields): with fields, each a number and a text. The target
            // is a log buffer; None: the server's log; else the request that the thread serves, if it
            // serves one.
            .method(c"log_record", |py, native, arguments| {
                let [target, code, message, items] = arguments.expect(py, "log_record", 4, 4)? else {
                    return Ok(py.none());
                };
                let level = level(code.to_i64()?);
                let mut record = records::new(message.to_text().unwrap_or_default().as_bytes());
                let mut index = 0;
                while let (Some(number), Some(value)) = (items.item(index), items.item(index + 1)) {
                    let field = u8::try_from(number.to_i64()?).ok().and_then(Field::from_number);
                    if let (Some(field), Some(value)) = (field, value.to_text()) {
                        record.add(field, value.as_bytes());
                    }
                    index += 2;
                }
                let stream = match native.streams.value(py, target) {
                    Some(log) => Some(log.stream()),
                    None if target.is_none() => None,
                    None => context::stream(),
                };
                let is_logged = py.detach(|| match stream {
                    Some(stream) => stream.log_record(level, record),
                    None => {
                        stream::log_record(level, record);
                        true
                    }
                });
                if is_logged { Ok(py.none()) } else { Err(stream::expired(py)) }
            })
            // is_logged_in_context(level): whether the error log records such lines, of the request that
            // the thread serves, if it serves one.
            .method(c"is_logged_in_context", |py, _, arguments| {
                let level = level(arguments.expect(py, "is_logged_in_context", 1, 1)?[0].to_i64()?);
                let is_logged = context::stream()
                    .map_or_else(|| stream::is_logged(level), |stream| stream.is_logged(level));
                Ok(py.bool(is_logged))
            })
            // log_stream(name): the buffer of a standard stream.
            .method(c"log_stream", |py, native, arguments| {
                let name = arguments.expect(py, "log_stream", 1, 1)?[0].to_text().unwrap_or_default();
                native.streams.instance(py, Log::standard(name))
            })
            // request_data(): the dict of the request that the thread serves.
            .method(c"request_data", |py: Python<'_>, _, arguments| {
                arguments.expect(py, "request_data", 0, 0)?;
                context::data(py).map_or_else(
                    || {
                        let text = "no active request for the current thread";
                        Err(py.raise(Exception::RuntimeError, text))
                    },
                    Result::Ok,
                )
            })
            // before_fork(): this thread is about to fork the process.
            .method(c"before_fork", |py: Python<'_>, _, arguments| {
                arguments.expect(py, "before_fork", 0, 0)?;
                if python::cannot_fork(py) {
                    warn_of_fork();
                    os::fork::end_copies(true);
                }
                Ok(py.none())
            })
            // after_fork(): it has, or that has failed.
            .method(c"after_fork", |py: Python<'_>, _, arguments| {
                arguments.expect(py, "after_fork", 0, 0)?;
                os::fork::end_copies(false);
                Ok(py.none())
            })
            // forked(): this is a copy of the process, made by fork().
            .method(c"forked", |py: Python<'_>, _, arguments| {
                arguments.expect(py, "forked", 0, 0)?;
                descriptors::forked();
                Ok(py.none())
            })
            // begin_thread(): this is a thread of the application's, which begins.
            .method(c"begin_thread", |py: Python<'_>, _, arguments| {
                arguments.expect(py, "begin_thread", 0, 0)?;
                os::alternate_stack::install();
                Ok(py.none())
            })
            // frames(): the frames of the server's threads in this interpreter, by the threads' ids.
            .method(c"frames", |py: Python<'_>, _, arguments| {
                arguments.expect(py, "frames", 0, 0)?;
                python::frames(py)
            })
            .method(c"start_recording_metrics", |py, _, arguments| {
                arguments.expect(py, "start_recording_metrics", 0, 0)?;
                metrics::start(context::data(py).is_some());
                Ok(py.none())
            })
            .method(c"request_metrics", |py, _, arguments| {
                arguments.expect(py, "request_metrics", 0, 0)?;
                metrics::of_requests(py)
            })
            .method(c"process_metrics", |py, _, arguments| {
                arguments.expect(py, "process_metrics", 0, 0)?;
                metrics::of_process(py)
            })
            .method(c"server_metrics", |py, native, arguments| {
                arguments.expect(py, "server_metrics", 0, 0)?;
                metrics::of_server(py, &native.server)
            })
            // on_collection(phase, info): a callback of the garbage collector.
            .method(c"on_collection", |py, native, arguments| {
                let [phase, info] = arguments.expect(py, "on_collection", 2, 2)? else {
                    return Ok(py.none());
                };
                if let Some(collector) = &native.collector {
                    match phase.to_text().as_deref() {
                        Some("start") => collector.begin(),
                        _ => collector.end(py, info)?,
                    }
                }
                Ok(py.none())
            })
            .attribute(c"records", |py, _| Ok(py.bool(records::are_wanted())))
            .attribute(c"own_gil", |py, native| Ok(py.bool(native.own_gil)))
            // Whether any interpreter of the process may have its own GIL.
            .attribute(c"own_gils", |py, _| Ok(py.bool(python::has_own_gils())));
    }
}

/// Logs that copies of this process end at once, when the first is made.
fn warn_of_fork() {
    static ONCE: Once = Once::new();
    ONCE.call_once(|| {
        process::log(
            Level::Warning,
            "An application forks this process, in which there are several interpreters. CPython hangs or crashes in such a copy, so it is \
             ended (status 255). Run the application where there is no other interpreter: in a process group of its own, with \
             application-group=%{GLOBAL}.",
        );
    });
}

/// Returns Apache's level of that number.
const fn level(number: i64) -> Level {
    match number {
        i64::MIN..=2 => Level::Critical,
        3 => Level::Error,
        4 => Level::Warning,
        5 | 6 => Level::Info,
        _ => Level::Debug,
    }
}
