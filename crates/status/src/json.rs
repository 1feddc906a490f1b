//! The state of a server as JSON, whose schema is that of [`crate::snapshot`].

use crate::Snapshot;

/// Returns the JSON.
#[must_use]
pub fn render(snapshot: &Snapshot) -> String {
    // Plain data with string keys: it cannot fail.
    serde_json::to_string(snapshot).unwrap_or_default()
}
