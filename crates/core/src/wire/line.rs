//! Lines on their way to the log. A daemon process and what it starts write to one pipe, which
//! takes only so much at once: what is longer may be interrupted by others. So longer lines go in
//! parts, each of which looks like a line; what else is in the pipe is left as it is.

/// The number of bytes that a pipe takes whole, or not at all (`PIPE_BUF` of Linux).
pub const WHOLE: usize = 4096;

/// The beginning of a part that is not the last. The text of a line has no such bytes, since its
/// writer escapes them.
const PART: &[u8] = b"\0wsgi+";
/// The beginning of the last part.
const LAST: &[u8] = b"\0wsgi.";

/// The length beyond which a joined line does not grow, whatever comes.
const LONGEST: usize = 64 << 10;

/// Splits a line, which has its end, into parts with ends of their own; appends them to `parts`.
pub fn split(line: &[u8], parts: &mut Vec<u8>) {
    let mut text = line.strip_suffix(b"\n").unwrap_or(line);
    let most = WHOLE - PART.len() - 1;
    loop {
        let (part, rest) = text.split_at(text.len().min(most));
        parts.extend_from_slice(if rest.is_empty() { LAST } else { PART });
        parts.extend_from_slice(part);
        parts.push(b'\n');
        if rest.is_empty() {
            return;
        }
        text = rest;
    }
}

/// A joiner of parts to lines.
#[derive(Debug, Default)]
pub struct Joiner {
    /// The line of which parts have come.
    line: Vec<u8>,
}

impl Joiner {
    /// Replaces parts in `lines`, which all have their ends, by the lines that are complete.
    pub fn join(&mut self, lines: &mut Vec<u8>) {
        // There is none almost always.
        if !lines.contains(&PART[0]) {
            return;
        }
        let mut joined = Vec::with_capacity(lines.len());
        for line in lines.split_inclusive(|byte| *byte == b'\n') {
            let Some((before, is_last, text)) = part(line) else {
                joined.extend_from_slice(line);
                continue;
            };
            if !before.is_empty() {
                // Somebody has begun a line, and not got any further.
                joined.extend_from_slice(before);
                joined.push(b'\n');
            }
            self.line.extend_from_slice(text.strip_suffix(b"\n").unwrap_or(text));
            if is_last || self.line.len() >= LONGEST {
                joined.append(&mut self.rest());
            }
        }
        *lines = joined;
    }

    /// Returns the line whose parts have not all come, with an end; empty if there is none.
    pub fn rest(&mut self) -> Vec<u8> {
        let mut line = std::mem::take(&mut self.line);
        if !line.is_empty() {
            line.push(b'\n');
        }
        line
    }
}

/// Returns the text before a part, whether it is the last, and its text.
fn part(line: &[u8]) -> Option<(&[u8], bool, &[u8])> {
    let at = line.windows(PART.len()).position(|bytes| bytes == PART || bytes == LAST)?;
    Some((&line[..at], line[at..].starts_with(LAST), &line[at + PART.len()..]))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn line(letter: char, length: usize) -> Vec<u8> {
        format!("{}\n", letter.to_string().repeat(length)).into_bytes()
    }

    #[test]
    fn interleaved_parts_are_joined() {
        for length in [0, 1, 4088, 4089, 4090, 10_000, 30_000] {
            let long = line('x', length);
            let mut parts = Vec::new();
            split(&long, &mut parts);
            let mut joiner = Joiner::default();
            let mut all = Vec::new();
            for part in parts.split_inclusive(|byte| *byte == b'\n') {
                assert!(part.len() <= WHOLE);
                // Another line, and the beginning of one, which the part follows at once.
                let mut lines = [b"other\nbegun".as_slice(), part].concat();
                joiner.join(&mut lines);
                all.append(&mut lines);
            }
            let mut lines: Vec<_> = all.split_inclusive(|byte| *byte == b'\n').collect();
            assert_eq!(lines.pop(), Some(&long[..]).filter(|_| length > 0).or(Some(b"begun\n")), "{length}");
            assert!(lines.iter().all(|line| [&b"other\n"[..], b"begun\n"].contains(line)));
            assert_eq!(joiner.rest(), b"");
        }
    }

    #[test]
    fn unfinished_lines_are_kept_within_bounds() {
        let mut parts = Vec::new();
        split(&line('x', 10_000), &mut parts);
        let mut joiner = Joiner::default();
        let mut first = parts[..WHOLE].to_vec();
        joiner.join(&mut first);
        assert_eq!(first, b"");
        assert_eq!(joiner.rest(), line('x', WHOLE - PART.len() - 1));
        for _ in 0..100 {
            let mut again = parts[..WHOLE].to_vec();
            joiner.join(&mut again);
            assert!(joiner.line.len() < LONGEST);
        }
    }

    proptest! {
        #[test]
        fn any_bytes_are_joined_without_panic_or_loss(text in "[a\n\0wsgi+.]{0,60}") {
            let mut lines = text.clone().into_bytes();
            lines.push(b'\n');
            let mut joiner = Joiner::default();
            joiner.join(&mut lines);
            lines.append(&mut joiner.rest());
            let letters = |bytes: &[u8]| bytes.iter().filter(|byte| **byte == b'a').count();
            prop_assert_eq!(letters(&lines), letters(text.as_bytes()));
        }
    }
}
