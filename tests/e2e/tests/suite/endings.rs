//! Ends of processes whose applications make that difficult, on every Python that has a host.

use std::panic::{AssertUnwindSafe, catch_unwind};

use e2e::Needs::{OnlyMpms, Ours};
use e2e::{Interpreter, LogMark, Mode, Mpm, Needs, Server, Setup, Target, Test, on_each_mpm, wait_until};

pub(crate) const TESTS: &[Test] = &[
    on_each_mpm!(threads_that_do_not_end_do_not_keep_a_process, Ours(LIMITS), PREFORK_AND_EVENT),
    on_each_mpm!(processes_end_while_memory_is_traced, Ours(LIMITS), PREFORK_AND_EVENT),
    on_each_mpm!(processes_end_after_an_interpreter_with_its_own_gil, Ours(LIMITS), PREFORK_AND_EVENT),
    on_each_mpm!(a_request_within_a_request_leaves_the_outer_one_as_it_was),
    on_each_mpm!(
        a_page_for_a_failure_leaves_the_request_that_failed_as_it_was,
        Ours("care for nested requests"),
        PREFORK_AND_EVENT
    ),
];

const LIMITS: &str = "limits for the end of a process";

/// Each is run on every Python; worker's children end as event's do.
const PREFORK_AND_EVENT: Needs = OnlyMpms(&[Mpm::Prefork, Mpm::Event]);

const APP: &str = include_str!("../../apps/threads.wsgi");

/// The texts that are logged about a process that had to be ended by force, or has crashed.
const WRONG: [&str; 5] = [
    "exit signal",
    "did not end in time",
    "the shutdown timeout is over",
    "has not ended within",
    "Fatal Python",
];

/// One application in two interpreters.
const MAIN_AND_SUB: &str = "WSGIScriptAlias /main @ROOT@/apps/app.wsgi application-group=%{GLOBAL}\n\
    WSGIScriptAlias /sub @ROOT@/apps/app.wsgi application-group=sub\n";

