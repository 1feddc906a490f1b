//! `mod_wsgi-express doctor` and configurations of Apache: what it finds is what really happens, and
//! of what works it says nothing.

use std::fs;
use std::net::TcpListener;
use std::path::Path;
use std::process::Output;

use e2e::Needs::{Daemon, Ours, Root};
use e2e::{LogMark, Server, Setup, Target, Test, free_port, on_one_mpm, test};
use serde_json::Value;

use super::server::{Site, account, allow, command, own_options};

pub(crate) const TESTS: &[Test] = &[
    on_one_mpm!(what_the_doctor_finds_is_what_happens, Daemon, Ours("doctor")),
    on_one_mpm!(faults_that_prevent_the_start_are_found, Daemon, Ours("doctor")),
    on_one_mpm!(modules_that_do_not_fit_are_found, Daemon, Ours("doctor")),
    on_one_mpm!(limits_and_locales_that_do_not_fit_are_found, Daemon, Ours("doctor")),
    on_one_mpm!(lines_of_htaccess_that_are_refused_are_found, Daemon, Ours("doctor")),
    on_one_mpm!(the_doctor_reads_what_apache_reads, Daemon, Ours("doctor")),
    on_one_mpm!(a_layout_like_debian_s_is_sound, Daemon, Ours("doctor")),
    test!(what_the_program_generates_is_sound, Daemon, Ours("doctor")),
    on_one_mpm!(ports_of_others_and_of_the_server_itself, Daemon, Ours("doctor")),
    on_one_mpm!(others_than_root_may_ask, Daemon, Ours("doctor"), Root("become somebody else")),
];

const APP: &str = "def application(environ, start_response):\n    start_response('200 OK', [])\n    return [b'application']\n";

/// A finding.
#[derive(Debug, PartialEq)]
struct Finding {
    check: String,
    severity: String,
    /// The number of its line.
    line: u64,
    text: String,
}

/// Runs the doctor for a file.
fn doctor(launcher: &[&str], file: &Path, options: &[&str]) -> Output {
    let mut command = command(launcher);
    command.args(["doctor", "--json", "--no-import", "--config"]).arg(file).args(options);
    command.output().unwrap_or_else(|error| panic!("doctor: {error}"))
}

/// Returns what the doctor finds in a configuration, and its status.
fn examine(launcher: &[&str], file: &Path, options: &[&str]) -> (Vec<Finding>, Option<i32>) {
    let output = doctor(launcher, file, options);
    let text = String::from_utf8_lossy(&output.stdout);
    let report: Value = serde_json::from_str(&text)
        .unwrap_or_else(|error| panic!("{error}: {text}\n{}", String::from_utf8_lossy(&output.stderr)));
    let findings = report["findings"].as_array().cloned().unwrap_or_default();
    let part = |finding: &Value, name: &str| finding[name].as_str().unwrap_or_default().to_owned();
    let findings = findings.iter().map(|finding| Finding {
        check: part(finding, "check"),
        severity: part(finding, "severity"),
        line: finding["line"].as_u64().unwrap_or(0),
        text: ["file", "what", "why", "remedy"].map(|name| part(finding, name)).join("; "),
    });
    // The machine is not what these tests are about.
    let is_of_configuration = |finding: &Finding| {
        !["workers", "request-timeout", "tasks", "descriptors", "selinux"].contains(&finding.check.as_str())
    };
    (findings.filter(is_of_configuration).collect(), output.status.code())
}

/// Returns the findings about the line that has this text.
fn about<'f>(findings: &'f [Finding], server: &Server, text: &str) -> Vec<&'f Finding> {
    let content = fs::read_to_string(server.root().join("httpd.conf")).unwrap_or_default();
    let position = content.lines().position(|line| line.contains(text));
    let line = position.unwrap_or_else(|| panic!("{text} is not in {content}")) as u64 + 1;
    findings.iter().filter(|finding| finding.line == line).collect()
}

