//! The slow tests, of what shows only after a while: what grows, and what breaks once in a thousand
//! times.

use std::fs;
use std::sync::atomic::{AtomicBool, AtomicU32, AtomicUsize, Ordering};
use std::sync::{PoisonError, RwLock, RwLockReadGuard, RwLockWriteGuard};
use std::thread;
use std::time::{Duration, Instant};

use e2e::Needs::{Daemon, OnlyMpms, Ours, Time};
use e2e::{
    Ending, Interpreter, LogMark, Mode, Mpm, PATIENCE, Process, Server, Setup, Test, on_each_mpm, on_one_mpm,
    wait_until,
};

pub(crate) const TESTS: &[Test] = &[
    on_each_mpm!(many_graceful_restarts_under_load_lose_no_request, Time),
    // Event's worker threads are the same as worker's, and time is short.
    on_each_mpm!(
        a_minute_of_mixed_load_leaves_nothing_behind,
        Ours("promise to survive this"),
        OnlyMpms(&[Mpm::Prefork, Mpm::Event]),
        Time
    ),
    on_one_mpm!(
        pools_grow_and_shrink_a_thousand_times_without_losing_a_request,
        Daemon,
        Ours("processes that come and go with the load"),
        Time
    ),
];

const BODY: &str = include_str!("../../apps/body.wsgi");
const APP: &str = include_str!("../../apps/soak.wsgi");

/// A quarter of the load, or more, comes before the first measurement: it settles what is allocated
/// once.
const LOAD: Duration = Duration::from_secs(60);

/// Clients that put the mixed load on a server.
const CLIENTS: usize = 5;

fn many_graceful_restarts_under_load_lose_no_request(setup: Setup) {
    let _others = beside_others();
    // Side by side: most of the time Apache waits for its next look at its children, which is once
    // a second.
    thread::scope(|scope| {
        for python in pythons() {
            let setup =
                setup.clone().python_home(Some(&python.home())).children(2).app("/", "app.wsgi", BODY);
            let setup = setup.group("processes=2");
            let name = format!("Python {:?}", python.version);
            scope.spawn(move || check_restarts(&name, setup.start()));
        }
    });
}

fn a_minute_of_mixed_load_leaves_nothing_behind(setup: Setup) {
    let _others = beside_others();
    for python in pythons() {
        e2e::report(format_args!("=== Python {:?}", python.version));
        let own_gil = python.version >= (3, 12) && !python.extension_suffix.contains("t-");
        let setup = setup.clone().python_home(Some(&python.home()));
        check_everything(with_mixed_load(setup, own_gil).start());
    }
}

/// Groups that grow and shrink beside each other.
const POOLS: usize = 4;
/// The number of times that each of them does.
const BREATHS: u32 = 250;
/// The most processes of each.
const MOST: usize = 3;

fn pools_grow_and_shrink_a_thousand_times_without_losing_a_request(setup: Setup) {
    const NAP: &str = "import time\n\ndef application(environ, start_response):\n    time.sleep(0.03)\n    \
                       start_response('200 OK', [('Content-Type', 'text/plain')])\n    return [b'slept']\n";
    let _others = beside_others();
    let mut setup = setup.own_groups().threads(25).file("apps/nap.wsgi", NAP);
    for pool in 0..POOLS {
        setup = setup.conf(&format!(
            "WSGIDaemonProcess pool{pool} display-name=pool{pool} processes=0-{MOST} threads=1 scale-up-wait=0 \
             scale-down-idle=100ms\n\
             WSGIScriptAlias /{pool} @ROOT@/apps/nap.wsgi process-group=pool{pool} application-group=%{{GLOBAL}}"
        ));
    }
    let mut soaked = setup.start();
    let server = &soaked;
    let (parent, served) = ([server.pid()], AtomicU32::new(0));
    let breathe = |times| {
        thread::scope(|scope| {
            for pool in 0..POOLS {
                let served = &served;
                scope.spawn(move || (0..times).for_each(|_| grow_and_shrink(server, pool, served)));
            }
        });
        wait_until("no process", || server.daemons().is_empty().then_some(()));
        // What clients have left is noticed at the next write.
        let supervisors: Vec<_> = server.supervisors().iter().map(|supervisor| supervisor.0).collect();
        assert_eq!(supervisors.len(), 1);
        (Held::by(&parent), Held::by(&supervisors))
    };
    // The first ones settle what is allocated once.
    let first = breathe(BREATHS / 10);
    let last = breathe(BREATHS - BREATHS / 10);
    let served = served.into_inner();
    e2e::report(format_args!("{served} requests; parent, supervisor {first:?} -> {last:?}"));
    for (first, last) in [(first.0, last.0), (first.1, last.1)] {
        assert_eq!((first.descriptors, first.threads), (last.descriptors, last.threads));
        assert!(last.kilobytes <= first.kilobytes + 128, "{first:?} {last:?}");
    }
    assert!(soaked.stop().success());
    let log = soaked.log_since(LogMark::default());
    let strange =
        |line: &&str| line.contains("wsgi:error") || line.contains("wsgi:crit") || line.contains("died");
    let strange: Vec<_> = log.lines().filter(strange).take(20).collect();
    assert!(strange.is_empty(), "unexpected in the log: {strange:#?}");
}

