//! The state of a server, as people and monitoring see it.
//!
//! A [`Snapshot`] is plain data: it is collected from shared memory, and rendered. Its JSON has a
//! schema with a version, [`snapshot::SCHEMA`].
#![forbid(unsafe_code)]

pub mod histogram;
pub mod json;
pub mod scope;
pub mod snapshot;

pub use histogram::Histogram;
pub use snapshot::Snapshot;
