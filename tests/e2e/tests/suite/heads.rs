//! Heads of responses: what an application may say in them, and what the server makes of it.

use e2e::{Cases, Ending, LogMark, Mode, Process, Server, Setup, Test, on_each_mpm, on_one_mpm, sanitized};

pub(crate) const TESTS: &[Test] = &[
    on_one_mpm!(fields_take_memory_once),
    on_one_mpm!(heads_have_limits),
    on_each_mpm!(ranges_are_left_to_the_application),
    on_each_mpm!(connection_headers_are_left_to_the_server),
];

const APP: &str = include_str!("../../apps/heads.wsgi");

/// The most memory that the Apache children have had, in kilobytes.
fn most_memory(server: &Server) -> u64 {
    let peak = |child| Process(child).status("VmHWM").trim_end_matches(" kB").parse().unwrap_or(u64::MAX);
    server.children().into_iter().map(peak).max().unwrap_or(u64::MAX)
}

/// Checks that no Apache child has taken more memory since `before`, in kilobytes, than `most`.
#[track_caller]
fn check_growth(server: &Server, before: u64, most: u64) {
    if sanitized("it keeps what is freed") {
        return;
    }
    let growth = most_memory(server).saturating_sub(before);
    assert!(growth < most, "an Apache child has taken {growth} kB for heads");
}

fn fields_take_memory_once(setup: Setup) {
    setup.app("/", "app.wsgi", APP).children(1).run(|server, cases| {
        let children = server.children();
        assert_eq!(server.get("/?count=10&length=200").expect(200), "hello");
        let before = most_memory(server);
        for name in ["X", "Set-Cookie", "WWW-Authenticate", "Location", "Connection"] {
            cases.check(name, || {
                let response = server.get(&format!("/?name={name}&count=900&length=200"));
                assert_eq!(response.expect(200), "hello");
                let length: usize = response.all(name).iter().map(|value| value.len()).sum();
                let single = name == "Location" && server.mode() == Mode::Daemon;
                match name {
                    "Connection" => {}
                    _ if single => assert_eq!(length, 200),
                    _ => assert!(length >= 900 * 200, "{length}"),
                }
            });
        }
        cases.ours_only("memory", "fields of one name take memory with the square of their number", || {
            check_growth(server, before, 24 << 10);
            server.assert_live(&children);
        });
    });
}

fn heads_have_limits(setup: Setup) {
    setup.app("/", "app.wsgi", APP).children(1).run(|server, cases| {
        let children = server.children();
        assert_eq!(server.get("/?count=10&length=200").expect(200), "hello");
        let before = most_memory(server);
        // What is much too long is refused before it is read.
        let many = server.mode().pick("8001 headers", "longer than 262144 bytes");
        for (query, what) in [
            ("name=X&count=8000&length=800", many),
            ("name=X@&count=8000&length=800", many),
            ("name=Set-Cookie&count=1001", "1002 headers"),
            ("name=X&count=900&length=400", "longer than 262144 bytes"),
            ("name=X@&count=20&length=20000", "longer than 262144 bytes"),
        ] {
            cases.ours_only(query, "there is no limit, and gigabytes of memory are taken", || {
                let mark = server.mark();
                let mut connection = server.connect();
                connection.send(&server.request("GET", &format!("/?{query}")).keep_alive());
                let response = connection.response("GET").unwrap_or_else(|error| panic!("{error}"));
                assert_eq!((response.status, response.ending), (500, Ending::Framed));
                assert!(response.text().contains("Internal Server Error"));
                let log = server.wait_log(mark, "WSGI0144");
                assert!(log.contains(what), "{log}");
                // Apache keeps no connection after this status.
                assert_eq!(response.header("Connection"), Some("close"));
                assert!(connection.at_least(1).is_err(), "nothing follows");
            });
        }
        cases.check("memory", || {
            check_growth(server, before, server.mode().pick(48 << 10, 24 << 10));
            server.assert_live(&children);
        });
    });
}

