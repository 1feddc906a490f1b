//! Ports for servers: none is given to two of them, however many tests and test processes run.

use std::net::{Ipv4Addr, TcpListener};
use std::os::linux::net::SocketAddrExt;
use std::os::unix::net::{SocketAddr, UnixListener};
use std::sync::{Mutex, OnceLock, PoisonError};

/// The ports that are handed out: below those that the kernel gives to outgoing connections
/// (`net.ipv4.ip_local_port_range`), which could otherwise take one before its server does.
const FIRST: u16 = 20_000;
/// Ports of one test process. So many are handed out before one is used again.
const SHARE: u16 = 1_500;
const SHARES: u16 = 8;

/// Returns a port of 127.0.0.1 on which nobody listens, and that no other test gets.
///
/// # Panics
/// All ports are in use.
pub fn free_port() -> u16 {
    static NEXT: Mutex<u16> = Mutex::new(0);
    let first = share();
    let mut next = NEXT.lock().unwrap_or_else(PoisonError::into_inner);
    for _ in 0..SHARE {
        let port = first + *next;
        *next = (*next + 1) % SHARE;
        if TcpListener::bind((Ipv4Addr::LOCALHOST, port)).is_ok() {
            return port;
        }
    }
    panic!("all ports from {first} to {} are in use", first + SHARE - 1);
}

/// Returns the first port of this process's share.
fn share() -> u16 {
    // The socket goes with the process, so a share is never left reserved.
    static SHARE_OF_PROCESS: OnceLock<(u16, UnixListener)> = OnceLock::new();
    let reserve = |number: u16| {
        let address = SocketAddr::from_abstract_name(format!("mod_wsgi-e2e-ports-{number}")).ok()?;
        Some((FIRST + number * SHARE, UnixListener::bind_addr(&address).ok()?))
    };
    let taken = || format!("{SHARES} test processes run already: wait until one has ended");
    SHARE_OF_PROCESS.get_or_init(|| (0..SHARES).find_map(reserve).unwrap_or_else(|| panic!("{}", taken()))).0
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_port_is_handed_out_twice() {
        let mut ports: Vec<u16> = (0..100).map(|_| free_port()).collect();
        ports.sort_unstable();
        ports.dedup();
        assert_eq!(ports.len(), 100);
    }

    #[test]
    fn a_port_on_which_somebody_listens_is_passed_over() {
        let port = free_port();
        let next = if port + 1 == share() + SHARE { share() } else { port + 1 };
        // Another test of this process may have got it.
        let held = TcpListener::bind((Ipv4Addr::LOCALHOST, next));
        assert!(held.is_err() || free_port() != next);
    }
}
