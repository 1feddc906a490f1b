//! Apache modules in safe Rust: the module record, hooks, directives, requests, pools, brigades,
//! the log.
//!
//! A module implements [`ModuleConfig`], [`ModuleDirectives`] and [`Module`], and declares its
//! record with [`declare_module!`](crate::declare_module). Every entry from C goes through one
//! trampoline per hook, which turns a panic into a failed request (or an error in the
//! configuration) and a line in the log.
//!
//! Wrappers of Apache's structures are shared references over `UnsafeCell`, since Apache and other
//! modules change them whenever they are called. Their lifetimes end with the hook that got them.

mod access;
mod brigade;
mod cgi;
mod child;
mod config;
mod configuration;
mod connection;
mod directive;
mod file_bucket;
mod filters;
mod guard;
mod hooks;
mod input;
mod log;
mod main_log;
mod module;
mod mpm;
mod output;
mod parent;
mod pool;
mod record;
mod redirects;
mod regex;
mod request;
mod scoreboard;
mod server;
mod status;
mod status_page;
mod table;
#[cfg(test)]
mod testing;
mod text;

pub use access::{Authentication, AuthnProvider, Authorization, AuthzProvider, RealmHash};
pub use child::Child;
pub use config::ModuleConfig;
pub use connection::Connection;
pub use directive::{Allowed, Applied, DirectiveSpec, Directives, Line, ModuleDirectives, Settings};
pub use guard::{describe_panic, guard};
pub use input::Input;
pub use log::{Level, Logger};
pub use module::{
    ChildStatus, ChildStatusHook, Hook, Module, Order, PostConfigHook, RequestHook, StatusForm,
    StatusPageHook,
};
pub use mpm::{Mpm, ServerInfo};
pub use output::{Output, SendError, SendFileError};
pub use parent::{Identity, OtherChild, is_exiting, is_stopping, main_server};
pub use pool::{InteriorNul, Pool, PoolVec};
pub use record::Record;
pub use regex::Regex;
pub use request::{FileType, Request, ResponseStatus};
pub use scoreboard::{ProcessScore, Scoreboard, ScoreboardSize, WorkerScore};
pub use server::Server;
pub use status::Status;
pub use table::{Entries, Key, Table};

const _: () = {
    // The wrappers assume this of the ABI: Apache 2.4's module record, and one command function per
    // word.
    assert!(httpd_sys::MODULE_MAGIC_NUMBER_MAJOR == 20120211, "these bindings are for Apache 2.4");
    assert!(httpd_sys::MODULE_MAGIC_COOKIE == 0x4150_3234, "the module cookie is AP24");
    assert!(size_of::<httpd_sys::cmd_func>() == size_of::<usize>());
    assert!(size_of::<httpd_sys::apr_off_t>() == 8, "APR must be built with large files");
    assert!(size_of::<httpd_sys::apr_time_t>() == 8);
};
