//! One request and its host: the functions that the host calls while it runs.

#![allow(unsafe_code, reason = "functions that C calls, with pointers that C gives")]

use std::cell::{Cell, RefCell};
use std::ffi::{c_int, c_void};
use std::os::fd::BorrowedFd;
use std::sync::Mutex;
use std::task::Poll;
use std::time::Duration;

use bridge::{Bytes, ExchangeApi, Field, List, Outcome, PENDING};
use httpd::{Input, Level, Request, Status, guard};
use os::waiter::Waiter;
use wsgi_core::config::Effective;
use wsgi_core::response::HeadLimits;

use super::host::Host;
use crate::answer::{Answer, Failed};
use crate::log;
use crate::validated::{self, NotValid};

thread_local! {
    // No destructor, see `httpd::guard`.
    static RUNNING: Cell<bool> = const { Cell::new(false) };
}

/// A running request. All but `wait` is used by one thread at a time: neither Apache's filters nor its memory are made for
/// more.
struct Exchange<'r> {
    request: &'r Request,
    parts: RefCell<Parts<'r>>,
    wait: BodyWait,
}

/// Waits for more of the body, outside of Apache.
#[derive(Default)]
struct BodyWait {
    /// What to wait for, and how long, as the last look has said.
    pause: Mutex<(Option<c_int>, Duration)>,
    waiter: Waiter,
}

struct Parts<'r> {
    input: Input<'r>,
    answer: Answer<'r>,
}

static API: ExchangeApi =
    ExchangeApi { read, poll_read, wait, interrupt, is_gone, start, write, send_file, log: log_line };

/// Has `host` answer `request`.
pub(super) fn run(
    host: &Host,
    request: &Request,
    settings: &Effective<'_>,
    description: &bridge::Request<'_>,
) -> Status {
    let parts =
        Parts { input: Input::new(request), answer: Answer::new(request, settings.enable_sendfile()) };
    let exchange = Exchange { request, parts: RefCell::new(parts), wait: BodyWait::default() };
    let was_running = RUNNING.replace(true);
    // SAFETY: the context is an exchange, which outlives the call; the host uses it on this thread only.
    let outcome = unsafe { host.handle(description, &API, (&raw const exchange).cast_mut().cast()) };
    RUNNING.set(was_running);
    let Parts { input, answer } = exchange.parts.into_inner();
    answer.finish(Outcome::parse(outcome).unwrap_or(Outcome::Failed(500)), input.failure())
}

/// Whether a host is at work further up the stack of this thread.
pub(super) fn is_running_here() -> bool {
    RUNNING.get()
}

unsafe extern "C" fn read(context: *mut c_void, buffer: *mut u8, capacity: usize) -> isize {
    // SAFETY: the context is the exchange that `run` made.
    let exchange = unsafe { exchange(context) };
    let body = || {
        if exchange.parts.borrow().answer.is_begun() {
            exchange.request.withhold_continue();
        }
        if capacity == 0 {
            if exchange.request.expects_continue() {
                exchange.request.send_continue();
            }
            return 0;
        }
        // SAFETY: the host's buffer, of bytes.
        let buffer = unsafe { std::slice::from_raw_parts_mut(buffer, capacity) };
        match exchange.parts.borrow_mut().input.read(buffer) {
            Ok(length) => isize::try_from(length).unwrap_or(isize::MAX),
            Err(_) => -1,
        }
    };
    guard("the reading of a request", body, |line| {
        log::request(exchange.request, Level::Crit, line);
        -1
    })
}

unsafe extern "C" fn poll_read(context: *mut c_void, buffer: *mut u8, capacity: usize) -> isize {
    // SAFETY: as above.
    let exchange = unsafe { exchange(context) };
    let body = || {
        let Parts { input, answer } = &mut *exchange.parts.borrow_mut();
        if answer.is_begun() {
            exchange.request.withhold_continue();
        }
        // SAFETY: the host's buffer, of bytes.
        let buffer = unsafe { std::slice::from_raw_parts_mut(buffer, capacity) };
        match input.poll_read(buffer) {
            Ok(Poll::Ready(length)) => isize::try_from(length).unwrap_or(isize::MAX),
            Ok(Poll::Pending) => {
                *exchange.wait.lock() = input.pause();
                PENDING
            }
            Err(_) => -1,
        }
    };
    guard("the reading of a request", body, |line| {
        log::request(exchange.request, Level::Crit, line);
        -1
    })
}

