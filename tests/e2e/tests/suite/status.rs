//! The status of a server: `SetHandler wsgi-status`.

pub(crate) mod page;

use std::collections::BTreeMap;
use std::io::Write as _;
use std::net::SocketAddr;
use std::path::Path;
use std::process::{Command, Stdio};
use std::sync::mpsc::{self, RecvTimeoutError};
use std::thread;
use std::time::Duration;

use e2e::Needs::{Daemon, NoSanitizer, Ours, Threads};
use e2e::{Connection, Interpreter, Response, Server, Setup, Test, curl, on_one_mpm, wait_until};
use status::Snapshot;
use status::snapshot::{Group, SCHEMA, State};

const STATUS: e2e::Needs = Ours("the status of the server");

pub(crate) const TESTS: &[Test] = &[
    on_one_mpm!(the_status_is_for_those_who_may_see_it, STATUS),
    on_one_mpm!(the_status_shows_groups_and_processes, Daemon, STATUS),
    on_one_mpm!(a_virtual_host_sees_its_own_part, Daemon, STATUS),
    on_one_mpm!(virtual_hosts_without_a_name_are_kept_apart, Daemon, STATUS),
    on_one_mpm!(the_page_is_all_that_a_browser_needs, STATUS),
    on_one_mpm!(what_clients_send_is_shown_as_text, STATUS),
    on_one_mpm!(
        what_went_wrong_is_shown_with_its_cause,
        Daemon,
        STATUS,
        NoSanitizer("it handles the signal itself")
    ),
    on_one_mpm!(metrics_are_what_prometheus_reads, STATUS),
    on_one_mpm!(a_scrape_under_load_is_what_clients_have_counted, STATUS),
    on_one_mpm!(a_client_of_http_2_that_has_got_all_has_not_gone, Threads, STATUS),
];

/// An application that answers once there is a file.
const APP: &str = "
import os, time

def application(environ, start_response):
    while environ['PATH_INFO'].startswith('/hold') and not os.path.exists(environ['test.gate']):
        time.sleep(0.01)
    if environ['PATH_INFO'] == '/crash':
        os.kill(os.getpid(), 11)
        time.sleep(60)
    status = environ['PATH_INFO'][1:].partition('/')[0]
    environ['wsgi.input'].read()
    start_response(status + ' Status' if status.isdigit() else '200 OK', [('Content-Type', 'text/plain')])
    return [b'application']
";

const SECTIONS: &str = "
<Location \"/wsgi-status\">
    SetHandler wsgi-status
</Location>
<Location \"/open-status\">
    SetHandler wsgi-status
    WSGIStatusClients all
</Location>
<Location \"/closed-status\">
    SetHandler wsgi-status
    WSGIStatusClients 192.0.2.1
</Location>
<Location \"/whole-status\">
    SetHandler wsgi-status
    WSGIStatusScope server
</Location>
<Location \"/denied-status\">
    SetHandler wsgi-status
    Require all denied
</Location>
";

fn serving(setup: Setup) -> Setup {
    setup
        .app("/", "app.wsgi", APP)
        .file("htdocs/keep", "")
        .conf("WSGIApplicationGroup %{GLOBAL}\nSetEnv test.gate @ROOT@/htdocs/gate")
        .conf(SECTIONS)
}

fn parse(answer: &Response) -> Snapshot {
    let text = answer.expect(200);
    assert_eq!(answer.header("Content-Type"), Some("application/json"));
    serde_json::from_str(&text).unwrap_or_else(|error| panic!("{error}: {text}"))
}

fn snapshot(server: &Server) -> Snapshot {
    parse(&server.get("/whole-status?format=json"))
}

fn group(server: &Server, name: &str) -> Group {
    let groups = snapshot(server).groups;
    groups.into_iter().find(|group| group.name == name).unwrap_or_else(|| panic!("no group {name}"))
}

