//! Health checks: `SetHandler wsgi-health`.

use std::fs;
use std::io::{BufRead as _, BufReader};
use std::process::{Command, Stdio};

use e2e::Needs::{Daemon, Ours};
use e2e::{Interpreter, Response, Server, Setup, Test, on_one_mpm, wait_until};

const HEALTH: e2e::Needs = Ours("health checks");

pub(crate) const TESTS: &[Test] = &[
    on_one_mpm!(checks_are_answered_to_those_who_may_ask, HEALTH),
    on_one_mpm!(a_file_system_that_hangs_takes_no_threads, HEALTH),
    on_one_mpm!(a_server_is_ready_once_its_scripts_are_imported, Daemon, HEALTH),
    on_one_mpm!(a_script_that_cannot_be_imported_is_tried_again_without_requests, Daemon, HEALTH),
    on_one_mpm!(a_script_that_cannot_be_imported_is_missed_until_it_is_loaded, HEALTH),
    on_one_mpm!(a_group_that_may_rest_is_ready_and_stays_at_rest, Daemon, HEALTH),
    on_one_mpm!(busy_processes_are_ready, Daemon, HEALTH),
];

/// An application for the whole of the URL space: what it answers is no health check.
const APP: &str = "
import os, time

def application(environ, start_response):
    while environ['PATH_INFO'] == '/hold' and not os.path.exists(environ['test.gate']):
        time.sleep(0.01)
    start_response('200 OK', [('Content-Type', 'text/plain')])
    return [b'application']
";

/// A script that waits for a file, or fails without it.
const SCRIPT: &str = "
import os, time
while os.path.exists('@ROOT@/htdocs/wait'):
    time.sleep(0.01)
if os.path.exists('@ROOT@/htdocs/broken'):
    raise RuntimeError('broken')

def application(environ, start_response):
    start_response('200 OK', [('Content-Type', 'text/plain')])
    return [b'script']
";

fn serving(setup: Setup) -> Setup {
    let sections = "
<Location \"/-\">
    SetHandler wsgi-health
</Location>
<Location \"/closed\">
    SetHandler wsgi-health
    WSGIHealthClients 192.0.2.1
</Location>
<Location \"/open\">
    SetHandler wsgi-health
    WSGIHealthClients all
</Location>
";
    setup
        .app("/script", "script.py", SCRIPT)
        .app("/", "app.wsgi", APP)
        .file("htdocs/keep", "")
        .conf("WSGIApplicationGroup %{GLOBAL}\nSetEnv test.gate @ROOT@/htdocs/gate")
        .conf(sections)
}

/// Has the script imported by the processes.
fn importing(setup: Setup) -> Setup {
    let group = setup.mode().pick("%{GLOBAL}", "e2e");
    serving(setup).conf(&format!(
        "WSGIImportScript @ROOT@/apps/script.py process-group={group} application-group=%{{GLOBAL}}"
    ))
}

fn ready(server: &Server) -> Response {
    server.get("/-/ready")
}

fn wait_ready(server: &Server) {
    wait_until("the server is ready", || (ready(server).status == 200).then_some(()));
}

fn remove(server: &Server, file: &str) {
    fs::remove_file(server.path(file)).unwrap_or_else(|error| panic!("{file}: {error}"));
}

