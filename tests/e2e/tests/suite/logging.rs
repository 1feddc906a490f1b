//! Log streams, the logging handler, and what is restricted.

use e2e::Needs::{NoSanitizer, OneProcess, Ours};
use e2e::{Mode, Setup, Test, on_each_mpm, on_one_mpm, wait_until};

pub(crate) const TESTS: &[Test] = &[
    on_one_mpm!(streams_are_text_streams),
    on_each_mpm!(output_becomes_log_records),
    on_each_mpm!(lines_are_logged_after_the_client_has_left, Ours("lines of requests that are given up")),
    on_one_mpm!(the_handler_keeps_levels),
    on_one_mpm!(logging_without_handlers_keeps_levels),
    on_one_mpm!(applications_that_configure_logging_are_left_alone),
    on_one_mpm!(levels_of_locations_count),
    on_one_mpm!(errors_expire_with_the_request, OneProcess),
    on_one_mpm!(streams_and_signals_can_be_restricted),
    on_one_mpm!(
        a_process_that_dies_of_a_signal_writes_its_stacks,
        Ours("stacks of crashes"),
        NoSanitizer("it handles the signal itself")
    ),
    on_one_mpm!(
        faulthandler_writes_to_the_log,
        Ours("a faulthandler that can be enabled"),
        NoSanitizer("it takes the alternate signal stack, which is faulthandler's, for its own")
    ),
];

const APP: &str = include_str!("../../apps/logging.wsgi");

fn streams_are_text_streams(setup: Setup) {
    setup.app("/", "app.wsgi", APP).run(|server, cases| {
        let response = server.get("/attributes");
        for (stream, shown) in [("errors", "<wsgi.errors>"), ("stdout", "<stdout>"), ("stderr", "<stderr>")] {
            for (name, value) in [
                ("type", "True"),
                ("buffer", "Log"),
                ("name", shown),
                ("encoding", "utf-8 replace"),
                ("buffering", "True True"),
                ("mode", "AttributeError"),
                ("isatty", "False"),
                ("abilities", "False False True"),
                ("fileno", "OSError"),
                ("write", "None"),
                ("memoryview", "None"),
                ("int", "TypeError"),
                ("writelines", "TypeError"),
                ("coding", "utf-8 replace"),
                ("closed", "False"),
            ] {
                let name = format!("{stream}-{name}");
                cases.check(&name, || {
                    let found = response.value(&name);
                    // io.UnsupportedOperation is an OSError.
                    let found = found.map(|found| found.replace("UnsupportedOperation", "OSError"));
                    assert_eq!(found.as_deref(), Some(value));
                });
            }
            cases.deviates(
                &format!("{stream}-fileno is refused as by io"),
                "plain OSError where libraries expect UnsupportedOperation",
                || {
                    let found = response.value(&format!("{stream}-fileno"));
                    assert_eq!(found.as_deref(), Some("UnsupportedOperation"));
                },
            );
        }
    });
}

fn output_becomes_log_records(setup: Setup) {
    setup.app("/", "app.wsgi", APP).run(|server, cases| {
        let mark = server.mark();
        assert_eq!(server.get("/streams").expect(200), "streams");
        server.wait_log(mark, "unfinished");
        // Of a daemon process, what is not of a request comes by another way.
        let log = server.wait_log(mark, "written while loading");
        let find = |text: &str| {
            let line = log.lines().find(|line| line.contains(text));
            line.unwrap_or_else(|| panic!("{text:?} is not in {log}")).to_owned()
        };
        let script = format!("[script {}]", server.path("apps/app.wsgi").display());
        for text in [
            "by print",
            "to stderr",
            "to wsgi.errors",
            "one of two",
            "two of two",
            "by buffer",
            "joined fragments",
            "rest ",
            "unfinished",
        ] {
            cases.check(text, || {
                let line = find(text);
                assert!(line.contains("wsgi:error") && line.contains(server.logged_client()), "{line}");
                assert!(line.trim_end().ends_with(&format!("{script} {}", text.trim_end())), "{line}");
            });
        }
        for text in ["printed while loading", "written while loading"] {
            cases.check(text, || {
                let line = find(text);
                assert!(!line.contains("127.0.0.1:") && !line.contains("[script"), "{line}");
            });
        }
        cases.check("text beyond ASCII", || {
            // Apache writes bytes beyond ASCII as they are or escaped, by version and format.
            let line = find("caf");
            assert!(line.ends_with('?'), "a lone surrogate is replaced: {line}");
        });
        cases.check("a long line is cut, not lost", || {
            assert!(find("xxxxxxxxxx").len() > 4000);
        });
        cases.check("a NUL does no harm", || assert!(!find("before").contains('\0')));
        cases.check("a thread has no request", || {
            let mark = server.mark();
            assert_eq!(server.get("/thread").expect(200), "thread");
            let log = server.wait_log(mark, "from a thread");
            let line = log.lines().find(|line| line.contains("from a thread")).unwrap_or_default();
            assert!(!line.contains("127.0.0.1:"), "{line}");
        });
    });
}

