//! The head of a response, checked: whatever an application or a daemon process says, only a
//! [`ResponseHead`] reaches Apache.

use std::fmt;

use super::{Invalid, content_length, header_name, header_value};
use crate::words::display;

/// A header field as it was given.
pub trait HeaderField {
    /// Returns its name.
    fn name(&self) -> &[u8];
    /// Returns its value.
    fn value(&self) -> &[u8];
}

/// The most fields of a head. Lists of names are searched field by field.
pub const MAX_FIELDS: usize = 1_000;

/// The longest head, in bytes, where fields are as short as usual: no browser takes more.
pub const LONGEST_HEAD: u64 = 256 << 10;

/// The number of fields of the longest kind that a head may have.
const LONG_FIELDS: u64 = 8;

/// Limits on the length of a head.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct HeadLimits {
    /// The longest field, in bytes: name, colon, blank and value.
    line: u64,
    /// The longest head, in bytes: the sum of these, each with its line break.
    head: u64,
}

impl HeadLimits {
    /// Returns the limits of a process group with this `header-buffer-size`.
    #[must_use]
    pub const fn of_group(header_buffer_size: u64) -> Self {
        let long = header_buffer_size.saturating_mul(LONG_FIELDS);
        let head = if long > LONGEST_HEAD { long } else { LONGEST_HEAD };
        Self { line: header_buffer_size.saturating_sub(2), head }
    }

    /// Returns the limits of embedded mode, which has none for a single field.
    #[must_use]
    pub const fn embedded() -> Self {
        Self { line: LONGEST_HEAD, head: LONGEST_HEAD }
    }

    /// Returns the length of the longest head, in bytes.
    #[must_use]
    pub const fn longest(&self) -> u64 {
        self.head
    }

    /// Returns an upper bound, in bytes, of the encoding of a head within these limits: lengths and
    /// counts add to its text.
    #[must_use]
    pub const fn longest_encoding(&self) -> u64 {
        self.head.saturating_add(LONGEST_REASON as u64 + 64 + 8 * MAX_FIELDS as u64)
    }
}

/// The longest reason phrase, in bytes.
const LONGEST_REASON: usize = 8 << 10;

/// The reason why a head is rejected.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum HeadError<'a> {
    /// The status is not one that ends a request.
    Status(u16),
    /// The reason phrase, a name, a value or the content length would not be one in the response.
    Invalid(Invalid<'a>),
    /// The reason phrase is longer than any.
    Reason,
    /// Two fields declare different content lengths.
    Lengths(u64, u64),
    /// The field of this name is longer than so many bytes.
    Line(&'a [u8], u64),
    /// There are so many fields.
    Fields(usize),
    /// All fields together are longer than so many bytes.
    Head(u64),
}

impl HeadError<'_> {
    /// Returns whether a limit was exceeded, rather than a rule broken.
    #[must_use]
    pub const fn is_too_much(&self) -> bool {
        matches!(self, Self::Reason | Self::Line(..) | Self::Fields(_) | Self::Head(_))
    }
}

impl fmt::Display for HeadError<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Status(code) => write!(f, "{}", Invalid::Final(*code)),
            Self::Invalid(invalid) => invalid.fmt(f),
            Self::Reason => write!(f, "the reason phrase is longer than {LONGEST_REASON} bytes"),
            Self::Lengths(one, other) => write!(f, "{}", Invalid::Lengths(*one, *other)),
            Self::Line(name, most) => {
                write!(f, "the header '{}' is longer than {most} bytes", display(name))
            }
            Self::Fields(count) => {
                write!(f, "there are {count} headers, and {MAX_FIELDS} may be")
            }
            Self::Head(most) => write!(f, "the headers together are longer than {most} bytes"),
        }
    }
}

impl std::error::Error for HeadError<'_> {}

impl<'a> From<Invalid<'a>> for HeadError<'a> {
    fn from(invalid: Invalid<'a>) -> Self {
        Self::Invalid(invalid)
    }
}

/// The fields that are about one connection, and which the server itself says what it needs of. An
/// application must not give them (PEP 3333): a response is framed by the server.
const HOP_BY_HOP: [&[u8]; 12] = [
    b"connection",
    b"keep-alive",
    b"proxy-authenticate",
    b"proxy-authentication-info",
    b"proxy-authorization",
    b"proxy-connection",
    b"te",
    b"trailer",
    b"trailers",
    b"transfer-encoding",
    b"upgrade",
    b"http2-settings",
];

