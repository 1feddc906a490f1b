//! SIGTERM to Apache's parent as a graceful stop (`WSGIGracefulTermination`), perhaps after a while in
//! which health checks fail (`WSGIDrainDelay`).

use std::path::Path;
use std::sync::OnceLock;
use std::time::Duration;

use httpd::{Level, Server, ServerInfo};
use os::shared::Words;
use os::termination::GentleTermination;
use wsgi_core::config::{Global, GracefulTermination};

use crate::{Wsgi, log};

// Made once, in the parent, and shared by all of its children: one word, which the parent's handler
// of SIGTERM sets for good.
static WORDS: OnceLock<Words> = OnceLock::new();

/// Makes the word, before there are children.
pub(crate) fn prepare(server: &Server, info: &ServerInfo) {
    let is_wanted = |global: &Global| global.graceful_termination != GracefulTermination::Off;
    if !info.is_starting() || WORDS.get().is_some() || !server.global::<Wsgi>().is_some_and(is_wanted) {
        return;
    }
    match Words::create(c"mod_wsgi draining", 1) {
        Ok((_, words)) => _ = WORDS.set(words),
        Err(error) => {
            let text = format!(
                "there is no shared memory ({error}): health checks do not show that the server is about to end. Allow \
                 the server more memory and open files"
            );
            log::server(server, Level::Warn, text);
        }
    }
}

/// Returns whether the server was told to end, and serves on for a while.
#[inline]
pub(crate) fn is_draining() -> bool {
    WORDS.get().is_some_and(|words| words.load(0) != 0)
}

/// Called in the parent when a child has been started, by which time Apache has set its handlers of
/// signals.
pub(crate) fn child_started(server: &Server) {
    let Some(global) = server.global::<Wsgi>() else { return };
    let applies = match global.graceful_termination {
        GracefulTermination::Off => false,
        GracefulTermination::On => true,
        GracefulTermination::Init => is_container_main(),
    };
    if applies {
        os::termination::terminate_gently_first(&GentleTermination {
            delay: Duration::from_millis(global.drain_delay),
            notice: WORDS.get().and_then(|words| words.get(0)),
        });
    }
}

/// Returns whether a container ends by a signal to this process: it is the first process, or the
/// one that a minimal first process (`tini`, `docker run --init`) has started and passes signals on
/// to.
fn is_container_main() -> bool {
    /// The namespace of the machine's own processes (the kernel's `PROC_PID_INIT_INO`), where
    /// process 1 manages services.
    const MACHINE: &str = "pid:[4026531836]";
    let in_container = || std::fs::read_link("/proc/self/ns/pid").is_ok_and(|own| own != Path::new(MACHINE));
    std::process::id() == 1 || (std::os::unix::process::parent_id() == 1 && in_container())
}
