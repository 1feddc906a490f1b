//! Servers that leave a balancer, and end.

use std::io;
use std::net::SocketAddr;
use std::process::{Command, Output, Stdio};
use std::sync::Mutex;
use std::thread;
use std::time::{Duration, Instant};

use e2e::Needs::{Daemon, Ours};
use e2e::{Connection, Process, Response, Test, free_port, signal, test, wait_until};
use nix::sys::signal::Signal;

use super::server::{Express, Session, Site, allow, command, own_options};

const DRAIN: e2e::Needs = Ours("draining");

pub(super) const TESTS: &[Test] = &[
    test!(commands_tell_and_ask_a_server, Daemon, DRAIN),
    test!(health_checks_shadow_two_urls_and_are_reached_by_any_name, Daemon, DRAIN),
    test!(a_drain_under_load_loses_no_request, Daemon, DRAIN),
    test!(a_restart_does_not_end_a_drain, Daemon, DRAIN),
    test!(a_second_termination_ends_a_drain, Daemon, DRAIN),
    test!(a_server_root_has_one_server, Daemon, DRAIN),
    test!(a_resized_window_stops_nobody_and_a_signal_does, Daemon, Ours("signals of processes alone")),
];

/// Counts requests, and takes a moment for each.
const APP: &str = "
import time

def application(environ, start_response):
    time.sleep(0.02)
    body = environ['wsgi.input'].read() or environ['PATH_INFO'].encode()
    start_response('200 OK', [('Content-Length', str(len(body)))])
    return [body]
";

fn start(options: &[&str]) -> Express {
    let site = Site::new();
    site.write("app.wsgi", APP);
    Express::serve(site, &[&["--health-path", "/-"], options].concat())
}

/// Runs one of the commands about a server.
fn run(arguments: &[&str]) -> Output {
    let output = command(&[]).args(arguments).stdin(Stdio::null()).output();
    output.unwrap_or_else(|error| panic!("mod_wsgi-express: {error}"))
}

fn about(server: &Express, name: &str) -> (Option<i32>, String) {
    let root = server.path("root");
    let output = run(&[name, "--server-root", &root.to_string_lossy()]);
    (output.status.code(), String::from_utf8_lossy(&output.stdout).into_owned())
}

/// The response to a request on a connection of its own.
fn fetch(address: SocketAddr, method: &str, target: &str, body: &str) -> io::Result<Response> {
    let mut connection = Connection::open(address);
    let head = format!(
        "{method} {target} HTTP/1.1\r\nHost: localhost\r\nContent-Length: {}\r\n\r\n{body}",
        body.len()
    );
    connection.send(head.as_bytes());
    connection.response(method)
}

fn is_ready(server: &Express) -> bool {
    fetch(server.address(), "GET", "/-/ready", "").is_ok_and(|response| response.status == 200)
}

fn wait_ready(server: &Express) {
    wait_until("the server is ready", || is_ready(server).then_some(()));
}

fn wait_ended(server: &mut Express) -> Option<i32> {
    wait_until("the end of the server", || server.process.try_wait().ok().flatten()).code()
}

fn commands_tell_and_ask_a_server() {
    let server = start(&[]);
    wait_ready(&server);
    assert_eq!(about(&server, "health"), (Some(0), "ready\n".to_owned()));
    assert_eq!(about(&server, "drain").0, Some(0));
    let (status, text) = about(&server, "health");
    assert!(status == Some(1) && text.starts_with("not ready; draining"), "{text}");
    assert_eq!(server.get().status, 200);
    signal(Process(server.process.id()), Signal::SIGUSR1);
    wait_until("the restart", || (server.log().matches("resuming normal").count() == 2).then_some(()));
    assert_eq!(about(&server, "health").0, Some(1));
    assert_eq!(about(&server, "undrain").0, Some(0));
    wait_ready(&server);
    let url = |check| format!("http://{}/-/{check}", server.address());
    assert_eq!(run(&["health", &url("live")]).stdout, b"live\n");
    let other = run(&["health", &url("none")]);
    assert!(String::from_utf8_lossy(&other.stdout).starts_with("status 200 at 127.0.0.1"), "{other:?}");
    let missing = run(&["health", "--server-root", "/nowhere"]);
    assert_eq!(missing.status.code(), Some(1));
    assert!(String::from_utf8_lossy(&missing.stderr).contains("--server-root"));
    let address = server.address().to_string();
    drop(server);
    assert_eq!(run(&["health", &format!("http://{address}/-/ready")]).status.code(), Some(1));
}

