//! Ports that others listen on.

use std::collections::BTreeMap;
use std::fs;
use std::io;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, UdpSocket};

use crate::doctor::check::Check;
use crate::doctor::finding::Finding;
use crate::doctor::subject::{Listen, Subject};

pub(super) const CHECK: Check = Check {
    name: "port-taken",
    about: "An address of `Listen` that another process listens on already; it is named, where it can be seen. The server itself, if it runs \
            with this configuration, is no fault. Also an address that this machine does not have.",
    run: |subject| subject.server.listen.iter().filter_map(|listen| taken(subject, listen)).collect(),
};

/// A socket that somebody listens on.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Listener {
    address: IpAddr,
    port: u16,
    inode: u64,
}

fn taken(subject: &Subject, listen: &Listen) -> Option<Finding> {
    let listeners = listeners();
    let Some(other) =
        listeners.iter().find(|listener| listener.port == listen.port && overlaps(listen, listener.address))
    else {
        // What a command line asks for is tried as it is when the server starts.
        return subject.apache.as_ref().and_then(|_| foreign(listen));
    };
    let shown = match &listen.address {
        Some(address) => format!("{address}:{}", listen.port),
        None => format!("port {}", listen.port),
    };
    let process = owner(other.inode);
    let own = subject.server.pid.and_then(|pid| {
        // The number may be that of another process by now.
        let is_apache = name(pid).is_some_and(|name| {
            subject.server.program.as_ref().and_then(|program| program.file_name()).is_some_and(|file| {
                let file = file.to_string_lossy();
                name == file.chars().take(15).collect::<String>()
            })
        });
        is_apache.then_some(pid)
    });
    let is_own =
        own.is_some_and(|own| process.is_none_or(|process| process == own || parent(process) == Some(own)));
    if is_own {
        return Some(
            Finding::note(format!("the server runs and listens on {shown}"))
                .at(listen.place.as_ref())
                .because(format!("process {} has this configuration", own.unwrap_or_default())),
        );
    }
    let who = match process {
        Some(pid) => format!("process {pid} ({})", name(pid).unwrap_or_default()),
        None => "a process of another user (root can see which)".to_owned(),
    };
    Some(
        Finding::error(format!("{shown} is taken"))
            .at(listen.place.as_ref())
            .because(format!("{who} listens on {}:{}", bracketed(other.address), other.port))
            .remedy("stop that process, or listen on another port"),
    )
}

/// Returns the finding of an address that this machine does not have.
fn foreign(listen: &Listen) -> Option<Finding> {
    let address: IpAddr = listen.address.as_ref()?.parse().ok()?;
    // Any port of it will do, and one of UDP is in nobody's way.
    let error = UdpSocket::bind((address, 0)).err()?;
    (error.kind() == io::ErrorKind::AddrNotAvailable).then(|| {
        Finding::error(format!("this machine does not have the address {address}"))
            .at(listen.place.as_ref())
            .because("Apache cannot listen on it, and does not start")
            .remedy("name one of `ip address`, or leave it out, to listen on all of them")
    })
}

fn bracketed(address: IpAddr) -> String {
    match address {
        IpAddr::V4(address) => address.to_string(),
        IpAddr::V6(address) => format!("[{address}]"),
    }
}

/// Returns whether both cannot be listened on at the same time.
fn overlaps(listen: &Listen, other: IpAddr) -> bool {
    let other = other.to_canonical();
    match &listen.address {
        None => true,
        Some(address) => match address.parse::<IpAddr>() {
            Ok(own) => {
                let own = own.to_canonical();
                // The unspecified address of IPv6 is that of IPv4, too.
                own == other
                    || (own.is_unspecified() && (own.is_ipv6() || other.is_ipv4()))
                    || (other.is_unspecified() && (other.is_ipv6() || own.is_ipv4()))
            }
            // A name may be any address.
            Err(_) => other.is_unspecified(),
        },
    }
}

fn listeners() -> Vec<Listener> {
    ["/proc/net/tcp", "/proc/net/tcp6"]
        .iter()
        .filter_map(|file| fs::read_to_string(file).ok())
        .flat_map(|table| table.lines().filter_map(listener).collect::<Vec<_>>())
        .collect()
}

