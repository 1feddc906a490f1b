//! Scripts that a daemon process cannot import.

mod support;

use std::time::Duration;

use support::daemon::{Ask, Plan};
use support::script;
use wsgi_core::lifecycle::Reason;
use wsgi_core::wire::control::{Order, Report, Script};
use wsgi_core::wire::frame::Rejection;
use wsgi_core::wire::launch::Limits;

const BROKEN: &str =
    "import sys\nsys.tries = getattr(sys, 'tries', 0) + 1\nraise OSError(f'try {sys.tries}')\n";
const WORKS: &str =
    "def application(environ, start_response):\n    start_response('200 OK', [])\n    return [b'works']\n";

#[test]
fn the_supervisor_gets_the_parts_of_long_texts_that_it_keeps() {
    let broken = script("imports_long.py", "raise OSError('x' * 3_000_000 + 'end')\n");
    let process = Plan::default().serve();
    assert_eq!(process.connect().ask(&Ask::new(&broken)).outcome, Some(500));
    process.order(&Order::Drain(0));
    assert_eq!(process.report(), None, "to its end");
    let told = process.failed_imports.take();
    let (text, detail) = &told[0];
    assert!(text.starts_with("The script file") && detail.ends_with("xxend"), "{told:?}");
    assert_eq!((text.len(), detail.len()), (512, 8192));
}

#[test]
fn a_failed_import_is_tried_again_by_others_only() {
    let (broken, works) = (script("imports_broken.py", BROKEN), script("imports_works.py", WORKS));
    let limits =
        Limits { maximum_requests: 4, graceful_timeout: 5_000, shutdown_timeout: 1_000, ..Limits::default() };
    let process = Plan { threads: 2, limits, ..Plan::default() }.serve();
    let mut connection = process.connect();
    assert_eq!(connection.ask(&Ask::new(&works)).text(), "works");
    let first = connection.ask(&Ask::new(&broken));
    assert_eq!(first.outcome, Some(500));
    assert!(first.log.iter().any(|line| line.contains("Traceback")), "{first:?}");
    // They are refused, so they are no requests that ran.
    for _ in 0..10 {
        let refused = connection.ask(&Ask::new(&broken));
        assert_eq!((refused.outcome, refused.log.len()), (Some(500), 1), "{refused:?}");
        assert!(
            refused.log[0].contains("WSGI0109") && refused.log[0].contains("OSError: try 1"),
            "{refused:?}"
        );
    }
    std::thread::sleep(Duration::from_millis(10));
    script("imports_broken.py", &format!("{BROKEN}\n"));
    connection.send(&Ask::new(&broken));
    let served = Script {
        path: works.as_os_str().as_encoded_bytes().into(),
        application_group: b""[..].into(),
        callables: vec![b"application"[..].into()],
    };
    let wanted = Script {
        path: broken.as_os_str().as_encoded_bytes().into(),
        application_group: b""[..].into(),
        callables: Vec::new(),
    };
    let scripts = vec![served, wanted];
    let asks = Report::Replace { reason: Reason::ScriptReload, scripts: scripts.clone() };
    assert_eq!(process.report(), Some(asks.clone()), "and not for maximum-requests");
    let told = process.failed_imports.take();
    assert_eq!(told.len(), 1, "once for each version: {told:?}");
    let (text, detail) = &told[0];
    let headline = format!(
        "The script file '{}' raised an exception when it was executed: OSError: try 1",
        broken.display()
    );
    assert_eq!(*text, headline);
    assert!(
        detail.starts_with("Traceback (most recent call last)") && detail.ends_with("OSError: try 1"),
        "{detail}"
    );

    let mut successor = Plan { scripts, ..Plan::default() }.start();
    assert_eq!(successor.ended().code(), Some(3));
    assert!(successor.log().contains("OSError: try 1"), "{}", successor.log());
    assert_eq!(successor.report(), None);
    assert_eq!(successor.failed_imports.borrow().len(), 1, "before its end");
    process.order(&Order::NoSuccessor(b"it could not import its scripts"[..].into()));
    let kept = connection.answer(b"");
    assert_eq!((kept.outcome, kept.log.len()), (Some(500), 1), "{kept:?}");
    assert_eq!(connection.ask(&Ask::new(&works)).text(), "works");

    // The pause is over.
    std::thread::sleep(Duration::from_millis(1_100));
    connection.send(&Ask::new(&broken));
    assert_eq!(process.report(), Some(asks));
    process.order(&Order::Drain(5_000));
    assert_eq!(connection.answer(b"").rejection, Some(Rejection::Moved as u8));
}
