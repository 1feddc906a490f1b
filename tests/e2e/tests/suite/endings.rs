//! Ends of processes whose applications make that difficult, on every Python that has a host.

use std::panic::{AssertUnwindSafe, catch_unwind};

use e2e::{Interpreter, LogMark, Mode, Mpm, Setup, Target, on_each_mpm, wait_until};

const APP: &str = include_str!("../../apps/threads.wsgi");

/// What is logged of a process that had to be ended by force, or has crashed.
const WRONG: [&str; 5] = [
    "exit signal",
    "did not end in time",
    "the shutdown timeout is over",
    "has not ended within",
    "Fatal Python",
];

/// Runs a check with each Python and each kind of MPM.
fn on_each_python(check: impl Fn(Setup)) {
    if Target::current().lacks("limits for the end of a process") {
        return;
    }
    let mut failed = Vec::new();
    for python in Interpreter::with_hosts() {
        for mpm in [Mpm::Prefork, Mpm::Event] {
            let name = format!("{} {}", python.executable.display(), mpm.name());
            println!("=== {name}");
            let setup =
                Setup::new(mpm).children(1).python_home(Some(&python.home())).file("apps/app.wsgi", APP);
            let setup = setup.conf(
                "WSGIScriptAlias /main @ROOT@/apps/app.wsgi application-group=%{GLOBAL}\n\
                 WSGIScriptAlias /sub @ROOT@/apps/app.wsgi application-group=sub\n",
            );
            if catch_unwind(AssertUnwindSafe(|| check(setup))).is_err() {
                failed.push(name);
            }
        }
    }
    assert!(failed.is_empty(), "failed: {failed:#?}");
}

/// Waits for the end of the processes, which have been told to end.
fn wait_ended(pids: &[String]) {
    wait_until("the processes end", || {
        let is_left = |pid: &String| std::fs::exists(format!("/proc/{pid}/exe")).unwrap_or(true);
        (!pids.iter().any(is_left)).then_some(())
    });
}

#[test]
fn threads_that_do_not_end_do_not_keep_a_process() {
    on_each_python(|setup| {
        for url in ["/main", "/sub"] {
            let mut server = setup.clone().start();
            for how in ["graceful", "stop"] {
                let mark = server.mark();
                let pid = server.get(&format!("{url}?threads")).expect(200);
                if how == "graceful" {
                    server.graceful();
                } else {
                    assert!(server.stop().success());
                }
                wait_ended(&[pid]);
                // Lines of a process come by way of another one.
                for text in ["runs exit functions", "'never-ends' (not a daemon)", "in wait_for_ever"] {
                    server.wait_log(mark, text);
                }
                let log = server.log_since(mark);
                assert!(!WRONG.iter().any(|text| log.contains(text)), "{how}: {log}");
            }
        }
    });
}

#[test]
fn processes_end_while_memory_is_traced() {
    on_each_python(|setup| {
        let mut server = setup.start();
        // Several threads enter both interpreters.
        std::thread::scope(|scope| {
            for _ in 0..6 {
                scope.spawn(|| {
                    for url in ["/main", "/sub", "/main", "/sub"] {
                        assert_eq!(server.get(url).status, 200);
                    }
                });
            }
        });
        let pids: Vec<_> = ["/main?trace", "/sub?trace", "/main", "/sub"]
            .iter()
            .map(|target| server.get(target).expect(200))
            .collect();
        server.graceful();
        wait_ended(&pids);
        assert_eq!(server.get("/sub?trace").status, 200);
        assert!(server.stop().success());
        let log = server.wait_log(LogMark::default(), "runs exit functions");
        assert!(!WRONG.iter().any(|text| log.contains(text)), "{log}");
    });
}

#[test]
fn a_request_within_a_request_leaves_the_outer_one_as_it_was() {
    let app = "import ctypes, mod_wsgi, sys\n\
        callback = ctypes.CFUNCTYPE(ctypes.c_int)(lambda: 7)\n\
        def application(environ, start_response):\n\
        \x20   me = environ['PATH_INFO']\n\
        \x20   mod_wsgi.request_data()['me'] = me\n\
        \x20   write = start_response('200 OK', [('Content-Type', 'text/html')])\n\
        \x20   if me == '/outer':\n\
        \x20       write(b'<!--#include virtual=\"' + environ['QUERY_STRING'].encode() + b'\" -->')\n\
        \x20       write(b' ' * 20000)\n\
        \x20   print('printed by', me)\n\
        \x20   return [f' {callback()} {me} {mod_wsgi.request_data()[\"me\"]}'.encode()]\n";
    on_each_mpm(|setup| {
        if setup.mode() == Mode::Embedded && Target::current().lacks("care for nested requests") {
            return;
        }
        let setup = setup.modules(&["include"]).file("apps/app.wsgi", app).conf(
            "WSGIScriptAlias /main @ROOT@/apps/app.wsgi application-group=%{GLOBAL}\n\
             WSGIScriptAlias /sub @ROOT@/apps/app.wsgi application-group=sub\n\
             <Location />\nOptions +Includes\n</Location>\n\
             <LocationMatch /outer>\nSetOutputFilter INCLUDES\n</LocationMatch>\n",
        );
        setup.run(|server, cases| {
            for (outer, inner) in [("/main", "/main"), ("/main", "/sub"), ("/sub", "/main"), ("/sub", "/sub")]
            {
                cases.check(&format!("{inner} in {outer}"), || {
                    for _ in 0..10 {
                        let mark = server.mark();
                        let text = server.get(&format!("{outer}/outer?{inner}/inner")).expect(200);
                        let words: Vec<_> = text.split_whitespace().collect();
                        assert_eq!(words, ["7", "/inner", "/inner", "7", "/outer", "/outer"]);
                        server.wait_log(mark, "printed by /inner");
                        let log = server.wait_log(mark, "printed by /outer");
                        let lines = log.lines().filter(|line| line.contains("printed by"));
                        assert!(lines.clone().all(|line| line.contains("[script ")), "{log}");
                    }
                });
            }
        });
    });
}