fn the_status_is_for_those_who_may_see_it(setup: Setup) {
    serving(setup).run(|server, cases| {
        cases.check("local clients may see it", || {
            for query in ["?format=json", "?x=1&format=json"] {
                let answer = server.get(&format!("/wsgi-status{query}"));
                assert_eq!(parse(&answer).schema, SCHEMA);
                assert_eq!(answer.header("Cache-Control"), Some("no-store"));
                assert_eq!(answer.header("X-Content-Type-Options"), Some("nosniff"));
            }
            assert_eq!(server.get("/wsgi-status?format=xml").status, 404);
            assert_eq!(server.get("/other").expect(200), "application");
        });
        cases.check("it is only read", || {
            let head = server.request("HEAD", "/wsgi-status?format=json").send();
            assert_eq!((head.status, head.text().as_str()), (200, ""));
            let post = server.request("POST", "/wsgi-status?format=json").body("x").send();
            assert_eq!(post.status, 405);
            assert!(post.header("Allow").is_some_and(|allowed| allowed.contains("GET")), "{post:?}");
        });
        cases.check("others may not", || {
            for header in ["X-Forwarded-For", "Forwarded", "Via", "X-Real-IP"] {
                let request = |path| server.request("GET", path).header(header, "192.0.2.1").send();
                assert_eq!(request("/wsgi-status").status, 403, "{header}");
                assert_eq!(request("/open-status").status, 200, "{header}");
            }
            assert_eq!(server.get("/closed-status").status, 403);
            assert_eq!(server.get("/denied-status").status, 403);
        });
    });
}

fn the_status_shows_groups_and_processes(setup: Setup) {
    let setup = serving(setup.group("processes=1 threads=2").threads(8));
    setup.conf("WSGIDaemonProcess unused threads=3").run(|server, cases| {
        cases.check("groups and their processes", || {
            let pid = wait_until("the process", || server.daemons().first().copied());
            wait_until("it serves", || {
                group(server, "e2e")
                    .processes
                    .iter()
                    .any(|process| process.state == State::Serving)
                    .then_some(())
            });
            let snapshot = snapshot(server);
            assert_eq!(snapshot.server.pid, server.pid());
            assert_eq!(snapshot.server.version, env!("CARGO_PKG_VERSION"));
            let names: Vec<_> = snapshot.groups.iter().map(|group| &*group.name).collect();
            assert!(names.ends_with(&["e2e", "unused"]) || names.ends_with(&["unused", "e2e"]), "{names:?}");
            let group = group(server, "e2e");
            assert_eq!((group.threads, group.least_processes, group.most_processes), (2, 1, 1));
            assert_eq!(group.processes.iter().map(|process| process.pid).collect::<Vec<_>>(), [pid.0]);
            assert!(
                snapshot.warnings.iter().any(|line| line.contains("'unused'")),
                "{:?}",
                snapshot.warnings
            );
        });
        cases.check("what runs and what waits", || {
            let held: Vec<_> = (0..3).map(|_| server.request("GET", "/hold")).collect();
            std::thread::scope(|scope| {
                let held: Vec<_> = held.iter().map(|request| scope.spawn(|| request.send())).collect();
                wait_until("two that run", || (group(server, "e2e").processes[0].busy == 2).then_some(()));
                wait_until("one that waits", || (group(server, "e2e").queued == 1).then_some(()));
                server.write("htdocs/gate", "");
                for answer in held {
                    assert_eq!(answer.join().map(|answer| answer.status).ok(), Some(200));
                }
            });
            wait_until("none", || (group(server, "e2e").processes[0].busy == 0).then_some(()));
        });
    });
}

