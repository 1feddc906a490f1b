//! The scripts among Apache's other means: provider aliases, several providers in a row, forms,
//! `Satisfy Any`, `.htaccess`.

use e2e::{Cases, Server, Setup, Test, curl, on_one_mpm};

use super::{BASIC, IN_CHILDREN, expect_logged, section, with_scripts};

pub(crate) const TESTS: &[Test] = &[
    on_one_mpm!(providers_are_asked_in_their_order, IN_CHILDREN),
    on_one_mpm!(a_form_logs_users_in, IN_CHILDREN),
    on_one_mpm!(one_of_address_and_password_suffices, IN_CHILDREN),
    on_one_mpm!(directories_bring_their_own_scripts, IN_CHILDREN),
    on_one_mpm!(a_script_of_a_directory_needs_python, IN_CHILDREN),
];

/// `filed` with the password `filed`, `both` with the same.
const FILE: &str = "filed:{SHA}vvmBDk32ZNVpDrKVB8LK0EVs9Do=\nboth:{SHA}vvmBDk32ZNVpDrKVB8LK0EVs9Do=\n";

/// Knows everybody but those in `UNKNOWN`.
const PROVIDER: &str = "UNKNOWN = ['filed', 'nobody', 'guest']\n\n\n\
    def check_password(environ, user, password):\n    print('asked about', user, file=environ['wsgi.errors'])\n    \
    return None if user in UNKNOWN else password == 'secret'\n";

const GUESTS: &str = "def check_password(environ, user, password):\n    \
    return user == 'guest' or None\n";

fn providers_are_asked_in_their_order(setup: Setup) {
    let with = |url: &str, lines: &str| {
        section(url, &format!("AuthType Basic\nAuthName closed\nRequire valid-user\n{lines}"))
    };
    let script = "WSGIAuthUserScript @ROOT@/apps/provider.wsgi";
    with_scripts(setup)
        .file("users", FILE)
        .file("apps/provider.wsgi", PROVIDER)
        .file("apps/guests.wsgi", GUESTS)
        .conf(
            "<AuthnProviderAlias wsgi members>\nWSGIAuthUserScript @ROOT@/apps/provider.wsgi\n</AuthnProviderAlias>\n\
             <AuthnProviderAlias wsgi guests>\nWSGIAuthUserScript @ROOT@/apps/guests.wsgi application-group=guests\n\
             </AuthnProviderAlias>",
        )
        .conf(&with("/file-wsgi", &format!("AuthBasicProvider file wsgi\nAuthUserFile @ROOT@/users\n{script}")))
        .conf(&with("/wsgi-file", &format!("{script}\nAuthUserFile @ROOT@/users\nAuthBasicProvider wsgi file")))
        .conf(&with("/aliases", "AuthBasicProvider members guests"))
        .conf(&with("/alias-file", "AuthUserFile @ROOT@/users\nAuthBasicProvider members file"))
        .run(|server, cases| {
            for (target, user, password, status) in [
                ("/file-wsgi", "filed", "filed", 200),
                ("/file-wsgi", "both", "filed", 200),
                ("/file-wsgi", "both", "secret", 401),
                ("/file-wsgi", "scripted", "secret", 200),
                ("/file-wsgi", "scripted", "guessed", 401),
                ("/file-wsgi", "nobody", "secret", 401),
                ("/wsgi-file", "filed", "filed", 200),
                ("/wsgi-file", "filed", "secret", 401),
                ("/wsgi-file", "both", "filed", 401),
                ("/wsgi-file", "both", "secret", 200),
                ("/wsgi-file", "scripted", "secret", 200),
                ("/wsgi-file", "nobody", "secret", 401),
                ("/aliases", "scripted", "secret", 200),
                ("/aliases", "scripted", "guessed", 401),
                ("/aliases", "guest", "", 200),
                ("/aliases", "nobody", "secret", 401),
                ("/alias-file", "filed", "filed", 200),
                ("/alias-file", "scripted", "secret", 200),
            ] {
                cases.check(&format!("{target} {user}:{password}"), || {
                    let response = server.request("GET", &format!("{target}/page")).user(user, password).send();
                    assert_eq!(response.status, status);
                });
            }
        });
}

