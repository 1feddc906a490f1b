//! Requests to the host as a daemon process: a real Python, its supervisor and its clients played
//! by the tests.

mod support;

use std::io::Write;
use std::os::fd::AsFd;
use std::os::unix::fs::FileExt;
use std::time::{Duration, Instant};

use bridge::scoreboard::{Encoder, Summary};
use os::descriptors::{Wait, receive_with, send_with};
use os::snapshot::SnapshotWriter;
use support::daemon::{Ask, Plan, micros};
use support::{open_gate, script};
use wsgi_core::wire::frame::{HEADER, Header, Kind, LONGEST_BLOCK, Rejection, flag};
use wsgi_core::wire::launch::{Daemon, Limits, ProcessOptions};

/// Does what the path says.
const APPLICATION: &str = "
import hashlib, os, time, mod_wsgi

calls = []
def application(environ, start_response):
    what = environ['PATH_INFO'].split('/')[1:]
    calls.append(what)
    if what[0] == 'gate':
        while not os.path.exists(__file__ + '.' + what[1]):
            time.sleep(0.005)
    if what[0] == 'crash':
        import ctypes
        ctypes.string_at(0)
    if what[0] == 'log':
        print('a line', file=environ['wsgi.errors'])
    if what[0] == 'unread':
        start_response('200 OK', [])
        return [b'x' * 13_000_000]
    if what[0] == 'fail':
        raise ValueError('wanted')
    start_response('200 OK', [('Content-Type', 'text/plain')])
    if what[0] == 'stream':
        def blocks():
            for number in range(int(what[1])):
                yield b'%d ' % number
        return blocks()
    if what[0] == 'break':
        def blocks():
            yield b'begun'
            raise ValueError('wanted')
        return blocks()
    if what[0] == 'sleep':
        time.sleep(float(what[1]))
        return [b'x' * int(what[2])]
    if what[0] == 'large':
        return [b'a' * 5, b'b' * 300_000, b'c' * 1_000_000]
    if what[0] == 'file':
        return environ['wsgi.file_wrapper'](open(__file__, 'rb'))
    if what[0] == 'digest':
        digest, total = hashlib.sha1(), 0
        while block := environ['wsgi.input'].read(int(what[1])):
            digest.update(block)
            total += len(block)
        return [('%d %s' % (total, digest.hexdigest())).encode()]
    if what[0] == 'seen':
        return [repr(['/'.join(call) for call in calls[:-1]]).encode()]
    if what[0] == 'environ':
        return [repr((environ[what[1]])).encode()]
    if what[0] == 'where':
        return [('%s %s %d' % (mod_wsgi.process_group, mod_wsgi.application_group, os.getpid())).encode()]
    return [b'hello']
";

#[test]
fn requests_follow_each_other_on_a_connection() {
    let path = script("daemon_requests.py", APPLICATION);
    let process = Plan::default().serve();
    let mut connection = process.connect();
    for (path_info, text) in [("/", "hello"), ("/stream/3", "0 1 2 "), ("/", "hello")] {
        let answer = connection.ask(&Ask { path_info, ..Ask::new(&path) });
        assert_eq!((answer.status, answer.outcome), (200, Some(0)), "{answer:?}");
        assert_eq!(answer.text(), text);
        assert_eq!(answer.headers, [("Content-Type".to_owned(), "text/plain".to_owned())]);
    }
    let answer = connection.ask(&Ask { path_info: "/where", group: "sub", ..Ask::new(&path) });
    assert_eq!(answer.text(), format!("group sub {}", process.child.id()));
    let answer = connection.ask(&Ask { path_info: "/environ/mod_wsgi.daemon_start", ..Ask::new(&path) });
    let start: f64 = answer.text().parse().unwrap();
    assert!((start - micros() as f64 / 1e6).abs() < 10.0, "{start}");
    process.wait_until("nothing runs any more", || process.busy() == 0);
}

