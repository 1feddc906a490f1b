//! The request as the application sees it.

use std::thread;

use e2e::{Cases, Process, Response, Server, Setup, Test, on_each_mpm, on_one_mpm, sanitized};

use crate::{ECHO, md5};

pub(crate) const TESTS: &[Test] = &[
    on_each_mpm!(the_environ_has_every_key),
    on_one_mpm!(request_headers_become_variables),
    on_one_mpm!(the_configuration_adds_variables),
    on_one_mpm!(paths_are_latin_1),
    on_each_mpm!(head_is_mapped_as_configured),
    on_one_mpm!(locations_have_their_own_flags),
    on_one_mpm!(case_sensitivity_can_be_switched_off),
    on_one_mpm!(redirects_and_authentication_set_variables),
    on_one_mpm!(names_and_values_of_junk_headers_are_not_kept),
];

/// Says which process it runs in.
const PID: &str = "import os\n\n\ndef application(environ, start_response):\n    \
                   start_response('200 OK', [('Content-Type', 'text/plain')])\n    return [str(os.getpid()).encode()]\n";

/// Every key that a plain GET has, and no other.
const KEYS: &[&str] = &[
    "CONTEXT_DOCUMENT_ROOT",
    "CONTEXT_PREFIX",
    "DOCUMENT_ROOT",
    "HTTP_CONNECTION",
    "HTTP_HOST",
    "PATH_INFO",
    "QUERY_STRING",
    "REMOTE_ADDR",
    "REMOTE_PORT",
    "REQUEST_METHOD",
    "REQUEST_SCHEME",
    "REQUEST_URI",
    "SCRIPT_FILENAME",
    "SCRIPT_NAME",
    "SERVER_ADDR",
    "SERVER_ADMIN",
    "SERVER_NAME",
    "SERVER_PORT",
    "SERVER_PROTOCOL",
    "SERVER_SOFTWARE",
    "apache.version",
    "mod_wsgi.application_group",
    "mod_wsgi.application_start",
    "mod_wsgi.callable_object",
    "mod_wsgi.connection_id",
    "mod_wsgi.daemon_start",
    "mod_wsgi.handler_script",
    "mod_wsgi.listener_host",
    "mod_wsgi.listener_port",
    "mod_wsgi.path_info",
    "mod_wsgi.process_group",
    "mod_wsgi.queue_start",
    "mod_wsgi.request_handler",
    "mod_wsgi.request_id",
    "mod_wsgi.request_start",
    "mod_wsgi.script_name",
    "mod_wsgi.server_pid",
    "mod_wsgi.thread_id",
    "mod_wsgi.version",
    "wsgi.errors",
    "wsgi.file_wrapper",
    "wsgi.input",
    "wsgi.input_terminated",
    "wsgi.multiprocess",
    "wsgi.multithread",
    "wsgi.run_once",
    "wsgi.url_scheme",
    "wsgi.version",
];

