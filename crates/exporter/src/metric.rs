//! The metrics of a server in the form of OTLP.

use status::Snapshot;
use status::histogram::{BOUNDS, BUCKETS};
use status::metrics::{self, Kind, Sink};

use crate::proto::{
    Data, Gauge, Histogram, HistogramDataPoint, KeyValue, Metric, Number, NumberDataPoint, Sum, Temporality,
};

/// The metric with the time at which a process was started.
const PROCESS_START: &str = "mod_wsgi.process.start_time";

/// Labels that have no attribute where they are empty.
const OPTIONAL: [&str; 3] = ["process_group", "http_response_status_code", "url_scheme"];

/// Returns the metrics of a server. They are of the time `now`, in nanoseconds since the epoch, as
/// counted since `start`.
pub(crate) fn of(snapshot: &Snapshot, start: u64, now: u64) -> Vec<Metric> {
    let mut points = Points { start, now, metrics: Vec::new(), metric: &metrics::METRICS[0] };
    metrics::write(snapshot, &mut points);
    set_starts_of_processes(&mut points.metrics);
    // What is sent has to have points.
    points.metrics.retain(|metric| count(metric) > 0);
    points.metrics
}

/// Sets the time from which the counters of processes count: that of their start. They begin at 0
/// again with the next process of a slot.
fn set_starts_of_processes(metrics: &mut [Metric]) {
    let starts = metrics.iter().find(|metric| metric.name == PROCESS_START);
    let Some(Data::Gauge(starts)) = starts.and_then(|metric| metric.data.clone()) else { return };
    for metric in metrics {
        let Some(Data::Sum(sum)) = &mut metric.data else { continue };
        // They come in the same order.
        let mut starts = starts.data_points.iter().peekable();
        for point in sum.data_points.iter_mut().filter(|point| point.start_time_unix_nano == 0) {
            let start = starts.next_if(|start| start.attributes == point.attributes);
            if let Some(Number::Double(seconds)) = start.and_then(|start| start.value.as_ref()) {
                point.start_time_unix_nano = (seconds * 1e9) as u64;
            }
        }
    }
}

/// Returns the number of points of a metric.
pub(crate) fn count(metric: &Metric) -> usize {
    match &metric.data {
        Some(Data::Gauge(gauge)) => gauge.data_points.len(),
        Some(Data::Sum(sum)) => sum.data_points.len(),
        Some(Data::Histogram(histogram)) => histogram.data_points.len(),
        None => 0,
    }
}

/// The points that are collected.
struct Points {
    start: u64,
    now: u64,
    metrics: Vec<Metric>,
    /// The metric whose values follow.
    metric: &'static metrics::Metric,
}

impl Points {
    /// Returns the data of the metric whose values follow; `None` if it is not sent.
    fn data(&mut self) -> Option<&mut Data> {
        let metric = self.metrics.last_mut().filter(|metric| metric.name == self.metric.otel_name)?;
        metric.data.as_mut()
    }

    /// Returns the time from which a number counts; 0 for one that counts nothing, or of a process
    /// (see [`set_starts_of_processes`]).
    fn start_of_numbers(&self) -> u64 {
        let is_of_process = self.metric.labels.contains(&"slot");
        if self.metric.kind == Kind::Gauge || is_of_process { 0 } else { self.start }
    }

    fn attributes(&self, labels: &[&str]) -> Vec<KeyValue> {
        let mut attributes = Vec::with_capacity(labels.len() + 1);
        let named = || self.metric.labels.iter().copied().zip(labels.iter().copied());
        // What is not known has none: the group of embedded mode, what many requests do not have in common.
        for (name, value) in named().filter(|(name, value)| !value.is_empty() || !OPTIONAL.contains(name)) {
            attributes.push(match name {
                "http_request_method" => KeyValue::text("http.request.method", value),
                "http_response_status_code" => {
                    KeyValue::int("http.response.status_code", value.parse().unwrap_or(0))
                }
                "url_scheme" => KeyValue::text("url.scheme", value),
                name => KeyValue::text(&format!("mod_wsgi.{name}"), value),
            });
        }
        if named().any(|label| label == ("status_class", "5xx")) {
            let code = named().find(|(name, code)| *name == "http_response_status_code" && !code.is_empty());
            attributes.push(KeyValue::text("error.type", code.map_or("_OTHER", |(_, code)| code)));
        }
        attributes
    }
}

