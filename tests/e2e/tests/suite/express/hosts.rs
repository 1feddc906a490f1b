//! TLS, HTTP/2, names and virtual hosts of servers that mod_wsgi-express runs.

use std::process::Command;

use e2e::Needs::{Daemon, Ours};
use e2e::{Test, curl, free_port, test};

use super::server::{Express, Site};

pub(super) const TESTS: &[Test] = &[
    test!(
        tls_is_served_without_a_name_and_asks_all_clients_for_a_certificate,
        Daemon,
        Ours("TLS without a name")
    ),
    test!(names_redirects_and_certificates_below_a_path, Daemon, Ours("redirects without default ports")),
    test!(included_script_aliases_win_and_mod_rewrite_names_no_url, Daemon, Ours("express as a command")),
];

/// Prints its environ.
pub(super) const ENVIRON: &str = r#"
def application(environ, start_response):
    body = "".join(f"{name}\t{value}\n" for name, value in environ.items()).encode()
    start_response("200 OK", [("Content-Type", "text/plain"), ("Content-Length", str(len(body)))])
    return [body]
"#;

/// The response that curl has got.
#[derive(Debug)]
pub(super) struct Answer {
    pub(super) status: u16,
    version: String,
    /// Head and body.
    pub(super) text: String,
}

impl Answer {
    pub(super) fn value(&self, name: &str) -> Option<&str> {
        let lines = self.text.lines().filter_map(|line| line.split_once('\t'));
        lines.filter(|(key, _)| *key == name).map(|(_, value)| value).next()
    }

    pub(super) fn header(&self, name: &str) -> Option<&str> {
        let lines = self.text.lines().filter_map(|line| line.split_once(": "));
        lines.filter(|(key, _)| key.eq_ignore_ascii_case(name)).map(|(_, value)| value.trim()).next()
    }
}

/// Asks the server on `port` of this machine for `url`, whose host may have any name. The status of
/// a connection that fails is 0.
pub(super) fn fetch(url: &str, port: u16, more: &[&str]) -> Answer {
    let direct = format!("::127.0.0.1:{port}");
    let base =
        ["--insecure", "--include", "--connect-to", &direct, "--write-out", "\n%{http_code} %{http_version}"];
    let output = curl(base.into_iter().chain(more.iter().copied()).chain([url]));
    let text = String::from_utf8_lossy(&output.stdout).into_owned();
    let (text, last) = text.rsplit_once('\n').unwrap_or_else(|| panic!("{output:?}"));
    let (status, version) = last.split_once(' ').unwrap_or_else(|| panic!("{output:?}"));
    Answer { status: status.parse().unwrap_or_default(), version: version.to_owned(), text: text.to_owned() }
}

/// Makes `server.crt` and `server.key`, an authority's `ca.crt`, and `client.crt` and `client.key`
/// that it has signed.
pub(super) fn certificates(site: &Site) {
    let recipe = "
        new='-newkey ec -pkeyopt ec_paramgen_curve:prime256v1 -nodes'
        openssl req -x509 $new -keyout server.key -out server.crt -days 2 -subj /CN=www.example.test
        openssl req -x509 $new -keyout ca.key -out ca.crt -days 2 -subj /CN=authority
        openssl req $new -keyout client.key -out client.csr -subj /CN=customer
        openssl x509 -req -in client.csr -CA ca.crt -CAkey ca.key -CAcreateserial -out client.crt -days 2";
    let made = Command::new("sh").args(["-ec", recipe]).current_dir(site.path("")).output();
    let made = made.unwrap_or_else(|error| panic!("openssl: {error}; install the package openssl"));
    assert!(made.status.success(), "{made:?}");
}

