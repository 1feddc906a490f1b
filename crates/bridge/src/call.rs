//! The call of a started host: its kind, request and reply. A WSGI request is one kind.

use std::ffi::c_int;

use wsgi_core::wire::Reader;

use crate::tag::{checked, checked_mut, tagged};
use crate::{Answer, Exchange, Host, OtherBuild, Question, QuestionReply, Request, Sink, Tag, Times};

/// The kinds of calls, by their numbers. Each has a record of the request and one of the reply.
#[repr(u32)]
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// Makes an application respond: [`Request`], [`WsgiReply`].
    Wsgi = 1,
    /// Asks a script of one of the server's hooks: [`Question`], [`QuestionReply`].
    Question = 2,
}

impl Kind {
    /// Returns the kind of an encoded call.
    #[must_use]
    pub fn of_message(message: &[u8]) -> Option<Self> {
        Self::from_number(Reader::new(message).u32().ok()?)
    }

    pub(crate) const fn from_number(number: u32) -> Option<Self> {
        match number {
            1 => Some(Self::Wsgi),
            2 => Some(Self::Question),
            _ => None,
        }
    }
}

/// The reply to a call of [`Kind::Wsgi`].
#[repr(C)]
#[derive(Debug)]
pub struct WsgiReply<'a> {
    tag: Tag,
    exchange: Exchange<'a>,
    /// The outcome of the request: see [`mod@crate::outcome`].
    pub outcome: u32,
    /// The parts of its time.
    pub times: Times,
}

tagged!(WsgiReply<'_>);

impl<'a> WsgiReply<'a> {
    /// Returns a reply whose response goes to `exchange`. Its outcome is 500 until it is set.
    #[must_use]
    pub const fn new(exchange: Exchange<'a>) -> Self {
        Self { tag: Tag::of::<WsgiReply<'_>>(), exchange, outcome: 500, times: Times::NONE }
    }

    /// Returns the exchange for the response.
    #[must_use]
    pub const fn exchange(&self) -> Exchange<'a> {
        self.exchange
    }
}

/// A call as the host gets it.
#[derive(Debug)]
pub enum Call<'a> {
    /// See [`Kind::Wsgi`].
    Wsgi(&'a Request<'a>, &'a mut WsgiReply<'a>),
    /// See [`Kind::Question`].
    Question(&'a Question<'a>, &'a mut QuestionReply<'a>),
}

/// The result of a call that was taken; its outcome is in the reply.
const TAKEN: c_int = 0;
/// The result of a call of a kind that the host does not know, or with a record of another build.
const NOT_TAKEN: c_int = -1;

/// Gives a call that came through [`Host::call`] to `take`, and returns the result of that
/// function.
///
/// # Safety
/// The arguments are those of the call.
#[inline]
pub unsafe fn receive(kind: u32, request: *const Tag, reply: *mut Tag, take: impl FnOnce(Call<'_>)) -> c_int {
    // SAFETY: by the caller's promise, the other side has made such records for this kind, valid
    // during the call.
    match unsafe { read(kind, request, reply) } {
        Ok(Some(call)) => {
            take(call);
            TAKEN
        }
        Ok(None) | Err(OtherBuild { .. }) => NOT_TAKEN,
    }
}

/// Returns the call that the records are for; `None` if its kind is not known.
///
/// # Safety
/// The records are what `kind` says, valid and not used by others for as long as `'a`.
#[inline]
unsafe fn read<'a>(kind: u32, request: *const Tag, reply: *mut Tag) -> Result<Option<Call<'a>>, OtherBuild> {
    let Some(kind) = Kind::from_number(kind) else { return Ok(None) };
    match kind {
        // SAFETY: by the caller's promise.
        Kind::Wsgi => unsafe {
            let (request, reply) =
                (checked(request.cast::<Request<'_>>())?, checked_mut(reply.cast::<WsgiReply<'_>>())?);
            checked(&raw const *reply.exchange.api)?;
            Ok(Some(Call::Wsgi(request, reply)))
        },
        // SAFETY: by the caller's promise.
        Kind::Question => unsafe {
            let (question, reply) =
                (checked(request.cast::<Question<'_>>())?, checked_mut(reply.cast::<QuestionReply<'_>>())?);
            checked(&raw const *reply.exchange().api)?;
            Ok(Some(Call::Question(question, reply)))
        },
    }
}

impl Host {
    /// Makes the application respond to `request` through `exchange`. Returns the outcome (see
    /// [`mod@crate::outcome`]) and the parts of the time, or `None` if the host has not taken the
    /// call.
    ///
    /// # Safety
    /// The host has been started.
    #[must_use]
    pub unsafe fn serve(&self, request: &Request<'_>, exchange: Exchange<'_>) -> Option<(u32, Times)> {
        let mut reply = WsgiReply::new(exchange);
        // SAFETY: the host was started, and the records are those of the kind.
        let taken =
            unsafe { (self.call)(Kind::Wsgi as u32, (&raw const *request).cast(), (&raw mut reply).cast()) };
        (taken == TAKEN).then_some((reply.outcome, reply.times))
    }

    /// Asks a script. It logs, and looks up variables of TLS, through `exchange`. Returns
    /// [`Answer::Failed`] if the host has not taken the call, or has given no valid answer.
    ///
    /// # Safety
    /// The host has been started.
    #[must_use]
    pub unsafe fn ask(&self, question: &Question<'_>, exchange: Exchange<'_>) -> Answer {
        let mut answer = Vec::new();
        let mut reply = QuestionReply::new(exchange, Sink::new(&mut answer));
        // SAFETY: the host was started, and the records are those of the kind.
        let taken = unsafe {
            (self.call)(Kind::Question as u32, (&raw const *question).cast(), (&raw mut reply).cast())
        };
        if taken == TAKEN { Answer::decode(&answer).unwrap_or_default() } else { Answer::Failed }
    }
}
