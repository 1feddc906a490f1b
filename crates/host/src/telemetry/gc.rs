//! The garbage collector of an interpreter, as its callbacks (`gc.callbacks`) see it.
//!
//! What only Python tells is noted by requests, once between two samples: the reporter enters no
//! interpreter. Collections are counted by the callback, so they are known to the last.

use std::collections::VecDeque;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicI64, AtomicU64, Ordering};
use std::time::{Duration, Instant};

use python::{Object, Py, Python, Result};
use wsgi_core::telemetry::{GcEvent, GcSnapshot};

use crate::locked::{Gathered, Locked};

/// The most collections that are kept.
const MOST_KEPT: usize = 256;

/// The most collections that are reported with one sample.
const MOST_REPORTED: usize = 64;

/// The most interpreters that are reported with one sample.
const MOST_INTERPRETERS: usize = 32;

/// Those of all interpreters, in the order of their creation.
static COLLECTORS: Locked<Vec<Arc<Collector>>> = Locked::new(Vec::new());

/// The garbage collector of an interpreter.
pub(crate) struct Collector {
    /// The application group.
    name: Vec<u8>,
    gathered: Gathered<Gained>,
    /// The begin of the collection that is running, in microseconds since the epoch.
    start: AtomicI64,
    /// The same in nanoseconds since `origin`; 0: none is running.
    begin: AtomicU64,
    origin: Instant,
    /// A sample has been taken since the last request.
    is_due: AtomicBool,
    /// The state at the last sample. Only the reporter uses it.
    known: Locked<Known>,
}

/// The events since the last sample.
#[derive(Default)]
struct Gained {
    events: VecDeque<GcEvent>,
    dropped: u64,
    /// By generation.
    collections: [u64; 3],
    collected: [u64; 3],
    uncollectable: [u64; 3],
    /// The notes of a request: counts, thresholds, and the rest.
    noted: Option<GcSnapshot>,
}

#[derive(Default)]
struct Known {
    snapshot: GcSnapshot,
    events: VecDeque<GcEvent>,
}

/// The state of a collector, with collections, for a sample.
pub(super) struct GcReport {
    /// The application group.
    pub(super) interpreter: Vec<u8>,
    pub(super) snapshot: GcSnapshot,
    pub(super) dropped: u64,
    pub(super) events: Vec<GcEvent>,
}

impl Collector {
    /// Creates the collector of an application group.
    pub(crate) fn new(name: &[u8]) -> Arc<Self> {
        Arc::new(Self {
            name: name.to_owned(),
            gathered: Gathered::default(),
            start: AtomicI64::new(0),
            begin: AtomicU64::new(0),
            origin: Instant::now(),
            is_due: AtomicBool::new(true),
            known: Locked::default(),
        })
    }

    /// Notes that a collection begins.
    pub(crate) fn begin(&self) {
        self.start.store(os::clock::microseconds(), Ordering::Relaxed);
        self.begin.store(self.time(), Ordering::Relaxed);
    }

    /// Notes the end of a collection, of which Python gives `info`.
    pub(crate) fn end(&self, py: Python<'_>, info: &Object) -> Result<()> {
        // It is the interpreter's lock that makes begin and end one pair.
        let (end, begin) = (self.time(), self.begin.swap(0, Ordering::Relaxed));
        if begin == 0 {
            return Ok(());
        }
        let item = |key: &str| -> Result<u64> {
            let value = info.dict_get(&py.name(key)?)?;
            Ok(value
                .map(|value| value.to_i64())
                .transpose()?
                .and_then(|value| u64::try_from(value).ok())
                .unwrap_or(0))
        };
        let (generation, collected, uncollectable) =
            (item("generation")?, item("collected")?, item("uncollectable")?);
        let (start, duration) =
            (self.start.load(Ordering::Relaxed), Duration::from_nanos(end.saturating_sub(begin)));
        let event = GcEvent { start, duration, generation, collected, uncollectable };
        self.gathered.add(|gained| gained.add(event));
        Ok(())
    }

    /// Returns the nanoseconds since the origin, never 0.
    fn time(&self) -> u64 {
        u64::try_from(self.origin.elapsed().as_nanos()).unwrap_or(u64::MAX - 1) + 1
    }

