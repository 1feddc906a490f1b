//! Each fault in a configuration, and the same configuration without it.

use std::fs;
use std::path::Path;

use crate::doctor::apache::{Configuration, subject};
use crate::doctor::checks;
use crate::doctor::finding::Finding;

/// A directory with a configuration and what it names.
struct Site(tempfile::TempDir);

impl Site {
    fn new(files: &[&str]) -> Self {
        let site = Self(tempfile::tempdir().unwrap());
        for file in files {
            let path = site.path().join(file);
            fs::create_dir_all(path.parent().unwrap()).unwrap();
            fs::write(path, "application = print\n").unwrap();
        }
        site
    }

    fn path(&self) -> &Path {
        self.0.path()
    }

    /// Returns what is found in a configuration of these lines; `@` is the directory.
    fn findings(&self, lines: &str) -> Vec<Finding> {
        let file = self.path().join("httpd.conf");
        fs::write(&file, lines.replace('@', &self.path().display().to_string())).unwrap();
        let mut subject = subject(Configuration::read(&file, None));
        subject.may_import = false;
        checks::run(subject).findings
    }

    /// Returns what a check finds.
    fn of(&self, check: &str, lines: &str) -> Vec<String> {
        let findings = self.findings(lines).into_iter().filter(|finding| finding.check == check);
        findings.map(|finding| finding.to_string()).collect()
    }
}

/// Checks that the fault is found in the first configuration, at this line and with these words, and
/// not in the others.
#[track_caller]
fn check(name: &str, site: &Site, fault: &str, line: u32, words: &[&str], sound: &[&str]) {
    let found = site.of(name, fault);
    assert_eq!(found.len(), 1, "{name}: {found:?}");
    let place = format!("{}:{line}: ", site.path().join("httpd.conf").display());
    assert!(found[0].starts_with(&place), "{found:?}");
    for word in words {
        assert!(found[0].contains(word), "{word} is not in {found:?}");
    }
    for lines in sound {
        assert_eq!(site.of(name, lines), [""; 0], "{lines}");
    }
}

const CLOSED: &str = "<Directory />\nRequire all denied\n</Directory>\n";

#[test]
fn scripts_that_nobody_may_have() {
    let site = Site::new(&["app/a.wsgi", "static/x.css"]);
    let open = "<Directory @/app>\nRequire all granted\n</Directory>\n";
    let alias = "WSGIScriptAlias /shop @/app/a.wsgi\n";
    check(
        "access-denied",
        &site,
        &format!("{CLOSED}{alias}"),
        4,
        &[
            "error: nobody may have /shop of the main server",
            "httpd.conf:2 denies everything",
            "Require all granted",
            "/app\">`",
        ],
        &[
            alias,
            &format!("{CLOSED}{open}{alias}"),
            &format!("{open}{alias}{CLOSED}"),
            &format!("{CLOSED}{alias}<Location /shop>\nRequire ip 10.0.0.0/8\n</Location>\n"),
            &format!(
                "{CLOSED}{alias}<Directory @/app>\n<Files a.wsgi>\nRequire all granted\n</Files>\n</Directory>\n"
            ),
            &format!(
                "{CLOSED}{alias}<Directory \"@/a*\">\n<RequireAny>\nRequire all granted\n</RequireAny>\n</Directory>\n"
            ),
            &format!("{CLOSED}{alias}<DirectoryMatch ^@/app$>\nRequire valid-user\n</DirectoryMatch>\n"),
            &format!("{CLOSED}{alias}<If true>\nRequire all granted\n</If>\n"),
            &format!(
                "{CLOSED}{alias}<LocationMatch \"^/(?!admin)\">\nRequire all granted\n</LocationMatch>\n"
            ),
            &format!(
                "{CLOSED}{alias}<Directory @/app>\nOrder allow,deny\nAllow from all\nSatisfy any\n</Directory>\n"
            ),
        ],
    );
    // In a virtual host, whose sections come after those of the main server.
    let host = |lines: &str| format!("{CLOSED}<VirtualHost *:80>\nServerName h\n{lines}</VirtualHost>\n");
    check(
        "access-denied",
        &site,
        &host(alias),
        6,
        &["of the virtual host h"],
        &[&host(&format!("{open}{alias}"))],
    );
    let old = "<Directory @/app>\nOrder allow,deny\nAllow from all\n</Directory>\n";
    let words = ["httpd.conf:6 lets all in by `Allow from all`", "in place of Order"];
    check("access-denied", &site, &format!("{CLOSED}{old}{alias}"), 8, &words, &[&format!("{old}{alias}")]);
    let old = "<Directory />\nOrder deny,allow\nDeny from all\n</Directory>\n";
    check("access-denied", &site, &format!("{old}{alias}"), 5, &["in the words of Apache 2.2"], &[]);
    let wrong = "<Directory @/app>\n<RequireAll>\nRequire all granted\nRequire all denied\n</RequireAll>\n</Directory>\n";
    check("access-denied", &site, &format!("{wrong}{alias}"), 7, &["httpd.conf:2 denies it to all"], &[]);

    let files = "Alias /static @/static\n";
    let words = ["warning: nobody may have /static", "/static\">`"];
    let grant = "<Directory @/static>\nRequire all granted\n</Directory>\n";
    check(
        "access-denied",
        &site,
        &format!("{CLOSED}{files}"),
        4,
        &words,
        &[&format!("{CLOSED}{grant}{files}")],
    );
}

