//! Daemon mode: applications in processes of their own.
//!
//! The parent makes the channels and starts the supervisor ([`mod@start`]). Its children pass
//! connections through the channels ([`pool`]) and send requests on them ([`dispatch`]). They also
//! publish the server's scoreboard for the processes ([`publisher`]).

mod conversation;
mod crash;
mod dispatch;
mod elastic;
mod generation;
mod health;
mod last_lines;
mod launch;
mod pool;
mod publisher;
mod question;
mod start;
mod supervision;
pub(crate) mod tallies;
mod target;

use httpd::Child;

use crate::tracing;

pub(crate) use dispatch::serve;
pub(crate) use health::obstacles;
pub(crate) use launch::{host_of, keys};
pub(crate) use question::ask;
pub(crate) use start::{monitor, start};
pub(crate) use target::{Target, board_word, process_of, target};

/// Prepares a child.
pub(crate) fn child_init(child: &Child<'_>) {
    generation::become_child();
    tracing::child_init(generation::current().as_ref().and_then(|generation| generation.tracer()));
    tallies::become_child();
    target::init_client(|| {
        let generation = generation::current()?;
        publisher::start(child, &generation);
        Some(generation)
    });
}
