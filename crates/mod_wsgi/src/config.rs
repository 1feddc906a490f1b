//! Directives: from the definitions of `wsgi_core` to Apache's table, and from a line to the
//! settings.

use std::ffi::OsStr;
use std::os::unix::ffi::OsStrExt;
use std::sync::Arc;

use httpd::{Allowed, Applied, DirectiveSpec, Directives, Level, Line, Regex, Server, ServerInfo};
use os::accounts;
use wsgi_core::alias::{Captures, Pattern};
use wsgi_core::config::{Global, Reviewed, ServerConfig};
use wsgi_core::daemon::{NamedServer, ServerId};
use wsgi_core::diagnostic::{Diagnostic, Position, Severity};
use wsgi_core::directive::{Context, DIRECTIVES as DEFINITIONS, FileKind, Scope, Servers, System, Target};
use wsgi_core::front::Front;

use crate::embedded::python_home;
use crate::{Wsgi, log};

/// Apache's table; each directive has the index of its definition.
pub(crate) static DIRECTIVES: Directives<Wsgi, { DEFINITIONS.len() }> = Directives::new(specs());

/// Applies a line.
pub(crate) fn apply(index: usize, line: &mut Line<'_, Wsgi>) -> Result<Applied, String> {
    let Some(directive) = DEFINITIONS.get(index) else {
        return Err(format!("Internal error: there is no directive {index}"));
    };
    let servers = ConfiguredServers::of(line);
    let (file, number) = line.position();
    let position = Position { file: file.into(), line: number };
    let settings = &mut line.settings;
    let scope = match &settings.directory {
        Some(_) => Scope::Directory,
        None if settings.is_virtual_host => Scope::VirtualHost,
        None => Scope::Main,
    };
    let is_htaccess = settings.shared.is_none();
    // A line in `.htaccess` can change nothing but its own section.
    let (mut no_global, mut no_server) = (Global::default(), ServerConfig::default());
    let (global, server) = match &mut settings.shared {
        Some((global, server)) => (&mut **global, &mut **server),
        None => (&mut no_global, &mut no_server),
    };
    let directory = settings.directory.as_deref_mut();
    let mut target = Target {
        scope,
        global,
        server,
        directory,
        is_htaccess,
        compile: &compile,
        system: &ThisSystem,
        servers: &servers,
        position: &position,
    };
    directive.apply(&mut target, line.arguments)?;
    for diagnostic in no_global.diagnostics {
        line.log(level(&diagnostic), diagnostic.to_string());
    }
    Ok(if directive.is_section() { Applied::Section } else { Applied::Done })
}

/// Logs notices about a complete configuration that may not be what the administrator meant.
pub(crate) fn review(server: &Server) {
    for diagnostic in diagnostics(server) {
        log::server(server, level(&diagnostic), diagnostic.to_string());
    }
}

/// Logs warnings about groups whose limits the server's own make useless.
pub(crate) fn review_front(server: &Server, info: &ServerInfo) {
    let Some(global) = server.global::<Wsgi>() else { return };
    let mpm = info.mpm();
    let front = Front {
        workers: u64::from(mpm.processes) * u64::from(mpm.threads),
        timeout: server.all().map(Server::timeout).max().unwrap_or_default(),
    };
    for diagnostic in global.review_front(&front) {
        log::server(server, level(&diagnostic), diagnostic.to_string());
    }
}

/// Returns notices about a complete configuration; `server` is the main one.
pub(crate) fn diagnostics(server: &Server) -> Vec<Diagnostic> {
    let Some(global) = server.global::<Wsgi>() else { return Vec::new() };
    let reviewed = server.all().filter_map(|each| {
        let host = each.is_virtual().then(|| id(each));
        Some(Reviewed {
            server: NamedServer { host, name: non_empty_name(each) },
            config: each.settings::<Wsgi>()?,
        })
    });
    let reviewed: Vec<_> = reviewed.collect();
    global.review(&reviewed).into_iter().chain(python_faults(global)).collect()
}