#[test]
fn urls_that_others_take() {
    let site = Site::new(&["a.wsgi", "www/static/x", "www/robots.txt"]);
    let name = "shadowed-url";
    check(
        name,
        &site,
        "WSGIScriptAlias /shop @/a.wsgi\nAlias / @/www/\n",
        1,
        &["error: no request reaches WSGIScriptAlias /shop", "Alias / (", "httpd.conf:2)", "DocumentRoot"],
        &[
            "WSGIScriptAlias / @/a.wsgi\nAlias /static @/www/static\n",
            "Alias /x @/www\nWSGIScriptAlias /y @/a.wsgi\n",
        ],
    );
    check(name, &site, "Alias / @/www/\nAlias /static @/s\n", 2, &["warning", "above that one"], &[]);
    check(
        name,
        &site,
        "Alias / @/www/\n<VirtualHost *>\nServerName h\nWSGIScriptAlias /shop @/a.wsgi\n</VirtualHost>\n",
        4,
        &["httpd.conf:1)"],
        &["WSGIScriptAlias / @/a.wsgi\n<VirtualHost *>\nWSGIScriptAlias / @/b.wsgi\n</VirtualHost>\n"],
    );
    check(
        name,
        &site,
        "ProxyPass / http://h/\nProxyPass /static !\n",
        2,
        &["put the exclusion above it"],
        &["ProxyPass /static !\nProxyPass / http://h/\nAlias /static @/www/static\n"],
    );
    check(
        name,
        &site,
        "ProxyPass / http://h/\nAlias /static @/www/static\n",
        2,
        &["warning", "ProxyPass URL !"],
        &["ProxyPassMatch ^/api http://h/\nAlias /static @/www/static\n"],
    );
    let location = "<Location /api>\nProxyPass http://h/\n</Location>\n";
    let sound = format!("WSGIScriptAlias / @/a.wsgi\n{location}");
    check(
        name,
        &site,
        &format!("{location}WSGIScriptAlias /api/x @/a.wsgi\n"),
        4,
        &["ProxyPass /api"],
        &[&sound],
    );
    check(name, &site, "Redirect permanent / https://h/\nWSGIScriptAlias / @/a.wsgi\n", 2, &["note: "], &[]);
    check(
        name,
        &site,
        "AliasMatch ^/ @/www/\nWSGIScriptAlias / @/a.wsgi\n",
        2,
        &["error", "AliasMatch"],
        &[],
    );
    // Those of the module are in its own review.
    let both = "WSGIScriptAlias / @/a.wsgi\nWSGIScriptAlias /sub @/a.wsgi\n";
    assert_eq!(site.of(name, both), [""; 0]);
    check(
        "directives",
        &site,
        both,
        2,
        &["No request comes to the alias of /sub", "put this line above"],
        &[],
    );

    let lost = site.of("unserved-files", "DocumentRoot @/www\nWSGIScriptAlias / @/a.wsgi\n");
    assert_eq!(lost.len(), 2, "{lost:?}");
    assert!(
        lost[0].contains("/www/static is not served at /static") && lost[0].contains("add `Alias /static"),
        "{lost:?}"
    );
    let slash = "DocumentRoot @/www\nWSGIScriptAlias / @/a.wsgi\nAlias /static/ @/www/static/\nAlias /robots.txt @/www/robots.txt\n";
    assert_eq!(site.of("unserved-files", slash), [""; 0]);
    let served = "DocumentRoot @/www\nWSGIScriptAlias / @/a.wsgi\nAlias /static @/www/static\nAlias /robots.txt @/www/robots.txt\n";
    assert_eq!(site.of("unserved-files", served), [""; 0]);
    assert_eq!(site.of("unserved-files", "DocumentRoot @/www\nWSGIScriptAlias /shop @/a.wsgi\n"), [""; 0]);

    let root = "DocumentRoot @/www\nWSGIScriptAlias / @/a.wsgi\n";
    assert_eq!(site.of("unserved-files", &format!("{root}AliasMatch ^/(?!shop)(.*)$ @/www/$1\n")), [""; 0]);
    let host = "<VirtualHost *:80>\nServerName h\nWSGIScriptAlias / @/a.wsgi\n</VirtualHost>\n";
    assert_eq!(site.of("unserved-files", &format!("DocumentRoot @/www\n{host}")), [""; 0], "another site's");

    check(
        name,
        &site,
        "RedirectMatch permanent ^/shop https://h/\nWSGIScriptAlias /shop @/a.wsgi\n",
        2,
        &["note: ", "RedirectMatch"],
        &["RedirectMatch 404 /\\.git\nWSGIScriptAlias /404 @/a.wsgi\n"],
    );
    let words = ["/static/x is looked for as", "/www/staticx", "write `Alias /static/ "];
    let sound = ["Alias /static/ @/www/static/\n", "Alias /static @/www/static\n"];
    check("alias-slash", &site, "Alias /static/ @/www/static\n", 1, &words, &sound);
}

