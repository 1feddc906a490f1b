//! The life of the host as a daemon process: how it starts, is replaced, and ends.

mod support;

use std::io::Write;
use std::time::{Duration, Instant};

use support::daemon::{Ask, Plan, Process};
use support::{open_gate, script};
use wsgi_core::lifecycle::Reason;
use wsgi_core::wire::control::{Order, Report, Script};
use wsgi_core::wire::frame::{Kind, Rejection};
use wsgi_core::wire::launch::{Daemon, Limits, ProcessOptions};

/// Does what the path says.
const APPLICATION: &str = "
import atexit, os, sys, threading, time, mod_wsgi

where = mod_wsgi.application_group or 'main'
def say(what):
    print(where, what, file=sys.stderr, flush=True)
mod_wsgi.subscribe_shutdown(lambda name, **event: say(name + ' ' + event['shutdown_reason']))
mod_wsgi.subscribe_signals(lambda name, **event: say('%s %s %d' % (name, event['signame'], event['signum'])))
atexit.register(say, 'atexit')

def spin(seconds):
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        pass

def application(environ, start_response):
    what = environ['PATH_INFO'].split('/')[1:]
    if what[0] == 'sleep':
        time.sleep(float(what[1]))
    if what[0] == 'gate':
        while not os.path.exists(__file__ + '.' + what[1]):
            time.sleep(0.005)
    if what[0] == 'spin':
        spin(float(what[1]))
    if what[0] == 'swallow':
        try:
            spin(float(what[1]))
        except mod_wsgi.RequestTimeout:
            spin(float(what[1]))
    if what[0] == 'hold':
        import ctypes
        ctypes.PyDLL(None).sleep(int(what[1]))
    if what[0] == 'read':
        environ['wsgi.input'].read()
    start_response('200 OK', [])
    return [b'VERSION']
";

fn limits() -> Limits {
    Plan::default().limits
}

fn replace(reason: &str, scripts: &[(&std::path::Path, &str)]) -> Option<Report> {
    let scripts = scripts.iter().map(|(path, group)| served(path, group, &["application"]));
    Some(Report::Replace { reason: named(reason), scripts: scripts.collect() })
}

/// A script with what was served of it.
fn served(path: &std::path::Path, group: &str, callables: &[&str]) -> Script {
    Script {
        path: path.as_os_str().as_encoded_bytes().into(),
        application_group: group.as_bytes().into(),
        callables: callables.iter().map(|callable| callable.as_bytes().into()).collect(),
    }
}

fn stopping(reason: &str) -> Option<Report> {
    Some(Report::Stopping(named(reason)))
}

fn named(name: &str) -> Reason {
    let mut reasons = Reason::ALL.iter().copied();
    reasons.find(|reason| reason.name() == name).expect("a reason")
}

/// Returns the position of a text in the log.
fn position(process: &Process, text: &str) -> usize {
    let log = process.log();
    log.find(text).unwrap_or_else(|| panic!("no {text:?} in {log}"))
}

#[test]
fn an_order_to_drain_lets_requests_finish_and_sends_others_away() {
    let path = script("life_drain.py", APPLICATION);
    let mut process = Plan { threads: 1, ..Plan::default() }.serve();
    let (mut busy, mut idle, mut waiting) = (process.connect(), process.connect(), process.connect());
    busy.ask(&Ask { group: "sub", ..Ask::new(&path) });
    busy.send(&Ask { path_info: "/gate/drain", ..Ask::new(&path) });
    process.wait_until("it runs", || process.busy() == 1);
    waiting.send(&Ask::new(&path));
    process.wait_until("one waits", || process.busy() == 2);
    process.order(&Order::Drain(5_000));
    assert!(!idle.frame().unwrap_err(), "an end, no reset");
    let answer = waiting.answer(b"");
    assert!(answer.is_reset && answer.outcome.is_none(), "the child knows that it was not read: {answer:?}");
    open_gate(&path, "drain");
    assert_eq!(busy.answer(b"").text(), "VERSION");
    assert!(busy.frame().is_err());
    assert_eq!(process.ended().code(), Some(0));
    assert_eq!(process.report(), None, "nobody has to be told of an ordered end");
    for group in ["sub", "main"] {
        let told = position(&process, &format!("{group} process_stopping shutdown_signal"));
        assert!(told < position(&process, &format!("{group} atexit")));
    }
    assert!(position(&process, "sub atexit") < position(&process, "main atexit"));
}

