//! Telemetry: what processes report to a collector, and that nothing waits for it.

use e2e::Needs::Threads;
use e2e::{Collector, Mode, Report, Setup, Test, on_one_mpm};

pub(crate) const TESTS: &[Test] = &[on_one_mpm!(a_process_reports_its_life, Threads)];

const APP: &str = include_str!("../../apps/telemetry.wsgi");

/// Kinds of reports.
const SAMPLE: u8 = 2;
const STARTED: u8 = 5;
const STOPPING: u8 = 6;
const STOPPED: u8 = 7;

fn reporting(setup: Setup, collector: &Collector) -> Setup {
    setup
        .app("/", "app.wsgi", APP)
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
            let pid: u32 = server.get("/pid").text().parse().expect("a process id");
            assert_eq!(server.get("/status?404").status, 404);
            assert_eq!(server.request("POST", "/").body("12345").send().text(), "12345");
            let samples = || collector.select(|report| report.kind == SAMPLE && report.pid == pid);
            e2e::wait_until("three requests", || (sum(&samples(), 20) >= 3.0).then_some(()));
            let (all, samples) = (samples(), samples());
            assert_eq!((sum(&samples, 121), sum(&samples, 123)), (2.0, 1.0), "statuses");
            assert_eq!(sum(&samples, 100), 5.0, "bytes of input");
            assert_eq!(
                samples.iter().map(|sample| sample.numbers(110).iter().sum::<f64>()).sum::<f64>(),
                3.0
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
