//! Scripts with `process-group=`: they run in daemon processes, and Apache's children have no
//! Python.

use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;

use e2e::Needs::{Daemon, OnlyMpms, Ours, Root, SecondPython};
use e2e::{
    Cases, Interpreter, Mpm, Process, Server, Setup, Test, curl, on_each_mpm, on_one_mpm, sanitized, signal,
    wait_until,
};
use nix::sys::signal::Signal;

use super::environ::{check_http_2, with_http_2};
use super::{BASIC, check_logged, expect_logged, section, with_scripts};

pub(crate) const TESTS: &[Test] = &[
    on_each_mpm!(
        scripts_run_in_a_process_group,
        Daemon,
        OURS,
        Root("become somebody else"),
        OnlyMpms(&[Mpm::Prefork, Mpm::Event])
    ),
    on_one_mpm!(a_process_group_has_its_own_python, Daemon, OURS, SecondPython),
    on_one_mpm!(a_script_in_a_process_asks_about_tls, Daemon, OURS),
    on_one_mpm!(a_script_that_hangs_is_given_up, Daemon, OURS),
    on_each_mpm!(
        a_thread_waits_for_a_script_no_longer_than_it_is_wanted,
        Daemon,
        OURS,
        OnlyMpms(&[Mpm::Prefork, Mpm::Event])
    ),
    on_one_mpm!(a_process_that_ends_refuses_its_question, Daemon, OURS),
    on_one_mpm!(no_question_is_lost_while_processes_are_replaced, Daemon, OURS),
    on_one_mpm!(a_group_that_cannot_answer_lets_nobody_in, Daemon, OURS),
    on_one_mpm!(a_dispatch_script_runs_in_a_process_group, Daemon, OURS),
];

const OURS: e2e::Needs = Ours("process-group= of these directives");

/// Scripts for `<Location>`, in the group `guard`.
const SCRIPTS: &str = "WSGIAccessScript @ROOT@/apps/access.wsgi process-group=guard\n\
    WSGIAuthUserScript @ROOT@/apps/user.wsgi process-group=guard\n\
    WSGIAuthGroupScript @ROOT@/apps/groups.wsgi process-group=guard\n";

/// A group `guard` with these options, and no Python in Apache's children.
fn with_guard(setup: Setup, options: &str) -> Setup {
    with_scripts(setup).conf(&format!("WSGIRestrictEmbedded On\nWSGIDaemonProcess guard {options}"))
}

fn user_section(url: &str, options: &str) -> String {
    format!("<Location {url}>\n{BASIC}WSGIAuthUserScript @ROOT@/apps/user.wsgi {options}\n</Location>\n")
}

fn user(server: &Server, url: &str, name: &str) -> e2e::Response {
    server.request("GET", url).user(name, "secret").send()
}

/// Returns whether a process has loaded Python.
fn has_python(process: u32) -> bool {
    let maps = std::fs::read_to_string(Process(process).path("maps")).unwrap_or_default();
    maps.contains("libpython") || maps.contains("mod_wsgi_host")
}

