//! The facts that checks look at, from wherever they come: a command line, or the configuration of
//! somebody else's Apache.

use std::cell::OnceCell;
use std::ffi::OsStr;
use std::os::unix::ffi::OsStrExt as _;
use std::path::{Path, PathBuf};

use os::spawn::Limit;
use wsgi_core::python_home;

use super::apache::Configuration;
use super::finding::{Finding, Place};
use super::trial::{Trial, try_all};
use super::unit::Unit;
use crate::account::Account;

/// A server that is looked at.
#[derive(Debug)]
pub(crate) struct Subject {
    /// Its name in the last line of a report.
    pub(crate) name: String,
    /// The directory with the module, its hosts and its programs.
    pub(crate) installation: Option<PathBuf>,
    pub(crate) server: Server,
    /// The processes that run applications. Applications name them by their index.
    pub(crate) groups: Vec<Group>,
    pub(crate) applications: Vec<Application>,
    /// The findings made while these facts were gathered; each has the name of its check.
    pub(crate) findings: Vec<Finding>,
    /// The configuration of Apache, if that is what is looked at.
    pub(crate) apache: Option<Configuration>,
    /// False if no application may be imported (`--no-import`).
    pub(crate) may_import: bool,
    /// The imports of the applications, which are made once, when a check asks.
    pub(crate) trials: OnceCell<Vec<Trial>>,
}

/// Apache itself.
#[derive(Debug)]
pub(crate) struct Server {
    /// The program.
    pub(crate) program: Option<PathBuf>,
    pub(crate) listen: Vec<Listen>,
    /// The account of its children.
    pub(crate) account: Account,
    /// Its process, if it runs; perhaps another one has the number by now.
    pub(crate) pid: Option<u32>,
    /// The unit by which systemd starts it; `None` if it is started by hand.
    pub(crate) unit: Option<Unit>,
    /// The most requests at a time (`MaxRequestWorkers`), and its place.
    pub(crate) workers: Option<(u32, Option<Place>)>,
    /// The environment that it is started with.
    pub(crate) environment: Vec<(String, String)>,
    /// The threads of each child (`ThreadsPerChild`, or 1 with prefork).
    pub(crate) threads_per_child: Option<u32>,
    /// The number of its log files.
    pub(crate) log_files: u32,
    /// The most descriptors that it may have, where its service does not say.
    pub(crate) files_limit: Option<u64>,
}

/// An address that Apache listens on.
#[derive(Debug)]
pub(crate) struct Listen {
    /// `None` for all addresses.
    pub(crate) address: Option<String>,
    pub(crate) port: u16,
    pub(crate) place: Option<Place>,
}

/// Processes of one kind: a group of daemon processes, or Apache's children.
#[derive(Debug)]
pub(crate) struct Group {
    /// `None` for Apache's children (embedded mode).
    pub(crate) name: Option<String>,
    /// The line that defines it.
    pub(crate) place: Option<Place>,
    pub(crate) account: Account,
    pub(crate) python: PythonChoice,
    /// The directories to add to `sys.path`.
    pub(crate) python_path: Vec<PathBuf>,
    /// The place of the option for that.
    pub(crate) python_path_place: Option<Place>,
    /// The working directory; `None`: that of the server, or the user's.
    pub(crate) home: Option<PathBuf>,
    pub(crate) home_place: Option<Place>,
    /// All other paths of the group are inside.
    pub(crate) chroot: Option<PathBuf>,
    /// The most processes.
    pub(crate) processes: u32,
    pub(crate) threads: u32,
    pub(crate) limits: Vec<Limit>,
    /// The variables of `environment=`.
    pub(crate) environment: Vec<(String, String)>,
    /// `lang=`, which is `LANG` in the environment; `None`: that of the server's.
    pub(crate) lang: Option<String>,
    /// `locale=`, which is `LC_ALL` in the environment.
    pub(crate) locale: Option<String>,
    pub(crate) locale_place: Option<Place>,
    /// Seconds after which a request is given up; 0: never.
    pub(crate) request_timeout: u64,
    /// The size at which a process is replaced, in bytes; 0: none.
    pub(crate) memory_recycle: u64,
    pub(crate) umask: Option<u32>,
}

/// A Python as the configuration names it.
#[derive(Debug, Clone)]
pub(crate) struct PythonChoice {
    /// The directory above `bin`, or an executable; `None`: the link next to the module.
    pub(crate) home: Option<PathBuf>,
    pub(crate) place: Option<Place>,
}

/// The use of an application, or of another script of the module.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Purpose {
    /// It answers requests.
    Requests,
    /// It is loaded when a process starts (`WSGIImportScript`).
    Import,
    /// It decides about requests, by at least one of these functions.
    Decision(&'static [&'static str]),
}

/// An application, or another script that Python runs.
#[derive(Debug)]
pub(crate) struct Application {
    pub(crate) purpose: Purpose,
    /// The index of its processes in [`Subject::groups`].
    pub(crate) group: usize,
    /// The interpreter; empty: the main one. `None`: it depends on the request, and is none of those
    /// that are known.
    pub(crate) interpreter: Option<String>,
    /// The interpreter has a lock of its own (`WSGIPerInterpreterGIL`).
    pub(crate) has_own_gil: bool,
    pub(crate) entry: Entry,
    /// The name of the script's module; `None`: a digest of its path.
    pub(crate) module: Option<String>,
    /// The name of the callable in it that answers requests.
    pub(crate) callable: String,
    /// The line that mounts it.
    pub(crate) place: Option<Place>,
    /// True if it gets the header `Authorization`.
    pub(crate) has_authorization: bool,
    /// Seconds that loading it may take; 0 for no limit.
    pub(crate) startup_timeout: u64,
    /// The variables that its requests have (`SetEnv`, `PassEnv`), and their places.
    pub(crate) variables: Vec<(String, Option<Place>)>,
}

