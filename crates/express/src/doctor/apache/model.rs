//! The meaning of a configuration: its servers, their sections and mappings, and what the lines of
//! the module say, by the module's own definitions.

use std::path::{Path, PathBuf};

use wsgi_core::config::{DirectoryConfig, Effective, Global, Reviewed, ServerConfig};
use wsgi_core::daemon::{DaemonGroup, NamedServer, ServerId};
use wsgi_core::diagnostic::{Diagnostic, Position};
use wsgi_core::directive::{Directive, Scope, Target};

use super::line::Line;
use super::mapping::Mapping;
use super::overrides::{self, Refusal};
use super::section::{Section, applying};
use super::system::{Known, Machine, compile};

/// The meaning of a configuration.
#[derive(Debug, Default)]
pub(crate) struct Model {
    /// The main server comes first.
    pub(crate) hosts: Vec<Host>,
    pub(crate) global: Global,
    /// Lines of the module that are refused.
    pub(crate) refused: Vec<(String, Position)>,
    /// Lines of files `.htaccess` that are.
    pub(crate) refusals: Vec<Refusal>,
}

/// The main server or a virtual host.
#[derive(Debug, Default)]
pub(crate) struct Host {
    /// `None` for the main server.
    pub(crate) position: Option<Position>,
    /// The addresses of a virtual host, such as `*:443`.
    pub(crate) addresses: Vec<String>,
    pub(crate) name: Option<String>,
    /// Its lines at the level of the server.
    pub(crate) lines: Vec<Line>,
    pub(crate) sections: Vec<Section>,
    /// The meaning of its own lines of the module.
    pub(crate) own: ServerConfig,
    /// The same merged with those of the main server.
    pub(crate) merged: ServerConfig,
    /// Its files `.htaccess`, outer directories first.
    pub(crate) overrides: Vec<Section>,
}

impl Model {
    /// Finds the meaning of these lines. `machine` says whether Apache is started by root.
    pub(crate) fn new(lines: &[Line], machine: &Machine) -> Self {
        let mut builder = Builder { machine, model: Self::default(), names: vec![None], is_htaccess: false };
        builder.model.hosts.push(Host::default());
        builder.server(lines, 0);
        let mut model = builder.model;
        let (main, others) = model.hosts.split_at_mut(1);
        for host in others {
            host.merged = ServerConfig::merged(&main[0].own, &host.own);
        }
        main[0].merged = ServerConfig::merged(&ServerConfig::default(), &main[0].own);
        model
    }

    /// Adds the files `.htaccess` that apply, which `read` reads; paths are relative to `root`.
    pub(crate) fn read_overrides(
        self,
        machine: &Machine,
        root: &Path,
        read: &dyn Fn(&Path) -> Option<Vec<Line>>,
    ) -> Self {
        let names = self.hosts.iter().map(|host| host.name.clone()).collect();
        let mut builder = Builder { machine, model: self, names, is_htaccess: true };
        for index in 0..builder.model.hosts.len() {
            let files = overrides::find(&builder.model, &builder.model.hosts[index], root, read);
            for file in files {
                let refused = builder.model.refused.len();
                let section = builder.section(Section::of_directory(&file.directory), &file.lines, index);
                builder.model.hosts[index].overrides.push(section);
                let objections = builder.model.refused.split_off(refused).into_iter();
                let directory = &file.directory;
                let objections = objections.map(|(what, position)| Refusal {
                    position,
                    what,
                    class: None,
                    directory: directory.clone(),
                    has_script: true,
                });
                for refusal in file.refusals.into_iter().chain(objections) {
                    // Hosts may share a directory.
                    if !builder.model.refusals.iter().any(|known| known.position == refusal.position) {
                        builder.model.refusals.push(refusal);
                    }
                }
            }
        }
        builder.model
    }

    pub(crate) fn main(&self) -> &Host {
        // There is one from the beginning.
        &self.hosts[0]
    }

    /// Returns the line that is in force for a host: the last one of its own, else of the main
    /// server.
    pub(crate) fn value<'m>(&'m self, host: &'m Host, name: &str) -> Option<&'m Line> {
        let find = |host: &'m Host| host.lines.iter().rfind(|line| line.is(name));
        find(host).or_else(|| find(self.main()))
    }