/// Hosts with one fault each, and one without.
const HOSTS: &str = "\
<Directory />
    Require all denied
</Directory>
<Directory @ROOT@/apps>
    Require all granted
</Directory>
<Directory @ROOT@/htdocs>
    Require all granted
</Directory>
<VirtualHost *:@PORT@>
    ServerName sound
    Alias /static @ROOT@/htdocs/static
    WSGIScriptAlias / @ROOT@/apps/app.wsgi
</VirtualHost>
<VirtualHost *:@PORT@>
    ServerName closed
    WSGIScriptAlias /closed @ROOT@/closed/app.wsgi
</VirtualHost>
<VirtualHost *:@PORT@>
    ServerName old
    <Directory @ROOT@/closed>
        Allow from all
    </Directory>
    WSGIScriptAlias /old @ROOT@/closed/app.wsgi
</VirtualHost>
<VirtualHost *:@PORT@>
    ServerName shadow
    WSGIScriptAlias /shadow @ROOT@/apps/app.wsgi
    Alias / @ROOT@/htdocs/
</VirtualHost>
<VirtualHost *:@PORT@>
    ServerName order
    WSGIScriptAlias / @ROOT@/apps/app.wsgi
    WSGIScriptAlias /other @ROOT@/apps/other.wsgi
</VirtualHost>
<VirtualHost *:@PORT@>
    ServerName proxy
    ProxyPass / http://127.0.0.1:9/
    Alias /proxied @ROOT@/htdocs/static
</VirtualHost>
<VirtualHost *:@PORT@>
    ServerName exposed
    DocumentRoot @ROOT@/apps
    WSGIScriptAlias /exposed @ROOT@/apps/app.wsgi
</VirtualHost>
<VirtualHost *:@PORT@>
    ServerName slash
    Alias /slash/ @ROOT@/htdocs/static
</VirtualHost>
<VirtualHost *:@PORT@>
    ServerName unserved
    DocumentRoot @ROOT@/htdocs
    WSGIScriptAlias /. @ROOT@/apps/app.wsgi
    WSGIScriptAlias /static @ROOT@/apps/app.wsgi
</VirtualHost>
<VirtualHost *:@PORT@>
    ServerName owner
    WSGIDaemonProcess owned
    WSGIProcessGroup owned
    WSGIScriptAlias / @ROOT@/apps/app.wsgi
</VirtualHost>
<VirtualHost *:@PORT@>
    ServerName thief
    WSGIScriptAlias /thief @ROOT@/apps/app.wsgi process-group=owned
</VirtualHost>
";

