//! Lines of the error log as JSON objects.

use e2e::Needs::{Daemon, Ours};
use e2e::{LogMark, Mode, Server, Setup, Test, on_each_mpm, on_one_mpm, wait_until};
use serde_json::Value;

pub(crate) const TESTS: &[Test] = &[
    on_each_mpm!(lines_are_objects, Ours("WSGILogFormat")),
    on_one_mpm!(levels_decide_what_is_written, Ours("WSGILogFormat")),
    on_one_mpm!(what_is_written_past_python_is_wrapped, Daemon, Ours("WSGILogFormat")),
    on_one_mpm!(floods_stay_objects, Ours("WSGILogFormat")),
    on_one_mpm!(programs_and_files_of_hosts_get_objects, Ours("WSGILogFormat")),
    on_one_mpm!(templates_and_copies_write_objects, Daemon, Ours("WSGILogFormat")),
];

const APP: &str = include_str!("../../apps/json_logs.wsgi");

const TRACE: &str = "0af7651916cd43dd8448eb211c80319c";

fn json(setup: Setup) -> Setup {
    setup.app("/", "app.wsgi", APP).conf("WSGILogFormat json")
}

/// Returns the objects in the log since then. Fails if a line of ours is none.
fn objects(server: &Server, mark: LogMark) -> Vec<Value> {
    parsed(&server.log_since(mark))
}

fn parsed(log: &str) -> Vec<Value> {
    // The last line may be on its way.
    let lines = log[..log.rfind('\n').map_or(0, |end| end + 1)].lines();
    let is_of_apache = |line: &&str| line.starts_with('[') && !line.contains("[wsgi:");
    let lines = lines.filter(|line| !is_of_apache(line));
    lines.map(|line| serde_json::from_str(line).unwrap_or_else(|error| panic!("{error}: {line}"))).collect()
}

/// Returns the first object whose message contains the text.
fn find(objects: &[Value], text: &str) -> Value {
    let has = |object: &&Value| object["message"].as_str().is_some_and(|message| message.contains(text));
    objects.iter().find(has).unwrap_or_else(|| panic!("{text:?} is not in {objects:#?}")).clone()
}

fn wait_objects(server: &Server, mark: LogMark, text: &str) -> Vec<Value> {
    wait_until(text, || {
        let objects = objects(server, mark);
        let has = objects.iter().any(|object| object["message"].as_str().is_some_and(|it| it.contains(text)));
        has.then_some(objects)
    })
}

