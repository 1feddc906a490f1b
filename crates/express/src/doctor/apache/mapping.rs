//! The takers of a URL, in the order in which Apache tries them.
//!
//! A request first comes to `mod_proxy`, then to `mod_alias` (`Redirect`, then `Alias` and
//! `ScriptAlias`), then to the aliases of this module, and what is left is a file of `DocumentRoot`.
//! Within each of these, lines of the virtual host come before those of the main server, and
//! otherwise their order decides. So an `Alias` below `WSGIScriptAlias /` works, and a
//! `WSGIScriptAlias` above `Alias /` does not.

use wsgi_core::diagnostic::Position;
use wsgi_core::words::{Words, display};

use super::line::Line;
use super::section::Section;
use super::system::Expression;

/// A line that takes URLs.
#[derive(Debug, Clone)]
pub(crate) struct Mapping {
    pub(crate) kind: Kind,
    pub(crate) url: Url,
    /// The file, the directory or the URL.
    pub(crate) target: Vec<u8>,
    pub(crate) position: Position,
    /// It takes them from the line behind it (`ProxyPass /static !`).
    pub(crate) is_exclusion: bool,
}

/// The directive, in the order in which Apache comes to it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Kind {
    Proxy,
    Redirect,
    /// `Alias` or `ScriptAlias`.
    Alias,
    Wsgi,
}

/// The URLs.
#[derive(Debug, Clone)]
pub(crate) enum Url {
    Prefix(Vec<u8>),
    Match(Expression),
}

impl Mapping {
    /// Returns the mapping that a line at the level of a server makes.
    pub(crate) fn of(line: &Line) -> Option<Self> {
        let name = line.name.to_ascii_lowercase();
        let mut words = Words::new(&line.arguments).map(std::borrow::Cow::into_owned);
        let (kind, is_match) = match name.as_str() {
            "proxypass" => (Kind::Proxy, false),
            "proxypassmatch" => (Kind::Proxy, true),
            "redirect" | "redirectpermanent" | "redirecttemp" => (Kind::Redirect, false),
            "redirectmatch" => (Kind::Redirect, true),
            "alias" | "scriptalias" => (Kind::Alias, false),
            "aliasmatch" | "scriptaliasmatch" => (Kind::Alias, true),
            "wsgiscriptalias" => (Kind::Wsgi, false),
            "wsgiscriptaliasmatch" => (Kind::Wsgi, true),
            _ => return None,
        };
        let mut url = words.next()?;
        if kind == Kind::Redirect && is_status(&url) {
            url = words.next()?;
        }
        let target = words.next().unwrap_or_default();
        Some(Self {
            kind,
            is_exclusion: target == b"!",
            url: if is_match { Url::Match(Expression::new(&url)) } else { Url::Prefix(url) },
            target,
            position: line.position.clone(),
        })
    }

    /// Returns the mapping of a location that is passed to another server.
    pub(crate) fn of_section(section: &Section) -> Option<Self> {
        let line = section.lines.iter().find(|line| line.is("ProxyPass"))?;
        let target = line.word(0)?.into_owned();
        Some(Self {
            kind: Kind::Proxy,
            is_exclusion: target == b"!",
            url: Url::Prefix(section.location()?.to_owned()),
            target,
            position: line.position.clone(),
        })
    }

    /// Returns whether it takes a URL, and all below it.
    pub(crate) fn takes(&self, url: &[u8]) -> bool {
        match &self.url {
            Url::Prefix(prefix) => url
                .strip_prefix(prefix.as_slice())
                .is_some_and(|rest| rest.is_empty() || prefix.ends_with(b"/") || rest.starts_with(b"/")),
            // One that takes both of them takes most of what is between.
            Url::Match(expression) => {
                expression.matches(url) && expression.matches(&[url.trim_ascii_end(), b"/some/path"].concat())
            }
        }
    }

    /// Returns whether it is not known which URLs it takes.
    pub(crate) fn is_uncertain(&self) -> bool {
        matches!(&self.url, Url::Match(expression) if !expression.is_known())
    }

    /// Returns the prefix of its URLs.
    pub(crate) fn prefix(&self) -> Option<&[u8]> {
        match &self.url {
            Url::Prefix(prefix) => Some(prefix),
            Url::Match(_) => None,
        }
    }

    /// Returns the directive and its URL for messages.
    pub(crate) fn shown(&self) -> String {
        let name = match self.kind {
            Kind::Proxy => "ProxyPass",
            Kind::Redirect => "Redirect",
            Kind::Alias => "Alias",
            Kind::Wsgi => "WSGIScriptAlias",
        };
        match &self.url {
            Url::Prefix(prefix) => format!("{name} {}", display(prefix)),
            Url::Match(_) => format!("{name}Match"),
        }
    }
}

/// Returns whether a word of a redirection is its status.
fn is_status(word: &[u8]) -> bool {
    ["permanent", "temp", "seeother", "gone"].iter().any(|name| word.eq_ignore_ascii_case(name.as_bytes()))
        || word.iter().all(u8::is_ascii_digit)
}

/// Returns the mapping that takes a URL, of those in the order in which they are tried.
pub(crate) fn taking<'m>(mappings: impl Iterator<Item = &'m Mapping>, url: &[u8]) -> Option<&'m Mapping> {
    let mut is_excluded = false;
    for mapping in mappings {
        if !mapping.takes(url) || (mapping.kind == Kind::Proxy && is_excluded) {
            continue;
        }
        if mapping.is_exclusion {
            is_excluded = true;
            continue;
        }
        return Some(mapping);
    }
    None
}
