//! The exchange of a question with its host: the log, and the variables of TLS.

#![allow(
    unsafe_code,
    reason = "Apache's structures are used on the threads that the host uses, one at a time"
)]

use std::any::Any;
use std::ffi::c_int;
use std::os::fd::BorrowedFd;
use std::task::Poll;
use std::time::Duration;

use bridge::{Answer, Bytes, Disconnected, Exchange, ExchangeServer, Field, Question, Serve, Wait};
use httpd::{Level, Request, describe_panic};

use super::exchange::as_running;
use super::host::Host;
use crate::log;

/// The server's side of a question. There is neither a body nor a response.
struct QuestionExchange<'r> {
    request: &'r Request,
}

// SAFETY: `ExchangeServer` gives it to one thread at a time. The request's own thread is in `ask`,
// where it uses the request in no other way; it goes on when no other thread can use it any more.
unsafe impl Send for QuestionExchange<'_> {}

/// Has `host` ask a script about `request`.
pub(super) fn ask(host: &Host, request: &Request, question: &Question<'_>) -> Answer {
    let shared = ExchangeServer::new(QuestionExchange { request }, NoBody);
    let answer = as_running(|| host.ask(question, Exchange::new(&shared)));
    let (_, has_panicked) = shared.end();
    if has_panicked { Answer::Failed } else { answer }
}

impl Serve for QuestionExchange<'_> {
    fn poll_read(&mut self, _: &mut [u8]) -> Result<Poll<usize>, Disconnected> {
        Err(Disconnected)
    }

    fn is_gone(&mut self) -> bool {
        false
    }

    fn start(&mut self, _: u16, _: Bytes<'_>, _: &[Field<'_>]) -> Result<(), Disconnected> {
        Err(Disconnected)
    }

    fn write(&mut self, _: &[u8], _: u32) -> Result<(), Disconnected> {
        Err(Disconnected)
    }

    fn send_file(&mut self, _: BorrowedFd<'_>, _: u64, _: u64) -> Result<(), Disconnected> {
        Err(Disconnected)
    }

    fn log(&mut self, level: c_int, line: &[u8]) {
        log::request(self.request, Level::from_number(level), line);
    }

    fn tls_variable(&mut self, name: &[u8]) -> Option<Vec<u8>> {
        self.request.tls_variable(name).map(<[u8]>::to_vec)
    }

    fn report_panic(&mut self, during: &str, panic: &(dyn Any + Send)) {
        log::request(self.request, Level::Crit, describe_panic(during, panic));
    }
}

/// The wait for a body, which there is none of.
struct NoBody;

impl Wait for NoBody {
    fn wait(&self, _: Duration) {}

    fn interrupt(&self) {}
}
