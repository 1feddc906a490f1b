//! Requests to the host, without Apache: what is hard to see from outside.

mod support;

use std::io::{Read, Write};
use std::os::fd::AsRawFd;
use std::os::unix::net::UnixStream;
use std::time::Duration;

use bridge::{flag, outcome, write};
use support::{Call, LOG, Response, script};

const HELLO: &str = "
def application(environ, start_response):
    start_response('200 OK', [('Content-Type', 'text/plain')])
    return [b'hello']
";

#[test]
fn a_list_of_one_block_is_one_last_write() {
    let script = script("hello.py", HELLO);
    let response = Call::new(&script).run();
    assert_eq!(response.outcome, outcome::COMPLETE, "{response:?}");
    assert_eq!((response.status, response.reason.as_deref()), (200, Some("OK")));
    assert_eq!(response.headers, [("Content-Type".to_owned(), "text/plain".to_owned())]);
    assert_eq!(response.text(), "hello");
    assert_eq!(response.writes, [write::LAST]);
}

#[test]
fn the_parts_of_a_requests_time_are_measured() {
    let script = script(
        "times.py",
        "
import ctypes, time
def application(environ, start_response):
    what = environ['PATH_INFO'].split('/')[1:]
    if what[0] == 'sleep':
        time.sleep(float(what[1]))
    if what[0] == 'hold':
        # These keep the lock of the interpreter.
        c = ctypes.PyDLL(None)
        c.write(int(what[1]), b'x', 1)
        c.read(int(what[2]), ctypes.create_string_buffer(1), 1)
    start_response('200 OK', [])
    return [b'x']
",
    );
    let run = |path_info: &str| Call { path_info, ..Call::new(&script) }.run();
    let times = run("/sleep/0.05").times;
    assert!(times.application >= 50_000 && times.queue == 0, "{times:?}");

    let (mut ours, theirs) = UnixStream::pair().unwrap();
    let path_info = format!("/hold/{0}/{0}", theirs.as_raw_fd());
    std::thread::scope(|scope| {
        scope.spawn(|| run(&path_info));
        ours.read_exact(&mut [0]).unwrap();
        let waiting = scope.spawn(|| run("/").times);
        // It has to come to the lock before that is free again.
        std::thread::sleep(Duration::from_millis(300));
        ours.write_all(b"x").unwrap();
        let times = waiting.join().unwrap();
        assert!(times.lock_wait >= 50_000, "{times:?}");
    });
}

#[test]
fn generators_are_flushed_block_by_block_and_closed() {
    let script = script(
        "generator.py",
        "
class Body:
    def __iter__(self):
        yield b'a'
        yield b''
        yield b'b'
    def close(self):
        print('closed')
def application(environ, start_response):
    start_response('200 OK', [])
    return Body()
",
    );
    let response = Call::new(&script).run();
    assert_eq!(response.text(), "ab");
    assert_eq!(response.writes, [write::FLUSH, write::FLUSH]);
    assert!(response.has_logged("closed"), "{response:?}");
}

#[test]
fn a_request_runs_in_its_interpreter_on_any_thread() {
    let script = script(
        "where.py",
        "
import mod_wsgi, threading
seen = []
def application(environ, start_response):
    seen.append(1)
    start_response('200 OK', [])
    names = (mod_wsgi.application_group, environ['mod_wsgi.application_group'], str(len(seen)))
    return [' '.join(names).encode()]
",
    );
    let ask = |group: &'static str| {
        let mut call = Call::new(&script);
        call.group = group;
        call.run().text()
    };
    std::thread::scope(|scope| {
        scope
            .spawn(|| {
                assert_eq!(ask("first"), "first first 1");
                assert_eq!(ask(""), "  1");
                assert_eq!(ask("second"), "second second 1");
                assert_eq!(ask("first"), "first first 2");
                assert_eq!(ask(""), "  2");
            })
            .join()
            .expect("no panic");
    });
}

/// Callbacks of extension modules take the lock with `PyGILState_Ensure`, here sqlite3's.
#[test]
fn extension_callbacks_work_in_every_interpreter_of_a_thread() {
    let script = script(
        "callback.py",
        "
import sqlite3, mod_wsgi
def application(environ, start_response):
    connection = sqlite3.connect(':memory:')
    connection.create_function('whoami', 0, lambda: mod_wsgi.application_group or 'main')
    start_response('200 OK', [])
    return [connection.execute('select whoami()').fetchone()[0].encode()]
",
    );
    std::thread::scope(|scope| {
        for order in [["", "a", "", "b", "a"], ["b", "", "a", "b", ""]] {
            let script = &script;
            scope.spawn(move || {
                for group in order {
                    let mut call = Call::new(script);
                    call.group = group;
                    let expected = if group.is_empty() { "main" } else { group };
                    assert_eq!(call.run().text(), expected);
                }
            });
        }
    });
}

