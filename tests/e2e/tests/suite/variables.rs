//! The CGI variables of a request in Apache's environment of it, as other modules see them.
//!
//! The readers in a configuration decide whether they are put there, so each kind of reader has
//! a server of its own.

use std::fs;
use std::os::unix::fs::PermissionsExt as _;
use std::path::Path;

use e2e::Needs::Threads;
use e2e::{Mode, Response, Server, Setup, Test, curl, on_one_mpm, wait_until};

pub(crate) const TESTS: &[Test] = &[
    on_one_mpm!(log_formats_see_cgi_variables),
    on_one_mpm!(conditions_of_logs_see_cgi_variables),
    on_one_mpm!(headers_see_cgi_variables),
    on_one_mpm!(headers_in_htaccess_see_cgi_variables),
    on_one_mpm!(filters_see_cgi_variables),
    on_one_mpm!(programs_that_filter_see_cgi_variables),
    on_one_mpm!(modules_that_are_not_known_see_cgi_variables),
    on_one_mpm!(scripts_in_apache_see_cgi_variables),
    on_one_mpm!(redirects_and_error_documents_see_cgi_variables),
    on_one_mpm!(error_documents_of_other_handlers_see_cgi_variables, Threads),
];

const APPLICATION: &str = include_str!("../../apps/variables.wsgi");

fn with_application(setup: Setup) -> Setup {
    setup.app("/app", "variables.wsgi", APPLICATION).file("htdocs/page.html", "static\n")
}

fn group(server: &Server) -> &'static str {
    server.mode().pick("", "e2e")
}

/// Returns the lines of a log once there are `count`.
fn logged(server: &Server, log: &str, count: usize) -> Vec<String> {
    wait_until("lines in the log", || {
        let text = fs::read_to_string(server.path(log)).unwrap_or_default();
        (text.lines().count() >= count).then(|| text.lines().map(str::to_owned).collect())
    })
}

fn log_formats_see_cgi_variables(setup: Setup) {
    const FORMAT: &str = "%{SCRIPT_NAME}e|%{PATH_INFO}e|%{QUERY_STRING}e|%{HTTP_X_ASKED}e|%{REMOTE_ADDR}e|%{REQUEST_METHOD}e|\
                          %{mod_wsgi.process_group}e|%{mod_wsgi.application_group}e|%{mod_wsgi.script_name}e|\
                          %{mod_wsgi.callable_object}e|%{mod_wsgi.x-enable_sendfile}e%{PATH}e%{HTTP_AUTHORIZATION}e|\
                          %{HTTPS}e|%{FROM_CONFIGURATION}e|%{HTTP_X_NONE}e";
    with_application(setup)
        .conf(&format!(
            "LogFormat \"%U {FORMAT}\" variables\nCustomLog @ROOT@/logs/variables.log variables\n\
             WSGIApplicationGroup named\n\
             SetEnv SCRIPT_NAME overwritten\nSetEnv FROM_CONFIGURATION kept\n\
             <Location /app/proxied>\nWSGITrustedProxyHeaders X-Script-Name X-Forwarded-For X-Forwarded-Proto\n\
             SetEnv HTTPS on\n</Location>\n\
             <Location /app/encrypted>\nWSGITrustedProxyHeaders X-Forwarded-Proto\n</Location>"
        ))
        .run(|server, cases| {
            let asked = |target: &str| {
                server
                    .request("GET", target)
                    .header("X-Asked", "yes")
                    .header("X_None", "spoofed")
                    .header("Authorization", "Basic eDp5")
            };
            assert_eq!(asked("/app/a//b?q=%41").send().status, 200);
            let proxied = asked("/app/proxied").header("X-Script-Name", "/outer");
            let proxied = proxied.header("X-Forwarded-For", "192.0.2.9").header("X-Forwarded-Proto", "http");
            assert_eq!(proxied.send().status, 200);
            assert_eq!(asked("/app/encrypted").header("X-Forwarded-Proto", "https").send().status, 200);
            assert_eq!(server.get("/page.html").status, 200);
            let lines = logged(server, "logs/variables.log", 4);
            let ours = |line: &str| line.replace("GROUP", group(server));
            let find = |path: &str| {
                let found = lines.iter().find_map(|line| line.strip_prefix(path)?.strip_prefix(' '));
                let Some(found) = found else { panic!("{path} is not in {lines:?}") };
                // The original shows a variable of its own there.
                if server.target().is_reference() { found.replace("|0--|", "|---|") } else { found.to_owned() }
            };
            cases.check("variables", || {
                let expected =
                    "/app|/a/b|q=%41|yes|127.0.0.1|GET|GROUP|named|/app|application|---|-|kept|-";
                assert_eq!(find("/app/a/b"), ours(expected));
            });
            cases.check("what a trusted proxy says", || {
                let expected =
                    "/outer|/proxied||yes|192.0.2.9|GET|GROUP|named|/app|application|---|-|kept|-";
                assert_eq!(find("/app/proxied"), ours(expected));
            });
            cases.check("the scheme that a trusted proxy says", || {
                let expected =
                    "/app|/encrypted||yes|127.0.0.1|GET|GROUP|named|/app|application|---|1|kept|-";
                assert_eq!(find("/app/encrypted"), ours(expected));
            });
            cases.check("other handlers", || {
                assert_eq!(find("/page.html"), "overwritten|-|-|-|-|-|-|-|-|-|---|-|kept|-");
            });
        });
}

