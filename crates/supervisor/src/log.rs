//! The supervisor's own [lines](crate::log_line) in the error log. They go by the
//! [relay](crate::relay), once there is one.

use std::fmt::Display;
use std::io::{self, Write as _};
use std::os::fd::{AsFd, OwnedFd};
use std::sync::OnceLock;
use std::time::SystemTime;

pub(crate) use wsgi_core::level::Level;
use wsgi_core::wire::launch::Syslog;

use crate::log_line::{is_json, line};
use crate::relay::Relay;

static RELAY: OnceLock<Relay> = OnceLock::new();

/// Starts the relay to these logs, and from now on never waits for any. Lines of the supervisor's
/// go where its standard error, which is the server's, leads; to the system's log, which takes the
/// place of the first one, if the server's errors go there.
///
/// # Errors
/// See [`Relay::start`].
pub(crate) fn start_relay(
    mut logs: Vec<OwnedFd>,
    syslog: Option<Syslog>,
    slots: usize,
) -> io::Result<&'static Relay> {
    let stderr = io::stderr();
    let file = |log: &dyn AsFd| os::file::identity(log.as_fd()).ok();
    let is_own = |log: &OwnedFd| file(log) == file(&stderr);
    let own = if syslog.is_some() { Some(0) } else { logs.iter().position(is_own) };
    let own = own.unwrap_or(logs.len());
    if own == logs.len() {
        logs.push(stderr.as_fd().try_clone_to_owned()?);
    }
    let relay = Relay::start(&logs, own, syslog, slots)?;
    Ok(RELAY.get_or_init(|| relay))
}

/// Has all lines written, as far as the logs take them, and ends the relay.
pub(crate) fn finish() {
    if let Some(relay) = RELAY.get() {
        relay.finish();
    }
}

/// Writes a line, at once: lines of several processes must not mix.
pub(crate) fn write(level: Level, text: impl Display) {
    write_of(None, level, &text);
}

fn write_of(group: Option<&[u8]>, level: Level, text: &dyn Display) {
    let line = line(group, level, text, SystemTime::now()).into_bytes();
    match RELAY.get() {
        Some(relay) => relay.line(line),
        // There is nowhere to complain.
        None => drop(io::stderr().lock().write_all(&line)),
    }
}

/// Writes a line about a process group.
pub(crate) fn about(group: &[u8], level: Level, text: impl Display) {
    if is_json() {
        write_of(Some(group), level, &text);
    } else {
        write(level, format_args!("{text} [process group '{}']", group.escape_ascii()));
    }
}
