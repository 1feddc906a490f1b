//! Health checks: the question of a URL, who may ask it, and when a server is ready.

use std::fmt;
use std::net::IpAddr;

use crate::proxies::network::Network;
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

/// The clients that may ask (`WSGIHealthClients`).
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct HealthClients {
    are_all: bool,
    has_local: bool,
    networks: Vec<Network>,
}

impl HealthClients {
    /// Adds `local`, `all`, an address or a network; `false` if `word` is none of these.
    #[must_use]
    pub fn add(&mut self, word: &[u8]) -> bool {
        if word.eq_ignore_ascii_case(b"local") {
            self.has_local = true;
            return true;
        }
        if word.eq_ignore_ascii_case(b"all") {
            self.are_all = true;
            return true;
        }
        let network = Network::parse(word);
        self.networks.extend(network);
        network.is_some()
    }

    /// Returns whether these, by default local clients, include one.
    #[must_use]
    pub fn include(clients: Option<&Self>, client: &HealthClient<'_>) -> bool {
        let Some(clients) = clients else { return client.is_local() };
        clients.are_all
            || (clients.has_local && client.is_local())
            || client.ip().is_some_and(|ip| clients.networks.iter().any(|network| network.contains(ip)))
    }
}

/// A client that asks.
#[derive(Debug, Clone, Copy)]
pub struct HealthClient<'a> {
    /// Its address, which may be what a proxy says (mod_remoteip).
    pub address: &'a [u8],
    /// The address at the other end of the connection.
    pub peer: &'a [u8],
    /// The server's address of the connection.
    pub own_address: &'a [u8],
    /// A proxy says that the request is another client's.
    pub is_forwarded: bool,
}

impl HealthClient<'_> {
    /// Returns whether the request is from this machine: as far as proxies say, and by its
    /// connection. (To a proxy on another machine, `127.0.0.1` is that machine.)
    #[must_use]
    pub fn is_local(&self) -> bool {
        let own = parse(self.own_address);
        let is_own = |address| parse(address).is_some_and(|ip| ip.is_loopback() || Some(ip) == own);
        !self.is_forwarded && is_own(self.address) && is_own(self.peer)
    }

    fn ip(&self) -> Option<IpAddr> {
        parse(self.address)
    }
}

fn parse(address: &[u8]) -> Option<IpAddr> {
    Some(std::str::from_utf8(address).ok()?.parse::<IpAddr>().ok()?.to_canonical())
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
    fn clients_are_local_or_named() {
        let client = |address: &'static str| HealthClient {
            address: address.as_bytes(),
            peer: address.as_bytes(),
            own_address: b"10.1.2.3",
            is_forwarded: false,
        };
        let clients = |words: &[&str]| {
            let mut clients = HealthClients::default();
            assert!(words.iter().all(|word| clients.add(word.as_bytes())), "{words:?}");
            clients
        };
        for local in ["127.0.0.1", "127.8.0.1", "::1", "10.1.2.3", "::ffff:127.0.0.1"] {
            assert!(HealthClients::include(None, &client(local)), "{local}");
            assert!(!HealthClients::include(None, &HealthClient { is_forwarded: true, ..client(local) }));
            assert!(!HealthClients::include(None, &HealthClient { peer: b"192.0.2.7", ..client(local) }));
            assert!(!HealthClients::include(
                None,
                &HealthClient { peer: b"192.0.2.7", ..client("10.1.2.3") }
            ));
            assert!(!HealthClients::include(Some(&clients(&["192.0.2.0/24"])), &client(local)));
        }
        for other in ["10.1.2.4", "192.0.2.7", "", "host"] {
            assert!(!HealthClients::include(None, &client(other)), "{other}");
            assert!(HealthClients::include(Some(&clients(&["local", "All"])), &client(other)));
        }
        let named = clients(&["Local", "192.0.2.0/24", "fd00::/8"]);
        for (address, is_included) in
            [("192.0.2.7", true), ("fd00::5", true), ("127.0.0.1", true), ("192.0.3.1", false)]
        {
            assert_eq!(HealthClients::include(Some(&named), &client(address)), is_included, "{address}");
        }
        assert!(!HealthClients::default().add(b"localhost"));
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
