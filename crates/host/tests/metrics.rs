//! `mod_wsgi.request_metrics()` and its companions. A file of its own, because recording cannot be
//! stopped.

mod support;

use std::collections::HashMap;
use std::path::Path;
use std::sync::mpsc;
use std::time::Duration;

use bridge::outcome;
use bridge::scoreboard::{Encoder, Summary, Worker};
use support::{Call, SCOREBOARD, script};

/// Does what the path says; `/get` answers with `key: repr` of the dict that the query of the path
/// names.
const APPLICATION: &str = "
import mod_wsgi, threading, time

released = threading.Event()
def application(environ, start_response):
    what = environ['PATH_INFO'].split('/')[1:]
    status, text = '200 OK', ''
    if what[0] == 'get':
        result = getattr(mod_wsgi, what[1])()
        text = '\\n'.join(f'{key}: {value!r}' for key, value in result.items()) if result is not None else 'None'
    elif what[0] == 'refused':
        refused = []
        for name in ('start_recording_metrics', 'request_metrics', 'process_metrics', 'server_metrics'):
            try:
                getattr(mod_wsgi, name)(1)
            except TypeError:
                refused.append(name)
        text = ' '.join(refused)
    elif what[0] == 'start':
        text = repr([mod_wsgi.start_recording_metrics() for _ in range(2)])
    elif what[0] == 'sleep':
        time.sleep(float(what[1]))
    elif what[0] == 'hold':
        released.wait(60)
    elif what[0] == 'release':
        released.set()
    elif what[0] == 'burn':
        end = time.thread_time() + float(what[1])
        while time.thread_time() < end:
            pass
    elif what[0] == 'read':
        text = str(len(environ['wsgi.input'].read(100)))
    elif what[0] == 'raise':
        raise ValueError('wanted')
    elif what[0] == 'status':
        status = what[1] + ' X'
    start_response(status, [])
    return [text.encode()]
";

/// Returns what `mod_wsgi.<accessor>()` returns to a request of the group.
fn ask(script: &Path, group: &str, accessor: &str) -> Option<HashMap<String, String>> {
    let path = format!("/get/{accessor}");
    let response = Call { group, path_info: &path, ..Call::new(script) }.run();
    assert_eq!(response.outcome, outcome::COMPLETE, "{response:?}");
    let text = response.text();
    (text != "None").then(|| {
        text.lines()
            .map(|line| line.split_once(": ").expect("a key and a value"))
            .map(|(key, value)| (key.to_owned(), value.to_owned()))
            .collect()
    })
}

fn get(script: &Path, group: &str, path: &str) -> support::Response {
    Call { group, path_info: path, ..Call::new(script) }.run()
}

fn number(metrics: &HashMap<String, String>, key: &str) -> f64 {
    let value = metrics.get(key).unwrap_or_else(|| panic!("no {key} in {metrics:?}"));
    value.parse().unwrap_or_else(|_| panic!("{key} is {value}"))
}

/// The numbers of a list.
fn list(metrics: &HashMap<String, String>, key: &str) -> Vec<f64> {
    let items =
        metrics.get(key).unwrap_or_else(|| panic!("no {key} in {metrics:?}")).trim_matches(['[', ']']);
    items.split(", ").map(|item| item.parse().unwrap_or_else(|_| panic!("{item} in {key}"))).collect()
}

/// Python can be started only once in a process, and recording too: one story.
#[test]
fn the_life_of_a_process_is_recorded() {
    let path = script("metrics.py", APPLICATION);
    let broken = script("broken.py", "raise RuntimeError('at load')");

    for accessor in ["request_metrics", "process_metrics", "server_metrics"] {
        assert_eq!(ask(&path, "", accessor), None, "{accessor} before recording");
    }
    assert_eq!(
        get(&path, "", "/refused").text(),
        "start_recording_metrics request_metrics process_metrics server_metrics"
    );
    assert_eq!(get(&path, "", "/start").text(), "[None, None]");
    assert_eq!(get(&path, "", "/start").text(), "[None, None]");
    assert_eq!(ask(&path, "", "server_metrics"), None);
    assert!(ask(&path, "", "request_metrics").is_some());

    requests_of_every_kind(&path, &broken);
    intervals_are_drained(&path);
    threads_have_slots(&path);
    threads_that_are_gone_are_remembered(&path);
    nothing_is_lost_while_somebody_asks(&path);
    events_do_not_need_it(&path);
    metrics_of_the_server_are_shown(&path);
}

