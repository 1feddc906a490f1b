//! TLS, client certificates and HTTP/2.

use std::fs::File;
use std::io::{self, Read};
use std::path::{Path, PathBuf};

use minijinja::{Value, context};

use crate::failure::Failure;
use crate::parse::Parsed;
use crate::spec::{LAST_PORT, Spec, section};
use crate::values::{self, absolute, port};

section! {
    TLS {
        title: "TLS and HTTP/2",
        about: "With `--https-port`, certificate and key, the application is served over TLS, too. Protocols and \
                ciphers are Apache's defaults; \
                 other ones are set in an `--include-file`. `--ssl-ca-certificate-file` asks all clients for a certificate, or those of the URLs of \
                 `--ssl-verify-client`; these URLs are then refused over plain HTTP.",
        example: "mod_wsgi-express start-server app.wsgi --port 80 --https-port 443 --ssl-certificate /etc/ssl/shop --https-only --http2",
    }

    HTTP2 = Spec::flag("--http2",
        "Offers HTTP/2, over TLS and in plain text.")
        .note("Apache's prefork model cannot.");
    HTTPS_PORT = Spec::integer("--https-port",
        "Port to listen on for TLS.")
        .within(1, LAST_PORT);
    SSL_PORT = Spec::integer("--ssl-port",
        "Former name of --https-port.")
        .within(1, LAST_PORT).hidden();
    SSL_CERTIFICATE_FILE = Spec::text("--ssl-certificate-file", &["FILE"],
        "The server's certificate, PEM; intermediate ones may follow it.");
    SSL_CERTIFICATE_KEY_FILE = Spec::text("--ssl-certificate-key-file", &["FILE"],
        "The certificate's private key, PEM.");
    SSL_CERTIFICATE = Spec::text("--ssl-certificate", &["PREFIX"],
        "Certificate and key as PREFIX.crt and PREFIX.key; wins over the options for the files.");
    SSL_CERTIFICATE_CHAIN_FILE = Spec::text("--ssl-certificate-chain-file", &["FILE"],
        "Intermediate certificates, PEM.");
    SSL_CA_CERTIFICATE_FILE = Spec::text("--ssl-ca-certificate-file", &["FILE"],
        "Certificates of the authorities that sign client certificates, PEM.");
    SSL_VERIFY_CLIENT = Spec::text("--ssl-verify-client", &["URL-PATH"],
        "URL for which a client certificate is required.")
        .default("everywhere").repeated()
        .note("Needs `--ssl-ca-certificate-file`. Below a path, clients are asked for the certificate after the handshake, \
               which browsers do not support over TLS 1.3.");
    SSL_ENVIRONMENT = Spec::flag("--ssl-environment",
        "Passes the variables of TLS (SSL_PROTOCOL, SSL_CLIENT_S_DN ...) to the application.");
    HTTPS_ONLY = Spec::flag("--https-only",
        "Redirects plain HTTP requests to HTTPS, permanently.");
    HSTS_POLICY = Spec::text("--hsts-policy", &["POLICY"],
        "Value of the header Strict-Transport-Security, such as \"max-age=31536000; includeSubDomains\".")
        .default("no header")
        .note("Needs `--https-only`.");
}

/// The settings of TLS.
#[derive(Debug)]
pub(crate) struct Tls {
    pub(crate) port: u16,
    certificate: PathBuf,
    key: PathBuf,
    chain: Option<PathBuf>,
    /// The clients that may use certain URLs; `None` if everybody may.
    clients: Option<Clients>,
    environment: bool,
    /// True if plain HTTP only redirects.
    pub(crate) only: bool,
    hsts_policy: Option<String>,
}

/// The clients that have to show a certificate.
#[derive(Debug)]
struct Clients {
    authorities: PathBuf,
    /// URL paths, longer ones before their prefixes; the root is all of the site.
    urls: Vec<String>,
}

