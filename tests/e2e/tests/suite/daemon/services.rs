//! Service scripts: groups without threads.

use e2e::Needs::Daemon;
use e2e::{Process, Setup, Test, on_one_mpm, signal, wait_until};
use nix::sys::signal::Signal;

use super::wait_ended;

pub(crate) const TESTS: &[Test] = &[on_one_mpm!(a_script_is_kept_running, Daemon)];

const SCRIPT: &str = r#"
import os, sys, time
import mod_wsgi

try:
    print(f"service {os.getpid()} of {mod_wsgi.process_group} begins")
    while not os.path.exists("@ROOT@/htdocs/leave"):
        time.sleep(0.01)
    print("service leaves")
except SystemExit:
    print("service is told to end")
    raise
"#;

fn a_script_is_kept_running(setup: Setup) {
    setup
        .own_groups()
        .file("apps/service.py", SCRIPT)
        .conf(
            "WSGIDaemonProcess tasks threads=0 display-name=%{GROUP} socket-timeout=2\n\
             WSGIImportScript @ROOT@/apps/service.py process-group=tasks application-group=%{GLOBAL}\n\
             WSGIProcessGroup tasks\nWSGIScriptAlias / @ROOT@/apps/service.py",
        )
        .run(|server, cases| {
            let one = || {
                wait_until("the service", || {
                    let found = server.daemons();
                    (found.len() == 1).then(|| found[0])
                })
            };
            server.wait_log(e2e::LogMark::default(), "of tasks begins");
            let first = one();
            cases.check("SIGTERM is SystemExit", || {
                let mark = server.mark();
                signal(first, Signal::SIGTERM);
                let log = server.wait_log(mark, "service is told to end");
                assert!(!log.contains("Traceback"), "{log}");
                wait_ended(first);
                server.wait_log(mark, "of tasks begins");
            });
            cases.check("one that is killed is started again", || {
                let (mark, old) = (server.mark(), one());
                assert_ne!(old, first);
                signal(old, Signal::SIGKILL);
                server.wait_log(mark, "of tasks begins");
            });
            cases.check("and one that has ended", || {
                let mark = server.mark();
                server.write("htdocs/leave", "");
                server.wait_log(mark, "service leaves");
                let times = || server.log_since(mark).matches("of tasks begins").count();
                wait_until("another run", || (times() >= 2).then_some(()));
                assert!(std::fs::remove_file(server.path("htdocs/leave")).is_ok());
            });
            cases.deviates("a request is refused", "it waits for socket-timeout, and gets a 504", || {
                let mark = server.mark();
                assert_eq!(server.get("/").status, 500);
                let log = server.log_since(mark);
                assert!(log.contains("WSGI0151") && log.contains("'tasks' has threads=0"), "{log}");
            });
            cases.check("a graceful restart leaves one", || {
                let before: Process = one();
                server.graceful();
                wait_ended(before);
                let _ = one();
            });
        });
}
