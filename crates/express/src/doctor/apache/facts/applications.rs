//! The applications, and the other scripts that Python runs.

use std::ffi::OsStr;
use std::os::unix::ffi::OsStrExt as _;
use std::path::{Path, PathBuf};

use wsgi_core::alias::{Location, ScriptAlias};
use wsgi_core::config::{Callable, DirectoryConfig};
use wsgi_core::groups::is_constant;
use wsgi_core::interpreter::settings;
use wsgi_core::python_home::Version;
use wsgi_core::route::RouteOptions;
use wsgi_core::script::InterpreterName;
use wsgi_core::words::display;

use super::groups::Gathered;
use crate::doctor::apache::line::{Line, path, place};
use crate::doctor::apache::model::{Host, Model};
use crate::doctor::apache::{Configuration, handlers};
use crate::doctor::finding::Place;
use crate::doctor::subject::{Application, Entry, Purpose};

impl Gathered<'_> {
    /// Finds the applications of all servers.
    pub(super) fn applications(&mut self) {
        let model = &self.configuration.model;
        for host in &model.hosts {
            for alias in &host.own.aliases {
                if let Some((file, url)) = self.configuration.script_of(alias) {
                    self.application(host, &file, &url, &alias.options, place(&alias.position));
                }
            }
            for script in handlers::scripts(self.configuration, host) {
                self.application(host, &script.file, &script.url, &script.options, script.place);
            }
            let sections = host.sections.iter().chain(&host.overrides).flat_map(|section| {
                std::iter::once(&section.settings).chain(section.nested.iter().map(|nested| &nested.settings))
            });
            for settings in std::iter::once(&host.own.defaults).chain(sections) {
                for handler in &settings.handlers {
                    let url = handler.options.url_path.as_deref().filter(|url| !url.is_empty());
                    let url = display(url.unwrap_or(b"/")).into_owned();
                    let Some(place) = self.place_of_handler(&handler.name) else { continue };
                    self.application(host, path(&handler.script), &url, &handler.options, place);
                }
            }
        }
    }

    fn startup_timeout(&self, group: usize) -> u64 {
        let name = self.groups[group].name.as_deref();
        let daemon = name.and_then(|name| self.configuration.model.global.daemon(name.as_bytes()));
        daemon.map_or(0, |daemon| daemon.options.limits.startup_timeout / 1000)
    }

    /// Finds the scripts that processes load when they start.
    pub(super) fn imports(&mut self) {
        let configuration = self.configuration;
        let imports = &configuration.model.global.imports;
        for import in imports.iter().filter(|import| !import.is_mounted) {
            let names = (&*import.process_group, &*import.application_group);
            self.script("WSGIImportScript", &import.script, names, Purpose::Import);
        }
    }

    /// Finds the scripts that decide about requests.
    pub(super) fn hooks(&mut self) {
        let model = &self.configuration.model;
        let all = model.hosts.iter().flat_map(|host| {
            let sections = host
                .sections
                .iter()
                .chain(&host.overrides)
                .flat_map(|section| std::iter::once(section).chain(&section.nested));
            std::iter::once(&host.own.defaults).chain(sections.map(|section| &section.settings))
        });
        for settings in all {
            let hooks: [(&str, _, &[&str]); 4] = [
                (
                    "WSGIDispatchScript",
                    &settings.dispatch_script,
                    &["process_group", "application_group", "callable_object"],
                ),
                ("WSGIAccessScript", &settings.access_script, &["allow_access"]),
                ("WSGIAuthUserScript", &settings.auth_user_script, &["check_password", "get_realm_hash"]),
                ("WSGIAuthGroupScript", &settings.auth_group_script, &["groups_for_user"]),
            ];
            for (directive, hook, functions) in hooks {
                let Some(hook) = hook else { continue };
                let names = (&*hook.process_group, &*hook.application_group);
                self.script(directive, &hook.script, names, Purpose::Decision(functions));
            }
        }
    }

    /// Adds a script that no URL leads to, with the names of its process group and its interpreter.
    fn script(
        &mut self,
        directive: &str,
        script: &[u8],
        (group, interpreter): (&[u8], &[u8]),
        purpose: Purpose,
    ) {
        let group = match group {
            b"" | b"%{GLOBAL}" => self.embedded(),
            name => {
                let wanted = display(name);
                let found = self.groups.iter().position(|group| group.name.as_deref() == Some(&*wanted));
                let Some(found) = found else { return };
                found
            }
        };
        let interpreter = match interpreter {
            b"" | b"%{GLOBAL}" => Some(String::new()),
            name if is_constant(name) => Some(display(name).into_owned()),
            _ => None,
        };
        let entry = Entry::Script(self.configuration.path(script));
        let is_known = self.applications.iter().any(|other| {
            other.group == group
                && other.entry == entry
                && other.interpreter == interpreter
                && (other.purpose == purpose || purpose == Purpose::Import)
        });
        if is_known {
            return;
        }
        let name = &self.groups[group].name;
        let gil = self
            .configuration
            .has_own_gil(name.as_deref().map(str::as_bytes), interpreter.as_deref().map(str::as_bytes));
        self.applications.push(Application {
            purpose,
            group,
            interpreter,
            has_own_gil: gil,
            entry,
            module: None,
            callable: String::new(),
            place: self.place_of_script(directive, script),
            // It is no application, and gets what Apache has found in it.
            has_authorization: true,
            startup_timeout: self.startup_timeout(group),
            variables: Vec::new(),
        });
    }

    /// Returns the place of the line that names a script.
    fn place_of_script(&self, directive: &str, script: &[u8]) -> Option<Place> {
        let hosts = self.configuration.model.hosts.iter();
        let lines = hosts.flat_map(|host| {
            let sections = host
                .sections
                .iter()
                .chain(&host.overrides)
                .flat_map(|section| std::iter::once(section).chain(&section.nested));
            host.lines.iter().chain(sections.flat_map(|section| &section.lines))
        });
        let mut lines = lines.filter(|line| line.is(directive));
        lines.find(|line| line.word(0).is_some_and(|word| *word == *script)).map(Line::place)
    }

    fn place_of_handler(&self, name: &[u8]) -> Option<Place> {
        let hosts = self.configuration.model.hosts.iter();
        let mut lines = hosts.flat_map(|host| {
            host.lines.iter().chain(host.sections.iter().flat_map(|section| &section.lines))
        });
        let found = lines
            .find(|line| line.is("WSGIHandlerScript") && line.word(0).is_some_and(|word| *word == *name))?;
        Some(found.place())
    }

    fn application(&mut self, host: &Host, file: &Path, url: &str, options: &RouteOptions, place: Place) {
        let configuration = self.configuration;
        let settings: DirectoryConfig = configuration.model.settings(host, file, url.as_bytes());
        let effective = host.effective(&settings, options);
        let group = match effective.process_group() {
            None | Some(b"" | b"%{GLOBAL}") => self.embedded(),
            Some(name) => {
                let wanted = display(name);
                // One that depends on the request, or does not exist, is none.
                let found = self.groups.iter().position(|group| group.name.as_deref() == Some(&*wanted));
                let Some(found) = found else { return };
                found
            }
        };
        let interpreter = match effective.application_group() {
            Some(b"" | b"%{GLOBAL}") => Some(String::new()),
            Some(name) if is_constant(name) => Some(display(name).into_owned()),
            _ => None,
        };
        let (Callable::Literal(callable) | Callable::Expand(callable)) = effective.callable();
        if !is_constant(callable) {
            return;
        }
        let application = Application {
            purpose: Purpose::Requests,
            group,
            interpreter,
            has_own_gil: configuration.has_own_gil(effective.process_group(), effective.application_group()),
            entry: Entry::Script(file.to_owned()),
            module: options.module_name.as_deref().map(|name| display(name).into_owned()),
            callable: display(callable).into_owned(),
            place: Some(place),
            // Where Apache asks for passwords itself, the application has nothing to ask for.
            has_authorization: effective.pass_authorization() || configuration.authenticates(host, file, url),
            startup_timeout: self.startup_timeout(group),
            variables: variables(&configuration.model, host),
        };
        // Two hosts for one application are usual: one for HTTP, one for HTTPS.
        let known = self.applications.iter_mut().find(|other| {
            other.group == application.group
                && other.entry == application.entry
                && other.callable == application.callable
                && other.interpreter == application.interpreter
        });
        match known {
            Some(known) => add_variables(&mut known.variables, application.variables),
            None => self.applications.push(application),
        }
    }
}

