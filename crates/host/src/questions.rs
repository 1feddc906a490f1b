//! Questions to scripts of the server's hooks: about access, users, groups, and where a request is
//! to go. See [`bridge::Question`].
//!
//! [`ask`] is for a server's thread; [`answer`] asks the script.

mod callers;
mod environ;
mod inline;
mod overdue;
mod results;
mod threads;
mod tls;

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;

use bridge::{Answer, Exchange, Lease, Level, Question, Topic};
use python::{Object, Python, Result};
use wsgi_core::codes::{
    Code, NO_ALLOW_ACCESS, NO_CHECK_PASSWORD, NO_GROUPS_FUNCTION, NO_INTERPRETER_FOR_ACCESS,
    NO_INTERPRETER_FOR_DISPATCH, NO_INTERPRETER_FOR_GROUPS, NO_INTERPRETER_FOR_HASH,
    NO_INTERPRETER_FOR_PASSWORD, NO_REALM_HASH, PYTHON_NOT_RUNNING,
};

use crate::process::process;
use crate::request::{Entered, Runner};
use crate::scripts::{NotLoaded, WithoutChange};
use crate::state::{State, ThreadState};
use crate::{context, dispatch, errors, report, scripts};

pub(crate) use tls::TlsLookup;

/// Asks a script for a thread of the server: on that thread, if there is a permit for it, or else
/// on another one, for which it waits within the time limit.
pub(crate) fn ask(question: &Question<'_>, exchange: Exchange<'_>) -> Answer {
    if overdue::are_too_many(question.facts.script.or_empty()) {
        return Answer::Overdue;
    }
    Lease::lend(exchange, |lease| {
        let asked = process().and_then(|process| inline::try_ask(process, question, lease));
        asked.unwrap_or_else(|| callers::ask(question, lease))
    })
}

/// Ends the threads that have nothing to do, and the others when they have answered.
pub(crate) fn close() {
    callers::close();
    inline::close();
    threads::wait_for_end();
}

/// Asks the script on this thread. The runner is told when the question enters the interpreter and
/// leaves it. Returns `None` if the question has to wait for a successor of the process, which
/// loads the script. A panic is a failure of this question only.
pub(crate) fn answer(
    question: &Question<'_>,
    lease: &Arc<Lease>,
    runner: Option<&'static dyn Runner>,
) -> Option<Answer> {
    let answered = catch_unwind(AssertUnwindSafe(|| try_answer(question, lease, runner)));
    match answered {
        Ok(Asked::Answered(answer)) => Some(answer),
        Ok(Asked::Held) => None,
        Err(panic) => {
            log(lease, &format!("panic while a script was asked: {}", report::panic_text(&*panic)));
            Some(Answer::Failed)
        }
    }
}

/// The end of a question inside Python.
enum Asked {
    Answered(Answer),
    Held,
}

impl From<Answer> for Asked {
    fn from(answer: Answer) -> Self {
        Self::Answered(answer)
    }
}

fn try_answer(question: &Question<'_>, lease: &Arc<Lease>, runner: Option<&'static dyn Runner>) -> Asked {
    let failed = || Asked::Answered(Answer::Failed);
    let Some(topic) = Topic::from_number(question.topic) else { return failed() };
    let Some(process) = process() else {
        log(lease, &format!("{PYTHON_NOT_RUNNING}: Python has not been initialised in this process."));
        return failed();
    };
    let _running = process.questions.begin();
    if process.is_stopping() {
        log(lease, "The process is about to end: the script is not asked.");
        return failed();
    }
    let group = question.facts.application_group.or_empty();
    match dispatch::interpreter(process, group) {
        Ok(interpreter) => interpreter.attach(|py, state, thread| {
            let call = QuestionCall { py, state, thread, topic, question, lease };
            let _entered = Entered::new(py, runner, interpreter);
            context::with_request(py, || call.run())
        }),
        Err(text) => {
            let (code, group) = (no_interpreter(topic), String::from_utf8_lossy(group));
            log(lease, &format!("{code}: The interpreter '{group}' is not available: {text}"));
            failed()
        }
    }
}

fn log(lease: &Lease, line: &str) {
    lease.with(|exchange| exchange.log(Level::Error, line.as_bytes()));
}

