//! The C entry points of the host: the only unsafe code in it. See [`bridge::Host`].

#![allow(unsafe_code, reason = "functions that C calls, with pointers that C gives")]

use std::ffi::{c_int, c_void};
use std::os::fd::{FromRawFd, OwnedFd, RawFd};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::atomic::{AtomicBool, Ordering};

use bridge::{
    Call, Host, Level, Question, QuestionReply, Request, Server, Settings, Tag, WsgiReply, checked,
    reason_from_number, receive,
};

use crate::report::panic_text;
use crate::{daemon, dispatch, lacking, life, process, questions};

static HOST: Host = Host { tag: Tag::of::<Host>(), start, call, stop, lacks_import };

/// Returns the host's functions: [`bridge::ENTRY`].
#[unsafe(no_mangle)]
#[expect(unreachable_pub, reason = "exported by its C name")]
pub extern "C" fn mod_wsgi_host() -> *const Host {
    &raw const HOST
}

const _: bridge::Entry = mod_wsgi_host;

unsafe extern "C" fn start(settings: *const Settings<'_>, server: *const Server) -> c_int {
    // SAFETY: the caller gives valid pointers; nothing is read before the tags have been.
    let (settings, server) = match unsafe { (checked(settings), checked(server)) } {
        (Ok(settings), Ok(server)) => (settings, *server),
        // The caller has rejected this host, or should have.
        _ => return -1,
    };
    match catch_unwind(|| life::start(settings, server)) {
        Ok(Ok(())) => 0,
        Ok(Err(text)) => {
            server.log(Level::Critical, text.as_bytes());
            -1
        }
        Err(panic) => {
            server.log(
                Level::Critical,
                format!("panic while Python was started: {}", panic_text(&*panic)).as_bytes(),
            );
            -1
        }
    }
}

unsafe extern "C" fn call(kind: u32, request: *const Tag, reply: *mut Tag) -> c_int {
    // SAFETY: the arguments of the call.
    unsafe {
        receive(kind, request, reply, |call| match call {
            Call::Wsgi(request, reply) => serve(request, reply),
            Call::Question(question, reply) => ask(question, reply),
        })
    }
}

fn serve(request: &Request<'_>, reply: &mut WsgiReply<'_>) {
    let (outcome, times) = dispatch::handle(request, reply.exchange(), None);
    (reply.outcome, reply.times) = (outcome.number(), times);
}

fn ask(question: &Question<'_>, reply: &mut QuestionReply<'_>) {
    let exchange = reply.exchange();
    let asked = catch_unwind(AssertUnwindSafe(|| {
        let mut message = Vec::new();
        questions::ask(question, exchange).encode(&mut message);
        message
    }));
    match asked {
        Ok(message) => reply.answer.put(&message),
        // Without an answer the request is refused.
        Err(panic) => {
            process::log(Level::Error, &format!("panic while a script was asked: {}", panic_text(&*panic)));
        }
    }
}

unsafe extern "C" fn stop(reason: c_int, grace: u32) {
    if catch_unwind(|| life::stop(reason_from_number(reason), grace)).is_err() {
        process::log(Level::Error, "panic while Python was stopped");
    }
}

unsafe extern "C" fn lacks_import() -> bool {
    lacking::lacks_import()
}

/// Creates the host as an extension module; called by Python's import in a daemon process.
///
/// # Safety
/// Called by Python's import.
#[unsafe(no_mangle)]
#[expect(unreachable_pub, reason = "exported by its C name")]
pub unsafe extern "C" fn PyInit_mod_wsgi_host() -> *mut c_void {
    // SAFETY: by the caller's promise. The supervisor has given the descriptor to this process, for
    // this very call.
    unsafe {
        python::extension::define(c"mod_wsgi_host", c"serve", |py, argument| {
            let number = RawFd::try_from(argument.to_i64()?).unwrap_or(-1);
            if number < 0 || SERVED.swap(true, Ordering::Relaxed) {
                return Err(py.raise(python::Exception::RuntimeError, "serve() takes a descriptor, once"));
            }
            let control = OwnedFd::from_raw_fd(number);
            daemon::serve(py, control).map(|()| py.none())
        })
    }
}

static SERVED: AtomicBool = AtomicBool::new(false);
