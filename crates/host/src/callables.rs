//! The callables that requests have found in scripts.

use std::collections::HashMap;

use rustc_hash::FxBuildHasher;

use crate::locked::Locked;

/// The callables that a thread has found in an interpreter, by script: each is reported once, since
/// that takes a lock.
#[derive(Default)]
pub(crate) struct Callables(Locked<HashMap<Vec<u8>, Vec<Vec<u8>>, FxBuildHasher>>);

impl Callables {
    /// Returns whether a callable is not known yet.
    pub(crate) fn is_new(&self, path: &[u8], callable: &[u8]) -> bool {
        self.0.with(|scripts| {
            !scripts.get(path).is_some_and(|known| known.iter().any(|known| known == callable))
        })
    }

    /// Adds a callable.
    pub(crate) fn add(&self, path: &[u8], callable: &[u8]) {
        self.0.with(|scripts| scripts.entry(path.to_owned()).or_default().push(callable.to_owned()));
    }
}
