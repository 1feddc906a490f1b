//! Log streams, in a process of their own: what goes wrong here would hold up everything.

#![allow(clippy::disallowed_types, reason = "no Python runs in tests")]

mod support;

use std::path::PathBuf;
use std::sync::{Mutex, PoisonError, mpsc};
use std::time::Duration;

use support::{Call, HOST, Response, script};

/// A request that has to come to an end. One at a time: all set when garbage is collected.
fn run(script: PathBuf) -> Response {
    static RUNNING: Mutex<()> = Mutex::new(());
    let _running = RUNNING.lock().unwrap_or_else(PoisonError::into_inner);
    let _ = *HOST;
    let (sender, response) = mpsc::channel();
    std::thread::spawn(move || {
        let response = Call::new(&script).run();
        let _ = sender.send(response);
    });
    response.recv_timeout(Duration::from_secs(20)).expect("the request waits for itself")
}

#[test]
fn objects_collected_while_a_write_fails_can_write() {
    let script = script(
        "collected.py",
        "
import gc, sys, threading

class Noisy:
    def __init__(self):
        self.me = self
    def __del__(self):
        global deleted
        deleted += 1
        print('deleted')
        sys.stderr.buffer.write(b'deleted')

deleted = 0

def fail(stream, count):
    failures = 0
    for _ in range(count):
        try:
            raise KeyError('handled')
        except KeyError:
            # An exception that is raised while another one is handled is made at once.
            Noisy()
            try:
                stream.buffer.write(b'x')
            except RuntimeError:
                failures += 1
    return failures

def application(environ, start_response):
    threshold = gc.get_threshold()
    gc.set_threshold(1)
    hook, sys.unraisablehook = sys.unraisablehook, lambda unraisable: None
    try:
        stream = environ['wsgi.errors']
        # From now on it is over.
        stream.close()
        threads = [threading.Thread(target=fail, args=(stream, 100)) for _ in range(4)]
        for thread in threads:
            thread.start()
        failures = fail(stream, 100)
        for thread in threads:
            thread.join()
    finally:
        gc.set_threshold(*threshold)
        sys.unraisablehook = hook
    gc.collect()
    start_response('200 OK', [])
    return [f'{failures} {deleted}'.encode()]
",
    );
    let response = run(script);
    assert_eq!(response.text(), "100 500", "{response:?}");
}

#[test]
fn objects_collected_while_the_body_is_read_can_read() {
    let script = script(
        "reads.py",
        "
import gc, sys

class Reader:
    def __init__(self, input):
        self.me, self.input = self, input
    def __del__(self):
        try:
            outcomes.add(type(self.input.read(1)).__name__)
        except RuntimeError as error:
            outcomes.add(str(error))

outcomes = set()

def application(environ, start_response):
    threshold = gc.get_threshold()
    gc.set_threshold(1)
    try:
        for _ in range(100):
            Reader(environ['wsgi.input'])
            environ['wsgi.input'].readline(2)
            list(environ['wsgi.input'].readlines(1))
    finally:
        gc.set_threshold(*threshold)
    gc.collect()
    start_response('200 OK', [])
    return [' '.join(sorted(outcomes)).encode()]
",
    );
    let response = run(script);
    assert!(response.text().contains("bytes"), "{response:?}");
}

#[test]
fn changes_to_a_stream_end_with_the_request() {
    let script = script(
        "changes.py",
        "
def application(environ, start_response):
    errors = environ['wsgi.errors']
    seen = [errors.line_buffering, errors.write_through, errors.errors, errors.encoding, dict(vars(errors))]
    _, how, change = environ['PATH_INFO'].split('/')
    if how == 'write':
        # Shows how ends of lines are written.
        errors.write('seen\\n')
    if change == 'configure':
        errors.reconfigure(encoding='latin-1', errors='strict', line_buffering=False, write_through=False)
    if change == 'newline':
        errors.reconfigure(newline='\\r\\n')
    if change == 'attribute':
        errors.note = 'kept'
    if change == 'detach':
        errors.detach()
    start_response('200 OK', [])
    return [repr(seen).encode()]
",
    );
    for change in ["", "configure", "newline", "attribute", "detach", ""] {
        let path_info = format!("/write/{change}");
        let response = Call { path_info: &path_info, ..Call::new(&script) }.run();
        assert_eq!(response.text(), "[True, True, 'replace', 'utf-8', {}]", "before {change}");
        assert!(
            response.log.iter().any(|line| line.ends_with("] seen")),
            "{:?} before {change}",
            response.log
        );
    }
    // And where nothing is written.
    for change in ["configure", "newline", "attribute", "detach"] {
        let silent = format!("/silent/{change}");
        for path_info in [&silent, "/silent/"] {
            let response = Call { path_info, ..Call::new(&script) }.run();
            assert_eq!(response.text(), "[True, True, 'replace', 'utf-8', {}]", "after {change}");
        }
    }
}

#[test]
fn faulthandler_finds_a_descriptor() {
    let script = script(
        "faults.py",
        "
import faulthandler, io, sys

# Libraries do so when they are imported.
faulthandler.enable()
faulthandler.enable(sys.stderr)
faulthandler.dump_traceback_later(3600, exit=False)
faulthandler.cancel_dump_traceback_later()
faulthandler.register(12)
faulthandler.unregister(12)

def application(environ, start_response):
    outcomes = []
    for stream in sys.stdout, sys.stderr, environ['wsgi.errors']:
        try:
            stream.fileno()
        except io.UnsupportedOperation as error:
            outcomes.append(isinstance(error, OSError) and isinstance(error, ValueError))
        outcomes.append(stream.isatty())
    try:
        # This is not one of ours.
        faulthandler.dump_traceback('file')
    except AttributeError:
        outcomes.append('refused')
    outcomes.append(faulthandler.is_enabled())
    faulthandler.disable()
    start_response('200 OK', [])
    return [repr(outcomes).encode()]
",
    );
    let response = run(script);
    assert_eq!(response.text(), "[True, False, True, False, True, False, 'refused', True]", "{response:?}");
}

#[test]
fn endless_lines_do_not_gather_memory() {
    let script = script(
        "dots.py",
        "
import sys

def application(environ, start_response):
    # As a progress bar does it; in a thread of the application's there is no end of a request that would flush it.
    for _ in range(300):
        sys.stdout.write('.' * 1000)
    start_response('200 OK', [])
    return [b'done']
",
    );
    let response = run(script);
    assert_eq!(response.text(), "done");
    let dots: Vec<_> = response.log.iter().filter(|line| line.contains("....")).map(String::len).collect();
    assert!(dots.len() >= 4 && dots.iter().all(|length| *length < 70_000), "{dots:?}");
}
