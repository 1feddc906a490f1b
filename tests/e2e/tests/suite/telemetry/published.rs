//! Telemetry with the collector of the package `mod_wsgi-telemetry`, and its page in a browser.

use std::fs::{self, Permissions};
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};

use e2e::Needs::{Browser, Daemon, Threads};
use e2e::{Interpreter, Mode, Process, Setup, Test, browser, free_port, on_one_mpm, signal, wait_until};
use nix::sys::signal::Signal;

use super::{APP, start_held, two_groups};

pub(crate) const TESTS: &[Test] = &[
    on_one_mpm!(the_published_collector_shows_everything, Threads),
    on_one_mpm!(its_page_shows_everything, Daemon, Browser),
];

const ONE_COUNT: &str =
    "T1: one count for all kinds of datagrams, of which the collector follows the samples only";

/// The collector of the package `mod_wsgi-telemetry`.
struct Published {
    process: Child,
    python: PathBuf,
    port: u16,
    directory: tempfile::TempDir,
}

impl Published {
    fn start() -> Self {
        let requirements = Path::new(env!("CARGO_MANIFEST_DIR")).join("requirements-telemetry.txt");
        let python = Interpreter::current().environment(&requirements).join("bin/python");
        let directory = tempfile::Builder::new().prefix("e2e-t-").tempdir_in("/tmp").expect("a directory");
        fs::set_permissions(directory.path(), Permissions::from_mode(0o755)).expect("permissions");
        let port = free_port();
        let listen = format!("unix:{}", directory.path().join("socket").display());
        let process = Command::new("setpriv")
            .args(["--pdeathsig", "TERM", "--"])
            .arg(&python)
            .args(["-m", "mod_wsgi.telemetry.cli", "serve", "--listen", &listen, "--socket-mode", "0666"])
            .args(["--http-port", &port.to_string(), "--log-level", "WARNING"])
            .stdin(Stdio::null())
            .spawn()
            .expect("the collector");
        let collector = Self { process, python, port, directory };
        wait_until("the collector", || {
            let mode = fs::metadata(collector.socket()).ok()?.permissions().mode();
            (mode & 0o777 == 0o666 && collector.state().is_some()).then_some(())
        });
        collector
    }

    fn socket(&self) -> PathBuf {
        self.directory.path().join("socket")
    }

    /// Returns what it shows: see `telemetry_state.py`.
    fn state(&self) -> Option<String> {
        let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("apps/telemetry_state.py");
        let output = Command::new(&self.python).arg(script).arg(self.port.to_string()).output().ok()?;
        output.status.success().then(|| String::from_utf8_lossy(&output.stdout).into_owned())
    }

    /// Waits until it shows all of these lines. Returns what it shows then.
    fn wait(&self, lines: &[String]) -> String {
        let mut shown = String::new();
        let mut missing = Vec::new();
        let has_all = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| {
            wait_until("the state of the collector", || {
                shown = self.state()?;
                missing = lines.iter().filter(|line| !shown.lines().any(|shown| shown == **line)).collect();
                missing.is_empty().then_some(())
            });
        }));
        assert!(has_all.is_ok(), "not shown: {missing:#?}\n{shown}");
        shown
    }
}

impl Drop for Published {
    fn drop(&mut self) {
        signal(Process(self.process.id()), Signal::SIGTERM);
        let _ = self.process.wait();
    }
}

