//! Interpreters: which one a request runs in, how they are set up, and how they end.

use std::collections::BTreeSet;
use std::path::Path;

use e2e::Needs::{Embedded, OneProcess, Ours, Python, Threads};
use e2e::{Interpreter, LogMark, Mode, Response, Server, Setup, Test, on_each_mpm, on_one_mpm};

pub(crate) const TESTS: &[Test] = &[
    on_each_mpm!(each_request_runs_in_the_interpreter_it_names),
    on_one_mpm!(thread_locals_last_between_requests),
    on_one_mpm!(the_server_configures_python),
    on_one_mpm!(a_random_seed_is_random),
    on_each_mpm!(the_injected_modules_describe_the_server),
    on_each_mpm!(
        the_number_of_processes_is_the_number_in_use,
        Threads,
        Embedded("daemon processes are counted by their group")
    ),
    on_each_mpm!(interpreters_end_with_the_process),
    on_each_mpm!(
        an_interpreter_can_have_its_own_gil,
        Python((3, 12), "an interpreter with a GIL of its own")
    ),
    on_one_mpm!(packages_share_the_name_of_the_module),
    on_one_mpm!(a_module_that_refuses_sub_interpreters_is_explained),
    on_each_mpm!(an_unusable_home_is_reported),
    on_one_mpm!(embedded_mode_can_be_forbidden, Embedded("that it can be forbidden")),
    on_one_mpm!(
        a_fork_beside_other_interpreters_ends,
        OneProcess,
        Ours("care for copies in which CPython hangs")
    ),
];

/// Imports the module that the query names.
const IMPORTING: &str = r#"
import importlib, os, site, sys
import mod_wsgi

site.addsitedir(os.path.join(os.path.dirname(__file__), "late"))


def application(environ, start_response):
    module = importlib.import_module(environ["QUERY_STRING"])
    assert sys.modules["mod_wsgi"] is mod_wsgi and mod_wsgi.version
    start_response("200 OK", [("Content-Type", "text/plain")])
    return [module.__name__.encode()]
"#;

const APP: &str = include_str!("../../apps/interpreter.wsgi");

/// `/main`, `/one` and `/two` run the same script in three interpreters.
fn with_three_groups(setup: Setup) -> Setup {
    setup.file("apps/app.wsgi", APP).conf(
        "WSGIScriptAlias /main @ROOT@/apps/app.wsgi application-group=%{GLOBAL}\n\
         WSGIScriptAlias /one @ROOT@/apps/app.wsgi application-group=one\n\
         WSGIScriptAlias /two @ROOT@/apps/app.wsgi application-group=two\n",
    )
}

fn each_request_runs_in_the_interpreter_it_names(setup: Setup) {
    with_three_groups(setup).run(|server, cases| {
        let rounds = || {
            for _ in 0..15 {
                for (url, group) in [("/one", "one"), ("/main", ""), ("/two", "two")] {
                    let response = server.get(&format!("{url}/group"));
                    for name in ["environ", "module", "shared"] {
                        assert_eq!(response.value(name).as_deref(), Some(group), "{name} of {url}");
                    }
                }
            }
        };
        if server.mpm().threaded() {
            cases.ours_only(
                "sub-interpreter first",
                "a worker thread that entered a sub-interpreter first runs requests of the main one there",
                rounds,
            );
        } else {
            cases.check("sub-interpreter first", rounds);
        }
        cases.check("threads", || {
            let response = server.get("/one/group");
            assert_eq!(response.value("main").as_deref(), Some("MainThread"));
        });
        cases.check("concurrent requests", || {
            std::thread::scope(|scope| {
                for (url, group) in [("/one", "one"), ("/two", "two"), ("/one", "one"), ("/two", "two")] {
                    scope.spawn(move || {
                        for _ in 0..20 {
                            let response = server.get(&format!("{url}/group"));
                            assert_eq!(response.value("module").as_deref(), Some(group));
                        }
                    });
                }
            });
        });
    });
}

fn thread_locals_last_between_requests(setup: Setup) {
    with_three_groups(setup).run(|server, cases| {
        cases.check("between the requests of a thread", || {
            let highest = (0..30).map(|_| number(&server.get("/one/group"), "local")).max();
            assert!(highest.is_some_and(|highest| highest > 1), "{highest:?}");
        });
    });
}

fn number(response: &Response, name: &str) -> u64 {
    response.value(name).and_then(|value| value.parse().ok()).unwrap_or_default()
}

