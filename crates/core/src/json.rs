//! JSON objects of limited length, for lines of logs.

/// The mark in place of what has been cut out of a text.
const CUT: &str = "\n... (cut) ...\n";

/// An object that is being written. Texts may be any bytes: what is no UTF-8 is replaced.
#[derive(Debug)]
pub struct Object {
    json: String,
    is_cut: bool,
}

impl Default for Object {
    fn default() -> Self {
        Self::new()
    }
}

impl Object {
    /// Creates an empty object.
    #[must_use]
    pub fn new() -> Self {
        Self { json: String::from("{"), is_cut: false }
    }

    /// Adds a text, of which at most `longest` bytes are written: the middle of a longer one is cut
    /// out, since the beginning says what it is, and the end of a traceback what has failed.
    pub fn text(&mut self, name: &str, text: &[u8], longest: usize) {
        self.name(name);
        self.json.push('"');
        let text = String::from_utf8_lossy(text);
        match cut(&text, longest, escaped_length) {
            None => self.escape(&text),
            Some((head, tail)) => {
                self.escape(head);
                self.escape(CUT);
                self.escape(tail);
                self.is_cut = true;
            }
        }
        self.json.push('"');
    }

    /// Adds a number.
    pub fn number(&mut self, name: &str, number: u64) {
        self.name(name);
        self.json.push_str(&number.to_string());
    }

    /// Adds a number, `true`, `false` or `null`. Returns whether `token` is one; if not, nothing is
    /// added.
    pub fn token(&mut self, name: &str, token: &[u8]) -> bool {
        let Some(token) = std::str::from_utf8(token).ok().filter(|token| is_token(token)) else {
            return false;
        };
        self.name(name);
        self.json.push_str(token);
        true
    }

    /// Adds an object.
    pub fn object(&mut self, name: &str, inner: Self) {
        self.name(name);
        self.is_cut |= inner.is_cut;
        self.json.push_str(&inner.json);
        self.json.push('}');
    }

    /// Notes that something has been left out.
    pub const fn mark_cut(&mut self) {
        self.is_cut = true;
    }

    /// Returns the number of bytes that have been written.
    #[must_use]
    pub const fn length(&self) -> usize {
        self.json.len()
    }

    /// Returns whether nothing has been added.
    #[must_use]
    pub const fn is_empty(&self) -> bool {
        self.json.len() == 1
    }

    /// Returns the object as a line. If something was cut, it says so (`truncated`).
    #[must_use]
    pub fn into_line(mut self) -> String {
        if self.is_cut {
            self.name("truncated");
            self.json.push_str("true");
        }
        self.json.push_str("}\n");
        self.json
    }

    fn name(&mut self, name: &str) {
        if !self.is_empty() {
            self.json.push(',');
        }
        self.json.push('"');
        self.escape(name);
        self.json.push_str("\":");
    }

    fn escape(&mut self, text: &str) {
        for c in text.chars() {
            match c {
                '"' | '\\' => self.json.extend(['\\', c]),
                '\n' => self.json.push_str("\\n"),
                '\t' => self.json.push_str("\\t"),
                '\r' => self.json.push_str("\\r"),
                c if is_escaped(c) => self.json.push_str(&format!("\\u{:04x}", u32::from(c))),
                c => self.json.push(c),
            }
        }
    }
}

/// Returns the parts of a text that remain if it is too long: its beginning and its end. `width`
/// says how much room a character takes.
#[must_use]
pub fn cut(text: &str, longest: usize, width: impl Fn(char) -> usize) -> Option<(&str, &str)> {
    // The number of the characters that fit, if not all do.
    let fitting = |room: usize, mut widths: &mut dyn Iterator<Item = usize>| {
        let mut used = 0;
        (&mut widths).position(|width| {
            used += width;
            used > room
        })
    };
    // A text that is short in any case is not looked through.
    if text.len() <= longest / 6 {
        return None;
    }
    fitting(longest, &mut text.chars().map(&width))?;
    let room = longest.saturating_sub(CUT.chars().map(&width).sum());
    let head = fitting(room / 4, &mut text.chars().map(&width))?;
    let tail = fitting(room - room / 4, &mut text.chars().rev().map(&width))?;
    let head = text.char_indices().nth(head).map_or(text.len(), |(at, _)| at);
    let tail = tail.checked_sub(1).and_then(|last| text.char_indices().rev().nth(last));
    Some((&text[..head], &text[tail.map_or(text.len(), |(at, _)| at)..]))
}