#[test]
fn sources_that_can_be_fetched() {
    let site = Site::new(&["www/shop/a.wsgi", "elsewhere/a.wsgi"]);
    let name = "exposed-source";
    let inside = "WSGIScriptAlias /buy @/www/shop/a.wsgi\n";
    let host = "<VirtualHost *:80>\nServerName h\nWSGIScriptAlias / @/www/shop/a.wsgi\n</VirtualHost>\n";
    check(
        name,
        &site,
        &format!("DocumentRoot @/www\n{inside}"),
        1,
        &["a.wsgi can be fetched from the main server", "at /shop/a.wsgi"],
        &[
            "DocumentRoot @/www\nWSGIScriptAlias / @/www/shop/a.wsgi\n",
            "DocumentRoot @/www\nWSGIScriptAlias /shop @/www/shop/a.wsgi\n",
            "DocumentRoot @/www\nWSGIScriptAlias /buy @/elsewhere/a.wsgi\n",
            &format!(
                "DocumentRoot @/www\n{inside}<Directory @/www/shop>\nRequire all denied\n</Directory>\n"
            ),
            &format!(
                "DocumentRoot @/www\n{inside}<Directory @/www>\nAddHandler wsgi-script .wsgi\n</Directory>\n"
            ),
        ],
    );
    let listen = "Listen 80\nListen 127.0.0.1:8080\n";
    let all = host.replace("*:80", "*:80 _default_:8080");
    check(
        name,
        &site,
        &format!("DocumentRoot @/www\n{host}"),
        1,
        &["from the main server"],
        // No request comes to the main server there.
        &[host, &format!("DocumentRoot @/www\n{listen}{all}")],
    );
    check(name, &site, &format!("DocumentRoot @/www\n{listen}{host}"), 1, &["from the main server"], &[]);
    check(name, &site, &format!("Alias /files @/www\n{inside}"), 1, &["at /files/shop/a.wsgi"], &[]);
}

