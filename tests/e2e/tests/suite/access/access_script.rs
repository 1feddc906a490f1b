//! `WSGIAccessScript`: who may have a page at all.

use e2e::{Response, Server, Setup, Test, on_each_mpm, on_one_mpm};

use super::{IN_CHILDREN, check_logged, section, with_scripts};

pub(crate) const TESTS: &[Test] = &[
    on_one_mpm!(an_access_script_decides, IN_CHILDREN),
    on_each_mpm!(applications_and_files_are_guarded),
    on_one_mpm!(every_request_within_a_request_is_asked_about, IN_CHILDREN),
];

const SCRIPT: &str = "WSGIAccessScript @ROOT@/apps/access.wsgi";

fn an_access_script_decides(setup: Setup) {
    let broken =
        |name: &str| section(&format!("/{name}"), &format!("WSGIAccessScript @ROOT@/apps/{name}.wsgi"));
    with_scripts(setup)
        .file("apps/missing-function.wsgi", "check_password = None\n")
        .file("apps/not-callable.wsgi", "allow_access = 7\n")
        .file("apps/syntax.wsgi", "def allow_access(:\n")
        .file("apps/exits-at-import.wsgi", "import sys\nsys.exit(4)\n")
        .file("apps/arguments.wsgi", "def allow_access(environ):\n    return True\n")
        .conf(&section("/closed", SCRIPT))
        .conf(&section("/denied", &format!("{SCRIPT}\nRequire all denied")))
        .conf(
            &["missing-function", "not-callable", "syntax", "exits-at-import", "arguments", "missing-file"]
                .map(broken)
                .concat(),
        )
        .conf(&section("/lookups", &format!("{SCRIPT}\nHostnameLookups On")))
        .run(|server, cases| {
            for (query, status, logged) in [
                ("true", 200, "allow_access true for str '127.0.0.1'"),
                ("none", 200, "allow_access none"),
                ("false", 403, "WSGI0057"),
                ("one", 403, "WSGI0055"),
                ("zero", 403, "WSGI0055"),
                ("text", 403, "WSGI0055"),
                ("bytes", 403, "WSGI0055"),
                ("list", 403, "WSGI0055"),
                ("raises", 403, "RuntimeError: allow_access fails"),
                ("exits", 403, "SystemExit"),
                ("interrupts", 403, "KeyboardInterrupt"),
                ("true", 200, "allow_access true"),
            ] {
                check_logged(cases, server, (query, status, logged), || {
                    server.get(&format!("/closed/page?{query}"))
                });
            }
            for (name, logged) in [
                ("missing-function", "WSGI0056"),
                ("not-callable", "TypeError"),
                ("syntax", "SyntaxError"),
                ("exits-at-import", "SystemExit"),
                ("arguments", "TypeError"),
                ("missing-file", "missing-file.wsgi"),
            ] {
                check_logged(cases, server, (name, 403, logged), || server.get(&format!("/{name}/page")));
            }
            for (name, target, logged) in [
                ("others have their say", "/denied/page?none", "allow_access none"),
                ("True does not overrule them", "/denied/page?true", "allow_access true"),
            ] {
                check_logged(cases, server, (name, 403, logged), || server.get(target));
            }
            let named = ("the name of the client", 200, "for str 'localhost'");
            check_logged(cases, server, named, || server.get("/lookups/page?true"));
            cases.check("other requests are not asked about", || {
                let mark = server.mark();
                assert_eq!(server.get("/page?false").expect(200), "the page");
                assert!(!server.log_since(mark).contains("allow_access"));
            });
        });
}

fn applications_and_files_are_guarded(setup: Setup) {
    let conf = format!("{}<Location /user>\n{SCRIPT}\n</Location>", section("/closed", SCRIPT));
    with_scripts(setup).conf(&conf).run(|server, cases| {
        for target in ["/closed/page", "/user"] {
            cases.check(target, || {
                assert_eq!(server.get(&format!("{target}?true")).status, 200);
                assert_eq!(server.get(&format!("{target}?false")).status, 403);
                assert_eq!(server.get(&format!("{target}?raises")).status, 403);
                assert_eq!(server.request("HEAD", &format!("{target}?true")).send().status, 200);
            });
        }
        cases.check("a body goes to the application", || {
            let post = |query| server.request("POST", &format!("/user?{query}")).body("a body").send();
            assert_eq!(post("true").value("body").as_deref(), Some("b'a body'"));
            assert_eq!(post("false").status, 403);
        });
        cases.check("at the same time", || {
            std::thread::scope(|scope| {
                for (query, status) in [("true", 200), ("false", 403), ("raises", 403), ("none", 200)] {
                    scope.spawn(move || {
                        for _ in 0..10 {
                            assert_eq!(
                                server.get(&format!("/closed/page?{query}")).status,
                                status,
                                "{query}"
                            );
                        }
                    });
                }
            });
        });
    });
}

/// Pages that include others, and index pages, are several requests.
fn every_request_within_a_request_is_asked_about(setup: Setup) {
    let conf = format!(
        "{}{}<Location /closed/including.shtml>\nOptions +Includes\nSetOutputFilter INCLUDES\n</Location>\n",
        section("/closed", SCRIPT),
        section("/opened", &format!("{SCRIPT}\nRequire all granted\nErrorDocument 403 /closed/page?true")),
    );
    with_scripts(setup)
        .modules(&["include", "dir"])
        .file(
            "htdocs/including.shtml",
            "<!--#include virtual=\"page?true\" --> <!--#include virtual=\"page?false\" -->",
        )
        .file("htdocs/index.html", "the index")
        .conf(&conf)
        .run(|server, cases| {
            let included = || -> Response { server.get("/closed/including.shtml?true") };
            cases.check("an included page", || {
                let mark = server.mark();
                let text = included().expect(200);
                assert!(text.starts_with("the page [an error occurred"), "{text}");
                server.wait_log(mark, "allow_access false");
            });
            cases.check("an index page", || {
                assert_eq!(server.get("/closed/?true").expect(200), "the index");
                assert_eq!(server.get("/closed/?false").status, 403);
            });
            cases.check("the page of an error", || {
                let mark = server.mark();
                assert_eq!(server.get("/opened/page?false").expect(403), "the page");
                assert_eq!(asked(server, mark), 2);
            });
        });
}

fn asked(server: &Server, mark: e2e::LogMark) -> usize {
    server.log_since(mark).matches("allow_access ").count()
}