fn scripts_run_in_a_process_group(setup: Setup) {
    let groups = BASIC.replace("Require valid-user", "Require wsgi-group staff");
    let digest = "AuthType Digest\nAuthName closed\nAuthDigestProvider wsgi\nRequire valid-user\n";
    with_guard(setup, "user=games threads=3")
        .modules(&["auth_digest"])
        .file("apps/anybody.wsgi", "def check_password(environ, user, password):\n    return True\n")
        .conf(&user_section("/user", "process-group=guard"))
        .conf(&section("/access", SCRIPTS))
        .conf(&section("/groups", &format!("{groups}{}", SCRIPTS.replace("user.wsgi", "anybody.wsgi"))))
        .conf(&section("/digest", &format!("{digest}{SCRIPTS}")))
        .conf(&section(
            "/named",
            &format!("{BASIC}WSGIAuthUserScript process-group=%{{HOST}} @ROOT@/apps/user.wsgi"),
        ))
        .run(|server, cases| {
            for (query, status, logged) in [
                ("true", 200, "allow_access true for str '127.0.0.1'"),
                ("none", 200, "allow_access none"),
                ("false", 403, "WSGI0057"),
                ("one", 403, "WSGI0055"),
                ("raises", 403, "RuntimeError: allow_access fails"),
                ("exits", 403, "SystemExit"),
            ] {
                check_logged(cases, server, (query, status, logged), || {
                    server.get(&format!("/access/page?{query}"))
                });
            }
            for (name, status, logged) in [
                ("true", 200, "check_password 'true' 'secret' str"),
                ("none", 401, "not found"),
                ("false", 401, "Password Mismatch"),
                ("empty", 500, "WSGI0176"),
                ("bytes", 500, "WSGI0177"),
                ("raises", 500, "RuntimeError: check_password fails"),
                ("exits", 500, "SystemExit"),
                ("forks", 200, ""),
                ("true", 200, "check_password"),
            ] {
                check_logged(cases, server, (name, status, logged), || user(server, "/user", name));
            }
            for (name, status, logged) in [
                ("list", 200, "groups_for_user 'list'"),
                ("set", 200, ""),
                ("failing", 200, "RuntimeError: the groups end early"),
                ("other", 401, "WSGI0060"),
                ("number", 401, "WSGI0050"),
                ("raises", 401, "RuntimeError: groups_for_user fails"),
            ] {
                check_logged(cases, server, (name, status, logged), || user(server, "/groups/page", name));
            }
            cases.check("digest", || {
                let url = format!("http://{}/digest/page", server.address());
                let fetch = |user| curl(["--digest", "--user", user, &url]).stdout;
                assert_eq!(fetch("somebody:secret"), b"the page");
                assert_ne!(fetch("somebody:guessed"), b"the page");
            });
            cases.check("the environ", || {
                let mark = server.mark();
                assert_eq!(server.get("/access/page?show").status, 200);
                for line in [
                    "mod_wsgi.process_group 'guard'",
                    "mod_wsgi.application_group ''",
                    "REMOTE_ADDR '127.0.0.1'",
                ] {
                    server.wait_log(mark, &format!("shown {line}"));
                }
            });
            cases.check("the user of the group, in which the application is not", || {
                let response = user(server, "/user", "place");
                let shown = response.value("REMOTE_USER").unwrap_or_default();
                assert!(shown.starts_with("'guard uid 5 Python "), "{shown}");
                assert_eq!(response.value("mod_wsgi.process_group").as_deref(), Some("'e2e'"));
            });
            cases.check("a group by the name of the host", || {
                let request = server.request("GET", "/named/page").host("guard").user("true", "x");
                assert_eq!(request.send().status, 200);
            });
            cases.check("a body goes to the application", || {
                let post = server.request("POST", "/user").user("true", "x").body("a body").send();
                assert_eq!(post.value("body").as_deref(), Some("b'a body'"));
            });
            cases.check("several at the same time", || {
                thread::scope(|scope| {
                    for name in ["ann", "bob", "eve", "joe"] {
                        scope.spawn(move || {
                            for _ in 0..10 {
                                let shown = user(server, "/user", name).value("REMOTE_USER");
                                assert_eq!(shown, Some(format!("'{name}'")));
                            }
                        });
                    }
                });
            });
            cases.check("there is no Python in Apache's children", || {
                let children = server.children();
                assert!(!children.is_empty() && !children.iter().any(|child| has_python(*child)));
                assert!(server.daemons().iter().any(|process| has_python(process.0)));
            });
            check_changes(server, cases);
        });
}

/// A successor of the process has the new version: the next request gets it, or a later one if that
/// takes longer than requests wait. While none can load it, nobody is let in: it may be there to keep
/// somebody out.
fn check_changes(server: &Server, cases: &mut Cases<'_>) {
    let script =
        |users: &str| format!("def check_password(environ, user, password):\n    return user in {users}\n");
    let ask = |name| server.request("GET", "/named/page").host("guard").user(name, "x").send().status;
    cases.check("a changed script", || {
        server.write("apps/user.wsgi", script("['new']"));
        wait_until("it", || ([ask("new"), ask("true")] == [200, 401]).then_some(()));
    });
    cases.check("a script that has become invalid", || {
        let mark = server.mark();
        server.write("apps/user.wsgi", "def check_password(:\n");
        wait_until("refusals", || ([ask("new"), ask("true")] == [500, 500]).then_some(()));
        server.wait_log(mark, "SyntaxError");
        server.wait_log(mark, "WSGI1033");
        let other = server.get("/access/page?true").status;
        assert_eq!(other, 200, "another script of the group is as it was");
    });
    cases.check("a script that is valid again", || {
        server.write("apps/user.wsgi", script("['newest']"));
        wait_until("it", || ([ask("newest"), ask("new")] == [200, 401]).then_some(()));
    });
}

