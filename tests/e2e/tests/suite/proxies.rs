//! Trusted proxies and their headers.

use e2e::{Response, Server, Setup, Test, on_one_mpm};

use crate::ECHO;

pub(crate) const TESTS: &[Test] = &[
    on_one_mpm!(headers_of_trusted_proxies_are_applied),
    on_one_mpm!(a_name_that_is_no_header_name_is_ignored),
];

/// A scope with its own settings, headers that are sent, and what the environ has then (`-` for
/// nothing).
type Row = (&'static str, &'static [(&'static str, &'static str)], &'static [(&'static str, &'static str)]);

/// The peer is 127.0.0.1, which `/trusted` and `/chain` trust and `/distrusted` does not.
const SCOPES: &str = "\
    <Location /all>\nWSGITrustedProxyHeaders X-Forwarded-For X-Forwarded-Host X-Forwarded-Server X-Forwarded-Port \
        X-Script-Name X-Forwarded-Proto\n</Location>\n\
    <Location /client>\nWSGITrustedProxyHeaders X-Real-IP\n</Location>\n\
    <Location /order1>\nWSGITrustedProxyHeaders X-Client-IP X-Forwarded-For\n</Location>\n\
    <Location /order2>\nWSGITrustedProxyHeaders X-Forwarded-For X-Client-IP\n</Location>\n\
    <Location /scheme>\nWSGITrustedProxyHeaders X-Forwarded-Proto X-Forwarded-SSL\n</Location>\n\
    <Location /ssl>\nWSGITrustedProxyHeaders x-forwarded-https\nSetEnv HTTPS on\n</Location>\n\
    <Location /chain>\nWSGITrustedProxyHeaders X-Forwarded-For\nWSGITrustedProxies 127.0.0.1 10.0.0.0/8\n</Location>\n\
    <Location /partial>\nWSGITrustedProxyHeaders X-Forwarded-For\nWSGITrustedProxies 127 10.1\n</Location>\n\
    <Location /netmask>\nWSGITrustedProxyHeaders X-Forwarded-For\nWSGITrustedProxies 127.0.0.0/255.0.0.0 fe80::/10\n\
    </Location>\n\
    <Location /distrusted>\nWSGITrustedProxyHeaders X-Forwarded-For X-Forwarded-Host X-Forwarded-Proto\n\
        WSGITrustedProxies 10.0.0.0/8\n</Location>\n\
    <Location /nobody>\nWSGITrustedProxyHeaders X-Forwarded-For\nWSGITrustedProxies\n</Location>\n\
    <Location /off>\nWSGITrustedProxyHeaders\n</Location>\n\
    <Location /unknown>\nWSGITrustedProxyHeaders X-Unheard-Of\n</Location>\n";

const ROWS: &[Row] = &[
    (
        "/none",
        &[("X-Forwarded-For", "8.8.8.8")],
        &[("REMOTE_ADDR", "127.0.0.1"), ("HTTP_X_FORWARDED_FOR", "8.8.8.8")],
    ),
    (
        "/off",
        &[("X-Forwarded-For", "8.8.8.8")],
        &[("REMOTE_ADDR", "127.0.0.1"), ("HTTP_X_FORWARDED_FOR", "8.8.8.8")],
    ),
    ("/unknown", &[("X-Unheard-Of", "x")], &[("HTTP_X_UNHEARD_OF", "x"), ("REMOTE_ADDR", "127.0.0.1")]),
    (
        "/all",
        &[],
        &[("REMOTE_ADDR", "127.0.0.1"), ("wsgi.url_scheme", "http"), ("mod_wsgi.mount_point", "-")],
    ),
    (
        "/all",
        &[("X-Forwarded-For", "8.8.8.8, 1.1.1.1")],
        &[("REMOTE_ADDR", "8.8.8.8"), ("HTTP_X_FORWARDED_FOR", "8.8.8.8, 1.1.1.1")],
    ),
    ("/all", &[("X-Forwarded-For", " , ,")], &[("REMOTE_ADDR", "127.0.0.1")]),
    ("/all", &[("X-Forwarded-For", ", bogus")], &[("REMOTE_ADDR", "bogus")]),
    (
        "/all",
        &[("X-Forwarded-Host", "h.example:8")],
        &[("HTTP_HOST", "h.example:8"), ("HTTP_X_FORWARDED_HOST", "h.example:8")],
    ),
    ("/all", &[("X-Forwarded-Host", "h"), ("X-Host", "other")], &[("HTTP_HOST", "h"), ("HTTP_X_HOST", "-")]),
    ("/all", &[("X-Host", "other")], &[("HTTP_HOST", "localhost:@PORT@"), ("HTTP_X_HOST", "-")]),
    ("/all", &[("X-Forwarded-Server", "s.example")], &[("SERVER_NAME", "s.example")]),
    ("/all", &[("X-Forwarded-Port", "99")], &[("SERVER_PORT", "99")]),
    (
        "/all/path",
        &[("X-Script-Name", "/mount")],
        &[
            ("SCRIPT_NAME", "/mount"),
            ("mod_wsgi.mount_point", "/mount"),
            ("PATH_INFO", "/path"),
            ("mod_wsgi.script_name", "/all"),
        ],
    ),
    (
        "/all",
        &[("X-Forwarded-Script-Name", "/mount")],
        &[("SCRIPT_NAME", "/all"), ("HTTP_X_FORWARDED_SCRIPT_NAME", "-")],
    ),
    (
        "/all",
        &[("X-Forwarded-Proto", "HTTPS")],
        &[("wsgi.url_scheme", "https"), ("REQUEST_SCHEME", "http"), ("HTTPS", "-")],
    ),
    (
        "/all",
        &[("X-Forwarded-Proto", "ftp")],
        &[("wsgi.url_scheme", "http"), ("HTTP_X_FORWARDED_PROTO", "ftp")],
    ),
    ("/all", &[("X-Forwarded-SSL", "on")], &[("wsgi.url_scheme", "http"), ("HTTP_X_FORWARDED_SSL", "-")]),
    (
        "/client",
        &[("X-Real-IP", "any thing"), ("X-Forwarded-For", "1.1.1.1")],
        &[("REMOTE_ADDR", "any thing"), ("HTTP_X_FORWARDED_FOR", "-")],
    ),
    (
        "/order1",
        &[("X-Client-IP", "2.2.2.2"), ("X-Forwarded-For", "3.3.3.3")],
        &[("REMOTE_ADDR", "3.3.3.3"), ("HTTP_X_CLIENT_IP", "-"), ("HTTP_X_FORWARDED_FOR", "3.3.3.3")],
    ),
    (
        "/order2",
        &[("X-Client-IP", "2.2.2.2"), ("X-Forwarded-For", "3.3.3.3")],
        &[("REMOTE_ADDR", "2.2.2.2"), ("HTTP_X_CLIENT_IP", "2.2.2.2"), ("HTTP_X_FORWARDED_FOR", "-")],
    ),
    ("/order2", &[("X-Forwarded-For", "3.3.3.3")], &[("REMOTE_ADDR", "3.3.3.3")]),
    ("/scheme", &[("X-Forwarded-SSL", "On")], &[("wsgi.url_scheme", "https")]),
    ("/scheme", &[("X-Forwarded-SSL", "1")], &[("wsgi.url_scheme", "https")]),
    ("/scheme", &[("X-Forwarded-SSL", "yes")], &[("wsgi.url_scheme", "http")]),
    (
        "/scheme",
        &[("X-Forwarded-Proto", "https"), ("X-Forwarded-SSL", "off")],
        &[("wsgi.url_scheme", "http")],
    ),
    ("/scheme", &[("X-Scheme", "https")], &[("wsgi.url_scheme", "http"), ("HTTP_X_SCHEME", "-")]),
    ("/ssl", &[], &[("wsgi.url_scheme", "https")]),
    ("/ssl", &[("X-Forwarded-HTTPS", "false")], &[("wsgi.url_scheme", "http")]),
    ("/ssl", &[("X-Forwarded-HTTPS", "TRUE")], &[("wsgi.url_scheme", "https")]),
    (
        "/chain",
        &[("X-Forwarded-For", "8.8.8.8, 1.1.1.1, 10.1.1.1, 10.2.2.2")],
        &[("REMOTE_ADDR", "1.1.1.1"), ("HTTP_X_FORWARDED_FOR", "1.1.1.1, 10.1.1.1, 10.2.2.2")],
    ),
    (
        "/chain",
        &[("X-Forwarded-For", "8.8.8.8, 1.1.1.1")],
        &[("REMOTE_ADDR", "1.1.1.1"), ("HTTP_X_FORWARDED_FOR", "1.1.1.1")],
    ),
    (
        "/chain",
        &[("X-Forwarded-For", "10.9.9.9, 10.1.1.1")],
        &[("REMOTE_ADDR", "10.9.9.9"), ("HTTP_X_FORWARDED_FOR", "10.9.9.9, 10.1.1.1")],
    ),
    (
        "/chain",
        &[("X-Forwarded-For", "8.8.8.8, bogus, 10.1.1.1")],
        &[("REMOTE_ADDR", "bogus"), ("HTTP_X_FORWARDED_FOR", "bogus, 10.1.1.1")],
    ),
    (
        "/chain",
        &[("X-Forwarded-For", "8.8.8.8,,10.1.1.1,")],
        &[("REMOTE_ADDR", "8.8.8.8"), ("HTTP_X_FORWARDED_FOR", "8.8.8.8, 10.1.1.1")],
    ),
    ("/partial", &[("X-Forwarded-For", "8.8.8.8, 10.1.2.3")], &[("REMOTE_ADDR", "8.8.8.8")]),
    ("/partial", &[("X-Forwarded-For", "8.8.8.8, 10.2.2.3")], &[("REMOTE_ADDR", "10.2.2.3")]),
    ("/netmask", &[("X-Forwarded-For", "8.8.8.8, fe80::1")], &[("REMOTE_ADDR", "8.8.8.8")]),
    (
        "/distrusted",
        &[
            ("X-Forwarded-For", "8.8.8.8"),
            ("X-Real-IP", "8.8.8.8"),
            ("X-Forwarded-Host", "h"),
            ("X-Forwarded-Proto", "https"),
            ("X-Forwarded-Port", "9"),
        ],
        &[
            ("REMOTE_ADDR", "127.0.0.1"),
            ("HTTP_X_FORWARDED_FOR", "-"),
            ("HTTP_X_REAL_IP", "-"),
            ("HTTP_X_FORWARDED_HOST", "-"),
            ("HTTP_X_FORWARDED_PROTO", "-"),
            ("HTTP_HOST", "localhost:@PORT@"),
            ("wsgi.url_scheme", "http"),
            // Nothing was configured about ports.
            ("HTTP_X_FORWARDED_PORT", "9"),
        ],
    ),
    (
        "/nobody",
        &[("X-Forwarded-For", "8.8.8.8")],
        &[("REMOTE_ADDR", "127.0.0.1"), ("HTTP_X_FORWARDED_FOR", "-")],
    ),
];

fn headers_of_trusted_proxies_are_applied(setup: Setup) {
    let mut setup = setup.file("apps/app.wsgi", ECHO).conf(SCOPES);
    for url in SCOPES.lines().filter_map(|line| line.trim().strip_prefix("<Location ")) {
        let url = url.trim_end_matches('>');
        setup =
            setup.conf(&format!("WSGIScriptAlias {url} @ROOT@/apps/app.wsgi application-group=%{{GLOBAL}}"));
    }
    setup = setup.conf("WSGIScriptAlias /none @ROOT@/apps/app.wsgi application-group=%{GLOBAL}");
    setup.run(|server, cases| {
        for (target, headers, expected) in ROWS {
            cases.check(&format!("{target} {headers:?}"), || {
                let response = get_with_headers(server, target, headers);
                for (key, value) in *expected {
                    let value = value.replace("@PORT@", &server.port().to_string());
                    let value = (value != "-").then(|| format!("'{value}'"));
                    assert_eq!(response.value(key), value, "{key}");
                }
            });
        }
    });
}

fn get_with_headers(server: &Server, target: &str, headers: &[(&str, &str)]) -> Response {
    let request = server.request("GET", target);
    headers.iter().fold(request, |request, (name, value)| request.header(name, value)).send()
}

fn a_name_that_is_no_header_name_is_ignored(setup: Setup) {
    setup.app("/", "app.wsgi", ECHO).conf("WSGITrustedProxyHeaders X_Forwarded_For X-Real-IP").run(
        |server, cases| {
            cases.ours_only("X_Forwarded_For", "D4: the first request crashes the child", || {
                let response = get_with_headers(server, "/", &[("X-Real-IP", "9.9.9.9")]);
                assert_eq!(response.value("REMOTE_ADDR").as_deref(), Some("'9.9.9.9'"));
            });
        },
    );
}