fn a_virtual_host_sees_its_own_part(setup: Setup) {
    let hosts = ["one", "two"].map(|name| {
        format!(
            "<VirtualHost *:@PORT@>
    ServerName {name}.test
    WSGIDaemonProcess {name} threads=2
    WSGIScriptAlias /own @ROOT@/apps/app.wsgi process-group={name}
    WSGIScriptAlias / @ROOT@/apps/app.wsgi
    WSGIStatusScope vhost
</VirtualHost>"
        )
    });
    serving(setup).conf(&hosts.join("\n")).run(|server, cases| {
        let ask = |host: &str, format: &str| {
            server.request("GET", &format!("/wsgi-status?format={format}")).host(host).send()
        };
        let seen = |host: &str| {
            let groups = parse(&ask(host, "json")).groups;
            groups.into_iter().map(|group| group.name).collect::<Vec<_>>()
        };
        cases.check("its groups alone", || {
            assert_eq!(seen("one.test"), ["one"]);
            assert_eq!(seen("two.test"), ["two"]);
        });
        cases.check("its requests alone, and no counts of what it shares", || {
            let paths = ["/hold-shared", "/own/hold-own"];
            let requests = ["one", "two"].map(|host| {
                paths.map(|path| {
                    server.request("GET", &format!("{path}-{host}")).host(&format!("{host}.test"))
                })
            });
            thread::scope(|scope| {
                let held: Vec<_> =
                    requests.iter().flatten().map(|request| scope.spawn(|| request.send())).collect();
                wait_until("the requests", || {
                    let groups = snapshot(server).groups;
                    (groups.iter().map(|group| group.requests.len()).sum::<usize>() == 4).then_some(())
                });
                for (host, other) in [("one", "two"), ("two", "one")] {
                    let snapshot = parse(&ask(&format!("{host}.test"), "json"));
                    for group in &snapshot.groups {
                        let paths: Vec<_> = group.requests.iter().map(|request| &*request.path).collect();
                        let (path, is_partial) = match &*group.name {
                            "e2e" => ("/hold-shared", true),
                            _ => ("/own/hold-own", false),
                        };
                        assert_eq!((paths, group.is_partial), (vec![&*format!("{path}-{host}")], is_partial));
                        assert_eq!(group.processes.is_empty(), is_partial);
                        assert!(group.http.is_empty() && group.queued == 0, "{}", group.name);
                    }
                    assert_eq!(snapshot.groups.len(), 2);
                    assert!(snapshot.warnings.is_empty() && snapshot.events.is_empty());
                    for format in ["json", "html", "prometheus"] {
                        let text = ask(&format!("{host}.test"), format).expect(200);
                        for word in [&format!("{other}.test"), &format!("-{other}"), &format!("\"{other}\"")]
                        {
                            assert!(!text.contains(word), "{word} in the {format} of {host}: {text}");
                        }
                    }
                }
                server.write("htdocs/gate", "");
                for answer in held {
                    assert_eq!(answer.join().map(|answer| answer.status).ok(), Some(200));
                }
            });
            wait_until("its counts", || (group(server, "one").ended() == 1).then_some(()));
            let own = parse(&ask("one.test", "json")).groups;
            assert_eq!(
                own.iter().map(|group| (&*group.name, group.ended())).collect::<Vec<_>>(),
                [("one", 1)]
            );
            let metrics = ask("one.test", "prometheus").expect(200);
            assert!(
                metrics.contains("{process_group=\"one\",http_request_method=\"GET\"")
                    && !metrics.contains("\"e2e\"")
            );
        });
    });
}

fn virtual_hosts_without_a_name_are_kept_apart(setup: Setup) {
    // Apache gives both the name of the main server, which the third one has by itself.
    let host = |port: &str, name: &str, lines: &str| {
        format!(
            "<VirtualHost *:@{port}@>
    {lines}
    WSGIDaemonProcess {name} threads=2
    WSGIScriptAlias / @ROOT@/apps/app.wsgi process-group={name}
    WSGIStatusScope vhost
</VirtualHost>"
        )
    };
    let hosts = [
        host("PORT", "one", ""),
        host("TLS_PORT", "two", ""),
        host(
            "TLS_PORT",
            "three",
            "<IfModule alias_module>\nServerName localhost\n</IfModule>\nServerAlias three.test",
        ),
    ];
    let setup = serving(setup.own_groups()).conf("Listen 127.0.0.1:@TLS_PORT@").conf(&hosts.join("\n"));
    setup.run(|server, cases| {
        let other = SocketAddr::new(server.address().ip(), server.tls_port());
        let ask = |address: SocketAddr, host: &str, path: &str| {
            let mut connection = Connection::open(address);
            let head = format!("GET {path} HTTP/1.1\r\nHost: {host}\r\nConnection: close\r\n\r\n");
            connection.send(head.as_bytes());
            connection.response("GET").expect("a response")
        };
        let hosts = [(server.address(), "any", "one"), (other, "any", "two"), (other, "three.test", "three")];
        for (address, host, _) in hosts {
            assert_eq!(ask(address, host, "/200").status, 200);
        }
        for (address, host, name) in hosts {
            cases.check(&format!("of {name}"), || {
                let snapshot = parse(&ask(address, host, "/wsgi-status?format=json"));
                let names: Vec<_> = snapshot.groups.iter().map(|group| &*group.name).collect();
                assert_eq!(names, [name]);
                let expected = match name {
                    "three" => format!("localhost:{}", address.port()),
                    _ => format!("VirtualHost *:{}", address.port()),
                };
                assert_eq!(snapshot.scope.as_deref(), Some(&*expected));
                assert_eq!(snapshot.groups[0].virtual_host, expected);
            });
        }
    });
}

