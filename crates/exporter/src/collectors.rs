//! Tests with collectors that are slow, broken, or of another time.

use std::io::{Read as _, Write as _};
use std::net::{TcpListener, TcpStream};
use std::sync::mpsc::{self, Receiver};
use std::thread;
use std::time::Duration;

use prost::Message as _;
use wsgi_core::wire::exporter::Collector;

use crate::client::{Answer, Client};
use crate::proto::{ExportServiceResponse, PartialSuccess};

/// More than anything takes that comes to an end.
const LONG: Duration = Duration::from_secs(60);
/// Enough for the point at which a collector hangs.
const SHORT: Duration = Duration::from_millis(300);

/// Sends messages to a collector that `serve` is. It may wait until the last answer is there. Returns
/// the answers.
fn send(
    scheme: &str,
    messages: &[&[u8]],
    timeout: Duration,
    serve: impl FnOnce(&TcpListener, &Receiver<()>) + Send + 'static,
) -> Vec<Answer> {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let url = format!("{scheme}://{}/v1/traces", listener.local_addr().unwrap());
    let (end, until) = mpsc::channel();
    let thread = thread::spawn(move || serve(&listener, &until));
    let collector = Collector { url: url.into_bytes().into(), ..Collector::default() };
    let client = Client::new(&collector, &[]);
    let answers = messages.iter().map(|message| client.send(message, timeout)).collect();
    drop((end, client));
    thread.join().unwrap();
    answers
}

/// Reads a request.
fn read(stream: &mut TcpStream) {
    let (mut request, mut buffer) = (Vec::<u8>::new(), [0; 4096]);
    let is_whole = |request: &[u8]| {
        let head = request.windows(4).position(|end| end == b"\r\n\r\n")?;
        let text = String::from_utf8_lossy(&request[..head]).to_ascii_lowercase();
        let length = text.split("content-length: ").nth(1)?.lines().next()?.trim().parse::<usize>().ok()?;
        (request.len() >= head + 4 + length).then_some(())
    };
    while is_whole(&request).is_none() {
        match stream.read(&mut buffer).unwrap() {
            0 => return,
            count => request.extend(&buffer[..count]),
        }
    }
}

/// Waits until the other side has closed the connection.
fn hold(mut stream: TcpStream) {
    let mut buffer = [0; 4096];
    while stream.read(&mut buffer).is_ok_and(|count| count > 0) {}
}

/// Returns the answer of a collector that sends this once it has the request, and closes.
fn answer(text: &[u8]) -> Answer {
    let text = text.to_vec();
    let serve = move |listener: &TcpListener, _: &Receiver<()>| {
        let mut stream = listener.accept().unwrap().0;
        read(&mut stream);
        // It may have seen enough.
        let _ = stream.write_all(&text);
    };
    send("http", &[b"message"], LONG, serve).remove(0)
}

#[track_caller]
fn is_late(answers: &[Answer], what: &str) {
    let is_it =
        |answer: &Answer| matches!(answer, Answer::Later(text, None) if text.contains("no answer within"));
    assert!(answers.iter().all(is_it), "{what}: {answers:?}");
}

#[test]
fn a_collector_may_hang_at_any_point() {
    let large = vec![0; 32 << 20];
    let hang = |text: &'static str| {
        move |listener: &TcpListener, _: &Receiver<()>| {
            let mut stream = listener.accept().unwrap().0;
            stream.write_all(text.as_bytes()).unwrap();
            hold(stream);
        }
    };
    is_late(&send("http", &[b""], SHORT, |_, until| _ = until.recv()), "it does not accept");
    let reads_nothing = |listener: &TcpListener, until: &Receiver<()>| {
        let stream = listener.accept().unwrap().0;
        let _ = until.recv();
        drop(stream);
    };
    is_late(&send("http", &[&large], SHORT, reads_nothing), "it does not read");
    for text in [
        "",
        "HTTP/1.1 2",
        "HTTP/1.1 200 OK\r\nContent-",
        "HTTP/1.1 100 Continue\r\n\r\n",
        "HTTP/1.1 503 Busy\r\nContent-Length: 10\r\n",
    ] {
        is_late(&send("http", &[b"message"], SHORT, hang(text)), text);
    }
    for text in [
        "HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\nabc",
        "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nab",
        "HTTP/1.0 200 OK\r\n\r\nab",
    ] {
        let answers = send("http", &[b"message"], SHORT, hang(text));
        assert!(
            matches!(&answers[..], [Answer::Later(reason, None)] if reason.contains("breaks off: no answer within")),
            "{text}: {answers:?}"
        );
    }
}