fn the_environ_has_every_key(setup: Setup) {
    let (threaded, mode) = (setup.mpm().threaded(), setup.mode());
    setup.app("/app", "echo.wsgi", ECHO).run(|server, cases| {
        let mut connection = server.connect();
        connection.send(&server.request("GET", "/app//a/b?x=%41&y").keep_alive());
        let Ok(response) = connection.response("GET") else { panic!("no response") };
        cases.check("the keys", || {
            let text = response.expect(200);
            let mut keys: Vec<_> = text.lines().filter_map(|line| line.split('\t').next()).collect();
            // Apache makes it only sometimes.
            keys.retain(|key| *key != "mod_wsgi.connection_id");
            let mut expected = KEYS.to_vec();
            expected.retain(|key| *key != "mod_wsgi.connection_id");
            assert_eq!(keys, expected);
        });
        let root = server.root().display();
        let port = server.port();
        for (key, value) in [
            ("REQUEST_METHOD", "'GET'".to_owned()),
            ("REQUEST_URI", "'/app//a/b?x=%41&y'".to_owned()),
            ("QUERY_STRING", "'x=%41&y'".to_owned()),
            ("SCRIPT_NAME", "'/app'".to_owned()),
            ("PATH_INFO", "'/a/b'".to_owned()),
            ("SCRIPT_FILENAME", format!("'{root}/apps/echo.wsgi'")),
            ("DOCUMENT_ROOT", format!("'{root}/htdocs'")),
            ("CONTEXT_PREFIX", "''".to_owned()),
            ("CONTEXT_DOCUMENT_ROOT", format!("'{root}/htdocs'")),
            ("SERVER_PROTOCOL", "'HTTP/1.1'".to_owned()),
            ("SERVER_NAME", "'localhost'".to_owned()),
            ("SERVER_ADDR", "'127.0.0.1'".to_owned()),
            ("SERVER_PORT", format!("'{port}'")),
            ("SERVER_ADMIN", "'admin@example.com'".to_owned()),
            ("REMOTE_ADDR", "'127.0.0.1'".to_owned()),
            ("REMOTE_PORT", format!("'{}'", connection.local_port())),
            ("REQUEST_SCHEME", "'http'".to_owned()),
            ("HTTP_HOST", format!("'localhost:{port}'")),
            ("HTTP_CONNECTION", "'keep-alive'".to_owned()),
            ("wsgi.version", "(1, 0)".to_owned()),
            ("wsgi.url_scheme", "'http'".to_owned()),
            ("wsgi.input_terminated", "True".to_owned()),
            ("wsgi.file_wrapper", "<class 'mod_wsgi.FileWrapper'>".to_owned()),
            ("wsgi.multithread", python_bool(mode.pick(threaded, true)).to_owned()),
            ("wsgi.multiprocess", python_bool(mode.pick(!threaded, false)).to_owned()),
            ("wsgi.run_once", "False".to_owned()),
            ("mod_wsgi.version", "(6, 1, 1)".to_owned()),
            ("mod_wsgi.process_group", format!("'{}'", mode.pick("", "e2e"))),
            ("mod_wsgi.application_group", format!("'localhost:{port}|/app'")),
            ("mod_wsgi.callable_object", "'application'".to_owned()),
            ("mod_wsgi.request_handler", "'wsgi-script'".to_owned()),
            ("mod_wsgi.handler_script", "''".to_owned()),
            ("mod_wsgi.script_name", "'/app'".to_owned()),
            ("mod_wsgi.path_info", "'/a/b'".to_owned()),
            ("mod_wsgi.listener_host", "'127.0.0.1'".to_owned()),
            ("mod_wsgi.listener_port", format!("'{port}'")),
        ] {
            cases.check(key, || assert_eq!(response.value(key), Some(value)));
        }
        check_keys_that_vary(server, cases, &response);
    });
}

fn check_keys_that_vary(server: &Server, cases: &mut Cases<'_>, response: &Response) {
    cases.check("SERVER_SOFTWARE", || {
        let banner = response.value("SERVER_SOFTWARE").unwrap_or_default();
        assert!(banner.starts_with("'Apache/2.4") && banner.contains("mod_wsgi"), "{banner}");
    });
    cases.check("apache.version", || {
        let version = response.value("apache.version").unwrap_or_default();
        assert!(version.starts_with("(2, 4, "), "{version}");
    });
    cases.check("mod_wsgi.server_pid", || {
        let children = server.children();
        let pid = response.value("mod_wsgi.server_pid").unwrap_or_default();
        assert!(children.iter().any(|child| pid == format!("'{child}'")), "{pid} {children:?}");
    });
    cases.check("identifiers and times", || {
        let request_id = response.value("mod_wsgi.request_id").unwrap_or_default();
        assert!(request_id.len() > 8 && request_id.starts_with('\''), "{request_id}");
        let thread = response.value("mod_wsgi.thread_id").unwrap_or_default();
        assert!(thread.parse::<u32>().is_ok(), "{thread}");
        let start = number(response, "mod_wsgi.request_start");
        let application = number(response, "mod_wsgi.application_start");
        assert!(start > 1.0e9 && application >= start, "{start} {application}");
        let queue = number(response, "mod_wsgi.queue_start");
        let daemon = number(response, "mod_wsgi.daemon_start");
        let are_right = server
            .mode()
            .pick(queue == 0.0 && daemon == 0.0, start <= queue && queue <= daemon && daemon <= application);
        assert!(are_right, "{start} {queue} {daemon} {application}");
    });
}