fn the_page_is_all_that_a_browser_needs(setup: Setup) {
    serving(setup).run(|server, cases| {
        cases.check("the page", || {
            let answer = server.get("/wsgi-status");
            let page = answer.expect(200);
            assert_eq!(answer.header("Content-Type"), Some("text/html; charset=utf-8"));
            assert_eq!(answer.header("Cache-Control"), Some("no-store"));
            let policy = answer.header("Content-Security-Policy").expect("a policy");
            let nonce =
                policy.split("'nonce-").nth(1).and_then(|rest| rest.split('\'').next()).expect("a nonce");
            assert!(policy.starts_with("default-src 'none';"), "{policy}");
            assert_eq!(page.matches(&format!("nonce=\"{nonce}\"")).count(), 2);
            assert!(page.contains("<h1>mod_wsgi on "), "{page}");
            assert_ne!(server.get("/wsgi-status").header("Content-Security-Policy"), Some(policy));
        });
        cases.check("what clients send is text", || {
            let page = server.get("/wsgi-status?filter=%22%3E%3Cscript%3Ealert(1)%3C/script%3E").expect(200);
            assert!(page.contains("value=\"&quot;&gt;&lt;script&gt;alert(1)&lt;/script&gt;\""), "{page}");
            assert_eq!(page.matches("<script").count(), 1);
        });
    });
}

fn what_clients_send_is_shown_as_text(setup: Setup) {
    serving(setup.threads(8).children(8)).run(|server, cases| {
        let hostile = server.request("GET", "/hold%1B%5B2J%FF%3Cscript%3E%E2%80%AE?secret=1");
        thread::scope(|scope| {
            let held = scope.spawn(|| hostile.send());
            let path = wait_until("the request", || {
                let mut groups = snapshot(server).groups.into_iter();
                groups.find_map(|group| group.requests.into_iter().next()).map(|request| request.path)
            });
            cases.check("in JSON", || assert_eq!(path, "/hold\\u{1b}[2J\\xff<script>\\u{202e}"));
            cases.check("on the page", || {
                let page = server.get("/wsgi-status").expect(200);
                assert!(page.contains("/hold\\u{1b}[2J\\xff&lt;script&gt;\\u{202e}<"), "{page}");
                assert!(!page.contains('\u{1b}') && !page.contains("secret"));
                assert_eq!(page.matches("<script").count(), 1);
            });
            server.write("htdocs/gate", "");
            assert_eq!(held.join().map(|answer| answer.status).ok(), Some(200));
        });
    });
}

fn what_went_wrong_is_shown_with_its_cause(setup: Setup) {
    serving(setup.group("processes=1")).run(|server, cases| {
        server.expect_crashes();
        cases.check("a crash", || {
            assert_ne!(server.get("/crash").status, 200);
            wait_until("the crash", || {
                let group = group(server, "e2e");
                (group.processes[0].crashes.get("SIGSEGV") == Some(&1)).then_some(())
            });
            let page = server.get("/wsgi-status").expect(200);
            assert!(page.contains("1 × SIGSEGV") && page.contains(">crash</span> <strong>e2e"), "{page}");
            let label = "signal=SIGSEGV";
            assert_eq!(parsed(&[scrape(server)])[0].sum("mod_wsgi_process_crashes_total", &[label]), 1.0);
        });
        cases.check("a reload that fails, with its traceback", || {
            assert_eq!(server.get("/other").expect(200), "application");
            server.write("apps/app.wsgi", "import no_such_module\n");
            wait_until("the failure", || {
                // A request for the script has it reloaded.
                let _ = server.get("/other");
                (group(server, "e2e").processes[0].failed_reloads > 0).then_some(())
            });
            let page = server.get("/wsgi-status").expect(200);
            assert!(page.contains(">failed reload</span> <strong>e2e"), "{page}");
            assert!(page.contains("<summary>Traceback</summary>"), "{page}");
            assert!(page.contains("ModuleNotFoundError: No module named &#39;no_such_module&#39;"), "{page}");
        });
    });
}

/// Returns the metrics of a server as text.
fn scrape(server: &Server) -> String {
    let answer = server.get("/wsgi-status?format=prometheus");
    assert_eq!(answer.header("Content-Type"), Some("text/plain; version=0.0.4; charset=utf-8"));
    answer.expect(200)
}

