//! The threads that ask scripts for the threads of a server.
//!
//! A script may hang, in C as well (a database, `time.sleep`), where nothing can interrupt it. The
//! server's thread must not hang with it. So *callers*, threads of ours, ask in its place, and it
//! waits as long as the question's time limit says. Then it gives the call up: the caller goes on
//! to other questions when the script returns. What a question needs has been copied, and the rest
//! (the lease) is empty by then.
//!
//! Questions wait in a queue. A caller that is done takes the next one at once, without sleep and
//! in general without competition for the interpreter's lock: another one is woken, or started,
//! only if the last question was taken a moment ago. That is when scripts wait for something.
//!
//! Both sides wait awake for a short time before they sleep, as long as that pays: see
//! [`os::spin`].

#![expect(clippy::disallowed_types, reason = "nobody waits attached, and no object is dropped, under a lock")]

use std::cell::Cell;
use std::collections::VecDeque;
use std::sync::atomic::{AtomicBool, AtomicU8, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::task::Poll;
use std::thread::{self, Thread};
use std::time::{Duration, Instant};

use bridge::{Answer, Lease, Level, Question};
use os::lock::lock;
use os::spin::AdaptiveSpin;
use wsgi_core::wire::Reader;

use super::{overdue, threads};
use crate::daemon::descriptors;
use crate::process;

/// The time after which another caller takes a question that waits in the queue. Most scripts look
/// something up, and take less.
const MOMENT: Duration = Duration::from_micros(200);

/// The longest wait awake: of an asker for its answer, and of a caller for the next question. To
/// wake the other thread takes as long as a short script.
const AWAKE: Duration = Duration::from_micros(50);

/// The most callers that wait for questions.
const MOST_IDLE: usize = 16;

/// The length of most questions, in bytes.
const LIKELY_LENGTH: usize = 2048;

/// A question on its way.
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
    /// One of [`phase`].
    phase: AtomicU8,
    answer: Mutex<Answer>,
}

/// The phases of a [`Job`].
mod phase {
    /// It is in the queue.
    pub(super) const QUEUED: u8 = 0;
    /// A caller asks the script.
    pub(super) const WORKING: u8 = 1;
    /// There is an answer.
    pub(super) const ANSWERED: u8 = 2;
    /// Nobody waits for the answer any more.
    pub(super) const GIVEN_UP: u8 = 3;
}

/// The questions that wait, and the callers.
#[derive(Default)]
struct Calls {
    queue: VecDeque<Arc<Job>>,
    /// The callers that wait for a question.
    idle: Vec<Arc<Caller>>,
    /// The number of the others.
    busy: usize,
    /// The time when the last question was taken from the queue.
    taken: Option<Instant>,
    /// The process is about to end.
    is_closed: bool,
}

static CALLS: Mutex<Option<Calls>> = Mutex::new(None);

/// The length of the queue, for callers that wait awake; changed under the lock only.
static WAITING: AtomicUsize = AtomicUsize::new(0);

/// A caller that waits for a question.
struct Caller {
    thread: Thread,
    is_woken: AtomicBool,
}

/// Has a caller ask a script, for a thread of the server that waits for the time limit at most.
pub(super) fn ask(question: &Question<'_>, lease: &Arc<Lease>) -> Answer {
    let mut message = Vec::with_capacity(LIKELY_LENGTH);
    question.encode(&mut message);
    let job = Arc::new(Job {
        message,
        script: question.facts.script.or_empty().to_owned(),
        request_rec: question.facts.request_rec.expose_provenance(),
        lease: Arc::clone(lease),
        asker: thread::current(),
        begin: Instant::now(),
        phase: AtomicU8::new(phase::QUEUED),
        answer: Mutex::default(),
    });
    let limit = Duration::from_millis(question.time_limit.into());
    job.ask(limit).unwrap_or_else(|text| {
        lease.with(|exchange| exchange.log(Level::Error, text.as_bytes()));
        Answer::Failed
    })
}

/// Ends the callers that have nothing to do, and the others when they have answered.
pub(super) fn close() {
    let idle = with_calls(|calls| {
        calls.is_closed = true;
        calls.busy += calls.idle.len();
        std::mem::take(&mut calls.idle)
    });
    idle.iter().for_each(|caller| caller.wake());
}

fn with_calls<R>(work: impl FnOnce(&mut Calls) -> R) -> R {
    work(lock(&CALLS).get_or_insert_default())
}

impl Job {
    /// Has the question asked, and waits for the answer.
    ///
    /// # Errors
    /// It cannot be: the reason.
    fn ask(self: &Arc<Self>, limit: Duration) -> Result<Answer, String> {
        let helper = with_calls(|calls| {
            if calls.is_closed {
                return Err("The process is about to end: the script is not asked.".to_owned());
            }
            calls.queue.push_back(Arc::clone(self));
            WAITING.store(calls.queue.len(), Ordering::Release);
            Ok(calls.helper())
        })?;
        let mut woken = helper.wake();
        if woken.is_ok() {
            self.wait_awake();
        }
        loop {
            if let Err(text) = woken
                && self.step(phase::QUEUED, phase::GIVEN_UP)
            {
                return Err(text);
            }
            woken = match self.phase.load(Ordering::Acquire) {
                phase::ANSWERED => return Ok(std::mem::take(&mut lock(&self.answer))),
                phase::GIVEN_UP => return Ok(Answer::TimedOut),
                phase::QUEUED => self.wait_in_queue(limit),
                _ => {
                    self.wait_for_script(limit);
                    Ok(())
                }
            };
        }
    }