const fn python_bool(value: bool) -> &'static str {
    if value { "True" } else { "False" }
}

fn number(response: &Response, key: &str) -> f64 {
    response.value(key).and_then(|value| value.parse().ok()).unwrap_or_default()
}

fn request_headers_become_variables(setup: Setup) {
    setup
        .app("/app", "echo.wsgi", ECHO)
        .conf("<Location /app/cgi>\nCGIPassAuth On\n</Location>\n<Location /app/auth>\nWSGIPassAuthorization On\n</Location>\nWSGIScriptAlias /option @ROOT@/apps/echo.wsgi pass-authorization=On")
        .run(|server, cases| {
            let response = server
                .request("POST", "/app")
                .header("X-Plain", "a  b")
                .header("x-lower-CASE9", "1")
                .header("X-Empty", "")
                .header("X-Latin", b"caf\xe9")
                .header("X-Many", "one")
                .header("X-Many", "two")
                .header("Cookie", "a=1")
                .header("Cookie", "b=2")
                .header("X_Under", "spoof")
                .header("X.Dot", "spoof")
                .header("Proxy", "http://evil")
                .header("Authorization", "Basic Zm9vOmJhcg==")
                .header("Proxy-Authorization", "Basic Zm9vOmJhcg==")
                .header("Content-Type", "text/plain; charset=x")
                .body("12345")
                .send();
            for (key, value) in [
                ("HTTP_X_PLAIN", Some("'a  b'")),
                ("HTTP_X_LOWER_CASE9", Some("'1'")),
                ("HTTP_X_EMPTY", Some("''")),
                ("HTTP_X_LATIN", Some("'caf\u{e9}'")),
                ("HTTP_X_MANY", Some("'one, two'")),
                ("HTTP_COOKIE", Some("'a=1, b=2'")),
                ("CONTENT_TYPE", Some("'text/plain; charset=x'")),
                ("CONTENT_LENGTH", Some("'5'")),
                ("REQUEST_METHOD", Some("'POST'")),
                ("HTTP_CONTENT_TYPE", None),
                ("HTTP_CONTENT_LENGTH", None),
                ("HTTP_X_UNDER", None),
                ("HTTP_X_DOT", None),
                ("HTTP_PROXY", None),
                ("HTTP_AUTHORIZATION", None),
                ("HTTP_PROXY_AUTHORIZATION", None),
            ] {
                cases.check(key, || assert_eq!(response.value(key).as_deref(), value));
            }
            for (target, authorization, proxy_authorization) in [
                ("/app/auth", Some("'Basic Zm9v'"), None),
                ("/option", Some("'Basic Zm9v'"), None),
                ("/app/cgi", Some("'Basic Zm9v'"), Some("'Basic YmFy'")),
            ] {
                cases.check(target, || {
                    let request = server.request("GET", target).header("Authorization", "Basic Zm9v");
                    let response = request.header("Proxy-Authorization", "Basic YmFy").send();
                    assert_eq!(response.value("HTTP_AUTHORIZATION").as_deref(), authorization);
                    assert_eq!(response.value("HTTP_PROXY_AUTHORIZATION").as_deref(), proxy_authorization);
                });
            }
            cases.check("no Authorization header, no variable", || {
                assert_eq!(server.get("/app/auth").value("HTTP_AUTHORIZATION"), None);
            });
        });
}

