//! The counts of requests, as the status of the server shows them: exact, whatever comes between.

use std::fs;
use std::thread;
use std::time::Duration;

use e2e::Needs::{Daemon, NoSanitizer, OnlyMpms, Ours, Threads};
use e2e::{LogMark, Mpm, Process, Server, Setup, Test, on_each_mpm, on_one_mpm, signal, wait_until};
use nix::sys::signal::Signal;
use status::Snapshot;
use status::snapshot::{Ended, EventKind, Group, Mode, Phase, Request};

const COUNTS: e2e::Needs = Ours("counts of requests");

pub(crate) const TESTS: &[Test] = &[
    on_each_mpm!(requests_are_counted_exactly, COUNTS),
    on_each_mpm!(what_a_dead_child_had_is_cleared, COUNTS),
    on_one_mpm!(requests_are_seen_while_they_are_under_way, COUNTS, Threads),
    on_one_mpm!(
        requests_that_are_not_answered_are_counted_by_cause,
        Daemon,
        COUNTS,
        NoSanitizer("it would report the crash")
    ),
    on_one_mpm!(the_page_of_mod_status_has_counts, COUNTS),
    on_one_mpm!(groups_come_and_go_at_restarts, Daemon, COUNTS),
    on_one_mpm!(a_group_of_another_virtual_host_begins_anew, Daemon, COUNTS),
    // The event MPM may lose sight of a child at a graceful restart right after another was killed,
    // and then stops it with SIGKILL only.
    on_one_mpm!(a_request_is_lost_by_the_group_that_had_it, Daemon, COUNTS, OnlyMpms(&[Mpm::Prefork])),
    on_one_mpm!(ever_new_groups_take_the_rows_of_those_that_are_gone, Daemon, COUNTS),
    on_one_mpm!(a_copy_of_a_child_counts_nothing, COUNTS),
    on_one_mpm!(a_daemon_process_has_no_part_of_the_ledger, Daemon, COUNTS),
];

/// An application that answers as the path says.
const APP: &str = "
import os, time

def application(environ, start_response):
    action, _, argument = environ['PATH_INFO'].strip('/').partition('/')
    if action == 'status':
        start_response(argument + ' Reason', [('Content-Length', '4')])
        return [b'body']
    if action == 'raise':
        raise RuntimeError('on purpose')
    if action == 'die':
        os.abort()
    if action == 'hold':
        while not os.path.exists('@ROOT@/htdocs/' + argument):
            time.sleep(0.01)
    if action == 'fork':
        copy = os.fork()
        if copy == 0:
            raise RuntimeError('in the copy')
        os.waitpid(copy, 0)
    if action == 'large':
        start_response('200 OK', [])
        return (b'x' * 65536 for _ in range(300))
    body = environ['wsgi.input'].read() if action == 'read' else b''
    start_response('200 OK', [])
    return [b'%d ' % len(body), b'%d' % os.getpid()]
";

const STATUS: &str = "
<Location \"/wsgi-status\">
    SetHandler wsgi-status
</Location>
";

fn serving(setup: Setup) -> Setup {
    setup
        .app("/", "app.wsgi", APP)
        .file("htdocs/keep", "")
        .conf("WSGIApplicationGroup %{GLOBAL}")
        .conf(STATUS)
}

fn snapshot(server: &Server) -> Snapshot {
    let text = server.get("/wsgi-status?format=json").expect(200);
    serde_json::from_str(&text).unwrap_or_else(|error| panic!("{error}: {text}"))
}

/// Returns the group that serves the applications.
fn group(server: &Server) -> Group {
    let wanted = e2e::Mode::current().pick(Mode::Embedded, Mode::Daemon);
    let groups = snapshot(server).groups;
    groups.into_iter().find(|group| group.mode == wanted).unwrap_or_else(|| panic!("no group"))
}

/// Returns the number of requests that have ended, with this method and status.
fn ended(group: &Group, method: &str, status: u16) -> u64 {
    let of_both = |ended: &&Ended| ended.method == method && ended.status_code == Some(status);
    group.http.iter().filter(of_both).map(|ended| ended.duration.count()).sum()
}

fn total(group: &Group) -> u64 {
    group.http.iter().map(|ended| ended.duration.count()).sum()
}

