//! The scripts as files: interpreters, changes, mistakes in the configuration.

use e2e::Needs::{HostWithOwnGil, OneProcess, OnlyMpms, Ours};
use e2e::{Interpreter, Mpm, Setup, Target, Test, curl, on_one_mpm};

use super::{BASIC, IN_CHILDREN, check_logged, expect_logged, section, with_scripts};

pub(crate) const TESTS: &[Test] = &[
    on_one_mpm!(a_script_runs_in_its_application_group, IN_CHILDREN),
    on_one_mpm!(a_changed_script_is_loaded_again, IN_CHILDREN, OneProcess),
    on_one_mpm!(a_script_without_its_interpreter_lets_nobody_in, IN_CHILDREN, OneProcess, OURS),
    on_one_mpm!(scripts_run_in_interpreters_with_their_own_gil, OURS, HostWithOwnGil),
    on_one_mpm!(mistakes_in_these_directives_are_refused, IN_CHILDREN, OnlyMpms(&[Mpm::Event])),
];

const OURS: e2e::Needs = Ours("such interpreters, and failures of theirs");

fn a_script_runs_in_its_application_group(setup: Setup) {
    let with = |url: &str, options: &str| {
        format!("<Location {url}>\n{BASIC}WSGIAuthUserScript @ROOT@/apps/user.wsgi {options}\n</Location>\n")
    };
    with_scripts(setup)
        .conf(&with("/user", ""))
        .conf(&with("/user/global", "application-group=%{GLOBAL}"))
        .conf(&with("/user/server", "application-group=%{SERVER}"))
        .conf(&with("/user/host", "application-group=%{HOST}"))
        .conf(&with("/user/resource", "application-group=%{RESOURCE}"))
        .conf(&with("/user/environment", "application-group=%{ENV:SET}"))
        .conf(&with("/user/named", "application-group=\"a name\""))
        .conf(&with("/user/last", "application-group=first application-group=last"))
        .conf("SetEnvIf Host . SET=value")
        .run(|server, cases| {
            let port = server.port();
            for (target, group) in [
                ("/user", String::new()),
                ("/user/global", String::new()),
                ("/user/server", format!("localhost:{port}")),
                ("/user/host", format!("some.example:{port}")),
                ("/user/resource", "%{RESOURCE}".to_owned()),
                ("/user/environment", "%{ENV:SET}".to_owned()),
                ("/user/named", "a name".to_owned()),
                ("/user/last", "last".to_owned()),
            ] {
                cases.check(target, || {
                    let request =
                        server.request("GET", target).host(&format!("Some.example:{port}")).user("group", "");
                    assert_eq!(request.send().value("REMOTE_USER"), Some(format!("'group <{group}>'")));
                });
            }
        });
}

/// A script whose answer depends on its version.
fn version(names: &str) -> String {
    format!(
        "NAMES = {names}\n\n\ndef allow_access(environ, host):\n    return 'open' in NAMES\n\n\n\
         def check_password(environ, user, password):\n    return True if user in NAMES else None\n\n\n\
         def groups_for_user(environ, user):\n    return NAMES\n"
    )
}