fn the_configuration_adds_variables(setup: Setup) {
    setup
        .modules(&["rewrite"])
        .app("/app", "echo.wsgi", ECHO)
        .conf(
            "SetEnv PLAIN value\nSetEnv lower Case\nSetEnv PATH /bin\nSetEnv REQUEST_METHOD FAKE\n\
             SetEnv mod_wsgi.x-secret hidden\nSetEnv HTTP_X_MINE mine\nSetEnv LATIN \"caf\u{e9}\"\n\
             SetEnvIf X-Flag (.+) FLAG=$1\nSetEnv wsgi.url_scheme ftp\n\
             RewriteEngine On\nRewriteRule . - [E=REWRITTEN:yes]\n\
             <Location /app/https-on>\nSetEnv HTTPS On\n</Location>\n\
             <Location /app/https-1>\nSetEnv HTTPS 1\n</Location>\n\
             <Location /app/https-off>\nSetEnv HTTPS off\n</Location>\n\
             <Location /app/current>\nCGIVar REQUEST_URI current-uri\n</Location>\n",
        )
        .run(|server, cases| {
            let response = server.request("GET", "/app").header("X-Flag", "up").send();
            for (key, value) in [
                ("PLAIN", Some("'value'")),
                ("lower", Some("'Case'")),
                ("REWRITTEN", Some("'yes'")),
                ("FLAG", Some("'up'")),
                ("HTTP_X_MINE", Some("'mine'")),
                ("LATIN", Some("'caf\u{c3}\u{a9}'")),
                ("REQUEST_METHOD", Some("'GET'")),
                ("wsgi.url_scheme", Some("'http'")),
                ("PATH", None),
                ("mod_wsgi.x-secret", None),
                ("GATEWAY_INTERFACE", None),
                ("PATH_TRANSLATED", None),
                ("SERVER_SIGNATURE", None),
                ("HTTPS", None),
            ] {
                cases.check(key, || assert_eq!(response.value(key).as_deref(), value));
            }
            for (target, scheme) in
                [("/app/https-on", "'https'"), ("/app/https-1", "'https'"), ("/app/https-off", "'http'")]
            {
                cases.check(target, || {
                    let response = server.get(target);
                    assert_eq!(response.value("wsgi.url_scheme").as_deref(), Some(scheme));
                    assert_eq!(response.value("HTTPS"), None);
                    assert_eq!(response.value("REQUEST_SCHEME").as_deref(), Some("'http'"));
                });
            }
            cases.check("CGIVar REQUEST_URI current-uri", || {
                let response = server.get("/app/current//x?q");
                assert_ne!(response.value("REQUEST_URI").as_deref(), Some("'/app/current//x?q'"));
            });
        });
}

fn paths_are_latin_1(setup: Setup) {
    setup.app("/app", "echo.wsgi", ECHO).run(|server, cases| {
        let response = server.get("/app/caf%C3%A9/%FF?caf%C3%A9");
        for (key, value) in [
            ("PATH_INFO", "'/caf\u{c3}\u{a9}/\u{ff}'"),
            ("QUERY_STRING", "'caf%C3%A9'"),
            ("REQUEST_URI", "'/app/caf%C3%A9/%FF?caf%C3%A9'"),
        ] {
            cases.check(key, || assert_eq!(response.value(key).as_deref(), Some(value)));
        }
    });
}

