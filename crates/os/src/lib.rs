//! The system calls that the standard library does not have, behind functions as safe as they can be.
//!
//! What nix offers as safe functions (epoll, eventfd, poll, signalfd, openat2, resource limits) is not repeated here.

pub mod accounts;
pub mod clock;
pub mod descriptors;
pub mod exit;
pub mod file;
pub mod library;
pub mod lock;
pub mod log_line;
pub mod main_thread;
pub mod message;
mod mounts;
pub mod process;
pub mod shared;
pub mod signals;
pub mod snapshot;
pub mod spawn;
pub mod spin;
pub mod thread;
pub mod title;
pub mod usage;
pub mod waiter;
