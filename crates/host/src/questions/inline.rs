//! Calls of scripts on the server's own threads.
//!
//! The hand-over to a caller costs two changes of threads, more than most scripts. So a thread of
//! the server's asks a script itself, if it gets a permit ([`wsgi_core::permits`]). A script that
//! hangs keeps thread and permit: no more threads of the server's can hang than there are permits.
//!
//! A *watch* looks at these calls from time to time. When one has taken longer than its time limit,
//! an exception is raised in its thread, which ends it as soon as it runs Python code. Permits are
//! suspended for a while then: scripts are asked by callers, with a strict limit.

#![expect(
    clippy::disallowed_types,
    reason = "what is called under a call's lock sets or clears a pending exception, and runs no Python"
)]

use std::cell::Cell;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, OnceLock};
use std::thread::{self, Thread};
use std::time::{Duration, Instant};

use bridge::{Answer, Lease, Level, Question};
use os::lock::lock;
use python::Python;
use wsgi_core::permits::Permits;

use super::{overdue, threads};
use crate::daemon::descriptors;
use crate::process::{self, Process};
use crate::request::Runner;
use crate::state::Interpreter;

/// The shortest and the longest interval of the watch; in between, a fraction of the shortest time
/// limit that a call has had.
const INTERVALS: [Duration; 2] = [Duration::from_millis(5), Duration::from_secs(1)];
const FRACTION: u32 = 8;

/// The calls of this process on the server's threads.
pub(super) struct Inline {
    permits: Permits<'static>,
    /// The id of this process.
    id: u32,
    /// One for each permit.
    places: Box<[Place]>,
    watch: OnceLock<Option<Thread>>,
    /// The watch waits until it is woken.
    is_watch_asleep: AtomicBool,
    /// The shortest time limit of a call, in milliseconds.
    shortest_limit: AtomicU64,
    is_closed: AtomicBool,
}

/// The place of the call that has a certain permit.
#[derive(Default)]
struct Place(Mutex<Call>);

/// A call, or what is left of the last one.
#[derive(Default)]
struct Call {
    /// The number of calls so far.
    number: u64,
    is_running: bool,
    script: Vec<u8>,
    limit: Duration,
    /// The interpreter that it runs in, and Python's id of the thread.
    target: Option<(&'static Interpreter, u64)>,
    /// An exception is on its way.
    is_raised: bool,
    /// It has taken longer than its limit.
    is_overdue: bool,
}

static INLINE: OnceLock<Inline> = OnceLock::new();

/// Asks the script on this thread. Returns `None` if that must not be done now.
pub(super) fn try_ask(process: &Process, question: &Question<'_>, lease: &Arc<Lease>) -> Option<Answer> {
    let inline = INLINE.get_or_init(|| Inline::new(process.settings.permits));
    if inline.permits.count() == 0
        || inline.permits.are_suspended(os::clock::ticks)
        || overdue::any()
        || !inline.has_watch()
    {
        return None;
    }
    let permit = Permit::take(inline)?;
    let place = permit.place()?;
    place.begin(question);
    inline.wake_watch(question.time_limit);
    let answer = super::answer(question, lease, Some(place)).unwrap_or_default();
    // Before the permit is given back, which is the original's.
    descriptors::end_if_copy();
    Some(if place.end() { Answer::TimedOut } else { answer })
}

/// Has all scripts asked by callers for a while: one of them hangs.
pub(super) fn suspend() {
    if let Some(inline) = INLINE.get() {
        inline.permits.suspend(os::clock::ticks());
    }
}

/// Ends the watch.
pub(super) fn close() {
    let Some(inline) = INLINE.get() else { return };
    inline.is_closed.store(true, Ordering::Release);
    if let Some(Some(watch)) = inline.watch.get() {
        inline.is_watch_asleep.store(false, Ordering::Release);
        watch.unpark();
    }
}

/// A permit that this thread has.
struct Permit {
    inline: &'static Inline,
    number: usize,
}

impl Permit {
    fn take(inline: &'static Inline) -> Option<Self> {
        thread_local! {
            /// The number of the last permit: threads use different ones, if they can.
            static LAST: Cell<usize> = const { Cell::new(0) };
        }
        let number = inline.permits.take(inline.id, LAST.get())?;
        LAST.set(number);
        Some(Self { inline, number })
    }

    fn place(&self) -> Option<&'static Place> {
        self.inline.places.get(self.number)
    }
}

impl Drop for Permit {
    fn drop(&mut self) {
        self.inline.permits.give_back(self.number, self.inline.id);
    }
}

impl Inline {
    fn new(permits: Permits<'static>) -> Self {
        Self {
            permits,
            id: std::process::id(),
            places: (0..permits.count()).map(|_| Place::default()).collect(),
            watch: OnceLock::new(),
            is_watch_asleep: AtomicBool::new(false),
            shortest_limit: AtomicU64::new(u64::MAX),
            is_closed: AtomicBool::new(false),
        }
    }

