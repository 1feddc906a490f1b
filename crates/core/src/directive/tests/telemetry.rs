//! Tests of the directives about telemetry.

use super::*;
use crate::telemetry::Options;

#[test]
fn a_service_is_a_socket_and_an_interval() {
    for (line, socket, interval) in [
        ("unix:/run/x.sock", "/run/x.sock", 1.0),
        ("'unix:/a b' interval=0.5", "/a b", 0.5),
        ("unix:/x interval=\"2s\"", "/x", 2.0),
        ("unix:/x interval=500ms", "/x", 0.5),
    ] {
        let mut server = Server::default();
        server.line(&format!("WSGITelemetryService {line}"));
        let service = server.global.telemetry.service.unwrap();
        assert_eq!((&*service.socket, service.interval), (socket.as_bytes(), interval), "{line}");
    }
    for (line, expected) in [
        ("", "needs the socket"),
        ("\"\"", "needs the socket"),
        ("/x", "unix:"),
        ("unix:", "unix:"),
        ("udp:localhost:1", "not over the network"),
        ("unix:/x 5", "write it as key=value"),
        ("unix:/x intervall=5", "did you mean interval=?"),
        ("unix:/x interval=0.4", "0.5 or more"),
        ("unix:/x interval=text", "0.5 or more"),
        ("unix:/x interval=", "0.5 or more"),
        ("unix:/x interval=1 more", "nothing else"),
        ("unix:/x interval=1 interval=2", "nothing else"),
    ] {
        let text = Server::default().error(&format!("WSGITelemetryService {line}"));
        assert!(text.contains("WSGITelemetryService") && text.contains(expected), "{line}: {text}");
    }
}

#[test]
fn no_threshold_is_no_slow_request() {
    for (line, threshold) in
        [("1.5", Some(1.5)), ("500ms", Some(0.5)), ("0", None), ("0.0", None), ("0ms", None), ("+0", None)]
    {
        let mut server = Server::default();
        server.line("WSGISlowRequests 9");
        server.line(&format!("WSGISlowRequests {line}"));
        assert_eq!(server.global.telemetry.slow_requests, threshold, "{line}");
    }
    for line in ["-1", "text", "5m", "nan", "s"] {
        let text = Server::default().error(&format!("WSGISlowRequests {line}"));
        assert!(text.contains("WSGISlowRequests") && text.contains("a time in seconds"), "{text}");
    }
}

#[test]
fn options_replace_or_change_those_before() {
    let (none, all) = (Options::default(), Options::ALL);
    for (lines, expected) in [
        (&["CaptureUserAgent"][..], all),
        (&["captureuseragent"], all),
        (&["All"], all),
        (&["All", "none"], none),
        (&["None CaptureUserAgent"], all),
        (&["+CaptureUserAgent"], all),
        (&["All", "-CaptureUserAgent"], none),
        (&["All", "-CaptureUserAgent +captureUserAgent"], all),
    ] {
        let mut server = Server::default();
        for line in lines {
            server.line(&format!("WSGITelemetryOptions {line}"));
        }
        assert_eq!(server.global.telemetry.options, expected, "{lines:?}");
    }
    for (line, expected) in [
        ("", "at least one"),
        ("+", "CaptureUserAgent"),
        ("-", "CaptureUserAgent"),
        ("+None", "without + or -"),
        ("-All", "without + or -"),
        ("Other", "the flags are"),
        ("+CaptureUserAgent CaptureUserAgent", "or none has"),
    ] {
        let text = Server::default().error(&format!("WSGITelemetryOptions {line}"));
        assert!(text.contains("WSGITelemetryOptions") && text.contains(expected), "{line}: {text}");
    }
}

#[test]
fn slow_requests_need_no_service() {
    let mut server = Server::default();
    server.line("WSGISlowRequests 1");
    assert_eq!(server.review(), [], "they are shown in the status of the server");
}
