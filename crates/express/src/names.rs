//! The names that the server goes by.

use crate::failure::Failure;
use crate::parse::Parsed;
use crate::spec::{Spec, section};

section! {
    NAMES {
        title: "Names and virtual hosts",
        about: "Without `--server-name`, the server answers requests for any host name. With it, requests for other \
                names get 403, \
                 also those of health checks that ask for the machine's address: name that with `--server-alias`, or, for checks from the same \
                 machine, use `--allow-localhost`.",
        example: "mod_wsgi-express start-server app.wsgi --server-name www.example.com --server-alias shop.example.com --allow-localhost",
    }

    SERVER_NAME = Spec::text("--server-name", &["NAME"],
        "Host name that the application is served under.")
        .default("any")
        .note("If it begins with `www.`, the name without that redirects to it.");
    SERVER_ALIAS = Spec::text("--server-alias", &["PATTERN"],
        "Further host name, which may contain the wildcards * and ?.").repeated()
        .note("Needs `--server-name`.");
    ALLOW_LOCALHOST = Spec::flag("--allow-localhost",
        "Accepts requests from the same machine for any host name.")
        .note("Needs `--server-name`.");
}

/// The values of `--server-name` and the options that go with it.
#[derive(Debug)]
pub(crate) struct Names {
    pub(crate) name: String,
    pub(crate) aliases: Vec<String>,
    pub(crate) allow_localhost: bool,
}

impl Names {
    /// Returns `None` if any name will do.
    ///
    /// # Errors
    /// A name is none.
    pub(crate) fn new(parsed: &Parsed) -> Result<Option<Self>, Failure> {
        let aliases = parsed.all(&SERVER_ALIAS).iter().flatten();
        let aliases = aliases.map(|alias| host_name(&SERVER_ALIAS, alias, true)).collect::<Result<_, _>>()?;
        let Some(name) = parsed.text(&SERVER_NAME) else { return Ok(None) };
        Ok(Some(Self {
            name: host_name(&SERVER_NAME, name, false)?,
            aliases,
            allow_localhost: parsed.has(&ALLOW_LOCALHOST),
        }))
    }

    /// The names of an included file's `<IfDefine>` that apply.
    pub(crate) fn defines(&self) -> impl Iterator<Item = &'static str> {
        [
            ("MOD_WSGI_VIRTUAL_HOST", true),
            ("MOD_WSGI_REDIRECT_WWW", self.parent().is_some()),
            ("MOD_WSGI_SERVER_ALIAS", !self.aliases.is_empty()),
            ("MOD_WSGI_ALLOW_LOCALHOST", self.allow_localhost),
        ]
        .into_iter()
        .filter_map(|(name, applies)| applies.then_some(name))
    }

    /// The domain that redirects to the name.
    pub(crate) fn parent(&self) -> Option<&str> {
        let (first, parent) = self.name.split_once('.')?;
        (first.eq_ignore_ascii_case("www") && !parent.is_empty()).then_some(parent)
    }
}

/// Returns the options that were given but have no effect, and why.
pub(crate) fn without_effect(parsed: &Parsed) -> Vec<String> {
    let given = [&SERVER_ALIAS, &ALLOW_LOCALHOST].into_iter().filter(|spec| parsed.has(spec));
    let given = given.filter(|_| !parsed.has(&SERVER_NAME));
    given.map(|spec| format!("{} is without effect: it needs --server-name", spec.name)).collect()
}

/// Returns a name that was given to an option, if it is the name of a host.
///
/// # Errors
/// It is not.
pub(crate) fn host_name(spec: &Spec, name: &str, pattern: bool) -> Result<String, Failure> {
    let valid = |c: char| c.is_alphanumeric() || "-_.:[]".contains(c) || pattern && "*?".contains(c);
    if !name.is_empty() && name.chars().all(valid) {
        return Ok(name.to_owned());
    }
    let example = if pattern { "example.com or *.example.com" } else { "www.example.com" };
    Err(Failure::usage(format!(
        "option {}: '{}' is no host name such as {example}",
        spec.name,
        name.escape_debug()
    )))
}

/// Returns the URL of a host without a path, and without the scheme's default port.
pub(crate) fn url(scheme: &str, host: &str, port: u16) -> String {
    match (scheme, port) {
        ("http", 80) | ("https", 443) => format!("{scheme}://{host}"),
        _ => format!("{scheme}://{host}:{port}"),
    }
}

/// Returns the address of a host and a port.
pub(crate) fn address(host: &str, port: u16) -> String {
    format!("{}:{port}", bracketed(host))
}

/// Returns a host as URLs have it: an address of IPv6 in brackets.
pub(crate) fn bracketed(host: &str) -> String {
    if host.contains(':') && !host.starts_with('[') { format!("[{host}]") } else { host.to_owned() }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::options;
    use crate::parse::parse;

    fn names(arguments: &[&str]) -> Result<Option<Names>, Failure> {
        let arguments = arguments.iter().map(|&argument| argument.to_owned()).collect();
        Names::new(&parse(&options::server(), arguments)?)
    }

    #[test]
    fn names_are_names() {
        for name in ["", "a b", "a\nb", "*.example.com", "http://a", "a\"", "a,b", "${A}"] {
            assert!(
                names(&["--server-name", name]).unwrap_err().to_string().contains("--server-name"),
                "{name}"
            );
        }
        let found = names(&["--server-name", "a", "--server-alias", "*.b", "--server-alias", "c"]);
        assert_eq!(found.unwrap().unwrap().aliases, ["*.b", "c"]);
        assert!(names(&["--server-alias", "a b"]).is_err());
        assert!(names(&[]).unwrap().is_none());
    }

    #[test]
    fn the_parent_of_www_redirects() {
        let parent = |name| names(&["--server-name", name]).unwrap().unwrap().parent().map(str::to_owned);
        assert_eq!(parent("WWW.example.com").as_deref(), Some("example.com"));
        assert_eq!((parent("www"), parent("www."), parent("shop.example.com")), (None, None, None));
    }
}