impl Sink for Points {
    fn family(&mut self, metric: &'static metrics::Metric) {
        self.metric = metric;
        if metric.otel_name.is_empty() {
            return;
        }
        let aggregation_temporality = Temporality::Cumulative.into();
        let data_points = Vec::new();
        let data = match metric.kind {
            Kind::Counter => Data::Sum(Sum { data_points, aggregation_temporality, is_monotonic: true }),
            Kind::UpDownCounter => {
                Data::Sum(Sum { data_points, aggregation_temporality, is_monotonic: false })
            }
            Kind::Gauge => Data::Gauge(Gauge { data_points }),
            Kind::Histogram => {
                Data::Histogram(Histogram { data_points: Vec::new(), aggregation_temporality })
            }
        };
        self.metrics.push(Metric {
            name: metric.otel_name.to_owned(),
            description: metric.help.to_owned(),
            unit: metric.unit.to_owned(),
            data: Some(data),
        });
    }

    fn number(&mut self, labels: &[&str], value: metrics::Number) {
        let point = NumberDataPoint {
            start_time_unix_nano: self.start_of_numbers(),
            time_unix_nano: self.now,
            value: Some(match value {
                metrics::Number::Count(count) => Number::Int(i64::try_from(count).unwrap_or(i64::MAX)),
                metrics::Number::Measure(measure) => Number::Double(measure),
            }),
            attributes: self.attributes(labels),
        };
        match self.data() {
            Some(Data::Sum(sum)) => sum.data_points.push(point),
            Some(Data::Gauge(gauge)) => gauge.data_points.push(point),
            _ => {}
        }
    }

    fn histogram(&mut self, labels: &[&str], histogram: &status::Histogram) {
        let mut bucket_counts = histogram.buckets.clone();
        // One that has counted nothing has none.
        bucket_counts.resize(BUCKETS, 0);
        let point = HistogramDataPoint {
            start_time_unix_nano: self.start,
            time_unix_nano: self.now,
            count: bucket_counts.iter().sum(),
            sum: Some(histogram.sum),
            bucket_counts,
            explicit_bounds: BOUNDS.to_vec(),
            attributes: self.attributes(labels),
        };
        if let Some(Data::Histogram(histogram)) = self.data() {
            histogram.data_points.push(point);
        }
    }

    fn wants_zeros(&self) -> bool {
        // Points say when they began.
        false
    }
}

#[cfg(test)]
mod tests {
    use status::snapshot::{Ended, Group, Process, State};

    use super::*;

    fn snapshot() -> Snapshot {
        let mut buckets = vec![0; BUCKETS];
        (buckets[0], buckets[BUCKETS - 1]) = (3, 1);
        let duration = status::Histogram { buckets, sum: 12.5 };
        let process = Process {
            pid: 7,
            state: State::Serving,
            started: 0.5,
            cpu: 1.5,
            bytes_out: 9,
            ..Process::default()
        };
        let ended = |code: Option<u16>| Ended {
            method: "GET".to_owned(),
            status_class: code.map_or(5, |code| (code / 100) as u8),
            status_code: code,
            scheme: if code.is_some() { "https" } else { "" }.to_owned(),
            duration: duration.clone(),
        };
        let shop = Group {
            name: "shop".to_owned(),
            http: vec![ended(Some(204)), ended(Some(503)), ended(None)],
            processes: vec![process],
            queued: 2,
            ..Group::default()
        };
        Snapshot { groups: vec![shop], ..Snapshot::default() }
    }