fn a_form_logs_users_in(setup: Setup) {
    let form = "AuthType form\nAuthName closed\nAuthFormProvider wsgi\nWSGIAuthUserScript @ROOT@/apps/user.wsgi\n\
                Session On\nSessionCookieName session path=/\n";
    let conf = format!(
        "<Location /user>\n{form}AuthFormLoginRequiredLocation /page\nRequire valid-user\n</Location>\n\
         <Location /login>\nSetHandler form-login-handler\n{form}AuthFormLoginSuccessLocation /user\nRequire all granted\n</Location>\n\
         <Location /logout>\nSetHandler form-logout-handler\nAuthName closed\nSession On\nSessionMaxAge 1\n\
         SessionCookieName session path=/\nAuthFormLogoutLocation /page\n</Location>\n",
    );
    with_scripts(setup).modules(&["auth_form", "request", "session", "session_cookie"]).conf(&conf).run(
        |server, cases| {
            cases.check("the form is asked for", || {
                let response = server.get("/user");
                assert_eq!((response.status, location(&response).as_str()), (302, "/page"));
            });
            for (user, status) in
                [("unknown", 401), ("false", 401), ("empty", 500), ("raises", 500), ("one", 500)]
            {
                cases.check(user, || {
                    let response = log_in(server, user, "guessed");
                    assert_eq!(response.status, status);
                    assert_ne!(location(&response), "/user");
                });
            }
            cases.check("a session", || {
                let response = log_in(server, "somebody", "secret");
                assert_eq!((response.status, location(&response).as_str()), (302, "/user"));
                let cookie = response.header("Set-Cookie").and_then(|value| value.split(';').next());
                let cookie = cookie.unwrap_or_else(|| panic!("no cookie")).to_owned();
                let mark = server.mark();
                let response = server.request("GET", "/user").header("Cookie", &cookie).send();
                assert_eq!(response.value("REMOTE_USER").as_deref(), Some("'somebody'"));
                assert_eq!(response.value("AUTH_TYPE").as_deref(), Some("'form'"));
                // The session has the password, so the script is asked each time.
                server.wait_log(mark, "check_password 'somebody' 'secret'");
            });
            cases.check("the login form of a browser", || {
                let jar = server.path("cookies").display().to_string();
                let url = |target| format!("http://{}{target}", server.address());
                let (login, page) = (url("/login"), url("/user"));
                let data = "httpd_username=somebody&httpd_password=secret";
                let output = curl(["--cookie-jar", &jar, "--location", "--data", data, &login]);
                let text = String::from_utf8_lossy(&output.stdout).into_owned();
                assert!(text.contains("REMOTE_USER\t'somebody'"), "{text}");
                let output = curl(["--cookie", &jar, &page]);
                assert!(String::from_utf8_lossy(&output.stdout).contains("REMOTE_USER\t'somebody'"));
            });
        },
    );
}

fn log_in(server: &Server, user: &str, password: &str) -> e2e::Response {
    let body = format!("httpd_username={user}&httpd_password={password}");
    let request =
        server.request("POST", "/login").header("Content-Type", "application/x-www-form-urlencoded");
    request.body(body).send()
}

/// The path of a redirect.
fn location(response: &e2e::Response) -> String {
    let url = response.header("Location").unwrap_or_default();
    url.split_once("://")
        .and_then(|(_, rest)| rest.find('/').map(|at| rest[at..].to_owned()))
        .unwrap_or_else(|| url.to_owned())
}

fn one_of_address_and_password_suffices(setup: Setup) {
    let lines = format!(
        "{BASIC}WSGIAuthUserScript @ROOT@/apps/user.wsgi\nWSGIAccessScript @ROOT@/apps/access.wsgi\nSatisfy Any"
    );
    with_scripts(setup).modules(&["access_compat"]).conf(&section("/any", &lines)).run(|server, cases| {
        for (name, query, user, status) in [
            ("the script allows it", "true", None, 200),
            ("the script refuses", "false", None, 401),
            ("the script refuses, the password is right", "false", Some("true"), 200),
            ("the script refuses, the password is wrong", "false", Some("false"), 401),
        ] {
            cases.check(name, || {
                let request = server.request("GET", &format!("/any/page?{query}"));
                let request = if let Some(user) = user { request.user(user, "x") } else { request };
                let mark = server.mark();
                assert_eq!(request.send().status, status);
                let log = server.log_since(mark);
                assert!(!log.contains("WSGI0057"), "said only where it is the last word: {log}");
            });
        }
    });
}

