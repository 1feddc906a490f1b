//! The inheritance from the parent process.

use std::ffi::OsString;
use std::fs::File;
use std::io::{self, Read, Seek};
use std::os::fd::{OwnedFd, RawFd};

use os::descriptors::inherited;
use os::shared::Words;
use wsgi_core::wire::Schema;
use wsgi_core::wire::board::words;
use wsgi_core::wire::launch::LaunchPlan;

use crate::exporter::ExporterParts;
use crate::record::Record;

/// Everything that the supervisor works with.
#[derive(Debug)]
pub(crate) struct Inheritance {
    /// The conversation with the parent.
    pub(crate) control: OwnedFd,
    /// The process groups.
    pub(crate) plan: LaunchPlan,
    /// The board that the Apache children read, see [`wsgi_core::wire::board`].
    pub(crate) board: Words,
    /// The hosts that processes are to load, with their names.
    pub(crate) hosts: Vec<(Box<[u8]>, OwnedFd)>,
    /// Error logs.
    pub(crate) logs: Vec<OwnedFd>,
    /// Of each slot, the daemon's end of the channel and its page.
    pub(crate) slots: Vec<(OwnedFd, OwnedFd)>,
    /// For processes that are to see the server's scoreboard.
    pub(crate) scoreboard: Option<OwnedFd>,
    /// The exporter of OpenTelemetry, if there is one.
    pub(crate) exporter: Option<ExporterParts>,
    /// The record of what becomes of processes.
    pub(crate) record: Record,
}

impl Inheritance {
    /// Takes over what the arguments name.
    ///
    /// # Errors
    /// Something is missing, or not what it should be.
    pub(crate) fn take(mut arguments: impl Iterator<Item = OsString>) -> io::Result<Self> {
        let schema = arguments.next().and_then(|argument| argument.to_str()?.parse().ok());
        if schema != Some(Schema::own()) {
            return Err(invalid("mod_wsgi.so is of another build"));
        }
        let mut next = || -> io::Result<OwnedFd> {
            let argument = arguments.next().ok_or_else(|| invalid("an argument is missing"))?;
            let number = argument.to_str().and_then(|text| text.parse().ok());
            inherited(number.ok_or_else(|| invalid("an argument is no number"))?)
        };
        let (control, plan, board, descriptors) = (next()?, next()?, next()?, next()?);
        let mut plan =
            LaunchPlan::decode(&contents(plan)?).map_err(|_| invalid("the configuration cannot be read"))?;
        let board = Words::map(&board, words(plan.slots()))?;
        let descriptors = contents(descriptors)?;
        let mut numbers = descriptors.chunks_exact(4).map(|bytes| {
            let number = bytes.try_into().map_or(u32::MAX, u32::from_le_bytes);
            RawFd::try_from(number).unwrap_or(-1)
        });
        let mut next = || numbers.next().ok_or_else(|| invalid("a descriptor is missing"));
        let logs = (0..next()?).map(|_| inherited(next()?)).collect::<io::Result<Vec<_>>>()?;
        let slots = (0..plan.slots())
            .map(|_| Ok((inherited(next()?)?, inherited(next()?)?)))
            .collect::<io::Result<Vec<_>>>()?;
        let scoreboard = plan.has_scoreboard().then(|| inherited(next()?)).transpose()?;
        let exporter = plan.exporter.take().map(|plan| -> io::Result<ExporterParts> {
            let mut take = || inherited(next()?);
            let (program, spans, counts) = (take()?, take()?, take()?);
            let headers = plan.has_headers_file.then(&mut take).transpose()?;
            let state =
                plan.has_state.then(|| io::Result::Ok([take()?, take()?, take()?, take()?])).transpose()?;
            Ok(ExporterParts { plan, program, spans, counts, headers, state })
        });
        let exporter = exporter.transpose()?;
        let rows = plan.tallies();
        let record =
            if rows.is_empty() { Record::default() } else { Record::map(inherited(next()?)?, rows)? };
        let hosts = std::mem::take(&mut plan.hosts);
        let hosts = hosts.into_iter().map(|name| Ok((name, inherited(next()?)?)));
        let hosts = hosts.collect::<io::Result<Vec<_>>>()?;
        if plan.groups.iter().any(|group| group.log as usize >= logs.len()) {
            return Err(invalid("a process group has no log"));
        }
        Ok(Self { control, plan, board, hosts, logs, slots, scoreboard, record, exporter })
    }
}

/// Returns the whole file, wherever its position is.
fn contents(file: OwnedFd) -> io::Result<Vec<u8>> {
    let mut file = File::from(file);
    file.rewind()?;
    let mut contents = Vec::new();
    file.read_to_end(&mut contents)?;
    Ok(contents)
}

fn invalid(text: &'static str) -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, text)
}
