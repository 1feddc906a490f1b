//! The environ that the scripts get, and `mod_ssl.*`.

use std::process::Output;

use e2e::Needs::OneProcess;
use e2e::{LogMark, Server, Setup, Test, curl, on_one_mpm};

use super::{BASIC, IN_CHILDREN, section, with_scripts};

pub(crate) const TESTS: &[Test] = &[
    on_one_mpm!(a_script_is_told_about_the_request, IN_CHILDREN),
    on_one_mpm!(a_script_asks_about_tls, IN_CHILDREN, OneProcess),
];

const SCRIPT: &str = "WSGIAccessScript @ROOT@/apps/access.wsgi";

/// Everything that a plain request without extras has.
const NAMES: &str = "CONTENT_LENGTH,CONTENT_TYPE,DOCUMENT_ROOT,HTTP_CONNECTION,HTTP_HOST,HTTP_X_ONE,PATH_INFO,QUERY_STRING,REMOTE_ADDR,REMOTE_PORT,REQUEST_METHOD,\
    REQUEST_URI,SCRIPT_NAME,SERVER_ADDR,SERVER_ADMIN,SERVER_NAME,SERVER_PORT,SERVER_PROTOCOL,SERVER_SIGNATURE,\
    SERVER_SOFTWARE,apache.version,mod_ssl.is_https,mod_ssl.var_lookup,mod_wsgi.application_group,\
    mod_wsgi.process_group,mod_wsgi.version,wsgi.errors";

/// Waits for what the script shows of a key; the log doubles backslashes.
fn expect_shown(server: &Server, mark: LogMark, name: &str, value: &str) {
    server.wait_log(mark, &format!("shown {name} {value}"));
}

fn a_script_is_told_about_the_request(setup: Setup) {
    with_scripts(setup)
        .file("htdocs/deep/page", "the page")
        .conf("SetEnv SET_BY_ENV 1\nSetEnvIf Host . SET_BY_ENVIF=1\n")
        .conf(&section("/closed", SCRIPT))
        .conf(&section("/lookups", &format!("{SCRIPT}\nHostnameLookups On")))
        .conf(&section("/apache", &format!("{SCRIPT}\nWSGIPassApacheRequest On")))
        .conf(&section("/group", &format!("{SCRIPT} application-group=some")))
        .conf(&section("/basic", &format!("{BASIC}WSGIAuthUserScript @ROOT@/apps/user.wsgi")))
        .conf(&section(
            "/groups",
            &format!("{BASIC}WSGIAuthUserScript @ROOT@/apps/user.wsgi\nWSGIAuthGroupScript @ROOT@/apps/groups.wsgi\nRequire wsgi-group staff").replace("Require valid-user\n", ""),
        ))
        .run(|server, cases| {
            let target = "/closed/deep/page?show";
            let mark = server.mark();
            let request = server
                .request("POST", target)
                .header("X-One", "caf\u{e9}")
                .header("X_Two", "an underscore")
                .header("X.Three", "a dot")
                .header("Authorization", "Basic YTpi")
                .header("Proxy-Authorization", "Basic YTpi")
                .header("Content-Type", "text/x-special")
                .body("12345");
            cases.check("the request", || drop(request.send()));
            let (root, port) = (server.root().display().to_string(), server.port().to_string());
            let text = |text: &str| format!("'{text}'");
            for (name, value) in [
                ("CONTENT_TYPE", text("text/x-special")),
                ("CONTENT_LENGTH", text("5")),
                ("HTTP_HOST", text(&format!("localhost:{port}"))),
                ("HTTP_X_ONE", text("caf\\\\xc3\\\\xa9")),
                ("SERVER_SIGNATURE", text("")),
                ("SERVER_SOFTWARE", "'Apache/".to_owned()),
                ("SERVER_NAME", text("localhost")),
                ("SERVER_ADDR", text("127.0.0.1")),
                ("SERVER_PORT", text(&port)),
                ("REMOTE_ADDR", text("127.0.0.1")),
                ("DOCUMENT_ROOT", text(&format!("{root}/htdocs"))),
                ("SERVER_ADMIN", text("admin@example.com")),
                ("SERVER_PROTOCOL", text("HTTP/1.1")),
                ("REQUEST_METHOD", text("POST")),
                ("QUERY_STRING", text("show")),
                ("REQUEST_URI", text(target)),
                ("SCRIPT_NAME", text("/closed/deep/page")),
                ("PATH_INFO", text("")),
                ("apache.version", "(2, 4, ".to_owned()),
                ("mod_wsgi.version", "(6, 1, 1)".to_owned()),
                ("mod_wsgi.process_group", text("")),
                ("mod_wsgi.application_group", text("")),
                ("wsgi.errors", "<".to_owned()),
                ("mod_ssl.is_https", "<".to_owned()),
                ("mod_ssl.var_lookup", "<".to_owned()),
            ] {
                cases.check(name, || expect_shown(server, mark, name, &value));
            }
            cases.check("nothing else", || drop(server.wait_log(mark, &format!("names {NAMES} end"))));
            for (target, name, value) in [
                ("/lookups/page?show", "REMOTE_HOST", "'localhost'"),
                ("/apache/page?show", "apache.request_rec", "<capsule object"),
                ("/group/page?show", "mod_wsgi.application_group", "'some'"),
                ("/closed/none/below?show", "PATH_INFO", "'/below'"),
                ("/closed/none/below?show", "SCRIPT_NAME", "'/closed/none'"),
            ] {
                cases.check(&format!("{name} of {target}"), || {
                    let mark = server.mark();
                    drop(server.get(target));
                    expect_shown(server, mark, name, value);
                });
            }
            for (target, absent) in [("/basic/page", "AUTH_TYPE"), ("/groups/page", "HTTP_AUTHORIZATION")] {
                cases.check(&format!("the environ at {target}"), || {
                    let mark = server.mark();
                    assert_eq!(server.request("GET", target).user("show", "secret").send().status, 200);
                    expect_shown(server, mark, "REQUEST_METHOD", "'GET'");
                    expect_shown(server, mark, "mod_ssl.is_https", "<");
                    let log = server.log_since(mark);
                    for absent in [absent, "REMOTE_USER", "HTTP_AUTHORIZATION", "SET_BY", "wsgi.input"] {
                        assert!(!log.contains(&format!("shown {absent}")), "{absent}: {log}");
                    }
                });
            }
        });
}