/// Waits until the group has so many more requests than `before`, and none is under way.
fn wait_counted(server: &Server, before: &Group, more: u64) -> Group {
    wait_until(&format!("{} + {more} requests", total(before)), || {
        let group = group(server);
        (total(&group) >= total(before) + more && group.requests.is_empty()).then_some(group)
    })
}

/// The requests of [`send_all`], by method and status.
const SENT: &[(&str, u16, u64)] = &[
    ("GET", 200, 2),
    ("GET", 204, 1),
    ("GET", 404, 1),
    ("GET", 410, 1),
    ("GET", 500, 1),
    ("GET", 503, 1),
    ("HEAD", 200, 1),
    ("POST", 200, 2),
    ("DELETE", 303, 1),
    ("_OTHER", 207, 1),
];

fn sent() -> u64 {
    SENT.iter().map(|(.., count)| count).sum()
}

/// Sends the requests of [`SENT`], by several connections at once, `rounds` times.
fn send_all(server: &Server, rounds: usize) {
    thread::scope(|scope| {
        for _ in 0..rounds {
            scope.spawn(|| {
                for (method, path) in [
                    ("GET", "/status/200"),
                    ("GET", "/status/204"),
                    ("GET", "/other?status/500"),
                    ("GET", "/status/404"),
                    ("GET", "/status/410"),
                    ("GET", "/status/503"),
                    ("GET", "/raise"),
                    ("HEAD", "/status/200"),
                    ("DELETE", "/status/303"),
                    ("PROPFIND", "/status/207"),
                ] {
                    let response = server.request(method, path).send();
                    assert!(response.status >= 200, "{method} {path}");
                }
                for size in [5, 100_000] {
                    let response = server.request("POST", "/read").body(vec![b'x'; size]).send();
                    assert!(response.expect(200).starts_with(&format!("{size} ")));
                }
            });
        }
    });
}

/// Checks that the group has had the requests of so many rounds more.
#[track_caller]
fn check_rounds(server: &Server, before: &Group, rounds: u64) -> Group {
    let after = wait_counted(server, before, rounds * sent());
    for (method, status, count) in SENT {
        let number = |group: &Group| ended(group, method, *status);
        assert_eq!(number(&after) - number(before), rounds * count, "{method} {status}");
    }
    for ended in &after.http {
        let class = ended.status_code.map(|status| status / 100);
        assert_eq!((class, &*ended.scheme), (Some(ended.status_class.into()), "http"), "{ended:?}");
    }
    assert_eq!(total(&after) - total(before), rounds * sent());
    let sum = |group: &Group, of: fn(&status::snapshot::Process) -> u64| {
        group.processes.iter().map(of).sum::<u64>()
    };
    let grown = |of| sum(&after, of) - sum(before, of);
    assert_eq!(grown(|process| process.ended.iter().sum()), rounds * sent());
    assert_eq!(grown(|process| process.bytes_in), rounds * 100_005);
    // Three lengths of numbers and process ids; and the bodies of all but HEAD, 204 and the error.
    assert!(grown(|process| process.bytes_out) >= rounds * 7 * 4);
    assert_eq!(grown(|process| process.times.application.count()), rounds * sent());
    assert_eq!(sum(&after, |process| process.busy + process.queued), 0);
    assert!(
        after.processes.iter().all(|process| process.ended.iter().sum::<u64>() == 0 || process.peak_busy > 0)
    );
    after
}

