//! Bodies of requests that are read before the application is called.

use std::fs::Permissions;
use std::os::unix::fs::PermissionsExt as _;

use e2e::Needs::{OneProcess, Ours, Root, Threads};
use e2e::{
    Connection, Mode, Process, Response, Server, Setup, Test, curl, on_each_mpm, on_one_mpm, wait_until,
};
use nix::mount::{MntFlags, MsFlags, mount, umount2};

use crate::ends::wait_for_logged_status;

pub(crate) const TESTS: &[Test] = &[
    on_each_mpm!(bodies_can_be_read_again, NEW),
    on_one_mpm!(the_input_moves_as_a_file_does, NEW),
    on_one_mpm!(a_directory_decides_before_the_group, NEW),
    on_each_mpm!(slow_clients_take_up_no_thread_of_python, NEW, OneProcess, Threads),
    on_one_mpm!(a_request_that_is_passed_on_keeps_its_body, NEW),
    on_one_mpm!(a_body_that_cannot_be_read_does_not_reach_the_application, NEW),
    on_one_mpm!(a_body_that_cannot_be_kept_is_refused, NEW, Root("mount a small file system")),
    on_one_mpm!(bodies_come_over_http_2_and_through_filters, NEW, Threads),
];

const NEW: e2e::Needs = Ours("WSGISpoolRequestBody");

const APP: &str = include_str!("../../apps/spooling.wsgi");

/// The length up to which bodies are read.
const MOST: usize = 1_000_000;

fn serving(setup: Setup) -> Setup {
    setup
        .app("/", "app.wsgi", APP)
        .conf("WSGIApplicationGroup %{GLOBAL}\nWSGIChunkedRequest On")
        .conf("LogFormat \"%>s %U\" ends\nCustomLog @ROOT@/logs/access.log ends")
}

fn spooling(setup: Setup) -> Setup {
    serving(setup).conf(&format!("WSGISpoolRequestBody {MOST}"))
}

fn body(length: usize) -> Vec<u8> {
    (0..length).map(|index| (index.wrapping_mul(2_654_435_761) >> 13) as u8).collect()
}

fn chunked(body: &[u8]) -> Vec<u8> {
    let chunk = |piece: &[u8]| [format!("{:x}\r\n", piece.len()).as_bytes(), piece, b"\r\n"].concat();
    [body.chunks(9_999).flat_map(chunk).collect(), b"0\r\n\r\n".to_vec()].concat()
}

/// Returns the response to a body that is sent in one of two ways.
fn post(server: &Server, target: &str, framing: &str, body: &[u8]) -> Response {
    let request = server.request("POST", target);
    if framing == "length" {
        return request.body(body).send();
    }
    let mut connection = server.connect();
    connection.send(&request.header("Transfer-Encoding", "chunked").keep_alive());
    connection.send(&chunked(body));
    connection.response("POST").unwrap_or_else(|error| panic!("{error}"))
}