/// Prints a line after each block, until nobody takes any more.
const PRINTS_BETWEEN_BLOCKS: &str = "def application(environ, start_response):
    start_response('200 OK', [])
    return blocks()
def blocks():
    count = 0
    try:
        while True:
            yield b'x' * 8000
            print(f'line {count} of the application')
            count += 1
    finally:
        print(f'last line, after {count}, of the application')
";

fn lines_are_logged_after_the_client_has_left(setup: Setup) {
    setup.app("/", "app.wsgi", PRINTS_BETWEEN_BLOCKS).run(|server, cases| {
        cases.check("every line", || {
            let mark = server.mark();
            let lines = || server.log_since(mark).matches(" of the application").count();
            let mut connection = server.connect();
            connection.send(&server.request("GET", "/").keep_alive());
            let mut before = 0;
            wait_until("what lies between is full", || {
                let now = lines();
                (now > 0 && std::mem::replace(&mut before, now) == now).then_some(())
            });
            connection.reset();
            let log = server.wait_log(mark, "last line, after");
            let count = log.split("last line, after ").nth(1).and_then(|rest| rest.split(',').next());
            let count: usize = count.and_then(|count| count.parse().ok()).expect("a number");
            wait_until("there are as many lines", || (lines() > count).then_some(()));
            let log = server.log_since(mark);
            for number in 0..count {
                assert_eq!(log.matches(&format!("] line {number} of")).count(), 1, "{number}");
            }
        });
    });
}

fn the_handler_keeps_levels(setup: Setup) {
    setup.app("/", "app.wsgi", APP).run(|server, cases| {
        let mark = server.mark();
        let response = server.get("/handler");
        let log = server.wait_log(mark, "handler exception");
        for (text, level) in [
            ("handler info", "info"),
            ("handler warning", "warn"),
            ("handler error", "error"),
            ("second line", "error"),
            ("handler critical", "crit"),
            ("handler exception", "error"),
            ("KeyError: 'handled'", "error"),
        ] {
            cases.check(text, || {
                let line = log.lines().find(|line| line.contains(text)).unwrap_or_default();
                assert!(line.contains(&format!("[wsgi:{level}]")), "{line:?} in {log}");
                assert!(line.contains(server.logged_client()), "{line}");
            });
        }
        cases.check("what the server would drop", || assert!(!log.contains("handler debug"), "{log}"));
        for (name, value) in [("subclass", "True"), ("level", "40")] {
            cases.check(name, || assert_eq!(response.value(name).as_deref(), Some(value)));
        }
        cases.deviates("surrogates", "LogHandler raises when a message has a lone surrogate", || {
            assert_eq!(response.value("surrogate").as_deref(), Some("None"));
        });
    });
}

/// As most applications log that leave the rest to the server.
const UNCONFIGURED: &str = "
import logging
import threading
import mod_wsgi

logger = logging.getLogger('shop')
logger.setLevel(logging.DEBUG)
logger.warning('while loading')
handled = logging.getLogger('handled')
handled.setLevel(logging.DEBUG)
handled.propagate = False
handled.handlers = [mod_wsgi.LogHandler()]


