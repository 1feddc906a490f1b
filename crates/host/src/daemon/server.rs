//! The server's functions in a daemon process.

use bridge::{Server, Sink, Tag};

use super::log;
use super::state::daemon;

/// Returns the server's functions for the rest of the host.
pub(super) const fn server() -> Server {
    Server { tag: Tag::of::<Server>(), log: log::write, is_logged: log::is_logged, scoreboard }
}

extern "C" fn scoreboard(mut sink: Sink<'_>) {
    let published = daemon().and_then(|daemon| daemon.scoreboard.as_ref()?.read());
    sink.put(&published.unwrap_or_default());
}
