//! Configurations that `httpd -t` accepts and refuses.

use std::panic::{AssertUnwindSafe, catch_unwind};

use e2e::{Setup, Test, on_one_mpm};

pub(crate) const TESTS: &[Test] = &[
    on_one_mpm!(invalid_lines_are_refused),
    on_one_mpm!(valid_lines_are_accepted),
    on_one_mpm!(htaccess_files_are_restricted),
];

/// Lines that are refused, and what the message says.
const REFUSED: &[(&str, &str)] = &[
    // Flags.
    ("WSGIPassAuthorization maybe", "WSGIPassAuthorization"),
    ("WSGIScriptReloading 1", "WSGIScriptReloading"),
    ("WSGIChunkedRequest yes", "WSGIChunkedRequest"),
    ("WSGIErrorOverride true", "WSGIErrorOverride"),
    ("WSGIEnableSendfile x", "WSGIEnableSendfile"),
    ("WSGIRestrictStdin x", "WSGIRestrictStdin"),
    ("WSGIRestrictStdout x", "WSGIRestrictStdout"),
    ("WSGIRestrictSignal x", "WSGIRestrictSignal"),
    ("WSGIRestrictEmbedded x", "WSGIRestrictEmbedded"),
    ("WSGICaseSensitivity x", "WSGICaseSensitivity"),
    ("WSGIDontWriteBytecode x", "WSGIDontWriteBytecode"),
    ("WSGIDestroyInterpreter x", "WSGIDestroyInterpreter"),
    ("WSGIPerInterpreterGIL x", "WSGIPerInterpreterGIL"),
    ("WSGIFreeThreading x", "WSGIFreeThreading"),
    ("WSGIPassApacheRequest x", "WSGIPassApacheRequest"),
    ("WSGIMapHEADToGET x", "WSGIMapHEADToGET"),
    ("WSGIVerboseDebugging x", "WSGIVerboseDebugging"),
    // One word.
    ("WSGIApplicationGroup", "WSGIApplicationGroup"),
    ("WSGIApplicationGroup a b", "WSGIApplicationGroup"),
    ("WSGIApplicationGroup \"\"", "WSGIApplicationGroup"),
    ("WSGICallableObject", "WSGICallableObject"),
    ("WSGIPythonHome", "WSGIPythonHome"),
    ("WSGIPythonPath a b", "WSGIPythonPath"),
    ("WSGIPythonEggs", "WSGIPythonEggs"),
    ("WSGIPythonOptimize", "WSGIPythonOptimize"),
    ("WSGIPythonWarnings", "WSGIPythonWarnings"),
    // Values.
    ("WSGIPythonHashSeed text", "random"),
    ("WSGIPythonHashSeed -1", "4294967295"),
    ("WSGIPythonHashSeed 4294967296", "4294967295"),
    ("WSGIPythonHashSeed RANDOM", "random"),
    ("WSGISwitchInterval 0", "positive"),
    ("WSGISwitchInterval -1", "positive"),
    ("WSGISwitchInterval text", "positive"),
    // Telemetry.
    ("WSGITelemetryService", "WSGITelemetryService"),
    ("WSGITelemetryService /x", "unix:"),
    ("WSGITelemetryService udp:localhost:1", "udp"),
    ("WSGITelemetryService unix:/x interval=0.4", "interval"),
    ("WSGITelemetryService unix:/x period=1", "WSGITelemetryService"),
    ("WSGITelemetryService unix:/x interval=1 more", "WSGITelemetryService"),
    ("WSGISlowRequests", "WSGISlowRequests"),
    ("WSGISlowRequests -1", "WSGISlowRequests"),
    ("WSGITelemetryOptions", "WSGITelemetryOptions"),
    ("WSGITelemetryOptions +", "WSGITelemetryOptions"),
    ("WSGITelemetryOptions +All", "WSGITelemetryOptions"),
    ("WSGITelemetryOptions Other", "WSGITelemetryOptions"),
    ("WSGITelemetryOptions +CaptureUserAgent CaptureUserAgent", "WSGITelemetryOptions"),
    // Aliases.
    ("WSGIScriptAlias", "WSGIScriptAlias"),
    ("WSGIScriptAlias /app", "WSGIScriptAlias"),
    ("WSGIScriptAlias /app /x.wsgi stray", "option"),
    ("WSGIScriptAlias /app /x.wsgi unknown=1", "option"),
    ("WSGIScriptAlias /app /x.wsgi =1", "option"),
    ("WSGIScriptAlias /app /x.wsgi Application-Group=a", "option"),
    ("WSGIScriptAlias /app /x.wsgi \"application-group=a b\"", "option"),
    ("WSGIScriptAlias /app /x.wsgi application-group=", "group"),
    ("WSGIScriptAlias /app /x.wsgi process-group=", "group"),
    ("WSGIScriptAlias /app /x.wsgi callable-object=", "callable"),
    ("WSGIScriptAlias /app /x.wsgi pass-authorization=maybe", "uthorization"),
    ("WSGIScriptAlias /app /x.wsgi process-group=nope application-group=a", "process group"),
    ("WSGIScriptAliasMatch /app", "WSGIScriptAliasMatch"),
    ("WSGIScriptAliasMatch ( /x.wsgi", "regular expression"),
    ("WSGIScriptAliasMatch /app /x.wsgi nope=1", "option"),
    // Other scripts.
    ("WSGIHandlerScript", "ame"),
    ("WSGIHandlerScript name", "andler"),
    ("WSGIHandlerScript name /x.py nonsense=x", "option"),
    ("WSGIHandlerScript name /x.py process-group=", "group"),
    ("WSGIImportScript", "mport"),
    ("WSGIImportScript /x.py", "group"),
    ("WSGIImportScript /x.py process-group=%{GLOBAL}", "application group"),
    ("WSGIImportScript /x.py application-group=%{GLOBAL}", "process group"),
    ("WSGIImportScript /x.py process-group=nope application-group=a", "process group"),
    ("WSGIImportScript /x.py process-group=%{GLOBAL} application-group=a x=1", "option"),
    // Proxies.
    ("WSGITrustedProxies host.example", "host.example"),
    ("WSGITrustedProxies 1.2.3.4/99", "1.2.3.4/99"),
    ("WSGITrustedProxies 1.2.3.400", "1.2.3.400"),
    ("WSGITrustedProxies FE80::1", "FE80::1"),
    ("WSGITrustedProxies 1.1.1.1,2.2.2.2", "1.1.1.1,2.2.2.2"),
    // The container.
    ("<WSGIInterpreterOptions x=1>\n</WSGIInterpreterOptions>", "option"),
    ("<WSGIInterpreterOptions stray>\n</WSGIInterpreterOptions>", "option"),
    (
        "<WSGIInterpreterOptions application-group=a application-group=b>\n</WSGIInterpreterOptions>",
        "application-group",
    ),
    ("<WSGIInterpreterOptions application-group=a>", "WSGIInterpreterOptions"),
    ("<WSGIInterpreterOptions application-group=a\nWSGIRestrictStdin On\n</WSGIInterpreterOptions>", ">"),
    // Daemon processes.
    ("WSGIDaemonProcess", "name"),
    ("WSGIDaemonProcess one\nWSGIDaemonProcess one", "Name duplicates previous WSGI daemon definition."),
    ("WSGIDaemonProcess one stray", "option"),
    ("WSGIDaemonProcess one unknown=1", "option"),
    ("WSGIDaemonProcess one processes=0", "process"),
    ("WSGIDaemonProcess one threads=-1", "thread"),
    ("WSGIDaemonProcess one umask=9", "umask"),
    ("WSGIDaemonProcess one home=relative", "home"),
    ("WSGIDaemonProcess one user=root", "root"),
    ("WSGIDaemonProcess one script-user=daemon script-group=daemon", "script"),
    ("WSGIDaemonProcess one deadlock-timeout=-1", "deadlock"),
    ("WSGIDaemonProcess one send-buffer-size=511", "send"),
    ("WSGIDaemonProcess one header-buffer-size=8191", "header"),
    ("WSGIDaemonProcess one response-buffer-size=65535", "response"),
    ("WSGIDaemonProcess one switch-interval=0", "switch"),
    ("WSGIDaemonProcess one server-metrics=maybe", "metrics"),
    ("<Location />\nWSGIDaemonProcess one\n</Location>", "not allowed in <Location> context"),
    ("WSGIAcceptMutex nonsense", "mutex"),
    ("WSGISocketRotation x", "WSGISocketRotation"),
    ("WSGIServerMetrics x", "WSGIServerMetrics"),
    ("WSGIIgnoreActivity x", "WSGIIgnoreActivity"),
    ("<VirtualHost *>\nWSGISocketPrefix /tmp/x\n</VirtualHost>", "cannot occur within <VirtualHost> section"),
    // Misplaced: global ones.
    ("<VirtualHost *>\nWSGIPythonHome /x\n</VirtualHost>", "cannot occur within <VirtualHost> section"),
    ("<VirtualHost *>\nWSGIRestrictEmbedded On\n</VirtualHost>", "cannot occur within <VirtualHost> section"),
    ("<VirtualHost *>\nWSGICaseSensitivity On\n</VirtualHost>", "cannot occur within <VirtualHost> section"),
    (
        "<VirtualHost *>\n<WSGIInterpreterOptions>\n</WSGIInterpreterOptions>\n</VirtualHost>",
        "WSGIInterpreterOptions",
    ),
    ("<Location />\nWSGIPythonPath /x\n</Location>", "not allowed in <Location> context"),
    // Those of servers.
    ("<Directory />\nWSGIScriptAlias / /x.wsgi\n</Directory>", "not allowed in <Directory> context"),
    ("<Location />\nWSGIScriptAliasMatch / /x.wsgi\n</Location>", "not allowed in <Location> context"),
    ("<Files x>\nWSGIImportScript /x.py\n</Files>", "not allowed in <Files> context"),
    // Gone since 6.0.
    ("WSGILazyInitialization On", "Invalid command"),
    ("WSGIPy3kWarningFlag On", "Invalid command"),
    ("WSGIUserAuthoritative On", "Invalid command"),
    ("WSGINewRelicConfigFile x", "Invalid command"),
    ("WSGINoSuchDirective x", "Invalid command"),
];