unsafe extern "C" fn wait(context: *mut c_void, milliseconds: u32) {
    // SAFETY: as above; only the part that is made for it is used beside other threads.
    let wait = unsafe { &(*context.cast_const().cast::<Exchange<'_>>()).wait };
    let body = || {
        let (descriptor, pause) = *wait.lock();
        wait.waiter.wait(descriptor, pause.min(Duration::from_millis(milliseconds.into())));
    };
    guard("waiting for a request", body, |_| ());
}

unsafe extern "C" fn interrupt(context: *mut c_void) {
    // SAFETY: as above.
    let wait = unsafe { &(*context.cast_const().cast::<Exchange<'_>>()).wait };
    guard("the end of a request", || wait.waiter.end(), |_| ());
}

unsafe extern "C" fn is_gone(context: *mut c_void) -> c_int {
    // SAFETY: as above.
    let exchange = unsafe { exchange(context) };
    guard("looking for a client", || exchange.request.connection().is_hung_up().into(), |_| 0)
}

unsafe extern "C" fn start(
    context: *mut c_void,
    status: u16,
    reason: Bytes<'_>,
    headers: List<'_, Field<'_>>,
) -> c_int {
    // SAFETY: the context is the exchange that `run` made.
    let request = unsafe { exchange(context) }.request;
    let start = |answer: &mut Answer<'_>| {
        let limits = HeadLimits::embedded();
        let head = validated::head(request, status, reason, headers.as_slice(), &limits);
        answer.start(&head.map_err(|NotValid| Failed)?)
    };
    // SAFETY: as above.
    unsafe { answer(context, start) }
}

unsafe extern "C" fn write(context: *mut c_void, block: Bytes<'_>, how: u32) -> c_int {
    // SAFETY: as above.
    unsafe { answer(context, |answer| answer.write(block.or_empty(), how)) }
}

unsafe extern "C" fn send_file(context: *mut c_void, descriptor: c_int, offset: u64, length: u64) -> c_int {
    if descriptor < 0 {
        return -1;
    }
    // SAFETY: as above; the host's descriptor is open during the call.
    let (request, file) = unsafe { (exchange(context).request, BorrowedFd::borrow_raw(descriptor)) };
    let send = |answer: &mut Answer<'_>| {
        let file = validated::file(request, file, offset, length).map_err(|NotValid| Failed)?;
        answer.send_file(&file)
    };
    // SAFETY: as above.
    unsafe { answer(context, send) }
}

unsafe extern "C" fn log_line(context: *mut c_void, level: c_int, line: Bytes<'_>) {
    // SAFETY: as above.
    let exchange = unsafe { exchange(context) };
    let body = || log::request(exchange.request, Level::from_number(level), line.or_empty());
    guard("the log", body, |_| ());
}

impl BodyWait {
    fn lock(&self) -> std::sync::MutexGuard<'_, (Option<c_int>, Duration)> {
        self.pause.lock().unwrap_or_else(std::sync::PoisonError::into_inner)
    }
}

/// # Safety
/// `context` is the exchange that [`run`] made, and still runs.
unsafe fn exchange<'e>(context: *mut c_void) -> &'e Exchange<'e> {
    // SAFETY: by the caller; the reference ends with the callback, before the exchange.
    unsafe { &*context.cast_const().cast::<Exchange<'e>>() }
}

/// # Safety
/// As [`exchange`].
unsafe fn answer(context: *mut c_void, body: impl FnOnce(&mut Answer<'_>) -> Result<(), Failed>) -> c_int {
    // SAFETY: by the caller.
    let exchange = unsafe { exchange(context) };
    let result = || match body(&mut exchange.parts.borrow_mut().answer) {
        Ok(()) => 0,
        Err(Failed) => -1,
    };
    guard("the sending of a response", result, |line| {
        log::request(exchange.request, Level::Crit, line);
        -1
    })
}