/// Sends requests until all processes of a pool run, then none until none does.
fn grow_and_shrink(server: &Server, pool: usize, served: &AtomicU32) {
    let title = format!("pool{pool}");
    let count = || server.daemons().iter().filter(|daemon| daemon.command_line().starts_with(&title)).count();
    let is_full = AtomicBool::new(false);
    thread::scope(|scope| {
        for _ in 0..2 * MOST {
            scope.spawn(|| {
                while !is_full.load(Ordering::Relaxed) {
                    assert_eq!(server.get(&format!("/{pool}")).expect(200), "slept");
                    served.fetch_add(1, Ordering::Relaxed);
                }
            });
        }
        let _stop = SetOnDrop(&is_full);
        wait_until("all processes", || (count() >= MOST).then_some(()));
    });
    wait_until("no process", || (count() == 0).then_some(()));
}

/// The lock on the machine, which tests that measure times want to themselves.
static MACHINE: RwLock<()> = RwLock::new(());

/// Keeps tests that measure times from running, until it is dropped.
pub(crate) fn beside_others() -> RwLockReadGuard<'static, ()> {
    MACHINE.read().unwrap_or_else(PoisonError::into_inner)
}

/// Keeps all other slow tests from running, until it is dropped.
pub(crate) fn alone() -> RwLockWriteGuard<'static, ()> {
    MACHINE.write().unwrap_or_else(PoisonError::into_inner)
}

/// The one under test and the newest.
fn pythons() -> Vec<Interpreter> {
    let current = Interpreter::current();
    let newest = Interpreter::with_hosts().pop();
    let newest = newest.filter(|newest| newest.extension_suffix != current.extension_suffix);
    [current].into_iter().chain(newest).collect()
}

/// The resources that a leak would make grow.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Held {
    pub(crate) descriptors: usize,
    pub(crate) threads: usize,
    pub(crate) kilobytes: u64,
}

impl Held {
    /// Returns what all of these processes hold together.
    pub(crate) fn by(processes: &[u32]) -> Self {
        processes.iter().fold(Self::default(), |sum, pid| {
            let status = fs::read_to_string(format!("/proc/{pid}/smaps_rollup")).unwrap_or_default();
            // Of the process's own. What of it counts as private changes with what forked children
            // still share.
            let line = status.lines().find_map(|line| line.strip_prefix("Anonymous:"));
            let kilobytes: Option<u64> = line.and_then(|line| line.split_whitespace().next()?.parse().ok());
            let entries = |of| fs::read_dir(format!("/proc/{pid}/{of}")).map_or(0, Iterator::count);
            Self {
                descriptors: sum.descriptors + entries("fd"),
                threads: sum.threads + entries("task"),
                kilobytes: sum.kilobytes + kilobytes.unwrap_or_default(),
            }
        })
    }
}

struct SetOnDrop<'a>(&'a AtomicBool);

impl Drop for SetOnDrop<'_> {
    fn drop(&mut self) {
        self.0.store(true, Ordering::Relaxed);
    }
}

