//! The state of a server for Prometheus, in its text format, version 0.0.4.

use std::ffi::CStr;
use std::fmt::{Display, Write};

use crate::Snapshot;
use crate::histogram::{BOUNDS, Histogram};
use crate::metrics::{self, Metric, Number, Sink};

pub use crate::metrics::METRICS;

/// The value of `Content-Type`.
pub const CONTENT_TYPE: &CStr = c"text/plain; version=0.0.4; charset=utf-8";

/// Returns the text.
#[must_use]
pub fn render(snapshot: &Snapshot) -> String {
    let mut text = Text { text: String::with_capacity(64 << 10), metric: &METRICS[0] };
    metrics::write(snapshot, &mut text);
    text.text
}

/// The text that is being written.
struct Text {
    text: String,
    /// The metric whose values follow.
    metric: &'static Metric,
}

impl Sink for Text {
    fn family(&mut self, metric: &'static Metric) {
        let Metric { name, kind, help, .. } = metric;
        // Writing to a string does not fail.
        let _ = write!(self.text, "# HELP {name} {help}\n# TYPE {name} {}\n", kind.word());
        self.metric = metric;
    }

    fn number(&mut self, labels: &[&str], value: Number) {
        match value {
            Number::Count(count) => self.line("", labels, None, count),
            Number::Measure(measure) => self.line("", labels, None, measure),
        }
    }

    fn histogram(&mut self, labels: &[&str], histogram: &Histogram) {
        let mut below = 0;
        for (index, bound) in BOUNDS.iter().enumerate() {
            below += histogram.buckets.get(index).copied().unwrap_or(0);
            self.line("_bucket", labels, Some(&bound.to_string()), below);
        }
        // The last bucket and the count are to be the same, whatever else is counted meanwhile.
        let count = histogram.count();
        self.line("_bucket", labels, Some("+Inf"), count);
        self.line("_sum", labels, None, histogram.sum);
        self.line("_count", labels, None, count);
    }

    fn wants_zeros(&self) -> bool {
        true
    }
}

impl Text {
    fn line(&mut self, suffix: &str, labels: &[&str], bound: Option<&str>, value: impl Display) {
        debug_assert_eq!(labels.len(), self.metric.labels.len(), "{}", self.metric.name);
        self.text.push_str(self.metric.name);
        self.text.push_str(suffix);
        let labels = self.metric.labels.iter().copied().zip(labels.iter().copied());
        let mut separator = '{';
        for (name, value) in labels.chain(bound.map(|bound| ("le", bound))) {
            self.text.push(separator);
            self.text.push_str(name);
            self.text.push_str("=\"");
            push_escaped(&mut self.text, value);
            self.text.push('"');
            separator = ',';
        }
        if separator == ',' {
            self.text.push('}');
        }
        // Writing to a string does not fail.
        let _ = writeln!(self.text, " {value}");
    }
}

