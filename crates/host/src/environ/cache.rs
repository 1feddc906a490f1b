//! What a thread remembers of environs.

use std::cell::Cell;

use bridge::Cgi;
use python::Object;
use rustc_hash::FxBuildHasher;
use wsgi_core::recent::Recent;

/// The longest value that a thread keeps for the case that the next request has the same.
pub(super) const LONGEST_CACHED: usize = 1024;

/// What a thread remembers of the environs that it has built in an interpreter.
#[derive(Default)]
pub(crate) struct EnvironCache(Cell<Option<Box<CachedEnviron>>>);

/// What is remembered.
#[derive(Default)]
pub(super) struct CachedEnviron {
    /// What is copied for each request.
    pub(super) template: Option<Object>,
    /// The value of each CGI variable that is in the template.
    pub(super) cgi: [Option<Object>; Cgi::ALL.len()],
    /// The same for the texts of mod_wsgi's own.
    pub(super) own: [Option<Object>; OWN_TEXTS],
    /// The same for the times of daemon mode: `queue_start`, `daemon_start`.
    pub(super) times: [i64; 2],
    pub(super) https: bool,
    /// By header name as the client wrote it.
    pub(super) headers: Recent<Header, FxBuildHasher>,
    /// The keys of other variables by name; none for names that are not theirs to set.
    pub(super) variables: Recent<Option<Object>, FxBuildHasher>,
}

/// A request header that a thread has seen.
pub(super) struct Header {
    pub(super) key: Object,
    pub(super) last: Option<Object>,
}

/// How many texts [`CachedEnviron::own`] has.
pub(super) const OWN_TEXTS: usize = 8;

impl EnvironCache {
    /// Runs `work` with what is remembered, taken out meanwhile. Who asks within `work` finds nothing, and what they remember
    /// is forgotten again.
    pub(super) fn with<R>(&self, work: impl FnOnce(&mut CachedEnviron) -> R) -> R {
        let mut cache = self.0.take().unwrap_or_default();
        let result = work(&mut cache);
        self.0.set(Some(cache));
        result
    }
}