#[test]
fn failures_say_what_the_client_must_be_told() {
    let path = script("daemon_failures.py", APPLICATION);
    let process = Plan::default().serve();
    let mut connection = process.connect();
    let answer = connection.ask(&Ask { path_info: "/fail", ..Ask::new(&path) });
    assert_eq!(answer.outcome, Some(500), "{answer:?}");
    assert!(answer.log.iter().any(|line| line.contains("ValueError: wanted")), "{answer:?}");
    let answer = connection.ask(&Ask { path_info: "/break", ..Ask::new(&path) });
    assert_eq!((answer.text().as_str(), answer.outcome), ("begun", Some(1)));
    let answer = connection.ask(&Ask { path_info: "/log", ..Ask::new(&path) });
    assert!(answer.log.iter().any(|line| line.ends_with("a line")), "{answer:?}");
    let answer = connection.ask(&Ask::new(std::path::Path::new("/nonexistent.py")));
    assert_eq!(answer.outcome, Some(500), "{answer:?}");
    // Not a request: the connection is closed, the process lives.
    connection.stream.write_all(&Header { kind: Kind::End, flags: 0, length: 0 }.bytes()).unwrap();
    assert!(connection.frame().is_err());
    assert_eq!(process.connect().ask(&Ask::new(&path)).text(), "hello");
    // Neither is this.
    let mut connection = process.connect();
    connection.stream.write_all(&Header { kind: Kind::Request, flags: 0, length: 1 }.bytes()).unwrap();
    connection.stream.write_all(b"x").unwrap();
    assert!(connection.frame().is_err());
    process.wait_for("WSGI0080");
    assert_eq!(process.connect().ask(&Ask::new(&path)).text(), "hello");
}

#[test]
fn the_head_and_a_short_body_come_in_one_piece() {
    let path = script("daemon_piece.py", APPLICATION);
    let process = Plan::default().serve();
    let mut connection = process.connect();
    connection.ask(&Ask::new(&path));
    connection.send(&Ask::new(&path));
    let mut buffer = [0; 4096];
    let count = std::io::Read::read(&mut connection.stream, &mut buffer).unwrap();
    let mut kinds = Vec::new();
    let mut rest = &buffer[..count];
    while let Some(header) = Header::parse(rest).unwrap() {
        kinds.push(header.kind);
        rest = &rest[HEADER + header.length..];
    }
    assert_eq!(kinds, [Kind::Head, Kind::Data, Kind::End]);
}

#[test]
fn the_end_has_the_parts_of_the_requests_time() {
    let path = script("daemon_times.py", APPLICATION);
    let process = Plan::default().serve();
    let mut connection = process.connect();
    // The last block goes with the end of the response, behind it or in front of it.
    for length in [1, 100_000] {
        let path_info = format!("/sleep/0.05/{length}");
        let times = connection
            .ask(&Ask { path_info: &path_info, request_start: micros() - 3_000_000, ..Ask::new(&path) })
            .times;
        assert!(times.application >= 50_000 && times.queue >= 3_000_000, "{length}: {times:?}");
        let times = connection.ask(&Ask { request_start: micros() + 60_000_000, ..Ask::new(&path) }).times;
        assert!(
            times.queue == 0 && times.application < 50_000_000,
            "no time of an earlier request: {times:?}"
        );
    }
    let failed =
        Ask { request_start: micros() - 3_000_000, ..Ask::new(std::path::Path::new("/nonexistent.py")) };
    let times = connection.ask(&failed).times;
    assert!(times.queue >= 3_000_000 && times.application == 0, "{times:?}");
}

#[test]
fn long_blocks_come_whole_and_in_order() {
    let path = script("daemon_large.py", APPLICATION);
    let process = Plan::default().serve();
    let mut connection = process.connect();
    let answer = connection.ask(&Ask { path_info: "/large", ..Ask::new(&path) });
    let expected = [vec![b'a'; 5], vec![b'b'; 300_000], vec![b'c'; 1_000_000]].concat();
    assert_eq!(answer.outcome, Some(0));
    assert!(answer.body == expected, "{} bytes", answer.body.len());
}

