use std::path::Path;

use super::*;
use crate::account::Account;
use crate::apache::Apache;
use crate::install::Installation;
use crate::options;
use crate::parse::parse;
use crate::python::Python;
use crate::settings::Settings;

/// The configuration for a command line, and the control script.
fn generate(arguments: &[&str]) -> Result<(String, String), Failure> {
    let arguments = ["--server-root", "/r", "--working-directory", "/w"]
        .iter()
        .chain(arguments)
        .map(|&argument| argument.to_owned())
        .collect();
    let parsed = parse(&options::server(), arguments)?;
    let built_in = MODULES
        .iter()
        .chain(&[
            "event",
            "log_config",
            "status",
            "ssl",
            "http2",
            "proxy",
            "proxy_http",
            "auth_basic",
            "auth_digest",
            "authz_user",
        ])
        .map(|&name| name.to_owned())
        .collect();
    let settings = Settings::new(&parsed)?;
    let inputs = Inputs {
        settings: &settings,
        account: &Account::choose(None, None).unwrap(),
        apache: &Apache { program: "/usr/sbin/apache2".into(), modules: "/modules".into(), built_in },
        mpm: Mpm::Event,
        python: &Python {
            executable: "/opt/bin/python3".into(),
            program: "/opt/bin/python3.11".into(),
            prefix: "/opt".into(),
            version: "3.11.2".into(),
            ext_suffix: ".cpython-X.so".into(),
            library: "libpython3.11.so.1.0".into(),
            shared: true,
            origin: "--python".into(),
        },
        installation: &Installation { directory: "/usr/lib/mod_wsgi".into() },
        service_accounts: vec![("mail".to_owned(), Account::choose(None, None).unwrap())],
        locale: "C.UTF-8".into(),
        logs: settings.logs.targets(Path::new("/p/bin/mod_wsgi-express"))?,
        command_line: "mod_wsgi-express start-server\nrm",
    };
    Ok((inputs.configuration()?, inputs.control_script(Some(Path::new("/r/envvars")))?))
}

fn configuration(arguments: &[&str]) -> String {
    generate(arguments).unwrap().0
}

fn has(text: &str, line: &str) -> bool {
    text.lines().any(|each| each.trim() == line)
}

#[test]
fn the_application_is_mounted_and_granted() {
    let text = configuration(&["/srv/app/main.wsgi", "--host", "127.0.0.1", "--port", "81"]);
    for line in [
        "Listen \"127.0.0.1:81\"",
        "ServerName \"127.0.0.1\"",
        "LoadModule wsgi_module \"/usr/lib/mod_wsgi/mod_wsgi.so\"",
        "WSGIPythonHome \"/opt\"",
        "WSGIHandlerScript wsgi-handler \"/srv/app/main.wsgi\" process-group=\"127.0.0.1:81\" application-group=\"%{GLOBAL}\" \
         callable-object=\"application\" url-path=\"/\" module-name=__wsgi__",
        "WSGIImportScript \"/srv/app/main.wsgi\" process-group=\"127.0.0.1:81\" application-group=\"%{GLOBAL}\"",
        "Include \"/r/rewrite.conf\"",
        "RewriteRule ^ - [H=wsgi-handler]",
        "DocumentRoot \"/r/htdocs\"",
        "ErrorLog \"/r/error_log\"",
        "LogLevel warn",
        "WSGIScriptReloading On",
    ] {
        assert!(has(&text, line), "{line}\n{text}");
    }
    assert!(!text.contains("R=301"), "{text}");
}

