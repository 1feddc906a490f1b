//! Another build is installed over the one that runs. Until the server is stopped and started, the
//! one that runs goes on, also in what it starts anew; the log says so.

use std::fs;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, AtomicU32, Ordering};
use std::thread;

use bridge::{Host, Tag};
use e2e::Needs::{Embedded, Ours};
use e2e::{Mode, Server, Setup, Target, Test, on_each_mpm, on_one_mpm, wait_until};

pub(crate) const TESTS: &[Test] = &[
    on_each_mpm!(another_build_waits_for_a_stop_and_a_start, Ours("one installation for all that it starts")),
    on_each_mpm!(files_may_be_deleted_while_the_server_runs, Ours("one installation for all that it starts")),
    on_one_mpm!(a_host_that_is_installed_later_is_taken_with_a_restart, Ours("hosts")),
    on_one_mpm!(a_host_of_another_build_is_refused, Ours("hosts")),
    on_one_mpm!(
        a_host_with_tables_of_another_size_is_refused_with_the_remedy,
        Ours("hosts"),
        Embedded("a daemon process has no such table")
    ),
];

/// Prints the file that its host was loaded from, as Linux shows it.
const APP: &str = r#"
def application(environ, start_response):
    with open('/proc/self/maps') as maps:
        hosts = {line.split(None, 5)[5].strip() for line in maps if 'mod_wsgi_host' in line}
    body = '\n'.join(sorted(hosts)).encode()
    start_response('200 OK', [('Content-Length', str(len(body)))])
    return [body]
"#;

/// The mark in the file of each program and library of a build; the number of the build follows it.
const STAMP: &[u8] = b"\x02mod_wsgi schema ";

/// The remedy that the log names once.
const REPLACED: &str = "stop and start the server";

/// A server with an installation of its own, below its directory.
fn start_own_installation(setup: Setup) -> Server {
    let Target::Ours { directory } = Target::current() else { unreachable!("skipped before") };
    let setup = setup.own_module().children(2).group("processes=2").app("/", "app.wsgi", APP);
    let setup = setup.conf("WSGIApplicationGroup %{GLOBAL}");
    assert!(directory.join("supervisor").is_file());
    setup.start()
}

/// The installation of a server.
fn installation_of(server: &Server) -> PathBuf {
    server.path("module")
}

/// Programs and libraries of an installation.
fn parts_of(directory: &Path) -> Vec<PathBuf> {
    let hosts = fs::read_dir(directory.join("host")).into_iter().flatten().flatten();
    let hosts = hosts.map(|entry| entry.path());
    ["supervisor", "mod_wsgi.so"].map(|name| directory.join(name)).into_iter().chain(hosts).collect()
}

/// Replaces a program or library by that of another build: the same, with another number.
pub(crate) fn replace_by_another_build(part: &Path) {
    let mut contents = fs::read(part).unwrap_or_else(|error| panic!("{}: {error}", part.display()));
    let found = contents.windows(STAMP.len()).position(|bytes| bytes == STAMP);
    let at = found.unwrap_or_else(|| panic!("{} does not say of which build it is", part.display()));
    for digit in &mut contents[at + STAMP.len()..][..16] {
        *digit = if *digit == b'0' { b'1' } else { b'0' };
    }
    replace(part, &contents);
}

/// Replaces a file as an installation does it.
fn replace(part: &Path, contents: &[u8]) {
    let draft = part.with_extension("new");
    let permissions = fs::metadata(part).map(|metadata| metadata.permissions());
    let written = fs::write(&draft, contents)
        .and_then(|()| fs::set_permissions(&draft, permissions?))
        .and_then(|()| fs::rename(&draft, part));
    written.unwrap_or_else(|error| panic!("{}: {error}", part.display()));
}

fn upgrade(directory: &Path) {
    for part in parts_of(directory) {
        replace_by_another_build(&part);
    }
}

/// Requests, one after the other, while `work` is done; all have to be answered.
fn under_load(server: &Server, work: impl FnOnce(&dyn Fn())) {
    let (served, stop) = (AtomicU32::new(0), AtomicBool::new(false));
    thread::scope(|scope| {
        let load = scope.spawn(|| {
            while !stop.load(Ordering::Relaxed) {
                let _ = server.get("/").expect(200);
                served.fetch_add(1, Ordering::Relaxed);
            }
        });
        let some = || {
            let before = served.load(Ordering::Relaxed);
            wait_until("more requests are served", || {
                (served.load(Ordering::Relaxed) > before + 20 || load.is_finished()).then_some(())
            });
            assert!(!load.is_finished(), "a request was not answered:\n{}", server.log_tail());
        };
        let _stop = SetOnDrop(&stop);
        some();
        work(&some);
        some();
    });
}

struct SetOnDrop<'a>(&'a AtomicBool);

impl Drop for SetOnDrop<'_> {
    fn drop(&mut self) {
        self.0.store(true, Ordering::Relaxed);
    }
}

