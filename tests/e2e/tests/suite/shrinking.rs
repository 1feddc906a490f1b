//! Files that become shorter while they are sent. A mapped one would end the child with SIGBUS, and
//! with it everybody's connections; one that is read only looks complete where nobody counts.

use std::fs::File;
use std::io::Read as _;
use std::process::{Command, Stdio};

use e2e::{Connection, Server, Setup, Test, on_each_mpm, on_one_mpm};

pub(crate) const TESTS: &[Test] = &[
    on_each_mpm!(a_file_that_shrinks_breaks_the_response_off),
    on_one_mpm!(a_file_that_shrinks_breaks_the_response_off_over_tls_and_http_2),
];

const APP: &str = include_str!("../../apps/shrinking.wsgi");

/// More than all buffers between the file and a client that does not read.
const LENGTH: usize = 48 << 20;

/// Returns bytes that do not get shorter when they are compressed.
fn noise() -> Vec<u8> {
    let mut state = 0x9e37_79b9_7f4a_7c15_u64;
    let next = |_| {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        state.to_le_bytes()
    };
    (0..LENGTH / 8).flat_map(next).collect()
}

fn serving(setup: Setup) -> Setup {
    setup
        .file("shrinking.bin", "")
        .app("/", "app.wsgi", APP)
        .modules(&["deflate"])
        .children(1)
        .conf("EnableMMAP On\nWSGIApplicationGroup %{GLOBAL}\nKeepAliveTimeout 2")
        .conf("<Location /deflate>\nSetOutputFilter DEFLATE\n</Location>")
        .conf("<Location /sendfile>\nWSGIEnableSendfile On\nEnableSendfile On\n</Location>")
}

fn fill_file(server: &Server, noise: &[u8]) {
    std::fs::write(server.path("shrinking.bin"), noise).unwrap_or_else(|error| panic!("{error}"));
}

fn shrink_file(server: &Server, length: u64) {
    let file = File::options().write(true).open(server.path("shrinking.bin"));
    file.and_then(|file| file.set_len(length)).unwrap_or_else(|error| panic!("{error}"));
}

/// A pipelined pair of requests; the second response must not be taken for a part of the first, nor
/// follow it.
fn start_download(server: &Server, target: &str, headers: &[(&str, &str)]) -> (Connection, Vec<u8>) {
    let mut connection = server.connect();
    let request = headers
        .iter()
        .fold(server.request("GET", target), |request, (name, value)| request.header(name, value));
    connection.send(&[request.keep_alive(), server.request("GET", "/ok").keep_alive()].concat());
    let beginning = connection.at_least(1000).unwrap_or_else(|error| panic!("{error}"));
    (connection, beginning)
}

fn a_file_that_shrinks_breaks_the_response_off(setup: Setup) {
    let noise = noise();
    serving(setup).run(|server, cases| {
        assert_eq!(server.get("/ok").expect(200), "ok");
        let children = server.children();
        for (name, target, headers) in [
            ("plain", "/plain", &[][..]),
            ("DEFLATE", "/deflate", &[("Accept-Encoding", "gzip")]),
            ("DEFLATE of a range", "/deflate", &[("Accept-Encoding", "gzip"), ("Range", "bytes=0-45000000")]),
            ("a range", "/plain", &[("Range", "bytes=1000-45000000")]),
            ("sendfile", "/sendfile", &[]),
            ("a range by sendfile", "/sendfile", &[("Range", "bytes=1000-45000000")]),
        ] {
            cases.ours_only(name, "the child crashes, or the next response is a part of this one", || {
                fill_file(server, &noise);
                let (mut connection, mut all) = start_download(server, target, headers);
                shrink_file(server, 100_000);
                all.extend(connection.rest().unwrap_or_default());
                assert!(!all.ends_with(b"ok"), "no response follows");
                assert!(!all.ends_with(b"\r\n0\r\n\r\n"), "it looks complete");
                assert!(all.len() < LENGTH, "it is not complete: {}", all.len());
            });
        }
        cases.ours_only("the child is the same", "it has crashed", || {
            assert_eq!(server.get("/ok").expect(200), "ok");
            server.assert_live(&children);
        });
    });
}

/// The arguments of a client, which writes what it gets to its standard output, and its status if
/// that breaks off.
type Client<'a> = (&'a str, &'a [&'a str], &'a [i32]);

fn a_file_that_shrinks_breaks_the_response_off_over_tls_and_http_2(setup: Setup) {
    let noise = noise();
    let has_http2 = setup.mpm().threaded();
    let (modules, protocols): (&[&str], _) =
        if has_http2 { (&["http2"], "Protocols h2 http/1.1") } else { (&[], "Protocols http/1.1") };
    serving(setup).tls().modules(modules).conf(protocols).run(|server, cases| {
        assert_eq!(server.get("/ok").expect(200), "ok");
        let children = server.children();
        let clients: [Client<'_>; 4] = [
            ("/plain", &["--http1.1"], &[18, 56]),
            ("/deflate", &["--http1.1", "-H", "Accept-Encoding: gzip"], &[18, 56]),
            ("/plain", &["--http2"], &[92, 18]),
            ("/deflate", &["--http2", "-H", "Accept-Encoding: gzip"], &[92, 18]),
        ];
        for (target, options, statuses) in &clients[..if has_http2 { 4 } else { 2 }] {
            cases.ours_only(&format!("{target} {}", options[0]), "the child crashes", || {
                fill_file(server, &noise);
                let mut client = Command::new("curl")
                    .args(["--silent", "--max-time", "60", "--noproxy", "*", "--insecure", "--no-buffer"])
                    .args(*options)
                    .arg(format!("https://127.0.0.1:{}{target}", server.tls_port()))
                    .stdout(Stdio::piped())
                    .spawn()
                    .unwrap_or_else(|error| panic!("curl: {error}; install the package curl"));
                let mark = server.mark();
                let mut all = vec![0; 1000];
                let read = client.stdout.as_mut().map(|output| {
                    output.read_exact(&mut all)?;
                    shrink_file(server, 100_000);
                    output.read_to_end(&mut all)
                });
                let status = client.wait().map(|status| status.code());
                assert!(
                    matches!(status, Ok(Some(status)) if statuses.contains(&status)),
                    "{status:?} {read:?}"
                );
                assert!(all.len() < LENGTH, "it is not complete: {}", all.len());
                server.wait_log(mark, "has become shorter");
            });
        }
        cases.ours_only("the child is the same", "it has crashed", || {
            assert_eq!(server.get("/ok").expect(200), "ok");
            server.assert_live(&children);
        });
    });
}
