//! The context that the runners of slots, pools, templates and the exporter share.

use std::cell::RefCell;
use std::ffi::CString;
use std::io;
use std::os::fd::{AsFd, OwnedFd};
use std::sync::Arc;
use std::time::Instant;

use nix::sys::epoll::{Epoll, EpollEvent, EpollFlags};
use os::memory_kills::{Evidence, MemoryKills};
use os::process::{Exit, Signal};
use os::shared::Words;
use os::spawn::Limit;
use wsgi_core::ledger::EventKind;
use wsgi_core::wire::launch::Group;

use crate::log::{self, Level};
use crate::record::{Record, RecordedGroup};
use crate::relay::Relay;
use crate::template;
use crate::token::Token;

/// The context that all runners share.
#[derive(Debug)]
pub(crate) struct Context {
    pub(crate) epoll: Epoll,
    /// The control socket of the server's parent process.
    pub(crate) parent: OwnedFd,
    pub(crate) board: Words,
    pub(crate) groups: Vec<Group>,
    /// The hosts, and their names.
    pub(crate) hosts: Vec<(Box<[u8]>, OwnedFd)>,
    pub(crate) relay: &'static Relay,
    pub(crate) scoreboard: Option<OwnedFd>,
    pub(crate) record: Arc<Record>,
    /// The supervisor's own environment.
    pub(crate) environment: Vec<CString>,
    /// The limit on descriptors of processes: the one before the supervisor raised its own.
    pub(crate) files: Option<Limit>,
    pub(crate) begin: Instant,
    /// The kills by the system for lack of memory.
    pub(crate) memory_kills: RefCell<MemoryKills>,
    /// Messages of slots to templates, until they are handed over.
    pub(crate) notes: RefCell<Vec<(usize, template::Event)>>,
}

impl Context {
    /// Milliseconds since the start.
    pub(crate) fn now(&self) -> u64 {
        u64::try_from(self.begin.elapsed().as_millis()).unwrap_or(u64::MAX)
    }

    pub(crate) fn watch(&self, descriptor: impl AsFd, flags: EpollFlags, token: Token) -> io::Result<()> {
        Ok(self.epoll.add(descriptor, EpollEvent::new(flags, token.word()))?)
    }

    /// Writes to the log, if it takes lines of this level.
    pub(crate) fn log(&self, group: usize, level: Level, text: impl std::fmt::Display) {
        let daemon = &self.groups[group].daemon;
        if level as u8 <= daemon.log_level {
            log::about(&daemon.name, level, text);
        }
    }

    /// Returns the end of the process with this id by its cause, if that was a lack of memory.
    pub(crate) fn named(&self, pid: i32, exit: Exit) -> Exit {
        if !matches!(exit, Exit::Signal(number, _) if i32::from(number) == Signal::SIGKILL as i32) {
            return exit;
        }
        match self.memory_kills.borrow_mut().take(pid, Instant::now()) {
            Evidence::None => exit,
            Evidence::Weak => Exit::PerhapsOutOfMemory,
            Evidence::Strong => Exit::OutOfMemory,
        }
    }

    /// Records what happened to a process of a group.
    pub(crate) fn record(&self, group: usize, kind: EventKind, pid: i32, text: &[u8], detail: &[u8]) {
        self.record.add(kind, &RecordedGroup::from(&self.groups[group]), pid, text, detail);
    }
}