#[test]
fn a_drain_waits_for_a_request_that_is_being_taken() {
    let path = script("life_taken.py", APPLICATION);
    let limits = Limits { shutdown_timeout: 2_000, ..limits() };
    let mut process = Plan { limits, ..Plan::default() }.serve();
    let mut connection = process.connect();
    // A worker that has a part of a request can do nothing but wait for the rest.
    let frame = Ask::new(&path).frame();
    let (first, rest) = frame.split_at(frame.len() / 2);
    connection.stream.write_all(first).unwrap();
    process.wait_until("a worker has it", || connection.unread() == 0);
    process.order(&Order::Drain(10_000));
    process.wait_until("it drains", || process.is_channel_closed());
    // Longer than the shutdown may take.
    std::thread::sleep(Duration::from_millis(2_500));
    connection.stream.write_all(rest).unwrap();
    assert_eq!(connection.answer(b"").text(), "VERSION");
    assert_eq!(process.ended().code(), Some(0));
    assert_eq!(process.report(), None);
}

#[test]
fn a_drain_waits_for_requests_only() {
    let path = script("life_nothing.py", APPLICATION);
    // With that timeout, all timers are looked at every second.
    let limits = Limits { deadlock_timeout: 0, ..limits() };
    let mut process = Plan { limits, ..Plan::default() }.serve();
    let mut connection = process.connect();
    let frame = Ask::new(&path).frame();
    connection.stream.write_all(&frame[..frame.len() / 2]).unwrap();
    process.wait_until("a worker has it", || connection.unread() == 0);
    process.order(&Order::Drain(60_000));
    process.wait_until("it drains", || process.is_channel_closed());
    // The rest never comes.
    drop(connection);
    assert_eq!(process.ended().code(), Some(0), "well before the drain is over");
}

#[test]
fn a_drain_is_over_at_its_end_and_then_the_shutdown() {
    let path = script("life_force.py", APPLICATION);
    let limits = Limits { shutdown_timeout: 300, ..limits() };
    let mut process = Plan { limits, ..Plan::default() }.serve();
    let mut busy = process.connect();
    busy.send(&Ask { path_info: "/sleep/30", ..Ask::new(&path) });
    let (kind, _, line) = busy.frame().unwrap();
    let line = String::from_utf8_lossy(&line).into_owned();
    assert!(kind == Kind::Log && line.contains("Loading"), "it runs: {kind:?} {line}");
    let begin = Instant::now();
    process.order(&Order::Drain(300));
    assert_eq!(process.ended().code(), Some(255));
    let took = begin.elapsed();
    assert!((Duration::from_millis(550)..Duration::from_secs(20)).contains(&took), "{took:?}");
    assert_eq!(busy.answer(b"").outcome, None);
}

#[test]
fn sigterm_ends_the_process_when_its_requests_are_done() {
    let path = script("life_sigterm.py", APPLICATION);
    let mut process = Plan::default().serve();
    let mut busy = process.connect();
    busy.ask(&Ask::new(&path));
    busy.send(&Ask { path_info: "/gate/sigterm", ..Ask::new(&path) });
    process.wait_until("it runs", || process.busy() == 1);
    process.signal(libc::SIGTERM);
    assert_eq!(process.report(), stopping("shutdown_signal"));
    open_gate(&path, "sigterm");
    assert_eq!(busy.answer(b"").text(), "VERSION");
    assert_eq!(process.ended().code(), Some(0));
    assert!(process.log().contains("main atexit"), "{}", process.log());
}

#[test]
fn nothing_is_finalised_where_that_is_not_wanted() {
    let path = script("life_destroy.py", APPLICATION);
    let mut process = Plan { destroy: false, ..Plan::default() }.serve();
    process.connect().ask(&Ask::new(&path));
    process.signal(libc::SIGINT);
    assert_eq!(process.ended().code(), Some(0));
    assert!(process.log().contains("process_stopping"), "{}", process.log());
    assert!(!process.log().contains("atexit"), "{}", process.log());
}

