//! Logs: where they go, their formats, and their rotation.

use std::fs;
use std::process::{Command, Stdio};

use e2e::Needs::{Daemon, Ours};
use e2e::{Interpreter, Test, test, wait_until};

use super::server::{Express, Site, allow};

pub(super) const TESTS: &[Test] = &[
    test!(lines_have_the_formats_and_files_the_names_that_were_given, Daemon),
    test!(logs_are_rotated_by_size, Daemon),
    test!(only_so_many_files_are_kept, Daemon, Ours("limit for rotated files")),
    test!(logs_go_to_the_terminal_whole, Daemon),
    test!(logs_can_be_lines_of_json, Daemon, Ours("logs as JSON")),
    test!(options_of_logs_without_effect_are_named, Daemon, Ours("such checks and messages")),
];

const APPLICATION: &str = r#"
def application(environ, start_response):
    print("an error of", environ["PATH_INFO"], file=environ["wsgi.errors"])
    start_response("200 OK", [("Content-Type", "text/plain"), ("Content-Length", "2")])
    return [b"ok"]
"#;

/// A second alias that can never match: Apache says so before it opens its logs.
const INCLUDED: &str = "Alias /hidden /nowhere\nAlias /hidden/deeper /nowhere\n";

fn site() -> Site {
    let site = Site::new();
    site.write("app.wsgi", APPLICATION);
    site.write("included.conf", INCLUDED);
    site
}

fn lines_have_the_formats_and_files_the_names_that_were_given() {
    let server = Express::serve(
        site(),
        &[
            "--log-directory",
            "logs",
            "--access-log",
            "--access-log-name",
            "hits",
            "--access-log-format",
            r#"%m "%U" \t %{X-Shop}i 'q'"#,
            "--error-log-name",
            "faults",
            "--error-log-format",
            r#"E|"%l"|%M"#,
            "--startup-log",
            "--startup-log-name",
            "begin",
            "--include-file",
            "included.conf",
        ],
    );
    let response = server.ask("GET", "/shelf", "X-Shop: a \"b\"\r\n", "");
    assert_eq!(response.status, 200, "{}", server.read("logs/faults"));
    wait_until("the line of the access log", || {
        let line = "GET \"/shelf\" \t a \\\"b\\\" 'q'\n";
        server.read("logs/hits").lines().any(|each| each == line.trim_end()).then_some(())
    });
    wait_until("the line of the error log", || {
        let log = server.read("logs/faults");
        log.lines()
            .any(|line| line.starts_with("E|\"error\"|") && line.contains("an error of /shelf"))
            .then_some(())
    });
    let begin = server.read("logs/begin");
    assert!(begin.contains("AH00671") && begin.contains("included.conf"), "{begin}");
    let banner = server.read("output");
    for (label, name) in [("Access Log File    ", "hits"), ("Startup Log File   ", "begin")] {
        let directory = server.path("logs").canonicalize().unwrap_or_default();
        let line = format!("{label}: {}\n", directory.join(name).display());
        assert!(banner.contains(&line), "{line}{banner}");
    }
}

/// The names of the log files, in order.
fn names(server: &Express) -> Vec<String> {
    let files = fs::read_dir(server.path("logs")).unwrap_or_else(|error| panic!("logs: {error}"));
    let mut names: Vec<_> =
        files.flatten().map(|file| file.file_name().to_string_lossy().into_owned()).collect();
    names.sort();
    names
}

/// Returns a header that makes a line of the access log long.
fn long() -> String {
    format!("X-Long: {}\r\n", "x".repeat(7000))
}

const LONG_LINES: [&str; 7] = [
    "--log-directory",
    "logs",
    "--access-log",
    "--access-log-format",
    "%m %{X-Long}i",
    "--rotate-logs",
    "--max-log-size",
];

