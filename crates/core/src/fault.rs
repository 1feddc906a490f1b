//! Faults of a configuration, or of what it names, that more than one program looks for: the server
//! when it starts, and `mod_wsgi-express doctor`.

use std::fmt;

/// Something that is wrong.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Fault {
    /// The importance.
    pub weight: Weight,
    /// The fault, as a sentence without its full stop.
    pub what: String,
    /// Its cause or its consequence; may be empty.
    pub why: String,
    /// The way out, as an imperative; may be empty.
    pub remedy: String,
}

/// The importance of a fault.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Weight {
    /// Requests fail.
    Fatal,
    /// It works, but not always, or not as it looks.
    Doubtful,
    /// It is worth knowing when something is looked for.
    Harmless,
}

/// Shows as `WHAT: WHY; REMEDY`.
impl fmt::Display for Fault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.what)?;
        if !self.why.is_empty() {
            write!(f, ": {}", self.why)?;
        }
        if !self.remedy.is_empty() {
            write!(f, "; {}", self.remedy)?;
        }
        Ok(())
    }
}
