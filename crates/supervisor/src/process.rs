//! A process of a slot, as the supervisor holds it.

use std::fs::File;
use std::io::{self, Read};
use std::os::fd::OwnedFd;

use os::process::Child;
use wsgi_core::bucket::Bucket;
use wsgi_core::ledger::{kept_detail, kept_text};
use wsgi_core::wire::control::{Report, Script};

use crate::preparation::Preparation;
use crate::record::shown;
use crate::relay;
use crate::slot::Key;
use crate::template::Number;

/// The number of messages that are read at a stretch.
pub(crate) const BATCH: usize = 64;
/// The budget for reports of a process: a thousand of them, or pieces of one, at a stretch; in the
/// long run ten a second.
const REPORT_BUDGET: u64 = 100_000;
/// The price of a report, or of a piece of one.
const REPORT_PRICE: u64 = 100;

/// A process.
#[derive(Debug)]
pub(crate) struct Process {
    pub(crate) key: Key,
    pub(crate) child: Child,
    /// The word of the slot's page that is its own until it has been waited for.
    pub(crate) word: u8,
    /// For orders. It is only sent to.
    pub(crate) control: OwnedFd,
    /// Its preparation, until it is Python.
    pub(crate) preparation: Option<Preparation>,
    /// The pipe of its reports, and of its end when it has closed the other side. `None` once
    /// nobody reads it.
    pub(crate) reports: Option<File>,
    /// The part of a report that has come so far.
    received: Vec<u8>,
    /// Bounds what it can make the supervisor do by talking.
    budget: Bucket,
    /// The output that it writes to the log.
    pub(crate) output: relay::Id,
    /// The template that it was forked from; if it has started by itself, the last one before it.
    pub(crate) template: Number,
    /// The last template that is out of date once this process serves, which has started by itself
    /// because of a change.
    pub(crate) outdates: Option<Number>,
    /// It could not import a script that the configuration names.
    pub(crate) lacks_import: bool,
    /// The first script that it could not import, while it is to be a successor.
    pub(crate) failed_import: Option<FailedImport>,
}

/// A script that a process could not import, as it says.
#[derive(Debug)]
pub(crate) struct FailedImport {
    pub(crate) text: Box<[u8]>,
    pub(crate) detail: Box<[u8]>,
}

/// A process that is being forked from a template, and has not made itself known.
#[derive(Debug)]
pub(crate) struct UnbornProcess {
    pub(crate) key: Key,
    pub(crate) template: Number,
    /// The scripts that it has to import, also if it starts by itself after all.
    pub(crate) scripts: Vec<Script>,
    pub(crate) word: u8,
    pub(crate) control: OwnedFd,
    pub(crate) reports: File,
    pub(crate) output: relay::Id,
    /// The socket by which it makes itself known; the end, if it is not forked.
    pub(crate) birth: OwnedFd,
}

/// A process that was killed before it was Python, and may take its time to end.
#[derive(Debug)]
pub(crate) struct AbandonedProcess {
    pub(crate) key: Key,
    pub(crate) child: Child,
    pub(crate) word: u8,
    pub(crate) output: relay::Id,
}

impl FailedImport {
    /// Takes what a process has said, which may be anything.
    pub(crate) fn new(text: &[u8], detail: &[u8]) -> Self {
        let (text, detail) = texts_shown(text, detail);
        Self { text, detail }
    }
}

/// Returns the line and the detail of an event as a process has told them, which may be anything, fit
/// to be recorded.
pub(crate) fn texts_shown(text: &[u8], detail: &[u8]) -> (Box<[u8]>, Box<[u8]>) {
    let text = kept_text(text).iter().map(|byte| if *byte == b'\n' { b'?' } else { shown(byte) });
    (text.collect(), kept_detail(detail).iter().map(shown).collect())
}

impl Process {
    pub(crate) const fn new(
        key: Key,
        child: Child,
        word: u8,
        control: OwnedFd,
        preparation: Option<Preparation>,
        reports: File,
        output: relay::Id,
    ) -> Self {
        Self {
            key,
            child,
            word,
            control,
            preparation,
            reports: Some(reports),
            received: Vec::new(),
            budget: Bucket::full(REPORT_BUDGET),
            output,
            template: 0,
            outdates: None,
            lacks_import: false,
            failed_import: None,
        }
    }

    /// Sets the template that it was forked from, or the last one before it.
    pub(crate) const fn with_template(mut self, template: Number) -> Self {
        self.template = template;
        self
    }

    /// Returns the next report; [`io::ErrorKind::UnexpectedEof`] at the end,
    /// [`io::ErrorKind::WouldBlock`] while there is none.
    pub(crate) fn next_report(&mut self, now: u64) -> io::Result<Report> {
        let mut block = [0; 16_384];
        loop {
            let Some(reports) = &mut self.reports else { return Err(io::ErrorKind::WouldBlock.into()) };
            if !self.budget.try_take(REPORT_PRICE, now) {
                return Err(io::Error::new(io::ErrorKind::InvalidData, "more than any process has to say"));
            }
            let malformed = |error| io::Error::new(io::ErrorKind::InvalidData, error);
            if let Some(report) = Report::take(&mut self.received).map_err(malformed)? {
                return Ok(report);
            }
            match reports.read(&mut block) {
                Ok(0) => return Err(io::ErrorKind::UnexpectedEof.into()),
                Ok(count) => self.received.extend_from_slice(&block[..count]),
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => return Err(error),
            }
        }
    }
}