fn logs_are_rotated_by_size() {
    let site = site();
    site.write("service.py", "import time\nprint('it serves', flush=True)\ntime.sleep(1000)\n");
    let service = ["--service-script", "mail", "service.py", "--service-log-file", "mail", "mail.log"];
    let server = Express::serve(site, &[&LONG_LINES[..], &["1"], &service].concat());
    let header = long();
    let mut rotated = Vec::new();
    wait_until("a second access log", || {
        for _ in 0..20 {
            assert_eq!(server.ask("GET", "/", &header, "").status, 200);
        }
        rotated = names(&server).into_iter().filter(|name| name.starts_with("access_log.")).collect();
        (rotated.len() > 1).then_some(())
    });
    // Digits in the place of the time.
    let pattern: String = rotated[0].chars().map(|c| if c.is_ascii_digit() { '0' } else { c }).collect();
    assert_eq!(pattern, "access_log.0000-00-00-00_00_00");
    let first = server.read(&format!("logs/{}", rotated[0]));
    assert!(
        first.len() >= 1 << 20 && first.lines().all(|line| line.starts_with("GET xxx")),
        "{}",
        first.len()
    );
    let with_text = |start: &str, text: &str| {
        let mut files = names(&server).into_iter().filter(|name| name.starts_with(start));
        files.any(|name| server.read(&format!("logs/{name}")).contains(text)).then_some(())
    };
    wait_until("the error log", || with_text("error_log.", "an error of /"));
    wait_until("the log of the service", || with_text("mail.log.", "it serves"));
}