fn conditions_of_logs_see_cgi_variables(setup: Setup) {
    with_application(setup)
        .conf(
            "CustomLog @ROOT@/logs/with.log \"%U\" env=HTTP_X_ASKED\n\
             CustomLog @ROOT@/logs/without.log \"%U\" env=!HTTP_X_ASKED\n\
             CustomLog @ROOT@/logs/expression.log \"%U\" \"expr=reqenv('PATH_INFO') == '/second'\"",
        )
        .run(|server, cases| {
            assert_eq!(server.request("GET", "/app/first").header("X-Asked", "1").send().status, 200);
            assert_eq!(server.get("/app/second").status, 200);
            cases.check("logs", || {
                assert_eq!(logged(server, "logs/with.log", 1), ["/app/first"]);
                assert_eq!(logged(server, "logs/without.log", 1), ["/app/second"]);
                assert_eq!(logged(server, "logs/expression.log", 1), ["/app/second"]);
            });
        });
}

/// Checks the headers that the configuration makes of variables.
fn check_headers(response: &Response, with_origin: bool) {
    assert_eq!(response.status, 200);
    let origin = response.header("Access-Control-Allow-Origin");
    assert_eq!(origin, with_origin.then_some("https://other.example"));
    assert_eq!(response.header("X-Mounted"), Some("/app"));
}

const HEADERS: &str = "Header set Access-Control-Allow-Origin \"%{HTTP_ORIGIN}e\" env=HTTP_ORIGIN\n\
                       Header always set X-Mounted \"expr=%{reqenv:SCRIPT_NAME}\"\n";

fn headers_see_cgi_variables(setup: Setup) {
    // As deep as lines can be.
    let headers = format!(
        "<Macro Allow $url>\n<Location $url>\n<IfModule headers_module>\n{HEADERS}</IfModule>\n</Location>\n</Macro>\n\
         Use Allow /app\n"
    );
    with_application(setup)
        .modules(&["macro"])
        .file("included.conf", headers)
        .conf("<VirtualHost *:@PORT@>\nInclude @ROOT@/included.conf\n</VirtualHost>")
        .run(|server, cases| {
            cases.check("with the variable", || {
                let request = server.request("GET", "/app/x").header("Origin", "https://other.example");
                check_headers(&request.send(), true);
            });
            cases.check("without it", || check_headers(&server.get("/app/x"), false));
        });
}