/// Checks the metrics of the server, which do not depend on whether anything is recorded.
fn metrics_of_the_server_are_shown(path: &Path) {
    let publish = |message: &[u8]| *SCOREBOARD.lock().expect("no panic") = message.to_vec();
    let summary = Summary {
        server_limit: 2,
        thread_limit: 1,
        generation: 4,
        restart_time: 1_500_000,
        current_time: 4_000_000,
    };
    let mut message = Vec::new();
    let mut encoder = Encoder::new(&mut message, &summary);
    encoder.process(77, 4, true);
    encoder.worker(&Worker {
        thread_num: 5,
        generation: 3,
        status: b'W',
        access_count: 12,
        bytes_served: 1 << 40,
        start_time: 2_500_000,
        stop_time: 0,
        last_used: 3_000_000,
        client: b"::1",
        request: b"GET /\xe9 HTTP/1.1",
        vhost: b"localhost:80",
    });
    encoder.process(0, 0, false);
    encoder.worker(&Worker::default());
    publish(&message);
    let text = get(path, "own", "/get/server_metrics").text();
    let empty = "{'thread_num': 0, 'generation': 0, 'status': '.', 'access_count': 0, 'bytes_served': 0, \
                 'start_time': 0.0, 'stop_time': 0.0, 'last_used': 0.0, 'client': '', 'request': '', 'vhost': ''}";
    let busy = "{'thread_num': 5, 'generation': 3, 'status': 'W', 'access_count': 12, \
                'bytes_served': 1099511627776, 'start_time': 2.5, 'stop_time': 0.0, 'last_used': 3.0, \
                'client': '::1', 'request': 'GET /\u{e9} HTTP/1.1', 'vhost': 'localhost:80'}";
    let expected = [
        "server_limit: 2",
        "thread_limit: 1",
        "running_generation: 4",
        "restart_time: 1.5",
        "current_time: 4.0",
        "running_time: 2",
        &format!(
            "processes: [{{'process_num': 0, 'pid': 77, 'generation': 4, 'quiescing': True, 'workers': [{busy}]}}, \
             {{'process_num': 1, 'pid': 0, 'generation': 0, 'quiescing': False, 'workers': [{empty}]}}]"
        ),
    ];
    assert_eq!(text, expected.join("\n"));
    publish(&message[..message.len() - 1]);
    assert_eq!(ask(path, "", "server_metrics"), None, "what makes no sense");
    publish(b"");
    assert_eq!(ask(path, "", "server_metrics"), None);
}

/// On this thread: the test's own, which started Python and is thread 0.
fn requests_of_every_kind(path: &Path, broken: &Path) {
    ask(path, "", "request_metrics");
    assert_eq!(get(path, "", "/status/204").status, 204);
    assert_eq!(get(path, "sub", "/status/404").status, 404);
    assert_eq!(get(path, "own", "/status/302").status, 302);
    assert_eq!(get(path, "", "/raise").outcome, 500);
    assert_eq!(get(broken, "", "/").outcome, 500);
    let read = Call { path_info: "/read", body: b"12345", ..Call::new(path) }.run();
    assert_eq!(read.text(), "5");
    assert_eq!(get(path, "", "/sleep/0.03").outcome, outcome::COMPLETE);
    let metrics = ask(path, "sub", "request_metrics").expect("metrics in every interpreter");

    // The seven, and the one that asked before them.
    assert_eq!(number(&metrics, "request_count"), 8.0);
    let statuses = [1, 2, 3, 4, 5].map(|class| number(&metrics, &format!("status_{class}xx")));
    assert_eq!(statuses, [0.0, 4.0, 1.0, 1.0, 1.0]);
    assert_eq!(number(&metrics, "pid"), f64::from(std::process::id()));
    let period = number(&metrics, "sample_period");
    let (start, stop) = (number(&metrics, "start_time"), number(&metrics, "stop_time"));
    assert!(period >= 0.03 && (stop - start - period).abs() < 0.01, "{metrics:?}");
    assert!((number(&metrics, "request_throughput") - 8.0 / period).abs() < 1e-6);

    assert_eq!((number(&metrics, "input_bytes"), number(&metrics, "output_writes")), (5.0, 2.0));
    // 3 + 2 bytes, and the end.
    assert_eq!(number(&metrics, "input_reads"), 3.0);
    assert!(number(&metrics, "input_read_time_max_us") >= 0.0);
    assert!(number(&metrics, "output_bytes") > 100.0, "{metrics:?}");

    for phase in ["application_time", "request_time", "server_time"] {
        let buckets = list(&metrics, &format!("{phase}_buckets"));
        assert_eq!((buckets.len(), buckets.iter().sum::<f64>()), (65, 7.0), "{phase}: {metrics:?}");
    }
    assert!(number(&metrics, "application_time_max_us") >= 30_000.0);
    assert!(number(&metrics, "application_time") >= 0.03 / 7.0);
    assert!(number(&metrics, "application_time_min_us") < 30_000.0);
    for phase in ["queue_time", "daemon_time"] {
        for key in [phase.to_owned(), format!("{phase}_min_us"), format!("{phase}_max_us")] {
            assert_eq!(metrics[&key], "None", "{key}");
        }
        assert_eq!(list(&metrics, &format!("{phase}_buckets")), [0.0; 65]);
    }
    assert!(number(&metrics, "capacity_utilization") >= 0.03 / (4.0 * period), "{metrics:?}");
}