fn tls_is_served_without_a_name_and_asks_all_clients_for_a_certificate() {
    let site = Site::new();
    certificates(&site);
    site.write("app.wsgi", ENVIRON);
    let path = |name: &str| site.path(name).to_string_lossy().into_owned();
    let identity = ["--cert", &path("client.crt"), "--key", &path("client.key")];
    let https = free_port();
    let server = Express::serve(
        site,
        &["--https-port", &https.to_string(), "--ssl-certificate", "server", "--http2", "--ssl-environment"]
            .into_iter()
            .chain(["--ssl-ca-certificate-file", "ca.crt"])
            .collect::<Vec<_>>(),
    );
    let answer = fetch("https://any.test/a?b", https, &identity);
    assert_eq!((answer.status, answer.version.as_str()), (200, "2"), "{answer:?}");
    for (name, value) in [
        ("wsgi.url_scheme", "https"),
        ("SSL_CLIENT_S_DN_CN", "customer"),
        ("PATH_INFO", "/a"),
        ("QUERY_STRING", "b"),
    ] {
        assert_eq!(answer.value(name), Some(value), "{name} in {answer:?}");
    }
    let answer =
        fetch("https://any.test/", https, &["--http1.1", identity[0], identity[1], identity[2], identity[3]]);
    assert_eq!((answer.status, answer.version.as_str()), (200, "1.1"), "{answer:?}");
    // The handshake fails.
    assert_eq!(fetch("https://any.test/", https, &[]).status, 0);
    // Nor does the other port serve what needs a certificate; in both protocols.
    for version in ["--http1.1", "--http2-prior-knowledge"] {
        let answer = fetch("http://any.test/", server.port, &[version]);
        assert_eq!(answer.status, 403, "{answer:?}");
    }
    let banner = server.read("output");
    assert!(banner.contains(&format!("Server URL (HTTPS) : https://127.0.0.1:{https}/\n")), "{banner}");
}

fn names_redirects_and_certificates_below_a_path() {
    let site = Site::new();
    certificates(&site);
    site.write("app.wsgi", ENVIRON);
    let path = |name: &str| site.path(name).to_string_lossy().into_owned();
    let identity = ["--cert", &path("client.crt"), "--key", &path("client.key")];
    let https = free_port();
    let options = |more: &[&'static str]| {
        let mut options = ["--server-name", "www.example.test", "--server-alias", "*.alias.test"]
            .map(str::to_owned)
            .to_vec();
        options.extend(more.iter().map(|&option| option.to_owned()));
        options
    };
    let port = https.to_string();
    let mut tls = options(&["--https-only", "--hsts-policy", "max-age=10; includeSubDomains"]);
    tls.extend(["--https-port", &port, "--ssl-certificate-file", "server.crt"].map(str::to_owned));
    tls.extend(
        ["--ssl-certificate-key-file", "server.key", "--ssl-ca-certificate-file", "ca.crt"]
            .map(str::to_owned),
    );
    tls.extend(["--ssl-verify-client", "/secure", "--ssl-verify-client", "/a/b"].map(str::to_owned));
    let server = Express::serve(site, &tls.iter().map(String::as_str).collect::<Vec<_>>());

    // Everything is on the other side, and the URL stays what it was.
    let target = format!("https://www.example.test:{https}");
    for (url, more, status) in [
        ("http://www.example.test/a%3Fb/c%20d?x=1%2F&y", &[][..], 301),
        ("http://shop.alias.test/secure/", &[], 301),
        ("http://example.test/", &[], 301),
        ("http://www.example.test/form?z", &["--request", "POST"], 308),
    ] {
        let answer = fetch(url, server.port, more);
        let (_, tail) = url.split_once(".test").unwrap_or_default();
        assert_eq!(answer.status, status, "{answer:?}");
        assert_eq!(answer.header("Location"), Some(&format!("{target}{tail}")[..]), "{answer:?}");
        assert_eq!(answer.header("Strict-Transport-Security"), None, "{answer:?}");
    }
    assert_eq!(fetch("http://other.test/", server.port, &[]).status, 403);

    let answer = fetch("https://x.alias.test/", https, &[]);
    assert_eq!(answer.status, 200, "{answer:?}");
    assert_eq!(
        answer.header("Strict-Transport-Security"),
        Some("max-age=10; includeSubDomains"),
        "{answer:?}"
    );
    assert_eq!(answer.value("SSL_PROTOCOL"), None, "{answer:?}");
    assert_eq!(fetch("https://other.test/", https, &[]).status, 403);
    super::write(server.path("root/htdocs/file.txt"), "a file");
    let answer = fetch("https://www.example.test/file.txt", https, &[]);
    assert!(answer.text.ends_with("a file"), "{answer:?}");
    let answer = fetch("https://example.test/x?y", https, &[]);
    assert_eq!(
        (answer.status, answer.header("Location")),
        (301, Some(&format!("{target}/x?y")[..])),
        "{answer:?}"
    );

    for url in ["/secure", "/secure/x", "/a/b"] {
        let url = format!("https://www.example.test{url}");
        assert_eq!(fetch(&url, https, &identity).status, 200, "{url}");
        assert_ne!(fetch(&url, https, &[]).status, 200, "{url}");
    }

    // Without TLS.
    let server = Express::serve(
        Site::new(),
        &options(&["--allow-localhost"]).iter().map(String::as_str).collect::<Vec<_>>(),
    );
    for (url, status) in
        [("http://www.example.test/", 200), ("http://x.alias.test/", 200), ("http://10.1.2.3/", 200)]
    {
        assert_eq!(fetch(url, server.port, &[]).status, status, "{url}");
    }
    let answer = fetch("http://EXAMPLE.test/x?y", server.port, &[]);
    let target = format!("http://www.example.test:{}/x?y", server.port);
    assert_eq!((answer.status, answer.header("Location")), (301, Some(&target[..])), "{answer:?}");
}

