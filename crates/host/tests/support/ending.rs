//! The common parts of the tests of the end of a process.

use std::sync::mpsc;
use std::time::Duration;

use bridge::{outcome, reason_number};
use wsgi_core::lifecycle::Reason;

use super::{Call, HOST, LOG, script};

const APPLICATION: &str = "
import atexit, mod_wsgi, sys, threading
where = mod_wsgi.application_group or 'main'
def say(what):
    print(where, what, file=sys.stderr, flush=True)
mod_wsgi.subscribe_shutdown(lambda name, **event: say(name + ' ' + event['shutdown_reason']))
atexit.register(say, 'atexit')
stop = threading.Event()
mod_wsgi.subscribe_shutdown(lambda name, **event: stop.set())
lock = threading.Lock()
thread = threading.Thread(target=lambda: (stop.wait(), say('joined')), daemon=False)
def application(environ, start_response):
    if where == 'daemon':
        threading.Thread(target=threading.Event().wait, daemon=True).start()
    else:
        with lock:
            if not thread.is_alive():
                thread.start()
    start_response('200 OK', [])
    return [b'ok']
";

/// Runs requests in the groups on several threads, then stops the host; returns what was logged.
pub(crate) fn log_of_life(groups: &[&str]) -> Vec<String> {
    let path = script("ending.py", APPLICATION);
    // Several threads get thread states in the interpreters that are to end.
    std::thread::scope(|scope| {
        for _ in 0..3 {
            scope.spawn(|| {
                for group in groups {
                    let response = Call { group, ..Call::new(&path) }.run();
                    assert_eq!(response.outcome, outcome::COMPLETE, "{response:?}");
                }
            });
        }
    });
    // SAFETY: no request is running.
    unsafe { (HOST.stop)(reason_number(Some(Reason::ShutdownSignal)), 1000) };
    assert_eq!(Call::new(&path).run().outcome, 503);
    LOG.lock().expect("no panic while it is locked").clone()
}

/// Returns the position in the log of the first line with that end.
pub(crate) fn position(log: &[String], end: &str) -> usize {
    log.iter().position(|line| line.ends_with(end)).unwrap_or_else(|| panic!("no {end}: {log:#?}"))
}

/// Checks that an interpreter's application was told, then its threads joined, its `atexit`
/// functions called.
pub(crate) fn assert_ended(log: &[String], group: &str) {
    let told = position(log, &format!("{group} process_stopping shutdown_signal"));
    assert!(told < position(log, &format!("{group} joined")), "{log:#?}");
    assert!(told < position(log, &format!("{group} atexit")), "{log:#?}");
    assert!(!log.iter().any(|line| line.contains("Exception ignored")), "{log:#?}");
}

/// The longest time that the end of a process may take here.
const PATIENCE: Duration = Duration::from_secs(30);

/// Stops the host, which may take `grace` milliseconds for requests, and then for threads; returns
/// what was logged.
pub(crate) fn stop(grace: u32) -> Vec<String> {
    let (sender, stopped) = mpsc::channel();
    let host = *HOST;
    std::thread::spawn(move || {
        // SAFETY: it was started.
        unsafe { (host.stop)(reason_number(Some(Reason::ShutdownSignal)), grace) };
        let _ = sender.send(());
    });
    let ended = stopped.recv_timeout(PATIENCE);
    let log = LOG.lock().expect("no panic while it is locked").clone();
    assert!(ended.is_ok(), "it does not end: {log:#?}");
    log
}