/// Waits until only one supervisor is left, and returns its executable as Linux shows it.
fn supervisor(server: &Server) -> Option<PathBuf> {
    (server.mode() == Mode::Daemon).then(|| {
        wait_until("one supervisor", || {
            let supervisors = server.supervisors();
            let [supervisor] = supervisors[..] else { return None };
            fs::read_link(supervisor.path("exe")).ok()
        })
    })
}

fn is_deleted(file: &Path) -> bool {
    file.to_string_lossy().ends_with(" (deleted)")
}

fn count_in_log(server: &Server, text: &str) -> usize {
    server.log_since(e2e::LogMark::default()).matches(text).count()
}

fn another_build_waits_for_a_stop_and_a_start(setup: Setup) {
    let mut server = start_own_installation(setup);
    under_load(&server, |some| {
        upgrade(&installation_of(&server));
        server.graceful();
        some();
        server.graceful();
    });
    // Apache drops requests when it restarts at once.
    server.restart();
    under_load(&server, |_| ());
    assert!(is_deleted(Path::new(&server.get("/").expect(200))), "a host of another build was loaded");
    assert!(supervisor(&server).is_none_or(|executable| is_deleted(&executable)));
    assert_eq!(count_in_log(&server, REPLACED), 1, "{}", server.log_tail());
    assert_eq!(count_in_log(&server, "has ended unexpectedly"), 0, "{}", server.log_tail());

    server.stop_and_start();
    under_load(&server, |_| ());
    assert!(!is_deleted(Path::new(&server.get("/").expect(200))), "the old host was loaded");
    assert!(supervisor(&server).is_none_or(|executable| !is_deleted(&executable)));
    server.graceful();
    assert_eq!(count_in_log(&server, REPLACED), 1, "{}", server.log_tail());
}

fn files_may_be_deleted_while_the_server_runs(setup: Setup) {
    let server = start_own_installation(setup);
    under_load(&server, |some| {
        fs::remove_dir_all(installation_of(&server)).unwrap_or_else(|error| panic!("{error}"));
        server.graceful();
        some();
        server.graceful();
    });
    server.restart();
    under_load(&server, |_| ());
    assert_eq!(count_in_log(&server, REPLACED), 1, "{}", server.log_tail());
}

fn a_host_that_is_installed_later_is_taken_with_a_restart(setup: Setup) {
    let mut server = start_own_installation(setup);
    let parts = parts_of(&installation_of(&server));
    let hosts: Vec<_> =
        parts.iter().filter(|part| part.parent() != Some(&installation_of(&server))).collect();
    for host in &hosts {
        fs::rename(host, put_aside(host)).unwrap_or_else(|error| panic!("{}: {error}", host.display()));
    }
    let refused = server.mode().pick(500, 503);
    server.stop_and_start();
    wait_until("a failure", || (server.get("/").status == refused).then_some(()));
    server.wait_log(e2e::LogMark::default(), "WSGI0036");
    for host in &hosts {
        fs::rename(put_aside(host), host).unwrap_or_else(|error| panic!("{}: {error}", host.display()));
    }
    server.graceful();
    assert!(server.get("/").expect(200).contains("mod_wsgi_host"));
    assert_eq!(count_in_log(&server, REPLACED), 0, "{}", server.log_tail());
}

fn a_host_of_another_build_is_refused(setup: Setup) {
    let mut server = start_own_installation(setup);
    for host in parts_of(&installation_of(&server)).iter().skip(2) {
        replace_by_another_build(host);
    }
    let mark = server.mark();
    server.graceful();
    under_load(&server, |_| ());
    server.wait_log(mark, "is of another build");
    let mark = server.mark();
    server.stop_and_start();
    let refused = server.mode().pick(500, 503);
    wait_until("a failure", || (server.get("/").status == refused).then_some(()));
    server.wait_log(mark, "is of another build");
}

/// A place where nobody looks for a host.
fn put_aside(host: &Path) -> PathBuf {
    host.with_extension("aside")
}

fn a_host_with_tables_of_another_size_is_refused_with_the_remedy(setup: Setup) {
    let mut server = start_own_installation(setup);
    let tag = Tag::of::<Host>();
    let bytes = [tag.abi().to_le_bytes(), tag.size().to_le_bytes()];
    for host in parts_of(&installation_of(&server)).iter().skip(2) {
        let mut contents = fs::read(host).unwrap_or_else(|error| panic!("{}: {error}", host.display()));
        let places = 0..=contents.len() - 8;
        let tags: Vec<usize> =
            places.filter(|at| contents[*at..].starts_with(bytes.as_flattened())).collect();
        assert!(!tags.is_empty(), "{} has no table", host.display());
        for at in tags {
            contents[at + 4] += 8;
        }
        replace(host, &contents);
    }
    let mark = server.mark();
    server.stop_and_start();
    wait_until("a failure", || (server.get("/").status == 500).then_some(()));
    let log = server.wait_log(mark, "WSGI0036");
    let sizes =
        format!("{} bytes) than the module (bridge {:08x}, {} bytes)", tag.size() + 8, tag.abi(), tag.size());
    for text in ["is of another build (bridge ", &sizes, "Build it again with `make host PYTHON="] {
        assert!(log.contains(text), "{text}: {log}");
    }
}
