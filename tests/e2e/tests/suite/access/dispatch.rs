//! `WSGIDispatchScript`: process group, application group and callable chosen by a script.

use e2e::Needs::OneProcess;
use e2e::{Cases, LogMark, Response, Server, Setup, Test, on_one_mpm};

use super::{IN_CHILDREN, expect_logged};
use crate::ECHO;

pub(crate) const TESTS: &[Test] = &[
    on_one_mpm!(a_script_chooses_groups_and_callable, IN_CHILDREN),
    on_one_mpm!(a_choice_that_fails_fails_the_request, IN_CHILDREN),
    on_one_mpm!(a_script_that_cannot_be_loaded_chooses_nothing, IN_CHILDREN),
    on_one_mpm!(a_dispatch_script_is_told_about_the_request, IN_CHILDREN),
    on_one_mpm!(a_changed_dispatch_script_is_loaded_again, IN_CHILDREN, OneProcess),
];

/// Evaluates an expression of the query string for each function.
const DISPATCH: &str = include_str!("../../../apps/access/dispatch.wsgi");

/// The functions, with names for the query string.
const FUNCTIONS: [&str; 3] = ["process_group", "application_group", "callable_object"];

fn with_dispatch(setup: Setup) -> Setup {
    setup
        .own_groups()
        .file("apps/dispatch.wsgi", DISPATCH)
        .app("/app", "echo.wsgi", ECHO)
        .conf("WSGISocketPrefix run/wsgi\nWSGIDaemonProcess one threads=2\nWSGIDaemonProcess two threads=2")
        .conf("WSGIDispatchScript @ROOT@/apps/dispatch.wsgi\nWSGIApplicationGroup configured")
}

/// A query that gives each function's result.
fn query(choices: &[(&str, &str)]) -> String {
    let encode = |text: &str| -> String {
        text.bytes()
            .map(|byte| {
                if byte.is_ascii_alphanumeric() {
                    char::from(byte).to_string()
                } else {
                    format!("%{byte:02X}")
                }
            })
            .collect()
    };
    choices.iter().map(|(name, expression)| format!("&{name}={}", encode(expression))).collect()
}

fn choose(server: &Server, url: &str, choices: &[(&str, &str)]) -> Response {
    let target = format!("{url}?{}", query(choices));
    let request = server.request("GET", &target).header("X-Group", "two").header("X-Percent", "%{GLOBAL}");
    request.header("X-Itself", "%{ENV:HTTP_X_GROUP}").send()
}

/// Process group, application group and callable, as the application sees them.
fn shown(response: &Response) -> [String; 3] {
    let value = |name: &str| {
        response.value(&format!("mod_wsgi.{name}")).unwrap_or_default().trim_matches('\'').to_owned()
    };
    FUNCTIONS.map(value)
}

