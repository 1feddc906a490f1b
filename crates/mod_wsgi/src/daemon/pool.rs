//! The connections of a child to daemon processes.

use std::io;
use std::ops::Range;
use std::os::fd::OwnedFd;
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Arc, Mutex};
use std::task::Poll;
use std::time::Duration;

use os::descriptors::{self, Kind, Wait};
use os::lock::lock;
use os::spin::AdaptiveSpin;

use super::generation::Generation;

/// A connection to the process of a slot. It is idle between requests.
#[derive(Debug)]
pub(super) struct Connection {
    pub(super) socket: OwnedFd,
    /// The slot of the process.
    pub(super) slot: usize,
    /// The process id; 0 until the process has sent it.
    pub(super) pid: u32,
    /// Set if it has been used before. The process may have closed it meanwhile.
    pub(super) is_used: bool,
    /// Set if the request had the server to itself when it was sent.
    pub(super) is_alone: bool,
    /// The state of waiting awake for the process.
    pub(super) spin: AdaptiveSpin,
    /// The buffer for received data.
    pub(super) incoming: Vec<u8>,
    /// The buffer for data to send.
    pub(super) outgoing: Vec<u8>,
}

/// The least room for a read, in bytes.
const BLOCK: usize = 64 * 1024;

/// The longest time for which a thread stays awake to wait for the process.
const AWAKE_TIME: Duration = Duration::from_micros(100);

/// The largest buffer that an idle connection keeps for each direction, in bytes.
const LARGEST_IDLE_BUFFER: usize = 64 * 1024;

impl Connection {
    /// Receives data, behind the first `start` bytes of the buffer, and descriptors. Fails with
    /// [`io::ErrorKind::WouldBlock`] if nothing arrives within a tick. The thread stays awake at
    /// first if `may_spin`, as long as `is_quiet` says so.
    pub(super) fn receive(
        &mut self,
        start: usize,
        may_spin: bool,
        is_quiet: impl Fn() -> bool,
    ) -> io::Result<(usize, Vec<OwnedFd>)> {
        let Self { socket, incoming, spin, .. } = self;
        let space = &mut incoming[start..];
        if may_spin {
            let found =
                spin.poll(AWAKE_TIME, || match descriptors::receive_with(&*socket, space, Wait::Never) {
                    Err(error) if error.kind() == io::ErrorKind::WouldBlock => {
                        if is_quiet() {
                            Poll::Pending
                        } else {
                            Poll::Ready(None)
                        }
                    }
                    received => Poll::Ready(Some(received)),
                });
            if let Some(received) = found {
                return received;
            }
        }
        descriptors::receive_with(&*socket, space, Wait::Allowed)
    }

    /// Makes room in the buffer for `length` bytes from the first unread one on. Returns the new
    /// place of the unread ones.
    pub(super) fn make_room(&mut self, mut unread: Range<usize>, length: usize) -> Range<usize> {
        let incoming = &mut self.incoming;
        if unread.is_empty() {
            unread = 0..0;
        } else if unread.start + length > incoming.len() {
            incoming.copy_within(unread.clone(), 0);
            unread = 0..unread.len();
        }
        if unread.start + length > incoming.len() {
            incoming.resize((unread.start + length).max(BLOCK), 0);
        }
        unread
    }

    /// Frees buffers that only unusual requests need.
    pub(super) fn shrink(&mut self) {
        for buffer in [&mut self.incoming, &mut self.outgoing] {
            if buffer.capacity() > LARGEST_IDLE_BUFFER {
                *buffer = Vec::new();
            }
        }
    }
}

/// The idle connections of a child, by slot. The one that was used last is taken first.
#[derive(Debug)]
pub(super) struct IdleConnections(Vec<SlotConnections>);

#[derive(Debug, Default)]
struct SlotConnections {
    connections: Mutex<Vec<Connection>>,
    /// The number of active requests of this child.
    requests: AtomicU32,
}

/// Counts a request as active until it is dropped.
#[derive(Debug)]
pub(super) struct ActiveRequest<'a>(&'a AtomicU32);

impl Drop for ActiveRequest<'_> {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::Relaxed);
    }
}

impl IdleConnections {
    pub(super) fn new(generation: &Generation) -> Self {
        Self((0..generation.slot_count()).map(|_| SlotConnections::default()).collect())
    }

    /// Counts a request to the process of a slot as active, until the result is dropped.
    pub(super) fn begin_request(&self, slot: usize) -> Option<ActiveRequest<'_>> {
        let requests = &self.0.get(slot)?.requests;
        requests.fetch_add(1, Ordering::Relaxed);
        Some(ActiveRequest(requests))
    }

    /// Returns the number of active requests of this child to the process of a slot.
    pub(super) fn active_requests(&self, slot: usize) -> u32 {
        self.0.get(slot).map_or(0, |slot| slot.requests.load(Ordering::Relaxed))
    }

    /// Takes an idle connection to the process of a slot. Returns `None` if there is none.
    pub(super) fn take(&self, slot: usize) -> Option<Connection> {
        self.with(slot, Vec::pop)?
    }

    /// Keeps a connection for the next request, unless there are `most` already, as many as the
    /// process serves at a time.
    pub(super) fn put_back(&self, connection: Connection, most: usize) {
        let superfluous = self.with(connection.slot, |idle| {
            if idle.len() >= most {
                return Some(connection);
            }
            idle.push(Connection { is_used: true, ..connection });
            None
        });
        drop(superfluous);
    }

    /// Closes the idle connections of a slot, whose process has closed one and is about to close
    /// all.
    pub(super) fn close_all(&self, slot: usize) {
        let forgotten = self.with(slot, std::mem::take);
        drop(forgotten);
    }

    fn with<R>(&self, slot: usize, work: impl FnOnce(&mut Vec<Connection>) -> R) -> Option<R> {
        let connections = &self.0.get(slot)?.connections;
        Some(work(&mut lock(connections)))
    }
}

/// The time that a read waits before the client is checked.
pub(super) const TICK: Duration = Duration::from_millis(100);

/// The properties of new connections.
#[derive(Debug, Clone, Copy)]
pub(super) struct ConnectionOptions {
    /// The timeout of a read, after which the client is checked.
    pub(super) receive: Duration,
    /// The timeout of a write.
    pub(super) send: Duration,
    /// `send-buffer-size=` and `receive-buffer-size=`.
    pub(super) buffers: (Option<usize>, Option<usize>),
}

/// Makes a connection to the process of a slot.
pub(super) fn connect(
    generation: &Arc<Generation>,
    slot: usize,
    options: ConnectionOptions,
) -> io::Result<Connection> {
    let (socket, far) = descriptors::pair(Kind::Stream)?;
    descriptors::set_timeouts(&socket, Some(options.receive), Some(options.send))?;
    // On local sockets, what has been sent counts in the sender's buffer until it is received.
    let (send, receive) = options.buffers;
    descriptors::set_buffers(&socket, send, None)?;
    descriptors::set_buffers(&far, receive, None)?;
    generation.pass(slot, &far)?;
    let (incoming, outgoing) = (Vec::new(), Vec::new());
    Ok(Connection {
        socket,
        slot,
        pid: 0,
        is_used: false,
        is_alone: false,
        spin: AdaptiveSpin::default(),
        incoming,
        outgoing,
    })
}

/// Sends all of `bytes`.
pub(super) fn send(socket: &OwnedFd, mut bytes: &[u8]) -> io::Result<()> {
    while !bytes.is_empty() {
        let sent = descriptors::send_with(socket, bytes, &[], Wait::Allowed)?;
        bytes = &bytes[sent..];
    }
    Ok(())
}