#[test]
fn headers_of_proxies() {
    let site = Site::new(&["a.wsgi"]);
    let name = "proxy-headers";
    let headers = "WSGITrustedProxyHeaders X-Forwarded-For\n";
    check(
        name,
        &site,
        &format!("Listen 80\n{headers}"),
        2,
        &["whoever sends them", "WSGITrustedProxies 10.0.0.7"],
        &[
            &format!("Listen 80\n{headers}WSGITrustedProxies 10.0.0.7\n"),
            &format!("Listen 127.0.0.1:80\nListen [::1]:80\n{headers}"),
            &format!("Listen 80\nWSGITrustedProxies 10.0.0.7\n<Location /x>\n{headers}</Location>\n"),
        ],
    );
    check(name, &site, &format!("Listen 80\n<Location /x>\n{headers}</Location>\n"), 3, &["whoever"], &[]);
    for wide in ["0.0.0.0/0.0.0.0", "10.0.0.1 128.0.0.0/1", "2000::/3"] {
        let lines = format!("Listen 80\n{headers}WSGITrustedProxies {wide}\n");
        check("directives", &site, &lines, 3, &["a network of millions", "of the proxies only"], &[]);
    }
    check(
        name,
        &site,
        "Listen 80\nRemoteIPHeader X-Forwarded-For\n",
        2,
        &["RemoteIPInternalProxy"],
        &["Listen 80\nRemoteIPHeader X-Forwarded-For\nRemoteIPInternalProxy 10.0.0.7\n"],
    );
    check(name, &site, "Listen 80\nRemoteIPInternalProxy 10.0.0.7\n", 2, &["has no effect"], &[]);
    check(
        name,
        &site,
        "Listen 127.0.0.1:80\nWSGIScriptAlias / @/a.wsgi\n",
        2,
        &["note: ", "takes the proxy for the client"],
        &[
            "Listen 80\nWSGIScriptAlias / @/a.wsgi\n",
            &format!("Listen 127.0.0.1:80\n{headers}WSGIScriptAlias / @/a.wsgi\n"),
        ],
    );
}

#[test]
fn times_and_processes() {
    let site = Site::new(&["a.wsgi"]);
    let group = |options: &str| {
        format!("WSGIDaemonProcess g {options}\nWSGIProcessGroup g\nWSGIScriptAlias / @/a.wsgi\n")
    };
    let late = format!("Timeout 30\n{}", group("request-timeout=60"));
    let words = ["'g' (60 s) comes too late", "waits 30 s", "(Timeout)"];
    let sound = [group("request-timeout=60"), group("request-timeout=60 socket-timeout=90"), group("")];
    check("timeouts", &site, &late, 2, &words, &sound.each_ref().map(String::as_str));
    check("timeouts", &site, &group("request-timeout=60 socket-timeout=20"), 1, &["(socket-timeout=)"], &[]);
    let prefork = "LoadModule mpm_prefork_module modules/mod_mpm_prefork.so\n";
    let idle = format!("{prefork}KeepAliveTimeout 60\n");
    check(
        "timeouts",
        &site,
        &idle,
        2,
        &["holds a process for 60 s"],
        &[&format!("{idle}KeepAlive Off\n"), "LoadModule mpm_event_module m.so\nKeepAliveTimeout 60\n"],
    );
    let many = format!("{prefork}MaxRequestWorkers 400\nWSGIScriptAlias / @/a.wsgi\n");
    check(
        "embedded-prefork",
        &site,
        &many,
        2,
        &["up to 400 processes"],
        &[
            &format!("{prefork}MaxRequestWorkers 10\nWSGIScriptAlias / @/a.wsgi\n"),
            &format!("{prefork}{}", group("")),
            &format!("{prefork}MaxRequestWorkers 400\n"),
            "LoadModule mpm_event_module m.so\nWSGIScriptAlias / @/a.wsgi\n",
        ],
    );
    let default = format!("{prefork}WSGIScriptAlias / @/a.wsgi\n");
    check("embedded-prefork", &site, &default, 2, &["up to 256 processes", "the default"], &[]);
}

#[test]
fn modules_that_are_loaded_twice() {
    let site = Site::new(&["one.so", "two.so"]);
    let one = "LoadModule wsgi_module @/one.so\n";
    let both = format!("{one}<IfModule wsgi_module>\nLoadModule wsgi_module @/two.so\n</IfModule>\n");
    check(
        "two-modules",
        &site,
        &both,
        3,
        &["error", "two.so (another mod_wsgi) is not used", "httpd.conf:1 loads"],
        &[one, &format!("{one}<IfModule !mod_wsgi.c>\nLoadModule wsgi_module @/two.so\n</IfModule>\n")],
    );
    check("two-modules", &site, &format!("{one}{one}"), 2, &["note: the module is loaded twice"], &[]);
    check("foreign-module", &site, one, 1, &["one.so is no module"], &[]);
    check("foreign-module", &site, "LoadModule wsgi_module @/none.so\n", 1, &["there is no module"], &[]);
}

