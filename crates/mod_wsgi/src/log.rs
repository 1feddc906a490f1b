//! Lines of this module in Apache's error log.

use httpd::{Level, Logger, Request, Server};

use crate::{Wsgi, child};

/// Logs a line about a request.
pub(crate) fn request(request: &Request, level: Level, line: impl AsRef<[u8]>) {
    Logger::of::<Wsgi>().request(request, level, line);
}

/// Logs a line about a server.
pub(crate) fn server(server: &Server, level: Level, line: impl AsRef<[u8]>) {
    Logger::of::<Wsgi>().server(server, level, line);
}

/// Returns whether the log of a server takes lines of `level`.
pub(crate) fn takes_of_server(server: &Server, level: Level) -> bool {
    Logger::of::<Wsgi>().takes_of_server(server, level)
}

/// Logs a line of this child that belongs to no request. Does nothing in other processes.
pub(crate) fn child(level: Level, line: impl AsRef<[u8]>) {
    if let Some(main) = child::server() {
        server(main, level, line);
    }
}

/// Returns whether the log takes lines of `level` from this child.
pub(crate) fn takes_of_child(level: Level) -> bool {
    child::server().is_some_and(|main| takes_of_server(main, level))
}
