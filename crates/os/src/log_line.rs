//! Lines of the server's error log that Apache does not write itself.

use std::fmt::Write;
use std::time::SystemTime;

use crate::clock;

/// Returns the beginning of a line in Apache's format: time, level, and the id of this process.
#[must_use]
pub fn prefix(level: &str, time: SystemTime) -> String {
    let mut prefix = String::with_capacity(64);
    prefix.push('[');
    // Writing to a string does not fail.
    let _ = clock::write_timestamp(&mut prefix, time);
    let _ = write!(prefix, "] [wsgi:{level}] [pid {}] ", std::process::id());
    prefix
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_line_begins_as_apache_writes_it() {
        let prefix = prefix("warn", SystemTime::now());
        let (time, rest) = prefix.split_once("] [").unwrap();
        assert_eq!(time.split(' ').count(), 5, "{prefix}");
        assert_eq!(rest, format!("wsgi:warn] [pid {}] ", std::process::id()));
    }
}
