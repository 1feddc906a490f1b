//! The names by which the status knows virtual hosts, and tells those of one administrator from those of
//! others.

use httpd::Server;
use status::printable;
use status::scope::UNNAMED;

/// The virtual hosts of a configuration.
#[derive(Default)]
pub(crate) struct VirtualHosts {
    /// Those that have no `ServerName`: they have nothing to do with each other, though Apache gives
    /// them the name of the main server, or of their address. In the order of the servers' addresses.
    unnamed: Vec<(usize, Name)>,
}

/// The name of a virtual host: with several addresses, it has all but the last one's port.
struct Name {
    name: Vec<u8>,
    port: u16,
}

impl VirtualHosts {
    /// Returns those of a server.
    pub(crate) fn of(server: &Server) -> Self {
        let unnamed = server.all().filter(|host| host.is_virtual() && !host.has_own_name());
        let mut unnamed: Vec<_> = unnamed.map(|host| (key(host), Name::of_addresses(host))).collect();
        unnamed.sort_unstable_by_key(|(key, _)| *key);
        Self { unnamed }
    }

    /// Returns the name and the port of a server; nothing and 0 for the main one.
    #[inline]
    pub(crate) fn name<'s>(&'s self, server: &'s Server) -> (&'s [u8], u16) {
        if !server.is_virtual() {
            return (&[], 0);
        }
        match self.unnamed.binary_search_by_key(&key(server), |(key, _)| *key) {
            Ok(index) => (&self.unnamed[index].1.name, self.unnamed[index].1.port),
            Err(_) => (server.name(), server.port()),
        }
    }

    /// Returns the same as text: empty for the main server.
    pub(crate) fn text(&self, server: &Server) -> String {
        if !server.is_virtual() {
            return String::new();
        }
        let (name, port) = self.name(server);
        format!("{}:{port}", printable::text(name))
    }
}

fn key(server: &Server) -> usize {
    std::ptr::from_ref(server).addr()
}

impl Name {
    fn of_addresses(server: &Server) -> Self {
        let mut name = UNNAMED.as_bytes().to_vec();
        let mut addresses: Vec<_> = server.addresses().collect();
        // A host name or `*` may stand for several addresses.
        addresses.dedup();
        let Some((last, port)) = addresses.pop() else { return Self { name, port: 0 } };
        for (address, port) in addresses {
            extend(&mut name, address);
            name.extend(format!(":{port} ").bytes());
        }
        extend(&mut name, last);
        Self { name, port }
    }
}

fn extend(name: &mut Vec<u8>, address: &[u8]) {
    if address.contains(&b':') && !address.starts_with(b"[") {
        name.extend([b"[", address, b"]"].concat());
    } else {
        name.extend(address);
    }
}
