//! Patterns of paths, as `Include` and `<Directory>` take them.

/// Returns whether `text` is matched by the shell pattern `pattern`, whose `*`, `?` and `[...]` match
/// no slash.
pub(crate) fn matches(pattern: &[u8], text: &[u8]) -> bool {
    let Some((&first, rest)) = pattern.split_first() else { return text.is_empty() };
    match first {
        b'*' => {
            let within = text.iter().position(|&byte| byte == b'/').unwrap_or(text.len());
            (0..=within).any(|skipped| matches(rest, &text[skipped..]))
        }
        b'?' => text.split_first().is_some_and(|(&byte, tail)| byte != b'/' && matches(rest, tail)),
        b'[' => match class(rest) {
            Some((set, after)) => text
                .split_first()
                .is_some_and(|(&byte, tail)| byte != b'/' && is_in(set, byte) && matches(after, tail)),
            None => text.split_first().is_some_and(|(&byte, tail)| byte == b'[' && matches(rest, tail)),
        },
        b'\\' if !rest.is_empty() => {
            text.split_first().is_some_and(|(&byte, tail)| byte == rest[0] && matches(&rest[1..], tail))
        }
        byte => text.split_first().is_some_and(|(&other, tail)| byte == other && matches(rest, tail)),
    }
}

/// Returns whether a text is a pattern rather than a name.
pub(crate) fn is_pattern(text: &[u8]) -> bool {
    text.iter().any(|byte| matches!(byte, b'*' | b'?' | b'['))
}

/// Divides the text behind a `[` into the class and what follows its `]`.
fn class(text: &[u8]) -> Option<(&[u8], &[u8])> {
    // A `]` that comes first is one of the class.
    let start = usize::from(matches!(text.first(), Some(b'!' | b'^'))) + 1;
    let end = start + text.get(start..)?.iter().position(|&byte| byte == b']')?;
    Some((&text[..end], &text[end + 1..]))
}

fn is_in(class: &[u8], byte: u8) -> bool {
    let (is_negated, set) = match class {
        [b'!' | b'^', set @ ..] => (true, set),
        set => (false, set),
    };
    let mut rest = set;
    let mut is_found = false;
    while let Some((&low, tail)) = rest.split_first() {
        match tail {
            [b'-', high, after @ ..] => {
                is_found |= (low..=*high).contains(&byte);
                rest = after;
            }
            _ => {
                is_found |= low == byte;
                rest = tail;
            }
        }
    }
    is_found != is_negated
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn patterns_are_those_of_shells() {
        for (pattern, text) in [
            ("*.conf", "a.conf"),
            ("a?c", "abc"),
            ("[a-c]x", "bx"),
            ("[!a-c]x", "dx"),
            ("[]]", "]"),
            ("a[", "a["),
            (r"\*", "*"),
            ("/home/*/www", "/home/joe/www"),
            ("", ""),
        ] {
            assert!(matches(pattern.as_bytes(), text.as_bytes()), "{pattern} {text}");
        }
        for (pattern, text) in
            [("*.conf", "a.conf~"), ("*", "a/b"), ("a?c", "a/c"), ("[a-c]x", "dx"), (r"\*", "a"), ("a", "")]
        {
            assert!(!matches(pattern.as_bytes(), text.as_bytes()), "{pattern} {text}");
        }
    }

    proptest! {
        #[test]
        fn any_pattern_ends(pattern in proptest::collection::vec(any::<u8>(), 0..12), text in proptest::collection::vec(any::<u8>(), 0..12)) {
            let _ = matches(&pattern, &text);
        }
    }
}
