//! The records behind `mod_wsgi.request_metrics()` and `process_metrics()`, shared by all
//! interpreters; and `server_metrics()`, which shows the server's own records ([`server`]).
//!
//! Each thread has a record with its own lock, which is contended only during these calls.

mod record;
mod report;
mod server;

pub(crate) use record::{Recording, begin, record, start, take};
pub(crate) use report::{of_process, of_requests};
pub(crate) use server::of_server;