fn a_server_root_has_one_server() {
    let site = Site::new();
    let mut other = Command::new("sleep").arg("600").spawn().unwrap_or_else(|error| panic!("{error}"));
    std::fs::create_dir(site.path("root")).unwrap_or_else(|error| panic!("{error}"));
    allow(site.path("root"), 0o711);
    // As a server has left it that was killed.
    site.write("root/httpd.pid", &format!("{}\n", other.id()));
    let server = Express::serve(site, &["--health-path", "/-"]);
    wait_ready(&server);
    let root = server.path("root");
    let second = command(&[])
        .args(["start-server", "app.wsgi", "--port", &free_port().to_string(), "--server-root"])
        .arg(&root)
        .args(own_options())
        .current_dir(server.directory.path())
        .stdin(Stdio::null())
        .output()
        .unwrap_or_else(|error| panic!("{error}"));
    let said = String::from_utf8_lossy(&second.stderr).into_owned();
    assert!(second.status.code() == Some(1) && said.contains("--server-root"), "{said}");
    assert!(said.contains(&server.process.id().to_string()), "{said}");
    // Commands are still about the first.
    assert_eq!(about(&server, "health"), (Some(0), "ready\n".to_owned()));
    other.kill().and_then(|()| other.wait()).unwrap_or_else(|error| panic!("{error}"));
}

fn health_checks_shadow_two_urls_and_are_reached_by_any_name() {
    let server = start(&["--server-name", "www.example.com", "--embedded-mode"]);
    wait_ready(&server);
    assert_eq!(server.get().status, 403, "the address has another name");
    for path in ["/-", "/-/", "/-/readyx", "/-/ready/more"] {
        let answer = server.ask("GET", path, "X-Ignored: 1\r\n", "");
        assert_eq!(answer.status, 403, "{path}");
    }
    let mut connection = Connection::open(server.address());
    connection.send(b"GET /-/readyz HTTP/1.1\r\nHost: www.example.com\r\nConnection: close\r\n\r\n");
    let answer = connection.response("GET").unwrap_or_else(|error| panic!("{error}"));
    assert_eq!((answer.status, answer.text().as_str()), (200, "/-/readyz"), "the application's");
}

/// Requests of several clients, each as long as the server is ready, as a balancer sends them.
/// Returns how many there were.
fn load(server: &Express) -> usize {
    let address = server.address();
    let failures = Mutex::new(Vec::new());
    let clients: Vec<_> = thread::scope(|scope| {
        let client = |number: usize| {
            let failures = &failures;
            move || {
                let mut count = 0;
                while fetch(address, "GET", "/-/ready", "").is_ok_and(|answer| answer.status == 200) {
                    // In the time of the next check, further requests come.
                    for _ in 0..5 {
                        let id = format!("/{number}-{count}");
                        let (method, body) = if count % 2 == 0 { ("GET", "") } else { ("POST", id.as_str()) };
                        match fetch(address, method, &id, body) {
                            Ok(answer) if answer.status == 200 && answer.text() == id => {}
                            other => {
                                failures
                                    .lock()
                                    .unwrap_or_else(std::sync::PoisonError::into_inner)
                                    .push(format!("{id}: {other:?}"));
                            }
                        }
                        count += 1;
                    }
                }
                count
            }
        };
        let clients: Vec<_> = (0..4).map(|number| scope.spawn(client(number))).collect();
        thread::sleep(Duration::from_millis(700));
        signal(Process(server.process.id()), Signal::SIGTERM);
        clients.into_iter().map(|client| client.join().unwrap_or_default()).collect()
    });
    let failures = failures.into_inner().unwrap_or_else(std::sync::PoisonError::into_inner);
    assert!(failures.is_empty(), "{failures:?}\n{}", server.log());
    clients.iter().sum()
}