/// Lines that are accepted.
const ACCEPTED: &[&str] = &[
    "WSGIScriptAlias /app /nonexistent.wsgi",
    "WSGIScriptAlias /app /x.wsgi application-group=a application-group=b",
    "WSGIScriptAlias /app /x.wsgi application-group=\"a b\" callable-object=c pass-authorization=on",
    "WSGIScriptAlias /app /x.wsgi process-group=%{GLOBAL} application-group=%{GLOBAL}",
    "WSGIScriptAliasMatch ^/(x|y)$ /x.wsgi",
    "wsgiscriptalias /app /x.wsgi",
    "WSGIImportScript /nonexistent.py process-group=%{GLOBAL} application-group=%{GLOBAL}",
    "<VirtualHost *>\nWSGIImportScript /x.py process-group=%{GLOBAL} application-group=a\n</VirtualHost>",
    "WSGIHandlerScript name /x.py application-group=a pass-authorization=Off",
    "<Location />\nWSGIHandlerScript name /x.py\n</Location>",
    "WSGIPythonHome /nonexistent",
    "WSGIPythonOptimize 9",
    "WSGIPythonHashSeed random",
    "WSGIPythonHashSeed 4294967295",
    "WSGISwitchInterval 0.001",
    "WSGIDaemonProcess one threads=0 processes=1 socket-timeout=0 umask=0027 display-name=%{GROUP} home=/",
    "WSGIDaemonProcess one threads=1 threads=2 supplementary-groups=daemon,#1 python-path=/x:/y",
    "WSGIDaemonProcess one\nWSGIScriptAlias /app /x.wsgi process-group=one application-group=%{GLOBAL}",
    "<VirtualHost *>\nWSGIDaemonProcess one\n</VirtualHost>",
    "WSGIProcessGroup nobody",
    "WSGIRestrictProcess one two",
    "WSGIRestrictProcess",
    "WSGIAcceptMutex default",
    "WSGISocketPrefix /tmp/x",
    "WSGISocketRotation On",
    "WSGIServerMetrics On",
    "<Location />\nWSGIIgnoreActivity On\nWSGIProcessGroup %{ENV:NAME}\n</Location>",
    "WSGIMapHEADToGET auto",
    "WSGIPassAuthorization ON",
    "WSGIVerboseDebugging On",
    "WSGITelemetryService unix:/x",
    "WSGITelemetryService \"unix:/a b\" interval=0.5",
    "WSGISlowRequests 0.25",
    "WSGISlowRequests 0",
    "WSGITelemetryOptions None",
    "WSGITelemetryOptions CaptureUserAgent\nWSGITelemetryOptions -captureuseragent",
    "WSGITrustedProxies 10 10.1 10.0.0.0/8 192.168.0.0/255.255.0.0 ::1 fe80::/10",
    "WSGITrustedProxies",
    "WSGITrustedProxyHeaders X-Forwarded-For Anything",
    "WSGITrustedProxyHeaders",
    "WSGIPerInterpreterGIL On",
    "WSGIFreeThreading On",
    "<WSGIInterpreterOptions>\nWSGIRestrictStdin On\n</WSGIInterpreterOptions>",
    "<WSGIInterpreterOptions Process-Group=%{GLOBAL} application-group=>\nWSGIPythonPath /x\n\
     WSGISwitchInterval 1\nWSGIPerInterpreterGIL On\nWSGIFreeThreading Off\nWSGIRestrictSignal Off\n\
     </WSGIInterpreterOptions>",
    "<WSGIInterpreterOptions \"application-group=a b\">\n<IfModule wsgi_module>\nWSGIRestrictStdout On\n</IfModule>\n\
     </WSGIInterpreterOptions>",
    "<WSGIInterpreterOptions application-group=a>\n<WSGIInterpreterOptions application-group=b>\nWSGIRestrictStdin On\n\
     </WSGIInterpreterOptions>\n</WSGIInterpreterOptions>",
    "<Location />\nWSGIApplicationGroup a\nWSGICallableObject b\nWSGIPassApacheRequest On\nWSGIEnableSendfile On\n\
     WSGITrustedProxies 1.1.1.1\n</Location>",
    "<IfModule mod_wsgi.c>\n<IfModule !wsgi_module>\nNonsense\n</IfModule>\n</IfModule>\n\
     <IfModule !mod_wsgi.c>\nNonsense\n</IfModule>",
    "LogLevel wsgi:debug wsgi_module:info mod_wsgi.c:warn",
    "<If \"true\">\nWSGIScriptReloading Off\n</If>",
];

