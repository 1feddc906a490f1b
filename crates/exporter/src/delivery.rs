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
    /// True if another one takes its place when the generation retires.
    is_replaced: bool,
    complaint: Complaint,
    /// The time until which the collector has asked not to be sent anything.
    resume: Option<Instant>,
}

/// The complaint about a collector, which is made once. However often the collector fails and works
/// again, there is one in a while, and one line that it works after each.
#[derive(Debug, Default)]
struct Complaint {
    /// The last reason that was logged; `None` if it was logged since that the collector works.
    last: Option<String>,
    /// The time of the last complaint.
    time: Option<Instant>,
}

impl Delivery {
    /// Creates the way of spans.
    pub(crate) const fn of_spans(client: Client, stop: Arc<Stop>) -> Self {
        Self::new("spans", client, stop, false)
    }

    /// Creates the way of metrics, which another generation reports when this one retires.
    pub(crate) const fn of_metrics(client: Client, stop: Arc<Stop>) -> Self {
        Self::new("metrics", client, stop, true)
    }

    const fn new(what: &'static str, client: Client, stop: Arc<Stop>, is_replaced: bool) -> Self {
        let complaint = Complaint { last: None, time: None };
        Self { what, client, stop, is_replaced, complaint, resume: None }
    }

    /// Returns the state of the program.
    pub(crate) fn stop(&self) -> &Stop {
        &self.stop
    }

    /// Delivers a message of so many items, when the collector wants one, and tries again for this
    /// time at most. Returns how many of them the collector has not taken.
    pub(crate) fn deliver(&mut self, message: &impl Message, items: usize, patience: Duration) -> usize {
        let (message, end) = (self.client.encode(message), Instant::now() + patience);
        let (mut pause, mut was_broken) = (FIRST_PAUSE, false);
        loop {
            self.wait_until_wanted();
            let timeout = self.stop.limit(self.client.timeout());
            if timeout.is_zero() {
                return items;
            }
            let (reason, wanted) = match self.client.send(&message, timeout) {
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
                // Over a new connection, at once: it may be no fault, and the last chance.
                Answer::Broken(_) if !was_broken => {
                    was_broken = true;
                    continue;
                }
                Answer::Broken(reason) => (reason, None),
                Answer::Later(reason, wanted) => (reason, wanted),
            };
            self.complain(&format!("cannot be reached or is busy: {reason}"));
            let pause_now = next_pause(pause, wanted);
            // What comes next is not to be sent before that, either.
            self.resume = wanted.map(|_| Instant::now() + pause_now);
            if self.is_given_up()
                || self.stop.limit(pause_now) < pause_now
                || Instant::now() + pause_now > end
            {
                return items;
            }
            self.stop.pause_before_try(pause_now);
            pause = (2 * pause).min(LONGEST_PAUSE);
        }
    }

    /// Waits until the collector wants to be sent something again, or no time is left. Returns whether
    /// it wants that.
    pub(crate) fn wait_until_wanted(&mut self) -> bool {
        let Some(time) = self.resume.take() else { return true };
        while !self.is_given_up() {
            let left = self.stop.limit(time.saturating_duration_since(Instant::now()));
            if left.is_zero() {
                break;
            }
            self.stop.pause_before_try(left);
        }
        time <= Instant::now()
    }

