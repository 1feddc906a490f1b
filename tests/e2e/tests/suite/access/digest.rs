//! `WSGIAuthUserScript` with Digest authentication: `get_realm_hash`, asked for by curl.

use e2e::{Server, Setup, Test, curl, on_one_mpm};

use super::{IN_CHILDREN, section, with_scripts};

pub(crate) const TESTS: &[Test] = &[on_one_mpm!(get_realm_hash_decides, IN_CHILDREN)];

const DIGEST: &str =
    "AuthType Digest\nAuthName \"Closed area\"\nAuthDigestProvider wsgi\nRequire valid-user\n";

/// Returns the status and the page.
fn fetch(server: &Server, target: &str, user: &str, password: &str) -> (String, String) {
    let (url, user) = (format!("http://{}{target}", server.address()), format!("{user}:{password}"));
    let output = curl(["--digest", "--user", &user, "--write-out", "\n%{http_code}", &url]);
    let text = String::from_utf8_lossy(&output.stdout).into_owned();
    let (page, status) = text.rsplit_once('\n').unwrap_or_default();
    (status.to_owned(), page.to_owned())
}

fn get_realm_hash_decides(setup: Setup) {
    let script = "WSGIAuthUserScript @ROOT@/apps/user.wsgi";
    let missing = format!("{DIGEST}WSGIAuthUserScript @ROOT@/apps/groups.wsgi");
    with_scripts(setup)
        .modules(&["auth_digest"])
        .conf(&format!("<Location /user>\n{DIGEST}{script}\n</Location>"))
        .conf(&section("/no-script", DIGEST))
        .conf(&section("/missing-function", &missing))
        .run(|server, cases| {
            for (name, target, status, logged) in [
                ("somebody", "/user", "200", "get_realm_hash 'somebody' 'Closed area'"),
                ("bytes", "/user", "200", "get_realm_hash"),
                ("none", "/user", "401", "user `none' in realm `Closed area' not found"),
                ("wrong", "/user", "401", "password mismatch"),
                ("empty", "/user", "500", "WSGI0178"),
                ("empty-bytes", "/user", "500", "WSGI0178"),
                ("one", "/user", "500", "WSGI0179"),
                ("true", "/user", "500", "WSGI0179"),
                ("beyond", "/user", "500", "UnicodeEncodeError"),
                ("raises", "/user", "500", "RuntimeError: get_realm_hash fails"),
                ("exits", "/user", "500", "SystemExit"),
                ("somebody", "/no-script/page", "500", "WSGI0044"),
                ("somebody", "/missing-function/page", "500", "WSGI0046"),
            ] {
                cases.check(&format!("{name} at {target}"), || {
                    let mark = server.mark();
                    let (found, page) = fetch(server, target, name, "secret");
                    assert_eq!(found, status, "{page}");
                    server.wait_log(mark, logged);
                });
            }
            cases.check("the application sees its user", || {
                let (_, page) = fetch(server, "/user", "somebody", "secret");
                assert!(page.contains("REMOTE_USER\t'somebody'\nAUTH_TYPE\t'Digest'\n"), "{page}");
            });
            cases.check("another password", || {
                assert_eq!(fetch(server, "/user", "somebody", "guessed").0, "401");
            });
        });
}
