//! The part of the status that mod_status shows on its page.

use std::fmt::Write as _;

use super::markup::{Html, write_html};
use crate::Snapshot;
use crate::snapshot::Group;

/// The form of the page.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Form {
    /// HTML with tables.
    Table,
    /// HTML without tables.
    Lines,
    /// Text for programs (`?auto`): a name, a colon, a value.
    Auto,
}

/// The name by which the configuration knows embedded mode as a process group.
const EMBEDDED: &str = "%{GLOBAL}";

/// The beginning of the keys for programs.
const PREFIX: &str = "WSGI";

/// Renders the counts of process groups, for a page of mod_status. That of one virtual host may have
/// none.
#[must_use]
pub fn mod_status(snapshot: &Snapshot, form: Form) -> String {
    let mut groups = snapshot.groups.iter().filter(|group| !group.is_partial).peekable();
    if groups.peek().is_none() {
        return String::new();
    }
    match form {
        Form::Table => table(groups),
        Form::Lines => lines(groups),
        Form::Auto => auto(groups),
    }
}

/// The counts of a group, each with its name for programs and that for people.
fn counts(group: &Group) -> [(&'static str, &'static str, u64); 7] {
    let errors = group.http.iter().filter(|ended| ended.status_class == 5);
    [
        ("Requests", "requests", group.durations().count()),
        ("Errors", "errors", errors.map(|ended| ended.duration.count()).sum()),
        ("Rejected", "rejected", group.rejections.values().sum()),
        ("Busy", "busy", group.busy()),
        ("Queued", "queued", group.queued),
        ("Processes", "processes", group.running().count() as u64),
        ("BytesSent", "bytes sent", group.processes.iter().map(|process| process.bytes_out).sum()),
    ]
}

fn name(group: &Group) -> &str {
    if group.name.is_empty() { EMBEDDED } else { &group.name }
}

fn table<'a>(groups: impl Iterator<Item = &'a Group>) -> String {
    let mut html = Html::default();
    write_html!(html, "<hr />\n<h1>WSGI process groups</h1>\n<table border=\"0\"><tr><th>group</th>");
    for (_, heading, _) in counts(&Group::default()) {
        write_html!(html, "<th>", (heading), "</th>");
    }
    write_html!(html, "</tr>\n");
    for group in groups {
        write_html!(html, "<tr><td>", (name(group)), "</td>");
        for (.., count) in counts(group) {
            write_html!(html, "<td align=\"right\">", (count), "</td>");
        }
        write_html!(html, "</tr>\n");
    }
    write_html!(html, "</table>\n");
    html.into_string()
}

fn lines<'a>(groups: impl Iterator<Item = &'a Group>) -> String {
    let mut html = Html::default();
    write_html!(html, "<hr />\n<h1>WSGI process groups</h1>\n");
    for group in groups {
        write_html!(html, "<p><b>", (name(group)), "</b>:");
        for (_, heading, count) in counts(group) {
            write_html!(html, " ", (count), " ", (heading), ";");
        }
        write_html!(html, "</p>\n");
    }
    html.into_string()
}

fn auto<'a>(groups: impl Iterator<Item = &'a Group>) -> String {
    let mut text = String::new();
    for group in groups {
        // A name has no end of a line; a colon in it would end the key for programs.
        let name = name(group).replace(':', "_");
        for (key, _, count) in counts(group) {
            // Writing to a string does not fail.
            let _ = writeln!(text, "{PREFIX}{key}[{name}]: {count}");
        }
        let _ = writeln!(text, "{PREFIX}Duration[{name}]: {:.6}", group.durations().sum);
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Histogram;
    use crate::snapshot::{Ended, Mode};

    fn snapshot() -> Snapshot {
        let ended = |status_class, count| Ended {
            method: "GET".to_owned(),
            status_class,
            duration: Histogram { buckets: vec![count], sum: 0.25 },
            ..Ended::default()
        };
        let shop = Group {
            name: "<shop>:a".to_owned(),
            http: vec![ended(2, 40), ended(5, 2)],
            rejections: [("busy".to_owned(), 1)].into(),
            queued: 3,
            ..Group::default()
        };
        let other = Group { name: "other".to_owned(), is_partial: true, ..Group::default() };
        let embedded = Group { mode: Mode::Embedded, ..Group::default() };
        Snapshot { groups: vec![embedded, shop, other], ..Snapshot::default() }
    }

    #[test]
    fn programs_get_keys_and_values() {
        let text = mod_status(&snapshot(), Form::Auto);
        let lines: Vec<_> = text.lines().filter(|line| line.contains("shop")).collect();
        assert_eq!(
            lines,
            [
                "WSGIRequests[<shop>_a]: 42",
                "WSGIErrors[<shop>_a]: 2",
                "WSGIRejected[<shop>_a]: 1",
                "WSGIBusy[<shop>_a]: 0",
                "WSGIQueued[<shop>_a]: 3",
                "WSGIProcesses[<shop>_a]: 0",
                "WSGIBytesSent[<shop>_a]: 0",
                "WSGIDuration[<shop>_a]: 0.500000",
            ]
        );
        assert!(text.contains("WSGIRequests[%{GLOBAL}]: 0\n") && !text.contains("other"), "{text}");
    }

    #[test]
    fn people_get_escaped_names() {
        for form in [Form::Table, Form::Lines] {
            let html = mod_status(&snapshot(), form);
            assert!(html.contains("&lt;shop&gt;:a") && !html.contains("<shop>"), "{html}");
            assert!(html.contains("42") && !html.contains("other"), "{html}");
        }
        assert_eq!(mod_status(&Snapshot::default(), Form::Table), "");
    }
}
