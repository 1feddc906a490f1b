//! Debug mode, and what looks into the application there.

use std::collections::BTreeMap;
use std::fs;
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use e2e::Needs::{Daemon, NoSanitizer, Ours};
use e2e::{Connection, Interpreter, Process, Test, signal, test, wait_until};
use nix::sys::signal::Signal;

use super::server::{Express, Site, allow, is_root, refusal};
use super::terminal::Terminal;

pub(super) const TESTS: &[Test] = &[
    test!(the_debugger_has_its_prompt_on_the_terminal, Daemon),
    test!(breakpoints_can_be_set_before_the_first_request, Daemon, Ours("tracing of each thread")),
    test!(signals_leave_prompts_and_interrupt_applications, Daemon, Ours("such an end")),
    test!(reports_and_recordings_are_written, Daemon),
    test!(what_is_written_belongs_to_the_account_that_serves, Daemon, Ours("directories of that account")),
    test!(
        apache_runs_under_gdb,
        Daemon,
        Ours("choice of the program gdb"),
        NoSanitizer("a command starts Apache without its library")
    ),
    test!(mistakes_of_debugging_are_named, Daemon, Ours("such checks and messages")),
];

const APPLICATION: &str = include_str!("../../../apps/debugging.wsgi");

/// A site with the application, and the directory `shared` that it may write to.
fn site() -> Site {
    let site = Site::new();
    site.write("app.wsgi", APPLICATION);
    for name in ["shared", "coverage", "profiles", "recordings"] {
        let directory = site.path(name);
        fs::create_dir(&directory).unwrap_or_else(|error| panic!("{}: {error}", directory.display()));
        allow(directory, 0o777);
    }
    site
}

/// Makes a request, the answer to which may take a while. Returns the status; 0 if there is no
/// answer.
fn request(server: &Express, target: &str) -> JoinHandle<u16> {
    let address = server.address();
    let request = format!("GET {target} HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n");
    thread::spawn(move || {
        let mut connection = Connection::open(address);
        connection.send(request.as_bytes());
        connection.response("GET").map_or(0, |response| response.status)
    })
}

/// Presses Ctrl-C, again after a while if it has had no effect: one that comes just before Apache
/// waits for a connection, or CPython for a key, is noticed only after that.
fn interrupt(terminal: &mut Terminal, what: &str, mut has_effect: impl FnMut() -> bool) {
    const AGAIN: Duration = Duration::from_secs(5);
    let mut next = Instant::now();
    wait_until(what, || {
        if has_effect() {
            return Some(());
        }
        if Instant::now() >= next {
            terminal.press("\x03");
            next = Instant::now() + AGAIN;
        }
        None
    });
}

fn status(request: JoinHandle<u16>) -> u16 {
    request.join().unwrap_or_else(|_| panic!("a request"))
}

fn has_ended(server: &mut Express) -> bool {
    server.process.try_wait().is_ok_and(|status| status.is_some())
}

/// Waits for the end of a server that has been told to, and asserts that it was orderly.
fn wait_ended(server: &mut Express) {
    let status = wait_until("the end of the server", || server.process.try_wait().ok().flatten());
    assert!(status.success(), "{status}\n{}", server.log());
}

fn the_debugger_has_its_prompt_on_the_terminal() {
    let mut session = Express::on_terminal(site(), &["--enable-debugger"]);
    let (server, terminal) = (&mut session.server, &mut session.terminal);
    let variables = server.value("variables");
    for variable in ["MOD_WSGI_EXPRESS", "MOD_WSGI_DEBUG_MODE", "MOD_WSGI_DEBUGGER_ENABLED"] {
        assert!(variables.split(' ').any(|each| each == variable), "{variables}");
    }
    assert_eq!(server.value("pid"), server.process.id().to_string(), "one process");
    terminal.expect("Operating Mode     : debug");

    let stops = request(server, "/stops");
    terminal.command("p value * 21", "42");
    terminal.command("c", "c");
    assert_eq!(status(stops), 200);
    assert_eq!(server.value("value"), "3");

    let fails = request(server, "/fails");
    terminal.expect("of the call");
    terminal.command("p path", "'/fails'");
    terminal.command("c", "c");
    assert_eq!(status(fails), 500);

    let fails = request(server, "/fails-later");
    terminal.expect("of the iteration");
    terminal.command("c", "c");
    let _ = fails.join();
    let fails = request(server, "/fails-closing");
    terminal.expect("of close");
    terminal.command("c", "c");
    let _ = fails.join();

    // At no prompt, Ctrl-C ends the server.
    assert_eq!(server.value("value"), "3");
    interrupt(terminal, "the end of the server", || has_ended(server));
    wait_ended(server);
}

