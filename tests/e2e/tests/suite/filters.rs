//! Responses on their way through filters, which end them themselves, keep them back, or store
//! them.

use std::os::unix::fs::PermissionsExt as _;
use std::time::Duration;

use e2e::Needs::Threads;
use e2e::{Connection, Ending, Mode, Response, Server, Setup, Test, curl, on_each_mpm, on_one_mpm};

use crate::ends::{serving, wait_for_logged_status};

pub(crate) const TESTS: &[Test] = &[
    on_each_mpm!(a_filter_that_has_answered_has_the_last_word),
    on_each_mpm!(a_filter_that_has_answered_has_the_last_word_over_http_2, Threads),
    on_each_mpm!(a_file_sent_by_mod_xsendfile_is_the_response),
    on_one_mpm!(a_response_that_breaks_off_is_not_cached),
    on_one_mpm!(filters_do_not_make_a_response_look_complete),
    on_one_mpm!(filters_that_gather_a_response_do_not_have_ranges_of_it_served),
];

/// Sends bytes, and the answer to them.
fn exchange(connection: &mut Connection, method: &str, bytes: &[u8]) -> std::io::Result<Response> {
    connection.send(bytes);
    connection.response(method)
}

/// The applications that have a body which cannot be read, and whether they show the failure.
const READERS: &[&str] = &["read", "read_and_catch", "read_and_stream", "read_and_write"];

/// Why the original does not leave the response to a filter that has answered.
const ANSWERED: &str = "it adds what the application sends to Apache's page, or answers with 500";

fn a_filter_that_has_answered_has_the_last_word(setup: Setup) {
    serving(setup).conf("LimitRequestBody 100\nWSGIChunkedRequest On").run(|server, cases| {
        for &reader in READERS {
            let large = format!("{:x}\r\n{}\r\n0\r\n\r\n", 200, "x".repeat(200));
            for (what, chunks, status) in [
                ("large", large.as_str(), 413),
                ("bad", "5\r\nabcdeXX\r\n", 400),
                ("bad-late", "zz\r\n", 400),
            ] {
                cases.deviates(&format!("{reader} {what}"), ANSWERED, || {
                    let target = format!("/{reader}?{what}");
                    let mut connection = server.connect();
                    let request = server.request("POST", &target).header("Transfer-Encoding", "chunked");
                    connection.send(&request.keep_alive());
                    if what == "bad-late" {
                        connection.send(b"3\r\nabc\r\n");
                        std::thread::sleep(Duration::from_millis(50));
                    }
                    let response = exchange(&mut connection, "POST", chunks.as_bytes());
                    let response = response.unwrap_or_else(|error| panic!("{error}"));
                    assert_eq!((response.status, response.header("X-App")), (status, None));
                    assert!(response.text().ends_with("</body></html>\n"), "{}", response.text());
                    let rest = connection.rest().unwrap_or_else(|error| panic!("{error}"));
                    assert_eq!(String::from_utf8_lossy(&rest), "", "nothing comes behind it");
                    assert_eq!(wait_for_logged_status(server, &target), status);
                });
            }
        }
        // In daemon mode, the original would begin when the body has been read.
        cases.ours_only("a response that has begun does not look complete", ANSWERED, || {
            let mut connection = server.connect();
            let request = server.request("POST", "/read_when_begun").header("Transfer-Encoding", "chunked");
            connection.send(&request.keep_alive());
            let mut seen = Vec::new();
            while !seen.ends_with(b"begun\r\n") {
                seen.extend(connection.at_least(1).unwrap_or_else(|error| panic!("{error}: {seen:?}")));
            }
            connection.send(b"zz\r\n");
            let rest = connection.rest().unwrap_or_else(|error| panic!("{error}"));
            assert_eq!(String::from_utf8_lossy(&rest), "");
        });
    });
}

fn a_filter_that_has_answered_has_the_last_word_over_http_2(setup: Setup) {
    serving(setup)
        .modules(&["http2", "xsendfile"])
        .file("htdocs/file.txt", "the file\n")
        .conf("Protocols h2c http/1.1\nWSGIChunkedRequest On\nLimitRequestBody 100\nXSendFile On\nXSendFilePath @ROOT@/htdocs")
        .run(|server, cases| {
            server.write("upload", "x".repeat(200));
            let fetch = |target: &str, arguments: &[&str]| {
                let url = format!("http://127.0.0.1:{}{target}", server.port());
                let common = ["--http2-prior-knowledge", "--write-out", " %{http_code}", url.as_str()];
                let output = curl(common.into_iter().chain(arguments.iter().copied()));
                assert!(output.status.success(), "curl: {}", String::from_utf8_lossy(&output.stderr));
                String::from_utf8_lossy(&output.stdout).into_owned()
            };
            for &reader in READERS {
                cases.deviates(reader, ANSWERED, || {
                    let target = format!("/{reader}");
                    let file = server.path("upload").display().to_string();
                    let upload = ["--header", "Transfer-Encoding: chunked", "--upload-file", &file];
                    let text = fetch(&target, &upload);
                    assert!(text.ends_with("</body></html>\n 413"), "{text}");
                    assert_eq!(wait_for_logged_status(server, &target), 413);
                });
            }
            for how in ["nothing/1000", "blocks/", "write/1000"] {
                cases.check(how, || {
                    assert_eq!(fetch(&format!("/file?file.txt/{how}"), &[]), "the file\n 200");
                });
            }
        });
}

