//! Harness of the end-to-end tests: a real Apache with our module, or with the original one, and
//! real clients.
//!
//! Tests stand in a table that says what they need, and whether they run on each MPM:
//! [`on_each_mpm!`]. Every expectation comes from the contract. A test completes the [`Setup`] of
//! its server, runs it, and makes its checks through [`Cases`], which also knows where the original
//! is allowed to differ. Where the contract says something else of daemon mode than of embedded
//! mode, [`Mode::pick`] says so.
//!
//! | Variable | Meaning | Default |
//! |---|---|---|
//! | `E2E_TARGET` | `ours` or `reference` (the original mod_wsgi 6.1.1) | `ours` |
//! | `E2E_PREFIX` | installed prefix of ours | none; required |
//! | `E2E_REFERENCE` | the original's `mod_wsgi.so` | none; required for `reference` |
//! | `E2E_PYTHON` | interpreter that runs the applications | `/usr/bin/python3` |
//! | `E2E_MPM` | restrict to these MPMs, separated by commas | all three |
//! | `E2E_MODE` | `embedded` or `daemon` | `embedded` |
//! | `E2E_PRELOAD` | library that Apache and what it starts load before all others, for a sanitizer's runtime | none |
//! | `E2E_DEVIATIONS` | file to which the differences of the original are appended | none |

mod cases;
mod certificate;
mod config;
mod curl;
mod fuse;
mod http;
mod otlp;
mod ports;
mod processes;
mod python;
mod registry;
mod server;
mod stage;
mod target;
mod telemetry;
mod wait;

pub use cases::{Cases, skipped};
pub use config::Setup;
pub use curl::curl;
pub use fuse::FuseMount;
pub use http::{Connection, Ending, Request, Response};
pub use otlp::OtlpCollector;
pub use ports::free_port;
pub use processes::{Process, signal};
pub use python::{Interpreter, cache_directory};
pub use registry::{Needs, Run, Test, browser, report, run_tests};
pub use server::{LogMark, Server};
pub use target::{Mode, Mpm, Target, preload, sanitized};
pub use telemetry::{Collector, Report};
pub use wait::{PATIENCE, wait_until};
