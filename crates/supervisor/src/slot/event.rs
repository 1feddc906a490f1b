//! The events of a slot, and the actions that they lead to.

use std::fmt;

use os::process::Exit;
use wsgi_core::codes::Code;
use wsgi_core::ledger::EventKind;
use wsgi_core::lifecycle::Reason;
use wsgi_core::tallies::Tally;
use wsgi_core::wire::control::{Order, Script};

use crate::log::Level;

/// The number of a process within its slot.
pub(crate) type Key = u32;

/// An event of a slot.
#[derive(Debug)]
pub(crate) enum Event {
    /// The supervisor has started.
    Begin,
    /// A process is wanted, should there be none: a request waits for it.
    Wake,
    /// A process is wanted, should there be none: others of its group are busy.
    Grow,
    /// The process that was asked for is to be forked from its group's template, once there is
    /// one, which has a limit of its own for that. [`Spawned`](Self::Spawned) or
    /// [`NotSpawned`](Self::NotSpawned) follows.
    Waiting(Key),
    /// The process that was asked for is there, and prepares itself.
    Spawned(Key, i32),
    /// It has become Python.
    Started(Key),
    /// It could not be started, or has failed to become Python: it does not count as a process any
    /// more.
    NotSpawned(Key),
    /// It can serve.
    Ready(Key),
    /// It wants a successor that has imported these scripts.
    Replace(Key, Reason, Vec<Script>),
    /// It is about to end by itself.
    Stopping(Key, Reason),
    /// Its control socket is closed, or does not take what is sent.
    Lost(Key),
    /// It has ended.
    Exited(Key, Exit),
    /// Nobody can send connections any more, or will.
    Unused,
    /// The channel takes none any more, though the generation lives: the process that had it has
    /// shut it down.
    Cut,
    /// The configuration was read again, or the server ends: [`Unused`](Self::Unused) is to come.
    Retire,
    /// Everything has to end now.
    Stop,
    /// There is no time left for that.
    Kill,
    /// Time has passed.
    Tick,
}

/// An action that an event leads to.
#[derive(Debug, PartialEq)]
pub(crate) enum Action {
    /// Start a process, which imports these scripts. [`Event::Spawned`] or [`Event::NotSpawned`]
    /// answers.
    Spawn(Key, Vec<Script>),
    /// End a process that prepares itself, and forget it; late is one whose time is over.
    /// [`Event::NotSpawned`] answers.
    Abandon {
        /// The process.
        key: Key,
        /// True if to say so.
        is_late: bool,
    },
    /// Tell a process.
    Order(Key, Order),
    /// Ask a process to end.
    Terminate(Key),
    /// End a process.
    Kill(Key),
    /// Write to the log.
    Log(Level, String),
    /// Count the end of a process, or of an attempt to have one.
    Tally(Tally),
    /// Record what happened to the process with this id (0: there was none), with the cause.
    Record(EventKind, i32, String),
}

/// Returns the tally of a process that has ended though nobody had told it to.
pub(super) fn tally_of_death(exit: Exit) -> Option<Action> {
    match (exit.signal(), exit.is_success()) {
        (Some(number), _) => Some(Action::Tally(Tally::Crashed(number))),
        (None, false) => Some(Action::Tally(Tally::Exited)),
        (None, true) => None,
    }
}

/// Logs a message with its code, at its level.
pub(super) fn message(code: Code, text: impl fmt::Display) -> Action {
    Action::Log(code.level, format!("{code}: {text}"))
}