fn bodies_can_be_read_again(setup: Setup) {
    spooling(setup).run(|server, cases| {
        // In memory, at its limit, in a file, at the limit, and beyond.
        for length in [0, 1, 65_536, 65_537, MOST, MOST + 1, 3 * MOST] {
            for framing in ["length", "chunked"] {
                cases.check(&format!("{length}, {framing}"), || {
                    let response = post(server, "/facts", framing, &body(length));
                    let value = |name: &str| response.value(name).unwrap_or_default();
                    assert_eq!(value("length"), length.to_string());
                    if length <= MOST {
                        assert_eq!(value("type"), "SeekableInput");
                        assert_eq!(value("content-length"), length.to_string());
                        for name in ["same", "lines", "end"] {
                            assert_eq!(value(name), "True", "{name}");
                        }
                    } else {
                        assert_eq!(value("type"), "Input");
                        let declared =
                            if framing == "length" { length.to_string() } else { "None".to_owned() };
                        assert_eq!(value("content-length"), declared);
                        assert!(value("same").contains("AttributeError"));
                    }
                });
            }
        }
        cases.check("contents", || {
            let (kept, passed_on) = (body(MOST), body(MOST + 1));
            for body in [kept, passed_on] {
                let digest = post(server, "/facts", "chunked", &body).value("digest");
                server.write("body", &body);
                let output = std::process::Command::new("md5sum").arg(server.path("body")).output();
                let output = output.unwrap_or_else(|error| panic!("md5sum: {error}"));
                let expected = String::from_utf8_lossy(&output.stdout);
                assert!(digest.is_some_and(|digest| expected.starts_with(&digest)), "{expected}");
            }
        });
        cases.check("no body", || {
            let response = server.get("/facts");
            assert_eq!(response.value("type").as_deref(), Some("SeekableInput"));
            assert_eq!(response.value("content-length").as_deref(), Some("None"));
            assert_eq!(response.value("same").as_deref(), Some("True"));
        });
        cases.check("the connection is kept", || {
            let mut connection = server.connect();
            for target in ["/unread", "/slow", "/unread"] {
                let request = server.request("POST", target).header("Content-Length", "200000");
                connection.send(&request.keep_alive());
                connection.send(&body(200_000));
                let response = connection.response("POST").unwrap_or_else(|error| panic!("{error}"));
                let _ = response.expect(200);
            }
        });
        cases.check("a redirect within the server", || {
            if server.mode() == Mode::Daemon {
                assert_eq!(server.request("POST", "/redirects").body("body").send().expect(200), "unread");
            }
        });
        cases.check("no file is left open", || {
            // A child lets go of the last one after its response.
            wait_until("children without files", || {
                let links = server.children().into_iter().flat_map(|child| Process(child).descriptors());
                let mut files = links.filter(|(_, target)| target.starts_with("/var/tmp"));
                files.next().is_none().then_some(())
            });
        });
    });
}

fn the_input_moves_as_a_file_does(setup: Setup) {
    spooling(setup).run(|server, cases| {
        // In memory, and in a file.
        for rest in [0, 100_000] {
            let text = format!("abc\ndefghij{}yz", "x".repeat(rest));
            let end = text.len();
            let response = server.request("POST", "/seeks").body(&text).send();
            let at_current = "(5, b'efg', 8)".to_owned();
            for (name, value) in [
                ("seekable", "True"),
                ("end-first", &*end.to_string()),
                ("at-end", "b''"),
                ("start", "(0, 0)"),
                ("readline", "(b'abc\\n', 4)"),
                ("current", &*at_current),
                ("back", &*format!("({}, b'yz')", end - 2)),
                ("before", if rest == 0 { "(0, b'a')" } else { "(99914, b'x')" }),
                ("beyond", "(1000000, 1000000, b'')"),
                ("too-far", "OverflowError: new position too large"),
                ("unmoved", "(0, 0)"),
                ("negative", "ValueError: negative seek value -1"),
                ("whence", "ValueError: invalid whence (3, should be 0, 1 or 2)"),
            ] {
                cases.check(&format!("{name} of {end}"), || {
                    assert_eq!(response.value(name).as_deref(), Some(value));
                });
            }
            for name in ["no-number", "nothing"] {
                cases.check(&format!("{name} of {end}"), || {
                    let value = response.value(name).unwrap_or_default();
                    assert!(value.starts_with("TypeError"), "{value}");
                });
            }
        }
    });
}

fn a_directory_decides_before_the_group(setup: Setup) {
    serving(setup)
        .group("spool-body=1K")
        .conf("<Location /off>\nWSGISpoolRequestBody Off\n</Location>")
        .conf("<Location /more>\nWSGISpoolRequestBody 2K\n</Location>")
        .file("apps/.htaccess", "<If \"%{QUERY_STRING} == 'here'\">\nWSGISpoolRequestBody 3K\n</If>\n")
        .conf("<Directory @ROOT@/apps>\nAllowOverride All\n</Directory>")
        .run(|server, cases| {
            let is_daemon = server.mode() == Mode::Daemon;
            for (target, length, is_kept) in [
                ("/facts", 1024, is_daemon),
                ("/facts", 1025, false),
                ("/off/facts", 1, false),
                ("/more/facts", 2048, true),
                ("/more/facts", 2049, false),
                ("/facts?here", 3072, true),
            ] {
                cases.check(&format!("{target} with {length}"), || {
                    let response = server.request("POST", target).body(body(length)).send();
                    let wanted = if is_kept { "SeekableInput" } else { "Input" };
                    assert_eq!(response.value("type").as_deref(), Some(wanted));
                });
            }
        });
}

