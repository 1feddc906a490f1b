//! The end-to-end tests, by topic. One binary, so that the topics share the machine's cores.

mod body;
mod configuration;
mod environ;
mod events;
mod failures;
mod files;
mod frameworks;
mod http2;
mod input;
mod interpreters;
mod lifecycle;
mod logging;
mod malformed;
mod panics;
mod proxies;
mod routing;
mod scripts;
mod start_response;
mod versions;

/// Prints its environ.
const ECHO: &str = include_str!("../../apps/echo.wsgi");
