//! The wire format between Apache children, the supervisor and daemon processes.
//!
//! Requests travel as frames over a stream, see [`frame`]; what is inside a frame, and the messages of [`control`] and
//! [`launch`], are values one after the other, see [`codec`]. All sides come from one build, which [`VERSION`] makes
//! sure of; still nothing that is read is trusted: lengths are bounded before anything is allocated, and what does not
//! fit is an error, never a panic.

pub mod board;
pub mod codec;
pub mod control;
pub mod frame;
pub mod launch;

pub use codec::{Malformed, Reader, Writer};

/// Said at the beginning of every conversation; a side that reads another one ends it.
pub const VERSION: u8 = 3;
