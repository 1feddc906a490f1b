//! The pauses between supervisors. (The module itself cannot be linked without Apache, so this
//! compiles its file again.)

#[path = "../src/daemon/supervision.rs"]
mod supervision;

use std::time::{Duration, Instant};

use supervision::Supervision;

#[test]
fn pauses_grow_and_are_bounded() {
    let second = Duration::from_secs(1);
    let (mut supervision, mut now) = (Supervision::default(), Instant::now());
    assert!(!supervision.is_due(now));
    supervision.started(now);
    now += 3600 * second;
    assert_eq!(supervision.ended(now), None, "it has served long enough");
    let pauses: Vec<_> = (0..9).map(|_| supervision.not_started(now).as_secs()).collect();
    assert_eq!(pauses, [1, 2, 4, 8, 16, 32, 60, 60, 60]);
    assert!(!supervision.is_due(now + 59 * second) && supervision.is_due(now + 60 * second));
    supervision.started(now);
    assert!(!supervision.is_due(now + 3600 * second), "it runs");
    assert_eq!(supervision.ended(now + second), Some(60 * second), "it has not recovered");
    supervision.started(now);
    assert_eq!(supervision.ended(now + 10 * second), None);
    let endings: Vec<_> = (0..4)
        .map(|_| {
            supervision.started(now);
            supervision.ended(now).map(|pause| pause.as_secs())
        })
        .collect();
    assert_eq!(endings, [None, None, Some(4), Some(8)]);
}
