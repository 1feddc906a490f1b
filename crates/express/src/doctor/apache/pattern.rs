//! Patterns of paths, as `Include` and `<Directory>` take them.

/// Returns whether `text` is matched by the shell pattern `pattern`, whose `*`, `?` and `[...]` match
/// no slash.
pub(crate) fn matches(pattern: &[u8], text: &[u8]) -> bool {
    let (mut pattern, mut text) = (pattern, text);
    // The last star, and the text that it has not taken: only that one need take more, since what
    // lies before it is matched, and none takes a slash.
    let mut star: Option<(&[u8], &[u8])> = None;
    loop {
        match one(pattern, text) {
            One::Matched(rest, tail) => (pattern, text) = (rest, tail),
            One::Star(rest) => {
                star = Some((rest, text));
                pattern = rest;
            }
            One::Both => return true,
            One::Neither => {
                let untaken = star.filter(|(_, untaken)| !untaken.starts_with(b"/"));
                let Some((rest, [_, tail @ ..])) = untaken else { return false };
                star = Some((rest, tail));
                (pattern, text) = (rest, tail);
            }
        }
    }
}

/// The match of the first element of a pattern.
enum One<'p, 't> {
    /// It matches; these are what follow it, and the character.
    Matched(&'p [u8], &'t [u8]),
    /// It is a star, which this follows.
    Star(&'p [u8]),
    /// Both are at their ends.
    Both,
    Neither,
}

fn one<'p, 't>(pattern: &'p [u8], text: &'t [u8]) -> One<'p, 't> {
    let Some((&first, rest)) = pattern.split_first() else {
        return if text.is_empty() { One::Both } else { One::Neither };
    };
    if first == b'*' {
        return One::Star(rest);
    }
    let Some((&byte, tail)) = text.split_first() else { return One::Neither };
    let (is_match, rest) = match first {
        b'?' => (byte != b'/', rest),
        b'[' => match class(rest) {
            Some((set, after)) => (byte != b'/' && is_in(set, byte), after),
            None => (byte == b'[', rest),
        },
        b'\\' if !rest.is_empty() => (byte == rest[0], &rest[1..]),
        first => (byte == first, rest),
    };
    if is_match { One::Matched(rest, tail) } else { One::Neither }
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
            ("*", ""),
            ("a*b*c", "abxbxc"),
            ("*/*.conf", "x/y.conf"),
        ] {
            assert!(matches(pattern.as_bytes(), text.as_bytes()), "{pattern} {text}");
        }
        for (pattern, text) in [
            ("*.conf", "a.conf~"),
            ("*", "a/b"),
            ("a?c", "a/c"),
            ("[a-c]x", "dx"),
            (r"\*", "a"),
            ("a", ""),
            ("a*/b", "a/x/b"),
            ("*b*", "a/b"),
        ] {
            assert!(!matches(pattern.as_bytes(), text.as_bytes()), "{pattern} {text}");
        }
    }

    #[test]
    fn many_stars_take_no_time() {
        let pattern = "*a".repeat(100) + "b";
        assert!(!matches(pattern.as_bytes(), "a".repeat(250).as_bytes()));
        assert!(!matches("a".repeat(1 << 20).as_bytes(), "a".repeat((1 << 20) - 1).as_bytes()));
    }

    proptest! {
        #[test]
        fn any_pattern_ends(pattern in proptest::collection::vec(any::<u8>(), 0..12), text in proptest::collection::vec(any::<u8>(), 0..12)) {
            let _ = matches(&pattern, &text);
        }
    }
}
