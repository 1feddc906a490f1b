//! The yardsticks that figures are compared with, besides the original in the same place.

use e2e::Mpm;

use crate::backend::Backend;
use crate::error::Error;
use crate::host::{Host, Side};
use crate::options::Comparison;
use crate::place::Place;
use crate::workload::Workload;

/// One more that takes its turn in the rounds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Yardstick {
    /// The answer of `hello` as a file that the Apache with our module serves itself.
    StaticFile,
    OursEmbedded,
    OriginalEmbedded,
    /// Another server behind the same Apache.
    Behind(Backend),
}

impl Yardstick {
    /// The heading of its column.
    pub(crate) const fn name(self) -> &'static str {
        match self {
            Self::StaticFile => "static file",
            Self::OursEmbedded => "ours embedded",
            Self::OriginalEmbedded => "original embedded",
            Self::Behind(backend) => backend.name(),
        }
    }

    /// Returns whether the yardstick applies to a workload.
    pub(crate) fn measures(self, workload: &Workload) -> bool {
        match self {
            Self::Behind(_) => Backend::APPLICATIONS.contains(&workload.name),
            _ => workload.name == "hello",
        }
    }

    /// Returns whether the yardstick can take part.
    pub(crate) fn is_there(self, comparison: &Comparison) -> bool {
        match self {
            Self::Behind(backend) => backend.version(&comparison.others).is_some(),
            _ => true,
        }
    }

    /// Its server, if it has one of its own.
    pub(crate) fn start(self, comparison: &Comparison, mpm: Mpm) -> Result<Option<Host>, Error> {
        let (side, place) = match self {
            Self::StaticFile => return Ok(None),
            Self::OursEmbedded => (Side::Ours, Place::Main),
            Self::OriginalEmbedded => (Side::Original, Place::Main),
            Self::Behind(backend) => (Side::Ours, Place::Behind(backend)),
        };
        Host::start(side, comparison, mpm, place).map(Some)
    }
}
