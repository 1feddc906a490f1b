//! `mod_wsgi.request_metrics()` and `process_metrics()`: what is recorded for them, by all interpreters alike; and
//! `server_metrics()`, which only shows what the server records ([`server`]).
//!
//! Each thread has a record with a lock of its own, which is contended only while somebody asks.

mod record;
mod report;
mod server;

pub(crate) use record::{Recording, begin, start};
pub(crate) use report::{of_process, of_requests};
pub(crate) use server::of_server;
