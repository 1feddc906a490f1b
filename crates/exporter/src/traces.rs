//! The thread that sends spans.

use std::sync::Arc;
use std::time::Duration;

use wsgi_core::wire::exporter::counts::{NOT_ACCEPTED, SENT};
use wsgi_core::wire::span::Span as Record;

use crate::counts::Counts;
use crate::delivery::Delivery;
use crate::proto::{ExportTraceServiceRequest, Resource, ResourceSpans, SCHEMA_URL, ScopeSpans, scope};
use crate::queue::Queue;
use crate::span;

/// The time for which a message of spans is tried to be sent.
const PATIENCE: Duration = Duration::from_secs(60);

/// The state of the thread.
#[derive(Debug)]
pub(crate) struct Traces {
    resource: Resource,
    queue: Arc<Queue>,
    delivery: Delivery,
    counts: Arc<Counts>,
}

impl Traces {
    pub(crate) const fn new(
        resource: Resource,
        queue: Arc<Queue>,
        delivery: Delivery,
        counts: Arc<Counts>,
    ) -> Self {
        Self { resource, queue, delivery, counts }
    }

    /// Sends spans until the program ends.
    pub(crate) fn run(mut self) {
        while let Some(batch) = self.queue.take(self.delivery.stop()) {
            let request = request(&self.resource, &batch);
            let lost = self.delivery.deliver(&request, batch.len(), PATIENCE);
            self.counts.add(NOT_ACCEPTED, lost);
            self.counts.add(SENT, batch.len() - lost);
            self.counts.release(batch.len());
        }
    }
}

/// Returns the message with these spans.
fn request(resource: &Resource, batch: &[Box<[u8]>]) -> ExportTraceServiceRequest {
    let spans = batch.iter().filter_map(|datagram| Record::decode(datagram).ok());
    let scope_spans =
        vec![ScopeSpans { scope: Some(scope()), spans: spans.map(|record| span::of(&record)).collect() }];
    ExportTraceServiceRequest {
        resource_spans: vec![ResourceSpans {
            resource: Some(resource.clone()),
            scope_spans,
            schema_url: SCHEMA_URL.to_owned(),
        }],
    }
}