fn head_is_mapped_as_configured(setup: Setup) {
    let app = "def application(environ, start_response):\n    \
               start_response('200 OK', [('X-Method', environ['REQUEST_METHOD']), ('Content-Type', 'text/html')])\n    \
               return [b'body']\n";
    setup
        .modules(&["deflate"])
        .app("/", "app.wsgi", app)
        .conf(
            "<Location /off>\nWSGIMapHEADToGET Off\nSetOutputFilter DEFLATE\n</Location>\n\
             <Location /on>\nWSGIMapHEADToGET On\n</Location>\n\
             <Location /filtered>\nSetOutputFilter DEFLATE\n</Location>\n",
        )
        .run(|server, cases| {
            for (target, method, seen) in [
                ("/auto", "HEAD", "HEAD"),
                ("/filtered", "HEAD", "GET"),
                ("/on", "HEAD", "GET"),
                ("/off", "HEAD", "HEAD"),
                ("/on", "POST", "POST"),
                ("/on", "OPTIONS", "OPTIONS"),
            ] {
                cases.check(&format!("{method} {target}"), || {
                    let mut connection = server.connect();
                    connection.send(&server.request(method, target).keep_alive());
                    let Ok(response) = connection.response(method) else { panic!("no response") };
                    assert_eq!(response.header("X-Method"), Some(seen));
                    if method == "HEAD" {
                        // Another request on the connection shows that no body was sent.
                        connection.send(&server.request("GET", "/again").keep_alive());
                        assert_eq!(
                            connection.response("GET").map(|again| again.text()).ok(),
                            Some("body".into())
                        );
                    }
                });
            }
        });
}

fn locations_have_their_own_flags(setup: Setup) {
    setup
        .children(2)
        .group("processes=2")
        .app("/app", "echo.wsgi", ECHO)
        .app(
            "/status",
            "status.wsgi",
            "def application(e, s):\n    s('404 Mine', [])\n    return [b'my own page']\n",
        )
        .conf(
            "<Location /app/rec>\nWSGIPassApacheRequest On\n</Location>\n\
             <Location /status>\nWSGIErrorOverride On\n</Location>",
        )
        .run(|server, cases| {
            cases.check("WSGIPassApacheRequest", || {
                let shown = server.get("/app/rec").value("apache.request_rec").unwrap_or_default();
                let expected = server.mode().pick("<capsule object NULL at ", "");
                assert!(shown.starts_with(expected) && shown.is_empty() == expected.is_empty(), "{shown}");
            });
            cases.check("WSGIErrorOverride is for daemons", || {
                let response = server.get("/status");
                let text = response.expect(404);
                let (page, reason) = server.mode().pick(("my own page", "Mine"), ("Not Found", "Not Found"));
                assert!(text.contains(page) && response.reason == reason, "{} {text}", response.reason);
                assert_eq!(text.contains("my own page"), page == "my own page", "{text}");
            });
            cases.check("several processes", || {
                let response = server.get("/app");
                assert_eq!(response.value("wsgi.multiprocess").as_deref(), Some("True"));
            });
        });
}

fn case_sensitivity_can_be_switched_off(setup: Setup) {
    let app = "def application(e, s):\n    s('200 OK', [('X-Name', __name__), \
               ('X-Group', e['mod_wsgi.application_group'])])\n    return [b'']\n";
    setup.app("/App", "App.wsgi", app).conf("WSGICaseSensitivity Off").run(|server, cases| {
        let response = server.get("/App");
        cases.check("the group", || {
            let group = format!("localhost:{}|/app", server.port());
            assert_eq!(response.header("X-Group"), Some(group.as_str()));
        });
        cases.check("the module", || {
            let path = server.path("apps/app.wsgi").display().to_string();
            // The temporary directory's own name has capitals too.
            let name = format!("_mod_wsgi_{}", md5(&path.to_lowercase()));
            assert_eq!(response.header("X-Name"), Some(name.as_str()));
        });
    });
}

