//! Requests to a collector, by OTLP over HTTP.

use std::io::{self, Write as _};
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use flate2::Compression;
use flate2::write::GzEncoder;
use prost::Message;
use ureq::http::StatusCode;
use ureq::tls::{Certificate, PemItem, RootCerts, TlsConfig, parse_pem};
use ureq::unversioned::transport::DefaultConnector;
use ureq::{Agent, Body};
use wsgi_core::codes::OPENTELEMETRY_NOT_SET_UP;
use wsgi_core::wire::exporter::Collector;

use crate::headers::is_header;
use crate::log;
use crate::proto::{ExportServiceResponse, PartialSuccess, RpcStatus};
use crate::resolver::NameResolver;

/// The most of an answer that is read.
const LONGEST_ANSWER: u64 = 64 << 10;
/// The longest text of an answer that is logged.
const LONGEST_TEXT: usize = 300;
/// The longest time that a collector may ask to wait.
const LONGEST_PAUSE: Duration = Duration::from_secs(300);
/// The longest time for which a connection is kept that is not used.
const LONGEST_IDLE: Duration = Duration::from_secs(3);
/// Files of certificates that systems trust.
const TRUSTED: [&str; 5] = [
    "/etc/ssl/certs/ca-certificates.crt",
    "/etc/pki/tls/certs/ca-bundle.crt",
    "/etc/pki/ca-trust/extracted/pem/tls-ca-bundle.pem",
    "/etc/ssl/ca-bundle.pem",
    "/etc/ssl/cert.pem",
];

/// Headers that say how a message is sent: one of somebody else's would make it another message.
const OWN_HEADERS: [&str; 5] =
    ["Connection", "Content-Encoding", "Content-Length", "Content-Type", "Transfer-Encoding"];

/// The client of one collector.
#[derive(Debug)]
pub(crate) struct Client {
    url: String,
    headers: Vec<(String, String)>,
    timeout: Duration,
    is_compressed: bool,
    /// The reason why nothing can be sent at all, if there is one.
    agent: Result<Agent, String>,
}

/// The answer of a collector.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Answer {
    /// It has taken all.
    Accepted,
    /// It has taken all but so many, for this reason.
    PartlyRejected(u64, String),
    /// It will not take this.
    Rejected(String),
    /// The connection has broken before there was an answer. A collector closes connections that are not
    /// used, at times when the next message is already under way.
    Broken(String),
    /// It may take it another time, not before this pause if it names one.
    Later(String, Option<Duration>),
}

impl Client {
    /// Creates the client of a collector, with these headers besides its own.
    pub(crate) fn new(collector: &Collector, more: &[(String, String)]) -> Self {
        let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
        let url = text(&collector.url);
        let mut headers: Vec<(String, String)> = Vec::new();
        let own = collector.headers.iter().map(|(name, value)| (text(name), text(value)));
        for (name, value) in own.chain(more.iter().cloned()) {
            if !is_header(&name, &value) {
                let text = format_args!(
                    "{OPENTELEMETRY_NOT_SET_UP}: a header of OTEL_EXPORTER_OTLP_HEADERS is no header of HTTP, and is not sent"
                );
                log::write(OPENTELEMETRY_NOT_SET_UP.level, text);
                continue;
            }
            if let Some(own) = OWN_HEADERS.iter().find(|own| own.eq_ignore_ascii_case(&name)) {
                let text = format_args!(
                    "{OPENTELEMETRY_NOT_SET_UP}: the header {own} for a collector is ignored, since the exporter knows it. Take it out \
                     of headers-file= or OTEL_EXPORTER_OTLP_HEADERS"
                );
                log::write(OPENTELEMETRY_NOT_SET_UP.level, text);
                continue;
            }
            headers.retain(|(other, _)| !other.eq_ignore_ascii_case(&name));
            headers.push((name, value));
        }
        let agent = tls(collector, &url).map(|tls| {
            let config = Agent::config_builder()
                .tls_config(tls)
                .http_status_as_error(false)
                .max_redirects(0)
                .user_agent(concat!("OTel-OTLP-Exporter-mod_wsgi-rs/", env!("CARGO_PKG_VERSION")))
                .max_idle_connections(1)
                // Shorter than any server keeps one: what it has closed meanwhile would be a failure.
                .max_idle_age(LONGEST_IDLE)
                .build();
            Agent::with_parts(config, DefaultConnector::default(), NameResolver::default())
        });
        Self {
            url,
            headers,
            timeout: Duration::from_millis(collector.timeout),
            is_compressed: collector.is_compressed,
            agent,
        }
    }

    /// Returns the URL, for messages.
    pub(crate) fn url(&self) -> &str {
        &self.url
    }

    /// Returns the longest time that a request may take.
    pub(crate) const fn timeout(&self) -> Duration {
        self.timeout
    }

