//! Telemetry: what processes report to a collector, and that nothing waits for it.

use std::collections::HashSet;
use std::fs::{self, Permissions};
use std::os::unix::fs::PermissionsExt as _;
use std::os::unix::net::UnixDatagram;
use std::path::Path;

use e2e::Needs::{Daemon, Ours, Root, Threads};
use e2e::{
    Collector, Connection, Mode, Process, Report, Server, Setup, Test, on_one_mpm, signal, wait_until,
};
use nix::sys::signal::Signal;

pub(crate) mod published;

pub(crate) const TESTS: &[Test] = &[
    on_one_mpm!(a_process_reports_its_life, Threads),
    on_one_mpm!(slow_requests_are_reported_while_they_run_and_after, Threads),
    on_one_mpm!(collections_are_reported_by_interpreter, Threads),
    on_one_mpm!(a_collector_may_come_late_and_go, Ours("log line about a collector that is not there")),
    on_one_mpm!(a_collector_that_does_not_read_is_not_waited_for, Ours("log line about lost telemetry")),
    on_one_mpm!(a_replaced_process_tells_why, Daemon),
    on_one_mpm!(a_process_that_is_ended_by_force_says_so, Daemon),
    on_one_mpm!(
        an_end_is_reported_before_applications_are_told,
        Daemon,
        Ours("report before applications are told")
    ),
    on_one_mpm!(
        groups_of_other_users_need_permission,
        Daemon,
        Root("become other users"),
        Ours("log line about it")
    ),
];

const APP: &str = include_str!("../../apps/telemetry.wsgi");

/// Kinds of reports.
const SAMPLE: u8 = 2;
const SLOW: u8 = 4;
const STARTED: u8 = 5;
const STOPPING: u8 = 6;
const STOPPED: u8 = 7;
const GC_SNAPSHOT: u8 = 8;
const GC_EVENT: u8 = 9;

fn reporting(setup: Setup, collector: &Collector) -> Setup {
    reporting_on(APP, setup, collector)
}

fn reporting_on(application: &str, setup: Setup, collector: &Collector) -> Setup {
    setup
        .app("/", "app.wsgi", application)
        .conf("WSGIApplicationGroup %{GLOBAL}")
        .conf(&format!("WSGITelemetryService unix:{} interval=0.5", collector.path().display()))
}

fn sum(reports: &[Report], field: u16) -> f64 {
    reports.iter().map(|report| report.number(field)).sum()
}

