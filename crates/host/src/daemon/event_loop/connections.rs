//! New connections of the children.

use std::io::ErrorKind;
use std::os::fd::OwnedFd;
use std::os::unix::net::UnixStream;
use std::time::{Duration, Instant};

use bridge::Level;
use nix::sys::epoll::{EpollEvent, EpollFlags};
use os::descriptors::{Wait, receive_with};

use super::{CHANNEL, EventLoop};
use crate::daemon::incoming::send_hello;
use crate::daemon::log;
use crate::daemon::workers::READABLE;
use wsgi_core::codes::CONNECTION_NOT_TAKEN;
use wsgi_core::wire::channel;

/// The pause after a connection could not be taken.
const PAUSE: Duration = Duration::from_millis(100);
/// The interval of log lines about that.
const BETWEEN_COMPLAINTS: Duration = Duration::from_secs(10);

impl EventLoop {
    /// Takes the connections that children have sent.
    pub(super) fn on_connection(&mut self) {
        // A limited number, so that other events get their share.
        for _ in 0..64 {
            let Some(endpoint) = &self.endpoints.channel else { return };
            match receive_with(endpoint, &mut [0; channel::LONGEST], Wait::Never) {
                Err(error) if error.kind() == ErrorKind::WouldBlock => return,
                Err(error) => return self.pause(&error.to_string()),
                Ok((0, _)) => {
                    self.daemon.info("all clients of the process are gone, it ends");
                    return self.drain(self.daemon.limits.graceful_timeout);
                }
                Ok((_, sockets)) => sockets.into_iter().for_each(|socket| self.add(socket)),
            }
            if self.daemon.is_run_once && !self.daemon.connections.is_empty() {
                // Other connections wait in the channel, for the next process.
                if let Some(channel) = &self.endpoints.channel {
                    let _ = self.watch.delete(channel);
                }
                self.has_enough = true;
                return;
            }
        }
    }

    /// Has workers wait for requests on a new connection.
    fn add(&self, socket: OwnedFd) {
        let daemon = self.daemon;
        let stream = UnixStream::from(socket);
        let timeout = daemon.limits.socket_timeout;
        let timeout = (timeout > 0).then(|| Duration::from_millis(timeout));
        // The process reads only data that it has asked for: the child replies when the client
        // does, or the client's time is over. A time-out here would spoil that reply.
        if os::descriptors::set_timeouts(&stream, None, timeout).is_err() || !send_hello(&stream) {
            return;
        }
        if let Some(connection) = daemon.connections.insert(stream)
            && daemon.ready.add(&*connection, EpollEvent::new(READABLE, connection.token())).is_err()
            && connection.claim()
        {
            daemon.connections.remove(&connection);
        }
    }

    /// Takes no connections for a while after a failure, most likely for lack of descriptors. The
    /// child makes another one.
    fn pause(&mut self, error: &str) {
        if self.complained.is_none_or(|last| last.elapsed() > BETWEEN_COMPLAINTS) {
            self.complained = Some(Instant::now());
            log::line(
                Level::Error,
                &format!(
                    "{CONNECTION_NOT_TAKEN}: Process group '{}': a connection cannot be taken: {error}. If the application leaves files \
                     or sockets open, close them; or allow the process more descriptors (ulimit -n).",
                    self.daemon.name
                ),
            );
        }
        if let Some(channel) = &self.endpoints.channel {
            let _ = self.watch.delete(channel);
        }
        self.accept_again = Some(Instant::now() + PAUSE);
    }

    /// Takes connections from now on, if the process serves.
    pub(super) fn listen(&mut self) {
        if let Some(channel) = self.endpoints.channel.as_ref().filter(|_| self.is_serving()) {
            let _ = self.watch.add(channel, EpollEvent::new(EpollFlags::EPOLLIN, CHANNEL));
        }
    }

    /// Takes the next connection in a process for one request, if the last one brought none.
    pub(super) fn take_another(&mut self) {
        let daemon = self.daemon;
        if self.has_enough && daemon.activity.is_open() && daemon.connections.is_empty() {
            self.has_enough = false;
            self.listen();
        }
    }
}
