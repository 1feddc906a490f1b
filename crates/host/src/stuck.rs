//! Requests that hold their threads for too long: each is logged once, with the stack of its thread, unless
//! they are too many, and the server is told of them ([`Reports`]).
//!
//! A thread of its own looks at the requests now and then, and enters no interpreter. Where one is found, another thread does, for
//! the stack; if Python's lock cannot be had within a moment, since code that is no Python holds it, the first one
//! says so. Neither touches the request. Without a limit (`stuck-timeout=`, `WSGIStuckTimeout`)
//! there are no such threads, and requests leave no trace here.

mod reports;

use std::cell::Cell;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, OnceLock};
use std::time::{Duration, Instant};

use bridge::{Cgi, Level, RequestFacts};
use os::thread::PeriodicThread;
use python::Python;
use wsgi_core::codes::REQUEST_STUCK;
use wsgi_core::log_record::Field;

use crate::locked::Locked;
use crate::process::{self, Process};
use crate::records;
use crate::state::{Interpreter, State};

use reports::Reports;

/// The longest time between two looks.
const LONGEST_INTERVAL: Duration = Duration::from_secs(1);
/// The shortest time between two looks.
const SHORTEST_INTERVAL: Duration = Duration::from_millis(20);
/// The time that Python's lock may take until the stack is given up.
const LOCK_PATIENCE: Duration = Duration::from_secs(2);
/// The longest wait for threads of this module at the end of the process.
const END_PATIENCE: Duration = Duration::from_secs(1);
/// The size of the stack of a thread that takes one of Python's.
const STACK: usize = 512 << 10;

static WATCH: OnceLock<Watch> = OnceLock::new();

/// The watch of a process.
struct Watch {
    process: &'static Process,
    limit: Duration,
    /// Those of threads that have served requests.
    places: Locked<Vec<Arc<Place>>>,
    /// Requests whose stacks are being taken.
    pending: Locked<Vec<Pending>>,
    thread: OnceLock<PeriodicThread>,
    reports: Reports,
    /// The number of threads that take stacks.
    takers: AtomicUsize,
    is_over: AtomicBool,
}

/// The place of a thread that serves requests.
#[derive(Default)]
struct Place(Locked<Running>);

/// The request that a thread serves.
#[derive(Default)]
struct Running {
    /// None if there is none, or it has been logged.
    since: Option<Instant>,
    /// Tells the requests of the thread from each other.
    number: u64,
    /// The number of requests of the thread, each inside the one before.
    depth: u32,
    /// Its interpreter, Python's id of the thread, and the system's.
    target: Option<(&'static Interpreter, u64, i32)>,
    description: Description,
}

/// The words for a request. They are written again and again.
#[derive(Clone, Default)]
struct Description {
    id: Vec<u8>,
    method: Vec<u8>,
    path: Vec<u8>,
    script: Vec<u8>,
}

/// A request that has been found.
struct Found {
    place: Arc<Place>,
    number: u64,
    age: Duration,
    interpreter: &'static Interpreter,
    /// Python's id of the thread, and the system's.
    thread: (u64, i32),
    description: Description,
    /// Set by whoever logs it.
    is_logged: AtomicBool,
}

/// A request whose stack is being taken.
struct Pending {
    found: Arc<Found>,
    deadline: Instant,
}

thread_local! {
    static PLACE: Cell<Option<Arc<Place>>> = const { Cell::new(None) };
}

/// Watches requests from now on, if there is a limit.
pub(crate) fn start(process: &'static Process) {
    let Some(limit) = process.settings.stuck_timeout else { return };
    let watch = WATCH.get_or_init(|| Watch {
        process,
        limit,
        places: Locked::default(),
        pending: Locked::default(),
        thread: OnceLock::new(),
        reports: Reports::new(),
        takers: AtomicUsize::new(0),
        is_over: AtomicBool::new(false),
    });
    let interval = (limit / 4).clamp(SHORTEST_INTERVAL, LONGEST_INTERVAL);
    match PeriodicThread::start("wsgi-stuck", interval, || watch.look()) {
        Ok(thread) => drop(watch.thread.set(thread)),
        Err(error) => process::log(
            Level::Warning,
            &format!(
                "{REQUEST_STUCK}: Requests that hold their threads for too long are not noticed, since a thread cannot be started: {error}. \
                 Allow the user more processes (ulimit -u)."
            ),
        ),
    }
}

/// Ends the watch, and waits a moment for the threads that are in an interpreter.
pub(crate) fn stop() {
    let Some(watch) = WATCH.get() else { return };
    watch.is_over.store(true, Ordering::SeqCst);
    if let Some(thread) = watch.thread.get() {
        thread.end(END_PATIENCE);
    }
    if let Some(count) = watch.reports.take_last_unlogged() {
        log_unlogged(count);
    }
    let deadline = Instant::now() + END_PATIENCE;
    while watch.takers.load(Ordering::SeqCst) > 0 && Instant::now() < deadline {
        std::thread::sleep(Duration::from_millis(1));
    }
}

/// A request that is watched, until this is dropped.
pub(crate) struct Watched(Arc<Place>);

/// Notes that this thread runs a request in an interpreter. Returns `None` if nobody watches.
#[inline]
pub(crate) fn watch(interpreter: &'static Interpreter, facts: &RequestFacts<'_>) -> Option<Watched> {
    WATCH.get().map(|watch| watch.begin(interpreter, facts))
}

impl Watch {
    #[cold]
    fn begin(&self, interpreter: &'static Interpreter, facts: &RequestFacts<'_>) -> Watched {
        let place = PLACE.take().unwrap_or_else(|| self.enlist());
        PLACE.set(Some(Arc::clone(&place)));
        place.0.with(|running| {
            running.depth += 1;
            // One inside another one keeps the thread no longer than that.
            if running.depth == 1 {
                running.since = Some(Instant::now());
                running.number += 1;
                running.target = Some((interpreter, python::thread_id(), os::thread::id()));
                running.description.set(facts);
            }
        });
        Watched(place)
    }

