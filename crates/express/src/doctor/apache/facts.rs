//! The facts of a configuration that all checks look at.

use std::cell::OnceCell;
use std::ffi::OsStr;
use std::os::unix::ffi::OsStrExt as _;
use std::path::{Path, PathBuf};

use nix::sys::resource::getrlimit;
use os::spawn::{Limit, Resource};
use wsgi_core::alias::{Location, ScriptAlias};
use wsgi_core::config::{Callable, DirectoryConfig};
use wsgi_core::daemon::DaemonGroup;
use wsgi_core::groups::is_constant;
use wsgi_core::interpreter::settings;
use wsgi_core::python_home::Version;
use wsgi_core::route::RouteOptions;
use wsgi_core::script::InterpreterName;
use wsgi_core::words::display;

use super::line::{Line, path, place};
use super::model::Host;
use super::{Configuration, checks};
use crate::account::Account;
use crate::apache::Mpm;
use crate::doctor::finding::Place;
use crate::doctor::subject::{Application, Entry, Group, Listen, Purpose, PythonChoice, Server, Subject};
use crate::doctor::unit::Unit;

/// Returns the facts of a configuration.
pub(crate) fn subject(configuration: Configuration) -> Subject {
    let mut gathered = Gathered::new(&configuration);
    gathered.applications();
    gathered.imports();
    gathered.hooks();
    let Gathered { account, groups, applications, .. } = gathered;
    let server = Server {
        program: configuration.launcher.as_ref().map(|launcher| launcher.program.clone()),
        listen: listen(&configuration),
        account,
        pid: configuration.pid(),
        unit: unit(&configuration),
        threads_per_child: u32::try_from(configuration.threads()).ok(),
        log_files: log_files(&configuration),
        files_limit: files_limit(&configuration),
        workers: configuration
            .workers()
            .map(|(workers, line)| (u32::try_from(workers).unwrap_or(u32::MAX), line.map(Line::place))),
        environment: environment(&configuration),
        variables: variables(&configuration),
    };
    Subject {
        name: configuration.file.display().to_string(),
        installation: configuration.installation(),
        server,
        groups,
        applications,
        findings: checks::reading(&configuration),
        may_import: true,
        trials: OnceCell::new(),
        apache: Some(configuration),
    }
}

impl Configuration {
    /// Returns the file that the module is loaded from, and the line: the first one counts.
    pub(super) fn module(&self) -> Option<&super::LoadModule> {
        self.modules.iter().find(|module| module.name == "wsgi_module")
    }

    /// Returns the directory with all that belongs to the module, if it is ours.
    fn installation(&self) -> Option<PathBuf> {
        let file = self.module()?.file.canonicalize().ok()?;
        let directory = file.parent()?;
        directory.join("supervisor").is_file().then(|| directory.to_owned())
    }

    /// Returns the processing model.
    pub(super) fn mpm(&self) -> Option<Mpm> {
        let built_in = self.launcher.iter().flat_map(|launcher| &launcher.built_in).map(String::as_str);
        let loaded = self
            .modules
            .iter()
            .filter_map(|module| module.name.strip_prefix("mpm_")?.strip_suffix("_module"));
        built_in.chain(loaded).find_map(Mpm::named)
    }

    /// Returns the number of threads of each of Apache's children.
    pub(super) fn threads(&self) -> u64 {
        match self.mpm() {
            Some(Mpm::Prefork) => 1,
            _ => self.model.number("ThreadsPerChild").map_or(25, |(threads, _)| threads.max(1)),
        }
    }

    /// Returns the most requests at a time, and the line that says so; `None` if the processing model
    /// is not known.
    pub(super) fn workers(&self) -> Option<(u64, Option<&Line>)> {
        let named = self.model.number("MaxRequestWorkers").or_else(|| self.model.number("MaxClients"));
        if let Some((number, line)) = named {
            return Some((number, Some(line)));
        }
        let limit = |default| self.model.number("ServerLimit").map_or(default, |(limit, _)| limit);
        match self.mpm()? {
            Mpm::Prefork => Some((limit(256), None)),
            Mpm::Event | Mpm::Worker => Some((limit(16).saturating_mul(self.threads()), None)),
        }
    }