fn checks_are_answered_to_those_who_may_ask(setup: Setup) {
    serving(setup).conf("WSGIDrainFile @ROOT@/htdocs/drained").run(|server, cases| {
        wait_ready(server);
        cases.check("the questions", || {
            for (path, text) in [
                ("/-/ready", "ready\n"),
                ("/-/readyz", "ready\n"),
                ("/-/live", "live\n"),
                ("/-/livez?x=1", "live\n"),
            ] {
                let answer = server.get(path);
                assert_eq!((answer.status, answer.text().as_str()), (200, text), "{path}");
                assert_eq!(answer.header("Cache-Control"), Some("no-store"));
            }
            for path in ["/-", "/-/", "/-/lvie", "/-/ready/"] {
                assert_eq!(server.get(path).status, 404, "{path}");
            }
            let head = server.request("HEAD", "/-/ready").send();
            assert_eq!((head.status, head.text().as_str()), (200, ""));
            let post = server.request("POST", "/-/ready").body("x").send();
            assert_eq!(post.status, 405);
            assert!(post.header("Allow").is_some_and(|allowed| allowed.contains("GET")), "{post:?}");
            assert_eq!(server.get("/other").expect(200), "application");
        });
        cases.check("only local clients ask", || {
            for header in ["X-Forwarded-For", "Forwarded", "Via", "X-Real-IP"] {
                let request = || server.request("GET", "/-/ready").header(header, "192.0.2.1");
                assert_eq!(request().send().status, 403, "{header}");
            }
            assert_eq!(server.get("/closed/ready").status, 403);
            let stranger = server.request("GET", "/open/ready").header("X-Forwarded-For", "192.0.2.7");
            assert_eq!(stranger.send().expect(200), "ready\n");
        });
        cases.check("it is drained by a file, and serves", || {
            server.write("htdocs/drained", "");
            let answer = ready(server);
            assert_eq!(answer.status, 503);
            assert!(answer.text().contains("WSGIDrainFile"), "{}", answer.text());
            let stranger = server.request("GET", "/open/ready").header("X-Forwarded-For", "192.0.2.7");
            assert_eq!(stranger.send().expect(503), "not ready\n");
            assert_eq!(server.get("/-/live").status, 200);
            assert_eq!(server.get("/other").expect(200), "application");
            server.graceful();
            assert_eq!(ready(server).status, 503);
            remove(server, "htdocs/drained");
            wait_ready(server);
        });
    });
}

/// Mounts a file system that answers nothing, until the input ends.
const HANGING: &str = "
import ctypes, os, sys
directory = sys.argv[1].encode()
os.makedirs(directory)
device = os.open('/dev/fuse', os.O_RDWR)
libc = ctypes.CDLL(None, use_errno=True)
options = b'fd=%d,rootmode=40000,user_id=0,group_id=0,allow_other' % device
if libc.mount(b'hanging', directory, b'fuse', 0, options) != 0:
    sys.exit(os.strerror(ctypes.get_errno()))
print('mounted', flush=True)
sys.stdin.read()
os.close(device)
libc.umount2(directory, 2)
";

fn a_file_system_that_hangs_takes_no_threads(setup: Setup) {
    serving(setup.threads(6)).conf("WSGIDrainFile @ROOT@/htdocs/hanging/drained").run(|server, cases| {
        wait_ready(server);
        let mut mounted = Command::new(&Interpreter::current().executable)
            .args(["-c", HANGING])
            .arg(server.path("htdocs/hanging"))
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .spawn()
            .unwrap_or_else(|error| panic!("{error}"));
        let mut said = String::new();
        let output = mounted.stdout.as_mut().map(|output| BufReader::new(output).read_line(&mut said));
        assert!(output.is_some_and(|read| read.is_ok()));
        // It takes root, and a machine that allows it.
        if said == "mounted\n" {
            cases.check("more checks than threads", || {
                for _ in 0..12 {
                    let answer = ready(server).expect(503);
                    assert!(answer.contains("the file of WSGIDrainFile cannot be looked for"), "{answer}");
                }
                assert_eq!(server.get("/other").expect(200), "application");
            });
        }
        drop(mounted.stdin.take());
        mounted.wait().unwrap_or_else(|error| panic!("{error}"));
        cases.check("and once it is gone", || wait_ready(server));
    });
}

