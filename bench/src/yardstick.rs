//! The yardsticks that figures are compared with, besides the original in the same place.

use e2e::Mpm;

use crate::backend::Backend;
use crate::error::Error;
use crate::host::{Host, Side};
use crate::options::Comparison;
use crate::place::Place;
use crate::workload::{FLOOR, FLOOR_DAEMON, STATIC_FILE, Workload};

/// One more that takes its turn in the rounds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Yardstick {
    /// The answer of `hello` as a file that the Apache with our module serves itself.
    StaticFile,
    /// The same from a handler in C.
    Floor,
    /// The same from a handler in C that asks another process.
    FloorDaemon,
    OursEmbedded,
    OriginalEmbedded,
    /// Another server behind the same Apache.
    Behind(Backend),
}

impl Yardstick {
    /// Returns those for the figures of a place.
    pub(crate) const fn of(place: Place) -> &'static [Self] {
        match place {
            Place::Main => &[Self::StaticFile, Self::Floor],
            Place::Daemon { processes: 1 } => &[
                Self::StaticFile,
                Self::Floor,
                Self::FloorDaemon,
                Self::OursEmbedded,
                Self::OriginalEmbedded,
                Self::Behind(Backend::Uwsgi),
                Self::Behind(Backend::Gunicorn),
                Self::Behind(Backend::Granian),
                Self::Behind(Backend::Uvicorn),
            ],
            _ => &[],
        }
    }

    /// The heading of its column.
    pub(crate) const fn name(self) -> &'static str {
        match self {
            Self::StaticFile => STATIC_FILE.name,
            Self::Floor => FLOOR.name,
            Self::FloorDaemon => FLOOR_DAEMON.name,
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

    /// Returns what it is asked for in place of `workload`.
    pub(crate) const fn request(self, workload: &'static Workload) -> &'static Workload {
        match self {
            Self::StaticFile => &STATIC_FILE,
            Self::Floor => &FLOOR,
            Self::FloorDaemon => &FLOOR_DAEMON,
            _ => workload,
        }
    }

    /// Returns whether the yardstick can take part.
    pub(crate) fn is_there(self, comparison: &Comparison) -> bool {
        match self {
            Self::Behind(backend) => !comparison.no_others && backend.version(&comparison.others).is_some(),
            Self::Floor | Self::FloorDaemon => comparison.floor.exists(),
            _ => true,
        }
    }

    /// Its server, if it has one of its own.
    pub(crate) fn start(self, comparison: &Comparison, mpm: Mpm) -> Result<Option<Host>, Error> {
        let (side, place) = match self {
            Self::StaticFile | Self::Floor | Self::FloorDaemon => return Ok(None),
            Self::OursEmbedded => (Side::Ours, Place::Main),
            Self::OriginalEmbedded => (Side::Original, Place::Main),
            Self::Behind(backend) => (Side::Ours, Place::Behind(backend)),
        };
        Host::start_wide(side, comparison, mpm, place).map(Some)
    }
}