fn a_process_reports_its_life(setup: Setup) {
    let collector = Collector::bind();
    let group = setup.mode().pick("", "e2e");
    let mut server = reporting(setup, &collector).start();
    let started =
        collector.wait("a process that reports", |report| report.kind == STARTED && report.text(6) == group);
    server.cases(|server, cases| {
        cases.check("identity", || {
            assert_eq!((started.text(1), started.text(6)), ("6.1.1".to_owned(), group.to_owned()));
            assert!(
                started.text(2).starts_with("3.") && started.text(3).starts_with("Apache/2.4."),
                "{started:?}"
            );
            assert_eq!(started.text(4), server.mpm().name());
            assert!(
                !started.text(5).is_empty() && started.number(7) == f64::from(server.pid()),
                "{started:?}"
            );
            assert!(started.number(13) > 0.0 && !started.has(130), "{started:?}");
        });
        cases.check("requests", || {
            let pid = server.get("/pid").text().to_owned();
            let sent = pid.len() + "hello".len() + "12345".len() + APP.len();
            let pid: u32 = pid.parse().expect("a process id");
            assert_eq!(server.get("/status?404").status, 404);
            assert_eq!(server.request("POST", "/").body("12345").send().text(), "12345");
            assert_eq!(server.get("/file").text(), APP);
            let samples = || collector.select(|report| report.kind == SAMPLE && report.pid == pid);
            e2e::wait_until("four requests", || (sum(&samples(), 20) >= 4.0).then_some(()));
            let (all, samples) = (samples(), samples());
            assert_eq!((sum(&samples, 121), sum(&samples, 123)), (3.0, 1.0), "statuses");
            assert_eq!(sum(&samples, 100), 5.0, "bytes of input");
            // Sending a file is no write of the application.
            assert_eq!((sum(&samples, 102), sum(&samples, 103)), (sent as f64, 3.0), "output");
            assert_eq!(
                samples.iter().map(|sample| sample.numbers(110).iter().sum::<f64>()).sum::<f64>(),
                4.0
            );
            for sample in &all {
                assert_eq!((sample.text(6), sample.number(11)), (group.to_owned(), 0.5));
                assert!(sample.number(10) > 0.0 && sample.number(40) > 1e6, "{sample:?}");
                let is_busy = sample.number(20) > 0.0;
                let has_queue = is_busy && server.mode() == Mode::Daemon;
                assert_eq!((sample.has(61), sample.has(92)), (has_queue, has_queue), "{sample:?}");
                for phase in [60, 63, 64] {
                    assert_eq!(sample.has(phase + 10), is_busy, "{sample:?}");
                    assert_eq!(sample.numbers(phase + 30).len(), 65);
                    assert_eq!(
                        sample.numbers(phase + 30).iter().sum::<f64>(),
                        sample.number(20),
                        "{sample:?}"
                    );
                }
            }
        });
        cases.check("a copy of the process reports nothing", || {
            let copy: u32 = server.get("/fork?1.2").text().parse().expect("a process id");
            wait_until("the end of the copy", || {
                let state = fs::read_to_string(format!("/proc/{copy}/stat")).unwrap_or_default();
                (state.is_empty() || state.contains(") Z ")).then_some(())
            });
            let of_copy = collector.select(|report| report.pid == copy);
            assert!(of_copy.is_empty(), "{of_copy:?}");
        });
        cases.check("the application gets no metrics meanwhile", || {
            assert_eq!(server.get("/metrics").text(), "(None, None)");
        });
    });
    let sent = collector.all().len();
    server.stop();
    let stopping =
        collector.wait("the decision", |report| report.kind == STOPPING && report.pid == started.pid);
    let stopped = collector.wait("the end", |report| report.kind == STOPPED && report.pid == started.pid);
    let reason = if group.is_empty() { "" } else { "shutdown_signal" };
    assert_eq!((stopping.text(130), stopped.text(130)), (reason.to_owned(), reason.to_owned()));
    assert_eq!((stopping.number(133), stopped.number(134), stopped.number(135)), (0.0, 0.0, 1.0));
    assert!(stopped.number(131) > 0.0 && sent < collector.all().len());
    let samples = collector.select(|report| report.kind == SAMPLE && report.pid == started.pid);
    assert!(samples.last().is_some_and(|sample| sample.stamp >= stopping.stamp), "no last sample");
}

/// Begins a request that ends when the file that it names exists.
fn start_held(server: &Server, path: &str, gate: &Path, agent: &str) -> Connection {
    let mut connection = server.connect();
    let request = format!(
        "GET {path}?{} HTTP/1.1\r\nHost: name.example:99\r\nUser-Agent: {agent}\r\nConnection: close\r\n\r\n",
        gate.display()
    );
    connection.send(request.as_bytes());
    connection
}

