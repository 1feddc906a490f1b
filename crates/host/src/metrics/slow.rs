//! Slow requests, while they run and when they have ended.

use std::time::Duration;

use bridge::{Cgi, Request, RequestFacts, flag};
use os::usage::{self, Cpu};
use wsgi_core::metrics::{Begun, Completed};
use wsgi_core::telemetry::{SlowRequest, SlowState, SlowText, SlowTexts};

use super::record::{Record, phases};
use crate::process;
use crate::settings::Telemetry;

/// The request that a thread is serving.
#[derive(Clone, Default)]
pub(crate) struct Active {
    /// Tells it from others of the thread: see [`wsgi_core::metrics::Seen::running`].
    pub(super) mark: u64,
    pub(crate) request: SlowRequest,
    /// The times when the server read it, it was put into a queue, and a daemon took it from there.
    received: (i64, i64, i64),
}

/// A slow request that has ended.
pub(crate) struct Ended {
    pub(crate) request: SlowRequest,
    pub(crate) state: SlowState,
    pub(crate) duration: Duration,
}

/// The part of a recording that is for slow requests.
pub(super) struct SlowRecording {
    settings: &'static Telemetry,
    threshold: Duration,
    start: i64,
    /// Requests that ran at its beginning, with it.
    active: u64,
    cpu: Option<Cpu>,
}

impl SlowRecording {
    /// Begins, if slow requests are reported. Describes the request for readers, unless it is
    /// within another one.
    pub(super) fn begin(record: &Record, request: &Request<'_>, begun: Begun) -> Option<Self> {
        let process = process::process()?;
        let settings = process.settings.telemetry.as_ref()?;
        let threshold = Duration::from_secs_f64(settings.slow_requests?);
        let (start, active) = (os::clock::microseconds(), process.requests.active());
        if begun.is_outermost() {
            record.active.add(|place| {
                place.mark = begun.mark();
                let facts = &request.facts;
                place.received = (facts.request_start, facts.queue_start, facts.daemon_start);
                place.request.start = start;
                place.request.thread = record.id;
                place.request.server = facts.server_pid;
                place.request.active = active;
                describe(&mut place.request.texts, request, settings);
            });
        }
        Some(Self { settings, threshold, start, active, cpu: usage::thread_cpu() })
    }

    /// Ends. Returns the request, with the number of those that are kept, if it was slow.
    pub(super) fn end(
        self,
        record: &Record,
        request: &Request<'_>,
        duration: Duration,
        completed: Option<&Completed>,
    ) -> Option<(Ended, usize)> {
        if duration < self.threshold {
            return None;
        }
        let cpu = self.cpu.zip(usage::thread_cpu()).map(|(begin, end)| end.since(begin)).unwrap_or_default();
        let mut slow = SlowRequest {
            texts: SlowTexts::default(),
            start: self.start,
            thread: record.id,
            server: request.facts.server_pid,
            active: self.active,
            // Without an application, it is the script that was slow, or the wait for it.
            phases: phases(&request.facts, (os::clock::microseconds(), 0)),
            cpu: (cpu.user, cpu.system),
            ..SlowRequest::default()
        };
        describe(&mut slow.texts, request, self.settings);
        let mut status = 500;
        if let Some(completed) = completed {
            slow.phases = completed.phases;
            (slow.gil_waits, slow.input, slow.output) =
                (completed.gil_waits, completed.input, completed.output);
            status = completed.status;
        }
        let active = process::process().map_or(0, |process| process.requests.active());
        let ended = Ended { request: slow, state: SlowState::Completed { status, active }, duration };
        Some((ended, self.settings.kept_slow_requests(self.threshold)))
    }
}

impl Active {
    /// Returns a copy with the phases up to now. The application was called at `application_start`;
    /// 0: it has not been yet.
    pub(super) fn with_phases(&self, application_start: i64) -> Self {
        let mut copy = self.clone();
        let (request_start, queue_start, daemon_start) = self.received;
        let now = os::clock::microseconds();
        let application = if application_start == 0 { (now, 0) } else { (application_start, now) };
        copy.request.phases = wsgi_core::metrics::Phases::between(&wsgi_core::metrics::Stamps {
            request_start,
            queue_start,
            daemon_start,
            application_start: application.0,
            application_finish: application.1,
        });
        copy
    }
}

/// Describes a request. The query string is left out: it may have secrets.
fn describe(texts: &mut SlowTexts, request: &Request<'_>, settings: &Telemetry) {
    let facts = &request.facts;
    let cgi = |variable: Cgi| facts.variable(variable).or_empty();
    let scheme: &[u8] = if facts.has_flag(flag::HTTPS) { b"https" } else { b"http" };
    texts.clear();
    texts.add(SlowText::LogId, facts.request_id.or_empty());
    texts.add(SlowText::Method, cgi(Cgi::RequestMethod));
    texts.add(SlowText::Scheme, scheme);
    texts.add(SlowText::Hostname, hostname(header(facts, b"Host")));
    texts.add(SlowText::ScriptName, request.script_name.or_empty());
    texts.add(SlowText::PathInfo, request.path_info.or_empty());
    texts.add(SlowText::Protocol, cgi(Cgi::ServerProtocol));
    texts.add(SlowText::PeerIp, cgi(Cgi::RemoteAddr));
    if settings.user_agent {
        texts.add(SlowText::UserAgent, header(facts, b"User-Agent"));
    }
}

/// Returns the name or address of a `Host`, without brackets and port.
fn hostname(host: &[u8]) -> &[u8] {
    if let Some(address) = host.strip_prefix(b"[") {
        let end = address.iter().position(|byte| *byte == b']').unwrap_or(address.len());
        return &address[..end];
    }
    let end = host.iter().rposition(|byte| *byte == b':').unwrap_or(host.len());
    &host[..end]
}

fn header<'a>(facts: &RequestFacts<'a>, name: &[u8]) -> &'a [u8] {
    let mut headers = facts.headers.as_slice().iter();
    let found = headers.find(|field| field.name.or_empty().eq_ignore_ascii_case(name));
    found.map(|field| field.value.or_empty()).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::hostname;

    #[test]
    fn hosts_lose_brackets_and_ports() {
        let cases = [("a.test", "a.test"), ("a.test:80", "a.test"), ("[::1]", "::1"), ("[::1]:80", "::1")];
        for (host, expected) in cases.into_iter().chain([("", ""), ("[", ""), (":80", "")]) {
            assert_eq!(hostname(host.as_bytes()), expected.as_bytes(), "{host}");
        }
    }
}
