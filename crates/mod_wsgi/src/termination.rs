//! SIGTERM to Apache's parent as a graceful stop (`WSGIGracefulTermination`).

use std::path::Path;

use httpd::Server;
use wsgi_core::config::GracefulTermination;

use crate::Wsgi;

/// Called in the parent when a child has been started, by which time Apache has set its handlers of
/// signals.
pub(crate) fn child_started(server: &Server) {
    let setting = server.global::<Wsgi>().map(|global| global.graceful_termination).unwrap_or_default();
    let applies = match setting {
        GracefulTermination::Off => false,
        GracefulTermination::On => true,
        GracefulTermination::Init => is_container_main(),
    };
    if applies {
        os::termination::terminate_gently_first();
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
