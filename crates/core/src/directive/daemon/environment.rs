//! Variables for daemon processes: `environment=` and `environment-file=`.

use crate::wire::launch::Variable;
use crate::words::display;

/// Returns a variable from `NAME=value`.
pub(super) fn variable(text: &[u8]) -> Result<Variable, String> {
    split(text).ok_or_else(|| "it must be NAME=value, as in environment=\"NAME=a value\"".to_owned())
}

/// Returns the variables of a file: one a line, verbatim behind the `=`. Blank lines and those that
/// begin with `#` are skipped.
///
/// An error names the line by its number only: what stands there may be a secret.
pub(super) fn file(content: &[u8]) -> Result<Vec<Variable>, String> {
    let mut variables = Vec::new();
    for (index, line) in content.split(|&byte| byte == b'\n').enumerate() {
        let line = line.strip_suffix(b"\r").unwrap_or(line);
        let text = line.trim_ascii_start();
        if text.is_empty() || text.starts_with(b"#") {
            continue;
        }
        variables.push(split(text).ok_or_else(|| format!("line {} must be NAME=value", index + 1))?);
    }
    Ok(variables)
}

/// Returns the error about a file that cannot be read.
pub(super) fn unreadable(path: &[u8], error: &str) -> String {
    format!("cannot read {}: {error}", display(path))
}

fn split(text: &[u8]) -> Option<Variable> {
    let equals = text.iter().position(|&byte| byte == b'=')?;
    let (name, value) = (&text[..equals], &text[equals + 1..]);
    let is_name = !name.is_empty() && !name.iter().any(u8::is_ascii_whitespace);
    (is_name && !text.contains(&0)).then(|| (name.into(), value.into()))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(content: &str) -> Result<Vec<(String, String)>, String> {
        let variables = file(content.as_bytes())?;
        let text = |bytes: &[u8]| display(bytes).into_owned();
        Ok(variables.iter().map(|(name, value)| (text(name), text(value))).collect())
    }

    #[test]
    fn files_hold_a_variable_a_line() {
        let content = "# comment\n\n  A=1\nB=\"x y\" # z \r\n\t# more\nC=\nD=a=b";
        let expected = [("A", "1"), ("B", "\"x y\" # z "), ("C", ""), ("D", "a=b")];
        let expected: Vec<_> = expected.map(|(name, value)| (name.to_owned(), value.to_owned())).into();
        assert_eq!(read(content), Ok(expected));
        assert_eq!(read(""), Ok(Vec::new()));
    }

    #[test]
    fn errors_name_the_line_but_not_its_content() {
        for (content, line) in [
            ("A=1\nsecret", 2),
            ("=secret", 1),
            ("\n\nexport A=secret", 3),
            ("A=sec\0ret", 1),
            ("A =secret", 1),
        ] {
            assert_eq!(read(content), Err(format!("line {line} must be NAME=value")), "{content}");
        }
    }

    #[test]
    fn variables_have_a_name() {
        assert_eq!(variable(b"A=b=c"), Ok((b"A"[..].into(), b"b=c"[..].into())));
        assert_eq!(variable(b"A="), Ok((b"A"[..].into(), b""[..].into())));
        for text in ["", "A", "=b", "A B=c"] {
            assert!(variable(text.as_bytes()).is_err(), "{text}");
        }
    }
}