fn a_file_sent_by_mod_xsendfile_is_the_response(setup: Setup) {
    serving(setup)
        .modules(&["xsendfile"])
        .file("htdocs/file.txt", "the file\n")
        .conf("XSendFile On\nXSendFilePath @ROOT@/htdocs")
        .run(|server, cases| {
            for (how, length) in [
                ("nothing", ""),
                ("nothing", "0"),
                ("nothing", "9"),
                ("nothing", "1000"),
                ("list", ""),
                ("list", "9"),
                ("list", "1000"),
                ("blocks", ""),
                ("blocks", "1000"),
                ("empty", "1000"),
                ("write", ""),
                ("write", "1000"),
            ] {
                for method in ["GET", "HEAD"] {
                    let assertions = || {
                        let target = format!("/file?file.txt/{how}/{length}");
                        let mut connection = server.connect();
                        let request = server.request(method, &target).keep_alive();
                        let response = exchange(&mut connection, method, &request);
                        let response = response.unwrap_or_else(|error| panic!("{error}"));
                        let body = if method == "GET" { "the file\n" } else { "" };
                        assert_eq!(response.expect(200), body);
                        assert_eq!(response.header("Content-Length"), Some("9"));
                        assert_eq!(response.header("X-Sendfile"), None);
                        assert_eq!(wait_for_logged_status(server, &target), 200);
                        // The next response comes on the same connection, and is whole.
                        let next = server.request("GET", "/fine").keep_alive();
                        let next = exchange(&mut connection, "GET", &next);
                        let next = next.unwrap_or_else(|error| panic!("the connection is lost: {error}"));
                        assert_eq!(next.expect(200), "fine");
                    };
                    let name = format!("{method} {how} {length}");
                    if matches!(how, "nothing" | "empty") {
                        cases.check(&name, assertions);
                    } else {
                        let reason = "what the application sends follows the file, in daemon mode sometimes";
                        cases.ours_only(&name, reason, assertions);
                    }
                }
            }
            cases.ours_only("a status that is left alone", "a body that is too short looks complete", || {
                for target in ["/no_file", "/no_file?named"] {
                    let response = server.get(target);
                    let is_clear = response.status == 502 || response.ending == Ending::Truncated;
                    assert!(is_clear, "{target}: {response:?}");
                }
            });
            for how in ["nothing", "list", "blocks", "write"] {
                let assertions = || {
                    let target = format!("/file?none.txt/{how}/");
                    let response = server.get(&target);
                    assert_eq!((response.status, response.ending), (404, Ending::Framed));
                    assert!(!response.text().contains("shown"), "{}", response.text());
                    assert_eq!(wait_for_logged_status(server, &target), 404);
                };
                let (name, reason) = (format!("no such file, {how}"), "the client gets 500 instead of 404");
                if how == "write" {
                    cases.deviates(&name, reason, assertions);
                } else {
                    cases.deviates_in(Mode::Daemon, &name, reason, assertions);
                }
            }
        });
}

/// The ways to break off a response in both modes: an exception, or too short a body.
const BREAKS: &[&str] = &["at-once/raise", "later/raise", "much/raise", "at-once/length", "later/length"];

/// The ways to break it off in daemon mode only: the end of the process.
const CRASHES: &[&str] = &["later/kill"];

fn ways_to_break_off(server: &Server) -> impl Iterator<Item = &'static str> {
    let crashes = if server.mode() == Mode::Daemon { CRASHES } else { &[] };
    BREAKS.iter().chain(crashes).copied()
}

fn a_response_that_breaks_off_is_not_cached(setup: Setup) {
    serving(setup)
        .modules(&["cache", "cache_disk"])
        .conf("CacheEnable disk /breaking\nCacheRoot @ROOT@/cache\nCacheHeader On")
        .run(|server, cases| {
            server.expect_crashes();
            let directory = server.path("cache");
            let made = std::fs::create_dir(&directory);
            let opened = std::fs::set_permissions(directory, std::fs::Permissions::from_mode(0o777));
            assert!(made.is_ok() && opened.is_ok(), "{made:?} {opened:?}");
            cases.check("what is whole is", || {
                for _ in 0..2 {
                    let response = server.get("/breaking?at-once/end");
                    assert!(response.expect(200).contains("called 1 times"), "{:?}", response.headers);
                }
            });
            for how in ways_to_break_off(server) {
                let assertions = || {
                    let target = format!("/breaking?{how}");
                    for _ in 0..2 {
                        let response = server.get(&target);
                        let cache = response.header("X-Cache").unwrap_or_default();
                        assert!(!cache.starts_with("HIT"), "{cache}: {}", response.text());
                        assert_ne!(response.ending, Ending::Framed, "{}", response.text());
                    }
                };
                if how.ends_with("length") {
                    cases.check(how, assertions);
                } else {
                    let reason = "a response that was cut short is stored, and then served as complete";
                    cases.deviates_in(Mode::Daemon, how, reason, assertions);
                }
            }
        });
}

