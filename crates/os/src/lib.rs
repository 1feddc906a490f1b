//! The system calls that the standard library does not have, behind functions as safe as they can
//! be.
//!
//! A call belongs here if it needs `unsafe`, if it changes something of the whole process, or if it
//! comes with a rule of ours. Other safe functions of nix (epoll, eventfd, poll, signalfd, openat2,
//! reading limits and ids) are called where they are needed: a wrapper would add a second name and
//! no safety, and an event type of our own would only repeat nix's.

pub mod accounts;
pub mod alternate_stack;
pub mod clock;
pub mod descriptors;
pub mod exit;
pub mod file;
pub mod fork;
pub mod library;
pub mod lock;
pub mod log_line;
pub mod main_thread;
pub mod memory_kills;
pub mod message;
mod mounts;
pub mod patience;
pub mod process;
pub mod random;
pub mod shared;
pub mod signals;
pub mod snapshot;
pub mod spawn;
pub mod spin;
pub mod spool;
pub mod terminal;
pub mod termination;
pub mod thread;
pub mod thread_exit;
pub mod title;
pub mod usage;
pub mod waiter;
