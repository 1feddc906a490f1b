//! The state of a server, as people and monitoring see it.
//!
//! A [`Snapshot`] is plain data: it is collected from shared memory, and rendered. Its JSON has a
//! schema with a version, [`snapshot::SCHEMA`].
#![forbid(unsafe_code)]

pub mod collect;
pub mod figures;
pub mod histogram;
pub mod html;
pub mod json;
pub mod layout;
pub mod metrics;
pub mod printable;
pub mod problems;
pub mod prometheus;
pub mod query;
pub mod scope;
pub mod snapshot;
pub mod trend;

pub use collect::{Source, collect};
pub use histogram::Histogram;
pub use layout::Layout;
pub use snapshot::Snapshot;
