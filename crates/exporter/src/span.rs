//! Spans in the form of OTLP, with the attributes of the semantic conventions for HTTP servers.

use wsgi_core::tracing::state;
use wsgi_core::wire::span::Span as Record;

use crate::proto::{KeyValue, PARENT_IS_KNOWN, PARENT_IS_REMOTE, Span, SpanKind, Status, StatusCode};

/// The methods that the conventions know; others are `_OTHER`.
const METHODS: [&str; 9] = ["GET", "HEAD", "POST", "PUT", "DELETE", "CONNECT", "OPTIONS", "TRACE", "PATCH"];
/// The flag of a trace that is sampled.
const SAMPLED: u32 = 1;

/// Returns the span of a request.
pub(crate) fn of(record: &Record<'_>) -> Span {
    let is_child = record.parent != [0; 8];
    let remote = if record.is_internal { PARENT_IS_KNOWN } else { PARENT_IS_KNOWN | PARENT_IS_REMOTE };
    let is_error = record.status >= 500;
    Span {
        trace_id: record.trace.to_vec(),
        span_id: record.id.to_vec(),
        // (The application gets it as it came.)
        trace_state: if state::is_valid(record.state) { text(record.state) } else { String::new() },
        parent_span_id: if is_child { record.parent.to_vec() } else { Vec::new() },
        // The route, which would follow, is known to the application.
        name: known_method(record.method).unwrap_or("HTTP").to_owned(),
        kind: if record.is_internal { SpanKind::Internal } else { SpanKind::Server }.into(),
        start_time_unix_nano: record.start.saturating_mul(1_000),
        // Somebody may have set the clock back.
        end_time_unix_nano: record.end.max(record.start).saturating_mul(1_000),
        attributes: attributes(record, is_error),
        status: is_error.then(|| Status { code: StatusCode::Error.into(), ..Status::default() }),
        flags: SAMPLED | if is_child { remote } else { PARENT_IS_KNOWN },
    }
}

fn attributes(record: &Record<'_>, is_error: bool) -> Vec<KeyValue> {
    let method = known_method(record.method);
    let mut attributes = vec![
        KeyValue::text("http.request.method", method.unwrap_or("_OTHER")),
        KeyValue::text("url.path", &text(record.path)),
        KeyValue::text("url.scheme", &text(record.scheme)),
        KeyValue::text("server.address", &text(record.host)),
        KeyValue::int("server.port", record.port.into()),
        KeyValue::int("http.response.status_code", record.status.into()),
        KeyValue::text("mod_wsgi.mode", if record.process_group.is_empty() { "embedded" } else { "daemon" }),
        KeyValue::text("mod_wsgi.application_group", &text(record.application_group)),
    ];
    let mut add = |key: &str, value: &[u8]| {
        if !value.is_empty() {
            attributes.push(KeyValue::text(key, &text(value)));
        }
    };
    if method.is_none() {
        add("http.request.method_original", record.method);
    }
    add("network.protocol.version", version(record.protocol));
    add("client.address", record.client);
    add("mod_wsgi.process_group", record.process_group);
    if is_error {
        attributes.push(KeyValue::text("error.type", &record.status.to_string()));
    }
    if record.pid != 0 {
        attributes.push(KeyValue::int("mod_wsgi.pid", record.pid.into()));
    }
    if let Some(time) = record.queue_time {
        attributes.push(KeyValue::double("mod_wsgi.queue_time", time as f64 / 1e6));
    }
    attributes
}

fn known_method(method: &[u8]) -> Option<&'static str> {
    METHODS.into_iter().find(|known| known.as_bytes() == method)
}

/// Returns the version of HTTP as the conventions name it: `1.1`, `2`. Subrequests have none.
fn version(protocol: &[u8]) -> &[u8] {
    let version = protocol.strip_prefix(b"HTTP/").unwrap_or_default();
    match version {
        [b'0' | b'1', ..] => version,
        _ => version.strip_suffix(b".0").unwrap_or(version),
    }
}