    /// Returns whether there is a watch, which is started with the first call.
    fn has_watch(&'static self) -> bool {
        let start = || match threads::start("wsgi-watch", || self.watch()) {
            Ok(thread) => Some(thread),
            Err(text) => {
                process::log(Level::Warning, &text);
                None
            }
        };
        self.watch.get_or_init(start).is_some()
    }

    /// Has the watch look at calls, if it does not, and as often as this limit needs.
    fn wake_watch(&self, limit: u32) {
        let is_shortest = u64::from(limit) < self.shortest_limit.load(Ordering::Relaxed);
        if is_shortest {
            self.shortest_limit.fetch_min(limit.into(), Ordering::Relaxed);
        }
        let is_asleep = self.is_watch_asleep.load(Ordering::Relaxed);
        if (is_shortest || is_asleep)
            && let Some(Some(watch)) = self.watch.get()
        {
            self.is_watch_asleep.store(false, Ordering::Release);
            watch.unpark();
        }
    }

    /// Looks at the calls until the process is about to end; without any, waits to be woken.
    fn watch(&'static self) {
        let mut looks: Vec<Look> =
            self.places.iter().map(|_| Look { number: 0, since: Instant::now() }).collect();
        while !self.is_closed.load(Ordering::Acquire) {
            if self.look(&mut looks) {
                let limit = Duration::from_millis(self.shortest_limit.load(Ordering::Relaxed));
                thread::park_timeout((limit / FRACTION).clamp(INTERVALS[0], INTERVALS[1]));
                continue;
            }
            // A call that begins after the next look finds this out: the two take the same lock.
            self.is_watch_asleep.store(true, Ordering::Relaxed);
            if self.look(&mut looks) {
                self.is_watch_asleep.store(false, Ordering::Relaxed);
                continue;
            }
            while self.is_watch_asleep.load(Ordering::Acquire) && !self.is_closed.load(Ordering::Acquire) {
                thread::park();
            }
        }
    }

    /// Looks at all calls. Returns whether there have been any since the last look.
    fn look(&'static self, looks: &mut [Look]) -> bool {
        let now = Instant::now();
        let mut is_active = false;
        for (place, look) in self.places.iter().zip(looks) {
            let mut call = lock(&place.0);
            if call.number != look.number {
                *look = Look { number: call.number, since: now };
                is_active = true;
            }
            is_active |= call.is_running && !call.is_overdue;
            if call.is_running && !call.is_overdue && now - look.since >= call.limit {
                call.is_overdue = true;
                overdue::add(&call.script);
                self.permits.suspend(os::clock::ticks());
                let line = format!(
                    "The script '{}' has not answered within {} s, and keeps a thread of the server until it returns. It is \
                     interrupted, if it runs Python code. Other requests are not concerned.",
                    String::from_utf8_lossy(&call.script),
                    call.limit.as_secs_f64()
                );
                let number = call.number;
                drop(call);
                process::log(Level::Warning, &line);
                // On a thread of its own, since it may have to wait for ever.
                if let Err(text) = threads::start("wsgi-interrupt", move || place.interrupt(number)) {
                    process::log(Level::Warning, &text);
                }
            }
        }
        is_active
    }
}

/// The call that the watch has found in a place, and when it was found.
struct Look {
    number: u64,
    since: Instant,
}

impl Place {
    fn begin(&self, question: &Question<'_>) {
        let mut call = lock(&self.0);
        call.number += 1;
        call.is_running = true;
        call.is_overdue = false;
        call.limit = Duration::from_millis(question.time_limit.into());
        call.script.clear();
        call.script.extend_from_slice(question.facts.script.or_empty());
    }

    /// Notes that the call has returned. Returns whether it has taken too long.
    fn end(&self) -> bool {
        let mut call = lock(&self.0);
        call.is_running = false;
        if call.is_overdue {
            overdue::remove(&call.script);
        }
        call.is_overdue
    }

    /// Raises `RequestTimeout` in the call with this number, if it still runs.
    fn interrupt(&self, number: u64) {
        let Some(process) = process::process() else { return };
        let interpreter = loop {
            let call = lock(&self.0);
            if !call.is_running || call.number != number || process.is_stopping() {
                return;
            }
            if let Some((interpreter, _)) = call.target {
                break interpreter;
            }
            // It waits for the interpreter's lock.
            drop(call);
            thread::sleep(INTERVALS[0]);
        };
        let _running = process.questions.begin();
        if process.is_stopping() {
            return;
        }
        interpreter.attach(|py, state, _| {
            // It may have returned meanwhile.
            let mut call = lock(&self.0);
            if call.number != number {
                return;
            }
            if let Some((_, thread)) = call.target.filter(|(target, _)| std::ptr::eq(*target, interpreter)) {
                call.is_raised = py.raise_in_thread(thread, state.helpers.request_timeout.get(py));
            }
        });
    }
}

impl Runner for Place {
    fn enter(&self, interpreter: &'static Interpreter) {
        lock(&self.0).target = Some((interpreter, python::thread_id()));
    }

    fn leave(&self, py: Python<'_>) {
        let mut call = lock(&self.0);
        call.target = None;
        if std::mem::take(&mut call.is_raised) {
            // It may still be on its way, and must not hit the next request.
            py.clear_raised_in_thread();
        }
    }
}
