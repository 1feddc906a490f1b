//! The host: all of mod_wsgi that lives in a Python process. It knows no Apache; the [`bridge`]
//! connects it with the server.
//!
//! The path of a request: `entry` (the C function) → `dispatch` (which interpreter?) → `request` →
//! `scripts` (loaded? changed?) → `environ` → `adapter` (the application's calls, the response).

#![deny(unsafe_code)]

mod adapter;
mod callables;
mod context;
mod daemon;
mod dispatch;
mod entry;
mod environ;
mod errors;
mod events;
mod failed_imports;
mod input;
mod interpreters;
mod lacking;
mod life;
mod loading;
mod locked;
mod log;
mod meter;
mod metrics;
mod mode;
mod native;
mod outcome;
mod process;
mod questions;
mod records;
mod report;
mod request;
mod response;
mod script_file;
mod scripts;
mod settings;
mod state;
mod stream;
mod stuck;
mod telemetry;
mod time;