fn a_process_group_has_its_own_python(setup: Setup) {
    let pythons = Interpreter::with_hosts();
    let mut setup = with_scripts(setup).conf("WSGIRestrictEmbedded On");
    for (index, python) in pythons.iter().enumerate() {
        let home = python.home();
        let library = format!("environment=LD_LIBRARY_PATH={}", home.join("lib").display());
        setup = setup.conf(&format!(
            "WSGIDaemonProcess p{index} python-home={} threads=1 {library}\n\
             WSGIScriptAlias /user{index} @ROOT@/apps/user.wsgi\n{}",
            home.display(),
            user_section(&format!("/user{index}"), &format!("process-group=p{index}"))
        ));
    }
    setup.run(|server, cases| {
        for (index, python) in pythons.iter().enumerate() {
            cases.check(&format!("Python {:?}", python.version), || {
                let shown =
                    user(server, &format!("/user{index}"), "place").value("REMOTE_USER").unwrap_or_default();
                assert!(shown.ends_with(&format!(" Python {}'", python.version.1)), "{shown}");
            });
        }
    });
}

fn a_script_in_a_process_asks_about_tls(setup: Setup) {
    with_http_2(with_guard(setup, "threads=1").tls()).conf(&section("/access", SCRIPTS)).run(
        |server, cases| {
            cases.check("over HTTP/2", || check_http_2(server, "/access/page?ssl"));
            let fetch = |target: &str| {
                let url = format!("https://127.0.0.1:{}{target}", server.tls_port());
                curl(["--insecure", &url]).stdout
            };
            let mark = server.mark();
            cases.check("over TLS", || assert_eq!(fetch("/access/page?ssl"), b"the page"));
            for line in [
                "is_https 1",
                "lookup 'SSL_PROTOCOL' 'TLSv1.",
                "lookup b'HTTPS' 'on'",
                "lookup 'SERVER_NAME' '",
                "lookup of 1 (1,) TypeError",
            ] {
                cases.check(line, || drop(server.wait_log(mark, line)));
            }
            cases.check("without TLS", || {
                let mark = server.mark();
                assert_eq!(server.get("/access/page?ssl").status, 200);
                server.wait_log(mark, "is_https 0");
            });
            cases.check("when the request is over", || {
                let mark = server.mark();
                assert_eq!(fetch("/access/page?keep"), b"the page");
                assert_eq!(fetch("/access/page?kept"), b"the page");
                server.wait_log(mark, "kept mod_ssl.is_https RuntimeError");
                server.wait_log(mark, "kept mod_ssl.var_lookup RuntimeError");
            });
        },
    );
}

/// Hangs if the query string says so.
const CHOOSES: &str = "import time\n\n\ndef process_group(environ):\n    while environ['QUERY_STRING'] == 'hang':\n        \
                       time.sleep(0.01)\n    return None\n";

fn a_script_that_hangs_is_given_up(setup: Setup) {
    with_guard(setup, "threads=1 graceful-timeout=1")
        .conf("WSGIDaemonProcess other threads=1 graceful-timeout=1")
        .conf(&user_section("/user", "process-group=guard timeout=1"))
        .conf("WSGIScriptAlias /other @ROOT@/apps/user.wsgi\nWSGIScriptAlias /chosen @ROOT@/apps/user.wsgi")
        .conf(
            "<Location /chosen>\nWSGIDispatchScript @ROOT@/apps/choose.wsgi process-group=guard timeout=1\n</Location>",
        )
        .file("apps/choose.wsgi", CHOOSES)
        .conf(&user_section("/other", "process-group=other timeout=1"))
        .run(|server, cases| {
            // The start of a process may take longer than a question may.
            for url in ["/user", "/other"] {
                wait_until("an answer", || (user(server, url, "true").status == 200).then_some(()));
            }
            cases.check("one that can be interrupted", || {
                expect_logged(server, 500, "WSGI1030", || user(server, "/user", "spins"));
                let mark = server.mark();
                wait_until("an answer of the same process", || {
                    (user(server, "/user", "true").status == 200).then_some(())
                });
                assert!(!server.log_since(mark).contains("successor"), "the thread is free again");
            });
            cases.check("one that cannot", || {
                let pid = user(server, "/other", "pid").value("REMOTE_USER");
                let mark = server.mark();
                expect_logged(server, 500, "WSGI1030", || user(server, "/other", "sleeps"));
                let other = wait_until("another process", || {
                    let response = user(server, "/other", "pid");
                    (response.status == 200).then(|| response.value("REMOTE_USER"))
                });
                assert_ne!(other, pid);
                server.wait_log(mark, "successor");
            });
            cases.check("one that chooses the group of a request", || {
                expect_logged(server, 500, "WSGI1030", || server.get("/chosen?hang"));
                wait_until("an answer", || (server.get("/chosen").status == 200).then_some(()));
            });
        });
}