/// Returns warnings about the Pythons that lines name. (One in a jail is seen from inside only.)
fn python_faults(global: &Global) -> Vec<Diagnostic> {
    let of_children = global.interpreter.python_path.as_deref().unwrap_or_default();
    let mut seen = Vec::new();
    let mut faults: Vec<Diagnostic> = Vec::new();
    if let Some(home) = &global.python_home {
        faults.extend(python_home::faults(home, of_children));
        seen.push(home);
    }
    for group in global.daemons.iter().filter(|group| group.options.chroot.is_none()) {
        let own = group.python.as_ref().or(group.python_home.as_ref()).filter(|home| !home.is_empty());
        let Some(home) = own.or(global.python_home.as_ref()) else { continue };
        let path = group.options.python_path.as_deref().unwrap_or_default();
        if !seen.contains(&home) || !path.is_empty() {
            let found = python_home::faults(home, path).map(|fault| fault.at(&group.position));
            let is_new = |fault: &Diagnostic| faults.iter().all(|known| known.what != fault.what);
            let fresh: Vec<_> = found.filter(is_new).collect();
            faults.extend(fresh);
            seen.push(home);
        }
    }
    faults
}

fn level(diagnostic: &Diagnostic) -> Level {
    match diagnostic.severity {
        Severity::Warning => Level::Warn,
        Severity::Info => Level::Info,
    }
}

/// Ends the section that was opened last.
pub(crate) fn end_section(line: &mut Line<'_, Wsgi>) {
    if let Some((global, _)) = &mut line.settings.shared {
        global.close_container();
    }
}

/// Returns the id of `server`, by which it is told from the others.
pub(crate) fn id(server: &Server) -> ServerId {
    ServerId(std::ptr::from_ref(server).addr())
}

const fn specs() -> [DirectiveSpec; DEFINITIONS.len()] {
    let mut specs = [DirectiveSpec { name: c"", help: c"", allowed: Allowed::Server }; DEFINITIONS.len()];
    let mut index = 0;
    while index < DEFINITIONS.len() {
        let definition = &DEFINITIONS[index];
        specs[index] = DirectiveSpec {
            name: definition.name,
            help: definition.help,
            allowed: match definition.context {
                Context::Global | Context::Server => Allowed::Server,
                Context::Directory => Allowed::ServerAndDirectory,
                Context::Anywhere => Allowed::FileInfo,
                Context::Authorization => Allowed::AuthConfig,
            },
        };
        index += 1;
    }
    specs
}

/// Apache's regular expressions, for `WSGIScriptAliasMatch`.
#[derive(Debug)]
struct Expression(Regex);

impl Pattern for Expression {
    fn captures(&self, subject: &[u8]) -> Option<Captures> {
        self.0.captures(subject)
    }
}

fn compile(source: &[u8]) -> Option<Arc<dyn Pattern>> {
    let source = std::ffi::CString::new(source).ok()?;
    Regex::new(&source).map(|regex| Arc::new(Expression(regex)) as Arc<dyn Pattern>)
}

/// The servers of the configuration, seen from a line in it.
struct ConfiguredServers<'a> {
    server: &'a Server,
    is_virtual_host: bool,
}

impl<'a> ConfiguredServers<'a> {
    fn of(line: &Line<'a, Wsgi>) -> Self {
        Self { server: line.server(), is_virtual_host: line.settings.is_virtual_host }
    }
}

impl Servers for ConfiguredServers<'_> {
    fn host(&self) -> Option<ServerId> {
        self.is_virtual_host.then(|| id(self.server))
    }

    fn name(&self) -> Option<&[u8]> {
        non_empty_name(self.server)
    }

    fn name_of(&self, host: ServerId) -> Option<&[u8]> {
        // Apache inserts each virtual host behind the main server when it reaches it, so all hosts
        // read so far are in the list.
        self.server.all().find(|server| id(server) == host).and_then(non_empty_name)
    }
}

fn non_empty_name(server: &Server) -> Option<&[u8]> {
    Some(server.name()).filter(|name| !name.is_empty())
}

/// The accounts and files of this machine.
struct ThisSystem;

impl System for ThisSystem {
    fn is_root(&self) -> bool {
        accounts::is_root()
    }

    fn user_id(&self, name: &[u8]) -> Option<u32> {
        accounts::user_id(std::str::from_utf8(name).ok()?)
    }

    fn has_user(&self, id: u32) -> bool {
        accounts::user(id).is_some()
    }

    fn group_id(&self, name: &[u8]) -> Option<u32> {
        accounts::group_id(std::str::from_utf8(name).ok()?)
    }

    fn max_groups(&self) -> usize {
        accounts::max_groups()
    }

    fn file_kind(&self, path: &[u8]) -> Option<FileKind> {
        FileKind::of(std::fs::metadata(OsStr::from_bytes(path)))
    }

    fn read(&self, path: &[u8]) -> Result<Vec<u8>, String> {
        std::fs::read(OsStr::from_bytes(path)).map_err(|error| error.to_string())
    }
}
