//! The places of the module and its hosts, and their installation into somebody else's Apache.

use std::fs;
use std::io;
use std::os::unix::fs::{MetadataExt, OpenOptionsExt, symlink};
use std::path::{Path, PathBuf};

use nix::unistd::{Uid, User};

use crate::failure::Failure;
use crate::python::{Candidates, Python};
use crate::quote::quote;

/// The directory with the module and its companions.
#[derive(Debug)]
pub(crate) struct Installation {
    pub(crate) directory: PathBuf,
}

const MODULE: &str = "mod_wsgi.so";
const SUPERVISOR: &str = "supervisor";
const PYTHON: &str = "python";
/// The remedy if a part is missing.
pub(crate) const REINSTALL: &str =
    "install all of it again, with `make install PREFIX=...` or pip (whose --target leaves out files)";

impl Installation {
    /// The one that this program belongs to.
    ///
    /// # Errors
    /// It is incomplete.
    pub(crate) fn own() -> Result<Self, Failure> {
        let program =
            std::env::current_exe().and_then(|program| program.canonicalize()).map_err(|error| {
                Failure::machine(format!(
                    "cannot find out where mod_wsgi-express is installed: {error}; {REINSTALL}"
                ))
            })?;
        let directory = program
            .parent()
            .and_then(Path::parent)
            .map(|prefix| prefix.join("lib/mod_wsgi"))
            .filter(|directory| directory.join(MODULE).is_file())
            .ok_or_else(|| {
                Failure::machine(format!(
                    "{MODULE} is not in ../lib/mod_wsgi next to {}; {REINSTALL}",
                    program.display()
                ))
            })?;
        Ok(Self { directory })
    }

    /// This program, by the path where it is installed.
    pub(crate) fn program(&self) -> PathBuf {
        // See `own`: the directory is PREFIX/lib/mod_wsgi.
        self.directory.ancestors().nth(2).unwrap_or(&self.directory).join("bin/mod_wsgi-express")
    }

    /// The shared object that Apache loads.
    pub(crate) fn module(&self) -> PathBuf {
        self.directory.join(MODULE)
    }

    /// The program that starts and watches the daemon processes.
    pub(crate) fn supervisor(&self) -> PathBuf {
        self.directory.join(SUPERVISOR)
    }

    /// The directory of the Python package `mod_wsgi`.
    pub(crate) fn packages(&self) -> PathBuf {
        self.directory.join("python-packages")
    }

    /// The script that `--reload-on-changes` has imported.
    pub(crate) fn reloader(&self) -> PathBuf {
        self.packages().join("mod_wsgi/express/reload_on_changes.py")
    }

    /// The directory of the documentation.
    pub(crate) fn docs(&self) -> PathBuf {
        self.directory.join("docs")
    }

    /// The interpreter that was named when it was installed.
    pub(crate) fn python(&self) -> Option<PathBuf> {
        // Python is found by its own name, not by that of the link.
        fs::read_link(self.directory.join(PYTHON)).ok().map(|target| self.directory.join(target))
    }

    /// Returns the places to look for an interpreter, from the environment of the process.
    pub(crate) fn candidates(&self, option: Option<PathBuf>) -> Candidates {
        Candidates::from_environment(option, &self.program(), self.python())
    }

    /// The directory with one host per Python ABI.
    pub(crate) fn hosts(&self) -> PathBuf {
        self.directory.join("host")
    }

    /// Returns who else than root can replace the module or what it starts, which an Apache that root
    /// has started runs as root. Groups are not looked at: `staff` owns Debian's `/usr/local`.
    pub(crate) fn exposure(&self) -> Option<String> {
        let (module, supervisor) = (self.module(), self.supervisor());
        let who = module.ancestors().chain([&*supervisor]).find_map(|path| {
            let facts = path.metadata().ok()?;
            if facts.uid() != 0 {
                let user = User::from_uid(Uid::from_raw(facts.uid())).ok().flatten();
                let name = user.map_or_else(|| format!("user {}", facts.uid()), |user| user.name);
                return Some(format!("{} belongs to {name}", path.display()));
            }
            let open = facts.mode() & 0o002 != 0 && !(facts.is_dir() && facts.mode() & 0o1000 != 0);
            open.then(|| format!("everybody can write to {}", path.display()))
        })?;
        Some(format!(
            "{who}: whoever can replace {} has an Apache that root starts run anything as root; install as root where only root can \
             write, or copy the module with `mod_wsgi-express install-module`",
            module.display()
        ))
    }