fn a_script_chooses_groups_and_callable(setup: Setup) {
    with_dispatch(setup)
        .conf(
            "WSGIScriptAlias /options @ROOT@/apps/echo.wsgi process-group=one application-group=optional callable-object=other\n\
             WSGIScriptAlias /plain @ROOT@/apps/echo.wsgi\n<Location /plain>\nWSGIDispatchScript @ROOT@/apps/plain.wsgi\n</Location>\n\
             WSGIScriptAlias /inner @ROOT@/apps/echo.wsgi\n<Location /inner>\n\
             WSGIDispatchScript @ROOT@/apps/dispatch.wsgi application-group=inner\n</Location>\n\
             WSGIScriptAlias /restricted @ROOT@/apps/echo.wsgi\n<Location /restricted>\nWSGIRestrictProcess one\n</Location>\n\
             <Location /named>\nWSGIHandlerScript named @ROOT@/apps/named.wsgi\nSetHandler named\n</Location>\n\
             <VirtualHost *:@PORT@>\nServerName default.example\n</VirtualHost>\n\
             <VirtualHost *:@PORT@>\nServerName own.example\nWSGIDispatchScript @ROOT@/apps/own.wsgi\n</VirtualHost>",
        )
        .file("apps/plain.wsgi", "unrelated = 1\n")
        .file("apps/own.wsgi", "def application_group(environ):\n    return 'own'\n")
        .file("apps/named.wsgi", ECHO)
        .run(|server, cases| {
            let port = server.port();
            let callable = "application";
            for (choices, expected) in [
                (&[][..], ["", "configured", callable]),
                (&[("process_group", "'one'")], ["one", "configured", callable]),
                (&[("process_group", "b'two'")], ["two", "configured", callable]),
                (&[("process_group", "'%{GLOBAL}'")], ["", "configured", callable]),
                (&[("process_group", "''")], ["", "configured", callable]),
                (&[("process_group", "'%{ENV:HTTP_X_GROUP}'")], ["two", "configured", callable]),
                (&[("process_group", "'%{ENV:HTTP_X_PERCENT}'")], ["", "configured", callable]),
                (&[("application_group", "'chosen'")], ["", "chosen", callable]),
                (&[("application_group", "b'chosen'")], ["", "chosen", callable]),
                (&[("application_group", "'%{GLOBAL}'")], ["", "", callable]),
                (&[("application_group", "''")], ["", "", callable]),
                (&[("application_group", "'%{SERVER}'")], ["", "default.example:@PORT@", callable]),
                (&[("application_group", "'%{RESOURCE}'")], ["", "default.example:@PORT@|/app", callable]),
                (&[("application_group", "'%{ENV:HTTP_X_ITSELF}'")], ["", "%{ENV:HTTP_X_GROUP}", callable]),
                (
                    &[("process_group", "'one'"), ("application_group", "'chosen'")],
                    ["one", "chosen", callable],
                ),
                (&[("application_group", "'J\\xf6rg'")], ["", "J\u{f6}rg", callable]),
            ] {
                cases.check(&format!("{choices:?}"), || {
                    let expected = expected.map(|text| text.replace("@PORT@", &port.to_string()));
                    assert_eq!(shown(&choose(server, "/app", choices)), expected);
                });
            }
            check_callables(server, cases);
            cases.check("options of the alias come after it", || {
                let response = choose(server, "/options", &[]);
                assert_eq!(response.expect(200), "other");
                let response = choose(server, "/options", &[("callable_object", "'application'")]);
                assert_eq!(shown(&response), ["one", "optional", "application"]);
                let all = [("process_group", "'two'"), ("application_group", "'chosen'"), ("callable_object", "'application'")];
                assert_eq!(shown(&choose(server, "/options", &all)), ["two", "chosen", "application"]);
            });
            cases.check("a script without functions", || {
                assert_eq!(shown(&choose(server, "/plain", &[("process_group", "'one'")])), ["", "configured", callable]);
            });
            cases.check("the script of a handler", || {
                assert_eq!(choose(server, "/named", &[]).status, 404, "there is no handle_request");
                assert_eq!(shown(&choose(server, "/named", &[("callable_object", "'application'")]))[2], callable);
            });
            cases.check("the script of a virtual host", || {
                let response = server.request("GET", "/app").host("own.example").send();
                assert_eq!(shown(&response), ["", "own", callable]);
            });
            cases.check("restrictions hold", || {
                assert_eq!(shown(&choose(server, "/restricted", &[("process_group", "'one'")]))[0], "one");
                assert_eq!(choose(server, "/restricted", &[("process_group", "'two'")]).status, 500);
                assert_eq!(choose(server, "/app", &[("process_group", "'none'")]).status, 500);
            });
        });
}

fn check_callables(server: &Server, cases: &mut Cases<'_>) {
    let embedded = |choice: &str| choose(server, "/app", &[("callable_object", choice)]);
    cases.check("a callable", || {
        assert_eq!(embedded("'other'").expect(200), "other");
        assert_eq!(embedded("b'other'").expect(200), "other");
        assert_eq!(embedded("'%{ENV:HTTP_X_NONE}'").status, 200);
        assert_eq!(embedded("'%{GLOBAL}'").status, 200);
        assert_eq!(embedded("'missing'").status, 404);
    });
    cases.check("a callable in a daemon process", || {
        let choose =
            |callable| choose(server, "/app", &[("process_group", "'one'"), ("callable_object", callable)]);
        assert_eq!(choose("'other'").expect(200), "other");
        assert_eq!(choose("'missing'").status, 500);
    });
}

fn a_choice_that_fails_fails_the_request(setup: Setup) {
    with_dispatch(setup)
        .file(
            "apps/not-callable.wsgi",
            "def process_group(environ):\n    return None\n\n\napplication_group = 7\n",
        )
        .conf(
            "WSGIScriptAlias /not-callable @ROOT@/apps/echo.wsgi\n<Location /not-callable>\n\
             WSGIDispatchScript @ROOT@/apps/not-callable.wsgi\n</Location>",
        )
        .run(|server, cases| {
            for function in FUNCTIONS {
                for (expression, logged) in [
                    ("1", "TypeError"),
                    ("True", "TypeError"),
                    ("['one']", "TypeError"),
                    ("'\\u20ac'", ""),
                    ("1/0", "ZeroDivisionError"),
                    ("sys.exit(3)", "SystemExit"),
                ] {
                    cases.check(&format!("{function} {expression}"), || {
                        let mark = server.mark();
                        expect_logged(server, 500, logged, || {
                            choose(server, "/app", &[(function, expression)])
                        });
                        assert_eq!(called(server, mark).last().map(String::as_str), Some(function));
                    });
                }
            }
            cases.check("what is no function", || {
                expect_logged(server, 500, "TypeError", || choose(server, "/not-callable", &[]));
            });
            cases.check("in order", || {
                let mark = server.mark();
                assert_eq!(choose(server, "/app", &[]).status, 200);
                assert_eq!(called(server, mark), FUNCTIONS);
            });
        });
}

/// The functions that were called, in their order.
fn called(server: &Server, mark: LogMark) -> Vec<String> {
    let log = server.log_since(mark);
    let name = |line: &str| {
        line.split(" called ").next().and_then(|text| text.split(' ').next_back()).map(str::to_owned)
    };
    log.lines().filter(|line| line.contains(" called ")).filter_map(name).collect()
}