fn what_the_doctor_finds_is_what_happens(setup: Setup) {
    let setup = setup
        .modules(&["proxy", "proxy_http", "access_compat"])
        .file("apps/app.wsgi", APP)
        .file("apps/other.wsgi", APP.replace("b'application'", "b'other'"))
        .file("closed/app.wsgi", APP)
        .file("htdocs/static/x.txt", "static")
        .conf(HOSTS);
    setup.run(|server, cases| {
        let (findings, status) = examine(&[], &server.path("httpd.conf"), &[]);
        let ask = |host: &str, url: &str| server.request("GET", url).host(host).send();
        cases.check("the status", || assert_eq!(status, Some(1), "{findings:#?}"));
        cases.check("what works", || {
            assert_eq!(ask("sound", "/").expect(200), "application");
            assert_eq!(ask("sound", "/static/x.txt").expect(200), "static");
            for line in ["Alias /static ", "ServerName sound"] {
                assert_eq!(about(&findings, server, line), [] as [&Finding; 0], "{line}");
            }
            let found = about(&findings, server, "WSGIScriptAlias / ");
            assert!(found.iter().all(|finding| finding.severity == "note"), "{found:?}");
        });
        let mut fault = |name: &str, severity: &str, line: &str, happens: &dyn Fn()| {
            let line = &line.replace("@ROOT@", &server.root().to_string_lossy());
            cases.check(line, || {
                happens();
                let found = about(&findings, server, line);
                let is_found =
                    found.iter().any(|finding| finding.check == name && finding.severity == severity);
                assert!(is_found, "{found:?} of {findings:#?}");
            });
        };
        fault("access-denied", "error", "WSGIScriptAlias /closed", &|| {
            let _ = ask("closed", "/closed").expect(403);
        });
        fault("access-denied", "error", "WSGIScriptAlias /old", &|| {
            let _ = ask("old", "/old").expect(403);
        });
        fault("shadowed-url", "error", "WSGIScriptAlias /shadow", &|| {
            let _ = ask("shadow", "/shadow").expect(404);
        });
        fault("directives", "warning", "WSGIScriptAlias /other", &|| {
            assert_eq!(ask("order", "/other").expect(200), "application");
        });
        fault("shadowed-url", "warning", "Alias /proxied", &|| {
            let _ = ask("proxy", "/proxied/x.txt").expect(503);
        });
        fault("exposed-source", "warning", "DocumentRoot @ROOT@/apps", &|| {
            assert!(ask("exposed", "/app.wsgi").expect(200).contains("start_response"));
        });
        fault("alias-slash", "warning", "Alias /slash/", &|| {
            assert_ne!(ask("slash", "/slash/x.txt").status, 200);
        });
        fault("unserved-files", "warning", "WSGIScriptAlias /static", &|| {
            assert_eq!(ask("unserved", "/static/x.txt").expect(200), "application");
        });
        fault("directives", "warning", "WSGIScriptAlias /thief", &|| {
            let _ = ask("thief", "/thief").expect(500);
        });
    });
}

fn faults_that_prevent_the_start_are_found(setup: Setup) {
    let setup = setup.modules(&["macro"]).app("/", "app.wsgi", APP).file("part.conf", "");
    setup.conf("Include @ROOT@/part.conf").run(|server, cases| {
        for (lines, line, words) in [
            (
                "\nNoSuchDirective On\n",
                2,
                &["Invalid command 'NoSuchDirective'", "load the module that defines it"][..],
            ),
            ("WSGIDaemonProcess g threads=ten\n", 1, &["Invalid threads 'ten'"]),
            ("<Location /x>\n", 1, &["Location"]),
            (
                "\n\nLoadModule none_module /no/such.so\n",
                3,
                &["/no/such.so", "correct the path of LoadModule"],
            ),
            ("<Macro m $x>\nAlias $x\n</Macro>\nUse m y\n", 2, &["Alias"]),
        ] {
            cases.check(lines, || {
                server.write("part.conf", lines);
                assert!(!server.test().status.success(), "it is accepted");
                let (findings, status) = examine(&[], &server.path("httpd.conf"), &[]);
                assert_eq!(status, Some(1));
                let found =
                    findings.iter().find(|finding| finding.check == "syntax" && finding.severity == "error");
                let found = found.unwrap_or_else(|| panic!("{findings:?}"));
                let is_macro = lines.contains("Macro");
                assert!(found.text.contains("part.conf") && (found.line == line || is_macro), "{found:?}");
                assert!(words.iter().all(|word| found.text.contains(word)), "{found:?}");
            });
        }
        server.write("part.conf", "");
    });
}

/// Answers with the encoding of text, and whether the locale was there.
const LOCALE: &str = "\
import locale

def application(environ, start_response):
    start_response('200 OK', [])
    return [f'{locale.getpreferredencoding(False)} {locale.setlocale(locale.LC_CTYPE)}'.encode()]
";

