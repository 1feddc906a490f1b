//! The scripts as files: interpreters, changes, mistakes in the configuration.

use e2e::Needs::{OneProcess, OnlyMpms};
use e2e::{Mpm, Setup, Target, Test, on_one_mpm};

use super::{BASIC, IN_CHILDREN, section, with_scripts};

pub(crate) const TESTS: &[Test] = &[
    on_one_mpm!(a_script_runs_in_its_application_group, IN_CHILDREN),
    on_one_mpm!(a_changed_script_is_loaded_again, IN_CHILDREN, OneProcess),
    on_one_mpm!(mistakes_in_these_directives_are_refused, IN_CHILDREN, OnlyMpms(&[Mpm::Event])),
];

fn a_script_runs_in_its_application_group(setup: Setup) {
    let with = |url: &str, options: &str| {
        format!("<Location {url}>\n{BASIC}WSGIAuthUserScript @ROOT@/apps/user.wsgi {options}\n</Location>\n")
    };
    with_scripts(setup)
        .conf(&with("/user", ""))
        .conf(&with("/user/global", "application-group=%{GLOBAL}"))
        .conf(&with("/user/server", "application-group=%{SERVER}"))
        .conf(&with("/user/host", "application-group=%{HOST}"))
        .conf(&with("/user/resource", "application-group=%{RESOURCE}"))
        .conf(&with("/user/environment", "application-group=%{ENV:SET}"))
        .conf(&with("/user/named", "application-group=\"a name\""))
        .conf(&with("/user/last", "application-group=first application-group=last"))
        .conf("SetEnvIf Host . SET=value")
        .run(|server, cases| {
            let port = server.port();
            for (target, group) in [
                ("/user", String::new()),
                ("/user/global", String::new()),
                ("/user/server", format!("localhost:{port}")),
                ("/user/host", format!("some.example:{port}")),
                ("/user/resource", "%{RESOURCE}".to_owned()),
                ("/user/environment", "%{ENV:SET}".to_owned()),
                ("/user/named", "a name".to_owned()),
                ("/user/last", "last".to_owned()),
            ] {
                cases.check(target, || {
                    let request =
                        server.request("GET", target).host(&format!("Some.example:{port}")).user("group", "");
                    assert_eq!(request.send().value("REMOTE_USER"), Some(format!("'group <{group}>'")));
                });
            }
        });
}

/// A script whose answer depends on its version.
fn version(names: &str) -> String {
    format!(
        "NAMES = {names}\n\n\ndef allow_access(environ, host):\n    return 'open' in NAMES\n\n\n\
         def check_password(environ, user, password):\n    return True if user in NAMES else None\n\n\n\
         def groups_for_user(environ, user):\n    return NAMES\n"
    )
}

fn a_changed_script_is_loaded_again(setup: Setup) {
    let lines = "WSGIAccessScript @ROOT@/apps/one.wsgi\nWSGIAuthUserScript @ROOT@/apps/one.wsgi\n\
                 WSGIAuthGroupScript @ROOT@/apps/one.wsgi\n";
    let basic = BASIC.replace("Require valid-user", "Require wsgi-group crew");
    with_scripts(setup)
        .file("apps/one.wsgi", version("['open', 'ann', 'crew']"))
        .conf(&section("/closed", &format!("{basic}{lines}")))
        .conf(&section("/still", &format!("{basic}{lines}WSGIScriptReloading Off")))
        .run(|server, cases| {
            let status = |target: &str, user: &str| {
                server.request("GET", &format!("{target}/page")).user(user, "x").send().status
            };
            cases.check("the first version", || {
                assert_eq!([status("/closed", "ann"), status("/closed", "bob")], [200, 401]);
            });
            cases.check("without reloading", || {
                server.write("apps/one.wsgi", version("['open', 'bob', 'crew']"));
                assert_eq!([status("/still", "ann"), status("/still", "bob")], [200, 401]);
            });
            cases.check("the next version", || {
                let mark = server.mark();
                assert_eq!([status("/closed", "ann"), status("/closed", "bob")], [401, 200]);
                server.wait_log(mark, "Reloading WSGI script '");
            });
            cases.check("a version without that group", || {
                server.write("apps/one.wsgi", version("['open', 'bob']"));
                assert_eq!(status("/closed", "bob"), 401);
            });
            cases.check("a version that keeps all away", || {
                server.write("apps/one.wsgi", version("['bob', 'crew']"));
                assert_eq!(status("/closed", "bob"), 403);
            });
            cases.check("a version that cannot be loaded lets nobody in", || {
                server.write("apps/one.wsgi", "def check_password(:\n");
                assert_eq!(status("/closed", "bob"), 403);
                assert_eq!(status("/closed", "bob"), 403);
            });
            cases.check("a version that can be loaded again", || {
                server.write("apps/one.wsgi", version("['open', 'bob', 'crew']"));
                assert_eq!(status("/closed", "bob"), 200);
            });
            cases.check("a script that is gone", || {
                std::fs::remove_file(server.path("apps/one.wsgi")).unwrap_or_else(|error| panic!("{error}"));
                assert_eq!(status("/closed", "bob"), 403);
            });
        });
}

fn mistakes_in_these_directives_are_refused(setup: Setup) {
    let accepts = |lines: &str| {
        let output = with_scripts(setup.clone()).conf(lines).test_configuration();
        (output.status.success(), String::from_utf8_lossy(&output.stderr).into_owned())
    };
    let in_location = |line: &str| format!("<Location /x>\n{line}\n</Location>");
    for name in ["WSGIAccessScript", "WSGIAuthUserScript", "WSGIAuthGroupScript", "WSGIDispatchScript"] {
        for line in [
            "",
            "\"\"",
            "/x application-group=",
            "/x callable-object=application",
            "/x pass-authorization=On",
            "/x script-user=www-data",
            "/x stray",
            "/x =a",
            "/x \"application-group=a b\"",
        ] {
            let (accepted, text) = accepts(&in_location(&format!("{name} {line}")));
            assert!(!accepted, "{name} {line}: {text}");
        }
        for line in [
            "/none",
            "\"/a b/c\" application-group=a",
            "/x application-group=\"a b\"",
            "x.wsgi application-group=%{GLOBAL}",
        ] {
            let (accepted, text) = accepts(&in_location(&format!("{name} {line}")));
            assert!(accepted, "{name} {line}: {text}");
        }
        // The original takes the first word for the file.
        let (accepted, text) = accepts(&in_location(&format!("{name} application-group=a /x")));
        assert_eq!(accepted, !Target::current().is_reference(), "{name}: {text}");
        let at_top = accepts(&format!("{name} /x"));
        assert_eq!(at_top.0, name == "WSGIDispatchScript", "{}", at_top.1);
    }
    for (line, accepted) in [
        ("WSGIGroupAuthoritative On", true),
        ("WSGIGroupAuthoritative off", true),
        ("WSGIGroupAuthoritative", false),
        ("WSGIGroupAuthoritative yes", false),
        ("Require wsgi-group staff \"two words\"", true),
        ("AuthBasicProvider wsgi", true),
        ("WSGIUserAuthoritative On", false),
    ] {
        assert_eq!(accepts(&in_location(line)).0, accepted, "{line}");
    }
    assert!(!accepts("WSGIGroupAuthoritative On").0);
}