fn a_script_that_cannot_be_loaded_chooses_nothing(setup: Setup) {
    let location = |name: &str| {
        format!(
            "WSGIScriptAlias /{name} @ROOT@/apps/echo.wsgi\n<Location /{name}>\n\
             WSGIDispatchScript @ROOT@/apps/{name}.wsgi\n</Location>\n"
        )
    };
    with_dispatch(setup)
        .file("apps/syntax.wsgi", "def process_group(:\n")
        .file("apps/raises.wsgi", "raise ValueError('at import')\n")
        .file("apps/exits.wsgi", "import sys\nsys.exit(4)\n")
        .conf(&["syntax", "raises", "exits", "missing"].map(location).concat())
        .run(|server, cases| {
            for (name, logged) in [
                ("syntax", "SyntaxError"),
                ("raises", "ValueError: at import"),
                ("exits", "SystemExit"),
                ("missing", "missing.wsgi"),
            ] {
                cases.check(name, || {
                    let mark = server.mark();
                    let response = choose(server, &format!("/{name}"), &[]);
                    assert_eq!(shown(&response), ["", "configured", "application"]);
                    server.wait_log(mark, logged);
                });
            }
        });
}

fn a_dispatch_script_is_told_about_the_request(setup: Setup) {
    with_dispatch(setup)
        .conf(
            "SetEnv SET_BY_ENV 1\nWSGIScriptAlias /apache @ROOT@/apps/echo.wsgi\n\
             <Location /apache>\nWSGIPassApacheRequest On\n</Location>\n\
             WSGIScriptAlias /group @ROOT@/apps/echo.wsgi\n<Location /group>\n\
             WSGIDispatchScript @ROOT@/apps/dispatch.wsgi application-group=%{SERVER}\n</Location>",
        )
        .run(|server, cases| {
            let mark = server.mark();
            cases.check("the request", || {
                let target = format!("/app/below?{}", query(&[("show", "1")]));
                assert_eq!(server.request("POST", &target).body("12345").send().status, 200);
            });
            for (name, value) in [
                ("REQUEST_METHOD", "'POST'"),
                ("SCRIPT_NAME", "'/app'"),
                ("PATH_INFO", "'/below'"),
                ("CONTENT_LENGTH", "'5'"),
                ("SET_BY_ENV", "'1'"),
                ("SCRIPT_FILENAME", "'/"),
                ("mod_wsgi.process_group", "''"),
                ("mod_wsgi.application_group", "''"),
                ("mod_wsgi.request_handler", "'wsgi-script'"),
                ("wsgi.errors", "<"),
            ] {
                cases.check(name, || drop(server.wait_log(mark, &format!("shown {name} {value}"))));
            }
            cases.check("nothing of WSGI", || {
                let log = server.wait_log(mark, "names ");
                let names = log
                    .lines()
                    .find_map(|line| line.split_once("names "))
                    .map(|(_, names)| names)
                    .unwrap_or_default();
                for absent in [
                    "wsgi.input",
                    "wsgi.version",
                    "wsgi.multithread",
                    "mod_wsgi.callable_object",
                    "apache.request_rec",
                    "HTTP_AUTHORIZATION",
                ] {
                    assert!(!names.contains(absent), "{absent} in {names}");
                }
            });
            cases.check("one environ for all functions", || {
                let mark = server.mark();
                assert_eq!(choose(server, "/app", &[]).status, 200);
                let log = server.log_since(mark);
                let ids: Vec<_> =
                    log.lines().filter_map(|line| line.split_once(" called ")).map(|(_, id)| id).collect();
                assert!(ids.len() == 3 && ids.iter().all(|id| id == &ids[0]), "{ids:?}");
            });
            for (target, name, value) in [
                ("/apache", "apache.request_rec", "<capsule"),
                ("/group", "mod_wsgi.application_group", "'localhost:"),
            ] {
                cases.check(target, || {
                    let mark = server.mark();
                    assert_eq!(choose(server, target, &[("show", "1")]).status, 200);
                    server.wait_log(mark, &format!("shown {name} {value}"));
                });
            }
        });
}

fn a_changed_dispatch_script_is_loaded_again(setup: Setup) {
    let version = |group: &str| format!("def application_group(environ):\n    return '{group}'\n");
    with_dispatch(setup)
        .file("apps/dispatch.wsgi", version("first"))
        .conf("WSGIScriptAlias /still @ROOT@/apps/echo.wsgi\n<Location /still>\nWSGIScriptReloading Off\n</Location>")
        .run(|server, cases| {
            let group = |url: &str| shown(&server.get(url))[1].clone();
            cases.check("the first version", || assert_eq!(group("/app"), "first"));
            cases.check("without reloading", || {
                server.write("apps/dispatch.wsgi", version("second"));
                assert_eq!(group("/still"), "first");
            });
            cases.check("the next version", || {
                assert_eq!(group("/app"), "second");
                assert_eq!(group("/still"), "second");
            });
            cases.check("a version that cannot be loaded chooses nothing", || {
                server.write("apps/dispatch.wsgi", "def application_group(:\n");
                assert_eq!(group("/app"), "configured");
            });
        });
}
