//! The word that was meant, where one is not known.

use crate::words::display;

/// Returns the one of `known` that is most like `word`, in whatever case, or `None` if none is much
/// like it.
pub fn nearest<'a>(word: &[u8], known: impl IntoIterator<Item = &'a str>) -> Option<&'a str> {
    let word = display(word).to_ascii_lowercase();
    let distances =
        known.into_iter().map(|known| (strsim::osa_distance(&word, &known.to_ascii_lowercase()), known));
    let (distance, best) = distances.min_by_key(|&(distance, _)| distance)?;
    // A third of the letters may be wrong: `thread`, `request_timout`, but not `home` for `user`.
    (distance * 3 <= best.len()).then_some(best)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn slips_are_recognised() {
        const KNOWN: [&str; 6] = ["threads", "processes", "request-timeout", "home", "user", "python-home"];
        for (word, meant) in [
            ("thread", Some("threads")),
            ("Threads", Some("threads")),
            ("theards", Some("threads")),
            ("process", Some("processes")),
            ("request_timeout", Some("request-timeout")),
            ("timeout", None),
            ("hoem", Some("home")),
            ("pythonhome", Some("python-home")),
            ("xyz", None),
            ("", None),
        ] {
            assert_eq!(nearest(word.as_bytes(), KNOWN), meant, "{word}");
        }
        assert_eq!(nearest(b"x", []), None);
        assert_eq!(nearest(b"\xff\xfe", KNOWN), None);
    }
}
