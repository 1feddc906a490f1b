//! The last events.

use super::Page;
use super::markup::{Html, write_html};
use crate::figures;
use crate::snapshot::{Event, EventKind};

/// Writes the section of the last events.
pub(super) fn render(page: &Page<'_>, html: &mut Html) {
    let events: Vec<_> = page
        .snapshot
        .events
        .iter()
        .filter(|event| page.admits(&[name(event), &event.text, &event.detail]))
        .collect();
    write_html!(
        html,
        "<section id=\"events\" aria-labelledby=\"events-title\"><h2 id=\"events-title\">Events <span class=\"number\">",
        (events.len()),
        "</span></h2>"
    );
    if events.is_empty() {
        write_html!(
            html,
            "<p class=\"none\">No crashes, failed starts, failed reloads or stuck requests.</p></section>"
        );
        return;
    }
    write_html!(html, "<ol class=\"events\">");
    for event in events {
        item(event, page.snapshot.time, html);
    }
    write_html!(html, "</ol></section>");
}

fn item(event: &Event, now: f64, html: &mut Html) {
    let moment = figures::moment(event.time);
    write_html!(
        html,
        "<li data-key=\"",
        (event.time),
        "-",
        (event.pid),
        "\"><p><time datetime=\"",
        (moment.replace(' ', "T")),
        "Z\">",
        (&moment),
        "</time> <span class=\"ago\">",
        (figures::age(now - event.time)),
        " ago</span> <span class=\"badge failing\">",
        (kind(event.kind)),
        "</span> <strong>",
        (name(event)),
        "</strong>"
    );
    if event.pid != 0 {
        write_html!(html, " process ", (event.pid));
    }
    write_html!(html, "</p><p class=\"cause\">", (&event.text), "</p>");
    if !event.detail.is_empty() {
        write_html!(
            html,
            "<details><summary>",
            (if event.kind == EventKind::Stuck { "Stack of its thread" } else { "Traceback" }),
            "</summary><pre tabindex=\"0\">",
            (&event.detail),
            "</pre></details>"
        );
    }
    write_html!(html, "</li>");
}

fn name(event: &Event) -> &str {
    if event.group.is_empty() { "Embedded mode" } else { &event.group }
}

fn kind(kind: EventKind) -> &'static str {
    match kind {
        EventKind::Crash => "crash",
        EventKind::FailedStart => "failed start",
        EventKind::FailedReload => "failed reload",
        EventKind::FailedImport => "failed import",
        EventKind::Stuck => "stuck request",
    }
}
