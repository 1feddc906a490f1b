//! The description of a test's server: files, modules, configuration.

use std::path::{Path, PathBuf};
use std::process::Output;

use crate::{Cases, Interpreter, Mode, Mpm, Server};

/// A server to be started. In file contents and configuration, `@ROOT@`, `@PORT@` and `@TLS_PORT@`
/// are replaced by the server's directory and ports, and `@GROUP@` by the process group that
/// applications are in.
#[derive(Clone, Debug)]
pub struct Setup {
    pub(crate) mpm: Mpm,
    pub(crate) mode: Mode,
    pub(crate) files: Vec<(String, Vec<u8>)>,
    pub(crate) tls: bool,
    /// As with `httpd -X`.
    pub(crate) single: bool,
    /// Set if Apache is the first process of a namespace of its own.
    pub(crate) is_first_process: bool,
    /// Set if the server has its own copy of the module, with all that belongs to it.
    pub(crate) own_module: bool,
    modules: Vec<String>,
    configuration: String,
    python_home: Option<PathBuf>,
    children: u32,
    threads: u32,
    /// Options of the process group `e2e`; nothing if the configuration defines its own groups.
    group: Option<String>,
}

/// Modules that every server has.
const MODULES: &[&str] = &["authz_core", "alias", "env", "setenvif", "mime", "headers", "filter"];

impl Setup {
    /// A server that serves files from `@ROOT@/htdocs` and has no application yet.
    #[must_use]
    pub fn new(mpm: Mpm) -> Self {
        Self {
            mpm,
            mode: Mode::current(),
            files: Vec::new(),
            tls: false,
            single: false,
            is_first_process: false,
            own_module: false,
            modules: MODULES.iter().map(|&name| name.to_owned()).collect(),
            configuration: String::new(),
            python_home: Some(Interpreter::current().home()),
            children: if mpm.threaded() { 1 } else { 2 },
            threads: 6,
            group: Some("display-name=%{GROUP}".to_owned()),
        }
    }

    /// Adds a file, relative to the server's directory.
    #[must_use]
    pub fn file(mut self, path: &str, content: impl AsRef<[u8]>) -> Self {
        self.files.push((path.to_owned(), content.as_ref().to_vec()));
        self
    }

    /// Adds an application, `apps/<name>`, and mounts it at a URL.
    #[must_use]
    pub fn app(self, url: &str, name: &str, content: &str) -> Self {
        let line = format!("WSGIScriptAlias {url} @ROOT@/apps/{name}\n");
        self.file(&format!("apps/{name}"), content).conf(&line)
    }

    /// Adds configuration, at server level.
    #[must_use]
    pub fn conf(mut self, text: &str) -> Self {
        self.configuration.push_str(text);
        self.configuration.push('\n');
        self
    }

    /// Loads more of Apache's modules, named as in `mod_<name>.so`.
    #[must_use]
    pub fn modules(mut self, names: &[&str]) -> Self {
        self.modules.extend(names.iter().map(|&name| name.to_owned()));
        self
    }

    /// Also listens with TLS, on `@TLS_PORT@`; HTTP/2 is offered on both ports (with prefork, it is
    /// not).
    #[must_use]
    pub fn tls(mut self) -> Self {
        self.tls = true;
        self.modules(&["ssl", "socache_shmcb"])
    }

    /// Runs Apache as one process, which serves requests itself: `httpd -X`.
    #[must_use]
    pub const fn single_process(mut self) -> Self {
        self.single = true;
        self
    }

    /// Runs Apache as the first process of a namespace of process ids, as in a container: it
    /// inherits all orphans.
    #[must_use]
    pub const fn first_process(mut self) -> Self {
        self.is_first_process = true;
        self
    }

    /// Runs a copy of the module, with all that belongs to it, in `@ROOT@/module`.
    #[must_use]
    pub const fn own_module(mut self) -> Self {
        self.own_module = true;
        self
    }

    /// The number of Apache children.
    #[must_use]
    pub const fn children(mut self, count: u32) -> Self {
        self.children = count;
        self
    }

    /// The number of threads that serve requests in each process that has several.
    #[must_use]
    pub const fn threads(mut self, count: u32) -> Self {
        self.threads = count;
        self
    }

    /// Sets `WSGIPythonHome`, or leaves it unset.
    #[must_use]
    pub fn python_home(mut self, home: Option<&Path>) -> Self {
        self.python_home = home.map(Path::to_path_buf);
        self
    }

    /// In daemon mode, adds options to the process group that serves all applications, `e2e`. It is
    /// the only group, and has one process unless they say otherwise.
    #[must_use]
    pub fn group(mut self, options: &str) -> Self {
        let all = self.group.get_or_insert_default();
        *all = format!("{all} {options}");
        self
    }

