//! The server's functions in a daemon process.

use bridge::{Bytes, Server, Sink, Tag};
use wsgi_core::wire::control::Report;

use super::state::{Message, daemon};
use super::{log, template};

/// Returns the server's functions for the rest of the host.
pub(super) const fn server() -> Server {
    Server {
        tag: Tag::of::<Server>(),
        log: log::write,
        is_logged: log::is_logged,
        scoreboard,
        import_failed,
        stuck,
    }
}

extern "C" fn scoreboard(mut sink: Sink<'_>) {
    let published = daemon().and_then(|daemon| daemon.scoreboard.as_ref()?.read());
    sink.put(&published.unwrap_or_default());
}

extern "C" fn import_failed(text: Bytes<'_>, detail: Bytes<'_>) {
    let report = Report::import_failed(text.or_empty(), detail.or_empty());
    match daemon() {
        Some(daemon) => daemon.notify(Message::Report(report)),
        None => template::keep_report(report),
    }
}

extern "C" fn stuck(count: u32, text: Bytes<'_>, detail: Bytes<'_>) {
    // A template has no requests.
    if let Some(daemon) = daemon() {
        daemon.notify(Message::Report(Report::stuck(count, text.or_empty(), detail.or_empty())));
    }
}
