//! The end of a process whose application has threads that do not end.

mod support;

use bridge::outcome;
use support::ending::{position, stop};
use support::{Call, script};

const APPLICATION: &str = "
import atexit, mod_wsgi, sys, threading
from concurrent.futures import ThreadPoolExecutor
where = mod_wsgi.application_group or 'main'
def say(what):
    print(where, what, file=sys.stderr, flush=True)
atexit.register(say, 'atexit')
never = threading.Event()
def wait_for_ever():
    never.wait()
def wait_for_main():
    while threading.main_thread().is_alive():
        never.wait(0.01)
    say('saw the end')
executor = ThreadPoolExecutor(1)
timer = threading.Timer(3600, print)
def application(environ, start_response):
    if where == 'executor':
        executor.submit(wait_for_ever)
    elif where == 'timer':
        timer.daemon = False
        timer.start()
    elif where == 'stopped':
        thread = threading.Thread(target=wait_for_ever, daemon=True)
        thread.start()
        # It ends a moment later.
        atexit.register(never.set)
    else:
        threading.Thread(target=wait_for_ever, name='never-ends', daemon=False).start()
        threading.Thread(target=wait_for_main, name='ends', daemon=False).start()
    start_response('200 OK', [])
    return [b'ok']
";

#[test]
fn threads_that_do_not_end_are_named_and_left() {
    let path = script("threads.py", APPLICATION);
    for group in ["", "sub", "executor", "timer", "stopped"] {
        let response = Call { group, ..Call::new(&path) }.run();
        assert_eq!(response.outcome, outcome::COMPLETE, "{response:?}");
    }
    let log = stop(300);
    for group in ["main", "sub", "executor", "timer", "stopped"] {
        position(&log, &format!("{group} atexit"));
    }
    let count = |text: &str| log.iter().filter(|line| line.contains(text)).count();
    assert_eq!(count("'never-ends'"), 2, "{log:#?}");
    assert_eq!(count("in wait_for_ever"), 3, "{log:#?}");
    assert_eq!(count("main saw the end"), 1, "{log:#?}");
    assert_eq!(count("Timer"), 1, "{log:#?}");
    assert_eq!(count("of the application still run"), 4, "{log:#?}");
}