fn a_thread_waits_for_a_script_no_longer_than_it_is_wanted(setup: Setup) {
    let mut server = with_guard(setup.children(1).threads(1), "threads=4 shutdown-timeout=1")
        .conf(&user_section("/user", "process-group=guard timeout=1h"))
        .start();
    let start_hanging = |server: &Server| {
        let mark = server.mark();
        let mut connection = server.connect();
        connection.send(&server.request("GET", "/user").user("sleeps", "x").keep_alive());
        server.wait_log(mark, "check_password 'sleeps'");
        connection
    };
    server.cases(|server, cases| {
        cases.check("a client that has gone", || {
            start_hanging(server).reset();
            // With one thread, or one child, this has to wait for its end.
            assert_eq!(user(server, "/user", "true").status, 200);
        });
        cases.check("the end of a child at a graceful restart", || {
            let children = server.children();
            let connection = start_hanging(server);
            server.graceful();
            connection.reset();
            wait_until("new children", || {
                let live = server.children();
                (!live.is_empty() && live.iter().all(|child| !children.contains(child))).then_some(())
            });
            assert_eq!(user(server, "/user", "true").status, 200);
        });
    });
    let mark = server.mark();
    let _hanging = start_hanging(&server);
    assert!(server.stop().success());
    let log = server.log_since(mark);
    // (The supervisor may kill the process with its script.)
    assert!(!log.contains("sending a SIGKILL"), "{log}");
}

fn a_process_that_ends_refuses_its_question(setup: Setup) {
    with_guard(setup, "threads=2")
        .conf(&user_section("/user", "process-group=guard"))
        .conf(&section("/access", &SCRIPTS.replace("access.wsgi", "leaves.wsgi")))
        .file("apps/leaves.wsgi", "import os\n\n\ndef allow_access(environ, host):\n    os._exit(7)\n")
        .run(|server, cases| {
            server.expect_crashes();
            for (name, logged) in [("crashes", "SIGSEGV"), ("leaves", "status 7")] {
                if name == "crashes" && sanitized("it would report the crash") {
                    continue;
                }
                cases.check(name, || {
                    let mark = server.mark();
                    expect_logged(server, 500, "WSGI1032", || user(server, "/user", name));
                    server.wait_log(mark, logged);
                    wait_until("the next process", || {
                        (user(server, "/user", "true").status == 200).then_some(())
                    });
                });
            }
            cases.check("access is denied", || {
                expect_logged(server, 403, "WSGI1032", || server.get("/access/page"));
            });
        });
}

fn no_question_is_lost_while_processes_are_replaced(setup: Setup) {
    with_guard(setup, "threads=2 processes=2").conf(&user_section("/user", "process-group=guard")).run(
        |server, cases| {
            let pid = || user(server, "/user", "pid").value("REMOTE_USER").unwrap_or_default();
            cases.check("under load", || {
                let first = pid();
                let is_over = AtomicBool::new(false);
                thread::scope(|scope| {
                    for _ in 0..2 {
                        scope.spawn(|| {
                            while !is_over.load(Ordering::Relaxed) {
                                let statuses =
                                    ["true", "false"].map(|name| user(server, "/user", name).status);
                                assert_eq!(statuses, [200, 401]);
                            }
                        });
                    }
                    let end = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| {
                        server.graceful();
                        wait_until("a new process", || (pid() != first).then_some(()));
                        for process in server.daemons() {
                            signal(process, Signal::SIGUSR1);
                        }
                        let second = pid();
                        wait_until("its successor", || (pid() != second).then_some(()));
                    }));
                    is_over.store(true, Ordering::Relaxed);
                    assert!(end.is_ok(), "{end:?}");
                });
            });
            cases.check("killed", || {
                for process in server.daemons() {
                    signal(process, Signal::SIGKILL);
                }
                wait_until("a new process", || (user(server, "/user", "true").status == 200).then_some(()));
            });
        },
    );
}