    /// Copies module and hosts into an Apache modules directory, and says what to load.
    ///
    /// The module looks for its hosts next to itself, links resolved; so the files get a directory
    /// of their own, and the modules directory a link of the usual name. Another link has the name
    /// that the original gives to its module for this Python: configurations load it by that.
    ///
    /// # Errors
    /// The directory does not exist or cannot be written to.
    pub(crate) fn copy_to(&self, modules: &Path, python: &Python) -> Result<PathBuf, Failure> {
        if !modules.is_dir() {
            return Err(Failure::machine(format!(
                "{} is not a directory; name Apache's modules directory with --modules-directory",
                modules.display()
            )));
        }
        let target = modules.join("mod_wsgi");
        let link = modules.join(MODULE);
        let former = modules.join(python.module_name());
        let default = self.python().unwrap_or_else(|| python.program.clone());
        self.copy_files(&target, &default, &[&link, &former]).map_err(|error| {
            Failure::file(
                "install into",
                modules,
                &error,
                "run this as an account that may write there, or choose another with --modules-directory",
            )
        })?;
        Ok(link)
    }

    fn copy_files(&self, target: &Path, default: &Path, links: &[&Path]) -> io::Result<()> {
        let hosts = target.join("host");
        fs::create_dir_all(&hosts)?;
        replace(&self.module(), &target.join(MODULE), 0o644)?;
        replace(&self.supervisor(), &target.join(SUPERVISOR), 0o755)?;
        for host in fs::read_dir(self.hosts())? {
            let host = host?;
            replace(&host.path(), &hosts.join(host.file_name()), 0o644)?;
        }
        // Applications import these, such as `mod_wsgi.server` in Django's INSTALLED_APPS.
        if self.packages().is_dir() {
            replace_all(&self.packages(), &target.join("python-packages"))?;
        }
        relink(default, &target.join(PYTHON))?;
        links.iter().try_for_each(|link| relink(Path::new("mod_wsgi/mod_wsgi.so"), link))
    }
}

/// The directives that load a module, for `module-config` and `install-module`.
///
/// # Errors
/// A path cannot be written into an Apache configuration.
pub(crate) fn load_directives(module: &Path, python: &Python) -> Result<String, Failure> {
    let quote = |path: &Path| {
        quote(&path.to_string_lossy()).map_err(|reason| {
            Failure::machine(format!("{} {reason}; install to another directory", path.display()))
        })
    };
    Ok(format!("LoadModule wsgi_module {}\nWSGIPythonHome {}", quote(module)?, quote(python.home())?))
}

/// By way of a new file: a running Apache has the old one mapped. The umask takes from `mode`.
fn replace(source: &Path, target: &Path, mode: u32) -> io::Result<()> {
    let mut fresh = target.as_os_str().to_owned();
    fresh.push(".new");
    let mut reader = fs::File::open(source)?;
    let mut writer =
        fs::OpenOptions::new().write(true).create(true).truncate(true).mode(mode).open(&fresh)?;
    io::copy(&mut reader, &mut writer)?;
    fs::rename(&fresh, target)
}

/// Replaces the Python sources below a directory.
fn replace_all(source: &Path, target: &Path) -> io::Result<()> {
    fs::create_dir_all(target)?;
    for entry in fs::read_dir(source)? {
        let path = entry?.path();
        let Some(name) = path.file_name() else { continue };
        if path.is_dir() && name != "__pycache__" {
            replace_all(&path, &target.join(name))?;
        } else if path.extension().is_some_and(|extension| extension == "py") {
            replace(&path, &target.join(name), 0o644)?;
        }
    }
    Ok(())
}

