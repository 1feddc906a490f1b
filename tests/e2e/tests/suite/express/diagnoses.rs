//! The doctor, on what servers then really do.

use std::process::{Output, Stdio};

use e2e::Needs::{Daemon, Ours, Root};
use e2e::{Setup, Test, free_port, on_one_mpm, test, wait_until};

use super::server::{Express, Site, allow, command, is_root, own_options, refusal};

pub(super) const TESTS: &[Test] = &[
    test!(a_server_that_works_is_healthy, Daemon, Ours("doctor")),
    test!(an_application_that_the_doctor_cannot_import_gets_no_requests, Daemon, Ours("doctor")),
    on_one_mpm!(
        applications_of_a_configuration_are_tried_as_their_users,
        Daemon,
        Ours("doctor"),
        Root("become somebody else")
    ),
    test!(
        a_closed_directory_is_found_as_at_the_start,
        Daemon,
        Ours("doctor"),
        Root("serve as somebody else")
    ),
];

/// Has the doctor look at a server of a site.
fn examine(site: &Site, options: &[&str]) -> Output {
    command(&[])
        .args(["doctor", "app.wsgi"])
        .args(own_options())
        .args(["--host", "127.0.0.1", "--port", &free_port().to_string(), "--server-root"])
        .arg(site.path("root"))
        .args(options)
        .current_dir(site.path(""))
        .stdin(Stdio::null())
        .output()
        .unwrap_or_else(|error| panic!("mod_wsgi-express: {error}"))
}

fn text(output: &Output) -> String {
    format!("{}{}", String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr))
}

fn a_server_that_works_is_healthy() {
    for options in [&["--processes", "2"][..], &["--embedded-mode"]] {
        let site = Site::new();
        let output = examine(&site, options);
        assert!(output.status.success() && text(&output).contains(": nothing found ("), "{}", text(&output));
        assert_eq!(text(&output).lines().count(), 1, "{}", text(&output));
        let server = Express::serve(site, options);
        assert_eq!(server.value("imported"), "1");
    }
}

fn an_application_that_the_doctor_cannot_import_gets_no_requests() {
    let site = Site::new();
    let fault = "import os\nif 'MOD_WSGI_EXPRESS' in os.environ and 'SHOP' not in os.environ:\n    os.environ['SHOP']\n";
    site.write("app.wsgi", &format!("{fault}application = print\n"));
    let output = examine(&site, &["--setenv", "SHOP", "1"]);
    let found = text(&output);
    assert_eq!(output.status.code(), Some(1), "{found}");
    assert!(found.contains("--setenv: error: ") && found.contains("environment=SHOP=..."), "{found}");
    let server = Express::serve(site, &["--setenv", "SHOP", "1"]);
    assert_eq!(server.get().status, 500);
    wait_until("the cause", || server.log().contains("KeyError: 'SHOP'").then_some(()));
}

fn a_closed_directory_is_found_as_at_the_start() {
    assert!(is_root());
    let site = Site::new();
    let closed = site.path("closed");
    std::fs::create_dir(&closed).unwrap_or_else(|error| panic!("{error}"));
    site.write("closed/shop.wsgi", "application = print\n");
    allow(closed.clone(), 0o700);
    let options = ["--entry-point", "closed/shop.wsgi"];
    let found = text(&examine(&site, &options));
    let component = format!("may not enter {} (mode 0700", closed.display());
    assert!(found.contains(&component) && found.contains("[unreachable-path]"), "{found}");
    let refusal = refusal(&site, &options);
    assert!(refusal.contains(&component), "{refusal}");
}

/// The beginning of applications, some of which fail.
const APP: &str = "\
import os

class Given(Exception):
    pass

def application(environ, start_response):
    body = str((os.getuid(), os.environ.get('GIVEN'))).encode()
    start_response('200 OK', [('Content-Length', str(len(body)))])
    return [body]

";

