//! Questions to scripts that are asked on the server's own threads, of which some may hang.

#![allow(clippy::disallowed_types, reason = "no Python runs under them")]

mod support;

use std::fs::File;
use std::path::Path;
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::mpsc::{self, Receiver};
use std::sync::{LazyLock, Mutex, MutexGuard, PoisonError};
use std::thread;
use std::time::{Duration, Instant};

use bridge::{Answer, Bytes, Exchange, ExchangeServer, Question, QuestionRoute, Tag, Topic};
use nix::fcntl::{Flock, FlockArg};
use support::{HOST, LOG, NoWait, PERMITS, Response, facts, script};
use wsgi_core::permits;

const COUNT: usize = 2;
const PATIENCE: Duration = Duration::from_secs(20);

static WORDS: LazyLock<Vec<AtomicU32>> =
    LazyLock::new(|| (0..permits::words(COUNT)).map(|_| AtomicU32::new(0)).collect());

/// Lets one test at a time use the permits: they, and their suspension, are the process's.
fn alone() -> MutexGuard<'static, ()> {
    static ALONE: Mutex<()> = Mutex::new(());
    let alone = ALONE.lock().unwrap_or_else(PoisonError::into_inner);
    PERMITS.get_or_init(|| &WORDS);
    assert_eq!(taken(), 0);
    end_suspension();
    alone
}

/// Has a minute pass.
fn end_suspension() {
    WORDS[0].store(0, Ordering::Relaxed);
}

/// Returns how many permits are taken.
fn taken() -> usize {
    WORDS[1..].iter().filter(|word| word.load(Ordering::Relaxed) != 0).count()
}

fn ask(script: &Path, user: &str, password: &str, limit: Duration) -> (Answer, Response) {
    let question = Question {
        tag: Tag::of::<Question<'_>>(),
        facts: facts(script.as_os_str().as_encoded_bytes(), "/"),
        topic: Topic::Password as u32,
        time_limit: limit.as_millis() as u32,
        arguments: [Bytes::from(user), Bytes::from(password)],
        route: QuestionRoute::ABSENT,
    };
    let exchange = ExchangeServer::new(Response::default(), NoWait);
    // SAFETY: the host is started.
    let answer = unsafe { HOST.ask(&question, Exchange::new(&exchange)) };
    let (response, has_panicked) = exchange.end();
    assert!(!has_panicked, "{response:?}");
    (answer, response)
}

/// `True` on the thread whose number is the password.
const SCRIPT: &str = "
import fcntl, os, threading
def check_password(environ, user, password):
    if user == 'loop':
        while True:
            pass
    if user == 'lock':
        with open(__file__ + '.lock', 'w') as file:
            fcntl.flock(file, fcntl.LOCK_EX)
    if user == 'fork':
        copy = os.fork()
        return copy == 0 or os.waitstatus_to_exitcode(os.waitpid(copy, 0)[1]) != 0
    return threading.get_native_id() == int(password)
";

/// Returns whether the script is asked on this thread.
fn is_asked_here(script: &Path) -> bool {
    let (answer, response) = ask(script, "here", &nix::unistd::gettid().to_string(), PATIENCE);
    match answer {
        Answer::Yes => true,
        Answer::No => false,
        other => panic!("{other:?}, {response:?}"),
    }
}

/// Holds the lock that the script waits for.
fn lock(script: &Path) -> Flock<File> {
    let file = File::create(format!("{}.lock", script.display())).expect("a lock file");
    Flock::lock(file, FlockArg::LockExclusive).expect("the lock")
}

/// Asks the script on other threads, and returns the answers as they come.
fn ask_on_threads(script: &Path, user: &'static str, count: usize, limit: Duration) -> Receiver<Answer> {
    let (sender, answers) = mpsc::channel();
    for _ in 0..count {
        let (sender, script) = (sender.clone(), script.to_owned());
        thread::spawn(move || sender.send(ask(&script, user, "0", limit).0));
    }
    answers
}