/// An interval begins where the last one ended.
fn intervals_are_drained(path: &Path) {
    let first = ask(path, "", "request_metrics").expect("metrics");
    let second = ask(path, "", "request_metrics").expect("metrics");
    assert_eq!(number(&second, "start_time"), number(&first, "stop_time"));
    assert_eq!((number(&second, "request_count"), number(&second, "status_2xx")), (1.0, 1.0));
}

/// Checks that the work of a thread is counted in a slot of its own, also while it goes on.
fn threads_have_slots(path: &Path) {
    let before = number(&ask(path, "", "process_metrics").expect("metrics"), "request_count");
    std::thread::scope(|scope| {
        // Made here, so that neither side waits for one that has failed.
        let (ready, is_ready) = mpsc::channel();
        let (go, may_go) = mpsc::channel();
        scope.spawn(move || {
            assert_eq!(get(path, "", "/burn/0.05").outcome, outcome::COMPLETE);
            ready.send(()).expect("the test waits");
            may_go.recv().expect("the test says when");
            assert_eq!(get(path, "", "/hold").outcome, outcome::COMPLETE);
            ready.send(()).expect("the test waits");
            may_go.recv().expect("the test says when");
        });
        is_ready.recv().expect("the first request");
        let busy = ask(path, "", "request_metrics").expect("metrics");
        assert_eq!(number(&busy, "request_threads_maximum"), 4.0);
        let thread =
            |metrics: &HashMap<_, _>, column: &str| list(metrics, &format!("request_threads_{column}"))[0];
        assert_eq!(thread(&busy, "completed"), 1.0, "{busy:?}");
        assert_eq!(busy["request_threads_buckets"], busy["request_threads_completed"]);
        for column in ["cpu_time", "busy_time", "max_duration"] {
            assert!(thread(&busy, column) >= 0.05, "{column}: {busy:?}");
        }
        assert_eq!(thread(&busy, "current_elapsed"), 0.0);
        assert!(number(&busy, "cpu_utilization") > 0.0, "{busy:?}");
        assert_eq!(busy["cpu_time"], busy["cpu_utilization"]);
        // Thread 0's requests are without it.
        assert_eq!(list(&busy, "gil_wait_time_buckets").iter().sum::<f64>(), 1.0, "{busy:?}");
        assert!(number(&busy, "gil_wait_count") >= 1.0, "{busy:?}");

        go.send(()).expect("the thread waits");
        let second = "{'thread_id': 1, 'request_count': 2}";
        while !ask(path, "", "process_metrics").expect("metrics")["threads"].contains(second) {
            std::thread::sleep(Duration::from_millis(1));
        }
        std::thread::sleep(Duration::from_millis(20));
        let process = ask(path, "", "process_metrics").expect("metrics");
        assert_eq!(number(&process, "active_requests"), 2.0);
        let during = ask(path, "", "request_metrics").expect("metrics");
        assert_eq!(thread(&during, "completed"), 0.0, "{during:?}");
        let elapsed = thread(&during, "current_elapsed");
        assert!(elapsed >= 0.02 && (thread(&during, "busy_time") - elapsed).abs() < 1e-6, "{during:?}");
        assert_eq!((thread(&during, "cpu_time"), thread(&during, "max_duration")), (0.0, 0.0));
        assert_eq!(number(&during, "request_threads_active"), 1.0);

        assert_eq!(get(path, "", "/release").outcome, outcome::COMPLETE);
        is_ready.recv().expect("the second request");
        let after = ask(path, "", "request_metrics").expect("metrics");
        assert!(thread(&after, "max_duration") >= elapsed, "{after:?}");
        assert!((thread(&after, "busy_time") + elapsed - thread(&after, "max_duration")).abs() < 1e-6);

        let process = ask(path, "sub", "process_metrics").expect("metrics");
        assert!(number(&process, "request_count") >= before + 4.0);
        assert!(process["threads"].contains(second), "{process:?}");
        assert!(number(&process, "request_busy_time") >= 0.02, "{process:?}");
        assert_eq!((number(&process, "request_threads"), number(&process, "active_requests")), (2.0, 1.0));
        go.send(()).expect("the thread waits");
    });
}