    /// Makes the place of a thread, and drops those of threads that have ended.
    fn enlist(&self) -> Arc<Place> {
        let place = Arc::new(Place::default());
        self.places.with(|places| {
            places.retain(|place| Arc::strong_count(place) > 1);
            places.push(Arc::clone(&place));
        });
        place
    }

    /// Looks for requests that are too old, and for stacks that cannot be had.
    fn look(&'static self) {
        let now = Instant::now();
        let overdue = self.pending.with(|pending| {
            pending.retain(|pending| !pending.found.is_logged.load(Ordering::Acquire));
            let is_overdue = |pending: &Pending| pending.deadline <= now;
            let overdue: Vec<_> =
                pending.iter().filter(|it| is_overdue(it)).map(|it| Arc::clone(&it.found)).collect();
            pending.retain(|pending| !is_overdue(pending));
            overdue
        });
        overdue.iter().for_each(|found| found.log_without_stack());
        for place in self.places.with(|places| places.clone()) {
            if let Some(found) = place.find(now, self.limit)
                && self.reports.admit()
            {
                self.take_stack(Arc::new(found), now);
            }
        }
        if let Some(count) = self.reports.take_unlogged() {
            log_unlogged(count);
        }
        self.reports.flush(&self.process.server);
    }

    /// Has a thread take the stack.
    fn take_stack(&'static self, found: Arc<Found>, now: Instant) {
        if python::FREE_THREADED {
            return found.log_without_stack();
        }
        self.takers.fetch_add(1, Ordering::SeqCst);
        let taken = Arc::clone(&found);
        let take = move || {
            // The end of the process waits for those that it sees here, and sets `is_over` before.
            let _running = self.process.questions.begin();
            if !self.is_over.load(Ordering::SeqCst) && !self.process.is_stopping() {
                taken.interpreter.attach(|py, state, _| taken.log_with_stack(py, state));
            }
            // Here, while the thread-locals of libraries still exist.
            python::end_thread();
            self.takers.fetch_sub(1, Ordering::SeqCst);
        };
        match std::thread::Builder::new().name("wsgi-stack".to_owned()).stack_size(STACK).spawn(take) {
            Ok(_) => {
                self.pending.with(|pending| pending.push(Pending { found, deadline: now + LOCK_PATIENCE }))
            }
            Err(_) => {
                self.takers.fetch_sub(1, Ordering::SeqCst);
                found.log_without_stack();
            }
        }
    }
}

/// Logs how many requests were not logged.
fn log_unlogged(count: u32) {
    let text = format!(
        "{REQUEST_STUCK}: {count} more requests have held their threads for too long, and are not logged, since there were so many. \
         The status of the server counts them."
    );
    process::log(Level::Warning, &text);
}

impl Drop for Watched {
    fn drop(&mut self) {
        self.0.0.with(|running| {
            running.depth -= 1;
            if running.depth == 0 {
                running.since = None;
                running.target = None;
            }
        });
    }
}

impl Place {
    /// Returns the request if it is older than the limit, once.
    fn find(self: &Arc<Self>, now: Instant, limit: Duration) -> Option<Found> {
        let found = self.0.with(|running| {
            let age = now.saturating_duration_since(running.since?);
            if age < limit {
                return None;
            }
            running.since = None;
            Some((running.number, age, running.target?, running.description.clone()))
        });
        let (number, age, (interpreter, thread, id), description) = found?;
        let (place, is_logged) = (Arc::clone(self), AtomicBool::new(false));
        Some(Found { place, number, age, interpreter, thread: (thread, id), description, is_logged })
    }