fn requests_are_counted_exactly(setup: Setup) {
    serving(setup).run(|server, cases| {
        wait_until("it serves", || (server.get("/status/200").status == 200).then_some(()));
        let before = wait_until("the first is counted", || {
            let group = group(server);
            (total(&group) > 0 && group.requests.is_empty()).then_some(group)
        });
        send_all(server, 4);
        let after = check_rounds(server, &before, 4);
        cases.check("durations are those of the requests", || {
            let duration: f64 = after.http.iter().map(|ended| ended.duration.sum).sum();
            let parts = |group: &Group| -> f64 {
                group.processes.iter().map(|process| process.times.application.sum).sum()
            };
            assert!(duration > 0.0 && parts(&after) > 0.0 && parts(&after) <= duration, "{duration}");
        });
        cases.check("a graceful restart changes nothing", || {
            let before = group(server);
            server.graceful();
            send_all(server, 1);
            let after = check_rounds(server, &before, 1);
            assert!(total(&after) > 4 * sent());
        });
        cases.check("nor does another one", || {
            let before = group(server);
            server.restart();
            send_all(server, 1);
            check_rounds(server, &before, 1);
        });
        cases.check("nor does a change of the script", || {
            let before = group(server);
            server.write(
                "apps/app.wsgi",
                format!("{APP}\n").replace("@ROOT@", &server.root().display().to_string()),
            );
            send_all(server, 1);
            check_rounds(server, &before, 1);
        });
        for daemon in server.daemons() {
            cases.check("nor does the death of a process", || {
                let before = group(server);
                signal(daemon, Signal::SIGKILL);
                wait_until("it is gone", || (!daemon.is_alive()).then_some(()));
                wait_until("it serves", || (server.get("/status/207").status == 207).then_some(()));
                let between = wait_counted(server, &before, 1);
                send_all(server, 1);
                check_rounds(server, &between, 1);
            });
        }
    });
}

fn open_gate(server: &Server, gate: &str) {
    server.write(&format!("htdocs/{gate}"), "");
}

/// Sends a request without waiting for the response.
fn begin(server: &Server, path: &str) -> e2e::Connection {
    let mut connection = server.connect();
    connection.send(&server.request("GET", path).keep_alive());
    connection
}

/// Waits until so many requests are under way whose path begins so.
fn wait_under_way(server: &Server, path: &str, count: usize) -> Vec<Request> {
    wait_until(&format!("{count} requests to {path}"), || {
        let requests: Vec<_> =
            group(server).requests.into_iter().filter(|request| request.path.starts_with(path)).collect();
        (requests.len() == count).then_some(requests)
    })
}

fn what_a_dead_child_had_is_cleared(setup: Setup) {
    serving(setup).children(2).run(|server, cases| {
        wait_until("it serves", || (server.get("/status/200").status == 200).then_some(()));
        server.expect_crashes();
        let before = wait_until("the first is counted", || {
            let group = group(server);
            (total(&group) > 0 && group.requests.is_empty()).then_some(group)
        });
        let mark = server.mark();
        let held = begin(server, "/hold/gate?secret=1");
        let request = wait_under_way(server, "/hold", 1).remove(0);
        cases.check("it is seen", || {
            assert!(server.children().contains(&request.child), "{request:?}");
            assert_eq!((request.method.as_str(), request.path.as_str()), ("GET", "/hold/gate"));
            let busy = || group(server).processes.iter().map(|process| process.busy).sum::<u64>();
            wait_until("its process is busy", || (busy() == 1).then_some(()));
        });
        signal(Process(request.child), Signal::SIGKILL);
        cases.check("it is lost with its child", || {
            let line = server.wait_log(mark, "WSGI1040");
            assert!(line.contains("GET /hold/gate") && line.contains(&request.child.to_string()), "{line}");
            assert!(!line.contains("secret"), "{line}");
            let group = wait_until("it is forgotten", || {
                let group = group(server);
                let busy: u64 = group.processes.iter().map(|process| process.busy).sum();
                (group.requests.is_empty() && busy == 0).then_some(group)
            });
            assert_eq!(total(&group), total(&before), "it has no status");
            let cause = e2e::Mode::current().pick("process_died", "child_died");
            assert_eq!(group.rejections.get(cause), Some(&1), "{:?}", group.rejections);
            assert!(group.processes.iter().all(|process| process.pid != request.child));
        });
        let events = snapshot(server).events;
        let is_of_child = |event: &&status::snapshot::Event| event.pid == request.child;
        let event = events.iter().find(is_of_child);
        cases.check("a death with embedded requests is an event", || {
            let seen = event.map(|event| (event.kind, event.text.contains("GET /hold/gate")));
            assert_eq!(seen, e2e::Mode::current().pick(Some((EventKind::Crash, true)), None));
        });
        open_gate(server, "gate");
        drop(held);
        wait_until("it serves again", || (server.get("/status/207").status == 207).then_some(()));
        cases.check("counts go on", || {
            let before = wait_counted(server, &before, 1);
            send_all(server, 1);
            check_rounds(server, &before, 1);
        });
    });
}