    /// Leaves it to the configuration to define process groups, and to send requests to them.
    #[must_use]
    pub fn own_groups(mut self) -> Self {
        self.group = None;
        self
    }

    /// The MPM.
    #[must_use]
    pub const fn mpm(&self) -> Mpm {
        self.mpm
    }

    /// Returns where applications run.
    #[must_use]
    pub const fn mode(&self) -> Mode {
        self.mode
    }

    /// Starts the server.
    ///
    /// # Panics
    /// It does not start.
    #[must_use]
    pub fn start(self) -> Server {
        Server::start(&self)
    }

    /// Starts the server, makes the checks, stops it.
    ///
    /// # Panics
    /// The server does not start, or a check fails.
    pub fn run(self, checks: impl FnOnce(&Server, &mut Cases<'_>)) {
        self.start().cases(checks);
    }

    /// Returns the output of `httpd -t`.
    #[must_use]
    pub fn test_configuration(&self) -> Output {
        Server::test_configuration(self)
    }

    /// The text of httpd.conf, but for the replacements.
    pub(crate) fn httpd_conf(&self, module_directory: &Path, wsgi_module: &Path) -> String {
        let mut text = format!(
            "ServerRoot \"@ROOT@\"\nDefaultRuntimeDir run\nPidFile run/httpd.pid\nServerName localhost\n\
             ServerAdmin admin@example.com\nListen 127.0.0.1:@PORT@\nDocumentRoot \"@ROOT@/htdocs\"\n\
             ErrorLog \"@ROOT@/logs/error.log\"\nLogLevel notice wsgi:info\nTimeout 20\nKeepAliveTimeout 5\n\
             LoadModule mpm_{}_module {}/mod_mpm_{}.so\n",
            self.mpm.name(),
            module_directory.display(),
            self.mpm.name(),
        );
        for name in &self.modules {
            text += &format!("LoadModule {name}_module {}/mod_{name}.so\n", module_directory.display());
        }
        text += &format!("LoadModule wsgi_module \"{}\"\n", wsgi_module.display());
        text += "TypesConfig \"@ROOT@/mime.types\"\n";
        if nix::unistd::geteuid().is_root() {
            text += "User www-data\nGroup www-data\n";
        }
        text += &self.mpm_sizes();
        if let Some(home) = &self.python_home {
            text += &format!("WSGIPythonHome \"{}\"\n", home.display());
        }
        if self.mode == Mode::Daemon {
            text += "WSGISocketPrefix run/wsgi\n";
            if let Some(options) = &self.group {
                text += &format!(
                    "WSGIDaemonProcess e2e threads={} {options}\nWSGIProcessGroup e2e\n",
                    self.threads
                );
            }
        }
        if self.tls {
            text += "Listen 127.0.0.1:@TLS_PORT@\nSSLSessionCache none\n\
                     <VirtualHost 127.0.0.1:@TLS_PORT@>\nSSLEngine on\n\
                     SSLCertificateFile \"@ROOT@/tls/certificate.pem\"\n\
                     SSLCertificateKeyFile \"@ROOT@/tls/key.pem\"\n</VirtualHost>\n";
        }
        text += &self.configuration;
        match self.python_home.as_deref().and_then(Interpreter::library_path) {
            Some(library) => with_library(&text, &library),
            None => text,
        }
    }

    /// Returns the name that `@GROUP@` stands for.
    pub(crate) fn group_name(&self) -> &'static str {
        self.mode.pick("%{GLOBAL}", "e2e")
    }

    fn mpm_sizes(&self) -> String {
        let children = self.children;
        if !self.mpm.threaded() {
            return format!(
                "StartServers {children}\nMinSpareServers 1\nMaxSpareServers {children}\n\
                 ServerLimit {limit}\nMaxRequestWorkers {limit}\n",
                limit = children.max(6),
            );
        }
        let threads = self.threads;
        let workers = children * threads;
        format!(
            "StartServers {children}\nServerLimit {}\nThreadLimit {threads}\nThreadsPerChild {threads}\n\
             MaxRequestWorkers {workers}\nMinSpareThreads 1\nMaxSpareThreads {workers}\n",
            children + 2,
        )
    }
}

/// Has the dynamic linker look for the library of Python in this directory, in all process groups
/// that name no directory of their own.
fn with_library(configuration: &str, directory: &Path) -> String {
    let mut text = String::new();
    for line in configuration.lines() {
        text += line;
        let is_group = line.trim_start().starts_with("WSGIDaemonProcess ") && !line.ends_with('\\');
        if is_group && !line.contains("LD_LIBRARY_PATH=") {
            text += &format!(" environment=LD_LIBRARY_PATH={}", directory.display());
        }
        text.push('\n');
    }
    text
}