    /// Returns whether the thread still has this request.
    fn has(&self, number: u64) -> bool {
        self.0.with(|running| running.number == number && running.target.is_some())
    }
}

impl Description {
    fn set(&mut self, facts: &RequestFacts<'_>) {
        let write = |text: &mut Vec<u8>, value: &[u8]| {
            text.clear();
            text.extend_from_slice(&value[..value.len().min(LONGEST_TEXT)]);
        };
        write(&mut self.id, facts.request_id.or_empty());
        write(&mut self.method, facts.variable(Cgi::RequestMethod).or_empty());
        write(&mut self.path, facts.variable(Cgi::ScriptName).or_empty());
        let room = LONGEST_TEXT - self.path.len();
        let rest = facts.variable(Cgi::PathInfo).or_empty();
        self.path.extend_from_slice(&rest[..rest.len().min(room)]);
        write(&mut self.script, facts.script.or_empty());
    }
}

/// The longest text that is kept of a request, in bytes.
const LONGEST_TEXT: usize = 1024;

impl Found {
    fn log_with_stack(&self, py: Python<'_>, state: &State) {
        // It may have ended while this thread has waited.
        if !self.place.has(self.number) {
            self.is_logged.store(true, Ordering::Release);
            return;
        }
        let ident = i64::try_from(self.thread.0).unwrap_or(0);
        let lines = py.int(ident).and_then(|ident| state.helpers.stack_of.get(py).call([&ident]));
        let lines = lines.map(|lines| {
            (0..lines.item_count()).filter_map(|index| lines.item(index)?.to_text()).collect::<Vec<_>>()
        });
        let lines = lines.unwrap_or_else(|raised| {
            raised.clear();
            Vec::new()
        });
        py.detach(|| self.log(&lines, "Its thread executes:"));
    }

    fn log_without_stack(&self) {
        if !self.place.has(self.number) {
            self.is_logged.store(true, Ordering::Release);
            return;
        }
        if python::FREE_THREADED {
            return self.log(&[], "This Python cannot tell what it executes.");
        }
        let doing = if os::thread::is_runnable(self.thread.1) { "computes" } else { "waits" };
        let text = format!(
            "What its thread executes cannot be told, since Python's lock could not be had for {} seconds: code that is no Python holds \
             it, such as an extension module. This thread {doing}.",
            LOCK_PATIENCE.as_secs()
        );
        self.log(&[], &text);
    }

    /// Logs the request, once, whoever comes first.
    fn log(&self, stack: &[String], comment: &str) {
        if self.is_logged.swap(true, Ordering::AcqRel) {
            return;
        }
        let Description { id, method, path, script } = &self.description;
        let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
        let headline = format!(
            "{REQUEST_STUCK}: A request has held its thread for {:.1} seconds: {} {} (script '{}', id {}, thread {}). {comment}",
            self.age.as_secs_f64(),
            text(method),
            text(path),
            text(script),
            if id.is_empty() { "-".to_owned() } else { text(id) },
            self.thread.1,
        );
        if records::are_wanted() {
            let mut record = records::new(headline.as_bytes());
            for (field, value) in
                [(Field::Id, id), (Field::Method, method), (Field::Path, path), (Field::Script, script)]
            {
                record.add(field, value);
            }
            record.add(Field::Application, &self.interpreter.state().group);
            if !stack.is_empty() {
                record.add(Field::Traceback, stack.join("\n").as_bytes());
            }
            process::log_bytes(Level::Warning, record.bytes());
        } else {
            process::log(Level::Warning, &headline);
            stack.iter().for_each(|line| process::log(Level::Warning, line));
        }
        if let Some(watch) = WATCH.get() {
            watch.reports.add(&watch.process.server, || self.describe(stack, comment));
        }
    }

    /// Returns the line for the record of events, and its detail. The line may be cut, so what the
    /// client has chosen comes last.
    fn describe(&self, stack: &[String], comment: &str) -> (String, String) {
        let Description { id, method, path, .. } = &self.description;
        let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
        let line = format!(
            "A request has held its thread for {:.1} seconds (id {}, thread {}): {} {}",
            self.age.as_secs_f64(),
            if id.is_empty() { "-".to_owned() } else { text(id) },
            self.thread.1,
            text(method),
            text(path),
        );
        (line, if stack.is_empty() { comment.to_owned() } else { stack.join("\n") })
    }
}
