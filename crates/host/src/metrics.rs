//! The records behind `mod_wsgi.request_metrics()` and `process_metrics()`, shared by all
//! interpreters; and `server_metrics()`, which shows the server's own records ([`server`]).
//!
//! Each thread has a record of its own, and never waits for those who read it.

mod record;
mod report;
mod server;
mod slow;

pub(crate) use record::{Recording, begin, begin_process, record, slow_requests, start, take};
pub(crate) use report::{of_process, of_requests};
pub(crate) use server::of_server;
pub(crate) use slow::Ended;