#[test]
fn what_the_module_warns_of() {
    let site = Site::new(&["a.wsgi"]);
    let name = "directives";
    check(
        name,
        &site,
        "WSGIDaemonProcess idle\n",
        1,
        &["No line sends requests", "add WSGIProcessGroup idle"],
        &[
            "WSGIDaemonProcess idle\nWSGIProcessGroup idle\n",
            "<Location /x>\nWSGIProcessGroup idle\n</Location>\nWSGIDaemonProcess idle\n",
        ],
    );
    check(name, &site, "WSGIProcessGroup none\n", 1, &["WSGI0150: There is no process group 'none'"], &[]);
    let foreign = "<VirtualHost *:80>\nServerName a\nWSGIDaemonProcess g\n</VirtualHost>\n\
                   <VirtualHost *:80>\nServerName b\nWSGIProcessGroup g\n</VirtualHost>\n";
    let own = foreign.replace("ServerName b", "ServerName a");
    check(
        name,
        &site,
        foreign,
        7,
        &["WSGI0152", "belongs to the virtual host a", "httpd.conf) out of"],
        &[&own],
    );
    let refused = "WSGIDaemonProcess g threads=ten\n";
    let follows = format!(
        "{refused}WSGIScriptAlias / @/a.wsgi process-group=g application-group=a\nWSGIProcessGroup g\n"
    );
    assert_eq!(site.of(name, &follows), [""; 0], "the other lines are not to blame");
    assert_eq!(site.of("syntax", &follows).len(), site.of("syntax", refused).len());
    assert_eq!(site.of("request-timeout", &follows), [""; 0], "what the line says is not known");
    let found = site.of("syntax", refused);
    assert!(found[0].contains("httpd.conf:1: error: Invalid threads 'ten'"), "{found:?}");
}

/// The root of a host in which files may be scripts.
const HANDLED: &str = "\
DocumentRoot @/htdocs\n<Directory @/htdocs>\nAllowOverride FileInfo Options\nRequire all granted\n</Directory>\n";

#[test]
fn files_that_a_handler_makes_scripts() {
    let site = Site::new(&["htdocs/a.wsgi", "htdocs/sub/b.py", "htdocs/sub/helpers.py", "htdocs/c.txt"]);
    let helpers = "TYPE = 'application/json'\nWSGI_APPLICATION = 'shop.wsgi.application'\nclass A:\n    application = 1\n";
    fs::write(site.path().join("htdocs/sub/helpers.py"), helpers).unwrap();
    let scripts = |lines: &str| {
        let file = site.path().join("httpd.conf");
        fs::write(&file, lines.replace('@', &site.path().display().to_string())).unwrap();
        let subject = subject(Configuration::read(&file, None));
        let names = subject.applications.iter().map(|application| {
            let file = application.entry.file().unwrap();
            file.strip_prefix(site.path()).unwrap().display().to_string()
        });
        names.collect::<Vec<_>>()
    };
    let handlers = "<Directory @/htdocs>\nOptions +ExecCGI\nAddHandler wsgi-script .wsgi py\n</Directory>\n";
    assert_eq!(scripts(HANDLED), [""; 0]);
    assert_eq!(scripts(&format!("{HANDLED}{handlers}")), ["htdocs/a.wsgi", "htdocs/sub/b.py"]);
    let removed = "<Directory @/htdocs/sub>\nRemoveHandler .py\n</Directory>\n";
    assert_eq!(scripts(&format!("{HANDLED}{handlers}{removed}")), ["htdocs/a.wsgi"]);
    let forced = "<Directory @/htdocs/sub>\n<Files b.py>\nSetHandler wsgi-script\n</Files>\n</Directory>\n";
    assert_eq!(scripts(&format!("{HANDLED}{forced}")), ["htdocs/sub/b.py"]);
    assert_eq!(scripts("WSGIScriptAlias /x/ @/htdocs/sub/\n"), ["htdocs/sub/b.py"]);

    let without = handlers.replace("Options +ExecCGI\n", "");
    check(
        "exec-cgi",
        &site,
        &format!("{HANDLED}AddHandler wsgi-script .wsgi\n"),
        6,
        &["error: WSGI0134: the script ", "a.wsgi may not run", "Options +ExecCGI"],
        &[&format!("{HANDLED}{handlers}"), HANDLED],
    );
    assert_eq!(site.of("exec-cgi", &format!("{HANDLED}{without}")).len(), 2);
    // What is run is not shown, and what another handler is for is.
    let alias = "WSGIScriptAlias /app @/htdocs/a.wsgi\n";
    check(
        "exposed-source",
        &site,
        &format!("{HANDLED}{alias}AddHandler cgi-script .cgi\n"),
        1,
        &["a.wsgi can be fetched"],
        &[&format!("{HANDLED}{alias}{handlers}")],
    );

    // The same in `.htaccess`.
    fs::write(site.path().join("htdocs/.htaccess"), "Options ExecCGI\nAddHandler wsgi-script .wsgi\n")
        .unwrap();
    assert_eq!(scripts(HANDLED), ["htdocs/a.wsgi"]);
    assert_eq!(site.of("exec-cgi", HANDLED), [""; 0]);
    assert_eq!(site.of("exposed-source", &format!("{HANDLED}{alias}")), [""; 0]);
    assert_eq!(scripts(&HANDLED.replace("FileInfo Options", "None")), [""; 0]);
}

