//! Text of clients and applications, made safe to show.

use std::borrow::Cow;
use std::collections::BTreeMap;
use std::fmt::Write as _;

use crate::Snapshot;

/// Returns `text` with what would act on a terminal, or change the order of what is shown, as
/// escapes such as `\u{1b}`.
#[must_use]
pub fn line(text: &str) -> Cow<'_, str> {
    escape(text, is_plain, code)
}

/// Returns the same of a text that may have several lines.
#[must_use]
pub fn lines(text: &str) -> Cow<'_, str> {
    escape(text, |character| matches!(character, '\n' | '\t') || is_plain(character), code)
}

/// Returns the same of JSON, whose meaning stays.
#[must_use]
pub fn json(text: &str) -> Cow<'_, str> {
    let is_plain = |character| matches!(character, '\n' | '\r' | '\t') || is_plain(character);
    // What is not plain stands in strings alone.
    escape(text, is_plain, |escaped, character| {
        for unit in character.encode_utf16(&mut [0; 2]) {
            let _ = write!(escaped, "\\u{unit:04x}");
        }
    })
}

/// Returns a text of bytes that may be no UTF-8: those that are none are shown as `\xff`, so that texts
/// that differ are shown so, and stay names of different things.
#[must_use]
pub fn text(bytes: &[u8]) -> String {
    let mut text = String::with_capacity(bytes.len());
    for chunk in bytes.utf8_chunks() {
        text.push_str(chunk.valid());
        for byte in chunk.invalid() {
            // Writing to a string does not fail.
            let _ = write!(text, "\\x{byte:02x}");
        }
    }
    text
}

/// Makes all texts of a snapshot safe to show: clients, applications and the configuration have chosen
/// them, or a server that was asked.
pub fn make(snapshot: &mut Snapshot) {
    let one = |text: &mut String| replace(text, line);
    snapshot.scope.iter_mut().for_each(one);
    let server = &mut snapshot.server;
    [&mut server.version, &mut server.apache, &mut server.mpm, &mut server.host].into_iter().for_each(one);
    for group in &mut snapshot.groups {
        [&mut group.name, &mut group.virtual_host, &mut group.user, &mut group.python]
            .into_iter()
            .for_each(one);
        group.scripts.iter_mut().for_each(one);
        for request in &mut group.requests {
            [&mut request.method, &mut request.path, &mut request.virtual_host, &mut request.id]
                .into_iter()
                .for_each(one);
        }
        group.http.iter_mut().flat_map(|ended| [&mut ended.method, &mut ended.scheme]).for_each(one);
        names(&mut group.rejections);
        for process in &mut group.processes {
            names(&mut process.restarts);
            names(&mut process.crashes);
        }
    }
    for event in &mut snapshot.events {
        [&mut event.group, &mut event.text].into_iter().for_each(one);
        replace(&mut event.detail, lines);
    }
    snapshot.warnings.iter_mut().for_each(|warning| replace(warning, lines));
}

fn names(counts: &mut BTreeMap<String, u64>) {
    if counts.keys().any(|name| matches!(line(name), Cow::Owned(_))) {
        *counts = counts.iter().map(|(name, count)| (line(name).into_owned(), *count)).collect();
    }
}

fn replace(text: &mut String, made: fn(&str) -> Cow<'_, str>) {
    if let Cow::Owned(changed) = made(text) {
        *text = changed;
    }
}

/// Writes a character as an escape.
fn code(escaped: &mut String, character: char) {
    // Writing to a string does not fail.
    let _ = write!(escaped, "\\u{{{:x}}}", u32::from(character));
}

fn escape(
    text: &str,
    is_plain: impl Fn(char) -> bool,
    write_escape: impl Fn(&mut String, char),
) -> Cow<'_, str> {
    if text.chars().all(&is_plain) {
        return Cow::Borrowed(text);
    }
    let mut escaped = String::with_capacity(text.len() + 16);
    for character in text.chars() {
        if is_plain(character) {
            escaped.push(character);
        } else {
            write_escape(&mut escaped, character);
        }
    }
    Cow::Owned(escaped)
}

/// Returns whether a character stands for itself: no control character, no end of a line, nothing
/// that changes the direction of what follows, and nothing that cannot be seen.
fn is_plain(character: char) -> bool {
    !character.is_control()
        && !matches!(
            character,
            '\u{ad}' | '\u{34f}' | '\u{61c}' | '\u{115f}' | '\u{1160}' | '\u{180e}' | '\u{200b}'..='\u{200f}'
                | '\u{2028}'..='\u{202e}' | '\u{2060}'..='\u{206f}' | '\u{3164}' | '\u{feff}' | '\u{ffa0}'
                | '\u{fff9}'..='\u{fffb}' | '\u{e0000}'..='\u{e0fff}'
        )
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::snapshot::{Event, Group, Process, Request, Server};

    #[test]
    fn what_acts_on_a_terminal_is_escaped() {
        for (text, shown) in [
            ("/plain/päth ✓", "/plain/päth ✓"),
            ("/a\u{1b}[2J", "/a\\u{1b}[2J"),
            ("/a\r\nb", "/a\\u{d}\\u{a}b"),
            ("/\u{202e}gpj.exe", "/\\u{202e}gpj.exe"),
            ("\u{ad}\u{3164}\u{e0041}", "\\u{ad}\\u{3164}\\u{e0041}"),
            ("\u{85}\u{7f}\u{feff}\u{2066}", "\\u{85}\\u{7f}\\u{feff}\\u{2066}"),
        ] {
            assert_eq!(line(text), shown);
        }
        assert_eq!(lines("a\n\tb\u{7}"), "a\n\tb\\u{7}");
        assert_eq!(
            json("{\"a\":\n\"\u{9b}\u{e0041}é\\u001b\"}"),
            "{\"a\":\n\"\\u009b\\udb40\\udc41é\\u001b\"}"
        );
    }

    #[test]
    fn texts_that_differ_are_shown_so() {
        assert_eq!(text("päth".as_bytes()), "päth");
        assert_eq!([text(b"f\xfcr"), text(b"f\xe4r")], ["f\\xfcr", "f\\xe4r"]);
        assert_eq!(text(b"\xf0\x9f\x98a\xff"), "\\xf0\\x9f\\x98a\\xff");
    }

    #[test]
    fn all_texts_of_a_snapshot_are_made_safe() {
        let evil = || "\u{1b}".to_owned();
        let request =
            Request { method: evil(), path: evil(), virtual_host: evil(), id: evil(), ..Request::default() };
        let process =
            Process { restarts: [(evil(), 1)].into(), crashes: [(evil(), 1)].into(), ..Process::default() };
        let server =
            Server { version: evil(), apache: evil(), mpm: evil(), host: evil(), ..Server::default() };
        let group = Group {
            name: evil(),
            virtual_host: evil(),
            user: evil(),
            python: evil(),
            scripts: vec![evil()],
            requests: vec![request],
            rejections: [(evil(), 1)].into(),
            processes: vec![process],
            ..Group::default()
        };
        let event = Event { group: evil(), text: evil(), detail: evil(), ..Event::default() };
        let mut snapshot = Snapshot {
            groups: vec![group],
            events: vec![event],
            warnings: vec![evil()],
            server,
            ..Snapshot::default()
        };
        make(&mut snapshot);
        let text = crate::json::render(&snapshot);
        assert!(!text.contains("\\u001b") && !text.contains('\u{1b}'), "{text}");
    }
}