fn invalid_lines_are_refused(setup: Setup) {
    check_each_line(&setup, REFUSED.iter().copied(), |line, accepted, text, expected| {
        assert!(!accepted, "{line:?} is accepted");
        assert!(text.to_lowercase().contains(&expected.to_lowercase()), "{expected:?} is not in {text:?}");
    });
}

fn valid_lines_are_accepted(setup: Setup) {
    check_each_line(&setup, ACCEPTED.iter().map(|&line| (line, ())), |line, accepted, text, ()| {
        assert!(accepted, "{line:?} is refused: {text}");
    });
}

/// Tests one configuration for each line and reports all failures at once.
fn check_each_line<T>(
    setup: &Setup,
    lines: impl Iterator<Item = (&'static str, T)>,
    check: impl Fn(&str, bool, &str, T),
) {
    let mut failures = Vec::new();
    for (line, expected) in lines {
        let output = setup.clone().conf(line).test_configuration();
        let text = String::from_utf8_lossy(&output.stderr).into_owned();
        let checked = catch_unwind(AssertUnwindSafe(|| {
            check(line, output.status.success(), text.trim(), expected);
        }));
        if checked.is_err() {
            failures.push(line);
        }
    }
    assert!(failures.is_empty(), "{failures:#?}");
}

fn htaccess_files_are_restricted(setup: Setup) {
    let app = "def application(e, s):\n    s('200 OK', [])\n    return [b'x']\n\n\ndef other(e, s):\n    \
               s('200 OK', [])\n    return [b'other']\n";
    let mut setup = setup
        .modules(&["auth_basic"])
        .conf("Alias /d @ROOT@/d\n<Directory @ROOT@/d>\nAllowOverride FileInfo\nOptions ExecCGI\nAddHandler wsgi-script .wsgi\n</Directory>");
    let directories = [
        ("callable", "WSGICallableObject other", 200),
        ("reloading", "WSGIScriptReloading Off", 200),
        ("chunked", "WSGIChunkedRequest On", 200),
        ("head", "WSGIMapHEADToGET On", 200),
        ("sendfile", "WSGIEnableSendfile On", 200),
        ("authorization", "WSGIPassAuthorization On", 200),
        ("override", "WSGIErrorOverride On", 200),
        ("proxies", "WSGITrustedProxies 1.1.1.1", 200),
        ("headers", "WSGITrustedProxyHeaders X-Forwarded-For", 200),
        ("group", "WSGIApplicationGroup x", 500),
        ("request", "WSGIPassApacheRequest On", 500),
        ("handler", "WSGIHandlerScript x /x.py", 500),
        ("alias", "WSGIScriptAlias / /x.wsgi", 500),
        ("home", "WSGIPythonHome /x", 500),
        ("value", "WSGIPassAuthorization nonsense", 500),
    ];
    for (name, line, _) in directories {
        setup = setup
            .file(&format!("d/{name}/app.wsgi"), app)
            .file(&format!("d/{name}/.htaccess"), format!("{line}\n"));
    }
    setup.run(|server, cases| {
        for (name, line, status) in directories {
            cases.check(line, || {
                let mark = server.mark();
                let response = server.get(&format!("/d/{name}/app.wsgi"));
                assert_eq!(response.status, status);
                if name == "callable" {
                    assert_eq!(response.text(), "other");
                }
                if status == 500 {
                    let word = line.split(' ').next().unwrap_or_default();
                    assert!(server.wait_log(mark, "htaccess").contains(word));
                }
            });
        }
    });
}
