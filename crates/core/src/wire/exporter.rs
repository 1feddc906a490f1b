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
    /// Spans that the exporter could not take in time.
    pub const NOT_TAKEN: usize = 0;
    /// Spans that found the exporter's queue full.
    pub const QUEUE_FULL: usize = 1;
    /// Spans that no collector has accepted.
    pub const NOT_ACCEPTED: usize = 2;
    /// Spans that a collector has accepted.
    pub const SENT: usize = 3;
    /// The number of words.
    pub const WORDS: usize = 4;
    /// The words of spans that were lost.
    pub const LOST: [usize; 3] = [NOT_TAKEN, QUEUE_FULL, NOT_ACCEPTED];
}

#[cfg(test)]
mod tests {
    use super::*;

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
            ..ExporterPlan::default()
        };
        let message = plan.encode();
        assert_eq!(ExporterPlan::decode(&message), Ok(plan));
        for cut in 0..message.len() {
            assert_eq!(ExporterPlan::decode(&message[..cut]), Err(Malformed), "cut at {cut}");
        }
    }
}
