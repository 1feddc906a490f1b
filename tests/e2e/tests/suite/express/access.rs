//! Scripts that decide who may use the server.

use std::process::Command;

use e2e::Needs::{Daemon, Ours};
use e2e::{Process, Test, test};

use super::server::{Express, Site, refusal};

pub(super) const TESTS: &[Test] = &[
    test!(users_need_their_password_and_their_group, Daemon),
    test!(digests_are_checked, Daemon),
    test!(clients_need_to_be_admitted, Daemon),
    test!(scripts_can_have_processes_of_their_own, Daemon, Ours("--access-processes")),
    test!(groups_without_users_are_refused, Daemon, Ours("such checks and messages")),
];

/// Tells the application's process group from that of the scripts, which is none.
const APPLICATION: &str = r#"
import mod_wsgi

def application(environ, start_response):
    body = f"user\t{environ.get('REMOTE_USER')}\ngroup\t{mod_wsgi.process_group}\n".encode()
    start_response("200 OK", [("Content-Type", "text/plain"), ("Content-Length", str(len(body)))])
    return [body]
"#;

/// The password is the name; the groups are in the name.
const SCRIPT: &str = r#"
import hashlib
import mod_wsgi

def check_password(environ, user, password):
    return mod_wsgi.process_group == "" and mod_wsgi.application_group == "" and password == user

def get_realm_hash(environ, user, realm):
    return hashlib.md5(f"{user}:{realm}:{user}".encode()).hexdigest()

def groups_for_user(environ, user):
    return ["the staff"] if user.startswith("staff") else []

def allow_access(environ, host):
    return host == "127.0.0.1" and "HTTP_X_BLOCK" not in environ
"#;

fn site() -> Site {
    let site = Site::new();
    site.write("app.wsgi", APPLICATION);
    site.write("auth.py", SCRIPT);
    site.write("file.txt", "file");
    site
}

/// The status and the body that curl gets.
fn curl(server: &Express, arguments: &[&str], target: &str) -> (String, String) {
    let output = Command::new("curl")
        .args(["--silent", "--max-time", "30", "--write-out", "\n%{http_code}"])
        .args(arguments)
        .arg(format!("http://127.0.0.1:{}{target}", server.port))
        .output()
        .unwrap_or_else(|error| panic!("curl: {error}"));
    let text = String::from_utf8_lossy(&output.stdout).into_owned();
    let (body, status) = text.rsplit_once('\n').unwrap_or_default();
    (status.to_owned(), body.to_owned())
}

fn users_need_their_password_and_their_group() {
    let options = [
        "--auth-user-script",
        "auth.py",
        "--auth-group-script",
        "auth.py",
        "--auth-group",
        "the staff",
        "--server-status",
        "--url-alias",
        "/file.txt",
        "file.txt",
    ];
    let server = Express::serve(site(), &options);
    for (credentials, target, expected) in [
        (&[][..], "/", "401"),
        (&["--user", "staff-ann:staff-ann"], "/", "200"),
        (&["--user", "staff-ann:wrong"], "/", "401"),
        (&["--user", "bob:bob"], "/", "401"),
        (&[], "/file.txt", "401"),
        (&["--user", "staff-ann:staff-ann"], "/file.txt", "200"),
        (&[], "/server-status", "401"),
        (&["--user", "staff-ann:staff-ann"], "/server-status", "200"),
        (&[], "/wsgi-status", "401"),
        (&["--user", "staff-ann:staff-ann"], "/wsgi-status", "200"),
    ] {
        let (status, body) = curl(&server, credentials, target);
        assert_eq!(status, expected, "{credentials:?} {target}: {body}\n{}", server.log());
    }
    let (_, body) = curl(&server, &["--user", "staff-ann:staff-ann"], "/");
    assert_eq!(body, format!("user\tstaff-ann\ngroup\t127.0.0.1:{}\n", server.port));
    let asked = server.ask("GET", "/", "", "");
    let realm = format!("Basic realm=\"127.0.0.1:{}\"", server.port);
    assert_eq!(asked.header("WWW-Authenticate"), Some(realm.as_str()));
}

fn digests_are_checked() {
    let server = Express::serve(site(), &["--auth-user-script", "auth.py", "--auth-type", "Digest"]);
    for (credentials, expected) in [("ann:ann", "200"), ("ann:wrong", "401")] {
        let (status, body) = curl(&server, &["--digest", "--user", credentials], "/");
        assert_eq!(status, expected, "{credentials}: {body}\n{}", server.log());
    }
}

fn clients_need_to_be_admitted() {
    let server = Express::serve(site(), &["--host-access-script", "auth.py"]);
    for (headers, expected) in [("", 200), ("X-Block: yes\r\n", 403)] {
        let response = server.ask("GET", "/", headers, "");
        assert_eq!(response.status, expected, "{headers}: {}\n{}", response.text(), server.log());
    }
}

fn scripts_can_have_processes_of_their_own() {
    let site = site();
    let apart = format!("import imported\n{SCRIPT}").replace(
        "mod_wsgi.process_group == \"\"",
        "(mod_wsgi.process_group, imported.value) == (\"access\", 1)",
    );
    site.write("auth.py", &apart);
    let options = [
        "--access-processes",
        "2",
        "--host-access-script",
        "auth.py",
        "--auth-user-script",
        "auth.py",
        "--auth-group-script",
        "auth.py",
        "--auth-group",
        "the staff",
    ];
    let server = Express::serve(site, &options);
    for (arguments, expected) in [
        (&[][..], "401"),
        (&["--user", "staff-ann:staff-ann"], "200"),
        (&["--user", "staff-ann:staff-ann", "--header", "X-Block: yes"], "403"),
        (&["--user", "staff-ann:wrong"], "401"),
        (&["--user", "bob:bob"], "401"),
    ] {
        let (status, body) = curl(&server, arguments, "/");
        assert_eq!(status, expected, "{arguments:?}: {body}\n{}", server.log());
    }
    let (_, body) = curl(&server, &["--user", "staff-ann:staff-ann"], "/");
    assert_eq!(body, format!("user\tstaff-ann\ngroup\t127.0.0.1:{}\n", server.port));
    let supervised = server.supervised();
    let named = |name: &str| supervised.iter().filter(|process| process.command_line() == name).count();
    assert_eq!(named("(wsgi:access)"), 2, "{supervised:?}");
    for child in Process(server.process.id()).children() {
        assert!(supervised.contains(&child) || !child.read("maps").contains("libpython"), "{child:?}");
    }
}

fn groups_without_users_are_refused() {
    let text = refusal(&site(), &["--auth-group-script", "auth.py"]);
    assert!(text.contains("--auth-user-script"), "{text}");
    let text = refusal(&site(), &["--auth-user-script", "missing.py"]);
    assert!(text.contains("missing.py does not exist"), "{text}");
}