/// Makes a symbolic link, or replaces it.
///
/// # Errors
/// Its directory cannot be written to.
pub(crate) fn relink(source: &Path, link: &Path) -> io::Result<()> {
    let mut fresh = link.as_os_str().to_owned();
    fresh.push(".new");
    match fs::remove_file(&fresh) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
        _ => {}
    }
    symlink(source, &fresh)?;
    fs::rename(&fresh, link)
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::fs::PermissionsExt;

    fn installation() -> (tempfile::TempDir, Installation) {
        let prefix = tempfile::tempdir().unwrap();
        let directory = prefix.path().join("lib/mod_wsgi");
        fs::create_dir_all(directory.join("host")).unwrap();
        fs::write(directory.join(MODULE), "module").unwrap();
        fs::write(directory.join(SUPERVISOR), "supervisor").unwrap();
        fs::create_dir_all(directory.join("python-packages/mod_wsgi/server/__pycache__")).unwrap();
        fs::write(directory.join("python-packages/mod_wsgi/server/__init__.py"), "package").unwrap();
        fs::write(directory.join("host/mod_wsgi_host.cpython-X.so"), "host").unwrap();
        symlink("/usr/bin/python3", directory.join("python")).unwrap();
        (prefix, Installation { directory })
    }

    fn python() -> Python {
        let option = Some("/usr/bin/python3".into());
        let account = crate::account::Account::choose(None, None).unwrap();
        crate::python::Candidates { option, ..Default::default() }.choose(&account).unwrap()
    }

    #[test]
    fn installing_copies_everything_that_the_module_needs() {
        let (_prefix, installation) = installation();
        let modules = tempfile::tempdir().unwrap();
        for _ in 0..2 {
            let link = installation.copy_to(modules.path(), &python()).unwrap();
            assert_eq!(link, modules.path().join(MODULE));
            let real = link.canonicalize().unwrap();
            let name = python().module_name();
            assert!(name.starts_with("mod_wsgi-py3") && name.ends_with(".so"), "{name}");
            assert_eq!(modules.path().join(name).canonicalize().unwrap(), real);
            assert_eq!(fs::read_to_string(&real).unwrap(), "module");
            let next_to_it = real.parent().unwrap();
            assert_eq!(
                fs::read_to_string(next_to_it.join("host/mod_wsgi_host.cpython-X.so")).unwrap(),
                "host"
            );
            let package = next_to_it.join("python-packages/mod_wsgi/server");
            assert_eq!(fs::read_to_string(package.join("__init__.py")).unwrap(), "package");
            assert!(!package.join("__pycache__").exists());
            let supervisor = next_to_it.join(SUPERVISOR).metadata().unwrap();
            assert_eq!(supervisor.permissions().mode() & 0o700, 0o700);
            assert_eq!(fs::read_link(next_to_it.join("python")).unwrap(), Path::new("/usr/bin/python3"));
        }
    }

    #[test]
    fn others_than_root_that_can_replace_it_are_named() {
        let (_prefix, installation) = installation();
        if !nix::unistd::geteuid().is_root() {
            assert!(installation.exposure().unwrap().contains(" belongs to "));
            return;
        }
        assert_eq!(installation.exposure(), None);
        let mode =
            |mode| fs::set_permissions(&installation.directory, fs::Permissions::from_mode(mode)).unwrap();
        mode(0o777);
        assert!(installation.exposure().unwrap().starts_with("everybody can write to "));
        mode(0o1777);
        assert_eq!(installation.exposure(), None);
        std::os::unix::fs::chown(installation.supervisor(), Some(65_000), None).unwrap();
        assert!(installation.exposure().unwrap().contains("supervisor belongs to user 65000: "));
    }

    /// One that is made from a package has no default Python.
    #[test]
    fn the_chosen_python_becomes_the_default_if_there_is_none() {
        let (_prefix, installation) = installation();
        fs::remove_file(installation.directory.join(PYTHON)).unwrap();
        let modules = tempfile::tempdir().unwrap();
        let chosen = python();
        installation.copy_to(modules.path(), &chosen).unwrap();
        assert_eq!(fs::read_link(modules.path().join("mod_wsgi/python")).unwrap(), chosen.program);
    }

    #[test]
    fn a_plain_file_of_that_name_is_replaced() {
        let (_prefix, installation) = installation();
        let modules = tempfile::tempdir().unwrap();
        fs::write(modules.path().join(MODULE), "old").unwrap();
        let link = installation.copy_to(modules.path(), &python()).unwrap();
        assert_eq!(fs::read_to_string(link).unwrap(), "module");
    }

    #[test]
    fn a_missing_directory_is_named() {
        let (_prefix, installation) = installation();
        let text = installation.copy_to(Path::new("/no/such/directory"), &python()).unwrap_err().to_string();
        assert!(text.contains("/no/such/directory") && text.contains("--modules-directory"), "{text}");
    }
}
