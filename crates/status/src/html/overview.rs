//! The figures of the whole server, and what is wrong with it.

use super::chart::{Chart, Line};
use super::markup::{Html, write_html};
use super::{Page, element_id, title};
use crate::figures;
use crate::histogram::Histogram;
use crate::snapshot::Group;
use crate::trend::Trend;

/// Writes the section of the whole server's figures.
pub(super) fn render(page: &Page<'_>, html: &mut Html) {
    let snapshot = page.snapshot;
    let trend = Trend::of_all(snapshot);
    let mut durations = Histogram::default();
    snapshot.groups.iter().for_each(|group| durations.add(&group.durations()));
    let sum = |count: fn(&Group) -> u64| snapshot.groups.iter().map(count).sum::<u64>();
    let recent = trend.recent.unwrap_or_default();
    let share = if recent.rate > 0.0 { recent.error_rate / recent.rate } else { 0.0 };
    let quantile = figures::quantile(&durations, 0.95);
    let tiles = [
        ("Requests per second", figures::decimal(recent.rate)),
        ("Server errors", figures::percent(share)),
        ("Mean time", recent.mean.map_or("–".to_owned(), figures::time)),
        ("95 % within, since start", quantile),
        ("Under way", figures::count(sum(Group::under_way))),
        ("Waiting", figures::count(sum(|group| group.queued))),
        ("Requests since start", figures::count(sum(Group::ended))),
        ("Memory", figures::size(sum(|group| group.processes.iter().map(|process| process.resident).sum()))),
    ];
    write_html!(
        html,
        "<section id=\"overview\" aria-labelledby=\"overview-title\"><h2 id=\"overview-title\">Overview</h2><dl class=\"tiles\">"
    );
    for (name, value) in tiles {
        write_html!(html, "<div><dt>", (name), "</dt><dd>", (value), "</dd></div>");
    }
    write_html!(html, "</dl>");
    charts(&trend, sum(Group::under_way), html);
    write_html!(html, "</section>");
}

/// Writes the charts of the counts of a group or of the server.
pub(super) fn charts(trend: &Trend, under_way: u64, html: &mut Html) {
    let recent = trend.recent.unwrap_or_default();
    let points = &trend.points;
    let times: Vec<_> = points.iter().map(|point| point.time).collect();
    let values =
        |value: fn(&crate::trend::Point) -> Option<f64>| points.iter().map(value).collect::<Vec<_>>();
    let (rates, errors) = (values(|point| Some(point.rate)), values(|point| Some(point.error_rate)));
    let means = values(|point| point.mean);
    let (active, queued) = (values(|point| Some(point.active)), values(|point| Some(point.queued)));
    write_html!(html, "<div class=\"charts\">");
    Chart {
        title: "Requests per second",
        now: &figures::decimal(recent.rate),
        times: &times,
        lines: &[
            Line { class: "calm", is_area: true, values: &rates },
            Line { class: "bad", is_area: true, values: &errors },
        ],
        format: figures::decimal,
    }
    .render(html);
    Chart {
        title: "Mean time",
        now: &recent.mean.map_or("–".to_owned(), figures::time),
        times: &times,
        lines: &[Line { class: "calm", is_area: false, values: &means }],
        format: figures::time,
    }
    .render(html);
    Chart {
        title: "Under way",
        now: &figures::count(under_way),
        times: &times,
        lines: &[
            Line { class: "calm", is_area: true, values: &active },
            Line { class: "bad", is_area: true, values: &queued },
        ],
        format: figures::decimal,
    }
    .render(html);
    write_html!(html, "</div>");
}

/// Writes the section of what is wrong.
pub(super) fn problems(page: &Page<'_>, html: &mut Html) {
    let snapshot = page.snapshot;
    write_html!(
        html,
        "<section id=\"problems\" aria-labelledby=\"problems-title\"><h2 id=\"problems-title\">Problems</h2>"
    );
    if page.problems.is_empty() && snapshot.warnings.is_empty() {
        write_html!(html, "<p class=\"good\">None that the server knows of.</p></section>");
        return;
    }
    write_html!(html, "<ul class=\"problems\">");
    for problem in &page.problems {
        let group = &snapshot.groups[problem.group];
        let id = element_id(group);
        write_html!(
            html,
            "<li data-key=\"",
            (&id),
            "\"><span class=\"badge ",
            (problem.condition.word()),
            "\">",
            (problem.condition.word()),
            "</span> "
        );
        let is_detailed = page.groups.iter().any(|shown| shown.index == problem.group && shown.is_detailed);
        if is_detailed {
            write_html!(html, "<a href=\"#", (&id), "\">");
        } else {
            write_html!(html, "<a href=\"?filter=", (encoded(title(group))), "\">");
        }
        write_html!(html, (title(group)), "</a>: ", (&problem.text), "</li>");
    }
    for warning in &snapshot.warnings {
        write_html!(html, "<li><span class=\"badge warning\">configuration</span> ", (warning), "</li>");
    }
    write_html!(html, "</ul></section>");
}

/// Returns a text for the query of a URL.
pub(super) fn encoded(text: &str) -> String {
    text.bytes().fold(String::with_capacity(text.len()), |mut encoded, byte| {
        if byte.is_ascii_alphanumeric() || b"-._~".contains(&byte) {
            encoded.push(char::from(byte));
        } else {
            use std::fmt::Write as _;
            // Writing to a string does not fail.
            let _ = write!(encoded, "%{byte:02X}");
        }
        encoded
    })
}
