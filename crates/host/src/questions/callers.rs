//! The threads that ask scripts for the threads of a server.
//!
//! A script may hang, in C as well (a database, `time.sleep`), where nothing can interrupt it. The
//! server's thread must not hang with it. So each has a *caller*, a thread of ours that asks in its
//! place, and waits for that as long as the question's time limit says. Then it gives the caller
//! up, which ends when the script returns, and has another one for the next question. What a
//! question needs has been copied, and the rest (the lease) is empty by then.
//!
//! A caller belongs to one thread, so that questions of different threads share no lock, and so
//! that what Python keeps for a thread is found again.

#![expect(clippy::disallowed_types, reason = "nobody waits attached, and no object is dropped, under a lock")]

use std::cell::Cell;
use std::collections::HashMap;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Condvar, Mutex, PoisonError, Weak};
use std::time::{Duration, Instant};

use bridge::{Answer, Exchange, Lease, Level, Question};
use os::lock::lock;
use wsgi_core::wire::Reader;

use crate::process;

/// The most callers that have been given up and have not returned, of one script.
const MOST_OVERDUE_OF_SCRIPT: usize = 8;
/// The most of all scripts.
const MOST_OVERDUE: usize = 64;

/// The size of a caller's stack, which is used as far as the script needs it.
const STACK: usize = 8 << 20;

/// The longest wait for callers to end.
const LONGEST_END: Duration = Duration::from_millis(200);

/// A question for a caller.
struct Job {
    /// The encoded question.
    message: Vec<u8>,
    /// The address of Apache's structure, which is passed on to the script, not followed.
    request_rec: usize,
    lease: Arc<Lease>,
}

/// The place where a thread and its caller meet.
#[derive(Default)]
struct Desk {
    state: Mutex<State>,
    changed: Condvar,
}

/// The state of a caller.
#[derive(Default)]
enum State {
    #[default]
    Idle,
    Asked(Job),
    Working,
    Answered(Answer),
    /// Nobody waits for the answer of this script any more, asked then.
    GivenUp(Vec<u8>, Instant),
    Ending,
}

/// The caller of a thread; it ends with that thread.
struct Caller(Arc<Desk>);

impl Drop for Caller {
    fn drop(&mut self) {
        let mut state = lock(&self.0.state);
        if !matches!(*state, State::GivenUp(..)) {
            *state = State::Ending;
        }
        drop(state);
        self.0.changed.notify_all();
    }
}

thread_local! {
    static CALLER: Cell<Option<Caller>> = const { Cell::new(None) };
}

/// The callers that may be idle.
static DESKS: Mutex<Vec<Weak<Desk>>> = Mutex::new(Vec::new());
/// The number of threads of callers.
static THREADS: AtomicUsize = AtomicUsize::new(0);
/// The process is about to end.
static IS_CLOSED: AtomicBool = AtomicBool::new(false);

/// Asks a script, for a thread of the server that waits for the time limit at most.
pub(crate) fn ask(question: &Question<'_>, exchange: Exchange<'_>) -> Answer {
    let script = question.facts.script.or_empty();
    if overdue::are_too_many(script) {
        return Answer::Overdue;
    }
    Lease::lend(exchange, |lease| {
        let mut message = Vec::with_capacity(2048);
        question.encode(&mut message);
        let request_rec = question.facts.request_rec.expose_provenance();
        let job = Job { message, request_rec, lease: Arc::clone(lease) };
        let limit = Duration::from_millis(question.time_limit.into());
        let caller = match CALLER.take().map_or_else(Caller::start, Ok) {
            Ok(caller) => caller,
            Err(text) => {
                lease.with(|exchange| exchange.log(Level::Error, text.as_bytes()));
                return Answer::Failed;
            }
        };
        match caller.ask(job, script, limit) {
            Some(answer) => {
                CALLER.set(Some(caller));
                answer
            }
            None => Answer::TimedOut,
        }
    })
}

/// Ends the callers that have nothing to do, and the others when they have answered.
pub(crate) fn close() {
    IS_CLOSED.store(true, Ordering::SeqCst);
    for desk in lock(&DESKS).drain(..).filter_map(|desk| desk.upgrade()) {
        let mut state = lock(&desk.state);
        if matches!(*state, State::Idle) {
            *state = State::Ending;
            desk.changed.notify_all();
        }
    }
    let deadline = Instant::now() + LONGEST_END;
    while THREADS.load(Ordering::Acquire) > 0 && Instant::now() < deadline {
        std::thread::sleep(Duration::from_millis(1));
    }
}

