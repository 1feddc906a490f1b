//! The scoreboard for daemon processes, which have none: Apache's children publish it as a snapshot, once a second.
//!
//! There is one only if a process group has asked for it (`server-metrics=On`). A thread in each child then looks
//! once a second whether somebody else has published; whoever is first does it for all.

use std::sync::{Arc, OnceLock};
use std::time::Duration;

use httpd::{Child, Level};
use os::snapshot::SnapshotWriter;
use os::thread::PeriodicThread;
use wsgi_core::config::Global;

use super::generation::Generation;
use crate::{log, scoreboard};

/// How often it is published.
const INTERVAL: Duration = Duration::from_secs(1);
/// What has been published for less is new enough. A little less than the interval: a child that has published is the
/// next to do so, unless there are others.
const FRESH: Duration = Duration::from_millis(900);
/// The largest that is published, in bytes: thousands of processes with dozens of threads.
const LARGEST: usize = 16 << 20;
/// How long the end of a child waits for a publication.
const END_TIMEOUT: Duration = Duration::from_secs(5);

static PUBLISHER: OnceLock<PeriodicThread> = OnceLock::new();

/// How large the snapshot is that this configuration needs, in bytes; nothing if it needs none.
pub(super) fn capacity(global: &Global) -> Option<usize> {
    let is_wanted = global.daemons.iter().any(|group| group.server_metrics);
    is_wanted.then(|| scoreboard::longest().min(LARGEST))
}

/// In a child: publishes, from now to its end.
pub(super) fn start(child: &Child<'_>, generation: &Arc<Generation>) {
    if generation.snapshot().is_none() {
        return;
    }
    let (server, generation) = (child.server(), Arc::clone(generation));
    // All the memory that it needs.
    let mut buffer = Vec::with_capacity(generation.snapshot().map_or(0, SnapshotWriter::capacity));
    let mut has_complained = false;
    let mut publish = move || {
        let Some(snapshot) = generation.snapshot().filter(|snapshot| snapshot.is_due(FRESH)) else { return };
        buffer.clear();
        scoreboard::encode(&mut buffer);
        if !snapshot.publish(&buffer) && !has_complained {
            has_complained = true;
            let text = format!(
                "The scoreboard is too large for server-metrics=On ({} bytes, at most {}): lower ServerLimit or ThreadLimit",
                buffer.len(),
                snapshot.capacity()
            );
            log::server(server, Level::Warn, &text);
        }
    };
    // The first requests should find something.
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
                "This process does not publish the scoreboard for server-metrics=On, it can not start a thread: {error}. \
                 Allow the user more processes (ulimit -u)"
            );
            log::server(server, Level::Warn, &text);
        }
    }
}

/// Before the child lets go of the scoreboard.
fn stop() {
    if let Some(thread) = PUBLISHER.get() {
        // It holds no lock, so it ends at once. If it could not, the end of the process would end it.
        thread.end(END_TIMEOUT);
    }
}
