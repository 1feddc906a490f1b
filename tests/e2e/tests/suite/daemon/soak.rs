//! The slow tests of daemon mode: `make test-soak`.

use std::io;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::thread;
use std::time::Duration;

use e2e::Needs::{Daemon, Ours, Time};
use e2e::{Connection, Response, Server, Setup, Test, on_each_mpm};

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

/// The longest time that a request of 50 ms may take during restarts and changes of the script.
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
    // Each thread of Apache's may keep a connection to the process: few threads, so that all have
    // one soon.
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
///
/// With event, Apache closes connections that are kept alive when all its threads are busy, also
/// one on which a request is under way: that is sent again, as browsers do. It is rare, or
/// responses are lost.
fn send_requests(server: &Server, count: usize) {
    const CLIENTS: usize = 4;
    let repeated = AtomicUsize::new(0);
    thread::scope(|scope| {
        for _ in 0..CLIENTS {
            scope.spawn(|| {
                let get = server.request("GET", "/pid").keep_alive();
                let post = |length| server.request("POST", "/read").body(vec![b'b'; length]).keep_alive();
                let round = [get, post(10), post(3_000), post(40_000)];
                let mut connection = server.connect();
                let mut is_kept = false;
                for number in 0..count / CLIENTS {
                    // Apache closes a connection after a hundred requests.
                    if number % 100 == 0 {
                        (connection, is_kept) = (server.connect(), false);
                    }
                    let request = &round[number % round.len()];
                    let mut response = exchange(&mut connection, request);
                    if is_kept && matches!(response, Ok(None)) {
                        repeated.fetch_add(1, Ordering::Relaxed);
                        connection = server.connect();
                        response = exchange(&mut connection, request);
                    }
                    let response = response.unwrap_or_else(|error| panic!("request {number}: {error}"));
                    let response = response.unwrap_or_else(|| panic!("request {number}: no answer"));
                    let _ = response.expect(200);
                    is_kept = true;
                }
            });
        }
    });
    let repeated = repeated.into_inner();
    e2e::report(format_args!("{repeated} of {count} requests were sent again"));
    assert!(repeated * 500 < count, "{repeated} of {count} requests had no answer");
}

/// Sends a request. Returns its response, or `None` if the connection ends before any byte of it.
fn exchange(connection: &mut Connection, request: &[u8]) -> io::Result<Option<Response>> {
    // A server that closes the connection may not have read all of it: the answer tells.
    let _ = connection.try_send(request);
    connection.response_if_any("GET")
}
