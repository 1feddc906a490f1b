//! The way to the collector.

use std::io::{self, ErrorKind};
use std::os::unix::ffi::OsStrExt;
use std::os::unix::net::{SocketAddr, UnixDatagram};
use std::path::Path;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use bridge::Level;
use nix::sys::socket::{setsockopt, sockopt};
use wsgi_core::codes::TELEMETRY_LOST;

use crate::daemon::descriptors;
use crate::process::log;

/// The room for datagrams that the collector has not read. (The number of them is up to the system:
/// `net.unix.max_dgram_qlen`.)
const ROOM: usize = 64 << 10;

/// The pause before another attempt, while the collector has as many datagrams as it may have.
const PAUSE: Duration = Duration::from_millis(2);

/// A socket that sends to the collector, whichever process that is at the time.
pub(super) struct Socket {
    socket: UnixDatagram,
    /// Tells the socket from whatever else may get its descriptor.
    identity: (u64, u64),
    collector: SocketAddr,
    has_complained: AtomicBool,
}

impl Socket {
    /// Creates the socket. The collector need not be there yet.
    pub(super) fn new(path: &[u8]) -> Result<Self, String> {
        let path = Path::new(std::ffi::OsStr::from_bytes(path));
        let collector = SocketAddr::from_pathname(path).map_err(|error| {
            format!(
                "No telemetry is reported: '{}' of WSGITelemetryService cannot be the path of a socket: {error}. Choose a \
                 shorter one",
                path.display()
            )
        })?;
        let open = || {
            let socket = UnixDatagram::unbound()?;
            socket.set_nonblocking(true)?;
            let identity = os::file::identity(&socket)?;
            io::Result::Ok((socket, identity))
        };
        let (socket, identity) = open().map_err(|error| {
            format!(
                "No telemetry is reported, no socket can be made: {error}. Allow more open files (ulimit -n)"
            )
        })?;
        // It is a wish: with less room, less fits.
        let _ = setsockopt(&socket, sockopt::SndBuf, &ROOM);
        descriptors::register(&socket);
        Ok(Self { socket, identity, collector, has_complained: AtomicBool::new(false) })
    }

    /// Sends a datagram. If the collector has too many unread ones, tries again until `deadline`.
    /// Says once in the log that it could not be sent.
    pub(super) fn send(&self, datagram: &[u8], deadline: Option<Instant>) {
        if let Err(error) = self.try_send(datagram, deadline) {
            self.complain(&error);
        }
    }

    /// Sends a datagram like [`send`](Self::send), without a line in the log: a collector that ends
    /// with the server may do so first.
    pub(super) fn send_last(&self, datagram: &[u8], deadline: Option<Instant>) {
        let _ = self.try_send(datagram, deadline);
    }

    fn try_send(&self, datagram: &[u8], deadline: Option<Instant>) -> io::Result<()> {
        self.check()?;
        loop {
            match self.socket.send_to_addr(datagram, &self.collector) {
                Ok(_) => return Ok(()),
                Err(error) if error.kind() == ErrorKind::Interrupted => {}
                Err(error)
                    if error.kind() == ErrorKind::WouldBlock
                        && deadline.is_some_and(|deadline| Instant::now() < deadline) =>
                {
                    std::thread::sleep(PAUSE);
                }
                Err(error) => return Err(error),
            }
        }
    }

    /// Fails if an application has closed the descriptor, which then may be a connection to a
    /// client: that would take a datagram for a part of its response.
    fn check(&self) -> io::Result<()> {
        if os::file::identity(&self.socket).is_ok_and(|identity| identity == self.identity) {
            return Ok(());
        }
        // A forked copy of the process must not close what the application has there now.
        descriptors::unregister(&self.socket);
        Err(io::Error::other("an application has closed its descriptor, as os.closerange() does"))
    }

    #[cold]
    fn complain(&self, error: &io::Error) {
        if self.has_complained.swap(true, Ordering::Relaxed) {
            return;
        }
        let path = self.collector.as_pathname().unwrap_or(Path::new("")).display();
        let text = match error.kind() {
            ErrorKind::WouldBlock => format!(
                "the collector at '{path}' does not read fast enough. Look whether it hangs, or raise interval= of \
                 WSGITelemetryService or the system's net.unix.max_dgram_qlen"
            ),
            ErrorKind::PermissionDenied => format!(
                "this process must not write to the socket '{path}'. Give its user or group permission, also to enter the \
                 directories above (--socket-mode and --socket-group of mod_wsgi-telemetry)"
            ),
            ErrorKind::NotFound | ErrorKind::ConnectionRefused => {
                format!(
                    "nobody reads from the socket '{path}'. Start the collector, or correct WSGITelemetryService"
                )
            }
            _ => format!("sending to the socket '{path}' failed: {error}"),
        };
        log(
            Level::Warning,
            &format!("{TELEMETRY_LOST}: Telemetry gets lost: {text}. This is not logged again"),
        );
    }
}

#[cfg(test)]
mod tests {
    use std::io::Read;
    use std::net::{Ipv4Addr, TcpListener, TcpStream};
    use std::os::fd::OwnedFd;

    use super::*;

    #[test]
    fn what_has_got_the_descriptor_gets_no_datagram() {
        let path = std::env::temp_dir().join(format!("wsgi-telemetry-{}", std::process::id()));
        let collector = UnixDatagram::bind(&path).unwrap();
        let socket = Socket::new(path.as_os_str().as_bytes()).unwrap();
        socket.try_send(b"first", None).unwrap();
        assert_eq!(collector.recv(&mut [0; 9]).unwrap(), 5);

        // TCP does not mind the address of a datagram.
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
        let mut client = TcpStream::connect(listener.local_addr().unwrap()).unwrap();
        let (server, _) = listener.accept().unwrap();
        let mut descriptor = OwnedFd::from(socket.socket);
        nix::unistd::dup2(&server, &mut descriptor).unwrap();
        let socket = Socket { socket: descriptor.into(), ..socket };
        assert!(socket.try_send(b"second", None).is_err());
        drop((socket, server));
        let mut received = Vec::new();
        client.read_to_end(&mut received).unwrap();
        assert_eq!(received, b"");
        std::fs::remove_file(path).unwrap();
    }
}