fn a_server_is_ready_once_its_scripts_are_imported(setup: Setup) {
    importing(setup).file("htdocs/wait", "").run(|server, cases| {
        cases.check("not before", || {
            let answer = ready(server);
            assert!(answer.expect(503).contains("'e2e': no process serves"));
            assert_eq!(server.get("/-/live").status, 200);
        });
        cases.check("but then", || {
            remove(server, "htdocs/wait");
            wait_ready(server);
        });
        cases.check("and while a successor imports them", || {
            let mark = server.mark();
            server.write("htdocs/wait", "");
            let old = server.daemons();
            server
                .write("apps/script.py", SCRIPT.replace("@ROOT@", &server.root().to_string_lossy()) + "#\n");
            let request = server.request("GET", "/script");
            std::thread::scope(|scope| {
                let request = scope.spawn(|| request.send());
                server.wait_log(mark, "gets a successor");
                assert_eq!(ready(server).status, 200);
                remove(server, "htdocs/wait");
                assert_eq!(request.join().map(|answer| answer.status).ok(), Some(200));
            });
            wait_until("the successor", || (server.daemons() != old).then_some(()));
            assert_eq!(ready(server).status, 200);
        });
    });
}

fn a_script_that_cannot_be_imported_is_tried_again_without_requests(setup: Setup) {
    importing(setup).file("htdocs/broken", "").run(|server, cases| {
        cases.check("not without it", || {
            let answer = wait_until("a process", || {
                Some(ready(server).expect(503)).filter(|text| !text.contains("no process"))
            });
            assert!(answer.contains("'e2e': a script could not be imported"), "{answer}");
            assert_eq!(server.get("/other").expect(200), "application");
            // A second failure changes nothing.
            server.wait_log(e2e::LogMark::default(), "its successor could not import its scripts");
            assert_eq!(ready(server).status, 503);
        });
        cases.check("with it", || {
            remove(server, "htdocs/broken");
            wait_ready(server);
            assert_eq!(server.get("/script").expect(200), "script");
        });
    });
}

fn a_script_that_cannot_be_imported_is_missed_until_it_is_loaded(setup: Setup) {
    importing(setup.children(1)).file("htdocs/broken", "").run(|server, cases| {
        cases.check("a request loads it", || {
            wait_until("the failure", || {
                ready(server).expect(503).contains("a script could not be imported").then_some(())
            });
            remove(server, "htdocs/broken");
            wait_until("the script", || (server.get("/script").status == 200).then_some(()));
            wait_ready(server);
        });
        cases.check("so does a restart", || {
            server.write("htdocs/broken", "");
            server.graceful();
            wait_until("the failure", || (ready(server).status == 503).then_some(()));
            remove(server, "htdocs/broken");
            server.graceful();
            wait_ready(server);
        });
    });
}

fn a_group_that_may_rest_is_ready_and_stays_at_rest(setup: Setup) {
    importing(setup.group("processes=0-2 scale-down-idle=60s")).run(|server, cases| {
        cases.check("at rest", || {
            assert_eq!(ready(server).expect(200), "ready\n");
            assert_eq!(server.daemons(), []);
        });
        cases.check("in use", || {
            assert_eq!(server.get("/other").status, 200);
            assert_eq!(ready(server).status, 200);
        });
    });
}

fn busy_processes_are_ready(setup: Setup) {
    serving(setup.group("processes=1 threads=1").threads(6)).run(|server, cases| {
        wait_ready(server);
        cases.check("while all threads are in use", || {
            let mark = server.mark();
            let held: Vec<_> = (0..2).map(|_| server.request("GET", "/hold")).collect();
            std::thread::scope(|scope| {
                let held: Vec<_> = held.iter().map(|request| scope.spawn(|| request.send())).collect();
                for _ in 0..20 {
                    assert_eq!(ready(server).status, 200);
                }
                server.write("htdocs/gate", "");
                for answer in held {
                    assert_eq!(answer.join().map(|answer| answer.status).ok(), Some(200));
                }
            });
            assert!(!server.log_since(mark).contains("error"), "{}", server.log_since(mark));
        });
    });
}
