//! OpenTelemetry: spans of requests and metrics, as a collector gets them.

use std::fs::{self, Permissions};
use std::os::unix::fs::PermissionsExt as _;

use e2e::Needs::{Daemon, Ours, Root};
use e2e::{Mode, OtlpCollector, Process, Server, Setup, Test, on_one_mpm, signal, wait_until};
use nix::sys::signal::Signal;
use serde_json::Value;
use status::Snapshot;
use status::snapshot::Group;

const OTEL: e2e::Needs = Ours("OpenTelemetry");

pub(crate) const TESTS: &[Test] = &[
    on_one_mpm!(spans_belong_to_the_traces_of_their_callers, OTEL),
    on_one_mpm!(requests_within_requests_have_spans_of_their_own, OTEL),
    on_one_mpm!(spans_of_flask_are_children_of_ours, OTEL),
    on_one_mpm!(what_is_not_sampled_is_passed_on, OTEL),
    on_one_mpm!(variables_of_the_environment_are_honoured, OTEL),
    on_one_mpm!(log_lines_can_name_the_trace, OTEL),
    on_one_mpm!(lines_of_json_name_the_trace, OTEL),
    on_one_mpm!(requests_do_not_notice_what_becomes_of_the_collector, OTEL),
    on_one_mpm!(
        the_exporter_has_no_privileges_and_is_replaced_when_it_ends,
        Root("become Apache's user"),
        OTEL
    ),
    on_one_mpm!(spans_of_an_exporter_that_is_killed_are_counted, OTEL),
    on_one_mpm!(keys_of_collectors_are_read_by_the_exporter_alone, Root("write a file for root"), OTEL),
    on_one_mpm!(metrics_are_those_of_the_server, OTEL),
    on_one_mpm!(metrics_are_sent_when_the_server_ends, OTEL),
    on_one_mpm!(metrics_are_sent_when_another_generation_comes, OTEL),
    on_one_mpm!(exporters_end_with_their_generation, OTEL),
    on_one_mpm!(a_restart_is_no_reason_to_give_spans_up, OTEL),
    on_one_mpm!(a_server_without_applications_exports, Daemon, OTEL),
    on_one_mpm!(without_its_program_nothing_is_exported, OTEL),
    on_one_mpm!(without_a_supervisor_nothing_is_exported, OTEL),
];

const APP: &str = include_str!("../../apps/traced.wsgi");

/// The identifiers of the example in the standard.
const TRACE: &str = "4bf92f3577b34da6a3ce929d0e0e4736";
const CALLER: &str = "00f067aa0ba902b7";

/// The kind of spans of requests from outside.
const SERVER: u64 = 2;

fn traceparent(flags: &str) -> String {
    format!("00-{TRACE}-{CALLER}-{flags}")
}

/// Quick to send what there is.
const QUICK: &str = "OTEL_BSP_SCHEDULE_DELAY=50\n";

fn exporting(setup: Setup, collector: &OtlpCollector, options: &str) -> Setup {
    setup
        .file("environment", QUICK)
        .app("/app", "traced.wsgi", APP)
        .conf(&format!("WSGIOpenTelemetry endpoint={} {options}", collector.endpoint()))
}

/// Sends a request in a trace. Returns what the application has got: `traceparent` and `tracestate`.
fn send(server: &Server, target: &str, headers: &[(&str, &str)]) -> (String, String) {
    let mut request = server.request("GET", target);
    for (name, value) in headers {
        request = request.header(name, value);
    }
    let text = request.send().text();
    let (parent, state) = text.split_once('\n').unwrap_or_else(|| panic!("{text}"));
    (parent.to_owned(), state.to_owned())
}

/// The ids of trace and span, and the flags.
fn parts(traceparent: &str) -> (&str, &str, &str) {
    let parts: Vec<_> = traceparent.split('-').collect();
    let ["00", trace, span, flags] = parts[..] else { panic!("no traceparent: '{traceparent}'") };
    assert_eq!((trace.len(), span.len()), (32, 16), "{traceparent}");
    (trace, span, flags)
}