/// Graceful restarts, 200 or, where each takes longer, 100, lose no request, and leave nothing
/// behind in the parent.
fn check_restarts(name: &str, mut soaked: Server) {
    let server = &soaked;
    let parent = [server.pid()];
    let served = AtomicU32::new(0);
    let stop = AtomicBool::new(false);
    let mut seen = Vec::new();
    let (first, last) = thread::scope(|scope| {
        let load = scope.spawn(|| {
            while !stop.load(Ordering::Relaxed) {
                // Each on a connection of its own: an idle one may be closed by a restart at any
                // time.
                assert_eq!(server.get("/one").expect(200), "one");
                served.fetch_add(1, Ordering::Relaxed);
            }
        });
        let mut restart = |times| {
            for _ in 0..times {
                let before = served.load(Ordering::Relaxed);
                seen.extend(server.supervisors().into_iter().chain(server.daemons()));
                server.graceful();
                wait_until("requests between two restarts", || {
                    let enough = served.load(Ordering::Relaxed) > before + 2;
                    (enough || load.is_finished()).then_some(())
                });
            }
        };
        // Also when a wait below fails: the scope waits for the load to end.
        let _stop = SetOnDrop(&stop);
        // The first restarts settle what is allocated once.
        restart(20);
        let first = (Held::by(&parent), only_supervisor(server));
        restart(server.mode().pick(180, 80));
        let last = (Held::by(&parent), only_supervisor(server));
        stop.store(true, Ordering::Relaxed);
        assert!(load.join().is_ok(), "{name}: a request has failed");
        (first, last)
    });
    e2e::report(format_args!(
        "{name}: {} requests; parent, supervisor {first:?} -> {last:?}",
        served.load(Ordering::Relaxed)
    ));
    check_nothing_is_left(name, server, &seen, first, last);
    assert!(soaked.stop().success());
    let log = soaked.log_since(LogMark::default());
    assert!(
        !log.contains("exit signal") && !log.contains("wsgi:error") && !log.contains("wsgi:crit"),
        "{name}: {log}"
    );
}

/// Checks what the parent and the supervisor hold, which are measured in this order, and which
/// processes there still are.
fn check_nothing_is_left(
    name: &str,
    server: &Server,
    seen: &[Process],
    first: (Held, Held),
    last: (Held, Held),
) {
    let daemons = server.daemons();
    if server.mode() == Mode::Daemon {
        assert_eq!(daemons.len(), 2, "{name}");
        let (first, last) = (first.1, last.1);
        assert_eq!(
            (first.descriptors, first.threads),
            (last.descriptors, last.threads),
            "{name}: supervisor"
        );
        assert!(last.kilobytes <= first.kilobytes + 128, "{name}: supervisor {first:?} {last:?}");
        let left = wait_for_the_end(seen, &daemons, &server.supervisors());
        assert!(left.is_empty(), "{name}: of {} processes there are left {left:?}", seen.len());
    }
    let (first, last) = (first.0, last.0);
    assert!(last.descriptors <= first.descriptors, "{name}: {first:?} {last:?}");
    // Less than a kilobyte a restart; Python alone would take hundreds.
    assert!(last.kilobytes <= first.kilobytes + 128, "{name}: {first:?} {last:?}");
    assert_eq!((first.threads, last.threads), (1, 1), "{name}");
    // Each load of a libpython takes a thread key for ever. Where none has been, none has been
    // taken.
    if !server.target().is_reference() {
        let maps = fs::read_to_string(format!("/proc/{}/maps", server.pid())).unwrap_or_default();
        assert!(maps.contains("mod_wsgi.so"), "{name}: {maps}");
        assert!(!maps.contains("libpython") && !maps.contains("mod_wsgi_host"), "{name}: {maps}");
    }
}

/// Returns what the supervisor holds, once it is the only one and has all of its processes.
fn only_supervisor(server: &Server) -> Held {
    if server.supervisors().is_empty() {
        return Held::default();
    }
    let supervisor = wait_until("one supervisor", || {
        let found = server.supervisors();
        (found.len() == 1 && server.daemons().len() == 2).then(|| found[0].0)
    });
    Held::by(&[supervisor])
}

/// Those of the processes that do not end, but for the ones that still serve.
fn wait_for_the_end(seen: &[Process], daemons: &[Process], supervisors: &[Process]) -> Vec<String> {
    let end = Instant::now() + PATIENCE;
    loop {
        // Another process may have the number of one that has ended.
        let ours = |process: &&Process| {
            let command = process.command_line();
            process.is_alive() && (command.starts_with("(wsgi:e2e)") || command.contains("/supervisor "))
        };
        let old = seen.iter().filter(|process| !daemons.contains(process) && !supervisors.contains(process));
        let left: Vec<_> = old.filter(ours).map(|old| format!("{} {}", old.0, old.command_line())).collect();
        if left.is_empty() || Instant::now() > end {
            return left;
        }
        thread::sleep(Duration::from_millis(100));
    }
}

