//! Text on its way to a log, gathered until a line is complete.

use std::sync::Arc;

use bridge::{Lease, Level, RequestFacts};
use python::{Exception, Python, Raised, Result};
use wsgi_core::log_record::{self, Field, Record};

use crate::locked::Locked;
use crate::{process, records};

/// The longest text that is gathered without the end of a line. Longer text becomes lines of this
/// length.
const LONGEST_PARTIAL: usize = 64 << 10;

/// The longest text that becomes one record though it has several lines.
const LONGEST_BLOCK: usize = 8 << 10;

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
    pub(crate) fn begin(&self, lease: &Arc<Lease>, facts: &RequestFacts<'_>) {
        let script = facts.script.or_empty();
        self.0.with(|inner| {
            inner.partial.clear();
            // The next request is most often for the same script.
            if inner.script != script {
                inner.script = script.to_owned();
                inner.prefix = prefix(script, facts.application_group.or_empty()).into();
            }
            inner.target = Target::Request(Arc::clone(lease), Arc::clone(&inner.prefix), facts.log_level);
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
                py.detach(|| target.log_block(Level::Error, &lines));
            }
            Written::Expired => {
                return Err(expired(py));
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
        self.0.with(|inner| inner.target.clone()).log_block(level, lines);
    }

    /// Logs a record, past what has been gathered. Returns whether it could: not once the request is
    /// over.
    pub(crate) fn log_record(&self, level: Level, record: Record) -> bool {
        let target = self.0.with(|inner| inner.target.clone());
        let can_log = !matches!(target, Target::Expired);
        if can_log {
            target.log_record(level, record);
        }
        can_log
    }

    /// Returns whether the log takes lines of this level.
    pub(crate) fn is_logged(&self, level: Level) -> bool {
        self.0.with(|inner| match inner.target {
            Target::Request(_, _, most) => level as u32 <= most,
            Target::Server | Target::Expired => is_logged(level),
        })
    }
}

/// Raises the exception of a stream whose request is over.
pub(crate) fn expired(py: Python<'_>) -> Raised {
    py.raise(Exception::RuntimeError, "log object has expired: its request is over")
}

/// Logs lines that belong to no request.
pub(crate) fn log(level: Level, lines: &[u8]) {
    Target::Server.log_block(level, lines);
}

/// Logs a record that belongs to no request.
pub(crate) fn log_record(level: Level, record: Record) {
    Target::Server.log_record(level, record);
}

/// Returns whether the log takes lines of this level that belong to no request.
pub(crate) fn is_logged(level: Level) -> bool {
    process::process().is_some_and(|process| process.server.is_logged(level))
}

/// Returns what the lines of a request begin with, or the fields that its records have.
fn prefix(script: &[u8], application_group: &[u8]) -> Vec<u8> {
    if records::are_wanted() {
        log_record::fields(&[(Field::Application, application_group), (Field::Script, script)])
    } else {
        [b"[script ", script, b"] "].concat()
    }
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
    /// Logs lines that were written at once.
    fn log_block(&self, level: Level, lines: &[u8]) {
        // As a record they are one line, most often: what belongs together stays together.
        if records::are_wanted() && lines.len() <= LONGEST_BLOCK {
            self.log(level, lines);
        } else {
            lines.split(|byte| *byte == b'\n').for_each(|line| self.log(level, line));
        }
    }

    fn log(&self, level: Level, line: &[u8]) {
        if records::are_wanted() {
            return self.log_record(level, records::new(line));
        }
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
        if logged.is_none() {
            process::log_bytes(level, line);
        }
    }

    fn log_record(&self, level: Level, mut record: Record) {
        let logged = match self {
            Self::Request(lease, fields, _) => {
                record.add_encoded(fields);
                lease.try_with(|exchange| exchange.log(level, record.bytes()))
            }
            Self::Server | Self::Expired => None,
        };
        if logged.is_none() {
            process::log_bytes(level, record.bytes());
        }
    }
}