fn spans_belong_to_the_traces_of_their_callers(setup: Setup) {
    let collector = OtlpCollector::start();
    let group = setup.mode().pick("", "e2e");
    let setup = exporting(setup, &collector, "signals=traces service-name=shop");
    let setup = setup.conf("WSGITrustedProxyHeaders X-Forwarded-Proto");
    setup.app("/broken", "broken.wsgi", "import nothing_of_that_name\n").run(|server, cases| {
        cases.check("a request in a trace", || {
            let headers = [("traceparent", &*traceparent("01")), ("tracestate", "a=1,b=2")];
            let (parent, state) = send(server, "/app/path?secret=1", &headers);
            let (trace, id, flags) = parts(&parent);
            assert_eq!((trace, flags, state.as_str()), (TRACE, "01", "a=1,b=2"));
            assert_ne!(id, CALLER);
            let span = collector.wait_span("the span", |span| span["id"] == id);
            assert_eq!((&span["trace"], &span["parent"]), (&TRACE.into(), &CALLER.into()));
            assert_eq!((&span["state"], &span["name"]), (&"a=1,b=2".into(), &"GET".into()));
            assert_eq!((&span["kind"], &span["flags"]), (&SERVER.into(), &0x301.into()));
            let attributes = &span["attributes"];
            for (key, value) in [
                ("http.request.method", Value::from("GET")),
                ("url.path", "/app/path".into()),
                ("url.scheme", "http".into()),
                ("server.address", "localhost".into()),
                ("http.response.status_code", 200.into()),
                ("network.protocol.version", "1.1".into()),
                ("mod_wsgi.mode", server.mode().pick("embedded", "daemon").into()),
            ] {
                assert_eq!(attributes[key], value, "{key}: {span}");
            }
            assert_eq!(attributes["mod_wsgi.process_group"].as_str().unwrap_or_default(), group, "{span}");
            assert!(
                attributes.get("client.address").is_none() && !span.to_string().contains("secret"),
                "{span}"
            );
            let (start, end) = (span["start"].as_u64().unwrap_or(0), span["end"].as_u64().unwrap_or(0));
            assert!(
                start > 1_700_000_000_000_000_000 && (start..start + 20_000_000_000).contains(&end),
                "{span}"
            );
            let resource = &span["resource"];
            assert_eq!(resource["service.name"], "shop");
            assert_eq!(resource["process.pid"], u64::from(server.pid()));
            assert_eq!(resource["service.instance.id"].as_str().map(str::len), Some(36), "{resource}");
        });
        cases.check("a URL that a proxy has had by https", || {
            let (parent, _) = send(server, "/app/proxied", &[("X-Forwarded-Proto", "https")]);
            let span = collector.wait_span("the span", |span| span["id"] == parts(&parent).1);
            assert_eq!(span["attributes"]["url.scheme"], "https", "{span}");
        });
        cases.check("a request that begins a trace", || {
            let (parent, _) = send(server, "/app/root", &[]);
            let (trace, id, flags) = parts(&parent);
            let span = collector.wait_span("the span", |span| span["id"] == id);
            assert_eq!((&span["trace"], &span["parent"], flags), (&trace.into(), &"".into(), "01"));
        });
        cases.check("a header that is not valid begins a new trace", || {
            let twice = format!("{}, {}", traceparent("01"), traceparent("01"));
            for header in ["00-0-0-00", &twice, "", &traceparent("01").to_uppercase()] {
                let (parent, state) =
                    send(server, "/app/", &[("traceparent", header), ("tracestate", "a=1")]);
                assert_eq!((parts(&parent).0 == TRACE, state.as_str()), (false, ""), "{header}");
            }
        });
        cases.check("errors", || {
            for (target, status) in
                [("/app/x?status=500", 500), ("/app/x?status=404", 404), ("/app/nowhere.txt?status=503", 503)]
            {
                let (parent, _) = send(server, target, &[]);
                let id = parts(&parent).1;
                let span = collector.wait_span("the span", |span| span["id"] == id);
                let attributes = &span["attributes"];
                assert_eq!(attributes["http.response.status_code"], status);
                let error = attributes.get("error.type").and_then(Value::as_str);
                assert_eq!(error.is_some(), status >= 500, "{span}");
                assert_eq!(span["status"], if status >= 500 { 2 } else { 0 });
            }
        });
        cases.check("a response of ours, without the application", || {
            let response = server.request("GET", "/broken/").header("traceparent", traceparent("01")).send();
            assert_eq!(response.status, 500);
            let span = collector.wait_span("the span", |span| span["attributes"]["url.path"] == "/broken/");
            assert_eq!((&span["trace"], &span["status"]), (&TRACE.into(), &2.into()));
        });
        cases.check("what is not ours has no span", || {
            server.write("htdocs/page.txt", "page");
            assert_eq!(server.get("/page.txt").status, 200);
            let (parent, _) = send(server, "/app/after", &[]);
            collector.wait_span("a later span", |span| span["id"] == parts(&parent).1);
            assert!(!collector.spans().iter().any(|span| span["attributes"]["url.path"] == "/page.txt"));
        });
    });
}

/// Fails after a moment, or dies.
const OUTER: &str = "\
import os, time

def application(environ, start_response):
    if environ['PATH_INFO'] == '/dead':
        os.kill(os.getpid(), 9)
    time.sleep(0.05)
    raise RuntimeError()
";