#[test]
fn a_collector_may_hang_before_it_speaks_tls() {
    let serve = |listener: &TcpListener, _: &Receiver<()>| hold(listener.accept().unwrap().0);
    is_late(&send("https", &[b"message"], SHORT, serve), "no handshake");
}

#[test]
fn an_answer_without_end_is_no_wait_without_end() {
    for (head, part) in [
        ("HTTP/1.1 200 OK\r\nX: ", "x"),
        ("HTTP/1.1 200 OK\r\nContent-Length: 1000000\r\n\r\n", "x"),
        ("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n", "1\r\nx\r\n"),
        ("", "HTTP/1.1 100 Continue\r\n\r\n"),
    ] {
        let drip = move |listener: &TcpListener, until: &Receiver<()>| {
            let mut stream = listener.accept().unwrap().0;
            read(&mut stream);
            let _ = stream.write_all(head.as_bytes());
            let pause = Duration::from_millis(20);
            while until.recv_timeout(pause) == Err(mpsc::RecvTimeoutError::Timeout) {
                let _ = stream.write_all(part.as_bytes());
            }
        };
        let answers = send("http", &[b"message"], SHORT, drip);
        assert!(
            matches!(&answers[..], [Answer::Later(text, None)] if text.contains("no answer within")),
            "{head}: {answers:?}"
        );
    }
}

#[test]
fn answers_of_all_kinds_are_understood() {
    let partial = PartialSuccess { rejected: 2, error_message: "why".to_owned() };
    let body = ExportServiceResponse { partial_success: Some(partial) }.encode_to_vec();
    let with_body = |head: &str| [head.as_bytes(), &body].concat();
    for head in [
        format!("HTTP/1.1 200 OK\r\nContent-Length: {}\r\n\r\n", body.len()),
        "HTTP/1.1 200 OK\r\nConnection: close\r\n\r\n".to_owned(),
        "HTTP/1.0 200 OK\r\n\r\n".to_owned(),
        "HTTP/1.0 200\r\nServer: old\r\n\r\n".to_owned(),
        format!("HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 200 OK\r\nContent-Length: {}\r\n\r\n", body.len()),
        format!(
            "HTTP/1.1 103 Early Hints\r\nLink: </a>\r\n\r\nHTTP/1.1 200 OK\r\nContent-Length: {}\r\n\r\n",
            body.len()
        ),
    ] {
        assert_eq!(answer(&with_body(&head)), Answer::PartlyRejected(2, "why".to_owned()), "{head}");
    }
    for text in [
        "HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n",
        "HTTP/1.1 204 No Content\r\n\r\n",
        "HTTP/1.1 202 Accepted\r\nContent-Encoding: gzip\r\nContent-Length: 5\r\n\r\n\x1f\u{0}abc",
        "HTTP/1.0 200 OK\r\n\r\n",
    ] {
        assert_eq!(answer(text.as_bytes()), Answer::Accepted, "{text}");
    }
    for (status, is_later) in [
        (307, false),
        (308, false),
        (400, false),
        (404, false),
        (413, false),
        (429, true),
        (500, false),
        (503, true),
    ] {
        let head =
            format!("HTTP/1.1 {status} No\r\nLocation: http://127.0.0.1:1/\r\nContent-Length: 0\r\n\r\n");
        let found = answer(head.as_bytes());
        assert_eq!(matches!(found, Answer::Later(..)), is_later, "{found:?}");
        assert_eq!(matches!(found, Answer::Rejected(_)), !is_later, "{found:?}");
    }
    for text in [
        "\r\n\r\n",
        "SSH-2.0-x\r\n",
        "HTTP/9.9 999 ?\r\n\r\n",
        "HTTP/1.1 200 OK\r\nContent-Length: x\r\n\r\n",
    ] {
        let found = answer(text.as_bytes());
        assert!(matches!(found, Answer::Later(_, None) | Answer::Broken(_)), "{text:?}: {found:?}");
    }
    assert!(matches!(answer(b""), Answer::Broken(_)));
}

#[test]
fn a_connection_that_was_closed_meanwhile_is_not_used_again() {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let url = format!("http://{}/", listener.local_addr().unwrap());
    let (closed, is_closed) = mpsc::channel();
    let thread = thread::spawn(move || {
        for _ in 0..3 {
            let mut stream = listener.accept().unwrap().0;
            read(&mut stream);
            stream.write_all(b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n").unwrap();
            drop(stream);
            closed.send(()).unwrap();
        }
    });
    let collector = Collector { url: url.into_bytes().into(), ..Collector::default() };
    let client = Client::new(&collector, &[]);
    for _ in 0..3 {
        assert_eq!(client.send(b"message", LONG), Answer::Accepted);
        is_closed.recv().unwrap();
    }
    thread.join().unwrap();
}