    /// Returns whether there are no more tries.
    fn is_given_up(&self) -> bool {
        self.stop.is_hurried() || (self.is_replaced && self.stop.is_retired())
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
        if self.complaint.is_over() {
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

/// Returns the next pause: a random one, or that which the collector has asked for if it is longer.
fn next_pause(pause: Duration, wanted: Option<Duration>) -> Duration {
    wanted.unwrap_or_default().max(jittered(pause))
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
        let is_new = self.last.as_deref() != Some(reason);
        let is_due = is_new && self.time.is_none_or(|time| time.elapsed() >= COMPLAINT_INTERVAL);
        if is_due {
            (self.last, self.time) = (Some(reason.to_owned()), Some(Instant::now()));
        }
        is_due
    }

    /// Returns whether it is to be logged that the collector works: there was a complaint.
    fn is_over(&mut self) -> bool {
        self.last.take().is_some()
    }
}

#[cfg(test)]
mod tests {
    use std::io::{Read as _, Write as _};
    use std::net::TcpListener;

    use wsgi_core::wire::exporter::Collector;

    use super::*;
    use crate::proto::ExportTraceServiceRequest;

    /// Returns a delivery to a collector that gives these answers, each over its own connection; and
    /// the thread of that, which ends after the last.
    fn delivery(answers: &[&str]) -> (Delivery, std::thread::JoinHandle<()>) {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let url = format!("http://{}/", listener.local_addr().unwrap());
        let answers: Vec<_> = answers.iter().map(|&answer| answer.to_owned()).collect();
        let thread = std::thread::spawn(move || {
            for answer in answers {
                let mut stream = listener.accept().unwrap().0;
                let (mut request, mut buffer) = (Vec::<u8>::new(), [0; 1024]);
                while !request.windows(4).any(|end| end == b"\r\n\r\n") {
                    let count = stream.read(&mut buffer).unwrap();
                    request.extend(&buffer[..count]);
                }
                stream.write_all(answer.as_bytes()).unwrap();
            }
        });
        let collector = Collector { url: url.into_bytes().into(), timeout: 10_000, ..Collector::default() };
        (Delivery::of_spans(Client::new(&collector, &[]), Arc::default()), thread)
    }

    #[test]
    fn what_comes_next_waits_for_as_long_as_the_collector_has_asked() {
        let (mut delivery, thread) = delivery(&[
            "HTTP/1.1 429 Busy\r\nRetry-After: 120\r\nContent-Length: 0\r\nConnection: close\r\n\r\n",
            "HTTP/1.1 200 OK\r\nContent-Length: 0\r\nConnection: close\r\n\r\n",
        ]);
        let message = ExportTraceServiceRequest::default();
        assert_eq!(delivery.deliver(&message, 3, Duration::from_secs(60)), 3);
        let until = delivery.resume.map(|time| time.saturating_duration_since(Instant::now()));
        assert!(until > Some(Duration::from_secs(60)), "{until:?}");
        // The last chance is taken.
        delivery.stop.hurry();
        assert_eq!(delivery.deliver(&message, 3, Duration::from_secs(60)), 0);
        assert_eq!(delivery.resume, None);
        thread.join().unwrap();
    }

    #[test]
    fn a_connection_that_breaks_costs_nothing() {
        let (mut delivery, thread) =
            delivery(&["", "HTTP/1.1 200 OK\r\nContent-Length: 0\r\nConnection: close\r\n\r\n"]);
        // There is no other chance.
        delivery.stop.hurry();
        assert_eq!(delivery.deliver(&ExportTraceServiceRequest::default(), 3, Duration::from_secs(60)), 0);
        assert_eq!(delivery.complaint.last, None);
        thread.join().unwrap();
    }

    #[test]
    fn an_answer_that_breaks_off_is_none() {
        let (mut delivery, thread) = delivery(&[
            "HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\nabc",
            "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n10\r\nabc",
            "HTTP/1.1 400 Bad\r\nContent-Length: 100\r\n\r\nabc",
        ]);
        let message = ExportTraceServiceRequest::default();
        // No time for another try.
        for is_later in [true, true, false] {
            assert_eq!(delivery.deliver(&message, 3, Duration::ZERO), 3);
            let reason = delivery.complaint.last.take().unwrap_or_default();
            assert_eq!(reason.contains("its answer breaks off"), is_later, "{reason}");
            delivery.complaint.time = None;
        }
        thread.join().unwrap();
    }

    #[test]
    fn a_complaint_is_made_once() {
        let mut complaint = Complaint::default();
        assert!(!complaint.is_over());
        assert!(complaint.is_due("down"));
        assert!(!complaint.is_due("down") && !complaint.is_due("busy"), "too soon");
        assert!(complaint.is_over());
        assert!(!complaint.is_due("down") && !complaint.is_over(), "one that comes and goes is no news");
        complaint.time = complaint.time.and_then(|time| time.checked_sub(COMPLAINT_INTERVAL));
        assert!(complaint.is_due("down"), "after it has worked for a while");
    }

    #[test]
    fn a_collector_can_ask_for_more_time_but_not_for_less() {
        let second = Duration::from_secs(1);
        assert_eq!(next_pause(second, Some(7 * second)), 7 * second);
        for wanted in [None, Some(Duration::ZERO)] {
            assert!(next_pause(second, wanted) >= second / 2);
        }
    }

    #[test]
    fn pauses_are_spread() {
        let pauses: Vec<_> = (0..50).map(|_| jittered(Duration::from_secs(2))).collect();
        assert!(pauses.iter().all(|pause| (1.0..=2.0).contains(&pause.as_secs_f64())));
        assert!(pauses.iter().any(|pause| *pause != pauses[0]));
    }
}
