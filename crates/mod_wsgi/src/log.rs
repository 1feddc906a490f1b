//! Lines of this module in Apache's error log.

use std::fmt::Display;
use std::os::fd::BorrowedFd;
use std::time::SystemTime;

use httpd::{Level, Logger, Request, Server};
use os::descriptors::write_to_pipe;
use wsgi_core::codes::Code;
use wsgi_core::level;
use wsgi_core::log_record::{self, Line, Origin, is_record};

use crate::{Wsgi, child};

/// Logs a line about a request: text, or a record with fields.
pub(crate) fn request(request: &Request, level: Level, line: impl AsRef<[u8]>) {
    let line = line.as_ref();
    let Some(log) = json_log(request.server()) else {
        return each_line(line, |line| Logger::of::<Wsgi>().request(request, level, line));
    };
    if level_of_request(request) < level as u32 {
        return;
    }
    let client =
        request.useragent_ip().map(|ip| [ip, b":", request.useragent_port().to_string().as_bytes()].concat());
    let trace_id = request.headers_in().value(c"traceparent").and_then(log_record::trace_id);
    write_json(
        log,
        level,
        line,
        Origin {
            id: request.log_id(),
            trace_id,
            client: client.as_deref(),
            host: Some(request.server().name()),
            method: request.method(),
            path: request.uri(),
            ..Origin::default()
        },
    );
}

/// Logs a message about a request, with its code and at its level.
pub(crate) fn message(request: &Request, code: Code, text: impl Display) {
    self::request(request, level_of(code), format!("{code}: {text}"));
}

/// Logs a message about a server, with its code and at its level.
pub(crate) fn server_message(server: &Server, code: Code, text: impl Display) {
    self::server(server, level_of(code), format!("{code}: {text}"));
}

/// Logs a line about a server.
pub(crate) fn server(server: &Server, level: Level, line: impl AsRef<[u8]>) {
    let line = line.as_ref();
    match json_log(server) {
        None => each_line(line, |line| Logger::of::<Wsgi>().server(server, level, line)),
        Some(log) if is_enabled_for_server(server, level) => write_json(log, level, line, Origin::default()),
        Some(_) => {}
    }
}

/// Returns the number of the highest level of lines that the log takes of a request.
pub(crate) fn level_of_request(request: &Request) -> u32 {
    u32::try_from(Logger::of::<Wsgi>().level_of(request)).unwrap_or(0)
}

/// Returns whether the log of a server takes lines of `level`.
pub(crate) fn is_enabled_for_server(server: &Server, level: Level) -> bool {
    Logger::of::<Wsgi>().is_enabled_for_server(server, level)
}

/// Logs a line of this child that belongs to no request. Does nothing in the parent.
pub(crate) fn child(level: Level, line: impl AsRef<[u8]>) {
    if let Some(main) = child::server() {
        server(main, level, line);
    }
}

/// Returns whether the log takes lines of `level` from this child.
pub(crate) fn is_enabled_for_child(level: Level) -> bool {
    child::server().is_some_and(|main| is_enabled_for_server(main, level))
}

/// Calls `write` with each line of a record without its fields, or with the line if it is text.
fn each_line(line: &[u8], write: impl Fn(&[u8])) {
    if is_record(line) {
        Line::parse(line).plain().split(|byte| *byte == b'\n').for_each(write);
    } else {
        write(line);
    }
}

/// Returns the log that lines of this module are written to as JSON objects. Apache would escape the
/// backslashes of JSON once more, and write something before each line, so it is not asked to. Returns
/// `None` if they are text, or Apache has no file for them.
fn json_log(server: &Server) -> Option<BorrowedFd<'_>> {
    server.global::<Wsgi>().filter(|global| global.json_log).and_then(|_| server.error_log())
}

fn write_json(log: BorrowedFd<'_>, level: Level, line: &[u8], origin: Origin<'_>) {
    let time = os::clock::rfc_3339(SystemTime::now());
    let (process, thread) = (std::process::id(), os::thread::id().unsigned_abs());
    let origin = Origin { time: &time, level: level.name(), process, thread, ..origin };
    let line = Line::parse(line).json(&origin);
    // At once, as Apache does: a line in an append-only file is whole. What a pipe takes in parts is
    // finished; where that fails, there is nowhere to complain.
    let mut rest = line.as_bytes();
    while !rest.is_empty() {
        match write_to_pipe(log, rest) {
            Ok(count @ 1..) => rest = &rest[count..],
            Err(error) if error.kind() == std::io::ErrorKind::Interrupted => {}
            Ok(0) | Err(_) => return,
        }
    }
}

const fn level_of(code: Code) -> Level {
    match code.level {
        level::Level::Alert => Level::Alert,
        level::Level::Critical => Level::Crit,
        level::Level::Error => Level::Error,
        level::Level::Warning => Level::Warn,
        level::Level::Info => Level::Info,
        level::Level::Debug => Level::Debug,
    }
}
