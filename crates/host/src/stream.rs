//! Text on its way to a log, gathered until a line is complete.

use std::sync::Arc;

use bridge::{Lease, Level};
use python::{Exception, Python, Result};

use crate::locked::Locked;
use crate::process;

/// The longest text that is gathered without the end of a line. Longer text becomes lines of this
/// length.
const LONGEST_PARTIAL: usize = 64 << 10;

/// A stream whose bytes gather until a line is complete.
#[derive(Debug, Default)]
pub(crate) struct Stream(Locked<Inner>);

#[derive(Debug, Default)]
struct Inner {
    partial: Vec<u8>,
    target: Target,
    script: Vec<u8>,
    prefix: Arc<[u8]>,
}

/// The destination of a stream's lines.
#[derive(Clone, Debug, Default)]
enum Target {
    /// To the server's log.
    #[default]
    Server,
    /// To the log of a request, each with a prefix. It takes lines up to the level of that number.
    Request(Arc<Lease>, Arc<[u8]>, u32),
    /// Nowhere: the request is over.
    Expired,
}

impl Stream {
    /// Directs lines to a request.
    pub(crate) fn begin(&self, lease: &Arc<Lease>, script: &[u8], log_level: u32) {
        self.0.with(|inner| {
            inner.partial.clear();
            // The next request is most often for the same script.
            if inner.script != script {
                inner.script = script.to_owned();
                inner.prefix = [b"[script ", script, b"] "].concat().into();
            }
            inner.target = Target::Request(Arc::clone(lease), Arc::clone(&inner.prefix), log_level);
        });
    }

    /// Ends a request's use: further writes fail.
    pub(crate) fn expire(&self, py: Python<'_>) {
        self.flush(py);
        self.0.with(|inner| {
            if !matches!(inner.target, Target::Server) {
                inner.target = Target::Expired;
            }
        });
    }

    /// Adds text, and logs the lines that are complete.
    pub(crate) fn write(&self, py: Python<'_>, bytes: &[u8]) -> Result<()> {
        match self.0.with(|inner| inner.write(bytes)) {
            Written::Nothing => {}
            Written::Lines(lines, target) => {
                py.detach(|| {
                    lines.split(|byte| *byte == b'\n').for_each(|line| target.log(Level::Error, line));
                });
            }
            Written::Expired => {
                return Err(py.raise(Exception::RuntimeError, "log object has expired: its request is over"));
            }
        }
        Ok(())
    }

    /// Logs what has gathered.
    pub(crate) fn flush(&self, py: Python<'_>) {
        let rest = self.0.with(|inner| {
            let line = std::mem::take(&mut inner.partial);
            (!line.is_empty()).then(|| (line, inner.target.clone()))
        });
        if let Some((line, target)) = rest {
            py.detach(|| target.log(Level::Error, &line));
        }
    }

    /// Logs lines, past what has been gathered.
    pub(crate) fn log(&self, level: Level, lines: &[u8]) {
        let target = self.0.with(|inner| inner.target.clone());
        lines.split(|byte| *byte == b'\n').for_each(|line| target.log(level, line));
    }

    /// Returns whether the log takes lines of this level.
    pub(crate) fn is_logged(&self, level: Level) -> bool {
        self.0.with(|inner| match inner.target {
            Target::Request(_, _, most) => level as u32 <= most,
            Target::Server | Target::Expired => is_logged(level),
        })
    }
}

/// Logs lines that belong to no request.
pub(crate) fn log(level: Level, lines: &[u8]) {
    lines.split(|byte| *byte == b'\n').for_each(|line| Target::Server.log(level, line));
}

/// Returns whether the log takes lines of this level that belong to no request.
pub(crate) fn is_logged(level: Level) -> bool {
    process::process().is_some_and(|process| process.server.is_logged(level))
}

/// The result of a write.
enum Written {
    /// No line is complete.
    Nothing,
    /// Lines for a target; the last one lacks its end.
    Lines(Vec<u8>, Target),
    /// The request is over.
    Expired,
}

impl Inner {
    fn write(&mut self, bytes: &[u8]) -> Written {
        if matches!(self.target, Target::Expired) {
            return Written::Expired;
        }
        let Some(end) = bytes.iter().rposition(|byte| *byte == b'\n') else {
            self.partial.extend_from_slice(bytes);
            if self.partial.len() < LONGEST_PARTIAL {
                return Written::Nothing;
            }
            return Written::Lines(std::mem::take(&mut self.partial), self.target.clone());
        };
        let mut lines = std::mem::take(&mut self.partial);
        lines.extend_from_slice(&bytes[..end]);
        self.partial.extend_from_slice(&bytes[end + 1..]);
        Written::Lines(lines, self.target.clone())
    }
}

impl Target {
    fn log(&self, level: Level, line: &[u8]) {
        // The server's functions want text without NUL.
        let escaped;
        let line = if line.contains(&0) {
            escaped = line.split(|byte| *byte == 0).collect::<Vec<_>>().join(&b"\\x00"[..]);
            &escaped
        } else {
            line
        };
        let logged = match self {
            Self::Request(lease, prefix, _) => {
                let text = [prefix, line].concat();
                // While another thread is blocked in the exchange, the line goes to the server's
                // log instead.
                lease.try_with(|exchange| exchange.log(level, &text))
            }
            Self::Server | Self::Expired => None,
        };
        if logged.is_none()
            && let Some(process) = process::process()
        {
            process.server.log(level, line);
        }
    }
}