fn slow_clients_take_up_no_thread_of_python(setup: Setup) {
    const CLIENTS: usize = 100;
    spooling(setup).threads(110).group("threads=5").run(|server, cases| {
        cases.check("slow clients", || {
            let mut clients: Vec<Connection> = (0..CLIENTS)
                .map(|_| {
                    let mut client = server.connect();
                    let request = server.request("POST", "/slow").header("Content-Length", "100000");
                    client.send(&request.keep_alive());
                    client.send(&[b'x'; 1000]);
                    client
                })
                .collect();
            for _ in 0..20 {
                assert_eq!(server.request("POST", "/facts").body("quick").send().status, 200);
                assert_eq!(server.get("/called").expect(200), "0");
            }
            for client in &mut clients {
                client.send(&[b'x'; 99_000]);
            }
            for client in &mut clients {
                let response = client.response("POST").unwrap_or_else(|error| panic!("{error}"));
                assert_eq!(response.expect(200), "100000");
            }
            assert_eq!(server.get("/called").expect(200), CLIENTS.to_string());
        });
        cases.check("100 Continue", || {
            let mut client = server.connect();
            let request = server.request("POST", "/slow").header("Content-Length", "4");
            client.send(&request.header("Expect", "100-continue").keep_alive());
            let interim = client.at_least(12).unwrap_or_else(|error| panic!("{error}"));
            let interim = String::from_utf8_lossy(&interim);
            assert!(interim.starts_with("HTTP/1.1 100"), "{interim}");
            client.send(b"body");
            let response = client.response("POST").unwrap_or_else(|error| panic!("{error}"));
            assert_eq!(response.expect(200), "4");
        });
    });
}

fn a_request_that_is_passed_on_keeps_its_body(setup: Setup) {
    spooling(setup).run(|server, cases| {
        let _ = server.get("/called");
        for length in [50_000, 200_000] {
            cases.check(&length.to_string(), || {
                // If the successor takes longer than a request waits for it, the old one answers.
                let is_passed_on = (0..5).any(|round| {
                    let mark = server.mark();
                    server.write("apps/app.wsgi", format!("{APP}\n# {length} {round}\n"));
                    let response = server.request("POST", "/facts").body(body(length)).send();
                    assert_eq!(response.value("length"), Some(length.to_string()));
                    assert_eq!(response.value("same").as_deref(), Some("True"));
                    server.log_since(mark).contains("is being replaced: attempt 2")
                });
                assert_eq!(is_passed_on, server.mode() == Mode::Daemon);
            });
        }
    });
}

fn a_body_that_cannot_be_read_does_not_reach_the_application(setup: Setup) {
    spooling(setup)
        .modules(&["reqtimeout"])
        .conf("RequestReadTimeout body=1\nErrorDocument 413 /error")
        .conf("<Location /limited>\nLimitRequestBody 1000\n</Location>")
        .run(|server, cases| {
            let mut check = |name: &str, target: &str, status: u16, sent: &[u8], is_finished: bool| {
                cases.check(name, || {
                    let mark = server.mark();
                    let mut client = server.connect();
                    let request = server.request("POST", target).header("Transfer-Encoding", "chunked");
                    client.send(&request.keep_alive());
                    client.send(sent);
                    if is_finished {
                        client.finish_sending();
                    }
                    if let Ok(response) = client.response("POST") {
                        assert_eq!(response.status, status, "{}", response.text());
                    }
                    server.wait_log(mark, "WSGI0126");
                    assert_eq!(wait_for_logged_status(server, target), status);
                    assert_eq!(server.get("/called").expect(200), "0");
                });
            };
            check("too long", "/limited/slow", 413, &chunked(&body(2000)), false);
            check("malformed", "/malformed/slow", 400, b"no number\r\n", false);
            check("stalled", "/stalled/slow", 408, b"5\r\nhalf ", false);
            check("cut off", "/cut/slow", 400, b"5\r\nhalf ", true);
        });
}

