//! Daemon mode: applications in processes of their own.
//!
//! The parent makes the channels and starts the supervisor ([`start`]); its children pass connections through the
//! channels ([`pool`]) and talk about requests on them ([`dispatch`]). What processes may see of the server is published for
//! them ([`publisher`]).

mod conversation;
mod crash;
mod dispatch;
mod generation;
mod launch;
mod pool;
mod publisher;
mod start;
mod supervision;
mod target;

use httpd::Child;

pub(crate) use dispatch::serve;
pub(crate) use start::{monitor, start};
pub(crate) use target::{Target, target};

/// Prepares a child.
pub(crate) fn child_init(child: &Child<'_>) {
    generation::become_child();
    target::init_client(|| {
        let generation = generation::current()?;
        publisher::start(child, &generation);
        Some(generation)
    });
}