/// An application in three interpreters, in processes that neither come nor go.
fn with_mixed_load(setup: Setup, own_gil: bool) -> Setup {
    let children = if setup.mpm().threaded() { 2 } else { 6 };
    let setup = setup
        .children(children)
        // More than the clients can keep busy: Apache would close idle connections, which a client
        // could not tell from a lost response.
        .threads(16)
        .file("apps/app.wsgi", APP)
        .file("data.bin", vec![0xff; 1 << 20])
        .conf(
            "WSGIScriptAlias /main @ROOT@/apps/app.wsgi application-group=%{GLOBAL}\n\
             WSGIScriptAlias /one @ROOT@/apps/app.wsgi application-group=one\n\
             WSGIScriptAlias /two @ROOT@/apps/app.wsgi application-group=two\n\
             WSGIChunkedRequest On\nWSGIEnableSendfile On",
        );
    if !own_gil {
        return setup;
    }
    setup.conf(
        "<WSGIInterpreterOptions application-group=one>\nWSGIPerInterpreterGIL On\n</WSGIInterpreterOptions>",
    )
}

/// The processes that serve.
fn serving_processes(server: &Server) -> Vec<u32> {
    server.children().into_iter().chain(server.daemons().into_iter().map(|daemon| daemon.0)).collect()
}

/// A minute of everything is answered rightly, and leaves nothing behind in the processes that
/// serve.
fn check_everything(mut soaked: Server) {
    let server = &soaked;
    let count = AtomicUsize::new(0);
    let load = |time: Duration| {
        put_under_load(server, time, &count);
        // What clients have left is noticed at the next write.
        thread::sleep(Duration::from_secs(2));
    };
    if server.mode() == Mode::Daemon {
        wait_until("the daemon process", || (server.daemons().len() == 1).then_some(()));
    }
    let processes = serving_processes(server);
    let with_python = server.mode().pick(server.children().len(), server.daemons().len());
    // A slow machine takes longer until every process has made every interpreter.
    for _ in 0..10 {
        load(LOAD / 4);
        let log = server.log_since(LogMark::default());
        if log.matches("Loading WSGI script").count() >= 3 * with_python {
            break;
        }
    }
    let daemons: Vec<_> = server.daemons().into_iter().map(|daemon| daemon.0).collect();
    let (first, daemon_first) = (Held::by(&processes), Held::by(&daemons));
    load(LOAD - LOAD / 4);
    let (last, daemon_last) = (Held::by(&processes), Held::by(&daemons));
    e2e::report(format_args!("daemon processes {daemon_first:?} -> {daemon_last:?}"));
    e2e::report(format_args!(
        "{} steps; {} processes {first:?} -> {last:?}",
        count.into_inner(),
        processes.len()
    ));
    assert_eq!(processes, serving_processes(server), "the processes have changed");
    check_growth(server, processes.len(), [first, last], [daemon_first, daemon_last]);
    assert!(soaked.stop().success());
    let log = soaked.log_since(LogMark::default());
    let strange: Vec<_> =
        log.lines().filter(|line| !EXPECTED.iter().any(|text| line.contains(text))).collect();
    assert!(strange.is_empty(), "unexpected in the log: {:#?}", &strange[..strange.len().min(40)]);
}

/// Checks that what processes hold has not grown by more than their connections explain.
fn check_growth(server: &Server, processes: usize, all: [Held; 2], of_daemons: [Held; 2]) {
    let ([first, last], [daemon_first, daemon_last]) = (all, of_daemons);
    // Connections between children and daemon processes are kept, by each thread that has needed
    // one. So is what it has needed to pass large bodies on, by Apache's child: it takes minutes
    // until all threads have had one.
    let (connections, kilobytes) = server
        .mode()
        .pick((0, 1024 * processes as u64), (CLIENTS * server.children().len(), 256 * first.threads as u64));
    assert!(daemon_last.kilobytes <= daemon_first.kilobytes + 2048, "{daemon_first:?} {daemon_last:?}");
    assert!(last.descriptors <= first.descriptors + 2 * connections, "{first:?} {last:?}");
    assert!(last.threads <= first.threads, "{first:?} {last:?}");
    assert!(last.kilobytes <= first.kilobytes + kilobytes, "{first:?} {last:?}");
}

/// Has all clients take their steps for that time.
fn put_under_load(server: &Server, time: Duration, count: &AtomicUsize) {
    let end = Instant::now() + time;
    thread::scope(|scope| {
        for client in 0..CLIENTS {
            scope.spawn(move || {
                for round in 0.. {
                    let url = ["/main", "/one", "/two"][(client + round) % 3];
                    for &step in STEPS {
                        if Instant::now() > end {
                            return;
                        }
                        step(server, url);
                        count.fetch_add(1, Ordering::Relaxed);
                    }
                }
            });
        }
        while Instant::now() + Duration::from_secs(5) < end {
            thread::sleep(Duration::from_secs(5));
            e2e::report(format_args!("  {:?}", Held::by(&serving_processes(server))));
        }
    });
}

