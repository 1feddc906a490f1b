//! The Apache module: configuration, routing, and the way of a request to Python and back.
//!
//! There is no Python in this library. Embedded mode loads a host, another library that is built
//! for one version of Python, into the Apache child. [`bridge`] is the interface between them.
#![deny(unsafe_code)]

mod access;
mod checks;
mod child;
mod client_response;
mod config;
mod daemon;
mod embedded;
mod expansion;
mod handler;
mod handover;
mod health;
mod inquiry;
mod installation;
mod ledger;
mod log;
mod permits;
mod readings;
mod request_body;
mod request_environment;
mod request_facts;
mod route;
mod scoreboard;
mod settings;
mod status;
mod termination;
mod tracing;
mod translate;
mod validated;
mod virtual_hosts;

use httpd::{
    Applied, AuthnProvider, AuthzProvider, Child, ChildStatus, ChildStatusHook, Hook, Level, Line, Module,
    ModuleConfig, ModuleDirectives, PostConfigHook, Record, RequestHook, Server, ServerInfo, StatusPageHook,
};
use wsgi_core::config::{DirectoryConfig, Global, ServerConfig};

/// This module, for Apache.
struct Wsgi;

httpd::declare_module! {
    /// The record that `LoadModule wsgi_module` names.
    wsgi_module: Wsgi = Record::new(c"mod_wsgi.c", &config::DIRECTIVES)
}

/// The component for the server's banner.
const COMPONENT: &str = concat!("mod_wsgi-rs/", env!("CARGO_PKG_VERSION"), "\0");

impl ModuleConfig for Wsgi {
    type Server = ServerConfig;
    type Directory = DirectoryConfig;
    type Global = Global;

    fn record() -> &'static Record<Self> {
        &wsgi_module
    }

    fn merge_server(main: &ServerConfig, host: &ServerConfig) -> ServerConfig {
        ServerConfig::merged(main, host)
    }

    fn merge_directory(outer: &DirectoryConfig, inner: &DirectoryConfig) -> DirectoryConfig {
        DirectoryConfig::merged(outer, inner)
    }
}

impl ModuleDirectives for Wsgi {
    fn directive(index: usize, line: &mut Line<'_, Self>) -> Result<Applied, String> {
        config::apply(index, line)
    }

    fn end_section(_: usize, line: &mut Line<'_, Self>) {
        config::end_section(line);
    }
}

impl Module for Wsgi {
    const LOADED: Option<fn()> = Some(installation::open);
    const TRANSLATE_NAME: Option<Hook<RequestHook>> =
        Some(Hook::ordered(translate::translate, translate::ORDER));
    const ACCESS_CHECKER: Option<Hook<RequestHook>> =
        Some(Hook::ordered(access::client::check, access::client::ORDER));
    const AUTHN_PROVIDER: Option<AuthnProvider> = Some(access::user::PROVIDER);
    const AUTHZ_PROVIDER: Option<AuthzProvider> = Some(access::groups::PROVIDER);
    const HANDLER: Option<Hook<RequestHook>> = Some(Hook::new(handler::handle));
    const POST_CONFIG: Option<Hook<PostConfigHook>> = Some(Hook::new(post_config));
    const TEST_CONFIG: Option<Hook<fn(&Server)>> = Some(Hook::new(config::review));
    const MONITOR: Option<Hook<fn(&Server)>> = Some(Hook::new(monitor));
    const STATUS_PAGE: Option<StatusPageHook> = Some(status::extend);
    const CHILD_STATUS: Option<Hook<ChildStatusHook>> = Some(Hook::new(child_status));
    const CHILD_INIT: Option<Hook<fn(&Child<'_>)>> = Some(Hook::new(child_init));
}

fn post_config(server: &Server, info: &ServerInfo) -> Result<(), String> {
    let component = std::ffi::CStr::from_bytes_with_nul(COMPONENT.as_bytes());
    info.add_version_component(component.map_err(|_| "the version contains a NUL byte")?);
    for line in installation::refresh() {
        log::server(server, Level::Warn, line);
    }
    config::review(server);
    config::review_front(server, info);
    permits::prepare(server, info);
    termination::prepare(server, info);
    if info.is_starting() {
        readings::begin();
    }
    daemon::tallies::prepare(server, info);
    ledger::prepare(server, info);
    daemon::start(server, info)?;
    // Meanwhile the new processes start.
    handover::wait_for_old_children(server, info);
    Ok(())
}

fn monitor(_: &Server) {
    daemon::monitor();
    ledger::monitor();
}

fn child_status(server: &Server, status: ChildStatus) {
    match status {
        ChildStatus::Started(process) => {
            readings::process_started(process);
            termination::child_started(server);
        }
        ChildStatus::Ended(process) => {
            permits::child_ended(process);
            ledger::child_ended(server, process);
            readings::process_ended(process);
        }
    }
}

fn child_init(child: &Child<'_>) {
    os::fork::watch_copies();
    child::init(child);
    ledger::child_init();
    daemon::child_init(child);
    embedded::child_init(child);
}