    /// Returns a message in the form in which it is sent.
    pub(crate) fn encode(&self, message: &impl Message) -> Vec<u8> {
        let bytes = message.encode_to_vec();
        if !self.is_compressed {
            return bytes;
        }
        let mut encoder = GzEncoder::new(Vec::new(), Compression::fast());
        // Writing to memory does not fail.
        let _ = encoder.write_all(&bytes);
        encoder.finish().unwrap_or_default()
    }

    /// Sends a message, within this time.
    pub(crate) fn send(&self, message: &[u8], timeout: Duration) -> Answer {
        let agent = match &self.agent {
            Ok(agent) => agent,
            Err(reason) => return Answer::Rejected(reason.clone()),
        };
        let mut request = agent.post(&self.url).content_type("application/x-protobuf");
        if self.is_compressed {
            request = request.header("Content-Encoding", "gzip");
        }
        for (name, value) in &self.headers {
            request = request.header(name, value);
        }
        match request.config().timeout_global(Some(timeout)).build().send(message) {
            Ok(response) => answer(response, timeout),
            Err(error) if is_broken(&error) => Answer::Broken(describe(&error, timeout)),
            Err(error) => Answer::Later(describe(&error, timeout), None),
        }
    }
}

fn is_broken(error: &ureq::Error) -> bool {
    use io::ErrorKind::{BrokenPipe, ConnectionAborted, ConnectionReset, UnexpectedEof};
    let is_broken = |kind| matches!(kind, BrokenPipe | ConnectionAborted | ConnectionReset | UnexpectedEof);
    matches!(error, ureq::Error::Io(error) if is_broken(error.kind()))
}

/// Reads the answer to a request that may take `timeout`.
fn answer(mut response: ureq::http::Response<Body>, timeout: Duration) -> Answer {
    let (status, pause) = (response.status(), retry_after(response.headers()));
    let body = response.body_mut().with_config().limit(LONGEST_ANSWER).read_to_vec();
    if status.is_success() {
        let body = match body {
            Ok(body) => body,
            // Nobody has that much to say about what was rejected.
            Err(ureq::Error::BodyExceedsLimit(_)) => Vec::new(),
            // It did not get to the end of its answer, in which it could have rejected something.
            Err(error) => {
                return Answer::Later(format!("its answer breaks off: {}", describe(&error, timeout)), None);
            }
        };
        return match ExportServiceResponse::decode(&*body).unwrap_or_default().partial_success {
            Some(PartialSuccess { rejected: rejected @ 1.., error_message }) => {
                Answer::PartlyRejected(rejected.cast_unsigned(), shortened(&error_message))
            }
            // (A message without a number is a warning.)
            _ => Answer::Accepted,
        };
    }
    // The status says all that counts.
    let message =
        RpcStatus::decode(&*body.unwrap_or_default()).map(|status| status.message).unwrap_or_default();
    let mut text = format!("status {status}");
    if !message.is_empty() {
        text = format!("{text}: {}", shortened(&message));
    }
    match status {
        StatusCode::TOO_MANY_REQUESTS
        | StatusCode::BAD_GATEWAY
        | StatusCode::SERVICE_UNAVAILABLE
        | StatusCode::GATEWAY_TIMEOUT => Answer::Later(text, pause),
        _ => Answer::Rejected(text),
    }
}

/// Returns the pause that a collector asks for, in seconds. (One that names a date gets the usual
/// pauses.)
fn retry_after(headers: &ureq::http::HeaderMap) -> Option<Duration> {
    let seconds = headers.get("Retry-After")?.to_str().ok()?.trim().parse().ok()?;
    Some(Duration::from_secs(seconds).min(LONGEST_PAUSE))
}

fn shortened(text: &str) -> String {
    let end = text.char_indices().map(|(at, _)| at).nth(LONGEST_TEXT);
    end.map_or_else(|| text.to_owned(), |end| format!("{}...", &text[..end]))
}

fn describe(error: &ureq::Error, timeout: Duration) -> String {
    match error {
        ureq::Error::Timeout(_) => format!("no answer within {} s", timeout.as_secs_f32()),
        ureq::Error::HostNotFound => "its name is not known".to_owned(),
        error => error.to_string(),
    }
}

/// Returns the settings for TLS.
///
/// # Errors
/// There are no certificates to trust: the reason.
fn tls(collector: &Collector, url: &str) -> Result<TlsConfig, String> {
    let certificates =
        if url.to_ascii_lowercase().starts_with("https:") { certificates(collector)? } else { Vec::new() };
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    Ok(TlsConfig::builder()
        .root_certs(RootCerts::from(certificates))
        .unversioned_rustls_crypto_provider(provider)
        .build())
}

