//! Lines of this module in Apache's error log.

use std::fmt::Display;

use httpd::{Level, Logger, Request, Server};
use wsgi_core::codes::Code;
use wsgi_core::level;

use crate::{Wsgi, child};

/// Logs a line about a request.
pub(crate) fn request(request: &Request, level: Level, line: impl AsRef<[u8]>) {
    Logger::of::<Wsgi>().request(request, level, line);
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
    Logger::of::<Wsgi>().server(server, level, line);
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
