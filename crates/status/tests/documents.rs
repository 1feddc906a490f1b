//! Checks that the document describes all that is served.

use serde_json::Value;
use status::histogram::{BUCKETS, Histogram};
use status::prometheus::METRICS;
use status::snapshot::{
    Ended, Event, EventKind, Group, Mode, Phase, Process, Request, SCHEMA, Sample, Snapshot, State, Times,
};

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

/// Returns the words for the value of a field.
fn kind<'t>(text: &'t str, name: &str) -> Option<&'t str> {
    let row = text.split(&format!("\n| `{name}` | ")).nth(1)?;
    row.split(" | ").next()
}

/// Returns whether a value is what the document says.
fn fits(value: &Value, kind: &str) -> bool {
    let all = |is: fn(&Value) -> bool| value.as_array().is_some_and(|values| values.iter().all(is));
    if let Some(other) = kind.strip_suffix(" or null") {
        return value.is_null() || fits(value, other);
    }
    match kind {
        "number" => value.is_number(),
        "text" => value.is_string(),
        "boolean" => value.is_boolean(),
        "texts" => all(Value::is_string),
        "numbers" => all(Value::is_number),
        "5 numbers" => all(Value::is_number) && value.as_array().map(Vec::len) == Some(5),
        "numbers by name" => value.as_object().is_some_and(|map| map.values().all(Value::is_number)),
        _ if kind.starts_with('`') => {
            value.as_str().is_some_and(|word| kind.split(", ").any(|other| other == format!("`{word}`")))
        }
        _ if kind.ends_with(" objects") => all(Value::is_object),
        _ => kind.starts_with('[') && value.is_object(),
    }
}

fn check(value: &Value, title: &str) {
    let text = section(title);
    let object = value.as_object().unwrap_or_else(|| panic!("{title} is no object"));
    for (name, value) in object {
        let kind = kind(text, name).unwrap_or_else(|| panic!("{title} lacks {name}"));
        assert!(fits(value, kind), "{name} of {title} is {value}, and no {kind}");
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

/// Checks that the words for a field are those of all these values.
fn check_words<T: serde::Serialize>(title: &str, name: &str, values: &[T]) {
    let kind = kind(section(title), name).unwrap_or_else(|| panic!("{title} lacks {name}"));
    for value in values {
        let value = serde_json::to_value(value).expect("plain data");
        assert!(fits(&value, kind), "{name} of {title} lacks {value}");
    }
    assert_eq!(kind.split(", ").count(), values.len(), "{name} of {title} has a word too many");
}

#[test]
fn each_word_is_described() {
    use State::{Cut, Dormant, Failing, Serving, Starting};
    check_words("Group", "mode", &[Mode::Daemon, Mode::Embedded]);
    check_words("Request", "phase", &[Phase::Queued, Phase::Running, Phase::Reading, Phase::Writing]);
    check_words("Process", "state", &[Starting, Serving, Failing, Dormant, Cut]);
    let kinds = [EventKind::Crash, EventKind::FailedStart, EventKind::FailedReload, EventKind::FailedImport];
    check_words("Event", "kind", &[&kinds[..], &[EventKind::Stuck]].concat());
    let causes = section("Group");
    for cause in wsgi_core::ledger::Cause::ALL {
        assert!(causes.contains(&format!("`{}`", cause.name())), "{}", cause.name());
    }
    let reasons = section("Process");
    for reason in wsgi_core::wire::Reason::ALL {
        assert!(reasons.contains(&format!("`{}`", reason.name())), "{}", reason.name());
    }
    assert!(section("The whole").contains(&format!("The version of the schema: {SCHEMA}.")));
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
