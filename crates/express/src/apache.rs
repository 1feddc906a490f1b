//! The Apache server that is to be run: its program and its modules.

use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};
use std::process::Command;

use crate::bounded::output;
use crate::failure::Failure;

/// An installed Apache.
#[derive(Debug)]
pub(crate) struct Apache {
    pub(crate) program: PathBuf,
    pub(crate) modules: PathBuf,
    /// Names of the modules that are part of the program, such as `unixd`.
    pub(crate) built_in: Vec<String>,
}

/// A processing model, in order of preference.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Mpm {
    Event,
    Worker,
    Prefork,
}

impl Mpm {
    pub(crate) const ALL: [Self; 3] = [Self::Event, Self::Worker, Self::Prefork];

    pub(crate) const fn name(self) -> &'static str {
        match self {
            Self::Event => "event",
            Self::Worker => "worker",
            Self::Prefork => "prefork",
        }
    }

    pub(crate) fn named(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|mpm| mpm.name() == name)
    }
}

/// The places of Apache's programs if they are not on the path: the layouts of Debian, Red Hat,
/// SUSE, Alpine and Apache itself.
const PROGRAMS: [&str; 2] = ["apache2", "httpd"];
const PROGRAM_DIRECTORIES: [&str; 4] = ["/usr/sbin", "/usr/bin", "/usr/local/apache2/bin", "/usr/local/sbin"];
const MODULE_DIRECTORIES: [&str; 7] = [
    "/usr/lib/apache2/modules",
    "/usr/lib64/httpd/modules",
    "/usr/lib/httpd/modules",
    "/usr/lib64/apache2",
    "/usr/lib/apache2",
    "/usr/libexec/apache2",
    "/usr/local/apache2/modules",
];

impl Apache {
    /// The Apache that `program` names (else the machine's), with the modules in `modules` (else
    /// its own).
    ///
    /// # Errors
    /// There is none, or it has no modules.
    pub(crate) fn find(program: Option<&Path>, modules: Option<&Path>) -> Result<Self, Failure> {
        let from_variable = std::env::var_os("HTTPD").filter(|value| !value.is_empty()).map(PathBuf::from);
        let program = find_program(from_variable.as_deref().or(program))?;
        let built_in = built_in(&program)?;
        let modules = find_modules(&program, modules)?;
        Ok(Self { program, modules, built_in })
    }

    /// The file to load for a module; nothing if it is built in.
    ///
    /// # Errors
    /// There is no such module.
    pub(crate) fn module(&self, name: &str) -> Result<Option<PathBuf>, Failure> {
        if self.has_built_in(name) {
            return Ok(None);
        }
        let file = self.modules.join(format!("mod_{name}.so"));
        if file.is_file() {
            return Ok(Some(file));
        }
        Err(Failure::machine(format!(
            "Apache's module mod_{name}.so is not in {}; install Apache's modules, or say where they are with \
             --modules-directory",
            self.modules.display()
        )))
    }

    /// The best processing model among `allowed` (all, if that is empty).
    ///
    /// # Errors
    /// None of them is installed.
    pub(crate) fn mpm(&self, allowed: &[Mpm]) -> Result<Mpm, Failure> {
        if let Some(fixed) = Mpm::ALL.into_iter().find(|mpm| self.has_built_in(mpm.name())) {
            return if allowed.is_empty() || allowed.contains(&fixed) {
                Ok(fixed)
            } else {
                Err(Failure::machine(format!(
                    "{} has the processing model {} built in; remove --server-mpm",
                    self.program.display(),
                    fixed.name()
                )))
            };
        }
        Mpm::ALL
            .into_iter()
            .filter(|mpm| allowed.is_empty() || allowed.contains(mpm))
            .find(|mpm| self.modules.join(format!("mod_mpm_{}.so", mpm.name())).is_file())
            .ok_or_else(|| {
                Failure::machine(format!(
                    "no processing model that can be used is in {}; check --server-mpm and --modules-directory",
                    self.modules.display()
                ))
            })
    }