fn fetch(server: &Server, target: &str) -> Output {
    let url = format!("https://127.0.0.1:{}{target}", server.tls_port());
    curl(["--insecure", &url])
}

/// With HTTP/2, where each request has a connection of its own, below that of TLS.
pub(super) fn with_http_2(setup: Setup) -> Setup {
    if !setup.mpm().threaded() {
        return setup;
    }
    setup.modules(&["http2"]).conf("Protocols h2 http/1.1")
}

/// Fetches what [`ACCESS`](super::ACCESS) guards, and checks what it says about TLS.
pub(super) fn check_http_2(server: &Server, target: &str) {
    if !server.mpm().threaded() {
        return;
    }
    let url = format!("https://127.0.0.1:{}{target}", server.tls_port());
    let mark = server.mark();
    let output = curl(["--insecure", "--http2", "--write-out", " over %{http_version}", &url]);
    assert_eq!(String::from_utf8_lossy(&output.stdout), "the page over 2");
    server.wait_log(mark, "is_https 1");
    server.wait_log(mark, "lookup 'SSL_PROTOCOL' 'TLSv1.");
}

fn a_script_asks_about_tls(setup: Setup) {
    with_http_2(with_scripts(setup).tls()).conf(&section("/closed", SCRIPT)).run(|server, cases| {
        cases.check("over HTTP/2", || check_http_2(server, "/closed/page?ssl"));
        let mark = server.mark();
        cases.check("over TLS", || assert_eq!(fetch(server, "/closed/page?ssl").stdout, b"the page"));
        for line in [
            "is_https 1",
            "lookup 'SSL_PROTOCOL' 'TLSv1.",
            "lookup b'HTTPS' 'on'",
            "lookup 'SSL_NOTHING' ",
            "lookup 'SERVER_NAME' '",
            "lookup of 1 (1,) TypeError",
            "lookup of 1 (None,) TypeError",
            "lookup of 0 () TypeError",
            "lookup of 2 ('A',) TypeError",
            "lookup of 1 ('\\\\u20ac',) ",
            "is_https of 1 TypeError",
        ] {
            cases.check(line, || drop(server.wait_log(mark, line)));
        }
        cases.check("without TLS", || {
            let mark = server.mark();
            assert_eq!(server.get("/closed/page?ssl").status, 200);
            server.wait_log(mark, "is_https 0");
            server.wait_log(mark, "lookup b'HTTPS' 'off'");
        });
        cases.check("when the request is over", || {
            let mark = server.mark();
            assert_eq!(fetch(server, "/closed/page?keep").stdout, b"the page");
            assert_eq!(fetch(server, "/closed/page?kept").stdout, b"the page");
            server.wait_log(mark, "kept mod_ssl.is_https RuntimeError");
            server.wait_log(mark, "kept mod_ssl.var_lookup RuntimeError");
        });
    });
}