fn text(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).into_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn record() -> Record<'static> {
        Record {
            trace: [1; 16],
            id: [2; 8],
            parent: [3; 8],
            start: 1_000_000,
            end: 1_500_000,
            status: 200,
            method: b"GET",
            scheme: b"http",
            path: b"/a",
            host: b"h",
            port: 80,
            protocol: b"HTTP/1.1",
            process_group: b"g",
            ..Record::default()
        }
    }

    fn has(span: &Span, attribute: &KeyValue) -> bool {
        span.attributes.contains(attribute)
    }

    fn has_key(span: &Span, key: &str) -> bool {
        span.attributes.iter().any(|attribute| attribute.key == key)
    }

    #[test]
    fn a_span_has_the_attributes_of_the_conventions() {
        let span = of(&record());
        assert_eq!((span.name.as_str(), span.kind), ("GET", SpanKind::Server as i32));
        assert_eq!(span.end_time_unix_nano - span.start_time_unix_nano, 500_000_000);
        assert_eq!((span.parent_span_id.len(), span.flags, span.status.is_none()), (8, 0x301, true));
        for attribute in [
            KeyValue::text("http.request.method", "GET"),
            KeyValue::text("network.protocol.version", "1.1"),
            KeyValue::int("http.response.status_code", 200),
            KeyValue::text("mod_wsgi.process_group", "g"),
            KeyValue::text("mod_wsgi.mode", "daemon"),
        ] {
            assert!(has(&span, &attribute), "{attribute:?}");
        }
        for key in [
            "client.address",
            "error.type",
            "http.request.method_original",
            "mod_wsgi.pid",
            "mod_wsgi.queue_time",
        ] {
            assert!(!has_key(&span, key), "{key}");
        }
    }

    #[test]
    fn versions_are_those_of_the_conventions() {
        for (protocol, expected) in
            [("HTTP/1.0", "1.0"), ("HTTP/1.1", "1.1"), ("HTTP/2.0", "2"), ("HTTP/3", "3"), ("INCLUDED", "")]
        {
            let span = of(&Record { protocol: protocol.as_bytes(), ..record() });
            let found = span.attributes.iter().find(|attribute| attribute.key == "network.protocol.version");
            let wanted = (!expected.is_empty()).then(|| KeyValue::text("network.protocol.version", expected));
            assert_eq!(found, wanted.as_ref(), "{protocol}");
        }
    }

    #[test]
    fn a_state_that_is_not_valid_is_dropped() {
        for (state, expected) in [("a=1, b=2", "a=1, b=2"), ("a=1, what", ""), ("", "")] {
            assert_eq!(of(&Record { state: state.as_bytes(), ..record() }).trace_state, expected);
        }
    }

    #[test]
    fn what_is_special_is_said() {
        let record = Record {
            parent: [0; 8],
            is_internal: true,
            end: 0,
            status: 503,
            method: b"BREW",
            path: b"/\xff",
            client: b"192.0.2.1",
            process_group: b"",
            pid: 7,
            queue_time: Some(2_500),
            ..record()
        };
        let span = of(&record);
        assert_eq!((span.name.as_str(), span.kind), ("HTTP", SpanKind::Internal as i32));
        assert_eq!(span.end_time_unix_nano, span.start_time_unix_nano);
        assert_eq!((span.parent_span_id.len(), span.flags), (0, 0x101));
        assert_eq!(span.status.as_ref().map(|status| status.code), Some(StatusCode::Error as i32));
        for attribute in [
            KeyValue::text("http.request.method", "_OTHER"),
            KeyValue::text("http.request.method_original", "BREW"),
            KeyValue::text("url.path", "/\u{fffd}"),
            KeyValue::text("error.type", "503"),
            KeyValue::text("client.address", "192.0.2.1"),
            KeyValue::text("mod_wsgi.mode", "embedded"),
            KeyValue::int("mod_wsgi.pid", 7),
            KeyValue::double("mod_wsgi.queue_time", 0.0025),
        ] {
            assert!(has(&span, &attribute), "{attribute:?}");
        }
        assert!(!has_key(&span, "mod_wsgi.process_group"));
        let redirected = of(&Record { parent: [3; 8], ..record });
        assert_eq!(redirected.flags, 0x101, "its parent is of this server");
    }
}
