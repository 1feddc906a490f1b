//! Scripts that the server asks about a request.

use std::time::Duration;

/// A script whose functions are asked about a request in one of the server's hooks: about access,
/// about a user, or where the request is to go.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct HookScript {
    /// Path of the Python source file.
    pub script: Box<[u8]>,
    /// `application-group=`, unexpanded (see [`script_group`](crate::groups::script_group)); empty:
    /// the main interpreter.
    pub application_group: Box<[u8]>,
    /// `process-group=`, unexpanded, as `application_group`; empty: the Apache children.
    pub process_group: Box<[u8]>,
    /// The time for an answer, the loading of the script included (`timeout=`).
    pub time_limit: Duration,
}

impl HookScript {
    /// The time for an answer without `timeout=`: as long as the server waits for a client by
    /// default (`Timeout`).
    pub const TIME_LIMIT: Duration = Duration::from_secs(60);
}
