//! Connections to Apache children, and their claims.
//!
//! A connection is idle (the shared epoll reports when it becomes readable), or claimed: by a
//! worker for a request, or by the event thread to reject one. The claimant releases or closes it.

#![expect(clippy::disallowed_types, reason = "connections are found and freed under it, without Python")]

use std::os::fd::{AsFd, BorrowedFd};
use std::os::unix::net::UnixStream;
use std::sync::atomic::{AtomicU8, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, OnceLock};

use os::lock::lock;

use super::descriptors;

/// Connections of a part of the table, which is allocated when it is needed.
const PART: usize = 64;
/// Parts: more connections than a process has descriptors.
const PARTS: usize = 4096;

const IDLE: u8 = 0;
const CLAIMED: u8 = 1;

/// A connection.
#[derive(Debug)]
pub(crate) struct Connection {
    stream: UnixStream,
    token: u64,
    state: AtomicU8,
    /// The time when the event thread first saw that a request waits, in milliseconds of the
    /// process; 0: none does.
    pub(crate) waiting_since: AtomicU64,
}

impl Connection {
    /// Returns its name in the epoll.
    pub(crate) const fn token(&self) -> u64 {
        self.token
    }

    pub(crate) const fn stream(&self) -> &UnixStream {
        &self.stream
    }

    /// Claims it. Returns whether it was idle.
    pub(crate) fn claim(&self) -> bool {
        self.state.compare_exchange(IDLE, CLAIMED, Ordering::SeqCst, Ordering::Relaxed).is_ok()
    }

    /// Returns whether it is not claimed.
    pub(crate) fn is_idle(&self) -> bool {
        self.state.load(Ordering::SeqCst) == IDLE
    }

    /// Releases it.
    pub(crate) fn release(&self) {
        self.waiting_since.store(0, Ordering::Relaxed);
        self.state.store(IDLE, Ordering::SeqCst);
    }
}

impl AsFd for Connection {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.stream.as_fd()
    }
}

impl Drop for Connection {
    fn drop(&mut self) {
        descriptors::unregister(&self.stream);
    }
}

/// A table of all connections. Finding one takes only that connection's lock.
#[derive(Debug)]
pub(crate) struct Table {
    parts: Box<[OnceLock<Box<[Entry]>>]>,
    free: Mutex<Free>,
}

type Entry = Mutex<Option<Arc<Connection>>>;

#[derive(Debug, Default)]
struct Free {
    indices: Vec<u32>,
    /// The number of indices that have ever been used.
    used: u32,
    /// The next serial number: an index that is used again has another token.
    serial: u32,
}

impl Default for Table {
    fn default() -> Self {
        Self { parts: (0..PARTS).map(|_| OnceLock::new()).collect(), free: Mutex::default() }
    }
}

impl Table {
    /// Adds an idle connection. Returns `None` if there is no room.
    pub(crate) fn insert(&self, stream: UnixStream) -> Option<Arc<Connection>> {
        let (index, serial) = {
            let mut free = lock(&self.free);
            let index = match free.indices.pop() {
                Some(index) => index,
                None if (free.used as usize) < PART * PARTS => {
                    free.used += 1;
                    free.used - 1
                }
                None => return None,
            };
            // The tokens of the event thread and of the workers themselves have no serial number.
            free.serial = free.serial.checked_add(1).unwrap_or(1);
            (index, free.serial)
        };
        descriptors::register(&stream);
        let connection = Arc::new(Connection {
            stream,
            token: u64::from(serial) << 32 | u64::from(index),
            state: AtomicU8::new(IDLE),
            waiting_since: AtomicU64::new(0),
        });
        *lock(self.entry(index)?) = Some(Arc::clone(&connection));
        Some(connection)
    }

    /// Returns the connection with this token, if it exists.
    pub(crate) fn find(&self, token: u64) -> Option<Arc<Connection>> {
        let entry = lock(self.entry(token as u32)?);
        entry.as_ref().filter(|connection| connection.token == token).cloned()
    }

    /// Removes a connection that the caller has claimed; it is closed after its last use.
    pub(crate) fn remove(&self, connection: &Connection) {
        let index = connection.token as u32;
        if let Some(entry) = self.entry(index)
            && lock(entry).take_if(|held| held.token == connection.token).is_some()
        {
            lock(&self.free).indices.push(index);
        }
    }

    /// Returns whether there is no connection.
    pub(crate) fn is_empty(&self) -> bool {
        let free = lock(&self.free);
        free.indices.len() == free.used as usize
    }

    /// Returns all connections.
    pub(crate) fn all(&self) -> Vec<Arc<Connection>> {
        let used = lock(&self.free).used;
        (0..used).filter_map(|index| lock(self.entry(index)?).clone()).collect()
    }

    fn entry(&self, index: u32) -> Option<&Entry> {
        let index = index as usize;
        let part = self.parts.get(index / PART)?;
        part.get_or_init(|| (0..PART).map(|_| Mutex::default()).collect()).get(index % PART)
    }
}