/// Returns the variables that requests to a host have.
fn variables(model: &Model, host: &Host) -> Vec<(String, Option<Place>)> {
    let main = host.position.is_some().then(|| model.main());
    let hosts = std::iter::once(host).chain(main);
    let lines = hosts
        .flat_map(|host| host.lines.iter().chain(host.sections.iter().flat_map(|section| &section.lines)));
    let mut variables = Vec::new();
    for line in lines {
        let names = match line.name.to_ascii_lowercase().as_str() {
            "setenv" => 1,
            "passenv" => usize::MAX,
            _ => continue,
        };
        let words = line.words().take(names);
        add_variables(&mut variables, words.map(|word| (display(&word).into_owned(), Some(line.place()))));
    }
    variables
}

/// Adds those that are not there yet.
fn add_variables(
    variables: &mut Vec<(String, Option<Place>)>,
    more: impl IntoIterator<Item = (String, Option<Place>)>,
) {
    for variable in more {
        if variables.iter().all(|(name, _)| *name != variable.0) {
            variables.push(variable);
        }
    }
}

impl Configuration {
    /// Returns whether Apache itself authenticates the clients of a script.
    fn authenticates(&self, host: &Host, file: &Path, url: &str) -> bool {
        let directory = file.parent().unwrap_or(file);
        let name = file.file_name().map(OsStr::as_bytes);
        let sections = self.model.sections(host, directory, name, url.as_bytes());
        let mut lines = sections.iter().flat_map(|section| &section.lines).filter(|line| line.is("AuthType"));
        lines.next_back().and_then(|line| line.text(0)).is_some_and(|kind| !kind.eq_ignore_ascii_case("none"))
    }

    /// Returns whether an interpreter is to have a lock of its own.
    fn has_own_gil(&self, process_group: Option<&[u8]>, application_group: Option<&[u8]>) -> bool {
        let place = InterpreterName {
            process_group: process_group.unwrap_or_default(),
            application_group: application_group.unwrap_or(b"%{RESOURCE}"),
        };
        // The first version that can.
        let version = Version { minor: 12, free_threaded: false };
        settings(self.model.global.interpreter_blocks(), &place, version).own_gil
    }

    /// Returns the script of an alias and the URL where it is mounted; `None` if that depends on the
    /// request.
    pub(in crate::doctor::apache) fn script_of(&self, alias: &ScriptAlias) -> Option<(PathBuf, String)> {
        let Location::Prefix(url) = &alias.location else {
            let is_fixed = !alias.target.contains(&b'$');
            return is_fixed.then(|| (self.path(&alias.target), "/".to_owned()));
        };
        let file = self.path(&alias.target);
        // A directory of scripts: the URL says which one.
        (!file.is_dir()).then(|| (file, display(url).into_owned()))
    }
}
