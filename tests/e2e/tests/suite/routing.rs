//! Which script a request goes to, and what it is refused with.

use e2e::{Cases, Server, Setup, Test, on_each_mpm, on_one_mpm};

use crate::ECHO;

pub(crate) const TESTS: &[Test] = &[
    on_each_mpm!(aliases_map_urls_to_scripts),
    on_one_mpm!(a_root_mount_has_no_script_name),
    on_one_mpm!(virtual_hosts_come_before_the_main_server),
    on_each_mpm!(handlers_run_scripts_without_an_alias),
    on_one_mpm!(the_callable_is_chosen_by_name),
    on_one_mpm!(groups_are_expanded_for_each_request),
];

fn aliases_map_urls_to_scripts(setup: Setup) {
    setup
        .file("apps/a.wsgi", ECHO)
        .file("apps/b.wsgi", ECHO)
        .file("htdocs/apple", "static\n")
        .conf(
            "WSGIScriptAlias /app @ROOT@/apps/a.wsgi\n\
             WSGIScriptAlias /ts/ @ROOT@/apps/a.wsgi/\n\
             WSGIScriptAlias /dir/ @ROOT@/apps/\n\
             WSGIScriptAlias /dir2 @ROOT@/apps\n\
             WSGIScriptAlias no-slash @ROOT@/apps/a.wsgi\n\
             WSGIScriptAliasMatch ^ @ROOT@/apps/none.wsgi\n\
             WSGIScriptAliasMatch ^/m/([^/]+) @ROOT@/apps/$1.wsgi\n\
             WSGIScriptAliasMatch ^/mm/(aa|bb) @ROOT@/apps/a.wsgi/$1\n\
             WSGIScriptAliasMatch /any @ROOT@/apps/a.wsgi\n\
             WSGIScriptAlias /first @ROOT@/apps/a.wsgi\n\
             WSGIScriptAlias /first/second @ROOT@/apps/b.wsgi\n\
             Alias /wins @ROOT@/htdocs/apple\n\
             WSGIScriptAlias /wins @ROOT@/apps/a.wsgi\n",
        )
        .run(|server, cases| {
            for (target, file, script_name, path_info) in [
                ("/app", "a", "/app", ""),
                ("/app/", "a", "/app", "/"),
                ("/app?q=1", "a", "/app", ""),
                ("/app/x", "a", "/app", "/x"),
                ("//app", "a", "/app", ""),
                ("/app//x//y", "a", "/app", "/x/y"),
                ("/ts/x", "a", "/ts", "/x"),
                ("/dir/a.wsgi/x", "a", "/dir/a.wsgi", "/x"),
                ("/dir/b.wsgi", "b", "/dir/b.wsgi", ""),
                ("/dir2/b.wsgi/x", "b", "/dir2/b.wsgi", "/x"),
                ("/m/a/y", "a", "/m/a", "/y"),
                ("/m/b", "b", "/m/b", ""),
                ("/mm/aa/x", "a", "/mm", "/aa/x"),
                ("/mm/bb", "a", "/mm", "/bb"),
                ("/foo/any/bar", "a", "/foo/any", "/bar"),
                ("/first/second", "a", "/first", "/second"),
                ("/app/%41%2Bx", "a", "/app", "/A+x"),
            ] {
                cases.check(target, || {
                    let response = server.get(target);
                    let shown = |name| response.value(name).unwrap_or_default();
                    assert_eq!(shown("SCRIPT_NAME"), format!("'{script_name}'"));
                    assert_eq!(shown("PATH_INFO"), format!("'{path_info}'"));
                    let file = server.path(&format!("apps/{file}.wsgi"));
                    assert_eq!(shown("SCRIPT_FILENAME"), format!("'{}'", file.display()));
                    assert_eq!(shown("CONTEXT_PREFIX"), "''");
                    assert_eq!(shown("mod_wsgi.request_handler"), "'wsgi-script'");
                });
            }
            check_urls_without_a_script(server, cases);
        });
}

fn check_urls_without_a_script(server: &Server, cases: &mut Cases<'_>) {
    for (target, status) in [
        ("/apple", 200),
        ("/wins", 200),
        ("/APP", 404),
        ("/dir/none.wsgi", 404),
        ("/dir/", 403),
        ("/ts", 404),
        ("/no-slash", 404),
        ("no-slash", 400),
        ("/m/none", 404),
        ("/nothing", 404),
    ] {
        cases.check(target, || {
            let response = server.get(target);
            assert_eq!(response.status, status, "{}", response.text());
            if status == 200 {
                assert_eq!(response.text(), "static\n");
            }
        });
    }
    cases.check("OPTIONS * is not mapped", || {
        assert_eq!(server.request("OPTIONS", "*").send().status, 200);
    });
}

fn a_root_mount_has_no_script_name(setup: Setup) {
    setup.app("/", "root.wsgi", ECHO).run(|server, cases| {
        for (target, path_info) in [("/", "/"), ("/x/y", "/x/y"), ("//x", "/x"), ("/x%20y", "/x y")] {
            cases.check(target, || {
                let response = server.get(target);
                assert_eq!(response.value("SCRIPT_NAME").as_deref(), Some("''"));
                assert_eq!(response.value("PATH_INFO"), Some(format!("'{path_info}'")));
            });
        }
    });
}

