//! The end-to-end tests, by topic. One binary, so that the topics share the machine's cores.

mod body;
mod environ;
mod failures;
mod files;
mod input;
mod logging;
mod routing;
mod scripts;
mod start_response;

/// Prints its environ.
const ECHO: &str = include_str!("../../apps/echo.wsgi");
