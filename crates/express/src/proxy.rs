//! Servers in front of this one that are trusted, and servers behind it that requests are passed on
//! to.

use minijinja::{Value, context};
use wsgi_core::nearest::nearest;
use wsgi_core::proxies::{Header, TrustedProxies};

use crate::failure::Failure;
use crate::names::host_name;
use crate::parse::Parsed;
use crate::quote::{escape_pattern, escape_substitution, render};
use crate::spec::{MOST_OF_APACHE, Spec, section};
use crate::values::{texts, url_path};

section! {
    PROXIES {
        title: "Proxies",
        about: "The application sees what servers in front of this one say about the client (`--trust-proxy-header`) \
                as if the client had connected directly: `REMOTE_ADDR`, `HTTP_HOST`, `wsgi.url_scheme`, `SCRIPT_NAME` \
                ... Other servers can be reached through this one, \
                 below a URL path or under a host name, with WebSockets; they are sent `X-Forwarded-For`, `-Host`, `-Server`, `-Port`, over TLS \
                 `X-Forwarded-Scheme: https`, and below a path `X-Forwarded-Prefix`.",
        example: "mod_wsgi-express start-server app.wsgi --trust-proxy 10.0.0.0/8 --trust-proxy-header X-Forwarded-For \
                  --proxy-mount-point /live http://127.0.0.1:9000",
    }

    TRUST_PROXY = Spec::text("--trust-proxy", &["ADDRESS"],
        "Address or network of servers whose headers are trusted.")
        .default("any").repeated();
    TRUST_PROXY_HEADER = Spec::text("--trust-proxy-header", &["NAME"],
        "Header that is trusted, such as X-Forwarded-For.")
        .default("none").repeated();
    PROXY_MOUNT_POINT = Spec::text("--proxy-mount-point", &["URL-PATH", "URL"],
        "Passes requests below a URL path on to another server.").repeated()
        .note("Without a slash at its end, the path redirects to the one with it. The URL may be `unix:/path|http://host/`.");
    PROXY_URL_ALIAS = Spec::text("--proxy-url-alias", &["URL-PATH", "URL"],
        "Former name of --proxy-mount-point.").hidden().repeated();
    PROXY_VIRTUAL_HOST = Spec::text("--proxy-virtual-host", &["NAME", "URL"],
        "Passes requests for a host name on to another server, over plain HTTP.").repeated();
    PROXY_TIMEOUT = Spec::seconds("--proxy-timeout",
        "Seconds to wait for these servers.")
        .within(1, MOST_OF_APACHE)
        .default("--socket-timeout");
}

/// The servers in front and behind.
#[derive(Debug, Default)]
pub(crate) struct Proxies {
    trusted: Vec<String>,
    trusted_headers: Vec<String>,
    /// In the order in which they are tried: longer paths before their prefixes.
    mounts: Vec<Mount>,
    /// Names and targets.
    hosts: Vec<(String, Target)>,
    timeout: Option<i64>,
}

#[derive(Debug)]
struct Mount {
    /// Ends with a slash.
    url: String,
    target: Target,
}

/// A server that requests are passed on to.
#[derive(Clone, Debug)]
struct Target {
    url: String,
    /// True if Apache shares its connections, and their settings, with an earlier one of the same
    /// virtual host.
    shared: bool,
}

impl Proxies {
    /// # Errors
    /// A value cannot be what it is given as.
    pub(crate) fn new(parsed: &Parsed) -> Result<Self, Failure> {
        let mut mounts = Vec::new();
        for pair in [&PROXY_MOUNT_POINT, &PROXY_URL_ALIAS].into_iter().flat_map(|spec| parsed.all(spec)) {
            let [url, target] = pair.as_slice() else { continue };
            let mut url = url_path(url);
            let mut target = target_url(&PROXY_MOUNT_POINT, target)?;
            if !url.ends_with('/') {
                url.push('/');
                if !target.ends_with('/') {
                    target.push('/');
                }
            }
            mounts.push(Mount { url, target: Target { url: target, shared: false } });
        }
        mounts.sort_by(|one, other| other.url.cmp(&one.url));
        if let Some(twice) = mounts.windows(2).find(|pair| pair[0].url == pair[1].url) {
            return Err(Failure::usage(format!(
                "option --proxy-mount-point: {} is given twice; choose another URL path",
                twice[0].url
            )));
        }
        for index in 1..mounts.len() {
            let (before, rest) = mounts.split_at_mut(index);
            let target = &mut rest[0].target;
            target.shared = before.iter().any(|earlier| target.url.starts_with(&earlier.target.url));
        }
        let hosts =
            parsed.all(&PROXY_VIRTUAL_HOST).iter().filter_map(|pair| Some((pair.first()?, pair.get(1)?)));
        let hosts = hosts.map(|(name, target)| {
            let url = target_url(&PROXY_VIRTUAL_HOST, target)?;
            Ok((host_name(&PROXY_VIRTUAL_HOST, name, true)?, Target { url, shared: false }))
        });
        Ok(Self {
            trusted: trusted(parsed)?,
            trusted_headers: trusted_headers(parsed)?,
            mounts,
            hosts: hosts.collect::<Result<_, _>>()?,
            timeout: parsed.integer(&PROXY_TIMEOUT),
        })
    }