fn virtual_hosts_come_before_the_main_server(setup: Setup) {
    setup
        .file("apps/a.wsgi", ECHO)
        .file("apps/b.wsgi", ECHO)
        .conf(
            "WSGIScriptAlias /shared @ROOT@/apps/a.wsgi\nWSGIScriptAlias /main @ROOT@/apps/a.wsgi\n\
             <VirtualHost *:@PORT@>\nServerName one.example\nWSGIScriptAlias /shared @ROOT@/apps/b.wsgi\n\
             WSGIApplicationGroup %{SERVER}\n</VirtualHost>\n\
             <VirtualHost *:@PORT@>\nServerName two.example\nServerAlias *.two.example\n\
             WSGIApplicationGroup %{HOST}\nUseCanonicalName On\n</VirtualHost>\n",
        )
        .run(|server, cases| {
            let port = server.port();
            for (host, target, file, group) in [
                ("one.example", "/shared", "b", format!("one.example:{port}")),
                ("one.example", "/main", "a", format!("one.example:{port}")),
                ("two.example", "/shared", "a", "two.example".to_owned()),
                ("X.two.example", "/shared", "a", "x.two.example".to_owned()),
            ] {
                cases.check(&format!("{host}{target}"), || {
                    let response = server.request("GET", target).host(&format!("{host}:{port}")).send();
                    let file = server.path(&format!("apps/{file}.wsgi"));
                    assert_eq!(response.value("SCRIPT_FILENAME"), Some(format!("'{}'", file.display())));
                    assert_eq!(response.value("mod_wsgi.application_group"), Some(format!("'{group}'")));
                });
            }
        });
}

fn handlers_run_scripts_without_an_alias(setup: Setup) {
    with_handlers(setup).run(|server, cases| {
        for (target, script_name, path_info) in [
            ("/set/a.wsgi/x", "/set/a.wsgi", "/x"),
            ("/add/a.wsgi", "/add/a.wsgi", ""),
            ("/add/a.wsgi/y", "/add/a.wsgi", "/y"),
            ("/legacy/a.wsgi", "/legacy/a.wsgi", ""),
        ] {
            cases.check(target, || {
                let response = server.get(target);
                assert_eq!(response.value("SCRIPT_NAME"), Some(format!("'{script_name}'")));
                assert_eq!(response.value("PATH_INFO"), Some(format!("'{path_info}'")));
            });
        }
        cases.check("the context of an Alias", || {
            let response = server.get("/set/a.wsgi");
            assert_eq!(response.value("CONTEXT_PREFIX").as_deref(), Some("'/set'"));
            let root = server.path("apps");
            assert_eq!(response.value("CONTEXT_DOCUMENT_ROOT"), Some(format!("'{}'", root.display())));
        });
        cases.check("other files are not run", || {
            assert_eq!(server.get("/add/plain.txt").expect(200), "plain\n");
        });
        for (target, status, code) in [
            ("/noexec/a.wsgi", 403, "WSGI0134"),
            ("/set/none.wsgi", 404, "WSGI0135"),
            ("/set/sub", 403, "WSGI0136"),
            ("/nopath/a.wsgi/x", 404, "WSGI0137"),
        ] {
            cases.check(target, || {
                let mark = server.mark();
                assert_eq!(server.get(target).status, status);
                server.wait_log(mark, code);
            });
        }
        cases.check("AcceptPathInfo Off without a path", || {
            assert_eq!(server.get("/nopath/a.wsgi").status, 200);
        });
        cases.check("a handler script", || {
            let response = server.get("/htdocs/thing.special?x");
            let shown = |name| response.value(name).unwrap_or_default();
            let script = server.path("apps/handler.py");
            assert_eq!(shown("mod_wsgi.handler_script"), format!("'{}'", script.display()));
            assert_eq!(shown("mod_wsgi.request_handler"), "'special'");
            assert_eq!(shown("mod_wsgi.callable_object"), "'handle_request'");
            let resource = server.path("htdocs/thing.special");
            assert_eq!(shown("SCRIPT_FILENAME"), format!("'{}'", resource.display()));
        });
        cases.check("the resource of a handler script need not exist", || {
            assert_eq!(server.get("/htdocs/none.special").status, 200);
        });
        cases.check("a handler script that is missing", || {
            assert_eq!(server.get("/htdocs/x.broken").status, 500);
        });
    });
}