fn breakpoints_can_be_set_before_the_first_request() {
    // With a threaded model, the thread that serves is not the one that loads.
    for mpm in ["prefork", "worker"] {
        let options = ["--enable-debugger", "--debugger-startup", "--server-mpm", mpm];
        let mut session = Express::on_terminal(site(), &options);
        let (server, terminal) = (&mut session.server, &mut session.terminal);
        let first = request(server, "/");
        terminal.expect("The application is loaded.");
        let line = APPLICATION.lines().position(|line| line.contains("body = environ")).unwrap_or(0) + 1;
        let script = server.path("app.wsgi").display().to_string();
        terminal.command(&format!("b {script}:{line}"), "Breakpoint 1");
        terminal.command("c", "c");
        terminal.command("p path", "'/'");
        terminal.command("clear 1", "Deleted breakpoint 1");
        terminal.command("c", "c");
        assert_eq!(status(first), 200, "{mpm}");
        assert_eq!(server.value("value"), "1");
        interrupt(terminal, "the end of the server", || has_ended(server));
        wait_ended(server);
    }
}

fn signals_leave_prompts_and_interrupt_applications() {
    let profiles = |server: &Express| files(&server.path("profiles")).len();
    let options = ["--enable-debugger", "--enable-profiler", "--profiler-directory", "profiles"];
    for (target, prompt) in [("/stops", true), ("/fails", true), ("/endless", false)] {
        let mut session = Express::on_terminal(site(), &options);
        let (server, terminal) = (&mut session.server, &mut session.terminal);
        let running = request(server, target);
        if prompt {
            terminal.expect("(Pdb) ");
        } else {
            wait_until("the request", || server.path("shared/begun").exists().then_some(()));
        }
        // As a terminal does when its size changes.
        signal(Process(server.process.id()), Signal::SIGWINCH);
        interrupt(terminal, "the end of the request", || running.is_finished());
        assert_eq!(status(running), 500, "{target}: {}", terminal.shown());
        wait_ended(server);
        assert_eq!(profiles(server), 1, "{target}");
        assert!(terminal.echoes(), "{target}");
    }
    // Neither a terminal nor an application that has been loaded: as in a container.
    let site = site();
    site.write(
        "app.wsgi",
        "import os, time\nopen(os.path.join(os.path.dirname(__file__), 'shared/begun'), 'w').close()\ntime.sleep(1000)",
    );
    let mut server = Express::serve(site, &options);
    wait_until("the import", || server.path("shared/begun").exists().then_some(()));
    server.stop();
    wait_until("the interruption", || server.log().contains("KeyboardInterrupt").then_some(()));
    assert_eq!(profiles(&server), 1);
}

/// The files of a directory, with their contents.
fn files(directory: &Path) -> BTreeMap<PathBuf, Vec<u8>> {
    let entries = fs::read_dir(directory).unwrap_or_else(|error| panic!("{}: {error}", directory.display()));
    let paths = entries.flatten().map(|entry| entry.path());
    paths.map(|path| (path.clone(), fs::read(path).unwrap_or_default())).collect()
}

/// Returns whether a page of coverage says that the line of the application with a text has run.
fn is_covered(page: &str, text: &str) -> bool {
    let number = APPLICATION.lines().position(|line| line.contains(text)).unwrap_or(0) + 1;
    let line = page.lines().find(|line| line.contains(&format!("id=\"t{number}\"")));
    let line = line.unwrap_or_else(|| panic!("no line {number} in {page}"));
    let [has_run, is_missed] = ["run", "mis"].map(|class| line.contains(&format!("class=\"{class}")));
    assert!(has_run != is_missed, "{line}");
    has_run
}

