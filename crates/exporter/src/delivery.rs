//! The delivery of messages: again and again for a while, if the collector does not take them.

use std::fmt::Display;
use std::sync::Arc;
use std::time::{Duration, Instant};

use prost::Message;
use wsgi_core::codes::COLLECTOR_FAILED;
use wsgi_core::level::Level;

use crate::client::{Answer, Client};
use crate::log;
use crate::stop::Stop;

/// The first pause before another try; each is twice as long as the one before.
const FIRST_PAUSE: Duration = Duration::from_millis(1_000);
/// The longest pause that nobody has asked for.
const LONGEST_PAUSE: Duration = Duration::from_secs(30);
/// The least time between two complaints.
const COMPLAINT_INTERVAL: Duration = Duration::from_secs(60);

/// The way to a collector, for one signal.
#[derive(Debug)]
pub(crate) struct Delivery {
    /// The name of its content, for messages.
    what: &'static str,
    client: Client,
    stop: Arc<Stop>,
    complaint: Complaint,
}

/// The complaint about a collector, which is made once.
#[derive(Debug, Default)]
struct Complaint {
    /// The last reason, and the time when it was logged.
    last: Option<(String, Instant)>,
}

impl Delivery {
    pub(crate) const fn new(what: &'static str, client: Client, stop: Arc<Stop>) -> Self {
        Self { what, client, stop, complaint: Complaint { last: None } }
    }

    /// Returns the state of the program.
    pub(crate) fn stop(&self) -> &Stop {
        &self.stop
    }

    /// Delivers a message of so many items, and tries again for this time at most. Returns how many
    /// of them the collector has not taken.
    pub(crate) fn deliver(&mut self, message: &impl Message, items: usize, patience: Duration) -> usize {
        let (message, end) = (self.client.encode(message), Instant::now() + patience);
        let mut pause = FIRST_PAUSE;
        loop {
            let timeout = self.stop.limit(self.client.timeout());
            if timeout.is_zero() {
                return items;
            }
            match self.client.send(&message, timeout) {
                Answer::Accepted => {
                    self.on_success();
                    return 0;
                }
                Answer::PartlyRejected(count, reason) => {
                    let count = usize::try_from(count).unwrap_or(items).min(items);
                    self.complain(&format!("has rejected a part of what it was sent: {reason}"));
                    return count;
                }
                Answer::Rejected(reason) => {
                    self.complain(&format!("does not take what it is sent: {reason}"));
                    return items;
                }
                Answer::Later(reason, wanted) => {
                    self.complain(&format!("cannot be reached or is busy: {reason}"));
                    let pause_now = wanted.unwrap_or_else(|| jittered(pause));
                    if self.stop.has_begun() || Instant::now() + pause_now > end {
                        return items;
                    }
                    self.stop.pause(pause_now);
                    pause = (2 * pause).min(LONGEST_PAUSE);
                }
            }
        }
    }

    fn complain(&mut self, reason: &str) {
        let (what, url) = (self.what, self.client.url());
        if self.complaint.is_due(reason) {
            let rest = "What waits for too long is dropped and counted; requests are not affected";
            write(
                COLLECTOR_FAILED.level,
                format_args!(
                    "{COLLECTOR_FAILED}: the OpenTelemetry collector of {what}, {url}, {reason}. {rest}"
                ),
            );
        }
    }

    fn on_success(&mut self) {
        if self.complaint.last.take().is_some() {
            let (what, url) = (self.what, self.client.url());
            write(
                Level::Info,
                format_args!("The OpenTelemetry collector of {what}, {url}, takes them again"),
            );
        }
    }
}

fn write(level: Level, text: impl Display) {
    log::write(level, text);
}

/// Returns a pause of a random length, between a half and all of this one: the exporters of many
/// servers must not come back at the same time.
fn jittered(pause: Duration) -> Duration {
    let half = pause / 2;
    half + half.mul_f64((os::random::number() >> 11) as f64 / (1_u64 << 53) as f64)
}

impl Complaint {
    /// Returns whether a reason is to be logged: it is new, and the last one is some time ago.
    fn is_due(&mut self, reason: &str) -> bool {
        let is_due = match &self.last {
            None => true,
            Some((last, time)) => last != reason && time.elapsed() >= COMPLAINT_INTERVAL,
        };
        if is_due {
            self.last = Some((reason.to_owned(), Instant::now()));
        }
        is_due
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_complaint_is_made_once() {
        let mut complaint = Complaint::default();
        assert!(complaint.is_due("down"));
        assert!(!complaint.is_due("down") && !complaint.is_due("busy"), "too soon");
        complaint.last = None;
        assert!(complaint.is_due("down"), "after it has worked");
    }

    #[test]
    fn pauses_are_spread() {
        let pauses: Vec<_> = (0..50).map(|_| jittered(Duration::from_secs(2))).collect();
        assert!(pauses.iter().all(|pause| (1.0..=2.0).contains(&pause.as_secs_f64())));
        assert!(pauses.iter().any(|pause| *pause != pauses[0]));
    }
}
