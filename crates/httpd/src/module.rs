//! The parts of a module that Apache calls.

use std::ffi::CStr;

use crate::access::{AuthnProvider, AuthzProvider};
use crate::child::Child;
use crate::directive::ModuleDirectives;
use crate::mpm::ServerInfo;
use crate::request::Request;
use crate::server::Server;
use crate::status::Status;

/// An Apache module. No value of the type is ever made: it only names the parts.
///
/// Each hook is an optional member: a module declares those that it has, and only these are
/// registered with Apache.
pub trait Module: ModuleDirectives {
    /// Called whenever Apache has loaded the module, before its hooks are registered.
    const LOADED: Option<fn()> = None;

    /// Maps a request to a file.
    const TRANSLATE_NAME: Option<Hook<RequestHook>> = None;

    /// Decides whether the client may have what it requests, before users are authenticated.
    /// Apache calls it for all parts of a request that have a URL of their own.
    const ACCESS_CHECKER: Option<Hook<RequestHook>> = None;

    /// Authenticates users.
    const AUTHN_PROVIDER: Option<AuthnProvider> = None;

    /// Decides what authenticated users may have.
    const AUTHZ_PROVIDER: Option<AuthzProvider> = None;

    /// Answers a request.
    const HANDLER: Option<Hook<RequestHook>> = None;

    /// Checks the configuration once it is complete. Apache reads its configuration twice when it
    /// starts; this is called the second time only. An error is a text for the administrator and
    /// keeps the server from starting.
    const POST_CONFIG: Option<Hook<PostConfigHook>> = None;

    /// Checks a complete configuration that is only tested (`httpd -t`). The lines logged here are
    /// shown.
    const TEST_CONFIG: Option<Hook<fn(&Server)>> = None;

    /// Does periodic work in the parent process, about every ten seconds while the server runs.
    const MONITOR: Option<Hook<fn(&Server)>> = None;

    /// Adds to the page of mod_status, if that is loaded. What is returned is sent as it is.
    const STATUS_PAGE: Option<StatusPageHook> = None;

    /// Is told, in the parent process, of children that it has started, and of those that have
    /// ended.
    const CHILD_STATUS: Option<Hook<ChildStatusHook>> = None;

    /// Prepares a child process, in its first thread, before it serves requests.
    const CHILD_INIT: Option<Hook<fn(&Child<'_>)>> = None;
}

/// The news about a child.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ChildStatus {
    /// The process with this id has been started.
    Started(u32),
    /// The process with this id has ended.
    Ended(u32),
}

/// A function that Apache calls in a phase of a request.
pub type RequestHook = fn(&Request) -> Status;

/// The form of mod_status's page.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum StatusForm {
    /// HTML with tables.
    Table,
    /// HTML without tables (`?notable`).
    Lines,
    /// Text for programs (`?auto`).
    Auto,
}

/// A function that adds to the page of mod_status.
pub type StatusPageHook = fn(&Request, StatusForm) -> String;

/// A function that Apache calls with the news about a child.
pub type ChildStatusHook = fn(&Server, ChildStatus);

/// A function that Apache calls with the complete configuration.
pub type PostConfigHook = fn(&Server, &ServerInfo) -> Result<(), String>;

/// A function of a module that Apache calls, and its place among those of other modules.
#[derive(Debug, Clone, Copy)]
pub struct Hook<F> {
    pub(crate) function: F,
    pub(crate) order: Order,
}

impl<F: Copy> Hook<F> {
    /// Hooks a function in the middle, wherever the functions of other modules are.
    #[must_use]
    pub const fn new(function: F) -> Self {
        Self::ordered(function, Order { after: &[], before: &[] })
    }

    /// Hooks a function in the middle, between those of certain other modules.
    #[must_use]
    pub const fn ordered(function: F, order: Order) -> Self {
        Self { function, order }
    }
}

/// The modules whose hooks run before and after this one, by the names in their records.
#[derive(Debug, Clone, Copy)]
pub struct Order {
    /// The modules that come first.
    pub after: &'static [&'static CStr],
    /// The modules that come later.
    pub before: &'static [&'static CStr],
}