fn headers_in_htaccess_see_cgi_variables(setup: Setup) {
    with_application(setup)
        .file("apps/.htaccess", HEADERS)
        .conf("<Directory @ROOT@/apps>\nAllowOverride FileInfo\n</Directory>")
        .run(|server, cases| {
            cases.check("with the variable", || {
                let request = server.request("GET", "/app/x").header("Origin", "https://other.example");
                check_headers(&request.send(), true);
            });
        });
}

fn filters_see_cgi_variables(setup: Setup) {
    with_application(setup)
        .modules(&["include"])
        .conf(
            "<Location /app>\nOptions Includes\nAddOutputFilterByType INCLUDES text/html\n</Location>\n\
             <Location /app/page>\nSetOutputFilter INCLUDES\n</Location>",
        )
        .run(|server, cases| {
            cases.check("a page of mod_include", || {
                let response = server.request("GET", "/app/page").header("X-Asked", "yes").send();
                let expected = "SCRIPT_NAME=/app;HTTP_X_ASKED=yes;mod_wsgi.path_info=/page;HTTPS=(none);";
                assert_eq!(response.expect(200), expected);
            });
        });
}

fn programs_that_filter_see_cgi_variables(setup: Setup) {
    with_application(setup)
        .modules(&["ext_filter"])
        .file("show.sh", "cat >/dev/null\necho \"$HTTP_X_ASKED $mod_wsgi_path_info\"\n")
        .conf(
            "ExtFilterDefine show cmd=\"/bin/sh @ROOT@/show.sh\"\n\
             <Location /app>\nSetOutputFilter show\n</Location>",
        )
        .run(|server, cases| {
            cases.check("a page of mod_ext_filter", || {
                let response = server.request("GET", "/app/page").header("X-Asked", "yes").send();
                assert_eq!(response.expect(200), "yes /page\n");
            });
        });
}

/// By its name, nobody can say what such a module reads, and when: here the head of a response.
fn modules_that_are_not_known_see_cgi_variables(setup: Setup) {
    with_application(setup)
        .modules(&["unique_id", "security2"])
        .conf(
            "SecRuleEngine On\nSecDataDir @ROOT@/run\n\
             SecRule ENV:mod_wsgi.path_info \"@streq /denied\" \"id:1,phase:3,deny,status:403\"",
        )
        .run(|server, cases| {
            cases.check("mod_security2", || {
                assert_eq!(server.get("/app/denied").status, 403);
                assert_eq!(server.get("/app/x").status, 200);
            });
        });
}

fn scripts_in_apache_see_cgi_variables(setup: Setup) {
    const SCRIPT: &str = "function log(r)\n  r:warn('seen: ' .. tostring(r.subprocess_env['SCRIPT_NAME']))\n  \
                          return apache2.DECLINED\nend\n";
    with_application(setup)
        .modules(&["lua"])
        .file("log.lua", SCRIPT)
        .conf("LogLevel lua:warn\nLuaHookLog @ROOT@/log.lua log")
        .run(|server, cases| {
            let mark = server.mark();
            assert_eq!(server.get("/app/x").status, 200);
            cases.check("a hook of mod_lua", || drop(server.wait_log(mark, "seen: /app")));
        });
}

