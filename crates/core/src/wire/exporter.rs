//! The exporter: what it is to send, and where to; and the counts that it shares with Apache
//! children.

use super::codec::Malformed;
use super::process::{Account, Variable};
use super::record::{self, record};
use super::schema::OwnSchema;

record! {
    /// The configuration of the exporter.
    #[derive(Debug, Clone, PartialEq, Eq, Default)]
    pub struct ExporterPlan {
        /// Comes first: all else is of this build, too.
        pub schema: OwnSchema,
        /// The account to become; `None` where the server was not started as root.
        pub account: Option<Account>,
        /// The lowest level of lines that the error log takes (Apache's numbers).
        pub log_level: u8,
        /// The collector of spans; `None`: there are none.
        pub traces: Option<Collector>,
        /// The collector of metrics; `None`: there are none.
        pub metrics: Option<Collector>,
        /// True if it gets a file with headers, open.
        pub has_headers_file: bool,
        /// True if it gets the state of the server, for metrics: layout, ledger and board.
        pub has_state: bool,
        /// The time between two reports of metrics, in milliseconds.
        pub interval: u64,
        /// The most spans that wait to be sent.
        pub queue: u32,
        /// The most spans of a message.
        pub batch: u32,
        /// The longest time that a span waits for others, in milliseconds.
        pub delay: u64,
        /// Attributes of the resource.
        pub resource: Vec<Variable>,
        /// The process id of Apache's parent.
        pub server_pid: u32,
        /// The number of its generation.
        pub generation: u32,
    }
}

record! {
    /// A collector, as far as one signal is concerned.
    #[derive(Debug, Clone, PartialEq, Eq, Default)]
    pub struct Collector {
        /// The URL to send to.
        pub url: Box<[u8]>,
        /// Headers of requests.
        pub headers: Vec<Variable>,
        /// The longest time that a request may take, in milliseconds.
        pub timeout: u64,
        /// True if messages are compressed.
        pub is_compressed: bool,
        /// A file of certificates to trust; absent: those that the system does.
        pub certificate: Option<Box<[u8]>>,
    }
}

impl ExporterPlan {
    /// Encodes the plan as a message.
    #[must_use]
    pub fn encode(&self) -> Vec<u8> {
        record::encode(self)
    }

    /// Parses a message.
    ///
    /// # Errors
    /// It is no such plan, or one of another schema.
    pub fn decode(message: &[u8]) -> Result<Self, Malformed> {
        record::decode(message)
    }
}

/// Words that Apache children and the exporters of all generations count in, for the life of the
/// server.
pub mod counts {
    use std::sync::atomic::{AtomicU64, Ordering};

    /// Spans that the exporter could not take in time.
    pub const NOT_TAKEN: usize = 0;
    /// Spans that found the exporter's queue full.
    pub const QUEUE_FULL: usize = 1;
    /// Spans that no collector has accepted.
    pub const NOT_ACCEPTED: usize = 2;
    /// Spans that a collector has accepted.
    pub const SENT: usize = 3;
    /// Spans that an exporter had when it ended.
    pub const ABANDONED: usize = 4;
    /// The number of generations so far.
    pub const GENERATIONS: usize = 5;
    /// The words of spans that exporters have now.
    const HELD: usize = 6;
    /// More generations than have exporters at a time. (Those of more would share a word: when one of
    /// them dies, spans of the other count as lost.)
    const HOLDERS: usize = 64;
    /// The number of words.
    pub const WORDS: usize = HELD + HOLDERS;
    /// The words of spans that were lost.
    pub const LOST: [usize; 4] = [NOT_TAKEN, QUEUE_FULL, NOT_ACCEPTED, ABANDONED];

    fn held(words: &[AtomicU64], generation: u32) -> Option<&AtomicU64> {
        words.get(HELD + generation as usize % HOLDERS)
    }

    /// Notes that the exporter of a generation has taken a span.
    pub fn take(words: &[AtomicU64], generation: u32) {
        if let Some(word) = held(words, generation) {
            word.fetch_add(1, Ordering::Relaxed);
        }
    }

    /// Notes that the exporter of a generation is done with so many spans.
    pub fn release(words: &[AtomicU64], generation: u32, count: u64) {
        if let Some(word) = held(words, generation) {
            let less = |held: u64| Some(held.saturating_sub(count));
            // It always has a value to set.
            let _ = word.fetch_update(Ordering::Relaxed, Ordering::Relaxed, less);
        }
    }

    /// Counts the spans as lost that the exporter of a generation had when it ended. Returns their
    /// number.
    pub fn abandon(words: &[AtomicU64], generation: u32) -> u64 {
        let count = held(words, generation).map_or(0, |word| word.swap(0, Ordering::Relaxed));
        if let Some(word) = words.get(ABANDONED) {
            word.fetch_add(count, Ordering::Relaxed);
        }
        count
    }
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicU64, Ordering};

    use super::*;

    #[test]
    fn what_an_exporter_had_is_lost_once() {
        let words: Vec<_> = (0..counts::WORDS).map(|_| AtomicU64::new(0)).collect();
        let lost = || words[counts::ABANDONED].load(Ordering::Relaxed);
        for generation in [3, 3, 3, 4, u32::MAX] {
            counts::take(&words, generation);
        }
        counts::release(&words, 3, 1);
        assert_eq!((counts::abandon(&words, 3), lost()), (2, 2));
        assert_eq!((counts::abandon(&words, 3), lost()), (0, 2));
        counts::release(&words, 4, 5);
        assert_eq!((counts::abandon(&words, 4), counts::abandon(&words, u32::MAX), lost()), (0, 1, 3));
    }

    #[test]
    fn plans_come_back() {
        let text = |text: &str| -> Box<[u8]> { text.as_bytes().into() };
        let collector = Collector {
            url: text("http://127.0.0.1:4318/v1/traces"),
            headers: vec![(text("api-key"), text("secret"))],
            timeout: 10_000,
            is_compressed: true,
            certificate: Some(text("/etc/ca.pem")),
        };
        let plan = ExporterPlan {
            account: Some(Account { uid: 33, gid: 33, supplementary: None }),
            log_level: 6,
            traces: Some(collector),
            has_headers_file: true,
            interval: 60_000,
            queue: 2_048,
            batch: 512,
            delay: 5_000,
            resource: vec![(text("service.name"), text("shop"))],
            server_pid: 77,
            generation: 5,
            ..ExporterPlan::default()
        };
        let message = plan.encode();
        assert_eq!(ExporterPlan::decode(&message), Ok(plan));
        for cut in 0..message.len() {
            assert_eq!(ExporterPlan::decode(&message[..cut]), Err(Malformed), "cut at {cut}");
        }
    }
}
