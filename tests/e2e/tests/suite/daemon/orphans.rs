//! Processes that applications leave behind, where Apache is the system's first process, as in a container:
//! it would inherit that, and take a status for one of its own children's.

use e2e::Needs::{Daemon, Ours, PidNamespace};
use e2e::{Process, Setup, Test, on_each_mpm, wait_until};

use super::{open_gate, serving};

pub(crate) const TESTS: &[Test] = &[on_each_mpm!(
    an_orphan_does_not_stop_the_server,
    Daemon,
    Ours("a supervisor, which inherits orphans"),
    PidNamespace
)];

/// The status with which Apache's children say that the server cannot work (`APEXIT_CHILDFATAL`).
const FATAL: u32 = 15;

fn an_orphan_does_not_stop_the_server(setup: Setup) {
    serving(setup.first_process(), "").run(|server, cases| {
        let children = |process: Process| process.children().len();
        let supervisor = server.supervisors()[0];
        cases.check("one that ends while its process serves", || {
            assert_eq!(server.get(&format!("/orphan?{FATAL},first")).status, 200);
            wait_until("the supervisor has it", || (children(supervisor) == 2).then_some(()));
            open_gate(server, "first");
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
            open_gate(server, "second");
            wait_until("the old supervisor ends", || {
                (!server.supervisors().contains(&supervisor)).then_some(())
            });
            assert_eq!(server.get("/pid").status, 200);
        });
        assert!(!server.log_since(e2e::LogMark::default()).contains("returned a Fatal error"));
    });
}