fn applications_of_a_configuration_are_tried_as_their_users(setup: Setup) {
    let report = "raise Given(os.getuid(), os.environ['GIVEN'], __name__, os.getcwd())\n";
    setup
        .own_groups()
        .file("apps/sound.wsgi", APP)
        .file("apps/who.wsgi", format!("{APP}{report}"))
        .file("apps/variable.wsgi", format!("{APP}os.environ['SHOP']\n"))
        .file("apps/header.wsgi", format!("{APP}def user(environ):\n    return environ['HTTP_AUTHORIZATION']\n"))
        .file("apps/callable.wsgi", "app = print\n")
        .file("apps/closed/app.wsgi", APP)
        .conf(
            "WSGIDaemonProcess shop user=nobody group=nogroup home=/ threads=2 request-timeout=60 environment=GIVEN=1\n\
             WSGIProcessGroup shop\nWSGIApplicationGroup %{GLOBAL}\n\
             SetEnv SHOP red\n\
             WSGIScriptAlias /sound @ROOT@/apps/sound.wsgi\n\
             WSGIScriptAlias /who @ROOT@/apps/who.wsgi\n\
             WSGIScriptAlias /variable @ROOT@/apps/variable.wsgi\n\
             WSGIScriptAlias /header @ROOT@/apps/header.wsgi\n\
             WSGIScriptAlias /callable @ROOT@/apps/callable.wsgi\n\
             WSGIScriptAlias /closed @ROOT@/apps/closed/app.wsgi",
        )
        .run(|server, cases| {
            let closed = server.path("apps/closed");
            allow(closed.clone(), 0o700);
            let file = server.root().join("httpd.conf");
            let output = command(&[]).args(["doctor", "--config"]).arg(&file).output();
            let output = output.unwrap_or_else(|error| panic!("mod_wsgi-express: {error}"));
            let found = text(&output);
            let content = std::fs::read_to_string(&file).unwrap_or_default();
            let line = |part: &str| {
                let number = content.lines().position(|line| line.starts_with(part));
                number.map(|number| format!("{}:{}: ", file.display(), number + 1)).unwrap_or_default()
            };
            let about = |part: &str, check: &str| {
                let place = line(part);
                assert!(!place.is_empty(), "{part}: {content}");
                let is_it = |line: &&str| line.starts_with(&place) && line.ends_with(&format!(" [{check}]"));
                found.lines().find(is_it).unwrap_or_else(|| panic!("{place} {check}: {found}")).to_owned()
            };
            cases.check("a sound application", || {
                let place = line("WSGIScriptAlias /sound");
                let is_fault = |line: &str| line.starts_with(&place) && !line.contains(": note: ");
                assert!(!found.lines().any(is_fault), "{found}");
                assert_eq!(server.get("/sound").expect(200), "(65534, '1')");
            });
            cases.check("user, environment, name and directory", || {
                let line = about("WSGIScriptAlias /who", "application-import");
                assert!(line.contains("Given: (65534, '1', '_mod_wsgi_") && line.contains("', '/')"), "{line}");
                assert_eq!(server.get("/who").status, 500);
            });
            cases.check("a variable of requests", || {
                assert!(about("SetEnv SHOP", "setenv-environ").contains(": error: "), "{found}");
                assert_eq!(server.get("/variable").status, 500);
            });
            cases.check("a header", || {
                let line = about("WSGIScriptAlias /header", "authorization-not-passed");
                assert!(line.contains("header.wsgi:12 reads it"), "{line}");
            });
            cases.check("a callable of another name", || {
                let line = about("WSGIScriptAlias /callable", "application-callable");
                assert!(line.contains("WSGICallableObject app "), "{line}");
                assert_eq!(server.get("/callable").status, 500);
            });
            cases.check("a closed directory", || {
                let line = about("WSGIScriptAlias /closed", "unreachable-path");
                assert!(line.contains(&format!("nobody may not enter {}", closed.display())), "{line}");
                assert!(server.get("/closed").status >= 400);
            });
            cases.check("the status", || assert_eq!(output.status.code(), Some(1)));
        });
}