fn requests_are_seen_while_they_are_under_way(setup: Setup) {
    let host = "<VirtualHost *>\nServerName shop.test\nServerAlias *\n</VirtualHost>";
    serving(setup).group("threads=2").threads(20).children(1).conf(host).run(|server, cases| {
        wait_until("it serves", || (server.get("/status/200").status == 200).then_some(()));
        wait_until("it says so", || {
            let group = group(server);
            let is_at_rest = group.requests.is_empty();
            (is_at_rest && group.processes.iter().all(|process| process.pid > 0)).then_some(())
        });
        cases.check("running and waiting", || {
            let held: Vec<_> = (0..3).map(|_| begin(server, "/hold/one?query")).collect();
            let requests = wait_until("all have a process", || {
                let requests = wait_under_way(server, "/hold/one", 3);
                requests.iter().all(|request| request.slot.is_some()).then_some(requests)
            });
            let count = |phase| requests.iter().filter(|request| request.phase == phase).count();
            let expected = e2e::Mode::current().pick((3, 0), (2, 1));
            assert_eq!((count(Phase::Running), count(Phase::Queued)), expected, "{requests:?}");
            for request in &requests {
                assert_eq!(request.path, "/hold/one");
                assert!(request.virtual_host.starts_with("shop.test:"), "{request:?}");
                assert!(request.age < 60.0 && !request.id.is_empty() && request.pid > 0, "{request:?}");
                assert_eq!(request.slot, Some(0));
            }
            let group = group(server);
            let process = &group.processes[0];
            assert_eq!((process.busy, process.queued), (expected.0 as u64, expected.1 as u64));
            assert_eq!(group.queued, expected.1 as u64);
            let (major, minor) = e2e::Interpreter::current().version;
            assert_eq!(group.python, format!("{major}.{minor}"));
            assert!(!group.user.is_empty() && group.scripts[0].ends_with("/apps/app.wsgi"), "{group:?}");
            assert!(process.resident > 1 << 20 && process.started > 1e9 && process.pid > 0, "{process:?}");
            open_gate(server, "one");
            for mut held in held {
                assert_eq!(held.response("GET").map(|response| response.status).ok(), Some(200));
            }
            let after = wait_until("all have ended", || {
                let group = self::group(server);
                group.requests.is_empty().then_some(group)
            });
            assert_eq!(after.processes[0].peak_busy, expected.0 as u64);
            assert_eq!(after.processes[0].peak_queued, expected.1 as u64);
        });
        cases.check("reading", || {
            let mut slow = server.connect();
            slow.send(b"POST /read HTTP/1.1\r\nHost: shop.test\r\nContent-Length: 10\r\n\r\nhalf ");
            wait_until("it reads", || {
                (wait_under_way(server, "/read", 1)[0].phase == Phase::Reading).then_some(())
            });
            thread::sleep(Duration::from_millis(30));
            slow.send(b"whole");
            assert_eq!(slow.response("POST").map(|response| response.status).ok(), Some(200));
            let times = wait_until("it is counted", || {
                let group = group(server);
                group.requests.is_empty().then(|| group.processes[0].times.clone())
            });
            assert!(times.reading.sum > 0.03, "{times:?}");
        });
        cases.check("writing", || {
            let before = group(server).processes[0].bytes_out;
            let mut idle = server.connect();
            idle.send(b"GET /large HTTP/1.1\r\nHost: shop.test\r\nConnection: close\r\n\r\n");
            assert!(idle.at_least(1000).is_ok());
            wait_until("it writes", || {
                (wait_under_way(server, "/large", 1)[0].phase == Phase::Writing).then_some(())
            });
            let rest = idle.rest().map(|rest| rest.len()).unwrap_or(0);
            assert!(rest > 250 * 65536, "{rest}");
            let process = wait_until("it is counted", || {
                let group = group(server);
                group.requests.is_empty().then(|| group.processes[0].clone())
            });
            assert_eq!(process.bytes_out - before, 300 * 65536);
            assert!(process.times.writing.sum > 0.0);
        });
    });
}

/// Returns the number of requests of a group that were rejected for a cause.
pub(crate) fn rejections(server: &Server, group: &str, cause: &str) -> u64 {
    let groups = snapshot(server).groups;
    let found = groups.iter().find(|found| found.name == group);
    found.and_then(|group| group.rejections.get(cause).copied()).unwrap_or(0)
}