fn the_published_collector_shows_everything(setup: Setup) {
    let collector = Published::start();
    let mode = setup.mode();
    let settings = format!(
        "WSGITelemetryService unix:{} interval=0.5\nWSGISlowRequests 0.3\nWSGITelemetryOptions +CaptureUserAgent",
        collector.socket().display()
    );
    let (setup, groups) = match mode {
        Mode::Embedded => (
            setup.app("/one", "app.wsgi", APP).conf("WSGIApplicationGroup %{GLOBAL}"),
            &[("one", "embedded")][..],
        ),
        Mode::Daemon => (two_groups(setup), &[("one", "one"), ("two", "two")][..]),
    };
    let mut server = setup.conf(&settings).start();
    let parent = server.pid();
    for (path, _) in groups {
        for _ in 0..5 {
            assert_eq!(server.get(&format!("/{path}/")).text(), "hello");
        }
        assert_eq!(server.get(&format!("/{path}/gc")).text(), "hello");
        let slow = server.request("GET", &format!("/{path}/sleep?0.9")).header("User-Agent", *path);
        assert_eq!(slow.send().status, 200);
    }
    let mut lines = vec!["decode_errors 0".to_owned(), format!("parent {parent}")];
    for (path, group) in groups {
        let phases = mode.pick("application", "application daemon");
        let queue = mode.pick("", "queue ");
        lines.push(format!("requests {group} 7"));
        lines.push(format!("phases {group} {phases} gil_wait input_read output_write {queue}request server"));
        lines.push(format!("collected {group} True"));
        lines.push(format!("slow 1 /sleep {path}"));
        lines.push(format!("event {group} process_started "));
    }
    collector.wait(&lines);
    assert!(server.stop().success());
    let reason = mode.pick("", "shutdown_signal");
    let ends = groups.iter().flat_map(|(_, group)| {
        ["stopping", "stopped"].map(|kind| format!("event {group} process_{kind} {reason}"))
    });
    lines.extend(ends);
    let shown = collector.wait(&lines);
    server.cases(|_, cases| {
        cases.deviates("no losses are counted", ONE_COUNT, || {
            assert!(shown.contains("\ndrops 0\n"), "{shown}")
        });
    });
}

/// Returns the texts of the page's tabs, in a browser.
fn tabs(collector: &Published) -> Vec<(String, String)> {
    let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("apps/telemetry_page.py");
    let profile = tempfile::Builder::new().prefix("e2e-b-").tempdir_in("/tmp").expect("a directory");
    let output = Command::new(&collector.python)
        .arg(script)
        .arg(browser().expect("a browser"))
        .arg(format!("http://127.0.0.1:{}/", collector.port))
        .arg(profile.path())
        .output()
        .expect("the browser");
    let errors = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{errors}");
    let text = String::from_utf8_lossy(&output.stdout);
    let tabs = text.split("== ").skip(1).filter_map(|tab| tab.split_once('\n'));
    tabs.map(|(name, text)| (name.to_owned(), text.to_owned())).collect()
}

fn its_page_shows_everything(setup: Setup) {
    let collector = Published::start();
    let settings = format!(
        "WSGITelemetryService unix:{} interval=0.5\nWSGISlowRequests 0.3\nWSGIRestrictEmbedded On",
        collector.socket().display()
    );
    let server = two_groups(setup).conf(&settings).start();
    let old: u32 = server.get("/one/pid").text().parse().expect("a process id");
    for group in ["one", "two"] {
        assert_eq!(server.get(&format!("/{group}/gc")).text(), "hello");
        assert_eq!(server.get(&format!("/{group}/sleep?0.9")).status, 200);
    }
    signal(Process(old), Signal::SIGUSR1);
    collector.wait(&["event one process_stopped graceful_signal".to_owned()]);
    let gate = server.path("gate");
    let mut held = start_held(&server, "/two/until", &gate, "-");
    let shown = collector.wait(&["slow 0 /until ".to_owned()]);
    let tabs = tabs(&collector);
    server.write("gate", "");
    assert_eq!(held.response("GET").map(|response| response.status).ok(), Some(200));

    server.cases(|server, cases| {
        cases.deviates("no losses are counted", ONE_COUNT, || {
            assert!(shown.contains("\ndrops 0\n"), "{shown}")
        });
        let (old, parent) = (old.to_string(), server.pid().to_string());
        let expected: &[(&str, &[&str])] = &[
            ("Overview", &["across 2 groups", "Time distribution", "n5 "]),
            ("Capacity", &["one", "two", "slow request", "queue"]),
            ("Processes", &["STARTED", "STOPPING", "STOPPED", "graceful_signal", &old, &parent]),
            ("GC", &["enabled", "thresholds", "cumulative", "n2 "]),
            ("Slow requests", &["/one/sleep", "/two/sleep", "/two/until", "200"]),
        ];
        for (name, words) in expected {
            cases.check(name, || {
                let tab = tabs.iter().find(|(tab, _)| tab == name);
                let (_, text) = tab.unwrap_or_else(|| panic!("no tab {name}: {tabs:?}"));
                for word in *words {
                    assert!(text.contains(word), "no {word:?} in {text}");
                }
            });
        }
    });
}
