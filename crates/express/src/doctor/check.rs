//! A check: a function on the facts of a server.

use super::finding::Finding;
use super::subject::Subject;

/// One check.
#[derive(Debug)]
pub(crate) struct Check {
    /// A short name with hyphens, by which reports name it.
    pub(crate) name: &'static str,
    /// The faults that it finds, for the manual: sentences.
    pub(crate) about: &'static str,
    pub(crate) run: fn(&Subject) -> Vec<Finding>,
}

/// Checks that belong together.
#[derive(Debug)]
pub(crate) struct Topic {
    /// Its heading in the manual.
    pub(crate) title: &'static str,
    pub(crate) checks: &'static [Check],
}
