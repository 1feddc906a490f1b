//! Lines of processes as JSON objects, where the log has nothing else.
//!
//! Most come as objects: those that the host writes. What is written past it, by libraries, other
//! programs and Python itself when it crashes, becomes the message of one.

use std::time::SystemTime;

use serde_json::Value;
use wsgi_core::log_record::{Line, Origin, is_object};

use crate::log::Level;

/// The number of bytes of lines that become one object, if they come at once.
const LONGEST: usize = 8 << 10;

/// Returns objects for `lines`, which all have their ends.
pub(super) fn objects(lines: &[u8], group: &[u8]) -> Vec<u8> {
    let mut objects = Vec::with_capacity(lines.len());
    let mut text = Vec::new();
    for line in lines.split_inclusive(|byte| *byte == b'\n') {
        // An application can write anything: what only looks like an object becomes a message, and so
        // does one that is too deep for others to read.
        if is_object(line) && serde_json::from_slice::<Value>(line).is_ok() {
            wrap(&mut text, group, &mut objects);
            objects.extend_from_slice(line);
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
        let time = os::clock::rfc_3339(SystemTime::now());
        let level = Level::Error.name();
        let origin = Origin { time: &time, level, group: Some(group), ..Origin::default() };
        objects.extend_from_slice(Line::parse(message).json(&origin).as_bytes());
    }
    text.clear();
}

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
        let lines = format!("Fatal error\n  in f\n{own}\n{{\"time\":\"forged}}\n{{\"a\":1}}\n\n");
        let parsed = parsed(lines.as_bytes());
        let messages: Vec<_> = parsed.iter().map(|value| value["message"].as_str().unwrap()).collect();
        assert_eq!(messages, ["Fatal error\n  in f", "of the host", "{\"time\":\"forged}\n{\"a\":1}"]);
        assert_eq!((&parsed[0]["group"], &parsed[0]["level"]), (&"shop".into(), &"error".into()));
        assert!(parsed[1]["group"].is_null());
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
