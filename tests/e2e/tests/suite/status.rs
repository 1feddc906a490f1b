//! The status of a server: `SetHandler wsgi-status`.

pub(crate) mod page;

use std::io::Write as _;
use std::path::Path;
use std::process::{Command, Stdio};

use e2e::Needs::{Daemon, Ours};
use e2e::{Interpreter, Response, Server, Setup, Test, on_one_mpm, wait_until};
use status::Snapshot;
use status::snapshot::{Group, SCHEMA, State};

const STATUS: e2e::Needs = Ours("the status of the server");

pub(crate) const TESTS: &[Test] = &[
    on_one_mpm!(the_status_is_for_those_who_may_see_it, STATUS),
    on_one_mpm!(the_status_shows_groups_and_processes, Daemon, STATUS),
    on_one_mpm!(a_virtual_host_sees_its_own_part, Daemon, STATUS),
    on_one_mpm!(the_page_is_all_that_a_browser_needs, STATUS),
    on_one_mpm!(metrics_are_what_prometheus_reads, STATUS),
];

/// An application that answers once there is a file.
const APP: &str = "
import os, time

def application(environ, start_response):
    while environ['PATH_INFO'].startswith('/hold') and not os.path.exists(environ['test.gate']):
        time.sleep(0.01)
    start_response('200 OK', [('Content-Type', 'text/plain')])
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
    parse(&server.get("/wsgi-status?format=json"))
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
        let seen = |host: &str| {
            let request = server.request("GET", "/wsgi-status?format=json").host(host).send();
            let groups = parse(&request).groups;
            groups.into_iter().map(|group| group.name).collect::<Vec<_>>()
        };
        cases.check("its groups alone", || {
            assert_eq!(seen("one.test"), ["one"]);
            assert_eq!(seen("two.test"), ["two"]);
        });
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

/// Returns the metrics of a server, checked by the parser of `prometheus_client`: see
/// `status_metrics.py`.
fn metrics(server: &Server) -> String {
    let answer = server.get("/wsgi-status?format=prometheus");
    assert_eq!(answer.header("Content-Type"), Some("text/plain; version=0.0.4; charset=utf-8"));
    let text = answer.expect(200);
    let directory = Path::new(env!("CARGO_MANIFEST_DIR"));
    let python = Interpreter::current().environment(&directory.join("requirements-status.txt"));
    let mut parser = Command::new(python.join("bin/python"))
        .arg(directory.join("apps/status_metrics.py"))
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .expect("the parser");
    let written = parser.stdin.take().map(|mut input| input.write_all(text.as_bytes()));
    assert!(written.is_some_and(|written| written.is_ok()));
    let output = parser.wait_with_output().expect("the parser's output");
    assert!(output.status.success(), "{}\n{text}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8_lossy(&output.stdout).into_owned()
}

fn metrics_are_what_prometheus_reads(setup: Setup) {
    serving(setup).run(|server, cases| {
        cases.check("they are valid", || {
            let metrics = metrics(server);
            for line in
                ["type\tmod_wsgi_info\tgauge", "type\thttp_server_request_duration_seconds\thistogram"]
            {
                assert!(metrics.lines().any(|other| other == line), "no {line} in {metrics}");
            }
        });
    });
}
