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
use std::sync::atomic::{AtomicBool, AtomicU8, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, Weak};
use std::task::Poll;
use std::thread::{self, Thread};
use std::time::{Duration, Instant};

use bridge::{Answer, Exchange, Lease, Level, Question};
use os::lock::lock;
use os::spin::AdaptiveSpin;
use wsgi_core::wire::Reader;

use crate::process;

/// The most callers that have been given up and have not returned, of one script.
const MOST_OVERDUE_OF_SCRIPT: usize = 8;
/// The most of all scripts.
const MOST_OVERDUE: usize = 64;

/// The size of a caller's stack, which is used as far as the script needs it.
const STACK: usize = 8 << 20;

/// The longest wait for an answer that is spent awake. Most scripts look something up.
const LONGEST_SPIN: Duration = Duration::from_micros(100);

/// The length of most questions, in bytes.
const LIKELY_LENGTH: usize = 2048;

/// The longest wait for callers to end.
const LONGEST_END: Duration = Duration::from_millis(200);

/// A question for a caller.
struct Job {
    /// The encoded question.
    message: Vec<u8>,
    script: Vec<u8>,
    /// The address of Apache's structure, which is passed on to the script, not followed.
    request_rec: usize,
    lease: Arc<Lease>,
    /// The thread that waits for the answer.
    asker: Thread,
    begin: Instant,
}

/// The place where a thread and its caller meet.
#[derive(Default)]
struct Desk {
    /// One of [`phase`], which says whose turn it is.
    phase: AtomicU8,
    /// Used by the one whose turn it is, so that nobody waits for it.
    content: Mutex<Content>,
}

/// The phases of a [`Desk`].
mod phase {
    /// The caller waits for a question.
    pub(super) const IDLE: u8 = 0;
    /// There is a question.
    pub(super) const ASKED: u8 = 1;
    /// The caller asks the script.
    pub(super) const WORKING: u8 = 2;
    /// There is an answer.
    pub(super) const ANSWERED: u8 = 3;
    /// Nobody waits for the answer any more.
    pub(super) const GIVEN_UP: u8 = 4;
    /// The caller is to end.
    pub(super) const ENDING: u8 = 5;
}

#[derive(Default)]
struct Content {
    job: Option<Job>,
    answer: Answer,
}

/// The caller of a thread; it ends with that thread.
struct Caller {
    desk: Arc<Desk>,
    thread: Thread,
    spin: AdaptiveSpin,
}

impl Drop for Caller {
    fn drop(&mut self) {
        if self.desk.step(phase::IDLE, phase::ENDING) {
            self.thread.unpark();
        }
    }
}

thread_local! {
    static CALLER: Cell<Option<Caller>> = const { Cell::new(None) };
}

/// The callers that may be idle, with their threads.
static DESKS: Mutex<Vec<(Weak<Desk>, Thread)>> = Mutex::new(Vec::new());
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
        let mut message = Vec::with_capacity(LIKELY_LENGTH);
        question.encode(&mut message);
        let job = Job {
            message,
            script: script.to_owned(),
            request_rec: question.facts.request_rec.expose_provenance(),
            lease: Arc::clone(lease),
            asker: thread::current(),
            begin: Instant::now(),
        };
        let limit = Duration::from_millis(question.time_limit.into());
        let mut caller = match CALLER.take().map_or_else(Caller::start, Ok) {
            Ok(caller) => caller,
            Err(text) => {
                lease.with(|exchange| exchange.log(Level::Error, text.as_bytes()));
                return Answer::Failed;
            }
        };
        match caller.ask(job, limit) {
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
    for (desk, thread) in lock(&DESKS).drain(..) {
        if desk.upgrade().is_some_and(|desk| desk.step(phase::IDLE, phase::ENDING)) {
            thread.unpark();
        }
    }
    let deadline = Instant::now() + LONGEST_END;
    while THREADS.load(Ordering::Acquire) > 0 && Instant::now() < deadline {
        thread::sleep(Duration::from_millis(1));
    }
}