/// Appends the value of a label.
fn push_escaped(text: &mut String, value: &str) {
    for character in value.chars() {
        match character {
            '\\' => text.push_str("\\\\"),
            '"' => text.push_str("\\\""),
            '\n' => text.push_str("\\n"),
            other => text.push(other),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::histogram::BUCKETS;
    use crate::metrics::Kind;
    use crate::snapshot::{Ended, Group, Process, Server, State, Times};

    fn snapshot() -> Snapshot {
        let mut buckets = vec![0; BUCKETS];
        (buckets[0], buckets[2], buckets[BUCKETS - 1]) = (3, 2, 1);
        let duration = Histogram { buckets, sum: 12.5 };
        let process = |slot, pid, signal: &str| Process {
            slot,
            pid,
            state: State::Serving,
            resident: 1_000,
            crashes: [(signal.to_owned(), 2)].into(),
            times: Times { queue: duration.clone(), ..Times::default() },
            ..Process::default()
        };
        let shop = Group {
            name: "sh\"o\\p\n".to_owned(),
            threads: 4,
            http: vec![Ended {
                method: "GET".to_owned(),
                status_class: 2,
                status_code: Some(204),
                scheme: "https".to_owned(),
                duration: duration.clone(),
            }],
            rejections: [("busy".to_owned(), 5)].into(),
            processes: vec![process(0, 70, "SIGSEGV"), process(1, 0, "SIGSEGV")],
            ..Group::default()
        };
        let partial = Group { name: "hidden".to_owned(), is_partial: true, ..Group::default() };
        let server = Server { version: "1.2".to_owned(), started: 1_795_753_752.5, ..Server::default() };
        Snapshot { server, groups: vec![shop, partial], ..Snapshot::default() }
    }

    #[test]
    fn samples_have_their_labels_and_values() {
        let text = render(&snapshot());
        for line in [
            "mod_wsgi_info{version=\"1.2\",apache=\"\",mpm=\"\"} 1",
            "mod_wsgi_start_time_seconds 1795753752.5",
            "mod_wsgi_group_info{process_group=\"sh\\\"o\\\\p\\n\",mode=\"daemon\",virtual_host=\"\",user=\"\",python=\"\"} 1",
            "mod_wsgi_rejections_total{process_group=\"sh\\\"o\\\\p\\n\",cause=\"busy\"} 5",
            "mod_wsgi_process_crashes_total{process_group=\"sh\\\"o\\\\p\\n\",signal=\"SIGSEGV\"} 4",
            "mod_wsgi_threads{process_group=\"sh\\\"o\\\\p\\n\"} 8",
            "mod_wsgi_process_resident_memory_bytes{process_group=\"sh\\\"o\\\\p\\n\",slot=\"0\"} 1000",
        ] {
            assert!(text.lines().any(|other| other == line), "no {line} in {text}");
        }
        assert!(!text.contains("hidden"));
        assert!(!text.contains("resident_memory_bytes{process_group=\"sh\\\"o\\\\p\\n\",slot=\"1\"}"));
    }

    #[test]
    fn counters_of_what_should_never_happen_begin_at_zero() {
        let groups = vec![Group { name: "shop".to_owned(), ..Group::default() }];
        let text = render(&Snapshot { groups, ..Snapshot::default() });
        for line in [
            "mod_wsgi_rejections_total{process_group=\"shop\",cause=\"busy\"} 0",
            "mod_wsgi_rejections_total{process_group=\"shop\",cause=\"process_died\"} 0",
            "mod_wsgi_process_crashes_total{process_group=\"shop\",signal=\"SIGKILL\"} 0",
            "mod_wsgi_process_crashes_total{process_group=\"shop\",signal=\"SIGSEGV\"} 0",
        ] {
            assert!(text.lines().any(|other| other == line), "no {line} in {text}");
        }
        let counted = render(&snapshot());
        assert_eq!(counted.matches("signal=\"SIGSEGV\"").count(), 1, "{counted}");
        assert_eq!(counted.matches("cause=\"busy\"").count(), 1, "{counted}");
    }

    #[test]
    fn histograms_are_cumulative() {
        let text = render(&snapshot());
        let values = |suffix: &str| {
            let start = format!("http_server_request_duration_seconds{suffix}{{");
            let lines = text.lines().filter(|line| line.starts_with(&start));
            lines.map(|line| line.rsplit(' ').next().unwrap_or_default().to_owned()).collect::<Vec<_>>()
        };
        let buckets = ["3", "3", "5", "5", "5", "5", "5", "5", "5", "5", "5", "5", "5", "5", "6"];
        assert_eq!(values("_bucket"), buckets);
        assert_eq!((values("_sum"), values("_count")), (vec!["12.5".to_owned()], vec!["6".to_owned()]));
        let labels = "http_request_method=\"GET\",http_response_status_code=\"204\",url_scheme=\"https\",status_class=\"2xx\"";
        assert!(text.contains(&format!("{labels},le=\"0.005\"}} 3\n")));
        assert!(text.contains(&format!("{labels},le=\"+Inf\"}} 6\n")));
        // Those of both processes.
        assert!(
            text.contains("mod_wsgi_request_queue_seconds_count{process_group=\"sh\\\"o\\\\p\\n\"} 12\n")
        );
    }

    #[test]
    fn names_follow_the_rules() {
        let text = render(&snapshot());
        for metric in METRICS {
            let is_counter = metric.kind == Kind::Counter;
            assert_eq!(metric.name.ends_with("_total"), is_counter, "{}", metric.name);
            assert!(metric.help.ends_with('.') && !metric.help.contains(['\\', '\n']));
            assert!(!metric.labels.contains(&"path"));
            let head = format!("# HELP {} ", metric.name);
            let is_timed = matches!(metric.name, "mod_wsgi_configured_time_seconds");
            assert_eq!(text.matches(&head).count(), usize::from(!is_timed), "{}", metric.name);
        }
        assert!(text.ends_with('\n') && !text.contains("\n\n"));
    }
}