fn wait_until(what: &str, is_so: impl Fn() -> bool) {
    let begin = Instant::now();
    while !is_so() {
        assert!(begin.elapsed() < PATIENCE, "waited in vain: {what}");
        thread::sleep(Duration::from_millis(2));
    }
}

fn has_logged(text: &str) -> bool {
    LOG.lock().expect("no panic while it is locked").iter().any(|line| line.contains(text))
}

#[test]
fn who_gets_a_permit_asks_itself() {
    let _alone = alone();
    let script = script("here.py", SCRIPT);
    for _ in 0..3 {
        assert!(is_asked_here(&script));
        assert_eq!(taken(), 0);
    }
    // Other processes have them all.
    let permits = permits::Permits::new(&WORDS);
    while permits.take(1, 0).is_some() {}
    assert!(!is_asked_here(&script));
    permits.take_back(1);
    assert!(is_asked_here(&script));
}

#[test]
fn no_more_threads_hang_than_there_are_permits() {
    let _alone = alone();
    let script = script("hangs_in_c.py", SCRIPT);
    assert!(is_asked_here(&script));
    let held = lock(&script);
    let limit = Duration::from_millis(100);
    let answers = ask_on_threads(&script, "lock", COUNT + 4, limit);
    for _ in 0..4 {
        assert_eq!(answers.recv_timeout(PATIENCE), Ok(Answer::TimedOut));
    }
    wait_until("the others are noticed", || has_logged("hangs_in_c.py' has not answered within 0.1 s"));
    assert!(answers.try_recv().is_err());
    // Neither later nor after the suspension do more of them hang.
    for _ in 0..2 {
        assert_eq!(ask(&script, "lock", "0", limit).0, Answer::TimedOut);
        end_suspension();
    }
    assert_eq!(ask(&script, "lock", "0", limit).0, Answer::Overdue);
    assert_eq!(taken(), COUNT);
    let other = support::script("other.py", SCRIPT);
    assert!(!is_asked_here(&other), "others have their answers, by another thread");
    // They come back when the script returns.
    drop(held);
    for _ in 0..COUNT {
        assert_eq!(answers.recv_timeout(PATIENCE), Ok(Answer::TimedOut), "it has come too late");
    }
    wait_until("nothing is overdue", || {
        end_suspension();
        matches!(ask(&script, "here", "0", PATIENCE).0, Answer::No) && is_asked_here(&other)
    });
    assert_eq!(taken(), 0);
}

#[test]
fn python_code_is_interrupted() {
    let _alone = alone();
    let script = script("loops.py", SCRIPT);
    assert!(is_asked_here(&script));
    let (answer, response) = ask(&script, "loop", "0", Duration::from_millis(100));
    assert_eq!(answer, Answer::TimedOut);
    assert!(response.has_logged("was interrupted"), "{response:?}");
    assert_eq!(taken(), 0);
    // It may do that again: others ask it for a while.
    assert!(!is_asked_here(&script));
    end_suspension();
    assert!(is_asked_here(&script));
}

#[test]
fn a_call_that_a_caller_waits_for_suspends_permits() {
    let _alone = alone();
    let script = script("elsewhere.py", SCRIPT);
    let permits = permits::Permits::new(&WORDS);
    assert!(is_asked_here(&script));
    while permits.take(1, 0).is_some() {}
    let held = lock(&script);
    assert_eq!(ask(&script, "lock", "0", Duration::from_millis(50)).0, Answer::TimedOut);
    permits.take_back(1);
    assert!(!is_asked_here(&script));
    end_suspension();
    assert!(!is_asked_here(&script), "it has not returned");
    drop(held);
    wait_until("it has returned", || is_asked_here(&script));
}

#[test]
fn a_copy_of_the_process_ends() {
    let _alone = alone();
    let script = script("forks.py", SCRIPT);
    let (answer, response) = ask(&script, "fork", "0", PATIENCE);
    assert_eq!(answer, Answer::Yes, "{response:?}");
    assert_eq!(taken(), 0);
}
