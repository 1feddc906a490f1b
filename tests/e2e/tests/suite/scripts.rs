//! Loading and reloading scripts, and scripts that cannot be loaded.

use std::fs;
use std::os::unix::fs::PermissionsExt as _;

use e2e::Needs::{OneProcess, Root};
use e2e::{
    Cases, FuseMount, LogMark, Mode, Server, Setup, Test, on_each_mpm, on_one_mpm, skipped, wait_until,
};

use crate::md5;

pub(crate) const TESTS: &[Test] = &[
    on_one_mpm!(modules_have_the_names_of_the_contract),
    on_each_mpm!(changed_scripts_are_loaded_again),
    on_one_mpm!(a_script_may_ask_to_be_reloaded, OneProcess),
    on_each_mpm!(scripts_that_cannot_be_loaded_are_reported),
    on_each_mpm!(scripts_are_imported_at_start),
    on_each_mpm!(names_may_have_any_letters),
    on_one_mpm!(a_file_that_is_closed_with_an_error_is_used, Root("mount a file system")),
];

/// A script that answers with `text`.
fn script_that_answers(text: &str) -> String {
    format!(
        "import sys\nprint('loaded {text}')\ncount = 0\n\n\ndef application(environ, start_response):\n    \
         global count\n    count += 1\n    start_response('200 OK', [('X-Count', str(count)), \
         ('X-Name', __name__), ('X-File', __file__), ('X-Registered', str(sys.modules[__name__].__dict__ is globals())), \
         ('X-Time', type(__mtime__).__name__)])\n    return [b'{text}']\n"
    )
}

fn modules_have_the_names_of_the_contract(setup: Setup) {
    setup.app("/", "app.wsgi", &script_that_answers("one")).run(|server, cases| {
        let response = server.get("/");
        let path = server.path("apps/app.wsgi");
        cases.check("name", || {
            let name = response.header("X-Name").unwrap_or_default();
            let digest = name.strip_prefix("_mod_wsgi_").unwrap_or_default();
            assert_eq!(digest, md5(&path.display().to_string()));
        });
        cases.check("file", || assert_eq!(response.header("X-File"), path.to_str()));
        cases.check("registered", || assert_eq!(response.header("X-Registered"), Some("True")));
        cases.check("time", || assert_eq!(response.header("X-Time"), Some("int")));
        cases.check("logged", || {
            let log = server.log_tail();
            assert!(log.contains("Loading") && log.contains(&path.display().to_string()), "{log}");
            assert!(log.contains(server.mode().pick("in embedded mode", "daemon process 'e2e'")), "{log}");
        });
    });
}

fn changed_scripts_are_loaded_again(setup: Setup) {
    setup
        .children(1)
        .app("/still", "still.wsgi", &script_that_answers("first"))
        .app("/", "app.wsgi", &script_that_answers("first"))
        .conf("<Location /still>\nWSGIScriptReloading Off\n</Location>")
        .run(|server, cases| {
            cases.check("a module stays loaded", || {
                assert_eq!(server.get("/").expect(200), "first");
                let counts: Vec<_> = (0..20).map(|_| request_count(server, "/")).collect();
                assert!(counts.iter().any(|&count| count > 3), "{counts:?}");
            });
            cases.check("a change is seen", || {
                let mark = server.mark();
                // Directly after the other script's turn, which uses the same interpreter
                // machinery.
                server.write("apps/app.wsgi", script_that_answers("second"));
                for _ in 0..10 {
                    wait_until_served(server, "/", "second");
                }
                let log = server.wait_log(mark, "loaded second");
                // A daemon process is replaced instead.
                assert!(log.contains(server.mode().pick("eloading", "Loading")), "{log}");
            });
            cases.check("an older file is a change too", || {
                server.write("apps/app.wsgi", script_that_answers("third"));
                let past = std::time::SystemTime::UNIX_EPOCH + std::time::Duration::from_secs(1_000_000_000);
                let file = fs::File::options().write(true).open(server.path("apps/app.wsgi"));
                assert!(file.is_ok_and(|file| file.set_modified(past).is_ok()));
                for _ in 0..10 {
                    wait_until_served(server, "/", "third");
                }
            });
            cases.deviates_in(
                Mode::Daemon,
                "a broken version",
                "it takes the place of the one that works",
                || {
                    let mark = server.mark();
                    server.write("apps/app.wsgi", "this is no Python\n");
                    let status = server.mode().pick(500, 200);
                    assert_eq!(server.get("/").status, status);
                    assert_eq!(server.get("/").status, status);
                    server.wait_log(mark, "SyntaxError");
                },
            );
            cases.check("a version that is mended", || {
                server.write("apps/app.wsgi", script_that_answers("mended"));
                wait_until_served(server, "/", "mended");
            });
            check_a_script_without_reloading(server, cases);
        });
}

