//! Scripts that decide about requests: access, authentication, groups, dispatch.
//!
//! They run in Apache's children in both modes, so most tests run in one mode.

mod access_script;
mod digest;
mod dispatch;
mod environ;
mod groups;
mod in_processes;
mod passwords;
mod providers;
mod scripts;
mod sites;

use e2e::{Cases, Needs, Response, Server, Setup, Test};

pub(crate) const TABLES: &[&[Test]] = &[
    access_script::TESTS,
    digest::TESTS,
    dispatch::TESTS,
    environ::TESTS,
    groups::TESTS,
    in_processes::TESTS,
    passwords::TESTS,
    providers::TESTS,
    scripts::TESTS,
    sites::TESTS,
];

/// The need of a test of the scripts alone: it runs once.
const IN_CHILDREN: Needs = Needs::Embedded("these scripts run in Apache's children in both modes");

/// Its function decides by the query string.
const ACCESS: &str = include_str!("../../../apps/access/access.wsgi");
/// Its functions decide by the user's name; its application shows who the user is.
const USER: &str = include_str!("../../../apps/access/user.wsgi");
/// Its function decides by the user's name.
const GROUPS: &str = include_str!("../../../apps/access/groups.wsgi");

/// For `<Location>`: Basic authentication by a script.
const BASIC: &str = "AuthType Basic\nAuthName closed\nAuthBasicProvider wsgi\nRequire valid-user\n";

/// A server with the scripts, a page at `/page`, and the application that shows the user at
/// `/user`.
fn with_scripts(setup: Setup) -> Setup {
    setup
        .modules(&["authn_core", "authn_file", "authz_user", "authz_host", "auth_basic"])
        .file("apps/access.wsgi", ACCESS)
        .file("apps/groups.wsgi", GROUPS)
        .file("htdocs/page", "the page")
        .app("/user", "user.wsgi", USER)
        .conf("WSGIApplicationGroup %{GLOBAL}")
}

/// A section for a URL below which the page is served, too.
fn section(url: &str, lines: &str) -> String {
    format!("Alias {url} @ROOT@/htdocs\n<Location {url}>\n{lines}\n</Location>\n")
}

/// Makes a request, and checks its status and, if there is one, the text in the log.
fn check_logged(
    cases: &mut Cases<'_>,
    server: &Server,
    (name, status, logged): (&str, u16, &str),
    request: impl Fn() -> Response,
) {
    cases.check(name, || expect_logged(server, status, logged, request));
}

fn expect_logged(server: &Server, status: u16, logged: &str, request: impl Fn() -> Response) {
    let mark = server.mark();
    let response = request();
    assert_eq!(response.status, status, "{}", server.log_since(mark));
    server.wait_log(mark, logged);
}
