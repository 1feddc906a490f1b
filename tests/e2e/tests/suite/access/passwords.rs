//! `WSGIAuthUserScript` with Basic authentication: `check_password`.

use e2e::{Server, Setup, Test, on_each_mpm, on_one_mpm};

use super::{BASIC, IN_CHILDREN, check_logged, section, with_scripts};

pub(crate) const TESTS: &[Test] = &[
    on_one_mpm!(check_password_decides, IN_CHILDREN),
    on_one_mpm!(a_script_that_cannot_answer_fails_the_request, IN_CHILDREN),
    on_each_mpm!(an_application_sees_its_user),
];

fn user_section(url: &str, script: &str) -> String {
    format!("<Location {url}>\n{BASIC}WSGIAuthUserScript @ROOT@/apps/{script}\n</Location>\n")
}

fn check_password_decides(setup: Setup) {
    with_scripts(setup).conf(&user_section("/user", "user.wsgi")).run(|server, cases| {
        cases.check("without credentials", || {
            let response = server.get("/user");
            assert_eq!(response.status, 401);
            assert_eq!(response.header("WWW-Authenticate"), Some("Basic realm=\"closed\""));
        });
        for (user, status, logged) in [
            ("true", 200, "check_password 'true' 'x' str"),
            ("none", 401, "not found"),
            ("false", 401, "Password Mismatch"),
            ("renamed", 200, "check_password"),
            ("text", 200, "check_password"),
            ("empty", 500, "WSGI0176"),
            ("one", 500, "WSGI0177"),
            ("zero", 500, "WSGI0177"),
            ("bytes", 500, "WSGI0177"),
            ("list", 500, "WSGI0177"),
            ("surrogate", 500, "UnicodeEncodeError"),
            ("raises", 500, "RuntimeError: check_password fails"),
            ("exits", 500, "SystemExit"),
            ("true", 200, "check_password"),
        ] {
            let get = || server.request("GET", "/user").user(user, "x").send();
            check_logged(cases, server, (user, status, logged), get);
        }
        for (user, shown) in [
            ("true", "'true'"),
            ("renamed", "'somebody else'"),
            ("text", "'a text'"),
            // UTF-8, read as Latin-1.
            ("beyond-latin-1", "'J\u{c3}\u{b6}rg \u{e2}\\x82\u{ac}'"),
        ] {
            cases.check(&format!("{user} is called"), || assert_eq!(shown_user(server, user), shown));
        }
        // The copy returns True, and must neither answer nor stay.
        let reason = "a copy that a script has forked answers the request";
        cases.ours_only("forks", reason, || {
            assert_eq!(server.request("GET", "/user").user("forks", "wrong").send().status, 401);
            assert_eq!(server.request("GET", "/user").user("forks", "secret").send().status, 200);
        });
        cases.check("any bytes", || {
            let mark = server.mark();
            let request = server.request("GET", "/user").user(b"J\xf6rg\xff\x01", "p\u{e4}:ss");
            assert_eq!(request.send().status, 401);
            server.wait_log(mark, "check_password 'J\\\\xf6rg\\\\xff\\\\x01' 'p\\\\xc3\\\\xa4:ss' str");
        });
    });
}

fn shown_user(server: &Server, user: &str) -> String {
    server.request("GET", "/user").user(user, "secret").send().value("REMOTE_USER").unwrap_or_default()
}

fn a_script_that_cannot_answer_fails_the_request(setup: Setup) {
    let broken = |name: &str| {
        section(&format!("/{name}"), &format!("{BASIC}WSGIAuthUserScript @ROOT@/apps/{name}.wsgi"))
    };
    with_scripts(setup)
        .file("apps/missing-function.wsgi", "allow_access = None\n")
        .file("apps/not-callable.wsgi", "check_password = 7\n")
        .file("apps/syntax.wsgi", "def check_password(:\n")
        .file("apps/raises-at-import.wsgi", "raise ValueError('at import')\n")
        .file("apps/exits-at-import.wsgi", "import sys\nsys.exit(4)\n")
        .file("apps/arguments.wsgi", "def check_password(environ, user):\n    return True\n")
        .conf(&section("/no-script", BASIC))
        .conf(
            &[
                "missing-function",
                "not-callable",
                "syntax",
                "raises-at-import",
                "exits-at-import",
                "arguments",
                "missing-file",
            ]
            .map(broken)
            .concat(),
        )
        .run(|server, cases| {
            for (name, logged) in [
                ("no-script", "WSGI0041"),
                ("missing-function", "WSGI0043"),
                ("not-callable", "TypeError"),
                ("syntax", "SyntaxError"),
                ("raises-at-import", "ValueError: at import"),
                ("exits-at-import", "SystemExit"),
                ("arguments", "TypeError"),
                ("missing-file", "missing-file.wsgi"),
            ] {
                let get = || server.request("GET", &format!("/{name}/page")).user("true", "x").send();
                check_logged(cases, server, (name, 500, logged), get);
            }
        });
}

fn an_application_sees_its_user(setup: Setup) {
    let conf = user_section("/user", "user.wsgi")
        + "WSGIScriptAlias /passed @ROOT@/apps/user.wsgi\n<Location /passed>\nWSGIPassAuthorization On\n</Location>\n"
        + &user_section("/passed", "user.wsgi");
    with_scripts(setup).conf(&conf).run(|server, cases| {
        cases.check("without the header", || {
            let response = server.request("GET", "/user").user("somebody", "secret").send();
            assert_eq!(response.value("REMOTE_USER").as_deref(), Some("'somebody'"));
            assert_eq!(response.value("AUTH_TYPE").as_deref(), Some("'Basic'"));
            assert_eq!(response.value("HTTP_AUTHORIZATION").as_deref(), Some("None"));
        });
        cases.check("with the header", || {
            let response = server.request("GET", "/passed").user("somebody", "secret").send();
            assert_eq!(response.value("HTTP_AUTHORIZATION").as_deref(), Some("'Basic c29tZWJvZHk6c2VjcmV0'"));
        });
        cases.check("a body", || {
            let post =
                |password| server.request("POST", "/user").user("somebody", password).body("a body").send();
            assert_eq!(post("secret").value("body").as_deref(), Some("b'a body'"));
            assert_eq!(post("guessed").status, 401);
        });
        cases.check("several users at the same time", || {
            std::thread::scope(|scope| {
                for name in ["ann", "bob", "eve", "joe"] {
                    scope.spawn(move || {
                        for _ in 0..10 {
                            assert_eq!(shown_user(server, name), format!("'{name}'"));
                        }
                    });
                }
            });
        });
    });
}
