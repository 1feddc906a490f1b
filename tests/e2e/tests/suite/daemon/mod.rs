//! Daemon processes: who they are, what they serve, how they come and go. Run with
//! `E2E_MODE=daemon`.

mod accounting;
mod crashes;
mod deaths;
mod first_import;
mod groups;
mod hostile;
mod hostile_application;
mod identity;
mod isolation;
mod logs;
mod orphans;
mod pools;
mod preload;
mod queue;
mod recycling;
mod reload;
mod requests;
mod responses;
mod services;
mod signals;
mod soak;
mod supervision;
mod tallies;
mod timers;

use std::collections::BTreeSet;
use std::thread::{self, JoinHandle};

use e2e::{LogMark, Process, Response, Server, Setup, Test, wait_until};

pub(crate) const TABLES: &[&[Test]] = &[
    accounting::TESTS,
    crashes::TESTS,
    deaths::TESTS,
    first_import::TESTS,
    groups::TESTS,
    hostile::TESTS,
    hostile_application::TESTS,
    identity::TESTS,
    isolation::TESTS,
    logs::TESTS,
    orphans::TESTS,
    pools::TESTS,
    preload::TESTS,
    queue::TESTS,
    recycling::TESTS,
    reload::TESTS,
    requests::TESTS,
    responses::TESTS,
    services::TESTS,
    signals::TESTS,
    soak::TESTS,
    supervision::TESTS,
    tallies::TESTS,
    timers::TESTS,
];

/// Shows and does what a daemon process may.
const APP: &str = include_str!("../../../apps/daemon.wsgi");

/// [`APP`] at `/`, in a group with these options. What is to be served by others has to be said
/// before.
fn serving(setup: Setup, options: &str) -> Setup {
    setup
        .group(options)
        .app("/", "app.wsgi", APP)
        .file("htdocs/gates/keep", "")
        .conf("WSGIApplicationGroup %{GLOBAL}\nSetEnv test.gates @ROOT@/htdocs/gates")
}

/// Lets the requests go on that wait for a gate.
fn open_gate(server: &Server, gate: &str) {
    server.write(&format!("htdocs/gates/{gate}"), "");
}

/// A request whose answer is fetched later.
fn start_request(server: &Server, target: &str) -> JoinHandle<Response> {
    let request = server.request("GET", target);
    thread::spawn(move || request.send())
}

/// Begins a request that waits for a gate, and returns when the application has it.
fn start_held_request(server: &Server, gate: &str) -> JoinHandle<Response> {
    let mark = server.mark();
    let request = start_request(server, &format!("/hold?{gate}"));
    server.wait_log(mark, &format!("holds {gate}"));
    request
}

/// The answer to a request that was begun.
#[track_caller]
fn finish(request: JoinHandle<Response>) -> Response {
    request.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic))
}

/// The process that serves a request.
#[track_caller]
fn serving_process(server: &Server) -> Process {
    let text = server.get("/pid").expect(200);
    Process(text.parse().unwrap_or_else(|_| panic!("no process id: {text}")))
}

/// Waits until a process serves. What is sent before has to wait for its start, which some limits
/// do not allow.
#[track_caller]
fn wait_until_serving(server: &Server) {
    wait_until("a process that serves", || (server.get("/pid").status == 200).then_some(()));
}

/// Waits until so many processes serve: one that is not ready yet takes no part.
#[track_caller]
fn wait_until_all_serve(server: &Server, count: usize) {
    wait_until(&format!("{count} processes that serve"), || {
        let requests: Vec<_> = (0..2 * count).map(|_| start_request(server, "/sleep?0.1")).collect();
        let pids: BTreeSet<_> = requests.into_iter().map(|request| finish(request).expect(200)).collect();
        (pids.len() == count).then_some(())
    });
}

/// Waits until another process than `old` serves; no request fails meanwhile.
#[track_caller]
fn wait_for_successor(server: &Server, old: Process) -> Process {
    wait_until(&format!("another process than {}", old.0), || {
        Some(serving_process(server)).filter(|new| *new != old)
    })
}

/// Waits until a process has ended.
#[track_caller]
fn wait_ended(process: Process) {
    wait_until(&format!("the end of {}", process.0), || (!process.is_alive()).then_some(()));
}

/// Waits until the log has one of the texts: ours and that of the original may differ in words.
#[track_caller]
fn wait_log_any(server: &Server, mark: LogMark, texts: &[&str]) -> String {
    wait_until(&format!("one of {texts:?} in the log"), || {
        let log = server.log_since(mark);
        texts.iter().any(|text| log.contains(text)).then_some(log)
    })
}