fn slow_requests_are_reported_while_they_run_and_after(setup: Setup) {
    let collector = Collector::bind();
    let setup = reporting(setup.conf("WSGIScriptAlias /app @ROOT@/apps/app.wsgi"), &collector);
    let setup = setup.conf("WSGISlowRequests 2\nWSGITelemetryOptions CaptureUserAgent");
    setup.run(|server, cases| {
        let of_state = |report: &Report, state: f64| report.kind == SLOW && report.number(200) == state;
        let (gate, agent) = (server.path("gate"), "x".repeat(600));
        let mut held = start_held(server, "/app/until", &gate, &agent);
        let active = collector.wait("a request that runs", |report| of_state(report, 0.0));
        // Asked for earlier, it might still count as active when the other request begins.
        let pid: u32 = server.get("/pid").text().parse().expect("a process id");
        cases.check("while it runs", || {
            let texts = [204, 210, 211, 212, 214, 215, 216].map(|id| active.text(id));
            let [id, rest @ ..] = &texts;
            assert_eq!(*rest, ["GET", "http", "name.example", "/until", "HTTP/1.1", "127.0.0.1"]);
            assert!(!id.is_empty() && active.pid == pid, "{active:?}");
            assert_eq!((active.text(217), active.number(240)), (format!("{}...", "x".repeat(508)), 0.0));
            assert_eq!((active.number(260), active.number(261), active.number(232)), (1.0, 0.0, 0.0));
            assert!(active.number(202) >= 2.0 && active.number(223) > 1.0, "{active:?}");
            assert!(active.number(203) >= 1.0 && server.children().contains(&(active.number(205) as u32)));
        });
        cases.check("and in the next sample", || {
            let longer = |report: &Report| of_state(report, 0.0) && report.number(202) > active.number(202);
            let again = collector.wait("it again", longer);
            assert_eq!((again.text(204), again.number(201)), (active.text(204), active.number(201)));
        });
        server.write("gate", "");
        assert_eq!(held.response("GET").map(|response| response.status).ok(), Some(200));
        let done = collector.wait("its end", |report| of_state(report, 1.0));
        cases.check("after its end", || {
            assert_eq!((done.text(204), done.number(201)), (active.text(204), active.number(201)));
            assert_eq!((done.number(240), done.number(232), done.number(233)), (200.0, 5.0, 1.0), "{done:?}");
            assert!(
                done.number(202) > active.number(202) && done.number(223) <= done.number(202),
                "{done:?}"
            );
            let has_queue = server.mode() == Mode::Daemon;
            assert_eq!((done.number(221) > 0.0, done.number(222) > 0.0), (has_queue, has_queue), "{done:?}");
            assert_eq!(done.text(213), "/app");
        });
        cases.check("others are not reported, and no query", || {
            assert_eq!(server.get("/app/fast").text(), "hello");
            let sampled = done.stamp + 1.0;
            collector.wait("the next samples", |report| report.kind == SAMPLE && report.stamp > sampled);
            let slow = collector.select(|report| report.kind == SLOW);
            assert!(slow.iter().all(|report| report.text(214) == "/until"), "{slow:?}");
            assert!(slow.iter().all(|report| !format!("{report:?}").contains("gate")), "{slow:?}");
            assert!(
                slow.iter().all(|report| report.number(200) == 1.0 || report.stamp <= done.stamp),
                "{slow:?}"
            );
        });
    });
}

fn collections_are_reported_by_interpreter(setup: Setup) {
    let collector = Collector::bind();
    let other = "WSGIScriptAlias /other @ROOT@/apps/app.wsgi application-group=other";
    reporting(setup.conf(other), &collector).run(|server, cases| {
        for (path, name) in [("/gc", ""), ("/other/gc", "other")] {
            cases.check(path, || {
                assert_eq!(server.get(path).text(), "hello");
                let event = collector.wait("a full collection", |report| {
                    report.kind == GC_EVENT && report.text(8) == name && report.number(322) == 2.0
                });
                assert!(event.number(321) > 0.0 && event.number(320) <= event.stamp, "{event:?}");
                let counted = |report: &Report| {
                    report.kind == GC_SNAPSHOT && report.text(8) == name && report.number(308) >= 1.0
                };
                let snapshot = collector.wait("the count of it", counted);
                assert!(snapshot.number(303) > 0.0 && snapshot.number(306) >= 0.0, "{snapshot:?}");
                assert_eq!((snapshot.number(315), snapshot.number(317)), (1.0, 0.0), "{snapshot:?}");
            });
        }
        cases.check("what the application sets", || {
            assert_eq!(server.get("/disable").text(), "hello");
            let disabled = |report: &Report| {
                report.kind == GC_SNAPSHOT && report.number(315) == 0.0 && report.number(303) == 1234.0
            };
            let snapshot = collector.wait("the new settings", disabled);
            assert_eq!(snapshot.text(8), "");
        });
    });
}

/// Returns the processes that have said that telemetry gets lost, each time that they have.
fn complaints(server: &Server, log: &str) -> Vec<String> {
    let lines = log.lines().filter(|line| line.contains("WSGI1050"));
    let pid = |line: &str| {
        let rest = line.split("[pid ").nth(1).unwrap_or_else(|| panic!("no process in {line}"));
        rest.split([':', ']']).next().unwrap_or_default().to_owned()
    };
    let found: Vec<_> = lines.map(pid).collect();
    assert!(!found.is_empty(), "no complaint: {}", server.log_tail());
    found
}