fn limits_and_locales_that_do_not_fit_are_found(setup: Setup) {
    let groups = [
        ("sound", "threads=1 request-timeout=20 locale=C.UTF-8", "[UTF-8 C.UTF-8]"),
        ("many", "processes=2 threads=200 request-timeout=20", ""),
        ("late", "threads=1 request-timeout=90", ""),
        ("plain", "threads=1 request-timeout=20 locale=C", ""),
        ("missing", "threads=1 request-timeout=20 locale=xx_XX.UTF-8", " C]"),
    ];
    let lines = groups.iter().map(|(name, options, _)| {
        format!(
            "WSGIDaemonProcess {name} {options}\n\
             WSGIScriptAlias /{name} @ROOT@/apps/locale.wsgi process-group={name} application-group=%{{GLOBAL}}\n"
        )
    });
    let lines: String = lines.collect();
    setup.own_groups().file("apps/locale.wsgi", LOCALE).conf(&format!("Timeout 30\n{lines}")).run(
        |server, cases| {
            let output = command(&[]).args(["doctor", "--config"]).arg(server.path("httpd.conf")).output();
            let output = output.unwrap_or_else(|error| panic!("doctor: {error}"));
            let report = String::from_utf8_lossy(&output.stdout).into_owned();
            let log = server.log_since(LogMark::default());
            let content = fs::read_to_string(server.path("httpd.conf")).unwrap_or_default();
            let found = |group: &str, check: &str| {
                let line =
                    content.lines().position(|line| line.starts_with(&format!("WSGIDaemonProcess {group} ")));
                let place = format!("httpd.conf:{}: ", line.map_or(0, |line| line + 1));
                let is_it = |line: &&str| line.contains(&place) && line.ends_with(&format!(" [{check}]"));
                report.lines().filter(is_it).map(str::to_owned).collect::<Vec<_>>()
            };
            cases.check("a sound group", || {
                assert!(
                    ["workers", "timeouts", "locale"].iter().all(|check| found("sound", check).is_empty()),
                    "{report}"
                );
            });
            cases.check("limits", || {
                for (group, check, words) in [
                    ("many", "workers", "'many' has 400 threads, and Apache admits"),
                    ("late", "timeouts", "'late' (90 s) comes too late"),
                ] {
                    let lines = found(group, check);
                    assert!(lines.len() == 1 && lines[0].contains(words), "{report}");
                    assert!(log.contains(words), "{words}: {log}");
                }
                assert!(!log.contains("'sound' has") && !log.contains("'late' has"), "{log}");
            });
            cases.check("locales", || {
                for (group, words) in [("plain", "has the locale C"), ("missing", "no locale xx_XX.UTF-8")] {
                    let lines = found(group, "locale");
                    assert!(lines.len() == 1 && lines[0].contains(words), "{group}: {report}");
                }
            });
            for (group, _, answer) in groups {
                cases.check(group, || {
                    let response = server.get(&format!("/{group}"));
                    assert!(
                        format!("[{}]", response.text()).ends_with(answer),
                        "{group}: {}",
                        response.text()
                    );
                });
            }
        },
    );
}

fn lines_of_htaccess_that_are_refused_are_found(setup: Setup) {
    let setup =
        setup.app("/", "app.wsgi", APP).file("apps/.htaccess", "# none\n").file("htdocs/run/b.wsgi", APP);
    let conf = "<Directory @ROOT@/apps>\nAllowOverride FileInfo\n</Directory>\n\
                Alias /run @ROOT@/htdocs/run\n<Directory @ROOT@/htdocs/run>\nAllowOverride FileInfo Options\nRequire all granted\n</Directory>\n";
    setup.conf(conf).run(|server, cases| {
        let of = |check: &str| {
            let (findings, _) = examine(&[], &server.path("httpd.conf"), &[]);
            findings.into_iter().filter(|finding| finding.check == check).collect::<Vec<_>>()
        };
        for (lines, is_refused) in [
            ("SetEnv A 1\n", false),
            ("\nRequire all granted\n", true),
            ("\nWSGIProcessGroup other\n", true),
            ("\nWSGIScriptReloading Maybe\n", true),
            ("<IfModule nonesuch.c>\nOptions None\n</IfModule>\n", false),
        ] {
            cases.check(lines, || {
                server.write("apps/.htaccess", lines);
                let found = of("htaccess");
                assert_eq!(server.get("/").status, if is_refused { 500 } else { 200 });
                let places: Vec<_> =
                    found.iter().map(|finding| (finding.line, finding.severity.as_str())).collect();
                assert_eq!(places, if is_refused { vec![(2, "error")] } else { Vec::new() }, "{found:?}");
            });
        }
        server.write("apps/.htaccess", "");
        for (lines, status, is_found) in [
            ("AddHandler wsgi-script .wsgi\n", 403, true),
            ("Options +ExecCGI\nAddHandler wsgi-script .wsgi\n", 200, false),
        ] {
            cases.check(lines, || {
                server.write("htdocs/run/.htaccess", lines);
                assert_eq!(server.get("/run/b.wsgi").status, status);
                assert_eq!(of("exec-cgi").len(), usize::from(is_found));
            });
        }
    });
}

