//! The machine and the servers, as the definitions of directives ask for them.

use std::sync::Arc;

use os::accounts;
use regex::bytes::Regex;
use wsgi_core::alias::{Captures, Pattern};
use wsgi_core::daemon::ServerId;
use wsgi_core::directive::{FileKind, Servers, System};

use super::line::path;

/// This machine, on which Apache is started by root or not.
#[derive(Debug)]
pub(crate) struct Machine {
    pub(crate) is_root: bool,
}

impl System for Machine {
    fn is_root(&self) -> bool {
        self.is_root
    }

    fn user_id(&self, name: &[u8]) -> Option<u32> {
        accounts::user_id(std::str::from_utf8(name).ok()?)
    }

    fn has_user(&self, id: u32) -> bool {
        accounts::user(id).is_some()
    }

    fn group_id(&self, name: &[u8]) -> Option<u32> {
        accounts::group_id(std::str::from_utf8(name).ok()?)
    }

    fn max_groups(&self) -> usize {
        accounts::max_groups()
    }

    fn file_kind(&self, file: &[u8]) -> Option<FileKind> {
        FileKind::of(path(file).metadata())
    }

    fn read(&self, file: &[u8]) -> Result<Vec<u8>, String> {
        os::file::read_regular(path(file), 1 << 20).map_err(|error| error.to_string())
    }
}

/// The servers that have been read, by the number of their id; the main one has none.
pub(crate) struct Known<'a> {
    pub(crate) here: Option<ServerId>,
    pub(crate) names: &'a [Option<String>],
}

impl Known<'_> {
    fn named(&self, index: usize) -> Option<&[u8]> {
        self.names.get(index)?.as_deref().map(str::as_bytes)
    }
}

impl Servers for Known<'_> {
    fn host(&self) -> Option<ServerId> {
        self.here
    }

    fn name(&self) -> Option<&[u8]> {
        self.named(self.here.map_or(0, |id| id.0))
    }

    fn name_of(&self, host: ServerId) -> Option<&[u8]> {
        self.named(host.0)
    }
}

/// A regular expression. Of those that Perl has and this machine's library has not, the meaning is
/// not known: they match nothing.
#[derive(Debug, Clone)]
pub(crate) struct Expression(Option<Regex>);

impl Expression {
    pub(crate) fn new(source: &[u8]) -> Self {
        Self(std::str::from_utf8(source).ok().and_then(|source| Regex::new(source).ok()))
    }

    /// Returns whether its meaning is known.
    pub(crate) fn is_known(&self) -> bool {
        self.0.is_some()
    }

    pub(crate) fn matches(&self, text: &[u8]) -> bool {
        self.0.as_ref().is_some_and(|regex| regex.is_match(text))
    }
}

impl Pattern for Expression {
    fn captures(&self, subject: &[u8]) -> Option<Captures> {
        let found = self.0.as_ref()?.captures(subject)?;
        let mut captures = Captures::default();
        for (slot, group) in captures.iter_mut().zip(found.iter()) {
            *slot = group.map(|group| group.range());
        }
        Some(captures)
    }
}

/// Compiles a regular expression of a directive.
pub(crate) fn compile(source: &[u8]) -> Option<Arc<dyn Pattern>> {
    Some(Arc::new(Expression::new(source)))
}
