//! The directives that name a script for one of the server's hooks.

use std::time::Duration;

use super::*;
use crate::config::HookScript;

const DIRECTIVES: [&str; 4] =
    ["WSGIAccessScript", "WSGIAuthUserScript", "WSGIAuthGroupScript", "WSGIDispatchScript"];

fn script(server: &Server, directive: &str) -> HookScript {
    let settings = &server.directory;
    let script = match directive {
        "WSGIAccessScript" => &settings.access_script,
        "WSGIAuthUserScript" => &settings.auth_user_script,
        "WSGIAuthGroupScript" => &settings.auth_group_script,
        _ => &settings.dispatch_script,
    };
    script.as_deref().expect(directive).clone()
}

#[test]
fn a_script_has_a_file_and_options() {
    for directive in DIRECTIVES {
        for (line, file, group, seconds) in [
            ("/w/a.py", "/w/a.py", "", 60.0),
            ("\"/w/a b.py\" application-group=x", "/w/a b.py", "x", 60.0),
            ("application-group=x /w/a.py", "/w/a.py", "x", 60.0),
            ("timeout=5 application-group=%{HOST} /w/a.py", "/w/a.py", "%{HOST}", 5.0),
            ("/w/a.py application-group=a timeout=2m application-group=b", "/w/a.py", "b", 120.0),
            ("/w/a.py application-group=%{GLOBAL} timeout=500ms", "/w/a.py", "", 0.5),
            ("/w/a.py process-group=%{GLOBAL}", "/w/a.py", "", 60.0),
            // The name of a file, not an option.
            ("/w/a=b.py", "/w/a=b.py", "", 60.0),
            ("w=/a.py", "w=/a.py", "", 60.0),
        ] {
            let mut server = Server::default();
            server.line_in(Scope::Directory, &format!("{directive} {line}"));
            let script = script(&server, directive);
            assert_eq!(*script.script, *file.as_bytes(), "{line}");
            assert_eq!(*script.application_group, *group.as_bytes(), "{line}");
            assert!(script.process_group.is_empty());
            assert_eq!(script.time_limit, Duration::from_secs_f64(seconds), "{line}");
            assert!(server.global.embedded_demanded, "Python has to start in the children");
        }
    }
}

#[test]
fn mistakes_are_refused() {
    for directive in DIRECTIVES {
        for (line, gist) in [
            ("", "not supplied"),
            ("\"\"", "not supplied"),
            ("application-group=a", "not supplied"),
            ("/x application-group=", "application group"),
            ("/x process-group=", "process group"),
            ("/x callable-object=a", "Invalid option 'callable-object'"),
            ("/x stray", "Invalid option 'stray'"),
            ("/x =a", "Invalid option '=a'"),
            ("/x application_group=a", "did you mean application-group=?"),
            ("application-group=a /x /y", "Invalid option '/y'"),
            ("/x timeout=0", "Invalid timeout '0'"),
            ("/x timeout=soon", "Invalid timeout 'soon'"),
            ("/x timeout=2d", "Invalid timeout '2d'"),
        ] {
            let mut server = Server::default();
            let error = server.diagnostic(Scope::Directory, &format!("{directive} {line}")).expect_err(line);
            assert!(error.contains(gist), "{directive} {line}: {error}");
        }
    }
}

#[test]
fn a_script_may_run_in_a_process_group() {
    for directive in DIRECTIVES {
        let mut server = Server::default();
        server.line_in(Scope::Directory, &format!("{directive} /x process-group=guard timeout=3"));
        assert_eq!(*script(&server, directive).process_group, *b"guard");
        assert!(!server.global.embedded_demanded, "the children need no Python");
        let found = server.review();
        assert!(found.iter().any(|found| found.what.contains("no process group 'guard'")), "{found:?}");
        let mut server = Server { is_htaccess: true, ..Server::default() };
        let in_htaccess = |server: &mut Server, options| {
            server.diagnostic(Scope::Directory, &format!("{directive} /x {options}"))
        };
        let refused = in_htaccess(&mut server, "process-group=guard").expect_err(directive);
        assert!(refused.contains("not allowed in .htaccess"), "{refused}");
        assert_eq!(in_htaccess(&mut server, "process-group=%{GLOBAL}"), Ok(None));
    }
}

#[test]
fn names_that_are_not_expanded_are_warned_of() {
    let mut server = Server::default();
    let line = "WSGIDispatchScript /x application-group=%{RESOURCE}";
    server.warned(line, "what is expanded, if it stands alone, is %{GLOBAL}, %{SERVER}, %{HOST}");
}

#[test]
fn inner_sections_replace_the_whole_script() {
    let mut outer = Server::default();
    outer.line_in(Scope::Directory, "WSGIAccessScript /outer application-group=a");
    outer.line_in(Scope::Directory, "WSGIGroupAuthoritative Off");
    let mut inner = Server::default();
    inner.line_in(Scope::Directory, "WSGIAccessScript /inner");
    let merged = DirectoryConfig::merged(&outer.directory, &inner.directory);
    let script = merged.access_script.unwrap();
    assert_eq!((&*script.script, &*script.application_group), (&b"/inner"[..], &b""[..]));
    assert_eq!(merged.group_authoritative, Some(false));
}