fn redirects_and_error_documents_see_cgi_variables(setup: Setup) {
    let is_embedded = setup.mode() == Mode::Embedded;
    with_application(setup)
        .conf(
            "ErrorDocument 400 /app/document\nErrorDocument 404 /app/document\nErrorDocument 416 /app/document\n\
             ErrorDocument 500 /app/document\nWSGIChunkedRequest On\n\
             <Location /app/refused>\nWSGIRestrictProcess another\n</Location>\n\
             <Location /app/status/404>\nWSGIErrorOverride On\n</Location>",
        )
        .run(|server, cases| {
            let check = |response: &Response, status: u16, path: &str| {
                // The application that answers for the page decides about the status.
                assert_eq!(response.status, 200);
                for (name, value) in [
                    ("REDIRECT_STATUS", &*status.to_string()),
                    ("REDIRECT_SCRIPT_NAME", "/app"),
                    ("REDIRECT_PATH_INFO", path),
                    ("REDIRECT_HTTP_HOST", &format!("localhost:{}", server.port())),
                    ("REDIRECT_mod_wsgi.process_group", group(server)),
                ] {
                    assert_eq!(response.value(name), Some(format!("'{value}'")), "{name}");
                }
            };
            cases.check("an error of the application", || {
                let response = server.get("/app/raise");
                check(&response, 500, "/raise");
                assert_eq!(response.value("PATH_INFO").as_deref(), Some("'/document'"));
                let hidden = response.text().lines().find(|line| line.contains(".x-")).map(str::to_owned);
                assert!(server.target().is_reference() || hidden.is_none(), "{hidden:?}");
            });
            cases.check("a group that is not permitted", || {
                check(&server.get("/app/refused"), 500, "/refused");
            });
            cases.check("a status of the application", || {
                let response = server.get("/app/status/404");
                if is_embedded {
                    assert_eq!(response.expect(404), "of the application");
                } else {
                    check(&response, 404, "/status/404");
                }
            });
            if !is_embedded {
                cases.check("a redirect of the application", || {
                    check(&server.get("/app/location"), 200, "/location");
                });
            }
            cases.check("bad chunks", || {
                let mut connection = server.connect();
                let request = server.request("POST", "/app/read").header("Transfer-Encoding", "chunked");
                connection.send(&request.keep_alive());
                connection.send(b"5\r\nabcdeXX\r\n");
                let response = connection.response("POST").unwrap_or_else(|error| panic!("{error}"));
                check(&response, 400, "/read");
            });
            cases.check("a head that Apache refuses to send", || {
                let response = server.request("POST", "/app/malformed").body(b"x").send();
                check(&response, 500, "/malformed");
                assert_eq!(response.value("REDIRECT_REQUEST_METHOD").as_deref(), Some("'POST'"));
                assert_eq!(response.value("REQUEST_METHOD").as_deref(), Some("'GET'"));
            });
            let reason = "it never serves ranges in daemon mode";
            cases.deviates_in(Mode::Daemon, "a range that cannot be satisfied", reason, || {
                let request = server.request("GET", "/app/file").header("Range", "bytes=99999-");
                check(&request.send(), 416, "/file");
            });
        });
}