impl Caller {
    fn start() -> Result<Self, String> {
        let desk = Arc::new(Desk::default());
        let shared = Arc::clone(&desk);
        THREADS.fetch_add(1, Ordering::AcqRel);
        let started =
            std::thread::Builder::new().name("wsgi-caller".to_owned()).stack_size(STACK).spawn(move || {
                shared.work();
                // Here, while the thread-locals of libraries still exist.
                python::end_thread();
                THREADS.fetch_sub(1, Ordering::AcqRel);
            });
        if let Err(error) = started {
            THREADS.fetch_sub(1, Ordering::AcqRel);
            return Err(format!(
                "A thread for a script cannot be started: {error}. Allow the server more processes (ulimit -u)."
            ));
        }
        let mut desks = lock(&DESKS);
        desks.retain(|desk| desk.strong_count() > 0);
        desks.push(Arc::downgrade(&desk));
        Ok(Self(desk))
    }

    /// Has the question asked. Returns `None` after the limit: the caller is given up.
    fn ask(&self, job: Job, script: &[u8], limit: Duration) -> Option<Answer> {
        let (desk, begin) = (&self.0, Instant::now());
        let mut state = lock(&desk.state);
        if matches!(*state, State::Ending) {
            return Some(Answer::Failed);
        }
        *state = State::Asked(job);
        desk.changed.notify_all();
        loop {
            if matches!(*state, State::Answered(_)) {
                let State::Answered(answer) = std::mem::take(&mut *state) else { return None };
                return Some(answer);
            }
            let rest = limit.saturating_sub(begin.elapsed());
            if rest.is_zero() {
                overdue::add(script);
                *state = State::GivenUp(script.to_owned(), begin);
                return None;
            }
            state = desk.changed.wait_timeout(state, rest).unwrap_or_else(PoisonError::into_inner).0;
        }
    }
}

impl Desk {
    /// Answers questions until the end of the caller.
    fn work(&self) {
        while let Some(job) = self.next() {
            let answer = job.answer();
            let mut state = lock(&self.state);
            if let State::GivenUp(script, begin) = &*state {
                overdue::remove(script);
                let (script, seconds) = (String::from_utf8_lossy(script), begin.elapsed().as_secs());
                let line = format!(
                    "The script '{script}' has returned from a call after {seconds} s, too late for its request."
                );
                process::log(Level::Warning, &line);
                return;
            }
            if matches!(*state, State::Ending) {
                return;
            }
            *state = State::Answered(answer);
            self.changed.notify_all();
        }
    }

    /// Returns the next question, or `None` at the end of the caller.
    fn next(&self) -> Option<Job> {
        let mut state = lock(&self.state);
        loop {
            match &*state {
                State::Asked(_) => {
                    let State::Asked(job) = std::mem::replace(&mut *state, State::Working) else {
                        return None;
                    };
                    return Some(job);
                }
                State::Ending | State::GivenUp(..) => return None,
                State::Idle if IS_CLOSED.load(Ordering::SeqCst) => {
                    *state = State::Ending;
                    return None;
                }
                State::Idle | State::Working | State::Answered(_) => {}
            }
            state = self.changed.wait(state).unwrap_or_else(PoisonError::into_inner);
        }
    }
}

impl Job {
    fn answer(&self) -> Answer {
        let mut fields = bridge::Fields::default();
        match Question::decode(&mut Reader::new(&self.message), &mut fields) {
            Ok(mut question) => {
                question.facts.request_rec = std::ptr::with_exposed_provenance_mut(self.request_rec);
                super::answer(&question, &self.lease, None).unwrap_or_default()
            }
            // It was encoded here.
            Err(_) => Answer::Failed,
        }
    }
}

/// The calls that have been given up and have not returned.
mod overdue {
    use super::{AtomicUsize, HashMap, MOST_OVERDUE, MOST_OVERDUE_OF_SCRIPT, Mutex, Ordering, lock};

    /// The number of all; no lock is needed as long as there are none.
    static COUNT: AtomicUsize = AtomicUsize::new(0);
    static BY_SCRIPT: Mutex<Option<HashMap<Vec<u8>, usize>>> = Mutex::new(None);

    pub(super) fn are_too_many(script: &[u8]) -> bool {
        let count = COUNT.load(Ordering::Acquire);
        if count == 0 {
            return false;
        }
        let of_script = lock(&BY_SCRIPT).as_ref().and_then(|scripts| scripts.get(script)).copied();
        count >= MOST_OVERDUE || of_script.unwrap_or(0) >= MOST_OVERDUE_OF_SCRIPT
    }

    pub(super) fn add(script: &[u8]) {
        *lock(&BY_SCRIPT).get_or_insert_default().entry(script.to_owned()).or_default() += 1;
        COUNT.fetch_add(1, Ordering::AcqRel);
    }

    pub(super) fn remove(script: &[u8]) {
        if let Some(scripts) = &mut *lock(&BY_SCRIPT)
            && let Some(count) = scripts.get_mut(script)
        {
            *count -= 1;
            if *count == 0 {
                scripts.remove(script);
            }
        }
        COUNT.fetch_sub(1, Ordering::AcqRel);
    }
}