fn lines_are_objects(setup: Setup) {
    json(setup).run(|server, cases| {
        let mark = server.mark();
        let traceparent = format!("00-{TRACE}-b7ad6b7169203331-01");
        let request = server.request("GET", "/all?secret=1").header("traceparent", &traceparent);
        assert_eq!(request.send().expect(200), "all");
        // In daemon mode, lines of no request take another way than those of one.
        wait_objects(server, mark, "printed in a thread");
        let objects = wait_objects(server, mark, "done with all");
        let script = server.path("apps/app.wsgi").display().to_string();
        cases.check("what a line of a request says", || {
            let line = find(&objects, "to wsgi.errors for all");
            for (name, value) in [
                ("level", "error"),
                ("module", "wsgi"),
                ("message", "to wsgi.errors for all"),
                ("method", "GET"),
                ("path", "/all"),
                ("script", &script),
                ("trace_id", TRACE),
            ] {
                assert_eq!(line[name], value, "{name}: {line}");
            }
            assert!(line["client"].as_str().is_some_and(|client| client.starts_with("127.0.0.1:")), "{line}");
            assert!(line["id"].as_str().is_some_and(|id| id.len() > 10), "{line}");
            assert!(line["pid"].is_u64() && line["tid"].is_u64(), "{line}");
            let time = line["time"].as_str().unwrap_or_default();
            assert!(time.len() == 32 && time.as_bytes()[10] == b'T', "RFC 3339: {time}");
            let group = if server.mode() == Mode::Daemon { "e2e".into() } else { Value::Null };
            assert_eq!(line["group"], group, "{line}");
            let ids: Vec<_> = objects.iter().filter_map(|line| line["id"].as_str()).collect();
            assert!(ids.iter().all(|id| *id == ids[0]), "{ids:?}");
        });
        cases.check("records", || {
            let line = find(&objects, "a warning");
            assert_eq!((&line["level"], &line["logger"]), (&"warn".into(), &"shop.unconfigured".into()));
            let extra = &line["extra"];
            assert_eq!((&extra["user"], &extra["count"]), (&"J\u{f6}rg".into(), &3.into()), "{line}");
            assert_eq!((&extra["rate"], &extra["is_new"]), (&"nan".into(), &true.into()), "{line}");
            assert_eq!(find(&objects, "an info")["level"], "info");
        });
        cases.check("exceptions", || {
            for (text, logger) in
                [("an exception", "shop.unconfigured"), ("streamed exception", "shop.stream")]
            {
                let line = find(&objects, text);
                assert_eq!((&line["level"], &line["logger"]), (&"error".into(), &logger.into()));
                assert_eq!((&line["message"], &line["exception"]), (&text.into(), &"LookupError".into()));
                let traceback = line["traceback"].as_str().unwrap_or_default();
                assert!(traceback.starts_with("Traceback (most recent call last):\n"), "{line}");
                assert!(traceback.ends_with("LookupError: no \"shelf\"\nof that name"), "{line}");
            }
            assert!(find(&objects, "an exception")["extra"]["stack"].is_string());
        });
        cases.check("handlers that write to streams", || {
            let line = find(&objects, "streamed debug");
            assert_eq!((&line["message"], &line["level"]), (&"streamed debug".into(), &"debug".into()));
        });
        cases.check("what a formatter hides", || {
            let line = find(&objects, "ERROR: a ***");
            assert!(!line.to_string().contains("secret"), "{line}");
        });
        cases.check("threads", || {
            let line = find(&objects, "in a thread");
            assert_eq!((&line["level"], &line["thread"]), (&"warn".into(), &"worker-7".into()));
            assert!(line["id"].is_null(), "{line}");
            find(&objects, "printed in a thread");
        });
        cases.check("any bytes", || {
            let line = find(&objects, "\"quotes\" \\ and \u{0}\u{1b}[31m controls ? \u{2028} end");
            assert!(line["truncated"].is_null(), "{line}");
            find(&objects, "\u{fffd}\u{fffd} binary");
            let line = find(&objects, "bad str");
            assert_eq!(line["extra"]["na\"me"], "[1, {'a': 'b'}]", "{line}");
            assert_eq!(
                find(&objects, "an object")["message"],
                "{\"time\":\"forged\",\"message\":\"an object\"}"
            );
        });
        cases.check("long lines", || {
            let line = find(&objects, "end of the long line");
            assert!(
                line["truncated"] == true && line["message"].as_str().is_some_and(|text| text.len() > 8000)
            );
            let quotes = find(&objects, "\"\"\"\"\"\"\"\"");
            assert_eq!((&quotes["truncated"], &quotes["logger"]), (&true.into(), &"shop.hostile".into()));
        });
        cases.check("lines that are written at once", || {
            let line = find(&objects, "several lines");
            let message = line["message"].as_str().unwrap_or_default();
            assert!(message.ends_with("LookupError: no \"shelf\"\nof that name"), "{message}");
        });
        cases.check("uncaught exceptions", || {
            let mark = server.mark();
            assert_eq!(server.get("/fail").status, 500);
            let objects = wait_objects(server, mark, "exception raised processing");
            let line = find(&objects, "exception raised processing");
            assert_eq!(line["exception"], "LookupError");
            assert!(line["code"].as_str().is_some_and(|code| code.starts_with("WSGI0")), "{line}");
            assert!(line["traceback"].as_str().is_some_and(|text| text.contains("in fail")), "{line}");
            assert_eq!((&line["path"], &line["script"]), (&"/fail".into(), &(&*script).into()));
        });
        cases.check("lines without a request", || {
            let log = std::fs::read(server.path("logs/error.log")).unwrap_or_default();
            let whole = parsed(&String::from_utf8_lossy(&log));
            let line = find(&whole, "written while loading");
            assert!(line["id"].is_null() && line["pid"].is_u64(), "{line}");
            if server.mode() == Mode::Daemon {
                let line = find(&whole, "is started, as");
                assert_eq!((&line["level"], &line["group"]), (&"info".into(), &"e2e".into()));
                assert_eq!(find(&whole, "written while loading")["group"], "e2e");
            }
        });
    });
}

fn levels_decide_what_is_written(setup: Setup) {
    let conf = "<Location /debug>\nLogLevel wsgi:debug\n</Location>\n<Location /terse>\nLogLevel wsgi:crit\n</Location>";
    let app = "import logging
logger = logging.getLogger('levels')
logger.setLevel(1)
def application(environ, start_response):
    for level in range(10, 60, 10):
        logger.log(level, environ['PATH_INFO'])
    print('printed for ' + environ['PATH_INFO'])
    start_response('200 OK', [])
    return [b'']
";
    setup.app("/", "app.wsgi", app).conf(conf).conf("WSGILogFormat json").run(|server, cases| {
        let mark = server.mark();
        for target in ["/terse", "/debug", "/"] {
            assert_eq!(server.get(target).status, 200);
        }
        let objects = wait_until("the last line", || {
            let objects = objects(server, mark);
            objects.iter().any(|line| line["message"] == "printed for /").then_some(objects)
        });
        for (target, levels) in [
            ("/terse", &["crit"][..]),
            ("/debug", &["debug", "info", "warn", "error", "crit"]),
            ("/", &["info", "warn", "error", "crit"]),
        ] {
            cases.check(target, || {
                let of_target = objects.iter().filter(|line| line["message"] == target);
                assert_eq!(of_target.map(|line| &line["level"]).collect::<Vec<_>>(), levels);
            });
        }
        cases.check("what is printed is an error", || {
            assert!(objects.iter().all(|line| line["message"] != "printed for /terse"));
        });
    });
}

