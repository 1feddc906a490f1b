//! Bytes as Python writes them.

use std::fmt::{self, Write as _};

/// Bytes that show as Python's `repr` of them.
pub(super) struct Repr<'a>(pub(super) &'a [u8]);

impl fmt::Display for Repr<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let quote = if self.0.contains(&b'\'') && !self.0.contains(&b'"') { b'"' } else { b'\'' };
        write!(f, "b{}", char::from(quote))?;
        for &byte in self.0 {
            match byte {
                b'\t' => f.write_str("\\t")?,
                b'\n' => f.write_str("\\n")?,
                b'\r' => f.write_str("\\r")?,
                b'\\' => f.write_str("\\\\")?,
                _ if byte == quote => write!(f, "\\{}", char::from(byte))?,
                b' '..=b'~' => f.write_char(char::from(byte))?,
                _ => write!(f, "\\x{byte:02x}")?,
            }
        }
        f.write_char(char::from(quote))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bytes_are_written_as_python_does() {
        // What python3 -c "print(repr(b'...'))" prints.
        for (bytes, text) in [
            (&b""[..], "b''"),
            (b"200 OK", "b'200 OK'"),
            (b"\t\n\r\0\x1f\x7f\x80\xe9", r"b'\t\n\r\x00\x1f\x7f\x80\xe9'"),
            (br"a\b", r"b'a\\b'"),
            (b"it's", r#"b"it's""#),
            (br#"say "it""#, r#"b'say "it"'"#),
            (br#"it's "it""#, r#"b'it\'s "it"'"#),
        ] {
            assert_eq!(Repr(bytes).to_string(), text);
        }
    }
}