/// Reads a line of `/proc/net/tcp` if it is about a socket that somebody listens on.
fn listener(line: &str) -> Option<Listener> {
    let fields: Vec<_> = line.split_whitespace().collect();
    let (local, state, inode) = (fields.get(1)?, fields.get(3)?, fields.get(9)?);
    if *state != "0A" {
        return None;
    }
    let (address, port) = local.split_once(':')?;
    // Words of 32 bits as they lie in memory.
    let words = |text: &str| {
        let parts = text
            .as_bytes()
            .chunks(8)
            .map(|word| u32::from_str_radix(std::str::from_utf8(word).ok()?, 16).ok());
        let words: Option<Vec<u32>> = parts.collect();
        Some(words?.into_iter().flat_map(u32::to_ne_bytes).collect::<Vec<u8>>())
    };
    let bytes = words(address)?;
    let address = match bytes.len() {
        4 => IpAddr::V4(Ipv4Addr::from(<[u8; 4]>::try_from(bytes).ok()?)),
        _ => IpAddr::V6(Ipv6Addr::from(<[u8; 16]>::try_from(bytes).ok()?)),
    };
    Some(Listener { address, port: u16::from_str_radix(port, 16).ok()?, inode: inode.parse().ok()? })
}

/// Returns a process that has a socket, the first one if several do: the one that has opened it most
/// often is their parent.
fn owner(inode: u64) -> Option<u32> {
    let wanted = format!("socket:[{inode}]");
    let mut found = BTreeMap::new();
    for entry in fs::read_dir("/proc").ok()?.flatten() {
        let Some(pid) = entry.file_name().to_str().and_then(|name| name.parse::<u32>().ok()) else {
            continue;
        };
        let Ok(descriptors) = fs::read_dir(entry.path().join("fd")) else { continue };
        let has_it = descriptors.flatten().any(|descriptor| {
            fs::read_link(descriptor.path()).is_ok_and(|target| target.as_os_str() == wanted.as_str())
        });
        if has_it {
            found.insert(pid, parent(pid));
        }
    }
    let is_child = |parent: &Option<u32>| parent.is_some_and(|parent| found.contains_key(&parent));
    found.iter().find(|(_, parent)| !is_child(parent)).map(|(pid, _)| *pid)
}

fn parent(pid: u32) -> Option<u32> {
    let status = fs::read_to_string(format!("/proc/{pid}/status")).ok()?;
    status.lines().find_map(|line| line.strip_prefix("PPid:"))?.trim().parse().ok()
}

fn name(pid: u32) -> Option<String> {
    Some(fs::read_to_string(format!("/proc/{pid}/comm")).ok()?.trim().to_owned())
}

#[cfg(test)]
mod tests {
    use std::net::TcpListener;

    use super::*;

    fn listen(address: Option<&str>, port: u16) -> Listen {
        Listen { address: address.map(str::to_owned), port, place: None }
    }

    #[test]
    fn the_process_that_listens_is_found() {
        let socket = TcpListener::bind("127.0.0.1:0").unwrap();
        let port = socket.local_addr().unwrap().port();
        let found: Vec<_> = listeners().into_iter().filter(|listener| listener.port == port).collect();
        assert_eq!(found.len(), 1, "{found:?}");
        assert_eq!(found[0].address, IpAddr::from([127, 0, 0, 1]));
        assert_eq!(owner(found[0].inode), Some(std::process::id()));
        drop(socket);
        assert!(!listeners().iter().any(|listener| listener.port == port));
    }

    #[test]
    fn addresses_of_other_machines_are_told_of() {
        assert!(foreign(&listen(Some("192.0.2.1"), 80)).unwrap().what.contains("192.0.2.1"));
        for own in [Some("127.0.0.1"), Some("0.0.0.0"), Some("::"), Some("localhost"), None] {
            assert!(foreign(&listen(own, 80)).is_none(), "{own:?}");
        }
    }

    #[test]
    fn addresses_overlap() {
        let overlap = |own: Option<&str>, other: &str| overlaps(&listen(own, 80), other.parse().unwrap());
        assert!(overlap(None, "127.0.0.1") && overlap(None, "::1"));
        assert!(overlap(Some("127.0.0.1"), "0.0.0.0") && overlap(Some("127.0.0.1"), "::"));
        assert!(overlap(Some("0.0.0.0"), "127.0.0.1") && overlap(Some("::"), "127.0.0.1"));
        assert!(!overlap(Some("127.0.0.1"), "127.0.0.2") && !overlap(Some("127.0.0.1"), "::1"));
        assert!(!overlap(Some("0.0.0.0"), "::1"));
    }
}
