//! The configuration, and its meaning for one request.
//!
//! Three places hold settings. [`Global`] is one for the whole server; there is one
//! [`ServerConfig`] for the main server and each virtual host, and one [`DirectoryConfig`] for each
//! directory section. A setting that may stand in a directory section is looked up in the
//! directory, then the virtual host, then the main server; [`Effective`] does that without
//! allocating.

mod hook_script;
mod mounts;
mod review;

use std::sync::Arc;

use crate::alias::{Location, ScriptAlias};
use crate::clients::Clients;
use crate::daemon::{DaemonGroup, ServerId};
use crate::diagnostic::{Diagnostic, Position};
use crate::interpreter::Block;
use crate::opentelemetry;
use crate::proxies::{TrustedHeaders, TrustedProxies};
use crate::route::RouteOptions;
use crate::telemetry;

pub use hook_script::HookScript;
pub use mounts::Mounts;
pub use review::Reviewed;

/// Settings that exist once per server.
#[derive(Debug, Default)]
pub struct Global {
    /// `WSGIPythonHome`.
    pub python_home: Option<Box<[u8]>>,
    /// `WSGIPythonEggs`.
    pub python_eggs: Option<Box<[u8]>>,
    /// `WSGIPythonOptimize`; 0 if unset.
    pub python_optimize: u32,
    /// `WSGIPythonWarnings`, in file order.
    pub python_warnings: Vec<Box<[u8]>>,
    /// `WSGIPythonHashSeed`; `None` is a random seed.
    pub python_hash_seed: Option<u32>,
    /// `WSGIDontWriteBytecode`.
    pub dont_write_bytecode: Option<bool>,
    /// `WSGIDestroyInterpreter`.
    pub destroy_interpreter: Option<bool>,
    /// `WSGICaseSensitivity`.
    pub case_sensitivity: Option<bool>,
    /// `WSGIRestrictEmbedded`.
    pub restrict_embedded: Option<bool>,
    /// `WSGIGracefulTermination`.
    pub graceful_termination: GracefulTermination,
    /// `WSGIDrainDelay`, in milliseconds.
    pub drain_delay: u64,
    /// `WSGIDrainFile`.
    pub drain_file: Option<Box<[u8]>>,
    /// The server-level interpreter settings; its selectors are unset.
    pub interpreter: Block,
    /// Each `<WSGIInterpreterOptions>`, in file order.
    pub containers: Vec<Block>,
    /// Scripts to load when a process starts, in file order.
    pub imports: Vec<ImportScript>,
    /// Scripts whose modules have a name of their own (`module-name=`).
    pub named_scripts: Vec<NamedScript>,
    /// `WSGIServerMetrics`.
    pub server_metrics: Option<bool>,
    /// `WSGIStuckTimeout` in milliseconds; 0: none.
    pub stuck_timeout: u64,
    /// `WSGILogFormat json`.
    pub json_log: bool,
    /// `WSGITelemetryService`, `WSGISlowRequests`, `WSGITelemetryOptions`.
    pub telemetry: telemetry::Settings,
    /// `WSGIOpenTelemetry`.
    pub opentelemetry: opentelemetry::Settings,
    /// Each `WSGIDaemonProcess`, in file order.
    pub daemons: Vec<DaemonGroup>,
    /// The places where scripts run.
    pub mounts: Mounts,
    /// Set if something was configured that needs Python in the Apache children whatever
    /// `WSGIRestrictEmbedded` says.
    pub embedded_demanded: bool,
    /// Notices of single lines.
    pub diagnostics: Vec<Diagnostic>,
    /// The lines that name process groups, which have to exist.
    pub named_groups: Vec<NamedGroup>,
    /// A line names a process group that depends on the request.
    pub names_group_by_request: bool,
    open: Vec<usize>,
}

/// A process group that requests are sent to.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NamedGroup {
    /// Its name, which is the same for every request.
    pub name: Box<[u8]>,
    /// The line that names it.
    pub position: Position,
    /// The virtual host that the line stands in; `None`: the main server.
    pub host: Option<ServerId>,
}