fn requests_that_are_not_answered_are_counted_by_cause(setup: Setup) {
    let groups = "
WSGIDaemonProcess late threads=1 queue-timeout=1
WSGIDaemonProcess silent threads=2 socket-timeout=1
WSGIDaemonProcess full threads=1 listen-backlog=1 connect-timeout=1
WSGIDaemonProcess broken python=/nonexistent/python
WSGIDaemonProcess dying
WSGIDaemonProcess left
";
    let setup =
        ["late", "silent", "full", "broken", "dying", "left"].into_iter().fold(setup, |setup, name| {
            setup.conf(&format!("WSGIScriptAlias /{name} @ROOT@/apps/app.wsgi process-group={name}"))
        });
    serving(setup).conf(groups).threads(20).run(|server, cases| {
        server.expect_crashes();
        let wait_rejected = |group: &str, cause: &str, count: u64| {
            wait_until(&format!("{cause} of {group}"), || {
                (rejections(server, group, cause) == count).then_some(())
            });
        };
        cases.check("queue_timeout", || {
            // Its first requests may wait too long for it to start.
            wait_until("it serves", || (server.get("/late/status/200").status == 200).then_some(()));
            let before = rejections(server, "late", "queue_timeout");
            let held = begin(server, "/late/hold/late");
            wait_until("it runs", || {
                let groups = snapshot(server).groups;
                groups.iter().any(|group| group.name == "late" && group.requests.len() == 1).then_some(())
            });
            assert_eq!(server.get("/late/status/200").status, 504);
            wait_rejected("late", "queue_timeout", before + 1);
            open_gate(server, "late");
            drop(held);
        });
        cases.check("timed_out", || {
            assert_eq!(server.get("/silent/hold/silent").status, 504);
            open_gate(server, "silent");
            wait_rejected("silent", "timed_out", 1);
        });
        cases.check("busy", || {
            let held: Vec<_> = (0..8).map(|_| begin(server, "/full/hold/full")).collect();
            wait_until("some are refused", || (rejections(server, "full", "busy") > 0).then_some(()));
            open_gate(server, "full");
            drop(held);
        });
        cases.check("not_running", || {
            wait_until("it fails", || (server.get("/broken/status/200").status == 503).then_some(()));
            wait_until("it is counted", || (rejections(server, "broken", "not_running") > 0).then_some(()));
        });
        cases.check("process_died", || {
            assert_eq!(server.get("/dying/die").status, 502);
            wait_rejected("dying", "process_died", 1);
        });
        cases.check("client_gone", || {
            let mut client = begin(server, "/left/large");
            assert!(client.at_least(1000).is_ok());
            client.reset();
            wait_rejected("left", "client_gone", 1);
        });
        cases.check("they have ended, too, with the status that clients got", || {
            let groups = snapshot(server).groups;
            let dying = groups.iter().find(|group| group.name == "dying");
            assert_eq!(dying.map(|group| (group.ended(), ended(group, "GET", 502))), Some((1, 1)));
        });
    });
}

fn the_page_of_mod_status_has_counts(setup: Setup) {
    let page = "
ExtendedStatus On
<Location \"/server-status\">
    SetHandler server-status
</Location>
";
    serving(setup).modules(&["status"]).conf(page).run(|server, cases| {
        wait_until("it serves", || (server.get("/status/200").status == 200).then_some(()));
        assert_eq!(server.get("/status/500").status, 500);
        let name = e2e::Mode::current().pick("%{GLOBAL}", "e2e");
        let total = || group(server).durations().count();
        let value = |key: &str| {
            let text = server.get("/server-status?auto").expect(200);
            let start = format!("{key}[{name}]: ");
            text.lines().find_map(|line| Some(line.strip_prefix(&start)?.to_owned()))
        };
        cases.check("for programs", || {
            wait_until("they are counted", || {
                let is_at_rest = value("WSGIBusy").as_deref() == Some("0");
                (is_at_rest && value("WSGIErrors").as_deref() == Some("1")).then_some(())
            });
            assert_eq!(value("WSGIRequests"), Some(total().to_string()));
            assert!(value("WSGIDuration").is_some_and(|sum| sum.parse::<f64>().is_ok_and(|sum| sum > 0.0)));
            let text = server.get("/server-status?auto").expect(200);
            assert!(text.contains("ServerUptimeSeconds: "), "it is mod_status's: {text}");
        });
        cases.check("for people", || {
            let page = server.get("/server-status").expect(200);
            assert!(page.contains("<h1>WSGI process groups</h1>\n<table"), "{page}");
            assert!(page.contains(&format!("<td>{name}</td>")), "{page}");
            let page = server.get("/server-status?notable").expect(200);
            assert!(page.contains(&format!("<p><b>{name}</b>:")), "{page}");
        });
    });
}

