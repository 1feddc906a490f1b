//! Scripts of hooks that hang: the requests are refused, and Apache's threads are free, but for a
//! few.

use std::fs::File;
use std::sync::mpsc::{self, Receiver, TryRecvError};
use std::thread;
use std::time::{Duration, Instant};

use e2e::Needs::{Embedded, OneProcess, Ours};
use e2e::{Mpm, PATIENCE, Process, Server, Setup, Test, on_each_mpm, on_one_mpm, signal, wait_until};
use nix::fcntl::{Flock, FlockArg};
use nix::sys::signal::Signal;

use crate::ECHO;

pub(crate) const TESTS: &[Test] = &[
    on_each_mpm!(a_script_that_hangs_is_given_up, Ours("limits of scripts"), ONCE),
    on_one_mpm!(calls_that_hang_are_not_piled_up, Ours("limits of scripts"), ONCE, OneProcess),
    on_each_mpm!(few_threads_hang_in_c, Ours("limits of scripts"), ONCE),
    on_each_mpm!(a_small_server_keeps_its_threads, Ours("limits of scripts"), ONCE),
    on_each_mpm!(the_permits_of_a_child_come_back_when_it_ends, Ours("limits of scripts"), ONCE),
];

/// They run in Apache's children in both modes.
const ONCE: e2e::Needs = Embedded("these scripts run in Apache's children in both modes");

/// Each function hangs if the query string says so, until a file is there.
const HANGS: &str = "
import os, time

def hang(environ):
    while environ['QUERY_STRING'] == 'hang' and not os.path.exists(__file__ + '.go'):
        time.sleep(0.02)

def allow_access(environ, host):
    hang(environ)
    return True

def check_password(environ, user, password):
    hang(environ)
    return True

def get_realm_hash(environ, user, realm):
    hang(environ)

def groups_for_user(environ, user):
    hang(environ)
    return ['staff']

def application_group(environ):
    hang(environ)
";

/// Longer than a request takes that is refused at once.
const SOON: Duration = Duration::from_secs(20);

fn with_scripts(setup: Setup, timeout: &str) -> Setup {
    let basic = "AuthType Basic\nAuthName closed\nAuthBasicProvider wsgi\n";
    setup
        .modules(&["authn_core", "authn_file", "authz_user", "auth_basic"])
        .file("apps/hangs.py", HANGS)
        .file("apps/opens.py", "def check_password(*arguments):\n    return True\n")
        .file("htdocs/page", "the page")
        .app("/app", "echo.wsgi", ECHO)
        .conf(&format!(
            "Alias /access @ROOT@/htdocs\nAlias /user @ROOT@/htdocs\nAlias /group @ROOT@/htdocs\n\
             <Location /access>\nWSGIAccessScript @ROOT@/apps/hangs.py timeout={timeout}\nRequire all granted\n</Location>\n\
             <Location /user>\n{basic}WSGIAuthUserScript timeout={timeout} @ROOT@/apps/hangs.py\nRequire valid-user\n</Location>\n\
             <Location /group>\n{basic}WSGIAuthUserScript @ROOT@/apps/opens.py\n\
             WSGIAuthGroupScript @ROOT@/apps/hangs.py timeout={timeout}\nRequire wsgi-group staff\n</Location>\n\
             <Location /app>\nWSGIDispatchScript @ROOT@/apps/hangs.py timeout={timeout}\n</Location>\n"
        ))
}

