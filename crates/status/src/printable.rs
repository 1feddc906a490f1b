//! Text of clients and applications, made safe to show.

use std::borrow::Cow;
use std::fmt::Write as _;

use crate::Snapshot;

/// Returns `text` with what would act on a terminal, or change the order of what is shown, as
/// escapes such as `\u{1b}`.
#[must_use]
pub fn line(text: &str) -> Cow<'_, str> {
    escape(text, is_plain)
}

/// Returns the same of a text that may have several lines.
#[must_use]
pub fn lines(text: &str) -> Cow<'_, str> {
    escape(text, |character| matches!(character, '\n' | '\t') || is_plain(character))
}

/// Makes all texts of a snapshot that clients, applications and the configuration have chosen safe
/// to show.
pub fn make(snapshot: &mut Snapshot) {
    let one = |text: &mut String| replace(text, line);
    snapshot.scope.iter_mut().for_each(one);
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
        group.http.iter_mut().for_each(|ended| one(&mut ended.method));
    }
    for event in &mut snapshot.events {
        [&mut event.group, &mut event.text].into_iter().for_each(one);
        replace(&mut event.detail, lines);
    }
    snapshot.warnings.iter_mut().for_each(|warning| replace(warning, lines));
}

fn replace(text: &mut String, made: fn(&str) -> Cow<'_, str>) {
    if let Cow::Owned(changed) = made(text) {
        *text = changed;
    }
}

fn escape(text: &str, is_plain: fn(char) -> bool) -> Cow<'_, str> {
    if text.chars().all(is_plain) {
        return Cow::Borrowed(text);
    }
    let mut escaped = String::with_capacity(text.len() + 16);
    for character in text.chars() {
        if is_plain(character) {
            escaped.push(character);
        } else {
            // Writing to a string does not fail.
            let _ = write!(escaped, "\\u{{{:x}}}", u32::from(character));
        }
    }
    Cow::Owned(escaped)
}

/// Returns whether a character stands for itself: no control character, no end of a line, and
/// nothing that changes the direction of what follows.
fn is_plain(character: char) -> bool {
    !character.is_control()
        && !matches!(
            character,
            '\u{61c}' | '\u{200b}'..='\u{200f}' | '\u{2028}'..='\u{202e}' | '\u{2060}'..='\u{206f}' | '\u{feff}'
        )
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::snapshot::{Event, Group, Request};

    #[test]
    fn what_acts_on_a_terminal_is_escaped() {
        for (text, shown) in [
            ("/plain/päth ✓", "/plain/päth ✓"),
            ("/a\u{1b}[2J", "/a\\u{1b}[2J"),
            ("/a\r\nb", "/a\\u{d}\\u{a}b"),
            ("/\u{202e}gpj.exe", "/\\u{202e}gpj.exe"),
            ("\u{85}\u{7f}\u{feff}\u{2066}", "\\u{85}\\u{7f}\\u{feff}\\u{2066}"),
        ] {
            assert_eq!(line(text), shown);
        }
        assert_eq!(lines("a\n\tb\u{7}"), "a\n\tb\\u{7}");
    }

    #[test]
    fn all_texts_of_a_snapshot_are_made_safe() {
        let evil = || "\u{1b}".to_owned();
        let request =
            Request { method: evil(), path: evil(), virtual_host: evil(), id: evil(), ..Request::default() };
        let group = Group {
            name: evil(),
            virtual_host: evil(),
            user: evil(),
            python: evil(),
            scripts: vec![evil()],
            requests: vec![request],
            ..Group::default()
        };
        let event = Event { group: evil(), text: evil(), detail: evil(), ..Event::default() };
        let mut snapshot = Snapshot {
            groups: vec![group],
            events: vec![event],
            warnings: vec![evil()],
            ..Snapshot::default()
        };
        make(&mut snapshot);
        let text = crate::json::render(&snapshot);
        assert!(!text.contains("\\u001b") && !text.contains('\u{1b}'), "{text}");
    }
}