fn the_server_configures_python(setup: Setup) {
    with_three_groups(setup)
        .group("python-path=@ROOT@/first:@ROOT@/second")
        .file("first/on_the_path.py", "VALUE = 'first'\n")
        .file("second/on_the_path.py", "VALUE = 'second'\n")
        .file("second/more.pth", "@ROOT@/third\n")
        .file("third/keep", "")
        .file("special/on_the_path.py", "VALUE = 'special'\n")
        .conf(
            "WSGIPythonPath @ROOT@/first:@ROOT@/second\nWSGIPythonOptimize 1\nWSGIDontWriteBytecode On\n\
             WSGIPythonHashSeed 42\nWSGIPythonWarnings ignore::UserWarning\nWSGIPythonWarnings default\n\
             WSGISwitchInterval 0.025\n\
             <WSGIInterpreterOptions application-group=two>\nWSGIPythonPath @ROOT@/special\n\
             WSGIRestrictStdout On\n</WSGIInterpreterOptions>\n",
        )
        .run(|server, cases| {
            let hash = run_python("print(hash('e2e'))", "42");
            for url in ["/main", "/one"] {
                let response = server.get(&format!("{url}/state"));
                for (name, value) in [
                    ("optimize", "1"),
                    ("bytecode", "True"),
                    ("hash", hash.as_str()),
                    ("warnoptions", "['ignore::UserWarning', 'default']"),
                    ("interval", "0.0250"),
                    ("own-directory", "False"),
                    ("argv", "['mod_wsgi']"),
                    ("main-module", "__main__"),
                    ("daemon-thread", "None"),
                    ("thread", "None"),
                    ("print", "None"),
                    ("module-on-path", "'first'"),
                ] {
                    cases.check(&format!("{url} {name}"), || {
                        assert_eq!(response.value(name).as_deref(), Some(value));
                    });
                }
                cases.check(&format!("{url} path"), || {
                    let path = response.value("path").unwrap_or_default();
                    let root = server.root().display();
                    let expected = format!("['{root}/first', '{root}/second', '{root}/third', ");
                    assert!(path.starts_with(&expected), "{path}");
                });
            }
            let response = server.get("/two/state");
            for (name, value) in
                [("print", "OSError"), ("module-on-path", "'special'"), ("interval", "0.0250")]
            {
                cases.check(&format!("/two {name}"), || {
                    assert_eq!(response.value(name).as_deref(), Some(value))
                });
            }
            cases.check("/two path", || {
                let path = response.value("path").unwrap_or_default();
                let root = server.root().display();
                assert!(path.starts_with(&format!("['{root}/special', '{root}/first', ")), "{path}");
            });
        });
}

fn run_python(script: &str, seed: &str) -> String {
    let mut command = std::process::Command::new(Interpreter::current().executable);
    let output = command.args(["-c", script]).env("PYTHONHASHSEED", seed).output();
    output.map(|output| String::from_utf8_lossy(&output.stdout).trim().to_owned()).unwrap_or_default()
}

fn a_random_seed_is_random(setup: Setup) {
    with_three_groups(setup).conf("WSGIPythonHashSeed random").run(|server, cases| {
        cases.deviates("random", "D5: WSGIPythonHashSeed random turns randomisation off", || {
            let hash = |server: &Server| server.get("/main/state").value("hash");
            let mut seen = BTreeSet::from([hash(server)]);
            server.restart();
            seen.insert(hash(server));
            assert_eq!(seen.len(), 2, "{seen:?}");
        });
    });
}

fn the_injected_modules_describe_the_server(setup: Setup) {
    let (mpm, mode) = (setup.mpm(), setup.mode());
    with_three_groups(setup).run(|server, cases| {
        for url in ["/main", "/one"] {
            let response = server.get(&format!("{url}/module"));
            // Of the group; the module `apache` has Apache's.
            let (processes, threads) =
                mode.pick(if mpm.threaded() { ("1", "6") } else { ("6", "1") }, ("1", "6"));
            let same = mode == Mode::Embedded || mpm.threaded();
            let name = format!("'{}'", mpm.name());
            for (name, value) in [
                ("version", "(6, 1, 1)"),
                ("process_group", mode.pick("''", "'e2e'")),
                ("processes", processes),
                ("threads", threads),
                (
                    "timeout",
                    "(<class 'mod_wsgi.RequestTimeout'>, <class 'BaseException'>, <class 'object'>) mod_wsgi",
                ),
                ("wrapper", "True"),
                ("file", "AttributeError"),
                ("spec", "None None"),
                ("callbacks", "list list list"),
                ("active", "True"),
                ("data", "dict"),
                ("outside", "RuntimeError"),
                ("subscribe", "True True"),
                ("subscribe-two", "TypeError"),
                ("subscribe-none", "TypeError"),
                ("metrics", "None None None"),
                ("apache-version", "(2, 4) 3"),
                ("apache-mpm", &name),
                ("apache-description", "Apache"),
                ("apache-built", "str"),
                ("apache-limits", if same { "True True" } else { "False False" }),
            ] {
                cases.check(&format!("{url} {name}"), || {
                    assert_eq!(response.value(name).as_deref(), Some(value));
                });
            }
        }
    });
}