fn a_script_that_hangs_is_given_up(setup: Setup) {
    // Those that do not hang have to be done by then.
    with_scripts(setup, "1200ms").run(|server, cases| {
        let status = |target: &str| {
            let request = server.request("GET", target);
            request.header("Authorization", "Basic YW5uOnNlY3JldA==").send().status
        };
        cases.check("Python code is interrupted", || {
            assert_eq!(status("/access/page"), 200);
            let mark = server.mark();
            assert_eq!(status("/access/page?hang"), 500);
            let log = server.wait_log(mark, "WSGI1030");
            assert!(log.contains("apps/hangs.py' was interrupted"), "{log}");
        });
        // For a minute scripts are asked on other threads, which Apache's do not wait for.
        for (target, refused) in
            [("/access/page", 500), ("/user/page", 500), ("/group/page", 401), ("/app", 500)]
        {
            cases.check(target, || {
                assert_eq!(status(target), 200);
                let mark = server.mark();
                assert_eq!(status(&format!("{target}?hang")), refused);
                let log = server.wait_log(mark, "WSGI1030");
                assert!(log.contains("apps/hangs.py' has not answered within 1.2 s"), "{log}");
                assert_eq!(status(target), 200, "others are not concerned");
            });
        }
        cases.check("the scripts return", || {
            let mark = server.mark();
            server.write("apps/hangs.py.go", "");
            server.wait_log(mark, "too late for its request");
            assert_eq!(status("/user/page?hang"), 200);
        });
    });
}

fn calls_that_hang_are_not_piled_up(setup: Setup) {
    with_scripts(setup, "200ms").children(1).run(|server, _| {
        let status = |target: &str| server.get(target).status;
        // The first one is interrupted, and has ended.
        for _ in 0..9 {
            assert_eq!(status("/access/page?hang"), 500);
        }
        let (mark, begin) = (server.mark(), Instant::now());
        assert_eq!(status("/access/page"), 500);
        server.wait_log(mark, "WSGI1031");
        assert!(begin.elapsed() < SOON);
        assert_eq!(server.request("GET", "/user/page").send().status, 401, "no script is asked");
        server.write("apps/hangs.py.go", "");
        while status("/access/page") != 200 {
            assert!(begin.elapsed() < SOON, "the script has not returned");
            std::thread::sleep(Duration::from_millis(20));
        }
    });
}

/// A function that waits in C for a lock that the test has, and returns the name of its thread.
const LOCKED: &str = "
import fcntl

def check_password(environ, user, password):
    if environ['QUERY_STRING'] == 'hang':
        with open(__file__ + '.lock') as file:
            fcntl.flock(file, fcntl.LOCK_EX)
    with open('/proc/thread-self/comm') as name:
        return name.read().strip()
";

/// The name of the threads that ask scripts in place of Apache's.
const CALLER: &str = "'wsgi-caller'";

/// The number of requests in [`with_locked_script`] for which there is no permit.
const MORE: usize = 3;

fn with_locked_script(setup: Setup, timeout: &str) -> Setup {
    // So many that there are all permits.
    let requests = (3 * permits()).max(permits() + MORE + 1);
    let requests = u32::try_from(requests).unwrap_or(u32::MAX);
    let (children, threads) = if setup.mpm() == Mpm::Prefork { (requests, 1) } else { (1, requests) };
    setup
        .modules(&["authn_core", "authz_user", "auth_basic"])
        .children(children)
        .threads(threads)
        .file("apps/locked.py", LOCKED)
        .file("apps/locked.py.lock", "")
        .app("/", "echo.wsgi", ECHO)
        .conf(&format!(
            "<Location /user>\nAuthType Basic\nAuthName closed\nAuthBasicProvider wsgi\n\
             WSGIAuthUserScript @ROOT@/apps/locked.py timeout={timeout}\nRequire valid-user\n</Location>\n"
        ))
}

/// The number of threads that may hang.
fn permits() -> usize {
    wsgi_core::permits::count(thread::available_parallelism().map_or(1, usize::from))
}

/// Makes the script hang from now on.
fn lock(server: &Server) -> Flock<File> {
    let file = File::options().write(true).open(server.path("apps/locked.py.lock")).expect("the lock file");
    Flock::lock(file, FlockArg::LockExclusive).expect("the lock")
}

