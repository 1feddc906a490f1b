//! The requests that are under way.

use super::markup::{Html, write_html};
use super::{Page, title};
use crate::figures;
use crate::problems::plural;
use crate::snapshot::{Group, Phase, Request};

/// The most requests that are listed, and with a filter.
const MOST: usize = 30;
const MOST_FILTERED: usize = 300;

/// The age, in seconds, from which a request stands out, unless the server says which are slow.
const LONG: f64 = 10.0;

/// The word for a request that is slow.
const SLOW: &str = "slow";

/// Writes the section of requests that are under way, the oldest first.
pub(super) fn render(page: &Page<'_>, html: &mut Html) {
    let all = page
        .snapshot
        .groups
        .iter()
        .flat_map(|group| group.requests.iter().map(move |request| (group, request)));
    let mut requests: Vec<_> = all
        .filter(|(group, request)| {
            let mark = if request.slow { SLOW } else { "" };
            let texts =
                [title(group), &request.path, &request.virtual_host, &request.method, &request.id, mark];
            page.admits(&texts)
        })
        .collect();
    let most = if page.needle.is_empty() { MOST } else { MOST_FILTERED };
    requests.sort_by(|(_, one), (_, other)| other.age.total_cmp(&one.age));
    write_html!(
        html,
        "<section id=\"requests\" aria-labelledby=\"requests-title\"><h2 id=\"requests-title\">Requests under way <span class=\"number\">",
        (figures::count(requests.len() as u64)),
        "</span></h2>"
    );
    if requests.is_empty() {
        write_html!(html, "<p class=\"none\">None.</p></section>");
        return;
    }
    write_html!(
        html,
        "<table role=\"table\" class=\"cards\"><caption>What each busy thread does, the oldest request first"
    );
    let (slow_after, slow) =
        (page.snapshot.server.slow_after, requests.iter().filter(|(_, it)| it.slow).count());
    if slow > 0 {
        write_html!(
            html,
            "; ",
            (figures::count(slow as u64)),
            " slow, of ",
            (figures::time(slow_after)),
            " or more"
        );
    }
    write_html!(
        html,
        "</caption><thead role=\"rowgroup\">\
        <tr role=\"row\"><th role=\"columnheader\" scope=\"col\" class=\"n\">Age</th><th role=\"columnheader\" scope=\"col\">Request</th>\
        <th role=\"columnheader\" scope=\"col\">Phase</th><th role=\"columnheader\" scope=\"col\">Group</th>\
        <th role=\"columnheader\" scope=\"col\">Process</th><th role=\"columnheader\" scope=\"col\">Virtual host</th>\
        <th role=\"columnheader\" scope=\"col\">Log id</th></tr></thead><tbody role=\"rowgroup\">"
    );
    for (group, request) in requests.iter().take(most) {
        row(group, request, slow_after, html);
    }
    write_html!(html, "</tbody></table>");
    if let Some(more) = requests.len().checked_sub(most).filter(|more| *more > 0) {
        let what = plural(more as u64, "request", "requests");
        write_html!(
            html,
            "<p class=\"none\">… and ",
            (figures::count(more as u64)),
            " more ",
            (what),
            ": a filter shows more of them.</p>"
        );
    }
    write_html!(html, "</section>");
}

fn row(group: &Group, request: &Request, slow_after: f64, html: &mut Html) {
    let is_long = if slow_after > 0.0 { request.slow } else { request.age >= LONG };
    let long = if is_long { " long" } else { "" };
    let process = match (request.pid, request.slot) {
        (0, _) => "–".to_owned(),
        (pid, Some(slot)) => format!("{pid} (slot {slot})"),
        (pid, None) => pid.to_string(),
    };
    write_html!(
        html,
        "<tr role=\"row\" data-key=\"",
        (request.child),
        "-",
        (&request.id),
        "\"><td role=\"cell\" data-label=\"Age\" class=\"n",
        (long),
        "\">",
        (if request.slow { format!("{SLOW}, ") } else { String::new() }),
        (figures::time(request.age)),
        "</td><td role=\"cell\" data-label=\"Request\" class=\"wide\"><code>",
        (&request.method),
        " ",
        (&request.path),
        "</code></td><td role=\"cell\" data-label=\"Phase\">",
        (phase(request.phase)),
        "</td><td role=\"cell\" data-label=\"Group\"><span class=\"name\">",
        (title(group)),
        "</span></td><td role=\"cell\" data-label=\"Process\">",
        (process),
        "</td><td role=\"cell\" data-label=\"Virtual host\"><span class=\"name\">",
        (shown(&request.virtual_host, "main server")),
        "</span></td><td role=\"cell\" data-label=\"Log id\"><code>",
        (shown(&request.id, "–")),
        "</code></td></tr>"
    );
}

fn phase(phase: Phase) -> &'static str {
    match phase {
        Phase::Queued => "waits for a thread",
        Phase::Running => "runs",
        Phase::Reading => "waits for the client's body",
        Phase::Writing => "sends the response",
    }
}

/// Returns a text, or what stands for an empty one.
pub(super) fn shown<'a>(text: &'a str, otherwise: &'a str) -> &'a str {
    if text.is_empty() { otherwise } else { text }
}