const fn no_interpreter(topic: Topic) -> Code {
    match topic {
        Topic::Access => NO_INTERPRETER_FOR_ACCESS,
        Topic::Password => NO_INTERPRETER_FOR_PASSWORD,
        Topic::RealmHash => NO_INTERPRETER_FOR_HASH,
        Topic::Groups => NO_INTERPRETER_FOR_GROUPS,
        Topic::Route => NO_INTERPRETER_FOR_DISPATCH,
    }
}

/// The common data of the steps of a question.
struct QuestionCall<'a> {
    py: Python<'a>,
    state: &'static State,
    thread: &'a ThreadState,
    topic: Topic,
    question: &'a Question<'a>,
    lease: &'a Arc<Lease>,
}

impl QuestionCall<'_> {
    fn run(&self) -> Asked {
        let py = self.py;
        let errors = match errors::for_request(py, self.state, self.thread, self.lease, &self.question.facts)
        {
            Ok(errors) => errors,
            Err(raised) => return self.raised(raised).into(),
        };
        let asked = self.ask(&errors.wrapper);
        errors.stream.expire(py);
        self.thread.errors.replace(Some(errors));
        asked
    }

    fn ask(&self, errors: &Object) -> Asked {
        let facts = &self.question.facts;
        let module = match scripts::module(
            self.py,
            self.state,
            self.thread,
            facts,
            self.lease,
            None,
            self.without_change(),
        ) {
            Ok(module) => module,
            Err(NotLoaded::Held) => return Asked::Held,
            Err(NotLoaded::Failed | NotLoaded::Interrupted | NotLoaded::NotTried) => {
                return Answer::NotLoaded.into();
            }
        };
        let asked = module.module_dict().and_then(|module| match self.topic {
            Topic::Access => self.function(&module, "allow_access", NO_ALLOW_ACCESS, errors, Self::access),
            Topic::Password => {
                self.function(&module, "check_password", NO_CHECK_PASSWORD, errors, Self::password)
            }
            Topic::RealmHash => {
                self.function(&module, "get_realm_hash", NO_REALM_HASH, errors, Self::realm_hash)
            }
            Topic::Groups => {
                self.function(&module, "groups_for_user", NO_GROUPS_FUNCTION, errors, Self::groups)
            }
            Topic::Route => self.route(&module, &self.environ(errors)?),
        });
        asked.unwrap_or_else(|raised| self.raised(raised)).into()
    }

    /// Calls the function of the topic, and reads its result with `read`.
    fn function(
        &self,
        module: &Object,
        name: &str,
        missing: Code,
        errors: &Object,
        read: impl FnOnce(&Self, &Object) -> Result<Answer>,
    ) -> Result<Answer> {
        let Some(function) = module.dict_get(&self.py.name(name)?)? else {
            let script = String::from_utf8_lossy(self.script());
            self.refuse(
                missing,
                format_args!("The script '{script}' has no function '{name}'. Define it there"),
            );
            return Ok(Answer::Failed);
        };
        let environ = self.environ(errors)?;
        let [first, second] = self.question.arguments;
        let argument = |bytes: bridge::Bytes<'_>| bytes.get().map(|text| self.py.latin1(text)).transpose();
        let result = match (argument(first)?, argument(second)?) {
            (Some(first), Some(second)) => function.call([&environ, &first, &second]),
            (Some(first), None) => function.call([&environ, &first]),
            _ => function.call([&environ]),
        };
        read(self, &result?)
    }

    /// The change of a script may be that somebody is no longer to be let in.
    const fn without_change(&self) -> WithoutChange {
        if self.topic.decides_access() { WithoutChange::Refuse } else { WithoutChange::Serve }
    }

    /// Logs why there is no answer.
    fn refuse(&self, code: Code, text: impl std::fmt::Display) {
        let line = format!("{code}: {text}");
        self.py.detach(|| log(self.lease, &line));
    }

    /// Logs an exception.
    fn raised(&self, raised: python::Raised) -> Answer {
        if raised.is_instance(self.state.helpers.request_timeout.get(self.py)) {
            raised.clear();
            let script = String::from_utf8_lossy(self.script());
            let line = format!(
                "The script '{script}' was interrupted: it was asked for longer than the time limit allows."
            );
            self.py.detach(|| log(self.lease, &line));
            return Answer::Failed;
        }
        let exception = raised.take(self.py);
        report::in_request(self.py, self.state, self.lease, self.script(), &exception);
        Answer::Failed
    }

    fn script(&self) -> &[u8] {
        self.question.facts.script.or_empty()
    }
}