fn included_script_aliases_win_and_mod_rewrite_names_no_url() {
    let site = Site::new();
    site.write("app.wsgi", ENVIRON);
    site.write("other.wsgi", &ENVIRON.replace("environ.items()", "[('other', environ['PATH_INFO'])]"));
    site.write(
        "include.conf",
        &format!(
            "WSGIScriptAlias /shop/api {0}/other.wsgi\nWSGIScriptAlias /else {0}/other.wsgi\n\
             <Directory {0}>\n    <Files other.wsgi>\n        Require all granted\n    </Files>\n</Directory>\n",
            site.path("").display()
        ),
    );
    let server = Express::serve(
        site,
        &["--include-file", "include.conf", "--mount-point", "/shop/", "--trust-proxy", "127.0.0.1"]
            .into_iter()
            .chain(["--trust-proxy-header", "X-Script-Name"])
            .collect::<Vec<_>>(),
    );
    let get = |path: &str, more: &[&str]| fetch(&format!("http://localhost{path}"), server.port, more);
    for path in ["/shop/api/x", "/else/x"] {
        assert_eq!(get(path, &[]).value("other"), Some("/x"));
    }
    for (path, more, script_name, path_info) in [
        ("/shop/", &[][..], "/shop", "/"),
        ("/shop/a%20b/", &[], "/shop", "/a b/"),
        ("/shop/a", &["--header", "X-Script-Name: /front/shop"], "/front/shop", "/a"),
    ] {
        let answer = get(path, more);
        assert_eq!(answer.value("SCRIPT_NAME"), Some(script_name), "{answer:?}");
        assert_eq!(answer.value("PATH_INFO"), Some(path_info), "{answer:?}");
        for name in ["SCRIPT_URL", "SCRIPT_URI"] {
            assert_eq!(answer.value(name), None, "{answer:?}");
        }
    }
    let answer = get("/shop", &[]);
    assert_eq!(answer.status, 301, "{answer:?}");
    assert!(answer.header("Location").is_some_and(|target| target.ends_with("/shop/")), "{answer:?}");
    assert_eq!(get("/", &[]).status, 404);
}
