//! The slow tests of daemon mode: `make test-soak`.

use std::time::Duration;

use e2e::{daemon_only, on_each_mpm};

use super::reload::{LOSES, loaded, restarts_and_touches};
use crate::soak::alone;

/// How long a request of 50 ms may take while the server is restarted and its script changes.
const LONGEST: Duration = Duration::from_millis(500);

#[test]
#[ignore = "slow: make test-soak"]
fn restarts_and_touches_take_no_request_half_a_second() {
    if daemon_only() {
        return;
    }
    let _alone = alone();
    on_each_mpm(|setup| {
        loaded(setup).run(|server, cases| {
            cases.ours_only("twenty of each", LOSES, || {
                let slowest = restarts_and_touches(server, 40);
                assert!(slowest < LONGEST, "{slowest:?}");
            });
        });
    });
}