/// True if a SIGTERM to Apache's parent is a graceful stop (`WSGIGracefulTermination`).
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum GracefulTermination {
    /// It stops the server at once.
    #[default]
    Off,
    /// It is.
    On,
    /// It is if the parent is the main process of a container.
    Init,
}

/// The moment at which an Apache child starts Python.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum PythonStart {
    /// As the child starts.
    AtChildStart,
    /// With the first request that needs it.
    AtFirstRequest,
    /// Not at all: such requests get an error.
    Never,
}

impl Global {
    /// Begins a `<WSGIInterpreterOptions>` section: until [`Global::close_container`], directives
    /// that may stand in it apply to `block`. A nested section stands alone.
    pub fn open_container(&mut self, block: Block) {
        self.open.push(self.containers.len());
        self.containers.push(block);
    }

    /// Ends the section that was opened last.
    pub fn close_container(&mut self) {
        self.open.pop();
    }

    /// Returns the settings that an interpreter directive applies to: those of the open section, or
    /// of the server level.
    pub fn interpreter_target(&mut self) -> &mut Block {
        match self.open.last() {
            Some(&index) => &mut self.containers[index],
            None => &mut self.interpreter,
        }
    }

    /// Returns the moment at which an Apache child starts Python.
    #[must_use]
    pub fn python_start(&self) -> PythonStart {
        if self.embedded_demanded {
            PythonStart::AtChildStart
        } else if self.restrict_embedded == Some(true) {
            PythonStart::Never
        } else if self.mounts.are_in_apache_children(!self.daemons.is_empty()) {
            PythonStart::AtChildStart
        } else {
            PythonStart::AtFirstRequest
        }
    }

    /// Returns whether requests may run in Apache children (§3.3, row 12).
    #[must_use]
    pub fn permits_embedded(&self) -> bool {
        self.restrict_embedded != Some(true)
    }

    /// Returns whether script paths are case-sensitive.
    #[must_use]
    pub fn case_sensitive(&self) -> bool {
        self.case_sensitivity.unwrap_or(cfg!(not(any(target_os = "macos", windows))))
    }

    /// Returns whether interpreters are finalised when a process ends.
    #[must_use]
    pub fn destroys_interpreters(&self) -> bool {
        self.destroy_interpreter.unwrap_or(true)
    }

    /// Returns the scripts that a process of `process_group` (empty: an Apache child) loads when it
    /// starts.
    pub fn imports_of(&self, process_group: &[u8]) -> impl Iterator<Item = &ImportScript> {
        self.imports.iter().filter(move |import| *import.process_group == *process_group)
    }

    /// Returns whether `mod_wsgi.server_metrics()` works in the Apache children.
    #[must_use]
    pub fn serves_metrics(&self) -> bool {
        self.server_metrics.unwrap_or(false)
    }

    /// Returns the group of daemon processes of this name.
    #[must_use]
    pub fn daemon(&self, name: &[u8]) -> Option<&DaemonGroup> {
        self.daemons.iter().find(|group| *group.name == *name)
    }

    /// Returns the server-level interpreter settings, then each section's in file order.
    pub fn interpreter_blocks(&self) -> impl Iterator<Item = &Block> + Clone {
        std::iter::once(&self.interpreter).chain(&self.containers)
    }
}

/// A script to load when a process starts.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ImportScript {
    /// Path of the Python source file.
    pub script: Box<[u8]>,
    /// Processes that load it; empty: the Apache children.
    pub process_group: Box<[u8]>,
    /// Interpreter that loads it; empty: the main one.
    pub application_group: Box<[u8]>,
    /// True if an alias mounts it, which may name a directory of scripts instead.
    pub is_mounted: bool,
}

/// Settings of the main server or of a virtual host.
#[derive(Debug, Default)]
pub struct ServerConfig {
    /// In the order in which they are tried.
    pub aliases: Vec<Arc<ScriptAlias>>,
    /// Settings that a directory section may override.
    pub defaults: DirectoryConfig,
}

