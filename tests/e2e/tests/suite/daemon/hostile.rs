//! A daemon process that keeps to nothing. Whatever it says: the Apache child goes on, takes a
//! bounded amount of memory, and what follows on the client's connection is the next response, or
//! nothing.

use std::fs;
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};

use e2e::Needs::{Daemon, Ours};
use e2e::{Connection, Ending, FuseMount, Process, Server, Setup, Test, on_one_mpm, sanitized, wait_until};

pub(crate) const TESTS: &[Test] = &[
    on_one_mpm!(a_lying_process_does_not_harm_the_server, Daemon, Ours("promise to survive this")),
    on_one_mpm!(a_lying_process_opens_no_door, Daemon, Ours("process-group= of WSGIAccessScript")),
];

/// The response that a client gets.
#[derive(Clone, Copy, Debug)]
enum Gets {
    /// A page of Apache's.
    Page(u16),
    /// A whole response with this body.
    Body(&'static str),
    /// As above, whatever the body is.
    Whole,
    /// A response that breaks off.
    Broken,
    /// A response without a body, of this status.
    Bodiless(u16),
    /// Whatever it came to: the process and the child are in a race.
    Any,
}

use Gets::{Any, Bodiless, Body, Broken, Page, Whole};

/// The case, what the client gets, and what the log says of it.
const CASES: &[(&str, Gets, &str)] = &[
    ("fine", Body("fine"), ""),
    // Heads.
    ("status/0", Page(500), "status 000"),
    ("status/1", Page(500), "status 001"),
    ("status/99", Page(500), "status 099"),
    ("status/100", Page(500), "status 100"),
    ("status/101", Page(500), "status 101"),
    ("status/103", Page(500), "status 103"),
    ("status/199", Page(500), "status 199"),
    ("status/600", Page(500), "status 600"),
    ("status/999", Page(500), "status 999"),
    ("status/65535", Page(500), "status 65535"),
    ("status/200", Body("body"), ""),
    ("status/599", Body("body"), ""),
    ("reason/break", Page(500), "control character in status reason"),
    ("reason/nul", Page(500), "control character in status reason"),
    ("reason/tab", Page(500), "control character in status reason"),
    ("reason/long", Page(500), "WSGI0144"),
    ("name/empty", Page(500), "header name is empty"),
    ("name/space", Page(500), "in header name"),
    ("name/break", Page(500), "in header name"),
    ("name/nul", Page(500), "in header name"),
    ("name/colon", Page(500), "in header name"),
    ("name/long", Page(500), "WSGI0144"),
    ("value/break", Page(500), "line feed character in header value"),
    ("value/line", Page(500), "line feed character in header value"),
    ("value/return", Page(500), "line feed character in header value"),
    ("value/nul", Page(500), "NUL character in header value"),
    ("value/long", Page(500), "WSGI0144"),
    ("length/x", Page(500), "is not a number"),
    ("length/-4", Page(500), "is not a number"),
    ("length/4,4", Page(500), "is not a number"),
    ("length/99999999999999999999", Page(500), "is not a number"),
    ("lengths", Page(500), "two Content-Length"),
    ("hop", Body("fine"), "is dropped"),
    ("many/long", Page(500), "WSGI0144"),
    ("many/short", Page(500), "WSGI0144"),
    ("redirect/fine", Body("fine"), ""),
    ("redirect/loop", Page(500), ""),
    ("heads", Page(502), "WSGI0148"),
    ("late-head", Broken, "WSGI0119"),
    ("huge-head", Page(500), "WSGI0144"),
    ("odd-head/empty", Page(502), "WSGI0148"),
    ("odd-head/count", Page(502), "WSGI0148"),
    ("odd-head/tail", Page(502), "WSGI0148"),
    ("odd-head/long-name", Page(502), "WSGI0148"),
    ("odd-head/short", Page(502), "WSGI0148"),
    // Results.
    ("result/0", Page(500), ""),
    ("result/1", Page(500), ""),
    ("result/2", Page(502), "WSGI0148"),
    ("result/100", Page(502), "WSGI0148"),
    ("result/101", Page(502), "WSGI0148"),
    ("result/200", Page(502), "WSGI0148"),
    ("result/304", Page(502), "WSGI0148"),
    ("result/404", Page(404), ""),
    ("result/599", Page(500), ""),
    ("result/600", Page(502), "WSGI0148"),
    ("result/66036", Page(502), "WSGI0148"),
    ("result/4294967295", Page(502), "WSGI0148"),
    ("late-result/0", Body("begun"), ""),
    ("late-result/1", Broken, ""),
    ("late-result/500", Broken, ""),
    ("late-result/200", Broken, "WSGI0119"),
    // Bodies.
    ("longer", Body("fine"), ""),
    ("shorter", Broken, "has sent 4 of the 40 bytes"),
    ("no-body", Page(502), "has sent no body"),
    ("no-end", Broken, "WSGI0119"),
    ("bodiless/204", Bodiless(204), ""),
    ("bodiless/304", Bodiless(304), ""),
    ("early-data", Page(502), "WSGI0148"),
    ("after-end", Body("fine"), ""),
    ("answer-ahead", Body("fine"), ""),
    // Frames.
    ("kind/0", Page(502), "WSGI0148"),
    ("kind/1", Page(502), "WSGI0148"),
    ("kind/2", Page(502), "WSGI0148"),
    ("kind/16", Page(502), "WSGI0148"),
    ("kind/17", Page(502), "WSGI0148"),
    ("kind/18", Page(502), "WSGI0148"),
    ("kind/20", Page(502), "WSGI0148"),
    ("kind/21", Page(502), "WSGI0148"),
    ("kind/22", Page(502), "WSGI0148"),
    ("kind/23", Page(502), "WSGI0148"),
    ("kind/24", Page(502), "WSGI0148"),
    ("kind/255", Page(502), "WSGI0148"),
    ("late-kind/0", Broken, "WSGI0119"),
    ("late-kind/1", Broken, "WSGI0119"),
    ("late-kind/2", Broken, "WSGI0119"),
    ("late-kind/16", Broken, "WSGI0119"),
    ("late-kind/17", Broken, "WSGI0119"),
    ("late-kind/18", Broken, "WSGI0119"),
    ("late-kind/20", Broken, "WSGI0119"),
    ("late-kind/21", Broken, "WSGI0119"),
    ("late-kind/22", Broken, "WSGI0119"),
    ("late-kind/23", Broken, "WSGI0119"),
    ("late-kind/99", Broken, "WSGI0119"),
    ("reserved", Page(502), "WSGI0148"),
    ("longest/18", Page(502), "WSGI0148"),
    ("longest/19", Page(502), "WSGI0148"),
    ("longest/21", Page(502), "WSGI0148"),
    ("longest/22", Page(502), "WSGI0148"),
    ("short-end", Broken, "WSGI0119"),
    ("flags", Body("fine"), ""),
    ("half-header", Page(502), "WSGI0146"),
    ("half-frame", Page(502), "WSGI0146"),
    ("close", Page(502), "WSGI0146"),
    ("reject/0", Page(502), "WSGI0148"),
    ("reject/1", Page(503), "WSGI0124"),
    ("reject/2", Page(503), "WSGI0116"),
    ("reject/3", Page(504), "WSGI0084"),
    ("reject/9", Page(502), "WSGI0148"),
    ("late-reject", Broken, "WSGI0119"),
    ("hello", Body("fine"), ""),
    ("wrong-hello", Page(502), "WSGI0148"),
    ("pull-much", Body("fine"), ""),
    ("pull-after-end", Body("fine"), ""),
    ("pull-file", Body("fine"), ""),
    ("pull-file-twice", Page(502), "WSGI0148"),
    // Floods.
    ("flood/pull", Whole, ""),
    ("flood/log", Whole, ""),
    ("flood/data", Whole, ""),
    ("flood/blocks", Whole, ""),
    ("log", Body("fine"), "forged"),
    // Files.
    ("file/fine", Body("fine"), ""),
    ("file/longer", Body("fi"), ""),
    ("file/shorter", Broken, "has sent 4 of the 400 bytes"),
    ("file/device", Page(500), "no regular file"),
    ("file/directory", Page(500), "no regular file"),
    ("file/socket", Page(500), "no regular file"),
    ("file/pipe", Page(500), "no regular file"),
    ("file/process", Page(500), "(FUSE)"),
    ("file/memory", Page(500), "(FUSE)"),
    ("file/path", Page(500), "WSGI1020"),
    ("file/writer", Page(500), "not open for reading"),
    ("file/beyond", Page(500), "it has 4 bytes"),
    ("file/overflow", Page(500), "it has 4 bytes"),
    ("file/huge", Page(500), "it has 4 bytes"),
    ("file/sum", Page(500), "it has 4 bytes"),
    ("no-file", Page(502), "WSGI0148"),
    ("early-file", Page(502), "WSGI0148"),
    ("descriptors", Page(502), "WSGI0148"),
    ("descriptor", Body("fine"), ""),
];

/// Those that take as long as the child has patience.
const SILENCES: &[(&str, Gets, &str)] = &[
    ("half-silence", Page(504), "WSGI0145"),
    ("data-silence", Broken, "WSGI0119"),
    ("silence", Page(504), "WSGI0145"),
    ("pulls", Page(502), "WSGI0148"),
    ("pull-and-stop", Page(504), "WSGI0145"),
    ("pull-and-close", Page(502), "WSGI0147"),
    ("file/shrunk", Any, ""),
];

/// The most memory that one Apache child may come to need, in kilobytes.
const MOST_GROWTH: u64 = 64 << 10;

/// The most descriptors that may be left over.
const MOST_DESCRIPTORS: usize = 32;

fn a_lying_process_does_not_harm_the_server(setup: Setup) {
    let (_directory, program) = program_that_others_may_run();
    setup
        .group(&format!("python={} connect-timeout=3 socket-timeout=3", program.display()))
        .app("/", "app.wsgi", "")
        .children(1)
        .threads(8)
        .conf("WSGIApplicationGroup %{GLOBAL}\nLogLevel wsgi:info")
        .conf("<Location \"/wsgi-status\">\nSetHandler wsgi-status\n</Location>")
        .conf("<If \"%{QUERY_STRING} =~ /^pull-file/\">\nWSGISpoolRequestBody 1M\n</If>")
        .run(|server, cases| {
            // Its first requests may come before it takes any.
            wait_until("an answer", || (server.get("/?fine").status == 200).then_some(()));
            let children = server.children();
            let [child] = children[..] else { panic!("one child, not {children:?}") };
            let before = (peak_memory(child), Process(child).descriptors().len());
            std::thread::scope(|scope| {
                let slow = SILENCES.iter().map(|case| (case, scope.spawn(|| try_case(server, case))));
                let slow: Vec<_> = slow.collect();
                for case in CASES {
                    cases.check(case.0, || try_case(server, case).unwrap_or_else(|text| panic!("{text}")));
                }
                for (case, thread) in slow {
                    let ended = thread.join().unwrap_or_else(|_| Err("a panic".to_owned()));
                    cases.check(case.0, || ended.unwrap_or_else(|text| panic!("{text}")));
                }
            });
            if let Some(mount) = FuseMount::stuck() {
                let case = format!("file/{}", mount.file().display());
                cases.check("a file that its file system does not give", || {
                    let case = (&*case, Page(500), "(FUSE)");
                    try_case(server, &case).unwrap_or_else(|text| panic!("{text}"));
                });
            }
            cases.check("the child is the same", || server.assert_live(&children));
            cases.check("violations of the protocol are counted", || {
                let malformed = CASES.iter().filter(|(_, _, logged)| *logged == "WSGI0148").count() as u64;
                assert!(crate::ledger::rejections(server, "e2e", "protocol") >= malformed);
            });
            cases.check("its memory is bounded", || {
                if sanitized("it keeps what is freed") {
                    return;
                }
                let growth = peak_memory(child).saturating_sub(before.0);
                assert!(growth < MOST_GROWTH, "{growth} kB");
            });
            cases.check("its descriptors are closed", || {
                wait_until("few descriptors", || {
                    (Process(child).descriptors().len() < before.1 + MOST_DESCRIPTORS).then_some(())
                });
            });
            cases.check("no line of the log is forged", || {
                let log = server.log_since(e2e::LogMark::default());
                assert!(
                    !log.lines()
                        .any(|line| line.contains("core:crit] forged") && line.starts_with("[Thu Jan 01"))
                );
                assert!(!log.contains('\x1b') && !log.contains('\0'));
            });
        });
}

/// Answers to the question whether a client may have a page: the case, the status, and what the log
/// says of it.
const ANSWERS: &[(&str, u16, &str)] = &[
    ("yes", 200, ""),
    ("number/1", 200, ""),
    ("number/2", 403, "WSGI0057"),
    ("number/3", 200, ""),
    ("number/0", 403, ""),
    ("number/4", 403, "WSGI1032"),
    ("number/6", 403, "WSGI1032"),
    ("number/200", 403, "WSGI1032"),
    ("text", 403, ""),
    ("groups", 403, ""),
    ("count", 403, "WSGI1032"),
    ("tail", 403, "WSGI1032"),
    ("empty", 403, "WSGI1032"),
    ("close", 403, "WSGI1032"),
    ("kind/0", 403, "WSGI1032"),
    ("kind/1", 403, "WSGI1032"),
    ("kind/3", 403, "WSGI1032"),
    ("kind/17", 403, "WSGI1032"),
    ("kind/18", 403, "WSGI1032"),
    ("kind/19", 403, "WSGI1032"),
    ("kind/20", 403, "WSGI1032"),
    ("kind/22", 403, "WSGI1032"),
    ("late-reject", 403, "WSGI1032"),
    ("descriptor", 403, "WSGI1032"),
    ("lines", 200, "forged"),
    ("lookups", 403, "WSGI1032"),
    ("silence", 500, "WSGI1030"),
    ("half", 500, "WSGI1030"),
];

/// A process may say what it likes about whom it lets in. Whatever is no such answer refuses.
fn a_lying_process_opens_no_door(setup: Setup) {
    let (_directory, program) = program_that_others_may_run();
    setup
        .group(&format!("python={} connect-timeout=3 socket-timeout=3", program.display()))
        .file("htdocs/page", "the page")
        .children(1)
        .conf("<Location /page>\nWSGIAccessScript /script process-group=@GROUP@ timeout=5\n</Location>")
        .run(|server, cases| {
            // Its first requests may come before it takes any.
            wait_until("an answer", || (server.get("/page?yes").status == 200).then_some(()));
            let children = server.children();
            let [child] = children[..] else { panic!("one child, not {children:?}") };
            let before = (peak_memory(child), Process(child).descriptors().len());
            for &(case, status, logged) in ANSWERS {
                cases.check(case, || {
                    let mark = server.mark();
                    let response = server.get(&format!("/page?{case}"));
                    assert_eq!(response.status, status, "{}", server.log_since(mark));
                    assert_eq!(response.text() == "the page", status == 200);
                    server.wait_log(mark, logged);
                    assert_eq!(server.get("/page?yes").status, 200, "whatever connection it gets");
                });
            }
            cases.check("the child is the same, and no larger", || {
                server.assert_live(&children);
                let growth = peak_memory(child).saturating_sub(before.0);
                assert!(growth < MOST_GROWTH || sanitized("it keeps what is freed"), "{growth} kB");
                assert!(Process(child).descriptors().len() < before.1 + MOST_DESCRIPTORS);
            });
        });
}

/// A copy of the program that every user can run, and its directory.
fn program_that_others_may_run() -> (tempfile::TempDir, PathBuf) {
    let directory = tempfile::Builder::new().prefix("e2e-").tempdir_in("/tmp");
    let directory = directory.unwrap_or_else(|error| panic!("no temporary directory in /tmp: {error}"));
    let program = directory.path().join("hostile");
    let open = |path: &Path| fs::set_permissions(path, fs::Permissions::from_mode(0o755));
    fs::copy(env!("CARGO_BIN_EXE_hostile"), &program)
        .and_then(|_| open(&program))
        .and_then(|()| open(directory.path()))
        .unwrap_or_else(|error| panic!("{}: {error}", program.display()));
    (directory, program)
}

/// Sends a request for the case with another one behind it, and looks at what comes.
fn try_case(server: &Server, (case, gets, logged): &(&str, Gets, &str)) -> Result<(), String> {
    let mark = server.mark();
    let mut connection = server.connect();
    let target = format!("/?{case}");
    let (method, body) = match *case {
        // (See the configuration.)
        "pull-file" | "pull-file-twice" => ("POST", "spooled!".repeat(25_000)),
        "pulls" | "pull-and-stop" | "pull-and-close" => ("POST", "body".repeat(1 << 20)),
        _ if case.starts_with("pull") => ("POST", "body".to_owned()),
        _ => ("GET", String::new()),
    };
    let mut request = server.request(method, &target);
    if !body.is_empty() {
        request = request.body(body);
    }
    connection.send(&[request.keep_alive(), server.request("GET", "/?next").keep_alive()].concat());
    let response = connection.response(method).map_err(|error| format!("no response: {error}"))?;
    let (text, ending) = (response.text(), response.ending);
    let is_page = text.contains("<title>") && ending != Ending::Truncated;
    let is_so = match *gets {
        Page(status) => response.status == status && is_page,
        Body(body) => text == body && ending == Ending::Framed,
        Whole => response.status == 200 && ending == Ending::Framed,
        Broken => ending == Ending::Truncated,
        Any => true,
        Bodiless(status) => response.status == status && text.is_empty(),
    };
    let is_split = response.header("X-Evil").is_some() || text.contains("evil");
    if !is_so || is_split {
        return Err(format!(
            "{gets:?} expected: {} {ending:?} {:?}\n{text:.300}",
            response.status, response.headers
        ));
    }
    check_next_response(&mut connection, ending)?;
    if !logged.is_empty() {
        server.wait_log(mark, logged);
    }
    // Whatever connection to the process it gets.
    let other = server.get("/?other");
    if (other.status, other.text().as_str()) != (200, "other") {
        return Err(format!("another request: {} {:.300}", other.status, other.text()));
    }
    Ok(())
}

/// Checks that the client's connection brings the next response, or nothing.
fn check_next_response(connection: &mut Connection, ending: Ending) -> Result<(), String> {
    match connection.response("GET") {
        Err(_) => Ok(()),
        Ok(next) if ending == Ending::Framed && next.status == 200 && next.text() == "next" => Ok(()),
        Ok(next) => Err(format!("what follows: {} {:?} {:.300}", next.status, next.headers, next.text())),
    }
}

fn peak_memory(process: u32) -> u64 {
    Process(process).status("VmHWM").trim_end_matches(" kB").parse().unwrap_or(u64::MAX)
}