#[test]
fn nothing_follows_the_end_of_a_response_whoever_writes() {
    // The end goes out with the last block of a list, if that is long, and subscribers come later.
    let source = "
import threading, mod_wsgi

attempts = []
writers = []
def late():
    try:
        writers[0](b'late')
        attempts.append('written')
    except OSError:
        attempts.append('refused')
def finished(event, **data):
    if event == 'request_finished' and not attempts:
        late()
        thread = threading.Thread(target=late)
        thread.start()
        thread.join()
mod_wsgi.subscribe_events(finished)
def application(environ, start_response):
    writers.append(start_response('200 OK', []))
    if environ['PATH_INFO'] == '/attempts':
        return [repr(attempts).encode()]
    return [b'x' * 100_000]
";
    let path = script("daemon_late.py", source);
    let process = Plan::default().serve();
    let mut connection = process.connect();
    let answer = connection.ask(&Ask::new(&path));
    assert_eq!((answer.body.len(), answer.outcome), (100_000, Some(0)), "{:?}", answer.log);
    // What came behind the end would be the beginning of this answer.
    let answer = connection.ask(&Ask { path_info: "/attempts", ..Ask::new(&path) });
    assert_eq!((answer.text().as_str(), answer.outcome), ("['refused', 'refused']", Some(0)));
}

#[test]
fn the_scoreboard_is_read_from_the_given_descriptor() {
    let source = "
import mod_wsgi
def application(environ, start_response):
    start_response('200 OK', [])
    metrics = mod_wsgi.server_metrics()
    return [repr(metrics and metrics['running_generation']).encode()]
";
    let path = script("daemon_scoreboard.py", source);
    let plan = |scoreboard| {
        let daemon = Daemon { scoreboard: 100, ..Daemon::default() };
        Plan { daemon, scoreboard, ..Plan::default() }
    };
    let (file, snapshot) = SnapshotWriter::create(c"scoreboard", 100).unwrap();
    let process = plan(Some(file)).serve();
    let mut connection = process.connect();
    let mut answer = || connection.ask(&Ask::new(&path)).text();
    assert_eq!(answer(), "None", "nothing has been published");
    let mut message = Vec::new();
    let _ = Encoder::new(&mut message, &Summary { generation: 4, ..Summary::default() });
    assert!(snapshot.publish(&message));
    assert_eq!(answer(), "4");
    assert!(snapshot.publish(b"nonsense"));
    assert_eq!(answer(), "None");

    let process = plan(None).start();
    assert_eq!(process.report(), None);
    process.wait_for("lacks the scoreboard");
}

#[test]
fn bodies_are_pulled() {
    let path = script("daemon_bodies.py", APPLICATION);
    let process = Plan::default().serve();
    let mut connection = process.connect();
    let body: Vec<u8> = (0..3_000_000_u32).map(|number| ((number * 7) >> 3) as u8).collect();
    let expected = {
        let whole = Ask { path_info: "/digest/-1", inline: &body, ..Ask::new(&path) };
        let answer = connection.ask(&whole);
        assert!(answer.pulls.is_empty(), "all of it came with the request");
        answer.text()
    };
    assert!(expected.starts_with("3000000 "), "{expected}");
    for size in ["-1", "1000", "65536", "10000000"] {
        let path_info = format!("/digest/{size}");
        let ask = Ask { path_info: &path_info, inline: &body[..5000], is_whole: false, ..Ask::new(&path) };
        connection.send(&ask);
        let answer = connection.answer(&body[5000..]);
        assert_eq!(answer.text(), expected, "by {size}");
        assert!(answer.pulls.iter().all(|wanted| *wanted as usize <= LONGEST_BLOCK));
    }
    // A body that nobody reads is not asked for.
    let answer = connection.ask(&Ask { is_whole: false, ..Ask::new(&path) });
    assert_eq!((answer.text().as_str(), answer.pulls.len()), ("hello", 0));
    let answer = connection.ask(&Ask { path_info: "/unread", is_whole: false, ..Ask::new(&path) });
    assert_eq!((answer.body.len(), answer.pulls.len()), (13_000_000, 0));
    // A part of a frame that is not read is not taken for the next one.
    let ask = Ask { path_info: "/digest/10", is_whole: false, ..Ask::new(&path) };
    connection.send(&ask);
    connection.answer(&body[..12_345]);
    assert_eq!(connection.ask(&Ask::new(&path)).text(), "hello");
}

