//! Checks that the dashboard of examples/grafana queries what is exported, and nothing else.

use serde_json::Value;
use status::metrics::{Kind, METRICS, Metric};

const DASHBOARD: &str = include_str!("../../../examples/grafana/mod_wsgi.json");

/// Labels that Prometheus adds.
const ADDED: [&str; 2] = ["instance", "job"];

fn dashboard() -> Value {
    serde_json::from_str(DASHBOARD).expect("the dashboard is JSON")
}

/// Returns the texts of all queries.
fn queries(value: &Value, found: &mut Vec<String>) {
    match value {
        Value::Object(fields) => {
            for (name, value) in fields {
                match value.as_str() {
                    Some(text) if name == "expr" || name == "definition" => found.push(text.to_owned()),
                    _ => queries(value, found),
                }
            }
        }
        Value::Array(values) => values.iter().for_each(|value| queries(value, found)),
        _ => {}
    }
}

/// Returns the words of a query, apart from those within quotes.
fn words(query: &str) -> impl Iterator<Item = &str> {
    let unquoted = query.split('"').step_by(2);
    unquoted.flat_map(|text| text.split(|c: char| !c.is_ascii_alphanumeric() && c != '_'))
}

/// Returns the metric with a name in a query: a histogram has three.
fn metric(name: &str) -> Option<&'static Metric> {
    METRICS.iter().find(|metric| match metric.kind {
        Kind::Histogram => {
            ["_bucket", "_sum", "_count"].iter().any(|end| name.strip_suffix(end) == Some(metric.name))
        }
        Kind::Counter | Kind::UpDownCounter | Kind::Gauge => metric.name == name,
    })
}

/// Returns the names of labels in a query: in front of matchers, and behind `by`.
fn labels(query: &str) -> Vec<&str> {
    let mut found = Vec::new();
    for part in query.split('{').skip(1) {
        let inside = part.split('}').next().unwrap_or_default();
        let names = inside.split('"').step_by(2).map(|text| text.trim_start_matches(',').trim());
        found.extend(names.filter_map(|text| text.split(['=', '!']).next()).filter(|name| !name.is_empty()));
    }
    for part in query.split("by (").skip(1) {
        found.extend(part.split(')').next().unwrap_or_default().split(", "));
    }
    found
}

#[test]
fn each_query_names_metrics_and_labels_that_are_exported() {
    let mut all = Vec::new();
    queries(&dashboard(), &mut all);
    assert!(all.len() > 20, "{all:?}");
    for query in &all {
        let named: Vec<&str> = words(query)
            .filter(|word| word.starts_with("mod_wsgi_") || word.starts_with("http_server_"))
            .collect();
        assert!(!named.is_empty(), "{query}");
        for name in named {
            let metric = metric(name).unwrap_or_else(|| panic!("there is no {name}, in {query}"));
            for label in labels(query) {
                let is_known = metric.labels.contains(&label)
                    || ADDED.contains(&label)
                    || label == "le" && metric.kind == Kind::Histogram;
                assert!(is_known, "{name} has no label {label}, in {query}");
            }
        }
    }
}

#[test]
fn what_tells_of_faults_is_shown() {
    let mut all = Vec::new();
    queries(&dashboard(), &mut all);
    for name in
        ["rejections", "process_crashes", "process_exits", "failed_reloads", "failed_starts", "process_ends"]
    {
        let name = format!("mod_wsgi_{name}_total");
        assert!(all.iter().any(|query| words(query).any(|word| word == name)), "{name}");
    }
}

#[test]
fn panels_have_names_and_places_of_their_own() {
    let dashboard = dashboard();
    let panels = dashboard["panels"].as_array().expect("panels");
    let mut taken = std::collections::HashSet::new();
    let mut ids = std::collections::HashSet::new();
    for panel in panels {
        let title = panel["title"].as_str().unwrap_or_default();
        assert!(!title.is_empty() && ids.insert(panel["id"].as_u64()), "{panel}");
        assert!(panel["type"] == "row" || panel["description"].is_string(), "{title}");
        let place = |name: &str| panel["gridPos"][name].as_u64().expect("a number");
        assert!(place("x") + place("w") <= 24, "{title}");
        for x in place("x")..place("x") + place("w") {
            for y in place("y")..place("y") + place("h") {
                assert!(taken.insert((x, y)), "{title} covers another panel");
            }
        }
    }
}
