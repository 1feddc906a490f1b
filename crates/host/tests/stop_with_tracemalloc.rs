//! The end of a process in which everything that allocates memory looks for the state of its thread.

mod support;

use std::sync::mpsc;

use support::ending::{assert_ended, log_of_life, position};
use support::{Call, script};

#[test]
fn interpreters_end_while_memory_is_traced() {
    let path = script(
        "traced.py",
        "
try:
    import tracemalloc
except ImportError:
    # Python 3.12 does not have it in an interpreter with a lock of its own.
    pass
def application(environ, start_response):
    if environ['PATH_INFO'] == '/trace':
        tracemalloc.start()
    start_response('200 OK', [])
    return [b'ok']
",
    );
    // Threads of the server's may still be there, idle.
    let (done, idle) = mpsc::channel::<()>();
    let (sender, served) = mpsc::channel();
    let path = &path;
    std::thread::scope(|scope| {
        scope.spawn(move || {
            // Before Python 3.12, interpreters are not created while memory is traced.
            for (group, path_info) in [("", "/"), ("sub", "/"), ("own", "/"), ("", "/trace")] {
                let _ = sender.send(Call { group, path_info, ..Call::new(path) }.run().status);
            }
            let _ = idle.recv();
        });
        assert_eq!(served.iter().take(4).collect::<Vec<_>>(), [200; 4]);
        let log = log_of_life(&["", "sub", "own"]);
        for group in ["main", "sub", "own"] {
            assert_ended(&log, group);
        }
        position(&log, "Terminating Python.");
        drop(done);
    });
}