#[test]
fn the_end_of_a_request_does_not_wait_for_the_rest_of_its_body() {
    let source = "
def application(environ, start_response):
    start_response('200 OK', [])
    return [b'read ' + environ['wsgi.input'].read(10)]
";
    let path = script("daemon_rest.py", source);
    let process = Plan { threads: 1, ..Plan::default() }.serve();
    let (mut slow, mut other) = (process.connect(), process.connect());
    other.ask(&Ask::new(&path));
    slow.send(&Ask { is_whole: false, ..Ask::new(&path) });
    assert_eq!(slow.frame().unwrap().0, Kind::Pull);
    let mut frame = Header { kind: Kind::Body, flags: flag::LAST, length: 10_000 }.bytes().to_vec();
    frame.extend_from_slice(&[b'x'; 1000]);
    slow.stream.write_all(&frame).unwrap();
    assert_eq!(slow.answer(b"").text(), "read xxxxxxxxxx");
    // The only thread is free.
    assert_eq!(other.ask(&Ask::new(&path)).text(), "read ");
}

#[test]
fn an_unreadable_body_is_an_error_in_the_application() {
    let path = script("daemon_unreadable.py", APPLICATION);
    let process = Plan::default().serve();
    let mut connection = process.connect();
    connection.ask(&Ask::new(&path));
    connection.send(&Ask { path_info: "/digest/-1", is_whole: false, ..Ask::new(&path) });
    assert_eq!(connection.frame().unwrap().0, Kind::Pull);
    let mut frame = Header { kind: Kind::Body, flags: flag::FAILED, length: 3 }.bytes().to_vec();
    frame.extend_from_slice(b"abc");
    connection.stream.write_all(&frame).unwrap();
    let answer = connection.answer(b"");
    assert_eq!(answer.outcome, Some(500), "{answer:?}");
    assert!(answer.log.iter().any(|line| line.contains("OSError")), "{answer:?}");
    assert_eq!(connection.ask(&Ask::new(&path)).text(), "hello");
}

#[test]
fn files_are_sent_as_descriptors() {
    let path = script("daemon_files.py", APPLICATION);
    let process = Plan::default().serve();
    let mut connection = process.connect();
    connection.ask(&Ask::new(&path));
    connection.send(&Ask { path_info: "/file", ..Ask::new(&path) });
    assert_eq!(connection.frame().unwrap().0, Kind::Head);
    let mut frame = [0; HEADER + 16];
    let (count, mut files) = receive_with(&connection.stream, &mut frame, Wait::Allowed).unwrap();
    assert_eq!((count, files.len()), (frame.len(), 1));
    let header = Header::parse(&frame).unwrap().unwrap();
    assert_eq!((header.kind, header.length), (Kind::File, 16));
    let length = u64::from_le_bytes(frame[HEADER + 8..].try_into().unwrap());
    assert_eq!(frame[HEADER..HEADER + 8], [0; 8], "from its beginning");
    let mut text = vec![0; length as usize];
    std::fs::File::from(files.remove(0)).read_exact_at(&mut text, 0).unwrap();
    assert_eq!(String::from_utf8(text).unwrap(), APPLICATION);
    assert_eq!(connection.answer(b"").outcome, Some(0));
    assert_eq!(connection.ask(&Ask::new(&path)).text(), "hello");
}

#[test]
fn files_that_somebody_else_has_are_read_by_the_process() {
    let source = "
import os
def application(environ, start_response):
    start_response('200 OK', [])
    file = os.fdopen(os.memfd_create('file'), 'w+b')
    file.write(b'0123456789' * 20000)
    file.seek(5)
    return environ['wsgi.file_wrapper'](file)
";
    let path = script("daemon_far_files.py", source);
    let process = Plan::default().serve();
    let answer = process.connect().ask(&Ask::new(&path));
    // Nobody has mounted the file system of files in memory.
    assert_eq!((answer.status, answer.files, answer.outcome), (200, 0, Some(0)), "{:?}", answer.log);
    assert_eq!(answer.body.len(), 199_995);
    assert!(answer.body.starts_with(b"5678901") && answer.body.ends_with(b"6789"));
}

