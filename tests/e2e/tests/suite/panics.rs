//! A panic in our own code is contained: the request gets a 500, the log says where, the process lives.

use e2e::{Target, on_each_mpm, on_one_mpm};

use crate::ECHO;

#[test]
fn in_a_request() {
    if Target::current().lacks("test hook for panics") {
        return;
    }
    on_each_mpm(|setup| {
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
    });
}

#[test]
fn in_the_configuration() {
    if Target::current().lacks("test hook for panics") {
        return;
    }
    on_one_mpm(|setup| {
        let output = setup.conf("WSGIDebugPanic config").test_configuration();
        let text = String::from_utf8_lossy(&output.stderr).into_owned();
        assert!(!output.status.success() && output.status.code().is_some(), "{}: {text}", output.status);
        assert!(text.contains("panic") && text.contains(".rs:"), "{text}");
    });
}