fn requests_within_requests_have_spans_of_their_own(setup: Setup) {
    let collector = OtlpCollector::start();
    let setup = exporting(setup, &collector, "signals=traces")
        .app("/outer", "outer.wsgi", OUTER)
        .modules(&["include", "rewrite"])
        .file("htdocs/page.shtml", "<!--#include virtual=\"/app/one\" --><!--#include virtual=\"/app/two\" -->")
        .file("htdocs/pretty/.keep", "")
        .conf(
            "<Directory \"@ROOT@/htdocs\">\nOptions +Includes +FollowSymLinks\nAddOutputFilter INCLUDES .shtml\nRewriteEngine On\n\
             RewriteRule ^pretty/(.*)$ /app/$1\n</Directory>\nErrorDocument 500 /app/inner",
        );
    setup.run(|server, cases| {
        let send =
            |target: &str| server.request("GET", target).header("traceparent", traceparent("01")).send();
        let span_of = |path: &str| collector.wait_span(path, |span| span["attributes"]["url.path"] == path);
        let is_of_caller = |span: &Value| {
            assert_eq!((&span["kind"], &span["flags"]), (&SERVER.into(), &0x301.into()), "{span}");
            assert_eq!((&span["parent"], &span["trace"]), (&CALLER.into(), &TRACE.into()), "{span}");
        };
        cases.check("what Apache redirects is the client's request still", || {
            assert_eq!(send("/pretty/rewritten").status, 200);
            is_of_caller(&span_of("/app/rewritten"));
        });
        cases.check("parts of a page that no application makes", || {
            assert_eq!(send("/page.shtml").text().matches(TRACE).count(), 2);
            for path in ["/app/one", "/app/two"] {
                let span = span_of(path);
                is_of_caller(&span);
                assert!(span["attributes"].get("network.protocol.version").is_none(), "{span}");
            }
        });
        cases.check("the document for an error of an application", || {
            assert_eq!(send("/outer/").status, 200);
            let (outer, inner) = (span_of("/outer/"), span_of("/app/inner"));
            is_of_caller(&outer);
            assert_eq!((&inner["kind"], &inner["flags"]), (&1.into(), &0x101.into()), "{inner}");
            assert_eq!((&inner["parent"], &inner["trace"]), (&outer["id"], &outer["trace"]));
            let moment = |span: &Value, key: &str| span[key].as_u64().unwrap_or(0);
            assert!(moment(&inner, "start") >= moment(&outer, "start") + 50_000_000, "{outer} {inner}");
            assert!(moment(&inner, "end") >= moment(&inner, "start"), "{inner}");
        });
        if server.mode() == Mode::Daemon {
            cases.check("a process that dies", || {
                let process = wait_until("the process", || server.daemons().first().copied());
                assert_eq!(send("/outer/dead").status, 502);
                let span = span_of("/outer/dead");
                let attributes = &span["attributes"];
                assert_eq!(attributes["mod_wsgi.pid"], process.0, "{span}");
                assert!(attributes.get("mod_wsgi.queue_time").is_none(), "{span}");
            });
        }
    });
}

fn spans_of_flask_are_children_of_ours(setup: Setup) {
    let collector = OtlpCollector::start();
    let app =
        include_str!("../../apps/frameworks/traced_flask.wsgi").replace("@COLLECTOR@", &collector.endpoint());
    exporting(setup, &collector, "signals=traces")
        .python_home(Some(&OtlpCollector::environment()))
        .app("/shop", "shop.wsgi", &app)
        .conf("WSGIApplicationGroup %{GLOBAL}")
        .run(|server, cases| {
            cases.check("one connected trace", || {
                let request =
                    server.request("GET", "/shop/hello/world").header("traceparent", traceparent("01"));
                assert_eq!(request.send().expect(200), "hello world");
                let ours = collector.wait_span("our span", |span| span["trace"] == TRACE);
                let flask = wait_until("the span of Flask", || {
                    collector.spans().into_iter().find(|span| span["parent"] == ours["id"])
                });
                let inner = wait_until("the span of the view", || {
                    collector.spans().into_iter().find(|span| span["parent"] == flask["id"])
                });
                assert_eq!((&ours["parent"], &flask["name"]), (&CALLER.into(), &"GET /hello/<name>".into()));
                assert_eq!((&inner["name"], &inner["trace"]), (&"greet".into(), &TRACE.into()));
                assert_eq!(flask["resource"]["service.name"], "flask");
                assert!(ours["start"].as_u64() <= flask["start"].as_u64(), "{ours} {flask}");
                assert!(
                    flask["end"].as_u64().map(|end| end / 1_000_000)
                        <= ours["end"].as_u64().map(|end| end / 1_000_000)
                );
            });
        });
}