fn certificates(collector: &Collector) -> Result<Vec<Certificate<'static>>, String> {
    let named = collector.certificate.as_deref().map(|path| String::from_utf8_lossy(path).into_owned());
    let (text, path) = match named {
        Some(path) => {
            let text = std::fs::read(&path).map_err(|error| {
                format!("the certificates of certificate= (or OTEL_EXPORTER_OTLP_CERTIFICATE), {path}, cannot be read: {error}")
            });
            (text?, path)
        }
        None => system_certificates().ok_or_else(|| {
            format!(
                "there are no certificates to trust at {}: install the package ca-certificates, or name a file with \
                 certificate=",
                TRUSTED.join(", ")
            )
        })?,
    };
    let certificates: Vec<_> = parse_pem(&text)
        .filter_map(|item| match item {
            Ok(PemItem::Certificate(certificate)) => Some(certificate),
            _ => None,
        })
        .collect();
    if certificates.is_empty() {
        Err(format!("there are no certificates in {path}: it must be PEM"))
    } else {
        Ok(certificates)
    }
}

fn system_certificates() -> Option<(Vec<u8>, String)> {
    let named = std::env::var("SSL_CERT_FILE").ok();
    let paths = named.into_iter().chain(TRUSTED.map(str::to_owned));
    paths.filter_map(|path| read(Path::new(&path)).ok().map(|text| (text, path))).next()
}

fn read(path: &Path) -> io::Result<Vec<u8>> {
    std::fs::read(path)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn response(status: u16, retry_after: Option<&str>, body: Vec<u8>) -> ureq::http::Response<Body> {
        let mut builder = ureq::http::Response::builder().status(status);
        if let Some(value) = retry_after {
            builder = builder.header("Retry-After", value);
        }
        builder.body(Body::builder().data(body)).unwrap()
    }

    fn answer_to(response: ureq::http::Response<Body>) -> Answer {
        answer(response, Duration::from_secs(1))
    }

    #[test]
    fn answers_mean_what_the_specification_says() {
        let seconds = |count| Some(Duration::from_secs(count));
        assert_eq!(answer_to(response(200, None, Vec::new())), Answer::Accepted);
        assert_eq!(answer_to(response(202, None, b"not protobuf".to_vec())), Answer::Accepted);
        for (status, pause) in [(429, seconds(7)), (502, None), (503, seconds(300)), (504, None)] {
            let text = match (status, pause) {
                (503, _) => Some("100000"),
                (504, _) => Some("Fri, 31 Dec 1999 23:59:59 GMT"),
                (_, Some(_)) => Some("7"),
                _ => None,
            };
            let Answer::Later(_, found) = answer_to(response(status, text, Vec::new())) else {
                panic!("{status}")
            };
            assert_eq!(found, pause, "{status}");
        }
        for status in [301, 400, 401, 404, 413, 500, 501] {
            let message = RpcStatus { message: "why".to_owned() }.encode_to_vec();
            let answer = answer_to(response(status, Some("7"), message));
            assert!(matches!(&answer, Answer::Rejected(text) if text.ends_with(": why")), "{answer:?}");
        }
        for (rejected, message) in [(0, "a warning"), (-1, ""), (3, "too old")] {
            let partial_success = Some(PartialSuccess { rejected, error_message: message.to_owned() });
            let body = ExportServiceResponse { partial_success }.encode_to_vec();
            let expected = match rejected {
                3 => Answer::PartlyRejected(3, message.to_owned()),
                _ => Answer::Accepted,
            };
            assert_eq!(answer_to(response(200, None, body)), expected);
        }
    }

    #[test]
    fn a_later_header_replaces_one_with_the_same_name() {
        let text = |text: &str| -> Box<[u8]> { text.as_bytes().into() };
        let headers = vec![
            (text("api-key"), text("a")),
            (text("other"), text("b")),
            (text("bad name"), text("c")),
            (text("content-length"), text("5")),
        ];
        let collector = Collector { url: text("http://127.0.0.1:1/"), headers, ..Collector::default() };
        let client = Client::new(&collector, &[("API-Key".to_owned(), "d".to_owned())]);
        let pair = |name: &str, value: &str| (name.to_owned(), value.to_owned());
        assert_eq!(client.headers, [pair("other", "b"), pair("API-Key", "d")]);
    }

    #[test]
    fn what_cannot_be_trusted_is_said_instead_of_sent() {
        let collector = Collector {
            url: b"https://127.0.0.1:1/"[..].into(),
            certificate: Some(b"/nonexistent"[..].into()),
            ..Collector::default()
        };
        let answer = Client::new(&collector, &[]).send(b"", Duration::from_secs(1));
        assert!(matches!(&answer, Answer::Rejected(text) if text.contains("/nonexistent")), "{answer:?}");
    }
}
