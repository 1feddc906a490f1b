//! The interpreter of a home, found without running it.

use std::ffi::OsString;
use std::io;
use std::os::unix::ffi::OsStrExt as _;
use std::path::{Path, PathBuf};

use super::{Environment, Version, base, environment, executables, is_executable};

/// The looks at files that the rules need; the caller takes them.
#[derive(Clone, Copy)]
#[allow(missing_debug_implementations, reason = "functions have nothing to show")]
pub struct Files<'a> {
    /// Returns the content of a small file, or why it cannot be read.
    pub read: &'a dyn Fn(&Path) -> io::Result<Vec<u8>>,
    /// Returns a path with all symbolic links resolved, or why that cannot be.
    pub resolve: &'a dyn Fn(&Path) -> io::Result<PathBuf>,
    /// Returns the names in a directory; none if it cannot be read.
    pub names: &'a dyn Fn(&Path) -> Vec<OsString>,
}

/// An interpreter.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Interpreter {
    /// The executable, as it is to be called.
    pub program: PathBuf,
    /// The installation that it belongs to.
    pub base: PathBuf,
    /// Its version.
    pub version: Version,
    /// True if it is that of a virtual environment.
    pub is_environment: bool,
}

/// Returns the content of a home's `pyvenv.cfg`, which only a virtual environment has.
pub fn read_environment(home: &Path, files: Files<'_>) -> Option<Environment> {
    let content = (files.read)(&environment(home).join("pyvenv.cfg")).ok()?;
    Some(Environment::parse(&content))
}

/// Finds the interpreter of a home.
///
/// # Errors
/// There is none: a reason for each executable that it might have been.
pub fn find(home: &Path, files: Files<'_>) -> Result<Interpreter, Vec<String>> {
    let environment = read_environment(home, files);
    let is_environment = environment.is_some();
    let programs = executables(home, is_environment);
    let mut reasons = Vec::new();
    for program in &programs {
        match resolve(program, files) {
            Ok((base, version)) => {
                // CPython expects the name that the virtual environment's own tools use.
                let program = programs.first().filter(|_| is_environment).unwrap_or(program).clone();
                return Ok(Interpreter { program, base, version, is_environment });
            }
            Err(reason) => reasons.push(reason),
        }
    }
    if let Some(environment) = environment.filter(|_| !is_executable(home))
        && let (Some(version), Some(directory)) = (environment.version, environment.directory())
        && let Some(base) = base(&directory.join("python3"))
    {
        let base = base.to_owned();
        return Ok(Interpreter { program: home.join("bin/python"), base, version, is_environment: true });
    }
    Err(reasons)
}

/// Returns the installation and version of an interpreter, with symbolic links resolved.
///
/// # Errors
/// It does not exist, or has another name than interpreters have.
pub fn resolve(program: &Path, files: Files<'_>) -> Result<(PathBuf, Version), String> {
    let resolved = (files.resolve)(program).map_err(|error| format!("{}: {error}", program.display()))?;
    let version = resolved.file_name().and_then(|name| Version::from_executable_name(name.as_bytes()));
    match (base(&resolved), version) {
        (Some(base), Some(version)) => Ok((base.to_owned(), version)),
        _ => {
            Err(format!("{} is {}, which is not called bin/python3.N", program.display(), resolved.display()))
        }
    }
}

/// Returns the name of this platform in Debian and its relatives. Elsewhere no directory has such a
/// name.
#[must_use]
pub fn multiarch() -> String {
    let environment = if cfg!(target_arch = "arm") { "linux-gnueabihf" } else { "linux-gnu" };
    format!("{}-{environment}", std::env::consts::ARCH)
}