fn what_is_not_sampled_is_passed_on(setup: Setup) {
    let collector = OtlpCollector::start();
    exporting(setup, &collector, "signals=traces sample=0").run(|server, cases| {
        cases.check("a caller that records nothing", || {
            let headers = [("traceparent", &*traceparent("00")), ("tracestate", "a=1")];
            assert_eq!(send(server, "/app/", &headers), (traceparent("00"), "a=1".to_owned()));
        });
        cases.check("no caller", || {
            let (parent, _) = send(server, "/app/", &[]);
            assert_eq!(parts(&parent).2, "00", "so that the application records nothing either");
        });
        cases.check("a caller that records", || {
            let (parent, _) = send(server, "/app/last", &[("traceparent", &traceparent("01"))]);
            collector.wait_span("the span", |span| span["id"] == parts(&parent).1);
            assert_eq!(collector.spans().len(), 1, "of the others there are none");
        });
    });
}

fn variables_of_the_environment_are_honoured(setup: Setup) {
    let collector = OtlpCollector::start();
    let variables = format!(
        "{QUICK}OTEL_EXPORTER_OTLP_ENDPOINT={}/base\nOTEL_EXPORTER_OTLP_HEADERS=x-key=a%20b\nOTEL_SERVICE_NAME=named\n\
         OTEL_RESOURCE_ATTRIBUTES=service.name=other,deployment.environment.name=test\nOTEL_EXPORTER_OTLP_COMPRESSION=gzip\n\
         OTEL_METRICS_EXPORTER=none\nOTEL_EXPORTER_OTLP_TIMEOUT=soon\n",
        collector.endpoint()
    );
    setup.file("environment", &variables).app("/app", "traced.wsgi", APP).conf("WSGIOpenTelemetry On").run(
        |server, cases| {
            cases.check("endpoint, headers, resource, compression", || {
                let (parent, _) = send(server, "/app/", &[]);
                let span = collector.wait_span("the span", |span| span["id"] == parts(&parent).1);
                assert_eq!(span["resource"]["service.name"], "named");
                assert_eq!(span["resource"]["deployment.environment.name"], "test");
                let request = &collector.received()[0];
                assert_eq!(request["path"], "/base/v1/traces");
                let headers = &request["headers"];
                assert_eq!(
                    (&headers["x-key"], &headers["content-encoding"]),
                    (&"a b".into(), &"gzip".into())
                );
                assert_eq!(headers["content-type"], "application/x-protobuf");
            });
            cases.check("what means nothing is reported", || {
                server.wait_log(
                    e2e::LogMark::default(),
                    "OTEL_EXPORTER_OTLP_TIMEOUT is ignored, which is 'soon'",
                );
            });
        },
    );
}

fn log_lines_can_name_the_trace(setup: Setup) {
    let collector = OtlpCollector::start();
    let setup = exporting(setup, &collector, "signals=traces")
        .conf("ErrorLogFormat \"[%t] trace=%{mod_wsgi.trace_id}n %M\"")
        .conf("CustomLog \"@ROOT@/logs/access.log\" \"%U %{mod_wsgi.trace_id}n %{mod_wsgi.span_id}n\"");
    setup.run(|server, cases| {
        cases.check("lines of a request", || {
            let mark = server.mark();
            let (parent, _) = send(server, "/app/log", &[("traceparent", &traceparent("01"))]);
            let line = server.wait_log(mark, "a line of the application");
            assert!(line.contains(&format!("trace={TRACE} ")), "{line}");
            let expected = format!("/app/log {TRACE} {}\n", parts(&parent).1);
            wait_until("the access log", || {
                fs::read_to_string(server.path("logs/access.log")).ok()?.contains(&expected).then_some(())
            });
        });
    });
}

fn lines_of_json_name_the_trace(setup: Setup) {
    let collector = OtlpCollector::start();
    let setup =
        exporting(setup, &collector, "signals=traces").conf("WSGILogFormat json\nErrorLogFormat \"%M\"");
    setup.run(|server, cases| {
        cases.check("a trace that begins here", || {
            let mark = server.mark();
            let (parent, _) = send(server, "/app/log", &[]);
            let text = "a line of the application";
            let log = server.wait_log(mark, text);
            let line = log.lines().find(|line| line.contains(text)).unwrap_or_default();
            let line: Value = serde_json::from_str(line).unwrap_or_else(|error| panic!("{line}: {error}"));
            assert_eq!(line["trace_id"], parts(&parent).0, "{line}");
        });
    });
}

/// The number of spans that were lost for a reason, as reported last.
fn dropped(collector: &OtlpCollector, reason: &str) -> u64 {
    reported(collector, "mod_wsgi.spans.dropped", &reason.into())
}

/// The value of a metric of spans, of the point with a reason, as reported last.
fn reported(collector: &OtlpCollector, name: &str, reason: &Value) -> u64 {
    let metrics = collector.received().into_iter().filter(|request| request["behaviour"] == "ok");
    let mut metrics = metrics.flat_map(|request| request["metrics"].as_array().cloned().unwrap_or_default());
    let last = metrics.rfind(|metric| metric["name"] == name);
    let points =
        last.map(|metric| metric["points"].as_array().cloned().unwrap_or_default()).unwrap_or_default();
    let found = points.iter().find(|point| point["attributes"]["reason"] == *reason);
    found.and_then(|point| point["value"].as_u64()).unwrap_or(0)
}