def application(environ, start_response):
    path = environ['PATH_INFO']
    if path == '/configured':
        logging.basicConfig(level=logging.INFO, format='%(levelname)s of %(name)s: %(message)s')
        logger.info('by the configuration')
    elif path.endswith('/handler'):
        handled.debug('handled debug for %s', path)
        handled.warning('handled warning for %s', path)
        handled.error('handled error for %s', path)
    elif path == '/thread':
        thread = threading.Thread(target=logger.warning, args=('in a thread',))
        thread.start()
        thread.join()
    else:
        logger.debug('a debug line')
        logger.log(23, 'a custom level')
        logger.info('an info line')
        logger.warning('a warning line')
        logger.critical('a critical line')
        try:
            {}['key']
        except KeyError:
            logger.exception('an error line')
    start_response('200 OK', [('Content-Type', 'text/plain')])
    return [path.encode()]
";

/// Checks that a line has the level.
fn assert_level(log: &str, text: &str, level: &str) {
    let line = log.lines().find(|line| line.contains(text)).unwrap_or_default();
    assert!(line.contains(&format!("[wsgi:{level}]")), "{text}: {line:?} in {log}");
}

fn logging_without_handlers_keeps_levels(setup: Setup) {
    setup.app("/", "app.wsgi", UNCONFIGURED).run(|server, cases| {
        let mark = server.mark();
        assert_eq!(server.get("/").expect(200), "/");
        server.wait_log(mark, "KeyError: 'key'");
        let log = server.wait_log(mark, "while loading");
        for (text, level) in
            [("while loading", "warn"), ("a warning line", "warn"), ("a critical line", "crit")]
        {
            cases.deviates(text, "what is logged without handlers becomes an error", || {
                assert_level(&log, text, level);
            });
        }
        for (text, level) in [("an info line", "info"), ("a custom level", "info")] {
            cases.deviates(text, "what is below WARNING is dropped without handlers", || {
                assert_level(&log, text, level);
            });
        }
        for text in ["an error line", "Traceback (most recent call last)", "KeyError: 'key'"] {
            cases.check(text, || assert_level(&log, text, "error"));
        }
        cases.check("lines belong to the request", || {
            let line = log.lines().find(|line| line.contains("a warning line")).unwrap_or_default();
            assert!(line.contains(server.logged_client()) && line.contains("[script "), "{line}");
        });
        cases.check("what the server would drop", || assert!(!log.contains("a debug line"), "{log}"));
        cases.deviates("a thread", "what is logged without handlers becomes an error", || {
            let mark = server.mark();
            assert_eq!(server.get("/thread").expect(200), "/thread");
            let log = server.wait_log(mark, "in a thread");
            assert_level(&log, "in a thread", "warn");
        });
    });
}

fn applications_that_configure_logging_are_left_alone(setup: Setup) {
    setup.app("/", "app.wsgi", UNCONFIGURED).run(|server, cases| {
        let mark = server.mark();
        assert_eq!(server.get("/configured").expect(200), "/configured");
        let log = server.wait_log(mark, "by the configuration");
        cases.check("its format", || {
            assert!(log.contains("INFO of shop: by the configuration"), "{log}");
        });
        cases.check("its stream", || assert_level(&log, "by the configuration", "error"));
    });
}

fn levels_of_locations_count(setup: Setup) {
    let conf = "<Location /verbose>\nLogLevel wsgi:debug\n</Location>\n\
                <Location /terse>\nLogLevel wsgi:error\n</Location>";
    setup.app("/", "app.wsgi", UNCONFIGURED).conf(conf).run(|server, cases| {
        let mark = server.mark();
        for target in ["/terse", "/verbose"] {
            assert_eq!(server.get(target).expect(200), target);
        }
        let mut log = server.wait_log(mark, "KeyError: 'key'");
        cases.deviates("more", "what is below WARNING is dropped without handlers", || {
            log = server.wait_log(mark, "a debug line");
            assert_level(&log, "a debug line", "debug");
        });
        cases.deviates_in(Mode::Daemon, "the handler", "LogHandler asks for the level of the server", || {
            let mark = server.mark();
            for target in ["/terse/handler", "/verbose/handler"] {
                assert_eq!(server.get(target).expect(200), target);
            }
            let log = server.wait_log(mark, "handled error for /verbose/handler");
            assert_level(&log, "handled debug for /verbose", "debug");
            assert!(!log.contains("handled warning for /terse"), "{log}");
        });
        cases.deviates("less", "what is logged without handlers becomes an error", || {
            assert_eq!(log.matches("a warning line").count(), 1, "{log}");
            assert_eq!(log.matches("a critical line").count(), 2, "{log}");
        });
    });
}

