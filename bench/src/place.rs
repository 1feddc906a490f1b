//! The places where applications run.

use std::fmt;
use std::str::FromStr;

use crate::backend::Backend;
use crate::sizes::DAEMON_THREADS;

/// A place where the applications of a server run. Its text is the value of `--place`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Place {
    /// In the main interpreter of the Apache children (`WSGIApplicationGroup %{GLOBAL}`).
    Main,
    /// In the Apache children, each in a sub-interpreter of its own (the default of mod_wsgi).
    Own,
    /// In the main interpreters of the daemon processes of one group.
    Daemon { processes: u32 },
    /// Once per group, in the one daemon process of the group.
    Groups { count: u32 },
    /// Once per group, in a process that is started when a request comes.
    Dormant { count: u32 },
    /// In a server that Apache passes requests on to.
    Behind(Backend),
}

/// The places that a mode is measured in; the first one is compared with yardsticks.
pub(crate) const EMBEDDED: &[Place] = &[Place::Main, Place::Own];
pub(crate) const DAEMON: &[Place] = &[Place::Daemon { processes: 1 }, Place::Daemon { processes: 2 }];

impl Place {
    /// Returns whether the server has the benchmark's applications, and the file that one of them
    /// sends.
    pub(crate) const fn has_applications(self) -> bool {
        matches!(self, Self::Main | Self::Own | Self::Daemon { .. })
    }

    /// Returns whether a workload (or `memory`) is measured there.
    pub(crate) fn measures(self, name: &str) -> bool {
        match self {
            // What a sub-interpreter costs shows in the smallest answer.
            Self::Own => name == "hello",
            // The whole server is looked at once, with more processes than these.
            // Scripts that check passwords run in the Apache children.
            Self::Daemon { .. } if name == "password" => false,
            Self::Daemon { processes } => processes == 1 || name != "memory",
            Self::Main | Self::Groups { .. } | Self::Dormant { .. } | Self::Behind(_) => true,
        }
    }

    /// For a heading.
    pub(crate) fn title(self) -> String {
        match self {
            Self::Main => "embedded, main interpreter".to_owned(),
            Self::Own => "embedded, sub-interpreter".to_owned(),
            Self::Daemon { processes } => format!("daemon, processes={processes} threads={DAEMON_THREADS}"),
            Self::Groups { count } => format!("{count} groups"),
            Self::Dormant { count } => format!("{count} groups, processes=0-2"),
            Self::Behind(backend) => backend.name().to_owned(),
        }
    }
}

impl fmt::Display for Place {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Main => f.write_str("main"),
            Self::Own => f.write_str("own"),
            Self::Daemon { processes } => write!(f, "daemon-{processes}"),
            Self::Groups { count } => write!(f, "groups-{count}"),
            Self::Dormant { count } => write!(f, "dormant-{count}"),
            Self::Behind(backend) => f.write_str(backend.program()),
        }
    }
}

impl FromStr for Place {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let number =
            |prefix: &str| text.strip_prefix(prefix)?.parse().ok().filter(|&number: &u32| number > 0);
        let backend = || Backend::ALL.into_iter().find(|backend| backend.program() == text);
        match text {
            "main" => Some(Self::Main),
            "own" => Some(Self::Own),
            _ => None,
        }
        .or_else(|| number("daemon-").map(|processes| Self::Daemon { processes }))
        .or_else(|| number("groups-").map(|count| Self::Groups { count }))
        .or_else(|| number("dormant-").map(|count| Self::Dormant { count }))
        .or_else(|| backend().map(Self::Behind))
        .ok_or_else(|| {
            "the places are main, own, daemon-PROCESSES, groups-COUNT, dormant-COUNT, and the programs of other servers"
                .to_owned()
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_place_is_read_as_it_is_written() {
        let backends = Backend::ALL.map(Place::Behind);
        let more = [Place::Groups { count: 500 }, Place::Dormant { count: 500 }].into_iter().chain(backends);
        for place in EMBEDDED.iter().chain(DAEMON).copied().chain(more) {
            assert_eq!(place.to_string().parse(), Ok(place));
        }
        for text in ["", "daemon", "daemon-", "daemon-0", "groups-x", "Main"] {
            assert!(text.parse::<Place>().is_err(), "{text}");
        }
    }
}
