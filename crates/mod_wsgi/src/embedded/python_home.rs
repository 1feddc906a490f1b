//! The Python of embedded mode: found by the names of files, without running it.

use std::ffi::{OsStr, OsString};
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};

use wsgi_core::codes::{
    PYTHON_HOME_NO_DIRECTORY, PYTHON_HOME_NOT_FOUND, PYTHON_HOME_NOT_SEARCHABLE, PYTHON_NOT_STARTED,
};
use wsgi_core::python_home::{self, Environment, Version};

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

/// An interpreter.
struct Interpreter {
    program: PathBuf,
    /// The installation that it belongs to.
    base: PathBuf,
    version: Version,
    is_environment: bool,
}

fn of_home(home: &Path) -> Result<Interpreter, String> {
    let file = python_home::environment(home).join("pyvenv.cfg");
    let environment = std::fs::read(file).ok().map(|text| Environment::parse(&text));
    let programs = python_home::executables(home, environment.is_some());
    let mut reasons = Vec::new();
    for program in &programs {
        match resolve(program) {
            Ok((base, version)) => {
                // CPython expects the name that the virtual environment's own tools use.
                let program = programs.first().filter(|_| environment.is_some()).unwrap_or(program).clone();
                return Ok(Interpreter { program, base, version, is_environment: environment.is_some() });
            }
            Err(reason) => reasons.push(reason),
        }
    }
    if let Some(environment) = environment.filter(|_| !python_home::is_executable(home))
        && let (Some(version), Some(directory)) = (environment.version, &environment.home)
        && let Some(base) = python_home::base(&Path::new(OsStr::from_bytes(directory)).join("python3"))
    {
        let base = base.to_owned();
        return Ok(Interpreter { program: home.join("bin/python"), base, version, is_environment: true });
    }
    Err(format!(
        "{PYTHON_NOT_STARTED}: there is no Python in WSGIPythonHome {}: {}. Name the directory that contains bin/python3 (what \
         sys.prefix is there) or a file in its bin, and let the user that Apache runs as read it",
        home.display(),
        reasons.join("; ")
    ))
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
    let (base, version) = resolve(program).map_err(|reason| {
        format!(
            "{PYTHON_NOT_STARTED}: WSGIPythonHome is not set, and {} leads to no Python: {reason}. {remedy}",
            link.display()
        )
    })?;
    Ok(Interpreter { program: program.to_owned(), base, version, is_environment: false })
}

/// Returns the installation and version of an interpreter, with symbolic links resolved.
fn resolve(program: &Path) -> Result<(PathBuf, Version), String> {
    let resolved = program.canonicalize().map_err(|error| format!("{}: {error}", program.display()))?;
    let version = resolved.file_name().and_then(|name| Version::from_executable_name(name.as_bytes()));
    match (python_home::base(&resolved), version) {
        (Some(base), Some(version)) => Ok((base.to_owned(), version)),
        _ => {
            Err(format!("{} is {}, which is not called bin/python3.N", program.display(), resolved.display()))
        }
    }
}

/// Returns the first shared library that exists, or the plain name for the dynamic loader.
fn library(found: &Interpreter) -> PathBuf {
    let candidates = found.version.libraries(&found.base, &multiarch());
    candidates.into_iter().find(|path| path.exists()).unwrap_or_else(|| found.version.library().into())
}

fn host(installed: Installed<'_>, found: &Interpreter) -> Result<OsString, String> {
    let hosts = installed.directory.join("host");
    let names = installed.hosts.iter().map(|name| name.as_bytes());
    if let Some(name) = found.version.host(names, &multiarch()) {
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

/// Returns the name of this platform in Debian and its relatives. Elsewhere no directory has such a
/// name.
fn multiarch() -> String {
    let environment = if cfg!(target_arch = "arm") { "linux-gnueabihf" } else { "linux-gnu" };
    format!("{}-{environment}", std::env::consts::ARCH)
}
