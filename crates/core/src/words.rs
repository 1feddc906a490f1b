//! The grammar of a configuration line: httpd's words, our `key=value` options.
//!
//! Directives receive the rest of their line undivided, as bytes: file names need not be UTF-8.

use std::borrow::Cow;

/// A line that is read word by word and option by option.
#[derive(Debug, Clone)]
pub struct Words<'a> {
    rest: &'a [u8],
}

/// A `key=value` option; its value has lost its quotes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Pair<'a> {
    /// The text before the `=`; never empty.
    pub key: &'a [u8],
    /// The text behind it.
    pub value: Cow<'a, [u8]>,
}

/// A token that stands where an option should, and is not one.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NotAnOption<'a>(pub &'a [u8]);

impl<'a> Words<'a> {
    /// Creates the words of `line`.
    #[must_use]
    pub fn new(line: &'a [u8]) -> Self {
        Self { rest: line.trim_ascii_start() }
    }

    /// Returns the next word, split as httpd's `ap_getword_conf` does: quotes group, a backslash
    /// escapes itself and (inside quotes) the quote. `None` at the end of the line; a quoted empty
    /// word is a word.
    pub fn word(&mut self) -> Option<Cow<'a, [u8]>> {
        let &first = self.rest.first()?;
        let quote = matches!(first, b'"' | b'\'').then_some(first);
        let body = if quote.is_some() { &self.rest[1..] } else { self.rest };
        let end = match quote {
            Some(quote) => quoted_length(body, quote),
            None => body.iter().position(u8::is_ascii_whitespace).unwrap_or(body.len()),
        };
        let (raw, mut rest) = body.split_at(end);
        if quote.is_some() && !rest.is_empty() {
            rest = &rest[1..];
        }
        self.rest = rest.trim_ascii_start();
        Some(unescaped(raw, quote))
    }

    /// Returns the next `key=value` option; `None` at the end of the line. Only the value may be
    /// quoted.
    ///
    /// # Errors
    /// The token has no `=`, or nothing before it.
    pub fn pair(&mut self) -> Option<Result<Pair<'a>, NotAnOption<'a>>> {
        if self.rest.is_empty() {
            return None;
        }
        let token = self.rest.split(u8::is_ascii_whitespace).next().unwrap_or_default();
        let Some(equals) = token.iter().position(|&byte| byte == b'=').filter(|&at| at > 0) else {
            self.rest = self.rest[token.len()..].trim_ascii_start();
            return Some(Err(NotAnOption(token)));
        };
        let key = &token[..equals];
        self.rest = &self.rest[equals + 1..];
        if self.rest.first().is_none_or(u8::is_ascii_whitespace) {
            self.rest = self.rest.trim_ascii_start();
            return Some(Ok(Pair { key, value: Cow::Borrowed(b"") }));
        }
        self.word().map(|value| Ok(Pair { key, value }))
    }
}

impl<'a> Iterator for Words<'a> {
    type Item = Cow<'a, [u8]>;

    fn next(&mut self) -> Option<Self::Item> {
        self.word()
    }
}

/// Returns `text` for a message: bytes that are not UTF-8 are replaced.
#[must_use]
pub fn display(text: &[u8]) -> Cow<'_, str> {
    String::from_utf8_lossy(text)
}

fn quoted_length(body: &[u8], quote: u8) -> usize {
    let mut at = 0;
    while at < body.len() && body[at] != quote {
        let escapes =
            body[at] == b'\\' && body.get(at + 1).is_some_and(|&next| next == quote || next == b'\\');
        at += if escapes { 2 } else { 1 };
    }
    at
}

fn unescaped(raw: &[u8], quote: Option<u8>) -> Cow<'_, [u8]> {
    if !raw.contains(&b'\\') {
        return Cow::Borrowed(raw);
    }
    let mut word = Vec::with_capacity(raw.len());
    let mut bytes = raw.iter().copied().peekable();
    while let Some(byte) = bytes.next() {
        let escaped = bytes.next_if(|&next| byte == b'\\' && (next == b'\\' || Some(next) == quote));
        word.push(escaped.unwrap_or(byte));
    }
    Cow::Owned(word)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn words(line: &str) -> Vec<String> {
        Words::new(line.as_bytes()).map(|word| display(&word).into_owned()).collect()
    }

    #[test]
    fn words_are_httpds() {
        assert_eq!(words("a  b\tc "), ["a", "b", "c"]);
        assert_eq!(words(r#""a b" 'c d' e"#), ["a b", "c d", "e"]);
        assert_eq!(words(r#""a \" b" 'it\'s' "\x""#), [r#"a " b"#, "it's", r"\x"]);
        assert_eq!(words(r"C:\\x a\b \"), [r"C:\x", r"a\b", r"\"]);
        assert_eq!(words(r#""open"#), ["open"]);
        assert_eq!(words(r#""" x"#), ["", "x"]);
        assert_eq!(words(r#""a"b"#), ["a", "b"]);
        assert_eq!(words(r#"a"b c"#), [r#"a"b"#, "c"]);
        assert!(words("  ").is_empty());
    }

    #[test]
    fn options_follow_words() {
        let mut line = Words::new(br#"/x home="/a b" user= group=#5 umask=0=1"#);
        assert_eq!(line.word().unwrap().as_ref(), b"/x");
        let pairs: Vec<_> = std::iter::from_fn(|| line.pair())
            .map(|pair| pair.map(|pair| (display(pair.key).into_owned(), display(&pair.value).into_owned())))
            .collect::<Result<_, _>>()
            .unwrap();
        let pairs: Vec<_> = pairs.iter().map(|(key, value)| (key.as_str(), value.as_str())).collect();
        assert_eq!(pairs, [("home", "/a b"), ("user", ""), ("group", "#5"), ("umask", "0=1")]);
    }

    #[test]
    fn malformed_options_are_refused() {
        for (line, token) in [("stray", "stray"), ("=x", "=x"), ("key =x", "key")] {
            assert_eq!(
                Words::new(line.as_bytes()).pair(),
                Some(Err(NotAnOption(token.as_bytes()))),
                "{line}"
            );
        }
        let pair = Words::new(br#""home=/a b""#).pair().unwrap().unwrap();
        assert_eq!(pair.key, br#""home"#, "a quoted pair is no known option");
    }

    proptest! {
        #[test]
        fn quoting_a_word_preserves_it(word in proptest::collection::vec(any::<u8>(), 0..40), quote in any::<bool>()) {
            let quote = if quote { b'"' } else { b'\'' };
            let mut line = vec![quote];
            for &byte in &word {
                if byte == quote || byte == b'\\' {
                    line.push(b'\\');
                }
                line.push(byte);
            }
            line.extend_from_slice(&[quote, b' ', b'z']);
            let read: Vec<_> = Words::new(&line).map(Cow::into_owned).collect();
            prop_assert_eq!(read, vec![word, b"z".to_vec()]);
        }

        #[test]
        fn any_line_ends(line in proptest::collection::vec(any::<u8>(), 0..60)) {
            prop_assert!(Words::new(&line).count() <= line.len());
            let mut words = Words::new(&line);
            let pairs = std::iter::from_fn(|| words.pair()).count();
            prop_assert!(pairs <= line.len());
        }
    }
}