    /// Returns a path of the configuration.
    pub(super) fn path(&self, word: &[u8]) -> PathBuf {
        self.root.join(path(word))
    }

    /// Returns the file with the process id of the server.
    pub(super) fn pid_file(&self) -> Option<PathBuf> {
        let told = self.word.as_ref().and_then(|word| word.run_time("PidFile")).map(PathBuf::from);
        let line = self.model.value(self.model.main(), "PidFile").and_then(|line| line.path(0, &self.root));
        let default = || self.launcher.as_ref()?.build.pid_file.clone();
        line.or(told).or_else(default)
    }

    /// Returns the process id of the server, as its file tells it.
    pub(super) fn pid(&self) -> Option<u32> {
        let text = os::file::read_small(&self.pid_file()?).ok()?;
        display(&text).trim().parse().ok()
    }
}

/// Returns the addresses of all lines `Listen`.
fn listen(configuration: &Configuration) -> Vec<Listen> {
    let main = configuration.model.main();
    let lines = main.lines.iter().filter(|line| line.is("Listen"));
    lines
        .filter_map(|line| {
            let text = line.text(0)?;
            let (address, port) = match text.rsplit_once(':') {
                Some((address, port)) => (Some(address.trim_matches(['[', ']']).to_owned()), port),
                None => (None, text.as_str()),
            };
            let address = address.filter(|address| address != "*" && !address.is_empty());
            Some(Listen { address, port: port.parse().ok()?, place: Some(line.place()) })
        })
        .collect()
}

/// Returns the unit by which systemd starts the distribution's server.
fn unit(configuration: &Configuration) -> Option<Unit> {
    let file = configuration.file.to_str()?;
    let (name, _) = [("apache2", "/etc/apache2/apache2.conf"), ("httpd", "/etc/httpd/conf/httpd.conf")]
        .into_iter()
        .find(|(_, known)| *known == file)?;
    Unit::read(&format!("{name}.service"), Path::new("/"))
}

fn log_files(configuration: &Configuration) -> u32 {
    let count = ["ErrorLog", "CustomLog", "TransferLog", "GlobalLog", "ForensicLog"]
        .iter()
        .map(|name| configuration.model.all(name).count())
        .sum::<usize>();
    u32::try_from(count).unwrap_or(u32::MAX)
}

/// Returns the most descriptors that the server may have: if it runs, what it was started with.
fn files_limit(configuration: &Configuration) -> Option<u64> {
    let running = || {
        let limits = std::fs::read_to_string(format!("/proc/{}/limits", configuration.pid()?)).ok()?;
        let line = limits.lines().find_map(|line| line.strip_prefix("Max open files"))?;
        line.split_whitespace().next()?.parse().ok()
    };
    let own = || getrlimit(nix::sys::resource::Resource::RLIMIT_NOFILE).ok().map(|(soft, _)| soft);
    running().or_else(own)
}

/// Returns the environment of the server.
fn environment(configuration: &Configuration) -> Vec<(String, String)> {
    let variables = configuration.launcher.iter().flat_map(|launcher| &launcher.environment);
    variables.map(|(name, value)| (display(name).into_owned(), display(value).into_owned())).collect()
}

fn variables(configuration: &Configuration) -> Vec<(String, Option<Place>)> {
    let hosts = &configuration.model.hosts;
    let lines = hosts
        .iter()
        .flat_map(|host| host.lines.iter().chain(host.sections.iter().flat_map(|section| &section.lines)));
    let mut variables = Vec::new();
    for line in lines {
        if line.is("SetEnv") {
            variables.extend(line.text(0).map(|name| (name, Some(line.place()))));
        } else if line.is("PassEnv") {
            variables.extend(line.words().map(|name| (display(&name).into_owned(), Some(line.place()))));
        }
    }
    variables
}

/// The groups and applications that have been found.
struct Gathered<'c> {
    configuration: &'c Configuration,
    account: Account,
    groups: Vec<Group>,
    applications: Vec<Application>,
}

impl<'c> Gathered<'c> {
    fn new(configuration: &'c Configuration) -> Self {
        let account = account(configuration);
        let mut gathered = Self { configuration, account, groups: Vec::new(), applications: Vec::new() };
        let daemons = &configuration.model.global.daemons;
        gathered.groups = daemons.iter().map(|daemon| gathered.group(daemon)).collect();
        gathered
    }