fn a_collector_may_come_late_and_go(setup: Setup) {
    let setup = setup.app("/", "app.wsgi", APP).conf("WSGIApplicationGroup %{GLOBAL}");
    setup.conf("WSGITelemetryService unix:@ROOT@/socket interval=0.5").run(|server, cases| {
        let mark = server.mark();
        cases.check("without a collector", || {
            assert_eq!(server.get("/").text(), "hello");
            server.wait_log(mark, "WSGI1050");
        });
        let path = server.path("socket");
        for what in ["a collector that comes", "another one"] {
            cases.check(what, || {
                let collector = Collector::bind_at(&path);
                let pid: u32 = server.get("/pid").text().parse().expect("a process id");
                collector.wait("a sample", |report| report.kind == SAMPLE && report.pid == pid);
            });
        }
        cases.check("it is said once", || {
            let collector = Collector::bind_at(&path);
            collector.wait("a sample", |report| report.kind == SAMPLE);
            let log = server.log_since(mark);
            let found = complaints(server, &log);
            assert_eq!(found.len(), found.iter().collect::<HashSet<_>>().len(), "{log}");
            assert!(log.contains("nobody reads from the socket"), "{log}");
        });
    });
}

fn a_collector_that_does_not_read_is_not_waited_for(setup: Setup) {
    let setup = setup.app("/", "app.wsgi", APP).conf("WSGIApplicationGroup %{GLOBAL}");
    let mut server = setup.conf("WSGITelemetryService unix:@ROOT@/socket interval=0.5").start();
    let mark = server.mark();
    let path = server.path("socket");
    let socket = UnixDatagram::bind(&path).expect("a socket");
    fs::set_permissions(&path, Permissions::from_mode(0o666)).expect("permissions");
    socket.set_nonblocking(true).expect("no waiting");
    server.cases(|server, cases| {
        let pid: u32 = server.get("/pid").text().parse().expect("a process id");
        server.wait_log(mark, "does not read fast enough");
        cases.check("requests are served", || assert_eq!(server.get("/").text(), "hello"));
        cases.check("what is lost can be counted", || {
            let mut buffer = [0; 8192];
            let mut last = 0;
            let lost = wait_until("a sample behind the lost ones", || {
                let length = socket.recv(&mut buffer).ok()?;
                let report = Report::parse(&buffer[..length]);
                if report.kind != SAMPLE || report.pid != pid {
                    return None;
                }
                let gap = report.sequence - last - 1;
                last = report.sequence;
                (gap > 0).then_some(gap)
            });
            assert!(lost < 1000, "{lost}");
        });
    });
    // It is full again, or will be.
    assert!(server.stop().success());
}

fn a_replaced_process_tells_why(setup: Setup) {
    let collector = Collector::bind();
    reporting(setup.group("maximum-requests=2"), &collector).run(|server, cases| {
        let pid: u32 = server.get("/pid").text().parse().expect("a process id");
        assert_eq!(server.get("/").text(), "hello");
        cases.check("the end of the old one", || {
            let of = |kind: u8| move |report: &Report| report.kind == kind && report.pid == pid;
            let (stopping, stopped) =
                (collector.wait("stopping", of(STOPPING)), collector.wait("stopped", of(STOPPED)));
            for event in [&stopping, &stopped] {
                assert_eq!(
                    (event.text(130), event.text(6)),
                    ("maximum_requests".to_owned(), "e2e".to_owned())
                );
            }
            assert_eq!((stopped.number(132), stopped.number(135)), (2.0, 1.0), "{stopped:?}");
            assert!(stopping.stamp <= stopped.stamp);
        });
        cases.check("the start of the new one", || {
            let is_new =
                |report: &Report| report.kind == STARTED && report.text(6) == "e2e" && report.pid != pid;
            collector.wait("another process", is_new);
        });
    });
}

