//! Real sites with real clients: Django's users, Mercurial, Trac.

use std::ffi::OsStr;
use std::path::{Path, PathBuf};
use std::process::Command;

use e2e::Needs::NoSanitizer;
use e2e::{Interpreter, Setup, Test, curl, on_one_mpm};

use super::{BASIC, with_scripts};
use crate::frameworks;

pub(crate) const TESTS: &[Test] = &[
    on_one_mpm!(users_and_groups_of_django_open_apache),
    on_one_mpm!(mercurial_is_cloned_and_pushed_to),
    on_one_mpm!(trac_logs_in_who_apache_knows, NoSanitizer("its own crypt() calls a null pointer")),
];

/// Members with the password `secret`.
const MEMBERS: &str = "MEMBERS = ['ann', 'bob']\n\n\n\
    def check_password(environ, user, password):\n    return password == 'secret' if user in MEMBERS else None\n";

fn users_and_groups_of_django_open_apache(setup: Setup) {
    let environment = frameworks::environment();
    let script = "@ROOT@/site/mysite/wsgi.py";
    let basic = "AuthType Basic\nAuthName \"Top Secret\"\nAuthBasicProvider wsgi\n";
    with_scripts(setup)
        .python_home(Some(&environment))
        .file("site/keep", "")
        .file("make_site.py", include_str!("../../../apps/access/make_site.py"))
        .conf(&format!(
            "WSGIPythonPath @ROOT@/site\nWSGIScriptAlias /site {script}\nAlias /secret @ROOT@/htdocs\n\
             <Location /site/user>\n{basic}Require valid-user\nWSGIAuthUserScript {script}\n</Location>\n\
             <Location /secret>\n{basic}Require wsgi-group secret-agents\nWSGIAuthUserScript {script}\n\
             WSGIAuthGroupScript {script}\n</Location>",
        ))
        .group("python-path=@ROOT@/site")
        .run(|server, cases| {
            let site = server.path("site");
            run(Command::new(environment.join("bin/python"))
                .args(["-m", "django", "startproject", "mysite"])
                .arg(&site));
            server.write("site/mysite/wsgi.py", include_str!("../../../apps/access/site_wsgi.py"));
            run(Command::new(environment.join("bin/python")).arg(server.path("make_site.py")).arg(&site));
            give_away(&site);
            for (target, user, password, status) in [
                ("/site/user", "james", "shaken", 200),
                ("/site/user", "clerk", "stirred", 200),
                ("/site/user", "clerk", "shaken", 401),
                ("/site/user", "retired", "shaken", 401),
                ("/site/user", "stranger", "shaken", 401),
                ("/secret/page", "james", "shaken", 200),
                ("/secret/page", "clerk", "stirred", 401),
                ("/secret/page", "retired", "shaken", 401),
            ] {
                cases.check(&format!("{target} {user}:{password}"), || {
                    let response = server.request("GET", target).user(user, password).send();
                    assert_eq!(response.status, status, "{}", response.text());
                    if status == 200 {
                        assert_eq!(response.text(), if target == "/site/user" { user } else { "the page" });
                    }
                });
            }
            cases.check("Django itself, in the same process", || {
                let response = server.get("/site/admin/");
                assert_eq!(response.status, 302, "{}", response.text());
            });
        });
}

/// A virtual environment with the sites.
fn environment() -> PathBuf {
    Interpreter::current().environment(&Path::new(env!("CARGO_MANIFEST_DIR")).join("requirements-sites.txt"))
}

/// A script of the environment, run by its Python: the environment was made under another name,
/// which is in the script's first line.
fn script(name: &str) -> Command {
    let programs = environment().join("bin");
    let mut command = Command::new(programs.join("python"));
    command.arg(programs.join(name));
    command
}

/// A site in its virtual environment, closed by Basic authentication for members.
fn with_members(setup: Setup, url: &str, name: &str, application: &str, closed: &str) -> Setup {
    with_scripts(setup)
        .python_home(Some(&environment()))
        .file("apps/members.wsgi", MEMBERS)
        .app(url, name, application)
        .conf(&format!(
            "<Location {closed}>\n{BASIC}WSGIAuthUserScript @ROOT@/apps/members.wsgi\n</Location>"
        ))
}

