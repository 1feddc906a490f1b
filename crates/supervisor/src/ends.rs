//! The connections of a process with the supervisor.

use std::fs::File;
use std::io;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::os::unix::fs::fchown;

use os::descriptors::{self, Kind, Wait};
use wsgi_core::wire::OwnSchema;
use wsgi_core::wire::control::{LONGEST_START, Order};
use wsgi_core::wire::launch::{Daemon, Group};

use crate::program::{self, Obstacle};

/// The size of the buffer for orders, in bytes.
const ORDER_BUFFER: usize = 1 << 18;

/// Both ends of what connects a process with the supervisor, before there is the process. The order
/// to start waits for it in its control socket.
#[derive(Debug)]
pub(crate) struct Ends {
    /// The socket for orders.
    pub(crate) control: OwnedFd,
    /// The process's end of it.
    pub(crate) theirs: OwnedFd,
    /// The pipe of its reports.
    pub(crate) reports: File,
    /// The pipe of its lines for the log.
    pub(crate) output: OwnedFd,
    /// The process's end of it.
    pub(crate) log: OwnedFd,
}

/// The descriptors that a process gets with the order to start, besides those of its ends.
#[derive(Debug, Default)]
pub(crate) struct Given<'a> {
    /// Those that come before its ends: its channel and its page.
    pub(crate) before: &'a [BorrowedFd<'a>],
    /// The scoreboard.
    pub(crate) after: Option<BorrowedFd<'a>>,
}

impl Ends {
    /// Makes the ends of a process of `group`, which counts in this word of its page.
    ///
    /// # Errors
    /// There is no descriptor left, or the order would be too long.
    pub(crate) fn new(group: &Group, daemon: Daemon, word: u8, given: &Given<'_>) -> Result<Self, Obstacle> {
        let exhausted = |error: io::Error| program::no_process(&error);
        let start = Order::Start { schema: OwnSchema, word, daemon: Box::new(daemon) }.encode();
        if start.len() > LONGEST_START {
            return Err(program::no_process(&"it would have to be told more than it can (of scripts)"));
        }
        let start = os::message::file(c"mod_wsgi start", &start).map_err(exhausted)?;
        let (control, theirs) = descriptors::pair(Kind::Sequence).map_err(exhausted)?;
        descriptors::make_send_only(&control).map_err(exhausted)?;
        descriptors::set_buffers(&control, Some(ORDER_BUFFER), None).map_err(exhausted)?;
        let (reports, writer) = descriptors::pipe().map_err(exhausted)?;
        let (output, log) = descriptors::pipe().map_err(exhausted)?;
        // It never waits for the log where it cannot afford to; what it starts itself may.
        let at_once = descriptors::reopen_for_append(&log).map_err(|error| {
            program::no_process(&format!(
                "a pipe cannot be opened through /proc, if that is mounted ({error})"
            ))
        })?;
        if let Some(account) = &group.account {
            // So that it can open its own standard error by name. It is not necessary.
            let _ = fchown(&log, Some(account.uid), Some(account.gid));
        }
        let parts: Vec<_> = std::iter::once(start.as_fd())
            .chain(given.before.iter().copied())
            .chain([writer.as_fd(), at_once.as_fd()])
            .chain(given.after)
            .collect();
        descriptors::send_with(&control, &Order::announcement(), &parts, Wait::Never).map_err(exhausted)?;
        Ok(Self { control, theirs, reports: reports.into(), output, log })
    }
}