#[test]
fn sigterm_during_an_import_ends_the_process() {
    let path = script(
        "life_slow_import.py",
        "import time, sys\nprint('importing', file=sys.stderr)\ntime.sleep(30)\n",
    );
    let limits = Limits { shutdown_timeout: 300, ..limits() };
    let mut process = Plan { limits, imports: vec![(path, "")], ..Plan::default() }.start();
    process.wait_for("importing");
    process.signal(libc::SIGTERM);
    assert_eq!(process.ended().code(), Some(255));
}

#[test]
fn the_end_of_the_supervisor_or_of_all_clients_is_the_end() {
    let path = script("life_alone.py", APPLICATION);
    for is_supervisor in [true, false] {
        let mut process = Plan::default().serve();
        let mut busy = process.connect();
        busy.ask(&Ask::new(&path));
        busy.send(&Ask { path_info: "/sleep/0.3", ..Ask::new(&path) });
        process.wait_until("it runs", || process.busy() == 1);
        if is_supervisor {
            process.control = None;
        } else {
            process.channel = None;
        }
        assert_eq!(busy.answer(b"").text(), "VERSION");
        assert_eq!(process.ended().code(), Some(0));
    }
}

#[test]
fn signals_ask_for_a_successor_and_reach_the_application() {
    let path = script("life_signals.py", APPLICATION);
    let mut process = Plan::default().serve();
    let mut connection = process.connect();
    for group in ["", "sub"] {
        connection.ask(&Ask { group, ..Ask::new(&path) });
    }
    process.signal(libc::SIGHUP);
    process.signal(libc::SIGUSR2);
    for group in ["main", "sub"] {
        process.wait_for(&format!("{group} process_signal SIGHUP 1"));
        process.wait_for(&format!("{group} process_signal SIGUSR2 12"));
    }
    process.signal(libc::SIGUSR1);
    assert_eq!(process.report(), replace("graceful_signal", &[(&path, ""), (&path, "sub")]));
    assert_eq!(connection.ask(&Ask::new(&path)).text(), "VERSION", "it serves on");
    process.order(&Order::Drain(5_000));
    assert_eq!(process.ended().code(), Some(0));
    position(&process, "process_stopping graceful_signal");
}

#[test]
fn a_changed_script_moves_its_requests_to_the_successor() {
    let path = script("life_reload.py", APPLICATION);
    let mut process = Plan::default().serve();
    let (mut first, mut second) = (process.connect(), process.connect());
    first.ask(&Ask::new(&path));
    script("life_reload.py", &APPLICATION.replace("VERSION", "second"));
    first.send(&Ask { path_info: "/read", inline: b"abc", ..Ask::new(&path) });
    assert_eq!(process.report(), replace("script_reload", &[(&path, "")]));
    second.send(&Ask::new(&path));
    process.wait_until("both wait", || process.busy() == 2);
    process.order(&Order::Drain(5_000));
    for connection in [&mut first, &mut second] {
        let answer = connection.answer(b"");
        assert_eq!((answer.rejection, answer.status), (Some(Rejection::Moved as u8), 0));
        assert!(connection.frame().is_err());
    }
    assert_eq!(process.ended().code(), Some(0));
    position(&process, "process_stopping script_reload");
}

#[test]
fn without_a_successor_loaded_scripts_serve_until_the_next_change() {
    let path = script("life_keep.py", APPLICATION);
    let process = Plan::default().serve();
    let mut connection = process.connect();
    connection.ask(&Ask::new(&path));
    script("life_keep.py", "def");
    connection.send(&Ask::new(&path));
    assert!(matches!(process.report(), Some(Report::Replace { .. })));
    process.order(&Order::NoSuccessor(b"the successor ended with status 3"[..].into()));
    assert_eq!(connection.answer(b"").text(), "VERSION");
    let answer = connection.ask(&Ask::new(&path));
    assert_eq!(answer.text(), "VERSION");
    let warning = answer.log.iter().filter(|line| line.contains("ended with status 3")).count();
    assert_eq!(warning, 1, "{answer:?}");
    assert!(connection.ask(&Ask::new(&path)).log.is_empty(), "not each time");
    std::thread::sleep(Duration::from_millis(10));
    script("life_keep.py", "def again");
    let begin = Instant::now();
    connection.send(&Ask::new(&path));
    assert!(matches!(process.report(), Some(Report::Replace { .. })), "the next change");
    // Nobody answers: requests run after a while.
    assert_eq!(connection.answer(b"").text(), "VERSION");
    assert!(begin.elapsed() >= Duration::from_millis(1500), "{:?}", begin.elapsed());
    assert_eq!(connection.ask(&Ask::new(&path)).text(), "VERSION", "and later ones at once");
    process.wait_until("nothing runs any more", || process.busy() == 0);
}