fn mercurial_is_cloned_and_pushed_to(setup: Setup) {
    let configuration = "[collections]\n@ROOT@/hg/repositories = @ROOT@/hg/repositories\n\
                         [web]\npush_ssl = false\nallow_push = ann\n";
    let application = include_str!("../../../apps/access/hgweb.wsgi");
    with_members(setup, "/hg", "hgweb.wsgi", application, "/hg")
        .file("hg/hgweb.config", configuration)
        .file("hg/first/readme", "first\n")
        .conf("WSGIChunkedRequest On\nLimitRequestFieldSize 16384")
        .run(|server, cases| {
            let hg = |directory: &str, arguments: &[&str]| {
                let mut command = script("hg");
                command.current_dir(server.path(directory)).env("HGRCPATH", "").env("HGUSER", "somebody");
                command.args(["--noninteractive", "--config", "auth.e2e.prefix=*"]).args(arguments);
                command.output().unwrap_or_else(|error| panic!("hg: {error}"))
            };
            let succeed = |directory: &str, arguments: &[&str]| {
                let output = hg(directory, arguments);
                assert!(
                    output.status.success(),
                    "hg {arguments:?}: {}",
                    String::from_utf8_lossy(&output.stderr)
                );
                String::from_utf8_lossy(&output.stdout).into_owned()
            };
            let url = |user: &str| format!("http://{user}@localhost:{}/hg/shop", server.port());
            succeed("hg", &["init", "repositories/shop"]);
            give_away(&server.path("hg/repositories"));
            server.write("hg/ann/readme", "from ann\n");
            succeed("hg/ann", &["init"]);
            succeed("hg/ann", &["commit", "--addremove", "--message", "The first"]);
            cases.check("a push by who may", || {
                succeed("hg/ann", &["push", &url("ann:secret")]);
            });
            cases.check("a large push", || {
                server.write("hg/ann/large", "0123456789abcdef\n".repeat(200_000));
                server.write("hg/ann/incompressible", random(1 << 20));
                succeed("hg/ann", &["commit", "--addremove", "--message", "A large one"]);
                succeed("hg/ann", &["push", &url("ann:secret")]);
            });
            cases.check("a clone", || {
                succeed("hg", &["clone", &url("bob:secret"), "bob"]);
                assert_eq!(succeed("hg/bob", &["log", "--template", "{desc}\n"]), "A large one\nThe first\n");
                assert!(
                    std::fs::read(server.path("hg/bob/incompressible"))
                        .is_ok_and(|bytes| bytes == random(1 << 20))
                );
            });
            cases.check("a push by who may not", || {
                server.write("hg/bob/readme", "from bob\n");
                succeed("hg/bob", &["commit", "--message", "Another"]);
                let output = hg("hg/bob", &["push", &url("bob:secret")]);
                assert!(!output.status.success());
                let text = String::from_utf8_lossy(&output.stderr).into_owned();
                assert!(
                    text.contains("authorization failed") || text.contains("push not authorized"),
                    "{text}"
                );
            });
            cases.check("a guessed password", || {
                let output = hg("hg", &["identify", &url("ann:guessed")]);
                let text = String::from_utf8_lossy(&output.stderr).into_owned();
                assert!(!output.status.success() && text.contains("authorization failed"), "{text}");
            });
            cases.check("nobody", || assert_eq!(server.get("/hg/shop").status, 401));
        });
}

fn trac_logs_in_who_apache_knows(setup: Setup) {
    let application = include_str!("../../../apps/access/trac.wsgi");
    with_members(setup, "/trac", "trac.wsgi", application, "/trac/login").run(|server, cases| {
        let trac = server.path("trac");
        let admin = |arguments: &[&str]| {
            run(script("trac-admin").arg(&trac).args(arguments));
        };
        admin(&["initenv", "Test", "sqlite:db/trac.db"]);
        admin(&["permission", "add", "ann", "TRAC_ADMIN"]);
        give_away(&trac);
        let browser = |jar: &str, target: &str, user: &str| {
            let jar = server.path(jar).display().to_string();
            let url = format!("http://localhost:{}{target}", server.port());
            let resolve = format!("localhost:{}:127.0.0.1", server.port());
            let output = curl([
                "--location",
                "--resolve",
                &resolve,
                "--cookie",
                &jar,
                "--cookie-jar",
                &jar,
                "--user",
                user,
                "--write-out",
                "\n%{http_code}",
                &url,
            ]);
            String::from_utf8_lossy(&output.stdout).into_owned()
        };
        cases.check("open pages", || {
            let page = server.get("/trac").expect(200);
            assert!(page.contains("href=\"/trac/login\"") && !page.contains("logged in as"), "{page}");
        });
        cases.check("without credentials", || assert_eq!(server.get("/trac/login").status, 401));
        cases.check("a guessed password", || {
            let page = browser("eve", "/trac/login", "ann:guessed");
            assert!(page.ends_with("\n401"), "{page}");
        });
        cases.check("login and session", || {
            let page = browser("ann", "/trac/login", "ann:secret");
            assert!(page.contains("logged in as") && page.contains(">ann<"), "{page}");
            let page = browser("ann", "/trac/admin", ":");
            assert!(page.contains("Administration") && page.ends_with("\n200"), "{page}");
        });
        cases.check("another user", || {
            let page = browser("bob", "/trac/login", "bob:secret");
            assert!(page.contains(">bob<"), "{page}");
            assert!(browser("bob", "/trac/admin", ":").ends_with("\n404"));
        });
    });
}

/// Bytes that look random, the same each time.
fn random(count: usize) -> Vec<u8> {
    let mut state = 1_u32;
    let next = || {
        state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
        (state >> 24) as u8
    };
    std::iter::repeat_with(next).take(count).collect()
}

fn run(command: &mut Command) {
    let output = command.output().unwrap_or_else(|error| panic!("{command:?}: {error}"));
    let text = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{:?}: {text}", command.get_program());
}

/// Gives files to the serving user.
fn give_away(path: &Path) {
    if nix::unistd::geteuid().is_root() {
        run(Command::new("chown").args([OsStr::new("-R"), OsStr::new("www-data:"), path.as_os_str()]));
    }
}