fn the_number_of_processes_is_the_number_in_use(setup: Setup) {
    // Prefork names its limit, whichever is asked for.
    // One child is started, and three may be.
    let setup = with_three_groups(setup).children(1).conf("MaxRequestWorkers 18\nMaxSpareThreads 18");
    setup.run(|server, cases| {
        let response = server.get("/main/module");
        for (name, value) in [("processes", "1"), ("apache-limits", "True True"), ("multiprocess", "True")] {
            cases.check(name, || assert_eq!(response.value(name).as_deref(), Some(value)));
        }
    });
}

fn interpreters_end_with_the_process(setup: Setup) {
    for destroy in [true, false] {
        let line = if destroy { "WSGIDestroyInterpreter On" } else { "WSGIDestroyInterpreter Off" };
        let mut server = with_three_groups(setup.clone()).children(1).conf(line).start();
        for url in ["/main", "/one"] {
            assert_eq!(server.get(&format!("{url}/group")).status, 200);
        }
        assert!(server.stop().success());
        // With prefork, the two requests may have been in two processes; each tells of its own. Lines of
        // a daemon process come by way of another one.
        for group in ["''", "'one'"] {
            let reason = server.mode().pick("''", "'shutdown_signal'");
            server.wait_log(LogMark::default(), &format!("process_stopping {reason} of {group}"));
            if destroy {
                server.wait_log(LogMark::default(), &format!("atexit of {group}"));
            }
        }
        let log = server.log_since(LogMark::default());
        assert_eq!(log.contains("atexit of"), destroy, "{log}");
        for text in ["exit signal", "Exception ignored", "Traceback"] {
            assert!(!log.contains(text), "{text} in {log}");
        }
    }
}

fn an_interpreter_can_have_its_own_gil(setup: Setup) {
    with_three_groups(setup)
        .conf(
            "<WSGIInterpreterOptions application-group=one>\nWSGIPerInterpreterGIL On\n\
             WSGISwitchInterval 0.011\n</WSGIInterpreterOptions>",
        )
        .run(|server, cases| {
            own_gil_cases(server, cases);
        });
}

/// Checks the differences of `/one`, which has its own GIL, from `/main` and `/two`.
pub(crate) fn own_gil_cases(server: &Server, cases: &mut e2e::Cases<'_>) {
    for (url, daemon) in [("/one", "RuntimeError"), ("/main", "None"), ("/two", "None")] {
        cases.check(url, || {
            let response = server.get(&format!("{url}/state"));
            assert_eq!(response.value("daemon-thread").as_deref(), Some(daemon));
            assert_eq!(response.value("thread").as_deref(), Some("None"));
        });
    }
    cases.check("/one does not fork", || {
        // Nor can /main while /one lives: CPython 3.12 hangs then, and 3.13 aborts the new process.
        assert_eq!(server.get("/one/fork").value("fork").as_deref(), Some("RuntimeError"));
    });
    cases.check("its own switch interval", || {
        assert_eq!(server.get("/one/state").value("interval").as_deref(), Some("0.0110"));
        assert_eq!(server.get("/two/state").value("interval").as_deref(), Some("0.0050"));
    });
}

/// Forks, and says how the copy has ended; kills one that does not.
const FORKING: &str = "
import os, signal, time

def application(environ, start_response):
    start_response('200 OK', [('Content-Type', 'text/plain')])
    if environ['PATH_INFO'] != '/fork':
        return [b'no fork']
    copy = os.fork()
    if copy == 0:
        os._exit(7)
    end = time.monotonic() + 20
    while time.monotonic() < end:
        pid, status = os.waitpid(copy, os.WNOHANG)
        if pid:
            return [b'%d' % os.waitstatus_to_exitcode(status)]
        time.sleep(0.01)
    os.kill(copy, signal.SIGKILL)
    os.waitpid(copy, 0)
    return [b'it hung']
";