#[test]
fn a_failed_load_is_retried_while_requests_run() {
    let path = script("life_again.py", APPLICATION);
    let mut process = Plan::default().serve();
    let mut connection = process.connect();
    connection.ask(&Ask::new(&path));
    // What it imports is not there yet, or a database is down: nobody touches the file for that.
    script("life_again.py", "import not_there_yet");
    connection.send(&Ask::new(&path));
    assert!(matches!(process.report(), Some(Report::Replace { .. })));
    process.order(&Order::NoSuccessor(b"it could not import its scripts"[..].into()));
    assert_eq!(connection.answer(b"").text(), "VERSION");
    for attempt in 0..2_u32 {
        std::thread::sleep(Duration::from_millis(1_100 << attempt));
        assert_eq!(connection.ask(&Ask::new(&path)).text(), "VERSION", "it does not wait");
        assert_eq!(process.report(), replace("script_reload", &[(&path, "")]), "attempt {attempt}");
        assert_eq!(connection.ask(&Ask::new(&path)).text(), "VERSION", "nor does the next");
        process.order(&Order::NoSuccessor(b"it could not import its scripts"[..].into()));
        process.wait_for("this one serves on");
    }
    process.order(&Order::Drain(5_000));
    assert_eq!(process.ended().code(), Some(0));
}

#[test]
fn a_script_that_never_loads_does_not_hold_back_successors() {
    let (bad, good) = (script("life_stuck.py", APPLICATION), script("life_free.py", APPLICATION));
    let process = Plan::default().serve();
    let mut connection = process.connect();
    connection.ask(&Ask::new(&bad));
    connection.ask(&Ask::new(&good));
    let both = [(&*bad, ""), (&*good, "")];
    let no_successor = |count: usize| {
        process.order(&Order::NoSuccessor(b"it could not import its scripts"[..].into()));
        process.wait_until("it serves on", || process.log().matches("this one serves on").count() == count);
    };
    script("life_stuck.py", "import not_there");
    connection.send(&Ask::new(&bad));
    for attempt in 1..=3 {
        assert_eq!(process.report(), replace("script_reload", &both), "attempt {attempt}");
        no_successor(attempt);
        if attempt == 1 {
            assert_eq!(connection.answer(b"").text(), "VERSION");
        }
        if attempt < 3 {
            std::thread::sleep(Duration::from_millis(600 << attempt));
            assert_eq!(connection.ask(&Ask::new(&bad)).text(), "VERSION", "served on");
        }
    }
    // Another one changes: its successor is not for the sake of the first one any more.
    std::thread::sleep(Duration::from_millis(10));
    script("life_free.py", &APPLICATION.replace("VERSION", "NEXT"));
    connection.send(&Ask::new(&good));
    assert_eq!(process.report(), replace("script_reload", &both[1..]));
    process.wait_for("without the script");
    no_successor(4);
    assert_eq!(connection.answer(b"").text(), "VERSION");
    // The first one's own attempts go on, and a touch begins anew.
    std::thread::sleep(Duration::from_millis(10));
    script("life_stuck.py", "import not_there_either");
    connection.send(&Ask::new(&bad));
    assert_eq!(process.report(), replace("script_reload", &both));
}