/// Returns the samples in texts of metrics, after the parser of `prometheus_client` and rules of
/// ours have accepted each text: see `status_metrics.py`.
fn parsed(texts: &[String]) -> Vec<Samples> {
    let directory = Path::new(env!("CARGO_MANIFEST_DIR"));
    let python = Interpreter::current().environment(&directory.join("requirements-status.txt"));
    let mut parser = Command::new(python.join("bin/python"))
        .arg(directory.join("apps/status_metrics.py"))
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .expect("the parser");
    let mut input = parser.stdin.take().expect("its input");
    let output = thread::scope(|scope| {
        scope.spawn(move || input.write_all(texts.join("\0").as_bytes()).expect("it reads"));
        parser.wait_with_output().expect("its output")
    });
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8_lossy(&output.stdout).split('\0').map(Samples::parse).collect()
}

/// The samples of a text of metrics: name, labels, and value.
struct Samples(Vec<(String, String, f64)>);

impl Samples {
    fn parse(text: &str) -> Self {
        let samples = text.lines().map(|line| {
            let mut parts = line.split('\t').map(str::to_owned);
            let mut part = || parts.next().unwrap_or_default();
            let (name, labels, value) = (part(), part(), part());
            (name, labels, value.parse().unwrap_or_else(|error| panic!("{error}: {line}")))
        });
        Self(samples.collect())
    }

    /// Returns the sum of the samples of a name that have all of these labels.
    fn sum(&self, name: &str, labels: &[&str]) -> f64 {
        let matches = |other: &str| labels.iter().all(|label| other.split(',').any(|given| given == *label));
        let samples = self.0.iter().filter(|(other, given, _)| other == name && matches(given));
        samples.map(|(.., value)| value).sum()
    }
}