/// Makes requests for which the script hangs. The answers come as status, or `None` if the server
/// closes the connection.
fn ask_in_vain(server: &Server, count: usize) -> Receiver<Option<u16>> {
    let (sender, answers) = mpsc::channel();
    for _ in 0..count {
        let (sender, mut connection) = (sender.clone(), server.connect());
        connection.send(&server.request("GET", "/user?hang").user("ann", "secret").keep_alive());
        thread::spawn(move || sender.send(connection.response("GET").ok().map(|response| response.status)));
    }
    answers
}

/// Returns whether a thread of Apache's asks the script.
fn is_asked_by_server(server: &Server) -> bool {
    let response = server.request("GET", "/user").user("ann", "secret").send();
    assert_eq!(response.status, 200);
    response.value("REMOTE_USER").as_deref() != Some(CALLER)
}

fn few_threads_hang_in_c(setup: Setup) {
    with_locked_script(setup, "1s").run(|server, cases| {
        assert!(is_asked_by_server(server));
        let held = lock(server);
        let mark = server.mark();
        let answers = ask_in_vain(server, permits() + MORE);
        cases.check("all others are answered", || {
            for _ in 0..MORE {
                assert_eq!(answers.recv_timeout(PATIENCE), Ok(Some(500)));
            }
            server.wait_log(mark, "keeps a thread of the server until it returns");
            for _ in 0..3 {
                assert!(!is_asked_by_server(server), "the suspension has no effect");
                assert_eq!(server.get("/").status, 200);
                assert_eq!(server.request("GET", "/user?hang").user("ann", "secret").send().status, 500);
            }
            assert_eq!(answers.try_recv(), Err(TryRecvError::Empty));
        });
        drop(held);
        cases.check("whoever has hung is refused in the end", || {
            for _ in 0..permits() {
                assert_eq!(answers.recv_timeout(PATIENCE), Ok(Some(500)));
            }
        });
    });
}

/// As many threads hang as there would be permits: all that the server has.
fn a_small_server_keeps_its_threads(setup: Setup) {
    let threads = permits();
    let count = u32::try_from(threads).unwrap_or(u32::MAX);
    let setup = with_locked_script(setup, "1s").children(1).threads(count);
    let setup = match setup.mpm() {
        Mpm::Prefork => setup.conf(&format!("MaxRequestWorkers {threads}\n")),
        _ => setup,
    };
    setup.run(|server, _| {
        // The script is loaded.
        assert_eq!(server.request("GET", "/user").user("ann", "secret").send().status, 200);
        let _held = lock(server);
        let answers = ask_in_vain(server, threads);
        for _ in 0..threads {
            assert_eq!(answers.recv_timeout(PATIENCE), Ok(Some(500)));
        }
        assert_eq!(server.get("/").status, 200);
    });
}

fn the_permits_of_a_child_come_back_when_it_ends(setup: Setup) {
    with_locked_script(setup, "1h").run(|server, _| {
        assert!(is_asked_by_server(server));
        let _held = lock(server);
        let answers = ask_in_vain(server, permits());
        // A call may have found none: that of the request before had one until it was answered. The next one gets it.
        let mut more = Vec::new();
        let mut looks = 0;
        wait_until("all permits are taken", || {
            let is_free = is_asked_by_server(server);
            looks += 1;
            if is_free && looks % 100 == 0 {
                more.push(ask_in_vain(server, 1));
            }
            (!is_free).then_some(())
        });
        for child in server.children() {
            signal(Process(child), Signal::SIGKILL);
        }
        for _ in 0..permits() {
            assert_eq!(answers.recv_timeout(PATIENCE), Ok(None));
        }
        wait_until("new children have permits", || {
            let mut connection = server.connect();
            let request = server.request("GET", "/user").user("ann", "secret").keep_alive();
            connection.try_send(&request).ok()?;
            let response = connection.response("GET").ok()?;
            (response.value("REMOTE_USER").as_deref() != Some(CALLER)).then_some(())
        });
    });
}
