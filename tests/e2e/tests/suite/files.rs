//! wsgi.file_wrapper.

use e2e::Needs::OneProcess;
use e2e::{Cases, Ending, Mode, Server, Setup, Test, on_each_mpm, on_one_mpm, wait_until};

pub(crate) const TESTS: &[Test] = &[
    on_each_mpm!(files_are_sent_whole),
    on_one_mpm!(files_are_closed, OneProcess),
    on_one_mpm!(the_file_wrapper_has_every_method),
];

const APP: &str = include_str!("../../apps/files.wsgi");

/// Not a multiple of any block size, and no part of it like another.
fn data() -> Vec<u8> {
    (0..300_007u32).map(|index| (index.wrapping_mul(2_654_435_761) >> 13) as u8).collect()
}

fn serving(setup: Setup) -> Setup {
    setup
        .file("data.bin", data())
        .app("/", "app.wsgi", APP)
        .conf("WSGIApplicationGroup %{GLOBAL}\n<Location /sendfile>\nWSGIEnableSendfile On\n</Location>")
}

fn files_are_sent_whole(setup: Setup) {
    serving(setup).run(|server, cases| {
        let data = data();
        check_files_with_a_length(server, cases, &data);
        for (target, expected) in [
            ("/memory", b"memory".repeat(5000)),
            ("/unclosable", b"no close".to_vec()),
            ("/no_position", b"iterated".to_vec()),
            ("/pipe", b"through a pipe".to_vec()),
            ("/after_write", [b"before ", &data[..]].concat()),
        ] {
            cases.check(target, || {
                let response = server.get(target);
                assert_eq!((response.status, response.ending), (200, Ending::Framed));
                assert_eq!(response.header("Transfer-Encoding"), Some("chunked"));
                assert!(response.body == expected, "{} bytes differ", response.body.len());
            });
        }
        cases.check("HEAD", || {
            let response = server.request("HEAD", "/whole").send();
            assert_eq!(response.header("Content-Length"), Some(data.len().to_string().as_str()));
        });
        check_ranges_of_files(server, cases, &data);
        cases.check("not started", || assert_eq!(server.get("/not_started").status, 500));
        cases.deviates(
            "a length beyond the end of the file",
            "a Content-Length beyond the end of a file is filled up with padding",
            || {
                let response = server.get("/too_long");
                assert_eq!((response.status, response.ending), (200, Ending::Truncated));
                assert!(response.body == data);
            },
        );
        cases.check("the position of the file is restored", || {
            for _ in 0..2 {
                let response = server.get("/position");
                assert_eq!(response.header("X-Position"), Some("0"));
                assert!(response.body == data);
            }
        });
    });
}

fn check_files_with_a_length(server: &Server, cases: &mut Cases<'_>, data: &[u8]) {
    for (target, expected) in [
        ("/whole", data),
        ("/sendfile/whole", data),
        ("/from_middle", &data[1000..]),
        ("/sendfile/from_middle", &data[1000..]),
        ("/part", &data[10..110]),
        ("/sendfile/part", &data[10..110]),
        ("/subclass", data),
        ("/at_end", &[][..]),
    ] {
        cases.check(target, || {
            let mut connection = server.connect();
            connection.send(&server.request("GET", target).keep_alive());
            let Ok(response) = connection.response("GET") else { panic!("no response") };
            assert_eq!((response.status, response.ending), (200, Ending::Framed));
            assert_eq!(response.header("Content-Length"), Some(expected.len().to_string().as_str()));
            assert!(response.body == expected, "{} bytes differ", response.body.len());
            connection.send(&server.request("GET", "/memory").keep_alive());
            assert!(connection.response("GET").is_ok_and(|again| again.status == 200));
        });
    }
}

fn check_ranges_of_files(server: &Server, cases: &mut Cases<'_>, data: &[u8]) {
    cases.deviates_in(Mode::Daemon, "Range", "a range of a file from a daemon process is not served", || {
        let response = server.request("GET", "/whole").header("Range", "bytes=5-9").send();
        assert_eq!(response.status, 206);
        assert!(response.body == data[5..10], "{} bytes differ", response.body.len());
    });
    for (name, target, range, status) in
        [("no ranges", "/no_ranges", "bytes=5-9", 200), ("beyond the end", "/whole", "bytes=1000000-", 416)]
    {
        cases.ours_only(name, "ranges of files depend on the mode", || {
            let mut connection = server.connect();
            connection.send(&server.request("GET", target).header("Range", range).keep_alive());
            let response = connection.response("GET").unwrap_or_else(|error| panic!("{error}"));
            assert_eq!((response.status, response.ending), (status, Ending::Framed));
            assert!(status != 200 || response.body == data);
            connection.send(&server.request("GET", "/memory").keep_alive());
            assert!(connection.response("GET").is_ok_and(|again| again.status == 200));
        });
    }
    cases.ours_only("ranges", "ranges of files depend on the mode", || {
        let response = server.request("GET", "/sendfile/whole").header("Range", "bytes=70000-299999").send();
        assert_eq!((response.status, response.ending), (206, Ending::Framed));
        assert!(response.body == data[70_000..300_000], "{} bytes differ", response.body.len());
        let response = server.request("GET", "/whole").header("Range", "bytes=0-1,100000-200000,-7").send();
        assert_eq!((response.status, response.ending), (206, Ending::Framed));
        let parts = [&data[..2], &data[100_000..=200_000], &data[data.len() - 7..]];
        for part in parts {
            assert!(response.body.windows(part.len()).any(|window| window == part));
        }
    });
}

fn files_are_closed(setup: Setup) {
    serving(setup).run(|server, cases| {
        let closed = |times| {
            wait_until("the file is closed", || {
                (server.get("/seen").expect(200).lines().count() == times).then_some(())
            });
        };
        cases.check("after it is sent", || {
            assert_eq!(server.get("/whole").status, 200);
            closed(1);
        });
        cases.check("when the client goes away", || {
            let mut connection = server.connect();
            connection.send(&server.request("GET", "/whole").keep_alive());
            drop(connection);
            closed(2);
        });
        cases.deviates(
            "a file without close",
            "a file object without close() leaves an AttributeError in the log",
            || {
                let mark = server.mark();
                assert_eq!(server.get("/unclosable").expect(200), "no close");
                assert_eq!(server.get("/methods").status, 200);
                assert!(!server.log_since(mark).contains("AttributeError"));
            },
        );
    });
}

fn the_file_wrapper_has_every_method(setup: Setup) {
    serving(setup).run(|server, cases| {
        let response = server.get("/methods");
        for (name, value) in [
            ("attributes", "BytesIO 4"),
            ("default", "8192"),
            ("keywords", "7"),
            ("negative", "ValueError"),
            ("float", "TypeError"),
            ("nothing", "TypeError"),
            ("assign", "AttributeError"),
            ("iter", "True"),
            ("list", "[b'abcd', b'ef']"),
            ("text", "TypeError"),
            ("close", "None None"),
            ("closed-filelike", "ValueError"),
            ("closed-next", "ValueError"),
        ] {
            cases.check(name, || assert_eq!(response.value(name).as_deref(), Some(value)));
        }
        cases.deviates("closing a wrapper of an object without close", "it raises SystemError", || {
            assert_eq!(response.value("no-close").as_deref(), Some("None"))
        });
    });
}