#[test]
fn successors_for_other_reasons_go_ahead_when_imports_keep_failing() {
    let path = script("life_unnoticed.py", APPLICATION);
    let process = Plan::default().serve();
    process.connect().ask(&Ask::new(&path));
    // Without a request that finds anything changed.
    for attempt in 1..=3 {
        process.signal(libc::SIGUSR1);
        assert_eq!(process.report(), replace("graceful_signal", &[(&path, "")]), "attempt {attempt}");
        process.order(&Order::NoSuccessor(b"it could not import its scripts"[..].into()));
        process.wait_until("it serves on", || process.log().matches("this one serves on").count() == attempt);
    }
    process.signal(libc::SIGUSR1);
    assert_eq!(process.report(), replace("graceful_signal", &[]));
    process.wait_for("without the script");
}

#[test]
fn a_successor_that_cannot_import_exits_with_that_status() {
    let good = script("life_good.py", APPLICATION);
    let bad = script("life_bad.py", "raise ValueError('wanted')\n");
    let of = |path: &std::path::Path| served(path, "sub", &[]);
    let mut process = Plan { scripts: vec![of(&good), of(&bad)], ..Plan::default() }.start();
    assert_eq!(process.ended().code(), Some(3));
    position(&process, "ValueError: wanted");
    let imports = vec![(bad.clone(), "")];
    let process = Plan { scripts: vec![of(&good)], imports, ..Plan::default() }.start();
    assert_eq!(process.report(), Some(Report::Ready(false)), "{}", process.log());
    process.order(&Order::Serve);
    let mut connection = process.connect();
    let answer = connection.ask(&Ask { group: "sub", ..Ask::new(&good) });
    assert_eq!((answer.text().as_str(), answer.log.len()), ("VERSION", 0), "it is loaded");
    // It is wanted again and again, without a request.
    let scripts = vec![served(&good, "sub", &["application"]), served(&bad, "", &[])];
    for _ in 0..2 {
        let replace = Report::Replace { reason: Reason::ScriptReload, scripts: scripts.clone() };
        assert_eq!(process.report(), Some(replace), "{}", process.log());
        process.order(&Order::NoSuccessor(Box::from(&b"it failed"[..])));
    }
}

#[test]
fn a_successor_has_to_load_the_served_scripts() {
    let path = script("life_half.py", APPLICATION);
    let process = Plan::default().serve();
    let mut connection = process.connect();
    for callable in ["application", "nothing", "atexit", "say", "application"] {
        let answer = connection.ask(&Ask { callable, ..Ask::new(&path) });
        assert_eq!(answer.text() == "VERSION", callable == "application", "{answer:?}");
    }
    process.signal(libc::SIGUSR1);
    // Not the module that cannot be called, nor what is not there.
    let scripts = vec![served(&path, "", &["application", "say"])];
    let reason = Reason::GracefulSignal;
    assert_eq!(process.report(), Some(Report::Replace { reason, scripts: scripts.clone() }));

    for half in ["def say(what):\n    pass\n", "application = None\ndef say(what):\n    pass\n"] {
        script("life_half.py", half);
        let mut successor = Plan { scripts: scripts.clone(), ..Plan::default() }.start();
        assert_eq!(successor.ended().code(), Some(3));
        position(&successor, "WSGI0089");
        position(&successor, &format!("'{}' no longer has the callable 'application'", path.display()));
    }
    // What was never asked for may be gone, and what is passed on is asked of the next one, too.
    script("life_half.py", &APPLICATION.replace("def spin", "def other"));
    let successor = Plan { scripts: scripts.clone(), ..Plan::default() }.serve();
    successor.signal(libc::SIGUSR1);
    let reason = Reason::GracefulSignal;
    assert_eq!(successor.report(), Some(Report::Replace { reason, scripts }));
}

#[test]
fn requests_are_interrupted() {
    let path = script("life_interrupt.py", APPLICATION);
    let limits = Limits { request_timeout: 600, interrupt_timeout: 400, ..limits() };
    // The time of an import counts, too.
    let imports = vec![(path.clone(), ""), (path.clone(), "sub")];
    let process = Plan { threads: 1, limits, imports, ..Plan::default() }.serve();
    let mut connection = process.connect();
    for group in ["", "sub"] {
        connection.ask(&Ask { group, ..Ask::new(&path) });
        let answer = connection.ask(&Ask { path_info: "/spin/10", group, ..Ask::new(&path) });
        assert_eq!((answer.status, answer.outcome, answer.body.len()), (504, Some(0), 0), "{answer:?}");
        assert_eq!(connection.ask(&Ask { group, ..Ask::new(&path) }).text(), "VERSION");
    }
    position(&process, "called from");
    let answer = connection.ask(&Ask { path_info: "/swallow/3", ..Ask::new(&path) });
    assert_eq!(answer.text(), "VERSION");
    assert!(matches!(process.report(), Some(Report::Replace { reason: Reason::RequestTimeout, .. })));
}