fn a_group_that_cannot_answer_lets_nobody_in(setup: Setup) {
    let in_group = |name: &str| SCRIPTS.replace("=guard", &format!("={name}"));
    let all = |name: &str| {
        let groups = format!(
            "AuthType Basic\nAuthName closed\nAuthBasicProvider file\nAuthUserFile @ROOT@/users\n\
             WSGIAuthGroupScript @ROOT@/apps/groups.wsgi process-group={name}\nRequire wsgi-group staff"
        );
        let user = format!("{BASIC}WSGIAuthUserScript @ROOT@/apps/user.wsgi process-group={name}");
        let access = in_group(name);
        [
            section(&format!("/access-{name}"), &access),
            section(&format!("/user-{name}"), &user),
            section(&format!("/groups-{name}"), &groups),
        ]
        .concat()
    };
    with_guard(setup, "threads=2")
        .conf("WSGIDaemonProcess broken threads=1 home=@ROOT@/none\nWSGIDaemonProcess service threads=0")
        .conf("WSGIDaemonProcess owned threads=1 script-user=games")
        .conf("<Location />\nWSGIRestrictProcess e2e broken service owned missing\n</Location>")
        .conf("<Directory @ROOT@/htdocs/own>\nAllowOverride AuthConfig\n</Directory>")
        .file("users", "filed:{SHA}vvmBDk32ZNVpDrKVB8LK0EVs9Do=\n")
        .file("htdocs/own/page", "the page")
        .file("htdocs/own/.htaccess", "WSGIAccessScript @ROOT@/apps/access.wsgi process-group=owned\n")
        .conf(&["broken", "service", "missing", "owned", "guard"].map(all).concat())
        .run(|server, cases| {
            for (name, logged) in [
                ("broken", "fail to start"),
                ("service", "threads=0"),
                ("missing", "WSGI0151"),
                ("owned", "script-user"),
                ("guard", "WSGI0149"),
            ] {
                for (target, user, status) in
                    [("access", None, 403), ("user", Some("true"), 500), ("groups", Some("filed"), 401)]
                {
                    cases.check(&format!("{target} {name}"), || {
                        let request = server.request("GET", &format!("/{target}-{name}/page?true"));
                        let request =
                            if let Some(user) = user { request.user(user, "filed") } else { request };
                        let mark = server.mark();
                        // A group that never starts is known as such after some attempts.
                        let response = request.send();
                        assert_eq!(response.status, status, "{}", server.log_since(mark));
                        server.wait_log(mark, logged);
                    });
                }
            }
            cases.check("not in .htaccess", || {
                expect_logged(server, 500, "process-group=owned", || server.get("/own/page?true"));
            });
            cases.check("the test of the configuration names a group that is missing", || {
                let text = String::from_utf8_lossy(&server.test().stderr).into_owned();
                assert!(text.contains("'missing'") && !text.contains("'guard'"), "{text}");
            });
            cases.check("no child has Python", || {
                assert!(!server.children().iter().any(|child| has_python(*child)));
            });
        });
}

fn a_dispatch_script_runs_in_a_process_group(setup: Setup) {
    let script = "def process_group(environ):\n    return environ['QUERY_STRING'] or None\n\n\n\
                  def application_group(environ):\n    return environ['mod_wsgi.process_group']\n\n\n\
                  def callable_object(environ):\n    return 'other' if environ['PATH_INFO'] else None\n";
    with_guard(setup, "threads=2")
        .app("/app", "echo.wsgi", crate::ECHO)
        .file("apps/choose.wsgi", script)
        .conf(
            "WSGIDaemonProcess one threads=1\nWSGIDispatchScript @ROOT@/apps/choose.wsgi process-group=guard",
        )
        .run(|server, cases| {
            let group = |target: &str, name| server.get(target).value(&format!("mod_wsgi.{name}"));
            cases.check("the groups", || {
                assert_eq!(group("/app", "process_group").as_deref(), Some("'e2e'"));
                assert_eq!(group("/app?one", "process_group").as_deref(), Some("'one'"));
                assert_eq!(group("/app?one", "application_group").as_deref(), Some("'guard'"));
                assert_eq!(server.get("/app?none").status, 500);
            });
            cases.check("the callable", || assert_eq!(server.get("/app/below").expect(200), "other"));
            cases.check("no child has Python", || {
                assert!(!server.children().iter().any(|child| has_python(*child)));
            });
        });
}