/// Returns a text that is no longer than `longest` bytes, and whether it was cut.
#[must_use]
pub fn shortened(text: &[u8], longest: usize) -> (std::borrow::Cow<'_, [u8]>, bool) {
    if text.len() <= longest {
        return (text.into(), false);
    }
    // It may be of any length: only what remains is looked at.
    let room = longest.saturating_sub(CUT.len());
    let (mut head, mut tail) = (&text[..room / 4], &text[text.len() - (room - room / 4)..]);
    while let [before @ .., last] = head
        && !last.is_ascii()
    {
        head = before;
        if is_first_byte(*last) {
            break;
        }
    }
    while let [first, after @ ..] = tail
        && !first.is_ascii()
        && !is_first_byte(*first)
    {
        tail = after;
    }
    ([head, CUT.as_bytes(), tail].concat().into(), true)
}

/// Returns whether a byte begins a character beyond ASCII.
const fn is_first_byte(byte: u8) -> bool {
    byte >= 0xc0
}

/// Control characters, and those that some readers take for the end of a line.
fn is_escaped(c: char) -> bool {
    c.is_control() || matches!(c, '\u{2028}' | '\u{2029}')
}

fn escaped_length(c: char) -> usize {
    match c {
        '"' | '\\' | '\n' | '\t' | '\r' => 2,
        c if is_escaped(c) => 6,
        c => c.len_utf8(),
    }
}

/// Returns whether a text is a number of JSON, `true`, `false` or `null`.
fn is_token(text: &str) -> bool {
    if matches!(text, "true" | "false" | "null") {
        return true;
    }
    let digits = |text: &str| text.len() - text.trim_start_matches(|c: char| c.is_ascii_digit()).len();
    let rest = text.strip_prefix('-').unwrap_or(text);
    let whole = digits(rest);
    if whole == 0 || (whole > 1 && rest.starts_with('0')) || text.len() > 40 {
        return false;
    }
    let mut rest = &rest[whole..];
    if let Some(fraction) = rest.strip_prefix('.') {
        let count = digits(fraction);
        if count == 0 {
            return false;
        }
        rest = &fraction[count..];
    }
    if let Some(exponent) = rest.strip_prefix(['e', 'E']) {
        let exponent = exponent.strip_prefix(['+', '-']).unwrap_or(exponent);
        let count = digits(exponent);
        if count == 0 {
            return false;
        }
        rest = &exponent[count..];
    }
    rest.is_empty()
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn of(text: &[u8], longest: usize) -> String {
        let mut object = Object::new();
        object.text("a", text, longest);
        object.into_line()
    }

    #[test]
    fn any_bytes_are_escaped() {
        let text = b"a \"b\" \\ \n\t\r\x00\x1b\x7f caf\xc3\xa9 \xff \xe2\x80\xa8";
        let expected =
            "{\"a\":\"a \\\"b\\\" \\\\ \\n\\t\\r\\u0000\\u001b\\u007f caf\u{e9} \u{fffd} \\u2028\"}\n";
        assert_eq!(of(text, 1000), expected);
        assert_eq!(Object::new().into_line(), "{}\n");
    }

    #[test]
    fn long_texts_lose_their_middle() {
        let text = format!("begin{}end", "x".repeat(1000));
        let line = of(text.as_bytes(), 100);
        assert!(line.starts_with("{\"a\":\"beginxxx") && line.contains("xxxend\""), "{line}");
        assert!(line.contains("\\n... (cut) ...\\n") && line.ends_with(",\"truncated\":true}\n"), "{line}");
        assert!(line.len() < 100 + 40, "{line}");
        assert_eq!(shortened(b"abc", 3), (b"abc"[..].into(), false));
        let (short, is_cut) = shortened(text.as_bytes(), 100);
        assert!(is_cut && short.len() <= 100 && short.starts_with(b"begin") && short.ends_with(b"end"));
        for longest in 40..60 {
            let text = "\u{e9}\u{20ac}".repeat(100);
            let (short, _) = shortened(text.as_bytes(), longest);
            assert!(std::str::from_utf8(&short).is_ok(), "{short:?}");
        }
    }

    #[test]
    fn only_tokens_are_written_as_they_are() {
        for token in ["0", "-1", "12.50", "1e9", "-1.5E-7", "true", "false", "null"] {
            assert!(Object::new().token("a", token.as_bytes()), "{token}");
        }
        for text in ["", "-", "01", "1.", ".5", "1e", "nan", "inf", "1,\"b\":2", "0x1", "tru", "1\n"] {
            assert!(!Object::new().token("a", text.as_bytes()), "{text}");
        }
    }

    proptest! {
        #[test]
        fn no_text_is_longer_than_it_may_be(text in ".{0,80}", longest in 20_usize..100) {
            let line = of(text.as_bytes(), longest);
            let length = "{\"a\":\"\"}\n".len();
            prop_assert!(line.len() <= length + longest + ",\"truncated\":true".len());
            prop_assert_eq!(line.contains("truncated"), text.chars().map(escaped_length).sum::<usize>() > longest);
        }
    }
}
