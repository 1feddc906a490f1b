//! `WSGIAuthGroupScript`: `Require wsgi-group`.

use e2e::{Setup, Test, on_one_mpm};

use super::{IN_CHILDREN, check_logged, section, with_scripts};

pub(crate) const TESTS: &[Test] = &[
    on_one_mpm!(groups_for_user_decides, IN_CHILDREN),
    on_one_mpm!(groups_are_one_requirement_among_others, IN_CHILDREN),
    on_one_mpm!(unknown_groups_exclude_everybody, IN_CHILDREN),
];

/// Any user, and the groups of the script.
fn group_section(url: &str, lines: &str) -> String {
    section(
        url,
        &format!(
            "AuthType Basic\nAuthName closed\nAuthBasicProvider anybody\n\
             WSGIAuthGroupScript @ROOT@/apps/groups.wsgi\n{lines}"
        ),
    )
}

/// Everybody is who they say.
fn with_anybody(setup: Setup) -> Setup {
    with_scripts(setup).file("apps/anybody.wsgi", "def check_password(environ, user, password):\n    return True\n").conf(
        "<AuthnProviderAlias wsgi anybody>\nWSGIAuthUserScript @ROOT@/apps/anybody.wsgi\n</AuthnProviderAlias>",
    )
}

fn groups_for_user_decides(setup: Setup) {
    with_anybody(setup)
        .file("apps/not-callable.wsgi", "groups_for_user = 7\n")
        .file("apps/syntax.wsgi", "def groups_for_user(:\n")
        .conf(&group_section("/staff", "Require wsgi-group staff"))
        .conf(&group_section("/forbidden", "Require wsgi-group staff\nAuthzSendForbiddenOnFailure On"))
        .conf(&group_section("/words", "Require wsgi-group none \"two words\" J\u{f6}rg"))
        .conf(&group_section(
            "/missing-function",
            "Require wsgi-group staff\nWSGIAuthGroupScript @ROOT@/apps/user.wsgi",
        ))
        .conf(&group_section(
            "/not-callable",
            "Require wsgi-group staff\nWSGIAuthGroupScript @ROOT@/apps/not-callable.wsgi",
        ))
        .conf(&group_section(
            "/syntax",
            "Require wsgi-group staff\nWSGIAuthGroupScript @ROOT@/apps/syntax.wsgi",
        ))
        .conf(&group_section(
            "/missing-file",
            "Require wsgi-group staff\nWSGIAuthGroupScript @ROOT@/apps/none.wsgi",
        ))
        .conf(&section(
            "/no-script",
            "AuthType Basic\nAuthName closed\nAuthBasicProvider anybody\nRequire wsgi-group staff",
        ))
        .run(|server, cases| {
            for (user, status, logged) in [
                ("list", 200, "groups_for_user 'list' str"),
                ("tuple", 200, ""),
                ("set", 200, ""),
                ("dict", 200, ""),
                ("generator", 200, ""),
                ("bytes", 200, ""),
                ("case", 200, ""),
                ("no-groups", 401, "WSGI0059"),
                ("other", 401, "WSGI0060"),
                ("prefix", 401, "WSGI0060"),
                ("text", 401, "WSGI0060"),
                ("number", 401, "WSGI0050"),
                ("number-first", 401, "WSGI0050"),
                ("beyond", 401, "WSGI0049"),
                ("beyond-first", 401, "WSGI0049"),
                ("not-iterable", 401, "WSGI0051"),
                ("none", 401, "WSGI0051"),
                ("raises", 401, "RuntimeError: groups_for_user fails"),
                ("exits", 401, "SystemExit"),
                ("failing", 200, "RuntimeError: the groups end early"),
                ("list", 200, "groups_for_user"),
            ] {
                let get = || server.request("GET", "/staff/page").user(user, "").send();
                check_logged(cases, server, (user, status, logged), get);
            }
            for (target, user, status, logged) in [
                ("/forbidden", "list", 200, "groups_for_user"),
                ("/forbidden", "other", 403, "WSGI0060"),
                ("/forbidden", "raises", 403, "RuntimeError"),
                ("/words", "two-words", 200, "groups_for_user"),
                ("/words", "latin-1", 401, "WSGI0060"),
                ("/words", "list", 401, "WSGI0060"),
                ("/missing-function", "list", 401, "WSGI0052"),
                ("/not-callable", "list", 401, "TypeError"),
                ("/syntax", "list", 401, "SyntaxError"),
                ("/missing-file", "list", 401, "none.wsgi"),
                ("/no-script", "list", 401, "WSGI0058"),
            ] {
                let get = || server.request("GET", &format!("{target}/page")).user(user, "").send();
                check_logged(cases, server, (&format!("{target} {user}"), status, logged), get);
            }
            cases.check("nobody yet", || {
                let mark = server.mark();
                let response = server.get("/staff/page");
                assert_eq!(response.status, 401);
                assert!(response.header("WWW-Authenticate").is_some());
                assert!(!server.log_since(mark).contains("groups_for_user"));
            });
        });
}

