//! The clients that may ask a handler about the server.

use std::net::IpAddr;

use crate::proxies::network::Network;

/// The clients that may ask (`WSGIHealthClients`, `WSGIStatusClients`).
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Clients {
    are_all: bool,
    has_local: bool,
    networks: Vec<Network>,
}

impl Clients {
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
    pub fn include(clients: Option<&Self>, client: &Client<'_>) -> bool {
        let Some(clients) = clients else { return client.is_local() };
        clients.are_all
            || (clients.has_local && client.is_local())
            || client.ip().is_some_and(|ip| clients.networks.iter().any(|network| network.contains(ip)))
    }
}

/// A client that asks.
#[derive(Debug, Clone, Copy)]
pub struct Client<'a> {
    /// Its address, which may be what a proxy says (mod_remoteip).
    pub address: &'a [u8],
    /// The address at the other end of the connection.
    pub peer: &'a [u8],
    /// The server's address of the connection.
    pub own_address: &'a [u8],
    /// A proxy says that the request is another client's.
    pub is_forwarded: bool,
}

impl Client<'_> {
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn clients_are_local_or_named() {
        let client = |address: &'static str| Client {
            address: address.as_bytes(),
            peer: address.as_bytes(),
            own_address: b"10.1.2.3",
            is_forwarded: false,
        };
        let clients = |words: &[&str]| {
            let mut clients = Clients::default();
            assert!(words.iter().all(|word| clients.add(word.as_bytes())), "{words:?}");
            clients
        };
        for local in ["127.0.0.1", "127.8.0.1", "::1", "10.1.2.3", "::ffff:127.0.0.1"] {
            assert!(Clients::include(None, &client(local)), "{local}");
            assert!(!Clients::include(None, &Client { is_forwarded: true, ..client(local) }));
            assert!(!Clients::include(None, &Client { peer: b"192.0.2.7", ..client(local) }));
            assert!(!Clients::include(None, &Client { peer: b"192.0.2.7", ..client("10.1.2.3") }));
            assert!(!Clients::include(Some(&clients(&["192.0.2.0/24"])), &client(local)));
        }
        for other in ["10.1.2.4", "192.0.2.7", "", "host"] {
            assert!(!Clients::include(None, &client(other)), "{other}");
            assert!(Clients::include(Some(&clients(&["local", "All"])), &client(other)));
        }
        let named = clients(&["Local", "192.0.2.0/24", "fd00::/8"]);
        for (address, is_included) in
            [("192.0.2.7", true), ("fd00::5", true), ("127.0.0.1", true), ("192.0.3.1", false)]
        {
            assert_eq!(Clients::include(Some(&named), &client(address)), is_included, "{address}");
        }
        assert!(!Clients::default().add(b"localhost"));
    }
}
