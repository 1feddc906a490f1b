//! Files that become shorter while they are sent. A mapped one would end the child with SIGBUS, and with it everybody's
//! connections; one that is read only looks complete where nobody counts.

use std::fs::File;
use std::io::{Read as _, Write as _};
use std::process::{Command, Stdio};

use e2e::{Connection, Ending, Server, Setup, on_each_mpm, on_one_mpm};

const APP: &str = include_str!("../../apps/shrinking.wsgi");

/// More than all buffers between the file and a client that does not read.
const LENGTH: usize = 48 << 20;

/// What does not get shorter when it is compressed.
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

fn fill(server: &Server, noise: &[u8]) {
    std::fs::write(server.path("shrinking.bin"), noise).unwrap_or_else(|error| panic!("{error}"));
}

fn shrink(server: &Server, length: u64) {
    let file = File::options().write(true).open(server.path("shrinking.bin"));
    file.and_then(|file| file.set_len(length)).unwrap_or_else(|error| panic!("{error}"));
}

/// A pipelined pair of requests; the second response must not be taken for a part of the first, nor follow it.
fn begin(server: &Server, target: &str, headers: &[(&str, &str)]) -> (Connection, Vec<u8>) {
    let mut connection = server.connect();
    let request = headers
        .iter()
        .fold(server.request("GET", target), |request, (name, value)| request.header(name, value));
    connection.send(&[request.keep_alive(), server.request("GET", "/ok").keep_alive()].concat());
    let beginning = connection.at_least(1000).unwrap_or_else(|error| panic!("{error}"));
    (connection, beginning)
}

#[test]
fn a_file_that_shrinks_breaks_the_response_off() {
    let noise = noise();
    on_each_mpm(|setup| {
        serving(setup).run(|server, cases| {
            assert_eq!(server.get("/ok").expect(200), "ok");
            let children = server.children();
            for (name, target, headers) in [
                ("plain", "/plain", &[][..]),
                ("DEFLATE", "/deflate", &[("Accept-Encoding", "gzip")]),
                (
                    "DEFLATE of a range",
                    "/deflate",
                    &[("Accept-Encoding", "gzip"), ("Range", "bytes=0-45000000")],
                ),
                ("a range", "/plain", &[("Range", "bytes=1000-45000000")]),
                ("sendfile", "/sendfile", &[]),
                ("a range by sendfile", "/sendfile", &[("Range", "bytes=1000-45000000")]),
            ] {
                cases.ours_only(
                    name,
                    "the child crashes, or the next response is a part of this one",
                    || {
                        fill(server, &noise);
                        let (mut connection, mut all) = begin(server, target, headers);
                        shrink(server, 100_000);
                        all.extend(connection.rest().unwrap_or_default());
                        assert!(
                            !all.windows(2).any(|pair| pair == b"ok") || !all.ends_with(b"ok"),
                            "no response follows"
                        );
                        assert!(!all.ends_with(b"\r\n0\r\n\r\n"), "it looks complete");
                        assert!(all.len() < LENGTH, "it is not complete: {}", all.len());
                    },
                );
            }
            cases.check("the child is the same", || {
                assert_eq!(server.get("/ok").expect(200), "ok");
                assert_eq!(server.children(), children);
            });
        });
    });
}

#[test]
fn a_file_that_has_shrunk_is_not_begun() {
    on_one_mpm(|setup| {
        serving(setup).run(|server, cases| {
            cases.check("whole", || {
                fill(server, b"some text");
                let response = server.get("/plain");
                assert_eq!((response.expect(200).as_str(), response.ending), ("some text", Ending::Framed));
            });
        });
    });
}

#[test]
fn a_file_that_shrinks_breaks_the_response_off_over_tls() {
    let noise = noise();
    on_one_mpm(|setup| {
        serving(setup).tls().run(|server, cases| {
            assert_eq!(server.get("/ok").expect(200), "ok");
            let children = server.children();
            for target in ["/plain", "/deflate"] {
                cases.check(target, || {
                    fill(server, &noise);
                    let address = format!("127.0.0.1:{}", server.tls_port());
                    let mut client = Command::new("openssl")
                        .args(["s_client", "-quiet", "-ign_eof", "-connect", &address])
                        .stdin(Stdio::piped())
                        .stdout(Stdio::piped())
                        .stderr(Stdio::null())
                        .spawn()
                        .unwrap_or_else(|error| panic!("openssl: {error}; install the package openssl"));
                    let request =
                        format!("GET {target} HTTP/1.1\r\nHost: localhost\r\nAccept-Encoding: gzip\r\n\r\n");
                    let streams = client.stdin.as_mut().zip(client.stdout.as_mut());
                    let (input, output) = streams.unwrap_or_else(|| panic!("it has both"));
                    input.write_all(request.as_bytes()).unwrap_or_else(|error| panic!("{error}"));
                    let mut all = vec![0; 1000];
                    output.read_exact(&mut all).unwrap_or_else(|error| panic!("{error}"));
                    shrink(server, 100_000);
                    let _ = output.read_to_end(&mut all);
                    let _ = (client.kill(), client.wait());
                    assert!(!all.ends_with(b"\r\n0\r\n\r\n") && all.len() < LENGTH, "it looks complete");
                });
            }
            cases.check("the child is the same", || {
                assert_eq!(server.get("/ok").expect(200), "ok");
                assert_eq!(server.children(), children);
            });
        });
    });
}