fn requests_do_not_notice_what_becomes_of_the_collector(setup: Setup) {
    let mut collector = OtlpCollector::start();
    let variables = format!("{QUICK}OTEL_BSP_MAX_QUEUE_SIZE=20\nOTEL_BSP_MAX_EXPORT_BATCH_SIZE=5\n");
    let mut server = exporting(setup, &collector, "interval=200ms timeout=500ms")
        .file("environment", &variables)
        .conf("<Location \"/-/status\">\nSetHandler wsgi-status\n</Location>")
        .start();
    let ask = |server: &Server, path: &str, count: usize| {
        for _ in 0..count {
            assert_eq!(parts(&send(server, path, &[]).0).2, "01");
        }
    };
    let has_span = |collector: &OtlpCollector, path: &str| {
        collector.wait_span(path, |span| span["attributes"]["url.path"] == path);
    };
    server.cases(|server, cases| {
        cases.check("it works", || {
            ask(server, "/app/first", 1);
            has_span(&collector, "/app/first");
        });
        cases.check("it refuses", || {
            let mark = server.mark();
            collector.behave("400");
            ask(server, "/app/refused", 1);
            server.wait_log(mark, "WSGI1062: the OpenTelemetry collector of spans");
            collector.behave("ok");
            wait_until("the count", || (dropped(&collector, "not_accepted") == 1).then_some(()));
        });
        cases.check("it takes a part", || {
            collector.behave("partial");
            ask(server, "/app/partial", 1);
            wait_until("the spans", || {
                let received = collector.received().into_iter();
                received
                    .into_iter()
                    .find(|request| request["behaviour"] == "partial" && request["path"] == "/v1/traces")
            });
            collector.behave("ok");
            wait_until("the count", || (dropped(&collector, "not_accepted") == 2).then_some(()));
        });
        cases.check("it is busy", || {
            collector.behave("429 1");
            ask(server, "/app/busy", 1);
            wait_until("a try", || {
                collector.received().into_iter().find(|request| request["behaviour"] == "429")
            });
            collector.behave("ok");
            has_span(&collector, "/app/busy");
        });
        cases.check("it is slow", || {
            collector.behave("slow");
            ask(server, "/app/slow", 10);
            collector.behave("ok");
            has_span(&collector, "/app/slow");
        });
    });
    collector.stop();
    server.cases(|server, cases| {
        cases.check("it is down", || {
            ask(server, "/app/down", 60);
        });
    });
    collector.start_again();
    wait_until("drops", || (dropped(&collector, "queue_full") > 0).then_some(()));
    let status: Value = serde_json::from_str(&server.get("/-/status?format=json").text()).expect("JSON");
    assert!(status["server"]["dropped_spans"].as_u64() > Some(2), "{}", status["server"]);
    has_span(&collector, "/app/down");
    ask(&server, "/app/again", 1);
    has_span(&collector, "/app/again");
    wait_until("the log", || server.log_tail().contains("takes them again").then_some(()));
    let _ = server.stop();
}

fn exporter(server: &Server) -> Process {
    wait_until("the exporter", || match server.exporters()[..] {
        [exporter] => Some(exporter),
        _ => None,
    })
}

fn the_exporter_has_no_privileges_and_is_replaced_when_it_ends(setup: Setup) {
    let collector = OtlpCollector::start();
    exporting(setup, &collector, "signals=traces").run(|server, cases| {
        let first = exporter(server);
        send(server, "/app/", &[]);
        cases.check("it is nobody special", || {
            let user = nix::unistd::User::from_name("www-data").ok().flatten().expect("Apache's user");
            let (uid, gid) = (user.uid.to_string(), user.gid.to_string());
            assert_eq!(first.status("Uid"), [&uid[..]; 4].join(" "));
            assert_eq!((first.status("Gid"), first.status("Groups")), ([&gid[..]; 4].join(" "), gid.clone()));
            for set in ["CapEff", "CapPrm", "CapInh", "CapAmb"] {
                assert_eq!(first.status(set).trim_start_matches('0'), "", "{set}");
            }
            assert_eq!(first.status("NoNewPrivs"), "1");
            let limits = first.read("limits");
            let core = limits.lines().find(|line| line.starts_with("Max core file size")).unwrap_or_default();
            assert_eq!(core.split_whitespace().skip(4).take(2).collect::<Vec<_>>(), ["0", "0"], "{core}");
            assert!(
                !first.read("environ").contains("OTEL_"),
                "others of the server's variables are not passed on"
            );
        });
        cases.check("its memory is not for others with the same user", || {
            let path = format!("/proc/{}/environ", first.0);
            let read = std::process::Command::new("setpriv")
                .args(["--reuid", "www-data", "--clear-groups", "cat", &path])
                .output()
                .expect("setpriv");
            assert!(!read.status.success(), "{read:?}");
        });
        cases.check("another one takes its place", || {
            let mark = server.mark();
            signal(first, Signal::SIGKILL);
            let second = wait_until("another exporter", || match server.exporters()[..] {
                [other] if other != first => Some(other),
                _ => None,
            });
            server.wait_log(mark, "WSGI1061: the exporter of OpenTelemetry");
            let (parent, _) = send(server, "/app/second", &[]);
            collector.wait_span("the span", |span| span["id"] == parts(&parent).1);
            assert!(second.is_alive());
        });
    });
}

