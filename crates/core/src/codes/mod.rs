//! The codes of messages in the error log, `WSGInnnn`: one definition each, with its level, meaning
//! and remedy.
//!
//! A message starts with its code, as in `format!("{NO_SUCH_GROUP}: ...")`. Numbers up to 0999 are
//! those of the original module and mean what they mean there; from 1001 on they are our own. Lines
//! of the configuration that are refused have no code, since Apache puts its own before them
//! (AH00526), with file and line.

mod reference;
mod table;

use std::fmt;

use crate::level::Level;

pub use reference::reference;
pub use table::*;

/// The code of a message.
#[derive(Debug, Clone, Copy)]
pub struct Code {
    /// The code as it is written: `WSGI` and four digits.
    pub id: &'static str,
    /// The level of messages with this code. Some are less serious where the server can go on.
    pub level: Level,
    /// The meaning, Markdown: whole sentences.
    pub meaning: &'static str,
    /// The remedy, Markdown: whole sentences.
    pub remedy: &'static str,
}

/// Shows as `WSGI0036`.
impl fmt::Display for Code {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.id)
    }
}

/// Declares codes: a constant for each, and the table of all.
macro_rules! codes {
    ($($name:ident = $id:literal, $level:ident, $meaning:literal, $remedy:literal;)*) => {
        $(
            #[doc = $meaning]
            pub const $name: Code = Code {
                id: $id,
                level: Level::$level,
                meaning: $meaning,
                remedy: $remedy,
            };
        )*

        /// Every code, in the order of their numbers.
        pub const CODES: &[Code] = &[$($name),*];

        /// The names of the constants, in the same order.
        #[cfg(test)]
        pub(super) const NAMES: &[&str] = &[$(stringify!($name)),*];
    };
}
use codes;

#[cfg(test)]
mod tests;
