//! The reports of exceptions that were not caught.

use std::any::Any;
use std::fmt::Display;

use bridge::{Lease, Level};
use python::{Exception, Object, Python, Raised};
use wsgi_core::codes::{Code, EXCEPTION, SYSTEM_EXIT};
use wsgi_core::script::InterpreterName;

use crate::process;
use crate::state::State;

/// Returns the words for an interpreter.
pub(crate) fn wording(process_group: &[u8], application_group: &[u8]) -> String {
    InterpreterName { process_group, application_group }.to_string()
}

/// Logs an exception that escaped while a request was served, with that request's context.
pub(crate) fn in_request(py: Python<'_>, state: &State, lease: &Lease, script: &[u8], exception: &Object) {
    let (code, headline) = headline(py, state, script, exception);
    in_request_as(py, state, lease, script, exception, code, &headline);
}

/// Logs an exception of a request behind a headline of its own.
pub(crate) fn in_request_as(
    py: Python<'_>,
    state: &State,
    lease: &Lease,
    script: &[u8],
    exception: &Object,
    code: Code,
    headline: &str,
) {
    let script = String::from_utf8_lossy(script);
    let mut lines = vec![format!("{code}: [script {script}] {headline}")];
    lines.extend(describe(py, state, exception).iter().map(|line| format!("[script {script}] {line}")));
    py.detach(|| {
        for line in &lines {
            if lease.with(|exchange| exchange.log(Level::Error, line.as_bytes())).is_none() {
                process::log(Level::Error, line);
            }
        }
    });
}

/// Returns the code and the first line of a report. Log monitors look for these words, which are
/// those of the original.
pub(crate) fn headline(py: Python<'_>, state: &State, script: &[u8], exception: &Object) -> (Code, String) {
    let script = String::from_utf8_lossy(script);
    let wording = &state.wording;
    if is_system_exit(py, exception) {
        let text = format!(
            "SystemExit exception raised by WSGI script '{script}' for {wording}: the process goes on."
        );
        return (SYSTEM_EXIT, text);
    }
    let class = exception.type_name();
    (EXCEPTION, format!("{class} exception raised processing WSGI script '{script}' for {wording}."))
}

/// Logs an exception that escaped outside of requests.
pub(crate) fn outside(py: Python<'_>, state: &State, raised: Raised, headline: impl Display) {
    let exception = raised.take(py);
    process::log(Level::Error, &format!("{headline}, in the {}.", state.wording));
    for line in describe(py, state, &exception) {
        process::log(Level::Error, &line);
    }
}

/// Returns whether the exception is an instance of `SystemExit`.
pub(crate) fn is_system_exit(py: Python<'_>, exception: &Object) -> bool {
    exception.is_instance(&py.exception_class(Exception::SystemExit)).unwrap_or_else(|raised| {
        raised.clear();
        false
    })
}

/// Returns whether the exception is one that interrupts requests.
pub(crate) fn is_request_timeout(py: Python<'_>, state: &State, exception: &Object) -> bool {
    exception.is_instance(state.helpers.request_timeout.get(py)).unwrap_or_else(|raised| {
        raised.clear();
        false
    })
}

/// Returns the lines of a traceback with its causes, or only the exception if that fails.
pub(crate) fn describe(py: Python<'_>, state: &State, exception: &Object) -> Vec<String> {
    let described = state.helpers.describe.get(py).call([exception]).map(|lines| {
        (0..lines.item_count()).filter_map(|index| lines.item(index)?.to_text()).collect::<Vec<_>>()
    });
    described.unwrap_or_else(|raised| {
        raised.clear();
        plain(py, exception)
    })
}

/// Returns the exception in one line, made without Python's `traceback`.
pub(crate) fn plain(py: Python<'_>, exception: &Object) -> Vec<String> {
    let text = exception.to_str().map(|text| text.to_text().unwrap_or_default());
    let text = text.unwrap_or_else(|raised| {
        drop(raised.take(py));
        "its text cannot be had".to_owned()
    });
    vec![format!("{}: {text}", exception.type_name())]
}

/// Returns the message of a panic.
pub(crate) fn panic_text(panic: &(dyn Any + Send)) -> String {
    let text = panic.downcast_ref::<&str>().map(|text| (*text).to_owned());
    text.or_else(|| panic.downcast_ref::<String>().cloned()).unwrap_or_else(|| "no message".to_owned())
}
