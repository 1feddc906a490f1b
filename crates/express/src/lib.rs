//! `mod_wsgi-express`: serves a WSGI application through an Apache of its own, and installs the
//! module into somebody else's.
//!
//! The way of a command: [`parse`] (what was said) by the definitions in [`options`], [`settings`]
//! (what it means), [`checks`] (whether it can work), [`server_root`] and [`config`] (the files),
//! [`run`].

#![forbid(unsafe_code)]

mod account;
mod apache;
mod application;
mod auth;
mod banner;
mod bounded;
mod checks;
mod cli;
mod config;
mod container;
mod daemon;
mod debugging;
mod doctor;
mod ending;
mod environment;
mod failure;
mod files;
mod general;
mod groups;
mod health;
mod hosts;
mod inputs;
mod inquiry;
mod install;
mod json_logs;
mod limits;
mod locale;
mod logs;
mod names;
mod options;
pub mod outline;
mod package;
mod parse;
mod proxy;
mod python;
mod quote;
mod run;
mod server;
mod server_root;
mod service;
mod settings;
mod sizing;
mod spec;
mod status;
mod telemetry;
mod terminal;
mod tls;
mod trial;
mod values;

pub use cli::main;
pub use doctor::reference as doctor_reference;
pub use options::reference;
