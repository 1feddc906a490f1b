//! The dispatch of requests to interpreters.

use std::cell::Cell;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::LazyLock;

use bridge::{Exchange, Lease, Level, Request, Times};

use crate::interpreters::Interpreters;
use crate::outcome::Outcome;
use crate::process::{Process, process};
use crate::report;
use crate::request::{self, Runner};
use crate::state::Interpreter;
use wsgi_core::codes::{NO_INTERPRETER_FOR_REQUEST, PYTHON_NOT_RUNNING};

static INTERPRETERS: LazyLock<Interpreters> = LazyLock::new(Interpreters::default);

/// Returns the interpreters of the process.
pub(crate) fn interpreters() -> &'static Interpreters {
    &INTERPRETERS
}

/// Has an interpreter serve a request: see [`bridge::Kind::Wsgi`]. The runner is told when the
/// request enters and leaves it, and the parts of its time. A panic is a failure of this request
/// only.
pub(crate) fn handle(
    request: &Request<'_>,
    exchange: Exchange<'_>,
    runner: Option<&'static dyn Runner>,
) -> (Outcome, Times) {
    let handled = catch_unwind(AssertUnwindSafe(|| try_handle(request, exchange, runner)));
    handled.unwrap_or_else(|panic| {
        let text = format!("panic while a request was handled: {}", report::panic_text(&*panic));
        exchange.log(Level::Error, text.as_bytes());
        (Outcome::Status(500), Times::NONE)
    })
}

fn try_handle(
    request: &Request<'_>,
    exchange: Exchange<'_>,
    runner: Option<&'static dyn Runner>,
) -> (Outcome, Times) {
    let Some(process) = process() else {
        exchange.log(
            Level::Error,
            format!("{PYTHON_NOT_RUNNING}: Python has not been initialised in this process.").as_bytes(),
        );
        return (Outcome::Status(500), Times::NONE);
    };
    let _running = process.requests.begin();
    if process.is_stopping() {
        return (Outcome::Status(503), Times::NONE);
    }
    let group = request.facts.application_group.or_empty();
    match interpreter(process, group) {
        Ok(interpreter) => Lease::lend(exchange, |lease| request::run(interpreter, request, lease, runner)),
        Err(text) => {
            let group = String::from_utf8_lossy(group);
            exchange.log(
                Level::Error,
                format!("{NO_INTERPRETER_FOR_REQUEST}: The interpreter '{group}' is not available for this request: {text}")
                    .as_bytes(),
            );
            (Outcome::Status(500), Times::NONE)
        }
    }
}

/// Returns the interpreter of an application group. A thread that stays with one group takes no
/// lock.
pub(crate) fn interpreter(process: &'static Process, group: &[u8]) -> Result<&'static Interpreter, String> {
    thread_local! {
        static LAST: Cell<Option<(Vec<u8>, &'static Interpreter)>> = const { Cell::new(None) };
    }
    let (name, interpreter) = match LAST.take() {
        Some((name, interpreter)) if name == group => (name, interpreter),
        _ => (group.to_owned(), interpreters().get(process, group)?),
    };
    LAST.set(Some((name, interpreter)));
    Ok(interpreter)
}
