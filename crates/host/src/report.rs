//! The reports of exceptions that were not caught.

use std::any::Any;
use std::fmt::Display;

use bridge::{Lease, Level};
use python::{Exception, Object, Python, Raised};
use wsgi_core::codes::{Code, EXCEPTION, SYSTEM_EXIT};
use wsgi_core::log_record::{Field, Record};
use wsgi_core::script::InterpreterName;

use crate::state::State;
use crate::{process, records};

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
    let name = String::from_utf8_lossy(script);
    let mut report = Report::new(py, state, format!("{code}: {headline}"), exception);
    match &mut report {
        Report::Record(record) => {
            record.add(Field::Script, script);
            record.add(Field::Application, &state.group);
        }
        Report::Lines(lines) => {
            for line in lines.iter_mut() {
                *line = format!("[script {name}] {line}");
            }
            if let Some(first) = lines.first_mut() {
                *first = format!("{code}: [script {name}] {headline}");
            }
        }
    }
    py.detach(|| {
        report.write(|line| {
            if lease.with(|exchange| exchange.log(Level::Error, line)).is_none() {
                process::log_bytes(Level::Error, line);
            }
        });
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
    in_process(py, state, Some(format!("{headline}, in the {}.", state.wording)), &exception);
}

/// Logs an exception that belongs to no request, behind a headline if there is one.
pub(crate) fn in_process(py: Python<'_>, state: &State, headline: Option<String>, exception: &Object) {
    let report = Report::new(py, state, headline.unwrap_or_default(), exception);
    report.write(|line| process::log_bytes(Level::Error, line));
}

/// The report of an exception.
enum Report {
    Lines(Vec<String>),
    Record(Record),
}

impl Report {
    fn new(py: Python<'_>, state: &State, headline: String, exception: &Object) -> Self {
        let lines = describe(py, state, exception);
        if !records::are_wanted() {
            let headline = Some(headline).filter(|headline| !headline.is_empty());
            return Self::Lines(headline.into_iter().chain(lines).collect());
        }
        let message = if headline.is_empty() { lines.last().cloned().unwrap_or_default() } else { headline };
        let mut record = records::new(message.as_bytes());
        record.add(Field::Exception, exception.type_name().as_bytes());
        record.add(Field::Traceback, lines.join("\n").as_bytes());
        Self::Record(record)
    }

    fn write(&self, write: impl Fn(&[u8])) {
        match self {
            Self::Lines(lines) => lines.iter().for_each(|line| write(line.as_bytes())),
            Self::Record(record) => write(record.bytes()),
        }
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
