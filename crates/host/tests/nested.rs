//! Requests that begin while another one of the same thread is sending: the server's filters make
//! such (mod_include).

#![allow(clippy::disallowed_types, reason = "no Python runs under them")]

mod support;

use std::path::PathBuf;
use std::sync::{LazyLock, Mutex};

use bridge::outcome;
use support::{Call, Response, script};

static APPLICATION: LazyLock<PathBuf> = LazyLock::new(|| {
    script(
        "nested.py",
        "
import mod_wsgi, sys
try:
    import ctypes
    # Takes the lock as an extension module does in a callback.
    callback = ctypes.CFUNCTYPE(ctypes.c_int)(lambda: 7)
except ImportError:
    # Python 3.12 does not have it in an interpreter with a lock of its own.
    callback = lambda: 7
alive = set()
class Value:
    def __init__(self):
        alive.add(id(self))
    def __del__(self):
        alive.discard(id(self))
def application(environ, start_response):
    me = environ['PATH_INFO']
    mod_wsgi.request_data()['value'] = Value()
    mod_wsgi.request_data()['me'] = me
    write = start_response('200 OK', [])
    assert callback() == 7
    write(b'begin ')
    assert callback() == 7
    assert mod_wsgi.request_data()['me'] == me, mod_wsgi.request_data()
    assert mod_wsgi.active_requests['id'] is mod_wsgi.request_data(), mod_wsgi.active_requests
    print('printed by', me)
    environ['wsgi.errors'].write('written by %s\\n' % me)
    return [b'end ', str(len(alive)).encode()]
",
    )
});

static INNER: Mutex<Vec<Response>> = Mutex::new(Vec::new());

fn inner(group: &'static str) {
    let call = Call { group, path_info: "/inner", ..Call::new(&APPLICATION) };
    let response = call.run();
    INNER.lock().expect("no panic while it is locked").push(response);
}

#[test]
fn the_outer_request_goes_on_as_before() {
    let nested: [(&str, fn()); 4] =
        [("", || inner("")), ("", || inner("sub")), ("sub", || inner("")), ("own", || inner("other"))];
    for (group, run) in nested {
        for _ in 0..3 {
            let outer = Response { during_write: Some(run), ..Response::default() };
            let call = Call { group, path_info: "/outer", ..Call::new(&APPLICATION) };
            let outer = call.run_with(outer);
            let inner = std::mem::take(&mut *INNER.lock().expect("no panic while it is locked"));
            assert_eq!(inner.len(), outer.writes.len());
            for (response, me, most) in
                inner.iter().map(|response| (response, "inner", "2")).chain([(&outer, "outer", "1")])
            {
                assert_eq!(response.outcome, outcome::COMPLETE, "{me} in {group:?}: {response:?}");
                assert!(response.has_logged(&format!("printed by /{me}")), "{me} in {group:?}: {response:?}");
                assert!(response.has_logged(&format!("written by /{me}")), "{me} in {group:?}: {response:?}");
                let text = response.text();
                let count = text.strip_prefix("begin end ").expect("a whole response");
                assert!(count <= most, "{me} in {group:?}: data of {count} requests is left");
            }
        }
    }
}
