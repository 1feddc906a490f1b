//! The output of a command: its results, and what its user should know.

use std::io::{self, Write as _};

use crate::failure::Failure;

/// Prints all of a text to standard output, before anything else happens. That nobody reads it any
/// more (`| head`) is no failure: what the command has done stands, and so does its exit status.
///
/// # Errors
/// It cannot be written.
pub(crate) fn say(text: &str) -> Result<(), Failure> {
    say_to_reader(text).map(|_| ())
}

/// Prints like [`say`], and returns whether somebody still reads, for a command that goes on.
///
/// # Errors
/// It cannot be written.
pub(crate) fn say_to_reader(text: &str) -> Result<bool, Failure> {
    let mut output = io::stdout().lock();
    match output.write_all(text.as_bytes()).and_then(|()| output.flush()) {
        Ok(()) => Ok(true),
        Err(error) if error.kind() == io::ErrorKind::BrokenPipe => Ok(false),
        Err(error) => Err(Failure::machine(format!(
            "cannot write to standard output: {error}; check where it is redirected to"
        ))),
    }
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
