//! The output of a command: its results, and what its user should know.

use std::io::{self, Write as _};

use crate::failure::Failure;

/// Prints all of a text to standard output, before anything else happens.
///
/// # Errors
/// Nobody can read it.
pub(crate) fn say(text: &str) -> Result<(), Failure> {
    let mut output = io::stdout().lock();
    output.write_all(text.as_bytes()).and_then(|()| output.flush()).map_err(|error| {
        Failure::machine(format!("cannot write to standard output: {error}; check where it is redirected to"))
    })
}

/// Prints a line about something that may surprise.
pub(crate) fn warn(text: &str) {
    complain(&format!("mod_wsgi-express: warning: {text}"));
}

/// Prints to standard error; that nobody reads it is no reason to fail (or, as `eprintln` does, to
/// panic).
pub(crate) fn complain(text: &str) {
    let _ = writeln!(io::stderr(), "{text}");
}
