//! Safe CPython, as far as a host of applications needs it.
//!
//! - [`Interpreter::attach`] is the only way in: it hands out a [`Python`] token for as long as the
//!   thread holds the interpreter. What makes objects asks for the token.
//! - An [`Object`] is an owned reference. It is not `Send`, and neither `attach` nor
//!   [`Python::detach`] let values that are not `Send` cross their boundary, so an `Object` at hand
//!   proves that the thread is attached to the interpreter that the object belongs to.
//! - A [`Py`] may be kept anywhere, and gives its object out against a token. So does a [`Shared`],
//!   which several threads reach, and which gives its reference back.
//! - [`Raised`] is the `Err` of everything that can raise: the thread's error indicator is set.
//!
//! This crate knows no Apache and no WSGI.

#[cfg(Py_GIL_DISABLED)]
compile_error!(
    "free-threaded builds of Python are not supported: it is not proven that nothing here counts on the lock that they do not have"
);

mod class;
mod config;
mod error;
pub mod extension;
mod fork;
mod frames;
#[cfg(not(Py_3_12))]
mod gilstate;
mod interpreter;
mod object;
mod shared;
mod threads;
mod token;
mod values;

pub use class::{Arguments, Class, Definition, Type};
pub use config::Config;
pub use error::{Exception, Raised, Result};
pub use fork::{cannot_fork, fork, has_other_interpreters};
pub use frames::frames;
pub use interpreter::{
    Ended, Interpreter, NotCreated, State, adopt, finalize, has_own_gils, is_finalizable, leave_alone, start,
};
pub use object::{Object, Py};
pub use shared::{Shared, SharedCell};
pub use threads::{end_thread, on_thread_ended};
pub use token::{Python, thread_id};

/// True for a Python that was built without the global interpreter lock.
pub const FREE_THREADED: bool = cfg!(Py_GIL_DISABLED);

/// True if interpreters may have a lock of their own (Python 3.12).
pub const OWN_GIL: bool = cfg!(Py_3_12);

/// Major and minor version of the Python this was built for.
pub const VERSION: (u32, u32) = (
    3,
    if cfg!(Py_3_15) {
        15
    } else if cfg!(Py_3_14) {
        14
    } else if cfg!(Py_3_13) {
        13
    } else if cfg!(Py_3_12) {
        12
    } else if cfg!(Py_3_11) {
        11
    } else {
        10
    },
);
