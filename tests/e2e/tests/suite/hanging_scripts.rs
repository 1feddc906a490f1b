//! Scripts of hooks that hang, in C where nothing can interrupt them: the requests are refused, and
//! Apache's threads are free.

use std::time::{Duration, Instant};

use e2e::Needs::{Embedded, OneProcess, Ours};
use e2e::{Setup, Test, on_each_mpm, on_one_mpm};

use crate::ECHO;

pub(crate) const TESTS: &[Test] = &[
    on_each_mpm!(a_script_that_hangs_is_given_up, Ours("limits of scripts"), ONCE),
    on_one_mpm!(calls_that_hang_are_not_piled_up, Ours("limits of scripts"), ONCE, OneProcess),
];

/// They run in Apache's children in both modes.
const ONCE: e2e::Needs = Embedded("these scripts run in Apache's children in both modes");

/// Each function hangs if the query string says so, until a file is there.
const HANGS: &str = "
import os, time

def hang(environ):
    while environ['QUERY_STRING'] == 'hang' and not os.path.exists(__file__ + '.go'):
        time.sleep(0.02)

def allow_access(environ, host):
    hang(environ)
    return True

def check_password(environ, user, password):
    hang(environ)
    return True

def get_realm_hash(environ, user, realm):
    hang(environ)

def groups_for_user(environ, user):
    hang(environ)
    return ['staff']

def application_group(environ):
    hang(environ)
";

/// Longer than a request takes that is refused at once.
const SOON: Duration = Duration::from_secs(20);

fn with_scripts(setup: Setup) -> Setup {
    let basic = "AuthType Basic\nAuthName closed\nAuthBasicProvider wsgi\n";
    setup
        .modules(&["authn_core", "authn_file", "authz_user", "auth_basic"])
        .file("apps/hangs.py", HANGS)
        .file("apps/opens.py", "def check_password(*arguments):\n    return True\n")
        .file("htdocs/page", "the page")
        .app("/app", "echo.wsgi", ECHO)
        .conf(&format!(
            "Alias /access @ROOT@/htdocs\nAlias /user @ROOT@/htdocs\nAlias /group @ROOT@/htdocs\n\
             <Location /access>\nWSGIAccessScript @ROOT@/apps/hangs.py timeout=200ms\nRequire all granted\n</Location>\n\
             <Location /user>\n{basic}WSGIAuthUserScript timeout=200ms @ROOT@/apps/hangs.py\nRequire valid-user\n</Location>\n\
             <Location /group>\n{basic}WSGIAuthUserScript @ROOT@/apps/opens.py\n\
             WSGIAuthGroupScript @ROOT@/apps/hangs.py timeout=200ms\nRequire wsgi-group staff\n</Location>\n\
             <Location /app>\nWSGIDispatchScript @ROOT@/apps/hangs.py timeout=200ms\n</Location>\n"
        ))
}

fn a_script_that_hangs_is_given_up(setup: Setup) {
    with_scripts(setup).run(|server, cases| {
        let status = |target: &str| {
            let request = server.request("GET", target);
            request.header("Authorization", "Basic YW5uOnNlY3JldA==").send().status
        };
        for (target, refused) in
            [("/access/page", 500), ("/user/page", 500), ("/group/page", 401), ("/app", 500)]
        {
            cases.check(target, || {
                assert_eq!(status(target), 200);
                let mark = server.mark();
                assert_eq!(status(&format!("{target}?hang")), refused);
                let log = server.wait_log(mark, "WSGI1030");
                assert!(log.contains("apps/hangs.py' has not answered within 0.2 s"), "{log}");
                assert_eq!(status(target), 200, "others are not concerned");
            });
        }
        cases.check("the scripts return", || {
            let mark = server.mark();
            server.write("apps/hangs.py.go", "");
            server.wait_log(mark, "too late for its request");
            assert_eq!(status("/user/page?hang"), 200);
        });
    });
}

fn calls_that_hang_are_not_piled_up(setup: Setup) {
    with_scripts(setup).children(1).run(|server, _| {
        let status = |target: &str| server.get(target).status;
        for _ in 0..8 {
            assert_eq!(status("/access/page?hang"), 500);
        }
        let (mark, begin) = (server.mark(), Instant::now());
        assert_eq!(status("/access/page"), 500);
        server.wait_log(mark, "WSGI1031");
        assert!(begin.elapsed() < SOON);
        assert_eq!(server.request("GET", "/user/page").send().status, 401, "no script is asked");
        server.write("apps/hangs.py.go", "");
        while status("/access/page") != 200 {
            assert!(begin.elapsed() < SOON, "the script has not returned");
            std::thread::sleep(Duration::from_millis(20));
        }
    });
}