fn a_drain_under_load_loses_no_request() {
    for mode in [&[][..], &["--embedded-mode", "--server-mpm", "prefork"]] {
        let mut server =
            start(&[&["--graceful-stop", "--drain-delay", "6", "--graceful-timeout", "30"], mode].concat());
        wait_ready(&server);
        let begin = Instant::now();
        let mut kept = Connection::open(server.address());
        let keep = b"GET /kept HTTP/1.1\r\nHost: localhost\r\n\r\n";
        kept.send(keep);
        let answer = kept.response("GET").unwrap_or_else(|error| panic!("{error}"));
        assert_eq!(answer.header("Connection"), None, "{mode:?}");
        // Each client has seen at least once that the server is ready.
        assert!(load(&server) >= 20);
        // It serves on, and closes connections.
        let answer = fetch(server.address(), "GET", "/late", "").unwrap_or_else(|error| panic!("{error}"));
        assert_eq!((answer.status, answer.header("Connection")), (200, Some("close")), "{mode:?}");
        let answer = fetch(server.address(), "GET", "/-/live", "").unwrap_or_else(|error| panic!("{error}"));
        assert_eq!(answer.status, 200);
        let (status, text) = about(&server, "health");
        assert!(status == Some(1) && text.contains("about to end"), "{text}");
        assert_eq!(wait_ended(&mut server), Some(0));
        assert!(begin.elapsed() >= Duration::from_secs(6));
    }
}

fn a_restart_does_not_end_a_drain() {
    let mut server = start(&["--graceful-stop", "--drain-delay", "8"]);
    wait_ready(&server);
    let apache = Process(server.process.id());
    signal(apache, Signal::SIGTERM);
    wait_until("the drain", || (!is_ready(&server)).then_some(()));
    signal(apache, Signal::SIGUSR1);
    wait_until("the restart", || (server.log().matches("resuming normal").count() == 2).then_some(()));
    assert!(!is_ready(&server));
    assert_eq!(wait_ended(&mut server), Some(0));
}

fn a_second_termination_ends_a_drain() {
    let mut server = start(&["--graceful-stop", "--drain-delay", "600", "--shutdown-timeout", "1"]);
    wait_ready(&server);
    let apache = Process(server.process.id());
    signal(apache, Signal::SIGTERM);
    wait_until("the drain", || (!is_ready(&server)).then_some(()));
    assert!(server.process.try_wait().is_ok_and(|status| status.is_none()));
    signal(apache, Signal::SIGTERM);
    wait_ended(&mut server);
}

fn a_resized_window_stops_nobody_and_a_signal_does() {
    let resize = |session: &Session, columns: u32| {
        let terminal = session.terminal_of_process();
        let status = Command::new("stty").args(["-F", &terminal, "cols", &columns.to_string()]).status();
        assert!(status.is_ok_and(|status| status.success()));
    };
    for output in [true, false] {
        let mut session = Express::on_terminal_with_output(Site::new(), &[], output);
        for columns in [100, 60, 120] {
            resize(&session, columns);
            thread::sleep(Duration::from_millis(100));
            assert_eq!(session.server.get().status, 200);
        }
        assert!(session.server.process.try_wait().is_ok_and(|status| status.is_none()));
        signal(Process(session.server.process.id()), Signal::SIGWINCH);
        assert_eq!(wait_ended(&mut session.server), Some(0));
        assert!(session.server.log().contains("shutting down gracefully"), "{}", session.server.log());
    }
}
