//! The Python of embedded mode: found by the names of files, without running it.

use std::ffi::{OsStr, OsString};
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};

use wsgi_core::codes::{
    PYTHON_HOME_NO_DIRECTORY, PYTHON_HOME_NOT_FOUND, PYTHON_HOME_NOT_SEARCHABLE, PYTHON_NOT_STARTED,
};
use wsgi_core::diagnostic::Diagnostic;
use wsgi_core::python_home::{self, Files, Interpreter, Version};

/// The files of this system.
const FILES: Files<'_> =
    Files { read: &os::file::read_small, resolve: &Path::canonicalize, names: &os::file::names };

/// The Python of this process.
#[derive(Debug)]
pub(crate) struct PythonHome {
    /// The program, which becomes `sys.executable`.
    pub(crate) program: PathBuf,
    /// The value for `PYTHONHOME`; `None` for virtual environments, and where Python finds itself.
    pub(crate) home: Option<Box<[u8]>>,
    /// Its version.
    pub(crate) version: Version,
    /// The shared library; a name without a slash is left to the dynamic loader.
    pub(crate) library: PathBuf,
    /// The name of the host for it.
    pub(crate) host: OsString,
}

/// The files that are installed beside the module.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Installed<'a> {
    /// The directory of the module, for messages.
    pub(crate) directory: &'a Path,
    /// The names of all hosts.
    pub(crate) hosts: &'a [&'a OsStr],
    /// The default Python.
    pub(crate) python: Option<&'a Path>,
}

/// Finds the Python of `WSGIPythonHome`, or the default one, and its host.
pub(crate) fn find(installed: Installed<'_>, configured: Option<&[u8]>) -> Result<PythonHome, String> {
    let (found, home) = match configured {
        Some(home) => {
            let found = of_home(prefix(home))?;
            let finds_itself = found.is_environment || python_home::is_executable(prefix(home));
            let home = if finds_itself { None } else { Some(home.into()) };
            (found, home)
        }
        None => (default(installed)?, None),
    };
    Ok(PythonHome {
        library: library(&found),
        host: host(installed, &found)?,
        program: found.program,
        home,
        version: found.version,
    })
}

/// Returns a message about the directory of `WSGIPythonHome`, or `None` if it is usable.
pub(crate) fn home_problem(home: &[u8]) -> Option<String> {
    let home = prefix(home);
    let shown = home.display();
    match std::fs::metadata(home) {
        Err(error) => {
            Some(format!("{PYTHON_HOME_NOT_FOUND}: WSGIPythonHome {shown} cannot be accessed: {error}"))
        }
        Ok(metadata) if metadata.is_file() && python_home::is_executable(home) => None,
        Ok(metadata) if !metadata.is_dir() => Some(format!(
            "{PYTHON_HOME_NO_DIRECTORY}: WSGIPythonHome {shown} is not a directory: name the one that contains bin/python3"
        )),
        Ok(_) => match std::fs::metadata(home.join(".")) {
            Err(error) => Some(format!(
                "{PYTHON_HOME_NOT_SEARCHABLE}: WSGIPythonHome {shown} cannot be searched: {error}"
            )),
            Ok(_) => None,
        },
    }
}

fn prefix(home: &[u8]) -> &Path {
    Path::new(OsStr::from_bytes(python_home::prefix(home)))
}

fn of_home(home: &Path) -> Result<Interpreter, String> {
    python_home::find(home, FILES).map_err(|reasons| {
        format!(
            "{PYTHON_NOT_STARTED}: there is no Python in WSGIPythonHome {}: {}. Name the directory that contains bin/python3 (what \
             sys.prefix is there) or a file in its bin, and let the user that Apache runs as read it",
            home.display(),
            reasons.join("; ")
        )
    })
}

/// Returns warnings about a home that was configured, and about the directories of a Python path for
/// it.
pub(crate) fn faults(home: &[u8], python_path: &[u8]) -> impl Iterator<Item = Diagnostic> {
    let home = prefix(home);
    let version = python_home::find(home, FILES).ok().map(|found| found.version);
    let path = python_path.split(|&byte| byte == b':').map(|path| Path::new(OsStr::from_bytes(path)));
    let of_path =
        version.into_iter().flat_map(move |version| python_home::path_faults(version, path.clone()));
    let faults = python_home::faults(home, FILES).into_iter().chain(of_path);
    faults.filter_map(|fault| Diagnostic::of_fault(&fault))
}

/// Returns the interpreter that the link `python` next to the module leads to.
fn default(installed: Installed<'_>) -> Result<Interpreter, String> {
    let link = installed.directory.join("python");
    let remedy = "Set WSGIPythonHome, or make the link with `mod_wsgi-express install-module` or `ln -s`";
    let Some(program) = installed.python else {
        return Err(format!(
            "{PYTHON_NOT_STARTED}: WSGIPythonHome is not set, and {} is no link to a Python. {remedy}",
            link.display()
        ));
    };
    let (base, version) = python_home::resolve(program, FILES).map_err(|reason| {
        format!(
            "{PYTHON_NOT_STARTED}: WSGIPythonHome is not set, and {} leads to no Python: {reason}. {remedy}",
            link.display()
        )
    })?;
    Ok(Interpreter { program: program.to_owned(), base, version, is_environment: false })
}

/// Returns the first shared library that exists, or the plain name for the dynamic loader.
fn library(found: &Interpreter) -> PathBuf {
    let candidates = found.version.libraries(&found.base, &python_home::multiarch());
    candidates.into_iter().find(|path| path.exists()).unwrap_or_else(|| found.version.library().into())
}

fn host(installed: Installed<'_>, found: &Interpreter) -> Result<OsString, String> {
    let hosts = installed.directory.join("host");
    let names = installed.hosts.iter().map(|name| name.as_bytes());
    if let Some(name) = found.version.host(names, &python_home::multiarch()) {
        return Ok(OsStr::from_bytes(name).to_owned());
    }
    let (program, version) = (found.program.display(), found.version);
    Err(if version.minor < OLDEST {
        format!(
            "{PYTHON_NOT_STARTED}: {program} is Python {version}, and the oldest that can be used is 3.{OLDEST}"
        )
    } else {
        format!(
            "{PYTHON_NOT_STARTED}: there is no host for Python {version} in {}. Build and install one with \
             `make host PYTHON={program}`",
            hosts.display()
        )
    })
}

/// The oldest 3.N that a host can be built for.
const OLDEST: u8 = 10;
