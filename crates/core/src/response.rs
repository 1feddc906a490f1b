//! The arguments that `start_response` accepts (Python contract, 4.1 rows 8 to 14, and 4.2), as the
//! Latin-1 bytes of its arguments.

mod head;
mod repr;

use std::fmt;

pub use head::{Class, HeadError, HeadLimits, HeaderField, LONGEST_HEAD, MAX_FIELDS, ResponseHead, is_close};

use repr::Repr;

/// A status line.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Status<'a> {
    /// Its three digits.
    pub code: u16,
    /// The text after them and a space; `None` if there is none.
    pub reason: Option<&'a [u8]>,
}

/// The reason why an argument is rejected; Python sees a `ValueError` with this text. The texts are
/// those of the original, which test suites of applications look for, where it has such an error.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Invalid<'a> {
    /// The status does not begin with three digits, and no more.
    Code(&'a [u8]),
    /// Something other than a space follows the three digits.
    NoSpace(&'a [u8]),
    /// The reason phrase has a control character.
    Reason(&'a [u8]),
    /// The header name is empty.
    NameEmpty,
    /// The header name has a space.
    NameSpace(&'a [u8]),
    /// The header name has a control character.
    NameControl(&'a [u8]),
    /// The header value has a line break.
    ValueBreak(&'a [u8]),
    /// The header value has a NUL.
    ValueNul(&'a [u8]),
    /// The content length is not a number.
    Length(&'a [u8]),
    /// There are two content lengths, which differ.
    Lengths(u64, u64),
    /// The status is not that of a final response.
    Final(u16),
}

impl fmt::Display for Invalid<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match *self {
            Self::Code(line) => write!(f, "status code must be a 3 digit integer: {}", Repr(line)),
            Self::NoSpace(line) => write!(f, "no space following status code: {}", Repr(line)),
            Self::Reason(line) => write!(f, "control character in status reason phrase: {}", Repr(line)),
            Self::NameEmpty => f.write_str("header name is empty"),
            Self::NameSpace(name) => write!(f, "space character in header name: {}", Repr(name)),
            Self::NameControl(name) => write!(f, "control character in header name: {}", Repr(name)),
            Self::ValueBreak(value) => {
                write!(f, "carriage return/line feed character in header value: {}", Repr(value))
            }
            Self::ValueNul(value) => write!(f, "NUL character in header value: {}", Repr(value)),
            Self::Length(value) => {
                write!(f, "value of header Content-Length is not a number: {}", Repr(value))
            }
            Self::Lengths(one, other) => {
                write!(f, "two Content-Length headers say {one} and {other}: a response has one length")
            }
            Self::Final(code) => write!(
                f,
                "status {code:03} cannot end a request: an application answers with a status from 200 to 599"
            ),
        }
    }
}

impl std::error::Error for Invalid<'_> {}

/// Returns the status in `line`.
///
/// # Errors
/// It is not a status line.
pub fn status(line: &[u8]) -> Result<Status<'_>, Invalid<'_>> {
    let Some((digits, rest)) = line.split_first_chunk::<3>() else { return Err(Invalid::Code(line)) };
    if !digits.iter().all(u8::is_ascii_digit) {
        return Err(Invalid::Code(line));
    }
    let code = digits.iter().fold(0, |code, digit| code * 10 + u16::from(digit - b'0'));
    let phrase = match rest.split_first() {
        None => None,
        Some((b' ', phrase)) => Some(phrase),
        Some((b'0'..=b'9', _)) => return Err(Invalid::Code(line)),
        Some(_) => return Err(Invalid::NoSpace(line)),
    };
    if phrase.is_some_and(|phrase| reason(phrase).is_err()) {
        return Err(Invalid::Reason(line));
    }
    if is_final(code) { Ok(Status { code, reason: phrase }) } else { Err(Invalid::Final(code)) }
}

/// Checks a reason phrase.
///
/// # Errors
/// It would end the status line early.
pub fn reason(phrase: &[u8]) -> Result<(), Invalid<'_>> {
    if phrase.iter().any(u8::is_ascii_control) { Err(Invalid::Reason(phrase)) } else { Ok(()) }
}

/// Returns whether a status may be that of a response to a request: 1xx are interim ones, which the
/// server sends, and beyond 599 HTTP has none.
#[must_use]
pub const fn is_final(code: u16) -> bool {
    matches!(code, 200..=599)
}

/// Checks a header's name.
///
/// # Errors
/// It would not be one in the response.
pub fn header_name(name: &[u8]) -> Result<(), Invalid<'_>> {
    match name.iter().find(|byte| byte.is_ascii_control() || **byte == b' ') {
        None if name.is_empty() => Err(Invalid::NameEmpty),
        None => Ok(()),
        Some(b' ') => Err(Invalid::NameSpace(name)),
        Some(_) => Err(Invalid::NameControl(name)),
    }
}

/// Checks a header's value.
///
/// # Errors
/// It would end the header early.
pub fn header_value(value: &[u8]) -> Result<(), Invalid<'_>> {
    match value.iter().find(|byte| matches!(byte, b'\r' | b'\n' | b'\0')) {
        None => Ok(()),
        Some(b'\0') => Err(Invalid::ValueNul(value)),
        Some(_) => Err(Invalid::ValueBreak(value)),
    }
}

/// Returns the number in the value of `Content-Length`. Blanks and a `+` may precede it, and
/// nothing at all is 0, as the original has it.
///
/// # Errors
/// It is not a number of bytes.
pub fn content_length(value: &[u8]) -> Result<u64, Invalid<'_>> {
    if value.is_empty() {
        return Ok(0);
    }
    let digits = value.trim_ascii_start();
    let digits = digits.strip_prefix(b"+").unwrap_or(digits);
    let text = std::str::from_utf8(digits).ok().filter(|text| text.bytes().all(|byte| byte.is_ascii_digit()));
    // The server counts in signed numbers.
    let length = text.and_then(|text| text.parse().ok()).filter(|&length| i64::try_from(length).is_ok());
    length.ok_or(Invalid::Length(value))
}

/// The rest of a declared content length: never more than it is sent.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Allowance {
    left: Option<u64>,
}

