//! The wire format between Apache children, the supervisor and daemon processes.
//!
//! Requests travel as frames over a stream, see [`frame`]. The content of a frame, and the messages
//! of [`control`] and [`launch`], are values one after the other, see [`codec`]; these messages are
//! declared once, as records. All sides come from one build: every conversation begins with the
//! [`Schema`], which is checked. Still no input is trusted: lengths are bounded before anything is
//! allocated, and input that does not fit is an error, never a panic.

pub mod board;
pub mod channel;
pub mod codec;
pub mod control;
pub mod exit;
pub mod exporter;
pub mod frame;
pub mod launch;
pub mod line;
mod process;
mod reason;
mod record;
pub mod schema;
pub mod span;

pub use codec::{Malformed, Reader, Writer};
pub use reason::Reason;
pub use schema::{OwnSchema, Schema, SchemaSearch};
