//! The exporter: sends spans of requests, and metrics, to an OpenTelemetry collector.
//!
//! The supervisor starts it as Apache's user, as `exporter <schema>`, with descriptors of agreed
//! numbers: its plan, the socket of spans, the words of counts, its life line, and perhaps a file of
//! headers, and what the state of the server is read from. Its main thread takes spans from the
//! socket and queues them ([`queue`]); a thread for each signal sends messages ([`traces`],
//! [`metrics`]). Nobody waits for any of them. It ends when the last Apache child of its generation
//! is gone, or when it is told to.

#![forbid(unsafe_code)]

mod client;
#[cfg(test)]
mod collectors;
mod counts;
mod delivery;
mod headers;
mod intake;
mod log;
mod metric;
mod metrics;
mod proto;
mod queue;
mod resolver;
mod resource;
mod span;
mod state;
mod stop;
mod traces;

use std::io;
use std::process::ExitCode;
use std::sync::Arc;
use std::thread::{self, JoinHandle};

use os::descriptors::inherited;
use wsgi_core::codes::EXPORTER_NOT_STARTED;
use wsgi_core::level::Level;
use wsgi_core::wire::Schema;
use wsgi_core::wire::exporter::ExporterPlan;

use client::Client;
use counts::Counts;
use delivery::Delivery;
use intake::Intake;
use queue::Queue;
use state::ServerState;
use stop::Stop;

/// The numbers of the descriptors.
const PLAN: i32 = 3;
const SPANS: i32 = 4;
const COUNTS: i32 = 5;
const LIFE: i32 = 6;
const HEADERS: i32 = 7;
const LAYOUT: i32 = 8;
const LEDGER: i32 = 9;
const BOARD: i32 = 10;
const TALLIES: i32 = 11;

/// More than any plan.
const LONGEST_PLAN: u64 = 1 << 24;

fn main() -> ExitCode {
    let _ = os::process::set_name(c"exporter");
    // Others with the same user, such as applications of embedded mode, must not look into its
    // memory, where keys of collectors are.
    let _ = nix::sys::prctl::set_dumpable(false);
    // It talks to others, and runs no programs: whoever takes it over gets nowhere by those that run
    // as another user.
    let _ = nix::sys::prctl::set_no_new_privs();
    match run() {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            log::write(
                Level::Error,
                format_args!(
                    "{EXPORTER_NOT_STARTED}: the exporter of OpenTelemetry cannot run: {error}. It is started by the \
                     supervisor of the same build, not by hand. After an update, stop and start the server"
                ),
            );
            ExitCode::FAILURE
        }
    }
}

fn run() -> io::Result<()> {
    let schema = std::env::args().nth(1).and_then(|argument| argument.parse().ok());
    if schema != Some(Schema::own()) {
        return Err(io::Error::new(io::ErrorKind::InvalidData, "mod_wsgi.so is of another build"));
    }
    let plan = ExporterPlan::decode(&os::message::read(inherited(PLAN)?, LONGEST_PLAN)?)
        .map_err(|_| io::Error::new(io::ErrorKind::InvalidData, "its configuration cannot be read"))?;
    let spans = inherited(SPANS)?;
    let counts = Arc::new(Counts::map(&inherited(COUNTS)?, plan.generation)?);
    let life = inherited(LIFE)?;
    log::set_level(plan.log_level);
    let headers = if plan.has_headers_file { headers::read(&inherited(HEADERS)?) } else { Vec::new() };
    // Begins with these signals blocked, which all threads inherit.
    let signals = intake::watched_signals()?;
    let stop = Arc::new(Stop::default());
    let queue = Arc::new(Queue::new(plan.queue as usize, plan.batch as usize, plan.delay));
    let resource = resource::of(&plan);
    let mut threads = Vec::new();
    if let Some(collector) = &plan.traces {
        let delivery = Delivery::of_spans(Client::new(collector, &headers), Arc::clone(&stop));
        let work = traces::Traces::new(resource.clone(), Arc::clone(&queue), delivery, Arc::clone(&counts));
        threads.push(spawn("traces", move || work.run())?);
    }
    if let Some(collector) = &plan.metrics {
        let delivery = Delivery::of_metrics(Client::new(collector, &headers), Arc::clone(&stop));
        let map = || {
            let files = [inherited(LAYOUT)?, inherited(LEDGER)?, inherited(BOARD)?, inherited(TALLIES)?];
            ServerState::map(files.each_ref())
        };
        let state = plan.has_state.then(map).transpose()?;
        let work = metrics::Metrics::new(resource, plan.interval, delivery, state, Arc::clone(&counts));
        threads.push(spawn("metrics", move || work.run())?);
    }
    let intake = Intake { spans, life, signals, queue: &queue, stop: &stop, counts: &counts };
    intake.run()?;
    intake.wait_for(&threads);
    Ok(())
}

/// Starts a thread; if it panics, the whole program ends, and another one is started.
fn spawn(name: &str, work: impl FnOnce() + Send + 'static) -> io::Result<JoinHandle<()>> {
    let work = move || {
        if std::panic::catch_unwind(std::panic::AssertUnwindSafe(work)).is_err() {
            std::process::abort();
        }
    };
    thread::Builder::new().name(name.to_owned()).spawn(work)
}