/// The treatment of a field.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Class {
    /// It is the content type; the last one counts.
    ContentType,
    /// It is the content length, which [`ResponseHead::content_length`] has.
    ContentLength,
    /// It asks for authentication, so it goes with Apache's own pages, too.
    Challenge,
    /// It is a cookie: each is a field of its own.
    Cookie,
    /// The last of its name counts.
    Single,
    /// Fields of one name may be joined with commas.
    List,
    /// It is about one connection, and dropped.
    HopByHop,
}

impl Class {
    /// Returns the class of fields with this name.
    #[must_use]
    #[inline]
    pub fn from_name(name: &[u8]) -> Self {
        let is = |other: &[u8]| name.eq_ignore_ascii_case(other);
        match name.len() {
            // Most responses have both, and most write them so, which is compared faster.
            12 if name == b"Content-Type" || is(b"content-type") => Self::ContentType,
            14 if name == b"Content-Length" || is(b"content-length") => Self::ContentLength,
            16 if is(b"www-authenticate") => Self::Challenge,
            10 if is(b"set-cookie") => Self::Cookie,
            8 if is(b"location") => Self::Single,
            13 if is(b"content-range") => Self::Single,
            2 | 7 | 8 | 10 | 14 | 16..=19 | 25 if HOP_BY_HOP.iter().any(|hop| is(hop)) => Self::HopByHop,
            _ => Self::List,
        }
    }
}

/// A head of a response that may go to a client: status and header fields. Only
/// [`check`](Self::check) makes one.
#[derive(Debug, Clone, Copy)]
pub struct ResponseHead<'a, F> {
    code: u16,
    reason: Option<&'a [u8]>,
    fields: &'a [F],
    content_length: Option<u64>,
    drops: bool,
}

impl<'a, F: HeaderField> ResponseHead<'a, F> {
    /// Checks what was given. A reason of `None` is the standard one.
    ///
    /// # Errors
    /// A rule is broken or a limit exceeded.
    pub fn check(
        code: u16,
        reason: Option<&'a [u8]>,
        fields: &'a [F],
        limits: &HeadLimits,
    ) -> Result<Self, HeadError<'a>> {
        if !super::is_final(code) {
            return Err(HeadError::Status(code));
        }
        if let Some(reason) = reason {
            super::reason(reason)?;
            if reason.len() > LONGEST_REASON {
                return Err(HeadError::Reason);
            }
        }
        if fields.len() > MAX_FIELDS {
            return Err(HeadError::Fields(fields.len()));
        }
        let mut head = Self { code, reason, fields, content_length: None, drops: false };
        let mut left = limits.head;
        for field in fields {
            let (name, value) = (field.name(), field.value());
            header_name(name)?;
            header_value(value)?;
            let length = (name.len() + b": ".len() + value.len()) as u64;
            if length > limits.line {
                return Err(HeadError::Line(name, limits.line));
            }
            left = left.checked_sub(length + b"\r\n".len() as u64).ok_or(HeadError::Head(limits.head))?;
            match Class::from_name(name) {
                Class::ContentLength => head.declare(content_length(value)?)?,
                Class::HopByHop => head.drops = true,
                _ => {}
            }
        }
        Ok(head)
    }

    fn declare(&mut self, length: u64) -> Result<(), HeadError<'a>> {
        match self.content_length.replace(length) {
            Some(other) if other != length => Err(HeadError::Lengths(other, length)),
            _ => Ok(()),
        }
    }

    /// Returns the three digits, 200 to 599.
    #[must_use]
    pub const fn code(&self) -> u16 {
        self.code
    }

    /// Returns the reason phrase; `None` is the standard one.
    #[must_use]
    pub const fn reason(&self) -> Option<&'a [u8]> {
        self.reason
    }

    /// Returns the declared length of the body.
    #[must_use]
    pub const fn content_length(&self) -> Option<u64> {
        self.content_length
    }

    /// Returns the fields that go to the client, with what becomes of each.
    pub fn fields(&self) -> impl Iterator<Item = (Class, &'a F)> + use<'a, F> {
        let classes = self.fields.iter().map(|field| (Class::from_name(field.name()), field));
        classes.filter(|(class, _)| !matches!(class, Class::HopByHop | Class::ContentLength))
    }

    /// Returns the fields of each name that may be joined, under the first of them.
    pub fn lists(&self) -> impl Iterator<Item = (&'a [u8], impl Iterator<Item = &'a [u8]> + Clone)> {
        let fields = self.fields;
        let lists =
            fields.iter().enumerate().filter(|(_, field)| Class::from_name(field.name()) == Class::List);
        lists.filter_map(move |(index, first)| {
            let name = first.name();
            let is_same = move |field: &&F| {
                let other = field.name();
                other.len() == name.len() && other.eq_ignore_ascii_case(name)
            };
            let is_first = !fields[..index].iter().any(|field| is_same(&field));
            is_first.then(|| (name, fields[index..].iter().filter(is_same).map(F::value)))
        })
    }

    /// Returns the last value of a name.
    #[must_use]
    pub fn last(&self, name: &[u8]) -> Option<&'a [u8]> {
        self.fields.iter().rfind(|field| field.name().eq_ignore_ascii_case(name)).map(F::value)
    }

    /// Returns the fields that are dropped: see [`Class::HopByHop`].
    pub fn dropped(&self) -> impl Iterator<Item = &'a F> + use<'a, F> {
        let fields = if self.drops { self.fields } else { &[] };
        fields.iter().filter(|field| Class::from_name(field.name()) == Class::HopByHop)
    }

    /// Returns whether the application wants the connection to be closed after the response.
    #[must_use]
    pub fn closes_connection(&self) -> bool {
        self.dropped().any(|field| is_close(field))
    }
}