impl Caller {
    fn start() -> Result<Self, String> {
        let desk = Arc::new(Desk::default());
        let shared = Arc::clone(&desk);
        let work = move || {
            shared.work();
            // Here, while the thread-locals of libraries still exist.
            python::end_thread();
            THREADS.fetch_sub(1, Ordering::AcqRel);
        };
        THREADS.fetch_add(1, Ordering::AcqRel);
        let started = thread::Builder::new().name("wsgi-caller".to_owned()).stack_size(STACK).spawn(work);
        let thread = started.map(|handle| handle.thread().clone()).map_err(|error| {
            THREADS.fetch_sub(1, Ordering::AcqRel);
            format!(
                "A thread for a script cannot be started: {error}. Allow the server more processes (ulimit -u)."
            )
        })?;
        let mut desks = lock(&DESKS);
        desks.retain(|(desk, _)| desk.strong_count() > 0);
        desks.push((Arc::downgrade(&desk), thread.clone()));
        Ok(Self { desk, thread, spin: AdaptiveSpin::default() })
    }

    /// Has the question asked. Returns `None` after the limit: the caller is given up.
    fn ask(&mut self, job: Job, limit: Duration) -> Option<Answer> {
        let (desk, begin) = (&*self.desk, job.begin);
        // The other names it if it gives the caller up.
        let script = job.script.clone();
        lock(&desk.content).job = Some(job);
        if IS_CLOSED.load(Ordering::SeqCst) || !desk.step(phase::IDLE, phase::ASKED) {
            return Some(Answer::Failed);
        }
        self.thread.unpark();
        let answered = || desk.phase.load(Ordering::Acquire) == phase::ANSWERED;
        let poll = || if answered() { Poll::Ready(Some(())) } else { Poll::Pending };
        let mut is_answered = self.spin.poll(LONGEST_SPIN.min(limit), poll).is_some();
        while !is_answered {
            let rest = limit.saturating_sub(begin.elapsed());
            if rest.is_zero() {
                overdue::add(&script);
                if desk.step(phase::ASKED, phase::GIVEN_UP) || desk.step(phase::WORKING, phase::GIVEN_UP) {
                    return None;
                }
                // It has answered just now, or it has begun between the two steps.
                overdue::remove(&script);
            } else {
                thread::park_timeout(rest);
            }
            is_answered = answered();
        }
        let answer = std::mem::take(&mut lock(&desk.content).answer);
        desk.phase.store(phase::IDLE, Ordering::Release);
        Some(answer)
    }
}

impl Desk {
    /// Answers questions until the end of the caller.
    fn work(&self) {
        while self.wait() {
            let Some(job) = lock(&self.content).job.take() else { return };
            if !self.step(phase::ASKED, phase::WORKING) {
                return job.returned_too_late();
            }
            let answer = job.answer();
            lock(&self.content).answer = answer;
            if !self.step(phase::WORKING, phase::ANSWERED) {
                return job.returned_too_late();
            }
            job.asker.unpark();
        }
    }

    /// Waits for a question. Returns `false` at the end of the caller.
    fn wait(&self) -> bool {
        loop {
            match self.phase.load(Ordering::Acquire) {
                phase::ASKED | phase::GIVEN_UP => return true,
                phase::ENDING => return false,
                phase::IDLE if IS_CLOSED.load(Ordering::SeqCst) => {
                    if self.step(phase::IDLE, phase::ENDING) {
                        return false;
                    }
                }
                _ => thread::park(),
            }
        }
    }

    fn step(&self, from: u8, to: u8) -> bool {
        self.phase.compare_exchange(from, to, Ordering::AcqRel, Ordering::Acquire).is_ok()
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

    /// Notes that the script has returned after its caller was given up.
    fn returned_too_late(&self) {
        overdue::remove(&self.script);
        let (script, seconds) = (String::from_utf8_lossy(&self.script), self.begin.elapsed().as_secs());
        let line = format!(
            "The script '{script}' has returned from a call after {seconds} s, too late for its request."
        );
        process::log(Level::Warning, &line);
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
