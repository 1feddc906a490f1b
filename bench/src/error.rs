//! Why there are no figures.

use std::fmt;
use std::io;
use std::path::PathBuf;

/// An error that ends the benchmark: a figure that is missing or made of errors would be misread.
#[derive(Debug)]
pub(crate) enum Error {
    /// A server does not start, or has gone.
    Server { name: String, reason: String },
    /// A response is not the one that was to be measured.
    Response { server: String, url: String, reason: String, log: String },
    /// A file cannot be read or written.
    File { path: PathBuf, source: io::Error },
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Server { name, reason } => write!(f, "the server with {name}: {reason}"),
            Self::Response { server, url, reason, log } => {
                write!(f, "{url} of {server}: {reason}: nothing was measured; end of its error log:\n{log}")
            }
            Self::File { path, source } => write!(f, "{}: {source}", path.display()),
        }
    }
}
