//! Lines on their way to the log. A daemon process and what it starts write to one pipe, which
//! takes only so much at once: what is longer may be interrupted by others. So longer lines go in
//! parts, each of which looks like a line and names its writer; what else is in the pipe is left as it
//! is.

/// The number of bytes that a pipe takes whole, or not at all (`PIPE_BUF` of Linux).
pub const WHOLE: usize = 4096;

/// The beginning of a part that is not the last. The text of a line has no such bytes, since its
/// writer escapes them.
const PART: &[u8] = b"\0wsgi+";
/// The beginning of the last part.
const LAST: &[u8] = b"\0wsgi.";

/// The number of bytes that name the writer of a part.
const WRITER: usize = 8;

/// The number of writers whose lines are joined at a time.
const MOST_WRITERS: usize = 16;

/// The length beyond which a joined line does not grow, whatever comes.
const LONGEST: usize = 64 << 10;

/// Splits a line of a process, which has its end, into parts with ends of their own; appends them to
/// `parts`.
pub fn split(line: &[u8], process: u32, parts: &mut Vec<u8>) {
    let writer = format!("{process:08x}");
    let mut text = line.strip_suffix(b"\n").unwrap_or(line);
    let most = WHOLE - PART.len() - WRITER - 1;
    loop {
        let (part, rest) = text.split_at(text.len().min(most));
        parts.extend_from_slice(if rest.is_empty() { LAST } else { PART });
        parts.extend_from_slice(writer.as_bytes());
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
    /// The lines of which parts have come, with their writers, the oldest first.
    lines: Vec<(Box<[u8]>, Vec<u8>)>,
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
            let Some(Part { before, writer, is_last, text }) = Part::find(line) else {
                joined.extend_from_slice(line);
                continue;
            };
            if !before.is_empty() {
                // Somebody has begun a line, and not got any further.
                joined.extend_from_slice(before);
                joined.push(b'\n');
            }
            let known = self.lines.iter().position(|(of, _)| **of == *writer);
            let at = known.unwrap_or_else(|| {
                if self.lines.len() == MOST_WRITERS {
                    joined.append(&mut finished(self.lines.remove(0).1));
                }
                self.lines.push((writer.into(), Vec::new()));
                self.lines.len() - 1
            });
            let (_, begun) = &mut self.lines[at];
            begun.extend_from_slice(text.strip_suffix(b"\n").unwrap_or(text));
            if is_last || begun.len() >= LONGEST {
                joined.append(&mut finished(self.lines.remove(at).1));
            }
        }
        *lines = joined;
    }

    /// Returns the lines whose parts have not all come, with ends.
    pub fn rest(&mut self) -> Vec<u8> {
        self.lines.drain(..).flat_map(|(_, line)| finished(line)).collect()
    }
}

/// Returns a line with an end, if it has any text.
fn finished(mut line: Vec<u8>) -> Vec<u8> {
    if !line.is_empty() {
        line.push(b'\n');
    }
    line
}

/// A part of a line, and what is before it.
struct Part<'l> {
    before: &'l [u8],
    writer: &'l [u8],
    is_last: bool,
    text: &'l [u8],
}

impl<'l> Part<'l> {
    fn find(line: &'l [u8]) -> Option<Self> {
        let at = line.windows(PART.len()).position(|bytes| bytes == PART || bytes == LAST)?;
        let (before, part) = line.split_at(at);
        let rest = &part[PART.len()..];
        let (writer, text) = rest.split_at(WRITER.min(rest.len().saturating_sub(1)));
        Some(Self { before, writer, is_last: part.starts_with(LAST), text })
    }
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
        for length in [0, 1, 4080, 4081, 4082, 10_000, 30_000] {
            let long = line('x', length);
            let mut parts = Vec::new();
            split(&long, 7, &mut parts);
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
        split(&line('x', 10_000), 7, &mut parts);
        let mut joiner = Joiner::default();
        let mut first = parts[..WHOLE].to_vec();
        joiner.join(&mut first);
        assert_eq!(first, b"");
        assert_eq!(joiner.rest(), line('x', WHOLE - PART.len() - WRITER - 1));
        for _ in 0..100 {
            let mut again = parts[..WHOLE].to_vec();
            joiner.join(&mut again);
            assert!(joiner.lines.iter().all(|(_, line)| line.len() < LONGEST));
        }
    }

    #[test]
    fn parts_of_several_writers_are_not_mixed() {
        // A process and its copies, more than can be joined.
        let count = MOST_WRITERS + 1;
        let longs: Vec<_> = ('a'..).take(count).map(|letter| line(letter, 10_000)).collect();
        let parts: Vec<Vec<u8>> = (1..)
            .zip(&longs)
            .map(|(process, long)| {
                let mut parts = Vec::new();
                split(long, process, &mut parts);
                parts
            })
            .collect();
        let mut joiner = Joiner::default();
        let mut all = Vec::new();
        for round in 0..3 {
            for parts in &parts[1..] {
                let mut part = parts.split_inclusive(|byte| *byte == b'\n').nth(round).unwrap().to_vec();
                joiner.join(&mut part);
                all.append(&mut part);
            }
        }
        assert_eq!((all, joiner.rest()), (longs[1..].concat(), vec![]));
        for parts in &parts {
            joiner.join(&mut parts[..WHOLE].to_vec());
        }
        assert!(joiner.lines.len() <= MOST_WRITERS);
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
