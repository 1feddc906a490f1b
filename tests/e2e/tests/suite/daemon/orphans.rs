//! What applications leave behind, where Apache is the system's first process, as in a container: it would inherit that, and
//! take a status for one of its own children's.

use std::process::Command;

use e2e::{Process, Target, daemon_only, on_each_mpm, wait_until};

use super::{open, serving};

/// The status with which Apache's children say that the server can not work (`APEXIT_CHILDFATAL`).
const FATAL: u32 = 15;

#[test]
fn an_orphan_does_not_stop_the_server() {
    if daemon_only() || Target::current().lacks("a supervisor, which inherits orphans") {
        return;
    }
    let can = Command::new("unshare").args(["--pid", "--fork", "--mount-proc", "true"]).status();
    if !can.is_ok_and(|status| status.success()) {
        eprintln!("skipped: namespaces of process ids can not be made here");
        return;
    }
    on_each_mpm(|setup| {
        serving(setup.first_process(), "").run(|server, cases| {
            let children = |process: Process| process.children().len();
            let supervisor = server.supervisors()[0];
            cases.check("one that ends while its process serves", || {
                assert_eq!(server.get(&format!("/orphan?{FATAL},first")).status, 200);
                wait_until("the supervisor has it", || (children(supervisor) == 2).then_some(()));
                open(server, "first");
                wait_until("it is gone", || (children(supervisor) == 1).then_some(()));
                assert_eq!(server.get("/pid").status, 200);
            });
            cases.check("one that outlives its generation", || {
                assert_eq!(server.get(&format!("/orphan?{FATAL},second")).status, 200);
                server.graceful();
                assert_eq!(server.get("/pid").status, 200);
                // Its supervisor stays for it, and for nothing else.
                wait_until("the old process is gone", || {
                    (server.supervisors().contains(&supervisor) && children(supervisor) == 1).then_some(())
                });
                open(server, "second");
                wait_until("the old supervisor ends", || {
                    (!server.supervisors().contains(&supervisor)).then_some(())
                });
                assert_eq!(server.get("/pid").status, 200);
            });
            assert!(!server.log_since(e2e::LogMark::default()).contains("returned a Fatal error"));
        });
    });
}
