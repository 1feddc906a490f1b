//! A thread's cache of environs.

use std::cell::Cell;

use bridge::Cgi;
use python::Object;
use rustc_hash::FxBuildHasher;
use wsgi_core::recent::Recent;

/// The longest value that is cached.
pub(crate) const LONGEST_CACHED: usize = 1024;

/// The cache of a thread for the environs that it builds in an interpreter.
#[derive(Default)]
pub(crate) struct EnvironCache(Cell<Option<Box<CachedEnviron>>>);

/// The contents of the cache.
#[derive(Default)]
pub(crate) struct CachedEnviron {
    /// The dict that is copied for each request.
    pub(crate) template: Option<Object>,
    /// The value of each CGI variable that is in the template.
    pub(crate) cgi: [Option<Object>; Cgi::ALL.len()],
    /// The same for the texts of mod_wsgi's own.
    pub(super) own: [Option<Object>; OWN_TEXTS],
    /// The same for the times of daemon mode: `queue_start`, `daemon_start`.
    pub(super) times: [i64; 2],
    pub(super) https: bool,
    /// By header name as the client wrote it.
    pub(super) headers: Recent<Header, FxBuildHasher>,
    /// The keys of other variables by name; `None` for names that they must not set.
    pub(super) variables: Recent<Option<Object>, FxBuildHasher>,
}

/// A request header that a thread has seen.
pub(super) struct Header {
    pub(super) key: Object,
    pub(super) last: Option<Object>,
}

/// The number of texts in [`CachedEnviron::own`].
pub(super) const OWN_TEXTS: usize = 8;

impl EnvironCache {
    /// Runs `work` with the contents, taken out meanwhile. A nested request finds an empty cache,
    /// whose contents are dropped.
    pub(crate) fn with<R>(&self, work: impl FnOnce(&mut CachedEnviron) -> R) -> R {
        let mut cache = self.0.take().unwrap_or_default();
        let result = work(&mut cache);
        self.0.set(Some(cache));
        result
    }
}
