//! Processes that are replaced before their memory becomes too much (`memory-recycle=`), and not all
//! at once (`restart-jitter=`).

use std::sync::atomic::{AtomicBool, AtomicU32, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use e2e::Needs::{Daemon, OneProcess, Ours};
use e2e::{LogMark, Process, Server, Setup, Test, on_one_mpm, wait_until};

use super::{serving, serving_process, wait_ended, wait_for_successor};

const RECYCLING: e2e::Needs = Ours("processes that are replaced for their memory, or by chance");

pub(crate) const TESTS: &[Test] = &[
    on_one_mpm!(a_process_that_keeps_memory_is_replaced, Daemon, RECYCLING),
    on_one_mpm!(processes_of_a_group_are_not_replaced_at_once, Daemon, RECYCLING),
    on_one_mpm!(processes_of_a_template_are_not_replaced_at_once, Daemon, RECYCLING),
    on_one_mpm!(a_process_with_jitter_serves_the_number_that_it_drew, Daemon, RECYCLING, OneProcess),
];

/// A process may use too much for this long, before the pause between looks.
const SERVICE: Duration = Duration::from_secs(10);

/// Sets a flag in any case, lest threads go on for ever if a test fails.
struct Set<'a>(&'a AtomicBool);

impl Drop for Set<'_> {
    fn drop(&mut self) {
        self.0.store(true, Ordering::Relaxed);
    }
}

/// Returns the process that has kept so many megabytes.
fn keep(server: &Server, megabytes: u32) -> Process {
    Process(server.get(&format!("/keep?{megabytes}")).expect(200).parse().unwrap_or_default())
}

fn a_process_that_keeps_memory_is_replaced(setup: Setup) {
    serving(setup, "memory-recycle=128M threads=2").run(|server, cases| {
        let begin = Instant::now();
        let first = serving_process(server);
        cases.check("not while it uses less", || {
            for _ in 0..4 {
                assert_eq!(keep(server, 10), first);
            }
            thread::sleep((SERVICE + Duration::from_secs(1)).saturating_sub(begin.elapsed()));
            assert_eq!(serving_process(server), first);
        });
        let mut second = first;
        cases.check("when it uses more, without losing a request", || {
            let (mark, stop, served) = (server.mark(), AtomicBool::new(false), AtomicU32::new(0));
            let failures: Vec<_> = thread::scope(|scope| {
                let client = || {
                    let mut failures = Vec::new();
                    while !stop.load(Ordering::Relaxed) {
                        let answer = server.get("/sleep?0.02");
                        if answer.status != 200 {
                            failures.push(answer.status);
                        }
                        served.fetch_add(1, Ordering::Relaxed);
                    }
                    failures
                };
                let clients: Vec<_> = (0..2).map(|_| scope.spawn(client)).collect();
                let stopper = Set(&stop);
                for _ in 0..9 {
                    // It may be replaced before the last of them.
                    keep(server, 10);
                }
                second = wait_for_successor(server, first);
                wait_ended(first);
                drop(stopper);
                clients.into_iter().flat_map(|client| client.join().unwrap_or_default()).collect()
            });
            assert_eq!((failures, served.into_inner() > 2), (vec![], true));
            let log = server.wait_log(mark, "stopping: memory_recycle");
            assert!(log.contains("a successor is asked for (memory_recycle)"), "{log}");
            assert!(log.contains("more than memory-recycle= allows (128.0 MB)"), "{log}");
        });
        cases.check("one that uses too much at once is warned about, and serves on", || {
            let mark = server.mark();
            assert_eq!(keep(server, 150), second);
            let log = server.wait_log(mark, "WSGI1010");
            assert!(log.contains("allows (128.0 MB)") && log.contains("for 10 seconds"), "{log}");
            assert_eq!(serving_process(server), second);
        });
    });
}

/// Returns the numbers of requests after which processes of the server have said that they are to be
/// replaced.
fn drawn(server: &Server, mark: LogMark) -> Vec<u64> {
    let log = server.log_since(mark);
    let numbers = log.split("this process is replaced after ").skip(1);
    numbers.filter_map(|rest| rest.split_once(" requests")?.0.parse().ok()).collect()
}

fn processes_of_a_group_are_not_replaced_at_once(setup: Setup) {
    draw_numbers_of_their_own(setup, "");
}

fn processes_of_a_template_are_not_replaced_at_once(setup: Setup) {
    draw_numbers_of_their_own(setup, "preload=fork");
}

fn draw_numbers_of_their_own(setup: Setup, preload: &str) {
    let options = "processes=6 threads=1 maximum-requests=1M restart-jitter=50 restart-interval=1000";
    serving(setup, &format!("{options} {preload}")).run(|server, cases| {
        cases.check("each has drawn its own number of requests, and its own time", || {
            let numbers = wait_until("six processes", || {
                Some(drawn(server, LogMark::default())).filter(|numbers| numbers.len() == 6)
            });
            assert!(numbers.iter().all(|number| (1_000_000..=1_500_000).contains(number)), "{numbers:?}");
            // By chance: once in ten to the eighteenth.
            let (least, most) = (numbers.iter().min().copied(), numbers.iter().max().copied());
            assert!(most.unwrap_or(0) - least.unwrap_or(0) > 100, "{numbers:?}");
            let is_forked = server.log_since(LogMark::default()).contains("is forked from template");
            assert_eq!(is_forked, !preload.is_empty());
            server.wait_log(LogMark::default(), " seconds");
        });
    });
}

fn a_process_with_jitter_serves_the_number_that_it_drew(setup: Setup) {
    const ENOUGH: &str = "a successor is asked for (maximum_requests)";
    serving(setup, "threads=2 maximum-requests=10 restart-jitter=100").run(|server, cases| {
        cases.check("neither less nor more", || {
            let first = serving_process(server);
            let mark = LogMark::default();
            let number = wait_until("its number", || drawn(server, mark).first().copied());
            assert!((10..=20).contains(&number), "{number}");
            for served in 2..number {
                assert_eq!(serving_process(server), first, "after {served} of {number}");
            }
            assert!(!server.log_since(mark).contains(ENOUGH));
            assert_eq!(serving_process(server), first);
            server.wait_log(mark, ENOUGH);
            wait_for_successor(server, first);
            wait_ended(first);
        });
    });
}