fn groups_come_and_go_at_restarts(setup: Setup) {
    let own = |name: &str, processes: u32| {
        format!(
            "WSGIDaemonProcess {name} processes={processes} threads=3\n\
             WSGIScriptAlias /{name} @ROOT@/apps/app.wsgi process-group={name}\n"
        )
    };
    serving(setup.conf("IncludeOptional @ROOT@/htdocs/*.conf")).run(|server, cases| {
        let configure = |text: String| {
            let text = text.replace("@ROOT@", &server.root().display().to_string());
            server.write("htdocs/own.conf", text);
            server.graceful();
        };
        let count = |name: &str| {
            let groups = snapshot(server).groups;
            groups.iter().find(|group| group.name == name).map(|group| {
                let of_processes: u64 = group.processes.iter().flat_map(|process| process.ended).sum();
                assert_eq!(of_processes, total(group), "also of those that it has no longer: {group:?}");
                (total(group), group.processes.len())
            })
        };
        let get = |path: &str| {
            let before = count(path);
            assert_eq!(server.get(&format!("/{path}/status/200")).status, 200, "{path}");
            wait_until("it is counted", || (count(path) != before).then_some(()));
        };
        let many: String = (0..40).map(|number| own(&format!("more{number}"), 1)).collect();
        configure(own("first", 1));
        get("first");
        cases.check("more groups and processes find room", || {
            configure(own("second", 2) + &many + &own("first", 3));
            assert_eq!(count("first"), Some((1, 3)));
            for group in ["first", "second", "more0", "more39", "second"] {
                get(group);
            }
            assert_eq!(
                (count("first"), count("second"), count("more39")),
                (Some((2, 3)), Some((2, 2)), Some((1, 1)))
            );
        });
        cases.check("a group that was away has its counts again", || {
            configure(own("second", 1));
            assert_eq!((count("first"), count("second")), (None, Some((2, 1))));
            configure(own("first", 1));
            get("first");
            assert_eq!(count("first"), Some((3, 1)));
        });
    });
}

/// Sets the part of the configuration that changes, and has the server read it.
fn reconfigure(server: &Server, text: &str) {
    server.write("htdocs/own.conf", text.replace("@ROOT@", &server.root().display().to_string()));
    server.graceful();
}