fn a_process_that_is_ended_by_force_says_so(setup: Setup) {
    let collector = Collector::bind();
    reporting(setup.group("shutdown-timeout=1"), &collector).run(|server, cases| {
        let pid: u32 = server.get("/pid").text().parse().expect("a process id");
        let gate = server.path("never");
        let held = start_held(server, "/until", &gate, "-");
        let is_busy = |report: &Report| {
            report.kind == SAMPLE
                && report.pid == pid
                && report.number(52) > 0.0
                && report.numbers(113).iter().any(|elapsed| *elapsed > 0.0)
        };
        collector.wait("the running request", is_busy);
        signal(Process(pid), Signal::SIGTERM);
        cases.check("the decision", || {
            let stopping = collector.wait("stopping", |report| report.kind == STOPPING && report.pid == pid);
            assert_eq!((stopping.text(130), stopping.number(133)), ("shutdown_signal".to_owned(), 1.0));
        });
        cases.check("the end", || {
            let stopped = collector.wait("stopped", |report| report.kind == STOPPED && report.pid == pid);
            assert_eq!((stopped.number(134), stopped.number(135)), (1.0, 0.0), "{stopped:?}");
        });
        drop(held);
    });
}

/// Two groups, each of a user of its own and with an application below its name.
fn two_groups(setup: Setup) -> Setup {
    let user = if nix::unistd::geteuid().is_root() { "user=backup group=backup home=/" } else { "" };
    setup.own_groups().file("apps/app.wsgi", APP).conf(&format!(
        "WSGIDaemonProcess one threads=3\nWSGIDaemonProcess two threads=3 {user}\n\
         WSGIScriptAlias /one @ROOT@/apps/app.wsgi process-group=one application-group=%{{GLOBAL}}\n\
         WSGIScriptAlias /two @ROOT@/apps/app.wsgi process-group=two application-group=%{{GLOBAL}}"
    ))
}

/// Keeps its process from ending until there is a file.
const KEEPS: &str = "
import mod_wsgi, os, time

def wait(name, **event):
    if name == 'process_stopping':
        print('the application is told', flush=True)
        while not os.path.exists('@ROOT@/reported'):
            time.sleep(0.02)

mod_wsgi.subscribe_events(wait)

def application(environ, start_response):
    start_response('200 OK', [])
    return [str(os.getpid()).encode()]
";

/// The page of the collector shows why a process is busy with its end.
fn an_end_is_reported_before_applications_are_told(setup: Setup) {
    let collector = Collector::bind();
    reporting_on(KEEPS, setup.group("shutdown-timeout=60"), &collector).run(|server, cases| {
        let pid: u32 = server.get("/").text().parse().expect("a process id");
        let of = |kind: u8| move |report: &Report| report.kind == kind && report.pid == pid;
        let mark = server.mark();
        signal(Process(pid), Signal::SIGTERM);
        cases.check("the decision", || {
            server.wait_log(mark, "the application is told");
            assert_eq!(collector.wait("stopping", of(STOPPING)).text(130), "shutdown_signal");
            assert!(collector.select(of(STOPPED)).is_empty(), "it has not ended");
        });
        cases.check("the end", || {
            server.write("reported", "");
            assert_eq!(collector.wait("stopped", of(STOPPED)).number(135), 1.0);
        });
    });
}

fn groups_of_other_users_need_permission(setup: Setup) {
    let collector = Collector::bind();
    let service = format!("WSGITelemetryService unix:{} interval=0.5", collector.path().display());
    two_groups(setup).conf(&service).run(|server, cases| {
        cases.check("both report", || {
            for group in ["one", "two"] {
                collector.wait(group, |report| report.kind == SAMPLE && report.text(6) == group);
            }
        });
        cases.check("only those that may", || {
            let mark = server.mark();
            nix::unistd::chown(collector.path(), None, Some(nix::unistd::Gid::from_raw(33)))
                .expect("a group");
            fs::set_permissions(collector.path(), Permissions::from_mode(0o660)).expect("permissions");
            let log = server.wait_log(mark, "WSGI1050");
            assert!(log.contains("must not write to the socket") && log.contains("--socket-group"), "{log}");
            let last = collector.all().len();
            wait_until("one more of the other group", || {
                collector.all()[last..].iter().any(|report| report.text(6) == "one").then_some(())
            });
        });
    });
}
