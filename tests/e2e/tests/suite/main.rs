//! The end-to-end tests, by topic. One binary, so that the topics share the machine's cores.

mod body;
mod configuration;
mod environ;
mod events;
mod failures;
mod files;
mod http2;
mod input;
mod interpreters;
mod lifecycle;
mod logging;
mod malformed;
mod proxies;
mod routing;
mod scripts;
mod start_response;

/// Prints its environ.
const ECHO: &str = include_str!("../../apps/echo.wsgi");
