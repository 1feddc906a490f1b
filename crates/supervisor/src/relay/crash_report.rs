//! The report that Python writes when it dies, as it is found in the output of a process.

use os::process::{Exit, Signal};
use wsgi_core::ledger::LONGEST_DETAIL;

/// The beginning of a report of Python's `faulthandler`, and of its own fatal errors.
const FATAL: &[u8] = b"Fatal Python error: ";
/// The number of bytes of a report that are looked at: it has the stacks of up to a hundred threads.
const LONGEST: usize = 64 << 10;
/// The words of `faulthandler` for the signals that it reports.
const SIGNALS: [(Signal, &[u8]); 5] = [
    (Signal::SIGSEGV, b"Segmentation fault"),
    (Signal::SIGABRT, b"Aborted"),
    (Signal::SIGBUS, b"Bus error"),
    (Signal::SIGILL, b"Illegal instruction"),
    (Signal::SIGFPE, b"Floating"),
];

/// The last report in the output of a process: the output since its beginning. It need not be of the
/// process itself: its copies, and whatever else it has started, write there, too, and anything.
#[derive(Debug, Default)]
pub(super) struct CrashReport(Vec<u8>);

impl CrashReport {
    /// Notes lines of the output, which have their ends.
    pub(super) fn note(&mut self, lines: &[u8]) {
        for line in lines.split_inclusive(|byte| *byte == b'\n') {
            if let Some(at) = begin(line) {
                self.0.clear();
                self.0.extend_from_slice(&line[at..]);
            } else if !self.0.is_empty() {
                let room = LONGEST.saturating_sub(self.0.len());
                self.0.extend_from_slice(&line[..line.len().min(room)]);
            }
        }
    }

    pub(super) const fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    pub(super) const fn len(&self) -> usize {
        self.0.len()
    }

    /// Returns the report for the record, the thread that died first; empty if it does not belong to such
    /// an end.
    pub(super) fn of_end(&self, exit: Exit) -> Vec<u8> {
        if !self.explains(exit) {
            return Vec::new();
        }
        let text = String::from_utf8_lossy(&self.0);
        let mut parts: Vec<_> = text.split("\n\n").collect();
        if let Some(at) = parts.iter().position(|part| part.starts_with("Current thread "))
            && at > 0
        {
            parts[1..=at].rotate_right(1);
        }
        let mut report = parts.join("\n\n").into_bytes();
        if report.len() > LONGEST_DETAIL {
            report.truncate(LONGEST_DETAIL);
            report
                .truncate(report.iter().rposition(|byte| *byte == b'\n').map_or(LONGEST_DETAIL, |at| at + 1));
        }
        report
    }

    /// Returns whether a process that has written it ends so.
    fn explains(&self, exit: Exit) -> bool {
        let Exit::Signal(number, _) = exit else { return false };
        let Some(cause) = self.0.strip_prefix(FATAL) else { return false };
        let named = SIGNALS.iter().find(|(_, name)| cause.starts_with(name));
        // Any other fatal error is Python's own, which aborts the process.
        i32::from(number) == named.map_or(Signal::SIGABRT, |(signal, _)| *signal) as i32
    }
}

/// Returns the place in a line where a report begins. Somebody may have begun the line, and not got any
/// further; but not a line of a log, which tells of another report.
fn begin(line: &[u8]) -> Option<usize> {
    let at = (0..line.len()).find(|&at| line[at] == FATAL[0] && line[at..].starts_with(FATAL))?;
    (at == 0 || !matches!(line[0], b'[' | b'{')).then_some(at)
}

#[cfg(test)]
mod tests {
    use super::*;

    const SEGV: Exit = Exit::Signal(11, true);
    const ABRT: Exit = Exit::Signal(6, false);

    fn report(lines: &[&str]) -> CrashReport {
        let mut report = CrashReport::default();
        lines.iter().for_each(|line| report.note(line.as_bytes()));
        report
    }

    #[test]
    fn the_last_report_is_kept() {
        let lines = ["before\n[x] Fatal Python error: x\n", "{\"a\":\"Fatal Python error: Aborted\"}\n"];
        assert!(report(&lines).is_empty());
        let lines = ["Fatal Python error: no\nbegunFatal Python error: Aborted\n\n", "Current thread\n"];
        assert_eq!(report(&lines).of_end(ABRT), b"Fatal Python error: Aborted\n\nCurrent thread\n");
    }

    #[test]
    fn a_report_belongs_to_an_end_by_its_signal() {
        let segv = report(&["Fatal Python error: Segmentation fault\n"]);
        let own = report(&["Fatal Python error: f: no memory\n"]);
        for exit in [Exit::Status(0), Exit::Status(1), Exit::Signal(9, false), Exit::OutOfMemory] {
            assert_eq!((segv.of_end(exit), own.of_end(exit)), (vec![], vec![]), "{exit}");
        }
        assert_eq!((segv.of_end(ABRT).is_empty(), segv.of_end(SEGV).is_empty()), (true, false));
        assert_eq!((own.of_end(ABRT).is_empty(), own.of_end(SEGV).is_empty()), (false, true));
        // One whose words differ between versions of Python.
        for words in ["Floating point exception", "Floating-point exception"] {
            let fpe = report(&[&format!("Fatal Python error: {words}\n")]);
            assert!(!fpe.of_end(Exit::Signal(8, false)).is_empty());
        }
    }

    #[test]
    fn the_thread_that_died_comes_first() {
        let other =
            |number: usize| format!("Thread 0x{number} (most recent call first):\n{}\n", "x".repeat(1000));
        let mut lines = vec!["Fatal Python error: Segmentation fault\n\n".to_owned()];
        lines.extend((0..50).map(|number| other(number) + "\n"));
        lines.push("Current thread 0x7 (most recent call first):\n  File \"a\", line 1 in f\n\n".to_owned());
        lines.extend((50..99).map(|number| other(number) + "\n"));
        let lines: Vec<_> = lines.iter().map(String::as_str).collect();
        let text = String::from_utf8(report(&lines).of_end(SEGV)).unwrap();
        let expected = "Fatal Python error: Segmentation fault\n\nCurrent thread 0x7 (most recent call first):\n  \
                        File \"a\", line 1 in f\n\nThread 0x0 (";
        assert!(text.starts_with(expected), "{text}");
        assert!(text.len() <= LONGEST_DETAIL && text.ends_with('\n'), "{}", text.len());
    }

    #[test]
    fn a_report_does_not_grow_for_ever() {
        let mut report = report(&["Fatal Python error: Aborted\n"]);
        (0..100).for_each(|_| report.note(&[b'x'; 1000]));
        assert!(report.0.len() <= LONGEST && report.of_end(ABRT).len() <= LONGEST_DETAIL);
    }
}