fn what_is_written_past_python_is_wrapped(setup: Setup) {
    json(setup).run(|server, cases| {
        let mark = server.mark();
        assert_eq!(server.get("/past_python").expect(200), "past_python");
        for text in ["raw \u{fffd} text", "{\"time\":\"forged, but no object", "from another program"] {
            cases.check(text, || {
                let objects = wait_objects(server, mark, text);
                let line = find(&objects, text);
                assert_eq!((&line["level"], &line["group"]), (&"error".into(), &"e2e".into()), "{line}");
            });
        }
    });
}

fn floods_stay_objects(setup: Setup) {
    json(setup).run(|server, cases| {
        cases.check("all lines", || {
            let mark = server.mark();
            std::thread::scope(|scope| {
                for _ in 0..4 {
                    scope.spawn(|| assert_eq!(server.get("/flood").expect(200), "flood"));
                }
            });
            wait_until("all lines", || {
                let count = |text: &str| {
                    let is_of =
                        |line: &&Value| line["message"].as_str().is_some_and(|it| it.starts_with(text));
                    objects(server, mark).iter().filter(is_of).count()
                };
                (count("flood ") == 2000 && count("done with flood") == 4).then_some(())
            });
        });
    });
}

fn programs_and_files_of_hosts_get_objects(setup: Setup) {
    let host = "<VirtualHost *:@PORT@>\nServerName shop.test\nErrorLog \"|$exec cat >>@ROOT@/logs/piped.log\"\n</VirtualHost>";
    json(setup).conf(host).run(|server, cases| {
        let read = || {
            String::from_utf8_lossy(&std::fs::read(server.path("logs/piped.log")).unwrap_or_default())
                .into_owned()
        };
        cases.check("as large as can be", || {
            assert_eq!(server.get("/huge").status, 500);
            let objects = wait_until("all lines", || {
                let objects = parsed(&read());
                objects
                    .iter()
                    .any(|line| line["exception"] == "LookupError" && line["code"].is_string())
                    .then_some(objects)
            });
            let line = find(&objects, "huge ");
            assert_eq!((&line["truncated"], &line["host"]), (&true.into(), &"shop.test".into()));
            assert!(
                line["traceback"]
                    .as_str()
                    .is_some_and(|text| text.contains("in huge") && text.contains("in deep"))
            );
            assert!(line.to_string().len() < 56 << 10, "{}", line.to_string().len());
            assert!(line["extra"].as_object().is_some_and(|extra| !extra.is_empty()));
            assert!(find(&objects, "small again")["truncated"].is_null());
        });
        cases.check("a restart", || {
            server.graceful();
            wait_until("the new children", || {
                (server.get("/hostile").expect(200) == "hostile").then_some(())
            });
            wait_until("a line", || {
                parsed(&read()).iter().any(|line| line["message"] == "done with hostile").then_some(())
            });
        });
    });
}

fn templates_and_copies_write_objects(setup: Setup) {
    let setup = setup.group("preload=fork").conf("WSGIApplicationGroup %{GLOBAL}");
    json(setup).run(|server, cases| {
        let mark = server.mark();
        assert_eq!(server.get("/in_a_copy").expect(200), "in_a_copy");
        let objects = wait_objects(server, mark, "done with in_a_copy");
        cases.check("a line of a request", || {
            assert_eq!(find(&objects, "to wsgi.errors for in_a_copy")["group"], "e2e");
        });
        cases.check("a copy that the application has forked", || {
            let objects = wait_objects(server, mark, "printed in a copy");
            let line = find(&objects, "logged in a copy");
            assert_eq!((&line["level"], &line["group"]), (&"warn".into(), &"e2e".into()), "{line}");
            let of_request = find(&objects, "done with in_a_copy");
            assert_ne!(line["pid"], of_request["pid"], "{line} {of_request}");
        });
        cases.check("long lines of several copies, between those that are only begun", || {
            let mark = server.mark();
            assert_eq!(server.get("/in_copies").expect(200), "in_copies");
            let is_long = |object: &&Value| object["logger"] == "shop.copies";
            let found = wait_until("all lines", || {
                let long: Vec<_> = parsed(&server.log_since(mark)).iter().filter(is_long).cloned().collect();
                (long.len() == 400).then_some(long)
            });
            assert!(found.iter().all(|object| object["message"].as_str().is_some_and(|it| it.len() > 6000)));
        });
    });
}