#[test]
fn threads_and_interpreters_do_not_disturb_each_other() {
    let script = script(
        "busy.py",
        "
def application(environ, start_response):
    total = sum(len(key) + len(str(value)) for key, value in environ.items())
    print('working', file=environ['wsgi.errors'])
    start_response('200 OK', [('X-Total', str(total))])
    return [environ['PATH_INFO'].encode()] if total % 2 else iter([environ['PATH_INFO'].encode()])
",
    );
    std::thread::scope(|scope| {
        for number in 0..8 {
            let script = &script;
            scope.spawn(move || {
                let path = format!("/{number}");
                for round in 0..200 {
                    let mut call = Call::new(script);
                    call.group = ["", "a", "b", "own"][(number + round) % 4];
                    call.path_info = &path;
                    let response = call.run();
                    assert_eq!(response.text(), path, "{response:?}");
                    assert!(response.has_logged("working"));
                }
            });
        }
    });
}

#[test]
fn the_body_is_read_in_every_way() {
    let script = script(
        "input.py",
        "
def application(environ, start_response):
    body = environ['wsgi.input']
    parts = [body.read(0), body.read(2), body.readline(), body.readline(3), body.readlines(1), next(body), body.read(), body.read()]
    start_response('200 OK', [])
    return [repr(parts).encode()]
",
    );
    let mut call = Call::new(&script);
    call.body = b"abc\ndefgh\nij\nklm\nno\npq";
    assert_eq!(call.run().text(), r"[b'', b'ab', b'c\n', b'def', [b'gh\n'], b'ij\n', b'klm\nno\npq', b'']");
}

#[test]
fn objects_of_a_request_are_dead_after_it() {
    let script = script(
        "late.py",
        "
kept = {}
def application(environ, start_response):
    late = []
    for act in (lambda: kept['environ']['wsgi.input'].read(),
                lambda: kept['environ']['wsgi.errors'].write('x\\n'),
                lambda: kept['start_response']('200 OK', []),
                lambda: kept['write'](b'x')):
        try:
            act()
        except Exception as exception:
            late.append(type(exception).__name__)
    kept.update(environ=environ, start_response=start_response)
    kept['write'] = start_response('200 OK', [])
    return [','.join(late).encode()]
",
    );
    assert_eq!(Call::new(&script).run().text(), "KeyError,KeyError,KeyError,KeyError");
    assert_eq!(Call::new(&script).run().text(), "RuntimeError,RuntimeError,RuntimeError,RuntimeError");
}

#[test]
fn exceptions_before_the_head_are_500_and_after_it_abort() {
    let script = script(
        "failing.py",
        "
def application(environ, start_response):
    if environ['PATH_INFO'] == '/early':
        raise ValueError('too early')
    start_response('200 OK', [])
    if environ['PATH_INFO'] == '/late':
        def body():
            yield b'part'
            raise KeyError('too late')
        return body()
    return ['text']
",
    );
    let at = |path| Call { path_info: path, ..Call::new(&script) }.run();
    let early = at("/early");
    assert_eq!((early.outcome, early.status), (500, 0));
    assert!(
        early.has_logged("ValueError: too early") && early.has_logged("failing.py\", line 4"),
        "{early:?}"
    );
    let late = at("/late");
    assert_eq!((late.outcome, late.text().as_str()), (outcome::ABORTED, "part"));
    assert!(late.has_logged("KeyError: 'too late'"));
    let wrong = at("/wrong");
    assert_eq!((wrong.outcome, wrong.status), (500, 0));
    assert!(wrong.has_logged("TypeError"), "{wrong:?}");
}

#[test]
fn a_client_that_hangs_up_ends_the_iteration() {
    let script = script(
        "endless.py",
        "
class Endless:
    def __iter__(self):
        while True:
            yield b'x'
    def close(self):
        print('closed')
def application(environ, start_response):
    start_response('200 OK', [])
    return Endless()
",
    );
    let response = Call::new(&script).run_with(Response { hang_up_after: Some(3), ..Response::default() });
    assert_eq!((response.outcome, response.text().as_str()), (outcome::COMPLETE, "xxx"));
    assert!(response.has_logged("closed"));
}

