//! The error log, in Apache's own format: standard error is the server's.

use std::fmt::{Display, Write as _};
use std::io::Write as _;
use std::time::SystemTime;

/// How serious it is, with Apache's numbers.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Level {
    Alert = 1,
    Critical = 2,
    Error = 3,
    Warning = 4,
    Info = 6,
}

/// Writes a line, at once: lines of several processes must not mix.
pub(crate) fn write(level: Level, text: impl Display) {
    let line = line(level, &text, SystemTime::now());
    // There is nowhere to complain.
    let _ = std::io::stderr().lock().write_all(line.as_bytes());
}

/// Writes a line about a process group.
pub(crate) fn about(group: &[u8], level: Level, text: impl Display) {
    write(level, format_args!("{text} [process group '{}']", group.escape_ascii()));
}

fn line(level: Level, text: &dyn Display, time: SystemTime) -> String {
    let name = match level {
        Level::Alert => "alert",
        Level::Critical => "crit",
        Level::Error => "error",
        Level::Warning => "warn",
        Level::Info => "info",
    };
    let mut line = String::from("[");
    // Writing to a string does not fail.
    let _ = os::clock::stamp(&mut line, time);
    let _ = writeln!(line, "] [wsgi:{name}] [pid {}] {text}", std::process::id());
    line
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_are_as_apache_writes_them() {
        let line = line(Level::Warning, &"WSGI0075: text", SystemTime::now());
        let rest = line.split_once("] [").unwrap().1;
        assert_eq!(rest, format!("wsgi:warn] [pid {}] WSGI0075: text\n", std::process::id()));
        assert!(Level::Alert < Level::Info);
    }
}