fn spans_of_an_exporter_that_is_killed_are_counted(setup: Setup) {
    const COUNT: u64 = 7;
    let collector = OtlpCollector::start();
    exporting(setup, &collector, "interval=200ms").run(|server, cases| {
        collector.behave("503");
        let (first, mark) = (exporter(server), server.mark());
        for _ in 0..COUNT {
            send(server, "/app/", &[]);
        }
        wait_until("a try", || {
            let spans = |request: &Value| request["spans"].as_array().map_or(0, Vec::len);
            collector.received().iter().any(|request| spans(request) > 0).then_some(())
        });
        signal(first, Signal::SIGKILL);
        wait_until("its end", || (!first.is_alive()).then_some(()));
        collector.behave("ok");
        // What it had not taken is the next one's.
        let lost = wait_until("all are sent or lost", || {
            let sent = reported(&collector, "mod_wsgi.spans.sent", &Value::Null);
            let lost = dropped(&collector, "exporter_ended");
            (lost > 0 && sent + lost == COUNT).then_some(lost)
        });
        cases.check("the log says how many", || {
            let line = server.wait_log(mark, "WSGI1061: the exporter of OpenTelemetry");
            assert!(line.contains(&format!("that are lost: {lost}")), "{line}");
        });
    });
}

fn keys_of_collectors_are_read_by_the_exporter_alone(setup: Setup) {
    let collector = OtlpCollector::start_tls();
    let keys = collector.path("keys");
    fs::write(&keys, "# the key\nX-Key: very secret\nno header\n").expect("a file");
    fs::set_permissions(&keys, Permissions::from_mode(0o600)).expect("root's file");
    let options = format!(
        "signals=traces compression=gzip headers-file={} certificate={}",
        keys.display(),
        collector.path("certificate.pem").display()
    );
    exporting(setup, &collector, &options).run(|server, cases| {
        cases.check("over TLS, with a key", || {
            let (parent, _) = send(server, "/app/", &[]);
            collector.wait_span("the span", |span| span["id"] == parts(&parent).1);
            let headers = &collector.received()[0]["headers"];
            assert_eq!(
                (&headers["x-key"], &headers["content-encoding"]),
                (&"very secret".into(), &"gzip".into())
            );
            let line = server.wait_log(e2e::LogMark::default(), "has a line 3 that is no header");
            assert!(!line.contains("very secret") && line.contains("WSGI1063"), "{line}");
        });
        cases.check("an exporter that is replaced reads it again", || {
            let first = exporter(server);
            signal(first, Signal::SIGKILL);
            wait_until("another exporter", || (!server.exporters().contains(&first)).then_some(()));
            let (parent, _) = send(server, "/app/second", &[]);
            collector.wait_span("the span", |span| span["id"] == parts(&parent).1);
            assert_eq!(collector.received().last().expect("a request")["headers"]["x-key"], "very secret");
        });
        cases.check("children do not have it open", || {
            for child in server.children() {
                let open = Process(child).descriptors();
                assert!(open.iter().all(|(_, path)| *path != keys), "{open:?}");
            }
        });
    });
}

