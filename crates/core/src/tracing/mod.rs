//! Distributed tracing: the context that a request carries, which requests are sampled, and ids.
//!
//! The header is that of W3C Trace Context, level 1; sampling follows the specification of
//! OpenTelemetry.

mod context;
mod ids;
mod sampler;
pub mod state;

pub use context::{SpanId, TraceContext, TraceId};
pub use ids::IdGenerator;
pub use sampler::{Ratio, Sampler};