/// Runs a check with each Python.
fn on_each_python(setup: &Setup, check: impl Fn(Setup)) {
    let mut failed = Vec::new();
    for python in Interpreter::with_hosts() {
        let name = python.executable.display().to_string();
        e2e::report(format_args!("=== {name}"));
        let setup = setup.clone().children(1).python_home(Some(&python.home())).file("apps/app.wsgi", APP);
        let setup = setup.conf(MAIN_AND_SUB);
        if catch_unwind(AssertUnwindSafe(|| check(setup))).is_err() {
            failed.push(name);
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

fn threads_that_do_not_end_do_not_keep_a_process(setup: Setup) {
    on_each_python(&setup, |setup| {
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

fn processes_end_while_memory_is_traced(setup: Setup) {
    on_each_python(&setup, |setup| {
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

/// Uses extension modules whose functions take keywords, which CPython remembers for all
/// interpreters.
const KEYWORDS: &str = "import atexit, bisect, mod_wsgi, os, zlib\n\
    group = mod_wsgi.application_group\n\
    atexit.register(lambda: print(f\"exit function of '{group}'\", end=''))\n\
    mod_wsgi.subscribe_shutdown(lambda name, **event: print(f\"{name} of '{group}'\"))\n\
    def application(environ, start_response):\n\
    \x20   zlib.decompress(zlib.compress(b'data', level=1), wbits=15, bufsize=16)\n\
    \x20   bisect.bisect_left([1, 2], 1, lo=0, hi=2, key=None)\n\
    \x20   start_response('200 OK', [('Content-Type', 'text/plain')])\n\
    \x20   return [str(os.getpid()).encode()]\n";

fn processes_end_after_an_interpreter_with_its_own_gil(setup: Setup) {
    on_each_python(&setup, |setup| {
        let setup = setup.file("apps/app.wsgi", KEYWORDS).conf(
            "<WSGIInterpreterOptions application-group=sub>\nWSGIPerInterpreterGIL On\n</WSGIInterpreterOptions>",
        );
        let setup = if setup.mpm() == Mpm::Prefork { setup.conf("MaxRequestWorkers 1") } else { setup };
        let mut server = setup.start();
        for how in ["graceful", "stop"] {
            let mark = server.mark();
            // The interpreter with its own GIL is the first to use the modules.
            let pid = server.get("/sub").expect(200);
            assert_eq!(server.get("/main").expect(200), pid);
            if how == "graceful" {
                server.graceful();
            } else {
                assert!(server.stop().success());
            }
            wait_ended(&[pid]);
            for group in ["", "sub"] {
                server.wait_log(mark, &format!("process_stopping of '{group}'"));
                server.wait_log(mark, &format!("exit function of '{group}'"));
            }
            let log = server.log_since(mark);
            assert!(!WRONG.iter().any(|text| log.contains(text)), "{how}: {log}");
        }
    });
}

/// Includes another request's response, and uses a callback of the interpreter.
const NESTED: &str = "import ctypes, mod_wsgi, sys, tracemalloc\n\
    callback = ctypes.CFUNCTYPE(ctypes.c_int)(lambda: 7)\n\
    def application(environ, start_response):\n\
    \x20   me = environ['PATH_INFO']\n\
    \x20   mod_wsgi.request_data()['me'] = me\n\
    \x20   write = start_response('200 OK', [('Content-Type', 'text/html')])\n\
    \x20   if me == '/trace':\n\
    \x20       tracemalloc.start()\n\
    \x20   if me == '/outer':\n\
    \x20       write(b'<!--#include virtual=\"' + environ['QUERY_STRING'].encode() + b'\" -->')\n\
    \x20       write(b' ' * 20000)\n\
    \x20   print('printed by', me)\n\
    \x20   return [f' {callback()} {me} {mod_wsgi.request_data()[\"me\"]}'.encode()]\n";

fn a_request_within_a_request_leaves_the_outer_one_as_it_was(setup: Setup) {
    let has_care = !Target::current().lacks("care for nested requests");
    if setup.mode() == Mode::Embedded && !has_care {
        return;
    }
    let setup = setup.modules(&["include"]).conf(
        "<Location />\nOptions +Includes\n</Location>\n\
         <LocationMatch /outer>\nSetOutputFilter INCLUDES\n</LocationMatch>\n",
    );
    if has_care {
        on_each_python(&setup, |setup| check_nested(setup.file("apps/app.wsgi", NESTED), &[false, true]));
    } else {
        check_nested(setup.file("apps/app.wsgi", NESTED).conf(MAIN_AND_SUB), &[false]);
    }
}

/// Checks requests within requests, without and with memory being traced.
fn check_nested(setup: Setup, traced: &[bool]) {
    let setup = if setup.mpm() == Mpm::Prefork { setup.conf("MaxRequestWorkers 1") } else { setup };
    setup.run(|server, cases| {
        for is_traced in traced {
            if *is_traced {
                // Before Python 3.12 no interpreters are created from then on. Both are there.
                assert_eq!(server.get("/main/trace").status, 200);
            }
            let how = if *is_traced { ", traced" } else { "" };
            for (outer, inner) in [("/main", "/main"), ("/main", "/sub"), ("/sub", "/main"), ("/sub", "/sub")]
            {
                cases.check(&format!("{inner} in {outer}{how}"), || {
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
        }
    });
}

/// An application that fails in several ways, and the page for that.
const FAILING: &str = "import mod_wsgi\n\
    mod_wsgi.start_recording_metrics()\n\
    def check(environ, me):\n\
    \x20   data = mod_wsgi.request_data()\n\
    \x20   assert data['me'] == me, data\n\
    \x20   known = mod_wsgi.active_requests[environ['mod_wsgi.request_id']]\n\
    \x20   # The page has the same id, and in a daemon process may run beside the request that has failed.\n\
    \x20   is_page = mod_wsgi.process_group and me == '/outer' and known.get('me', '/page') == '/page'\n\
    \x20   assert known is data or is_page, mod_wsgi.active_requests\n\
    \x20   print('printed by', me)\n\
    \x20   environ['wsgi.errors'].write(f'written by {me}\\n')\n\
    def application(environ, start_response):\n\
    \x20   me, how = environ['PATH_INFO'], environ['QUERY_STRING']\n\
    \x20   text = [('Content-Type', 'text/plain')]\n\
    \x20   if me == '/counts':\n\
    \x20       counts = mod_wsgi.process_metrics()\n\
    \x20       counts = counts['active_requests'], counts['request_count'], len(mod_wsgi.active_requests)\n\
    \x20       recorded = mod_wsgi.request_metrics()['request_count']\n\
    \x20       start_response('200 OK', text)\n\
    \x20       return [' '.join(map(str, (*counts, recorded))).encode()]\n\
    \x20   mod_wsgi.request_data()['me'] = me\n\
    \x20   if me == '/page':\n\
    \x20       write = start_response('200 OK', text)\n\
    \x20       write(b'the page ')\n\
    \x20       check(environ, me)\n\
    \x20       return [f'for {environ.get(\"REDIRECT_STATUS\")}'.encode()]\n\
    \x20   if how == 'raises':\n\
    \x20       check(environ, me)\n\
    \x20       raise RuntimeError('on purpose')\n\
    \x20   if how.isdigit():\n\
    \x20       start_response(f'{how} No', text)\n\
    \x20       check(environ, me)\n\
    \x20       return [b'not this']\n\
    \x20   # The server looks at headers when it gets the first block.\n\
    \x20   write = start_response('200 OK', text + [('X-Bad', 'a\\x01b')])\n\
    \x20   if how == 'writes':\n\
    \x20       try:\n\
    \x20           write(b'not this')\n\
    \x20           write(b'nor this')\n\
    \x20       except OSError:\n\
    \x20           pass\n\
    \x20       check(environ, me)\n\
    \x20   if how == 'yields':\n\
    \x20       return yields(environ, me)\n\
    \x20   if how == 'returns':\n\
    \x20       check(environ, me)\n\
    \x20   return [b'not this']\n\
    def yields(environ, me):\n\
    \x20   try:\n\
    \x20       yield b'not this'\n\
    \x20       yield b'nor this'\n\
    \x20   finally:\n\
    \x20       check(environ, me)\n";

fn a_page_for_a_failure_leaves_the_request_that_failed_as_it_was(setup: Setup) {
    // Pages instead of what an application answers are daemon mode's.
    let of_mode: &[&str] = setup.mode().pick(&[], &["403", "404"]);
    let ways = ["raises", "returns", "writes", "yields"].iter().chain(of_mode);
    on_each_python(&setup, |setup| {
        with_failing_applications(setup).run(|server, cases| {
            // The request that starts recording is not recorded.
            counts(server);
            for (target, status) in
                [("denied-main", 403), ("denied-sub", 403), ("missing-main", 404), ("missing-sub", 404)]
            {
                cases.check(target, || {
                    let mark = server.mark();
                    let response = server.get(&format!("/{target}"));
                    assert_eq!(response.text(), format!("the page for {status}"), "{response:?}");
                    server.wait_log(mark, "printed by /page");
                });
            }
            for pair in ["main-main", "main-sub", "sub-main", "sub-sub"] {
                for how in ways.clone() {
                    cases.check(&format!("{pair} {how}"), || check_failures(server, pair, how));
                }
            }
        });
    });
}

/// One application for each group of the request that fails and each group of the page, and
/// failures of Apache itself.
fn with_failing_applications(setup: Setup) -> Setup {
    let mut setup = setup.file("apps/failing.wsgi", FAILING);
    let groups = [("main", "%{GLOBAL}"), ("sub", "sub")];
    for (outer, group) in groups {
        for (inner, _) in groups {
            setup = setup.conf(&format!(
                "WSGIScriptAlias /{outer}-{inner} @ROOT@/apps/failing.wsgi application-group={group}\n\
                 <Location /{outer}-{inner}>\nWSGIErrorOverride On\nErrorDocument 403 /{inner}-main/page\n\
                 ErrorDocument 404 /{inner}-main/page\nErrorDocument 500 /{inner}-main/page\n</Location>"
            ));
        }
    }
    for (inner, _) in groups {
        setup = setup.conf(&format!(
            "<Location /denied-{inner}>\nRequire all denied\nErrorDocument 403 /{inner}-main/page\n</Location>\n\
             <Location /missing-{inner}>\nErrorDocument 404 /{inner}-main/page\n</Location>"
        ));
    }
    if setup.mpm() == Mpm::Prefork { setup.conf("MaxRequestWorkers 1") } else { setup }
}

/// Returns the numbers of requests that are active, have ended and are known to Python, and that of
/// those recorded since the last look.
fn counts(server: &Server) -> [u64; 4] {
    let text = server.get("/main-main/counts").expect(200);
    let counts: Vec<u64> = text.split(' ').filter_map(|count| count.parse().ok()).collect();
    counts.try_into().unwrap_or_else(|_| panic!("no counts: {text}"))
}

/// Checks that requests which fail in one way get the page, and that each is logged and counted as
/// itself.
fn check_failures(server: &Server, pair: &str, how: &str) {
    let before = wait_until("nothing else runs", || {
        let counts = counts(server);
        (counts[0] == 1).then_some(counts[1])
    });
    let status = if how.parse::<u16>().is_ok() { how } else { "500" };
    for _ in 0..5 {
        let mark = server.mark();
        let response = server.get(&format!("/{pair}/outer?{how}"));
        assert_eq!(response.text(), format!("the page for {status}"), "{response:?}");
        for text in ["printed by /outer", "written by /outer", "printed by /page", "written by /page"] {
            server.wait_log(mark, text);
        }
        let log = server.log_since(mark);
        assert!(!log.contains("AssertionError"), "{log}");
    }
    let (mut asked, mut recorded) = (0, 0);
    wait_until("the counts are right", || {
        let after = counts(server);
        asked += 1;
        recorded += after[3];
        let is_idle = (after[0], after[2]) == (1, 1);
        let ended = 10 + asked;
        let are_all = [after[1] - before, recorded] == [ended; 2];
        (is_idle && are_all).then_some(())
    });
}
