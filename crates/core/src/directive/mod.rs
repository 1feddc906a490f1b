//! The directives: one definition each, with its name, context, help, documentation and effect.
//!
//! The server registers all of them as raw: it hands over the rest of the line, and
//! [`Directive::apply`] does the rest, error texts included. What the server checks itself is where
//! a directive may stand, as far as its override bits say that ([`Context`]).

mod access;
mod arguments;
mod behaviour;
mod container;
mod daemon;
mod health;
mod hook_script;
mod observe;
mod opentelemetry;
mod python;
mod reference;
mod routing;
mod status;
mod telemetry;
#[cfg(test)]
mod tests;

use std::ffi::CStr;
use std::fs::Metadata;
use std::io;
use std::sync::Arc;

use crate::alias::Pattern;
use crate::config::{DirectoryConfig, Global, NamedGroup, ServerConfig};
use crate::daemon::ServerId;
use crate::groups::{Forms, is_constant};
use crate::words::display;

pub use crate::diagnostic::{Diagnostic, Position, Severity};
pub use reference::reference;

/// Every directive, in the order of the reference.
pub const DIRECTIVES: &[Directive] = &[
    routing::SCRIPT_ALIAS,
    routing::SCRIPT_ALIAS_MATCH,
    routing::HANDLER_SCRIPT,
    routing::IMPORT_SCRIPT,
    routing::DISPATCH_SCRIPT,
    routing::CALLABLE_OBJECT,
    routing::APPLICATION_GROUP,
    routing::PROCESS_GROUP,
    daemon::RESTRICT_PROCESS,
    routing::RESTRICT_EMBEDDED,
    routing::GRACEFUL_TERMINATION,
    health::DRAIN_DELAY,
    health::DRAIN_FILE,
    health::HEALTH_CLIENTS,
    status::STATUS_CLIENTS,
    status::STATUS_SCOPE,
    daemon::DAEMON_PROCESS,
    daemon::SOCKET_PREFIX,
    daemon::SOCKET_ROTATION,
    daemon::ACCEPT_MUTEX,
    behaviour::PASS_APACHE_REQUEST,
    behaviour::PASS_AUTHORIZATION,
    behaviour::SCRIPT_RELOADING,
    behaviour::ERROR_OVERRIDE,
    behaviour::CHUNKED_REQUEST,
    behaviour::SPOOL_REQUEST_BODY,
    behaviour::MAP_HEAD_TO_GET,
    daemon::IGNORE_ACTIVITY,
    behaviour::ENABLE_SENDFILE,
    behaviour::TRUSTED_PROXY_HEADERS,
    behaviour::TRUSTED_PROXIES,
    access::ACCESS_SCRIPT,
    access::AUTH_USER_SCRIPT,
    access::AUTH_GROUP_SCRIPT,
    access::GROUP_AUTHORITATIVE,
    python::HOME,
    python::PATH,
    python::EGGS,
    python::OPTIMIZE,
    python::WARNINGS,
    python::HASH_SEED,
    python::DONT_WRITE_BYTECODE,
    python::DESTROY_INTERPRETER,
    python::SWITCH_INTERVAL,
    python::PER_INTERPRETER_GIL,
    python::FREE_THREADING,
    container::INTERPRETER_OPTIONS,
    python::RESTRICT_STDIN,
    python::RESTRICT_STDOUT,
    python::RESTRICT_SIGNAL,
    python::CASE_SENSITIVITY,
    observe::SERVER_METRICS,
    telemetry::SERVICE,
    telemetry::SLOW_REQUESTS,
    telemetry::OPTIONS,
    opentelemetry::OPENTELEMETRY,
    observe::LOG_FORMAT,
    observe::STUCK_TIMEOUT,
    observe::VERBOSE_DEBUGGING,
    #[cfg(debug_assertions)]
    observe::DEBUG_PANIC,
];

