//! The messages that children send through the channel of a slot.
//!
//! They differ in length, so that the supervisor can tell them apart without receiving the
//! descriptor of a connection that is not its own.

/// A connection, with its descriptor.
pub const CONNECTION: &[u8] = b"c";

/// A sign without a descriptor, to a dormant slot: all processes of the group that serve have as
/// many requests as threads. A process that gets it nonetheless has nothing to do for it.
pub const BUSY: &[u8] = b"up";

/// The size of a buffer for any message.
pub const LONGEST: usize = BUSY.len();