    fn place_of(&self, name: &str) -> Option<Place> {
        self.configuration.model.value(self.configuration.model.main(), name).map(Line::place)
    }

    fn group(&self, daemon: &DaemonGroup) -> Group {
        let options = &daemon.options;
        let own = Some(place(&daemon.position));
        let global = &self.configuration.model.global;
        let account = match (daemon.user, daemon.group) {
            (None, None) => self.account.clone(),
            (user, group) => {
                let uid = user.unwrap_or(self.account.uid.as_raw());
                Account::of_ids(
                    uid,
                    group.unwrap_or(self.account.gid.as_raw()),
                    daemon.supplementary_groups.clone(),
                )
            }
        };
        let named = daemon.python.as_deref().or(daemon.python_home.as_deref());
        let python = match (named, global.python_home.as_deref()) {
            (Some(home), _) => PythonChoice { home: Some(path(home).to_owned()), place: own.clone() },
            (None, Some(home)) => {
                PythonChoice { home: Some(path(home).to_owned()), place: self.place_of("WSGIPythonHome") }
            }
            (None, None) => PythonChoice { home: None, place: own.clone() },
        };
        let limit = |resource, value: u64| Limit { resource, soft: value, hard: value };
        let limits = [
            limit(Resource::Data, options.memory_limit),
            limit(Resource::AddressSpace, options.virtual_memory_limit),
        ];
        let environment = options
            .environment
            .iter()
            .map(|variable| (display(&variable.0).into_owned(), display(&variable.1).into_owned()));
        Group {
            name: Some(display(&daemon.name).into_owned()),
            place: own.clone(),
            account,
            python,
            python_path: paths(options.python_path.as_deref()),
            python_path_place: own.clone(),
            home: options.home.as_deref().map(|home| path(home).to_owned()),
            home_place: own.clone(),
            chroot: options.chroot.as_deref().map(|root| path(root).to_owned()),
            processes: options.process_count(),
            threads: options.threads,
            limits: limits.into_iter().filter(|limit| limit.soft > 0).collect(),
            environment: environment.collect(),
            lang: options.lang.as_deref().map(|name| display(name).into_owned()),
            locale: options.locale.as_deref().map(|name| display(name).into_owned()),
            locale_place: own,
            request_timeout: options.limits.request_timeout / 1000,
            memory_recycle: options.limits.memory_recycle,
            umask: options.umask,
        }
    }

    /// Returns the index of Apache's children among the groups.
    fn embedded(&mut self) -> usize {
        if let Some(index) = self.groups.iter().position(Group::is_embedded) {
            return index;
        }
        let global = &self.configuration.model.global;
        let threads = self.configuration.threads();
        let workers = self.configuration.workers().map_or(threads, |(workers, _)| workers);
        let to_u32 = |number| u32::try_from(number).unwrap_or(u32::MAX);
        let place = self.place_of("WSGIPythonHome");
        self.groups.push(Group {
            name: None,
            place: None,
            account: self.account.clone(),
            python: PythonChoice {
                home: global.python_home.as_deref().map(|home| path(home).to_owned()),
                place,
            },
            python_path: paths(global.interpreter.python_path.as_deref()),
            python_path_place: self.place_of("WSGIPythonPath"),
            home: None,
            home_place: None,
            chroot: None,
            processes: to_u32((workers / threads).max(1)),
            threads: to_u32(threads),
            limits: Vec::new(),
            environment: Vec::new(),
            lang: None,
            locale: None,
            locale_place: None,
            request_timeout: 0,
            memory_recycle: 0,
            umask: None,
        });
        self.groups.len() - 1
    }