/// Returns a copy of the module in which the first of one sequence of bytes is another.
fn patched(server: &Server, name: &str, from: &[u8], to: &[u8]) -> String {
    let mut module = fs::read(Target::current().module()).unwrap_or_default();
    let at = module.windows(from.len()).position(|window| window == from);
    let at = at.unwrap_or_else(|| panic!("{} is not in the module", from.escape_ascii()));
    module[at..at + to.len()].copy_from_slice(to);
    server.write(name, module);
    server.path(name).display().to_string()
}

fn modules_that_do_not_fit_are_found(setup: Setup) {
    let setup =
        setup.own_groups().app("/", "app.wsgi", APP).conf("Include @ROOT@/part.conf").file("part.conf", "");
    setup.run(|server, cases| {
        let original = fs::read_to_string(server.path("httpd.conf")).unwrap_or_default();
        let with_module = |file: &str| {
            let line =
                original.lines().find(|line| line.starts_with("LoadModule wsgi_module")).unwrap_or_default();
            server.write("other.conf", original.replace(line, &format!("LoadModule wsgi_module \"{file}\"")));
            examine(&[], &server.path("other.conf"), &[])
        };
        let mut misfit = |name: &str, file: String, words: &[&str]| {
            cases.check(name, || {
                let (findings, status) = with_module(&file);
                assert_eq!(status, Some(1), "{findings:?}");
                let found = findings.iter().find(|finding| finding.check == "foreign-module");
                let found = found.unwrap_or_else(|| panic!("{findings:?}"));
                assert!(words.iter().all(|word| found.text.contains(word)), "{found:?}");
                assert!(
                    findings.iter().any(|finding| finding.check == "syntax"),
                    "Apache refuses it: {findings:?}"
                );
            });
        };
        let number = |number: u32| number.to_le_bytes();
        let older = patched(server, "older.so", &number(20_120_211), &number(20_051_115));
        misfit("another Apache", older, &["20051115", "20120211", "headers of this Apache"]);
        let newer = patched(server, "newer.so", b"GLIBC_2.3", b"GLIBC_9.3");
        misfit("a newer glibc", newer, &["needs glibc 9.3"]);
        let script = server.path("apps/app.wsgi").display().to_string();
        misfit("no module", script, &["is no module"]);

        cases.check("two of them", || {
            let copy = patched(server, "copy.so", b"GLIBC_2.3", b"GLIBC_2.3");
            server.write("part.conf", format!("\nLoadModule wsgi_module \"{copy}\"\n"));
            assert!(server.test().status.success(), "Apache takes the first one");
            let (findings, status) = examine(&[], &server.path("httpd.conf"), &[]);
            assert_eq!(status, Some(1));
            let found = findings.iter().find(|finding| finding.check == "two-modules");
            let found = found.unwrap_or_else(|| panic!("{findings:?}"));
            assert!(
                found.line == 2 && found.text.contains("copy.so (another mod_wsgi) is not used"),
                "{found:?}"
            );
            server.write("part.conf", "");
        });
    });
}

