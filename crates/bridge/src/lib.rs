//! The C ABI between `mod_wsgi.so` (Apache, no Python) and the host (Python, no Apache).
//!
//! Both sides are built from this crate, but not always together: the host is built once per Python ABI and
//! may be older or newer than the module that loads it. So everything here is `repr(C)`, the first field of
//! every table is its version, and a side that reads another [`ABI`] than its own refuses to go on.
//!
//! The module finds the symbol [`ENTRY`] in the host, calls it, and gets a [`Host`]. For each request it calls
//! [`Host::handle`] with a [`Request`] (what is known before the application runs) and an [`Exchange`] (what
//! can be done while it runs: read the body, answer, log). The server's side of an exchange is a [`Serve`]; one trampoline
//! makes C functions of that, each with its guard.
//!
//! Borrowed data ([`Bytes`], [`List`]) is valid for the duration of the call that it is an argument of, unless
//! said otherwise. Times are microseconds since the Unix epoch, as in APR; 0 means "not known".

mod data;
mod exchange;
mod lease;
mod process;
mod request;
pub mod scoreboard;
mod serve;
mod wire;

use std::ffi::CStr;

pub use data::{Bytes, Field, Level, List, Sink, Tristate, from_tristate, tristate};
pub use exchange::{Disconnected, Exchange, write};
pub use lease::Lease;
pub use process::{Host, Import, InterpreterOptions, Server, Settings};
pub use request::{Cgi, Outcome, Request, flag, outcome};
pub use serve::{Serve, Shared, Wait};
pub use wire::{Fields, Head, Lists};

/// The version of this interface, computed from the sources of this crate and of the wire format: another one with every
/// change.
pub const ABI: u32 = wsgi_core::wire::schema::ABI;

/// The symbol that a host exports, of type [`Entry`].
pub const ENTRY: &CStr = c"mod_wsgi_host";

/// The type of the function behind [`ENTRY`].
pub type Entry = unsafe extern "C" fn() -> *const Host;
