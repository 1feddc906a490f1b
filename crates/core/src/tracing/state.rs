//! The header `tracestate`: what other systems want passed on with a trace.

use std::borrow::Cow;

/// The most entries that there may be.
const MOST_ENTRIES: usize = 32;
/// Longer entries are left out first.
const LONG_ENTRY: usize = 128;
/// The longest key, and the longest value.
const LONGEST_PART: usize = 256;

/// Returns a `tracestate` with at most `longest` bytes. Of one that is longer, whole entries are left
/// out, as the standard says: first those of more than 128 bytes, then those at the end.
#[must_use]
pub fn shortened(state: &[u8], longest: usize) -> Cow<'_, [u8]> {
    if state.len() <= longest {
        return Cow::Borrowed(state);
    }
    let all = || entries(state).filter(|entry| !entry.is_empty());
    let length =
        |limit: usize| all().filter(|entry| entry.len() <= limit).map(|entry| entry.len() + 1).sum::<usize>();
    // (There is one comma fewer than there are entries.)
    let limit = if length(usize::MAX) <= longest + 1 { usize::MAX } else { LONG_ENTRY };
    let mut short = Vec::with_capacity(longest);
    for entry in all().filter(|entry| entry.len() <= limit) {
        let comma = usize::from(!short.is_empty());
        if short.len() + comma + entry.len() > longest {
            break;
        }
        short.extend(&b","[..comma]);
        short.extend(entry);
    }
    Cow::Owned(short)
}

/// Returns whether a `tracestate` is valid; others belong to nothing, and are dropped as a whole.
#[must_use]
pub fn is_valid(state: &[u8]) -> bool {
    let mut keys = Vec::new();
    for entry in entries(state).filter(|entry| !entry.is_empty()) {
        let Some(equals) = entry.iter().position(|&byte| byte == b'=') else { return false };
        let (key, value) = (&entry[..equals], &entry[equals + 1..]);
        if !is_key(key) || !is_value(value) || keys.contains(&key) || keys.len() == MOST_ENTRIES {
            return false;
        }
        keys.push(key);
    }
    true
}

/// Returns the entries, of which some may be empty.
fn entries(state: &[u8]) -> impl Iterator<Item = &[u8]> {
    state.split(|&byte| byte == b',').map(<[u8]>::trim_ascii)
}

fn is_key(key: &[u8]) -> bool {
    let is_first = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit();
    key.len() <= LONGEST_PART
        && key.first().is_some_and(|&byte| is_first(byte))
        && key.iter().all(|&byte| is_first(byte) || b"_-*/@".contains(&byte))
}

fn is_value(value: &[u8]) -> bool {
    // (Blanks at the end are not part of it.)
    (1..=LONGEST_PART).contains(&value.len())
        && value.iter().all(|&byte| matches!(byte, b' '..=b'~') && byte != b'=')
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn state(count: usize, length: usize) -> String {
        let entries: Vec<_> = (0..count).map(|number| format!("k{number}={}", "v".repeat(length))).collect();
        entries.join(",")
    }

    #[test]
    fn whole_entries_are_left_out() {
        let short = |state: &str, longest| {
            String::from_utf8(shortened(state.as_bytes(), longest).into_owned()).unwrap()
        };
        assert_eq!(short("a=1, b=2", 8), "a=1, b=2", "as it is");
        assert_eq!(short("a=1, b=2", 7), "a=1,b=2");
        assert_eq!(short("a=1, b=2,c=3", 10), "a=1,b=2");
        assert_eq!(short("a=1, b=2", 6), "a=1");
        assert_eq!(short("a=1, b=2", 2), "");
        let long = format!("long={},a=1,b=2", "v".repeat(124));
        assert_eq!(short(&long, 130), "a=1,b=2");
        assert_eq!(short(&format!("{},a=1", state(30, 40)), 1_024), state(23, 40));
    }

    #[test]
    fn what_the_standard_does_not_allow_is_not_valid() {
        let long = "v".repeat(257);
        for valid in [
            "",
            "a=1",
            " a=1 ,\tb=2 ",
            "a=1,,b=2,",
            "0@b=x y",
            "a_-*/=!~",
            &state(32, 1),
            &long[..256].replacen("v", "a=", 1),
        ] {
            assert!(is_valid(valid.as_bytes()), "{valid}");
        }
        for wrong in [
            "a",
            "=1",
            "a=",
            "A=1",
            "a b=1",
            "a=1=2",
            "a=\u{e9}",
            "a=1,a=2",
            "_a=1",
            &state(33, 1),
            &format!("a={long}"),
            &format!("{long}=1"),
        ] {
            assert!(!is_valid(wrong.as_bytes()), "{wrong}");
        }
    }

    proptest! {
        #[test]
        fn what_is_short_consists_of_entries_in_their_order(state in "([a-c]{0,40}=?[x-z]{0,100},? ?){0,8}", longest in 0..400_usize) {
            let short = shortened(state.as_bytes(), longest);
            prop_assert!(short.len() <= longest);
            let mut all = entries(state.as_bytes());
            for entry in entries(&short).filter(|entry| !entry.is_empty()) {
                prop_assert!(all.any(|other| other == entry), "{:?} of {}", short, state);
            }
        }
    }
}
