//! The pipe that a process writes to, taken apart into lines.

use std::io::{self, Read};
use std::os::fd::OwnedFd;

use wsgi_core::wire::line::Joiner;

use super::Destination;
use super::crash_report::CrashReport;
use super::objects::objects;

/// The number of bytes that are read at once.
pub(super) const BLOCK: usize = 64 << 10;
/// The number of blocks that a pipe can hold: a process without privileges can make it this large
/// (`pipe-max-size`).
pub(super) const MAX_BLOCKS: usize = 16;
/// A line is cut that is longer than this.
const LONGEST: usize = 64 << 10;

/// The reading end of a process's standard output and error.
#[derive(Debug)]
pub(super) struct Source {
    pub(super) reader: std::fs::File,
    /// The index of its log.
    pub(super) log: usize,
    /// The process group, if lines become JSON objects.
    json_of: Option<Box<[u8]>>,
    /// It is not watched.
    pub(super) is_paused: bool,
    /// A line without its end.
    partial: Vec<u8>,
    /// A long line of which parts have come.
    parts: Joiner,
    /// The report that the process has written when it died.
    report: CrashReport,
}

/// The result of reading once.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Input {
    /// Lines with their ends.
    Lines(Vec<u8>),
    /// Less than a line.
    Nothing,
    /// There is no input yet.
    Pending,
    /// Nobody can write any more.
    End,
}

impl Source {
    pub(super) fn new(reader: OwnedFd, destination: Destination) -> Self {
        let Destination { log, json_of } = destination;
        Self {
            reader: reader.into(),
            log,
            json_of,
            is_paused: false,
            partial: Vec::new(),
            parts: Joiner::default(),
            report: CrashReport::default(),
        }
    }

    /// Reads once.
    pub(super) fn read(&mut self, buffer: &mut [u8]) -> Input {
        match self.reader.read(buffer) {
            Ok(0) => Input::End,
            Ok(count) => {
                let mut lines = self.take(&buffer[..count]);
                self.parts.join(&mut lines);
                self.report.note(&lines);
                let lines = self.formatted(lines);
                if lines.is_empty() { Input::Nothing } else { Input::Lines(lines) }
            }
            Err(error) if matches!(error.kind(), io::ErrorKind::WouldBlock | io::ErrorKind::Interrupted) => {
                Input::Pending
            }
            Err(_) => Input::End,
        }
    }

    /// Takes the unfinished lines, with ends; empty if there are none.
    pub(super) fn rest(&mut self) -> Vec<u8> {
        let mut rest = self.parts.rest();
        rest.append(&mut self.take_partial());
        self.report.note(&rest);
        self.formatted(rest)
    }

    /// Takes the report that has come through the pipe.
    pub(super) fn take_report(&mut self) -> CrashReport {
        std::mem::take(&mut self.report)
    }

    fn formatted(&self, lines: Vec<u8>) -> Vec<u8> {
        match &self.json_of {
            Some(group) => objects(&lines, group),
            None => lines,
        }
    }

    /// Takes the line without its end, and adds one; empty if there is none.
    fn take_partial(&mut self) -> Vec<u8> {
        let mut line = std::mem::take(&mut self.partial);
        if !line.is_empty() {
            line.push(b'\n');
        }
        line
    }

    /// Adds bytes; the lines that are complete.
    fn take(&mut self, bytes: &[u8]) -> Vec<u8> {
        let mut lines = Vec::new();
        let end = bytes.iter().rposition(|byte| *byte == b'\n').map_or(0, |at| at + 1);
        if end > 0 {
            lines = std::mem::take(&mut self.partial);
            lines.extend_from_slice(&bytes[..end]);
        }
        self.partial.extend_from_slice(&bytes[end..]);
        if self.partial.len() >= LONGEST {
            lines.append(&mut self.take_partial());
        }
        lines
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn source() -> Source {
        Source::new(os::descriptors::pipe().unwrap().0, Destination { log: 0, json_of: None })
    }

    #[test]
    fn lines_are_whole() {
        let mut source = source();
        assert_eq!(source.take(b"one"), b"");
        assert_eq!(source.take(b" line\nand\n\nano"), b"one line\nand\n\n");
        assert_eq!(source.take(b"ther\n"), b"another\n");
        assert_eq!(source.take(b"\xff\x00"), b"");
        assert_eq!((source.rest(), source.rest()), (b"\xff\x00\n".to_vec(), vec![]));
    }

    #[test]
    fn a_line_without_an_end_does_not_grow_for_ever() {
        let mut source = source();
        let mut all = Vec::new();
        for _ in 0..100 {
            all.append(&mut source.take(&[b'x'; 10_000]));
            assert!(source.partial.len() < LONGEST);
        }
        all.append(&mut source.rest());
        assert_eq!(all.iter().filter(|byte| **byte == b'x').count(), 1_000_000);
        assert!(all.split(|byte| *byte == b'\n').all(|line| line.len() < LONGEST + 10_000));
    }
}
