//! The end-to-end tests, by topic. One binary, so that the topics share the machine's cores.

mod access;
mod body;
mod configuration;
mod daemon;
mod directions;
mod endings;
mod ends;
mod environ;
mod events;
mod express;
mod failures;
mod files;
mod filters;
mod frameworks;
mod half_duplex;
mod hanging_scripts;
mod heads;
mod health;
mod http2;
mod input;
mod interpreters;
mod json_logs;
mod large;
mod ledger;
mod lifecycle;
mod logging;
mod malformed;
mod messages;
mod mistakes;
mod opentelemetry;
mod panics;
mod proxies;
mod routing;
mod scripts;
mod server_metrics;
mod shrinking;
mod slow;
mod soak;
mod spooling;
mod start_response;
mod status;
mod stuck;
mod telemetry;
mod thread_exit;
mod upgrade;
mod variables;
mod versions;

use std::process::ExitCode;

use e2e::{Test, run_tests};

const TABLES: &[&[Test]] = &[
    body::TESTS,
    configuration::TESTS,
    directions::TESTS,
    endings::TESTS,
    ends::TESTS,
    environ::TESTS,
    events::TESTS,
    failures::TESTS,
    files::TESTS,
    filters::TESTS,
    frameworks::TESTS,
    half_duplex::TESTS,
    health::TESTS,
    hanging_scripts::TESTS,
    heads::TESTS,
    http2::TESTS,
    input::TESTS,
    interpreters::TESTS,
    json_logs::TESTS,
    large::TESTS,
    ledger::TESTS,
    lifecycle::TESTS,
    logging::TESTS,
    malformed::TESTS,
    messages::TESTS,
    mistakes::TESTS,
    opentelemetry::TESTS,
    panics::TESTS,
    proxies::TESTS,
    routing::TESTS,
    scripts::TESTS,
    server_metrics::TESTS,
    shrinking::TESTS,
    soak::TESTS,
    spooling::TESTS,
    start_response::TESTS,
    slow::TESTS,
    status::TESTS,
    stuck::TESTS,
    status::page::TESTS,
    telemetry::TESTS,
    telemetry::published::TESTS,
    thread_exit::TESTS,
    upgrade::TESTS,
    variables::TESTS,
    versions::TESTS,
];

fn main() -> ExitCode {
    run_tests(TABLES.iter().chain(access::TABLES).chain(daemon::TABLES).chain(express::TABLES))
}

/// Prints its environ.
const ECHO: &str = include_str!("../../apps/echo.wsgi");

/// The hexadecimal MD5 of a text, by Python.
fn md5(text: &str) -> String {
    let script = "import hashlib, sys; print(hashlib.md5(sys.argv[1].encode()).hexdigest())";
    let output = std::process::Command::new(e2e::Interpreter::current().executable)
        .args(["-c", script, text])
        .output();
    output.map(|output| String::from_utf8_lossy(&output.stdout).trim().to_owned()).unwrap_or_default()
}
