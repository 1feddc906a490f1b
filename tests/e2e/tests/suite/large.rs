//! Bodies that must not be in memory as a whole, and whose lengths do not fit 32 bits.

use std::fs::File;
use std::io::{Seek as _, SeekFrom, Write as _};
use std::net::TcpStream;
use std::thread;

use e2e::Needs::Time;
use e2e::{Cases, Ending, Process, Server, Setup, Test, curl, on_each_mpm, on_one_mpm, sanitized};

use crate::soak::beside_others;

pub(crate) const TESTS: &[Test] = &[
    on_one_mpm!(large_transfers_need_little_memory),
    on_one_mpm!(a_file_beyond_32_bits_is_sent_whole),
    on_each_mpm!(transfers_beyond_31_bits_are_complete, Time),
];

const APP: &str = include_str!("../../apps/large.wsgi");

/// The number of bytes that the application makes at a time.
const BLOCK: u64 = 65_536;
/// A file that has holes, but for its end; in bytes.
const FILE: u64 = 5_000_000_000;
/// The end of the file.
const END: &[u8] = b"the last bytes of a large file";

fn large_transfers_need_little_memory(setup: Setup) {
    serving(setup).run(|server, cases| {
        let memory = Memory::of(server);
        check_both_ways(server, cases, 4096);
        memory.check(cases, 16);
    });
}

fn a_file_beyond_32_bits_is_sent_whole(setup: Setup) {
    serving(setup).run(|server, cases| {
        make_file(server);
        for place in ["", "/sendfile"] {
            cases.check(&format!("{place} length"), || {
                let response = server.request("HEAD", &format!("{place}/file")).send();
                assert_eq!(response.header("Content-Length"), Some(FILE.to_string().as_str()));
            });
            cases.check(&format!("{place} end"), || {
                let response = server.get(&format!("{place}/end?{}", END.len()));
                assert_eq!(response.expect(200).as_bytes(), END);
            });
        }
    });
}

fn transfers_beyond_31_bits_are_complete(setup: Setup) {
    let _others = beside_others();
    serving(setup).run(|server, cases| {
        let memory = Memory::of(server);
        // 2.2 GB.
        check_both_ways(server, cases, 33_570);
        make_file(server);
        check_file(server, cases, "/file");
        check_file(server, cases, "/sendfile/file");
        memory.check(cases, 64);
    });
}

/// Sends bytes over a connection until there were so many, or until it is closed.
pub(crate) fn send_in_background(mut stream: TcpStream, count: u64) -> thread::JoinHandle<()> {
    thread::spawn(move || {
        let block = [b'u'; 65_536];
        let mut left = count;
        while left > 0 {
            let size = usize::try_from(left).unwrap_or(usize::MAX).min(block.len());
            if stream.write_all(&block[..size]).is_err() {
                return;
            }
            left -= size as u64;
        }
    })
}

fn serving(setup: Setup) -> Setup {
    setup
        .app("/", "app.wsgi", APP)
        // Apache's own limit is 1 GiB.
        .conf("WSGIApplicationGroup %{GLOBAL}\nLimitRequestBody 0")
        .conf("<Location /sendfile>\nWSGIEnableSendfile On\n</Location>")
}

/// A download and an upload of so many blocks.
fn check_both_ways(server: &Server, cases: &mut Cases<'_>, blocks: u64) {
    let size = blocks * BLOCK;
    cases.check("down", || {
        let url = format!("http://127.0.0.1:{}/blocks?{blocks}", server.port());
        let output =
            curl(["--max-time", "600", "--output", "/dev/null", "--write-out", "%{size_download}", &url]);
        assert_eq!(String::from_utf8_lossy(&output.stdout), size.to_string());
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    });
    cases.check("up", || {
        let mut connection = server.connect();
        let request = server.request("POST", "/count").header("Content-Length", size.to_string());
        connection.send(&request.keep_alive());
        let upload = send_in_background(connection.sender(), size);
        assert!(upload.join().is_ok());
        let response = connection.response("POST").unwrap_or_else(|error| panic!("no answer: {error}"));
        assert_eq!(response.expect(200), size.to_string());
    });
}

fn make_file(server: &Server) {
    let made = File::create(server.path("large.bin")).and_then(|mut made| {
        made.set_len(FILE)?;
        made.seek(SeekFrom::End(-(END.len() as i64)))?;
        made.write_all(END)
    });
    assert!(made.is_ok(), "{made:?}");
}

/// A download of the file.
fn check_file(server: &Server, cases: &mut Cases<'_>, url: &str) {
    cases.check(url, || {
        let mut connection = server.connect();
        connection.send(&server.request("GET", url).keep_alive());
        let (response, length) =
            connection.large_response(END.len()).unwrap_or_else(|error| panic!("no answer: {error}"));
        assert_eq!((response.status, response.ending, length), (200, Ending::Framed, FILE));
        assert_eq!(String::from_utf8_lossy(&response.body), String::from_utf8_lossy(END));
        // Nothing has come beyond it.
        connection.send(&server.request("GET", "/blocks?0").keep_alive());
        assert_eq!(connection.response("GET").map(|response| response.status).ok(), Some(200));
    });
}

/// The most memory that the processes which serve have had, in kilobytes.
struct Memory<'a> {
    server: &'a Server,
    before: Vec<(Process, u64)>,
}

impl<'a> Memory<'a> {
    /// After a request has brought Python into each of them.
    fn of(server: &'a Server) -> Self {
        for _ in 0..8 {
            let response = server.request("POST", "/count").body(b"settles what is made once").send();
            assert_eq!(response.expect(200), "25");
        }
        Self { server, before: peak_memory(server) }
    }

    fn check(self, cases: &mut Cases<'_>, megabytes: u64) {
        if sanitized("it keeps freed memory for a while") {
            return;
        }
        let after = peak_memory(self.server);
        cases.check("memory", || {
            e2e::report(format_args!("{:?} -> {after:?} kB", self.before));
            for (process, peak) in &after {
                // One that was started meanwhile has nothing to begin with but what others began
                // with.
                let known = self.before.iter().find(|(known, _)| known == process);
                let most = self.before.iter().map(|(_, peak)| *peak).max();
                let before = known.map(|(_, peak)| *peak).or(most).unwrap_or_default();
                assert!(
                    *peak < before + 1024 * megabytes,
                    "{} ({}): {before} -> {peak} kB",
                    process.0,
                    process.command_line()
                );
            }
        });
    }
}

/// `VmHWM` of Apache's children and the daemon processes.
fn peak_memory(server: &Server) -> Vec<(Process, u64)> {
    let all = server.children().into_iter().map(Process).chain(server.daemons());
    let peak = |process: Process| {
        let text = process.status("VmHWM");
        text.split(' ').next().and_then(|number| number.parse().ok()).unwrap_or_default()
    };
    all.map(|process| (process, peak(process))).collect()
}