    /// Finds the applications of all servers.
    fn applications(&mut self) {
        let model = &self.configuration.model;
        for host in &model.hosts {
            for alias in &host.own.aliases {
                if let Some((file, url)) = self.configuration.script_of(alias) {
                    self.application(host, &file, &url, &alias.options, place(&alias.position));
                }
            }
            for script in super::handlers::scripts(self.configuration, host) {
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
        let daemon = self.configuration.model.global.daemons.get(group);
        daemon.map_or(0, |daemon| daemon.options.limits.startup_timeout / 1000)
    }

    /// Finds the scripts that processes load when they start.
    fn imports(&mut self) {
        let configuration = self.configuration;
        let imports = &configuration.model.global.imports;
        for import in imports.iter().filter(|import| !import.is_mounted) {
            let names = (&*import.process_group, &*import.application_group);
            self.script("WSGIImportScript", &import.script, names, Purpose::Import);
        }
    }

    /// Finds the scripts that decide about requests.
    fn hooks(&mut self) {
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
        };
        // Two hosts for one application are usual: one for HTTP, one for HTTPS.
        let is_known = self.applications.iter().any(|other| {
            other.group == application.group
                && other.entry == application.entry
                && other.callable == application.callable
                && other.interpreter == application.interpreter
        });
        if !is_known {
            self.applications.push(application);
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
    pub(super) fn script_of(&self, alias: &ScriptAlias) -> Option<(PathBuf, String)> {
        let Location::Prefix(url) = &alias.location else {
            let is_fixed = !alias.target.contains(&b'$');
            return is_fixed.then(|| (self.path(&alias.target), "/".to_owned()));
        };
        let file = self.path(&alias.target);
        // A directory of scripts: the URL says which one.
        (!file.is_dir()).then(|| (file, display(url).into_owned()))
    }
}

/// Returns the account of Apache's children.
fn account(configuration: &Configuration) -> Account {
    let value =
        |name| configuration.model.value(configuration.model.main(), name).and_then(|line| line.text(0));
    let id = |name: String, of: fn(&str) -> Option<u32>| match name.strip_prefix('#') {
        Some(number) => number.parse().ok(),
        None => of(&name),
    };
    let user = value("User").and_then(|name| id(name, os::accounts::user_id));
    let group = value("Group").and_then(|name| id(name, os::accounts::group_id));
    match user {
        Some(uid) if configuration.is_root => {
            let own = || Account::of_ids(uid, 0, None).gid.as_raw();
            Account::of_ids(uid, group.unwrap_or_else(own), None)
        }
        _ => Account::invoking(None, None),
    }
}

fn paths(joined: Option<&[u8]>) -> Vec<PathBuf> {
    let joined = joined.unwrap_or_default();
    wsgi_core::interpreter::path_entries(joined).map(|entry| path(entry).to_owned()).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of(lines: &str) -> Subject {
        let directory = tempfile::tempdir().unwrap();
        let file = directory.path().join("httpd.conf");
        std::fs::write(&file, lines).unwrap();
        subject(Configuration::read(&file, None))
    }

    fn line(place: Option<&Place>) -> u32 {
        match place {
            Some(Place::Line { line, .. }) => *line,
            _ => 0,
        }
    }

    #[test]
    fn groups_and_applications_have_their_lines() {
        let subject = of("Listen 80\nListen [::1]:8080\nWSGIPythonHome /venv\nSetEnv A 1\nPassEnv B\n\
            LoadModule mpm_prefork_module m.so\nMaxRequestWorkers 30\n\
            WSGIDaemonProcess shop user=nobody processes=2 threads=3 home=/srv python-home=/other python-path=/a:/b \\\n\
            request-timeout=60 memory-limit=1G locale=C.UTF-8 environment=X=1\n\
            <VirtualHost *:80>\nServerName https://h:443\nWSGIScriptAlias / /srv/a.wsgi process-group=shop application-group=%{GLOBAL}\n\
            </VirtualHost>\n\
            <VirtualHost *:81>\nWSGIScriptAlias /sub /srv/b.wsgi\nWSGIPassAuthorization On\n</VirtualHost>\n");
        let [shop, embedded] = &subject.groups[..] else { panic!("{:?}", subject.groups) };
        assert_eq!(
            (shop.processes, shop.threads, shop.request_timeout, line(shop.place.as_ref())),
            (2, 3, 60, 9)
        );
        assert_eq!((shop.account.user.as_str(), shop.home.as_deref()), ("nobody", Some(Path::new("/srv"))));
        assert_eq!(shop.python.home.as_deref(), Some(Path::new("/other")));
        assert_eq!(shop.python_path, ["/a", "/b"].map(PathBuf::from));
        assert_eq!((shop.limits.len(), shop.locale.as_deref()), (1, Some("C.UTF-8")));
        assert_eq!(shop.environment, [("X".to_owned(), "1".to_owned())]);
        assert!(embedded.is_embedded());
        assert_eq!((embedded.processes, embedded.threads), (30, 1));
        assert_eq!(
            (embedded.python.home.as_deref(), line(embedded.python.place.as_ref())),
            (Some(Path::new("/venv")), 3)
        );
        let [first, second] = &subject.applications[..] else { panic!("{:?}", subject.applications) };
        assert_eq!(
            (first.group, first.interpreter.as_deref(), line(first.place.as_ref())),
            (0, Some(""), 12)
        );
        assert_eq!((first.callable.as_str(), first.has_authorization), ("application", false));
        assert_eq!((second.group, second.interpreter.as_deref(), second.has_authorization), (1, None, true));
        let server = &subject.server;
        assert_eq!(server.listen.iter().map(|listen| listen.port).collect::<Vec<_>>(), [80, 8080]);
        assert_eq!(server.listen[1].address.as_deref(), Some("::1"));
        assert_eq!(
            server.workers.as_ref().map(|(workers, place)| (*workers, line(place.as_ref()))),
            Some((30, 7))
        );
        assert_eq!(server.variables.iter().map(|(name, _)| name.as_str()).collect::<Vec<_>>(), ["A", "B"]);
    }

    #[test]
    fn scripts_that_no_url_leads_to_are_found() {
        let subject = of(
            "WSGIDaemonProcess shop startup-timeout=7\nWSGIScriptAlias / /srv/a.wsgi process-group=shop application-group=%{GLOBAL}\n\
            WSGIImportScript /srv/a.wsgi process-group=shop application-group=%{GLOBAL}\n\
            WSGIImportScript /srv/b.wsgi process-group=shop application-group=other\n\
            <Location /closed>\n<Limit GET>\n</Limit>\nWSGIAuthUserScript /srv/c.wsgi\nWSGIAuthGroupScript /srv/c.wsgi application-group=%{SERVER}\n\
            WSGIAccessScript /srv/c.wsgi process-group=shop\n</Location>\nWSGIDispatchScript /srv/d.wsgi process-group=none\n",
        );
        let found: Vec<_> = subject
            .applications
            .iter()
            .map(|script| {
                let name = script.entry.file().unwrap().file_name().unwrap().to_str().unwrap();
                let group = subject.group_of(script).name.as_deref().unwrap_or_default();
                (
                    name,
                    line(script.place.as_ref()),
                    group,
                    script.interpreter.as_deref(),
                    script.startup_timeout,
                )
            })
            .collect();
        let expected = [
            ("a.wsgi", 2, "shop", Some(""), 7),
            ("b.wsgi", 4, "shop", Some("other"), 7),
            ("c.wsgi", 10, "shop", Some(""), 7),
            ("c.wsgi", 8, "", Some(""), 0),
            ("c.wsgi", 9, "", None, 0),
        ];
        assert_eq!(found, expected);
        assert!(subject.serves(0) && !subject.serves(1));
    }

    #[test]
    fn sections_decide_about_applications() {
        let alias = "WSGIDaemonProcess shop\nWSGIScriptAlias / /srv/a.wsgi\n";
        let group = |lines: &str| of(&format!("{alias}{lines}")).applications[0].group;
        assert_eq!(group("WSGIProcessGroup shop\n"), 0);
        assert_eq!(group("<Directory /srv>\nWSGIProcessGroup shop\n</Directory>\n"), 0);
        assert_eq!(group("<Location />\nWSGIProcessGroup shop\n</Location>\n"), 0);
        assert_eq!(group("<Directory /other>\nWSGIProcessGroup shop\n</Directory>\n"), 1);
        let has = |lines: &str| of(&format!("{alias}{lines}")).applications[0].has_authorization;
        assert!(!has("") && !has("<Location />\nAuthType None\n</Location>\n"));
        assert!(has("<Location />\nAuthType Basic\nRequire valid-user\n</Location>\n"), "Apache asks");
        assert!(has("<Directory /srv>\nWSGIPassAuthorization On\n</Directory>\n"));
        assert!(of(&format!("{alias}WSGIProcessGroup %{{ENV:X}}\n")).applications.is_empty(), "nobody knows");
    }
}
