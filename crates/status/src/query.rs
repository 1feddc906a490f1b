//! The query of a URL of the status handler.

/// The query of a request for the status.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Query {
    /// `format=`, if it is there.
    pub format: Option<String>,
    /// `filter=`, or an empty text.
    pub filter: String,
}

impl Query {
    /// Parses the part of a URL after `?`. Unknown parameters are ignored; the first one of a name
    /// counts.
    #[must_use]
    pub fn parse(query: &[u8]) -> Self {
        let value = |name: &[u8]| {
            let mut pairs = query.split(|byte| *byte == b'&');
            pairs.find_map(|pair| pair.strip_prefix(name)?.strip_prefix(b"=")).map(decode)
        };
        Self { format: value(b"format"), filter: value(b"filter").unwrap_or_default() }
    }
}

/// Decodes a value as forms encode it. What is not encoded well stands for itself.
fn decode(value: &[u8]) -> String {
    let mut bytes = Vec::with_capacity(value.len());
    let mut rest = value;
    while let [byte, tail @ ..] = rest {
        rest = tail;
        match (byte, tail) {
            (b'+', _) => bytes.push(b' '),
            (b'%', [high, low, after @ ..]) => match (digit(*high), digit(*low)) {
                (Some(high), Some(low)) => {
                    bytes.push(high << 4 | low);
                    rest = after;
                }
                _ => bytes.push(b'%'),
            },
            _ => bytes.push(*byte),
        }
    }
    String::from_utf8_lossy(&bytes).into_owned()
}

fn digit(character: u8) -> Option<u8> {
    char::from(character).to_digit(16).and_then(|digit| u8::try_from(digit).ok())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn values_are_decoded() {
        for (query, format, filter) in [
            ("", None, ""),
            ("format=json", Some("json"), ""),
            ("x=1&format=json&format=html&filter=a%20b+c", Some("json"), "a b c"),
            ("filter=%C3%A4%zz%4", None, "ä%zz%4"),
            ("filter=%ff&format", None, "\u{fffd}"),
            ("format=", Some(""), ""),
        ] {
            let expected = Query { format: format.map(str::to_owned), filter: filter.to_owned() };
            assert_eq!(Query::parse(query.as_bytes()), expected, "{query}");
        }
    }
}