    /// Returns the processing models among `allowed` (all, if that is empty) that are installed.
    pub(crate) fn candidates(&self, allowed: &[Mpm]) -> impl Iterator<Item = Mpm> {
        let is_allowed = |mpm: &Mpm| allowed.is_empty() || allowed.contains(mpm);
        Mpm::ALL.into_iter().filter(is_allowed).filter(|&mpm| self.mpm(&[mpm]).is_ok())
    }

    pub(crate) fn has_built_in(&self, name: &str) -> bool {
        self.built_in.iter().any(|known| known == name)
    }
}

/// Apache's modules directory, for commands that need no more of it.
///
/// # Errors
/// There is none.
pub(crate) fn modules_directory() -> Result<PathBuf, Failure> {
    let from_variable = std::env::var_os("HTTPD").filter(|value| !value.is_empty()).map(PathBuf::from);
    find_modules(&find_program(from_variable.as_deref())?, None)
}

/// Returns whether a program is on the path.
pub(crate) fn on_path(name: &str) -> bool {
    let path = std::env::var_os("PATH").unwrap_or_default();
    std::env::split_paths(&path).any(|directory| directory.join(name).is_file())
}

/// Returns a tool of Apache's: the one that is named, else one on the path or where Apache's program
/// may be.
pub(crate) fn find_tool(named: Option<&Path>, name: &str) -> Option<PathBuf> {
    find_file(named.unwrap_or(Path::new(name)))
}

/// Returns the executable that is meant by a path, or by the name of a program.
fn find_file(name: &Path) -> Option<PathBuf> {
    if name.components().count() != 1 {
        return std::path::absolute(name).ok().filter(|file| is_executable(file));
    }
    let path = std::env::var_os("PATH").unwrap_or_default();
    std::env::split_paths(&path)
        .filter(|directory| directory.is_absolute())
        .chain(PROGRAM_DIRECTORIES.map(PathBuf::from))
        .map(|directory| directory.join(name))
        .find(|file| is_executable(file))
}

fn is_executable(file: &Path) -> bool {
    file.metadata().is_ok_and(|data| data.is_file() && data.permissions().mode() & 0o111 != 0)
}

fn find_program(named: Option<&Path>) -> Result<PathBuf, Failure> {
    if let Some(named) = named {
        return find_file(named).ok_or_else(|| {
            Failure::machine(format!(
                "there is no Apache server {}; check --httpd-executable and the variable HTTPD",
                named.display()
            ))
        });
    }
    PROGRAMS.iter().find_map(|name| find_file(Path::new(name))).ok_or_else(|| {
        Failure::machine(
            "Apache was not found; install it (Debian: apt-get install apache2; Fedora: dnf install httpd; Alpine: apk add \
             apache2), or name it with --httpd-executable",
        )
    })
}

fn built_in(program: &Path) -> Result<Vec<String>, Failure> {
    let refuse = |reason: String| {
        Failure::machine(format!(
            "{} -l failed: {reason}; name a working Apache with --httpd-executable",
            program.display()
        ))
    };
    let output = output(Command::new(program).arg("-l")).map_err(|error| refuse(error.to_string()))?;
    if !output.status.success() {
        return Err(refuse(String::from_utf8_lossy(&output.stderr).trim().to_owned()));
    }
    Ok(parse_built_in(&String::from_utf8_lossy(&output.stdout)))
}

fn parse_built_in(listing: &str) -> Vec<String> {
    listing
        .lines()
        .filter_map(|line| line.trim().strip_suffix(".c"))
        .map(|name| name.strip_prefix("mod_").unwrap_or(name).to_owned())
        .collect()
}

