//! The state of a server in a terminal.

use std::io::{BufRead as _, BufReader};
use std::process::{Output, Stdio};

use e2e::Needs::{Daemon, Ours};
use e2e::{Process, Test, free_port, signal, test, wait_until};
use nix::sys::signal::Signal;

use super::hosts::certificates;
use super::server::{APPLICATION, Express, Site, closed_pipe, command};

const STATUS: e2e::Needs = Ours("the status of the server");

pub(super) const TESTS: &[Test] = &[
    test!(the_state_of_a_server_is_shown_in_a_terminal, Daemon, STATUS),
    test!(a_server_with_a_name_and_tls_is_found, Daemon, STATUS),
    test!(a_reader_that_has_seen_enough_is_no_failure, Daemon, STATUS),
];

fn run(arguments: &[&str]) -> Output {
    let output = command(&[]).arg("status").args(arguments).stdin(Stdio::null()).output();
    output.unwrap_or_else(|error| panic!("mod_wsgi-express: {error}"))
}

/// Returns what the command says about a server, or its error.
fn about(server: &Express, options: &[&str]) -> Result<String, String> {
    let root = server.path("root");
    let output = run(&[&["--server-root", &root.to_string_lossy()], options].concat());
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    if output.status.success() { Ok(text(&output.stdout)) } else { Err(text(&output.stderr)) }
}

fn the_state_of_a_server_is_shown_in_a_terminal() {
    let server = Express::start(&["--server-status", "--processes", "2", "--threads", "3"]);
    let text = wait_until("the processes", || about(&server, &[]).ok().filter(|text| text.contains("2/2")));
    let group = format!("127.0.0.1:{}", server.port);
    let row = text.lines().find(|line| line.starts_with(&group)).unwrap_or_else(|| panic!("{text}"));
    let cells: Vec<_> = row.split_whitespace().take(4).collect();
    assert_eq!(cells, [&group, "serving", "2/2", "0/6"], "{text}");
    assert!(text.lines().any(|line| line.starts_with("GROUP  ")), "{text}");

    let json = about(&server, &["--json"]).expect("JSON");
    let snapshot: status::Snapshot = serde_json::from_str(&json).expect("a snapshot");
    assert!(snapshot.groups.iter().any(|other| other.name == group && other.threads == 3), "{json}");
    let url = format!("http://{}/wsgi-status", server.address());
    for more in ["", "?filter=shop", "#g-shop"] {
        assert!(run(&[&format!("{url}{more}")]).status.success(), "{more}");
    }

    let root = server.path("root");
    let mut watch = command(&[])
        .args(["status", "--watch", "--server-root", &root.to_string_lossy()])
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .spawn()
        .unwrap_or_else(|error| panic!("mod_wsgi-express: {error}"));
    let lines = watch.stdout.take().map(|output| BufReader::new(output).lines());
    let shown = lines.into_iter().flatten().map_while(Result::ok).filter(|line| line.starts_with(&group));
    assert_eq!(shown.take(2).count(), 2);
    signal(Process(watch.id()), Signal::SIGTERM);
    watch.wait().unwrap_or_else(|error| panic!("{error}"));

    let address = server.address();
    let error = run(&[&format!("http://{address}/other")]);
    assert!(!error.status.success() && String::from_utf8_lossy(&error.stderr).contains("no wsgi-status"));
    drop(server);
    let error = String::from_utf8_lossy(&run(&[&url]).stderr).into_owned();
    assert!(error.contains("does not answer"), "{error}");
}

fn a_server_with_a_name_and_tls_is_found() {
    let site = Site::new();
    certificates(&site);
    site.write("app.wsgi", APPLICATION);
    let port = free_port().to_string();
    let options = ["--server-name", "www.example.test", "--https-only", "--https-port", &port];
    let server =
        Express::serve(site, &[&options[..], &["--ssl-certificate", "server", "--server-status"]].concat());
    let text = about(&server, &[]).unwrap_or_else(|error| panic!("{error}"));
    assert!(text.contains("GROUP  "), "{text}");

    let server = Express::start(&[]);
    let error = about(&server, &[]).expect_err("no status");
    assert!(error.contains("--server-status"), "{error}");
    assert_eq!(server.get().status, 200);
}

/// Runs a command whose output nobody reads; returns its exit status and its errors.
fn unread(arguments: &[&str]) -> (Option<i32>, String) {
    let output = command(&["timeout", "30"])
        .args(arguments)
        .stdin(Stdio::null())
        .stdout(closed_pipe())
        .output()
        .unwrap_or_else(|error| panic!("timeout: {error}"));
    (output.status.code(), String::from_utf8_lossy(&output.stderr).into_owned())
}

fn a_reader_that_has_seen_enough_is_no_failure() {
    // Nor is it a reason not to serve.
    let server = Express::unread(&["--server-status"]);
    assert_eq!(server.get().status, 200);
    let url = format!("http://{}/wsgi-status", server.address());
    for arguments in [
        &["status", &url][..],
        &["status", "--json", &url],
        &["status", "--watch", &url],
        &["status", "--help"],
        &["start-server", "--help"],
        &["module-location"],
    ] {
        assert_eq!(unread(arguments), (Some(0), String::new()), "{arguments:?}");
    }
    // What the command has found stays its status.
    for arguments in [
        &["doctor", "--no-import", &server.path("none.wsgi").to_string_lossy()][..],
        &["health", &format!("http://{}/", server.address())],
    ] {
        let read = command(&[]).args(arguments).stdin(Stdio::null()).output().expect("it runs");
        assert_eq!(unread(arguments), (read.status.code(), String::new()), "{arguments:?}");
    }
}
