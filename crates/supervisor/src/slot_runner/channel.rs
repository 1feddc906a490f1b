//! The channel of a slot: what comes through it while no process has it, and who can still send.

use std::io;
use std::time::Duration;

use nix::sys::epoll::EpollFlags;
use os::descriptors::{self, Wait};
use wsgi_core::codes::SUPERVISOR_FAILED;
use wsgi_core::wire::board::page;
use wsgi_core::wire::channel;

use super::{RetiredState, SlotRunner};
use crate::context::Context;
use crate::log::Level;
use crate::process::BATCH;
use crate::slot::Event;
use crate::token::Token;

/// The time in milliseconds that a page has to say that nothing runs, until a retired slot is taken
/// for unused.
const UNUSED_AFTER: u64 = 30_000;

/// A sign that comes through the channel of a dormant slot.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Knock {
    /// A connection, which stays in the channel.
    Connection,
    /// The processes of the group that serve are busy.
    Busy,
    /// Nobody can send any more.
    Unused,
    /// A process has shut the channel down.
    Cut,
}

impl SlotRunner {
    /// Takes the next sign from the channel of a dormant slot, if there is one.
    pub(crate) fn next_knock(&self, context: &Context) -> Option<Knock> {
        match descriptors::next_length(&self.channel, Wait::Never) {
            Ok(0) if self.is_cut(context) => Some(Knock::Cut),
            Ok(0) => Some(Knock::Unused),
            Ok(length) if length == channel::CONNECTION.len() => Some(Knock::Connection),
            Ok(_) => {
                // What it says is in its length.
                let _ = descriptors::receive_with(&self.channel, &mut [0; 16], Wait::Never);
                Some(Knock::Busy)
            }
            Err(_) => None,
        }
    }

    /// Closes the connections that wait in the channel. Their senders see that nothing was read.
    pub(crate) fn close_waiting(&self) {
        for _ in 0..BATCH {
            match descriptors::receive_with(&self.channel, &mut [0; 16], Wait::Never) {
                Ok((1.., _)) => {}
                Err(error) if error.kind() == io::ErrorKind::InvalidData => {}
                Ok(_) | Err(_) => break,
            }
        }
    }

    /// Handles a channel that is readable, or to which nobody can send any more.
    pub(crate) fn on_channel(&mut self, flags: EpollFlags, context: &Context) {
        if flags.contains(EpollFlags::EPOLLIN) {
            self.close_waiting();
        }
        if flags.intersects(EpollFlags::EPOLLHUP | EpollFlags::EPOLLERR) {
            self.handle(Event::Unused, context);
        }
    }

    /// Retires the slot with its generation.
    pub(crate) fn retire(&mut self, context: &Context) {
        self.retired = Some(RetiredState { page: self.page.map(), idle_since: None });
        self.handle(Event::Retire, context);
    }

    /// Checks whether a retired slot is unused, every second: helpers of the server may hold copies
    /// of the channel for good, so that its end is not the only sign.
    pub(crate) fn check_retired(&mut self, context: &Context) {
        let (now, Some(retired)) = (context.now(), &mut self.retired) else { return };
        if retired.page.as_ref().is_some_and(|page| page::sum(|word| page.load(word)) != 0) {
            retired.idle_since = None;
        } else if now - *retired.idle_since.get_or_insert(now) >= UNUSED_AFTER {
            retired.idle_since = None;
            self.handle(Event::Unused, context);
        }
    }

    /// Returns whether the slot is retired and nobody can send any more. Processes may say so
    /// before epoll does.
    pub(super) fn is_unused(&self) -> bool {
        self.retired.is_some() && descriptors::has_hung_up(&self.channel)
    }

    /// Returns whether a process has shut down the channel. The parent has its end as long as the
    /// generation lives: what it has to say comes first.
    pub(super) fn is_cut(&self, context: &Context) -> bool {
        self.retired.is_none()
            && descriptors::is_shut_down(&self.channel)
            && !descriptors::is_readable(&context.parent, Duration::ZERO).unwrap_or(true)
    }

    pub(super) fn watch_channel(&mut self, wanted: Option<EpollFlags>, context: &Context) {
        if self.watched.take().is_some() {
            // It is registered, so that cannot fail.
            let _ = context.epoll.delete(&self.channel);
        }
        if let Some(flags) = wanted {
            match context.watch(&self.channel, flags, Token::Channel(self.index)) {
                Ok(()) => self.watched = wanted,
                Err(error) => {
                    let text = format_args!("{SUPERVISOR_FAILED}: a channel cannot be watched: {error}");
                    context.log(self.group, Level::Error, text);
                }
            }
        }
    }
}