    fn find<'m>(metrics: &'m [Metric], name: &str) -> &'m Metric {
        metrics.iter().find(|metric| metric.name == name).unwrap_or_else(|| panic!("no {name}"))
    }

    #[test]
    fn metrics_have_their_kind_of_data() {
        let metrics = of(&snapshot(), 100, 200);
        let Some(Data::Histogram(histogram)) = &find(&metrics, "http.server.request.duration").data else {
            panic!("{metrics:?}")
        };
        assert_eq!(histogram.aggregation_temporality, Temporality::Cumulative as i32);
        let [good, bad, rest] = &histogram.data_points[..] else { panic!("{histogram:?}") };
        assert_eq!((good.count, good.sum, good.bucket_counts[0]), (4, Some(12.5), 3));
        assert_eq!((good.start_time_unix_nano, good.time_unix_nano), (100, 200));
        assert_eq!(good.bucket_counts.len(), good.explicit_bounds.len() + 1);
        let expected = [
            KeyValue::text("mod_wsgi.process_group", "shop"),
            KeyValue::text("http.request.method", "GET"),
            KeyValue::int("http.response.status_code", 204),
            KeyValue::text("url.scheme", "https"),
            KeyValue::text("mod_wsgi.status_class", "2xx"),
        ];
        assert_eq!(good.attributes, expected);
        assert!(bad.attributes.contains(&KeyValue::text("error.type", "503")));
        let keys: Vec<_> = rest.attributes.iter().map(|attribute| attribute.key.as_str()).collect();
        assert_eq!(
            keys,
            ["mod_wsgi.process_group", "http.request.method", "mod_wsgi.status_class", "error.type"]
        );
        assert!(rest.attributes.contains(&KeyValue::text("error.type", "_OTHER")));
        let Some(Data::Sum(sum)) = &find(&metrics, "mod_wsgi.response.body.io").data else {
            panic!("{metrics:?}")
        };
        assert_eq!((sum.is_monotonic, sum.data_points[0].value), (true, Some(Number::Int(9))));
        let Some(Data::Sum(sum)) = &find(&metrics, "http.server.active_requests").data else {
            panic!("{metrics:?}")
        };
        assert!(!sum.is_monotonic);
        let Some(Data::Sum(sum)) = &find(&metrics, "mod_wsgi.process.cpu.time").data else {
            panic!("{metrics:?}")
        };
        assert_eq!(sum.data_points[0].value, Some(Number::Double(1.5)));
        assert_eq!(sum.data_points[0].start_time_unix_nano, 500_000_000, "since its process was started");
        let Some(Data::Gauge(gauge)) = &find(&metrics, "mod_wsgi.threads.busy").data else {
            panic!("{metrics:?}")
        };
        assert_eq!(gauge.data_points[0].start_time_unix_nano, 0);
    }

    #[test]
    fn names_follow_the_conventions() {
        let mut names: Vec<_> = metrics::METRICS.iter().map(|metric| metric.otel_name).collect();
        names.retain(|name| !name.is_empty());
        for name in &names {
            assert!(name.starts_with("mod_wsgi.") || name.starts_with("http.server."), "{name}");
            assert!(
                !name.ends_with("_total") && !name.ends_with("_seconds") && !name.ends_with("_bytes"),
                "{name}"
            );
        }
        let count = names.len();
        names.sort_unstable();
        names.dedup();
        assert_eq!(names.len(), count);
        assert!(of(&Snapshot::default(), 0, 0).iter().all(|metric| self::count(metric) > 0));
    }
    #[test]
    fn the_document_describes_all() {
        let document = include_str!("../../../docs/opentelemetry.md");
        let sent = metrics::METRICS.iter().filter(|metric| !metric.otel_name.is_empty());
        for metric in sent.clone() {
            let kind = match metric.kind {
                Kind::Counter => "counter",
                Kind::UpDownCounter => "up-down counter",
                Kind::Gauge => "gauge",
                Kind::Histogram => "histogram",
            };
            let start = format!("| `{}` | {kind} | `{}` | ", metric.otel_name, metric.unit);
            let row = document.lines().find(|line| line.starts_with(&start));
            let row = row.unwrap_or_else(|| panic!("no row {start}"));
            assert!(row.ends_with(&format!(" | {} |", metric.help)), "{row}");
        }
        let rows =
            document.lines().filter(|line| line.starts_with("| `mod_wsgi.") || line.starts_with("| `http."));
        assert_eq!(rows.filter(|row| row.matches(" | ").count() == 4).count(), sent.count());
    }
}