fn find_modules(program: &Path, named: Option<&Path>) -> Result<PathBuf, Failure> {
    let holds_modules = |directory: &Path| directory.join("mod_alias.so").is_file();
    if let Some(named) = named {
        let named = std::path::absolute(named).unwrap_or_else(|_| named.to_owned());
        if holds_modules(&named) {
            return Ok(named);
        }
        return Err(Failure::machine(format!(
            "there are no Apache modules in {}; check --modules-directory",
            named.display()
        )));
    }
    let real = program.canonicalize().unwrap_or_else(|_| program.to_owned());
    let own = real.parent().and_then(Path::parent).map(|prefix| prefix.join("modules"));
    own.into_iter()
        .chain(MODULE_DIRECTORIES.iter().map(PathBuf::from))
        .find(|directory| holds_modules(directory))
        .or_else(|| ask_apxs().filter(|directory| holds_modules(directory)))
        .ok_or_else(|| {
            Failure::machine(format!(
                "the modules of {} were not found; say where they are with --modules-directory",
                program.display()
            ))
        })
}

/// Asks `apxs` for Apache's modules directory. It is asked last: a Perl program, and often not
/// installed where Apache only runs.
fn ask_apxs() -> Option<PathBuf> {
    let program = std::env::var_os("APXS").unwrap_or_else(|| "apxs".into());
    let output = output(Command::new(program).args(["-q", "LIBEXECDIR"])).ok()?;
    let directory = String::from_utf8(output.stdout).ok()?;
    Some(PathBuf::from(directory.trim())).filter(|directory| directory.is_absolute())
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::fs;

    fn with_modules(files: &[&str], built_in: &[&str]) -> (tempfile::TempDir, Apache) {
        let directory = tempfile::tempdir().unwrap();
        for file in files {
            fs::write(directory.path().join(file), "").unwrap();
        }
        let modules = directory.path().to_owned();
        let built_in = built_in.iter().map(|&name| name.to_owned()).collect();
        (directory, Apache { program: "/usr/sbin/apache2".into(), modules, built_in })
    }

    #[test]
    fn listing_of_built_in_modules() {
        let listing = "Compiled in modules:\n  core.c\n  mod_so.c\n  http_core.c\n  event.c\n";
        assert_eq!(parse_built_in(listing), ["core", "so", "http_core", "event"]);
    }

    #[test]
    fn built_in_modules_are_not_loaded() {
        let (_directory, apache) = with_modules(&["mod_alias.so"], &["unixd"]);
        assert_eq!(apache.module("unixd").unwrap(), None);
        assert_eq!(apache.module("alias").unwrap(), Some(apache.modules.join("mod_alias.so")));
        assert!(apache.module("dir").unwrap_err().to_string().contains("--modules-directory"));
    }

    #[test]
    fn event_is_preferred_among_the_allowed() {
        let (_directory, apache) = with_modules(&["mod_mpm_worker.so", "mod_mpm_event.so"], &[]);
        assert_eq!(apache.mpm(&[]).unwrap(), Mpm::Event);
        assert_eq!(apache.mpm(&[Mpm::Prefork, Mpm::Worker]).unwrap(), Mpm::Worker);
        assert!(apache.mpm(&[Mpm::Prefork]).unwrap_err().to_string().contains("--server-mpm"));
        let (_directory, apache) = with_modules(&[], &["prefork"]);
        assert_eq!(apache.mpm(&[]).unwrap(), Mpm::Prefork);
        assert!(apache.mpm(&[Mpm::Event]).is_err());
    }

    #[test]
    fn a_named_server_has_to_exist() {
        // One that cannot be executed is none.
        assert!(find_program(Some(Path::new("/etc/passwd"))).is_err());
        let text = find_program(Some(Path::new("/no/such/httpd"))).unwrap_err().to_string();
        assert!(text.contains("/no/such/httpd") && text.contains("--httpd-executable"), "{text}");
        let text = find_modules(Path::new("/usr/sbin/apache2"), Some(Path::new("/no/modules")))
            .unwrap_err()
            .to_string();
        assert!(text.contains("/no/modules"), "{text}");
    }
}
