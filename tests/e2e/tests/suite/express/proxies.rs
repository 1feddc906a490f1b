//! Servers in front of one that mod_wsgi-express runs, and behind it.

use std::io::{self, Read, Write};
use std::net::{Ipv4Addr, TcpListener};
use std::os::unix::net::UnixListener;
use std::thread;

use e2e::Needs::{Daemon, Ours};
use e2e::{Connection, Test, free_port, test};

use super::hosts::{ENVIRON, certificates, fetch};
use super::server::{Express, Site};

pub(super) const TESTS: &[Test] = &[
    test!(headers_of_trusted_proxies_are_believed, Daemon, Ours("express as a command")),
    test!(requests_and_websockets_reach_other_servers, Daemon, Ours("redirects that keep the scheme")),
];

fn headers_of_trusted_proxies_are_believed() {
    for (address, seen) in [("127.0.0.0/8", "203.0.113.7"), ("192.0.2.1", "127.0.0.1")] {
        let site = Site::new();
        site.write("app.wsgi", ENVIRON);
        let options = ["--trust-proxy", address, "--trust-proxy-header", "X-Forwarded-For"];
        let server = Express::serve(site, &options);
        let more = ["--header", "X-Forwarded-For: 203.0.113.7", "--header", "X-Forwarded-Host: other.test"];
        let answer = fetch("http://own.test/", server.port, &more);
        assert_eq!(answer.value("REMOTE_ADDR"), Some(seen), "{answer:?}");
        // Only what was asked for.
        assert_eq!(answer.value("HTTP_HOST"), Some("own.test"), "{answer:?}");
    }
}

