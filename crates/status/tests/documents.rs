//! Checks that the document describes all that is served.

use status::histogram::{BUCKETS, Histogram};
use status::prometheus::METRICS;
use status::snapshot::{Ended, Event, Group, Process, Request, Sample, Snapshot, Times};

const DOCUMENT: &str = include_str!("../../../docs/status.md");

/// Returns a snapshot in which no list is empty.
fn full() -> Snapshot {
    let histogram = || Histogram { buckets: vec![0; BUCKETS], sum: 0.0 };
    let times = Times { queue: histogram(), ..Times::default() };
    let process = Process { times, ..Process::default() };
    let group = Group {
        http: vec![Ended { duration: histogram(), ..Ended::default() }],
        requests: vec![Request::default()],
        processes: vec![process],
        history: vec![Sample::default()],
        ..Group::default()
    };
    Snapshot { groups: vec![group], events: vec![Event::default()], ..Snapshot::default() }
}

/// Returns the section of an object.
fn section(title: &str) -> &'static str {
    let start = DOCUMENT.find(&format!("### {title}\n")).unwrap_or_else(|| panic!("no section {title}"));
    let text = &DOCUMENT[start + 4..];
    text.find("\n#").map_or(text, |end| &text[..end])
}

fn check(value: &serde_json::Value, title: &str) {
    let text = section(title);
    let object = value.as_object().unwrap_or_else(|| panic!("{title} is no object"));
    for name in object.keys() {
        assert!(text.contains(&format!("\n| `{name}` | ")), "{title} lacks {name}");
    }
    let rows = text.lines().filter(|line| line.starts_with("| `")).count();
    assert_eq!(rows, object.len(), "{title} has a field too many");
}

#[test]
fn each_field_is_described() {
    let value = serde_json::to_value(full()).expect("plain data");
    let (group, event) = (&value["groups"][0], &value["events"][0]);
    let process = &group["processes"][0];
    for (value, title) in [
        (&value, "The whole"),
        (&value["server"], "Server"),
        (group, "Group"),
        (&group["http"][0], "Ended"),
        (&group["requests"][0], "Request"),
        (process, "Process"),
        (&process["times"], "Times"),
        (&process["times"]["queue"], "Histogram"),
        (&group["history"][0], "Sample"),
        (event, "Event"),
    ] {
        check(value, title);
    }
}

#[test]
fn each_metric_is_described() {
    for metric in METRICS {
        let labels: Vec<_> = metric.labels.iter().map(|label| format!("`{label}`")).collect();
        let labels = if labels.is_empty() { "–".to_owned() } else { labels.join(", ") };
        let row = format!("| `{}` | {} | {labels} | {} |\n", metric.name, metric.kind.word(), metric.help);
        assert!(DOCUMENT.contains(&row), "docs/status.md lacks\n{row}");
    }
    let rows = DOCUMENT
        .lines()
        .filter(|line| line.starts_with("| `mod_wsgi_") || line.starts_with("| `http_server"));
    assert_eq!(rows.count(), METRICS.len());
}