    /// Returns a number in force for the whole server.
    pub(crate) fn number(&self, name: &str) -> Option<(u64, &Line)> {
        let line = self.value(self.main(), name)?;
        Some((line.number(0)?, line))
    }

    /// Returns whether requests come to a host: they come to the main server where no virtual host takes
    /// what an address gets.
    pub(crate) fn is_reached(&self, host: &Host) -> bool {
        let mut listens = self.main().lines.iter().filter(|line| line.is("Listen")).peekable();
        let is_taken = |line: &Line| {
            let text = line.text(0).unwrap_or_default();
            let (listening, port) = text.rsplit_once(':').unwrap_or(("", &text));
            self.hosts.iter().flat_map(|host| &host.addresses).any(|address| {
                let (name, of) = match address.rsplit_once(':') {
                    Some((name, port)) if !port.ends_with(']') => (name, port),
                    _ => (address.as_str(), "*"),
                };
                (["*", "_default_"].contains(&name) || name == listening) && (of == "*" || of == port)
            })
        };
        host.position.is_some() || listens.peek().is_none() || !listens.all(is_taken)
    }

    /// Returns the lines of the name `name` in all servers.
    pub(crate) fn all(&self, name: &str) -> impl Iterator<Item = &Line> {
        self.hosts.iter().flat_map(|host| &host.lines).filter(move |line| line.is(name))
    }

    /// Returns the mappings of a host, in the order in which they are tried.
    pub(crate) fn mappings(&self, host: &Host) -> Vec<Mapping> {
        let of = |host: &Host| {
            // A location that is passed on comes before all lines outside.
            let locations = host.sections.iter().filter_map(Mapping::of_section);
            locations.chain(host.lines.iter().filter_map(Mapping::of)).collect::<Vec<_>>()
        };
        let mut mappings = of(host);
        if host.position.is_some() {
            mappings.extend(of(self.main()));
        }
        mappings.sort_by_key(|mapping| mapping.kind);
        mappings
    }

    /// Returns the sections that apply to a file (or a directory, if `name` is `None`) and a URL.
    pub(crate) fn sections(
        &self,
        host: &Host,
        directory: &Path,
        name: Option<&[u8]>,
        url: &[u8],
    ) -> Vec<&Section> {
        let inherited = if host.position.is_some() { &self.main().sections[..] } else { &[] };
        // A host's own list is one of those that live as long.
        let own =
            self.hosts.iter().find(|other| std::ptr::eq(*other, host)).map_or(&[][..], |host| &host.sections);
        let overrides = self
            .hosts
            .iter()
            .find(|other| std::ptr::eq(*other, host))
            .map_or(&[][..], |host| &host.overrides);
        applying(inherited.iter().chain(own).chain(overrides), directory, name, url)
    }

    /// Returns what lines of the module in sections say about a file and a URL.
    pub(crate) fn settings(&self, host: &Host, file: &Path, url: &[u8]) -> DirectoryConfig {
        let directory = file.parent().unwrap_or(file);
        let name = file.file_name().map(std::os::unix::ffi::OsStrExt::as_bytes);
        let sections = self.sections(host, directory, name, url);
        sections.iter().fold(DirectoryConfig::default(), |outer, section| {
            DirectoryConfig::merged(&outer, &section.settings)
        })
    }

    /// Returns what the module itself objects to.
    pub(crate) fn review(&self) -> Vec<Diagnostic> {
        let reviewed: Vec<_> = self
            .hosts
            .iter()
            .enumerate()
            .map(|(index, host)| Reviewed {
                server: NamedServer { host: id(index), name: host.name.as_deref().map(str::as_bytes) },
                config: &host.merged,
            })
            .collect();
        self.global.review(&reviewed)
    }

    /// Returns whether lines of this name are in sections of which it is not known which requests they
    /// are for.
    pub(crate) fn is_conditional(&self, name: &str) -> bool {
        let sections = self.hosts.iter().flat_map(|host| &host.sections);
        sections
            .flat_map(|section| std::iter::once(section).chain(&section.nested))
            .filter(|section| section.is_uncertain())
            .any(|section| section.lines.iter().any(|line| line.is(name)))
    }
}

impl Host {
    /// Returns the host's name for messages.
    pub(crate) fn shown(&self) -> String {
        match (&self.position, &self.name) {
            (None, _) => "the main server".to_owned(),
            (Some(_), Some(name)) => format!("the virtual host {name}"),
            (Some(_), None) => format!("the virtual host of {}", self.addresses.join(" ")),
        }
    }

