//! The names that included files ask for with `<IfDefine>`.

use e2e::Needs::Daemon;
use e2e::{Test, test};

use super::server::{Express, Site};

pub(super) const TESTS: &[Test] = &[
    test!(included_files_find_the_names_of_daemon_mode, Daemon),
    test!(included_files_find_the_names_of_embedded_mode, Daemon),
];

/// All names of the contract that do not begin with `MOD_WSGI_`, and the others without that, but
/// for those of virtual hosts and debug modes.
const NAMES: &[&str] = &[
    "ACCESS_LOG",
    "AUTH_GROUP",
    "AUTH_USER",
    "CGID_SCRIPT",
    "CGI_SCRIPT",
    "CHUNKED_REQUEST",
    "COMPRESS_RESPONSES",
    "DIRECTORY_INDEX",
    "DIRECTORY_LISTING",
    "DISABLE_RELOADING",
    "ENABLE_SENDFILE",
    "ERROR_LOG_FORMAT",
    "ERROR_OVERRIDE",
    "FREE_THREADING",
    "HOST_ACCESS",
    "IMPORT_HANDLER_SCRIPT",
    "KEEP_ALIVE",
    "MPM_ENABLE_EVENT_MODULE",
    "MPM_ENABLE_PREFORK_MODULE",
    "MPM_ENABLE_WORKER_MODULE",
    "MPM_EXISTS_EVENT_MODULE",
    "MPM_EXISTS_PREFORK_MODULE",
    "MPM_EXISTS_WORKER_MODULE",
    "MULTIPROCESS",
    "ROTATE_LOGS",
    "SERVER_METRICS",
    "SERVER_STATUS",
    "SLOW_REQUESTS",
    "STATIC_ONLY",
    "SWITCH_INTERVAL",
    "TELEMETRY_OPTIONS",
    "TELEMETRY_SERVICE",
    "WITH_HTTP2",
    "WITH_HTTPS",
    "WITH_LISTENER_HOST",
    "WITH_PROXY",
    "WITH_PROXY_HEADERS",
    "WITH_PYTHON_PATH",
    "WITH_SOCKET_PREFIX",
    "WITH_TRUSTED_PROXIES",
    "EMBEDDED_MODE",
    "FOREGROUND",
    "ONE_PROCESS",
    "ORPHAN_INTERPRETER",
];

fn site() -> Site {
    let site = Site::new();
    let unprefixed = ["EMBEDDED_MODE", "FOREGROUND", "ONE_PROCESS", "ORPHAN_INTERPRETER"];
    let section = |name: &&str| {
        let prefix = if unprefixed.contains(name) { "" } else { "MOD_WSGI_" };
        format!("<IfDefine {prefix}{name}>\nHeader always merge X-Names {name}\n</IfDefine>\n")
    };
    site.write("names.conf", &NAMES.iter().map(section).collect::<String>());
    site.write("access.py", "def allow_access(environ, host):\n    return True\n");
    site
}

fn found(options: &[&str]) -> Vec<String> {
    let server = Express::serve(site(), &[&["--include-file", "names.conf"], options].concat());
    let response = server.ask("GET", "/", "", "");
    let names = response.header("X-Names").unwrap_or_default();
    names.split(',').map(|name| name.trim().to_owned()).collect()
}

fn included_files_find_the_names_of_daemon_mode() {
    let names = found(&[
        "--access-log",
        "--rotate-logs",
        "--error-log-format",
        "%M",
        "--processes",
        "1",
        "--server-mpm",
        "worker",
        "--server-mpm",
        "event",
        "--with-cgi",
        "--chunked-request",
        "--compress-responses",
        "--directory-index",
        "none.html",
        "--directory-listing",
        "--disable-reloading",
        "--enable-sendfile",
        "--error-override",
        "--host-access-script",
        "access.py",
        "--server-metrics",
        "--server-status",
        "--switch-interval",
        "0.01",
        "--telemetry-service",
        "unix:/nowhere",
        "--slow-requests",
        "9",
        "--telemetry-options",
        "+CaptureUserAgent",
        "--http2",
        "--proxy-mount-point",
        "/other",
        "http://127.0.0.1:1/",
        "--trust-proxy",
        "127.0.0.1",
        "--trust-proxy-header",
        "X-Forwarded-For",
        "--python-path",
        "/nowhere",
        "--socket-prefix",
        "/tmp",
        "--orphan-interpreter",
    ]);
    let absent = [
        "AUTH_GROUP",
        "AUTH_USER",
        "CGI_SCRIPT",
        "FREE_THREADING",
        "MPM_ENABLE_PREFORK_MODULE",
        "MPM_ENABLE_WORKER_MODULE",
        "MPM_EXISTS_PREFORK_MODULE",
        "STATIC_ONLY",
        "WITH_HTTPS",
        "EMBEDDED_MODE",
        "ONE_PROCESS",
    ];
    let expected: Vec<_> = NAMES.iter().filter(|name| !absent.contains(name)).collect();
    assert_eq!(names.iter().collect::<Vec<_>>(), expected);
}

fn included_files_find_the_names_of_embedded_mode() {
    let names = found(&["--embedded-mode", "--server-mpm", "prefork", "--keep-alive-timeout", "0"]);
    // Reloading is off anyway.
    let expected = [
        "DISABLE_RELOADING",
        "IMPORT_HANDLER_SCRIPT",
        "MPM_ENABLE_PREFORK_MODULE",
        "MPM_EXISTS_PREFORK_MODULE",
        "WITH_LISTENER_HOST",
        "WITH_PYTHON_PATH",
        "EMBEDDED_MODE",
        "FOREGROUND",
    ];
    assert_eq!(names, expected);
}