fn only_so_many_files_are_kept() {
    // By a name that has to get through Apache and a shell.
    let (site, hostile) = (site(), r#"l o"g''s\ $X %d "#);
    std::fs::create_dir(site.path("logs"))
        .and_then(|()| std::os::unix::fs::symlink("logs", site.path(hostile)))
        .unwrap_or_else(|error| panic!("{hostile}: {error}"));
    let more = ["1", "--max-log-files", "2", "--log-directory", hostile];
    let server = Express::serve(site, &[&LONG_LINES[..], &more].concat());
    let header = long();
    let mut first = String::new();
    // Two megabytes fill both files; the third begins the first one again.
    wait_until("the first access log to be begun again", || {
        for _ in 0..20 {
            assert_eq!(server.ask("GET", "/", &header, "").status, 200);
        }
        let before = std::mem::replace(&mut first, server.read("logs/access_log"));
        (first.len() < before.len()).then_some(())
    });
    assert_eq!(names(&server), ["access_log", "access_log.1", "error_log"]);
}

fn logs_go_to_the_terminal_whole() {
    let options = [
        "--log-to-terminal",
        "--access-log",
        "--access-log-format",
        "combined",
        "--rotate-logs",
        "--startup-log",
        "--include-file",
        "included.conf",
    ];
    let server = Express::serve(site(), &options);
    // The original appends to the file that its standard output and error are here.
    allow(server.path("output"), 0o666);
    let response = server.ask("GET", "/shelf?x", "Referer: http://r/\r\nUser-Agent: shopper\r\n", "");
    assert_eq!(response.status, 200);
    wait_until("the lines", || {
        let output = server.read("output");
        let access = output.lines().any(|line| {
            line.starts_with("127.0.0.1 - - [")
                && line.ends_with("] \"GET /shelf?x HTTP/1.1\" 200 2 \"http://r/\" \"shopper\"")
        });
        (access && output.contains("an error of /shelf") && output.contains("AH00671")).then_some(())
    });
    let banner = server.read("output");
    for line in [
        "Error Log File     : /dev/stderr (info)\n",
        "Access Log File    : /dev/stdout\n",
        "Startup Log File   : /dev/stderr\n",
    ] {
        assert!(banner.contains(line), "{line}{banner}");
    }
    let files = fs::read_dir(server.path("root")).unwrap_or_else(|error| panic!("root: {error}"));
    let logs = files.flatten().filter(|file| file.file_name().to_string_lossy().contains("_log"));
    assert_eq!(logs.count(), 0);
}

/// Prints what a program that reads such a log finds in the object of a line.
const READER: &str = "
import json, sys
for line in sys.stdin:
    if line.startswith('{'):
        found = json.loads(line)
        print('|'.join(f'{key}={found.get(key)!r}' for key in sys.argv[1:]))
";

/// The values of these keys in each object of a log; all of its lines are JSON if it `is_whole`.
fn values(log: &str, keys: &[&str], is_whole: bool) -> Vec<String> {
    assert!(!is_whole || log.lines().all(|line| line.starts_with('{')), "{log}");
    let mut reader = Command::new(Interpreter::current().executable);
    let mut reader = reader
        .args(["-c", READER])
        .args(keys)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .unwrap_or_else(|error| panic!("python: {error}"));
    // Half a line may be there.
    let end = log.rfind('\n').map_or(0, |end| end + 1);
    let mut input = reader.stdin.take().expect("a pipe");
    std::io::Write::write_all(&mut input, &log.as_bytes()[..end]).unwrap_or_else(|error| panic!("{error}"));
    drop(input);
    let output = reader.wait_with_output().unwrap_or_else(|error| panic!("{error}"));
    assert!(output.status.success(), "{log}");
    String::from_utf8_lossy(&output.stdout).lines().map(str::to_owned).collect()
}

fn logs_can_be_lines_of_json() {
    let formats = ["--access-log", "--access-log-format", "json", "--error-log-format", "json"];
    let service = ["--service-script", "mail", "service.py", "--service-log-file", "mail", "mail.log"];
    for place in [
        &["--log-directory", "logs d'or"][..],
        &["--log-directory", "logs d'or", "--rotate-logs", "--max-log-files", "2"],
        &["--log-to-terminal"],
    ] {
        let site = site();
        site.write("service.py", "import time\nprint('it serves', flush=True)\ntime.sleep(1000)\n");
        let mut server = Express::serve(site, &[&formats[..], &service, place].concat());
        let agent = "User-Agent: \"shop\" \\ \u{e9}\r\nX: y\r\n";
        assert_eq!(server.ask("GET", "/shelf%22%C3%A9?x=%22", agent, "").status, 200);
        let is_whole = place.len() > 1;
        let script = server.path("app.wsgi").display().to_string();
        let log = |server: &Express, name: &str| {
            if !is_whole {
                return server.read(if name == "mail.log" { "root/mail.log" } else { "output" });
            }
            let files =
                fs::read_dir(server.path("logs d'or")).unwrap_or_else(|error| panic!("logs: {error}"));
            let file = files.flatten().find(|file| file.file_name().to_string_lossy().starts_with(name));
            file.map(|file| fs::read_to_string(file.path()).unwrap_or_default()).unwrap_or_default()
        };
        let expect = |name: &str, keys: &[&str], expected: &str| {
            wait_until(&format!("{expected} in {name} with {place:?}"), || {
                values(&log(&server, name), keys, is_whole).iter().any(|line| line == expected).then_some(())
            });
        };
        expect(
            "access_log",
            &["client", "method", "path", "query", "protocol", "status", "bytes", "user_agent", "referer"],
            "client='127.0.0.1'|method='GET'|path='/shelf\"\u{e9}'|query='?x=%22'|protocol='HTTP/1.1'|status=200|bytes=2|\
             user_agent='\"shop\" \\\\ \u{e9}'|referer=None",
        );
        expect(
            "error_log",
            &["module", "level", "message", "path", "script"],
            &format!(
                "module='wsgi'|level='error'|message='an error of /shelf\"\u{c3}\u{a9}'|path='/shelf\"\u{e9}'|script='{script}'"
            ),
        );
        expect("error_log", &["module", "level"], "module='mpm_event'|level='notice'");
        expect("mail.log", &["level", "message"], "level='error'|message='it serves'");
        server.stop();
        let end = |line: &String| line.contains("caught SIGTERM");
        wait_until("the last line", || {
            values(&log(&server, "error_log"), &["message"], is_whole).iter().any(end).then_some(())
        });
    }
}

fn options_of_logs_without_effect_are_named() {
    let server = Express::serve(
        site(),
        &[
            "--access-log-format",
            "%m",
            "--startup-log-name",
            "x",
            "--max-log-size",
            "3",
            "--verbose-debugging",
        ],
    );
    let output = server.read("output");
    for option in ["--access-log-format", "--startup-log-name", "--max-log-size", "--verbose-debugging"] {
        let warned = output.lines().any(|line| line.contains(option) && line.contains("without effect"));
        assert!(warned, "{option}\n{output}");
    }
}