impl Tls {
    /// Returns `None` if TLS is not asked for.
    ///
    /// # Errors
    /// Something is missing that TLS needs, or a value is out of range.
    pub(crate) fn new(parsed: &Parsed, plain_port: u16) -> Result<Option<Self>, Failure> {
        let option = if parsed.has(&HTTPS_PORT) { &HTTPS_PORT } else { &SSL_PORT };
        if !parsed.has(option) {
            return match NEED_PORT.into_iter().find(|spec| parsed.has(spec)) {
                Some(spec) => Err(Failure::usage(format!(
                    "option {}: --https-port must be specified, too, with the port to listen on for TLS",
                    spec.name
                ))),
                None => Ok(None),
            };
        }
        let port = port(parsed, option, 0);
        if port == plain_port {
            return Err(Failure::usage(format!(
                "option {}: {port} is the port for plain HTTP already; choose another, or another --port",
                option.name
            )));
        }
        let (certificate, key) = pair(parsed)?;
        let file = |spec| parsed.text(spec).map(absolute).transpose();
        Ok(Some(Self {
            port,
            certificate,
            key,
            chain: file(&SSL_CERTIFICATE_CHAIN_FILE)?,
            clients: Clients::new(parsed)?,
            environment: parsed.has(&SSL_ENVIRONMENT),
            only: parsed.has(&HTTPS_ONLY),
            hsts_policy: parsed.text(&HSTS_POLICY).map(hsts_policy).transpose()?,
        }))
    }

    /// Returns what prevents Apache from using the files, which it reads as the user that starts
    /// it.
    pub(crate) fn problems(&self) -> Vec<String> {
        let authorities = self.clients.as_ref().map(|clients| &clients.authorities);
        [
            (Some(&self.certificate), "certificate", "--ssl-certificate-file or --ssl-certificate"),
            (Some(&self.key), "private key", "--ssl-certificate-key-file or --ssl-certificate"),
            (self.chain.as_ref(), "certificate", SSL_CERTIFICATE_CHAIN_FILE.name),
            (authorities, "certificate", SSL_CA_CERTIFICATE_FILE.name),
        ]
        .into_iter()
        .filter_map(|(file, kind, option)| {
            let file = file?;
            match holds(file, &format!("{}-----", kind.to_uppercase())) {
                Ok(true) => None,
                Ok(false) => Some(format!("{} holds no {kind} (PEM); check {option}", file.display())),
                Err(error) => Some(format!("cannot read {}: {error}; check {option}", file.display())),
            }
        })
        .collect()
    }

    /// The names of an included file's `<IfDefine>` that apply.
    pub(crate) fn defines(&self) -> impl Iterator<Item = &'static str> {
        [
            ("MOD_WSGI_WITH_HTTPS", true),
            ("MOD_WSGI_VERIFY_CLIENT", self.clients.is_some()),
            ("MOD_WSGI_CERTIFICATE_CHAIN", self.chain.is_some()),
            ("MOD_WSGI_SSL_ENVIRONMENT", self.environment),
            ("MOD_WSGI_HTTPS_ONLY", self.only),
            ("MOD_WSGI_HSTS_POLICY", self.policy().is_some()),
        ]
        .into_iter()
        .filter_map(|(name, applies)| applies.then_some(name))
    }

    /// Returns the values for the templates.
    pub(crate) fn context(&self) -> Value {
        let clients = self.clients.as_ref();
        context! {
            certificate => self.certificate.to_string_lossy(),
            key => self.key.to_string_lossy(),
            chain => self.chain.as_ref().map(|chain| chain.to_string_lossy()),
            authorities => clients.map(|clients| clients.authorities.to_string_lossy()),
            // A handshake that fails is plainer than a second one, which neither browsers nor
            // HTTP/2 have.
            all_clients => clients.is_some_and(|clients| clients.urls == ["/"]),
            verified => clients.map(|clients| clients.urls.clone()).unwrap_or_default(),
            environment => self.environment,
            hsts_policy => self.policy(),
        }
    }

    fn policy(&self) -> Option<&str> {
        self.hsts_policy.as_deref().filter(|_| self.only)
    }
}