fn with_handlers(setup: Setup) -> Setup {
    setup
        .file("apps/a.wsgi", ECHO)
        .file("apps/sub/keep", "")
        .file("apps/plain.txt", "plain\n")
        .file("apps/handler.py", ECHO.replace("def application(", "def handle_request("))
        .file("htdocs/thing.special", "")
        .conf(
            "Alias /set @ROOT@/apps\nAlias /add @ROOT@/apps\nAlias /legacy @ROOT@/apps\n\
             Alias /noexec @ROOT@/apps\nAlias /nopath @ROOT@/apps\nAlias /htdocs @ROOT@/htdocs\n\
             <Location /set>\nSetHandler wsgi-script\nOptions ExecCGI\n</Location>\n\
             <Location /add>\nAddHandler wsgi-script .wsgi\nOptions +ExecCGI\n</Location>\n\
             <Location /legacy>\nForceType application/x-httpd-wsgi\nOptions ExecCGI\n</Location>\n\
             <Location /noexec>\nSetHandler wsgi-script\nOptions None\n</Location>\n\
             <Location /nopath>\nSetHandler wsgi-script\nOptions ExecCGI\nAcceptPathInfo Off\n</Location>\n\
             WSGIHandlerScript special @ROOT@/apps/handler.py\n\
             WSGIHandlerScript broken @ROOT@/apps/none.py\n\
             AddHandler special .special\nAddHandler broken .broken\n",
        )
}

fn the_callable_is_chosen_by_name(setup: Setup) {
    setup
        .file("apps/a.wsgi", ECHO)
        .conf(
            "WSGIScriptAlias /alias @ROOT@/apps/a.wsgi callable-object=other\n\
             WSGIScriptAlias /literal @ROOT@/apps/a.wsgi callable-object=%{ENV:NAME}\n\
             WSGIScriptAlias /dir @ROOT@/apps/a.wsgi\nWSGIScriptAlias /env @ROOT@/apps/a.wsgi\n\
             WSGIScriptAlias /unset @ROOT@/apps/a.wsgi\nWSGIScriptAlias /missing @ROOT@/apps/a.wsgi\n\
             WSGIScriptAlias /number @ROOT@/apps/a.wsgi\nSetEnv NAME other\n\
             <Location /dir>\nWSGICallableObject other\n</Location>\n\
             <Location /env>\nWSGICallableObject %{ENV:NAME}\n</Location>\n\
             <Location /unset>\nWSGICallableObject %{ENV:UNKNOWN}\n</Location>\n\
             <Location /missing>\nWSGICallableObject missing\n</Location>\n\
             <Location /number>\nWSGICallableObject number\n</Location>\n",
        )
        .run(|server, cases| {
            for target in ["/alias", "/dir", "/env"] {
                cases.check(target, || assert_eq!(server.get(target).expect(200), "other"));
            }
            cases.check("an unknown variable means the default", || {
                let response = server.get("/unset");
                assert_eq!(response.value("mod_wsgi.callable_object").as_deref(), Some("'application'"));
            });
            for (target, status, code) in [
                ("/missing", server.mode().pick(404, 500), "WSGI0089"),
                ("/literal", server.mode().pick(404, 500), "WSGI0089"),
                ("/number", 500, "TypeError"),
            ] {
                cases.check(target, || {
                    let mark = server.mark();
                    assert_eq!(server.get(target).status, status);
                    server.wait_log(mark, code);
                });
            }
        });
}

fn groups_are_expanded_for_each_request(setup: Setup) {
    let groups = [
        ("/unset", "", "localhost:@PORT@|/unset"),
        ("/global", "WSGIApplicationGroup %{GLOBAL}", ""),
        ("/server", "WSGIApplicationGroup %{SERVER}", "localhost:@PORT@"),
        ("/resource", "WSGIApplicationGroup %{RESOURCE}", "localhost:@PORT@|/resource"),
        ("/literal", "WSGIApplicationGroup Some-Name", "Some-Name"),
        ("/middle", "WSGIApplicationGroup x%{SERVER}", "x%{SERVER}"),
        ("/odd", "WSGIApplicationGroup %{NONSENSE}", "%{NONSENSE}"),
        ("/env", "SetEnv NAME by-env\nWSGIApplicationGroup %{ENV:NAME}", "by-env"),
        ("/again", "SetEnv NAME %{GLOBAL}\nWSGIApplicationGroup %{ENV:NAME}", ""),
        ("/empty", "SetEnv NAME \"\"\nWSGIApplicationGroup %{ENV:NAME}", ""),
        ("/none", "WSGIApplicationGroup %{ENV:UNKNOWN}", "%{ENV:UNKNOWN}"),
    ];
    let mut setup = setup.file("apps/a.wsgi", ECHO).conf(
        "WSGIScriptAlias /option @ROOT@/apps/a.wsgi application-group=by-option\n\
         <Location /option>\nWSGIApplicationGroup loses\n</Location>\n",
    );
    for (url, lines, _) in groups {
        setup = setup.conf(&format!(
            "WSGIScriptAlias {url} @ROOT@/apps/a.wsgi\n<Location {url}>\n{lines}\n</Location>"
        ));
    }
    setup.run(|server, cases| {
        for (url, _, group) in groups {
            cases.check(url, || {
                assert_eq!(group_at(server, url), group.replace("@PORT@", &server.port().to_string()))
            });
        }
        cases.check("/option", || assert_eq!(group_at(server, "/option"), "by-option"));
    });
}

fn group_at(server: &Server, target: &str) -> String {
    let shown = server.get(target).value("mod_wsgi.application_group").unwrap_or_default();
    shown.trim_matches('\'').to_owned()
}