/// A directive.
#[derive(Debug, Clone, Copy)]
pub struct Directive {
    /// Its name as registered; that of a section starts with `<`.
    pub name: &'static CStr,
    /// The places where it may stand.
    pub context: Context,
    /// True if it also means something inside `<WSGIInterpreterOptions>`.
    pub in_container: bool,
    /// Its arguments, for the reference.
    pub arguments: &'static str,
    /// The setting without it, for the reference; empty if there is none.
    pub default: &'static str,
    /// One line, shown by `httpd -L` and behind the errors about the number of arguments.
    pub help: &'static CStr,
    /// Long description, Markdown.
    pub doc: &'static str,
    /// The support for it in this version.
    pub support: Support,
    effect: Effect,
}

/// The places where a directive may stand; `.htaccess` only as far as `AllowOverride` allows.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Context {
    /// Main server only (`RSRC_CONF`, and [`Directive::apply`] rejects it in a virtual host).
    Global,
    /// Main server, virtual host (`RSRC_CONF`).
    Server,
    /// Main server, virtual host, directory section (`RSRC_CONF | ACCESS_CONF`).
    Directory,
    /// All, and `.htaccess` with `AllowOverride FileInfo` (`OR_FILEINFO`).
    Anywhere,
    /// Directory section, and `.htaccess` with `AllowOverride AuthConfig` (`OR_AUTHCFG`).
    Authorization,
}

/// The support for a directive in this version.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Support {
    /// It works.
    Supported,
    /// It exists in debug builds only, for tests.
    TestHook,
}

/// The level at which a line stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Scope {
    /// At the level of the main server.
    Main,
    /// At the level of a virtual host.
    VirtualHost,
    /// In a directory section or `.htaccess`.
    Directory,
}

/// A compiler of regular expressions in the server's dialect. Returns `None` if the source is not
/// one.
pub trait Compile {
    /// Returns the compiled `source`.
    fn compile(&self, source: &[u8]) -> Option<Arc<dyn Pattern>>;
}

impl<F: Fn(&[u8]) -> Option<Arc<dyn Pattern>>> Compile for F {
    fn compile(&self, source: &[u8]) -> Option<Arc<dyn Pattern>> {
        self(source)
    }
}

/// The system that the server runs on, as far as a configuration depends on it.
pub trait System {
    /// Returns whether the configuration is read by root.
    fn is_root(&self) -> bool;

    /// Returns the id of the user of this name.
    fn user_id(&self, name: &[u8]) -> Option<u32>;

    /// Returns whether there is a user with this id.
    fn has_user(&self, id: u32) -> bool;

    /// Returns the id of the group of this name.
    fn group_id(&self, name: &[u8]) -> Option<u32>;

    /// Returns the largest number of supplementary groups of a process.
    fn max_groups(&self) -> usize;

    /// Returns what is at a path, or `None` if it cannot be looked at.
    fn file_kind(&self, path: &[u8]) -> Option<FileKind>;

    /// Returns the content of a file.
    ///
    /// # Errors
    /// The reason why it could not be read, without its name.
    fn read(&self, path: &[u8]) -> Result<Vec<u8>, String>;
}

/// The kind of a file, symbolic links followed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum FileKind {
    /// There is nothing.
    Missing,
    /// A directory.
    Directory,
    /// A file, or something else.
    File,
}

impl FileKind {
    /// Returns what a look at a path has found, or `None` if it could not be looked at.
    pub fn of(found: io::Result<Metadata>) -> Option<Self> {
        match found {
            Ok(metadata) if metadata.is_dir() => Some(Self::Directory),
            Ok(_) => Some(Self::File),
            Err(error) if error.kind() == io::ErrorKind::NotFound => Some(Self::Missing),
            Err(_) => None,
        }
    }
}

/// The servers that the configuration has defined so far.
pub trait Servers {
    /// Returns the virtual host that the line stands in; `None`: the main server.
    fn host(&self) -> Option<ServerId>;

    /// Returns the `ServerName` of the server that the line stands in, if it has one by now.
    fn name(&self) -> Option<&[u8]>;

    /// Returns the `ServerName` of a virtual host that the configuration has come to, if it has one
    /// by now.
    fn name_of(&self, host: ServerId) -> Option<&[u8]>;
}

