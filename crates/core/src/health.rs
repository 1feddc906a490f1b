//! Health checks: the question of a URL, and when a server is ready.

use std::fmt;

use crate::wire::board::State;
use crate::words::display;

/// A question of a health check.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Check {
    /// The question whether requests may be sent to the server.
    Ready,
    /// The question whether Apache answers.
    Live,
}

impl Check {
    /// Returns the question that a URL's path asks: its last part. (A path that is misspelt must
    /// not be taken for a question that has always the same answer.)
    #[must_use]
    pub fn of_path(path: &[u8]) -> Option<Self> {
        match path.rsplit(|byte| *byte == b'/').next()? {
            b"ready" | b"readyz" => Some(Self::Ready),
            b"live" | b"livez" => Some(Self::Live),
            _ => None,
        }
    }
}

/// A slot of a process group, as the board shows it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct SlotHealth {
    /// Its state.
    pub state: State,
    /// The process that serves could not import a script that the configuration names.
    pub lacks_import: bool,
}

/// Why a server is not ready.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Obstacle {
    /// It was told to end.
    Ending,
    /// An administrator has taken it out (`WSGIDrainFile`).
    Drained,
    /// The file of `WSGIDrainFile` cannot be looked for.
    DrainFileUnknown(String),
    /// There is no supervisor, and none can be started.
    Unsupervised,
    /// No process of the group serves.
    NoProcess(Box<[u8]>),
    /// Processes of the group fail to start.
    Failing(Box<[u8]>),
    /// No process of the group has imported its scripts.
    NotImported(Box<[u8]>),
    /// The processes of the group have not been made.
    Unknown(Box<[u8]>),
    /// Python does not run in this process of Apache's.
    NoPython,
    /// A script could not be imported in this process of Apache's.
    NotImportedHere,
}

impl Obstacle {
    /// Returns why a process group is not ready, if it is not. Of `is_dormant` ones no process is
    /// wanted without requests.
    #[must_use]
    pub fn of_group(
        name: &[u8],
        is_dormant: bool,
        slots: impl Iterator<Item = SlotHealth> + Clone,
    ) -> Option<Self> {
        let are_any = |state| slots.clone().any(|slot| slot.state == state);
        let mut serving = slots.clone().filter(|slot| slot.state == State::Serving).peekable();
        if serving.peek().is_some() {
            return serving.all(|slot| slot.lacks_import).then(|| Self::NotImported(name.into()));
        }
        if are_any(State::Failing) {
            return Some(Self::Failing(name.into()));
        }
        // A process that starts there is one that nobody had to wait for.
        let is_ready = is_dormant && (are_any(State::Dormant) || are_any(State::Starting));
        (!is_ready).then(|| Self::NoProcess(name.into()))
    }
}

impl fmt::Display for Obstacle {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Ending => f.write_str("draining: the server is about to end"),
            Self::Drained => f.write_str("draining: the file of WSGIDrainFile exists"),
            Self::DrainFileUnknown(error) => {
                write!(f, "the file of WSGIDrainFile cannot be looked for by Apache's user: {error}")
            }
            Self::Unsupervised => f.write_str("the supervisor of the daemon processes cannot be started"),
            Self::NoProcess(name) => write!(f, "process group '{}': no process serves", display(name)),
            Self::Failing(name) => write!(f, "process group '{}': processes fail to start", display(name)),
            Self::NotImported(name) => {
                write!(f, "process group '{}': a script could not be imported", display(name))
            }
            Self::Unknown(name) => write!(f, "process group '{}': it has not been started", display(name)),
            Self::NoPython => f.write_str("Python does not run in this process of Apache's"),
            Self::NotImportedHere => {
                f.write_str("a script could not be imported in this process of Apache's")
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use State::{Cut, Dormant, Failing, Serving, Starting};

    #[test]
    fn the_last_part_of_a_path_is_the_question() {
        for (path, check) in [
            (&b"/-/ready"[..], Some(Check::Ready)),
            (b"/readyz", Some(Check::Ready)),
            (b"/a/b/live", Some(Check::Live)),
            (b"/livez", Some(Check::Live)),
            (b"/-/lvie", None),
            (b"/-/ready/", None),
            (b"/", None),
            (b"", None),
        ] {
            assert_eq!(Check::of_path(path), check, "{}", display(path));
        }
    }

    #[test]
    fn a_group_is_ready_with_one_process() {
        let of = |is_dormant, slots: &[(State, bool)]| {
            let slots = slots.iter().map(|&(state, lacks_import)| SlotHealth { state, lacks_import });
            Obstacle::of_group(b"g", is_dormant, slots)
        };
        let name = || Box::<[u8]>::from(&b"g"[..]);
        assert_eq!(of(false, &[(Serving, false), (Starting, false)]), None);
        assert_eq!(of(false, &[(Serving, true), (Serving, false)]), None);
        assert_eq!(of(false, &[(Serving, true), (Starting, false)]), Some(Obstacle::NotImported(name())));
        assert_eq!(of(false, &[(Starting, false), (Starting, false)]), Some(Obstacle::NoProcess(name())));
        assert_eq!(of(false, &[(Starting, false), (Failing, false)]), Some(Obstacle::Failing(name())));
        assert_eq!(of(false, &[(Cut, false)]), Some(Obstacle::NoProcess(name())));
        assert_eq!(of(true, &[(Dormant, false), (Dormant, false)]), None);
        assert_eq!(of(true, &[(Starting, false), (Dormant, false)]), None);
        assert_eq!(of(true, &[(Failing, false), (Dormant, false)]), Some(Obstacle::Failing(name())));
        assert_eq!(of(true, &[(Cut, false), (Cut, false)]), Some(Obstacle::NoProcess(name())));
        assert_eq!(of(true, &[(Serving, true), (Dormant, false)]), Some(Obstacle::NotImported(name())));
    }
}
