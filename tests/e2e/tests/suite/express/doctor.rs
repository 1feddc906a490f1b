//! The doctor, on what servers then really do.

use std::process::{Output, Stdio};

use e2e::Needs::{Daemon, Ours, Root};
use e2e::{Test, free_port, test};

use super::server::{Express, Site, allow, command, is_root, own_options, refusal};

pub(super) const TESTS: &[Test] = &[
    test!(a_server_that_works_is_healthy, Daemon, Ours("doctor")),
    test!(an_application_that_the_doctor_cannot_import_gets_no_requests, Daemon, Ours("doctor")),
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
    assert!(server.log().contains("KeyError: 'SHOP'"), "{}", server.log());
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