fn check_a_script_without_reloading(server: &Server, cases: &mut Cases<'_>) {
    cases.check("not if reloading is off", || {
        assert_eq!(server.get("/still").expect(200), "first");
        server.write("apps/still.wsgi", script_that_answers("second"));
        // A process that has it keeps it; prefork may start another one.
        if server.mpm().threaded() {
            assert_eq!(server.get("/still").expect(200), "first");
        }
    });
    cases.check("a graceful restart loads it", || {
        server.graceful();
        // An old child may still accept a last connection.
        wait_until("the new version", || (server.get("/still").expect(200) == "second").then_some(()));
    });
}

/// A changed script is what the next request gets. Of a daemon process that needs long for its
/// successor, it is one of the next.
#[track_caller]
fn wait_until_served(server: &Server, target: &str, expected: &str) {
    if server.mode() == Mode::Daemon {
        let found = || (server.get(target).expect(200) == expected).then_some(());
        return wait_until(expected, found);
    }
    assert_eq!(server.get(target).expect(200), expected);
}

fn request_count(server: &Server, target: &str) -> u32 {
    server.get(target).header("X-Count").and_then(|count| count.parse().ok()).unwrap_or_default()
}

fn a_script_may_ask_to_be_reloaded(setup: Setup) {
    let asking = format!(
        "{}\n\ndef reload_required(resource):\n    if count == 3:\n        raise KeyError('asked ' + resource)\n    return count == 5\n",
        script_that_answers("x")
    );
    setup.app("/", "app.wsgi", &asking).run(|server, cases| {
        cases.check("the count begins again", || {
            let mark = server.mark();
            let counts: Vec<_> = (0..7).map(|_| request_count(server, "/")).collect();
            assert_eq!(counts, [1, 2, 3, 4, 5, 1, 2]);
            server.wait_log(mark, "asked /");
        });
    });
}

fn with_failing_scripts(setup: Setup) -> Setup {
    setup
        .file("apps/syntax.wsgi", "def application(\n")
        .file("apps/nul.wsgi", "x = 1\0\n")
        .file("apps/raises.wsgi", "raise KeyError('while loading')\n")
        .file("apps/exits.wsgi", "import sys\nsys.exit(1)\n")
        .file("apps/imports.wsgi", "import no_such_module\n")
        .file("apps/empty.wsgi", "")
        .file("apps/number.wsgi", "application = 5\n")
        .file("apps/none.wsgi", "application = None\n")
        .file("apps/secret.wsgi", script_that_answers("secret"))
        .file("apps/cookie.wsgi", b"# -*- coding: latin-1 -*-\nTEXT = 'caf\xe9'\n\ndef application(e, s):\n    s('200 OK', [])\n    return [TEXT.encode('utf-8')]\n".as_slice())
        .file("apps/arguments.wsgi", "def application():\n    pass\n")
        .file("apps/good.wsgi", script_that_answers("good"))
        .file("apps/folder.wsgi/keep", "")
        .conf("WSGIScriptAlias / @ROOT@/apps/")
}

