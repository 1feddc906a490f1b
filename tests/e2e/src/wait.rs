//! Bounded waiting.

use std::time::{Duration, Instant};

/// The longest time that a test waits for what should happen soon; the machine may be busy.
pub const PATIENCE: Duration = Duration::from_secs(30);

/// Polls `condition` until it gives a value, at most [`PATIENCE`].
///
/// # Panics
/// The time is over; `what` says what was waited for.
pub fn wait_until<T>(what: &str, mut condition: impl FnMut() -> Option<T>) -> T {
    let deadline = Instant::now() + PATIENCE;
    loop {
        if let Some(value) = condition() {
            return value;
        }
        assert!(Instant::now() < deadline, "waited {PATIENCE:?} in vain: {what}");
        std::thread::sleep(Duration::from_millis(10));
    }
}
