//! Status and headers of a response: from `start_response` to the server.

use bridge::{Bytes, Disconnected, Exchange, Field};
use python::{Exception, Object, Python, Result, Shared};
use wsgi_core::response::{self, Invalid};
use wsgi_core::wire::frame;

/// The longest headers, in bytes: frames hold no more, and the server has lower limits.
const LONGEST: usize = frame::LONGEST_HEAD / 2;

/// The size of a header besides its text, in bytes.
const FIELD_OVERHEAD: usize = 8;

/// A checked status and checked headers. The strings are the application's own, which cannot
/// change.
pub(crate) struct Head {
    status: u16,
    status_text: Shared,
    headers: Vec<(Shared, Shared)>,
    content_length: Option<u64>,
}

impl Head {
    /// Checks the arguments of `start_response`; `headers` is a list.
    pub(crate) fn new(py: Python<'_>, status: &Object, headers: &Object) -> Result<Self> {
        let line = latin1(py, status)?;
        let code = response::status(line).map_err(|invalid| raise_invalid(py, &invalid))?.code;
        let mut head = Self {
            status: code,
            status_text: Shared::new(status.clone()),
            headers: Vec::with_capacity(headers.item_count()),
            content_length: None,
        };
        let mut size = 0;
        // The list may change while it is walked, if another thread has it too.
        let mut index = 0;
        while let Some(item) = headers.item(index) {
            let (name, value) = header(py, &item)?;
            let texts = (name.as_latin1().unwrap_or_default(), value.as_latin1().unwrap_or_default());
            head.declare(texts.0, texts.1).map_err(|invalid| raise_invalid(py, &invalid))?;
            size += texts.0.len() + texts.1.len() + FIELD_OVERHEAD;
            if size > LONGEST {
                return Err(
                    py.raise(Exception::ValueError, &format!("headers are longer than {LONGEST} bytes"))
                );
            }
            head.headers.push((Shared::new(name), Shared::new(value)));
            index += 1;
        }
        Ok(head)
    }

    /// Notes a declared length of the body.
    fn declare<'v>(&mut self, name: &[u8], value: &'v [u8]) -> std::result::Result<(), Invalid<'v>> {
        if !name.eq_ignore_ascii_case(b"content-length") {
            return Ok(());
        }
        let length = response::content_length(value)?;
        match self.content_length.replace(length) {
            Some(other) if other != length => Err(Invalid::Lengths(other, length)),
            _ => Ok(()),
        }
    }

    /// Returns the declared length of the body, if there is one.
    pub(crate) const fn content_length(&self) -> Option<u64> {
        self.content_length
    }

    /// Returns this head with a `Content-Length`.
    pub(crate) fn with_content_length(&self, py: Python<'_>, length: u64) -> Result<Self> {
        let again = |object: &Shared| Shared::new(object.get(py).clone());
        let mut headers: Vec<_> =
            self.headers.iter().map(|(name, value)| (again(name), again(value))).collect();
        let added = (py.name("Content-Length")?, py.str(&length.to_string())?);
        headers.push((Shared::new(added.0), Shared::new(added.1)));
        let (status, status_text) = (self.status, again(&self.status_text));
        Ok(Self { status, status_text, headers, content_length: Some(length) })
    }

    /// Returns the status code.
    pub(crate) const fn status(&self) -> u16 {
        self.status
    }

    /// Sends the headers that belong to the server's own response with another status: the demand
    /// for authentication.
    pub(crate) fn start_failed(
        &self,
        py: Python<'_>,
        exchange: &Exchange<'_>,
        status: u16,
    ) -> std::result::Result<(), Disconnected> {
        let kept = |name: &[u8]| name.eq_ignore_ascii_case(b"www-authenticate");
        let fields: Vec<_> = self.fields(py).filter(|field| kept(field.name.or_empty())).collect();
        if fields.is_empty() { Ok(()) } else { exchange.start(status, Bytes::ABSENT, &fields) }
    }

    /// Sends the head to the server.
    pub(crate) fn start(
        &self,
        py: Python<'_>,
        exchange: &Exchange<'_>,
    ) -> std::result::Result<(), Disconnected> {
        let fields: Vec<_> = self.fields(py).collect();
        let line = self.status_text.get(py).as_latin1().unwrap_or_default();
        let reason = response::status(line).ok().and_then(|status| status.reason);
        exchange.start(self.status, Bytes::optional(reason), &fields)
    }

    fn fields<'a>(&'a self, py: Python<'a>) -> impl Iterator<Item = Field<'a>> {
        let text = move |object: &'a Shared| Bytes::optional(object.get(py).as_latin1());
        self.headers.iter().map(move |(name, value)| Field { name: text(name), value: text(value) })
    }
}

/// Checks a header, and returns its name and value.
fn header(py: Python<'_>, item: &Object) -> Result<(Object, Object)> {
    if !item.is_tuple() {
        let text = format!("each header must be a 2-tuple, not {}", item.type_name());
        return Err(py.raise(Exception::TypeError, &text));
    }
    let (Some(name), Some(value), 2) = (item.item(0), item.item(1), item.item_count()) else {
        let text = format!("each header must be a 2-tuple, got length {}", item.item_count());
        return Err(py.raise(Exception::ValueError, &text));
    };
    response::header_name(latin1(py, &name)?).map_err(|invalid| raise_invalid(py, &invalid))?;
    response::header_value(latin1(py, &value)?).map_err(|invalid| raise_invalid(py, &invalid))?;
    Ok((name, value))
}

/// Returns the Latin-1 text of a `str`.
fn latin1<'a>(py: Python<'_>, object: &'a Object) -> Result<&'a [u8]> {
    if let Some(text) = object.as_latin1() {
        return Ok(text);
    }
    if !object.is_str() {
        let text = format!("must be str, not {}", object.type_name());
        return Err(py.raise(Exception::TypeError, &text));
    }
    // Let Python say which character it is.
    match object.encode_latin1() {
        Ok(_) => Err(py.raise(Exception::ValueError, "not a Latin-1 string")),
        Err(raised) => Err(raised),
    }
}

fn raise_invalid(py: Python<'_>, invalid: &Invalid<'_>) -> python::Raised {
    py.raise(Exception::ValueError, &invalid.to_string())
}