fn metrics_are_those_of_the_server(setup: Setup) {
    let collector = OtlpCollector::start();
    let group = setup.mode().pick(Value::Null, "e2e".into());
    let setup = exporting(setup, &collector, "signals=metrics interval=100ms");
    setup.conf("WSGITrustedProxyHeaders X-Forwarded-Proto").run(|server, cases| {
        for target in ["/app/", "/app/?status=404", "/app/?status=500", "/app/?status=500", "/app/"] {
            assert_ne!(server.get(target).status, 0);
        }
        let request = server.request("POST", "/app/").header("X-Forwarded-Proto", "https");
        assert_eq!(request.body("12345").send().status, 200);
        cases.check("the duration of requests", || {
            let counts = |metric: &Value, method: &str, status: u16, scheme: &str| -> u64 {
                let points = metric["points"].as_array().cloned().unwrap_or_default();
                let is_it = |point: &&Value| {
                    let attributes = &point["attributes"];
                    assert_eq!(attributes["mod_wsgi.process_group"], group, "{point}");
                    let class = format!("{}xx", status / 100);
                    let error = if status == 500 { "500".into() } else { Value::Null };
                    [
                        ("http.request.method", method.into()),
                        ("http.response.status_code", status.into()),
                        ("url.scheme", scheme.into()),
                        ("mod_wsgi.status_class", class.into()),
                        ("error.type", error),
                    ]
                    .iter()
                    .all(|(key, value)| attributes[*key] == *value)
                };
                points.iter().filter(is_it).filter_map(|point| point["count"].as_u64()).sum()
            };
            let metric = collector.wait_metric("http.server.request.duration", |metric| {
                let sent = [
                    ("GET", 200, "http"),
                    ("GET", 404, "http"),
                    ("GET", 500, "http"),
                    ("POST", 200, "https"),
                ];
                sent.map(|(method, status, scheme)| counts(metric, method, status, scheme)) == [2, 1, 2, 1]
            });
            assert_eq!(
                (&metric["data"], &metric["unit"], &metric["temporality"]),
                (&"histogram".into(), &"s".into(), &2.into())
            );
            let points = metric["points"].as_array().expect("points");
            assert_eq!(points.iter().filter_map(|point| point["count"].as_u64()).sum::<u64>(), 6);
            for point in points {
                assert_eq!(point["bounds"][0], 0.005);
                let buckets = point["buckets"].as_array().expect("buckets");
                assert_eq!(buckets.len(), 15);
                assert_eq!(
                    buckets.iter().filter_map(Value::as_u64).sum::<u64>(),
                    point["count"].as_u64().unwrap_or(0)
                );
                assert!(point["start"].as_u64() < point["time"].as_u64(), "{point}");
            }
        });
        cases.check("others", || {
            let bytes = collector
                .wait_metric("mod_wsgi.response.body.io", |metric| metric["points"][0]["value"] == 6);
            assert_eq!((&bytes["monotonic"], &bytes["unit"]), (&true.into(), &"By".into()));
            collector.wait_metric("http.server.active_requests", |metric| {
                metric["monotonic"] == false && metric["points"][0]["value"] == 0
            });
            collector.wait_metric("mod_wsgi.process.memory.usage", |metric| {
                metric["points"][0]["value"].as_f64().is_some_and(|bytes| bytes > 1e6)
            });
        });
        cases.check("a restart changes nothing about them", || {
            server.graceful();
            wait_until("a later report", || {
                let old = server.exporters().len() == 1;
                old.then_some(())
            });
            assert_eq!(server.get("/app/").status, 200);
            let count = |metric: &Value| -> u64 {
                let points = metric["points"].as_array().cloned().unwrap_or_default();
                points.iter().filter_map(|point| point["count"].as_u64()).sum()
            };
            let after = collector.wait_metric("http.server.request.duration", |metric| count(metric) == 7);
            let before = collector.wait_metric("http.server.request.duration", |metric| count(metric) == 6);
            assert_eq!(after["points"][0]["start"], before["points"][0]["start"]);
        });
        cases.check("requests have no spans", || {
            assert_eq!(server.get("/app/").text(), "\n", "nor a traceparent");
            assert!(collector.spans().is_empty());
        });
    });
}

fn metrics_are_sent_when_the_server_ends(setup: Setup) {
    for is_graceful in [false, true] {
        let collector = OtlpCollector::start();
        let mut server = exporting(setup.clone(), &collector, "signals=metrics interval=1h").start();
        exporter(&server);
        assert_eq!(server.get("/app/").status, 200);
        let status = if is_graceful { server.stop_gracefully() } else { server.stop() };
        assert!(status.success(), "{status}");
        collector.wait_metric("http.server.request.duration", |metric| metric["points"][0]["count"] == 1);
        assert_eq!(collector.received().len(), 1, "graceful: {is_graceful}");
        assert!(!server.log_tail().contains("WSGI106"), "{}", server.log_tail());
    }
}

fn metrics_are_sent_when_another_generation_comes(setup: Setup) {
    let collector = OtlpCollector::start();
    let setup = exporting(setup, &collector, "signals=metrics interval=1h");
    setup.conf("<Location \"/-/status\">\nSetHandler wsgi-status\n</Location>").run(|server, cases| {
        cases.check("however soon that is", || {
            for count in 1..=2 {
                exporter(server);
                assert_eq!(server.get("/app/").status, 200);
                wait_until("it is counted", || {
                    let status = server.get("/-/status?format=json").text();
                    let status: Snapshot = serde_json::from_str(&status).expect("JSON");
                    (status.groups.iter().map(Group::ended).sum::<u64>() == count).then_some(())
                });
                server.graceful();
                let is_it = |metric: &Value| metric["points"][0]["count"] == count;
                collector.wait_metric("http.server.request.duration", is_it);
            }
        });
    });
}

