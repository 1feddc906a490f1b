//! The tokens that epoll gives back: what an event is about.

use crate::slot::Key;
use crate::template::Number;

/// Identifies a process of the exporter.
pub(crate) type ExporterNumber = u32;

/// The subject of an event, with the index of a slot.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Token {
    /// The parent's control socket.
    Parent,
    /// A signal.
    Signal,
    /// A channel.
    Channel(usize),
    /// The messages of a process that prepares itself.
    Preparation(usize, Key),
    /// The reports of a process.
    Control(usize, Key),
    /// The end of a process.
    Exit(usize, Key),
    /// The first message of a process that a template forks.
    Birth(usize, Key),
    /// The messages of a template of a group that prepares itself.
    TemplatePreparation(usize, Number),
    /// The reports of a template.
    TemplateReport(usize, Number),
    /// The end of a template.
    TemplateExit(usize, Number),
    /// The end of the exporter.
    Exporter(ExporterNumber),
    /// A kill for lack of memory.
    MemoryKill,
}

impl Token {
    /// Packs the token for epoll: the kind in 8 bits, the slot in 24, the process in 32.
    pub(crate) fn word(self) -> u64 {
        let (kind, runner, key) = match self {
            Self::Parent => (0, 0, 0),
            Self::Signal => (1, 0, 0),
            Self::Channel(runner) => (2, runner, 0),
            Self::Control(runner, key) => (3, runner, key),
            Self::Exit(runner, key) => (4, runner, key),
            Self::Preparation(runner, key) => (5, runner, key),
            Self::Birth(runner, key) => (6, runner, key),
            Self::TemplatePreparation(group, number) => (7, group, number),
            Self::TemplateReport(group, number) => (8, group, number),
            Self::TemplateExit(group, number) => (9, group, number),
            Self::Exporter(number) => (10, 0, number),
            Self::MemoryKill => (11, 0, 0),
        };
        kind << 56 | (runner as u64 & 0xff_ffff) << 32 | u64::from(key)
    }

    /// Unpacks a token; `None` if the word is none.
    pub(crate) fn from_word(word: u64) -> Option<Self> {
        let (runner, key) = ((word >> 32 & 0xff_ffff) as usize, (word & 0xffff_ffff) as Key);
        match word >> 56 {
            0 => Some(Self::Parent),
            1 => Some(Self::Signal),
            2 => Some(Self::Channel(runner)),
            3 => Some(Self::Control(runner, key)),
            4 => Some(Self::Exit(runner, key)),
            5 => Some(Self::Preparation(runner, key)),
            6 => Some(Self::Birth(runner, key)),
            7 => Some(Self::TemplatePreparation(runner, key)),
            8 => Some(Self::TemplateReport(runner, key)),
            9 => Some(Self::TemplateExit(runner, key)),
            10 => Some(Self::Exporter(key)),
            11 => Some(Self::MemoryKill),
            _ => None,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tokens_come_back() {
        for token in [
            Token::Parent,
            Token::Signal,
            Token::Channel(12_345),
            Token::Control(0xff_fffe, u32::MAX),
            Token::Exit(0, 1),
            Token::Preparation(7, 8),
            Token::Birth(7, 8),
            Token::TemplatePreparation(7, 8),
            Token::TemplateReport(0xff_fffe, 8),
            Token::TemplateExit(7, u32::MAX),
            Token::Exporter(u32::MAX),
            Token::MemoryKill,
        ] {
            assert_eq!(Token::from_word(token.word()), Some(token));
        }
        assert_eq!(Token::from_word(u64::MAX), None);
    }
}