/// The settings that a line of the configuration applies to.
pub struct Target<'a> {
    /// The level at which the line stands.
    pub scope: Scope,
    /// The settings of the whole server, whichever virtual host the line stands in.
    pub global: &'a mut Global,
    /// The settings of the main server or virtual host. Lines at this level that a directory
    /// section may override go into its [`ServerConfig::defaults`].
    pub server: &'a mut ServerConfig,
    /// The settings of the directory section; unused at server level.
    pub directory: Option<&'a mut DirectoryConfig>,
    /// The line stands in `.htaccess`, which somebody else than the administrator may write.
    pub is_htaccess: bool,
    /// For `WSGIScriptAliasMatch`.
    pub compile: &'a dyn Compile,
    /// For users, groups and files that `WSGIDaemonProcess` names.
    pub system: &'a dyn System,
    /// For the process groups of virtual hosts.
    pub servers: &'a dyn Servers,
    /// For diagnostics.
    pub position: &'a Position,
}

impl Target<'_> {
    fn settings(&mut self) -> &mut DirectoryConfig {
        match (self.scope, &mut self.directory) {
            (Scope::Directory, Some(directory)) => directory,
            _ => &mut self.server.defaults,
        }
    }

    /// Tells the administrator.
    fn report(&mut self, diagnostic: Diagnostic) {
        self.global.diagnostics.push(diagnostic.at(self.position));
    }

    /// Tells the administrator if a name looks like a form and is not expanded; `what` is written
    /// before it.
    fn warn_if_unexpanded(&mut self, what: &str, name: &[u8], forms: Forms) {
        if let Some(complaint) = forms.check(name) {
            self.report(Diagnostic::warning(format!("{what}{} {complaint}", display(name))));
        }
    }

    /// Remembers a process group that requests are sent to, to see in the end whether there is one.
    fn record_named_group(&mut self, name: &[u8]) {
        if !is_constant(name) {
            self.global.names_group_by_request = true;
        } else if !name.is_empty() && name.first() != Some(&b'%') {
            self.global.named_groups.push(NamedGroup {
                name: name.into(),
                position: self.position.clone(),
                host: self.servers.host(),
            });
        }
    }
}

/// The effect of a directive on the settings.
#[derive(Debug, Clone, Copy)]
enum Effect {
    /// Exactly one word, not empty.
    One(fn(&mut Target<'_>, &[u8]) -> Result<(), String>),
    /// `On` or `Off`.
    Flag(fn(&mut Target<'_>, bool)),
    /// The line, undivided.
    Raw(fn(&mut Target<'_>, &[u8]) -> Result<(), String>),
}

impl Directive {
    /// Finds the definition of the directive `name` (any case; a section's with its `<`).
    #[must_use]
    pub fn find(name: &str) -> Option<&'static Self> {
        DIRECTIVES.iter().find(|directive| directive.text().eq_ignore_ascii_case(name))
    }

    /// Returns the name.
    #[must_use]
    pub const fn text(&self) -> &'static str {
        match self.name.to_str() {
            Ok(name) => name,
            Err(_) => "",
        }
    }

    /// Returns whether it is a section: [`Directive::apply`] opens it, and after its content has
    /// been applied [`Global::close_container`] ends it.
    #[must_use]
    pub const fn is_section(&self) -> bool {
        matches!(self.name.to_bytes(), [b'<', ..])
    }

    /// Applies the line `arguments` (all behind the name, undivided). What it has to say that is no
    /// error is left in [`Global::diagnostics`].
    ///
    /// # Errors
    /// A text for the administrator; the server adds file and line.
    pub fn apply(&self, target: &mut Target<'_>, arguments: &[u8]) -> Result<(), String> {
        if self.context == Context::Global && target.scope == Scope::VirtualHost {
            let close = if self.is_section() { ">" } else { "" };
            return Err(format!("{}{close} cannot occur within <VirtualHost> section", self.text()));
        }
        match self.effect {
            Effect::One(effect) => effect(target, &self.one(arguments)?),
            Effect::Flag(effect) => {
                effect(target, self.flag(arguments)?);
                Ok(())
            }
            Effect::Raw(effect) => effect(target, arguments),
        }
    }
}