fn a_body_that_cannot_be_kept_is_refused(setup: Setup) {
    spooling(setup).file("temporary/keep", "").conf("ErrorDocument 507 /error").run(|server, cases| {
        let directory = server.path("temporary");
        let post = |length: usize| server.request("POST", "/slow").body(body(length)).send();
        cases.check("a directory that Apache's user cannot write to", || {
            let mark = server.mark();
            assert_eq!(post(200_000).status, 500);
            let line = server.wait_log(mark, "WSGI1022");
            assert!(line.contains("Permission denied") && line.contains("/temporary"), "{line}");
        });
        cases.check("short bodies need no file", || assert_eq!(post(60_000).expect(200), "60000"));
        let opened = std::fs::set_permissions(&directory, Permissions::from_mode(0o777));
        opened.unwrap_or_else(|error| panic!("{error}"));
        cases.check("one that it can write to", || assert_eq!(post(200_000).expect(200), "200000"));
        let (kind, options) = (Some("tmpfs"), Some("size=256k,mode=777"));
        mount(kind, &directory, kind, MsFlags::empty(), options).unwrap_or_else(|error| panic!("{error}"));
        cases.check("a full disk", || {
            let mark = server.mark();
            let response = post(900_000);
            assert_eq!(response.status, 507);
            assert!(response.text().starts_with("document Input"), "{}", response.text());
            server.wait_log(mark, "No space left on device");
            // Nothing is left behind.
            assert_eq!(post(200_000).expect(200), "200000");
        });
        umount2(&directory, MntFlags::MNT_DETACH).unwrap_or_else(|error| panic!("{error}"));
        std::fs::remove_dir_all(&directory).unwrap_or_else(|error| panic!("{error}"));
        cases.check("a directory that is missing", || {
            let mark = server.mark();
            assert_eq!(post(200_000).status, 500);
            let line = server.wait_log(mark, "No such file or directory");
            assert!(line.contains("create the directory"), "{line}");
        });
    });
}

fn bodies_come_over_http_2_and_through_filters(setup: Setup) {
    let setup = spooling(setup).tls().modules(&["http2", "deflate"]).conf("Protocols h2 http/1.1");
    setup.conf("<Location /inflated>\nSetInputFilter DEFLATE\n</Location>").run(|server, cases| {
        server.write("upload", body(300_000));
        let data = format!("@{}", server.path("upload").display());
        for version in ["--http2", "--http1.1"] {
            cases.check(version, || {
                let url = format!("https://localhost:{}/facts", server.tls_port());
                let output = curl(["--insecure", version, "--data-binary", &data, &url]);
                let text = String::from_utf8_lossy(&output.stdout);
                for line in ["type\tSeekableInput", "content-length\t300000", "length\t300000", "same\tTrue"]
                {
                    assert!(text.lines().any(|found| found == line), "{line}: {text}");
                }
            });
        }
        cases.check("a compressed body", || {
            let compressed = std::process::Command::new("gzip").arg(server.path("upload")).status();
            assert!(compressed.is_ok_and(|status| status.success()));
            let compressed = std::fs::read(server.path("upload.gz")).unwrap_or_default();
            let request = server.request("POST", "/inflated/facts").header("Content-Encoding", "gzip");
            let response = request.body(compressed).send();
            for (name, value) in [
                ("type", "SeekableInput"),
                ("content-length", "300000"),
                ("length", "300000"),
                ("same", "True"),
            ] {
                assert_eq!(response.value(name).as_deref(), Some(value), "{name}");
            }
        });
        cases.check("a compressed body that turns out to be longer", || {
            let text: String = (0..200_000).map(|number| format!("{number}\n")).collect();
            assert!(text.len() > MOST);
            server.write("text", &text);
            let compressed = std::process::Command::new("gzip").arg(server.path("text")).status();
            assert!(compressed.is_ok_and(|status| status.success()));
            let compressed = std::fs::read(server.path("text.gz")).unwrap_or_default();
            assert!(compressed.len() < MOST);
            let request = server.request("POST", "/inflated/facts").header("Content-Encoding", "gzip");
            let response = request.body(compressed).send();
            let length = text.len().to_string();
            for (name, value) in [("type", "Input"), ("length", &*length)] {
                assert_eq!(response.value(name).as_deref(), Some(value), "{name}");
            }
        });
    });
}