/// Returns whether a field says `Connection: close`, which the server does for an application.
#[must_use]
pub fn is_close(field: &impl HeaderField) -> bool {
    let has = |option: &[u8]| option.trim_ascii().eq_ignore_ascii_case(b"close");
    field.name().eq_ignore_ascii_case(b"connection") && field.value().split(|byte| *byte == b',').any(has)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    type Pair<'a> = (&'a [u8], &'a [u8]);

    impl HeaderField for (&[u8], &[u8]) {
        fn name(&self) -> &[u8] {
            self.0
        }

        fn value(&self) -> &[u8] {
            self.1
        }
    }

    const LIMITS: HeadLimits = HeadLimits::of_group(32_768);

    fn pairs<'a>(pairs: &[(&'a str, &'a str)]) -> Vec<Pair<'a>> {
        pairs.iter().map(|(name, value)| (name.as_bytes(), value.as_bytes())).collect()
    }

    fn refused<'a>(fields: &'a [Pair<'a>]) -> Option<HeadError<'a>> {
        ResponseHead::check(200, None, fields, &LIMITS).err()
    }

    #[test]
    fn a_final_status_has_a_range() {
        for code in [0, 1, 100, 101, 103, 199, 600, 999, u16::MAX] {
            let head = ResponseHead::<Pair<'_>>::check(code, None, &[], &LIMITS);
            assert_eq!(head.err(), Some(HeadError::Status(code)));
        }
        for code in [200, 204, 299, 304, 418, 500, 599] {
            let head = ResponseHead::<Pair<'_>>::check(code, Some(b"R"), &[], &LIMITS);
            assert_eq!(head.map(|head| (head.code(), head.reason())), Ok((code, Some(&b"R"[..]))));
        }
        let broken = ResponseHead::<Pair<'_>>::check(200, Some(b"a\r\nX: y"), &[], &LIMITS);
        assert_eq!(broken.err(), Some(HeadError::Invalid(Invalid::Reason(b"a\r\nX: y"))));
        let long = vec![b'x'; LONGEST_REASON + 1];
        assert_eq!(
            ResponseHead::<Pair<'_>>::check(200, Some(&long), &[], &LIMITS).err(),
            Some(HeadError::Reason)
        );
    }

    #[test]
    fn names_and_values_are_checked() {
        for (name, value) in
            [("", "x"), ("A B", "x"), ("A\0", "x"), ("A\n", "x"), ("A", "x\r\nB: y"), ("A", "\0")]
        {
            assert!(
                matches!(refused(&pairs(&[("X", "y"), (name, value)])), Some(HeadError::Invalid(_))),
                "{name:?}"
            );
        }
    }

    #[test]
    fn one_length_is_declared() {
        let twice = pairs(&[("Content-Length", "5"), ("content-length", "+5")]);
        let head = ResponseHead::check(200, None, &twice, &LIMITS).unwrap();
        assert_eq!((head.content_length(), head.fields().count()), (Some(5), 0));
        assert_eq!(
            refused(&pairs(&[("Content-Length", "99"), ("Content-Length", "4")])),
            Some(HeadError::Lengths(99, 4))
        );
        assert_eq!(
            refused(&pairs(&[("Content-Length", "x"), ("Content-Length", "4")])),
            Some(HeadError::Invalid(Invalid::Length(b"x")))
        );
    }

    #[test]
    fn a_head_has_limits() {
        let long = "x".repeat(32_766 - "X: ".len());
        assert_eq!(refused(&pairs(&[("X", &long)])), None);
        let longer = format!("{long}x");
        assert_eq!(refused(&pairs(&[("X", &longer)])), Some(HeadError::Line(b"X", 32_766)));
        let eight = vec![("X", &*long); 8];
        assert_eq!(refused(&pairs(&eight)), None);
        assert_eq!(refused(&pairs(&vec![("X", &*long); 9])), Some(HeadError::Head(LONGEST_HEAD)));
        assert_eq!(refused(&vec![(&b"X"[..], &b""[..]); MAX_FIELDS]), None);
        assert_eq!(
            refused(&vec![(&b"X"[..], &b""[..]); MAX_FIELDS + 1]),
            Some(HeadError::Fields(MAX_FIELDS + 1))
        );
        let more = HeadLimits::of_group(100_000);
        let fields = vec![(&b"X"[..], &[b'x'; 90_000][..]); 8];
        assert!(ResponseHead::check(200, None, &fields, &more).is_ok());
        assert!(ResponseHead::check(200, None, &fields[..1], &HeadLimits::embedded()).is_ok());
        assert!(ResponseHead::check(200, None, &fields, &HeadLimits::embedded()).is_err());
    }

    #[test]
    fn fields_of_one_name_are_found_together() {
        let fields = pairs(&[
            ("X", "1"),
            ("Y", "2"),
            ("Set-Cookie", "a"),
            ("x", "3"),
            ("Content-Type", "t"),
            ("Location", "/"),
            ("TE", "x"),
            ("Set-Cookie", "b"),
            ("X", "4"),
        ]);
        let head = ResponseHead::check(200, None, &fields, &LIMITS).unwrap();
        let lists: Vec<_> = head.lists().map(|(name, values)| (name, values.collect::<Vec<_>>())).collect();
        assert_eq!(lists, [(&b"X"[..], vec![&b"1"[..], b"3", b"4"]), (b"Y", vec![b"2"])]);
        assert_eq!(head.last(b"LOCATION"), Some(&b"/"[..]));
        let others: Vec<_> =
            head.fields().filter(|(class, _)| *class != Class::List).map(|(class, _)| class).collect();
        assert_eq!(others, [Class::Cookie, Class::ContentType, Class::Single, Class::Cookie]);
    }

    #[test]
    fn fields_of_one_connection_are_dropped() {
        for name in HOP_BY_HOP {
            assert_eq!(Class::from_name(&name.to_ascii_uppercase()), Class::HopByHop, "{}", display(name));
            let fields = [(name, &b"x"[..])];
            let head = ResponseHead::check(200, None, &fields, &LIMITS).unwrap();
            assert_eq!((head.fields().count(), head.dropped().count(), head.lists().count()), (0, 1, 0));
            assert!(!head.closes_connection());
        }
        for name in ["Proxy-Status", "Connections", "Server", "X", "ETag", "Transfer-Encodings"] {
            assert_eq!(Class::from_name(name.as_bytes()), Class::List, "{name}");
        }
        for (value, closes) in
            [("close", true), ("x, Close ", true), ("keep-alive", false), ("closed", false)]
        {
            let fields = pairs(&[("Connection", value)]);
            assert_eq!(ResponseHead::check(200, None, &fields, &LIMITS).unwrap().closes_connection(), closes);
        }
    }

    proptest! {
        #[test]
        fn accepted_fields_cannot_split_a_response(
            name in proptest::collection::vec(any::<u8>(), 0..8),
            value in proptest::collection::vec(any::<u8>(), 0..8),
        ) {
            let fields = [(&name[..], &value[..])];
            if ResponseHead::check(200, Some(&value), &fields, &LIMITS).is_ok() {
                prop_assert!(!name.iter().chain(&value).any(|byte| matches!(byte, b'\r' | b'\n' | 0)));
            }
        }
    }
}