/// The responses that clients have got, by method and status, and the bytes of their
/// bodies.
type Got = BTreeMap<(&'static str, u16), (u64, u64)>;

/// Sends requests on several connections at once, and returns what has come back.
fn load(server: &Server, rounds: usize) -> Got {
    const REQUESTS: [(&str, &str, &str); 7] = [
        ("GET", "/200", ""),
        ("GET", "/404", ""),
        ("POST", "/201", "a body"),
        ("GET", "/500", ""),
        ("HEAD", "/200", ""),
        ("DELETE", "/302", ""),
        ("PUT", "/204", ""),
    ];
    let client = || {
        let mut connection = Connection::open(server.address());
        let mut got = Got::new();
        for _ in 0..rounds {
            for (method, path, body) in REQUESTS {
                let length = body.len();
                let head = format!(
                    "{method} {path} HTTP/1.1\r\nHost: localhost\r\nContent-Length: {length}\r\n\r\n"
                );
                let response = loop {
                    let _ = connection.try_send(format!("{head}{body}").as_bytes());
                    if let Some(response) = connection.response_if_any(method).expect("a response") {
                        break response;
                    }
                    // A busy Apache closes idle connections, as the sums prove: the request has not come.
                    connection = Connection::open(server.address());
                };
                // Apache closes the connection after a 500.
                if response.header("Connection") == Some("close") {
                    connection = Connection::open(server.address());
                }
                let count = got.entry((method, response.status)).or_default();
                *count = (count.0 + 1, count.1 + response.body.len() as u64);
            }
        }
        got
    };
    thread::scope(|scope| {
        let clients: Vec<_> = (0..4).map(|_| scope.spawn(client)).collect();
        let mut all = Got::new();
        for got in clients.into_iter().flat_map(|client| client.join().expect("a client")) {
            let sum = all.entry(got.0).or_default();
            *sum = (sum.0 + got.1.0, sum.1 + got.1.1);
        }
        all
    })
}

fn a_scrape_under_load_is_what_clients_have_counted(setup: Setup) {
    const COUNT: &str = "http_server_request_duration_seconds_count";
    let label = format!("process_group={}", setup.mode().pick("", "e2e"));
    // Four connections stay open, one scrapes.
    let setup = serving(setup.group("processes=2 threads=2").children(8));
    setup.conf("KeepAlive On\nMaxKeepAliveRequests 0").run(|server, cases| {
        let (got, mut texts) = thread::scope(|scope| {
            let (done, is_done) = mpsc::channel::<()>();
            // It ends with the load, whether that succeeds or not.
            let scraping = scope.spawn(move || {
                let mut texts = Vec::new();
                while is_done.recv_timeout(Duration::from_millis(20)) == Err(RecvTimeoutError::Timeout) {
                    texts.push(scrape(server));
                }
                texts
            });
            let got = load(server, 50);
            drop(done);
            (got, scraping.join().expect("the scrapes"))
        });
        let sent: u64 = got.values().map(|(count, _)| count).sum();
        // A request is counted when it has ended, a moment after its client has the response.
        wait_until("all are counted", || {
            let groups = snapshot(server).groups;
            (groups.iter().map(Group::ended).sum::<u64>() >= sent).then_some(())
        });
        texts.push(scrape(server));
        let scrapes = parsed(&texts);
        let last = scrapes.last().expect("a scrape");
        cases.check("nothing is lost, and nothing counted twice", || {
            assert_eq!(sent, 4 * 50 * 7);
            for ((method, status), (count, _)) in &got {
                let labels = [
                    &*label,
                    &format!("http_request_method={method}"),
                    &format!("http_response_status_code={status}"),
                    &format!("status_class={}xx", status / 100),
                    "url_scheme=http",
                ];
                assert_eq!(last.sum(COUNT, &labels), *count as f64, "{labels:?}");
            }
            assert_eq!(last.sum(COUNT, &[&label]), sent as f64);
            assert_eq!(last.sum("http_server_active_requests", &[&label]), 0.0);
        });
        cases.check("the parts are of as many requests", || {
            let application = "mod_wsgi_request_application_seconds_count";
            assert_eq!(last.sum(application, &[&label]), sent as f64);
            let bytes: u64 = got.values().map(|(_, bytes)| bytes).sum();
            let sent_bytes = last.sum("mod_wsgi_response_body_bytes_total", &[&label]);
            assert_eq!(sent_bytes, bytes as f64);
            assert_eq!(last.sum("mod_wsgi_request_body_bytes_total", &[&label]), 200.0 * 6.0);
        });
        cases.check("counts never fall", || {
            let counts: Vec<_> = scrapes.iter().map(|samples| samples.sum(COUNT, &[])).collect();
            assert!(counts.len() > 1 && counts.is_sorted(), "{counts:?}");
        });
    });
}

fn metrics_are_what_prometheus_reads(setup: Setup) {
    serving(setup).run(|server, cases| {
        cases.check("they are valid", || {
            assert_eq!(server.get("/500").status, 500);
            let samples = parsed(&[scrape(server)]);
            let version = concat!("version=", env!("CARGO_PKG_VERSION"));
            assert_eq!(samples[0].sum("mod_wsgi_info", &[version]), 1.0);
            assert!(samples[0].sum("mod_wsgi_start_time_seconds", &[]) > 1e9);
        });
    });
}

/// mod_http2 aborts the connection of a stream as soon as it has sent the end of it, which the thread
/// that has passed it on may see.
fn a_client_of_http_2_that_has_got_all_has_not_gone(setup: Setup) {
    const REQUESTS: usize = 1_000;
    serving(setup.tls().modules(&["http2"]).conf("Protocols h2 http/1.1")).run(|server, cases| {
        for (method, options) in [("GET", &["--parallel"][..]), ("HEAD", &["--head"])] {
            let url = format!("https://127.0.0.1:{}/200/{method}/[1-{REQUESTS}]", server.tls_port());
            let common = ["--insecure", "--http2", "--output", "/dev/null", &url];
            let format = ["--write-out", "%{http_code} %{http_version}\n"];
            let output = curl(common.into_iter().chain(format).chain(options.iter().copied()));
            let answers = String::from_utf8_lossy(&output.stdout).into_owned();
            cases.check(&format!("{method}: all have got all"), || {
                assert_eq!(
                    answers.lines().filter(|answer| *answer == "200 2").count(),
                    REQUESTS,
                    "{answers}"
                );
            });
        }
        let is_serving = |group: &Group| group.ended() > 0;
        let group = wait_until("the counts", || {
            let group = snapshot(server).groups.into_iter().find(is_serving)?;
            (group.ended() == 2 * REQUESTS as u64).then_some(group)
        });
        cases.check("none has gone", || assert_eq!(group.rejections, BTreeMap::new()));
        cases.check("all bytes are counted", || {
            let bytes: u64 = group.processes.iter().map(|process| process.bytes_out).sum();
            assert_eq!(bytes, (REQUESTS * "application".len()) as u64);
        });
    });
}