    /// Takes what has gathered.
    fn report(&self) -> GcReport {
        self.known.with(|Known { snapshot, events }| {
            let mut dropped = 0;
            self.gathered.each(|gained| {
                let gained = std::mem::take(gained);
                if let Some(noted) = gained.noted {
                    let GcSnapshot { counts, thresholds, is_enabled, frozen, .. } = noted;
                    *snapshot = GcSnapshot { counts, thresholds, is_enabled, frozen, ..*snapshot };
                }
                for index in 0..3 {
                    snapshot.collections[index] += gained.collections[index];
                    snapshot.collected[index] += gained.collected[index];
                    snapshot.uncollectable[index] += gained.uncollectable[index];
                }
                dropped += gained.dropped;
                events.extend(gained.events);
            });
            // They come from two halves.
            events.make_contiguous().sort_by_key(|event| event.start);
            let excess = events.len().saturating_sub(MOST_KEPT);
            events.drain(..excess);
            let reported = events.drain(..events.len().min(MOST_REPORTED)).collect();
            GcReport {
                interpreter: self.name.clone(),
                snapshot: *snapshot,
                dropped: dropped + excess as u64,
                events: reported,
            }
        })
    }
}

impl Gained {
    fn add(&mut self, event: GcEvent) {
        let index = usize::try_from(event.generation).unwrap_or(2).min(2);
        self.collections[index] += 1;
        self.collected[index] += event.collected;
        self.uncollectable[index] += event.uncollectable;
        if self.events.len() == MOST_KEPT {
            self.events.pop_front();
            self.dropped += 1;
        }
        self.events.push_back(event);
    }
}

/// Returns the reports of all interpreters. The main one has no name, and is the first.
pub(super) fn reports() -> Vec<GcReport> {
    let collectors: Vec<_> =
        COLLECTORS.with(|collectors| collectors.iter().take(MOST_INTERPRETERS).cloned().collect());
    let reports = collectors.iter().map(|collector| {
        collector.is_due.store(true, Ordering::Relaxed);
        collector.report()
    });
    reports.collect()
}

/// The means to note the state of an interpreter's collector.
pub(crate) struct GcWatch {
    collector: Arc<Collector>,
    count: Py,
    threshold: Py,
    is_enabled: Py,
    freeze_count: Py,
}

impl GcWatch {
    /// Has an interpreter's collections noted from now on, by calling `callback`.
    pub(crate) fn start(py: Python<'_>, collector: &Arc<Collector>, callback: &Object) -> Result<Self> {
        let module = py.import(c"gc")?;
        let function = |name: &str| module.attr(&py.name(name)?).map(Py::new);
        let watch = Self {
            collector: Arc::clone(collector),
            count: function("get_count")?,
            threshold: function("get_threshold")?,
            is_enabled: function("isenabled")?,
            freeze_count: function("get_freeze_count")?,
        };
        let statistics = module.attr(&py.name("get_stats")?)?.call([])?;
        let mut snapshot = GcSnapshot::default();
        for index in 0..3 {
            let Some(generation) = statistics.item(index) else { break };
            let value = |key: &str| -> Result<u64> {
                let value = generation.dict_get(&py.name(key)?)?;
                Ok(value.map(|value| number(&value)).unwrap_or(0))
            };
            snapshot.collections[index] = value("collections")?;
            snapshot.collected[index] = value("collected")?;
            snapshot.uncollectable[index] = value("uncollectable")?;
        }
        collector.known.with(|known| known.snapshot = snapshot);
        module.attr(&py.name("callbacks")?)?.list_append(callback)?;
        watch.note(py);
        let collector = Arc::clone(collector);
        COLLECTORS.with(|collectors| collectors.push(collector));
        Ok(watch)
    }

    /// Notes the state, if a sample has been taken since the last time.
    #[inline]
    pub(crate) fn note_if_due(&self, py: Python<'_>) {
        if self.collector.is_due.load(Ordering::Relaxed) {
            self.note(py);
        }
    }

    #[cold]
    fn note(&self, py: Python<'_>) {
        self.collector.is_due.store(false, Ordering::Relaxed);
        // An application may have replaced the functions. What cannot be read is 0.
        let read = |function: &Py| function.get(py).call([]).map_err(python::Raised::clear).ok();
        let three = |function: &Py| {
            let tuple = read(function);
            [0, 1, 2].map(|index| {
                tuple.as_ref().and_then(|tuple| tuple.item(index)).map_or(0, |item| number(&item))
            })
        };
        let noted = GcSnapshot {
            counts: three(&self.count),
            thresholds: three(&self.threshold),
            is_enabled: read(&self.is_enabled).is_some_and(|value| {
                value.is_true().unwrap_or_else(|raised| {
                    raised.clear();
                    false
                })
            }),
            frozen: read(&self.freeze_count).map_or(0, |value| number(&value)),
            ..GcSnapshot::default()
        };
        if self.collector.name.is_empty() {
            super::python::note(py).unwrap_or_else(python::Raised::clear);
        }
        self.collector.gathered.add(|gained| gained.noted = Some(noted));
    }
}

/// Returns a number, or 0 for what is none.
fn number(value: &Object) -> u64 {
    let number = value.to_i64().unwrap_or_else(|raised| {
        raised.clear();
        0
    });
    u64::try_from(number).unwrap_or(0)
}