fn requests_and_websockets_reach_other_servers() {
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap_or_else(|error| panic!("{error}"));
    let port = listener.local_addr().unwrap_or_else(|error| panic!("{error}")).port();
    thread::spawn(move || listener.incoming().flatten().for_each(|stream| _ = serve(stream)));
    let site = Site::new();
    certificates(&site);
    site.write("app.wsgi", ENVIRON);
    let socket = site.path("backend.sock");
    let listener =
        UnixListener::bind(&socket).unwrap_or_else(|error| panic!("{}: {error}", socket.display()));
    super::server::allow(socket.clone(), 0o777);
    thread::spawn(move || listener.incoming().flatten().for_each(|stream| _ = serve(stream)));

    let (live, local, host) = (
        format!("http://127.0.0.1:{port}/base"),
        format!("unix:{}|http://local.test/", socket.display()),
        format!("http://127.0.0.1:{port}/"),
    );
    let https = free_port();
    let https_text = https.to_string();
    let mut options =
        vec!["--https-port", &https_text, "--ssl-certificate", "server", "--proxy-timeout", "5"];
    options.extend(["--proxy-mount-point", "/live", &live, "--proxy-mount-point", "/live/local/", &local]);
    options.extend(["--proxy-virtual-host", "proxied.test", &host]);
    let server = Express::serve(site, &options);
    let documents = server.path("root/htdocs");
    // What is proxied goes before what is a file.
    super::write(documents.join("file.txt"), "a file");
    std::fs::create_dir(documents.join("live")).unwrap_or_else(|error| panic!("{error}"));
    super::write(documents.join("live/file.txt"), "a file");

    let own = server.port.to_string();
    for (url, port, head) in [
        (
            "http://own.test/live/a%20b?c",
            server.port,
            &["GET /base/a%20b?c HTTP/1.1", "X-Forwarded-Prefix: /live", "X-Forwarded-Host: own.test"][..],
        ),
        ("http://own.test/live/file.txt", server.port, &["GET /base/file.txt HTTP/1.1"]),
        (
            "http://own.test/live/local/x",
            server.port,
            &["GET /x HTTP/1.1", "X-Forwarded-Prefix: /live/local"],
        ),
        ("http://proxied.test/file.txt", server.port, &["GET /file.txt HTTP/1.1", "X-Forwarded-Port: "]),
        ("https://own.test/live/", https, &["GET /base/ HTTP/1.1", "X-Forwarded-Scheme: https"]),
    ] {
        let answer = fetch(&url.replace(".test", &format!(".test:{port}")), port, &[]);
        assert_eq!(answer.status, 200, "{url}: {answer:?}");
        for line in head {
            assert!(answer.text.contains(line), "{line} in {answer:?}");
        }
        let scheme = answer.text.contains("X-Forwarded-Scheme");
        assert_eq!(scheme, url.starts_with("https"), "{answer:?}");
        let prefix = answer.text.contains("X-Forwarded-Prefix");
        assert_eq!(prefix, url.contains("/live"), "{answer:?}");
        let port_seen = if port == https { &https_text } else { &own };
        assert!(answer.text.contains(&format!("X-Forwarded-Port: {port_seen}\n")), "{answer:?}");
    }
    for (url, port, target) in [
        ("http://own.test/live", server.port, format!("http://own.test:{own}/live/")),
        ("https://own.test/live", https, format!("https://own.test:{https}/live/")),
        ("http://own.test/live/redirect", server.port, format!("http://own.test:{own}/live/there")),
    ] {
        // With the port in Host, as clients say it.
        let with_port = url.replace(".test", &format!(".test:{port}"));
        let answer = fetch(&with_port, port, &[]);
        assert_eq!((answer.status, answer.header("Location")), (302, Some(&target[..])), "{answer:?}");
    }
    assert_eq!(fetch("http://own.test/file.txt", server.port, &[]).status, 200);
    assert_eq!(fetch("http://own.test/lively", server.port, &[]).value("PATH_INFO"), Some("/lively"));

    for (path, host) in
        [("/live/socket", "own.test"), ("/live/local/socket", "own.test"), ("/s", "proxied.test")]
    {
        let mut connection = Connection::open(server.address());
        connection.send(
            format!(
                "GET {path} HTTP/1.1\r\nHost: {host}\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\
                 Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n"
            )
            .as_bytes(),
        );
        let mut head = Vec::new();
        while !head.ends_with(b"\r\n\r\n") {
            head.extend(
                connection.at_least(1).unwrap_or_else(|error| panic!("{path}: {error}\n{}", server.log())),
            );
        }
        let head = String::from_utf8_lossy(&head);
        assert!(head.starts_with("HTTP/1.1 101 ") && head.contains("s3pPLMBiTxaQ9kYGzzhZRbK+xOo="), "{head}");
        // A masked text frame, and its echo, which is none (RFC 6455, section 5.7).
        for _ in 0..2 {
            connection.send(b"\x81\x85\x37\xfa\x21\x3d\x7f\x9f\x4d\x51\x58");
            let echo = connection.at_least(7).unwrap_or_else(|error| panic!("{path}: {error}"));
            assert_eq!(echo, b"\x81\x05Hello", "{path}");
        }
    }
}

/// Answers one request with the lines of its head, or becomes a WebSocket that sends back each
/// short text.
fn serve(mut stream: impl Read + Write) -> io::Result<()> {
    let mut head = Vec::new();
    while !head.ends_with(b"\r\n\r\n") {
        let mut byte = [0];
        stream.read_exact(&mut byte)?;
        head.extend(byte);
    }
    let head = String::from_utf8_lossy(&head).replace('\r', "");
    if head.contains("\nUpgrade: websocket\n") {
        stream.write_all(
            b"HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\
              Sec-WebSocket-Accept: s3pPLMBiTxaQ9kYGzzhZRbK+xOo=\r\n\r\n",
        )?;
        loop {
            let mut start = [0; 6];
            stream.read_exact(&mut start)?;
            let mut text = vec![0; usize::from(start[1] & 0x7f)];
            stream.read_exact(&mut text)?;
            let mask = start[2..].iter().cycle();
            let text: Vec<u8> = text.iter().zip(mask).map(|(byte, mask)| byte ^ mask).collect();
            stream.write_all(&[&[start[0], start[1] & 0x7f][..], &text].concat())?;
        }
    }
    let host = head.lines().find_map(|line| line.strip_prefix("Host: ")).unwrap_or_default();
    let status = if head.contains("/redirect ") {
        format!("302 Found\r\nLocation: http://{host}/base/there")
    } else {
        "200 OK".to_owned()
    };
    let length = head.len();
    write!(stream, "HTTP/1.1 {status}\r\nContent-Length: {length}\r\nConnection: close\r\n\r\n{head}")
}
