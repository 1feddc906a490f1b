//! Threads of the server's: what they have in interpreters ends with them.

mod support;

use bridge::outcome;
use support::{Call, script};

const APPLICATION: &str = "
import threading
alive = set()
class Value:
    def __init__(self):
        alive.add(id(self))
    def __del__(self):
        print('a value of a thread ends')
        alive.discard(id(self))
local = threading.local()
def application(environ, start_response):
    if not hasattr(local, 'value'):
        local.value = Value()
    start_response('200 OK', [])
    return [str(len(alive)).encode()]
";

#[test]
fn thread_state_ends_with_its_thread() {
    let path = script("locals.py", APPLICATION);
    // What the thread has that starts Python stays.
    std::sync::LazyLock::force(&support::HOST);
    for group in ["", "sub", "own"] {
        for _ in 0..20 {
            let path = &path;
            let count = std::thread::scope(|scope| {
                scope
                    .spawn(move || {
                        let response = Call { group, ..Call::new(path) }.run();
                        assert_eq!(response.outcome, outcome::COMPLETE, "{response:?}");
                        response.text()
                    })
                    .join()
                    .expect("a response")
            });
            assert_eq!(count, "1", "in {group:?}");
        }
    }
}