fn a_changed_script_is_loaded_again(setup: Setup) {
    let lines = "WSGIAccessScript @ROOT@/apps/one.wsgi\nWSGIAuthUserScript @ROOT@/apps/one.wsgi\n\
                 WSGIAuthGroupScript @ROOT@/apps/one.wsgi\n";
    let basic = BASIC.replace("Require valid-user", "Require wsgi-group crew");
    with_scripts(setup)
        .file("apps/one.wsgi", version("['open', 'ann', 'crew']"))
        .conf(&section("/closed", &format!("{basic}{lines}")))
        .conf(&section("/still", &format!("{basic}{lines}WSGIScriptReloading Off")))
        .run(|server, cases| {
            let status = |target: &str, user: &str| {
                server.request("GET", &format!("{target}/page")).user(user, "x").send().status
            };
            cases.check("the first version", || {
                assert_eq!([status("/closed", "ann"), status("/closed", "bob")], [200, 401]);
            });
            cases.check("without reloading", || {
                server.write("apps/one.wsgi", version("['open', 'bob', 'crew']"));
                assert_eq!([status("/still", "ann"), status("/still", "bob")], [200, 401]);
            });
            cases.check("the next version", || {
                let mark = server.mark();
                assert_eq!([status("/closed", "ann"), status("/closed", "bob")], [401, 200]);
                server.wait_log(mark, "Reloading WSGI script '");
            });
            cases.check("a version without that group", || {
                server.write("apps/one.wsgi", version("['open', 'bob']"));
                assert_eq!(status("/closed", "bob"), 401);
            });
            cases.check("a version that keeps all away", || {
                server.write("apps/one.wsgi", version("['bob', 'crew']"));
                assert_eq!(status("/closed", "bob"), 403);
            });
            cases.check("a version that cannot be loaded lets nobody in", || {
                server.write("apps/one.wsgi", "def check_password(:\n");
                assert_eq!(status("/closed", "bob"), 403);
                assert_eq!(status("/closed", "bob"), 403);
            });
            cases.check("a version that can be loaded again", || {
                server.write("apps/one.wsgi", version("['open', 'bob', 'crew']"));
                assert_eq!(status("/closed", "bob"), 200);
            });
            cases.check("a script that is gone", || {
                std::fs::remove_file(server.path("apps/one.wsgi")).unwrap_or_else(|error| panic!("{error}"));
                assert_eq!(status("/closed", "bob"), 403);
            });
        });
}

/// An interpreter cannot be set up while there is a file `broken`.
const STOPS: &str = "import os, sys; os.path.exists('@ROOT@/broken') and sys.exit('not today')\n";

fn a_script_without_its_interpreter_lets_nobody_in(setup: Setup) {
    let group = "application-group=broken";
    let digest = "AuthType Digest\nAuthName closed\nAuthDigestProvider wsgi\nRequire valid-user\n";
    let groups = "AuthType Basic\nAuthName closed\nAuthBasicProvider file\nAuthUserFile @ROOT@/users\n\
                  Require wsgi-group staff\n";
    let user = format!("WSGIAuthUserScript @ROOT@/apps/user.wsgi {group}\n");
    with_scripts(setup)
        .modules(&["auth_digest"])
        .file("packages/stops.pth", STOPS)
        .file("users", "filed:{SHA}vvmBDk32ZNVpDrKVB8LK0EVs9Do=\n")
        .file("apps/choose.wsgi", "def process_group(environ):\n    return None\n")
        .conf("WSGIPythonPath @ROOT@/packages")
        .conf(&section("/access", &format!("WSGIAccessScript @ROOT@/apps/access.wsgi {group}")))
        .conf(&section("/password", &format!("{BASIC}{user}")))
        .conf(&section("/digest", &format!("{digest}{user}")))
        .conf(&section("/groups", &format!("{groups}WSGIAuthGroupScript @ROOT@/apps/groups.wsgi {group}")))
        .conf(&format!(
            "<Location /user/chosen>\nWSGIDispatchScript @ROOT@/apps/choose.wsgi {group}\n</Location>"
        ))
        .run(|server, cases| {
            assert_eq!(server.get("/user").status, 200);
            server.write("broken", "");
            for (target, user, status, code) in [
                ("/access/page", None, 403, "WSGI0054"),
                ("/password/page", Some("true"), 500, "WSGI0042"),
                ("/groups/page", Some("filed"), 401, "WSGI0048"),
                ("/user/chosen", None, 500, "WSGI0086"),
            ] {
                check_logged(cases, server, (target, status, code), || {
                    let request = server.request("GET", target);
                    if let Some(user) = user { request.user(user, "filed") } else { request }.send()
                });
            }
            cases.check("/digest/page", || {
                let url = format!("http://{}/digest/page", server.address());
                let mark = server.mark();
                let answer = curl(["--digest", "--user", "somebody:secret", "--include", &url]).stdout;
                assert!(String::from_utf8_lossy(&answer).contains("HTTP/1.1 500 "), "{answer:?}");
                server.wait_log(mark, "WSGI0045");
            });
            cases.check("other interpreters", || {
                expect_logged(server, 200, "", || server.get("/user"));
            });
        });
}

/// Lets ann in, if it runs in an interpreter with its own GIL: such a one does not fork.
const OWN_GIL: &str = "
import os

def has_own_gil():
    try:
        if os.fork() == 0:
            os._exit(0)
    except RuntimeError:
        return True
    return False