    /// The modules of Apache's that this takes.
    pub(crate) fn modules(&self) -> &'static [&'static str] {
        if self.passes_on() { &["proxy", "proxy_http"] } else { &[] }
    }

    /// Returns whether connections to other servers use TLS.
    pub(crate) fn speaks_tls(&self) -> bool {
        self.targets().any(|target| target.reverse().starts_with("https://"))
    }

    /// Returns whether rules of mod_rewrite are a part of them.
    pub(crate) fn rewrites(&self) -> bool {
        !self.mounts.is_empty()
    }

    /// The names of an included file's `<IfDefine>` that apply.
    pub(crate) fn defines(&self) -> impl Iterator<Item = &'static str> {
        [
            ("MOD_WSGI_WITH_PROXY", self.passes_on()),
            ("MOD_WSGI_WITH_PROXY_HEADERS", !self.trusted_headers.is_empty()),
            ("MOD_WSGI_WITH_TRUSTED_PROXIES", !self.trusted.is_empty()),
        ]
        .into_iter()
        .filter_map(|(name, applies)| applies.then_some(name))
    }

    /// Returns the configuration for the whole server.
    ///
    /// # Errors
    /// A value cannot be written.
    pub(crate) fn configuration(&self) -> Result<String, Failure> {
        let mounts = self.mounts.iter().map(|mount| {
            let prefix = mount.url.trim_end_matches('/');
            context! {
                url => mount.url.as_str(),
                prefix => Some(prefix).filter(|prefix| !prefix.is_empty()),
                target => mount.target.context(),
                pattern => format!("^{}", escape_pattern(&mount.url)),
                redirect_pattern => format!("^{}$", escape_pattern(prefix)),
                redirect => escape_substitution(&mount.url),
            }
        });
        write(context! {
            trusted_proxies => self.trusted.clone(),
            trusted_headers => self.trusted_headers.clone(),
            timeout => self.timeout.filter(|_| self.passes_on()),
            https => self.speaks_tls(),
            mounts => mounts.collect::<Vec<_>>(),
        })
    }

    /// The virtual hosts on a port, for the configuration of all hosts.
    ///
    /// # Errors
    /// A value cannot be written.
    pub(crate) fn hosts(&self, port: u16) -> Result<Vec<Value>, Failure> {
        let hosts = self.hosts.iter().map(|(name, target)| {
            let proxy = write(context! { host => target.context() })?;
            let pattern = name.contains(['*', '?']);
            // A pattern can only be an alias.
            let (name, aliases) =
                if pattern { ("pattern.invalid", vec![name.clone()]) } else { (name.as_str(), vec![]) };
            Ok(context! { port, name, aliases, proxy })
        });
        hosts.collect()
    }

    fn passes_on(&self) -> bool {
        self.targets().next().is_some()
    }

    fn targets(&self) -> impl Iterator<Item = &Target> {
        self.mounts.iter().map(|mount| &mount.target).chain(self.hosts.iter().map(|(_, target)| target))
    }
}

impl Target {
    /// The part that names a server, which its redirects begin with.
    fn reverse(&self) -> &str {
        self.url.split_once('|').map_or(&self.url, |(_, url)| url)
    }

    fn context(&self) -> Value {
        context! { url => self.url.as_str(), reverse => self.reverse(), shared => self.shared }
    }
}

/// Returns the options that were given but have no effect, and why.
pub(crate) fn without_effect(parsed: &Parsed) -> Vec<String> {
    let passes_on =
        [&PROXY_MOUNT_POINT, &PROXY_URL_ALIAS, &PROXY_VIRTUAL_HOST].iter().any(|spec| parsed.has(spec));
    let mut lines = Vec::new();
    if parsed.has(&PROXY_TIMEOUT) && !passes_on {
        lines.push(
            "--proxy-timeout is without effect: it needs --proxy-mount-point or --proxy-virtual-host"
                .to_owned(),
        );
    }
    if parsed.has(&TRUST_PROXY) && !parsed.has(&TRUST_PROXY_HEADER) {
        lines.push("--trust-proxy is without effect: it needs --trust-proxy-header".to_owned());
    }
    lines.extend(unknown_headers(parsed));
    lines
}

fn write(values: Value) -> Result<String, Failure> {
    render("proxy", include_str!("../templates/proxy.conf"), values)
}

fn trusted(parsed: &Parsed) -> Result<Vec<String>, Failure> {
    let addresses = parsed.all(&TRUST_PROXY).iter().flatten().map(|address| {
        if TrustedProxies::default().add(address.as_bytes()) {
            return Ok(address.clone());
        }
        Err(Failure::usage(format!(
            "option --trust-proxy: '{}' is neither an address nor a network such as 10.0.0.0/8",
            address.escape_debug()
        )))
    });
    addresses.collect()
}

