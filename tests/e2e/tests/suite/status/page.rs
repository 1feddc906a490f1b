//! The page of `wsgi-status` in a browser.

use std::path::Path;
use std::process::Command;

use e2e::Needs::{Browser, Daemon};
use e2e::{Interpreter, Setup, Test, browser, on_one_mpm, wait_until};

use super::{STATUS, group, serving};

pub(crate) const TESTS: &[Test] = &[on_one_mpm!(its_page_is_live_and_readable, Daemon, Browser, STATUS)];

/// Looks at the page of a server whose group has a request for `/hold` under way: see
/// `status_page.py`. Pictures go to the directory that `E2E_SCREENSHOTS` names.
fn its_page_is_live_and_readable(setup: Setup) {
    let setup = serving(setup.group("processes=2 threads=2 socket-timeout=120").threads(8));
    setup.conf("WSGIDaemonProcess unused threads=3").run(|server, cases| {
        // Its response is read when the browser is done, however long that takes.
        let mut held = server.connect();
        held.send(
            b"GET /hold/a/long/path/that/has/nowhere/to/break?secret=1 HTTP/1.1\r\nHost: localhost\r\n\r\n",
        );
        wait_until("the request", || (group(server, "e2e").under_way() == 1).then_some(()));
        let directory = Path::new(env!("CARGO_MANIFEST_DIR"));
        let python = Interpreter::current().environment(&directory.join("requirements-telemetry.txt"));
        let profile = tempfile::Builder::new().prefix("e2e-b-").tempdir_in("/tmp").expect("a directory");
        let mut command = Command::new(python.join("bin/python"));
        command
            .arg(directory.join("apps/status_page.py"))
            .arg(browser().expect("a browser"))
            .arg(format!("http://{}/wsgi-status", server.address()))
            .arg(profile.path())
            .arg(server.path("htdocs/gate"))
            .args(std::env::var_os("E2E_SCREENSHOTS"));
        let output = command.output().expect("the browser");
        server.write("htdocs/gate", "");
        cases.check("as people look at it", || {
            let errors = String::from_utf8_lossy(&output.stderr);
            assert!(output.status.success() && output.stdout.ends_with(b"ok\n"), "{errors}");
            assert_eq!(held.response("GET").map(|answer| answer.status).ok(), Some(200));
        });
    });
}
