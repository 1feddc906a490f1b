//! A collector of telemetry, as far as tests need one: it keeps what it gets.

use std::collections::HashMap;
use std::fs::{self, Permissions};
use std::os::unix::fs::PermissionsExt as _;
use std::os::unix::net::UnixDatagram;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::thread::JoinHandle;
use std::time::Duration;

use crate::python::open;
use crate::wait_until;

/// A collector, which reads datagrams on a thread of its own.
pub struct Collector {
    path: PathBuf,
    /// Removed with the collector.
    directory: Option<tempfile::TempDir>,
    received: Arc<Mutex<Vec<Report>>>,
    is_over: Arc<AtomicBool>,
    thread: Option<JoinHandle<()>>,
}

/// A datagram.
#[derive(Clone, Debug)]
pub struct Report {
    /// The number of its kind.
    pub kind: u8,
    /// The process that has sent it.
    pub pid: u32,
    /// Its number among those of the process.
    pub sequence: u32,
    /// The time when it was sent, in seconds since the epoch.
    pub stamp: f64,
    fields: HashMap<u16, Value>,
}

#[derive(Clone, Debug)]
enum Value {
    Number(f64),
    Text(Vec<u8>),
    Numbers(Vec<f64>),
}

impl Collector {
    /// Binds a socket that every user may write to.
    ///
    /// # Panics
    /// It cannot be made.
    #[must_use]
    pub fn bind() -> Self {
        let directory = tempfile::Builder::new().prefix("e2e-t-").tempdir_in("/tmp");
        let directory = directory.unwrap_or_else(|error| panic!("no temporary directory in /tmp: {error}"));
        open(directory.path());
        let mut collector = Self::bind_at(&directory.path().join("socket"));
        collector.directory = Some(directory);
        collector
    }

    /// Binds a socket at a path, in place of what is there.
    ///
    /// # Panics
    /// It cannot be made.
    #[must_use]
    pub fn bind_at(path: &Path) -> Self {
        let _ = fs::remove_file(path);
        let (received, is_over) = (Arc::<Mutex<Vec<Report>>>::default(), Arc::new(AtomicBool::new(false)));
        let socket = UnixDatagram::bind(path)
            .and_then(|socket| {
                fs::set_permissions(path, Permissions::from_mode(0o666))?;
                socket.set_read_timeout(Some(Duration::from_millis(50)))?;
                Ok(socket)
            })
            .unwrap_or_else(|error| panic!("{}: {error}", path.display()));
        let (reports, over) = (Arc::clone(&received), Arc::clone(&is_over));
        let thread = std::thread::spawn(move || {
            let mut buffer = vec![0; 65536];
            while !over.load(Ordering::Relaxed) {
                if let Ok(length) = socket.recv(&mut buffer) {
                    let report = Report::parse(&buffer[..length]);
                    reports.lock().unwrap_or_else(PoisonError::into_inner).push(report);
                }
            }
        });
        Self { path: path.to_owned(), directory: None, received, is_over, thread: Some(thread) }
    }

    /// Returns the path of the socket.
    #[must_use]
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Returns all that has come so far.
    #[must_use]
    pub fn all(&self) -> Vec<Report> {
        self.lock().clone()
    }

    /// Returns the reports that `wanted` accepts.
    #[must_use]
    pub fn select(&self, wanted: impl Fn(&Report) -> bool) -> Vec<Report> {
        self.lock().iter().filter(|report| wanted(report)).cloned().collect()
    }

    /// Waits for a report that `wanted` accepts, and returns the first.
    ///
    /// # Panics
    /// None has come.
    pub fn wait(&self, what: &str, wanted: impl Fn(&Report) -> bool) -> Report {
        wait_until(what, || self.lock().iter().find(|report| wanted(report)).cloned())
    }

    fn lock(&self) -> MutexGuard<'_, Vec<Report>> {
        self.received.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Drop for Collector {
    fn drop(&mut self) {
        self.is_over.store(true, Ordering::Relaxed);
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
    }
}

impl Report {
    /// Parses a datagram, which has to be a valid one to the last byte.
    ///
    /// # Panics
    /// It is not.
    #[must_use]
    pub fn parse(datagram: &[u8]) -> Self {
        let mut rest = datagram;
        assert_eq!(&take::<4>(&mut rest), b"WSGI", "no telemetry: {datagram:?}");
        let [version, kind, flags @ ..] = take::<4>(&mut rest);
        assert_eq!((version, flags), (1, [0, 0]), "{datagram:?}");
        assert!(datagram.len() <= 8192, "{} bytes", datagram.len());
        let (pid, sequence) = (u32::from_le_bytes(take(&mut rest)), u32::from_le_bytes(take(&mut rest)));
        let stamp = f64::from_le_bytes(take(&mut rest));
        let mut fields = HashMap::new();
        while !rest.is_empty() {
            let id = u16::from_le_bytes(take(&mut rest));
            let [form] = take(&mut rest);
            let count = if form >= 4 { usize::from(u16::from_le_bytes(take(&mut rest))) } else { 1 };
            let value = match form {
                1 => Value::Number(u64::from_le_bytes(take(&mut rest)) as f64),
                2 => Value::Number(f64::from_le_bytes(take(&mut rest))),
                4 => {
                    let (text, after) = rest.split_at(count);
                    rest = after;
                    Value::Text(text.to_vec())
                }
                5 => Value::Numbers((0..count).map(|_| i32::from_le_bytes(take(&mut rest)).into()).collect()),
                6 => Value::Numbers((0..count).map(|_| f64::from_le_bytes(take(&mut rest))).collect()),
                _ => panic!("the field {id} has the type {form}: {datagram:?}"),
            };
            assert!(fields.insert(id, value).is_none(), "the field {id} is there twice: {datagram:?}");
        }
        Self { kind, pid, sequence, stamp, fields }
    }

    /// Returns whether there is a field.
    #[must_use]
    pub fn has(&self, id: u16) -> bool {
        self.fields.contains_key(&id)
    }

    /// Returns a number.
    ///
    /// # Panics
    /// The field is not there, or is no number.
    #[must_use]
    pub fn number(&self, id: u16) -> f64 {
        match self.fields.get(&id) {
            Some(Value::Number(number)) => *number,
            other => panic!("the field {id} is {other:?} in {self:?}"),
        }
    }

    /// Returns a text; empty if it is not there.
    ///
    /// # Panics
    /// The field is no text.
    #[must_use]
    pub fn text(&self, id: u16) -> String {
        match self.fields.get(&id) {
            None => String::new(),
            Some(Value::Text(text)) => String::from_utf8_lossy(text).into_owned(),
            other => panic!("the field {id} is {other:?} in {self:?}"),
        }
    }

    /// Returns a list.
    ///
    /// # Panics
    /// The field is not there, or is no list.
    #[must_use]
    pub fn numbers(&self, id: u16) -> &[f64] {
        match self.fields.get(&id) {
            Some(Value::Numbers(numbers)) => numbers,
            other => panic!("the field {id} is {other:?} in {self:?}"),
        }
    }
}

fn take<const N: usize>(rest: &mut &[u8]) -> [u8; N] {
    let (taken, after) =
        rest.split_first_chunk().unwrap_or_else(|| panic!("a datagram is cut off: {rest:?}"));
    *rest = after;
    *taken
}
