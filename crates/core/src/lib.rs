//! The rules of the module, without Apache and without Python: the grammar and meaning of the
//! configuration, routing, and what goes into an environ and out of an application.
//!
//! No code here does I/O or holds a lock; what a rule needs to know of a request is an argument or
//! a trait. Section numbers (§) in comments are those of the mod_wsgi 6.1.1 configuration contract.
#![forbid(unsafe_code)]

pub mod alias;
pub mod bucket;
pub mod clients;
pub mod codes;
pub mod config;
pub mod daemon;
pub mod diagnostic;
pub mod directive;
pub mod environment_readers;
pub mod fault;
pub mod front;
pub mod groups;
pub mod headers;
pub mod health;
pub mod interpreter;
pub mod json;
pub mod ledger;
pub mod level;
pub mod lifecycle;
pub mod log_record;
pub mod metrics;
pub mod nearest;
pub mod opentelemetry;
pub mod path_info;
pub mod permits;
pub mod proxies;
pub mod python_home;
pub mod quantity;
pub mod recent;
pub mod response;
pub mod route;
pub mod script;
pub mod syslog;
pub mod tallies;
pub mod telemetry;
pub mod tracing;
pub mod wire;
pub mod words;