def allow_access(environ, host):
    return has_own_gil()

def check_password(environ, user, password):
    return has_own_gil() and user == 'ann'

def groups_for_user(environ, user):
    return ['staff'] if has_own_gil() else []

def callable_object(environ):
    return 'chosen' if has_own_gil() else None

def chosen(environ, start_response):
    start_response('200 OK', [])
    return [b'chosen']
";

fn scripts_run_in_interpreters_with_their_own_gil(setup: Setup) {
    let python = Interpreter::with_own_gil().expect("the test needs one");
    let place = setup.mode().pick("", "process-group=guard");
    let group = setup.mode().pick("", "WSGIDaemonProcess guard threads=3\n");
    let options = format!("@ROOT@/apps/own.wsgi application-group=own {place}");
    let basic = BASIC.replace("Require valid-user", "Require wsgi-group staff");
    with_scripts(setup)
        .python_home(Some(&python.home()))
        .file("apps/own.wsgi", OWN_GIL)
        .conf(&format!(
            "<WSGIInterpreterOptions application-group=own>\nWSGIPerInterpreterGIL On\n</WSGIInterpreterOptions>\n\
             {group}WSGIScriptAlias /chosen @ROOT@/apps/own.wsgi\n\
             <Location /chosen>\nWSGIDispatchScript {options}\n</Location>"
        ))
        .conf(&section(
            "/closed",
            &format!(
                "{basic}WSGIAccessScript {options}\nWSGIAuthUserScript {options}\nWSGIAuthGroupScript {options}"
            ),
        ))
        .run(|server, cases| {
            cases.check("access, password and groups", || {
                std::thread::scope(|scope| {
                    for (user, status) in [("ann", 200), ("bob", 401), ("ann", 200)] {
                        scope.spawn(move || {
                            for _ in 0..10 {
                                let request = server.request("GET", "/closed/page").user(user, "x");
                                assert_eq!(request.send().status, status, "{user}");
                            }
                        });
                    }
                });
            });
            cases.check("dispatch", || assert_eq!(server.get("/chosen").expect(200), "chosen"));
        });
}

fn mistakes_in_these_directives_are_refused(setup: Setup) {
    let accepts = |lines: &str| {
        let output = with_scripts(setup.clone()).conf(lines).test_configuration();
        (output.status.success(), String::from_utf8_lossy(&output.stderr).into_owned())
    };
    let in_location = |line: &str| format!("<Location /x>\n{line}\n</Location>");
    for name in ["WSGIAccessScript", "WSGIAuthUserScript", "WSGIAuthGroupScript", "WSGIDispatchScript"] {
        for line in [
            "",
            "\"\"",
            "/x application-group=",
            "/x callable-object=application",
            "/x pass-authorization=On",
            "/x script-user=www-data",
            "/x stray",
            "/x =a",
            "/x \"application-group=a b\"",
        ] {
            let (accepted, text) = accepts(&in_location(&format!("{name} {line}")));
            assert!(!accepted, "{name} {line}: {text}");
        }
        for line in [
            "/none",
            "\"/a b/c\" application-group=a",
            "/x application-group=\"a b\"",
            "x.wsgi application-group=%{GLOBAL}",
        ] {
            let (accepted, text) = accepts(&in_location(&format!("{name} {line}")));
            assert!(accepted, "{name} {line}: {text}");
        }
        // The original takes the first word for the file.
        let (accepted, text) = accepts(&in_location(&format!("{name} application-group=a /x")));
        assert_eq!(accepted, !Target::current().is_reference(), "{name}: {text}");
        let at_top = accepts(&format!("{name} /x"));
        assert_eq!(at_top.0, name == "WSGIDispatchScript", "{}", at_top.1);
    }
    for (line, accepted) in [
        ("WSGIGroupAuthoritative On", true),
        ("WSGIGroupAuthoritative off", true),
        ("WSGIGroupAuthoritative", false),
        ("WSGIGroupAuthoritative yes", false),
        ("Require wsgi-group staff \"two words\"", true),
        ("AuthBasicProvider wsgi", true),
        ("WSGIUserAuthoritative On", false),
    ] {
        assert_eq!(accepts(&in_location(line)).0, accepted, "{line}");
    }
    assert!(!accepts("WSGIGroupAuthoritative On").0);
}