fn a_group_of_another_virtual_host_begins_anew(setup: Setup) {
    let host = |name: &str, content: &str| {
        format!(
            "<VirtualHost *:@PORT@>\n    ServerName {name}.test\n    WSGIStatusScope vhost\n{content}\n\
             <Location \"/whole-status\">\n SetHandler wsgi-status\n WSGIStatusScope server\n</Location>\n</VirtualHost>\n"
        )
    };
    let group = "WSGIDaemonProcess shop processes=2\n\
                 WSGIScriptAlias /shop @ROOT@/apps/app.wsgi process-group=shop\n\
                 WSGIScriptAlias /broken @ROOT@/apps/broken.wsgi process-group=shop";
    let setup = setup
        .file("apps/broken.wsgi", "raise KeyError('of the first')\n")
        .conf("IncludeOptional @ROOT@/htdocs/*.conf");
    serving(setup).run(|server, cases| {
        server.expect_crashes();
        let configure = |content: [&str; 2]| {
            let hosts = host("one", content[0]) + &host("two", content[1]);
            reconfigure(server, &hosts.replace("@PORT@", &server.address().port().to_string()));
        };
        let get = |name: &str, path: &str| server.request("GET", path).host(&format!("{name}.test")).send();
        let seen = |name: &str| -> Snapshot {
            let text = get(name, "/wsgi-status?format=json").expect(200);
            serde_json::from_str(&text).unwrap_or_else(|error| panic!("{error}: {text}"))
        };
        let figures = |name: &str| {
            let snapshot = seen(name);
            let shop = snapshot.groups.iter().find(|group| group.name == "shop").expect("its group");
            let restarts: u64 = shop.processes.iter().flat_map(|process| process.crashes.values()).sum();
            (total(shop), shop.rejections.len(), restarts, snapshot.events.len())
        };
        configure([group, ""]);
        wait_until("it serves", || (get("one", "/shop/status/200").status == 200).then_some(()));
        assert_eq!(get("one", "/broken").status, 500);
        // The process that is to tell of it may be the one that dies.
        wait_until("the failed import", || (!seen("one").events.is_empty()).then_some(()));
        assert_eq!(get("one", "/shop/die").status, 502);
        wait_until("the end of all requests", || {
            seen("one").groups.iter().all(|group| group.requests.is_empty()).then_some(())
        });
        let own = wait_until("the counts", || {
            Some(figures("one")).filter(|(total, rejections, crashes, events)| {
                *total >= 3 && *rejections == 1 && *crashes == 1 && *events == 2
            })
        });
        cases.check("nothing of the former owner's is shown to the new one", || {
            configure(["", group]);
            wait_until("it serves", || (get("two", "/shop/status/200").status == 200).then_some(()));
            let (total, rejections, crashes, events) =
                wait_until("the first is counted", || Some(figures("two")).filter(|(total, ..)| *total > 0));
            assert!(total < 3, "{total}");
            assert_eq!((rejections, crashes, events), (0, 0, 0));
            assert!(!get("two", "/wsgi-status?format=html").expect(200).contains("of the first"));
        });
        cases.check("the administrator of the server sees all events", || {
            let text = server.get("/whole-status?format=json").expect(200);
            let whole: Snapshot = serde_json::from_str(&text).expect("a snapshot");
            assert_eq!(whole.events.len(), 2);
        });
        cases.check("the former owner's are there if the group comes back", || {
            configure([group, ""]);
            assert_eq!(figures("one"), own);
        });
    });
}

fn a_request_is_lost_by_the_group_that_had_it(setup: Setup) {
    let group = |name: &str| {
        format!(
            "WSGIDaemonProcess {name}\nWSGIScriptAlias /{name} @ROOT@/apps/app.wsgi process-group={name}\n"
        )
    };
    serving(setup.children(2).conf("IncludeOptional @ROOT@/htdocs/*.conf")).run(|server, cases| {
        server.expect_crashes();
        reconfigure(server, &group("gone"));
        let mark = server.mark();
        let _held = begin(server, "/gone/hold/gate");
        let child = wait_until("the request", || {
            let groups = snapshot(server).groups;
            let found = groups.iter().find(|group| group.name == "gone")?;
            found.requests.first().map(|request| request.child)
        });
        reconfigure(server, &group("other"));
        cases.check("it is named though the configuration has it no longer", || {
            signal(Process(child), Signal::SIGKILL);
            let line = server.wait_log(mark, "with a request under way");
            assert!(line.contains("GET /gone/hold/gate (gone)"), "{line}");
        });
        cases.check("and has lost the request, if it comes back", || {
            reconfigure(server, &group("gone"));
            let groups = snapshot(server).groups;
            let found = groups.iter().find(|group| group.name == "gone").expect("the group");
            assert_eq!(found.rejections, [("child_died".to_owned(), 1)].into());
            assert_eq!(found.processes.iter().map(|process| process.busy).sum::<u64>(), 0);
        });
        open_gate(server, "gate");
    });
}

