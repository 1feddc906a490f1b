//! The shared words, which children read without asking anybody.
//!
//! Each slot has a page ([`page`]). Each of its processes has a word there that it alone writes, as
//! long as it lives: the supervisor assigns it, and clears it when it has waited for the process.
//!
//! All slots have a place on the board, which the supervisor alone writes, but for the word in
//! which the parent says whether there is a supervisor ([`supervision`]).
//!
//! To Apache children both are hints. Whatever stands there, nothing worse happens than that a
//! request goes to a process that is busier than another.

/// Words of a slot's page: each process has its own, so that what one has counted can be forgotten
/// when it has died.
pub mod page {
    /// The number of words.
    pub const WORDS: usize = 16;

    /// Returns the number of requests that run or wait in the processes of the slot. Each has a
    /// word of its own, which it can set as it likes, but does not make up for what others count.
    pub fn sum(word: impl Fn(usize) -> u32) -> u32 {
        let words = (0..WORDS).map(|index| word(index).cast_signed().max(0).cast_unsigned());
        words.fold(0, u32::saturating_add)
    }
}

/// Words of a slot on the board.
pub mod slot {
    /// The process that serves; 0: none.
    pub const PID: usize = 0;
    /// A [`State`](super::State).
    pub const STATE: usize = 1;
    /// The number of processes of the slot that have ended.
    pub const ENDED: usize = 2;
    /// In the first slot of a group whose number of processes follows the load: 1 while the
    /// supervisor watches the load, so that nobody has to tell it ([`channel`](crate::wire::channel)).
    pub const IS_WATCHED: usize = 3;
    /// 1 if the process that serves could not import a script that the configuration names.
    pub const LACKS_IMPORT: usize = 4;
    /// The last processes that ended, [`EXITS`] of them in turn: process id, then status as
    /// `waitpid` gives it.
    pub const EXIT: usize = 5;
    /// The number of ends that are remembered.
    pub const EXITS: usize = 6;
    /// The number of words.
    pub const WORDS: usize = EXIT + 2 * EXITS;
}

/// Returns the number of words of the board of so many slots: those of the slots, and one that only
/// the parent writes.
#[must_use]
pub const fn words(slots: usize) -> usize {
    supervision(slots) + 1
}

/// Returns the word in which the parent says whether there is a supervisor: [`UNSUPERVISED`], or 0.
#[must_use]
pub const fn supervision(slots: usize) -> usize {
    slots * slot::WORDS
}

/// The value while there is no supervisor, and none can be started: no process will take what
/// waits.
pub const UNSUPERVISED: u32 = 1;

/// The state of a slot.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum State {
    /// A process starts; connections wait for it.
    Starting,
    /// A process serves.
    Serving,
    /// Processes fail to start; the supervisor tries again at longer and longer intervals.
    Failing,
    /// No process is wanted at present. A connection in the channel makes the supervisor start one.
    Dormant,
    /// The channel takes nothing any more: there will be no process.
    Cut,
}

impl State {
    /// Returns the state as a word.
    #[must_use]
    pub const fn word(self) -> u32 {
        match self {
            Self::Starting => 0,
            Self::Serving => 1,
            Self::Failing => 2,
            Self::Dormant => 3,
            Self::Cut => 4,
        }
    }

    /// Parses a word; an unknown one is `Starting`.
    #[must_use]
    pub const fn from_word(word: u32) -> Self {
        match word {
            1 => Self::Serving,
            2 => Self::Failing,
            3 => Self::Dormant,
            4 => Self::Cut,
            _ => Self::Starting,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::{State, page};

    #[test]
    fn states_come_back() {
        for state in [State::Starting, State::Serving, State::Failing, State::Dormant, State::Cut] {
            assert_eq!(State::from_word(state.word()), state);
        }
        assert_eq!(State::from_word(77), State::Starting);
    }

    #[test]
    fn counts_of_all_are_added_up() {
        let mut words = [0_u32; page::WORDS];
        words[3] += 3;
        words[15] += 2;
        assert_eq!(page::sum(|index| words[index]), 5);
        words[3] = u32::MAX - 7;
        assert_eq!(page::sum(|index| words[index]), 2, "fewer than none are none");
        words[3] = 0x7fff_ffff;
        words[4] = 0x7fff_ffff;
        words[5] = 0x7fff_ffff;
        assert_eq!(page::sum(|index| words[index]), u32::MAX);
    }
}
