//! The variables of a request for the expansion of names.

use std::borrow::Cow;
use std::os::unix::ffi::OsStrExt;

use httpd::Request;
use wsgi_core::groups;

use crate::child;

/// A request as the source of variables for names.
pub(crate) struct Expansion<'r> {
    pub(crate) request: &'r Request,
    /// See [`groups::RequestVariables::script_name`]; as the application sees it.
    pub(crate) script_name: &'r [u8],
    /// Set if script paths are case-sensitive.
    pub(crate) is_case_sensitive: bool,
}

impl groups::RequestVariables for Expansion<'_> {
    fn server_name(&self) -> &[u8] {
        self.request.server().name()
    }

    fn host(&self) -> Option<&[u8]> {
        self.request.hostname()
    }

    fn port(&self) -> u16 {
        self.request.server_port()
    }

    fn script_name(&self) -> Cow<'_, [u8]> {
        if self.is_case_sensitive {
            Cow::Borrowed(self.script_name)
        } else {
            Cow::Owned(self.script_name.to_ascii_lowercase())
        }
    }

    fn variable(&self, name: &[u8]) -> Option<Cow<'_, [u8]>> {
        let key = self.request.pool().c_string(name).ok()?;
        let found = self.request.notes().value(key).or_else(|| self.request.subprocess_env().value(key));
        found
            .map(Cow::Borrowed)
            .or_else(|| child::environment_variable(name).map(|value| Cow::Borrowed(value.as_bytes())))
    }
}