impl Allowance {
    /// Creates the allowance of a response that declares `length`, or nothing.
    #[must_use]
    pub const fn new(length: Option<u64>) -> Self {
        Self { left: length }
    }

    /// Returns the part of a block of `length` bytes that may be sent.
    #[must_use]
    #[inline]
    pub fn take(&mut self, length: u64) -> u64 {
        match &mut self.left {
            None => length,
            Some(left) => {
                let taken = length.min(*left);
                *left -= taken;
                taken
            }
        }
    }

    /// Returns the number of bytes that were declared and have not been sent; `None` if nothing was
    /// declared.
    #[must_use]
    pub const fn left(&self) -> Option<u64> {
        self.left
    }
}

/// Returns a content type as a CGI program's would be: the type itself in small letters, without
/// blanks at the end.
#[must_use]
pub fn content_type(value: &[u8]) -> Vec<u8> {
    let value = value.trim_ascii_end();
    let end = value.iter().position(|byte| *byte == b';').unwrap_or(value.len());
    let mut value = value.to_vec();
    value[..end].make_ascii_lowercase();
    value
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn types_are_in_small_letters_and_parameters_as_given() {
        assert_eq!(content_type(b"Text/HTML; Charset=UTF-8 "), b"text/html; Charset=UTF-8");
        assert_eq!(content_type(b""), b"");
    }
    use proptest::prelude::*;

    #[test]
    fn status_lines() {
        for (line, code, reason) in [
            ("200 OK", 200, Some("OK")),
            ("200", 200, None),
            ("200 ", 200, Some("")),
            ("404 Not  Found", 404, Some("Not  Found")),
            ("599 x", 599, Some("x")),
        ] {
            let expected = Status { code, reason: reason.map(str::as_bytes) };
            assert_eq!(status(line.as_bytes()), Ok(expected), "{line}");
        }
        assert_eq!(status(b"200 \xe9").map(|status| status.reason), Ok(Some(&b"\xe9"[..])));
    }

    #[test]
    fn bad_status_lines() {
        for line in ["", "20", "2000", "+20 x", "-20 x", " 200", "20x OK", "abc"] {
            assert_eq!(status(line.as_bytes()), Err(Invalid::Code(line.as_bytes())), "{line}");
        }
        for line in ["200OK", "200\tOK", "200\0"] {
            assert_eq!(status(line.as_bytes()), Err(Invalid::NoSpace(line.as_bytes())), "{line}");
        }
        for (line, code) in
            [("000 x", 0), ("100 Continue", 100), ("101", 101), ("600 x", 600), ("999 x", 999)]
        {
            assert_eq!(status(line.as_bytes()), Err(Invalid::Final(code)), "{line}");
        }
        for line in ["200 a\r\nX: y", "200 \t", "200 \0", "200 \x7f", "200 \x1f"] {
            assert_eq!(status(line.as_bytes()), Err(Invalid::Reason(line.as_bytes())), "{line}");
        }
    }

    #[test]
    fn headers() {
        for name in ["X", "X:Y", "X\u{e9}", "x_y", "(x)"] {
            assert_eq!(header_name(name.as_bytes()), Ok(()), "{name}");
        }
        assert_eq!(header_name(b""), Err(Invalid::NameEmpty));
        for name in ["X Y", "X \t", " "] {
            assert_eq!(header_name(name.as_bytes()), Err(Invalid::NameSpace(name.as_bytes())), "{name}");
        }
        for name in ["X\r", "X\n", "X\0", "X\t", "X\x7f", "X\t Y"] {
            assert_eq!(header_name(name.as_bytes()), Err(Invalid::NameControl(name.as_bytes())), "{name}");
        }
        for value in ["", " x ", "a\tb", "\x01", "\u{e9}"] {
            assert_eq!(header_value(value.as_bytes()), Ok(()), "{value}");
        }
        for value in ["a\r\nX: y", "\n", "\r"] {
            assert_eq!(header_value(value.as_bytes()), Err(Invalid::ValueBreak(value.as_bytes())), "{value}");
        }
        assert_eq!(header_value(b"a\0b"), Err(Invalid::ValueNul(b"a\0b")));
    }

    #[test]
    fn content_lengths() {
        for (value, length) in [
            ("", 0),
            ("0", 0),
            ("12", 12),
            (" \t12", 12),
            ("+5", 5),
            ("007", 7),
            ("9223372036854775807", i64::MAX as u64),
        ] {
            assert_eq!(content_length(value.as_bytes()), Ok(length), "{value:?}");
        }
        for value in
            [" ", "+", "-1", "-0", "1 ", "1x", "x", "++1", "0x1", "1.0", "9223372036854775808", "1\0"]
        {
            assert_eq!(content_length(value.as_bytes()), Err(Invalid::Length(value.as_bytes())), "{value:?}");
        }
    }

    #[test]
    fn errors_have_the_texts_of_the_contract() {
        let text = |error: Invalid<'_>| error.to_string();
        for (error, expected) in [
            (status(b"2\r\n").map(drop), r"status code must be a 3 digit integer: b'2\r\n'"),
            (status(b"200OK").map(drop), "no space following status code: b'200OK'"),
            (status(b"200 O\x7fK").map(drop), r"control character in status reason phrase: b'200 O\x7fK'"),
            (header_name(b""), "header name is empty"),
            (header_name(b"A B"), "space character in header name: b'A B'"),
            (header_name(b"A\t"), r"control character in header name: b'A\t'"),
            (header_value(b"it's\n"), r#"carriage return/line feed character in header value: b"it's\n""#),
        ] {
            assert_eq!(error.map_err(text), Err(expected.to_owned()));
        }
    }

    #[test]
    fn an_allowance_is_never_exceeded() {
        let mut unlimited = Allowance::new(None);
        assert_eq!((unlimited.take(7), unlimited.left()), (7, None));
        let mut allowance = Allowance::new(Some(10));
        assert_eq!([allowance.take(4), allowance.take(9), allowance.take(1)], [4, 6, 0]);
        assert_eq!(allowance.left(), Some(0));
    }

    proptest! {
        #[test]
        fn accepted_headers_cannot_split_a_response(bytes in proptest::collection::vec(any::<u8>(), 0..12)) {
            let breaks = bytes.iter().any(|byte| matches!(byte, b'\r' | b'\n' | 0));
            prop_assert!(!(breaks && status(&bytes).is_ok()));
            prop_assert!(!(breaks && header_name(&bytes).is_ok()));
            prop_assert_eq!(breaks, header_value(&bytes).is_err());
            let _ = content_length(&bytes);
        }

        #[test]
        fn lengths_are_read_back(length in 0..=i64::MAX as u64) {
            let text = length.to_string();
            prop_assert_eq!(content_length(text.as_bytes()), Ok(length));
        }
    }
}