fn ever_new_groups_take_the_rows_of_those_that_are_gone(setup: Setup) {
    let group = |number: usize| {
        format!(
            "WSGIDaemonProcess new{number} processes=3\n\
             WSGIScriptAlias /new{number} @ROOT@/apps/app.wsgi process-group=new{number}\n"
        )
    };
    serving(setup.conf("IncludeOptional @ROOT@/htdocs/*.conf")).run(|server, cases| {
        let sizes = || {
            let child = server.children()[0];
            let size = |name: &str| {
                let maps = Process(child).read("maps");
                let line = maps.lines().find(|line| line.contains(name)).unwrap_or_else(|| panic!("{name}"));
                let (start, end) =
                    line.split_once(' ').and_then(|(range, _)| range.split_once('-')).expect("a range");
                let number = |text: &str| usize::from_str_radix(text, 16).expect("an address");
                number(end) - number(start)
            };
            ["mod_wsgi ledger", "mod_wsgi tallies"].map(size)
        };
        let old_processes_have_gone = |before: &[u32]| {
            wait_until("the children and processes of before have gone", || {
                let is_gone = server.children().iter().all(|child| !before.contains(child));
                (is_gone && server.supervisors().len() == 1).then_some(())
            });
        };
        let mut all = Vec::new();
        for number in 0..12 {
            let before = server.children();
            reconfigure(server, &group(number));
            let path = format!("/new{number}/status/200");
            wait_until("it serves", || (server.get(&path).status == 200).then_some(()));
            old_processes_have_gone(&before);
            let name = format!("new{number}");
            let (count, processes) = wait_until("it is counted", || {
                let groups = snapshot(server).groups;
                let found = groups.iter().find(|group| group.name == name).expect("the group");
                (total(found) > 0).then(|| {
                    (total(found), found.processes.iter().flat_map(|process| process.ended).sum::<u64>())
                })
            });
            cases.check(&format!("{name} has its own counts alone"), || {
                assert_eq!((count, processes), (1, 1))
            });
            all.push(sizes());
        }
        cases.check("the memory does not grow without end", || assert_eq!(all[5], all[11], "{all:?}"));
    });
}

fn a_copy_of_a_child_counts_nothing(setup: Setup) {
    if setup.mode() == e2e::Mode::Daemon {
        return;
    }
    serving(setup.children(1)).run(|server, cases| {
        let before = wait_until("the first is counted", || {
            let _ = server.get("/status/200");
            Some(group(server)).filter(|group| total(group) > 0 && group.requests.is_empty())
        });
        let mark = server.mark();
        let mut connection = begin(server, "/fork");
        let answer = connection.response("GET").expect("an answer");
        server.wait_log(mark, "in the copy");
        cases.check("the client has the answer of the child alone", || {
            assert_eq!(answer.status, 200, "{}", answer.text());
            connection.send(&server.request("GET", "/status/200").keep_alive());
            assert_eq!(connection.response("GET").expect("another one").text(), "body");
        });
        cases.check("the copy is ended", || {
            server.wait_log(mark, "which a script has forked");
            wait_until("no copy", || {
                let children = Process(server.pid()).children().into_iter();
                let running = |copy: &Process| !copy.status("State").starts_with('Z');
                (!children.flat_map(Process::children).any(|copy| running(&copy))).then_some(())
            });
        });
        let after = wait_counted(server, &before, 2);
        cases.check("the request is one", || assert_eq!(total(&after) - total(&before), 2));
        cases.check("requests of the child itself are counted as ever", || {
            assert_eq!(server.get("/status/200").status, 200);
            wait_counted(server, &after, 1);
        });
    });
}

fn a_daemon_process_has_no_part_of_the_ledger(setup: Setup) {
    // The exporter reads it, and is started by the supervisor, as daemon processes are.
    let exported = "WSGIOpenTelemetry endpoint=http://127.0.0.1:9";
    serving(setup).conf(exported).run(|server, cases| {
        wait_until("it serves", || (server.get("/status/200").status == 200).then_some(()));
        let has = |process: Process| {
            let maps = process.read("maps").contains("mod_wsgi ledger");
            let descriptors = process.descriptors();
            let is_ledger =
                |target: &std::path::PathBuf| target.to_string_lossy().contains("mod_wsgi ledger");
            (maps, descriptors.iter().any(|(_, target)| is_ledger(target)))
        };
        cases.check("children have it mapped", || {
            for child in server.children() {
                assert_eq!(has(Process(child)), (true, false), "{child}");
            }
        });
        cases.check("daemon processes have not", || {
            let is_daemon = |process: &Process| process.command_line().contains("(wsgi:");
            let daemons: Vec<_> = server.daemons().into_iter().filter(is_daemon).collect();
            assert!(!daemons.is_empty());
            for process in daemons {
                assert_eq!(has(process), (false, false), "{}", process.command_line());
            }
        });
        cases.check("nor is anything said of a want of memory", || {
            let log = server.log_since(LogMark::default());
            assert!(!log.contains("shared memory"), "{log}");
            assert!(fs::exists(server.path("htdocs/keep")).unwrap_or(false));
        });
    });
}