/// More threads than the table has lines, most of them gone when somebody asks.
fn threads_that_are_gone_are_remembered(path: &Path) {
    ask(path, "", "request_metrics");
    let busy = number(&ask(path, "", "process_metrics").expect("metrics"), "request_busy_time");
    for number in 0..8 {
        let group = ["", "sub", "own"][number % 3];
        std::thread::scope(|scope| {
            let thread = scope.spawn(|| get(path, group, "/sleep/0.01").outcome);
            // Unlike the end of the scope, this waits for the thread's own data to be dropped.
            assert_eq!(thread.join().expect("no panic"), outcome::COMPLETE);
        });
    }
    let process = ask(path, "", "process_metrics").expect("metrics");
    assert!(number(&process, "request_busy_time") >= busy + 0.08, "{process:?}");
    assert_eq!(number(&process, "request_threads"), 10.0);
    assert_eq!(process["threads"].matches("thread_id").count(), 1, "only this thread is left: {process:?}");

    let metrics = ask(path, "", "request_metrics").expect("metrics");
    assert_eq!(number(&metrics, "request_count"), 11.0);
    assert_eq!(list(&metrics, "request_threads_completed"), [0.0, 1.0, 1.0, 1.0]);
    assert_eq!(number(&metrics, "request_threads_active"), 3.0);
    assert_eq!(number(&metrics, "request_threads_started"), 10.0);
    assert!(number(&metrics, "memory_max_rss") >= number(&metrics, "memory_rss"));
    assert!(number(&metrics, "memory_rss") > 1e6);
}

/// Every request is in one interval, whoever serves and whoever asks.
fn nothing_is_lost_while_somebody_asks(path: &Path) {
    const THREADS: usize = 6;
    const REQUESTS: usize = 100;
    ask(path, "", "request_metrics");
    let mut asked = 0;
    let mut sums = [0.0; 3];
    let mut add = |group: &str| {
        let metrics = ask(path, group, "request_metrics").expect("metrics");
        for (sum, key) in sums.iter_mut().zip(["request_count", "status_2xx", "status_4xx"]) {
            *sum += number(&metrics, key);
        }
        asked += 1;
    };
    std::thread::scope(|scope| {
        let serve = |index: usize| {
            for number in 0..REQUESTS {
                let group = ["", "sub", "own"][(index + number) % 3];
                let status = if number % 2 == 0 { "/status/200" } else { "/status/404" };
                assert_eq!(get(path, group, status).outcome, outcome::COMPLETE);
            }
        };
        let threads: Vec<_> = (0..THREADS).map(|index| scope.spawn(move || serve(index))).collect();
        while threads.iter().any(|thread| !thread.is_finished()) {
            add("own");
            std::thread::sleep(Duration::from_millis(1));
        }
    });
    add("");
    let (all, half) = ((THREADS * REQUESTS) as f64, (THREADS * REQUESTS / 2) as f64);
    // Each question is answered before its own request has ended: the first is that of before, the
    // last is missing.
    let asked = f64::from(asked);
    assert_eq!(sums, [all + asked, half + asked, half]);
}

/// Recording makes no events, and events have the same clock.
fn events_do_not_need_it(path: &Path) {
    let subscribed = script(
        "subscribed.py",
        "
import mod_wsgi, time
finished = []
def subscriber(name, **event):
    if name == 'request_finished':
        finished.append(sorted(key for key in event if key.startswith('cpu_')))
        finished.append(0 < event['cpu_time'] <= event['application_time'])
mod_wsgi.subscribe_events(subscriber)
def application(environ, start_response):
    end = time.thread_time() + 0.05
    while time.thread_time() < end:
        pass
    start_response('200 OK', [])
    return [repr(finished).encode()]
",
    );
    assert_eq!(get(&subscribed, "events", "/").text(), "[]");
    let second = get(&subscribed, "events", "/").text();
    assert_eq!(second, "[['cpu_system_time', 'cpu_time', 'cpu_user_time'], True]");
    assert_eq!(get(path, "events", "/status/200").status, 200);
}
