//! curl, for what a hand-written client should not vouch for: HTTP/2, TLS, cookies, multipart
//! forms.

use std::process::{Command, Output};

/// Runs curl, quietly and with a time limit.
///
/// # Panics
/// curl is not installed.
#[must_use]
#[track_caller]
pub fn curl<'a>(arguments: impl IntoIterator<Item = &'a str>) -> Output {
    Command::new("curl")
        .args(["--silent", "--show-error", "--max-time", "60", "--noproxy", "*"])
        .args(arguments)
        .output()
        .unwrap_or_else(|error| panic!("curl: {error}; install the package curl"))
}