/// Filters that keep back, change or measure what they are given.
const FILTERS: &[(&str, &[&str], &str)] = &[
    ("none", &[], ""),
    (
        "mod_security2",
        &["unique_id", "security2"],
        "SecRuleEngine On\nSecResponseBodyAccess On\nSecResponseBodyMimeType text/html\nSecDataDir @ROOT@/run\n\
         SecRule RESPONSE_BODY \"secret\" \"id:1,phase:4,deny,status:403\"",
    ),
    ("mod_xml2enc", &["xml2enc"], "xml2EncDefault utf-8\nxml2EncAlias utf-8 UTF-8\nSetOutputFilter xml2enc"),
    ("mod_buffer", &["buffer"], "SetOutputFilter BUFFER"),
    ("mod_deflate", &["deflate"], "SetOutputFilter DEFLATE"),
    ("mod_substitute", &["substitute"], "SetOutputFilter SUBSTITUTE\nSubstitute s/called/CALLED/"),
    ("mod_include", &["include"], "SetOutputFilter INCLUDES"),
    ("mod_ratelimit", &["ratelimit"], "SetOutputFilter RATE_LIMIT\nSetEnv rate-limit 4000"),
    ("mod_proxy_html", &["xml2enc", "proxy_html"], "ProxyHTMLEnable On"),
];

fn filters_do_not_make_a_response_look_complete(setup: Setup) {
    for &(name, modules, configuration) in FILTERS {
        e2e::report(format_args!("--- {name}"));
        serving(setup.clone()).modules(modules).conf(configuration).run(|server, cases| {
            server.expect_crashes();
            for how in ways_to_break_off(server) {
                for version in ["1.1", "1.0"] {
                    if version == "1.0" && how.ends_with("kill") {
                        // A process that crashes more often would be a long time away.
                        continue;
                    }
                    let reason = "a response that was cut short looks complete";
                    cases.ours_only(&format!("{name} {how} HTTP/{version}"), reason, || {
                        check_broken_off(server, how, version);
                    });
                }
            }
        });
    }
}

/// An application that makes ten bytes, in the way that the path says.
const TEN_BYTES: &str = "\
def application(environ, start_response):
    declared = [('Content-Length', '10')] if environ['QUERY_STRING'] == 'declared' else []
    write = start_response('200 OK', [('Content-Type', 'text/html'), *declared])
    if environ['PATH_INFO'] == '/list':
        return [b'0123456789']
    if environ['PATH_INFO'] == '/write':
        write(b'01234')
        return [b'56789']
    return iter([b'01234', b'567', b'89'])
";

fn filters_that_gather_a_response_do_not_have_ranges_of_it_served(setup: Setup) {
    for &(name, modules, configuration) in &FILTERS[..4] {
        let setup = setup.clone().app("/", "app.wsgi", TEN_BYTES).modules(modules).conf(configuration);
        setup.run(|server, cases| {
            let targets = ["/list", "/list?declared", "/write?declared", "/iterator", "/iterator?declared"];
            let ranges = ["bytes=1-", "bytes=0-1,4-7", "bytes=20-"];
            for (target, range) in targets.iter().flat_map(|target| ranges.map(|range| (target, range))) {
                let reason = "a filter that gathers a response has Apache serve ranges of it";
                cases.ours_only(&format!("{name} {target} {range}"), reason, || {
                    let mut connection = server.connect();
                    let request = server.request("GET", target).header("Range", range).keep_alive();
                    for _ in 0..2 {
                        connection.send(&request);
                        let response = connection.response("GET").unwrap_or_else(|error| panic!("{error}"));
                        assert_eq!(response.expect(200), "0123456789", "{:?}", response.headers);
                        assert_eq!(response.ending, Ending::Framed, "{:?}", response.headers);
                    }
                });
            }
        });
    }
}

/// Checks that a client can tell that a response has broken off, as far as its protocol can say so.
#[track_caller]
fn check_broken_off(server: &Server, how: &str, version: &str) {
    let target = format!("/breaking?{how}/{version}");
    let mut connection = server.connect();
    let request = format!(
        "GET {target} HTTP/{version}\r\nHost: localhost\r\nConnection: keep-alive\r\nAccept-Encoding: gzip\r\n\r\n"
    );
    // No response at all is clear, too.
    let Ok(response) = exchange(&mut connection, "GET", request.as_bytes()) else { return };
    assert_eq!(connection.rest().ok().as_deref(), Some(&b""[..]), "the connection is closed");
    let says_nothing = version == "1.0" && response.ending == Ending::Closed;
    assert!(
        response.status >= 500 || response.ending == Ending::Truncated || says_nothing,
        "{} {:?} {:?}: {}",
        response.status,
        response.ending,
        response.headers,
        response.text()
    );
}