#[test]
fn a_deadlock_ends_the_process() {
    let path = script("life_deadlock.py", APPLICATION);
    let limits = Limits { deadlock_timeout: 1_500, shutdown_timeout: 300, ..limits() };
    let mut process = Plan { limits, ..Plan::default() }.serve();
    let mut connection = process.connect();
    connection.send(&Ask { path_info: "/hold/30", ..Ask::new(&path) });
    assert_eq!(process.report(), stopping("deadlock_timeout"));
    assert_eq!(process.ended().code(), Some(255));
    assert_eq!(connection.answer(b"").outcome, None);
}

#[test]
fn processes_are_recycled_by_count_and_idleness() {
    let path = script("life_recycle.py", APPLICATION);
    let process = Plan { limits: Limits { maximum_requests: 3, ..limits() }, ..Plan::default() }.serve();
    let mut connection = process.connect();
    for _ in 0..3 {
        connection.ask(&Ask::new(&path));
    }
    assert_eq!(process.report(), replace("maximum_requests", &[(&path, "")]));
    assert_eq!(connection.ask(&Ask::new(&path)).text(), "VERSION", "until there is a successor");

    let limits = Limits { inactivity_timeout: 500, ..limits() };
    let mut process = Plan { limits, ..Plan::default() }.serve();
    std::thread::sleep(Duration::from_millis(800));
    let begin = Instant::now();
    process.connect().ask(&Ask::new(&path));
    assert_eq!(process.report(), stopping("inactivity_timeout"));
    assert!(begin.elapsed() >= Duration::from_millis(490), "{:?}", begin.elapsed());
    assert_eq!(process.ended().code(), Some(0));
}

#[test]
fn a_process_for_one_request_serves_one() {
    let path = script("life_once.py", APPLICATION);
    let limits = Limits { maximum_requests: 1, deadlock_timeout: 0, ..limits() };
    let mut process = Plan { threads: 1, limits, ..Plan::default() }.serve();
    // Connections without a request do not count, whether they end before or while it is taken.
    drop(process.connect());
    let mut half = process.connect();
    half.stream.write_all(&Ask::new(&path).frame()[..20]).unwrap();
    process.wait_until("the worker has it", || half.unread() == 0);
    drop(half);
    let mut connection = process.connect();
    let mut next = process.pass();
    next.send(&Ask::new(&path));
    // As much as a child may send at once.
    let frame = Ask { path_info: "/sleep/0.3", ..Ask::new(&path) }.frame();
    connection.stream.write_all(&frame).unwrap();
    assert_eq!(connection.answer(b"").text(), "VERSION");
    assert!(connection.frame().is_err(), "it is closed");
    assert_eq!(process.report(), stopping("maximum_requests"));
    assert_eq!(process.ended().code(), Some(0));
    position(&process, "process_stopping maximum_requests");
    // It waits in the channel, where nobody takes it in this test.
    assert!(next.frame().is_err(), "no hello");
    process.wait_until("nothing runs any more", || process.busy() == 0);
}

#[test]
fn a_first_script_that_never_loads_is_the_end() {
    let path = script("life_startup.py", "raise ValueError('wanted')\n");
    let limits = Limits { startup_timeout: 600, ..limits() };
    let mut process = Plan { limits, ..Plan::default() }.serve();
    std::thread::sleep(Duration::from_millis(700));
    assert_eq!(process.connect().ask(&Ask::new(&path)).outcome, Some(500));
    assert_eq!(process.report(), stopping("startup_timeout"));
    assert_eq!(process.ended().code(), Some(0));
}