#[test]
fn files_are_sent_by_descriptor_from_where_they_stand() {
    let script = script(
        "file.py",
        "
import io
def application(environ, start_response):
    start_response('200 OK', [])
    if environ['PATH_INFO'] == '/memory':
        return environ['wsgi.file_wrapper'](io.BytesIO(b'abc'), 2)
    file = open(__file__, 'rb')
    file.read(1)
    return environ['wsgi.file_wrapper'](file)
",
    );
    let response = Call::new(&script).run();
    let source = std::fs::read(&script).expect("the script");
    assert_eq!(response.body, source[1..]);
    assert_eq!(response.headers, [("Content-Length".to_owned(), (source.len() - 1).to_string())]);
    let response = Call { path_info: "/memory", ..Call::new(&script) }.run();
    assert_eq!((response.text().as_str(), response.writes.len()), ("abc", 2));
}

#[test]
fn subscribers_see_the_events_of_a_request() {
    let script = script(
        "events.py",
        "
import mod_wsgi
log = []
def subscriber(name, **event):
    log.append(name)
    if name == 'request_started':
        event['request_data']['seen'] = True
        return {'application_object': lambda environ, start_response: other(environ, start_response)}
    if name == 'request_finished':
        log.append((event['status'], event['output_length'], event['input_length'], sorted(event['request_data'])))
def other(environ, start_response):
    assert mod_wsgi.request_data() is mod_wsgi.active_requests[environ['mod_wsgi.request_id']]
    environ['wsgi.input'].read()
    start_response('201 Made', [])
    return [repr(log).encode()]
def application(environ, start_response):
    raise RuntimeError('replaced')
mod_wsgi.subscribe_events(subscriber)
",
    );
    let call = Call { group: "events", body: b"12345", ..Call::new(&script) };
    assert_eq!(call.run().text(), "['request_started', 'response_started']");
    let second = call.run().text();
    assert!(second.contains("'request_finished', (201, 39, 5, ['seen'])"), "{second}");
}

#[test]
fn panics_in_callbacks_become_exceptions() {
    let script = script("hello2.py", HELLO);
    let mut call = Call::new(&script);
    call.flags |= flag::DEBUG_PANIC;
    let response = call.run();
    assert_eq!(response.outcome, 500);
    assert!(response.has_logged("WSGIDebugPanic callback"), "{response:?}");
    call.flags = 0;
    assert_eq!(call.run().text(), "hello");
}

#[test]
fn scripts_are_loaded_again_when_they_change_and_only_then() {
    let source = |text: &str| HELLO.replace("hello", text);
    let path = script("changing.py", &source("one"));
    assert_eq!(Call::new(&path).run().text(), "one");
    std::fs::write(&path, source("two")).expect("a changed script");
    let later = std::time::SystemTime::now() + std::time::Duration::from_secs(5);
    std::fs::File::options()
        .write(true)
        .open(&path)
        .and_then(|file| file.set_modified(later))
        .expect("a new time");
    let unchecked = Call { flags: 0, ..Call::new(&path) };
    assert_eq!(unchecked.run().text(), "one");
    assert_eq!(Call::new(&path).run().text(), "two");
    std::fs::write(&path, "def broken(").expect("a broken script");
    let broken = Call::new(&path).run();
    assert_eq!(broken.outcome, 500);
    assert!(broken.has_logged("WSGI0105") && broken.has_logged("SyntaxError"), "{broken:?}");
    assert_eq!(Call { callable: "none", ..Call::new(&script("hello3.py", HELLO)) }.run().outcome, 404);
}

/// Files of a directory of the path can do anything, and the interpreter is usable all the same.
#[test]
fn a_path_that_cannot_be_put_together_is_told_of() {
    let path = script("path.py", HELLO);
    script("path/one.pth", "import site; site.addsitedir = None\n");
    script("path/two.pth", "import sys; sys.path = tuple(sys.path)\n");
    let response = Call { group: "path", ..Call::new(&path) }.run();
    assert_eq!((response.outcome, response.text().as_str()), (outcome::COMPLETE, "hello"), "{response:?}");
    script("failing/one.pth", "import site; site.addsitedir = lambda path: 1 / 0\n");
    script("failing/apache.py", "1 / 0\n");
    script("siteless/one.pth", "import sys; sys.modules['site'] = None\n");
    for group in ["failing", "siteless"] {
        let response = Call { group, ..Call::new(&path) }.run();
        assert_eq!(
            (response.outcome, response.text().as_str()),
            (outcome::COMPLETE, "hello"),
            "{response:?}"
        );
    }
    let log = LOG.lock().expect("no panic while it is locked").join("\n");
    for (code, directory) in [
        ("WSGI0096: ", ""),
        ("WSGI0094: ", "path-two"),
        ("WSGI0091: ", "failing-two"),
        ("WSGI0095: ", ""),
        ("WSGI0188: ", ""),
    ] {
        let line = log.lines().find(|line| line.contains(code)).unwrap_or_default();
        assert!(line.contains(code) && line.contains(directory), "{log}");
    }
}