fn ranges_are_left_to_the_application(setup: Setup) {
    setup.app("/", "app.wsgi", APP).run(|server, cases| {
        let whole = |target: &str, range: &str| {
            let response = server.request("GET", target).header("Range", range).send();
            assert_eq!((response.expect(200).as_str(), response.header("Content-Range")), ("hello", None));
            assert_eq!((response.header("Content-Length"), response.ending), (Some("5"), Ending::Framed));
        };
        for (target, range) in [
            ("/", "bytes=1-3"),
            ("/", "bytes=0-0,4-4"),
            ("/", "bytes=100-200"),
            ("/?field=Accept-Ranges:none", "bytes=1-3"),
            ("/?field=Accept-Ranges:bytes", "bytes=1-3"),
        ] {
            cases.check(&format!("{target} {range}"), || whole(target, range));
        }
        cases.check("of an iterator", || whole("/?generator", "bytes=1-3"));
        cases.check("its own", || {
            let target = "/?status=206+Partial+Content&field=Content-Range:bytes+1-5/7";
            let response = server.request("GET", target).header("Range", "bytes=1-5").send();
            assert_eq!(
                (response.expect(206).as_str(), response.header("Content-Range")),
                ("hello", Some("bytes 1-5/7"))
            );
        });
    });
}

fn connection_headers_are_left_to_the_server(setup: Setup) {
    let fields = [
        "Transfer-Encoding:chunked",
        "transfer-encoding:gzip, chunked",
        "Connection:keep-alive",
        "Connection:Upgrade",
        "Keep-Alive:timeout=1000",
        "Proxy-Authenticate:Basic",
        "Proxy-Authorization:Basic",
        "Proxy-Connection:close",
        "TE:trailers",
        "Trailer:X",
        "Upgrade:websocket",
    ];
    setup.app("/", "app.wsgi", APP).run(|server, cases| {
        for field in fields {
            let check = || {
                let (name, value) = field.split_once(':').unwrap_or_default();
                let mut connection = server.connect();
                let target = format!("/?field={}", field.replace(' ', "+"));
                connection.send(&server.request("GET", &target).keep_alive());
                let response = connection.response("GET").unwrap_or_else(|error| panic!("{error}"));
                assert_eq!((response.expect(200).as_str(), response.ending), ("hello", Ending::Framed));
                assert_eq!(response.header("Content-Length"), Some("5"));
                // Apache has its own to say.
                let own = ["Connection", "Keep-Alive"].contains(&name);
                let passed = response.all(name).into_iter().any(|found| !own || found == value);
                assert!(!passed || field == "Connection:keep-alive", "{:?}", response.headers);
                // Once for each name.
                server.wait_log(LogMark::default(), &format!("header '{}'", name.to_ascii_lowercase()));
                connection.send(&server.request("GET", "/").keep_alive());
                assert!(connection.response("GET").is_ok_and(|next| next.text() == "hello"));
            };
            let reason = "fields about the connection are passed on";
            // Of some, Apache sends its own, so that only the warning tells.
            match field.split_once(':') {
                Some(("Connection" | "Keep-Alive", _)) => cases.ours_only(field, reason, check),
                _ => cases.deviates(field, reason, check),
            }
        }
        check_the_end_of_the_connection_and_warnings(server, cases);
    });
}

fn check_the_end_of_the_connection_and_warnings(server: &Server, cases: &mut Cases<'_>) {
    cases.check("Connection: close", || {
        let mark = server.mark();
        let mut connection = server.connect();
        connection.send(&server.request("GET", "/?field=Connection:close").keep_alive());
        let response = connection.response("GET").unwrap_or_else(|error| panic!("{error}"));
        assert_eq!(response.expect(200), "hello");
        assert_eq!(response.header("Connection"), Some("close"));
        assert!(connection.at_least(1).is_err(), "nothing follows");
        assert!(!server.log_since(mark).contains("wsgi:warn"));
    });
    cases.check("warnings do not flood the log", || {
        let mark = server.mark();
        for _ in 0..20 {
            assert_eq!(server.get("/?field=Trailers:X").expect(200), "hello");
        }
        let warnings = server.log_since(mark).matches("header 'trailers'").count();
        assert!(warnings <= server.children().len(), "{warnings}");
    });
    cases.check("others are passed on", || {
        let response = server.get("/?field=Proxy-Status:x&field=Warning:y&field=Server-Timing:z");
        for (name, value) in [("Proxy-Status", "x"), ("Warning", "y"), ("Server-Timing", "z")] {
            assert_eq!(response.header(name), Some(value));
        }
    });
}
