//! The slow tests of daemon mode: `make test-soak`.

use std::thread;
use std::time::Duration;

use e2e::Needs::{Daemon, Ours, Time};
use e2e::{Server, Setup, Test, on_each_mpm};

use super::reload::{LOSES, restarts_and_touches, serving_for_load};
use super::{serving, serving_process};
use crate::soak::{Held, alone, beside_others};

pub(crate) const TESTS: &[Test] = &[
    on_each_mpm!(restarts_and_touches_delay_no_request_by_half_a_second, Daemon, Time),
    on_each_mpm!(
        a_hundred_thousand_requests_leave_nothing_behind,
        Daemon,
        Ours("promise to survive this"),
        Time
    ),
];

/// How long a request of 50 ms may take while the server is restarted and its script changes.
const LONGEST: Duration = Duration::from_millis(500);

fn restarts_and_touches_delay_no_request_by_half_a_second(setup: Setup) {
    let _alone = alone();
    serving_for_load(setup).run(|server, cases| {
        cases.ours_only("twenty of each", LOSES, || {
            let slowest = restarts_and_touches(server, 40);
            assert!(slowest < LONGEST, "{slowest:?}");
        });
    });
}

fn a_hundred_thousand_requests_leave_nothing_behind(setup: Setup) {
    let _others = beside_others();
    // Each thread of Apache's may keep a connection to the process: few threads, so that all have one soon.
    let children = if setup.mpm().threaded() { 1 } else { 6 };
    serving(setup, "threads=8").children(children).threads(6).run(|server, cases| {
        let process = serving_process(server);
        send_requests(server, 25_000);
        let first = Held::by(&[process.0]);
        send_requests(server, 100_000);
        let last = Held::by(&[process.0]);
        e2e::report(format_args!("{first:?} -> {last:?}"));
        cases.check("it is still that process", || assert_eq!(serving_process(server), process));
        cases.check("descriptors", || assert!(last.descriptors <= first.descriptors, "{first:?} {last:?}"));
        cases.check("threads", || assert_eq!(first.threads, last.threads));
        // Of a leak of ten bytes a request there would be a megabyte.
        cases.check("memory", || {
            assert!(last.kilobytes < first.kilobytes + 512, "{first:?} {last:?}");
        });
    });
}

/// So many requests by four clients, three with a body of each four.
fn send_requests(server: &Server, count: usize) {
    const CLIENTS: usize = 4;
    thread::scope(|scope| {
        for _ in 0..CLIENTS {
            scope.spawn(|| {
                let get = server.request("GET", "/pid").keep_alive();
                let post = |length| server.request("POST", "/read").body(vec![b'b'; length]).keep_alive();
                let round = [get, post(10), post(3_000), post(40_000)];
                let mut connection = server.connect();
                for number in 0..count / CLIENTS {
                    // Apache closes a connection after a hundred requests.
                    if number % 100 == 0 {
                        connection = server.connect();
                    }
                    connection.send(&round[number % round.len()]);
                    let response = connection.response("GET");
                    let response = response.unwrap_or_else(|error| panic!("request {number}: {error}"));
                    assert_eq!(response.status, 200, "{}", response.text());
                }
            });
        }
    });
}