/// Returns the options that were given but have no effect, and why.
pub(crate) fn without_effect(parsed: &Parsed) -> Vec<String> {
    let https = parsed.has(&HTTPS_PORT) || parsed.has(&SSL_PORT);
    let mut lines = Vec::new();
    for (spec, applies, needed) in
        [(&SSL_ENVIRONMENT, https, &HTTPS_PORT), (&HSTS_POLICY, parsed.has(&HTTPS_ONLY), &HTTPS_ONLY)]
    {
        if parsed.has(spec) && !applies {
            lines.push(format!("{} is without effect: it needs {}", spec.name, needed.name));
        }
    }
    lines
}

static NEED_PORT: [&Spec; 7] = [
    &SSL_CERTIFICATE_FILE,
    &SSL_CERTIFICATE_KEY_FILE,
    &SSL_CERTIFICATE,
    &SSL_CERTIFICATE_CHAIN_FILE,
    &SSL_CA_CERTIFICATE_FILE,
    &SSL_VERIFY_CLIENT,
    &HTTPS_ONLY,
];

impl Clients {
    fn new(parsed: &Parsed) -> Result<Option<Self>, Failure> {
        let urls = values::url_paths(parsed, &SSL_VERIFY_CLIENT);
        let Some(authorities) = parsed.text(&SSL_CA_CERTIFICATE_FILE) else {
            if urls.is_empty() {
                return Ok(None);
            }
            return Err(Failure::usage(
                "option --ssl-verify-client: --ssl-ca-certificate-file must be specified, too, with the certificates \
                 of the authorities that sign client certificates",
            ));
        };
        let urls =
            if urls.is_empty() || urls.contains(&"/".to_owned()) { vec!["/".to_owned()] } else { urls };
        Ok(Some(Self { authorities: absolute(authorities)?, urls }))
    }
}

/// The files of certificate and key.
fn pair(parsed: &Parsed) -> Result<(PathBuf, PathBuf), Failure> {
    if let Some(prefix) = parsed.text(&SSL_CERTIFICATE) {
        return Ok((absolute(&format!("{prefix}.crt"))?, absolute(&format!("{prefix}.key"))?));
    }
    let file = |spec: &Spec| match parsed.text(spec) {
        Some(file) => absolute(file),
        None => Err(Failure::usage(format!(
            "option --https-port: TLS needs a certificate and its key; add {}, or --ssl-certificate PREFIX for both",
            spec.name
        ))),
    };
    Ok((file(&SSL_CERTIFICATE_FILE)?, file(&SSL_CERTIFICATE_KEY_FILE)?))
}