    /// Waits awake for an answer that comes at once, if such waits have been worthwhile lately.
    fn wait_awake(&self) {
        thread_local! {
            static SPIN: Cell<AdaptiveSpin> = Cell::default();
        }
        let mut spin = SPIN.get();
        spin.poll(AWAKE, || match self.phase.load(Ordering::Acquire) {
            phase::QUEUED | phase::WORKING => Poll::Pending,
            _ => Poll::Ready(Some(())),
        });
        SPIN.set(spin);
    }

    /// Waits for a moment. If nobody has taken the question by then, another caller does.
    fn wait_in_queue(&self, limit: Duration) -> Result<(), String> {
        let rest = limit.saturating_sub(self.begin.elapsed());
        if rest.is_zero() {
            self.step(phase::QUEUED, phase::GIVEN_UP);
            return Ok(());
        }
        thread::park_timeout(rest.min(MOMENT));
        if self.phase.load(Ordering::Acquire) == phase::QUEUED && self.begin.elapsed() >= MOMENT {
            return with_calls(Calls::helper).wake();
        }
        Ok(())
    }

    fn wait_for_script(&self, limit: Duration) {
        let rest = limit.saturating_sub(self.begin.elapsed());
        if !rest.is_zero() {
            return thread::park_timeout(rest);
        }
        overdue::add(&self.script);
        super::inline::suspend();
        if !self.step(phase::WORKING, phase::GIVEN_UP) {
            // It has answered just now.
            overdue::remove(&self.script);
        }
    }

    /// Asks the script, unless the question has been given up. Called by a caller.
    fn run(&self) {
        if !self.step(phase::QUEUED, phase::WORKING) {
            return;
        }
        let answer = self.answer();
        descriptors::end_if_copy();
        *lock(&self.answer) = answer;
        if self.step(phase::WORKING, phase::ANSWERED) {
            self.asker.unpark();
            return;
        }
        overdue::remove(&self.script);
        let (script, seconds) = (String::from_utf8_lossy(&self.script), self.begin.elapsed().as_secs());
        let line = format!(
            "The script '{script}' has returned from a call after {seconds} s, too late for its request."
        );
        process::log(Level::Warning, &line);
    }

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

    fn step(&self, from: u8, to: u8) -> bool {
        self.phase.compare_exchange(from, to, Ordering::AcqRel, Ordering::Acquire).is_ok()
    }
}

/// The caller that is to take what waits in the queue.
enum Helper {
    /// One that is at work will do so in a moment.
    None,
    Idle(Arc<Caller>),
    New,
}

impl Helper {
    fn wake(self) -> Result<(), String> {
        match self {
            Self::None => {}
            Self::Idle(caller) => caller.wake(),
            Self::New => start()?,
        }
        Ok(())
    }
}

impl Calls {
    /// Returns the caller to wake for what waits in the queue.
    fn helper(&mut self) -> Helper {
        let is_taken = self.busy > 0 && self.taken.is_some_and(|taken| taken.elapsed() < MOMENT);
        if is_taken || self.queue.is_empty() {
            return Helper::None;
        }
        self.taken = Some(Instant::now());
        self.busy += 1;
        self.idle.pop().map_or(Helper::New, Helper::Idle)
    }

    /// Returns the next question for a caller that is at work.
    fn next(&mut self) -> Option<Arc<Job>> {
        let job = self.queue.pop_front();
        if job.is_some() {
            WAITING.store(self.queue.len(), Ordering::Release);
            self.taken = Some(Instant::now());
        }
        job
    }

    /// Notes that a caller has nothing to do.
    fn rest(&mut self, caller: &Arc<Caller>) -> Rest {
        if !self.queue.is_empty() {
            return Rest::None;
        }
        self.busy -= 1;
        if self.is_closed || self.idle.len() >= MOST_IDLE {
            return Rest::ForEver;
        }
        self.idle.push(Arc::clone(caller));
        Rest::UntilWoken
    }
}

/// The time for which a caller that finds no question rests.
enum Rest {
    /// One has come meanwhile.
    None,
    UntilWoken,
    ForEver,
}

impl Caller {
    fn wake(&self) {
        self.is_woken.store(true, Ordering::Release);
        self.thread.unpark();
    }
}

/// Starts a caller, which counts as busy already.
fn start() -> Result<(), String> {
    let started = threads::start("wsgi-caller", work);
    started.map(drop).inspect_err(|_| with_calls(|calls| calls.busy -= 1))
}

/// Answers questions until there is no need for this caller any more.
fn work() {
    let caller = Arc::new(Caller { thread: thread::current(), is_woken: AtomicBool::new(false) });
    let mut spin = AdaptiveSpin::default();
    loop {
        while let Some(job) = with_calls(Calls::next) {
            job.run();
        }
        let next = spin.poll(AWAKE, || match WAITING.load(Ordering::Acquire) {
            0 => Poll::Pending,
            _ => Poll::Ready(Some(())),
        });
        if next.is_some() {
            continue;
        }
        match with_calls(|calls| calls.rest(&caller)) {
            Rest::None => {}
            Rest::UntilWoken => {
                while !caller.is_woken.swap(false, Ordering::AcqRel) {
                    thread::park();
                }
            }
            Rest::ForEver => return,
        }
    }
}
