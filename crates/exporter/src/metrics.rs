//! The thread that reports metrics.

use std::sync::Arc;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use wsgi_core::wire::exporter::counts::{ABANDONED, NOT_ACCEPTED, NOT_TAKEN, QUEUE_FULL, SENT};

use crate::counts::Counts;
use crate::delivery::Delivery;
use crate::metric;
use crate::proto::{
    Data, ExportMetricsServiceRequest, KeyValue, Metric, Number, NumberDataPoint, Resource, ResourceMetrics,
    SCHEMA_URL, ScopeMetrics, Sum, Temporality, scope,
};
use crate::state::ServerState;

/// The state of the thread.
#[derive(Debug)]
pub(crate) struct Metrics {
    resource: Resource,
    interval: Duration,
    delivery: Delivery,
    /// `None` if there is no shared memory, which the server's log says.
    state: Option<ServerState>,
    counts: Arc<Counts>,
    /// The time from which counters count, in nanoseconds since the epoch.
    begin: u64,
}

impl Metrics {
    pub(crate) fn new(
        resource: Resource,
        interval: u64,
        delivery: Delivery,
        state: Option<ServerState>,
        counts: Arc<Counts>,
    ) -> Self {
        let begin = state.as_ref().map_or_else(now, ServerState::started);
        Self { resource, interval: Duration::from_millis(interval), delivery, state, counts, begin }
    }

    /// Reports metrics until the program ends, or the generation retires, and another one reports
    /// them; once more then. (However often the server is restarted, there is a report each time.)
    pub(crate) fn run(mut self) {
        loop {
            self.delivery.stop().pause(self.interval);
            // Before the values are read.
            let is_wanted = self.delivery.wait_until_wanted();
            let is_retired = self.delivery.stop().is_retired();
            let is_last = is_retired || self.delivery.stop().has_begun();
            if is_retired && !is_wanted {
                return;
            }
            let (request, points) = self.request();
            self.delivery.deliver(&request, points, self.interval);
            if is_last {
                return;
            }
        }
    }

    /// Returns the message, and the number of its points.
    fn request(&self) -> (ExportMetricsServiceRequest, usize) {
        // Somebody may have set the clock back, and nothing is counted before it began.
        let now = now().max(self.begin);
        let mut metrics = self.own(now);
        if let Some(state) = &self.state {
            metrics.extend(metric::of(&state.snapshot(now), self.begin, now));
        }
        let count = metrics.iter().map(metric::count).sum();
        let scope_metrics = vec![ScopeMetrics { scope: Some(scope()), metrics }];
        let resource_metrics = vec![ResourceMetrics {
            resource: Some(self.resource.clone()),
            scope_metrics,
            schema_url: SCHEMA_URL.to_owned(),
        }];
        (ExportMetricsServiceRequest { resource_metrics }, count)
    }

    /// Returns the metrics of this program.
    fn own(&self, now: u64) -> Vec<Metric> {
        let point = |word: usize, attributes: Vec<KeyValue>| NumberDataPoint {
            start_time_unix_nano: self.begin,
            time_unix_nano: now,
            value: Some(Number::Int(i64::try_from(self.counts.get(word)).unwrap_or(i64::MAX))),
            attributes,
        };
        let reason = |reason: &str| vec![KeyValue::text("reason", reason)];
        let sum = |name: &str, description: &str, data_points: Vec<NumberDataPoint>| Metric {
            name: name.to_owned(),
            description: description.to_owned(),
            unit: "{span}".to_owned(),
            data: Some(Data::Sum(Sum {
                data_points,
                aggregation_temporality: Temporality::Cumulative.into(),
                is_monotonic: true,
            })),
        };
        vec![
            sum(
                "mod_wsgi.spans.sent",
                "Spans that the collector has accepted.",
                vec![point(SENT, Vec::new())],
            ),
            sum(
                "mod_wsgi.spans.dropped",
                "Spans that were lost.",
                vec![
                    point(NOT_TAKEN, reason("not_taken")),
                    point(QUEUE_FULL, reason("queue_full")),
                    point(NOT_ACCEPTED, reason("not_accepted")),
                    point(ABANDONED, reason("exporter_ended")),
                ],
            ),
        ]
    }
}

/// Returns the time in nanoseconds since the epoch.
fn now() -> u64 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    u64::try_from(since.as_nanos()).unwrap_or(u64::MAX)
}

#[cfg(test)]
mod tests {
    use os::shared::LongWords;
    use wsgi_core::wire::exporter::Collector;
    use wsgi_core::wire::exporter::counts::WORDS;

    use super::*;
    use crate::client::Client;

    #[test]
    fn points_are_not_of_a_time_before_they_began() {
        let file = LongWords::create_for_writers(c"test", WORDS).unwrap();
        let client = Client::new(&Collector::default(), &[]);
        let delivery = Delivery::of_metrics(client, Arc::default());
        let counts = Arc::new(Counts::map(&file, 0).unwrap());
        let mut metrics = Metrics::new(Resource::default(), 1_000, delivery, None, counts);
        metrics.begin += 3_600_000_000_000;
        let sent = metrics.request().0.resource_metrics.remove(0).scope_metrics.remove(0).metrics;
        for metric in sent {
            let Some(Data::Sum(sum)) = metric.data else { panic!("{metric:?}") };
            for point in sum.data_points {
                assert!(point.time_unix_nano >= point.start_time_unix_nano, "{point:?}");
            }
        }
    }
}
