//! TLS and HTTP/2, by Apache's own modules.

use std::process::Output;

use e2e::Needs::{Embedded, Ours, Threads};
use e2e::{Cases, Mode, Response, Server, Setup, Test, curl, on_each_mpm, wait_until};

use crate::ECHO;

pub(crate) const TESTS: &[Test] = &[
    on_each_mpm!(applications_are_served_over_tls_and_http_2),
    on_each_mpm!(a_response_without_a_body_has_none_over_http_2, Threads),
    on_each_mpm!(
        state_of_a_thread_ends_with_it,
        Threads,
        Embedded("the threads of HTTP/2 do not enter Python otherwise"),
        Ours("care for threads that end")
    ),
];

const BODY: &str = include_str!("../../apps/body.wsgi");
const FAILURES: &str = include_str!("../../apps/failures.wsgi");
const INPUT: &str = include_str!("../../apps/input.wsgi");

/// curl's exit status for a stream that did not end well (92), or a body that was cut short (18).
const CUT_SHORT: [i32; 2] = [92, 18];

fn serving_tls(setup: Setup) -> Setup {
    let protocols = if setup.mpm().threaded() { "Protocols h2 h2c http/1.1" } else { "Protocols http/1.1" };
    let modules: &[&str] = if setup.mpm().threaded() { &["http2"] } else { &[] };
    setup
        .tls()
        .modules(modules)
        .app("/echo", "echo.wsgi", ECHO)
        .app("/body", "body.wsgi", BODY)
        .app("/failures", "failures.wsgi", FAILURES)
        .app("/input", "input.wsgi", INPUT)
        .conf(protocols)
        .conf("<Location /echo/ssl>\nSSLOptions +StdEnvVars\n</Location>\nWSGIChunkedRequest On")
}

fn fetch(server: &Server, arguments: &[&str], target: &str) -> Output {
    let url = format!("https://localhost:{}{target}", server.tls_port());
    let resolve = format!("localhost:{}:127.0.0.1", server.tls_port());
    let common = ["--insecure", "--resolve", resolve.as_str(), url.as_str()];
    curl(common.into_iter().chain(arguments.iter().copied()))
}