#[test]
fn lines_of_htaccess_that_are_not_permitted() {
    let site = Site::new(&["app/a.wsgi", "htdocs/sub/x"]);
    let lines = |overrides: &str| {
        format!(
            "WSGIScriptAlias / @/app/a.wsgi\n<Directory @/app>\n{overrides}\nRequire all granted\n</Directory>\n"
        )
    };
    let write = |file: &str, text: &str| fs::write(site.path().join(file), text).unwrap();
    let found = |lines: &str| site.of("htaccess", lines);
    write(
        "app/.htaccess",
        "# nothing\nSetEnv A 1\nRequire all granted\n<IfModule nonesuch.c>\nOptions None\n</IfModule>\n",
    );
    for sound in [
        "",
        "AllowOverride None",
        "AllowOverride All",
        "AllowOverride AuthConfig FileInfo",
        "AllowOverrideList SetEnv Require",
    ] {
        assert_eq!(found(&lines(sound)), [""; 0], "{sound}");
    }
    let one = found(&lines("AllowOverride FileInfo"));
    let place = site.path().join("app/.htaccess").display().to_string();
    assert!(
        one.len() == 1 && one[0].starts_with(&format!("{place}:3: error: Require is not allowed here")),
        "{one:?}"
    );
    assert!(one[0].contains("AllowOverride AuthConfig"), "{one:?}");
    assert_eq!(found(&lines("AllowOverride FileInfo Nonfatal=Override")), [""; 0]);

    write(
        "app/.htaccess",
        "WSGIProcessGroup other\nWSGIApplicationGroup %{GLOBAL}\nAlias /x /y\nWSGIPassAuthorization Maybe\n",
    );
    let all = found(&lines("AllowOverride All"));
    assert_eq!(all.len(), 4, "{all:?}");
    fs::remove_file(site.path().join("app/.htaccess")).unwrap();

    write("htdocs/sub/.htaccess", "Alias /x /y\n");
    let served =
        "DocumentRoot @/htdocs\n<Directory @/htdocs>\nAllowOverride All\nRequire all granted\n</Directory>\n";
    let found = found(served);
    assert!(found.len() == 1 && found[0].contains(".htaccess:1: warning: Alias"), "{found:?}");
}

#[test]
fn settings_of_htaccess_count() {
    let site = Site::new(&["app/a.wsgi"]);
    let alias = "WSGIScriptAlias / @/app/a.wsgi\n<Directory @/app>\nAllowOverride All\nRequire all granted\n</Directory>\n";
    fs::write(site.path().join("app/.htaccess"), "Require all denied\n").unwrap();
    let denied = site.of("access-denied", alias);
    assert!(denied.len() == 1 && denied[0].contains(".htaccess:1 denies"), "{denied:?}");
    assert_eq!(site.of("access-denied", &alias.replace("Override All", "Override None")), [""; 0]);
}
