//! The numbers of processes and threads.

/// With prefork, one for each connection of most measurements. They are all there from the
/// beginning, so that no round has to pay for their start.
pub(crate) const PREFORK_CHILDREN: u32 = 16;

/// The most connections of a measurement, and the children of prefork where there are as many.
pub(crate) const WIDEST: u32 = 64;

/// With threads, one process: which of several takes a connection is chance, and so would be the
/// figures.
pub(crate) const THREADED_CHILDREN: u32 = 1;
pub(crate) const THREADS: u32 = 25;

/// The threads of a daemon process: mod_wsgi's default, and what the others get, too.
pub(crate) const DAEMON_THREADS: u32 = 15;