fn trusted_headers(parsed: &Parsed) -> Result<Vec<String>, Failure> {
    let (known, unknown): (Vec<_>, Vec<_>) = texts(parsed, &TRUST_PROXY_HEADER)
        .into_iter()
        .partition(|name| Header::named(name.as_bytes()).is_some());
    let is_name = |name: &str| name.chars().all(|c| c.is_ascii_alphanumeric() || "-_".contains(c));
    match unknown.iter().find(|name| !is_name(name)) {
        None => Ok(known),
        Some(name) => Err(Failure::usage(format!(
            "option --trust-proxy-header: '{}' is not the name of a header",
            name.escape_debug()
        ))),
    }
}

/// Returns a text for each name that no header has which could be trusted.
fn unknown_headers(parsed: &Parsed) -> impl Iterator<Item = String> {
    let known = || Header::ALL.iter().map(|header| header.name());
    let unknown = texts(parsed, &TRUST_PROXY_HEADER).into_iter();
    unknown.filter(|name| Header::named(name.as_bytes()).is_none()).map(move |name| {
        let meant = nearest(name.as_bytes(), known()).map(|meant| format!("; did you mean {meant}?"));
        format!(
            "--trust-proxy-header {name} is without effect: it is not one of {}{}",
            known().collect::<Vec<_>>().join(", "),
            meant.unwrap_or_default()
        )
    })
}

/// The URL of a server to pass requests on to. Its scheme may be one that an included file loads
/// the module for.
fn target_url(spec: &Spec, text: &str) -> Result<String, Failure> {
    let url = match text.strip_prefix("unix:") {
        Some(socket) => socket.split_once('|').filter(|(path, _)| path.starts_with('/')).map(|(_, url)| url),
        None => Some(text),
    };
    let is_scheme = |text: &str| {
        text.starts_with(|c: char| c.is_ascii_alphabetic())
            && text.chars().all(|c| c.is_ascii_alphanumeric() || "+-.".contains(c))
    };
    let valid = url.and_then(|url| url.split_once("://")).is_some_and(|(scheme, rest)| {
        is_scheme(scheme)
            && !rest.is_empty()
            && !rest.starts_with('/')
            && rest.chars().all(|c| !c.is_whitespace())
    });
    if valid {
        return Ok(text.to_owned());
    }
    Err(Failure::usage(format!(
        "option {}: '{}' is no URL such as http://127.0.0.1:9000/ or unix:/path|http://localhost/",
        spec.name,
        text.escape_debug()
    )))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::options;
    use crate::parse::parse;

    fn proxies(arguments: &[&str]) -> Result<Proxies, Failure> {
        let arguments = arguments.iter().map(|&argument| argument.to_owned()).collect();
        parse(&options::server(), arguments).and_then(|parsed| Proxies::new(&parsed))
    }

    #[test]
    fn values_are_checked() {
        for arguments in [
            &["--trust-proxy", "localhost"][..],
            &["--trust-proxy", "10.0.0.0/33"],
            &["--trust-proxy-header", "X-Forwarded For"],
            &["--proxy-mount-point", "/a", "127.0.0.1:9000"],
            &["--proxy-mount-point", "/a", "unix:/socket"],
            &["--proxy-mount-point", "/a", "http:///x"],
            &["--proxy-mount-point", "/a", "http://x y/"],
            &["--proxy-virtual-host", "a b", "http://x/"],
            &["--proxy-virtual-host", "a", "x"],
            &["--proxy-timeout", "0"],
        ] {
            assert!(proxies(arguments).unwrap_err().to_string().contains(arguments[0]), "{arguments:?}");
        }
        let arguments = ["--trust-proxy-header", "X-Forwarded-Fro"].map(str::to_owned).to_vec();
        let lines = without_effect(&parse(&options::server(), arguments).unwrap());
        assert!(lines.len() == 1 && lines[0].ends_with("did you mean X-Forwarded-For?"), "{lines:?}");
        let twice = ["--proxy-mount-point", "/a", "http://x/", "--proxy-url-alias", "/a/", "http://y/"];
        assert!(proxies(&twice).unwrap_err().to_string().contains("/a/ is given twice"));
    }

    #[test]
    fn longer_paths_go_first_and_connections_are_shared() {
        let found = proxies(&[
            "--proxy-mount-point",
            "a",
            "http://x",
            "--proxy-mount-point",
            "/a/b/",
            "http://x/y",
            "--proxy-mount-point",
            "/c",
            "http://x/y/z",
        ])
        .unwrap();
        let found: Vec<_> = found
            .mounts
            .iter()
            .map(|each| (&each.url[..], &each.target.url[..], each.target.shared))
            .collect();
        let expected =
            [("/c/", "http://x/y/z/", false), ("/a/b/", "http://x/y", false), ("/a/", "http://x/", false)];
        assert_eq!(found, expected);
        let found =
            proxies(&["--proxy-mount-point", "/b", "http://x", "--proxy-mount-point", "/a", "http://x/y"]);
        assert!(found.unwrap().mounts[1].target.shared);
    }
}