fn errors_expire_with_the_request(setup: Setup) {
    setup.app("/", "app.wsgi", APP).run(|server, cases| {
        assert_eq!(server.get("/keep").expect(200), "kept");
        let response = server.get("/use");
        for (name, value) in [("flush", "None"), ("write", "RuntimeError"), ("writelines", "RuntimeError")] {
            cases.check(name, || assert_eq!(response.value(name).as_deref(), Some(value)));
        }
    });
}

fn streams_and_signals_can_be_restricted(setup: Setup) {
    let quiet = APP.replace("print(\"printed", "str(\"printed");
    setup
        .app("/", "app.wsgi", &quiet)
        .group("python-eggs=/tmp/eggs")
        .conf("WSGIRestrictStdin On\nWSGIRestrictStdout On\nWSGIPythonEggs /tmp/eggs")
        .run(|server, cases| {
            let mark = server.mark();
            let response = server.get("/signals");
            for (name, value) in [
                ("result", "True"),
                ("installed", "False"),
                ("bad", "TypeError"),
                ("stdin", "OSError"),
                ("stdout", "OSError"),
                ("print", "OSError"),
                ("hasattr", "OSError"),
                ("type", "Restricted"),
                ("argv", "['mod_wsgi']"),
                ("egg", "'/tmp/eggs'"),
            ] {
                cases.check(name, || assert_eq!(response.value(name).as_deref(), Some(value)));
            }
            cases.check("an intercepted signal is logged", || {
                assert!(server.wait_log(mark, "ignal").contains("wsgi:info"));
            });
        });
}

/// As libraries do when they are imported.
const FAULTHANDLER: &str = "
import faulthandler

faulthandler.enable()


def dump_of_the_application():
    faulthandler.dump_traceback()


def application(environ, start_response):
    dump_of_the_application()
    start_response('200 OK', [('Content-Type', 'text/plain')])
    return [str(faulthandler.is_enabled()).encode()]
";

fn faulthandler_writes_to_the_log(setup: Setup) {
    let setup = setup.app("/sub", "sub.wsgi", FAULTHANDLER).app("/main", "main.wsgi", FAULTHANDLER);
    let main = "<Location /main>\nWSGIApplicationGroup %{GLOBAL}\n</Location>";
    setup.conf(main).run(|server, cases| {
        for target in ["/main", "/sub"] {
            let mark = server.mark();
            cases.check(target, || {
                assert_eq!(server.get(target).expect(200), "True");
                server.wait_log(mark, "in dump_of_the_application");
            });
        }
    });
}

const CRASHING: &str = "
import ctypes


def crash_of_the_application():
    ctypes.string_at(0)


def application(environ, start_response):
    crash_of_the_application()
";

fn a_process_that_dies_of_a_signal_writes_its_stacks(setup: Setup) {
    let setup = setup.app("/sub", "sub.wsgi", CRASHING).app("/main", "main.wsgi", CRASHING);
    let main = "<Location /main>\nWSGIApplicationGroup %{GLOBAL}\n</Location>";
    setup.conf(main).run(|server, cases| {
        server.expect_crashes();
        for target in ["/main", "/sub"] {
            let mark = server.mark();
            cases.check(target, || {
                let mut client = server.connect();
                client.send(&server.request("GET", target).keep_alive());
                server.wait_log(mark, "Fatal Python error: Segmentation fault");
                server.wait_log(mark, "in crash_of_the_application");
            });
        }
    });
}
