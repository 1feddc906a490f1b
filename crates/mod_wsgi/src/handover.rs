//! The handover from the old children to the new ones, at a graceful restart.
//!
//! Old children that were told to end take no more connections, so clients wait. Apache replaces
//! those that have ended as soon as it has read its configuration again, and looks for others only
//! after a second. Idle children need some milliseconds to end, mostly those with a Python, but
//! reading the configuration is faster. So the parent waits for them here.

use std::thread;
use std::time::{Duration, Instant};

use httpd::{Scoreboard, Server, ServerInfo};
use wsgi_core::config::PythonStart;

use crate::Wsgi;

/// The longest wait.
const LONGEST_WAIT: Duration = Duration::from_millis(500);
/// The time after which children are taken for busy, if none has ended.
const QUIET: Duration = Duration::from_millis(100);
/// The interval between checks.
const CHECK_INTERVAL: Duration = Duration::from_millis(2);

/// Waits until idle children have ended, but leaves it to Apache to reap them.
pub(crate) fn wait_for_old_children(server: &Server, info: &ServerInfo) {
    if !info.is_starting() || !info.is_restart() || !is_busy(server) {
        return;
    }
    let Some(scoreboard) = Scoreboard::find() else { return };
    let pids = (0..scoreboard.size().server_limit).map(|index| scoreboard.process(index).pid);
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

/// Returns whether the configuration has anything that makes restarts slow.
fn is_busy(server: &Server) -> bool {
    server.global::<Wsgi>().is_some_and(|global| {
        !global.daemons.is_empty() || global.python_start() == PythonStart::AtChildStart
    })
}