fn directories_bring_their_own_scripts(setup: Setup) {
    let directory =
        |name: &str, lines: &str| format!("<Directory @ROOT@/htdocs/{name}>\n{lines}\n</Directory>\n");
    let script = "WSGIAuthUserScript @ROOT@/apps/user.wsgi";
    with_scripts(setup)
        .file("htdocs/own/page", "the page")
        .file("htdocs/own/.htaccess", format!("{BASIC}{script}\n"))
        .file("htdocs/access/page", "the page")
        .file("htdocs/access/.htaccess", "WSGIAccessScript @ROOT@/apps/access.wsgi application-group=own\n")
        .file("htdocs/groups/page", "the page")
        .file(
            "htdocs/groups/.htaccess",
            format!("{BASIC}{script}\nWSGIAuthGroupScript @ROOT@/apps/groups.wsgi\nWSGIGroupAuthoritative Off\nRequire wsgi-group staff\n"),
        )
        .file("htdocs/none/page", "the page")
        .file("htdocs/none/.htaccess", "WSGIAccessScript @ROOT@/apps/none.wsgi\n")
        .file("htdocs/other/page", "the page")
        .file("htdocs/other/.htaccess", "WSGIAccessScript @ROOT@/apps/access.wsgi\n")
        .file("htdocs/wrong/page", "the page")
        .file("htdocs/wrong/.htaccess", "WSGIAccessScript @ROOT@/apps/access.wsgi callable-object=x\n")
        .file("htdocs/dispatch/page", "the page")
        .file("htdocs/dispatch/.htaccess", "WSGIDispatchScript @ROOT@/apps/access.wsgi\n")
        .file("htdocs/inner/page", "the page")
        .file("htdocs/inner/.htaccess", "WSGIAccessScript @ROOT@/apps/access.wsgi\n")
        .conf(
            &["own", "access", "groups", "wrong"].map(|name| directory(name, "AllowOverride AuthConfig")).concat(),
        )
        .conf(&directory("none", "AllowOverride None"))
        .conf(&directory("other", "AllowOverride FileInfo"))
        .conf(&directory("dispatch", "AllowOverride All"))
        .conf(&directory("inner", "AllowOverride AuthConfig\nWSGIAccessScript @ROOT@/apps/none.wsgi application-group=x"))
        .run(|server, cases| {
            for (target, user, status, logged) in [
                ("/own/page", "true", 200, "check_password 'true'"),
                ("/own/page", "false", 401, "check_password 'false'"),
                ("/access/page?true", "", 200, "allow_access true"),
                ("/access/page?false", "", 403, "allow_access false"),
                ("/groups/page", "other", 200, "check_password 'other'"),
                ("/none/page?false", "", 200, ""),
                ("/other/page?true", "", 500, "WSGIAccessScript not allowed here"),
                ("/wrong/page?true", "", 500, "/wrong/.htaccess"),
                ("/dispatch/page", "", 500, "WSGIDispatchScript not allowed here"),
                ("/inner/page?true", "", 200, "allow_access true"),
                ("/inner/page?false", "", 403, "allow_access false"),
            ] {
                cases.check(&format!("{target} {user}"), || {
                    expect_logged(server, status, logged, || {
                        let request = server.request("GET", target);
                        if user.is_empty() { request.send() } else { request.user(user, "secret").send() }
                    });
                });
            }
            check_a_changed_directory(server, cases);
        });
}

fn check_a_changed_directory(server: &Server, cases: &mut Cases<'_>) {
    cases.check("a changed .htaccess counts at once", || {
        server.write("htdocs/inner/.htaccess", "");
        assert_eq!(server.get("/inner/page?true").status, 403, "the outer script is missing");
        server.write("htdocs/inner/.htaccess", "WSGIAccessScript none/of/these.wsgi\n");
        assert_eq!(server.get("/inner/page?true").status, 403);
    });
}

/// Scripts that the main configuration names have Python started in Apache's children; those of
/// `.htaccess` come later.
fn a_script_of_a_directory_needs_python(setup: Setup) {
    let script = "WSGIAuthUserScript @ROOT@/apps/user.wsgi";
    with_scripts(setup)
        .file("htdocs/access/page", "the page")
        .file("htdocs/access/.htaccess", "WSGIAccessScript @ROOT@/apps/access.wsgi\n")
        .file("htdocs/user/page", "the page")
        .file("htdocs/user/.htaccess", format!("{BASIC}{script}\n"))
        .file("htdocs/group/page", "the page")
        .file(
            "htdocs/group/.htaccess",
            "AuthType Basic\nAuthName x\nAuthBasicProvider file\nAuthUserFile @ROOT@/users\n\
             WSGIAuthGroupScript @ROOT@/apps/groups.wsgi\nRequire wsgi-group staff\n",
        )
        .file("users", FILE)
        .conf("WSGIRestrictEmbedded On\n<Directory @ROOT@/htdocs>\nAllowOverride AuthConfig\n</Directory>")
        .run(|server, cases| {
            let reason = "D1: the child crashes";
            for (target, user, status) in
                [("/access/page?true", "", 403), ("/user/page", "true", 500), ("/group/page", "filed", 401)]
            {
                cases.ours_only(target, reason, || {
                    let mark = server.mark();
                    let request = server.request("GET", target);
                    let request = if user.is_empty() { request } else { request.user(user, "filed") };
                    assert_eq!(request.send().status, status);
                    server.wait_log(mark, "WSGIRestrictEmbedded");
                });
            }
        });
}