fn scripts_that_cannot_be_loaded_are_reported(setup: Setup) {
    with_failing_scripts(setup).run(|server, cases| {
        let secret = fs::set_permissions(server.path("apps/secret.wsgi"), fs::Permissions::from_mode(0o600));
        assert!(secret.is_ok());
        for (target, status, code, text) in [
            ("/syntax.wsgi", 500, "WSGI0105", "SyntaxError"),
            ("/raises.wsgi", 500, "WSGI0109", "while loading"),
            ("/exits.wsgi", 500, "WSGI0107", "SystemExit"),
            ("/imports.wsgi", 500, "WSGI0109", "no_such_module"),
            ("/empty.wsgi", server.mode().pick(404, 500), "WSGI0089", "application"),
            ("/number.wsgi", 500, "WSGI0174", "TypeError"),
            ("/none.wsgi", 500, "WSGI0174", "TypeError"),
            ("/arguments.wsgi", 500, "WSGI0174", "TypeError"),
            ("/missing.wsgi", 404, "WSGI0135", "missing.wsgi"),
            ("/folder.wsgi", 403, "WSGI0136", "folder.wsgi"),
        ] {
            cases.check(target, || {
                let mark = server.mark();
                assert_eq!(server.get(target).status, status);
                let log = server.wait_log(mark, code);
                assert!(log.contains(text), "{text} not in {log}");
                // It is tried again, not remembered as failed.
                assert_eq!(server.get(target).status, status);
            });
        }
        cases.deviates("/nul.wsgi", "a script is cut off at a NUL, and what is before it is run", || {
            let mark = server.mark();
            assert_eq!(server.get("/nul.wsgi").status, 500);
            server.wait_log(mark, "WSGI0105");
        });
        cases.check("an encoding cookie", || {
            assert_eq!(server.get("/cookie.wsgi").expect(200), "caf\u{e9}");
        });
        if nix::unistd::geteuid().is_root() {
            cases.check("/secret.wsgi", || {
                let mark = server.mark();
                assert_eq!(server.get("/secret.wsgi").status, 500);
                let log = server.wait_log(mark, "WSGI0105");
                assert!(log.contains("ermission"), "{log}");
            });
        }
        cases.check("a script replaced by a directory", || {
            assert_eq!(server.get("/good.wsgi").expect(200), "good");
            let path = server.path("apps/good.wsgi");
            assert!(fs::remove_file(&path).and_then(|()| fs::create_dir(&path)).is_ok());
            assert_eq!(server.get("/good.wsgi").status, 403);
            assert!(fs::remove_dir(&path).is_ok());
            assert_eq!(server.get("/good.wsgi").status, 404);
            server.write("apps/good.wsgi", script_that_answers("good again"));
            wait_until_served(server, "/good.wsgi", "good again");
        });
        cases.check("the processes are unharmed", || {
            let log = server.log_tail();
            assert!(!log.contains("exit signal"), "{log}");
        });
    });
}

fn scripts_are_imported_at_start(setup: Setup) {
    setup
        .app("/", "app.wsgi", &script_that_answers("imported"))
        .file("apps/broken.wsgi", "raise KeyError('broken import')\n")
        .file("apps/exits.wsgi", "raise SystemExit\n")
        .file("apps/preloaded.wsgi", script_that_answers("preloaded"))
        .conf(
            "WSGIApplicationGroup %{GLOBAL}\n\
             WSGIImportScript @ROOT@/apps/broken.wsgi process-group=@GROUP@ application-group=%{GLOBAL}\n\
             WSGIImportScript @ROOT@/apps/exits.wsgi process-group=@GROUP@ application-group=other\n\
             WSGIImportScript @ROOT@/apps/missing.wsgi process-group=@GROUP@ application-group=other\n\
             WSGIImportScript @ROOT@/apps/app.wsgi process-group=@GROUP@ application-group=%{GLOBAL}\n\
             WSGIScriptAlias /preloaded @ROOT@/apps/preloaded.wsgi process-group=@GROUP@ application-group=named\n",
        )
        .run(|server, cases| {
            let start = e2e::LogMark::default();
            for text in [
                "loaded imported",
                "loaded preloaded",
                "WSGI0110",
                "WSGI0174: ",
                "KeyError exception raised processing WSGI script '",
                "broken import",
                "WSGI0108",
                "WSGI0106",
            ] {
                cases.check(text, || drop(server.wait_log(start, text)));
            }
            cases.check("a request uses what was imported", || {
                let mark = server.mark();
                let response = server.get("/");
                assert_eq!(response.expect(200), "imported");
                assert!(!server.log_since(mark).contains("eloading"));
            });
        });
}