#[test]
fn a_mount_point_redirects_to_its_slash() {
    let text = configuration(&["/a.wsgi", "--mount-point", "/a.b"]);
    assert!(has(&text, r#"RewriteCond %{REQUEST_URI} "^/a\.b$""#), "{text}");
    assert!(has(&text, r#"RewriteRule ^ "/a.b/" [R=301,L]"#), "{text}");
    assert!(has(&text, r#"RewriteCond %{REQUEST_URI} "^/a\.b/""#), "{text}");
    assert!(text.contains(" url-path=\"/a.b\" module-name=__wsgi__\n"), "{text}");
}

#[test]
fn files_alone_need_no_processes() {
    let (text, script) = generate(&["--application-type", "static", "/srv"]).unwrap();
    assert!(has(&text, "DocumentRoot \"/srv\""), "{text}");
    for absent in ["WSGIDaemonProcess", "WSGIHandlerScript", "WSGIImportScript", "wsgi-handler"] {
        assert!(!text.contains(absent), "{absent} in {text}");
    }
    assert!(script.contains("-D MOD_WSGI_STATIC_ONLY"), "{script}");
    // But those of --add-handler do.
    let text = configuration(&["--application-type", "static", "/srv", "--add-handler", "md", "/h"]);
    assert!(text.contains("WSGIDaemonProcess") && text.contains("WSGIHandlerScript wsgi-resource"), "{text}");
}

#[test]
fn an_alias_for_a_file_grants_that_file_only() {
    let text = configuration(&["/a.wsgi", "--url-alias", "/p", "/etc/passwd"]);
    assert!(has(&text, "<Directory \"/etc\">") && has(&text, "<Files \"passwd\">"), "{text}");
}

#[test]
fn includes_are_last_and_in_order() {
    let text = configuration(&["/a.wsgi", "--include-file", "/z", "--include-file", "/b"]);
    assert!(text.ends_with("#: --include-file\nInclude \"/z\"\nInclude \"/b\"\n"), "{text}");
}

#[test]
fn values_cannot_inject_directives() {
    for arguments in [
        ["/a.wsgi", "--callable-object", "x\nInclude /etc/passwd"],
        ["/a\n.wsgi", "--port", "1"],
        ["/a.wsgi", "--document-root", "/srv/*"],
        ["/a.wsgi", "--python-path", "/a:/b"],
        ["/a.wsgi", "--directory-index", "x\nInclude /etc/passwd"],
        ["/a.wsgi", "--rewrite-rules", "/srv/*.conf"],
        ["/a.wsgi", "--passenv", "A\nB"],
        ["/a.wsgi", "--mime-types", "/a\nb"],
        ["/a.wsgi", "--pid-file", "/a${B}"],
        ["/a.wsgi", "--error-log-format", "%M\nInclude /etc/passwd"],
        ["/a.wsgi", "--error-log-name", "x\ny"],
        ["/a.wsgi", "--log-directory", "/a\u{7}"],
        ["/a.wsgi", "--telemetry-service", "unix:/a\nb"],
    ] {
        assert!(matches!(generate(&arguments), Err(Failure::Usage(_))), "{arguments:?}");
    }
    let tls =
        ["--https-port", "443", "--ssl-certificate", "/c", "--https-only", "--ssl-ca-certificate-file", "/a"];
    for option in [
        &["--server-name"][..],
        &["--server-alias"],
        &["--hsts-policy", "max-age=1"],
        &["--ssl-certificate"],
        &["--ssl-certificate-chain-file"],
        &["--ssl-ca-certificate-file"],
        &["--ssl-verify-client", "/"],
        &["--trust-proxy", "10.0.0.1"],
        &["--trust-proxy-header", "X-Forwarded-For"],
        &["--proxy-mount-point", "/p", "http://x/"],
        &["--proxy-virtual-host", "x", "http://x/"],
        &["--access-log", "--access-log-format", "%h"],
        &["--access-log", "--access-log-name", "x"],
        &["--auth-user-script", "/u"],
        &["--auth-user-script", "/u", "--auth-group-script", "/g", "--auth-group", "x"],
        &["--host-access-script", "/h"],
    ] {
        for injected in ["\nInclude /etc/passwd", "${HOME}\u{1}", "\"\u{7f}", "\rx"] {
            // The injected text ends the last argument.
            let (last, others) = option.split_last().unwrap();
            let mut arguments = [&["/a.wsgi"], &tls[..], others].concat();
            let value = if others.is_empty() { injected.to_owned() } else { format!("{last}{injected}") };
            if others.is_empty() {
                arguments.push(last);
            }
            arguments.push(&value);
            assert!(matches!(generate(&arguments), Err(Failure::Usage(_))), "{arguments:?}");
        }
    }
}

#[test]
fn virtual_hosts_are_complete_and_quoted() {
    let text = configuration(&[
        "/a.wsgi",
        "--server-name",
        "www.a.test",
        "--https-port",
        "443",
        "--ssl-certificate",
        "/c \"d\"",
        "--proxy-virtual-host",
        "*.b.test",
        "http://x/",
        "--proxy-mount-point",
        "/p",
        "unix:/s|http://x/y",
    ]);
    for line in [
        r#"SSLCertificateKeyFile "/c \"d\".key""#,
        "Listen \"443\"",
        "ServerAlias \"*.b.test\"",
        "ProxyPass \"/\" \"http://x/\" upgrade=websocket",
        "ProxyPass \"/p/\" \"unix:/s|http://x/y/\" upgrade=websocket",
        "ProxyPassReverse \"/p/\" \"http://x/y/\"",
        r#"RewriteRule ^ "http://www.a.test:8000%1" [R=301,L,NE]"#,
        r#"RewriteRule ^ "https://www.a.test%1" [R=301,L,NE]"#,
    ] {
        assert!(has(&text, line), "{line}\n{text}");
    }
    assert_eq!(text.matches("<VirtualHost ").count(), 7, "{text}");
    assert_eq!(text.matches("SSLEngine On").count(), 3, "{text}");
}

#[test]
fn pairs_of_values_cannot_inject_directives() {
    let text = configuration(&["/a.wsgi", "--setenv", "A", "\" \\\" $x", "--error-document", "404", "/\"a"]);
    assert!(has(&text, r#"SetEnv "A" "\" \\\" $x""#), "{text}");
    assert!(has(&text, r#"ErrorDocument 404 "/\"a""#), "{text}");
    for arguments in [
        ["--setenv", "A", "x\nInclude /etc/passwd"],
        ["--setenv", "A\nB", "x"],
        ["--setenv", "A", "${B}"],
        ["--error-document", "404", "/x\ny"],
        ["--add-handler", "a\"\u{7}b", "/h"],
    ] {
        assert!(matches!(generate(&arguments), Err(Failure::Usage(_))), "{arguments:?}");
    }
}

#[test]
fn the_control_script_is_one_command_per_line() {
    let (_, script) = generate(&["/it's.wsgi", "--host", "it's"]).unwrap();
    assert!(script.contains("#   mod_wsgi-express start-server rm\n"), "{script}");
    assert!(has(&script, r"export MOD_WSGI_LISTENER_HOST='it'\''s'"), "{script}");
    assert!(script.contains(" -D MOD_WSGI_IMPORT_HANDLER_SCRIPT -D "), "{script}");
    assert!(!script.contains("EMBEDDED_MODE") && !script.contains("RELOADER"), "{script}");
    assert!(script.contains("-D MOD_WSGI_MPM_ENABLE_EVENT_MODULE"), "{script}");
}

#[test]
fn names_and_ports_reach_the_control_script_and_included_files() {
    let tls = ["--https-port", "443", "--ssl-certificate", "/c", "--https-only", "--http2"];
    let names = ["--server-name", "www.a.test", "--server-alias", "*.a.test", "--server-alias", "b.test"];
    let proxies = ["--trust-proxy-header", "X-Forwarded-For", "--proxy-mount-point", "/p", "http://x/"];
    let (_, script) = generate(&[&["/a.wsgi"], &tls[..], &names, &proxies].concat()).unwrap();
    for line in [
        "export MOD_WSGI_SERVER_NAME='www.a.test'",
        "export MOD_WSGI_SERVER_ALIASES='*.a.test b.test'",
        "export MOD_WSGI_LISTENER_HOST='localhost'",
        "export MOD_WSGI_HTTPS_PORT=443",
    ] {
        assert!(has(&script, line), "{line}\n{script}");
    }
    for name in [
        "WITH_HTTP2",
        "WITH_HTTPS",
        "HTTPS_ONLY",
        "VIRTUAL_HOST",
        "REDIRECT_WWW",
        "SERVER_ALIAS",
        "WITH_PROXY",
        "WITH_PROXY_HEADERS",
    ] {
        assert!(script.contains(&format!(" -D MOD_WSGI_{name} ")), "{name}\n{script}");
    }
    for name in ["VERIFY_CLIENT", "HSTS_POLICY", "ALLOW_LOCALHOST", "SSL_ENVIRONMENT", "WITH_TRUSTED_PROXIES"]
    {
        assert!(!script.contains(&format!(" -D MOD_WSGI_{name} ")), "{name}\n{script}");
    }
}

/// The lines of a group, without their continuations.
fn group<'t>(text: &'t str, name: &str) -> Vec<&'t str> {
    let first = format!("WSGIDaemonProcess \"{name}\" \\");
    let lines = text.lines().skip_while(|line| *line != first).skip(1);
    let mut options = Vec::new();
    for line in lines {
        options.push(line.trim().trim_end_matches(" \\"));
        if !line.ends_with('\\') {
            break;
        }
    }
    options
}

#[test]
fn daemon_processes_run_the_application() {
    let text = configuration(&["/a.wsgi", "--working-directory", "/srv", "--python-path", "/p"]);
    assert!(has(&text, "WSGIRestrictEmbedded On") && !text.contains("WSGIPythonPath"), "{text}");
    let options = group(&text, "localhost:8000");
    for option in [
        "threads=\"5\"",
        "home=\"/srv\"",
        "python=\"/opt/bin/python3.11\"",
        "python-path=\"/p:/usr/lib/mod_wsgi/python-packages\"",
        "python-eggs=\"/r/python-eggs\"",
        "lang=\"C.UTF-8\"",
        "locale=\"C.UTF-8\"",
        "server-metrics=\"Off\"",
        "startup-timeout=\"15\"",
        "listen-backlog=\"100\"",
    ] {
        assert!(options.contains(&option), "{option} in {options:?}");
    }
    let absent = [
        "processes=",
        "umask=",
        "switch-interval=",
        "memory-limit=",
        "memory-recycle=",
        "header-buffer-size=",
    ];
    assert!(options.iter().all(|option| absent.iter().all(|name| !option.starts_with(name))), "{options:?}");
}

#[test]
fn the_number_of_processes_may_be_a_range() {
    let text =
        configuration(&["/a.wsgi", "--process-group", "x", "--processes", "0-3", "--scale-up-wait", "50"]);
    let options = group(&text, "x");
    for option in ["processes=\"0-3\"", "scale-up-wait=\"50\"", "scale-down-idle=\"60\""] {
        assert!(options.contains(&option), "{option} in {options:?}");
    }
    let text = configuration(&["/a.wsgi", "--process-group", "x", "--processes", "3"]);
    assert!(!text.contains("scale-"), "{text}");
}

#[test]
fn options_reach_the_group() {
    let text = configuration(&[
        "/a.wsgi",
        "--process-group",
        "shop",
        "--processes",
        "1",
        "--umask",
        "027",
        "--switch-interval",
        "0.5",
        "--server-metrics",
        "--queue-timeout",
        "7",
        "--memory-limit",
        "100000000",
        "--memory-recycle",
        "80M",
        "--restart-jitter",
        "20",
        "--ignore-activity",
        "/ping",
        "--error-override",
        "--python-warnings",
        "error::UserWarning",
    ]);
    let options = group(&text, "shop");
    for option in [
        "processes=\"1\"",
        "display-name=\"(wsgi:shop)\"",
        "umask=\"027\"",
        "switch-interval=\"0.5\"",
        "server-metrics=\"On\"",
        "queue-timeout=\"7\"",
        "memory-limit=\"100000000\"",
        "memory-recycle=\"83886080\"",
        "restart-jitter=\"20\"",
    ] {
        assert!(options.contains(&option), "{option} in {options:?}");
    }
    for line in [
        "WSGISwitchInterval 0.5",
        "WSGIServerMetrics On",
        "<Location \"/ping\">",
        "WSGIErrorOverride On",
        "WSGIPythonWarnings \"error::UserWarning\"",
    ] {
        assert!(has(&text, line), "{line}\n{text}");
    }
}

#[test]
fn embedded_mode_has_no_daemon_processes() {
    let (text, script) =
        generate(&["/a.wsgi", "--embedded-mode", "--working-directory", "/srv", "--maximum-requests", "9"])
            .unwrap();
    for line in [
        "WSGIImportScript \"/a.wsgi\" process-group=%{GLOBAL} application-group=\"%{GLOBAL}\"",
        "WSGIPythonPath \"/srv:/usr/lib/mod_wsgi/python-packages\"",
        "WSGIScriptReloading Off",
        "MaxConnectionsPerChild 9",
        "MaxRequestWorkers 5",
    ] {
        assert!(has(&text, line), "{line}\n{text}");
    }
    assert!(!text.contains("WSGIDaemonProcess") && !text.contains("WSGIRestrictEmbedded"), "{text}");
    assert!(script.contains(" -D EMBEDDED_MODE -D "), "{script}");
}

#[test]
fn changes_are_watched_from_within() {
    let (text, script) = generate(&["/a.wsgi", "--reload-on-changes", "--application-group", "a"]).unwrap();
    let line = "WSGIImportScript \"/usr/lib/mod_wsgi/python-packages/mod_wsgi/express/reload_on_changes.py\" \
                process-group=\"localhost:8000\" application-group=\"a\"";
    assert!(has(&text, line), "{text}");
    assert!(has(&script, "export MOD_WSGI_RELOADER_ENABLED=true"), "{script}");
}

#[test]
fn services_have_groups_of_their_own() {
    let text = configuration(&[
        "/a.wsgi",
        "--service-script",
        "mail",
        "/mail.py",
        "--service-script",
        "log",
        "/log.py",
        "--service-log-file",
        "log",
        "log.log",
    ]);
    let options = group(&text, "service:mail");
    assert!(options.contains(&"threads=\"0\"") && options.contains(&"home=\"/w\""), "{options:?}");
    assert!(options.iter().any(|option| option.starts_with("user=")), "{options:?}");
    let import = |name| {
        format!(
            "WSGIImportScript \"/{name}.py\" process-group=\"service:{name}\" application-group=%{{GLOBAL}}"
        )
    };
    assert!(has(&text, &import("mail")) && has(&text, &import("log")), "{text}");
    assert!(has(&text, "ErrorLog \"/r/log.log\""), "{text}");
}
