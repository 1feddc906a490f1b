//! The entries of a slot on the board.

use nix::sys::epoll::EpollFlags;
use os::process::Exit;
use wsgi_core::wire::board::{State, slot as board};

use super::SlotRunner;
use crate::context::Context;

impl SlotRunner {
    /// Writes the state of the slot to the board, and watches the channel accordingly.
    pub(super) fn publish(&mut self, context: &Context) {
        let base = self.index * board::WORDS;
        let (state, pid) = (self.slot.state(), self.slot.serving().unwrap_or(0));
        let serving = self.processes.iter().find(|process| process.child.pid() == pid);
        let lacks_import = serving.is_some_and(|process| process.lacks_import);
        context.board.store(base + board::LACKS_IMPORT, lacks_import.into());
        context.board.store(base + board::PID, pid.cast_unsigned());
        context.board.store(base + board::STATE, state.word());
        let wanted = match state {
            _ if self.slot.is_ending() => None,
            State::Failing | State::Cut | State::Dormant => Some(EpollFlags::EPOLLIN),
            _ if self.retired.is_some() => Some(EpollFlags::empty()),
            _ => None,
        };
        if wanted != self.watched {
            self.watch_channel(wanted, context);
        }
    }

    /// Writes the end of a process to the board.
    pub(super) fn record_exit(&self, pid: i32, exit: Exit, context: &Context) {
        let base = self.index * board::WORDS;
        let ended = context.board.load(base + board::ENDED);
        let at = base + board::EXIT + 2 * (ended as usize % board::EXITS);
        context.board.store(at, pid.cast_unsigned());
        context.board.store(at + 1, exit.status());
        context.board.store(base + board::ENDED, ended.wrapping_add(1));
    }
}