/// The directory of the package coverage.
fn packages() -> String {
    let requirements = Path::new(env!("CARGO_MANIFEST_DIR")).join("requirements-coverage.txt");
    let (major, minor) = Interpreter::current().version;
    let environment = Interpreter::current().environment(&requirements);
    environment.join(format!("lib/python{major}.{minor}/site-packages")).display().to_string()
}

fn reports_and_recordings_are_written() {
    let options = [
        "--enable-coverage",
        "--coverage-directory",
        "coverage",
        "--enable-profiler",
        "--profiler-directory",
        "profiles",
        "--enable-recorder",
        "--recorder-directory",
        "recordings",
        "--python-path",
        &packages(),
        // Elsewhere, the original measures no requests.
        "--server-mpm",
        "prefork",
    ];
    let site = site();
    // The original leaves data of coverage in the working directory.
    allow(site.path("."), 0o777);
    let mut server = Express::serve(site, &options);
    let posted = server.ask("POST", "/", "Cookie: a=b\r\nContent-Length: 5\r\n", "h\u{e4}ll");
    assert_eq!(posted.value("body").as_deref(), Some("h\u{e4}ll"), "{}", server.log());
    assert_eq!(server.ask("GET", "/fails", "", "").status, 500);
    for target in ["/fails-later", "/fails-closing"] {
        let _ = request(&server, target).join();
    }
    server.stop();
    wait_ended(&mut server);

    let report = files(&server.path("coverage"));
    let text = |name: &str| {
        let page = report.iter().find(|(path, _)| path.ends_with(name));
        page.map(|(_, content)| String::from_utf8_lossy(content).into_owned()).unwrap_or_default()
    };
    assert!(text("index.html").contains("app.wsgi"), "{:?}", report.keys());
    let lines = text("app_wsgi.html");
    assert!(is_covered(&lines, "body = environ") && !is_covered(&lines, "breakpoint()"), "{lines}");

    let profiles: Vec<PathBuf> = files(&server.path("profiles")).into_keys().collect();
    let [profile] = &profiles[..] else { panic!("{profiles:?}") };
    let script = "import pstats, sys\n\
                  for (file, line, name), facts in pstats.Stats(sys.argv[1]).stats.items(): print(name, facts[1])";
    let read = Command::new(Interpreter::current().executable).args(["-c", script]).arg(profile).output();
    let read = read.map(|output| String::from_utf8_lossy(&output.stdout).into_owned()).unwrap_or_default();
    assert!(read.lines().any(|line| line == "application 4"), "{read}");
    let pid = server.process.id().to_string();
    let name = profile.file_name().unwrap_or_default().to_string_lossy().into_owned();
    assert!(name.ends_with(&format!("-{pid}.pstats")), "{name}");

    let recordings = files(&server.path("recordings"));
    let recorded = |number: u32, extension: &str| {
        let end = format!("-{pid}-{number}.{extension}");
        let found = recordings.iter().find(|(path, _)| path.to_string_lossy().ends_with(&end));
        let content = found.unwrap_or_else(|| panic!("{end} in {:?}", recordings.keys())).1;
        String::from_utf8_lossy(content).into_owned()
    };
    assert!(recorded(1, "iheaders").contains("'HTTP_COOKIE': 'a=b'"), "{}", recorded(1, "iheaders"));
    assert_eq!(recorded(1, "icontent"), "h\u{e4}ll");
    assert!(
        recorded(1, "oheaders").starts_with("('200 OK',")
            && recorded(1, "oheaders").contains("'X-Path', '/'")
    );
    assert_eq!(recorded(1, "ocontent"), posted.text());
    for (number, extension, text) in [
        (2, "oaexcept", "ValueError: of the call"),
        (3, "orexcept", "KeyError: 'of the iteration'"),
        (4, "ofexcept", "LookupError: of close"),
    ] {
        assert!(recorded(number, extension).contains(text), "{}", recorded(number, extension));
        let others = ["oaexcept", "orexcept", "ofexcept"].into_iter().filter(|each| *each != extension);
        others.for_each(|other| assert_eq!(recorded(number, other), "", "{other} of {number}"));
    }
    assert_eq!(recorded(3, "ocontent"), "begun");
    assert_eq!(recordings.len(), 4 * 7, "{:?}", recordings.keys());
}

