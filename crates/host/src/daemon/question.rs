//! Questions to scripts of the server's hooks, in a worker: see [`crate::questions`].

use bridge::{Answer, Exchange, ExchangeServer, Fields, Lease, Question, Topic, flag};
use wsgi_core::wire::Reader;

use super::connection::Connection;
use super::descriptors;
use super::exchange::{ArrivedBody, BodyWait, FrameExchange};
use super::incoming::payload;
use super::state::{Daemon, Message};
use super::workers::{self, Buffers, Completion, Observer};
use crate::questions;

/// Puts the question in `buffers` to its script.
pub(super) fn run(
    observer: &Observer,
    buffers: &mut Buffers,
    connection: &Connection,
    may_reload: bool,
) -> Completion {
    let Observer { daemon, worker } = *observer;
    let out = std::mem::take(&mut buffers.out);
    let mut fields = Fields::default();
    let mut reader = Reader::new(payload(&buffers.message));
    let decoded = Question::decode(&mut reader, &mut fields);
    let Ok(mut question) = decoded.and_then(|question| reader.end().map(|()| question)) else {
        workers::log_unreadable(daemon);
        return Completion::NotRun(false);
    };
    let decides_access = Topic::from_number(question.topic).is_some_and(Topic::decides_access);
    // A script that decides about access is not taken as it has been loaded, once it has changed.
    if !may_reload && !decides_access {
        question.facts.flags &= !flag::SCRIPT_RELOADING;
    }
    if let Some(rejection) = workers::prepare(observer, &mut question.facts, may_reload) {
        buffers.out = out;
        return Completion::Rejected(rejection);
    }
    let exchange = FrameExchange::new(connection.stream(), observer, ArrivedBody::NONE, out);
    let server = ExchangeServer::new(exchange, BodyWait::new(connection.stream()));
    let exchange = Exchange::new(&server);
    let can_ask = workers::translate_facts(daemon, &mut question.facts);
    let answer = if can_ask {
        let _limit = Limit::new(daemon, worker.index, question.time_limit);
        Lease::lend(exchange, |lease| questions::answer(&question, lease, Some(worker)))
    } else {
        workers::log_outside_of_jail(daemon, &question.facts, &exchange);
        Some(Answer::Failed)
    };
    let (frames, has_panicked) = server.end();
    descriptors::end_if_copy();
    let Some(answer) = answer else {
        let rest = frames.abandon();
        buffers.out = rest.out;
        return if rest.is_usable { Completion::Held } else { Completion::NotRun(false) };
    };
    let rest = frames.answer(&if has_panicked { Answer::Failed } else { answer });
    buffers.out = rest.out;
    if can_ask { Completion::Ran(rest.is_usable) } else { Completion::NotRun(rest.is_usable) }
}

/// The time limit of a worker's question, for as long as it is asked.
struct Limit {
    daemon: &'static Daemon,
    worker: usize,
}

impl Limit {
    fn new(daemon: &'static Daemon, worker: usize, milliseconds: u32) -> Self {
        let due = daemon.now().saturating_add(milliseconds.into());
        if daemon.activity.limit(worker, due) {
            daemon.notify(Message::TimersDue);
        }
        Self { daemon, worker }
    }
}

impl Drop for Limit {
    fn drop(&mut self) {
        self.daemon.activity.unlimit(self.worker);
    }
}