#[test]
fn a_request_whose_client_has_gone_never_runs() {
    let path = script("daemon_gone.py", APPLICATION);
    let process = Plan { threads: 1, ..Plan::default() }.serve();
    let mut busy = process.connect();
    let mut gone = process.connect();
    busy.ask(&Ask::new(&path));
    busy.send(&Ask { path_info: "/gate/gone", ..Ask::new(&path) });
    process.wait_until("one runs", || process.busy() == 1);
    gone.send(&Ask { path_info: "/ghost", ..Ask::new(&path) });
    process.wait_until("one runs and one waits", || process.busy() == 2);
    drop(gone);
    process.wait_until("the one that waited is forgotten", || process.busy() == 1);
    open_gate(&path, "gone");
    assert_eq!(busy.answer(b"").text(), "hello");
    let seen = busy.ask(&Ask { path_info: "/seen", ..Ask::new(&path) }).text();
    assert_eq!(seen, "['', 'gate/gone']");
    process.wait_until("nothing runs any more", || process.busy() == 0);
}

#[test]
fn queued_requests_are_answered_while_every_worker_is_stuck() {
    let path = script("daemon_stuck.py", APPLICATION);
    let limits = Limits { listen_backlog: 2, queue_timeout: 1_500, ..Plan::default().limits };
    let process = Plan { threads: 1, limits, ..Plan::default() }.serve();
    let mut connections: Vec<_> = (0..4).map(|_| process.connect()).collect();
    connections[0].ask(&Ask::new(&path));
    connections[0].send(&Ask { path_info: "/gate/stuck", ..Ask::new(&path) });
    process.wait_until("it runs", || process.busy() == 1);
    for (waiting, connection) in connections[1..].iter_mut().enumerate() {
        connection.send(&Ask { path_info: "/ghost", ..Ask::new(&path) });
        if waiting < 2 {
            process.wait_until("it waits", || process.busy() == 2 + waiting as u32);
        }
    }
    let answers: Vec<_> =
        connections[1..].iter_mut().map(|connection| connection.answer(b"").rejection).collect();
    let late = Some(Rejection::Late as u8);
    assert_eq!(answers, [late, late, Some(Rejection::Busy as u8)]);
    open_gate(&path, "stuck");
    assert_eq!(connections[0].answer(b"").text(), "hello");
    // A worker that picks it up finds that it is too late as well.
    let queue_ticks = os::clock::ticks().wrapping_sub(2_000);
    let answer = connections[1].ask(&Ask { queue_ticks, ..Ask::new(&path) });
    assert_eq!(answer.rejection, late);
    // Whatever the clock of the wall says, which somebody may have set.
    let request_start = micros() - 3_600_000_000;
    let answer = connections[1].ask(&Ask { request_start, ..Ask::new(&path) });
    assert_eq!(answer.rejection, None);
    let seen = connections[1].ask(&Ask { path_info: "/seen", ..Ask::new(&path) }).text();
    assert_eq!(seen, "['', 'gate/stuck', '']", "and the connection is usable");
}

#[test]
fn a_worker_that_blocks_does_not_keep_others_from_requests() {
    let path = script("daemon_blocks.py", APPLICATION);
    let process = Plan { threads: 3, ..Plan::default() }.serve();
    let mut connections: Vec<_> = (0..4).map(|_| process.connect()).collect();
    for gate in ["first", "second"] {
        // Meanwhile one of the workers begins to take all requests, as none of these blocks.
        let end = Instant::now() + Duration::from_millis(1_200);
        while Instant::now() < end {
            connections.iter_mut().for_each(|connection| connection.send(&Ask::new(&path)));
            for connection in &mut connections {
                assert_eq!(connection.answer(b"").text(), "hello");
            }
        }
        let blocks = format!("/gate/{gate}");
        connections[0].send(&Ask { path_info: &blocks, ..Ask::new(&path) });
        process.wait_until("it runs", || process.busy() == 1);
        for connection in &mut connections[1..] {
            assert_eq!(connection.ask(&Ask::new(&path)).text(), "hello");
        }
        open_gate(&path, gate);
        assert_eq!(connections[0].answer(b"").text(), "hello");
    }
}

