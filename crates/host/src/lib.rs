//! The host: all of mod_wsgi that lives in a Python process. It knows no Apache; what it needs of the server
//! comes over the [`bridge`].
//!
//! A request takes this way: `entry` (the C function) → `process` (which interpreter?) → `request` →
//! `scripts` (loaded? changed?) → `environ` → `adapter` (the application's calls, the response).

#![deny(unsafe_code)]

mod adapter;
mod callables;
mod context;
mod daemon;
mod entry;
mod environ;
mod errors;
mod events;
mod input;
mod interpreters;
mod loading;
mod locked;
mod log;
mod meter;
mod metrics;
mod native;
mod process;
mod report;
mod request;
mod response;
mod script_file;
mod scripts;
mod state;
mod stream;
mod time;