/// One of these is in each line of the log.
const EXPECTED: &[&str] = &[
    ":info]",
    "resuming normal operations",
    "AH00094: Command line:",
    "AH00161: server reached MaxRequestWorkers",
    "caught SIGTERM, shutting down",
    "printed on purpose",
    "WSGI0174: Exception ValueError",
    "Traceback (most recent call last):",
    "]   File \"",
    "]     ",
    "ValueError: raised on purpose",
];

/// A step is given the URL of an application, `/` and the name of its interpreter.
const STEPS: &[fn(&Server, &str)] = &[
    |server, url| {
        let mut connection = server.connect();
        for _ in 0..20 {
            connection.send(&server.request("GET", &format!("{url}/group")).keep_alive());
            let response = connection.response("GET").unwrap_or_else(|error| panic!("{url}: {error}"));
            assert_eq!(response.expect(200), group_at(url));
        }
    },
    |server, url| {
        let mut connection = server.connect();
        connection.send(&server.request("GET", &format!("{url}/group")).keep_alive().repeat(5));
        for _ in 0..5 {
            let response = connection.response("GET").unwrap_or_else(|error| panic!("{url}: {error}"));
            assert_eq!(response.expect(200), group_at(url));
        }
    },
    |server, url| assert_eq!(server.get(&format!("{url}/generator")).expect(200).len(), 100_000),
    |server, url| assert_eq!(server.get(&format!("{url}/written")).expect(200).len(), 10_000),
    |server, url| {
        let response = server.get(&format!("{url}/file"));
        assert_eq!((response.status, response.ending, response.body.len()), (200, Ending::Framed, 1 << 20));
    },
    |server, url| abort_download(server, &format!("{url}/endless"), 1 << 17),
    |server, url| abort_download(server, &format!("{url}/file"), 1000),
    |server, url| abort_download(server, &format!("{url}/generator"), 1000),
    |server, url| {
        let response = server.request("POST", &format!("{url}/count")).body(vec![b'\n'; 100_000]).send();
        assert_eq!(response.expect(200), "100000");
    },
    |server, url| {
        let request = server.request("POST", &format!("{url}/count")).header("Transfer-Encoding", "chunked");
        let mut connection = server.connect();
        connection.send(&request.keep_alive());
        connection.send(b"5\r\nabcde\r\n3\r\nfgh\r\n0\r\n\r\n");
        let response = connection.response("POST").unwrap_or_else(|error| panic!("{url}: {error}"));
        assert_eq!(response.expect(200), "8");
    },
    |server, url| {
        let response = server.request("POST", &format!("{url}/ignore")).body(vec![b'x'; 50_000]).send();
        assert_eq!(response.expect(200), "ignored");
    },
    |server, url| abort_upload(server, &format!("{url}/count")),
    |server, url| abort_upload(server, &format!("{url}/ignore")),
    |server, url| assert_eq!(server.request("HEAD", &format!("{url}/generator")).send().status, 200),
    |server, url| assert_eq!(server.get(&format!("{url}/thread")).expect(200), group_at(url)),
    |server, url| assert_eq!(server.get(&format!("{url}/printed")).expect(200), "printed"),
    |server, url| assert_eq!(server.get(&format!("{url}/fails")).status, 500),
    |server, url| {
        let response = server.get(&format!("{url}/fails_late"));
        assert_eq!((response.status, response.ending), (200, Ending::Truncated));
    },
    |server, url| assert_eq!(server.get(&format!("/nothing{url}")).status, 404),
    |server, _| {
        let mut connection = server.connect();
        connection.send(b"nonsense\r\n\r\n");
        assert!(connection.response("GET").is_ok_and(|response| response.status == 400));
    },
];

fn group_at(url: &str) -> String {
    url.trim_start_matches('/').replace("main", "")
}

/// Begins to receive, and hangs up.
fn abort_download(server: &Server, target: &str, count: usize) {
    let mut connection = server.connect();
    connection.send(&server.request("GET", target).keep_alive());
    assert!(connection.at_least(count).is_ok(), "{target}");
}

/// Begins to send, and hangs up.
fn abort_upload(server: &Server, target: &str) {
    let request = server.request("POST", target).body(vec![b'\n'; 100_000]).keep_alive();
    server.connect().send(&request[..50_000]);
}