#[test]
fn a_service_is_its_script() {
    let source = "
import signal, sys, threading, time
print('runs in', threading.current_thread() is threading.main_thread(), file=sys.stderr)
try:
    time.sleep(30)
finally:
    print('cleaned up', file=sys.stderr)
";
    let path = script("life_service.py", source);
    for is_alone in [false, true] {
        let mut process = Plan { threads: 0, imports: vec![(path.clone(), "")], ..Plan::default() }.start();
        process.wait_for("runs in True");
        process.signal(libc::SIGUSR1);
        std::thread::sleep(Duration::from_millis(50));
        if is_alone {
            process.control = None
        } else {
            process.signal(libc::SIGTERM)
        }
        assert_eq!(process.ended().code(), Some(0));
        position(&process, "cleaned up");
        assert!(!process.log().contains("SystemExit"), "{}", process.log());
    }
}

#[test]
fn a_process_is_bound_to_its_supervisor_until_it_watches_it() {
    let source = "
import ctypes, sys
signal = ctypes.c_int(-1)
ctypes.CDLL(None).prctl(2, ctypes.byref(signal))
print('dies by', signal.value, file=sys.stderr)
";
    let path = script("life_bound.py", source);
    for (threads, signal) in [(1, 0), (0, 15)] {
        let process = Plan { threads, imports: vec![(path.clone(), "")], ..Plan::default() }.start();
        process.wait_for("dies by ");
        process.wait_for(&format!("dies by {signal}\n"));
    }
}

#[test]
fn the_group_has_its_own_settings() {
    let source = "
import os, sys, json
def application(environ, start_response):
    start_response('200 OK', [])
    title = open('/proc/self/cmdline').read().split('\\0')[0]
    return [json.dumps([sys.path[0], sys.path[1], sys.getswitchinterval(), title, sys.argv]).encode()]
";
    let path = script("life_settings.py", source);
    let directory = path.parent().unwrap().to_string_lossy().into_owned();
    let options = ProcessOptions {
        home: Some(b"/home/of/group"[..].into()),
        python_path: Some(directory.as_bytes().into()),
        switch_interval: Some(0.25),
        display_name: Some(b"(wsgi:group)"[..].into()),
        ..ProcessOptions::default()
    };
    let daemon = Daemon { options, ..Daemon::default() };
    let process = Plan { daemon, ..Plan::default() }.serve();
    let text = process.connect().ask(&Ask::new(&path)).text();
    let expected = format!("[\"/home/of/group\", \"{directory}\", 0.25, \"(wsgi:group)\", [\"mod_wsgi\"]]");
    assert_eq!(text, expected);
}

#[test]
fn threads_that_do_not_end_are_named_and_left() {
    let source = "
import atexit, mod_wsgi, sys, threading
def say(what):
    print(what, file=sys.stderr, flush=True)
atexit.register(say, 'exit function')
def wait_for_ever():
    threading.Event().wait()
def application(environ, start_response):
    threading.Thread(target=wait_for_ever, name='never-ends', daemon=False).start()
    threading.Timer(3600, print).start()
    start_response('200 OK', [])
    return [b'ok']
";
    let path = script("life_threads.py", source);
    for group in ["", "sub"] {
        let limits = Limits { shutdown_timeout: 2_000, ..limits() };
        let mut process = Plan { limits, ..Plan::default() }.serve();
        assert_eq!(process.connect().ask(&Ask { group, ..Ask::new(&path) }).status, 200);
        process.signal(libc::SIGTERM);
        assert_eq!(process.ended().code(), Some(0), "{}", process.log());
        position(&process, "exit function");
        position(&process, "'never-ends'");
        position(&process, "in wait_for_ever");
    }
}

#[test]
fn a_process_ends_while_its_memory_is_traced() {
    let source = "
import atexit, sys, tracemalloc
atexit.register(lambda: print('exit function', file=sys.stderr, flush=True))
tracemalloc.start()
def application(environ, start_response):
    start_response('200 OK', [])
    return [b'ok']
";
    let path = script("life_traced.py", source);
    for group in ["", "sub"] {
        let mut process = Plan::default().serve();
        for _ in 0..6 {
            assert_eq!(process.connect().ask(&Ask { group, ..Ask::new(&path) }).status, 200);
        }
        process.signal(libc::SIGTERM);
        assert_eq!(process.ended().code(), Some(0), "{}", process.log());
        position(&process, "exit function");
    }
}