#[test]
fn many_connections_cost_no_threads_and_all_are_served() {
    let path = script("daemon_many.py", APPLICATION);
    let limits = Limits { listen_backlog: 200, ..Plan::default().limits };
    let process = Plan { limits, ..Plan::default() }.serve();
    let mut connections: Vec<_> = (0..200).map(|_| process.connect()).collect();
    for connection in &mut connections {
        connection.send(&Ask::new(&path));
    }
    for connection in &mut connections {
        assert_eq!(connection.answer(b"").text(), "hello");
    }
    let tasks = std::fs::read_dir(format!("/proc/{}/task", process.child.id())).unwrap().count();
    assert!(tasks < 10, "{tasks} threads");
    drop(connections);
    process.wait_until("the connections are closed", || {
        std::fs::read_dir(format!("/proc/{}/fd", process.child.id())).unwrap().count() < 20
    });
}

#[test]
fn a_crash_is_the_end_of_the_connection() {
    let path = script("daemon_crash.py", APPLICATION);
    let mut process = Plan::default().serve();
    let mut connection = process.connect();
    let answer = connection.ask(&Ask { path_info: "/crash", ..Ask::new(&path) });
    assert_eq!((answer.outcome, answer.rejection), (None, None));
    use std::os::unix::process::ExitStatusExt;
    assert_eq!(process.ended().signal(), Some(libc::SIGSEGV));
}

#[test]
fn paths_are_relative_to_the_jail() {
    let path = script("daemon_jail.py", APPLICATION);
    let options = ProcessOptions { chroot: Some(b"/jail/"[..].into()), ..ProcessOptions::default() };
    let daemon = Daemon { options, ..Daemon::default() };
    let process = Plan { daemon, ..Plan::default() }.serve();
    let mut connection = process.connect();
    let outside = std::path::PathBuf::from(format!("/jail{}", path.display()));
    let answer = connection.ask(&Ask { path_info: "/environ/SCRIPT_FILENAME", ..Ask::new(&outside) });
    assert_eq!(answer.text(), format!("'{}'", path.display()));
    let answer = connection.ask(&Ask::new(&path));
    assert_eq!(answer.outcome, Some(502));
    assert!(answer.log[0].contains("WSGI0081"), "{answer:?}");
}

#[test]
fn a_process_without_descriptors_says_so_and_recovers() {
    let source = APPLICATION.replace(
        "    if what[0] == 'fail':",
        "    if what[0] == 'exhaust':
        import resource
        hard = resource.getrlimit(resource.RLIMIT_NOFILE)[1]
        resource.setrlimit(resource.RLIMIT_NOFILE, (100, hard))
        files = []
        try:
            while True:
                files.append(open('/dev/null'))
        except OSError:
            while not os.path.exists(__file__ + '.exhausted'):
                time.sleep(0.005)
    if what[0] == 'fail':",
    );
    let path = script("daemon_exhausted.py", &source);
    let process = Plan::default().serve();
    let mut busy = process.connect();
    busy.ask(&Ask::new(&path));
    busy.send(&Ask { path_info: "/exhaust", ..Ask::new(&path) });
    process.wait_until("there are no descriptors", || {
        std::fs::read_dir(format!("/proc/{}/fd", process.child.id())).unwrap().count() >= 100
    });
    let (ours, theirs) = std::os::unix::net::UnixStream::pair().unwrap();
    let channel = process.channel.as_ref().unwrap();
    send_with(channel, b"c", &[theirs.as_fd()], Wait::Allowed).unwrap();
    drop(theirs);
    process.wait_for("WSGI0016");
    open_gate(&path, "exhausted");
    let count = std::io::Read::read(&mut &ours, &mut [0; 1]).unwrap();
    assert_eq!(count, 0, "the child can try again");
    assert_eq!(busy.answer(b"").text(), "hello");
    assert_eq!(process.connect().ask(&Ask::new(&path)).text(), "hello");
}
