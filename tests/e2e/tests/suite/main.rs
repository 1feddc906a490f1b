//! The end-to-end tests, by topic. One binary, so that the topics share the machine's cores.

mod routing;

/// Prints its environ.
const ECHO: &str = include_str!("../../apps/echo.wsgi");
