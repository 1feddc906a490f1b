//! The moment between the old children and the new ones, at a graceful restart.
//!
//! The old ones take no connection any more once they are told, so that clients wait. Apache starts new ones in the place of
//! those that have ended when it looks for them, which it does at once when it has read its configuration again, and then
//! after a second. Children that have nothing to do need some milliseconds to end, most of all those with a Python: reading
//! the configuration is faster. So the parent waits for them here.

use std::thread;
use std::time::{Duration, Instant};

use httpd::{Scoreboard, Server, ServerInfo};
use wsgi_core::config::PythonStart;

use crate::Wsgi;

/// How long it waits in all.
const LONGEST_WAIT: Duration = Duration::from_millis(500);
/// If none ends for so long, those that are left have something to do.
const QUIET: Duration = Duration::from_millis(100);
/// How often it looks.
const CHECK_INTERVAL: Duration = Duration::from_millis(2);

/// Waits until the children that have nothing to do have ended. Apache still finds them, and knows then that they have.
pub(crate) fn wait_for_old_children(server: &Server, info: &ServerInfo) {
    if !info.is_starting() || !info.is_restart() || !is_busy(server) {
        return;
    }
    let Some(scoreboard) = Scoreboard::find() else { return };
    let pids = (0..scoreboard.server_limit).map(|index| scoreboard.process(index).pid);
    let mut children: Vec<i32> =
        pids.filter_map(|pid| i32::try_from(pid).ok()).filter(|pid| *pid > 0).collect();
    let begin = Instant::now();
    let mut last = begin;
    loop {
        let before = children.len();
        children.retain(|pid| os::process::is_running(*pid));
        let now = Instant::now();
        if children.len() < before {
            last = now;
        }
        if children.is_empty() || now - last >= QUIET || now - begin >= LONGEST_WAIT {
            return;
        }
        thread::sleep(CHECK_INTERVAL);
    }
}

/// Whether there is anything of ours that requests could wait for.
fn is_busy(server: &Server) -> bool {
    server.global::<Wsgi>().is_some_and(|global| {
        !global.daemons.is_empty() || global.python_start() == PythonStart::AtChildStart
    })
}