    /// Returns the settings of a request that an alias leads to a script.
    pub(crate) fn effective<'h>(
        &'h self,
        directory: &'h DirectoryConfig,
        options: &'h wsgi_core::route::RouteOptions,
    ) -> Effective<'h> {
        Effective::new(&self.merged, directory).via(options)
    }
}

/// Returns the id of the server with this index.
fn id(index: usize) -> Option<ServerId> {
    (index > 0).then_some(ServerId(index))
}

struct Builder<'b> {
    machine: &'b Machine,
    model: Model,
    names: Vec<Option<String>>,
    /// The lines stand in `.htaccess`.
    is_htaccess: bool,
}

impl Builder<'_> {
    /// Reads the lines at the level of a server.
    fn server(&mut self, lines: &[Line], index: usize) {
        for line in lines {
            if line.is("<VirtualHost") {
                self.names.push(None);
                self.model.hosts.push(Host {
                    position: Some(line.position.clone()),
                    addresses: line.words().map(|word| String::from_utf8_lossy(&word).into_owned()).collect(),
                    ..Host::default()
                });
                let host = self.model.hosts.len() - 1;
                self.server(&line.children, host);
            } else if let Some(section) = Section::open(line) {
                let section = self.section(section, &line.children, index);
                self.model.hosts[index].sections.push(section);
            } else {
                if line.is("ServerName") {
                    // Without scheme and port, as the server compares it.
                    let name = line.text(0).map(|name| host_of(&name).to_owned());
                    self.names[index].clone_from(&name);
                    self.model.hosts[index].name = name;
                }
                self.apply(line, index, None);
                self.model.hosts[index].lines.push(line.clone());
                if line.is("<WSGIInterpreterOptions") {
                    for inner in &line.children {
                        self.apply(inner, index, None);
                    }
                    self.model.global.close_container();
                }
            }
        }
    }

    /// Reads the lines of a section for files or URLs.
    fn section(&mut self, mut section: Section, lines: &[Line], index: usize) -> Section {
        for line in lines {
            if let Some(nested) = Section::open(line) {
                let nested = self.section(nested, &line.children, index);
                section.nested.push(nested);
            } else {
                self.apply(line, index, Some(&mut section.settings));
                section.lines.push(line.clone());
            }
        }
        section
    }

    /// Applies a line of the module.
    fn apply(&mut self, line: &Line, index: usize, directory: Option<&mut DirectoryConfig>) {
        let Some(directive) = Directive::find(&line.name) else { return };
        let scope = match (&directory, index) {
            (Some(_), _) => Scope::Directory,
            (None, 0) => Scope::Main,
            (None, _) => Scope::VirtualHost,
        };
        let mut target = Target {
            scope,
            global: &mut self.model.global,
            server: &mut self.model.hosts[index].own,
            directory,
            is_htaccess: self.is_htaccess,
            compile: &compile,
            system: self.machine,
            servers: &Known { here: id(index), names: &self.names },
            position: &line.position,
        };
        if let Err(reason) = directive.apply(&mut target, &line.arguments) {
            self.model.refused.push((reason, line.position.clone()));
            // The lines that name the group are not to blame.
            let name = line.word(0).filter(|_| line.is("WSGIDaemonProcess")).unwrap_or_default();
            if !name.is_empty() && self.model.global.daemon(&name).is_none() {
                let group =
                    DaemonGroup { position: line.position.clone(), ..DaemonGroup::new(&name, id(index)) };
                self.model.global.daemons.push(group);
            }
        }
    }
}

/// Returns the host of a `ServerName`, which may have a scheme and a port.
fn host_of(name: &str) -> &str {
    let name = name.split_once("://").map_or(name, |(_, rest)| rest);
    match name.rsplit_once(':') {
        Some((host, port)) if port.bytes().all(|byte| byte.is_ascii_digit()) => host,
        _ => name,
    }
}

/// Returns the document root of a host.
pub(crate) fn document_root(model: &Model, host: &Host, root: &Path) -> Option<(PathBuf, Position)> {
    let line = model.value(host, "DocumentRoot")?;
    Some((line.path(0, root)?, line.position.clone()))
}