/// RFC 6797: directives between semicolons, one of them `max-age`.
fn hsts_policy(text: &str) -> Result<String, Failure> {
    let is_directive =
        |part: &str| part.is_empty() || part.chars().all(|c| c.is_ascii_graphic() && !r#"%,\"#.contains(c));
    let has_age = text.split(';').any(|part| {
        let age = part.trim().split_once('=').filter(|(name, _)| name.trim().eq_ignore_ascii_case("max-age"));
        age.is_some_and(|(_, age)| {
            let age = age.trim().trim_matches('"');
            !age.is_empty() && age.bytes().all(|byte| byte.is_ascii_digit())
        })
    });
    if has_age && text.split(';').all(|part| is_directive(part.trim())) {
        return Ok(text.trim().to_owned());
    }
    Err(Failure::usage(format!(
        "option --hsts-policy: '{}' is no policy such as \"max-age=31536000; includeSubDomains\"",
        text.escape_debug()
    )))
}

/// Returns whether a line of the file begins a PEM block whose label ends like this.
fn holds(file: &Path, label: &str) -> io::Result<bool> {
    let mut text = Vec::new();
    File::open(file)?.take(LARGEST_FILE).read_to_end(&mut text)?;
    let text = String::from_utf8_lossy(&text);
    Ok(text.lines().any(|line| line.starts_with("-----BEGIN ") && line.trim_end().ends_with(label)))
}

/// More bytes than all authorities of a browser take.
const LARGEST_FILE: u64 = 4 << 20;

#[cfg(test)]
mod tests {
    use super::*;
    use crate::options;
    use crate::parse::parse;

    const PAIR: [&str; 2] = ["--ssl-certificate", "/c"];

    fn tls(arguments: &[&str]) -> Result<Option<Tls>, Failure> {
        let arguments = arguments.iter().map(|&argument| argument.to_owned()).collect();
        Tls::new(&parse(&options::server(), arguments)?, 8000)
    }

    fn refusal(arguments: &[&str]) -> String {
        tls(arguments).unwrap_err().to_string()
    }

    #[test]
    fn what_tls_needs_is_asked_for() {
        assert!(tls(&[]).unwrap().is_none());
        for spec in NEED_PORT {
            let value = if spec.arguments.is_empty() { vec![spec.name] } else { vec![spec.name, "/x"] };
            assert!(refusal(&value).contains("--https-port must be specified"), "{}", spec.name);
        }
        assert!(refusal(&["--https-port", "443"]).contains("--ssl-certificate-file"));
        let no_key = ["--https-port", "443", "--ssl-certificate-file", "/c"];
        assert!(refusal(&no_key).contains("--ssl-certificate-key-file"));
        let no_authority = ["--ssl-port", "443", PAIR[0], PAIR[1], "--ssl-verify-client", "/x"];
        assert!(refusal(&no_authority).contains("--ssl-ca-certificate-file"));
        for port in ["0", "65536", "8000"] {
            assert!(refusal(&["--https-port", port, PAIR[0], PAIR[1]]).contains("--https-port"), "{port}");
        }
    }

    #[test]
    fn files_of_a_pair() {
        let found = tls(&["--ssl-port", "443", PAIR[0], PAIR[1], "--ssl-certificate-file", "/d"]);
        let found = found.unwrap().unwrap();
        assert_eq!(
            (found.certificate.as_path(), found.key.as_path()),
            (Path::new("/c.crt"), Path::new("/c.key"))
        );
        let problems = found.problems();
        assert_eq!(problems.len(), 2, "{problems:?}");
        assert!(problems[1].contains("/c.key") && problems[1].contains("--ssl-certificate-key-file"));
    }

    #[test]
    fn files_hold_what_they_are_named_for() {
        let directory = tempfile::tempdir().unwrap();
        let prefix = directory.path().join("c");
        let (certificate, key) = (prefix.with_extension("crt"), prefix.with_extension("key"));
        let pem = |label: &str| format!("text\n-----BEGIN {label}-----\nAAAA\n-----END {label}-----\n");
        std::fs::write(&certificate, pem("CERTIFICATE")).unwrap();
        std::fs::write(&key, pem("EC PRIVATE KEY")).unwrap();
        let tls =
            tls(&["--https-port", "443", "--ssl-certificate", &prefix.to_string_lossy()]).unwrap().unwrap();
        assert_eq!(tls.problems(), Vec::<String>::new());
        std::fs::write(&key, pem("CERTIFICATE")).unwrap();
        let problems = tls.problems();
        assert!(
            matches!(&problems[..], [text] if text.contains("c.key holds no private key")),
            "{problems:?}"
        );
    }

    #[test]
    fn policies_have_an_age() {
        for policy in ["max-age=1", "max-age=1; includeSubDomains", " Max-Age=\"10\";preload; "] {
            assert_eq!(hsts_policy(policy).unwrap(), policy.trim());
        }
        for policy in [
            "",
            "includeSubDomains",
            "max-age",
            "max-age=x",
            "max-age=1; %{A}e",
            "max-age=1\nServerName x",
            "max-age=1; a b",
        ] {
            assert!(hsts_policy(policy).is_err(), "{policy}");
        }
    }
}