impl ServerConfig {
    /// Merges the settings of a virtual host with those of the main server; its own come first.
    #[must_use]
    pub fn merged(main: &Self, host: &Self) -> Self {
        Self {
            aliases: host.aliases.iter().chain(&main.aliases).cloned().collect(),
            defaults: DirectoryConfig::merged(&main.defaults, &host.defaults),
        }
    }

    /// Returns the scripts that run in the main interpreter of the processes of `group`, as far as
    /// aliases and the settings of the server say so: those of a directory section are not known
    /// before there are requests.
    pub fn main_scripts_of<'a>(&'a self, group: &'a [u8]) -> impl Iterator<Item = &'a [u8]> {
        let nowhere = DirectoryConfig::default();
        self.aliases.iter().filter_map(move |alias| {
            let settings =
                Effective { route: Some(&alias.options), directory: &nowhere, server: &self.defaults };
            let is_fixed = matches!(alias.location, Location::Prefix(_)) || !alias.target.contains(&b'$');
            let is_main = matches!(settings.application_group(), Some(b"" | b"%{GLOBAL}"));
            (is_fixed && is_main && settings.process_group() == Some(group)).then_some(&*alias.target)
        })
    }

    /// Returns the scripts that aliases name, each with its process group (empty: embedded mode), as
    /// far as aliases and the settings of the server say so.
    pub fn scripts(&self) -> impl Iterator<Item = (&[u8], &[u8])> {
        self.aliases.iter().filter_map(|alias| {
            let is_fixed = matches!(alias.location, Location::Prefix(_)) || !alias.target.contains(&b'$');
            let group = alias.options.process_group.as_deref().or(self.defaults.process_group.as_deref());
            is_fixed.then(|| (group.unwrap_or_default(), &*alias.target))
        })
    }

    /// Returns the first alias that maps `uri`, with the file it maps to in `file` (whose content
    /// is replaced).
    pub fn script_alias(&self, uri: &[u8], file: &mut Vec<u8>) -> Option<&Arc<ScriptAlias>> {
        self.aliases.iter().find(|alias| alias.map(uri, file))
    }
}