/// A configuration that only a reader of all of it gets right: each part has an alias that a line above it takes.
const PARTS: &str = "\
Define NAME defined
<IfDefine NAME>
WSGIScriptAlias /${NAME} /a
WSGIScriptAlias /${NAME}/1 \\
    /b
</IfDefine>
<IfModule mod_wsgi.c>
<IfModule !mod_none.c>
WSGIScriptAlias /module /a
WSGIScriptAlias /module/1 /b
</IfModule>
</IfModule>
<IfModule none_module>
WSGIScriptAlias /never /a
WSGIScriptAlias /never/1 /b
</IfModule>
<IfVersion >= 2.4>
WSGIScriptAlias \"/version 1\" /a
WSGIScriptAlias \"/version 1/1\" /b
</IfVersion>
<IfFile httpd.conf>
WSGIScriptAlias /file /a
WSGIScriptAlias /file/1 /b
</IfFile>
<Macro Two $where $name>
<VirtualHost *:@PORT@>
    ServerName $name
    WSGIScriptAlias $where /a
    WSGIScriptAlias $where/1 /b
</VirtualHost>
</Macro>
Use two /macro first
IncludeOptional parts/*.conf
IncludeOptional none/*.conf
# A comment that goes on \\
WSGIScriptAlias /comment /a
";

fn the_doctor_reads_what_apache_reads(setup: Setup) {
    let setup = setup
        .modules(&["macro", "access_compat", "info"])
        .own_groups()
        .file("parts/a.conf", "WSGIScriptAlias /part /a\n<Location /x>\nRequire all denied\n</Location>\nWSGIScriptAlias /part/1 /b\n")
        .file("parts/b.con", "WSGIScriptAlias /other /a\nWSGIScriptAlias /other/1 /b\n")
        .conf("Include @ROOT@/all.conf")
        .file("all.conf", PARTS);
    setup.run(|server, cases| {
        let file = server.path("httpd.conf");
        let of_aliases = |options: &[&str]| {
            let (findings, _) = examine(&[], &file, options);
            let mut aliases: Vec<_> =
                findings.into_iter().filter(|finding| finding.check == "directives").collect();
            aliases.sort_by(|a, b| a.text.cmp(&b.text));
            aliases
        };
        let asked = of_aliases(&[]);
        let read = of_aliases(&["--httpd-executable", "/no/such/httpd"]);
        cases.check("as Apache dumps it", || {
            let places: Vec<_> = asked.iter().map(|finding| finding.line).collect();
            assert_eq!(places, [5, 23, 29, 10, 19, 5], "{asked:#?}");
        });
        cases.check("a module that the doctor loads, too", || {
            let (findings, _) = examine(&[], &file, &[]);
            assert!(findings.iter().all(|finding| finding.check != "syntax"), "{findings:?}");
        });
        cases.check("as the doctor reads it", || assert_eq!(read, asked));
    });
}

/// Debian's main file, as far as it matters.
const DEBIAN: &str = "\
ServerRoot @ROOT@/etc
DefaultRuntimeDir ${APACHE_RUN_DIR}
PidFile ${APACHE_PID_FILE}
Timeout 300
KeepAlive On
User ${APACHE_RUN_USER}
Group ${APACHE_RUN_GROUP}
ErrorLog ${APACHE_LOG_DIR}/error.log
IncludeOptional mods-enabled/*.load
IncludeOptional mods-enabled/*.conf
Include ports.conf
<Directory />
\tOptions FollowSymLinks
\tAllowOverride None
\tRequire all denied
</Directory>
<Directory @ROOT@/htdocs/>
\tRequire all granted
</Directory>
AccessFileName .htaccess
<FilesMatch \"^\\.ht\">
\tRequire all denied
</FilesMatch>
IncludeOptional conf-enabled/*.conf
IncludeOptional sites-enabled/*.conf
";

const SITE: &str = "\
<VirtualHost *:@TLS_PORT@>
    ServerName shop.example
    DocumentRoot @ROOT@/htdocs
    Alias /static/ @ROOT@/htdocs/static/
    WSGIDaemonProcess shop user=www-data request-timeout=60
    WSGIProcessGroup shop
    WSGIApplicationGroup %{GLOBAL}
    WSGIScriptAlias / @ROOT@/apps/app.wsgi
    <Directory @ROOT@/apps>
        <Files app.wsgi>
            Require all granted
        </Files>
    </Directory>
</VirtualHost>
";

const VARIABLES: &str = "\
# Relies on where it is.
export APACHE_RUN_USER=www-data APACHE_RUN_GROUP=www-data
export APACHE_RUN_DIR=${APACHE_CONFDIR%/etc}/run APACHE_LOG_DIR=${APACHE_CONFDIR%/etc}/logs
export APACHE_PID_FILE=$APACHE_RUN_DIR/apache2.pid
export APACHE_ARGUMENTS='-D SHOP'
";

fn a_layout_like_debian_s_is_sound(setup: Setup) {
    let setup = setup
        .app("/", "app.wsgi", APP)
        .file("htdocs/static/x.txt", "static")
        .file("etc/apache2.conf", DEBIAN)
        .file("etc/envvars", VARIABLES)
        .file("etc/ports.conf", "Listen @TLS_PORT@\n<IfModule ssl_module>\nListen 443\n</IfModule>\n")
        .file("etc/sites-enabled/shop.conf", SITE)
        .file("etc/conf-enabled/security.conf", "ServerTokens OS\nTraceEnable Off\n");
    setup.run(|server, cases| {
        let lines = fs::read_to_string(server.path("httpd.conf")).unwrap_or_default();
        for line in lines.lines().filter(|line| line.starts_with("LoadModule")) {
            let name = line.split_whitespace().nth(1).unwrap_or_default();
            server.write(&format!("etc/mods-enabled/{name}.load"), line);
        }
        server.write(
            "etc/mods-enabled/wsgi.conf",
            "<IfModule mod_wsgi.c>\nWSGISocketPrefix /run/wsgi\n</IfModule>\n",
        );
        let file = server.path("etc/apache2.conf");
        for options in [&[][..], &["--httpd-executable", "/no/such/httpd"]] {
            cases.check(&options.join(" "), || {
                let (findings, status) = examine(&[], &file, options);
                let faults: Vec<_> = findings.iter().filter(|finding| finding.severity != "note").collect();
                assert!(faults.is_empty() && status == Some(0), "{faults:#?}");
            });
        }
        cases.check("what the command line of the server defines", || {
            let fault = "<IfDefine !SHOP>\nWSGIProcessGroup none\n</IfDefine>\n";
            server.write("etc/sites-enabled/defined.conf", fault);
            let (findings, _) = examine(&[], &file, &[]);
            assert!(findings.iter().all(|finding| finding.check != "directives"), "{findings:?}");
        });
        cases.check("with a fault in a file that is included", || {
            server.write("etc/sites-enabled/other.conf", "\n\nWSGIProcessGroup none\n");
            let (findings, status) = examine(&[], &file, &[]);
            let found = findings.iter().find(|finding| finding.check == "directives");
            let found = found.unwrap_or_else(|| panic!("{findings:?}"));
            assert!(found.line == 3 && found.text.contains("sites-enabled/other.conf"), "{found:?}");
            assert_eq!(status, Some(0));
        });
    });
}

fn what_the_program_generates_is_sound() {
    for options in [
        &[][..],
        &["--embedded-mode", "--server-mpm", "prefork", "--max-clients", "4", "--url-alias", "/data", "."],
        &["--mount-point", "/shop", "--reload-on-changes", "--server-metrics", "--server-status"],
        &["--auth-user-script", "app.wsgi", "--host-access-script", "app.wsgi", "--access-processes", "1"],
    ] {
        let site = Site::new();
        let root = site.path("root");
        let mut setup = command(&[]);
        setup.args(["setup-server", "app.wsgi", "--host", "127.0.0.1", "--port", &free_port().to_string()]);
        setup.arg("--server-root").arg(&root).args(own_options()).args(account()).args(options);
        let output = setup.current_dir(site.path("")).output().unwrap_or_else(|error| panic!("{error}"));
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
        let (findings, status) = examine(&[], &root, &[]);
        let faults: Vec<_> = findings.iter().filter(|finding| finding.severity != "note").collect();
        assert!(faults.is_empty() && status == Some(0), "{options:?}: {faults:#?}");
    }
}

fn ports_of_others_and_of_the_server_itself(setup: Setup) {
    let mut server = setup.app("/", "app.wsgi", APP).start();
    let examine = || examine(&[], &server.path("httpd.conf"), &[]);
    let (findings, status) = examine();
    let found: Vec<_> = findings.iter().filter(|finding| finding.check == "port-taken").collect();
    assert_eq!((found.len(), status), (1, Some(0)), "{findings:?}");
    assert!(found[0].severity == "note" && found[0].text.contains("the server runs"), "{found:?}");
    let (file, address) = (server.path("httpd.conf"), server.address());
    server.stop();
    let socket = TcpListener::bind(address);
    let (findings, status) = self::examine(&[], &file, &[]);
    let found: Vec<_> = findings.iter().filter(|finding| finding.check == "port-taken").collect();
    assert_eq!((found.len(), status, socket.is_ok()), (1, Some(1), true), "{findings:?}");
    let process = format!("process {} (", std::process::id());
    assert!(found[0].severity == "error" && found[0].text.contains(&process), "{found:?}");
    drop(socket);
    let (findings, status) = self::examine(&[], &file, &[]);
    assert_eq!(status, Some(0), "{findings:?}");
    assert!(findings.iter().all(|finding| finding.check != "port-taken"), "{findings:?}");
}

fn others_than_root_may_ask(setup: Setup) {
    setup.app("/", "app.wsgi", APP).run(|server, cases| {
        let file = server.path("httpd.conf");
        let launcher = ["setpriv", "--reuid=nobody", "--regid=nogroup", "--clear-groups", "--"];
        cases.check("a configuration of root's", || {
            let (findings, status) = examine(&launcher, &file, &[]);
            assert_eq!(status, Some(0), "{findings:?}");
        });
        cases.check("a part that only root may read", || {
            server.write("secret.conf", "# nothing\n");
            allow(server.path("secret.conf"), 0o600);
            let lines = fs::read_to_string(&file).unwrap_or_default();
            server
                .write("whole.conf", format!("{lines}\nInclude {}\n", server.path("secret.conf").display()));
            let (findings, status) = examine(&launcher, &server.path("whole.conf"), &[]);
            let is_told = |finding: &Finding| {
                finding.check == "syntax"
                    && finding.severity == "warning"
                    && finding.text.contains("Permission denied")
            };
            assert!(findings.iter().any(is_told) && status == Some(0), "{findings:?}");
        });
        cases.check("root and a file that anybody may change", || {
            allow(file.clone(), 0o666);
            let (findings, status) = examine(&[], &file, &[]);
            let is_told = |finding: &Finding| {
                finding.check == "syntax" && finding.text.contains("everybody may write to it")
            };
            assert!(findings.iter().any(is_told) && status == Some(0), "{findings:?}");
        });
        cases.check("a file that cannot be read", || {
            allow(file.clone(), 0o600);
            let (findings, status) = examine(&launcher, &file, &[]);
            let is_told = |finding: &Finding| {
                finding.severity == "error"
                    && finding.text.contains("cannot be read")
                    && finding.text.contains("check --config")
            };
            assert!(findings.iter().any(is_told) && status == Some(1), "{findings:?}");
        });
    });
}