/// Documents for errors that are no WSGI applications: a program, a page of mod_include, and one
/// that only `.htaccess` names.
fn error_documents_of_other_handlers_see_cgi_variables(setup: Setup) {
    const PROGRAM: &str = "#!/bin/sh\nprintf 'Content-Type: text/plain\\n\\n'\nenv | grep ^REDIRECT_\n";
    const PAGE: &str = "<!--#echo var=\"REDIRECT_SCRIPT_NAME\" --> <!--#echo var=\"REDIRECT_PATH_INFO\" --> \
                        <!--#echo var=\"REDIRECT_REQUEST_METHOD\" --> <!--#echo var=\"REDIRECT_HTTP_X_ASKED\" -->";
    with_application(setup)
        .modules(&["cgid", "include", "reqtimeout"])
        .tls()
        .file("cgi/program", PROGRAM)
        .file("htdocs/page.shtml", PAGE)
        .file("htdocs/files/.htaccess", "ErrorDocument 500 /page.shtml\nErrorDocument 413 /page.shtml\n")
        .file("htdocs/files/variables.wsgi", APPLICATION)
        .conf(
            "ScriptAlias /cgi/ @ROOT@/cgi/\nScriptSock @ROOT@/run/cgid.sock\n\
             <Location /page.shtml>\nOptions Includes\nSetOutputFilter INCLUDES\n</Location>\n\
             <Directory @ROOT@/htdocs/files>\nAllowOverride FileInfo\nOptions ExecCGI\nSetHandler wsgi-script\n</Directory>\n\
             ErrorDocument 413 /page.shtml\nErrorDocument 500 /cgi/program\nErrorDocument 408 /page.shtml\n\
             WSGIChunkedRequest On\nLimitRequestBody 10\nRequestReadTimeout body=1",
        )
        .run(|server, cases| {
            make_executable(&server.path("cgi/program"));
            let asked = |path: &str| server.request("POST", path).header("X-Asked", "yes");
            let of_program = |response: &Response, status: u16, path: &str| {
                assert_eq!(response.status, status);
                let text = response.text();
                for line in [
                    format!("REDIRECT_STATUS={status}"),
                    "REDIRECT_SCRIPT_NAME=/app".to_owned(),
                    format!("REDIRECT_PATH_INFO={path}"),
                    "REDIRECT_REQUEST_METHOD=POST".to_owned(),
                    "REDIRECT_HTTP_X_ASKED=yes".to_owned(),
                ] {
                    assert!(text.lines().any(|found| found == line), "{line}: {text}");
                }
            };
            cases.check("an error of the application", || {
                of_program(&asked("/app/raise").body(b"x").send(), 500, "/raise");
            });
            cases.check("a head that Apache refuses to send", || {
                of_program(&asked("/app/malformed").body(b"x").send(), 500, "/malformed");
            });
            cases.check("a body that is too large", || {
                // It is refused before the request has variables.
                let response = asked("/app/read").body([b'x'; 11]).send();
                assert_eq!(response.expect(413), "(none) (none) POST (none)");
            });
            let reason = "it adds another page";
            cases.deviates("a body in chunks that is too large", reason, || {
                let mut connection = server.connect();
                let request = asked("/app/read").header("Transfer-Encoding", "chunked");
                connection.send(&request.keep_alive());
                connection.send(b"10\r\n0123456789abcdef\r\n0\r\n\r\n");
                let response = connection.response("POST").unwrap_or_else(|error| panic!("{error}"));
                assert_eq!(response.expect(413), "/app /read POST yes");
            });
            cases.deviates_in(Mode::Embedded, "a body that does not come", "it responds with 500", || {
                let mut connection = server.connect();
                let request = asked("/app/read").header("Content-Length", "5");
                connection.send(&request.keep_alive());
                let response = connection.response("POST").unwrap_or_else(|error| panic!("{error}"));
                assert_eq!(response.expect(408), "/app /read POST yes");
            });
            let of_htaccess = |path: &str| {
                let response = asked(&format!("/files/variables.wsgi/{path}")).body(b"x").send();
                assert_eq!(response.expect(500), format!("/files/variables.wsgi /{path} POST yes"));
            };
            cases.check("a document that .htaccess names", || of_htaccess("raise"));
            let name = "a document that .htaccess names, for a head that Apache refuses to send";
            let reason = "it sends the page twice";
            cases.deviates_in(Mode::Daemon, name, reason, || of_htaccess("malformed"));
            cases.deviates_in(Mode::Daemon, "HTTP/2", reason, || {
                let url = format!("https://127.0.0.1:{}/files/variables.wsgi/malformed", server.tls_port());
                let output = curl(["--insecure", "--http2", "--data", "x", "--header", "X-Asked: yes", &url]);
                let text = String::from_utf8_lossy(&output.stdout).into_owned();
                assert_eq!(text, "/files/variables.wsgi /malformed POST yes");
            });
        });
}

fn make_executable(file: &Path) {
    let executable = fs::Permissions::from_mode(0o755);
    fs::set_permissions(file, executable).unwrap_or_else(|error| panic!("{}: {error}", file.display()));
}
