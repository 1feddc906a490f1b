//! The C ABI between `mod_wsgi.so` (Apache, no Python) and the host (Python, no Apache).
//!
//! Both sides are built from this crate, but not always together: the host is built once per Python
//! ABI and may be older or newer than the module that loads it. So everything here is `repr(C)`,
//! the first field of every table and record is its [`Tag`], and each side rejects a tag other than
//! its own.
//!
//! The module finds the symbol [`ENTRY`] in the host, calls it, and gets a [`Host`]. Every call of
//! a started host goes through [`Host::call`], with a [`Kind`], a record of the request and one of
//! the reply. For a WSGI request these are a [`Request`] (the facts before the application runs)
//! and a [`WsgiReply`] with an [`Exchange`] (the operations while it runs: read the body, respond,
//! log). For a [`Question`] to a script of one of the server's hooks, the reply is an [`Answer`]. The server's side implements the exchange as [`Serve`]; one trampoline makes guarded C
//! functions of that. [`RequestFacts`] are the part of a request that all kinds of calls have.
//!
//! Borrowed data ([`Bytes`], [`List`]) is valid for the duration of the call that it is an argument
//! of, unless said otherwise. Times are microseconds since the Unix epoch, as in APR; 0 means "not
//! known".

mod call;
mod data;
mod exchange;
mod lease;
mod process;
mod question;
mod request;
pub mod scoreboard;
mod serve;
mod tag;
mod times;
mod wire;

use std::ffi::CStr;

pub use call::{Call, Kind, WsgiReply, receive};
pub use data::{Bytes, Field, List, Sink, Tristate, from_tristate, tristate};
pub use exchange::{Disconnected, Exchange, write};
pub use lease::Lease;
pub use process::{
    Host, Import, InterpreterOptions, NamedScript, Server, Settings, reason_from_number, reason_number,
};
pub use question::{Answer, ChosenRoute, Question, QuestionReply, QuestionRoute, Topic};
pub use request::{Cgi, Outcome, Request, RequestFacts, flag, outcome};
pub use serve::{ExchangeServer, Serve, Wait};
pub use tag::{OtherBuild, Tag, Tagged, checked};
pub use times::Times;
pub use wire::{Fields, Head, Lists};
pub use wsgi_core::level::Level;

/// The version of this interface, computed from the sources of this crate and of the wire format,
/// so that every change gives another one.
pub const ABI: u32 = wsgi_core::wire::schema::ABI;

/// The symbol that a host exports, of type [`Entry`].
pub const ENTRY: &CStr = c"mod_wsgi_host";

/// The type of the function behind [`ENTRY`].
pub type Entry = unsafe extern "C" fn() -> *const Host;