/// Declares the settings of a directory section: for each one the field, how it is inherited, and
/// how [`Effective`] gives it.
///
/// `= default` gives a value and `=> type` a reference, each of which may be preceded by an option
/// of the route (`route`); a setting with neither has an accessor of its own below.
macro_rules! settings {
    ($($(#[$doc:meta])* $name:ident: $type:ty $(= $default:expr)? $(=> $target:ty)? $(, $route:ident)?;)*) => {
        /// Settings of a directory section; unset ones are inherited.
        #[derive(Debug, Default, Clone)]
        pub struct DirectoryConfig {
            $($(#[$doc])* pub $name: Option<$type>,)*
            /// `WSGIHandlerScript`; names are unique.
            pub handlers: Vec<Arc<HandlerScript>>,
            /// `WSGIDebugPanic`.
            #[cfg(debug_assertions)]
            pub debug_panic: Option<DebugPanic>,
        }

        impl DirectoryConfig {
            /// Returns the settings of `outer` with those of `inner` over them.
            #[must_use]
            pub fn merged(outer: &Self, inner: &Self) -> Self {
                let inherited = outer.handlers.iter().filter(|handler| inner.handler(&handler.name).is_none());
                Self {
                    $($name: inner.$name.as_ref().or(outer.$name.as_ref()).cloned(),)*
                    handlers: inner.handlers.iter().chain(inherited).cloned().collect(),
                    #[cfg(debug_assertions)]
                    debug_panic: inner.debug_panic.or(outer.debug_panic),
                }
            }
        }

        impl<'a> Effective<'a> {
            $(settings! { @accessor [$(#[$doc])*] $name: $type $(= $default)? $(=> $target)? $(, $route)? })*
        }
    };
    (@accessor [$($doc:tt)*] $name:ident: $type:ty) => {};
    (@accessor [$($doc:tt)*] $name:ident: $type:ty = $default:expr) => {
        $($doc)*
        #[must_use]
        pub fn $name(&self) -> $type {
            self.directory.$name.or(self.server.$name).unwrap_or($default)
        }
    };
    (@accessor [$($doc:tt)*] $name:ident: $type:ty = $default:expr, route) => {
        $($doc)*
        #[must_use]
        pub fn $name(&self) -> $type {
            let route = self.route.and_then(|route| route.$name);
            route.or(self.directory.$name).or(self.server.$name).unwrap_or($default)
        }
    };
    (@accessor [$($doc:tt)*] $name:ident: $type:ty => $target:ty) => {
        $($doc)*
        #[must_use]
        pub fn $name(&self) -> Option<&'a $target> {
            self.directory.$name.as_deref().or(self.server.$name.as_deref())
        }
    };
    (@accessor [$($doc:tt)*] $name:ident: $type:ty => $target:ty, route) => {
        $($doc)*
        #[must_use]
        pub fn $name(&self) -> Option<&'a $target> {
            let route = self.route.and_then(|route| route.$name.as_deref());
            route.or(self.directory.$name.as_deref()).or(self.server.$name.as_deref())
        }
    };
}

settings! {
    /// `WSGIProcessGroup`, unexpanded.
    process_group: Box<[u8]> => [u8], route;
    /// `WSGIApplicationGroup`, unexpanded.
    application_group: Box<[u8]> => [u8], route;
    /// `WSGICallableObject`, unexpanded; see [`Effective::callable`].
    callable_object: Box<[u8]>;
    /// `WSGIRestrictProcess`; the empty name is the Apache children. See
    /// [`Effective::permits_process_group`].
    restrict_process: Arc<[Box<[u8]>]>;
    /// `WSGIPassApacheRequest`.
    pass_apache_request: bool = false;
    /// `WSGIPassAuthorization`.
    pass_authorization: bool = false, route;
    /// `WSGIScriptReloading`.
    script_reloading: bool = true;
    /// `WSGIErrorOverride`; without effect in embedded mode.
    error_override: bool = false;
    /// `WSGIChunkedRequest`.
    chunked_request: bool = false;
    /// `WSGISpoolRequestBody`; 0: not at all. See [`Effective::spool_request_body`].
    spool_request_body: u64;
    /// `WSGIMapHEADToGET`.
    map_head_to_get: MapHead = MapHead::Auto;
    /// `WSGIIgnoreActivity`.
    ignore_activity: bool = false;
    /// `WSGIEnableSendfile`.
    enable_sendfile: bool = false;
    /// `WSGIHealthClients`; `None`: local ones only.
    health_clients: Arc<Clients> => Clients;
    /// `WSGIStatusClients`; `None`: local ones only.
    status_clients: Arc<Clients> => Clients;
    /// `WSGIStatusScope`.
    status_scope: StatusScope = StatusScope::Server;
    /// `WSGITrustedProxyHeaders`; `None`: no processing at all.
    trusted_headers: Arc<TrustedHeaders> => TrustedHeaders;
    /// `WSGITrustedProxies`; `None`: everybody is trusted.
    trusted_proxies: Arc<TrustedProxies> => TrustedProxies;
    /// `WSGIDispatchScript`.
    dispatch_script: Arc<HookScript> => HookScript;
    /// `WSGIAccessScript`.
    access_script: Arc<HookScript> => HookScript;
    /// `WSGIAuthUserScript`.
    auth_user_script: Arc<HookScript> => HookScript;
    /// `WSGIAuthGroupScript`.
    auth_group_script: Arc<HookScript> => HookScript;
    /// `WSGIGroupAuthoritative`; without effect since Apache 2.4.
    group_authoritative: bool = true;
}

/// The part of the server that the handler `wsgi-status` shows (`WSGIStatusScope`).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum StatusScope {
    /// All of it.
    Server,
    /// The part that belongs to the virtual host that answers.
    VirtualHost,
}

/// The treatment of HEAD (`WSGIMapHEADToGET`).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum MapHead {
    /// The application sees GET.
    On,
    /// The application sees HEAD.
    Off,
    /// The application sees GET if an output filter needs the body.
    Auto,
}

/// The place where the test hook panics (`WSGIDebugPanic`).
#[cfg(debug_assertions)]
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum DebugPanic {
    /// In the module's request handler.
    Handler,
    /// In a call back from Python.
    Callback,
    /// In sending the second block of a response; in a daemon process, in reading the body of a
    /// request and in sending any block.
    Exchange,
}

/// A handler of its own name (`WSGIHandlerScript`).
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct HandlerScript {
    /// The handler's name, as in `SetHandler`.
    pub name: Box<[u8]>,
    /// Path of the Python source file.
    pub script: Box<[u8]>,
    /// Its `callable_object` is always given, at least as `handle_request`.
    pub options: RouteOptions,
}

/// A script whose module has a name of its own.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NamedScript {
    /// Path of the Python source file.
    pub script: Box<[u8]>,
    /// The name in `sys.modules`.
    pub module: Box<[u8]>,
}

impl DirectoryConfig {
    fn handler(&self, name: &[u8]) -> Option<&Arc<HandlerScript>> {
        self.handlers.iter().find(|handler| *handler.name == *name)
    }
}

/// The settings in force for a request.
#[derive(Debug, Clone, Copy)]
pub struct Effective<'a> {
    route: Option<&'a RouteOptions>,
    directory: &'a DirectoryConfig,
    server: &'a DirectoryConfig,
}

/// The name of the callable, as configured.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Callable<'a> {
    /// Taken as it stands.
    Literal(&'a [u8]),
    /// To be expanded.
    Expand(&'a [u8]),
}

impl<'a> Effective<'a> {
    /// Creates the settings of a request in `directory` (merged) of `server` (merged).
    #[must_use]
    pub fn new(server: &'a ServerConfig, directory: &'a DirectoryConfig) -> Self {
        Self { route: None, directory, server: &server.defaults }
    }

    /// Returns the same settings for a request that came through an alias or a handler script.
    #[must_use]
    pub fn via(self, route: &'a RouteOptions) -> Self {
        Self { route: Some(route), ..self }
    }

    /// Returns whether `WSGIRestrictProcess` lets the request go to this process group (expanded;
    /// empty: the Apache children). Case does not matter here, as in the original; it does when the
    /// group is looked up.
    #[must_use]
    pub fn permits_process_group(&self, name: &[u8]) -> bool {
        let list = self.directory.restrict_process.as_ref().or(self.server.restrict_process.as_ref());
        list.is_none_or(|names| names.iter().any(|listed| listed.eq_ignore_ascii_case(name)))
    }

    /// Returns the length up to which bodies are read before the application is called, or `None`
    /// if the process group decides.
    #[must_use]
    pub fn spool_request_body(&self) -> Option<u64> {
        self.directory.spool_request_body.or(self.server.spool_request_body)
    }

    /// Returns the name of the callable.
    #[must_use]
    pub fn callable(&self) -> Callable<'a> {
        match self.route.and_then(|route| route.callable_object.as_deref()) {
            Some(name) => Callable::Literal(name),
            None => {
                let name = self.directory.callable_object.as_deref();
                name.or(self.server.callable_object.as_deref())
                    .map_or(Callable::Literal(b"application"), Callable::Expand)
            }
        }
    }

    /// Returns the handler script of this name (the `r->handler` of the request).
    #[must_use]
    pub fn handler_script(&self, name: &[u8]) -> Option<&'a Arc<HandlerScript>> {
        self.directory.handler(name).or_else(|| self.server.handler(name))
    }

    /// Returns the place where the test hook panics.
    #[cfg(debug_assertions)]
    #[must_use]
    pub fn debug_panic(&self) -> Option<DebugPanic> {
        self.directory.debug_panic.or(self.server.debug_panic)
    }
}