fn groups_are_one_requirement_among_others(setup: Setup) {
    let script = "WSGIAuthGroupScript @ROOT@/apps/groups.wsgi\n";
    with_anybody(setup)
        .conf(&group_section("/any", "Require user other\nRequire wsgi-group staff"))
        .conf(&group_section(
            "/authoritative",
            "WSGIGroupAuthoritative On\nRequire wsgi-group staff\nRequire user other",
        ))
        .conf(&group_section(
            "/lenient",
            "WSGIGroupAuthoritative Off\nRequire wsgi-group staff\nRequire user other",
        ))
        .conf(&group_section(
            "/all",
            "<RequireAll>\nRequire wsgi-group staff\nRequire user list set\n</RequireAll>",
        ))
        .conf(&group_section(
            "/not",
            "<RequireAll>\nRequire valid-user\nRequire not wsgi-group staff\n</RequireAll>",
        ))
        .conf(&format!(
            "<AuthzProviderAlias wsgi-group crew staff>\n{script}</AuthzProviderAlias>\n{}",
            section("/alias", "AuthType Basic\nAuthName closed\nAuthBasicProvider anybody\nRequire crew")
        ))
        .run(|server, cases| {
            for (target, user, status) in [
                ("/any", "list", 200),
                ("/any", "other", 200),
                ("/any", "no-groups", 401),
                ("/authoritative", "list", 200),
                ("/authoritative", "other", 200),
                ("/authoritative", "no-groups", 401),
                ("/lenient", "list", 200),
                ("/lenient", "other", 200),
                ("/lenient", "no-groups", 401),
                ("/all", "list", 200),
                ("/all", "tuple", 401),
                ("/all", "other", 401),
                ("/not", "list", 401),
                ("/not", "other", 200),
                ("/alias", "list", 200),
                ("/alias", "other", 401),
            ] {
                cases.check(&format!("{target} {user}"), || {
                    let response = server.request("GET", &format!("{target}/page")).user(user, "").send();
                    assert_eq!(response.status, status);
                });
            }
        });
}

const LETS_IN: &str = "the original lets in whose groups cannot be determined if a group is excluded";

/// A requirement that keeps a group out keeps those out, too, whose groups cannot be determined.
fn unknown_groups_exclude_everybody(setup: Setup) {
    let script = "WSGIAuthGroupScript @ROOT@/apps/groups.wsgi\n";
    let all = |lines: &str| format!("<RequireAll>\nRequire valid-user\n{lines}\n</RequireAll>");
    let none = "<RequireNone>\nRequire user nobody\nRequire wsgi-group staff\n</RequireNone>";
    with_anybody(setup)
        .conf(&group_section("/not", &all("Require NOT wsgi-group staff")))
        .conf(&group_section("/none", &all(none)))
        .conf(&group_section(
            "/nested",
            &all("<RequireNone>\n<RequireAny>\nRequire wsgi-group staff\n</RequireAny>\n</RequireNone>"),
        ))
        .conf(&group_section(
            "/no-function",
            &format!("{}\nWSGIAuthGroupScript @ROOT@/apps/user.wsgi", all(none)),
        ))
        .conf(&section(
            "/no-script",
            &format!("AuthType Basic\nAuthName closed\nAuthBasicProvider anybody\n{}", all(none)),
        ))
        .conf(&format!(
            "<AuthzProviderAlias wsgi-group crew staff>\n{script}</AuthzProviderAlias>\n{}",
            section(
                "/alias",
                &format!(
                    "AuthType Basic\nAuthName closed\nAuthBasicProvider anybody\n{}",
                    all("Require not crew")
                )
            )
        ))
        .run(|server, cases| {
            let check = |target: &str, user: &str, status: u16| {
                let response = server.request("GET", &format!("{target}/page")).user(user, "").send();
                assert_eq!(response.status, status, "{target} {user}");
            };
            for target in ["/not", "/none", "/nested", "/alias"] {
                cases.check(target, || {
                    check(target, "list", 401);
                    check(target, "other", 200);
                    check(target, "no-groups", 200);
                });
                cases.deviates(&format!("{target}, unknown groups"), LETS_IN, || {
                    for user in ["raises", "exits", "none", "number-first", "beyond-first", "ends-early"] {
                        check(target, user, 500);
                    }
                });
            }
            cases.deviates("no function", LETS_IN, || check("/no-function", "other", 500));
            cases.deviates("no script", LETS_IN, || check("/no-script", "other", 500));
        });
}