fn exporters_end_with_their_generation(setup: Setup) {
    let collector = OtlpCollector::start();
    let mut server = exporting(setup, &collector, "signals=traces").start();
    let first = exporter(&server);
    let instance = |path: &str| {
        let span = collector.wait_span(path, |span| span["attributes"]["url.path"] == path);
        span["resource"]["service.instance.id"].clone()
    };
    send(&server, "/app/first", &[]);
    server.graceful();
    wait_until("the end of the first exporter", || (!first.is_alive()).then_some(()));
    let second = exporter(&server);
    send(&server, "/app/second", &[]);
    assert_eq!(instance("/app/first"), instance("/app/second"));
    send(&server, "/app/last", &[]);
    assert!(server.stop().success());
    instance("/app/last");
    assert!(!second.is_alive());
}

fn a_restart_is_no_reason_to_give_spans_up(setup: Setup) {
    let collector = OtlpCollector::start();
    let mut server = exporting(setup, &collector, "signals=traces").start();
    let first = exporter(&server);
    collector.behave("503");
    let (parent, _) = send(&server, "/app/", &[]);
    let tries = || {
        let has_it = |request: &Value| request["spans"][0]["id"] == parts(&parent).1;
        collector.received().iter().filter(|request| has_it(request)).count()
    };
    wait_until("a try", || (tries() > 0).then_some(()));
    server.graceful();
    // The last one comes when a server that stops would have given up.
    wait_until("other tries", || (tries() > 3).then_some(()));
    collector.behave("ok");
    collector.wait_span("the span", |span| span["id"] == parts(&parent).1);
    wait_until("the end of the first exporter", || (!first.is_alive()).then_some(()));
    assert!(server.stop().success());
}

fn a_server_without_applications_exports(setup: Setup) {
    let collector = OtlpCollector::start();
    exporting(setup.own_groups(), &collector, "interval=100ms").run(|server, cases| {
        assert_eq!(server.mode(), Mode::Daemon);
        cases.check("without process groups there is a supervisor", || {
            exporter(server);
            assert_eq!((server.supervisors().len(), server.daemons().len()), (1, 0));
            let (parent, _) = send(server, "/app/", &[]);
            let span = collector.wait_span("the span", |span| span["id"] == parts(&parent).1);
            assert_eq!(
                (&span["kind"], &span["attributes"]["mod_wsgi.mode"]),
                (&SERVER.into(), &"embedded".into())
            );
        });
        cases.check("its metrics", || {
            let sent =
                collector.wait_metric("mod_wsgi.spans.sent", |metric| metric["points"][0]["value"] == 1);
            assert_eq!(
                (&sent["data"], &sent["temporality"], &sent["monotonic"]),
                (&"sum".into(), &2.into(), &true.into())
            );
        });
    });
}

fn without_its_program_nothing_is_exported(setup: Setup) {
    let collector = OtlpCollector::start();
    let mut server = exporting(setup.own_module(), &collector, "signals=traces").start();
    let (program, elsewhere) = (server.path("module/exporter"), server.path("exporter"));
    fs::rename(&program, &elsewhere).expect("the program");
    let mark = server.mark();
    server.stop_and_start();
    server.cases(|server, cases| {
        cases.check("the log says so, and requests are served", || {
            let line = server.wait_log(mark, "WSGI1060: the exporter of OpenTelemetry");
            assert!(line.contains("cannot be opened") && line.contains("goes on without"), "{line}");
            assert_eq!(server.get("/app/").text(), "\n", "without a traceparent");
        });
        cases.check("a restart takes one that was installed later", || {
            fs::rename(&elsewhere, &program).expect("the program");
            server.restart();
            let (parent, _) = send(server, "/app/", &[]);
            collector.wait_span("the span", |span| span["id"] == parts(&parent).1);
        });
    });
}

fn without_a_supervisor_nothing_is_exported(setup: Setup) {
    let collector = OtlpCollector::start();
    let mut server = exporting(setup.own_module().own_groups(), &collector, "signals=traces").start();
    exporter(&server);
    let (program, elsewhere) = (server.path("module/supervisor"), server.path("supervisor"));
    fs::rename(&program, &elsewhere).expect("the program");
    let mark = server.mark();
    server.stop_and_start();
    server.cases(|server, cases| {
        cases.check("a server without process groups starts nevertheless", || {
            let line = server.wait_log(mark, "WSGI0020: ");
            assert!(line.contains("until then nothing is exported to OpenTelemetry"), "{line}");
            send(server, "/app/", &[]);
        });
        cases.check("a restart takes one that was installed later", || {
            fs::rename(&elsewhere, &program).expect("the program");
            server.restart();
            let (parent, _) = send(server, "/app/", &[]);
            collector.wait_span("the span", |span| span["id"] == parts(&parent).1);
        });
    });
}
