//! Lines of the supervisor's own, as Apache writes them, or as JSON objects.

use std::fmt::Display;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::SystemTime;

use wsgi_core::level::Level;
use wsgi_core::log_record::{Line, Origin};

static IS_JSON: AtomicBool = AtomicBool::new(false);

/// Makes lines JSON objects from now on.
pub(crate) fn set_json() {
    IS_JSON.store(true, Ordering::Relaxed);
}

/// Returns whether lines are JSON objects.
pub(crate) fn is_json() -> bool {
    IS_JSON.load(Ordering::Relaxed)
}

/// Returns a line about something that happened at `time`, in a process group or none.
pub(crate) fn line(group: Option<&[u8]>, level: Level, text: &dyn Display, time: SystemTime) -> String {
    if is_json() {
        let time = os::clock::rfc_3339(time);
        let process = std::process::id();
        let origin = Origin { time: &time, level: level.name(), process, group, ..Origin::default() };
        return Line::parse(text.to_string().as_bytes()).json(&origin);
    }
    format!("{}{text}\n", os::log_line::prefix(level.name(), time))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_are_as_apache_writes_them() {
        let line = line(None, Level::Warning, &"WSGI0075: text", SystemTime::now());
        let rest = line.split_once("] [").unwrap().1;
        assert_eq!(rest, format!("wsgi:warn] [pid {}] WSGI0075: text\n", std::process::id()));
        assert!(Level::Alert < Level::Info);
    }
}
