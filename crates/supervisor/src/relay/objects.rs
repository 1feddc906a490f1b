//! Lines of processes as JSON objects, where the log has nothing else.
//!
//! Most come as objects: those that the host writes. What is written past it, by libraries, other
//! programs and Python itself when it crashes, becomes the message of one.

use std::time::SystemTime;

use serde_json::Value;
use wsgi_core::level::Level;
use wsgi_core::log_record::{Line, Origin, is_object, object_behind_text};

/// The number of bytes of lines that become one object, if they come at once.
const LONGEST: usize = 8 << 10;

/// Returns objects for `lines`, which all have their ends.
pub(super) fn objects(lines: &[u8], group: &[u8]) -> Vec<u8> {
    let mut objects = Vec::with_capacity(lines.len());
    let mut text = Vec::new();
    for line in lines.split_inclusive(|byte| *byte == b'\n') {
        // An application can write anything: what only looks like an object becomes a message, and so
        // does one that is too deep for others to read.
        let is_valid = |line| is_object(line) && serde_json::from_slice::<Value>(line).is_ok();
        // Somebody may have begun a line, and not got any further, when an object came.
        let (before, line) = match object_behind_text(line) {
            Some(at) if is_valid(&line[at..]) => line.split_at(at),
            _ => (&[][..], line),
        };
        if is_valid(line) {
            text.extend_from_slice(before);
            wrap(&mut text, group, &mut objects);
            objects.extend_from_slice(line);
            continue;
        }
        if let Some(prefixed) = Prefixed::parse(line) {
            wrap(&mut text, group, &mut objects);
            append(prefixed.message, prefixed.level, prefixed.process, group, &mut objects);
            continue;
        }
        if text.len() + line.len() > LONGEST {
            wrap(&mut text, group, &mut objects);
        }
        text.extend_from_slice(line);
    }
    wrap(&mut text, group, &mut objects);
    objects
}

/// Moves lines of text to the end of `objects`, as one.
fn wrap(text: &mut Vec<u8>, group: &[u8], objects: &mut Vec<u8>) {
    let message = text.trim_ascii_end();
    if !message.is_empty() {
        append(message, Level::Error, 0, group, objects);
    }
    text.clear();
}

fn append(message: &[u8], level: Level, process: u32, group: &[u8], objects: &mut Vec<u8>) {
    let time = os::clock::rfc_3339(SystemTime::now());
    let origin =
        Origin { time: &time, level: level.name(), process, group: Some(group), ..Origin::default() };
    objects.extend_from_slice(Line::parse(message).json(&origin).as_bytes());
}

/// A line as it is in a log without objects: that of a program of ours that knows no others, or of a
/// process that does not know yet what is wanted.
struct Prefixed<'l> {
    level: Level,
    process: u32,
    message: &'l [u8],
}

impl<'l> Prefixed<'l> {
    /// Parses `[time] [wsgi:level] [pid number] message`.
    fn parse(line: &'l [u8]) -> Option<Self> {
        let line = std::str::from_utf8(line).ok()?.trim_ascii_end();
        let (time, rest) = line.strip_prefix('[')?.split_once("] [wsgi:")?;
        let (level, rest) = rest.split_once("] [pid ")?;
        let (process, message) = rest.split_once("] ")?;
        let level = LEVELS.into_iter().find(|known| known.name() == level)?;
        let is_time = time.len() < 40 && !time.contains(['[', ']']);
        let process = process.parse().ok().filter(|_| is_time)?;
        Some(Self { level, process, message: message.as_bytes() })
    }
}

const LEVELS: [Level; 6] =
    [Level::Alert, Level::Critical, Level::Error, Level::Warning, Level::Info, Level::Debug];

#[cfg(test)]
mod tests {
    use super::*;

    fn parsed(lines: &[u8]) -> Vec<Value> {
        let objects = String::from_utf8(objects(lines, b"shop")).unwrap();
        objects.lines().map(|line| serde_json::from_str(line).unwrap()).collect()
    }

    #[test]
    fn only_objects_stay_as_they_are() {
        let own = "{\"time\":\"t\",\"message\":\"of the host\"}";
        let lines = format!("Fatal error\n  in f\n{own}\n{{\"time\":\"forged}}\n{{\"a\":1}}\n\nbegun{own}\n");
        let parsed = parsed(lines.as_bytes());
        let messages: Vec<_> = parsed.iter().map(|value| value["message"].as_str().unwrap()).collect();
        assert_eq!(
            messages,
            ["Fatal error\n  in f", "of the host", "{\"time\":\"forged}\n{\"a\":1}\n\nbegun", "of the host"]
        );
        assert_eq!((&parsed[0]["group"], &parsed[0]["level"]), (&"shop".into(), &"error".into()));
        assert!(parsed[1]["group"].is_null());
    }

    #[test]
    fn lines_as_they_are_elsewhere_keep_their_levels() {
        let prefix = os::log_line::prefix("warn", SystemTime::now());
        let parsed = parsed(format!("before\n{prefix}of the exporter\nafter\n").as_bytes());
        let found: Vec<_> = parsed.iter().map(|line| (&line["level"], &line["message"])).collect();
        let level = |level: &str| Value::from(level);
        assert_eq!(
            found,
            [
                (&level("error"), &"before".into()),
                (&level("warn"), &"of the exporter".into()),
                (&level("error"), &"after".into())
            ]
        );
        assert_eq!(parsed[1]["pid"], std::process::id());
    }

    #[test]
    fn any_bytes_become_objects_of_limited_length() {
        assert!(parsed(b"\n\n").is_empty());
        let lines = [&b"\xff\x00\x1b\n"[..], &[b'"'; 60_000], b"\n", &b"{\n".repeat(20_000)].concat();
        assert!(parsed(&lines).len() < 10);
        // A deep object does not overflow a stack.
        let deep = ["{\"time\":\"", "\",\"a\":", &"[".repeat(30_000), &"]".repeat(30_000), "}\n"].concat();
        assert_eq!(parsed(deep.as_bytes()).len(), 1);
    }
}