fn text(output: &Output) -> String {
    assert!(output.status.success(), "curl: {}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8_lossy(&output.stdout).into_owned()
}

fn has_line(text: &str, line: &str) -> bool {
    text.lines().any(|found| found == line)
}

fn applications_are_served_over_tls_and_http_2(setup: Setup) {
    let versions: &[(&str, &str)] = if setup.mpm().threaded() {
        &[("--http2", "HTTP/2.0"), ("--http1.1", "HTTP/1.1")]
    } else {
        &[("--http1.1", "HTTP/1.1")]
    };
    serving_tls(setup).run(|server, cases| {
        for &(version, protocol) in versions {
            check_environ_over_tls(server, cases, version, protocol);
            for (target, body) in [
                ("/body/many", "abc"),
                ("/body/written", "w1 w2 returned"),
                ("/body/length?5/5", "xxxxx"),
                ("/body/empty", ""),
            ] {
                cases.check(&format!("{protocol} {target}"), || {
                    assert_eq!(text(&fetch(server, &[version], target)), body);
                });
            }
            cases.check(&format!("{protocol} large"), || {
                assert_eq!(fetch(server, &[version], "/body/large").stdout.len(), 8 << 20);
            });
            cases.check(&format!("{protocol} HEAD"), || {
                assert!(text(&fetch(server, &[version, "--head"], "/body/one")).contains(" 200"));
            });
            cases.check(&format!("{protocol} upload"), || {
                let file = server.path("upload");
                server.write("upload", "line\n".repeat(100_000));
                let data = format!("@{}", file.display());
                let text = text(&fetch(server, &[version, "--data-binary", &data], "/input/digest?iterate"));
                assert!(has_line(&text, "count\t500000"), "{text}");
            });
            cases.check(&format!("{protocol} failure"), || {
                let output = fetch(
                    server,
                    &[version, "--output", "/dev/null", "--write-out", "%{http_code}"],
                    "/failures/call",
                );
                assert_eq!(text(&output), "500");
            });
            check_responses_that_break_off(server, cases, version, protocol);
        }
        if server.mpm().threaded() {
            cases.check("without TLS", || {
                let url = format!("http://127.0.0.1:{}/echo", server.port());
                let text = text(&curl(["--http2-prior-knowledge", url.as_str()]));
                assert!(
                    has_line(&text, "SERVER_PROTOCOL\t'HTTP/2.0'")
                        && has_line(&text, "wsgi.url_scheme\t'http'"),
                    "{text}"
                );
            });
        }
    });
}

fn check_responses_that_break_off(server: &Server, cases: &mut Cases<'_>, version: &str, protocol: &str) {
    for target in ["/failures/iteration_late", "/failures/iteration_late_length"] {
        let cut_short = || {
            let output = fetch(server, &[version], target);
            let code = output.status.code().unwrap_or_default();
            assert!(CUT_SHORT.contains(&code), "curl takes it for complete ({code})");
        };
        let name = format!("{protocol} {target}");
        if name == "HTTP/2.0 /failures/iteration_late" {
            let reason = "over HTTP/2 a body that was cut short looks complete";
            cases.deviates(&name, reason, cut_short);
        } else if target == "/failures/iteration_late" {
            let reason = "W10: a chunked response from a daemon process that was cut short looks complete";
            cases.deviates_in(Mode::Daemon, &name, reason, cut_short);
        } else {
            cases.check(&name, cut_short);
        }
    }
}

fn check_environ_over_tls(server: &Server, cases: &mut Cases<'_>, version: &str, protocol: &str) {
    cases.check(&format!("{protocol} environ"), || {
        let text = text(&fetch(server, &[version, "-H", "X-Some: thing"], "/echo/path?q"));
        for line in [
            format!("SERVER_PROTOCOL\t'{protocol}'"),
            "wsgi.url_scheme\t'https'".to_owned(),
            "REQUEST_SCHEME\t'https'".to_owned(),
            format!("SERVER_PORT\t'{}'", server.tls_port()),
            format!("mod_wsgi.listener_port\t'{}'", server.tls_port()),
            format!("HTTP_HOST\t'localhost:{}'", server.tls_port()),
            "HTTP_X_SOME\t'thing'".to_owned(),
            "PATH_INFO\t'/path'".to_owned(),
        ] {
            assert!(has_line(&text, &line), "{line} is not in {text}");
        }
        assert!(!text.contains("\nHTTPS\t") && !text.contains("SSL_CIPHER"), "{text}");
    });
    cases.check(&format!("{protocol} SSL variables"), || {
        let text = text(&fetch(server, &[version], "/echo/ssl"));
        assert!(text.contains("SSL_PROTOCOL\t'TLSv1."), "{text}");
        assert!(has_line(&text, "wsgi.url_scheme\t'https'") && !text.contains("\nHTTPS\t"), "{text}");
    });
}

fn a_response_without_a_body_has_none_over_http_2(setup: Setup) {
    let app = "def application(environ, start_response):\n\
        \x20   start_response(environ['QUERY_STRING'] + ' X', [('Content-Type', 'text/plain')])\n\
        \x20   return iter([b'some'] * 20)\n";
    serving_tls(setup).app("/blocks", "blocks.wsgi", app).run(|server, cases| {
        let reason = "blocks that follow the first one are sent";
        for (name, arguments, target) in [
            ("HEAD", &["--http2", "--head"][..], "/blocks?200"),
            ("no content", &["--http2", "--include"], "/blocks?204"),
            ("not modified", &["--http2", "--include"], "/blocks?304"),
        ] {
            cases.ours_only(name, reason, || {
                for _ in 0..10 {
                    assert!(text(&fetch(server, arguments, target)).starts_with("HTTP/2 "));
                }
            });
        }
    });
}

/// Keeps an object for each thread that serves, and tells how many there are.
const KEEPING: &str = "import os, threading, time, weakref\n\
    class Kept: pass\n\
    local, lock, alive, made = threading.local(), threading.Lock(), weakref.WeakSet(), 0\n\
    def application(environ, start_response):\n\
    \x20   global made\n\
    \x20   if environ['QUERY_STRING']:\n\
    \x20       # Long enough for the next request to find another thread.\n\
    \x20       time.sleep(0.02)\n\
    \x20       if not hasattr(local, 'kept'):\n\
    \x20           with lock:\n\
    \x20               local.kept = Kept()\n\
    \x20               alive.add(local.kept)\n\
    \x20               made += 1\n\
    \x20   with lock:\n\
    \x20       lines = [f'made\\t{made}', f'alive\\t{len(alive)}', f'threads\\t{len(os.listdir(\"/proc/self/task\"))}']\n\
    \x20   start_response('200 OK', [('Content-Type', 'text/plain')])\n\
    \x20   return ['\\n'.join(lines).encode()]\n";

/// The most workers that mod_http2 has at a time, and the most it keeps while there is nothing to
/// do.
const WORKERS: (u64, u64) = (12, 2);

fn state_of_a_thread_ends_with_it(setup: Setup) {
    let (most, fewest) = WORKERS;
    let setup = setup.children(1).tls().modules(&["http2"]).file("apps/app.wsgi", KEEPING).conf(&format!(
        "Protocols h2 http/1.1\nH2MinWorkers {fewest}\nH2MaxWorkers {most}\nH2MaxWorkerIdleSeconds 1\n\
         WSGIScriptAlias /main @ROOT@/apps/app.wsgi application-group=%{{GLOBAL}}\n\
         WSGIScriptAlias /sub @ROOT@/apps/app.wsgi application-group=sub\n"
    ));
    let count = |response: &Response, name| {
        let value = response.value(name).unwrap_or_default();
        value.parse::<u64>().unwrap_or_else(|error| panic!("{name}: {error}: {response:?}"))
    };
    setup.run(|server, cases| {
        for path in ["/main", "/sub"] {
            cases.check(path, || {
                // As many as it takes for workers to have been replaced by others.
                let made = wait_until("workers are replaced", || {
                    burst(server, path);
                    // Over HTTP/1.1 it is no worker that answers.
                    let left = wait_until("workers end", || {
                        let report = server.get(path);
                        (count(&report, "alive") <= fewest).then_some(report)
                    });
                    assert!(count(&left, "alive") <= count(&left, "threads"), "{left:?}");
                    let made = count(&left, "made");
                    (made > 2 * most).then_some(made)
                });
                e2e::report(format_args!("{path}: {made} threads have kept an object"));
            });
        }
    });
}

/// Several connections at once, with several requests at once.
fn burst(server: &Server, path: &str) {
    let target = format!("{path}?[1-24]");
    std::thread::scope(|scope| {
        for _ in 0..4 {
            scope.spawn(|| {
                let lines = text(&fetch(server, &["--http2", "--parallel", "--fail"], &target));
                assert_eq!(lines.matches("made").count(), 24, "{lines}");
            });
        }
    });
}
