//! A panic in our own code is contained: the request gets a 500, the log says where, the process
//! lives.

use e2e::Needs::{Daemon, Embedded, Ours};
use e2e::{Ending, Setup, Test, on_each_mpm, on_one_mpm};

use crate::ECHO;

pub(crate) const TESTS: &[Test] = &[
    on_each_mpm!(a_panic_in_a_request_is_contained, Ours("test hook for panics")),
    on_each_mpm!(
        a_panic_breaks_the_response_off,
        Ours("test hook for panics"),
        Embedded("a panic on the daemon process's side is another test")
    ),
    on_each_mpm!(a_panic_in_the_exchange_is_contained, Ours("test hook for panics"), Daemon),
    on_one_mpm!(a_panic_in_the_configuration_is_reported, Ours("test hook for panics")),
];

fn a_panic_in_a_request_is_contained(setup: Setup) {
    setup
        .app("/", "app.wsgi", ECHO)
        .conf(
            "<IfModule !wsgi_module>\nNonsense\n</IfModule>\n\
             <Location /handler>\nWSGIDebugPanic handler\n</Location>\n\
             <Location /callback>\nWSGIDebugPanic callback\n</Location>",
        )
        .run(|server, cases| {
            for target in ["/handler", "/callback"] {
                cases.check(target, || {
                    assert_eq!(server.get("/fine").status, 200);
                    let before = server.children();
                    let mark = server.mark();
                    for _ in 0..3 {
                        assert_eq!(server.get(target).status, 500);
                    }
                    let log = server.wait_log(mark, "panic");
                    assert!(log.contains(".rs:"), "the log does not say where: {log}");
                    assert_eq!(server.get("/fine").status, 200);
                    assert!(!server.log_since(mark).contains("exit signal"));
                    let after = server.children();
                    assert!(before.iter().any(|child| after.contains(child)), "{before:?} {after:?}");
                });
            }
        });
}

/// Has more blocks than one.
const STREAM: &str = r"
def application(environ, start_response):
    start_response('200 OK', [])
    yield b'one'
    yield b'two'
    yield b'three'
";

fn a_panic_breaks_the_response_off(setup: Setup) {
    let hook = "<Location /exchange>\nWSGIDebugPanic exchange\n</Location>";
    setup.app("/", "app.wsgi", STREAM).conf(hook).run(|server, cases| {
        cases.check("the client can tell", || {
            let mark = server.mark();
            let mut connection = server.connect();
            connection.send(&server.request("GET", "/exchange").keep_alive());
            let Ok(response) = connection.response("GET") else { panic!("no response") };
            assert_eq!((response.text().as_str(), response.ending), ("one", Ending::Truncated));
            let log = server.wait_log(mark, "Internal error in the sending of a response");
            assert!(log.contains("WSGIDebugPanic exchange") && log.contains(".rs:"), "{log}");
            assert_eq!(server.get("/fine").expect(200), "onetwothree");
            assert!(!server.log_since(mark).contains("exit signal"));
        });
    });
}

const READS: &str = r"
import os
def application(environ, start_response):
    write = start_response('200 OK', [('Content-Type', 'text/plain')])
    body = environ['wsgi.input'].read() if environ['REQUEST_METHOD'] == 'POST' else b''
    write(b'one ')
    return [body + str(os.getpid()).encode()]
";

fn a_panic_in_the_exchange_is_contained(setup: Setup) {
    let hook = "<Location /exchange>\nWSGIDebugPanic exchange\n</Location>";
    setup.app("/", "app.wsgi", READS).conf(hook).run(|server, cases| {
        let healthy = || server.request("POST", "/fine").body("two ").send().expect(200);
        let before = healthy();
        assert!(before.starts_with("one two "), "{before}");
        for (method, what) in [("GET", "write"), ("POST", "read")] {
            cases.check(what, || {
                let mark = server.mark();
                for _ in 0..3 {
                    let request = server.request(method, "/exchange");
                    let request = if method == "POST" { request.body("two ") } else { request };
                    assert_eq!(request.send().status, 500);
                    // It is served by the same process.
                    assert_eq!(healthy(), before);
                }
                let log = server.wait_log(mark, &format!("WSGIDebugPanic exchange, {what}"));
                assert!(log.contains(".rs:") && !log.contains("exit signal"), "{log}");
            });
        }
    });
}

fn a_panic_in_the_configuration_is_reported(setup: Setup) {
    let output = setup.conf("WSGIDebugPanic config").test_configuration();
    let text = String::from_utf8_lossy(&output.stderr).into_owned();
    assert!(!output.status.success() && output.status.code().is_some(), "{}: {text}", output.status);
    assert!(text.contains("panic") && text.contains(".rs:"), "{text}");
}