/// The thing that an application is loaded from.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Entry {
    /// A WSGI script.
    Script(PathBuf),
    /// A module, by its dotted name.
    Module(String),
    /// A configuration of PasteDeploy.
    Paste(PathBuf),
}

impl Group {
    /// Returns whether Apache's own children are meant.
    pub(crate) fn is_embedded(&self) -> bool {
        self.name.is_none()
    }

    /// Returns the group's name for messages.
    pub(crate) fn shown(&self) -> String {
        self.name
            .as_ref()
            .map_or_else(|| "Apache's own processes".to_owned(), |name| format!("the process group '{name}'"))
    }

    /// Returns the path of a script as its processes call it; `None` if it is outside of their jail.
    /// Lines of Apache have the path outside.
    pub(crate) fn inside(&self, script: &Path) -> Option<PathBuf> {
        match &self.chroot {
            Some(root) => script.strip_prefix(root).ok().map(|rest| Path::new("/").join(rest)),
            None => Some(script.to_owned()),
        }
    }

    /// Returns an option's path as it is called outside the jail.
    pub(crate) fn outside(&self, path: &Path) -> PathBuf {
        match &self.chroot {
            Some(root) => root.join(path.strip_prefix("/").unwrap_or(path)),
            None => path.to_owned(),
        }
    }
}

impl Entry {
    /// Returns its name for messages.
    pub(crate) fn shown(&self) -> String {
        match self {
            Self::Script(file) => format!("the script {}", file.display()),
            Self::Module(name) => format!("the module {name}"),
            Self::Paste(file) => format!("the application of {}", file.display()),
        }
    }

    /// Returns its file.
    pub(crate) fn file(&self) -> Option<&Path> {
        match self {
            Self::Script(file) | Self::Paste(file) => Some(file),
            Self::Module(_) => None,
        }
    }
}

impl Subject {
    /// Returns the home of a group's Python; `None` if nothing says which one that is, or it is in a
    /// jail, whose files only processes inside see as they are.
    pub(crate) fn home_of(&self, group: &Group) -> Option<PathBuf> {
        if group.chroot.is_some() {
            return None;
        }
        // A prefix and that of binary files may be written in one.
        let prefix = |home: &PathBuf| {
            PathBuf::from(OsStr::from_bytes(python_home::prefix(home.as_os_str().as_bytes())))
        };
        let default = || self.installation.as_ref()?.join("python").canonicalize().ok();
        group.python.home.as_ref().map(prefix).or_else(default)
    }

    /// Returns the applications with what came of importing them.
    pub(crate) fn trials(&self) -> impl Iterator<Item = (&Application, &Trial)> {
        self.applications.iter().zip(self.trials.get_or_init(|| try_all(self)))
    }

    /// Returns the processes of an application.
    pub(crate) fn group_of(&self, application: &Application) -> &Group {
        &self.groups[application.group]
    }

    /// Returns whether a group answers requests.
    pub(crate) fn serves(&self, group: usize) -> bool {
        self.applications_of(group).any(|application| application.purpose == Purpose::Requests)
    }

    /// Returns the applications of a group.
    pub(crate) fn applications_of(&self, group: usize) -> impl Iterator<Item = &Application> {
        self.applications.iter().filter(move |application| application.group == group)
    }
}

#[cfg(test)]
impl Subject {
    /// A server with a group of daemon processes and an application, which is not imported.
    pub(super) fn sample(script: &str) -> Self {
        let account = Account::invoking(None, None);
        let group = Group {
            name: Some("shop".to_owned()),
            place: Some(Place::line(Path::new("/a.conf"), 3)),
            account: account.clone(),
            python: PythonChoice { home: None, place: None },
            python_path: Vec::new(),
            python_path_place: None,
            home: None,
            home_place: None,
            chroot: None,
            processes: 2,
            threads: 15,
            limits: Vec::new(),
            environment: Vec::new(),
            lang: None,
            locale: None,
            locale_place: None,
            request_timeout: 60,
            memory_recycle: 0,
            umask: None,
        };
        let application = Application {
            purpose: Purpose::Requests,
            group: 0,
            interpreter: Some(String::new()),
            has_own_gil: false,
            entry: Entry::Script(script.into()),
            module: None,
            callable: "application".to_owned(),
            place: Some(Place::line(Path::new("/a.conf"), 4)),
            has_authorization: true,
            startup_timeout: 15,
            variables: Vec::new(),
        };
        let server = Server {
            program: None,
            listen: Vec::new(),
            account,
            pid: None,
            unit: None,
            environment: Vec::new(),
            workers: None,
            threads_per_child: None,
            log_files: 2,
            files_limit: None,
        };
        Self {
            name: "a sample".to_owned(),
            installation: None,
            server,
            groups: vec![group],
            applications: vec![application],
            findings: Vec::new(),
            apache: None,
            may_import: false,
            trials: OnceCell::new(),
        }
    }

    /// Takes these reports for what came of importing the applications.
    pub(super) fn with_reports(self, reports: Vec<super::trial::Report>) -> Self {
        let trials: Vec<_> = reports.into_iter().map(|report| Trial::Done(Box::new(report))).collect();
        Self { trials: OnceCell::from(trials), ..self }
    }
}