fn what_is_written_belongs_to_the_account_that_serves() {
    // With a threaded model, requests run on another thread.
    let options = [
        "--enable-coverage",
        "--enable-profiler",
        "--enable-recorder",
        "--python-path",
        &packages(),
        "--server-mpm",
        "worker",
    ];
    let mut server = Express::serve(site(), &options);
    assert_eq!(server.ask("GET", "/writes", "", "").text(), "written and returned");
    server.stop();
    let mode = |path: &Path| path.metadata().map_or(0, |data| data.permissions().mode() & 0o777);
    for name in ["htmlcov/index.html", "pstats", "archive"] {
        assert!(server.path("root").join(name).exists(), "{name}\n{}", server.log());
    }
    let page = server.read("root/htmlcov/app_wsgi.html");
    assert!(is_covered(&page, "b\"and returned\"") && !is_covered(&page, "breakpoint()"), "{page}");
    assert_eq!(files(&server.path("root/pstats")).len(), 1);
    assert_eq!(mode(&server.path("root/archive")), 0o700);
    let recordings = files(&server.path("root/archive"));
    assert_eq!(recordings.len(), 7);
    for (path, content) in recordings {
        assert_eq!(mode(&path), 0o600, "{}", path.display());
        if path.extension().is_some_and(|extension| extension == "ocontent") {
            assert_eq!(content, b"written and returned");
        }
    }
}

fn apache_runs_under_gdb() {
    let runs = Command::new("gdb").args(["--batch", "-ex", "run", "--args", "true"]).output();
    let runs = runs.unwrap_or_else(|error| panic!("gdb: {error}; install the package gdb"));
    if !String::from_utf8_lossy(&runs.stdout).contains("exited normally") {
        return e2e::skipped("gdb may not trace processes here");
    }
    let site = site();
    site.write("own-gdb", "#!/bin/sh\necho own gdb\nexec gdb \"$@\"\n");
    allow(site.path("own-gdb"), 0o755);
    let options = ["--enable-gdb", "--gdb-executable", "./own-gdb"];
    let mut server = Express::serve(site, &options);
    let pid = Process(server.value("pid").parse().unwrap_or_else(|_| panic!("{}", server.log())));
    assert_ne!(pid.status("TracerPid"), "0");
    assert_eq!(pid.read("comm").trim(), "apache2");
    assert!(server.read("output").contains("own gdb"), "{}", server.read("output"));
    // As `apachectl stop` does.
    signal(pid, Signal::SIGTERM);
    wait_ended(&mut server);
    assert!(server.read("output").contains("exited normally"), "{}", server.read("output"));
}

fn mistakes_of_debugging_are_named() {
    let site = Site::new();
    site.write("file", "");
    let said = refusal(&site, &["--debugger-startup"]);
    assert!(said.contains("add --enable-debugger"), "{said}");
    let options = [
        "--enable-coverage",
        "--enable-gdb",
        "--gdb-executable",
        "/no/gdb",
        "--enable-profiler",
        "--profiler-directory",
        "file",
        "--enable-recorder",
        "--recorder-directory",
        "no/where",
    ];
    let said = refusal(&site, &options);
    for part in ["pip install coverage", "--gdb-executable", "--profiler-directory", "--recorder-directory"] {
        assert!(said.contains(part), "{part} in {said}");
    }
    if is_root() {
        let closed = site.path("closed");
        fs::create_dir(&closed).unwrap_or_else(|error| panic!("{}: {error}", closed.display()));
        let said = refusal(&site, &["--enable-recorder", "--recorder-directory", "closed"]);
        assert!(said.contains("may not write to"), "{said}");
    }
}
