//! The permits to ask scripts of hooks on Apache's own threads: see [`wsgi_core::permits`].

use std::sync::OnceLock;
use std::sync::atomic::AtomicU32;
use std::thread;

use httpd::{Level, Mpm, Server, ServerInfo};
use os::shared::Words;
use wsgi_core::permits::{self, Permits};

use crate::log;

// Made once: children of earlier configurations use the same permits, so that the limit holds for
// all together.
static WORDS: OnceLock<Words> = OnceLock::new();

/// Makes the permits, in the parent, before it forks children.
pub(crate) fn prepare(server: &Server, info: &ServerInfo) {
    if !info.is_starting() || WORDS.get().is_some() {
        return;
    }
    let processors = thread::available_parallelism().map_or(1, usize::from);
    match Words::create(c"mod_wsgi permits", permits::words(permits::count(processors))) {
        Ok((_, words)) => _ = WORDS.set(words),
        Err(error) => {
            let text = format!(
                "there is no shared memory ({error}): all scripts of hooks are asked on threads of their own, which \
                 takes longer. Allow the server more memory and open files"
            );
            log::server(server, Level::Warn, text);
        }
    }
}

/// Returns the words of the permits that a child may use; none if there are no permits.
pub(crate) fn words(mpm: &Mpm) -> &'static [AtomicU32] {
    let words = all_words();
    let requests = mpm.processes as usize * mpm.threads as usize;
    let usable = permits::usable(Permits::new(words).count(), requests);
    words.get(..permits::words(usable)).unwrap_or_default()
}

fn all_words() -> &'static [AtomicU32] {
    WORDS.get().map_or(&[], Words::as_slice)
}

/// Takes the permits of a child back that has ended.
pub(crate) fn child_ended(process: u32) {
    Permits::new(all_words()).take_back(process);
}
