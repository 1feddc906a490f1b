//! `mod_ssl.is_https` and `mod_ssl.var_lookup` in the environ of a question.

use std::ffi::CStr;
use std::sync::Arc;

use bridge::Lease;
use python::{Class, Definition, Exception, Object, Python, Result};

/// `mod_wsgi.Auth`: its methods are the two callables.
pub(crate) struct TlsLookup {
    lease: Arc<Lease>,
    is_tls: bool,
}

/// The indexes of the methods.
pub(super) const IS_HTTPS: usize = 0;
pub(super) const VAR_LOOKUP: usize = 1;

impl TlsLookup {
    pub(super) fn new(lease: &Arc<Lease>, is_tls: bool) -> Self {
        Self { lease: Arc::clone(lease), is_tls }
    }

    fn check(&self, py: Python<'_>) -> Result<()> {
        if self.lease.is_over() { Err(Self::expired(py)) } else { Ok(()) }
    }

    fn expired(py: Python<'_>) -> python::Raised {
        py.raise(Exception::RuntimeError, "request object has expired: its request is over")
    }

    fn lookup(&self, py: Python<'_>, name: &Object) -> Result<Object> {
        let encoded;
        let name = if let Some(bytes) = name.as_bytes() {
            bytes
        } else if let Some(text) = name.as_latin1() {
            text
        } else if name.is_str() {
            encoded = name.encode_latin1()?;
            encoded.as_bytes().unwrap_or_default()
        } else {
            let text = format!("var_lookup() must be called with str or bytes, not {}", name.type_name());
            return Err(py.raise(Exception::TypeError, &text));
        };
        let name = name.to_vec();
        let value = py.detach(|| self.lease.with(|exchange| exchange.tls_variable(&name)));
        match value {
            None => Err(Self::expired(py)),
            Some(None) => Ok(py.none()),
            Some(Some(value)) => py.latin1(&value),
        }
    }
}

impl Class for TlsLookup {
    const NAME: &'static CStr = c"mod_wsgi.Auth";

    fn define(definition: &mut Definition<Self>) {
        definition
            .method(c"is_https", |py, lookup, arguments| {
                arguments.expect(py, "is_https", 0, 0)?;
                lookup.check(py)?;
                py.int(lookup.is_tls.into())
            })
            .method(c"var_lookup", |py, lookup, arguments| {
                let [name] = arguments.expect(py, "var_lookup", 1, 1)? else { return Ok(py.none()) };
                lookup.check(py)?;
                lookup.lookup(py, name)
            });
    }
}
