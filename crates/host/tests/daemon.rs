//! The host as a daemon process: a real Python, its supervisor and its clients played by the tests.

mod support;

use support::daemon::{Ask, Plan};
use support::script;

const HELLO: &str = "
def application(environ, start_response):
    start_response('200 OK', [('Content-Type', 'text/plain')])
    return [b'hello']
";

#[test]
fn a_process_serves_requests_and_ends_when_told() {
    let path = script("daemon_hello.py", HELLO);
    let mut process = Plan::default().serve();
    let mut connection = process.connect();
    for _ in 0..3 {
        let answer = connection.ask(&Ask::new(&path));
        assert_eq!(
            (answer.status, answer.outcome, answer.text().as_str()),
            (200, Some(0), "hello"),
            "{answer:?}"
        );
    }
    process.signal(libc::SIGTERM);
    assert_eq!(process.ended().code(), Some(0), "{}", process.log());
}
