//! The lines of a configuration.

use std::borrow::Cow;
use std::ffi::OsStr;
use std::os::unix::ffi::OsStrExt as _;
use std::path::{Path, PathBuf};

use wsgi_core::diagnostic::Position;
use wsgi_core::words::{Words, display};

use crate::doctor::finding::Place;

/// A directive, or a section with what is in it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Line {
    /// As it is written, that of a section with its `<`.
    pub(crate) name: String,
    /// Everything behind the name; of a section without the `>`. Variables are expanded.
    pub(crate) arguments: Vec<u8>,
    /// Apache counts the last line of one that is continued.
    pub(crate) position: Position,
    /// The content of a section.
    pub(crate) children: Vec<Self>,
}

impl Line {
    /// Returns whether it is this directive.
    pub(crate) fn is(&self, name: &str) -> bool {
        self.name.eq_ignore_ascii_case(name)
    }

    /// Returns the arguments as Apache splits them.
    pub(crate) fn words(&self) -> Words<'_> {
        Words::new(&self.arguments)
    }

    /// Returns an argument, the first of which is 0.
    pub(crate) fn word(&self, number: usize) -> Option<Cow<'_, [u8]>> {
        self.words().nth(number)
    }

    /// Returns an argument as text.
    pub(crate) fn text(&self, number: usize) -> Option<String> {
        self.word(number).map(|word| display(&word).into_owned())
    }

    /// Returns an argument as a whole number.
    pub(crate) fn number(&self, number: usize) -> Option<u64> {
        self.text(number)?.parse().ok()
    }

    /// Returns an argument as a path, which is relative to `root`.
    pub(crate) fn path(&self, number: usize, root: &Path) -> Option<PathBuf> {
        self.word(number).map(|word| root.join(path(&word)))
    }

    pub(crate) fn place(&self) -> Place {
        place(&self.position)
    }
}

/// Returns the path that a word is.
pub(crate) fn path(word: &[u8]) -> &Path {
    Path::new(OsStr::from_bytes(word))
}

/// Returns the place of a position.
pub(crate) fn place(position: &Position) -> Place {
    Place::line(path(&position.file), position.line)
}

/// A line of a file with the lines that continue it, before anything is expanded.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Raw {
    /// Without blanks at both ends.
    pub(crate) text: Vec<u8>,
    pub(crate) position: Position,
}

/// Returns the lines of a file. Those that are empty or comments are left out.
pub(crate) fn split(file: &Path, content: &[u8]) -> Vec<Raw> {
    let mut lines = Vec::new();
    let mut text = Vec::new();
    let physical = content.split_inclusive(|&byte| byte == b'\n');
    for (line, number) in physical.zip(1_u32..) {
        let is_last = !line.ends_with(b"\n");
        let line = line.strip_suffix(b"\n").unwrap_or(line);
        let line = line.strip_suffix(b"\r").unwrap_or(line);
        match line.strip_suffix(b"\\") {
            Some(start) if !is_last => {
                text.extend_from_slice(start);
                continue;
            }
            _ => text.extend_from_slice(line),
        }
        push(&mut lines, &text, file, number);
        text.clear();
    }
    let last = lines.last().map_or(1, |line: &Raw| line.position.line);
    push(&mut lines, &text, file, last);
    lines
}

fn push(lines: &mut Vec<Raw>, text: &[u8], file: &Path, line: u32) {
    let text = text.trim_ascii();
    if !text.is_empty() && !text.starts_with(b"#") {
        let position = Position { file: file.as_os_str().as_bytes().into(), line };
        lines.push(Raw { text: text.to_owned(), position });
    }
}

impl Raw {
    /// Returns the name of the directive and everything behind it.
    pub(crate) fn divide(text: &[u8]) -> (String, Vec<u8>) {
        let end = text.iter().position(u8::is_ascii_whitespace).unwrap_or(text.len());
        let (name, rest) = text.split_at(end);
        (display(name).into_owned(), rest.trim_ascii().to_owned())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn texts(content: &str) -> Vec<(u32, String)> {
        let lines = split(Path::new("/f"), content.as_bytes()).into_iter();
        lines.map(|line| (line.position.line, display(&line.text).into_owned())).collect()
    }

    #[test]
    fn lines_are_continued_as_apache_does() {
        let content = "A 1\n\n  # c \\\nB hidden\nC \"x\\\ny\"\r\n D a\\\\\n  b  \n";
        let expected = [(1, "A 1"), (6, "C \"xy\""), (8, "D a\\  b")].map(|(n, t)| (n, t.to_owned()));
        assert_eq!(texts(content), expected);
        assert_eq!(texts("A\\\n"), [(1, "A".to_owned())]);
        assert_eq!(texts("A 1\nB\\"), [(1, "A 1".to_owned()), (2, "B\\".to_owned())]);
        assert_eq!(texts(""), []);
    }
}