fn redirects_and_authentication_set_variables(setup: Setup) {
    serving_with_passwords(setup).run(|server, cases| {
        cases.check("an error document is an internal redirect", || {
            let response = server.get("/nowhere?a=b");
            // The application that answers for the page decides.
            let text = response.expect(200);
            for line in [
                "REDIRECT_STATUS\t'404'",
                "REDIRECT_URL\t'/nowhere'",
                "REDIRECT_QUERY_STRING\t'a=b'",
                "PATH_INFO\t'/error'",
                "QUERY_STRING\t''",
                "REQUEST_URI\t'/nowhere?a=b'",
            ] {
                assert!(text.lines().any(|found| found == line), "{line} not in {text}");
            }
        });
        cases.check("without credentials", || {
            let response = server.get("/app/secret");
            assert_eq!(response.status, 401);
            assert_eq!(response.header("WWW-Authenticate"), Some("Basic realm=\"test\""));
        });
        cases.check("with credentials", || {
            let response = get_as_alice(server, "/app/secret");
            assert_eq!(response.value("REMOTE_USER").as_deref(), Some("'alice'"));
            assert_eq!(response.value("AUTH_TYPE").as_deref(), Some("'Basic'"));
            assert_eq!(response.value("HTTP_AUTHORIZATION"), None);
        });
        cases.check("not authenticated elsewhere", || {
            let response = get_as_alice(server, "/app");
            assert_eq!(response.value("REMOTE_USER"), None);
            assert_eq!(response.value("AUTH_TYPE"), None);
        });
    });
}

fn serving_with_passwords(setup: Setup) -> Setup {
    setup
        .modules(&["auth_basic", "authn_core", "authn_file", "authz_user"])
        .app("/app", "echo.wsgi", ECHO)
        // The password is `secret`.
        .file("users", "alice:$apr1$aBX./x7I$izKZP7/7gTLeVQJzYgg27/\n")
        .conf(
            "ErrorDocument 404 /app/error\n\
             <Location /app/secret>\nAuthType Basic\nAuthName test\nAuthBasicProvider file\n\
             AuthUserFile @ROOT@/users\nRequire valid-user\n</Location>\n",
        )
}

fn get_as_alice(server: &Server, target: &str) -> Response {
    server.request("GET", target).header("Authorization", "Basic YWxpY2U6c2VjcmV0").send()
}

fn names_and_values_of_junk_headers_are_not_kept(setup: Setup) {
    setup.app("/app", "pid.wsgi", PID).conf("LimitRequestFields 200\nKeepAliveTimeout 30").threads(4).run(
        |server, cases| {
            let process = || Process(server.get("/app").expect(200).parse().unwrap_or_default());
            let memory = |process: Process| {
                let text = process.status("VmRSS");
                text.split_whitespace()
                    .next()
                    .and_then(|number| number.parse::<u64>().ok())
                    .unwrap_or_default()
            };
            // All threads at once, so that each has its share.
            let send = |round: u32, count: u32| {
                thread::scope(|scope| {
                    for client in 0..4 {
                        scope.spawn(move || {
                            let mut connection = server.connect();
                            for number in 0..count {
                                let mut request = server.request("GET", "/app");
                                for header in 0..90 {
                                    let name = format!("X-{round}-{client}-{number}-{header}-{:a<4000}", "");
                                    request = request.header(&name, format!("{number:b<1000}"));
                                }
                                let request = request.keep_alive();
                                connection.send(&request);
                                // When all threads are busy, the MPM event closes idle connections.
                                let response = connection.response("GET").unwrap_or_else(|_| {
                                    connection = server.connect();
                                    connection.send(&request);
                                    connection.response("GET").unwrap_or_else(|error| panic!("{error}"))
                                });
                                assert_eq!(response.status, 200);
                            }
                        });
                    }
                });
            };
            cases.check("the process does not grow", || {
                if sanitized("it keeps what is freed") {
                    return;
                }
                let process = process();
                // What the first requests need for good, whatever is in them.
                send(0, 1);
                let before = memory(process);
                send(1, 40);
                let after = memory(process);
                e2e::report(format_args!("{before} kB before, {after} kB after"));
                assert!(after < before + 6_000, "{before} kB, then {after} kB");
            });
        },
    );
}
