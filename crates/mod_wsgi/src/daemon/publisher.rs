//! The scoreboard for daemon processes, which have none: Apache's children publish it as a
//! snapshot, once a second.
//!
//! There is one only if a process group has asked for it (`server-metrics=On`). A thread in each
//! child then looks once a second whether somebody else has published; whoever is first does it for
//! all.

use std::sync::{Arc, OnceLock};
use std::time::Duration;

use httpd::{Child, Level};
use os::snapshot::SnapshotWriter;
use os::thread::PeriodicThread;
use wsgi_core::config::Global;

use super::generation::Generation;
use crate::{log, scoreboard};

/// The interval between publications.
const INTERVAL: Duration = Duration::from_secs(1);
/// The age up to which a publication is fresh. It is a little less than the interval, so that a
/// child without others publishes every time.
const FRESH: Duration = Duration::from_millis(900);
/// The largest scoreboard that is published, in bytes: thousands of processes with dozens of
/// threads.
const LARGEST: usize = 16 << 20;
/// The time for which the end of a child waits for a publication.
const END_TIMEOUT: Duration = Duration::from_secs(5);

static PUBLISHER: OnceLock<PeriodicThread> = OnceLock::new();

/// Returns the size of the snapshot that this configuration needs, in bytes, or `None` if it needs
/// none.
pub(super) fn capacity(global: &Global) -> Option<usize> {
    let is_wanted = global.daemons.iter().any(|group| group.server_metrics);
    is_wanted.then(|| scoreboard::longest().min(LARGEST))
}

/// Publishes the scoreboard from now on to the end of this child.
pub(super) fn start(child: &Child<'_>, generation: &Arc<Generation>) {
    if generation.snapshot().is_none() {
        return;
    }
    let (server, generation) = (child.server(), Arc::clone(generation));
    // Allocated once, as large as needed.
    let mut buffer = Vec::with_capacity(generation.snapshot().map_or(0, SnapshotWriter::capacity));
    let mut has_warned = false;
    let mut publish = move || {
        let Some(snapshot) = generation.snapshot().filter(|snapshot| snapshot.is_due(FRESH)) else { return };
        buffer.clear();
        scoreboard::encode(&mut buffer);
        if !snapshot.publish(&buffer) && !has_warned {
            has_warned = true;
            let text = format!(
                "The scoreboard is too large for server-metrics=On ({} bytes, at most {}): lower ServerLimit or ThreadLimit",
                buffer.len(),
                snapshot.capacity()
            );
            log::server(server, Level::Warn, &text);
        }
    };
    // The first requests should find a scoreboard.
    publish();
    let guarded = move || {
        httpd::guard("the publication of the scoreboard", &mut publish, |line| {
            log::server(server, Level::Crit, line)
        })
    };
    match PeriodicThread::start("wsgi-scoreboard", INTERVAL, guarded) {
        Ok(thread) => {
            // A child starts once.
            let _ = PUBLISHER.set(thread);
            child.at_exit(stop);
        }
        Err(error) => {
            let text = format!(
                "A thread cannot be started: {error}. This process does not publish the scoreboard for server-metrics=On. \
                 Allow the user more processes (ulimit -u)"
            );
            log::server(server, Level::Warn, &text);
        }
    }
}

/// Ends the thread before the child loses the scoreboard.
fn stop() {
    if let Some(thread) = PUBLISHER.get() {
        // The thread holds no lock, so it ends at once. Otherwise the end of the process would end
        // it.
        thread.end(END_TIMEOUT);
    }
}
