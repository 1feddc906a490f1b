//! Tests of the directive about OpenTelemetry.

use super::*;
use crate::opentelemetry::{Settings, Signals};
use crate::tracing::Ratio;

#[test]
fn options_switch_the_export_on() {
    let on = Settings { is_on: true, ..Settings::default() };
    for (line, expected) in [
        ("On", on.clone()),
        ("Off", Settings::default()),
        ("on service-name=\"a b\"", Settings { service_name: Some("a b".to_owned()), ..on.clone() }),
        (
            "endpoint=http://127.0.0.1:4318 signals=traces sample=0.5",
            Settings {
                endpoint: Some("http://127.0.0.1:4318".to_owned()),
                signals: Some(Signals { traces: true, metrics: false }),
                sample: Ratio::parse("0.5"),
                ..on.clone()
            },
        ),
        (
            "signals=traces,metrics interval=500ms timeout=3 compression=gzip client-address=On",
            Settings {
                signals: Some(Signals { traces: true, metrics: true }),
                interval: Some(500),
                timeout: Some(3_000),
                is_compressed: Some(true),
                client_address: true,
                ..on.clone()
            },
        ),
        (
            "headers-file=/x.zip certificate=/hidden",
            Settings {
                headers_file: Some(b"/x.zip"[..].into()),
                certificate: Some(b"/hidden"[..].into()),
                ..on.clone()
            },
        ),
    ] {
        let mut server = Server::default();
        server.line("WSGIOpenTelemetry endpoint=http://former timeout=1");
        server.line(&format!("WSGIOpenTelemetry {line}"));
        assert_eq!(server.global.opentelemetry, expected, "{line}");
    }
}

#[test]
fn mistakes_are_named() {
    for (line, expected) in [
        ("", "needs On, Off or an option"),
        ("Yes", "write it as key=value"),
        ("Off timeout=1", "takes no options"),
        ("On off", "write it as key=value"),
        ("endpoint=127.0.0.1:4318", "begins with http://"),
        ("endpoint=", "it must be a text"),
        ("endpoints=http://a", "did you mean endpoint=?"),
        ("signals=logs", "write traces, metrics"),
        ("signals=", "write traces, metrics"),
        ("sample=10%", "a number from 0 to 1"),
        ("sample=2", "a number from 0 to 1"),
        ("interval=0", "a time in seconds"),
        ("interval=2d", "at most a day"),
        ("timeout=soon", "a time in seconds"),
        ("compression=zstd", "gzip or none"),
        ("headers-file=file", "an absolute path"),
        ("headers-file=/missing", "no such file"),
        ("certificate=/usr", "a directory"),
        ("client-address=maybe", "On or Off"),
    ] {
        let text = Server::default().error(&format!("WSGIOpenTelemetry {line}"));
        assert!(text.contains("WSGIOpenTelemetry") && text.contains(expected), "{line}: {text}");
    }
}