fn a_fork_beside_other_interpreters_ends(setup: Setup) {
    let aliases = "WSGIScriptAlias /main @ROOT@/apps/app.wsgi application-group=%{GLOBAL}\n\
                   WSGIScriptAlias /other @ROOT@/apps/app.wsgi application-group=other\n";
    setup.file("apps/app.wsgi", FORKING).conf(aliases).run(|server, cases| {
        let warning = "in which there are several interpreters";
        cases.check("alone it goes on", || {
            assert_eq!(server.get("/main/fork").expect(200), "7");
            assert!(!server.log_since(LogMark::default()).contains(warning));
        });
        cases.check("beside another one it ends, and the log says so", || {
            assert_eq!(server.get("/other/none").expect(200), "no fork");
            let mark = server.mark();
            assert_eq!(server.get("/main/fork").expect(200), "255");
            let log = server.wait_log(mark, warning);
            assert_eq!(server.get("/main/fork").expect(200), "255");
            assert_eq!(log.matches(warning).count(), 1, "{log}");
        });
    });
}

fn a_module_that_refuses_sub_interpreters_is_explained(setup: Setup) {
    // The words are CPython's; a real module that refuses needs 3.12 and is tested with every
    // version.
    let app = "raise ImportError('module _example does not support loading in subinterpreters')\n";
    setup.app("/", "app.wsgi", app).run(|server, cases| {
        cases.deviates("the remedy", "the log names no remedy", || {
            let mark = server.mark();
            assert_eq!(server.get("/").status, 500);
            let log = server.wait_log(mark, "_example");
            assert!(log.contains("WSGIApplicationGroup %{GLOBAL}"), "{log}");
        });
    });
}

fn an_unusable_home_is_reported(setup: Setup) {
    with_three_groups(setup)
        .python_home(Some(std::path::Path::new("/nonexistent/python")))
        .file("htdocs/static.txt", "static\n")
        .run(|server, cases| {
            let (status, code) = server.mode().pick((500, "WSGI0210"), (503, "WSGI0028"));
            let fail = || {
                let mark = LogMark::default();
                for url in ["/main", "/one", "/main"] {
                    assert_eq!(server.get(&format!("{url}/group")).status, status);
                }
                let log = server.wait_log(mark, code);
                assert!(log.contains("/nonexistent/python"), "{log}");
            };
            if server.mode() == Mode::Daemon {
                let reason = "W24: the daemon process crashes, again and again, and requests wait for it";
                cases.ours_only("requests to Python fail", reason, fail);
            } else {
                cases.check("requests to Python fail", fail);
            }
            cases.check("other requests do not", || {
                assert_eq!(server.get("/static.txt").expect(200), "static\n");
                assert!(!server.log_tail().contains("exit signal"));
            });
        });
}

fn embedded_mode_can_be_forbidden(setup: Setup) {
    with_three_groups(setup).conf("WSGIRestrictEmbedded On").run(|server, cases| {
        cases.check("500", || {
            let mark = server.mark();
            assert_eq!(server.get("/main/group").status, 500);
            server.wait_log(mark, "WSGI0143");
        });
        cases.check("Python is not loaded", || {
            for child in server.children() {
                let maps = std::fs::read_to_string(format!("/proc/{child}/maps")).unwrap_or_default();
                let loaded = maps.contains("mod_wsgi_host") || maps.contains("lib-dynload");
                assert!(!loaded, "{maps}");
            }
        });
    });
}

fn packages_share_the_name_of_the_module(setup: Setup) {
    let requirements = Path::new(env!("CARGO_MANIFEST_DIR")).join("requirements-telemetry.txt");
    let environment = Interpreter::current().environment(&requirements);
    let extended = "from pkgutil import extend_path\n__path__ = extend_path(__path__, __name__)\n";
    setup
        .python_home(Some(&environment))
        .app("/", "app.wsgi", IMPORTING)
        .file("apps/late/mod_wsgi/__init__.py", extended)
        .file("apps/late/mod_wsgi/late.py", "")
        .run(|server, cases| {
            let import = |module: &str| {
                assert_eq!(server.get(&format!("/?{module}")).expect(200), module);
            };
            cases.check("a package of the environment", || import("mod_wsgi.telemetry.wire"));
            if server.target().is_reference() {
                return;
            }
            cases.check("what belongs to the module", || import("mod_wsgi.express.reloader"));
            cases.check("an application of Django", || import("mod_wsgi.server"));
            cases.check("what the application has made known", || import("mod_wsgi.late"));
        });
}