/// Shows its names; what is written to `wsgi.errors` and raised has them, too.
const NAMED: &str = r#"
import os


def größe(environ, start_response):
    print("erzählt", file=environ["wsgi.errors"])
    lines = [
        f"file\t{__file__}",
        f"filename\t{environ['SCRIPT_FILENAME']}",
        f"callable\t{environ['mod_wsgi.callable_object'].encode('latin-1').decode()}",
        f"process-group\t{environ['mod_wsgi.process_group'].encode('latin-1').decode()}",
        f"application-group\t{environ['mod_wsgi.application_group'].encode('latin-1').decode()}",
        f"pid\t{os.getpid()}",
    ]
    start_response("200 OK", [("Content-Type", "text/plain; charset=utf-8")])
    return ["\n".join(lines).encode()]
"#;

fn names_may_have_any_letters(setup: Setup) {
    let mode = setup.mode();
    let script = "apps/mit Größe/schöne.wsgi";
    let mut setup = setup.own_groups().file(script, NAMED).children(1);
    if mode == Mode::Daemon {
        setup = setup.conf(
            "WSGIDaemonProcess grüppe threads=2 locale=C.UTF-8 lang=C.UTF-8 display-name=%{GROUP}\nWSGIProcessGroup grüppe",
        );
    }
    let names = "WSGIApplicationGroup ämter\nWSGICallableObject größe\n";
    setup.conf(&format!("WSGIScriptAlias / \"@ROOT@/{script}\"\n{names}")).run(|server, cases| {
        let path = server.path(script).display().to_string();
        let expected = [
            ("file", path.as_str()),
            ("filename", path.as_str()),
            ("callable", "größe"),
            ("process-group", mode.pick("", "grüppe")),
            ("application-group", "ämter"),
        ];
        let check = |times: usize| {
            for _ in 0..times {
                let response = server.get("/");
                for (name, value) in expected {
                    assert_eq!(response.value(name).as_deref(), Some(value), "{name}");
                }
            }
        };
        // More than there are threads.
        cases.check("again and again", || check(10));
        cases.check("when it is loaded again", || {
            let (mark, before) = (server.mark(), server.get("/").value("pid"));
            server.write(script, NAMED);
            if mode == Mode::Daemon {
                wait_until("a successor", || (server.get("/").value("pid") != before).then_some(()));
            } else {
                assert_eq!(server.get("/").status, 200);
                server.wait_log(mark, "Reloading");
            }
            check(10);
        });
        cases.check("in the log", || {
            let log = server.log_since(Default::default());
            for text in ["erzählt", "schöne.wsgi", "ämter"] {
                // Apache escapes what is not ASCII.
                let escaped: String = text
                    .bytes()
                    .map(|byte| {
                        if byte.is_ascii() { char::from(byte).to_string() } else { format!("\\x{byte:02x}") }
                    })
                    .collect();
                assert!(log.contains(text) || log.contains(&escaped), "no {text} in {log}");
            }
        });
    });
}

/// File systems of the network report some errors only then.
fn a_file_that_is_closed_with_an_error_is_used(setup: Setup) {
    let Some(mount) = FuseMount::failing_on_close(&script_that_answers("late")) else {
        return skipped("there is no FUSE here");
    };
    let file = mount.file();
    let group = setup.mode().pick("%{GLOBAL}", "e2e");
    let lines = format!(
        "WSGIScriptAlias /late {0}\nWSGIApplicationGroup %{{GLOBAL}}\n\
         WSGIImportScript {0} process-group={group} application-group=imported",
        file.display()
    );
    setup.conf(&lines).run(|server, cases| {
        for (name, code) in [("at start", "WSGI0196: "), ("of a request", "WSGI0195: ")] {
            cases.check(name, || {
                assert_eq!(server.get("/late").expect(200), "late");
                let log = server.wait_log(LogMark::default(), code);
                let line = log.lines().find(|line| line.contains(code)).unwrap_or_default();
                assert!(line.contains("[wsgi:warn]"), "{line}");
            });
        }
    });
}
